#include "engine/forward/pages.h"

#include <string.h>

#include "engine/base/mem.h"

enum { HEAD_DIM_MAX = 1024 }; /* models/model.c holds head_dim to this */

/* K's bytes and K's and V's; false: not possible. */
static bool unit_bytes(const struct model_hparams *hparams, uint32_t bits, uint32_t page_tokens,
                       size_t *k_bytes, size_t *bytes)
{
    size_t tokens = page_tokens, dim = (hparams->head_dim + 31) / 32 * 32;
    if (page_tokens < (bits == 8 ? 32 : 16) || page_tokens > 256 ||
        (page_tokens & (page_tokens - 1)) != 0 || (bits != 8 && bits != 16))
        return false;
    *k_bytes = bits == 16 ? tokens * hparams->head_dim * 2
                          : tokens / SIMD_LANES * simd_panel_bytes(SIMD_Q8_0, (uint32_t)dim);
    *bytes = *k_bytes + (bits == 16 ? tokens * hparams->head_dim * 2 : tokens * (dim + 4));
    return true;
}

uint64_t pages_page_bytes(const struct model_hparams *hparams, uint32_t bits,
                          uint32_t page_tokens)
{
    size_t k_bytes, bytes;
    if (!unit_bytes(hparams, bits, page_tokens, &k_bytes, &bytes))
        return 0;
    return (uint64_t)hparams->layer_count * hparams->kv_head_count * bytes;
}

enum err pages_create(const struct model_hparams *hparams, uint32_t bits, uint32_t page_tokens,
                      uint32_t page_count, struct pages *pages, struct report *report)
{
    *pages = (struct pages){.bits = bits, .layer_count = hparams->layer_count,
                            .page_count = page_count, .page_tokens = page_tokens,
                            .kv_head_count = hparams->kv_head_count,
                            .head_dim = hparams->head_dim};
    if (!unit_bytes(hparams, bits, page_tokens, &pages->k_bytes, &pages->unit_bytes))
        return err_set(report, ERR_UNSUPPORTED,
                       "KV pages of %u tokens with %u bits per number; 16, 32, 64, 128 and 256 "
                       "tokens are possible with 16 bits, from 32 on with 8 bits",
                       page_tokens, bits);
    size_t bytes = pages->unit_bytes;
    if (__builtin_mul_overflow(bytes, hparams->layer_count, &bytes) ||
        __builtin_mul_overflow(bytes, page_count, &bytes) ||
        __builtin_mul_overflow(bytes, hparams->kv_head_count, &bytes) ||
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

static void enter_f16(const struct pages *pages, const struct simd_table *simd, uint16_t *k_page,
                      uint16_t *v_page, uint32_t slot, const float *k, const float *v)
{
    uint16_t halves[HEAD_DIM_MAX];
    simd->to_f16(k, pages->head_dim, halves);
    for (uint32_t d = 0; d < pages->head_dim; d++)
        k_page[(size_t)d * pages->page_tokens + slot] = halves[d];
    simd->to_f16(v, pages->head_dim, v_page + (size_t)slot * pages->head_dim);
}

static void enter_q8(const struct pages *pages, const struct simd_table *simd, uint8_t *k_page,
                     uint8_t *v_page, float *v_scales, uint32_t slot, const float *k,
                     const float *v)
{
    uint32_t dim = pages_padded_dim(pages);
    _Alignas(64) uint8_t act[HEAD_DIM_MAX + 3 * HEAD_DIM_MAX / 8];
    float row[HEAD_DIM_MAX] = {0};
    memcpy(row, k, (size_t)pages->head_dim * 4);
    simd->quantize[SIMD_ACT_Q32](row, dim, act);
    uint8_t *panel = k_page + slot / SIMD_LANES * simd_panel_bytes(SIMD_Q8_0, dim);
    uint8_t *values = panel + simd_align64(dim);
    uint32_t lane = slot % SIMD_LANES;
    for (uint32_t b = 0; b < dim / 32; b++) {
        float scale;
        memcpy(&scale, act + simd_align64(dim) + b * 4, 4);
        uint16_t half = simd_f32_to_f16(scale < 65504.0f ? scale : 65504.0f);
        memcpy(panel + b * 32 + lane * 2, &half, 2);
    }
    for (uint32_t word = 0; word < dim / 4; word++) {
        uint32_t four;
        memcpy(&four, act + word * 4, 4);
        four ^= 0x80808080;
        memcpy(values + word * 64 + lane * 4, &four, 4);
    }

    /* One scale for the whole row: the attention weights take it up before they are rounded. */
    float max = 0;
    for (uint32_t d = 0; d < pages->head_dim; d++) {
        float size = v[d] < 0 ? -v[d] : v[d];
        max = size > max ? size : max;
    }
    max = max < 3e38f ? max : 3e38f;
    v_scales[slot] = max / 127.0f;
    float inverse = max > 1e-30f ? 127.0f / max : 0;
    for (uint32_t d = 0; d < pages->head_dim; d++) {
        float value = v[d] * inverse;
        value = value > -127.0f ? value : -127.0f;
        value = value < 127.0f ? value : 127.0f;
        /* Adding and taking away 1.5 * 2^23 rounds to the nearest even whole number. */
        int32_t q = (int32_t)(value + 12582912.0f - 12582912.0f);
        v_page[(size_t)(d / SIMD_LANES * pages->page_tokens + slot / 4 * 4) * SIMD_LANES +
               d % SIMD_LANES * 4 + slot % 4] = (uint8_t)(q + 128);
    }
}

void pages_enter(const struct pages *pages, const struct simd_table *simd, uint32_t layer,
                 uint32_t page, uint32_t head, uint32_t slot, const float *k, const float *v)
{
    void *k_page = pages_k(pages, layer, page, head), *v_page = pages_v(pages, layer, page, head);
    if (pages->bits == 16)
        enter_f16(pages, simd, k_page, v_page, slot, k, v);
    else
        enter_q8(pages, simd, k_page, v_page, pages_v_scales(pages, layer, page, head), slot, k,
                 v);
}

void pages_copy(const struct pages *pages, uint32_t layer, uint32_t from, uint32_t to)
{
    if (from != to)
        memcpy(pages_k(pages, layer, to, 0), pages_k(pages, layer, from, 0),
               pages->kv_head_count * pages->unit_bytes);
}
