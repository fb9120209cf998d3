/* allOf, and $ref beside other keywords, become one schema that says all of it. Merging goes one level
 * deep: where both have a schema for the same property or element, the result has an allOf there,
 * which is merged when it is reached (and remembered by its text, so that recursive schemas end). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/schema_merge.h"

#define CHOICES_MAX 256u
#define REF_BYTES_MAX 1000

static bool one_of(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(key, *list) == 0)
            return true;
    return false;
}

bool schema_is_annotation(const char *key)
{
    static const char *const keys[] = {"$id",         "$schema",         "$anchor",
                                       "$comment",    "$defs",           "definitions",
                                       "title",       "description",     "default",
                                       "examples",    "deprecated",      "readOnly",
                                       "writeOnly",   "$vocabulary",     "$dynamicAnchor",
                                       "contentType", "contentEncoding", "contentMediaType",
                                       "nullable",    "contentSchema",   NULL};
    return one_of(key, keys);
}

bool schema_constrains(const json_t *schema, const char *except)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)schema); at;
         at = json_object_iter_next((json_t *)(uintptr_t)schema, at)) {
        const char *key = json_object_iter_key(at);
        if (!schema_is_annotation(key) && strcmp(key, except) != 0)
            return true;
    }
    return false;
}

/* jansson counts references in values that are otherwise only read. */
static json_t *shared(const json_t *value)
{
    return json_incref((json_t *)(uintptr_t)value);
}

static bool is_anything(const json_t *schema)
{
    return json_is_true(schema) || (json_is_object(schema) && json_object_size(schema) == 0);
}

static bool add_once(json_t *list, const json_t *schema)
{
    size_t i;
    json_t *have;
    json_array_foreach(list, i, have)
    {
        if (json_equal(have, schema))
            return true;
    }
    return json_array_append_new(list, shared(schema)) == 0;
}

json_t *schema_both(const json_t *a, const json_t *b)
{
    if (is_anything(a) || json_is_false(b) || json_equal(a, b))
        return shared(b);
    if (is_anything(b) || json_is_false(a))
        return shared(a);
    json_t *list = json_array(), *all = json_object();
    const json_t *sides[2] = {a, b};
    bool ok = list && all;
    for (int side = 0; side < 2 && ok; side++) {
        /* an allOf and nothing else: its members */
        const json_t *inner = json_object_get(sides[side], "allOf");
        size_t i;
        json_t *one;
        if (json_is_array(inner) && json_object_size(sides[side]) == 1) {
            json_array_foreach(inner, i, one)
            {
                ok = ok && add_once(list, one);
            }
        } else {
            ok = add_once(list, sides[side]);
        }
    }
    ok = ok && json_object_set(all, "allOf", list) == 0;
    json_decref(list);
    if (!ok) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static bool list_has(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_equal(one, value))
            return true;
    }
    return false;
}

/* A value as a list of values: itself when it is one already. */
static json_t *as_list(const json_t *value)
{
    if (json_is_array(value))
        return shared(value);
    json_t *list = json_array();
    if (list && json_array_append_new(list, shared(value)) != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static bool has_type(const json_t *list, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), name) == 0)
            return true;
    }
    return false;
}

/* Types that both lists have; integers are numbers. */
static json_t *common_types(const json_t *a, const json_t *b)
{
    json_t *first = as_list(a), *second = as_list(b), *out = json_array(), *one;
    size_t i;
    json_array_foreach(first, i, one)
    {
        const char *name = json_string_value(one);
        if (!name || !out)
            continue;
        if (has_type(second, name) ||
            (strcmp(name, "integer") == 0 && has_type(second, "number")))
            (void)json_array_append(out, one);
        else if (strcmp(name, "number") == 0 && has_type(second, "integer"))
            (void)json_array_append_new(out, json_string("integer"));
    }
    json_decref(first);
    json_decref(second);
    return out;
}

/* Of the values that enum and const name, those that both have; NULL: neither names any. */
static json_t *common_values(const json_t *a, const json_t *b)
{
    const json_t *sources[4] = {json_object_get(a, "enum"), json_object_get(a, "const"),
                                json_object_get(b, "enum"), json_object_get(b, "const")};
    json_t *values = NULL, *one;
    size_t i;
    for (int k = 0; k < 4; k++) {
        if (!sources[k])
            continue;
        json_t *list = json_array();
        if (k % 2) {
            if (!values || list_has(values, sources[k]))
                (void)json_array_append_new(list, shared(sources[k]));
        } else {
            json_array_foreach(sources[k], i, one)
            {
                if (!values || list_has(values, one))
                    (void)json_array_append(list, one);
            }
        }
        json_decref(values);
        values = list;
    }
    return values;
}

static const json_t *choices_of(const json_t *schema)
{
    const json_t *any = json_object_get(schema, "anyOf");
    return any ? any : json_object_get(schema, "oneOf");
}

/* Each choice of the one with each of the other. */
static json_t *cross(const json_t *a, const json_t *b, const char **unsupported)
{
    json_t *out = json_array(), *one, *two;
    size_t i, k;
    if (json_array_size(a) * json_array_size(b) > CHOICES_MAX) {
        *unsupported = "anyOf";
        json_decref(out);
        return NULL;
    }
    json_array_foreach(a, i, one)
    {
        json_array_foreach(b, k, two)
        {
            (void)json_array_append_new(out, schema_both(one, two));
        }
    }
    return out;
}

static bool merge_properties(json_t *out, const json_t *a, const json_t *b,
                             const char **unsupported)
{
    const json_t *sides[2] = {a, b};
    const json_t *lists[2] = {json_object_get(a, "properties"), json_object_get(b, "properties")};
    const json_t *others[2] = {json_object_get(a, "additionalProperties"),
                               json_object_get(b, "additionalProperties")};
    for (int side = 0; side < 2; side++)
        if (json_object_get(sides[side], "patternProperties") &&
            (json_object_get(sides[1 - side], "properties") ||
             json_object_get(sides[1 - side], "patternProperties") || others[1 - side])) {
            *unsupported = "patternProperties";
            return false;
        }
    if (lists[0] || lists[1]) {
        json_t *merged = json_object();
        for (int side = 0; side < 2; side++) {
            json_t *list = (json_t *)(uintptr_t)lists[side], *value;
            const char *key;
            if (!json_is_object(list))
                continue;
            json_object_foreach(list, key, value)
            {
                const json_t *theirs = json_object_get(lists[1 - side], key);
                if (theirs && side == 1)
                    continue;
                if (!theirs)
                    theirs = others[1 - side];
                (void)json_object_set_new(merged, key,
                                          theirs ? schema_both(value, theirs) : shared(value));
            }
        }
        (void)json_object_set_new(out, "properties", merged);
    }
    if (others[0] && others[1])
        (void)json_object_set_new(out, "additionalProperties", schema_both(others[0], others[1]));
    else if (others[0] || others[1])
        (void)json_object_set_new(out, "additionalProperties",
                                  shared(others[0] ? others[0] : others[1]));
    return true;
}

static bool merge_items(json_t *out, const json_t *a, const json_t *b, const char **unsupported)
{
    const json_t *prefixes[2] = {json_object_get(a, "prefixItems"),
                                 json_object_get(b, "prefixItems")};
    const json_t *items[2] = {json_object_get(a, "items"), json_object_get(b, "items")};
    if (json_is_array(items[0]) || json_is_array(items[1])) {
        *unsupported = "items";
        return false;
    }
    size_t count = json_array_size(prefixes[0]);
    if (json_array_size(prefixes[1]) > count)
        count = json_array_size(prefixes[1]);
    if (count > 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++) {
            const json_t *at[2];
            for (int side = 0; side < 2; side++) {
                at[side] = json_array_get(prefixes[side], i);
                if (!at[side])
                    at[side] = items[side];
            }
            (void)json_array_append_new(list, at[0] && at[1] ? schema_both(at[0], at[1])
                                                             : shared(at[0] ? at[0] : at[1]));
        }
        (void)json_object_set_new(out, "prefixItems", list);
    }
    if (items[0] || items[1])
        (void)json_object_set_new(out, "items", items[0] && items[1]
                                                    ? schema_both(items[0], items[1])
                                                    : shared(items[0] ? items[0] : items[1]));
    return true;
}

static json_int_t common_divisor(json_int_t a, json_int_t b)
{
    while (b != 0) {
        json_int_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* One keyword that both have, with different values; NULL as schema_merge. */
static json_t *merge_keyword(const char *key, const json_t *a, const json_t *b,
                             const char **unsupported)
{
    static const char *const lower[] = {"minimum",  "exclusiveMinimum", "minLength",
                                        "minItems", "minProperties",    NULL};
    static const char *const upper[] = {"maximum",  "exclusiveMaximum", "maxLength",
                                        "maxItems", "maxProperties",    NULL};
    static const char *const ignored[] = {
        "if",          "then",        "else",          "contains",           "minContains",
        "maxContains", "uniqueItems", "dependentSchemas", "dependentRequired", "dependencies",
        "unevaluatedItems", "unevaluatedProperties", "$dynamicRef", NULL};
    if (one_of(key, ignored))
        return shared(a);
    if (json_is_number(a) && json_is_number(b) && (one_of(key, lower) || one_of(key, upper)))
        return shared((json_number_value(a) > json_number_value(b)) == one_of(key, lower) ? a : b);
    if (strcmp(key, "type") == 0)
        return common_types(a, b);
    if (strcmp(key, "propertyNames") == 0)
        return schema_both(a, b);
    if (strcmp(key, "not") == 0)
        return json_pack("{s:[O,O]}", "anyOf", a, b);
    if (strcmp(key, "required") == 0 && json_is_array(a) && json_is_array(b)) {
        json_t *list = json_copy((json_t *)(uintptr_t)a), *one;
        size_t i;
        json_array_foreach(b, i, one)
        {
            if (!list_has(list, one))
                (void)json_array_append(list, one);
        }
        return list;
    }
    if (strcmp(key, "multipleOf") == 0 && json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        if (x > 0 && y > 0 && x <= 1000000 && y <= 1000000)
            return json_integer(x / common_divisor(x, y) * y);
    }
    *unsupported = key;
    return NULL;
}

json_t *schema_merge(const json_t *a, const json_t *b, const char **unsupported)
{
    static const char *const apart[] = {"properties", "additionalProperties", "items",
                                        "prefixItems", "enum", "const", "anyOf", "oneOf", NULL};
    *unsupported = NULL;
    if (json_is_false(a) || json_is_true(b))
        return shared(a);
    if (json_is_true(a) || json_is_false(b))
        return shared(b);
    json_t *out = json_object();
    const json_t *sides[2] = {a, b};
    if (!out)
        return NULL;
    for (int side = 0; side < 2; side++) {
        json_t *from = (json_t *)(uintptr_t)sides[side], *value;
        const char *key;
        json_object_foreach(from, key, value)
        {
            if (schema_is_annotation(key) || one_of(key, apart))
                continue;
            const json_t *have = json_object_get(out, key);
            json_t *merged = have && !json_equal(have, value)
                                 ? merge_keyword(key, have, value, unsupported)
                                 : shared(value);
            if (!merged || json_object_set_new(out, key, merged) != 0) {
                json_decref(out);
                return NULL;
            }
        }
    }
    bool ok = merge_properties(out, a, b, unsupported) && merge_items(out, a, b, unsupported);
    json_t *values = common_values(a, b);
    if (values)
        (void)json_object_set_new(out, "enum", values);
    /* within one schema anyOf and oneOf may both be there */
    json_t *choices = NULL;
    for (int k = 0; k < 4 && ok; k++) {
        const json_t *here = json_object_get(sides[k / 2], k % 2 ? "oneOf" : "anyOf");
        if (!here)
            continue;
        json_t *next = choices ? cross(choices, here, unsupported) : shared(here);
        json_decref(choices);
        choices = next;
        ok = choices != NULL;
    }
    if (choices)
        (void)json_object_set_new(out, "anyOf", choices);
    if (!ok) {
        json_decref(out);
        return NULL;
    }
    if (json_is_array(json_object_get(out, "type")) &&
        json_array_size(json_object_get(out, "type")) == 0) {
        json_decref(out);
        return json_false();
    }
    return out;
}

/* ---- names ---- */

/* `id` seen from `base`. */
static void join(const char *base, const char *id, char out[REF_BYTES_MAX])
{
    size_t keep = 0;
    const char *scheme = strstr(base, "://");
    if (!strstr(id, "://") && strncmp(id, "urn:", 4) != 0) {
        if (id[0] == '#') {
            keep = strcspn(base, "#");
        } else if (id[0] == '/' && scheme) {
            keep = (size_t)(scheme - base) + 3;
            keep += strcspn(base + keep, "/");
        } else {
            const char *slash = strrchr(base, '/');
            keep = slash ? (size_t)(slash - base) + 1 : 0;
        }
    }
    (void)snprintf(out, REF_BYTES_MAX, "%.*s%s", (int)(keep < REF_BYTES_MAX ? keep : 0), base, id);
}

static bool set_first(struct map *names, const char *key, const json_t *schema)
{
    if (map_find(names, key, strlen(key)))
        return true;
    return map_set(names, key, strlen(key), (void *)(uintptr_t)schema);
}

/* Depth is bounded by the reader of JSON. */
static bool index_under(const json_t *schema, const char *base, struct map *names)
{
    static const char *const values[] = {"enum", "const", "default", "examples", NULL};
    static const char *const anchors[] = {"$anchor", "$dynamicAnchor"};
    json_t *here = (json_t *)(uintptr_t)schema, *value;
    const char *key;
    size_t i;
    char *own = NULL;
    bool ok = true;
    if (json_is_array(here)) {
        json_array_foreach(here, i, value)
        {
            ok = ok && index_under(value, base, names);
        }
        return ok;
    }
    if (!json_is_object(here))
        return true;
    const char *id = json_string_value(json_object_get(here, "$id"));
    if (id && strlen(id) + strlen(base) < REF_BYTES_MAX) {
        own = malloc(REF_BYTES_MAX);
        if (!own)
            return false;
        join(base, id, own);
        base = own;
        ok = set_first(names, own, here) && set_first(names, id, here);
    }
    for (int k = 0; k < 2; k++) {
        const char *anchor = json_string_value(json_object_get(here, anchors[k]));
        if (anchor && strlen(anchor) + strlen(base) + 1 < REF_BYTES_MAX) {
            char name[REF_BYTES_MAX];
            (void)snprintf(name, sizeof name, "%s#%s", base, anchor);
            ok = ok && set_first(names, name, here);
            ok = ok && set_first(names, strchr(name, '#'), here);
        }
    }
    json_object_foreach(here, key, value)
    {
        if (ok && !one_of(key, values))
            ok = index_under(value, base, names);
    }
    free(own);
    return ok;
}

bool schema_index(const json_t *root, struct map *names)
{
    return index_under(root, "", names);
}

/* What a JSON pointer leads to; NULL: nowhere. */
static const json_t *follow(const json_t *root, const char *path)
{
    const json_t *at = root;
    char key[300];
    while (*path == '/' && at) {
        size_t bytes = 0;
        for (path++; *path && *path != '/' && bytes + 1 < sizeof key; path++) {
            char c = *path;
            unsigned hex;
            if (c == '%' && path[1] && path[2] && sscanf(path + 1, "%2x", &hex) == 1) {
                c = (char)hex;
                path += 2;
            }
            if (c == '~' && (path[1] == '0' || path[1] == '1'))
                c = *++path == '0' ? '~' : '/';
            key[bytes++] = c;
        }
        key[bytes] = '\0';
        if (json_is_array(at))
            at = json_array_get(at, strtoul(key, NULL, 10));
        else
            at = json_object_get(at, key);
    }
    return *path ? NULL : at;
}

static const json_t *lookup(const struct map *names, const char *ref)
{
    const json_t *found = map_find(names, ref, strlen(ref));
    if (found)
        return found;
    size_t bytes = strcspn(ref, "#");
    found = bytes > 0 && ref[bytes] == '#' ? map_find(names, ref, bytes) : NULL;
    return found ? follow(found, ref + bytes + 1) : NULL;
}

const json_t *schema_resolve(const json_t *root, const struct map *names, const char *ref)
{
    const char *id = json_string_value(json_object_get(root, "$id"));
    char joined[REF_BYTES_MAX];
    if (ref[0] == '#' && (ref[1] == '\0' || ref[1] == '/'))
        return follow(root, ref + 1);
    const json_t *found = lookup(names, ref);
    if (found || !id || strlen(id) + strlen(ref) >= REF_BYTES_MAX)
        return found;
    join(id, ref, joined);
    return lookup(names, joined);
}

/* ---- values ---- */

static bool is_of_type(const json_t *value, const char *type)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return strcmp(type, "object") == 0;
    case JSON_ARRAY: return strcmp(type, "array") == 0;
    case JSON_STRING: return strcmp(type, "string") == 0;
    case JSON_INTEGER: return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL:
        return strcmp(type, "number") == 0 ||
               (strcmp(type, "integer") == 0 &&
                json_real_value(value) == floor(json_real_value(value)));
    case JSON_NULL: return strcmp(type, "null") == 0;
    case JSON_TRUE:
    case JSON_FALSE: return strcmp(type, "boolean") == 0;
    }
    return false;
}

static bool within(const json_t *schema, const char *min, const char *max, double number)
{
    const json_t *low = json_object_get(schema, min), *high = json_object_get(schema, max);
    return (!json_is_number(low) || number >= json_number_value(low)) &&
           (!json_is_number(high) || number <= json_number_value(high));
}

static bool allows_scalar(struct schema_check *check, const json_t *schema, const json_t *value)
{
    if (json_is_number(value)) {
        double number = json_number_value(value);
        const json_t *low = json_object_get(schema, "exclusiveMinimum"),
                     *high = json_object_get(schema, "exclusiveMaximum"),
                     *step = json_object_get(schema, "multipleOf");
        if (json_is_boolean(low) || json_is_boolean(high) || (step && !json_is_integer(step)))
            check->unknown = true;
        else if (step && json_integer_value(step) != 0 &&
                 fmod(number, (double)json_integer_value(step)) != 0)
            return false;
        return within(schema, "minimum", "maximum", number) &&
               (!json_is_number(low) || number > json_number_value(low)) &&
               (!json_is_number(high) || number < json_number_value(high));
    }
    if (json_is_string(value)) {
        size_t characters = 0;
        for (const char *c = json_string_value(value); *c; c++)
            characters += ((unsigned char)*c & 0xC0) != 0x80;
        check->unknown |=
            json_object_get(schema, "pattern") || json_object_get(schema, "format");
        return within(schema, "minLength", "maxLength", (double)characters);
    }
    return true;
}

static bool allows_members(struct schema_check *check, const json_t *schema, const json_t *value,
                           unsigned depth)
{
    size_t i;
    json_t *one, *object = (json_t *)(uintptr_t)value;
    const char *key;
    if (json_is_array(value)) {
        const json_t *prefix = json_object_get(schema, "prefixItems"),
                     *items = json_object_get(schema, "items");
        if (json_object_get(schema, "contains") || json_object_get(schema, "uniqueItems") ||
            json_object_get(schema, "unevaluatedItems") || json_is_array(items)) {
            check->unknown = true;
            return true;
        }
        json_array_foreach(value, i, one)
        {
            const json_t *at = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
            if (at && !schema_allows(check, at, one, depth + 1))
                return false;
        }
        return within(schema, "minItems", "maxItems", (double)json_array_size(value));
    }
    if (!json_is_object(value))
        return true;
    static const char *const others[] = {"patternProperties", "propertyNames",
                                         "dependentRequired", "dependentSchemas",
                                         "dependencies",      "unevaluatedProperties"};
    for (i = 0; i < sizeof others / sizeof *others; i++)
        if (json_object_get(schema, others[i])) {
            check->unknown = true;
            return true;
        }
    json_array_foreach(json_object_get(schema, "required"), i, one)
    {
        if (json_is_string(one) && !json_object_get(value, json_string_value(one)))
            return false;
    }
    json_object_foreach(object, key, one)
    {
        const json_t *at = json_object_get(json_object_get(schema, "properties"), key);
        if (!at)
            at = json_object_get(schema, "additionalProperties");
        if (at && !schema_allows(check, at, one, depth + 1))
            return false;
    }
    return within(schema, "minProperties", "maxProperties", (double)json_object_size(value));
}

bool schema_allows(struct schema_check *check, const json_t *schema, const json_t *value,
                   unsigned depth)
{
    const json_t *part;
    json_t *one;
    size_t i;
    if (check->budget == 0 || depth > 100) {
        check->unknown = true;
        return true;
    }
    check->budget--;
    if (!json_is_object(schema))
        return !json_is_false(schema);
    if ((part = json_object_get(schema, "type"))) {
        bool fits = json_is_string(part) && is_of_type(value, json_string_value(part));
        json_array_foreach(part, i, one)
        {
            fits |= json_is_string(one) && is_of_type(value, json_string_value(one));
        }
        if (!fits)
            return false;
    }
    if ((part = json_object_get(schema, "const")) && !json_equal(part, value))
        return false;
    if ((part = json_object_get(schema, "enum")) && !list_has(part, value))
        return false;
    check->unknown |= json_object_get(schema, "if") || json_object_get(schema, "$dynamicRef");
    if ((part = json_object_get(schema, "$ref"))) {
        part = json_is_string(part)
                   ? schema_resolve(check->root, check->names, json_string_value(part))
                   : NULL;
        if (!part)
            check->unknown = true;
        else if (!schema_allows(check, part, value, depth + 1))
            return false;
    }
    json_array_foreach(json_object_get(schema, "allOf"), i, one)
    {
        if (!schema_allows(check, one, value, depth + 1))
            return false;
    }
    if (json_is_array(part = choices_of(schema))) {
        bool any = false;
        json_array_foreach(part, i, one)
        {
            any = any || schema_allows(check, one, value, depth + 1);
        }
        if (!any)
            return false;
        check->unknown |= json_object_get(schema, "oneOf") != NULL;
    }
    if ((part = json_object_get(schema, "not"))) {
        struct schema_check inner = {check->root, check->names, check->budget, false};
        bool matches = schema_allows(&inner, part, value, depth + 1);
        check->budget = inner.budget;
        if (inner.unknown)
            check->unknown = true;
        else if (matches)
            return false;
    }
    return allows_scalar(check, schema, value) && allows_members(check, schema, value, depth);
}
