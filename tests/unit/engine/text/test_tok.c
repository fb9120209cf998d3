/* links: engine/text
 * What a tokenizer does beside matching vectors: specials, streams, hostile input, broken files,
 * memory that runs out. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/utf8.h"
#include "engine/text/tok.h"
#include "tests/vectors/tokenizer/vocab.h"

static struct tok *gpt2, *llama3, *spm, *phi3;

static int open_all(void **state)
{
    (void)state;
    gpt2 = vocab_open("gpt-2");
    llama3 = vocab_open("llama-bpe");
    spm = vocab_open("llama-spm");
    phi3 = vocab_open("phi-3");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tok_destroy(gpt2);
    tok_destroy(llama3);
    tok_destroy(spm);
    tok_destroy(phi3);
    return 0;
}

static struct tok_ids encode(const struct tok *tok, const char *text, size_t bytes, unsigned flags)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    assert_int_equal(tok_encode(tok, text, bytes, flags, &ids, &report), ERR_OK);
    return ids;
}

static uint32_t special(const struct tok *tok, const char *text)
{
    return tok_find_special(tok, text, strlen(text));
}

static void specials_are_parsed_when_asked(void **state)
{
    (void)state;
    static const char text[] = "a<|eot_id|>b";
    struct tok_ids ids = encode(llama3, text, strlen(text), TOK_PARSE_SPECIALS);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.items[1], 128009);
    tok_ids_deinit(&ids);
    ids = encode(llama3, text, strlen(text), 0);
    assert_true(ids.count > 3);
    for (size_t i = 0; i < ids.count; i++)
        assert_false(tok_is_special(llama3, ids.items[i]));
    tok_ids_deinit(&ids);

    assert_int_equal(special(llama3, "<|eot_id|>"), 128009);
    assert_int_equal(special(llama3, "<|eot_id|"), TOK_NONE);
    assert_int_equal(special(llama3, "Hello"), TOK_NONE);
    assert_int_equal(tok_find(llama3, "Hello", 5), 9906);
    assert_int_equal(tok_eot(llama3), 128009);
    assert_int_equal(tok_bos(llama3), 128000);
    assert_int_equal(tok_eos(llama3), 128001);
    assert_true(tok_adds_bos(llama3));
    assert_int_equal(tok_vocab_count(llama3), 128256);

    size_t count;
    const uint32_t *specials = tok_specials(llama3, &count);
    assert_int_equal(count, 256);
    assert_int_equal(specials[0], 128000);
}

static void bos_is_added_when_asked(void **state)
{
    (void)state;
    struct tok_ids ids = encode(spm, "Hello", 5, TOK_ADD_SPECIALS);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.items[0], 1);
    assert_int_equal(ids.items[1], 15043);
    tok_ids_deinit(&ids);
    ids = encode(spm, "", 0, 0);
    assert_int_equal(ids.count, 0);
    tok_ids_deinit(&ids);
    ids = encode(gpt2, "", 0, TOK_ADD_SPECIALS);
    assert_int_equal(ids.count, 0);
    tok_ids_deinit(&ids);
}

/* Hugging Face's Phi-3 tokenizer: <|user|> 32010, <|end|> 32007, white space behind them is dropped
 * and the text starts with a new space mark. */
static void phi3_strips_after_specials(void **state)
{
    (void)state;
    static const char text[] = "<|user|>\nHello<|end|>\n<|assistant|>";
    struct tok_ids ids = encode(phi3, text, strlen(text), TOK_PARSE_SPECIALS);
    static const uint32_t want[] = {32010, 15043, 32007, 32001};
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.items, want, sizeof want);
    tok_ids_deinit(&ids);
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    char text[600];
    uint32_t seed = 1;
    for (int round = 0; round < 300; round++) {
        size_t bytes = (size_t)round * 2;
        for (size_t i = 0; i < bytes; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = (char)(seed >> 24);
        }
        const struct tok *toks[] = {gpt2, llama3, spm};
        for (size_t k = 0; k < 3; k++) {
            struct tok_ids ids = encode(toks[k], text, bytes, TOK_PARSE_SPECIALS);
            struct buf back;
            struct report report = {0};
            buf_init(&back, NULL);
            assert_int_equal(tok_decode(toks[k], ids.items, ids.count, &back, &report), ERR_OK);
            size_t skip = toks[k] == spm && bytes > 0 ? 1 : 0;
            assert_int_equal(back.count, bytes + skip);
            if (bytes > 0)
                assert_memory_equal(back.data + skip, text, bytes);
            buf_deinit(&back);
            tok_ids_deinit(&ids);
        }
    }
}

static void stream_holds_back_and_replaces(void **state)
{
    (void)state;
    static const char text[] = "\xF0\x9F\xA6\x99 \xE2\x82 \xC3(\xF0\x9F\xA6";
    static const char want[] = "\xF0\x9F\xA6\x99 \xEF\xBF\xBD \xEF\xBF\xBD(\xEF\xBF\xBD";
    struct tok_ids ids = {0};
    struct tok_stream stream = {0};
    struct report report = {0};
    struct buf out;
    buf_init(&out, NULL);
    /* one token per byte */
    for (size_t i = 0; i < strlen(text); i++)
        assert_true(tok_ids_push(&ids, tok_find(gpt2, text + i, 1)));
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(tok_stream_feed(&stream, gpt2, &ids.items[i], 1, &out, &report), ERR_OK);
        assert_true(utf8_is_valid(out.data ? out.data : "", out.count));
        if (i < 3)
            assert_int_equal(out.count, 0);
        if (i == 3)
            assert_int_equal(out.count, 4);
    }
    assert_int_equal(tok_stream_finish(&stream, &out), ERR_OK);
    assert_string_equal(out.data, want);
    buf_clear(&out);
    assert_int_equal(tok_stream_feed(&stream, gpt2, ids.items, ids.count, &out, &report), ERR_OK);
    assert_int_equal(tok_stream_finish(&stream, &out), ERR_OK);
    assert_string_equal(out.data, want);
    uint32_t beyond = tok_vocab_count(gpt2);
    assert_int_equal(tok_stream_feed(&stream, gpt2, &beyond, 1, &out, &report), ERR_INVALID);
    buf_deinit(&out);
    tok_ids_deinit(&ids);
}

/* The same text fed byte by byte and whole gives the same, for random bytes. */
static void stream_is_the_same_in_any_portions(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0x41, 0x80, 0xBF, 0xC2, 0xE0, 0xA0, 0xE2, 0xED,
                                          0x9F, 0xEF, 0xF0, 0x90, 0xF4, 0x8F, 0xFF, 0x20};
    uint32_t seed = 5;
    for (int round = 0; round < 2000; round++) {
        struct tok_ids ids = {0};
        struct buf whole, parts;
        struct report report = {0};
        struct tok_stream a = {0}, b = {0};
        buf_init(&whole, NULL);
        buf_init(&parts, NULL);
        for (int i = 0; i < 24; i++) {
            seed = seed * 1664525 + 1013904223;
            char one = (char)bytes[seed >> 28];
            assert_true(tok_ids_push(&ids, tok_find(gpt2, &one, 1)));
        }
        assert_int_equal(tok_stream_feed(&a, gpt2, ids.items, ids.count, &whole, &report), ERR_OK);
        assert_int_equal(tok_stream_finish(&a, &whole), ERR_OK);
        for (size_t i = 0; i < ids.count; i++)
            assert_int_equal(tok_stream_feed(&b, gpt2, &ids.items[i], 1, &parts, &report), ERR_OK);
        assert_int_equal(tok_stream_finish(&b, &parts), ERR_OK);
        assert_true(utf8_is_valid(whole.data, whole.count));
        assert_string_equal(whole.data, parts.data);
        buf_deinit(&whole);
        buf_deinit(&parts);
        tok_ids_deinit(&ids);
    }
}

/* Long words take the heap; a quadratic algorithm would not end within a test's patience. */
static void long_words_are_not_quadratic(void **state)
{
    (void)state;
    size_t bytes = 3 << 20;
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, 'a', bytes);
    struct tok_ids ids = encode(llama3, text, bytes, TOK_PARSE_SPECIALS);
    assert_true(ids.count > 0 && ids.count < bytes);
    tok_ids_deinit(&ids);
    memset(text, ' ', bytes);
    ids = encode(llama3, text, bytes, TOK_PARSE_SPECIALS);
    tok_ids_deinit(&ids);
    memset(text, '<', bytes);
    ids = encode(spm, text, bytes, TOK_PARSE_SPECIALS);
    tok_ids_deinit(&ids);
    free(text);
}

/* Short words merge in arrays, long ones by a heap: where no merge crosses a boundary, the two must
 * agree. */
static void heap_agrees_with_arrays(void **state)
{
    (void)state;
    struct tok *toks[] = {gpt2, llama3};
    for (size_t k = 0; k < 2; k++) {
        /* "\x01" merges with nothing, and is no letter: it ends words without ending the piece */
        char text[2000];
        size_t bytes = 0;
        struct tok_ids want = {0};
        for (int i = 0; i < 60; i++) {
            char word[8];
            size_t length = (size_t)(i % 4) + 1;
            for (size_t n = 0; n < length; n++)
                word[n] = "!?.,:;-"[(i * 5 + (int)n * 3) % 7];
            word[length] = '\x01';
            struct tok_ids ids = encode(toks[k], word, length + 1, 0);
            for (size_t n = 0; n < ids.count; n++)
                assert_true(tok_ids_push(&want, ids.items[n]));
            tok_ids_deinit(&ids);
            memcpy(text + bytes, word, length + 1);
            bytes += length + 1;
        }
        struct tok_ids got = encode(toks[k], text, bytes, 0);
        assert_int_equal(got.count, want.count);
        assert_memory_equal(got.items, want.items, got.count * sizeof *got.items);
        tok_ids_deinit(&got);
        tok_ids_deinit(&want);
    }
}

/* What threads find out about whole words is shared; they must agree all the same. */
static void *encode_all(void *user)
{
    const struct tok *tok = user;
    struct tok_ids *ids = calloc(1, sizeof *ids);
    struct report report = {0};
    static const char text[] =
        "It's the year 2024, and antidisestablishmentarianism is not yet over; "
        "\xD0\xBD\xD0\xB5\xD1\x89\xD0\xBE \xE6\x97\xA5\xE6\x9C\xAC\n\n  done.";
    for (int round = 0; round < 20 && ids; round++) {
        ids->count = 0;
        if (tok_encode(tok, text, strlen(text), TOK_PARSE_SPECIALS, ids, &report) != ERR_OK)
            break;
    }
    return ids;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct tok *fresh = vocab_open("gpt-2");
    pthread_t threads[4];
    struct tok_ids *results[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_all, fresh), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        results[i] = result;
        assert_non_null(result);
        assert_int_equal(results[i]->count, results[0]->count);
        assert_memory_equal(results[i]->items, results[0]->items,
                            results[0]->count * sizeof(uint32_t));
    }
    for (int i = 0; i < 4; i++) {
        tok_ids_deinit(results[i]);
        free(results[i]);
    }
    tok_destroy(fresh);
}

/* ---- broken files ---- */

/* A gpt2 vocabulary of the 256 bytes, "ab", "abc" and a control token. */
static struct buf small_gguf(const char *model, const char *pre, bool merges, uint32_t type_count)
{
    struct gguf_writer *writer = gguf_writer_create();
    struct buf out;
    struct report report = {0};
    char texts[256][3];
    struct gguf_string tokens[259];
    int32_t types[300];
    static const struct gguf_string merge_texts[] = {
        {"a b", 3}, {"ab c", 4}, {"\xE2\x96\x81 x", 5}};
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        tokens[byte].data = texts[byte];
        tokens[byte].bytes = utf8_put(itself ? byte : next++, texts[byte]);
    }
    tokens[256] = (struct gguf_string){"ab", 2};
    tokens[257] = (struct gguf_string){"abc", 3};
    tokens[258] = (struct gguf_string){"<|x|>", 5};
    for (size_t i = 0; i < 300; i++)
        types[i] = i == 258 ? TOK_CONTROL : TOK_NORMAL;
    buf_init(&out, NULL);
    gguf_writer_put_string(writer, "tokenizer.ggml.model", model, strlen(model));
    gguf_writer_put_string(writer, "tokenizer.ggml.pre", pre, strlen(pre));
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, 259);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, type_count);
    if (merges)
        gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merge_texts, 3);
    gguf_writer_put_u32(writer, "tokenizer.ggml.bos_token_id", 1000000);
    assert_int_equal(gguf_writer_finish(writer, &out, &report), ERR_OK);
    gguf_writer_destroy(writer);
    return out;
}

static enum err open_small(struct buf bytes, struct tok **tok, struct report *report)
{
    struct gguf *file;
    assert_int_equal(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, report),
                     ERR_OK);
    enum err err = tok_create_from_gguf(file, tok, report);
    gguf_close(file);
    buf_deinit(&bytes);
    return err;
}

static void small_vocabulary(void **state)
{
    (void)state;
    struct tok *tok;
    struct report report = {0};
    assert_int_equal(open_small(small_gguf("gpt2", "gpt-2", true, 259), &tok, &report), ERR_OK);
    struct tok_ids ids = encode(tok, "abcab<|x|>\xFF", 11, TOK_PARSE_SPECIALS);
    static const uint32_t want[] = {257, 256, 258, 0xFF};
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.items, want, sizeof want);
    assert_int_equal(tok_bos(tok), TOK_NONE);
    assert_false(tok_adds_bos(tok));
    tok_ids_deinit(&ids);
    tok_destroy(tok);
}

static void broken_metadata_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *model, *pre;
        bool merges;
        uint32_t types;
        enum err err;
        const char *says;
    } cases[] = {
        {"wordpiece", "gpt-2", true, 259, ERR_UNSUPPORTED, "wordpiece"},
        {"gpt2", "nonsense", true, 259, ERR_UNSUPPORTED, "nonsense"},
        {"gpt2", "gpt-2", false, 259, ERR_INVALID, "merges"},
        {"gpt2", "gpt-2", true, 258, ERR_INVALID, "token_type"},
        {"llama", "default", true, 259, ERR_INVALID, "scores"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok *tok;
        struct report report = {0};
        assert_int_equal(
            open_small(small_gguf(cases[i].model, cases[i].pre, cases[i].merges, cases[i].types),
                       &tok, &report),
            cases[i].err);
        assert_non_null(strstr(report.text, cases[i].says));
    }
}

static void running_out_of_memory_is_survived(void **state)
{
    (void)state;
    struct buf bytes = small_gguf("gpt2", "llama-bpe", true, 259);
    struct gguf *file;
    struct tok *tok;
    struct report report = {0};
    static char text[5000];
    memset(text, 'a', sizeof text);
    assert_int_equal(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report),
                     ERR_OK);
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1;; nth++) {
        struct report why = {0};
        (void)mem_fail_at(nth);
        enum err err = tok_create_from_gguf(file, &tok, &why);
        (void)mem_fail_at(0);
        if (err == ERR_OK)
            break;
        assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(mem_used_bytes(), before);
    }
    for (uint64_t nth = 1;; nth++) {
        struct tok_ids ids = {0};
        (void)mem_fail_at(nth);
        enum err err = tok_encode(tok, text, sizeof text, 0, &ids, NULL);
        (void)mem_fail_at(0);
        if (err != ERR_OK)
            assert_int_equal(ids.count, 0);
        tok_ids_deinit(&ids);
        if (err == ERR_OK)
            break;
        assert_int_equal(err, ERR_MEMORY);
    }
    tok_destroy(tok);
    assert_int_equal(mem_used_bytes(), before);
    gguf_close(file);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specials_are_parsed_when_asked),
        cmocka_unit_test(bos_is_added_when_asked),
        cmocka_unit_test(phi3_strips_after_specials),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(stream_holds_back_and_replaces),
        cmocka_unit_test(stream_is_the_same_in_any_portions),
        cmocka_unit_test(long_words_are_not_quadratic),
        cmocka_unit_test(heap_agrees_with_arrays),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(small_vocabulary),
        cmocka_unit_test(broken_metadata_is_refused),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
