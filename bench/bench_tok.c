/* links: engine/text
 * Tokenizer speed on one thread: MB/s of encoding (specials parsed) and decoding.
 *   build/bench/bench_tok [FILE...]     more texts to measure
 * Without files: C sources of this repository (ASCII), and a mixture of scripts from tests/vectors.
 */
#include <glob.h>
#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "tests/vectors/tokenizer/vocab.h"

#define TEXT_BYTES (8u << 20)
#define ROUNDS     5

static void append_file(struct buf *text, const char *path)
{
    char *data;
    size_t bytes;
    struct report report = {0};
    if (file_read(path, 1u << 28, NULL, &data, &bytes, &report) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", report.text);
        exit(1);
    }
    CHECK(buf_append(text, data, bytes));
    mem_free(NULL, data);
}

static void append_glob(struct buf *text, const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            append_file(text, found.gl_pathv[i]);
    globfree(&found);
}

static void drop_beyond_ascii(struct buf *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->count; i++)
        if ((unsigned char)text->data[i] < 0x80)
            text->data[kept++] = text->data[i];
    text->count = kept;
}

static void repeat(struct buf *text)
{
    struct buf once = *text;
    buf_init(text, NULL);
    while (text->count < TEXT_BYTES)
        CHECK(buf_append(text, once.data, once.count));
    buf_deinit(&once);
}

static double best_seconds(uint64_t *best, uint64_t from)
{
    uint64_t took = clock_now_ns() - from;
    if (took < *best)
        *best = took;
    return (double)*best / 1e9;
}

static void measure(const struct tok *tok, const char *name, const char *kind,
                    const struct buf *text)
{
    struct tok_ids ids = {0};
    struct buf back;
    struct report report = {0};
    uint64_t encode_ns = UINT64_MAX, decode_ns = UINT64_MAX;
    double encode_s = 0, decode_s = 0;
    buf_init(&back, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        ids.count = 0;
        uint64_t from = clock_now_ns();
        CHECK(tok_encode(tok, text->data, text->count, TOK_PARSE_SPECIALS, &ids, &report) ==
              ERR_OK);
        encode_s = best_seconds(&encode_ns, from);
        buf_clear(&back);
        from = clock_now_ns();
        CHECK(tok_decode(tok, ids.items, ids.count, &back, &report) == ERR_OK);
        decode_s = best_seconds(&decode_ns, from);
    }
    double mb = (double)text->count / 1e6;
    (void)printf("%-12s %-8s %8.1f MB/s encode %8.1f MB/s decode %7.2f bytes/token\n", name, kind,
                 mb / encode_s, mb / decode_s, (double)text->count / (double)ids.count);
    buf_deinit(&back);
    tok_ids_deinit(&ids);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"llama-bpe", "qwen2", "gpt-2", "llama-spm", "deepseek-llm"};
    struct buf ascii, mixed;
    buf_init(&ascii, NULL);
    append_glob(&ascii, "engine/*/*.c");
    append_glob(&ascii, "models/*.c");
    append_glob(&ascii, "*.md");
    drop_beyond_ascii(&ascii);
    repeat(&ascii);
    buf_init(&mixed, NULL);
    append_file(&mixed, VOCAB_DIR "llama.cpp.inp");
    append_glob(&mixed, "*.md");
    repeat(&mixed);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tok *tok = vocab_open(names[i]);
        measure(tok, names[i], "ascii", &ascii);
        measure(tok, names[i], "mixed", &mixed);
        for (int k = 1; k < argc; k++) {
            struct buf text;
            buf_init(&text, NULL);
            append_file(&text, argv[k]);
            repeat(&text);
            measure(tok, names[i], argv[k], &text);
            buf_deinit(&text);
        }
        tok_destroy(tok);
    }
    buf_deinit(&ascii);
    buf_deinit(&mixed);
    return 0;
}
