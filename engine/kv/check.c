/* kv_pool_check: everything that kv.c promises about itself, counted again from scratch. */
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/kv/inner.h"

static void check_context(const struct kv_context *context, uint32_t *seen)
{
    const struct kv_pool *pool = context->pool;
    uint32_t length = kv_length(context), page_tokens = pool->page_tokens;
    CHECK(context->committed + context->working <= pool->page_count);
    CHECK((context->tip == NULL ? 0 : context->tip->depth) == context->committed);
    CHECK(context->tokens.count <= (uint64_t)context->working * page_tokens);
    CHECK(context->passing == (context->staged > 0));
    CHECK(context->passing || !context->prepared);

    uint32_t covered = length + (context->prepared ? context->staged : 0);
    CHECK(context->pages.count == 0 ||
          context->pages.count == (covered + page_tokens - 1) / page_tokens);
    CHECK(context->computed <= context->pages.count * page_tokens);
    if (!context->prepared)
        CHECK(context->computed == (context->pages.count > 0 ? length : 0));
    if (context->prepared)
        CHECK(context->pages.count > 0 && context->computed <= covered);

    for (size_t i = 0; i < context->pages.count; i++) {
        CHECK(context->pages.items[i] < pool->page_count);
        seen[context->pages.items[i]]++;
        /* What will be written, or is written now, is nobody else's. */
        if (context->prepared && (i + 1) * page_tokens > context->computed)
            CHECK(pool->refs[context->pages.items[i]] == 1);
    }
    uint32_t complete = context->computed / page_tokens;
    if (complete > context->committed)
        complete = context->committed;
    CHECK((context->resident == NULL ? 0 : context->resident->depth) == complete);
    for (const struct kv_node *node = context->resident; node != NULL; node = node->parent)
        CHECK(context->pages.items[node->depth - 1] == node->page);
    const struct kv_node *node = context->tip;
    while (node != NULL && node->depth > complete)
        node = node->parent;
    CHECK(node == context->resident);

    CHECK(!context->snapshot || !context->passing);
    CHECK(!context->in_lru || (context->snapshot && context->pages.count > 0));
}

void kv_pool_check(const struct kv_pool *pool)
{
    uint32_t *seen = mem_calloc(NULL, pool->page_count, sizeof *seen);
    CHECK(seen != NULL);
    uint32_t nodes = 0, contexts = 0, snapshots = 0;
    uint64_t entries = 0, snapshot_tokens = 0;
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        for (struct kv_node *node = pool->buckets[i]; node != NULL; node = node->next) {
            node->seen_refs = node->seen_resident = 0;
            nodes++;
        }
    }
    CHECK(nodes == pool->node_count);
    for (struct kv_context *context = pool->contexts; context != NULL; context = context->next) {
        CHECK(context->pool == pool);
        CHECK(context->next == NULL || context->next->previous == context);
        check_context(context, seen);
        if (context->tip != NULL)
            context->tip->seen_refs++;
        if (context->resident != NULL)
            context->resident->seen_resident++;
        contexts++;
        snapshots += context->snapshot;
        snapshot_tokens += context->snapshot ? context->tokens.count : 0;
    }
    CHECK(contexts == pool->context_count && snapshots == pool->snapshot_count);
    CHECK(pool->snapshots.count == snapshots && pool->snapshot_tokens == snapshot_tokens);
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        for (struct kv_node *node = pool->buckets[i]; node != NULL; node = node->next) {
            if (node->parent == NULL)
                continue;
            node->parent->seen_refs++;
            if (node->resident > 0)
                node->parent->seen_resident++;
        }
    }
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        for (struct kv_node *node = pool->buckets[i]; node != NULL; node = node->next) {
            CHECK(node->refs == node->seen_refs && node->resident == node->seen_resident);
            CHECK((node->page == KV_PAGE_NONE) == (node->resident == 0));
            CHECK(node->depth == (node->parent == NULL ? 1 : node->parent->depth + 1));
            CHECK(node->unique != 0 ||
                  kv_node_find(pool, node->parent, node->hash, node->tokens) == node);
        }
    }
    for (uint32_t page = 0; page < pool->page_count; page++) {
        CHECK(pool->refs[page] == seen[page]);
        entries += seen[page];
    }
    CHECK(entries == pool->entries);
    for (uint32_t i = 0; i < pool->free_count; i++) {
        CHECK(pool->refs[pool->free[i]] == 0);
        CHECK(seen[pool->free[i]]++ == 0); /* not twice */
    }
    uint32_t used = 0;
    for (uint32_t page = 0; page < pool->page_count; page++)
        used += pool->refs[page] > 0;
    CHECK(used + pool->free_count == pool->page_count);
    mem_free(NULL, seen);
}
