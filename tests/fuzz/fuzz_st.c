/* links: engine/text
 * Folders of safetensors as one input: config.json, tokenizer.json, tokenizer_config.json and one
 * safetensors file, with "\n----\n" between them. Read, assembled, opened as a tokenizer. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/text/tok.h"
#include "models/st.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static volatile uint8_t sink;

static void touch(const struct gguf *file)
{
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(file, i);
        sink = (uint8_t)(sink + tensor->data[0] + tensor->data[tensor->bytes - 1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char mark[] = "\n----\n";
    struct st_text pieces[4] = {0};
    const char *at = (const char *)data, *end = at + bytes;
    for (unsigned i = 0; i < 4; i++) {
        const char *next = i < 3 ? memmem(at, (size_t)(end - at), mark, 6) : NULL;
        pieces[i] = (struct st_text){at, (size_t)((next ? next : end) - at)};
        if (!next)
            break;
        at = next + 6;
    }
    struct st_part part = {.data = (const uint8_t *)pieces[3].data, .bytes = pieces[3].bytes};
    struct st_source source = {.name = "fuzz", .config = pieces[0], .tokenizer = pieces[1],
                               .tokenizer_config = pieces[2], .parts = &part,
                               .part_count = pieces[3].bytes ? 1 : 0};
    struct gguf *file;
    struct tok *tok;
    struct report report = {0};
    if (st_assemble(&source, &file, &report))
        return 0;
    touch(file);
    if (tok_create_from_gguf(file, &tok, &report) == ERR_OK) {
        struct tok_ids ids = {0};
        (void)!tok_encode(tok, "Hello, wor\xC3\xB6ld 123\n", 18, TOK_ADD_SPECIALS, &ids, &report);
        tok_ids_deinit(&ids);
        tok_destroy(tok);
    }
    gguf_close(file);
    return 0;
}
