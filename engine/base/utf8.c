#include "engine/base/utf8.h"

#include <string.h>

/* The range that the second byte must lie in depends on the first (table 3-7). Returns the whole
 * sequence's length, or 0 when `lead` cannot start one. */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead < 0xF5) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

static bool matches(const unsigned char *text, size_t bytes, size_t length, unsigned char low,
                    unsigned char high)
{
    for (size_t i = 1; i < length && i < bytes; i++) {
        unsigned char from = i == 1 ? low : 0x80;
        unsigned char to = i == 1 ? high : 0xBF;
        if (text[i] < from || text[i] > to)
            return false;
    }
    return true;
}

size_t utf8_sequence_bytes(const char *text, size_t bytes)
{
    unsigned char low;
    unsigned char high;
    if (bytes == 0)
        return 0;
    const unsigned char *at = (const unsigned char *)text;
    size_t length = lead_length(at[0], &low, &high);
    if (length == 0 || length > bytes || !matches(at, bytes, length, low, high))
        return 0;
    return length;
}

bool utf8_is_prefix(const char *text, size_t bytes)
{
    unsigned char low;
    unsigned char high;
    if (bytes == 0)
        return true;
    const unsigned char *at = (const unsigned char *)text;
    size_t length = lead_length(at[0], &low, &high);
    return length > bytes && matches(at, bytes, length, low, high);
}

bool utf8_is_valid(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        size_t length = utf8_sequence_bytes(text + i, bytes - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

uint32_t utf8_next(const char *text, size_t bytes, size_t *at)
{
    const unsigned char *p = (const unsigned char *)text + *at;
    size_t length = utf8_sequence_bytes(text + *at, bytes - *at);
    *at += length ? length : 1;
    switch (length) {
    case 1: return p[0];
    case 2: return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    case 3: return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    case 4:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
               (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    default: return 0xFFFD;
    }
}

size_t utf8_put(uint32_t c, char out[4])
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = 0xFFFD;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

void utf8_clean(char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t begin = at;
        size_t length = utf8_sequence_bytes(text + at, bytes - at);
        uint32_t c = utf8_next(text, bytes, &at);
        bool is_control = c < 0x20 ? c != '\t' && c != '\n' : c >= 0x7F && c < 0xA0;
        if (length == 0 || is_control)
            memset(text + begin, '?', at - begin);
    }
}
