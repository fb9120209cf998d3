/* links: interp/wasi
 *
 * Any bytes as a component: decode, validate, link to WASI and to a host whose every function
 * answers with made-up values of its type, instantiate, and call each exported function with
 * made-up arguments, with a little fuel and memory. */
#include <stdlib.h>
#include <string.h>

#include "interp/component/runtime.h"
#include "interp/wasi/wasi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS_MAX = 8, FUEL = 50000, DEPTH_MAX = 12, ITEMS_MAX = 3 };

static struct wasi_ctx *ctx;
static unsigned alive;

static struct wasi_ctx *ctx_of(void *host)
{
    (void)host;
    return ctx;
}

static void drop(void *host, void *rep)
{
    (void)host;
    free(rep);
    alive--;
}

/* A value of the type; false when memory is out or the type is too deep to bother. */
static bool make_value(struct arena *arena, const struct comp_type *type, unsigned depth,
                       struct comp_value *out)
{
    *out = (struct comp_value){.kind = type->kind};
    switch (type->kind) {
    case COMP_STRING:
        *out = comp_string("s\xC3\xA4\xE2\x82\xAC", 6);
        return true;
    case COMP_OWN:
        out->of.rep = malloc(1);
        alive++;
        return true;
    case COMP_BORROW:
        return false;
    case COMP_VARIANT:
    case COMP_OPTION:
    case COMP_RESULT:
        out->of.variant.index = type->field_count - 1;
        if (depth > DEPTH_MAX)
            out->of.variant.index = 0;
        if (!type->fields[out->of.variant.index].type)
            return true;
        out->of.variant.payload = arena_alloc(arena, sizeof *out);
        return depth <= 2 * DEPTH_MAX && out->of.variant.payload &&
               make_value(arena, type->fields[out->of.variant.index].type, depth + 1,
                          out->of.variant.payload);
    case COMP_LIST:
    case COMP_RECORD:
    case COMP_TUPLE: {
        size_t count = type->kind != COMP_LIST ? type->field_count
                       : type->fixed_count     ? type->fixed_count
                       : depth > 3             ? 0
                                               : ITEMS_MAX;
        if (depth > DEPTH_MAX || count > 1000)
            return false;
        out->of.list.count = count;
        if (type->kind == COMP_LIST && type->packed_bytes) {
            out->of.list.data = arena_calloc(arena, count + 1, type->packed_bytes);
            return out->of.list.data != NULL;
        }
        out->of.list.items = arena_calloc(arena, count + 1, sizeof *out);
        for (size_t i = 0; i < count; i++)
            if (!out->of.list.items ||
                !make_value(arena, type->kind == COMP_LIST ? type->element : type->fields[i].type,
                            depth + 1, &out->of.list.items[i]))
                return false;
        return true;
    }
    default:
        out->of.u = 1;
        return true;
    }
}

static void free_owns(const struct comp_type *type, const struct comp_value *value)
{
    if (!type || !type->has_resource || value->kind != type->kind)
        return;
    if (type->kind == COMP_OWN && value->of.rep)
        drop(NULL, value->of.rep);
    else if (type->kind == COMP_LIST || type->kind == COMP_RECORD || type->kind == COMP_TUPLE)
        for (size_t i = 0; value->of.list.items && i < value->of.list.count; i++)
            free_owns(type->kind == COMP_LIST ? type->element : type->fields[i].type,
                      &value->of.list.items[i]);
    else if (type->field_count && value->of.variant.payload)
        free_owns(type->fields[value->of.variant.index].type, value->of.variant.payload);
}

/* `user` is the function's own definition in the linker. */
static enum comp_host_result answer(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    const struct comp_linker_func *func = *(const struct comp_linker_func **)user;
    for (uint32_t i = 0; i < func->type->param_count; i++)
        free_owns(func->type->params[i].type, &args[i]);
    if (!func->type->result || make_value(call->arena, func->type->result, 0, result))
        return COMP_HOST_DONE;
    free_owns(func->type->result, result);
    comp_trap(call, "no value of this type");
    return COMP_HOST_TRAP;
}

#define HOST "test:guest/host"
#define SHAPE                                                                               \
    "variant { empty, circle(f32), polygon(list<record { x: s32, y: s32, name: string }>), " \
    "named(string) }"

static struct comp_linker *make_linker(void)
{
    static const char *const funcs[][2] = {
        {"add", "func(a: u32, b: s64, c: f32, d: f64) -> f64"},
        {"narrow", "func(a: u8, b: s8, c: u16, d: s16, e: bool, f: char, "
                   "g: flags { red, green, blue }, h: enum { low, middle, high }) -> s64"},
        {"echo", "func(text: string) -> string"},
        {"sum", "func(numbers: list<u32>) -> u64"},
        {"count", "func(up-to: u32) -> list<u32>"},
        {"words", "func(text: string) -> list<string>"},
        {"describe", "func(shape: " SHAPE ") -> string"},
        {"make", "func(kind: u32) -> " SHAPE},
        {"wait", "func(times: u32) -> u32"},
        {"total", "func(things: list<borrow<thing>>) -> u32"},
        {"many", "func(a: string, b: string, c: string, d: string, e: string, f: string, "
                 "g: string, h: string, i: u32) -> option<u32>"},
        {"[constructor]thing", "func(value: u32) -> own<thing>"},
        {"[method]thing.value", "func(self: borrow<thing>) -> u32"},
        {"[static]thing.join",
         "func(a: own<thing>, b: borrow<thing>) -> result<own<thing>, string>"},
    };
    static const struct comp_linker_func *found[sizeof funcs / sizeof *funcs];
    static struct wasi_binding binding = {ctx_of};
    struct comp_linker *linker = comp_linker_create();
    if (!linker || wasi_ctx_create(NULL, &ctx, NULL) || wasi_register(linker, &binding, NULL) ||
        comp_linker_resource(linker, HOST, "thing", drop, NULL) ||
        comp_linker_stub_prefix(linker, "", NULL) ||
        comp_linker_export_type(linker, "test:*/run", "run",
                                "func(input: string) -> result<string, string>", NULL))
        abort();
    for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
        if (comp_linker_func(linker, HOST, funcs[i][0], funcs[i][1], answer, (void *)&found[i],
                             NULL))
            abort();
        found[i] = comp_linker_find_func(linker, HOST, strlen(HOST), funcs[i][0],
                                         strlen(funcs[i][0]));
    }
    return linker;
}

/* False when the instance is not to be used further. */
static bool run(struct comp_instance *instance)
{
    enum wasm_run result = comp_instance_run(instance, FUEL / 2);
    if (result == WASM_RUN_FUEL)
        result = comp_instance_run(instance, FUEL / 2);
    if (result == WASM_RUN_TRAP && !comp_instance_trap_text(instance)[0])
        abort();
    return result == WASM_RUN_DONE;
}

static void call(struct comp_instance *instance, const char *interface, const char *name,
                 const struct comp_functype *type)
{
    struct arena arena;
    struct comp_value args[8];
    if (type->param_count > 8 || type->has_resource)
        return;
    arena_init(&arena, NULL);
    bool ok = true;
    for (uint32_t i = 0; i < type->param_count && ok; i++)
        ok = make_value(&arena, type->params[i].type, 0, &args[i]);
    if (ok && comp_instance_call(instance, interface, name, args, type->param_count, NULL) ==
                  ERR_OK)
        (void)run(instance);
    arena_deinit(&arena);
}

static void call_all(struct comp_instance *instance, const struct comp_component_type *type)
{
    uint32_t calls = 0;
    for (uint32_t i = 0; i < type->export_count && calls < CALLS_MAX; i++) {
        const struct comp_named *named = &type->exports[i];
        if (named->type.sort == COMP_SORT_FUNC) {
            call(instance, NULL, named->name, named->type.of.func);
            calls++;
        } else if (named->type.sort == COMP_SORT_INSTANCE) {
            const struct comp_instance_type *inner = named->type.of.instance;
            for (uint32_t k = 0; k < inner->export_count && calls < CALLS_MAX; k++)
                if (inner->exports[k].type.sort == COMP_SORT_FUNC) {
                    call(instance, named->name, inner->exports[k].name,
                         inner->exports[k].type.of.func);
                    calls++;
                }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wasm_store_limits limits = {
        .memory_bytes_max = 4 << 20, .table_elements_max = 10000, .stack_bytes_max = 256 << 10};
    static struct comp_linker *linker;
    struct comp_component *component;
    struct comp_instance *instance;
    struct report report = {0};
    if (!linker)
        linker = make_linker();
    if (comp_component_create(data, size, &component, &report) != ERR_OK) {
        if (!report.text[0])
            abort(); /* a refusal says why */
        return 0;
    }
    memset(&report, 0, sizeof report);
    if (comp_instance_create(linker, component, &limits, NULL, &instance, &report) == ERR_OK) {
        if (component->root && run(instance))
            call_all(instance, component->root->type);
        comp_instance_destroy(instance);
    } else if (!report.text[0]) {
        abort();
    }
    comp_component_unref(component);
    if (alive)
        abort(); /* a resource was lost */
    return 0;
}
