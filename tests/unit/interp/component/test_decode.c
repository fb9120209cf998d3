/* links: interp/component
 *
 * Components made byte by byte: what is refused, with which words, and that small hostile files
 * stay cheap. The official suite (tests/spec/component) has the ordinary cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "interp/component/component.h"

/* ---- a builder --------------------------------------------------------------------------- */

static void put_u32(struct buf *to, uint32_t value)
{
    while (value >= 0x80) {
        buf_putc(to, (char)(value | 0x80));
        value >>= 7;
    }
    buf_putc(to, (char)value);
}

/* As a value type: signed, so that a type's number never looks negative. */
static void put_type(struct buf *to, uint32_t index)
{
    while (index >= 0x40) {
        buf_putc(to, (char)(index | 0x80));
        index >>= 7;
    }
    buf_putc(to, (char)index);
}

#define PUT(to, ...)                                      \
    do {                                                  \
        static const uint8_t bytes_[] = {__VA_ARGS__};    \
        buf_append((to), bytes_, sizeof bytes_);          \
    } while (0)

static void put_name(struct buf *to, const char *name)
{
    put_u32(to, (uint32_t)strlen(name));
    buf_puts(to, name);
}

static void put_header(struct buf *to)
{
    PUT(to, 0x00, 'a', 's', 'm', 0x0d, 0x00, 0x01, 0x00);
}

/* A section whose body is `body`, which is emptied. */
static void put_section(struct buf *to, uint8_t id, struct buf *body)
{
    buf_putc(to, (char)id);
    put_u32(to, (uint32_t)body->count);
    buf_append(to, body->data ? body->data : "", body->count);
    buf_clear(body);
}

struct file {
    struct buf bytes, body;
};

static void begin(struct file *f)
{
    buf_init(&f->bytes, NULL);
    buf_init(&f->body, NULL);
    put_header(&f->bytes);
}

static enum err decode(const struct file *f, struct comp_component **component,
                       struct report *report)
{
    memset(report, 0, sizeof *report);
    return comp_component_create((const uint8_t *)f->bytes.data, f->bytes.count, component,
                                 report);
}

static void end(struct file *f)
{
    buf_deinit(&f->bytes);
    buf_deinit(&f->body);
}

static void expect(struct file *f, enum err wanted, const char *words)
{
    struct comp_component *component = NULL;
    struct report report;
    enum err err = decode(f, &component, &report);
    if (err != wanted)
        fail_msg("%s instead of %s: %s", err_name(err), err_name(wanted), report.text);
    if (words && !strstr(report.text, words))
        fail_msg("`%s` is not in: %s", words, report.text);
    comp_component_unref(component);
    end(f);
}

/* ---- ordinary ---------------------------------------------------------------------------- */

static void empty_component_is_one(void **state)
{
    struct file f;
    struct comp_component *component;
    struct comp_instance *instance;
    struct comp_linker *linker = comp_linker_create();
    struct report report;
    (void)state;
    begin(&f);
    assert_int_equal(decode(&f, &component, &report), ERR_OK);
    assert_int_equal(comp_instance_create(linker, component, NULL, NULL, &instance, &report),
                     ERR_OK);
    assert_int_equal(comp_instance_run(instance, 10), WASM_RUN_DONE);
    comp_instance_destroy(instance);
    comp_component_unref(component);
    comp_linker_destroy(linker);
    end(&f);
}

static void headers_are_told_apart(void **state)
{
    static const uint8_t not_wasm[] = "GIF89a, no wasm";
    struct comp_component *component;
    struct report report = {0};
    (void)state;
    assert_int_equal(comp_component_create(not_wasm, 0, &component, &report), ERR_INVALID);
    memset(&report, 0, sizeof report);
    assert_int_equal(comp_component_create(not_wasm, sizeof not_wasm, &component, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "not a WebAssembly file"));
    struct file f;
    begin(&f);
    f.bytes.data[4] = 0x0c;
    expect(&f, ERR_INVALID, "unknown binary version");
}

static void cuts_are_refused(void **state)
{
    struct file f;
    struct report report;
    struct comp_component *component;
    (void)state;
    begin(&f);
    PUT(&f.body, 3, 0x40, 0, 1, 0, 0x72, 1, 1, 'a', 0x79, 0x70, 1);
    put_section(&f.bytes, 7, &f.body);
    assert_int_equal(decode(&f, &component, &report), ERR_OK);
    comp_component_unref(component);
    for (size_t bytes = f.bytes.count - 1; bytes > 8; bytes--) {
        memset(&report, 0, sizeof report);
        assert_int_equal(comp_component_create((const uint8_t *)f.bytes.data, bytes, &component,
                                               &report), ERR_INVALID);
        assert_true(report.text[0] != 0);
    }
    end(&f);
}

/* ---- not supported ----------------------------------------------------------------------- */

static void async_is_refused_clearly(void **state)
{
    struct file f;
    (void)state;
    begin(&f);
    PUT(&f.body, 1, 0x43, 0, 1, 0);
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_UNSUPPORTED, "async functions are not supported");
    begin(&f);
    PUT(&f.body, 1, 0x66, 0);
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_UNSUPPORTED, "streams and futures (async) are not supported");
    begin(&f);
    PUT(&f.body, 1, 0x1f);
    put_section(&f.bytes, 8, &f.body);
    expect(&f, ERR_UNSUPPORTED, "not supported");
    begin(&f);
    PUT(&f.body, 1, 0x64);
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_UNSUPPORTED, "error-context is not supported");
    begin(&f);
    PUT(&f.body, 0);
    put_section(&f.bytes, 9, &f.body);
    expect(&f, ERR_UNSUPPORTED, "start functions and values are not supported");
}

/* ---- hostile ----------------------------------------------------------------------------- */

static void deep_components_are_refused(void **state)
{
    struct buf inner, outer;
    struct comp_component *component;
    struct report report = {0};
    (void)state;
    buf_init(&inner, NULL);
    buf_init(&outer, NULL);
    put_header(&inner);
    for (int i = 0; i < 5000; i++) {
        put_header(&outer);
        put_section(&outer, 4, &inner);
        struct buf swap = inner;
        inner = outer;
        outer = swap;
        buf_clear(&outer);
    }
    assert_int_equal(comp_component_create((const uint8_t *)inner.data, inner.count, &component,
                                           &report), ERR_LIMIT);
    assert_non_null(strstr(report.text, "nested"));
    buf_deinit(&inner);
    buf_deinit(&outer);
}

static void deep_types_are_refused(void **state)
{
    struct file f;
    (void)state;
    begin(&f);
    put_u32(&f.body, 1000);
    PUT(&f.body, 0x70, 0x7d);
    for (uint32_t i = 0; i < 999; i++) {
        PUT(&f.body, 0x70);
        put_type(&f.body, i);
    }
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_LIMIT, "nested");

    /* instance types within instance types */
    begin(&f);
    PUT(&f.body, 1);
    for (int i = 0; i < 5000; i++)
        PUT(&f.body, 0x42, 1, 0x01);
    PUT(&f.body, 0x7f);
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_LIMIT, "nested");
}

/* Each type mentions the one before twice: 2^n parts when seen as a tree. */
static void doubling_types_are_refused(void **state)
{
    struct file f;
    uint64_t from = clock_now_ns();
    (void)state;
    begin(&f);
    put_u32(&f.body, 60);
    PUT(&f.body, 0x70, 0x7d);
    for (uint32_t i = 0; i < 59; i++) {
        PUT(&f.body, 0x6f, 2);
        put_type(&f.body, i);
        put_type(&f.body, i);
    }
    put_section(&f.bytes, 7, &f.body);
    expect(&f, ERR_LIMIT, NULL);
    assert_true(clock_now_ns() - from < 5000000000u);
}

/* Components that instantiate the one before ten times: 10^n instances. */
static void instantiation_bombs_end(void **state)
{
    struct file f;
    struct comp_component *component;
    struct comp_instance *instance;
    struct comp_linker *linker = comp_linker_create();
    struct report report;
    (void)state;
    begin(&f);
    put_header(&f.body);
    put_section(&f.bytes, 4, &f.body);
    for (uint32_t level = 0; level < 9; level++) {
        struct buf section;
        buf_init(&section, NULL);
        put_header(&f.body);
        /* alias outer 1 component `level` */
        PUT(&section, 1, 0x04, 0x02, 1);
        put_u32(&section, level);
        put_section(&f.body, 6, &section);
        PUT(&section, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0);
        put_section(&f.body, 5, &section);
        buf_deinit(&section);
        put_section(&f.bytes, 4, &f.body);
    }
    PUT(&f.body, 1, 0, 9, 0);
    put_section(&f.bytes, 5, &f.body);
    if (decode(&f, &component, &report))
        fail_msg("%s", report.text);
    assert_int_equal(comp_instance_create(linker, component, NULL, NULL, &instance, &report),
                     ERR_LIMIT);
    assert_non_null(strstr(report.text, "too many steps"));
    comp_component_unref(component);
    comp_linker_destroy(linker);
    end(&f);
}

/* ---- linkers ----------------------------------------------------------------------------- */

static enum comp_host_result nothing(struct comp_host_call *call, const struct comp_value *args,
                                     struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)result, (void)user;
    return COMP_HOST_DONE;
}

static void wit_errors_say_where(void **state)
{
    static const struct {
        const char *type, *words;
    } cases[] = {
        {"", "`func` expected"},
        {"func", "`(` expected"},
        {"func(", "name expected"},
        {"func(a)", "`:` expected"},
        {"func(a: u33)", "a type expected at `u33"},
        {"func(a: list<u8)", "`>` expected"},
        {"func(a: u8 b: u8)", "`,` or `)` expected"},
        {"func() -> record { a u8 }", "`:` expected"},
        {"func() -> variant { a(u8 }", "`)` expected"},
        {"func() -> enum { }", "at least one"},
        {"func() -> u8 u8", "the end expected"},
        {"func(a: own<nothing>)", "there is no resource `nothing`"},
        {"func() -> borrow<thing>", "cannot contain a `borrow`"},
    };
    struct comp_linker *linker = comp_linker_create();
    struct report report = {0};
    (void)state;
    assert_int_equal(comp_linker_resource(linker, "a:b/c", "thing", NULL, &report), ERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&report, 0, sizeof report);
        assert_int_not_equal(comp_linker_func(linker, "a:b/c", "f", cases[i].type, nothing, NULL,
                                              &report), ERR_OK);
        if (!strstr(report.text, cases[i].words))
            fail_msg("`%s`: %s", cases[i].type, report.text);
    }
    memset(&report, 0, sizeof report);
    assert_int_equal(comp_linker_func(linker, "a:b/c", "f",
                                      "func(a: borrow<a:b/c.thing>, %type: option<list<string>>) "
                                      "-> result<_, tuple<u8, char>>", nothing, NULL, &report),
                     ERR_OK);
    assert_int_equal(comp_linker_func(linker, "a:b/c", "f", "func()", nothing, NULL, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "defined twice"));
    comp_linker_destroy(linker);
}

/* (component (import NAME (instance (export "f" (func))))
 *            (core func (canon lower (func NAME "f")))) */
static void make_importer(struct file *f, const char *name)
{
    begin(f);
    PUT(&f->body, 1, 0x42, 2, 0x01, 0x40, 0, 1, 0, 0x04, 0x00, 1, 'f', 0x01, 0);
    put_section(&f->bytes, 7, &f->body);
    PUT(&f->body, 1, 0x00);
    put_name(&f->body, name);
    PUT(&f->body, 0x05, 0);
    put_section(&f->bytes, 10, &f->body);
    PUT(&f->body, 1, 0x01, 0x00, 0, 1, 'f');
    put_section(&f->bytes, 6, &f->body);
    PUT(&f->body, 1, 0x01, 0x00, 0, 0);
    put_section(&f->bytes, 8, &f->body);
}

static void versions_link_by_semver(void **state)
{
    static const struct {
        const char *wanted;
        bool links;
    } cases[] = {
        {"a:b/c@0.2.0", true},  {"a:b/c@0.2.99", true},   {"a:b/c@0.2.6-rc.1", true},
        {"a:b/c@0.3.0", false}, {"a:b/c@1.0.0", false},   {"a:b/c", false},
        {"d:e/f@1.0.0", true},  {"d:e/f@1.99.3", true},   {"d:e/f@2.0.0", false},
        {"g:h/i@0.0.3", true},  {"g:h/i@0.0.4", false},   {"j:k/l", true},
        {"j:k/l@1.0.0", false},
    };
    static const char *const offered[] = {"a:b/c@0.2.9", "d:e/f@1.2.3", "g:h/i@0.0.3", "j:k/l"};
    struct comp_linker *linker = comp_linker_create();
    struct report report = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(comp_linker_func(linker, offered[i], "f", "func()", nothing, NULL,
                                          &report), ERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct file f;
        struct comp_component *component;
        struct comp_instance *instance;
        make_importer(&f, cases[i].wanted);
        if (decode(&f, &component, &report))
            fail_msg("%s: %s", cases[i].wanted, report.text);
        enum err err = comp_instance_create(linker, component, NULL, NULL, &instance, &report);
        if ((err == ERR_OK) != cases[i].links)
            fail_msg("%s: %s", cases[i].wanted, report.text);
        if (err)
            assert_non_null(strstr(report.text, cases[i].wanted));
        comp_instance_destroy(instance);
        comp_component_unref(component);
        end(&f);
    }
    comp_linker_destroy(linker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_component_is_one),
        cmocka_unit_test(headers_are_told_apart),
        cmocka_unit_test(cuts_are_refused),
        cmocka_unit_test(async_is_refused_clearly),
        cmocka_unit_test(deep_components_are_refused),
        cmocka_unit_test(deep_types_are_refused),
        cmocka_unit_test(doubling_types_are_refused),
        cmocka_unit_test(instantiation_bombs_end),
        cmocka_unit_test(wit_errors_say_where),
        cmocka_unit_test(versions_link_by_semver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
