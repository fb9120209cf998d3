#include "cli/paths.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/st.h"

static bool is_blank(const char *text)
{
    if (!text)
        return true;
    while (isspace((unsigned char)*text))
        text++;
    return *text == '\0';
}

static bool join(char out[PATHS_MAX], const char *folder, const char *tail)
{
    int bytes = snprintf(out, PATHS_MAX, "%s/%s", folder, tail);
    return bytes >= 0 && bytes < PATHS_MAX;
}

const char *paths_home(void)
{
    static char home[PATHS_MAX];
    if (home[0])
        return home;
    const char *set = getenv("PIE_HOME");
    const char *user = getenv("HOME");
    if (!is_blank(set))
        (void)snprintf(home, sizeof home, "%s", set);
    else if (is_blank(user) || !join(home, user, ".pie"))
        (void)snprintf(home, sizeof home, "/root/.pie");
    size_t bytes = strlen(home);
    while (bytes > 1 && home[bytes - 1] == '/')
        home[--bytes] = '\0';
    return home;
}

bool paths_in_home(char out[PATHS_MAX], const char *tail)
{
    return join(out, paths_home(), tail);
}

bool paths_beside_binary(char out[PATHS_MAX], const char *tail)
{
    char binary[PATHS_MAX];
    ssize_t bytes = readlink("/proc/self/exe", binary, sizeof binary - 1);
    if (bytes <= 0)
        return false;
    binary[bytes] = '\0';
    char *slash = strrchr(binary, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return join(out, binary, tail);
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

enum err paths_find_model(const char *model, char out[PATHS_MAX], struct report *report)
{
    char tail[PATHS_MAX];
    if (model && (is_file(model) || st_is_folder(model))) {
        (void)snprintf(out, PATHS_MAX, "%s", model);
        return ERR_OK;
    }
    const char *name = model ? model : "default";
    if (strchr(name, '/'))
        return err_set(report, ERR_NOT_FOUND, "there is no model file %s, nor a folder "
                       "with a config.json", name);
    (void)snprintf(tail, sizeof tail, "models/%s.gguf", name);
    if (!paths_in_home(out, tail))
        return err_set(report, ERR_INVALID, "the path of model %s is too long", name);
    if (is_file(out))
        return ERR_OK;
    char folder[PATHS_MAX];
    (void)snprintf(tail, sizeof tail, "models/%s", name);
    if (paths_in_home(folder, tail) && st_is_folder(folder)) {
        memcpy(out, folder, PATHS_MAX);
        return ERR_OK;
    }
    if (!model)
        return err_set(report, ERR_NOT_FOUND,
                       "there is no default model yet: train it with `pie model train` (about two "
                       "minutes), or name a GGUF file with --model PATH");
    return err_set(report, ERR_NOT_FOUND,
                   "no model '%s': neither a file of that name nor %s exists; `pie model list` "
                   "shows what is installed",
                   model, out);
}
