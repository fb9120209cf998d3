#include "tests/fuzz/outcome.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "interp/wasm/code.h"

bool outcome_is_plain;

wasm_handler __real_wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken);
wasm_handler __wrap_wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken);
wasm_handler __wrap_wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken)
{
    return __real_wasm_sequence_handler(ops, outcome_is_plain ? 1 : count, taken);
}

/* The words that both engines' sentences are reduced to. */
static const char *trap_class(const char *text)
{
    static const struct {
        const char *text, *class;
    } classes[] = {{"unreachable", "unreachable"},
                   {"out of bounds memory access", "memory"},
                   {"integer divide by zero", "divide"},
                   {"integer overflow", "number"},
                   {"invalid conversion to integer", "number"},
                   {"undefined element", "table"},
                   {"out of bounds table access", "table"},
                   {"uninitialized element", "call"},
                   {"indirect call type mismatch", "call"},
                   {"unhandled exception", "exception"},
                   {"null exception reference", "null"},
                   {"call stack exhausted", "stack"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strncmp(text, classes[i].text, strlen(classes[i].text)) == 0)
            return classes[i].class;
    return text;
}

/* Of the words that are not zero, and where they are; little endian. */
static uint32_t hash_words(const uint8_t *data, uint64_t bytes)
{
    uint32_t hash = 0x811C9DC5;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t pair;
        memcpy(&pair, data + i, sizeof pair);
        if (pair == 0)
            continue;
        for (uint64_t k = i; k < i + 8; k += 4) {
            uint32_t word = (uint32_t)data[k] | (uint32_t)data[k + 1] << 8 |
                            (uint32_t)data[k + 2] << 16 | (uint32_t)data[k + 3] << 24;
            if (word == 0)
                continue;
            hash = (hash ^ word ^ (uint32_t)(k / 4)) * 0x01000193;
            hash ^= hash >> 15;
        }
    }
    return hash;
}

/* `slice`: how much fuel the call gets at a time. False when it did not come back. */
static bool call(struct wasm_thread *thread, struct wasm_func *func, uint64_t slice,
                 struct buf *line)
{
    if (wasm_thread_call(thread, func, NULL) != ERR_OK) {
        buf_puts(line, " refused");
        return false;
    }
    uint64_t limit = wasm_thread_fuel_used(thread) + OUTCOME_FUEL_MAX;
    enum wasm_run result = WASM_RUN_FUEL;
    while (result == WASM_RUN_FUEL && wasm_thread_fuel_used(thread) < limit)
        result = wasm_thread_run(thread, slice);
    switch (result) {
    case WASM_RUN_DONE:
        buf_printf(line, " %016" PRIx64, wasm_thread_result(thread)[0].i64);
        break;
    case WASM_RUN_TRAP:
        buf_printf(line, " %s", trap_class(wasm_thread_trap_text(thread)));
        break;
    case WASM_RUN_WAIT:
    case WASM_RUN_FUEL:
        wasm_thread_abandon(thread);
        buf_puts(line, " endless");
        break;
    }
    return result == WASM_RUN_DONE;
}

/* What a module with imports gets (gen_module.h). */
static enum wasm_host_result host(struct wasm_host_call *call, void *user)
{
    union wasm_value *v = call->values;
    switch (*(const char *)user) {
    case '0': v[0].i32 = 3 * v[0].i32 + 1; break;
    case '1': v[0].i64 = v[1].i64 ^ v[0].i32; break;
    case '2': v[0].ref = v[0].i32 % 2 ? (void *)(uintptr_t)user : NULL; break;
    default: break;
    }
    return WASM_HOST_DONE;
}

static void link(struct wasm_store *store, const struct wasm_module *module,
                 struct wasm_extern *externs)
{
    static char names[] = "0123";
    union wasm_value seven[2] = {{.i64 = 7}};
    for (uint32_t i = 0; i < wasm_module_import_count(module); i++) {
        const struct wasm_import *import = wasm_module_import(module, i);
        externs[i].kind = import->type.kind;
        if (import->type.kind == WASM_FUNC)
            externs[i].of.func = wasm_func_create_host(store, &import->type.func, import->name, host,
                                                       &names[(import->name[1] - '0') & 3]);
        else
            externs[i].of.global = wasm_global_create(store, WASM_I32, true, seven);
    }
}

/* False when it trapped. */
static bool start(struct wasm_thread *thread, struct wasm_instance *instance, uint64_t slice)
{
    struct wasm_func *func = wasm_instance_start_func(instance);
    struct buf line;
    if (!func)
        return true;
    buf_init(&line, NULL);
    bool ok = call(thread, func, slice, &line);
    buf_deinit(&line);
    return ok;
}

static void run_instance(struct wasm_module *module, struct wasm_store *store,
                         struct wasm_instance *instance, uint64_t slice, uint64_t *fuel,
                         struct buf *line)
{
    struct wasm_thread *thread;
    if (wasm_thread_create(store, &thread) != ERR_OK)
        abort();
    struct wasm_extern object;
    bool started = start(thread, instance, slice);
    if (!started)
        buf_puts(line, " instantiate:trap");
    for (uint32_t i = 0; started && i < wasm_module_export_count(module); i++) {
        const struct wasm_export *export = wasm_module_export(module, i);
        if (export->type.kind == WASM_FUNC &&
            wasm_instance_export(instance, export->name, export->name_bytes, &object))
            (void)call(thread, object.of.func, slice, line);
    }
    for (uint32_t i = 0; started && i < wasm_module_export_count(module); i++) {
        const struct wasm_export *export = wasm_module_export(module, i);
        if (export->type.kind == WASM_MEMORY &&
            wasm_instance_export(instance, export->name, export->name_bytes, &object))
            buf_printf(line, " m%u:%08x", (unsigned)(wasm_memory_bytes(object.of.memory) / 65536),
                       hash_words(wasm_memory_data(object.of.memory),
                                  wasm_memory_bytes(object.of.memory)));
    }
    *fuel = wasm_thread_fuel_used(thread);
    wasm_thread_destroy(thread);
}

void outcome_of(const uint8_t *bytes, size_t count, uint64_t slice, uint64_t *fuel,
                struct buf *line)
{
    enum { IMPORTS_MAX = 8 };
    struct wasm_extern externs[IMPORTS_MAX];
    struct wasm_module *module;
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct report report = {0};
    *fuel = 0;
    if (wasm_module_create(bytes, count, &module, &report) != ERR_OK) {
        buf_printf(line, " refused: %s", report.text);
        return;
    }
    uint32_t imports = wasm_module_import_count(module);
    if (imports > IMPORTS_MAX || wasm_store_create(NULL, &store, &report) != ERR_OK)
        abort();
    link(store, module, externs);
    if (wasm_instance_create(store, module, externs, imports, &instance, &report) == ERR_OK)
        run_instance(module, store, instance, slice, fuel, line);
    else
        buf_printf(line, " instantiate:%s", report.code == ERR_TRAP ? "trap" : report.text);
    wasm_store_destroy(store);
    wasm_module_unref(module);
}
