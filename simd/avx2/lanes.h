/* The 16 lanes of simd/lanes_kernels.h as two 256-bit registers: lanes 0-7 and 8-15. */
#ifndef SIMD_AVX2_LANES_H
#define SIMD_AVX2_LANES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

struct vf { __m256 a, b; };
struct vi { __m256i a, b; };
struct vb { __m256i a, b; }; /* [16 lanes][4 bytes] */

INLINE struct vf vf_zero(void) { return (struct vf){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
INLINE struct vf vf_set1(float x) { return (struct vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE struct vf vf_load(const float *p)
{
    return (struct vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
INLINE void vf_store(float *p, struct vf x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
INLINE struct vf vf_load_part(const float *p, uint32_t count)
{
    float room[16] = {0};
    memcpy(room, p, count * sizeof *p);
    return vf_load(room);
}
INLINE void vf_store_part(float *p, uint32_t count, struct vf x)
{
    float room[16];
    vf_store(room, x);
    memcpy(p, room, count * sizeof *p);
}
INLINE struct vf vf_load_f16(const void *p)
{
    const __m128i *at = (const __m128i *)p;
    return (struct vf){_mm256_cvtph_ps(_mm_loadu_si128(at)),
                       _mm256_cvtph_ps(_mm_loadu_si128(at + 1))};
}
INLINE struct vf vf_load_f16_part(const uint16_t *p, uint32_t count)
{
    uint16_t room[16] = {0};
    memcpy(room, p, count * sizeof *p);
    return vf_load_f16(room);
}
INLINE struct vf vf_load_bf16(const void *p)
{
    const __m128i *at = (const __m128i *)p;
    __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(at));
    __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128(at + 1));
    return (struct vf){_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
                       _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
}
INLINE void vf_store_f16_part(uint16_t *p, uint32_t count, struct vf x)
{
    __m128i room[2] = {_mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT),
                       _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT)};
    memcpy(p, room, count * sizeof *p);
}
INLINE struct vf vf_from_u8(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct vf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                       _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
INLINE struct vf vf_from_i8(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                       _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
INLINE struct vf vf_add(struct vf x, struct vf y)
{
    return (struct vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
INLINE struct vf vf_sub(struct vf x, struct vf y)
{
    return (struct vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
INLINE struct vf vf_mul(struct vf x, struct vf y)
{
    return (struct vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
INLINE struct vf vf_div(struct vf x, struct vf y)
{
    return (struct vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
INLINE struct vf vf_max(struct vf x, struct vf y)
{
    return (struct vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
INLINE struct vf vf_min(struct vf x, struct vf y)
{
    return (struct vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
INLINE struct vf vf_abs(struct vf x)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (struct vf){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
/* x * y + z, and z - x * y. */
INLINE struct vf vf_fma(struct vf x, struct vf y, struct vf z)
{
    return (struct vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE struct vf vf_fnma(struct vf x, struct vf y, struct vf z)
{
    return (struct vf){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
INLINE __m256 lane_mask(unsigned bits)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i some = _mm256_and_si256(_mm256_set1_epi32((int)bits), each);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(some, each));
}
/* Lanes whose bit is set, zero elsewhere; or the other's lanes elsewhere. */
INLINE struct vf vf_keep(uint16_t bits, struct vf x)
{
    return (struct vf){_mm256_and_ps(lane_mask(bits & 255u), x.a),
                       _mm256_and_ps(lane_mask(bits >> 8), x.b)};
}
INLINE struct vf vf_choose(uint16_t bits, struct vf x, struct vf otherwise)
{
    return (struct vf){_mm256_blendv_ps(otherwise.a, x.a, lane_mask(bits & 255u)),
                       _mm256_blendv_ps(otherwise.b, x.b, lane_mask(bits >> 8))};
}
INLINE float vf_tree_add(struct vf x)
{
    __m256 y = _mm256_add_ps(x.a, x.b);
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
INLINE float vf_tree_max(struct vf x)
{
    __m256 y = _mm256_max_ps(x.a, x.b);
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}
INLINE __m256 times_2n(__m256 p, __m256 shifted, float magic)
{
    __m256i n = _mm256_sub_epi32(_mm256_castps_si256(shifted),
                                 _mm256_castps_si256(_mm256_set1_ps(magic)));
    __m256i low = _mm256_srai_epi32(n, 1), high = _mm256_sub_epi32(n, low);
    __m256i bias = _mm256_set1_epi32(127);
    __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(low, bias), 23));
    __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(high, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}
/* p * 2^n for the n that `shifted` (= n + magic) carries in its low bits, in two exact steps. */
INLINE struct vf vf_times_2n(struct vf p, struct vf shifted, float magic)
{
    return (struct vf){times_2n(p.a, shifted.a, magic), times_2n(p.b, shifted.b, magic)};
}
/* Nearest-even whole numbers of 16 floats within +-127, as bytes. */
INLINE void vf_store_i8(int8_t *p, struct vf x)
{
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    words = _mm256_permute4x64_epi64(words, 0xD8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words),
                                    _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}
/* Sum of 16 int8: as unsigned (+128), minus what that added. */
INLINE int32_t sum16(const int8_t *q)
{
    __m128i shifted = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)q),
                                    _mm_set1_epi8((char)0x80));
    __m128i sums = _mm_sad_epu8(shifted, _mm_setzero_si128());
    return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
}

INLINE struct vi vi_zero(void)
{
    return (struct vi){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
INLINE struct vi vi_set1(int32_t x)
{
    return (struct vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
INLINE struct vf vf_from_vi(struct vi x)
{
    return (struct vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}

INLINE struct vb vb_load(const uint8_t *p)
{
    const __m256i *at = (const __m256i *)(const void *)p;
    return (struct vb){_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
INLINE struct vb vb_low(struct vb x)
{
    __m256i mask = _mm256_set1_epi8(15);
    return (struct vb){_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
INLINE struct vb vb_high(struct vb x)
{
    __m256i mask = _mm256_set1_epi8(15);
    return (struct vb){_mm256_and_si256(_mm256_srli_epi16(x.a, 4), mask),
                       _mm256_and_si256(_mm256_srli_epi16(x.b, 4), mask)};
}
INLINE __m256i six(__m256i nibbles, __m256i pairs, int j)
{
    __m256i moved = j == 0   ? _mm256_slli_epi16(pairs, 4)
                    : j == 1 ? _mm256_slli_epi16(pairs, 2)
                    : j == 2 ? pairs
                             : _mm256_srli_epi16(pairs, 2);
    return _mm256_or_si256(nibbles, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
}
/* nibbles | bits 2j and 2j + 1 of `pairs` << 4 */
INLINE struct vb vb_six(struct vb nibbles, struct vb pairs, int j)
{
    return (struct vb){six(nibbles.a, pairs.a, j), six(nibbles.b, pairs.b, j)};
}
/* Four int8 activations for all lanes. */
INLINE __m256i four(const int8_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    return _mm256_set1_epi32(x);
}
/* sum + lane's two u8 . two int16 */
INLINE struct vi vi_dot_pairs(struct vi sum, const uint8_t *p, const int16_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    const __m128i *at = (const __m128i *)(const void *)p;
    __m256i pair = _mm256_set1_epi32(x);
    __m256i a = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(at)), pair);
    __m256i b = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(at + 1)), pair);
    return (struct vi){_mm256_add_epi32(sum.a, a), _mm256_add_epi32(sum.b, b)};
}

INLINE __m256i dot_small(__m256i sum, __m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* vpmaddubsw saturates beyond 15 bits: 2 * 63 * 127 fits, 2 * 255 * 127 does not. So the full
 * range is taken as |w - 128| (at most 128) times the activation with the sign of w - 128. */
#define DOT_FULL_IS_SIGNED 1
INLINE __m256i dot_full(__m256i sum, __m256i w, __m256i x)
{
    __m256i value = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
    return dot_small(sum, _mm256_abs_epi8(value), _mm256_sign_epi8(x, value));
}
/* sum + lane's four u8 . four int8; _small needs u8 < 64, _full takes all. */
INLINE struct vi vi_dot_small(struct vi sum, struct vb w, const int8_t *q)
{
    __m256i x = four(q);
    return (struct vi){dot_small(sum.a, w.a, x), dot_small(sum.b, w.b, x)};
}
INLINE struct vi vi_dot_full(struct vi sum, struct vb w, const int8_t *q)
{
    __m256i x = four(q);
    return (struct vi){dot_full(sum.a, w.a, x), dot_full(sum.b, w.b, x)};
}

/* Tiles: how much of the register file they may use, panels side by side for one or two rows. */
#define TILE_REGISTERS 16
#define TILE_PANELS_FEW 2
#define TILE_SCORE_ROWS 4
#define TILE_SCORE_VECTORS 1
#define TILE_VALUE_ROWS 2
#define TILE_VALUE_VECTORS 2

#endif
