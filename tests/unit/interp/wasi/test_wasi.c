/* links: interp/wasi
 *
 * Guests that use WASI (tests/data/component: by hand, through wasi-libc, through Rust's standard
 * library) against a made-up clock, a made-up random source, and pollables of an embedder. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"

/* ---- an embedder ------------------------------------------------------------------------- */

struct process {
    struct wasi_ctx *ctx;
    struct mem_heap heap;
    struct buf out, err;
    uint64_t now_ns;
    uint8_t random;
    bool ready[2];
    unsigned pollables;
    struct comp_linker *linker;
    struct comp_component *component;
    struct comp_instance *instance;
    char text[2000];
};

static struct wasi_ctx *ctx_of(void *host)
{
    return ((struct process *)host)->ctx;
}

static void write_out(void *user, enum wasi_output output, const char *data, size_t bytes)
{
    struct process *p = user;
    buf_append(output == WASI_STDOUT ? &p->out : &p->err, data, bytes);
}

static uint64_t now(void *user)
{
    return ((struct process *)user)->now_ns;
}

static uint64_t wall(void *user)
{
    return 1000000000ull * 1000000007 + ((struct process *)user)->now_ns;
}

static void fill(void *user, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = i == 0 ? ++((struct process *)user)->random : 0;
}

struct future {
    struct process *process;
    uint32_t which;
};

static bool future_ready(void *object)
{
    const struct future *future = object;
    return future->process->ready[future->which];
}

static void future_drop(void *object)
{
    struct future *future = object;
    future->process->pollables--;
    free(future);
}

static enum comp_host_result later(struct comp_host_call *call, const struct comp_value *args,
                                   struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops ops = {future_ready, future_drop};
    struct process *p = call->host;
    struct future *future = malloc(sizeof *future);
    (void)user;
    assert_non_null(future);
    *future = (struct future){p, (uint32_t)args[0].of.u};
    struct wasi_pollable *pollable = wasi_pollable_create(p->ctx, &ops, future);
    if (!pollable) {
        free(future);
        comp_trap(call, "no memory");
        return COMP_HOST_TRAP;
    }
    p->pollables++;
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

/* The whole file; unpacked when its name ends in .xz. The caller's to mem_free. */
static enum err read_guest(const char *path, char **data, size_t *bytes, struct report *report)
{
    char command[200];
    struct buf buf;
    size_t length = strlen(path);
    if (length < 3 || strcmp(path + length - 3, ".xz") != 0)
        return file_read(path, 1 << 20, NULL, data, bytes, report);
    snprintf(command, sizeof command, "xz -dc %s", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    buf_init(&buf, NULL);
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof part, pipe)) > 0)
        assert_true(buf_append(&buf, part, got));
    assert_int_equal(pclose(pipe), 0);
    *data = buf.data;
    *bytes = buf.count;
    return ERR_OK;
}

static void start(struct process *p, const char *path, const struct wasi_config *given)
{
    static struct wasi_binding binding = {ctx_of};
    struct wasi_config config = given ? *given : (struct wasi_config){0};
    struct report report = {0};
    char *data;
    size_t bytes;
    memset(p, 0, sizeof *p);
    p->now_ns = 1000;
    config.heap = &p->heap;
    config.host = (struct wasi_host){.write = write_out, .monotonic_ns = now, .wall_ns = wall,
                                     .random = fill, .user = p};
    p->linker = comp_linker_create();
    assert_non_null(p->linker);
    if (wasi_register(p->linker, &binding, &report) ||
        comp_linker_func(p->linker, "test:wasi/future", "later",
                         "func(which: u32) -> own<wasi:io/poll.pollable>", later, NULL, &report) ||
        comp_linker_export_type(p->linker, "test:*/run", "run",
                                "func(input: string) -> result<string, string>", &report) ||
        wasi_ctx_create(&config, &p->ctx, &report) ||
        read_guest(path, &data, &bytes, &report) ||
        comp_component_create((const uint8_t *)data, bytes, &p->component, &report) ||
        comp_instance_create(p->linker, p->component, NULL, p, &p->instance, &report))
        fail_msg("%s", report.text);
    mem_free(NULL, data);
}

static void stop(struct process *p)
{
    comp_instance_destroy(p->instance);
    wasi_ctx_destroy(p->ctx);
    comp_component_unref(p->component);
    comp_linker_destroy(p->linker);
    buf_deinit(&p->out);
    buf_deinit(&p->err);
    assert_int_equal(p->pollables, 0);
    assert_int_equal(p->heap.used_bytes, 0);
}

static void begin(struct process *p, const char *interface, const char *command)
{
    struct comp_value input = comp_string(command, strlen(command));
    struct report report = {0};
    if (comp_instance_call(p->instance, interface, "run", &input, 1, &report))
        fail_msg("%s", report.text);
}

static enum wasm_run run(struct process *p)
{
    enum wasm_run run;
    while ((run = comp_instance_run(p->instance, 1000000)) == WASM_RUN_FUEL)
        ;
    return run;
}

/* Runs on, letting time jump to whatever is waited for. */
static const char *finish(struct process *p)
{
    enum wasm_run got;
    while ((got = run(p)) == WASM_RUN_WAIT) {
        uint64_t deadline = wasi_wait_deadline_ns(p->ctx);
        assert_false(wasi_wait_ready(p->ctx));
        assert_true(deadline != UINT64_MAX);
        assert_true(deadline > p->now_ns);
        p->now_ns = deadline;
        assert_true(wasi_wait_ready(p->ctx));
    }
    if (got == WASM_RUN_TRAP) {
        snprintf(p->text, sizeof p->text, "trap %s", comp_instance_trap_text(p->instance));
        return p->text;
    }
    const struct comp_value *result = comp_instance_result(p->instance);
    assert_non_null(result);
    snprintf(p->text, sizeof p->text, "%s %.*s", result->of.variant.index ? "err" : "ok",
             (int)result->of.variant.payload->of.string.bytes,
             result->of.variant.payload->of.string.data);
    return p->text;
}

static const char by_hand[] = "tests/data/component/wasi.wasm";
static const char run_by_hand[] = "test:wasi/run";

static const char *ask(struct process *p, const char *command)
{
    begin(p, run_by_hand, command);
    return finish(p);
}

/* ---- streams ----------------------------------------------------------------------------- */

static void output_reaches_the_host(void **state)
{
    struct process p;
    (void)state;
    start(&p, by_hand, NULL);
    assert_string_equal(ask(&p, "print"), "ok 1 0 ");
    assert_string_equal(p.out.data, "to stdout\n");
    assert_string_equal(p.err.data, "to stderr\n");
    stop(&p);
}

static void stdin_is_waited_for(void **state)
{
    struct process p;
    struct wasi_config config = {.stdin_open = true};
    (void)state;
    start(&p, by_hand, &config);
    begin(&p, run_by_hand, "read");
    assert_int_equal(run(&p), WASM_RUN_WAIT);
    assert_true(wasi_wait_deadline_ns(p.ctx) == UINT64_MAX);
    assert_false(wasi_wait_ready(p.ctx));
    assert_true(wasi_stdin_feed(p.ctx, "one two three", 13));
    assert_true(wasi_wait_ready(p.ctx));
    /* "one t" read, "wo" skipped, the rest read; then it waits for the pollable. */
    assert_int_equal(run(&p), WASM_RUN_WAIT);
    assert_false(wasi_wait_ready(p.ctx));
    wasi_stdin_close(p.ctx);
    assert_true(wasi_wait_ready(p.ctx));
    assert_string_equal(finish(&p), "ok [][one t]2 [ three]0 closed");
    stop(&p);

    start(&p, by_hand, &config);
    assert_true(wasi_stdin_feed(p.ctx, "spliced", 7));
    assert_string_equal(ask(&p, "splice"), "ok 7 ");
    assert_string_equal(p.out.data, "spliced");
    stop(&p);
}

/* ---- polling ----------------------------------------------------------------------------- */

static void clocks_are_waited_for(void **state)
{
    struct process p;
    (void)state;
    start(&p, by_hand, NULL);
    assert_string_equal(ask(&p, "sleep"), "ok 5000 5000 ");
    assert_string_equal(ask(&p, "wall"), "ok 1000000007 6000 ");
    stop(&p);
}

static void pollables_of_the_embedder_are_waited_for(void **state)
{
    struct process p;
    (void)state;
    start(&p, by_hand, NULL);
    begin(&p, run_by_hand, "poll");
    assert_int_equal(run(&p), WASM_RUN_WAIT);
    assert_true(wasi_wait_deadline_ns(p.ctx) == 1001000);
    assert_int_equal(p.pollables, 2);
    /* Running in vain is allowed. */
    assert_int_equal(run(&p), WASM_RUN_WAIT);
    p.ready[1] = true;
    assert_true(wasi_wait_ready(p.ctx));
    assert_int_equal(run(&p), WASM_RUN_DONE);
    assert_true(wasi_wait_deadline_ns(p.ctx) == UINT64_MAX);
    assert_string_equal(finish(&p), "ok 2 0 0 1 ");
    assert_int_equal(p.pollables, 0);

    /* The deadline alone, then everything. */
    p.ready[1] = false;
    assert_string_equal(ask(&p, "poll"), "ok 0 1 0 0 ");
    p.ready[0] = p.ready[1] = true;
    assert_string_equal(ask(&p, "poll"), "ok 1 2 0 1 1 ");

    /* Killed while it waits. */
    p.ready[0] = p.ready[1] = false;
    begin(&p, run_by_hand, "poll-leaked");
    assert_int_equal(run(&p), WASM_RUN_WAIT);
    assert_int_equal(p.pollables, 2);
    stop(&p);

    start(&p, by_hand, NULL);
    assert_string_equal(ask(&p, "poll-nothing"),
                        "trap poll was given an empty list: it would wait for ever");
    stop(&p);
}

/* ---- the rest ---------------------------------------------------------------------------- */

static void context_is_seen(void **state)
{
    static const char *const args[] = {"program", "--flag", "gr\xC3\xBC\xC3\x9F"};
    static const char *const environment[] = {"NAME=value", "EMPTY=", "BARE"};
    struct wasi_config config = {.args = args, .arg_count = 3, .environment = environment,
                                 .environment_count = 3};
    struct process p;
    uint32_t status = 77;
    (void)state;
    start(&p, by_hand, &config);
    assert_string_equal(ask(&p, "arguments"),
                        "ok program;--flag;gr\xC3\xBC\xC3\x9F;NAME;value;EMPTY;;BARE;;");
    assert_string_equal(ask(&p, "random"), "ok 3 1 2 ");
    assert_string_equal(ask(&p, "directories"), "ok 0 ");
    assert_string_equal(ask(&p, "socket"), "ok 1 1 ");
    assert_string_equal(ask(&p, "http"), "ok 0 1 1 text1 15 ");
    assert_false(wasi_exit_status(p.ctx, &status));
    assert_string_equal(ask(&p, "exit-1"), "trap the program called exit with status 1");
    assert_true(wasi_exit_status(p.ctx, &status));
    assert_int_equal(status, 1);
    stop(&p);
}

static void preview1_program_runs(void **state)
{
    static const char *const args[] = {"p1", "x"};
    static const char *const environment[] = {"NAME=value"};
    struct wasi_config config = {.args = args, .arg_count = 2, .environment = environment,
                                 .environment_count = 1, .stdin_open = true};
    struct report report = {0};
    struct process p;
    uint32_t status = 0;
    (void)state;
    start(&p, "tests/data/component/preview1.wasm", &config);
    assert_true(wasi_stdin_feed(p.ctx, "a line\nanother\n", 15));
    wasi_stdin_close(p.ctx);
    assert_int_equal(comp_instance_call(p.instance, NULL, "_start", NULL, 0, &report), ERR_OK);
    assert_string_equal(finish(&p), "trap the program called exit with status 3");
    assert_true(wasi_exit_status(p.ctx, &status));
    assert_int_equal(status, 3);
    assert_string_equal(p.out.data, "p1;x;value\nslept 1\nread a line\nread another\n"
                                    "open -1 Capabilities insufficient\n");
    assert_string_equal(p.err.data, "to stderr\n");
    stop(&p);
}

/* ---- a component that nobody here wrote the bindings of --------------------------------- */

static const char rust[] = "tests/data/component/hello-rust.wasm.xz";
static const char run_rust[] = "pie:hello/run";

static void rust_component_runs(void **state)
{
    static const char *const environment[] = {"NAME=value"};
    struct wasi_config config = {.environment = environment, .environment_count = 1};
    struct process p;
    (void)state;
    start(&p, rust, &config);
    begin(&p, run_rust, "a big a");
    assert_string_equal(finish(&p), "ok {\"A\": 2, \"BIG\": 3}");
    assert_string_equal(p.out.data, "Hello from Rust, a big a\n");
    begin(&p, run_rust, "fail");
    assert_string_equal(finish(&p), "err told to fail");
    begin(&p, run_rust, "sleep");
    assert_string_equal(finish(&p), "ok slept true");
    begin(&p, run_rust, "arguments");
    assert_string_equal(finish(&p), "ok [] Ok(\"value\")");
    begin(&p, run_rust, "exit");
    assert_string_equal(finish(&p), "trap the program called exit with status 1");
    stop(&p);

    start(&p, rust, NULL);
    begin(&p, run_rust, "panic");
    assert_string_equal(finish(&p), "trap unreachable");
    assert_non_null(strstr(p.err.data, "told to panic"));
    stop(&p);
}

static void files_stay_beneath_their_preopen(void **state)
{
    char folder[] = "/tmp/wasi-test-XXXXXX", link[100];
    struct wasi_preopen preopen = {"/scratch", folder, true};
    struct wasi_config config = {.preopens = &preopen, .preopen_count = 1};
    struct process p;
    struct open_how how = {.flags = O_PATH, .resolve = RESOLVE_BENEATH};
    int probe = (int)syscall(SYS_openat2, AT_FDCWD, "tests", &how, sizeof how);
    (void)state;
    if (probe < 0) {
        puts("note: files of WASI are not tested: the kernel has no openat2");
        skip();
    }
    assert_int_equal(close(probe), 0);
    assert_non_null(mkdtemp(folder));
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    start(&p, rust, &config);
    begin(&p, run_rust, "files");
    assert_string_equal(finish(&p), "ok [\"b.txt\", \"inner\", \"link\"] 23 \"first line\\n"
                                    "second line\\n\" [false, false, false]");
    stop(&p);

    preopen.writable = false;
    start(&p, rust, &config);
    begin(&p, run_rust, "files");
    assert_string_equal(finish(&p), "err PermissionDenied");
    stop(&p);

    start(&p, rust, NULL);
    begin(&p, run_rust, "files");
    assert_int_equal(strncmp(finish(&p), "err ", 4), 0);
    stop(&p);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(folder), 0);

    struct wasi_ctx *ctx;
    struct report report = {0};
    assert_int_equal(wasi_ctx_create(&config, &ctx, &report), ERR_NOT_FOUND);
    assert_null(ctx);
}

/* Every allocation of a context, of linking and of a call fails once: nothing is lost. */
static void memory_may_run_out(void **state)
{
    static const char *const commands[] = {"print", "poll", "http", "arguments", "splice"};
    static const char *const args[] = {"a", "b"};
    static struct wasi_binding binding = {ctx_of};
    struct report report = {0};
    struct comp_component *component;
    struct comp_linker *linker = comp_linker_create();
    char *data;
    size_t bytes;
    (void)state;
    assert_int_equal(file_read(by_hand, 1 << 20, NULL, &data, &bytes, &report), ERR_OK);
    if (wasi_register(linker, &binding, &report) ||
        comp_linker_func(linker, "test:wasi/future", "later",
                         "func(which: u32) -> own<wasi:io/poll.pollable>", later, NULL, &report) ||
        comp_linker_export_type(linker, "test:*/run", "run",
                                "func(input: string) -> result<string, string>", &report) ||
        comp_component_create((const uint8_t *)data, bytes, &component, &report))
        fail_msg("%s", report.text);
    mem_free(NULL, data);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        bool is_done = false;
        for (uint64_t nth = 1; !is_done; nth++) {
            struct process p = {.now_ns = 1000, .ready = {true, true}};
            struct comp_value input = comp_string(commands[i], strlen(commands[i]));
            struct wasi_config config = {.host = {.write = write_out, .monotonic_ns = now,
                                                  .wall_ns = wall, .random = fill, .user = &p},
                                         .heap = &p.heap,
                                         .args = args, .arg_count = 2};
            mem_fail_at(nth);
            if (wasi_ctx_create(&config, &p.ctx, NULL) == ERR_OK &&
                comp_instance_create(linker, component, NULL, &p, &p.instance, NULL) == ERR_OK &&
                comp_instance_call(p.instance, run_by_hand, "run", &input, 1, NULL) == ERR_OK)
                is_done = comp_instance_run(p.instance, 10000000) == WASM_RUN_DONE;
            is_done = mem_fail_at(0) < nth && is_done;
            comp_instance_destroy(p.instance);
            wasi_ctx_destroy(p.ctx);
            buf_deinit(&p.out);
            buf_deinit(&p.err);
            assert_int_equal(p.heap.used_bytes, 0);
            assert_int_equal(p.pollables, 0);
        }
    }
    comp_component_unref(component);
    comp_linker_destroy(linker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_reaches_the_host),
        cmocka_unit_test(stdin_is_waited_for),
        cmocka_unit_test(clocks_are_waited_for),
        cmocka_unit_test(pollables_of_the_embedder_are_waited_for),
        cmocka_unit_test(context_is_seen),
        cmocka_unit_test(preview1_program_runs),
        cmocka_unit_test(rust_component_runs),
        cmocka_unit_test(files_stay_beneath_their_preopen),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
