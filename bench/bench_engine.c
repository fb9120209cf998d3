/* links: engine
 *
 * The engine around the model, end to end:
 *
 *     build/bench/bench_engine [MODEL.gguf] [ROUNDS]
 *
 * - inferlets launched to their end per second, and bytes per inferlet that is alive, on the fake
 *   backend (no model, so that nothing but the engine is measured);
 * - what a token costs in an inferlet's loop beside the same loop built into C on the same backend:
 *   the tax. Both decode one sequence greedily, in turn, ROUNDS times; the medians count.
 *
 * Run from the repository's root after `make`. Prints a table and, behind "json:", the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/batch/batch.h"
#include "engine/engine.h"
#include "models/model.h"

enum { TOKENS = 256, LAUNCHES = 2000, ALIVE = 500, ROUNDS_MAX = 51 };

static void die(const char *what, const struct report *report)
{
    (void)fprintf(stderr, "bench_engine: %s: %s\n", what, report->text);
    exit(1);
}

struct tally {
    uint32_t ended, failed;
};

static void on_event(void *user, const struct engine_event *event)
{
    struct tally *tally = user;
    if (event->kind == ENGINE_EVENT_RETURN || event->kind == ENGINE_EVENT_ERROR) {
        tally->ended++;
        tally->failed += event->kind == ENGINE_EVENT_ERROR;
    }
}

static struct engine *open_engine(const char *model, char program[256], const char *name)
{
    struct engine_config config = engine_config_default();
    struct engine *engine;
    struct report report = {0};
    config.model_path = model;
    config.fake_model = model == NULL;
    config.standard_programs_dir = "build/inferlets";
    config.page_count = model ? 64 : 8192;
    if (engine_open(&config, &engine, &report) ||
        engine_program_find(engine, name, program, &report))
        die("opening the engine", &report);
    return engine;
}

static void launch(struct engine *engine, const char *program, const char *input,
                   struct tally *tally)
{
    struct report report = {0};
    char id[ENGINE_ID_BYTES];
    const struct engine_launch what = {.program = program,
                                       .input = input,
                                       .input_bytes = strlen(input),
                                       .on_event = on_event,
                                       .user = tally};
    if (engine_launch(engine, &what, id, &report))
        die("launching", &report);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

/* ---- launches ---------------------------------------------------------------------------- */

/* A line of /proc/self/status in bytes, such as "VmPTE". */
static double status_bytes(const char *name)
{
    char line[200];
    double bytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            bytes = strtod(line + strlen(name) + 1, NULL) * 1024;
    if (file)
        (void)fclose(file);
    return bytes;
}

/* What one live, waiting inferlet takes. */
struct alive {
    double memory;   /* linear memory, whether touched or not */
    double overhead; /* all else that the engine has counted */
    double resident; /* of the process: pages touched, of linear memory too */
    double tables;   /* the kernel's page tables for them */
};

static void bench_launches(double *per_second, struct alive *alive)
{
    char program[256];
    struct tally tally = {0};
    struct engine *engine = open_engine(NULL, program, "raw-completion");
    const char *input = "{\"prompt\":\"x\",\"max_tokens\":1,\"temperature\":0}";
    launch(engine, program, input, &tally); /* translates the program */
    while (engine_turn(engine, -1) > 0)
        continue;
    uint64_t begin = clock_now_ns();
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        launch(engine, program, input, &tally);
        while (engine_turn(engine, -1) > 0)
            continue;
    }
    *per_second = LAUNCHES / ((double)(clock_now_ns() - begin) / 1e9);
    double resident = status_bytes("VmRSS"), tables = status_bytes("VmPTE");
    for (uint32_t i = 0; i < ALIVE; i++)
        launch(engine, program, "{\"prompt\":\"x\",\"max_tokens\":64,\"temperature\":0}", &tally);
    for (int i = 0; i < 20; i++)
        (void)engine_turn(engine, 0);
    struct engine_stats stats = engine_stats(engine);
    double count = stats.processes_alive ? (double)stats.processes_alive : 1;
    *alive = (struct alive){.memory = (double)stats.guest_bytes / count,
                            .overhead = (double)stats.guest_overhead_bytes / count,
                            .resident = (status_bytes("VmRSS") - resident) / count,
                            .tables = (status_bytes("VmPTE") - tables) / count};
    engine_close(engine);
}

/* ---- the tax ----------------------------------------------------------------------------- */

static double inferlet_ns_per_token(struct engine *engine, const char *program)
{
    struct tally tally = {0};
    char input[128];
    uint64_t steps = engine_stats(engine).steps;
    (void)snprintf(input, sizeof input,
                   "{\"prompt\":\"The\",\"max_tokens\":%d,\"temperature\":0}", TOKENS);
    uint64_t begin = clock_now_ns();
    launch(engine, program, input, &tally);
    while (engine_turn(engine, -1) > 0)
        continue;
    uint64_t took = clock_now_ns() - begin;
    return (double)took / (double)(engine_stats(engine).steps - steps);
}

/* The same decoding without any inferlet: one request, one row, one greedy sampler per step. */
static double built_in_ns_per_token(struct backend *backend)
{
    const struct backend_caps *caps = backend_caps(backend);
    uint32_t pages[TOKENS];
    uint32_t token = 1;
    struct batch_result result;
    for (uint32_t i = 0; i < TOKENS; i++)
        pages[i] = i;
    batch_result_init(&result);
    uint64_t begin = clock_now_ns();
    for (uint32_t position = 0; position < TOKENS; position++) {
        const uint32_t token_begin[2] = {0, 1};
        const uint32_t page_begin[2] = {0, position / caps->page_tokens + 1};
        const uint32_t sampler_begin[2] = {0, 1};
        const struct batch_sampler sampler = {.kind = BATCH_TOP_P, .p = 1};
        const struct batch batch = {.request_count = 1,
                                    .token_count = 1,
                                    .tokens = &token,
                                    .positions = &position,
                                    .token_begin = token_begin,
                                    .pages = pages,
                                    .page_begin = page_begin,
                                    .kv_before = &position,
                                    .samplers = &sampler,
                                    .sampler_begin = sampler_begin};
        batch_result_reset(&result);
        backend_submit(backend, &batch, &result);
        backend_wait(backend);
        (void)backend_poll(backend);
        if (result.failed) {
            (void)fprintf(stderr, "bench_engine: %s\n", result.why);
            exit(1);
        }
        token = result.slots[0].token;
    }
    uint64_t took = clock_now_ns() - begin;
    batch_result_deinit(&result);
    return (double)took / TOKENS;
}

static void bench_tax(const char *path, uint32_t rounds, double *inferlet, double *built_in)
{
    static double with[ROUNDS_MAX];
    static double without[ROUNDS_MAX];
    char program[256];
    struct report report = {0};
    struct model *model;
    struct backend *backend;
    struct engine *engine = open_engine(path, program, "raw-completion");
    if (model_open(path, &model, &report))
        die("opening the model", &report);
    const struct backend_cpu_config config = {.model = model, .page_count = 64};
    if (backend_cpu_create(&config, &backend, &report))
        die("making a backend", &report);
    (void)inferlet_ns_per_token(engine, program);
    (void)built_in_ns_per_token(backend);
    for (uint32_t i = 0; i < rounds; i++) {
        with[i] = inferlet_ns_per_token(engine, program);
        without[i] = built_in_ns_per_token(backend);
    }
    *inferlet = median(with, rounds);
    *built_in = median(without, rounds);
    backend_destroy(backend);
    model_close(model);
    engine_close(engine);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "build/home/models/default.gguf";
    uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 9;
    double per_second;
    struct alive alive;
    double inferlet;
    double built_in;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        rounds = 9;
    bench_launches(&per_second, &alive);
    bench_tax(path, rounds, &inferlet, &built_in);
    double tax = inferlet - built_in;
    printf("launch to end, one at a time   %9.0f inferlets/s\n", per_second);
    printf("an inferlet that is alive      %9.1f KiB of linear memory and %.1f KiB of all else;\n"
           "                               %9.1f KiB are resident (touched), page tables %.1f KiB\n",
           alive.memory / 1024, alive.overhead / 1024, alive.resident / 1024, alive.tables / 1024);
    printf("a token in an inferlet's loop  %9.2f us\n", inferlet / 1e3);
    printf("a token in the built-in loop   %9.2f us\n", built_in / 1e3);
    printf("the tax                        %9.2f us  %.1f %% here, %.3f %% of a 30 ms step\n",
           tax / 1e3, 100 * tax / built_in, 100 * tax / 30e6);
    printf("json: {\"launches_per_second\":%.0f,\"alive_memory\":%.0f,\"alive_overhead\":%.0f,"
           "\"alive_resident\":%.0f,\"alive_tables\":%.0f,\"inferlet_us\":%.3f,"
           "\"built_in_us\":%.3f,\"tax_us\":%.3f}\n",
           per_second, alive.memory, alive.overhead, alive.resident, alive.tables, inferlet / 1e3, built_in / 1e3, tax / 1e3);
    return 0;
}
