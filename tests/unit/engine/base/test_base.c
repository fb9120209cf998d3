/* links: engine/base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/rd.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"

static void first_report_wins(void **state)
{
    (void)state;
    struct report report = {0};
    assert_int_equal(err_set(&report, ERR_IO, "disk %d", 3), ERR_IO);
    assert_int_equal(err_set(&report, ERR_LIMIT, "later"), ERR_LIMIT);
    assert_string_equal(report.text, "disk 3");
    assert_int_equal(err_prefix(&report, "file %s", "x"), ERR_IO);
    assert_string_equal(report.text, "file x: disk 3");
}

static void heap_counts_and_limits(void **state)
{
    (void)state;
    struct mem_heap heap = {.limit_bytes = 100};
    char *a = mem_alloc(&heap, 60);
    assert_non_null(a);
    assert_null(mem_alloc(&heap, 41));
    a = mem_realloc(&heap, a, 100);
    assert_non_null(a);
    assert_null(mem_realloc(&heap, a, 101));
    mem_free(&heap, a);
    assert_int_equal(heap.used_bytes, 0);
    assert_int_equal(heap.peak_bytes, 100);
    assert_null(mem_calloc(&heap, SIZE_MAX / 2, 4));
}

static void failing_allocation(void **state)
{
    (void)state;
    (void)mem_fail_at(2);
    void *a = mem_alloc(NULL, 1);
    assert_non_null(a);
    assert_null(mem_alloc(NULL, 1));
    void *b = mem_alloc(NULL, 1);
    assert_non_null(b);
    assert_int_equal(mem_fail_at(0), 3);
    mem_free(NULL, a);
    mem_free(NULL, b);
}

static void arena_gives_and_forgets(void **state)
{
    (void)state;
    struct mem_heap heap = {0};
    struct arena arena;
    arena_init(&arena, &heap);
    for (size_t i = 0; i < 1000; i++) {
        unsigned char *block = arena_calloc(&arena, i, 3);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        memset(block, 1, i * 3);
    }
    arena_reset(&arena);
    assert_string_equal(arena_strdup(&arena, "pie", 2), "pi");
    arena_deinit(&arena);
    assert_int_equal(heap.used_bytes, 0);
}

static void map_against_array(void **state)
{
    (void)state;
    struct mem_heap heap = {0};
    struct map map;
    static uintptr_t reference[512];
    uint64_t random = 1;
    map_init(&map, &heap);
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t key = (uint32_t)(random >> 40) % 512;
        if (random >> 60 < 6) {
            void *taken = map_take(&map, &key, sizeof key);
            assert_int_equal((uintptr_t)taken, reference[key]);
            reference[key] = 0;
        } else {
            reference[key] = (uintptr_t)i + 1;
            assert_true(map_set(&map, &key, sizeof key, (void *)reference[key]));
        }
    }
    size_t live = 0;
    for (uint32_t key = 0; key < 512; key++) {
        assert_int_equal((uintptr_t)map_find(&map, &key, sizeof key), reference[key]);
        live += reference[key] != 0;
    }
    assert_int_equal(map.count, live);
    size_t at = 0;
    size_t seen = 0;
    while (map_next(&map, &at, NULL, NULL, NULL))
        seen++;
    assert_int_equal(seen, live);
    map_deinit(&map);
    assert_int_equal(heap.used_bytes, 0);
}

static void leb128_limits(void **state)
{
    (void)state;
    struct rd rd = rd_make("\xFF\xFF\xFF\xFF\x0F", 5);
    assert_int_equal(rd_leb_u(&rd, 32), 0xFFFFFFFFu);
    assert_false(rd.failed);
    rd = rd_make("\xFF\xFF\xFF\xFF\x1F", 5);
    (void)rd_leb_u(&rd, 32);
    assert_true(rd.failed);
    rd = rd_make("\x80\x80\x80\x80\x80\x00", 6);
    (void)rd_leb_u(&rd, 32);
    assert_true(rd.failed);
    rd = rd_make("\x80\x80\x80\x80\x78", 5);
    assert_int_equal(rd_leb_s(&rd, 32), INT32_MIN);
    assert_false(rd.failed);
    rd = rd_make("\x80\x80\x80\x80\x70", 5);
    (void)rd_leb_s(&rd, 32);
    assert_true(rd.failed);
    rd = rd_make("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7F", 10);
    assert_true(rd_leb_s(&rd, 64) == INT64_MIN);
    assert_false(rd.failed);
    rd = rd_make("\x7F", 1);
    assert_int_equal(rd_leb_s(&rd, 33), -1);
}

static void reader_stays_inside(void **state)
{
    (void)state;
    struct rd rd = rd_make("abc", 3);
    assert_int_equal(rd_u16(&rd), 'a' | 'b' << 8);
    assert_int_equal(rd_u32(&rd), 0);
    assert_true(rd.failed);
    assert_int_equal(rd_u8(&rd), 0);
    assert_int_equal(rd_left(&rd), 0);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    assert_true(utf8_is_valid("h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10));
    assert_false(utf8_is_valid("\xC0\x80", 2));
    assert_false(utf8_is_valid("\xED\xA0\x80", 3));
    assert_false(utf8_is_valid("\xF4\x90\x80\x80", 4));
    assert_true(utf8_is_prefix("\xF0\x9F", 2));
    assert_false(utf8_is_prefix("\xF0\x41", 2));
    assert_false(utf8_is_prefix("a", 1));
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4];
        size_t at = 0;
        size_t bytes = utf8_put(c, text);
        uint32_t back = utf8_next(text, bytes, &at);
        assert_int_equal(back, c >= 0xD800 && c <= 0xDFFF ? 0xFFFD : c);
        assert_int_equal(at, bytes);
    }
}

static void json_strings(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, NULL);
    assert_true(buf_put_json(&buf, "a\"\\\n\x01\xFF\xC3\xA9", 8));
    assert_string_equal(buf.data, "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xC3\xA9\"");
    buf_deinit(&buf);
}

static void vector_grows(void **state)
{
    (void)state;
    struct {
        uint32_t *items;
        size_t count, capacity;
    } vec = {0};
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(vec_push(NULL, &vec, i));
    assert_int_equal(vec.items[999], 999);
    vec_free(NULL, &vec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_report_wins),  cmocka_unit_test(heap_counts_and_limits),
        cmocka_unit_test(failing_allocation), cmocka_unit_test(arena_gives_and_forgets),
        cmocka_unit_test(map_against_array),  cmocka_unit_test(leb128_limits),
        cmocka_unit_test(reader_stays_inside), cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(json_strings),       cmocka_unit_test(vector_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
