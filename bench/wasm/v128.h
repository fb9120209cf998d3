/* 128-bit vectors for the guests of bench/wasm: WebAssembly's instructions, and what a programmer
 * would write natively for x86-64 (SSE intrinsics, compiled with AVX2 enabled). */
#ifndef BENCH_WASM_V128_H
#define BENCH_WASM_V128_H

#include "bench/wasm/guest.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
typedef v128_t vec;
#define vec_load(p) wasm_v128_load(p)
#define vec_store(p, v) wasm_v128_store(p, v)
#define vec_and(x, y) wasm_v128_and(x, y)
#define vec_or(x, y) wasm_v128_or(x, y)
#define vec_xor(x, y) wasm_v128_xor(x, y)
#define vec_any(x) wasm_v128_any_true(x)
#define i8_splat(x) wasm_i8x16_splat((int8_t)(x))
#define i8_eq(x, y) wasm_i8x16_eq(x, y)
#define i8_mask(x) wasm_i8x16_bitmask(x)
#define u8_add_sat(x, y) wasm_u8x16_add_sat(x, y)
#define u8_sub_sat(x, y) wasm_u8x16_sub_sat(x, y)
#define u8_avg(x, y) wasm_u8x16_avgr(x, y)
#define u8_max(x, y) wasm_u8x16_max(x, y)
#define u8_shr4(x) wasm_u8x16_shr(x, 4)
#define u8_lookup(table, index) wasm_i8x16_swizzle(table, index)
#define i16_low(x) wasm_i16x8_extend_low_i8x16(x)
#define i16_high(x) wasm_i16x8_extend_high_i8x16(x)
#define i16_dot(x, y) wasm_i32x4_dot_i16x8(x, y)
#define i32_splat(x) wasm_i32x4_splat((int32_t)(x))
#define i32_add(x, y) wasm_i32x4_add(x, y)
#define i32_sub(x, y) wasm_i32x4_sub(x, y)
#define i32_rotl(x, n) wasm_v128_or(wasm_i32x4_shl(x, n), wasm_u32x4_shr(x, 32 - (n)))
#define i32_rot1(x) wasm_i32x4_shuffle(x, x, 1, 2, 3, 0)
#define i32_rot2(x) wasm_i32x4_shuffle(x, x, 2, 3, 0, 1)
#define i32_rot3(x) wasm_i32x4_shuffle(x, x, 3, 0, 1, 2)
#define i32_lane0(x) wasm_i32x4_extract_lane(x, 0)
#define f32_splat(x) wasm_f32x4_splat(x)
#define f32_make(a, b, c, d) wasm_f32x4_make(a, b, c, d)
#define f32_add(x, y) wasm_f32x4_add(x, y)
#define f32_sub(x, y) wasm_f32x4_sub(x, y)
#define f32_mul(x, y) wasm_f32x4_mul(x, y)
#define f32_le(x, y) wasm_f32x4_le(x, y)
#elif defined(__x86_64__)
#include <immintrin.h>
typedef __m128i vec;
#define vec_load(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define vec_store(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define vec_and(x, y) _mm_and_si128(x, y)
#define vec_or(x, y) _mm_or_si128(x, y)
#define vec_xor(x, y) _mm_xor_si128(x, y)
#define vec_any(x) (!_mm_testz_si128(x, x))
#define i8_splat(x) _mm_set1_epi8((char)(x))
#define i8_eq(x, y) _mm_cmpeq_epi8(x, y)
#define i8_mask(x) ((uint32_t)_mm_movemask_epi8(x))
#define u8_add_sat(x, y) _mm_adds_epu8(x, y)
#define u8_sub_sat(x, y) _mm_subs_epu8(x, y)
#define u8_avg(x, y) _mm_avg_epu8(x, y)
#define u8_max(x, y) _mm_max_epu8(x, y)
#define u8_shr4(x) _mm_and_si128(_mm_srli_epi16(x, 4), _mm_set1_epi8(15))
#define u8_lookup(table, index) _mm_shuffle_epi8(table, index) /* indices below 16 */
#define i16_low(x) _mm_cvtepi8_epi16(x)
#define i16_high(x) _mm_cvtepi8_epi16(_mm_unpackhi_epi64(x, x))
#define i16_dot(x, y) _mm_madd_epi16(x, y)
#define i32_splat(x) _mm_set1_epi32((int32_t)(x))
#define i32_add(x, y) _mm_add_epi32(x, y)
#define i32_sub(x, y) _mm_sub_epi32(x, y)
#define i32_rotl(x, n) _mm_or_si128(_mm_slli_epi32(x, n), _mm_srli_epi32(x, 32 - (n)))
#define i32_rot1(x) _mm_shuffle_epi32(x, 0x39)
#define i32_rot2(x) _mm_shuffle_epi32(x, 0x4E)
#define i32_rot3(x) _mm_shuffle_epi32(x, 0x93)
#define i32_lane0(x) _mm_cvtsi128_si32(x)
#define VEC_F(x) _mm_castsi128_ps(x)
#define VEC_I(x) _mm_castps_si128(x)
#define f32_splat(x) VEC_I(_mm_set1_ps(x))
#define f32_make(a, b, c, d) VEC_I(_mm_setr_ps(a, b, c, d))
#define f32_add(x, y) VEC_I(_mm_add_ps(VEC_F(x), VEC_F(y)))
#define f32_sub(x, y) VEC_I(_mm_sub_ps(VEC_F(x), VEC_F(y)))
#define f32_mul(x, y) VEC_I(_mm_mul_ps(VEC_F(x), VEC_F(y)))
#define f32_le(x, y) VEC_I(_mm_cmple_ps(VEC_F(x), VEC_F(y)))
#endif

/* The sum of the four lanes. */
static inline int32_t i32_sum(vec x)
{
    x = i32_add(x, i32_rot2(x));
    return i32_lane0(i32_add(x, i32_rot1(x)));
}

#endif
