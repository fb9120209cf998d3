/* links: engine/process */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/grammar/gram.h"
#include "engine/process/grammars.h"

static struct gram *get(struct proc_grammars *grammars, enum proc_grammar_kind kind,
                        const char *text)
{
    struct gram *gram;
    struct report report = {0};
    if (proc_grammars_get(grammars, kind, text, strlen(text), &gram, &report) != ERR_OK)
        fail_msg("%s", report.text);
    return gram;
}

static void the_same_text_is_the_same_grammar(void **state)
{
    (void)state;
    size_t before = mem_used_bytes();
    struct proc_grammars grammars = {0};
    struct gram *a = get(&grammars, PROC_GRAMMAR_REGEX, "a"),
                *again = get(&grammars, PROC_GRAMMAR_REGEX, "a"),
                *other = get(&grammars, PROC_GRAMMAR_EBNF, "root ::= \"a\""),
                *json = get(&grammars, PROC_GRAMMAR_JSON, "");
    assert_ptr_equal(a, again);
    assert_ptr_not_equal(a, other);
    assert_ptr_not_equal(a, json);
    struct report report = {0};
    struct gram *bad;
    assert_int_equal(proc_grammars_get(&grammars, PROC_GRAMMAR_REGEX, "(", 1, &bad, &report),
                     ERR_INVALID);
    proc_grammars_deinit(&grammars);
    gram_unref(a);
    gram_unref(again);
    gram_unref(other);
    gram_unref(json);
    assert_int_equal(mem_used_bytes(), before);
}

static void what_was_used_last_stays(void **state)
{
    (void)state;
    struct proc_grammars grammars = {0};
    struct gram *kept = get(&grammars, PROC_GRAMMAR_REGEX, "kept");
    struct gram *gone = get(&grammars, PROC_GRAMMAR_REGEX, "gone");
    for (int i = 0; i < 3 * PROC_GRAMMARS; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "x%d", i);
        gram_unref(get(&grammars, PROC_GRAMMAR_REGEX, text));
        struct gram *now = get(&grammars, PROC_GRAMMAR_REGEX, "kept");
        assert_ptr_equal(now, kept);
        gram_unref(now);
    }
    struct gram *anew = get(&grammars, PROC_GRAMMAR_REGEX, "gone");
    assert_ptr_not_equal(anew, gone);
    gram_unref(anew);
    gram_unref(gone);
    gram_unref(kept);
    proc_grammars_deinit(&grammars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_text_is_the_same_grammar),
        cmocka_unit_test(what_was_used_last_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
