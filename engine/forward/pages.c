#include "engine/forward/pages.h"

#include <string.h>

#include "engine/base/mem.h"

enum err pages_create(const struct model_hparams *hparams, uint32_t page_tokens,
                      uint32_t page_count, struct pages *pages, struct report *report)
{
    size_t bytes = 4;
    *pages = (struct pages){.layer_count = hparams->layer_count, .page_count = page_count,
                            .page_tokens = page_tokens,
                            .kv_head_count = hparams->kv_head_count,
                            .head_dim = hparams->head_dim};
    if (page_tokens < 16 || page_tokens > 256 || (page_tokens & (page_tokens - 1)) != 0)
        return err_set(report, ERR_UNSUPPORTED,
                       "KV pages of %u tokens; 16, 32, 64, 128 and 256 are possible", page_tokens);
    if (__builtin_mul_overflow(bytes, hparams->layer_count, &bytes) ||
        __builtin_mul_overflow(bytes, page_count, &bytes) ||
        __builtin_mul_overflow(bytes, hparams->kv_head_count, &bytes) ||
        __builtin_mul_overflow(bytes, page_tokens, &bytes) ||
        __builtin_mul_overflow(bytes, hparams->head_dim, &bytes) ||
        !(pages->data = mem_map(bytes)))
        return err_set(report, ERR_MEMORY, "no memory for %u KV pages of %u tokens", page_count,
                       page_tokens);
    pages->bytes = bytes;
    return ERR_OK;
}

void pages_destroy(struct pages *pages)
{
    mem_unmap(pages->data, pages->bytes);
    *pages = (struct pages){0};
}

void pages_copy(const struct pages *pages, uint32_t layer, uint32_t from, uint32_t to)
{
    size_t count = (size_t)pages->kv_head_count * 2 * pages->page_tokens * pages->head_dim;
    if (from != to)
        memcpy(pages_k(pages, layer, to, 0), pages_k(pages, layer, from, 0), count * 2);
}
