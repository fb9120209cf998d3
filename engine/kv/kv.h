/* Who owns which KV page. Page ids only, never page bytes: testable without a model.
 *
 * A pool has `page_count` physical pages of `page_tokens` tokens. A context is a sequence of
 * tokens, cut into committed pages (immutable, shared by content) and working pages (its own, to
 * be appended to and truncated). What a guest may ask changes the sequence at once; physical
 * pages follow lazily:
 *
 *  - a reserved working page takes a physical page only when a pass is about to write to it, so
 *    kv_reserve never waits;
 *  - a fork shares the parent's pages, also the working ones; who first writes to a shared one
 *    gets a copy (kv_prepare says which page must be copied to which before the pass);
 *  - a suspended context holds no physical page at all. Its lineage (tokens, positions, masks)
 *    stays, every call below works on it, and kv_prepare makes it resident again: what other
 *    contexts still hold of its committed pages is shared, the rest is to be computed again.
 *
 * The life of a forward pass: kv_stage (what will be appended) -> kv_prepare (pages; may be
 * ERR_BUSY) -> steps over kv_rows, each followed by kv_advance -> kv_accept, or kv_abandon. While
 * a pass is staged only kv_prepare, kv_rows, kv_advance, kv_suspend, kv_accept, kv_abandon,
 * kv_context_destroy and the counts may be called on that context; anything else aborts.
 *
 * Nothing here waits, calls back or reads a clock. One thread. */
#ifndef ENGINE_KV_KV_H
#define ENGINE_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum { KV_PAGE_NONE = UINT32_MAX };

struct kv_pool;
struct kv_context;

/* An attention mask row in BRLE: alternating run lengths, beginning with a run of zeros. Bit c is
 * KV index c. count 0 = causal. */
struct kv_mask {
    const uint32_t *runs; /* borrowed */
    uint32_t count;
};

/* Copy physical page `from` to `to`. */
struct kv_copy {
    uint32_t from, to;
};

struct kv_copies { /* a vec */
    struct kv_copy *items;
    size_t count, capacity;
};

/* ---- pool -------------------------------------------------------------------------------- */

/* ERR_LIMIT for a count of 0 or a pool of 2^31 tokens or more. */
enum err kv_pool_create(uint32_t page_count, uint32_t page_tokens, struct kv_pool **pool,
                        struct report *report) ERR_MUST_USE;
/* Deletes the snapshots; all contexts must be destroyed. NULL is allowed. */
void kv_pool_destroy(struct kv_pool *pool);

struct kv_pool_stats {
    uint32_t pages_total, pages_used, pages_peak, page_tokens;
    uint32_t contexts, snapshots; /* snapshots are not counted in contexts */
    uint64_t pages_shared; /* references to pages beyond the first of each: what sharing saves */
};
struct kv_pool_stats kv_pool_stats(const struct kv_pool *pool);
uint32_t kv_pool_free(const struct kv_pool *pool);

/* Working tokens are copied by forks and snapshots: more than this in all that one holder has
 * copied should be refused. Their memory is then small beside that of the pages. */
uint64_t kv_lineage_max(const struct kv_pool *pool);

/* Aborts when an invariant (listed in kv.c) does not hold. Slow: walks everything. */
void kv_pool_check(const struct kv_pool *pool);

/* Suspends the least recently used snapshot that holds pages; false when there is none. */
bool kv_pool_evict_snapshot(struct kv_pool *pool);

/* ---- contexts ---------------------------------------------------------------------------- */

enum err kv_context_create(struct kv_pool *pool, struct kv_context **context) ERR_MUST_USE;
/* Legal in any state. NULL is allowed. */
void kv_context_destroy(struct kv_context *context);
/* The child has the same tokens and reserved pages; it is resident when `context` is. Takes no
 * free page. ERR_MEMORY. */
enum err kv_context_fork(const struct kv_context *context,
                         struct kv_context **child) ERR_MUST_USE;

/* Never given twice within a pool; never 0. */
uint64_t kv_context_id(const struct kv_context *context);
uint32_t kv_committed_pages(const struct kv_context *context);
uint32_t kv_working_pages(const struct kv_context *context);  /* reserved, written or not */
uint32_t kv_working_tokens(const struct kv_context *context); /* staged ones do not count */
/* Committed and working tokens: the KV index of the next token. */
uint32_t kv_length(const struct kv_context *context);
uint32_t kv_page_tokens(const struct kv_context *context);
bool kv_resident(const struct kv_context *context);
/* Physical pages this context holds a reference to. */
uint32_t kv_pages_held(const struct kv_context *context);

/* `count` additional working pages. ERR_LIMIT when the context would have more pages than the
 * pool. */
enum err kv_reserve(struct kv_context *context, uint32_t count,
                    struct report *report) ERR_MUST_USE;
/* Gives the last `count` working pages back and forgets the tokens in them. ERR_TRAP
 * "release: requested N, have M"; and as kv_truncate. */
enum err kv_release(struct kv_context *context, uint32_t count,
                    struct report *report) ERR_MUST_USE;
/* Makes the first `count` working pages committed. ERR_INVALID with upstream's texts
 * ("commit: requested N, have M", "commit: need T tokens, have U", "Position P must be > max
 * committed position M"), ERR_MEMORY; the context is then as before. A page whose whole history
 * (tokens, positions, masks, adapters) equals a committed one shares it. */
enum err kv_commit(struct kv_context *context, uint32_t count,
                   struct report *report) ERR_MUST_USE;
/* Forgets the last `count` working tokens. ERR_TRAP "truncate count K out of range 0..=M", or when
 * rows of committed pages look ahead to them. Working rows that looked ahead to them lose these
 * bits of their masks, and the context is suspended: what a page holds always follows from the
 * lineage alone. ERR_MEMORY. After an error the context is as before. */
enum err kv_truncate(struct kv_context *context, uint32_t count,
                     struct report *report) ERR_MUST_USE;

/* Gives all pages back and keeps the lineage. With a staged pass: that stays staged, and
 * kv_prepare must run again. */
void kv_suspend(struct kv_context *context);

/* ---- snapshots --------------------------------------------------------------------------- */

/* Owned by (username, name), kept until deleted or the pool dies. `name` NULL: a name is made
 * ("__snapshot_<id>") and written to `made` (else not used). ERR_INVALID "Snapshot name already
 * exists: N"; ERR_LIMIT when there are too many, or all have more than kv_lineage_max working
 * tokens. */
enum err kv_snapshot_save(const struct kv_context *context, const char *username,
                          const char *name, size_t name_bytes, char made[40],
                          struct report *report) ERR_MUST_USE;
/* A fork of the snapshot. ERR_NOT_FOUND "Snapshot not found". */
enum err kv_snapshot_open(struct kv_pool *pool, const char *username, const char *name,
                          size_t name_bytes, struct kv_context **context,
                          struct report *report) ERR_MUST_USE;
enum err kv_snapshot_delete(struct kv_pool *pool, const char *username, const char *name,
                            size_t name_bytes, struct report *report) ERR_MUST_USE;

/* ---- a forward pass ---------------------------------------------------------------------- */

/* What a pass will append. All arrays are copied. */
struct kv_rows {
    const uint32_t *tokens, *positions; /* [count] */
    uint32_t count;
    const struct kv_mask *masks; /* [mask_count]: of the first rows, the others are causal; bits
                                    at or past the pass's end are dropped */
    uint32_t mask_count;
    int64_t adapter_id, adapter_seed; /* -1 = none */
};

/* How many consecutive rows of a pass that begins at KV index `begin` must be in one step because
 * a mask looks ahead (1 = it can be cut everywhere). 0 rows give 0. */
uint32_t kv_rows_span(const struct kv_rows *rows, uint32_t begin);

/* Stages a pass. The rows must fit into the reserved pages (the caller checked: aborts).
 * ERR_MEMORY: nothing is staged. */
enum err kv_stage(struct kv_context *context, const struct kv_rows *rows) ERR_MUST_USE;

/* Free pages that kv_prepare would take now. */
uint32_t kv_need(const struct kv_context *context);
/* Makes the context resident with pages for all its tokens and the staged ones; all or nothing.
 * Appends to `copies` what must be copied before the next step of *any* context is computed.
 * ERR_BUSY: not enough free pages. ERR_MEMORY. */
enum err kv_prepare(struct kv_context *context, struct kv_copies *copies) ERR_MUST_USE;

/* Rows whose KV is in the pages. Below kv_length after a restore: the rows from here on must be
 * computed (again), then the staged ones. */
uint32_t kv_computed(const struct kv_context *context);
uint32_t kv_staged(const struct kv_context *context);

/* The largest n <= max such that a step may compute the rows [kv_computed, kv_computed + n): it
 * neither ends within rows that must stay together nor runs past the staged end. 0 when the rows
 * that come next must stay together and are more than `max`. */
uint32_t kv_cut(const struct kv_context *context, uint32_t max);

/* Writes `count` rows from KV index `from` on. `masks` [count], NULL allowed when kv_masked is
 * false; its runs are borrowed until kv_accept, kv_abandon, or the context is destroyed. */
void kv_rows_get(const struct kv_context *context, uint32_t from, uint32_t count,
                 uint32_t *tokens, uint32_t *positions, struct kv_mask *masks);
bool kv_masked(const struct kv_context *context, uint32_t from, uint32_t count);
/* Writes the adapter ids of `count` rows from KV index `from` on, -1: none; false, and nothing is
 * written, when no row has one. */
bool kv_adapters_get(const struct kv_context *context, uint32_t from, uint32_t count, int64_t *ids);

/* The page table's first `count` entries; borrowed until the next call on the context. */
const uint32_t *kv_page_table(const struct kv_context *context, uint32_t count);

/* The next `count` rows have been computed. */
void kv_advance(struct kv_context *context, uint32_t count);
/* All staged rows are computed: they become the context's working tokens. */
void kv_accept(struct kv_context *context);
/* The pass failed or was cancelled: the staged rows are forgotten. `keep_pages` false: what is in
 * the pages is not certain either, the context is suspended. */
void kv_abandon(struct kv_context *context, bool keep_pages);

#endif
