/* Inside the template interpreter: nodes, values, and what its files share. */
#ifndef ENGINE_CHAT_JINJA_IMPL_H
#define ENGINE_CHAT_JINJA_IMPL_H

#include <stdbool.h>
#include <string.h>

#include "engine/base/arena.h"
#include "engine/base/mem.h"
#include "engine/chat/jinja.h"

/* ---- Nodes --------------------------------------------------------------------------------- */

enum jinja_node_kind {
    /* statements: `a` the expression, `body` the first of a list, `other` another list */
    NODE_TEXT,   /* text */
    NODE_PRINT,  /* a */
    NODE_IF,     /* a, body, other */
    NODE_FOR,    /* list: target names; a: what to go through; b: filter; body; other: else */
    NODE_SET,    /* list: targets (NAME, or ATTRIBUTE of a namespace); a: value, or NULL: body */
    NODE_MACRO,  /* text: name; list: NAME nodes with their defaults in a; body */
    NODE_CALL_BLOCK, /* a: the call; list: parameters; body */
    NODE_FILTER_BLOCK, /* a: a chain of filters over a NODE_BODY; body */
    NODE_SCOPE,  /* list: NAME nodes with values in a (with); body */
    NODE_BREAK,
    NODE_CONTINUE,
    /* expressions */
    NODE_STRING, /* text */
    NODE_INT,
    NODE_FLOAT,
    NODE_BOOL,   /* integer */
    NODE_NONE,
    NODE_NAME,   /* text */
    NODE_LIST,   /* list; integer 1: a tuple */
    NODE_DICT,   /* list: keys, each with its value in a... as PAIR nodes (a, b) */
    NODE_PAIR,
    NODE_ATTRIBUTE, /* a, text */
    NODE_ITEM,   /* a, b */
    NODE_SLICE,  /* a; list of three, each possibly NODE_NONE */
    NODE_CALL,   /* a; list: arguments, KEYWORD nodes last */
    NODE_KEYWORD, /* text, a */
    NODE_FILTER, /* a; text; list */
    NODE_TEST,   /* a; text; list */
    NODE_NOT, NODE_NEGATE, NODE_PLUS, /* a */
    NODE_AND, NODE_OR, NODE_CONDITIONAL, /* a, b; b ? a : other (may be NULL) */
    NODE_ADD, NODE_SUBTRACT, NODE_MULTIPLY, NODE_DIVIDE, NODE_FLOOR_DIVIDE, NODE_MODULO, NODE_POWER,
    NODE_CONCAT,
    NODE_EQUAL, NODE_NOT_EQUAL, NODE_LESS, NODE_LESS_EQUAL, NODE_GREATER, NODE_GREATER_EQUAL,
    NODE_IN, NODE_NOT_IN,
    NODE_BODY, /* the text that a filter block captured */
};

struct jinja_node {
    enum jinja_node_kind kind;
    uint32_t line;
    const char *text;
    size_t bytes;
    int64_t integer;
    double number;
    struct jinja_node *a, *b;
    struct jinja_node *list, *body, *other; /* firsts of lists linked by next */
    struct jinja_node *next;
};

struct jinja {
    struct arena arena;
    struct jinja_node *body;
};

enum {
    JINJA_NEST_MAX = 120,        /* expressions and blocks inside one another, in the source */
    JINJA_DEPTH_MAX = 700,       /* of evaluation */
    JINJA_VALUE_DEPTH_MAX = 100, /* of lists and dicts, when they are walked */
    JINJA_STEPS_MAX = 4000000,
    JINJA_RANGE_MAX = 100000,
    JINJA_OUTPUT_MAX = 16 << 20,
    JINJA_MEMORY_MAX = 64 << 20,
};

/* ---- Values -------------------------------------------------------------------------------- */

enum jinja_kind {
    JINJA_UNDEFINED, JINJA_NONE, JINJA_BOOL, JINJA_INT, JINJA_FLOAT, JINJA_STRING, JINJA_LIST,
    JINJA_DICT, JINJA_NAMESPACE, JINJA_MACRO, JINJA_FUNCTION, JINJA_METHOD,
};

struct jinja_string {
    const char *data;
    size_t bytes;
};

/* Lives until the rendering ends. Strings, lists and dicts do not change once they can be seen;
 * namespaces do. */
struct jinja_value {
    enum jinja_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct jinja_string s; /* STRING; UNDEFINED: the name that was not there; FUNCTION: its name */
        struct jinja_list *list;
        struct jinja_dict *dict; /* DICT, NAMESPACE */
        struct jinja_macro *macro;
        struct jinja_method *method;
    } of;
};

struct jinja_list {
    bool tuple; /* printed with ( ) */
    size_t count, capacity;
    struct jinja_value *items;
};

struct jinja_dict { /* in the order of insertion */
    size_t count, capacity;
    struct jinja_entry {
        struct jinja_value key, value;
    } *items;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_dict vars;
};

struct jinja_macro {
    const struct jinja_node *node; /* MACRO or CALL_BLOCK */
    struct jinja_scope *scope;     /* it was made in */
};

struct jinja_method {
    struct jinja_value self;
    struct jinja_string name;
};

struct jinja_args {
    struct jinja_list positional;
    struct jinja_dict named;
};

struct jinja_run {
    struct mem_heap *heap;
    struct arena arena;
    struct report *report;
    struct jinja_scope *scope; /* where `set` writes */
    struct jinja_scope *root;
    struct buf *out;           /* where text goes now */
    struct jinja_string body;  /* of the filter block under way */
    uint64_t steps;
    unsigned depth;
    uint32_t line;             /* of the node under way */
    int64_t now_s;
    enum { JINJA_ON, JINJA_BREAK, JINJA_CONTINUE } flow;
    enum err err;              /* the first failure; everything then returns quickly */
};

/* Records a failure (the first counts), with the line; gives undefined. */
struct jinja_value jinja_fail(struct jinja_run *run, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts work; false when that was too much. */
bool jinja_step(struct jinja_run *run, uint64_t steps);
void *jinja_alloc(struct jinja_run *run, size_t bytes); /* NULL: failure is recorded */

struct jinja_value jinja_bool(bool value);
struct jinja_value jinja_int(int64_t value);
struct jinja_value jinja_text(const char *data, size_t bytes); /* borrowed */
struct jinja_value jinja_copy(struct jinja_run *run, const char *data, size_t bytes);
struct jinja_value jinja_new_list(struct jinja_run *run);
struct jinja_value jinja_new_dict(struct jinja_run *run);
void jinja_push(struct jinja_run *run, struct jinja_list *list, struct jinja_value value);
void jinja_put(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
               struct jinja_value value);
struct jinja_value *jinja_find(struct jinja_run *run, const struct jinja_dict *dict,
                               const char *key, size_t bytes); /* NULL: none */
bool jinja_is(struct jinja_string string, const char *text);

bool jinja_truth(const struct jinja_value *value);
bool jinja_equal(struct jinja_run *run, const struct jinja_value *a, const struct jinja_value *b);
/* -1, 0, 1; fails for kinds without an order. */
int jinja_compare(struct jinja_run *run, const struct jinja_value *a, const struct jinja_value *b);
/* Whether `item` is in a list, dict or string. */
bool jinja_contains(struct jinja_run *run, const struct jinja_value *container,
                    const struct jinja_value *item);
const char *jinja_kind_name(const struct jinja_value *value);
/* What iteration over a value gives, as a list; fails for values without items. */
const struct jinja_list *jinja_items(struct jinja_run *run, const struct jinja_value *value);
/* As print shows it; of lists and dicts, as Python's repr. */
void jinja_print(struct jinja_run *run, const struct jinja_value *value, struct buf *out);
void jinja_print_float(double value, struct buf *out);
/* indent < 0: on one line. */
void jinja_print_json(struct jinja_run *run, const struct jinja_value *value, int64_t indent,
                      bool ascii, bool sorted, struct buf *out);
/* The text of a buffer as a value; frees the buffer. */
struct jinja_value jinja_take(struct jinja_run *run, struct buf *buf);
struct jinja_value jinja_to_text(struct jinja_run *run, const struct jinja_value *value);
/* `object.name` and `object[key]`; undefined when there is none. */
struct jinja_value jinja_attribute(struct jinja_run *run, const struct jinja_value *object,
                                   struct jinja_string name);
struct jinja_value jinja_item(struct jinja_run *run, const struct jinja_value *object,
                              const struct jinja_value *key);

/* Characters are code points. */
size_t jinja_length(struct jinja_string s);
bool jinja_is_space(uint32_t code_point);

/* ---- Built in ------------------------------------------------------------------------------ */

/* Argument `index`, or the one of that name, or NULL. */
const struct jinja_value *jinja_arg(struct jinja_run *run, const struct jinja_args *args,
                                    size_t index, const char *name);
struct jinja_value jinja_filter(struct jinja_run *run, struct jinja_string name,
                                const struct jinja_value *value, const struct jinja_args *args);
bool jinja_test(struct jinja_run *run, struct jinja_string name, const struct jinja_value *value,
                const struct jinja_args *args);
struct jinja_value jinja_method_call(struct jinja_run *run, const struct jinja_value *self,
                                     struct jinja_string name, const struct jinja_args *args);
bool jinja_has_method(const struct jinja_value *self, struct jinja_string name);
struct jinja_value jinja_function_call(struct jinja_run *run, struct jinja_string name,
                                       const struct jinja_args *args);
bool jinja_has_function(struct jinja_string name);
/* Calls a macro, method or function. */
struct jinja_value jinja_call(struct jinja_run *run, const struct jinja_value *callee,
                              const struct jinja_args *args);

#endif
