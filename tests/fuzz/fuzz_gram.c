/* links: engine/grammar
 * The first byte chooses EBNF, regular expression or JSON Schema; the source follows, up to a zero
 * byte; what stands behind that chooses tokens. A grammar that compiles must print as one that
 * compiles, its masks must say what accept does, and nothing may take long. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "engine/grammar/gram.h"
#include "engine/text/tok.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { STEPS_MAX = 24 };

/* The 256 bytes, some words and an end token. */
static const char *const words[] = {
    "{\"", "\":",      "\",",        "\"}", "ab", "abc", "12",   "true",
    "\\u", "\xC3\xA9", "\xC3\xA9\"", "  ",  "[]", "}}",  "\n\n",
};
enum { WORD_COUNT = sizeof words / sizeof *words, STOP = 256 + WORD_COUNT };

static struct gram_vocab *vocab;

static size_t spell(const char *text, char *out)
{
    size_t used = 0;
    for (; *text; text++) {
        uint32_t next = 0x100, point = 0;
        for (unsigned byte = 0; byte <= (unsigned char)*text; byte++) {
            bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
            point = itself ? byte : next++;
        }
        used += utf8_put(point, out + used);
    }
    return used;
}

static void make_vocab(void)
{
    static char texts[STOP + 1][32];
    struct gguf_string tokens[STOP + 1];
    int32_t types[STOP + 1];
    static const struct gguf_string merges[] = {{"a b", 3}};
    struct gguf_writer *writer = gguf_writer_create();
    struct buf bytes;
    struct report report = {0};
    struct gguf *file;
    struct tok *tok;
    CHECK(writer);
    for (unsigned i = 0; i < STOP; i++) {
        char one[2] = {(char)i, 0};
        tokens[i].data = texts[i];
        tokens[i].bytes =
            i == 0 ? utf8_put(0x100, texts[0]) : spell(i < 256 ? one : words[i - 256], texts[i]);
        types[i] = TOK_NORMAL;
    }
    tokens[STOP] = (struct gguf_string){"<|im_end|>", 10};
    types[STOP] = TOK_CONTROL;
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, STOP + 1);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, STOP + 1);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merges, 1);
    buf_init(&bytes, NULL);
    CHECK(gguf_writer_finish(writer, &bytes, &report) == ERR_OK);
    gguf_writer_destroy(writer);
    CHECK(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report) == ERR_OK);
    CHECK(tok_create_from_gguf(file, &tok, &report) == ERR_OK);
    gguf_close(file);
    buf_deinit(&bytes);
    CHECK(gram_vocab_create(tok, &vocab, &report) == ERR_OK);
    tok_destroy(tok);
}

static bool allows(const uint32_t *brle, size_t count, uint32_t id)
{
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at += brle[i];
        if (id < at)
            return i % 2;
    }
    return false;
}

static void generate(struct gram *gram, const uint8_t *choices, size_t count)
{
    static const uint32_t stop = STOP;
    struct gram_matcher *matcher;
    struct report report = {0};
    if (gram_matcher_create(gram, vocab, &stop, 1, NULL, &matcher, &report) != ERR_OK)
        return;
    for (size_t i = 0; i < count && i < STEPS_MAX; i++) {
        const uint32_t *brle;
        size_t runs;
        struct report why = {0};
        enum err err = gram_matcher_mask(matcher, &brle, &runs, &why);
        if (err != ERR_OK) {
            CHECK(err == ERR_LIMIT);
            break;
        }
        uint32_t id = (choices[i] + (i % 2 ? 131u : 0u)) % (STOP + 1);
        bool may = allows(brle, runs, id);
        for (uint32_t near = 0; near <= STOP && !may;
             near++) /* go on somewhere, if it goes on at all */
            if (allows(brle, runs, (id + near) % (STOP + 1)) && i % 3) {
                id = (id + near) % (STOP + 1);
                may = true;
            }
        err = gram_matcher_accept(matcher, id, &why);
        CHECK(err == ERR_LIMIT || may == (err == ERR_OK));
        if (err != ERR_OK && err != ERR_INVALID)
            break;
    }
    gram_matcher_destroy(matcher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct report report = {0};
    struct gram *gram, *again;
    if (!vocab)
        make_vocab();
    if (bytes < 2)
        return 0;
    const char *source = (const char *)data + 1;
    const uint8_t *zero = memchr(source, 0, bytes - 1);
    size_t length = zero ? (size_t)(zero - data) - 1 : bytes - 1;
    enum err err = data[0] % 3 == 0   ? gram_from_ebnf(source, length, &gram, &report)
                   : data[0] % 3 == 1 ? gram_from_regex(source, length, &gram, &report)
                                      : gram_from_json_schema(source, length, &gram, &report);
    if (err != ERR_OK) {
        CHECK(report.text[0]);
        return 0;
    }
    err = gram_from_ebnf(gram_text(gram), strlen(gram_text(gram)), &again, &report);
    CHECK(err == ERR_OK || err == ERR_LIMIT);
    if (err == ERR_OK)
        gram_unref(again);
    if (zero)
        generate(gram, zero + 1, (size_t)(data + bytes - zero - 1));
    gram_unref(gram);
    return 0;
}
