/* links: engine/forward
 * Folders of safetensors against transformers' logits (tests/vectors/forward/st-*.txt). */
#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "models/model.h"
#include "tests/tools/tiny_folder.h"

static void remove_folder(const struct folder_spec *spec, const char *path)
{
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "model.safetensors.index.json"};
    char file[1200];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        (void)unlink(file);
    }
    for (unsigned i = 0; i < spec->shards; i++) {
        snprintf(file, sizeof file, "%s/model-%05u-of-%05u.safetensors", path, i + 1, spec->shards);
        (void)unlink(file);
    }
    (void)rmdir(path);
}

static void logits_of(struct fwd *fwd, float *logits)
{
    uint32_t tokens[TINY_TOKENS], positions[TINY_TOKENS], token_begin[2] = {0, TINY_TOKENS},
        pages[2] = {0, 1}, page_begin[2] = {0, 2}, before = 0, sampler_begin[2] = {0, TINY_TOKENS};
    struct batch_sampler samplers[TINY_TOKENS];
    for (unsigned i = 0; i < TINY_TOKENS; i++) {
        tokens[i] = tiny_token(i);
        positions[i] = i;
        samplers[i] = (struct batch_sampler){.kind = BATCH_RAW_LOGITS, .row = i};
    }
    struct batch batch = {.request_count = 1, .token_count = TINY_TOKENS, .tokens = tokens,
                          .positions = positions, .token_begin = token_begin, .pages = pages,
                          .page_begin = page_begin, .kv_before = &before, .samplers = samplers,
                          .sampler_begin = sampler_begin};
    struct fwd_output out;
    struct report report = {0};
    if (fwd_run(fwd, &batch, &out, &report))
        fail_msg("%s", report.text);
    for (unsigned i = 0; i < TINY_TOKENS; i++)
        memcpy(logits + (size_t)i * FOLDER_VOCAB, out.logits[i], FOLDER_VOCAB * 4);
}

static void logits_equal_transformers(void **state)
{
    (void)state;
    static float logits[TINY_TOKENS * FOLDER_VOCAB];
    for (unsigned s = 0; s < FOLDER_COUNT; s++) {
        const struct folder_spec *spec = &folder_specs[s];
        char base[] = "/tmp/pie-folder-XXXXXX", path[100], name[200];
        struct report report = {0};
        struct model *model;
        struct fwd *fwd;
        assert_non_null(mkdtemp(base));
        snprintf(path, sizeof path, "%s/%s", base, spec->name);
        tiny_folder(spec, path);
        if (model_open(path, &model, &report))
            fail_msg("%s: %s", spec->name, report.text);
        struct fwd_config config = {.threads = 2, .page_tokens = 16, .page_count = 2};
        if (fwd_create(model, &config, &fwd, &report))
            fail_msg("%s: %s", spec->name, report.text);
        logits_of(fwd, logits);
        snprintf(name, sizeof name, "tests/vectors/forward/%s.txt", spec->name);
        FILE *file = fopen(name, "r");
        assert_non_null(file);
        double off = 0, size = 0;
        unsigned wrong = 0;
        for (unsigned row = 0; row < TINY_TOKENS; row++) {
            const float *here = logits + (size_t)row * FOLDER_VOCAB;
            float truth[FOLDER_VOCAB];
            unsigned best = 0, best_truth = 0;
            for (unsigned i = 0; i < FOLDER_VOCAB; i++) {
                assert_int_equal(fscanf(file, "%f", &truth[i]), 1);
                double difference = (double)truth[i] - (double)here[i];
                off += difference * difference;
                size += (double)truth[i] * (double)truth[i];
                best = here[i] > here[best] ? i : best;
                best_truth = truth[i] > truth[best_truth] ? i : best_truth;
            }
            wrong += best != best_truth;
        }
        (void)fclose(file);
        printf("note: %s: relative distance %.2g\n", spec->name, sqrt(off / size));
        /* What remains is F16 in the KV cache and the order of sums. */
        if (!(sqrt(off / size) < 3e-3) || wrong > 0)
            fail_msg("%s: relative distance %g from transformers' logits, %u rows have another "
                     "maximum", spec->name, sqrt(off / size), wrong);
        fwd_destroy(fwd);
        model_close(model);
        remove_folder(spec, path);
        (void)rmdir(base);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_equal_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
