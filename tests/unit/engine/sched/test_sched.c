/* links: engine/sched
 * The scheduler on the fake computer: by hand what each promise says, then a thousand guests with
 * random lives, who must get the answers that each gets alone; some of them on a real model too,
 * bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/sched/sched.h"
#include "models/model.h"
#include "tests/tools/tiny_model.h"

enum { VOCAB = 61, PAGE_TOKENS = 8 };

/* ---- helpers ----------------------------------------------------------------------------- */

struct rig {
    struct backend *backend;
    struct sched *sched;
    struct buf file;
    struct model *model; /* NULL on the fake computer */
};

static void rig_start(struct rig *rig, uint32_t tokens_max)
{
    struct sched_config config = {.backend = rig->backend, .tokens_max = tokens_max,
                                  .check = true};
    assert_int_equal(sched_create(&config, &rig->sched, NULL), ERR_OK);
}

static void rig_open(struct rig *rig, struct backend_fake_config fake, uint32_t tokens_max)
{
    if (fake.vocab_count == 0)
        fake.vocab_count = VOCAB;
    fake.page_tokens = PAGE_TOKENS;
    if (fake.page_count == 0)
        fake.page_count = 256;
    fake.tokens_max = 512;
    rig->model = NULL;
    assert_int_equal(backend_fake_create(&fake, &rig->backend, NULL), ERR_OK);
    rig_start(rig, tokens_max);
}

/* On the real one, with a tiny model of random weights and pages of 16 tokens. */
static void rig_open_cpu(struct rig *rig, const struct tiny_spec *spec, uint32_t threads,
                         uint32_t page_count, uint32_t tokens_max)
{
    struct report report = {0};
    buf_init(&rig->file, NULL);
    tiny_model(spec, &rig->file);
    assert_int_equal(model_open_memory((const uint8_t *)rig->file.data, rig->file.count,
                                       &rig->model, &report), ERR_OK);
    struct backend_cpu_config cpu = {.model = rig->model, .threads = threads, .page_tokens = 16,
                                     .page_count = page_count};
    if (backend_cpu_create(&cpu, &rig->backend, &report) != ERR_OK)
        fail_msg("%s", report.text);
    rig_start(rig, tokens_max);
}

static void rig_close(struct rig *rig)
{
    sched_destroy(rig->sched);
    backend_destroy(rig->backend);
    if (rig->model != NULL) {
        model_close(rig->model);
        buf_deinit(&rig->file);
    }
}

static struct sched_owner *owner_make(struct rig *rig, uint64_t budget)
{
    struct sched_owner *owner;
    assert_int_equal(sched_owner_create(rig->sched, budget, &owner), ERR_OK);
    return owner;
}

static struct sched_context *context_make(struct sched_owner *owner, uint32_t pages)
{
    struct sched_context *context;
    assert_int_equal(sched_context_create(owner, &context, NULL), ERR_OK);
    assert_int_equal(kv_reserve(sched_context_kv(context), pages, NULL), ERR_OK);
    return context;
}

static void settle(struct rig *rig)
{
    for (int turns = 0; sched_pending(rig->sched) > 0; turns++) {
        assert_true(turns < 100000);
        if (!sched_turn(rig->sched, true) && sched_in_flight(rig->sched))
            backend_wait(rig->backend);
    }
    sched_turn(rig->sched, true); /* the last callbacks */
}

static const struct batch_sampler GREEDY = {.kind = BATCH_TOP_P, .p = 1};

/* Tokens that go on at `position`, greedy behind the last one. */
static struct sched_pass *submit(struct sched_context *context, const uint32_t *tokens,
                                 uint32_t position, uint32_t count)
{
    uint32_t positions[1024];
    for (uint32_t i = 0; i < count; i++)
        positions[i] = position + i;
    struct batch_sampler sampler = GREEDY;
    sampler.row = count - 1;
    struct sched_request request = {.tokens = tokens, .positions = positions,
                                    .token_count = count, .samplers = &sampler,
                                    .sampler_count = 1, .adapter_id = -1, .adapter_seed = -1};
    struct sched_pass *pass;
    struct report report = {0};
    if (sched_submit(context, &request, &pass, &report) != ERR_OK)
        fail_msg("%s", report.text);
    return pass;
}

/* The greedy token of a complete pass; releases it. */
static uint32_t take(struct sched_pass *pass)
{
    const struct sched_output *output = sched_pass_output(pass);
    assert_non_null(output);
    if (output->err != ERR_OK)
        fail_msg("%s", output->why);
    assert_int_equal(output->slot_count, 1);
    uint32_t token = output->slots[0].token;
    sched_pass_release(pass);
    return token;
}

/* Lets the pass come to its end. */
static void take_all(struct rig *rig, struct sched_pass *pass)
{
    settle(rig);
    (void)take(pass);
}

static uint32_t TEXT[1024]; /* filled by main */

/* ---- by hand ----------------------------------------------------------------------------- */

static void chunks_change_nothing(void **state)
{
    (void)state;
    uint32_t answer = 0;
    static const uint32_t sizes[] = {512, 100, 64, 16, 7, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct rig rig;
        rig_open(&rig, (struct backend_fake_config){0}, sizes[i]);
        struct sched_owner *owner = owner_make(&rig, 0);
        struct sched_context *context = context_make(owner, 70);
        struct sched_pass *pass = submit(context, TEXT, 0, 500);
        assert_null(sched_pass_output(pass));
        settle(&rig);
        uint32_t token = take(pass);
        if (i == 0)
            answer = token;
        assert_int_equal(token, answer);
        assert_int_equal(kv_length(sched_context_kv(context)), 500);
        struct sched_stats stats = sched_stats(rig.sched);
        assert_int_equal(stats.steps, (500 + sizes[i] - 1) / sizes[i]);
        assert_int_equal(stats.step_tokens, 500);
        sched_owner_destroy(owner);
        rig_close(&rig);
    }
}

/* A long prompt does not stop those who decode, nor they it. */
static void decodes_and_prefill_share_steps(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 16);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *decoders[20];
    struct sched_pass *passes[20];
    uint32_t decoded[20] = {0};
    for (size_t i = 0; i < 20; i++) {
        decoders[i] = context_make(owner, 20);
        passes[i] = submit(decoders[i], TEXT + i, 0, 1);
    }
    struct sched_context *reader = context_make(owner, 70);
    struct sched_pass *prompt = submit(reader, TEXT, 0, 400);
    uint32_t steps = 0;
    while (sched_pass_output(prompt) == NULL) {
        assert_true(sched_turn(rig.sched, false));
        steps = (uint32_t)sched_stats(rig.sched).steps;
        for (size_t i = 0; i < 20; i++) {
            if (sched_pass_output(passes[i]) == NULL)
                continue;
            uint32_t token = take(passes[i]);
            passes[i] = submit(decoders[i], &token, ++decoded[i], 1);
        }
    }
    /* 16 rows: 12 to decoders, first come first served, and 4 to the prompt. Of 20 decoders nobody
     * waits for more than one step. */
    assert_int_equal(steps, 100);
    uint32_t sum = 0;
    for (size_t i = 0; i < 20; i++) {
        assert_in_range(decoded[i], 50, 100);
        sum += decoded[i];
    }
    assert_int_equal(sum, 1200);
    take(prompt);
    for (size_t i = 0; i < 20; i++)
        sched_pass_release(passes[i]);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

static void passes_of_a_context_follow_each_other(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 0);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *a = context_make(owner, 10), *b = context_make(owner, 10);
    struct sched_pass *first = submit(a, TEXT, 0, 9), *second = submit(a, TEXT + 9, 9, 1),
                      *third = submit(a, TEXT + 10, 10, 20), *whole = submit(b, TEXT, 0, 30);
    settle(&rig);
    assert_int_equal(take(third), take(whole));
    take(second);
    take(first);
    /* A pass that nobody waits for is recorded all the same. */
    sched_pass_release(submit(a, TEXT + 30, 30, 3));
    sched_pass_release(submit(b, TEXT + 30, 30, 2));
    settle(&rig);
    assert_int_equal(kv_length(sched_context_kv(a)), 33);
    assert_int_equal(kv_length(sched_context_kv(b)), 32);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

static void drafts(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 0);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *a = context_make(owner, 10);
    uint32_t run[6], positions[10];
    struct sched_pass *pass = submit(a, TEXT, 0, 5);
    for (uint32_t i = 0; i < 6; i++) {
        settle(&rig);
        run[i] = take(pass);
        pass = submit(a, &run[i], 5 + i, 1);
    }
    settle(&rig);
    take(pass);
    for (uint32_t i = 0; i < 10; i++)
        positions[i] = i;
    for (uint32_t right = 0; right <= 4; right++) {
        struct sched_context *b = context_make(owner, 10);
        uint32_t guess[4];
        memcpy(guess, run, sizeof guess);
        if (right < 4)
            guess[right] = (guess[right] + 1) % VOCAB;
        struct batch_sampler samplers[2] = {{.kind = BATCH_ENTROPY, .row = 4}, GREEDY};
        samplers[1].row = 4;
        struct sched_request request = {
            .tokens = TEXT, .positions = positions, .token_count = 5, .samplers = samplers,
            .sampler_count = 2, .draft_tokens = guess, .draft_positions = positions + 5,
            .draft_count = 4, .adapter_id = -1, .adapter_seed = -1};
        assert_int_equal(sched_submit(b, &request, &pass, NULL), ERR_OK);
        settle(&rig);
        const struct sched_output *output = sched_pass_output(pass);
        assert_int_equal(output->err, ERR_OK);
        assert_int_equal(output->slot_count, 2 + right);
        for (uint32_t i = 0; i <= right; i++)
            assert_int_equal(output->slots[1 + i].token, run[i]);
        assert_int_equal(kv_length(sched_context_kv(b)), 9);
        sched_pass_release(pass);
        /* Without a sampler behind the last token nothing is compared. */
        if (right == 4) {
            assert_int_equal(kv_truncate(sched_context_kv(b), 9, NULL), ERR_OK);
            samplers[1].row = 3;
            assert_int_equal(sched_submit(b, &request, &pass, NULL), ERR_OK);
            settle(&rig);
            assert_int_equal(sched_pass_output(pass)->slot_count, 2);
            sched_pass_release(pass);
        }
        sched_context_destroy(b);
    }
    sched_owner_destroy(owner);
    rig_close(&rig);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 16);
    struct sched_owner *owner = owner_make(&rig, 30);
    struct sched_context *context = context_make(owner, 2);
    assert_int_equal(kv_context_id(sched_context_kv(context)), 1);
    uint32_t positions[32] = {0}, bad[1] = {VOCAB}, runs[2] = {0, 17}, label = VOCAB;
    struct batch_brle masks[17] = {{runs, 2}};
    struct batch_sampler sampler = {.kind = BATCH_TOP_P, .row = 2};
    struct sched_pass *pass;
    const struct sched_request base = {.tokens = TEXT, .positions = positions, .token_count = 2,
                                       .adapter_id = -1, .adapter_seed = -1};
    struct sched_request request;
    struct report report;
#define REFUSED(code, words)                                                                  \
    do {                                                                                      \
        report = (struct report){0};                                                          \
        assert_int_equal(sched_submit(context, &request, &pass, &report), code);              \
        assert_string_equal(report.text, words);                                              \
        request = base;                                                                       \
    } while (0)
    request = base;
    request.token_count = 0;
    REFUSED(ERR_INVALID, "empty input: a forward pass must supply at least one token");
    request.token_count = 31;
    REFUSED(ERR_LIMIT, "pin: token budget exhausted for context 1 (requested 31 tokens)");
    request.token_count = 17;
    REFUSED(ERR_LIMIT, "KV_INVARIANT_VIOLATION ctx=1 total_kv=17 page_capacity=16 num_pages=2 "
                       "kv_len=0 num_input=17 num_spec=0 page_size=8 phys_ids=[]");
    request.tokens = bad;
    request.token_count = 1;
    REFUSED(ERR_INVALID, "input-tokens: token 61 is not in the model's vocabulary of 61 tokens");
    request.draft_tokens = bad;
    request.draft_positions = positions;
    request.draft_count = 1;
    REFUSED(ERR_INVALID, "input-tokens: token 61 is not in the model's vocabulary of 61 tokens");
    request.samplers = &sampler;
    request.sampler_count = 1;
    REFUSED(ERR_INVALID, "sampler: index 2 is not one of the pass's 2 input tokens");
    sampler = (struct batch_sampler){.kind = BATCH_LOGPROB, .labels = &label, .label_count = 1};
    request.samplers = &sampler;
    request.sampler_count = 1;
    REFUSED(ERR_INVALID, "sampler: token 61 is not in the model's vocabulary of 61 tokens");
    request.masks = masks;
    request.mask_count = 1;
    REFUSED(ERR_INVALID,
            "attention-mask: 1 masks for 2 input tokens; give one per token, or none");
    assert_int_equal(kv_reserve(sched_context_kv(context), 1, NULL), ERR_OK);
    request.masks = masks;
    request.token_count = request.mask_count = 17;
    REFUSED(ERR_LIMIT, "attention-mask: masks that look ahead tie 17 tokens together, a step has "
                       "at most 16");
#undef REFUSED
    assert_int_equal(sched_pending(rig.sched), 0);
    assert_int_equal(sched_owner_tokens_left(owner), 30);

    /* Passes that wait count. */
    struct sched_pass *one = submit(context, TEXT, 0, 15), *two = submit(context, TEXT, 15, 8);
    assert_int_equal(sched_owner_tokens_left(owner), 7);
    report = (struct report){0};
    assert_int_equal(sched_submit(context, &base, &pass, &report), ERR_LIMIT);
    assert_memory_equal(report.text, "KV_INVARIANT_VIOLATION ctx=1 total_kv=25 page_capacity=24 "
                                     "num_pages=3 kv_len=23 num_input=2", 80);
    report = (struct report){0};
    sched_turn(rig.sched, true);
    assert_int_equal(sched_context_suspend(context, &report), ERR_INVALID);
    assert_string_equal(report.text, "Context 1 is pinned, cannot voluntarily suspend");
    settle(&rig);
    take(one);
    take(two);
    assert_int_equal(sched_context_suspend(context, NULL), ERR_OK);
    assert_int_equal(sched_stats(rig.sched).pool.pages_used, 0);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

static void count_call(void *user)
{
    ++*(int *)user;
}

static void count_done(void *user, struct sched_pass *pass)
{
    assert_non_null(sched_pass_output(pass));
    ++*(int *)user;
}

static struct sched_pass *submit_counted(struct sched_context *context, uint32_t count, int *calls)
{
    struct sched_request request = {.tokens = TEXT, .positions = TEXT, .token_count = count,
                                    .adapter_id = -1, .adapter_seed = -1, .done = count_done,
                                    .user = calls};
    struct sched_pass *pass;
    assert_int_equal(sched_submit(context, &request, &pass, NULL), ERR_OK);
    return pass;
}

static void callbacks_come_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.threaded = true, .delay_us = 200}, 16);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *context = context_make(owner, 20);
    int done = 0, settled = 0, replaced = 0;
    assert_true(sched_context_settle(context, count_call, &settled));
    struct sched_pass *kept = submit_counted(context, 40, &done);
    sched_pass_release(submit_counted(context, 3, &done));
    assert_false(sched_context_settle(context, count_call, &replaced));
    assert_false(sched_context_settle(context, count_call, &settled));
    settle(&rig);
    assert_int_equal(done, 1);
    assert_int_equal(settled, 1);
    assert_int_equal(replaced, 0);
    sched_pass_release(kept);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* A context, or its whole owner, goes while its passes wait, are between two chunks, are being
 * computed. */
static void the_dead_are_forgotten(void **state)
{
    (void)state;
    size_t memory_before = mem_used_bytes();
    for (int turns = 0; turns < 12; turns++) {
        for (int how = 0; how < 3; how++) {
            struct rig rig;
            rig_open(&rig,
                     (struct backend_fake_config){.threaded = true, .delay_us = 500,
                                                  .page_count = 30},
                     16);
            struct sched_owner *owner = owner_make(&rig, 0), *other = owner_make(&rig, 0);
            struct sched_context *context = context_make(owner, 20),
                                 *waits = context_make(owner, 20),
                                 *neighbour = context_make(other, 20);
            int done = 0, others = 0;
            struct sched_pass *passes[4] = {
                submit_counted(context, 100, &done), submit_counted(context, 10, &done),
                submit_counted(context, 10, &done), submit_counted(waits, 150, &done)};
            struct sched_pass *near = submit_counted(neighbour, 33, &others);
            for (int i = 0; i < turns; i++) {
                if (!sched_turn(rig.sched, true) && sched_in_flight(rig.sched) && i % 3 == 0)
                    backend_wait(rig.backend);
            }
            int before = done;
            if (how == 0) {
                sched_owner_destroy(owner);
            } else {
                sched_context_destroy(context);
                if (how == 2)
                    sched_pass_release(passes[0]);
            }
            settle(&rig);
            assert_int_equal(others, 1);
            if (how == 0) {
                assert_int_equal(done, before);
            } else {
                assert_int_equal(done, how == 1 || before > 0 ? 4 : 3);
                for (int i = how == 1 ? 0 : 1; i < 3; i++) {
                    const struct sched_output *output = sched_pass_output(passes[i]);
                    assert_true(output->err == ERR_OK || output->err == ERR_CANCELLED);
                    if (output->err == ERR_CANCELLED)
                        assert_string_equal(output->why, "the context was destroyed");
                }
                assert_int_equal(sched_pass_output(passes[3])->err, ERR_OK);
                sched_owner_destroy(owner);
            }
            sched_pass_release(near);
            assert_int_equal(sched_stats(rig.sched).pool.contexts, 1);
            sched_owner_destroy(other);
            assert_int_equal(sched_stats(rig.sched).pool.pages_used, 0);
            rig_close(&rig);
        }
    }
    assert_int_equal(mem_used_bytes(), memory_before);
}

/* An owner goes with a step in flight, and the scheduler right behind it. */
static void closing_waits_for_the_step(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.threaded = true, .delay_us = 2000}, 16);
    struct sched_owner *owner = owner_make(&rig, 0);
    submit(context_make(owner, 20), TEXT, 0, 100);
    assert_true(sched_turn(rig.sched, true));
    assert_true(sched_in_flight(rig.sched));
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* Everything is held by an earlier process that does nothing. */
static void the_idle_give_way(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.page_count = 16}, 0);
    struct sched_owner *old = owner_make(&rig, 0), *young = owner_make(&rig, 0);
    struct sched_context *a = context_make(old, 16), *b = context_make(young, 16);
    struct sched_pass *pass = submit(a, TEXT, 0, 120);
    settle(&rig);
    take(pass);
    pass = submit(b, TEXT, 0, 120);
    /* While guests may still want to go on, nobody of higher standing is thrown out. */
    assert_false(sched_turn(rig.sched, false));
    assert_int_equal(sched_stats(rig.sched).passes_waiting_pages, 1);
    assert_true(sched_turn(rig.sched, true));
    settle(&rig);
    uint32_t answer = take(pass);
    assert_int_equal(sched_stats(rig.sched).evictions, 1);
    assert_false(kv_resident(sched_context_kv(a)));

    /* The old one takes its place back at once; the same token is the same answer. */
    struct sched_pass *next = submit(b, TEXT, 120, 1);
    settle(&rig);
    uint32_t next_answer = take(next);
    assert_int_equal(kv_truncate(sched_context_kv(b), 121, NULL), ERR_OK);
    pass = submit(a, TEXT, 120, 1);
    next = submit(b, TEXT, 0, 120);
    assert_true(sched_turn(rig.sched, false));
    settle(&rig);
    assert_int_equal(take(pass), next_answer);
    assert_int_equal(take(next), answer);
    assert_int_equal(sched_stats(rig.sched).replayed_tokens, 120);

    /* Snapshots go first of all. */
    assert_int_equal(sched_context_suspend(a, NULL), ERR_OK);
    char made[40];
    assert_int_equal(sched_context_save(b, "u", NULL, 0, made, NULL), ERR_OK);
    sched_context_destroy(b);
    uint64_t evictions = sched_stats(rig.sched).evictions;
    pass = submit(a, TEXT, 121, 1);
    settle(&rig);
    take(pass);
    assert_int_equal(sched_stats(rig.sched).evictions, evictions);
    assert_int_equal(sched_context_open(young, "u", made, strlen(made), true, &b, NULL), ERR_OK);
    struct sched_context *none;
    struct report report = {0};
    assert_int_equal(sched_context_open(young, "u", made, strlen(made), true, &none, &report),
                     ERR_NOT_FOUND);
    assert_string_equal(report.text, "Snapshot not found");
    pass = submit(b, TEXT, 120, 1);
    settle(&rig);
    assert_int_equal(take(pass), next_answer);
    sched_owner_destroy(young);
    sched_owner_destroy(old);
    rig_close(&rig);
}

/* Pages are short: the higher bid is served first, whoever came first. */
static void bids_decide_when_pages_are_short(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.page_count = 16}, 0);
    struct sched_owner *owners[3];
    struct sched_context *contexts[3];
    struct sched_pass *passes[3];
    static const double bids[3] = {1, 0.0 / 0.0, 5};
    for (int i = 0; i < 3; i++) {
        owners[i] = owner_make(&rig, 0);
        contexts[i] = context_make(owners[i], 16);
        passes[i] = submit(contexts[i], TEXT + i, 0, 120);
        sched_context_bid(contexts[i], bids[i]);
    }
    assert_true(sched_price(rig.sched) == 1.0);
    static const int order[3] = {2, 0, 1};
    for (int k = 0; k < 3; k++) {
        while (sched_pass_output(passes[order[k]]) == NULL)
            sched_turn(rig.sched, true);
        assert_true(sched_latency(rig.sched) > 0);
        for (int later = k + 1; later < 3; later++)
            assert_null(sched_pass_output(passes[order[later]]));
    }
    for (int i = 0; i < 3; i++)
        take(passes[i]);
    /* The two that ran while others waited paid their bid for 15 pages; all shared it. */
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum += sched_balance(owners[i]);
    assert_true(sum > 3 * 64 - 1e-9 && sum < 3 * 64 + 1e-9);
    assert_true(sched_balance(owners[2]) < sched_balance(owners[0]));
    assert_true(sched_balance(owners[0]) < sched_balance(owners[1]));
    assert_true(sched_rent(contexts[1]) == 0 && sched_dividend(owners[1]) == 0);
    for (int i = 0; i < 3; i++)
        sched_owner_destroy(owners[i]);
    rig_close(&rig);
}

/* A fork copies what is in working pages, so a guest could multiply one prefill without end. */
static void forks_are_bounded(void **state)
{
    (void)state;
    enum { FORKS = 1100 };
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 0);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *context = context_make(owner, 128), *forks[FORKS];
    take_all(&rig, submit(context, TEXT, 0, 1000));
    struct report report = {0};
    size_t count = 0;
    while (count < FORKS &&
           sched_context_fork(context, &forks[count], &report) == ERR_OK)
        count++;
    assert_int_equal(count, kv_lineage_max(sched_pool(rig.sched)) / 1000);
    assert_int_equal(report.code, ERR_LIMIT);
    assert_non_null(strstr(report.text, "commit before forking"));

    /* Room comes back, and committed tokens cost nothing. */
    struct sched_context *child;
    sched_context_destroy(forks[--count]);
    assert_int_equal(sched_context_fork(context, &child, NULL), ERR_OK);
    sched_context_destroy(child);
    assert_int_equal(kv_commit(sched_context_kv(context), 125, NULL), ERR_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sched_context_fork(context, &child, NULL), ERR_OK);
    /* Other owners have their own. */
    struct sched_owner *other = owner_make(&rig, 0);
    context = context_make(other, 128);
    take_all(&rig, submit(context, TEXT, 0, 900));
    assert_int_equal(sched_context_fork(context, &child, NULL), ERR_OK);
    sched_owner_destroy(other);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* What has been computed is paid for, also when nobody waits for the answer. */
static void cancelling_is_not_free(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.threaded = true, .delay_us = 1000}, 16);
    struct sched_owner *owner = owner_make(&rig, 200);
    struct sched_context *context = context_make(owner, 20);
    struct sched_pass *waiting = submit(context, TEXT, 0, 40);
    sched_context_destroy(context);
    assert_int_equal(sched_owner_tokens_left(owner), 200);
    context = context_make(owner, 20);
    struct sched_pass *running = submit(context, TEXT, 0, 40);
    struct sched_pass *behind = submit(context, TEXT, 40, 50);
    assert_true(sched_turn(rig.sched, true));
    sched_context_destroy(context);
    settle(&rig);
    assert_int_equal(sched_pass_output(running)->err, ERR_CANCELLED);
    assert_int_equal(sched_pass_output(behind)->err, ERR_CANCELLED);
    assert_int_equal(sched_owner_tokens_left(owner), 160);
    sched_pass_release(waiting);
    sched_pass_release(running);
    sched_pass_release(behind);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

static void a_failed_step_is_told_to_its_passes(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){.fail_every = 2}, 0);
    struct sched_owner *owner = owner_make(&rig, 100);
    struct sched_context *a = context_make(owner, 10);
    struct sched_pass *pass = submit(a, TEXT, 0, 20);
    settle(&rig);
    take(pass);
    pass = submit(a, TEXT, 20, 5);
    struct sched_pass *behind = submit(a, TEXT, 25, 5);
    settle(&rig);
    assert_int_equal(sched_pass_output(pass)->err, ERR_IO);
    assert_string_equal(sched_pass_output(pass)->why, "simulated failure of step 2");
    assert_int_equal(sched_pass_output(pass)->slot_count, 0);
    assert_int_equal(sched_pass_output(behind)->err, ERR_IO);
    assert_string_equal(sched_pass_output(behind)->why,
                        "an earlier pass on this context failed: simulated failure of step 2");
    assert_int_equal(kv_length(sched_context_kv(a)), 20);
    assert_int_equal(sched_owner_tokens_left(owner), 80);
    sched_pass_release(pass);
    sched_pass_release(behind);
    /* What was computed before is still there. */
    assert_true(kv_resident(sched_context_kv(a)));
    pass = submit(a, TEXT, 20, 5);
    settle(&rig);
    take(pass);
    assert_int_equal(kv_length(sched_context_kv(a)), 25);
    assert_int_equal(sched_stats(rig.sched).replayed_tokens, 0);
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* A page copy is done in a step that fails, and who needs it is not in that step. */
static void copies_of_a_failed_step_are_not_trusted(void **state)
{
    (void)state;
    struct rig rig;
    /* One row a step: ten, three, the one that fails, and twelve more. */
    rig_open(&rig, (struct backend_fake_config){.fail_every = 14}, 1);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *a = context_make(owner, 4), *c = context_make(owner, 4), *b;
    struct sched_pass *pass = submit(a, TEXT, 0, 10);
    settle(&rig);
    take(pass);
    pass = submit(c, TEXT, 0, 3);
    settle(&rig);
    take(pass);
    assert_int_equal(sched_context_fork(a, &b, NULL), ERR_OK);
    struct sched_pass *fails = submit(c, TEXT, 3, 1), *copied = submit(b, TEXT + 10, 10, 1);
    settle(&rig);
    assert_int_equal(sched_stats(rig.sched).copies, 1);
    assert_int_equal(sched_pass_output(fails)->err, ERR_IO);
    sched_pass_release(fails);
    pass = submit(a, TEXT + 10, 10, 1);
    settle(&rig);
    assert_int_equal(take(copied), take(pass)); /* b was computed again */
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* Rows that must stay together find room though others always want some of it. */
static void tied_rows_are_not_starved(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, (struct backend_fake_config){0}, 16);
    struct sched_owner *owner = owner_make(&rig, 0);
    struct sched_context *decoders[12];
    struct sched_pass *passes[12];
    for (size_t i = 0; i < 12; i++) {
        decoders[i] = context_make(owner, 20);
        passes[i] = submit(decoders[i], TEXT + i, 0, 1);
    }
    uint32_t runs[2] = {0, 14}, decoded = 0;
    struct batch_brle masks[14] = {{runs, 2}};
    struct sched_request request = {.tokens = TEXT, .positions = TEXT, .token_count = 14,
                                    .masks = masks, .mask_count = 14,
                                    .adapter_id = -1, .adapter_seed = -1};
    struct sched_pass *tied;
    assert_int_equal(sched_submit(context_make(owner, 2), &request, &tied, NULL), ERR_OK);
    while (sched_pass_output(tied) == NULL) {
        assert_true(decoded < 12 * 4);
        sched_turn(rig.sched, false);
        for (size_t i = 0; i < 12; i++) {
            if (sched_pass_output(passes[i]) == NULL)
                continue;
            uint32_t token = take(passes[i]);
            passes[i] = submit(decoders[i], &token, 1, 1);
            decoded++;
        }
    }
    sched_owner_destroy(owner);
    rig_close(&rig);
}

/* Logits of many rows and a large vocabulary: in pieces, and not without end. */
static void outputs_are_bounded(void **state)
{
    (void)state;
    enum { LARGE = 300000, ROWS = 130, SAMPLERS = 900 };
    uint32_t tokens[2][ROWS];
    static const uint32_t sizes[2] = {512, 50};
    static const uint64_t steps[2] = {2, 3};
    for (int k = 0; k < 2; k++) {
        struct rig rig;
        rig_open(&rig, (struct backend_fake_config){.vocab_count = LARGE}, sizes[k]);
        struct sched_owner *owner = owner_make(&rig, 0);
        struct sched_context *context = context_make(owner, 70);
        struct batch_sampler samplers[SAMPLERS];
        for (uint32_t i = 0; i < SAMPLERS; i++)
            samplers[i] = (struct batch_sampler){.kind = BATCH_RAW_LOGITS};
        struct sched_request request = {.tokens = TEXT, .positions = TEXT, .token_count = ROWS,
                                        .samplers = samplers, .sampler_count = SAMPLERS,
                                        .adapter_id = -1, .adapter_seed = -1};
        struct sched_pass *pass;
        struct report report = {0};
        assert_int_equal(sched_submit(context, &request, &pass, &report), ERR_LIMIT);
        assert_memory_equal(report.text, "forward pass: its input and outputs take 10", 43);
        /* Each draft may become one more token slot. */
        unsigned long long bytes = 0, with_drafts = 0;
        assert_int_equal(sscanf(report.text + 41, "%llu", &bytes), 1);
        request.draft_tokens = request.draft_positions = TEXT;
        request.draft_count = 100;
        report = (struct report){0};
        assert_int_equal(sched_submit(context, &request, &pass, &report), ERR_LIMIT);
        assert_int_equal(sscanf(report.text + 41, "%llu", &with_drafts), 1);
        assert_true(with_drafts >= bytes + 100 * (sizeof *samplers + sizeof(struct batch_slot)));
        request.draft_count = 0;
        for (uint32_t i = 0; i < ROWS; i++) {
            samplers[i] = GREEDY;
            samplers[i].row = ROWS - 1 - i;
        }
        request.sampler_count = ROWS;
        assert_int_equal(sched_submit(context, &request, &pass, NULL), ERR_OK);
        settle(&rig);
        assert_int_equal(sched_stats(rig.sched).steps, steps[k]);
        assert_int_equal(sched_pass_output(pass)->slot_count, ROWS);
        for (uint32_t i = 0; i < ROWS; i++)
            tokens[k][i] = sched_pass_output(pass)->slots[i].token;
        sched_owner_destroy(owner);
        rig_close(&rig);
    }
    assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
}

/* ---- random lives ------------------------------------------------------------------------- */

enum { SEATS = 4, PASSES_MAX = 3, ROWS_MAX = 90, PAGES_MAX = 24 };

struct guest_pass {
    struct sched_pass *pass;
    uint32_t seat;
    uint32_t tokens[ROWS_MAX], positions[ROWS_MAX];
    uint32_t count, draft_count;
    uint32_t runs[ROWS_MAX][4];
    struct batch_brle masks[ROWS_MAX];
    uint32_t mask_count;
    struct batch_sampler samplers[4];
    uint32_t sampler_count;
    uint32_t logit_runs[2];
    bool logit_masked;
    bool recorded;
};

struct guest {
    uint32_t number;
    uint64_t random, transcript;
    uint32_t acts; /* left */
    struct sched_owner *owner;
    struct sched_context *seats[SEATS];
    struct guest_pass passes[PASSES_MAX];
    uint32_t pass_count;
    uint32_t last_token;
    bool finished;
};

struct town {
    struct rig rig;
    struct guest *guests;
    uint32_t count, alive;
    uint32_t memory_fails; /* one in that many turns runs with an allocation that fails */
    uint64_t random, retries;
};

static uint32_t draw(uint64_t *random, uint32_t below)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % below);
}

static void note(struct guest *guest, uint64_t value)
{
    guest->transcript = (guest->transcript ^ value) * 0x100000001b3u;
    guest->transcript ^= guest->transcript >> 31;
}

static void guest_submit(struct town *town, struct guest *guest, struct guest_pass *pass)
{
    struct sched_request request = {
        .tokens = pass->tokens,
        .positions = pass->positions,
        .token_count = pass->count,
        .masks = pass->masks,
        .mask_count = pass->mask_count,
        .samplers = pass->samplers,
        .sampler_count = pass->sampler_count,
        .draft_tokens = pass->tokens + pass->count,
        .draft_positions = pass->positions + pass->count,
        .draft_count = pass->draft_count,
        .adapter_id = -1,
        .adapter_seed = -1,
    };
    if (pass->logit_masked)
        request.logit_mask = (struct batch_brle){pass->logit_runs, 2};
    for (;;) {
        enum err err = sched_submit(guest->seats[pass->seat], &request, &pass->pass, NULL);
        if (err == ERR_OK && sched_pass_output(pass->pass) == NULL)
            return;
        /* Refused, or failed at once: before another pass of the context is behind it. */
        if (err == ERR_OK) {
            assert_int_equal(sched_pass_output(pass->pass)->err, ERR_MEMORY);
            sched_pass_release(pass->pass);
        } else {
            assert_int_equal(err, ERR_MEMORY);
        }
        mem_fail_at(0);
        town->retries++;
    }
}

/* Random rows for the context on the seat; `queued` rows are before it. */
static bool pass_make(struct guest *guest, struct guest_pass *pass, uint32_t seat,
                      uint32_t queued)
{
    struct kv_context *kv = sched_context_kv(guest->seats[seat]);
    uint32_t begin = kv_length(kv) + queued;
    uint32_t pages = kv_committed_pages(kv) + kv_working_pages(kv);
    uint32_t capacity = pages * kv_page_tokens(kv);
    uint32_t room = capacity - begin;
    if (room == 0)
        return false;
    memset(pass, 0, sizeof *pass);
    pass->seat = seat;
    uint32_t most = draw(&guest->random, 3) == 0 ? ROWS_MAX - 4 : 6;
    pass->count = 1 + draw(&guest->random, room < most ? room : most);
    if (pass->count + 4 < room && draw(&guest->random, 5) == 0)
        pass->draft_count = 1 + draw(&guest->random, 4);
    for (uint32_t i = 0; i < pass->count + pass->draft_count; i++) {
        pass->tokens[i] = draw(&guest->random, 3);
        pass->positions[i] = begin + i;
    }
    pass->tokens[0] = guest->last_token;
    if (draw(&guest->random, 5) == 0) {
        pass->mask_count = pass->count;
        bool ahead = pass->count + pass->draft_count <= 12 && draw(&guest->random, 2) == 0;
        for (uint32_t i = 0; i < pass->count; i++) {
            uint32_t *runs = pass->runs[i], own = begin + i, at = draw(&guest->random, own + 1);
            runs[0] = at;
            runs[1] = draw(&guest->random, own + 2 - at);
            runs[2] = draw(&guest->random, 3);
            runs[3] = ahead ? draw(&guest->random, 9) : 0;
            pass->masks[i] = (struct batch_brle){runs, draw(&guest->random, 4) == 0 ? 0 : 4};
        }
    }
    if (draw(&guest->random, 6) == 0) {
        pass->logit_masked = true;
        pass->logit_runs[0] = draw(&guest->random, VOCAB - 5);
        pass->logit_runs[1] = 5;
    }
    pass->sampler_count = draw(&guest->random, 4);
    for (uint32_t s = 0; s < pass->sampler_count; s++) {
        static const enum batch_sampler_kind kinds[] = {BATCH_DIST, BATCH_RAW_LOGITS,
                                                        BATCH_ENTROPY, BATCH_EMBEDDING};
        pass->samplers[s] = (struct batch_sampler){
            .kind = kinds[draw(&guest->random, 4)], .row = draw(&guest->random, pass->count),
            .temperature = 1, .k = 3};
    }
    pass->samplers[pass->sampler_count] = (struct batch_sampler){
        .kind = BATCH_MULTINOMIAL, .row = pass->count - 1, .seed = guest->random,
        .temperature = draw(&guest->random, 2) == 0 ? 0.0f : 1.0f};
    pass->sampler_count++;
    return true;
}

static void pass_note(struct guest *guest, const struct sched_output *output)
{
    for (uint32_t s = 0; s < output->slot_count; s++) {
        const struct batch_slot *slot = &output->slots[s];
        note(guest, (uint64_t)slot->kind << 32 | slot->count);
        if (slot->kind == BATCH_SLOT_TOKEN) {
            note(guest, slot->token);
            guest->last_token = slot->token;
        }
        for (uint32_t i = 0; i < slot->count; i++) {
            uint32_t value;
            memcpy(&value, &slot->values[i], sizeof value);
            note(guest, value);
            if (slot->ids != NULL)
                note(guest, slot->ids[i]);
        }
    }
}

/* All passes are complete; those that failed are tried again, in order, until none is left. */
static bool passes_collect(struct town *town, struct guest *guest)
{
    bool again = false;
    for (uint32_t i = 0; i < guest->pass_count; i++) {
        if (sched_pass_output(guest->passes[i].pass) == NULL)
            return false;
    }
    for (uint32_t i = 0; i < guest->pass_count; i++) {
        struct guest_pass *pass = &guest->passes[i];
        if (pass->recorded)
            continue;
        const struct sched_output *output = sched_pass_output(pass->pass);
        if (output->err == ERR_OK && !again) {
            pass_note(guest, output);
            pass->recorded = true;
            continue;
        }
        again = true; /* what stands behind it is noted in order, later */
        if (output->err == ERR_OK)
            continue;
        assert_true(output->err == ERR_IO || output->err == ERR_MEMORY);
        sched_pass_release(pass->pass);
        guest_submit(town, guest, pass);
        town->retries++;
    }
    if (again)
        return false;
    for (uint32_t i = 0; i < guest->pass_count; i++)
        sched_pass_release(guest->passes[i].pass);
    guest->pass_count = 0;
    return true;
}

static void seat_change(struct town *town, struct guest *guest, uint32_t seat)
{
    struct sched_context **context = &guest->seats[seat];
    char name[2] = {(char)('a' + draw(&guest->random, 2)), 0}, username[16];
    snprintf(username, sizeof username, "%u", guest->number);
    uint32_t what = draw(&guest->random, 12), amount = draw(&guest->random, 40);
    enum err err;
    do {
        err = ERR_OK;
        if (*context == NULL) {
            if (what < 5)
                err = sched_context_create(guest->owner, context, NULL);
            else if (what < 8 && guest->seats[amount % SEATS] != NULL)
                err = sched_context_fork(guest->seats[amount % SEATS], context, NULL);
            else
                err = sched_context_open(guest->owner, username, name, 1, what == 11, context,
                                         NULL);
            if (err != ERR_OK)
                *context = NULL;
        } else {
            struct kv_context *kv = sched_context_kv(*context);
            if (what < 2)
                err = kv_truncate(kv, amount % (kv_working_tokens(kv) + 1), NULL);
            else if (what < 6)
                err = kv_commit(kv, kv_working_tokens(kv) / kv_page_tokens(kv), NULL);
            else if (what == 6)
                err = kv_release(kv, amount % (kv_working_pages(kv) + 1), NULL);
            else if (what == 7 && amount < 20)
                sched_context_destroy(*context);
            else if (what == 8)
                err = sched_context_suspend(*context, NULL);
            else if (what == 9)
                sched_context_bid(*context, amount);
            else if (what == 10)
                err = sched_context_save(*context, username, name, 1, NULL, NULL);
            else if (what == 11)
                err = kv_snapshot_delete(sched_pool(town->rig.sched), username, name, 1, NULL);
            if (what == 7 && amount < 20)
                *context = NULL;
        }
        if (err == ERR_MEMORY) {
            mem_fail_at(0);
            town->retries++;
        }
    } while (err == ERR_MEMORY);
    note(guest, err);
    if (*context != NULL) {
        struct kv_context *kv = sched_context_kv(*context);
        uint32_t pages = kv_committed_pages(kv) + kv_working_pages(kv);
        if (pages < PAGES_MAX && draw(&guest->random, 2) == 0)
            assert_int_equal(kv_reserve(kv, draw(&guest->random, PAGES_MAX - pages) + 1, NULL),
                             ERR_OK);
        note(guest, kv_length(kv));
        note(guest, kv_committed_pages(kv));
    }
}

static void guest_run(struct town *town, struct guest *guest)
{
    if (!passes_collect(town, guest))
        return;
    while (guest->acts > 0) {
        guest->acts--;
        for (uint32_t i = draw(&guest->random, 4); i > 0; i--)
            seat_change(town, guest, draw(&guest->random, SEATS));
        uint32_t queued[SEATS] = {0}, wanted = 1 + draw(&guest->random, PASSES_MAX);
        for (uint32_t i = 0; i < wanted; i++) {
            uint32_t seat = draw(&guest->random, SEATS);
            struct guest_pass *pass = &guest->passes[guest->pass_count];
            if (guest->seats[seat] == NULL || !pass_make(guest, pass, seat, queued[seat]))
                continue;
            queued[seat] += pass->count + pass->draft_count;
            guest->pass_count++;
        }
        for (uint32_t i = 0; i < guest->pass_count; i++)
            guest_submit(town, guest, &guest->passes[i]);
        if (guest->pass_count > 0)
            return;
    }
    guest->finished = true;
    town->alive--;
    sched_owner_destroy(guest->owner);
}

/* The rig is open; it is closed here. */
static void town_live(struct town *town, uint32_t first, uint32_t count, uint64_t *transcripts)
{
    town->guests = calloc(count, sizeof *town->guests);
    assert_non_null(town->guests);
    town->count = town->alive = count;
    town->random = 5;
    for (uint32_t i = 0; i < count; i++) {
        struct guest *guest = &town->guests[i];
        guest->number = first + i;
        guest->random = (first + i) * 0x9e3779b97f4a7c15u + 7;
        guest->acts = 6 + draw(&guest->random, 6);
        guest->owner = owner_make(&town->rig, 0);
    }
    for (uint64_t turn = 0; town->alive > 0; turn++) {
        bool failing = town->memory_fails > 0 && draw(&town->random, town->memory_fails) == 0;
        for (uint32_t i = 0; i < count; i++) {
            if (failing)
                mem_fail_at(1 + draw(&town->random, 30));
            if (!town->guests[i].finished)
                guest_run(town, &town->guests[i]);
            mem_fail_at(0);
        }
        if (failing)
            mem_fail_at(1 + draw(&town->random, 30));
        bool happened = sched_turn(town->rig.sched, true);
        mem_fail_at(0);
        if (!happened && sched_in_flight(town->rig.sched))
            backend_wait(town->rig.backend);
        if (turn % 256 == 0 && count > 1)
            kv_pool_check(sched_pool(town->rig.sched));
        assert_true(turn < 10000000);
    }
    if (sched_in_flight(town->rig.sched))
        settle(&town->rig);
    for (uint32_t i = 0; i < count; i++)
        transcripts[i] = town->guests[i].transcript;
    struct sched_stats stats = sched_stats(town->rig.sched);
    if (count > 1)
        print_message("%u guests: %llu steps, %llu rows (%llu again), %llu passes (%llu failed), "
                      "%llu evictions, %llu copies, %llu retries, peak of %u pages\n",
                      count, (unsigned long long)stats.steps,
                      (unsigned long long)stats.step_tokens,
                      (unsigned long long)stats.replayed_tokens,
                      (unsigned long long)stats.passes, (unsigned long long)stats.passes_failed,
                      (unsigned long long)stats.evictions, (unsigned long long)stats.copies,
                      (unsigned long long)town->retries, stats.pool.pages_peak);
    free(town->guests);
    rig_close(&town->rig);
}

static void town_run(struct town *town, struct backend_fake_config fake, uint32_t tokens_max,
                     uint32_t first, uint32_t count, uint64_t *transcripts)
{
    rig_open(&town->rig, fake, tokens_max);
    town_live(town, first, count, transcripts);
}

enum { GUESTS = 1000 };
static uint64_t alone[GUESTS];

/* What each gets when it is the only one, with all the pages it can want. */
static void everyone_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < GUESTS; i++) {
        struct town town = {0};
        town_run(&town, (struct backend_fake_config){.page_count = 400}, 512, i, 1, &alone[i]);
    }
    assert_true(alone[0] != alone[1]);
}

static void same_as_alone(struct backend_fake_config fake, uint32_t tokens_max, uint32_t count,
                          uint32_t memory_fails)
{
    size_t memory_before = mem_used_bytes();
    static uint64_t transcripts[GUESTS];
    struct town town = {.memory_fails = memory_fails};
    town_run(&town, fake, tokens_max, 0, count, transcripts);
    for (uint32_t i = 0; i < count; i++) {
        if (transcripts[i] != alone[i])
            fail_msg("guest %u got other answers than alone", i);
    }
    assert_int_equal(mem_used_bytes(), memory_before);
}

static void a_thousand_with_many_pages(void **state)
{
    (void)state;
    same_as_alone((struct backend_fake_config){.page_count = 60000}, 512, GUESTS, 0);
}

static void a_thousand_with_few_pages(void **state)
{
    (void)state;
    same_as_alone((struct backend_fake_config){.page_count = 300, .threaded = true}, 128, GUESTS,
                  0);
}

static void hardly_any_pages(void **state)
{
    (void)state;
    same_as_alone((struct backend_fake_config){.page_count = PAGES_MAX}, 13, 60, 0);
}

static void steps_that_fail(void **state)
{
    (void)state;
    same_as_alone((struct backend_fake_config){.page_count = 100, .fail_every = 17}, 128, 100, 0);
}

static void allocations_that_fail(void **state)
{
    (void)state;
    same_as_alone((struct backend_fake_config){.page_count = 100}, 64, 100, 3);
}

/* Chunks, batches, forks, evictions and replays on real kernels: the bits of logits, distributions
 * and embeddings stay. */
static void the_same_bits_on_a_real_model(void **state)
{
    (void)state;
    enum { FEW = 16 };
    static const size_t specs[] = {1, 5, 7};
    for (size_t k = 0; k < sizeof specs / sizeof specs[0]; k++) {
        const struct tiny_spec *spec = &tiny_specs[specs[k]];
        uint64_t single[FEW], together[FEW];
        for (uint32_t i = 0; i < FEW; i++) {
            struct town town = {0};
            rig_open_cpu(&town.rig, spec, 1, 400, 512);
            town_live(&town, i, 1, &single[i]);
        }
        struct town town = {0};
        rig_open_cpu(&town.rig, spec, 2, 40, 50);
        town_live(&town, 0, FEW, together);
        for (uint32_t i = 0; i < FEW; i++) {
            if (single[i] != together[i])
                fail_msg("%s: guest %u got other bits than alone", spec->name, i);
        }
    }
}

int main(void)
{
    for (uint32_t i = 0; i < 1024; i++)
        TEXT[i] = (i * i + 3 * i) % 59;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_change_nothing),
        cmocka_unit_test(decodes_and_prefill_share_steps),
        cmocka_unit_test(passes_of_a_context_follow_each_other),
        cmocka_unit_test(drafts),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(callbacks_come_once),
        cmocka_unit_test(the_dead_are_forgotten),
        cmocka_unit_test(closing_waits_for_the_step),
        cmocka_unit_test(the_idle_give_way),
        cmocka_unit_test(bids_decide_when_pages_are_short),
        cmocka_unit_test(forks_are_bounded),
        cmocka_unit_test(cancelling_is_not_free),
        cmocka_unit_test(a_failed_step_is_told_to_its_passes),
        cmocka_unit_test(copies_of_a_failed_step_are_not_trusted),
        cmocka_unit_test(tied_rows_are_not_starved),
        cmocka_unit_test(outputs_are_bounded),
        cmocka_unit_test(everyone_alone),
        cmocka_unit_test(a_thousand_with_many_pages),
        cmocka_unit_test(a_thousand_with_few_pages),
        cmocka_unit_test(hardly_any_pages),
        cmocka_unit_test(steps_that_fail),
        cmocka_unit_test(allocations_that_fail),
        cmocka_unit_test(the_same_bits_on_a_real_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
