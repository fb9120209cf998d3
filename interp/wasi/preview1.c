/* wasi_snapshot_preview1 for plain core modules (clang + wasi-libc): arguments, environment,
 * standard streams, clocks, random numbers, exit. There are no files: every other descriptor is
 * EBADF. Source: WebAssembly/WASI legacy/preview1. */
#include <string.h>

#include "interp/wasi/ctx.h"

enum {
    E_SUCCESS = 0, E_BADF = 8, E_FAULT = 21, E_INVAL = 28, E_NOSYS = 52,
    E_SPIPE = 70,
    FILETYPE_CHARACTER_DEVICE = 2,
    SUBSCRIPTION_BYTES = 48, EVENT_BYTES = 32,
    IOVS_MAX = 1024,
};

struct p1 {
    struct wasm_host_call *call;
    struct wasi_ctx *ctx;
    uint8_t *memory;
    uint64_t memory_bytes;
};

static struct p1 begin(struct wasm_host_call *call, void *user)
{
    const struct wasi_binding *binding = user;
    struct comp_instance *instance = comp_instance_of(call->caller);
    struct wasm_memory *memory = comp_instance_memory(instance, call->caller);
    struct p1 p = {.call = call, .ctx = binding->ctx_of(comp_instance_host(instance))};
    if (memory) {
        p.memory = wasm_memory_data(memory);
        p.memory_bytes = wasm_memory_bytes(memory);
    }
    return p;
}

static enum wasm_host_result done(struct p1 *p, uint32_t number)
{
    p->call->values[0].i64 = number;
    return WASM_HOST_DONE;
}

static uint32_t arg(const struct p1 *p, uint32_t index)
{
    return p->call->values[index].i32;
}

/* NULL when the range is not in memory. */
static uint8_t *range(const struct p1 *p, uint32_t at, uint64_t bytes)
{
    if (bytes > p->memory_bytes || at > p->memory_bytes - bytes)
        return NULL;
    return p->memory + at;
}

static bool put(const struct p1 *p, uint32_t at, uint64_t value, uint32_t bytes)
{
    uint8_t *to = range(p, at, bytes);
    if (to)
        memcpy(to, &value, bytes);
    return to != NULL;
}

static bool get_u32(const struct p1 *p, uint32_t at, uint32_t *value)
{
    const uint8_t *from = range(p, at, 4);
    if (from)
        memcpy(value, from, 4);
    return from != NULL;
}

/* ---- arguments and environment ----------------------------------------------------------- */

static enum wasm_host_result strings_sizes(struct p1 *p, const char *const *strings, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(strings[i]) + 1;
    return done(p, put(p, arg(p, 0), count, 4) && put(p, arg(p, 1), bytes, 4) ? E_SUCCESS
                                                                               : E_FAULT);
}

static enum wasm_host_result strings_get(struct p1 *p, const char *const *strings, size_t count)
{
    uint32_t pointers = arg(p, 0), at = arg(p, 1);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(strings[i]) + 1;
        uint8_t *to = range(p, at, bytes);
        if (!to || !put(p, pointers + 4 * (uint32_t)i, at, 4))
            return done(p, E_FAULT);
        memcpy(to, strings[i], bytes);
        at += (uint32_t)bytes;
    }
    return done(p, E_SUCCESS);
}

static enum wasm_host_result args_sizes_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return strings_sizes(&p, p.ctx->args, p.ctx->arg_count);
}

static enum wasm_host_result args_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return strings_get(&p, p.ctx->args, p.ctx->arg_count);
}

static enum wasm_host_result environ_sizes_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return strings_sizes(&p, p.ctx->environment, p.ctx->environment_count);
}

static enum wasm_host_result environ_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return strings_get(&p, p.ctx->environment, p.ctx->environment_count);
}

/* ---- clocks, random, exit ---------------------------------------------------------------- */

static uint64_t clock_ns(const struct wasi_ctx *ctx, uint32_t id)
{
    return id == 0 ? wasi_wall_ns(ctx) : wasi_now_ns(ctx);
}

static enum wasm_host_result clock_res_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    if (arg(&p, 0) > 3)
        return done(&p, E_INVAL);
    return done(&p, put(&p, arg(&p, 1), 1, 8) ? E_SUCCESS : E_FAULT);
}

static enum wasm_host_result clock_time_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    if (arg(&p, 0) > 3)
        return done(&p, E_INVAL);
    return done(&p, put(&p, arg(&p, 2), clock_ns(p.ctx, arg(&p, 0)), 8) ? E_SUCCESS : E_FAULT);
}

static enum wasm_host_result random_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint8_t *to = range(&p, arg(&p, 0), arg(&p, 1));
    if (!to)
        return done(&p, E_FAULT);
    wasi_fill_random(p.ctx, to, arg(&p, 1));
    return done(&p, E_SUCCESS);
}

static enum wasm_host_result sched_yield(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return done(&p, E_SUCCESS);
}

static enum wasm_host_result proc_exit(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    wasi_exit(p.ctx, arg(&p, 0));
    wasm_thread_trap(call->thread, "the program called exit with status %u", arg(&p, 0));
    return WASM_HOST_TRAP;
}

/* ---- descriptors ------------------------------------------------------------------------- */

static enum wasm_host_result fd_write(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint32_t fd = arg(&p, 0), iovs = arg(&p, 1), count = arg(&p, 2), written = 0;
    if (fd != 1 && fd != 2)
        return done(&p, E_BADF);
    if (count > IOVS_MAX)
        return done(&p, E_INVAL);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at, bytes;
        if (!get_u32(&p, iovs + 8 * i, &at) || !get_u32(&p, iovs + 8 * i + 4, &bytes))
            return done(&p, E_FAULT);
        const uint8_t *from = range(&p, at, bytes);
        if (!from)
            return done(&p, E_FAULT);
        wasi_put(p.ctx, fd == 1 ? WASI_STDOUT : WASI_STDERR, (const char *)from, bytes);
        written += bytes;
    }
    return done(&p, put(&p, arg(&p, 3), written, 4) ? E_SUCCESS : E_FAULT);
}

static void forget(void *data)
{
    wasi_wait_end(data);
}

static enum wasm_host_result wait_return(struct p1 *p)
{
    p->call->state->data = p->ctx;
    p->call->state->on_abandon = forget;
    return WASM_HOST_WAIT;
}

static enum wasm_host_result fd_read(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint32_t iovs = arg(&p, 1), count = arg(&p, 2), got = 0;
    if (arg(&p, 0) != 0)
        return done(&p, E_BADF);
    if (count > IOVS_MAX)
        return done(&p, E_INVAL);
    if (!wasi_stdin_left(p.ctx) && !p.ctx->input_closed) {
        wasi_wait_begin(p.ctx);
        p.ctx->wait.ready = wasi_stdin_ready;
        p.ctx->wait.object = p.ctx;
        return wait_return(&p);
    }
    wasi_wait_end(p.ctx);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at, bytes;
        if (!get_u32(&p, iovs + 8 * i, &at) || !get_u32(&p, iovs + 8 * i + 4, &bytes))
            return done(&p, E_FAULT);
        uint8_t *to = range(&p, at, bytes);
        if (!to)
            return done(&p, E_FAULT);
        got += (uint32_t)wasi_stdin_take(p.ctx, to, bytes);
    }
    return done(&p, put(&p, arg(&p, 3), got, 4) ? E_SUCCESS : E_FAULT);
}

static enum wasm_host_result fd_fdstat_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint8_t *to = range(&p, arg(&p, 1), 24);
    if (arg(&p, 0) > 2)
        return done(&p, E_BADF);
    if (!to)
        return done(&p, E_FAULT);
    memset(to, 0, 24);
    to[0] = FILETYPE_CHARACTER_DEVICE;
    to[8] = arg(&p, 0) == 0 ? 0x02 : 0x40; /* the right to read, or to write */
    return done(&p, E_SUCCESS);
}

static enum wasm_host_result fd_filestat_get(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint8_t *to = range(&p, arg(&p, 1), 64);
    if (arg(&p, 0) > 2)
        return done(&p, E_BADF);
    if (!to)
        return done(&p, E_FAULT);
    memset(to, 0, 64);
    to[16] = FILETYPE_CHARACTER_DEVICE;
    return done(&p, E_SUCCESS);
}

static enum wasm_host_result standard_only(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return done(&p, arg(&p, 0) > 2 ? E_BADF : E_SUCCESS);
}

static enum wasm_host_result fd_seek(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return done(&p, arg(&p, 0) > 2 ? E_BADF : E_SPIPE);
}

static enum wasm_host_result bad_descriptor(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return done(&p, E_BADF);
}

static enum wasm_host_result not_here(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    return done(&p, E_NOSYS);
}

/* ---- poll_oneoff ------------------------------------------------------------------------- */

struct subscription {
    uint64_t userdata, timeout_ns;
    uint32_t id; /* clock or descriptor */
    uint16_t flags;
    uint8_t tag; /* 0 clock, 1 read, 2 write */
};

static bool get_subscription(const struct p1 *p, uint32_t at, struct subscription *out)
{
    const uint8_t *from = range(p, at, SUBSCRIPTION_BYTES);
    if (!from)
        return false;
    memcpy(&out->userdata, from, 8);
    out->tag = from[8];
    memcpy(&out->id, from + 16, 4);
    memcpy(&out->timeout_ns, from + 24, 8);
    memcpy(&out->flags, from + 40, 2);
    return true;
}

/* When a clock's subscription is due, on the monotonic clock; `start_ns` is when the poll began. */
static uint64_t due_ns(const struct wasi_ctx *ctx, const struct subscription *s, uint64_t start_ns)
{
    uint64_t at;
    if (!(s->flags & 1))
        return __builtin_add_overflow(start_ns, s->timeout_ns, &at) ? UINT64_MAX : at;
    if (s->id != 0)
        return s->timeout_ns;
    uint64_t wall = wasi_wall_ns(ctx);
    if (s->timeout_ns <= wall)
        return 0;
    return __builtin_add_overflow(wasi_now_ns(ctx), s->timeout_ns - wall, &at) ? UINT64_MAX : at;
}

static bool put_event(const struct p1 *p, uint32_t at, const struct subscription *s,
                      uint16_t number, uint64_t bytes)
{
    uint8_t *to = range(p, at, EVENT_BYTES);
    if (!to)
        return false;
    memset(to, 0, EVENT_BYTES);
    memcpy(to, &s->userdata, 8);
    memcpy(to + 8, &number, 2);
    to[10] = s->tag;
    memcpy(to + 16, &bytes, 8);
    return true;
}

static enum wasm_host_result poll_oneoff(struct wasm_host_call *call, void *user)
{
    struct p1 p = begin(call, user);
    uint32_t in = arg(&p, 0), out = arg(&p, 1), count = arg(&p, 2), ready = 0;
    bool for_stdin = false;
    if (count == 0 || count > IOVS_MAX)
        return done(&p, E_INVAL);
    if (call->state->step == 0)
        call->state->step = wasi_now_ns(p.ctx) | 1; /* not 0; a nanosecond is nobody's */
    uint64_t start_ns = call->state->step, now_ns = wasi_now_ns(p.ctx), first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct subscription s;
        uint64_t bytes = 0;
        uint16_t number = E_SUCCESS;
        if (!get_subscription(&p, in + SUBSCRIPTION_BYTES * i, &s))
            return done(&p, E_FAULT);
        if (s.tag == 0) {
            uint64_t due = due_ns(p.ctx, &s, start_ns);
            if (due > now_ns) {
                if (due < first_ns)
                    first_ns = due;
                continue;
            }
        } else if (s.tag == 1 && s.id == 0) {
            bytes = wasi_stdin_left(p.ctx);
            for_stdin = true;
            if (!bytes && !p.ctx->input_closed)
                continue;
        } else if (s.tag > 2) {
            return done(&p, E_INVAL);
        } else if (s.tag == 1 || (s.id != 1 && s.id != 2)) {
            number = E_BADF;
        } else {
            bytes = 65536;
        }
        if (!put_event(&p, out + EVENT_BYTES * ready, &s, number, bytes))
            return done(&p, E_FAULT);
        ready++;
    }
    if (ready == 0) {
        wasi_wait_begin(p.ctx);
        p.ctx->wait.deadline_ns = first_ns;
        if (for_stdin) {
            p.ctx->wait.ready = wasi_stdin_ready;
            p.ctx->wait.object = p.ctx;
        }
        return wait_return(&p);
    }
    wasi_wait_end(p.ctx);
    return done(&p, put(&p, arg(&p, 3), ready, 4) ? E_SUCCESS : E_FAULT);
}

/* ---- registration ------------------------------------------------------------------------ */

static const struct {
    const char *name, *type;
    wasm_host_fn fn;
} funcs[] = {
    {"args_get", "ii->i", args_get},
    {"args_sizes_get", "ii->i", args_sizes_get},
    {"environ_get", "ii->i", environ_get},
    {"environ_sizes_get", "ii->i", environ_sizes_get},
    {"clock_res_get", "ii->i", clock_res_get},
    {"clock_time_get", "iIi->i", clock_time_get},
    {"fd_advise", "iIIi->i", bad_descriptor},
    {"fd_allocate", "iII->i", bad_descriptor},
    {"fd_close", "i->i", standard_only},
    {"fd_datasync", "i->i", standard_only},
    {"fd_fdstat_get", "ii->i", fd_fdstat_get},
    {"fd_fdstat_set_flags", "ii->i", standard_only},
    {"fd_fdstat_set_rights", "iII->i", standard_only},
    {"fd_filestat_get", "ii->i", fd_filestat_get},
    {"fd_filestat_set_size", "iI->i", bad_descriptor},
    {"fd_filestat_set_times", "iIIi->i", bad_descriptor},
    {"fd_pread", "iiiIi->i", bad_descriptor},
    {"fd_prestat_get", "ii->i", bad_descriptor},
    {"fd_prestat_dir_name", "iii->i", bad_descriptor},
    {"fd_pwrite", "iiiIi->i", bad_descriptor},
    {"fd_read", "iiii->i", fd_read},
    {"fd_readdir", "iiiIi->i", bad_descriptor},
    {"fd_renumber", "ii->i", bad_descriptor},
    {"fd_seek", "iIii->i", fd_seek},
    {"fd_sync", "i->i", standard_only},
    {"fd_tell", "ii->i", fd_seek},
    {"fd_write", "iiii->i", fd_write},
    {"path_create_directory", "iii->i", bad_descriptor},
    {"path_filestat_get", "iiiii->i", bad_descriptor},
    {"path_filestat_set_times", "iiiiIIi->i", bad_descriptor},
    {"path_link", "iiiiiii->i", bad_descriptor},
    {"path_open", "iiiiiIIii->i", bad_descriptor},
    {"path_readlink", "iiiiii->i", bad_descriptor},
    {"path_remove_directory", "iii->i", bad_descriptor},
    {"path_rename", "iiiiii->i", bad_descriptor},
    {"path_symlink", "iiiii->i", bad_descriptor},
    {"path_unlink_file", "iii->i", bad_descriptor},
    {"poll_oneoff", "iiii->i", poll_oneoff},
    {"proc_exit", "i", proc_exit},
    {"proc_raise", "i->i", not_here},
    {"random_get", "ii->i", random_get},
    {"sched_yield", "->i", sched_yield},
    {"sock_accept", "iii->i", bad_descriptor},
    {"sock_recv", "iiiiii->i", bad_descriptor},
    {"sock_send", "iiiii->i", bad_descriptor},
    {"sock_shutdown", "ii->i", bad_descriptor},
};

enum err wasi_preview1_register(struct comp_linker *linker, struct wasi_binding *binding,
                                struct report *report)
{
    for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
        enum err err = comp_linker_core_func(linker, "wasi_snapshot_preview1", funcs[i].name,
                                             funcs[i].type, funcs[i].fn, binding, report);
        if (err)
            return err;
    }
    return ERR_OK;
}
