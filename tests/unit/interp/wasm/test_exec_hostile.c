/* links: interp/wasm
 *
 * Functions made to hurt the translator, threads that translate one module at once, and memories
 * without guard pages. A translator that is not linear does not finish here. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "interp/wasm/wasm.h"
#include "tests/unit/interp/wasm/guests.h"

/* ---- modules of one function [i32] -> [i32] ---------------------------------------------- */

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

static void section(struct buf *out, unsigned id, const struct buf *content)
{
    put(out, id);
    leb(out, content->count);
    assert_true(buf_append(out, content->data, content->count));
}

/* `locals` i64 locals beside the parameter; `code` without the final end. */
static struct wasm_module *module_of(uint32_t locals, const struct buf *code, struct report *report)
{
    struct buf module, part, body;
    buf_init(&module, NULL);
    buf_init(&part, NULL);
    buf_init(&body, NULL);
    assert_true(buf_append(&module, "\0asm\1\0\0\0", 8));
    assert_true(buf_append(&part, "\1\x60\1\x7f\1\x7f", 6));
    section(&module, 1, &part);
    buf_clear(&part);
    assert_true(buf_append(&part, "\1\0", 2));
    section(&module, 3, &part);
    buf_clear(&part);
    assert_true(buf_append(&part, "\1\1f\0\0", 5));
    section(&module, 7, &part);
    buf_clear(&part);
    leb(&body, 1);
    leb(&body, locals);
    put(&body, 0x7E);
    assert_true(buf_append(&body, code->data, code->count));
    put(&body, 0x0B);
    put(&part, 1);
    leb(&part, body.count);
    assert_true(buf_append(&part, body.data, body.count));
    section(&module, 10, &part);
    struct wasm_module *result = NULL;
    enum err err =
        wasm_module_create((const uint8_t *)module.data, module.count, &result, report);
    assert_true((err == ERR_OK) == (result != NULL));
    buf_deinit(&module);
    buf_deinit(&part);
    buf_deinit(&body);
    return result;
}

static enum wasm_run run_f(struct wasm_module *module, uint32_t argument, uint32_t *result,
                           char *text)
{
    struct report report = {0};
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    struct wasm_extern f;
    assert_int_equal(wasm_store_create(NULL, &store, NULL), ERR_OK);
    assert_int_equal(wasm_instance_create(store, module, NULL, 0, &instance, &report), ERR_OK);
    assert_int_equal(wasm_thread_create(store, &thread), ERR_OK);
    assert_true(wasm_instance_export(instance, "f", 1, &f));
    union wasm_value args[1] = {{.i32 = argument}};
    assert_int_equal(wasm_thread_call(thread, f.of.func, args), ERR_OK);
    enum wasm_run run;
    do
        run = wasm_thread_run(thread, 1000000000);
    while (run == WASM_RUN_FUEL); /* a large function is being translated */
    if (run == WASM_RUN_DONE)
        *result = wasm_thread_result(thread)->i32;
    else
        strncpy(text, wasm_thread_trap_text(thread), 199);
    wasm_store_destroy(store);
    return run;
}

static void expect(uint32_t locals, const struct buf *code, uint32_t argument, uint32_t expected)
{
    struct report report = {0};
    char text[200] = "";
    uint32_t result = 0;
    struct wasm_module *module = module_of(locals, code, &report);
    if (!module)
        fail_msg("%s", report.text);
    if (run_f(module, argument, &result, text) != WASM_RUN_DONE)
        fail_msg("%s", text);
    assert_int_equal(result, expected);
    wasm_module_unref(module);
}

static void test_many_locals(void **state)
{
    (void)state;
    struct buf code;
    buf_init(&code, NULL);
    assert_true(buf_append(&code, "\x20\0", 2));
    expect(60000, &code, 7, 7);
    struct report report = {0};
    struct wasm_module *module = module_of(100000, &code, &report);
    if (module) {
        char text[200] = "";
        uint32_t result;
        assert_int_equal(run_f(module, 7, &result, text), WASM_RUN_TRAP);
        assert_non_null(strstr(text, "65,000 slots"));
        wasm_module_unref(module);
    }
    buf_deinit(&code);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 50000 };
    struct buf code;
    buf_init(&code, NULL);
    for (int i = 0; i < DEPTH; i++)
        assert_true(buf_append(&code, "\x02\x40", 2));
    assert_true(buf_append(&code, "\x20\0\x0e", 3)); /* br_table on the parameter, to every label */
    leb(&code, DEPTH - 1);
    for (uint32_t i = 0; i < DEPTH; i++)
        leb(&code, i);
    for (int i = 0; i < DEPTH; i++)
        put(&code, 0x0B);
    assert_true(buf_append(&code, "\x20\0", 2));
    expect(1, &code, 123, 123);
    expect(1, &code, 123456, 123456);
    buf_deinit(&code);
}

/* Pending reads of a local on a deep stack, before each write of it. */
static void test_pending_locals(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    struct buf code;
    buf_init(&code, NULL);
    for (int i = 0; i < COUNT; i++)
        assert_true(buf_append(&code, "\x41\1", 2)); /* constants that stay pending */
    for (int i = 0; i < COUNT; i++)                  /* get, add one, set; old value stays */
        assert_true(buf_append(&code, "\x20\0\x20\0\x41\1\x6a\x21\0", 9));
    for (int i = 0; i < 2 * COUNT - 1; i++)
        put(&code, 0x6A);
    /* 30000 ones and the numbers a .. a + 29999 */
    expect(1, &code, 5, COUNT + COUNT * 5 + (uint32_t)((uint64_t)COUNT * (COUNT - 1) / 2));
    buf_deinit(&code);
}

/* Many conditional branches that each carry a value through a moved slot. */
static void test_carrying_branches(void **state)
{
    (void)state;
    struct buf code;
    buf_init(&code, NULL);
    assert_true(buf_append(&code, "\x02\x7f\x41\x2a", 4)); /* block (result i32) const 42 */
    for (int i = 0; i < 50000; i++)
        assert_true(buf_append(&code, "\x20\0\x41\0\x0d\0\x1a", 7)); /* get, 0, br_if 0, drop */
    put(&code, 0x0B);
    expect(1, &code, 5, 42);
    buf_deinit(&code);
}

/* ---- one module, many threads ------------------------------------------------------------ */

static enum wasm_host_result one(struct wasm_host_call *call, void *user)
{
    (void)user;
    call->values[0].i32 = 1;
    return WASM_HOST_DONE;
}

static const uint32_t i32_type[1] = {WASM_I32}, i32_i64_types[2] = {WASM_I32, WASM_I64};

static uint32_t run_export(struct wasm_module *module, const char *name, uint32_t argument,
                           const char *trap)
{
    const struct wasm_functype plain = {1, 1, i32_type, i32_type};
    const struct wasm_functype two = {2, 1, i32_i64_types, i32_type};
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    struct wasm_extern f;
    uint32_t result = UINT32_MAX;
    if (wasm_store_create(NULL, &store, NULL) != ERR_OK)
        return result;
    struct wasm_extern imports[4];
    for (int i = 0; i < 4; i++)
        imports[i] = (struct wasm_extern){
            WASM_FUNC,
            {.func = wasm_func_create_host(store, i == 2 ? &two : &plain, "one", one, NULL)}};
    union wasm_value args[2] = {{.i32 = argument}, {.i64 = 0}};
    if (wasm_instance_create(store, module, imports, 4, &instance, NULL) == ERR_OK &&
        wasm_thread_create(store, &thread) == ERR_OK &&
        wasm_instance_export(instance, name, strlen(name), &f) &&
        wasm_thread_call(thread, f.of.func, args) == ERR_OK) {
        enum wasm_run run = wasm_thread_run(thread, 1000000000);
        if (run == WASM_RUN_DONE && !trap)
            result = wasm_thread_result(thread)->i32;
        else if (run == WASM_RUN_TRAP && trap && strstr(wasm_thread_trap_text(thread), trap))
            result = 0;
    }
    wasm_store_destroy(store);
    return result;
}

static void *translate_and_run(void *module)
{
    for (int i = 0; i < 20; i++)
        if (run_export(module, "fib", 12, NULL) != 144 ||
            run_export(module, "deep", 100, NULL) != 100 ||
            run_export(module, "read", 1 << 20, "out of bounds memory access") != 0)
            return module;
    return NULL;
}

static void test_shared_module(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    for (int round = 0; round < 5; round++) {
        struct wasm_module *module;
        pthread_t threads[THREADS];
        assert_int_equal(wasm_module_create(guest_calls, sizeof guest_calls, &module, NULL),
                         ERR_OK);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, translate_and_run, module), 0);
        for (int i = 0; i < THREADS; i++) {
            void *failed;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
        wasm_module_unref(module);
    }
}

/* ---- without guard pages ----------------------------------------------------------------- */

/* The choice is made once in a process, so this runs in a child that starts over: its address
 * space is bounded before the first memory exists. */
static int bounded_child(void)
{
    struct rlimit limit = {UINT64_C(3) << 30, UINT64_C(3) << 30};
    struct wasm_module *module;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)limit; /* sanitizers need the address space, and check explicitly anyway */
#else
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 1;
#endif
    if (wasm_module_create(guest_calls, sizeof guest_calls, &module, NULL) != ERR_OK)
        return 2;
    if (run_export(module, "fib", 12, NULL) != 144 || run_export(module, "read", 65528, NULL) != 0)
        return 3;
    if (run_export(module, "read", 65529, "out of bounds memory access") != 0 ||
        run_export(module, "read_far", UINT32_MAX, "out of bounds memory access") != 0 ||
        run_export(module, "write", 65529, "out of bounds memory access") != 0)
        return 4;
    if (run_export(module, "grow", 2, NULL) != 1)
        return 5;
    wasm_module_unref(module);
    return 0;
}

static void test_bounded_address_space(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(bounded_child());
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded_address_space), /* before any memory is made */
        cmocka_unit_test(test_many_locals),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_pending_locals),
        cmocka_unit_test(test_carrying_branches),
        cmocka_unit_test(test_shared_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
