/* links: interp/component
 * Core modules to components. That the components are what others expect was checked with
 * `wasm-tools validate`, too: with a folder's name in COMPONENTS they are written there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "interp/component/encode.h"
#include "tests/tools/core_module.h"

static bool one_in(void *user, uint32_t nth)
{
    return nth % *(uint32_t *)user == 0;
}

struct seen {
    size_t imports, exports;
};

static void on_import(void *user, const char *interface, const char *name)
{
    (void)interface;
    ((struct seen *)user)->imports += name != NULL;
}

static void on_export(void *user, const char *interface, const char *name)
{
    if (name && strcmp(interface, "pie:x/run") == 0 && strcmp(name, "run") == 0)
        ((struct seen *)user)->exports++;
}

static void any_choice_of_functions(void **state)
{
    (void)state;
    struct comp_wit wit;
    core_module_wit(&wit);
    for (uint32_t step = 1; step <= 40; step += step < 8 ? 1 : 7) {
        struct buf module, component;
        struct report report = {0};
        struct seen seen = {0};
        struct comp_component *decoded;
        buf_init(&module, NULL);
        buf_init(&component, NULL);
        core_module_make(&wit, one_in, &step, step % 2, &module);
        if (comp_encode((const uint8_t *)module.data, module.count, &wit, &component, &report))
            fail_msg("every %u: %s", step, report.text);
        const char *folder = getenv("COMPONENTS");
        if (folder) {
            char path[300];
            (void)snprintf(path, sizeof path, "%s/every-%u.wasm", folder, step);
            assert_int_equal(file_write(path, component.data, component.count, &report), ERR_OK);
        }
        if (comp_component_create((const uint8_t *)component.data, component.count, &decoded, &report))
            fail_msg("every %u: %s", step, report.text);
        comp_component_each_import(decoded, on_import, &seen);
        comp_component_each_export(decoded, on_export, &seen);
        assert_true(seen.imports > 0);
        assert_int_equal(seen.exports, 1);
        comp_component_unref(decoded);
        buf_deinit(&module);
        buf_deinit(&component);
    }
    comp_wit_deinit(&wit);
}

/* What does not fit is named. */
static void misfits_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"pie:core/runtime", "pie:core/runtimf", "version of \"pie:core/runtimf\", which is no interface"},
        {"version", "versiom", "pie:core/runtime has no function versiom"},
        {"pie:x/run#run", "pie:x/run#rum", "exports pie:x/run#rum"},
        {"cabi_realloc", "cabi_reallow", "does not export `cabi_realloc`"},
        {"memory", "memorx", "does not export `memory`"},
    };
    struct comp_wit wit;
    struct buf module;
    core_module_wit(&wit);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report report = {0};
        struct buf component;
        struct comp_wit only; /* runtime.version alone */
        static const char text[] =
            "package pie:core; interface runtime { version: func() -> string; }";
        static const char own[] =
            "package pie:x; interface run { run: func(input: string) -> result<string, string>; }";
        uint32_t every = 1000; /* the first: version */
        comp_wit_init(&only);
        assert_int_equal(comp_wit_add(&only, text, sizeof text - 1, "a", NULL, &report), ERR_OK);
        assert_int_equal(comp_wit_add(&only, own, sizeof own - 1, "b", NULL, &report), ERR_OK);
        assert_int_equal(comp_wit_resolve(&only, &report), ERR_OK);
        buf_init(&module, NULL);
        buf_init(&component, NULL);
        core_module_make(&only, one_in, &every, false, &module);
        bool changed = false;
        size_t bytes = strlen(cases[i].from);
        for (size_t at = 0; at + bytes <= module.count; at++)
            if (strlen(cases[i].to) == bytes && memcmp(module.data + at, cases[i].from, bytes) == 0 &&
                (at == 0 || module.data[at - 1] == (char)bytes)) {
                memcpy(module.data + at, cases[i].to, bytes);
                changed = true;
            }
        if (changed) {
            assert_int_not_equal(
                comp_encode((const uint8_t *)module.data, module.count, &only, &component, &report),
                ERR_OK);
            if (!strstr(report.text, cases[i].message))
                fail_msg("%s", report.text);
        }
        comp_wit_deinit(&only);
        buf_deinit(&module);
        buf_deinit(&component);
    }
    /* The same names with another type. */
    struct report report = {0};
    struct comp_wit other;
    struct buf component;
    uint32_t every = 1000;
    static const char text[] = "package pie:core; interface runtime { version: func() -> u32; }";
    comp_wit_init(&other);
    assert_int_equal(comp_wit_add(&other, text, sizeof text - 1, "a", NULL, &report), ERR_OK);
    assert_int_equal(comp_wit_resolve(&other, &report), ERR_OK);
    buf_init(&module, NULL);
    buf_init(&component, NULL);
    core_module_make(&other, one_in, &every, false, &module);
    assert_int_equal(comp_encode((const uint8_t *)module.data, module.count, &wit, &component, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "its canonical form is"));
    buf_deinit(&module);
    buf_deinit(&component);
    comp_wit_deinit(&other);
    comp_wit_deinit(&wit);
}

static void lack_of_memory_is_survived(void **state)
{
    (void)state;
    struct comp_wit wit;
    struct buf module;
    uint32_t step = 9;
    core_module_wit(&wit);
    buf_init(&module, NULL);
    core_module_make(&wit, one_in, &step, true, &module);
    size_t before = mem_used_bytes();
    (void)mem_fail_at(UINT64_MAX);
    struct buf whole;
    struct report report = {0};
    buf_init(&whole, NULL);
    assert_int_equal(comp_encode((const uint8_t *)module.data, module.count, &wit, &whole, &report), ERR_OK);
    uint64_t count = mem_fail_at(0);
    buf_deinit(&whole);
    for (uint64_t nth = 1; nth <= count; nth += count / 300 + 1) {
        struct buf out;
        buf_init(&out, NULL);
        report = (struct report){0};
        (void)mem_fail_at(nth);
        enum err err = comp_encode((const uint8_t *)module.data, module.count, &wit, &out, &report);
        (void)mem_fail_at(0);
        if (err != ERR_MEMORY)
            fail_msg("%llu: %s", (unsigned long long)nth, report.text);
        buf_deinit(&out);
        assert_int_equal(mem_used_bytes(), before);
    }
    buf_deinit(&module);
    comp_wit_deinit(&wit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_choice_of_functions),
        cmocka_unit_test(misfits_are_named),
        cmocka_unit_test(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
