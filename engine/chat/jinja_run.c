/* Walking the nodes. Invariant: once run->err is set, nothing is written and everything returns;
 * every loop of the template counts steps. */
#include "engine/chat/jinja.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "engine/base/utf8.h"
#include "engine/chat/jinja_impl.h"
#include "engine/chat/json.h"

static struct jinja_value eval(struct jinja_run *run, const struct jinja_node *node);
static void execute(struct jinja_run *run, const struct jinja_node *list);

static struct jinja_string text_of(const struct jinja_node *node)
{
    return (struct jinja_string){node->text, node->bytes};
}

/* ---- Variables ----------------------------------------------------------------------------- */

static struct jinja_value look_up(struct jinja_run *run, struct jinja_string name)
{
    for (struct jinja_scope *scope = run->scope; scope; scope = scope->parent) {
        const struct jinja_value *found = jinja_find(run, &scope->vars, name.data, name.bytes);
        if (found)
            return *found;
    }
    if (jinja_has_function(name))
        return (struct jinja_value){JINJA_FUNCTION, {.s = name}};
    return (struct jinja_value){JINJA_UNDEFINED, {.s = name}};
}

static void define(struct jinja_run *run, struct jinja_string name, struct jinja_value value)
{
    jinja_put(run, &run->scope->vars, jinja_text(name.data, name.bytes), value);
}

static struct jinja_scope *push_scope(struct jinja_run *run, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_alloc(run, sizeof *scope);
    if (scope) {
        *scope = (struct jinja_scope){.parent = parent};
        run->scope = scope;
    }
    return scope;
}

/* ---- Expressions --------------------------------------------------------------------------- */

static bool as_number(const struct jinja_value *value, double *number)
{
    if (value->kind == JINJA_FLOAT)
        *number = value->of.f;
    else if (value->kind == JINJA_INT)
        *number = (double)value->of.i;
    else if (value->kind == JINJA_BOOL)
        *number = value->of.b;
    else
        return false;
    return true;
}

static struct jinja_value real(double number)
{
    return (struct jinja_value){JINJA_FLOAT, {.f = number}};
}

static const char *operator_name(enum jinja_node_kind kind)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    return names[kind - NODE_ADD];
}

static struct jinja_value whole_arithmetic(struct jinja_run *run, enum jinja_node_kind kind,
                                           int64_t a, int64_t b)
{
    int64_t result = 0;
    bool over = false;
    if ((kind == NODE_FLOOR_DIVIDE || kind == NODE_MODULO) && b == 0)
        return jinja_fail(run, ERR_INVALID, "division by zero");
    switch (kind) {
    case NODE_ADD: over = __builtin_add_overflow(a, b, &result); break;
    case NODE_SUBTRACT: over = __builtin_sub_overflow(a, b, &result); break;
    case NODE_MULTIPLY: over = __builtin_mul_overflow(a, b, &result); break;
    case NODE_FLOOR_DIVIDE:
        over = a == INT64_MIN && b == -1;
        if (!over)
            result = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case NODE_MODULO:
        if (b != -1)
            result = a % b;
        if (result != 0 && (result < 0) != (b < 0))
            result += b;
        break;
    default: /* power, b >= 0 */
        result = 1;
        for (int64_t i = 0; i < b && !over && jinja_step(run, 1); i++)
            over = __builtin_mul_overflow(result, a, &result);
    }
    return over ? jinja_fail(run, ERR_LIMIT, "a number is too large") : jinja_int(result);
}

/* "%s of %d" % values */
static struct jinja_value format_text(struct jinja_run *run, struct jinja_string format,
                                      const struct jinja_value *values)
{
    struct buf out;
    size_t used = 0;
    const struct jinja_list one = {false, 1, 1, (struct jinja_value[]){*values}};
    const struct jinja_list *list = values->kind == JINJA_LIST ? values->of.list : &one;
    buf_init(&out, run->heap);
    for (size_t i = 0; i < format.bytes && !run->err; i++) {
        char c = format.data[i];
        if (c != '%' || i + 1 == format.bytes) {
            (void)buf_putc(&out, c);
            continue;
        }
        c = format.data[++i];
        if (c == '%')
            (void)buf_putc(&out, '%');
        else if ((c == 's' || c == 'd' || c == 'i') && used < list->count)
            jinja_print(run, &list->items[used++], &out);
        else
            (void)jinja_fail(run, ERR_UNSUPPORTED, "the format '%%%c' is not supported", c);
    }
    return jinja_take(run, &out);
}

static struct jinja_value repeat(struct jinja_run *run, const struct jinja_value *what, int64_t times)
{
    if (what->kind == JINJA_STRING) {
        struct buf out;
        buf_init(&out, run->heap);
        for (int64_t i = 0; i < times && !run->err; i++)
            jinja_print(run, what, &out), (void)jinja_step(run, 1);
        return jinja_take(run, &out);
    }
    struct jinja_value list = jinja_new_list(run);
    for (int64_t i = 0; i < times && !run->err; i++)
        for (size_t j = 0; j < what->of.list->count && jinja_step(run, 1); j++)
            jinja_push(run, list.of.list, what->of.list->items[j]);
    return list;
}

static struct jinja_value arithmetic(struct jinja_run *run, enum jinja_node_kind kind,
                                     const struct jinja_value *a, const struct jinja_value *b)
{
    double x, y;
    if (kind == NODE_ADD && a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
        char *both = jinja_alloc(run, a->of.s.bytes + b->of.s.bytes);
        if (!both || !jinja_step(run, (a->of.s.bytes + b->of.s.bytes) / 64))
            return (struct jinja_value){0};
        if (a->of.s.bytes)
            memcpy(both, a->of.s.data, a->of.s.bytes);
        if (b->of.s.bytes)
            memcpy(both + a->of.s.bytes, b->of.s.data, b->of.s.bytes);
        return jinja_text(both, a->of.s.bytes + b->of.s.bytes);
    }
    if (kind == NODE_ADD && a->kind == JINJA_LIST && b->kind == JINJA_LIST) {
        struct jinja_value list = jinja_new_list(run);
        for (unsigned part = 0; part < 2; part++) {
            const struct jinja_list *from = part ? b->of.list : a->of.list;
            for (size_t i = 0; i < from->count && jinja_step(run, 1); i++)
                jinja_push(run, list.of.list, from->items[i]);
        }
        return list;
    }
    if (kind == NODE_MODULO && a->kind == JINJA_STRING)
        return format_text(run, a->of.s, b);
    if (kind == NODE_MULTIPLY && (a->kind == JINJA_STRING || a->kind == JINJA_LIST) &&
        b->kind == JINJA_INT)
        return repeat(run, a, b->of.i);
    if (kind == NODE_MULTIPLY && (b->kind == JINJA_STRING || b->kind == JINJA_LIST) &&
        a->kind == JINJA_INT)
        return repeat(run, b, a->of.i);
    if (!as_number(a, &x) || !as_number(b, &y))
        return jinja_fail(run, ERR_INVALID, "%s %s %s is not possible", jinja_kind_name(a),
                          operator_name(kind), jinja_kind_name(b));
    bool whole = a->kind != JINJA_FLOAT && b->kind != JINJA_FLOAT && kind != NODE_DIVIDE &&
                 !(kind == NODE_POWER && y < 0);
    if (whole)
        return whole_arithmetic(run, kind, a->kind == JINJA_INT ? a->of.i : a->of.b,
                                b->kind == JINJA_INT ? b->of.i : b->of.b);
    if ((kind == NODE_DIVIDE || kind == NODE_FLOOR_DIVIDE || kind == NODE_MODULO) && y == 0)
        return jinja_fail(run, ERR_INVALID, "division by zero");
    switch (kind) {
    case NODE_ADD: return real(x + y);
    case NODE_SUBTRACT: return real(x - y);
    case NODE_MULTIPLY: return real(x * y);
    case NODE_DIVIDE: return real(x / y);
    case NODE_FLOOR_DIVIDE: return real(floor(x / y));
    case NODE_MODULO: return real(x - floor(x / y) * y);
    default: return real(pow(x, y));
    }
}

/* An end of a slice: NULL, a whole number, or a failure. */
static bool slice_end(struct jinja_run *run, const struct jinja_value *value, int64_t *end)
{
    if (value->kind == JINJA_NONE || value->kind == JINJA_UNDEFINED)
        return false;
    if (value->kind != JINJA_INT)
        (void)jinja_fail(run, ERR_INVALID, "a slice needs whole numbers, not %s",
                         jinja_kind_name(value));
    *end = value->kind == JINJA_INT ? value->of.i : 0;
    return true;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static struct jinja_value slice(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value object = eval(run, node->a), parts[3] = {{0}};
    const struct jinja_node *part = node->list;
    for (unsigned i = 0; i < 3 && part; i++, part = part->next)
        parts[i] = part->kind == NODE_PLUS ? eval(run, part->a) : eval(run, part);
    if (run->err)
        return (struct jinja_value){0};
    if (object.kind != JINJA_STRING && object.kind != JINJA_LIST)
        return jinja_fail(run, ERR_INVALID, "%s cannot be sliced", jinja_kind_name(&object));
    const struct jinja_list *items = jinja_items(run, &object);
    int64_t count = (int64_t)items->count, step = 1, from, to;
    (void)slice_end(run, &parts[2], &step);
    if (step == 0)
        return jinja_fail(run, ERR_INVALID, "a slice with step 0");
    bool up = step > 0;
    if (!slice_end(run, &parts[0], &from))
        from = up ? 0 : count - 1;
    else
        from = clamp(from < 0 ? from + count : from, up ? 0 : -1, up ? count : count - 1);
    if (!slice_end(run, &parts[1], &to))
        to = up ? count : -1;
    else
        to = clamp(to < 0 ? to + count : to, up ? 0 : -1, up ? count : count - 1);
    struct buf text;
    struct jinja_value list = jinja_new_list(run);
    buf_init(&text, run->heap);
    for (int64_t i = from; (up ? i < to : i > to) && jinja_step(run, 1);) {
        if (object.kind == JINJA_LIST)
            jinja_push(run, list.of.list, items->items[i]);
        else
            (void)buf_append(&text, items->items[i].of.s.data, items->items[i].of.s.bytes);
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    if (object.kind == JINJA_LIST) {
        buf_deinit(&text);
        return list;
    }
    return jinja_take(run, &text);
}

static struct jinja_args arguments(struct jinja_run *run, const struct jinja_node *list)
{
    struct jinja_args args = {0};
    for (; list && !run->err; list = list->next)
        if (list->kind == NODE_KEYWORD)
            jinja_put(run, &args.named, jinja_text(list->text, list->bytes), eval(run, list->a));
        else
            jinja_push(run, &args.positional, eval(run, list));
    return args;
}

/* Runs nodes with their text going to a value. */
static struct jinja_value capture(struct jinja_run *run, const struct jinja_node *body)
{
    struct buf text, *before = run->out;
    buf_init(&text, run->heap);
    run->out = &text;
    execute(run, body);
    run->out = before;
    return jinja_take(run, &text);
}

static struct jinja_value call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                     const struct jinja_args *args)
{
    struct jinja_scope *before = run->scope;
    size_t index = 0;
    if (!push_scope(run, macro->scope))
        return (struct jinja_value){0};
    for (const struct jinja_node *p = macro->node->list; p && !run->err; p = p->next, index++) {
        struct jinja_value value = {JINJA_UNDEFINED, {.s = text_of(p)}};
        const struct jinja_value *named = jinja_find(run, &args->named, p->text, p->bytes);
        if (index < args->positional.count)
            value = args->positional.items[index];
        else if (named)
            value = *named;
        else if (p->a)
            value = eval(run, p->a);
        define(run, text_of(p), value);
    }
    const struct jinja_value *caller = jinja_find(run, &args->named, "caller", 6);
    if (caller)
        define(run, (struct jinja_string){"caller", 6}, *caller);
    if (args->positional.count > index)
        (void)jinja_fail(run, ERR_INVALID, "a macro is called with too many arguments");
    struct jinja_value text = capture(run, macro->node->body);
    run->scope = before;
    if (run->flow != JINJA_ON)
        (void)jinja_fail(run, ERR_INVALID, "a loop is left out of a macro");
    return text;
}

struct jinja_value jinja_call(struct jinja_run *run, const struct jinja_value *callee,
                              const struct jinja_args *args)
{
    if (run->err)
        return (struct jinja_value){0};
    switch (callee->kind) {
    case JINJA_MACRO: return call_macro(run, callee->of.macro, args);
    case JINJA_METHOD:
        return jinja_method_call(run, &callee->of.method->self, callee->of.method->name, args);
    case JINJA_FUNCTION: return jinja_function_call(run, callee->of.s, args);
    case JINJA_UNDEFINED:
        return jinja_fail(run, ERR_INVALID, "'%.*s' is undefined, so it cannot be called",
                          (int)(callee->of.s.bytes < 60 ? callee->of.s.bytes : 60),
                          callee->of.s.data ? callee->of.s.data : "");
    default:
        return jinja_fail(run, ERR_INVALID, "%s cannot be called", jinja_kind_name(callee));
    }
}

static struct jinja_value eval_list(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = node->kind == NODE_DICT ? jinja_new_dict(run) : jinja_new_list(run);
    if (node->kind == NODE_LIST && !run->err)
        value.of.list->tuple = node->integer != 0;
    for (const struct jinja_node *item = node->list; item && !run->err; item = item->next)
        if (node->kind == NODE_LIST) {
            jinja_push(run, value.of.list, eval(run, item));
        } else {
            struct jinja_value key = eval(run, item->a);
            jinja_put(run, value.of.dict, key, eval(run, item->b));
        }
    return value;
}

static struct jinja_value eval_compare(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value a = eval(run, node->a), b = eval(run, node->b);
    if (run->err)
        return a;
    switch (node->kind) {
    case NODE_EQUAL: return jinja_bool(jinja_equal(run, &a, &b));
    case NODE_NOT_EQUAL: return jinja_bool(!jinja_equal(run, &a, &b));
    case NODE_IN: return jinja_bool(jinja_contains(run, &b, &a));
    case NODE_NOT_IN: return jinja_bool(!jinja_contains(run, &b, &a));
    default: break;
    }
    int order = jinja_compare(run, &a, &b);
    return jinja_bool(node->kind == NODE_LESS            ? order < 0
                      : node->kind == NODE_LESS_EQUAL    ? order <= 0
                      : node->kind == NODE_GREATER       ? order > 0
                                                         : order >= 0);
}

static struct jinja_value eval_kind(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value a, b;
    struct jinja_args args;
    switch (node->kind) {
    case NODE_STRING: return jinja_text(node->text, node->bytes);
    case NODE_INT: return jinja_int(node->integer);
    case NODE_FLOAT: return real(node->number);
    case NODE_BOOL: return jinja_bool(node->integer != 0);
    case NODE_NONE: return (struct jinja_value){.kind = JINJA_NONE};
    case NODE_NAME: return look_up(run, text_of(node));
    case NODE_BODY: return jinja_text(run->body.data, run->body.bytes);
    case NODE_LIST:
    case NODE_DICT: return eval_list(run, node);
    case NODE_ATTRIBUTE:
        a = eval(run, node->a);
        return run->err ? a : jinja_attribute(run, &a, text_of(node));
    case NODE_ITEM:
        a = eval(run, node->a);
        b = eval(run, node->b);
        return run->err ? a : jinja_item(run, &a, &b);
    case NODE_SLICE: return slice(run, node);
    case NODE_CALL:
        a = eval(run, node->a);
        args = arguments(run, node->list);
        run->line = node->line;
        return jinja_call(run, &a, &args);
    case NODE_FILTER:
        a = eval(run, node->a);
        args = arguments(run, node->list);
        return run->err ? a : jinja_filter(run, text_of(node), &a, &args);
    case NODE_TEST:
        a = eval(run, node->a);
        args = arguments(run, node->list);
        return run->err ? a : jinja_bool(jinja_test(run, text_of(node), &a, &args));
    case NODE_NOT:
        a = eval(run, node->a);
        return jinja_bool(!jinja_truth(&a));
    case NODE_NEGATE:
    case NODE_PLUS:
        a = jinja_int(0);
        b = eval(run, node->a);
        if (run->err)
            return b;
        if (b.kind == JINJA_FLOAT)
            return real(node->kind == NODE_PLUS ? b.of.f : -b.of.f);
        return arithmetic(run, node->kind == NODE_PLUS ? NODE_ADD : NODE_SUBTRACT, &a, &b);
    case NODE_AND:
        a = eval(run, node->a);
        return jinja_truth(&a) ? eval(run, node->b) : a;
    case NODE_OR:
        a = eval(run, node->a);
        return jinja_truth(&a) ? a : eval(run, node->b);
    case NODE_CONDITIONAL:
        b = eval(run, node->b);
        if (jinja_truth(&b))
            return eval(run, node->a);
        return node->other ? eval(run, node->other) : (struct jinja_value){0};
    case NODE_CONCAT:
        a = eval(run, node->a);
        b = eval(run, node->b);
        a = jinja_to_text(run, &a);
        b = jinja_to_text(run, &b);
        return run->err ? a : arithmetic(run, NODE_ADD, &a, &b);
    case NODE_ADD:
    case NODE_SUBTRACT:
    case NODE_MULTIPLY:
    case NODE_DIVIDE:
    case NODE_FLOOR_DIVIDE:
    case NODE_MODULO:
    case NODE_POWER:
        a = eval(run, node->a);
        b = eval(run, node->b);
        run->line = node->line;
        return run->err ? a : arithmetic(run, node->kind, &a, &b);
    default: return eval_compare(run, node);
    }
}

static struct jinja_value eval(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = {0};
    if (!jinja_step(run, 1))
        return value;
    if (++run->depth > JINJA_DEPTH_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "it is nested too deeply");
    else
        value = eval_kind(run, node);
    run->depth--;
    return value;
}

/* ---- Statements ---------------------------------------------------------------------------- */

/* Binds one name, or unpacks. */
static void bind(struct jinja_run *run, const struct jinja_node *targets, struct jinja_value value)
{
    const struct jinja_list *items = NULL;
    size_t at = 0;
    if (targets && targets->next) {
        items = jinja_items(run, &value);
        size_t count = 0;
        for (const struct jinja_node *t = targets; t; t = t->next)
            count++;
        if (!run->err && items->count != count)
            (void)jinja_fail(run, ERR_INVALID, "%zu values cannot be given to %zu names",
                             items->count, count);
    }
    for (const struct jinja_node *t = targets; t && !run->err; t = t->next) {
        struct jinja_value part = items ? items->items[at++] : value;
        if (t->kind == NODE_NAME) {
            define(run, text_of(t), part);
            continue;
        }
        struct jinja_value object = look_up(run, text_of(t->a));
        if (object.kind != JINJA_NAMESPACE)
            (void)jinja_fail(run, ERR_INVALID, "only namespaces have attributes that can be set");
        else
            jinja_put(run, object.of.dict, jinja_text(t->text, t->bytes), part);
    }
}

static void put_loop(struct jinja_run *run, struct jinja_dict *loop, const char *name,
                     struct jinja_value value)
{
    jinja_put(run, loop, jinja_text(name, strlen(name)), value);
}

static void run_loop(struct jinja_run *run, const struct jinja_node *node,
                     const struct jinja_list *items)
{
    struct jinja_scope *before = run->scope;
    for (size_t i = 0; i < items->count && jinja_step(run, 4); i++) {
        struct jinja_value loop = jinja_new_dict(run);
        int64_t count = (int64_t)items->count, index = (int64_t)i;
        if (!push_scope(run, before) || run->err)
            break;
        put_loop(run, loop.of.dict, "index", jinja_int(index + 1));
        put_loop(run, loop.of.dict, "index0", jinja_int(index));
        put_loop(run, loop.of.dict, "revindex", jinja_int(count - index));
        put_loop(run, loop.of.dict, "revindex0", jinja_int(count - index - 1));
        put_loop(run, loop.of.dict, "first", jinja_bool(i == 0));
        put_loop(run, loop.of.dict, "last", jinja_bool(index + 1 == count));
        put_loop(run, loop.of.dict, "length", jinja_int(count));
        if (i > 0)
            put_loop(run, loop.of.dict, "previtem", items->items[i - 1]);
        if (index + 1 < count)
            put_loop(run, loop.of.dict, "nextitem", items->items[i + 1]);
        loop.kind = JINJA_NAMESPACE; /* with the method cycle */
        define(run, (struct jinja_string){"loop", 4}, loop);
        bind(run, node->list, items->items[i]);
        execute(run, node->body);
        if (run->flow == JINJA_BREAK) {
            run->flow = JINJA_ON;
            break;
        }
        run->flow = JINJA_ON;
    }
    run->scope = before;
}

static void run_for(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = eval(run, node->a);
    if (run->err)
        return;
    const struct jinja_list *items = jinja_items(run, &value);
    if (node->b && !run->err) {
        struct jinja_scope *before = run->scope;
        struct jinja_value kept = jinja_new_list(run);
        for (size_t i = 0; i < items->count && jinja_step(run, 1); i++) {
            if (!push_scope(run, before))
                break;
            bind(run, node->list, items->items[i]);
            struct jinja_value keep = eval(run, node->b);
            if (jinja_truth(&keep) && !run->err)
                jinja_push(run, kept.of.list, items->items[i]);
        }
        run->scope = before;
        items = run->err ? items : kept.of.list;
    }
    if (run->err)
        return;
    if (items->count > 0)
        run_loop(run, node, items);
    else
        execute(run, node->other);
}

/* Text that was captured, sent through a chain of filters. */
static struct jinja_value filtered(struct jinja_run *run, const struct jinja_node *chain,
                                   struct jinja_value text)
{
    struct jinja_string before = run->body;
    if (run->err)
        return text;
    run->body = text.of.s;
    text = eval(run, chain);
    run->body = before;
    return text;
}

static struct jinja_value new_macro(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_macro *macro = jinja_alloc(run, sizeof *macro);
    if (!macro)
        return (struct jinja_value){0};
    *macro = (struct jinja_macro){node, run->scope};
    return (struct jinja_value){JINJA_MACRO, {.macro = macro}};
}

static void run_call_block(struct jinja_run *run, const struct jinja_node *node)
{
    if (node->a->kind != NODE_CALL) {
        (void)jinja_fail(run, ERR_INVALID, "'call' needs a call");
        return;
    }
    struct jinja_value callee = eval(run, node->a->a);
    struct jinja_args args = arguments(run, node->a->list);
    jinja_put(run, &args.named, jinja_text("caller", 6), new_macro(run, node));
    struct jinja_value text = jinja_call(run, &callee, &args);
    if (!run->err)
        jinja_print(run, &text, run->out);
}

static void run_statement(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    struct jinja_scope *before = run->scope;
    switch (node->kind) {
    case NODE_TEXT:
        value = jinja_text(node->text, node->bytes);
        jinja_print(run, &value, run->out);
        break;
    case NODE_PRINT:
        value = eval(run, node->a);
        if (!run->err)
            jinja_print(run, &value, run->out);
        break;
    case NODE_FOR: run_for(run, node); break;
    case NODE_SET:
        if (node->a)
            value = eval(run, node->a);
        else
            value = filtered(run, node->b, capture(run, node->body));
        if (!run->err)
            bind(run, node->list, value);
        break;
    case NODE_MACRO: define(run, text_of(node), new_macro(run, node)); break;
    case NODE_CALL_BLOCK: run_call_block(run, node); break;
    case NODE_FILTER_BLOCK:
        value = filtered(run, node->a, capture(run, node->body));
        if (!run->err)
            jinja_print(run, &value, run->out);
        break;
    case NODE_SCOPE:
        if (!push_scope(run, before))
            break;
        for (const struct jinja_node *name = node->list; name && !run->err; name = name->next)
            define(run, text_of(name), eval(run, name->a));
        execute(run, node->body);
        run->scope = before;
        break;
    case NODE_BREAK: run->flow = JINJA_BREAK; break;
    default: run->flow = JINJA_CONTINUE; break;
    }
}

static void execute(struct jinja_run *run, const struct jinja_node *list)
{
    if (++run->depth > JINJA_DEPTH_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "it is nested too deeply");
    for (const struct jinja_node *node = list; node && run->flow == JINJA_ON; node = node->next) {
        if (!jinja_step(run, 1))
            break;
        run->line = node->line;
        if (node->kind != NODE_IF) {
            run_statement(run, node);
            continue;
        }
        const struct jinja_node *branch = node;
        do { /* a chain of elifs takes no depth */
            struct jinja_value condition = eval(run, branch->a);
            if (jinja_truth(&condition)) {
                branch = branch->body;
                break;
            }
            branch = branch->other;
        } while (branch && branch->kind == NODE_IF && !branch->next && !run->err);
        if (!run->err)
            execute(run, branch);
    }
    run->depth--;
}

/* ---- Variables from JSON ------------------------------------------------------------------- */

static struct jinja_value number_from(struct jinja_run *run, struct chat_string json)
{
    char text[400];
    if (json.bytes >= sizeof text)
        return jinja_fail(run, ERR_LIMIT, "a number is too long");
    memcpy(text, json.data, json.bytes);
    text[json.bytes] = 0;
    if (!strpbrk(text, ".eE")) {
        errno = 0;
        long long whole = strtoll(text, NULL, 10);
        if (errno == 0)
            return jinja_int(whole);
    }
    return real(strtod(text, NULL));
}

/* `json` was accepted by chat_json_parse, which bounds the nesting. */
static struct jinja_value from_json(struct jinja_run *run, struct chat_string json)
{
    struct jinja_value value = {.kind = JINJA_NONE};
    struct chat_string key, item;
    struct buf text;
    size_t at = 0;
    if (!jinja_step(run, 1) || json.bytes == 0)
        return value;
    switch (json.data[0]) {
    case '{':
        value = jinja_new_dict(run);
        while (!run->err && chat_json_next(json, &at, &key, &item)) {
            struct jinja_value name = from_json(run, key);
            jinja_put(run, value.of.dict, name, from_json(run, item));
        }
        return value;
    case '[':
        value = jinja_new_list(run);
        while (!run->err && chat_json_next(json, &at, &key, &item))
            jinja_push(run, value.of.list, from_json(run, item));
        return value;
    case '"':
        buf_init(&text, run->heap);
        (void)chat_json_string(json, &text);
        return jinja_take(run, &text);
    case 't': return jinja_bool(true);
    case 'f': return jinja_bool(false);
    case 'n': return value;
    default: return number_from(run, json);
    }
}

enum err jinja_render(const struct jinja *jinja, const char *variables, size_t bytes,
                      int64_t now_s, struct buf *out, struct report *report)
{
    struct mem_heap heap = {.limit_bytes = JINJA_MEMORY_MAX};
    struct jinja_run run = {.heap = &heap, .report = report, .now_s = now_s};
    struct jinja_scope root = {0};
    struct chat_string json;
    struct buf text;
    if (!chat_json_parse(variables, bytes, &json) || json.data[0] != '{')
        return err_set(report, ERR_INVALID, "the variables of a chat template are not a JSON object");
    arena_init(&run.arena, &heap);
    buf_init(&text, &heap);
    run.scope = run.root = &root;
    run.out = &text;
    struct jinja_value given = from_json(&run, json);
    if (!run.err)
        root.vars = *given.of.dict;
    if (!run.err)
        execute(&run, jinja->body);
    if (!run.err && run.flow != JINJA_ON)
        (void)jinja_fail(&run, ERR_INVALID, "'break' or 'continue' outside of a loop");
    if (!run.err && !buf_append(out, text.data ? text.data : "", text.count))
        run.err = err_set(report, ERR_MEMORY, "no memory for a chat template's text");
    buf_deinit(&text);
    arena_deinit(&run.arena);
    return run.err;
}
