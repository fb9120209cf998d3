/* Attention over a run of KV entries, the specification. */
#include <math.h>

#include "simd/scalar/scalar.h"

static void attn_scores(const float *q, size_t q_stride, uint32_t row_count, const uint16_t *k,
                        size_t k_stride, uint32_t token_count, uint32_t head_dim, float *scores,
                        size_t score_stride)
{
    for (uint32_t r = 0; r < row_count; r++)
        for (uint32_t t = 0; t < token_count; t++) {
            float sum = 0;
            for (uint32_t d = 0; d < head_dim; d++)
                sum = fmaf(q[r * q_stride + d], simd_f16_to_f32(k[d * k_stride + t]), sum);
            scores[r * score_stride + t] = sum;
        }
}

static void attn_softmax(float *scores, uint32_t count, const uint16_t *mask, float *max,
                         float *sum)
{
    float top = -INFINITY, lanes[SIMD_LANES] = {0};
    uint32_t any = 0;
    for (uint32_t t = 0; t < count; t++)
        if (mask[t / 16] >> t % 16 & 1) {
            top = scores[t] > top ? scores[t] : top;
            any = 1;
        }
    for (uint32_t t = 0; t < count; t++) {
        scores[t] = mask[t / 16] >> t % 16 & 1 ? simd_expf(scores[t] - top) : 0;
        lanes[t % SIMD_LANES] += scores[t];
    }
    *max = top;
    *sum = any ? simd_tree_add(lanes) : 0;
}

static void attn_values(const float *p, size_t p_stride, uint32_t row_count, const uint16_t *v,
                        uint32_t token_count, uint32_t head_dim, float *out, size_t out_stride)
{
    for (uint32_t r = 0; r < row_count; r++)
        for (uint32_t d = 0; d < head_dim; d++) {
            float sum = out[r * out_stride + d];
            for (uint32_t t = 0; t < token_count; t++)
                sum = fmaf(p[r * p_stride + t], simd_f16_to_f32(v[(size_t)t * head_dim + d]), sum);
            out[r * out_stride + d] = sum;
        }
}

static void attn_merge(float *out, float a, const float *y, float b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = fmaf(y[i], b, out[i] * a);
}

void simd_fill_scalar_attention(struct simd_table *table)
{
    table->attn_scores = attn_scores;
    table->attn_softmax = attn_softmax;
    table->attn_values = attn_values;
    table->attn_merge = attn_merge;
}
