/* Ids to text. */
#include "engine/base/utf8.h"
#include "engine/text/tok_impl.h"

static enum err no_token(const struct tok *tok, uint32_t id, struct report *report)
{
    return err_set(report, ERR_INVALID, "There is no token %u in a vocabulary of %u", id,
                   tok->vocab_count);
}

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "Out of memory while decoding tokens");
}

enum err tok_decode(const struct tok *tok, const uint32_t *ids, size_t count, struct buf *text,
                    struct report *report)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= tok->vocab_count)
            return no_token(tok, ids[i], report);
        if (!buf_append(text, tok->text + tok->starts[ids[i]], tok_symbol_bytes(tok, ids[i])))
            return no_memory(report);
    }
    return ERR_OK;
}

/* Length of the maximal part of an ill-formed sequence at `text` that one U+FFFD stands for, as in
 * Unicode's "substitution of maximal subparts". */
static size_t ill_formed_bytes(const char *text, size_t bytes)
{
    size_t length = 1;
    while (length < bytes && length < 4 && utf8_is_prefix(text, length + 1))
        length++;
    return length;
}

/* Emits what is certain of held + data. */
static bool feed(struct tok_stream *stream, const char *data, size_t bytes, struct buf *text)
{
    while (stream->held_bytes > 0 && bytes > 0) {
        char joined[4];
        memcpy(joined, stream->held, stream->held_bytes);
        joined[stream->held_bytes] = *data;
        size_t length = stream->held_bytes + 1;
        if (utf8_sequence_bytes(joined, length) == length) {
            if (!buf_append(text, joined, length))
                return false;
            stream->held_bytes = 0;
            data++;
            bytes--;
        } else if (utf8_is_prefix(joined, length)) {
            memcpy(stream->held, joined, length);
            stream->held_bytes = (unsigned)length;
            data++;
            bytes--;
        } else {
            if (!buf_append(text, "\xEF\xBF\xBD", 3))
                return false;
            stream->held_bytes = 0;
        }
    }
    size_t from = 0; /* data[from, at) is well-formed and not yet emitted */
    size_t at = 0;
    while (at < bytes) {
        size_t length =
            (unsigned char)data[at] < 0x80 ? 1 : utf8_sequence_bytes(data + at, bytes - at);
        if (length > 0) {
            at += length;
            continue;
        }
        if (!buf_append(text, data + from, at - from))
            return false;
        if (utf8_is_prefix(data + at, bytes - at)) {
            stream->held_bytes = (unsigned)(bytes - at);
            memcpy(stream->held, data + at, bytes - at);
            return true;
        }
        if (!buf_append(text, "\xEF\xBF\xBD", 3))
            return false;
        at += ill_formed_bytes(data + at, bytes - at);
        from = at;
    }
    return buf_append(text, data + from, at - from);
}

enum err tok_stream_feed(struct tok_stream *stream, const struct tok *tok, const uint32_t *ids,
                         size_t count, struct buf *text, struct report *report)
{
    for (size_t i = 0; i < count; i++) {
        const char *data;
        size_t bytes;
        if (!tok_token_bytes(tok, ids[i], &data, &bytes))
            return no_token(tok, ids[i], report);
        if (!feed(stream, data, bytes, text))
            return no_memory(report);
    }
    return ERR_OK;
}

enum err tok_stream_finish(struct tok_stream *stream, struct buf *text)
{
    bool ok = stream->held_bytes == 0 || buf_append(text, "\xEF\xBF\xBD", 3);
    stream->held_bytes = 0;
    return ok ? ERR_OK : ERR_MEMORY;
}

enum err tok_decode_text(const struct tok *tok, const uint32_t *ids, size_t count, struct buf *text,
                         struct report *report)
{
    struct tok_stream stream = {0};
    size_t first = 0;
    while (first < count && ids[first] < tok->vocab_count && ids[first] == tok->bos)
        first++;
    enum err err = tok_stream_feed(&stream, tok, ids, first, text, report);
    if (err != ERR_OK)
        return err;
    if (tok->sentencepiece && tok->space_prefix && first < count && ids[first] < tok->vocab_count) {
        const char *data;
        size_t bytes;
        (void)tok_token_bytes(tok, ids[first], &data, &bytes);
        if (bytes > 0 && data[0] == ' ') {
            if (!feed(&stream, data + 1, bytes - 1, text))
                return no_memory(report);
            first++;
        }
    }
    err = tok_stream_feed(&stream, tok, ids + first, count - first, text, report);
    if (err != ERR_OK)
        return err;
    return tok_stream_finish(&stream, text) == ERR_OK ? ERR_OK : no_memory(report);
}
