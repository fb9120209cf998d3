/* Attention of a step over the paged KV cache.
 *
 * A row's KV entries are taken in blocks of 256 (counted from KV index 0, whatever the page size).
 * A block gives a maximum, a sum and a weighted sum of values; blocks are merged in ascending
 * order, blocks of which a row sees nothing (masks, a sliding window) are left out. So the bits do
 * not depend on which rows are computed together.
 *
 * With pages of 8 bits both products are those of Q8_0 weights: K's panels times the queries,
 * V's panels times the block's weights (multiplied with V's scales), each rounded to int8 with a
 * scale per 32. */
#ifndef ENGINE_FORWARD_ATTENTION_H
#define ENGINE_FORWARD_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/batch/batch.h"
#include "engine/forward/pages.h"
#include "simd/simd.h"

enum { ATTENTION_BLOCK = 256 };

/* One worker's room. */
struct attention_scratch {
    void *data; /* mem_map */
    size_t bytes;
};

/* A step's attention in one layer; everything borrowed. */
struct attention {
    const struct simd_table *simd;
    const struct pages *pages;
    const struct batch *batch;
    uint32_t layer, head_count;
    const float *q;      /* [N][q_stride], rotated and scaled */
    size_t q_stride;
    float *out;          /* [N][out_stride], heads in order */
    size_t out_stride;
    uint32_t window;     /* KV entries that a row sees, its own included; 0: no limit */
    float softcap;       /* scores become softcap * tanh(score / softcap); 0: as they are */
    const float *sinks;  /* [head_count] or NULL: the score of an entry without a value */
};

/* A unit of work: rows [row_begin, row_end) of the request, all heads of one KV head. */
struct attention_item {
    uint32_t request, row_begin, row_end, kv_head;
};

/* Token rows that one item may have at most. */
uint32_t attention_rows_max(uint32_t head_count, uint32_t kv_head_count);

enum err attention_scratch_create(const struct pages *pages, uint32_t head_count,
                                  struct attention_scratch *scratch, struct report *report)
    ERR_MUST_USE;
void attention_scratch_destroy(struct attention_scratch *scratch);

void attention_run(const struct attention *attention, const struct attention_item *item,
                   const struct attention_scratch *scratch);

#endif
