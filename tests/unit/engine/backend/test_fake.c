/* links: engine/backend
 * The truth machine tells the truth: the same history gives the same answer however it was cut,
 * placed or batched; another history another one; and broken page tables are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "engine/backend/backend.h"
#include "engine/base/mem.h"

enum { PAGE_TOKENS = 4, ROWS_MAX = 64, VOCAB = 97 };

static struct backend *fake_make(struct backend_fake_config config)
{
    config.vocab_count = VOCAB;
    config.page_tokens = PAGE_TOKENS;
    config.page_count = 32;
    struct backend *backend;
    assert_int_equal(backend_fake_create(&config, &backend, NULL), ERR_OK);
    return backend;
}

/* One request, greedy at its last row. */
struct request {
    const uint32_t *tokens;
    uint32_t position; /* of the first row */
    uint32_t count, before;
    const uint32_t *pages;
    struct batch_brle mask; /* of the last row */
    const uint32_t *copy; /* from, to; or NULL */
};

static void step(struct backend *backend, const struct request *requests, uint32_t count,
                 struct batch_result *result)
{
    uint32_t tokens[ROWS_MAX], positions[ROWS_MAX], pages[64], token_begin[8] = {0},
        page_begin[8] = {0}, kv_before[8], sampler_begin[8] = {0}, copy_from[8], copy_to[8];
    struct batch_brle masks[ROWS_MAX] = {{0}};
    struct batch_sampler samplers[8] = {{0}};
    struct batch batch = {.request_count = count, .tokens = tokens, .positions = positions,
                          .token_begin = token_begin, .pages = pages, .page_begin = page_begin,
                          .kv_before = kv_before, .masks = masks, .samplers = samplers,
                          .sampler_begin = sampler_begin, .copy_from = copy_from,
                          .copy_to = copy_to};
    for (uint32_t r = 0; r < count; r++) {
        const struct request *request = &requests[r];
        for (uint32_t i = 0; i < request->count; i++) {
            tokens[batch.token_count] = request->tokens[i];
            positions[batch.token_count] = request->position + i;
            batch.token_count++;
        }
        masks[batch.token_count - 1] = request->mask;
        uint32_t page_count = (request->before + request->count + PAGE_TOKENS - 1) / PAGE_TOKENS;
        memcpy(pages + page_begin[r], request->pages, page_count * sizeof pages[0]);
        page_begin[r + 1] = page_begin[r] + page_count;
        token_begin[r + 1] = batch.token_count;
        kv_before[r] = request->before;
        samplers[r] = (struct batch_sampler){.kind = BATCH_TOP_P, .row = request->count - 1,
                                             .p = 1};
        sampler_begin[r + 1] = r + 1;
        if (request->copy != NULL) {
            copy_from[batch.copy_count] = request->copy[0];
            copy_to[batch.copy_count++] = request->copy[1];
        }
    }
    batch_result_reset(result);
    backend_submit(backend, &batch, result);
    backend_wait(backend);
    assert_true(backend_poll(backend));
    assert_false(backend_poll(backend));
}

static const uint32_t TEXT[32] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3,
                                  2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9, 5};

static void same_history_same_answer(void **state)
{
    (void)state;
    for (int threaded = 0; threaded < 2; threaded++) {
        struct backend *backend = fake_make((struct backend_fake_config){.threaded = threaded});
        struct batch_result result;
        batch_result_init(&result);
        uint32_t a[8] = {0, 1, 2, 3}, b[8] = {9, 4, 30, 31}, c[8] = {20, 21, 22, 23};
        struct request whole = {.tokens = TEXT, .count = 13, .pages = a};
        step(backend, &whole, 1, &result);
        assert_false(result.failed);
        assert_int_equal(result.slot_count, 1);
        assert_int_equal(result.slots[0].kind, BATCH_SLOT_TOKEN);
        uint32_t answer = result.slots[0].token;
        for (uint32_t cut = 1; cut < 13; cut++) {
            struct request parts[2] = {
                {.tokens = TEXT, .count = cut, .pages = b},
                {.tokens = TEXT + 3, .count = 5, .pages = c},
            };
            step(backend, parts, 2, &result);
            assert_false(result.failed);
            struct request rest[2] = {
                {.tokens = TEXT + 8, .position = 5, .count = 2, .before = 5, .pages = c},
                {.tokens = TEXT + cut, .position = cut, .count = 13 - cut, .before = cut,
                 .pages = b},
            };
            step(backend, rest, 2, &result);
            assert_false(result.failed);
            assert_int_equal(result.slots[1].token, answer);
        }
        /* A copied page is the page. */
        uint32_t copied[4] = {0, 1, 2, 15}, copy[2] = {3, 15};
        struct request next = {.tokens = TEXT + 13, .position = 13, .count = 1, .before = 13,
                               .pages = copied, .copy = copy};
        step(backend, &next, 1, &result);
        assert_false(result.failed);
        answer = result.slots[0].token;
        next.pages = a;
        next.copy = NULL;
        step(backend, &next, 1, &result);
        assert_int_equal(result.slots[0].token, answer);
        batch_result_deinit(&result);
        backend_destroy(backend);
    }
}

static uint32_t answer_of(struct backend *backend, struct request request)
{
    struct batch_result result;
    batch_result_init(&result);
    step(backend, &request, 1, &result);
    assert_false(result.failed);
    uint32_t token = result.slots[0].token;
    batch_result_deinit(&result);
    return token;
}

static void other_history_other_answer(void **state)
{
    (void)state;
    struct backend *backend = fake_make((struct backend_fake_config){0});
    uint32_t pages[8] = {0, 1, 2, 3}, runs[] = {1, 3}, all_runs[] = {0, 9}, zero_runs[] = {3};
    struct request request = {.tokens = TEXT, .count = 9, .pages = pages};
    uint32_t answer = answer_of(backend, request);
    request.mask = (struct batch_brle){all_runs, 2};
    assert_int_equal(answer_of(backend, request), answer);
    request.mask = (struct batch_brle){runs, 2};
    uint32_t masked = answer_of(backend, request);
    assert_int_not_equal(masked, answer);
    request.mask = (struct batch_brle){zero_runs, 1};
    assert_int_not_equal(answer_of(backend, request), answer);
    request.mask = (struct batch_brle){0};
    request.position = 1;
    assert_int_not_equal(answer_of(backend, request), answer);

    /* What an entry saw when it was made matters later, though it is the same token. */
    struct request next = {.tokens = TEXT + 9, .position = 9, .count = 1, .before = 9,
                           .pages = pages};
    request.position = 0;
    answer_of(backend, request);
    uint32_t after_plain = answer_of(backend, next);
    request.mask = (struct batch_brle){runs, 2};
    answer_of(backend, request);
    assert_int_not_equal(answer_of(backend, next), after_plain);
    backend_destroy(backend);
}

static void broken_tables_are_told(void **state)
{
    (void)state;
    struct backend *backend = fake_make((struct backend_fake_config){0});
    struct batch_result result;
    batch_result_init(&result);
    uint32_t pages[3] = {0, 1, 2}, swapped[3] = {1, 0, 2}, fresh[3] = {0, 7, 2};
    struct request request = {.tokens = TEXT, .count = 8, .pages = pages};
    step(backend, &request, 1, &result);
    assert_false(result.failed);
    struct request next = {.tokens = TEXT, .position = 8, .count = 1, .before = 8,
                           .pages = swapped};
    step(backend, &next, 1, &result);
    assert_true(result.failed);
    assert_string_equal(result.why,
                        "request 0 reads KV index 0 from page 1, which holds KV index 4 there");
    next.pages = fresh;
    step(backend, &next, 1, &result);
    assert_true(result.failed);
    assert_string_equal(result.why,
                        "request 0 reads KV index 4 from page 7, where nothing was written");
    next.pages = pages;
    next.before = 9;
    step(backend, &next, 1, &result);
    assert_true(result.failed);
    next.before = 8;
    step(backend, &next, 1, &result);
    assert_false(result.failed);
    batch_result_deinit(&result);
    backend_destroy(backend);
}

static void count_wakes(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static void steps_fail_when_told_to(void **state)
{
    (void)state;
    atomic_int wakes = 0;
    struct backend *backend = fake_make((struct backend_fake_config){
        .threaded = true, .delay_us = 100, .fail_every = 3, .wake = count_wakes,
        .wake_user = &wakes});
    struct batch_result result;
    batch_result_init(&result);
    uint32_t pages[3] = {0, 1, 2};
    struct request request = {.tokens = TEXT, .count = 8, .pages = pages};
    for (int i = 1; i <= 9; i++) {
        step(backend, &request, 1, &result);
        assert_int_equal(result.failed, i % 3 == 0);
    }
    assert_true(backend_busy_ns(backend) >= 900000);
    batch_result_deinit(&result);
    backend_destroy(backend);
    assert_int_equal(atomic_load(&wakes), 9);
    backend_destroy(NULL);
}

static void all_samplers(void **state)
{
    (void)state;
    struct backend *backend = fake_make((struct backend_fake_config){0});
    const struct backend_caps *caps = backend_caps(backend);
    assert_int_equal(caps->vocab_count, VOCAB);
    assert_int_equal(caps->page_count, 32);
    uint32_t positions[4] = {0, 1, 2, 3}, token_begin[2] = {0, 4}, pages[1] = {5},
             page_begin[2] = {0, 1}, kv_before[1] = {0}, sampler_begin[2] = {0, 11};
    uint32_t labels[3] = {1, 96, 0};
    struct batch_sampler samplers[11];
    for (uint32_t kind = BATCH_MULTINOMIAL; kind <= BATCH_ENTROPY; kind++)
        samplers[kind] = (struct batch_sampler){
            .kind = (enum batch_sampler_kind)kind, .row = kind % 4, .temperature = 1, .p = 0.9f,
            .k = 5, .seed = 1, .labels = labels,
            .label_count = kind == BATCH_LOGPROBS ? 3 : kind == BATCH_LOGPROB ? 1 : 0};
    struct batch batch = {.request_count = 1, .token_count = 4, .tokens = TEXT,
                          .positions = positions, .token_begin = token_begin, .pages = pages,
                          .page_begin = page_begin, .kv_before = kv_before,
                          .samplers = samplers, .sampler_begin = sampler_begin};
    struct batch_result result;
    batch_result_init(&result);
    static const enum batch_slot_kind kinds[11] = {
        BATCH_SLOT_TOKEN, BATCH_SLOT_TOKEN, BATCH_SLOT_TOKEN, BATCH_SLOT_TOKEN, BATCH_SLOT_TOKEN,
        BATCH_SLOT_EMBEDDING, BATCH_SLOT_DISTRIBUTION, BATCH_SLOT_LOGITS, BATCH_SLOT_LOGPROBS,
        BATCH_SLOT_LOGPROBS, BATCH_SLOT_ENTROPY};
    static const uint32_t counts[11] = {0, 0, 0, 0, 0, 8, 5, VOCAB, 1, 3, 0};
    uint32_t tokens[5];
    for (int round = 0; round < 2; round++) {
        batch_result_reset(&result);
        backend_submit(backend, &batch, &result);
        assert_true(backend_poll(backend));
        assert_false(result.failed);
        assert_int_equal(result.slot_count, 11);
        for (size_t i = 0; i < 11; i++) {
            assert_int_equal(result.slots[i].kind, kinds[i]);
            if (counts[i] > 0)
                assert_int_equal(result.slots[i].count, counts[i]);
            if (i < 5 && round == 1)
                assert_int_equal(result.slots[i].token, tokens[i]);
            if (i < 5)
                tokens[i] = result.slots[i].token;
        }
    }
    /* Running out of memory fails the step, nothing else. */
    bool whole = false;
    for (uint64_t n = 1; !whole; n++) {
        batch_result_deinit(&result);
        batch_result_init(&result);
        mem_fail_at(n);
        backend_submit(backend, &batch, &result);
        whole = mem_fail_at(0) < n;
        assert_true(backend_poll(backend));
        assert_int_equal(result.failed, !whole);
    }
    batch_result_deinit(&result);
    backend_destroy(backend);
}

static void creation_survives_failed_allocations(void **state)
{
    (void)state;
    size_t before = mem_used_bytes();
    for (uint64_t n = 1; n < 8; n++) {
        struct backend_fake_config config = {.threaded = n % 2};
        struct backend *backend = NULL;
        struct report report = {0};
        mem_fail_at(n);
        enum err err = backend_fake_create(&config, &backend, &report);
        mem_fail_at(0);
        assert_int_equal(err, report.code);
        if (err == ERR_OK)
            backend_destroy(backend);
        assert_int_equal(mem_used_bytes(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_history_same_answer),
        cmocka_unit_test(other_history_other_answer),
        cmocka_unit_test(broken_tables_are_told),
        cmocka_unit_test(steps_fail_when_told_to),
        cmocka_unit_test(all_samplers),
        cmocka_unit_test(creation_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
