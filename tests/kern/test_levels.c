/* links: simd
 * Every kernel of every instruction set this CPU has, against the scalar kernel, bit for bit.
 * With --bench [LEVEL]: the speed of such products, per level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "simd/simd.h"

static uint64_t seed = 1;

static uint32_t random_u32(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

static float random_float(void)
{
    return (float)((int32_t)random_u32() >> 8) * (1.0f / 8388608.0f);
}

static void fill_floats(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = random_float() * (random_u32() % 16 == 0 ? 40.0f : 2.0f);
}

static uint16_t small_half(void)
{
    return simd_f32_to_f16(random_float() * 0.1f);
}

/* Where a quantised type's blocks have their scales (MXFP4: an exponent). */
static const struct {
    uint32_t columns, at[2]; /* equal: one scale */
} scales[SIMD_TYPE_COUNT] = {
    [SIMD_Q8_0] = {32, {0, 0}},     [SIMD_Q4_0] = {32, {0, 0}},    [SIMD_Q4_K] = {256, {0, 2}},
    [SIMD_Q6_K] = {256, {208, 208}}, [SIMD_Q4_1] = {32, {0, 2}},   [SIMD_Q5_0] = {32, {0, 0}},
    [SIMD_Q5_1] = {32, {0, 2}},     [SIMD_Q2_K] = {256, {80, 82}}, [SIMD_Q3_K] = {256, {108, 108}},
    [SIMD_Q5_K] = {256, {0, 2}},    [SIMD_IQ4_NL] = {32, {0, 0}},  [SIMD_IQ4_XS] = {256, {0, 0}},
    [SIMD_MXFP4] = {32, {0, 0}},
};

static void fill_scales(enum simd_type type, uint32_t columns, uint8_t *row)
{
    uint32_t block = scales[type].columns;
    size_t bytes = simd_row_bytes(type, block);
    for (uint32_t b = 0; b < columns / block; b++) {
        if (type == SIMD_MXFP4)
            row[b * bytes] = (uint8_t)(b % 32 == 31 ? random_u32() % 2 : 115 + random_u32() % 12);
        for (unsigned i = 0; i < 2 && type != SIMD_MXFP4; i++) {
            uint16_t half = small_half();
            memcpy(row + b * bytes + scales[type].at[i], &half, 2);
        }
    }
}

/* A row as files have it: random bits everywhere but in the scales, which stay finite. */
static void fill_row(enum simd_type type, uint32_t columns, uint8_t *row)
{
    size_t bytes = simd_row_bytes(type, columns);
    for (size_t i = 0; i < bytes; i++)
        row[i] = (uint8_t)random_u32();
    uint16_t half;
    switch (type) {
    case SIMD_F32:
        for (uint32_t c = 0; c < columns; c++) {
            float value = random_float();
            memcpy(row + c * 4, &value, 4);
        }
        break;
    case SIMD_F16:
        for (uint32_t c = 0; c < columns; c++) {
            half = small_half();
            memcpy(row + c * 2, &half, 2);
        }
        break;
    case SIMD_BF16:
        for (uint32_t c = 0; c < columns; c++) {
            float value = random_float();
            memcpy(row + c * 2, (char *)&value + 2, 2);
        }
        break;
    default: fill_scales(type, columns, row);
    }
}

struct problem {
    struct simd_weights w;
    uint8_t *panels, *raw;
    float *x;      /* [acts][columns] */
    uint8_t *acts; /* in the type's format */
    size_t act_stride;
    uint32_t act_count;
};

static struct problem problem_make(enum simd_type type, uint32_t rows, uint32_t columns,
                                   uint32_t act_count)
{
    struct problem p = {.act_count = act_count};
    size_t row_bytes = simd_row_bytes(type, columns), panel = simd_panel_bytes(type, columns);
    p.raw = mem_map(row_bytes * rows);
    p.panels = mem_map(panel * simd_panel_count(rows));
    p.w = (struct simd_weights){type, rows, columns, panel, p.panels};
    for (uint32_t r = 0; r < rows; r++)
        fill_row(type, columns, p.raw + r * row_bytes);
    for (uint32_t i = 0; i < simd_panel_count(rows); i++) {
        const uint8_t *pointers[SIMD_LANES];
        for (uint32_t lane = 0; lane < SIMD_LANES; lane++)
            pointers[lane] =
                i * 16 + lane < rows ? p.raw + (i * 16 + lane) * row_bytes : NULL;
        simd_pack_panel(type, columns, pointers, p.panels + i * panel);
    }
    enum simd_act act = simd_act_of(type);
    p.act_stride = simd_act_bytes(act, columns);
    p.x = mem_map((size_t)act_count * columns * 4);
    p.acts = mem_map(p.act_stride * act_count);
    fill_floats(p.x, (size_t)act_count * columns);
    for (uint32_t a = 0; a < act_count; a++)
        simd_table_at(SIMD_SCALAR)->quantize[act](p.x + (size_t)a * columns, columns,
                                                  p.acts + a * p.act_stride);
    return p;
}

static void problem_free(struct problem *p)
{
    size_t rows = p->w.rows, row_bytes = simd_row_bytes(p->w.type, p->w.columns);
    mem_unmap(p->raw, row_bytes * rows);
    mem_unmap(p->panels, p->w.panel_bytes * simd_panel_count(p->w.rows));
    mem_unmap(p->x, (size_t)p->act_count * p->w.columns * 4);
    mem_unmap(p->acts, p->act_stride * p->act_count);
}

static const char *const type_names[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K",
                                         "Q6_K", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q5_K",
                                         "IQ4_NL", "IQ4_XS", "MXFP4"};

/* The levels' kernels on one problem; some columns of y are beyond the panels and stay as they
 * were. */
static void compare_levels(const struct problem *p)
{
    uint32_t panels = simd_panel_count(p->w.rows);
    size_t stride = panels * 16 + 3, bytes = stride * p->act_count * 4;
    float *truth = malloc(bytes), *y = malloc(bytes);
    memset(truth, 0x55, bytes);
    simd_table_at(SIMD_SCALAR)->matmul[p->w.type](&p->w, 0, panels, p->acts, p->act_stride,
                                                  p->act_count, truth, stride);
    for (int level = SIMD_SCALAR + 1; level < SIMD_LEVEL_COUNT; level++) {
        const struct simd_table *table = simd_table_at((enum simd_level)level);
        if (!table)
            continue;
        memset(y, 0x55, bytes);
        uint32_t cut = panels / 3;
        table->matmul[p->w.type](&p->w, 0, cut, p->acts, p->act_stride, p->act_count, y, stride);
        table->matmul[p->w.type](&p->w, cut, panels, p->acts, p->act_stride, p->act_count, y,
                                 stride);
        if (memcmp(y, truth, bytes) != 0) {
            size_t at = 0;
            while (memcmp(&y[at], &truth[at], 4) == 0)
                at++;
            fail_msg("%s %s rows %u columns %u acts %u: y[%zu][%zu] = %.9g, expected %.9g",
                     table->name, type_names[p->w.type], p->w.rows, p->w.columns, p->act_count,
                     at / stride, at % stride, (double)y[at], (double)truth[at]);
        }
    }
    free(truth);
    free(y);
}

static void products_equal_scalar(void **state)
{
    (void)state;
    static const uint32_t act_counts[] = {1,  2,  3,  4,  5,  7,  8,  11, 12,
                                           13, 16, 17, 24, 25, 29, 32, 48, 57};
    for (int type = 0; type < SIMD_TYPE_COUNT; type++) {
        uint32_t block = simd_act_of((enum simd_type)type) == SIMD_ACT_F32   ? 1
                         : simd_act_of((enum simd_type)type) == SIMD_ACT_Q32 ? 32
                                                                             : 256;
        for (unsigned i = 0; i < sizeof act_counts / sizeof *act_counts; i++) {
            uint32_t rows = 16 * (1 + random_u32() % 6) - random_u32() % 9;
            uint32_t columns = block == 1    ? 1 + random_u32() % 200
                               : block == 32 ? 32 * (1 + random_u32() % 40)
                                             : 256 * (1 + random_u32() % 5);
            struct problem p = problem_make((enum simd_type)type, rows, columns, act_counts[i]);
            compare_levels(&p);
            problem_free(&p);
        }
    }
}

/* Extremes of the integers: all weights and activations at the ends of their ranges. */
static void integer_extremes(void **state)
{
    (void)state;
    for (int type = SIMD_Q8_0; type < SIMD_TYPE_COUNT; type++)
        for (unsigned pattern = 0; pattern < 4; pattern++) {
            struct problem p = problem_make((enum simd_type)type, 16, 512, 3);
            size_t bytes = simd_row_bytes(p.w.type, 512);
            for (unsigned r = 0; r < 16; r++) {
                uint8_t *row = p.raw + r * bytes;
                uint8_t keep[2000];
                memcpy(keep, row, bytes);
                memset(row, pattern & 1 ? 0xFF : type == SIMD_Q8_0 ? 0x80 : 0x00, bytes);
                uint32_t block = scales[type].columns;
                size_t block_bytes = simd_row_bytes(p.w.type, block);
                for (unsigned b = 0; b < 512 / block; b++)
                    for (unsigned k = 0; k < 2; k++)
                        memcpy(row + b * block_bytes + scales[type].at[k],
                               keep + b * block_bytes + scales[type].at[k],
                               type == SIMD_MXFP4 ? 1 : 2);
            }
            const uint8_t *rows[16];
            for (unsigned r = 0; r < 16; r++)
                rows[r] = p.raw + r * bytes;
            simd_pack_panel(p.w.type, 512, rows, p.panels);
            for (unsigned i = 0; i < 3 * 512; i++)
                p.x[i] = pattern & 2 ? -1.0f : i % 2 ? 1.0f : -1.0f;
            for (unsigned a = 0; a < 3; a++)
                simd_table_at(SIMD_SCALAR)->quantize[simd_act_of(p.w.type)](
                    p.x + a * 512, 512, p.acts + a * p.act_stride);
            compare_levels(&p);
            problem_free(&p);
        }
}

/* Each row of a product must not depend on its company. */
static void rows_stand_alone(void **state)
{
    (void)state;
    for (int type = 0; type < SIMD_TYPE_COUNT; type++)
        for (int level = 0; level < SIMD_LEVEL_COUNT; level++) {
            const struct simd_table *table = simd_table_at((enum simd_level)level);
            if (!table)
                continue;
            struct problem p = problem_make((enum simd_type)type, 80, 256, 15);
            float together[15 * 80], alone[80];
            table->matmul[type](&p.w, 0, 5, p.acts, p.act_stride, 15, together, 80);
            for (uint32_t a = 0; a < 15; a++) {
                table->matmul[type](&p.w, 0, 5, p.acts + a * p.act_stride, p.act_stride, 1, alone,
                                    80);
                assert_memory_equal(alone, together + a * 80, sizeof alone);
            }
            problem_free(&p);
        }
}

/* The product against plain arithmetic over the unpacked row: int8 activations are within half a
 * step of the true ones. */
static void products_are_right(void **state)
{
    (void)state;
    for (int type = 0; type < SIMD_TYPE_COUNT; type++) {
        struct problem p = problem_make((enum simd_type)type, 37, 512, 2);
        float y[2 * 48], row[512];
        simd_table_get()->matmul[type](&p.w, 0, 3, p.acts, p.act_stride, 2, y, 48);
        for (uint32_t r = 0; r < 37; r++) {
            simd_unpack_row(p.w.type, 512, p.raw + r * simd_row_bytes(p.w.type, 512), row);
            for (uint32_t a = 0; a < 2; a++) {
                double truth = 0, allowed = 1e-4;
                for (uint32_t c = 0; c < 512; c++) {
                    double exact = (double)row[c] * (double)p.x[a * 512 + c];
                    truth += exact;
                    double step = simd_act_of(p.w.type) == SIMD_ACT_F32 ? 1e-6 : 40.0 / 127;
                    allowed += step * (row[c] < 0 ? -(double)row[c] : (double)row[c]) * 0.15;
                }
                double off = truth - (double)y[a * 48 + r];
                if (off > allowed || off < -allowed)
                    fail_msg("%s row %u: %g, expected %g", type_names[type], r,
                             (double)y[a * 48 + r], truth);
            }
        }
        for (uint32_t r = 37; r < 48; r++)
            assert_true(y[r] == 0);
        problem_free(&p);
    }
}

static const uint32_t counts[] = {1, 2, 7, 8, 15, 16, 17, 31, 64, 100, 172, 256, 1000};

static void row_kernels_equal_scalar(void **state)
{
    (void)state;
    const struct simd_table *scalar = simd_table_at(SIMD_SCALAR);
    float a[1024], b[1024], c[1024], s[1024], x[1024], y[1024];
    uint16_t h[1024], g[1024];
    for (int level = SIMD_SCALAR + 1; level < SIMD_LEVEL_COUNT; level++) {
        const struct simd_table *table = simd_table_at((enum simd_level)level);
        if (!table)
            continue;
        for (unsigned i = 0; i < 13 * 8; i++) {
            uint32_t n = counts[i % 13];
            fill_floats(a, 1024), fill_floats(b, 1024), fill_floats(c, 1024), fill_floats(s, 1024);
            if (i % 4 == 1)
                a[random_u32() % n] = -0.0f, a[random_u32() % n] = 1e30f;
            if (i % 4 == 2)
                a[random_u32() % n] = -200.0f, a[random_u32() % n] = 1e-41f;
#define BOTH(call_scalar, call_level)                                                        \
    memcpy(x, a, sizeof a), memcpy(y, a, sizeof a);                                          \
    call_scalar, call_level;                                                                 \
    assert_memory_equal(x, y, sizeof x)
            BOTH(scalar->rmsnorm(x, b, 1e-6f, n, x), table->rmsnorm(y, b, 1e-6f, n, y));
            BOTH(scalar->rope(x, c, s, n / 2), table->rope(y, c, s, n / 2));
            BOTH(scalar->add(x, b, n), table->add(y, b, n));
            BOTH(scalar->mul(x, b, n), table->mul(y, b, n));
            BOTH(scalar->scale(x, 0.37f, n), table->scale(y, 0.37f, n));
            BOTH(scalar->silu_mul(x, b, n), table->silu_mul(y, b, n));
            BOTH(scalar->gelu_mul(x, b, n), table->gelu_mul(y, b, n));
            BOTH(scalar->clamped_mul(x, b, n), table->clamped_mul(y, b, n));
            BOTH(scalar->softcap(x, 30.0f, n), table->softcap(y, 30.0f, n));
            BOTH(scalar->exp(x, n), table->exp(y, n));
            BOTH(scalar->attn_merge(x, 0.3f, b, 0.7f, n), table->attn_merge(y, 0.3f, b, 0.7f, n));
            memset(h, 7, sizeof h), memset(g, 7, sizeof g);
            scalar->to_f16(a, n, h), table->to_f16(a, n, g);
            assert_memory_equal(h, g, sizeof h);
        }
        for (int act = 0; act < SIMD_ACT_COUNT; act++)
            for (unsigned i = 0; i < 20; i++) {
                static _Alignas(64) uint8_t p[8192], q[8192];
                memset(p, 0, sizeof p), memset(q, 0, sizeof q);
                fill_floats(a, 1024);
                if (i == 3)
                    memset(a, 0, sizeof a);
                if (i == 4)
                    a[5] = 1e38f, a[40] = -3e38f, a[300] = 1e-40f;
                scalar->quantize[act](a, 768, p), table->quantize[act](a, 768, q);
                assert_memory_equal(p, q, sizeof p);
            }
    }
}

static void attention_equals_scalar(void **state)
{
    (void)state;
    const struct simd_table *scalar = simd_table_at(SIMD_SCALAR);
    static const uint32_t dims[] = {8, 16, 24, 40, 64, 80, 128};
    enum { ROWS = 19, TOKENS = 64 };
    static float q[ROWS * 128], s1[ROWS * TOKENS], s2[ROWS * TOKENS], o1[ROWS * 128],
        o2[ROWS * 128];
    static uint16_t k[128 * TOKENS], v[TOKENS * 128];
    for (int level = SIMD_SCALAR + 1; level < SIMD_LEVEL_COUNT; level++) {
        const struct simd_table *table = simd_table_at((enum simd_level)level);
        for (unsigned i = 0; table && i < 7 * ROWS; i++) {
            uint32_t dim = dims[i % 7], rows = 1 + i % ROWS, tokens = 16 * (1 + i % 4);
            fill_floats(q, ROWS * 128);
            for (unsigned j = 0; j < 128 * TOKENS; j++)
                k[j] = small_half(), v[j] = small_half();
            scalar->attn_scores(q, 128, rows, k, TOKENS, tokens, dim, s1, TOKENS);
            table->attn_scores(q, 128, rows, k, TOKENS, tokens, dim, s2, TOKENS);
            assert_memory_equal(s1, s2, sizeof s1);
            for (uint32_t r = 0; r < rows; r++) {
                uint16_t mask[4];
                float m1, m2, t1, t2;
                for (unsigned w = 0; w < 4; w++)
                    mask[w] = i % 5 == 0 ? 0 : (uint16_t)(random_u32() & random_u32());
                scalar->attn_softmax(s1 + r * TOKENS, tokens, mask, &m1, &t1);
                table->attn_softmax(s2 + r * TOKENS, tokens, mask, &m2, &t2);
                assert_memory_equal(&m1, &m2, 4);
                assert_memory_equal(&t1, &t2, 4);
                if (i % 5 == 0)
                    assert_true(t1 == 0);
            }
            assert_memory_equal(s1, s2, sizeof s1);
            fill_floats(o1, ROWS * 128);
            memcpy(o2, o1, sizeof o1);
            scalar->attn_values(s1, TOKENS, rows, v, tokens - i % 7, dim, o1, 128);
            table->attn_values(s2, TOKENS, rows, v, tokens - i % 7, dim, o2, 128);
            assert_memory_equal(o1, o2, sizeof o1);
        }
    }
}

static void halves_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        if ((bits & 0x7C00) == 0x7C00 && (bits & 0x3FF))
            continue;
        assert_int_equal(simd_f32_to_f16(simd_f16_to_f32((uint16_t)bits)), bits);
    }
    assert_int_equal(simd_f32_to_f16(65519.0f), 0x7BFF);
    assert_int_equal(simd_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(simd_f32_to_f16(0x1.002p-14f), 0x0400);  /* ties to even */
    assert_int_equal(simd_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(simd_f32_to_f16(0x1.8p-24f), 2);
    /* Against the CPU's own conversion, where there is one. */
    const struct simd_table *table = simd_table_at(SIMD_AVX2);
    for (uint32_t i = 0; table && i < 200000; i++) {
        uint32_t bits = random_u32() & 0x8FFFFFFF;
        bits |= (100 + random_u32() % 43) << 23 & 0x7F800000;
        float value;
        uint16_t half;
        memcpy(&value, &bits, 4);
        if (value > 65504 || value < -65504)
            continue;
        table->to_f16(&value, 1, &half);
        assert_int_equal(simd_f32_to_f16(value), half);
    }
}

static void exp_is_accurate(void **state)
{
    (void)state;
    for (int i = -10400; i <= 8800; i++) {
        float x = (float)i * 0.01f;
        double truth = simd_exp((double)x), got = (double)simd_expf(x);
        double off = truth - got;
        assert_true((off < 0 ? -off : off) <= truth * 1.3e-7 + 1e-45);
    }
    assert_true(simd_expf(0) == 1.0f);
    assert_true(simd_expf(-1000) == 0);
    assert_true(simd_expf(1000) > 3e38f);
}

static void bench(const char *only)
{
    static const uint32_t act_counts[] = {1, 2, 4, 8, 16, 64, 512};
    for (int level = SIMD_SCALAR + 1; level < SIMD_LEVEL_COUNT; level++) {
        const struct simd_table *table = simd_table_at((enum simd_level)level);
        if (!table || (only && strcmp(only, table->name) != 0))
            continue;
        for (int type = 0; type < SIMD_TYPE_COUNT; type++) {
            printf("%-7s %-5s 1024 x 3072, Gop/s at", table->name, type_names[type]);
            struct problem p = problem_make((enum simd_type)type, 3072, 1024, 512);
            float *y = mem_map(512 * 3072 * 4);
            for (unsigned i = 0; i < sizeof act_counts / sizeof *act_counts; i++) {
                double best = 0;
                for (int run = 0; run < 5; run++) {
                    uint64_t begin = clock_now_ns();
                    unsigned times = 1 + 256 / act_counts[i];
                    for (unsigned t = 0; t < times; t++)
                        table->matmul[type](&p.w, 0, 192, p.acts, p.act_stride, act_counts[i], y,
                                            3072);
                    double seconds = (double)(clock_now_ns() - begin) * 1e-9;
                    double speed = 2e-9 * 1024 * 3072 * act_counts[i] * times / seconds;
                    best = speed > best ? speed : best;
                }
                printf("  %u: %.0f", act_counts[i], best);
                fflush(stdout);
            }
            printf("\n");
            mem_unmap(y, 512 * 3072 * 4);
            problem_free(&p);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench(argc > 2 ? argv[2] : NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_trip),        cmocka_unit_test(exp_is_accurate),
        cmocka_unit_test(products_are_right),       cmocka_unit_test(products_equal_scalar),
        cmocka_unit_test(integer_extremes),         cmocka_unit_test(rows_stand_alone),
        cmocka_unit_test(row_kernels_equal_scalar), cmocka_unit_test(attention_equals_scalar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
