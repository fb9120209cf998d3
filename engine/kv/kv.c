/* Pages and contexts.
 *
 * Invariants (kv_pool_check asserts them):
 *  - a page is free, or its refs say in how many page tables it stands;
 *  - a context's page table is empty, or covers exactly its tokens (with the staged ones once the
 *    pass is prepared); empty with tokens = suspended;
 *  - without a pass: suspended and computed = 0, or computed = kv_length;
 *  - a page that more than one table has is never written: kv_prepare replaces it first;
 *  - a node is resident while a context keeps it so; then its page stands in the table of every
 *    such context, and its parent is resident too;
 *  - context->resident is an ancestor of the tip, or the tip; the tip itself when the context is
 *    resident and computed. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/kv/inner.h"

enum { BUCKETS_FIRST = 256 };

static uint32_t pages_for(const struct kv_pool *pool, uint32_t tokens)
{
    return tokens / pool->page_tokens + (tokens % pool->page_tokens != 0);
}

/* ---- pages ------------------------------------------------------------------------------- */

static uint32_t page_take(struct kv_pool *pool)
{
    CHECK(pool->free_count > 0);
    uint32_t page = pool->free[--pool->free_count];
    CHECK(pool->refs[page] == 0);
    pool->refs[page] = 1;
    pool->entries++;
    uint32_t used = pool->page_count - pool->free_count;
    if (used > pool->used_peak)
        pool->used_peak = used;
    return page;
}

static void page_ref(struct kv_pool *pool, uint32_t page)
{
    CHECK(pool->refs[page] > 0);
    pool->refs[page]++;
    pool->entries++;
}

static void page_unref(struct kv_pool *pool, uint32_t page)
{
    CHECK(pool->refs[page] > 0);
    pool->entries--;
    if (--pool->refs[page] == 0)
        pool->free[pool->free_count++] = page;
}

/* ---- pool -------------------------------------------------------------------------------- */

enum err kv_pool_create(uint32_t page_count, uint32_t page_tokens, struct kv_pool **pool_out,
                        struct report *report)
{
    if (page_count == 0 || page_tokens == 0 || (uint64_t)page_count * page_tokens >= 1u << 31)
        return err_set(report, ERR_LIMIT,
                       "KV pages: %u pages of %u tokens are not between 1 and 2^31 tokens",
                       page_count, page_tokens);
    struct kv_pool *pool = mem_calloc(NULL, 1, sizeof *pool);
    if (pool == NULL)
        return err_set(report, ERR_MEMORY, "KV pages: out of memory for the page pool");
    pool->page_count = page_count;
    pool->page_tokens = page_tokens;
    pool->bucket_count = BUCKETS_FIRST;
    map_init(&pool->snapshots, NULL);
    pool->refs = mem_calloc(NULL, page_count, sizeof *pool->refs);
    pool->free = mem_calloc(NULL, page_count, sizeof *pool->free);
    pool->buckets = mem_calloc(NULL, BUCKETS_FIRST, sizeof(struct kv_node *));
    if (pool->refs == NULL || pool->free == NULL || pool->buckets == NULL) {
        kv_pool_destroy(pool);
        return err_set(report, ERR_MEMORY, "KV pages: out of memory for %u page entries",
                       page_count);
    }
    for (uint32_t i = 0; i < page_count; i++)
        pool->free[i] = page_count - 1 - i;
    pool->free_count = page_count;
    *pool_out = pool;
    return ERR_OK;
}

void kv_pool_destroy(struct kv_pool *pool)
{
    if (pool == NULL)
        return;
    for (struct kv_context *context = pool->contexts; context != NULL;) {
        struct kv_context *next = context->next;
        CHECK(context->snapshot);
        kv_context_destroy(context);
        context = next;
    }
    CHECK(pool->node_count == 0);
    map_deinit(&pool->snapshots);
    mem_free(NULL, pool->refs);
    mem_free(NULL, pool->free);
    mem_free(NULL, pool->buckets);
    mem_free(NULL, pool);
}

struct kv_pool_stats kv_pool_stats(const struct kv_pool *pool)
{
    uint32_t used = pool->page_count - pool->free_count;
    return (struct kv_pool_stats){
        .pages_total = pool->page_count,
        .pages_used = used,
        .pages_peak = pool->used_peak,
        .page_tokens = pool->page_tokens,
        .contexts = pool->context_count - pool->snapshot_count,
        .snapshots = pool->snapshot_count,
        .pages_shared = pool->entries - used,
    };
}

uint64_t kv_lineage_max(const struct kv_pool *pool)
{
    uint64_t max = 16 * (uint64_t)pool->page_count * pool->page_tokens;
    return max > 1 << 20 ? max : 1 << 20;
}

uint32_t kv_pool_free(const struct kv_pool *pool)
{
    return pool->free_count;
}

/* ---- contexts ---------------------------------------------------------------------------- */

struct kv_context *kv_context_new(struct kv_pool *pool)
{
    struct kv_context *context = mem_calloc(NULL, 1, sizeof *context);
    if (context == NULL)
        return NULL;
    context->pool = pool;
    context->id = ++pool->last_id;
    context->next = pool->contexts;
    if (pool->contexts != NULL)
        pool->contexts->previous = context;
    pool->contexts = context;
    pool->context_count++;
    return context;
}

enum err kv_context_create(struct kv_pool *pool, struct kv_context **context)
{
    *context = kv_context_new(pool);
    return *context == NULL ? ERR_MEMORY : ERR_OK;
}

/* Gives up the physical pages from index `keep` on. */
static void pages_drop(struct kv_context *context, uint32_t keep)
{
    while (context->pages.count > keep)
        page_unref(context->pool, context->pages.items[--context->pages.count]);
}

static void pages_drop_all(struct kv_context *context)
{
    kv_node_leave(context->resident);
    context->resident = NULL;
    pages_drop(context, 0);
    context->computed = 0;
    context->prepared = false;
    kv_lru_remove(context);
}

/* Forgets the tokens behind the first `keep` working ones, staged ones too. */
static void tokens_drop(struct kv_context *context, size_t keep)
{
    while (context->tokens.count > keep)
        kv_extra_unref(context->tokens.items[--context->tokens.count].extra);
}

void kv_context_destroy(struct kv_context *context)
{
    if (context == NULL)
        return;
    struct kv_pool *pool = context->pool;
    if (context->snapshot) {
        CHECK(map_take(&pool->snapshots, context->key, context->key_bytes) == context);
        pool->snapshot_count--;
        pool->snapshot_tokens -= context->tokens.count;
        mem_free(NULL, context->key);
    }
    pages_drop_all(context);
    tokens_drop(context, 0);
    kv_node_unref(pool, context->tip);
    if (context->previous != NULL)
        context->previous->next = context->next;
    else
        pool->contexts = context->next;
    if (context->next != NULL)
        context->next->previous = context->previous;
    pool->context_count--;
    vec_free(NULL, &context->tokens);
    vec_free(NULL, &context->pages);
    mem_free(NULL, context);
}

enum err kv_context_fork(const struct kv_context *context, struct kv_context **child_out)
{
    CHECK(!context->passing);
    struct kv_context *child = kv_context_new(context->pool);
    if (child == NULL)
        return ERR_MEMORY;
    if (!vec_reserve(NULL, &child->tokens, context->tokens.count) ||
        !vec_reserve(NULL, &child->pages, context->pages.count)) {
        kv_context_destroy(child);
        return ERR_MEMORY;
    }
    child->tip = context->tip;
    if (child->tip != NULL)
        child->tip->refs++;
    child->committed = context->committed;
    child->max_position = context->max_position;
    child->committed_ahead = context->committed_ahead;
    child->working = context->working;
    child->computed = context->computed;
    for (size_t i = 0; i < context->tokens.count; i++) {
        child->tokens.items[i] = context->tokens.items[i];
        kv_extra_ref(child->tokens.items[i].extra);
    }
    child->tokens.count = context->tokens.count;
    for (size_t i = 0; i < context->pages.count; i++) {
        child->pages.items[i] = context->pages.items[i];
        page_ref(child->pool, child->pages.items[i]);
    }
    child->pages.count = context->pages.count;
    child->resident = context->resident;
    if (child->resident != NULL)
        child->resident->resident++;
    *child_out = child;
    return ERR_OK;
}

uint64_t kv_context_id(const struct kv_context *context)
{
    return context->id;
}

uint32_t kv_committed_pages(const struct kv_context *context)
{
    return context->committed;
}

uint32_t kv_working_pages(const struct kv_context *context)
{
    return context->working;
}

uint32_t kv_working_tokens(const struct kv_context *context)
{
    return (uint32_t)context->tokens.count - context->staged;
}

uint32_t kv_length(const struct kv_context *context)
{
    return context->committed * context->pool->page_tokens + kv_working_tokens(context);
}

uint32_t kv_page_tokens(const struct kv_context *context)
{
    return context->pool->page_tokens;
}

bool kv_resident(const struct kv_context *context)
{
    return context->pages.count > 0 || kv_length(context) == 0;
}

uint32_t kv_pages_held(const struct kv_context *context)
{
    return (uint32_t)context->pages.count;
}

enum err kv_reserve(struct kv_context *context, uint32_t count, struct report *report)
{
    CHECK(!context->passing);
    uint32_t total = context->committed + context->working, limit = context->pool->page_count;
    if (count > limit - total)
        return err_set(report, ERR_LIMIT,
                       "reserve: requested %u pages, have %u, and the model's memory holds %u",
                       count, total, limit);
    context->working += count;
    return ERR_OK;
}

/* Working tokens behind the first `keep` go, and the pages that held only them. */
static enum err working_cut(struct kv_context *context, uint32_t keep, struct report *report)
{
    if (keep >= kv_working_tokens(context))
        return ERR_OK;
    struct kv_token *tokens = context->tokens.items;
    uint32_t length = context->committed * context->pool->page_tokens + keep;
    if (context->committed_ahead > length)
        return err_set(report, ERR_TRAP,
                       "truncate to %u tokens: rows of committed pages look ahead to token %u",
                       length, context->committed_ahead - 1);

    /* Rows that saw what goes now see less. All new masks first, so that running out of memory
     * changes nothing. */
    struct { struct kv_extra **items; size_t count, capacity; } cuts = {0};
    for (uint32_t i = 0; i < keep; i++) {
        if (tokens[i].extra == NULL || tokens[i].extra->ahead <= length)
            continue;
        struct kv_extra *cut = kv_extra_cut(tokens[i].extra, length);
        if (cut == NULL || !vec_push(NULL, &cuts, cut)) {
            kv_extra_unref(cut);
            while (cuts.count > 0)
                kv_extra_unref(cuts.items[--cuts.count]);
            vec_free(NULL, &cuts);
            return err_set(report, ERR_MEMORY, "truncate: out of memory");
        }
    }
    bool seen = cuts.count > 0;
    for (uint32_t i = 0, next = 0; next < cuts.count; i++) {
        if (tokens[i].extra == NULL || tokens[i].extra->ahead <= length)
            continue;
        kv_extra_unref(tokens[i].extra);
        tokens[i].extra = cuts.items[next++];
    }
    vec_free(NULL, &cuts);

    tokens_drop(context, keep);
    if (context->computed > length)
        context->computed = length;
    if (seen)
        pages_drop_all(context);
    else
        pages_drop(context, pages_for(context->pool, length));
    return ERR_OK;
}

enum err kv_release(struct kv_context *context, uint32_t count, struct report *report)
{
    CHECK(!context->passing);
    if (count > context->working)
        return err_set(report, ERR_TRAP, "release: requested %u, have %u", count,
                       context->working);
    enum err err =
        working_cut(context, (context->working - count) * context->pool->page_tokens, report);
    if (err == ERR_OK)
        context->working -= count;
    return err;
}

enum err kv_truncate(struct kv_context *context, uint32_t count, struct report *report)
{
    CHECK(!context->passing);
    uint32_t have = kv_working_tokens(context);
    if (count > have)
        return err_set(report, ERR_TRAP, "truncate count %u out of range 0..=%u", count, have);
    return working_cut(context, have - count, report);
}

void kv_suspend(struct kv_context *context)
{
    pages_drop_all(context);
}

/* ---- commit ------------------------------------------------------------------------------ */

/* The context's page of `node`, a child of context->resident, is computed: it becomes the node's
 * page, or gives way to the one that is there. */
static void node_enter(struct kv_context *context, struct kv_node *node)
{
    CHECK(node->parent == context->resident);
    struct kv_pool *pool = context->pool;
    uint32_t *page = &context->pages.items[node->depth - 1];
    if (node->resident == 0) {
        /* The context's hold on the parent becomes the node's. */
        node->page = *page;
    } else {
        if (node->page != *page) {
            page_ref(pool, node->page);
            page_unref(pool, *page);
            *page = node->page;
        }
        kv_node_leave(node->parent);
    }
    node->resident++;
    context->resident = node;
}

enum err kv_commit(struct kv_context *context, uint32_t count, struct report *report)
{
    CHECK(!context->passing);
    struct kv_pool *pool = context->pool;
    if (count == 0)
        return ERR_OK;
    if (count > context->working)
        return err_set(report, ERR_INVALID, "commit: requested %u, have %u", count,
                       context->working);
    uint32_t page_tokens = pool->page_tokens, token_count = count * page_tokens;
    if (token_count > context->tokens.count)
        return err_set(report, ERR_INVALID, "commit: need %u tokens, have %zu", token_count,
                       context->tokens.count);
    struct kv_token *tokens = context->tokens.items;
    uint32_t max_position = 0;
    for (uint32_t i = 0; i < token_count; i++) {
        if (context->committed > 0 && tokens[i].position <= context->max_position)
            return err_set(report, ERR_INVALID,
                           "Position %u must be > max committed position %u",
                           tokens[i].position, context->max_position);
        if (tokens[i].position > max_position)
            max_position = tokens[i].position;
    }

    /* All memory first: behind this nothing can fail. */
    struct kv_node *spare = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct kv_node *node =
            mem_alloc(NULL, sizeof *node + (size_t)page_tokens * sizeof node->tokens[0]);
        if (node == NULL) {
            while (spare != NULL) {
                struct kv_node *next = spare->next;
                mem_free(NULL, spare);
                spare = next;
            }
            return err_set(report, ERR_MEMORY, "commit: out of memory for %u pages", count);
        }
        node->next = spare;
        spare = node;
    }

    for (uint32_t i = 0; i < count; i++) {
        struct kv_token *page = tokens + (size_t)i * page_tokens;
        uint32_t depth = context->committed + 1, page_end = depth * page_tokens;
        uint64_t unique = 0;
        for (uint32_t k = 0; k < page_tokens; k++) {
            uint32_t ahead = page[k].extra == NULL ? 0 : page[k].extra->ahead;
            if (ahead > page_end && unique == 0)
                unique = ++pool->last_unique;
            if (ahead > context->committed_ahead)
                context->committed_ahead = ahead;
        }
        uint64_t hash = kv_node_hash(context->tip, page, page_tokens);
        struct kv_node *node = unique ? NULL : kv_node_find(pool, context->tip, hash, page);
        if (node != NULL) {
            for (uint32_t k = 0; k < page_tokens; k++)
                kv_extra_unref(page[k].extra);
            node->refs++;
            kv_node_unref(pool, context->tip); /* the node has its own hold on it */
        } else {
            node = spare;
            spare = node->next;
            *node = (struct kv_node){.parent = context->tip, .hash = hash, .unique = unique,
                                     .refs = 1, .page = KV_PAGE_NONE, .depth = depth};
            memcpy(node->tokens, page, (size_t)page_tokens * sizeof *page);
            kv_node_insert(pool, node);
        }
        if (context->pages.count > 0)
            node_enter(context, node);
        context->tip = node;
        context->committed++;
    }
    while (spare != NULL) {
        struct kv_node *next = spare->next;
        mem_free(NULL, spare);
        spare = next;
    }
    context->working -= count;
    context->max_position = max_position;
    context->tokens.count -= token_count;
    memmove(tokens, tokens + token_count, context->tokens.count * sizeof *tokens);
    return ERR_OK;
}

/* ---- a forward pass ---------------------------------------------------------------------- */

/* The deepest node of the chain that somebody keeps resident. */
static struct kv_node *resident_prefix(const struct kv_context *context)
{
    struct kv_node *node = context->tip;
    while (node != NULL && node->resident == 0)
        node = node->parent;
    return node;
}

static bool must_copy(const struct kv_context *context)
{
    const struct kv_pool *pool = context->pool;
    uint32_t length = kv_length(context);
    return context->staged > 0 && context->pages.count > 0 && length % pool->page_tokens != 0 &&
           pool->refs[context->pages.items[length / pool->page_tokens]] > 1;
}

uint32_t kv_need(const struct kv_context *context)
{
    if (context->prepared)
        return 0;
    uint32_t total = pages_for(context->pool, kv_length(context) + context->staged);
    if (context->pages.count > 0)
        return total - (uint32_t)context->pages.count + (must_copy(context) ? 1 : 0);
    const struct kv_node *node = resident_prefix(context);
    return total - (node == NULL ? 0 : node->depth);
}

enum err kv_prepare(struct kv_context *context, struct kv_copies *copies)
{
    struct kv_pool *pool = context->pool;
    CHECK(context->passing && !context->prepared);
    uint32_t length = kv_length(context);
    uint32_t total = pages_for(pool, length + context->staged);
    if (kv_need(context) > pool->free_count)
        return ERR_BUSY;
    if (!vec_reserve(NULL, &context->pages, total - context->pages.count) ||
        !vec_reserve(NULL, copies, 1))
        return ERR_MEMORY;
    if (context->pages.count > 0) {
        if (must_copy(context)) {
            uint32_t *page = &context->pages.items[length / pool->page_tokens];
            struct kv_copy copy = {*page, page_take(pool)};
            page_unref(pool, *page);
            *page = copy.to;
            copies->items[copies->count++] = copy;
        }
    } else {
        struct kv_node *node = resident_prefix(context);
        context->resident = node;
        if (node != NULL) {
            node->resident++;
            context->pages.count = node->depth;
            context->computed = node->depth * pool->page_tokens;
        }
        for (; node != NULL; node = node->parent) {
            context->pages.items[node->depth - 1] = node->page;
            page_ref(pool, node->page);
        }
    }
    while (context->pages.count < total)
        context->pages.items[context->pages.count++] = page_take(pool);
    context->prepared = true;
    return ERR_OK;
}

uint32_t kv_computed(const struct kv_context *context)
{
    return context->computed;
}

uint32_t kv_staged(const struct kv_context *context)
{
    return context->staged;
}

/* Tokens that lie together, of a page or of the working ones. */
struct stretch {
    const struct kv_token *tokens;
    uint32_t index, count; /* KV index of the first */
};

/* Takes the last stretch off the range [from, *end); `node` is where the walk is: the context's
 * tip at first. False when the range is empty. */
static bool stretch_next(const struct kv_context *context, const struct kv_node **node,
                         uint32_t from, uint32_t *end, struct stretch *stretch)
{
    uint32_t page_tokens = context->pool->page_tokens;
    uint32_t committed = context->committed * page_tokens;
    if (*end <= from)
        return false;
    uint32_t begin;
    const struct kv_token *base;
    if (*end > committed) {
        begin = committed;
        base = context->tokens.items;
    } else {
        while ((*node)->depth > (*end - 1) / page_tokens + 1)
            *node = (*node)->parent;
        begin = ((*node)->depth - 1) * page_tokens;
        base = (*node)->tokens;
    }
    uint32_t first = begin > from ? begin : from;
    *stretch = (struct stretch){base + (first - begin), first, *end - first};
    *end = first;
    return true;
}

static bool glued(const struct kv_context *context, uint32_t index)
{
    const struct kv_node *node = context->tip;
    struct stretch stretch;
    uint32_t end = index + 1;
    CHECK(stretch_next(context, &node, index, &end, &stretch));
    return stretch.tokens->extra != NULL && stretch.tokens->extra->glued;
}

uint32_t kv_cut(const struct kv_context *context, uint32_t max)
{
    uint32_t left = kv_length(context) + context->staged - context->computed;
    if (left <= max)
        return left;
    uint32_t count = max;
    while (count > 0 && glued(context, context->computed + count))
        count--;
    return count;
}

bool kv_masked(const struct kv_context *context, uint32_t from, uint32_t count)
{
    const struct kv_node *node = context->tip;
    struct stretch stretch;
    uint32_t end = from + count;
    while (stretch_next(context, &node, from, &end, &stretch)) {
        for (uint32_t i = 0; i < stretch.count; i++) {
            if (stretch.tokens[i].extra != NULL && stretch.tokens[i].extra->run_count > 0)
                return true;
        }
    }
    return false;
}

void kv_rows_get(const struct kv_context *context, uint32_t from, uint32_t count,
                 uint32_t *tokens, uint32_t *positions, struct kv_mask *masks)
{
    CHECK(from + count <= kv_length(context) + context->staged);
    const struct kv_node *node = context->tip;
    struct stretch stretch;
    uint32_t end = from + count;
    while (stretch_next(context, &node, from, &end, &stretch)) {
        for (uint32_t i = 0; i < stretch.count; i++) {
            uint32_t row = stretch.index - from + i;
            const struct kv_extra *extra = stretch.tokens[i].extra;
            tokens[row] = stretch.tokens[i].token;
            positions[row] = stretch.tokens[i].position;
            if (masks != NULL)
                masks[row] = extra == NULL ? (struct kv_mask){0}
                                           : (struct kv_mask){extra->runs, extra->run_count};
        }
    }
}

bool kv_adapters_get(const struct kv_context *context, uint32_t from, uint32_t count, int64_t *ids)
{
    bool any = false;
    for (unsigned pass = 0; pass < 2; pass++) { /* the second writes what the first found */
        const struct kv_node *node = context->tip;
        struct stretch stretch;
        uint32_t end = from + count;
        while (stretch_next(context, &node, from, &end, &stretch)) {
            for (uint32_t i = 0; i < stretch.count; i++) {
                const struct kv_extra *extra = stretch.tokens[i].extra;
                int64_t id = extra == NULL ? -1 : extra->adapter_id;
                any = any || id != -1;
                if (pass == 1)
                    ids[stretch.index - from + i] = id;
            }
        }
        if (!any)
            return false;
    }
    return true;
}

const uint32_t *kv_page_table(const struct kv_context *context, uint32_t count)
{
    CHECK(count <= context->pages.count);
    return context->pages.items;
}

void kv_advance(struct kv_context *context, uint32_t count)
{
    CHECK(context->prepared);
    CHECK(count <= kv_length(context) + context->staged - context->computed);
    context->computed += count;

    /* Committed pages that are complete now are there for everybody. */
    uint32_t complete = context->computed / context->pool->page_tokens;
    if (complete > context->committed)
        complete = context->committed;
    for (;;) {
        uint32_t depth = context->resident == NULL ? 0 : context->resident->depth;
        if (depth >= complete)
            break;
        struct kv_node *node = context->tip;
        while (node->depth > depth + 1)
            node = node->parent;
        node_enter(context, node);
    }
}

void kv_accept(struct kv_context *context)
{
    CHECK(context->prepared && context->computed == kv_length(context) + context->staged);
    context->staged = 0;
    context->passing = false;
    context->prepared = false;
}

void kv_abandon(struct kv_context *context, bool keep_pages)
{
    CHECK(context->passing);
    tokens_drop(context, kv_working_tokens(context));
    context->staged = 0;
    context->passing = false;
    context->prepared = false;
    uint32_t length = kv_length(context);
    if (context->computed > length)
        context->computed = length;
    if (!keep_pages || context->computed < length)
        pages_drop_all(context);
    else
        pages_drop(context, pages_for(context->pool, length));
}
