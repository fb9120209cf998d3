/* links: models/train
 * The corpus and the vocabulary learned from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/vec.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"

static const char *const specials[] = {TRAIN_END_OF_TEXT, TRAIN_TURN, TRAIN_TURN_END};

static size_t occurrences(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

static void documents_are_well_formed(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, NULL);
    for (uint64_t i = 0; i < 5000; i++) {
        buf_clear(&text);
        train_corpus_document(4, i, &text);
        assert_false(text.failed);
        const char *end = strstr(text.data, TRAIN_END_OF_TEXT);
        assert_non_null(end);
        assert_true(end > text.data && strlen(end) == strlen(TRAIN_END_OF_TEXT));
        assert_int_equal(occurrences(text.data, TRAIN_TURN), occurrences(text.data, TRAIN_TURN_END));
        for (size_t k = 0; k < text.count; k++)
            assert_true(text.data[k] == '\n' || (text.data[k] >= ' ' && text.data[k] <= '~'));
        assert_null(strstr(text.data, "(null)"));
        assert_null(strstr(text.data, "  "));
    }
    buf_deinit(&text);
}

static void documents_depend_on_seed_and_index_alone(void **state)
{
    (void)state;
    struct buf a, b;
    buf_init(&a, NULL);
    buf_init(&b, NULL);
    for (uint64_t i = 0; i < 50; i++)
        train_corpus_document(7, i, &a);
    for (uint64_t i = 0; i < 50; i++)
        train_corpus_document(7, i, &b);
    assert_string_equal(a.data, b.data);
    buf_clear(&b);
    for (uint64_t i = 0; i < 50; i++)
        train_corpus_document(8, i, &b);
    assert_string_not_equal(a.data, b.data);
    buf_deinit(&a);
    buf_deinit(&b);
}

static void capitals_are_taught(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, NULL);
    for (uint64_t i = 0; i < 20000; i++)
        train_corpus_document(1, i, &text);
    size_t count;
    const struct train_capital *c = train_corpus_capitals(&count);
    assert_true(count >= 60);
    for (size_t i = 0; i < count; i++) {
        char sentence[120];
        snprintf(sentence, sizeof sentence, "The capital of %s is %s.", c[i].country, c[i].city);
        assert_true(occurrences(text.data, sentence) > 5);
    }
    assert_non_null(strstr(text.data, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \""));
    assert_non_null(strstr(text.data, "You are a helpful, respectful and honest assistant."));
    buf_deinit(&text);
}

static struct train_bpe *learn(const char *text, uint32_t vocab)
{
    struct train_bpe *bpe;
    struct report report = {0};
    assert_int_equal(train_bpe_create(text, strlen(text), vocab, specials, 3, &bpe, &report), ERR_OK);
    return bpe;
}

static void encode(struct train_bpe *bpe, const char *text, size_t bytes, struct train_ids *ids)
{
    struct report report = {0};
    ids->count = 0;
    assert_int_equal(train_bpe_encode(bpe, text, bytes, ids, &report), ERR_OK);
}

/* The textbook case: pairs by count, ties to the smaller ids, no merge over a piece's edge. */
static void merges_are_learned_by_count(void **state)
{
    (void)state;
    struct train_bpe *bpe = learn("low low low lower lower newest newest", 256 + 3 + 3);
    uint32_t left, right;
    assert_int_equal(train_bpe_merge_count(bpe), 3);
    train_bpe_merge(bpe, 0, &left, &right); /* "lo" and "ow" occur five times each */
    assert_true(left == 'l' && right == 'o');
    train_bpe_merge(bpe, 1, &left, &right);
    assert_true(left == 256 && right == 'w');
    train_bpe_merge(bpe, 2, &left, &right);
    assert_true(left == ' ' && right == 257);
    assert_int_equal(train_bpe_vocab(bpe), 262);
    size_t bytes;
    const char *data = train_bpe_token(bpe, 258, &bytes);
    assert_true(bytes == 4 && memcmp(data, " low", 4) == 0);
    struct train_ids ids = {0};
    encode(bpe, "low lower" TRAIN_TURN_END, 9 + strlen(TRAIN_TURN_END), &ids);
    const uint32_t want[] = {257, 258, 'e', 'r', 261};
    assert_int_equal(ids.count, 5);
    assert_memory_equal(ids.items, want, sizeof want);
    vec_free(NULL, &ids);
    train_bpe_destroy(bpe);
}

static void learning_stops_when_nothing_repeats(void **state)
{
    (void)state;
    struct train_bpe *bpe = learn("abcabc xyz", 1000);
    assert_true(train_bpe_vocab(bpe) < 270);
    train_bpe_destroy(bpe);
    bpe = learn("", 300);
    assert_int_equal(train_bpe_vocab(bpe), 259);
    train_bpe_destroy(bpe);
    struct report report = {0};
    assert_int_equal(train_bpe_create("a", 1, 258, specials, 3, &bpe, &report), ERR_INVALID);
    assert_null(bpe);
}

static void encoding_round_trips(void **state)
{
    (void)state;
    struct buf text, back;
    buf_init(&text, NULL);
    buf_init(&back, NULL);
    for (uint64_t i = 0; i < 2000; i++)
        train_corpus_document(2, i, &text);
    struct train_bpe *bpe = learn(text.data, 800);
    assert_int_equal(train_bpe_vocab(bpe), 800);
    /* And bytes that the corpus does not have, specials cut short, runs of spaces. */
    static const char odd[] = "\x00\xff\xc3\xa9 <|im_sta<|im_end|>  a\n\n b\t\r\n  'll x'll  \x01 <|";
    buf_append(&text, odd, sizeof odd - 1);
    struct train_ids ids = {0};
    encode(bpe, text.data, text.count, &ids);
    assert_true(ids.count * 3 < text.count);
    for (size_t i = 0; i < ids.count; i++) {
        size_t bytes;
        const char *data = train_bpe_token(bpe, ids.items[i], &bytes);
        buf_append(&back, data, bytes);
    }
    assert_int_equal(back.count, text.count);
    assert_memory_equal(back.data, text.data, text.count);
    vec_free(NULL, &ids);
    train_bpe_destroy(bpe);
    buf_deinit(&text);
    buf_deinit(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_well_formed),
        cmocka_unit_test(documents_depend_on_seed_and_index_alone),
        cmocka_unit_test(capitals_are_taught),
        cmocka_unit_test(merges_are_learned_by_count),
        cmocka_unit_test(learning_stops_when_nothing_repeats),
        cmocka_unit_test(encoding_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
