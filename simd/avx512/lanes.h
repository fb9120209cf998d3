/* The 16 lanes of simd/lanes_kernels.h as one 512-bit register. */
#ifndef SIMD_AVX512_LANES_H
#define SIMD_AVX512_LANES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

struct vf { __m512 v; };
struct vi { __m512i v; };
struct vb { __m512i v; }; /* [16 lanes][4 bytes] */

INLINE struct vf vf_zero(void) { return (struct vf){_mm512_setzero_ps()}; }
INLINE struct vf vf_set1(float x) { return (struct vf){_mm512_set1_ps(x)}; }
INLINE struct vf vf_load(const float *p) { return (struct vf){_mm512_loadu_ps(p)}; }
INLINE void vf_store(float *p, struct vf x) { _mm512_storeu_ps(p, x.v); }
INLINE __mmask16 first_lanes(uint32_t count) { return (__mmask16)((1u << count) - 1); }
INLINE struct vf vf_load_part(const float *p, uint32_t count)
{
    return (struct vf){_mm512_maskz_loadu_ps(first_lanes(count), p)};
}
INLINE void vf_store_part(float *p, uint32_t count, struct vf x)
{
    _mm512_mask_storeu_ps(p, first_lanes(count), x.v);
}
INLINE struct vf vf_load_f16(const void *p)
{
    return (struct vf){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p))};
}
INLINE struct vf vf_load_f16_part(const uint16_t *p, uint32_t count)
{
    return (struct vf){_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), p))};
}
INLINE struct vf vf_load_bf16(const void *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (struct vf){_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
INLINE void vf_store_f16_part(uint16_t *p, uint32_t count, struct vf x)
{
    _mm256_mask_storeu_epi16(p, first_lanes(count),
                             _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE struct vf vf_from_u8(const uint8_t *p)
{
    return (struct vf){_mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)))};
}
INLINE struct vf vf_from_i8(const uint8_t *p)
{
    return (struct vf){_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)))};
}
INLINE struct vf vf_add(struct vf x, struct vf y) { return (struct vf){_mm512_add_ps(x.v, y.v)}; }
INLINE struct vf vf_sub(struct vf x, struct vf y) { return (struct vf){_mm512_sub_ps(x.v, y.v)}; }
INLINE struct vf vf_mul(struct vf x, struct vf y) { return (struct vf){_mm512_mul_ps(x.v, y.v)}; }
INLINE struct vf vf_div(struct vf x, struct vf y) { return (struct vf){_mm512_div_ps(x.v, y.v)}; }
INLINE struct vf vf_max(struct vf x, struct vf y) { return (struct vf){_mm512_max_ps(x.v, y.v)}; }
INLINE struct vf vf_min(struct vf x, struct vf y) { return (struct vf){_mm512_min_ps(x.v, y.v)}; }
INLINE struct vf vf_abs(struct vf x) { return (struct vf){_mm512_abs_ps(x.v)}; }
/* x * y + z, and z - x * y. */
INLINE struct vf vf_fma(struct vf x, struct vf y, struct vf z)
{
    return (struct vf){_mm512_fmadd_ps(x.v, y.v, z.v)};
}
INLINE struct vf vf_fnma(struct vf x, struct vf y, struct vf z)
{
    return (struct vf){_mm512_fnmadd_ps(x.v, y.v, z.v)};
}
/* Lanes whose bit is set, zero elsewhere; or the other's lanes elsewhere. */
INLINE struct vf vf_keep(uint16_t bits, struct vf x)
{
    return (struct vf){_mm512_maskz_mov_ps(bits, x.v)};
}
INLINE struct vf vf_choose(uint16_t bits, struct vf x, struct vf otherwise)
{
    return (struct vf){_mm512_mask_mov_ps(otherwise.v, bits, x.v)};
}
INLINE float vf_tree_add(struct vf x)
{
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
INLINE float vf_tree_max(struct vf x)
{
    __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}
/* p * 2^n for the n that `shifted` (= n + magic) carries in its low bits, in two exact steps. */
INLINE struct vf vf_times_2n(struct vf p, struct vf shifted, float magic)
{
    __m512i n = _mm512_sub_epi32(_mm512_castps_si512(shifted.v),
                                 _mm512_castps_si512(_mm512_set1_ps(magic)));
    __m512i low = _mm512_srai_epi32(n, 1), high = _mm512_sub_epi32(n, low);
    __m512i bias = _mm512_set1_epi32(127);
    __m512 a = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(low, bias), 23));
    __m512 b = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(high, bias), 23));
    return (struct vf){_mm512_mul_ps(_mm512_mul_ps(p.v, a), b)};
}
/* Nearest-even whole numbers of 16 floats within +-127, as bytes. */
INLINE void vf_store_i8(int8_t *p, struct vf x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
/* Sum of 16 int8: as unsigned (+128), minus what that added. */
INLINE int32_t sum16(const int8_t *q)
{
    __m128i shifted = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)q),
                                    _mm_set1_epi8((char)0x80));
    __m128i sums = _mm_sad_epu8(shifted, _mm_setzero_si128());
    return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
}

INLINE struct vi vi_zero(void) { return (struct vi){_mm512_setzero_si512()}; }
INLINE struct vi vi_set1(int32_t x) { return (struct vi){_mm512_set1_epi32(x)}; }
INLINE struct vf vf_from_vi(struct vi x) { return (struct vf){_mm512_cvtepi32_ps(x.v)}; }

INLINE struct vb vb_load(const uint8_t *p)
{
    return (struct vb){_mm512_loadu_si512((const void *)p)};
}
INLINE struct vb vb_low(struct vb x)
{
    return (struct vb){_mm512_and_si512(x.v, _mm512_set1_epi8(15))};
}
INLINE struct vb vb_high(struct vb x)
{
    return (struct vb){_mm512_and_si512(_mm512_srli_epi16(x.v, 4), _mm512_set1_epi8(15))};
}
/* nibbles | bits 2j and 2j + 1 of `pairs` << 4 */
INLINE struct vb vb_six(struct vb nibbles, struct vb pairs, int j)
{
    __m512i moved = j == 0   ? _mm512_slli_epi16(pairs.v, 4)
                    : j == 1 ? _mm512_slli_epi16(pairs.v, 2)
                    : j == 2 ? pairs.v
                             : _mm512_srli_epi16(pairs.v, 2);
    /* a | (b & c) */
    return (struct vb){_mm512_ternarylogic_epi32(nibbles.v, moved, _mm512_set1_epi8(0x30), 0xF8)};
}
/* Four int8 activations for all lanes. */
INLINE __m512i four(const int8_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    return _mm512_set1_epi32(x);
}
/* sum + lane's two u8 . two int16 */
INLINE struct vi vi_dot_pairs(struct vi sum, const uint8_t *p, const int16_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    __m512i wide = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return (struct vi){_mm512_add_epi32(sum.v, _mm512_madd_epi16(wide, _mm512_set1_epi32(x)))};
}

#if defined(__AVX512VNNI__)
#define DOT_FULL_IS_SIGNED 0
/* sum + lane's four u8 . four int8; _small needs u8 < 64, _full takes all. */
INLINE struct vi vi_dot_small(struct vi sum, struct vb w, const int8_t *q)
{
    return (struct vi){_mm512_dpbusd_epi32(sum.v, w.v, four(q))};
}
INLINE struct vi vi_dot_full(struct vi sum, struct vb w, const int8_t *q)
{
    return vi_dot_small(sum, w, q);
}
#else
/* vpmaddubsw saturates beyond 15 bits: 2 * 63 * 127 fits, 2 * 255 * 127 does not. So the full
 * range is taken as |w - 128| (at most 128) times the activation with the sign of w - 128. */
#define DOT_FULL_IS_SIGNED 1
INLINE struct vi vi_dot_small(struct vi sum, struct vb w, const int8_t *q)
{
    __m512i pairs = _mm512_maddubs_epi16(w.v, four(q));
    return (struct vi){
        _mm512_add_epi32(sum.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}
INLINE struct vi vi_dot_full(struct vi sum, struct vb w, const int8_t *q)
{
    __m512i x = four(q), value = _mm512_xor_si512(w.v, _mm512_set1_epi8((char)0x80));
    x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(value), _mm512_setzero_si512(), x);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(value), x);
    return (struct vi){
        _mm512_add_epi32(sum.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}
#endif

/* Tiles: how much of the register file they may use, panels side by side for one or two rows. */
#define TILE_REGISTERS 32
#define TILE_PANELS_FEW 4
#define TILE_SCORE_ROWS 8
#define TILE_SCORE_VECTORS 2
#define TILE_VALUE_ROWS 4
#define TILE_VALUE_VECTORS 4

#endif
