/* What simd/lanes_forms.h needs beyond lanes.h, two 256-bit registers. */
#ifndef SIMD_AVX2_LANES_FORMS_H
#define SIMD_AVX2_LANES_FORMS_H

#include "simd/avx2/lanes.h"

INLINE __m256i bit_to(__m256i bits, int from, int to)
{
    __m256i moved = from < to ? _mm256_slli_epi16(bits, to - from)
                              : _mm256_srli_epi16(bits, from - to);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)(1 << to)));
}
/* x with bit `to` of every byte set from bit `from` of `bits` */
INLINE struct vb vb_set_bit(struct vb x, struct vb bits, int from, int to)
{
    return (struct vb){_mm256_or_si256(x.a, bit_to(bits.a, from, to)),
                       _mm256_or_si256(x.b, bit_to(bits.b, from, to))};
}
/* bits 2j and 2j + 1 of every byte */
INLINE struct vb vb_pair(struct vb x, int j)
{
    __m256i mask = _mm256_set1_epi8(3);
    return (struct vb){_mm256_and_si256(_mm256_srli_epi16(x.a, 2 * j), mask),
                       _mm256_and_si256(_mm256_srli_epi16(x.b, 2 * j), mask)};
}
/* table[byte] for bytes below 16 */
INLINE struct vb vb_table(struct vb x, const uint8_t *table)
{
    __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (struct vb){_mm256_shuffle_epi8(values, x.a), _mm256_shuffle_epi8(values, x.b)};
}
INLINE __m256 scale_mxfp4(__m128i bytes)
{
    __m256i e = _mm256_cvtepu8_epi32(bytes), one = _mm256_set1_epi32(1);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    __m256i tiny = _mm256_slli_epi32(_mm256_add_epi32(_mm256_and_si256(e, one), one), 21);
    return _mm256_castsi256_ps(_mm256_max_epi32(normal, tiny));
}
/* simd_mxfp4_scale_bits of 16 bytes */
INLINE struct vf vf_from_mxfp4(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct vf){scale_mxfp4(bytes), scale_mxfp4(_mm_srli_si128(bytes, 8))};
}
/* The low nibbles of 16 bytes */
INLINE struct vf vf_from_low(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    bytes = _mm_and_si128(bytes, _mm_set1_epi8(15));
    return (struct vf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                       _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
INLINE __m256i high_pairs(__m128i first, __m128i second)
{
    __m256i a = _mm256_srli_epi32(_mm256_cvtepu8_epi32(first), 4);
    __m256i b = _mm256_srli_epi32(_mm256_cvtepu8_epi32(second), 4);
    return _mm256_or_si256(a, _mm256_slli_epi32(b, 16));
}
/* The high nibbles of p[0 .. 15] and of p[16 .. 31] as 16 pairs of 16-bit numbers */
INLINE struct vi vi_high_pairs(const uint8_t *p)
{
    const __m128i *at = (const __m128i *)(const void *)p;
    __m128i a = _mm_loadu_si128(at), b = _mm_loadu_si128(at + 1);
    return (struct vi){high_pairs(a, b), high_pairs(_mm_srli_si128(a, 8), _mm_srli_si128(b, 8))};
}
/* sum + lane's two 16-bit numbers . two int16 */
INLINE struct vi vi_dot_words(struct vi sum, struct vi x, const int16_t *q)
{
    int32_t both;
    memcpy(&both, q, 4);
    __m256i y = _mm256_set1_epi32(both);
    return (struct vi){_mm256_add_epi32(sum.a, _mm256_madd_epi16(x.a, y)),
                       _mm256_add_epi32(sum.b, _mm256_madd_epi16(x.b, y))};
}

#endif
