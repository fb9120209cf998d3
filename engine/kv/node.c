/* The tree of committed pages. */
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/kv/inner.h"

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 12) + (hash >> 4);
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
}

uint64_t kv_node_hash(const struct kv_node *parent, const struct kv_token *tokens,
                      uint32_t count)
{
    /* The first page starts from the process's secret: guests cannot prepare long chains. */
    uint64_t hash = parent == NULL ? map_hash(NULL, 0) : parent->hash;
    for (uint32_t i = 0; i < count; i++) {
        hash = mix(hash, (uint64_t)tokens[i].token << 32 | tokens[i].position);
        const struct kv_extra *extra = tokens[i].extra;
        if (extra == NULL)
            continue;
        hash = mix(hash, (uint64_t)extra->adapter_id);
        hash = mix(hash, (uint64_t)extra->adapter_seed);
        for (uint32_t k = 0; k < extra->run_count; k++)
            hash = mix(hash, extra->runs[k]);
    }
    return hash;
}

struct kv_node *kv_node_find(const struct kv_pool *pool, const struct kv_node *parent,
                             uint64_t hash, const struct kv_token *tokens)
{
    struct kv_node *node = pool->buckets[hash & (pool->bucket_count - 1)];
    for (; node != NULL; node = node->next) {
        if (node->hash != hash || node->parent != parent || node->unique != 0)
            continue;
        uint32_t i = 0;
        while (i < pool->page_tokens && node->tokens[i].token == tokens[i].token &&
               node->tokens[i].position == tokens[i].position &&
               kv_extra_equal(node->tokens[i].extra, tokens[i].extra))
            i++;
        if (i == pool->page_tokens)
            return node;
    }
    return NULL;
}

/* Twice the buckets; when memory is out the chains stay longer, nothing else. */
static void index_grow(struct kv_pool *pool)
{
    uint32_t count = pool->bucket_count * 2;
    struct kv_node **buckets = mem_calloc(NULL, count, sizeof(struct kv_node *));
    if (buckets == NULL)
        return;
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        struct kv_node *node = pool->buckets[i];
        while (node != NULL) {
            struct kv_node *next = node->next;
            node->next = buckets[node->hash & (count - 1)];
            buckets[node->hash & (count - 1)] = node;
            node = next;
        }
    }
    mem_free(NULL, pool->buckets);
    pool->buckets = buckets;
    pool->bucket_count = count;
}

void kv_node_insert(struct kv_pool *pool, struct kv_node *node)
{
    if (pool->node_count >= pool->bucket_count && pool->bucket_count < 1u << 30)
        index_grow(pool);
    struct kv_node **bucket = &pool->buckets[node->hash & (pool->bucket_count - 1)];
    node->next = *bucket;
    *bucket = node;
    pool->node_count++;
}

void kv_node_unref(struct kv_pool *pool, struct kv_node *node)
{
    while (node != NULL && --node->refs == 0) {
        CHECK(node->resident == 0);
        struct kv_node **at = &pool->buckets[node->hash & (pool->bucket_count - 1)];
        while (*at != node)
            at = &(*at)->next;
        *at = node->next;
        pool->node_count--;
        for (uint32_t i = 0; i < pool->page_tokens; i++)
            kv_extra_unref(node->tokens[i].extra);
        struct kv_node *parent = node->parent;
        mem_free(NULL, node);
        node = parent;
    }
}

void kv_node_leave(struct kv_node *node)
{
    while (node != NULL && --node->resident == 0) {
        node->page = KV_PAGE_NONE;
        node = node->parent;
    }
}
