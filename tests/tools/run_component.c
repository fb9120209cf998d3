/* links: interp/wasi
 *
 * Runs a component or a core module: build/tests/tools/run_component FILE [INPUT] calls the first
 * exported `pie:NAME/run` with INPUT, or `wasi:cli/run`, or `_start`, and prints what it writes. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"

static void write_out(void *user, enum wasi_output output, const char *data, size_t bytes)
{
    (void)user;
    fwrite(data, 1, bytes, output == WASI_STDOUT ? stdout : stderr);
}

static struct wasi_ctx *ctx_of(void *host)
{
    return host;
}

struct entry {
    char interface[300], name[100];
};

static void find_entry(void *user, const char *interface, const char *name)
{
    struct entry *entry = user;
    size_t bytes = strlen(interface);
    if (!name || entry->interface[0])
        return;
    if ((strncmp(interface, "pie:", 4) == 0 && bytes > 8 && strcmp(interface + bytes - 4, "/run") == 0) ||
        strncmp(interface, "wasi:cli/run", 12) == 0)
        snprintf(entry->interface, sizeof entry->interface, "%s", interface);
    else if (strcmp(name, "_start") != 0)
        return;
    snprintf(entry->name, sizeof entry->name, "%s", name);
}

static int fail(const char *what, const struct report *report)
{
    fprintf(stderr, "%s: %s\n", what, report->text);
    return 1;
}

static void print_result(const struct comp_value *value)
{
    if (!value)
        return;
    const struct comp_value *payload = value->of.variant.payload;
    printf("%s%s%.*s\n", value->of.variant.index ? "err" : "ok", payload ? ": " : "",
           payload ? (int)payload->of.string.bytes : 0, payload ? payload->of.string.data : "");
}

int main(int argc, char **argv)
{
    struct report report = {0};
    struct wasi_binding binding = {ctx_of};
    struct wasi_config config = {.host = {.write = write_out}};
    struct comp_linker *linker = comp_linker_create();
    struct comp_component *component;
    struct comp_instance *instance;
    struct wasi_ctx *ctx;
    struct entry entry = {0};
    char *bytes;
    size_t count;
    uint64_t started = clock_now_ns(), decoded, linked;

    if (argc < 2 || !linker)
        return 2;
    if (file_read(argv[1], (size_t)1 << 30, NULL, &bytes, &count, &report) ||
        comp_component_create((const uint8_t *)bytes, count, &component, &report))
        return fail(argv[1], &report);
    mem_free(NULL, bytes);
    decoded = clock_now_ns();
    if (wasi_register(linker, &binding, &report) ||
        comp_linker_export_type(linker, "pie:*" "/run", "run",
                                "func(input: string) -> result<string, string>", &report) ||
        wasi_ctx_create(&config, &ctx, &report) ||
        comp_instance_create(linker, component, NULL, ctx, &instance, &report))
        return fail("cannot link", &report);
    linked = clock_now_ns();
    comp_component_each_export(component, find_entry, &entry);
    struct comp_value input = comp_string(argc > 2 ? argv[2] : "", argc > 2 ? strlen(argv[2]) : 0);
    bool has_input = strncmp(entry.interface, "pie:", 4) == 0;
    if (comp_instance_call(instance, entry.interface[0] ? entry.interface : NULL, entry.name,
                           &input, has_input ? 1 : 0, &report))
        return fail("cannot call", &report);
    enum wasm_run run;
    while ((run = comp_instance_run(instance, 100000000)) == WASM_RUN_FUEL ||
           run == WASM_RUN_WAIT) {
        uint64_t at = wasi_wait_deadline_ns(ctx), now = clock_now_ns();
        if (run == WASM_RUN_FUEL || at <= now)
            continue;
        if (at == UINT64_MAX) {
            fprintf(stderr, "waits for ever\n");
            return 1;
        }
        struct timespec pause = {(time_t)((at - now) / 1000000000), (long)((at - now) % 1000000000)};
        nanosleep(&pause, NULL);
    }
    int status = 0;
    uint32_t exit_status;
    if (run == WASM_RUN_DONE) {
        print_result(comp_instance_result(instance));
    } else if (wasi_exit_status(ctx, &exit_status)) {
        status = (int)exit_status;
    } else {
        fprintf(stderr, "trap: %s\n%s", comp_instance_trap_text(instance),
                comp_instance_back_trace(instance));
        status = 1;
    }
    fprintf(stderr, "decode %.2f ms, link %.2f ms, run %.2f ms, memory %llu, overhead %llu\n",
            (double)(decoded - started) / 1e6, (double)(linked - decoded) / 1e6,
            (double)(clock_now_ns() - linked) / 1e6,
            (unsigned long long)comp_instance_memory_bytes(instance),
            (unsigned long long)comp_instance_overhead_bytes(instance));
    comp_instance_destroy(instance);
    wasi_ctx_destroy(ctx);
    comp_component_unref(component);
    comp_linker_destroy(linker);
    return status;
}
