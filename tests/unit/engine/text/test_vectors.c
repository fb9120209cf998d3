/* links: engine/text
 * Tokenizers against other engines: llama.cpp's published vectors, Hugging Face's `tokenizers`,
 * Google's sentencepiece. See tests/vectors/tokenizer/README.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/text/split.h"
#include "engine/text/tok.h"
#include "tests/vectors/tokenizer/vocab.h"

static const char *const names[] = {
    "llama-bpe", "qwen2",  "gpt-2",     "llama-spm",    "phi-3",          "falcon",
    "mpt",       "refact", "starcoder", "deepseek-llm", "deepseek-coder", "stories260K",
};
#define NAME_COUNT      (sizeof names / sizeof *names)
#define PUBLISHED_COUNT (NAME_COUNT - 1) /* stories260K is not llama.cpp's */
static struct tok *toks[NAME_COUNT];

static int open_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < NAME_COUNT; i++)
        toks[i] = vocab_open(names[i]);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < NAME_COUNT; i++)
        tok_destroy(toks[i]);
    return 0;
}

static void print_ids(const char *what, const struct tok_ids *ids)
{
    print_message("%s", what);
    for (size_t i = 0; i < ids->count; i++)
        print_message(" %u", ids->items[i]);
    print_message("\n");
}

/* Parses numbers between blanks or commas up to the end of the line. */
static void parse_ids(const char *line, struct tok_ids *ids)
{
    ids->count = 0;
    for (;;) {
        char *end;
        while (*line == ' ' || *line == ',')
            line++;
        unsigned long id = strtoul(line, &end, 10);
        if (end == line)
            return;
        assert_true(tok_ids_push(ids, (uint32_t)id));
        line = end;
    }
}

/* False, with a message, when `text` does not encode to `want` or does not come back. */
static bool encodes(const struct tok *tok, const char *name, const char *text, size_t bytes,
                    unsigned flags, const struct tok_ids *want)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    struct buf back;
    buf_init(&back, NULL);
    assert_int_equal(tok_encode(tok, text, bytes, flags, &ids, &report), ERR_OK);
    bool same =
        ids.count == want->count &&
        (ids.count == 0 || memcmp(ids.items, want->items, ids.count * sizeof *ids.items) == 0);
    if (!same) {
        print_message("%s: '%.*s'\n", name, (int)bytes, text);
        print_ids("  got ", &ids);
        print_ids("  want", want);
    }
    assert_int_equal(tok_decode_text(tok, ids.items, ids.count, &back, &report), ERR_OK);
    if (back.count != bytes || (bytes > 0 && memcmp(back.data, text, bytes) != 0)) {
        print_message("%s: '%.*s' comes back as '%s'\n", name, (int)bytes, text, back.data);
        same = false;
    }
    tok_ids_deinit(&ids);
    buf_deinit(&back);
    return same;
}

/* llama.cpp's format: texts with a separator line behind each; one line of ids per text. */
static size_t check_published(const struct tok *tok, const char *name, char *inputs,
                              const char *outputs, size_t *cases)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    struct tok_ids want = {0};
    size_t failures = 0;
    char *end;
    for (; (end = strstr(inputs, separator)); inputs = end + strlen(separator)) {
        const char *newline = strchr(outputs, '\n');
        assert_non_null(newline);
        char line[8192];
        assert_true((size_t)(newline - outputs) < sizeof line);
        memcpy(line, outputs, (size_t)(newline - outputs));
        line[newline - outputs] = '\0';
        outputs = newline + 1;
        parse_ids(line, &want);
        failures += !encodes(tok, name, inputs, (size_t)(end - inputs), 0, &want);
        ++*cases;
    }
    tok_ids_deinit(&want);
    return failures;
}

static size_t check_files(const struct tok *tok, const char *name, const char *inp, const char *out,
                          size_t *cases)
{
    char *inputs, *outputs;
    size_t bytes;
    struct report report = {0};
    assert_int_equal(file_read(inp, 1 << 20, NULL, &inputs, &bytes, &report), ERR_OK);
    assert_int_equal(file_read(out, 1 << 20, NULL, &outputs, &bytes, &report), ERR_OK);
    size_t failures = check_published(tok, name, inputs, outputs, cases);
    mem_free(NULL, inputs);
    mem_free(NULL, outputs);
    return failures;
}

static void llama_cpp_vectors(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t i = 0; i < PUBLISHED_COUNT; i++) {
        char out[200];
        size_t cases = 0;
        (void)snprintf(out, sizeof out, VOCAB_DIR "%s.out", names[i]);
        failures += check_files(toks[i], names[i], VOCAB_DIR "llama.cpp.inp", out, &cases);
        assert_int_equal(cases, 46);
    }
    assert_int_equal(failures, 0);
}

/* The same from llama.cpp's own files, for whoever has them (see the README). */
static void llama_cpp_folder(void **state)
{
    (void)state;
    static const char *const more[] = {"command-r"};
    const char *folder = getenv("LLAMA_CPP_MODELS");
    size_t failures = 0;
    if (!folder)
        return;
    for (size_t i = 0; i < PUBLISHED_COUNT + sizeof more / sizeof *more; i++) {
        const char *name = i < PUBLISHED_COUNT ? names[i] : more[i - PUBLISHED_COUNT];
        char path[600], inp[620], out[620];
        struct gguf *file;
        struct tok *tok;
        struct report report = {0};
        size_t cases = 0;
        (void)snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder, name);
        (void)snprintf(inp, sizeof inp, "%s.inp", path);
        (void)snprintf(out, sizeof out, "%s.out", path);
        assert_int_equal(gguf_open(path, &file, &report), ERR_OK);
        assert_int_equal(tok_create_from_gguf(file, &tok, &report), ERR_OK);
        gguf_close(file);
        failures += check_files(tok, name, inp, out, &cases);
        assert_int_equal(cases, 46);
        tok_destroy(tok);
    }
    assert_int_equal(failures, 0);
}

static size_t parse_hex(const char *hex, size_t digits, char *out)
{
    for (size_t i = 0; i < digits / 2; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (char)strtoul(two, NULL, 16);
    }
    return digits / 2;
}

struct pieces {
    char text[4096];
    size_t used;
};

static bool note_piece(void *user, const char *text, size_t from, size_t to)
{
    struct pieces *pieces = user;
    (void)text;
    pieces->used +=
        (size_t)snprintf(pieces->text + pieces->used, sizeof pieces->text - pieces->used,
                         pieces->used ? ",%zu" : "%zu", to - from);
    return true;
}

static void splits_as_regular_expressions(void **state)
{
    (void)state;
    struct buf text;
    size_t lines = 0, failures = 0;
    vocab_unpack(VOCAB_DIR "splits.txt.xz", &text);
    char *at = text.data;
    char *line;
    while ((line = vocab_line(&at))) {
        static char sample[4096];
        struct pieces pieces = {.used = 0};
        char *hex = strchr(line, ' ') + 1;
        char *want = strchr(hex, ' ') + 1;
        size_t bytes = parse_hex(hex, (size_t)(want - 1 - hex), sample);
        const struct tok_pre *pre = tok_pre_find(line, (size_t)(hex - 1 - line));
        assert_non_null(pre);
        assert_true(tok_split_run(pre->split, sample, bytes, note_piece, &pieces));
        if (strcmp(pieces.text, want) != 0) {
            print_message("%s\n   got %s\n", line, pieces.text);
            failures++;
        }
        lines++;
    }
    buf_deinit(&text);
    assert_int_equal(lines, 3600);
    assert_int_equal(failures, 0);
}

/* Lines of `name hex ids`. */
static void check_lines(const char *path, unsigned flags, size_t count)
{
    struct buf text;
    struct tok_ids want = {0};
    size_t lines = 0, failures = 0;
    vocab_unpack(path, &text);
    char *at = text.data;
    char *line;
    while ((line = vocab_line(&at))) {
        static char sample[4096];
        size_t which = 0;
        char *hex = strchr(line, ' ');
        *hex++ = '\0';
        char *ids = strchr(hex, ' ');
        size_t bytes = parse_hex(hex, (size_t)(ids - hex), sample);
        while (which < NAME_COUNT && strcmp(names[which], line) != 0)
            which++;
        assert_true(which < NAME_COUNT);
        parse_ids(ids, &want);
        failures += !encodes(toks[which], line, sample, bytes, flags, &want);
        lines++;
    }
    tok_ids_deinit(&want);
    buf_deinit(&text);
    assert_int_equal(lines, count);
    assert_int_equal(failures, 0);
}

static void words_as_hugging_face(void **state)
{
    (void)state;
    check_lines(VOCAB_DIR "words.txt.xz", TOK_PARSE_SPECIALS, 1600);
}

static void sentences_as_sentencepiece(void **state)
{
    (void)state;
    check_lines(VOCAB_DIR "sentences.txt.xz", 0, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_cpp_vectors),
        cmocka_unit_test(llama_cpp_folder),
        cmocka_unit_test(splits_as_regular_expressions),
        cmocka_unit_test(words_as_hugging_face),
        cmocka_unit_test(sentences_as_sentencepiece),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
