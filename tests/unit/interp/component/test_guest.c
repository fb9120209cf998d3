/* links: interp/component
 *
 * A guest that uses every part of the canonical ABI, once as a plain core module and once wrapped
 * as a component (tests/data/component), against a host made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "interp/component/component.h"

#define HOST "test:guest/host"
#define POINT "record { x: s32, y: s32, name: string }"
#define SHAPE "variant { empty, circle(f32), polygon(list<" POINT ">), named(string) }"

struct thing {
    uint32_t value;
};

struct world {
    uint32_t alive, dropped, abandoned, waits;
    uint32_t drop_order[8];
};

static void drop_thing(void *host, void *rep)
{
    struct world *world = host;
    struct thing *thing = rep;
    if (world->dropped < 8)
        world->drop_order[world->dropped] = thing->value;
    world->dropped++;
    world->alive--;
    free(thing);
}

static void *new_thing(struct world *world, uint32_t value)
{
    struct thing *thing = malloc(sizeof *thing);
    assert_non_null(thing);
    thing->value = value;
    world->alive++;
    return thing;
}

/* ---- host functions ---------------------------------------------------------------------- */

#define FN(name)                                                                              \
    static enum comp_host_result name(struct comp_host_call *call,                            \
                                      const struct comp_value *args,                          \
                                      struct comp_value *result, void *user)

static enum comp_host_result done(struct comp_host_call *call, void *user)
{
    (void)call, (void)user;
    return COMP_HOST_DONE;
}

FN(host_add)
{
    *result = comp_f64((double)args[0].of.u + (double)args[1].of.s + (double)args[2].of.f32 +
                       args[3].of.f64);
    return done(call, user);
}

FN(host_narrow)
{
    static const int64_t wanted[] = {7, -128, 0x1234, -32768, 1, 0x1F600, 5, 2};
    *result = (struct comp_value){.kind = COMP_S64, .of.s = 0};
    for (int i = 0; i < 8; i++) {
        int64_t have = args[i].kind == COMP_BOOL ? args[i].of.boolean : args[i].of.s;
        if (have != wanted[i])
            result->of.s = -1 - i;
    }
    return done(call, user);
}

FN(host_echo)
{
    *result = args[0];
    return done(call, user);
}

FN(host_sum)
{
    const uint32_t *numbers = args[0].of.list.data;
    uint64_t sum = 0;
    for (size_t i = 0; i < args[0].of.list.count; i++)
        sum += numbers[i];
    *result = comp_u64(sum);
    return done(call, user);
}

FN(host_count)
{
    uint32_t *numbers = arena_calloc(call->arena, (size_t)args[0].of.u + 1, sizeof *numbers);
    for (uint32_t i = 0; i < args[0].of.u; i++)
        numbers[i] = i * i;
    *result = comp_list_packed(numbers, (size_t)args[0].of.u);
    return done(call, user);
}

FN(host_words)
{
    struct comp_value *items = arena_calloc(call->arena, 20, sizeof *items);
    const char *text = args[0].of.string.data;
    size_t count = 0, start = 0;
    for (size_t i = 0; i <= args[0].of.string.bytes; i++)
        if (i == args[0].of.string.bytes || text[i] == ' ') {
            items[count++] = comp_string(text + start, i - start);
            start = i + 1;
        }
    *result = comp_items(COMP_LIST, items, count);
    return done(call, user);
}

FN(host_describe)
{
    char *text = arena_alloc(call->arena, 200);
    const struct comp_value *payload = args[0].of.variant.payload;
    int bytes = 0;
    switch (args[0].of.variant.index) {
    case 0:
        assert_null(payload);
        bytes = snprintf(text, 200, "(empty)");
        break;
    case 1:
        bytes = snprintf(text, 200, "(circle %g)", (double)payload->of.f32);
        break;
    case 2:
        bytes = snprintf(text, 200, "(polygon");
        for (size_t i = 0; i < payload->of.list.count; i++) {
            const struct comp_value *point = payload->of.list.items[i].of.list.items;
            bytes += snprintf(text + bytes, 200 - (size_t)bytes, " %d,%d,%.*s",
                              (int)point[0].of.s, (int)point[1].of.s,
                              (int)point[2].of.string.bytes, point[2].of.string.data);
        }
        bytes += snprintf(text + bytes, 200 - (size_t)bytes, ")");
        break;
    default:
        bytes = snprintf(text, 200, "(named %.*s)", (int)payload->of.string.bytes,
                         payload->of.string.data);
    }
    *result = comp_string(text, (size_t)bytes);
    return done(call, user);
}

FN(host_make)
{
    struct comp_value payload, *points, *items;
    bool ok = true;
    switch (args[0].of.u) {
    case 0:
        ok = comp_variant(call->arena, 0, NULL, result);
        break;
    case 1:
        payload = comp_f32(1.5f);
        ok = comp_variant(call->arena, 1, &payload, result);
        break;
    case 2:
        points = arena_calloc(call->arena, 2, sizeof *points);
        for (int i = 0; i < 2; i++) {
            items = arena_calloc(call->arena, 3, sizeof *items);
            items[0] = (struct comp_value){.kind = COMP_S32, .of.s = -i};
            items[1] = (struct comp_value){.kind = COMP_S32, .of.s = 1000000 + i};
            items[2] = comp_string("pq" + i, (size_t)(2 - i));
            points[i] = comp_items(COMP_RECORD, items, 3);
        }
        payload = comp_items(COMP_LIST, points, 2);
        ok = comp_variant(call->arena, 2, &payload, result);
        break;
    default:
        payload = comp_string("name", 4);
        ok = comp_variant(call->arena, 3, &payload, result);
    }
    assert_true(ok);
    return done(call, user);
}

static void note_abandoned(void *data)
{
    ((struct world *)data)->abandoned++;
}

FN(host_wait)
{
    struct world *world = call->host;
    (void)user;
    call->state->data = world;
    call->state->on_abandon = note_abandoned;
    if (call->state->step < args[0].of.u) {
        call->state->step++;
        world->waits++;
        return COMP_HOST_WAIT;
    }
    *result = comp_u32((uint32_t)call->state->step * 10);
    return COMP_HOST_DONE;
}

FN(host_total)
{
    uint32_t total = 0;
    for (size_t i = 0; i < args[0].of.list.count; i++)
        total += ((const struct thing *)args[0].of.list.items[i].of.rep)->value;
    *result = comp_u32(total);
    return done(call, user);
}

FN(host_many)
{
    size_t bytes = 0;
    for (int i = 0; i < 8; i++)
        bytes += args[i].of.string.bytes;
    assert_true(comp_some(call->arena, comp_u32((uint32_t)(bytes + args[8].of.u)), result));
    return done(call, user);
}

FN(thing_new)
{
    *result = comp_own(new_thing(call->host, (uint32_t)args[0].of.u));
    return done(call, user);
}

FN(thing_value)
{
    *result = comp_u32(((const struct thing *)args[0].of.rep)->value);
    return done(call, user);
}

/* Takes `a`; refuses when its value is 0. */
FN(thing_join)
{
    struct thing *a = args[0].of.rep;
    const struct thing *b = args[1].of.rep;
    if (a->value == 0) {
        struct comp_value why = comp_string("nothing to join", 15);
        drop_thing(call->host, a);
        assert_true(comp_error(call->arena, &why, result));
        return done(call, user);
    }
    a->value = a->value * 100 + b->value;
    struct comp_value own = comp_own(a);
    assert_true(comp_ok(call->arena, &own, result));
    return done(call, user);
}

static struct comp_linker *make_linker(void)
{
    static const struct {
        const char *name, *type;
        comp_host_fn fn;
    } funcs[] = {
        {"add", "func(a: u32, b: s64, c: f32, d: f64) -> f64", host_add},
        {"narrow", "func(a: u8, b: s8, c: u16, d: s16, e: bool, f: char, "
                   "g: flags { red, green, blue }, h: enum { low, middle, high }) -> s64",
         host_narrow},
        {"echo", "func(text: string) -> string", host_echo},
        {"sum", "func(numbers: list<u32>) -> u64", host_sum},
        {"count", "func(up-to: u32) -> list<u32>", host_count},
        {"words", "func(text: string) -> list<string>", host_words},
        {"describe", "func(shape: " SHAPE ") -> string", host_describe},
        {"make", "func(kind: u32) -> " SHAPE, host_make},
        {"wait", "func(times: u32) -> u32", host_wait},
        {"total", "func(things: list<borrow<thing>>) -> u32", host_total},
        {"many", "func(a: string, b: string, c: string, d: string, e: string, f: string, "
                 "g: string, h: string, i: u32) -> option<u32>", host_many},
        {"[constructor]thing", "func(value: u32) -> own<thing>", thing_new},
        {"[method]thing.value", "func(self: borrow<thing>) -> u32", thing_value},
        {"[static]thing.join",
         "func(a: own<thing>, b: borrow<thing>) -> result<own<thing>, string>", thing_join},
    };
    struct comp_linker *linker = comp_linker_create();
    struct report report = {0};
    assert_non_null(linker);
    assert_int_equal(comp_linker_resource(linker, HOST, "thing", drop_thing, &report), ERR_OK);
    for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++)
        if (comp_linker_func(linker, HOST, funcs[i].name, funcs[i].type, funcs[i].fn, NULL,
                             &report))
            fail_msg("%s", report.text);
    assert_int_equal(comp_linker_export_type(linker, "test:*/run", "run",
                                             "func(input: string) -> result<string, string>",
                                             &report), ERR_OK);
    return linker;
}

/* ---- both kinds of guest ----------------------------------------------------------------- */

static const char *const guests[] = {"tests/data/component/guest.wasm",
                                     "tests/data/component/guest-component.wasm"};

static struct comp_component *load(const char *path)
{
    struct report report = {0};
    struct comp_component *component;
    char *data;
    size_t bytes;
    assert_int_equal(file_read(path, 1 << 20, NULL, &data, &bytes, &report), ERR_OK);
    if (comp_component_create((const uint8_t *)data, bytes, &component, &report))
        fail_msg("%s", report.text);
    mem_free(NULL, data);
    return component;
}

struct guest {
    struct world world;
    struct comp_linker *linker;
    struct comp_component *component;
    struct comp_instance *instance;
    char text[70000];
};

static void start(struct guest *g, const char *path)
{
    struct report report = {0};
    memset(g, 0, sizeof *g);
    g->linker = make_linker();
    g->component = load(path);
    if (comp_instance_create(g->linker, g->component, NULL, &g->world, &g->instance, &report))
        fail_msg("%s", report.text);
}

static void stop(struct guest *g)
{
    comp_instance_destroy(g->instance);
    comp_component_unref(g->component);
    comp_linker_destroy(g->linker);
    assert_int_equal(g->world.alive, 0);
}

static void begin(struct guest *g, const char *command)
{
    struct report report = {0};
    struct comp_value input = comp_string(command, strlen(command));
    if (comp_instance_call(g->instance, "test:guest/run", "run", &input, 1, &report))
        fail_msg("%s", report.text);
}

/* "ok TEXT", "err TEXT" or "trap TEXT". */
static const char *finish(struct guest *g)
{
    enum wasm_run run;
    while ((run = comp_instance_run(g->instance, 1000000)) == WASM_RUN_WAIT ||
           run == WASM_RUN_FUEL)
        ;
    if (run == WASM_RUN_TRAP) {
        snprintf(g->text, sizeof g->text, "trap %s", comp_instance_trap_text(g->instance));
        return g->text;
    }
    const struct comp_value *result = comp_instance_result(g->instance);
    assert_non_null(result);
    assert_int_equal(result->kind, COMP_RESULT);
    snprintf(g->text, sizeof g->text, "%s %.*s", result->of.variant.index ? "err" : "ok",
             (int)result->of.variant.payload->of.string.bytes,
             result->of.variant.payload->of.string.data);
    return g->text;
}

static const char *ask(struct guest *g, const char *command)
{
    begin(g, command);
    return finish(g);
}

#define EACH_GUEST(g)                                                      \
    struct guest *g = malloc(sizeof *g);                                   \
    assert_non_null(g);                                                    \
    for (size_t which = 0; which < 2 || (free(g), false); which++)

static void values_pass(void **state)
{
    static const struct {
        const char *command, *answer;
    } cases[] = {
        {"add", "ok 10475"},
        {"narrow", "ok 0"},
        {"echo", "ok gr\xC3\xBC\xC3\x9F"},
        {"echo-long", "ok 60000"},
        {"sum", "ok 4000000499500"},
        {"count", "ok 0 1 4 9 16 "},
        {"words", "ok three|little|words|"},
        {"describe", "ok (empty)(circle 2.5)(polygon 1,-2,a 3,4,bc)(named five)"},
        {"make", "ok 0;1;2 0,1000000,pq -1,1000001,q;3 name;"},
        {"many", "ok 1 49"},
        {"nonsense", "err unknown command nonsense"},
        {"", "err unknown command "},
    };
    (void)state;
    EACH_GUEST(g) {
        start(g, guests[which]);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            assert_string_equal(ask(g, cases[i].command), cases[i].answer);
        /* Twelve calls, each followed by its post-return; this one's comes after. */
        assert_string_equal(ask(g, "post-return"), "ok 12");
        stop(g);
    }
}

static void bad_values_trap(void **state)
{
    static const struct {
        const char *command, *text;
    } cases[] = {
        {"bad-char", "trap invalid `char`"},
        {"bad-enum", "trap invalid variant discriminant"},
        {"bad-case", "trap invalid variant discriminant"},
        {"bad-utf8", "trap invalid utf-8"},
        {"string-out-of-bounds", "trap string pointer/length out of bounds"},
        {"result-out-of-bounds", "trap pointer out of bounds"},
        {"result-misaligned", "trap pointer not aligned"},
        {"sum-misaligned", "trap list pointer is not aligned"},
        {"realloc-misaligned", "trap realloc return: result not aligned"},
        {"realloc-out-of-bounds", "trap realloc return: beyond end of memory"},
        {"realloc-traps", "trap unreachable"},
        {"realloc-loops", "trap "},
        {"realloc-calls-out", "trap cannot leave component instance"},
        {"post-return-calls-out", "trap cannot leave component instance"},
        {"trap", "trap unreachable"},
    };
    (void)state;
    EACH_GUEST(g)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct report report = {0};
            struct comp_value input = comp_string("add", 3);
            start(g, guests[which]);
            const char *text = ask(g, cases[i].command);
            if (strncmp(text, cases[i].text, strlen(cases[i].text)) != 0)
                fail_msg("%s: %s", cases[i].command, text);
            assert_int_equal(comp_instance_call(g->instance, "test:guest/run", "run", &input, 1,
                                                &report), ERR_TRAP);
            stop(g);
        }
}

static void resources_are_counted(void **state)
{
    (void)state;
    EACH_GUEST(g) {
        start(g, guests[which]);
        assert_string_equal(ask(g, "things"), "ok 21 0 506");
        assert_int_equal(g->world.alive, 0);
        assert_int_equal(g->world.drop_order[0], 6);
        assert_int_equal(g->world.drop_order[1], 506);
        assert_string_equal(ask(g, "thing-refused"), "ok nothing to join");
        assert_int_equal(g->world.alive, 0);
        stop(g);

        /* What the guest forgot is dropped with it, newest first. */
        start(g, guests[which]);
        assert_string_equal(ask(g, "thing-leaked"), "ok ");
        assert_int_equal(g->world.alive, 3);
        stop(g);
        assert_int_equal(g->world.drop_order[0], 3);
        assert_int_equal(g->world.drop_order[1], 4);
        assert_int_equal(g->world.drop_order[2], 2);
        assert_int_equal(g->world.drop_order[3], 1);
    }
}

static void bad_handles_trap(void **state)
{
    static const struct {
        const char *command, *text;
    } cases[] = {
        {"thing-unknown", "trap unknown handle index 77"},
        {"thing-zero", "trap unknown handle index 0"},
        {"thing-dropped-twice", "trap unknown handle index 1"},
        {"thing-moved-and-lent", "trap unknown handle index 1"},
        {"thing-lent-and-trap", "trap unreachable"},
    };
    (void)state;
    EACH_GUEST(g)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            start(g, guests[which]);
            assert_string_equal(ask(g, cases[i].command), cases[i].text);
            stop(g); /* nothing is lost: all things are dropped */
        }
}

static void waiting_keeps_nothing_running(void **state)
{
    (void)state;
    EACH_GUEST(g) {
        start(g, guests[which]);
        begin(g, "wait");
        for (int i = 0; i < 3; i++)
            assert_int_equal(comp_instance_run(g->instance, 1000000), WASM_RUN_WAIT);
        assert_string_equal(finish(g), "ok 30");
        assert_int_equal(g->world.waits, 3);
        assert_int_equal(g->world.abandoned, 0);
        stop(g);

        start(g, guests[which]);
        begin(g, "wait");
        assert_int_equal(comp_instance_run(g->instance, 1000000), WASM_RUN_WAIT);
        struct report report = {0};
        struct comp_value input = comp_string("add", 3);
        assert_int_equal(comp_instance_call(g->instance, "test:guest/run", "run", &input, 1,
                                            &report), ERR_BUSY);
        stop(g);
        assert_int_equal(g->world.abandoned, 1);
    }
}

static void fuel_preempts(void **state)
{
    (void)state;
    EACH_GUEST(g) {
        start(g, guests[which]);
        begin(g, "spin");
        unsigned slices = 0;
        enum wasm_run run;
        while ((run = comp_instance_run(g->instance, 100000)) == WASM_RUN_FUEL)
            slices++;
        assert_int_equal(run, WASM_RUN_DONE);
        assert_in_range(slices, 10, 1000);
        begin(g, "loop");
        for (int i = 0; i < 20; i++)
            assert_int_equal(comp_instance_run(g->instance, 100000), WASM_RUN_FUEL);
        stop(g);
    }
}

/* ---- linking ----------------------------------------------------------------------------- */

static void link_errors_say_what_is_missing(void **state)
{
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        struct comp_component *component = load(guests[which]);
        struct comp_instance *instance;
        struct report report = {0};
        struct comp_linker *linker = comp_linker_create();
        assert_int_not_equal(comp_instance_create(linker, component, NULL, NULL, &instance,
                                                  &report), ERR_OK);
        assert_null(instance);
        assert_non_null(strstr(report.text, HOST));
        assert_non_null(strstr(report.text, "no such interface"));

        memset(&report, 0, sizeof report);
        assert_int_equal(comp_linker_resource(linker, HOST, "thing", NULL, &report), ERR_OK);
        assert_int_equal(comp_linker_func(linker, HOST, "adds", "func(a: u32) -> u32", host_add,
                                          NULL, &report), ERR_OK);
        assert_int_not_equal(comp_instance_create(linker, component, NULL, NULL, &instance,
                                                  &report), ERR_OK);
        assert_non_null(strstr(report.text, "the function "));
        memset(&report, 0, sizeof report);
        assert_int_equal(comp_linker_func(linker, HOST, "add", "func(a: u32) -> u32", host_add,
                                          NULL, &report), ERR_OK);
        assert_int_equal(comp_linker_stub_prefix(linker, "test:", &report), ERR_OK);
        assert_int_not_equal(comp_instance_create(linker, component, NULL, NULL, &instance,
                                                  &report), ERR_OK);
        assert_non_null(strstr(report.text, "add"));
        comp_linker_destroy(linker);

        /* Everything stubbed: links, and traps when called. */
        memset(&report, 0, sizeof report);
        linker = comp_linker_create();
        assert_int_equal(comp_linker_resource(linker, HOST, "thing", NULL, &report), ERR_OK);
        assert_int_equal(comp_linker_stub_prefix(linker, "test:", &report), ERR_OK);
        assert_int_equal(comp_linker_export_type(linker, "test:guest/run", "run",
                                                 "func(input: string) -> result<string, string>",
                                                 &report), ERR_OK);
        if (comp_instance_create(linker, component, NULL, NULL, &instance, &report))
            fail_msg("%s", report.text);
        struct comp_value input = comp_string("add", 3);
        assert_int_equal(comp_instance_call(instance, "test:guest/run", "run", &input, 1,
                                            &report), ERR_OK);
        assert_int_equal(comp_instance_run(instance, 1000000), WASM_RUN_TRAP);
        assert_string_equal(comp_instance_trap_text(instance),
                            "add of test:guest/host is not implemented in this build");
        comp_instance_destroy(instance);
        comp_linker_destroy(linker);
        comp_component_unref(component);
    }
}

static void calls_are_checked(void **state)
{
    (void)state;
    EACH_GUEST(g) {
        struct report report = {0};
        struct comp_value number = comp_u32(1);
        start(g, guests[which]);
        assert_int_equal(comp_instance_call(g->instance, "test:guest/runs", "run", &number, 1,
                                            &report), ERR_NOT_FOUND);
        assert_int_equal(comp_instance_call(g->instance, "test:guest/run", "ran", &number, 1,
                                            &report), ERR_NOT_FOUND);
        assert_int_equal(comp_instance_call(g->instance, "test:guest/run", "run", &number, 1,
                                            &report), ERR_INVALID);
        assert_int_equal(comp_instance_call(g->instance, "test:guest/run", "run", NULL, 0,
                                            &report), ERR_INVALID);
        stop(g);
    }
}

struct names {
    unsigned imports, exports;
};

static void note_import(void *user, const char *interface, const char *name)
{
    struct names *names = user;
    assert_string_equal(interface, HOST);
    assert_non_null(name);
    names->imports++;
}

static void note_export(void *user, const char *interface, const char *name)
{
    struct names *names = user;
    if (strcmp(interface, "test:guest/run") == 0) {
        assert_string_equal(name, "run");
        names->exports++;
    }
}

static void names_are_listed(void **state)
{
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        struct names names = {0, 0};
        struct comp_component *component = load(guests[which]);
        comp_component_each_import(component, note_import, &names);
        comp_component_each_export(component, note_export, &names);
        assert_int_equal(names.imports, which == 0 ? 15 : 14); /* a component drops by itself */
        assert_int_equal(names.exports, which == 0 ? 1 : 1);
        comp_component_unref(component);
    }
}

/* Every allocation of loading, linking and a call fails once. */
static void memory_may_run_out(void **state)
{
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        char *data;
        size_t bytes;
        struct report report = {0};
        assert_int_equal(file_read(guests[which], 1 << 20, NULL, &data, &bytes, &report), ERR_OK);
        for (uint64_t nth = 1;; nth += 1 + nth / 40) {
            struct world world = {0};
            struct comp_linker *linker = make_linker();
            struct comp_component *component = NULL;
            struct comp_instance *instance = NULL;
            struct comp_value input = comp_string("things", 6);
            bool is_done = false;
            memset(&report, 0, sizeof report);
            mem_fail_at(nth);
            if (comp_component_create((const uint8_t *)data, bytes, &component, &report) ==
                    ERR_OK &&
                comp_instance_create(linker, component, NULL, &world, &instance, &report) ==
                    ERR_OK &&
                comp_instance_call(instance, "test:guest/run", "run", &input, 1, &report) ==
                    ERR_OK)
                is_done = comp_instance_run(instance, 10000000) == WASM_RUN_DONE;
            uint64_t used = mem_fail_at(0);
            comp_instance_destroy(instance);
            comp_component_unref(component);
            comp_linker_destroy(linker);
            assert_int_equal(world.alive, 0);
            if (is_done && used < nth)
                break;
        }
        mem_free(NULL, data);
    }
}

static void heap_returns_to_zero(void **state)
{
    size_t before = mem_used_bytes();
    (void)state;
    EACH_GUEST(g) {
        start(g, guests[which]);
        ask(g, "things");
        ask(g, "wait");
        stop(g);
        assert_int_equal(mem_used_bytes(), before);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_pass),
        cmocka_unit_test(bad_values_trap),
        cmocka_unit_test(resources_are_counted),
        cmocka_unit_test(bad_handles_trap),
        cmocka_unit_test(waiting_keeps_nothing_running),
        cmocka_unit_test(fuel_preempts),
        cmocka_unit_test(link_errors_say_what_is_missing),
        cmocka_unit_test(calls_are_checked),
        cmocka_unit_test(names_are_listed),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(heap_returns_to_zero),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        static const char *const benches[] = {"bench-nothing", "bench-scalars", "bench-list",
                                              "bench-string"};
        EACH_GUEST(g)
            for (size_t i = 0; i < 4; i++) {
                start(g, guests[which]);
                uint64_t from = clock_now_ns();
                ask(g, benches[i]);
                printf("%s %s: %.0f ns per call\n", guests[which], benches[i],
                       (double)(clock_now_ns() - from) / (i == 3 ? 300000 : 1000000));
                stop(g);
            }
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
