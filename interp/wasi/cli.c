/* wasi:cli: environment, exit, standard streams; nobody has a terminal. Source: WASI 0.2.9
 * proposals/cli. */
#include <string.h>

#include "interp/wasi/ctx.h"

static enum comp_host_result get_environment(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    const struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    size_t count = ctx->environment_count;
    struct comp_value *items = arena_alloc(call->arena, 3 * (count + 1) * sizeof *items);
    (void)args;
    if (!items)
        return wasi_no_memory(call);
    for (size_t i = 0; i < count; i++) {
        const char *text = ctx->environment[i], *equals = strchr(text, '=');
        size_t name = equals ? (size_t)(equals - text) : strlen(text);
        struct comp_value *pair = items + count + 2 * i;
        pair[0] = comp_string(text, name);
        pair[1] = equals ? comp_string(equals + 1, strlen(equals + 1)) : comp_string("", 0);
        items[i] = comp_items(COMP_TUPLE, pair, 2);
    }
    *result = comp_items(COMP_LIST, items, count);
    return COMP_HOST_DONE;
}

static enum comp_host_result get_arguments(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    const struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    struct comp_value *items = arena_alloc(call->arena, (ctx->arg_count + 1) * sizeof *items);
    (void)args;
    if (!items)
        return wasi_no_memory(call);
    for (size_t i = 0; i < ctx->arg_count; i++)
        items[i] = comp_string(ctx->args[i], strlen(ctx->args[i]));
    *result = comp_items(COMP_LIST, items, ctx->arg_count);
    return COMP_HOST_DONE;
}

/* No working directory, no terminals. */
static enum comp_host_result none(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_none();
    return COMP_HOST_DONE;
}

static enum comp_host_result leave(struct comp_host_call *call, struct wasi_ctx *ctx,
                                   uint32_t status)
{
    wasi_exit(ctx, status);
    comp_trap(call, "the program called exit with status %u", status);
    return COMP_HOST_TRAP;
}

static enum comp_host_result cli_exit(struct comp_host_call *call, const struct comp_value *args,
                                      struct comp_value *result, void *user)
{
    (void)result;
    return leave(call, wasi_ctx_of(call, user), args[0].of.variant.index);
}

static enum comp_host_result exit_with_code(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)result;
    return leave(call, wasi_ctx_of(call, user), (uint32_t)args[0].of.u);
}

static enum comp_host_result get_stdin(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    struct wasi_input *input = wasi_input_create(wasi_ctx_of(call, user), WASI_STREAM_STANDARD);
    (void)args;
    if (!input)
        return wasi_no_memory(call);
    *result = comp_own(input);
    return COMP_HOST_DONE;
}

static enum comp_host_result get_output(struct comp_host_call *call, struct wasi_ctx *ctx,
                                        enum wasi_output output, struct comp_value *result)
{
    struct wasi_out *out = wasi_out_create(ctx, WASI_STREAM_STANDARD);
    if (!out)
        return wasi_no_memory(call);
    out->output = output;
    *result = comp_own(out);
    return COMP_HOST_DONE;
}

static enum comp_host_result get_stdout(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)args;
    return get_output(call, wasi_ctx_of(call, user), WASI_STDOUT, result);
}

static enum comp_host_result get_stderr(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)args;
    return get_output(call, wasi_ctx_of(call, user), WASI_STDERR, result);
}

static const struct wasi_func funcs[] = {
    {"wasi:cli/environment@0.2.9", "get-environment", "func() -> list<tuple<string, string>>",
     get_environment},
    {"wasi:cli/environment@0.2.9", "get-arguments", "func() -> list<string>", get_arguments},
    {"wasi:cli/environment@0.2.9", "initial-cwd", "func() -> option<string>", none},
    {"wasi:cli/exit@0.2.9", "exit", "func(status: result)", cli_exit},
    {"wasi:cli/exit@0.2.9", "exit-with-code", "func(status-code: u8)", exit_with_code},
    {"wasi:cli/stdin@0.2.9", "get-stdin", "func() -> own<wasi:io/streams.input-stream>",
     get_stdin},
    {"wasi:cli/stdout@0.2.9", "get-stdout", "func() -> own<wasi:io/streams.output-stream>",
     get_stdout},
    {"wasi:cli/stderr@0.2.9", "get-stderr", "func() -> own<wasi:io/streams.output-stream>",
     get_stderr},
    {"wasi:cli/terminal-stdin@0.2.9", "get-terminal-stdin",
     "func() -> option<own<wasi:cli/terminal-input.terminal-input>>", none},
    {"wasi:cli/terminal-stdout@0.2.9", "get-terminal-stdout",
     "func() -> option<own<wasi:cli/terminal-output.terminal-output>>", none},
    {"wasi:cli/terminal-stderr@0.2.9", "get-terminal-stderr",
     "func() -> option<own<wasi:cli/terminal-output.terminal-output>>", none},
};

enum err wasi_cli_register(struct comp_linker *linker, struct wasi_binding *binding,
                           struct report *report)
{
    enum err err = comp_linker_resource(linker, "wasi:cli/terminal-input@0.2.9", "terminal-input",
                                        NULL, report);
    if (!err)
        err = comp_linker_resource(linker, "wasi:cli/terminal-output@0.2.9", "terminal-output",
                                   NULL, report);
    return err ? err : wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
