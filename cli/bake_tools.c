/* What the commands of bakery share. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bake.h"
#include "cli/cmd.h"
#include "cli/tools.h"
#include "engine/base/file.h"
#include "engine/base/vec.h"

enum { TREE_DEPTH_MAX = 30, COPY_BYTES_MAX = 512 << 20 };

int bake_complain(const struct report *report)
{
    (void)fprintf(stderr, "bakery: %s\n", report->text);
    return CMD_FAILED;
}

/* ---- words -------------------------------------------------------------------------------- */

bool bake_join(struct bake_words *words, const char *before, const char *middle, const char *after)
{
    struct buf text;
    buf_init(&text, NULL);
    (void)buf_printf(&text, "%s%s%s", before, middle, after);
    if (text.failed || !vec_push(NULL, words, text.data)) {
        buf_deinit(&text);
        return false;
    }
    return true;
}

bool bake_word(struct bake_words *words, const char *word)
{
    return bake_join(words, word, "", "");
}

void bake_free_words(struct bake_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        mem_free(NULL, words->items[i]);
    vec_free(NULL, words);
}

int bake_run(struct bake_words *words, const char *folder, bool show)
{
    char *end = NULL;
    if (!vec_push(NULL, words, end))
        return 127;
    words->count--;
    if (show) {
        if (folder)
            (void)fprintf(stderr, "cd %s; ", folder);
        for (size_t i = 0; i < words->count; i++)
            (void)fprintf(stderr, "%s%s", i ? " " : "", words->items[i]);
        (void)fputc('\n', stderr);
    }
    return tools_run(folder, words->items);
}

/* ---- files -------------------------------------------------------------------------------- */

bool bake_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool bake_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool bake_has(const char *folder, const char *name)
{
    char path[PATHS_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           bake_is_file(path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool bake_list(const char *folder, const char *suffix, struct bake_words *names)
{
    DIR *dir = opendir(folder);
    bool ok = dir != NULL;
    size_t first = names->count, suffix_bytes = strlen(suffix);
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        size_t bytes = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && bytes > suffix_bytes &&
            strcmp(entry->d_name + bytes - suffix_bytes, suffix) == 0)
            ok = bake_word(names, entry->d_name);
    }
    if (dir)
        (void)closedir(dir);
    if (names->count > first)
        qsort(names->items + first, names->count - first, sizeof *names->items, by_name);
    return ok;
}

enum err bake_copy(const char *from, const char *to, struct report *report)
{
    char *data;
    size_t bytes;
    enum err err = file_read(from, COPY_BYTES_MAX, NULL, &data, &bytes, report);
    if (err)
        return err;
    err = file_write(to, data, bytes, report);
    mem_free(NULL, data);
    return err;
}

static enum err copy_tree(const char *from, const char *to, int depth, struct report *report)
{
    struct bake_words names = {0};
    char source[PATHS_MAX], target[PATHS_MAX];
    enum err err = file_make_dirs(to, report);
    if (!err && !bake_list(from, "", &names))
        err = err_set(report, ERR_IO, "cannot list the folder %s: %s", from, strerror(errno));
    if (!err && depth == 0)
        err = err_set(report, ERR_LIMIT, "the folder %s is too deep", from);
    for (size_t i = 0; i < names.count && !err; i++) {
        if (snprintf(source, sizeof source, "%s/%s", from, names.items[i]) >= (int)sizeof source ||
            snprintf(target, sizeof target, "%s/%s", to, names.items[i]) >= (int)sizeof target)
            err = err_set(report, ERR_INVALID, "a path in %s is too long", from);
        else if (bake_is_folder(source))
            err = copy_tree(source, target, depth - 1, report);
        else if (bake_is_file(source))
            err = bake_copy(source, target, report);
    }
    bake_free_words(&names);
    return err;
}

enum err bake_copy_tree(const char *from, const char *to, struct report *report)
{
    return copy_tree(from, to, TREE_DEPTH_MAX, report);
}

static void remove_tree(const char *path, int depth)
{
    DIR *dir = depth ? opendir(path) : NULL;
    char inner[PATHS_MAX];
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= (int)sizeof inner ||
            lstat(inner, &info) != 0)
            continue;
        if (S_ISDIR(info.st_mode))
            remove_tree(inner, depth - 1);
        else
            (void)unlink(inner);
    }
    if (dir)
        (void)closedir(dir);
    (void)rmdir(path);
}

void bake_remove_tree(const char *path)
{
    remove_tree(path, TREE_DEPTH_MAX);
}

/* ---- the SDK ------------------------------------------------------------------------------ */

enum err bake_find_sdk(char out[PATHS_MAX], struct report *report)
{
    char found[PATHS_MAX] = "";
    const char *set = getenv("PIE_SDK");
    if (set && *set)
        (void)snprintf(found, sizeof found, "%s", set);
    else if (!(paths_beside_binary(found, "sdk") && bake_is_folder(found)) &&
             !(paths_beside_binary(found, "../sdk") && bake_is_folder(found)))
        found[0] = 0;
    if (!found[0] || !realpath(found, out))
        return err_set(report, ERR_NOT_FOUND,
                       "the SDK was not found%s%s; set PIE_SDK to the folder sdk/",
                       found[0] ? " at " : "", found);
    return ERR_OK;
}

bool bake_put_program_wit(struct buf *out, const char *name, bool with_world)
{
    return buf_printf(out,
                      "package pie:%s;\n"
                      "interface run {\n  run: func(input: string) -> result<string, string>;\n}\n"
                      "%s",
                      name,
                      with_world ? "world program {\n  include pie:inferlet/imports;\n"
                                   "  export run;\n}\n"
                                 : "");
}

static enum err add_file(struct comp_wit *wit, const char *path, struct report *report)
{
    char *text;
    size_t bytes;
    enum err err = file_read(path, COMP_WIT_BYTES_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    err = comp_wit_add(wit, text, bytes, path, NULL, report);
    mem_free(NULL, text);
    return err;
}

static enum err add_folder(struct comp_wit *wit, const char *folder, struct report *report)
{
    struct bake_words names = {0};
    char path[PATHS_MAX];
    enum err err = ERR_OK;
    if (!bake_list(folder, ".wit", &names))
        err = err_set(report, ERR_IO, "cannot list the folder %s: %s", folder, strerror(errno));
    for (size_t i = 0; i < names.count && !err; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names.items[i]);
        err = add_file(wit, path, report);
    }
    bake_free_words(&names);
    return err;
}

enum err bake_read_wit(const char *sdk, const char *name, struct comp_wit *wit,
                       struct report *report)
{
    struct bake_words packages = {0};
    struct buf own;
    char path[PATHS_MAX], inner[PATHS_MAX];
    comp_wit_init(wit);
    buf_init(&own, NULL);
    (void)snprintf(path, sizeof path, "%s/wit", sdk);
    enum err err = add_folder(wit, path, report);
    (void)snprintf(path, sizeof path, "%s/wit/deps", sdk);
    if (!err && !bake_list(path, "", &packages))
        err = err_set(report, ERR_IO, "cannot list the folder %s: %s", path, strerror(errno));
    for (size_t i = 0; i < packages.count && !err; i++) {
        if (snprintf(inner, sizeof inner, "%s/%s", path, packages.items[i]) < (int)sizeof inner)
            err = add_folder(wit, inner, report);
    }
    if (!err && name) {
        if (!bake_put_program_wit(&own, name, false))
            err = err_set(report, ERR_MEMORY, "no memory for the program's interface");
        else
            err = comp_wit_add(wit, own.data, own.count, "run.wit", NULL, report);
    }
    if (!err)
        err = comp_wit_resolve(wit, report);
    if (err)
        comp_wit_deinit(wit);
    buf_deinit(&own);
    bake_free_words(&packages);
    return err;
}

enum err bake_manifest(const char *folder, struct prog_manifest *manifest, struct report *report)
{
    char path[PATHS_MAX];
    char *text;
    size_t bytes;
    if (snprintf(path, sizeof path, "%s/Pie.toml", folder) >= (int)sizeof path)
        return err_set(report, ERR_INVALID, "the path of %s is too long", folder);
    enum err err = file_read(path, BAKE_MANIFEST_BYTES_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    err = prog_manifest_parse(text, bytes, path, NULL, manifest, report);
    mem_free(NULL, text);
    return err;
}
