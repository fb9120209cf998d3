/* links: engine/host */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/host/host.h"
#include "interp/component/component.h"

#define HOST_INTERFACE(interface, what)
#define HOST_RESOURCE(interface, name, drop)
#define HOST_FUNC(interface, name, type, handler) {interface, name, type},
static const struct {
    const char *interface, *name, *type;
} rows[] = {
#include "engine/host/host.def"
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void list_is_the_wit(void **state)
{
    (void)state;
    struct report report = {0};
    char *text;
    size_t bytes, lines = 0;
    assert_int_equal(
        file_read("tests/data/pie-0.4-functions.txt", 1 << 20, NULL, &text, &bytes, &report),
        ERR_OK);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '#' || line[0] == 0)
            continue;
        const char *interface = strsep(&line, "\t"), *name = strsep(&line, "\t");
        size_t i = 0;
        while (i < ROWS &&
               (strcmp(rows[i].interface, interface) != 0 || strcmp(rows[i].name, name) != 0))
            i++;
        if (i == ROWS)
            fail_msg("%s of %s is not in host.def", name, interface);
        assert_string_equal(rows[i].type, line);
        lines++;
    }
    assert_int_equal(lines, ROWS); /* so nothing is there twice, and nothing more */
    mem_free(NULL, text);
}

static void everything_registers(void **state)
{
    (void)state;
    struct report report = {0};
    struct comp_linker *linker = comp_linker_create();
    assert_non_null(linker);
    if (host_register(linker, &report) != ERR_OK)
        fail_msg("%s", report.text);
    comp_linker_destroy(linker);
}

static void registering_survives_lack_of_memory(void **state)
{
    (void)state;
    struct report report = {0};
    (void)mem_fail_at(UINT64_MAX);
    struct comp_linker *linker = comp_linker_create();
    assert_int_equal(host_register(linker, &report), ERR_OK);
    uint64_t count = mem_fail_at(0);
    comp_linker_destroy(linker);
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1; nth <= count; nth += count / 200 + 1) {
        report = (struct report){0};
        (void)mem_fail_at(nth);
        linker = comp_linker_create();
        if (linker != NULL)
            assert_int_equal(host_register(linker, &report), ERR_MEMORY);
        (void)mem_fail_at(0);
        if (linker != NULL)
            comp_linker_destroy(linker);
        assert_int_equal(mem_used_bytes(), before);
    }
}

static void reference_is_made_from_the_list(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, NULL);
    assert_true(host_describe(&text));
    assert_non_null(strstr(text.data, "## pie:core/inference\n"));
    assert_non_null(strstr(text.data, "- `[method]context.fork`: `func(self: borrow<context>) -> "
                                      "result<own<context>, string>`\n"));
    assert_non_null(strstr(text.data, "- `[static]image.from-bytes`: "));
    assert_non_null(strstr(text.data, " (not implemented in this build)\n"));
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_the_wit),
        cmocka_unit_test(everything_registers),
        cmocka_unit_test(registering_survives_lack_of_memory),
        cmocka_unit_test(reference_is_made_from_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
