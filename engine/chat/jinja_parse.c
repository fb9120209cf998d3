/* Template source to nodes: a lexer that also does Jinja's white space control, and recursive
 * descent with bounded nesting. */
#include <stdlib.h>

#include "engine/base/utf8.h"
#include "engine/chat/jinja_impl.h"

enum token { T_END, T_TEXT, T_BLOCK_BEGIN, T_BLOCK_END, T_PRINT_BEGIN, T_PRINT_END, T_NAME, T_STRING,
             T_INT, T_FLOAT, T_SYMBOL };

struct parser {
    struct arena *arena;
    struct report *report;
    enum err err;
    const char *source; /* newlines normalised, the last one dropped */
    size_t bytes, at;
    uint32_t line;
    bool in_code;        /* between {% or {{ and its end */
    bool in_print;       /* it was {{ */
    bool line_starts;    /* what was read last ended in a newline */
    bool strip_next;     /* the text ahead loses its leading white space */
    unsigned brackets;   /* open in this code */
    unsigned nest;

    enum token token;    /* the current one */
    const char *text;
    size_t text_bytes;
    uint32_t token_line;
    int64_t integer;
    double number;
};

static void fail(struct parser *p, enum err err, const char *what)
{
    if (p->err)
        return;
    p->err = err_set(p->report, err, "chat template, line %u: %s", p->token_line, what);
    p->token = T_END;
}

static void advance(struct parser *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p->line += p->source[p->at + i] == '\n';
    p->at += bytes;
}

static bool starts(const struct parser *p, size_t at, const char *text)
{
    size_t bytes = strlen(text);
    return p->bytes - at >= bytes && memcmp(p->source + at, text, bytes) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->bytes && is_blank(p->source[p->at]))
        advance(p, 1);
}

/* Behind %} or #}: one newline goes (trim_blocks), with "-" all white space. */
static void after_tag(struct parser *p, char sign, bool trims)
{
    size_t from = p->at;
    if (sign == '-')
        skip_blanks(p);
    else if (sign != '+' && trims && p->at < p->bytes && p->source[p->at] == '\n')
        advance(p, 1);
    p->line_starts = p->at > from && p->source[p->at - 1] == '\n';
}

/* The text source[from, to) in front of a tag, less what the tag takes from it. */
static size_t text_end(const struct parser *p, size_t from, size_t to, char sign, bool print)
{
    size_t end = to;
    if (sign == '-') {
        while (end > from && is_blank(p->source[end - 1]))
            end--;
        return end;
    }
    if (sign == '+' || print)
        return end;
    while (end > from && p->source[end - 1] != '\n' && is_blank(p->source[end - 1]))
        end--;
    bool line = end > from ? p->source[end - 1] == '\n' : p->line_starts;
    return line ? end : to;
}

/* Skips "{% raw %}" and gives what stands up to "{% endraw %}" as text; false: it is another tag. */
static bool raw_block(struct parser *p, size_t after_sign)
{
    size_t at = after_sign;
    while (at < p->bytes && is_blank(p->source[at]))
        at++;
    if (!starts(p, at, "raw"))
        return false;
    at += 3;
    while (at < p->bytes && is_blank(p->source[at]))
        at++;
    char sign = at < p->bytes && (p->source[at] == '-' || p->source[at] == '+') ? p->source[at] : 0;
    at += sign != 0;
    if (!starts(p, at, "%}"))
        return false;
    advance(p, at + 2 - p->at);
    after_tag(p, sign, false);
    size_t from = p->at;
    for (at = from; at < p->bytes; at++) {
        if (!starts(p, at, "{%"))
            continue;
        size_t in = at + 2;
        char open = in < p->bytes && (p->source[in] == '-' || p->source[in] == '+') ? p->source[in]
                                                                                    : 0;
        in += open != 0;
        while (in < p->bytes && is_blank(p->source[in]))
            in++;
        if (!starts(p, in, "endraw"))
            continue;
        in += 6;
        while (in < p->bytes && is_blank(p->source[in]))
            in++;
        char close = in < p->bytes && (p->source[in] == '-' || p->source[in] == '+')
                         ? p->source[in] : 0;
        in += close != 0;
        if (!starts(p, in, "%}"))
            continue;
        p->token = T_TEXT;
        p->text = p->source + from;
        p->text_bytes = text_end(p, from, at, open, false) - from;
        advance(p, in + 2 - p->at);
        after_tag(p, close, true);
        return true;
    }
    fail(p, ERR_INVALID, "{% raw %} has no {% endraw %}");
    return true;
}

/* Text up to the next tag, or the tag itself. */
static void next_outside(struct parser *p)
{
    for (;;) {
        size_t from = p->at, at = from;
        p->token_line = p->line;
        while (at < p->bytes && !(p->source[at] == '{' && at + 1 < p->bytes &&
                                  strchr("%{#", p->source[at + 1])))
            at++;
        bool tag = at < p->bytes;
        char kind = tag ? p->source[at + 1] : 0, sign = 0;
        if (tag && at + 2 < p->bytes && (p->source[at + 2] == '-' || p->source[at + 2] == '+'))
            sign = p->source[at + 2];
        size_t end = tag ? text_end(p, from, at, sign, kind == '{') : at;
        if (end > from) {
            p->token = T_TEXT;
            p->text = p->source + from;
            p->text_bytes = end - from;
            advance(p, at - from);
            p->line_starts = false; /* asked again at the tag: nothing is left in front of it */
            return;
        }
        if (!tag) {
            p->token = T_END;
            return;
        }
        advance(p, at - from);
        p->token_line = p->line;
        if (kind == '#') {
            size_t close = at + 2;
            while (close < p->bytes && !starts(p, close, "#}"))
                close++;
            if (close == p->bytes) {
                fail(p, ERR_INVALID, "a comment is not closed");
                return;
            }
            char last = p->source[close - 1];
            advance(p, close + 2 - p->at);
            after_tag(p, close > at + 2 && (last == '-' || last == '+') ? last : 0, true);
            continue;
        }
        if (kind == '%' && raw_block(p, at + 2 + (sign != 0))) {
            if (p->text_bytes == 0 && !p->err)
                continue;
            return;
        }
        advance(p, 2 + (size_t)(sign != 0));
        p->in_code = true;
        p->in_print = kind == '{';
        p->brackets = 0;
        p->token = kind == '{' ? T_PRINT_BEGIN : T_BLOCK_BEGIN;
        return;
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                                                : -1;
}

static void string_token(struct parser *p, char quote)
{
    size_t at = p->at + 1, out = 0;
    size_t close = at;
    while (close < p->bytes && p->source[close] != quote)
        close += p->source[close] == '\\' ? 2 : 1;
    if (close >= p->bytes) {
        fail(p, ERR_INVALID, "a string is not closed");
        return;
    }
    char *text = arena_alloc(p->arena, close - at + 4);
    if (!text) {
        fail(p, ERR_MEMORY, "no memory");
        return;
    }
    while (at < close) {
        char c = p->source[at++];
        if (c != '\\' || at >= close) {
            text[out++] = c;
            continue;
        }
        c = p->source[at++];
        static const char from[] = "ntrabfv0\\'\"", to[] = "\n\t\r\a\b\f\v\0\\'\"";
        const char *simple = strchr(from, c);
        unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (c && simple) {
            text[out++] = to[simple - from];
        } else if (c == '\n') {
            continue;
        } else if (digits && close - at >= digits) {
            uint32_t value = 0;
            unsigned i = 0;
            for (; i < digits && hex(p->source[at + i]) >= 0; i++)
                value = value << 4 | (uint32_t)hex(p->source[at + i]);
            if (i < digits) {
                fail(p, ERR_INVALID, "a string has a broken escape");
                return;
            }
            at += digits;
            char point[4];
            size_t bytes = utf8_put(value, point); /* never longer than its escape */
            memcpy(text + out, point, bytes);
            out += bytes;
        } else {
            text[out++] = '\\';
            text[out++] = c;
        }
    }
    p->token = T_STRING;
    p->text = text;
    p->text_bytes = out;
    advance(p, close + 1 - p->at);
}

static void number_token(struct parser *p)
{
    char digits[64];
    size_t count = 0, at = p->at;
    bool real = false;
    for (; at < p->bytes && count + 1 < sizeof digits; at++) {
        char c = p->source[at];
        bool fraction = c == '.' && !real && at + 1 < p->bytes && p->source[at + 1] >= '0' &&
                        p->source[at + 1] <= '9';
        bool exponent = (c == 'e' || c == 'E') && at + 1 < p->bytes &&
                        strchr("+-0123456789", p->source[at + 1]);
        if (c == '_')
            continue;
        if (!fraction && !exponent && (c < '0' || c > '9'))
            break;
        real = real || fraction || exponent;
        digits[count++] = c;
        if (exponent && (p->source[at + 1] == '-' || p->source[at + 1] == '+') &&
            count + 1 < sizeof digits)
            digits[count++] = p->source[++at];
    }
    digits[count] = 0;
    p->token = real ? T_FLOAT : T_INT;
    if (real)
        p->number = strtod(digits, NULL);
    else if (count > 18)
        fail(p, ERR_UNSUPPORTED, "a number is too large");
    else
        p->integer = strtoll(digits, NULL, 10);
    advance(p, at - p->at);
}

static bool is_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

static void next(struct parser *p)
{
    if (p->err)
        return;
    if (!p->in_code) {
        next_outside(p);
        return;
    }
    skip_blanks(p);
    p->token_line = p->line;
    if (p->at >= p->bytes) {
        fail(p, ERR_INVALID, p->in_print ? "'{{' is not closed" : "'{%' is not closed");
        return;
    }
    char c = p->source[p->at];
    size_t sign = c == '-' || (c == '+' && !p->in_print);
    if (p->brackets == 0 && starts(p, p->at + sign, p->in_print ? "}}" : "%}")) {
        advance(p, sign + 2);
        p->in_code = false;
        after_tag(p, sign ? c : 0, !p->in_print);
        p->token = p->in_print ? T_PRINT_END : T_BLOCK_END;
        return;
    }
    if (is_name(c, true)) {
        size_t end = p->at;
        while (end < p->bytes && is_name(p->source[end], false))
            end++;
        p->token = T_NAME;
        p->text = p->source + p->at;
        p->text_bytes = end - p->at;
        advance(p, end - p->at);
        return;
    }
    if (c >= '0' && c <= '9') {
        number_token(p);
        return;
    }
    if (c == '"' || c == '\'') {
        string_token(p, c);
        return;
    }
    static const char *const symbols[] = {"**", "//", "==", "!=", "<=", ">="};
    size_t bytes = 1;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (starts(p, p->at, symbols[i]))
            bytes = 2;
    if (bytes == 1 && (c == 0 || !strchr("+-*/%~<>=.,:|()[]{}", c))) {
        fail(p, ERR_INVALID, "there is a character that no expression has");
        return;
    }
    p->brackets += strchr("([{", c) && bytes == 1;
    p->brackets -= p->brackets > 0 && bytes == 1 && strchr(")]}", c);
    p->token = T_SYMBOL;
    p->text = p->source + p->at;
    p->text_bytes = bytes;
    advance(p, bytes);
}

/* ---- Expressions --------------------------------------------------------------------------- */

static struct jinja_node nothing = {.kind = NODE_NONE}; /* after a failure; never changed */

static struct jinja_node *make(struct parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *node = arena_calloc(p->arena, 1, sizeof *node);
    if (!node) {
        fail(p, ERR_MEMORY, "no memory");
        return NULL;
    }
    node->kind = kind;
    node->line = p->token_line;
    return node;
}

static struct jinja_node *make2(struct parser *p, enum jinja_node_kind kind, struct jinja_node *a,
                                struct jinja_node *b)
{
    struct jinja_node *node = make(p, kind);
    if (!node)
        return &nothing;
    node->a = a;
    node->b = b;
    return node;
}

static bool at_word(const struct parser *p, const char *word)
{
    return p->token == T_NAME && strlen(word) == p->text_bytes &&
           memcmp(word, p->text, p->text_bytes) == 0;
}

static bool at_symbol(const struct parser *p, const char *symbol)
{
    return p->token == T_SYMBOL && strlen(symbol) == p->text_bytes &&
           memcmp(symbol, p->text, p->text_bytes) == 0;
}

static bool skip_word(struct parser *p, const char *word)
{
    bool there = at_word(p, word);
    if (there)
        next(p);
    return there;
}

static bool skip_symbol(struct parser *p, const char *symbol)
{
    bool there = at_symbol(p, symbol);
    if (there)
        next(p);
    return there;
}

static void expect_symbol(struct parser *p, const char *symbol)
{
    char what[60];
    if (skip_symbol(p, symbol) || p->err)
        return;
    memcpy(what, "'?' is missing", sizeof "'?' is missing");
    what[1] = symbol[0];
    fail(p, ERR_INVALID, what);
}

/* Appends to a list of nodes; `*tail` is its last one. */
static void append(struct jinja_node **list, struct jinja_node **tail, struct jinja_node *node)
{
    if (!node || node == &nothing)
        return;
    if (*tail)
        (*tail)->next = node;
    else
        *list = node;
    *tail = node;
}

static bool enter(struct parser *p)
{
    if (++p->nest > JINJA_NEST_MAX)
        fail(p, ERR_LIMIT, "expressions or blocks are nested too deeply");
    return !p->err;
}

static struct jinja_node *expression(struct parser *p);
static struct jinja_node *unary(struct parser *p, bool with_filters);

/* Takes the name at the current token; NULL when there is none. */
static struct jinja_node *name_node(struct parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *node = p->token == T_NAME ? make(p, kind) : NULL;
    if (!node) {
        fail(p, ERR_INVALID, "a name is missing");
        return NULL;
    }
    node->text = p->text;
    node->bytes = p->text_bytes;
    next(p);
    return node;
}

/* Behind "(": arguments up to ")". */
static struct jinja_node *arguments(struct parser *p)
{
    struct jinja_node *list = NULL, *tail = NULL;
    while (!p->err && !at_symbol(p, ")")) {
        struct jinja_node *value = expression(p);
        if (at_symbol(p, "=") && value->kind == NODE_NAME) {
            next(p);
            struct jinja_node *keyword = make2(p, NODE_KEYWORD, expression(p), NULL);
            if (keyword != &nothing) {
                keyword->text = value->text;
                keyword->bytes = value->bytes;
            }
            value = keyword;
        }
        append(&list, &tail, value);
        if (!at_symbol(p, ")"))
            expect_symbol(p, ",");
    }
    expect_symbol(p, ")");
    return list;
}

static struct jinja_node *dict_or_list(struct parser *p, bool dict)
{
    struct jinja_node *node = make(p, dict ? NODE_DICT : NODE_LIST), *tail = NULL;
    const char *end = dict ? "}" : "]";
    next(p);
    while (node && !p->err && !at_symbol(p, end)) {
        struct jinja_node *item = expression(p);
        if (dict) {
            expect_symbol(p, ":");
            item = make2(p, NODE_PAIR, item, expression(p));
        }
        append(&node->list, &tail, item);
        if (!at_symbol(p, end))
            expect_symbol(p, ",");
    }
    expect_symbol(p, end);
    return node ? node : &nothing;
}

/* (a), (), (a, b) */
static struct jinja_node *parenthesis(struct parser *p)
{
    struct jinja_node *list = NULL, *tail = NULL, *first = NULL;
    bool tuple = false;
    next(p);
    while (!p->err && !at_symbol(p, ")")) {
        struct jinja_node *item = expression(p);
        first = first ? first : item;
        append(&list, &tail, item);
        if (!skip_symbol(p, ","))
            break;
        tuple = true;
    }
    expect_symbol(p, ")");
    if (first && !tuple)
        return first;
    struct jinja_node *node = make2(p, NODE_LIST, NULL, NULL);
    if (node != &nothing) {
        node->list = list;
        node->integer = 1;
    }
    return node;
}

static struct jinja_node *strings(struct parser *p)
{
    struct jinja_node *node = make(p, NODE_STRING);
    if (!node)
        return &nothing;
    node->text = p->text;
    node->bytes = p->text_bytes;
    next(p);
    while (p->token == T_STRING && !p->err) { /* "a" "b" is one */
        char *joined = arena_alloc(p->arena, node->bytes + p->text_bytes + 1);
        if (!joined) {
            fail(p, ERR_MEMORY, "no memory");
            break;
        }
        memcpy(joined, node->text, node->bytes);
        memcpy(joined + node->bytes, p->text, p->text_bytes);
        node->text = joined;
        node->bytes += p->text_bytes;
        next(p);
    }
    return node;
}

static struct jinja_node *primary(struct parser *p)
{
    struct jinja_node *node = NULL;
    if (p->token == T_STRING)
        return strings(p);
    if (at_symbol(p, "("))
        return parenthesis(p);
    if (at_symbol(p, "[") || at_symbol(p, "{"))
        return dict_or_list(p, at_symbol(p, "{"));
    if (p->token == T_INT || p->token == T_FLOAT) {
        node = make(p, p->token == T_INT ? NODE_INT : NODE_FLOAT);
        if (node) {
            node->integer = p->token == T_INT ? p->integer : 0;
            node->number = p->token == T_FLOAT ? p->number : 0;
        }
        next(p);
    } else if (p->token == T_NAME) {
        bool yes = at_word(p, "true") || at_word(p, "True");
        bool no = at_word(p, "false") || at_word(p, "False");
        bool none = at_word(p, "none") || at_word(p, "None");
        if (!yes && !no && !none)
            return (node = name_node(p, NODE_NAME)) ? node : &nothing;
        node = make(p, none ? NODE_NONE : NODE_BOOL);
        if (node)
            node->integer = yes;
        next(p);
    } else {
        fail(p, ERR_INVALID, "an expression is missing");
    }
    return node ? node : &nothing;
}

/* Behind "[": an index or a slice. */
static struct jinja_node *subscript(struct parser *p, struct jinja_node *object)
{
    struct jinja_node *parts[3] = {NULL, NULL, NULL};
    unsigned count = 0;
    bool slice = false;
    while (!p->err && !at_symbol(p, "]") && count < 3) {
        if (at_symbol(p, ":")) {
            slice = true;
            count++;
            next(p);
        } else if (!parts[count]) {
            parts[count] = expression(p);
        } else {
            break;
        }
    }
    expect_symbol(p, "]");
    if (!slice) {
        if (!parts[0])
            fail(p, ERR_INVALID, "an index is missing");
        return make2(p, NODE_ITEM, object, parts[0]);
    }
    struct jinja_node *node = make2(p, NODE_SLICE, object, NULL), *tail = NULL;
    for (unsigned i = 0; i < 3 && node != &nothing; i++)
        append(&node->list, &tail, parts[i] && parts[i] != &nothing ? make2(p, NODE_PLUS, parts[i], NULL)
                                                                   : make(p, NODE_NONE));
    return node;
}

static struct jinja_node *call_of(struct parser *p, struct jinja_node *callee)
{
    struct jinja_node *node = make2(p, NODE_CALL, callee, NULL);
    next(p);
    struct jinja_node *list = arguments(p);
    if (node != &nothing)
        node->list = list;
    return node;
}

static struct jinja_node *postfix(struct parser *p, struct jinja_node *node)
{
    for (;;) {
        if (at_symbol(p, ".")) {
            next(p);
            if (p->token == T_INT) {
                struct jinja_node *index = primary(p);
                node = make2(p, NODE_ITEM, node, index);
                continue;
            }
            struct jinja_node *attribute = name_node(p, NODE_ATTRIBUTE);
            if (!attribute)
                return &nothing;
            attribute->a = node;
            node = attribute;
        } else if (at_symbol(p, "[")) {
            next(p);
            node = subscript(p, node);
        } else if (at_symbol(p, "(")) {
            node = call_of(p, node);
        } else {
            return node;
        }
        if (p->err)
            return &nothing;
    }
}

/* Behind "|". */
static struct jinja_node *filter_of(struct parser *p, struct jinja_node *value)
{
    struct jinja_node *node = name_node(p, NODE_FILTER);
    if (!node)
        return &nothing;
    node->a = value;
    if (skip_symbol(p, "("))
        node->list = arguments(p);
    return node;
}

/* Behind "is". */
static struct jinja_node *test_of(struct parser *p, struct jinja_node *value)
{
    bool negated = skip_word(p, "not");
    struct jinja_node *node = name_node(p, NODE_TEST);
    if (!node)
        return &nothing;
    node->a = value;
    if (skip_symbol(p, "(")) {
        node->list = arguments(p);
    } else if (p->token == T_STRING || p->token == T_INT || p->token == T_FLOAT ||
               at_symbol(p, "[") || at_symbol(p, "{") ||
               (p->token == T_NAME && !at_word(p, "else") && !at_word(p, "or") &&
                !at_word(p, "and") && !at_word(p, "is") && !at_word(p, "if") &&
                !at_word(p, "not") && !at_word(p, "in"))) {
        node->list = postfix(p, primary(p));
        if (node->list == &nothing)
            node->list = NULL;
    }
    return negated ? make2(p, NODE_NOT, node, NULL) : node;
}

static struct jinja_node *unary(struct parser *p, bool with_filters)
{
    struct jinja_node *node;
    if (!enter(p))
        return &nothing;
    if (at_symbol(p, "-") || at_symbol(p, "+")) {
        enum jinja_node_kind kind = at_symbol(p, "-") ? NODE_NEGATE : NODE_PLUS;
        next(p);
        node = make2(p, kind, unary(p, false), NULL);
    } else {
        node = primary(p);
    }
    node = postfix(p, node);
    while (with_filters && !p->err) {
        if (skip_symbol(p, "|"))
            node = filter_of(p, node);
        else if (skip_word(p, "is"))
            node = test_of(p, node);
        else if (at_symbol(p, "("))
            node = call_of(p, node);
        else
            break;
    }
    p->nest--;
    return p->err ? &nothing : node;
}

/* Left-associative levels, the loosest first. */
struct level {
    struct {
        const char *symbol;
        enum jinja_node_kind kind;
    } operators[5];
};
static const struct level levels[] = {
    {{{"+", NODE_ADD}, {"-", NODE_SUBTRACT}}},
    {{{"~", NODE_CONCAT}}},
    {{{"*", NODE_MULTIPLY}, {"/", NODE_DIVIDE}, {"//", NODE_FLOOR_DIVIDE}, {"%", NODE_MODULO}}},
    {{{"**", NODE_POWER}}},
};

static struct jinja_node *binary(struct parser *p, unsigned at)
{
    if (at == sizeof levels / sizeof *levels)
        return unary(p, true);
    struct jinja_node *left = binary(p, at + 1);
    for (;;) {
        unsigned i = 0;
        while (i < 5 && levels[at].operators[i].symbol && !at_symbol(p, levels[at].operators[i].symbol))
            i++;
        if (p->err || i == 5 || !levels[at].operators[i].symbol)
            return left;
        next(p);
        struct jinja_node *right = binary(p, at + 1);
        left = make2(p, levels[at].operators[i].kind, left, right);
    }
}

/* a < b <= c means (a < b) and (b <= c). */
static struct jinja_node *comparison(struct parser *p)
{
    static const struct {
        const char *symbol;
        enum jinja_node_kind kind;
    } operators[] = {{"==", NODE_EQUAL},         {"!=", NODE_NOT_EQUAL},
                     {"<", NODE_LESS},           {"<=", NODE_LESS_EQUAL},
                     {">", NODE_GREATER},        {">=", NODE_GREATER_EQUAL}};
    struct jinja_node *left = binary(p, 0), *result = NULL;
    while (!p->err) {
        enum jinja_node_kind kind = NODE_NONE;
        for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
            if (at_symbol(p, operators[i].symbol))
                kind = operators[i].kind;
        if (at_word(p, "in")) {
            kind = NODE_IN;
        } else if (at_word(p, "not")) { /* only "not in" can follow an expression */
            next(p);
            kind = NODE_NOT_IN;
            if (!at_word(p, "in"))
                fail(p, ERR_INVALID, "'not' stands behind an expression");
        }
        if (kind == NODE_NONE)
            break;
        next(p);
        struct jinja_node *right = binary(p, 0);
        struct jinja_node *one = make2(p, kind, left, right);
        result = result ? make2(p, NODE_AND, result, one) : one;
        left = right;
    }
    return result ? result : left;
}

static struct jinja_node *negation(struct parser *p)
{
    struct jinja_node *node;
    if (!enter(p))
        return &nothing;
    if (skip_word(p, "not"))
        node = make2(p, NODE_NOT, negation(p), NULL);
    else
        node = comparison(p);
    p->nest--;
    return node;
}

static struct jinja_node *conjunction(struct parser *p)
{
    struct jinja_node *left = negation(p);
    while (!p->err && skip_word(p, "and"))
        left = make2(p, NODE_AND, left, negation(p));
    return left;
}

static struct jinja_node *disjunction(struct parser *p)
{
    struct jinja_node *left = conjunction(p);
    while (!p->err && skip_word(p, "or"))
        left = make2(p, NODE_OR, left, conjunction(p));
    return left;
}

static struct jinja_node *expression(struct parser *p)
{
    if (!enter(p))
        return &nothing;
    struct jinja_node *node = disjunction(p);
    while (!p->err && skip_word(p, "if")) {
        struct jinja_node *condition = disjunction(p);
        struct jinja_node *choice = make2(p, NODE_CONDITIONAL, node, condition);
        struct jinja_node *other = skip_word(p, "else") ? expression(p) : NULL;
        if (choice != &nothing)
            choice->other = other == &nothing ? NULL : other;
        node = choice;
    }
    p->nest--;
    return node;
}

/* a or a, b, c */
static struct jinja_node *tuple(struct parser *p)
{
    struct jinja_node *first = expression(p);
    if (!at_symbol(p, ","))
        return first;
    struct jinja_node *node = make(p, NODE_LIST), *tail = NULL;
    if (!node)
        return &nothing;
    node->integer = 1;
    append(&node->list, &tail, first);
    while (!p->err && skip_symbol(p, ",")) {
        if (p->token == T_BLOCK_END || p->token == T_PRINT_END)
            break;
        append(&node->list, &tail, expression(p));
    }
    return node;
}

/* ---- Statements ---------------------------------------------------------------------------- */

static struct jinja_node *statements(struct parser *p, const char *const *ends);

static void end_block(struct parser *p)
{
    if (p->token != T_BLOCK_END)
        fail(p, ERR_INVALID, "'%}' is missing");
    next(p);
}

/* Statements up to {% end %}, which is taken. */
static struct jinja_node *body_until(struct parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    struct jinja_node *body = statements(p, ends);
    next(p);
    end_block(p);
    return body;
}

/* Names, with attributes of namespaces where `attributes`, joined by commas. */
static struct jinja_node *targets(struct parser *p, bool attributes)
{
    struct jinja_node *list = NULL, *tail = NULL;
    bool closed = skip_symbol(p, "(");
    do {
        struct jinja_node *node = name_node(p, NODE_NAME);
        if (node && attributes && skip_symbol(p, ".")) {
            struct jinja_node *attribute = name_node(p, NODE_ATTRIBUTE);
            if (attribute)
                attribute->a = node;
            node = attribute;
        }
        append(&list, &tail, node);
    } while (!p->err && skip_symbol(p, ","));
    if (closed)
        expect_symbol(p, ")");
    return list;
}

static void parse_if(struct parser *p, struct jinja_node *node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (;;) { /* every elif is an if in the else of the one before */
        node->a = expression(p);
        end_block(p);
        node->body = statements(p, ends);
        if (p->err)
            return;
        if (at_word(p, "elif")) {
            next(p);
            struct jinja_node *inner = make(p, NODE_IF);
            if (!inner)
                return;
            node->other = inner;
            node = inner;
            continue;
        }
        if (skip_word(p, "else")) {
            end_block(p);
            node->other = body_until(p, "endif");
            return;
        }
        next(p);
        end_block(p);
        return;
    }
}

static void parse_for(struct parser *p, struct jinja_node *node)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    node->list = targets(p, false);
    if (!skip_word(p, "in"))
        fail(p, ERR_INVALID, "'in' is missing");
    node->a = disjunction(p); /* an "if" behind it is the loop's filter */
    if (at_symbol(p, ",")) {
        struct jinja_node *list = make(p, NODE_LIST), *tail = NULL;
        for (struct jinja_node *item = node->a; list && !p->err; item = disjunction(p)) {
            append(&list->list, &tail, item);
            if (!skip_symbol(p, ","))
                break;
        }
        node->a = list ? list : &nothing;
    }
    if (skip_word(p, "if"))
        node->b = expression(p);
    if (at_word(p, "recursive"))
        fail(p, ERR_UNSUPPORTED, "recursive loops are not supported");
    end_block(p);
    node->body = statements(p, ends);
    if (skip_word(p, "else")) {
        end_block(p);
        node->other = body_until(p, "endfor");
        return;
    }
    next(p);
    end_block(p);
}

/* Behind "(": parameters with defaults, up to ")". */
static struct jinja_node *parameters(struct parser *p)
{
    struct jinja_node *list = NULL, *tail = NULL;
    while (!p->err && !at_symbol(p, ")")) {
        struct jinja_node *node = name_node(p, NODE_NAME);
        if (node && skip_symbol(p, "="))
            node->a = expression(p);
        append(&list, &tail, node);
        if (!at_symbol(p, ")"))
            expect_symbol(p, ",");
    }
    expect_symbol(p, ")");
    return list;
}

static void parse_set(struct parser *p, struct jinja_node *node)
{
    node->list = targets(p, true);
    if (skip_symbol(p, "=")) {
        node->a = tuple(p);
        end_block(p);
        return;
    }
    struct jinja_node *chain = make(p, NODE_BODY);
    while (chain && !p->err && skip_symbol(p, "|"))
        chain = filter_of(p, chain);
    node->b = chain; /* what becomes of the captured text */
    end_block(p);
    node->body = body_until(p, "endset");
}

static struct jinja_node *statement(struct parser *p)
{
    static const struct {
        const char *word;
        enum jinja_node_kind kind;
    } words[] = {{"if", NODE_IF},         {"for", NODE_FOR},           {"set", NODE_SET},
                 {"macro", NODE_MACRO},   {"call", NODE_CALL_BLOCK},   {"filter", NODE_FILTER_BLOCK},
                 {"with", NODE_SCOPE},    {"generation", NODE_SCOPE},  {"break", NODE_BREAK},
                 {"continue", NODE_CONTINUE}};
    struct jinja_node *node = NULL;
    size_t i = 0;
    while (i < sizeof words / sizeof *words && !at_word(p, words[i].word))
        i++;
    if (i == sizeof words / sizeof *words) {
        char what[100] = "the statement '";
        size_t bytes = p->token == T_NAME ? p->text_bytes : 0;
        bytes = bytes < 40 ? bytes : 40;
        if (bytes)
            memcpy(what + strlen(what), p->text, bytes);
        strcat(what, "' is not supported here");
        fail(p, ERR_UNSUPPORTED, what);
        return NULL;
    }
    node = make(p, words[i].kind);
    bool generation = at_word(p, "generation");
    next(p);
    if (!node)
        return NULL;
    switch (node->kind) {
    case NODE_IF: parse_if(p, node); break;
    case NODE_FOR: parse_for(p, node); break;
    case NODE_SET: parse_set(p, node); break;
    case NODE_MACRO:
        if (p->token == T_NAME) {
            node->text = p->text;
            node->bytes = p->text_bytes;
        }
        next(p);
        expect_symbol(p, "(");
        node->list = parameters(p);
        end_block(p);
        node->body = body_until(p, "endmacro");
        break;
    case NODE_CALL_BLOCK:
        if (skip_symbol(p, "("))
            node->list = parameters(p);
        node->a = expression(p);
        end_block(p);
        node->body = body_until(p, "endcall");
        break;
    case NODE_FILTER_BLOCK:
        node->a = make(p, NODE_BODY);
        if (!node->a)
            return NULL;
        do
            node->a = filter_of(p, node->a);
        while (!p->err && skip_symbol(p, "|"));
        end_block(p);
        node->body = body_until(p, "endfilter");
        break;
    case NODE_SCOPE: {
        struct jinja_node *tail = NULL;
        while (!generation && !p->err && p->token == T_NAME) {
            struct jinja_node *name = name_node(p, NODE_NAME);
            expect_symbol(p, "=");
            struct jinja_node *value = expression(p);
            if (name)
                name->a = value;
            append(&node->list, &tail, name);
            if (!skip_symbol(p, ","))
                break;
        }
        end_block(p);
        node->body = body_until(p, generation ? "endgeneration" : "endwith");
        break;
    }
    default: end_block(p); break;
    }
    return node;
}

/* Statements until a block that begins with one of `ends` (NULL: the end of the source), whose word
 * is then the current token. */
static struct jinja_node *statements(struct parser *p, const char *const *ends)
{
    struct jinja_node *list = NULL, *tail = NULL;
    if (!enter(p))
        return NULL;
    while (!p->err) {
        struct jinja_node *node = NULL;
        if (p->token == T_END) {
            if (ends)
                fail(p, ERR_INVALID, "a block is not closed");
            break;
        }
        if (p->token == T_TEXT) {
            node = make(p, NODE_TEXT);
            if (node) {
                node->text = p->text;
                node->bytes = p->text_bytes;
            }
            next(p);
        } else if (p->token == T_PRINT_BEGIN) {
            next(p);
            node = make2(p, NODE_PRINT, tuple(p), NULL);
            if (p->token != T_PRINT_END)
                fail(p, ERR_INVALID, "'}}' is missing");
            next(p);
        } else {
            next(p);
            for (size_t i = 0; ends && ends[i]; i++)
                if (at_word(p, ends[i])) {
                    p->nest--;
                    return list;
                }
            node = statement(p);
        }
        append(&list, &tail, node);
    }
    p->nest--;
    return list;
}

enum err jinja_create(const char *source, size_t bytes, struct jinja **out, struct report *report)
{
    struct jinja *jinja = mem_calloc(NULL, 1, sizeof *jinja);
    if (!jinja)
        return err_set(report, ERR_MEMORY, "no memory for a chat template");
    arena_init(&jinja->arena, NULL);
    char *copy = bytes < 4u << 20 ? arena_alloc(&jinja->arena, bytes + 1) : NULL;
    if (!copy) {
        jinja_destroy(jinja);
        return err_set(report, ERR_LIMIT, "a chat template of %zu bytes is too large", bytes);
    }
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (source[i] == '\r' && i + 1 < bytes && source[i + 1] == '\n')
            continue;
        copy[count++] = source[i] == '\r' ? '\n' : source[i];
    }
    count -= count > 0 && copy[count - 1] == '\n';
    copy[count] = 0;
    struct parser p = {.arena = &jinja->arena, .report = report, .source = copy, .bytes = count,
                       .line = 1, .line_starts = true};
    next(&p);
    jinja->body = statements(&p, NULL);
    if (p.err) {
        jinja_destroy(jinja);
        return p.err;
    }
    *out = jinja;
    return ERR_OK;
}

void jinja_destroy(struct jinja *jinja)
{
    if (!jinja)
        return;
    arena_deinit(&jinja->arena);
    mem_free(NULL, jinja);
}
