/* Reading EBNF: `name ::= alternatives`, "strings", [classes], groups, repetitions, # comments. A
 * rule ends where the next `name ::=` begins. */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/grammar/ast.h"

#define SOURCE_BYTES_MAX ((size_t)8 << 20)

struct reader {
    struct ast *ast;
    const char *text;
    size_t bytes, at;
    unsigned depth;
    struct report *report;
    enum err err;
};

static uint32_t broken(struct reader *r, const char *what)
{
    if (r->err == ERR_OK) {
        size_t line = 1, column = 1;
        for (size_t i = 0; i < r->at && i < r->bytes; i++) {
            column = r->text[i] == '\n' ? 1 : column + 1;
            line += r->text[i] == '\n';
        }
        r->err =
            err_set(r->report, ERR_INVALID, "EBNF, line %zu, column %zu: %s", line, column, what);
    }
    return AST_NONE;
}

static char peek(const struct reader *r)
{
    return r->at < r->bytes ? r->text[r->at] : '\0';
}

static void skip_space(struct reader *r)
{
    while (r->at < r->bytes) {
        char c = r->text[r->at];
        if (c == '#') {
            while (r->at < r->bytes && r->text[r->at] != '\n')
                r->at++;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            r->at++;
        } else {
            return;
        }
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static size_t name_bytes(const struct reader *r)
{
    size_t end = r->at;
    while (end < r->bytes && is_name(r->text[end]))
        end++;
    return end - r->at;
}

/* Whether a rule's head stands here. */
static bool at_head(struct reader *r)
{
    size_t length = name_bytes(r);
    if (length == 0)
        return false;
    size_t before = r->at;
    r->at += length;
    skip_space(r);
    bool head = r->bytes - r->at >= 3 && memcmp(r->text + r->at, "::=", 3) == 0;
    r->at = before;
    return head;
}

/* One character of a string or class, escapes resolved. A byte value is only possible by \xHH above
 * 7F, which stands for that code point, as in XGrammar. */
static bool read_char(struct reader *r, uint32_t *point)
{
    static const char from[] = "ntrbfv0aed", to[] = "\n\t\r\b\f\v\0\a\033\x7F";
    char c = peek(r);
    if (c != '\\') {
        if ((unsigned char)c >= 0x80 &&
            utf8_sequence_bytes(r->text + r->at, r->bytes - r->at) == 0) {
            (void)broken(r, "this is not UTF-8");
            return false;
        }
        *point = utf8_next(r->text, r->bytes, &r->at);
        return true;
    }
    r->at++;
    c = peek(r);
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
        const char *found = c ? strchr(from, c) : NULL;
        if (r->at >= r->bytes) {
            (void)broken(r, "a backslash ends the grammar");
            return false;
        }
        *point = found ? (unsigned char)to[found - from] : utf8_next(r->text, r->bytes, &r->at);
        r->at += found ? 1 : 0;
        return true;
    }
    r->at++;
    uint32_t value = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        c = peek(r);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0 || value > 0x110000) {
            (void)broken(r, "expected hexadecimal digits");
            return false;
        }
        value = value * 16 + (uint32_t)digit;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        (void)broken(r, "there is no such character");
        return false;
    }
    *point = value;
    return true;
}

static uint32_t read_string(struct reader *r)
{
    struct buf text;
    uint32_t node = AST_NONE;
    char quote = peek(r);
    buf_init(&text, NULL);
    r->at++;
    while (peek(r) != quote) {
        uint32_t point;
        char encoded[4];
        if (r->at >= r->bytes || peek(r) == '\n') {
            (void)broken(r, "this string has no end");
            break;
        }
        if (!read_char(r, &point))
            break;
        (void)buf_append(&text, encoded, utf8_put(point, encoded));
    }
    r->at++;
    if (text.failed)
        r->err = err_set(r->report, ERR_MEMORY, "Out of memory while reading the grammar");
    if (r->err == ERR_OK)
        node = ast_bytes(r->ast, text.data, text.count);
    buf_deinit(&text);
    return node;
}

static uint32_t read_class(struct reader *r)
{
    struct {
        struct ast_range *items;
        size_t count, capacity;
    } ranges = {0};
    uint32_t node = AST_NONE;
    bool negated = false;
    r->at++;
    if (peek(r) == '^') {
        negated = true;
        r->at++;
    }
    while (peek(r) != ']') {
        struct ast_range range;
        if (r->at >= r->bytes || peek(r) == '\n') {
            (void)broken(r, "this character class has no end");
            break;
        }
        if (!read_char(r, &range.first))
            break;
        range.last = range.first;
        if (peek(r) == '-' && r->at + 1 < r->bytes && r->text[r->at + 1] != ']') {
            r->at++;
            if (!read_char(r, &range.last))
                break;
            if (range.last < range.first) {
                (void)broken(r, "the range's ends are in the wrong order");
                break;
            }
        }
        if (!vec_push(NULL, &ranges, range)) {
            r->err = err_set(r->report, ERR_MEMORY, "Out of memory while reading the grammar");
            break;
        }
    }
    r->at++;
    if (r->err == ERR_OK)
        node = ast_class(r->ast, ranges.items, ranges.count, negated);
    vec_free(NULL, &ranges);
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

static uint32_t read_alternatives(struct reader *r);

static uint32_t read_repetitions(struct reader *r, uint32_t node)
{
    for (unsigned suffixes = 0;; suffixes++) {
        uint32_t min = 0, max = AST_INFINITE;
        char c = peek(r);
        if (c == '?')
            max = 1;
        else if (c == '+')
            min = 1;
        else if (c != '*' && c != '{')
            return node;
        if (suffixes >= 8)
            return broken(r, "too many repetitions in a row");
        r->at++;
        if (c == '{') {
            skip_space(r);
            if (!read_count(r, &min))
                return broken(r, "expected a number");
            max = min;
            skip_space(r);
            if (peek(r) == ',') {
                r->at++;
                skip_space(r);
                if (!read_count(r, &max))
                    max = AST_INFINITE;
                skip_space(r);
            }
            if (peek(r) != '}')
                return broken(r, "expected '}'");
            if (max < min)
                return broken(r, "the repetition's ends are in the wrong order");
            r->at++;
        }
        node = ast_repeat(r->ast, node, min, max);
    }
}

static uint32_t read_group(struct reader *r)
{
    if (++r->depth > AST_DEPTH_MAX) {
        r->err = err_set(r->report, ERR_LIMIT, "EBNF groups are nested more than %d deep",
                         AST_DEPTH_MAX);
        return AST_NONE;
    }
    r->at++;
    /* look-ahead speeds other engines up; it does not change what matches here */
    bool look_ahead = peek(r) == '=';
    r->at += look_ahead ? 1 : 0;
    uint32_t node = read_alternatives(r);
    skip_space(r);
    if (r->err == ERR_OK && peek(r) != ')')
        return broken(r, "expected ')'");
    r->at++;
    r->depth--;
    return look_ahead ? ast_empty(r->ast) : node;
}

/* AST_NONE without an error: nothing stands here. */
static uint32_t read_item(struct reader *r)
{
    uint32_t node;
    skip_space(r);
    char c = peek(r);
    if (c == '"' || c == '\'')
        node = read_string(r);
    else if (c == '[')
        node = read_class(r);
    else if (c == '(')
        node = read_group(r);
    else if (is_name(c) && !at_head(r)) {
        size_t length = name_bytes(r);
        node = ast_ref(r->ast, ast_rule(r->ast, r->text + r->at, length));
        r->at += length;
    } else
        return AST_NONE;
    return r->err == ERR_OK ? read_repetitions(r, node) : AST_NONE;
}

static uint32_t read_alternatives(struct reader *r)
{
    uint32_t list = ast_list(r->ast, AST_ALT);
    for (;;) {
        uint32_t sequence = ast_list(r->ast, AST_SEQ);
        uint32_t item;
        while ((item = read_item(r)) != AST_NONE && r->err == ERR_OK && r->ast->err == ERR_OK)
            ast_add(r->ast, sequence, item);
        ast_add(r->ast, list, sequence);
        skip_space(r);
        if (r->err != ERR_OK || r->ast->err != ERR_OK || peek(r) != '|')
            return list;
        r->at++;
    }
}

/* `a ::= a x | y` says the same as `a ::= y x*`. */
static void unroll_left_recursion(struct ast *ast, uint32_t rule)
{
    uint32_t body = ast->rules.items[rule].body;
    uint32_t heads = AST_NONE, tails = AST_NONE;
    bool any = false;
    if (body == AST_NONE || ast->nodes.items[body].kind != AST_ALT)
        return;
    for (uint32_t i = ast->nodes.items[body].a; i != AST_NONE; i = ast->nodes.items[i].next) {
        uint32_t first = ast->nodes.items[i].kind == AST_SEQ ? ast->nodes.items[i].a : AST_NONE;
        any |= first != AST_NONE && ast->nodes.items[first].kind == AST_REF &&
               ast->nodes.items[first].a == rule;
    }
    if (!any)
        return;
    heads = ast_list(ast, AST_ALT);
    tails = ast_list(ast, AST_ALT);
    uint32_t next;
    for (uint32_t i = ast->nodes.items[body].a; i != AST_NONE && ast->err == ERR_OK; i = next) {
        struct ast_node *sequence = &ast->nodes.items[i];
        next = sequence->next;
        sequence->next = AST_NONE;
        uint32_t first = sequence->kind == AST_SEQ ? sequence->a : AST_NONE;
        bool recursive = first != AST_NONE && ast->nodes.items[first].kind == AST_REF &&
                         ast->nodes.items[first].a == rule;
        if (recursive) {
            sequence->a = ast->nodes.items[first].next;
            if (sequence->a == AST_NONE)
                sequence->b = AST_NONE;
        }
        ast_add(ast, recursive ? tails : heads, i);
    }
    ast_define(ast, rule, ast_seq2(ast, heads, ast_repeat(ast, tails, 0, AST_INFINITE)));
}

static enum err read_rules(struct reader *r)
{
    (void)ast_rule(r->ast, "root", 4);
    skip_space(r);
    while (r->at < r->bytes && r->err == ERR_OK && r->ast->err == ERR_OK) {
        size_t length = name_bytes(r);
        if (!at_head(r)) {
            (void)broken(r, "expected a rule, like: name ::= \"text\"");
            break;
        }
        uint32_t rule = ast_rule(r->ast, r->text + r->at, length);
        if (rule == AST_NONE)
            break;
        if (r->ast->rules.items[rule].body != AST_NONE) {
            (void)broken(r, "this rule is defined twice");
            break;
        }
        r->at += length;
        skip_space(r);
        r->at += 3;
        ast_define(r->ast, rule, read_alternatives(r));
        skip_space(r);
    }
    if (r->err != ERR_OK)
        return r->err;
    for (uint32_t i = 0; i < r->ast->rules.count && r->ast->err == ERR_OK; i++) {
        const struct ast_rule *rule = &r->ast->rules.items[i];
        if (rule->body == AST_NONE)
            return err_set(r->report, ERR_INVALID, "EBNF: the rule \"%.*s\" is %s",
                           (int)(rule->name_bytes < 100 ? rule->name_bytes : 100),
                           r->ast->bytes.data + rule->name,
                           i == 0 ? "missing (the grammar starts there)" : "used but not defined");
        unroll_left_recursion(r->ast, i);
    }
    return r->ast->err;
}

enum err gram_from_ebnf(const char *text, size_t bytes, struct gram **gram, struct report *report)
{
    struct ast ast;
    if (bytes > SOURCE_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "A grammar of %zu bytes is too long", bytes);
    ast_init(&ast, report);
    struct reader r = {.ast = &ast, .text = text, .bytes = bytes, .report = report};
    enum err err = read_rules(&r);
    if (err == ERR_OK)
        err = gram_compile(&ast, gram, report);
    ast_deinit(&ast);
    return err;
}
