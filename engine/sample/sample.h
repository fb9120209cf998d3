/* Logits to what a sampler asks for: pure functions. The same (logits, sampler, mask) give the
 * same slot on every machine: exp and log come from simd/, sums run in a fixed order. */
#ifndef ENGINE_SAMPLE_SAMPLE_H
#define ENGINE_SAMPLE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/batch/batch.h"

/* Fills `slot` from logits[vocab_count]; arrays are allocated in `arena`. `mask` (count 0 = none)
 * allows tokens: a masked token is never drawn, has probability 0, and is left out of
 * distributions, log-probabilities (-inf) and entropy; raw logits show it as -inf. When the mask
 * allows nothing, token samplers give token 0 and distributions are empty.
 * BATCH_EMBEDDING is the caller's business (aborts here). False when memory is out. */
bool sample_run(const float *logits, uint32_t vocab_count, const struct batch_sampler *sampler,
                struct batch_brle mask, struct arena *arena, struct batch_slot *slot)
    __attribute__((warn_unused_result));

#endif
