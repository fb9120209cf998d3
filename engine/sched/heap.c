/* A binary heap of contexts by standing. */
#include "engine/base/check.h"
#include "engine/sched/inner.h"

bool sched_stands_above(const struct standing *a, const struct standing *b)
{
    if (a->bid != b->bid)
        return a->bid > b->bid;
    if (a->owner != b->owner)
        return a->owner < b->owner;
    return a->context < b->context;
}

static bool before(const struct heap *heap, const struct heap_item *a, const struct heap_item *b)
{
    return heap->highest ? sched_stands_above(&a->standing, &b->standing)
                         : sched_stands_above(&b->standing, &a->standing);
}

static void put(struct heap *heap, uint32_t at, struct heap_item *item)
{
    heap->items[at] = item;
    item->at = at;
}

static void sift(struct heap *heap, uint32_t at, struct heap_item *item)
{
    while (at > 0 && before(heap, item, heap->items[(at - 1) / 2])) {
        put(heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap, heap->items[child + 1], heap->items[child]))
            child++;
        if (!before(heap, heap->items[child], item))
            break;
        put(heap, at, heap->items[child]);
        at = child;
    }
    put(heap, at, item);
}

void sched_heap_push(struct heap *heap, struct heap_item *item)
{
    CHECK(item->at == HEAP_OUT && heap->count < heap->capacity);
    heap->count++;
    sift(heap, (uint32_t)heap->count - 1, item);
}

void sched_heap_remove(struct heap *heap, struct heap_item *item)
{
    if (item->at == HEAP_OUT)
        return;
    uint32_t at = item->at;
    struct heap_item *last = heap->items[--heap->count];
    item->at = HEAP_OUT;
    if (last != item)
        sift(heap, at, last);
}
