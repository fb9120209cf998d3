/* "Stacked" rows: the item's token rows times the heads that share its KV head; stacked row
 * i * group + g is head g of token row i. They share every load of K and V. */
#include "engine/forward/attention.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "engine/base/mem.h"

enum { STACKED_ROWS = 128, BLOCK_WORDS = ATTENTION_BLOCK / 16 };

/* Where a row's mask has been read up to: blocks are visited in ascending order. */
struct cursor {
    uint32_t run;
    uint64_t run_begin;
};

struct room {
    float *q, *out;              /* [stacked][head_dim] */
    float *block_out;            /* [stacked][head_dim; 8 bits: padded] */
    float *scores;               /* [stacked][ATTENTION_BLOCK] */
    float *max, *sum;            /* [stacked] so far */
    uint16_t *masks;             /* [token rows][BLOCK_WORDS] */
    struct cursor *cursors;      /* [token rows] */
    /* Pages of 8 bits only. */
    uint8_t *q_acts;             /* [stacked] int8 forms of q, padded */
    uint8_t *p_acts;             /* [STACKED_ROWS] int8 forms of a block's weights */
    uint8_t *v_panels;           /* V of a block, gathered from its pages */
    float *v_scales;             /* [ATTENTION_BLOCK] */
};

uint32_t attention_rows_max(uint32_t head_count, uint32_t kv_head_count)
{
    uint32_t group = head_count / kv_head_count;
    return group < STACKED_ROWS ? STACKED_ROWS / group : 1;
}

static size_t take(size_t *at, size_t bytes)
{
    size_t begin = *at;
    *at += simd_align64(bytes);
    return begin;
}

static struct room room_in(char *data, const struct pages *pages, uint32_t head_count,
                           size_t *bytes)
{
    uint32_t rows = attention_rows_max(head_count, pages->kv_head_count);
    size_t at = 0, stacked = (size_t)rows * (head_count / pages->kv_head_count);
    uint32_t dim = pages->head_dim, padded = pages_padded_dim(pages);
    struct room room = {0};
    room.q = (float *)(void *)(data + take(&at, stacked * dim * 4));
    room.block_out = (float *)(void *)(data + take(&at, stacked * padded * 4));
    room.out = (float *)(void *)(data + take(&at, stacked * dim * 4));
    room.scores = (float *)(void *)(data + take(&at, stacked * ATTENTION_BLOCK * 4));
    room.max = (float *)(void *)(data + take(&at, stacked * 4));
    room.sum = (float *)(void *)(data + take(&at, stacked * 4));
    room.masks = (uint16_t *)(void *)(data + take(&at, (size_t)rows * BLOCK_WORDS * 2));
    room.cursors = (struct cursor *)(void *)(data + take(&at, rows * sizeof(struct cursor)));
    if (pages->bits == 8) {
        size_t q_bytes = simd_act_bytes(SIMD_ACT_Q32, padded);
        size_t p_bytes = simd_act_bytes(SIMD_ACT_Q32, ATTENTION_BLOCK);
        size_t v_bytes = simd_panel_bytes(SIMD_Q8_0, ATTENTION_BLOCK) * (padded / SIMD_LANES);
        room.q_acts = (uint8_t *)data + take(&at, stacked * q_bytes);
        room.p_acts = (uint8_t *)data + take(&at, STACKED_ROWS * p_bytes);
        room.v_panels = (uint8_t *)data + take(&at, v_bytes);
        room.v_scales = (float *)(void *)(data + take(&at, ATTENTION_BLOCK * 4));
    }
    *bytes = at;
    return room;
}

enum err attention_scratch_create(const struct pages *pages, uint32_t head_count,
                                  struct attention_scratch *scratch, struct report *report)
{
    static char nowhere[1];
    (void)room_in(nowhere, pages, head_count, &scratch->bytes);
    scratch->data = mem_map(scratch->bytes);
    return scratch->data ? ERR_OK
                         : err_set(report, ERR_MEMORY, "no memory for attention buffers");
}

void attention_scratch_destroy(struct attention_scratch *scratch)
{
    mem_unmap(scratch->data, scratch->bytes);
    scratch->data = NULL;
}

/* Sets bits [from, to) of the block's words. */
static void set_bits(uint16_t *words, uint32_t from, uint32_t to)
{
    for (uint32_t w = from / 16; w * 16 < to; w++) {
        uint32_t low = from > w * 16 ? from - w * 16 : 0;
        uint32_t high = to < w * 16 + 16 ? to - w * 16 : 16;
        words[w] = (uint16_t)(words[w] | ((1u << high) - (1u << low)));
    }
}

/* The bits of `mask` in [begin, begin + count), from where the cursor stands. */
static void mask_words(struct batch_brle mask, struct cursor *cursor, uint32_t begin,
                       uint32_t count, uint16_t *words)
{
    uint64_t end = (uint64_t)begin + count;
    while (cursor->run < mask.count && cursor->run_begin < end) {
        uint64_t run_end = cursor->run_begin + mask.runs[cursor->run];
        uint64_t low = cursor->run_begin > begin ? cursor->run_begin : begin;
        uint64_t high = run_end < end ? run_end : end;
        if (cursor->run % 2 == 1 && low < high)
            set_bits(words, (uint32_t)(low - begin), (uint32_t)(high - begin));
        if (run_end > end)
            return; /* the next block begins in this run */
        cursor->run++;
        cursor->run_begin = run_end;
    }
}

struct span {
    uint32_t begin, count; /* KV indices of the block */
    uint32_t first;        /* token row from which on rows may see it */
};

/* Clears bits [0, to). */
static void clear_bits(uint16_t *words, uint32_t to)
{
    for (uint32_t w = 0; w * 16 < to; w++)
        words[w] = (uint16_t)(to - w * 16 < 16 ? words[w] & ~((1u << (to - w * 16)) - 1) : 0u);
}

/* The first KV index that the window of the row at KV index `index` reaches. */
static uint32_t window_begin(const struct attention *a, uint64_t index)
{
    return a->window > 0 && index >= a->window ? (uint32_t)(index + 1 - a->window) : 0;
}

static void block_masks(const struct attention *a, const struct attention_item *item,
                        const struct room *room, struct span span)
{
    const struct batch *batch = a->batch;
    uint32_t rows = item->row_end - item->row_begin;
    uint32_t base = batch->token_begin[item->request] + item->row_begin;
    memset(room->masks, 0, (size_t)rows * BLOCK_WORDS * 2);
    for (uint32_t i = span.first; i < rows; i++) {
        uint16_t *words = room->masks + (size_t)i * BLOCK_WORDS;
        uint64_t end = (uint64_t)batch->kv_before[item->request] + item->row_begin + i + 1;
        uint32_t low = window_begin(a, end - 1);
        if (batch->masks && batch->masks[base + i].count > 0) {
            mask_words(batch->masks[base + i], &room->cursors[i], span.begin, span.count, words);
        } else if (end > span.begin) {
            uint64_t seen = end - span.begin;
            set_bits(words, 0, seen < span.count ? (uint32_t)seen : span.count);
        }
        if (low > span.begin)
            clear_bits(words, low - span.begin < span.count ? low - span.begin : span.count);
    }
}

static bool sees_any(const uint16_t *words)
{
    unsigned any = 0;
    for (unsigned w = 0; w < BLOCK_WORDS; w++)
        any |= words[w];
    return any != 0;
}

/* Floats from one row of block_out to the next. */
static uint32_t block_stride(const struct pages *pages)
{
    return pages->bits == 8 ? pages_padded_dim(pages) : pages->head_dim;
}

static void merge_block(const struct attention *a, const struct room *room, uint32_t stacked,
                        float max, float sum)
{
    uint32_t head_dim = a->pages->head_dim;
    float *out = room->out + (size_t)stacked * head_dim;
    const float *block = room->block_out + (size_t)stacked * block_stride(a->pages);
    if (sum == 0)
        return;
    if (room->sum[stacked] == 0) {
        memcpy(out, block, (size_t)head_dim * 4);
        room->max[stacked] = max;
        room->sum[stacked] = sum;
        return;
    }
    float old = room->max[stacked], top = max > old ? max : old;
    float keep = simd_expf(old - top), enter = simd_expf(max - top);
    a->simd->attn_merge(out, keep, block, enter, head_dim);
    room->max[stacked] = top;
    room->sum[stacked] = fmaf(sum, enter, room->sum[stacked] * keep);
}

/* The item's pages, layer and KV head, from the block's first KV index on. */
struct place {
    const struct attention *a;
    const uint32_t *page_ids;
    uint32_t kv_head;
};

/* scores of `count` stacked rows from row `from` on with the block's first `padded` entries. */
static void block_scores(const struct place *place, const struct room *room, uint32_t from,
                         uint32_t count, uint32_t padded)
{
    const struct attention *a = place->a;
    const struct pages *pages = a->pages;
    uint32_t dim = pages_padded_dim(pages), page_tokens = pages->page_tokens;
    size_t act_bytes = simd_act_bytes(SIMD_ACT_Q32, dim);
    float *scores = room->scores + (size_t)from * ATTENTION_BLOCK;
    for (uint32_t t = 0; t < padded; t += page_tokens) {
        const void *k = pages_k(pages, a->layer, place->page_ids[t / page_tokens],
                                place->kv_head);
        uint32_t tokens = padded - t < page_tokens ? padded - t : page_tokens;
        if (pages->bits == 16) {
            a->simd->attn_scores(room->q + (size_t)from * pages->head_dim, pages->head_dim, count,
                                 k, page_tokens, tokens, pages->head_dim, scores + t,
                                 ATTENTION_BLOCK);
        } else {
            const struct simd_weights w = {SIMD_Q8_0, page_tokens, dim,
                                           simd_panel_bytes(SIMD_Q8_0, dim), k};
            a->simd->matmul[SIMD_Q8_0](&w, 0, tokens / SIMD_LANES,
                                       room->q_acts + from * act_bytes, act_bytes, count,
                                       scores + t, ATTENTION_BLOCK);
        }
    }
}

static void values_f16(const struct place *place, const float *p, uint32_t rows, uint32_t tokens,
                       float *out)
{
    const struct attention *a = place->a;
    uint32_t head_dim = a->pages->head_dim, page_tokens = a->pages->page_tokens;
    memset(out, 0, (size_t)rows * head_dim * 4);
    for (uint32_t t = 0; t < tokens; t += page_tokens)
        a->simd->attn_values(p + t, ATTENTION_BLOCK, rows,
                             pages_v(a->pages, a->layer, place->page_ids[t / page_tokens],
                                     place->kv_head),
                             tokens - t < page_tokens ? tokens - t : page_tokens, head_dim, out,
                             head_dim);
}

/* The block's V as weights of `padded` columns whose scales are 1; their own into v_scales. */
static struct simd_weights gather_values(const struct place *place, const struct room *room,
                                         uint32_t padded)
{
    const struct pages *pages = place->a->pages;
    uint32_t dim = pages_padded_dim(pages), page_tokens = pages->page_tokens;
    const struct simd_weights w = {SIMD_Q8_0, dim, padded, simd_panel_bytes(SIMD_Q8_0, padded),
                                   room->v_panels};
    static const uint16_t ONE = 0x3C00;
    for (uint32_t p = 0; p < dim / SIMD_LANES; p++)
        for (uint32_t i = 0; i < padded / 32 * SIMD_LANES; i++)
            memcpy(room->v_panels + p * w.panel_bytes + i * 2, &ONE, 2);
    for (uint32_t t = 0; t < padded; t += page_tokens) {
        uint32_t tokens = padded - t < page_tokens ? padded - t : page_tokens;
        uint32_t page = place->page_ids[t / page_tokens];
        const uint8_t *v = pages_v(pages, place->a->layer, page, place->kv_head);
        for (uint32_t p = 0; p < dim / SIMD_LANES; p++)
            memcpy(room->v_panels + p * w.panel_bytes + simd_align64(padded) +
                       (size_t)t * SIMD_LANES,
                   v + (size_t)p * page_tokens * SIMD_LANES, (size_t)tokens * SIMD_LANES);
        memcpy(room->v_scales + t, pages_v_scales(pages, place->a->layer, page, place->kv_head),
               (size_t)tokens * 4);
    }
    return w;
}

static void values_q8(const struct attention *a, const struct room *room,
                      const struct simd_weights *v, float *p, uint32_t rows, float *out)
{
    size_t act_bytes = simd_act_bytes(SIMD_ACT_Q32, v->columns);
    for (uint32_t r = 0; r < rows; r++) {
        float *weights = p + (size_t)r * ATTENTION_BLOCK;
        a->simd->mul(weights, room->v_scales, v->columns);
        a->simd->quantize[SIMD_ACT_Q32](weights, v->columns, room->p_acts + r * act_bytes);
    }
    a->simd->matmul[SIMD_Q8_0](v, 0, v->rows / SIMD_LANES, room->p_acts, act_bytes, rows, out,
                               v->rows);
}

static void run_block(const struct attention *a, const struct attention_item *item,
                      const struct room *room, struct span span)
{
    const struct pages *pages = a->pages;
    uint32_t group = a->head_count / pages->kv_head_count;
    uint32_t rows = item->row_end - item->row_begin;
    const struct place place = {a,
                                a->batch->pages + a->batch->page_begin[item->request] +
                                    span.begin / pages->page_tokens,
                                item->kv_head};

    block_masks(a, item, room, span);
    while (span.first < rows && !sees_any(room->masks + (size_t)span.first * BLOCK_WORDS))
        span.first++;
    while (rows > span.first && !sees_any(room->masks + (size_t)(rows - 1) * BLOCK_WORDS))
        rows--;
    if (span.first == rows)
        return;
    uint32_t from = span.first * group, count = (rows - span.first) * group;
    uint32_t unit = pages->bits == 8 ? 32 : SIMD_LANES;
    uint32_t padded = (span.count + unit - 1) / unit * unit;
    struct simd_weights v = {0};
    if (pages->bits == 8)
        v = gather_values(&place, room, padded);
    block_scores(&place, room, from, count, padded);
    for (uint32_t r = from; a->softcap > 0 && r < from + count; r++)
        a->simd->softcap(room->scores + (size_t)r * ATTENTION_BLOCK, a->softcap, padded);
    float max[STACKED_ROWS], sum[STACKED_ROWS];
    for (uint32_t begin = from; begin < from + count; begin += STACKED_ROWS) {
        uint32_t part = from + count - begin < STACKED_ROWS ? from + count - begin : STACKED_ROWS;
        float *scores = room->scores + (size_t)begin * ATTENTION_BLOCK;
        float *out = room->block_out + (size_t)begin * block_stride(pages);
        for (uint32_t r = 0; r < part; r++)
            a->simd->attn_softmax(scores + (size_t)r * ATTENTION_BLOCK, padded,
                                  room->masks + (size_t)((begin + r) / group) * BLOCK_WORDS,
                                  &max[r], &sum[r]);
        if (pages->bits == 8)
            values_q8(a, room, &v, scores, part, out);
        else
            values_f16(&place, scores, part, span.count, out);
        for (uint32_t r = 0; r < part; r++)
            merge_block(a, room, begin + r, max[r], sum[r]);
    }
}

/* The int8 forms of the item's queries. */
static void quantize_queries(const struct attention *a, const struct room *room, uint32_t count)
{
    uint32_t head_dim = a->pages->head_dim, dim = pages_padded_dim(a->pages);
    float row[1024] = {0}; /* models/model.c holds head_dim to this */
    for (uint32_t r = 0; r < count; r++) {
        memcpy(row, room->q + (size_t)r * head_dim, (size_t)head_dim * 4);
        a->simd->quantize[SIMD_ACT_Q32](row, dim,
                                        room->q_acts + r * simd_act_bytes(SIMD_ACT_Q32, dim));
    }
}

/* An entry of the given score that has no value: it only takes part in the sum. */
static void add_sink(const struct room *room, uint32_t stacked, uint32_t head_dim, float score)
{
    float old = room->max[stacked], top = score > old ? score : old;
    float keep = simd_expf(old - top), *out = room->out + (size_t)stacked * head_dim;
    for (uint32_t d = 0; d < head_dim; d++)
        out[d] *= keep;
    room->sum[stacked] = fmaf(room->sum[stacked], keep, simd_expf(score - top));
}

void attention_run(const struct attention *a, const struct attention_item *item,
                   const struct attention_scratch *scratch)
{
    const struct batch *batch = a->batch;
    uint32_t kv_heads = a->pages->kv_head_count, head_dim = a->pages->head_dim;
    uint32_t group = a->head_count / kv_heads, rows = item->row_end - item->row_begin;
    uint32_t base = batch->token_begin[item->request] + item->row_begin;
    uint32_t before = batch->kv_before[item->request];
    size_t bytes, head_at = (size_t)item->kv_head * group * head_dim;
    struct room room = room_in(scratch->data, a->pages, a->head_count, &bytes);

    bool masked = false;
    for (uint32_t i = 0; i < rows; i++) {
        memcpy(room.q + (size_t)i * group * head_dim, a->q + (base + i) * a->q_stride + head_at,
               (size_t)group * head_dim * 4);
        room.cursors[i] = (struct cursor){0};
        masked = masked || (batch->masks && batch->masks[base + i].count > 0);
    }
    memset(room.sum, 0, (size_t)rows * group * 4);
    if (a->pages->bits == 8)
        quantize_queries(a, &room, rows * group);

    /* A masked row may look at everything that the step has written. */
    uint32_t step_rows = batch->token_begin[item->request + 1] - batch->token_begin[item->request];
    uint32_t limit = before + (masked ? step_rows : item->row_end);
    uint32_t first = window_begin(a, (uint64_t)before + item->row_begin);
    for (uint32_t begin = first / ATTENTION_BLOCK * ATTENTION_BLOCK; begin < limit;
         begin += ATTENTION_BLOCK) {
        struct span span = {begin, limit - begin < ATTENTION_BLOCK ? limit - begin
                                                                   : ATTENTION_BLOCK, 0};
        if (!masked && begin > before + item->row_begin)
            span.first = begin - before - item->row_begin;
        run_block(a, item, &room, span);
    }

    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t g = 0; g < group; g++) {
            uint32_t stacked = i * group + g;
            const float *from = room.out + (size_t)stacked * head_dim;
            float *to = a->out + (base + i) * a->out_stride + head_at + (size_t)g * head_dim;
            if (room.sum[stacked] == 0) {
                memset(to, 0, (size_t)head_dim * 4);
                continue;
            }
            if (a->sinks)
                add_sink(&room, stacked, head_dim, a->sinks[item->kv_head * group + g]);
            float inverse = 1.0f / room.sum[stacked];
            /* + 0: a zero has no sign, whatever was added to it on the way. */
            for (uint32_t d = 0; d < head_dim; d++)
                to[d] = from[d] * inverse + 0.0f;
        }
}
