/* bakery: makes inferlets, and brings them to a registry and from it. */
#include <stdio.h>
#include <string.h>

#include "cli/bake.h"
#include "cli/cmd.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"create", bake_create, "Make a folder with a small inferlet: C, Rust, JavaScript or Python"},
    {"build", bake_build, "Turn such a folder into a .wasm"},
    {"wit", bake_wit, "Print what an inferlet may ask of the engine"},
};

static void print_usage(FILE *stream)
{
    (void)fprintf(stream, "bakery %s: makes Pie inferlets\n\nUsage: bakery COMMAND [OPTIONS]\n\n",
                  CMD_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        (void)fprintf(stream, "  %-18s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("bakery %s\n", CMD_VERSION);
        return CMD_OK;
    }
    bool help = argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc >= 2 && !help)
        (void)fprintf(stderr, "error: unknown command '%s'\n\n", argv[1]);
    print_usage(help ? stdout : stderr);
    return help ? CMD_OK : CMD_USAGE;
}
