#include <math.h>
#include <sleef.h>
#include <string.h>

#include "simd/kernels.h"
#include "simd/simd.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

float simd_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f; /* exact: zero or denormal */
        return sign ? -value : value;
    }
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t simd_f32_to_f16(float value)
{
    uint32_t bits = to_bits(value);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) { /* below 2^-14: denormal; the addition rounds to 2^-24 steps */
        float shifted = from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (to_bits(shifted) - 0x3F000000));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xFFF + odd) >> 13);
}

float simd_bf16_to_f32(uint16_t bits)
{
    return from_bits((uint32_t)bits << 16);
}

float simd_expf(float x)
{
    x = x > SIMD_EXP_MIN ? x : SIMD_EXP_MIN;
    x = x < SIMD_EXP_MAX ? x : SIMD_EXP_MAX;
    float shifted = fmaf(x, SIMD_EXP_LOG2E, SIMD_EXP_MAGIC);
    float n = shifted - SIMD_EXP_MAGIC;
    float r = fmaf(n, -SIMD_EXP_LN2_HIGH, x);
    r = fmaf(n, -SIMD_EXP_LN2_LOW, r);
    float p = fmaf(SIMD_EXP_C6, r, SIMD_EXP_C5);
    p = fmaf(p, r, SIMD_EXP_C4);
    p = fmaf(p, r, SIMD_EXP_C3);
    p = fmaf(p, r, SIMD_EXP_C2);
    p = fmaf(p, r, SIMD_EXP_C1);
    p = fmaf(p, r * r, r) + 1.0f;
    int32_t whole = (int32_t)(to_bits(shifted) - to_bits(SIMD_EXP_MAGIC));
    int32_t low = whole >> 1, high = whole - low;
    return p * from_bits((uint32_t)(low + 127) << 23) * from_bits((uint32_t)(high + 127) << 23);
}

float simd_logf(float x)
{
    return Sleef_cinz_logf1_u10purec(x);
}

double simd_log(double x)
{
    return Sleef_cinz_logd1_u10purec(x);
}

double simd_exp(double x)
{
    return Sleef_cinz_expd1_u10purec(x);
}

double simd_pow(double x, double y)
{
    return Sleef_cinz_powd1_u10purec(x, y);
}

void simd_sincos(double x, double *sin, double *cos)
{
    *sin = Sleef_cinz_sind1_u10purec(x);
    *cos = Sleef_cinz_cosd1_u10purec(x);
}
