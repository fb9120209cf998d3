/* Tokens of the model's turn to visible text and to thoughts.
 *
 * Invariants: `shown` holds everything decoded since the last reset or end; text[0, told) of it was
 * given out in deltas. */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/chat/chat_impl.h"

static enum err out_of_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "Out of memory while decoding the model's turn");
}

static const char *text_of(const struct buf *buf)
{
    return buf->data ? buf->data : "";
}

/* ---- chat ---- */

struct chat_decoder {
    const struct chat *chat;
    struct mem_heap *heap;
    struct tok_stream stream;
    struct buf shown;
    size_t told;
    bool at_start; /* a space that the tokenizer would put in front is still to be dropped */
    bool ended;    /* `shown` was given out by DONE and starts anew at the next call */
};

enum err chat_decoder_create(const struct chat *chat, struct mem_heap *heap,
                             struct chat_decoder **out, struct report *report)
{
    struct chat_decoder *decoder = mem_calloc(heap, 1, sizeof *decoder);
    if (!decoder)
        return out_of_memory(report);
    decoder->chat = chat;
    decoder->heap = heap;
    buf_init(&decoder->shown, heap);
    chat_decoder_reset(decoder);
    *out = decoder;
    return ERR_OK;
}

void chat_decoder_destroy(struct chat_decoder *decoder)
{
    if (!decoder)
        return;
    buf_deinit(&decoder->shown);
    mem_free(decoder->heap, decoder);
}

void chat_decoder_reset(struct chat_decoder *decoder)
{
    decoder->stream = (struct tok_stream){0};
    buf_clear(&decoder->shown);
    decoder->told = 0;
    decoder->at_start = tok_adds_space(decoder->chat->tok);
    decoder->ended = false;
}

enum err chat_decoder_feed(struct chat_decoder *decoder, const uint32_t *ids, size_t count,
                           struct chat_event *event, struct report *report)
{
    const struct tok *tok = decoder->chat->tok;
    if (decoder->ended)
        chat_decoder_reset(decoder);
    size_t stop = 0;
    while (stop < count && !chat_is_stop(decoder->chat, ids[stop]))
        stop++;
    enum err err = tok_stream_feed(&decoder->stream, tok, ids, stop, &decoder->shown, report);
    if (err == ERR_OK && stop < count &&
        tok_stream_finish(&decoder->stream, &decoder->shown) != ERR_OK)
        err = out_of_memory(report);
    if (err != ERR_OK)
        return err;
    if (decoder->at_start && decoder->shown.count > 0) {
        decoder->at_start = false;
        if (decoder->shown.data[0] == ' ') /* its terminating zero moves too */
            memmove(decoder->shown.data, decoder->shown.data + 1, decoder->shown.count--);
    }
    size_t from = stop < count ? 0 : decoder->told;
    event->kind = stop < count ? CHAT_DONE : CHAT_DELTA;
    event->text = text_of(&decoder->shown) + from;
    event->bytes = decoder->shown.count - from;
    decoder->told = decoder->shown.count;
    decoder->ended = stop < count;
    return ERR_OK;
}

/* ---- reasoning ---- */

/* Marks are found in the text, not among ids: a vocabulary may cut them in several ways. Bytes that
 * could begin the end mark are held back in `matched`. What follows a mark in the same feed waits
 * in `waiting` for the next call, so that nothing is lost. */
struct chat_reasoning {
    const struct chat *chat;
    struct mem_heap *heap;
    struct buf waiting; /* raw bytes not looked at yet */
    struct buf raw;     /* raw bytes of the thought */
    struct buf shown;   /* the thought as UTF-8 */
    size_t told;
    size_t raw_shown; /* raw[0, raw_shown) is in `shown` */
    size_t matched;   /* bytes of the awaited mark seen */
    bool inside;
    bool ended;
};

bool chat_has_reasoning(const struct chat *chat)
{
    return chat->family->think_end != NULL;
}

enum err chat_reasoning_create(const struct chat *chat, struct mem_heap *heap,
                               struct chat_reasoning **out, struct report *report)
{
    struct chat_reasoning *decoder = mem_calloc(heap, 1, sizeof *decoder);
    if (!decoder)
        return out_of_memory(report);
    decoder->chat = chat;
    decoder->heap = heap;
    buf_init(&decoder->waiting, heap);
    buf_init(&decoder->raw, heap);
    buf_init(&decoder->shown, heap);
    chat_reasoning_reset(decoder);
    *out = decoder;
    return ERR_OK;
}

void chat_reasoning_destroy(struct chat_reasoning *decoder)
{
    if (!decoder)
        return;
    buf_deinit(&decoder->waiting);
    buf_deinit(&decoder->raw);
    buf_deinit(&decoder->shown);
    mem_free(decoder->heap, decoder);
}

static void start_thought(struct chat_reasoning *decoder)
{
    buf_clear(&decoder->raw);
    buf_clear(&decoder->shown);
    decoder->told = decoder->raw_shown = decoder->matched = 0;
    decoder->ended = false;
}

void chat_reasoning_reset(struct chat_reasoning *decoder)
{
    start_thought(decoder);
    buf_clear(&decoder->waiting);
    decoder->inside = decoder->chat->family->thinks_from_start;
}

/* How much of `mark` is matched after `byte` came behind its first `matched` bytes. */
static size_t next_match(const char *mark, size_t matched, char byte)
{
    for (;;) {
        if (mark[matched] == byte)
            return matched + 1;
        if (matched == 0)
            return 0;
        /* the longest proper border of mark[0, matched) */
        size_t border = matched - 1;
        while (border > 0 && memcmp(mark, mark + matched - border, border) != 0)
            border--;
        matched = border;
    }
}

/* Moves what is certain of `raw` to `shown`; at the end of the thought, everything. Bytes become
 * text by way of UTF-8 repair in the same manner as tok_stream. */
static bool show(struct chat_reasoning *decoder, bool end)
{
    struct buf *shown = &decoder->shown;
    size_t bytes = decoder->raw.count;
    while (decoder->raw_shown < bytes) {
        const char *at = decoder->raw.data + decoder->raw_shown;
        size_t left = bytes - decoder->raw_shown;
        size_t length = utf8_sequence_bytes(at, left);
        if (length == 0) {
            if (!end && utf8_is_prefix(at, left))
                return true;
            length = 1;
            while (length < left && utf8_is_prefix(at, length + 1))
                length++;
            if (!buf_append(shown, "\xEF\xBF\xBD", 3))
                return false;
        } else if (!buf_append(shown, at, length)) {
            return false;
        }
        decoder->raw_shown += length;
    }
    return true;
}

static void drop_front(struct buf *buf, size_t bytes)
{
    if (bytes > 0 && buf->count > 0)
        memmove(buf->data, buf->data + bytes, buf->count - bytes + 1);
    buf->count -= bytes;
}

enum err chat_reasoning_feed(struct chat_reasoning *decoder, const uint32_t *ids, size_t count,
                             struct chat_reasoning_event *event, struct report *report)
{
    const struct chat_family *family = decoder->chat->family;
    *event = (struct chat_reasoning_event){CHAT_REASONING_DELTA, "", 0};
    if (!family->think_end)
        return ERR_OK;
    if (decoder->ended)
        start_thought(decoder);
    enum err err = tok_decode(decoder->chat->tok, ids, count, &decoder->waiting, report);
    if (err != ERR_OK)
        return err;
    for (size_t at = 0; at < decoder->waiting.count; at++) {
        const char *mark = decoder->inside ? family->think_end : family->think_start;
        char byte = decoder->waiting.data[at];
        size_t held = decoder->matched;
        decoder->matched = next_match(mark, held, byte);
        if (decoder->inside) {
            /* held + 1 bytes are on hand, of which `matched` may still be the mark */
            size_t content = held + 1 - decoder->matched;
            if (!buf_append(&decoder->raw, mark, content < held ? content : held) ||
                (content > held && !buf_putc(&decoder->raw, byte)))
                return out_of_memory(report);
        }
        if (mark[decoder->matched] != '\0')
            continue;
        decoder->matched = 0;
        drop_front(&decoder->waiting, at + 1);
        if (!decoder->inside) {
            start_thought(decoder);
            decoder->inside = true;
            event->kind = CHAT_REASONING_START;
            return ERR_OK;
        }
        if (!show(decoder, true))
            return out_of_memory(report);
        decoder->inside = false;
        decoder->ended = true;
        event->kind = CHAT_REASONING_COMPLETE;
        event->text = text_of(&decoder->shown);
        event->bytes = decoder->shown.count;
        return ERR_OK;
    }
    buf_clear(&decoder->waiting);
    if (decoder->inside) {
        if (!show(decoder, false))
            return out_of_memory(report);
        event->text = text_of(&decoder->shown) + decoder->told;
        event->bytes = decoder->shown.count - decoder->told;
        decoder->told = decoder->shown.count;
    }
    return ERR_OK;
}
