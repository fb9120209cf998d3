/* links: engine/chat
 * Chat templates against Python's jinja2 (tests/vectors/jinja), and their limits. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/chat/jinja.h"

enum { NOW = 1721999109 }; /* 2024-07-26 13:05:09 */

static void unpack(const char *command, struct buf *out)
{
    char room[4096];
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (size_t n; (n = fread(room, 1, sizeof room, pipe)) > 0;)
        assert_true(buf_append(out, room, n));
    assert_int_equal(pclose(pipe), 0);
}

struct record {
    char kind[20], name[100];
    const char *data;
    size_t bytes;
};

static bool next_record(const struct buf *file, size_t *at, struct record *record)
{
    if (*at >= file->count)
        return false;
    char line[200] = "";
    const char *end = memchr(file->data + *at, '\n', file->count - *at);
    assert_non_null(end);
    assert_true((size_t)(end - file->data) - *at < sizeof line);
    memcpy(line, file->data + *at, (size_t)(end - file->data) - *at);
    *record = (struct record){"", "", end + 1, 0};
    if (sscanf(line, "%19s %99s %zu", record->kind, record->name, &record->bytes) != 3)
        assert_int_equal(sscanf(line, "%19s %zu", record->kind, &record->bytes), 2);
    *at = (size_t)(end - file->data) + 1 + record->bytes + 1;
    assert_true(*at <= file->count);
    return true;
}

static void show_difference(const char *want, size_t want_bytes, const struct buf *got)
{
    size_t at = 0;
    while (at < want_bytes && at < got->count && want[at] == got->data[at])
        at++;
    size_t from = at > 80 ? at - 80 : 0;
    print_message("differs at byte %zu\n--- jinja2:\n%.*s\n--- here:\n%.*s\n---\n", at,
                  (int)(want_bytes - from < 300 ? want_bytes - from : 300), want + from,
                  (int)(got->count - from < 300 ? got->count - from : 300),
                  got->count ? got->data + from : "");
}

static void templates_render_as_jinja2(void **state)
{
    (void)state;
    struct buf file;
    struct record template = {0}, variables, result;
    struct jinja *jinja = NULL;
    struct report why = {0};
    size_t at = 0, used = mem_used_bytes(), cases = 0, wrong = 0, templates = 0;
    buf_init(&file, NULL);
    unpack("xz -dc tests/vectors/jinja/vectors.txt.xz", &file);
    while (next_record(&file, &at, &variables)) {
        if (strcmp(variables.kind, "template") == 0) {
            template = variables;
            jinja_destroy(jinja);
            jinja = NULL;
            why = (struct report){0};
            (void)!jinja_create(template.data, template.bytes, &jinja, &why);
            templates++;
            continue;
        }
        assert_string_equal(variables.kind, "case");
        assert_true(next_record(&file, &at, &result));
        struct buf out;
        struct report report = why;
        buf_init(&out, NULL);
        enum err err = jinja ? jinja_render(jinja, variables.data, variables.bytes, NOW, &out,
                                            &report) : why.code;
        bool fails = strcmp(result.kind, "fails") == 0;
        bool same = fails ? err != ERR_OK
                          : err == ERR_OK && out.count == result.bytes &&
                                (out.count == 0 || memcmp(out.data, result.data, out.count) == 0);
        cases++;
        if (!same && wrong++ < 20) {
            print_message("%s, %s: %s\n", template.name, variables.name,
                          err ? report.text : fails ? "jinja2 fails" : "");
            if (!err && !fails)
                show_difference(result.data, result.bytes, &out);
        }
        buf_deinit(&out);
    }
    jinja_destroy(jinja);
    buf_deinit(&file);
    if (wrong)
        fail_msg("%zu of %zu renderings differ", wrong, cases);
    print_message("note: %zu renderings of %zu templates are jinja2's\n", cases, templates);
    assert_int_equal(mem_used_bytes(), used);
}

static void expect_failure(const char *source, enum err err, const char *says)
{
    struct jinja *jinja = NULL;
    struct report report = {0};
    struct buf out;
    size_t used = mem_used_bytes();
    buf_init(&out, NULL);
    enum err got = jinja_create(source, strlen(source), &jinja, &report);
    if (!got)
        got = jinja_render(jinja, "{\"x\": 1}", 8, NOW, &out, &report);
    if (got != err || !strstr(report.text, says))
        fail_msg("'%.60s' gives %d '%s', expected %d '%s'", source, got, report.text, err, says);
    assert_int_equal(out.count, 0);
    jinja_destroy(jinja);
    buf_deinit(&out);
    assert_int_equal(mem_used_bytes(), used);
}

static void limits_hold(void **state)
{
    (void)state;
    char deep[4000];
    expect_failure("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                   ERR_LIMIT, "");
    expect_failure("{% for i in range(99999) %}{{ range(99) | sum }}{% endfor %}", ERR_LIMIT, "");
    expect_failure("{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}"
                   "{% set n.s = n.s ~ n.s %}{% endfor %}", ERR_LIMIT, "");
    expect_failure("{% for i in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 999 }}"
                   "{% endfor %}", ERR_LIMIT, "");
    expect_failure("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ERR_LIMIT, "deeply");
    expect_failure("{{ range(999999999) }}", ERR_LIMIT, "range");
    expect_failure("{{ 9 ** 99 }}", ERR_LIMIT, "too large");
    expect_failure("{{ 'x' * 999999999999 }}", ERR_LIMIT, "");
    expect_failure("{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}"
                   "{% endfor %}{{ n.l }}", ERR_LIMIT, "deeply");
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    memcpy(deep, "{{", 2);
    expect_failure(deep, ERR_LIMIT, "nested too deeply");
    for (size_t i = 2; i + 1 < sizeof deep; i++)
        deep[i] = '-';
    expect_failure(deep, ERR_LIMIT, "nested too deeply");
    for (size_t i = 0; i + 9 < sizeof deep; i += 9)
        memcpy(deep + i, "{%if 1%} ", 9);
    expect_failure(deep, ERR_LIMIT, "nested too deeply");
    expect_failure("a\nb{% include 'x' %}", ERR_UNSUPPORTED, "line 2: the statement 'include'");
    expect_failure("{{ x.y.z }}", ERR_INVALID, "'y' is undefined, so it has no 'z'");
    expect_failure("{{ raise_exception('only users') }}", ERR_INVALID, "it refuses: only users");
    expect_failure("{{ '", ERR_INVALID, "not closed");
    expect_failure("{#", ERR_INVALID, "not closed");
    expect_failure("{% raw %}", ERR_INVALID, "endraw");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_as_jinja2),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
