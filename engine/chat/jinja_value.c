/* Values of templates: what Python's do, as far as templates can tell. */
#define _GNU_SOURCE /* memmem: linear, whatever the texts */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/utf8.h"
#include "engine/chat/jinja_impl.h"

struct jinja_value jinja_fail(struct jinja_run *run, enum err err, const char *format, ...)
{
    char text[600];
    va_list args;
    if (!run->err) {
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        run->err = err_set(run->report, err, "chat template, line %u: %s", run->line, text);
    }
    return (struct jinja_value){0};
}

bool jinja_step(struct jinja_run *run, uint64_t steps)
{
    run->steps += steps;
    if (run->steps > JINJA_STEPS_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "it takes too long");
    return !run->err;
}

void *jinja_alloc(struct jinja_run *run, size_t bytes)
{
    void *data = run->err ? NULL : arena_alloc(&run->arena, bytes ? bytes : 1);
    if (!data)
        (void)jinja_fail(run, ERR_LIMIT, "it needs too much memory");
    return data;
}

struct jinja_value jinja_bool(bool value)
{
    return (struct jinja_value){JINJA_BOOL, {.b = value}};
}

struct jinja_value jinja_int(int64_t value)
{
    return (struct jinja_value){JINJA_INT, {.i = value}};
}

struct jinja_value jinja_text(const char *data, size_t bytes)
{
    return (struct jinja_value){JINJA_STRING, {.s = {data, bytes}}};
}

struct jinja_value jinja_copy(struct jinja_run *run, const char *data, size_t bytes)
{
    char *copy = jinja_alloc(run, bytes);
    if (!copy || !jinja_step(run, bytes / 64))
        return jinja_text("", 0);
    if (bytes)
        memcpy(copy, data, bytes);
    return jinja_text(copy, bytes);
}

struct jinja_value jinja_take(struct jinja_run *run, struct buf *buf)
{
    if (buf->failed)
        (void)jinja_fail(run, ERR_LIMIT, "it needs too much memory");
    struct jinja_value value = jinja_copy(run, buf->count ? buf->data : "", buf->count);
    buf_deinit(buf);
    return value;
}

static void *empty(struct jinja_run *run, size_t bytes)
{
    void *data = jinja_alloc(run, bytes);
    if (data)
        memset(data, 0, bytes);
    return data;
}

struct jinja_value jinja_new_list(struct jinja_run *run)
{
    struct jinja_list *list = empty(run, sizeof *list);
    return list ? (struct jinja_value){JINJA_LIST, {.list = list}} : (struct jinja_value){0};
}

struct jinja_value jinja_new_dict(struct jinja_run *run)
{
    struct jinja_dict *dict = empty(run, sizeof *dict);
    return dict ? (struct jinja_value){JINJA_DICT, {.dict = dict}} : (struct jinja_value){0};
}

/* Room for one more item; the old place is left to the arena. */
static bool grow(struct jinja_run *run, void *items, size_t count, size_t *capacity, size_t bytes)
{
    void *old;
    if (count < *capacity)
        return true;
    size_t more = *capacity ? *capacity * 2 : 4;
    void *place = jinja_alloc(run, more * bytes);
    if (!place)
        return false;
    memcpy(&old, items, sizeof old);
    if (count)
        memcpy(place, old, count * bytes);
    memcpy(items, &place, sizeof place);
    *capacity = more;
    return true;
}

void jinja_push(struct jinja_run *run, struct jinja_list *list, struct jinja_value value)
{
    if (grow(run, &list->items, list->count, &list->capacity, sizeof *list->items))
        list->items[list->count++] = value;
}

static struct jinja_value *find_key(struct jinja_run *run, const struct jinja_dict *dict,
                                    const struct jinja_value *key)
{
    if (!jinja_step(run, dict->count / 8))
        return NULL;
    for (size_t i = 0; i < dict->count; i++)
        if (jinja_equal(run, &dict->items[i].key, key))
            return &dict->items[i].value;
    return NULL;
}

void jinja_put(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
               struct jinja_value value)
{
    struct jinja_value *old = find_key(run, dict, &key);
    if (old)
        *old = value;
    else if (!run->err && grow(run, &dict->items, dict->count, &dict->capacity, sizeof *dict->items))
        dict->items[dict->count++] = (struct jinja_entry){key, value};
}

struct jinja_value *jinja_find(struct jinja_run *run, const struct jinja_dict *dict,
                               const char *key, size_t bytes)
{
    struct jinja_value name = jinja_text(key, bytes);
    return find_key(run, dict, &name);
}

bool jinja_is(struct jinja_string string, const char *text)
{
    return strlen(text) == string.bytes && memcmp(text, string.data, string.bytes) == 0;
}

const char *jinja_kind_name(const struct jinja_value *value)
{
    static const char *const names[] = {"undefined", "none", "a bool", "an int", "a float", "a string",
                                        "a list", "a dict", "a namespace", "a macro", "a function",
                                        "a method"};
    return names[value->kind];
}

bool jinja_truth(const struct jinja_value *value)
{
    switch (value->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return value->of.b;
    case JINJA_INT: return value->of.i != 0;
    case JINJA_FLOAT: return value->of.f != 0;
    case JINJA_STRING: return value->of.s.bytes > 0;
    case JINJA_LIST: return value->of.list->count > 0;
    case JINJA_DICT: return value->of.dict->count > 0;
    default: return true;
    }
}

static bool number_of(const struct jinja_value *value, double *number)
{
    switch (value->kind) {
    case JINJA_BOOL: *number = value->of.b; return true;
    case JINJA_INT: *number = (double)value->of.i; return true;
    case JINJA_FLOAT: *number = value->of.f; return true;
    default: return false;
    }
}

static bool descend(struct jinja_run *run)
{
    if (++run->depth > JINJA_DEPTH_MAX + JINJA_VALUE_DEPTH_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "values are nested too deeply");
    return jinja_step(run, 1);
}

static bool lists_equal(struct jinja_run *run, const struct jinja_list *a,
                        const struct jinja_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count && !run->err; i++)
        if (!jinja_equal(run, &a->items[i], &b->items[i]))
            return false;
    return true;
}

static bool dicts_equal(struct jinja_run *run, const struct jinja_dict *a,
                        const struct jinja_dict *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count && !run->err; i++) {
        const struct jinja_value *other = find_key(run, b, &a->items[i].key);
        if (!other || !jinja_equal(run, &a->items[i].value, other))
            return false;
    }
    return true;
}

bool jinja_equal(struct jinja_run *run, const struct jinja_value *a, const struct jinja_value *b)
{
    double x, y;
    if (a->kind == JINJA_INT && b->kind == JINJA_INT)
        return a->of.i == b->of.i;
    if (number_of(a, &x) && number_of(b, &y))
        return x == y;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE: return true;
    case JINJA_STRING:
        return a->of.s.bytes == b->of.s.bytes &&
               (a->of.s.bytes == 0 || memcmp(a->of.s.data, b->of.s.data, a->of.s.bytes) == 0);
    case JINJA_LIST:
    case JINJA_DICT: {
        bool same = descend(run) &&
                    (a->kind == JINJA_LIST ? lists_equal(run, a->of.list, b->of.list)
                                           : dicts_equal(run, a->of.dict, b->of.dict));
        run->depth--;
        return same;
    }
    default: return a->of.dict == b->of.dict;
    }
}

int jinja_compare(struct jinja_run *run, const struct jinja_value *a, const struct jinja_value *b)
{
    double x, y;
    if (a->kind == JINJA_INT && b->kind == JINJA_INT)
        return a->of.i < b->of.i ? -1 : a->of.i > b->of.i;
    if (number_of(a, &x) && number_of(b, &y))
        return x < y ? -1 : x > y;
    if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
        size_t bytes = a->of.s.bytes < b->of.s.bytes ? a->of.s.bytes : b->of.s.bytes;
        int order = bytes ? memcmp(a->of.s.data, b->of.s.data, bytes) : 0;
        return order ? (order < 0 ? -1 : 1)
                     : a->of.s.bytes < b->of.s.bytes ? -1 : a->of.s.bytes > b->of.s.bytes;
    }
    if (a->kind == JINJA_LIST && b->kind == JINJA_LIST && descend(run)) {
        const struct jinja_list *l = a->of.list, *r = b->of.list;
        int order = 0;
        for (size_t i = 0; order == 0 && i < l->count && i < r->count && !run->err; i++)
            order = jinja_equal(run, &l->items[i], &r->items[i])
                        ? 0 : jinja_compare(run, &l->items[i], &r->items[i]);
        run->depth--;
        return order ? order : l->count < r->count ? -1 : l->count > r->count;
    }
    (void)jinja_fail(run, ERR_INVALID, "%s and %s have no order", jinja_kind_name(a),
                     jinja_kind_name(b));
    return 0;
}

static bool has_bytes(struct jinja_string text, struct jinja_string part)
{
    return part.bytes == 0 || memmem(text.data, text.bytes, part.data, part.bytes) != NULL;
}

bool jinja_contains(struct jinja_run *run, const struct jinja_value *container,
                    const struct jinja_value *item)
{
    switch (container->kind) {
    case JINJA_UNDEFINED: return false;
    case JINJA_STRING:
        if (item->kind == JINJA_STRING && jinja_step(run, container->of.s.bytes / 64))
            return has_bytes(container->of.s, item->of.s);
        break;
    case JINJA_LIST:
        for (size_t i = 0; i < container->of.list->count && jinja_step(run, 1); i++)
            if (jinja_equal(run, &container->of.list->items[i], item))
                return true;
        return false;
    case JINJA_DICT: return find_key(run, container->of.dict, item) != NULL;
    default: break;
    }
    (void)jinja_fail(run, ERR_INVALID, "%s cannot be in %s", jinja_kind_name(item),
                     jinja_kind_name(container));
    return false;
}

size_t jinja_length(struct jinja_string s)
{
    size_t count = 0;
    for (size_t at = 0; at < s.bytes; count++)
        (void)utf8_next(s.data, s.bytes, &at);
    return count;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

const struct jinja_list *jinja_items(struct jinja_run *run, const struct jinja_value *value)
{
    static const struct jinja_list none;
    if (value->kind == JINJA_LIST)
        return value->of.list;
    if (value->kind == JINJA_UNDEFINED)
        return &none;
    struct jinja_value list = jinja_new_list(run);
    if (run->err)
        return &none;
    if (value->kind == JINJA_DICT) {
        for (size_t i = 0; i < value->of.dict->count && jinja_step(run, 1); i++)
            jinja_push(run, list.of.list, value->of.dict->items[i].key);
    } else if (value->kind == JINJA_STRING) {
        for (size_t at = 0; at < value->of.s.bytes && jinja_step(run, 1);) {
            size_t from = at;
            (void)utf8_next(value->of.s.data, value->of.s.bytes, &at);
            jinja_push(run, list.of.list, jinja_text(value->of.s.data + from, at - from));
        }
    } else {
        (void)jinja_fail(run, ERR_INVALID, "%s has no items", jinja_kind_name(value));
    }
    return list.of.list;
}

/* ---- Looking into values ------------------------------------------------------------------- */

static struct jinja_value undefined(struct jinja_string name)
{
    return (struct jinja_value){JINJA_UNDEFINED, {.s = name}};
}

static bool is_undefined(struct jinja_run *run, const struct jinja_value *object,
                         struct jinja_string wanted)
{
    if (object->kind != JINJA_UNDEFINED)
        return false;
    (void)jinja_fail(run, ERR_INVALID, "'%.*s' is undefined, so it has no '%.*s'",
                     (int)(object->of.s.bytes < 60 ? object->of.s.bytes : 60),
                     object->of.s.data ? object->of.s.data : "",
                     (int)(wanted.bytes < 60 ? wanted.bytes : 60), wanted.data);
    return true;
}

struct jinja_value jinja_attribute(struct jinja_run *run, const struct jinja_value *object,
                                   struct jinja_string name)
{
    if (is_undefined(run, object, name))
        return undefined(name);
    if (jinja_has_method(object, name)) {
        struct jinja_method *method = jinja_alloc(run, sizeof *method);
        if (!method)
            return undefined(name);
        *method = (struct jinja_method){*object, name};
        return (struct jinja_value){JINJA_METHOD, {.method = method}};
    }
    if (object->kind == JINJA_DICT || object->kind == JINJA_NAMESPACE) {
        const struct jinja_value *found = jinja_find(run, object->of.dict, name.data, name.bytes);
        if (found)
            return *found;
    }
    return undefined(name);
}

struct jinja_value jinja_item(struct jinja_run *run, const struct jinja_value *object,
                              const struct jinja_value *key)
{
    struct jinja_string name = key->kind == JINJA_STRING ? key->of.s : (struct jinja_string){"item", 4};
    if (is_undefined(run, object, name))
        return undefined(name);
    if (object->kind == JINJA_DICT) {
        const struct jinja_value *found = find_key(run, object->of.dict, key);
        if (found)
            return *found;
    }
    if (key->kind == JINJA_STRING)
        return jinja_attribute(run, object, name);
    if (key->kind != JINJA_INT && key->kind != JINJA_BOOL)
        return undefined(name);
    int64_t index = key->kind == JINJA_INT ? key->of.i : key->of.b;
    if (object->kind == JINJA_LIST) {
        int64_t count = (int64_t)object->of.list->count;
        index += index < 0 ? count : 0;
        if (index >= 0 && index < count)
            return object->of.list->items[index];
    } else if (object->kind == JINJA_STRING && jinja_step(run, object->of.s.bytes / 64)) {
        int64_t count = (int64_t)jinja_length(object->of.s);
        size_t at = 0, from = 0;
        index += index < 0 ? count : 0;
        for (int64_t i = 0; index >= 0 && index < count && i <= index; i++) {
            from = at;
            (void)utf8_next(object->of.s.data, object->of.s.bytes, &at);
        }
        if (at > from)
            return jinja_text(object->of.s.data + from, at - from);
    }
    return undefined(name);
}

/* ---- Writing values ------------------------------------------------------------------------ */

/* Python's repr: the shortest digits that give the number back. */
void jinja_print_float(double value, struct buf *out)
{
    char text[64];
    int digits = 1;
    if (isnan(value) || isinf(value)) {
        (void)buf_puts(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, value);
    while (strtod(text, NULL) != value && ++digits <= 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        int decimals = digits - 1 - exponent;
        (void)buf_printf(out, "%.*f", decimals > 0 ? decimals : 0, value);
        if (decimals <= 0)
            (void)buf_puts(out, ".0");
        return;
    }
    char *e = strchr(text, 'e');
    *e = 0;
    (void)buf_printf(out, "%se%c%02d", text, exponent < 0 ? '-' : '+', abs(exponent));
}

static void print_repr_text(struct jinja_string s, struct buf *out)
{
    char quote = memchr(s.data ? s.data : "", '\'', s.bytes) && !memchr(s.data, '"', s.bytes) ? '"'
                                                                                              : '\'';
    (void)buf_putc(out, quote);
    for (size_t i = 0; i < s.bytes; i++) {
        unsigned char c = (unsigned char)s.data[i];
        const char *simple = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t"
                             : c == '\\' ? "\\\\" : NULL;
        if (simple)
            (void)buf_puts(out, simple);
        else if (c == (unsigned char)quote)
            (void)buf_printf(out, "\\%c", c);
        else if (c < 32 || c == 127)
            (void)buf_printf(out, "\\x%02x", c);
        else
            (void)buf_putc(out, (char)c);
    }
    (void)buf_putc(out, quote);
}

static void print_repr(struct jinja_run *run, const struct jinja_value *value, struct buf *out)
{
    if (!descend(run)) {
        run->depth--;
        return;
    }
    if (value->kind == JINJA_STRING) {
        print_repr_text(value->of.s, out);
    } else if (value->kind == JINJA_UNDEFINED) {
        (void)buf_puts(out, "Undefined");
    } else if (value->kind == JINJA_LIST) {
        const struct jinja_list *list = value->of.list;
        (void)buf_putc(out, list->tuple ? '(' : '[');
        for (size_t i = 0; i < list->count && !run->err; i++) {
            (void)buf_puts(out, i ? ", " : "");
            print_repr(run, &list->items[i], out);
        }
        (void)buf_puts(out, !list->tuple ? "]" : list->count == 1 ? ",)" : ")");
    } else if (value->kind == JINJA_DICT || value->kind == JINJA_NAMESPACE) {
        (void)buf_putc(out, '{');
        for (size_t i = 0; i < value->of.dict->count && !run->err; i++) {
            (void)buf_puts(out, i ? ", " : "");
            print_repr(run, &value->of.dict->items[i].key, out);
            (void)buf_puts(out, ": ");
            print_repr(run, &value->of.dict->items[i].value, out);
        }
        (void)buf_putc(out, '}');
    } else {
        jinja_print(run, value, out);
    }
    run->depth--;
}

void jinja_print(struct jinja_run *run, const struct jinja_value *value, struct buf *out)
{
    switch (value->kind) {
    case JINJA_UNDEFINED: break;
    case JINJA_NONE: (void)buf_puts(out, "None"); break;
    case JINJA_BOOL: (void)buf_puts(out, value->of.b ? "True" : "False"); break;
    case JINJA_INT: (void)buf_printf(out, "%lld", (long long)value->of.i); break;
    case JINJA_FLOAT: jinja_print_float(value->of.f, out); break;
    case JINJA_STRING:
        if (jinja_step(run, value->of.s.bytes / 64))
            (void)buf_append(out, value->of.s.data, value->of.s.bytes);
        break;
    case JINJA_LIST:
    case JINJA_DICT:
    case JINJA_NAMESPACE: print_repr(run, value, out); break;
    default: (void)jinja_fail(run, ERR_INVALID, "%s cannot be printed", jinja_kind_name(value));
    }
    if (out->failed || out->count > JINJA_OUTPUT_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "it writes too much");
}

static void print_json_text(struct jinja_string s, bool ascii, struct buf *out)
{
    (void)buf_putc(out, '"');
    for (size_t at = 0; at < s.bytes;) {
        size_t from = at;
        uint32_t c = utf8_next(s.data, s.bytes, &at);
        const char *simple = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t"
                             : c == '\\' ? "\\\\" : c == '"' ? "\\\"" : c == '\b' ? "\\b"
                             : c == '\f' ? "\\f" : NULL;
        if (simple)
            (void)buf_puts(out, simple);
        else if (c < 32 || (ascii && c > 126 && c < 0x10000))
            (void)buf_printf(out, "\\u%04x", c);
        else if (ascii && c >= 0x10000)
            (void)buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                             0xDC00 + ((c - 0x10000) & 0x3FF));
        else
            (void)buf_append(out, s.data + from, at - from);
    }
    (void)buf_putc(out, '"');
}

static void new_line(int64_t indent, unsigned level, struct buf *out)
{
    if (indent < 0)
        return;
    (void)buf_putc(out, '\n');
    for (uint64_t i = 0; i < (uint64_t)indent * level && !out->failed; i++)
        (void)buf_putc(out, ' ');
}

static int by_key(const void *a, const void *b)
{
    const struct jinja_entry *const *x = a, *const *y = b;
    struct jinja_run none = {.err = ERR_INVALID};
    return jinja_compare(&none, &(*x)->key, &(*y)->key);
}

static void print_json(struct jinja_run *run, const struct jinja_value *value, int64_t indent,
                       bool ascii, bool sorted, unsigned level, struct buf *out)
{
    if (level > JINJA_VALUE_DEPTH_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "values are nested too deeply");
    if (out->count > JINJA_OUTPUT_MAX)
        (void)jinja_fail(run, ERR_LIMIT, "it writes too much");
    if (!jinja_step(run, 1))
        return;
    switch (value->kind) {
    case JINJA_NONE: (void)buf_puts(out, "null"); break;
    case JINJA_BOOL: (void)buf_puts(out, value->of.b ? "true" : "false"); break;
    case JINJA_STRING: print_json_text(value->of.s, ascii, out); break;
    case JINJA_INT: jinja_print(run, value, out); break;
    case JINJA_FLOAT:
        if (isnan(value->of.f) || isinf(value->of.f))
            (void)buf_puts(out, isnan(value->of.f) ? "NaN" : value->of.f < 0 ? "-Infinity"
                                                                             : "Infinity");
        else
            jinja_print_float(value->of.f, out);
        break;
    case JINJA_LIST: {
        const struct jinja_list *list = value->of.list;
        (void)buf_putc(out, '[');
        for (size_t i = 0; i < list->count && !run->err; i++) {
            if (i)
                (void)buf_puts(out, indent < 0 ? ", " : ",");
            new_line(indent, level + 1, out);
            print_json(run, &list->items[i], indent, ascii, sorted, level + 1, out);
        }
        if (list->count)
            new_line(indent, level, out);
        (void)buf_putc(out, ']');
        break;
    }
    case JINJA_DICT: {
        const struct jinja_dict *dict = value->of.dict;
        const struct jinja_entry **order = jinja_alloc(run, dict->count * sizeof *order);
        for (size_t i = 0; order && i < dict->count; i++)
            order[i] = &dict->items[i];
        if (order && sorted)
            qsort(order, dict->count, sizeof *order, by_key);
        (void)buf_putc(out, '{');
        for (size_t i = 0; order && i < dict->count && !run->err; i++) {
            const struct jinja_value *key = &order[i]->key;
            if (i)
                (void)buf_puts(out, indent < 0 ? ", " : ",");
            new_line(indent, level + 1, out);
            if (key->kind == JINJA_STRING) {
                print_json_text(key->of.s, ascii, out);
            } else {
                (void)buf_putc(out, '"');
                print_json(run, key, indent, ascii, sorted, level + 1, out);
                (void)buf_putc(out, '"');
            }
            (void)buf_puts(out, ": ");
            print_json(run, &order[i]->value, indent, ascii, sorted, level + 1, out);
        }
        if (dict->count)
            new_line(indent, level, out);
        (void)buf_putc(out, '}');
        break;
    }
    default:
        (void)jinja_fail(run, ERR_INVALID, "%s cannot be written as JSON", jinja_kind_name(value));
    }
}

void jinja_print_json(struct jinja_run *run, const struct jinja_value *value, int64_t indent,
                      bool ascii, bool sorted, struct buf *out)
{
    print_json(run, value, indent > 32 ? 32 : indent, ascii, sorted, 0, out);
}

struct jinja_value jinja_to_text(struct jinja_run *run, const struct jinja_value *value)
{
    struct buf text;
    if (value->kind == JINJA_STRING)
        return *value;
    buf_init(&text, run->heap);
    jinja_print(run, value, &text);
    return jinja_take(run, &text);
}
