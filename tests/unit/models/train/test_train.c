/* links: models/train
 * Whole runs of the trainer: what they write, that they write the same every time, and what
 * happens when they are stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/text/tok.h"
#include "models/gguf.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"
#include "models/train/net.h"
#include "models/train/ops.h"
#include "models/train/train.h"

static char folder[] = "/tmp/pie-train-XXXXXX";
static char path[64];

static struct train_config short_config(void)
{
    struct train_config config = train_config_tiny();
    config.steps = 4;
    config.warmup_steps = 1;
    return config;
}

static char *train_bytes(struct train_config config, size_t *bytes)
{
    struct report report = {0};
    char *data;
    if (train_run(&config, NULL, NULL, path, &report) ||
        file_read(path, 1 << 24, NULL, &data, bytes, &report))
        fail_msg("%s", report.text);
    unlink(path);
    return data;
}

static void runs_give_the_same_bytes(void **state)
{
    (void)state;
    size_t bytes, others;
    struct train_config config = short_config();
    config.threads = 1;
    char *first = train_bytes(config, &bytes);
    for (int kind = 0; kind < 4; kind++) {
        config.threads = kind < 2 ? (uint32_t)kind + 1 : 3;
        train_isa_limit(kind < 3 ? TRAIN_ISA_AVX512 : TRAIN_ISA_AVX2);
        char *again = train_bytes(config, &others);
        assert_int_equal(bytes, others);
        assert_memory_equal(first, again, bytes);
        mem_free(NULL, again);
    }
    train_isa_limit(TRAIN_ISA_AVX512);
    config.seed++;
    char *other = train_bytes(config, &others);
    assert_true(bytes != others || memcmp(first, other, bytes) != 0);
    mem_free(NULL, other);
    mem_free(NULL, first);
}

struct seen {
    uint32_t steps, stop_at;
    double first_loss, last_loss;
};

static bool watch(void *user, const struct train_progress *progress)
{
    struct seen *seen = user;
    assert_int_equal(progress->step, ++seen->steps);
    assert_true(progress->seconds_left >= 0 && progress->tokens_per_second >= 0);
    if (progress->step == 1)
        seen->first_loss = progress->loss;
    seen->last_loss = progress->loss;
    return progress->step != seen->stop_at;
}

static void a_stopped_run_leaves_nothing(void **state)
{
    (void)state;
    struct train_config config = short_config();
    struct seen seen = {.stop_at = 2};
    struct report report = {0};
    size_t before = mem_used_bytes();
    assert_int_equal(train_run(&config, watch, &seen, path, &report), ERR_CANCELLED);
    assert_int_equal(seen.steps, 2);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(folder), 0); /* not even a temporary file */
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mem_used_bytes(), before);
    report = (struct report){0};
    assert_int_equal(train_run(&config, NULL, NULL, "/nowhere/at/all.gguf", &report), ERR_IO);
    assert_non_null(strstr(report.text, "/nowhere/at/all.gguf"));
    assert_int_equal(mem_used_bytes(), before);
}

static void impossible_configurations_are_refused(void **state)
{
    (void)state;
    struct train_config config = short_config();
    struct report report = {0};
    config.heads = 7;
    assert_int_equal(train_run(&config, NULL, NULL, path, &report), ERR_INVALID);
    config = short_config();
    config.steps = 0;
    assert_int_equal(train_run(&config, NULL, NULL, path, &report), ERR_INVALID);
    config = short_config();
    config.vocab = 200;
    assert_int_equal(train_run(&config, NULL, NULL, path, &report), ERR_INVALID);
    assert_true(report.text[0] != 0);
}

/* Every allocation of a run fails once: an error with a sentence, and no leak. */
static void failing_memory_is_an_error(void **state)
{
    (void)state;
    struct train_config config = short_config();
    config.steps = 2;
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1; nth < 4000000; nth = nth < 40 ? nth + 13 : nth * 4) {
        struct report report = {0};
        mem_fail_at(nth);
        enum err err = train_run(&config, NULL, NULL, path, &report);
        mem_fail_at(0);
        assert_int_equal(mem_used_bytes(), before);
        if (!err)
            break;
        assert_int_equal(err, ERR_MEMORY);
        assert_true(report.text[0] != 0);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    unlink(path);
}

static uint32_t get_u32(const struct gguf *file, const char *key)
{
    uint32_t value = 0;
    assert_true(gguf_get_u32(file, key, &value));
    return value;
}

/* The engine's reader and tokenizer see what the trainer meant. */
static void the_file_stands_alone(void **state)
{
    (void)state;
    struct train_config config = train_config_tiny();
    struct train_model model;
    struct report report = {0};
    struct seen seen = {0};
    if (train_model_init(&model, &config, watch, &seen, &report) ||
        train_model_save(&model, path, &report))
        fail_msg("%s", report.text);
    assert_int_equal(seen.steps, config.steps);
    assert_true(seen.last_loss < 0.8 * seen.first_loss);
    struct gguf *file;
    assert_int_equal(gguf_open(path, &file, &report), ERR_OK);
    assert_int_equal(get_u32(file, "llama.embedding_length"), config.dim);
    assert_int_equal(get_u32(file, "llama.block_count"), config.layers);
    assert_int_equal(get_u32(file, "llama.context_length"), config.context);
    assert_int_equal(get_u32(file, "llama.vocab_size"), train_bpe_vocab(model.bpe));
    assert_int_equal(gguf_tensor_count(file), train_net_group_count(model.net));
    for (size_t i = 0; i < train_net_group_count(model.net); i++) {
        const struct train_group *group = train_net_group(model.net, i);
        const struct gguf_tensor *tensor = gguf_find_tensor(file, group->name);
        assert_non_null(tensor);
        assert_true(tensor->dims[0] == group->columns && tensor->dims[1] == group->rows);
        assert_int_equal(tensor->bytes, group->rows * group->columns * sizeof(float));
        assert_memory_equal(tensor->data, train_net_params(model.net) + group->offset, tensor->bytes);
    }
    struct tok *tok;
    if (tok_create_from_gguf(file, &tok, &report))
        fail_msg("%s", report.text);
    assert_int_equal(tok_vocab_count(tok), train_bpe_vocab(model.bpe));
    assert_int_equal(tok_eot(tok), tok_find_special(tok, TRAIN_TURN_END, strlen(TRAIN_TURN_END)));
    assert_int_equal(tok_eos(tok), tok_find_special(tok, TRAIN_END_OF_TEXT, strlen(TRAIN_END_OF_TEXT)));
    assert_false(tok_adds_bos(tok));
    struct buf text;
    buf_init(&text, NULL);
    for (uint64_t i = 0; i < 3000; i++) {
        buf_clear(&text);
        train_corpus_document(9, i, &text);
        if (i == 0) /* and what the corpus does not have, ASCII as it is */
            buf_puts(&text, "x = [1,  22];\t\n\n  don't 'LL ~~ \x01 z<|im_start|>  ");
        struct tok_ids have = {0};
        struct train_ids want = {0};
        assert_int_equal(tok_encode(tok, text.data, text.count, TOK_PARSE_SPECIALS, &have, &report), ERR_OK);
        assert_int_equal(train_bpe_encode(model.bpe, text.data, text.count, &want, &report), ERR_OK);
        assert_int_equal(have.count, want.count);
        assert_memory_equal(have.items, want.items, want.count * sizeof *want.items);
        tok_ids_deinit(&have);
        vec_free(NULL, &want);
    }
    buf_deinit(&text);
    tok_destroy(tok);
    gguf_close(file);
    train_model_deinit(&model);
    unlink(path);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_give_the_same_bytes),
        cmocka_unit_test(a_stopped_run_leaves_nothing),
        cmocka_unit_test(impossible_configurations_are_refused),
        cmocka_unit_test(failing_memory_is_an_error),
        cmocka_unit_test(the_file_stands_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
