/* links: models/train
 * The trainer's arithmetic: right against double precision, and the same bits everywhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/train/ops.h"

static uint64_t random_state;

static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 40) / (1 << 23) - 1.0);
}

static float *random_floats(size_t count)
{
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = random_float();
    return x;
}

/* Every product equals one chain of fmaf in the order of the inner index. */
static void check_gemm(size_t m, size_t n, size_t k, bool a_turned, bool b_turned, bool add)
{
    float *a = random_floats(m * k), *b = random_floats(k * n), *c = random_floats(m * n);
    float *want = malloc(m * n * sizeof *want), *scratch = malloc(train_gemm_scratch(n, k) * sizeof *scratch);
    struct train_matrix left = a_turned ? train_columns(a, m) : train_rows(a, k);
    struct train_matrix right = b_turned ? train_columns(b, k) : train_rows(b, n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float sum = add ? c[i * n + j] : 0;
            for (size_t l = 0; l < k; l++)
                sum = fmaf(a[i * left.row + l * left.col], b[l * right.row + j * right.col], sum);
            want[i * n + j] = sum;
        }
    train_gemm(c, n, add, left, right, m, n, k, scratch);
    assert_memory_equal(c, want, m * n * sizeof *c);
    free(a);
    free(b);
    free(c);
    free(want);
    free(scratch);
}

static void products_are_one_chain(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},   {12, 32, 8},  {13, 33, 7},   {50, 64, 300},
                                      {97, 40, 5}, {5, 31, 513}, {24, 96, 257}, {3, 128, 64},
                                      {150, 70, 600}, {128, 33, 128}};
    for (int isa = TRAIN_ISA_PORTABLE; isa <= TRAIN_ISA_AVX512; isa++) {
        train_isa_limit((enum train_isa)isa);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (int kind = 0; kind < 8; kind++)
                check_gemm(sizes[i][0], sizes[i][1], sizes[i][2], kind & 1, kind & 2, kind & 4);
    }
}

enum { N = 77, OUTPUTS = 8 };

/* Runs all row functions on the same numbers and appends what they give. */
static size_t run_rows(float *out)
{
    random_state = 5;
    float *x = random_floats(N), *y = random_floats(N), *gain = random_floats(N);
    float *at = out;
    for (size_t i = 0; i < N; i++)
        x[i] *= 8;
    float inverse = train_rmsnorm(at, x, gain, N, 1e-5f);
    at += N;
    memset(at, 0, N * sizeof *at);
    train_rmsnorm_back(at, y, x, gain, N, inverse);
    at += N;
    memset(at, 0, N * sizeof *at);
    train_rmsnorm_back_gain(at, y, x, N, inverse);
    at += N;
    memcpy(at, x, N * sizeof *x);
    train_softmax(at, N, 0.3f);
    float *probs = at;
    at += N;
    memcpy(at, y, N * sizeof *y);
    train_softmax_back(at, probs, N, 0.3f);
    at += N;
    train_swiglu(at, x, y, N);
    at += N;
    train_swiglu_back(at, at + N, gain, x, y, N);
    at += 2 * N;
    memcpy(at, x, N * sizeof *x);
    *(at + N) = (float)train_cross_entropy(at, N, 7, 0.5f);
    at += N + 1;
    struct train_adam adam = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f,
                              .grad_scale = 0.7f, .correct_m = 10, .correct_v = 20};
    float *m = calloc(N, sizeof *m), *v = calloc(N, sizeof *v);
    memcpy(at, x, N * sizeof *x);
    train_adam_step(&adam, at, y, m, v, N);
    train_add(at, gain, N);
    at += N;
    *at++ = (float)train_sum_squares(x, N);
    free(m);
    free(v);
    free(x);
    free(y);
    free(gain);
    return (size_t)(at - out);
}

static void rows_have_the_same_bits_everywhere(void **state)
{
    (void)state;
    float want[16 * N], have[16 * N];
    train_isa_limit(TRAIN_ISA_PORTABLE);
    size_t count = run_rows(want);
    for (int isa = TRAIN_ISA_AVX2; isa <= TRAIN_ISA_AVX512; isa++) {
        train_isa_limit((enum train_isa)isa);
        assert_int_equal(run_rows(have), count);
        assert_memory_equal(have, want, count * sizeof *want);
    }
}

static void assert_close(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (fabs(want) + 1e-3)))
        fail_msg("%.9g is not within %g of %.9g", have, tolerance, want);
}

static void rows_are_right(void **state)
{
    (void)state;
    train_isa_limit(TRAIN_ISA_AVX512);
    random_state = 9;
    float *x = random_floats(N), *gate = random_floats(N), out[N];
    double squares = 0, sum = 0;
    for (size_t i = 0; i < N; i++) {
        squares += (double)x[i] * (double)x[i];
        sum += exp(2.0 * (double)x[i]);
    }
    train_rmsnorm(out, x, gate, N, 1e-5f);
    for (size_t i = 0; i < N; i++)
        assert_close((double)out[i], (double)x[i] * (double)gate[i] / sqrt(squares / N + 1e-5), 2e-6);
    memcpy(out, x, sizeof out);
    train_softmax(out, N, 2.0f);
    for (size_t i = 0; i < N; i++)
        assert_close((double)out[i], exp(2.0 * (double)x[i]) / sum, 2e-6);
    train_swiglu(out, gate, x, N);
    for (size_t i = 0; i < N; i++)
        assert_close((double)out[i], (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)x[i], 2e-6);
    memcpy(out, x, sizeof out);
    sum = 0;
    for (size_t i = 0; i < N; i++)
        sum += exp((double)x[i]);
    assert_close(train_cross_entropy(out, N, 3, 2.0f), log(sum) - (double)x[3], 2e-6);
    for (size_t i = 0; i < N; i++)
        assert_close((double)out[i], 2 * (exp((double)x[i]) / sum - (i == 3)), 4e-6);
    free(x);
    free(gate);
}

/* Logits far apart must not overflow, and what is out of reach counts as nothing. */
static void softmax_bears_extremes(void **state)
{
    (void)state;
    float x[4] = {-3e4f, 1e4f, 1e4f, -INFINITY};
    train_softmax(x, 4, 1.0f);
    assert_true(x[0] == 0 && x[1] == 0.5f && x[2] == 0.5f && x[3] == 0);
}

static void scalars_match_libm(void **state)
{
    (void)state;
    for (int i = -2000; i <= 2000; i++) {
        double x = i * 0.37, sine, cosine;
        train_sincos(x, &sine, &cosine);
        assert_true(fabs(sine - sin(x)) < 1e-12 && fabs(cosine - cos(x)) < 1e-12);
        double y = i * 0.0201;
        assert_true(fabs(train_exp2(y) / exp2(y) - 1) < 1e-14);
        assert_true(fabs(train_log2(exp2(y)) - y) < 1e-13 * (fabs(y) + 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_one_chain),
        cmocka_unit_test(rows_have_the_same_bits_everywhere),
        cmocka_unit_test(rows_are_right),
        cmocka_unit_test(softmax_bears_extremes),
        cmocka_unit_test(scalars_match_libm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
