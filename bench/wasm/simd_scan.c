/* A scanner of bytes: classes by two table look-ups, as simdjson's, then lines and words counted
 * from bit masks. */
#include "bench/wasm/v128.h"

enum { SS_BYTES = 16384 };
static uint8_t ss_text[SS_BYTES];

GUEST(simd_scan)
{
    static const uint8_t by_low[16] = {16, 0, 0, 0, 0, 0, 0, 0, 0, 8, 12, 1, 2, 9, 0, 0};
    static const uint8_t by_high[16] = {8, 0, 18, 4, 0, 1, 0, 1, 0, 0, 0, 3, 2, 1, 0, 0};
    static const char letters[] = "the quick \"brown\" fox: {jumps, [over]} the lazy\n dog 1234";
    uint32_t seed = 4, structures = 0, lines = 0, words = 0;
    for (int i = 0; i < SS_BYTES; i++)
        ss_text[i] = (uint8_t)letters[guest_random(&seed) % (sizeof letters - 1)];
    vec low = vec_load(by_low), high = vec_load(by_high), nibble = i8_splat(15);
    vec newline = i8_splat('\n'), space = i8_splat(' '), zero = i8_splat(0);
    for (int32_t round = 0; round < n; round++) {
        uint32_t before = 0;
        ss_text[round % SS_BYTES] = ' ';
        for (int i = 0; i < SS_BYTES; i += 16) {
            vec bytes = vec_load(&ss_text[i]);
            vec class_ = vec_and(u8_lookup(low, vec_and(bytes, nibble)),
                                 u8_lookup(high, u8_shr4(bytes)));
            uint32_t plain = i8_mask(i8_eq(class_, zero));
            structures += (uint32_t)__builtin_popcount(plain ^ 0xFFFF);
            lines += (uint32_t)__builtin_popcount(i8_mask(i8_eq(bytes, newline)));
            uint32_t blank = i8_mask(i8_eq(u8_max(bytes, space), space));
            words += (uint32_t)__builtin_popcount(blank & ~(blank << 1 | before));
            before = blank >> 15;
        }
    }
    return (int32_t)(structures * 7 + lines * 5 + words);
}
