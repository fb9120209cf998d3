/* The 16 lanes of simd/lanes_kernels.h as four 128-bit registers. simd/dotprod/ includes it with
 * the dot product instructions of Armv8.2 allowed. */
#ifndef SIMD_NEON_LANES_H
#define SIMD_NEON_LANES_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

struct vf { float32x4_t a, b, c, d; };
struct vi { int32x4_t a, b, c, d; };
struct vb { uint8x16_t a, b, c, d; }; /* [16 lanes][4 bytes] */

#define EACH_VF(x) ((struct vf){x(a), x(b), x(c), x(d)})
#define EACH_VI(x) ((struct vi){x(a), x(b), x(c), x(d)})
#define EACH_VB(x) ((struct vb){x(a), x(b), x(c), x(d)})

INLINE struct vf vf_set1(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (struct vf){v, v, v, v};
}
INLINE struct vf vf_zero(void) { return vf_set1(0); }
INLINE struct vf vf_load(const float *p)
{
    return (struct vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
INLINE void vf_store(float *p, struct vf x)
{
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
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
INLINE float32x4_t from_halves(uint16x4_t halves)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}
/* Pointers into panels are not promised to be even for the compiler: loads go through bytes. */
INLINE struct vf vf_load_f16(const void *p)
{
    uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p));
    uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8((const uint8_t *)p + 16));
    return (struct vf){from_halves(vget_low_u16(low)), from_halves(vget_high_u16(low)),
                       from_halves(vget_low_u16(high)), from_halves(vget_high_u16(high))};
}
INLINE struct vf vf_load_f16_part(const uint16_t *p, uint32_t count)
{
    uint16_t room[16] = {0};
    memcpy(room, p, count * sizeof *p);
    return vf_load_f16(room);
}
INLINE struct vf vf_load_bf16(const void *p)
{
    uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p));
    uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8((const uint8_t *)p + 16));
    return (struct vf){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)),
                       vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(low), 16)),
                       vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
                       vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(high), 16))};
}
INLINE void vf_store_f16_part(uint16_t *p, uint32_t count, struct vf x)
{
    uint16_t room[16];
    vst1_u16(room, vreinterpret_u16_f16(vcvt_f16_f32(x.a)));
    vst1_u16(room + 4, vreinterpret_u16_f16(vcvt_f16_f32(x.b)));
    vst1_u16(room + 8, vreinterpret_u16_f16(vcvt_f16_f32(x.c)));
    vst1_u16(room + 12, vreinterpret_u16_f16(vcvt_f16_f32(x.d)));
    memcpy(p, room, count * sizeof *p);
}
INLINE struct vf vf_from_u8(const uint8_t *p)
{
    uint8x16_t bytes = vld1q_u8(p);
    uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
    return (struct vf){vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                       vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
                       vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                       vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))};
}
INLINE struct vf vf_from_i8(const uint8_t *p)
{
    int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
    int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    return (struct vf){vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                       vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                       vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                       vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))};
}
INLINE struct vf vf_add(struct vf x, struct vf y)
{
#define ADD(r) vaddq_f32(x.r, y.r)
    return EACH_VF(ADD);
#undef ADD
}
INLINE struct vf vf_sub(struct vf x, struct vf y)
{
#define SUB(r) vsubq_f32(x.r, y.r)
    return EACH_VF(SUB);
#undef SUB
}
INLINE struct vf vf_mul(struct vf x, struct vf y)
{
#define MUL(r) vmulq_f32(x.r, y.r)
    return EACH_VF(MUL);
#undef MUL
}
INLINE struct vf vf_div(struct vf x, struct vf y)
{
#define DIV(r) vdivq_f32(x.r, y.r)
    return EACH_VF(DIV);
#undef DIV
}
/* The second operand wins when they are equal or not comparable (vmaxq would return NaN). */
INLINE struct vf vf_max(struct vf x, struct vf y)
{
#define MAX(r) vbslq_f32(vcgtq_f32(x.r, y.r), x.r, y.r)
    return EACH_VF(MAX);
#undef MAX
}
INLINE struct vf vf_min(struct vf x, struct vf y)
{
#define MIN(r) vbslq_f32(vcltq_f32(x.r, y.r), x.r, y.r)
    return EACH_VF(MIN);
#undef MIN
}
INLINE struct vf vf_abs(struct vf x)
{
#define ABS(r) vabsq_f32(x.r)
    return EACH_VF(ABS);
#undef ABS
}
/* x * y + z, and z - x * y. */
INLINE struct vf vf_fma(struct vf x, struct vf y, struct vf z)
{
#define FMA(r) vfmaq_f32(z.r, x.r, y.r)
    return EACH_VF(FMA);
#undef FMA
}
INLINE struct vf vf_fnma(struct vf x, struct vf y, struct vf z)
{
#define FNMA(r) vfmsq_f32(z.r, x.r, y.r)
    return EACH_VF(FNMA);
#undef FNMA
}
INLINE uint32x4_t lane_mask(unsigned bits)
{
    const uint32x4_t each = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32(bits), each);
}
/* Lanes whose bit is set, those of the other elsewhere; or zero elsewhere. */
INLINE struct vf vf_choose(uint16_t bits, struct vf x, struct vf otherwise)
{
    return (struct vf){vbslq_f32(lane_mask(bits), x.a, otherwise.a),
                       vbslq_f32(lane_mask((unsigned)bits >> 4), x.b, otherwise.b),
                       vbslq_f32(lane_mask((unsigned)bits >> 8), x.c, otherwise.c),
                       vbslq_f32(lane_mask((unsigned)bits >> 12), x.d, otherwise.d)};
}
INLINE struct vf vf_keep(uint16_t bits, struct vf x) { return vf_choose(bits, x, vf_zero()); }
INLINE float vf_tree_add(struct vf x)
{
    float32x4_t y = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));
    return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
}
INLINE float vf_tree_max(struct vf x)
{
    struct vf y = {x.c, x.d, x.c, x.d}, top = x;
    struct vf m = vf_max(top, y); /* lanes 0-7 */
    float32x4_t n = vbslq_f32(vcgtq_f32(m.a, m.b), m.a, m.b);
    float32x2_t low = vget_low_f32(n), high = vget_high_f32(n);
    float32x2_t z = vbsl_f32(vcgt_f32(low, high), low, high);
    float first = vget_lane_f32(z, 0), second = vget_lane_f32(z, 1);
    return first > second ? first : second;
}
INLINE float32x4_t times_2n(float32x4_t p, float32x4_t shifted, float magic)
{
    int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(shifted),
                            vreinterpretq_s32_f32(vdupq_n_f32(magic)));
    int32x4_t low = vshrq_n_s32(n, 1), high = vsubq_s32(n, low), bias = vdupq_n_s32(127);
    float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(low, bias), 23));
    float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(high, bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}
/* p * 2^n for the n that `shifted` (= n + magic) carries in its low bits, in two exact steps. */
INLINE struct vf vf_times_2n(struct vf p, struct vf shifted, float magic)
{
#define TIMES(r) times_2n(p.r, shifted.r, magic)
    return EACH_VF(TIMES);
#undef TIMES
}
/* Nearest-even whole numbers of 16 floats within +-127, as bytes. */
INLINE void vf_store_i8(int8_t *p, struct vf x)
{
    int16x8_t low = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.a)), vmovn_s32(vcvtnq_s32_f32(x.b)));
    int16x8_t high = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.c)), vmovn_s32(vcvtnq_s32_f32(x.d)));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
/* Sum of 16 int8. */
INLINE int32_t sum16(const int8_t *q) { return vaddlvq_s8(vld1q_s8(q)); }

INLINE struct vi vi_set1(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (struct vi){v, v, v, v};
}
INLINE struct vi vi_zero(void) { return vi_set1(0); }
INLINE struct vf vf_from_vi(struct vi x)
{
#define FROM(r) vcvtq_f32_s32(x.r)
    return EACH_VF(FROM);
#undef FROM
}

INLINE struct vb vb_load(const uint8_t *p)
{
    return (struct vb){vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
}
INLINE struct vb vb_low(struct vb x)
{
#define LOW(r) vandq_u8(x.r, vdupq_n_u8(15))
    return EACH_VB(LOW);
#undef LOW
}
INLINE struct vb vb_high(struct vb x)
{
#define HIGH(r) vshrq_n_u8(x.r, 4)
    return EACH_VB(HIGH);
#undef HIGH
}
INLINE uint8x16_t six(uint8x16_t nibbles, uint8x16_t pairs, int j)
{
    uint8x16_t moved = j == 0   ? vshlq_n_u8(pairs, 4)
                       : j == 1 ? vshlq_n_u8(pairs, 2)
                       : j == 2 ? pairs
                                : vshrq_n_u8(pairs, 2);
    return vorrq_u8(nibbles, vandq_u8(moved, vdupq_n_u8(0x30)));
}
/* nibbles | bits 2j and 2j + 1 of `pairs` << 4 */
INLINE struct vb vb_six(struct vb nibbles, struct vb pairs, int j)
{
#define SIX(r) six(nibbles.r, pairs.r, j)
    return EACH_VB(SIX);
#undef SIX
}
/* Four int8 activations for all lanes. */
INLINE int8x16_t four(const int8_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(x));
}
INLINE int32x4_t dot_pairs(int32x4_t sum, uint8x8_t w, int16x4_t pair)
{
    int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(w));
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(wide), pair),
                                     vmull_s16(vget_high_s16(wide), pair)));
}
/* sum + lane's two u8 . two int16 */
INLINE struct vi vi_dot_pairs(struct vi sum, const uint8_t *p, const int16_t *q)
{
    int32_t x;
    memcpy(&x, q, 4);
    int16x4_t pair = vreinterpret_s16_s32(vdup_n_s32(x));
    return (struct vi){dot_pairs(sum.a, vld1_u8(p), pair), dot_pairs(sum.b, vld1_u8(p + 8), pair),
                       dot_pairs(sum.c, vld1_u8(p + 16), pair),
                       dot_pairs(sum.d, vld1_u8(p + 24), pair)};
}

/* sum + lane's four int8 . four int8 */
INLINE int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x)
{
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, w, x);
#else
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(w, x));
    return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}
/* sum + lane's four u8 . four int8: _small needs u8 < 64, which int8 holds as it is; _full takes
 * all, less 128, which makes it int8. */
#define DOT_FULL_IS_SIGNED 1
INLINE struct vi vi_dot_small(struct vi sum, struct vb w, const int8_t *q)
{
    int8x16_t x = four(q);
#define DOT(r) dot(sum.r, vreinterpretq_s8_u8(w.r), x)
    return EACH_VI(DOT);
#undef DOT
}
INLINE struct vi vi_dot_full(struct vi sum, struct vb w, const int8_t *q)
{
    int8x16_t x = four(q);
#define DOT(r) dot(sum.r, vreinterpretq_s8_u8(veorq_u8(w.r, vdupq_n_u8(0x80))), x)
    return EACH_VI(DOT);
#undef DOT
}

/* Tiles: a lane vector takes four of 32 registers here. */
#define TILE_REGISTERS 8
#define TILE_PANELS_FEW 1
#define TILE_SCORE_ROWS 4
#define TILE_SCORE_VECTORS 1
#define TILE_VALUE_ROWS 2
#define TILE_VALUE_VECTORS 2

#endif
