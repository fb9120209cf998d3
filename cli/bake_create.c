/* bakery create: lays out a program from SDK/templates. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/bake.h"
#include "cli/cmd.h"
#include "engine/base/file.h"

enum { TEMPLATE_BYTES_MAX = 1 << 16, DEPTH_MAX = 8 };
static const char name_mark[] = "@NAME@";

bool bake_is_name(const char *name)
{
    if (!islower((unsigned char)name[0]) || strlen(name) > 64)
        return false;
    for (const char *at = name; *at; at++)
        if (!(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '-') ||
            (*at == '-' && (at[1] == '-' || at[1] == '\0' || isdigit((unsigned char)at[1]))))
            return false;
    return true;
}

/* Copies a template, its @NAME@ replaced. */
static enum err fill_in(const char *from, const char *to, const char *name, struct report *report)
{
    char *text;
    size_t bytes;
    struct buf out;
    enum err err = file_read(from, TEMPLATE_BYTES_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    buf_init(&out, NULL);
    const char *at = text;
    for (const char *mark; (mark = strstr(at, name_mark)); at = mark + sizeof name_mark - 1) {
        (void)buf_append(&out, at, (size_t)(mark - at));
        (void)buf_puts(&out, name);
    }
    (void)buf_puts(&out, at);
    mem_free(NULL, text);
    err = out.failed ? err_set(report, ERR_MEMORY, "no memory for %s", to)
                     : file_write(to, out.data, out.count, report);
    buf_deinit(&out);
    return err;
}

static enum err fill_tree(const char *from, const char *to, const char *name, int depth,
                          struct report *report)
{
    struct bake_words names = {0};
    char source[PATHS_MAX], target[PATHS_MAX];
    enum err err = file_make_dirs(to, report);
    if (!err && (depth == 0 || !bake_list(from, "", &names)))
        err = err_set(report, ERR_NOT_FOUND, "the SDK has no templates in %s", from);
    for (size_t i = 0; i < names.count && !err; i++) {
        if (snprintf(source, sizeof source, "%s/%s", from, names.items[i]) >= (int)sizeof source ||
            snprintf(target, sizeof target, "%s/%s", to, names.items[i]) >= (int)sizeof target)
            err = err_set(report, ERR_INVALID, "a path in %s is too long", to);
        else if (bake_is_folder(source))
            err = fill_tree(source, target, name, depth - 1, report);
        else
            err = fill_in(source, target, name, report);
    }
    bake_free_words(&names);
    return err;
}

static enum err lay_out(const char *language, const char *name, const char *out,
                        struct report *report)
{
    char sdk[PATHS_MAX], from[PATHS_MAX + 64], to[PATHS_MAX];
    enum err err = bake_find_sdk(sdk, report);
    if (err)
        return err;
    if (mkdir(out, 0777) != 0)
        return err_set(report, ERR_IO, "cannot make the folder %s: %s", out, strerror(errno));
    (void)snprintf(from, sizeof from, "%s/templates/%s", sdk, language);
    err = fill_tree(from, out, name, DEPTH_MAX, report);
    (void)snprintf(from, sizeof from, "%s/templates/Pie.toml", sdk);
    if (!err && snprintf(to, sizeof to, "%s/Pie.toml", out) >= (int)sizeof to)
        err = err_set(report, ERR_INVALID, "the path %s is too long", out);
    return err ? err : fill_in(from, to, name, report);
}

int bake_create(int argc, char **argv)
{
    bool as_json = false, c = false, rust = false, js = false, ts = false, python = false;
    const char *out = NULL;
    struct report report = {0};
    const struct args_option table[] = {
        {"c", 0, &c, NULL, NULL, "A C program (the default): needs clang and wasm-ld"},
        {"rust", 0, &rust, NULL, NULL, "A Rust program: needs cargo with wasm32-wasip2"},
        {"js", 0, &js, NULL, NULL, "A JavaScript program: needs node and npm"},
        {"ts", 't', &ts, NULL, NULL, "A TypeScript program: needs node and npm"},
        {"python", 0, &python, NULL, NULL, "A Python program: needs componentize-py"},
        {"out", 'o', NULL, &out, "DIR", "Folder to make (default: NAME)"},
        {"json", 0, &as_json, NULL, NULL, "Print what was made as JSON"},
        {0},
    };
    struct args args = {.command = "bakery create",
                        .synopsis = "NAME",
                        .description = "Makes a folder with a small inferlet that runs.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1) {
        (void)fprintf(stderr, "error: one NAME is needed: bakery create NAME\n");
        return CMD_USAGE;
    }
    if (c + rust + js + ts + python > 1) {
        (void)fprintf(stderr, "error: choose one of --c, --rust, --js, --ts and --python\n");
        return CMD_USAGE;
    }
    const char *name = args.positionals[0];
    if (!bake_is_name(name)) {
        (void)fprintf(stderr,
                      "bakery: '%s' is no name for an inferlet: words of lower-case letters and "
                      "digits, each beginning with a letter, with '-' between them\n", name);
        return CMD_USAGE;
    }
    if (!out)
        out = name;
    const char *language =
        rust ? "rust" : js ? "javascript" : ts ? "typescript" : python ? "python" : "c";
    if (lay_out(language, name, out, &report))
        return bake_complain(&report);
    if (as_json) {
        struct buf line;
        buf_init(&line, NULL);
        (void)buf_puts(&line, "{\"folder\":");
        (void)buf_put_json(&line, out, strlen(out));
        (void)buf_printf(&line, ",\"name\":\"%s\",\"language\":\"%s\"}", name, language);
        printf("%s\n", line.failed ? "" : line.data);
        buf_deinit(&line);
        return CMD_OK;
    }
    printf("Made %s\n\n"
           "  bakery build %s -o %s.wasm\n"
           "  pie run --path %s.wasm --manifest %s/Pie.toml -- --prompt \"Hello!\"\n",
           out, out, name, name, out);
    return CMD_OK;
}
