/* links: interp/wasm
 *
 * The interpreter against native code and against its peers: the programs of bench/wasm, compiled
 * here by the C compiler of the build and, for the guest, by clang for wasm32 when the bench runs.
 *
 *     build/bench/bench_interp [--rounds N] [--wasm-dir DIR] [--json] [--peer NAME=COMMAND]...
 *                              [NAME...]
 *
 * Prints processor time in milliseconds, the median of N rounds (5), in which native code, this
 * interpreter and every peer take turns, and the ratio to native code; with fuel and bounds checks
 * as inlets run. Then the cost of host calls, of suspending and of instantiating.
 *
 * A peer is a command in which {file} stands for the module and {n} for the argument of its export
 * `run`; it prints the result. Its time is that of the whole process, less the same with n = 1.
 * NAME chooses programs; `scalar` and `simd` are those groups (without any: all). The 128-bit
 * programs are native code with AVX2 enabled. CLANG and WASM_LD name other tools than clang-19 and
 * wasm-ld-19; PEER_INTERPS holds peers too, one per line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
#include "bench/wasm/token_loop.c"
#if defined(__x86_64__) /* v128.h has no other native half */
#define HAVE_SIMD 1
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#include "bench/wasm/simd_blur.c"
#include "bench/wasm/simd_chacha.c"
#include "bench/wasm/simd_dot.c"
#include "bench/wasm/simd_mandel.c"
#include "bench/wasm/simd_matmul.c"
#include "bench/wasm/simd_scan.c"
#pragma GCC pop_options
#else
#define HAVE_SIMD 0
#endif
#pragma GCC diagnostic pop

struct program {
    const char *name, *group;
    int32_t n;
    int32_t (*native)(int32_t);
};
static const struct program programs[] = {
#define GUEST_PROGRAM(name, n) {#name, "scalar", n, name},
#if HAVE_SIMD
#define GUEST_SIMD(name, n) {#name, "simd", n, name},
#else
#define GUEST_SIMD(name, n)
#endif
#include "bench/wasm/guests.def"
#undef GUEST_PROGRAM
#undef GUEST_SIMD
    {"mixed", "training", 120, mixed}, /* runs only when it is named */
};
enum { PROGRAMS = sizeof programs / sizeof programs[0], PEERS_MAX = 16, ROUNDS_MAX = 99 };

static struct peer {
    const char *name, *command;
    double log_sum; /* of its ratios to native code */
    int count;
} peers[PEERS_MAX];
static int peer_count;

static const char *wasm_dir = "build/bench/wasm";
static int rounds = 5;
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
static bool compile(const char *name, bool simd)
{
    char command[1000];
    snprintf(command, sizeof command,
             "mkdir -p %s && %s --target=wasm32 -O2 -I. -ffreestanding -mbulk-memory "
             "-mnontrapping-fptoint %s -c bench/wasm/%s.c -o %s/%s.o && %s --no-entry "
             "--export-dynamic -z stack-size=65536 %s/%s.o -o %s/%s.wasm",
             wasm_dir, tool("CLANG", "clang-19"), simd ? "-msimd128" : "", name, wasm_dir, name,
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

/* ---- peers ------------------------------------------------------------------------------- */

/* Processor time of one run of the peer in ms, or -1 when it fails or prints another result. */
static double run_peer(const struct peer *peer, const char *name, int32_t n, const int32_t *wanted)
{
    char command[1000], output[4000], *words[40];
    size_t used = 0, got = 0;
    int count = 0, pipe_ends[2], status;
    for (const char *p = peer->command; *p && used < sizeof command - 300;) {
        if (strncmp(p, "{file}", 6) == 0) {
            used += (size_t)sprintf(command + used, "%.200s/%s.wasm", wasm_dir, name);
            p += 6;
        } else if (strncmp(p, "{n}", 3) == 0) {
            used += (size_t)sprintf(command + used, "%d", n);
            p += 3;
        } else {
            command[used++] = *p++;
        }
    }
    command[used] = 0;
    for (char *word = strtok(command, " "); word && count < 39; word = strtok(NULL, " "))
        words[count++] = word;
    words[count] = NULL;
    if (count == 0 || pipe(pipe_ends) != 0)
        die(peer->name, "cannot be started");
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], 1);
        close(pipe_ends[0]);
        execvp(words[0], words);
        _exit(127);
    }
    close(pipe_ends[1]);
    for (ssize_t more; (more = read(pipe_ends[0], output + got, sizeof output - 1 - got)) > 0;)
        got += (size_t)more;
    output[got] = 0;
    close(pipe_ends[0]);
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
        return -1;
    if (wanted) {
        char as_signed[20], as_unsigned[20];
        snprintf(as_signed, sizeof as_signed, "%d", *wanted);
        snprintf(as_unsigned, sizeof as_unsigned, "%u", (uint32_t)*wanted);
        if (!strstr(output, as_signed) && !strstr(output, as_unsigned))
            return -1;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static int compare_doubles(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}
/* Negative when any of the values is. */
static double median(double *values)
{
    qsort(values, (size_t)rounds, sizeof *values, compare_doubles);
    return values[0] < 0 ? -1 : values[rounds / 2];
}

static double measure(const struct program *program)
{
    static double native[ROUNDS_MAX], own[ROUNDS_MAX];
    static double theirs[PEERS_MAX][ROUNDS_MAX], empty[PEERS_MAX][ROUNDS_MAX];
    volatile int32_t n = program->n;
    int32_t first = 0; /* a fresh process's result: guests may keep state between calls */
    struct guest guest;
    open_guest(&guest, program->name);
    for (int round = 0; round < rounds; round++) {
        double start = cpu_ms();
        int32_t wanted = program->native(n);
        double middle = cpu_ms();
        int32_t got = run_guest(&guest, n);
        double end = cpu_ms();
        native[round] = middle - start;
        own[round] = end - middle;
        if (round == 0)
            first = wanted;
        if (wanted != got && round == 0)
            die(program->name, "the guest's result is not the native one");
        for (int i = 0; i < peer_count; i++) {
            theirs[i][round] = run_peer(&peers[i], program->name, n, &first);
            empty[i][round] = theirs[i][round] < 0 ? -1 : run_peer(&peers[i], program->name, 1, NULL);
        }
    }
    double units = (double)wasm_thread_fuel_used(guest.thread) / rounds;
    double native_ms = median(native), own_ms = median(own);
    close_guest(&guest);
    printf("%-14s %9.1f %12.1f %8.2f %10.2f", program->name, native_ms, own_ms, own_ms / native_ms,
           own_ms * 1e6 / units);
    double peer_ms[PEERS_MAX];
    for (int i = 0; i < peer_count; i++) {
        double all = median(theirs[i]), nothing = median(empty[i]);
        peer_ms[i] = all < 0 || nothing < 0 ? -1 : all - nothing;
        if (peer_ms[i] < 0) {
            printf(" %10s", "-");
            continue;
        }
        printf(" %10.1f", peer_ms[i]);
        peers[i].log_sum += logarithm(peer_ms[i] / native_ms);
        peers[i].count++;
    }
    printf("\n");
    if (as_json) {
        printf("json: {\"bench\":\"interp\",\"program\":\"%s\",\"native_ms\":%.3f,"
               "\"interpreted_ms\":%.3f,\"ratio\":%.3f",
               program->name, native_ms, own_ms, own_ms / native_ms);
        for (int i = 0; i < peer_count; i++)
            if (peer_ms[i] >= 0)
                printf(",\"%s_ms\":%.3f", peers[i].name, peer_ms[i]);
        printf("}\n");
    }
    fflush(stdout);
    return own_ms / native_ms;
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
    static const uint32_t i32[1] = {WASM_I32};
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

static void add_peer(char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || peer_count == PEERS_MAX)
        die(text, "a peer is NAME=COMMAND, with {file} and {n} in the command");
    *equals = 0;
    peers[peer_count++] = (struct peer){.name = text, .command = equals + 1};
}

int main(int argc, char **argv)
{
    int first = 1;
    char *lines = getenv("PEER_INTERPS");
    for (char *line = lines ? strtok(lines, "\n") : NULL; line; line = strtok(NULL, "\n"))
        add_peer(line);
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--rounds") == 0 && first + 1 < argc)
            rounds = atoi(argv[++first]);
        else if (strcmp(argv[first], "--wasm-dir") == 0 && first + 1 < argc)
            wasm_dir = argv[++first];
        else if (strcmp(argv[first], "--json") == 0)
            as_json = true;
        else if (strcmp(argv[first], "--peer") == 0 && first + 1 < argc)
            add_peer(argv[++first]);
        else
            die(argv[first], "unknown option");
    }
    if (rounds < 1 || rounds > ROUNDS_MAX)
        die("--rounds", "between 1 and 99");
    printf("%-14s %9s %12s %8s %10s", "program", "native ms", "interpreted", "ratio", "ns/instr");
    for (int i = 0; i < peer_count; i++)
        printf(" %10s", peers[i].name);
    printf("\n");
    double sum = 0;
    int count = 0;
    for (int i = 0; i < PROGRAMS; i++) {
        bool wanted = first == argc && strcmp(programs[i].group, "training") != 0;
        for (int k = first; k < argc; k++)
            wanted |= strcmp(argv[k], programs[i].name) == 0 || strcmp(argv[k], programs[i].group) == 0;
        if (!wanted)
            continue;
        if (!compile(programs[i].name, strcmp(programs[i].group, "simd") == 0))
            die(programs[i].name, "does not compile for wasm32 (is clang-19 with lld there?)");
        sum += logarithm(measure(&programs[i]));
        count++;
    }
    if (count > 0) {
        printf("geometric mean of %d: %.2f", count, __builtin_exp(sum / count));
        for (int i = 0; i < peer_count; i++)
            if (peers[i].count > 0)
                printf("; %s %.2f of %d", peers[i].name,
                       __builtin_exp(peers[i].log_sum / peers[i].count), peers[i].count);
        printf("\n");
    }
    if (first == argc) {
        printf("host call and back: %.1f ns; waiting and resuming: %.1f ns\n",
               host_ns(host_done, 20000000), host_ns(host_wait, 5000000));
        printf("store, instance, thread, first call, destroy (coremark guest): %.1f us\n",
               instantiate_ns("coremark", 20000) / 1000);
    }
    return 0;
}
