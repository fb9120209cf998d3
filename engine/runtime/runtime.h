/* Programs become processes; the loop turns.
 *
 * A turn starts waiting processes, hears timers and finished steps, runs every ready process for
 * one slice, and gives the next step to the backend. Each part has a bound, so a turn takes a few
 * milliseconds whatever the guests do. All functions are for the loop thread. */
#ifndef ENGINE_RUNTIME_RUNTIME_H
#define ENGINE_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/process/process.h"
#include "engine/runtime/bell.h"

struct prog_store;
struct rt;

/* All pointers are borrowed until rt_destroy. */
struct rt_config {
    struct proc_model model;
    const struct comp_linker *linker; /* host_register has filled it */
    struct prog_store *programs;
    struct rt_bell *bell;              /* the backend rings it when a step is finished */
    uint64_t seed;                     /* of processes that are launched without one */
    uint64_t token_budget;             /* the same; 0 = none */
    uint64_t memory_bytes_max;         /* linear memory of a process */
    uint64_t fuel_max, fuel_stall_max; /* 0 = no limit */
    uint32_t processes_max; /* that run at once; 0 = no limit. A child may run in the place of its
                               waiting parent */
    const char *scratch_directory; /* NULL: no file system */
    struct wasi_net *net; /* NULL: no network; the bell listens to its sockets */
    const char *adapters_directory; /* NULL: guests load no adapters */
};

enum { RT_PROCESSES_MAX = 100000 }; /* that live, in line or running */

enum err rt_create(const struct rt_config *config, struct rt **rt,
                   struct report *report) ERR_MUST_USE;
/* Ends all processes without a word. NULL is allowed. */
void rt_destroy(struct rt *rt);

struct rt_launch {
    const char *program; /* "name", "name@latest", "name@1.2.3" */
    const char *input;
    size_t input_bytes;
    const char *username;        /* NULL = "local" */
    uint64_t token_budget, seed; /* 0 = the config's */
    proc_output_fn output;       /* may be NULL */
    void *user;
};

/* The process runs in the following turns. Borrowed: ask rt_find again in a later turn. */
enum err rt_launch(struct rt *rt, const struct rt_launch *launch, struct proc **proc,
                   struct report *report) ERR_MUST_USE;
/* NULL when there is none (any more). */
struct proc *rt_find(struct rt *rt, const char *id);
/* Into the inbox, as text or as a file. ERR_NOT_FOUND, ERR_INVALID (no UTF-8), ERR_LIMIT. */
enum err rt_signal(struct rt *rt, const char *id, const char *message, size_t bytes,
                   struct report *report) ERR_MUST_USE;
enum err rt_send_file(struct rt *rt, const char *id, const void *data, size_t bytes,
                      struct report *report) ERR_MUST_USE;
/* The process ends in the next turn with the error `why`. */
enum err rt_terminate(struct rt *rt, const char *id, const char *why,
                      struct report *report) ERR_MUST_USE;

/* One turn; waits at most `timeout_ms` (-1 = for ever) when there is nothing to do. Returns how
 * many processes live. */
size_t rt_turn(struct rt *rt, int timeout_ms);

struct rt_stats {
    uint64_t alive, started;
    uint64_t fuel_used;
    uint64_t memory_bytes, overhead_bytes; /* of the processes that live */
};
struct rt_stats rt_stats(const struct rt *rt);

#endif
