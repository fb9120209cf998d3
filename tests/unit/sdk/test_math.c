/* links: engine/base
 * The C SDK's exponential and logarithm against the C library's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sdk/c/src/math.c"

static void agree(double found, double expected)
{
    assert_true(fabs(found - expected) <= 4e-15 * fabs(expected));
}

static void exp_is_the_librarys(void **state)
{
    (void)state;
    for (double x = -707; x < 709; x += 0.37)
        agree(pie_exp(x) / exp(x), 1);
    assert_true(pie_exp(0) == 1 && pie_exp(-1e9) == 0 && isinf(pie_exp(1e9)));
    assert_true(isnan(pie_exp(NAN)) && isinf(pie_exp(INFINITY)) && pie_exp(-INFINITY) == 0);
}

static void ln_is_the_librarys(void **state)
{
    (void)state;
    for (double x = 0x1p-1022; x < 0x1p1023; x *= 1.37)
        agree(pie_ln(x), log(x));
    for (double x = 0.5; x < 2; x += 0.0137)
        assert_true(fabs(pie_ln(x) - log(x)) <= 4e-15 * fabs(log(x)) + 1e-16);
    assert_true(pie_ln(1) == 0 && isinf(pie_ln(0)) && isinf(pie_ln(INFINITY)));
    assert_true(isnan(pie_ln(-1)) && isnan(pie_ln(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_the_librarys),
        cmocka_unit_test(ln_is_the_librarys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
