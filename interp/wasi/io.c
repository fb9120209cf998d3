/* wasi:io: error, poll, streams. Source: WASI 0.2.9 proposals/io. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "interp/wasi/ctx.h"

#define ERROR "wasi:io/error@0.2.9"
#define POLL "wasi:io/poll@0.2.9"
#define STREAMS "wasi:io/streams@0.2.9"

enum {
    READ_BYTES_MAX = 64 * 1024,   /* of one read; a guest asks again for more */
    WRITE_BYTES_MAX = 1024 * 1024, /* what check-write permits */
    CLOSED = 1, LAST_OPERATION_FAILED = 0,
};

/* ---- error ------------------------------------------------------------------------------- */

static void drop_error(void *host, void *rep)
{
    struct wasi_error *error = rep;
    (void)host;
    mem_free(error->ctx->heap, error);
}

static enum comp_host_result error_to_debug_string(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    const struct wasi_error *error = args[0].of.rep;
    const char *text = strerror(error->number);
    (void)user;
    char *copy = arena_strdup(call->arena, text, strlen(text));
    if (!copy)
        return wasi_no_memory(call);
    *result = comp_string(copy, strlen(copy));
    return COMP_HOST_DONE;
}

/* ---- poll -------------------------------------------------------------------------------- */

static void drop_pollable(void *host, void *rep)
{
    (void)host;
    wasi_pollable_destroy(rep);
}

static enum comp_host_result pollable_ready(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)call, (void)user;
    *result = comp_bool(wasi_pollable_ready(args[0].of.rep));
    return COMP_HOST_DONE;
}

static enum comp_host_result wait_for(struct comp_host_call *call, struct wasi_ctx *ctx,
                                      const struct comp_value *pollables, size_t count)
{
    wasi_wait_begin(ctx);
    if (!vec_reserve(ctx->heap, &ctx->wait.pollables, count)) {
        wasi_wait_end(ctx);
        return wasi_no_memory(call);
    }
    for (size_t i = 0; i < count; i++) {
        struct wasi_pollable *pollable = pollables[i].of.rep;
        if (pollable->deadline_ns < ctx->wait.deadline_ns)
            ctx->wait.deadline_ns = pollable->deadline_ns;
        ctx->wait.pollables.items[ctx->wait.pollables.count++] = pollable;
    }
    return wasi_wait_return(call, ctx);
}

static enum comp_host_result pollable_block(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    (void)result;
    if (!wasi_pollable_ready(args[0].of.rep))
        return wait_for(call, ctx, args, 1);
    wasi_wait_end(ctx);
    return COMP_HOST_DONE;
}

static enum comp_host_result poll(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    const struct comp_value *list = args[0].of.list.items;
    size_t count = args[0].of.list.count, ready = 0;
    if (count == 0) {
        comp_trap(call, "poll was given an empty list: it would wait for ever");
        return COMP_HOST_TRAP;
    }
    uint32_t *indices = arena_alloc(call->arena, count * sizeof *indices);
    if (!indices)
        return wasi_no_memory(call);
    for (size_t i = 0; i < count; i++)
        if (wasi_pollable_ready(list[i].of.rep))
            indices[ready++] = (uint32_t)i;
    if (ready == 0)
        return wait_for(call, ctx, list, count);
    wasi_wait_end(ctx);
    *result = comp_list_packed(indices, ready);
    return COMP_HOST_DONE;
}

/* ---- streams ----------------------------------------------------------------------------- */

static enum comp_host_result closed(struct comp_host_call *call, struct comp_value *result)
{
    struct comp_value error;
    if (!comp_variant(call->arena, CLOSED, NULL, &error))
        return wasi_no_memory(call);
    return wasi_err(call, result, &error);
}

static enum comp_host_result failed(struct comp_host_call *call, struct wasi_ctx *ctx, int number,
                                    struct comp_value *result)
{
    struct wasi_error *error = mem_alloc(ctx->heap, sizeof *error);
    struct comp_value own, variant;
    if (!error)
        return wasi_no_memory(call);
    *error = (struct wasi_error){ctx, number};
    own = comp_own(error);
    if (!comp_variant(call->arena, LAST_OPERATION_FAILED, &own, &variant) ||
        !comp_error(call->arena, &variant, result)) {
        mem_free(ctx->heap, error);
        return wasi_no_memory(call);
    }
    return COMP_HOST_DONE;
}

struct wasi_input *wasi_input_create(struct wasi_ctx *ctx, enum wasi_stream_kind kind)
{
    struct wasi_input *input = mem_calloc(ctx->heap, 1, sizeof *input);
    if (input)
        *input = (struct wasi_input){.ctx = ctx, .kind = kind, .fd = -1};
    return input;
}

struct wasi_out *wasi_out_create(struct wasi_ctx *ctx, enum wasi_stream_kind kind)
{
    struct wasi_out *out = mem_calloc(ctx->heap, 1, sizeof *out);
    if (out)
        *out = (struct wasi_out){.ctx = ctx, .kind = kind, .fd = -1, .output = WASI_STDOUT};
    return out;
}

/* A guest may drop a stream before a pollable of it: what is behind the stream goes at once, the
 * stream itself with the last pollable. */
static void release_input(void *object)
{
    struct wasi_input *input = object;
    if (input->refs-- > 0)
        return;
    mem_free(input->ctx->heap, input);
}

static void release_out(void *object)
{
    struct wasi_out *out = object;
    if (out->refs-- > 0)
        return;
    mem_free(out->ctx->heap, out);
}

void wasi_input_drop(void *host, void *rep)
{
    struct wasi_input *input = rep;
    (void)host;
    if (input->fd >= 0)
        close(input->fd);
    if (input->kind == WASI_STREAM_OBJECT)
        input->ops->drop(input->object);
    input->kind = WASI_STREAM_DROPPED;
    release_input(input);
}

void wasi_out_drop(void *host, void *rep)
{
    struct wasi_out *out = rep;
    (void)host;
    if (out->fd >= 0)
        close(out->fd);
    if (out->kind == WASI_STREAM_OBJECT)
        out->ops->drop(out->object);
    out->kind = WASI_STREAM_DROPPED;
    release_out(out);
}

/* ---- input */

bool wasi_stdin_ready(void *object)
{
    const struct wasi_ctx *ctx = object;
    return ctx->input_closed || wasi_stdin_left(ctx) != 0;
}

/* Files always have an answer. */
static bool input_ready(void *object)
{
    const struct wasi_input *input = object;
    switch (input->kind) {
    case WASI_STREAM_STANDARD: return wasi_stdin_ready(input->ctx);
    case WASI_STREAM_OBJECT: return input->ops->ready(input->object);
    case WASI_STREAM_FILE:
    case WASI_STREAM_DROPPED: break;
    }
    return true;
}

/* As struct wasi_input_ops has it; `bytes` > 0. */
static int64_t take(struct wasi_input *input, uint8_t *out, size_t bytes)
{
    if (input->kind == WASI_STREAM_OBJECT)
        return input->ops->read(input->object, out, bytes);
    if (input->kind == WASI_STREAM_STANDARD) {
        size_t got = wasi_stdin_take(input->ctx, out, bytes);
        return got || !input->ctx->input_closed ? (int64_t)got : WASI_CLOSED;
    }
    ssize_t got = pread(input->fd, out, bytes, (off_t)input->offset);
    if (got > 0)
        input->offset += (uint64_t)got;
    return got < 0 ? -errno : got ? got : WASI_CLOSED;
}

static enum comp_host_result input_subscribe(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops input_ops = {input_ready, release_input};
    struct wasi_input *input = args[0].of.rep;
    (void)user;
    struct wasi_pollable *pollable = input->kind == WASI_STREAM_FILE
                                         ? wasi_pollable_at(input->ctx, 0)
                                         : wasi_pollable_create(input->ctx, &input_ops, input);
    if (!pollable)
        return wasi_no_memory(call);
    input->refs += input->kind != WASI_STREAM_FILE;
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

/* closed or last-operation-failed, for a negative answer. */
static enum comp_host_result not_done(struct comp_host_call *call, struct wasi_ctx *ctx,
                                      int64_t answer, struct comp_value *result)
{
    return answer == WASI_CLOSED ? closed(call, result) : failed(call, ctx, (int)-answer, result);
}

/* read and skip, blocking or not, differ in what they answer and whether they wait. */
static enum comp_host_result input_get(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, bool is_skip, bool is_blocking)
{
    struct wasi_input *input = args[0].of.rep;
    uint64_t want = args[1].of.u < READ_BYTES_MAX ? args[1].of.u : READ_BYTES_MAX;
    if (is_blocking && want && !input_ready(input))
        return wasi_wait_object(call, input->ctx, input_ready, input);
    if (is_blocking)
        wasi_wait_end(input->ctx);
    uint8_t *data = arena_alloc(call->arena, (size_t)want);
    if (!data)
        return wasi_no_memory(call);
    int64_t got = want ? take(input, data, (size_t)want) : 0;
    if (got < 0)
        return not_done(call, input->ctx, got, result);
    if (got == 0 && want && is_blocking) /* it only seemed ready */
        return wasi_wait_object(call, input->ctx, input_ready, input);
    struct comp_value value = is_skip ? comp_u64((uint64_t)got)
                                      : comp_list_packed(data, (size_t)got);
    return wasi_ok(call, result, &value);
}

static enum comp_host_result input_read(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    return input_get(call, args, result, false, false);
}

static enum comp_host_result input_blocking_read(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    (void)user;
    return input_get(call, args, result, false, true);
}

static enum comp_host_result input_skip(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    return input_get(call, args, result, true, false);
}

static enum comp_host_result input_blocking_skip(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    (void)user;
    return input_get(call, args, result, true, true);
}

/* ---- output */

static int64_t room(const struct wasi_out *out)
{
    return out->kind == WASI_STREAM_OBJECT ? out->ops->room(out->object) : WRITE_BYTES_MAX;
}

/* All of it; 0 or an error. */
static int put(struct wasi_out *out, const uint8_t *data, size_t bytes)
{
    if (out->kind == WASI_STREAM_OBJECT)
        return bytes ? out->ops->write(out->object, data, bytes) : 0;
    if (out->kind == WASI_STREAM_STANDARD) {
        wasi_put(out->ctx, out->output, (const char *)data, bytes);
        return 0;
    }
    while (bytes) {
        struct iovec part = {(void *)(uintptr_t)data, bytes};
        ssize_t put_bytes = out->is_append
                                ? pwritev2(out->fd, &part, 1, 0, RWF_APPEND)
                                : pwritev2(out->fd, &part, 1, (off_t)out->offset, 0);
        if (put_bytes < 0 && errno == EINTR)
            continue;
        if (put_bytes < 0)
            return -errno;
        data += put_bytes;
        bytes -= (size_t)put_bytes;
        out->offset += (uint64_t)put_bytes;
    }
    return 0;
}

static bool output_ready(void *object)
{
    return room(object) != 0;
}

static int flushed(const struct wasi_out *out)
{
    return out->kind == WASI_STREAM_OBJECT ? out->ops->flushed(out->object) : 1;
}

static bool output_flushed(void *object)
{
    return flushed(object) != 0;
}

static enum comp_host_result output_check_write(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    struct wasi_out *out = args[0].of.rep;
    int64_t free = room(out);
    (void)user;
    if (free < 0)
        return not_done(call, out->ctx, free, result);
    struct comp_value value = comp_u64((uint64_t)free);
    return wasi_ok(call, result, &value);
}

static enum comp_host_result too_much(struct comp_host_call *call, const char *what)
{
    comp_trap(call, "%s of more bytes than check-write permits", what);
    return COMP_HOST_TRAP;
}

/* What stdout and files take is not bound to what check-write said: they take everything. */
static enum comp_host_result output_write(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    struct wasi_out *out = args[0].of.rep;
    size_t bytes = args[1].of.list.count;
    (void)user;
    if (out->kind == WASI_STREAM_OBJECT) {
        int64_t free = room(out);
        if (free < 0)
            return not_done(call, out->ctx, free, result);
        if ((uint64_t)bytes > (uint64_t)free)
            return too_much(call, "write");
    }
    int error = put(out, args[1].of.list.data, bytes);
    return error ? not_done(call, out->ctx, error, result) : wasi_ok(call, result, NULL);
}

/* Begins to flush, which needs nothing more than what is under way anyway. */
static enum comp_host_result output_flush(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    struct wasi_out *out = args[0].of.rep;
    int state = flushed(out);
    (void)user;
    return state < 0 ? not_done(call, out->ctx, state, result) : wasi_ok(call, result, NULL);
}

static enum comp_host_result output_blocking_flush(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    struct wasi_out *out = args[0].of.rep;
    int state = flushed(out);
    (void)user;
    if (state == 0)
        return wasi_wait_object(call, out->ctx, output_flushed, out);
    wasi_wait_end(out->ctx);
    return state < 0 ? not_done(call, out->ctx, state, result) : wasi_ok(call, result, NULL);
}

/* As much as there is room for, waits, goes on, then waits until all is out. The restart record's
 * step is what has been written. `data` NULL: zeroes. */
static enum comp_host_result write_and_flush(struct comp_host_call *call, struct wasi_out *out,
                                             const uint8_t *data, uint64_t bytes,
                                             struct comp_value *result)
{
    static const uint8_t zeroes[4096];
    while (call->state->step < bytes) {
        int64_t free = room(out);
        if (free == 0)
            return wasi_wait_object(call, out->ctx, output_ready, out);
        uint64_t part = bytes - call->state->step;
        if (free > 0 && part > (uint64_t)free)
            part = (uint64_t)free;
        if (!data && part > sizeof zeroes)
            part = sizeof zeroes;
        int64_t error =
            free < 0 ? free : put(out, data ? data + call->state->step : zeroes, (size_t)part);
        if (error < 0) {
            wasi_wait_end(out->ctx);
            return not_done(call, out->ctx, error, result);
        }
        call->state->step += part;
    }
    struct comp_value self = {.kind = COMP_BORROW, .of.rep = out};
    return output_blocking_flush(call, &self, result, NULL);
}

enum { BLOCKING_WRITE_BYTES_MAX = 4096 }; /* as the interface says */

static enum comp_host_result output_blocking_write(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    struct wasi_out *out = args[0].of.rep;
    (void)user;
    if (out->kind == WASI_STREAM_OBJECT && args[1].of.list.count > BLOCKING_WRITE_BYTES_MAX)
        return too_much(call, "blocking-write-and-flush");
    return write_and_flush(call, out, args[1].of.list.data, args[1].of.list.count, result);
}

static enum comp_host_result output_subscribe(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops output_ops = {output_ready, release_out};
    struct wasi_out *out = args[0].of.rep;
    (void)user;
    struct wasi_pollable *pollable = out->kind == WASI_STREAM_OBJECT
                                         ? wasi_pollable_create(out->ctx, &output_ops, out)
                                         : wasi_pollable_at(out->ctx, 0);
    if (!pollable)
        return wasi_no_memory(call);
    out->refs += out->kind == WASI_STREAM_OBJECT;
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

static enum comp_host_result output_write_zeroes(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    static const uint8_t zeroes[4096];
    struct wasi_out *out = args[0].of.rep;
    uint64_t left = args[1].of.u;
    int64_t free = room(out);
    (void)user;
    if (free < 0)
        return not_done(call, out->ctx, free, result);
    if (left > (uint64_t)free)
        return too_much(call, "write-zeroes");
    while (left) {
        size_t part = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
        int error = put(out, zeroes, part);
        if (error)
            return not_done(call, out->ctx, error, result);
        left -= part;
    }
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result output_blocking_write_zeroes(struct comp_host_call *call,
                                                          const struct comp_value *args,
                                                          struct comp_value *result, void *user)
{
    (void)user;
    if (args[1].of.u > WRITE_BYTES_MAX)
        return too_much(call, "blocking-write-zeroes-and-flush");
    return write_and_flush(call, args[0].of.rep, NULL, args[1].of.u, result);
}

static enum comp_host_result splice(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, bool is_blocking)
{
    struct wasi_out *out = args[0].of.rep;
    struct wasi_input *input = args[1].of.rep;
    uint64_t want = args[2].of.u < READ_BYTES_MAX ? args[2].of.u : READ_BYTES_MAX;
    int64_t free = room(out);
    if (is_blocking && want && free == 0)
        return wasi_wait_object(call, out->ctx, output_ready, out);
    if (is_blocking && want && !input_ready(input))
        return wasi_wait_object(call, out->ctx, input_ready, input);
    if (is_blocking)
        wasi_wait_end(input->ctx);
    if (free < 0)
        return not_done(call, out->ctx, free, result);
    if (want > (uint64_t)free)
        want = (uint64_t)free;
    uint8_t *data = arena_alloc(call->arena, (size_t)want);
    if (!data)
        return wasi_no_memory(call);
    int64_t got = want ? take(input, data, (size_t)want) : 0;
    int error = got > 0 ? put(out, data, (size_t)got) : 0;
    if (got < 0 || error)
        return not_done(call, out->ctx, error ? error : got, result);
    if (got == 0 && want && is_blocking)
        return wasi_wait_object(call, out->ctx, input_ready, input);
    struct comp_value moved = comp_u64((uint64_t)got);
    return wasi_ok(call, result, &moved);
}

static enum comp_host_result output_splice(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    (void)user;
    return splice(call, args, result, false);
}

static enum comp_host_result output_blocking_splice(struct comp_host_call *call,
                                                    const struct comp_value *args,
                                                    struct comp_value *result, void *user)
{
    (void)user;
    return splice(call, args, result, true);
}

/* ---- registration ------------------------------------------------------------------------ */

#define STREAM_ERROR "variant { last-operation-failed(own<wasi:io/error.error>), closed }"
#define IN "self: borrow<input-stream>"
#define OUT "self: borrow<output-stream>"

static const struct wasi_func funcs[] = {
    {ERROR, "[method]error.to-debug-string", "func(self: borrow<error>) -> string",
     error_to_debug_string},
    {POLL, "[method]pollable.ready", "func(self: borrow<pollable>) -> bool", pollable_ready},
    {POLL, "[method]pollable.block", "func(self: borrow<pollable>)", pollable_block},
    {POLL, "poll", "func(in: list<borrow<pollable>>) -> list<u32>", poll},
    {STREAMS, "[method]input-stream.read",
     "func(" IN ", len: u64) -> result<list<u8>, " STREAM_ERROR ">", input_read},
    {STREAMS, "[method]input-stream.blocking-read",
     "func(" IN ", len: u64) -> result<list<u8>, " STREAM_ERROR ">", input_blocking_read},
    {STREAMS, "[method]input-stream.skip",
     "func(" IN ", len: u64) -> result<u64, " STREAM_ERROR ">", input_skip},
    {STREAMS, "[method]input-stream.blocking-skip",
     "func(" IN ", len: u64) -> result<u64, " STREAM_ERROR ">", input_blocking_skip},
    {STREAMS, "[method]input-stream.subscribe", "func(" IN ") -> own<wasi:io/poll.pollable>",
     input_subscribe},
    {STREAMS, "[method]output-stream.check-write",
     "func(" OUT ") -> result<u64, " STREAM_ERROR ">", output_check_write},
    {STREAMS, "[method]output-stream.write",
     "func(" OUT ", contents: list<u8>) -> result<_, " STREAM_ERROR ">", output_write},
    {STREAMS, "[method]output-stream.blocking-write-and-flush",
     "func(" OUT ", contents: list<u8>) -> result<_, " STREAM_ERROR ">", output_blocking_write},
    {STREAMS, "[method]output-stream.flush", "func(" OUT ") -> result<_, " STREAM_ERROR ">",
     output_flush},
    {STREAMS, "[method]output-stream.blocking-flush",
     "func(" OUT ") -> result<_, " STREAM_ERROR ">", output_blocking_flush},
    {STREAMS, "[method]output-stream.subscribe", "func(" OUT ") -> own<wasi:io/poll.pollable>",
     output_subscribe},
    {STREAMS, "[method]output-stream.write-zeroes",
     "func(" OUT ", len: u64) -> result<_, " STREAM_ERROR ">", output_write_zeroes},
    {STREAMS, "[method]output-stream.blocking-write-zeroes-and-flush",
     "func(" OUT ", len: u64) -> result<_, " STREAM_ERROR ">", output_blocking_write_zeroes},
    {STREAMS, "[method]output-stream.splice",
     "func(" OUT ", src: borrow<input-stream>, len: u64) -> result<u64, " STREAM_ERROR ">",
     output_splice},
    {STREAMS, "[method]output-stream.blocking-splice",
     "func(" OUT ", src: borrow<input-stream>, len: u64) -> result<u64, " STREAM_ERROR ">",
     output_blocking_splice},
};

enum err wasi_io_register(struct comp_linker *linker, struct wasi_binding *binding,
                          struct report *report)
{
    enum err err = comp_linker_resource(linker, ERROR, "error", drop_error, report);
    if (!err)
        err = comp_linker_resource(linker, POLL, "pollable", drop_pollable, report);
    if (!err)
        err = comp_linker_resource(linker, STREAMS, "input-stream", wasi_input_drop, report);
    if (!err)
        err = comp_linker_resource(linker, STREAMS, "output-stream", wasi_out_drop, report);
    return err ? err : wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
