/* Where the fuel of a thread goes: it is run in small slices, and what each slice has used is put
 * to the functions on the stack at its end. The slices' lengths vary, so that they do not keep in
 * step with a loop, and grow with the number of samples, so that the cost does not. The same
 * program has the same profile every time. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "interp/wasm/wasm.h"

struct profile_entry {
    struct wasm_module *module;
    uint32_t module_number; /* by first appearance */
    uint32_t func_index;
    const char *name;      /* NULL when unknown */
    uint64_t self, total;  /* fuel: it was innermost; it was on the stack */
    uint64_t last_sample;  /* so that recursion counts once in `total` */
};

/* Zero-initialise, then profile_init; profile_deinit before the modules go. */
struct profile {
    struct arena arena;
    struct map by_func;
    struct {
        struct profile_entry **items;
        size_t count, capacity;
    } entries;
    struct {
        struct wasm_module **items;
        size_t count, capacity;
    } modules;
    struct wasm_frame *frames;
    uint64_t samples, slice, draws;
    uint64_t used;     /* fuel put to somebody */
    uint64_t seen;     /* fuel used by the thread at the last sample */
    bool is_truncated; /* some stack was deeper than what is looked at */
};

bool profile_init(struct profile *profile) __attribute__((warn_unused_result));
void profile_deinit(struct profile *profile);

/* How much fuel to run the next slice with. */
uint64_t profile_slice(struct profile *profile);
/* After a slice. False when memory is out. */
bool profile_sample(struct profile *profile, const struct wasm_thread *thread)
    __attribute__((warn_unused_result));

/* The functions by `self`, the largest first: a table of the first `top`, or an object of JSON.
 * `fuel` is all that was used. False when memory is out. */
bool profile_print(struct profile *profile, uint64_t fuel, uint64_t top, bool json,
                   struct buf *out);

#endif
