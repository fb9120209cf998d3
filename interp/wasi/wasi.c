/* Contexts, registration, and what every package uses. */
#include "interp/wasi/wasi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "interp/wasi/ctx.h"

/* ---- contexts ---------------------------------------------------------------------------- */

static const char **copy_strings(struct arena *arena, const char *const *from, size_t count)
{
    const char **copy = arena_calloc(arena, count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = arena_strdup(arena, from[i], strlen(from[i]));
        if (!copy[i])
            return NULL;
    }
    return copy;
}

static enum err open_preopens(struct wasi_ctx *ctx, const struct wasi_config *config,
                              struct report *report)
{
    ctx->preopens = arena_calloc(&ctx->strings, config->preopen_count + 1, sizeof *ctx->preopens);
    if (!ctx->preopens)
        return err_set(report, ERR_MEMORY, "no memory for a WASI context");
    for (size_t i = 0; i < config->preopen_count; i++) {
        const struct wasi_preopen *from = &config->preopens[i];
        struct wasi_directory *to = &ctx->preopens[i];
        to->guest_path = arena_strdup(&ctx->strings, from->guest_path, strlen(from->guest_path));
        to->writable = from->writable;
        to->fd = open(from->host_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (to->fd < 0)
            return err_set(report, ERR_NOT_FOUND, "cannot open the directory %s: %s",
                           from->host_path, strerror(errno));
        ctx->preopen_count++;
        if (!to->guest_path)
            return err_set(report, ERR_MEMORY, "no memory for a WASI context");
    }
    return ERR_OK;
}

enum err wasi_ctx_create(const struct wasi_config *config, struct wasi_ctx **out,
                         struct report *report)
{
    static const struct wasi_config nothing;
    if (!config)
        config = &nothing;
    *out = NULL;
    struct wasi_ctx *ctx = mem_calloc(config->heap, 1, sizeof *ctx);
    if (!ctx)
        return err_set(report, ERR_MEMORY, "no memory for a WASI context");
    ctx->heap = config->heap;
    ctx->host = config->host;
    ctx->net = config->net;
    ctx->input_closed = !config->stdin_open;
    arena_init(&ctx->strings, ctx->heap);
    ctx->args = copy_strings(&ctx->strings, config->args, config->arg_count);
    ctx->arg_count = config->arg_count;
    ctx->environment = copy_strings(&ctx->strings, config->environment,
                                    config->environment_count);
    ctx->environment_count = config->environment_count;
    enum err err = ctx->args && ctx->environment
                       ? open_preopens(ctx, config, report)
                       : err_set(report, ERR_MEMORY, "no memory for a WASI context");
    if (err) {
        wasi_ctx_destroy(ctx);
        return err;
    }
    *out = ctx;
    return ERR_OK;
}

void wasi_ctx_destroy(struct wasi_ctx *ctx)
{
    if (!ctx)
        return;
    for (size_t i = 0; i < ctx->preopen_count; i++)
        close(ctx->preopens[i].fd);
    vec_free(ctx->heap, &ctx->wait.pollables);
    vec_free(ctx->heap, &ctx->input);
    arena_deinit(&ctx->strings);
    mem_free(ctx->heap, ctx);
}

bool wasi_exit_status(const struct wasi_ctx *ctx, uint32_t *status)
{
    if (ctx->has_exited && status)
        *status = ctx->exit_status;
    return ctx->has_exited;
}

void wasi_exit(struct wasi_ctx *ctx, uint32_t status)
{
    ctx->has_exited = true;
    ctx->exit_status = status;
}

uint64_t wasi_now_ns(const struct wasi_ctx *ctx)
{
    return ctx->host.monotonic_ns ? ctx->host.monotonic_ns(ctx->host.user) : clock_now_ns();
}

uint64_t wasi_wall_ns(const struct wasi_ctx *ctx)
{
    return ctx->host.wall_ns ? ctx->host.wall_ns(ctx->host.user) : clock_wall_ns();
}

void wasi_fill_random(const struct wasi_ctx *ctx, uint8_t *out, size_t bytes)
{
    if (ctx->host.random) {
        ctx->host.random(ctx->host.user, out, bytes);
        return;
    }
    while (bytes) {
        ssize_t got = getrandom(out, bytes, 0);
        if (got <= 0)
            continue; /* only EINTR can be */
        out += got;
        bytes -= (size_t)got;
    }
}

void wasi_put(const struct wasi_ctx *ctx, enum wasi_output output, const char *data, size_t bytes)
{
    if (ctx->host.write && bytes)
        ctx->host.write(ctx->host.user, output, data, bytes);
}

/* ---- stdin ------------------------------------------------------------------------------- */

bool wasi_stdin_feed(struct wasi_ctx *ctx, const void *data, size_t bytes)
{
    if (ctx->input_at == ctx->input.count)
        ctx->input_at = ctx->input.count = 0;
    if (!vec_reserve(ctx->heap, &ctx->input, bytes))
        return false;
    if (bytes)
        memcpy(ctx->input.items + ctx->input.count, data, bytes);
    ctx->input.count += bytes;
    return true;
}

void wasi_stdin_close(struct wasi_ctx *ctx)
{
    ctx->input_closed = true;
}

size_t wasi_stdin_left(const struct wasi_ctx *ctx)
{
    return ctx->input.count - ctx->input_at;
}

size_t wasi_stdin_take(struct wasi_ctx *ctx, void *out, size_t bytes)
{
    size_t left = wasi_stdin_left(ctx);
    if (bytes > left)
        bytes = left;
    if (bytes && out)
        memcpy(out, ctx->input.items + ctx->input_at, bytes);
    ctx->input_at += bytes;
    return bytes;
}

/* ---- waiting ----------------------------------------------------------------------------- */

bool wasi_wait_ready(const struct wasi_ctx *ctx)
{
    const struct wasi_wait *wait = &ctx->wait;
    if (!wait->is_waiting)
        return false;
    if (wait->ready && wait->ready(wait->object))
        return true;
    if (wait->deadline_ns != UINT64_MAX && wasi_now_ns(ctx) >= wait->deadline_ns)
        return true;
    for (size_t i = 0; i < wait->pollables.count; i++)
        if (wasi_pollable_ready(wait->pollables.items[i]))
            return true;
    return false;
}

uint64_t wasi_wait_deadline_ns(const struct wasi_ctx *ctx)
{
    return ctx->wait.is_waiting ? ctx->wait.deadline_ns : UINT64_MAX;
}

void wasi_wait_end(struct wasi_ctx *ctx)
{
    ctx->wait.is_waiting = false;
    ctx->wait.ready = NULL;
    ctx->wait.deadline_ns = UINT64_MAX;
    ctx->wait.pollables.count = 0;
}

void wasi_wait_begin(struct wasi_ctx *ctx)
{
    wasi_wait_end(ctx);
    ctx->wait.is_waiting = true;
}

static void forget(void *data)
{
    wasi_wait_end(data);
}

enum comp_host_result wasi_wait_return(struct comp_host_call *call, struct wasi_ctx *ctx)
{
    call->state->data = ctx;
    call->state->on_abandon = forget;
    return COMP_HOST_WAIT;
}

enum comp_host_result wasi_wait_object(struct comp_host_call *call, struct wasi_ctx *ctx,
                                       bool (*ready)(void *object), void *object)
{
    wasi_wait_begin(ctx);
    ctx->wait.ready = ready;
    ctx->wait.object = object;
    return wasi_wait_return(call, ctx);
}

struct wasi_pollable *wasi_pollable_create(struct wasi_ctx *ctx,
                                           const struct wasi_pollable_ops *ops, void *object)
{
    struct wasi_pollable *pollable = mem_alloc(ctx->heap, sizeof *pollable);
    if (pollable)
        *pollable = (struct wasi_pollable){ctx, ops, object, UINT64_MAX};
    return pollable;
}

struct wasi_pollable *wasi_pollable_at(struct wasi_ctx *ctx, uint64_t deadline_ns)
{
    struct wasi_pollable *pollable = wasi_pollable_create(ctx, NULL, NULL);
    if (pollable)
        pollable->deadline_ns = deadline_ns;
    return pollable;
}

void wasi_pollable_destroy(struct wasi_pollable *pollable)
{
    if (!pollable)
        return;
    if (pollable->ops && pollable->ops->drop)
        pollable->ops->drop(pollable->object);
    mem_free(pollable->ctx->heap, pollable);
}

bool wasi_pollable_ready(const struct wasi_pollable *pollable)
{
    if (pollable->ops)
        return pollable->ops->ready(pollable->object);
    return pollable->deadline_ns == 0 || wasi_now_ns(pollable->ctx) >= pollable->deadline_ns;
}

/* ---- host functions ---------------------------------------------------------------------- */

struct wasi_ctx *wasi_ctx_of(const struct comp_host_call *call, void *user)
{
    const struct wasi_binding *binding = user;
    return binding->ctx_of(call->host);
}

enum comp_host_result wasi_no_memory(struct comp_host_call *call)
{
    comp_trap(call, "no memory for the result of a WASI function");
    return COMP_HOST_TRAP;
}

enum comp_host_result wasi_ok(struct comp_host_call *call, struct comp_value *result,
                              const struct comp_value *value)
{
    return comp_ok(call->arena, value, result) ? COMP_HOST_DONE : wasi_no_memory(call);
}

enum comp_host_result wasi_ok_own(struct comp_host_call *call, struct comp_value *result,
                                  void *rep, comp_resource_drop drop)
{
    struct comp_value own = comp_own(rep);
    if (rep && comp_ok(call->arena, &own, result))
        return COMP_HOST_DONE;
    if (rep)
        drop(call->host, rep);
    return wasi_no_memory(call);
}

enum comp_host_result wasi_err(struct comp_host_call *call, struct comp_value *result,
                               const struct comp_value *value)
{
    return comp_error(call->arena, value, result) ? COMP_HOST_DONE : wasi_no_memory(call);
}

enum err wasi_define(struct comp_linker *linker, const struct wasi_func *funcs, size_t count,
                     struct wasi_binding *binding, struct report *report)
{
    for (size_t i = 0; i < count; i++) {
        enum err err = comp_linker_func(linker, funcs[i].interface, funcs[i].name, funcs[i].type,
                                        funcs[i].fn, binding, report);
        if (err)
            return err;
    }
    return ERR_OK;
}

enum err wasi_register(struct comp_linker *linker, struct wasi_binding *binding,
                       struct report *report)
{
    /* In this order: later packages name the resources of earlier ones. */
    static enum err (*const packages[])(struct comp_linker *, struct wasi_binding *,
                                        struct report *) = {
        wasi_io_register, wasi_clocks_register, wasi_random_register, wasi_cli_register,
        wasi_filesystem_register, wasi_sockets_register, wasi_http_register,
        wasi_preview1_register,
    };
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++) {
        enum err err = packages[i](linker, binding, report);
        if (err)
            return err;
    }
    return ERR_OK;
}
