/* pie: the engine's command line. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/paths.h"

/* What bakery does under names of its own: `pie new` is `bakery create`. */
static int run_bakery(int argc, char **argv, const char *command)
{
    char bakery[PATHS_MAX];
    char *words[64] = {bakery, NULL};
    (void)snprintf(bakery, sizeof bakery, "bakery");
    if (argc > 60) {
        (void)fprintf(stderr, "pie: too many words for %s\n", command);
        return CMD_USAGE;
    }
    words[1] = strcmp(command, "new") == 0 ? (char[]){"create"} : argv[-1];
    for (int i = 0; i < argc; i++)
        words[2 + i] = argv[i];
    if (paths_beside_binary(bakery, "bakery"))
        (void)execv(bakery, words);
    (void)execvp("bakery", words);
    (void)fprintf(stderr, "pie: there is no bakery beside this program, nor on PATH\n");
    return CMD_FAILED;
}

static int cmd_new(int argc, char **argv)
{
    return run_bakery(argc, argv, "new");
}

static int cmd_build(int argc, char **argv)
{
    return run_bakery(argc, argv, "build");
}

static int cmd_inferlet(int argc, char **argv)
{
    return run_bakery(argc, argv, "inferlet");
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", cmd_run, "Run an inferlet once and stream what it says"},
    {"model", cmd_model, "List, inspect and train models"},
    {"registry", cmd_registry, "Serve a folder of inferlets to others"},
    {"new", cmd_new, "Make a folder with a small inferlet (bakery create)"},
    {"build", cmd_build, "Turn such a folder into a .wasm (bakery build)"},
    {"inferlet", cmd_inferlet, "Search, inspect and publish (bakery inferlet)"},
    {"wasm", cmd_wasm, "Run, disassemble and profile WebAssembly on its own"},
    {"doctor", cmd_doctor, "Check this machine: CPU, memory, model, toolchains"},
};

static void print_usage(FILE *stream)
{
    (void)fprintf(stream, "Pie %s: programmable language models on CPUs\n\n"
                          "Usage: pie COMMAND [OPTIONS]\n\nCommands:\n", CMD_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        (void)fprintf(stream, "  %-9s %s\n", commands[i].name, commands[i].help);
    (void)fprintf(stream, "\n`pie COMMAND --help` tells more. Files lie under $PIE_HOME "
                          "(default ~/.pie).\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("pie %s\n", CMD_VERSION);
        return CMD_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return CMD_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    (void)fprintf(stderr, "error: unknown command '%s'\n\n", argv[1]);
    print_usage(stderr);
    return CMD_USAGE;
}
