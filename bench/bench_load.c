/* links: engine/host
 *
 * What it costs to load a component and to make instances of it.
 *
 *     build/bench/bench_load [--rounds N] [--instances N] [--known] [--json] FILE...
 *
 * Load: bytes to a validated component (best and median of N rounds; the bytes are in memory).
 * Known: from the file (in the page cache) to a component that was accepted before (median); with
 * --known only that.
 * Instantiate and destroy: from a loaded component, start functions not run (mean over the
 * instances, best of 5 such means; the first instance, which prepares the program, and the
 * second, which makes the image of a large memory, are told alone). All by the processor's time of this thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/host/host.h"
#include "interp/component/component.h"

static double cpu_us(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static void must(enum err err, const char *what, const struct report *report)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, report->text);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct instance_times {
    double create_us, destroy_us;
};

static struct instance_times instances(struct comp_linker *linker,
                                       struct comp_component *component,
                                       int count, const char *name)
{
    struct instance_times times = {0};
    struct report report = {0};
    for (int i = 0; i < count; i++) {
        struct comp_instance *instance;
        double start = cpu_us();
        must(comp_instance_create(linker, component, NULL, NULL, &instance, &report), name, &report);
        double made = cpu_us();
        comp_instance_destroy(instance);
        times.create_us += (made - start) / count;
        times.destroy_us += (cpu_us() - made) / count;
    }
    return times;
}

int main(int argc, char **argv)
{
    enum { ROUNDS_MAX = 1000, SHOWN_MAX = 40 };
    static double loads[ROUNDS_MAX], known[ROUNDS_MAX];
    struct report report = {0};
    struct comp_linker *linker = comp_linker_create();
    int rounds = 10, count = 200, first = 1;
    bool json = false, only_known = false;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--json") == 0)
            json = true;
        else if (strcmp(argv[first], "--known") == 0)
            only_known = true;
        else if (strcmp(argv[first], "--rounds") == 0 && first + 1 < argc)
            rounds = atoi(argv[++first]);
        else if (strcmp(argv[first], "--instances") == 0 && first + 1 < argc)
            count = atoi(argv[++first]);
    }
    if (rounds < 1 || rounds > ROUNDS_MAX || count < 1 || first == argc || !linker) {
        fprintf(stderr, "bench_load [--rounds N] [--instances N] [--known] [--json] FILE...\n");
        return 2;
    }
    must(host_register(linker, &report), "host", &report);
    printf("%-40s %9s %9s %9s %9s %9s %9s %10s\n", "", "load ms", "median", "known ms", "first us", "second us",
           "create us", "destroy us");
    for (; first < argc; first++) {
        size_t length = strlen(argv[first]);
        const char *name = argv[first] + (length > SHOWN_MAX ? length - SHOWN_MAX : 0);
        struct comp_component *component = NULL;
        char *bytes;
        size_t size;
        must(file_read(argv[first], (size_t)1 << 30, NULL, &bytes, &size, &report), argv[first],
             &report);
        for (int i = 0; i < rounds && !only_known; i++) {
            comp_component_unref(component);
            double start = cpu_us();
            must(comp_component_create((const uint8_t *)bytes, size, &component, &report), name,
                 &report);
            loads[i] = (cpu_us() - start) / 1e3;
        }
        mem_free(NULL, bytes);
        for (int i = 0; i < rounds; i++) {
            comp_component_unref(component);
            double start = cpu_us();
            must(file_read(argv[first], (size_t)1 << 30, NULL, &bytes, &size, &report), argv[first],
                 &report);
            struct wasm_source *source = wasm_source_create((uint8_t *)bytes, size);
            if (!source)
                return 1;
            must(comp_component_create_from(source, true, &component, &report), name, &report);
            wasm_source_unref(source);
            known[i] = (cpu_us() - start) / 1e3;
        }
        qsort(loads, (size_t)rounds, sizeof *loads, by_size);
        qsort(known, (size_t)rounds, sizeof *known, by_size);
        struct instance_times once = instances(linker, component, 1, name), best = {0};
        struct instance_times second = instances(linker, component, 1, name);
        for (int i = 0; i < 5; i++) {
            struct instance_times times = instances(linker, component, count, name);
            if (i == 0 || times.create_us + times.destroy_us < best.create_us + best.destroy_us)
                best = times;
        }
        printf("%-40s %9.2f %9.2f %9.2f %9.1f %9.1f %9.1f %10.1f\n", name, loads[0],
               loads[rounds / 2], known[rounds / 2], once.create_us, second.create_us, best.create_us,
               best.destroy_us);
        if (json)
            printf("json: {\"bench\": \"load\", \"file\": \"%s\", \"load_ms\": %.3f, "
                   "\"known_ms\": %.3f, "
                   "\"first_us\": %.1f, \"second_us\": %.1f, \"create_us\": %.2f, "
                   "\"destroy_us\": %.2f}\n",
                   name, loads[0], known[rounds / 2], once.create_us, second.create_us, best.create_us, best.destroy_us);
        comp_component_unref(component);
    }
    comp_linker_destroy(linker);
    return 0;
}
