/* A pretend transformer. KV entry j holds two keys:
 *
 *     first_j  = mix(token_j, position_j)
 *     second_j = mix(first_j, sum over what j sees of spread(first))
 *
 * and a row's logits are hashes of mix(second_i, sum over what i sees of spread(second)). Sums
 * wrap, so the order does not matter, as in attention; two layers, so that what an entry saw when
 * it was made matters to those who see it later. Each entry also says at which KV index it was
 * written. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/backend/backend.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/sample/sample.h"

enum { EMBEDDING_COUNT = 8 };

struct entry {
    uint64_t first, second;
    uint32_t index;
    bool written;
};

struct fake {
    struct backend backend;
    struct entry *entries; /* [page_count][page_tokens] */
    float *logits;         /* [vocab_count] */
    uint32_t delay_us, fail_every;
    uint64_t steps;
};

static uint64_t spread(uint64_t value)
{
    value ^= value >> 30;
    value *= 0xbf58476d1ce4e5b9u;
    value ^= value >> 27;
    value *= 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    return spread(a * 0x9e3779b97f4a7c15u + spread(b + 0x632be59bd9b4e019u));
}

/* Of the bits of a hash, a number in [-6, 6). */
static float number(uint64_t hash)
{
    return (float)(hash >> 40) * (12.0f / 16777216.0f) - 6.0f;
}

struct request {
    struct fake *fake;
    const uint32_t *pages;
    uint32_t index;       /* in the batch */
    uint32_t page_tokens;
    uint32_t before, end; /* KV indices */
};

static struct entry *entry_at(const struct request *request, uint32_t index)
{
    size_t page = request->pages[index / request->page_tokens];
    return &request->fake->entries[page * request->page_tokens + index % request->page_tokens];
}

/* Sum over the entries that the mask sees. */
static uint64_t see(const struct request *request, struct batch_brle mask, bool second)
{
    uint64_t sum = 0, at = 0;
    for (uint32_t i = 0; i < mask.count && at < request->end; i++) {
        uint64_t end = at + mask.runs[i];
        for (; (i & 1) && at < end && at < request->end; at++) {
            const struct entry *entry = entry_at(request, (uint32_t)at);
            sum += spread(second ? entry->second : entry->first);
        }
        at = end;
    }
    return sum;
}

/* Every cached entry must be there, and where it was written. */
static bool cache_check(const struct request *request, struct batch_result *result)
{
    for (uint32_t index = 0; index < request->before; index++) {
        const struct entry *entry = entry_at(request, index);
        if (entry->written && entry->index == index)
            continue;
        result->failed = true;
        if (!entry->written)
            snprintf(result->why, sizeof result->why,
                     "request %u reads KV index %u from page %u, where nothing was written",
                     request->index, index, request->pages[index / request->page_tokens]);
        else
            snprintf(result->why, sizeof result->why,
                     "request %u reads KV index %u from page %u, which holds KV index %u there",
                     request->index, index, request->pages[index / request->page_tokens],
                     entry->index);
        return false;
    }
    return true;
}

static bool sample(struct fake *fake, uint64_t state, const struct batch_sampler *sampler,
                   struct batch_brle logit_mask, struct batch_result *result,
                   struct batch_slot *slot)
{
    if (sampler->kind == BATCH_EMBEDDING) {
        float *values = arena_calloc(&result->arena, EMBEDDING_COUNT, sizeof *values);
        if (values == NULL)
            return false;
        for (uint32_t i = 0; i < EMBEDDING_COUNT; i++)
            values[i] = number(mix(state, UINT64_MAX - i));
        *slot = (struct batch_slot){.kind = BATCH_SLOT_EMBEDDING, .count = EMBEDDING_COUNT,
                                    .values = values};
        return true;
    }
    uint32_t vocab_count = fake->backend.caps.vocab_count;
    for (uint32_t i = 0; i < vocab_count; i++)
        fake->logits[i] = number(mix(state, i));
    return sample_run(fake->logits, vocab_count, sampler, logit_mask, &result->arena, slot);
}

static bool request_compute(struct fake *fake, const struct batch *batch, uint32_t r,
                            struct batch_result *result)
{
    uint32_t row_begin = batch->token_begin[r], rows = batch->token_begin[r + 1] - row_begin;
    struct request request = {
        .fake = fake,
        .pages = batch->pages + batch->page_begin[r],
        .index = r,
        .page_tokens = fake->backend.caps.page_tokens,
        .before = batch->kv_before[r],
        .end = batch->kv_before[r] + rows,
    };
    if (!cache_check(&request, result))
        return false;
    uint64_t *states = arena_calloc(&result->arena, rows, sizeof *states);
    if (states == NULL)
        return false;

    uint64_t causal_first = 0, causal_second = 0;
    for (uint32_t index = 0; index < request.before; index++) {
        causal_first += spread(entry_at(&request, index)->first);
        causal_second += spread(entry_at(&request, index)->second);
    }
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t row = row_begin + i;
        *entry_at(&request, request.before + i) = (struct entry){
            .first = mix(batch->tokens[row], batch->positions[row]),
            .index = request.before + i,
            .written = true,
        };
    }
    for (uint32_t i = 0; i < rows; i++) {
        struct entry *entry = entry_at(&request, request.before + i);
        causal_first += spread(entry->first);
        struct batch_brle mask =
            batch->masks == NULL ? (struct batch_brle){0} : batch->masks[row_begin + i];
        entry->second =
            mix(entry->first, mask.count == 0 ? causal_first : see(&request, mask, false));
    }
    for (uint32_t i = 0; i < rows; i++) {
        struct entry *entry = entry_at(&request, request.before + i);
        causal_second += spread(entry->second);
        struct batch_brle mask =
            batch->masks == NULL ? (struct batch_brle){0} : batch->masks[row_begin + i];
        states[i] = mix(entry->second, mask.count == 0 ? causal_second : see(&request, mask, true));
    }

    struct batch_brle logit_mask =
        batch->logit_masks == NULL ? (struct batch_brle){0} : batch->logit_masks[r];
    for (uint32_t s = batch->sampler_begin[r]; s < batch->sampler_begin[r + 1]; s++) {
        const struct batch_sampler *sampler = &batch->samplers[s];
        if (!sample(fake, states[sampler->row], sampler, logit_mask, result, &result->slots[s]))
            return false;
    }
    return true;
}

static void fake_compute(struct backend *backend, const struct batch *batch,
                         struct batch_result *result)
{
    struct fake *fake = (struct fake *)backend;
    uint32_t page_tokens = backend->caps.page_tokens;
    batch_check(batch, page_tokens, backend->caps.page_count, backend->caps.vocab_count);
    CHECK(batch->token_count <= backend->caps.tokens_max &&
          batch->request_count <= backend->caps.requests_max);
    if (fake->delay_us > 0) {
        struct timespec time = {.tv_sec = fake->delay_us / 1000000,
                                .tv_nsec = (long)(fake->delay_us % 1000000) * 1000};
        nanosleep(&time, NULL);
    }
    fake->steps++;
    if (fake->fail_every > 0 && fake->steps % fake->fail_every == 0) {
        result->failed = true;
        snprintf(result->why, sizeof result->why, "simulated failure of step %llu",
                 (unsigned long long)fake->steps);
        return;
    }
    for (uint32_t i = 0; i < batch->copy_count; i++)
        memcpy(fake->entries + (size_t)batch->copy_to[i] * page_tokens,
               fake->entries + (size_t)batch->copy_from[i] * page_tokens,
               page_tokens * sizeof *fake->entries);
    uint32_t slot_count = batch->sampler_begin[batch->request_count];
    result->slots = arena_calloc(&result->arena, slot_count, sizeof *result->slots);
    bool ok = result->slots != NULL;
    for (uint32_t r = 0; ok && r < batch->request_count; r++)
        ok = request_compute(fake, batch, r, result);
    result->slot_count = slot_count;
    if (!ok && !result->failed) {
        result->failed = true;
        snprintf(result->why, sizeof result->why, "out of memory for the results of the step");
    }
}

static void fake_destroy(struct backend *backend)
{
    struct fake *fake = (struct fake *)backend;
    mem_free(NULL, fake->entries);
    mem_free(NULL, fake->logits);
    mem_free(NULL, fake);
}

static const struct backend_ops FAKE_OPS = {.compute = fake_compute, .destroy = fake_destroy};

enum err backend_fake_create(const struct backend_fake_config *config, struct backend **backend,
                             struct report *report)
{
    struct fake *fake = mem_calloc(NULL, 1, sizeof *fake);
    if (fake == NULL)
        return err_set(report, ERR_MEMORY, "fake backend: out of memory");
    fake->backend.ops = &FAKE_OPS;
    struct backend_caps *caps = &fake->backend.caps;
    *caps = (struct backend_caps){
        .name = "fake",
        .arch = "fake",
        .vocab_count = config->vocab_count ? config->vocab_count : 256,
        .page_tokens = config->page_tokens ? config->page_tokens : 32,
        .page_count = config->page_count ? config->page_count : 1024,
        .tokens_max = config->tokens_max ? config->tokens_max : 512,
        .requests_max = config->requests_max ? config->requests_max : 512,
        .embedding_count = EMBEDDING_COUNT,
    };
    fake->delay_us = config->delay_us;
    fake->fail_every = config->fail_every;
    fake->logits = mem_calloc(NULL, caps->vocab_count, sizeof *fake->logits);
    size_t entry_count = (size_t)caps->page_count * caps->page_tokens;
    fake->entries = mem_calloc(NULL, entry_count, sizeof *fake->entries);
    caps->kv_bytes = entry_count * sizeof *fake->entries;
    if (fake->logits == NULL || fake->entries == NULL) {
        fake_destroy(&fake->backend);
        return err_set(report, ERR_MEMORY, "fake backend: out of memory for %zu KV entries",
                       entry_count);
    }
    enum err err = backend_worker_start(&fake->backend, config->threaded, config->wake,
                                        config->wake_user, report);
    if (err != ERR_OK) {
        fake_destroy(&fake->backend);
        return err;
    }
    *backend = &fake->backend;
    return ERR_OK;
}
