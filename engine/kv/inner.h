/* Shared inside kv/ only. */
#ifndef ENGINE_KV_INNER_H
#define ENGINE_KV_INNER_H

#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "engine/kv/kv.h"

/* What few rows have: a mask, an adapter, or that they must be computed together with the row
 * before them. Immutable, counted; rows without any of it have none. */
struct kv_extra {
    uint32_t refs;
    bool glued;      /* an earlier row of the same pass sees this row or one behind it */
    uint32_t ahead;  /* KV index behind the last one seen, when that is past the row itself; or 0 */
    int64_t adapter_id, adapter_seed;
    uint32_t run_count; /* 0 = causal */
    uint32_t runs[];    /* canonical: no empty run but the first, ends with ones; or {1}: none */
};

struct kv_token {
    uint32_t token, position;
    struct kv_extra *extra; /* counted; NULL mostly */
};

/* A committed page: a node of the tree of histories. Two nodes are the same history only if they
 * are the same node, so that equality with a child needs to look at one page of tokens. */
struct kv_node {
    struct kv_node *parent; /* counted; NULL at the first page */
    struct kv_node *next;   /* in the index's bucket */
    uint64_t hash;          /* of the whole history */
    uint64_t unique;        /* not 0: the page's rows saw tokens behind it; never found */
    uint32_t refs;          /* contexts whose tip it is, and children */
    uint32_t resident;      /* contexts whose deepest resident node it is, and resident children */
    uint32_t page;          /* KV_PAGE_NONE when resident is 0 */
    uint32_t depth;         /* 1 = first page */
    uint32_t seen_refs, seen_resident; /* scratch of kv_pool_check */
    struct kv_token tokens[]; /* [page_tokens] */
};

struct kv_pool {
    uint32_t page_count, page_tokens;
    uint32_t *refs; /* [page_count] entries in page tables of contexts */
    uint32_t *free; /* [page_count] stack of page ids */
    uint32_t free_count;
    uint32_t used_peak;
    uint64_t entries; /* sum of refs */

    struct kv_node **buckets; /* [bucket_count], a power of two */
    uint32_t bucket_count;
    uint32_t node_count; /* in the index */
    uint64_t last_unique;

    uint64_t last_id;
    struct kv_context *contexts; /* all, snapshots too */
    uint32_t context_count, snapshot_count;
    struct map snapshots;           /* username, 0, name -> context */
    uint64_t snapshot_tokens;       /* working tokens of all snapshots */
    struct kv_context *lru_first, *lru_last; /* snapshots that hold pages, least used first */
};

struct kv_context {
    struct kv_pool *pool;
    struct kv_context *previous, *next; /* in pool->contexts */
    uint64_t id;

    struct kv_node *tip; /* last committed page, counted */
    uint32_t committed;  /* pages */
    uint32_t max_position;    /* of the pages committed last */
    uint32_t committed_ahead; /* largest `ahead` of committed rows */

    uint32_t working; /* pages */
    struct { struct kv_token *items; size_t count, capacity; } tokens; /* working, then staged */
    uint32_t staged; /* rows at the end of tokens */
    bool passing;    /* a pass is staged */
    bool prepared;   /* and has its pages */

    struct { uint32_t *items; size_t count, capacity; } pages; /* page table, physical part */
    struct kv_node *resident; /* deepest node of the chain that the context keeps resident */
    uint32_t computed; /* rows */

    bool snapshot;
    char *key; /* of a snapshot */
    size_t key_bytes;
    struct kv_context *lru_previous, *lru_next;
    bool in_lru;
};

/* mask.c */
/* KV index behind the last bit set below `end`; 0 = none. */
uint32_t kv_mask_last(struct kv_mask mask, uint32_t end);
/* Writes the canonical form, cut at `end`, to `runs` (NULL: only counts); returns the count, at
 * most mask.count + 1. */
uint32_t kv_mask_canonical(struct kv_mask mask, uint32_t end, uint32_t *runs);
struct kv_extra *kv_extra_ref(struct kv_extra *extra); /* NULL is allowed */
void kv_extra_unref(struct kv_extra *extra);
bool kv_extra_equal(const struct kv_extra *a, const struct kv_extra *b);

/* node.c */
uint64_t kv_node_hash(const struct kv_node *parent, const struct kv_token *tokens,
                      uint32_t count);
struct kv_node *kv_node_find(const struct kv_pool *pool, const struct kv_node *parent,
                             uint64_t hash, const struct kv_token *tokens);
void kv_node_insert(struct kv_pool *pool, struct kv_node *node);
/* Drops one reference; frees what nobody needs. */
void kv_node_unref(struct kv_pool *pool, struct kv_node *node);
/* One holder less of the residency of `node` and its ancestors. NULL is allowed. */
void kv_node_leave(struct kv_node *node);

/* A copy of `extra` whose mask ends at `end`; NULL when memory is out. */
struct kv_extra *kv_extra_cut(const struct kv_extra *extra, uint32_t end);

/* kv.c */
struct kv_context *kv_context_new(struct kv_pool *pool);

/* snapshot.c */
void kv_lru_remove(struct kv_context *context);

#endif
