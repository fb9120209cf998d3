/* links: cli
 * A model from the trainer, in the engine: the forward pass gives the logits that the trainer's
 * own network gives. The two share no code, so this holds both to each other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/vec.h"
#include "engine/forward/fwd.h"
#include "models/model.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"
#include "models/train/net.h"
#include "models/train/train.h"

enum { PAGE = 16, TOKENS_MAX = 128 };

/* The logits of the last of `count` tokens. */
static const float *engine_logits(struct fwd *fwd, const uint32_t *tokens, uint32_t count)
{
    uint32_t positions[TOKENS_MAX], pages[TOKENS_MAX / PAGE];
    for (uint32_t i = 0; i < TOKENS_MAX; i++)
        positions[i] = i;
    for (uint32_t i = 0; i < TOKENS_MAX / PAGE; i++)
        pages[i] = i;
    uint32_t token_begin[] = {0, count}, page_begin[] = {0, (count + PAGE - 1) / PAGE};
    uint32_t kv_before[] = {0}, sampler_begin[] = {0, 1};
    struct batch_sampler sampler = {.kind = BATCH_RAW_LOGITS, .row = count - 1};
    struct batch batch = {
        .request_count = 1, .token_count = count, .tokens = tokens, .positions = positions,
        .token_begin = token_begin, .pages = pages, .page_begin = page_begin, .kv_before = kv_before,
        .samplers = &sampler, .sampler_begin = sampler_begin,
    };
    static struct fwd_output output;
    struct report report = {0};
    if (fwd_run(fwd, &batch, &output, &report))
        fail_msg("%s", report.text);
    return output.logits[0];
}

static void engine_and_trainer_agree(void **state)
{
    (void)state;
    char path[] = "/tmp/pie-trained-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    struct train_config config = train_config_tiny();
    struct train_model trained;
    struct train_worker *worker;
    struct model *model;
    struct fwd *fwd;
    struct report report = {0};
    struct fwd_config how = {.threads = 1, .page_tokens = PAGE, .page_count = TOKENS_MAX / PAGE};
    if (train_model_init(&trained, &config, NULL, NULL, &report) ||
        train_model_save(&trained, path, &report) ||
        train_worker_create(trained.net, TOKENS_MAX, TOKENS_MAX, &worker, &report) ||
        model_open(path, &model, &report) || fwd_create(model, &how, &fwd, &report))
        fail_msg("%s", report.text);
    size_t vocab = train_bpe_vocab(trained.bpe);
    assert_int_equal(model->hparams.vocab_count, vocab);
    assert_true(model->hparams.tied_embeddings);
    double worst = 0, largest = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct buf text;
        struct train_ids ids = {0};
        buf_init(&text, NULL);
        train_corpus_document(6, i, &text);
        assert_int_equal(train_bpe_encode(trained.bpe, text.data, text.count, &ids, &report), ERR_OK);
        uint32_t count = ids.count < TOKENS_MAX ? (uint32_t)ids.count : TOKENS_MAX;
        size_t begins[] = {0, count};
        struct train_batch batch = {ids.items, NULL, count, begins, 1};
        const float *want = train_worker_forward(worker, &batch) + (count - 1) * vocab;
        const float *have = engine_logits(fwd, ids.items, count);
        for (size_t k = 0; k < vocab; k++) {
            worst = fmax(worst, fabs((double)have[k] - (double)want[k]));
            largest = fmax(largest, fabs((double)want[k]));
        }
        vec_free(NULL, &ids);
        buf_deinit(&text);
    }
    /* The engine keeps keys and values in F16: 11 bits, so errors near 2^-11 of a logit. */
    if (worst > 3e-3 * largest)
        fail_msg("logits differ by %g (largest %g)", worst, largest);
    fwd_destroy(fwd);
    model_close(model);
    train_worker_destroy(worker);
    train_model_deinit(&trained);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engine_and_trainer_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
