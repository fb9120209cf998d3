/* Handle tables: the numbers by which a guest knows resources, and the rules of lending them.
 * Invariants: items[0] is unused; free entries have resource NULL and form a list; an entry with
 * lends > 0 is never removed. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/vec.h"
#include "interp/component/runtime.h"

enum { HANDLES_MAX = (1 << 28) - 1 };

uint32_t comp_handles_add(struct comp_sub *sub, const struct comp_resource *resource, void *rep,
                          bool is_own, struct comp_task *scope)
{
    struct comp_handles *handles = &sub->handles;
    struct mem_heap *heap = &sub->instance->heap;
    struct comp_handle handle = {.resource = resource, .rep = rep, .is_own = is_own,
                                 .scope = scope, .serial = sub->instance->serial++};
    uint32_t index = handles->free_head;
    if (index) {
        handles->free_head = handles->items[index].next_free;
        handles->items[index] = handle;
        return index;
    }
    if (handles->count == 0 && !vec_push(heap, handles, (struct comp_handle){0}))
        goto full;
    index = (uint32_t)handles->count;
    if (handles->count > HANDLES_MAX || !vec_push(heap, handles, handle))
        goto full;
    return index;
full:
    wasm_thread_trap(sub->instance->thread, "the table of resource handles is full");
    return 0;
}

struct comp_handle *comp_handles_get(struct comp_sub *sub, uint32_t index,
                                     const struct comp_resource *resource)
{
    struct comp_handles *handles = &sub->handles;
    if (index >= handles->count || !handles->items[index].resource) {
        wasm_thread_trap(sub->instance->thread, "unknown handle index %u", index);
        return NULL;
    }
    struct comp_handle *handle = &handles->items[index];
    if (handle->resource != resource) {
        wasm_thread_trap(sub->instance->thread,
                         "handle index %u used with the wrong type, expected resource `%s` but "
                         "found `%s`", index, resource && resource->name ? resource->name : "?",
                         handle->resource->name ? handle->resource->name : "?");
        return NULL;
    }
    return handle;
}

void comp_handles_remove(struct comp_sub *sub, uint32_t index)
{
    struct comp_handle *handle = &sub->handles.items[index];
    CHECK(handle->resource && handle->lends == 0);
    handle->resource = NULL;
    handle->next_free = sub->handles.free_head;
    sub->handles.free_head = index;
}

bool comp_flight_add(struct comp_instance *instance, const struct comp_resource *resource,
                     void *rep)
{
    struct comp_flying flying = {resource, rep};
    if (!resource->drop)
        return true;
    if (vec_push(NULL, &instance->flight, flying))
        return true;
    resource->drop(instance->host, rep);
    wasm_thread_trap(instance->thread, "no memory to pass a resource");
    return false;
}

void comp_flight_land(struct comp_instance *instance, void *rep)
{
    struct comp_flight *flight = &instance->flight;
    if (flight->landed < flight->count && flight->items[flight->landed].rep == rep)
        flight->landed++;
}

bool comp_flight_add_value(struct comp_sub *sub, const struct comp_type *type,
                           const struct comp_value *value)
{
    if (!type || !type->has_resource || value->kind != type->kind)
        return true;
    switch (type->kind) {
    case COMP_OWN: {
        const struct comp_resource *resource = sub->slots[type->resource->slot];
        return !resource || comp_flight_add(sub->instance, resource, value->of.rep);
    }
    case COMP_LIST:
        for (size_t i = 0; value->of.list.items && i < value->of.list.count; i++)
            if (!comp_flight_add_value(sub, type->element, &value->of.list.items[i]))
                return false;
        return true;
    case COMP_RECORD:
    case COMP_TUPLE:
        for (uint32_t i = 0; value->of.list.items && i < type->field_count &&
                             i < value->of.list.count; i++)
            if (!comp_flight_add_value(sub, type->fields[i].type, &value->of.list.items[i]))
                return false;
        return true;
    case COMP_VARIANT:
    case COMP_OPTION:
    case COMP_RESULT:
        return value->of.variant.index >= type->field_count || !value->of.variant.payload ||
               comp_flight_add_value(sub, type->fields[value->of.variant.index].type,
                                     value->of.variant.payload);
    default:
        return true;
    }
}

void comp_flight_end(struct comp_instance *instance)
{
    instance->flight.count = instance->flight.landed = 0;
}

struct doomed {
    uint64_t serial;
    const struct comp_resource *resource;
    void *rep;
};

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct doomed *)a)->serial, y = ((const struct doomed *)b)->serial;
    return x < y ? 1 : x > y ? -1 : 0;
}

void comp_handles_drop_all(struct comp_instance *instance)
{
    struct {
        struct doomed *items;
        size_t count, capacity;
    } list = {0};
    for (size_t i = instance->flight.count; i > instance->flight.landed; i--)
        instance->flight.items[i - 1].resource->drop(instance->host,
                                                     instance->flight.items[i - 1].rep);
    vec_free(NULL, &instance->flight);
    for (struct comp_sub *sub = instance->subs; sub; sub = sub->next) {
        for (size_t i = 1; i < sub->handles.count; i++) {
            struct comp_handle *handle = &sub->handles.items[i];
            if (!handle->resource || !handle->is_own || !handle->resource->drop)
                continue;
            struct doomed doomed = {handle->serial, handle->resource, handle->rep};
            /* Without memory for the list the order is lost, but not the drop. */
            if (!vec_push(NULL, &list, doomed))
                handle->resource->drop(instance->host, handle->rep);
        }
        vec_free(&instance->heap, &sub->handles);
    }
    if (list.count)
        qsort(list.items, list.count, sizeof *list.items, newest_first);
    for (size_t i = 0; i < list.count; i++)
        list.items[i].resource->drop(instance->host, list.items[i].rep);
    vec_free(NULL, &list);
}

bool comp_lends_add(struct comp_lends *lends, struct comp_sub *sub, uint32_t index)
{
    if (!vec_push(&sub->instance->heap, lends, index)) {
        wasm_thread_trap(sub->instance->thread, "no memory to borrow a handle");
        return false;
    }
    sub->handles.items[index].lends++;
    return true;
}

void comp_lends_end(struct comp_lends *lends, struct comp_sub *sub)
{
    for (size_t i = 0; i < lends->count; i++)
        sub->handles.items[lends->items[i]].lends--;
    vec_free(&sub->instance->heap, lends);
}
