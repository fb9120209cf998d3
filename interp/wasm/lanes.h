/* What the 128-bit instructions compute and the compiler's vectors lack, for simd.def: each function
 * lane by lane in plain C, which is the specification, and in AVX2 where exec.c is compiled for that
 * (exec_avx2.c). Both give the same bits. In an expression by lanes `i` is the lane of the result.
 * Private to exec.c, whose vector types and float helpers it uses. */
#ifndef INTERP_WASM_LANES_H
#define INTERP_WASM_LANES_H

#if WASM_EXEC_AVX2
#include <immintrin.h>
#define M(x) ((__m128i)(x))
#define MF(x) ((__m128)(x))
#define MD(x) ((__m128d)(x))
/* name(x), name(x, y), name(x, y, z): by the instructions `fast`, not by the lanes. */
#define FAST1(name, T, O, fast, lanes, ...) \
    static inline __attribute__((always_inline)) O name(T x) { return (O)(fast); }
#define FAST2(name, T, O, fast, lanes, ...) \
    static inline __attribute__((always_inline)) O name(T x, T y) { return (O)(fast); }
#define FAST3(name, T, U, O, fast, lanes, ...) \
    static inline __attribute__((always_inline)) O name(T x, T y, U z) { return (O)(fast); }
#define FAST_TEST(name, T, fast, ...) \
    static inline __attribute__((always_inline)) uint32_t name(T x) { return (uint32_t)(fast); }
#define FAST_SHIFT(name, T, fast, bits, operator)                                \
    static inline __attribute__((always_inline)) T name(T x, uint32_t by)        \
    {                                                                            \
        by &= (bits) - 1;                                                        \
        __m128i n = _mm_cvtsi32_si128((int)by);                                  \
        (void)n;                                                                 \
        return (T)(fast);                                                        \
    }
#else
#define FAST1(name, T, O, fast, lanes, ...) LANES1(name, T, O, lanes, __VA_ARGS__)
#define FAST2(name, T, O, fast, lanes, ...) LANES2(name, T, O, lanes, __VA_ARGS__)
#define FAST3(name, T, U, O, fast, lanes, ...) LANES3(name, T, U, O, lanes, __VA_ARGS__)
#define FAST_TEST(name, T, fast, ...)                              \
    static __attribute__((noinline)) uint32_t name(T x)            \
    {                                                              \
        uint32_t v = 0;                                            \
        for (unsigned i = 0; i < sizeof(T) / sizeof x[0]; i++)     \
            v |= (uint32_t)(__VA_ARGS__) << i;                     \
        return v;                                                  \
    }
#define FAST_SHIFT(name, T, fast, bits, operator)                  \
    static inline __attribute__((always_inline)) T name(T x, uint32_t by) \
    {                                                              \
        return x operator(by &((bits) - 1));                       \
    }
#endif
/* Not inlined: handlers have no registers to spare for a loop over lanes. */
#define LANES1(name, T, O, lanes, ...)          \
    static __attribute__((noinline)) O name(T x) \
    {                                           \
        O v;                                    \
        for (int i = 0; i < (lanes); i++)       \
            v[i] = __VA_ARGS__;                 \
        return v;                               \
    }
#define LANES2(name, T, O, lanes, ...)               \
    static __attribute__((noinline)) O name(T x, T y) \
    {                                                \
        O v;                                         \
        for (int i = 0; i < (lanes); i++)            \
            v[i] = __VA_ARGS__;                      \
        return v;                                    \
    }
#define LANES3(name, T, U, O, lanes, ...)                 \
    static __attribute__((noinline)) O name(T x, T y, U z) \
    {                                                     \
        O v;                                              \
        for (int i = 0; i < (lanes); i++)                 \
            v[i] = __VA_ARGS__;                           \
        return v;                                         \
    }
#define CLAMP(v, low, high) ({ int64_t w = (v); w < (low) ? (low) : w > (high) ? (high) : w; })

/* ---- bytes by index ---------------------------------------------------------------------- */

FAST2(swizzle, u8x16, u8x16, _mm_shuffle_epi8(M(x), _mm_adds_epu8(M(y), _mm_set1_epi8(0x70))), 16,
      y[i] < 16 ? x[y[i] & 15] : 0)
FAST3(shuffle, u8x16, u8x16, u8x16,
      _mm_or_si128(_mm_shuffle_epi8(M(x), _mm_adds_epu8(M(z), _mm_set1_epi8(0x70))),
                   _mm_shuffle_epi8(M(y), _mm_sub_epi8(M(z), _mm_set1_epi8(16)))),
      16, z[i] < 16 ? x[z[i] & 15] : y[z[i] & 15])
/* All indices below 16. */
FAST2(shuffle_one, u8x16, u8x16, _mm_shuffle_epi8(M(x), M(y)), 16, x[y[i] & 15])

/* ---- tests: a bit by lane ---------------------------------------------------------------- */

FAST_TEST(bitmask_I8X16, i8x16, _mm_movemask_epi8(M(x)), x[i] < 0)
FAST_TEST(bitmask_I16X8, i16x8, _mm_movemask_epi8(_mm_packs_epi16(M(x), _mm_setzero_si128())),
          x[i] < 0)
FAST_TEST(bitmask_I32X4, i32x4, _mm_movemask_ps(MF(x)), x[i] < 0)
FAST_TEST(bitmask_I64X2, i64x2, _mm_movemask_pd(MD(x)), x[i] < 0)
FAST_TEST(any_bit, u64x2, !_mm_testz_si128(M(x), M(x)), x[i] != 0)

/* ---- integers ---------------------------------------------------------------------------- */

#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))
#define ORDER(N, S, U, lanes, bits)                                                             \
    FAST2(min_s_##N, S, S, _mm_min_epi##bits(M(x), M(y)), lanes, LEAST(x[i], y[i]))             \
    FAST2(min_u_##N, U, U, _mm_min_epu##bits(M(x), M(y)), lanes, LEAST(x[i], y[i]))             \
    FAST2(max_s_##N, S, S, _mm_max_epi##bits(M(x), M(y)), lanes, MOST(x[i], y[i]))              \
    FAST2(max_u_##N, U, U, _mm_max_epu##bits(M(x), M(y)), lanes, MOST(x[i], y[i]))
ORDER(I8X16, i8x16, u8x16, 16, 8)
ORDER(I16X8, i16x8, u16x8, 8, 16)
ORDER(I32X4, i32x4, u32x4, 4, 32)
#define SATURATING(N, S, U, lanes, bits, low, high, top)                                          \
    FAST2(add_sat_s_##N, S, S, _mm_adds_epi##bits(M(x), M(y)), lanes, CLAMP(x[i] + y[i], low, high)) \
    FAST2(add_sat_u_##N, U, U, _mm_adds_epu##bits(M(x), M(y)), lanes, CLAMP(x[i] + y[i], 0, top))  \
    FAST2(sub_sat_s_##N, S, S, _mm_subs_epi##bits(M(x), M(y)), lanes, CLAMP(x[i] - y[i], low, high)) \
    FAST2(sub_sat_u_##N, U, U, _mm_subs_epu##bits(M(x), M(y)), lanes, CLAMP(x[i] - y[i], 0, top))  \
    FAST2(average_##N, U, U, _mm_avg_epu##bits(M(x), M(y)), lanes, (x[i] + y[i] + 1) >> 1)
SATURATING(I8X16, i8x16, u8x16, 16, 8, -128, 127, 255)
SATURATING(I16X8, i16x8, u16x8, 8, 16, -32768, 32767, 65535)

/* Bytes have no shifts of their own: shifted as halves, what crossed over masked out. A sign comes
 * back by flipping and subtracting its bit where it went. */
#define BYTES(n) _mm_set1_epi8((char)(n))
#define BYTES_RIGHT _mm_and_si128(_mm_srl_epi16(M(x), n), BYTES(0xFF >> by))
FAST_SHIFT(shl_I8X16, u8x16, _mm_and_si128(_mm_sll_epi16(M(x), n), BYTES(0xFF << by)), 8, <<)
FAST_SHIFT(shr_u_I8X16, u8x16, BYTES_RIGHT, 8, >>)
FAST_SHIFT(shr_s_I8X16, i8x16,
           _mm_sub_epi8(_mm_xor_si128(BYTES_RIGHT, BYTES(0x80 >> by)), BYTES(0x80 >> by)), 8, >>)
FAST_SHIFT(shl_I16X8, u16x8, _mm_sll_epi16(M(x), n), 16, <<)
FAST_SHIFT(shr_u_I16X8, u16x8, _mm_srl_epi16(M(x), n), 16, >>)
FAST_SHIFT(shr_s_I16X8, i16x8, _mm_sra_epi16(M(x), n), 16, >>)
FAST_SHIFT(shl_I32X4, u32x4, _mm_sll_epi32(M(x), n), 32, <<)
FAST_SHIFT(shr_u_I32X4, u32x4, _mm_srl_epi32(M(x), n), 32, >>)
FAST_SHIFT(shr_s_I32X4, i32x4, _mm_sra_epi32(M(x), n), 32, >>)
FAST_SHIFT(shl_I64X2, u64x2, _mm_sll_epi64(M(x), n), 64, <<)
FAST_SHIFT(shr_u_I64X2, u64x2, _mm_srl_epi64(M(x), n), 64, >>)
#define SIGNS _mm_srl_epi64(_mm_set1_epi64x(INT64_MIN), n)
FAST_SHIFT(shr_s_I64X2, i64x2,
           _mm_sub_epi64(_mm_xor_si128(_mm_srl_epi64(M(x), n), SIGNS), SIGNS), 64, >>)

#define NIBBLE_BITS _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4)
FAST1(popcount_I8X16, u8x16, u8x16,
      _mm_add_epi8(_mm_shuffle_epi8(NIBBLE_BITS, _mm_and_si128(M(x), BYTES(15))),
                   _mm_shuffle_epi8(NIBBLE_BITS,
                                    _mm_and_si128(_mm_srli_epi16(M(x), 4), BYTES(15)))),
      16, (uint8_t)popcount(x[i]))

#define HIGH(x) _mm_unpackhi_epi64(M(x), M(x))
#define WIDEN(N, W, S, U, OS, OU, lanes, from, to)                                              \
    FAST1(low_s_##N, S, OS, _mm_cvtepi##from##_epi##to(M(x)), lanes, x[i])                      \
    FAST1(low_u_##N, U, OU, _mm_cvtepu##from##_epi##to(M(x)), lanes, x[i])                      \
    FAST1(high_s_##N, S, OS, _mm_cvtepi##from##_epi##to(HIGH(x)), lanes, x[i + (lanes)])        \
    FAST1(high_u_##N, U, OU, _mm_cvtepu##from##_epi##to(HIGH(x)), lanes, x[i + (lanes)])
WIDEN(I8X16, I16X8, i8x16, u8x16, i16x8, u16x8, 8, 8, 16)
WIDEN(I16X8, I32X4, i16x8, u16x8, i32x4, u32x4, 4, 16, 32)
WIDEN(I32X4, I64X2, i32x4, u32x4, i64x2, u64x2, 2, 32, 64)
#define LOW_I8(sign, x) _mm_cvtep##sign##8_epi16(M(x))
FAST2(mul_low_s_I8X16, i8x16, i16x8, _mm_mullo_epi16(LOW_I8(i, x), LOW_I8(i, y)), 8, x[i] * y[i])
FAST2(mul_low_u_I8X16, u8x16, u16x8, _mm_mullo_epi16(LOW_I8(u, x), LOW_I8(u, y)), 8, x[i] * y[i])
FAST2(mul_high_s_I8X16, i8x16, i16x8, _mm_mullo_epi16(LOW_I8(i, HIGH(x)), LOW_I8(i, HIGH(y))), 8,
      x[i + 8] * y[i + 8])
FAST2(mul_high_u_I8X16, u8x16, u16x8, _mm_mullo_epi16(LOW_I8(u, HIGH(x)), LOW_I8(u, HIGH(y))), 8,
      x[i + 8] * y[i + 8])
#define PRODUCTS(half, sign) \
    _mm_unpack##half##_epi16(_mm_mullo_epi16(M(x), M(y)), _mm_mulhi_ep##sign##16(M(x), M(y)))
FAST2(mul_low_s_I16X8, i16x8, i32x4, PRODUCTS(lo, i), 4, x[i] * y[i])
FAST2(mul_low_u_I16X8, u16x8, u32x4, PRODUCTS(lo, u), 4, (uint32_t)x[i] * y[i])
FAST2(mul_high_s_I16X8, i16x8, i32x4, PRODUCTS(hi, i), 4, x[i + 4] * y[i + 4])
FAST2(mul_high_u_I16X8, u16x8, u32x4, PRODUCTS(hi, u), 4, (uint32_t)x[i + 4] * y[i + 4])
#define PAIRS(half, x) _mm_unpack##half##_epi32(M(x), M(x))
FAST2(mul_low_s_I32X4, i32x4, i64x2, _mm_mul_epi32(PAIRS(lo, x), PAIRS(lo, y)), 2,
      (int64_t)x[i] * y[i])
FAST2(mul_low_u_I32X4, u32x4, u64x2, _mm_mul_epu32(PAIRS(lo, x), PAIRS(lo, y)), 2,
      (uint64_t)x[i] * y[i])
FAST2(mul_high_s_I32X4, i32x4, i64x2, _mm_mul_epi32(PAIRS(hi, x), PAIRS(hi, y)), 2,
      (int64_t)x[i + 2] * y[i + 2])
FAST2(mul_high_u_I32X4, u32x4, u64x2, _mm_mul_epu32(PAIRS(hi, x), PAIRS(hi, y)), 2,
      (uint64_t)x[i + 2] * y[i + 2])
FAST1(pairs_s_I8X16, i8x16, i16x8, _mm_maddubs_epi16(BYTES(1), M(x)), 8, x[2 * i] + x[2 * i + 1])
FAST1(pairs_u_I8X16, u8x16, u16x8, _mm_maddubs_epi16(M(x), BYTES(1)), 8, x[2 * i] + x[2 * i + 1])
FAST1(pairs_s_I16X8, i16x8, i32x4, _mm_madd_epi16(M(x), _mm_set1_epi16(1)), 4,
      x[2 * i] + x[2 * i + 1])
FAST1(pairs_u_I16X8, u16x8, u32x4,
      _mm_add_epi32(_mm_srli_epi32(M(x), 16), _mm_and_si128(M(x), _mm_set1_epi32(0xFFFF))), 4,
      (uint32_t)x[2 * i] + x[2 * i + 1])
#define JOINED(half) (i < (half) ? x[i % (half)] : y[i % (half)])
FAST2(narrow_s_I16X8, i16x8, i8x16, _mm_packs_epi16(M(x), M(y)), 16, CLAMP(JOINED(8), -128, 127))
FAST2(narrow_u_I16X8, i16x8, u8x16, _mm_packus_epi16(M(x), M(y)), 16, CLAMP(JOINED(8), 0, 255))
FAST2(narrow_s_I32X4, i32x4, i16x8, _mm_packs_epi32(M(x), M(y)), 8,
      CLAMP(JOINED(4), -32768, 32767))
FAST2(narrow_u_I32X4, i32x4, u16x8, _mm_packus_epi32(M(x), M(y)), 8, CLAMP(JOINED(4), 0, 65535))
/* The one product that does not fit, -32768 * -32768, comes out as -32768 and is turned. */
FAST2(q15_multiply, i16x8, i16x8, ({
          __m128i r = _mm_mulhrs_epi16(M(x), M(y));
          _mm_xor_si128(r, _mm_cmpeq_epi16(r, _mm_set1_epi16(INT16_MIN)));
      }), 8, CLAMP((x[i] * y[i] + 0x4000) >> 15, -32768, 32767))
FAST2(dot_I16X8, i16x8, u32x4, _mm_madd_epi16(M(x), M(y)), 4,
      (uint32_t)(x[2 * i] * y[2 * i]) + (uint32_t)(x[2 * i + 1] * y[2 * i + 1]))
FAST2(dot_I8X16, i8x16, i16x8,
      _mm_packs_epi32(_mm_madd_epi16(LOW_I8(i, x), LOW_I8(i, y)),
                      _mm_madd_epi16(LOW_I8(i, HIGH(x)), LOW_I8(i, HIGH(y)))),
      8, CLAMP(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1], -32768, 32767))

/* ---- floats ------------------------------------------------------------------------------ */

static inline __attribute__((always_inline)) f32x4 canonicalF32X4(f32x4 x)
{
    const u32x4 nan = {0x7FC00000, 0x7FC00000, 0x7FC00000, 0x7FC00000};
#if WASM_EXEC_AVX2 /* a branch that is never taken keeps the check off the path of the result */
    if (likely(_mm_movemask_ps(_mm_cmpunord_ps(MF(x), MF(x))) == 0))
        return x;
#endif
    u32x4 number = (u32x4)(x == x);
    return (f32x4)(((u32x4)x & number) | (nan & ~number));
}
static inline __attribute__((always_inline)) f64x2 canonicalF64X2(f64x2 x)
{
    const u64x2 nan = {UINT64_C(0x7FF8000000000000), UINT64_C(0x7FF8000000000000)};
#if WASM_EXEC_AVX2
    if (likely(_mm_movemask_pd(_mm_cmpunord_pd(MD(x), MD(x))) == 0))
        return x;
#endif
    u64x2 number = (u64x2)(x == x);
    return (f64x2)(((u64x2)x & number) | (nan & ~number));
}

/* The machine's minimum gives its second operand for a NaN and for zeros of either sign: asked both
 * ways round, the results differ there alone. */
#define FLOATS(N, T, U, bits, suffix, cast, lanes)                                                  \
    FAST2(min_##N, T, T, ({                                                                         \
              U a = (U)_mm_min_##suffix(cast(x), cast(y)), b = (U)_mm_min_##suffix(cast(y), cast(x)); \
              canonical##N((T)(a | b));                                                             \
          }), lanes, min##bits(x[i], y[i]))                                                         \
    FAST2(max_##N, T, T, ({                                                                         \
              U a = (U)_mm_max_##suffix(cast(x), cast(y)), b = (U)_mm_max_##suffix(cast(y), cast(x)); \
              canonical##N((T)((a & b) | (U)_mm_cmpunord_##suffix(cast(x), cast(y))));              \
          }), lanes, max##bits(x[i], y[i]))                                                         \
    FAST2(pmin_##N, T, T, _mm_min_##suffix(cast(y), cast(x)), lanes, y[i] < x[i] ? y[i] : x[i])     \
    FAST2(pmax_##N, T, T, _mm_max_##suffix(cast(y), cast(x)), lanes, x[i] < y[i] ? y[i] : x[i])     \
    FAST1(square_root_##N, T, T, canonical##N((T)_mm_sqrt_##suffix(cast(x))), lanes,                \
          square_root##bits(x[i]))                                                                  \
    FAST1(ceil_##N, T, T, canonical##N((T)_mm_ceil_##suffix(cast(x))), lanes, ceil##bits(x[i]))     \
    FAST1(floor_##N, T, T, canonical##N((T)_mm_floor_##suffix(cast(x))), lanes, floor##bits(x[i]))  \
    FAST1(trunc_##N, T, T,                                                                          \
          canonical##N((T)_mm_round_##suffix(cast(x), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)),     \
          lanes, trunc##bits(x[i]))                                                                 \
    FAST1(nearest_##N, T, T,                                                                        \
          canonical##N((T)_mm_round_##suffix(cast(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)), \
          lanes, nearest##bits(x[i]))
FLOATS(F32X4, f32x4, u32x4, 32, ps, MF, 4)
FLOATS(F64X2, f64x2, u64x2, 64, pd, MD, 2)

#define SATURATE(x, low, high, to, min, max) \
    ((x) != (x) ? (to)0 : (x) <= (low) ? (min) : (x) >= (high) ? (max) : (to)(x))
#define TO_S32(x) SATURATE(x, -2147483648.0, 2147483648.0, int32_t, INT32_MIN, INT32_MAX)
#define TO_U32(x) SATURATE(x, -1.0, 4294967296.0, uint32_t, 0, UINT32_MAX)
FAST1(f32_from_s32, i32x4, f32x4, _mm_cvtepi32_ps(M(x)), 4, (float)x[i])
LANES1(f32_from_u32, u32x4, f32x4, 4, (float)x[i])
FAST1(f64_from_s32, i32x4, f64x2, _mm_cvtepi32_pd(M(x)), 2, x[i])
LANES1(f64_from_u32, u32x4, f64x2, 2, x[i])
FAST1(f32_from_f64, f64x2, f32x4, canonicalF32X4((f32x4)_mm_cvtpd_ps(MD(x))), 4,
      i < 2 ? canonical32((float)x[i & 1]) : 0)
FAST1(f64_from_f32, f32x4, f64x2, canonicalF64X2((f64x2)_mm_cvtps_pd(MF(x))), 2,
      canonical64(x[i]))
/* Too large comes out as INT32_MIN, all of whose bits are turned; NaN becomes 0. */
FAST1(s32_from_f32, f32x4, i32x4,
      _mm_and_si128(_mm_xor_si128(_mm_cvttps_epi32(MF(x)),
                                  M(_mm_cmpge_ps(MF(x), _mm_set1_ps(2147483648.0f)))),
                    M(_mm_cmpord_ps(MF(x), MF(x)))),
      4, TO_S32(x[i]))
LANES1(u32_from_f32, f32x4, u32x4, 4, TO_U32(x[i]))
LANES1(s32_from_f64, f64x2, i32x4, 4, i < 2 ? TO_S32(x[i & 1]) : 0)
LANES1(u32_from_f64, f64x2, u32x4, 4, i < 2 ? TO_U32(x[i & 1]) : 0)

#endif
