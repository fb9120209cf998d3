/* WIT text to types: the small part of the language that function signatures need. */
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/types.h"

struct parser {
    struct arena *arena;
    const char *text, *at;
    comp_find_res find;
    void *user;
    struct report *report;
    uint32_t depth;
};

struct fields {
    struct comp_field *items;
    size_t count, capacity;
};

static const struct comp_type *parse_type(struct parser *p);

static const void *fail(struct parser *p, const char *wanted)
{
    err_set(p->report, ERR_INVALID, "WIT type `%s`: %s expected at `%.30s`", p->text, wanted, p->at);
    return NULL;
}

static void skip_space(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\n' || *p->at == '\t')
        p->at++;
}

static bool accept(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

/* A label, with the % that WIT puts before keywords removed. Empty when there is none. */
static size_t parse_label(struct parser *p, const char **label)
{
    skip_space(p);
    if (*p->at == '%')
        p->at++;
    *label = p->at;
    while (is_name_char(*p->at) && !(p->at[0] == '-' && p->at[1] == '>'))
        p->at++;
    return (size_t)(p->at - *label);
}

static bool add_field(struct parser *p, struct fields *fields, const char *name, size_t name_bytes,
                      const struct comp_type *type)
{
    struct comp_field field = {.type = type};
    if (name_bytes) {
        field.name = arena_strdup(p->arena, name, name_bytes);
        if (!field.name)
            return false;
    }
    return vec_push(NULL, fields, field);
}

static struct comp_field *take_fields(struct parser *p, struct fields *fields)
{
    struct comp_field *copy = arena_calloc(p->arena, fields->count + 1, sizeof *copy);
    if (copy && fields->count)
        memcpy(copy, fields->items, fields->count * sizeof *copy);
    return copy;
}

static const struct comp_type *finish(struct parser *p, enum comp_kind kind, struct fields *fields)
{
    struct comp_field *copy = take_fields(p, fields);
    if (!copy) {
        err_set(p->report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    return comp_type_fields(p->arena, kind, copy, (uint32_t)fields->count, p->report);
}

/* "{ name: T, ... }", "{ name(T), ... }" or "{ name, ... }", by kind. */
static const struct comp_type *parse_braces(struct parser *p, enum comp_kind kind)
{
    struct fields fields = {0};
    const struct comp_type *result = NULL;
    if (!accept(p, '{')) {
        fail(p, "`{`");
        goto out;
    }
    while (!accept(p, '}')) {
        const char *name;
        size_t bytes = parse_label(p, &name);
        const struct comp_type *type = NULL;
        if (bytes == 0) {
            fail(p, "a name");
            goto out;
        }
        if (kind == COMP_RECORD) {
            if (!accept(p, ':')) {
                fail(p, "`:`");
                goto out;
            }
            type = parse_type(p);
            if (!type)
                goto out;
        } else if (kind == COMP_VARIANT && accept(p, '(')) {
            type = parse_type(p);
            if (!type)
                goto out;
            if (!accept(p, ')')) {
                fail(p, "`)`");
                goto out;
            }
        }
        if (!add_field(p, &fields, name, bytes, type)) {
            err_set(p->report, ERR_MEMORY, "no memory for a type");
            goto out;
        }
        if (!accept(p, ',') && (skip_space(p), *p->at != '}')) {
            fail(p, "`,` or `}`");
            goto out;
        }
    }
    result = finish(p, kind, &fields);
out:
    vec_free(NULL, &fields);
    return result;
}

static const struct comp_type *parse_tuple(struct parser *p)
{
    struct fields fields = {0};
    const struct comp_type *result = NULL;
    if (!accept(p, '<')) {
        fail(p, "`<`");
        return NULL;
    }
    do {
        const struct comp_type *type = parse_type(p);
        if (!type)
            goto out;
        if (!add_field(p, &fields, NULL, 0, type)) {
            err_set(p->report, ERR_MEMORY, "no memory for a type");
            goto out;
        }
    } while (accept(p, ','));
    if (accept(p, '>'))
        result = finish(p, COMP_TUPLE, &fields);
    else
        fail(p, "`>`");
out:
    vec_free(NULL, &fields);
    return result;
}

static const struct comp_type *parse_result(struct parser *p)
{
    const struct comp_type *ok = NULL, *error = NULL;
    if (accept(p, '<')) {
        skip_space(p);
        if (p->at[0] == '_') {
            p->at++;
        } else if (!(ok = parse_type(p))) {
            return NULL;
        }
        if (accept(p, ',') && !(error = parse_type(p)))
            return NULL;
        if (!accept(p, '>'))
            return fail(p, "`>`");
    }
    return comp_type_result(p->arena, ok, error, p->report);
}

static const struct comp_type *parse_handle(struct parser *p, enum comp_kind kind)
{
    if (!accept(p, '<'))
        return fail(p, "`<`");
    skip_space(p);
    const char *name = p->at;
    while (*p->at && *p->at != '>')
        p->at++;
    size_t bytes = (size_t)(p->at - name);
    struct comp_res *resource = p->find(p->user, name, bytes);
    if (!resource) {
        err_set(p->report, ERR_NOT_FOUND,
                "WIT type `%s`: there is no resource `%.*s`; define resources before functions",
                p->text, (int)(bytes < 100 ? bytes : 100), name);
        return NULL;
    }
    if (!accept(p, '>'))
        return fail(p, "`>`");
    return comp_type_handle(p->arena, kind, resource, p->report);
}

static const struct comp_type *parse_one(struct parser *p, enum comp_kind kind)
{
    if (!accept(p, '<'))
        return fail(p, "`<`");
    const struct comp_type *element = parse_type(p);
    if (!element)
        return NULL;
    if (!accept(p, '>'))
        return fail(p, "`>`");
    return kind == COMP_LIST ? comp_type_list(p->arena, element, p->report)
                             : comp_type_option(p->arena, element, p->report);
}

static const struct comp_type *parse_type(struct parser *p)
{
    static const struct {
        const char *name;
        enum comp_kind kind;
    } words[] = {
        {"bool", COMP_BOOL}, {"s8", COMP_S8}, {"u8", COMP_U8}, {"s16", COMP_S16},
        {"u16", COMP_U16}, {"s32", COMP_S32}, {"u32", COMP_U32}, {"s64", COMP_S64},
        {"u64", COMP_U64}, {"f32", COMP_F32}, {"f64", COMP_F64}, {"char", COMP_CHAR},
        {"string", COMP_STRING}, {"list", COMP_LIST}, {"option", COMP_OPTION},
        {"result", COMP_RESULT}, {"tuple", COMP_TUPLE}, {"own", COMP_OWN},
        {"borrow", COMP_BORROW}, {"record", COMP_RECORD}, {"variant", COMP_VARIANT},
        {"enum", COMP_ENUM}, {"flags", COMP_FLAGS},
    };
    const char *word;
    size_t bytes = parse_label(p, &word);
    if (p->depth >= COMP_TYPE_DEPTH_MAX)
        return fail(p, "a less deeply nested type");
    p->depth++;
    const struct comp_type *type = NULL;
    size_t i = 0;
    while (i < sizeof words / sizeof *words &&
           (strlen(words[i].name) != bytes || memcmp(words[i].name, word, bytes) != 0))
        i++;
    if (i == sizeof words / sizeof *words) {
        p->at = word;
        fail(p, "a type");
    } else {
        enum comp_kind kind = words[i].kind;
        if (kind <= COMP_STRING)
            type = comp_type_primitive(kind);
        else if (kind == COMP_LIST || kind == COMP_OPTION)
            type = parse_one(p, kind);
        else if (kind == COMP_RESULT)
            type = parse_result(p);
        else if (kind == COMP_TUPLE)
            type = parse_tuple(p);
        else if (kind == COMP_OWN || kind == COMP_BORROW)
            type = parse_handle(p, kind);
        else
            type = parse_braces(p, kind);
    }
    p->depth--;
    return type;
}

static const struct comp_functype *parse_func(struct parser *p, struct fields *params)
{
    const char *word;
    size_t bytes = parse_label(p, &word);
    if (bytes != 4 || memcmp(word, "func", 4) != 0)
        return fail(p, "`func`");
    if (!accept(p, '('))
        return fail(p, "`(`");
    while (!accept(p, ')')) {
        const char *name;
        size_t name_bytes = parse_label(p, &name);
        if (name_bytes == 0)
            return fail(p, "a parameter's name");
        if (!accept(p, ':'))
            return fail(p, "`:`");
        const struct comp_type *type = parse_type(p);
        if (!type)
            return NULL;
        if (!add_field(p, params, name, name_bytes, type)) {
            err_set(p->report, ERR_MEMORY, "no memory for a type");
            return NULL;
        }
        if (!accept(p, ',') && (skip_space(p), *p->at != ')'))
            return fail(p, "`,` or `)`");
    }
    const struct comp_type *result = NULL;
    skip_space(p);
    if (p->at[0] == '-' && p->at[1] == '>') {
        p->at += 2;
        result = parse_type(p);
        if (!result)
            return NULL;
    }
    skip_space(p);
    if (*p->at)
        return fail(p, "the end");
    struct comp_field *copy = take_fields(p, params);
    if (!copy) {
        err_set(p->report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    return comp_functype_create(p->arena, copy, (uint32_t)params->count, result, p->report);
}

enum err comp_wit_parse_func(struct arena *arena, const char *text, comp_find_res find, void *user,
                             const struct comp_functype **type, struct report *report)
{
    struct report local = {0};
    struct parser p = {.arena = arena, .text = text, .at = text, .find = find, .user = user,
                       .report = report ? report : &local};
    struct fields params = {0};
    *type = parse_func(&p, &params);
    vec_free(NULL, &params);
    return *type ? ERR_OK : p.report->code;
}
