/* links: engine/text
 * The input is a GGUF file, up to the last byte pair 0xFF 0x00 in it when there is one; what stands
 * behind that (else the whole input) is text. A tokenizer that the metadata give must survive the
 * text, and byte-level ones that know every byte must give it back. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "engine/text/tok.h"
#include "models/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool knows_all_bytes(const struct tok *tok)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        if (tok_find(tok, &one, 1) == TOK_NONE)
            return false;
    }
    return true;
}

static void round_trip(const struct tok *tok, const char *text, size_t bytes, unsigned flags)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    struct buf raw, shown;
    struct tok_stream stream = {0};
    buf_init(&raw, NULL);
    buf_init(&shown, NULL);
    CHECK(tok_encode(tok, text, bytes, flags, &ids, &report) == ERR_OK);
    CHECK(tok_decode(tok, ids.items, ids.count, &raw, &report) == ERR_OK);
    if (!tok_is_sentencepiece(tok) && flags == TOK_PARSE_SPECIALS && knows_all_bytes(tok))
        CHECK(raw.count == bytes && memcmp(raw.data ? raw.data : "", text, bytes) == 0);
    for (size_t i = 0; i < ids.count; i++)
        CHECK(tok_stream_feed(&stream, tok, &ids.items[i], 1, &shown, &report) == ERR_OK);
    CHECK(tok_stream_finish(&stream, &shown) == ERR_OK);
    CHECK(utf8_is_valid(shown.data ? shown.data : "", shown.count));
    buf_deinit(&raw);
    buf_deinit(&shown);
    tok_ids_deinit(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct gguf *file;
    struct tok *tok;
    struct report report = {0};
    size_t file_bytes = bytes;
    const uint8_t *text = data;
    size_t text_bytes = bytes;
    for (size_t at = bytes; at-- > 1;) {
        if (data[at] == 0x00 && data[at - 1] == 0xFF) {
            file_bytes = at - 1;
            text = data + at + 1;
            text_bytes = bytes - at - 1;
            break;
        }
    }
    if (gguf_open_memory(data, file_bytes, &file, &report) != ERR_OK)
        return 0;
    if (tok_create_from_gguf(file, &tok, &report) == ERR_OK) {
        /* A control token spelled by the text is that token's text again. */
        round_trip(tok, (const char *)text, text_bytes, TOK_PARSE_SPECIALS);
        round_trip(tok, (const char *)text, text_bytes, TOK_ADD_SPECIALS);
        tok_destroy(tok);
    } else {
        CHECK(report.code != ERR_OK && report.text[0]);
    }
    gguf_close(file);
    return 0;
}
