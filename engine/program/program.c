/* Invariants:
 *   - `programs` maps ids to programs that are decoded and valid, one reference each;
 *   - an id that reaches `path_of` has passed split_id, so it cannot leave the directory;
 *   - of an id that is in both directories the own one counts. */
#include "engine/program/program.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/file.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/program/cache.h"
#include "engine/program/toml.h"
#include "interp/component/component.h"

enum { WASM_BYTES_MAX = 512 << 20, LISTED_MAX = 40 };

enum { OWN, STANDARD, DIRECTORIES };

struct prog_store {
    struct map programs;            /* id -> struct prog */
    char *directories[DIRECTORIES]; /* NULL: none */
    char *cache;                    /* directory of prog_cache_*, NULL: none */
};

struct id_list {
    char (*items)[PROG_ID_BYTES];
    size_t count, capacity;
};

/* ---- programs ----------------------------------------------------------------------------- */

struct prog *prog_ref(struct prog *prog)
{
    prog->refs++;
    return prog;
}

void prog_unref(struct prog *prog)
{
    if (prog == NULL || --prog->refs != 0)
        return;
    comp_component_unref(prog->component);
    prog_manifest_deinit(&prog->manifest);
    mem_free(NULL, prog);
}

static enum err create(const char *cache, const char *manifest, size_t manifest_bytes,
                       const char *file, struct wasm_source *source, struct prog **prog,
                       struct report *report)
{
    size_t wasm_bytes;
    const uint8_t *wasm = wasm_source_bytes(source, &wasm_bytes);
    struct prog *made = mem_calloc(NULL, 1, sizeof *made);
    if (made == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for a program");
    enum err err =
        prog_manifest_parse(manifest, manifest_bytes, file, NULL, &made->manifest, report);
    if (err != ERR_OK) {
        mem_free(NULL, made);
        return err;
    }
    (void)snprintf(made->id, sizeof made->id, "%s@%s", made->manifest.name, made->manifest.version);
    struct prog_cache_key key = {0};
    bool is_known = cache != NULL && wasm_bytes >= PROG_CACHE_BYTES_MIN &&
                    prog_cache_knows(cache, wasm, wasm_bytes, &key);
    err = comp_component_create_from(source, is_known, &made->component, report);
    if (err != ERR_OK) {
        (void)err_prefix(report, "program %s", made->id);
        prog_manifest_deinit(&made->manifest);
        mem_free(NULL, made);
        return err;
    }
    if (cache != NULL && !is_known && wasm_bytes >= PROG_CACHE_BYTES_MIN)
        prog_cache_note(cache, &key);
    made->refs = 1;
    *prog = made;
    return ERR_OK;
}

static enum err create_from_copy(const char *cache, const char *manifest, size_t manifest_bytes,
                                 const char *file, const uint8_t *wasm, size_t wasm_bytes,
                                 struct prog **prog, struct report *report)
{
    uint8_t *copy = mem_alloc(NULL, wasm_bytes);
    struct wasm_source *source = copy ? wasm_source_create(copy, wasm_bytes) : NULL;
    if (source == NULL) {
        mem_free(NULL, copy);
        return err_set(report, ERR_MEMORY, "out of memory for a program");
    }
    if (wasm_bytes > 0)
        memcpy(copy, wasm, wasm_bytes);
    enum err err = create(cache, manifest, manifest_bytes, file, source, prog, report);
    wasm_source_unref(source);
    return err;
}

enum err prog_create(const char *manifest, size_t manifest_bytes, const char *file,
                     const uint8_t *wasm, size_t wasm_bytes, struct prog **prog,
                     struct report *report)
{
    return create_from_copy(NULL, manifest, manifest_bytes, file, wasm, wasm_bytes, prog, report);
}

enum err prog_store_load(struct prog_store *store, const char *manifest, size_t manifest_bytes,
                         const char *file, const uint8_t *wasm, size_t wasm_bytes,
                         struct prog **prog, struct report *report)
{
    return create_from_copy(store->cache, manifest, manifest_bytes, file, wasm, wasm_bytes, prog,
                            report);
}

/* ---- the store ---------------------------------------------------------------------------- */

enum err prog_store_create(const char *directory, const char *standard_directory,
                           struct prog_store **store, struct report *report)
{
    struct prog_store *made = mem_calloc(NULL, 1, sizeof *made);
    if (made == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the program store");
    map_init(&made->programs, NULL);
    const char *const wanted[DIRECTORIES] = {[OWN] = directory, [STANDARD] = standard_directory};
    for (size_t i = 0; i < DIRECTORIES; i++) {
        if (wanted[i] == NULL)
            continue;
        made->directories[i] = mem_strdup(NULL, wanted[i], strlen(wanted[i]));
        if (made->directories[i] == NULL) {
            prog_store_destroy(made);
            return err_set(report, ERR_MEMORY, "out of memory for the program store");
        }
    }
    *store = made;
    return ERR_OK;
}

void prog_store_destroy(struct prog_store *store)
{
    if (store == NULL)
        return;
    size_t at = 0, key_bytes;
    const void *key;
    void *value;
    while (map_next(&store->programs, &at, &key, &key_bytes, &value))
        prog_unref(value);
    map_deinit(&store->programs);
    for (size_t i = 0; i < DIRECTORIES; i++)
        mem_free(NULL, store->directories[i]);
    mem_free(NULL, store->cache);
    mem_free(NULL, store);
}

enum err prog_store_set_cache(struct prog_store *store, const char *directory,
                              struct report *report)
{
    char *copy = mem_strdup(NULL, directory, strlen(directory));
    if (copy == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the program store");
    mem_free(NULL, store->cache);
    store->cache = copy;
    return ERR_OK;
}

/* "NAME@VERSION" to its parts; false when it breaks the rule. */
static bool split_id(const char *id, size_t *name_bytes)
{
    const char *at = strchr(id, '@');
    if (at == NULL || strlen(id) >= PROG_ID_BYTES)
        return false;
    *name_bytes = (size_t)(at - id);
    return prog_name_is_valid(id, *name_bytes) && prog_version_is_valid(at + 1, strlen(at + 1));
}

static bool path_of(const char *directory, const char *id, const char *suffix, struct buf *path)
{
    size_t name_bytes;
    CHECK(split_id(id, &name_bytes));
    buf_clear(path);
    return buf_printf(path, "%s/%.*s/%s.%s", directory, (int)name_bytes, id, id + name_bytes + 1,
                      suffix);
}

static bool is_file(const char *path)
{
    struct stat stat_;
    return stat(path, &stat_) == 0 && S_ISREG(stat_.st_mode);
}

/* The directory that has both files of the id; NULL: none. */
static const char *directory_of(const struct prog_store *store, const char *id)
{
    struct buf path;
    buf_init(&path, NULL);
    const char *there = NULL;
    for (size_t i = 0; i < DIRECTORIES && there == NULL; i++) {
        const char *directory = store->directories[i];
        if (directory != NULL && path_of(directory, id, "wasm", &path) && is_file(path.data) &&
            path_of(directory, id, "toml", &path) && is_file(path.data))
            there = directory;
    }
    buf_deinit(&path);
    return there;
}

static enum err write_files(struct prog_store *store, const struct prog *prog,
                            const struct prog_files *files, struct report *report)
{
    const char *directory = store->directories[OWN];
    if (directory == NULL)
        return err_set(report, ERR_INVALID,
                       "program %s cannot be kept: the engine has no programs directory", prog->id);
    struct buf folder, wasm, manifest;
    buf_init(&folder, NULL);
    buf_init(&wasm, NULL);
    buf_init(&manifest, NULL);
    enum err err = ERR_OK;
    if (!buf_printf(&folder, "%s/%s", directory, prog->manifest.name) ||
        !path_of(directory, prog->id, "wasm", &wasm) ||
        !path_of(directory, prog->id, "toml", &manifest))
        err = err_set(report, ERR_MEMORY, "out of memory while installing %s", prog->id);
    if (err == ERR_OK)
        err = file_make_dirs(folder.data, report);
    /* The manifest last: with it the program is installed. */
    if (err == ERR_OK)
        err = file_write(wasm.data, files->wasm, files->wasm_bytes, report);
    if (err == ERR_OK)
        err = file_write(manifest.data, files->manifest, files->manifest_bytes, report);
    buf_deinit(&folder);
    buf_deinit(&wasm);
    buf_deinit(&manifest);
    return err;
}

enum err prog_store_add(struct prog_store *store, struct prog *prog, bool force,
                        const struct prog_files *files, struct report *report)
{
    size_t bytes = strlen(prog->id);
    struct prog *before = map_find(&store->programs, prog->id, bytes);
    if (!force && (before != NULL || directory_of(store, prog->id) != NULL))
        return err_set(report, ERR_BUSY,
                       "program %s is already installed; raise its version or force the overwrite",
                       prog->id);
    if (!map_set(&store->programs, prog->id, bytes, prog))
        return err_set(report, ERR_MEMORY, "out of memory while installing %s", prog->id);
    enum err err = files != NULL ? write_files(store, prog, files, report) : ERR_OK;
    if (err == ERR_OK) {
        (void)prog_ref(prog);
        prog_unref(before);
        return ERR_OK;
    }
    (void)map_take(&store->programs, prog->id, bytes);
    /* There is room: it was there before. */
    if (before != NULL && !map_set(&store->programs, prog->id, bytes, before))
        prog_unref(before);
    return err;
}

/* ---- listing ------------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    const char *left = a, *right = b;
    size_t left_bytes = strcspn(left, "@"), right_bytes = strcspn(right, "@");
    size_t least = left_bytes < right_bytes ? left_bytes : right_bytes;
    int order = memcmp(left, right, least);
    if (order != 0)
        return order;
    if (left_bytes != right_bytes)
        return left_bytes < right_bytes ? -1 : 1;
    order = prog_version_compare(right + right_bytes + 1, left + left_bytes + 1);
    return order != 0 ? order : strcmp(left, right); /* 1.2.3 and 1.02.3 are two ids */
}

static bool push_id(struct id_list *list, const char *id)
{
    if (!vec_reserve(NULL, list, 1))
        return false;
    (void)snprintf(list->items[list->count++], PROG_ID_BYTES, "%s", id);
    return true;
}

/* The ids under DIRECTORY/NAME that are not in memory. */
static bool list_name(const struct prog_store *store, const char *directory, const char *name,
                      struct id_list *list)
{
    struct buf path;
    buf_init(&path, NULL);
    bool good = buf_printf(&path, "%s/%s", directory, name);
    DIR *open = good ? opendir(path.data) : NULL;
    for (struct dirent *entry; open != NULL && good && (entry = readdir(open)) != NULL;) {
        size_t bytes = strlen(entry->d_name);
        char id[PROG_ID_BYTES];
        if (bytes < 6 || strcmp(entry->d_name + bytes - 5, ".toml") != 0)
            continue;
        if (!prog_version_is_valid(entry->d_name, bytes - 5))
            continue;
        (void)snprintf(id, sizeof id, "%s@%.*s", name, (int)bytes - 5, entry->d_name);
        if (directory_of(store, id) == directory &&
            map_find(&store->programs, id, strlen(id)) == NULL)
            good = push_id(list, id);
    }
    if (open != NULL)
        (void)closedir(open);
    buf_deinit(&path);
    return good;
}

static bool list_directory(const struct prog_store *store, const char *directory,
                           struct id_list *list)
{
    DIR *open = opendir(directory);
    if (open == NULL)
        return true; /* nothing was ever installed there */
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(open)) != NULL;)
        if (prog_name_is_valid(entry->d_name, strlen(entry->d_name)))
            good = list_name(store, directory, entry->d_name, list);
    (void)closedir(open);
    return good;
}

/* All installed ids (of one name when `name` is not NULL), sorted. */
static bool list_ids(const struct prog_store *store, const char *name, struct id_list *list)
{
    size_t at = 0, key_bytes;
    const void *key;
    void *value;
    bool good = true;
    while (good && map_next(&store->programs, &at, &key, &key_bytes, &value)) {
        const struct prog *prog = value;
        if (name == NULL || strcmp(prog->manifest.name, name) == 0)
            good = push_id(list, prog->id);
    }
    for (size_t i = 0; i < DIRECTORIES && good; i++) {
        if (store->directories[i] == NULL)
            continue;
        good = name != NULL ? list_name(store, store->directories[i], name, list)
                            : list_directory(store, store->directories[i], list);
    }
    if (list->count != 0)
        qsort(list->items, list->count, sizeof *list->items, compare_ids);
    return good;
}

enum err prog_store_each(struct prog_store *store, void (*each)(void *user, const char *id),
                         void *user, struct report *report)
{
    struct id_list list = {0};
    enum err err = ERR_OK;
    if (!list_ids(store, NULL, &list))
        err = err_set(report, ERR_MEMORY, "out of memory while listing programs");
    for (size_t i = 0; err == ERR_OK && i < list.count; i++)
        each(user, list.items[i]);
    vec_free(NULL, &list);
    return err;
}

static enum err fail_not_found(struct prog_store *store, const char *name, struct report *report)
{
    struct id_list list = {0};
    struct buf text;
    buf_init(&text, NULL);
    if (list_ids(store, NULL, &list)) {
        for (size_t i = 0; i < list.count && i < LISTED_MAX; i++)
            (void)buf_printf(&text, "%s%s", i == 0 ? "" : ", ", list.items[i]);
        if (list.count > LISTED_MAX)
            (void)buf_printf(&text, " and %zu more", list.count - LISTED_MAX);
    }
    enum err err =
        err_set(report, ERR_NOT_FOUND, "program \"%.200s\" is not installed; installed: %s", name,
                text.count == 0 ? "none" : text.data);
    buf_deinit(&text);
    vec_free(NULL, &list);
    return err;
}

enum err prog_store_find(struct prog_store *store, const char *name, char id[PROG_ID_BYTES],
                         struct report *report)
{
    size_t name_bytes = strcspn(name, "@");
    const char *version = name[name_bytes] == '@' ? name + name_bytes + 1 : "latest";
    bool latest = strcmp(version, "latest") == 0;
    if (!prog_name_is_valid(name, name_bytes) ||
        (!latest && !prog_version_is_valid(version, strlen(version))))
        return err_set(report, ERR_INVALID,
                       "\"%.200s\" is no program: expected NAME, NAME@latest or NAME@1.2.3 with a "
                       "name of letters, digits, '-' and '_'",
                       name);
    char only_name[PROG_ID_BYTES];
    (void)snprintf(only_name, sizeof only_name, "%.*s", (int)name_bytes, name);
    if (!latest) {
        (void)snprintf(id, PROG_ID_BYTES, "%s", name);
        if (map_find(&store->programs, id, strlen(id)) != NULL || directory_of(store, id) != NULL)
            return ERR_OK;
        return fail_not_found(store, name, report);
    }
    struct id_list list = {0};
    enum err err = ERR_OK;
    if (!list_ids(store, only_name, &list))
        err = err_set(report, ERR_MEMORY, "out of memory while looking for program %s", only_name);
    else if (list.count == 0)
        err = fail_not_found(store, name, report);
    else
        (void)snprintf(id, PROG_ID_BYTES, "%s", list.items[0]);
    vec_free(NULL, &list);
    return err;
}

static enum err read_program(struct prog_store *store, const char *directory, const char *id,
                             struct prog **prog, struct report *report)
{
    struct buf wasm_path, manifest_path;
    buf_init(&wasm_path, NULL);
    buf_init(&manifest_path, NULL);
    char *manifest = NULL, *wasm = NULL;
    size_t manifest_bytes = 0, wasm_bytes = 0;
    enum err err = ERR_OK;
    if (!path_of(directory, id, "wasm", &wasm_path) ||
        !path_of(directory, id, "toml", &manifest_path))
        err = err_set(report, ERR_MEMORY, "out of memory while reading program %s", id);
    if (err == ERR_OK)
        err = file_read(manifest_path.data, PROG_TOML_BYTES_MAX, NULL, &manifest, &manifest_bytes,
                        report);
    if (err == ERR_OK)
        err = file_read(wasm_path.data, WASM_BYTES_MAX, NULL, &wasm, &wasm_bytes, report);
    struct wasm_source *source = NULL;
    if (err == ERR_OK) {
        source = wasm_source_create((uint8_t *)wasm, wasm_bytes);
        if (source == NULL)
            err = err_set(report, ERR_MEMORY, "out of memory while reading program %s", id);
        else
            wasm = NULL; /* the source's now */
    }
    if (err == ERR_OK)
        err = create(store->cache, manifest, manifest_bytes, manifest_path.data, source, prog,
                     report);
    wasm_source_unref(source);
    if (err == ERR_OK && strcmp((*prog)->id, id) != 0) {
        err = err_set(report, ERR_INVALID, "%s is the manifest of %s, not of %s",
                      manifest_path.data, (*prog)->id, id);
        prog_unref(*prog);
    }
    mem_free(NULL, manifest);
    mem_free(NULL, wasm);
    buf_deinit(&wasm_path);
    buf_deinit(&manifest_path);
    return err;
}

enum err prog_store_get(struct prog_store *store, const char *id, struct prog **prog,
                        struct report *report)
{
    size_t name_bytes;
    if (!split_id(id, &name_bytes))
        return err_set(report, ERR_INVALID, "\"%.200s\" is no program id: expected NAME@1.2.3", id);
    *prog = map_find(&store->programs, id, strlen(id));
    if (*prog != NULL)
        return ERR_OK;
    const char *directory = directory_of(store, id);
    if (directory == NULL)
        return fail_not_found(store, id, report);
    enum err err = read_program(store, directory, id, prog, report);
    if (err != ERR_OK)
        return err;
    if (!map_set(&store->programs, id, strlen(id), *prog)) {
        prog_unref(*prog);
        return err_set(report, ERR_MEMORY, "out of memory while reading program %s", id);
    }
    return ERR_OK;
}
