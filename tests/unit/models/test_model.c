/* links: models
 * Models whose parts do not fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "models/model.h"
#include "tests/tools/tiny_model.h"

static bool is_word_of(const char *words, const char *word)
{
    size_t bytes = strlen(word);
    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[bytes] == ' ' || !at[bytes]))
            return true;
    return false;
}

static void every_tiny_model_opens(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TINY_COUNT; i++) {
        const struct tiny_spec *spec = &tiny_specs[i];
        struct buf bytes;
        struct model *model;
        struct report report = {0};
        buf_init(&bytes, NULL);
        tiny_model(spec, &bytes);
        if (model_open_memory((uint8_t *)bytes.data, bytes.count, &model, &report))
            fail_msg("%s: %s", spec->name, report.text);
        const struct model_hparams *h = &model->hparams;
        assert_string_equal(h->architecture, spec->architecture);
        assert_int_equal(h->dim, spec->dim);
        assert_int_equal(h->layer_count, spec->layer_count ? spec->layer_count : TINY_LAYERS);
        assert_int_equal(h->head_count, spec->head_count);
        assert_int_equal(h->kv_head_count, spec->kv_head_count);
        assert_int_equal(h->head_dim, spec->head_dim);
        assert_int_equal(h->hidden, spec->hidden);
        assert_int_equal(h->vocab_count, 96);
        assert_int_equal(h->context_max, TINY_CONTEXT);
        assert_true(h->tied_embeddings == spec->tied);
        static const char *const normed = "qwen3 qwen3moe olmo2 gemma3";
        static const char *const paired = "llama mistral3 smollm3 granite granitemoe";
        assert_true(h->qk_norm == is_word_of(normed, spec->architecture));
        assert_int_equal(h->rope.style, is_word_of(paired, spec->architecture)
                                            ? MODEL_ROPE_PAIRS : MODEL_ROPE_HALVES);
        assert_true((h->rope.factors != NULL) == spec->rope_factors);
        assert_true(h->rope.factor == (spec->rope_scaling ? 4.0f : 1.0f));
        assert_true(model->weight_bytes < bytes.count && model->parameter_count > 10000);
        model_close(model);
        buf_deinit(&bytes);
    }
}

/* The first tiny model with `count` bytes replaced behind `find`. */
static void expect_error(unsigned spec, const char *find, const void *replace, size_t count,
                         enum err err, const char *says)
{
    struct buf bytes;
    struct model *model;
    struct report report = {0};
    buf_init(&bytes, NULL);
    tiny_model(&tiny_specs[spec], &bytes);
    char *at = NULL;
    for (size_t i = 0; !at && i + strlen(find) < bytes.count; i++)
        if (memcmp(bytes.data + i, find, strlen(find)) == 0)
            at = bytes.data + i + strlen(find);
    assert_non_null(at);
    memcpy(at, replace, count);
    assert_int_equal(model_open_memory((uint8_t *)bytes.data, bytes.count, &model, &report), err);
    if (!strstr(report.text, says))
        fail_msg("'%s' does not say '%s'", report.text, says);
    buf_deinit(&bytes);
}

static void misfits_are_named(void **state)
{
    (void)state;
    char value[8] = {GGUF_U32};
#define U32(number) (memcpy(value + 4, &(uint32_t){number}, 4), value)
    expect_error(0, "llama.embedding_length", U32(128), 8, ERR_INVALID, "'token_embd.weight'");
    expect_error(0, "llama.embedding_length", U32(0), 8, ERR_INVALID, "embedding_length' is 0");
    expect_error(0, "llama.block_count", U32(3), 8, ERR_INVALID, "lacks the tensor 'blk.2.");
    expect_error(0, "llama.block_count", U32(1), 8, ERR_UNSUPPORTED, "'blk.1.attn_norm.weight'");
    expect_error(0, "llama.attention.head_count_kv", U32(3), 8, ERR_INVALID, "evenly");
    expect_error(0, "llama.attention.head_count_kv", U32(1), 8, ERR_INVALID, "'blk.0.attn_k.weight'");
    expect_error(0, "llama.attention.value_length", U32(8), 8, ERR_UNSUPPORTED, "values of 8");
    expect_error(0, "llama.rope.dimension_count", U32(18), 8, ERR_INVALID, "rope.dimension_count");
    expect_error(0, "llama.rope.dimension_count", U32(15), 8, ERR_INVALID, "even");
    expect_error(0, "llama.feed_forward_length", U32(80), 8, ERR_INVALID, "'blk.0.ffn_gate.weight'");
    expect_error(0, "llama.block_coun", "x", 1, ERR_INVALID, "lacks the key 'llama.block_count'");
    expect_error(0, "blk.1.attn_norm.weigh", "x", 1, ERR_INVALID, "lacks the tensor 'blk.1.attn_norm");
    expect_error(0, "output_norm.weigh", "x", 1, ERR_INVALID, "lacks the tensor 'output_norm");
    expect_error(1, "rope_freqs.weigh", "x", 1, ERR_UNSUPPORTED, "'rope_freqs.weighx' has no place");
    expect_error(3, "yar", "x", 1, ERR_UNSUPPORTED, "'yarx'");
    expect_error(4, "attn_q.bia", "x", 1, ERR_INVALID, "lacks the tensor 'blk.0.attn_q.bias'");
    expect_error(5, "general.architectur", "x", 1, ERR_INVALID, "general.architecture");
    expect_error(5, "qwe", "n4", 2, ERR_UNSUPPORTED, "this build knows llama, mistral3, smollm3");
    static const struct tiny_spec heads = {"h", "llama", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4,
                                           2, 16, 88, 96, false, false, "linear", 0, 0, 0, 0};
    struct buf bytes;
    struct model *model;
    struct report report = {0};
    buf_init(&bytes, NULL);
    tiny_model(&heads, &bytes);
    size_t used = mem_used_bytes();
    for (uint64_t nth = 1;; nth++) {
        (void)mem_fail_at(nth);
        enum err err = model_open_memory((uint8_t *)bytes.data, bytes.count, &model, &report);
        (void)mem_fail_at(0);
        if (!err)
            break;
        assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(mem_used_bytes(), used);
    }
    model_close(model);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tiny_model_opens),
        cmocka_unit_test(misfits_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
