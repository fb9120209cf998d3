/* links: interp/wasm
 *
 * Modules as large as they may be, made here: each loads and runs correctly or gives a clear error,
 * in time that is linear in its size, without using the host's stack up. Work that is not linear
 * does not finish here. TIMES=1 in the environment prints how long each took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "interp/wasm/wasm.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_UNDEFINED__)
enum { SCALE = 8 }; /* sanitizers are slower than what is measured here is fast */
#else
enum { SCALE = 1 };
#endif

/* ---- modules ----------------------------------------------------------------------------- */

static void put(struct buf *out, unsigned byte)
{
    assert_true(buf_putc(out, (char)byte));
}

static void leb(struct buf *out, uint64_t value)
{
    do {
        put(out, (unsigned)(value & 0x7F) | (value > 0x7F ? 0x80u : 0));
        value >>= 7;
    } while (value);
}

static void bytes(struct buf *out, const char *text, size_t count)
{
    assert_true(buf_append(out, text, count));
}
#define BYTES(out, text) bytes(out, text, sizeof text - 1)

static void section(struct buf *out, unsigned id, struct buf *content)
{
    put(out, id);
    leb(out, content->count);
    if (content->count > 0)
        bytes(out, content->data, content->count);
    buf_clear(content);
}

/* The parts of a module that tests fill in. */
struct parts {
    struct buf types, functions, tables, memories, exports, elements, code, module;
};

static void parts_init(struct parts *parts)
{
    struct buf *all[] = {&parts->types, &parts->functions, &parts->tables, &parts->memories,
                         &parts->exports, &parts->elements, &parts->code, &parts->module};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_init(all[i], NULL);
}

/* One function type () -> (), one (i32) -> (i32); function 0 is the only one and exported as f. */
static void parts_for_one(struct parts *parts)
{
    parts_init(parts);
    BYTES(&parts->types, "\2\x60\0\0\x60\1\x7f\1\x7f");
    BYTES(&parts->functions, "\1\1");
    BYTES(&parts->exports, "\1\1f\0\0");
}

static enum err finish(struct parts *parts, struct wasm_module **module, struct report *report)
{
    BYTES(&parts->module, "\0asm\1\0\0\0");
    struct buf *all[] = {&parts->types, &parts->functions, &parts->tables, &parts->memories,
                         &parts->exports, &parts->elements, &parts->code};
    static const uint8_t ids[] = {1, 3, 4, 5, 7, 9, 10};
    for (size_t i = 0; i < sizeof ids; i++) {
        if (all[i]->count > 0)
            section(&parts->module, ids[i], all[i]);
        buf_deinit(all[i]);
    }
    enum err err = wasm_module_create((const uint8_t *)parts->module.data, parts->module.count,
                                      module, report);
    buf_deinit(&parts->module);
    return err;
}

/* Function 0 gets this body: no locals beside its parameter, `code` without the last end. */
static struct wasm_module *module_of(struct parts *parts, const struct buf *code)
{
    struct report report = {0};
    struct wasm_module *module;
    put(&parts->code, 1);
    leb(&parts->code, code->count + 2);
    put(&parts->code, 0);
    bytes(&parts->code, code->data, code->count);
    put(&parts->code, 0x0B);
    if (finish(parts, &module, &report) != ERR_OK)
        fail_msg("%s", report.text);
    return module;
}

/* ---- running ----------------------------------------------------------------------------- */

struct world {
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
};

static void world_make(struct world *world, struct wasm_module *module,
                       const struct wasm_store_limits *limits)
{
    struct report report = {0};
    assert_int_equal(wasm_store_create(limits, &world->store, NULL), ERR_OK);
    if (wasm_instance_create(world->store, module, NULL, 0, &world->instance, &report) != ERR_OK)
        fail_msg("%s", report.text);
    assert_int_equal(wasm_thread_create(world->store, &world->thread), ERR_OK);
}

static void begin(struct world *world, uint32_t argument)
{
    struct wasm_extern f;
    union wasm_value args[1] = {{.i32 = argument}};
    assert_true(wasm_instance_export(world->instance, "f", 1, &f));
    assert_int_equal(wasm_thread_call(world->thread, f.of.func, args), ERR_OK);
}

/* To the end, in slices; translating a large function ends some of them early. */
static enum wasm_run run(struct world *world)
{
    enum wasm_run result;
    do
        result = wasm_thread_run(world->thread, 50000000);
    while (result == WASM_RUN_FUEL);
    return result;
}

/* f(argument) of an instance of its own. */
static uint32_t result_of(struct wasm_module *module, uint32_t argument)
{
    struct world world;
    world_make(&world, module, NULL);
    begin(&world, argument);
    if (run(&world) != WASM_RUN_DONE)
        fail_msg("%s", wasm_thread_trap_text(world.thread));
    uint32_t result = wasm_thread_result(world.thread)->i32;
    wasm_store_destroy(world.store);
    return result;
}

static uint64_t watch_ns;

static void watch(const char *what)
{
    uint64_t now = clock_now_ns();
    if (what && getenv("TIMES"))
        fprintf(stderr, "%-40s %8.1f ms\n", what, (double)(now - watch_ns) / 1e6);
    watch_ns = clock_now_ns();
}

/* ---- large bodies ------------------------------------------------------------------------ */

/* A body that is `unit` over and over between `before` and `after`, of about 7 MB. */
static void repeat(const char *what, const char *before, size_t before_bytes, const char *unit,
                   size_t unit_bytes, const char *after, size_t after_bytes, uint32_t argument,
                   uint32_t per_unit)
{
    size_t count = (size_t)7000000 / SCALE / unit_bytes;
    struct parts parts;
    struct buf code;
    parts_for_one(&parts);
    buf_init(&code, NULL);
    bytes(&code, before, before_bytes);
    for (size_t i = 0; i < count; i++)
        bytes(&code, unit, unit_bytes);
    bytes(&code, after, after_bytes);
    BYTES(&parts.memories, "\1\0\1");
    watch(NULL);
    struct wasm_module *module = module_of(&parts, &code);
    assert_int_equal(result_of(module, argument), argument + (uint32_t)count * per_unit);
    watch(what);
    wasm_module_unref(module);
    buf_deinit(&code);
}
#define REPEAT(what, before, unit, after, argument, per_unit)                              \
    repeat(what, before, sizeof before - 1, unit, sizeof unit - 1, after, sizeof after - 1, \
           argument, per_unit)

static void large_bodies(void **state)
{
    (void)state;
    REPEAT("x = x + 1", "", "\x20\0\x41\1\x6a\x21\0", "\x20\0", 5, 1);
    REPEAT("block end", "", "\x02\x40\x0b", "\x20\0", 5, 0);
    REPEAT("loop end", "", "\x03\x40\x0b", "\x20\0", 5, 0);
    REPEAT("if else end", "", "\x20\0\x04\x40\x01\x05\x01\x0b", "\x20\0", 5, 0);
    REPEAT("br_if out", "\x02\x40", "\x20\0\x45\x0d\0", "\x0b\x20\0", 5, 0);
    REPEAT("br_if to a loop", "\x03\x40", "\x20\0\x45\x0d\0", "\x0b\x20\0", 5, 0);
    REPEAT("loads and stores", "", "\x41\0\x20\0\x36\2\0\x41\0\x28\2\0\x21\0", "\x20\0", 5, 0);
    REPEAT("unreachable code", "\x20\0\x0f", "\x41\1\x1a", "", 5, 0);
    REPEAT("a value through blocks", "\x20\0", "\x02\1\x41\1\x6a\x0b", "", 5, 1);
    REPEAT("try_table end", "", "\x1f\x40\0\x0b", "\x20\0", 5, 0);
    REPEAT("select", "\x20\0", "\x20\0\x41\1\x1b", "", 5, 0);
}

static void wide_blocks(void **state)
{
    (void)state;
    /* Types of 1,000 values: four bytes ask for all of them. */
    enum { WIDTH = 1000, COUNT = 10000 / SCALE };
    struct parts parts;
    struct buf code;
    struct report report = {0};
    struct wasm_module *module;
    parts_init(&parts);
    buf_init(&code, NULL);
    BYTES(&parts.types, "\3\x60\0\0\x60\1\x7f\1\x7f\x60");
    for (int side = 0; side < 2; side++) {
        leb(&parts.types, WIDTH);
        for (int i = 0; i < WIDTH; i++)
            put(&parts.types, 0x7F);
    }
    BYTES(&parts.functions, "\1\1");
    BYTES(&parts.exports, "\1\1f\0\0");
    for (int i = 0; i < WIDTH; i++)
        BYTES(&code, "\x20\0");
    for (int i = 0; i < COUNT; i++)
        BYTES(&code, "\x02\2\x0b");
    for (int i = 1; i < WIDTH; i++)
        put(&code, 0x6A);
    put(&parts.code, 1);
    leb(&parts.code, code.count + 2);
    put(&parts.code, 0);
    bytes(&parts.code, code.data, code.count);
    put(&parts.code, 0x0B);
    watch(NULL);
    if (finish(&parts, &module, &report) != ERR_OK)
        fail_msg("%s", report.text);
    assert_int_equal(result_of(module, 3), 3 * WIDTH);
    watch("blocks of 1,000 values");
    wasm_module_unref(module);
    buf_deinit(&code);
}

static void nested(void **state)
{
    (void)state;
    enum { DEPTH = 50000 };
    static const struct { const char *name, *open; size_t bytes; } kinds[] = {
        {"50,000 nested blocks", "\x02\x40", 2},
        {"50,000 nested loops", "\x03\x40", 2},
        {"50,000 nested ifs", "\x20\0\x04\x40", 4},
        {"50,000 nested try_tables", "\x1f\x40\0", 3},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct parts parts;
        struct buf code;
        parts_for_one(&parts);
        buf_init(&code, NULL);
        for (int i = 0; i < DEPTH; i++)
            bytes(&code, kinds[k].open, kinds[k].bytes);
        if (k != 1) { /* out of all of them */
            put(&code, 0x0C);
            leb(&code, DEPTH - 1);
        }
        for (int i = 0; i < DEPTH; i++)
            put(&code, 0x0B);
        BYTES(&code, "\x20\0");
        watch(NULL);
        struct wasm_module *module = module_of(&parts, &code);
        assert_int_equal(result_of(module, 77), 77);
        watch(kinds[k].name);
        wasm_module_unref(module);
        buf_deinit(&code);
    }
}

static void large_br_table(void **state)
{
    (void)state;
    enum { TARGETS = 1000000 / SCALE };
    struct parts parts;
    struct buf code;
    parts_for_one(&parts);
    buf_init(&code, NULL);
    BYTES(&code, "\x02\x40\x02\x40\x02\x40\x20\0\x0e");
    leb(&code, TARGETS);
    for (uint32_t i = 0; i < TARGETS; i++)
        put(&code, i % 3);
    put(&code, 2);
    BYTES(&code, "\x0b\x41\x0a\x0f\x0b\x41\x0b\x0f\x0b\x41\x0c");
    watch(NULL);
    struct wasm_module *module = module_of(&parts, &code);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(result_of(module, TARGETS - 1 - i), 10 + (TARGETS - 1 - i) % 3);
    assert_int_equal(result_of(module, UINT32_MAX), 12);
    watch("br_table of 1,000,000 targets");
    wasm_module_unref(module);
    buf_deinit(&code);
}

/* ---- slices ------------------------------------------------------------------------------ */

/* `unit` over and over as function 0, called by function 1, which is exported as f. */
static struct wasm_module *called_of(const char *unit, size_t unit_bytes, size_t count)
{
    struct parts parts;
    struct buf body;
    struct report report = {0};
    struct wasm_module *module;
    parts_init(&parts);
    buf_init(&body, NULL);
    BYTES(&parts.types, "\2\x60\0\0\x60\1\x7f\1\x7f");
    BYTES(&parts.functions, "\2\1\1");
    BYTES(&parts.exports, "\1\1f\0\1");
    put(&body, 0);
    for (size_t i = 0; i < count; i++)
        bytes(&body, unit, unit_bytes);
    BYTES(&body, "\x20\0\x0f\x0b");
    put(&parts.code, 2);
    leb(&parts.code, body.count);
    bytes(&parts.code, body.data, body.count);
    BYTES(&parts.code, "\6\0\x20\0\x10\0\x0b");
    if (finish(&parts, &module, &report) != ERR_OK)
        fail_msg("%s", report.text);
    buf_deinit(&body);
    return module;
}

static void translation_takes_slices(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    struct wasm_module *module = called_of("\x20\0\x41\1\x6a\x21\0", 7, COUNT);
    uint64_t fuel[3], slices[3];
    for (int i = 0; i < 3; i++) { /* the second time it is all there; the third in small slices */
        struct world world;
        enum wasm_run result;
        world_make(&world, module, NULL);
        begin(&world, 1);
        slices[i] = 0;
        do {
            result = wasm_thread_run(world.thread, i < 2 ? 100000000 : 100);
            slices[i]++;
        } while (result == WASM_RUN_FUEL);
        assert_int_equal(result, WASM_RUN_DONE);
        assert_int_equal(wasm_thread_result(world.thread)->i32, 1 + COUNT);
        fuel[i] = wasm_thread_fuel_used(world.thread);
        wasm_store_destroy(world.store);
    }
    assert_true(slices[0] > 10); /* each of them short */
    assert_int_equal(slices[1], 1);
    assert_int_equal(fuel[0], fuel[1]);
    assert_int_equal(fuel[0], fuel[2]);
    assert_int_equal(fuel[0], 4 * COUNT + 4);
    wasm_module_unref(module);
}

/* Dropped in the middle of a translation: the next one goes on where it stands. */
static void translation_is_kept(void **state)
{
    (void)state;
    struct wasm_module *module = called_of("\x20\0\x41\1\x6a\x21\0", 7, 100000);
    struct world world;
    int rounds = 0;
    enum wasm_run result = WASM_RUN_FUEL;
    for (; result == WASM_RUN_FUEL; rounds++) {
        struct wasm_frame frames[4];
        world_make(&world, module, NULL);
        begin(&world, 1);
        result = wasm_thread_run(world.thread, 100000000);
        if (result == WASM_RUN_FUEL) { /* it stands in function 1 */
            assert_int_equal(wasm_thread_stack(world.thread, frames, 4), 1);
            assert_int_equal(frames[0].func_index, 1);
        }
        wasm_thread_abandon(world.thread);
        wasm_store_destroy(world.store);
    }
    assert_int_equal(result, WASM_RUN_DONE);
    assert_true(rounds > 3);
    wasm_module_unref(module);
    /* And a module may go with a function half translated. */
    module = called_of("\x20\0\x41\1\x6a\x21\0", 7, 100000);
    world_make(&world, module, NULL);
    begin(&world, 1);
    assert_int_equal(wasm_thread_run(world.thread, 100), WASM_RUN_FUEL);
    wasm_store_destroy(world.store);
    wasm_module_unref(module);
}

/* Constants that are never taken off: more than a frame can hold, found out late. */
static void translation_fails_late(void **state)
{
    (void)state;
    struct wasm_module *module = called_of("\x41\1", 2, 66000);
    struct world world;
    world_make(&world, module, NULL);
    begin(&world, 1);
    assert_int_equal(run(&world), WASM_RUN_TRAP);
    assert_non_null(strstr(wasm_thread_trap_text(world.thread), "a frame over 65,000 slots"));
    assert_string_equal(wasm_thread_back_trace(world.thread), "  0: f (func 1) +0x2\n");
    assert_int_equal(wasm_thread_fuel_used(world.thread), 2);
    wasm_store_destroy(world.store);
    wasm_module_unref(module);
}

/* A module that is said to be known, but has an invalid body. */
static void known_modules_are_proved_late(void **state)
{
    (void)state;
    struct parts parts;
    struct report report = {0};
    struct wasm_module *module;
    struct world world;
    parts_init(&parts);
    BYTES(&parts.types, "\1\x60\1\x7f\1\x7f");
    BYTES(&parts.functions, "\3\0\0\0");
    BYTES(&parts.exports, "\2\1f\0\2\1g\0\0");
    /* 0: right; 1: an i64 is no i32; 2: f calls 1 unless its argument is 0 */
    BYTES(&parts.code, "\3\4\0\x20\0\x0b\4\0\x42\0\x0b"
                       "\x0e\0\x20\0\x04\x40\x20\0\x10\1\x1a\x0b\x20\0\x0b");
    BYTES(&parts.module, "\0asm\1\0\0\0");
    section(&parts.module, 1, &parts.types);
    section(&parts.module, 3, &parts.functions);
    section(&parts.module, 7, &parts.exports);
    section(&parts.module, 10, &parts.code);
    assert_int_equal(wasm_module_create((const uint8_t *)parts.module.data, parts.module.count,
                                        &module, &report), ERR_INVALID);
    uint8_t *taken = mem_alloc(NULL, parts.module.count);
    assert_non_null(taken);
    memcpy(taken, parts.module.data, parts.module.count);
    struct wasm_source *source = wasm_source_create(taken, parts.module.count);
    assert_non_null(source);
    assert_int_equal(wasm_module_create_from(source, 0, parts.module.count, true, &module, NULL),
                     ERR_OK);
    wasm_source_unref(source);
    assert_int_equal(result_of(module, 0), 0);
    for (int i = 0; i < 2; i++) {
        world_make(&world, module, NULL);
        begin(&world, 1);
        assert_int_equal(run(&world), WASM_RUN_TRAP);
        assert_non_null(strstr(wasm_thread_trap_text(world.thread), "type mismatch"));
        assert_non_null(strstr(wasm_thread_trap_text(world.thread), "function 1"));
        wasm_store_destroy(world.store);
    }
    wasm_module_unref(module);
    struct buf *all[] = {&parts.types, &parts.functions, &parts.exports, &parts.code,
                         &parts.module};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_deinit(all[i]);
}

/* ---- many things ------------------------------------------------------------------------- */

static void many_functions(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    struct parts parts;
    struct report report = {0};
    struct wasm_module *module;
    for (uint32_t extra = 0; extra < 2; extra++) {
        parts_init(&parts);
        BYTES(&parts.types, "\1\x60\1\x7f\1\x7f");
        leb(&parts.functions, COUNT + extra);
        for (uint32_t i = 0; i < COUNT + extra; i++)
            put(&parts.functions, 0);
        BYTES(&parts.exports, "\1\1f\0");
        leb(&parts.exports, COUNT - 1);
        leb(&parts.code, COUNT + extra);
        for (uint32_t i = 0; i < COUNT + extra; i++)
            BYTES(&parts.code, "\4\0\x20\0\x0b");
        watch(NULL);
        enum err err = finish(&parts, &module, &report);
        assert_int_equal(err, extra ? ERR_LIMIT : ERR_OK);
        if (extra) {
            assert_non_null(strstr(report.text, "1000001 functions"));
        } else {
            assert_int_equal(result_of(module, 9), 9);
            wasm_module_unref(module);
        }
        watch("1,000,000 functions");
    }
}

static void many_locals(void **state)
{
    (void)state;
    static const struct { uint32_t count; enum wasm_run run; const char *text; } cases[] = {
        {60000, WASM_RUN_DONE, ""},
        {100000, WASM_RUN_TRAP, "65,000 slots"},
        {UINT32_MAX, WASM_RUN_TRAP, NULL}, /* refused at load */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parts parts;
        struct buf body;
        struct report report = {0};
        struct wasm_module *module;
        struct world world;
        parts_for_one(&parts);
        buf_init(&body, NULL);
        put(&body, 1);
        leb(&body, cases[i].count);
        BYTES(&body, "\x7e\x20\0\x0b");
        put(&parts.code, 1);
        leb(&parts.code, body.count);
        bytes(&parts.code, body.data, body.count);
        buf_deinit(&body);
        watch(NULL);
        enum err err = finish(&parts, &module, &report);
        if (!cases[i].text) {
            assert_int_not_equal(err, ERR_OK);
            assert_non_null(strstr(report.text, "locals"));
            continue;
        }
        assert_int_equal(err, ERR_OK);
        world_make(&world, module, NULL);
        begin(&world, 3);
        assert_int_equal(run(&world), cases[i].run);
        if (cases[i].run == WASM_RUN_TRAP)
            assert_non_null(strstr(wasm_thread_trap_text(world.thread), cases[i].text));
        wasm_store_destroy(world.store);
        wasm_module_unref(module);
        watch("many locals");
    }
}

/* ---- growing ----------------------------------------------------------------------------- */

static void memory_to_the_limit(void **state)
{
    (void)state;
    /* loop: br_if while memory.grow(1) gives no -1; then memory.size */
    struct parts parts;
    struct buf code;
    struct world world;
    static const struct wasm_store_limits limits = {.memory_bytes_max = 1000 * 65536};
    parts_for_one(&parts);
    buf_init(&code, NULL);
    BYTES(&parts.memories, "\1\0\1");
    BYTES(&code, "\x03\x40\x20\0\x40\0\x41\x7f\x47\x0d\0\x0b\x3f\0");
    struct wasm_module *module = module_of(&parts, &code);
    watch(NULL);
    world_make(&world, module, &limits);
    begin(&world, 1);
    assert_int_equal(run(&world), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 1000);
    assert_int_equal(wasm_store_memory_bytes(world.store), 1000 * 65536);
    wasm_store_destroy(world.store);
    watch("memory grown to the limit, page by page");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* All that 32 bits can address, at once: nothing of it is touched. */
    world_make(&world, module, NULL);
    begin(&world, 65535);
    assert_int_equal(run(&world), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 65536);
    wasm_store_destroy(world.store);
    watch("4 GiB at once");
#endif
    wasm_module_unref(module);
    buf_deinit(&code);
}

static void tables_of_4_billion(void **state)
{
    (void)state;
    struct parts parts;
    struct buf code;
    struct report report = {0};
    struct world world;
    /* Such a minimum is refused when instantiated... */
    parts_for_one(&parts);
    buf_init(&code, NULL);
    BYTES(&parts.tables, "\1\x70\0\xff\xff\xff\xff\x0f");
    BYTES(&code, "\x20\0");
    struct wasm_module *module = module_of(&parts, &code);
    assert_int_equal(wasm_store_create(NULL, &world.store, NULL), ERR_OK);
    assert_int_equal(wasm_instance_create(world.store, module, NULL, 0, &world.instance, &report),
                     ERR_LIMIT);
    assert_non_null(strstr(report.text, "table of 4294967295 elements"));
    wasm_store_destroy(world.store);
    wasm_module_unref(module);
    /* ... and growing to it gives -1. */
    parts_for_one(&parts);
    buf_clear(&code);
    BYTES(&parts.tables, "\1\x70\0\1");
    BYTES(&code, "\xd0\x70\x20\0\xfc\x0f\0");
    module = module_of(&parts, &code);
    assert_int_equal(result_of(module, UINT32_MAX), UINT32_MAX);
    assert_int_equal(result_of(module, UINT32_MAX - 1), UINT32_MAX);
    assert_int_equal(result_of(module, 1000), 1);
    wasm_module_unref(module);
    buf_deinit(&code);
}

/* ---- fuel of bulk instructions ----------------------------------------------------------- */

/* f(n): does `code` over n items, and gives a checksum; a memory of 4 MiB and two tables of 600,000
 * items, a data and an element segment of 1,000; in globals an array of 4 MiB and one of 1,000
 * functions (types 2 and 3). */
static struct wasm_module *bulk_module(const char *code, size_t code_bytes)
{
    enum { ITEMS = 1000 };
    struct parts parts;
    struct report report = {0};
    struct wasm_module *module;
    struct buf data;
    struct buf globals;
    parts_for_one(&parts);
    buf_init(&data, NULL);
    buf_init(&globals, NULL);
    buf_clear(&parts.types);
    BYTES(&parts.types, "\4\x60\0\0\x60\1\x7f\1\x7f\x5e\x78\1\x5e\x70\1");
    BYTES(&globals, "\2\x64\2\0\x41\x80\x80\x80\2\xfb\7\2\x0b"
                    "\x64\3\0\x41\xe8\7\xfb\7\3\x0b");
    BYTES(&parts.tables, "\2\x70\0\xc0\xcf\x24\x70\0\xc0\xcf\x24");
    BYTES(&parts.memories, "\1\0\x40");
    BYTES(&parts.elements, "\1\1\0\xe8\7");
    for (int i = 0; i < ITEMS; i++)
        put(&parts.elements, 0);
    put(&parts.code, 1);
    leb(&parts.code, code_bytes + 2);
    put(&parts.code, 0);
    bytes(&parts.code, code, code_bytes);
    put(&parts.code, 0x0B);
    BYTES(&data, "\1\1\xe8\7");
    for (int i = 0; i < ITEMS; i++)
        put(&data, (unsigned)i & 0xFF);
    BYTES(&parts.module, "\0asm\1\0\0\0");
    struct buf count;
    buf_init(&count, NULL);
    put(&count, 1);
    struct buf *all[] = {&parts.types, &parts.functions, &parts.tables, &parts.memories, &globals,
                         &parts.exports, &parts.elements, &count, &parts.code, &data};
    static const uint8_t ids[] = {1, 3, 4, 5, 6, 7, 9, 12, 10, 11};
    for (size_t i = 0; i < sizeof ids; i++) {
        section(&parts.module, ids[i], all[i]);
        buf_deinit(all[i]);
    }
    if (wasm_module_create((const uint8_t *)parts.module.data, parts.module.count, &module,
                           &report) != ERR_OK)
        fail_msg("%s", report.text);
    buf_deinit(&parts.module);
    return module;
}

static void bulk_instructions_stop_in_time(void **state)
{
    (void)state;
    /* memory[i] for i = n / 2 stands for the contents afterwards. */
#define LOOK "\x20\0\x41\1\x76\x2d\0\0"
    static const struct {
        const char *name, *code;
        size_t bytes;
        uint32_t n, expected;
        uint64_t fuel;
    } cases[] = {
#define CASE(name, code, n, expected, fuel) {name, code, sizeof code - 1, n, expected, fuel}
        CASE("memory.fill", "\x41\0\x41\x2a\x20\0\xfc\x0b\0" LOOK, 4194304, 42,
             4 + 4194304 / 64 + 4),
        CASE("memory.fill of a part", "\x41\0\x41\x2a\x20\0\xfc\x0b\0" LOOK, 999, 42,
             4 + 999 / 64 + 4),
        CASE("memory.copy down",
             "\x41\xe8\7\x41\x2a\x20\0\xfc\x0b\0"
             "\x41\0\x41\xe8\7\x20\0\xfc\x0a\0\0" LOOK,
             3000000, 42, 4 + 3000000 / 64 + 4 + 3000000 / 64 + 4),
        CASE("memory.copy up",
             "\x41\0\x41\x2a\x20\0\xfc\x0b\0"
             "\x41\xe8\7\x41\0\x20\0\xfc\x0a\0\0" LOOK,
             3000000, 42, 4 + 3000000 / 64 + 4 + 3000000 / 64 + 4),
        CASE("memory.init", "\x41\0\x41\0\x20\0\xfc\x08\0\0" LOOK, 1000, 500 & 0xFF,
             4 + 1000 / 64 + 4),
        CASE("table.fill and copy",
             "\x41\0\xd2\0\x20\0\xfc\x11\0"
             "\x41\7\x41\0\x20\0\xfc\x0e\1\0"
             "\x20\0\x25\1\xd1",
             500000, 0, 4 + 500000 / 8 + 4 + 500000 / 8 + 3),
        CASE("table.init", "\x41\0\x41\0\x20\0\xfc\x0c\0\0\x20\0\x25\0\xd1", 999, 1,
             4 + 999 / 8 + 3),
#define LOOK_ARRAY "\x23\0\x20\0\x41\1\x76\xfb\x0d\2"
        CASE("array.fill", "\x23\0\x41\0\x41\x2a\x20\0\xfb\x10\2" LOOK_ARRAY, 4194304, 42,
             5 + 4194304 / 64 + 5),
        CASE("array.copy up",
             "\x23\0\x41\0\x41\x2a\x20\0\xfb\x10\2"
             "\x23\0\x41\xe8\7\x23\0\x41\0\x20\0\xfb\x11\2\2" LOOK_ARRAY,
             3000000, 42, 5 + 3000000 / 64 + 6 + 3000000 / 64 + 5),
        CASE("array.copy down",
             "\x23\0\x41\xe8\7\x41\x2a\x20\0\xfb\x10\2"
             "\x23\0\x41\0\x23\0\x41\xe8\7\x20\0\xfb\x11\2\2" LOOK_ARRAY,
             3000000, 42, 5 + 3000000 / 64 + 6 + 3000000 / 64 + 5),
        CASE("array.init_data", "\x23\0\x41\0\x41\0\x20\0\xfb\x12\2\0" LOOK_ARRAY, 1000,
             500 & 0xFF, 5 + 1000 / 64 + 5),
        CASE("array.init_elem",
             "\x23\1\x41\0\x41\0\x20\0\xfb\x13\3\0\x23\1\x20\0\xfb\x0b\3\xd1", 999, 1,
             5 + 999 / 8 + 4),
    };
    static const uint64_t slices[] = {UINT64_MAX, 1000, 100, 7, 1};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct wasm_module *module = bulk_module(cases[k].code, cases[k].bytes);
        for (size_t s = 0; s < sizeof slices / sizeof *slices; s++) {
            struct world world;
            enum wasm_run result;
            uint64_t used = 0, most = 0;
            world_make(&world, module, NULL);
            begin(&world, cases[k].n);
            do {
                result = wasm_thread_run(world.thread, slices[s]);
                uint64_t now = wasm_thread_fuel_used(world.thread);
                most = now - used > most ? now - used : most;
                used = now;
            } while (result == WASM_RUN_FUEL);
            assert_int_equal(result, WASM_RUN_DONE);
            assert_int_equal(wasm_thread_result(world.thread)->i32, cases[k].expected);
            assert_int_equal(used, cases[k].fuel);
            if (slices[s] != UINT64_MAX)
                assert_true(most <= slices[s] + 12 + 1); /* the straight line, a unit */
            wasm_store_destroy(world.store);
        }
        wasm_module_unref(module);
    }
}

/* ---- recursion --------------------------------------------------------------------------- */

static void deep_recursion(void **state)
{
    (void)state;
    static const struct { const char *name, *code; size_t bytes; } kinds[] = {
        {"recursion by call", "\x20\0\x10\0", 4},
        {"recursion by call_indirect", "\x20\0\x41\0\x11\1\0", 7},
        {"recursion in a try_table", "\x1f\x7f\0\x20\0\x10\0\x0b", 8},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct parts parts;
        struct buf code;
        struct world world;
        parts_for_one(&parts);
        buf_init(&code, NULL);
        BYTES(&parts.tables, "\1\x70\0\1");
        BYTES(&parts.elements, "\1\0\x41\0\x0b\1\0");
        bytes(&code, kinds[k].code, kinds[k].bytes);
        struct wasm_module *module = module_of(&parts, &code);
        watch(NULL);
        world_make(&world, module, NULL);
        begin(&world, 1);
        assert_int_equal(run(&world), WASM_RUN_TRAP);
        assert_string_equal(wasm_thread_trap_text(world.thread), "call stack exhausted");
        assert_true(wasm_thread_trap_depth(world.thread) > 1000);
        wasm_store_destroy(world.store);
        watch(kinds[k].name);
        wasm_module_unref(module);
        buf_deinit(&code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_bodies),
        cmocka_unit_test(wide_blocks),
        cmocka_unit_test(nested),
        cmocka_unit_test(large_br_table),
        cmocka_unit_test(translation_takes_slices),
        cmocka_unit_test(translation_is_kept),
        cmocka_unit_test(translation_fails_late),
        cmocka_unit_test(known_modules_are_proved_late),
        cmocka_unit_test(many_functions),
        cmocka_unit_test(many_locals),
        cmocka_unit_test(memory_to_the_limit),
        cmocka_unit_test(tables_of_4_billion),
        cmocka_unit_test(bulk_instructions_stop_in_time),
        cmocka_unit_test(deep_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
