#include "engine/program/manifest.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/program/semver.h"
#include "engine/program/toml.h"

/* Where the reader is, for messages. */
struct reader {
    struct prog_toml toml;
    struct prog_manifest *manifest;
    const char *file;
    struct report *report;
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool prog_name_is_valid(const char *name, size_t bytes)
{
    if (bytes == 0 || bytes > 128 || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; i < bytes; i++)
        if (!is_alnum(name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

bool prog_version_is_valid(const char *version, size_t bytes)
{
    unsigned parts = 1;
    bool digit = false;
    if (bytes > 100)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (version[i] == '.') {
            if (!digit || ++parts > 3)
                return false;
            digit = false;
        } else if (version[i] >= '0' && version[i] <= '9') {
            digit = true;
        } else {
            return false;
        }
    }
    return digit && parts == 3;
}

int prog_version_compare(const char *a, const char *b)
{
    for (int part = 0; part < 3; part++) {
        while (*a == '0')
            a++;
        while (*b == '0')
            b++;
        size_t a_bytes = strcspn(a, "."), b_bytes = strcspn(b, ".");
        if (a_bytes != b_bytes)
            return a_bytes < b_bytes ? -1 : 1;
        int order = memcmp(a, b, a_bytes);
        if (order != 0)
            return order;
        a += a_bytes + (a[a_bytes] == '.');
        b += b_bytes + (b[b_bytes] == '.');
    }
    return 0;
}

static const char *const type_names[] = {"string", "int", "float", "bool"};

const char *prog_type_name(enum prog_type type)
{
    return type_names[type];
}

/* ---- reading ------------------------------------------------------------------------------ */

static enum err fail(struct reader *r, const struct prog_toml_value *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err fail(struct reader *r, const struct prog_toml_value *at, const char *format, ...)
{
    char what[500];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(what, sizeof what, format, list);
    va_end(list);
    uint32_t line, column;
    prog_toml_position(&r->toml, at->offset, &line, &column);
    return err_set(r->report, ERR_INVALID, "%s, line %u, column %u: %s", r->file, line, column,
                   what);
}

static enum err no_memory(struct reader *r)
{
    return err_set(r->report, ERR_MEMORY, "out of memory while reading %s", r->file);
}

/* Copies a text value; `key` is its full name. */
static enum err take_text(struct reader *r, const struct prog_toml_value *value, const char *key,
                          const char **out)
{
    if (value->kind != PROG_TOML_STRING)
        return fail(r, value, "%s: expected a string, found %s", key,
                    prog_toml_kind_name(value->kind));
    if (memchr(value->of.string.data, 0, value->of.string.bytes) != NULL)
        return fail(r, value, "%s: the text contains a zero character", key);
    *out = arena_strdup(&r->manifest->arena, value->of.string.data, value->of.string.bytes);
    return *out == NULL ? no_memory(r) : ERR_OK;
}

static enum err read_text(struct reader *r, const struct prog_toml_value *table,
                          const char *section, const char *key, bool required, const char **out)
{
    char full[200];
    (void)snprintf(full, sizeof full, "%s.%s", section, key);
    const struct prog_toml_value *value = prog_toml_find(table, key);
    if (value != NULL)
        return take_text(r, value, full, out);
    if (required)
        return fail(r, table, "[%s] has no `%s`: expected %s = \"...\"", section, key, key);
    return ERR_OK;
}

static enum err read_texts(struct reader *r, const struct prog_toml_value *table,
                           const char *section, const char *key, const char ***out, size_t *count)
{
    char full[200];
    (void)snprintf(full, sizeof full, "%s.%s", section, key);
    const struct prog_toml_value *value = prog_toml_find(table, key);
    if (value == NULL)
        return ERR_OK;
    if (value->kind != PROG_TOML_ARRAY)
        return fail(r, value, "%s: expected an array of strings, found %s", full,
                    prog_toml_kind_name(value->kind));
    const char **texts =
        arena_calloc(&r->manifest->arena, (size_t)value->of.array.count + 1, sizeof *texts);
    if (texts == NULL)
        return no_memory(r);
    for (uint32_t i = 0; i < value->of.array.count; i++) {
        enum err err = take_text(r, value->of.array.items[i], full, &texts[i]);
        if (err != ERR_OK)
            return err;
    }
    *out = texts;
    *count = value->of.array.count;
    return ERR_OK;
}

/* The table of this name; NULL when absent. */
static enum err find_table(struct reader *r, const char *key, const struct prog_toml_value **out)
{
    *out = prog_toml_find(r->toml.root, key);
    if (*out != NULL && (*out)->kind != PROG_TOML_TABLE)
        return fail(r, *out, "%s: expected a table ([%s]), found %s", key, key,
                    prog_toml_kind_name((*out)->kind));
    return ERR_OK;
}

static enum err copy_key(struct reader *r, const struct prog_toml_entry *entry, const char *section,
                         const char **out)
{
    if (memchr(entry->key, 0, entry->key_bytes) != NULL)
        return fail(r, entry->value, "a key of [%s] contains a zero character", section);
    *out = arena_strdup(&r->manifest->arena, entry->key, entry->key_bytes);
    return *out == NULL ? no_memory(r) : ERR_OK;
}

typedef enum err (*check_pair)(struct reader *r, const struct prog_toml_value *at, const char *full,
                               const struct prog_pair *pair);

static enum err check_runtime(struct reader *r, const struct prog_toml_value *at, const char *full,
                              const struct prog_pair *pair)
{
    if (prog_semver_is_constraint(pair->value))
        return ERR_OK;
    return fail(r, at, "%s: expected a version constraint such as \"^0.4.0\", found \"%.60s\"", full,
                pair->value);
}

static enum err check_dependency(struct reader *r, const struct prog_toml_value *at,
                                 const char *full, const struct prog_pair *pair)
{
    if (!prog_name_is_valid(pair->name, strlen(pair->name)))
        return fail(r, at, "%s: expected the name of a program: a letter or digit, then letters, "
                           "digits, '-' and '_'", full);
    if (!prog_version_is_valid(pair->value, strlen(pair->value)))
        return fail(r, at, "%s: expected an exact version like \"1.2.3\", found \"%.60s\"", full,
                    pair->value);
    return ERR_OK;
}

static enum err read_pairs(struct reader *r, const char *section, check_pair check,
                           struct prog_pair **out, size_t *count)
{
    const struct prog_toml_value *table;
    enum err err = find_table(r, section, &table);
    if (err != ERR_OK || table == NULL)
        return err;
    struct prog_pair *pairs =
        arena_calloc(&r->manifest->arena, (size_t)table->of.table.count + 1, sizeof *pairs);
    if (pairs == NULL)
        return no_memory(r);
    for (uint32_t i = 0; i < table->of.table.count; i++) {
        const struct prog_toml_entry *entry = &table->of.table.entries[i];
        char full[200];
        err = copy_key(r, entry, section, &pairs[i].name);
        if (err != ERR_OK)
            return err;
        (void)snprintf(full, sizeof full, "%s.%s", section, pairs[i].name);
        err = take_text(r, entry->value, full, &pairs[i].value);
        if (err != ERR_OK)
            return err;
        uint32_t column;
        prog_toml_position(&r->toml, entry->value->offset, &pairs[i].line, &column);
        err = check(r, entry->value, full, &pairs[i]);
        if (err != ERR_OK)
            return err;
    }
    *out = pairs;
    *count = table->of.table.count;
    return ERR_OK;
}

static enum err read_parameter(struct reader *r, const struct prog_toml_entry *entry,
                               struct prog_parameter *out)
{
    enum err err = copy_key(r, entry, "parameters", &out->name);
    if (err != ERR_OK)
        return err;
    const struct prog_toml_value *table = entry->value;
    char full[160];
    (void)snprintf(full, sizeof full, "parameters.%.120s", out->name);
    if (table->kind != PROG_TOML_TABLE)
        return fail(r, table, "%s: expected a table such as { type = \"string\" }, found %s", full,
                    prog_toml_kind_name(table->kind));
    const char *type = "";
    out->description = "";
    err = read_text(r, table, full, "type", true, &type);
    if (err == ERR_OK)
        err = read_text(r, table, full, "description", false, &out->description);
    if (err != ERR_OK)
        return err;
    size_t kind = 0;
    while (kind < 4 && strcmp(type_names[kind], type) != 0)
        kind++;
    if (kind == 4)
        return fail(r, prog_toml_find(table, "type"),
                    "%s.type: expected \"string\", \"int\", \"float\" or \"bool\", found \"%.60s\"",
                    full, type);
    out->type = (enum prog_type)kind;
    const struct prog_toml_value *optional = prog_toml_find(table, "optional");
    if (optional != NULL && optional->kind != PROG_TOML_BOOL)
        return fail(r, optional, "%s.optional: expected true or false, found %s", full,
                    prog_toml_kind_name(optional->kind));
    out->optional = optional != NULL && optional->of.boolean;
    return ERR_OK;
}

static enum err read_parameters(struct reader *r)
{
    const struct prog_toml_value *table;
    enum err err = find_table(r, "parameters", &table);
    if (err != ERR_OK || table == NULL)
        return err;
    struct prog_parameter *parameters =
        arena_calloc(&r->manifest->arena, (size_t)table->of.table.count + 1, sizeof *parameters);
    if (parameters == NULL)
        return no_memory(r);
    for (uint32_t i = 0; i < table->of.table.count && err == ERR_OK; i++)
        err = read_parameter(r, &table->of.table.entries[i], &parameters[i]);
    r->manifest->parameters = parameters;
    r->manifest->parameter_count = table->of.table.count;
    return err;
}

static enum err read_package(struct reader *r)
{
    struct prog_manifest *m = r->manifest;
    const struct prog_toml_value *package;
    enum err err = find_table(r, "package", &package);
    if (err != ERR_OK)
        return err;
    if (package == NULL)
        return fail(r, r->toml.root,
                    "there is no [package] table: expected [package] with name and version");
    err = read_text(r, package, "package", "name", true, &m->name);
    if (err == ERR_OK)
        err = read_text(r, package, "package", "version", true, &m->version);
    if (err == ERR_OK)
        err = read_text(r, package, "package", "description", false, &m->description);
    if (err == ERR_OK)
        err = read_text(r, package, "package", "repository", false, &m->repository);
    if (err == ERR_OK)
        err = read_text(r, package, "package", "readme", false, &m->readme);
    if (err == ERR_OK)
        err = read_texts(r, package, "package", "authors", &m->authors, &m->author_count);
    if (err == ERR_OK)
        err = read_texts(r, package, "package", "keywords", &m->keywords, &m->keyword_count);
    if (err != ERR_OK)
        return err;
    if (!prog_name_is_valid(m->name, strlen(m->name)))
        return fail(r, prog_toml_find(package, "name"),
                    "package.name: expected a letter or digit, then letters, digits, '-' and '_' "
                    "(at most 128), found \"%.60s\"",
                    m->name);
    if (!prog_version_is_valid(m->version, strlen(m->version)))
        return fail(r, prog_toml_find(package, "version"),
                    "package.version: expected three numbers like \"1.2.3\", found \"%.60s\"",
                    m->version);
    return ERR_OK;
}

enum err prog_manifest_parse(const char *text, size_t bytes, const char *file,
                             struct mem_heap *heap, struct prog_manifest *manifest,
                             struct report *report)
{
    *manifest = (struct prog_manifest){
        .name = "", .version = "", .description = "", .repository = "", .readme = ""};
    struct reader r = {.manifest = manifest, .file = file, .report = report};
    struct report inner = {0};
    enum err err = prog_toml_parse(text, bytes, heap, &r.toml, &inner);
    if (err != ERR_OK)
        return err_set(report, err, "%s, %s", file, inner.text);
    arena_init(&manifest->arena, heap);
    err = read_package(&r);
    if (err == ERR_OK)
        err = read_pairs(&r, "runtime", check_runtime, &manifest->runtime, &manifest->runtime_count);
    if (err == ERR_OK)
        err = read_pairs(&r, "dependencies", check_dependency, &manifest->dependencies, &manifest->dependency_count);
    if (err == ERR_OK)
        err = read_parameters(&r);
    prog_toml_deinit(&r.toml);
    if (err != ERR_OK)
        prog_manifest_deinit(manifest);
    return err;
}

void prog_manifest_deinit(struct prog_manifest *manifest)
{
    arena_deinit(&manifest->arena);
    *manifest = (struct prog_manifest){0};
}
