/* links: engine/backend
 * The cpu backend on a tiny random model: its thread, all samplers, the facts it tells. What the
 * numbers are is the forward pass's and the samplers' business (their tests); here they must come
 * through unchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/backend/backend.h"
#include "engine/base/mem.h"
#include "engine/forward/fwd.h"
#include "engine/sample/sample.h"
#include "models/model.h"
#include "tests/tools/tiny_model.h"

static struct model *model;

static void wake(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

enum { ROWS = 6, KINDS = 11 };

static const uint32_t TOKENS[ROWS] = {5, 80, 33, 2, 7, 61};
static const uint32_t POSITIONS[ROWS] = {0, 1, 2, 0, 1, 2};
static const uint32_t TOKEN_BEGIN[3] = {0, 3, 6}, PAGE_BEGIN[3] = {0, 1, 2}, PAGES[2] = {6, 1};
static const uint32_t BEFORE[2] = {0, 0};
static const uint32_t LABELS[3] = {1, 95, 0};
static const uint32_t ALLOWED[2] = {10, 40};

/* Two requests with every sampler each; the second one has a logit mask. */
static struct batch batch_make(struct batch_sampler samplers[2 * KINDS], uint32_t begin[3],
                               struct batch_brle masks[2])
{
    for (uint32_t i = 0; i < 2 * KINDS; i++) {
        uint32_t kind = i % KINDS;
        samplers[i] = (struct batch_sampler){
            .kind = (enum batch_sampler_kind)kind, .row = kind % 3, .temperature = 0.8f,
            .p = 0.9f, .k = 5, .seed = 11 + i, .labels = LABELS,
            .label_count = kind == BATCH_LOGPROBS ? 3 : kind == BATCH_LOGPROB ? 1 : 0};
    }
    begin[0] = 0;
    begin[1] = KINDS;
    begin[2] = 2 * KINDS;
    masks[0] = (struct batch_brle){0};
    masks[1] = (struct batch_brle){ALLOWED, 2};
    return (struct batch){.request_count = 2, .token_count = ROWS, .tokens = TOKENS,
                          .positions = POSITIONS, .token_begin = TOKEN_BEGIN, .pages = PAGES,
                          .page_begin = PAGE_BEGIN, .kv_before = BEFORE, .logit_masks = masks,
                          .samplers = samplers, .sampler_begin = begin};
}

static void slots_equal(const struct batch_slot *a, const struct batch_slot *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->count, b->count);
    if (a->kind == BATCH_SLOT_TOKEN)
        assert_int_equal(a->token, b->token);
    if (a->kind == BATCH_SLOT_ENTROPY)
        assert_memory_equal(&a->entropy, &b->entropy, sizeof a->entropy);
    if (a->values != NULL && a->count > 0)
        assert_memory_equal(a->values, b->values, a->count * sizeof *a->values);
    if (a->ids != NULL && a->count > 0)
        assert_memory_equal(a->ids, b->ids, a->count * sizeof *a->ids);
}

static void all_samplers_come_through(void **state)
{
    (void)state;
    struct batch_sampler samplers[2 * KINDS];
    uint32_t begin[3];
    struct batch_brle masks[2];
    struct batch batch = batch_make(samplers, begin, masks);

    /* By hand. */
    struct fwd_config fwd_config = {.threads = 1, .page_tokens = 32, .page_count = 8};
    struct fwd *fwd;
    struct fwd_output output;
    assert_int_equal(fwd_create(model, &fwd_config, &fwd, NULL), ERR_OK);
    assert_int_equal(fwd_run(fwd, &batch, &output, NULL), ERR_OK);
    struct batch_result expected, result;
    batch_result_init(&expected);
    batch_result_init(&result);
    expected.slots = arena_calloc(&expected.arena, 2 * KINDS, sizeof *expected.slots);
    for (uint32_t i = 0; i < 2 * KINDS; i++) {
        if (samplers[i].kind == BATCH_EMBEDDING)
            expected.slots[i] = (struct batch_slot){.kind = BATCH_SLOT_EMBEDDING,
                                                    .count = model->hparams.dim,
                                                    .values = output.embeddings[i]};
        else
            assert_true(sample_run(output.logits[i], model->hparams.vocab_count, &samplers[i],
                                   masks[i / KINDS], &expected.arena, &expected.slots[i]));
    }

    for (uint32_t threads = 1; threads <= 3; threads++) {
        atomic_int wakes = 0;
        struct backend_cpu_config config = {.model = model, .threads = threads, .page_count = 8,
                                            .wake = wake, .wake_user = &wakes};
        struct backend *backend;
        assert_int_equal(backend_cpu_create(&config, &backend, NULL), ERR_OK);
        for (int round = 0; round < 3; round++) {
            batch_result_reset(&result);
            backend_submit(backend, &batch, &result);
            backend_wait(backend);
            assert_true(backend_poll(backend));
            assert_false(result.failed);
            assert_int_equal(result.slot_count, 2 * KINDS);
            for (uint32_t i = 0; i < 2 * KINDS; i++)
                slots_equal(&expected.slots[i], &result.slots[i]);
            /* A step without samplers, and one with a single one. */
            uint32_t none[3] = {0, 0, 0}, one[3] = {0, 1, 1};
            struct batch other = batch;
            other.sampler_begin = round == 0 ? none : one;
            batch_result_reset(&result);
            backend_submit(backend, &other, &result);
            backend_wait(backend);
            assert_true(backend_poll(backend));
            assert_false(result.failed);
            assert_int_equal(result.slot_count, round == 0 ? 0 : 1);
        }
        assert_true(backend_busy_ns(backend) > 0);
        backend_destroy(backend);
        assert_int_equal(atomic_load(&wakes), 6);
    }
    batch_result_deinit(&expected);
    batch_result_deinit(&result);
    fwd_destroy(fwd);
}

static void facts_and_refusals(void **state)
{
    (void)state;
    struct backend_cpu_config config = {.model = model, .page_tokens = 16};
    struct backend *backend;
    assert_int_equal(backend_cpu_create(&config, &backend, NULL), ERR_OK);
    const struct backend_caps *caps = backend_caps(backend);
    assert_string_equal(caps->name, "cpu");
    assert_string_equal(caps->arch, "llama");
    assert_int_equal(caps->vocab_count, 96);
    assert_int_equal(caps->page_tokens, 16);
    assert_int_equal(caps->embedding_count, 64);
    assert_in_range(caps->page_count, 64, 65536);
    assert_int_equal(caps->kv_bytes, fwd_page_bytes(model, 16, 16) * caps->page_count);
    assert_true(caps->weight_bytes > 0 && caps->tokens_max > 0 && caps->requests_max > 0);
    /* Destroyed with a step in flight: it ends first. */
    struct batch_sampler samplers[2 * KINDS];
    uint32_t begin[3];
    struct batch_brle masks[2];
    struct batch batch = batch_make(samplers, begin, masks);
    struct batch_result result;
    batch_result_init(&result);
    backend_submit(backend, &batch, &result);
    backend_destroy(backend);
    assert_false(result.failed);
    batch_result_deinit(&result);

    struct report report = {0};
    config.page_tokens = 24;
    assert_int_equal(backend_cpu_create(&config, &backend, &report), ERR_INVALID);
    assert_string_equal(report.text, "page_tokens is 24; use 16, 32, 64, 128 or 256");
}

static void creation_survives_failed_allocations(void **state)
{
    (void)state;
    struct backend_cpu_config config = {.model = model, .threads = 1, .page_count = 4};
    size_t before = mem_used_bytes();
    bool whole = false;
    for (uint64_t n = 1; !whole; n++) {
        struct backend *backend;
        struct report report = {0};
        mem_fail_at(n);
        enum err err = backend_cpu_create(&config, &backend, &report);
        whole = mem_fail_at(0) < n;
        assert_int_equal(err, whole ? ERR_OK : ERR_MEMORY);
        if (err == ERR_OK)
            backend_destroy(backend);
        assert_int_equal(mem_used_bytes(), before);
    }
}

int main(void)
{
    struct buf file;
    buf_init(&file, NULL);
    tiny_model(&tiny_specs[0], &file);
    struct report report = {0};
    if (model_open_memory((const uint8_t *)file.data, file.count, &model, &report) != ERR_OK) {
        fprintf(stderr, "%s\n", report.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_samplers_come_through),
        cmocka_unit_test(facts_and_refusals),
        cmocka_unit_test(creation_survives_failed_allocations),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_close(model);
    buf_deinit(&file);
    return failed;
}
