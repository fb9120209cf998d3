/* Parameters: a reader for the top-level members of one JSON object (RFC 8259). Nested values are
 * skipped, with a bound on their depth. */
#include "inferlet.h"

int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);

enum { DEPTH_MAX = 64 };

struct reader {
    struct pie_text text;
    size_t at;
};

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->text.bytes) {
        char c = reader->text.data[reader->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        reader->at++;
    }
}

static int peek(struct reader *reader)
{
    skip_space(reader);
    return reader->at < reader->text.bytes ? (unsigned char)reader->text.data[reader->at] : -1;
}

static bool eat(struct reader *reader, char c)
{
    if (peek(reader) != c)
        return false;
    reader->at++;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool hex4(struct reader *reader, uint32_t *value)
{
    *value = 0;
    if (reader->text.bytes - reader->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(reader->text.data[reader->at++]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

static void put_utf8(struct pie_buf *out, uint32_t c)
{
    char bytes[4];
    size_t count;
    if (c < 0x80) {
        bytes[0] = (char)c;
        count = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xC0 | c >> 6);
        bytes[1] = (char)(0x80 | (c & 0x3F));
        count = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xE0 | c >> 12);
        bytes[1] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (c & 0x3F));
        count = 3;
    } else {
        bytes[0] = (char)(0xF0 | c >> 18);
        bytes[1] = (char)(0x80 | (c >> 12 & 0x3F));
        bytes[2] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[3] = (char)(0x80 | (c & 0x3F));
        count = 4;
    }
    pie_buf_append(out, bytes, count);
}

static bool read_escape(struct reader *reader, struct pie_buf *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (reader->at >= reader->text.bytes)
        return false;
    char c = reader->text.data[reader->at++];
    if (c == 'u') {
        uint32_t high;
        uint32_t low;
        if (!hex4(reader, &high))
            return false;
        if (high >= 0xD800 && high < 0xDC00) {
            if (reader->text.bytes - reader->at < 2 || reader->text.data[reader->at] != '\\' ||
                reader->text.data[reader->at + 1] != 'u')
                return false;
            reader->at += 2;
            if (!hex4(reader, &low) || low < 0xDC00 || low > 0xDFFF)
                return false;
            high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        } else if (high >= 0xDC00 && high <= 0xDFFF) {
            return false;
        }
        put_utf8(out, high);
        return true;
    }
    for (size_t i = 0; from[i]; i++)
        if (from[i] == c) {
            pie_buf_append(out, &to[i], 1);
            return true;
        }
    return false;
}

static bool read_string(struct reader *reader, struct pie_buf *out)
{
    if (!eat(reader, '"'))
        return false;
    while (reader->at < reader->text.bytes) {
        char c = reader->text.data[reader->at++];
        if (c == '"')
            return true;
        if ((unsigned char)c < 0x20)
            return false;
        if (c == '\\') {
            if (!read_escape(reader, out))
                return false;
        } else {
            pie_buf_append(out, &c, 1);
        }
    }
    return false;
}

/* Skips one value; `raw` is its text. Containers are skipped by counting brackets, strings inside
 * them are honoured. */
static bool skip_value(struct reader *reader, struct pie_text *raw)
{
    int depth = 0;
    (void)peek(reader);
    size_t begin = reader->at;
    do {
        int c = peek(reader);
        if (c < 0)
            return false;
        if (c == '"') {
            struct pie_buf ignored = {0};
            bool ok = read_string(reader, &ignored);
            pie_buf_free(&ignored);
            if (!ok)
                return false;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX)
                return false;
            reader->at++;
        } else if (c == '}' || c == ']') {
            if (--depth < 0)
                return false;
            reader->at++;
        } else if (c == ',' || c == ':') {
            if (depth == 0)
                return false;
            reader->at++;
        } else {
            size_t word = reader->at;
            while (reader->at < reader->text.bytes) {
                char d = reader->text.data[reader->at];
                if (!((d >= '0' && d <= '9') || (d >= 'a' && d <= 'z') || d == '-' || d == '+' ||
                      d == '.' || d == 'E'))
                    break;
                reader->at++;
            }
            if (reader->at == word)
                return false;
        }
    } while (depth > 0);
    *raw = (struct pie_text){reader->text.data + begin, reader->at - begin};
    return true;
}

enum found { MALFORMED, ABSENT, FOUND };

/* The last member with this name wins, as in most JSON readers. */
static enum found find_member(struct pie_text input, const char *name, struct pie_text *value)
{
    struct reader reader = {.text = input};
    enum found found = ABSENT;
    if (peek(&reader) < 0)
        return ABSENT; /* no input at all: all parameters are absent */
    if (!eat(&reader, '{'))
        return MALFORMED;
    if (eat(&reader, '}'))
        return peek(&reader) < 0 ? ABSENT : MALFORMED;
    do {
        struct pie_buf key = {0};
        struct pie_text raw;
        (void)peek(&reader);
        bool ok = read_string(&reader, &key) && eat(&reader, ':') && skip_value(&reader, &raw);
        if (ok && key.bytes == strlen(name) && memcmp(key.data, name, key.bytes) == 0) {
            *value = raw;
            found = FOUND;
        }
        pie_buf_free(&key);
        if (!ok)
            return MALFORMED;
    } while (eat(&reader, ','));
    if (!eat(&reader, '}') || peek(&reader) >= 0)
        return MALFORMED;
    return found;
}

static bool is_null(struct pie_text raw)
{
    return raw.bytes == 4 && memcmp(raw.data, "null", 4) == 0;
}

static bool wrong(const char *name, const char *expected)
{
    struct pie_buf text = {0};
    pie_buf_puts(&text, "parameter '");
    pie_buf_puts(&text, name);
    pie_buf_puts(&text, "' must be ");
    pie_buf_puts(&text, expected);
    pie_buf_append(&text, "", 1);
    (void)pie_fail(text.data);
    pie_buf_free(&text);
    return false;
}

static bool not_an_object(void)
{
    return pie_fail("the input is not a JSON object");
}

bool pie_param_has(struct pie_text input, const char *name)
{
    struct pie_text raw;
    return find_member(input, name, &raw) == FOUND && !is_null(raw);
}

bool pie_param_text(struct pie_text input, const char *name, const char *fallback,
                    struct pie_buf *value)
{
    struct pie_text raw;
    enum found found = find_member(input, name, &raw);
    if (found == MALFORMED)
        return not_an_object();
    if (found == ABSENT || is_null(raw)) {
        pie_buf_puts(value, fallback);
        return true;
    }
    if (raw.data[0] == '"') {
        struct reader reader = {.text = raw};
        return read_string(&reader, value);
    }
    if (raw.data[0] == '{' || raw.data[0] == '[')
        return wrong(name, "a text");
    pie_buf_append(value, raw.data, raw.bytes);
    return true;
}

static bool read_number(struct pie_text text, double *value)
{
    size_t at = 0;
    bool negative = false;
    bool digits = false;
    double result = 0;
    if (at < text.bytes && (text.data[at] == '-' || text.data[at] == '+'))
        negative = text.data[at++] == '-';
    for (; at < text.bytes && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        result = result * 10 + (text.data[at] - '0');
        digits = true;
    }
    if (at < text.bytes && text.data[at] == '.') {
        double scale = 1;
        for (at++; at < text.bytes && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
            result = result * 10 + (text.data[at] - '0');
            scale *= 10;
            digits = true;
        }
        result /= scale;
    }
    if (digits && at < text.bytes && (text.data[at] == 'e' || text.data[at] == 'E')) {
        int exponent = 0;
        bool down = false;
        bool exponent_digits = false;
        at++;
        if (at < text.bytes && (text.data[at] == '-' || text.data[at] == '+'))
            down = text.data[at++] == '-';
        for (; at < text.bytes && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
            if (exponent < 400)
                exponent = exponent * 10 + (text.data[at] - '0');
            exponent_digits = true;
        }
        if (!exponent_digits)
            return false;
        for (int i = 0; i < exponent; i++)
            result = down ? result / 10 : result * 10;
    }
    *value = negative ? -result : result;
    return digits && at == text.bytes && result - result == 0; /* neither infinite nor inf / inf */
}

bool pie_param_f64(struct pie_text input, const char *name, double fallback, double *value)
{
    struct pie_text raw;
    enum found found = find_member(input, name, &raw);
    *value = fallback;
    if (found == MALFORMED)
        return not_an_object();
    if (found == ABSENT || is_null(raw))
        return true;
    if (raw.data[0] == '"') { /* quoted by a shell or a form */
        raw.data++;
        raw.bytes -= 2;
    }
    return read_number(raw, value) ? true : wrong(name, "a number");
}

bool pie_param_u32(struct pie_text input, const char *name, uint32_t fallback, uint32_t *value)
{
    double number;
    if (!pie_param_f64(input, name, fallback, &number))
        return false;
    if (!(number >= 0 && number <= 4294967295.0) || number != (double)(uint32_t)number)
        return wrong(name, "a whole number from 0 to 4294967295");
    *value = (uint32_t)number;
    return true;
}

bool pie_param_bool(struct pie_text input, const char *name, bool fallback, bool *value)
{
    struct pie_text raw;
    enum found found = find_member(input, name, &raw);
    *value = fallback;
    if (found == MALFORMED)
        return not_an_object();
    if (found == ABSENT || is_null(raw))
        return true;
    if (raw.bytes == 4 && memcmp(raw.data, "true", 4) == 0)
        *value = true;
    else if (raw.bytes == 5 && memcmp(raw.data, "false", 5) == 0)
        *value = false;
    else
        return wrong(name, "true or false");
    return true;
}
