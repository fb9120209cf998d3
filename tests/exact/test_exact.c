/* links: engine/forward
 * The promise: the logits of a sequence are the same bytes whatever runs beside it. Every weight
 * format x threads x batch x how prompts are cut x cold or shared prefix x order of arrival, each
 * against the same sequences computed one at a time on one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "models/model.h"
#include "simd/simd.h"
#include "tests/tools/tiny_model.h"

/* Sequences are 32 tokens that all of them share and 13 of their own: three pages, of which the
 * first two may be those of the prefix. Only the own tokens' logits are looked at. */
enum {
    SEQUENCES = 64, PAGE_TOKENS = 16, PREFIX = 32, OWN = 13, LENGTH = PREFIX + OWN, VOCAB = 96,
    PREFIX_PAGES = PREFIX / PAGE_TOKENS, PAGES_EACH = 3,
    PAGE_COUNT = PREFIX_PAGES + SEQUENCES * PAGES_EACH,
};

static uint32_t token_of(uint32_t sequence, uint32_t at)
{
    uint32_t who = at < PREFIX ? 1000 : sequence;
    return (at * 37 + at * at * 11 + who * 29 + who * at * 5 + 3) % VOCAB;
}

struct machine {
    struct buf file;
    struct model *model;
    struct fwd *fwd;
};

static void machine_open(struct machine *m, const struct tiny_spec *spec, uint32_t threads,
                         const struct simd_table *simd)
{
    struct report report = {0};
    buf_init(&m->file, NULL);
    tiny_model(spec, &m->file);
    if (model_open_memory((const uint8_t *)m->file.data, m->file.count, &m->model, &report))
        fail_msg("%s: %s", spec->name, report.text);
    struct fwd_config config = {.threads = threads, .page_tokens = PAGE_TOKENS,
                                .page_count = PAGE_COUNT, .simd = simd};
    if (fwd_create(m->model, &config, &m->fwd, &report))
        fail_msg("%s: %s", spec->name, report.text);
}

static void machine_close(struct machine *m)
{
    fwd_destroy(m->fwd);
    model_close(m->model);
    buf_deinit(&m->file);
}

/* How a group of sequences is run. */
struct manner {
    uint32_t batch;          /* how many, from sequence 0 */
    const uint32_t *chunks;  /* tokens of a sequence per step, 0 ends and repeats the last */
    bool warm;               /* the prefix is computed once, its pages are shared */
    bool staggered;          /* arrive one after the other, the last first */
};

struct step {
    uint32_t tokens[SEQUENCES * LENGTH], positions[SEQUENCES * LENGTH];
    uint32_t token_begin[SEQUENCES + 1], pages[PAGE_COUNT * 2], page_begin[SEQUENCES + 1];
    uint32_t before[SEQUENCES], sampler_begin[SEQUENCES + 1], sequence[SEQUENCES];
    struct batch_sampler samplers[SEQUENCES * OWN];
    uint32_t requests, rows, page_rows, sampler_count;
};

static void add(struct step *s, uint32_t sequence, uint32_t from, uint32_t count, bool warm)
{
    uint32_t r = s->requests++, last = (from + count - 1) / PAGE_TOKENS;
    s->sequence[r] = sequence;
    s->before[r] = from;
    for (uint32_t i = from; i < from + count; i++) {
        s->tokens[s->rows] = token_of(sequence, i);
        s->positions[s->rows++] = i;
        if (i >= PREFIX)
            s->samplers[s->sampler_count++] =
                (struct batch_sampler){.kind = BATCH_RAW_LOGITS, .row = i - from};
    }
    for (uint32_t p = 0; p <= last; p++)
        s->pages[s->page_rows++] = warm && p < PREFIX_PAGES
                                       ? p
                                       : PREFIX_PAGES + (sequence * 7 % SEQUENCES) * PAGES_EACH + p;
    s->token_begin[r + 1] = s->rows;
    s->page_begin[r + 1] = s->page_rows;
    s->sampler_begin[r + 1] = s->sampler_count;
}

/* Computes the step; the logits of own tokens go to logits[sequence][own token][VOCAB]. */
static void run(const struct machine *m, const struct step *s, float *logits)
{
    struct batch batch = {.request_count = s->requests, .token_count = s->rows,
                          .tokens = s->tokens, .positions = s->positions,
                          .token_begin = s->token_begin, .pages = s->pages,
                          .page_begin = s->page_begin, .kv_before = s->before,
                          .samplers = s->samplers, .sampler_begin = s->sampler_begin};
    struct fwd_output out;
    struct report report = {0};
    batch_check(&batch, PAGE_TOKENS, PAGE_COUNT, VOCAB);
    if (fwd_run(m->fwd, &batch, &out, &report))
        fail_msg("%s", report.text);
    for (uint32_t r = 0; r < s->requests; r++)
        for (uint32_t i = s->sampler_begin[r]; i < s->sampler_begin[r + 1]; i++) {
            uint32_t at = s->before[r] + s->samplers[i].row - PREFIX;
            memcpy(logits + ((size_t)s->sequence[r] * OWN + at) * VOCAB, out.logits[i], VOCAB * 4);
        }
}

static void compute(const struct machine *m, const struct manner *how, float *logits)
{
    static struct step step;
    uint32_t done[SEQUENCES], chunk[SEQUENCES] = {0}, left = how->batch;
    if (how->warm) {
        memset(&step, 0, sizeof step);
        add(&step, 0, 0, PREFIX, true);
        run(m, &step, logits);
    }
    for (uint32_t i = 0; i < how->batch; i++)
        done[i] = how->warm ? PREFIX : 0;
    for (uint32_t time = 0; left > 0; time++) {
        memset(&step, 0, sizeof step);
        for (uint32_t i = 0; i < how->batch; i++) {
            uint32_t sequence = how->staggered ? how->batch - 1 - i : i;
            if (done[sequence] == LENGTH || (how->staggered && time < i % 5))
                continue;
            uint32_t count = how->chunks[chunk[sequence]];
            if (how->chunks[chunk[sequence] + 1])
                chunk[sequence]++;
            count = count < LENGTH - done[sequence] ? count : LENGTH - done[sequence];
            add(&step, sequence, done[sequence], count, how->warm);
            done[sequence] += count;
            left -= done[sequence] == LENGTH;
        }
        if (step.requests)
            run(m, &step, logits);
    }
}

static const uint32_t whole[] = {LENGTH, 0}, ones_behind[] = {PREFIX + 1, 1, 0},
                      mixed[] = {3, 17, 1, 12, 2, 5, 1, 0};
static const uint32_t *const chunkings[] = {whole, ones_behind, mixed};
static const uint32_t thread_counts[] = {1, 2, 3, 4, 8}, batches[] = {1, 2, 7, 16, SEQUENCES};
enum { TRUTH_FLOATS = SEQUENCES * OWN * VOCAB };

static void hold(const struct machine *m, const struct tiny_spec *spec, uint32_t threads,
                 const struct manner *how, const float *truth, float *logits)
{
    size_t each = (size_t)OWN * VOCAB;
    memset(logits, 0xFF, how->batch * each * 4);
    compute(m, how, logits);
    for (uint32_t s = 0; s < how->batch; s++)
        if (memcmp(logits + s * each, truth + s * each, each * 4) != 0)
            fail_msg("%s, %s: sequence %u has other logits with %u threads, batch %u, chunks of "
                     "%u ..., %s prefix, %s arrival", spec->name, fwd_simd_name(m->fwd), s, threads,
                     how->batch, how->chunks[0], how->warm ? "shared" : "own",
                     how->staggered ? "staggered" : "common");
}

/* What every sequence gives alone, on one thread. */
static void find_truth(const struct tiny_spec *spec, float *truth)
{
    struct machine m;
    machine_open(&m, spec, 1, NULL);
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        static struct step step;
        memset(&step, 0, sizeof step);
        add(&step, s, 0, LENGTH, false);
        run(&m, &step, truth);
    }
    machine_close(&m);
}

/* Whether an earlier model has the same weight formats. */
static bool formats_seen(unsigned spec)
{
    for (unsigned s = 0; s < spec; s++)
        if (tiny_specs[s].type == tiny_specs[spec].type &&
            tiny_specs[s].type_more == tiny_specs[spec].type_more)
            return true;
    return false;
}

/* Everything for every weight format; with two thread counts for further architectures. */
static void every_company(void **state)
{
    (void)state;
    float *truth = malloc(TRUTH_FLOATS * 4), *logits = malloc(TRUTH_FLOATS * 4);
    unsigned combinations = 0;
    for (unsigned s = 0; s < TINY_COUNT; s++) {
        find_truth(&tiny_specs[s], truth);
        for (unsigned t = 0; t < 5; t++) {
            struct machine m;
            if (formats_seen(s) && thread_counts[t] != 1 && thread_counts[t] != 3)
                continue;
            machine_open(&m, &tiny_specs[s], thread_counts[t], NULL);
            for (unsigned i = 0; i < 5 * 3 * 2 * 2; i++) {
                struct manner how = {.batch = batches[i % 5], .chunks = chunkings[i / 5 % 3],
                                     .warm = i / 15 % 2, .staggered = i / 30 % 2};
                hold(&m, &tiny_specs[s], thread_counts[t], &how, truth, logits);
                combinations++;
            }
            machine_close(&m);
        }
    }
    printf("note: %u combinations of model, threads, batch, chunks, prefix and arrival gave the "
           "same logits\n", combinations);
    free(truth);
    free(logits);
}

/* All instruction sets give what the best one gives. */
static void every_instruction_set(void **state)
{
    (void)state;
    float *truth = malloc(TRUTH_FLOATS * 4), *logits = malloc(TRUTH_FLOATS * 4);
    unsigned combinations = 0;
    for (unsigned s = 0; s < TINY_COUNT; s++) {
        find_truth(&tiny_specs[s], truth);
        for (int level = SIMD_SCALAR; level < SIMD_LEVEL_COUNT; level++) {
            const struct simd_table *simd = simd_table_at((enum simd_level)level);
            if (!simd)
                continue;
            struct machine m;
            machine_open(&m, &tiny_specs[s], 2, simd);
            for (unsigned i = 0; i < 6; i++) {
                struct manner how = {.batch = level == SIMD_SCALAR ? 3 : batches[i / 2 + 2],
                                     .chunks = chunkings[i % 3], .warm = i % 2,
                                     .staggered = i / 3 % 2};
                hold(&m, &tiny_specs[s], 2, &how, truth, logits);
                combinations++;
            }
            machine_close(&m);
        }
    }
    printf("note: %u combinations of model and instruction set gave the same logits\n",
           combinations);
    free(truth);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_company),
        cmocka_unit_test(every_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
