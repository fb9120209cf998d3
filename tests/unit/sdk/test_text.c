/* links: engine/base
 * The C SDK's texts and parameters, compiled for this machine: hostile JSON, long messages, odd
 * numbers. What it needs from its own heap is played by malloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/utf8.h"
#include "sdk/c/src/params.c"
#include "sdk/c/src/text.c"

void *pie_alloc(size_t bytes)
{
    return pie_realloc(NULL, bytes);
}

void *pie_realloc(void *block, size_t bytes)
{
    void *grown = realloc(block, bytes ? bytes : 1);
    assert_non_null(grown);
    return grown;
}

void pie_free(void *block)
{
    free(block);
}

/* A result that is not UTF-8 would be a trap instead of an answer. */
static void errors_stay_text_when_cut(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char message[1001] = "";
        memset(message, 'x', shift);
        for (size_t i = 0; i < 240; i++)
            memcpy(message + shift + 4 * i, "\xF0\x9F\x98\x80", 4);
        assert_false(pie_fail(message));
        assert_true(utf8_is_valid(pie_error(), strlen(pie_error())));
        assert_in_range(strlen(pie_error()), 497, 500);
        assert_false(pie_fail_text((struct pie_text){message, 700}));
        assert_true(utf8_is_valid(pie_error(), strlen(pie_error())));
        assert_in_range(strlen(pie_error()), 497, 500);
    }
    assert_false(pie_fail_text((struct pie_text){"no zero", 2}));
    assert_string_equal(pie_error(), "no");
    assert_false(pie_fail(""));
    assert_string_equal(pie_error(), "unknown error");
}

static void number_is(double value, int decimals, const char *text)
{
    struct pie_buf buf = {0};
    pie_buf_put_f64(&buf, value, decimals);
    pie_buf_append(&buf, "", 1);
    assert_string_equal(buf.data, text);
    pie_buf_free(&buf);
}

static void numbers_are_written(void **state)
{
    (void)state;
    number_is(0, 0, "0");
    number_is(1.5, 2, "1.50");
    number_is(-0.999, 2, "-1.00");
    number_is(0.25, 30, "0.25000000000000000"); /* no double has more to say */
    number_is(3, -1, "3");
    number_is(1e300, 2, "1e18+");
    number_is(strtod("inf", NULL), 2, "inf");
    number_is(strtod("nan", NULL), 2, "nan");
}

static void numbers_are_read(void **state)
{
    (void)state;
    double value;
    char digits[900] = "{\"a\":0.";
    static const char *const bad[] = {
        "{\"a\":\"\"}", "{\"a\":\"x\"}", "{\"a\":1e}", "{\"a\":--1}", "{\"a\":1e999}", "{\"a\":[]}",
        "{\"a\":\"nan\"}", "{\"a\":1", "{\"a\" 1}", "[1]", "{\"a\":}", "{\"\\ud800\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(pie_param_f64(pie_text(bad[i]), "a", 1, &value));
    assert_true(pie_param_f64(pie_text("{\"a\":-0.95}"), "a", 1, &value));
    assert_true(value == -0.95);
    assert_true(pie_param_f64(pie_text("{\"a\":\"2.5e1\"}"), "a", 1, &value));
    assert_true(value == 25);
    assert_true(pie_param_f64(pie_text(""), "a", 7, &value));
    assert_true(value == 7);
    /* More digits than a double's scale: never "not a number". */
    size_t at = strlen(digits);
    memset(digits + at, '7', 400);
    (void)strcpy(digits + at + 400, "}");
    if (pie_param_f64(pie_text(digits), "a", 1, &value))
        assert_true(value > 0.7 && value < 0.8);
    uint32_t whole;
    assert_true(pie_param_u32(pie_text("{\"a\":4294967295}"), "a", 1, &whole));
    assert_int_equal(whole, UINT32_MAX);
    assert_false(pie_param_u32(pie_text("{\"a\":4294967296}"), "a", 1, &whole));
    assert_false(pie_param_u32(pie_text("{\"a\":-1}"), "a", 1, &whole));
    assert_false(pie_param_u32(pie_text("{\"a\":1.5}"), "a", 1, &whole));
}

/* Every prefix and every change of a byte: nothing is read outside of the input (under ASan). */
static void hostile_input_is_survived(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":\"x\\n\\u00e9\\ud83d\\ude00\",\"b\":[1,{\"c\":null}],\"d\":-1.5e3,\"e\":true}";
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t bytes = (random >> 33) % sizeof text;
        char *copy = malloc(bytes ? bytes : 1);
        assert_non_null(copy);
        memcpy(copy, text, bytes);
        if (bytes)
            copy[(random >> 40) % bytes] = (char)(random >> 55);
        struct pie_text input = {copy, bytes};
        struct pie_buf value = {0};
        double number;
        bool flag;
        (void)pie_param_text(input, "a", "", &value);
        (void)pie_param_f64(input, "d", 0, &number);
        (void)pie_param_bool(input, "e", false, &flag);
        (void)pie_param_has(input, "b");
        pie_buf_free(&value);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_text_when_cut), cmocka_unit_test(numbers_are_written),
        cmocka_unit_test(numbers_are_read), cmocka_unit_test(hostile_input_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
