/* links: interp/wasm
 *
 * The interpreter in a program of your own: a module whose function `sum` calls the host function
 * `log` and traps where its argument is 0. interp/README.md says how to build this alone. */
#include <stdio.h>

#include "interp/wasm/wasm.h"

/* (module
     (import "host" "log" (func $log (param i32)))
     (func $sum (export "sum") (param $n i32) (result i32) (local $total i32)
       (if (i32.eqz (local.get $n)) (then (unreachable)))
       (loop
         (call $log (local.get $n))
         (local.set $total (i32.add (local.get $total) (local.get $n)))
         (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
       (local.get $total))) */
static const uint8_t guest[] = {
    0x00, 'a',  's',  'm',  0x01, 0x00, 0x00, 0x00, 0x01, 0x0A, 0x02, 0x60, 0x01, 0x7F, 0x00, 0x60,
    0x01, 0x7F, 0x01, 0x7F, 0x02, 0x0C, 0x01, 0x04, 'h',  'o',  's',  't',  0x03, 'l',  'o',  'g',
    0x00, 0x00, 0x03, 0x02, 0x01, 0x01, 0x07, 0x07, 0x01, 0x03, 's',  'u',  'm',  0x00, 0x01, 0x0A,
    0x26, 0x01, 0x24, 0x01, 0x01, 0x7F, 0x20, 0x00, 0x45, 0x04, 0x40, 0x00, 0x0B, 0x03, 0x40, 0x20,
    0x00, 0x10, 0x00, 0x20, 0x01, 0x20, 0x00, 0x6A, 0x21, 0x01, 0x20, 0x00, 0x41, 0x01, 0x6B, 0x22,
    0x00, 0x0D, 0x00, 0x0B, 0x20, 0x01, 0x0B,
};

static enum wasm_host_result host_log(struct wasm_host_call *call, void *user)
{
    (void)user;
    printf("the guest says %u\n", call->values[0].i32);
    return WASM_HOST_DONE;
}

/* Runs sum(n) in slices of 10 units of fuel, up to `fuel_max`. Between the slices an event loop
 * could do other things, or run other guests: nothing of the guest is on the C stack then. */
static void call_sum(struct wasm_thread *thread, struct wasm_func *sum, uint32_t n,
                     uint64_t fuel_max)
{
    const union wasm_value args[1] = {{.i32 = n}};
    uint64_t begin = wasm_thread_fuel_used(thread);
    enum wasm_run run = WASM_RUN_FUEL;
    if (wasm_thread_call(thread, sum, args) != ERR_OK)
        return;
    while (run == WASM_RUN_FUEL && wasm_thread_fuel_used(thread) - begin < fuel_max)
        run = wasm_thread_run(thread, 10);
    unsigned long long used = wasm_thread_fuel_used(thread) - begin;
    if (run == WASM_RUN_DONE) {
        printf("sum(%u) = %u, for %llu units of fuel\n", n, wasm_thread_result(thread)->i32, used);
    } else if (run == WASM_RUN_TRAP) {
        printf("sum(%u) trapped: %s\n%s", n, wasm_thread_trap_text(thread),
               wasm_thread_back_trace(thread));
    } else {
        printf("sum(%u) is stopped\n", n);
        wasm_thread_abandon(thread);
    }
}

int main(void)
{
    static const uint32_t params[] = {WASM_I32};
    const struct wasm_functype log_type = {.param_count = 1, .params = params};
    const struct wasm_store_limits limits = {.memory_bytes_max = 1 << 20};
    struct report report = {0};
    struct wasm_module *module;
    struct wasm_store *store = NULL;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    struct wasm_extern import = {.kind = WASM_FUNC}, sum;

    if (wasm_module_create(guest, sizeof guest, &module, &report) != ERR_OK ||
        wasm_store_create(&limits, &store, &report) != ERR_OK ||
        !(import.of.func = wasm_func_create_host(store, &log_type, "log", host_log, NULL)) ||
        wasm_instance_create(store, module, &import, 1, &instance, &report) != ERR_OK ||
        wasm_thread_create(store, &thread) != ERR_OK) {
        fprintf(stderr, "%s\n", report.text[0] ? report.text : "out of memory");
        return 1;
    }
    if (wasm_instance_export(instance, "sum", 3, &sum) && sum.kind == WASM_FUNC) {
        call_sum(thread, sum.of.func, 3, 1000);
        call_sum(thread, sum.of.func, 0, 1000);
        call_sum(thread, sum.of.func, 1000000000, 20);
    }
    wasm_thread_destroy(thread);
    wasm_store_destroy(store);
    wasm_module_unref(module);
    return 0;
}
