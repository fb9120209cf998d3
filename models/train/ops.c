#include "models/train/ops.h"

#include <math.h>
#include <string.h>

#include "engine/base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    PANEL = 32,     /* columns of b that are packed together */
    K_BLOCK = 256,  /* inner indices per pass over a panel: 32 KiB of b */
    ROW_GROUP = 48, /* rows of c that are done together where it matters */
    TURNED = 128,   /* rows and inner size from which a turned matrix is worth copying */
    LANES = 16,     /* partial sums of a row */
};

/* ---- matrix product ---- */

/* One tile: c [rows, PANEL] (+)= a [rows, k] * b [k, PANEL], b packed. */
typedef void (*tile_fn)(float *c, size_t c_row, bool add, const float *a, size_t a_row,
                        size_t a_col, const float *b, size_t k);

struct tiles {
    size_t rows; /* of the large tile */
    tile_fn large, middle, single; /* rows, 4 and 1 */
};

#define TILE_BODY(rows, vectors, vector, zero, load, store, broadcast, fma, width)              \
    vector sum[rows][vectors];                                                                  \
    _Pragma("GCC unroll 16") for (size_t r = 0; r < (rows); r++)                                \
        _Pragma("GCC unroll 16") for (size_t j = 0; j < (vectors); j++)                         \
            sum[r][j] = add ? load(c + r * c_row + j * (width)) : zero();                       \
    for (size_t i = 0; i < k; i++) {                                                            \
        vector column[vectors];                                                                 \
        _Pragma("GCC unroll 16") for (size_t j = 0; j < (vectors); j++)                         \
            column[j] = load(b + i * PANEL + j * (width));                                      \
        _Pragma("GCC unroll 16") for (size_t r = 0; r < (rows); r++)                            \
        {                                                                                       \
            vector value = broadcast(a[r * a_row + i * a_col]);                                 \
            _Pragma("GCC unroll 16") for (size_t j = 0; j < (vectors); j++)                     \
                sum[r][j] = fma(value, column[j], sum[r][j]);                                   \
        }                                                                                       \
    }                                                                                           \
    _Pragma("GCC unroll 16") for (size_t r = 0; r < (rows); r++)                                \
        _Pragma("GCC unroll 16") for (size_t j = 0; j < (vectors); j++)                         \
            store(c + r * c_row + j * (width), sum[r][j]);

#define TILE_ARGUMENTS                                                                          \
    float *c, size_t c_row, bool add, const float *a, size_t a_row, size_t a_col,               \
        const float *b, size_t k

static void tile_portable(TILE_ARGUMENTS)
{
    (void)c_row, (void)a_row;
    float sum[PANEL];
    for (size_t j = 0; j < PANEL; j++)
        sum[j] = add ? c[j] : 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < PANEL; j++)
            sum[j] = fmaf(a[i * a_col], b[i * PANEL + j], sum[j]);
    memcpy(c, sum, sizeof sum);
}

static const struct tiles tiles_portable = {1, tile_portable, NULL, tile_portable};

#if defined(__x86_64__)
#define DEFINE_512(name, rows)                                                                   \
    __attribute__((target("avx512f"))) static void name(TILE_ARGUMENTS)                          \
    {                                                                                            \
        TILE_BODY(rows, 2, __m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps,         \
                  _mm512_set1_ps, _mm512_fmadd_ps, 16)                                           \
    }
DEFINE_512(tile_512_12, 12)
DEFINE_512(tile_512_4, 4)
DEFINE_512(tile_512_1, 1)
static const struct tiles tiles_512 = {12, tile_512_12, tile_512_4, tile_512_1};

/* 16 registers: 6 rows of half a panel fill them. */
#define DEFINE_256(name, rows)                                                                   \
    __attribute__((target("avx2,fma"))) static void name##_half(TILE_ARGUMENTS)                  \
    {                                                                                            \
        TILE_BODY(rows, 2, __m256, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps,         \
                  _mm256_set1_ps, _mm256_fmadd_ps, 8)                                            \
    }                                                                                            \
    static void name(TILE_ARGUMENTS)                                                             \
    {                                                                                            \
        name##_half(c, c_row, add, a, a_row, a_col, b, k);                                       \
        name##_half(c + PANEL / 2, c_row, add, a, a_row, a_col, b + PANEL / 2, k);               \
    }
DEFINE_256(tile_256_6, 6)
DEFINE_256(tile_256_4, 4)
DEFINE_256(tile_256_1, 1)
static const struct tiles tiles_256 = {6, tile_256_6, tile_256_4, tile_256_1};
#endif

static enum train_isa isa_limit = TRAIN_ISA_AVX512;

static enum train_isa isa(void)
{
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa_limit >= TRAIN_ISA_AVX512 && avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return TRAIN_ISA_AVX512;
    if (isa_limit >= TRAIN_ISA_AVX2 && avx2)
        return TRAIN_ISA_AVX2;
#endif
    return TRAIN_ISA_PORTABLE;
}

enum train_isa train_isa_limit(enum train_isa widest)
{
    isa_limit = widest;
    return isa();
}

static const struct tiles *tiles_get(void)
{
#if defined(__x86_64__)
    switch (isa()) {
    case TRAIN_ISA_AVX512:
        return &tiles_512;
    case TRAIN_ISA_AVX2:
        return &tiles_256;
    case TRAIN_ISA_PORTABLE:
        break;
    }
#endif
    return &tiles_portable;
}

size_t train_gemm_scratch(size_t n, size_t k)
{
    size_t straight = PANEL * k, turned = ((n + PANEL - 1) / PANEL * PANEL + ROW_GROUP) * K_BLOCK;
    return straight > turned ? straight : turned;
}

/* Columns [begin, begin + width) of b as [k, PANEL], zeros beyond them. */
static void pack_panel(float *packed, struct train_matrix b, size_t begin, size_t width, size_t k)
{
    const float *from = b.data + begin * b.col;
    if (width < PANEL)
        memset(packed, 0, k * PANEL * sizeof *packed);
    if (b.col == 1) {
        for (size_t i = 0; i < k; i++)
            memcpy(packed + i * PANEL, from + i * b.row, width * sizeof *packed);
        return;
    }
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < k; i++)
            packed[i * PANEL + j] = from[j * b.col + i * b.row];
}

/* Rows [begin, end) of one panel of c. */
static void compute_rows(const struct tiles *tiles, float *c, size_t c_row, bool add,
                         struct train_matrix a, const float *packed, size_t begin, size_t end,
                         size_t k)
{
    for (size_t k0 = 0; k0 < k; k0 += K_BLOCK) {
        size_t count = k - k0 < K_BLOCK ? k - k0 : K_BLOCK;
        const float *b = packed + k0 * PANEL;
        for (size_t r = begin; r < end;) {
            size_t left = end - r, rows = 1;
            tile_fn tile = tiles->single;
            if (left >= tiles->rows) {
                rows = tiles->rows;
                tile = tiles->large;
            } else if (left >= 4 && tiles->middle) {
                rows = 4;
                tile = tiles->middle;
            }
            tile(c + r * c_row, c_row, add || k0, a.data + r * a.row + k0 * a.col, a.row, a.col,
                 b, count);
            r += rows;
        }
    }
}

/* The same where the panel has fewer than PANEL columns: through a square of our own. */
static void compute_narrow(const struct tiles *tiles, float *c, size_t c_row, size_t width,
                           bool add, struct train_matrix a, const float *packed, size_t begin,
                           size_t end, size_t k)
{
    float block[ROW_GROUP * PANEL] = {0};
    if (add)
        for (size_t r = begin; r < end; r++)
            memcpy(block + (r - begin) * PANEL, c + r * c_row, width * sizeof *c);
    struct train_matrix rows = {a.data + begin * a.row, a.row, a.col};
    compute_rows(tiles, block, PANEL, add, rows, packed, 0, end - begin, k);
    for (size_t r = begin; r < end; r++)
        memcpy(c + r * c_row, block + (r - begin) * PANEL, width * sizeof *c);
}

/* One panel of c, `width` columns, rows [begin, end). */
static void compute_panel(const struct tiles *tiles, float *c, size_t c_row, size_t width, bool add,
                          struct train_matrix a, const float *packed, size_t begin, size_t end,
                          size_t k)
{
    if (width == PANEL) {
        compute_rows(tiles, c, c_row, add, a, packed, begin, end, k);
        return;
    }
    for (; begin < end; begin += ROW_GROUP)
        compute_narrow(tiles, c, c_row, width, add, a, packed, begin,
                       end - begin < ROW_GROUP ? end : begin + ROW_GROUP, k);
}

static size_t panel_width(size_t n, size_t column)
{
    return n - column < PANEL ? n - column : PANEL;
}

/* a lies turned: a row of c would walk over it in long steps, with a cache miss at each. So a block
 * of it is copied first, and all of c's panels are done with that. */
static void multiply_turned(float *c, size_t c_row, bool add, struct train_matrix a,
                            struct train_matrix b, size_t m, size_t n, size_t k, float *scratch)
{
    const struct tiles *tiles = tiles_get();
    float *block = scratch, *packed = scratch + ROW_GROUP * K_BLOCK;
    for (size_t k0 = 0; k0 < k; k0 += K_BLOCK) {
        size_t count = k - k0 < K_BLOCK ? k - k0 : K_BLOCK;
        struct train_matrix b_rows = {b.data + k0 * b.row, b.row, b.col};
        for (size_t column = 0; column < n; column += PANEL)
            pack_panel(packed + column * count, b_rows, column, panel_width(n, column), count);
        for (size_t r = 0; r < m; r += ROW_GROUP) {
            size_t rows = m - r < ROW_GROUP ? m - r : ROW_GROUP;
            for (size_t i = 0; i < count; i++)
                memcpy(block + i * ROW_GROUP, a.data + (k0 + i) * a.col + r, rows * sizeof *block);
            struct train_matrix copied = {block, 1, ROW_GROUP};
            for (size_t column = 0; column < n; column += PANEL)
                compute_panel(tiles, c + r * c_row + column, c_row, panel_width(n, column),
                              add || k0, copied, packed + column * count, 0, rows, count);
        }
    }
}

void train_gemm(float *c, size_t c_row, bool add, struct train_matrix a, struct train_matrix b,
                size_t m, size_t n, size_t k, float *scratch)
{
    if (a.row == 1 && m >= TURNED && k >= TURNED) {
        multiply_turned(c, c_row, add, a, b, m, n, k, scratch);
        return;
    }
    const struct tiles *tiles = tiles_get();
    for (size_t column = 0; column < n; column += PANEL) {
        pack_panel(scratch, b, column, panel_width(n, column), k);
        compute_panel(tiles, c + column, c_row, panel_width(n, column), add, a, scratch, 0, m, k);
    }
}

/* ---- rows ---- */

struct rows {
    float (*rmsnorm)(float *, const float *, const float *, size_t, float);
    void (*rmsnorm_back)(float *, const float *, const float *, const float *, size_t, float);
    void (*rmsnorm_back_gain)(float *, const float *, const float *, size_t, float);
    void (*softmax)(float *, size_t, float);
    void (*softmax_back)(float *, const float *, size_t, float);
    void (*swiglu)(float *, const float *, const float *, size_t);
    void (*swiglu_back)(float *, float *, const float *, const float *, const float *, size_t);
    float (*cross_entropy)(float *, size_t, uint32_t, float);
    void (*add)(float *, const float *, size_t);
    void (*adam_step)(const struct train_adam *, float *, const float *, float *, float *, size_t);
    double (*sum_squares)(const float *, size_t);
};

#define NAME(name) name##_portable
#include "models/train/rows.inc"
#undef NAME

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAME(name) name##_avx2
#include "models/train/rows.inc"
#undef NAME
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#define NAME(name) name##_avx512
#include "models/train/rows.inc"
#undef NAME
#pragma GCC pop_options
#endif

static const struct rows *rows_get(void)
{
#if defined(__x86_64__)
    switch (isa()) {
    case TRAIN_ISA_AVX512:
        return &rows_avx512;
    case TRAIN_ISA_AVX2:
        return &rows_avx2;
    case TRAIN_ISA_PORTABLE:
        break;
    }
#endif
    return &rows_portable;
}

float train_rmsnorm(float *out, const float *x, const float *gain, size_t n, float eps)
{
    return rows_get()->rmsnorm(out, x, gain, n, eps);
}

void train_rmsnorm_back(float *dx, const float *dout, const float *x, const float *gain, size_t n,
                        float inverse)
{
    rows_get()->rmsnorm_back(dx, dout, x, gain, n, inverse);
}

void train_rmsnorm_back_gain(float *dgain, const float *dout, const float *x, size_t n,
                             float inverse)
{
    rows_get()->rmsnorm_back_gain(dgain, dout, x, n, inverse);
}

void train_softmax(float *x, size_t n, float scale)
{
    rows_get()->softmax(x, n, scale);
}

void train_softmax_back(float *dp, const float *p, size_t n, float scale)
{
    rows_get()->softmax_back(dp, p, n, scale);
}

void train_swiglu(float *out, const float *gate, const float *up, size_t n)
{
    rows_get()->swiglu(out, gate, up, n);
}

void train_swiglu_back(float *dgate, float *dup, const float *dout, const float *gate,
                       const float *up, size_t n)
{
    rows_get()->swiglu_back(dgate, dup, dout, gate, up, n);
}

double train_cross_entropy(float *logits, size_t n, uint32_t target, float weight)
{
    CHECK(target < n);
    return (double)rows_get()->cross_entropy(logits, n, target, weight);
}

void train_add(float *dst, const float *src, size_t n)
{
    rows_get()->add(dst, src, n);
}

void train_adam_step(const struct train_adam *adam, float *params, const float *grads, float *m,
                     float *v, size_t n)
{
    rows_get()->adam_step(adam, params, grads, m, v, n);
}

double train_sum_squares(const float *x, size_t n)
{
    return rows_get()->sum_squares(x, n);
}

/* ---- scalars ---- */

static double sine_series(double x)
{
    double square = x * x, term = x, sum = x;
    for (int i = 1; i < 14; i++) {
        term *= -square / ((2.0 * i) * (2.0 * i + 1.0));
        sum += term;
    }
    return sum;
}

void train_sincos(double x, double *sine, double *cosine)
{
    const double turn = 6.283185307179586, quarter = 1.5707963267948966;
    double rest = x - turn * floor(x / turn + 0.5); /* in [-pi, pi] */
    /* The series is best near 0: fold into [-pi/2, pi/2]. */
    double folded = rest > quarter ? 2 * quarter - rest : rest < -quarter ? -2 * quarter - rest : rest;
    *sine = sine_series(folded);
    double shifted = quarter - fabs(rest); /* cos(x) = sin(pi/2 - |x|), in [-pi/2, pi/2] */
    *cosine = sine_series(shifted);
}

double train_exp2(double x)
{
    double whole = floor(x), rest = (x - whole) * 0.6931471805599453, term = 1, sum = 1;
    for (int i = 1; i < 20; i++) {
        term *= rest / i;
        sum += term;
    }
    return ldexp(sum, (int)whole);
}

double train_log2(double x)
{
    int exponent;
    double fraction = frexp(x, &exponent); /* [0.5, 1) */
    double z = (fraction - 1) / (fraction + 1), square = z * z, power = z, sum = 0;
    for (int i = 1; i < 40; i += 2) {
        sum += power / i;
        power *= square;
    }
    return exponent + 2 * sum / 0.6931471805599453;
}
