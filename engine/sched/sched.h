/* Policy: who runs next, who gets pages, who waits.
 *
 * Owners (processes) have contexts, contexts have passes. sched_submit takes a forward pass;
 * sched_turn fills a step with rows of any mix of passes (continuous batching), gives it to the
 * backend, and delivers what is finished. Long passes are cut into chunks, so that they neither
 * exceed a step nor starve the others.
 *
 * Order and determinism. The passes of one context are computed one after the other, in the order
 * of their submission; a later one sees the tokens of the earlier. The tokens of a pass (drafts
 * included) enter the context's lineage when the pass is complete, whether or not anyone still
 * waits for its output. Counts and operations of a context with unfinished passes would depend on
 * timing: wait for sched_context_settle before any kv_ call on it. Given the same calls, outputs
 * never depend on what else is running, nor on eviction: an evicted context is computed again, bit
 * for bit.
 *
 * Pages. A pass waits until its context is resident with room for all its rows, then it is pinned
 * until it is complete and needs nothing more: a pinned pass always comes to its end. When pages
 * are short they go to the highest bid, then the earliest process, then the earliest context; they
 * are taken from snapshots, then from contexts of lower standing, and, when nothing else can go
 * on, from any context that is not pinned.
 *
 * Everything runs on the loop thread; callbacks come from sched_turn alone. */
#ifndef ENGINE_SCHED_SCHED_H
#define ENGINE_SCHED_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend/backend.h"
#include "engine/base/err.h"
#include "engine/batch/batch.h"
#include "engine/kv/kv.h"

struct sched;
struct sched_owner;
struct sched_context;
struct sched_pass;

/* ---- the scheduler ----------------------------------------------------------------------- */

struct sched_config {
    struct backend *backend;  /* borrowed */
    uint32_t tokens_max;      /* rows of a step; 0 = what the backend can do, else at most that */
    uint32_t requests_max;    /* requests of a step; same */
    bool check;               /* batch_check on every step (tests, debug) */
};

enum err sched_create(const struct sched_config *config, struct sched **sched,
                      struct report *report) ERR_MUST_USE;
/* Waits for the step in flight. All owners must be destroyed. NULL is allowed. */
void sched_destroy(struct sched *sched);

/* Takes a finished step, calls the done callbacks, fills and submits the next step. `guests_idle`:
 * no guest has anything to do before a callback comes (only then may a context that merely pauses
 * between two passes be evicted for one of lower standing). Returns true when something happened:
 * a step was finished or submitted. Callbacks may call everything in this header but sched_turn
 * and sched_destroy. */
bool sched_turn(struct sched *sched, bool guests_idle);

/* A step is in flight: the backend's `wake` will come. */
bool sched_in_flight(const struct sched *sched);
/* Passes submitted and not complete. */
size_t sched_pending(const struct sched *sched);

struct sched_stats {
    uint64_t steps, step_tokens; /* steps finished, rows in them */
    uint64_t replayed_tokens;    /* of these: computed again after an eviction */
    uint64_t evictions, copies, passes, passes_failed;
    uint64_t passes_waiting_pages; /* now */
    uint64_t step_ns;            /* time the backend computed */
    struct kv_pool_stats pool;
};
struct sched_stats sched_stats(const struct sched *sched);
struct kv_pool *sched_pool(struct sched *sched); /* for snapshots' delete */
struct backend *sched_backend(struct sched *sched); /* for loading adapters */

/* ---- owners: one per process ------------------------------------------------------------- */

/* `token_budget`: tokens that may go through the model in all, 0 = no limit. A pass that fails gives
 * its tokens back, also one that is cancelled before its first step. Owners created earlier have
 * precedence. */
enum err sched_owner_create(struct sched *sched, uint64_t token_budget,
                            struct sched_owner **owner) ERR_MUST_USE;
/* Destroys its contexts and forgets its passes: no callback of this owner comes any more, all its
 * contexts and passes are invalid. What is being computed right now ends in the background. */
void sched_owner_destroy(struct sched_owner *owner);
/* UINT64_MAX without a budget. */
uint64_t sched_owner_tokens_left(const struct sched_owner *owner);

/* ---- contexts ---------------------------------------------------------------------------- */

enum { SCHED_CONTEXTS_MAX = 8192 }; /* of one owner; then ERR_LIMIT */

enum err sched_context_create(struct sched_owner *owner, struct sched_context **context,
                              struct report *report) ERR_MUST_USE;
/* Passes that wait end with ERR_CANCELLED in the next turn; one in flight ends in the background.
 * The handle is invalid at once, its passes stay valid until released. NULL is allowed. */
void sched_context_destroy(struct sched_context *context);
/* The next four: settled contexts only. The new context has the same owner and bid 0. ERR_LIMIT when
 * the owner's contexts began with more than kv_lineage_max working tokens in all. */
enum err sched_context_fork(struct sched_context *context, struct sched_context **child,
                            struct report *report) ERR_MUST_USE;
/* kv_snapshot_save under `username`; name NULL = snapshot(), the name is written to `made`. */
enum err sched_context_save(struct sched_context *context, const char *username,
                            const char *name, size_t name_bytes, char made[40],
                            struct report *report) ERR_MUST_USE;
/* Gives the pages back until the next pass. ERR_INVALID
 * "Context {id} is pinned, cannot voluntarily suspend" while a pass is being computed (this one
 * may be called unsettled); passes that wait for pages go on waiting. */
enum err sched_context_suspend(struct sched_context *context,
                               struct report *report) ERR_MUST_USE;
/* A fork of a snapshot; with `take` the snapshot itself. ERR_NOT_FOUND "Snapshot not found". */
enum err sched_context_open(struct sched_owner *owner, const char *username, const char *name,
                            size_t name_bytes, bool take, struct sched_context **context,
                            struct report *report) ERR_MUST_USE;

/* For kv_reserve, kv_release, kv_commit, kv_truncate and the counts. None of these waits. The
 * changing ones, and counts that shall be deterministic, on settled contexts only. Borrowed. */
struct kv_context *sched_context_kv(struct sched_context *context);

typedef void (*sched_settled_fn)(void *user);
/* True: no unfinished pass, `fn` is not called. False: `fn` is called once, when there is none any
 * more (not when the context is destroyed). One waiter per context; a new one replaces it, fn NULL
 * takes it away. */
bool sched_context_settle(struct sched_context *context, sched_settled_fn fn, void *user);

void sched_context_bid(struct sched_context *context, double bid); /* not a number = 0 */

/* ---- forward passes ---------------------------------------------------------------------- */

/* Bytes of one owner's passes that are not released yet: what was copied, and what the outputs will
 * take. More is refused with ERR_LIMIT, so that no process can fill the memory with logits that it
 * never reads. */
enum { SCHED_PASS_BYTES_MAX = 1 << 30 };

/* Called once, from sched_turn, when the pass is complete; not when it was released before. */
typedef void (*sched_done_fn)(void *user, struct sched_pass *pass);

/* A forward pass. Everything is copied. */
struct sched_request {
    const uint32_t *tokens, *positions; /* [token_count] */
    uint32_t token_count;
    /* [mask_count] one per token, mask_count 0 = causal. Column = KV index. */
    const struct batch_brle *masks;
    uint32_t mask_count;
    struct batch_brle logit_mask; /* count 0 = none */
    const struct batch_sampler *samplers; /* rows < token_count */
    uint32_t sampler_count;
    /* Guest drafts: appended behind the tokens, causal; all enter the lineage. When the last
     * sampler draws a token from the last row, the output goes on with one more token slot per
     * draft that equals the token drawn before it (the accepted run and one more token). */
    const uint32_t *draft_tokens, *draft_positions; /* [draft_count] */
    uint32_t draft_count;
    int64_t adapter_id, adapter_seed; /* of backend_adapter_load; -1 = none */
    sched_done_fn done; /* may be NULL */
    void *user;
};

/* Checks everything that the guest may have got wrong; the report's text is what the guest shall
 * read:
 *  - "empty input: a forward pass must supply at least one token"
 *  - "pin: token budget exhausted for context {id} (requested {n} tokens)"
 *  - "KV_INVARIANT_VIOLATION ctx=... total_kv=..." (the rows do not fit into the reserved pages)
 *  - tokens outside of the vocabulary, masks that are not one per token, samplers of rows that are
 *    not there, labels outside of the vocabulary, a look-ahead longer than a step, outputs
 *    larger than SCHED_PASS_BYTES_MAX.
 * `*pass` is to be released by the caller, at any time. */
enum err sched_submit(struct sched_context *context, const struct sched_request *request,
                      struct sched_pass **pass, struct report *report) ERR_MUST_USE;

struct sched_output {
    enum err err;    /* ERR_OK, or why there are no slots (ERR_IO: the step failed, ERR_CANCELLED:
                        the context was destroyed, ERR_MEMORY) */
    const char *why; /* a sentence; "" when ok */
    const struct batch_slot *slots; /* in the samplers' order, then what drafts added */
    uint32_t slot_count;
};

/* NULL until the pass is complete; borrowed until the pass is released. */
const struct sched_output *sched_pass_output(const struct sched_pass *pass);
/* Gives the handle back: no callback comes any more. A pass that is not complete goes on and its
 * tokens are recorded. NULL is allowed. */
void sched_pass_release(struct sched_pass *pass);

/* ---- the market (reference, 7.3), as plain numbers ---------------------------------------- */

double sched_price(const struct sched *sched);               /* 1.0, as upstream */
/* Credits a page of this context costs per step: the lowest standing bid while pages are short,
 * else 0, times the pages it holds. */
double sched_rent(const struct sched_context *context);
double sched_latency(const struct sched *sched);             /* seconds of a step, moving average */
double sched_dividend(const struct sched_owner *owner);      /* credits got in the last step */
double sched_balance(const struct sched_owner *owner);       /* credits */

#endif
