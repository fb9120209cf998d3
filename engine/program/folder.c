#include "engine/program/folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/vec.h"
#include "engine/program/crypto.h"
#include "engine/program/manifest.h"
#include "engine/program/toml.h"

enum { META_BYTES_MAX = 1 << 16, VERSION_MAX = 104 };

struct names {
    char **items;
    size_t count, capacity;
};

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for the registry's answer");
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free(NULL, names->items[i]);
    vec_free(NULL, names);
}

/* ---- paths -------------------------------------------------------------------------------- */

static enum err path_of(const char *folder, const char *name, const char *version,
                        const char *suffix, char out[PROG_FOLDER_PATH_MAX], struct report *report)
{
    if (!prog_name_is_valid(name, strlen(name)) ||
        (version && !prog_version_is_valid(version, strlen(version))))
        return err_set(report, ERR_INVALID, "\"%.100s@%.40s\" is no program id", name,
                       version ? version : "");
    int put = version ? snprintf(out, PROG_FOLDER_PATH_MAX, "%s/%s/%s.%s", folder, name, version, suffix)
                      : snprintf(out, PROG_FOLDER_PATH_MAX, "%s/%s", folder, name);
    if (put >= PROG_FOLDER_PATH_MAX)
        return err_set(report, ERR_INVALID, "the path of %s is too long", name);
    return ERR_OK;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

enum err prog_folder_path(const char *folder, const char *name, const char *version,
                          const char *suffix, char out[PROG_FOLDER_PATH_MAX],
                          struct report *report)
{
    enum err err = path_of(folder, name, version, suffix, out, report);
    if (err)
        return err;
    return is_file(out) ? ERR_OK
                        : err_set(report, ERR_NOT_FOUND, "there is no %s@%s in the registry", name,
                                  version);
}

static int newest_first(const void *a, const void *b)
{
    return prog_version_compare(*(char *const *)b, *(char *const *)a);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The versions of a program that have both files, newest first. */
static enum err list_versions(const char *folder, const char *name, struct names *versions,
                              struct report *report)
{
    char path[PROG_FOLDER_PATH_MAX], version[VERSION_MAX];
    enum err err = path_of(folder, name, NULL, NULL, path, report);
    DIR *dir = err ? NULL : opendir(path);
    for (struct dirent *entry; dir && !err && (entry = readdir(dir));) {
        size_t bytes = strlen(entry->d_name);
        if (bytes < 6 || bytes - 5 >= sizeof version || strcmp(entry->d_name + bytes - 5, ".wasm") != 0)
            continue;
        (void)snprintf(version, sizeof version, "%.*s", (int)(bytes - 5), entry->d_name);
        if (!prog_version_is_valid(version, strlen(version)) ||
            path_of(folder, name, version, "toml", path, report) || !is_file(path))
            continue;
        char *copy = mem_strdup(NULL, version, strlen(version));
        if (!copy || !vec_push(NULL, versions, copy)) {
            mem_free(NULL, copy);
            err = no_memory(report);
        }
    }
    if (dir)
        (void)closedir(dir);
    if (versions->count)
        qsort(versions->items, versions->count, sizeof *versions->items, newest_first);
    return err;
}

static enum err list_programs(const char *folder, struct names *names, struct report *report)
{
    DIR *dir = opendir(folder);
    enum err err = ERR_OK;
    if (!dir)
        return err_set(report, ERR_NOT_FOUND, "cannot open the registry's folder %s: %s", folder,
                       strerror(errno));
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        if (!prog_name_is_valid(entry->d_name, strlen(entry->d_name)))
            continue;
        char *copy = names->count < PROG_FOLDER_NAMES_MAX
                         ? mem_strdup(NULL, entry->d_name, strlen(entry->d_name))
                         : NULL;
        if (!copy || !vec_push(NULL, names, copy)) {
            mem_free(NULL, copy);
            err = err_set(report, ERR_LIMIT, "the registry's folder holds too many programs");
        }
    }
    (void)closedir(dir);
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, by_name);
    return err;
}

/* ---- reading ------------------------------------------------------------------------------ */

static enum err read_manifest(const char *folder, const char *name, const char *version,
                              struct prog_manifest *manifest, struct report *report)
{
    char path[PROG_FOLDER_PATH_MAX];
    char *text;
    size_t bytes;
    enum err err = path_of(folder, name, version, "toml", path, report);
    if (!err)
        err = file_read(path, PROG_TOML_BYTES_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    err = prog_manifest_parse(text, bytes, path, NULL, manifest, report);
    mem_free(NULL, text);
    return err;
}

/* The package's NAME/VERSION.json, an empty object when there is none that can be read. */
static json_t *read_meta(const char *folder, const char *name, const char *version)
{
    char path[PROG_FOLDER_PATH_MAX];
    char *text;
    size_t bytes;
    struct report ignored = {0};
    json_t *meta = NULL;
    if (path_of(folder, name, version, "json", path, &ignored) == ERR_OK && is_file(path) &&
        file_read(path, META_BYTES_MAX, NULL, &text, &bytes, &ignored) == ERR_OK) {
        meta = json_loadb(text, bytes, 0, NULL);
        mem_free(NULL, text);
    }
    if (!json_is_object(meta)) {
        json_decref(meta);
        meta = json_object();
    }
    return meta;
}

static void put_time(json_t *object, const char *key, time_t when)
{
    char text[40];
    struct tm parts;
    if (gmtime_r(&when, &parts) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        (void)json_object_set_new(object, key, json_string(text));
}

static time_t file_time(const char *folder, const char *name, const char *version)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct stat info;
    struct report ignored = {0};
    return path_of(folder, name, version, "wasm", path, &ignored) == ERR_OK &&
                   stat(path, &info) == 0
               ? info.st_mtime
               : 0;
}

static json_t *pairs_json(const struct prog_pair *pairs, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++)
        (void)json_object_set_new(object, pairs[i].name, json_string(pairs[i].value));
    return object;
}

static json_t *texts_json(const char *const *texts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_string(texts[i]));
    return array;
}

static json_t *parameters_json(const struct prog_manifest *m)
{
    json_t *object = json_object();
    for (size_t i = 0; i < m->parameter_count; i++) {
        const struct prog_parameter *p = &m->parameters[i];
        (void)json_object_set_new(object, p->name,
                                  json_pack("{s:s, s:b, s:s}", "type", prog_type_name(p->type),
                                            "optional", p->optional, "description",
                                            p->description));
    }
    return object;
}

/* One entry of `versions`. */
static enum err version_json(const char *folder, const char *name, const char *version, json_t **out,
                             struct report *report)
{
    char path[PROG_FOLDER_PATH_MAX], checksum[PROG_SHA256_TEXT];
    struct prog_manifest m;
    const uint8_t *wasm;
    size_t bytes;
    enum err err = prog_folder_path(folder, name, version, "wasm", path, report);
    if (!err)
        err = file_map(path, &wasm, &bytes, report);
    if (err)
        return err;
    json_t *meta = read_meta(folder, name, version);
    if (!json_is_string(json_object_get(meta, "checksum")))
        err = prog_crypto_sha256(wasm, bytes, checksum, report);
    else
        checksum[0] = 0; /* replaced below by what was published */
    file_unmap(wasm, bytes);
    if (!err)
        err = read_manifest(folder, name, version, &m, report);
    if (err) {
        json_decref(meta);
        return err;
    }
    json_t *v = json_object();
    (void)json_object_set_new(v, "num", json_string(version));
    (void)json_object_set_new(v, "checksum", json_string(checksum));
    (void)json_object_set_new(v, "size_bytes", json_integer((json_int_t)bytes));
    (void)json_object_set_new(v, "description", json_string(m.description));
    (void)json_object_set_new(v, "runtime", pairs_json(m.runtime, m.runtime_count));
    (void)json_object_set_new(v, "parameters", parameters_json(&m));
    (void)json_object_set_new(v, "dependencies", pairs_json(m.dependencies, m.dependency_count));
    (void)json_object_set_new(v, "wit", json_null());
    (void)json_object_set_new(v, "yanked", json_boolean(json_is_true(json_object_get(meta, "yanked"))));
    (void)json_object_set_new(v, "authors", texts_json(m.authors, m.author_count));
    (void)json_object_set_new(v, "keywords", texts_json(m.keywords, m.keyword_count));
    (void)json_object_set_new(v, "repository", json_string(m.repository));
    (void)json_object_set_new(v, "readme", json_string(m.readme));
    put_time(v, "created_at", file_time(folder, name, version));
    const char *const kept[] = {"created_at", "checksum", "signature", "signed_by"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (json_is_string(json_object_get(meta, kept[i])))
            (void)json_object_set(v, kept[i], json_object_get(meta, kept[i]));
    json_decref(meta);
    prog_manifest_deinit(&m);
    *out = v;
    return v ? ERR_OK : no_memory(report);
}

static enum err dump(json_t *json, struct buf *out, struct report *report)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    bool ok = text && buf_puts(out, text);
    free(text);
    json_decref(json);
    return ok ? ERR_OK : no_memory(report);
}

enum err prog_folder_info(const char *folder, const char *name, struct buf *json,
                          struct report *report)
{
    struct names versions = {0};
    enum err err = list_versions(folder, name, &versions, report);
    if (!err && versions.count == 0)
        err = err_set(report, ERR_NOT_FOUND, "there is no program %s in the registry", name);
    json_t *all = json_array();
    for (size_t i = 0; i < versions.count && !err; i++) {
        json_t *one;
        err = version_json(folder, name, versions.items[i], &one, report);
        if (!err)
            (void)json_array_append_new(all, one);
    }
    if (err) {
        json_decref(all);
    } else {
        json_t *info = json_pack("{s:s, s:s, s:i}", "id", name, "name", name, "downloads", 0);
        (void)json_object_set(info, "created_at",
                              json_object_get(json_array_get(all, versions.count - 1), "created_at"));
        (void)json_object_set_new(info, "versions", all);
        err = dump(info, json, report);
    }
    free_names(&versions);
    return err;
}

/* ---- searching ---------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part)
{
    size_t bytes = strlen(part);
    for (; *text; text++)
        if (strncasecmp(text, part, bytes) == 0)
            return true;
    return bytes == 0;
}

static bool matches(const struct prog_manifest *m, const char *query)
{
    bool found = contains(m->name, query) || contains(m->description, query);
    for (size_t i = 0; i < m->keyword_count && !found; i++)
        found = contains(m->keywords[i], query);
    return found;
}

/* The newest version that is not yanked; NULL when all are. */
static const char *latest_of(const char *folder, const char *name, const struct names *versions)
{
    for (size_t i = 0; i < versions->count; i++) {
        json_t *meta = read_meta(folder, name, versions->items[i]);
        bool yanked = json_is_true(json_object_get(meta, "yanked"));
        json_decref(meta);
        if (!yanked)
            return versions->items[i];
    }
    return NULL;
}

enum err prog_folder_search(const char *folder, const char *query, uint32_t page,
                            uint32_t per_page, struct buf *json, struct report *report)
{
    struct names names = {0};
    enum err err = list_programs(folder, &names, report);
    json_t *items = json_array();
    uint64_t total = 0, first = ((uint64_t)(page ? page : 1) - 1) * per_page;
    for (size_t i = 0; i < names.count && !err; i++) {
        struct names versions = {0};
        struct prog_manifest m;
        struct report ignored = {0};
        err = list_versions(folder, names.items[i], &versions, report);
        const char *latest = err ? NULL : latest_of(folder, names.items[i], &versions);
        if (latest && read_manifest(folder, names.items[i], latest, &m, &ignored) == ERR_OK) {
            if (matches(&m, query)) {
                if (total >= first && total < first + per_page) {
                    json_t *item = json_pack("{s:s, s:s, s:s, s:i, s:s}", "id", names.items[i], "name",
                                             names.items[i], "description", m.description,
                                             "downloads", 0, "latest_version", latest);
                    put_time(item, "created_at", file_time(folder, names.items[i], latest));
                    (void)json_array_append_new(items, item);
                }
                total++;
            }
            prog_manifest_deinit(&m);
        }
        free_names(&versions);
    }
    if (err)
        json_decref(items);
    else
        err = dump(json_pack("{s:I, s:i, s:i, s:I, s:o}", "total", (json_int_t)total, "page",
                             (int)(page ? page : 1), "per_page", (int)per_page, "pages",
                             (json_int_t)((total + per_page - 1) / per_page), "items", items),
                   json, report);
    free_names(&names);
    return err;
}

/* ---- publishing --------------------------------------------------------------------------- */

enum err prog_folder_signed_text(const char *name, const char *version,
                                 const struct prog_package *package, struct buf *text,
                                 struct report *report)
{
    char wasm[PROG_SHA256_TEXT], manifest[PROG_SHA256_TEXT];
    enum err err = prog_crypto_sha256(package->wasm, package->wasm_bytes, wasm, report);
    if (!err)
        err = prog_crypto_sha256(package->manifest, package->manifest_bytes, manifest, report);
    if (err)
        return err;
    return buf_printf(text, "pie program 1\n%s\n%s\n%s\n%s\n", name, version, wasm, manifest)
               ? ERR_OK
               : no_memory(report);
}

static enum err check_package(const char *name, const char *version,
                              const struct prog_package *package, struct report *report)
{
    struct prog_manifest m;
    enum err err = prog_manifest_parse(package->manifest, package->manifest_bytes, "Pie.toml", NULL, &m,
                                       report);
    if (err)
        return err;
    if (strcmp(m.name, name) != 0 || strcmp(m.version, version) != 0)
        err = err_set(report, ERR_INVALID, "the Pie.toml is of %s@%s, not of %s@%s", m.name,
                      m.version, name, version);
    prog_manifest_deinit(&m);
    static const uint8_t magic[4] = {0, 'a', 's', 'm'};
    if (!err && (package->wasm_bytes < 8 || memcmp(package->wasm, magic, 4) != 0))
        err = err_set(report, ERR_INVALID, "the program of %s is no WebAssembly", name);
    if (err || !package->signature)
        return err;
    struct buf text;
    buf_init(&text, NULL);
    err = prog_folder_signed_text(name, version, package, &text, report);
    if (!err && (!package->signed_by || !prog_crypto_verify(package->signed_by, text.data, text.count,
                                                            package->signature)))
        err = err_set(report, ERR_INVALID, "the signature of %s@%s does not fit", name, version);
    buf_deinit(&text);
    return err;
}

static enum err write_meta(const char *folder, const char *name, const char *version, json_t *meta,
                           struct report *report)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct buf text;
    buf_init(&text, NULL);
    enum err err = dump(meta, &text, report);
    if (!err)
        err = path_of(folder, name, version, "json", path, report);
    if (!err)
        err = file_write(path, text.data, text.count, report);
    buf_deinit(&text);
    return err;
}

enum err prog_folder_publish(const char *folder, const char *name, const char *version,
                             const struct prog_package *package, struct report *report)
{
    char wasm[PROG_FOLDER_PATH_MAX], manifest[PROG_FOLDER_PATH_MAX], home[PROG_FOLDER_PATH_MAX];
    enum err err = path_of(folder, name, version, "wasm", wasm, report);
    if (!err)
        err = path_of(folder, name, version, "toml", manifest, report);
    if (!err)
        err = path_of(folder, name, NULL, NULL, home, report);
    if (!err)
        err = check_package(name, version, package, report);
    if (!err && is_file(wasm) && is_file(manifest))
        err = err_set(report, ERR_BUSY, "%s@%s is published already; raise its version", name, version);
    if (!err)
        err = file_make_dirs(home, report);
    if (err)
        return err;
    char checksum[PROG_SHA256_TEXT];
    err = prog_crypto_sha256(package->wasm, package->wasm_bytes, checksum, report);
    if (err)
        return err;
    json_t *meta = json_object();
    put_time(meta, "created_at", time(NULL));
    (void)json_object_set_new(meta, "checksum", json_string(checksum));
    if (package->signature) {
        (void)json_object_set_new(meta, "signature", json_string(package->signature));
        (void)json_object_set_new(meta, "signed_by", json_string(package->signed_by));
    }
    /* The manifest last: with it the version is there. */
    err = write_meta(folder, name, version, meta, report);
    if (!err)
        err = file_write(wasm, package->wasm, package->wasm_bytes, report);
    if (!err)
        err = file_write(manifest, package->manifest, package->manifest_bytes, report);
    return err;
}

enum err prog_folder_yank(const char *folder, const char *name, const char *version, bool yanked,
                          struct report *report)
{
    char path[PROG_FOLDER_PATH_MAX];
    enum err err = prog_folder_path(folder, name, version, "toml", path, report);
    if (err)
        return err;
    json_t *meta = read_meta(folder, name, version);
    (void)json_object_set_new(meta, "yanked", json_boolean(yanked));
    return write_meta(folder, name, version, meta, report);
}
