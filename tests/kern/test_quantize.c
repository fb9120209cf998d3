/* links: simd
 * Quantising against ggml's bytes (tests/vectors/quantize.txt, made by ggml_quantize.cpp). */
#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simd/simd.h"

enum { COLUMNS = 512 };

static uint64_t state;

static float random_float(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(uint32_t)(state >> 32) >> 8) / 8388608.0f;
}

/* As in ggml_quantize.cpp. */
static void fill(int row, float *x)
{
    state = (uint64_t)row;
    memset(x, 0, COLUMNS * sizeof *x);
    for (unsigned i = 0; i < COLUMNS && row != 6; i++) {
        float a = random_float(), b = random_float(), c = random_float();
        x[i] = row == 0   ? a * 0.05f
               : row == 1 ? (a + b + c) * 0.02f
               : row == 2 ? a * b * c * 0.5f
               : row == 3 ? (a + b + c) * (i % 64 == 7 ? 3 : 0.1f)
               : row == 4 ? 0.3f + a * 0.01f
               : row == 5 ? (i / 32 % 3 == 0 ? 0 : a * 1e-6f)
                          : (float)(int)(a * 20) * 0.125f;
    }
}

static const struct {
    const char *name;
    enum simd_type type;
} types[] = {{"q8_0", SIMD_Q8_0}, {"q4_0", SIMD_Q4_0}, {"q4_K", SIMD_Q4_K}, {"q6_K", SIMD_Q6_K},
             {"bf16", SIMD_BF16}};

static void bytes_equal_ggml(void **data)
{
    (void)data;
    FILE *file = fopen("tests/vectors/quantize.txt", "r");
    assert_non_null(file);
    char name[20], hex[2100];
    int row;
    unsigned checked = 0;
    while (fscanf(file, "%19s %d %2099s", name, &row, hex) == 3) {
        float x[COLUMNS];
        uint8_t out[COLUMNS * 4];
        unsigned t = 0;
        while (strcmp(types[t].name, name) != 0)
            assert_true(++t < sizeof types / sizeof *types);
        size_t bytes = simd_row_bytes(types[t].type, COLUMNS);
        assert_int_equal(strlen(hex), bytes * 2);
        fill(row, x);
        assert_true(simd_quantize_row(types[t].type, COLUMNS, x, out));
        for (size_t i = 0; i < bytes; i++) {
            const char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
            if (out[i] != strtoul(pair, NULL, 16))
                fail_msg("%s row %d: byte %zu is %02x, ggml has %s", name, row, i, out[i], pair);
        }
        checked++;
    }
    (void)fclose(file);
    assert_int_equal(checked, 5 * 8);
}

/* Whatever the floats are, nothing breaks; what is no format to write is refused. */
static void strange_numbers(void **data)
{
    (void)data;
    float x[COLUMNS];
    uint8_t out[COLUMNS * 4];
    for (unsigned i = 0; i < COLUMNS; i++)
        x[i] = i % 7 == 0 ? NAN : i % 7 == 1 ? INFINITY : i % 7 == 2 ? -INFINITY : 1e38f;
    for (int type = 0; type < SIMD_TYPE_COUNT; type++) {
        bool known = type <= SIMD_Q6_K;
        assert_int_equal(simd_quantize_row((enum simd_type)type, COLUMNS, x, out), known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_equal_ggml),
                                       cmocka_unit_test(strange_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
