#include "simd/forms.h"

#include <string.h>

#include "engine/base/check.h"

static const int8_t iq4_values[16] = {SIMD_IQ4_VALUES};
static const int8_t mxfp4_values[16] = {SIMD_MXFP4_VALUES};

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return simd_f16_to_f32(bits);
}

static uint32_t word_at(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static const uint32_t LOW = 0x0F0F0F0F, PAIR = 0x03030303, BIT = 0x01010101;

/* The first four have their six bits in bytes 0-3 and 4-7; the upper two bits of those bytes and
 * the nibbles of bytes 8-11 make the last four. */
void simd_k_scales(const uint8_t *packed, uint8_t scales[8], uint8_t mins[8])
{
    for (unsigned i = 0; i < 4; i++) {
        scales[i] = packed[i] & 63;
        mins[i] = packed[i + 4] & 63;
        scales[i + 4] = (uint8_t)((packed[i + 8] & 15) | (packed[i] >> 6) << 4);
        mins[i + 4] = (uint8_t)((packed[i + 8] >> 4) | (packed[i + 4] >> 6) << 4);
    }
}

/* The 16 six-bit scales of a Q3_K block: nibbles in bytes 0-7 (low ones first), then the upper
 * bit pairs. */
static void q3k_scales(const uint8_t *packed, int8_t scales[16])
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned low = packed[i % 8] >> (i / 8 * 4) & 15;
        unsigned high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
        scales[i] = (int8_t)((int)(low | high << 4) - 32);
    }
}

static void iq4xs_scales(const uint8_t *block, int8_t scales[8])
{
    unsigned high = block[2] | (unsigned)block[3] << 8;
    for (unsigned i = 0; i < 8; i++) {
        unsigned low = block[4 + i / 2] >> (i % 2 * 4) & 15;
        scales[i] = (int8_t)((int)(low | (high >> (2 * i) & 3) << 4) - 32);
    }
}

/* ---- A block's integers, in column order, four to a word ----------------------------------- */

/* 32 columns from 16 bytes: the low nibbles are the first half. */
static void nibble_words(const uint8_t *qs, uint32_t words[8])
{
    for (unsigned j = 0; j < 4; j++) {
        words[j] = word_at(qs + j * 4) & LOW;
        words[4 + j] = word_at(qs + j * 4) >> 4 & LOW;
    }
}

/* Sets the fifth bits of 32 columns from as many bits. */
static void fifth_bits(uint32_t bits, uint32_t words[8])
{
    /* The product puts bit i of four at bit 8 i. */
    for (unsigned k = 0; k < 8; k++)
        words[k] |= ((bits >> (4 * k) & 15) * 0x00204081u & BIT) << 4;
}

/* 64 columns from 32 bytes: the low nibbles are the first half. Bits `bit` and `bit + 1` of qh are
 * the fifth ones. */
static void q5k_words(const uint8_t *qs, const uint8_t *qh, unsigned bit, uint32_t words[16])
{
    for (unsigned j = 0; j < 8; j++) {
        uint32_t high = word_at(qh + j * 4);
        words[j] = (word_at(qs + j * 4) & LOW) | (high >> bit & BIT) << 4;
        words[8 + j] = (word_at(qs + j * 4) >> 4 & LOW) | (high >> (bit + 1) & BIT) << 4;
    }
}

/* 128 columns of two bits from 32 bytes, in four strides of 32. */
static void pair_words(const uint8_t *qs, uint32_t words[32])
{
    for (unsigned stride = 0; stride < 4; stride++)
        for (unsigned j = 0; j < 8; j++)
            words[stride * 8 + j] = word_at(qs + j * 4) >> (2 * stride) & PAIR;
}

/* All columns of the block, unsigned as stored (Q3_K: 0 .. 7 for -4 .. 3). */
static void block_words(enum simd_type type, const uint8_t *block, uint32_t words[64])
{
    switch (type) {
    case SIMD_Q4_1: nibble_words(block + 4, words); break;
    case SIMD_IQ4_NL: nibble_words(block + 2, words); break;
    case SIMD_MXFP4: nibble_words(block + 1, words); break;
    case SIMD_Q5_0:
        nibble_words(block + 6, words);
        fifth_bits(word_at(block + 2), words);
        break;
    case SIMD_Q5_1:
        nibble_words(block + 8, words);
        fifth_bits(word_at(block + 4), words);
        break;
    case SIMD_Q5_K:
        for (unsigned i = 0; i < 4; i++)
            q5k_words(block + 48 + i * 32, block + 16, 2 * i, words + i * 16);
        break;
    case SIMD_IQ4_XS:
        for (unsigned i = 0; i < 8; i++)
            nibble_words(block + 8 + i * 16, words + i * 8);
        break;
    case SIMD_Q2_K:
        pair_words(block + 16, words);
        pair_words(block + 48, words + 32);
        break;
    case SIMD_Q3_K:
        pair_words(block + 32, words);
        pair_words(block + 64, words + 32);
        for (unsigned i = 0; i < 64; i++) /* stride i / 8 has bit i / 8 of the mask */
            words[i] |= (word_at(block + i % 8 * 4) >> (i / 8) & BIT) << 2;
        break;
    default: UNREACHABLE();
    }
}

/* ---- To floats ----------------------------------------------------------------------------- */

void simd_form_unpack(enum simd_type type, const uint8_t *block, float *out)
{
    uint32_t words[64] = {0};
    uint8_t values[256], scales[8], mins[8];
    int8_t signed_scales[16];
    float d = half_at(block);
    block_words(type, block, words);
    memcpy(values, words, sizeof values);
    switch (type) {
    case SIMD_Q4_1: case SIMD_Q5_1:
        for (unsigned i = 0; i < 32; i++)
            out[i] = d * (float)values[i] + half_at(block + 2);
        break;
    case SIMD_Q5_0:
        for (unsigned i = 0; i < 32; i++)
            out[i] = d * (float)(values[i] - 16);
        break;
    case SIMD_IQ4_NL:
        for (unsigned i = 0; i < 32; i++)
            out[i] = d * (float)iq4_values[values[i]];
        break;
    case SIMD_MXFP4: {
        uint32_t bits = simd_mxfp4_scale_bits(block[0]);
        memcpy(&d, &bits, 4);
        for (unsigned i = 0; i < 32; i++)
            out[i] = d * (float)mxfp4_values[values[i]];
        break;
    }
    case SIMD_Q5_K:
        simd_k_scales(block + 4, scales, mins);
        for (unsigned i = 0; i < 256; i++)
            out[i] = d * (float)scales[i / 32] * (float)values[i] -
                     half_at(block + 2) * (float)mins[i / 32];
        break;
    case SIMD_IQ4_XS:
        iq4xs_scales(block, signed_scales);
        for (unsigned i = 0; i < 256; i++)
            out[i] = d * (float)signed_scales[i / 32] * (float)iq4_values[values[i]];
        break;
    case SIMD_Q2_K:
        for (unsigned i = 0; i < 256; i++)
            out[i] = half_at(block + 80) * (float)(block[i / 16] & 15) * (float)values[i] -
                     half_at(block + 82) * (float)(block[i / 16] >> 4);
        break;
    case SIMD_Q3_K:
        q3k_scales(block + 96, signed_scales);
        for (unsigned i = 0; i < 256; i++)
            out[i] = half_at(block + 108) * (float)signed_scales[i / 16] * (float)(values[i] - 4);
        break;
    default: UNREACHABLE();
    }
}

/* ---- To panels ----------------------------------------------------------------------------- */

static void put_word(uint8_t *at, uint32_t word)
{
    memcpy(at, &word, 4);
}

/* `at` is the lane's first word of the vectors. */
static void put_nibbles(const uint32_t words[8], uint8_t *at)
{
    for (unsigned j = 0; j < 4; j++)
        put_word(at + j * 64, (words[j] & LOW) | (words[4 + j] & LOW) << 4);
}

static void put_bits(const uint32_t words[8], unsigned bit, uint8_t *at)
{
    uint32_t sum = 0;
    for (unsigned k = 0; k < 8; k++)
        sum |= (words[k] >> bit & BIT) << k;
    put_word(at, sum);
}

static void put_pairs(const uint32_t words[4], uint8_t *at)
{
    put_word(at, (words[0] & PAIR) | (words[1] & PAIR) << 2 | (words[2] & PAIR) << 4 |
                     (words[3] & PAIR) << 6);
}

static void pack_block(enum simd_type type, const uint8_t *block, unsigned lane, uint8_t *head,
                       uint8_t *values)
{
    uint32_t words[64];
    uint8_t scales[8], mins[8], *at = values + lane * 4;
    int8_t signed_scales[16];
    block_words(type, block, words);
    switch (type) {
    case SIMD_Q4_1:
        memcpy(head + lane * 2, block, 2);
        memcpy(head + 32 + lane * 2, block + 2, 2);
        put_nibbles(words, at);
        break;
    case SIMD_Q5_1:
        memcpy(head + 32 + lane * 2, block + 2, 2);
        /* fall through */
    case SIMD_Q5_0:
        memcpy(head + lane * 2, block, 2);
        put_bits(words, 4, at);
        put_nibbles(words, at + 64);
        break;
    case SIMD_IQ4_NL:
        memcpy(head + lane * 2, block, 2);
        put_nibbles(words, at);
        break;
    case SIMD_MXFP4:
        head[lane] = block[0];
        put_nibbles(words, at);
        break;
    case SIMD_Q5_K:
        memcpy(values + lane * 2, block, 2);
        memcpy(values + 32 + lane * 2, block + 2, 2);
        simd_k_scales(block + 4, scales, mins);
        for (unsigned g = 0; g < 8; g++) {
            values[64 + g * 16 + lane] = scales[g];
            values[192 + g / 2 * 32 + lane * 2 + g % 2] = mins[g];
            put_bits(words + g * 8, 4, at + 320 + g * 320);
            put_nibbles(words + g * 8, at + 320 + g * 320 + 64);
        }
        break;
    case SIMD_IQ4_XS:
        memcpy(head + lane * 2, block, 2);
        iq4xs_scales(block, signed_scales);
        for (unsigned g = 0; g < 8; g++) {
            values[g * 16 + lane] = (uint8_t)signed_scales[g];
            put_nibbles(words + g * 8, at + 128 + g * 256);
        }
        break;
    case SIMD_Q2_K:
        memcpy(values + lane * 2, block + 80, 2);
        memcpy(values + 32 + lane * 2, block + 82, 2);
        for (unsigned g = 0; g < 16; g++) {
            values[64 + g * 16 + lane] = block[g];
            put_pairs(words + g * 4, at + 320 + g * 64);
        }
        break;
    case SIMD_Q3_K:
        memcpy(head + lane * 2, block + 108, 2);
        q3k_scales(block + 96, signed_scales);
        for (unsigned g = 0; g < 16; g++) {
            values[g * 16 + lane] = (uint8_t)signed_scales[g];
            put_pairs(words + g * 4, at + 256 + g / 2 * 192 + 64 + g % 2 * 64);
        }
        for (unsigned g = 0; g < 8; g++)
            put_bits(words + g * 8, 2, at + 256 + g * 192);
        break;
    default: UNREACHABLE();
    }
}

void simd_form_pack(enum simd_type type, size_t blocks, unsigned lane, const uint8_t *row,
                    uint8_t *panel)
{
    uint32_t columns = simd_act_of(type) == SIMD_ACT_Q32 ? 32 : 256;
    size_t row_block = simd_row_bytes(type, columns), head = simd_form_head(type);
    uint8_t *values = panel + simd_form_values_at(type, blocks);
    for (size_t b = 0; b < blocks; b++)
        pack_block(type, row + b * row_block, lane, panel + b * head,
                   values + b * simd_form_block(type));
}
