/* Between simd/table.c and the folders of the instruction sets: each overwrites the entries of the
 * table for which it has a kernel. */
#ifndef SIMD_KERNELS_H
#define SIMD_KERNELS_H

#include "simd/simd.h"

void simd_fill_scalar(struct simd_table *table);
#if defined(__x86_64__)
void simd_fill_avx2(struct simd_table *table);
void simd_fill_avx512(struct simd_table *table);
void simd_fill_vnni(struct simd_table *table);
void simd_fill_amx(struct simd_table *table); /* what it lacks, it takes from the table */
#elif defined(__aarch64__)
void simd_fill_neon(struct simd_table *table);
void simd_fill_dotprod(struct simd_table *table);
#endif

/* Where the parts of an activation row begin. */
struct simd_act_parts {
    int8_t *q;
    float *scale;
    int32_t *minus8, *minus128; /* Q32 */
    int32_t *minus32;           /* Q256 */
    int16_t *sum;               /* Q256 */
};

static inline struct simd_act_parts simd_act_parts_q32(void *row, size_t columns)
{
    char *at = (char *)row + simd_align64(columns);
    size_t part = simd_align64(columns / 32 * 4);
    return (struct simd_act_parts){.q = row, .scale = (float *)(void *)at,
                                   .minus8 = (int32_t *)(void *)(at + part),
                                   .minus128 = (int32_t *)(void *)(at + 2 * part)};
}

static inline struct simd_act_parts simd_act_parts_q256(void *row, size_t columns)
{
    char *at = (char *)row + simd_align64(columns);
    struct simd_act_parts parts = {.q = row, .scale = (float *)(void *)at};
    at += simd_align64(columns / 256 * 4);
    parts.minus32 = (int32_t *)(void *)at;
    at += simd_align64(columns / 16 * 4);
    parts.sum = (int16_t *)(void *)at;
    return parts;
}

/* Row `index` of activations that are only read. */
static inline void *simd_act_row(const void *acts, size_t stride, size_t index)
{
    return (char *)(uintptr_t)acts + stride * index;
}

/* e^x: x = n ln 2 + r, |r| <= ln 2 / 2; e^r as 1 + r + r^2 P(r) with the polynomial of Cephes
 * expf; times 2^n in two exact steps, so that denormal results round once. Why not SLEEF's: this
 * inlines (4 times faster in softmax), and its scalar form runs where there is no FMA unit. */
#define SIMD_EXP_MIN (-104.0f) /* gives 0 */
#define SIMD_EXP_MAX 89.0f     /* gives infinity */
#define SIMD_EXP_LOG2E 1.44269504088896341f
#define SIMD_EXP_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to whole numbers */
#define SIMD_EXP_LN2_HIGH 0.693145751953125f
#define SIMD_EXP_LN2_LOW 1.42860682030941723212e-6f
#define SIMD_EXP_C6 1.9875691500e-4f
#define SIMD_EXP_C5 1.3981999507e-3f
#define SIMD_EXP_C4 8.3334519073e-3f
#define SIMD_EXP_C3 4.1665795894e-2f
#define SIMD_EXP_C2 1.6666665459e-1f
#define SIMD_EXP_C1 5.0000001201e-1f

#define SIMD_GELU_CUBE 0.044715f
#define SIMD_GELU_SCALE (-1.5957691216057308f) /* -2 sqrt(2 / pi) */
#define SIMD_CLAMP_LIMIT 7.0f
#define SIMD_CLAMP_SLOPE (-1.702f)

#endif
