/* Dot products of signed bytes, as quantised weights want them. */
#include "bench/wasm/v128.h"

enum { SD_ROWS = 64, SD_COLUMNS = 512 };
static int8_t sd_weights[SD_ROWS][SD_COLUMNS], sd_input[SD_COLUMNS];

GUEST(simd_dot)
{
    uint32_t seed = 9;
    for (int i = 0; i < SD_ROWS; i++)
        for (int k = 0; k < SD_COLUMNS; k++)
            sd_weights[i][k] = (int8_t)guest_random(&seed);
    for (int k = 0; k < SD_COLUMNS; k++)
        sd_input[k] = (int8_t)guest_random(&seed);
    uint32_t sum = 0;
    for (int32_t round = 0; round < n; round++) {
        sd_input[round % SD_COLUMNS] = (int8_t)round;
        for (int i = 0; i < SD_ROWS; i++) {
            vec low = i32_splat(0), high = low;
            for (int k = 0; k < SD_COLUMNS; k += 16) {
                vec w = vec_load(&sd_weights[i][k]), x = vec_load(&sd_input[k]);
                low = i32_add(low, i16_dot(i16_low(w), i16_low(x)));
                high = i32_add(high, i16_dot(i16_high(w), i16_high(x)));
            }
            sum = sum * 3 + (uint32_t)i32_sum(i32_add(low, high));
        }
    }
    return (int32_t)sum;
}
