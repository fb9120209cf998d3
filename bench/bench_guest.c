/* links: engine
 *
 * How soon a guest is ready: from launch to the end of a run that does next to nothing.
 *
 *     build/bench/bench_guest [--launches N] [--cache DIR] FILE.wasm NAME [INPUT]
 *
 * The component must export pie:NAME/run. On the fake backend, one process at a time, by the
 * processor's time of this thread: adding the program (from its file; with --cache, where it
 * may be known already; links it once), its first launch (code is
 * translated), its second, and the median of N more, create and destroy included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/engine.h"

enum { LAUNCHES_MAX = 1000 };

static double cpu_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void must(enum err err, const struct report *report)
{
    if (err == ERR_OK)
        return;
    (void)fprintf(stderr, "bench_guest: %s\n", report->text);
    exit(1);
}

static void on_event(void *user, const struct engine_event *event)
{
    if (event->kind != ENGINE_EVENT_ERROR)
        return;
    (void)fprintf(stderr, "bench_guest: the guest failed: %.*s\n", (int)event->bytes, event->data);
    *(int *)user = 1;
}

static double launch(struct engine *engine, const char *program, const char *input)
{
    struct report report = {0};
    char id[ENGINE_ID_BYTES];
    int failed = 0;
    const struct engine_launch what = {.program = program,
                                       .input = input,
                                       .input_bytes = strlen(input),
                                       .on_event = on_event,
                                       .user = &failed};
    double begin = cpu_ms();
    must(engine_launch(engine, &what, id, &report), &report);
    while (engine_turn(engine, -1) > 0)
        continue;
    if (failed)
        exit(1);
    return cpu_ms() - begin;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double times[LAUNCHES_MAX];
    const char *cache = NULL;
    int count = 20, at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2)
        if (strcmp(argv[at], "--launches") == 0)
            count = atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--cache") == 0)
            cache = argv[at + 1];
    if (argc - at < 2 || count < 1 || count > LAUNCHES_MAX) {
        (void)fprintf(stderr, "bench_guest [--launches N] [--cache DIR] FILE.wasm NAME [INPUT]\n");
        return 2;
    }
    const char *input = argc - at > 2 ? argv[at + 2] : "x";
    struct engine_config config = engine_config_default();
    struct engine *engine;
    struct report report = {0};
    char manifest[300], id[256], *bytes;
    size_t size;
    config.fake_model = true;
    config.cache_dir = cache;
    config.page_count = 64;
    must(engine_open(&config, &engine, &report), &report);
    (void)snprintf(manifest, sizeof manifest, "[package]\nname = \"%s\"\nversion = \"0.1.0\"\n",
                   argv[at + 1]);
    double begin = cpu_ms();
    must(file_read(argv[at], (size_t)1 << 30, NULL, &bytes, &size, &report), &report);
    must(engine_program_add(engine, manifest, strlen(manifest), (const uint8_t *)bytes, size, true,
                            false, id, &report), &report);
    double load = cpu_ms() - begin;
    mem_free(NULL, bytes);
    double first = launch(engine, id, input), second = launch(engine, id, input);
    for (int i = 0; i < count; i++)
        times[i] = launch(engine, id, input);
    qsort(times, (size_t)count, sizeof *times, by_value);
    uint64_t fuel = engine_stats(engine).fuel_used / (uint64_t)(count + 2);
    printf("%-24s load %.2f ms, first run %.2f, second %.2f, then %.3f (best %.3f); %.2f M units of "
           "fuel each\n",
           argv[at + 1], load, first, second, times[count / 2], times[0], (double)fuel / 1e6);
    printf("json: {\"bench\": \"guest\", \"name\": \"%s\", \"load_ms\": %.3f, \"first_ms\": %.3f, "
           "\"second_ms\": %.3f, \"then_ms\": %.3f}\n",
           argv[at + 1], load, first, second, times[count / 2]);
    engine_close(engine);
    return 0;
}
