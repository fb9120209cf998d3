/* links: engine/text
 * tokenizer.json through models/st.c against the ids of Hugging Face's tokenizers
 * (tests/vectors/tokenizer/hf-*, made by make_hf.py), and broken ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/text/tok.h"
#include "models/st.h"

#define FOLDER "tests/vectors/tokenizer/"

static const char config_text[] =
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":1,\"intermediate_size\":64,"
    "\"num_attention_heads\":4,\"vocab_size\":1000}";

static struct st_text read_text(const char *name)
{
    char path[200], *data;
    size_t bytes;
    struct report report = {0};
    snprintf(path, sizeof path, FOLDER "%s", name);
    if (file_read(path, 1 << 20, NULL, &data, &bytes, &report))
        fail_msg("%s", report.text);
    return (struct st_text){data, bytes};
}

static void free_text(struct st_text text)
{
    mem_free(NULL, (char *)(uintptr_t)text.data);
}

static enum err make(struct st_text tokenizer, const char *extra, struct tok **tok,
                     struct report *report)
{
    struct st_source source = {.name = "", .config = {config_text, strlen(config_text)},
                               .tokenizer = tokenizer,
                               .tokenizer_config = {extra, extra ? strlen(extra) : 0}};
    struct gguf *file;
    enum err err = st_assemble(&source, &file, report);
    if (err)
        return err;
    err = tok_create_from_gguf(file, tok, report);
    gguf_close(file);
    return err;
}

static void ids_equal_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *name, *pre;
        bool bos;
    } cases[] = {{"llama3", "llama-bpe", false}, {"qwen2", "qwen2", false}, {"gpt2", "gpt-2", false},
                 {"smollm", "smollm", false},    {"llama2", "spm", true},   {"metaspace", "spm", true}};
    struct st_text input = read_text("llama.cpp.inp");
    static const char mark[] = "\n__ggml_vocab_test__\n";
    for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) {
        char name[100];
        struct report report = {0};
        struct tok *tok;
        snprintf(name, sizeof name, "hf-%s.json", cases[c].name);
        struct st_text json = read_text(name);
        if (make(json, "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\"}", &tok, &report))
            fail_msg("%s: %s", name, report.text);
        assert_string_equal(tok_pre_name(tok), cases[c].pre);
        assert_true(tok_adds_bos(tok) == cases[c].bos);
        assert_int_equal(tok_vocab_count(tok), 1000); /* as config.json says */
        snprintf(name, sizeof name, "hf-%s.out", cases[c].name);
        struct st_text expected = read_text(name);
        const char *line = expected.data;
        for (const char *text = input.data; text; ) {
            const char *end = strstr(text, mark);
            size_t bytes = end ? (size_t)(end - text) : strlen(text);
            struct tok_ids ids = {0};
            assert_int_equal(tok_encode(tok, text, bytes, TOK_PARSE_SPECIALS | TOK_ADD_SPECIALS,
                                        &ids, &report), ERR_OK);
            char *next = (char *)(uintptr_t)line;
            for (size_t i = 0; i < ids.count; i++)
                if (strtoul(next, &next, 10) != ids.items[i])
                    fail_msg("%s: token %zu of '%.*s' is %u", name, i, (int)bytes, text,
                             ids.items[i]);
            if (*next != '\n')
                fail_msg("%s: '%.*s' has %zu tokens, expected more", name, (int)bytes, text,
                         ids.count);
            line = next + 1;
            tok_ids_deinit(&ids);
            text = end ? end + strlen(mark) : NULL;
        }
        assert_int_equal(line - expected.data, expected.bytes);
        tok_destroy(tok);
        free_text(json);
        free_text(expected);
    }
    free_text(input);
}

static void added_tokens(void **state)
{
    (void)state;
    struct report report = {0};
    struct tok *tok;
    struct st_text json = read_text("hf-qwen2.json");
    assert_int_equal(make(json, "{\"eos_token\":\"<|im_end|>\",\"chat_template\":\"{{x}}\"}", &tok,
                          &report), ERR_OK);
    uint32_t think = tok_find(tok, "<think>", 7), end = tok_find(tok, "<|im_end|>", 10);
    assert_int_equal(tok_type(tok, think), TOK_USER_DEFINED);
    assert_int_equal(tok_type(tok, end), TOK_CONTROL);
    assert_int_equal(tok_eos(tok), end);
    tok_destroy(tok);
    free_text(json);
}

static void broken_ones_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{", "not proper JSON"},
        {"[]", "not a JSON object"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", "vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "no id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":16000000},\"merges\":[]}}", "ids up to"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "two tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":"
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+\"}}}", "x+"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2000},\"merges\":[],"
         "\"byte_fallback\":true}}", "config.json only"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{}]}",
         "added token 0"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report report = {0};
        struct tok *tok;
        assert_int_not_equal(make((struct st_text){cases[i].json, strlen(cases[i].json)}, NULL, &tok,
                                  &report), ERR_OK);
        if (!strstr(report.text, cases[i].says))
            fail_msg("case %u says: %s", i, report.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_equal_tokenizers),
                                       cmocka_unit_test(added_tokens),
                                       cmocka_unit_test(broken_ones_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
