/* Kernels over one row of activations, the specification. */
#include <math.h>
#include <string.h>

#include "simd/scalar/scalar.h"

static void rmsnorm(const float *x, const float *weight, float epsilon, uint32_t count, float *out)
{
    float lanes[SIMD_LANES] = {0};
    for (uint32_t i = 0; i < count; i++)
        lanes[i % SIMD_LANES] = fmaf(x[i], x[i], lanes[i % SIMD_LANES]);
    float factor = 1.0f / sqrtf(simd_tree_add(lanes) / (float)count + epsilon);
    for (uint32_t i = 0; i < count; i++)
        out[i] = x[i] * factor * weight[i];
}

static void rope(float *x, const float *cos, const float *sin, uint32_t half)
{
    for (uint32_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static void add(float *x, const float *y, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        x[i] += y[i];
}

static void mul(float *x, const float *y, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        x[i] *= y[i];
}

static void scale(float *x, float factor, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        x[i] *= factor;
}

static void silu_mul(float *gate, const float *up, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        gate[i] = gate[i] / (1.0f + simd_expf(-gate[i])) * up[i];
}

static void gelu_mul(float *gate, const float *up, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        float x = gate[i], u = fmaf(x * x * x, SIMD_GELU_CUBE, x) * SIMD_GELU_SCALE;
        gate[i] = x / (1.0f + simd_expf(u)) * up[i];
    }
}

static void clamped_mul(float *gate, const float *up, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        float x = gate[i] < SIMD_CLAMP_LIMIT ? gate[i] : SIMD_CLAMP_LIMIT;
        float y = up[i] < SIMD_CLAMP_LIMIT ? up[i] : SIMD_CLAMP_LIMIT;
        y = y > -SIMD_CLAMP_LIMIT ? y : -SIMD_CLAMP_LIMIT;
        gate[i] = x / (1.0f + simd_expf(x * SIMD_CLAMP_SLOPE)) * (y + 1.0f);
    }
}

static void softcap(float *x, float cap, uint32_t count)
{
    float inverse = 2.0f / cap, twice = 2.0f * cap;
    for (uint32_t i = 0; i < count; i++)
        x[i] = cap - twice / (1.0f + simd_expf(x[i] * inverse));
}

static void exp_rows(float *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        x[i] = simd_expf(x[i]);
}

static void to_f16(const float *x, uint32_t count, uint16_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        float value = x[i] > -65504.0f ? x[i] : -65504.0f;
        out[i] = simd_f32_to_f16(value < 65504.0f ? value : 65504.0f);
    }
}

/* One block of activations to int8; returns the scale. */
static float quantize_block(const float *x, uint32_t count, int8_t *q)
{
    float max = 0;
    for (uint32_t i = 0; i < count; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    float inverse = max > 0 ? 127.0f / max : 0;
    for (uint32_t i = 0; i < count; i++) {
        float value = x[i] * inverse;
        value = value > -127.0f ? value : -127.0f;
        value = value < 127.0f ? value : 127.0f;
        q[i] = (int8_t)lrintf(value);
    }
    return max / 127.0f;
}

static int32_t sum_of(const int8_t *q, uint32_t count)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += q[i];
    return sum;
}

static void quantize_f32(const float *x, uint32_t columns, void *row)
{
    memcpy(row, x, (size_t)columns * 4);
}

static void quantize_q32(const float *x, uint32_t columns, void *row)
{
    struct simd_act_parts parts = simd_act_parts_q32(row, columns);
    for (uint32_t b = 0; b < columns / 32; b++) {
        parts.scale[b] = quantize_block(x + (size_t)b * 32, 32, parts.q + (size_t)b * 32);
        int32_t sum = sum_of(parts.q + (size_t)b * 32, 32);
        parts.minus8[b] = -8 * sum;
        parts.minus128[b] = -128 * sum;
    }
}

static void quantize_q256(const float *x, uint32_t columns, void *row)
{
    struct simd_act_parts parts = simd_act_parts_q256(row, columns);
    for (uint32_t b = 0; b < columns / 256; b++)
        parts.scale[b] = quantize_block(x + (size_t)b * 256, 256, parts.q + (size_t)b * 256);
    for (uint32_t g = 0; g < columns / 16; g++)
        parts.minus32[g] = -32 * sum_of(parts.q + (size_t)g * 16, 16);
    for (uint32_t g = 0; g < columns / 32; g++)
        parts.sum[g] = (int16_t)sum_of(parts.q + (size_t)g * 32, 32);
}

void simd_fill_scalar_rows(struct simd_table *table)
{
    table->rmsnorm = rmsnorm;
    table->rope = rope;
    table->add = add;
    table->mul = mul;
    table->scale = scale;
    table->silu_mul = silu_mul;
    table->gelu_mul = gelu_mul;
    table->clamped_mul = clamped_mul;
    table->softcap = softcap;
    table->exp = exp_rows;
    table->to_f16 = to_f16;
    table->quantize[SIMD_ACT_F32] = quantize_f32;
    table->quantize[SIMD_ACT_Q32] = quantize_q32;
    table->quantize[SIMD_ACT_Q256] = quantize_q256;
}
