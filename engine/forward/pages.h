/* The bytes of the KV pages: F16. A page holds `page_tokens` entries of every layer; of one layer
 * and KV head it is K [head_dim][page_tokens], so that dots run along tokens, then
 * V [page_tokens][head_dim]. All numbers in it are finite. */
#ifndef ENGINE_FORWARD_PAGES_H
#define ENGINE_FORWARD_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "models/model.h"

struct pages {
    uint16_t *data; /* [layer][page][kv head][K, V], mem_map */
    size_t bytes;
    uint32_t layer_count, page_count, page_tokens, kv_head_count, head_dim;
};

enum err pages_create(const struct model_hparams *hparams, uint32_t page_tokens,
                      uint32_t page_count, struct pages *pages, struct report *report) ERR_MUST_USE;
void pages_destroy(struct pages *pages);

static inline uint16_t *pages_k(const struct pages *pages, uint32_t layer, uint32_t page,
                                uint32_t head)
{
    size_t at = ((size_t)layer * pages->page_count + page) * pages->kv_head_count + head;
    return pages->data + at * 2 * pages->page_tokens * pages->head_dim;
}

static inline uint16_t *pages_v(const struct pages *pages, uint32_t layer, uint32_t page,
                                uint32_t head)
{
    return pages_k(pages, layer, page, head) + (size_t)pages->page_tokens * pages->head_dim;
}

/* Copies a page's bytes of one layer. */
void pages_copy(const struct pages *pages, uint32_t layer, uint32_t from, uint32_t to);

#endif
