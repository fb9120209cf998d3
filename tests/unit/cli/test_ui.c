/* links: cli
 * What comes from elsewhere cannot steer the terminal, however it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/ui.h"

/* Writes the pieces and reads back all that came out. */
static void shows(const char *const *pieces, bool is_terminal, const char *expected)
{
    int ends[2];
    char seen[200] = "";
    assert_int_equal(pipe(ends), 0);
    for (; *pieces; pieces++)
        ui_write_safely(ends[1], *pieces, strlen(*pieces), is_terminal);
    assert_int_equal(close(ends[1]), 0);
    size_t at = 0;
    ssize_t got;
    while ((got = read(ends[0], seen + at, sizeof seen - 1 - at)) > 0)
        at += (size_t)got;
    assert_int_equal(close(ends[0]), 0);
    assert_string_equal(seen, expected);
}

static void controls_are_left_out(void **state)
{
    (void)state;
    shows((const char *const[]){"a\x1B[2J\tb\x7F\r\n\xC2\x9Bm\xC3\xA9\xC2\xA9", NULL}, true,
          "a[2J\tb\nm\xC3\xA9\xC2\xA9");
    shows((const char *const[]){"a\x1B[2J\xC2\x9B", NULL}, false, "a\x1B[2J\xC2\x9B");
    shows((const char *const[]){"", "\x1B", NULL}, true, "");
}

static void a_control_in_two_pieces_is_none(void **state)
{
    (void)state;
    shows((const char *const[]){"x\xC2", "\x9B" "2J", NULL}, true, "x\x9B" "2J");
    shows((const char *const[]){"\xC2", "\xC2\x9B" "2J", NULL}, true, "2J");
    shows((const char *const[]){"\xE2\x82", "\xAC", NULL}, true, "\xE2\x82\xAC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_are_left_out),
        cmocka_unit_test(a_control_in_two_pieces_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
