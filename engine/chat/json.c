#include "engine/chat/json.h"

#include <string.h>

#include "engine/base/utf8.h"

#define DEPTH_MAX 128

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_space(const char *text, size_t bytes, size_t at)
{
    while (at < bytes && is_space(text[at]))
        at++;
    return at;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* End of the string that begins with the quote at `at`; 0: broken. */
static size_t skip_string(const char *text, size_t bytes, size_t at)
{
    for (at++; at < bytes; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c == '"')
            return at + 1;
        if (c < 0x20)
            return 0;
        if (c != '\\')
            continue;
        if (++at >= bytes || !strchr("\"\\/bfnrtu", text[at]) || text[at] == '\0')
            return 0;
        if (text[at] == 'u') {
            for (int i = 0; i < 4; i++)
                if (++at >= bytes || hex_digit(text[at]) < 0)
                    return 0;
        }
    }
    return 0;
}

static size_t skip_number(const char *text, size_t bytes, size_t at)
{
    if (at < bytes && text[at] == '-')
        at++;
    if (at >= bytes || !is_digit(text[at]))
        return 0;
    if (text[at] == '0')
        at++;
    else
        while (at < bytes && is_digit(text[at]))
            at++;
    if (at < bytes && text[at] == '.') {
        if (++at >= bytes || !is_digit(text[at]))
            return 0;
        while (at < bytes && is_digit(text[at]))
            at++;
    }
    if (at < bytes && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < bytes && (text[at] == '+' || text[at] == '-'))
            at++;
        if (at >= bytes || !is_digit(text[at]))
            return 0;
        while (at < bytes && is_digit(text[at]))
            at++;
    }
    return at;
}

/* End of the value that begins at `at` (no white space in front); 0: broken. Recursion is bounded
 * by DEPTH_MAX. */
static size_t skip_value(const char *text, size_t bytes, size_t at, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    if (at >= bytes || depth > DEPTH_MAX)
        return 0;
    if (text[at] == '"')
        return skip_string(text, bytes, at);
    if (text[at] == '{' || text[at] == '[') {
        bool object = text[at] == '{';
        char close = object ? '}' : ']';
        at = skip_space(text, bytes, at + 1);
        if (at < bytes && text[at] == close)
            return at + 1;
        for (;;) {
            if (object) {
                if (at >= bytes || text[at] != '"' || !(at = skip_string(text, bytes, at)))
                    return 0;
                at = skip_space(text, bytes, at);
                if (at >= bytes || text[at] != ':')
                    return 0;
                at = skip_space(text, bytes, at + 1);
            }
            if (!(at = skip_value(text, bytes, at, depth + 1)))
                return 0;
            at = skip_space(text, bytes, at);
            if (at >= bytes)
                return 0;
            if (text[at] == close)
                return at + 1;
            if (text[at] != ',')
                return 0;
            at = skip_space(text, bytes, at + 1);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if (bytes - at >= length && memcmp(text + at, words[i], length) == 0)
            return at + length;
    }
    return skip_number(text, bytes, at);
}

bool chat_json_parse(const char *text, size_t bytes, struct chat_string *value)
{
    size_t from = skip_space(text, bytes, 0);
    size_t to = skip_value(text, bytes, from, 0);
    if (to == 0 || skip_space(text, bytes, to) != bytes)
        return false;
    *value = (struct chat_string){text + from, to - from};
    return true;
}

bool chat_json_next(struct chat_string container, size_t *at, struct chat_string *key,
                    struct chat_string *value)
{
    const char *text = container.data;
    size_t bytes = container.bytes;
    if (bytes == 0 || (text[0] != '{' && text[0] != '['))
        return false;
    size_t from = skip_space(text, bytes, *at + (*at == 0 ? 1 : 0));
    if (from < bytes && text[from] == ',' && *at > 0)
        from = skip_space(text, bytes, from + 1);
    if (from >= bytes || text[from] == '}' || text[from] == ']')
        return false;
    *key = (struct chat_string){text, 0};
    if (text[0] == '{') {
        size_t end = skip_string(text, bytes, from);
        *key = (struct chat_string){text + from, end - from};
        from = skip_space(text, bytes, end);
        from = skip_space(text, bytes, from + 1); /* the colon */
    }
    size_t end = skip_value(text, bytes, from, 0);
    if (end == 0)
        return false;
    *value = (struct chat_string){text + from, end - from};
    *at = end;
    return true;
}

bool chat_json_member(struct chat_string object, const char *key, struct chat_string *value)
{
    struct chat_string name, member;
    struct buf plain;
    size_t at = 0;
    bool found = false;
    if (object.bytes == 0 || object.data[0] != '{')
        return false;
    buf_init(&plain, NULL);
    while (chat_json_next(object, &at, &name, &member)) {
        buf_clear(&plain);
        if (chat_json_string(name, &plain) && plain.count == strlen(key) &&
            memcmp(plain.data, key, plain.count) == 0) {
            *value = member;
            found = true;
        }
    }
    buf_deinit(&plain);
    return found;
}

static uint32_t hex4(const char *text)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value * 16 + (uint32_t)hex_digit(text[i]);
    return value;
}

bool chat_json_string(struct chat_string value, struct buf *out)
{
    const char *text = value.data;
    if (value.bytes < 2 || text[0] != '"')
        return false;
    if (!buf_append(out, "", 0))
        return false;
    for (size_t at = 1; at < value.bytes - 1; at++) {
        char c = text[at];
        if (c != '\\') {
            if (!buf_putc(out, c))
                return false;
            continue;
        }
        c = text[++at];
        if (c != 'u') {
            static const char from[] = "bfnrt";
            static const char to[] = "\b\f\n\r\t";
            const char *found = strchr(from, c);
            if (!buf_putc(out, found ? to[found - from] : c))
                return false;
            continue;
        }
        uint32_t point = hex4(text + at + 1);
        at += 4;
        if (point >= 0xD800 && point < 0xDC00 && at + 6 < value.bytes && text[at + 1] == '\\' &&
            text[at + 2] == 'u') {
            uint32_t low = hex4(text + at + 3);
            if (low >= 0xDC00 && low < 0xE000) {
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
        }
        char encoded[4];
        if (!buf_append(out, encoded,
                        utf8_put(point >= 0xD800 && point < 0xE000 ? 0xFFFD : point, encoded)))
            return false;
    }
    return true;
}

bool chat_json_compact(struct chat_string value, struct buf *out)
{
    bool in_string = false;
    for (size_t i = 0; i < value.bytes; i++) {
        char c = value.data[i];
        if (!in_string && is_space(c))
            continue;
        if (!buf_putc(out, c))
            return false;
        if (c == '"')
            in_string = !in_string;
        else if (c == '\\' && in_string && !buf_putc(out, value.data[++i]))
            return false;
    }
    return true;
}
