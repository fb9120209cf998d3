/* links: engine/process
 * The tool-call grammars of engine/chat, compiled: they take well-formed calls of the given tools
 * and no others, and let the families' own control tokens through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/utf8.h"
#include "engine/chat/chat.h"
#include "engine/grammar/gram.h"
#include "engine/text/tok.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

/* A byte-level vocabulary of the 256 bytes and the given control tokens, separated by spaces. */
static struct tok *make_tok(const char *specials)
{
    struct gguf_writer *writer = gguf_writer_create();
    struct gguf_string tokens[300], merges[1] = {{"a b", 3}};
    char texts[256][4];
    int32_t types[300];
    size_t count = 256;
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        tokens[byte].data = texts[byte];
        tokens[byte].bytes = utf8_put(itself ? byte : next++, texts[byte]);
        types[byte] = TOK_NORMAL;
    }
    while (*specials) {
        size_t bytes = strcspn(specials, " ");
        tokens[count] = (struct gguf_string){specials, bytes};
        types[count++] = TOK_CONTROL;
        specials += bytes + (specials[bytes] == ' ');
    }
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, count);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, count);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merges, 1);
    struct buf bytes;
    struct report report = {0};
    struct gguf *file;
    struct tok *tok;
    buf_init(&bytes, NULL);
    assert_int_equal(gguf_writer_finish(writer, &bytes, &report), ERR_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report),
                     ERR_OK);
    assert_int_equal(tok_create_from_gguf(file, &tok, &report), ERR_OK);
    gguf_close(file);
    buf_deinit(&bytes);
    return tok;
}

static bool allowed(const uint32_t *brle, size_t count, uint32_t id)
{
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at += brle[i];
        if (id < at)
            return i % 2;
    }
    return false;
}

static bool takes(struct gram *gram, struct gram_vocab *vocab, const struct tok *tok,
                  const char *text)
{
    struct gram_matcher *matcher;
    struct report report = {0};
    struct tok_ids ids = {0};
    bool ok = true;
    assert_int_equal(gram_matcher_create(gram, vocab, NULL, 0, NULL, &matcher, &report), ERR_OK);
    assert_int_equal(tok_encode(tok, text, strlen(text), TOK_PARSE_SPECIALS, &ids, &report),
                     ERR_OK);
    for (size_t i = 0; i < ids.count && ok; i++) {
        const uint32_t *brle;
        size_t count;
        struct report why = {0};
        assert_int_equal(gram_matcher_mask(matcher, &brle, &count, &why), ERR_OK);
        bool may = allowed(brle, count, ids.items[i]);
        ok = gram_matcher_accept(matcher, ids.items[i], &why) == ERR_OK;
        assert_int_equal(may, ok);
    }
    ok = ok && gram_matcher_can_end(matcher);
    gram_matcher_destroy(matcher);
    tok_ids_deinit(&ids);
    return ok;
}

static void calls_fit(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *specials, *good[3], *bad[3];
    } cases[] = {
        {"qwen3",
         "<|im_start|>",
         {"<tool_call>\n{\"name\": \"add\", \"arguments\": {\"x\": 1, \"y\": [2, "
          "{}]}}\n</tool_call>",
          "<tool_call>\n{\"name\": \"q\\\"\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
          "{\"name\": \"add\", \"arguments\": {\"s\":\"a b\"}}\n</tool_call>"},
         {"<tool_call>\n{\"name\": \"sub\", \"arguments\": {}}\n</tool_call>", "hello"}},
        {"llama",
         "<|start_header_id|> <|eot_id|>",
         {"{\"name\": \"add\", \"parameters\": {\"x\": 1}}"},
         {"{name: \"add\", parameters: {}}",
          "{\"name\": \"add\", \"parameters\": {\"x\": \"<|eot_id|>\"}}"}},
        {"mistral3",
         "[SYSTEM_PROMPT] [TOOL_CALLS] [ARGS]",
         {"[TOOL_CALLS]add[ARGS]{\"x\": 1}", "[TOOL_CALLS]add[ARGS]{}[TOOL_CALLS]add[ARGS]{}"},
         {"add[ARGS]{}", "[TOOL_CALLS]add[ARGS]{\"x\": \"[ARGS]\"}"}},
        {"deepseek2",
         "<｜User｜> <｜tool▁calls▁begin｜> <｜tool▁call▁begin｜> <｜tool▁sep｜> "
         "<｜tool▁call▁end｜> <｜tool▁calls▁end｜>",
         {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}\n```"
          "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
         {"<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>"}},
    };
    static const char *const names[] = {
        "{\"name\": \"add\"}", "{\"type\": \"function\", \"function\": {\"name\": \"q\\\"\"}}"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok *tok = make_tok(cases[i].specials);
        struct chat *chat;
        struct gram *gram;
        struct gram_vocab *vocab;
        struct report report = {0};
        struct buf ebnf;
        bool native;
        struct chat_string tools[] = {{names[0], strlen(names[0])}, {names[1], strlen(names[1])}};
        buf_init(&ebnf, NULL);
        assert_int_equal(chat_create(cases[i].arch, NULL, 0, tok, &chat, &report), ERR_OK);
        assert_int_equal(chat_tool_grammar(chat, tools, 2, &ebnf, &native, &report), ERR_OK);
        assert_true(native);
        if (gram_from_ebnf(ebnf.data, ebnf.count, &gram, &report) != ERR_OK)
            fail_msg("%s: %s\n%s", cases[i].arch, report.text, ebnf.data);
        assert_int_equal(gram_vocab_create(tok, &vocab, &report), ERR_OK);
        for (size_t k = 0; k < 3 && cases[i].good[k]; k++)
            assert_true(takes(gram, vocab, tok, cases[i].good[k]));
        for (size_t k = 0; k < 3 && cases[i].bad[k]; k++)
            assert_false(takes(gram, vocab, tok, cases[i].bad[k]));
        gram_vocab_unref(vocab);
        gram_unref(gram);
        buf_deinit(&ebnf);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
