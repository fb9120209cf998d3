/* Reading regular expressions: JavaScript's syntax as far as it describes regular languages. The
 * match is always of the whole text; ^ and $ are accepted and mean nothing more. */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/grammar/ast.h"

#define SOURCE_BYTES_MAX ((size_t)1 << 20)

struct ranges {
    struct ast_range *items;
    size_t count, capacity;
};

struct reader {
    struct ast *ast;
    const char *text;
    size_t bytes, at;
    unsigned depth;
    bool in_json;
    struct report *report;
    enum err err;
};

static const struct ast_range digit_ranges[] = {{'0', '9'}};
static const struct ast_range word_ranges[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct ast_range space_ranges[] = {
    {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

static uint32_t failed(struct reader *r, enum err err, const char *what)
{
    if (r->err == ERR_OK)
        r->err = err_set(r->report, err, "Regular expression, at byte %zu: %s", r->at, what);
    return AST_NONE;
}

static char peek(const struct reader *r)
{
    return r->at < r->bytes ? r->text[r->at] : '\0';
}

static bool add_range(struct reader *r, struct ranges *ranges, uint32_t first, uint32_t last)
{
    if (vec_push(NULL, ranges, (struct ast_range){first, last}))
        return true;
    (void)failed(r, ERR_MEMORY, "out of memory");
    return false;
}

/* All of `from`, or all but it; `from` is sorted. */
static bool add_ranges(struct reader *r, struct ranges *ranges, const struct ast_range *from,
                       size_t count, bool negated)
{
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!negated) {
            if (!add_range(r, ranges, from[i].first, from[i].last))
                return false;
        } else {
            if (from[i].first > next && !add_range(r, ranges, next, from[i].first - 1))
                return false;
            next = from[i].last + 1;
        }
    }
    return !negated || add_range(r, ranges, next, 0x10FFFF);
}

static bool read_hex(struct reader *r, int digits, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        char c = peek(r);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            (void)failed(r, ERR_INVALID, "expected hexadecimal digits");
            return false;
        }
        *value = *value * 16 + (uint32_t)digit;
    }
    return true;
}

/* Behind a backslash. A class escape adds its ranges and sets *is_class, others give one character.
 */
static bool read_escape(struct reader *r, struct ranges *ranges, bool *is_class, uint32_t *point)
{
    static const char from[] = "ntrfv", to[] = "\n\t\r\f\v";
    char c = peek(r);
    *is_class = false;
    if (r->at >= r->bytes)
        return failed(r, ERR_INVALID, "a backslash ends it"), false;
    if (strchr("dDwWsS", c)) {
        *is_class = true;
        r->at++;
        bool negated = c < 'a';
        if (c == 'd' || c == 'D')
            return add_ranges(r, ranges, digit_ranges, 1, negated);
        if (c == 'w' || c == 'W')
            return add_ranges(r, ranges, word_ranges, 4, negated);
        return add_ranges(r, ranges, space_ranges, sizeof space_ranges / sizeof *space_ranges,
                          negated);
    }
    if (c == 'b' || c == 'B' || c == 'p' || c == 'P' || c == 'k' || (c >= '1' && c <= '9'))
        return failed(r, ERR_UNSUPPORTED, "\\b, \\p, \\k and back references are not supported"),
               false;
    r->at++;
    const char *found = strchr(from, c);
    if (c == 'x')
        return read_hex(r, 2, point);
    if (c == 'u' && peek(r) == '{') {
        *point = 0;
        for (r->at++; peek(r) != '}';) {
            uint32_t digit;
            if (!read_hex(r, 1, &digit))
                return false;
            *point = *point * 16 + digit;
            if (*point > 0x10FFFF)
                return failed(r, ERR_INVALID, "there is no such character"), false;
        }
        r->at++;
    } else if (c == 'u') {
        if (!read_hex(r, 4, point))
            return false;
        uint32_t low;
        size_t before = r->at;
        if (*point >= 0xD800 && *point < 0xDC00 && r->bytes - r->at >= 6 &&
            r->text[r->at] == '\\' && r->text[r->at + 1] == 'u') {
            r->at += 2;
            if (!read_hex(r, 4, &low))
                return false;
            if (low >= 0xDC00 && low < 0xE000)
                *point = 0x10000 + ((*point - 0xD800) << 10) + (low - 0xDC00);
            else
                r->at = before;
        }
    } else if (c == 'c' &&
               ((peek(r) >= 'a' && peek(r) <= 'z') || (peek(r) >= 'A' && peek(r) <= 'Z'))) {
        *point = (uint32_t)(r->text[r->at++] & 31);
    } else if (c == '0') {
        *point = 0;
    } else if (found) {
        *point = (unsigned char)to[found - from];
    } else {
        r->at--;
        *point = utf8_next(r->text, r->bytes, &r->at);
    }
    if (*point >= 0xD800 && *point < 0xE000)
        return failed(r, ERR_INVALID, "half of a surrogate pair is no character"), false;
    return true;
}

/* In JSON a character may have to be written as an escape. */
static uint32_t json_class(struct reader *r, const struct ranges *ranges)
{
    static const struct {
        char c, letter;
    } escapes[] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'\b', 'b'},
                   {'\f', 'f'}, {'\n', 'n'},  {'\r', 'r'}, {'\t', 't'}};
    static const struct ast_range never[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    struct ranges plain = {0};
    uint32_t node = ast_list(r->ast, AST_ALT);
    for (size_t i = 0; i < ranges->count; i++) {
        uint32_t from = ranges->items[i].first;
        for (size_t k = 0; k < 3 && from <= ranges->items[i].last; k++) {
            uint32_t to = ranges->items[i].last;
            if (never[k].first > from && never[k].first <= to)
                to = never[k].first - 1;
            else if (never[k].first > to)
                break;
            if (never[k].last < from)
                continue;
            if (never[k].first > from && !add_range(r, &plain, from, to))
                break;
            from = never[k].last + 1;
        }
        if (from <= ranges->items[i].last)
            (void)add_range(r, &plain, from, ranges->items[i].last);
        for (size_t k = 0; k < sizeof escapes / sizeof *escapes; k++) {
            uint32_t c = (unsigned char)escapes[k].c;
            if (c >= ranges->items[i].first && c <= ranges->items[i].last) {
                char text[2] = {'\\', escapes[k].letter};
                ast_add(r->ast, node, ast_bytes(r->ast, text, 2));
            }
        }
    }
    if (plain.count > 0)
        ast_add(r->ast, node, ast_class(r->ast, plain.items, plain.count, false));
    vec_free(NULL, &plain);
    return node;
}

/* Takes the ranges' memory. */
static uint32_t class_node(struct reader *r, struct ranges *ranges, bool negated)
{
    uint32_t node = AST_NONE;
    if (r->err == ERR_OK && !r->in_json) {
        node = ast_class(r->ast, ranges->items, ranges->count, negated);
    } else if (r->err == ERR_OK) {
        /* normalised by way of a class that nothing uses */
        uint32_t index = ast_class(r->ast, ranges->items, ranges->count, negated);
        struct ranges normal = {0};
        if (index != AST_NONE) {
            const struct ast_node *class = &r->ast->nodes.items[index];
            for (uint32_t i = class->a; i < class->a + class->b; i++)
                if (!add_range(r, &normal, r->ast->ranges.items[i].first,
                               r->ast->ranges.items[i].last))
                    break;
            node = json_class(r, &normal);
        }
        vec_free(NULL, &normal);
    }
    vec_free(NULL, ranges);
    return node;
}

static uint32_t read_class(struct reader *r)
{
    struct ranges ranges = {0};
    bool negated = false;
    r->at++;
    if (peek(r) == '^') {
        negated = true;
        r->at++;
    }
    while (r->err == ERR_OK && (r->at >= r->bytes || r->text[r->at] != ']')) {
        uint32_t first = 0, last = 0;
        bool class_first = false, class_last = false;
        if (r->at >= r->bytes) {
            (void)failed(r, ERR_INVALID, "this character class has no end");
            break;
        }
        for (int end = 0; end < 2 && r->err == ERR_OK; end++) {
            uint32_t *point = end ? &last : &first;
            bool *is_class = end ? &class_last : &class_first;
            if (peek(r) == '\\') {
                r->at++;
                if (peek(r) == 'b') { /* in a class: backspace */
                    r->at++;
                    *point = '\b';
                } else {
                    (void)read_escape(r, &ranges, is_class, point);
                }
            } else {
                *point = utf8_next(r->text, r->bytes, &r->at);
            }
            if (end == 0) {
                last = first;
                if (class_first || peek(r) != '-' || r->at + 1 >= r->bytes ||
                    r->text[r->at + 1] == ']')
                    break;
                r->at++;
            }
        }
        if (r->err != ERR_OK)
            break;
        if (class_last) { /* [a-\d]: the hyphen stands for itself */
            (void)(add_range(r, &ranges, first, first) && add_range(r, &ranges, '-', '-'));
        } else if (!class_first) {
            if (last < first)
                (void)failed(r, ERR_INVALID, "the range's ends are in the wrong order");
            else
                (void)add_range(r, &ranges, first, last);
        }
    }
    r->at++;
    return class_node(r, &ranges, negated);
}

static uint32_t read_alternatives(struct reader *r);

static uint32_t read_group(struct reader *r)
{
    if (++r->depth > AST_DEPTH_MAX)
        return failed(r, ERR_LIMIT, "groups are nested too deep");
    r->at++;
    if (peek(r) == '?') {
        char kind = r->at + 1 < r->bytes ? r->text[r->at + 1] : '\0';
        char next = r->at + 2 < r->bytes ? r->text[r->at + 2] : '\0';
        if (kind == '<' && next != '=' && next != '!') {
            while (r->at < r->bytes && r->text[r->at] != '>')
                r->at++;
            r->at++;
        } else if (kind == ':') {
            r->at += 2;
        } else {
            return failed(r, ERR_UNSUPPORTED,
                          "look-ahead, look-behind and flags are not supported");
        }
    }
    uint32_t node = read_alternatives(r);
    if (r->err == ERR_OK && peek(r) != ')')
        return failed(r, ERR_INVALID, "expected ')'");
    r->at++;
    r->depth--;
    return node;
}

static bool read_count(struct reader *r, uint32_t *count)
{
    uint64_t value = 0;
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') {
        value = value * 10 + (uint64_t)(peek(r) - '0');
        if (value > 2000000000)
            value = 2000000000;
        r->at++;
    }
    *count = (uint32_t)value;
    return r->at > from;
}

/* {n}, {n,} or {n,m} here? Otherwise the brace stands for itself. */
static bool read_braces(struct reader *r, uint32_t *min, uint32_t *max)
{
    size_t before = r->at;
    r->at++;
    if (read_count(r, min)) {
        *max = *min;
        if (peek(r) == ',') {
            r->at++;
            if (!read_count(r, max))
                *max = AST_INFINITE;
        }
        if (peek(r) == '}') {
            r->at++;
            return true;
        }
    }
    r->at = before;
    return false;
}

static uint32_t one_char(struct reader *r, uint32_t point)
{
    struct ranges ranges = {0};
    (void)add_range(r, &ranges, point, point);
    return class_node(r, &ranges, false);
}

static uint32_t read_item(struct reader *r)
{
    uint32_t node;
    char c = peek(r);
    if (c == '(') {
        node = read_group(r);
    } else if (c == '[') {
        node = read_class(r);
    } else if (c == '^' || c == '$') {
        r->at++;
        node = ast_empty(r->ast);
    } else if (c == '.') {
        static const struct ast_range lines[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
        struct ranges ranges = {0};
        r->at++;
        (void)add_ranges(r, &ranges, lines, 3, false);
        node = class_node(r, &ranges, true);
    } else if (c == '*' || c == '+' || c == '?') {
        return failed(r, ERR_INVALID, "nothing to repeat");
    } else if (c == '\\') {
        struct ranges ranges = {0};
        bool is_class;
        uint32_t point = 0;
        r->at++;
        if (!read_escape(r, &ranges, &is_class, &point)) {
            vec_free(NULL, &ranges);
            return AST_NONE;
        }
        node = is_class ? class_node(r, &ranges, false) : one_char(r, point);
    } else {
        if ((unsigned char)c >= 0x80 && utf8_sequence_bytes(r->text + r->at, r->bytes - r->at) == 0)
            return failed(r, ERR_INVALID, "this is not UTF-8");
        node = one_char(r, utf8_next(r->text, r->bytes, &r->at));
    }
    for (unsigned suffixes = 0; r->err == ERR_OK && r->at < r->bytes; suffixes++) {
        uint32_t min = 0, max = AST_INFINITE;
        c = peek(r);
        if (c == '{') {
            if (!read_braces(r, &min, &max))
                break;
        } else if (c == '?' || c == '*' || c == '+') {
            r->at++;
            min = c == '+';
            max = c == '?' ? 1 : AST_INFINITE;
        } else {
            break;
        }
        if (suffixes > 0)
            return failed(r, ERR_INVALID, "nothing to repeat");
        if (max < min)
            return failed(r, ERR_INVALID, "the repetition's ends are in the wrong order");
        if (peek(r) == '?') /* laziness changes which match, not whether */
            r->at++;
        node = ast_repeat(r->ast, node, min, max);
    }
    return node;
}

static uint32_t read_alternatives(struct reader *r)
{
    uint32_t list = ast_list(r->ast, AST_ALT);
    for (;;) {
        uint32_t sequence = ast_list(r->ast, AST_SEQ);
        while (r->err == ERR_OK && r->ast->err == ERR_OK && r->at < r->bytes && peek(r) != '|' &&
               peek(r) != ')')
            ast_add(r->ast, sequence, read_item(r));
        ast_add(r->ast, list, sequence);
        if (r->err != ERR_OK || r->ast->err != ERR_OK || r->at >= r->bytes || peek(r) != '|')
            return list;
        r->at++;
    }
}

enum err ast_from_regex(struct ast *ast, const char *text, size_t bytes, bool in_json,
                        uint32_t *node, struct report *report)
{
    struct reader r = {
        .ast = ast, .text = text, .bytes = bytes, .in_json = in_json, .report = report};
    if (bytes > SOURCE_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "A regular expression of %zu bytes is too long", bytes);
    *node = read_alternatives(&r);
    if (r.err == ERR_OK && r.at < bytes && ast->err == ERR_OK)
        (void)failed(&r, ERR_INVALID, "')' without '('");
    return r.err != ERR_OK ? r.err : ast->err;
}

enum err gram_from_regex(const char *text, size_t bytes, struct gram **gram, struct report *report)
{
    struct ast ast;
    uint32_t node;
    ast_init(&ast, report);
    uint32_t root = ast_rule(&ast, "root", 4);
    enum err err = ast_from_regex(&ast, text, bytes, false, &node, report);
    ast_define(&ast, root, node);
    if (err == ERR_OK)
        err = gram_compile(&ast, gram, report);
    ast_deinit(&ast);
    return err;
}
