/* pie: the engine's command line. */
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", cmd_run, "Run an inferlet once and stream what it says"},
    {"model", cmd_model, "List, inspect and train models"},
    {"registry", cmd_registry, "Serve a folder of inferlets to others"},
    {"wasm", cmd_wasm, "Run, disassemble and profile WebAssembly on its own"},
    {"doctor", cmd_doctor, "Check this machine: CPU, memory, model, toolchains"},
};

static void print_usage(FILE *stream)
{
    (void)fprintf(stream, "Pie %s: programmable language models on CPUs\n\n"
                          "Usage: pie COMMAND [OPTIONS]\n\nCommands:\n", CMD_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        (void)fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].help);
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
