#include "inferlet.h"

size_t strlen(const char *text);
int memcmp(const void *a, const void *b, size_t bytes);

enum { DECIMALS_MAX = 17 }; /* of a double: more say nothing */

static char error_text[501];

const char *pie_error(void)
{
    return error_text[0] ? error_text : "unknown error";
}

bool pie_fail_text(struct pie_text message)
{
    size_t bytes = message.bytes;
    if (bytes >= sizeof error_text) {
        bytes = sizeof error_text - 1;
        /* Not within a character: what leaves the program must be UTF-8. */
        while (bytes > 0 && (message.data[bytes] & 0xC0) == 0x80)
            bytes--;
    }
    if (bytes)
        __builtin_memmove(error_text, message.data, bytes);
    error_text[bytes] = '\0';
    return false;
}

bool pie_fail(const char *message)
{
    return pie_fail_text(pie_text(message));
}

struct pie_text pie_text(const char *zero_terminated)
{
    return (struct pie_text){zero_terminated, strlen(zero_terminated)};
}

bool pie_text_equal(struct pie_text a, struct pie_text b)
{
    return a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0;
}

void pie_buf_append(struct pie_buf *buf, const void *data, size_t bytes)
{
    if (buf->capacity - buf->bytes < bytes) {
        size_t grown = buf->capacity + buf->capacity / 2 + 32;
        if (grown < buf->bytes + bytes)
            grown = buf->bytes + bytes;
        buf->data = pie_realloc(buf->data, grown);
        buf->capacity = grown;
    }
    if (bytes)
        __builtin_memcpy(buf->data + buf->bytes, data, bytes);
    buf->bytes += bytes;
}

void pie_buf_puts(struct pie_buf *buf, const char *zero_terminated)
{
    pie_buf_append(buf, zero_terminated, strlen(zero_terminated));
}

void pie_buf_put_u64(struct pie_buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    pie_buf_append(buf, digits + at, sizeof digits - at);
}

void pie_buf_put_f64(struct pie_buf *buf, double value, int decimals)
{
    if (value != value) {
        pie_buf_puts(buf, "nan");
        return;
    }
    if (value < 0) {
        pie_buf_puts(buf, "-");
        value = -value;
    }
    if (value >= 1e18) {
        pie_buf_puts(buf, value > 1.7976931348623157e308 ? "inf" : "1e18+");
        return;
    }
    if (decimals > DECIMALS_MAX)
        decimals = DECIMALS_MAX;
    double scale = 1;
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    uint64_t whole = (uint64_t)value;
    uint64_t part = (uint64_t)((value - (double)whole) * scale + 0.5);
    if ((double)part >= scale) {
        whole++;
        part = 0;
    }
    pie_buf_put_u64(buf, whole);
    if (decimals > 0) {
        char digits[DECIMALS_MAX];
        for (int i = decimals - 1; i >= 0; i--) {
            digits[i] = (char)('0' + part % 10);
            part /= 10;
        }
        pie_buf_puts(buf, ".");
        pie_buf_append(buf, digits, (size_t)decimals);
    }
}

void pie_buf_put_json(struct pie_buf *buf, struct pie_text text)
{
    static const char hex[] = "0123456789abcdef";
    pie_buf_puts(buf, "\"");
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            pie_buf_append(buf, pair, 2);
        } else if (c < 0x20) {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            pie_buf_append(buf, escape, 6);
        } else {
            pie_buf_append(buf, &text.data[i], 1);
        }
    }
    pie_buf_puts(buf, "\"");
}

void pie_buf_free(struct pie_buf *buf)
{
    pie_free(buf->data);
    *buf = (struct pie_buf){0};
}

void pie_tokens_append(struct pie_tokens *tokens, const uint32_t *ids, size_t count)
{
    if (tokens->capacity - tokens->count < count) {
        size_t grown = tokens->capacity + tokens->capacity / 2 + 16;
        if (grown < tokens->count + count)
            grown = tokens->count + count;
        tokens->ids = pie_realloc(tokens->ids, grown * sizeof *ids);
        tokens->capacity = grown;
    }
    if (count)
        __builtin_memcpy(tokens->ids + tokens->count, ids, count * sizeof *ids);
    tokens->count += count;
}

void pie_tokens_push(struct pie_tokens *tokens, uint32_t id)
{
    pie_tokens_append(tokens, &id, 1);
}

void pie_tokens_free(struct pie_tokens *tokens)
{
    pie_free(tokens->ids);
    *tokens = (struct pie_tokens){0};
}
