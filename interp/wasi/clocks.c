/* wasi:clocks. Source: WASI 0.2.9 proposals/clocks. */
#include "interp/wasi/ctx.h"

#define MONOTONIC "wasi:clocks/monotonic-clock@0.2.9"
#define WALL "wasi:clocks/wall-clock@0.2.9"
#define TIMEZONE "wasi:clocks/timezone@0.2.9"

enum { NS_PER_S = 1000 * 1000 * 1000 };

static enum comp_host_result monotonic_now(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    (void)args;
    *result = comp_u64(wasi_now_ns(wasi_ctx_of(call, user)));
    return COMP_HOST_DONE;
}

static enum comp_host_result monotonic_resolution(struct comp_host_call *call,
                                                  const struct comp_value *args,
                                                  struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_u64(1);
    return COMP_HOST_DONE;
}

static enum comp_host_result subscribe_at(struct comp_host_call *call, struct wasi_ctx *ctx,
                                          uint64_t deadline_ns, struct comp_value *result)
{
    struct wasi_pollable *pollable = wasi_pollable_at(ctx, deadline_ns);
    if (!pollable)
        return wasi_no_memory(call);
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

static enum comp_host_result subscribe_instant(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    return subscribe_at(call, wasi_ctx_of(call, user), args[0].of.u, result);
}

static enum comp_host_result subscribe_duration(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    uint64_t at;
    if (__builtin_add_overflow(wasi_now_ns(ctx), args[0].of.u, &at))
        at = UINT64_MAX;
    return subscribe_at(call, ctx, at, result);
}

static enum comp_host_result datetime(struct comp_host_call *call, uint64_t ns,
                                      struct comp_value *result)
{
    struct comp_value *items = arena_alloc(call->arena, 2 * sizeof *items);
    if (!items)
        return wasi_no_memory(call);
    items[0] = comp_u64(ns / NS_PER_S);
    items[1] = comp_u32((uint32_t)(ns % NS_PER_S));
    *result = comp_items(COMP_RECORD, items, 2);
    return COMP_HOST_DONE;
}

static enum comp_host_result wall_now(struct comp_host_call *call, const struct comp_value *args,
                                      struct comp_value *result, void *user)
{
    (void)args;
    return datetime(call, wasi_wall_ns(wasi_ctx_of(call, user)), result);
}

static enum comp_host_result wall_resolution(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)args, (void)user;
    return datetime(call, 1, result);
}

/* Guests live in UTC. */
static enum comp_host_result timezone_display(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    struct comp_value *items = arena_alloc(call->arena, 3 * sizeof *items);
    (void)args, (void)user;
    if (!items)
        return wasi_no_memory(call);
    items[0] = (struct comp_value){.kind = COMP_S32};
    items[1] = comp_string("UTC", 3);
    items[2] = comp_bool(false);
    *result = comp_items(COMP_RECORD, items, 3);
    return COMP_HOST_DONE;
}

static enum comp_host_result timezone_offset(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = (struct comp_value){.kind = COMP_S32};
    return COMP_HOST_DONE;
}

#define DATETIME "record { seconds: u64, nanoseconds: u32 }"

static const struct wasi_func funcs[] = {
    {MONOTONIC, "now", "func() -> u64", monotonic_now},
    {MONOTONIC, "resolution", "func() -> u64", monotonic_resolution},
    {MONOTONIC, "subscribe-instant", "func(when: u64) -> own<wasi:io/poll.pollable>",
     subscribe_instant},
    {MONOTONIC, "subscribe-duration", "func(when: u64) -> own<wasi:io/poll.pollable>",
     subscribe_duration},
    {WALL, "now", "func() -> " DATETIME, wall_now},
    {WALL, "resolution", "func() -> " DATETIME, wall_resolution},
    {TIMEZONE, "display", "func(when: " DATETIME ") -> record { utc-offset: s32, name: string, "
     "in-daylight-saving-time: bool }", timezone_display},
    {TIMEZONE, "utc-offset", "func(when: " DATETIME ") -> s32", timezone_offset},
};

enum err wasi_clocks_register(struct comp_linker *linker, struct wasi_binding *binding,
                              struct report *report)
{
    return wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
