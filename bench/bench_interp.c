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
    return 0;
}
