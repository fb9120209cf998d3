/* One running inferlet: its instance, its handles' memory, its budgets, and what it waits for.
 *
 *     queued ──► ready ◄──► waiting        (running: within proc_run)
 *        └────────┴───────────┴──► gone    (proc_destroy)
 *
 * Whoever makes something happen that a process may wait for calls proc_wake (proc_event_fire
 * does); the process then stands in the environment's ready queue, and the runtime runs it from
 * there. A process that is woken in vain looks and waits again. */
#ifndef ENGINE_PROCESS_PROCESS_H
#define ENGINE_PROCESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/process/adapters.h"
#include "engine/process/event.h"
#include "engine/process/grammars.h"
#include "engine/process/topic.h"

struct chat;
struct comp_instance;
struct comp_linker;
struct prog;
struct sched;
struct sched_owner;
struct tok;
struct wasi_ctx;

enum { PROC_ID_TEXT_BYTES = 37 }; /* a UUID with its zero */

enum { PROC_HEAP_BYTES_MAX = 1 << 30 }; /* of what the host keeps for one process */

/* What a model is to inferlets. All borrowed. */
struct proc_model {
    const char *name;
    const struct tok *tok;
    const struct chat *chat;
    struct sched *sched;
    uint32_t page_tokens;
    uint32_t adapter; /* the id + 1 of the adapter of passes that name none; 0: none */
};

enum proc_output { PROC_STDOUT, PROC_STDERR, PROC_MESSAGE, PROC_FILE, PROC_RETURN, PROC_ERROR };

/* Output of a process; RETURN or ERROR is the last. Called from proc_run, and for ERROR also from
 * the runtime. */
typedef void (*proc_output_fn)(void *user, const struct proc *proc, enum proc_output kind,
                               const char *data, size_t bytes);

struct proc_launch {
    struct prog *prog; /* a reference is taken */
    const char *username;
    const char *input;
    size_t input_bytes;
    uint64_t token_budget; /* 0 = none */
    uint64_t seed;
    proc_output_fn output; /* NULL: dropped */
    void *user;
};

/* A child as its parent sees it: `event` fires when the child has ended. In the parent's heap. */
struct proc_child {
    struct proc_event event;
    struct proc *target; /* NULL once it has ended */
    char id[PROC_ID_TEXT_BYTES];
    bool failed;
    char *result; /* in the parent's heap, NULL when memory was out */
    size_t result_bytes;
};

/* What all processes share; the runtime's. */
struct proc_env {
    struct proc_model model;
    const struct comp_linker *linker;
    struct proc_topics topics;
    struct proc_grammars grammars;
    struct proc_adapters adapters;
    const char *adapters_directory; /* where guests may load adapters from; NULL: nowhere */
    uint64_t memory_bytes_max;     /* linear memory of a process */
    uint64_t fuel_max;             /* in all; 0 = no limit */
    uint64_t fuel_stall_max;       /* without a wait; 0 = no limit */
    const char *scratch_directory; /* processes get /scratch under it; NULL: no files */
    struct wasi_net *net; /* NULL: no network */

    struct proc *ready_first, *ready_last;
    size_t ready_count;

    /* Upward calls, given by the runtime. `launch` resolves a program's name; the child runs in
     * later turns. `cancel` ends a process soon with the error `why`. */
    enum err (*launch)(void *runtime, struct proc *parent, const char *program, const char *input,
                       size_t input_bytes, struct proc_child *child, struct report *report);
    void (*cancel)(void *runtime, struct proc *proc, const char *why);
    void *runtime;
};

enum proc_state { PROC_QUEUED, PROC_READY, PROC_RUNNING, PROC_WAITING };

struct proc {
    struct proc_env *env;
    char id[PROC_ID_TEXT_BYTES];
    struct prog *prog;
    char *username;
    char *input; /* until the call has begun */
    size_t input_bytes;
    uint64_t token_budget;
    proc_output_fn output;
    void *user;

    struct mem_heap heap; /* handles and what they hold; must be back at zero at the end */
    struct comp_instance *instance; /* NULL while queued */
    struct wasi_ctx *wasi;
    struct sched_owner *owner;
    char *scratch; /* host path, NULL = none */

    uint64_t seed, draws, children; /* counters for seeds */
    uint64_t fuel_used;             /* at the end of the last slice */
    uint64_t fuel_waited;           /* fuel_used when it last waited */

    enum proc_state state;
    bool woken;               /* while running: look again even if it wants to wait */
    struct proc *ready_next;  /* in the ready queue */
    char *kill_why;           /* to be ended with this error; NULL = not */
    struct proc_child *watch; /* the parent's view of this process; NULL = nobody looks */

    struct proc *next, *previous; /* the runtime's list */
    size_t timer_index;           /* in the runtime's heap, SIZE_MAX = not in it */
    uint64_t timer_ns;
};

/* Creates a queued process; copies all texts. */
enum err proc_create(struct proc_env *env, const struct proc_launch *launch, struct proc **proc,
                     struct report *report) ERR_MUST_USE;
/* Makes the instance and prepares run(input). Errors are link errors and lack of memory; the
 * process is then still queued and can only be destroyed. */
enum err proc_start(struct proc *proc, struct report *report) ERR_MUST_USE;

enum proc_run {
    PROC_RUN_AGAIN,  /* the slice is used up */
    PROC_RUN_WAIT,   /* nothing to do before it is woken, or before proc_deadline_ns */
    PROC_RUN_RETURN, /* run() gave ok; `result` is its value */
    PROC_RUN_ERROR,  /* run() gave err, trapped, or passed a limit; `result` says what */
};
/* One slice of at most `fuel` instructions. `result` is filled for the last two. */
enum proc_run proc_run(struct proc *proc, uint64_t fuel, struct buf *result);
/* After PROC_RUN_WAIT: when to run it again at the latest; UINT64_MAX = never by itself. */
uint64_t proc_deadline_ns(const struct proc *proc);

/* Frees everything; aborts when its heap is not back at zero. Tells nobody (see proc_finish). */
void proc_destroy(struct proc *proc);
/* Gives the outcome to the output function and to the parent. */
void proc_finish(struct proc *proc, bool failed, const char *data, size_t bytes);

/* Marks it to be run: into the ready queue, unless it stands there. Also for processes that are
 * queued: no effect. `user` is a struct proc. */
void proc_wake(void *user);
/* The next of the ready queue, taken out; NULL when it is empty. */
struct proc *proc_take_ready(struct proc_env *env);

/* Events for the output function, if there is one. */
void proc_emit(struct proc *proc, enum proc_output kind, const char *data, size_t bytes);

/* A seed for a sampler that got none: the nth of this process, never 0. */
uint64_t proc_draw_seed(struct proc *proc);
/* A seed for its nth child. */
uint64_t proc_child_seed(struct proc *proc);

/* A child record in the parent's heap with one reference; the runtime sets target and id. */
struct proc_child *proc_child_create(struct proc *parent);

uint64_t proc_memory_bytes(const struct proc *proc);   /* linear memories */
uint64_t proc_overhead_bytes(const struct proc *proc); /* all else */

/* A random UUID, version 4. */
void proc_make_id(char id[PROC_ID_TEXT_BYTES]);

#endif
