/* links: engine/batch */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/batch/batch.h"

static void brle(void **state)
{
    (void)state;
    static const uint32_t runs[] = {2, 3, 0, 1, 4, 2}; /* 00 1111 0000 11 */
    const struct batch_brle mask = {runs, 6}, none = {0};
    static const char bits[] = "001111000011";
    assert_int_equal(batch_brle_bits(mask), 12);
    assert_int_equal(batch_brle_bits(none), 0);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(batch_brle_get(mask, i), i < 12 && bits[i] == '1');
        assert_false(batch_brle_get(none, i));
        for (uint64_t j = i; j < 20; j++) {
            uint64_t count = 0;
            for (uint64_t b = i; b < j; b++)
                count += b < 12 && bits[b] == '1';
            assert_int_equal(batch_brle_popcount(mask, i, j), count);
        }
    }
    static const uint32_t huge[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    const struct batch_brle long_mask = {huge, 4};
    assert_true(batch_brle_bits(long_mask) == 4 * (uint64_t)UINT32_MAX);
    assert_true(batch_brle_popcount(long_mask, 0, UINT64_MAX) == 2 * (uint64_t)UINT32_MAX);
    assert_true(batch_brle_get(long_mask, 2 * (uint64_t)UINT32_MAX - 1));
    assert_false(batch_brle_get(long_mask, 2 * (uint64_t)UINT32_MAX));
}

/* A sound batch of two requests, to be broken. */
struct sample {
    uint32_t tokens[3], positions[3], token_begin[3], pages[3], page_begin[3], before[2],
        sampler_begin[3], labels[1], copy_from[1], copy_to[1];
    struct batch_sampler samplers[2];
    struct batch batch;
};

static void make(struct sample *s)
{
    *s = (struct sample){.tokens = {1, 2, 9},
                         .token_begin = {0, 2, 3},
                         .pages = {4, 5, 0},
                         .page_begin = {0, 2, 3},
                         .before = {30, 31},
                         .sampler_begin = {0, 1, 2},
                         .labels = {3},
                         .copy_to = {6},
                         .samplers = {{.kind = BATCH_TOP_P, .row = 1},
                                      {.kind = BATCH_LOGPROB, .label_count = 1}}};
    s->samplers[1].labels = s->labels;
    s->batch = (struct batch){.request_count = 2, .token_count = 3, .tokens = s->tokens,
                              .positions = s->positions, .token_begin = s->token_begin,
                              .pages = s->pages, .page_begin = s->page_begin,
                              .kv_before = s->before, .samplers = s->samplers,
                              .sampler_begin = s->sampler_begin, .copy_count = 1,
                              .copy_from = s->copy_from, .copy_to = s->copy_to};
}

static int aborts(const struct sample *s)
{
    pid_t child = fork();
    if (child == 0) {
        (void)close(2);
        batch_check(&s->batch, 32, 7, 10);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return status != 0;
}

static void check_finds_what_is_wrong(void **state)
{
    (void)state;
    struct sample s;
    make(&s);
    assert_false(aborts(&s));
#define BREAK(...) (make(&s), __VA_ARGS__, assert_true(aborts(&s)))
    BREAK(s.tokens[2] = 10);
    BREAK(s.pages[1] = 7);
    BREAK(s.token_begin[2] = 2);
    BREAK(s.token_begin[0] = 1);
    BREAK(s.before[1] = 32);
    BREAK(s.before[0] = 63);
    BREAK(s.before[0] = UINT32_MAX);
    BREAK(s.page_begin[1] = 4);
    BREAK(s.samplers[0].row = 2);
    BREAK(s.samplers[1].row = 1);
    BREAK(s.labels[0] = 10);
    BREAK(s.sampler_begin[1] = 3);
    BREAK(s.copy_to[0] = 7);
    BREAK(s.copy_from[0] = 8);
}

static void results_start_over(void **state)
{
    (void)state;
    struct batch_result result;
    batch_result_init(&result);
    for (int i = 0; i < 3; i++) {
        result.slots = arena_calloc(&result.arena, 10, sizeof *result.slots);
        assert_non_null(result.slots);
        result.slot_count = 10;
        result.failed = true;
        batch_result_reset(&result);
        assert_int_equal(result.slot_count, 0);
        assert_false(result.failed);
    }
    batch_result_deinit(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brle),
        cmocka_unit_test(check_finds_what_is_wrong),
        cmocka_unit_test(results_start_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
