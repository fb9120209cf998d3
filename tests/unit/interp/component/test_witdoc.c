/* links: interp/component */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/file.h"
#include "interp/component/witdoc.h"

/* The contract as it lies in sdk/wit. */
static void read_sdk(struct comp_wit *wit)
{
    static const char *const files[] = {
        "sdk/wit/world.wit", "sdk/wit/deps/pie-core/core.wit",
        "sdk/wit/deps/pie-instruct/instruct.wit", "sdk/wit/deps/pie-mcp/mcp.wit",
        "sdk/wit/deps/pie-zo/zo.wit", "sdk/wit/deps/wasi-cli/cli.wit",
        "sdk/wit/deps/wasi-clocks/clocks.wit", "sdk/wit/deps/wasi-filesystem/filesystem.wit",
        "sdk/wit/deps/wasi-http/http.wit", "sdk/wit/deps/wasi-io/io.wit",
        "sdk/wit/deps/wasi-random/random.wit", "sdk/wit/deps/wasi-sockets/sockets.wit"};
    struct report report = {0};
    comp_wit_init(wit);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *text;
        size_t bytes;
        if (file_read(files[i], COMP_WIT_BYTES_MAX, NULL, &text, &bytes, &report) ||
            comp_wit_add(wit, text, bytes, files[i], NULL, &report))
            fail_msg("%s", report.text);
        mem_free(NULL, text);
    }
    if (comp_wit_resolve(wit, &report))
        fail_msg("%s", report.text);
}

/* Every function of the list is in the text with this type, and the text has no other. The list
 * is also what engine/host/host.def is held to. */
static void text_is_the_list(void **state)
{
    (void)state;
    struct comp_wit wit;
    struct report report = {0};
    char *text;
    size_t bytes, lines = 0, functions = 0;
    read_sdk(&wit);
    assert_int_equal(
        file_read("tests/data/pie-0.4-functions.txt", 1 << 20, NULL, &text, &bytes, &report), ERR_OK);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '#' || line[0] == 0)
            continue;
        const char *interface = strsep(&line, "\t"), *name = strsep(&line, "\t");
        const struct comp_wit_interface *found =
            comp_wit_find(&wit, interface, strlen(interface));
        if (!found)
            fail_msg("%s is not in sdk/wit", interface);
        const struct comp_wit_func *func = comp_wit_find_func(found, name, strlen(name));
        if (!func)
            fail_msg("%s of %s is not in sdk/wit", name, interface);
        struct buf flat;
        buf_init(&flat, NULL);
        assert_int_equal(comp_wit_print_flat(&flat, found, func, &report), ERR_OK);
        assert_string_equal(flat.data, line);
        buf_deinit(&flat);
        lines++;
    }
    for (const struct comp_wit_package *p = wit.packages; p; p = p->next)
        for (const struct comp_wit_interface *i = p->interfaces; i; i = i->next)
            for (const struct comp_wit_func *f = i->funcs; f; f = f->next)
                functions += strncmp(p->name, "pie:", 4) == 0;
    assert_int_equal(lines, 139);
    assert_int_equal(functions, lines);
    mem_free(NULL, text);
    comp_wit_deinit(&wit);
}

static void versions_are_found(void **state)
{
    (void)state;
    struct comp_wit wit;
    read_sdk(&wit);
    assert_non_null(comp_wit_find(&wit, "wasi:io/poll@0.2.4", 18));
    assert_non_null(comp_wit_find(&wit, "wasi:io/poll@0.2.9", 18));
    assert_null(comp_wit_find(&wit, "wasi:io/poll@0.3.0", 18));
    assert_null(comp_wit_find(&wit, "wasi:io/pool@0.2.4", 18));
    struct buf text;
    buf_init(&text, NULL);
    assert_true(comp_wit_describe(&text, &wit, "pie:"));
    assert_non_null(strstr(text.data, "## pie:core/context\n"));
    assert_non_null(strstr(text.data, "- `[method]context.fork`: `func(self: borrow<context>) -> "
                                      "result<context, error>`. Shares"));
    assert_null(strstr(text.data, "## wasi:"));
    buf_deinit(&text);
    comp_wit_deinit(&wit);
}

/* What is wrong is said with file and line. */
static void errors_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "x.wit, line 1: expected `package`, found the end of the file"},
        {"package a:b;\ninterface c {\n  d: fun();\n}", "x.wit, line 3: expected `func`, found `fun`"},
        {"package a:b; interface c { record d { } }", "at least one name"},
        {"package a:b; interface c { use d.{e}; }", "there is no interface a:b/d"},
        {"package a:b; interface c { type d = e; }", "a:b/c has no type `e`"},
        {"package a:b; interface c { type d = list<d>; }", "contains itself"},
        {"package a:b; interface c { type d = u8; type d = u8; }", "a:b/c has `d` already"},
        {"package a:b; interface c { e: func(); e: func(); }", "has `e` already"},
        {"package a:b; interface c { } interface c { }", "a:b/c is there twice"},
        {"package a:b; interface c { type d = borrow<u8>; }", "of a resource"},
        {"package a:b; world w { import c; }", "there is no interface a:b/c"},
        {"package a:b; interface c { /* never ends", "expected"},
        {"package a:b; interface c { use a:b/e.{x}; } interface e { use c.{x}; }", "contains itself"},
        {"package a:b; interface c { d: func(e: stream<u8>); }", "expected `,` or `)`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct comp_wit wit;
        struct report report = {0};
        comp_wit_init(&wit);
        enum err err =
            comp_wit_add(&wit, cases[i].text, strlen(cases[i].text), "x.wit", NULL, &report);
        if (!err)
            err = comp_wit_resolve(&wit, &report);
        assert_int_not_equal(err, ERR_OK);
        if (!strstr(report.text, cases[i].message))
            fail_msg("\"%s\" gives \"%s\"", cases[i].text, report.text);
        comp_wit_deinit(&wit);
    }
}

static void the_language_is_read(void **state)
{
    (void)state;
    static const char text[] =
        "package a:b@1.2.3-rc.1+x;\n"
        "/// Doc.\n@since(version = 1.0.0)\ninterface %use {\n"
        "  use a:c/d@0.1.0.{t as u, r};\n"
        "  flags f { a, %record, }\n enum e { x, y }\n"
        "  type: func(a: u, b: f, c: e) -> tuple<s8, option<r>, result, result<u8>>;\n"
        "  resource q { constructor(a: borrow<r>); use: func() -> q; m: static func(x: own<r>); }\n"
        "}\n";
    static const char other[] =
        "package a:c@0.1.0; interface d { resource r; type t = list<result<_, char>>; }";
    struct comp_wit wit;
    struct report report = {0};
    comp_wit_init(&wit);
    if (comp_wit_add(&wit, text, strlen(text), "t.wit", NULL, &report) ||
        comp_wit_add(&wit, other, strlen(other), "o.wit", NULL, &report) ||
        comp_wit_resolve(&wit, &report))
        fail_msg("%s", report.text);
    const struct comp_wit_interface *use = comp_wit_find(&wit, "a:b/use@1.2.3-rc.1+x", 20);
    assert_non_null(use);
    assert_string_equal(use->doc, "Doc.");
    struct buf flat;
    buf_init(&flat, NULL);
    for (const struct comp_wit_func *f = use->funcs; f; f = f->next) {
        (void)buf_printf(&flat, "%s ", f->name);
        assert_int_equal(comp_wit_print_flat(&flat, use, f, &report), ERR_OK);
        (void)buf_putc(&flat, '\n');
    }
    assert_string_equal(
        flat.data,
        "type func(a: list<result<_, char>>, b: flags { a, record }, c: enum { x, y }) -> "
        "tuple<s8, option<own<a:c/d.r>>, result, result<u8>>\n"
        "[constructor]q func(a: borrow<a:c/d.r>) -> own<q>\n"
        "[method]q.use func(self: borrow<q>) -> own<q>\n"
        "[static]q.m func(x: own<a:c/d.r>)\n");
    buf_deinit(&flat);
    comp_wit_deinit(&wit);
}

/* Types that double at every step stay bounded when they are written out. */
static void doubling_is_bounded(void **state)
{
    (void)state;
    struct buf text, flat;
    struct comp_wit wit;
    struct report report = {0};
    buf_init(&text, NULL);
    buf_init(&flat, NULL);
    buf_puts(&text, "package a:b; interface c { type t0 = u8;");
    for (int i = 1; i < 50; i++)
        buf_printf(&text, "type t%d = tuple<t%d, t%d>;", i, i - 1, i - 1);
    buf_puts(&text, "f: func(a: t49); }");
    comp_wit_init(&wit);
    if (comp_wit_add(&wit, text.data, text.count, "t.wit", NULL, &report) ||
        comp_wit_resolve(&wit, &report))
        fail_msg("%s", report.text);
    const struct comp_wit_interface *c = comp_wit_find(&wit, "a:b/c", 5);
    assert_int_equal(comp_wit_print_flat(&flat, c, c->funcs, &report), ERR_LIMIT);
    comp_wit_deinit(&wit);
    buf_deinit(&flat);
    buf_deinit(&text);
}

static void lack_of_memory_is_survived(void **state)
{
    (void)state;
    static const char text[] = "package a:b; interface c { resource r { m: func(a: list<u8>); } "
                               "record d { e: u8, } use c2.{x}; } interface c2 { type x = u8; }";
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct comp_wit wit;
        struct report report = {0};
        comp_wit_init(&wit);
        (void)mem_fail_at(nth);
        enum err err = comp_wit_add(&wit, text, strlen(text), "t.wit", NULL, &report);
        (void)mem_fail_at(0);
        assert_true(err == ERR_OK || err == ERR_MEMORY);
        comp_wit_deinit(&wit);
        assert_int_equal(mem_used_bytes(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_the_list),
        cmocka_unit_test(versions_are_found),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(the_language_is_read),
        cmocka_unit_test(doubling_is_bounded),
        cmocka_unit_test(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
