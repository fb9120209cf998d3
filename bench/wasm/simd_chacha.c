/* ChaCha20: a block of key stream at a time, a row of the state in a vector. */
#include "bench/wasm/v128.h"

GUEST(simd_chacha)
{
    static const uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 1, 2, 3, 4,
                                       5, 6, 7, 8, 0, 9, 10, 11};
    vec row0 = vec_load(start), row1 = vec_load(start + 4), row2 = vec_load(start + 8);
    vec row3 = vec_load(start + 12), check = i32_splat(0);
    for (int32_t block = 0; block < n; block++) {
        vec a = row0, b = row1, c = row2, d = row3;
        for (int round = 0; round < 10; round++) {
#define CHACHA_QUARTERS                  \
    a = i32_add(a, b), d = vec_xor(d, a); \
    d = i32_rotl(d, 16);                 \
    c = i32_add(c, d), b = vec_xor(b, c); \
    b = i32_rotl(b, 12);                 \
    a = i32_add(a, b), d = vec_xor(d, a); \
    d = i32_rotl(d, 8);                  \
    c = i32_add(c, d), b = vec_xor(b, c); \
    b = i32_rotl(b, 7);
            CHACHA_QUARTERS
            b = i32_rot1(b), c = i32_rot2(c), d = i32_rot3(d);
            CHACHA_QUARTERS
            b = i32_rot3(b), c = i32_rot2(c), d = i32_rot1(d);
#undef CHACHA_QUARTERS
        }
        a = i32_add(a, row0), b = i32_add(b, row1), c = i32_add(c, row2), d = i32_add(d, row3);
        check = vec_xor(check, vec_xor(vec_xor(a, b), i32_add(c, d)));
        row3 = i32_add(row3, vec_and(i32_splat(1), vec_xor(row0, row0)));
        row2 = i32_add(row2, i32_splat(block));
    }
    return i32_sum(check);
}
