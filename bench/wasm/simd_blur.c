/* A picture of bytes: 3 by 3 blur by rounding averages, then the edges by saturating differences. */
#include "bench/wasm/v128.h"

enum { SB_SIDE = 256 };
static uint8_t sb_picture[2][SB_SIDE + 2][SB_SIDE + 32];

GUEST(simd_blur)
{
    uint32_t seed = 3;
    for (int y = 0; y < SB_SIDE + 2; y++)
        for (int x = 0; x < SB_SIDE + 32; x++)
            sb_picture[0][y][x] = (uint8_t)guest_random(&seed);
    vec bias = i8_splat(3);
    for (int32_t round = 0; round < n; round++) {
        uint8_t(*from)[SB_SIDE + 32] = sb_picture[round & 1];
        uint8_t(*to)[SB_SIDE + 32] = sb_picture[~round & 1];
        for (int y = 1; y <= SB_SIDE; y++)
            for (int x = 1; x <= SB_SIDE; x += 16) {
                vec up = u8_avg(vec_load(&from[y - 1][x - 1]), vec_load(&from[y - 1][x + 1]));
                vec down = u8_avg(vec_load(&from[y + 1][x - 1]), vec_load(&from[y + 1][x + 1]));
                vec side = u8_avg(vec_load(&from[y][x - 1]), vec_load(&from[y][x + 1]));
                vec here = vec_load(&from[y][x]);
                vec blurred = u8_avg(u8_avg(up, down), u8_avg(side, here));
                vec edge = vec_or(u8_sub_sat(here, blurred), u8_sub_sat(blurred, here));
                vec_store(&to[y][x], u8_add_sat(blurred, u8_sub_sat(edge, bias)));
            }
    }
    uint32_t sum = 0;
    for (int y = 1; y <= SB_SIDE; y++)
        for (int x = 1; x <= SB_SIDE; x++)
            sum = sum * 31 + sb_picture[n & 1][y][x];
    return (int32_t)sum;
}
