/* A bell: any thread or signal handler rings, one thread waits. */
#ifndef ENGINE_RUNTIME_BELL_H
#define ENGINE_RUNTIME_BELL_H

#include <stdint.h>

#include "engine/base/err.h"

struct rt_bell {
    int fd;
    int other; /* a descriptor that rings, too, while it is readable; -1: none */
};

enum err rt_bell_open(struct rt_bell *bell, struct report *report) ERR_MUST_USE;
void rt_bell_close(struct rt_bell *bell);

/* Makes the wait that runs now, or the next one, return. Async-signal-safe. `bell` is a struct
 * rt_bell. */
void rt_bell_ring(void *bell);

/* Waits until it is rung or `timeout_ns` have gone (UINT64_MAX = for ever, 0 = only hears what
 * was rung already). All rings until the return are one. */
void rt_bell_wait(struct rt_bell *bell, uint64_t timeout_ns);

#endif
