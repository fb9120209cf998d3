/* The packed forms of the weight types beyond simd/pack.c's first ones: between simd/forms.c (which
 * packs and unpacks), the scalar kernels and the lanes kernels.
 *
 * A panel is [block][head] padded to 64 bytes, then [block][values]. Sixteen rows each:
 *   Q4_1 Q5_1    head 16 f16 d, 16 f16 m         } values: Q5: 64 bytes of fifth bits, then
 *   Q5_0 IQ4_NL  head 16 f16 d                   } 4 x [16 x 4] bytes of nibbles as Q4_0's
 *   MXFP4        head 16 exponents               }
 *   Q5_K         no head; values: 16 f16 d, 16 f16 dmin; 8 groups x [16 u8 scales]; 4 pairs of
 *                groups x [16 rows x 2 u8 mins]; then 8 groups of 32 columns as Q5_0's values
 *   IQ4_XS       head 16 f16 d; values: 8 groups x [16 int8 scales]; 8 x nibbles
 *   Q2_K         no head; values: 16 f16 d, 16 f16 dmin; 16 groups x [16 bytes, scale | min << 4];
 *                16 groups of 16 columns x [16 x 4] bytes: bits 2j and 2j + 1 belong to columns
 *                4j .. 4j + 3
 *   Q3_K         head 16 f16 d; values: 16 groups x [16 int8 scales]; 8 x (64 bytes of third bits,
 *                then 2 groups of 16 columns as Q2_K's)
 * Bit k of a byte of fifth or third bits belongs to columns 4k .. 4k + 3 of the 32. The lane of a
 * missing row has scales of zero, or (MXFP4) values of zero. */
#ifndef SIMD_FORMS_H
#define SIMD_FORMS_H

#include "simd/simd.h"

static inline size_t simd_form_head(enum simd_type type)
{
    return type == SIMD_Q4_1 || type == SIMD_Q5_1                                             ? 64
           : type == SIMD_Q5_0 || type == SIMD_IQ4_NL || type == SIMD_IQ4_XS || type == SIMD_Q3_K ? 32
           : type == SIMD_MXFP4                                                               ? 16
                                                                                              : 0;
}

static inline size_t simd_form_block(enum simd_type type)
{
    return type == SIMD_Q5_0 || type == SIMD_Q5_1 ? 320
           : type == SIMD_Q5_K                    ? 2880
           : type == SIMD_IQ4_XS                  ? 2176
           : type == SIMD_Q2_K                    ? 1344
           : type == SIMD_Q3_K                    ? 1792
                                                  : 256;
}

static inline size_t simd_form_values_at(enum simd_type type, size_t blocks)
{
    return simd_align64(blocks * simd_form_head(type));
}

/* What the nibbles of IQ4_NL and IQ4_XS mean, and those of MXFP4 in halves. */
#define SIMD_IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define SIMD_MXFP4_VALUES 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

/* 2^(exponent - 128), the scale of those halves, as the bits of a float (0 and 1 are denormal). */
static inline uint32_t simd_mxfp4_scale_bits(uint8_t exponent)
{
    return exponent < 2 ? 0x200000u << exponent : (uint32_t)(exponent - 1) << 23;
}

/* One block as files have it, to floats. */
void simd_form_unpack(enum simd_type type, const uint8_t *block, float *out);
/* A row into its lane of a zeroed panel. */
void simd_form_pack(enum simd_type type, size_t blocks, unsigned lane, const uint8_t *row,
                    uint8_t *panel);

/* The 8 six-bit scales and 8 six-bit mins of a Q4_K or Q5_K block from their 12 bytes. */
void simd_k_scales(const uint8_t *packed, uint8_t scales[8], uint8_t mins[8]);

#endif
