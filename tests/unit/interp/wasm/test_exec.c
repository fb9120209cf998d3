/* links: interp/wasm
 *
 * Execution through the public interface: values, fuel, traps and back traces, host functions
 * that wait, call back and nest, limits. The instruction set itself is the spec suite's business
 * (tests/spec/core). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "interp/wasm/wasm.h"
#include "tests/unit/interp/wasm/guests.h"

struct world {
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    struct wasm_func *callee; /* for `back` and `nest` */
    int waits, abandoned;
    bool ready;
};

static enum wasm_host_result add1(struct wasm_host_call *call, void *user)
{
    (void)user;
    call->values[0].i32++;
    return WASM_HOST_DONE;
}

static void abandoned(void *data)
{
    ((struct world *)data)->abandoned++;
}

/* Waits until the world is ready, then answers argument + number of waits. */
static enum wasm_host_result wait_ready(struct wasm_host_call *call, void *user)
{
    struct world *world = user;
    assert_int_equal(call->state->step, (uint64_t)world->waits);
    if (!world->ready) {
        world->waits++;
        call->state->step = (uint64_t)world->waits;
        call->state->data = world;
        call->state->on_abandon = abandoned;
        return WASM_HOST_WAIT;
    }
    assert_ptr_equal(call->state->data, world->waits ? world : NULL);
    call->values[0].i32 += (uint32_t)world->waits;
    return WASM_HOST_DONE;
}

/* Calls callee(second argument) back, then adds the first to its result. */
static enum wasm_host_result call_back(struct wasm_host_call *call, void *user)
{
    struct world *world = user;
    if (call->state->step == 0) {
        call->state->step = 1 + call->values[0].i32;
        call->values[0] = call->values[1];
        call->callee = world->callee;
        return WASM_HOST_CALL;
    }
    call->values[0].i32 = (uint32_t)call->values[0].i64 + (uint32_t)call->state->step - 1;
    return WASM_HOST_DONE;
}

static enum wasm_host_result nest(struct wasm_host_call *call, void *user)
{
    struct world *world = user;
    union wasm_value values[2] = {{.i64 = call->values[0].i32}, {.i64 = 0}};
    if (wasm_thread_call_nested(call->thread, world->callee, values, 100000) != WASM_RUN_DONE)
        return WASM_HOST_TRAP;
    call->values[0].i32 = (uint32_t)values[0].i64;
    return WASM_HOST_DONE;
}

static struct wasm_module *load(const uint8_t *bytes, size_t count)
{
    struct report report = {0};
    struct wasm_module *module;
    if (wasm_module_create(bytes, count, &module, &report) != ERR_OK)
        fail_msg("%s", report.text);
    return module;
}

static struct wasm_func *export_func(struct world *world, const char *name)
{
    struct wasm_extern found;
    assert_true(wasm_instance_export(world->instance, name, strlen(name), &found));
    assert_int_equal(found.kind, WASM_FUNC);
    return found.of.func;
}

static void open_world(struct world *world, const struct wasm_store_limits *limits)
{
    static const uint32_t i32[1] = {WASM_I32}, i32_i64[2] = {WASM_I32, WASM_I64};
    const struct wasm_functype one = {1, 1, i32, i32}, two = {2, 1, i32_i64, i32};
    *world = (struct world){0};
    assert_int_equal(wasm_store_create(limits, &world->store, NULL), ERR_OK);
    struct wasm_extern imports[] = {
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &one, "add1", add1, world)}},
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &one, "wait", wait_ready, world)}},
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &two, "back", call_back, world)}},
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &one, "nest", nest, world)}},
    };
    struct wasm_module *module = load(guest_calls, sizeof guest_calls);
    struct report report = {0};
    if (wasm_instance_create(world->store, module, imports, 4, &world->instance, &report) != ERR_OK)
        fail_msg("%s", report.text);
    wasm_module_unref(module);
    assert_int_equal(wasm_thread_create(world->store, &world->thread), ERR_OK);
    world->callee = export_func(world, "callee");
}

static void close_world(struct world *world)
{
    wasm_store_destroy(world->store);
}

static enum wasm_run start(struct world *world, const char *name, const union wasm_value *args,
                           uint64_t fuel)
{
    assert_int_equal(wasm_thread_call(world->thread, export_func(world, name), args), ERR_OK);
    return wasm_thread_run(world->thread, fuel);
}

static uint32_t run1(struct world *world, const char *name, uint32_t argument)
{
    union wasm_value args[1] = {{.i32 = argument}};
    enum wasm_run run = start(world, name, args, 1000000000);
    if (run != WASM_RUN_DONE)
        fail_msg("%s: %d %s", name, (int)run, wasm_thread_trap_text(world->thread));
    return wasm_thread_result(world->thread)->i32;
}

static void trap1(struct world *world, const char *name, uint32_t argument, const char *words)
{
    union wasm_value args[2] = {{.i32 = argument}, {.i64 = 0}};
    assert_int_equal(start(world, name, args, 1000000000), WASM_RUN_TRAP);
    assert_non_null(strstr(wasm_thread_trap_text(world->thread), words));
}

static void test_calls(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    assert_int_equal(run1(&world, "fib", 15), 610);
    assert_int_equal(run1(&world, "count", 100), 300);
    assert_int_equal(run1(&world, "deep", 10000), 10000);
    assert_int_equal(run1(&world, "host", 40), 42);
    assert_int_equal(run1(&world, "backs", 3), 52);
    assert_int_equal(run1(&world, "nests", 6), 41);
    close_world(&world);
}

/* Recorded: every build (compiler, dispatch, with sequences and without) must count the same. */
static void test_recorded_fuel(void **state)
{
    (void)state;
    static const struct { const char *name; uint32_t argument; enum wasm_run run; uint64_t fuel; } cases[] = {
        {"fib", 1, WASM_RUN_DONE, 5},        {"fib", 20, WASM_RUN_DONE, 197015},
        {"count", 1, WASM_RUN_DONE, 10},     {"count", 1000, WASM_RUN_DONE, 9001},
        {"deep", 0, WASM_RUN_DONE, 3},       {"deep", 500, WASM_RUN_DONE, 4003},
        {"host", 1, WASM_RUN_DONE, 3},       {"backs", 3, WASM_RUN_DONE, 6},
        {"nests", 6, WASM_RUN_DONE, 7},      {"grow", 2, WASM_RUN_DONE, 2050},
        {"divide", 5, WASM_RUN_TRAP, 7},     {"read", 1 << 30, WASM_RUN_TRAP, 4},
        {"read_far", 100, WASM_RUN_TRAP, 2}, {"forever", 0, WASM_RUN_TRAP, 523265},
    };
    struct world world;
    open_world(&world, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        union wasm_value args[2] = {{.i32 = cases[i].argument}, {.i64 = 0}};
        uint64_t before = wasm_thread_fuel_used(world.thread);
        assert_int_equal(start(&world, cases[i].name, args, 1000000000), cases[i].run);
        uint64_t fuel = wasm_thread_fuel_used(world.thread) - before;
        if (fuel != cases[i].fuel)
            fail_msg("%s(%u) used %llu", cases[i].name, cases[i].argument, (unsigned long long)fuel);
    }
    close_world(&world);
}

/* The same function costs the same, however it is sliced, and a slice ends on time. */
static void test_fuel(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    run1(&world, "fib", 10);
    uint64_t whole = wasm_thread_fuel_used(world.thread);
    assert_true(whole > 1000);
    union wasm_value args[1] = {{.i32 = 10}};
    uint64_t slices = 1;
    enum wasm_run run = start(&world, "fib", args, 7);
    while (run == WASM_RUN_FUEL) {
        slices++;
        run = wasm_thread_run(world.thread, 7);
    }
    assert_int_equal(run, WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 55);
    assert_int_equal(wasm_thread_fuel_used(world.thread), 2 * whole);
    assert_true(slices > whole / 20);

    uint64_t before = wasm_thread_fuel_used(world.thread);
    assert_int_equal(start(&world, "loop", NULL, 1000000), WASM_RUN_FUEL);
    uint64_t used = wasm_thread_fuel_used(world.thread) - before;
    assert_true(used >= 1000000 && used < 1000010);
    assert_int_equal(wasm_thread_run(world.thread, 500), WASM_RUN_FUEL);
    wasm_thread_abandon(world.thread);

    /* count(n): n times seven instructions in the loop, two to set up... measured by difference */
    before = wasm_thread_fuel_used(world.thread);
    run1(&world, "count", 1);
    uint64_t one = wasm_thread_fuel_used(world.thread) - before;
    before += one;
    run1(&world, "count", 1001);
    assert_int_equal(wasm_thread_fuel_used(world.thread) - before - one, 1000 * 9);
    close_world(&world);
}

/* A fault in a later round of a loop that runs inside one handler: fuel, frame and place are those of
 * that round. Slices that end in every round change nothing. */
static void test_fault_in_loop(void **state)
{
    (void)state;
    struct wasm_module *module = load(guest_mark, sizeof guest_mark);
    for (uint64_t slice = 1; slice <= 1000000000; slice *= 1000) {
        struct world world = {0};
        struct report report = {0};
        assert_int_equal(wasm_store_create(NULL, &world.store, NULL), ERR_OK);
        assert_int_equal(
            wasm_instance_create(world.store, module, NULL, 0, &world.instance, &report), ERR_OK);
        assert_int_equal(wasm_thread_create(world.store, &world.thread), ERR_OK);
        uint64_t before = 0;
        for (uint32_t step = 3; step <= 5; step++) {
            union wasm_value args[1] = {{.i32 = step}};
            enum wasm_run run = start(&world, "mark", args, slice);
            while (run == WASM_RUN_FUEL)
                run = wasm_thread_run(world.thread, slice);
            assert_int_equal(run, WASM_RUN_TRAP);
            assert_non_null(strstr(wasm_thread_trap_text(world.thread), "out of bounds memory access"));
            assert_non_null(strstr(wasm_thread_back_trace(world.thread), "0: mark (func 0) +0x10\n"));
            /* Rounds of 12 whose store is inside: step, 2 * step... below 65536 - 1024. */
            uint64_t rounds = (65536 - 1024 - 1) / step;
            assert_int_equal(wasm_thread_fuel_used(world.thread) - before, 2 + 12 * rounds + 5);
            before = wasm_thread_fuel_used(world.thread);
        }
        wasm_store_destroy(world.store);
    }
    wasm_module_unref(module);
}

static void test_traps(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    trap1(&world, "divide", 7, "integer divide by zero");
    const char *trace = wasm_thread_back_trace(world.thread);
    assert_non_null(strstr(trace, "0: divide"));
    assert_non_null(strstr(trace, "1: "));
    uint64_t used = wasm_thread_fuel_used(world.thread);
    assert_int_equal(used, 3 + 4); /* two gets and a call; const, two gets, the division */
    trap1(&world, "read", 65536, "out of bounds memory access");
    assert_non_null(strstr(wasm_thread_back_trace(world.thread), "0: read"));
    assert_int_equal(wasm_thread_fuel_used(world.thread) - used, 4);
    trap1(&world, "read", 65529, "out of bounds memory access");
    trap1(&world, "read", 0xFFFFFFFC, "out of bounds memory access");
    trap1(&world, "read_far", 0xFFFFFFFC, "out of bounds memory access");
    trap1(&world, "write", 65529, "out of bounds memory access");
    trap1(&world, "drop_load", 0x80000000, "out of bounds memory access");
    trap1(&world, "forever", 0, "call stack exhausted");
    /* The recursion is one line and a count, then come its callers. */
    trace = wasm_thread_back_trace(world.thread);
    unsigned depth = wasm_thread_trap_depth(world.thread);
    char expected[200];
    assert_true(depth > 10000);
    (void)snprintf(expected, sizeof expected,
                   "  0: inner (func 9) +0x0\n     ... %u more of inner (func 9)\n"
                   "%3u: forever (func 8) +0x0\n",
                   depth - 2, depth - 1);
    assert_string_equal(trace, expected);
    assert_int_equal(run1(&world, "read", 65528), 0);
    assert_int_equal(run1(&world, "fib", 8), 21);
    close_world(&world);
}

static void test_waiting(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    union wasm_value args[1] = {{.i32 = 5}};
    assert_int_equal(start(&world, "waits", args, 1000), WASM_RUN_WAIT);
    assert_int_equal(wasm_thread_call(world.thread, world.callee, args), ERR_BUSY);
    assert_int_equal(wasm_thread_run(world.thread, 1000), WASM_RUN_WAIT);
    world.ready = true;
    assert_int_equal(wasm_thread_run(world.thread, 1000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 5007);
    assert_int_equal(world.abandoned, 0);

    world.ready = false;
    world.waits = 0;
    assert_int_equal(start(&world, "waits", args, 1000), WASM_RUN_WAIT);
    wasm_thread_abandon(world.thread);
    assert_int_equal(world.abandoned, 1);

    /* A host function may wait at the bottom too, and inside a call back. */
    world.waits = 0;
    world.callee = NULL;
    assert_int_equal(start(&world, "waits_inside", args, 1000), WASM_RUN_WAIT);
    world.ready = true;
    assert_int_equal(wasm_thread_run(world.thread, 1000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 6);

    /* But not in a nested call: that traps, and the activation is abandoned. */
    world.ready = false;
    world.waits = 0;
    world.callee = export_func(&world, "waits_inside");
    trap1(&world, "nests", 1, "may not wait");
    assert_int_equal(world.abandoned, 2);
    world.waits = 0;
    assert_int_equal(start(&world, "waits", args, 1000), WASM_RUN_WAIT);
    close_world(&world);
    assert_int_equal(world.abandoned, 3);
}

static void test_nested_traps(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    world.callee = export_func(&world, "read_far");
    trap1(&world, "nests", 0xFFFFFFF0, "out of bounds memory access");
    world.callee = export_func(&world, "loop");
    trap1(&world, "nests", 0, "used up its 100000 units");
    world.callee = export_func(&world, "nests"); /* nests in itself without end */
    trap1(&world, "nests", 1, "call stack exhausted");
    world.callee = export_func(&world, "callee");
    assert_int_equal(run1(&world, "nests", 3), 14);
    close_world(&world);
}

static void test_limits(void **state)
{
    (void)state;
    struct world world;
    const struct wasm_store_limits limits = {
        .memory_bytes_max = 2 * 65536, .stack_bytes_max = 256 << 10};
    open_world(&world, &limits);
    assert_int_equal(run1(&world, "grow", 1), 1);
    assert_int_equal(run1(&world, "grow", 1), (uint32_t)-1);
    assert_int_equal(wasm_store_memory_bytes(world.store), 2 * 65536);
    assert_int_equal(run1(&world, "read", 2 * 65536 - 8), 0);
    trap1(&world, "read", 2 * 65536 - 7, "out of bounds memory access");
    assert_int_equal(run1(&world, "deep", 1000), 1000);
    trap1(&world, "deep", 100000, "call stack exhausted");
    close_world(&world);
}

/* Values that move between stack, locals and labels. */
static void test_moves(void **state)
{
    (void)state;
    struct world world = {0}, other;
    open_world(&other, NULL);
    assert_int_equal(wasm_store_create(NULL, &world.store, NULL), ERR_OK);
    static const uint32_t i32[1] = {WASM_I32};
    const struct wasm_functype one = {1, 1, i32, i32};
    struct wasm_extern imports[] = {
        {WASM_FUNC, {.func = wasm_func_create_host(world.store, &one, "add1", add1, NULL)}}};
    struct wasm_module *module = load(guest_swap, sizeof guest_swap);
    assert_int_equal(
        wasm_instance_create(world.store, module, imports, 1, &world.instance, NULL), ERR_OK);
    assert_int_equal(wasm_thread_create(world.store, &world.thread), ERR_OK);
    union wasm_value args[2] = {{.i32 = 1}, {.i64 = UINT64_C(0x123456789ABC)}};
    assert_int_equal(start(&world, "swap", args, 1000), WASM_RUN_DONE);
    const union wasm_value *result = wasm_thread_result(world.thread);
    assert_true(result[0].i64 == UINT64_C(0x123456789ABC) && result[1].i32 == 1);
    static const uint32_t taken[] = {1, 9, 3, 9, 5, 9}, past[] = {1, 0, 3, 0, 5, 66};
    for (int k = 0; k < 2; k++) {
        args[0].i32 = k ? 0 : 9;
        assert_int_equal(start(&world, "many", args, 1000), WASM_RUN_DONE);
        for (int i = 0; i < 6; i++)
            assert_int_equal(wasm_thread_result(world.thread)[i].i32, (k ? past : taken)[i]);
    }
    assert_int_equal(run1(&world, "old", 4), 54);
    args[0].i32 = 3, args[1].i32 = 4;
    assert_int_equal(start(&world, "tee", args, 1000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 7 + 11 + 7);
    assert_int_equal(run1(&world, "table", 0), 110);
    assert_int_equal(run1(&world, "table", 1), 210);
    assert_int_equal(run1(&world, "table", 2), 310);
    assert_int_equal(run1(&world, "table", 77), 310);
    assert_int_equal(run1(&world, "cross", 8), 9);

    /* NaNs are canonical whatever goes in. */
    union wasm_value nans[2] = {{.i64 = UINT64_C(0xFFF8000000000123)}, {.f64 = 1}};
    assert_int_equal(start(&world, "nan", nans, 1000), WASM_RUN_DONE);
    assert_true(wasm_thread_result(world.thread)->i64 == UINT64_C(0x7FF8000000000000));
    nans[0].f32 = -1;
    assert_int_equal(start(&world, "nan32", nans, 1000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 0x7FC00000);
    wasm_module_unref(module);
    close_world(&world);
    close_world(&other);
}

/* Functions of one instance as imports of another, in one store. */
static void test_across_instances(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    struct wasm_module *module = load(guest_swap, sizeof guest_swap);
    static const char *const through[] = {"fib", "host", "waits", "backs", "nests", "divide"};
    struct world upper = world;
    for (unsigned i = 0; i < 5; i++) {
        struct wasm_extern imports[] = {{WASM_FUNC, {.func = export_func(&world, through[i])}}};
        assert_int_equal(
            wasm_instance_create(world.store, module, imports, 1, &upper.instance, NULL), ERR_OK);
        union wasm_value args[1] = {{.i32 = 6}};
        enum wasm_run run = start(&upper, "cross", args, 100000);
        while (run == WASM_RUN_WAIT) {
            world.ready = true;
            run = wasm_thread_run(upper.thread, 100000);
        }
        assert_int_equal(run, WASM_RUN_DONE);
        static const uint32_t expected[] = {8, 8, 6007, 55, 41};
        assert_int_equal(wasm_thread_result(upper.thread)->i32, expected[i]);
    }
    /* A trap below is traced through both. */
    struct wasm_extern imports[] = {{WASM_FUNC, {.func = export_func(&world, "read")}}};
    assert_int_equal(wasm_instance_create(world.store, module, imports, 1, &upper.instance, NULL),
                     ERR_OK);
    trap1(&upper, "cross", 1 << 20, "out of bounds memory access");
    const char *trace = wasm_thread_back_trace(upper.thread);
    assert_non_null(strstr(trace, "0: read"));
    assert_non_null(strstr(trace, "1: "));
    /* And a wrong import is refused. */
    imports[0].of.func = export_func(&world, "divide");
    struct report report = {0};
    assert_int_equal(
        wasm_instance_create(world.store, module, imports, 1, &upper.instance, &report),
        ERR_INVALID);
    assert_non_null(strstr(report.text, "incompatible import type"));
    wasm_module_unref(module);
    close_world(&world);
}

/* Where a stopped thread stands, through a host function that called back. */
static void test_stack(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, NULL);
    struct wasm_module *module = wasm_instance_module(world.instance);
    struct wasm_frame frames[8];
    union wasm_value args[1] = {{.i32 = 5}};
    assert_int_equal(wasm_thread_stack(world.thread, frames, 8), 0);
    world.callee = export_func(&world, "waits_inside");
    assert_int_equal(start(&world, "backs", args, 1000), WASM_RUN_WAIT);
    assert_int_equal(wasm_thread_stack(world.thread, frames, 8), 4);
    static const char *const names[] = {"wait", "waits_inside", "back", "backs"};
    static const uint32_t funcs[] = {0, 15, 0, 12};
    for (int i = 0; i < 4; i++) {
        bool is_guest = i % 2 == 1;
        assert_ptr_equal(frames[i].module, is_guest ? module : NULL);
        assert_int_equal(frames[i].func_index, funcs[i]);
        assert_string_equal(is_guest ? wasm_module_func_name(module, funcs[i])
                                     : frames[i].host_name, names[i]);
    }
    assert_int_equal(wasm_thread_stack(world.thread, frames, 2), 2);
    wasm_thread_abandon(world.thread);
    assert_int_equal(wasm_thread_stack(world.thread, frames, 8), 0);

    args[0].i32 = 1000;
    /* A trap in there is traced through it. */
    world.callee = export_func(&world, "forever");
    trap1(&world, "backs", 1, "call stack exhausted");
    const char *trace = wasm_thread_back_trace(world.thread);
    unsigned depth = wasm_thread_trap_depth(world.thread);
    char expected[200];
    (void)snprintf(expected, sizeof expected,
                   "%3u: forever (func 8) +0x0\n     through the host function back\n"
                   "%3u: backs (func 12) +0x4\n", depth - 2, depth - 1);
    assert_true(strlen(trace) > strlen(expected));
    assert_string_equal(trace + strlen(trace) - strlen(expected), expected);

    struct wasm_frame many[200];
    uint32_t before = 0;
    assert_int_equal(start(&world, "deep", args, 100), WASM_RUN_FUEL);
    for (int slice = 0; slice < 5; slice++) {
        uint32_t count = wasm_thread_stack(world.thread, many, 200);
        assert_true(count > before && count < 200);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(many[i].func_index, 7); /* deep */
        before = count;
        assert_int_equal(wasm_thread_run(world.thread, 100), WASM_RUN_FUEL);
    }
    wasm_thread_abandon(world.thread);
    close_world(&world);
}

/* A thousand guests alive at once, each waiting. */
static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct world worlds[COUNT];
    union wasm_value args[1] = {{.i32 = 5}};
    for (int i = 0; i < COUNT; i++) {
        open_world(&worlds[i], NULL);
        assert_int_equal(start(&worlds[i], "waits", args, 1000), WASM_RUN_WAIT);
        assert_true(wasm_store_overhead_bytes(worlds[i].store) < 16384);
    }
    for (int i = 0; i < COUNT; i++) {
        worlds[i].ready = true;
        assert_int_equal(wasm_thread_run(worlds[i].thread, 1000), WASM_RUN_DONE);
        assert_int_equal(wasm_thread_result(worlds[i].thread)->i32, 5006);
        close_world(&worlds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),        cmocka_unit_test(test_fuel),
        cmocka_unit_test(test_recorded_fuel),
        cmocka_unit_test(test_fault_in_loop),
        cmocka_unit_test(test_traps),        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_nested_traps), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_moves),        cmocka_unit_test(test_across_instances),
        cmocka_unit_test(test_many),         cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
