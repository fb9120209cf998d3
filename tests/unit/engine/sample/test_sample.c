/* links: engine/sample
 * Samplers against brute force in double arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample/sample.h"

enum { VOCAB_MAX = 3000 };

static uint64_t state = 7;

static uint32_t random_u32(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* A vocabulary with its probabilities, sorted by falling logit, ties by id. */
struct truth {
    uint32_t vocab, allowed;
    float logits[VOCAB_MAX];
    bool mask[VOCAB_MAX];
    uint32_t runs[VOCAB_MAX + 1];
    struct batch_brle brle;
    uint32_t order[VOCAB_MAX]; /* [allowed] */
    double p[VOCAB_MAX];       /* by order */
};

static const struct truth *sorting;

static int by_logit(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    float p = sorting->logits[x], q = sorting->logits[y];
    return p > q ? -1 : p < q ? 1 : x < y ? -1 : 1;
}

static void make(struct truth *t, uint32_t vocab, bool masked, float temperature)
{
    t->vocab = vocab;
    for (uint32_t i = 0; i < vocab; i++) {
        t->logits[i] = (float)(int32_t)(random_u32() >> 16) / 4096.0f - 8;
        if (random_u32() % 8 == 0)
            t->logits[i] = 3.25f; /* ties */
        t->mask[i] = !masked || random_u32() % 3 == 0;
    }
    uint32_t run = 0, count = 0;
    bool bit = false;
    for (uint32_t i = 0; i < vocab; i++) {
        if (t->mask[i] != bit) {
            t->runs[count++] = run;
            run = 0;
            bit = !bit;
        }
        run++;
    }
    if (bit)
        t->runs[count++] = run;
    t->brle = (struct batch_brle){t->runs, masked ? count : 0};
    t->allowed = 0;
    for (uint32_t i = 0; i < vocab; i++)
        if (t->mask[i])
            t->order[t->allowed++] = i;
    sorting = t;
    qsort(t->order, t->allowed, sizeof *t->order, by_logit);
    double total = 0;
    for (uint32_t i = 0; i < t->allowed; i++) {
        float offset = (t->logits[t->order[i]] - t->logits[t->order[0]]) * (1.0f / temperature);
        t->p[i] = exp((double)offset);
        total += t->p[i];
    }
    for (uint32_t i = 0; i < t->allowed; i++)
        t->p[i] /= total;
}

static uint32_t token_of(const struct truth *t, struct batch_sampler sampler)
{
    struct arena arena;
    struct batch_slot slot;
    arena_init(&arena, NULL);
    assert_true(sample_run(t->logits, t->vocab, &sampler, t->brle, &arena, &slot));
    assert_int_equal(slot.kind, BATCH_SLOT_TOKEN);
    arena_deinit(&arena);
    return slot.token;
}

static struct truth t;

static void greedy_takes_the_first_maximum(void **user)
{
    (void)user;
    for (int i = 0; i < 50; i++) {
        make(&t, 1 + random_u32() % VOCAB_MAX, i % 2, 1);
        if (t.allowed == 0)
            continue;
        for (int kind = BATCH_MULTINOMIAL; kind <= BATCH_TOP_K_TOP_P; kind++)
            assert_int_equal(token_of(&t, (struct batch_sampler){
                                              .kind = (enum batch_sampler_kind)kind,
                                              .temperature = 1e-5f, .p = 0.5f, .k = 3}),
                             t.order[0]);
        assert_int_equal(token_of(&t, (struct batch_sampler){.kind = BATCH_TOP_P, .temperature = 1,
                                                             .p = 0}), t.order[0]);
        assert_int_equal(token_of(&t, (struct batch_sampler){.kind = BATCH_TOP_K, .temperature = 1,
                                                             .k = 1, .seed = 99}), t.order[0]);
    }
}

/* How often each of the kept tokens is drawn, against its probability. */
static void drawn_as_often_as_likely(void **user)
{
    (void)user;
    enum { DRAWS = 20000 };
    static unsigned hits[VOCAB_MAX];
    for (int i = 0; i < 20; i++) {
        float temperature = i % 3 ? 0.8f : 2.5f;
        make(&t, 40 + random_u32() % 60, i % 2, temperature);
        for (int kind = BATCH_MULTINOMIAL; kind <= BATCH_TOP_K_TOP_P; kind++) {
            struct batch_sampler sampler = {.kind = (enum batch_sampler_kind)kind,
                                            .temperature = temperature, .p = 0.7f, .k = 9};
            uint32_t keep = t.allowed;
            double total = 0, sum = 0;
            if (kind == BATCH_TOP_K || kind == BATCH_TOP_K_TOP_P)
                keep = keep < 9 ? keep : 9;
            for (uint32_t j = 0; j < keep; j++)
                total += t.p[j];
            if (kind == BATCH_TOP_P || kind == BATCH_TOP_K_TOP_P) {
                uint32_t j = 0;
                while (j < keep && sum < 0.7 * total)
                    sum += t.p[j++];
                keep = j;
            }
            if (kind == BATCH_MIN_P)
                for (sampler.p = 0.1f; keep > 0 && t.p[keep - 1] < 0.1 * t.p[0];)
                    keep--;
            total = 0;
            for (uint32_t j = 0; j < keep; j++)
                total += t.p[j];
            memset(hits, 0, sizeof hits);
            for (unsigned d = 0; d < DRAWS; d++) {
                sampler.seed = (uint64_t)random_u32() << 32 | d;
                hits[token_of(&t, sampler)]++;
            }
            unsigned kept_hits = 0;
            for (uint32_t j = 0; j < keep; j++) {
                double expected = t.p[j] / total * DRAWS;
                double off = hits[t.order[j]] - expected;
                assert_true(fabs(off) < 6 * sqrt(expected + 4));
                kept_hits += hits[t.order[j]];
            }
            assert_int_equal(kept_hits, DRAWS);
        }
    }
}

static void seed_decides(void **user)
{
    (void)user;
    make(&t, 1000, false, 1);
    struct batch_sampler sampler = {.kind = BATCH_MULTINOMIAL, .temperature = 1, .seed = 5};
    uint32_t first = token_of(&t, sampler), different = 0;
    for (int i = 0; i < 100; i++) {
        sampler.seed = 5;
        assert_int_equal(token_of(&t, sampler), first);
        sampler.seed = (uint64_t)i;
        different += token_of(&t, sampler) != first;
    }
    assert_true(different > 50);
}

/* Large vocabularies: the kept set of top-p and top-k by drawing at the ends. */
static void large_selections(void **user)
{
    (void)user;
    for (int i = 0; i < 40; i++) {
        make(&t, 2000 + random_u32() % 1000, i % 2, 1);
        struct batch_sampler sampler = {.kind = i % 4 < 2 ? BATCH_TOP_P : BATCH_TOP_K,
                                        .temperature = 1, .p = (float)(i + 1) / 41, .k = 1u << i % 12};
        double sum = 0;
        uint32_t keep = 0;
        if (sampler.kind == BATCH_TOP_K)
            keep = sampler.k < t.allowed ? sampler.k : t.allowed;
        while (sampler.kind == BATCH_TOP_P && keep < t.allowed && sum < (double)sampler.p)
            sum += t.p[keep++];
        uint32_t deepest = 0;
        for (int d = 0; d < 300; d++) {
            sampler.seed = random_u32();
            uint32_t token = token_of(&t, sampler), rank = 0;
            while (t.order[rank] != token)
                rank++;
            deepest = rank > deepest ? rank : deepest;
        }
        assert_true(deepest <= keep); /* one of slack where the sum meets p to the last bit */
    }
}

static void distributions(void **user)
{
    (void)user;
    struct arena arena;
    struct batch_slot slot;
    arena_init(&arena, NULL);
    for (int i = 0; i < 60; i++) {
        float temperature = i % 3 ? 0.7f : 1.9f;
        make(&t, 1 + random_u32() % VOCAB_MAX, i % 2, temperature);
        struct batch_sampler sampler = {.kind = BATCH_DIST, .temperature = temperature,
                                        .k = (uint32_t[]){0, 1, 20, 100000}[i % 4]};
        uint32_t expected = sampler.k && sampler.k < t.allowed ? sampler.k : t.allowed;
        assert_true(sample_run(t.logits, t.vocab, &sampler, t.brle, &arena, &slot));
        assert_int_equal(slot.kind, BATCH_SLOT_DISTRIBUTION);
        assert_int_equal(slot.count, expected);
        for (uint32_t j = 0; j < expected; j++) {
            assert_int_equal(slot.ids[j], t.order[j]);
            assert_true(fabs((double)slot.values[j] - t.p[j]) <= 1e-6 * t.p[j] + 1e-9);
        }
        sampler.temperature = 0;
        assert_true(sample_run(t.logits, t.vocab, &sampler, t.brle, &arena, &slot));
        for (uint32_t j = 0; j < expected; j++)
            assert_true(slot.values[j] == (j == 0 ? 1.0f : 0.0f));
    }
    arena_deinit(&arena);
}

static void logits_logprobs_entropy(void **user)
{
    (void)user;
    struct arena arena;
    struct batch_slot slot;
    arena_init(&arena, NULL);
    for (int i = 0; i < 40; i++) {
        make(&t, 2 + random_u32() % (VOCAB_MAX - 2), i % 2, 1);
        struct batch_sampler sampler = {.kind = BATCH_RAW_LOGITS, .temperature = 0.3f};
        assert_true(sample_run(t.logits, t.vocab, &sampler, t.brle, &arena, &slot));
        assert_int_equal(slot.count, t.vocab);
        for (uint32_t j = 0; j < t.vocab; j++)
            assert_true(slot.values[j] == (t.mask[j] ? t.logits[j] : -INFINITY));
        uint32_t labels[3] = {0, t.vocab - 1, t.vocab / 2};
        sampler.kind = BATCH_LOGPROBS;
        sampler.labels = labels;
        sampler.label_count = 3;
        assert_true(sample_run(t.logits, t.vocab, &sampler, t.brle, &arena, &slot));
        assert_int_equal(slot.count, 3);
        double nats = 0;
        for (uint32_t j = 0; j < t.allowed; j++)
            nats -= t.p[j] > 0 ? t.p[j] * log(t.p[j]) : 0;
        for (unsigned l = 0; l < 3; l++) {
            double truth = -INFINITY;
            for (uint32_t j = 0; j < t.allowed; j++)
                if (t.order[j] == labels[l])
                    truth = log(t.p[j]);
            assert_true((double)slot.values[l] == truth ||
                        fabs((double)slot.values[l] - truth) < 1e-5 * (1 + fabs(truth)));
        }
        sampler.kind = BATCH_ENTROPY;
        assert_true(sample_run(t.logits, t.vocab, &sampler, t.brle, &arena, &slot));
        assert_true(fabs((double)slot.entropy - nats) < 1e-5);
    }
    arena_deinit(&arena);
}

/* Logits that no model should give, and masks that allow nothing: an answer, no crash. */
static void broken_logits(void **user)
{
    (void)user;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1, 1};
    static const uint32_t none[] = {100000}, labels[] = {1}, empty_runs[] = {0, 0, 0, 2, 0, 0, 1};
    float logits[50];
    struct arena arena;
    struct batch_slot slot;
    arena_init(&arena, NULL);
    for (int i = 0; i < 3000; i++) {
        for (int j = 0; j < 50; j++)
            logits[j] = bad[random_u32() % (i % 5 == 0 ? 1u : (uint32_t)i % 5)];
        struct batch_sampler sampler = {
            .kind = (enum batch_sampler_kind)(i % 11 == BATCH_EMBEDDING ? 0 : i % 11),
            .temperature = i % 7 ? 1.0f : 0.0f, .p = i % 13 ? 0.5f : NAN, .k = (uint32_t)i % 4,
            .seed = (uint64_t)i, .labels = labels, .label_count = 1};
        struct batch_brle mask = i % 3 == 0   ? (struct batch_brle){none, 1}
                                 : i % 3 == 1 ? (struct batch_brle){empty_runs, 7}
                                              : (struct batch_brle){0};
        assert_true(sample_run(logits, 50, &sampler, mask, &arena, &slot));
        assert_true(slot.token < 50);
        if (i % 3 == 0 && slot.kind == BATCH_SLOT_DISTRIBUTION)
            assert_int_equal(slot.count, 0);
    }
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_first_maximum), cmocka_unit_test(seed_decides),
        cmocka_unit_test(drawn_as_often_as_likely),       cmocka_unit_test(large_selections),
        cmocka_unit_test(distributions),                  cmocka_unit_test(logits_logprobs_entropy),
        cmocka_unit_test(broken_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
