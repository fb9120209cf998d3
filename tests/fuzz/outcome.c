#include "tests/fuzz/outcome.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "interp/wasm/wasm.h"

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
                   {"call stack exhausted", "stack"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strncmp(text, classes[i].text, strlen(classes[i].text)) == 0)
            return classes[i].class;
    return text;
}

static uint32_t hash_words(const uint8_t *data, uint64_t bytes)
{
    uint32_t hash = 0x811C9DC5;
    for (uint64_t i = 0; i < bytes; i += 4) {
        uint32_t word = (uint32_t)data[i] | (uint32_t)data[i + 1] << 8 |
                        (uint32_t)data[i + 2] << 16 | (uint32_t)data[i + 3] << 24;
        hash = (hash ^ word) * 0x01000193;
        hash ^= hash >> 15;
    }
    return hash;
}

/* `slice`: how much fuel the call gets at a time. */
static void call(struct wasm_thread *thread, struct wasm_func *func, uint64_t slice,
                 struct buf *line)
{
    if (wasm_thread_call(thread, func, NULL) != ERR_OK) {
        buf_puts(line, " refused");
        return;
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
}

static void run_instance(struct wasm_module *module, struct wasm_store *store,
                         struct wasm_instance *instance, uint64_t slice, uint64_t *fuel,
                         struct buf *line)
{
    struct wasm_thread *thread;
    if (wasm_thread_create(store, &thread) != ERR_OK)
        abort();
    struct wasm_extern object;
    for (uint32_t i = 0; i < wasm_module_export_count(module); i++) {
        const struct wasm_export *export = wasm_module_export(module, i);
        if (export->type.kind == WASM_FUNC &&
            wasm_instance_export(instance, export->name, export->name_bytes, &object))
            call(thread, object.of.func, slice, line);
    }
    if (wasm_instance_export(instance, "m", 1, &object))
        buf_printf(line, " m%u:%08x",
                   (unsigned)(wasm_memory_bytes(object.of.memory) / 65536),
                   hash_words(wasm_memory_data(object.of.memory),
                              wasm_memory_bytes(object.of.memory)));
    *fuel = wasm_thread_fuel_used(thread);
    wasm_thread_destroy(thread);
}

void outcome_of(const uint8_t *bytes, size_t count, uint64_t slice, uint64_t *fuel,
                struct buf *line)
{
    struct wasm_module *module;
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct report report = {0};
    *fuel = 0;
    if (wasm_module_create(bytes, count, &module, &report) != ERR_OK) {
        buf_printf(line, " refused: %s", report.text);
        return;
    }
    if (wasm_store_create(NULL, &store, &report) != ERR_OK)
        abort();
    if (wasm_instance_create(store, module, NULL, 0, &instance, &report) == ERR_OK)
        run_instance(module, store, instance, slice, fuel, line);
    else
        buf_printf(line, " instantiate:%s", report.code == ERR_TRAP ? "trap" : report.text);
    wasm_store_destroy(store);
    wasm_module_unref(module);
}
