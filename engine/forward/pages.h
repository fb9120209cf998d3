/* The bytes of the KV pages. A page holds `page_tokens` entries of every layer; of one layer and KV
 * head it holds K, then V:
 * 16 bits: F16, K [head_dim][page_tokens], so that dots run along tokens, V [page_tokens][head_dim].
 * 8 bits:  both as panels of Q8_0 (simd/pack.c), so that the kernels of weights compute with them.
 *          K: a panel's 16 rows are tokens, its columns the dimensions, with a scale per 32 of
 *          them. V: a panel's rows are 16 dimensions, its columns the page's tokens, without the
 *          scales; behind the panels one float scale per token.
 * Dimensions are padded to 32 there. All numbers are finite. */
#ifndef ENGINE_FORWARD_PAGES_H
#define ENGINE_FORWARD_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "models/model.h"
#include "simd/simd.h"

struct pages {
    uint8_t *data; /* [layer][page][kv head][K, V], mem_map */
    size_t bytes, k_bytes, unit_bytes; /* of all; of K, and of K and V of a page, layer and head */
    uint32_t bits; /* 16 or 8 */
    uint32_t layer_count, page_count, page_tokens, kv_head_count, head_dim;
};

/* Bytes of a page in all layers; 0 when `bits` or `page_tokens` are not possible. */
uint64_t pages_page_bytes(const struct model_hparams *hparams, uint32_t bits,
                          uint32_t page_tokens);

enum err pages_create(const struct model_hparams *hparams, uint32_t bits, uint32_t page_tokens,
                      uint32_t page_count, struct pages *pages, struct report *report) ERR_MUST_USE;
void pages_destroy(struct pages *pages);

static inline void *pages_k(const struct pages *pages, uint32_t layer, uint32_t page,
                            uint32_t head)
{
    size_t at = ((size_t)layer * pages->page_count + page) * pages->kv_head_count + head;
    return pages->data + at * pages->unit_bytes;
}

static inline void *pages_v(const struct pages *pages, uint32_t layer, uint32_t page,
                            uint32_t head)
{
    return (uint8_t *)pages_k(pages, layer, page, head) + pages->k_bytes;
}

static inline uint32_t pages_padded_dim(const struct pages *pages)
{
    return (pages->head_dim + 31) / 32 * 32;
}

/* 8 bits: the scales of V, [page_tokens]. */
static inline float *pages_v_scales(const struct pages *pages, uint32_t layer, uint32_t page,
                                    uint32_t head)
{
    return (float *)(void *)((uint8_t *)pages_v(pages, layer, page, head) +
                             (size_t)pages_padded_dim(pages) * pages->page_tokens);
}

/* Makes k and v, [head_dim] each, entry `slot` of the page. */
void pages_enter(const struct pages *pages, const struct simd_table *simd, uint32_t layer,
                 uint32_t page, uint32_t head, uint32_t slot, const float *k, const float *v);

/* Copies a page's bytes of one layer. */
void pages_copy(const struct pages *pages, uint32_t layer, uint32_t from, uint32_t to);

#endif
