/* Filters, tests, methods and functions: one list of each. */
#define _GNU_SOURCE /* memmem: linear, whatever the texts */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/utf8.h"
#include "engine/chat/jinja_impl.h"

const struct jinja_value *jinja_arg(struct jinja_run *run, const struct jinja_args *args,
                                    size_t index, const char *name)
{
    if (index < args->positional.count)
        return &args->positional.items[index];
    return name ? jinja_find(run, &args->named, name, strlen(name)) : NULL;
}

static int64_t int_arg(struct jinja_run *run, const struct jinja_args *args, size_t index,
                       const char *name, int64_t fallback)
{
    const struct jinja_value *value = jinja_arg(run, args, index, name);
    if (!value || value->kind == JINJA_NONE)
        return fallback;
    if (value->kind == JINJA_INT)
        return value->of.i;
    if (value->kind == JINJA_BOOL)
        return value->of.b;
    (void)jinja_fail(run, ERR_INVALID, "an argument is %s, not a whole number", jinja_kind_name(value));
    return fallback;
}

/* A string argument; `fallback` when it is not given, NULL then after a failure too. */
static struct jinja_string text_arg(struct jinja_run *run, const struct jinja_args *args,
                                    size_t index, const char *name, const char *fallback)
{
    const struct jinja_value *value = jinja_arg(run, args, index, name);
    if (value && value->kind == JINJA_STRING)
        return value->of.s;
    if (value && value->kind != JINJA_NONE)
        (void)jinja_fail(run, ERR_INVALID, "an argument is %s, not a string", jinja_kind_name(value));
    else if (!fallback)
        (void)jinja_fail(run, ERR_INVALID, "an argument is missing");
    return (struct jinja_string){fallback ? fallback : "", fallback ? strlen(fallback) : 0};
}

static bool bool_arg(struct jinja_run *run, const struct jinja_args *args, size_t index,
                     const char *name, bool fallback)
{
    const struct jinja_value *value = jinja_arg(run, args, index, name);
    return value ? jinja_truth(value) : fallback;
}

/* ---- Text ---------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

enum casing { LOWER, UPPER, CAPITAL, TITLE };

static struct jinja_value cased(struct jinja_run *run, struct jinja_string s, enum casing casing)
{
    char *out = jinja_alloc(run, s.bytes);
    bool starts = true;
    if (!out || !jinja_step(run, s.bytes / 16))
        return jinja_text("", 0);
    for (size_t i = 0; i < s.bytes; i++) {
        char c = s.data[i];
        bool up = casing == UPPER || (casing != LOWER && starts);
        out[i] = up ? upper(c) : lower(c);
        bool letter = (lower(c) >= 'a' && lower(c) <= 'z') || (unsigned char)c >= 128;
        starts = casing == TITLE && !letter;
    }
    return jinja_text(out, s.bytes);
}

/* Whether the code point is one of `set` (NULL: white space). */
static bool one_of(uint32_t point, const struct jinja_string *set)
{
    if (!set)
        return jinja_is_space(point);
    for (size_t at = 0; at < set->bytes;)
        if (utf8_next(set->data, set->bytes, &at) == point)
            return true;
    return false;
}

static struct jinja_value stripped(struct jinja_run *run, struct jinja_string s,
                                   const struct jinja_value *chars, bool left, bool right)
{
    size_t from = 0, to = s.bytes;
    if (chars && chars->kind != JINJA_STRING && chars->kind != JINJA_NONE)
        return jinja_fail(run, ERR_INVALID, "strip takes a string, not %s", jinja_kind_name(chars));
    const struct jinja_string *set = chars && chars->kind == JINJA_STRING ? &chars->of.s : NULL;
    (void)jinja_step(run, s.bytes / 64 * (set ? set->bytes + 1 : 1));
    while (left && from < to && !run->err) {
        size_t next = from;
        if (!one_of(utf8_next(s.data, to, &next), set))
            break;
        from = next;
    }
    while (right && to > from && !run->err) {
        size_t begin = to - 1, next;
        while (begin > from && to - begin < 4 && ((unsigned char)s.data[begin] & 0xC0) == 0x80)
            begin--;
        next = begin;
        uint32_t point = utf8_next(s.data, to, &next);
        if (next != to) /* ill-formed: one byte */
            begin = to - 1, point = 0xFFFD;
        if (!one_of(point, set))
            break;
        to = begin;
    }
    return jinja_text(s.data + from, to - from);
}

static const char *find_part(const char *text, size_t bytes, struct jinja_string part)
{
    return part.bytes == 0 ? text : memmem(text, bytes, part.data, part.bytes);
}

static struct jinja_value replaced(struct jinja_run *run, struct jinja_string s,
                                   struct jinja_string old, struct jinja_string new, int64_t count)
{
    struct buf out;
    size_t at = 0;
    buf_init(&out, run->heap);
    if (old.bytes == 0 && !run->err) { /* Python puts it between all characters */
        for (size_t next = 0; !run->err && jinja_step(run, 1); at = next) {
            if (count-- != 0)
                (void)buf_append(&out, new.data, new.bytes);
            if (at >= s.bytes)
                break;
            (void)utf8_next(s.data, s.bytes, &next);
            (void)buf_append(&out, s.data + at, next - at);
        }
        return jinja_take(run, &out);
    }
    for (; count != 0 && jinja_step(run, 1); count--) {
        const char *found = find_part(s.data + at, s.bytes - at, old);
        if (!found)
            break;
        (void)buf_append(&out, s.data + at, (size_t)(found - s.data) - at);
        (void)buf_append(&out, new.data, new.bytes);
        at = (size_t)(found - s.data) + old.bytes;
        if (out.count > JINJA_OUTPUT_MAX)
            (void)jinja_fail(run, ERR_LIMIT, "it writes too much");
    }
    (void)jinja_step(run, s.bytes / 64);
    (void)buf_append(&out, s.data + at, s.bytes - at);
    return jinja_take(run, &out);
}

/* str.split: by white space when `by` is NULL. limit < 0: none. */
static struct jinja_value split(struct jinja_run *run, struct jinja_string s,
                                const struct jinja_string *by, int64_t limit)
{
    struct jinja_value list = jinja_new_list(run);
    size_t at = 0;
    if (by && by->bytes == 0)
        return jinja_fail(run, ERR_INVALID, "split by an empty string");
    while (by && jinja_step(run, 1)) {
        const char *found = limit-- == 0 ? NULL : find_part(s.data + at, s.bytes - at, *by);
        size_t end = found ? (size_t)(found - s.data) : s.bytes;
        jinja_push(run, list.of.list, jinja_text(s.data + at, end - at));
        if (!found)
            return list;
        at = end + by->bytes;
    }
    while (!by && jinja_step(run, 1)) {
        size_t next = at;
        while (at < s.bytes && jinja_is_space(utf8_next(s.data, s.bytes, &next)))
            at = next;
        if (at >= s.bytes)
            break;
        size_t end = at;
        bool rest = limit-- == 0;
        for (next = end; next < s.bytes && (rest || !jinja_is_space(utf8_next(s.data, s.bytes, &next)));
             end = next)
            next = rest ? s.bytes : next;
        struct jinja_value word = jinja_text(s.data + at, end - at);
        jinja_push(run, list.of.list, rest ? stripped(run, word.of.s, NULL, false, true) : word);
        at = end;
    }
    return list;
}

/* str.rsplit with a separator. */
static struct jinja_value split_right(struct jinja_run *run, struct jinja_string s,
                                      struct jinja_string by, int64_t limit)
{
    struct jinja_value all = split(run, s, &by, -1);
    if (run->err || limit < 0 || (int64_t)all.of.list->count <= limit + 1)
        return all;
    size_t left = all.of.list->count - (size_t)limit; /* pieces that stay together */
    struct jinja_value list = jinja_new_list(run);
    const struct jinja_string last = all.of.list->items[left - 1].of.s;
    jinja_push(run, list.of.list, jinja_text(s.data, (size_t)(last.data - s.data) + last.bytes));
    for (size_t i = left; i < all.of.list->count && !run->err; i++)
        jinja_push(run, list.of.list, all.of.list->items[i]);
    return list;
}

static struct jinja_value split_lines(struct jinja_run *run, struct jinja_string s)
{
    struct jinja_value list = jinja_new_list(run);
    for (size_t at = 0; at < s.bytes && jinja_step(run, 1);) {
        size_t end = at;
        while (end < s.bytes && s.data[end] != '\n' && s.data[end] != '\r')
            end++;
        jinja_push(run, list.of.list, jinja_text(s.data + at, end - at));
        at = end + (end + 1 < s.bytes && s.data[end] == '\r' && s.data[end + 1] == '\n' ? 2 : 1);
    }
    return list;
}

static struct jinja_value joined(struct jinja_run *run, const struct jinja_list *items,
                                 struct jinja_string between, const struct jinja_string *attribute)
{
    struct buf out;
    buf_init(&out, run->heap);
    for (size_t i = 0; i < items->count && jinja_step(run, 1); i++) {
        struct jinja_value item = items->items[i];
        if (attribute)
            item = jinja_attribute(run, &item, *attribute);
        if (i)
            (void)buf_append(&out, between.data, between.bytes);
        if (!run->err)
            jinja_print(run, &item, &out);
    }
    return jinja_take(run, &out);
}

/* "{} {0} {name}".format(...), without format specifications. */
static struct jinja_value formatted(struct jinja_run *run, struct jinja_string s,
                                    const struct jinja_args *args)
{
    struct buf out;
    size_t used = 0;
    buf_init(&out, run->heap);
    for (size_t i = 0; i < s.bytes && !run->err; i++) {
        char c = s.data[i];
        if ((c == '{' || c == '}') && i + 1 < s.bytes && s.data[i + 1] == c) {
            (void)buf_putc(&out, s.data[i++]);
        } else if (c == '{') {
            const char *close = memchr(s.data + i, '}', s.bytes - i);
            size_t bytes = close ? (size_t)(close - s.data) - i - 1 : 0;
            const char *name = s.data + i + 1;
            const struct jinja_value *value = NULL;
            if (close && bytes == 0)
                value = jinja_arg(run, args, used++, NULL);
            else if (close && bytes < 4 && name[0] >= '0' && name[0] <= '9')
                value = jinja_arg(run, args, (size_t)atoi(name), NULL);
            else if (close)
                value = jinja_find(run, &args->named, name, bytes);
            if (value)
                jinja_print(run, value, &out);
            else
                (void)jinja_fail(run, ERR_INVALID, "format lacks a value");
            i += bytes + 1;
        } else {
            (void)buf_putc(&out, c);
        }
    }
    return jinja_take(run, &out);
}

static struct jinja_value escaped(struct jinja_run *run, struct jinja_string s)
{
    struct buf out;
    buf_init(&out, run->heap);
    for (size_t i = 0; i < s.bytes && jinja_step(run, 1); i++) {
        char c = s.data[i];
        const char *entity = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;"
                             : c == '"' ? "&#34;" : c == '\'' ? "&#39;" : NULL;
        if (entity)
            (void)buf_puts(&out, entity);
        else
            (void)buf_putc(&out, c);
    }
    return jinja_take(run, &out);
}

static struct jinja_value indented(struct jinja_run *run, struct jinja_string s,
                                   const struct jinja_args *args)
{
    const struct jinja_value *width = jinja_arg(run, args, 0, "width");
    bool first = bool_arg(run, args, 1, "first", false), blank = bool_arg(run, args, 2, "blank", false);
    int64_t spaces = width && width->kind == JINJA_STRING ? 0 : int_arg(run, args, 0, "width", 4);
    struct buf out;
    buf_init(&out, run->heap);
    spaces = spaces < 0 ? 0 : spaces > 1000 ? 1000 : spaces;
    for (size_t at = 0; at <= s.bytes && jinja_step(run, 1);) {
        const char *found = memchr(s.data + at, '\n', s.bytes - at);
        size_t end = found ? (size_t)(found - s.data) : s.bytes;
        if (at == 0 ? first : (end > at || blank)) {
            for (int64_t i = 0; i < spaces; i++)
                (void)buf_putc(&out, ' ');
            if (width && width->kind == JINJA_STRING)
                (void)buf_append(&out, width->of.s.data, width->of.s.bytes);
        }
        (void)buf_append(&out, s.data + at, end - at);
        if (found)
            (void)buf_putc(&out, '\n');
        if (out.count > JINJA_OUTPUT_MAX)
            (void)jinja_fail(run, ERR_LIMIT, "it writes too much");
        at = end + 1;
        if (!found)
            break;
    }
    return jinja_take(run, &out);
}

/* ---- Lists --------------------------------------------------------------------------------- */

/* "a.b" of an item. */
static struct jinja_value path_of(struct jinja_run *run, struct jinja_value item,
                                  struct jinja_string path)
{
    while (!run->err) {
        const char *dot = memchr(path.data, '.', path.bytes);
        size_t bytes = dot ? (size_t)(dot - path.data) : path.bytes;
        struct jinja_value name = jinja_text(path.data, bytes);
        if (bytes > 0 && bytes < 9 && strspn(path.data, "0123456789") >= bytes)
            name = jinja_int(atoi(path.data));
        item = jinja_item(run, &item, &name);
        if (!dot)
            break;
        path = (struct jinja_string){dot + 1, path.bytes - bytes - 1};
    }
    return item;
}

struct sorting {
    struct jinja_run *run;
    bool fold;
};

struct keyed {
    struct jinja_value key, item;
};

static struct jinja_value folded(const struct sorting *s, struct jinja_value key)
{
    return s->fold && key.kind == JINJA_STRING ? cased(s->run, key.of.s, LOWER) : key;
}

/* Stable: a merge sort, since qsort is not. */
static void merge_sort(const struct sorting *s, struct keyed *items, struct keyed *room,
                       size_t count, bool reverse)
{
    for (size_t width = 1; width < count && !s->run->err; width *= 2) {
        for (size_t from = 0; from < count; from += 2 * width) {
            size_t middle = from + width < count ? from + width : count;
            size_t end = from + 2 * width < count ? from + 2 * width : count;
            size_t l = from, r = middle;
            for (size_t i = from; i < end && jinja_step(s->run, 1); i++) {
                bool right = l >= middle;
                if (!right && r < end) {
                    int order = jinja_compare(s->run, &items[r].key, &items[l].key);
                    right = reverse ? order > 0 : order < 0;
                }
                room[i] = right ? items[r++] : items[l++];
            }
        }
        if (!s->run->err)
            memcpy(items, room, count * sizeof *items);
    }
}

static struct jinja_value sorted(struct jinja_run *run, const struct jinja_list *list,
                                 const struct jinja_string *attribute, bool reverse, bool fold)
{
    struct sorting s = {run, fold};
    struct jinja_value out = jinja_new_list(run);
    struct keyed *items = jinja_alloc(run, (list->count + 1) * sizeof *items);
    struct keyed *room = jinja_alloc(run, (list->count + 1) * sizeof *room);
    for (size_t i = 0; items && i < list->count && jinja_step(run, 1); i++) {
        items[i].item = list->items[i];
        items[i].key = folded(&s, attribute ? path_of(run, list->items[i], *attribute)
                                            : list->items[i]);
    }
    if (!run->err)
        merge_sort(&s, items, room, list->count, reverse);
    for (size_t i = 0; i < list->count && !run->err; i++)
        jinja_push(run, out.of.list, items[i].item);
    return out;
}

static struct jinja_value pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value list = jinja_new_list(run);
    if (!run->err) {
        list.of.list->tuple = true;
        jinja_push(run, list.of.list, a);
        jinja_push(run, list.of.list, b);
    }
    return list;
}

static struct jinja_value dict_items(struct jinja_run *run, const struct jinja_dict *dict)
{
    struct jinja_value list = jinja_new_list(run);
    for (size_t i = 0; i < dict->count && jinja_step(run, 1); i++)
        jinja_push(run, list.of.list, pair(run, dict->items[i].key, dict->items[i].value));
    return list;
}

static struct jinja_value dict_sorted(struct jinja_run *run, const struct jinja_dict *dict,
                                      const struct jinja_args *args)
{
    bool fold = !bool_arg(run, args, 0, "case_sensitive", false);
    bool by_value = jinja_is(text_arg(run, args, 1, "by", "key"), "value");
    struct jinja_value items = dict_items(run, dict);
    const struct jinja_string position = {by_value ? "1" : "0", 1};
    return run->err ? items : sorted(run, items.of.list, &position,
                                     bool_arg(run, args, 2, "reverse", false), fold);
}

/* The arguments behind the first `skip`. */
static struct jinja_args rest_of(const struct jinja_args *args, size_t skip)
{
    struct jinja_args rest = *args;
    skip = skip < rest.positional.count ? skip : rest.positional.count;
    if (skip > 0)
        rest.positional.items += skip;
    rest.positional.count -= skip;
    return rest;
}

/* select, reject, selectattr, rejectattr */
static struct jinja_value selected(struct jinja_run *run, const struct jinja_list *list,
                                   const struct jinja_args *args, bool attribute, bool wanted)
{
    struct jinja_value out = jinja_new_list(run);
    struct jinja_string name = {"", 0}, test = {"", 0};
    size_t used = 0;
    if (attribute)
        name = text_arg(run, args, used++, NULL, NULL);
    if (args->positional.count > used)
        test = text_arg(run, args, used++, NULL, NULL);
    struct jinja_args rest = rest_of(args, used);
    for (size_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        struct jinja_value item = list->items[i];
        if (attribute)
            item = path_of(run, item, name);
        bool yes = !run->err &&
                   (test.bytes ? jinja_test(run, test, &item, &rest) : jinja_truth(&item));
        if (yes == wanted && !run->err)
            jinja_push(run, out.of.list, list->items[i]);
    }
    return out;
}

static struct jinja_value mapped(struct jinja_run *run, const struct jinja_list *list,
                                 const struct jinja_args *args)
{
    struct jinja_value out = jinja_new_list(run);
    const struct jinja_value *attribute = jinja_arg(run, args, SIZE_MAX, "attribute");
    const struct jinja_value *fallback = jinja_arg(run, args, SIZE_MAX, "default");
    struct jinja_string filter = {"", 0};
    if (!attribute)
        filter = text_arg(run, args, 0, NULL, NULL);
    struct jinja_args rest = rest_of(args, 1);
    for (size_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        struct jinja_value item = list->items[i];
        if (attribute && attribute->kind == JINJA_STRING)
            item = path_of(run, item, attribute->of.s);
        else if (attribute)
            item = jinja_item(run, &item, attribute);
        else
            item = jinja_filter(run, filter, &item, &rest);
        if (item.kind == JINJA_UNDEFINED && fallback)
            item = *fallback;
        jinja_push(run, out.of.list, item);
    }
    return out;
}

static struct jinja_value unique(struct jinja_run *run, const struct jinja_list *list)
{
    struct jinja_value out = jinja_new_list(run);
    for (size_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        bool seen = jinja_contains(run, &out, &list->items[i]);
        if (!seen && !run->err)
            jinja_push(run, out.of.list, list->items[i]);
    }
    return out;
}

static struct jinja_value reversed(struct jinja_run *run, const struct jinja_value *value)
{
    const struct jinja_list *items = jinja_items(run, value);
    struct jinja_value out = jinja_new_list(run);
    for (size_t i = items->count; i > 0 && jinja_step(run, 1); i--)
        jinja_push(run, out.of.list, items->items[i - 1]);
    if (value->kind == JINJA_STRING && !run->err)
        return joined(run, out.of.list, (struct jinja_string){"", 0}, NULL);
    return out;
}

static struct jinja_value extreme(struct jinja_run *run, const struct jinja_list *list, int sign)
{
    struct jinja_value best = {0};
    for (size_t i = 0; i < list->count && jinja_step(run, 1); i++)
        if (i == 0 || jinja_compare(run, &list->items[i], &best) == sign)
            best = list->items[i];
    return best;
}

static struct jinja_value sum(struct jinja_run *run, const struct jinja_list *list)
{
    int64_t whole = 0;
    double total = 0;
    bool real = false;
    for (size_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        const struct jinja_value *item = &list->items[i];
        if (item->kind == JINJA_FLOAT)
            real = true, total += item->of.f;
        else if (item->kind != JINJA_INT || __builtin_add_overflow(whole, item->of.i, &whole))
            return jinja_fail(run, ERR_INVALID, "sum of something that is no number");
    }
    return real ? (struct jinja_value){JINJA_FLOAT, {.f = total + (double)whole}} : jinja_int(whole);
}

/* ---- Filters ------------------------------------------------------------------------------- */

static struct jinja_value to_number(struct jinja_run *run, const struct jinja_value *value,
                                    const struct jinja_args *args, bool whole)
{
    double number = 0;
    const struct jinja_value *fallback = jinja_arg(run, args, 0, "default");
    switch (value->kind) {
    case JINJA_INT:
        if (whole)
            return *value;
        number = (double)value->of.i;
        break;
    case JINJA_BOOL: number = value->of.b; break;
    case JINJA_FLOAT: number = value->of.f; break;
    case JINJA_STRING: {
        char text[64], *end = text;
        struct jinja_string s = stripped(run, value->of.s, NULL, true, true).of.s;
        if (s.bytes > 0 && s.bytes < sizeof text) {
            memcpy(text, s.data, s.bytes);
            text[s.bytes] = 0;
            number = strtod(text, &end);
        }
        if (end != text && *end == 0)
            break;
    } /* fall through */
    default:
        if (fallback)
            return *fallback;
        number = 0;
    }
    if (!whole)
        return (struct jinja_value){JINJA_FLOAT, {.f = number}};
    if (!(fabs(number) < 9e18))
        return jinja_fail(run, ERR_INVALID, "a number is too large to be whole");
    return jinja_int((int64_t)number);
}

static struct jinja_value rounded(struct jinja_run *run, const struct jinja_value *value,
                                  const struct jinja_args *args)
{
    int64_t precision = int_arg(run, args, 0, "precision", 0);
    struct jinja_string method = text_arg(run, args, 1, "method", "common");
    const struct jinja_args none = {0};
    double number = to_number(run, value, &none, false).of.f;
    double scale = pow(10, (double)(precision > 15 ? 15 : precision < -15 ? -15 : precision));
    double result = jinja_is(method, "ceil")    ? ceil(number * scale) / scale
                    : jinja_is(method, "floor") ? floor(number * scale) / scale
                                                : nearbyint(number * scale) / scale;
    return (struct jinja_value){JINJA_FLOAT, {.f = result}};
}

static struct jinja_value json_of(struct jinja_run *run, const struct jinja_value *value,
                                  const struct jinja_args *args)
{
    struct buf out;
    int64_t indent = int_arg(run, args, SIZE_MAX, "indent", -1);
    if (args->positional.count == 1) /* Jinja's own tojson has indent first */
        indent = int_arg(run, args, 0, NULL, -1);
    buf_init(&out, run->heap);
    jinja_print_json(run, value, indent, bool_arg(run, args, SIZE_MAX, "ensure_ascii", false),
                     bool_arg(run, args, SIZE_MAX, "sort_keys", false), &out);
    return jinja_take(run, &out);
}

static struct jinja_value first_or_last(struct jinja_run *run, const struct jinja_value *value,
                                        bool last)
{
    const struct jinja_list *items = jinja_items(run, value);
    if (items->count == 0)
        return (struct jinja_value){0};
    return items->items[last ? items->count - 1 : 0];
}

static struct jinja_value length_of(struct jinja_run *run, const struct jinja_value *value)
{
    switch (value->kind) {
    case JINJA_UNDEFINED: return jinja_int(0);
    case JINJA_STRING:
        (void)jinja_step(run, value->of.s.bytes / 64);
        return jinja_int((int64_t)jinja_length(value->of.s));
    case JINJA_LIST: return jinja_int((int64_t)value->of.list->count);
    case JINJA_DICT: return jinja_int((int64_t)value->of.dict->count);
    default: return jinja_fail(run, ERR_INVALID, "%s has no length", jinja_kind_name(value));
    }
}

static struct jinja_value dict_only(struct jinja_run *run, const struct jinja_value *value)
{
    if (value->kind == JINJA_UNDEFINED)
        return jinja_new_dict(run);
    if (value->kind != JINJA_DICT)
        return jinja_fail(run, ERR_INVALID, "%s is no mapping", jinja_kind_name(value));
    return *value;
}

enum filter {
    F_ABS, F_CAPITALIZE, F_COUNT, F_D, F_DEFAULT, F_DICTSORT, F_E, F_ESCAPE, F_FIRST, F_FLOAT,
    F_INDENT, F_INT, F_ITEMS, F_JOIN, F_LAST, F_LENGTH, F_LIST, F_LOWER, F_MAP, F_MAX, F_MIN,
    F_REJECT, F_REJECTATTR, F_REPLACE, F_REVERSE, F_ROUND, F_SAFE, F_SELECT, F_SELECTATTR, F_SORT,
    F_STRING, F_SUM, F_TITLE, F_TOJSON, F_TRIM, F_UNIQUE, F_UPPER, FILTER_COUNT,
};
static const char *const filter_names[FILTER_COUNT] = {
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort",
    "string", "sum", "title", "tojson", "trim", "unique", "upper",
};

static struct jinja_value text_filter(struct jinja_run *run, enum filter filter,
                                      struct jinja_string s, const struct jinja_args *args)
{
    switch (filter) {
    case F_CAPITALIZE: return cased(run, s, CAPITAL);
    case F_LOWER: return cased(run, s, LOWER);
    case F_UPPER: return cased(run, s, UPPER);
    case F_TITLE: return cased(run, s, TITLE);
    case F_TRIM: return stripped(run, s, jinja_arg(run, args, 0, "chars"), true, true);
    case F_INDENT: return indented(run, s, args);
    case F_E:
    case F_ESCAPE: return escaped(run, s);
    case F_REPLACE: {
        struct jinja_string old = text_arg(run, args, 0, "old", NULL);
        struct jinja_string new = text_arg(run, args, 1, "new", NULL);
        return replaced(run, s, old, new, int_arg(run, args, 2, "count", -1));
    }
    default: return jinja_text(s.data, s.bytes);
    }
}

static struct jinja_value list_filter(struct jinja_run *run, enum filter filter,
                                      const struct jinja_value *value,
                                      const struct jinja_args *args)
{
    static const struct jinja_list nothing;
    bool lenient = filter == F_MAP || filter == F_SELECT || filter == F_REJECT ||
                   filter == F_SELECTATTR || filter == F_REJECTATTR; /* false and none are empty */
    const struct jinja_list *items = lenient && !jinja_truth(value) ? &nothing
                                                                    : jinja_items(run, value);
    const struct jinja_value *attribute;
    if (run->err)
        return *value;
    switch (filter) {
    case F_JOIN:
        attribute = jinja_arg(run, args, 1, "attribute");
        return joined(run, items, text_arg(run, args, 0, "d", ""),
                      attribute && attribute->kind == JINJA_STRING ? &attribute->of.s : NULL);
    case F_MAP: return mapped(run, items, args);
    case F_MAX: return extreme(run, items, 1);
    case F_MIN: return extreme(run, items, -1);
    case F_REJECT: return selected(run, items, args, false, false);
    case F_REJECTATTR: return selected(run, items, args, true, false);
    case F_SELECT: return selected(run, items, args, false, true);
    case F_SELECTATTR: return selected(run, items, args, true, true);
    case F_SORT:
        attribute = jinja_arg(run, args, 2, "attribute");
        return sorted(run, items, attribute && attribute->kind == JINJA_STRING ? &attribute->of.s : NULL,
                      bool_arg(run, args, 0, "reverse", false),
                      !bool_arg(run, args, 1, "case_sensitive", false));
    case F_SUM: return sum(run, items);
    case F_UNIQUE: return unique(run, items);
    default: { /* F_LIST: a copy would be the same */
        struct jinja_value list = {JINJA_LIST, {.list = NULL}};
        struct jinja_list *copy = jinja_alloc(run, sizeof *copy);
        if (!copy)
            return *value;
        *copy = *items;
        copy->tuple = false;
        copy->capacity = copy->count;
        list.of.list = copy;
        return list;
    }
    }
}

struct jinja_value jinja_filter(struct jinja_run *run, struct jinja_string name,
                                const struct jinja_value *value, const struct jinja_args *args)
{
    struct jinja_value text, dict;
    unsigned filter = 0;
    while (filter < FILTER_COUNT && !jinja_is(name, filter_names[filter]))
        filter++;
    switch (filter) {
    case FILTER_COUNT:
        return jinja_fail(run, ERR_UNSUPPORTED, "the filter '%.*s' is not known",
                          (int)(name.bytes < 60 ? name.bytes : 60), name.data);
    case F_ABS:
        if (value->kind == JINJA_INT && value->of.i != INT64_MIN)
            return jinja_int(value->of.i < 0 ? -value->of.i : value->of.i);
        return (struct jinja_value){JINJA_FLOAT, {.f = fabs(to_number(run, value, args, false).of.f)}};
    case F_COUNT:
    case F_LENGTH: return length_of(run, value);
    case F_D:
    case F_DEFAULT:
        if (value->kind == JINJA_UNDEFINED ||
            (bool_arg(run, args, 1, "boolean", false) && !jinja_truth(value))) {
            const struct jinja_value *fallback = jinja_arg(run, args, 0, "default_value");
            return fallback ? *fallback : jinja_text("", 0);
        }
        return *value;
    case F_DICTSORT:
        dict = dict_only(run, value);
        return run->err ? dict : dict_sorted(run, dict.of.dict, args);
    case F_ITEMS:
        dict = dict_only(run, value);
        return run->err ? dict : dict_items(run, dict.of.dict);
    case F_FIRST: return first_or_last(run, value, false);
    case F_LAST: return first_or_last(run, value, true);
    case F_INT: return to_number(run, value, args, true);
    case F_FLOAT: return to_number(run, value, args, false);
    case F_ROUND: return rounded(run, value, args);
    case F_REVERSE: return reversed(run, value);
    case F_TOJSON: return json_of(run, value, args);
    case F_CAPITALIZE:
    case F_LOWER:
    case F_UPPER:
    case F_TITLE:
    case F_TRIM:
    case F_INDENT:
    case F_E:
    case F_ESCAPE:
    case F_REPLACE:
    case F_SAFE:
    case F_STRING:
        text = jinja_to_text(run, value);
        return run->err ? text : text_filter(run, (enum filter)filter, text.of.s, args);
    default: return list_filter(run, (enum filter)filter, value, args);
    }
}

/* ---- Tests --------------------------------------------------------------------------------- */

static bool ordered_test(struct jinja_run *run, struct jinja_string name, int order)
{
    if (jinja_is(name, "lt") || jinja_is(name, "lessthan"))
        return order < 0;
    if (jinja_is(name, "gt") || jinja_is(name, "greaterthan"))
        return order > 0;
    if (jinja_is(name, "le"))
        return order <= 0;
    if (jinja_is(name, "ge"))
        return order >= 0;
    (void)jinja_fail(run, ERR_UNSUPPORTED, "the test '%.*s' is not known",
                     (int)(name.bytes < 60 ? name.bytes : 60), name.data);
    return false;
}

static bool all_cased(struct jinja_string s, bool up)
{
    bool any = false;
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] != (up ? upper(s.data[i]) : lower(s.data[i])))
            return false;
        any = any || lower(s.data[i]) != upper(s.data[i]);
    }
    return any;
}

bool jinja_test(struct jinja_run *run, struct jinja_string name, const struct jinja_value *value,
                const struct jinja_args *args)
{
    enum jinja_kind kind = value->kind;
    const struct jinja_value *other = jinja_arg(run, args, 0, NULL);
    bool number = kind == JINJA_INT || kind == JINJA_FLOAT || kind == JINJA_BOOL;
    bool container = kind == JINJA_STRING || kind == JINJA_LIST || kind == JINJA_DICT;
    const struct {
        const char *name;
        bool truth;
    } plain[] = {
        {"defined", kind != JINJA_UNDEFINED},
        {"undefined", kind == JINJA_UNDEFINED},
        {"none", kind == JINJA_NONE},
        {"string", kind == JINJA_STRING},
        {"number", number},
        {"integer", kind == JINJA_INT},
        {"float", kind == JINJA_FLOAT},
        {"boolean", kind == JINJA_BOOL},
        {"true", kind == JINJA_BOOL && value->of.b},
        {"false", kind == JINJA_BOOL && !value->of.b},
        {"mapping", kind == JINJA_DICT},
        {"sequence", container || kind == JINJA_UNDEFINED},
        {"iterable", container || kind == JINJA_UNDEFINED},
        {"callable", kind == JINJA_MACRO || kind == JINJA_FUNCTION || kind == JINJA_METHOD},
        {"odd", kind == JINJA_INT && value->of.i % 2 != 0},
        {"even", kind == JINJA_INT && value->of.i % 2 == 0},
        {"lower", kind == JINJA_STRING && all_cased(value->of.s, false)},
        {"upper", kind == JINJA_STRING && all_cased(value->of.s, true)},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (jinja_is(name, plain[i].name))
            return plain[i].truth;
    if (!other) {
        (void)jinja_fail(run, ERR_UNSUPPORTED, "the test '%.*s' is not known, or lacks an argument",
                         (int)(name.bytes < 60 ? name.bytes : 60), name.data);
        return false;
    }
    if (jinja_is(name, "equalto") || jinja_is(name, "eq") || jinja_is(name, "sameas"))
        return jinja_equal(run, value, other) && (!jinja_is(name, "sameas") || kind == other->kind);
    if (jinja_is(name, "ne"))
        return !jinja_equal(run, value, other);
    if (jinja_is(name, "in"))
        return jinja_contains(run, other, value);
    if (jinja_is(name, "divisibleby")) {
        if (kind == JINJA_INT && other->kind == JINJA_INT && other->of.i != 0)
            return other->of.i == -1 || value->of.i % other->of.i == 0;
        (void)jinja_fail(run, ERR_INVALID, "divisibleby needs whole numbers");
        return false;
    }
    return ordered_test(run, name, jinja_compare(run, value, other));
}

/* ---- Methods ------------------------------------------------------------------------------- */

static const char *const string_methods[] = {
    "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "rsplit", "splitlines", "upper",
    "lower", "title", "capitalize", "replace", "join", "find", "rfind", "count", "format",
    "isdigit", "isalpha", "isupper", "islower", "removeprefix", "removesuffix", NULL,
};
static const char *const dict_methods[] = {"get", "items", "keys", "values", NULL};
static const char *const list_methods[] = {"index", "count", NULL};

static bool in_names(const char *const *names, struct jinja_string name)
{
    for (; *names; names++)
        if (jinja_is(name, *names))
            return true;
    return false;
}

bool jinja_has_method(const struct jinja_value *self, struct jinja_string name)
{
    switch (self->kind) {
    case JINJA_STRING: return in_names(string_methods, name);
    case JINJA_DICT: return in_names(dict_methods, name);
    case JINJA_LIST: return in_names(list_methods, name);
    case JINJA_NAMESPACE: /* loop */
        return jinja_is(name, "cycle") && self->of.dict->count > 0 &&
               jinja_is(self->of.dict->items[0].key.of.s, "index");
    default: return false;
    }
}

/* startswith, endswith: with a string or with a list of them. */
static bool has_end(struct jinja_run *run, struct jinja_string s, const struct jinja_args *args,
                    bool start)
{
    const struct jinja_value *what = jinja_arg(run, args, 0, NULL);
    const struct jinja_list one = {false, 1, 1, (struct jinja_value[]){what ? *what : jinja_int(0)}};
    const struct jinja_list *all = what && what->kind == JINJA_LIST ? what->of.list : &one;
    for (size_t i = 0; i < all->count && jinja_step(run, 1); i++) {
        struct jinja_string end = all->items[i].of.s;
        if (all->items[i].kind != JINJA_STRING) {
            (void)jinja_fail(run, ERR_INVALID, "startswith and endswith need strings");
            return false;
        }
        if (end.bytes <= s.bytes &&
            (end.bytes == 0 ||
             memcmp(start ? s.data : s.data + s.bytes - end.bytes, end.data, end.bytes) == 0))
            return true;
    }
    return false;
}

/* The place of a part in code points, -1: none. */
static int64_t place_of(struct jinja_run *run, struct jinja_string s, struct jinja_string part,
                        bool last)
{
    int64_t place = -1;
    if (!jinja_step(run, s.bytes / 16))
        return -1;
    for (size_t at = 0; at + part.bytes <= s.bytes; at++) {
        const char *found = find_part(s.data + at, s.bytes - at, part);
        if (!found)
            break;
        at = (size_t)(found - s.data);
        place = (int64_t)at;
        if (!last || !jinja_step(run, 1))
            break;
    }
    return place < 0 ? -1 : (int64_t)jinja_length((struct jinja_string){s.data, (size_t)place});
}

static bool all_bytes(struct jinja_string s, char low, char high)
{
    for (size_t i = 0; i < s.bytes; i++)
        if (lower(s.data[i]) < low || lower(s.data[i]) > high)
            return false;
    return s.bytes > 0;
}

static struct jinja_value string_method(struct jinja_run *run, const struct jinja_value *self,
                                        struct jinja_string name, const struct jinja_args *args)
{
    struct jinja_string s = self->of.s, part;
    const struct jinja_value *first = jinja_arg(run, args, 0, "sep");
    if (jinja_is(name, "strip") || jinja_is(name, "lstrip") || jinja_is(name, "rstrip"))
        return stripped(run, s, jinja_arg(run, args, 0, NULL), name.data[0] != 'r',
                        name.data[0] != 'l');
    if (jinja_is(name, "startswith") || jinja_is(name, "endswith"))
        return jinja_bool(has_end(run, s, args, name.data[0] == 's'));
    if (jinja_is(name, "split") || jinja_is(name, "rsplit")) {
        int64_t limit = int_arg(run, args, 1, "maxsplit", -1);
        if (first && first->kind == JINJA_STRING && name.data[0] == 'r')
            return split_right(run, s, first->of.s, limit);
        if (first && first->kind != JINJA_STRING && first->kind != JINJA_NONE)
            return jinja_fail(run, ERR_INVALID, "split by %s", jinja_kind_name(first));
        return split(run, s, first && first->kind == JINJA_STRING ? &first->of.s : NULL, limit);
    }
    if (jinja_is(name, "splitlines"))
        return split_lines(run, s);
    if (jinja_is(name, "upper"))
        return cased(run, s, UPPER);
    if (jinja_is(name, "lower"))
        return cased(run, s, LOWER);
    if (jinja_is(name, "title"))
        return cased(run, s, TITLE);
    if (jinja_is(name, "capitalize"))
        return cased(run, s, CAPITAL);
    if (jinja_is(name, "join")) {
        const struct jinja_value *items = jinja_arg(run, args, 0, NULL);
        return items ? joined(run, jinja_items(run, items), s, NULL)
                     : jinja_fail(run, ERR_INVALID, "join lacks its list");
    }
    if (jinja_is(name, "format"))
        return formatted(run, s, args);
    if (jinja_is(name, "isdigit"))
        return jinja_bool(all_bytes(s, '0', '9'));
    if (jinja_is(name, "isalpha"))
        return jinja_bool(all_bytes(s, 'a', 'z'));
    if (jinja_is(name, "isupper") || jinja_is(name, "islower"))
        return jinja_bool(all_cased(s, name.data[2] == 'u'));
    part = text_arg(run, args, 0, NULL, NULL);
    if (run->err)
        return *self;
    if (jinja_is(name, "replace"))
        return replaced(run, s, part, text_arg(run, args, 1, NULL, NULL),
                        int_arg(run, args, 2, "count", -1));
    if (jinja_is(name, "find") || jinja_is(name, "rfind"))
        return jinja_int(place_of(run, s, part, name.data[0] == 'r'));
    if (jinja_is(name, "removeprefix"))
        return has_end(run, s, args, true) ? jinja_text(s.data + part.bytes, s.bytes - part.bytes)
                                           : *self;
    if (jinja_is(name, "removesuffix"))
        return has_end(run, s, args, false) ? jinja_text(s.data, s.bytes - part.bytes) : *self;
    /* count */
    struct jinja_value pieces = part.bytes ? split(run, s, &part, -1) : jinja_new_list(run);
    return run->err ? pieces
                    : jinja_int(part.bytes ? (int64_t)pieces.of.list->count - 1
                                           : (int64_t)jinja_length(s) + 1);
}

static struct jinja_value dict_method(struct jinja_run *run, const struct jinja_dict *dict,
                                      struct jinja_string name, const struct jinja_args *args)
{
    if (jinja_is(name, "items"))
        return dict_items(run, dict);
    if (jinja_is(name, "get")) {
        const struct jinja_value *key = jinja_arg(run, args, 0, NULL);
        const struct jinja_value *fallback = jinja_arg(run, args, 1, NULL);
        for (size_t i = 0; key && i < dict->count && jinja_step(run, 1); i++)
            if (jinja_equal(run, &dict->items[i].key, key))
                return dict->items[i].value;
        return fallback ? *fallback : (struct jinja_value){.kind = JINJA_NONE};
    }
    struct jinja_value list = jinja_new_list(run);
    for (size_t i = 0; i < dict->count && jinja_step(run, 1); i++)
        jinja_push(run, list.of.list, name.data[0] == 'k' ? dict->items[i].key
                                                          : dict->items[i].value);
    return list;
}

static struct jinja_value list_method(struct jinja_run *run, const struct jinja_list *list,
                                      struct jinja_string name, const struct jinja_args *args)
{
    const struct jinja_value *what = jinja_arg(run, args, 0, NULL);
    int64_t count = 0;
    for (size_t i = 0; what && i < list->count && jinja_step(run, 1); i++) {
        if (!jinja_equal(run, &list->items[i], what))
            continue;
        if (jinja_is(name, "index"))
            return jinja_int((int64_t)i);
        count++;
    }
    if (jinja_is(name, "index"))
        return jinja_fail(run, ERR_INVALID, "index of a value that the list lacks");
    return jinja_int(count);
}

struct jinja_value jinja_method_call(struct jinja_run *run, const struct jinja_value *self,
                                     struct jinja_string name, const struct jinja_args *args)
{
    switch (self->kind) {
    case JINJA_STRING: return string_method(run, self, name, args);
    case JINJA_DICT: return dict_method(run, self->of.dict, name, args);
    case JINJA_LIST: return list_method(run, self->of.list, name, args);
    default: break; /* loop.cycle */
    }
    const struct jinja_value *index = jinja_find(run, self->of.dict, "index0", 6);
    size_t count = args->positional.count;
    if (count == 0 || !index || index->kind != JINJA_INT)
        return jinja_fail(run, ERR_INVALID, "cycle has nothing to choose from");
    return args->positional.items[(uint64_t)index->of.i % count];
}

/* ---- Functions ----------------------------------------------------------------------------- */

static const char *const functions[] = {"range", "namespace", "dict", "raise_exception",
                                        "strftime_now", NULL};

bool jinja_has_function(struct jinja_string name)
{
    return in_names(functions, name);
}

static struct jinja_value range(struct jinja_run *run, const struct jinja_args *args)
{
    int64_t from = 0, to, step = int_arg(run, args, 2, NULL, 1);
    if (args->positional.count == 1) {
        to = int_arg(run, args, 0, NULL, 0);
    } else {
        from = int_arg(run, args, 0, NULL, 0);
        to = int_arg(run, args, 1, NULL, 0);
    }
    struct jinja_value list = jinja_new_list(run);
    if (step == 0)
        return jinja_fail(run, ERR_INVALID, "a range with step 0");
    for (int64_t i = from; (step > 0 ? i < to : i > to) && jinja_step(run, 1);) {
        if (list.of.list->count >= JINJA_RANGE_MAX)
            return jinja_fail(run, ERR_LIMIT, "a range is longer than %d", JINJA_RANGE_MAX);
        jinja_push(run, list.of.list, jinja_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return list;
}

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
                                   "Saturday"};

/* The calendar by hand: no locale, no time zone. Howard Hinnant's days-from-civil, inverted. */
static struct jinja_value date(struct jinja_run *run, struct jinja_string format)
{
    int64_t day = run->now_s / 86400 - (run->now_s % 86400 < 0), rest = run->now_s - day * 86400;
    int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t mday = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    int64_t hour = rest / 3600, minute = rest / 60 % 60, weekday = ((day + 4) % 7 + 7) % 7;
    struct buf out;
    buf_init(&out, run->heap);
    for (size_t i = 0; i < format.bytes && jinja_step(run, 1); i++) {
        if (format.data[i] != '%' || i + 1 == format.bytes) {
            (void)buf_putc(&out, format.data[i]);
            continue;
        }
        bool bare = format.data[i + 1] == '-' && i + 2 < format.bytes;
        i += bare ? 2 : 1;
        char text[32] = "";
        switch (format.data[i]) {
        case 'Y': snprintf(text, sizeof text, "%lld", (long long)year); break;
        case 'y': snprintf(text, sizeof text, "%02d", (int)(year % 100)); break;
        case 'm': case 'd': case 'H': case 'M': case 'S': case 'I': {
            int64_t number = format.data[i] == 'm' ? month : format.data[i] == 'd' ? mday
                             : format.data[i] == 'H' ? hour : format.data[i] == 'M' ? minute
                             : format.data[i] == 'S' ? rest % 60 : (hour + 11) % 12 + 1;
            snprintf(text, sizeof text, bare ? "%d" : "%02d", (int)number);
            break;
        }
        case 'p': snprintf(text, sizeof text, "%s", hour < 12 ? "AM" : "PM"); break;
        case 'B': snprintf(text, sizeof text, "%s", months[month - 1]); break;
        case 'b': snprintf(text, sizeof text, "%.3s", months[month - 1]); break;
        case 'A': snprintf(text, sizeof text, "%s", days[weekday]); break;
        case 'a': snprintf(text, sizeof text, "%.3s", days[weekday]); break;
        case '%': snprintf(text, sizeof text, "%%"); break;
        default: (void)jinja_fail(run, ERR_UNSUPPORTED, "strftime_now with '%%%c'", format.data[i]);
        }
        (void)buf_puts(&out, text);
    }
    return jinja_take(run, &out);
}

struct jinja_value jinja_function_call(struct jinja_run *run, struct jinja_string name,
                                       const struct jinja_args *args)
{
    if (jinja_is(name, "range"))
        return range(run, args);
    if (jinja_is(name, "strftime_now"))
        return date(run, text_arg(run, args, 0, NULL, NULL));
    if (jinja_is(name, "raise_exception")) {
        struct jinja_string why = text_arg(run, args, 0, "message", "");
        return jinja_fail(run, ERR_INVALID, "it refuses: %.*s",
                          (int)(why.bytes < 400 ? why.bytes : 400), why.data);
    }
    struct jinja_value value = jinja_new_dict(run); /* dict, namespace */
    const struct jinja_value *from = jinja_arg(run, args, 0, NULL);
    for (size_t i = 0; from && from->kind == JINJA_DICT && i < from->of.dict->count && !run->err; i++)
        jinja_put(run, value.of.dict, from->of.dict->items[i].key, from->of.dict->items[i].value);
    for (size_t i = 0; i < args->named.count && !run->err; i++)
        jinja_put(run, value.of.dict, args->named.items[i].key, args->named.items[i].value);
    if (jinja_is(name, "namespace") && !run->err)
        value.kind = JINJA_NAMESPACE;
    return value;
}
