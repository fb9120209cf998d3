#include "engine/grammar/ast.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"

void ast_init(struct ast *ast, struct report *report)
{
    *ast = (struct ast){.report = report};
    buf_init(&ast->bytes, NULL);
    map_init(&ast->names, NULL);
}

void ast_deinit(struct ast *ast)
{
    vec_free(NULL, &ast->nodes);
    vec_free(NULL, &ast->rules);
    vec_free(NULL, &ast->ranges);
    buf_deinit(&ast->bytes);
    map_deinit(&ast->names);
}

static uint32_t fail(struct ast *ast, enum err err)
{
    if (ast->err == ERR_OK)
        ast->err = err_set(ast->report, err,
                           err == ERR_MEMORY ? "Out of memory while reading the grammar"
                                             : "The grammar is too large");
    return AST_NONE;
}

static uint32_t add(struct ast *ast, struct ast_node node)
{
    if (ast->err != ERR_OK)
        return AST_NONE;
    if (ast->nodes.count >= AST_NODES_MAX)
        return fail(ast, ERR_LIMIT);
    node.next = AST_NONE;
    if (!vec_push(NULL, &ast->nodes, node))
        return fail(ast, ERR_MEMORY);
    return (uint32_t)ast->nodes.count - 1;
}

uint32_t ast_empty(struct ast *ast)
{
    return add(ast, (struct ast_node){.kind = AST_EMPTY});
}

uint32_t ast_bytes(struct ast *ast, const char *text, size_t bytes)
{
    size_t at = ast->bytes.count;
    if (bytes == 0)
        return ast_empty(ast);
    if (at + bytes > UINT32_MAX / 2)
        return fail(ast, ERR_LIMIT);
    if (!buf_append(&ast->bytes, text, bytes))
        return fail(ast, ERR_MEMORY);
    return add(ast, (struct ast_node){.kind = AST_BYTES, .a = (uint32_t)at, .b = (uint32_t)bytes});
}

uint32_t ast_text(struct ast *ast, const char *text)
{
    return ast_bytes(ast, text, strlen(text));
}

static int by_first(const void *a, const void *b)
{
    const struct ast_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static bool put_range(struct ast *ast, uint32_t first, uint32_t last)
{
    /* surrogates are no characters */
    if (first < 0xD800 && last >= 0xD800)
        return put_range(ast, first, 0xD7FF) && (last <= 0xDFFF || put_range(ast, 0xE000, last));
    if (first >= 0xD800 && first <= 0xDFFF) {
        if (last <= 0xDFFF)
            return true;
        first = 0xE000;
    }
    return vec_push(NULL, &ast->ranges, (struct ast_range){first, last});
}

uint32_t ast_class(struct ast *ast, const struct ast_range *ranges, size_t count, bool negated)
{
    struct ast_range *sorted = mem_calloc(NULL, count + 1, sizeof *sorted);
    size_t first = ast->ranges.count;
    bool ok = sorted != NULL;
    if (!sorted)
        return fail(ast, ERR_MEMORY);
    if (count > 0)
        memcpy(sorted, ranges, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_first);
    size_t merged = 0;
    for (size_t i = 0; i < count; i++) {
        if (merged > 0 && sorted[i].first <= sorted[merged - 1].last + 1) {
            if (sorted[i].last > sorted[merged - 1].last)
                sorted[merged - 1].last = sorted[i].last;
        } else {
            sorted[merged++] = sorted[i];
        }
    }
    if (negated) {
        uint32_t from = 0;
        for (size_t i = 0; i < merged && ok; i++) {
            if (sorted[i].first > from)
                ok = put_range(ast, from, sorted[i].first - 1);
            from = sorted[i].last + 1;
        }
        if (ok && from <= 0x10FFFF)
            ok = put_range(ast, from, 0x10FFFF);
    } else {
        for (size_t i = 0; i < merged && ok; i++)
            ok = put_range(ast, sorted[i].first, sorted[i].last);
    }
    mem_free(NULL, sorted);
    if (!ok)
        return fail(ast, ERR_MEMORY);
    return add(ast, (struct ast_node){.kind = AST_CLASS,
                                      .a = (uint32_t)first,
                                      .b = (uint32_t)(ast->ranges.count - first)});
}

uint32_t ast_list(struct ast *ast, enum ast_kind kind)
{
    return add(ast, (struct ast_node){.kind = kind, .a = AST_NONE, .b = AST_NONE});
}

void ast_add(struct ast *ast, uint32_t list, uint32_t child)
{
    if (list == AST_NONE || child == AST_NONE || ast->err != ERR_OK)
        return;
    struct ast_node *node = &ast->nodes.items[list];
    if (node->a == AST_NONE)
        node->a = child;
    else
        ast->nodes.items[node->b].next = child;
    node->b = child;
}

uint32_t ast_repeat(struct ast *ast, uint32_t child, uint32_t min, uint32_t max)
{
    return add(ast, (struct ast_node){.kind = AST_REPEAT, .a = child, .min = min, .max = max});
}

uint32_t ast_ref(struct ast *ast, uint32_t rule)
{
    return add(ast, (struct ast_node){.kind = AST_REF, .a = rule});
}

uint32_t ast_seq2(struct ast *ast, uint32_t first, uint32_t second)
{
    uint32_t list = ast_list(ast, AST_SEQ);
    ast_add(ast, list, first);
    ast_add(ast, list, second);
    return list;
}

uint32_t ast_seq3(struct ast *ast, uint32_t first, uint32_t second, uint32_t third)
{
    uint32_t list = ast_seq2(ast, first, second);
    ast_add(ast, list, third);
    return list;
}

/* ---- rules ---- */

static uint32_t add_rule(struct ast *ast, const char *name, size_t bytes)
{
    size_t at = ast->bytes.count;
    if (ast->err != ERR_OK)
        return AST_NONE;
    if (ast->rules.count >= AST_NODES_MAX || at + bytes > UINT32_MAX / 2)
        return fail(ast, ERR_LIMIT);
    struct ast_rule rule = {(uint32_t)at, (uint32_t)bytes, AST_NONE};
    if (!buf_append(&ast->bytes, name, bytes) || !vec_push(NULL, &ast->rules, rule) ||
        !map_set(&ast->names, name, bytes, (void *)(uintptr_t)ast->rules.count))
        return fail(ast, ERR_MEMORY);
    return (uint32_t)ast->rules.count - 1;
}

uint32_t ast_rule(struct ast *ast, const char *name, size_t bytes)
{
    uintptr_t known = (uintptr_t)map_find(&ast->names, name, bytes);
    return known ? (uint32_t)known - 1 : add_rule(ast, name, bytes);
}

uint32_t ast_new_rule(struct ast *ast, const char *name)
{
    struct buf full;
    buf_init(&full, NULL);
    uint32_t rule = AST_NONE;
    if (buf_printf(&full, "%s-%zu", name, ast->rules.count))
        rule = add_rule(ast, full.data, full.count);
    else
        (void)fail(ast, ERR_MEMORY);
    buf_deinit(&full);
    return rule;
}

void ast_define(struct ast *ast, uint32_t rule, uint32_t body)
{
    if (rule != AST_NONE && ast->err == ERR_OK)
        ast->rules.items[rule].body = body;
}

/* ---- printing ---- */

static void print_char(uint32_t point, const char *special, struct buf *out)
{
    if (point == '\n')
        (void)buf_puts(out, "\\n");
    else if (point == '\t')
        (void)buf_puts(out, "\\t");
    else if (point == '\r')
        (void)buf_puts(out, "\\r");
    else if (point < 0x20 || point == 0x7F)
        (void)buf_printf(out, "\\x%02X", point);
    else if (point < 0x80 && strchr(special, (int)point))
        (void)buf_printf(out, "\\%c", (int)point);
    else if (point < 0x7F)
        (void)buf_putc(out, (char)point);
    else
        (void)buf_printf(out, point > 0xFFFF ? "\\U%08X" : "\\u%04X", point);
}

static void print_bytes(const char *data, size_t bytes, struct buf *out)
{
    (void)buf_putc(out, '"');
    for (size_t at = 0; at < bytes;) {
        if ((unsigned char)data[at] >= 0x80 && utf8_sequence_bytes(data + at, bytes - at) == 0) {
            (void)buf_printf(out, "\\x%02X", (unsigned char)data[at++]);
            continue;
        }
        print_char(utf8_next(data, bytes, &at), "\"\\", out);
    }
    (void)buf_putc(out, '"');
}

/* `level`: 0 in an alternative's place, 1 in a sequence, 2 under a repetition. Depth is bounded by
 * what the readers accept. */
static void print_node(const struct ast *ast, uint32_t index, int level, struct buf *out)
{
    const struct ast_node *node = &ast->nodes.items[index];
    bool group = (node->kind == AST_ALT && level > 0) || (node->kind == AST_SEQ && level > 1);
    if (group)
        (void)buf_putc(out, '(');
    switch (node->kind) {
    case AST_EMPTY: (void)buf_puts(out, "\"\""); break;
    case AST_BYTES: print_bytes(ast->bytes.data + node->a, node->b, out); break;
    case AST_CLASS:
        (void)buf_putc(out, '[');
        for (uint32_t i = node->a; i < node->a + node->b; i++) {
            const struct ast_range *range = &ast->ranges.items[i];
            print_char(range->first, "]\\-^", out);
            if (range->last > range->first) {
                (void)buf_putc(out, '-');
                print_char(range->last, "]\\-^", out);
            }
        }
        (void)buf_putc(out, ']');
        break;
    case AST_SEQ:
    case AST_ALT:
        if (node->a == AST_NONE)
            (void)buf_puts(out, node->kind == AST_SEQ ? "\"\"" : "[]");
        for (uint32_t child = node->a; child != AST_NONE; child = ast->nodes.items[child].next) {
            if (child != node->a)
                (void)buf_puts(out, node->kind == AST_ALT ? " | " : " ");
            print_node(ast, child, node->kind == AST_ALT ? 1 : 2, out);
        }
        break;
    case AST_REPEAT: {
        bool wrap = ast->nodes.items[node->a].kind == AST_REPEAT;
        (void)buf_puts(out, wrap ? "(" : "");
        print_node(ast, node->a, 2, out);
        (void)buf_puts(out, wrap ? ")" : "");
        if (node->min == 0 && node->max == AST_INFINITE)
            (void)buf_putc(out, '*');
        else if (node->min == 1 && node->max == AST_INFINITE)
            (void)buf_putc(out, '+');
        else if (node->min == 0 && node->max == 1)
            (void)buf_putc(out, '?');
        else if (node->max == AST_INFINITE)
            (void)buf_printf(out, "{%u,}", node->min);
        else
            (void)buf_printf(out, "{%u,%u}", node->min, node->max);
        break;
    }
    case AST_REF: {
        const struct ast_rule *rule = &ast->rules.items[node->a];
        (void)buf_append(out, ast->bytes.data + rule->name, rule->name_bytes);
        break;
    }
    }
    if (group)
        (void)buf_putc(out, ')');
}

bool ast_print(const struct ast *ast, struct buf *out)
{
    for (size_t i = 0; i < ast->rules.count; i++) {
        const struct ast_rule *rule = &ast->rules.items[i];
        (void)buf_append(out, ast->bytes.data + rule->name, rule->name_bytes);
        (void)buf_puts(out, " ::= ");
        print_node(ast, rule->body, 0, out);
        (void)buf_putc(out, '\n');
    }
    return !out->failed;
}

/* ---- JSON ---- */

/* The rule `name`; *made is true when it is new and waits for a body. */
static uint32_t once(struct ast *ast, const char *name, bool *made)
{
    size_t before = ast->rules.count;
    uint32_t rule = ast_rule(ast, name, strlen(name));
    *made = ast->rules.count > before;
    return rule;
}

uint32_t ast_json_space(struct ast *ast)
{
    static const struct ast_range spaces[] = {{' ', ' '}, {'\t', '\t'}, {'\n', '\n'}, {'\r', '\r'}};
    bool made;
    uint32_t rule = once(ast, "ws", &made);
    if (made)
        ast_define(ast, rule, ast_repeat(ast, ast_class(ast, spaces, 4, false), 0, AST_INFINITE));
    return ast_ref(ast, rule);
}

uint32_t ast_json_char(struct ast *ast)
{
    static const struct ast_range plain[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    static const struct ast_range escapes[] = {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'},
                                               {'f', 'f'}, {'n', 'n'},   {'r', 'r'}, {'t', 't'}};
    static const struct ast_range hex[] = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
    static const struct ast_range hex_not_d[] = {
        {'0', '9'}, {'a', 'c'}, {'e', 'f'}, {'A', 'C'}, {'E', 'F'}};
    static const struct ast_range d[] = {{'d', 'd'}, {'D', 'D'}};
    static const struct ast_range low_half[] = {{'0', '7'}};
    static const struct ast_range high[] = {{'8', '9'}, {'a', 'b'}, {'A', 'B'}};
    static const struct ast_range low[] = {{'c', 'f'}, {'C', 'F'}};
    bool made;
    uint32_t rule = once(ast, "json_char", &made);
    if (!made)
        return ast_ref(ast, rule);
    /* \uXXXX that is no surrogate, or a pair of them: one character either way */
    uint32_t one = ast_list(ast, AST_ALT);
    ast_add(ast, one,
            ast_seq2(ast, ast_class(ast, hex_not_d, 5, false),
                     ast_repeat(ast, ast_class(ast, hex, 3, false), 3, 3)));
    ast_add(ast, one,
            ast_seq3(ast, ast_class(ast, d, 2, false), ast_class(ast, low_half, 1, false),
                     ast_repeat(ast, ast_class(ast, hex, 3, false), 2, 2)));
    uint32_t pair = ast_seq3(ast, ast_class(ast, d, 2, false), ast_class(ast, high, 3, false),
                             ast_repeat(ast, ast_class(ast, hex, 3, false), 2, 2));
    ast_add(ast, pair, ast_text(ast, "\\u"));
    ast_add(ast, pair, ast_class(ast, d, 2, false));
    ast_add(ast, pair, ast_class(ast, low, 2, false));
    ast_add(ast, pair, ast_repeat(ast, ast_class(ast, hex, 3, false), 2, 2));
    ast_add(ast, one, pair);
    uint32_t escape = ast_list(ast, AST_ALT);
    ast_add(ast, escape, ast_class(ast, escapes, 8, false));
    ast_add(ast, escape, ast_seq2(ast, ast_text(ast, "u"), one));
    uint32_t body = ast_list(ast, AST_ALT);
    ast_add(ast, body, ast_class(ast, plain, 3, true));
    ast_add(ast, body, ast_seq2(ast, ast_text(ast, "\\"), escape));
    ast_define(ast, rule, body);
    return ast_ref(ast, rule);
}

/* Unlike json_char this looks at no surrogates: the loop over characters stays one automaton. */
uint32_t ast_json_string(struct ast *ast)
{
    static const struct ast_range plain[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    static const struct ast_range escapes[] = {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'},
                                               {'f', 'f'}, {'n', 'n'},   {'r', 'r'}, {'t', 't'}};
    static const struct ast_range hex[] = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
    bool made;
    uint32_t rule = once(ast, "json_string", &made);
    if (!made)
        return ast_ref(ast, rule);
    uint32_t escape = ast_list(ast, AST_ALT);
    ast_add(ast, escape, ast_class(ast, escapes, 8, false));
    ast_add(
        ast, escape,
        ast_seq2(ast, ast_text(ast, "u"), ast_repeat(ast, ast_class(ast, hex, 3, false), 4, 4)));
    uint32_t one = ast_list(ast, AST_ALT);
    ast_add(ast, one, ast_class(ast, plain, 3, true));
    ast_add(ast, one, ast_seq2(ast, ast_text(ast, "\\"), escape));
    ast_define(ast, rule,
               ast_seq3(ast, ast_text(ast, "\""), ast_repeat(ast, one, 0, AST_INFINITE),
                        ast_text(ast, "\"")));
    return ast_ref(ast, rule);
}

static uint32_t digits(struct ast *ast, char first, uint32_t min, uint32_t max)
{
    struct ast_range range = {(uint32_t)first, '9'};
    return ast_repeat(ast, ast_class(ast, &range, 1, false), min, max);
}

uint32_t ast_json_integer(struct ast *ast)
{
    bool made;
    uint32_t rule = once(ast, "json_integer", &made);
    if (made) {
        uint32_t whole = ast_list(ast, AST_ALT);
        ast_add(ast, whole, ast_text(ast, "0"));
        ast_add(ast, whole,
                ast_seq2(ast, digits(ast, '1', 1, 1), digits(ast, '0', 0, AST_INFINITE)));
        ast_define(ast, rule, ast_seq2(ast, ast_repeat(ast, ast_text(ast, "-"), 0, 1), whole));
    }
    return ast_ref(ast, rule);
}

uint32_t ast_json_number(struct ast *ast)
{
    static const struct ast_range e[] = {{'e', 'e'}, {'E', 'E'}}, sign[] = {{'+', '+'}, {'-', '-'}};
    bool made;
    uint32_t rule = once(ast, "json_number", &made);
    if (made) {
        uint32_t body = ast_list(ast, AST_SEQ);
        ast_add(ast, body, ast_json_integer(ast));
        ast_add(ast, body,
                ast_repeat(ast,
                           ast_seq2(ast, ast_text(ast, "."), digits(ast, '0', 1, AST_INFINITE)), 0,
                           1));
        ast_add(ast, body,
                ast_repeat(ast,
                           ast_seq3(ast, ast_class(ast, e, 2, false),
                                    ast_repeat(ast, ast_class(ast, sign, 2, false), 0, 1),
                                    digits(ast, '0', 1, AST_INFINITE)),
                           0, 1));
        ast_define(ast, rule, body);
    }
    return ast_ref(ast, rule);
}

uint32_t ast_json_value(struct ast *ast)
{
    bool made;
    uint32_t rule = once(ast, "json_value", &made);
    if (!made)
        return ast_ref(ast, rule);
    /* member ::= string ws ":" ws value ws */
    uint32_t member = ast_new_rule(ast, "json_member");
    uint32_t body = ast_seq3(ast, ast_json_string(ast), ast_json_space(ast), ast_text(ast, ":"));
    ast_add(ast, body, ast_json_space(ast));
    ast_add(ast, body, ast_ref(ast, rule));
    ast_add(ast, body, ast_json_space(ast));
    ast_define(ast, member, body);
    uint32_t value = ast_list(ast, AST_ALT);
    for (int object = 1; object >= 0; object--) {
        uint32_t items[2];
        for (int i = 0; i < 2; i++)
            items[i] = object ? ast_ref(ast, member)
                              : ast_seq2(ast, ast_ref(ast, rule), ast_json_space(ast));
        uint32_t more = ast_repeat(
            ast, ast_seq3(ast, ast_text(ast, ","), ast_json_space(ast), items[1]), 0, AST_INFINITE);
        uint32_t container = ast_seq3(ast, ast_text(ast, object ? "{" : "["), ast_json_space(ast),
                                      ast_repeat(ast, ast_seq2(ast, items[0], more), 0, 1));
        ast_add(ast, container, ast_text(ast, object ? "}" : "]"));
        ast_add(ast, value, container);
    }
    ast_add(ast, value, ast_json_string(ast));
    ast_add(ast, value, ast_json_number(ast));
    ast_add(ast, value, ast_text(ast, "true"));
    ast_add(ast, value, ast_text(ast, "false"));
    ast_add(ast, value, ast_text(ast, "null"));
    ast_define(ast, rule, value);
    return ast_ref(ast, rule);
}
