/* One pass over the text, no look-back. Invariants of the tree while it grows:
 *   - a table's `origin` says who may still add to it (see `enum origin`);
 *   - every table and array is reachable from the root exactly once;
 *   - a value is only handed out whole: after a failure the arena goes away with the document. */
#include "engine/program/toml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/base/utf8.h"

enum origin {
    ORIGIN_IMPLICIT, /* a parent that a [header] named on the way: may still be defined once */
    ORIGIN_HEADER,   /* defined by [header] or as an element of [[header]] */
    ORIGIN_DOTTED,   /* made by a dotted key: more dotted keys and sub-headers, no header */
    ORIGIN_INLINE,   /* { ... } or [ ... ]: closed for ever */
    ORIGIN_TABLES,   /* an array made by [[header]] */
};

struct parser {
    struct prog_toml *toml;
    const char *text;
    size_t bytes, at;
    struct report *report;
};

struct key {
    const char *data;
    size_t bytes;
    size_t offset;
};

struct key_path {
    struct key parts[PROG_TOML_DEPTH_MAX];
    uint32_t count;
};

/* ---- errors ------------------------------------------------------------------------------- */

void prog_toml_position(const struct prog_toml *toml, uint32_t offset, uint32_t *line,
                        uint32_t *column)
{
    *line = *column = 1;
    size_t at = 0;
    while (at < offset && at < toml->bytes) {
        if (toml->text[at] == '\n') {
            ++*line;
            *column = 1;
            at++;
            continue;
        }
        size_t step = utf8_sequence_bytes(toml->text + at, toml->bytes - at);
        at += step != 0 ? step : 1;
        ++*column;
    }
}

static enum err fail_at(struct parser *p, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err fail_at(struct parser *p, size_t offset, const char *format, ...)
{
    char what[400];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(what, sizeof what, format, list);
    va_end(list);
    uint32_t line, column;
    prog_toml_position(p->toml, (uint32_t)offset, &line, &column);
    return err_set(p->report, ERR_INVALID, "line %u, column %u: %s", line, column, what);
}

static enum err no_memory(struct parser *p)
{
    return err_set(p->report, ERR_MEMORY, "out of memory while reading TOML");
}

/* Names what stands at the cursor, for "expected X, found Y". */
static const char *found(const struct parser *p, char text[32])
{
    if (p->at >= p->bytes)
        return "the end of the file";
    unsigned char c = (unsigned char)p->text[p->at];
    if (c == '\n' || (c == '\r' && p->at + 1 < p->bytes && p->text[p->at + 1] == '\n'))
        return "the end of the line";
    if (c < 0x20 || c == 0x7F) {
        (void)snprintf(text, 32, "the control character 0x%02X", c);
        return text;
    }
    size_t step = utf8_sequence_bytes(p->text + p->at, p->bytes - p->at);
    (void)snprintf(text, 32, "'%.*s'", (int)step, p->text + p->at);
    return text;
}

static enum err fail_expected(struct parser *p, const char *expected)
{
    char text[32];
    return fail_at(p, p->at, "expected %s, found %s", expected, found(p, text));
}

const char *prog_toml_kind_name(enum prog_toml_kind kind)
{
    switch (kind) {
    case PROG_TOML_STRING: return "a string";
    case PROG_TOML_INTEGER: return "an integer";
    case PROG_TOML_FLOAT: return "a float";
    case PROG_TOML_BOOL: return "a boolean";
    case PROG_TOML_DATETIME:
    case PROG_TOML_DATETIME_LOCAL: return "a date and time";
    case PROG_TOML_DATE: return "a date";
    case PROG_TOML_TIME: return "a time";
    case PROG_TOML_ARRAY: return "an array";
    case PROG_TOML_TABLE: return "a table";
    }
    UNREACHABLE();
}

/* ---- tables and arrays -------------------------------------------------------------------- */

static struct prog_toml_value *new_value(struct parser *p, enum prog_toml_kind kind,
                                         enum origin origin, size_t offset)
{
    struct prog_toml_value *value = arena_calloc(&p->toml->arena, 1, sizeof *value);
    if (value == NULL)
        return NULL;
    value->kind = kind;
    value->origin = (uint8_t)origin;
    value->offset = (uint32_t)offset;
    return value;
}

static struct prog_toml_entry *find_entry(const struct prog_toml_value *table, const char *key,
                                          size_t bytes, uint32_t hash)
{
    if (table->of.table.bucket_count == 0)
        return NULL;
    uint32_t at = table->of.table.buckets[hash & (table->of.table.bucket_count - 1)];
    while (at != 0) {
        struct prog_toml_entry *entry = &table->of.table.entries[at - 1];
        if (entry->hash == hash && entry->key_bytes == bytes && memcmp(entry->key, key, bytes) == 0)
            return entry;
        at = entry->next;
    }
    return NULL;
}

/* Growing copies within the arena: what is left behind is at most as much as what lives. */
static bool grow_table(struct parser *p, struct prog_toml_value *table)
{
    uint32_t capacity = table->of.table.capacity == 0 ? 4 : table->of.table.capacity * 2;
    struct prog_toml_entry *entries = arena_calloc(&p->toml->arena, capacity, sizeof *entries);
    uint32_t *buckets = arena_calloc(&p->toml->arena, capacity, sizeof *buckets);
    if (entries == NULL || buckets == NULL)
        return false;
    for (uint32_t i = 0; i < table->of.table.count; i++) {
        entries[i] = table->of.table.entries[i];
        uint32_t *head = &buckets[entries[i].hash & (capacity - 1)];
        entries[i].next = *head;
        *head = i + 1;
    }
    table->of.table.entries = entries;
    table->of.table.buckets = buckets;
    table->of.table.capacity = table->of.table.bucket_count = capacity;
    return true;
}

static enum err add_entry(struct parser *p, struct prog_toml_value *table, const struct key *key,
                          struct prog_toml_value *value)
{
    if (value == NULL)
        return no_memory(p);
    if (table->of.table.count == table->of.table.capacity && !grow_table(p, table))
        return no_memory(p);
    uint32_t hash = (uint32_t)map_hash(key->data, key->bytes);
    uint32_t *head = &table->of.table.buckets[hash & (table->of.table.bucket_count - 1)];
    table->of.table.entries[table->of.table.count] = (struct prog_toml_entry){
        .key = key->data, .key_bytes = key->bytes, .value = value, .hash = hash, .next = *head};
    *head = ++table->of.table.count;
    return ERR_OK;
}

static struct prog_toml_value *find_key(const struct prog_toml_value *table, const struct key *key)
{
    struct prog_toml_entry *entry =
        find_entry(table, key->data, key->bytes, (uint32_t)map_hash(key->data, key->bytes));
    return entry == NULL ? NULL : entry->value;
}

const struct prog_toml_value *prog_toml_find(const struct prog_toml_value *table, const char *key)
{
    CHECK(table->kind == PROG_TOML_TABLE);
    return find_key(table, &(struct key){.data = key, .bytes = strlen(key)});
}

static enum err add_item(struct parser *p, struct prog_toml_value *array,
                         struct prog_toml_value *item)
{
    if (item == NULL)
        return no_memory(p);
    if (array->of.array.count == array->of.array.capacity) {
        uint32_t capacity = array->of.array.capacity == 0 ? 4 : array->of.array.capacity * 2;
        struct prog_toml_value **items = arena_calloc(&p->toml->arena, capacity, sizeof *items);
        if (items == NULL)
            return no_memory(p);
        for (uint32_t i = 0; i < array->of.array.count; i++)
            items[i] = array->of.array.items[i];
        array->of.array.items = items;
        array->of.array.capacity = capacity;
    }
    array->of.array.items[array->of.array.count++] = item;
    return ERR_OK;
}

/* ---- characters --------------------------------------------------------------------------- */

static int peek(const struct parser *p)
{
    return p->at < p->bytes ? (unsigned char)p->text[p->at] : -1;
}

static bool at_newline(const struct parser *p)
{
    int c = peek(p);
    return c == '\n' || (c == '\r' && p->at + 1 < p->bytes && p->text[p->at + 1] == '\n');
}

static void skip_newline(struct parser *p)
{
    p->at += p->text[p->at] == '\r' ? 2 : 1;
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->bytes && (p->text[p->at] == ' ' || p->text[p->at] == '\t'))
        p->at++;
}

static bool is_control(int c)
{
    return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7F;
}

static enum err skip_comment(struct parser *p)
{
    if (peek(p) != '#')
        return ERR_OK;
    while (p->at < p->bytes && !at_newline(p)) {
        if (is_control(peek(p)))
            return fail_expected(p, "printable text in a comment");
        p->at++;
    }
    return ERR_OK;
}

static enum err end_line(struct parser *p, const char *after)
{
    skip_blanks(p);
    enum err err = skip_comment(p);
    if (err != ERR_OK)
        return err;
    if (p->at < p->bytes && !at_newline(p)) {
        char expected[80];
        (void)snprintf(expected, sizeof expected, "the end of the line after %s", after);
        return fail_expected(p, expected);
    }
    if (p->at < p->bytes)
        skip_newline(p);
    return ERR_OK;
}

/* Blanks, newlines and comments, as between the items of an array. */
static enum err skip_space(struct parser *p)
{
    for (;;) {
        skip_blanks(p);
        if (peek(p) == '#') {
            enum err err = skip_comment(p);
            if (err != ERR_OK)
                return err;
        } else if (at_newline(p)) {
            skip_newline(p);
        } else {
            return ERR_OK;
        }
    }
}

/* ---- strings ------------------------------------------------------------------------------ */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* After the backslash; writes 1 to 4 bytes. */
static enum err parse_escape(struct parser *p, char *out, size_t *written)
{
    size_t begin = p->at - 1;
    int c = peek(p);
    p->at++;
    *written = 1;
    switch (c) {
    case 'b': *out = '\b'; return ERR_OK;
    case 't': *out = '\t'; return ERR_OK;
    case 'n': *out = '\n'; return ERR_OK;
    case 'f': *out = '\f'; return ERR_OK;
    case 'r': *out = '\r'; return ERR_OK;
    case '"': *out = '"'; return ERR_OK;
    case '\\': *out = '\\'; return ERR_OK;
    case 'u':
    case 'U': break;
    default:
        return fail_at(p, begin,
                       "expected an escape sequence (\\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX "
                       "\\UXXXXXXXX); write \\\\ for a backslash");
    }
    uint32_t code = 0;
    for (int left = c == 'u' ? 4 : 8; left > 0; left--, p->at++) {
        int digit = hex_digit(peek(p));
        if (digit < 0)
            return fail_expected(p, "a hexadecimal digit");
        code = code << 4 | (uint32_t)digit;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return fail_at(p, begin, "U+%04X is not a Unicode scalar value", code);
    *written = utf8_put(code, out);
    return ERR_OK;
}

/* A backslash at the end of a line swallows it and the white space behind it. */
static bool skip_line_end(struct parser *p)
{
    struct parser ahead = *p;
    ahead.at++;
    skip_blanks(&ahead);
    if (!at_newline(&ahead))
        return false;
    p->at = ahead.at;
    while (at_newline(p) || peek(p) == ' ' || peek(p) == '\t') {
        if (at_newline(p))
            skip_newline(p);
        else
            p->at++;
    }
    return true;
}

/* At the opening quote. `multiline` is what the caller allows: keys are on one line. */
static enum err parse_string(struct parser *p, bool multiline, const char **data, size_t *bytes)
{
    size_t begin = p->at;
    char quote = p->text[p->at];
    bool literal = quote == '\'';
    bool tripled =
        p->bytes - p->at >= 3 && p->text[p->at + 1] == quote && p->text[p->at + 2] == quote;
    if (tripled && !multiline)
        return fail_at(p, p->at, "expected a key on one line, found a multi-line string");
    p->at += tripled ? 3 : 1;
    if (tripled && at_newline(p))
        skip_newline(p);

    char *out = NULL;
    size_t count = 0, capacity = 0, extra_quotes = 0;
    for (;;) {
        if (p->at >= p->bytes || (!tripled && at_newline(p)))
            return fail_at(p, begin, "this string is not closed: expected %s%c before %s",
                           tripled ? (literal ? "''" : "\"\"") : "", quote,
                           p->at >= p->bytes ? "the end of the file" : "the end of the line");
        char put[4];
        size_t put_bytes = 1;
        if (p->text[p->at] == quote) {
            size_t run = 1;
            while (run < 5 && p->at + run < p->bytes && p->text[p->at + run] == quote)
                run++;
            if (!tripled) {
                p->at++;
                break;
            }
            if (run >= 3) { /* up to two quotes may stand right before the closing three */
                extra_quotes = run - 3;
                p->at += run;
                break;
            }
            put[0] = quote;
            p->at++;
        } else if (!literal && p->text[p->at] == '\\') {
            if (tripled && skip_line_end(p))
                continue;
            p->at++;
            enum err err = parse_escape(p, put, &put_bytes);
            if (err != ERR_OK)
                return err;
        } else if (tripled && at_newline(p)) {
            /* kept as written: CRLF stays CRLF */
            put_bytes = p->text[p->at] == '\r' ? 2 : 1;
            memcpy(put, p->text + p->at, put_bytes);
            p->at += put_bytes;
        } else if (is_control(peek(p))) {
            return fail_expected(p, literal ? "printable text in a string"
                                            : "printable text in a string (write \\n, \\u0000 ... "
                                              "for control characters)");
        } else {
            put[0] = p->text[p->at++];
        }
        if (capacity - count < put_bytes) {
            size_t wider = capacity == 0 ? 64 : capacity * 2;
            char *grown = arena_alloc(&p->toml->arena, wider);
            if (grown == NULL)
                return no_memory(p);
            if (count != 0)
                memcpy(grown, out, count);
            out = grown;
            capacity = wider;
        }
        memcpy(out + count, put, put_bytes);
        count += put_bytes;
    }
    char *whole = arena_alloc(&p->toml->arena, count + extra_quotes + 1);
    if (whole == NULL)
        return no_memory(p);
    if (count != 0)
        memcpy(whole, out, count);
    memset(whole + count, quote, extra_quotes);
    *bytes = count + extra_quotes;
    whole[*bytes] = 0;
    *data = whole;
    return ERR_OK;
}

/* ---- keys --------------------------------------------------------------------------------- */

static bool is_bare(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* A key with its dots; the blanks behind it are skipped. */
static enum err parse_key(struct parser *p, struct key_path *path)
{
    path->count = 0;
    for (;;) {
        skip_blanks(p);
        if (path->count == PROG_TOML_DEPTH_MAX)
            return fail_at(p, p->at, "expected at most %d parts in a key", PROG_TOML_DEPTH_MAX);
        struct key *key = &path->parts[path->count++];
        key->offset = p->at;
        int c = peek(p);
        if (c == '"' || c == '\'') {
            enum err err = parse_string(p, false, &key->data, &key->bytes);
            if (err != ERR_OK)
                return err;
        } else {
            while (is_bare(peek(p)))
                p->at++;
            if (p->at == key->offset)
                return fail_expected(p, "a key");
            key->bytes = p->at - key->offset;
            key->data = arena_strdup(&p->toml->arena, p->text + key->offset, key->bytes);
            if (key->data == NULL)
                return no_memory(p);
        }
        skip_blanks(p);
        if (peek(p) != '.')
            return ERR_OK;
        p->at++;
    }
}

static enum err fail_defined(struct parser *p, const struct key *key,
                             const struct prog_toml_value *value)
{
    uint32_t line, column;
    prog_toml_position(p->toml, value->offset, &line, &column);
    return fail_at(p, key->offset, "\"%.60s\" is already defined as %s on line %u", key->data,
                   prog_toml_kind_name(value->kind), line);
}

/* ---- numbers, dates ----------------------------------------------------------------------- */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* Reads exactly `count` digits; -1 when they are not there. */
static int fixed_digits(const char *text, size_t bytes, size_t *at, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++, ++*at) {
        if (*at >= bytes || !is_digit(text[*at]))
            return -1;
        number = number * 10 + (text[*at] - '0');
    }
    return number;
}

static bool take(const char *text, size_t bytes, size_t *at, const char *one_of)
{
    if (*at >= bytes || strchr(one_of, text[*at]) == NULL)
        return false;
    ++*at;
    return true;
}

static bool scan_date(const char *text, size_t bytes, size_t *at)
{
    int year = fixed_digits(text, bytes, at, 4);
    if (year < 0 || !take(text, bytes, at, "-"))
        return false;
    int month = fixed_digits(text, bytes, at, 2);
    if (month < 1 || month > 12 || !take(text, bytes, at, "-"))
        return false;
    int day = fixed_digits(text, bytes, at, 2);
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] && !(month == 2 && day == 29 && !leap);
}

static bool scan_time(const char *text, size_t bytes, size_t *at)
{
    int hour = fixed_digits(text, bytes, at, 2);
    if (hour < 0 || hour > 23 || !take(text, bytes, at, ":"))
        return false;
    int minute = fixed_digits(text, bytes, at, 2);
    if (minute < 0 || minute > 59 || !take(text, bytes, at, ":"))
        return false;
    int second = fixed_digits(text, bytes, at, 2);
    if (second < 0 || second > 60)
        return false; /* 60: a leap second */
    if (take(text, bytes, at, ".")) {
        size_t begin = *at;
        while (*at < bytes && is_digit(text[*at]))
            ++*at;
        if (*at == begin)
            return false;
    }
    return true;
}

static bool scan_offset(const char *text, size_t bytes, size_t *at)
{
    if (take(text, bytes, at, "Zz"))
        return true;
    if (!take(text, bytes, at, "+-"))
        return false;
    int hour = fixed_digits(text, bytes, at, 2);
    if (hour < 0 || hour > 23 || !take(text, bytes, at, ":"))
        return false;
    int minute = fixed_digits(text, bytes, at, 2);
    return minute >= 0 && minute <= 59;
}

/* True when the whole word is a date, a time or both; `kind` says which. */
static bool scan_moment(const char *text, size_t bytes, enum prog_toml_kind *kind)
{
    size_t at = 0;
    if (bytes >= 3 && text[2] == ':') {
        *kind = PROG_TOML_TIME;
        return scan_time(text, bytes, &at) && at == bytes;
    }
    *kind = PROG_TOML_DATE;
    if (!scan_date(text, bytes, &at))
        return false;
    if (at == bytes)
        return true;
    *kind = PROG_TOML_DATETIME_LOCAL;
    if (!take(text, bytes, &at, "Tt ") || !scan_time(text, bytes, &at))
        return false;
    if (at == bytes)
        return true;
    *kind = PROG_TOML_DATETIME;
    return scan_offset(text, bytes, &at) && at == bytes;
}

/* Digits with single underscores between them; copied without them. False when there is none, or
 * an underscore does not stand between two digits. */
static bool scan_digits(const char *text, size_t bytes, size_t *at, int base, char *out,
                        size_t *out_bytes)
{
    size_t begin = *at;
    bool digit_before = false;
    for (; *at < bytes; ++*at) {
        int value = hex_digit(text[*at]);
        if (value >= 0 && value < base) {
            out[(*out_bytes)++] = text[*at];
            digit_before = true;
        } else if (text[*at] == '_' && digit_before) {
            digit_before = false;
        } else {
            break;
        }
    }
    return *at != begin && digit_before;
}

enum { NUMBER_BYTES_MAX = 400 };

/* `out` gets the C spelling of the number; false when the word is none. */
static bool scan_number(const char *text, size_t bytes, enum prog_toml_kind *kind, int *base,
                        char out[NUMBER_BYTES_MAX + 1])
{
    if (bytes == 0 || bytes > NUMBER_BYTES_MAX)
        return false;
    size_t at = 0, count = 0;
    *kind = PROG_TOML_INTEGER;
    *base = 10;
    if (bytes > 2 && text[0] == '0' && strchr("xob", text[1]) != NULL) {
        *base = text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : 2;
        at = 2;
        if (!scan_digits(text, bytes, &at, *base, out, &count) || at != bytes)
            return false;
        out[count] = 0;
        return true;
    }
    if (text[0] == '+' || text[0] == '-')
        out[count++] = text[at++];
    size_t first = count;
    if (bytes - at == 3 && (memcmp(text + at, "inf", 3) == 0 || memcmp(text + at, "nan", 3) == 0)) {
        *kind = PROG_TOML_FLOAT;
        memcpy(out + count, text + at, 3);
        out[count + 3] = 0;
        return true;
    }
    if (!scan_digits(text, bytes, &at, 10, out, &count))
        return false;
    if (count - first > 1 && out[first] == '0')
        return false; /* no leading zeros */
    if (at < bytes && text[at] == '.') {
        *kind = PROG_TOML_FLOAT;
        out[count++] = text[at++];
        if (!scan_digits(text, bytes, &at, 10, out, &count))
            return false;
    }
    if (at < bytes && (text[at] == 'e' || text[at] == 'E')) {
        *kind = PROG_TOML_FLOAT;
        out[count++] = text[at++];
        if (at < bytes && (text[at] == '+' || text[at] == '-'))
            out[count++] = text[at++];
        if (!scan_digits(text, bytes, &at, 10, out, &count))
            return false;
    }
    out[count] = 0;
    return at == bytes;
}

/* Everything that is neither string, array nor table: a word up to a separator. */
static enum err parse_word(struct parser *p, struct prog_toml_value **out)
{
    size_t begin = p->at;
    while (is_bare(peek(p)) || peek(p) == '+' || peek(p) == '.' || peek(p) == ':')
        p->at++;
    /* "1979-05-27 07:32:00": a date may have its time behind one blank. */
    if (p->at - begin == 10 && p->text[begin + 4] == '-' && p->at + 1 < p->bytes &&
        p->text[p->at] == ' ' && is_digit(p->text[p->at + 1])) {
        p->at++;
        while (is_bare(peek(p)) || peek(p) == '+' || peek(p) == '.' || peek(p) == ':')
            p->at++;
    }
    const char *text = p->text + begin;
    size_t bytes = p->at - begin;
    if (bytes == 0)
        return fail_expected(p, "a value");

    struct prog_toml_value *value = new_value(p, PROG_TOML_BOOL, ORIGIN_INLINE, begin);
    if (value == NULL)
        return no_memory(p);
    *out = value;
    char number[NUMBER_BYTES_MAX + 1];
    int base;
    if (bytes == 4 && memcmp(text, "true", 4) == 0) {
        value->of.boolean = true;
        return ERR_OK;
    }
    if (bytes == 5 && memcmp(text, "false", 5) == 0)
        return ERR_OK;
    if (scan_number(text, bytes, &value->kind, &base, number)) {
        errno = 0;
        if (value->kind == PROG_TOML_FLOAT) {
            value->of.number = strtod(number, NULL);
            return ERR_OK;
        }
        value->of.integer = strtoll(number, NULL, base);
        if (errno == ERANGE)
            return fail_at(p, begin, "the integer %.40s does not fit in 64 bits", number);
        return ERR_OK;
    }
    if (scan_moment(text, bytes, &value->kind)) {
        value->of.string.data = arena_strdup(&p->toml->arena, text, bytes);
        value->of.string.bytes = bytes;
        return value->of.string.data == NULL ? no_memory(p) : ERR_OK;
    }
    return fail_at(p, begin,
                   "expected a value (a quoted string, number, true, false, date, array or inline "
                   "table), found %.*s",
                   (int)(bytes < 40 ? bytes : 40), text);
}

/* ---- values ------------------------------------------------------------------------------- */

static enum err parse_value(struct parser *p, int depth, struct prog_toml_value **out);
static enum err parse_pair(struct parser *p, struct prog_toml_value *table, int depth);

static enum err parse_array(struct parser *p, int depth, struct prog_toml_value *array)
{
    p->at++;
    for (;;) {
        enum err err = skip_space(p);
        if (err != ERR_OK)
            return err;
        if (peek(p) == ']')
            break;
        struct prog_toml_value *item;
        err = parse_value(p, depth + 1, &item);
        if (err == ERR_OK)
            err = add_item(p, array, item);
        if (err == ERR_OK)
            err = skip_space(p);
        if (err != ERR_OK)
            return err;
        if (peek(p) == ']')
            break;
        if (peek(p) != ',')
            return fail_expected(p, "',' or ']' in an array");
        p->at++;
    }
    p->at++;
    return ERR_OK;
}

static enum err parse_inline_table(struct parser *p, int depth, struct prog_toml_value *table)
{
    /* While it is being read it is open; closed at the end. */
    table->origin = ORIGIN_HEADER;
    p->at++;
    skip_blanks(p);
    if (peek(p) == '}') {
        p->at++;
        table->origin = ORIGIN_INLINE;
        return ERR_OK;
    }
    for (;;) {
        enum err err = parse_pair(p, table, depth + 1);
        if (err != ERR_OK)
            return err;
        skip_blanks(p);
        int c = peek(p);
        if (c != '}' && c != ',')
            return fail_expected(p, "',' or '}' in an inline table");
        p->at++;
        if (c == '}')
            break;
        skip_blanks(p);
        if (peek(p) == '}')
            return fail_expected(p, "a key after ',' in an inline table");
    }
    table->origin = ORIGIN_INLINE;
    return ERR_OK;
}

static enum err parse_value(struct parser *p, int depth, struct prog_toml_value **out)
{
    if (depth > PROG_TOML_DEPTH_MAX)
        return fail_at(p, p->at, "arrays and inline tables are nested deeper than %d",
                       PROG_TOML_DEPTH_MAX);
    int c = peek(p);
    if (c == '"' || c == '\'') {
        struct prog_toml_value *value = new_value(p, PROG_TOML_STRING, ORIGIN_INLINE, p->at);
        if (value == NULL)
            return no_memory(p);
        *out = value;
        return parse_string(p, true, &value->of.string.data, &value->of.string.bytes);
    }
    if (c == '[' || c == '{') {
        struct prog_toml_value *value =
            new_value(p, c == '[' ? PROG_TOML_ARRAY : PROG_TOML_TABLE, ORIGIN_INLINE, p->at);
        if (value == NULL)
            return no_memory(p);
        *out = value;
        return c == '[' ? parse_array(p, depth, value) : parse_inline_table(p, depth, value);
    }
    return parse_word(p, out);
}

/* key = value, into `table`. */
static enum err parse_pair(struct parser *p, struct prog_toml_value *table, int depth)
{
    struct key_path path;
    enum err err = parse_key(p, &path);
    if (err != ERR_OK)
        return err;
    if (peek(p) != '=')
        return fail_expected(p, "'=' or '.' after a key");
    p->at++;
    skip_blanks(p);
    for (uint32_t i = 0; i + 1 < path.count; i++) {
        struct prog_toml_value *next = find_key(table, &path.parts[i]);
        if (next == NULL) {
            next = new_value(p, PROG_TOML_TABLE, ORIGIN_DOTTED, path.parts[i].offset);
            err = add_entry(p, table, &path.parts[i], next);
            if (err != ERR_OK)
                return err;
        } else if (next->kind != PROG_TOML_TABLE ||
                   (next->origin != ORIGIN_DOTTED && next->origin != ORIGIN_IMPLICIT)) {
            return fail_defined(p, &path.parts[i], next);
        }
        next->origin = ORIGIN_DOTTED;
        table = next;
    }
    const struct key *last = &path.parts[path.count - 1];
    const struct prog_toml_value *before = find_key(table, last);
    if (before != NULL)
        return fail_defined(p, last, before);
    struct prog_toml_value *value = NULL;
    err = parse_value(p, depth, &value);
    return err == ERR_OK ? add_entry(p, table, last, value) : err;
}

/* ---- documents ---------------------------------------------------------------------------- */

/* [a.b] or [[a.b]]; `table` becomes the one that the following lines fill. */
static enum err parse_header(struct parser *p, struct prog_toml_value **table)
{
    p->at++;
    bool array = peek(p) == '[';
    if (array)
        p->at++;
    struct key_path path;
    enum err err = parse_key(p, &path);
    if (err != ERR_OK)
        return err;
    if (peek(p) != ']')
        return fail_expected(p, "']' or '.' in a table header");
    p->at++;
    if (array) {
        if (peek(p) != ']')
            return fail_expected(p, "']]' at the end of the header");
        p->at++;
    }

    struct prog_toml_value *here = p->toml->root;
    for (uint32_t i = 0; i + 1 < path.count; i++) {
        struct prog_toml_value *next = find_key(here, &path.parts[i]);
        if (next == NULL) {
            next = new_value(p, PROG_TOML_TABLE, ORIGIN_IMPLICIT, path.parts[i].offset);
            err = add_entry(p, here, &path.parts[i], next);
            if (err != ERR_OK)
                return err;
        } else if (next->kind == PROG_TOML_ARRAY && next->origin == ORIGIN_TABLES) {
            next = next->of.array.items[next->of.array.count - 1];
        } else if (next->kind != PROG_TOML_TABLE || next->origin == ORIGIN_INLINE) {
            return fail_defined(p, &path.parts[i], next);
        }
        here = next;
    }
    const struct key *last = &path.parts[path.count - 1];
    struct prog_toml_value *before = find_key(here, last);
    if (!array && before != NULL) {
        if (before->kind != PROG_TOML_TABLE || before->origin != ORIGIN_IMPLICIT)
            return fail_defined(p, last, before);
        before->origin = ORIGIN_HEADER;
        before->offset = (uint32_t)last->offset;
        *table = before;
        return end_line(p, "a table header");
    }
    struct prog_toml_value *made = new_value(p, PROG_TOML_TABLE, ORIGIN_HEADER, last->offset);
    if (made == NULL)
        return no_memory(p);
    if (array) {
        if (before == NULL) {
            before = new_value(p, PROG_TOML_ARRAY, ORIGIN_TABLES, last->offset);
            err = add_entry(p, here, last, before);
            if (err != ERR_OK)
                return err;
        } else if (before->kind != PROG_TOML_ARRAY || before->origin != ORIGIN_TABLES) {
            return fail_defined(p, last, before);
        }
        err = add_item(p, before, made);
    } else {
        err = add_entry(p, here, last, made);
    }
    if (err != ERR_OK)
        return err;
    *table = made;
    return end_line(p, "a table header");
}

static enum err parse_document(struct parser *p)
{
    size_t at = 0;
    while (at < p->bytes) {
        size_t step = utf8_sequence_bytes(p->text + at, p->bytes - at);
        if (step == 0)
            return fail_at(p, at, "expected UTF-8 text, found the byte 0x%02X",
                           (unsigned char)p->text[at]);
        at += step;
    }
    if (p->bytes >= 3 && memcmp(p->text, "\xEF\xBB\xBF", 3) == 0)
        p->at = 3;

    struct prog_toml_value *table = p->toml->root;
    for (;;) {
        enum err err = skip_space(p);
        if (err != ERR_OK)
            return err;
        if (p->at >= p->bytes)
            return ERR_OK;
        if (peek(p) == '[') {
            err = parse_header(p, &table);
        } else {
            err = parse_pair(p, table, 0);
            if (err == ERR_OK)
                err = end_line(p, "a value");
        }
        if (err != ERR_OK)
            return err;
    }
}

enum err prog_toml_parse(const char *text, size_t bytes, struct mem_heap *heap,
                         struct prog_toml *toml, struct report *report)
{
    *toml = (struct prog_toml){0};
    if (bytes > PROG_TOML_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "the TOML text has %zu bytes; at most %d are read", bytes,
                       PROG_TOML_BYTES_MAX);
    arena_init(&toml->arena, heap);
    struct parser p = {.toml = toml, .bytes = bytes, .report = report};
    enum err err = ERR_OK;
    toml->text = p.text = arena_strdup(&toml->arena, text, bytes);
    toml->bytes = bytes;
    toml->root = new_value(&p, PROG_TOML_TABLE, ORIGIN_HEADER, 0);
    if (toml->text == NULL || toml->root == NULL)
        err = no_memory(&p);
    else
        err = parse_document(&p);
    if (err != ERR_OK)
        prog_toml_deinit(toml);
    return err;
}

void prog_toml_deinit(struct prog_toml *toml)
{
    arena_deinit(&toml->arena);
    *toml = (struct prog_toml){0};
}
