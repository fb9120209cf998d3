/* Stores, their host functions and globals; function types interned for the whole process.
 *
 * Invariant of the type table: one entry for each distinct type that somebody holds; `refs` counts
 * the holders (programs, stores). Equal types are therefore equal pointers, which is what
 * call_indirect compares. */
#include <pthread.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "interp/wasm/code.h"

/* ---- types ------------------------------------------------------------------------------- */

struct type_entry {
    struct wasm_functype type; /* first: the public pointer */
    uint32_t refs;
    size_t key_bytes;
    uint8_t key[]; /* parameter count (4 bytes), parameters, results */
};

static pthread_mutex_t types_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map types;

static void write_key(uint8_t *key, const struct wasm_functype *type)
{
    memcpy(key, &type->param_count, 4);
    if (type->param_count)
        memcpy(key + 4, type->params, type->param_count);
    if (type->result_count)
        memcpy(key + 4 + type->param_count, type->results, type->result_count);
}

/* Under types_lock. */
static struct type_entry *add_type(const struct wasm_functype *type, const uint8_t *key,
                                   size_t key_bytes)
{
    struct type_entry *entry = mem_alloc(NULL, sizeof *entry + key_bytes);
    if (!entry)
        return NULL;
    memcpy(entry->key, key, key_bytes);
    entry->key_bytes = key_bytes;
    entry->refs = 0;
    entry->type = (struct wasm_functype){.param_count = type->param_count,
                                         .result_count = type->result_count,
                                         .params = entry->key + 4,
                                         .results = entry->key + 4 + type->param_count};
    if (!map_set(&types, entry->key, key_bytes, entry)) {
        mem_free(NULL, entry);
        return NULL;
    }
    return entry;
}

const struct wasm_functype *wasm_type_intern(const struct wasm_functype *type)
{
    uint8_t small[64];
    size_t key_bytes = 4 + (size_t)type->param_count + type->result_count;
    uint8_t *key = key_bytes <= sizeof small ? small : mem_alloc(NULL, key_bytes);
    if (!key)
        return NULL;
    write_key(key, type);
    pthread_mutex_lock(&types_lock);
    struct type_entry *entry = map_find(&types, key, key_bytes);
    if (!entry)
        entry = add_type(type, key, key_bytes);
    if (entry)
        entry->refs++;
    pthread_mutex_unlock(&types_lock);
    if (key != small)
        mem_free(NULL, key);
    return entry ? &entry->type : NULL;
}

void wasm_type_release(const struct wasm_functype *type)
{
    struct type_entry *entry = (struct type_entry *)(uintptr_t)type;
    pthread_mutex_lock(&types_lock);
    bool last = --entry->refs == 0;
    if (last) {
        CHECK(map_take(&types, entry->key, entry->key_bytes) == entry);
        if (types.count == 0)
            map_deinit(&types);
    }
    pthread_mutex_unlock(&types_lock);
    if (last)
        mem_free(NULL, entry);
}

uint32_t wasm_type_slots(const uint8_t *list, uint32_t count)
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
    const struct wasm_functype *type;
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
    while (store->exceptions) {
        struct wasm_exception *next = store->exceptions->next;
        mem_free(&store->heap, store->exceptions);
        store->exceptions = next;
    }
    for (struct wasm_type_ref *ref = store->type_refs; ref; ref = ref->next)
        wasm_type_release(ref->type);
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
    const struct wasm_functype *interned = wasm_type_intern(type);
    if (!interned)
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
    return func->type;
}

struct wasm_global *wasm_global_create(struct wasm_store *store, uint8_t type, bool mutable_,
                                       union wasm_value value[2])
{
    struct wasm_global *global = arena_calloc(&store->arena, 1, sizeof *global);
    if (!global)
        return NULL;
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
