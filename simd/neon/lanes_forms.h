/* What simd/lanes_forms.h needs beyond lanes.h, four 128-bit registers. */
#ifndef SIMD_NEON_LANES_FORMS_H
#define SIMD_NEON_LANES_FORMS_H

#include "simd/neon/lanes.h"

INLINE uint8x16_t bit_to(uint8x16_t bits, int from, int to)
{
    uint8x16_t moved = vshlq_u8(bits, vdupq_n_s8((int8_t)(to - from)));
    return vandq_u8(moved, vdupq_n_u8((uint8_t)(1 << to)));
}
/* x with bit `to` of every byte set from bit `from` of `bits` */
INLINE struct vb vb_set_bit(struct vb x, struct vb bits, int from, int to)
{
#define SET(r) vorrq_u8(x.r, bit_to(bits.r, from, to))
    return EACH_VB(SET);
#undef SET
}
/* bits 2j and 2j + 1 of every byte */
INLINE struct vb vb_pair(struct vb x, int j)
{
#define PAIR(r) vandq_u8(vshlq_u8(x.r, vdupq_n_s8((int8_t)(-2 * j))), vdupq_n_u8(3))
    return EACH_VB(PAIR);
#undef PAIR
}
/* table[byte] for bytes below 16 */
INLINE struct vb vb_table(struct vb x, const uint8_t *table)
{
    uint8x16_t values = vld1q_u8(table);
#define LOOK(r) vqtbl1q_u8(values, x.r)
    return EACH_VB(LOOK);
#undef LOOK
}
/* 16 bytes as 16 whole numbers */
INLINE struct vi vi_widen(uint8x16_t bytes)
{
    uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
    return (struct vi){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
                       vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
                       vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
                       vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))};
}
INLINE float32x4_t scale_mxfp4(int32x4_t e)
{
    int32x4_t one = vdupq_n_s32(1);
    int32x4_t normal = vshlq_n_s32(vsubq_s32(e, one), 23);
    int32x4_t tiny = vshlq_n_s32(vaddq_s32(vandq_s32(e, one), one), 21);
    return vreinterpretq_f32_s32(vmaxq_s32(normal, tiny));
}
/* simd_mxfp4_scale_bits of 16 bytes */
INLINE struct vf vf_from_mxfp4(const uint8_t *p)
{
    struct vi e = vi_widen(vld1q_u8(p));
#define SCALE(r) scale_mxfp4(e.r)
    return EACH_VF(SCALE);
#undef SCALE
}
/* The low nibbles of 16 bytes */
INLINE struct vf vf_from_low(const uint8_t *p)
{
    return vf_from_vi(vi_widen(vandq_u8(vld1q_u8(p), vdupq_n_u8(15))));
}
/* The high nibbles of p[0 .. 15] and of p[16 .. 31] as 16 pairs of 16-bit numbers */
INLINE struct vi vi_high_pairs(const uint8_t *p)
{
    uint8x16_t first = vshrq_n_u8(vld1q_u8(p), 4), second = vshrq_n_u8(vld1q_u8(p + 16), 4);
    uint16x8_t a = vmovl_u8(vget_low_u8(first)), b = vmovl_u8(vget_low_u8(second));
    uint16x8_t c = vmovl_u8(vget_high_u8(first)), d = vmovl_u8(vget_high_u8(second));
    return (struct vi){
        vreinterpretq_s32_u16(vzip1q_u16(a, b)), vreinterpretq_s32_u16(vzip2q_u16(a, b)),
        vreinterpretq_s32_u16(vzip1q_u16(c, d)), vreinterpretq_s32_u16(vzip2q_u16(c, d))};
}
INLINE int32x4_t dot_words(int32x4_t sum, int32x4_t x, int16x4_t pair)
{
    int16x8_t words = vreinterpretq_s16_s32(x);
    int32x4_t low = vmull_s16(vget_low_s16(words), pair);
    return vaddq_s32(sum, vpaddq_s32(low, vmull_s16(vget_high_s16(words), pair)));
}
/* sum + lane's two 16-bit numbers . two int16 */
INLINE struct vi vi_dot_words(struct vi sum, struct vi x, const int16_t *q)
{
    int32_t both;
    memcpy(&both, q, 4);
    int16x4_t pair = vreinterpret_s16_s32(vdup_n_s32(both));
#define WORDS(r) dot_words(sum.r, x.r, pair)
    return EACH_VI(WORDS);
#undef WORDS
}

#endif
