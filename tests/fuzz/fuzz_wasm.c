/* links: interp/wasm
 *
 * Any bytes as a core module: decode, validate; a module without imports is instantiated and each
 * of its exported functions runs with a little fuel and memory; every other size of module with a
 * collection of objects at each allocation. */
#include <stdlib.h>
#include <string.h>

#include "interp/wasm/code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS_MAX = 16, FUEL = 20000, CELLS_MAX = 2000 };

static void run(struct wasm_store *store, struct wasm_func *func)
{
    static const union wasm_value args[CELLS_MAX];
    struct wasm_thread *thread;
    if (wasm_thread_create(store, &thread) != ERR_OK)
        return;
    if (wasm_thread_call(thread, func, args) == ERR_OK) {
        enum wasm_run result = wasm_thread_run(thread, FUEL / 2);
        if (result == WASM_RUN_FUEL)
            result = wasm_thread_run(thread, FUEL / 2);
        if (result == WASM_RUN_TRAP && !wasm_thread_trap_text(thread)[0])
            abort();
        if (result == WASM_RUN_WAIT)
            abort(); /* nobody to wait for */
    }
    wasm_thread_destroy(thread);
}

static void execute(struct wasm_module *module, bool always_collect)
{
    static const struct wasm_store_limits limits = {
        .memory_bytes_max = 4 << 20, .table_elements_max = 10000, .stack_bytes_max = 256 << 10};
    struct wasm_store *store;
    struct wasm_instance *instance;
    if (wasm_store_create(&limits, &store, NULL) != ERR_OK)
        return;
    store->objects.always_collect = always_collect;
    if (wasm_instance_create(store, module, NULL, 0, &instance, NULL) == ERR_OK) {
        struct wasm_func *start = wasm_instance_start_func(instance);
        if (start)
            run(store, start);
        uint32_t calls = 0;
        for (uint32_t i = 0; i < wasm_module_export_count(module) && calls < CALLS_MAX; i++) {
            const struct wasm_export *export = wasm_module_export(module, i);
            struct wasm_extern object;
            if (export->type.kind != WASM_FUNC)
                continue;
            if (!wasm_instance_export(instance, export->name, export->name_bytes, &object))
                abort();
            run(store, object.of.func);
            calls++;
        }
    }
    wasm_store_destroy(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wasm_module *module;
    struct report report = {0};
    if (wasm_module_create(data, size, &module, &report) != ERR_OK) {
        if (!report.text[0])
            abort(); /* a refusal says why */
        return 0;
    }
    if (wasm_module_import_count(module) == 0)
        execute(module, size % 2);
    wasm_module_unref(module);
    return 0;
}
