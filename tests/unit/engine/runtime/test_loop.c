/* links: engine/runtime
 * The loop over a computer that takes its time, works on a thread of its own, and fails. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/backend/backend.h"
#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/chat/chat.h"
#include "engine/host/host.h"
#include "engine/program/program.h"
#include "engine/runtime/runtime.h"
#include "engine/sched/sched.h"
#include "engine/text/tok.h"
#include "interp/component/component.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

struct world {
    struct tok *tok;
    struct chat *chat;
    struct backend *backend;
    struct sched *sched;
    struct comp_linker *linker;
    struct prog_store *programs;
    struct rt_bell bell;
    struct rt *rt;
};

struct run {
    char text[500];
    bool ended, failed;
};

/* Four tokens and a mark: enough for programs that bring their own ids. */
static void make_tokenizer(struct world *world)
{
    static const char *const texts[] = {"a", "b", "c", "<|im_end|>"};
    static const int32_t types[] = {TOK_NORMAL, TOK_NORMAL, TOK_NORMAL, TOK_CONTROL};
    struct gguf_string tokens[4];
    for (size_t i = 0; i < 4; i++)
        tokens[i] = (struct gguf_string){texts[i], strlen(texts[i])};
    struct gguf_writer *writer = gguf_writer_create();
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_string(writer, "tokenizer.ggml.pre", "gpt-2", 5);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, 4);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, 4);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", NULL, 0);
    struct buf bytes;
    buf_init(&bytes, NULL);
    struct report report = {0};
    struct gguf *file;
    assert_int_equal(gguf_writer_finish(writer, &bytes, &report), ERR_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report),
                     ERR_OK);
    if (tok_create_from_gguf(file, &world->tok, &report) != ERR_OK)
        fail_msg("%s", report.text);
    gguf_close(file);
    buf_deinit(&bytes);
    assert_int_equal(chat_create(NULL, NULL, 0, world->tok, &world->chat, &report), ERR_OK);
}

static void add_probe(struct world *world)
{
    static const char manifest[] = "[package]\nname = \"probe\"\nversion = \"0.1.0\"\n";
    struct report report = {0};
    struct prog *prog;
    char *wasm;
    size_t bytes;
    assert_int_equal(
        file_read("tests/data/inferlets/probe.wasm", 1 << 20, NULL, &wasm, &bytes, &report),
        ERR_OK);
    assert_int_equal(prog_create(manifest, strlen(manifest), "Pie.toml", (const uint8_t *)wasm,
                                 bytes, &prog, &report),
                     ERR_OK);
    assert_int_equal(prog_store_add(world->programs, prog, false, NULL, &report), ERR_OK);
    prog_unref(prog);
    mem_free(NULL, wasm);
}

static void open_world(struct world *world, struct backend_fake_config fake, const char *scratch)
{
    *world = (struct world){0};
    struct report report = {0};
    make_tokenizer(world);
    assert_int_equal(rt_bell_open(&world->bell, &report), ERR_OK);
    fake.page_tokens = 16;
    fake.wake = rt_bell_ring;
    fake.wake_user = &world->bell;
    assert_int_equal(backend_fake_create(&fake, &world->backend, &report), ERR_OK);
    struct sched_config sched = {.backend = world->backend, .check = true};
    assert_int_equal(sched_create(&sched, &world->sched, &report), ERR_OK);
    world->linker = comp_linker_create();
    assert_int_equal(host_register(world->linker, &report), ERR_OK);
    assert_int_equal(prog_store_create(NULL, NULL, &world->programs, &report), ERR_OK);
    struct rt_config config = {
        .model = {.name = "m",
                  .tok = world->tok,
                  .chat = world->chat,
                  .sched = world->sched,
                  .page_tokens = 16},
        .linker = world->linker,
        .programs = world->programs,
        .bell = &world->bell,
        .seed = 1,
        .memory_bytes_max = 64 << 20,
        .scratch_directory = scratch,
    };
    assert_int_equal(rt_create(&config, &world->rt, &report), ERR_OK);
    add_probe(world);
}

static void close_world(struct world *world)
{
    rt_destroy(world->rt);
    prog_store_destroy(world->programs);
    comp_linker_destroy(world->linker);
    sched_destroy(world->sched);
    backend_destroy(world->backend);
    rt_bell_close(&world->bell);
    chat_destroy(world->chat);
    tok_destroy(world->tok);
}

static void on_output(void *user, const struct proc *proc, enum proc_output kind, const char *data,
                      size_t bytes)
{
    (void)proc;
    struct run *run = user;
    if (kind != PROC_RETURN && kind != PROC_ERROR)
        return;
    run->ended = true;
    run->failed = kind == PROC_ERROR;
    (void)snprintf(run->text, sizeof run->text, "%.*s", (int)bytes, data);
}

static struct proc *launch(struct world *world, struct run *run, const char *input)
{
    struct report report = {0};
    struct proc *proc;
    *run = (struct run){0};
    struct rt_launch wanted = {.program = "probe",
                               .input = input,
                               .input_bytes = strlen(input),
                               .output = on_output,
                               .user = run};
    assert_int_equal(rt_launch(world->rt, &wanted, &proc, &report), ERR_OK);
    return proc;
}

static void finish(struct world *world, struct run *run)
{
    for (int i = 0; i < 100000 && !run->ended; i++)
        (void)rt_turn(world->rt, 1000);
    assert_true(run->ended);
}

static void slow_thread_gives_the_same(void **state)
{
    (void)state;
    struct run quick[4], slow[4];
    struct world world;
    open_world(&world, (struct backend_fake_config){0}, NULL);
    for (size_t i = 0; i < 4; i++)
        (void)launch(&world, &quick[i], "generate 10 100 abcab");
    for (size_t i = 0; i < 4; i++)
        finish(&world, &quick[i]);
    close_world(&world);
    open_world(&world, (struct backend_fake_config){.threaded = true, .delay_us = 300}, NULL);
    for (size_t i = 0; i < 4; i++)
        (void)launch(&world, &slow[i], "generate 10 100 abcab");
    for (size_t i = 0; i < 4; i++) {
        finish(&world, &slow[i]);
        assert_false(slow[i].failed);
        assert_string_equal(slow[i].text, quick[i].text);
    }
    close_world(&world);
}

static void failed_steps_are_told(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, (struct backend_fake_config){.fail_every = 5}, NULL);
    struct run run, after;
    (void)launch(&world, &run, "generate 20 0 abc");
    finish(&world, &run);
    assert_true(run.failed);
    if (strncmp(run.text, "Call error: the forward pass failed: ", 37) != 0)
        fail_msg("%s", run.text);
    (void)launch(&world, &after, "generate 3 0 abc"); /* the engine goes on */
    finish(&world, &after);
    assert_false(after.failed);
    close_world(&world);
}

static void processes_end_while_a_step_computes(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, (struct backend_fake_config){.threaded = true, .delay_us = 2000}, NULL);
    struct run runs[6];
    struct proc *procs[6];
    struct report report = {0};
    char ids[6][PROC_ID_TEXT_BYTES];
    for (size_t i = 0; i < 6; i++) {
        procs[i] = launch(&world, &runs[i], "generate 50 0 abcabc");
        memcpy(ids[i], procs[i]->id, sizeof ids[i]);
    }
    for (int i = 0; i < 1000 && !sched_in_flight(world.sched); i++)
        (void)rt_turn(world.rt, 1);
    assert_true(sched_in_flight(world.sched));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rt_terminate(world.rt, ids[i], "Signal", &report), ERR_OK);
    for (size_t i = 0; i < 5; i++) {
        finish(&world, &runs[i]);
        assert_string_equal(runs[i].text, "Signal");
    }
    finish(&world, &runs[5]);
    assert_false(runs[5].failed);
    (void)launch(&world, &runs[0], "generate 50 0 abcabc");
    for (int i = 0; i < 1000 && !sched_in_flight(world.sched); i++)
        (void)rt_turn(world.rt, 1);
    close_world(&world); /* with a step in flight */
    assert_false(runs[0].ended);
}

static void *ring_later(void *bell)
{
    const struct timespec pause = {0, 20000000};
    (void)nanosleep(&pause, NULL);
    rt_bell_ring(bell);
    return NULL;
}

static void bell_ends_a_wait(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, (struct backend_fake_config){0}, NULL);
    struct run run;
    (void)launch(&world, &run, "wait");
    for (int i = 0; i < 10; i++)
        (void)rt_turn(world.rt, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ring_later, &world.bell), 0);
    assert_int_equal(rt_turn(world.rt, -1), 1); /* for ever, but for the bell */
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_world(&world);
}

static void waiting_costs_nothing(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, (struct backend_fake_config){0}, NULL);
    struct run sleeper, waiter;
    (void)launch(&world, &sleeper, "sleep 400");
    (void)launch(&world, &waiter, "wait");
    for (int i = 0; i < 20; i++)
        (void)rt_turn(world.rt, 0);
    unsigned turns = 0;
    while (!sleeper.ended) {
        (void)rt_turn(world.rt, -1);
        turns++;
    }
    assert_in_range(turns, 1, 20); /* not one turn after the other */
    close_world(&world);
}

static void scratch_directories_come_and_go(void **state)
{
    (void)state;
    char root[] = "/tmp/pie-test-scratch-XXXXXX", path[200];
    assert_non_null(mkdtemp(root));
    struct world world;
    open_world(&world, (struct backend_fake_config){0}, root);
    struct run run;
    struct report report = {0};
    struct proc *proc = launch(&world, &run, "wait");
    for (int i = 0; i < 10; i++)
        (void)rt_turn(world.rt, 0);
    struct stat stat_;
    (void)snprintf(path, sizeof path, "%s/%s", root, proc->id);
    assert_int_equal(stat(path, &stat_), 0);
    char id[PROC_ID_TEXT_BYTES], inside[300];
    memcpy(id, proc->id, sizeof id);
    (void)snprintf(inside, sizeof inside, "%s/sub", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(symlink("/etc", strcat(inside, "/link")), 0);
    assert_int_equal(rt_terminate(world.rt, id, "Signal", &report), ERR_OK);
    finish(&world, &run);
    assert_int_not_equal(stat(path, &stat_), 0);
    assert_int_equal(stat("/etc/passwd", &stat_), 0);
    close_world(&world);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_thread_gives_the_same),
        cmocka_unit_test(failed_steps_are_told),
        cmocka_unit_test(processes_end_while_a_step_computes),
        cmocka_unit_test(bell_ends_a_wait),
        cmocka_unit_test(waiting_costs_nothing),
        cmocka_unit_test(scratch_directories_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
