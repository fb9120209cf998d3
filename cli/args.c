#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const struct args *args)
{
    printf("Usage: %s [OPTIONS]%s%s\n\n%s\n\nOptions:\n", args->command,
           args->synopsis[0] ? " " : "", args->synopsis, args->description);
    for (const struct args_option *option = args->options; option->name; option++) {
        char left[64];
        char letter[8] = "    ";
        if (option->letter)
            (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name,
                       option->value ? " " : "", option->value ? option->meta : "");
        printf("  %-28s %s\n", left, option->help);
    }
    printf("  %-28s %s\n", "-h, --help", "Print this help");
}

static int usage_error(const struct args *args, const char *what, const char *word)
{
    (void)fprintf(stderr, "error: %s '%s'\n\nUsage: %s [OPTIONS]%s%s\n\nFor more, try '%s --help'.\n",
                  what, word, args->command, args->synopsis[0] ? " " : "", args->synopsis,
                  args->command);
    return ARGS_ERROR;
}

static const struct args_option *find_option(const struct args *args, const char *word,
                                             const char **inline_value)
{
    *inline_value = NULL;
    for (const struct args_option *option = args->options; option->name; option++) {
        size_t bytes = strlen(option->name);
        if (word[1] == '-' && strncmp(word + 2, option->name, bytes) == 0) {
            if (word[2 + bytes] == '\0')
                return option;
            if (word[2 + bytes] == '=' && option->value) {
                *inline_value = word + 2 + bytes + 1;
                return option;
            }
        }
        if (word[1] != '-' && option->letter && word[1] == option->letter) {
            if (word[2] == '\0')
                return option;
            if (option->value) {
                *inline_value = word + 2;
                return option;
            }
        }
    }
    return NULL;
}

enum args_result args_read(struct args *args, int argc, char **argv)
{
    int kept = 0;
    args->positionals = argv;
    args->rest = NULL;
    args->rest_count = 0;
    args->has_rest = false;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        const char *inline_value;
        if (strcmp(word, "--") == 0) {
            args->has_rest = true;
            args->rest = argv + i + 1;
            args->rest_count = (size_t)(argc - i - 1);
            break;
        }
        bool is_number = word[0] == '-' && (isdigit((unsigned char)word[1]) || word[1] == '.' ||
                                            strcmp(word, "-inf") == 0);
        if (word[0] != '-' || word[1] == '\0' || is_number) {
            argv[kept++] = word;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(args);
            return ARGS_HELP;
        }
        const struct args_option *option = find_option(args, word, &inline_value);
        if (!option)
            return (enum args_result)usage_error(args, "unexpected argument", word);
        if (option->flag) {
            *option->flag = true;
        } else if (inline_value) {
            *option->value = inline_value;
        } else if (i + 1 < argc) {
            *option->value = argv[++i];
        } else {
            return (enum args_result)usage_error(args, "a value is required for", word);
        }
    }
    args->positional_count = (size_t)kept;
    return ARGS_OK;
}

bool args_number(const char *command, const char *option, const char *text,
                 unsigned long long min, unsigned long long max, unsigned long long *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number < min || number > max) {
        (void)fprintf(stderr, "error: %s: --%s must be a number from %llu to %llu, not '%s'\n",
                      command, option, min, max, text);
        return false;
    }
    *value = number;
    return true;
}
