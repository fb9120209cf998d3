/* links: interp/wasm
 *
 * The interpreter against native code: the programs of bench/wasm, compiled here by the C compiler
 * of the build and, for the guest, by clang for wasm32 when the bench runs.
 *
 *     build/bench/bench_interp [--rounds N] [--wasm-dir DIR] [--json] [NAME...]
 *
 * Prints milliseconds (best of N rounds, processor time) and the ratio, with fuel and bounds
 * checks as inlets run; then the cost of host calls, of suspending and of instantiating.
 * CLANG and WASM_LD name other tools than clang-19 and wasm-ld-19. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "interp/wasm/wasm.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "bench/wasm/automaton.c"
#include "bench/wasm/copy.c"
#include "bench/wasm/coremark.c"
#include "bench/wasm/fib.c"
#include "bench/wasm/json.c"
#include "bench/wasm/mandel.c"
#include "bench/wasm/matmul.c"
#include "bench/wasm/mixed.c"
#include "bench/wasm/nbody.c"
#include "bench/wasm/quicksort.c"
#include "bench/wasm/sha256.c"
#include "bench/wasm/sieve.c"
#include "bench/wasm/sort_callback.c"
#include "bench/wasm/strhash.c"
#pragma GCC diagnostic pop

struct program {
    const char *name;
    int32_t n;
    int32_t (*native)(int32_t);
};
static const struct program programs[] = {
#define GUEST_PROGRAM(name, n) {#name, n, name},
#include "bench/wasm/guests.def"
#undef GUEST_PROGRAM
};
enum { PROGRAMS = sizeof programs / sizeof programs[0] };

static const char *wasm_dir = "build/bench/wasm";
static int rounds = 3;
static bool as_json;

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *tool(const char *variable, const char *fallback)
{
    const char *value = getenv(variable);
    return value ? value : fallback;
}

/* Compiles and links apart: clang's driver may run an old wasm-opt that breaks code. */
static bool compile(const char *name)
{
    char command[1000];
    snprintf(command, sizeof command,
             "mkdir -p %s && %s --target=wasm32 -O2 -I. -ffreestanding -mbulk-memory "
             "-mnontrapping-fptoint -c bench/wasm/%s.c -o %s/%s.o && %s --no-entry "
             "--export-dynamic -z stack-size=65536 %s/%s.o -o %s/%s.wasm",
             wasm_dir, tool("CLANG", "clang-19"), name, wasm_dir, name,
             tool("WASM_LD", "wasm-ld-19"), wasm_dir, name, wasm_dir, name);
    return system(command) == 0;
}

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_interp: %s: %s\n", what, why);
    exit(1);
}

struct guest {
    struct wasm_module *module;
    struct wasm_store *store;
    struct wasm_instance *instance;
    struct wasm_thread *thread;
    struct wasm_func *run;
};

static void open_guest(struct guest *guest, const char *name)
{
    char path[500];
    struct report report = {0};
    char *data;
    size_t bytes;
    struct wasm_extern run;
    snprintf(path, sizeof path, "%s/%s.wasm", wasm_dir, name);
    if (file_read(path, 1 << 24, NULL, &data, &bytes, &report) != ERR_OK ||
        wasm_module_create((const uint8_t *)data, bytes, &guest->module, &report) != ERR_OK ||
        wasm_store_create(NULL, &guest->store, &report) != ERR_OK ||
        wasm_instance_create(guest->store, guest->module, NULL, 0, &guest->instance, &report) !=
            ERR_OK ||
        wasm_thread_create(guest->store, &guest->thread) != ERR_OK ||
        !wasm_instance_export(guest->instance, "run", 3, &run))
        die(name, report.text);
    mem_free(NULL, data);
    guest->run = run.of.func;
}

static void close_guest(struct guest *guest)
{
    wasm_store_destroy(guest->store);
    wasm_module_unref(guest->module);
}

static int32_t run_guest(struct guest *guest, int32_t n)
{
    union wasm_value args[1] = {{.i32 = (uint32_t)n}};
    if (wasm_thread_call(guest->thread, guest->run, args) != ERR_OK)
        die("call", "refused");
    enum wasm_run run;
    do
        run = wasm_thread_run(guest->thread, 10000000);
    while (run == WASM_RUN_FUEL);
    if (run != WASM_RUN_DONE)
        die("run", wasm_thread_trap_text(guest->thread));
    return (int32_t)wasm_thread_result(guest->thread)->i32;
}

/* ln(x), so that the bench needs no more of libm than the build links anyway. */
static double logarithm(double x)
{
    return __builtin_log(x);
}

static double measure(const struct program *program)
{
    double native = 1e30, interpreted = 1e30;
    volatile int32_t n = program->n;
    int32_t wanted = 0, got = 0;
    struct guest guest;
    open_guest(&guest, program->name);
    for (int round = 0; round < rounds; round++) {
        double start = cpu_ms();
        wanted = program->native(n);
        double middle = cpu_ms();
        got = run_guest(&guest, n);
        double end = cpu_ms();
        if (middle - start < native)
            native = middle - start;
        if (end - middle < interpreted)
            interpreted = end - middle;
        if (round == 0 && wanted != got)
            die(program->name, "the guest's result is not the native one");
    }
    double units = (double)wasm_thread_fuel_used(guest.thread) / rounds;
    close_guest(&guest);
    if (as_json)
        printf("{\"program\":\"%s\",\"native_ms\":%.3f,\"interpreted_ms\":%.3f,\"ratio\":%.3f}\n",
               program->name, native, interpreted, interpreted / native);
    else
        printf("%-14s %9.1f %12.1f %8.2f %10.2f\n", program->name, native, interpreted,
               interpreted / native, interpreted * 1e6 / units);
    fflush(stdout);
    return interpreted / native;
}

/* ---- host calls, waiting, instantiating -------------------------------------------------- */

/* (module (import "h" "f" (func $f (param i32) (result i32))) (memory 1)
 *   (func (export "run") (param i32) (result i32) (local i32)
 *     (loop (local.set 1 (i32.add (local.get 1) (call $f (local.get 0))))
 *           (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1))) */
static const uint8_t calls_wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x02, 0x07, 0x01, 0x01, 0x68, 0x01, 0x66, 0x00, 0x00, 0x03, 0x02, 0x01, 0x00, 0x05, 0x03, 0x01,
    0x00, 0x01, 0x07, 0x07, 0x01, 0x03, 0x72, 0x75, 0x6e, 0x00, 0x01, 0x0a, 0x1d, 0x01, 0x1b, 0x01,
    0x01, 0x7f, 0x03, 0x40, 0x20, 0x01, 0x20, 0x00, 0x10, 0x00, 0x6a, 0x21, 0x01, 0x20, 0x00, 0x41,
    0x01, 0x6b, 0x22, 0x00, 0x0d, 0x00, 0x0b, 0x20, 0x01, 0x0b,
};

static enum wasm_host_result host_done(struct wasm_host_call *call, void *user)
{
    (void)user;
    call->values[0].i32 &= 1;
    return WASM_HOST_DONE;
}
static enum wasm_host_result host_wait(struct wasm_host_call *call, void *user)
{
    (void)user;
    return call->state->step++ == 0 ? WASM_HOST_WAIT : WASM_HOST_DONE;
}

static double host_ns(wasm_host_fn fn, uint32_t calls)
{
    static const uint8_t i32[1] = {WASM_I32};
    const struct wasm_functype type = {1, 1, i32, i32};
    struct report report = {0};
    struct guest guest;
    if (wasm_module_create(calls_wasm, sizeof calls_wasm, &guest.module, &report) != ERR_OK ||
        wasm_store_create(NULL, &guest.store, &report) != ERR_OK)
        die("host calls", report.text);
    struct wasm_extern import = {
        WASM_FUNC, {.func = wasm_func_create_host(guest.store, &type, "f", fn, NULL)}}, run;
    if (wasm_instance_create(guest.store, guest.module, &import, 1, &guest.instance, &report) !=
            ERR_OK ||
        wasm_thread_create(guest.store, &guest.thread) != ERR_OK ||
        !wasm_instance_export(guest.instance, "run", 3, &run))
        die("host calls", report.text);
    union wasm_value args[1] = {{.i32 = calls}};
    double start = cpu_ms();
    if (wasm_thread_call(guest.thread, run.of.func, args) != ERR_OK)
        die("host calls", "refused");
    while (wasm_thread_run(guest.thread, 1000000000) == WASM_RUN_WAIT)
        ;
    double ns = (cpu_ms() - start) * 1e6 / calls;
    close_guest(&guest);
    return ns;
}

static double instantiate_ns(const char *name, int count)
{
    struct guest first, guest;
    open_guest(&first, name);
    struct report report = {0};
    struct wasm_extern run;
    double start = cpu_ms();
    for (int i = 0; i < count; i++) {
        if (wasm_store_create(NULL, &guest.store, &report) != ERR_OK ||
            wasm_instance_create(guest.store, first.module, NULL, 0, &guest.instance, &report) !=
                ERR_OK ||
            wasm_thread_create(guest.store, &guest.thread) != ERR_OK ||
            !wasm_instance_export(guest.instance, "run", 3, &run))
            die(name, report.text);
        union wasm_value args[1] = {{.i32 = 0}};
        if (wasm_thread_call(guest.thread, run.of.func, args) != ERR_OK ||
            wasm_thread_run(guest.thread, 1000000) != WASM_RUN_DONE)
            die(name, "does not run");
        wasm_store_destroy(guest.store);
    }
    double ns = (cpu_ms() - start) * 1e6 / count;
    close_guest(&first);
    return ns;
}

int main(int argc, char **argv)
{
    int first = 1;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--rounds") == 0 && first + 1 < argc)
            rounds = atoi(argv[++first]);
        else if (strcmp(argv[first], "--wasm-dir") == 0 && first + 1 < argc)
            wasm_dir = argv[++first];
        else if (strcmp(argv[first], "--json") == 0)
            as_json = true;
        else
            die(argv[first], "unknown option");
    }
    double sum = 0;
    int count = 0;
    if (first < argc && strcmp(argv[first], "mixed") == 0) {
        static const struct program mixed_program = {"mixed", 120, mixed};
        if (!compile("mixed"))
            die("mixed", "does not compile for wasm32");
        measure(&mixed_program);
        return 0;
    }
    if (!as_json)
        printf("%-14s %9s %12s %8s %10s\n", "program", "native ms", "interpreted", "ratio",
               "ns/instr");
    for (int i = 0; i < PROGRAMS; i++) {
        bool wanted = first == argc;
        for (int k = first; k < argc; k++)
            wanted |= strcmp(argv[k], programs[i].name) == 0;
        if (!wanted)
            continue;
        if (!compile(programs[i].name))
            die(programs[i].name, "does not compile for wasm32 (is clang-19 with lld there?)");
        sum += logarithm(measure(&programs[i]));
        count++;
    }
    if (count > 0 && !as_json)
        printf("geometric mean of %d: %.2f\n", count, __builtin_exp(sum / count));
    if (first == argc && !as_json) {
        printf("host call and back: %.1f ns; waiting and resuming: %.1f ns\n",
               host_ns(host_done, 20000000), host_ns(host_wait, 5000000));
        printf("store, instance, thread, first call, destroy (coremark guest): %.1f us\n",
               instantiate_ns("coremark", 20000) / 1000);
    }
    return 0;
}
