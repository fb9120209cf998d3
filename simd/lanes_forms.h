/* The vector kernels of the types of simd/forms.h; a part of simd/lanes_kernels.h, in the same
 * tiles. The including .c file has included lanes_forms.h of its folder. */

/* With the offsets that make them unsigned. */
#define PLUS(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, x)                             \
    {a + x, b + x, c + x, d + x, e + x, f + x, g + x, h + x, i + x, j + x, k + x, l + x, m + x, \
     n + x, o + x, p + x}
#define PLUS_ALL(...) PLUS(__VA_ARGS__)
static const uint8_t iq4_plus_128[16] = PLUS_ALL(SIMD_IQ4_VALUES, 128);
static const uint8_t mxfp4_plus_16[16] = PLUS_ALL(SIMD_MXFP4_VALUES, 16);

/* Adds the dots of 32 columns to dot[panels * rows]. `values` is the first panel's group: fifth
 * bits if `five`, then nibbles; `q` is where the columns begin in an activation row. */
INLINE void dots_32(const struct tile *t, int panels, int rows, enum simd_type type,
                    const uint8_t *values, size_t q_at, struct vi *dot)
{
    const bool five = type == SIMD_Q5_0 || type == SIMD_Q5_1 || type == SIMD_Q5_K;
    const bool iq4 = type == SIMD_IQ4_NL || type == SIMD_IQ4_XS;
    struct vb bits[4];
    UNROLL for (int p = 0; five && p < panels; p++)
        bits[p] = vb_load(values + (size_t)p * t->panel_bytes);
    UNROLL for (int j = 0; j < 4; j++) {
        struct vb low[4], high[4];
        UNROLL for (int p = 0; p < panels; p++) {
            struct vb w = vb_load(values + (size_t)p * t->panel_bytes + (five ? 64 : 0) +
                                  (size_t)j * 64);
            low[p] = vb_low(w);
            high[p] = vb_high(w);
            if (five) {
                low[p] = vb_set_bit(low[p], bits[p], j, 4);
                high[p] = vb_set_bit(high[p], bits[p], 4 + j, 4);
            } else if (iq4 || type == SIMD_MXFP4) {
                low[p] = vb_table(low[p], iq4 ? iq4_plus_128 : mxfp4_plus_16);
                high[p] = vb_table(high[p], iq4 ? iq4_plus_128 : mxfp4_plus_16);
            }
        }
        UNROLL for (int a = 0; a < rows; a++) {
            const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
            q += q_at + (size_t)j * 4;
            UNROLL for (int p = 0; p < panels; p++) {
                struct vi d = dot[p * rows + a];
                d = iq4 ? vi_dot_full(d, low[p], q) : vi_dot_small(d, low[p], q);
                dot[p * rows + a] = iq4 ? vi_dot_full(d, high[p], q + 16)
                                        : vi_dot_small(d, high[p], q + 16);
            }
        }
    }
}

/* Q4_1 Q5_0 Q5_1 IQ4_NL MXFP4 */
INLINE void tile_blocks_32(const struct tile *t, int panels, int rows, enum simd_type type)
{
    const bool mins = type == SIMD_Q4_1 || type == SIMD_Q5_1;
    struct vf sum[TILE_MAX];
    size_t blocks = t->columns / 32, values_at = simd_form_values_at(type, blocks);
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        struct vi dot[TILE_MAX];
        UNROLL for (int a = 0; a < rows; a++) {
            struct simd_act_parts x = simd_act_parts_q32(
                simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
            UNROLL for (int p = 0; p < panels; p++)
                dot[p * rows + a] = mins                  ? vi_zero()
                                    : type != SIMD_IQ4_NL ? vi_set1(2 * x.minus8[b])
                                    : DOT_FULL_IS_SIGNED  ? vi_zero()
                                                          : vi_set1(x.minus128[b]);
        }
        dots_32(t, panels, rows, type, t->panel + values_at + b * simd_form_block(type), b * 32,
                dot);
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *head = t->panel + (size_t)p * t->panel_bytes + b * simd_form_head(type);
            struct vf d = type == SIMD_MXFP4 ? vf_from_mxfp4(head) : vf_load_f16(head);
            struct vf m = mins ? vf_load_f16(head + 32) : vf_zero();
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q32(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                struct vf s = vf_fma(vf_from_vi(dot[p * rows + a]),
                                     vf_mul(d, vf_set1(x.scale[b])), sum[p * rows + a]);
                if (mins)
                    s = vf_fma(vf_set1((float)x.minus8[b]),
                               vf_mul(m, vf_set1(x.scale[b] * -0.125f)), s);
                sum[p * rows + a] = s;
            }
        }
    }
    store_tile(t, sum, panels, rows);
}

/* sum += scaled * d * scale of the row, and if there is a `d_min` (else NULL) minus the mins'. */
INLINE void add_block(const struct tile *t, int panels, int rows, size_t b, const uint8_t *d,
                      size_t d_min_at, const struct vf *scaled, const struct vi *mins,
                      struct vf *sum)
{
    UNROLL for (int p = 0; p < panels; p++) {
        const uint8_t *at = d + (size_t)p * t->panel_bytes;
        struct vf factor = vf_load_f16(at);
        struct vf factor_min = d_min_at ? vf_load_f16(at + d_min_at) : vf_zero();
        UNROLL for (int a = 0; a < rows; a++) {
            struct simd_act_parts x = simd_act_parts_q256(
                simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
            struct vf scale = vf_set1(x.scale[b]);
            struct vf s = vf_fma(scaled[p * rows + a], vf_mul(factor, scale), sum[p * rows + a]);
            if (d_min_at)
                s = vf_fnma(vf_from_vi(mins[p * rows + a]), vf_mul(factor_min, scale), s);
            sum[p * rows + a] = s;
        }
    }
}

/* Q5_K IQ4_XS: groups of 32 columns */
INLINE void tile_groups_32(const struct tile *t, int panels, int rows, enum simd_type type)
{
    const bool five = type == SIMD_Q5_K;
    struct vf sum[TILE_MAX];
    struct vi mins[TILE_MAX];
    size_t blocks = t->columns / 256, values_at = simd_form_values_at(type, blocks);
    UNROLL for (int i = 0; i < panels * rows; i++) {
        sum[i] = vf_zero();
        mins[i] = vi_zero();
    }
    for (size_t b = 0; b < blocks; b++) {
        struct vf scaled[TILE_MAX];
        const uint8_t *block = t->panel + values_at + b * simd_form_block(type);
        UNROLL for (int i = 0; i < panels * rows; i++)
            scaled[i] = vf_zero();
        for (size_t g = 0; g < 8; g++) {
            struct vi dot[TILE_MAX];
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q256(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                UNROLL for (int p = 0; p < panels; p++)
                    dot[p * rows + a] = five || DOT_FULL_IS_SIGNED
                                            ? vi_zero()
                                            : vi_set1(-128 * x.sum[b * 8 + g]);
            }
            dots_32(t, panels, rows, type, block + (five ? 320 + g * 320 : 128 + g * 256),
                    b * 256 + g * 32, dot);
            UNROLL for (int p = 0; p < panels; p++) {
                const uint8_t *at = block + (size_t)p * t->panel_bytes + (five ? 64 : 0) + g * 16;
                struct vf s = five ? vf_from_u8(at) : vf_from_i8(at);
                UNROLL for (int a = 0; a < rows; a++)
                    scaled[p * rows + a] =
                        vf_fma(vf_from_vi(dot[p * rows + a]), s, scaled[p * rows + a]);
            }
        }
        UNROLL for (int p = 0; five && p < panels; p++)
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q256(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                mins[p * rows + a] = vi_zero();
                UNROLL for (int g = 0; g < 4; g++)
                    mins[p * rows + a] =
                        vi_dot_pairs(mins[p * rows + a],
                                     block + (size_t)p * t->panel_bytes + 192 + g * 32,
                                     x.sum + b * 8 + g * 2);
            }
        add_block(t, panels, rows, b, five ? block : t->panel + b * 32, five ? 32 : 0, scaled,
                  mins, sum);
    }
    store_tile(t, sum, panels, rows);
}

/* Q2_K Q3_K: groups of 16 columns, two of them at a time */
INLINE void tile_groups_16(const struct tile *t, int panels, int rows, enum simd_type type)
{
    const bool three = type == SIMD_Q3_K;
    struct vf sum[TILE_MAX];
    struct vi mins[TILE_MAX];
    size_t blocks = t->columns / 256, values_at = simd_form_values_at(type, blocks);
    UNROLL for (int i = 0; i < panels * rows; i++) {
        sum[i] = vf_zero();
        mins[i] = vi_zero();
    }
    for (size_t b = 0; b < blocks; b++) {
        struct vf scaled[TILE_MAX];
        int16_t sums[8][16]; /* of the activations of every group; rows are at most 6 */
        const uint8_t *block = t->panel + values_at + b * simd_form_block(type);
        UNROLL for (int i = 0; i < panels * rows; i++) {
            scaled[i] = vf_zero();
            mins[i] = vi_zero();
        }
        UNROLL for (int a = 0; !three && a < rows; a++) {
            struct simd_act_parts x = simd_act_parts_q256(
                simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
            for (size_t g = 0; g < 16; g++)
                sums[a][g] = (int16_t)-(x.minus32[b * 16 + g] >> 5);
        }
        for (size_t pair = 0; pair < 8; pair++) {
            const uint8_t *values = block + (three ? 256 + pair * 192 : 320 + pair * 128);
            const uint8_t *scales = block + (three ? 0 : 64) + pair * 32;
            struct vb bits[4];
            UNROLL for (int p = 0; three && p < panels; p++)
                bits[p] = vb_load(values + (size_t)p * t->panel_bytes);
            UNROLL for (int h = 0; h < 2; h++) {
                struct vi dot[TILE_MAX];
                struct vb pairs[4];
                UNROLL for (int a = 0; a < rows; a++) {
                    struct simd_act_parts x = simd_act_parts_q256(
                        simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                    UNROLL for (int p = 0; p < panels; p++)
                        dot[p * rows + a] =
                            three ? vi_set1(x.minus32[b * 16 + pair * 2 + (size_t)h] >> 3)
                                  : vi_zero();
                }
                UNROLL for (int p = 0; p < panels; p++)
                    pairs[p] = vb_load(values + (size_t)p * t->panel_bytes + (three ? 64 : 0) +
                                       (size_t)h * 64);
                UNROLL for (int j = 0; j < 4; j++) {
                    struct vb w[4];
                    UNROLL for (int p = 0; p < panels; p++) {
                        w[p] = vb_pair(pairs[p], j);
                        if (three)
                            w[p] = vb_set_bit(w[p], bits[p], h * 4 + j, 2);
                    }
                    UNROLL for (int a = 0; a < rows; a++) {
                        const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
                        q += b * 256 + pair * 32 + (size_t)h * 16 + (size_t)j * 4;
                        UNROLL for (int p = 0; p < panels; p++)
                            dot[p * rows + a] = vi_dot_small(dot[p * rows + a], w[p], q);
                    }
                }
                UNROLL for (int p = 0; p < panels; p++) {
                    const uint8_t *at = scales + (size_t)p * t->panel_bytes + h * 16;
                    struct vf s = three ? vf_from_i8(at) : vf_from_low(at);
                    UNROLL for (int a = 0; a < rows; a++)
                        scaled[p * rows + a] =
                            vf_fma(vf_from_vi(dot[p * rows + a]), s, scaled[p * rows + a]);
                }
            }
            UNROLL for (int p = 0; !three && p < panels; p++) {
                struct vi m = vi_high_pairs(scales + (size_t)p * t->panel_bytes);
                UNROLL for (int a = 0; a < rows; a++)
                    mins[p * rows + a] =
                        vi_dot_words(mins[p * rows + a], m, &sums[a][pair * 2]);
            }
        }
        add_block(t, panels, rows, b, three ? t->panel + b * 32 : block, three ? 0 : 32, scaled,
                  mins, sum);
    }
    store_tile(t, sum, panels, rows);
}

#define FORM(name, kernel, type)                                                            \
    INLINE void name(const struct tile *t, int panels, int rows)                            \
    {                                                                                       \
        kernel(t, panels, rows, type);                                                      \
    }                                                                                       \
    INT_MATMUL(name)
FORM(tile_q4_1, tile_blocks_32, SIMD_Q4_1)
FORM(tile_q5_0, tile_blocks_32, SIMD_Q5_0)
FORM(tile_q5_1, tile_blocks_32, SIMD_Q5_1)
FORM(tile_iq4_nl, tile_blocks_32, SIMD_IQ4_NL)
FORM(tile_mxfp4, tile_blocks_32, SIMD_MXFP4)
FORM(tile_q5_k, tile_groups_32, SIMD_Q5_K)
FORM(tile_iq4_xs, tile_groups_32, SIMD_IQ4_XS)
FORM(tile_q2_k, tile_groups_16, SIMD_Q2_K)
FORM(tile_q3_k, tile_groups_16, SIMD_Q3_K)

static void fill_forms(struct simd_table *table)
{
    table->matmul[SIMD_Q4_1] = tile_q4_1_matmul;
    table->matmul[SIMD_Q5_0] = tile_q5_0_matmul;
    table->matmul[SIMD_Q5_1] = tile_q5_1_matmul;
    table->matmul[SIMD_IQ4_NL] = tile_iq4_nl_matmul;
    table->matmul[SIMD_MXFP4] = tile_mxfp4_matmul;
    table->matmul[SIMD_Q5_K] = tile_q5_k_matmul;
    table->matmul[SIMD_IQ4_XS] = tile_iq4_xs_matmul;
    table->matmul[SIMD_Q2_K] = tile_q2_k_matmul;
    table->matmul[SIMD_Q3_K] = tile_q3_k_matmul;
}
