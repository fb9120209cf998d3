/* links: interp/wasm
 *
 * The heap of objects, with the guest of tests/unit/interp/wasm/test_gc.c.
 *
 *     build/bench/bench_gc [--rounds N]
 *
 * Prints, for each program, the best of N rounds of processor time, what one object (or one node
 * visited) costs, and how often was collected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "interp/wasm/code.h"
#include "tests/unit/interp/wasm/guests_gc.h"

static double cpu_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static enum wasm_host_result nothing(struct wasm_host_call *call, void *user)
{
    (void)call;
    (void)user;
    return WASM_HOST_DONE;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

struct program {
    const char *title, *name;
    uint32_t args[2];
    double objects;
};

static const struct program programs[] = {
    {"binary trees, depth 16, 20 times", "trees", {16, 20}, 20.0 * 65535},
    {"list of 1,000,000, built and summed", "build_sum", {1000000, 0}, 1e6},
    {"2,000,000 arrays of 16 bytes", "churn", {16, 2000000}, 2e6},
    {"200,000 arrays of 1,000 bytes", "churn", {1000, 200000}, 2e5},
    {"2,000 arrays of 100,000 bytes", "churn", {100000, 2000}, 2e3},
};

static void measure(const struct program *program, int rounds)
{
    static const uint32_t any[1] = {WASM_ANYREF};
    const struct wasm_functype type = {1, 1, any, any};
    double best = 1e30;
    uint64_t collections = 0;
    for (int i = 0; i < rounds; i++) {
        struct wasm_store *store;
        struct wasm_module *module;
        struct wasm_instance *instance;
        struct wasm_thread *thread;
        struct wasm_extern func;
        must(wasm_store_create(NULL, &store, NULL) == ERR_OK, "a store");
        must(wasm_module_create(guest_objects, sizeof guest_objects, &module, NULL) == ERR_OK,
             "the module");
        struct wasm_extern imports[2];
        for (int k = 0; k < 2; k++)
            imports[k] = (struct wasm_extern){
                WASM_FUNC, {.func = wasm_func_create_host(store, &type, "host", nothing, NULL)}};
        must(wasm_instance_create(store, module, imports, 2, &instance, NULL) == ERR_OK,
             "the instance");
        must(wasm_thread_create(store, &thread) == ERR_OK, "a thread");
        must(wasm_instance_export(instance, program->name, strlen(program->name), &func),
             program->name);
        union wasm_value args[2] = {{.i64 = program->args[0]}, {.i64 = program->args[1]}};
        double start = cpu_ms();
        must(wasm_thread_call(thread, func.of.func, args) == ERR_OK, "the call");
        must(wasm_thread_run(thread, UINT64_C(1) << 50) == WASM_RUN_DONE, program->name);
        double ms = cpu_ms() - start;
        best = ms < best ? ms : best;
        collections = store->objects.collections;
        wasm_module_unref(module);
        wasm_store_destroy(store);
    }
    printf("%-38s %8.1f ms %9.1f ns/object %6llu collections\n", program->title, best,
           best * 1e6 / program->objects, (unsigned long long)collections);
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 && strcmp(argv[1], "--rounds") == 0 ? atoi(argv[2]) : 3;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        measure(&programs[i], rounds);
    return 0;
}
