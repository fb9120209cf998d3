/* links: interp/wasm
 *
 * The example embedding does what interp/README.md says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int example_main(void);
#define main example_main
#include "tests/tools/example_embedding.c"
#undef main

static void test_example(void **state)
{
    (void)state;
    char text[2000];
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    int status = example_main();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    assert_int_equal(status, 0);
    assert_string_equal(text, "the guest says 3\nthe guest says 2\nthe guest says 1\n"
                              "sum(3) = 6, for 37 units of fuel\n"
                              "sum(0) trapped: unreachable\n  0: sum (func 1) +0x5\n"
                              "the guest says 1000000000\nthe guest says 999999999\n"
                              "sum(1000000000) is stopped\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_example)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
