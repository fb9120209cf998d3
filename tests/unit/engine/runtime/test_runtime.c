/* links: engine
 * The whole engine over the fake backend, seen from engine.h, with the inferlet
 * tests/data/inferlets/probe.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/engine.h"

#define PROBE "probe@0.1.0"

static char *probe_wasm;
static size_t probe_bytes;
static const char probe_manifest[] = "[package]\nname = \"probe\"\nversion = \"0.1.0\"\n";

/* One process and what came out of it. */
struct run {
    char id[ENGINE_ID_BYTES];
    char text[2000]; /* RETURN or ERROR */
    char messages[500], standard[200];
    size_t file_bytes;
    bool ended, failed;
};

static int read_probe(void **state)
{
    (void)state;
    struct report report = {0};
    return file_read("tests/data/inferlets/probe.wasm", 1 << 20, NULL, &probe_wasm, &probe_bytes,
                     &report) == ERR_OK
               ? 0
               : -1;
}

static int free_probe(void **state)
{
    (void)state;
    mem_free(NULL, probe_wasm);
    return 0;
}

static void add_text(char *to, size_t room, const char *data, size_t bytes)
{
    size_t have = strlen(to);
    if (bytes > room - 1 - have)
        bytes = room - 1 - have;
    memcpy(to + have, data, bytes);
    to[have + bytes] = 0;
}

static void on_event(void *user, const struct engine_event *event)
{
    struct run *run = user;
    assert_false(run->ended);
    switch (event->kind) {
    case ENGINE_EVENT_STDOUT:
    case ENGINE_EVENT_STDERR:
        add_text(run->standard, sizeof run->standard,
                 event->kind == ENGINE_EVENT_STDOUT ? "1:" : "2:", 2);
        add_text(run->standard, sizeof run->standard, event->data, event->bytes);
        break;
    case ENGINE_EVENT_MESSAGE:
        add_text(run->messages, sizeof run->messages, event->data, event->bytes);
        add_text(run->messages, sizeof run->messages, ";", 1);
        break;
    case ENGINE_EVENT_FILE: run->file_bytes = event->bytes; break;
    case ENGINE_EVENT_RETURN:
    case ENGINE_EVENT_ERROR:
        run->ended = true;
        run->failed = event->kind == ENGINE_EVENT_ERROR;
        assert_string_equal(event->process_id, run->id);
        add_text(run->text, sizeof run->text, event->data, event->bytes);
        break;
    }
}

static struct engine *open_engine(struct engine_config config)
{
    struct engine *engine;
    struct report report = {0};
    char id[256];
    config.fake_model = true;
    if (config.page_tokens == 0)
        config.page_tokens = 16;
    if (engine_open(&config, &engine, &report) != ERR_OK)
        fail_msg("%s", report.text);
    if (engine_program_add(engine, probe_manifest, strlen(probe_manifest),
                           (const uint8_t *)probe_wasm, probe_bytes, false, false, id,
                           &report) != ERR_OK)
        fail_msg("%s", report.text);
    assert_string_equal(id, PROBE);
    return engine;
}

static struct engine *open_default(void)
{
    return open_engine(engine_config_default());
}

static void launch_seed(struct engine *engine, struct run *run, const char *input, uint64_t seed)
{
    struct report report = {0};
    *run = (struct run){0};
    struct engine_launch launch = {.program = PROBE,
                                   .input = input,
                                   .input_bytes = strlen(input),
                                   .seed = seed,
                                   .on_event = on_event,
                                   .user = run};
    if (engine_launch(engine, &launch, run->id, &report) != ERR_OK)
        fail_msg("%s", report.text);
}

static void launch(struct engine *engine, struct run *run, const char *input)
{
    launch_seed(engine, run, input, 0);
}

static void finish(struct engine *engine, const struct run *run)
{
    for (int i = 0; i < 200000 && !run->ended; i++)
        (void)engine_turn(engine, 100);
    assert_true(run->ended);
}

static void check_idle(struct engine *engine)
{
    struct engine_stats stats = engine_stats(engine);
    assert_int_equal(stats.processes_alive, 0);
    assert_int_equal(stats.pages_used, 0);
}

/* Runs one command alone and compares its outcome. */
static void expect(const char *input, bool failed, const char *text)
{
    struct engine *engine = open_default();
    struct run run;
    launch(engine, &run, input);
    finish(engine, &run);
    assert_string_equal(run.text, text);
    assert_int_equal(run.failed, failed);
    check_idle(engine);
    engine_close(engine);
}

/* The same, by the beginning of the outcome. */
static void expect_start(struct engine *engine, const char *input, const char *text)
{
    struct run run;
    launch(engine, &run, input);
    finish(engine, &run);
    if (strncmp(run.text, text, strlen(text)) != 0)
        fail_msg("%s: %s", input, run.text);
    assert_true(run.failed);
}

/* ---- the walk ----------------------------------------------------------------------------- */

static void echo_and_fail(void **state)
{
    (void)state;
    expect("echo hello w\xC3\xB6rld", false, "hello w\xC3\xB6rld");
    expect("fail with this", true, "with this");
}

static void generation_is_reproducible(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run runs[4];
    launch(engine, &runs[0], "generate 20 0 Hello there");
    launch(engine, &runs[1], "generate 20 100 Hello there");
    launch(engine, &runs[2], "generate 20 100 Hello there");
    launch_seed(engine, &runs[3], "generate 20 100 Hello there", 7);
    for (size_t i = 0; i < 4; i++)
        finish(engine, &runs[i]);
    for (size_t i = 0; i < 4; i++) {
        if (runs[i].failed)
            fail_msg("%s", runs[i].text);
        size_t spaces = 0;
        for (const char *c = runs[i].text; *c != 0; c++)
            spaces += *c == ' ';
        assert_int_equal(spaces, 20);
    }
    assert_string_equal(runs[1].text, runs[2].text);
    assert_string_not_equal(runs[1].text, runs[0].text);
    assert_string_not_equal(runs[1].text, runs[3].text);
    check_idle(engine);
    engine_close(engine);
}

static void passes_of_one_context_queue_up(void **state)
{
    (void)state;
    expect("two", false, "tokens 4 some none some none");
}

static void all_samplers_answer(void **state)
{
    (void)state;
    expect("samplers", false, "0:ok 0:ok 0:ok 0:ok 0:ok 1:ok 2:ok 3:1 3:2 4:ok ");
}

static void masks_and_positions(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run run;
    launch(engine, &run, "masks");
    finish(engine, &run);
    if (strncmp(run.text, "same other same same ", 21) != 0)
        fail_msg("%s", run.text);
    engine_close(engine);
}

static void drafts_are_verified(void **state)
{
    (void)state;
    expect("drafts", false, "2 next later 5 1 next 5 ");
}

static void errors_are_err_arms(void **state)
{
    (void)state;
    expect("errors", false,
           "Model 'nobody' not found; there is: 'default'\n"
           "empty input: a forward pass must supply at least one token\n"
           "input-tokens: 1 tokens have 0 positions; one for each is needed\n"
           "row refused\n"
           "token refused\n"
           "commit: requested 99, have 3\n"
           "Snapshot not found\n"
           "[static]image.from-bytes of pie:core/media is not implemented in this build\n"
           "connect of pie:mcp/client is not implemented in this build\n"
           "the context was destroyed\n"
           "the context was destroyed\n"
           "end");
}

static void traps_name_their_reason(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    expect_start(engine, "trap", "Call error: ");
    expect_start(engine, "unbound", "Call error: ForwardPass requires a context");
    expect_start(engine, "missing",
                 "Call error: available-servers of pie:mcp/client is not implemented in "
                 "this build");
    expect_start(engine, "nonsense", "unknown command");
    check_idle(engine);
    engine_close(engine);
}

static void branches_agree(void **state)
{
    (void)state;
    expect("branches", false, "refused gone same 1 25 1");
}

static void handles_drop_in_every_order(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    /* All orders of five letters, each with and without a destroy or a wait first. */
    static const char *const before[] = {"", "x", "w", "wx"};
    char order[16];
    unsigned runs = 0;
    for (unsigned code = 0; code < 3125; code++) {
        unsigned rest = code, seen = 0;
        char letters[6] = {0};
        for (unsigned i = 0; i < 5; i++, rest /= 5) {
            letters[i] = "mcpol"[rest % 5];
            seen |= 1u << (rest % 5);
        }
        if (seen != 31)
            continue;
        for (size_t b = 0; b < 4; b++) {
            (void)snprintf(order, sizeof order, "%s%s", before[b], letters);
            char input[32];
            (void)snprintf(input, sizeof input, "handles %s", order);
            struct run run;
            launch(engine, &run, input);
            finish(engine, &run);
            if (run.failed)
                fail_msg("%s: %s", order, run.text);
            runs++;
        }
    }
    assert_int_equal(runs, 480);
    /* And all of them left to the end of the process. */
    struct run run;
    launch(engine, &run, "handles ");
    finish(engine, &run);
    assert_string_equal(run.text, "done");
    for (int i = 0; i < 100 && engine_stats(engine).pages_used != 0; i++)
        (void)engine_turn(engine, 1);
    check_idle(engine);
    engine_close(engine);
}

/* ---- talking ------------------------------------------------------------------------------ */

static void output_reaches_the_client(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run run;
    launch(engine, &run, "say hello");
    finish(engine, &run);
    assert_string_equal(run.standard, "1:hello2:hello");
    engine_close(engine);
}

static void session_carries_messages_and_files(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run run;
    struct report report = {0};
    launch(engine, &run, "receive 3");
    assert_int_equal(engine_signal(engine, run.id, "early", 5, &report), ERR_OK);
    for (int i = 0; i < 5; i++)
        (void)engine_turn(engine, 0);
    assert_string_equal(run.messages, "early;");
    assert_int_equal(engine_signal(engine, run.id, "two", 3, &report), ERR_OK);
    assert_int_equal(engine_signal(engine, run.id, "three", 5, &report), ERR_OK);
    assert_int_equal(engine_signal(engine, run.id, "\xFF", 1, &report), ERR_INVALID);
    report = (struct report){0};
    assert_int_equal(engine_send_file(engine, run.id,
                                      "\xFF\x00"
                                      "data",
                                      6, &report),
                     ERR_OK);
    finish(engine, &run);
    assert_string_equal(run.text, "early,two,three,6");
    assert_string_equal(run.messages, "early;two;three;");
    assert_int_equal(run.file_bytes, 6);
    assert_int_equal(engine_signal(engine, run.id, "late", 4, &report), ERR_NOT_FOUND);
    engine_close(engine);
}

static void subscriptions_deliver_everything(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run listeners[2], sender;
    for (size_t i = 0; i < 2; i++)
        launch(engine, &listeners[i], "listen news 100");
    while (listeners[0].messages[0] == 0 || listeners[1].messages[0] == 0)
        (void)engine_turn(engine, 10);
    char input[600] = "broadcast news", wanted[500] = "";
    for (int i = 0; i < 100; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, " %d", i);
        strcat(input, text);
        (void)snprintf(text, sizeof text, "%d ", i);
        strcat(wanted, text);
    }
    launch(engine, &sender, input);
    for (size_t i = 0; i < 2; i++) {
        finish(engine, &listeners[i]);
        assert_string_equal(listeners[i].text, wanted);
    }
    finish(engine, &sender);
    check_idle(engine);
    engine_close(engine);
}

static void queues_lose_nothing(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run sender, taker, other;
    launch(engine, &sender, "push box a b c d");
    finish(engine, &sender);
    launch(engine, &taker, "pull box 3");
    finish(engine, &taker);
    assert_string_equal(taker.text, "a b c ");
    /* Who waits first gets first; topics of other users are others. */
    launch(engine, &taker, "pull box 2");
    for (int i = 0; i < 5; i++)
        (void)engine_turn(engine, 0);
    struct report report = {0};
    struct engine_launch stranger = {.program = PROBE,
                                     .input = "push box x",
                                     .input_bytes = 10,
                                     .username = "stranger",
                                     .on_event = on_event,
                                     .user = &other};
    other = (struct run){0};
    assert_int_equal(engine_launch(engine, &stranger, other.id, &report), ERR_OK);
    finish(engine, &other);
    assert_false(taker.ended);
    launch(engine, &sender, "push box e");
    finish(engine, &taker);
    assert_string_equal(taker.text, "d e ");
    engine_close(engine);
}

static void children_run_and_are_cancelled(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    static const struct {
        const char *input, *text;
        bool failed;
    } cases[] = {
        {"launch probe echo hi", "ok hi", false},
        {"launch probe@0.1.0 fail so", "err so", false},
        {"launch probe@latest launch probe echo deep", "ok ok deep", false},
        {"cancel probe wait", "err cancelled", false},
        {"cancel probe loop", "err cancelled", false},
        {"launch nobody x", "program \"nobody\" is not installed; installed: probe@0.1.0", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        launch(engine, &run, cases[i].input);
        finish(engine, &run);
        assert_string_equal(run.text, cases[i].text);
        assert_int_equal(run.failed, cases[i].failed);
    }
    check_idle(engine);
    engine_close(engine);
}

static void facts_are_told(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct run run;
    launch(engine, &run, "facts");
    finish(engine, &run);
    if (strncmp(run.text, "0.4.0 local 36 one ", 19) != 0)
        fail_msg("%s", run.text);
    assert_non_null(strstr(run.text, " 0Hi2Hi"));
    engine_close(engine);
}

static void clocks_and_outputs_together(void **state)
{
    (void)state;
    expect("together", false, "both");
    expect("sleep 5", false, "");
}

static void grammars_constrain(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    static const struct {
        const char *input, *wanted[3];
    } cases[] = {
        {"constrain regex (yes|no)", {"yes", "no", NULL}},
        {"constrain ebnf root ::= \"a\" [0-9] \"z\"", {NULL}},
        {"constrain schema {\"enum\": [\"red\", 7]}", {"\"red\"", "7", NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct run run;
            launch_seed(engine, &run, cases[i].input, seed);
            finish(engine, &run);
            if (run.failed)
                fail_msg("%s: %s", cases[i].input, run.text);
            const char *const *wanted = cases[i].wanted;
            while (*wanted != NULL && strcmp(*wanted, run.text) != 0)
                wanted++;
            if (*wanted != NULL)
                continue;
            bool letters = strlen(run.text) == 3 && run.text[0] == 'a' && run.text[1] >= '0' &&
                           run.text[1] <= '9' && run.text[2] == 'z';
            if (i != 1 || !letters)
                fail_msg("%s: %s", cases[i].input, run.text);
        }
    expect_start(engine, "constrain regex (", "");
    expect_start(engine, "constrain schema {\"type\": ", "");
    expect_start(engine, "constrain ebnf root ::= nothing", "");
    expect_start(engine, "tools",
                 "Call error: create-matcher: the chat format \"chatml\" has no native grammar");
    check_idle(engine);
    engine_close(engine);
}

/* ---- bounds ------------------------------------------------------------------------------- */

static void runaways_end_and_others_do_not_notice(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.guest_fuel_stall_max = 20000000;
    config.guest_memory_bytes_max = 16 << 20;
    struct engine *engine = open_engine(config);
    struct run loop, grow, recurse, dive, good[8], alone;
    launch(engine, &alone, "generate 30 100 neighbours");
    finish(engine, &alone);
    launch(engine, &loop, "loop");
    launch(engine, &grow, "grow");
    launch(engine, &recurse, "recurse");
    launch(engine, &dive, "dive");
    for (size_t i = 0; i < 8; i++)
        launch(engine, &good[i], "generate 30 100 neighbours");
    for (size_t i = 0; i < 8; i++) {
        finish(engine, &good[i]);
        assert_string_equal(good[i].text, alone.text);
    }
    finish(engine, &loop);
    finish(engine, &grow);
    finish(engine, &recurse);
    finish(engine, &dive);
    assert_true(dive.failed && loop.failed && grow.failed && recurse.failed);
    assert_string_equal(loop.text,
                        "Call error: the process runs in a loop: it used 20000000 instructions "
                        "without waiting for anything (guest_fuel_stall_max)");
    /* 256 pages of 64 KiB are the limit, less what the program began with. */
    assert_non_null(strstr(grow.text, "memory.grow failed after 2"));
    static const char deep[] = "Call error: out of bounds memory access (the call stack is deep: "
                               "probably the program's own stack in linear memory is exhausted by "
                               "recursion)\n  0: ";
    if (strncmp(recurse.text, deep, strlen(deep)) != 0)
        fail_msg("%s", recurse.text);
    static const char exhausted[] = "Call error: call stack exhausted\n  0: ";
    if (strncmp(dive.text, exhausted, strlen(exhausted)) != 0)
        fail_msg("%s", dive.text);
    check_idle(engine);
    engine_close(engine);
}

static void instruction_limit_is_exact(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.guest_fuel_max = 5000000;
    struct engine *engine = open_engine(config);
    struct run run;
    launch(engine, &run, "loop");
    finish(engine, &run);
    assert_string_equal(run.text, "Call error: the instruction limit is reached: the process used "
                                  "5000000 instructions (guest_fuel_max)");
    uint64_t used = engine_stats(engine).fuel_used;
    assert_in_range(used, 5000000, 5001000);
    engine_close(engine);
}

static void token_budget_is_kept(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.token_budget = 20;
    struct engine *engine = open_engine(config);
    struct run run;
    launch(engine, &run, "generate 30 0 Hello");
    finish(engine, &run);
    assert_true(run.failed);
    assert_non_null(strstr(run.text, "pin: token budget exhausted for context"));
    engine_close(engine);
}

static void processes_wait_in_line(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.processes_max = 2;
    struct engine *engine = open_engine(config);
    struct run runs[6];
    struct report report = {0};
    for (size_t i = 0; i < 2; i++)
        launch(engine, &runs[i], "wait");
    for (size_t i = 2; i < 6; i++)
        launch(engine, &runs[i], "echo x");
    for (int i = 0; i < 20; i++)
        (void)engine_turn(engine, 0);
    for (size_t i = 0; i < 6; i++)
        assert_false(runs[i].ended);
    /* One that waits in line can be ended, too. */
    assert_int_equal(engine_terminate(engine, runs[3].id, &report), ERR_OK);
    finish(engine, &runs[3]);
    assert_string_equal(runs[3].text, "Signal");
    assert_int_equal(engine_terminate(engine, runs[0].id, &report), ERR_OK);
    finish(engine, &runs[0]);
    assert_true(runs[0].failed);
    assert_string_equal(runs[0].text, "Signal");
    finish(engine, &runs[2]);
    finish(engine, &runs[4]);
    finish(engine, &runs[5]);
    assert_string_equal(runs[5].text, "x");
    assert_int_equal(engine_terminate(engine, runs[5].id, &report), ERR_NOT_FOUND);
    assert_false(runs[1].ended);
    engine_close(engine); /* with one that still waits: no event comes */
    assert_false(runs[1].ended);
}

static void a_waiting_parent_makes_room(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.processes_max = 1;
    struct engine *engine = open_engine(config);
    struct run run, next;
    launch(engine, &run, "launch probe launch probe launch probe echo deep");
    launch(engine, &next, "echo next");
    finish(engine, &run);
    assert_string_equal(run.text, "ok ok ok deep");
    finish(engine, &next);
    check_idle(engine);
    engine_close(engine);
}

static void programs_are_checked_when_added(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct report report = {0};
    char id[256];
    assert_int_equal(engine_program_add(engine, probe_manifest, strlen(probe_manifest),
                                        (const uint8_t *)probe_wasm, probe_bytes, false, false, id,
                                        &report),
                     ERR_BUSY);
    report = (struct report){0};
    assert_int_equal(engine_program_add(engine, probe_manifest, strlen(probe_manifest),
                                        (const uint8_t *)probe_wasm, probe_bytes / 2, true, false,
                                        id, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "program probe@0.1.0"));
    /* The right module under another name has no `run` of that name: said at the launch. */
    static const char other[] = "[package]\nname = \"other\"\nversion = \"1.0.0\"\n";
    struct run run = {0};
    report = (struct report){0};
    assert_int_equal(engine_program_add(engine, other, strlen(other), (const uint8_t *)probe_wasm,
                                        probe_bytes, false, false, id, &report),
                     ERR_OK);
    struct engine_launch launch_ = {.program = id, .input = "", .on_event = on_event, .user = &run};
    assert_int_equal(engine_launch(engine, &launch_, run.id, &report), ERR_OK);
    finish(engine, &run);
    assert_true(run.failed);
    if (strncmp(run.text, "Instantiation error: No 'run' interface found", 45) != 0)
        fail_msg("%s", run.text);
    engine_close(engine);
}

/* ---- many --------------------------------------------------------------------------------- */

static void thousand_at_once(void **state)
{
    (void)state;
    enum { COUNT = 1000, KINDS = 10 };
    struct engine_config config = engine_config_default();
    config.page_count = 4096;
    struct engine *engine = open_engine(config);
    struct run *runs = calloc(COUNT, sizeof *runs), alone[KINDS];
    char input[64];
    for (size_t i = 0; i < KINDS; i++) {
        (void)snprintf(input, sizeof input, "generate 12 100 story number %zu", i);
        launch_seed(engine, &alone[i], input, i + 1);
        finish(engine, &alone[i]);
        assert_false(alone[i].failed);
    }
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(input, sizeof input, "after generate 12 100 story number %zu", i % KINDS);
        launch_seed(engine, &runs[i], input, i % KINDS + 1);
    }
    /* All of them wait before the first one begins. */
    for (size_t i = 0; i < COUNT; i++)
        while (runs[i].messages[0] == 0)
            (void)engine_turn(engine, 100);
    struct engine_stats stats = engine_stats(engine);
    assert_int_equal(stats.processes_alive, COUNT);
    struct report report = {0};
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(engine_signal(engine, runs[i].id, "go", 2, &report), ERR_OK);
    for (size_t i = 0; i < COUNT; i++)
        finish(engine, &runs[i]);
    for (size_t i = 0; i < COUNT; i++)
        assert_string_equal(runs[i].text, alone[i % KINDS].text);
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    print_message("note: peak memory %ld MiB for %d inferlets alive at once on the fake backend: "
                  "each %llu KiB of linear memory and %llu KiB besides\n",
                  usage.ru_maxrss / 1024, COUNT,
                  (unsigned long long)(stats.guest_bytes / COUNT / 1024),
                  (unsigned long long)(stats.guest_overhead_bytes / COUNT / 1024));
    check_idle(engine);
    free(runs);
    engine_close(engine);
}

static void launching_survives_lack_of_memory(void **state)
{
    (void)state;
    struct engine *engine = open_default();
    struct report report = {0};
    for (uint64_t nth = 1;; nth++) {
        struct run run = {0};
        struct engine_launch wanted = {.program = PROBE,
                                       .input = "echo x",
                                       .input_bytes = 6,
                                       .on_event = on_event,
                                       .user = &run};
        (void)mem_fail_at(nth);
        enum err err = engine_launch(engine, &wanted, run.id, &report);
        for (int i = 0; err == ERR_OK && i < 20; i++)
            (void)engine_turn(engine, 0);
        uint64_t allocations = mem_fail_at(0);
        if (err == ERR_OK) {
            finish(engine, &run);
            if (allocations < nth) {
                assert_string_equal(run.text, "x");
                break;
            }
        } else {
            assert_int_equal(err, ERR_MEMORY);
        }
        report = (struct report){0};
    }
    check_idle(engine);
    engine_close(engine);
}

/* Whatever a guest does: one allocation that fails ends it in order, or does not matter. */
static void guests_survive_lack_of_memory(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "generate 5 100 Hello",
        "two",
        "handles xwmcpol",
        "handles ",
        "samplers",
        "errors",
        "branches",
        "receive 1",
        "facts",
        "together",
        "launch probe echo x",
        "cancel probe wait",
        "constrain regex (yes|no)",
        "constrain json",
        "masks",
        "drafts",
        "tools",
        "pull box 1",
        "listen news 1",
        "broadcast news a b",
        "push box a",
    };
    struct engine *engine = open_default();
    unsigned ended = 0;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        uint64_t count = 1, step = 1;
        for (uint64_t nth = UINT64_MAX; nth == UINT64_MAX || nth <= count;) {
            struct run run;
            launch(engine, &run, inputs[i]);
            struct report report = {0};
            assert_int_equal(engine_signal(engine, run.id, "hi", 2, &report), ERR_OK);
            assert_int_equal(engine_send_file(engine, run.id, "f", 1, &report), ERR_OK);
            (void)mem_fail_at(nth);
            for (int turn = 0; turn < 40 && !run.ended; turn++)
                (void)engine_turn(engine, 1);
            uint64_t made = mem_fail_at(0);
            if (!run.ended)
                assert_int_equal(engine_terminate(engine, run.id, &report), ERR_OK);
            finish(engine, &run);
            ended += run.failed;
            if (nth == UINT64_MAX) {
                count = made;
                step = count / 40 + 1;
                nth = 1;
            } else {
                nth += step;
            }
        }
    }
    assert_true(ended > 100);
    for (int i = 0; i < 100 && engine_stats(engine).processes_alive != 0; i++)
        (void)engine_turn(engine, 10);
    engine_close(engine);
}

static void opening_survives_lack_of_memory(void **state)
{
    (void)state;
    struct engine_config config = engine_config_default();
    config.fake_model = true;
    config.page_count = 16;
    (void)mem_fail_at(1000000);
    struct engine *engine;
    struct report report = {0};
    assert_int_equal(engine_open(&config, &engine, &report), ERR_OK);
    uint64_t count = mem_fail_at(0);
    engine_close(engine);
    /* Every allocation of the first hundreds, then some of the many small ones. */
    for (uint64_t nth = 1; nth <= count; nth += nth < 300 ? 1 : 37) {
        report = (struct report){0};
        (void)mem_fail_at(nth);
        enum err err = engine_open(&config, &engine, &report);
        (void)mem_fail_at(0);
        if (err == ERR_OK)
            engine_close(engine);
        else
            assert_int_equal(err, ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_and_fail),
        cmocka_unit_test(generation_is_reproducible),
        cmocka_unit_test(passes_of_one_context_queue_up),
        cmocka_unit_test(all_samplers_answer),
        cmocka_unit_test(masks_and_positions),
        cmocka_unit_test(drafts_are_verified),
        cmocka_unit_test(errors_are_err_arms),
        cmocka_unit_test(traps_name_their_reason),
        cmocka_unit_test(branches_agree),
        cmocka_unit_test(handles_drop_in_every_order),
        cmocka_unit_test(output_reaches_the_client),
        cmocka_unit_test(session_carries_messages_and_files),
        cmocka_unit_test(subscriptions_deliver_everything),
        cmocka_unit_test(queues_lose_nothing),
        cmocka_unit_test(children_run_and_are_cancelled),
        cmocka_unit_test(facts_are_told),
        cmocka_unit_test(clocks_and_outputs_together),
        cmocka_unit_test(grammars_constrain),
        cmocka_unit_test(runaways_end_and_others_do_not_notice),
        cmocka_unit_test(instruction_limit_is_exact),
        cmocka_unit_test(token_budget_is_kept),
        cmocka_unit_test(processes_wait_in_line),
        cmocka_unit_test(a_waiting_parent_makes_room),
        cmocka_unit_test(programs_are_checked_when_added),
        cmocka_unit_test(thousand_at_once),
        cmocka_unit_test(launching_survives_lack_of_memory),
        cmocka_unit_test(guests_survive_lack_of_memory),
        cmocka_unit_test(opening_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, read_probe, free_probe);
}
