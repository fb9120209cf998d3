/* Matrix products with the types of simd/forms.h, the specification: one output at a time. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "simd/forms.h"
#include "simd/scalar/scalar.h"

static const int8_t iq4_values[16] = {SIMD_IQ4_VALUES};
static const int8_t mxfp4_values[16] = {SIMD_MXFP4_VALUES};

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return simd_f16_to_f32(bits);
}

/* The integer dot of a lane's 32 columns: nibbles, with fifth bits (NULL: none), through a table
 * (NULL: as they are). */
static int32_t dot_32(const uint8_t *nibbles, const uint8_t *bits, const int8_t *table,
                      unsigned lane, const int8_t *q)
{
    int32_t sum = 0;
    for (unsigned c = 0; c < 32; c++) {
        unsigned byte = lane * 4 + c % 4;
        int value = nibbles[c % 16 / 4 * 64 + byte] >> (c / 16 * 4) & 15;
        if (bits)
            value |= (bits[byte] >> (c / 4) & 1) << 4;
        sum += (table ? table[value] : value) * q[c];
    }
    return sum;
}

/* The same of 16 columns of two bits, with third bits from bit `first` on (NULL: none). */
static int32_t dot_16(const uint8_t *pairs, const uint8_t *bits, unsigned first, unsigned lane,
                      const int8_t *q)
{
    int32_t sum = 0;
    for (unsigned c = 0; c < 16; c++) {
        unsigned byte = lane * 4 + c % 4;
        int value = pairs[byte] >> (c / 4 * 2) & 3;
        if (bits)
            value |= (bits[byte] >> (first + c / 4) & 1) << 2;
        sum += value * q[c];
    }
    return sum;
}

static float dot_blocks_32(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                           void *act)
{
    struct simd_act_parts x = simd_act_parts_q32(act, w->columns);
    enum simd_type type = w->type;
    size_t blocks = w->columns / 32;
    const uint8_t *values = panel + simd_form_values_at(type, blocks);
    bool five = type == SIMD_Q5_0 || type == SIMD_Q5_1;
    const int8_t *table = type == SIMD_IQ4_NL ? iq4_values : type == SIMD_MXFP4 ? mxfp4_values : NULL;
    float sum = 0;
    for (size_t b = 0; b < blocks; b++, values += simd_form_block(type)) {
        const uint8_t *head = panel + b * simd_form_head(type);
        int32_t dot = dot_32(values + (five ? 64 : 0), five ? values : NULL, table, lane,
                             x.q + b * 32);
        float d = half_at(head + (type == SIMD_MXFP4 ? 0 : lane * 2));
        if (type == SIMD_MXFP4) {
            uint32_t bits = simd_mxfp4_scale_bits(head[lane]);
            memcpy(&d, &bits, 4);
        }
        if (type == SIMD_Q5_0)
            dot += 2 * x.minus8[b];
        sum = fmaf((float)dot, d * x.scale[b], sum);
        if (type == SIMD_Q4_1 || type == SIMD_Q5_1)
            sum = fmaf((float)x.minus8[b], half_at(head + 32 + lane * 2) * (x.scale[b] * -0.125f),
                       sum);
    }
    return sum;
}

static float dot_q5_k(const struct simd_weights *w, const uint8_t *panel, unsigned lane, void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    float sum = 0;
    for (size_t b = 0; b < w->columns / 256; b++, panel += simd_form_block(SIMD_Q5_K)) {
        float scaled = 0;
        int32_t mins = 0;
        for (unsigned g = 0; g < 8; g++) {
            const uint8_t *group = panel + 320 + g * 320;
            int32_t dot = dot_32(group + 64, group, NULL, lane, x.q + b * 256 + g * 32);
            scaled = fmaf((float)dot, (float)panel[64 + g * 16 + lane], scaled);
            mins += panel[192 + g / 2 * 32 + lane * 2 + g % 2] * x.sum[b * 8 + g];
        }
        sum = fmaf(scaled, half_at(panel + lane * 2) * x.scale[b], sum);
        sum = fmaf(-(float)mins, half_at(panel + 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_iq4_xs(const struct simd_weights *w, const uint8_t *panel, unsigned lane,
                        void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    size_t blocks = w->columns / 256;
    const uint8_t *block = panel + simd_form_values_at(SIMD_IQ4_XS, blocks);
    float sum = 0;
    for (size_t b = 0; b < blocks; b++, block += simd_form_block(SIMD_IQ4_XS)) {
        float scaled = 0;
        for (unsigned g = 0; g < 8; g++) {
            int32_t dot = dot_32(block + 128 + g * 256, NULL, iq4_values, lane,
                                 x.q + b * 256 + g * 32);
            scaled = fmaf((float)dot, (float)(int8_t)block[g * 16 + lane], scaled);
        }
        sum = fmaf(scaled, half_at(panel + b * 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_q2_k(const struct simd_weights *w, const uint8_t *panel, unsigned lane, void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    float sum = 0;
    for (size_t b = 0; b < w->columns / 256; b++, panel += simd_form_block(SIMD_Q2_K)) {
        float scaled = 0;
        int32_t mins = 0;
        for (unsigned g = 0; g < 16; g++) {
            uint8_t both = panel[64 + g * 16 + lane];
            int32_t dot = dot_16(panel + 320 + g * 64, NULL, 0, lane, x.q + b * 256 + g * 16);
            scaled = fmaf((float)dot, (float)(both & 15), scaled);
            mins += (both >> 4) * (x.minus32[b * 16 + g] / -32);
        }
        sum = fmaf(scaled, half_at(panel + lane * 2) * x.scale[b], sum);
        sum = fmaf(-(float)mins, half_at(panel + 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static float dot_q3_k(const struct simd_weights *w, const uint8_t *panel, unsigned lane, void *act)
{
    struct simd_act_parts x = simd_act_parts_q256(act, w->columns);
    size_t blocks = w->columns / 256;
    const uint8_t *block = panel + simd_form_values_at(SIMD_Q3_K, blocks);
    float sum = 0;
    for (size_t b = 0; b < blocks; b++, block += simd_form_block(SIMD_Q3_K)) {
        float scaled = 0;
        for (unsigned g = 0; g < 16; g++) {
            const uint8_t *pair = block + 256 + g / 2 * 192;
            int32_t dot = x.minus32[b * 16 + g] / 8 +
                          dot_16(pair + 64 + g % 2 * 64, pair, g % 2 * 4, lane,
                                 x.q + b * 256 + g * 16);
            scaled = fmaf((float)dot, (float)(int8_t)block[g * 16 + lane], scaled);
        }
        sum = fmaf(scaled, half_at(panel + b * 32 + lane * 2) * x.scale[b], sum);
    }
    return sum;
}

static void matmul_forms(const struct simd_weights *w, uint32_t panel_begin, uint32_t panel_end,
                         const void *acts, size_t act_stride, uint32_t act_count, float *y,
                         size_t y_stride)
{
    float (*dot)(const struct simd_weights *, const uint8_t *, unsigned, void *) =
        w->type == SIMD_Q5_K     ? dot_q5_k
        : w->type == SIMD_IQ4_XS ? dot_iq4_xs
        : w->type == SIMD_Q2_K   ? dot_q2_k
        : w->type == SIMD_Q3_K   ? dot_q3_k
                                 : dot_blocks_32;
    for (uint32_t p = panel_begin; p < panel_end; p++)
        for (uint32_t a = 0; a < act_count; a++)
            for (unsigned lane = 0; lane < SIMD_LANES; lane++)
                y[a * y_stride + (size_t)p * SIMD_LANES + lane] = dot(
                    w, w->data + p * w->panel_bytes, lane, simd_act_row(acts, act_stride, a));
}

void simd_fill_scalar_forms(struct simd_table *table)
{
    for (int type = SIMD_Q4_1; type <= SIMD_MXFP4; type++)
        table->matmul[type] = matmul_forms;
}
