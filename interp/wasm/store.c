/* Stores, their host functions and globals. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "interp/wasm/code.h"

uint32_t wasm_type_slots(const uint32_t *list, uint32_t count)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < count; i++)
        slots += wasm_value_slots(list[i]);
    return slots;
}

/* ---- stores ------------------------------------------------------------------------------ */

/* A type that the store holds until it goes. */
struct wasm_type_ref {
    struct wasm_type_ref *next;
    const struct wasm_def_type *type; /* its group is held */
};

enum err wasm_store_create(const struct wasm_store_limits *limits, struct wasm_store **store,
                           struct report *report)
{
    struct wasm_store *made = mem_calloc(NULL, 1, sizeof *made);
    *store = made;
    if (!made)
        return err_set(report, ERR_MEMORY, "out of memory creating a WebAssembly store");
    if (limits)
        made->limits = *limits;
    if (made->limits.memory_bytes_max == 0)
        made->limits.memory_bytes_max = UINT64_C(4) << 30;
    if (made->limits.table_elements_max == 0)
        made->limits.table_elements_max = 10000000;
    if (made->limits.stack_bytes_max == 0)
        made->limits.stack_bytes_max = 8 << 20;
    arena_init(&made->arena, &made->heap);
    arena_reserve(&made->arena, (size_t)made->limits.objects_bytes);
    return ERR_OK;
}

void wasm_store_destroy(struct wasm_store *store)
{
    if (!store)
        return;
    while (store->threads)
        wasm_thread_destroy(store->threads);
    for (struct wasm_instance *i = store->instances; i; i = i->next)
        wasm_module_unref(i->module);
    while (store->memories) {
        struct wasm_memory *next = store->memories->next;
        wasm_memory_free(store->memories);
        store->memories = next;
    }
    while (store->tables) {
        struct wasm_table *next = store->tables->next;
        wasm_table_free(store->tables);
        store->tables = next;
    }
    while (store->roots)
        wasm_root_destroy(store->roots);
    wasm_heap_deinit(store);
    for (struct wasm_type_ref *ref = store->type_refs; ref; ref = ref->next)
        wasm_type_release(ref->type->group);
    arena_deinit(&store->arena);
    CHECK(store->heap.used_bytes == 0);
    mem_free(NULL, store);
}

uint64_t wasm_store_memory_bytes(const struct wasm_store *store)
{
    return store->memory_bytes;
}

uint64_t wasm_store_objects_bytes(const struct wasm_store *store)
{
    return arena_used_bytes(&store->arena);
}

uint64_t wasm_store_overhead_bytes(const struct wasm_store *store)
{
    return sizeof *store + store->heap.used_bytes;
}

/* ---- host functions and globals ---------------------------------------------------------- */

struct wasm_func *wasm_func_create_host(struct wasm_store *store,
                                        const struct wasm_functype *type, const char *name,
                                        wasm_host_fn fn, void *user)
{
    struct wasm_func *func = arena_calloc(&store->arena, 1, sizeof *func);
    struct wasm_host_func *host = arena_calloc(&store->arena, 1, sizeof *host);
    struct wasm_type_ref *ref = arena_alloc(&store->arena, sizeof *ref);
    char *copy = arena_strdup(&store->arena, name, strlen(name));
    uint32_t param_slots = wasm_type_slots(type->params, type->param_count);
    uint32_t result_slots = wasm_type_slots(type->results, type->result_count);
    if (!func || !host || !ref || !copy || param_slots > SLOTS_MAX || result_slots > SLOTS_MAX)
        return NULL;
    const struct wasm_type_decl decl = {.kind = WASM_DEF_FUNC, .is_final = true, .func = *type};
    const struct wasm_def_type *interned;
    if (wasm_types_intern(&decl, 1, &interned) != ERR_OK)
        return NULL;
    *ref = (struct wasm_type_ref){store->type_refs, interned};
    store->type_refs = ref;
    *host = (struct wasm_host_func){.fn = fn, .user = user, .name = copy};
    *func = (struct wasm_func){.type = interned,
                               .host = host,
                               .param_slots = (uint16_t)param_slots,
                               .result_slots = (uint16_t)result_slots};
    return func;
}

const struct wasm_functype *wasm_func_type(const struct wasm_func *func)
{
    return &func->type->func;
}

struct wasm_global *wasm_global_create(struct wasm_store *store, uint32_t type, bool mutable_,
                                       union wasm_value value[2])
{
    struct wasm_host_global *made = arena_calloc(&store->arena, 1, sizeof *made);
    if (!made)
        return NULL;
    struct wasm_global *global = &made->global;
    made->next = store->host_globals;
    store->host_globals = made;
    global->type = type;
    global->mutable_ = mutable_;
    global->value[0] = value[0];
    if (type == WASM_V128)
        global->value[1] = value[1];
    return global;
}

void wasm_global_get(const struct wasm_global *global, union wasm_value value[2])
{
    value[0] = global->value[0];
    value[1] = global->value[1];
}
