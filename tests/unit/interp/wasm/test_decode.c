/* links: interp/wasm
 *
 * Decoder and validator beside the official suite: error sentences, limits, sizes, hostile bytes,
 * memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "interp/wasm/limits.h"
#include "interp/wasm/module.h"
#include "interp/wasm/objdump.h"
#include "interp/wasm/opcodes.h"

/* ---- writing modules --------------------------------------------------------------------- */

static void put_u32(struct buf *out, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(out, (char)(value | 0x80));
    buf_putc(out, (char)value);
}

static void put_bytes(struct buf *out, const char *bytes, size_t count)
{
    buf_append(out, bytes, count);
}

/* A section with the contents of `body`, which is emptied. */
static void put_section(struct buf *out, uint8_t id, struct buf *body)
{
    buf_putc(out, (char)id);
    put_u32(out, (uint32_t)body->count);
    put_bytes(out, body->data ? body->data : "", body->count);
    buf_clear(body);
}

#define PUT(out, text) put_bytes((out), (text), sizeof(text) - 1)

static void header(struct buf *out, struct buf *body)
{
    buf_init(out, NULL);
    buf_init(body, NULL);
    PUT(out, "\0asm\1\0\0\0");
}

/* One type [] -> [], one function of it, whose body (declarations included) is given. */
static struct buf one_function(const char *code, size_t bytes)
{
    struct buf out, body;
    header(&out, &body);
    PUT(&body, "\1\x60\0\0");
    put_section(&out, 1, &body);
    PUT(&body, "\1\0");
    put_section(&out, 3, &body);
    put_u32(&body, 1);
    put_u32(&body, (uint32_t)bytes);
    put_bytes(&body, code, bytes);
    put_section(&out, 10, &body);
    buf_deinit(&body);
    return out;
}

static enum err create(const struct buf *bytes, struct wasm_module **module, struct report *report)
{
    *report = (struct report){0};
    enum err err =
        wasm_module_create((const uint8_t *)bytes->data, bytes->count, module, report);
    assert_int_equal(err, report->code);
    assert_true((err == ERR_OK) == (*module != NULL));
    return err;
}

/* Frees `bytes`. */
static void expect(struct buf bytes, enum err wanted, const char *words)
{
    struct wasm_module *module;
    struct report report;
    enum err err = create(&bytes, &module, &report);
    if (err != wanted || (words && !strstr(report.text, words)))
        fail_msg("%s: '%s', wanted %s with '%s'", err_name(err), report.text, err_name(wanted),
                 words ? words : "");
    wasm_module_unref(module);
    buf_deinit(&bytes);
}

#define EXPECT_BODY(code, wanted, words) expect(one_function(code, sizeof(code) - 1), wanted, words)

/* A module with a bit of everything, names included. */
static struct buf rich_module(void)
{
    struct buf out, body;
    header(&out, &body);
    PUT(&body, "\3" "\x60\2\x7f\x7e\1\x7d" "\x60\0\0" "\x60\0\2\x7f\x7f");
    put_section(&out, 1, &body);
    PUT(&body, "\2" "\3env\3add\0\0" "\3env\1g\3\x7f\0");
    put_section(&out, 2, &body);
    PUT(&body, "\2\1\2");
    put_section(&out, 3, &body);
    PUT(&body, "\1\x70\1\2\x10");
    put_section(&out, 4, &body);
    PUT(&body, "\1\1\1\2");
    put_section(&out, 5, &body);
    PUT(&body, "\1\x7f\1\x23\0\x0b");
    put_section(&out, 6, &body);
    PUT(&body, "\2" "\2go\0\1" "\3mem\2\0");
    put_section(&out, 7, &body);
    PUT(&body, "\1");
    put_section(&out, 8, &body);
    PUT(&body, "\1\0\x41\0\x0b\2\0\1");
    put_section(&out, 9, &body);
    PUT(&body, "\1");
    put_section(&out, 12, &body);
    PUT(&body, "\2"
               "\x16\1\1\x7f\2\x40\x41\1\x41\2\x6a\x21\0\x20\0\x0d\0\x10\2\x1a\x1a\x0b\x0b"
               "\6\0\x41\7\x41\x7f\x0b");
    put_section(&out, 10, &body);
    PUT(&body, "\1\0\x41\x08\x0b\5hello");
    put_section(&out, 11, &body);
    PUT(&body, "\4name" "\0\2\1m" "\1\x0c\2\1\5start\2\2pq");
    put_section(&out, 0, &body);
    PUT(&body, "\5extra\1\2\3");
    put_section(&out, 0, &body);
    buf_deinit(&body);
    return out;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void test_rich_module(void **state)
{
    (void)state;
    struct buf bytes = rich_module();
    struct wasm_module *m;
    struct report report;
    if (create(&bytes, &m, &report) != ERR_OK)
        fail_msg("%s", report.text);
    assert_int_equal(wasm_module_import_count(m), 2);
    const struct wasm_import *import = wasm_module_import(m, 0);
    assert_string_equal(import->module, "env");
    assert_string_equal(import->name, "add");
    assert_int_equal(import->type.kind, WASM_FUNC);
    assert_int_equal(import->type.func.param_count, 2);
    assert_int_equal(import->type.func.params[1], WASM_I64);
    assert_int_equal(import->type.func.results[0], WASM_F32);
    assert_null(wasm_module_import(m, 2));
    assert_int_equal(wasm_module_export_count(m), 2);
    const struct wasm_export *export = wasm_module_find_export(m, "mem", 3);
    assert_non_null(export);
    assert_int_equal(export->type.limits.max, 2);
    assert_null(wasm_module_find_export(m, "me", 2));
    const uint8_t *data;
    size_t count;
    assert_true(wasm_module_custom_section(m, "extra", 0, &data, &count));
    assert_int_equal(count, 3);
    assert_false(wasm_module_custom_section(m, "extra", 1, &data, &count));
    assert_int_equal(m->func_count, 3);
    assert_string_equal(m->func_names[1], "start");
    assert_string_equal(m->func_names[2], "pq");
    assert_null(m->func_names[0]);
    assert_int_equal(m->funcs[1].stack_max, 2);
    assert_int_equal(m->funcs[1].label_max, 2);
    assert_int_equal(m->funcs[1].local_count, 1);
    assert_true(m->funcs[1].is_declared);
    assert_true(m->has_start);
    wasm_module_ref(m);
    wasm_module_unref(m);
    wasm_module_unref(m);
    buf_deinit(&bytes);
}

static void test_sentences(void **state)
{
    (void)state;
    EXPECT_BODY("\0\x41\1\x0b", ERR_INVALID, "function 0 at offset 0x19: end: type mismatch: 1 more");
    EXPECT_BODY("\0\x41\1\x42\1\x6a\x1a\x0b", ERR_INVALID,
                "i32.add: type mismatch: expected i32, found i64");
    EXPECT_BODY("\0\x6a\x1a\x0b", ERR_INVALID, "i32.add: type mismatch: expected i32, found nothing");
    EXPECT_BODY("\0\x20\0\x1a\x0b", ERR_INVALID, "local.get: unknown local 0");
    EXPECT_BODY("\0\x0c\1\x0b", ERR_INVALID, "unknown label 1");
    EXPECT_BODY("\0\x10\1\x0b", ERR_INVALID, "unknown function 1");
    EXPECT_BODY("\0\x27\x0b", ERR_INVALID, "illegal opcode");
    EXPECT_BODY("\0\xfc\x12\x0b", ERR_INVALID, "illegal opcode");
    EXPECT_BODY("\0\xfd\x9a\x01\x0b", ERR_INVALID, "illegal opcode");
    EXPECT_BODY("\0\xfd\xff\xff\xff\xff\x0f\x0b", ERR_INVALID, "illegal opcode");
    EXPECT_BODY("\0\x0b\x0b", ERR_INVALID, "END opcode expected");
    EXPECT_BODY("\0\x01", ERR_INVALID, "unexpected end");
    EXPECT_BODY("\0\xfe\x10\x00\x00\x0b", ERR_UNSUPPORTED, "threads");
    EXPECT_BODY("\0\x06\x40\x0b\x0b", ERR_UNSUPPORTED, "legacy exception");
    EXPECT_BODY("\0\xfb\x00\x00\x0b", ERR_INVALID, "type 0 is no structure type");
    EXPECT_BODY("\0\x41\x80\x80\x80\x80\x70\x1a\x0b", ERR_INVALID, "integer too large");
    EXPECT_BODY("\0\x41\xff\xff\xff\xff\x7f\x1a\x0b", ERR_OK, NULL);
    EXPECT_BODY("\1\xff\xff\xff\xff\x0f\x7f\x0b", ERR_LIMIT, "4294967295 locals");
    EXPECT_BODY("\2\xff\xff\xff\xff\x0f\x7f\1\x7e\x0b", ERR_INVALID, "too many locals");

    struct buf out, body;
    header(&out, &body);
    buf_clear(&out);
    PUT(&out, "GGUF....");
    expect(out, ERR_INVALID, "not a WebAssembly file");
    header(&out, &body);
    buf_clear(&out);
    PUT(&out, "\0asm\x0d\0\1\0");
    expect(out, ERR_INVALID, "but a component");
}

/* A `name` section full of nonsense is no error. */
static void test_name_garbage(void **state)
{
    (void)state;
    struct buf whole = rich_module();
    size_t at = 0;
    for (size_t i = 0; i + 4 < whole.count; i++)
        if (memcmp(whole.data + i, "name", 4) == 0)
            at = i + 4;
    assert_true(at > 0);
    for (size_t i = at; i < at + 18; i++) {
        for (unsigned value = 0; value < 256; value++) {
            struct wasm_module *m;
            struct report report;
            char kept = whole.data[i];
            whole.data[i] = (char)value;
            assert_int_equal(create(&whole, &m, &report), ERR_OK);
            wasm_module_unref(m);
            whole.data[i] = kept;
        }
    }
    buf_deinit(&whole);
}

/* Every cut and every flipped bit: an answer, never a crash; a cut is never accepted unless it
 * falls between sections. */
static void test_hostile(void **state)
{
    (void)state;
    struct buf whole = rich_module();
    struct wasm_module *m;
    struct report report;
    size_t full = whole.count;
    for (whole.count = 0; whole.count < full; whole.count++)
        if (create(&whole, &m, &report) == ERR_OK)
            wasm_module_unref(m);
    for (size_t bit = 0; bit < 8 * full; bit++) {
        whole.data[bit / 8] ^= (char)(1 << bit % 8);
        if (create(&whole, &m, &report) == ERR_OK)
            wasm_module_unref(m);
        whole.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_deinit(&whole);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    struct buf whole = rich_module();
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1;; nth++) {
        struct wasm_module *m;
        struct report report;
        (void)mem_fail_at(nth);
        enum err err = create(&whole, &m, &report);
        uint64_t used = mem_fail_at(0);
        wasm_module_unref(m);
        assert_int_equal(mem_used_bytes(), before);
        if (err == ERR_OK && used < nth)
            break;
        assert_true(err == ERR_OK || err == ERR_MEMORY);
        assert_true(nth < 1000);
    }
    buf_deinit(&whole);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    struct buf code;
    buf_init(&code, NULL);
    buf_putc(&code, 0);
    for (int i = 0; i < DEPTH; i++)
        PUT(&code, "\x02\x40");
    for (int i = 0; i <= DEPTH; i++)
        buf_putc(&code, 0x0b);
    struct buf bytes = one_function(code.data, code.count);
    struct wasm_module *m;
    struct report report;
    assert_int_equal(create(&bytes, &m, &report), ERR_OK);
    assert_int_equal(m->funcs[0].label_max, DEPTH + 1);
    wasm_module_unref(m);
    buf_deinit(&bytes);
    buf_deinit(&code);
}

static void test_huge_br_table(void **state)
{
    (void)state;
    enum { LABELS = 1000000 };
    struct buf code;
    buf_init(&code, NULL);
    PUT(&code, "\0\x41\0\x0e");
    put_u32(&code, LABELS);
    for (int i = 0; i <= LABELS; i++)
        buf_putc(&code, 0);
    buf_putc(&code, 0x0b);
    expect(one_function(code.data, code.count), ERR_OK, NULL);
    /* A count that the body cannot hold is refused before anything is walked. */
    buf_deinit(&code);
    EXPECT_BODY("\0\x41\0\x0e\xff\xff\xff\xff\x0f\0\x0b", ERR_INVALID, "unexpected end");
}

static void test_many_locals(void **state)
{
    (void)state;
    struct buf code;
    buf_init(&code, NULL);
    PUT(&code, "\2");
    put_u32(&code, 99999);
    PUT(&code, "\x7f");
    put_u32(&code, 1);
    PUT(&code, "\x7b\x20");
    put_u32(&code, 99999);
    PUT(&code, "\xfd\x53\x1a\x0b"); /* v128.any_true */
    struct buf bytes = one_function(code.data, code.count);
    struct wasm_module *m;
    struct report report;
    assert_int_equal(create(&bytes, &m, &report), ERR_OK);
    assert_int_equal(m->funcs[0].local_count, 100000);
    assert_int_equal(m->funcs[0].local_types[99998], WASM_I32);
    assert_int_equal(m->funcs[0].local_types[99999], WASM_V128);
    wasm_module_unref(m);
    buf_deinit(&bytes);
    buf_deinit(&code);
}

/* `count` functions, each with `locals` declared. */
static struct buf many_functions(uint32_t count, uint32_t locals)
{
    struct buf out, body, one;
    header(&out, &body);
    PUT(&body, "\1\x60\0\0");
    put_section(&out, 1, &body);
    put_u32(&body, count);
    for (uint32_t i = 0; i < count; i++)
        buf_putc(&body, 0);
    put_section(&out, 3, &body);
    buf_init(&one, NULL);
    if (locals) {
        PUT(&one, "\1");
        put_u32(&one, locals);
        PUT(&one, "\x7f\x0b");
    } else {
        PUT(&one, "\0\x0b");
    }
    put_u32(&body, count);
    for (uint32_t i = 0; i < count; i++) {
        put_u32(&body, (uint32_t)one.count);
        put_bytes(&body, one.data, one.count);
    }
    put_section(&out, 10, &body);
    buf_deinit(&one);
    buf_deinit(&body);
    return out;
}

static void test_many_functions(void **state)
{
    (void)state;
    expect(many_functions(1000000, 0), ERR_OK, NULL);
    expect(many_functions(1000001, 0), ERR_LIMIT, "1000001 functions");
    /* 300 KB that would become 10^10 bytes of locals. */
    expect(many_functions(40000, 240000), ERR_LIMIT, "more locals in all");
}

/* 2 bytes of code must not be able to stand for 1,000 operands without end. */
static void test_stack_bound(void **state)
{
    (void)state;
    struct buf out, body;
    header(&out, &body);
    PUT(&body, "\1\x60\0");
    put_u32(&body, 1000);
    for (int i = 0; i < 1000; i++)
        buf_putc(&body, 0x7f);
    put_section(&out, 1, &body);
    PUT(&body, "\1\0");
    put_section(&out, 3, &body);
    put_u32(&body, 1);
    put_u32(&body, 1 + 2 * 4000 + 2);
    buf_putc(&body, 0);
    for (int i = 0; i < 4000; i++)
        PUT(&body, "\x10\0");
    PUT(&body, "\x00\x0b");
    put_section(&out, 10, &body);
    buf_deinit(&body);
    expect(out, ERR_LIMIT, "operands on the stack");
}

static void test_opcode_table(void **state)
{
    (void)state;
    unsigned count = 0;
    for (unsigned i = 0; i < WASM_OP_COUNT; i++) {
        const struct wasm_op_info *info = &wasm_op_infos[i];
        if (!info->name)
            continue;
        count++;
        for (const char *p = info->operands; *p; p++)
            assert_true(*p == '*' || *p == 'a' || wasm_op_letter_type(*p) != 0);
        assert_true(strlen(info->operands) < sizeof info->operands);
    }
    assert_int_equal(count, 499);
    assert_string_equal(wasm_op_infos[WASM_OP_I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S].name,
                        "i32x4.relaxed_dot_i8x16_i7x16_add_s");
    assert_string_equal(wasm_op_infos[WASM_OP_I64_EXTEND32_S].name, "i64.extend32_s");
}

/* Names are for people: they reach terminals in messages and dumps. */
static void test_names_are_clean(void **state)
{
    (void)state;
    struct buf out, body;
    struct wasm_module *m;
    struct report report;
    header(&out, &body);
    PUT(&body, "\1\x60\0\0");
    put_section(&out, 1, &body);
    PUT(&body, "\1\0");
    put_section(&out, 3, &body);
    PUT(&body, "\1\2\0\x0b");
    put_section(&out, 10, &body);
    PUT(&body, "\4name\1\x0a\1\0\7\x1b[2J\xc2\x9b\0");
    put_section(&out, 0, &body);
    assert_int_equal(create(&out, &m, &report), ERR_OK);
    assert_string_equal(m->func_names[0], "?[2J???");
    wasm_module_unref(m);
    buf_deinit(&out);
    buf_deinit(&body);
}

static void test_operand_limit(void **state)
{
    (void)state;
    for (uint32_t extra = 0; extra < 2; extra++) {
        struct buf body;
        struct wasm_module *m;
        struct report report;
        buf_init(&body, NULL);
        buf_putc(&body, 0);
        for (uint32_t i = 0; i < WASM_STACK_MAX + extra; i++)
            PUT(&body, "\x41\0");
        PUT(&body, "\0\x0b");
        struct buf bytes = one_function(body.data, body.count);
        assert_int_equal(create(&bytes, &m, &report), extra ? ERR_LIMIT : ERR_OK);
        wasm_module_unref(m);
        buf_deinit(&bytes);
        buf_deinit(&body);
    }
}

static void test_objdump(void **state)
{
    (void)state;
    static const char sections[] =
        "type 0 (i32 i64) -> (f32)\n"
        "type 1 () -> ()\n"
        "type 2 () -> (i32 i32)\n"
        "import 0 \"env\" \"add\" func (i32 i64) -> (f32)\n"
        "import 0 \"env\" \"g\" global i32\n"
        "table 0 funcref 2..16\n"
        "memory 0 1..2\n"
        "global 1 mut i32 = global.get 0\n"
        "export \"go\" = 1 func () -> ()\n"
        "export \"mem\" = 0 memory 1..2\n"
        "start 1 <start>\n"
        "elem 0 (ref func)[2] table 0 at i32.const 0: 0 1\n"
        "data 0 5 bytes memory 0 at i32.const 8: hello\n"
        "custom \"name\" 18 bytes\n"
        "custom \"extra\" 3 bytes\n";
    static const char code[] =
        "func 0 type 0 (i32 i64) -> (f32) imported\n"
        "func 1 <start> type 1 () -> ()\n"
        "          locals i32\n"
        "0000006e:   block\n"
        "00000070:     i32.const 1\n"
        "00000072:     i32.const 2\n"
        "00000074:     i32.add\n"
        "00000075:     local.set 0\n"
        "00000077:     local.get 0\n"
        "00000079:     br_if 0\n"
        "0000007b:     call 2 <pq>\n"
        "0000007d:     drop\n"
        "0000007e:     drop\n"
        "0000007f:   end\n"
        "00000080: end\n"
        "func 2 <pq> type 2 () -> (i32 i32)\n"
        "00000083:   i32.const 7\n"
        "00000085:   i32.const -1\n"
        "00000087: end\n";
    struct buf bytes = rich_module(), out;
    struct wasm_module *m;
    struct report report;
    assert_int_equal(create(&bytes, &m, &report), ERR_OK);
    buf_init(&out, NULL);
    assert_true(wasm_objdump_sections(m, &out));
    assert_string_equal(out.data, sections);
    buf_clear(&out);
    for (uint32_t i = 0; i < wasm_objdump_func_count(m); i++)
        assert_true(wasm_objdump_func(m, i, &out));
    assert_string_equal(out.data, code);
    buf_deinit(&out);
    wasm_module_unref(m);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rich_module),    cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_names_are_clean), cmocka_unit_test(test_operand_limit),
        cmocka_unit_test(test_name_garbage),   cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_memory_runs_out), cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_huge_br_table),  cmocka_unit_test(test_many_locals),
        cmocka_unit_test(test_many_functions), cmocka_unit_test(test_stack_bound),
        cmocka_unit_test(test_opcode_table),   cmocka_unit_test(test_objdump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
