/* links: interp/wasm
 *
 * The heap of objects: what keeps them alive, limits, fuel, host references, types across modules.
 * The instructions themselves are the spec suite's business (tests/spec/core). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "interp/wasm/code.h"
#include "interp/wasm/objdump.h"
#include "tests/unit/interp/wasm/guests_gc.h"

struct world {
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    bool waits; /* `wait` waits once */
};

static enum wasm_host_result wait_once(struct wasm_host_call *call, void *user)
{
    struct world *world = user;
    if (world->waits && call->state->step++ == 0)
        return WASM_HOST_WAIT;
    return WASM_HOST_DONE;
}

static enum wasm_host_result collect(struct wasm_host_call *call, void *user)
{
    (void)call;
    wasm_store_collect(((struct world *)user)->store);
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

static void open_world(struct world *world, uint64_t memory_bytes_max)
{
    static const uint32_t any[1] = {WASM_ANYREF};
    const struct wasm_functype type = {1, 1, any, any};
    const struct wasm_store_limits limits = {.memory_bytes_max = memory_bytes_max};
    *world = (struct world){0};
    assert_int_equal(wasm_store_create(&limits, &world->store, NULL), ERR_OK);
    struct wasm_extern imports[] = {
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &type, "wait", wait_once, world)}},
        {WASM_FUNC, {.func = wasm_func_create_host(world->store, &type, "collect", collect, world)}},
    };
    struct wasm_module *module = load(guest_objects, sizeof guest_objects);
    struct report report = {0};
    if (wasm_instance_create(world->store, module, imports, 2, &world->instance, &report) != ERR_OK)
        fail_msg("%s", report.text);
    wasm_module_unref(module);
    assert_int_equal(wasm_thread_create(world->store, &world->thread), ERR_OK);
}

static struct wasm_func *export_func(const struct wasm_instance *instance, const char *name)
{
    struct wasm_extern found;
    assert_true(wasm_instance_export(instance, name, strlen(name), &found));
    return found.of.func;
}

static enum wasm_run start(struct world *world, const char *name, const union wasm_value *args)
{
    assert_int_equal(
        wasm_thread_call(world->thread, export_func(world->instance, name), args), ERR_OK);
    return wasm_thread_run(world->thread, UINT64_C(10000000000));
}

static union wasm_value run2(struct world *world, const char *name, uint32_t a, uint32_t b)
{
    union wasm_value args[2] = {{.i64 = a}, {.i64 = b}};
    enum wasm_run run = start(world, name, args);
    if (run != WASM_RUN_DONE)
        fail_msg("%s: %d %s", name, (int)run, wasm_thread_trap_text(world->thread));
    return *wasm_thread_result(world->thread);
}

static void *run_ref(struct world *world, const char *name, void *ref)
{
    union wasm_value args[1] = {{.ref = ref}};
    enum wasm_run run = start(world, name, args);
    if (run != WASM_RUN_DONE)
        fail_msg("%s: %d %s", name, (int)run, wasm_thread_trap_text(world->thread));
    return wasm_thread_result(world->thread)->ref;
}

static uint64_t sum_to(uint64_t n)
{
    return n * (n + 1) / 2;
}

/* What is forgotten makes room: far more is allocated than fits. */
static void test_room(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(run2(&world, "build_sum", 5000, 0).i64, sum_to(5000));
    assert_int_equal(run2(&world, "trees", 10, 200).i32, 200 * 1023);
    static const uint32_t sizes[] = {1, 40, 500, 600, 3000, 9000, 30000, 40000, 100000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(run2(&world, "churn", sizes[i], 300).i32, 1);
    assert_true(world.store->objects.collections > 10);
    assert_true(wasm_store_memory_bytes(world.store) <= 1 << 20);
    wasm_store_collect(world.store);
    assert_true(wasm_store_object_bytes(world.store) < 1 << 19);
    wasm_store_destroy(world.store);
}

/* What does not fit traps, again and again, and the store goes on. */
static void test_no_room(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    union wasm_value args[2] = {{.i32 = 200000}, {.i32 = 1}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(start(&world, "build_sum", args), WASM_RUN_TRAP);
        assert_string_equal(wasm_thread_trap_text(world.thread), "out of memory");
    }
    args[0].i32 = UINT32_MAX;
    assert_int_equal(start(&world, "churn", args), WASM_RUN_TRAP);
    assert_int_equal(start(&world, "make_any", args), WASM_RUN_TRAP);
    args[0].i32 = 1 << 20;
    assert_int_equal(start(&world, "churn", args), WASM_RUN_TRAP);
    assert_int_equal(run2(&world, "build_sum", 5000, 0).i64, sum_to(5000));
    wasm_store_destroy(world.store);
}

/* Depth costs no C stack, and marking goes on where its own stack gets no memory. */
static void test_deep(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 0);
    void *list = run2(&world, "build", 1000000, 0).ref;
    struct wasm_root *root = wasm_root_create(world.store, list);
    for (uint64_t nth = 0; nth < 3; nth++) {
        (void)mem_fail_at(nth);
        wasm_store_collect(world.store);
        (void)mem_fail_at(0);
    }
    union wasm_value args[1] = {{.ref = wasm_root_ref(root)}};
    assert_int_equal(start(&world, "sum", args), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i64, sum_to(1000000));
    assert_true(wasm_store_object_bytes(world.store) >= 24000000);
    wasm_root_destroy(root);
    run2(&world, "build", 0, 0);
    wasm_store_collect(world.store);
    assert_true(wasm_store_object_bytes(world.store) < 1000000);
    assert_int_equal(run2(&world, "wide", 300000, 0).i64, sum_to(299999));
    (void)mem_fail_at(1);
    wasm_store_collect(world.store);
    (void)mem_fail_at(0);
    assert_int_equal(wasm_object_count(run2(&world, "kept", 0, 0).ref), 300000);
    wasm_store_destroy(world.store);
}

static const uint64_t roots_sum = 55 + 210 + 465 + 820 + 1275 + 1830;

/* Every place that can hold a reference keeps it, with a collection at each allocation. */
static void test_roots(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 0);
    world.store->objects.always_collect = true;
    assert_int_equal(run2(&world, "roots", 0, 0).i64, roots_sum);
    world.waits = true;
    assert_int_equal(start(&world, "roots", NULL), WASM_RUN_WAIT);
    wasm_store_collect(world.store);
    assert_int_equal(wasm_thread_run(world.thread, 1000000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i64, roots_sum);
    world.waits = false;
    uint64_t before = wasm_thread_fuel_used(world.thread);
    assert_int_equal(run2(&world, "roots", 0, 0).i64, roots_sum);
    uint64_t whole = wasm_thread_fuel_used(world.thread) - before;
    /* Another thread collects while this one stands anywhere. */
    assert_int_equal(
        wasm_thread_call(world.thread, export_func(world.instance, "roots"), NULL), ERR_OK);
    before = wasm_thread_fuel_used(world.thread);
    enum wasm_run run;
    while ((run = wasm_thread_run(world.thread, 5)) == WASM_RUN_FUEL)
        wasm_store_collect(world.store);
    assert_int_equal(run, WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i64, roots_sum);
    assert_int_equal(wasm_thread_fuel_used(world.thread) - before, whole);
    /* The collector's work costs nothing that depends on when it runs. */
    world.store->objects.always_collect = false;
    before = wasm_thread_fuel_used(world.thread);
    assert_int_equal(run2(&world, "roots", 0, 0).i64, roots_sum);
    assert_int_equal(wasm_thread_fuel_used(world.thread) - before, whole);
    /* Elements of a passive segment were made once. */
    wasm_store_collect(world.store);
    assert_int_equal(run2(&world, "passive", 0, 0).ref != NULL, true);
    uint32_t type;
    union wasm_value value[2];
    assert_true(wasm_object_get(run2(&world, "passive", 0, 0).ref, 0, &type, value));
    assert_int_equal(value[0].i32, 77);
    wasm_store_destroy(world.store);
}

static void test_trees(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 0);
    world.store->objects.always_collect = true;
    assert_int_equal(run2(&world, "trees", 6, 3).i32, 3 * 63);
    assert_int_equal(run2(&world, "wide", 200, 0).i64, sum_to(199));
    wasm_store_destroy(world.store);
}

static void test_host_references(void **state)
{
    (void)state;
    struct world world;
    int mine[2];
    uint32_t type;
    union wasm_value value[2] = {{0}};
    open_world(&world, 0);
    void *leaf = run_ref(&world, "leaf", &mine[0]);
    struct wasm_root *root = wasm_root_create(world.store, leaf);
    struct wasm_root *second = wasm_root_create(world.store, &mine[1]); /* no object: harmless */
    wasm_store_collect(world.store);
    assert_int_equal(wasm_ref_kind(leaf), WASM_REF_STRUCT);
    assert_int_equal(wasm_object_count(leaf), 4);
    assert_true(wasm_object_get(leaf, 2, &type, value));
    assert_int_equal(type, WASM_EXTERNREF);
    assert_ptr_equal(value[0].ref, &mine[0]);
    assert_true(wasm_object_get(leaf, 3, &type, value));
    assert_int_equal(type, WASM_I32);
    assert_int_equal(value[0].i32, 200);
    value[0].i32 = 0x1FF;
    assert_true(wasm_object_set(leaf, 3, value));
    assert_true(wasm_object_get(leaf, 3, &type, value));
    assert_int_equal(value[0].i32, 0xFF);
    assert_false(wasm_object_set(leaf, 0, value)); /* immutable */
    assert_false(wasm_object_set(leaf, 4, value));
    assert_false(wasm_object_get(leaf, 4, &type, value));
    union wasm_value args[1] = {{.ref = leaf}};
    assert_int_equal(start(&world, "as_leaf", args), WASM_RUN_DONE);
    assert_int_equal((int32_t)wasm_thread_result(world.thread)->i32, -1);
    assert_int_equal(start(&world, "is_tree", args), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 1);
    /* An object passed off as a host's reference is found again; a host's stays one. */
    assert_ptr_equal(run_ref(&world, "through_extern", leaf), leaf);
    assert_ptr_equal(wasm_ref_from_extern(world.store, leaf), leaf);
    void *boxed = wasm_ref_from_extern(world.store, &mine[1]);
    assert_int_equal(wasm_ref_kind(boxed), WASM_REF_HOST);
    assert_int_equal(wasm_object_count(boxed), 0);
    assert_ptr_equal(run_ref(&world, "through_extern", boxed), &mine[1]);
    run_ref(&world, "keep", boxed);
    wasm_store_collect(world.store);
    assert_ptr_equal(wasm_ref_to_extern(run_ref(&world, "kept", NULL)), &mine[1]);
    args[0].ref = boxed = run_ref(&world, "kept", NULL);
    assert_int_equal(start(&world, "as_leaf", args), WASM_RUN_TRAP);
    assert_string_equal(wasm_thread_trap_text(world.thread), "cast failure");
    /* i31s need no room. */
    for (int32_t i = -1000000000; i < 1000000000; i += 99999989) {
        void *ref = wasm_ref_make_i31(i);
        assert_int_equal(wasm_ref_kind(ref), WASM_REF_I31);
        assert_int_equal(wasm_ref_get_i31(ref), i);
        assert_ptr_equal(run_ref(&world, "through_extern", ref), ref);
        run_ref(&world, "keep", ref);
        assert_ptr_equal(run_ref(&world, "kept", NULL), ref);
    }
    assert_int_equal(wasm_ref_kind(NULL), WASM_REF_NULL);
    /* Bits that look like addresses inside of objects are none. */
    for (uintptr_t i = 1; i < 64; i++)
        assert_false(wasm_heap_has(&world.store->objects, (uintptr_t)leaf + i) &&
                     i % sizeof(union wasm_value[2]) != 0);
    wasm_root_destroy(root);
    wasm_root_destroy(second);
    wasm_store_destroy(world.store);
}

/* Types of two modules are the same when they look the same. */
static void test_types_across_modules(void **state)
{
    (void)state;
    struct world world;
    struct report report = {0};
    size_t before = mem_used_bytes();
    open_world(&world, 0);
    struct wasm_extern imports[] = {
        {WASM_FUNC, {.func = export_func(world.instance, "first")}},
        {WASM_FUNC, {.func = export_func(world.instance, "cons")}},
    };
    struct wasm_instance *instance;
    struct wasm_module *module = load(guest_import, sizeof guest_import);
    assert_int_equal(wasm_instance_create(world.store, module, imports, 2, &instance, &report),
                     ERR_OK);
    wasm_module_unref(module);
    union wasm_value args[1] = {{.i32 = 42}};
    assert_int_equal(wasm_thread_call(world.thread, export_func(instance, "both"), args), ERR_OK);
    assert_int_equal(wasm_thread_run(world.thread, 1000), WASM_RUN_DONE);
    assert_int_equal(wasm_thread_result(world.thread)->i32, 42);
    module = load(guest_import_bad, sizeof guest_import_bad);
    assert_int_equal(wasm_instance_create(world.store, module, imports, 1, &instance, &report),
                     ERR_INVALID);
    wasm_module_unref(module);
    wasm_store_destroy(world.store);
    assert_int_equal(mem_used_bytes(), before); /* the types are gone with their holders */
}

static void test_dump(void **state)
{
    (void)state;
    struct wasm_module *module = load(guest_import, sizeof guest_import);
    struct buf out;
    buf_init(&out, NULL);
    assert_true(wasm_objdump_sections(module, &out));
    buf_putc(&out, '\0');
    assert_non_null(strstr(out.data, "type 0 struct i32 (ref null 0)\n"
                                     "type 1 struct i64 (ref null 1)\n"
                                     "type 2 ((ref 0)) -> (i32)\n"));
    buf_clear(&out);
    assert_true(wasm_objdump_func(module, 2, &out));
    buf_putc(&out, '\0');
    assert_non_null(strstr(out.data, "ref.null (ref null 0)\n"));
    buf_deinit(&out);
    wasm_module_unref(module);
    module = load(guest_objects, sizeof guest_objects);
    buf_init(&out, NULL);
    assert_true(wasm_objdump_sections(module, &out));
    buf_putc(&out, '\0');
    assert_non_null(strstr(out.data, "type 1 sub struct (ref null 1) (ref null 1)\n"
                                     "type 2 sub (ref null 1) struct (ref null 1) (ref null 1) "
                                     "mut externref mut i8\n"));
    for (uint32_t i = 2; i < wasm_objdump_func_count(module); i++)
        assert_true(wasm_objdump_func(module, i, &out));
    buf_deinit(&out);
    wasm_module_unref(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_roots),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_host_references),
        cmocka_unit_test(test_types_across_modules),
        cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
