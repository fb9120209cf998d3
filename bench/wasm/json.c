/* Parses a JSON text into a tree of nodes and sums what it finds. */
#include "bench/wasm/guest.h"

static const char js_text[] =
    "{\"name\":\"pie\",\"version\":[0,4,1],\"models\":[{\"id\":\"small\",\"params\":260000,"
    "\"tags\":[\"tiny\",\"test\",\"byte\"],\"ratio\":0.125,\"open\":true},{\"id\":\"large \\\"x\\\"\","
    "\"params\":7000000000,\"tags\":[],\"ratio\":-1.5e3,\"open\":false}],\"nested\":{\"a\":{\"b\":"
    "{\"c\":{\"d\":[1,2,3,[4,5,[6,7,[8,9,[10]]]]]}}}},\"empty\":{},\"nothing\":null,"
    "\"text\":\"The quick brown fox jumps over the lazy dog, \\u0041 and again \\n and again.\"}";

enum js_kind { JS_NULL, JS_FALSE, JS_TRUE, JS_NUMBER, JS_STRING, JS_ARRAY, JS_OBJECT };
struct js_node {
    enum js_kind kind;
    double number;
    const char *text;
    uint32_t bytes;
    struct js_node *child, *next;
};
static struct js_node js_pool[256];
static uint32_t js_used;
static const char *js_at;

static struct js_node *js_make(enum js_kind kind)
{
    struct js_node *node = &js_pool[js_used++];
    node->kind = kind;
    node->number = 0;
    node->child = node->next = NULL;
    return node;
}

static void js_space(void)
{
    while (*js_at == ' ' || *js_at == '\n' || *js_at == '\t')
        js_at++;
}

NOINLINE static struct js_node *js_string(void)
{
    struct js_node *node = js_make(JS_STRING);
    node->text = ++js_at;
    while (*js_at != '"') {
        if (*js_at == '\\')
            js_at++;
        js_at++;
    }
    node->bytes = (uint32_t)(js_at - node->text);
    js_at++;
    return node;
}

NOINLINE static struct js_node *js_number(void)
{
    struct js_node *node = js_make(JS_NUMBER);
    bool negative = *js_at == '-';
    if (negative)
        js_at++;
    double value = 0;
    while (*js_at >= '0' && *js_at <= '9')
        value = value * 10 + (*js_at++ - '0');
    if (*js_at == '.') {
        double scale = 0.1;
        for (js_at++; *js_at >= '0' && *js_at <= '9'; scale *= 0.1)
            value += (*js_at++ - '0') * scale;
    }
    if (*js_at == 'e') {
        int exponent = 0;
        for (js_at++; *js_at >= '0' && *js_at <= '9';)
            exponent = exponent * 10 + (*js_at++ - '0');
        while (exponent-- > 0)
            value *= 10;
    }
    node->number = negative ? -value : value;
    return node;
}

NOINLINE static struct js_node *js_value(void)
{
    js_space();
    switch (*js_at) {
    case '"':
        return js_string();
    case '{':
    case '[': {
        bool object = *js_at++ == '{';
        struct js_node *node = js_make(object ? JS_OBJECT : JS_ARRAY), **link = &node->child;
        js_space();
        while (*js_at != '}' && *js_at != ']') {
            if (object) {
                *link = js_string();
                link = &(*link)->next;
                js_space();
                js_at++;
            }
            *link = js_value();
            link = &(*link)->next;
            js_space();
            if (*js_at == ',')
                js_at++;
            js_space();
        }
        js_at++;
        return node;
    }
    case 't':
        js_at += 4;
        return js_make(JS_TRUE);
    case 'f':
        js_at += 5;
        return js_make(JS_FALSE);
    case 'n':
        js_at += 4;
        return js_make(JS_NULL);
    default:
        return js_number();
    }
}

NOINLINE static double js_sum(const struct js_node *node)
{
    double sum = node->number + (double)node->kind;
    if (node->kind == JS_STRING)
        for (uint32_t i = 0; i < node->bytes; i++)
            sum += node->text[i] & 15;
    for (const struct js_node *child = node->child; child; child = child->next)
        sum += js_sum(child);
    return sum;
}

GUEST(json)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        js_used = 0;
        js_at = js_text;
        sum += js_sum(js_value()) * 1e-9;
    }
    return (int32_t)sum;
}
