/* Tables: growable arrays of references. Their sizes add up to store->table_elements, which never
 * passes the store's limit. */
#include "engine/base/mem.h"
#include "interp/wasm/code.h"

int64_t wasm_table_grow(struct wasm_table *table, uint64_t count, void *init)
{
    struct wasm_store *store = table->store;
    uint64_t old = table->size;
    if (count == 0)
        return (int64_t)old;
    if (count > table->limits.max || old > table->limits.max - count ||
        count > store->limits.table_elements_max ||
        store->table_elements > store->limits.table_elements_max - count)
        return -1;
    if (!table->limits.is64 && old + count > UINT32_MAX)
        return -1;
    if (old + count > table->capacity) {
        uint64_t capacity = old == 0 ? count : old + count + old / 2;
        if (capacity > SIZE_MAX / sizeof *table->items)
            return -1;
        void **items = mem_realloc(&store->heap, table->items, capacity * sizeof *items);
        if (!items)
            return -1;
        table->items = items;
        table->capacity = capacity;
    }
    for (uint64_t i = old; i < old + count; i++)
        table->items[i] = init;
    table->size = old + count;
    store->table_elements += count;
    return (int64_t)old;
}

enum err wasm_table_make(struct wasm_store *store, uint32_t type, struct wasm_limits limits,
                         void *init, struct wasm_table **out, struct report *report)
{
    struct wasm_table *table = arena_calloc(&store->arena, 1, sizeof *table);
    *out = NULL;
    if (!table)
        return err_set(report, ERR_MEMORY, "out of memory creating a table");
    table->store = store;
    table->limits = limits;
    table->type = type;
    table->next = store->tables;
    store->tables = table;
    if (wasm_table_grow(table, limits.min, init) < 0)
        return err_set(report, ERR_LIMIT, "a table of %llu elements is over the limit of %llu",
                       (unsigned long long)limits.min,
                       (unsigned long long)store->limits.table_elements_max);
    *out = table;
    return ERR_OK;
}

struct wasm_table *wasm_table_create(struct wasm_store *store, uint32_t type,
                                     struct wasm_limits limits, void *init)
{
    struct wasm_table *table;
    return wasm_table_make(store, type, limits, init, &table, NULL) == ERR_OK ? table : NULL;
}

void wasm_table_free(struct wasm_table *table)
{
    table->store->table_elements -= table->size;
    mem_free(&table->store->heap, table->items);
}

uint64_t wasm_table_size(const struct wasm_table *table)
{
    return table->size;
}

void *wasm_table_get(const struct wasm_table *table, uint64_t index)
{
    return index < table->size ? table->items[index] : NULL;
}

bool wasm_table_set(struct wasm_table *table, uint64_t index, void *ref)
{
    if (index >= table->size)
        return false;
    table->items[index] = ref;
    return true;
}
