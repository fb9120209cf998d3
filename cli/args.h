/* Command lines: options by table, positionals (negative numbers too) in between, everything
 * behind `--` kept apart. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

/* One option. Exactly one of `flag`, `value` is set; a zeroed entry ends a table. */
struct args_option {
    const char *name;  /* long name without dashes */
    char letter;       /* short form, or 0 */
    bool *flag;
    const char **value;
    const char *meta;  /* what the value is, for the help: "PATH" */
    const char *help;
};

struct args {
    const char *command;     /* "pie run", for messages */
    const char *synopsis;    /* "[INFERLET] [-- --KEY VALUE ...]" */
    const char *description; /* a few sentences */
    const struct args_option *options;
    /* Out, borrowed from argv. */
    char **positionals;
    size_t positional_count;
    char **rest; /* behind `--` */
    size_t rest_count;
    bool has_rest; /* there was a `--` */
};

enum args_result { ARGS_OK, ARGS_HELP, ARGS_ERROR };

/* Reads argv[0 .. argc). Reorders argv. Prints the help on stdout for --help/-h (ARGS_HELP), and
 * what is wrong on stderr (ARGS_ERROR). */
enum args_result args_read(struct args *args, int argc, char **argv);

/* Reads a number in [min, max]; false (and a message on stderr) when it is none. */
bool args_number(const char *command, const char *option, const char *text,
                 unsigned long long min, unsigned long long max, unsigned long long *value);

#endif
