// Prints what ggml makes of rows of floats: the source of quantize.txt. Not part of the build; see
// forward/README.md for the command. A line is NAME ROW hex-bytes. tests/kern/test_quantize.c makes
// the same floats.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "ggml.h"

static uint64_t state;

static float random_float()
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(uint32_t)(state >> 32) >> 8) / 8388608.0f;
}

static void fill(int row, std::vector<float> &x)
{
    state = (uint64_t)row;
    for (float &v : x)
        v = 0;
    for (size_t i = 0; i < x.size() && row != 6; i++) {
        float a = random_float(), b = random_float(), c = random_float();
        x[i] = row == 0   ? a * 0.05f                              // uniform
               : row == 1 ? (a + b + c) * 0.02f                    // about normal
               : row == 2 ? a * b * c * 0.5f                       // long tails
               : row == 3 ? (a + b + c) * (i % 64 == 7 ? 3 : 0.1f) // outliers
               : row == 4 ? 0.3f + a * 0.01f                       // all positive
               : row == 5 ? (i / 32 % 3 == 0 ? 0 : a * 1e-6f)      // empty groups, tiny values
                          : (float)(int)(a * 20) * 0.125f;         // ties
    }
}

int main()
{
    const ggml_type types[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K,
                               GGML_TYPE_BF16};
    std::vector<float> x(512);
    for (ggml_type type : types)
        for (int row = 0; row < 8; row++) {
            fill(row, x);
            std::vector<uint8_t> out(ggml_row_size(type, 512));
            ggml_quantize_chunk(type, x.data(), out.data(), 0, 1, 512, nullptr);
            printf("%s %d ", ggml_type_name(type), row);
            for (uint8_t byte : out)
                printf("%02x", byte);
            printf("\n");
        }
    return 0;
}
