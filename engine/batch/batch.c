#include "engine/batch/batch.h"

#include <string.h>

#include "engine/base/check.h"

void batch_result_init(struct batch_result *result)
{
    memset(result, 0, sizeof *result);
    arena_init(&result->arena, NULL);
}

void batch_result_deinit(struct batch_result *result)
{
    arena_deinit(&result->arena);
    result->slots = NULL;
    result->slot_count = 0;
}

void batch_result_reset(struct batch_result *result)
{
    arena_reset(&result->arena);
    result->slots = NULL;
    result->slot_count = 0;
    result->failed = false;
    result->why[0] = '\0';
}

static void check_sampler(const struct batch_sampler *sampler, uint32_t row_count,
                          uint32_t vocab_count)
{
    CHECK(sampler->kind >= BATCH_MULTINOMIAL && sampler->kind <= BATCH_ENTROPY);
    CHECK(sampler->row < row_count);
    if (sampler->kind == BATCH_LOGPROB || sampler->kind == BATCH_LOGPROBS)
        for (uint32_t i = 0; i < sampler->label_count; i++)
            CHECK(sampler->labels[i] < vocab_count);
}

/* begin[0 .. count] rises from 0. */
static void check_begins(const uint32_t *begin, uint32_t count)
{
    CHECK(begin[0] == 0);
    for (uint32_t i = 0; i < count; i++)
        CHECK(begin[i] <= begin[i + 1]);
}

void batch_check(const struct batch *batch, uint32_t page_tokens, uint32_t page_count,
                 uint32_t vocab_count)
{
    CHECK(page_tokens > 0);
    check_begins(batch->token_begin, batch->request_count);
    check_begins(batch->page_begin, batch->request_count);
    check_begins(batch->sampler_begin, batch->request_count);
    CHECK(batch->token_begin[batch->request_count] == batch->token_count);
    for (uint32_t i = 0; i < batch->token_count; i++)
        CHECK(batch->tokens[i] < vocab_count);
    for (uint32_t r = 0; r < batch->request_count; r++) {
        uint32_t rows = batch->token_begin[r + 1] - batch->token_begin[r];
        uint64_t pages = batch->page_begin[r + 1] - batch->page_begin[r];
        CHECK(pages * page_tokens >= (uint64_t)batch->kv_before[r] + rows);
        for (uint32_t i = batch->page_begin[r]; i < batch->page_begin[r + 1]; i++)
            CHECK(batch->pages[i] < page_count);
        for (uint32_t i = batch->sampler_begin[r]; i < batch->sampler_begin[r + 1]; i++)
            check_sampler(&batch->samplers[i], rows, vocab_count);
    }
    for (uint32_t i = 0; i < batch->copy_count; i++)
        CHECK(batch->copy_from[i] < page_count && batch->copy_to[i] < page_count);
}

uint64_t batch_brle_bits(struct batch_brle mask)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < mask.count; i++)
        bits += mask.runs[i];
    return bits;
}

bool batch_brle_get(struct batch_brle mask, uint64_t bit)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < mask.count; i++) {
        at += mask.runs[i];
        if (bit < at)
            return i % 2 == 1;
    }
    return false;
}

uint64_t batch_brle_popcount(struct batch_brle mask, uint64_t from, uint64_t to)
{
    uint64_t at = 0, count = 0;
    for (uint32_t i = 0; i < mask.count && at < to; i++) {
        uint64_t end = at + mask.runs[i];
        uint64_t low = at > from ? at : from;
        uint64_t high = end < to ? end : to;
        if (i % 2 == 1 && low < high)
            count += high - low;
        at = end;
    }
    return count;
}
