/* int8 products by tiles (AMX): a tile product gives the integer dots of 16 activation rows with
 * 16 weight rows over one block (32 columns; 16 for Q6_K), which are then scaled in floats exactly
 * as the scalar kernels do.
 *
 * Panels are walked in groups, columns in chunks: a chunk of a group is unpacked once to signed
 * bytes in tile order (it stays in the first-level cache) and then serves all activation rows,
 * 16 at a time. Sums wait in y between chunks. Few rows are left to the level below.
 *
 * Measured on this class of machine (Sapphire Rapids), per block of 32 columns: the tile product
 * takes 4.7 ns and hides behind the rest; storing the tile 5 ns and scaling it 8 ns do not hide
 * behind each other. So a block costs 15.4 ns at best; 20 ns are reached, 33 ns by vpdpbusd. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "simd/kernels.h"

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

enum {
    ROWS = 16,           /* activation rows of a tile */
    CHUNK_COLUMNS = 1024, /* a multiple of 256 */
    GROUP_PANELS = 2,
    REST_MIN = 10,       /* rows behind the last whole tile that are worth a tile of their own */
    ROWS_MIN = 24,       /* rows that are worth the unpacking */
};

/* The products of the level below, for few rows. */
static struct simd_table below;

/* What is unpacked of a panel for one chunk. */
struct unpacked {
    _Alignas(64) int8_t q[CHUNK_COLUMNS * SIMD_LANES]; /* [block][columns / 4][16 rows][4] */
    float scale[CHUNK_COLUMNS / 16][SIMD_LANES];       /* of a block */
    float d[CHUNK_COLUMNS / 256][SIMD_LANES], d_min[CHUNK_COLUMNS / 256][SIMD_LANES];
    uint16_t mins[CHUNK_COLUMNS / 256][4][2 * SIMD_LANES]; /* pairs of groups */
};

/* 16 activation rows from the chunk's first column on; scale and sum are those of the chunk's
 * first block. Row i lies i * q_stride, i * stride bytes further on. */
struct rows {
    const int8_t *q;
    const char *scale, *sum;
    size_t q_stride, stride;
};

/* ---- Tiles --------------------------------------------------------------------------------- */

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* The compiler does not know all that the tile instructions read. */
INLINE void memory_barrier(const void *read) { __asm__ volatile("" ::"r"(read) : "memory"); }

/* Tiles 0 and 1 are sums, 2 and 3 activations, 4 and 5 weights of blocks of `columns`. */
static void configure(uint32_t columns)
{
    struct tile_config config = {.palette = 1};
    for (unsigned i = 0; i < 6; i++) {
        config.row_bytes[i] = i / 2 == 1 ? (uint16_t)columns : 64;
        config.rows[i] = i / 2 == 2 ? (uint8_t)(columns / 4) : ROWS;
    }
    memory_barrier(&config);
    _tile_loadconfig(&config);
}

typedef int32_t dots_tile[ROWS][SIMD_LANES];

#define DOTS(sums, left, right, block, columns)                                       \
    do {                                                                              \
        _tile_zero(sums);                                                             \
        _tile_loadd(left, x->q + (size_t)(block) * (columns), x->q_stride);           \
        _tile_loadd(right, w->q + (size_t)(block) * (columns) * SIMD_LANES, 64);      \
        _tile_dpbssd(sums, left, right);                                              \
    } while (0)

INLINE __m512 dots_at(const dots_tile dots, int row)
{
    return _mm512_cvtepi32_ps(_mm512_load_si512(dots[row]));
}

INLINE __m512 scale_at(const struct rows *x, int row, size_t block)
{
    const float *scale = (const float *)(const void *)(x->scale + (size_t)row * x->stride);
    return _mm512_set1_ps(scale[block]);
}

/* In the loops below the tile product runs two blocks ahead of the scaling and the store one: what
 * an instruction needs is then long done. So up to three blocks behind the last one are read (and
 * not used): behind a row's int8 values lie its scales, behind the weights theirs. */

/* Formats with one scale per 32 columns. */
INLINE void scale_block(__m512 *sum, const struct unpacked *w, const struct rows *x,
                        size_t block, const dots_tile dots)
{
    __m512 d = _mm512_load_ps(w->scale[block]);
    UNROLL for (int r = 0; r < ROWS; r++)
        sum[r] = _mm512_fmadd_ps(dots_at(dots, r), _mm512_mul_ps(d, scale_at(x, r, block)),
                                 sum[r]);
}

static __attribute__((noinline)) void tile_q32(const struct unpacked *w, const struct rows *x,
                                               size_t blocks, bool first, float *y,
                                               size_t y_stride)
{
    _Alignas(64) dots_tile dots[2];
    __m512 sum[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++)
        sum[r] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(y + (size_t)r * y_stride);
    DOTS(0, 2, 4, 0, 32);
    _tile_stored(0, dots[0], 64);
    DOTS(1, 3, 5, 1, 32);
    for (size_t b = 0; b < blocks; b += 2) {
        _tile_stored(1, dots[1], 64);
        DOTS(0, 2, 4, b + 2, 32);
        scale_block(sum, w, x, b, dots[0]);
        _tile_stored(0, dots[0], 64);
        DOTS(1, 3, 5, b + 3, 32);
        if (b + 1 < blocks)
            scale_block(sum, w, x, b + 1, dots[1]);
    }
    UNROLL for (int r = 0; r < ROWS; r++)
        _mm512_storeu_ps(y + (size_t)r * y_stride, sum[r]);
}

/* Formats with a scale per group of `columns` inside blocks of 256. */
INLINE void tile_q256(const struct unpacked *w, const struct rows *x, size_t blocks, bool first,
                      float *y, size_t y_stride, size_t columns, bool with_min)
{
    _Alignas(64) dots_tile dots[2];
    size_t groups = 256 / columns;
    DOTS(0, 2, 4, 0, columns);
    _tile_stored(0, dots[0], 64);
    DOTS(1, 3, 5, 1, columns);
    for (size_t b = 0; b < blocks; b++) {
        __m512 scaled[ROWS];
        UNROLL for (int r = 0; r < ROWS; r++)
            scaled[r] = _mm512_setzero_ps();
        for (size_t g = b * groups; g < (b + 1) * groups; g += 2) {
            _tile_stored(1, dots[1], 64);
            DOTS(0, 2, 4, g + 2, columns);
            __m512 s = _mm512_load_ps(w->scale[g]);
            UNROLL for (int r = 0; r < ROWS; r++)
                scaled[r] = _mm512_fmadd_ps(dots_at(dots[0], r), s, scaled[r]);
            _tile_stored(0, dots[0], 64);
            DOTS(1, 3, 5, g + 3, columns);
            s = _mm512_load_ps(w->scale[g + 1]);
            UNROLL for (int r = 0; r < ROWS; r++)
                scaled[r] = _mm512_fmadd_ps(dots_at(dots[1], r), s, scaled[r]);
        }
        __m512 d = _mm512_load_ps(w->d[b]), d_min = _mm512_load_ps(w->d_min[b]);
        UNROLL for (int r = 0; r < ROWS; r++) {
            float *at = y + (size_t)r * y_stride;
            __m512 scale = scale_at(x, r, b);
            __m512 sum = b == 0 && first ? _mm512_setzero_ps() : _mm512_loadu_ps(at);
            sum = _mm512_fmadd_ps(scaled[r], _mm512_mul_ps(d, scale), sum);
            if (with_min) {
                const char *pairs = x->sum + (size_t)r * x->stride + b * 16;
                __m512i mins = _mm512_setzero_si512();
                UNROLL for (int g = 0; g < 4; g++) {
                    int32_t pair;
                    memcpy(&pair, pairs + g * 4, 4);
                    mins = _mm512_dpwssd_epi32(mins, _mm512_load_si512(w->mins[b][g]),
                                               _mm512_set1_epi32(pair));
                }
                sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(mins), _mm512_mul_ps(d_min, scale),
                                       sum);
            }
            _mm512_storeu_ps(at, sum);
        }
    }
}

/* ---- Unpacking ----------------------------------------------------------------------------- */

INLINE __m512 halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE __m512i low(__m512i x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
INLINE __m512i high(__m512i x) { return low(_mm512_srli_epi16(x, 4)); }

static void unpack_q8_0(const uint8_t *panel, size_t columns, size_t begin, size_t end,
                        struct unpacked *out)
{
    const uint8_t *values = panel + simd_align64(columns / 32 * 32) + begin / 32 * 512;
    for (size_t b = 0; b < (end - begin) / 32; b++)
        _mm512_store_ps(out->scale[b], halves(panel + begin + b * 32));
    for (size_t i = 0; i < (end - begin) * SIMD_LANES; i += 64)
        _mm512_store_si512(out->q + i, _mm512_xor_si512(_mm512_loadu_si512(values + i),
                                                        _mm512_set1_epi8((char)0x80)));
}

static void unpack_q4_0(const uint8_t *panel, size_t columns, size_t begin, size_t end,
                        struct unpacked *out)
{
    const uint8_t *values = panel + simd_align64(columns / 32 * 32) + begin / 32 * 256;
    __m512i eight = _mm512_set1_epi8(8);
    for (size_t b = 0; b < (end - begin) / 32; b++) {
        _mm512_store_ps(out->scale[b], halves(panel + begin + b * 32));
        UNROLL for (int j = 0; j < 4; j++) {
            __m512i w = _mm512_loadu_si512(values + b * 256 + j * 64);
            _mm512_store_si512(out->q + b * 512 + j * 64, _mm512_sub_epi8(low(w), eight));
            _mm512_store_si512(out->q + b * 512 + 256 + j * 64, _mm512_sub_epi8(high(w), eight));
        }
    }
}

static void unpack_q4_k(const uint8_t *panel, size_t columns, size_t begin, size_t end,
                        struct unpacked *out)
{
    (void)columns;
    for (size_t b = 0; b < (end - begin) / 256; b++) {
        const uint8_t *block = panel + (begin / 256 + b) * 2368;
        _mm512_store_ps(out->d[b], halves(block));
        _mm512_store_ps(out->d_min[b], halves(block + 32));
        for (size_t g = 0; g < 8; g++) {
            int8_t *q = out->q + (b * 8 + g) * 512;
            __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(block + 64 + g * 16));
            _mm512_store_ps(out->scale[b * 8 + g],
                            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(s)));
            UNROLL for (int j = 0; j < 4; j++) {
                __m512i w = _mm512_loadu_si512(block + 320 + g * 256 + j * 64);
                _mm512_store_si512(q + j * 64, low(w));
                _mm512_store_si512(q + 256 + j * 64, high(w));
            }
        }
        UNROLL for (int g = 0; g < 4; g++)
            _mm512_store_si512(out->mins[b][g],
                               _mm512_cvtepu8_epi16(_mm256_loadu_si256(
                                   (const __m256i *)(const void *)(block + 192 + g * 32))));
    }
}

static void unpack_q6_k(const uint8_t *panel, size_t columns, size_t begin, size_t end,
                        struct unpacked *out)
{
    const uint8_t *blocks = panel + simd_align64(columns / 256 * 32);
    __m512i offset = _mm512_set1_epi8(32), bits = _mm512_set1_epi8(0x30);
    for (size_t b = 0; b < (end - begin) / 256; b++) {
        const uint8_t *block = blocks + (begin / 256 + b) * 3328;
        _mm512_store_ps(out->d[b], halves(panel + (begin / 256 + b) * 32));
        for (size_t g = 0; g < 16; g++) {
            int8_t *q = out->q + (b * 16 + g) * 256;
            __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(block + g * 16));
            __m512i pairs = _mm512_loadu_si512(block + 2304 + g * 64);
            __m512i moved[4] = {_mm512_slli_epi16(pairs, 4), _mm512_slli_epi16(pairs, 2), pairs,
                                _mm512_srli_epi16(pairs, 2)};
            _mm512_store_ps(out->scale[b * 16 + g],
                            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(s)));
            UNROLL for (int j = 0; j < 4; j++) {
                __m512i w = _mm512_loadu_si512(block + 256 + g / 2 * 256 + (size_t)j * 64);
                w = g % 2 ? high(w) : low(w);
                w = _mm512_or_si512(w, _mm512_and_si512(moved[j], bits));
                _mm512_store_si512(q + j * 64, _mm512_sub_epi8(w, offset));
            }
        }
    }
}

/* ---- The walk ------------------------------------------------------------------------------ */

INLINE void unpack(enum simd_type type, const struct simd_weights *w, uint32_t panel,
                   size_t begin, size_t end, struct unpacked *out)
{
    const uint8_t *data = w->data + panel * w->panel_bytes;
    switch (type) {
    case SIMD_Q8_0: unpack_q8_0(data, w->columns, begin, end, out); break;
    case SIMD_Q4_0: unpack_q4_0(data, w->columns, begin, end, out); break;
    case SIMD_Q4_K: unpack_q4_k(data, w->columns, begin, end, out); break;
    default: unpack_q6_k(data, w->columns, begin, end, out); break;
    }
}

static __attribute__((noinline)) void tile_q4_k(const struct unpacked *w, const struct rows *x,
                                                size_t blocks, bool first, float *y,
                                                size_t y_stride)
{
    tile_q256(w, x, blocks, first, y, y_stride, 32, true);
}

static __attribute__((noinline)) void tile_q6_k(const struct unpacked *w, const struct rows *x,
                                                size_t blocks, bool first, float *y,
                                                size_t y_stride)
{
    tile_q256(w, x, blocks, first, y, y_stride, 16, false);
}

INLINE void multiply(enum simd_type type, const struct unpacked *w, const struct rows *x,
                     size_t columns, bool first, float *y, size_t y_stride)
{
    if (type == SIMD_Q4_K)
        tile_q4_k(w, x, columns / 256, first, y, y_stride);
    else if (type == SIMD_Q6_K)
        tile_q6_k(w, x, columns / 256, first, y, y_stride);
    else
        tile_q32(w, x, columns / 32, first, y, y_stride);
}

/* The last rows, filled up to a whole tile with rows of zeros. */
struct padded {
    _Alignas(64) int8_t q[ROWS][CHUNK_COLUMNS];
    struct {
        float scale[CHUNK_COLUMNS / 32];
        int16_t sum[CHUNK_COLUMNS / 32];
    } row[ROWS];
    float y[GROUP_PANELS][ROWS][SIMD_LANES];
};

INLINE struct rows pad_rows(struct padded *padded, const struct rows *x, uint32_t count,
                            size_t columns, size_t scale_columns, bool with_sum)
{
    for (uint32_t r = 0; r < count; r++) {
        memcpy(padded->q[r], x->q + r * x->q_stride, columns);
        memcpy(padded->row[r].scale, x->scale + r * x->stride, columns / scale_columns * 4);
        if (with_sum)
            memcpy(padded->row[r].sum, x->sum + r * x->stride, columns / 32 * 2);
    }
    return (struct rows){padded->q[0], (const char *)padded->row[0].scale,
                         (const char *)padded->row[0].sum, CHUNK_COLUMNS,
                         sizeof padded->row[0]};
}

INLINE void matmul(enum simd_type type, const struct simd_weights *w, uint32_t panel_begin,
                   uint32_t panel_end, const void *acts, size_t act_stride, uint32_t act_count,
                   float *y, size_t y_stride)
{
    bool q256 = type == SIMD_Q4_K || type == SIMD_Q6_K;
    size_t scale_columns = q256 ? 256 : 32;
    uint32_t whole = act_count / ROWS * ROWS, rest = act_count - whole;
    uint32_t tiled = rest >= REST_MIN ? act_count : whole;
    if (tiled < ROWS_MIN) {
        below.matmul[type](w, panel_begin, panel_end, acts, act_stride, act_count, y, y_stride);
        return;
    }
    struct unpacked unpacked[GROUP_PANELS];
    struct padded padded;
    if (tiled > whole)
        memset(&padded, 0, sizeof padded);
    configure(type == SIMD_Q6_K ? 16 : 32);
    for (uint32_t p = panel_begin; p < panel_end; p += GROUP_PANELS) {
        uint32_t panels = panel_end - p < GROUP_PANELS ? panel_end - p : GROUP_PANELS;
        float *group_y = y + (size_t)p * SIMD_LANES;
        for (size_t begin = 0; begin < w->columns; begin += CHUNK_COLUMNS) {
            size_t end = w->columns - begin < CHUNK_COLUMNS ? w->columns : begin + CHUNK_COLUMNS;
            for (uint32_t i = 0; i < panels; i++)
                unpack(type, w, p + i, begin, end, &unpacked[i]);
            memory_barrier(unpacked);
            for (uint32_t a = 0; a < tiled; a += ROWS) {
                char *row = simd_act_row(acts, act_stride, a);
                size_t scale_at = simd_align64(w->columns) + begin / scale_columns * 4;
                struct rows x = {(const int8_t *)row + begin, row + scale_at, NULL, act_stride,
                                 act_stride};
                if (type == SIMD_Q4_K)
                    x.sum = (const char *)(simd_act_parts_q256(row, w->columns).sum + begin / 32);
                if (a == whole) {
                    x = pad_rows(&padded, &x, rest, end - begin, scale_columns,
                                 type == SIMD_Q4_K);
                    memory_barrier(&padded);
                    for (uint32_t i = 0; i < panels; i++)
                        multiply(type, &unpacked[i], &x, end - begin, begin == 0,
                                 padded.y[i][0], SIMD_LANES);
                    continue;
                }
                for (uint32_t i = 0; i < panels; i++)
                    multiply(type, &unpacked[i], &x, end - begin, begin == 0,
                             group_y + a * y_stride + (size_t)i * SIMD_LANES, y_stride);
            }
        }
        for (uint32_t r = 0; r < tiled - whole; r++)
            for (uint32_t i = 0; i < panels; i++)
                memcpy(group_y + (whole + r) * y_stride + (size_t)i * SIMD_LANES,
                       padded.y[i][r], sizeof padded.y[i][r]);
        if (tiled < act_count)
            below.matmul[type](w, p, p + panels, simd_act_row(acts, act_stride, tiled),
                               act_stride, rest, y + tiled * y_stride, y_stride);
    }
    _tile_release();
}

#define MATMUL(name, type)                                                                      \
    static void name(const struct simd_weights *w, uint32_t panel_begin, uint32_t panel_end,    \
                     const void *acts, size_t act_stride, uint32_t act_count, float *y,         \
                     size_t y_stride)                                                           \
    {                                                                                           \
        matmul(type, w, panel_begin, panel_end, acts, act_stride, act_count, y, y_stride);      \
    }
MATMUL(matmul_q8_0, SIMD_Q8_0)
MATMUL(matmul_q4_0, SIMD_Q4_0)
MATMUL(matmul_q4_k, SIMD_Q4_K)
MATMUL(matmul_q6_k, SIMD_Q6_K)

void simd_fill_amx(struct simd_table *table)
{
    below = *table;
    table->matmul[SIMD_Q8_0] = matmul_q8_0;
    table->matmul[SIMD_Q4_0] = matmul_q4_0;
    table->matmul[SIMD_Q4_K] = matmul_q4_k;
    table->matmul[SIMD_Q6_K] = matmul_q6_k;
}
#endif
