/* links: simd
 * Block layouts against ggml's numbers (tests/vectors/blocks.txt), through unpacking and through
 * packing and the kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "simd/simd.h"

static const struct {
    const char *name;
    enum simd_type type;
    uint32_t count;
} formats[] = {
    {"f16", SIMD_F16, 1},       {"bf16", SIMD_BF16, 1},     {"q8_0", SIMD_Q8_0, 32},
    {"q4_0", SIMD_Q4_0, 32},    {"q4_K", SIMD_Q4_K, 256},   {"q6_K", SIMD_Q6_K, 256},
    {"q4_1", SIMD_Q4_1, 32},    {"q5_0", SIMD_Q5_0, 32},    {"q5_1", SIMD_Q5_1, 32},
    {"q2_K", SIMD_Q2_K, 256},   {"q3_K", SIMD_Q3_K, 256},   {"q5_K", SIMD_Q5_K, 256},
    {"iq4_nl", SIMD_IQ4_NL, 32}, {"iq4_xs", SIMD_IQ4_XS, 256}, {"mxfp4", SIMD_MXFP4, 32},
};

/* The value of every column out of the packed panel: the product with a row that is 1 in one
 * column and 0 elsewhere. */
static void check_packed(enum simd_type type, uint32_t count, const uint8_t *block,
                         const float *truth)
{
    static _Alignas(64) uint8_t panel[16384], act[4096];
    const uint8_t *rows[SIMD_LANES] = {[5] = block};
    simd_pack_panel(type, count, rows, panel);
    struct simd_weights w = {type, 16, count, simd_panel_bytes(type, count), panel};
    const struct simd_table *table = simd_table_get();
    assert_true(w.panel_bytes <= sizeof panel);
    for (uint32_t c = 0; c < count; c++) {
        float x[256] = {0}, y[16];
        x[c] = 127; /* scale 1 */
        table->quantize[simd_act_of(type)](x, count, act);
        table->matmul[type](&w, 0, 1, act, simd_act_bytes(simd_act_of(type), count), 1, y, 16);
        float off = y[5] - truth[c] * 127, size = truth[c] < 0 ? -truth[c] : truth[c];
        assert_true((off < 0 ? -off : off) <= size * 127 * 1e-5f + 1e-3f);
        for (unsigned lane = 0; lane < 16; lane++)
            assert_true(lane == 5 || y[lane] == 0);
    }
}

static void blocks_equal_ggml(void **state)
{
    (void)state;
    unsigned checked = 0;
    char name[20], hex[1000];
    FILE *file = fopen("tests/vectors/blocks.txt", "r");
    assert_non_null(file);
    while (fscanf(file, "%19s %999s", name, hex) == 2) {
        uint8_t block[300];
        float truth[256], values[256];
        size_t bytes = strlen(hex) / 2;
        unsigned f = 0, count = 0;
        for (size_t i = 0; i < bytes; i++) {
            const char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
            block[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
        while (count < 256 && fscanf(file, " %f", &truth[count]) == 1) {
            count++;
            int next = getc(file);
            if (next == '\n' || next == EOF)
                break;
        }
        while (f < sizeof formats / sizeof *formats && strcmp(name, formats[f].name) != 0)
            f++;
        if (f == sizeof formats / sizeof *formats)
            continue;
        assert_int_equal(count, formats[f].count);
        assert_int_equal(simd_row_bytes(formats[f].type, count), bytes);
        simd_unpack_row(formats[f].type, count, block, values);
        for (unsigned i = 0; i < count; i++) {
            float off = values[i] - truth[i], size = truth[i] < 0 ? -truth[i] : truth[i];
            if ((off < 0 ? -off : off) > size * 1e-6f)
                fail_msg("%s value %u: %a, ggml has %a", name, i, (double)values[i],
                         (double)truth[i]);
        }
        if (count > 1)
            check_packed(formats[f].type, count, block, truth);
        checked++;
    }
    (void)fclose(file);
    assert_int_equal(checked, 2 * 24 + 7 * 3 + 6 * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_equal_ggml)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
