#include "cli/tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const tools_clang[] = {"clang-19", "clang-20", "clang-18", "clang-17", "clang-16",
                                   "clang-15", "clang-14", "clang", NULL};
const char *const tools_wasm_ld[] = {"wasm-ld-19", "wasm-ld-20", "wasm-ld-18", "wasm-ld-17",
                                     "wasm-ld-16", "wasm-ld-15", "wasm-ld-14", "wasm-ld", NULL};

static bool find_one(const char *name, char out[PATHS_MAX])
{
    const char *path = getenv("PATH");
    if (!path)
        return false;
    for (const char *at = path; *at;) {
        size_t bytes = strcspn(at, ":");
        int put = snprintf(out, PATHS_MAX, "%.*s/%s", (int)bytes, at, name);
        if (bytes && put > 0 && put < PATHS_MAX && access(out, X_OK) == 0)
            return true;
        at += bytes;
        if (*at)
            at++;
    }
    return false;
}

bool tools_find(const char *const *names, char out[PATHS_MAX])
{
    for (; *names; names++)
        if (find_one(*names, out))
            return true;
    return false;
}

int tools_run(const char *folder, char *const *argv)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        return 127;
    if (child == 0) {
        if (dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && (!folder || chdir(folder) == 0))
            (void)execv(argv[0], argv);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}
