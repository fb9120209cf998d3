/* links: interp/wasm
 *
 * Initial memory contents of large modules, which instances map instead of copying: whatever a
 * guest can see must be as if every data segment had been run, one by one, in order. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "interp/wasm/code.h"

enum { PAGE = 65536, PAGES = 20, LARGE = 200000 };

/* ---- modules ----------------------------------------------------------------------------- */

struct segment {
    bool passive;
    uint32_t global; /* 1 + the global that is the offset; 0: the constant `at` */
    uint32_t at, bytes;
    uint8_t fill; /* the bytes are fill, fill + 1, … */
};

static uint8_t fill_byte(const struct segment *segment, uint32_t i)
{
    return (uint8_t)(segment->fill + i % 251);
}

static void put(struct buf *out, uint8_t byte)
{
    assert_true(buf_append(out, &byte, 1));
}

static void put_all(struct buf *out, const char *bytes, size_t count)
{
    assert_true(buf_append(out, bytes, count));
}
#define PUT(out, text) put_all((out), (text), sizeof(text) - 1)

static void leb(struct buf *out, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        put(out, (uint8_t)(value | 0x80));
    put(out, (uint8_t)value);
}

static void leb_signed(struct buf *out, int32_t value)
{
    for (; value < -64 || value > 63; value >>= 7)
        put(out, (uint8_t)((value & 0x7F) | 0x80));
    put(out, (uint8_t)(value & 0x7F));
}

static void section(struct buf *out, uint8_t id, struct buf *part)
{
    put(out, id);
    leb(out, (uint32_t)part->count);
    assert_true(buf_append(out, part->data, part->count));
    buf_clear(part);
}

enum import { IMPORT_NONE, IMPORT_TABLE, IMPORT_MEMORY, IMPORT_GLOBAL };

/* One memory of PAGES to 2 * PAGES pages, exported as "m"; "load" (i32) -> i32 reads a byte and
 * "init" (segment 0 from its byte 0: address, count) runs memory.init. An imported table gets
 * "load" as its element 0. */
static struct wasm_module *module_of(enum import import, const struct segment *segments,
                                     uint32_t count)
{
    struct buf module, part;
    buf_init(&module, NULL);
    buf_init(&part, NULL);
    PUT(&module, "\0asm\1\0\0\0");
    PUT(&part, "\2\x60\1\x7F\1\x7F\x60\2\x7F\x7F\0");
    section(&module, 1, &part);
    if (import == IMPORT_TABLE)
        PUT(&part, "\1\1h\1t\1\x70\0\1");
    else if (import == IMPORT_MEMORY)
        PUT(&part, "\1\1h\1m\2\1\x14\x28");
    else if (import == IMPORT_GLOBAL)
        PUT(&part, "\1\1h\1g\3\x7F\0");
    if (import != IMPORT_NONE)
        section(&module, 2, &part);
    PUT(&part, "\2\0\1");
    section(&module, 3, &part);
    if (import != IMPORT_MEMORY) {
        PUT(&part, "\1\1\x14\x28");
        section(&module, 5, &part);
    }
    PUT(&part, "\3\1m\2\0\4load\0\0\4init\0\1");
    section(&module, 7, &part);
    if (import == IMPORT_TABLE) {
        PUT(&part, "\1\0\x41\0\x0B\1\0");
        section(&module, 9, &part);
    }
    leb(&part, count);
    section(&module, 12, &part);
    PUT(&part, "\2\7\0\x20\0\x2D\0\0\x0B\x0C\0\x20\0\x41\0\x20\1\xFC\x08\0\0\x0B");
    section(&module, 10, &part);
    leb(&part, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct segment *segment = &segments[i];
        put(&part, segment->passive ? 1 : 0);
        if (!segment->passive) {
            put(&part, segment->global ? 0x23 : 0x41);
            if (segment->global)
                leb(&part, segment->global - 1);
            else
                leb_signed(&part, (int32_t)segment->at);
            put(&part, 0x0B);
        }
        leb(&part, segment->bytes);
        for (uint32_t k = 0; k < segment->bytes; k++)
            put(&part, fill_byte(segment, k));
    }
    section(&module, 11, &part);
    struct report report = {0};
    struct wasm_module *result;
    if (wasm_module_create((const uint8_t *)module.data, module.count, &result, &report) != ERR_OK)
        fail_msg("%s", report.text);
    buf_deinit(&module);
    buf_deinit(&part);
    return result;
}

/* ---- instances --------------------------------------------------------------------------- */

struct world {
    struct wasm_store *store;
    struct wasm_instance *instance;
};

static struct world open_one(struct wasm_module *module)
{
    struct world world;
    struct report report = {0};
    assert_int_equal(wasm_store_create(NULL, &world.store, NULL), ERR_OK);
    if (wasm_instance_create(world.store, module, NULL, 0, &world.instance, &report) != ERR_OK)
        fail_msg("%s", report.text);
    assert_int_equal(wasm_store_memory_bytes(world.store), PAGES * PAGE);
    return world;
}

/* An instance that is not the module's first, which always copies. */
static struct world open_world(struct wasm_module *module)
{
    wasm_store_destroy(open_one(module).store);
    return open_one(module);
}

static struct wasm_extern exported(struct wasm_instance *instance, const char *name)
{
    struct wasm_extern found;
    assert_true(wasm_instance_export(instance, name, strlen(name), &found));
    return found;
}

static enum wasm_run call(struct wasm_store *store, struct wasm_func *func, uint32_t a, uint32_t b,
                          uint32_t *result)
{
    struct wasm_thread *thread;
    assert_int_equal(wasm_thread_create(store, &thread), ERR_OK);
    union wasm_value args[2] = {{.i32 = a}, {.i32 = b}};
    assert_int_equal(wasm_thread_call(thread, func, args), ERR_OK);
    enum wasm_run run = wasm_thread_run(thread, 1000000);
    if (run == WASM_RUN_DONE && wasm_func_type(func)->result_count)
        *result = wasm_thread_result(thread)->i32;
    wasm_thread_destroy(thread);
    return run;
}

/* Whether the memory is what running the segments in order makes of zeros. */
static bool is_initial(struct wasm_instance *instance, const struct segment *segments,
                       uint32_t count)
{
    static __thread uint8_t expected[PAGES * PAGE];
    const struct wasm_memory *memory = exported(instance, "m").of.memory;
    memset(expected, 0, sizeof expected);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; !segments[i].passive && k < segments[i].bytes; k++)
            expected[segments[i].at + k] = fill_byte(&segments[i], k);
    return wasm_memory_bytes(memory) == sizeof expected &&
           memcmp(wasm_memory_data(memory), expected, sizeof expected) == 0;
}

/* Lines of /proc/self/maps, and how many of them are images. */
static unsigned mappings(unsigned *images)
{
    unsigned count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    *images = 0;
    if (!maps)
        return 0;
    while (fgets(line, sizeof line, maps)) {
        count++;
        *images += strstr(line, "wasm memory image") != NULL;
    }
    fclose(maps);
    return count;
}

/* ---- tests ------------------------------------------------------------------------------- */

/* Overlapping, empty, unaligned, up to the last byte, and a passive one. */
static const struct segment large[] = {
    {.passive = true, .bytes = 1000, .fill = 9},
    {.at = 70001, .bytes = LARGE, .fill = 1},
    {.at = 70000 + LARGE / 2, .bytes = 5000, .fill = 100},
    {.at = 70001, .bytes = 3, .fill = 200},
    {.at = PAGES * PAGE, .bytes = 0},
    {.at = 600000, .bytes = LARGE, .fill = 77},
    {.at = PAGES * PAGE - 1, .bytes = 1, .fill = 5},
};
enum { LARGE_COUNT = sizeof large / sizeof large[0] };

static void test_contents(void **state)
{
    (void)state;
    struct wasm_module *module = module_of(IMPORT_NONE, large, LARGE_COUNT);
    unsigned images;
    struct world copied = open_one(module);
    mappings(&images);
    assert_int_equal(images, 0);
    assert_true(is_initial(copied.instance, large, LARGE_COUNT));
    wasm_store_destroy(copied.store);
    struct world first = open_one(module), second = open_one(module);
    wasm_module_unref(module);
    if (mappings(&images))
        assert_int_equal(images, wasm_memory_guards() ? 2 : 0);
    assert_true(is_initial(first.instance, large, LARGE_COUNT));
    struct wasm_memory *memory = exported(first.instance, "m").of.memory;
    memset(wasm_memory_data(memory), 0xEE, wasm_memory_bytes(memory));
    assert_true(is_initial(second.instance, large, LARGE_COUNT));

    /* Growing keeps what is there and adds zeros. */
    memory = exported(second.instance, "m").of.memory;
    assert_int_equal(wasm_memory_grow(memory, PAGES), PAGES);
    uint32_t value = 0;
    struct wasm_func *load = exported(second.instance, "load").of.func;
    assert_int_equal(call(second.store, load, 600001, 0, &value), WASM_RUN_DONE);
    assert_int_equal(value, 78);
    assert_int_equal(call(second.store, load, 2 * PAGES * PAGE - 1, 0, &value), WASM_RUN_DONE);
    assert_int_equal(value, 0);
    assert_int_equal(call(second.store, load, 2 * PAGES * PAGE, 0, &value), WASM_RUN_TRAP);

    /* The reservation of a dead memory serves the next one, whose contents are fresh. */
    wasm_store_destroy(first.store);
    wasm_store_destroy(second.store);
    if (mappings(&images))
        assert_int_equal(images, 0);
    static const struct segment small[] = {{.at = 3, .bytes = 4, .fill = 1}};
    module = module_of(IMPORT_NONE, small, 1);
    first = open_world(module);
    wasm_module_unref(module);
    if (mappings(&images))
        assert_int_equal(images, 0);
    assert_true(is_initial(first.instance, small, 1));
    wasm_store_destroy(first.store);
}

static void test_dropped(void **state)
{
    (void)state;
    struct segment segments[LARGE_COUNT];
    memcpy(segments, large, sizeof large);
    for (int passive = 0; passive < 2; passive++) {
        segments[0].passive = passive;
        struct wasm_module *module = module_of(IMPORT_NONE, segments, LARGE_COUNT);
        struct world world = open_world(module);
        wasm_module_unref(module);
        struct wasm_func *init = exported(world.instance, "init").of.func;
        uint32_t value = 0;
        assert_int_equal(call(world.store, init, 70001, 0, &value), WASM_RUN_DONE);
        assert_int_equal(call(world.store, init, 70001, 1000, &value),
                         passive ? WASM_RUN_DONE : WASM_RUN_TRAP);
        assert_int_equal(
            call(world.store, exported(world.instance, "load").of.func, 70002, 0, &value),
            WASM_RUN_DONE);
        assert_int_equal(value, passive ? 10 : 201);
        wasm_store_destroy(world.store);
    }
}

/* Segments before the one that does not fit have been written, those behind it have not: a
 * function that escaped into a table sees it. */
static void test_trapping_segment(void **state)
{
    (void)state;
    static const struct segment segments[] = {
        {.at = 0, .bytes = LARGE, .fill = 1},
        {.at = PAGES * PAGE - 1, .bytes = 2, .fill = 50},
        {.at = 300000, .bytes = LARGE, .fill = 2},
    };
    struct wasm_module *module = module_of(IMPORT_TABLE, segments, 3);
    for (int round = 0; round < 3; round++) {
        struct wasm_store *store;
        struct wasm_instance *instance;
        struct report report = {0};
        uint32_t value = 0;
        assert_int_equal(wasm_store_create(NULL, &store, NULL), ERR_OK);
        struct wasm_table *table = wasm_table_create(
            store, WASM_FUNCREF, (struct wasm_limits){.min = 1, .max = 1}, NULL);
        struct wasm_extern import = {WASM_TABLE, {.table = table}};
        assert_int_equal(wasm_instance_create(store, module, &import, 1, &instance, &report),
                         ERR_TRAP);
        assert_non_null(strstr(report.text, "data segment 1"));
        struct wasm_func *load = wasm_table_get(table, 0);
        assert_int_equal(call(store, load, LARGE - 1, 0, &value), WASM_RUN_DONE);
        assert_int_equal(value, fill_byte(&segments[0], LARGE - 1));
        assert_int_equal(call(store, load, PAGES * PAGE - 1, 0, &value), WASM_RUN_DONE);
        assert_int_equal(value, 0);
        assert_int_equal(call(store, load, 300000, 0, &value), WASM_RUN_DONE);
        assert_int_equal(value, 0);
        wasm_store_destroy(store);
    }
    wasm_module_unref(module);
}

/* Where the contents differ between instances, each gets its own. */
static void test_imports(void **state)
{
    (void)state;
    static const struct segment segments[] = {{.global = 1, .bytes = LARGE, .fill = 1}};
    struct wasm_module *by_global = module_of(IMPORT_GLOBAL, segments, 1);
    struct wasm_module *by_memory = module_of(IMPORT_MEMORY, large, LARGE_COUNT);
    struct wasm_store *store;
    struct wasm_instance *instance;
    uint32_t value = 0;
    assert_int_equal(wasm_store_create(NULL, &store, NULL), ERR_OK);
    for (uint32_t at = 0; at < 3000; at += 1000) {
        union wasm_value offset[2] = {{.i32 = at}, {.i64 = 0}};
        struct wasm_extern import = {
            WASM_GLOBAL, {.global = wasm_global_create(store, WASM_I32, false, offset)}};
        assert_int_equal(wasm_instance_create(store, by_global, &import, 1, &instance, NULL),
                         ERR_OK);
        assert_int_equal(call(store, exported(instance, "load").of.func, at + 7, 0, &value),
                         WASM_RUN_DONE);
        assert_int_equal(value, 8);
    }
    struct wasm_memory *memory =
        wasm_memory_create(store, (struct wasm_limits){.min = PAGES, .max = 2 * PAGES});
    struct wasm_extern import = {WASM_MEMORY, {.memory = memory}};
    wasm_memory_data(memory)[70000] = 42;
    assert_int_equal(wasm_instance_create(store, by_memory, &import, 1, &instance, NULL), ERR_OK);
    assert_int_equal(wasm_memory_data(memory)[70000], 42);
    memset(wasm_memory_data(memory), 0, wasm_memory_bytes(memory));
    wasm_memory_data(memory)[70000] = 42;
    assert_int_equal(wasm_instance_create(store, by_memory, &import, 1, &instance, NULL), ERR_OK);
    assert_int_equal(wasm_memory_data(memory)[70000], 42);
    wasm_memory_data(memory)[70000] = 0;
    assert_true(is_initial(instance, large, LARGE_COUNT));
    wasm_store_destroy(store);
    wasm_module_unref(by_global);
    wasm_module_unref(by_memory);
}

/* A span with a few bytes far apart is not worth an image, and a process without a file
 * descriptor to spare cannot have one: both get their contents all the same. */
static void test_without_image(void **state)
{
    (void)state;
    static const struct segment sparse[] = {{.at = 0, .bytes = 70000, .fill = 1},
                                            {.at = PAGES * PAGE - 10, .bytes = 10, .fill = 3}};
    struct wasm_module *module = module_of(IMPORT_NONE, sparse, 2);
    struct world world = open_world(module);
    unsigned images;
    mappings(&images);
    assert_int_equal(images, 0);
    assert_true(is_initial(world.instance, sparse, 2));
    wasm_store_destroy(world.store);
    wasm_module_unref(module);

    module = module_of(IMPORT_NONE, large, LARGE_COUNT);
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    world = open_world(module);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    mappings(&images);
    assert_int_equal(images, 0);
    assert_true(is_initial(world.instance, large, LARGE_COUNT));
    wasm_store_destroy(world.store);
    wasm_module_unref(module);
}

static void test_mapping_count(void **state)
{
    (void)state;
    enum { INSTANCES = 40, EACH_MAX = 4, OTHERS_MAX = 20 };
    struct wasm_module *module = module_of(IMPORT_NONE, large, LARGE_COUNT);
    struct world worlds[INSTANCES];
    unsigned images, before = mappings(&images);
    for (int i = 0; i < INSTANCES; i++)
        worlds[i] = open_world(module);
    assert_true(mappings(&images) <= before + INSTANCES * EACH_MAX + OTHERS_MAX);
    for (int i = 0; i < INSTANCES; i++)
        wasm_store_destroy(worlds[i].store);
    wasm_module_unref(module);
}

static void *use(void *module)
{
    for (int i = 0; i < 20; i++) {
        struct wasm_store *store;
        struct wasm_instance *instance;
        if (wasm_store_create(NULL, &store, NULL) != ERR_OK)
            return module;
        bool ok = wasm_instance_create(store, module, NULL, 0, &instance, NULL) == ERR_OK &&
                  is_initial(instance, large, LARGE_COUNT);
        if (ok)
            memset(wasm_memory_data(exported(instance, "m").of.memory), i, PAGES * PAGE);
        wasm_store_destroy(store);
        if (!ok)
            return module;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct wasm_module *module = module_of(IMPORT_NONE, large, LARGE_COUNT);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, module), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    wasm_module_unref(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_trapping_segment),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_without_image),
        cmocka_unit_test(test_mapping_count),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
