/* Leaf kernels: pointers and sizes in, numbers out. No threads, no allocation, cannot fail.
 *
 * The scalar kernels (simd/scalar/) are the specification: every other instruction set gives the
 * same bits. What makes that cheap:
 * - in a matrix product a SIMD lane is one output row; it adds its columns (or its blocks) in
 *   ascending order into one accumulator, so a result does not depend on how many activation rows
 *   or weight rows are computed together;
 * - integer dots inside a block are exact, so their order is free;
 * - a reduction to one number runs over SIMD_LANES virtual lanes (element i belongs to lane
 *   i mod 16), which are then added as a tree: lane i with i + 8, i + 4, i + 2, i + 1;
 * - "fma" below is fused everywhere (fmaf in scalar), and nothing else is ever contracted;
 * - max(a, b) is `a > b ? a : b`, min(a, b) is `a < b ? a : b` (what x86 does with NaN).
 *
 * Pointers need no alignment but that of their type unless said otherwise. */
#ifndef SIMD_SIMD_H
#define SIMD_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIMD_LANES = 16 };

/* ---- Weights ------------------------------------------------------------------------------- */

/* Element formats of weight matrices that have kernels. */
enum simd_type {
    SIMD_F32, SIMD_F16, SIMD_BF16, SIMD_Q8_0, SIMD_Q4_0, SIMD_Q4_K, SIMD_Q6_K,
    SIMD_Q4_1, SIMD_Q5_0, SIMD_Q5_1, SIMD_Q2_K, SIMD_Q3_K, SIMD_Q5_K, SIMD_IQ4_NL, SIMD_IQ4_XS,
    SIMD_MXFP4, SIMD_TYPE_COUNT,
};

/* What a weight format multiplies with: floats, or int8 with one scale per 32 or 256 columns. */
enum simd_act { SIMD_ACT_F32, SIMD_ACT_Q32, SIMD_ACT_Q256, SIMD_ACT_COUNT };

/* A packed matrix: panels of SIMD_LANES rows, one after the other; the last one is filled up with
 * rows of zeros. `data` is 64-byte aligned. simd/pack.c describes the panels. */
struct simd_weights {
    enum simd_type type;
    uint32_t rows, columns;
    size_t panel_bytes; /* simd_panel_bytes(type, columns) */
    const uint8_t *data;
};

static inline uint32_t simd_panel_count(uint32_t rows)
{
    return (rows + SIMD_LANES - 1) / SIMD_LANES;
}

/* Bytes of a panel (a multiple of 64), and of one unpacked row as files have it. `columns` must be
 * a multiple of the format's block. */
size_t simd_panel_bytes(enum simd_type type, uint32_t columns);
size_t simd_row_bytes(enum simd_type type, uint32_t columns);

/* rows[i] points to row i as files have it, NULL for a row of zeros. */
void simd_pack_panel(enum simd_type type, uint32_t columns, const uint8_t *const rows[SIMD_LANES],
                     uint8_t *panel);

/* One row as files have it, to floats. */
void simd_unpack_row(enum simd_type type, uint32_t columns, const uint8_t *row, float *out);

/* Floats to a row as files have it; false for types that nothing is turned into (all but F32 F16
 * BF16 Q8_0 Q4_0 Q4_K Q6_K). The same bytes as ggml without an importance matrix. Slow for K
 * types (a search per group). */
bool simd_quantize_row(enum simd_type type, uint32_t columns, const float *x, uint8_t *row);

/* ---- Activations --------------------------------------------------------------------------- */

enum simd_act simd_act_of(enum simd_type type);

/* A row of activations in the format `act`, 64-byte aligned parts in this order:
 * F32:  float[columns].
 * Q32:  int8 q[columns]; float scale[columns / 32]; int32 minus8[columns / 32] = -8 sum(q);
 *       int32 minus128[columns / 32] = -128 sum(q). Value = q * scale.
 * Q256: int8 q[columns]; float scale[columns / 256]; int32 minus32[columns / 16] = -32 sum(q);
 *       int16 sum[columns / 32] = sum(q).
 * The sums undo the offset of weights that are stored without sign. */
size_t simd_act_bytes(enum simd_act act, uint32_t columns); /* a multiple of 64 */

static inline size_t simd_align64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* ---- The table ----------------------------------------------------------------------------- */

/* Each level has what is below it of its own machine: x86-64 or arm64. */
enum simd_level {
    SIMD_SCALAR,
    SIMD_AVX2, SIMD_AVX512, SIMD_VNNI, SIMD_AMX,
    SIMD_NEON, SIMD_DOTPROD,
    SIMD_LEVEL_COUNT,
};

struct simd_table {
    enum simd_level level;
    const char *name; /* "scalar", "avx2", "avx512", "vnni", "amx", "neon", "dotprod" */

    /* y[a * y_stride + row] = dot(weights row, activation row a) for the 16 rows of each panel in
     * [panel_begin, panel_end) and a in [0, act_count). Rows past weights->rows are written too
     * (zero), so y's rows must reach to the end of the last panel. acts: rows of act_stride bytes
     * in the format simd_act_of(type), 64-byte aligned for the int8 formats. */
    void (*matmul[SIMD_TYPE_COUNT])(const struct simd_weights *weights, uint32_t panel_begin,
                                    uint32_t panel_end, const void *acts, size_t act_stride,
                                    uint32_t act_count, float *y, size_t y_stride);

    /* x[columns] to the format's row; entry SIMD_ACT_F32 copies. Per block: scale = max|x| / 127,
     * q = nearest-even(x * (127 / max|x|)), held within [-127, 127]. */
    void (*quantize[SIMD_ACT_COUNT])(const float *x, uint32_t columns, void *row);

    /* out = (x * (1 / sqrt(mean(x * x) + epsilon))) * weight. out may be x. */
    void (*rmsnorm)(const float *x, const float *weight, float epsilon, uint32_t count,
                    float *out);
    /* Turns (x[i], x[i + half]) by the angle with cosine cos[i] and sine sin[i]; i in [0, half). */
    void (*rope)(float *x, const float *cos, const float *sin, uint32_t half);
    void (*add)(float *x, const float *y, uint32_t count);            /* x += y */
    void (*mul)(float *x, const float *y, uint32_t count);            /* x *= y */
    void (*scale)(float *x, float factor, uint32_t count);            /* x *= factor */
    void (*silu_mul)(float *gate, const float *up, uint32_t count);   /* gate = silu(gate) * up */
    /* gate = gelu(gate) * up, the tanh approximation: gate / (1 + e^(-2u)) * up with
     * u = (0.044715 gate^2 gate + gate) * sqrt(2 / pi), its first term as an fma. */
    void (*gelu_mul)(float *gate, const float *up, uint32_t count);
    /* gate = g / (1 + e^(-1.702 g)) * (u + 1), g = min(gate, 7), u = up held within [-7, 7]. */
    void (*clamped_mul)(float *gate, const float *up, uint32_t count);
    /* x = cap tanh(x / cap), as cap - 2 cap / (1 + e^(x * (2 / cap))). */
    void (*softcap)(float *x, float cap, uint32_t count);
    void (*exp)(float *x, uint32_t count);                            /* x = e^x */

    /* To F16, nearest even, held within the finite numbers (NaN becomes the smallest). */
    void (*to_f16)(const float *x, uint32_t count, uint16_t *out);

    /* scores[r * score_stride + t] = sum over d, ascending, of fma(q[r * q_stride + d],
     * k[d * k_stride + t]), t in [0, token_count), token_count a multiple of 16. */
    void (*attn_scores)(const float *q, size_t q_stride, uint32_t row_count, const uint16_t *k,
                        size_t k_stride, uint32_t token_count, uint32_t head_dim, float *scores,
                        size_t score_stride);
    /* scores[count], count a multiple of 16; bit t % 16 of mask[t / 16] says whether t counts.
     * Where it does: scores[t] = exp(scores[t] - *max), else 0. *sum: of the 16-lane tree. When
     * no bit is set: *max = -inf, *sum = 0, all scores 0. */
    void (*attn_softmax)(float *scores, uint32_t count, const uint16_t *mask, float *max,
                         float *sum);
    /* out[r * out_stride + d] += sum over t, ascending, of fma(p[r * p_stride + t],
     * v[t * head_dim + d]), t in [0, token_count). */
    void (*attn_values)(const float *p, size_t p_stride, uint32_t row_count, const uint16_t *v,
                        uint32_t token_count, uint32_t head_dim, float *out, size_t out_stride);
    /* out[i] = fma(y[i], b, out[i] * a) */
    void (*attn_merge)(float *out, float a, const float *y, float b, uint32_t count);
};

/* The table of the best level that this CPU has, or of the level PIE_SIMD names if that is lower;
 * the environment is read at the first call. */
const struct simd_table *simd_table_get(void);

/* The table of one level, NULL when this CPU lacks it (tests hold them against each other). */
const struct simd_table *simd_table_at(enum simd_level level);

/* ---- Numbers ------------------------------------------------------------------------------- */

float simd_f16_to_f32(uint16_t bits);
uint16_t simd_f32_to_f16(float value); /* nearest even; overflow gives infinity */
float simd_bf16_to_f32(uint16_t bits);

/* The same bits on every machine: e^x as the table's exp; ln, sin, cos, pow within 1 ulp (SLEEF's
 * deterministic scalar variants). */
float simd_expf(float x);
float simd_logf(float x);
double simd_log(double x);
double simd_exp(double x);
double simd_pow(double x, double y);
void simd_sincos(double x, double *sin, double *cos);

#endif
