/* JSON Schema to grammars. Supported: type, enum, const, string lengths, pattern and common
 * formats, numeric bounds, multipleOf (whole numbers to 500, powers of ten below 1), items and
 * prefixItems with counts, properties, required, additionalProperties and counts,
 * patternProperties, propertyNames, $ref within the document (also to $anchor and $id, and with
 * keywords beside it), anyOf, oneOf (as anyOf), allOf (merged: see schema_merge.h), not of a type
 * or where enum names the values. Other keywords do not constrain (contains, uniqueItems,
 * if, dependent..., unevaluated...), nor do lengths beside a pattern or format.
 *
 * Some habits are stricter than the standard, because a model writes better so: properties come in
 * the schema's order; an object that lists properties has no others unless additionalProperties
 * says so, an array with prefixItems no further items unless items says so; properties and items
 * without a type mean an object and an array; formats are checked; numbers that must be whole are
 * written without a fraction. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/vec.h"
#include "engine/grammar/ast.h"
#include "engine/grammar/schema_merge.h"

#define SOURCE_BYTES_MAX ((size_t)16 << 20)
#define SCHEMA_DEPTH_MAX 120
#define COUNT_MAX        1000000000u
#define MERGE_WORK_MAX   ((size_t)200000)
#define MERGED_BYTES_MAX ((size_t)16 << 20)
#define CHECKS_MAX       1000000u

struct schema {
    struct ast *ast;
    const json_t *root;
    struct map refs;     /* $ref, or the text of a schema with allOf, to rule index + 1 */
    struct map names;    /* $id and $anchor to json_t */
    size_t merge_work;   /* so far */
    size_t merged_bytes; /* of texts in refs */
    unsigned checks;     /* left for comparisons of values with schemas */
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

#define WHOLE_MAX    1e17
#define STEP_MAX     500
#define MULTIPLES_MAX 1000

/* Digits whose number is a multiple of `step`: a rule per remainder. */
static uint32_t multiples(struct schema *s, uint32_t step, bool zero, bool negative)
{
    uint32_t rules[STEP_MAX];
    for (uint32_t rest = 0; rest < step; rest++)
        rules[rest] = ast_new_rule(s->ast, "multiple");
    if (s->ast->err != ERR_OK)
        return AST_NONE;
    uint32_t first = ast_list(s->ast, AST_ALT);
    for (uint32_t rest = 0; rest < step; rest++) {
        uint32_t list = ast_list(s->ast, AST_ALT);
        if (rest == 0)
            ast_add(s->ast, list, ast_empty(s->ast));
        for (uint32_t d = 0; d < 10; d++)
            ast_add(s->ast, list,
                    ast_seq2(s->ast, digit(s, (char)('0' + d), (char)('0' + d)),
                             ast_ref(s->ast, rules[(rest * 10 + d) % step])));
        ast_define(s->ast, rules[rest], list);
    }
    for (uint32_t d = 1; d < 10; d++)
        ast_add(s->ast, first,
                ast_seq2(s->ast, digit(s, (char)('0' + d), (char)('0' + d)),
                         ast_ref(s->ast, rules[d % step])));
    uint32_t node = negative ? ast_seq2(s->ast,
                                        ast_repeat(s->ast, ast_text(s->ast, "-"), 0, 1), first)
                             : first;
    if (!zero)
        return node;
    uint32_t list = ast_list(s->ast, AST_ALT);
    ast_add(s->ast, list, ast_text(s->ast, "0"));
    ast_add(s->ast, list, node);
    return list;
}

/* Whole multiples of `step` between the bounds; AST_NONE without an error: neither few enough to
 * write them all nor bounded by zero or not at all. */
static uint32_t stepped(struct schema *s, uint32_t step, int64_t low, int64_t high)
{
    if (high == INT64_MAX && (low == INT64_MIN || low == 0 || low == 1))
        return multiples(s, step, low != 1, low == INT64_MIN);
    if (low == INT64_MIN || high == INT64_MAX || (high - low) / step > MULTIPLES_MAX)
        return AST_NONE;
    uint32_t list = ast_list(s->ast, AST_ALT);
    int64_t at = low - low % (int64_t)step;
    for (at += at < low ? (int64_t)step : 0; at <= high; at += step) {
        char text[24];
        (void)snprintf(text, sizeof text, "%lld", (long long)at);
        ast_add(s->ast, list, ast_text(s->ast, text));
    }
    return list;
}

/* How many digits may follow the point when numbers are multiples of `step`: AST_INFINITE when that
 * does not tell. */
static uint32_t decimals_of(double step)
{
    double power = 1;
    for (uint32_t k = 0; k <= 12; k++, power *= 10)
        if (fabs(step * power - 1) < 1e-9)
            return k;
    return AST_INFINITE;
}

#define FRACTION_DIGITS 12

/* Magnitudes with a fraction: at least one digit behind the point, at most `decimals`. */
struct span {
    double low, high;
    bool low_in, high_in, bounded; /* bounded: there is a high */
    uint32_t decimals;
};

/* What may follow `at` digits behind the point that are so far as those of `low` and of `high`; NULL:
 * they are already off it, on the right side. */
static uint32_t fraction(struct schema *s, const struct span *span, const char *low,
                         const char *high, uint32_t at)
{
    uint32_t list = ast_list(s->ast, AST_ALT);
    uint32_t left = span->decimals == AST_INFINITE ? AST_INFINITE : span->decimals - at;
    bool low_zeros = !low || low[strspn(low, "0")] == '\0';
    bool high_zeros = !high || high[strspn(high, "0")] == '\0';
    if (at > 0 && (!low || (low_zeros && span->low_in)) &&
        (!high || !high_zeros || span->high_in))
        ast_add(s->ast, list, ast_empty(s->ast));
    if (left == 0)
        return list;
    if (at == FRACTION_DIGITS || (!low && !high)) {
        uint32_t zeros = ast_repeat(s->ast, digit(s, '0', '0'), at > 0 ? 0 : 1, left);
        uint32_t any = ast_repeat(s->ast, digit(s, '0', '9'), at > 0 ? 0 : 1, left);
        if (!low && !high)
            ast_add(s->ast, list, any);
        else if (high && span->high_in && (!low || span->low_in))
            ast_add(s->ast, list, zeros);
        else if (!high && span->low_in)
            ast_add(s->ast, list, any);
        else if (!high && left == AST_INFINITE)
            ast_add(s->ast, list, ast_seq3(s->ast, zeros, digit(s, '1', '9'), any));
        return list;
    }
    char from = low ? low[0] : '0', to = high ? high[0] : '9';
    for (char c = from; c <= to; c++)
        ast_add(s->ast, list,
                ast_seq2(s->ast, digit(s, c, c),
                         fraction(s, span, low && c == low[0] ? low + 1 : NULL,
                                  high && c == high[0] ? high + 1 : NULL, at + 1)));
    return list;
}

/* The digits behind the point of a number that is not negative. */
static void fraction_digits(double number, char out[FRACTION_DIGITS + 4])
{
    (void)snprintf(out, FRACTION_DIGITS + 4, "%.*f", FRACTION_DIGITS, number - floor(number));
    if (out[0] == '1') /* rounded up */
        memset(out + 2, '9', FRACTION_DIGITS);
    memmove(out, out + 2, FRACTION_DIGITS + 1);
}

static void with_fraction(struct schema *s, uint32_t list, uint32_t whole, uint32_t digits_node)
{
    ast_add(s->ast, list, ast_seq3(s->ast, whole, ast_text(s->ast, "."), digits_node));
}

/* Whole parts by whether all of their fractions lie within the bounds: those between, and the two at
 * the bounds. */
static void fractional(struct schema *s, uint32_t list, const char *sign, const struct span *span)
{
    char low[FRACTION_DIGITS + 4], high[FRACTION_DIGITS + 4] = "";
    int64_t first = (int64_t)floor(span->low), last = INT64_MAX;
    fraction_digits(span->low, low);
    if (span->bounded) {
        last = (int64_t)floor(span->high);
        fraction_digits(span->high, high);
    }
    for (int side = 0; side < 2; side++) {
        int64_t at = side ? last : first;
        uint32_t whole = ast_list(s->ast, AST_ALT);
        if (at == INT64_MAX || (side && at == first))
            continue;
        magnitudes(s, whole, sign, at, at);
        with_fraction(s, list, whole,
                      fraction(s, span, at == first ? low : NULL, at == last ? high : NULL, 0));
    }
    if (last > first && last - first > 1) {
        uint32_t between = ast_list(s->ast, AST_ALT);
        magnitudes(s, between, sign, first + 1, last == INT64_MAX ? INT64_MAX : last - 1);
        with_fraction(s, list, between,
                      ast_repeat(s->ast, digit(s, '0', '9'), 1, span->decimals));
    }
}

static uint32_t number_of(struct schema *s, const json_t *schema, bool integer)
{
    double low = 0, high = 0, step = 0;
    bool low_out, high_out;
    const json_t *multiple = json_object_get(schema, "multipleOf");
    if (multiple) {
        step = json_is_number(multiple) ? json_number_value(multiple) : 0;
        if (!(step > 0))
            return failed(s, ERR_INVALID, "this must be a number above 0", "multipleOf");
        if (step == floor(step))
            integer = true;
    }
    uint32_t decimals = multiple ? decimals_of(step) : AST_INFINITE;
    bool has_low = bound_of(s, schema, "minimum", "exclusiveMinimum", true, &low, &low_out);
    bool has_high = bound_of(s, schema, "maximum", "exclusiveMaximum", false, &high, &high_out);
    if (!has_low && !has_high && !integer && decimals != AST_INFINITE)
        return ast_seq2(
            s->ast, ast_json_integer(s->ast),
            ast_repeat(s->ast,
                       ast_seq2(s->ast, ast_text(s->ast, "."),
                                ast_repeat(s->ast, digit(s, '0', '9'), 1, decimals)),
                       0, 1));
    if (!has_low && !has_high && !(integer && multiple))
        return integer ? ast_json_integer(s->ast) : ast_json_number(s->ast);
    if ((has_low && !(fabs(low) <= WHOLE_MAX)) || (has_high && !(fabs(high) <= WHOLE_MAX)))
        return failed(s, ERR_UNSUPPORTED, "bounds of numbers beyond 1e17 are not supported", NULL);
    int64_t from = INT64_MIN, to = INT64_MAX;
    if (has_low)
        from = (int64_t)ceil(low) + (low_out && low == ceil(low) ? 1 : 0);
    if (has_high)
        to = (int64_t)floor(high) - (high_out && high == floor(high) ? 1 : 0);
    if (integer && step > 1 && step <= STEP_MAX && from <= to) {
        uint32_t node = stepped(s, (uint32_t)step, from, to);
        if (node != AST_NONE || s->ast->err != ERR_OK)
            return node;
    }
    uint32_t whole = !has_low && !has_high ? ast_json_integer(s->ast) : integers(s, from, to);
    if (integer)
        return whole;
    uint32_t list = ast_list(s->ast, AST_ALT);
    ast_add(s->ast, list, whole);
    for (int negative = 0; negative < 2; negative++) {
        struct span span = {.low_in = true, .decimals = decimals};
        bool near = negative ? has_high : has_low, far = negative ? has_low : has_high;
        double nearest = negative ? -high : low, farthest = negative ? -low : high;
        if (near && nearest >= 0) {
            span.low = nearest;
            span.low_in = !(negative ? high_out : low_out);
        }
        span.bounded = far;
        span.high = farthest;
        span.high_in = !(negative ? low_out : high_out);
        if (!far || farthest >= span.low)
            fractional(s, list, negative ? "-" : "", &span);
    }
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

/* A property that "properties" does not list. Keys that a pattern describes are not told apart from
 * others, nor several patterns from each other: any of their values will do. */
static uint32_t further_member(struct schema *s, const struct object *o, json_t *patterns,
                               const json_t *key_schema, const json_t *additional)
{
    uint32_t list = ast_list(s->ast, AST_ALT);
    const char *pattern;
    json_t *value;
    json_object_foreach(patterns, pattern, value)
    {
        uint32_t key = quoted(s, pattern_of(s, pattern));
        ast_add(s->ast, list, pair(s, key, value_of(s, value)));
    }
    if (!o->more)
        return list;
    uint32_t key;
    if (key_schema && o->names.count == 0) {
        json_t *string = json_pack("{s:s}", "type", "string");
        json_t *both = string ? schema_both(string, key_schema) : NULL;
        key = both ? value_of(s, both) : failed(s, ERR_MEMORY, "out of memory", NULL);
        json_decref(both);
        json_decref(string);
    } else {
        key = o->names.count > 0 ? quoted(s, other_key(s, &o->names, 0)) : ast_json_string(s->ast);
    }
    ast_add(s->ast, list,
            pair(s, key,
                 json_is_object(additional) ? value_of(s, additional) : ast_json_value(s->ast)));
    return list;
}

#define COUNTED_PROPERTIES_MAX 100

static uint32_t object_of(struct schema *s, const json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    const json_t *key_schema = json_object_get(schema, "propertyNames");
    json_t *patterns = json_object_get(schema, "patternProperties");
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
    o.more = additional ? !json_is_false(additional)
                        : json_object_size(properties) == 0 && json_object_size(patterns) == 0;
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
    if (ok && s->err == ERR_OK && (o.more || json_object_size(patterns) > 0)) {
        o.other = ast_new_rule(s->ast, "member");
        ast_define(s->ast, o.other, further_member(s, &o, patterns, key_schema, additional));
        o.more = true;
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

/* Without a type any value will do, within what keywords say about values of their type. Only
 * properties and items tell that an object or an array is wanted. */
static uint32_t untyped(struct schema *s, const json_t *schema)
{
    static const char *const types[] = {"string", "number", "array", "object", "boolean", "null"};
    static const char *const keys[][8] = {
        {"pattern", "minLength", "maxLength", "format"},
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
        {"minItems", "maxItems"},
        {"required", "minProperties", "maxProperties", "patternProperties", "propertyNames"},
    };
    bool object = json_object_get(schema, "properties") ||
                  json_object_get(schema, "additionalProperties");
    bool array = json_object_get(schema, "items") || json_object_get(schema, "prefixItems");
    uint32_t list = ast_list(s->ast, AST_ALT);
    if (object || array) {
        if (object)
            ast_add(s->ast, list, type_of(s, schema, "object"));
        if (array)
            ast_add(s->ast, list, type_of(s, schema, "array"));
        return list;
    }
    bool any = false;
    for (size_t type = 0; type < 4; type++)
        for (size_t i = 0; i < 8 && keys[type][i]; i++)
            any |= json_object_get(schema, keys[type][i]) != NULL;
    if (!any)
        return ast_json_value(s->ast);
    for (size_t type = 0; type < 6; type++)
        ast_add(s->ast, list, type_of(s, schema, types[type]));
    return list;
}

static uint32_t ref_of(struct schema *s, const char *ref)
{
    uintptr_t known = (uintptr_t)map_find(&s->refs, ref, strlen(ref));
    if (known)
        return ast_ref(s->ast, (uint32_t)known - 1);
    const json_t *target = schema_resolve(s->root, &s->names, ref);
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

static json_t *shared(const json_t *value)
{
    return json_incref((json_t *)(uintptr_t)value);
}

/* Of a merge, in properties copied; lists are compared each with each. */
static size_t merge_cost(const json_t *a, const json_t *b)
{
    static const char *const lists[] = {"required", "enum"};
    size_t cost = json_object_size(json_object_get(a, "properties")) +
                  json_object_size(json_object_get(b, "properties"));
    for (size_t i = 0; i < 2; i++)
        cost += json_array_size(json_object_get(a, lists[i])) *
                json_array_size(json_object_get(b, lists[i])) / 16;
    return cost;
}

/* The schema without allOf and $ref, merged with what they say. A new reference; NULL: failed. */
static json_t *flat(struct schema *s, const json_t *schema, unsigned depth)
{
    const json_t *parts = json_object_get(schema, "allOf");
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (!ref && !parts)
        return shared(schema);
    s->merge_work++;
    if (depth > SCHEMA_DEPTH_MAX || s->merge_work > MERGE_WORK_MAX) {
        (void)failed(s, ERR_LIMIT, "allOf and $ref are too many to be merged, or never end", NULL);
        return NULL;
    }
    json_t *merged = json_copy((json_t *)(uintptr_t)schema);
    (void)json_object_del(merged, "allOf");
    (void)json_object_del(merged, "$ref");
    size_t count = json_array_size(parts);
    for (size_t i = ref ? 0 : 1; i <= count && merged; i++) {
        const json_t *part =
            i == 0 ? schema_resolve(s->root, &s->names, ref) : json_array_get(parts, i - 1);
        const char *unsupported = NULL;
        json_t *one = NULL, *both = NULL;
        if (!part)
            (void)failed(s, ref[0] == '#' ? ERR_INVALID : ERR_UNSUPPORTED,
                         "this $ref leads nowhere in the document", ref);
        else if (!json_is_object(part) && !json_is_boolean(part))
            (void)failed(s, ERR_INVALID, "a schema must be an object or a boolean", NULL);
        else
            one = flat(s, part, depth + 1);
        if (one) {
            s->merge_work += merge_cost(merged, one);
            if (s->merge_work <= MERGE_WORK_MAX)
                both = schema_merge(merged, one, &unsupported);
            else
                (void)failed(s, ERR_LIMIT, "allOf merges too much", NULL);
            if (!both)
                (void)failed(s, unsupported ? ERR_UNSUPPORTED : ERR_MEMORY,
                             unsupported ? "schemas with different values of this cannot be merged"
                                         : "out of memory",
                             unsupported);
        }
        json_decref(one);
        json_decref(merged);
        merged = both;
    }
    return merged;
}

/* A schema with allOf, or $ref and others, becomes a rule that is remembered by its text, so that
 * recursive ones end. */
static uint32_t merged_of(struct schema *s, const json_t *schema)
{
    char *text = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t bytes = text ? strlen(text) : 0;
    uintptr_t known = text ? (uintptr_t)map_find(&s->refs, text, bytes) : 0;
    uint32_t rule = AST_NONE;
    s->merged_bytes += bytes;
    if (!text)
        return failed(s, ERR_MEMORY, "out of memory", NULL);
    if (known) {
        rule = (uint32_t)known - 1;
    } else if (s->merged_bytes > MERGED_BYTES_MAX) {
        (void)failed(s, ERR_LIMIT, "allOf makes schemas that are too long", NULL);
    } else if ((rule = ast_new_rule(s->ast, "merged")) != AST_NONE) {
        if (!map_set(&s->refs, text, bytes, (void *)(uintptr_t)((size_t)rule + 1))) {
            rule = failed(s, ERR_MEMORY, "out of memory", NULL);
        } else {
            json_t *merged = flat(s, schema, 0);
            if (merged)
                ast_define(s->ast, rule, value_of(s, merged));
            json_decref(merged);
        }
    }
    free(text);
    return rule == AST_NONE || s->err != ERR_OK ? AST_NONE : ast_ref(s->ast, rule);
}

/* What both allow. */
static uint32_t both_of(struct schema *s, const json_t *a, const json_t *b)
{
    json_t *both = schema_both(a, b);
    uint32_t node = both ? value_of(s, both) : failed(s, ERR_MEMORY, "out of memory", NULL);
    json_decref(both);
    return node;
}

/* Each choice with the keywords beside it. */
static uint32_t any_of(struct schema *s, const json_t *schema, const char *key)
{
    uint32_t node = ast_list(s->ast, AST_ALT);
    bool alone = !schema_constrains(schema, key);
    json_t *rest = alone ? json_true() : json_copy((json_t *)(uintptr_t)schema);
    size_t i;
    json_t *one;
    if (!alone)
        (void)json_object_del(rest, key);
    json_array_foreach(json_object_get(schema, key), i, one)
    {
        if (s->err == ERR_OK)
            ast_add(s->ast, node, alone ? value_of(s, one) : both_of(s, rest, one));
    }
    json_decref(rest);
    return node;
}

/* One of the values that the other keywords allow. */
static uint32_t values_of(struct schema *s, const json_t *schema)
{
    const json_t *values = json_object_get(schema, "enum"), *only = json_object_get(schema, "const");
    uint32_t list = ast_list(s->ast, AST_ALT);
    struct schema_check check = {s->root, &s->names, s->checks, false};
    size_t count = only ? 1 : json_array_size(values);
    json_t *rest = json_copy((json_t *)(uintptr_t)schema);
    (void)json_object_del(rest, only ? "const" : "enum");
    for (size_t i = 0; i < count && s->err == ERR_OK && s->ast->err == ERR_OK; i++) {
        const json_t *value = only ? only : json_array_get(values, i);
        if (schema_allows(&check, rest, value, 0))
            ast_add(s->ast, list, literal(s, value));
    }
    json_decref(rest);
    s->checks = check.budget;
    return list;
}

/* `not` of nothing but types: the schema with the types that are left. False when it is another. */
static bool without_types(struct schema *s, const json_t *schema, uint32_t *node)
{
    static const char *const types[] = {"string", "number", "array", "object", "boolean", "null"};
    const json_t *what = json_object_get(schema, "not"), *named = json_object_get(what, "type"), *one;
    if (json_is_true(what) || (json_is_object(what) && !schema_constrains(what, ""))) {
        *node = nothing(s);
        return true;
    }
    if (!named || schema_constrains(what, "type"))
        return false;
    json_t *left = json_array();
    for (size_t i = 0; i < 6; i++) {
        bool there = false;
        for (size_t k = 0; k < (json_is_array(named) ? json_array_size(named) : 1); k++) {
            one = json_is_array(named) ? json_array_get(named, k) : named;
            const char *name = json_is_string(one) ? json_string_value(one) : "";
            if (strcmp(name, "integer") == 0) { /* fractions are left: not said by types */
                json_decref(left);
                return false;
            }
            there |= strcmp(name, types[i]) == 0;
        }
        if (!there)
            (void)json_array_append_new(left, json_string(types[i]));
    }
    json_t *rest = json_copy((json_t *)(uintptr_t)schema);
    json_t *limit = json_pack("{s:o}", "type", left);
    (void)json_object_del(rest, "not");
    *node = both_of(s, rest, limit);
    json_decref(rest);
    json_decref(limit);
    return true;
}

static uint32_t object_schema(struct schema *s, const json_t *schema)
{
    const json_t *value = json_object_get(schema, "$ref");
    uint32_t node;
    size_t i;
    json_t *one;
    if (json_is_string(value) && !schema_constrains(schema, "$ref"))
        return ref_of(s, json_string_value(value));
    if (json_is_string(value) || json_is_array(json_object_get(schema, "allOf")))
        return merged_of(s, schema);
    if (json_object_get(schema, "const") || json_object_get(schema, "enum"))
        return values_of(s, schema);
    if (json_is_array(json_object_get(schema, "anyOf")))
        return any_of(s, schema, "anyOf");
    if (json_is_array(json_object_get(schema, "oneOf")))
        return any_of(s, schema, "oneOf");
    if (json_object_get(schema, "not") && without_types(s, schema, &node))
        return node;
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
    return json_is_string(value) ? type_of(s, schema, json_string_value(value))
                                 : untyped(s, schema);
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
    struct schema s = {.ast = &ast, .root = root, .report = report, .checks = CHECKS_MAX};
    map_init(&s.refs, NULL);
    map_init(&s.names, NULL);
    uint32_t rule = ast_rule(&ast, "root", 4);
    if (schema_index(root, &s.names))
        ast_define(&ast, rule, value_of(&s, root));
    else
        (void)failed(&s, ERR_MEMORY, "out of memory", NULL);
    enum err err = s.err != ERR_OK ? s.err : ast.err;
    if (err == ERR_OK)
        err = gram_compile(&ast, gram, report);
    map_deinit(&s.refs);
    map_deinit(&s.names);
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
