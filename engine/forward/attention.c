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
    float *q, *block_out, *out;  /* [stacked][head_dim] */
    float *scores;               /* [stacked][ATTENTION_BLOCK] */
    float *max, *sum;            /* [stacked] so far */
    uint16_t *masks;             /* [token rows][BLOCK_WORDS] */
    struct cursor *cursors;      /* [token rows] */
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

static struct room room_in(char *data, uint32_t rows, uint32_t group, uint32_t head_dim,
                           size_t *bytes)
{
    size_t at = 0, stacked = (size_t)rows * group;
    struct room room;
    room.q = (float *)(void *)(data + take(&at, stacked * head_dim * 4));
    room.block_out = (float *)(void *)(data + take(&at, stacked * head_dim * 4));
    room.out = (float *)(void *)(data + take(&at, stacked * head_dim * 4));
    room.scores = (float *)(void *)(data + take(&at, stacked * ATTENTION_BLOCK * 4));
    room.max = (float *)(void *)(data + take(&at, stacked * 4));
    room.sum = (float *)(void *)(data + take(&at, stacked * 4));
    room.masks = (uint16_t *)(void *)(data + take(&at, (size_t)rows * BLOCK_WORDS * 2));
    room.cursors = (struct cursor *)(void *)(data + take(&at, rows * sizeof(struct cursor)));
    *bytes = at;
    return room;
}

enum err attention_scratch_create(uint32_t head_count, uint32_t kv_head_count, uint32_t head_dim,
                                  struct attention_scratch *scratch, struct report *report)
{
    static char nowhere[1];
    (void)room_in(nowhere, attention_rows_max(head_count, kv_head_count),
                  head_count / kv_head_count, head_dim, &scratch->bytes);
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

static void block_masks(const struct attention *a, const struct attention_item *item,
                        const struct room *room, struct span span)
{
    const struct batch *batch = a->batch;
    uint32_t rows = item->row_end - item->row_begin;
    uint32_t base = batch->token_begin[item->request] + item->row_begin;
    memset(room->masks, 0, (size_t)rows * BLOCK_WORDS * 2);
    for (uint32_t i = span.first; i < rows; i++) {
        uint16_t *words = room->masks + (size_t)i * BLOCK_WORDS;
        if (batch->masks && batch->masks[base + i].count > 0) {
            mask_words(batch->masks[base + i], &room->cursors[i], span.begin, span.count, words);
            continue;
        }
        uint64_t end = (uint64_t)batch->kv_before[item->request] + item->row_begin + i + 1;
        if (end > span.begin) {
            uint64_t seen = end - span.begin;
            set_bits(words, 0, seen < span.count ? (uint32_t)seen : span.count);
        }
    }
}

static bool sees_any(const uint16_t *words)
{
    unsigned any = 0;
    for (unsigned w = 0; w < BLOCK_WORDS; w++)
        any |= words[w];
    return any != 0;
}

static void merge_block(const struct attention *a, const struct room *room, uint32_t stacked,
                        float max, float sum)
{
    uint32_t head_dim = a->pages->head_dim;
    float *out = room->out + (size_t)stacked * head_dim;
    const float *block = room->block_out + (size_t)stacked * head_dim;
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

static void run_block(const struct attention *a, const struct attention_item *item,
                      const struct room *room, struct span span)
{
    const struct pages *pages = a->pages;
    const uint32_t *page_ids = a->batch->pages + a->batch->page_begin[item->request];
    uint32_t group = a->head_count / pages->kv_head_count, head_dim = pages->head_dim;
    uint32_t rows = item->row_end - item->row_begin, page_tokens = pages->page_tokens;

    block_masks(a, item, room, span);
    while (span.first < rows && !sees_any(room->masks + (size_t)span.first * BLOCK_WORDS))
        span.first++;
    while (rows > span.first && !sees_any(room->masks + (size_t)(rows - 1) * BLOCK_WORDS))
        rows--;
    if (span.first == rows)
        return;
    uint32_t from = span.first * group, count = (rows - span.first) * group;
    const float *q = room->q + (size_t)from * head_dim;
    float *scores = room->scores + (size_t)from * ATTENTION_BLOCK;
    float *block_out = room->block_out + (size_t)from * head_dim;

    uint32_t padded = (span.count + 15) / 16 * 16;
    for (uint32_t t = 0; t < padded; t += page_tokens) {
        uint32_t page = page_ids[(span.begin + t) / page_tokens];
        uint32_t tokens = padded - t < page_tokens ? padded - t : page_tokens;
        a->simd->attn_scores(q, head_dim, count, pages_k(pages, a->layer, page, item->kv_head),
                             page_tokens, tokens, head_dim, scores + t, ATTENTION_BLOCK);
    }
    float max[STACKED_ROWS], sum[STACKED_ROWS];
    for (uint32_t begin = 0; begin < count; begin += STACKED_ROWS) {
        uint32_t part = count - begin < STACKED_ROWS ? count - begin : STACKED_ROWS;
        for (uint32_t r = 0; r < part; r++)
            a->simd->attn_softmax(
                scores + (size_t)(begin + r) * ATTENTION_BLOCK, padded,
                room->masks + (size_t)(span.first + (begin + r) / group) * BLOCK_WORDS, &max[r],
                &sum[r]);
        float *part_out = block_out + (size_t)begin * head_dim;
        memset(part_out, 0, (size_t)part * head_dim * 4);
        for (uint32_t t = 0; t < span.count; t += page_tokens) {
            uint32_t page = page_ids[(span.begin + t) / page_tokens];
            uint32_t tokens = span.count - t < page_tokens ? span.count - t : page_tokens;
            a->simd->attn_values(scores + (size_t)begin * ATTENTION_BLOCK + t, ATTENTION_BLOCK,
                                 part, pages_v(pages, a->layer, page, item->kv_head), tokens,
                                 head_dim, part_out, head_dim);
        }
        for (uint32_t r = 0; r < part; r++)
            merge_block(a, room, from + begin + r, max[r], sum[r]);
    }
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
    struct room room = room_in(scratch->data, attention_rows_max(a->head_count, kv_heads), group,
                               head_dim, &bytes);

    bool masked = false;
    for (uint32_t i = 0; i < rows; i++) {
        memcpy(room.q + (size_t)i * group * head_dim, a->q + (base + i) * a->q_stride + head_at,
               (size_t)group * head_dim * 4);
        room.cursors[i] = (struct cursor){0};
        masked = masked || (batch->masks && batch->masks[base + i].count > 0);
    }
    memset(room.sum, 0, (size_t)rows * group * 4);

    /* A masked row may look at everything that the step has written. */
    uint32_t step_rows = batch->token_begin[item->request + 1] - batch->token_begin[item->request];
    uint32_t limit = before + (masked ? step_rows : item->row_end);
    for (uint32_t begin = 0; begin < limit; begin += ATTENTION_BLOCK) {
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
            float inverse = 1.0f / room.sum[stacked];
            /* + 0: a zero has no sign, whatever was added to it on the way. */
            for (uint32_t d = 0; d < head_dim; d++)
                to[d] = from[d] * inverse + 0.0f;
        }
}
