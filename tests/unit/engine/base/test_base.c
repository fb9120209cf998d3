/* links: engine/base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/file.h"
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

/* Whatever a file or a guest put into a name, and wherever a message had to be cut: what comes out
 * is UTF-8 and does not steer a terminal. */
static void reports_are_plain_text(void **state)
{
    (void)state;
    struct report report = {0};
    (void)err_set(&report, ERR_INVALID, "name '%s'\n", "a\x1B[2J\xC2\x9B\x7F\xFF\t\xC3\xA9");
    assert_string_equal(report.text, "name 'a?[2J????\t\xC3\xA9'\n");
    for (int shift = 0; shift < 4; shift++) {
        char name[4001] = "";
        for (int i = 0; i < 1000; i++)
            memcpy(name + 4 * i, "\xF0\x9F\x98\x80", 4);
        report = (struct report){0};
        (void)err_set(&report, ERR_INVALID, "%.*s%s", shift, "xxx", name);
        assert_true(utf8_is_valid(report.text, strlen(report.text)));
        assert_int_equal(strlen(report.text), sizeof report.text - 1);
        (void)err_prefix(&report, "%.*s%s", shift, "xxx", name);
        assert_true(utf8_is_valid(report.text, strlen(report.text)));
    }
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

/* Keys of two words, the second chosen so that a hash which folds word after word from a known
 * start comes to the same state for all of them. */
static void hash_collisions_cannot_be_made(void **state)
{
    (void)state;
    enum { KEYS = 1000 };
    static uint64_t hashes[KEYS];
    for (uint64_t i = 0; i < KEYS; i++) {
        uint64_t words[2] = {i};
        unsigned __int128 product =
            (unsigned __int128)(0x9E3779B97F4A7C15u ^ sizeof words ^ i) * 0xD6E8FEB86659FD93u;
        words[1] = (uint64_t)product ^ (uint64_t)(product >> 64);
        hashes[i] = map_hash(words, sizeof words);
        assert_true(hashes[i] == map_hash(words, sizeof words));
        for (uint64_t k = 0; k < i; k++)
            assert_true(hashes[k] != hashes[i]);
    }
    char bytes[32] = {0};
    for (size_t count = 1; count < sizeof bytes; count++)
        for (size_t k = 0; k < count; k++) {
            uint64_t before = map_hash(bytes, count);
            assert_true(before != map_hash(bytes, count - 1));
            bytes[k] = 1;
            assert_true(before != map_hash(bytes, count));
            bytes[k] = 0;
        }
}

/* What a map allocates, and when, depends on the calls alone: limits and failures come at the same
 * point of every run, whatever the hash's seed. */
static void map_growth_ignores_the_hash(void **state)
{
    (void)state;
    enum { WINDOW = 20, KEYS = 1000, ROUNDS = 20 };
    uint64_t expected = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct map map;
        map_init(&map, NULL);
        (void)mem_fail_at(0);
        for (uint32_t i = 0; i < KEYS; i++) {
            uint32_t key[2] = {round, i};
            assert_true(map_set(&map, key, sizeof key, &map));
            key[1] = i - WINDOW;
            if (i >= WINDOW)
                assert_ptr_equal(map_take(&map, key, sizeof key), &map);
        }
        uint64_t allocations = mem_fail_at(0);
        map_deinit(&map);
        if (round == 0)
            expected = allocations;
        assert_int_equal(allocations, expected);
    }
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

static void json_has_no_raw_controls(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, NULL);
    assert_true(buf_put_json(&buf, "\x1B\x7F\xC2\x9B\xC2\xA0", 6));
    assert_string_equal(buf.data, "\"\\u001b\\u007f\\u009b\xC2\xA0\"");
    buf_deinit(&buf);
}

static void folders_are_made(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_base-XXXXXX";
    char path[100];
    struct report report = {0};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a//b/", folder);
    assert_int_equal(file_make_dirs(path, &report), ERR_OK);
    assert_int_equal(file_make_dirs(path, &report), ERR_OK);
    (void)snprintf(path, sizeof path, "%s/a/b/file", folder);
    assert_int_equal(file_write(path, "x", 1, &report), ERR_OK);
    assert_int_equal(file_make_dirs(path, &report), ERR_IO);
    assert_non_null(strstr(report.text, "cannot create folder"));
    assert_int_equal(unlink(path), 0);
    for (int depth = 2; depth >= 0; depth--) {
        (void)snprintf(path, sizeof path, "%s%.*s", folder, 2 * depth, "/a/b");
        assert_int_equal(rmdir(path), 0);
    }
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
        cmocka_unit_test(reports_are_plain_text),
        cmocka_unit_test(hash_collisions_cannot_be_made),
        cmocka_unit_test(map_growth_ignores_the_hash),
        cmocka_unit_test(json_has_no_raw_controls), cmocka_unit_test(folders_are_made),
        cmocka_unit_test(first_report_wins),  cmocka_unit_test(heap_counts_and_limits),
        cmocka_unit_test(failing_allocation), cmocka_unit_test(arena_gives_and_forgets),
        cmocka_unit_test(map_against_array),  cmocka_unit_test(leb128_limits),
        cmocka_unit_test(reader_stays_inside), cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(json_strings),       cmocka_unit_test(vector_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
