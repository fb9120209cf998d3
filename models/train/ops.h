/* The arithmetic of training: a matrix product and the row functions of a transformer.
 *
 * Everything here gives the same bits on every CPU, and instruction set: each output
 * of a product is one chain of fused multiply-adds in the order of the inner index, row sums go
 * through 16 lanes and one fixed tree, and exp, sin and cos are polynomials of our own. */
#ifndef MODELS_TRAIN_OPS_H
#define MODELS_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The widest instruction set that train_gemm may use; for tests that compare them. */
enum train_isa { TRAIN_ISA_PORTABLE, TRAIN_ISA_AVX2, TRAIN_ISA_AVX512 };
/* Not thread-safe; call before computing. The default is the widest that the CPU has. Returns what
 * is in effect after the call (never more than the CPU can). */
enum train_isa train_isa_limit(enum train_isa widest);

/* A matrix in memory: element (r, c) is data[r * row + c * col]; borrowed. Strides swapped make
 * the transpose. */
struct train_matrix {
    const float *data;
    size_t row, col;
};

static inline struct train_matrix train_rows(const float *data, size_t columns)
{
    return (struct train_matrix){data, columns, 1};
}

static inline struct train_matrix train_columns(const float *data, size_t columns)
{
    return (struct train_matrix){data, 1, columns};
}

/* Floats of scratch that a product with `n` columns and inner size `k` needs; grows with both. */
size_t train_gemm_scratch(size_t n, size_t k);

/* c [m, n] with `c_row` floats between rows: c = a [m, k] times b [k, n], or c += with `add`.
 * `scratch` holds train_gemm_scratch(n, k) floats. c overlaps nothing. */
void train_gemm(float *c, size_t c_row, bool add, struct train_matrix a, struct train_matrix b,
                size_t m, size_t n, size_t k, float *scratch);

/* out [n] = gain [n] * x [n] / rms(x); returns 1 / rms. */
float train_rmsnorm(float *out, const float *x, const float *gain, size_t n, float eps);

/* dx [n] += the gradient through train_rmsnorm of one row, given dout [n] and what it returned. */
void train_rmsnorm_back(float *dx, const float *dout, const float *x, const float *gain,
                        size_t n, float inverse);

/* dgain [n] += dout * x * inverse. */
void train_rmsnorm_back_gain(float *dgain, const float *dout, const float *x, size_t n,
                             float inverse);

/* x[0..n) becomes softmax(scale * x). n is at least 1. */
void train_softmax(float *x, size_t n, float scale);

/* dp [n] becomes the gradient of the scores: scale * p * (dp - sum(p * dp)). */
void train_softmax_back(float *dp, const float *p, size_t n, float scale);

/* out [n] = silu(gate [n]) * up [n]. */
void train_swiglu(float *out, const float *gate, const float *up, size_t n);
/* dgate, dup [n] set from dout, gate, up. */
void train_swiglu_back(float *dgate, float *dup, const float *dout, const float *gate,
                       const float *up, size_t n);

/* Turns logits [n] into the gradient of the cross-entropy, weight * (softmax - onehot(target)),
 * and returns the loss -log softmax[target]. Probabilities under 1e-10 count as 0 in the gradient (sums of denormals
 * are slow and mean nothing). */
double train_cross_entropy(float *logits, size_t n, uint32_t target, float weight);

/* Adds src to dst. */
void train_add(float *dst, const float *src, size_t n);

/* AdamW on n parameters: `m`, `v` are the moments; `correct_m` = 1 / (1 - beta1^t), `correct_v` =
 * 1 / (1 - beta2^t); gradients are multiplied by `grad_scale` first. */
struct train_adam {
    float lr, beta1, beta2, eps, decay, grad_scale, correct_m, correct_v;
};
void train_adam_step(const struct train_adam *adam, float *params, const float *grads, float *m,
                     float *v, size_t n);

/* The sum of squares in double, through one fixed order. */
double train_sum_squares(const float *x, size_t n);

/* sin and cos of the same bits everywhere; |x| at most 1e4. */
void train_sincos(double x, double *sine, double *cosine);
/* 2^x for |x| at most 60, of the same bits everywhere. */
double train_exp2(double x);
/* log2 of a positive normal number, of the same bits everywhere. */
double train_log2(double x);

#endif
