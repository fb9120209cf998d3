/* links: interp/component
 *
 * Runs the component model's official test suite (tests/spec/component-model.tar.xz, see
 * tests/spec/README.md).
 *
 *     test_component [--verbose] [PATH-PREFIX...]
 *
 * What tests/spec/SKIPPED-COMPONENT names is left out and counted apart. Failures are listed as
 * file:command-index. Closes with `N passed, N failed, N skipped`. */
#define _GNU_SOURCE
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/map.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "interp/component/runtime.h"

static const char skipped_list[] = "tests/spec/SKIPPED-COMPONENT";
static const char archive[] = "tests/spec/component-model.tar.xz";
static const uint64_t fuel_max = 1000000000u;
enum { INSTANCES_MAX = 300 };

static bool verbose;
static unsigned passed_count, failed_count, skipped_count;

/* ---- what is left out -------------------------------------------------------------------- */

struct skip {
    char path[200];
    unsigned first, last;
};
static struct { struct skip *items; size_t count, capacity; } skips;

static void read_skips(void)
{
    char line[1000];
    FILE *file = fopen(skipped_list, "r");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        struct skip skip = {.last = UINT32_MAX};
        char word[200];
        if (line[0] == '#' || sscanf(line, "%199s", word) != 1)
            continue;
        char *colon = strchr(word, ':');
        if (colon) {
            *colon = '\0';
            if (sscanf(colon + 1, "%u-%u", &skip.first, &skip.last) == 1)
                skip.last = skip.first;
        }
        memcpy(skip.path, word, sizeof word);
        if (!vec_push(NULL, &skips, skip))
            abort();
    }
    (void)fclose(file);
}

static bool is_skipped(const char *path, unsigned command)
{
    for (size_t i = 0; i < skips.count; i++) {
        size_t bytes = strlen(skips.items[i].path);
        if (strncmp(path, skips.items[i].path, bytes) == 0 &&
            (path[bytes] == '\0' || path[bytes] == '/') && command >= skips.items[i].first &&
            command <= skips.items[i].last)
            return true;
    }
    return false;
}

/* ---- one file ---------------------------------------------------------------------------- */

struct runner {
    const char *path;
    char folder[600];
    unsigned command;
    struct comp_linker *linker;
    struct map named; /* components */
    struct comp_component *last;
    struct comp_instance *current;
    struct comp_instance *instances[INSTANCES_MAX];
    unsigned instance_count;
    struct arena arena;
    struct report report;
};

static void failed(const struct runner *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void failed(const struct runner *r, const char *format, ...)
{
    va_list args;
    failed_count++;
    printf("FAIL %s:%u: ", r->path, r->command);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static enum err load(struct runner *r, const json_t *command, struct comp_component **component)
{
    char path[1000], *data;
    size_t bytes;
    (void)snprintf(path, sizeof path, "%s/%s", r->folder, text_of(command, "filename"));
    r->report = (struct report){0};
    if (file_read(path, 1u << 28, NULL, &data, &bytes, &r->report) != ERR_OK) {
        fprintf(stderr, "%s\n", r->report.text);
        exit(2);
    }
    enum err err = comp_component_create((const uint8_t *)data, bytes, component, &r->report);
    mem_free(NULL, data);
    return err;
}

/* NULL when done, else the trap's text. */
static const char *run(struct comp_instance *instance)
{
    switch (comp_instance_run(instance, fuel_max)) {
    case WASM_RUN_DONE: return NULL;
    case WASM_RUN_TRAP: return comp_instance_trap_text(instance);
    case WASM_RUN_FUEL: return "(out of fuel)";
    case WASM_RUN_WAIT: return "(waits)";
    }
    return "(unknown)";
}

/* ---- values ------------------------------------------------------------------------------ */

static const struct comp_functype *find_type(const struct comp_component *component,
                                             const char *name)
{
    const struct comp_component_type *type = component->root->type;
    for (uint32_t i = 0; i < type->export_count; i++)
        if (type->exports[i].type.sort == COMP_SORT_FUNC &&
            strcmp(type->exports[i].name, name) == 0)
            return type->exports[i].type.of.func;
    return NULL;
}

static uint32_t field_index(const struct comp_type *type, const char *name)
{
    for (uint32_t i = 0; i < type->field_count; i++)
        if (type->fields[i].name && strcmp(type->fields[i].name, name) == 0)
            return i;
    fprintf(stderr, "there is no case or field %s\n", name);
    exit(2);
}

static uint64_t number(const json_t *value)
{
    const char *text = json_string_value(value);
    return !text ? 0 : text[0] == '-' ? (uint64_t)strtoll(text, NULL, 0) : strtoull(text, NULL, 0);
}

static double real(const json_t *value)
{
    const char *text = json_string_value(value);
    return !text || strncmp(text, "nan", 3) == 0 ? (double)NAN : strtod(text, NULL);
}

static void put_packed(void *data, size_t index, const struct comp_type *type,
                       const struct comp_value *value)
{
    char *to = (char *)data + index * type->size;
    switch (type->kind) {
    case COMP_F32: memcpy(to, &value->of.f32, 4); break;
    case COMP_F64: memcpy(to, &value->of.f64, 8); break;
    default: memcpy(to, &value->of.u, type->size); break;
    }
}

static struct comp_value make_value(struct arena *arena, const struct comp_type *type,
                                    const json_t *json);

static struct comp_value *make_payload(struct arena *arena, const struct comp_type *type,
                                       const json_t *json)
{
    struct comp_value *payload = arena_alloc(arena, sizeof *payload);
    *payload = make_value(arena, type, json);
    return payload;
}

static struct comp_value make_value(struct arena *arena, const struct comp_type *type,
                                    const json_t *json)
{
    struct comp_value value = {.kind = type->kind};
    const json_t *first = json_array_get(json, 1);
    const char *text = json_string_value(first) ? json_string_value(first) : "";
    const char *tag = json_string_value(json_array_get(json, 0));
    size_t count = json_array_size(json) - 1;
    switch (type->kind) {
    case COMP_BOOL: value.of.boolean = strcmp(text, "true") == 0; break;
    case COMP_F32: value.of.f32 = (float)real(first); break;
    case COMP_F64: value.of.f64 = real(first); break;
    case COMP_CHAR: {
        size_t at = 0;
        value.of.u = utf8_next(text, strlen(text), &at);
        break;
    }
    case COMP_STRING:
        value = comp_string(text, json_string_length(first));
        break;
    case COMP_LIST:
        value.of.list.count = count;
        if (type->packed_bytes) {
            void *data = arena_calloc(arena, count + 1, type->packed_bytes);
            for (size_t i = 0; i < count; i++) {
                struct comp_value one = make_value(arena, type->element,
                                                   json_array_get(json, i + 1));
                put_packed(data, i, type->element, &one);
            }
            value.of.list.data = data;
            break;
        }
        /* fall through */
    case COMP_TUPLE:
    case COMP_RECORD:
        value.of.list.count = count;
        value.of.list.items = arena_calloc(arena, count + 1, sizeof value);
        for (size_t i = 0; i < count; i++) {
            const json_t *item = json_array_get(json, i + 1);
            json_t *tail = NULL;
            if (type->kind == COMP_RECORD) {
                /* ["field", name, tag, ...] */
                tail = json_array();
                for (size_t k = 2; k < json_array_size(item); k++)
                    json_array_append(tail, json_array_get(item, k));
                item = tail;
            }
            value.of.list.items[i] = make_value(
                arena, type->kind == COMP_LIST ? type->element : type->fields[i].type, item);
            json_decref(tail);
        }
        break;
    case COMP_FLAGS:
        for (size_t i = 0; i < count; i++)
            value.of.u |= 1ull << field_index(type, json_string_value(json_array_get(json, i + 1)));
        break;
    case COMP_ENUM:
        value.of.u = field_index(type, text);
        break;
    case COMP_VARIANT:
        value.of.variant.index = field_index(type, text);
        if (type->fields[value.of.variant.index].type)
            value.of.variant.payload = make_payload(arena,
                                                    type->fields[value.of.variant.index].type,
                                                    json_array_get(json, 2));
        break;
    case COMP_OPTION:
    case COMP_RESULT:
        value.of.variant.index = strcmp(tag, "option.some") == 0 || strcmp(tag, "result.err") == 0;
        if (type->fields[value.of.variant.index].type)
            value.of.variant.payload = make_payload(arena,
                                                    type->fields[value.of.variant.index].type,
                                                    first);
        break;
    default:
        value.of.u = number(first);
        break;
    }
    return value;
}

static bool same(const struct comp_type *type, const struct comp_value *a,
                 const struct comp_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (type->kind) {
    case COMP_BOOL: return a->of.boolean == b->of.boolean;
    case COMP_F32: return a->of.f32 == b->of.f32 || (isnan(a->of.f32) && isnan(b->of.f32));
    case COMP_F64: return a->of.f64 == b->of.f64 || (isnan(a->of.f64) && isnan(b->of.f64));
    case COMP_STRING:
        return a->of.string.bytes == b->of.string.bytes &&
               memcmp(a->of.string.data, b->of.string.data, a->of.string.bytes) == 0;
    case COMP_LIST:
        if (a->of.list.count != b->of.list.count)
            return false;
        if (type->packed_bytes)
            return memcmp(a->of.list.data, b->of.list.data,
                          a->of.list.count * type->packed_bytes) == 0;
        for (size_t i = 0; i < a->of.list.count; i++)
            if (!same(type->element, &a->of.list.items[i], &b->of.list.items[i]))
                return false;
        return true;
    case COMP_TUPLE:
    case COMP_RECORD:
        for (size_t i = 0; i < a->of.list.count; i++)
            if (!same(type->fields[i].type, &a->of.list.items[i], &b->of.list.items[i]))
                return false;
        return true;
    case COMP_VARIANT:
    case COMP_OPTION:
    case COMP_RESULT:
        return a->of.variant.index == b->of.variant.index &&
               (!a->of.variant.payload ||
                same(type->fields[a->of.variant.index].type, a->of.variant.payload,
                     b->of.variant.payload));
    default: {
        uint64_t mask = type->size == 8 ? UINT64_MAX : (1ull << (8 * type->size)) - 1;
        return (a->of.u & mask) == (b->of.u & mask);
    }
    }
}

/* ---- commands ---------------------------------------------------------------------------- */

static void instantiate(struct runner *r, struct comp_component *component)
{
    r->last = component;
    r->current = NULL;
    r->report = (struct report){0};
    if (comp_instance_create(r->linker, component, NULL, NULL, &r->current, &r->report)) {
        failed(r, "cannot instantiate: %s", r->report.text);
        return;
    }
    if (r->instance_count == INSTANCES_MAX)
        abort();
    r->instances[r->instance_count++] = r->current;
    const char *trap = run(r->current);
    if (trap)
        failed(r, "instantiation trapped: %s", trap);
    else
        passed_count++;
}

static void do_component(struct runner *r, const json_t *command)
{
    const json_t *instance_of = json_object_get(command, "instance_of");
    const char *name = text_of(command, "name");
    struct comp_component *component = NULL;
    if (instance_of) {
        const char *from = json_string_value(json_array_get(instance_of, 1));
        component = from ? map_find(&r->named, from, strlen(from)) : NULL;
        if (component)
            instantiate(r, component);
        else
            failed(r, "there is no component %s", from ? from : "?");
        return;
    }
    if (load(r, command, &component) != ERR_OK) {
        failed(r, "%s: refused: %s", text_of(command, "filename"), r->report.text);
        return;
    }
    struct comp_component *old = NULL;
    char key[300];
    /* Nameless ones are kept too, until the file is done. */
    if (name[0])
        (void)snprintf(key, sizeof key, "%s", name);
    else
        (void)snprintf(key, sizeof key, "#%u", r->command);
    old = map_take(&r->named, key, strlen(key));
    if (old)
        comp_component_unref(old);
    if (!map_set(&r->named, key, strlen(key), component))
        abort();
    if (json_is_true(json_object_get(command, "definition")))
        passed_count++;
    else
        instantiate(r, component);
}

static void do_invoke(struct runner *r, const json_t *action, const json_t *rest, bool must_trap)
{
    const char *name = json_string_value(json_array_get(action, 1));
    struct comp_value args[16];
    if (!r->current || !name || json_array_size(action) > 18) {
        failed(r, "there is no instance to call");
        return;
    }
    const struct comp_functype *type = find_type(r->last, name);
    if (!type || type->param_count != json_array_size(action) - 2) {
        failed(r, "%s is not exported, or takes other arguments", name);
        return;
    }
    for (uint32_t i = 0; i < type->param_count; i++)
        args[i] = make_value(&r->arena, type->params[i].type, json_array_get(action, i + 2));
    r->report = (struct report){0};
    const char *trap = NULL;
    if (comp_instance_call(r->current, NULL, name, args, type->param_count, &r->report))
        trap = r->report.text;
    else
        trap = run(r->current);
    if (must_trap) {
        if (verbose && trap)
            printf("%s:%u: trap: %s (wanted: %s)\n", r->path, r->command, trap,
                   json_string_value(json_array_get(rest, 0)));
        if (trap)
            passed_count++;
        else
            failed(r, "%s did not trap", name);
        return;
    }
    if (trap) {
        failed(r, "%s trapped: %s", name, trap);
        return;
    }
    const struct comp_value *result = comp_instance_result(r->current);
    if (!rest || json_array_size(rest) == 0) {
        passed_count++;
        return;
    }
    struct comp_value wanted = make_value(&r->arena, type->result, json_array_get(rest, 0));
    if (result && same(type->result, result, &wanted)) {
        passed_count++;
    } else {
        char *text = json_dumps(rest, JSON_COMPACT);
        failed(r, "%s: wrong result, wanted %s, got %llu", name, text,
               result ? (unsigned long long)result->of.u : 0);
        free(text);
    }
}

static void do_command(struct runner *r, const json_t *command)
{
    const char *type = text_of(command, "type");
    if (is_skipped(r->path, r->command) || json_is_true(json_object_get(command, "quote"))) {
        skipped_count++;
        return;
    }
    if (strcmp(type, "component") == 0) {
        do_component(r, command);
    } else if (strcmp(type, "assert_invalid") == 0 || strcmp(type, "assert_malformed") == 0) {
        struct comp_component *component = NULL;
        enum err err = load(r, command, &component);
        if (verbose)
            printf("%s:%u: %s (wanted: %s)\n", r->path, r->command, r->report.text,
                   text_of(command, "text"));
        if (err == ERR_INVALID || err == ERR_LIMIT)
            passed_count++;
        else
            failed(r, "%s: not refused as invalid (%s): wanted `%s`",
                   text_of(command, "filename"), err ? r->report.text : "accepted",
                   text_of(command, "text"));
        comp_component_unref(component);
    } else if (strcmp(type, "assert_return") == 0 || strcmp(type, "assert_trap") == 0) {
        do_invoke(r, json_object_get(command, "action"), json_object_get(command, "rest"),
                  strcmp(type, "assert_trap") == 0);
    } else if (strcmp(type, "invoke") == 0) {
        do_invoke(r, json_object_get(command, "form"), NULL, false);
    } else {
        failed(r, "unknown command %s", type);
    }
    arena_reset(&r->arena);
}

static void run_file(const char *file, const char *path)
{
    struct runner r = {.path = path};
    json_error_t error;
    json_t *root = json_load_file(file, JSON_ALLOW_NUL, &error);
    if (!root) {
        fprintf(stderr, "%s: %s\n", file, error.text);
        exit(2);
    }
    (void)snprintf(r.folder, sizeof r.folder, "%s", file);
    *strrchr(r.folder, '/') = '\0';
    arena_init(&r.arena, NULL);
    map_init(&r.named, NULL);
    r.linker = comp_linker_create();
    size_t i;
    const json_t *command;
    json_array_foreach(json_object_get(root, "commands"), i, command) {
        r.command = (unsigned)i;
        do_command(&r, command);
    }
    for (unsigned k = 0; k < r.instance_count; k++)
        comp_instance_destroy(r.instances[k]);
    size_t at = 0, bytes;
    const void *key;
    void *component;
    while (map_next(&r.named, &at, &key, &bytes, &component))
        comp_component_unref(component);
    map_deinit(&r.named);
    comp_linker_destroy(r.linker);
    arena_deinit(&r.arena);
    json_decref(root);
}

/* ---- all files --------------------------------------------------------------------------- */

static struct { char **items; size_t count, capacity; } files;

static int note_file(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)where;
    size_t bytes = strlen(path);
    if (type == FTW_F && bytes > 5 && strcmp(path + bytes - 5, ".json") == 0) {
        char *copy = strdup(path);
        if (!copy || !vec_push(NULL, &files, copy))
            abort();
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/component-spec-XXXXXX", command[300];
    int first = argc > 1 && strcmp(argv[1], "--verbose") == 0 ? 2 : 1;
    verbose = first == 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_skips();
    if (!mkdtemp(folder))
        return 2;
    (void)snprintf(command, sizeof command, "tar -xJf %s -C %s", archive, folder);
    if (system(command) != 0)
        return 2;
    if (nftw(folder, note_file, 16, FTW_PHYS) != 0)
        return 2;
    qsort(files.items, files.count, sizeof *files.items, by_name);
    for (size_t i = 0; i < files.count; i++) {
        char path[300];
        /* component-model/values/strings/strings.json is known as values/strings. */
        (void)snprintf(path, sizeof path, "%s", files.items[i] + strlen(folder) + 1);
        char *start = strchr(path, '/') + 1, *end = strrchr(path, '/');
        *end = '\0';
        bool is_wanted = first >= argc;
        for (int k = first; k < argc; k++)
            is_wanted |= strncmp(start, argv[k], strlen(argv[k])) == 0;
        if (is_wanted)
            run_file(files.items[i], start);
        free(files.items[i]);
    }
    vec_free(NULL, &files);
    vec_free(NULL, &skips);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command) != 0)
        return 2;
    printf("%u passed, %u failed, %u skipped\n", passed_count, failed_count, skipped_count);
    return failed_count ? 1 : 0;
}
