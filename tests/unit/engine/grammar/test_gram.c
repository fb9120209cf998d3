/* links: engine/grammar
 * Grammars of all kinds: which texts they take, what masks say, and what hostile ones do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/grammar/gram.h"
#include "tests/vectors/tokenizer/vocab.h"

static struct tok *tok;
static struct gram_vocab *vocab;
static uint32_t eot;

static int open_all(void **state)
{
    (void)state;
    struct report report = {0};
    tok = vocab_open("llama-bpe");
    eot = tok_eot(tok);
    assert_int_equal(gram_vocab_create(tok, &vocab, &report), ERR_OK);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    gram_vocab_unref(vocab);
    tok_destroy(tok);
    return 0;
}

static struct gram_matcher *start(struct gram *gram)
{
    struct gram_matcher *matcher;
    struct report report = {0};
    assert_int_equal(gram_matcher_create(gram, vocab, &eot, 1, NULL, &matcher, &report), ERR_OK);
    return matcher;
}

/* Feeds the text byte token by byte token: whether all is taken and it may end there. */
static bool takes(struct gram *gram, const char *text, size_t bytes)
{
    struct gram_matcher *matcher = start(gram);
    bool ok = true;
    for (size_t i = 0; i < bytes && ok; i++) {
        struct report report = {0};
        uint32_t id = tok_find(tok, text + i, 1);
        assert_int_not_equal(id, TOK_NONE);
        ok = gram_matcher_accept(matcher, id, &report) == ERR_OK;
    }
    ok = ok && gram_matcher_can_end(matcher);
    gram_matcher_destroy(matcher);
    return ok;
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

static uint64_t total(const uint32_t *brle, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += brle[i];
    return sum;
}

/* The mask must allow exactly the tokens that accept takes; `stride` thins the tokens out. */
static void check_mask(struct gram_matcher *matcher, struct gram *gram, const uint32_t *ids,
                       size_t id_count, uint32_t stride)
{
    const uint32_t *brle;
    size_t count;
    struct report report = {0};
    assert_int_equal(gram_matcher_mask(matcher, &brle, &count, &report), ERR_OK);
    assert_int_equal(total(brle, count), tok_vocab_count(tok));
    struct gram_matcher *probe = start(gram);
    for (uint32_t id = stride > 1 ? (uint32_t)id_count % stride : 0; id < tok_vocab_count(tok);
         id += stride) {
        struct report why = {0};
        gram_matcher_reset(probe);
        for (size_t i = 0; i < id_count; i++)
            assert_int_equal(gram_matcher_accept(probe, ids[i], &why), ERR_OK);
        bool taken = gram_matcher_accept(probe, id, &why) == ERR_OK;
        if (taken != allowed(brle, count, id)) {
            const char *data;
            size_t bytes;
            assert_true(tok_token_bytes(tok, id, &data, &bytes));
            fail_msg("token %u '%.*s' is %s, but the mask says otherwise", id, (int)bytes, data,
                     taken ? "taken" : "rejected");
        }
    }
    gram_matcher_destroy(probe);
}

/* Walks through `text` token by token; each must be allowed; masks are compared with accept. */
static void check_masks_along(struct gram *gram, const char *text, uint32_t stride)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    assert_int_equal(tok_encode(tok, text, strlen(text), 0, &ids, &report), ERR_OK);
    struct gram_matcher *matcher = start(gram);
    for (size_t i = 0; i <= ids.count; i++) {
        check_mask(matcher, gram, ids.items, i, stride);
        if (i < ids.count)
            assert_int_equal(gram_matcher_accept(matcher, ids.items[i], &report), ERR_OK);
    }
    assert_true(gram_matcher_can_end(matcher));
    assert_int_equal(gram_matcher_accept(matcher, eot, &report), ERR_OK);
    assert_true(gram_matcher_is_terminated(matcher));
    const uint32_t *brle;
    size_t count;
    assert_int_equal(gram_matcher_mask(matcher, &brle, &count, &report), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(brle[0], tok_vocab_count(tok));
    assert_int_equal(gram_matcher_accept(matcher, ids.count ? ids.items[0] : 0, &report),
                     ERR_INVALID);
    gram_matcher_destroy(matcher);
    tok_ids_deinit(&ids);
}

struct sample {
    const char *source;
    const char *good[6], *bad[6];
};

typedef enum err (*maker)(const char *text, size_t bytes, struct gram **gram,
                          struct report *report);

static void check_samples(maker make, const struct sample *samples, size_t count)
{
    int failures = 0;
    for (size_t i = 0; i < count; i++) {
        struct gram *gram, *again;
        struct report report = {0};
        if (make(samples[i].source, strlen(samples[i].source), &gram, &report) != ERR_OK) {
            fail_msg("%s: %s", samples[i].source, report.text);
            continue;
        }
        /* the printed grammar is the same grammar */
        if (gram_from_ebnf(gram_text(gram), strlen(gram_text(gram)), &again, &report) != ERR_OK)
            fail_msg("%s prints as %s: %s", samples[i].source, gram_text(gram), report.text);
        for (int kind = 0; kind < 2; kind++) {
            const char *const *texts = kind ? samples[i].bad : samples[i].good;
            for (size_t k = 0; k < 6 && texts[k]; k++) {
                bool first = takes(gram, texts[k], strlen(texts[k]));
                bool second = takes(again, texts[k], strlen(texts[k]));
                if (first == (kind == 1) || first != second) {
                    print_message("%s %s '%s'%s\n", samples[i].source, first ? "takes" : "rejects",
                                  texts[k], first != second ? ", but not when printed" : "");
                    failures++;
                }
            }
        }
        gram_unref(again);
        gram_unref(gram);
    }
    assert_int_equal(failures, 0);
}

static void ebnf_takes(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"root ::= \"a\" \"b\"? | [c-e]+ # comment\n",
         {"a", "ab", "cde", "e"},
         {"", "b", "abc", "ac"}},
        {"root ::= x y\nx ::= \"1\" | \"2\"\ny ::= (\"+\" x)*",
         {"1", "1+2", "2+2+1"},
         {"+", "1+", "3"}},
        {"root ::= \"\\x41\\u00e9\\U0001F999\\n\\\"\"", {"A\xC3\xA9\xF0\x9F\xA6\x99\n\""}, {"A"}},
        {"root ::= [^a-z\\n]{2,3}", {"AB", "A1\xC3\xA9"}, {"A", "Ab", "ABCD", "A\n"}},
        {"root ::= \"x\"{3}", {"xxx"}, {"xx", "xxxx"}},
        {"root ::= \"x\"{2,}", {"xx", "xxxxxx"}, {"x", ""}},
        {"root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "(()", ")("}},
        {"root ::= root \"+\" t | t\nt ::= [0-9]", {"1", "1+2+3"}, {"+1", "1+", "12"}},
        {"root ::= (\"a\" | \"\")* \"b\"", {"b", "aab"}, {"a", "ba"}},
        {"root ::= x* \"c\"\nx ::= \"a\"* \"b\"*", {"c", "aabbac"}, {"ca"}},
        {"root ::= [\\u00e9]{100,200}", {NULL}, {"\xC3\xA9"}},
        {"root ::= \"a\" (=\"b\") \"b\"", {"ab"}, {"a"}},
        {"root ::= [a\\]\\-^]+", {"a]-^"}, {"b"}},
        {"root ::= item{1000000000} | \"z\"\nitem ::= [a-z\\u0100-\\uFFFF]", {"z"}, {"zz"}},
    };
    check_samples(gram_from_ebnf, samples, sizeof samples / sizeof *samples);
}

static void regex_takes(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"^a(b|c)*d$", {"ad", "abcbd"}, {"a", "abc", "xad"}},
        {"\\d{3}-\\w+\\s?", {"123-ab_9", "123-a "}, {"12-a", "123-"}},
        {"[^\\d\\s]+", {"ab-", "\xC3\xA9"}, {"", "a1", "a b"}},
        {"(?:x|y){2,3}?z", {"xyz", "xxxz"}, {"xz", "xxxxz"}},
        {"a.c",
         {"abc", "a\xE2\x82\xAC"
                 "c"},
         {"ac", "a\nc"}},
        {"\\u00e9\\x41\\u{1F999}\\.",
         {"\xC3\xA9"
          "A\xF0\x9F\xA6\x99."},
         {"x"}},
        {"[\\]\\-a]+|", {"", "]-a"}, {"b"}},
        {"[a-c-]{2}", {"a-", "bc"}, {"ad"}},
        {"(?<year>[0-9]{4})", {"2024"}, {"24"}},
        {"a{,3}", {"a{,3}"}, {"aa"}},
        {"[]", {NULL}, {NULL}},
    };
    check_samples(gram_from_regex, samples, sizeof samples / sizeof *samples - 1);
}

static void schemas_take(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"true",
         {"1", "null", "{\"a\": [1, 2.5e3, \"x\"]}", "\"\\u00e9\""},
         {"", "nul", "{a:1}", "01"}},
        {"{\"type\": \"string\"}", {"\"\"", "\"a\\n\xC3\xA9\""}, {"a", "\"\n\"", "\"\\x\"", "1"}},
        {"{\"type\": \"integer\"}", {"0", "-12"}, {"1.0", "-", "01"}},
        {"{\"type\": \"number\"}", {"0", "-1.5", "1e9", "2.5E-3"}, {".5", "1.", "+1"}},
        {"{\"type\": [\"boolean\", \"null\"]}", {"true", "false", "null"}, {"1"}},
        {"{\"enum\": [\"a\", 1, null, {\"k\": 0.1}]}",
         {"\"a\"", "1", "null", "{\"k\":0.1}"},
         {"a", "2"}},
        {"{\"const\": \"x\\\"y\"}", {"\"x\\\"y\""}, {"\"x\""}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"a\xC3\xA9\xF0\x9F\xA6\x99\"", "\"\\n\\u00e9\""},
         {"\"a\"", "\"abcd\""}},
        {"{\"type\":\"string\",\"maxLength\":500}", {"\"\"", "\"abc\""}, {"\"abc"}},
        {"{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}", {"\"abc\""}, {"\"\"", "\"aB\""}},
        {"{\"type\":\"string\",\"pattern\":\"b\"}", {"\"b\"", "\"abc\""}, {"\"ac\""}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\"\\n$\"}", {"\"\\\"\\n\""}, {"\"\"\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2024-02-29\""},
         {"\"2024-13-01\"", "\"x\""}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}", {"\"127.0.0.1\""}, {"\"256.0.0.1\""}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\""},
         {"\"123\""}},
        {"{\"type\":\"integer\",\"minimum\":-12,\"maximum\":305}",
         {"-12", "-1", "0", "99", "305"},
         {"-13", "306", "1000", "-20"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":99}",
         {"100", "12345678901234567890"},
         {"99", "0", "-5"}},
        {"{\"type\":\"integer\",\"maximum\":-7}", {"-7", "-10", "-123"}, {"-6", "0", "7"}},
        {"{\"type\":\"number\",\"minimum\":0,\"maximum\":2}",
         {"0", "0.5", "1.99", "2"},
         {"-0.1", "2.1", "3"}},
        {"{\"type\":\"number\",\"minimum\":-1.5}",
         {"-1", "0.25", "7", "-0.5", "-1.5", "-1.499"},
         {"-2", "-1.6", "-1.51"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0.1,\"maximum\":0.95}",
         {"0.2", "0.101", "0.95", "0.950", "0.9"},
         {"0.1", "0.10", "0.951", "0", "1", "0.96"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":10}",
         {"0.001", "9.999", "1"},
         {"0", "0.0", "10", "10.0", "-0.1", "10.5"}},
        {"{\"type\":\"number\",\"minimum\":-20.25,\"exclusiveMaximum\":-3}",
         {"-20.25", "-3.01", "-4", "-20.2", "-15.5"},
         {"-20.26", "-3.0", "-3", "-2.5", "-21.0", "3.5"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
         {"[]", "[1]", "[ 1 , 2 ]"},
         {"[1,]", "[\"a\"]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":2}",
         {"[1]", "[1,2]"},
         {"[]", "[1,2,3]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
         "\"minItems\":1}",
         {"[1]", "[1,\"a\"]"},
         {"[]", "[\"a\"]", "[1,\"a\",2]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":"
         "\"null\"}}",
         {"[]", "[1]", "[1,null,null]"},
         {"[null]"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
         "\"string\"}},\"required\":[\"b\"]}",
         {"{\"b\":\"\"}", "{ \"a\" : 1 , \"b\" : \"x\" }"},
         {"{}", "{\"a\":1}", "{\"b\":\"\",\"a\":1}", "{\"b\":\"\",\"c\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"}},"
         "\"additionalProperties\":{\"type\":\"null\"}}",
         {"{}", "{\"ab\":1}", "{\"ab\":1,\"abc\":null}", "{\"a\":null,\"x\":null}"},
         {"{\"ab\":null}", "{\"c\":1}"}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"},\"minProperties\":1,"
         "\"maxProperties\":2}",
         {"{\"a\":1}", "{\"a\":1,\"b\":2}"},
         {"{}", "{\"a\":1,\"b\":2,\"c\":3}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"minProperties\":2,"
         "\"maxProperties\":2}",
         {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}"},
         {"{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3}", "{}"}},
        {"{\"type\":\"object\"}", {"{}", "{\"x\":[1]}"}, {"[]"}},
        {"{\"required\":[\"x\"]}", {"{\"x\":1}"}, {"{}"}},
        {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"next\":{\"anyOf\":[{\"$ref\":\"#"
         "/$defs/n\"},{\"type\":\"null\"}]}},"
         "\"required\":[\"next\"]}},\"$ref\":\"#/$defs/n\"}",
         {"{\"next\":null}", "{\"next\":{\"next\":{\"next\":null}}}"},
         {"{}", "{\"next\":1}"}},
        {"{\"allOf\":[{\"type\":\"null\"}]}", {"null"}, {"1"}},
        {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},"
         "\"required\":[\"a\"]},{\"properties\":{\"a\":{\"minimum\":5},\"b\":{\"type\":\"null\"}}}]}",
         {"{\"a\":5}", "{\"a\":7,\"b\":null}"},
         {"{\"a\":4}", "{\"b\":null}", "{\"a\":7,\"b\":1}"}},
        {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{},\"next\":{\"$ref\":\"#/$defs/"
         "n\"}}}},\"allOf\":[{\"$ref\":\"#/$defs/n\"},{\"properties\":{\"next\":{\"$ref\":\"#\"},"
         "\"v\":{\"type\":\"integer\"}}}]}",
         {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{}}}"},
         {"{\"v\":null}", "{\"v\":1,\"next\":{\"v\":null}}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"anyOf\":[{\"required\":[\"a\"]},"
         "{\"required\":[\"b\"]}]}",
         {"{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"},
         {"{}", "{\"c\":1}"}},
        {"{\"type\":\"integer\",\"multipleOf\":7}",
         {"0", "-14", "700000007", "21"},
         {"1", "13", "07", "-"}},
        {"{\"type\":\"integer\",\"multipleOf\":25,\"minimum\":-30,\"exclusiveMaximum\":50}",
         {"-25", "0", "25"},
         {"-50", "50", "1"}},
        {"{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":0}",
         {"0", "3.5", "12.34"},
         {"1.234", "-1"}},
        {"{\"enum\":[1,\"a\",\"abc\",null],\"type\":[\"string\",\"integer\"],\"maxLength\":2,"
         "\"not\":{\"const\":1}}",
         {"\"a\""},
         {"1", "\"abc\"", "null"}},
        {"{\"not\":{\"type\":[\"string\",\"object\"]}}", {"1", "[\"a\"]"}, {"\"a\"", "{}"}},
        {"{\"type\":\"object\",\"patternProperties\":{\"^x_\":{\"type\":\"integer\"}}}",
         {"{}", "{\"x_a\":1,\"x_\":2}"},
         {"{\"y\":1}", "{\"x_a\":null}"}},
        {"{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2}}",
         {"{}", "{\"ab\":1}"},
         {"{\"abc\":1}"}},
        {"{\"minLength\":2}", {"1", "\"ab\"", "{\"a\":1}"}, {"\"a\""}},
        {"{\"$id\":\"http://a.example/x\",\"$defs\":{\"p\":{\"$anchor\":\"q\",\"type\":\"null\"},"
         "\"r\":{\"$id\":\"y\",\"type\":\"boolean\"}},\"anyOf\":[{\"$ref\":\"#q\"},{\"$ref\":"
         "\"y\"}]}",
         {"null", "true"},
         {"1"}},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":2}]}",
         {"5", "\"ab\""},
         {"\"abc\"", "null"}},
    };
    check_samples(gram_from_json_schema, samples, sizeof samples / sizeof *samples);
}

static void broken_sources_are_refused(void **state)
{
    (void)state;
    static const struct {
        maker make;
        const char *source;
        enum err err;
    } cases[] = {
        {gram_from_ebnf, "", ERR_INVALID},
        {gram_from_ebnf, "root ::= x", ERR_INVALID},
        {gram_from_ebnf, "foo ::= \"x\"", ERR_INVALID},
        {gram_from_ebnf, "root ::= \"x", ERR_INVALID},
        {gram_from_ebnf, "root ::= [a", ERR_INVALID},
        {gram_from_ebnf, "root ::= (\"a\"", ERR_INVALID},
        {gram_from_ebnf, "root ::= \"a\" )", ERR_INVALID},
        {gram_from_ebnf, "root ::= \"a\"{3,2}", ERR_INVALID},
        {gram_from_ebnf, "root ::= \"a\"\nroot ::= \"b\"", ERR_INVALID},
        {gram_from_ebnf, "root ::= a \"x\"\na ::= b\nb ::= root \"y\" | \"z\"", ERR_UNSUPPORTED},
        {gram_from_ebnf, "root ::= n root \"x\" | \"y\"\nn ::= \"\"", ERR_UNSUPPORTED},
        {gram_from_ebnf, "root ::= \"a\" root", ERR_INVALID},
        {gram_from_ebnf, "root ::= (\"a\"*){1000000000}", ERR_LIMIT},
        {gram_from_regex, "(a", ERR_INVALID},
        {gram_from_regex, "a)", ERR_INVALID},
        {gram_from_regex, "*", ERR_INVALID},
        {gram_from_regex, "[b-a]", ERR_INVALID},
        {gram_from_regex, "(?=a)", ERR_UNSUPPORTED},
        {gram_from_regex, "a\\b", ERR_UNSUPPORTED},
        {gram_from_regex, "(a)\\1", ERR_UNSUPPORTED},
        {gram_from_regex, "a**", ERR_INVALID},
        {gram_from_regex, "\\", ERR_INVALID},
        {gram_from_regex, "[\\", ERR_INVALID},
        {gram_from_json_schema, "{", ERR_INVALID},
        {gram_from_json_schema, "3", ERR_INVALID},
        {gram_from_json_schema, "false", ERR_INVALID},
        {gram_from_json_schema, "{\"type\":\"nothing\"}", ERR_INVALID},
        {gram_from_json_schema, "{\"$ref\":\"#/x\"}", ERR_INVALID},
        {gram_from_json_schema, "{\"$ref\":\"http://x\"}", ERR_UNSUPPORTED},
        {gram_from_json_schema, "{\"$ref\":\"#\"}", ERR_INVALID},
        {gram_from_json_schema, "{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}",
         ERR_UNSUPPORTED},
        {gram_from_json_schema, "{\"allOf\":[{\"$ref\":\"#\"}]}", ERR_LIMIT},
        {gram_from_json_schema, "{\"allOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", ERR_LIMIT},
        {gram_from_json_schema, "{\"multipleOf\":0}", ERR_INVALID},
        {gram_from_json_schema, "{\"minLength\":-1}", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gram *gram;
        struct report report = {0};
        enum err err = cases[i].make(cases[i].source, strlen(cases[i].source), &gram, &report);
        if (err != cases[i].err)
            fail_msg("%s: %d instead of %d (%s)", cases[i].source, err, cases[i].err, report.text);
        assert_true(report.text[0] != '\0');
    }
}

/* None of these may crash or hang; errors are fine. */
static void hostile_sources_end(void **state)
{
    (void)state;
    size_t bytes = 60000;
    char *text = malloc(bytes * 2 + 100);
    struct gram *gram;
    assert_non_null(text);
    memset(text, '[', bytes);
    memset(text + bytes, ']', bytes);
    struct report report = {0};
    assert_int_not_equal(gram_from_json_schema(text, bytes * 2, &gram, &report), ERR_OK);
    memset(text, '(', bytes);
    assert_int_not_equal(gram_from_regex(text, bytes, &gram, &report), ERR_OK);
    memcpy(text, "root ::= ", 9);
    assert_int_not_equal(gram_from_ebnf(text, bytes, &gram, &report), ERR_OK);
    free(text);
    /* allOf of twice the next, 60 deep; and objects that merge ever longer ones */
    struct buf deep;
    buf_init(&deep, NULL);
    assert_true(buf_puts(&deep, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{"));
    for (int i = 0; i < 60; i++)
        assert_true(buf_printf(&deep,
                               "\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":"
                               "\"#/$defs/d%d\"}]},",
                               i, i + 1, i + 1));
    assert_true(buf_puts(&deep, "\"d60\":{\"type\":\"null\"}}}"));
    report = (struct report){0};
    assert_int_equal(gram_from_json_schema(deep.data, deep.count, &gram, &report), ERR_LIMIT);
    buf_deinit(&deep);
    static const char growing[] =
        "{\"$defs\":{\"n\":{\"properties\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/n\"},{\"properties\":{"
        "\"a\":{\"$ref\":\"#/$defs/n\"},\"b\":{\"$ref\":\"#\"}}}]}}}},\"allOf\":[{\"$ref\":\"#/$defs/n\"},"
        "{\"properties\":{\"a\":{\"properties\":{\"a\":{\"$ref\":\"#\"}}}}}]}";
    report = (struct report){0};
    if (gram_from_json_schema(growing, strlen(growing), &gram, &report) == ERR_OK)
        gram_unref(gram);
    static const char *const regexes[] = {"(a|b)*a(a|b){20}", "((a{0,100}){0,100}){0,100}",
                                          "(.{0,1000000000})x", "((a?){50}){50}",
                                          "(a|a)*(a|aa)*(aaa|a)*"};
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        struct report why = {0};
        if (gram_from_regex(regexes[i], strlen(regexes[i]), &gram, &why) == ERR_OK) {
            struct gram_matcher *matcher = start(gram);
            const uint32_t *brle;
            size_t count;
            for (int k = 0; k < 5; k++) {
                enum err err = gram_matcher_mask(matcher, &brle, &count, &why);
                assert_true(err == ERR_OK || err == ERR_LIMIT);
                why = (struct report){0};
                err = gram_matcher_accept(matcher, tok_find(tok, "a", 1), &why);
                assert_true(err == ERR_OK || err == ERR_LIMIT || err == ERR_INVALID);
            }
            gram_matcher_destroy(matcher);
            gram_unref(gram);
        }
    }
    static const char *const ambiguous =
        "root ::= \"a\" | s s s\ns ::= \"b\" | \"b\" s | \"b\" s s";
    report = (struct report){0};
    assert_int_equal(gram_from_ebnf(ambiguous, strlen(ambiguous), &gram, &report), ERR_OK);
    struct gram_matcher *matcher = start(gram);
    for (int k = 0; k < 60; k++) {
        const uint32_t *brle;
        size_t count;
        struct report why = {0};
        enum err err = gram_matcher_mask(matcher, &brle, &count, &why);
        assert_true(err == ERR_OK || err == ERR_LIMIT);
        why = (struct report){0};
        if (gram_matcher_accept(matcher, tok_find(tok, "b", 1), &why) != ERR_OK)
            break;
    }
    gram_matcher_destroy(matcher);
    gram_unref(gram);
}

static void masks_agree_with_accept(void **state)
{
    (void)state;
    static const struct {
        maker make;
        const char *source, *text;
    } cases[] = {
        {gram_from_regex, "[a-z ]*[0-9]{2,3}(cm|km)?", "the hello 123km"},
        {gram_from_json_schema, "true", "{\"a b\": [1, -2.5e3, true], \"\\u00e9\": \"x, y\"}"},
        {gram_from_json_schema,
         "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
         "\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\"]}},\"n\":{\"type\":"
         "\"integer\","
         "\"minimum\":3,\"maximum\":77}},\"required\":[\"name\"]}",
         "{\"name\": \"Grüße, you\", \"tags\": [\"red\", \"green\"], \"n\": 42}"},
        {gram_from_ebnf, "root ::= \"<\" x \">\" root | \"\"\nx ::= [^<>\"\\\\\\x00-\\x1F]{2,40}",
         "<tool call><two>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gram *gram;
        struct report report = {0};
        assert_int_equal(cases[i].make(cases[i].source, strlen(cases[i].source), &gram, &report),
                         ERR_OK);
        check_masks_along(gram, cases[i].text, 13);
        gram_unref(gram);
    }
}

static void rejected_tokens_change_nothing(void **state)
{
    (void)state;
    struct gram *gram;
    struct report report = {0};
    assert_int_equal(gram_from_regex("ab|ac", 5, &gram, &report), ERR_OK);
    struct gram_matcher *matcher = start(gram);
    uint32_t a = tok_find(tok, "a", 1), b = tok_find(tok, "b", 1), x = tok_find(tok, "x", 1);
    assert_int_equal(gram_matcher_accept(matcher, x, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "rejected by grammar"));
    report = (struct report){0};
    assert_int_equal(gram_matcher_accept(matcher, eot, &report), ERR_INVALID);
    assert_int_equal(gram_matcher_accept(matcher, a, &report), ERR_OK);
    assert_int_equal(gram_matcher_accept(matcher, 128000, &report), ERR_INVALID);
    assert_int_equal(gram_matcher_accept(matcher, 4000000, &report), ERR_INVALID);
    assert_int_equal(gram_matcher_accept(matcher, b, &report), ERR_OK);
    assert_true(gram_matcher_can_end(matcher));
    assert_int_equal(gram_matcher_accept(matcher, eot, &report), ERR_OK);
    assert_true(gram_matcher_is_terminated(matcher));
    gram_matcher_reset(matcher);
    assert_false(gram_matcher_is_terminated(matcher));
    assert_int_equal(gram_matcher_accept(matcher, a, &report), ERR_OK);
    gram_matcher_destroy(matcher);
    gram_unref(gram);
}

static void running_out_of_memory_is_survived(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\","
                                 "\"maxLength\":300}},\"required\":[\"a\"]}";
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1;; nth += 1 + nth / 40) {
        struct gram *gram = NULL;
        struct gram_matcher *matcher = NULL;
        const uint32_t *brle;
        size_t count;
        (void)mem_fail_at(nth);
        enum err err = gram_from_json_schema(schema, strlen(schema), &gram, NULL);
        if (err == ERR_OK)
            err = gram_matcher_create(gram, vocab, &eot, 1, NULL, &matcher, NULL);
        if (err == ERR_OK)
            err = gram_matcher_mask(matcher, &brle, &count, NULL);
        if (err == ERR_OK)
            err = gram_matcher_accept(matcher, tok_find(tok, "{\"", 2), NULL);
        (void)mem_fail_at(0);
        gram_matcher_destroy(matcher);
        gram_unref(gram);
        assert_int_equal(mem_used_bytes(), before);
        if (err == ERR_OK)
            break;
        assert_int_equal(err, ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ebnf_takes),
        cmocka_unit_test(regex_takes),
        cmocka_unit_test(schemas_take),
        cmocka_unit_test(broken_sources_are_refused),
        cmocka_unit_test(hostile_sources_end),
        cmocka_unit_test(masks_agree_with_accept),
        cmocka_unit_test(rejected_tokens_change_nothing),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
