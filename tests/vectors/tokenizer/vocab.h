/* For tests and benches: the packed vocabularies of this folder as tokenizers. Includes code; links
 * engine/text. Aborts when a file is missing or broken. Needs the program xz. */
#ifndef TESTS_VECTORS_TOKENIZER_VOCAB_H
#define TESTS_VECTORS_TOKENIZER_VOCAB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/text/tok.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

#define VOCAB_DIR "tests/vectors/tokenizer/"

static void vocab_unpack(const char *path, struct buf *out)
{
    char command[300];
    char block[65536];
    size_t got;
    buf_init(out, NULL);
    (void)snprintf(command, sizeof command, "xz -dc '%s'", path);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    while ((got = fread(block, 1, sizeof block, pipe)) > 0)
        CHECK(buf_append(out, block, got));
    CHECK(pclose(pipe) == 0 && out->count > 0);
}

/* The next line, without its end, zero-terminated in place; NULL at the end. */
static char *vocab_line(char **at)
{
    char *line = *at;
    if (!*line)
        return NULL;
    char *end = strchr(line, '\n');
    CHECK(end);
    *end = '\0';
    *at = end + 1;
    return line;
}

static void vocab_put_scalar(struct gguf_writer *writer, const char *key, const char *value)
{
    static const char *const ids[] = {"bos_token_id", "eos_token_id", "unknown_token_id",
                                      "eot_token_id"};
    static const char *const flags[] = {"add_bos_token", "add_eos_token", "add_space_prefix"};
    const char *name = strrchr(key, '.');
    name = name ? name + 1 : key;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (strcmp(name, ids[i]) == 0) {
            gguf_writer_put_u32(writer, key, (uint32_t)strtoul(value, NULL, 10));
            return;
        }
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(name, flags[i]) == 0) {
            gguf_writer_put_bool(writer, key, *value == '1');
            return;
        }
    }
    gguf_writer_put_string(writer, key, value, strlen(value));
}

/* `text` is the unpacked file; it is cut up in place. */
static void vocab_to_gguf(struct buf *text, struct buf *gguf)
{
    struct gguf_writer *writer = gguf_writer_create();
    char *at = text->data;
    char *line;
    struct gguf_string *tokens = NULL;
    size_t token_count = 0;
    struct report report = {0};
    CHECK(writer);
    while ((line = vocab_line(&at))) {
        char *value = strchr(line, ' ');
        CHECK(value);
        *value++ = '\0';
        size_t count = strtoul(value, NULL, 10);
        if (strcmp(line, "tokens") == 0) {
            token_count = count;
            tokens = calloc(count, sizeof *tokens);
            CHECK(tokens);
            for (size_t i = 0; i < count; i++) {
                char *from = vocab_line(&at);
                char *to = from;
                CHECK(from);
                tokens[i].data = from;
                for (; *from; from++) {
                    if (*from == '\\') {
                        from++;
                        *to++ = (char)(*from == 'n' ? '\n' : *from == 'r' ? '\r' : *from);
                    } else {
                        *to++ = *from;
                    }
                }
                tokens[i].bytes = (size_t)(to - tokens[i].data);
            }
            gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, count);
        } else if (strcmp(line, "types") == 0) {
            int32_t *types = calloc(token_count, sizeof *types);
            size_t id = 0;
            CHECK(types);
            for (size_t i = 0; i < count; i++) {
                line = vocab_line(&at);
                size_t run = strtoul(line, &line, 10);
                int32_t type = (int32_t)strtol(line, NULL, 10);
                while (run-- > 0 && id < token_count)
                    types[id++] = type;
            }
            CHECK(id == token_count);
            gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, id);
            free(types);
        } else if (strcmp(line, "scores") == 0) {
            float *scores = calloc(token_count, sizeof *scores);
            size_t id = 0;
            CHECK(scores);
            for (size_t i = 0; i < count; i++) {
                line = vocab_line(&at);
                size_t run = strtoul(line, &line, 10);
                double first = strtod(line, &line);
                double step = strtod(line, NULL);
                for (size_t k = 0; k < run && id < token_count; k++)
                    scores[id++] = (float)(first + (double)k * step);
            }
            CHECK(id == token_count);
            gguf_writer_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, id);
            free(scores);
        } else if (strcmp(line, "merges") == 0) {
            struct gguf_string *merges = calloc(count, sizeof *merges);
            struct buf all;
            size_t *starts = calloc(count, sizeof *starts);
            long merged = 0;
            CHECK(merges && starts);
            buf_init(&all, NULL);
            for (size_t i = 0; i < count; i++) {
                line = vocab_line(&at);
                merged += strtol(line, &line, 10);
                size_t left = strtoul(line, NULL, 10);
                struct gguf_string token = tokens[merged];
                starts[i] = all.count;
                CHECK(buf_append(&all, token.data, left) && buf_putc(&all, ' ') &&
                      buf_append(&all, token.data + left, token.bytes - left));
                merges[i].bytes = token.bytes + 1;
            }
            for (size_t i = 0; i < count; i++)
                merges[i].data = all.data + starts[i];
            gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merges, count);
            buf_deinit(&all);
            free(starts);
            free(merges);
        } else {
            vocab_put_scalar(writer, line, value);
        }
    }
    buf_init(gguf, NULL);
    CHECK(gguf_writer_finish(writer, gguf, &report) == ERR_OK);
    gguf_writer_destroy(writer);
    free(tokens);
}

/* "llama-bpe", "qwen2", ...; see the README. Free with tok_destroy. */
static struct tok *vocab_open(const char *name)
{
    char path[200];
    struct buf text, bytes;
    struct gguf *file;
    struct tok *tok;
    struct report report = {0};
    (void)snprintf(path, sizeof path, VOCAB_DIR "%s.vocab.xz", name);
    vocab_unpack(path, &text);
    vocab_to_gguf(&text, &bytes);
    buf_deinit(&text);
    if (gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report) != ERR_OK ||
        tok_create_from_gguf(file, &tok, &report) != ERR_OK) {
        (void)fprintf(stderr, "%s: %s\n", name, report.text);
        abort();
    }
    gguf_close(file);
    buf_deinit(&bytes);
    return tok;
}

#endif
