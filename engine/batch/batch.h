/* THE contract between deciding and computing: one flat, immutable description of a step, and
 * what came out of it.
 *
 * R requests are computed together; request r owns the token rows
 * [token_begin[r], token_begin[r + 1]). Rows are written to the KV cache behind the request's
 * `kv_before[r]` cached tokens: row i of the request lies at KV index kv_before[r] + i, in page
 * pages[page_begin[r] + index / page_tokens]. A row's result depends on its own request alone,
 * never on what else is in the batch. */
#ifndef ENGINE_BATCH_BATCH_H
#define ENGINE_BATCH_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"

/* A bit row as alternating run lengths, beginning with a run of zeros (reference, 7.1). Bits past
 * the encoded end are zero. */
struct batch_brle {
    const uint32_t *runs; /* borrowed */
    uint32_t count;       /* 0 = no constraint */
};

/* The WIT's samplers, in its order. */
enum batch_sampler_kind {
    BATCH_MULTINOMIAL, BATCH_TOP_K, BATCH_TOP_P, BATCH_MIN_P, BATCH_TOP_K_TOP_P,
    BATCH_EMBEDDING, BATCH_DIST, BATCH_RAW_LOGITS, BATCH_LOGPROB, BATCH_LOGPROBS, BATCH_ENTROPY,
};

struct batch_sampler {
    enum batch_sampler_kind kind;
    uint32_t row;       /* of this request: 0 .. its token count - 1 */
    float temperature;  /* <= 1e-5: argmax, lowest id wins */
    float p;            /* top-p, min-p */
    uint32_t k;         /* top-k, dist; 0 = no limit */
    uint64_t seed;      /* the draw is a pure function of (logits, this, seed) */
    const uint32_t *labels; /* logprob(s): token ids, borrowed; caller checked < vocab */
    uint32_t label_count;
};

struct batch {
    uint32_t request_count; /* R */
    uint32_t token_count;   /* N, all requests */
    const uint32_t *tokens;      /* [N] */
    const uint32_t *positions;   /* [N] for RoPE only */
    const uint32_t *token_begin; /* [R + 1] */

    const uint32_t *pages;      /* physical page ids, logical order */
    const uint32_t *page_begin; /* [R + 1] */
    const uint32_t *kv_before;  /* [R] cached tokens before this step */

    /* Attention masks, one per row: bit c says whether the row sees KV index c. NULL, or a row
     * with count 0: causal (KV indices up to and including its own). Masks are taken as they are
     * (a row may look ahead within its step), bits at or past the request's KV end are ignored. A
     * row whose mask has no bit set attends to nothing: its attention output is zero. */
    const struct batch_brle *masks; /* [N] or NULL */

    /* Adapters, one per row: the backend's ids, -1: none. NULL: no row has one. */
    const int64_t *adapters; /* [N] or NULL */

    const struct batch_brle *logit_masks; /* [R] or NULL: for every sampler of the request */

    const struct batch_sampler *samplers;
    const uint32_t *sampler_begin; /* [R + 1] */

    /* Page copies (fork of working pages), done before everything else, in order. */
    uint32_t copy_count;
    const uint32_t *copy_from, *copy_to; /* [copy_count] physical page ids */
};

enum batch_slot_kind {
    BATCH_SLOT_TOKEN, BATCH_SLOT_DISTRIBUTION, BATCH_SLOT_LOGITS, BATCH_SLOT_LOGPROBS,
    BATCH_SLOT_ENTROPY, BATCH_SLOT_EMBEDDING,
};

/* What one sampler gave. */
struct batch_slot {
    enum batch_slot_kind kind;
    uint32_t token;          /* TOKEN */
    uint32_t count;          /* of ids/values */
    const uint32_t *ids;     /* DISTRIBUTION: [count], by falling probability, ties by id */
    const float *values;     /* DISTRIBUTION probabilities, LOGITS [vocab], LOGPROBS, EMBEDDING */
    float entropy;           /* ENTROPY, nats */
};

/* The result of a step: one slot per sampler, in the batch's order. Arrays lie in `arena`. */
struct batch_result {
    struct arena arena;
    struct batch_slot *slots; /* [slot_count], in arena */
    uint32_t slot_count;
    bool failed;              /* the step could not be computed; `why` says it */
    char why[200];
};

void batch_result_init(struct batch_result *result);
void batch_result_deinit(struct batch_result *result);
void batch_result_reset(struct batch_result *result);

/* Aborts when the batch breaks its own rules (ranges, page coverage, rows of samplers); for tests
 * and debug builds, and for every batch that crosses a process border. */
void batch_check(const struct batch *batch, uint32_t page_tokens, uint32_t page_count,
                 uint32_t vocab_count);

/* ---- BRLE -------------------------------------------------------------------------------- */

/* Sum of the runs; UINT64 so that hostile runs cannot overflow. */
uint64_t batch_brle_bits(struct batch_brle mask);
bool batch_brle_get(struct batch_brle mask, uint64_t bit);
/* Number of set bits in [from, to). */
uint64_t batch_brle_popcount(struct batch_brle mask, uint64_t from, uint64_t to);

#endif
