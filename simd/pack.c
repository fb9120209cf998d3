/* Packing: from rows as files have them to panels of 16 rows, in which one vector load gives one
 * step of 16 rows.
 *
 * F32, F16, BF16: columns x [16 values].
 * Q8_0: [block][16 f16 scales], padded to 64; then per block of 32 columns 8 x [16 rows x 4
 *       columns] bytes, q + 128.
 * Q4_0: [block][16 f16 scales], padded to 64; then per block 4 x [16 x 4] bytes: the low nibbles of
 *       vector j are columns 4j .. 4j + 3, the high nibbles columns 16 + 4j ..; 0 .. 15 for -8 .. 7.
 * Q4_K: per block of 256 columns: 16 f16 d, 16 f16 dmin; 8 groups x [16 u8 scales]; 4 pairs of
 *       groups x [16 rows x 2 u8 mins]; then 8 groups of 32 columns as Q4_0's nibbles, 0 .. 15.
 * Q6_K: [block][16 f16 d], padded to 64; then per block of 256 columns: 16 groups x [16 int8
 *       scales]; 8 x (4 x [16 x 4] bytes of low nibbles as Q4_0's); 8 x (2 x [16 x 4] bytes of high
 *       bits: vector h, bits 2j and 2j + 1, belongs to columns 16h + 4j .. 16h + 4j + 3); 0 .. 63.
 * The other types: simd/forms.h. */
#include <string.h>

#include "engine/base/check.h"
#include "simd/forms.h"
#include "simd/simd.h"

struct format {
    uint32_t block_columns, row_block_bytes; /* as files have it */
    enum simd_act act;
};

static const struct format formats[SIMD_TYPE_COUNT] = {
    [SIMD_F32] = {1, 4, SIMD_ACT_F32},       [SIMD_F16] = {1, 2, SIMD_ACT_F32},
    [SIMD_BF16] = {1, 2, SIMD_ACT_F32},      [SIMD_Q8_0] = {32, 34, SIMD_ACT_Q32},
    [SIMD_Q4_0] = {32, 18, SIMD_ACT_Q32},    [SIMD_Q4_K] = {256, 144, SIMD_ACT_Q256},
    [SIMD_Q6_K] = {256, 210, SIMD_ACT_Q256},
    [SIMD_Q4_1] = {32, 20, SIMD_ACT_Q32},    [SIMD_Q5_0] = {32, 22, SIMD_ACT_Q32},
    [SIMD_Q5_1] = {32, 24, SIMD_ACT_Q32},    [SIMD_Q2_K] = {256, 84, SIMD_ACT_Q256},
    [SIMD_Q3_K] = {256, 110, SIMD_ACT_Q256}, [SIMD_Q5_K] = {256, 176, SIMD_ACT_Q256},
    [SIMD_IQ4_NL] = {32, 18, SIMD_ACT_Q32},  [SIMD_IQ4_XS] = {256, 136, SIMD_ACT_Q256},
    [SIMD_MXFP4] = {32, 17, SIMD_ACT_Q32},
};

enum simd_act simd_act_of(enum simd_type type)
{
    return formats[type].act;
}

size_t simd_row_bytes(enum simd_type type, uint32_t columns)
{
    CHECK(columns % formats[type].block_columns == 0);
    return (size_t)(columns / formats[type].block_columns) * formats[type].row_block_bytes;
}

size_t simd_panel_bytes(enum simd_type type, uint32_t columns)
{
    CHECK(columns % formats[type].block_columns == 0);
    size_t blocks = columns / formats[type].block_columns;
    switch (type) {
    case SIMD_F32: return simd_align64(blocks * 64);
    case SIMD_F16: case SIMD_BF16: return simd_align64(blocks * 32);
    case SIMD_Q8_0: return simd_align64(blocks * 32) + blocks * 512;
    case SIMD_Q4_0: return simd_align64(blocks * 32) + blocks * 256;
    case SIMD_Q4_K: return blocks * 2368;
    case SIMD_Q6_K: return simd_align64(blocks * 32) + blocks * 3328;
    case SIMD_Q4_1: case SIMD_Q5_0: case SIMD_Q5_1: case SIMD_Q2_K: case SIMD_Q3_K:
    case SIMD_Q5_K: case SIMD_IQ4_NL: case SIMD_IQ4_XS: case SIMD_MXFP4:
        return simd_form_values_at(type, blocks) + blocks * simd_form_block(type);
    case SIMD_TYPE_COUNT: break;
    }
    UNREACHABLE();
}

size_t simd_act_bytes(enum simd_act act, uint32_t columns)
{
    size_t n = columns;
    switch (act) {
    case SIMD_ACT_F32: return simd_align64(n * 4);
    case SIMD_ACT_Q32: return simd_align64(n) + 3 * simd_align64(n / 32 * 4);
    case SIMD_ACT_Q256:
        return simd_align64(n) + simd_align64(n / 256 * 4) + simd_align64(n / 16 * 4) +
               simd_align64(n / 32 * 2);
    case SIMD_ACT_COUNT: break;
    }
    UNREACHABLE();
}

/* ---- Single rows of a block ---------------------------------------------------------------- */

/* Nibbles of the Q4_K block in column order: each 32 bytes hold 32 columns in the low nibbles and
 * the next 32 in the high ones. */
static void q4k_values(const uint8_t *qs, uint8_t values[256])
{
    for (unsigned chunk = 0; chunk < 4; chunk++)
        for (unsigned i = 0; i < 32; i++) {
            values[chunk * 64 + i] = qs[chunk * 32 + i] & 15;
            values[chunk * 64 + 32 + i] = qs[chunk * 32 + i] >> 4;
        }
}

/* Six-bit values (0 .. 63) of a Q6_K block in column order: halves of 128 columns, each from 64
 * bytes of nibbles and 32 bytes of bit pairs, in four strides of 32 columns. */
static void q6k_values(const uint8_t *ql, const uint8_t *qh, uint8_t values[256])
{
    for (unsigned half = 0; half < 2; half++, ql += 64, qh += 32)
        for (unsigned i = 0; i < 32; i++) {
            uint8_t *out = values + half * 128 + i;
            out[0] = (uint8_t)((ql[i] & 15) | (qh[i] & 3) << 4);
            out[32] = (uint8_t)((ql[i + 32] & 15) | (qh[i] >> 2 & 3) << 4);
            out[64] = (uint8_t)((ql[i] >> 4) | (qh[i] >> 4 & 3) << 4);
            out[96] = (uint8_t)((ql[i + 32] >> 4) | (qh[i] >> 6) << 4);
        }
}

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return simd_f16_to_f32(bits);
}

void simd_unpack_row(enum simd_type type, uint32_t columns, const uint8_t *row, float *out)
{
    uint8_t values[256], scales[8], mins[8];
    for (uint32_t c = 0; c < columns; c += formats[type].block_columns) {
        switch (type) {
        case SIMD_F32: memcpy(out + c, row, 4); break;
        case SIMD_F16: out[c] = half_at(row); break;
        case SIMD_BF16: {
            uint16_t bits;
            memcpy(&bits, row, 2);
            out[c] = simd_bf16_to_f32(bits);
            break;
        }
        case SIMD_Q8_0:
            for (unsigned i = 0; i < 32; i++)
                out[c + i] = half_at(row) * (float)(int8_t)row[2 + i];
            break;
        case SIMD_Q4_0:
            for (unsigned i = 0; i < 16; i++) {
                out[c + i] = half_at(row) * (float)((row[2 + i] & 15) - 8);
                out[c + 16 + i] = half_at(row) * (float)((row[2 + i] >> 4) - 8);
            }
            break;
        case SIMD_Q4_K:
            simd_k_scales(row + 4, scales, mins);
            q4k_values(row + 16, values);
            for (unsigned i = 0; i < 256; i++)
                out[c + i] = half_at(row) * (float)scales[i / 32] * (float)values[i] -
                             half_at(row + 2) * (float)mins[i / 32];
            break;
        case SIMD_Q6_K:
            q6k_values(row, row + 128, values);
            for (unsigned i = 0; i < 256; i++)
                out[c + i] = half_at(row + 208) * (float)(int8_t)row[192 + i / 16] *
                             (float)(values[i] - 32);
            break;
        case SIMD_Q4_1: case SIMD_Q5_0: case SIMD_Q5_1: case SIMD_Q2_K: case SIMD_Q3_K:
        case SIMD_Q5_K: case SIMD_IQ4_NL: case SIMD_IQ4_XS: case SIMD_MXFP4:
            simd_form_unpack(type, row, out + c);
            break;
        case SIMD_TYPE_COUNT: UNREACHABLE();
        }
        row += formats[type].row_block_bytes;
    }
}

/* ---- Panels -------------------------------------------------------------------------------- */

/* Four columns of one row at a time, as the bytes of a word. */
static uint32_t word_at(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static void put_word(uint8_t *at, uint32_t word)
{
    memcpy(at, &word, 4);
}

static const uint32_t LOW = 0x0F0F0F0F, PAIR = 0x03030303;

static void pack_q8_0(size_t blocks, unsigned lane, const uint8_t *row, uint8_t *panel)
{
    uint8_t *q = panel + simd_align64(blocks * 32);
    for (size_t b = 0; b < blocks; b++, row += 34, q += 512) {
        memcpy(panel + b * 32 + lane * 2, row, 2);
        for (unsigned j = 0; j < 8; j++)
            put_word(q + j * 64 + lane * 4, word_at(row + 2 + j * 4) ^ 0x80808080);
    }
}

static void pack_q4_0(size_t blocks, unsigned lane, const uint8_t *row, uint8_t *panel)
{
    uint8_t *q = panel + simd_align64(blocks * 32);
    for (size_t b = 0; b < blocks; b++, row += 18, q += 256) {
        memcpy(panel + b * 32 + lane * 2, row, 2);
        /* The file's nibbles already pair column i with column i + 16. */
        for (unsigned j = 0; j < 4; j++)
            put_word(q + j * 64 + lane * 4, word_at(row + 2 + j * 4));
    }
}

static void pack_q4_k(size_t blocks, unsigned lane, const uint8_t *row, uint8_t *panel)
{
    for (size_t b = 0; b < blocks; b++, row += 144, panel += 2368) {
        uint8_t scales[8], mins[8], *q = panel + 320 + lane * 4;
        memcpy(panel + lane * 2, row, 2);
        memcpy(panel + 32 + lane * 2, row + 2, 2);
        simd_k_scales(row + 4, scales, mins);
        for (unsigned g = 0; g < 8; g++) {
            panel[64 + g * 16 + lane] = scales[g];
            panel[192 + g / 2 * 32 + lane * 2 + g % 2] = mins[g];
        }
        /* 32 bytes: their low nibbles are one group, their high nibbles the next. */
        for (unsigned chunk = 0; chunk < 4; chunk++, q += 512)
            for (unsigned j = 0; j < 4; j++) {
                uint32_t first = word_at(row + 16 + chunk * 32 + j * 4);
                uint32_t second = word_at(row + 16 + chunk * 32 + 16 + j * 4);
                put_word(q + j * 64, (first & LOW) | (second & LOW) << 4);
                put_word(q + 256 + j * 64, (first >> 4 & LOW) | (second & ~LOW));
            }
    }
}

/* Four six-bit columns from `i` on of a stride (see q6k_values): their nibbles and bit pairs. */
static uint32_t q6k_nibbles(const uint8_t *ql, unsigned stride, unsigned i)
{
    return word_at(ql + stride % 2 * 32 + i) >> (stride / 2 * 4) & LOW;
}

static uint32_t q6k_pairs(const uint8_t *qh, unsigned stride, unsigned i)
{
    return word_at(qh + i) >> (stride * 2) & PAIR;
}

static void pack_q6_k(size_t blocks, unsigned lane, const uint8_t *row, uint8_t *panel)
{
    uint8_t *block = panel + simd_align64(blocks * 32);
    for (size_t b = 0; b < blocks; b++, row += 210, block += 3328) {
        memcpy(panel + b * 32 + lane * 2, row + 208, 2);
        for (unsigned g = 0; g < 16; g++)
            block[g * 16 + lane] = row[192 + g];
        for (unsigned g = 0; g < 8; g++) {
            const uint8_t *ql = row + g / 4 * 64, *qh = row + 128 + g / 4 * 32;
            uint8_t *low = block + 256 + g * 256 + lane * 4;
            uint8_t *high = block + 2304 + g * 128 + lane * 4;
            for (unsigned j = 0; j < 4; j++)
                put_word(low + j * 64, q6k_nibbles(ql, g % 4, j * 4) |
                                           q6k_nibbles(ql, g % 4, 16 + j * 4) << 4);
            for (unsigned v = 0; v < 2; v++)
                put_word(high + v * 64, q6k_pairs(qh, g % 4, v * 16) |
                                            q6k_pairs(qh, g % 4, v * 16 + 4) << 2 |
                                            q6k_pairs(qh, g % 4, v * 16 + 8) << 4 |
                                            q6k_pairs(qh, g % 4, v * 16 + 12) << 6);
        }
    }
}

/* A missing row keeps scales of zero, which make its lane exactly 0 whatever the stored integers
 * mean. */
void simd_pack_panel(enum simd_type type, uint32_t columns, const uint8_t *const rows[SIMD_LANES],
                     uint8_t *panel)
{
    size_t blocks = columns / formats[type].block_columns;
    memset(panel, 0, simd_panel_bytes(type, columns));
    for (unsigned lane = 0; lane < SIMD_LANES; lane++) {
        const uint8_t *row = rows[lane];
        if (!row)
            continue;
        switch (type) {
        case SIMD_F32:
            for (uint32_t c = 0; c < columns; c++)
                memcpy(panel + (size_t)c * 64 + lane * 4, row + (size_t)c * 4, 4);
            break;
        case SIMD_F16: case SIMD_BF16:
            for (uint32_t c = 0; c < columns; c++)
                memcpy(panel + (size_t)c * 32 + lane * 2, row + (size_t)c * 2, 2);
            break;
        case SIMD_Q8_0: pack_q8_0(blocks, lane, row, panel); break;
        case SIMD_Q4_0: pack_q4_0(blocks, lane, row, panel); break;
        case SIMD_Q4_K: pack_q4_k(blocks, lane, row, panel); break;
        case SIMD_Q6_K: pack_q6_k(blocks, lane, row, panel); break;
        case SIMD_Q4_1: case SIMD_Q5_0: case SIMD_Q5_1: case SIMD_Q2_K: case SIMD_Q3_K:
        case SIMD_Q5_K: case SIMD_IQ4_NL: case SIMD_IQ4_XS: case SIMD_MXFP4:
            simd_form_pack(type, blocks, lane, row, panel);
            break;
        case SIMD_TYPE_COUNT: UNREACHABLE();
        }
    }
}
