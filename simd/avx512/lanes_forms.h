/* What simd/lanes_forms.h needs beyond lanes.h, one 512-bit register. */
#ifndef SIMD_AVX512_LANES_FORMS_H
#define SIMD_AVX512_LANES_FORMS_H

#include "simd/avx512/lanes.h"

/* x with bit `to` of every byte set from bit `from` of `bits` */
INLINE struct vb vb_set_bit(struct vb x, struct vb bits, int from, int to)
{
    __m512i moved = from < to ? _mm512_slli_epi16(bits.v, to - from)
                              : _mm512_srli_epi16(bits.v, from - to);
    __m512i mask = _mm512_set1_epi8((char)(1 << to));
    return (struct vb){_mm512_ternarylogic_epi32(x.v, moved, mask, 0xF8)}; /* x | (moved & mask) */
}
/* bits 2j and 2j + 1 of every byte */
INLINE struct vb vb_pair(struct vb x, int j)
{
    return (struct vb){_mm512_and_si512(_mm512_srli_epi16(x.v, 2 * j),
                                        _mm512_set1_epi8(3))};
}
/* table[byte] for bytes below 16 */
INLINE struct vb vb_table(struct vb x, const uint8_t *table)
{
    __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (struct vb){_mm512_shuffle_epi8(values, x.v)};
}
/* simd_mxfp4_scale_bits of 16 bytes */
INLINE struct vf vf_from_mxfp4(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512i one = _mm512_set1_epi32(1);
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    __m512i tiny = _mm512_slli_epi32(_mm512_add_epi32(_mm512_and_si512(e, one), one), 21);
    return (struct vf){_mm512_castsi512_ps(_mm512_max_epi32(normal, tiny))};
}
/* The low nibbles of 16 bytes */
INLINE struct vf vf_from_low(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    bytes = _mm_and_si128(bytes, _mm_set1_epi8(15));
    return (struct vf){_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
}
/* The high nibbles of p[0 .. 15] and of p[16 .. 31] as 16 pairs of 16-bit numbers */
INLINE struct vi vi_high_pairs(const uint8_t *p)
{
    const __m128i *at = (const __m128i *)(const void *)p;
    __m512i a = _mm512_srli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(at)), 4);
    __m512i b = _mm512_srli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(at + 1)), 4);
    return (struct vi){_mm512_or_si512(a, _mm512_slli_epi32(b, 16))};
}
/* sum + lane's two 16-bit numbers . two int16 */
INLINE struct vi vi_dot_words(struct vi sum, struct vi x, const int16_t *q)
{
    int32_t both;
    memcpy(&both, q, 4);
    __m512i y = _mm512_set1_epi32(both);
#if defined(__AVX512VNNI__)
    return (struct vi){_mm512_dpwssd_epi32(sum.v, x.v, y)};
#else
    return (struct vi){_mm512_add_epi32(sum.v, _mm512_madd_epi16(x.v, y))};
#endif
}

#endif
