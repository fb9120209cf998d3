/* Matrix products, the specification: one output at a time. */
#include <math.h>
#include <string.h>

#include "simd/scalar/scalar.h"

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return simd_f16_to_f32(bits);
}

static float dot_float(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                       void *act)
{
    const float *x = act;
    float sum = 0;
    for (uint32_t c = 0; c < w->columns; c++) {
        float weight;
        uint16_t bits;
        if (w->type == SIMD_F32) {
            memcpy(&weight, panel + (size_t)c * 64 + lane * 4, 4);
        } else {
            memcpy(&bits, panel + (size_t)c * 32 + lane * 2, 2);
            weight = w->type == SIMD_F16 ? simd_f16_to_f32(bits) : simd_bf16_to_f32(bits);
        }
        sum = fmaf(weight, x[c], sum);
    }
    return sum;
}

/* The integer dot of a lane's `count` columns (a multiple of 4) in [vector][lane][4] order. */
static int32_t dot_bytes(const uint8_t *vectors, unsigned lane, const int8_t *q, unsigned count)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += (int32_t)vectors[i / 4 * 64 + lane * 4 + i % 4] * q[i];
    return sum;
}

/* The same over 32 columns stored as nibbles. */
static int32_t dot_nibbles(const uint8_t *vectors, unsigned lane, const int8_t *q)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < 16; i++) {
        uint8_t pair = vectors[i / 4 * 64 + lane * 4 + i % 4];
        sum += (pair & 15) * q[i] + (pair >> 4) * q[16 + i];
    }
    return sum;
}

static float dot_q8_0(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                      void *act)
{
    struct simd_act_parts x = simd_act_parts_q32(act, w->columns);
    size_t blocks = w->columns / 32;
    const uint8_t *values = panel + simd_align64(blocks * 32);
    float sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        int32_t dot = x.minus128[b] + dot_bytes(values + b * 512, lane, x.q + b * 32, 32);
        sum = fmaf((float)dot, half_at(panel + b * 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_q4_0(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                      void *act)
{
    struct simd_act_parts x = simd_act_parts_q32(act, w->columns);
    size_t blocks = w->columns / 32;
    const uint8_t *values = panel + simd_align64(blocks * 32);
    float sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        int32_t dot = x.minus8[b] + dot_nibbles(values + b * 256, lane, x.q + b * 32);
        sum = fmaf((float)dot, half_at(panel + b * 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_q4_k(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                      void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    float sum = 0;
    for (size_t b = 0; b < w->columns / 256; b++, panel += 2368) {
        float scaled = 0;
        int32_t mins = 0;
        for (unsigned g = 0; g < 8; g++) {
            int32_t dot = dot_nibbles(panel + 320 + g * 256, lane, x.q + b * 256 + g * 32);
            scaled = fmaf((float)dot, (float)panel[64 + g * 16 + lane], scaled);
            mins += panel[192 + g / 2 * 32 + lane * 2 + g % 2] * x.sum[b * 8 + g];
        }
        sum = fmaf(scaled, half_at(panel + lane * 2) * x.scale[b], sum);
        sum = fmaf(-(float)mins, half_at(panel + 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_q6_k(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                      void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    size_t blocks = w->columns / 256;
    const uint8_t *block = panel + simd_align64(blocks * 32);
    float sum = 0;
    for (size_t b = 0; b < blocks; b++, block += 3328) {
        float scaled = 0;
        for (unsigned g = 0; g < 16; g++) {
            const uint8_t *low = block + 256 + g / 2 * 256;
            const uint8_t *high = block + 2304 + g / 2 * 128 + g % 2 * 64;
            const int8_t *q = x.q + b * 256 + g * 16;
            int32_t dot = x.minus32[b * 16 + g];
            for (unsigned i = 0; i < 16; i++) {
                unsigned at = i / 4 * 64 + lane * 4 + i % 4;
                unsigned nibble = g % 2 ? low[at] >> 4 : low[at] & 15;
                unsigned pair = high[lane * 4 + i % 4] >> (i / 4 * 2) & 3;
                dot += (int32_t)(nibble | pair << 4) * q[i];
            }
            scaled = fmaf((float)dot, (float)(int8_t)block[g * 16 + lane], scaled);
        }
        sum = fmaf(scaled, half_at(panel + b * 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

typedef float (*dot_function)(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                              void *act);

static void matmul(dot_function dot, const struct simd_weights *w, uint32_t panel_begin,
                   uint32_t panel_end, const void *acts, size_t act_stride, uint32_t act_count,
                   float *y, size_t y_stride)
{
    for (uint32_t p = panel_begin; p < panel_end; p++)
        for (uint32_t a = 0; a < act_count; a++)
            for (unsigned lane = 0; lane < SIMD_LANES; lane++)
                y[a * y_stride + (size_t)p * SIMD_LANES + lane] =
                    dot(w, w->data + p * w->panel_bytes, lane,
                        simd_act_row(acts, act_stride, a));
}

#define MATMUL(name, dot)                                                                       \
    static void name(const struct simd_weights *w, uint32_t panel_begin, uint32_t panel_end,    \
                     const void *acts, size_t act_stride, uint32_t act_count, float *y,         \
                     size_t y_stride)                                                           \
    {                                                                                           \
        matmul(dot, w, panel_begin, panel_end, acts, act_stride, act_count, y, y_stride);       \
    }
MATMUL(matmul_float, dot_float)
MATMUL(matmul_q8_0, dot_q8_0)
MATMUL(matmul_q4_0, dot_q4_0)
MATMUL(matmul_q4_k, dot_q4_k)
MATMUL(matmul_q6_k, dot_q6_k)

void simd_fill_scalar(struct simd_table *table)
{
    table->matmul[SIMD_F32] = matmul_float;
    table->matmul[SIMD_F16] = matmul_float;
    table->matmul[SIMD_BF16] = matmul_float;
    table->matmul[SIMD_Q8_0] = matmul_q8_0;
    table->matmul[SIMD_Q4_0] = matmul_q4_0;
    table->matmul[SIMD_Q4_K] = matmul_q4_k;
    table->matmul[SIMD_Q6_K] = matmul_q6_k;
    simd_fill_scalar_forms(table);
    simd_fill_scalar_rows(table);
    simd_fill_scalar_attention(table);
}
