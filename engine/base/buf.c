#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"

void buf_init(struct buf *buf, struct mem_heap *heap)
{
    *buf = (struct buf){.heap = heap};
}

void buf_deinit(struct buf *buf)
{
    mem_free(buf->heap, buf->data);
    *buf = (struct buf){.heap = buf->heap};
}

void buf_clear(struct buf *buf)
{
    buf->count = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

static bool grow(struct buf *buf, size_t extra)
{
    size_t need;
    if (buf->failed)
        return false;
    if (__builtin_add_overflow(buf->count, extra, &need) || need == SIZE_MAX) {
        buf->failed = true;
        return false;
    }
    need++;
    if (need <= buf->capacity)
        return true;
    size_t grown = buf->capacity < 64 ? 64 : buf->capacity + buf->capacity / 2;
    if (grown < need)
        grown = need;
    char *data = mem_realloc(buf->heap, buf->data, grown);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = grown;
    return true;
}

bool buf_append(struct buf *buf, const void *data, size_t bytes)
{
    if (!grow(buf, bytes))
        return false;
    if (bytes)
        memcpy(buf->data + buf->count, data, bytes);
    buf->count += bytes;
    buf->data[buf->count] = '\0';
    return true;
}

bool buf_puts(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

bool buf_putc(struct buf *buf, char byte)
{
    return buf_append(buf, &byte, 1);
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (bytes < 0 || !grow(buf, (size_t)bytes)) {
        buf->failed = true;
        return false;
    }
    va_start(args, format);
    (void)vsnprintf(buf->data + buf->count, (size_t)bytes + 1, format, args);
    va_end(args);
    buf->count += (size_t)bytes;
    return true;
}

bool buf_put_json(struct buf *buf, const char *text, size_t bytes)
{
    (void)buf_putc(buf, '"');
    for (size_t i = 0; i < bytes;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_sequence_bytes(text + i, bytes - i);
        if (length == 0) {
            (void)buf_puts(buf, "\xEF\xBF\xBD");
            i++;
        } else if (c == 0x7F || (c == 0xC2 && (unsigned char)text[i + 1] < 0xA0)) {
            (void)buf_printf(buf, "\\u%04x", c == 0x7F ? c : (unsigned char)text[i + 1]);
            i += length;
        } else if (length > 1) {
            (void)buf_append(buf, text + i, length);
            i += length;
        } else {
            if (c == '"' || c == '\\')
                (void)buf_printf(buf, "\\%c", c);
            else if (c == '\n')
                (void)buf_puts(buf, "\\n");
            else if (c == '\t')
                (void)buf_puts(buf, "\\t");
            else if (c == '\r')
                (void)buf_puts(buf, "\\r");
            else if (c < 0x20)
                (void)buf_printf(buf, "\\u%04x", c);
            else
                (void)buf_putc(buf, (char)c);
            i++;
        }
    }
    return buf_putc(buf, '"');
}
