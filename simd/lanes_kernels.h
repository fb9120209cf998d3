/* The vector kernels, once for all widths: written for 16 lanes, whatever registers these are
 * (lanes.h of the including folder). Included by one .c file per instruction set, which defines
 * FILL, the name of its filling function, and LANES_ONLY_INT when only the integer products
 * differ from the level below.
 *
 * Tiles are functions with constant sizes, inlined into loops that cover any size with them. */
#include <math.h>

#include "simd/forms.h"
#include "simd/kernels.h"

#define UNROLL _Pragma("GCC unroll 16")

/* ---- Matrix products ----------------------------------------------------------------------- */

/* Everything a tile needs; the pointers are those of its first panel and row. */
struct tile {
    const uint8_t *panel;
    size_t panel_bytes;
    uint32_t columns;
    const void *acts;
    size_t act_stride;
    float *y;
    size_t y_stride;
};

INLINE void store_tile(const struct tile *t, struct vf *sum, int panels, int rows)
{
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int a = 0; a < rows; a++)
            vf_store(t->y + (size_t)a * t->y_stride + p * SIMD_LANES, sum[p * rows + a]);
}

enum { TILE_MAX = 24 };

INLINE void tile_float(const struct tile *t, int panels, int rows, enum simd_type type)
{
    struct vf sum[TILE_MAX];
    size_t step = type == SIMD_F32 ? 64 : 32;
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (uint32_t c = 0; c < t->columns; c++) {
        struct vf w[4];
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *at = t->panel + (size_t)p * t->panel_bytes + c * step;
            w[p] = type == SIMD_F32   ? vf_load((const float *)(const void *)at)
                   : type == SIMD_F16 ? vf_load_f16(at)
                                      : vf_load_bf16(at);
        }
        UNROLL for (int a = 0; a < rows; a++) {
            const float *x = simd_act_row(t->acts, t->act_stride, (size_t)a);
            struct vf value = vf_set1(x[c]);
            UNROLL for (int p = 0; p < panels; p++)
                sum[p * rows + a] = vf_fma(w[p], value, sum[p * rows + a]);
        }
    }
    store_tile(t, sum, panels, rows);
}

INLINE void tile_q8_0(const struct tile *t, int panels, int rows)
{
    struct vf sum[TILE_MAX];
    size_t blocks = t->columns / 32, values_at = simd_align64(blocks * 32);
    size_t part = simd_align64(blocks * 4), scale_at = simd_align64(t->columns);
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        struct vi dot[TILE_MAX];
        UNROLL for (int a = 0; a < rows; a++) {
            const char *x = simd_act_row(t->acts, t->act_stride, (size_t)a);
            const int32_t *minus = (const int32_t *)(const void *)(x + scale_at + 2 * part);
            UNROLL for (int p = 0; p < panels; p++)
                dot[p * rows + a] = DOT_FULL_IS_SIGNED ? vi_zero() : vi_set1(minus[b]);
        }
        UNROLL for (int j = 0; j < 8; j++) {
            struct vb w[4];
            UNROLL for (int p = 0; p < panels; p++)
                w[p] = vb_load(t->panel + (size_t)p * t->panel_bytes + values_at + b * 512 +
                               (size_t)j * 64);
            UNROLL for (int a = 0; a < rows; a++) {
                const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
                UNROLL for (int p = 0; p < panels; p++)
                    dot[p * rows + a] = vi_dot_full(dot[p * rows + a], w[p], q + b * 32 + j * 4);
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            struct vf d = vf_load_f16(t->panel + (size_t)p * t->panel_bytes + b * 32);
            UNROLL for (int a = 0; a < rows; a++) {
                const char *x = simd_act_row(t->acts, t->act_stride, (size_t)a);
                const float *scale = (const float *)(const void *)(x + scale_at);
                sum[p * rows + a] = vf_fma(vf_from_vi(dot[p * rows + a]),
                                           vf_mul(d, vf_set1(scale[b])), sum[p * rows + a]);
            }
        }
    }
    store_tile(t, sum, panels, rows);
}

INLINE void tile_q4_0(const struct tile *t, int panels, int rows)
{
    struct vf sum[TILE_MAX];
    size_t blocks = t->columns / 32, values_at = simd_align64(blocks * 32);
    size_t part = simd_align64(blocks * 4), scale_at = simd_align64(t->columns);
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        struct vi dot[TILE_MAX];
        UNROLL for (int a = 0; a < rows; a++) {
            const char *x = simd_act_row(t->acts, t->act_stride, (size_t)a);
            const int32_t *minus = (const int32_t *)(const void *)(x + scale_at + part);
            UNROLL for (int p = 0; p < panels; p++)
                dot[p * rows + a] = vi_set1(minus[b]);
        }
        UNROLL for (int j = 0; j < 4; j++) {
            struct vb low[4], high[4];
            UNROLL for (int p = 0; p < panels; p++) {
                struct vb w = vb_load(t->panel + (size_t)p * t->panel_bytes + values_at +
                                      b * 256 + (size_t)j * 64);
                low[p] = vb_low(w);
                high[p] = vb_high(w);
            }
            UNROLL for (int a = 0; a < rows; a++) {
                const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
                UNROLL for (int p = 0; p < panels; p++) {
                    struct vi d = vi_dot_small(dot[p * rows + a], low[p], q + b * 32 + j * 4);
                    dot[p * rows + a] = vi_dot_small(d, high[p], q + b * 32 + 16 + j * 4);
                }
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            struct vf d = vf_load_f16(t->panel + (size_t)p * t->panel_bytes + b * 32);
            UNROLL for (int a = 0; a < rows; a++) {
                const char *x = simd_act_row(t->acts, t->act_stride, (size_t)a);
                const float *scale = (const float *)(const void *)(x + scale_at);
                sum[p * rows + a] = vf_fma(vf_from_vi(dot[p * rows + a]),
                                           vf_mul(d, vf_set1(scale[b])), sum[p * rows + a]);
            }
        }
    }
    store_tile(t, sum, panels, rows);
}

/* A K block's integer part is scaled in float group by group; `scaled` lives for one block. */
INLINE void tile_q4_k(const struct tile *t, int panels, int rows)
{
    struct vf sum[TILE_MAX];
    size_t blocks = t->columns / 256;
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        struct vf scaled[TILE_MAX];
        const uint8_t *block = t->panel + b * 2368;
        UNROLL for (int i = 0; i < panels * rows; i++)
            scaled[i] = vf_zero();
        for (size_t g = 0; g < 8; g++) {
            struct vi dot[TILE_MAX];
            UNROLL for (int i = 0; i < panels * rows; i++)
                dot[i] = vi_zero();
            UNROLL for (int j = 0; j < 4; j++) {
                struct vb low[4], high[4];
                UNROLL for (int p = 0; p < panels; p++) {
                    struct vb w = vb_load(block + (size_t)p * t->panel_bytes + 320 + g * 256 +
                                          (size_t)j * 64);
                    low[p] = vb_low(w);
                    high[p] = vb_high(w);
                }
                UNROLL for (int a = 0; a < rows; a++) {
                    const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
                    q += b * 256 + g * 32 + (size_t)j * 4;
                    UNROLL for (int p = 0; p < panels; p++) {
                        struct vi d = vi_dot_small(dot[p * rows + a], low[p], q);
                        dot[p * rows + a] = vi_dot_small(d, high[p], q + 16);
                    }
                }
            }
            UNROLL for (int p = 0; p < panels; p++) {
                struct vf s = vf_from_u8(block + (size_t)p * t->panel_bytes + 64 + g * 16);
                UNROLL for (int a = 0; a < rows; a++)
                    scaled[p * rows + a] =
                        vf_fma(vf_from_vi(dot[p * rows + a]), s, scaled[p * rows + a]);
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *head = block + (size_t)p * t->panel_bytes;
            struct vf d = vf_load_f16(head), d_min = vf_load_f16(head + 32);
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q256(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                struct vi mins = vi_zero();
                UNROLL for (int g = 0; g < 4; g++)
                    mins = vi_dot_pairs(mins, head + 192 + g * 32, x.sum + b * 8 + g * 2);
                struct vf scale = vf_set1(x.scale[b]);
                struct vf s = vf_fma(scaled[p * rows + a], vf_mul(d, scale), sum[p * rows + a]);
                sum[p * rows + a] = vf_fnma(vf_from_vi(mins), vf_mul(d_min, scale), s);
            }
        }
    }
    store_tile(t, sum, panels, rows);
}

INLINE void tile_q6_k(const struct tile *t, int panels, int rows)
{
    struct vf sum[TILE_MAX];
    size_t blocks = t->columns / 256, values_at = simd_align64(blocks * 32);
    UNROLL for (int i = 0; i < panels * rows; i++)
        sum[i] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        struct vf scaled[TILE_MAX];
        const uint8_t *block = t->panel + values_at + b * 3328;
        UNROLL for (int i = 0; i < panels * rows; i++)
            scaled[i] = vf_zero();
        for (size_t g = 0; g < 16; g++) {
            struct vi dot[TILE_MAX];
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q256(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                UNROLL for (int p = 0; p < panels; p++)
                    dot[p * rows + a] = vi_set1(x.minus32[b * 16 + g]);
            }
            struct vb pairs[4];
            UNROLL for (int p = 0; p < panels; p++)
                pairs[p] = vb_load(block + (size_t)p * t->panel_bytes + 2304 + g * 64);
            UNROLL for (int j = 0; j < 4; j++) {
                struct vb w[4];
                UNROLL for (int p = 0; p < panels; p++) {
                    struct vb nibbles = vb_load(block + (size_t)p * t->panel_bytes + 256 +
                                                g / 2 * 256 + (size_t)j * 64);
                    nibbles = g % 2 ? vb_high(nibbles) : vb_low(nibbles);
                    w[p] = vb_six(nibbles, pairs[p], j);
                }
                UNROLL for (int a = 0; a < rows; a++) {
                    const int8_t *q = simd_act_row(t->acts, t->act_stride, (size_t)a);
                    q += b * 256 + g * 16 + (size_t)j * 4;
                    UNROLL for (int p = 0; p < panels; p++)
                        dot[p * rows + a] = vi_dot_small(dot[p * rows + a], w[p], q);
                }
            }
            UNROLL for (int p = 0; p < panels; p++) {
                struct vf s = vf_from_i8(block + (size_t)p * t->panel_bytes + g * 16);
                UNROLL for (int a = 0; a < rows; a++)
                    scaled[p * rows + a] =
                        vf_fma(vf_from_vi(dot[p * rows + a]), s, scaled[p * rows + a]);
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            struct vf d = vf_load_f16(t->panel + (size_t)p * t->panel_bytes + b * 32);
            UNROLL for (int a = 0; a < rows; a++) {
                struct simd_act_parts x = simd_act_parts_q256(
                    simd_act_row(t->acts, t->act_stride, (size_t)a), t->columns);
                sum[p * rows + a] = vf_fma(scaled[p * rows + a], vf_mul(d, vf_set1(x.scale[b])),
                                           sum[p * rows + a]);
            }
        }
    }
    store_tile(t, sum, panels, rows);
}

/* `cover` walks over panels (outside) and activation rows (inside), so that a panel comes from
 * memory once. Sizes are measured: two panels by six rows keep 12 chains of vpdpbusd going and
 * load each activation once for two of them (30 % faster than one panel by twelve rows); for one
 * or two rows four panels side by side are four streams from memory. */
#define TILE(name, panels, rows, ...)                                                      \
    static __attribute__((noinline)) void name##_##panels##x##rows(const struct tile *t)   \
    {                                                                                      \
        __VA_ARGS__;                                                                       \
    }

typedef void (*tile_function)(const struct tile *tile);

struct cover {
    tile_function few1, few2;  /* TILE_PANELS_FEW panels */
    uint32_t wide_panels;      /* of the functions below */
    uint32_t row_counts[5];    /* falling, 0 ends; the last is 1 */
    tile_function wide[5], single[5]; /* wide_panels panels; one panel */
};

static void cover_rows(const struct cover *c, const struct simd_weights *w, uint32_t panel_begin,
                       uint32_t panel_end, const void *acts, size_t act_stride,
                       uint32_t act_count, float *y, size_t y_stride)
{
    for (uint32_t p = panel_begin; p < panel_end;) {
        bool few = act_count <= 2 && panel_end - p >= TILE_PANELS_FEW;
        bool wide = !few && panel_end - p >= c->wide_panels;
        uint32_t panels = few ? TILE_PANELS_FEW : wide ? c->wide_panels : 1;
        unsigned size = 0;
        for (uint32_t a = 0; a < act_count;) {
            const struct tile tile = {w->data + p * w->panel_bytes, w->panel_bytes, w->columns,
                                      simd_act_row(acts, act_stride, a), act_stride,
                                      y + a * y_stride + (size_t)p * SIMD_LANES, y_stride};
            if (few) {
                (act_count == 1 ? c->few1 : c->few2)(&tile);
                break;
            }
            while (c->row_counts[size] > act_count - a)
                size++;
            (wide ? c->wide[size] : c->single[size])(&tile);
            a += c->row_counts[size];
        }
        p += panels;
    }
}

/* Many rows in parts that stay in the second-level cache (they are read again for every step of
 * panels, the panels again for every part). */
static void cover(const struct cover *c, const struct simd_weights *w, uint32_t panel_begin,
                  uint32_t panel_end, const void *acts, size_t act_stride, uint32_t act_count,
                  float *y, size_t y_stride)
{
    enum { PART_BYTES = 768 << 10, PART_ROWS = 24 /* a multiple of all tiles' rows */ };
    uint32_t part = (uint32_t)(PART_BYTES / act_stride) / PART_ROWS * PART_ROWS;
    part = part < PART_ROWS ? PART_ROWS : part;
    for (uint32_t a = 0; a < act_count; a += part)
        cover_rows(c, w, panel_begin, panel_end, simd_act_row(acts, act_stride, a), act_stride,
                   act_count - a < part ? act_count - a : part, y + a * y_stride, y_stride);
}

#define MATMUL(name, table)                                                                     \
    static void name(const struct simd_weights *w, uint32_t panel_begin, uint32_t panel_end,    \
                     const void *acts, size_t act_stride, uint32_t act_count, float *y,         \
                     size_t y_stride)                                                           \
    {                                                                                           \
        cover(&table, w, panel_begin, panel_end, acts, act_stride, act_count, y, y_stride);     \
    }

#if TILE_REGISTERS == 32
#define INT_MATMUL(name)                                                                  \
    TILE(name, 4, 1, name(t, 4, 1))                                                       \
    TILE(name, 4, 2, name(t, 4, 2))                                                       \
    TILE(name, 2, 6, name(t, 2, 6))                                                       \
    TILE(name, 2, 4, name(t, 2, 4))                                                       \
    TILE(name, 2, 2, name(t, 2, 2))                                                       \
    TILE(name, 2, 1, name(t, 2, 1))                                                       \
    TILE(name, 1, 6, name(t, 1, 6))                                                       \
    TILE(name, 1, 4, name(t, 1, 4))                                                       \
    TILE(name, 1, 2, name(t, 1, 2))                                                       \
    TILE(name, 1, 1, name(t, 1, 1))                                                       \
    static const struct cover name##_cover = {                                            \
        name##_4x1, name##_4x2, 2, {6, 4, 2, 1},                                          \
        {name##_2x6, name##_2x4, name##_2x2, name##_2x1},                                 \
        {name##_1x6, name##_1x4, name##_1x2, name##_1x1}};                                \
    MATMUL(name##_matmul, name##_cover)
#elif TILE_REGISTERS == 16
#define INT_MATMUL(name)                                                                  \
    TILE(name, 2, 1, name(t, 2, 1))                                                       \
    TILE(name, 2, 2, name(t, 2, 2))                                                       \
    TILE(name, 1, 4, name(t, 1, 4))                                                       \
    TILE(name, 1, 2, name(t, 1, 2))                                                       \
    TILE(name, 1, 1, name(t, 1, 1))                                                       \
    static const struct cover name##_cover = {                                            \
        name##_2x1, name##_2x2, 1, {4, 2, 1},                                             \
        {name##_1x4, name##_1x2, name##_1x1},                                             \
        {name##_1x4, name##_1x2, name##_1x1}};                                            \
    MATMUL(name##_matmul, name##_cover)
#else
#define INT_MATMUL(name)                                                                  \
    TILE(name, 1, 2, name(t, 1, 2))                                                       \
    TILE(name, 1, 1, name(t, 1, 1))                                                       \
    static const struct cover name##_cover = {name##_1x1,  name##_1x2, 1, {2, 1},          \
                                              {name##_1x2, name##_1x1},                    \
                                              {name##_1x2, name##_1x1}};                   \
    MATMUL(name##_matmul, name##_cover)
#endif

INT_MATMUL(tile_q8_0)
INT_MATMUL(tile_q4_0)
INT_MATMUL(tile_q4_k)
INT_MATMUL(tile_q6_k)

#include "simd/lanes_forms.h"

#if !defined(LANES_ONLY_INT)

#if TILE_REGISTERS == 32
#define FLOAT_MATMUL(name, type)                                                          \
    TILE(name, 4, 1, tile_float(t, 4, 1, type))                                           \
    TILE(name, 4, 2, tile_float(t, 4, 2, type))                                           \
    TILE(name, 2, 12, tile_float(t, 2, 12, type))                                         \
    TILE(name, 2, 8, tile_float(t, 2, 8, type))                                           \
    TILE(name, 2, 4, tile_float(t, 2, 4, type))                                           \
    TILE(name, 2, 2, tile_float(t, 2, 2, type))                                           \
    TILE(name, 2, 1, tile_float(t, 2, 1, type))                                           \
    TILE(name, 1, 12, tile_float(t, 1, 12, type))                                         \
    TILE(name, 1, 8, tile_float(t, 1, 8, type))                                           \
    TILE(name, 1, 4, tile_float(t, 1, 4, type))                                           \
    TILE(name, 1, 2, tile_float(t, 1, 2, type))                                           \
    TILE(name, 1, 1, tile_float(t, 1, 1, type))                                           \
    static const struct cover name##_cover = {                                            \
        name##_4x1, name##_4x2, 2, {12, 8, 4, 2, 1},                                      \
        {name##_2x12, name##_2x8, name##_2x4, name##_2x2, name##_2x1},                    \
        {name##_1x12, name##_1x8, name##_1x4, name##_1x2, name##_1x1}};                   \
    MATMUL(name##_matmul, name##_cover)
#elif TILE_REGISTERS == 16
#define FLOAT_MATMUL(name, type)                                                          \
    TILE(name, 2, 1, tile_float(t, 2, 1, type))                                           \
    TILE(name, 2, 2, tile_float(t, 2, 2, type))                                           \
    TILE(name, 1, 6, tile_float(t, 1, 6, type))                                           \
    TILE(name, 1, 4, tile_float(t, 1, 4, type))                                           \
    TILE(name, 1, 2, tile_float(t, 1, 2, type))                                           \
    TILE(name, 1, 1, tile_float(t, 1, 1, type))                                           \
    static const struct cover name##_cover = {                                            \
        name##_2x1, name##_2x2, 1, {6, 4, 2, 1},                                          \
        {name##_1x6, name##_1x4, name##_1x2, name##_1x1},                                 \
        {name##_1x6, name##_1x4, name##_1x2, name##_1x1}};                                \
    MATMUL(name##_matmul, name##_cover)
#else
#define FLOAT_MATMUL(name, type)                                                          \
    TILE(name, 1, 4, tile_float(t, 1, 4, type))                                           \
    TILE(name, 1, 2, tile_float(t, 1, 2, type))                                           \
    TILE(name, 1, 1, tile_float(t, 1, 1, type))                                           \
    static const struct cover name##_cover = {name##_1x1, name##_1x2, 1, {4, 2, 1},        \
                                              {name##_1x4, name##_1x2, name##_1x1},        \
                                              {name##_1x4, name##_1x2, name##_1x1}};       \
    MATMUL(name##_matmul, name##_cover)
#endif

FLOAT_MATMUL(tile_f32, SIMD_F32)
FLOAT_MATMUL(tile_f16, SIMD_F16)
FLOAT_MATMUL(tile_bf16, SIMD_BF16)

/* ---- Rows ---------------------------------------------------------------------------------- */

INLINE struct vf vf_exp(struct vf x)
{
    x = vf_min(vf_max(x, vf_set1(SIMD_EXP_MIN)), vf_set1(SIMD_EXP_MAX));
    struct vf shifted = vf_fma(x, vf_set1(SIMD_EXP_LOG2E), vf_set1(SIMD_EXP_MAGIC));
    struct vf n = vf_sub(shifted, vf_set1(SIMD_EXP_MAGIC));
    struct vf r = vf_fnma(n, vf_set1(SIMD_EXP_LN2_HIGH), x);
    r = vf_fnma(n, vf_set1(SIMD_EXP_LN2_LOW), r);
    struct vf p = vf_fma(vf_set1(SIMD_EXP_C6), r, vf_set1(SIMD_EXP_C5));
    p = vf_fma(p, r, vf_set1(SIMD_EXP_C4));
    p = vf_fma(p, r, vf_set1(SIMD_EXP_C3));
    p = vf_fma(p, r, vf_set1(SIMD_EXP_C2));
    p = vf_fma(p, r, vf_set1(SIMD_EXP_C1));
    p = vf_add(vf_fma(p, vf_mul(r, r), r), vf_set1(1.0f));
    return vf_times_2n(p, shifted, SIMD_EXP_MAGIC);
}

static void rmsnorm(const float *x, const float *weight, float epsilon, uint32_t count, float *out)
{
    struct vf sum = vf_zero();
    uint32_t whole = count / SIMD_LANES * SIMD_LANES, rest = count - whole;
    for (uint32_t i = 0; i < whole; i += SIMD_LANES) {
        struct vf v = vf_load(x + i);
        sum = vf_fma(v, v, sum);
    }
    struct vf tail = vf_load_part(x + whole, rest);
    sum = vf_fma(tail, tail, sum);
    struct vf factor = vf_set1(1.0f / sqrtf(vf_tree_add(sum) / (float)count + epsilon));
    for (uint32_t i = 0; i < whole; i += SIMD_LANES)
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), factor), vf_load(weight + i)));
    vf_store_part(out + whole, rest,
                  vf_mul(vf_mul(tail, factor), vf_load_part(weight + whole, rest)));
}

static void rope(float *x, const float *cos, const float *sin, uint32_t half)
{
    for (uint32_t i = 0; i < half; i += SIMD_LANES) {
        uint32_t n = half - i < SIMD_LANES ? half - i : SIMD_LANES;
        struct vf a = vf_load_part(x + i, n), b = vf_load_part(x + half + i, n);
        struct vf c = vf_load_part(cos + i, n), s = vf_load_part(sin + i, n);
        vf_store_part(x + i, n, vf_sub(vf_mul(a, c), vf_mul(b, s)));
        vf_store_part(x + half + i, n, vf_add(vf_mul(b, c), vf_mul(a, s)));
    }
}

static void add(float *x, const float *y, uint32_t count)
{
    uint32_t i = 0;
    for (; i + SIMD_LANES <= count; i += SIMD_LANES)
        vf_store(x + i, vf_add(vf_load(x + i), vf_load(y + i)));
    vf_store_part(x + i, count - i,
                  vf_add(vf_load_part(x + i, count - i), vf_load_part(y + i, count - i)));
}

static void mul(float *x, const float *y, uint32_t count)
{
    uint32_t i = 0;
    for (; i + SIMD_LANES <= count; i += SIMD_LANES)
        vf_store(x + i, vf_mul(vf_load(x + i), vf_load(y + i)));
    vf_store_part(x + i, count - i,
                  vf_mul(vf_load_part(x + i, count - i), vf_load_part(y + i, count - i)));
}

static void scale(float *x, float factor, uint32_t count)
{
    uint32_t i = 0;
    for (; i + SIMD_LANES <= count; i += SIMD_LANES)
        vf_store(x + i, vf_mul(vf_load(x + i), vf_set1(factor)));
    vf_store_part(x + i, count - i, vf_mul(vf_load_part(x + i, count - i), vf_set1(factor)));
}

INLINE struct vf silu_mul_lanes(struct vf gate, struct vf up)
{
    struct vf e = vf_exp(vf_sub(vf_set1(-0.0f), gate));
    return vf_mul(vf_div(gate, vf_add(vf_set1(1.0f), e)), up);
}

static void silu_mul(float *gate, const float *up, uint32_t count)
{
    uint32_t i = 0;
    for (; i + SIMD_LANES <= count; i += SIMD_LANES)
        vf_store(gate + i, silu_mul_lanes(vf_load(gate + i), vf_load(up + i)));
    vf_store_part(gate + i, count - i,
                  silu_mul_lanes(vf_load_part(gate + i, count - i),
                                 vf_load_part(up + i, count - i)));
}

INLINE struct vf gelu_mul_lanes(struct vf x, struct vf up)
{
    struct vf cube = vf_mul(vf_mul(x, x), x);
    struct vf u = vf_mul(vf_fma(cube, vf_set1(SIMD_GELU_CUBE), x), vf_set1(SIMD_GELU_SCALE));
    return vf_mul(vf_div(x, vf_add(vf_set1(1.0f), vf_exp(u))), up);
}

static void gelu_mul(float *gate, const float *up, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        vf_store_part(gate + i, n, gelu_mul_lanes(vf_load_part(gate + i, n),
                                                  vf_load_part(up + i, n)));
    }
}

INLINE struct vf clamped_mul_lanes(struct vf x, struct vf y)
{
    struct vf limit = vf_set1(SIMD_CLAMP_LIMIT), one = vf_set1(1.0f);
    x = vf_min(x, limit);
    y = vf_max(vf_min(y, limit), vf_set1(-SIMD_CLAMP_LIMIT));
    struct vf e = vf_exp(vf_mul(x, vf_set1(SIMD_CLAMP_SLOPE)));
    return vf_mul(vf_div(x, vf_add(one, e)), vf_add(y, one));
}

static void clamped_mul(float *gate, const float *up, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        vf_store_part(gate + i, n, clamped_mul_lanes(vf_load_part(gate + i, n),
                                                     vf_load_part(up + i, n)));
    }
}

static void softcap(float *x, float cap, uint32_t count)
{
    struct vf inverse = vf_set1(2.0f / cap), twice = vf_set1(2.0f * cap), one = vf_set1(1.0f);
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        struct vf e = vf_exp(vf_mul(vf_load_part(x + i, n), inverse));
        vf_store_part(x + i, n, vf_sub(vf_set1(cap), vf_div(twice, vf_add(one, e))));
    }
}

static void exp_rows(float *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        vf_store_part(x + i, n, vf_exp(vf_load_part(x + i, n)));
    }
}

static void to_f16(const float *x, uint32_t count, uint16_t *out)
{
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        struct vf v = vf_max(vf_load_part(x + i, n), vf_set1(-65504.0f));
        vf_store_f16_part(out + i, n, vf_min(v, vf_set1(65504.0f)));
    }
}

/* One block (a multiple of 16) of activations to int8; returns the scale. */
INLINE float quantize_block(const float *x, uint32_t count, int8_t *q)
{
    struct vf top = vf_zero();
    for (uint32_t i = 0; i < count; i += SIMD_LANES)
        top = vf_max(vf_abs(vf_load(x + i)), top);
    float max = vf_tree_max(top);
    struct vf inverse = vf_set1(max > 0 ? 127.0f / max : 0);
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        struct vf v = vf_max(vf_mul(vf_load(x + i), inverse), vf_set1(-127.0f));
        vf_store_i8(q + i, vf_min(v, vf_set1(127.0f)));
    }
    return max / 127.0f;
}

static void quantize_q32(const float *x, uint32_t columns, void *row)
{
    struct simd_act_parts parts = simd_act_parts_q32(row, columns);
    for (uint32_t b = 0; b < columns / 32; b++) {
        int8_t *q = parts.q + (size_t)b * 32;
        parts.scale[b] = quantize_block(x + (size_t)b * 32, 32, q);
        int32_t sum = sum16(q) + sum16(q + 16);
        parts.minus8[b] = -8 * sum;
        parts.minus128[b] = -128 * sum;
    }
}

static void quantize_q256(const float *x, uint32_t columns, void *row)
{
    struct simd_act_parts parts = simd_act_parts_q256(row, columns);
    for (uint32_t b = 0; b < columns / 256; b++)
        parts.scale[b] = quantize_block(x + (size_t)b * 256, 256, parts.q + (size_t)b * 256);
    for (uint32_t g = 0; g < columns / 32; g++) {
        int32_t low = sum16(parts.q + (size_t)g * 32), high = sum16(parts.q + (size_t)g * 32 + 16);
        parts.minus32[2 * g] = -32 * low;
        parts.minus32[2 * g + 1] = -32 * high;
        parts.sum[g] = (int16_t)(low + high);
    }
}

/* ---- Attention ----------------------------------------------------------------------------- */

INLINE void scores_tile(const float *q, size_t q_stride, int rows, const uint16_t *k,
                        size_t k_stride, int vectors, uint32_t head_dim, float *scores,
                        size_t score_stride)
{
    struct vf sum[TILE_SCORE_ROWS * TILE_SCORE_VECTORS];
    UNROLL for (int i = 0; i < rows * vectors; i++)
        sum[i] = vf_zero();
    for (uint32_t d = 0; d < head_dim; d++) {
        struct vf keys[TILE_SCORE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
            keys[v] = vf_load_f16(k + d * k_stride + v * SIMD_LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            struct vf value = vf_set1(q[(size_t)r * q_stride + d]);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r * vectors + v] = vf_fma(value, keys[v], sum[r * vectors + v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            vf_store(scores + (size_t)r * score_stride + v * SIMD_LANES, sum[r * vectors + v]);
}

INLINE void scores_rows(const float *q, size_t q_stride, int rows, const uint16_t *k,
                        size_t k_stride, uint32_t token_count, uint32_t head_dim, float *scores,
                        size_t score_stride)
{
    uint32_t t = 0;
    for (; t + TILE_SCORE_VECTORS * SIMD_LANES <= token_count; t += TILE_SCORE_VECTORS * SIMD_LANES)
        scores_tile(q, q_stride, rows, k + t, k_stride, TILE_SCORE_VECTORS, head_dim, scores + t,
                    score_stride);
    for (; t < token_count; t += SIMD_LANES)
        scores_tile(q, q_stride, rows, k + t, k_stride, 1, head_dim, scores + t, score_stride);
}

static void attn_scores(const float *q, size_t q_stride, uint32_t row_count, const uint16_t *k,
                        size_t k_stride, uint32_t token_count, uint32_t head_dim, float *scores,
                        size_t score_stride)
{
    uint32_t r = 0;
#define ROWS(n)                                                                              \
    for (; r + (n) <= row_count; r += (n))                                                   \
    scores_rows(q + r * q_stride, q_stride, (n), k, k_stride, token_count, head_dim,         \
                scores + r * score_stride, score_stride)
    ROWS(TILE_SCORE_ROWS);
    ROWS(TILE_SCORE_ROWS / 2);
    ROWS(2);
    ROWS(1);
#undef ROWS
}

static void attn_softmax(float *scores, uint32_t count, const uint16_t *mask, float *max,
                         float *sum)
{
    struct vf top = vf_set1(-INFINITY), total = vf_zero();
    unsigned any = 0;
    for (uint32_t t = 0; t < count; t += SIMD_LANES) {
        uint16_t bits = mask[t / SIMD_LANES];
        top = vf_max(vf_choose(bits, vf_load(scores + t), vf_set1(-INFINITY)), top);
        any |= bits;
    }
    float highest = vf_tree_max(top);
    for (uint32_t t = 0; t < count; t += SIMD_LANES) {
        struct vf e = vf_exp(vf_sub(vf_load(scores + t), vf_set1(highest)));
        e = vf_keep(mask[t / SIMD_LANES], e);
        vf_store(scores + t, e);
        total = vf_add(total, e);
    }
    *max = highest;
    *sum = any ? vf_tree_add(total) : 0;
}

INLINE void values_tile(const float *p, size_t p_stride, int rows, const uint16_t *v,
                        uint32_t token_count, uint32_t head_dim, int vectors, uint32_t part,
                        float *out, size_t out_stride)
{
    struct vf sum[TILE_VALUE_ROWS * TILE_VALUE_VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int i = 0; i < vectors; i++) {
            const float *at = out + (size_t)r * out_stride + i * SIMD_LANES;
            sum[r * vectors + i] = part ? vf_load_part(at, part) : vf_load(at);
        }
    for (uint32_t t = 0; t < token_count; t++) {
        struct vf value[TILE_VALUE_VECTORS];
        UNROLL for (int i = 0; i < vectors; i++) {
            const uint16_t *at = v + (size_t)t * head_dim + i * SIMD_LANES;
            value[i] = part ? vf_load_f16_part(at, part) : vf_load_f16(at);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            struct vf weight = vf_set1(p[(size_t)r * p_stride + t]);
            UNROLL for (int i = 0; i < vectors; i++)
                sum[r * vectors + i] = vf_fma(weight, value[i], sum[r * vectors + i]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int i = 0; i < vectors; i++) {
            float *at = out + (size_t)r * out_stride + i * SIMD_LANES;
            if (part)
                vf_store_part(at, part, sum[r * vectors + i]);
            else
                vf_store(at, sum[r * vectors + i]);
        }
}

INLINE void values_rows(const float *p, size_t p_stride, int rows, const uint16_t *v,
                        uint32_t token_count, uint32_t head_dim, float *out, size_t out_stride)
{
    uint32_t d = 0;
    for (; d + TILE_VALUE_VECTORS * SIMD_LANES <= head_dim; d += TILE_VALUE_VECTORS * SIMD_LANES)
        values_tile(p, p_stride, rows, v + d, token_count, head_dim, TILE_VALUE_VECTORS, 0,
                    out + d, out_stride);
    for (; d + SIMD_LANES <= head_dim; d += SIMD_LANES)
        values_tile(p, p_stride, rows, v + d, token_count, head_dim, 1, 0, out + d, out_stride);
    if (d < head_dim)
        values_tile(p, p_stride, rows, v + d, token_count, head_dim, 1, head_dim - d, out + d,
                    out_stride);
}

static void attn_values(const float *p, size_t p_stride, uint32_t row_count, const uint16_t *v,
                        uint32_t token_count, uint32_t head_dim, float *out, size_t out_stride)
{
    uint32_t r = 0;
    for (; r + TILE_VALUE_ROWS <= row_count; r += TILE_VALUE_ROWS)
        values_rows(p + r * p_stride, p_stride, TILE_VALUE_ROWS, v, token_count, head_dim,
                    out + r * out_stride, out_stride);
    for (; r + 2 <= row_count; r += 2)
        values_rows(p + r * p_stride, p_stride, 2, v, token_count, head_dim, out + r * out_stride,
                    out_stride);
    for (; r < row_count; r++)
        values_rows(p + r * p_stride, p_stride, 1, v, token_count, head_dim, out + r * out_stride,
                    out_stride);
}

static void attn_merge(float *out, float a, const float *y, float b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += SIMD_LANES) {
        uint32_t n = count - i < SIMD_LANES ? count - i : SIMD_LANES;
        struct vf old = vf_mul(vf_load_part(out + i, n), vf_set1(a));
        vf_store_part(out + i, n, vf_fma(vf_load_part(y + i, n), vf_set1(b), old));
    }
}

#endif

void FILL(struct simd_table *table)
{
    table->matmul[SIMD_Q8_0] = tile_q8_0_matmul;
    table->matmul[SIMD_Q4_0] = tile_q4_0_matmul;
    table->matmul[SIMD_Q4_K] = tile_q4_k_matmul;
    table->matmul[SIMD_Q6_K] = tile_q6_k_matmul;
    fill_forms(table);
#if !defined(LANES_ONLY_INT)
    table->matmul[SIMD_F32] = tile_f32_matmul;
    table->matmul[SIMD_F16] = tile_f16_matmul;
    table->matmul[SIMD_BF16] = tile_bf16_matmul;
    table->quantize[SIMD_ACT_Q32] = quantize_q32;
    table->quantize[SIMD_ACT_Q256] = quantize_q256;
    table->rmsnorm = rmsnorm;
    table->rope = rope;
    table->add = add;
    table->mul = mul;
    table->scale = scale;
    table->silu_mul = silu_mul;
    table->gelu_mul = gelu_mul;
    table->clamped_mul = clamped_mul;
    table->softcap = softcap;
    table->exp = exp_rows;
    table->to_f16 = to_f16;
    table->attn_scores = attn_scores;
    table->attn_softmax = attn_softmax;
    table->attn_values = attn_values;
    table->attn_merge = attn_merge;
#endif
}
