/* links: engine/program
 *
 * The memory of accepted components: what fits is believed, everything else counts as absent, and
 * nothing unsafe comes of believing too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/program/cache.h"
#include "engine/program/program.h"

static char directory[] = "/tmp/pie-cache-XXXXXX";

static void path_of(const struct prog_cache_key *key, char path[300])
{
    (void)snprintf(path, 300, "%s/%016llx%016llx.known", directory,
                   (unsigned long long)key->hash[0], (unsigned long long)key->hash[1]);
}

static void known_after_a_note(void **state)
{
    (void)state;
    uint8_t data[200];
    struct prog_cache_key key, other;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    assert_false(prog_cache_knows(directory, data, sizeof data, &key));
    prog_cache_note(directory, &key);
    assert_true(prog_cache_knows(directory, data, sizeof data, &key));
    /* Every bit and the length count. */
    for (size_t i = 0; i < sizeof data; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1u << bit);
            assert_false(prog_cache_knows(directory, data, sizeof data, &other));
            data[i] ^= (uint8_t)(1u << bit);
        }
    for (size_t count = 0; count < sizeof data; count++)
        assert_false(prog_cache_knows(directory, data, count, &other));
    assert_int_equal(prog_cache_size(directory).files, 1);
    assert_int_equal(prog_cache_clear(directory), 1);
    assert_false(prog_cache_knows(directory, data, sizeof data, &key));
    assert_int_equal(prog_cache_size(directory).files, 0);
}

static void damaged_files_are_ignored(void **state)
{
    (void)state;
    static const uint8_t data[] = "a component";
    struct prog_cache_key key;
    struct report report = {0};
    char path[300], *file;
    size_t bytes;
    assert_false(prog_cache_knows(directory, data, sizeof data, &key));
    prog_cache_note(directory, &key);
    path_of(&key, path);
    assert_int_equal(file_read(path, 1000, NULL, &file, &bytes, &report), ERR_OK);
    for (size_t i = 0; i < bytes; i++) {
        file[i] ^= 0x10;
        assert_int_equal(file_write(path, file, bytes, &report), ERR_OK);
        assert_false(prog_cache_knows(directory, data, sizeof data, &key));
        file[i] ^= 0x10;
        assert_int_equal(file_write(path, file, i, &report), ERR_OK);
        assert_false(prog_cache_knows(directory, data, sizeof data, &key));
    }
    file[bytes] = 'x';
    assert_int_equal(file_write(path, file, bytes + 1, &report), ERR_OK);
    assert_false(prog_cache_knows(directory, data, sizeof data, &key));
    prog_cache_note(directory, &key); /* mends it */
    assert_true(prog_cache_knows(directory, data, sizeof data, &key));
    mem_free(NULL, file);
    assert_int_equal(prog_cache_clear(directory), 1);
}

static void the_directory_stays_small(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < PROG_CACHE_FILES_MAX + 10; i++) {
        char path[300];
        const struct prog_cache_key key = {i, {i, ~i}};
        path_of(&key, path);
        assert_int_equal(access(path, F_OK), -1);
        /* Written here, as syncing a thousand files takes its time. */
        FILE *file = i < PROG_CACHE_FILES_MAX ? fopen(path, "w") : NULL;
        if (file)
            (void)fclose(file);
        else
            prog_cache_note(directory, &key);
    }
    assert_int_equal(prog_cache_size(directory).files, 10);
    assert_int_equal(prog_cache_clear(directory), 10);
}

/* A core module of `padding` bytes with one function, whose body may be wrong. */
static void make_module(struct buf *module, bool is_valid, size_t padding)
{
    static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7F, 3, 2, 1,
                                   0, 7, 5, 1, 1, 'f', 0, 0};
    buf_init(module, NULL);
    buf_append(module, head, sizeof head);
    const uint8_t code[] = {10, 6, 1, 4, 0, is_valid ? 0x41 : 0x42, 7, 0x0B};
    buf_append(module, code, sizeof code);
    uint8_t custom[] = {0, 0x80, 0x80, 0x80, 0, 1, 'x'};
    for (size_t i = 0, rest = padding; i < 4; i++, rest >>= 7)
        custom[1 + i] = (uint8_t)((rest & 0x7F) | (i < 3 ? 0x80 : 0));
    buf_append(module, custom, sizeof custom);
    for (size_t i = 2; i < padding; i++)
        buf_putc(module, (char)i);
    assert_false(module->failed);
}

static enum err load(struct prog_store *store, const struct buf *module)
{
    static const char manifest[] = "[package]\nname = \"p\"\nversion = \"0.1.0\"\n";
    struct prog *prog;
    struct report report = {0};
    enum err err = prog_store_load(store, manifest, sizeof manifest - 1, "Pie.toml",
                                   (const uint8_t *)module->data, module->count, &prog, &report);
    if (err == ERR_OK)
        prog_unref(prog);
    return err;
}

static void stores_use_it(void **state)
{
    (void)state;
    struct prog_store *store;
    struct report report = {0};
    struct buf good, bad;
    struct prog_cache_key key;
    make_module(&good, true, PROG_CACHE_BYTES_MIN);
    make_module(&bad, false, PROG_CACHE_BYTES_MIN);
    assert_int_equal(prog_store_create(NULL, NULL, &store, &report), ERR_OK);
    assert_int_equal(prog_store_set_cache(store, directory, &report), ERR_OK);
    assert_int_equal(load(store, &good), ERR_OK);
    assert_true(prog_cache_knows(directory, (const uint8_t *)good.data, good.count, &key));
    assert_int_equal(load(store, &good), ERR_OK);
    assert_int_equal(load(store, &bad), ERR_INVALID);
    assert_false(prog_cache_knows(directory, (const uint8_t *)bad.data, bad.count, &key));
    /* A lie is believed, as nothing rests on it. */
    prog_cache_note(directory, &key);
    assert_int_equal(load(store, &bad), ERR_OK);
    prog_store_destroy(store);
    assert_int_equal(prog_cache_clear(directory), 2);
    buf_deinit(&good);
    buf_deinit(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_after_a_note),
        cmocka_unit_test(damaged_files_are_ignored),
        cmocka_unit_test(the_directory_stays_small),
        cmocka_unit_test(stores_use_it),
    };
    if (!mkdtemp(directory))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(directory);
    return failed;
}
