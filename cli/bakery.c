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
    {"login", bake_login, "Keep the token of a registry"},
    {"publish", bake_publish, "Bring an inferlet to the registry"},
    {"keygen", bake_keygen, "Make a key that signs what is published"},
    {"inferlet search", bake_search, "Look for inferlets in the registry"},
    {"inferlet info", bake_info, "Show versions and parameters of one"},
    {"inferlet publish", bake_publish, "The same as publish"},
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
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof *commands; i++) {
        const char *second = strchr(commands[i].name, ' ');
        size_t bytes = second ? (size_t)(second - commands[i].name) : strlen(commands[i].name);
        if (strncmp(commands[i].name, argv[1], bytes) != 0 || argv[1][bytes])
            continue;
        if (!second)
            return commands[i].run(argc - 2, argv + 2);
        if (argc >= 3 && strcmp(argv[2], second + 1) == 0)
            return commands[i].run(argc - 3, argv + 3);
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("bakery %s\n", CMD_VERSION);
        return CMD_OK;
    }
    bool help = argc >= 2 && (strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0);
    if (argc >= 2 && !help)
        (void)fprintf(stderr, "error: unknown command '%s%s%s'\n\n", argv[1], argc >= 3 ? " " : "",
                      argc >= 3 ? argv[2] : "");
    print_usage(help ? stdout : stderr);
    return help ? CMD_OK : CMD_USAGE;
}
