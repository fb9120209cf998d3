/* wasi:random. All three interfaces draw from the host's one source, so that an embedder with a
 * seed makes a guest deterministic. Source: WASI 0.2.9 proposals/random. */
#include <string.h>

#include "interp/wasi/ctx.h"

enum { BYTES_MAX = 16 << 20 };

static enum comp_host_result random_bytes(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    uint64_t bytes = args[0].of.u;
    if (bytes > BYTES_MAX) {
        comp_trap(call, "%llu random bytes are more than %d", (unsigned long long)bytes,
                  BYTES_MAX);
        return COMP_HOST_TRAP;
    }
    uint8_t *data = arena_alloc(call->arena, (size_t)bytes);
    if (!data)
        return wasi_no_memory(call);
    wasi_fill_random(wasi_ctx_of(call, user), data, (size_t)bytes);
    *result = comp_list_packed(data, (size_t)bytes);
    return COMP_HOST_DONE;
}

static enum comp_host_result random_u64(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    uint8_t bytes[8];
    uint64_t value;
    (void)args;
    wasi_fill_random(wasi_ctx_of(call, user), bytes, sizeof bytes);
    memcpy(&value, bytes, sizeof value);
    *result = comp_u64(value);
    return COMP_HOST_DONE;
}

static enum comp_host_result random_seed(struct comp_host_call *call,
                                         const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    struct comp_value *items = arena_alloc(call->arena, 2 * sizeof *items);
    if (!items)
        return wasi_no_memory(call);
    random_u64(call, args, &items[0], user);
    random_u64(call, args, &items[1], user);
    *result = comp_items(COMP_TUPLE, items, 2);
    return COMP_HOST_DONE;
}

static const struct wasi_func funcs[] = {
    {"wasi:random/random@0.2.9", "get-random-bytes", "func(len: u64) -> list<u8>", random_bytes},
    {"wasi:random/random@0.2.9", "get-random-u64", "func() -> u64", random_u64},
    {"wasi:random/insecure@0.2.9", "get-insecure-random-bytes", "func(len: u64) -> list<u8>",
     random_bytes},
    {"wasi:random/insecure@0.2.9", "get-insecure-random-u64", "func() -> u64", random_u64},
    {"wasi:random/insecure-seed@0.2.9", "insecure-seed", "func() -> tuple<u64, u64>",
     random_seed},
};

enum err wasi_random_register(struct comp_linker *linker, struct wasi_binding *binding,
                              struct report *report)
{
    return wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
