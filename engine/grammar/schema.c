/* JSON Schema to grammars. Supported: type, enum, const, string lengths, pattern and common
 * formats, numeric bounds, items and prefixItems with counts, properties, required,
 * additionalProperties and counts, $ref within the document, anyOf, oneOf (as anyOf), allOf of one.
 * Other keywords do not constrain.
 *
 * Two habits are stricter than the standard, because a model writes better so: properties come in
 * the schema's order, and an object that lists properties has no others unless additionalProperties
 * says so. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/vec.h"
#include "engine/grammar/ast.h"

#define SOURCE_BYTES_MAX ((size_t)16 << 20)
#define SCHEMA_DEPTH_MAX 120
#define COUNT_MAX        1000000000u

struct schema {
    struct ast *ast;
    const json_t *root;
    struct map refs; /* "#/..." to rule index + 1 */
    struct report *report;
    enum err err;
    unsigned depth;
};

/* `about`: the name in question, or NULL. */
static uint32_t failed(struct schema *s, enum err err, const char *what, const char *about)
{
    if (s->err == ERR_OK)
        s->err = about ? err_set(s->report, err, "JSON Schema: %s: \"%.200s\"", what, about)
                       : err_set(s->report, err, "JSON Schema: %s", what);
    return AST_NONE;
}

static uint32_t value_of(struct schema *s, const json_t *schema);

/* Nothing matches it. */
static uint32_t nothing(struct schema *s)
{
    return ast_list(s->ast, AST_ALT);
}

static uint32_t literal(struct schema *s, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!text)
        return failed(s, ERR_INVALID, "a value in enum or const cannot be written", NULL);
    uint32_t node = ast_text(s->ast, text);
    free(text);
    return node;
}

/* A count keyword; `otherwise` when absent. */
static uint32_t count_of(struct schema *s, const json_t *schema, const char *key,
                         uint32_t otherwise)
{
    const json_t *value = json_object_get(schema, key);
    if (!value)
        return otherwise;
    double number = json_is_number(value) ? json_number_value(value) : -1;
    if (!(number >= 0) || number != floor(number)) {
        (void)failed(s, ERR_INVALID, "this must be a number that counts", key);
        return otherwise;
    }
    return number > COUNT_MAX ? COUNT_MAX : (uint32_t)number;
}

/* ---- numbers ---- */

static uint32_t digit(struct schema *s, char first, char last)
{
    struct ast_range range = {(uint32_t)first, (uint32_t)last};
    return ast_class(s->ast, &range, 1, false);
}

static uint32_t digits(struct schema *s, size_t count)
{
    return ast_repeat(s->ast, digit(s, '0', '9'), (uint32_t)count, (uint32_t)count);
}

/* Numbers of exactly strlen(low) digits between low and high, which have as many. */
static void same_length(struct schema *s, uint32_t list, const char *prefix, size_t prefix_bytes,
                        const char *low, const char *high)
{
    size_t length = strlen(low), common = 0;
    while (common < length && low[common] == high[common])
        common++;
    uint32_t sequence = ast_list(s->ast, AST_SEQ);
    ast_add(s->ast, list, sequence);
    ast_add(s->ast, sequence, ast_bytes(s->ast, prefix, prefix_bytes));
    ast_add(s->ast, sequence, ast_bytes(s->ast, low, common));
    if (common == length)
        return;
    /* digit by digit: above low's, below high's, and what follows those two */
    uint32_t rest = ast_list(s->ast, AST_ALT);
    ast_add(s->ast, sequence, rest);
    size_t left = length - common - 1;
    if (low[common] + 1 <= high[common] - 1)
        ast_add(s->ast, rest,
                ast_seq2(s->ast, digit(s, (char)(low[common] + 1), (char)(high[common] - 1)),
                         digits(s, left)));
    for (int side = 0; side < 2; side++) {
        const char *bound = side ? high : low;
        for (size_t at = common + 1; at <= length; at++) {
            /* equal to the bound before `at`, then off it */
            uint32_t path = ast_bytes(s->ast, bound + common, at - common);
            if (at == length) {
                ast_add(s->ast, rest, path);
                break;
            }
            char from = side ? '0' : (char)(bound[at] + 1);
            char to = side ? (char)(bound[at] - 1) : '9';
            if (from <= to)
                ast_add(s->ast, rest,
                        ast_seq3(s->ast, path, digit(s, from, to), digits(s, length - at - 1)));
        }
    }
}

/* Whole numbers low to high (both at least 0), `high` INT64_MAX meaning no bound. */
static void magnitudes(struct schema *s, uint32_t list, const char *prefix, int64_t low,
                       int64_t high)
{
    char from[24], to[24];
    size_t prefix_bytes = strlen(prefix);
    (void)snprintf(from, sizeof from, "%lld", (long long)low);
    size_t length = strlen(from);
    for (; length <= 18; length++) {
        (void)snprintf(to, sizeof to, "%.*s", (int)length, "999999999999999999999");
        char limit[24];
        (void)snprintf(limit, sizeof limit, "%lld", (long long)high);
        bool last = high != INT64_MAX && strlen(limit) == length;
        same_length(s, list, prefix, prefix_bytes, from, last ? limit : to);
        if (last)
            return;
        if (high == INT64_MAX) { /* and all longer ones */
            ast_add(
                s->ast, list,
                ast_seq3(s->ast, ast_bytes(s->ast, prefix, prefix_bytes), digit(s, '1', '9'),
                         ast_repeat(s->ast, digit(s, '0', '9'), (uint32_t)length, AST_INFINITE)));
            return;
        }
        (void)snprintf(from, sizeof from, "1%.*s", (int)length, "000000000000000000000");
    }
}

/* low to high, INT64_MIN and INT64_MAX meaning no bound, each followed by `suffix` rules of its
 * own. */
static uint32_t integers(struct schema *s, int64_t low, int64_t high)
{
    uint32_t list = ast_list(s->ast, AST_ALT);
    if (low > high)
        return list;
    if (low < 0)
        magnitudes(s, list, "-", high < 0 ? -high : 1, low == INT64_MIN ? INT64_MAX : -low);
    if (high >= 0)
        magnitudes(s, list, "", low > 0 ? low : 0, high);
    return list;
}

/* The tightest of two keywords; false when neither is there. */
static bool bound_of(struct schema *s, const json_t *schema, const char *inclusive,
                     const char *exclusive, bool lower, double *bound, bool *excluded)
{
    const json_t *value = json_object_get(schema, inclusive),
                 *strict = json_object_get(schema, exclusive);
    bool any = false;
    *excluded = false;
    if ((value && !json_is_number(value)) ||
        (strict && !json_is_number(strict) && !json_is_boolean(strict))) {
        (void)failed(s, ERR_INVALID, "this must be a number", value ? inclusive : exclusive);
        return false;
    }
    if (value) {
        *bound = json_number_value(value);
        *excluded = json_is_true(strict); /* as draft 4 has it */
        any = true;
    }
    if (strict && json_is_number(strict)) {
        double number = json_number_value(strict);
        if (!any || (lower ? number >= *bound : number <= *bound)) {
            *bound = number;
            *excluded = true;
        }
        any = true;
    }
    return any;
}

#define WHOLE_MAX 1e17

static uint32_t number_of(struct schema *s, const json_t *schema, bool integer)
{
    double low = 0, high = 0;
    bool low_out, high_out;
    bool has_low = bound_of(s, schema, "minimum", "exclusiveMinimum", true, &low, &low_out);
    bool has_high = bound_of(s, schema, "maximum", "exclusiveMaximum", false, &high, &high_out);
    if (!has_low && !has_high)
        return integer ? ast_json_integer(s->ast) : ast_json_number(s->ast);
    if ((has_low && !(fabs(low) <= WHOLE_MAX)) || (has_high && !(fabs(high) <= WHOLE_MAX)))
        return failed(s, ERR_UNSUPPORTED, "bounds of numbers beyond 1e17 are not supported", NULL);
    int64_t from = INT64_MIN, to = INT64_MAX;
    if (has_low)
        from = (int64_t)ceil(low) + (low_out && low == ceil(low) ? 1 : 0);
    if (has_high)
        to = (int64_t)floor(high) - (high_out && high == floor(high) ? 1 : 0);
    uint32_t whole = integers(s, from, to);
    if (integer)
        return whole;
    /* n.f lies in [n, n + 1), -n.f in (-n - 1, -n]: only integer parts all of whose fractions are
     * within the bounds */
    uint32_t list = ast_list(s->ast, AST_ALT);
    uint32_t parts = ast_list(s->ast, AST_ALT);
    if (!has_high || high >= 1)
        magnitudes(s, parts, "", has_low && low > 0 ? (int64_t)floor(low) + 1 : 0,
                   has_high ? (int64_t)floor(high) - 1 : INT64_MAX);
    if (!has_low || low <= -1)
        magnitudes(s, parts, "-", has_high && high < 0 ? (int64_t)floor(-high) + 1 : 0,
                   has_low ? (int64_t)floor(-low) - 1 : INT64_MAX);
    ast_add(s->ast, list, whole);
    ast_add(s->ast, list,
            ast_seq3(s->ast, parts, ast_text(s->ast, "."),
                     ast_repeat(s->ast, digit(s, '0', '9'), 1, AST_INFINITE)));
    return list;
}

/* ---- strings ---- */

static uint32_t quoted(struct schema *s, uint32_t inside)
{
    return ast_seq3(s->ast, ast_text(s->ast, "\""), inside, ast_text(s->ast, "\""));
}

static const char *format_pattern(const char *format)
{
    static const char *const patterns[][2] = {
        {"date", "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"},
        {"time", "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]"
                 "):[0-5][0-9])"},
        {"date-time", "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5]["
                      "0-9]:([0-5][0-9]|60)"
                      "(\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"},
        {"email",
         "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*@"
         "[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*"},
        {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
        {"ipv4", "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}"
                 "|[1-9]?[0-9])"},
        {"hostname", "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}"
                     "[a-zA-Z0-9])?)*"},
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (strcmp(patterns[i][0], format) == 0)
            return patterns[i][1];
    return NULL;
}

/* Whether `|` stands outside of groups and classes. */
static bool has_alternatives(const char *pattern)
{
    int groups = 0;
    bool in_class = false;
    for (const char *c = pattern; *c; c++) {
        if (*c == '\\' && c[1])
            c++;
        else if (in_class)
            in_class = *c != ']';
        else if (*c == '[')
            in_class = true;
        else if (*c == '(')
            groups++;
        else if (*c == ')')
            groups--;
        else if (*c == '|' && groups == 0)
            return true;
    }
    return false;
}

static bool ends_with_anchor(const char *pattern)
{
    size_t length = strlen(pattern), slashes = 0;
    if (length == 0 || pattern[length - 1] != '$')
        return false;
    while (slashes + 1 < length && pattern[length - 2 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 0;
}

/* A schema's pattern may match anywhere in the string, but where it is anchored. With alternatives
 * that are anchored it is taken to match the whole. */
static uint32_t pattern_of(struct schema *s, const char *pattern)
{
    uint32_t node;
    bool start = pattern[0] == '^', end = ends_with_anchor(pattern);
    if (has_alternatives(pattern) && (strchr(pattern, '^') || strchr(pattern, '$')))
        start = end = true;
    enum err err = ast_from_regex(s->ast, pattern, strlen(pattern), true, &node, s->report);
    if (err != ERR_OK) {
        if (s->err == ERR_OK)
            s->err = err;
        return AST_NONE;
    }
    if (!start)
        node = ast_seq2(s->ast, ast_repeat(s->ast, ast_json_char(s->ast), 0, AST_INFINITE), node);
    if (!end)
        node = ast_seq2(s->ast, node, ast_repeat(s->ast, ast_json_char(s->ast), 0, AST_INFINITE));
    return node;
}

static uint32_t string_of(struct schema *s, const json_t *schema)
{
    const char *pattern = json_string_value(json_object_get(schema, "pattern"));
    const char *format = json_string_value(json_object_get(schema, "format"));
    uint32_t min = count_of(s, schema, "minLength", 0);
    uint32_t max = count_of(s, schema, "maxLength", AST_INFINITE);
    if (pattern)
        return quoted(s, pattern_of(s, pattern));
    if (format && (format = format_pattern(format)) != NULL) {
        uint32_t node;
        enum err err = ast_from_regex(s->ast, format, strlen(format), true, &node, s->report);
        if (err != ERR_OK)
            s->err = err;
        return quoted(s, node);
    }
    if (min == 0 && max == AST_INFINITE)
        return ast_json_string(s->ast);
    if (max < min)
        return nothing(s);
    return quoted(s, ast_repeat(s->ast, ast_json_char(s->ast), min, max));
}

/* ---- arrays ---- */

/* `item` between white space, as an element. */
static uint32_t element(struct schema *s, uint32_t item)
{
    return ast_seq2(s->ast, item, ast_json_space(s->ast));
}

static uint32_t comma(struct schema *s)
{
    return ast_seq2(s->ast, ast_text(s->ast, ","), ast_json_space(s->ast));
}

/* A schema as a rule of its own, so that it may be named several times. */
static uint32_t rule_of(struct schema *s, const char *name, const json_t *schema)
{
    uint32_t rule = ast_new_rule(s->ast, name);
    ast_define(s->ast, rule, value_of(s, schema));
    return rule;
}

static uint32_t array_of(struct schema *s, const json_t *schema)
{
    static const char *const fixed_keys[] = {"prefixItems",
                                             "items"}; /* arrays as items: old drafts */
    const json_t *items = json_object_get(schema, "items"), *prefix = NULL;
    uint32_t min = count_of(s, schema, "minItems", 0);
    uint32_t max = count_of(s, schema, "maxItems", AST_INFINITE);
    for (size_t i = 0; i < 2 && !prefix; i++)
        if (json_is_array(json_object_get(schema, fixed_keys[i])))
            prefix = json_object_get(schema, fixed_keys[i]);
    if (json_is_array(items))
        items = json_object_get(schema, "additionalItems");
    uint32_t fixed = (uint32_t)json_array_size(prefix);
    if (max < min)
        return nothing(s);
    bool more = items ? !json_is_false(items) : fixed == 0;
    if (!more && max > fixed)
        max = fixed;
    if (max < min)
        return nothing(s);
    uint32_t item = AST_NONE;
    if (more && max > fixed)
        item = items ? rule_of(s, "item", items) : AST_NONE;
    /* from the end: what may stand behind `at` elements. tail is a rule, or AST_NONE for nothing */
    uint32_t tail = AST_NONE;
    if (more && max > fixed) {
        uint32_t least = min > fixed ? min - fixed : 0;
        uint32_t most = max == AST_INFINITE ? AST_INFINITE : max - fixed;
        tail = ast_new_rule(s->ast, "items");
        uint32_t refs[2];
        for (int i = 0; i < 2; i++)
            refs[i] = element(s, item == AST_NONE ? ast_json_value(s->ast) : ast_ref(s->ast, item));
        uint32_t body;
        if (fixed > 0) {
            body = ast_repeat(s->ast, ast_seq2(s->ast, comma(s), refs[0]), least, most);
        } else {
            uint32_t rest =
                ast_repeat(s->ast, ast_seq2(s->ast, comma(s), refs[0]), least > 0 ? least - 1 : 0,
                           most == AST_INFINITE ? most : most - 1);
            body = ast_repeat(s->ast, ast_seq2(s->ast, refs[1], rest), least > 0 ? 1 : 0, 1);
        }
        ast_define(s->ast, tail, body);
    }
    for (uint32_t at = fixed < max ? fixed : max; at-- > 0 && s->err == ERR_OK;) {
        uint32_t rule = ast_new_rule(s->ast, "items");
        uint32_t here = ast_list(s->ast, AST_SEQ);
        if (at > 0)
            ast_add(s->ast, here, comma(s));
        ast_add(s->ast, here, element(s, value_of(s, json_array_get(prefix, at))));
        if (tail != AST_NONE)
            ast_add(s->ast, here, ast_ref(s->ast, tail));
        ast_define(s->ast, rule, at >= min ? ast_repeat(s->ast, here, 0, 1) : here);
        tail = rule;
    }
    return ast_seq3(s->ast, ast_seq2(s->ast, ast_text(s->ast, "["), ast_json_space(s->ast)),
                    tail == AST_NONE ? ast_empty(s->ast) : ast_ref(s->ast, tail),
                    ast_text(s->ast, "]"));
}

/* ---- objects ---- */

static uint32_t pair(struct schema *s, uint32_t key, uint32_t value)
{
    uint32_t node = ast_seq3(s->ast, key, ast_json_space(s->ast), ast_text(s->ast, ":"));
    ast_add(s->ast, node, ast_json_space(s->ast));
    ast_add(s->ast, node, element(s, value));
    return node;
}

static bool is_required(const json_t *required, const char *key)
{
    size_t i;
    json_t *name;
    json_array_foreach(required, i, name)
    {
        if (json_is_string(name) && strcmp(json_string_value(name), key) == 0)
            return true;
    }
    return false;
}

struct names {
    const char **items;
    size_t count, capacity;
};

#define KEY_BYTES_MAX 300

/* The insides of a key that is none of `names`, which agree in their first `at` bytes; by bytes in
 * ASCII, other bytes end the comparison. Escapes may not come before the key is different, or they
 * could spell a name. */
static uint32_t other_key(struct schema *s, const struct names *names, size_t at)
{
    struct ast_range taken[131] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    size_t taken_count = 3;
    bool terminal = false;
    uint32_t list = ast_list(s->ast, AST_ALT);
    for (size_t i = 0; i < names->count; i++)
        terminal |= names->items[i][at] == '\0';
    if (!terminal)
        ast_add(s->ast, list, ast_empty(s->ast));
    for (unsigned c = 1; c < 0x80 && s->err == ERR_OK && s->ast->err == ERR_OK; c++) {
        struct names with = {0};
        for (size_t i = 0; i < names->count; i++)
            if ((unsigned char)names->items[i][at] == c && !vec_push(NULL, &with, names->items[i]))
                (void)failed(s, ERR_MEMORY, "out of memory", NULL);
        if (with.count > 0) {
            taken[taken_count++] = (struct ast_range){c, c};
            if (at + 1 < KEY_BYTES_MAX && c != '"' && c != '\\' && c >= 0x20) {
                char byte = (char)c;
                ast_add(s->ast, list,
                        ast_seq2(s->ast, ast_bytes(s->ast, &byte, 1), other_key(s, &with, at + 1)));
            }
        }
        vec_free(NULL, &with);
    }
    for (size_t i = 0; i < names->count; i++) /* names beyond ASCII: all beyond is theirs */
        if ((unsigned char)names->items[i][at] >= 0x80) {
            taken[taken_count++] = (struct ast_range){0x80, 0x10FFFF};
            break;
        }
    ast_add(s->ast, list,
            ast_seq2(s->ast, ast_class(s->ast, taken, taken_count, true),
                     ast_repeat(s->ast, ast_json_char(s->ast), 0, AST_INFINITE)));
    return list;
}

/* One object under way: what follows after `at` properties were considered and `written` written.
 */
struct object {
    struct names names;
    uint32_t *pairs;   /* [count] rules */
    bool *required;    /* [count] */
    uint32_t min, max; /* properties */
    bool counts;       /* min or max matter: `written` is exact, else 0 or 1 */
    bool more;
    uint32_t other;  /* rule of a further property */
    uint32_t *tails; /* [(count + 1) * width] rule + 1, 0: not made */
    size_t width;
};

static uint32_t others_of(struct schema *s, const struct object *o, uint32_t written)
{
    if (o->counts && written > o->max)
        return nothing(s);
    uint32_t least = o->counts && o->min > written ? o->min - written : 0;
    uint32_t most = o->counts && o->max != AST_INFINITE ? o->max - written : AST_INFINITE;
    if (!o->more || most == 0)
        return least == 0 ? ast_empty(s->ast) : nothing(s);
    uint32_t further = ast_seq2(s->ast, comma(s), ast_ref(s->ast, o->other));
    if (written > 0)
        return ast_repeat(s->ast, further, least, most);
    uint32_t rest = ast_repeat(s->ast, further, least > 0 ? least - 1 : 0,
                               most == AST_INFINITE ? most : most - 1);
    return ast_repeat(s->ast, ast_seq2(s->ast, ast_ref(s->ast, o->other), rest), least > 0 ? 1 : 0,
                      1);
}

/* Rules tail[at][written] for all `at`, from the last to the first. */
static uint32_t make_tails(struct schema *s, struct object *o)
{
    size_t count = o->names.count;
    for (size_t at = count + 1; at-- > 0 && s->err == ERR_OK && s->ast->err == ERR_OK;) {
        for (uint32_t written = 0; written < o->width && written <= at; written++) {
            uint32_t rule = ast_new_rule(s->ast, "members");
            uint32_t list = ast_list(s->ast, AST_ALT);
            o->tails[at * o->width + written] = rule;
            if (at == count) {
                ast_add(s->ast, list, others_of(s, o, written));
            } else {
                uint32_t then = o->counts ? written + 1 : 1;
                if (!o->counts || then <= o->max) {
                    uint32_t here = ast_list(s->ast, AST_SEQ);
                    if (written > 0)
                        ast_add(s->ast, here, comma(s));
                    ast_add(s->ast, here, ast_ref(s->ast, o->pairs[at]));
                    ast_add(s->ast, here, ast_ref(s->ast, o->tails[(at + 1) * o->width + then]));
                    ast_add(s->ast, list, here);
                }
                if (!o->required[at])
                    ast_add(s->ast, list, ast_ref(s->ast, o->tails[(at + 1) * o->width + written]));
            }
            ast_define(s->ast, rule, list);
        }
    }
    return s->err == ERR_OK && s->ast->err == ERR_OK ? o->tails[0] : AST_NONE;
}

#define COUNTED_PROPERTIES_MAX 100

static uint32_t object_of(struct schema *s, const json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    struct object o = {.other = AST_NONE};
    uint32_t node = AST_NONE;
    size_t i;
    json_t *name;
    const char *key;
    json_t *value;

    if (properties && !json_is_object(properties))
        return failed(s, ERR_INVALID, "\"properties\" must be an object", NULL);
    o.min = count_of(s, schema, "minProperties", 0);
    o.max = count_of(s, schema, "maxProperties", AST_INFINITE);
    if (o.max < o.min)
        return nothing(s);
    o.counts = o.min > 0 || o.max != AST_INFINITE;
    o.more = additional ? !json_is_false(additional) : json_object_size(properties) == 0;
    size_t count = json_object_size(properties) + json_array_size(required);
    o.pairs = mem_calloc(NULL, count + 1, sizeof *o.pairs);
    o.required = mem_calloc(NULL, count + 1, sizeof *o.required);
    bool ok = o.pairs && o.required;
    json_object_foreach(properties, key, value)
    {
        if (!ok || s->err != ERR_OK)
            break;
        uint32_t rule = ast_new_rule(s->ast, "member");
        json_t *text = json_string(key);
        o.pairs[o.names.count] = rule;
        o.required[o.names.count] = is_required(required, key);
        ok = text && vec_push(NULL, &o.names, key);
        if (ok)
            ast_define(s->ast, rule, pair(s, literal(s, text), value_of(s, value)));
        json_decref(text);
    }
    /* required but not described: anything (or what additionalProperties says) */
    json_array_foreach(required, i, name)
    {
        key = json_string_value(name);
        if (!ok || s->err != ERR_OK || !key || json_object_get(properties, key))
            continue;
        bool twice = false;
        for (size_t k = 0; k < o.names.count; k++)
            twice |= strcmp(o.names.items[k], key) == 0;
        if (twice)
            continue;
        uint32_t rule = ast_new_rule(s->ast, "member");
        o.pairs[o.names.count] = rule;
        o.required[o.names.count] = true;
        ok = vec_push(NULL, &o.names, key);
        if (ok)
            ast_define(s->ast, rule,
                       pair(s, literal(s, name),
                            additional ? value_of(s, additional) : ast_json_value(s->ast)));
    }
    if (ok && o.counts && o.names.count > COUNTED_PROPERTIES_MAX)
        (void)failed(s, ERR_LIMIT, "counts of more than 100 properties are not supported", NULL);
    if (ok && s->err == ERR_OK && o.more) {
        o.other = ast_new_rule(s->ast, "member");
        ast_define(
            s->ast, o.other,
            pair(s,
                 o.names.count > 0 ? quoted(s, other_key(s, &o.names, 0)) : ast_json_string(s->ast),
                 additional && json_is_object(additional) ? value_of(s, additional)
                                                          : ast_json_value(s->ast)));
    }
    o.width = o.counts ? o.names.count + 1 : 2;
    o.tails = mem_calloc(NULL, (o.names.count + 1) * o.width + o.width, sizeof *o.tails);
    ok = ok && o.tails;
    if (!ok)
        (void)failed(s, ERR_MEMORY, "out of memory", NULL);
    if (s->err == ERR_OK) {
        uint32_t members = make_tails(s, &o);
        if (members != AST_NONE)
            node = ast_seq3(s->ast, ast_seq2(s->ast, ast_text(s->ast, "{"), ast_json_space(s->ast)),
                            ast_ref(s->ast, members), ast_text(s->ast, "}"));
    }
    vec_free(NULL, &o.names);
    mem_free(NULL, o.pairs);
    mem_free(NULL, o.required);
    mem_free(NULL, o.tails);
    return node;
}

/* ---- any schema ---- */

static uint32_t type_of(struct schema *s, const json_t *schema, const char *type)
{
    if (strcmp(type, "string") == 0)
        return string_of(s, schema);
    if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
        return number_of(s, schema, type[0] == 'i');
    if (strcmp(type, "array") == 0)
        return array_of(s, schema);
    if (strcmp(type, "object") == 0)
        return object_of(s, schema);
    if (strcmp(type, "null") == 0)
        return ast_text(s->ast, "null");
    if (strcmp(type, "boolean") == 0) {
        uint32_t list = ast_list(s->ast, AST_ALT);
        ast_add(s->ast, list, ast_text(s->ast, "true"));
        ast_add(s->ast, list, ast_text(s->ast, "false"));
        return list;
    }
    return failed(s, ERR_INVALID, "there is no such type", type);
}

/* Without a type, keywords that only one type knows tell it. */
static const char *guess_type(const json_t *schema)
{
    static const char *const keys[][2] = {
        {"properties", "object"},       {"additionalProperties", "object"},
        {"required", "object"},         {"minProperties", "object"},
        {"maxProperties", "object"},    {"items", "array"},
        {"prefixItems", "array"},       {"minItems", "array"},
        {"maxItems", "array"},          {"pattern", "string"},
        {"minLength", "string"},        {"maxLength", "string"},
        {"format", "string"},           {"minimum", "number"},
        {"maximum", "number"},          {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(schema, keys[i][0]))
            return keys[i][1];
    return NULL;
}

/* What a JSON pointer behind "#" leads to; NULL: nowhere. */
static const json_t *resolve(const json_t *root, const char *path)
{
    const json_t *at = root;
    char key[300];
    while (*path == '/' && at) {
        size_t bytes = 0;
        for (path++; *path && *path != '/' && bytes + 1 < sizeof key; path++) {
            char c = *path;
            unsigned hex;
            if (c == '~' && (path[1] == '0' || path[1] == '1'))
                c = *++path == '0' ? '~' : '/';
            else if (c == '%' && sscanf(path + 1, "%2x", &hex) == 1 && path[1] && path[2]) {
                c = (char)hex;
                path += 2;
            }
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

static uint32_t ref_of(struct schema *s, const char *ref)
{
    uintptr_t known = (uintptr_t)map_find(&s->refs, ref, strlen(ref));
    if (known)
        return ast_ref(s->ast, (uint32_t)known - 1);
    const json_t *target = ref[0] == '#' ? resolve(s->root, ref + 1) : NULL;
    if (!target)
        return failed(s, ref[0] == '#' ? ERR_INVALID : ERR_UNSUPPORTED,
                      "this $ref leads nowhere in the document", ref);
    uint32_t rule = ast_new_rule(s->ast, "ref");
    if (rule == AST_NONE)
        return AST_NONE;
    if (!map_set(&s->refs, ref, strlen(ref), (void *)(uintptr_t)((size_t)rule + 1)))
        return failed(s, ERR_MEMORY, "out of memory", NULL);
    ast_define(s->ast, rule, value_of(s, target));
    return ast_ref(s->ast, rule);
}

static uint32_t any_of(struct schema *s, const json_t *list)
{
    uint32_t node = ast_list(s->ast, AST_ALT);
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        ast_add(s->ast, node, value_of(s, one));
    }
    return node;
}

static uint32_t object_schema(struct schema *s, const json_t *schema)
{
    const json_t *value = json_object_get(schema, "$ref");
    size_t i;
    json_t *one;
    if (json_is_string(value))
        return ref_of(s, json_string_value(value));
    if ((value = json_object_get(schema, "const")))
        return literal(s, value);
    if ((value = json_object_get(schema, "enum"))) {
        uint32_t list = ast_list(s->ast, AST_ALT);
        json_array_foreach(value, i, one)
        {
            ast_add(s->ast, list, literal(s, one));
        }
        return list;
    }
    if (json_is_array(value = json_object_get(schema, "anyOf")) ||
        json_is_array(value = json_object_get(schema, "oneOf")))
        return any_of(s, value);
    if (json_is_array(value = json_object_get(schema, "allOf"))) {
        if (json_array_size(value) == 1)
            return value_of(s, json_array_get(value, 0));
        return failed(s, ERR_UNSUPPORTED, "allOf with multiple schemas is not fully supported",
                      NULL);
    }
    value = json_object_get(schema, "type");
    if (json_is_array(value)) {
        uint32_t list = ast_list(s->ast, AST_ALT);
        json_array_foreach(value, i, one)
        {
            if (!json_is_string(one))
                return failed(s, ERR_INVALID, "\"type\" must be a string or a list of strings",
                              NULL);
            ast_add(s->ast, list, type_of(s, schema, json_string_value(one)));
        }
        return list;
    }
    const char *type = json_is_string(value) ? json_string_value(value) : guess_type(schema);
    return type ? type_of(s, schema, type) : ast_json_value(s->ast);
}

/* Depth is bounded here; every recursion over schemas passes by. */
static uint32_t value_of(struct schema *s, const json_t *schema)
{
    uint32_t node;
    if (s->err != ERR_OK || s->ast->err != ERR_OK)
        return AST_NONE;
    if (++s->depth > SCHEMA_DEPTH_MAX)
        return failed(s, ERR_LIMIT, "schemas are nested too deep", NULL);
    if (json_is_object(schema))
        node = object_schema(s, schema);
    else if (json_is_true(schema))
        node = ast_json_value(s->ast);
    else if (json_is_false(schema))
        node = nothing(s);
    else
        node = failed(s, ERR_INVALID, "a schema must be an object or a boolean", NULL);
    s->depth--;
    return node;
}

enum err gram_from_json_schema(const char *text, size_t bytes, struct gram **gram,
                               struct report *report)
{
    json_error_t where;
    struct ast ast;
    if (bytes > SOURCE_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "A JSON Schema of %zu bytes is too long", bytes);
    json_t *root = json_loadb(text, bytes, JSON_DECODE_ANY, &where);
    if (!root)
        return err_set(report, ERR_INVALID, "JSON Schema, line %d, column %d: %s", where.line,
                       where.column, where.text);
    ast_init(&ast, report);
    struct schema s = {.ast = &ast, .root = root, .report = report};
    map_init(&s.refs, NULL);
    uint32_t rule = ast_rule(&ast, "root", 4);
    ast_define(&ast, rule, value_of(&s, root));
    enum err err = s.err != ERR_OK ? s.err : ast.err;
    if (err == ERR_OK)
        err = gram_compile(&ast, gram, report);
    map_deinit(&s.refs);
    ast_deinit(&ast);
    json_decref(root);
    return err;
}

enum err gram_json(struct gram **gram, struct report *report)
{
    struct ast ast;
    ast_init(&ast, report);
    uint32_t rule = ast_rule(&ast, "root", 4);
    ast_define(&ast, rule, ast_json_value(&ast));
    enum err err = ast.err;
    if (err == ERR_OK)
        err = gram_compile(&ast, gram, report);
    ast_deinit(&ast);
    return err;
}
