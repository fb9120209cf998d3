/* Floats to weight blocks as files have them. Q8_0, Q4_0, Q4_K and Q6_K follow the rules that ggml
 * uses without an importance matrix, operation for operation, so that the same weights give the
 * same bytes (tests/kern/test_quantize). */
#include <math.h>
#include <string.h>

#include "engine/base/check.h"
#include "simd/simd.h"

static void put_half(uint8_t *at, float value)
{
    uint16_t bits = simd_f32_to_f16(value);
    memcpy(at, &bits, 2);
}

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return simd_f16_to_f32(bits);
}

/* Nearest whole number, ties to even, held within [low, high]; NaN gives `low`. */
static int nearest(float value, int low, int high)
{
    if (!(value > (float)low))
        return low;
    return value < (float)high ? (int)lrintf(value) : high;
}

static void quantize_bf16(const float *x, uint32_t columns, uint8_t *row)
{
    for (uint32_t i = 0; i < columns; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
        uint16_t half = (uint16_t)(nan ? bits >> 16 | 64
                                       : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
        memcpy(row + (size_t)i * 2, &half, 2);
    }
}

static void quantize_q8_0(const float *x, uint8_t *block)
{
    float max = 0;
    for (unsigned i = 0; i < 32; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    float d = max / 127, inverse = d != 0 ? 1 / d : 0;
    put_half(block, d);
    for (unsigned i = 0; i < 32; i++) { /* ties away from zero */
        float value = roundf(x[i] * inverse);
        block[2 + i] = (uint8_t)(int8_t)nearest(value, -127, 127);
    }
}

/* The extreme value becomes -8. */
static void quantize_q4_0(const float *x, uint8_t *block)
{
    float max = 0, extreme = 0;
    for (unsigned i = 0; i < 32; i++)
        if (fabsf(x[i]) > max) {
            max = fabsf(x[i]);
            extreme = x[i];
        }
    float d = extreme / -8, inverse = d != 0 ? 1 / d : 0;
    put_half(block, d);
    for (unsigned i = 0; i < 16; i++) {
        int low = nearest(floorf(x[i] * inverse + 8.5f), 0, 15);
        int high = nearest(floorf(x[16 + i] * inverse + 8.5f), 0, 15);
        block[2 + i] = (uint8_t)(low | high << 4);
    }
}

/* ---- K blocks ------------------------------------------------------------------------------ */

/* A straight line scale * q + min (min <= 0) through 32 values with q in 0 .. 15. */
struct line {
    float scale, min;
};

static float line_error(const float *x, const float *weights, const uint8_t *q, struct line line)
{
    float error = 0;
    for (unsigned i = 0; i < 32; i++) {
        float off = line.scale * (float)q[i] + line.min - x[i];
        error += weights[i] * (off * off);
    }
    return error;
}

/* Tries 22 step widths, fits the line to each by least squares, keeps the best. */
static struct line fit_line(const float *x, const float *weights, uint8_t q[32])
{
    float min = x[0], max = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
    for (unsigned i = 1; i < 32; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    min = min > 0 ? 0 : min;
    memset(q, 0, 32);
    if (!(max > min))
        return (struct line){0, min};
    float inverse = 15 / (max - min);
    struct line best = {1 / inverse, min};
    for (unsigned i = 0; i < 32; i++)
        q[i] = (uint8_t)nearest(inverse * (x[i] - min), 0, 15);
    float best_error = line_error(x, weights, q, best);
    for (int step = 0; step <= 20; step++) {
        uint8_t tried[32];
        float sum_q = 0, sum_q2 = 0, sum_xq = 0;
        inverse = (-1.0f + 0.1f * (float)step + 15) / (max - best.min);
        for (unsigned i = 0; i < 32; i++) {
            int level = nearest(inverse * (x[i] - best.min), 0, 15);
            float w = weights[i];
            tried[i] = (uint8_t)level;
            sum_q += w * (float)level;
            sum_q2 += w * (float)level * (float)level;
            sum_xq += w * (float)level * x[i];
        }
        float determinant = sum_w * sum_q2 - sum_q * sum_q;
        if (!(determinant > 0))
            continue;
        struct line line = {(sum_w * sum_xq - sum_x * sum_q) / determinant,
                            (sum_q2 * sum_x - sum_q * sum_xq) / determinant};
        if (line.min > 0)
            line = (struct line){sum_xq / sum_q2, 0};
        float error = line_error(x, weights, tried, line);
        if (error < best_error) {
            memcpy(q, tried, 32);
            best_error = error;
            best = line;
        }
    }
    return best;
}

/* A six-bit scale; what is negative counts as the greatest. */
static unsigned six_bits(float value)
{
    int whole = nearest(value, -1, 63);
    return whole < 0 ? 63 : (unsigned)whole;
}

static void quantize_q4_k(const float *x, uint8_t *block)
{
    uint8_t q[256], *packed = block + 4;
    struct line lines[8];
    float max_scale = 0, max_min = 0;
    for (unsigned g = 0; g < 8; g++) {
        float weights[32], square = 0;
        for (unsigned i = 0; i < 32; i++)
            square += x[g * 32 + i] * x[g * 32 + i];
        for (unsigned i = 0; i < 32; i++)
            weights[i] = sqrtf(square / 32) + fabsf(x[g * 32 + i]);
        lines[g] = fit_line(x + g * 32, weights, q + g * 32);
        max_scale = lines[g].scale > max_scale ? lines[g].scale : max_scale;
        max_min = -lines[g].min > max_min ? -lines[g].min : max_min;
    }
    float scale_inverse = max_scale > 0 ? 63 / max_scale : 0;
    float min_inverse = max_min > 0 ? 63 / max_min : 0;
    put_half(block, max_scale / 63);
    put_half(block + 2, max_min / 63);
    memset(packed, 0, 12);
    for (unsigned g = 0; g < 8; g++) {
        unsigned scale = six_bits(scale_inverse * lines[g].scale);
        unsigned min = six_bits(min_inverse * -lines[g].min);
        if (g < 4) {
            packed[g] = (uint8_t)scale;
            packed[g + 4] = (uint8_t)min;
        } else {
            packed[g + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
            packed[g - 4] = (uint8_t)(packed[g - 4] | (scale >> 4) << 6);
            packed[g] = (uint8_t)(packed[g] | (min >> 4) << 6);
        }
        float d = half_at(block) * (float)scale, d_min = half_at(block + 2) * (float)min;
        for (unsigned i = 0; d != 0 && i < 32; i++)
            q[g * 32 + i] = (uint8_t)nearest((x[g * 32 + i] + d_min) / d, 0, 15);
    }
    for (unsigned i = 0; i < 128; i++) {
        const uint8_t *from = q + i / 32 * 64 + i % 32;
        block[16 + i] = (uint8_t)(from[0] | from[32] << 4);
    }
}

/* The scale for 16 values in steps of -32 .. 31: 19 step widths around the one that the extreme
 * value asks for, each with its least-squares scale (weights x^2). `q` is offset by 32. */
static float fit_scale(const float *x, uint8_t q[16])
{
    float max = 0, extreme = 0, scale = 0, best = 0;
    for (unsigned i = 0; i < 16; i++)
        if (fabsf(x[i]) > max) {
            max = fabsf(x[i]);
            extreme = x[i];
        }
    memset(q, 0, 16);
    if (max < 1e-15f)
        return 0;
    for (int order = 0; order < 19; order++) {
        /* First the plain width, then -9 .. 9 tenths without 0. */
        int tenths = order == 0 ? 0 : order <= 9 ? order - 10 : order - 9;
        float inverse = order == 0 ? -32 / extreme : -(32 + 0.1f * (float)tenths) / extreme;
        float sum_xq = 0, sum_q2 = 0;
        int tried[16];
        for (unsigned i = 0; i < 16; i++) {
            float w = x[i] * x[i];
            tried[i] = nearest(inverse * x[i], -32, 31);
            sum_xq += w * x[i] * (float)tried[i];
            sum_q2 += w * (float)tried[i] * (float)tried[i];
        }
        if (order == 0) {
            scale = sum_q2 != 0 ? sum_xq / sum_q2 : 0;
        } else {
            if (!(sum_q2 > 0 && sum_xq * sum_xq > best * sum_q2))
                continue;
            scale = sum_xq / sum_q2;
        }
        best = scale * sum_xq;
        for (unsigned i = 0; i < 16; i++)
            q[i] = (uint8_t)(tried[i] + 32);
    }
    return scale;
}

static void quantize_q6_k(const float *x, uint8_t *block)
{
    uint8_t q[256];
    float scales[16], max = 0, extreme = 0;
    for (unsigned g = 0; g < 16; g++) {
        scales[g] = fit_scale(x + g * 16, q + g * 16);
        if (fabsf(scales[g]) > max) {
            max = fabsf(scales[g]);
            extreme = scales[g];
        }
    }
    memset(block, 0, 210);
    if (max < 1e-15f)
        return;
    float inverse = -128 / extreme;
    put_half(block + 208, 1 / inverse);
    for (unsigned g = 0; g < 16; g++) {
        int scale = nearest(inverse * scales[g], -128, 127);
        float d = half_at(block + 208) * (float)scale;
        block[192 + g] = (uint8_t)(int8_t)scale;
        for (unsigned i = 0; d != 0 && i < 16; i++)
            q[g * 16 + i] = (uint8_t)(nearest(x[g * 16 + i] / d, -32, 31) + 32);
    }
    for (unsigned half = 0; half < 2; half++)
        for (unsigned i = 0; i < 32; i++) {
            const uint8_t *from = q + half * 128 + i;
            block[half * 64 + i] = (uint8_t)((from[0] & 15) | (from[64] & 15) << 4);
            block[half * 64 + 32 + i] = (uint8_t)((from[32] & 15) | (from[96] & 15) << 4);
            block[128 + half * 32 + i] = (uint8_t)(from[0] >> 4 | from[32] >> 4 << 2 |
                                                   from[64] >> 4 << 4 | from[96] >> 4 << 6);
        }
}

bool simd_quantize_row(enum simd_type type, uint32_t columns, const float *x, uint8_t *row)
{
    void (*block)(const float *, uint8_t *) = type == SIMD_Q8_0   ? quantize_q8_0
                                              : type == SIMD_Q4_0 ? quantize_q4_0
                                              : type == SIMD_Q4_K ? quantize_q4_k
                                              : type == SIMD_Q6_K ? quantize_q6_k
                                                                  : NULL;
    uint32_t block_columns = type == SIMD_Q8_0 || type == SIMD_Q4_0 ? 32 : 256;
    switch (type) {
    case SIMD_F32: memcpy(row, x, (size_t)columns * 4); return true;
    case SIMD_BF16: quantize_bf16(x, columns, row); return true;
    case SIMD_F16:
        for (uint32_t i = 0; i < columns; i++)
            put_half(row + (size_t)i * 2, x[i]);
        return true;
    default: break;
    }
    if (!block)
        return false;
    CHECK(columns % block_columns == 0);
    size_t bytes = simd_row_bytes(type, block_columns);
    for (uint32_t c = 0; c < columns; c += block_columns, row += bytes)
        block(x + c, row);
    return true;
}
