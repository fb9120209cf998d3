/* Inside engine/grammar/: grammars as trees, before they become automata. Nodes live in one array
 * and are named by index; a node has one parent. */
#ifndef ENGINE_GRAMMAR_AST_H
#define ENGINE_GRAMMAR_AST_H

#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "engine/grammar/gram.h"

#define AST_NONE      UINT32_MAX
#define AST_INFINITE  UINT32_MAX
#define AST_NODES_MAX (1u << 20)
#define AST_DEPTH_MAX 200 /* of nested groups in a source; bounds every recursion over trees */

enum ast_kind { AST_EMPTY, AST_CLASS, AST_BYTES, AST_SEQ, AST_ALT, AST_REPEAT, AST_REF };

struct ast_range {
    uint32_t first, last; /* code points; classes are sorted, without surrogates or overlaps */
};

struct ast_node {
    enum ast_kind kind;
    uint32_t next; /* the next child of the same parent */
    /* CLASS: first range and count. BYTES: offset and length. SEQ, ALT: first child and last child
     * (AST_NONE: none). REPEAT: child. REF: rule */
    uint32_t a, b;
    uint32_t min, max; /* REPEAT */
};

struct ast_rule {
    uint32_t name, name_bytes; /* in bytes */
    uint32_t body;             /* AST_NONE: named but not defined */
};

struct ast {
    struct {
        struct ast_node *items;
        size_t count, capacity;
    } nodes;
    struct {
        struct ast_rule *items;
        size_t count, capacity;
    } rules;
    struct {
        struct ast_range *items;
        size_t count, capacity;
    } ranges;
    struct buf bytes;
    struct map names;      /* of rules, to index + 1 */
    struct report *report; /* where failures go */
    enum err err;          /* the first failure: memory or AST_NODES_MAX; builders then return
                              AST_NONE, and callers need only look at the end */
};

void ast_init(struct ast *ast, struct report *report);
void ast_deinit(struct ast *ast);

uint32_t ast_empty(struct ast *ast);
uint32_t ast_bytes(struct ast *ast, const char *text, size_t bytes);
uint32_t ast_text(struct ast *ast, const char *text);
/* Ranges in any order, overlapping or not; `negated`: all other characters. */
uint32_t ast_class(struct ast *ast, const struct ast_range *ranges, size_t count, bool negated);
/* SEQ or ALT, to be filled by ast_add. */
uint32_t ast_list(struct ast *ast, enum ast_kind kind);
void ast_add(struct ast *ast, uint32_t list, uint32_t child);
uint32_t ast_repeat(struct ast *ast, uint32_t child, uint32_t min, uint32_t max);
uint32_t ast_ref(struct ast *ast, uint32_t rule);
/* SEQ of the given children. */
uint32_t ast_seq2(struct ast *ast, uint32_t first, uint32_t second);
uint32_t ast_seq3(struct ast *ast, uint32_t first, uint32_t second, uint32_t third);

/* The rule of that name, made when new. */
uint32_t ast_rule(struct ast *ast, const char *name, size_t bytes);
/* A new rule whose name begins with `name`. */
uint32_t ast_new_rule(struct ast *ast, const char *name);
void ast_define(struct ast *ast, uint32_t rule, uint32_t body);

/* The grammar as EBNF; false when memory is out. */
bool ast_print(const struct ast *ast, struct buf *out);

/* Any JSON value, as the rule "json_value" and what it needs. */
uint32_t ast_json_value(struct ast *ast);
/* The rule "ws": white space between JSON tokens. */
uint32_t ast_json_space(struct ast *ast);
/* Characters of a JSON string: one character, escaped or not. */
uint32_t ast_json_char(struct ast *ast);
uint32_t ast_json_string(struct ast *ast);
uint32_t ast_json_number(struct ast *ast);
uint32_t ast_json_integer(struct ast *ast);

/* Reads a regular expression into a tree that matches the whole text. With `in_json` it matches the
 * insides of a JSON string whose characters match. */
enum err ast_from_regex(struct ast *ast, const char *text, size_t bytes, bool in_json,
                        uint32_t *node, struct report *report) ERR_MUST_USE;

/* Turns the tree, whose first rule is the root, into a grammar. */
enum err gram_compile(struct ast *ast, struct gram **gram, struct report *report) ERR_MUST_USE;

#endif
