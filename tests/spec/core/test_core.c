/* links: interp/wasm
 *
 * Runs the official WebAssembly test suites (tests/spec/core*.tar.xz, see tests/spec/README.md)
 * through the public interface of interp/wasm.
 *
 *     test_core [--validate-only] [--collect] [--verbose] [PATH-PREFIX...]
 *
 * --collect collects objects at every allocation.
 *
 * Each JSON file runs in a process of its own, so that a crash costs one file. What
 * tests/spec/SKIPPED names is left out and counted apart. Failures are listed as
 * file:command-index. Closes with `N passed, N failed`, counting assertions and actions. */
#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "interp/wasm/code.h"

static const char *const suites[] = {"core2.0", "core3.0"};
static const char skipped_list[] = "tests/spec/SKIPPED";
enum { FILE_SECONDS_MAX = 300 };
static const uint64_t fuel_max = 4000000000u;

static bool validate_only, always_collect, verbose;

/* ---- what is left out -------------------------------------------------------------------- */

/* One line of SKIPPED: a path (folder or file), perhaps `:FIRST-LAST` (indices of commands) or
 * `:run` (what calls functions; modules must still decode, validate and link), and a reason. */
struct skip {
    char path[200];
    unsigned first, last;
    bool run_only;
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
            skip.run_only = strcmp(colon + 1, "run") == 0;
            if (sscanf(colon + 1, "%u-%u", &skip.first, &skip.last) == 1)
                skip.last = skip.first;
        }
        memcpy(skip.path, word, sizeof word);
        if (!vec_push(NULL, &skips, skip))
            abort();
    }
    (void)fclose(file);
}

static bool is_skipped(const char *path, unsigned command, bool runs)
{
    for (size_t i = 0; i < skips.count; i++) {
        size_t bytes = strlen(skips.items[i].path);
        if (strncmp(path, skips.items[i].path, bytes) == 0 &&
            (path[bytes] == '\0' || path[bytes] == '/') && command >= skips.items[i].first &&
            command <= skips.items[i].last && (runs || !skips.items[i].run_only))
            return true;
    }
    return false;
}

/* ---- one file ---------------------------------------------------------------------------- */

struct counts {
    unsigned passed, failed, skipped;
};

struct runner {
    const char *path; /* core3.0/... */
    char folder[600]; /* on disk */
    unsigned command;
    struct counts counts;
    struct wasm_store *store;
    struct wasm_thread *thread;
    struct map named, registered; /* to struct wasm_instance * */
    struct wasm_instance *current;
    struct wasm_module *last_module; /* of module or module_definition */
    struct map spectest;             /* to struct wasm_extern * */
    struct wasm_extern externs[20];
    unsigned extern_count;
    struct report report;
};

static void failed(struct runner *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void failed(struct runner *r, const char *format, ...)
{
    va_list args;
    r->counts.failed++;
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

/* ---- the host module "spectest" ---------------------------------------------------------- */

static enum wasm_host_result print_nothing(struct wasm_host_call *call, void *user)
{
    (void)call;
    (void)user;
    return WASM_HOST_DONE;
}

static void add_extern(struct runner *r, const char *name, enum wasm_kind kind, void *object)
{
    struct wasm_extern *e = &r->externs[r->extern_count++];
    e->kind = kind;
    switch (kind) {
    case WASM_FUNC: e->of.func = object; break;
    case WASM_TABLE: e->of.table = object; break;
    case WASM_MEMORY: e->of.memory = object; break;
    case WASM_GLOBAL: e->of.global = object; break;
    case WASM_TAG: e->of.tag = object; break;
    }
    if (!object || !map_set(&r->spectest, name, strlen(name), e)) {
        fprintf(stderr, "cannot make spectest's %s\n", name);
        exit(2);
    }
}

static void make_spectest(struct runner *r)
{
    static const struct {
        const char *name;
        uint32_t params[2];
        uint8_t count;
    } prints[] = {{"print", {0}, 0},
                  {"print_i32", {WASM_I32}, 1},
                  {"print_i64", {WASM_I64}, 1},
                  {"print_f32", {WASM_F32}, 1},
                  {"print_f64", {WASM_F64}, 1},
                  {"print_i32_f32", {WASM_I32, WASM_F32}, 2},
                  {"print_f64_f64", {WASM_F64, WASM_F64}, 2}};
    for (size_t i = 0; i < sizeof prints / sizeof *prints; i++) {
        struct wasm_functype type = {.param_count = prints[i].count, .params = prints[i].params};
        add_extern(r, prints[i].name, WASM_FUNC,
                   wasm_func_create_host(r->store, &type, prints[i].name, print_nothing, NULL));
    }
    union wasm_value value[2] = {{0}};
    value[0].i32 = 666;
    add_extern(r, "global_i32", WASM_GLOBAL, wasm_global_create(r->store, WASM_I32, false, value));
    value[0].i64 = 666;
    add_extern(r, "global_i64", WASM_GLOBAL, wasm_global_create(r->store, WASM_I64, false, value));
    value[0].f32 = 666.6f;
    add_extern(r, "global_f32", WASM_GLOBAL, wasm_global_create(r->store, WASM_F32, false, value));
    value[0].f64 = 666.6;
    add_extern(r, "global_f64", WASM_GLOBAL, wasm_global_create(r->store, WASM_F64, false, value));
    struct wasm_limits table = {.min = 10, .max = 20};
    add_extern(r, "table", WASM_TABLE, wasm_table_create(r->store, WASM_FUNCREF, table, NULL));
    table.is64 = true;
    add_extern(r, "table64", WASM_TABLE, wasm_table_create(r->store, WASM_FUNCREF, table, NULL));
    struct wasm_limits memory = {.min = 1, .max = 2};
    add_extern(r, "memory", WASM_MEMORY, wasm_memory_create(r->store, memory));
}

/* ---- values ------------------------------------------------------------------------------ */

static unsigned lane_bits(const char *lane_type)
{
    return (unsigned)strtoul(lane_type + 1, NULL, 10);
}

static uint64_t number(const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text)
        return 0;
    return text[0] == '-' ? (uint64_t)strtoll(text, NULL, 10) : strtoull(text, NULL, 10);
}

static void set_lane(union wasm_value cells[2], unsigned lane, unsigned bits, uint64_t value)
{
    unsigned at = lane * bits;
    uint64_t mask = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    cells[at / 64].i64 |= (value & mask) << at % 64;
}

static uint64_t get_lane(const union wasm_value cells[2], unsigned lane, unsigned bits)
{
    unsigned at = lane * bits;
    uint64_t mask = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    return cells[at / 64].i64 >> at % 64 & mask;
}

/* External references are the suite's numbers, moved off NULL. */
static void *host_ref(const json_t *value)
{
    return (char *)NULL + 4096 + 16 * number(value);
}

/* Writes a value's cells and returns how many. */
static unsigned put_value(struct runner *r, const json_t *value, union wasm_value cells[2])
{
    const char *type = text_of(value, "type");
    cells[0].i64 = cells[1].i64 = 0;
    if (strcmp(type, "v128") == 0) {
        const json_t *lanes = json_object_get(value, "value");
        unsigned bits = lane_bits(text_of(value, "lane_type"));
        for (unsigned i = 0; i < 128 / bits; i++)
            set_lane(cells, i, bits, number(json_array_get(lanes, i)));
        return 2;
    }
    if (strcmp(text_of(value, "value"), "null") == 0)
        cells[0].ref = NULL;
    else if (strcmp(type, "externref") == 0)
        cells[0].ref = host_ref(json_object_get(value, "value"));
    else if (strcmp(type, "hostref") == 0) /* an anyref */
        cells[0].ref = wasm_ref_from_extern(r->store, host_ref(json_object_get(value, "value")));
    else if (strcmp(type, "i32") == 0 || strcmp(type, "f32") == 0)
        cells[0].i32 = (uint32_t)number(json_object_get(value, "value"));
    else
        cells[0].i64 = number(json_object_get(value, "value"));
    return 1;
}

/* `wanted`: a number, nan:canonical or nan:arithmetic; `bits` 32 or 64 for floats. */
static bool number_matches(uint64_t found, const json_t *wanted, unsigned bits)
{
    const char *text = json_string_value(wanted);
    uint64_t canonical = bits == 32 ? 0x7FC00000u : 0x7FF8000000000000u;
    uint64_t sign = (uint64_t)1 << (bits - 1);
    if (text && strcmp(text, "nan:canonical") == 0)
        return (found & ~sign) == canonical;
    if (text && strcmp(text, "nan:arithmetic") == 0)
        return (found & canonical) == canonical;
    uint64_t mask = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    return found == (number(wanted) & mask);
}

static bool value_matches(const json_t *wanted, uint32_t found_type,
                          const union wasm_value cells[2])
{
    const char *type = text_of(wanted, "type");
    const json_t *value = json_object_get(wanted, "value");
    bool is_ref = wasm_type_is_ref(found_type);
    if (strcmp(type, "either") == 0) {
        size_t i;
        const json_t *one;
        json_array_foreach(json_object_get(wanted, "values"), i, one)
            if (value_matches(one, found_type, cells))
                return true;
        return false;
    }
    if (strcmp(type, "v128") == 0) {
        unsigned bits = lane_bits(text_of(wanted, "lane_type"));
        for (unsigned i = 0; found_type == WASM_V128 && i < 128 / bits; i++)
            if (!number_matches(get_lane(cells, i, bits), json_array_get(value, i), bits))
                return false;
        return found_type == WASM_V128;
    }
    if (strcmp(type, "i32") == 0)
        return found_type == WASM_I32 && number_matches(cells[0].i32, value, 32);
    if (strcmp(type, "f32") == 0)
        return found_type == WASM_F32 && number_matches(cells[0].i32, value, 32);
    if (strcmp(type, "i64") == 0)
        return found_type == WASM_I64 && number_matches(cells[0].i64, value, 64);
    if (strcmp(type, "f64") == 0)
        return found_type == WASM_F64 && number_matches(cells[0].i64, value, 64);
    if (strcmp(text_of(wanted, "value"), "null") == 0)
        return is_ref && cells[0].ref == NULL;
    if (!is_ref || cells[0].ref == NULL)
        return false;
    if (strcmp(type, "externref") == 0)
        return (found_type & 0xFF) == WASM_EXTERNREF &&
               (!json_is_string(value) || cells[0].ref == host_ref(value));
    bool is_defined = (found_type & 0xFF) < WASM_EXNREF; /* a type of the module */
    if (strcmp(type, "funcref") == 0)
        return (found_type & 0xFF) == WASM_FUNCREF || is_defined;
    bool is_extern = (found_type & 0xFF) == WASM_EXTERNREF;
    if (strcmp(type, "hostref") == 0)
        return (is_extern ? cells[0].ref : wasm_ref_to_extern(cells[0].ref)) == host_ref(value);
    /* The rest are kinds of objects. */
    enum wasm_ref_kind kind = wasm_ref_kind(cells[0].ref);
    if (strcmp(type, "i31ref") == 0)
        return kind == WASM_REF_I31;
    if (strcmp(type, "structref") == 0)
        return kind == WASM_REF_STRUCT;
    if (strcmp(type, "arrayref") == 0)
        return kind == WASM_REF_ARRAY;
    return strcmp(type, "eqref") == 0 && kind != WASM_REF_HOST;
}

/* ---- modules and calls ------------------------------------------------------------------- */

static enum err load(struct runner *r, const json_t *command, struct wasm_module **module)
{
    char path[1000], *data;
    size_t bytes;
    *module = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", r->folder, text_of(command, "filename"));
    enum err err = file_read(path, 1u << 28, NULL, &data, &bytes, &r->report);
    if (err != ERR_OK) {
        fprintf(stderr, "%s\n", r->report.text);
        exit(2);
    }
    err = wasm_module_create((const uint8_t *)data, bytes, module, &r->report);
    mem_free(NULL, data);
    return err;
}

/* Runs a prepared call to its end; NULL when done, else the trap's text. */
static const char *run(struct runner *r, struct wasm_func *func, const union wasm_value *args)
{
    if (wasm_thread_call(r->thread, func, args) != ERR_OK)
        return "(the call was refused)";
    switch (wasm_thread_run(r->thread, fuel_max)) {
    case WASM_RUN_DONE: return NULL;
    case WASM_RUN_TRAP: return wasm_thread_trap_text(r->thread);
    case WASM_RUN_FUEL: wasm_thread_abandon(r->thread); return "(out of fuel)";
    case WASM_RUN_WAIT: wasm_thread_abandon(r->thread); return "(waits)";
    }
    return "(unknown result)";
}

static const char unknown_import[] = "unknown import";

/* ERR_OK; ERR_NOT_FOUND: an import's name; ERR_INVALID: its type; ERR_TRAP: segments or start. */
static enum err instantiate(struct runner *r, struct wasm_module *module,
                            struct wasm_instance **instance)
{
    uint32_t count = wasm_module_import_count(module);
    struct wasm_extern *imports = calloc(count + 1, sizeof *imports);
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        const struct wasm_import *import = wasm_module_import(module, i);
        struct wasm_instance *from =
            map_find(&r->registered, import->module, import->module_bytes);
        if (from) {
            if (!wasm_instance_export(from, import->name, import->name_bytes, &imports[i]))
                err = err_set(&r->report, ERR_NOT_FOUND, unknown_import);
        } else if (strcmp(import->module, "spectest") == 0) {
            const struct wasm_extern *found =
                map_find(&r->spectest, import->name, import->name_bytes);
            if (found)
                imports[i] = *found;
            else
                err = err_set(&r->report, ERR_NOT_FOUND, unknown_import);
        } else {
            err = err_set(&r->report, ERR_NOT_FOUND, unknown_import);
        }
    }
    if (err == ERR_OK)
        err = wasm_instance_create(r->store, module, imports, count, instance, &r->report);
    free(imports);
    if (err != ERR_OK)
        return err;
    struct wasm_func *start = wasm_instance_start_func(*instance);
    if (start) {
        const char *trap = run(r, start, NULL);
        if (trap)
            return err_set(&r->report, ERR_TRAP, "%s", trap);
    }
    return ERR_OK;
}

static struct wasm_instance *named_instance(struct runner *r, const char *name)
{
    return name[0] ? map_find(&r->named, name, strlen(name)) : r->current;
}

static void keep_instance(struct runner *r, struct wasm_instance *instance, const char *name)
{
    r->current = instance;
    if (name[0] && instance && !map_set(&r->named, name, strlen(name), instance))
        abort();
}

struct outcome {
    const char *trap; /* NULL: it returned */
    union wasm_value values[64];
    uint32_t types[32];
    unsigned count;
};

/* False: the action could not even be tried (said already). */
static bool act(struct runner *r, const json_t *action, struct outcome *out)
{
    const json_t *field_value = json_object_get(action, "field");
    const char *field = text_of(action, "field");
    size_t field_bytes = json_string_length(field_value);
    struct wasm_instance *instance = named_instance(r, text_of(action, "module"));
    struct wasm_extern object;
    memset(out, 0, sizeof *out);
    if (!instance || !wasm_instance_export(instance, field, field_bytes, &object)) {
        failed(r, "there is no %s to act on", instance ? field : "instance");
        return false;
    }
    if (strcmp(text_of(action, "type"), "get") == 0) {
        const struct wasm_export *export =
            wasm_module_find_export(wasm_instance_module(instance), field, field_bytes);
        wasm_global_get(object.of.global, out->values);
        out->types[0] = export->type.type;
        out->count = 1;
        return true;
    }
    union wasm_value args[64] = {{0}};
    unsigned at = 0;
    size_t i;
    const json_t *arg;
    json_array_foreach(json_object_get(action, "args"), i, arg)
        at += put_value(r, arg, args + at);
    out->trap = run(r, object.of.func, args);
    if (out->trap)
        return true;
    const struct wasm_functype *type = wasm_func_type(object.of.func);
    const union wasm_value *results = wasm_thread_result(r->thread);
    unsigned from = 0;
    for (uint32_t k = 0; k < type->result_count && k < 32; k++) {
        out->types[k] = type->results[k];
        out->values[2 * k] = results[from++];
        if (type->results[k] == WASM_V128)
            out->values[2 * k + 1] = results[from++];
    }
    out->count = type->result_count;
    return true;
}

/* ---- commands ---------------------------------------------------------------------------- */

static bool prefix_matches(const char *found, const char *wanted)
{
    return strncmp(found, wanted, strlen(wanted)) == 0 ||
           strncmp(found, wanted, strlen(found)) == 0;
}

static void check_return(struct runner *r, const json_t *command, const struct outcome *out)
{
    const json_t *expected = json_object_get(command, "expected");
    const char *field = text_of(json_object_get(command, "action"), "field");
    if (out->trap) {
        failed(r, "%s trapped: %s", field, out->trap);
        return;
    }
    if (json_array_size(expected) != out->count) {
        failed(r, "%s gave %u results, not %zu", field, out->count, json_array_size(expected));
        return;
    }
    for (unsigned i = 0; i < out->count; i++) {
        const json_t *wanted = json_array_get(expected, i);
        if (!value_matches(wanted, out->types[i], &out->values[2 * i])) {
            char *text = json_dumps(wanted, JSON_COMPACT);
            failed(r, "%s: result %u is type 0x%02x 0x%016" PRIx64 " %016" PRIx64 ", not %s",
                   field, i, out->types[i], out->values[2 * i].i64,
                   out->types[i] == WASM_V128 ? out->values[2 * i + 1].i64 : 0, text);
            free(text);
            return;
        }
    }
    r->counts.passed++;
}

static void command_action(struct runner *r, const char *type, const json_t *command)
{
    struct outcome out;
    if (validate_only) {
        r->counts.skipped++;
        return;
    }
    if (!act(r, json_object_get(command, "action"), &out))
        return;
    if (strcmp(type, "assert_return") == 0) {
        check_return(r, command, &out);
        return;
    }
    const char *wanted = text_of(command, "text");
    const char *field = text_of(json_object_get(command, "action"), "field");
    if (strcmp(type, "action") == 0) {
        if (out.trap)
            failed(r, "%s trapped: %s", field, out.trap);
        else
            r->counts.passed++;
    } else if (!out.trap) {
        failed(r, "%s returned, but should end with: %s", field, wanted);
    } else if (strcmp(type, "assert_exception") == 0 ? strstr(out.trap, "exception") == NULL
                                                     : !prefix_matches(out.trap, wanted)) {
        failed(r, "%s trapped with '%s', not '%s'", field, out.trap, wanted);
    } else {
        r->counts.passed++;
    }
}

static void command_refused(struct runner *r, const json_t *command)
{
    struct wasm_module *module;
    enum err err = load(r, command, &module);
    const char *wanted = text_of(command, "text");
    if (err == ERR_INVALID) {
        r->counts.passed++;
        if (verbose)
            printf("note %s:%u: '%s' is refused with '%s'\n", r->path, r->command, wanted,
                   r->report.text);
    } else {
        failed(r, "%s is not refused (%s) but %s: %s", text_of(command, "filename"), wanted,
               err_name(err), r->report.text);
    }
    wasm_module_unref(module);
}

static void keep_module(struct runner *r, struct wasm_module *module)
{
    wasm_module_unref(r->last_module);
    r->last_module = module;
}

static void command_module(struct runner *r, const char *type, const json_t *command)
{
    struct wasm_instance *instance = NULL;
    const char *name = text_of(command, "name");
    if (strcmp(type, "module_instance") == 0) {
        name = json_string_value(json_array_get(json_object_get(command, "ids"), 0));
    } else {
        struct wasm_module *module;
        enum err err = load(r, command, &module);
        if (err != ERR_OK)
            failed(r, "%s: %s: %s", text_of(command, "filename"), err_name(err), r->report.text);
        keep_module(r, module);
    }
    if (validate_only || strcmp(type, "module_definition") == 0)
        return;
    if (r->last_module && instantiate(r, r->last_module, &instance) != ERR_OK) {
        failed(r, "%s does not instantiate: %s", text_of(command, "filename"), r->report.text);
        instance = NULL;
    }
    keep_instance(r, instance, name ? name : "");
}

static void command_unlinkable(struct runner *r, const char *type, const json_t *command)
{
    struct wasm_instance *instance;
    const char *wanted = text_of(command, "text");
    if (validate_only) {
        r->counts.skipped++;
        return;
    }
    /* The module stands here or is the module_definition before. */
    if (json_object_get(command, "filename")) {
        struct wasm_module *module;
        enum err refused = load(r, command, &module);
        keep_module(r, module);
        if (refused != ERR_OK) {
            failed(r, "its module is refused: %s", r->report.text);
            return;
        }
    }
    if (!r->last_module) {
        failed(r, "it has no module");
        return;
    }
    enum err err = instantiate(r, r->last_module, &instance);
    if (strcmp(type, "assert_unlinkable") == 0) {
        enum err code = strcmp(wanted, unknown_import) == 0 ? ERR_NOT_FOUND : ERR_INVALID;
        if (err == code)
            r->counts.passed++;
        else
            failed(r, "links with '%s' (%s), not '%s'", err_name(err), r->report.text, wanted);
    } else if (err == ERR_TRAP && strstr(r->report.text, wanted)) {
        r->counts.passed++;
    } else {
        failed(r, "instantiates with '%s' (%s), not '%s'", err_name(err), r->report.text, wanted);
    }
}

static void command_register(struct runner *r, const json_t *command)
{
    const char *as = text_of(command, "as");
    struct wasm_instance *instance = named_instance(r, text_of(command, "name"));
    if (validate_only)
        return;
    if (!instance)
        failed(r, "nothing to register as %s", as);
    else if (!map_set(&r->registered, as, strlen(as), instance))
        abort();
}

static bool is_assertion(const char *type)
{
    return strncmp(type, "assert_", 7) == 0 || strcmp(type, "action") == 0;
}

static void command(struct runner *r, const json_t *object)
{
    const char *type = text_of(object, "type");
    r->report = (struct report){0};
    if (strcmp(text_of(object, "module_type"), "text") == 0)
        return; /* about the text format */
    if (is_skipped(r->path, r->command, json_object_get(object, "action") != NULL)) {
        r->counts.skipped += is_assertion(type);
        /* What follows must not act on the instance before. */
        if (strcmp(type, "module") == 0)
            keep_instance(r, NULL, "");
        return;
    }
    if (strcmp(type, "module") == 0 || strcmp(type, "module_definition") == 0 ||
        strcmp(type, "module_instance") == 0)
        command_module(r, type, object);
    else if (strcmp(type, "register") == 0)
        command_register(r, object);
    else if (strcmp(type, "assert_invalid") == 0 || strcmp(type, "assert_malformed") == 0)
        command_refused(r, object);
    else if (strcmp(type, "assert_unlinkable") == 0 || strcmp(type, "assert_uninstantiable") == 0)
        command_unlinkable(r, type, object);
    else if (strcmp(type, "assert_return") == 0 || strcmp(type, "assert_trap") == 0 ||
             strcmp(type, "assert_exhaustion") == 0 || strcmp(type, "assert_exception") == 0 ||
             strcmp(type, "action") == 0)
        command_action(r, type, object);
    else
        failed(r, "unknown command %s", type);
}

static struct counts run_file(const char *path, const char *disk_path)
{
    static struct runner r;
    json_error_t error;
    json_t *root = json_load_file(disk_path, JSON_ALLOW_NUL, &error);
    if (!root) {
        fprintf(stderr, "%s: %s\n", disk_path, error.text);
        exit(2);
    }
    r.path = path;
    (void)snprintf(r.folder, sizeof r.folder, "%s", disk_path);
    *strrchr(r.folder, '/') = '\0';
    map_init(&r.named, NULL);
    map_init(&r.registered, NULL);
    map_init(&r.spectest, NULL);
    if (!validate_only) {
        if (wasm_store_create(NULL, &r.store, &r.report) != ERR_OK ||
            wasm_thread_create(r.store, &r.thread) != ERR_OK) {
            fprintf(stderr, "no store: %s\n", r.report.text);
            exit(2);
        }
        r.store->objects.always_collect = always_collect;
        make_spectest(&r);
    }
    json_t *object;
    size_t i;
    json_array_foreach(json_object_get(root, "commands"), i, object) {
        r.command = (unsigned)i;
        command(&r, object);
    }
    keep_module(&r, NULL);
    if (!validate_only) {
        wasm_thread_destroy(r.thread);
        wasm_store_destroy(r.store);
    }
    map_deinit(&r.named);
    map_deinit(&r.registered);
    map_deinit(&r.spectest);
    json_decref(root);
    return r.counts;
}

/* ---- all files --------------------------------------------------------------------------- */

static struct { char **items; size_t count, capacity; } files;

static int visit(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)status;
    (void)ftw;
    size_t bytes = strlen(path);
    if (kind == FTW_F && bytes > 5 && strcmp(path + bytes - 5, ".json") == 0 &&
        !vec_push(NULL, &files, strdup(path)))
        abort();
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Unpacks the archive under the build folder unless the unpacked copy is newer. */
static void unpack(const char *folder, const char *suite)
{
    char archive[200], stamp[500], line[1500];
    struct stat from, to;
    (void)snprintf(archive, sizeof archive, "tests/spec/%s.tar.xz", suite);
    (void)snprintf(stamp, sizeof stamp, "%s/%s/unpacked", folder, suite);
    if (stat(archive, &from) != 0) {
        fprintf(stderr, "%s: %s (run from the repository's root)\n", archive, strerror(errno));
        exit(2);
    }
    if (stat(stamp, &to) == 0 && to.st_mtime >= from.st_mtime)
        return;
    (void)snprintf(line, sizeof line, "mkdir -p '%s' && tar xJf %s -C '%s' && touch '%s'", folder,
                   archive, folder, stamp);
    if (system(line) != 0) {
        fprintf(stderr, "cannot unpack %s: %s\n", archive, line);
        exit(2);
    }
}

/* Runs one file in a child; its counts come back through a pipe. */
static struct counts run_child(const char *path, const char *disk_path)
{
    int ends[2], status = 0;
    struct counts counts = {0};
    (void)fflush(stdout);
    if (pipe(ends) != 0)
        exit(2);
    pid_t child = fork();
    if (child < 0)
        exit(2);
    if (child == 0) {
        (void)alarm(FILE_SECONDS_MAX);
        counts = run_file(path, disk_path);
        (void)fflush(stdout);
        _exit(write(ends[1], &counts, sizeof counts) == (ssize_t)sizeof counts ? 0 : 2);
    }
    (void)close(ends[1]);
    ssize_t got = read(ends[0], &counts, sizeof counts);
    (void)close(ends[0]);
    (void)waitpid(child, &status, 0);
    if (got != (ssize_t)sizeof counts) {
        counts = (struct counts){.failed = 1};
        if (WIFSIGNALED(status))
            printf("FAIL %s: killed by signal %d (%s)\n", path, WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
        else
            printf("FAIL %s: exit code %d\n", path, WEXITSTATUS(status));
    }
    return counts;
}

static bool is_wanted(const char *path, char **wanted, int wanted_count)
{
    for (int i = 0; i < wanted_count; i++)
        if (strncmp(path, wanted[i], strlen(wanted[i])) == 0)
            return true;
    return wanted_count == 0;
}

int main(int argc, char **argv)
{
    char root[300], current[200] = "";
    struct counts total = {0}, part = {0};
    int first = 1;
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        validate_only |= strcmp(argv[first], "--validate-only") == 0;
        always_collect |= strcmp(argv[first], "--collect") == 0;
        verbose |= strcmp(argv[first], "--verbose") == 0;
    }
    const char *build = getenv("BUILD");
    (void)snprintf(root, sizeof root, "%s/spec", build ? build : "build");
    read_skips();
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        char suite[400];
        unpack(root, suites[i]);
        (void)snprintf(suite, sizeof suite, "%s/%s", root, suites[i]);
        if (nftw(suite, visit, 16, FTW_PHYS) != 0) {
            fprintf(stderr, "no tests under %s\n", suite);
            return 2;
        }
    }
    qsort(files.items, files.count, sizeof *files.items, by_name);
    for (size_t i = 0; i <= files.count; i++) {
        const char *path = i < files.count ? files.items[i] + strlen(root) + 1 : "";
        if (i < files.count && !is_wanted(path, argv + first, argc - first))
            continue;
        size_t bytes = strcspn(path, "/"); /* suite/folder */
        bytes += bytes && path[bytes] ? 1 + strcspn(path + bytes + 1, "/") : 0;
        if (i == files.count || strncmp(path, current, bytes) != 0 || current[bytes]) {
            if (current[0])
                printf("%-30s %6u passed %5u failed %5u skipped\n", current, part.passed,
                       part.failed, part.skipped);
            part = (struct counts){0};
            (void)snprintf(current, sizeof current, "%.*s", (int)bytes, path);
        }
        if (i == files.count)
            break;
        struct counts counts = run_child(path, files.items[i]);
        part.passed += counts.passed;
        part.failed += counts.failed;
        part.skipped += counts.skipped;
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.skipped += counts.skipped;
    }
    for (size_t i = 0; i < files.count; i++)
        free(files.items[i]);
    vec_free(NULL, &files);
    vec_free(NULL, &skips);
    printf("note: %u assertions skipped, see %s\n", total.skipped, skipped_list);
    printf("%u passed, %u failed\n", total.passed, total.failed);
    return total.failed != 0;
}
