/* links: models
 * GGUF writing and reading, and what both say about broken files. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

static void make_file(struct buf *out, uint32_t alignment)
{
    static const struct gguf_string strings[3] = {{"one", 3}, {"", 0}, {"a\0b", 3}};
    static const int32_t numbers[3] = {-1, 2, 3};
    static const float weights[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t q8[34] = {0, 0x3C, 1, 2, 3};
    struct gguf_writer *writer = gguf_writer_create();
    struct report report = {0};
    gguf_writer_put_string(writer, "general.architecture", "test", 4);
    if (alignment)
        gguf_writer_put_u32(writer, "general.alignment", alignment);
    gguf_writer_put_u32(writer, "u32", 4000000000u);
    gguf_writer_put_f32(writer, "f32", 0.25f);
    gguf_writer_put_bool(writer, "bool", true);
    gguf_writer_put_strings(writer, "strings", strings, 3);
    gguf_writer_put_array(writer, "numbers", GGUF_I32, numbers, 3);
    gguf_writer_put_array(writer, "empty", GGUF_F32, numbers, 0);
    gguf_writer_add_tensor(writer, "w", GGUF_TENSOR_F32, (uint64_t[]){3, 2}, 2, weights);
    gguf_writer_add_tensor(writer, "q", GGUF_TENSOR_Q8_0, (uint64_t[]){32}, 1, q8);
    buf_init(out, NULL);
    assert_int_equal(gguf_writer_finish(writer, out, &report), ERR_OK);
    gguf_writer_destroy(writer);
}

static void round_trip(void **state)
{
    (void)state;
    struct buf bytes;
    struct gguf *file;
    struct report report = {0};
    make_file(&bytes, 0);
    assert_int_equal(gguf_open_memory((uint8_t *)bytes.data, bytes.count, &file, &report), ERR_OK);
    uint32_t u = 1;
    float f = 0;
    bool b = false;
    struct gguf_string s;
    assert_true(gguf_get_u32(file, "u32", &u) && u == 4000000000u);
    assert_true(gguf_get_f32(file, "f32", &f) && f == 0.25f);
    assert_true(gguf_get_bool(file, "bool", &b) && b);
    assert_true(gguf_get_string(file, "general.architecture", &s) && s.bytes == 4);
    assert_false(gguf_get_u32(file, "f32", &u));
    assert_false(gguf_get_f32(file, "u32", &f));
    assert_false(gguf_get_string(file, "nothing", &s));
    const struct gguf_value *strings = gguf_find(file, "strings");
    assert_int_equal(strings->of.array.count, 3);
    assert_memory_equal(strings->of.array.strings[2].data, "a\0b", 3);
    const struct gguf_value *numbers = gguf_find(file, "numbers");
    int32_t first;
    memcpy(&first, numbers->of.array.data, 4);
    assert_int_equal(first, -1);
    assert_int_equal(gguf_find(file, "empty")->of.array.count, 0);
    assert_int_equal(gguf_value_count(file), 7);
    assert_int_equal(gguf_tensor_count(file), 2);
    const struct gguf_tensor *w = gguf_find_tensor(file, "w");
    assert_int_equal(w->dims[0], 3);
    assert_int_equal(w->dims[1], 2);
    assert_int_equal(w->dims[2], 1);
    assert_int_equal(w->bytes, 24);
    float last;
    memcpy(&last, w->data + 20, 4);
    assert_true(last == 6);
    assert_int_equal(gguf_find_tensor(file, "q")->bytes, 34);
    assert_null(gguf_find_tensor(file, "x"));
    assert_int_equal(gguf_file_bytes(file), bytes.count);
    gguf_close(file);
    buf_deinit(&bytes);
}

static void every_cut_is_an_error(void **state)
{
    (void)state;
    struct buf bytes;
    struct gguf *file;
    size_t used = mem_used_bytes();
    make_file(&bytes, 0);
    for (size_t count = 0; count < bytes.count - 30; count++) {
        struct report report = {0};
        uint8_t *copy = malloc(count ? count : 1); /* ASan sees a read past the cut */
        memcpy(copy, bytes.data, count);
        assert_int_not_equal(gguf_open_memory(copy, count, &file, &report), ERR_OK);
        assert_true(report.text[0] != '\0');
        free(copy);
    }
    buf_deinit(&bytes);
    assert_int_equal(mem_used_bytes(), used);
}

/* Replaces the first occurrence of `find` and opens the file. */
static void expect_error(const char *find, const char *replace, size_t count, enum err err,
                         const char *says)
{
    struct buf bytes;
    struct gguf *file;
    struct report report = {0};
    make_file(&bytes, 32);
    char *at = memmem(bytes.data, bytes.count, find, count);
    assert_non_null(at);
    memcpy(at, replace, count);
    assert_int_equal(gguf_open_memory((uint8_t *)bytes.data, bytes.count, &file, &report), err);
    if (!strstr(report.text, says))
        fail_msg("'%s' does not say '%s'", report.text, says);
    buf_deinit(&bytes);
}

static void errors_say_what_and_where(void **state)
{
    (void)state;
    expect_error("GGUF", "GGUX", 4, ERR_INVALID, "does not begin with 'GGUF'");
    expect_error("GGUF\3", "GGUF\1", 5, ERR_UNSUPPORTED, "version 1");
    expect_error("GGUF\3\0\0\0", "GGUF\0\0\0\3", 8, ERR_UNSUPPORTED, "big-endian");
    expect_error("u32", "f32", 3, ERR_INVALID, "'f32' appears twice");
    expect_error("\1\0\0\0\0\0\0\0w", "\1\0\0\0\0\0\0\0q", 9, ERR_INVALID, "'q' appears twice");
    expect_error("w\2\0\0\0", "w\5\0\0\0", 5, ERR_INVALID, "'w' has 5 dimensions");
    expect_error("w\2\0\0\0\3", "w\2\0\0\0\0", 6, ERR_INVALID, "dimension 0 is 0");
    expect_error("w\2\0\0\0\3\0\0\0\0\0\0\0", "w\2\0\0\0\3\0\0\0\0\0\0\xF0", 13, ERR_INVALID,
                 "'w'");
    expect_error("q\1\0\0\0\x20", "q\1\0\0\0\x21", 6, ERR_INVALID, "multiple of 32");
    expect_error("q\1\0\0\0\x20", "q\1\0\0\0\x60", 6, ERR_INVALID, "cut off");
    expect_error("numbers\11\0\0\0\5", "numbers\11\0\0\0\11", 12, ERR_INVALID, "element type 9");
    expect_error("bool\7\0\0\0", "bool\15\0\0\0", 8, ERR_INVALID, "value type 13");
    expect_error("alignment\4\0\0\0\40", "alignment\4\0\0\0\3", 14, ERR_INVALID, "power of two");
    expect_error("alignment\4\0\0\0\40", "alignment\4\0\0\0\4", 14, ERR_INVALID, "power of two");
    expect_error("strings\11\0\0\0\10\0\0\0\3\0\0\0\0\0\0\0", "strings\11\0\0\0\10\0\0\0\3\0\0\0\0\0\0\1",
                 23, ERR_INVALID, "array of strings");
}

static void unknown_tensor_types_are_named(void **state)
{
    (void)state;
    expect_error("q\1\0\0\0\x20\0\0\0\0\0\0\0\x8", "q\1\0\0\0\x20\0\0\0\0\0\0\0\x63", 14,
                 ERR_UNSUPPORTED, "element format 99");
    assert_null(gguf_tensor_type_name((enum gguf_tensor_type)4));
    assert_string_equal(gguf_tensor_type_name(GGUF_TENSOR_Q4_K), "Q4_K");
    assert_int_equal(gguf_tensor_type_bytes(GGUF_TENSOR_Q4_K, 512), 288);
    assert_int_equal(gguf_tensor_type_bytes(GGUF_TENSOR_Q4_K, 300), 0);
}

static void out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct buf bytes;
    make_file(&bytes, 0);
    size_t used = mem_used_bytes();
    for (uint64_t nth = 1;; nth++) {
        struct gguf *file;
        struct report report = {0};
        (void)mem_fail_at(nth);
        enum err err = gguf_open_memory((uint8_t *)bytes.data, bytes.count, &file, &report);
        (void)mem_fail_at(0);
        if (!err) {
            gguf_close(file);
            assert_true(nth > 5);
            break;
        }
        assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(mem_used_bytes(), used);
    }
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_cut_is_an_error),
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(unknown_tensor_types_are_named),
        cmocka_unit_test(out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
