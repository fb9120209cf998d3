// Prints random blocks of every weight format and ggml's values for them: the source of
// blocks.txt. Not part of the build; see README.md for the command. A line is
//   NAME hex-bytes-of-the-block value value ...   (C hexadecimal floats, exact)
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "ggml.h"

static uint64_t state = 42;

static uint32_t random_u32()
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

// The places of 16-bit scales in a block, kept finite and of ordinary size.
struct format {
    ggml_type type;
    int count, halves[2];
};

int main()
{
    const format formats[] = {
        {GGML_TYPE_F16, 1, {-1, -1}},    {GGML_TYPE_BF16, 1, {-1, -1}},
        {GGML_TYPE_Q4_0, 32, {0, -1}},   {GGML_TYPE_Q4_1, 32, {0, 2}},
        {GGML_TYPE_Q5_0, 32, {0, -1}},   {GGML_TYPE_Q5_1, 32, {0, 2}},
        {GGML_TYPE_Q8_0, 32, {0, -1}},   {GGML_TYPE_Q2_K, 256, {80, 82}},
        {GGML_TYPE_Q3_K, 256, {108, -1}}, {GGML_TYPE_Q4_K, 256, {0, 2}},
        {GGML_TYPE_Q5_K, 256, {0, 2}},   {GGML_TYPE_Q6_K, 256, {208, -1}},
        {GGML_TYPE_IQ4_NL, 32, {0, -1}}, {GGML_TYPE_IQ4_XS, 256, {0, -1}},
        {GGML_TYPE_MXFP4, 32, {-1, -1}},
    };
    for (const format &f : formats) {
        int repeats = f.count == 1 ? 24 : f.count == 32 ? 3 : 2;
        for (int r = 0; r < repeats; r++) {
            std::vector<uint8_t> block(ggml_type_size(f.type));
            std::vector<float> values(f.count);
            for (uint8_t &byte : block)
                byte = (uint8_t)random_u32();
            for (int at : f.halves)
                if (at >= 0) {
                    uint16_t half = (uint16_t)(0x2000 + random_u32() % 0x1000 + (random_u32() & 0x8000));
                    memcpy(&block[at], &half, 2);
                }
            if (f.type == GGML_TYPE_F16 && (block[1] & 0x7C) == 0x7C)
                block[1] ^= 0x40;
            if (f.type == GGML_TYPE_BF16 && (block[1] & 0x7F) == 0x7F)
                block[1] ^= 0x40;
            if (f.type == GGML_TYPE_MXFP4)
                block[0] = (uint8_t)(110 + random_u32() % 30);
            ggml_get_type_traits(f.type)->to_float(block.data(), values.data(), f.count);
            printf("%s ", ggml_type_name(f.type));
            for (uint8_t byte : block)
                printf("%02x", byte);
            for (float value : values)
                printf(" %a", (double)value);
            printf("\n");
        }
    }
    return 0;
}
