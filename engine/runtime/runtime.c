/* Invariants:
 *   - every process is in `by_id` and in the list `first`; those in state PROC_QUEUED also in one
 *     of the two lines, linked by ready_next, and none of them counts in `running`;
 *   - timers[i]->timer_index == i, and no timer is earlier than its parent (i - 1) / 2;
 *   - a process is destroyed only at the top of the loop, never within its own run. */
#include "engine/runtime/runtime.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/program/program.h"
#include "engine/sched/sched.h"
#include "interp/wasi/wasi.h"

enum {
    SLICE_FUEL = 400000,    /* instructions: well below a millisecond */
    TURN_NS_MAX = 4000000,  /* guests of a turn; the rest runs in the next */
    START_NS_MAX = 2000000, /* instantiating */
};

/* Children have a line of their own: a parent that waits for one gives its place to it, or both
 * would wait for ever. */
enum { LINE_CHILDREN, LINE_OTHERS, LINES };

struct line {
    struct proc *first, *last;
};

struct rt {
    struct proc_env env;
    struct rt_config config;
    struct map by_id;
    struct proc *first;
    struct line lines[LINES];
    size_t alive, running;
    struct {
        struct proc **items;
        size_t count, capacity;
    } timers;
    struct buf result;
    bool busy; /* the last turn left something to do */
    uint64_t started, fuel_ended;
};

/* ---- timers ------------------------------------------------------------------------------- */

static void place_timer(struct rt *rt, size_t at, struct proc *proc)
{
    rt->timers.items[at] = proc;
    proc->timer_index = at;
}

static void sift_up(struct rt *rt, size_t at, struct proc *proc)
{
    while (at > 0 && rt->timers.items[(at - 1) / 2]->timer_ns > proc->timer_ns) {
        place_timer(rt, at, rt->timers.items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place_timer(rt, at, proc);
}

static void sift_down(struct rt *rt, size_t at, struct proc *proc)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= rt->timers.count)
            break;
        if (child + 1 < rt->timers.count &&
            rt->timers.items[child + 1]->timer_ns < rt->timers.items[child]->timer_ns)
            child++;
        if (rt->timers.items[child]->timer_ns >= proc->timer_ns)
            break;
        place_timer(rt, at, rt->timers.items[child]);
        at = child;
    }
    place_timer(rt, at, proc);
}

static void stop_timer(struct rt *rt, struct proc *proc)
{
    size_t at = proc->timer_index;
    if (at == SIZE_MAX)
        return;
    proc->timer_index = SIZE_MAX;
    struct proc *last = rt->timers.items[--rt->timers.count];
    if (last == proc)
        return;
    if (at > 0 && rt->timers.items[(at - 1) / 2]->timer_ns > last->timer_ns)
        sift_up(rt, at, last);
    else
        sift_down(rt, at, last);
}

static void start_timer(struct rt *rt, struct proc *proc, uint64_t deadline_ns)
{
    stop_timer(rt, proc);
    if (deadline_ns == UINT64_MAX)
        return;
    proc->timer_ns = deadline_ns;
    /* There is room for every process: rt_launch reserved it. */
    CHECK(rt->timers.count < rt->timers.capacity);
    sift_up(rt, rt->timers.count++, proc);
}

static void hear_timers(struct rt *rt)
{
    if (rt->timers.count == 0)
        return;
    uint64_t now = clock_now_ns();
    while (rt->timers.count != 0 && rt->timers.items[0]->timer_ns <= now) {
        struct proc *proc = rt->timers.items[0];
        stop_timer(rt, proc);
        proc_wake(proc);
    }
}

/* ---- birth and death ---------------------------------------------------------------------- */

static void forget(struct rt *rt, struct proc *proc)
{
    stop_timer(rt, proc);
    if (proc->previous != NULL)
        proc->previous->next = proc->next;
    else
        rt->first = proc->next;
    if (proc->next != NULL)
        proc->next->previous = proc->previous;
    (void)map_take(&rt->by_id, proc->id, strlen(proc->id));
    rt->fuel_ended += proc->fuel_used;
    rt->alive--;
}

/* The process is not in the line any more. */
static void end(struct rt *rt, struct proc *proc, bool failed, const char *data, size_t bytes)
{
    if (proc->instance != NULL)
        rt->running--;
    forget(rt, proc);
    proc_finish(proc, failed, data, bytes);
    proc_destroy(proc);
}

static bool leave_one(struct line *line, struct proc *proc)
{
    struct proc *before = NULL, *at = line->first;
    while (at != NULL && at != proc) {
        before = at;
        at = at->ready_next;
    }
    if (at == NULL)
        return false;
    if (before != NULL)
        before->ready_next = proc->ready_next;
    else
        line->first = proc->ready_next;
    if (line->last == proc)
        line->last = before;
    proc->ready_next = NULL;
    return true;
}

static void leave_line(struct rt *rt, struct proc *proc)
{
    CHECK(leave_one(&rt->lines[LINE_CHILDREN], proc) || leave_one(&rt->lines[LINE_OTHERS], proc));
}

static enum err launch(struct rt *rt, const struct proc_launch *wanted, size_t which,
                       struct proc **out, struct report *report)
{
    if (rt->alive >= RT_PROCESSES_MAX)
        return err_set(report, ERR_LIMIT, "%zu processes live already; try again later", rt->alive);
    if (!utf8_is_valid(wanted->input, wanted->input_bytes))
        return err_set(report, ERR_INVALID, "the input of %s is not UTF-8 text", wanted->prog->id);
    /* A timer of every process must always find room. */
    if (rt->alive >= rt->timers.capacity &&
        !vec_reserve(NULL, &rt->timers, rt->alive + 1 - rt->timers.count))
        return err_set(report, ERR_MEMORY, "out of memory for a process");
    struct proc *proc;
    enum err err = proc_create(&rt->env, wanted, &proc, report);
    if (err != ERR_OK)
        return err;
    if (!map_set(&rt->by_id, proc->id, strlen(proc->id), proc)) {
        proc_destroy(proc);
        return err_set(report, ERR_MEMORY, "out of memory for a process");
    }
    proc->next = rt->first;
    if (rt->first != NULL)
        rt->first->previous = proc;
    rt->first = proc;
    struct line *line = &rt->lines[which];
    if (line->last != NULL)
        line->last->ready_next = proc;
    else
        line->first = proc;
    line->last = proc;
    rt->alive++;
    *out = proc;
    return ERR_OK;
}

/* Who may start next; NULL: nobody. */
static struct proc *next_in_line(const struct rt *rt)
{
    bool room = rt->config.processes_max == 0 || rt->running < rt->config.processes_max;
    struct proc *child = rt->lines[LINE_CHILDREN].first;
    if (child != NULL) {
        const struct proc *parent = child->watch != NULL ? child->watch->event.proc : NULL;
        if (room || (parent != NULL && parent->state == PROC_WAITING))
            return child;
    }
    return room ? rt->lines[LINE_OTHERS].first : NULL;
}

/* Starts those who may. */
static void admit(struct rt *rt)
{
    uint64_t end_ns = 0;
    for (struct proc *proc; (proc = next_in_line(rt)) != NULL;) {
        uint64_t now = clock_now_ns();
        if (end_ns == 0)
            end_ns = now + START_NS_MAX;
        else if (now > end_ns)
            return;
        leave_line(rt, proc);
        struct report report = {0};
        enum err err = proc_start(proc, &report);
        if (proc->instance != NULL)
            rt->running++;
        if (err == ERR_OK) {
            rt->started++;
            proc_wake(proc);
            continue;
        }
        (void)err_prefix(&report, "Instantiation error");
        end(rt, proc, true, report.text, strlen(report.text));
    }
}

static void cancel(void *runtime, struct proc *proc, const char *why)
{
    struct rt *rt = runtime;
    if (proc->kill_why != NULL)
        return;
    proc->kill_why = mem_strdup(NULL, why, strlen(why));
    if (proc->kill_why == NULL)
        return; /* it lives on; the caller may try again */
    if (proc->state == PROC_QUEUED) {
        leave_line(rt, proc);
        proc->state = PROC_WAITING;
    }
    proc_wake(proc);
    rt->busy = true;
}

/* ---- guests ------------------------------------------------------------------------------- */

static void run_one(struct rt *rt, struct proc *proc)
{
    if (proc->kill_why != NULL) {
        char *why = proc->kill_why;
        proc->kill_why = NULL;
        end(rt, proc, true, why, strlen(why));
        mem_free(NULL, why);
        return;
    }
    buf_clear(&rt->result);
    rt->result.failed = false;
    enum proc_run run = proc_run(proc, SLICE_FUEL, &rt->result);
    switch (run) {
    case PROC_RUN_AGAIN: proc_wake(proc); return;
    case PROC_RUN_WAIT:
        start_timer(rt, proc, proc_deadline_ns(proc));
        if (proc->kill_why != NULL)
            proc_wake(proc);
        return;
    case PROC_RUN_RETURN:
    case PROC_RUN_ERROR: break;
    }
    const char *data = rt->result.data != NULL ? rt->result.data : "";
    end(rt, proc, run == PROC_RUN_ERROR, data, rt->result.count);
}

/* Every process that is ready now gets one slice, unless the turn becomes too long. */
static void run_ready(struct rt *rt)
{
    uint64_t end_ns = 0;
    for (size_t left = rt->env.ready_count; left > 0; left--) {
        struct proc *proc = proc_take_ready(&rt->env);
        if (proc == NULL)
            return;
        run_one(rt, proc);
        uint64_t now = clock_now_ns();
        if (end_ns == 0)
            end_ns = now + TURN_NS_MAX;
        else if (now > end_ns)
            return;
    }
}

static uint64_t time_to_wait(const struct rt *rt, int timeout_ms)
{
    if (rt->busy || rt->env.ready_first != NULL || next_in_line(rt) != NULL)
        return 0;
    uint64_t wait_ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000u;
    if (rt->timers.count == 0)
        return wait_ns;
    uint64_t now = clock_now_ns(), next = rt->timers.items[0]->timer_ns;
    uint64_t timer_ns = next > now ? next - now : 0;
    return timer_ns < wait_ns ? timer_ns : wait_ns;
}

size_t rt_turn(struct rt *rt, int timeout_ms)
{
    rt_bell_wait(rt->config.bell, time_to_wait(rt, timeout_ms));
    rt->busy = false;
    struct sched *sched = rt->env.model.sched;
    if (rt->env.net != NULL)
        wasi_net_dispatch(rt->env.net);
    admit(rt);
    hear_timers(rt);
    /* Twice: whom a finished step wakes shall be in the next one. */
    bool heard = sched_turn(sched, rt->env.ready_first == NULL);
    run_ready(rt);
    bool gave = sched_turn(sched, rt->env.ready_first == NULL);
    if (heard || gave)
        rt->busy = true;
    return rt->alive;
}

/* ---- the public face ---------------------------------------------------------------------- */

static enum err launch_child(void *runtime, struct proc *parent, const char *program,
                             const char *input, size_t input_bytes, struct proc_child *child,
                             struct report *report)
{
    struct rt *rt = runtime;
    char id[PROG_ID_BYTES];
    struct prog *prog;
    enum err err = prog_store_find(rt->config.programs, program, id, report);
    if (err == ERR_OK)
        err = prog_store_get(rt->config.programs, id, &prog, report);
    if (err != ERR_OK)
        return err;
    struct proc_launch wanted = {
        .prog = prog,
        .username = parent->username,
        .input = input,
        .input_bytes = input_bytes,
        .token_budget = rt->config.token_budget,
        .seed = proc_child_seed(parent),
    };
    struct proc *proc;
    err = launch(rt, &wanted, LINE_CHILDREN, &proc, report);
    if (err != ERR_OK)
        return err;
    proc->watch = child;
    child->target = proc;
    memcpy(child->id, proc->id, sizeof child->id);
    return ERR_OK;
}

enum err rt_create(const struct rt_config *config, struct rt **out, struct report *report)
{
    struct rt *rt = mem_calloc(NULL, 1, sizeof *rt);
    if (rt == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the runtime");
    rt->config = *config;
    rt->env = (struct proc_env){
        .model = config->model,
        .linker = config->linker,
        .memory_bytes_max = config->memory_bytes_max,
        .fuel_max = config->fuel_max,
        .fuel_stall_max = config->fuel_stall_max,
        .scratch_directory = config->scratch_directory,
        .net = config->net,
        .adapters_directory = config->adapters_directory,
        .launch = launch_child,
        .cancel = cancel,
        .runtime = rt,
    };
    proc_topics_init(&rt->env.topics);
    map_init(&rt->by_id, NULL);
    buf_init(&rt->result, NULL);
    *out = rt;
    return ERR_OK;
}

void rt_destroy(struct rt *rt)
{
    if (rt == NULL)
        return;
    while (rt->first != NULL) {
        struct proc *proc = rt->first;
        forget(rt, proc);
        proc_destroy(proc);
    }
    proc_topics_deinit(&rt->env.topics);
    proc_grammars_deinit(&rt->env.grammars);
    proc_adapters_deinit(&rt->env.adapters);
    map_deinit(&rt->by_id);
    vec_free(NULL, &rt->timers);
    buf_deinit(&rt->result);
    mem_free(NULL, rt);
}

enum err rt_launch(struct rt *rt, const struct rt_launch *wanted, struct proc **proc,
                   struct report *report)
{
    char id[PROG_ID_BYTES];
    struct prog *prog;
    enum err err = prog_store_find(rt->config.programs, wanted->program, id, report);
    if (err == ERR_OK)
        err = prog_store_get(rt->config.programs, id, &prog, report);
    if (err != ERR_OK)
        return err;
    struct proc_launch full = {
        .prog = prog,
        .username = wanted->username != NULL ? wanted->username : "local",
        .input = wanted->input,
        .input_bytes = wanted->input_bytes,
        .token_budget = wanted->token_budget != 0 ? wanted->token_budget : rt->config.token_budget,
        .seed = wanted->seed != 0 ? wanted->seed : rt->config.seed,
        .output = wanted->output,
        .user = wanted->user,
    };
    return launch(rt, &full, LINE_OTHERS, proc, report);
}

struct proc *rt_find(struct rt *rt, const char *id)
{
    return map_find(&rt->by_id, id, strlen(id));
}

static enum err find(struct rt *rt, const char *id, struct proc **proc, struct report *report)
{
    *proc = rt_find(rt, id);
    if (*proc != NULL)
        return ERR_OK;
    return err_set(report, ERR_NOT_FOUND, "Process not found: %.60s", id);
}

enum err rt_signal(struct rt *rt, const char *id, const char *message, size_t bytes,
                   struct report *report)
{
    struct proc *proc;
    enum err err = find(rt, id, &proc, report);
    if (err != ERR_OK)
        return err;
    if (!utf8_is_valid(message, bytes))
        return err_set(report, ERR_INVALID, "the message is not UTF-8 text");
    return proc_topic_push(&rt->env.topics, proc->id, strlen(proc->id), message, bytes, report);
}

enum err rt_send_file(struct rt *rt, const char *id, const void *data, size_t bytes,
                      struct report *report)
{
    struct proc *proc;
    enum err err = find(rt, id, &proc, report);
    if (err != ERR_OK)
        return err;
    char name[PROC_ID_TEXT_BYTES + 8];
    (void)snprintf(name, sizeof name, "%s#file", proc->id);
    return proc_topic_push(&rt->env.topics, name, strlen(name), data, bytes, report);
}

enum err rt_terminate(struct rt *rt, const char *id, const char *why, struct report *report)
{
    struct proc *proc;
    enum err err = find(rt, id, &proc, report);
    if (err != ERR_OK)
        return err;
    cancel(rt, proc, why);
    return proc->kill_why != NULL
               ? ERR_OK
               : err_set(report, ERR_MEMORY, "out of memory while ending a process");
}

struct rt_stats rt_stats(const struct rt *rt)
{
    struct rt_stats stats = {
        .alive = rt->alive, .started = rt->started, .fuel_used = rt->fuel_ended};
    for (const struct proc *proc = rt->first; proc != NULL; proc = proc->next) {
        stats.fuel_used += proc->fuel_used;
        stats.memory_bytes += proc_memory_bytes(proc);
        stats.overhead_bytes += proc_overhead_bytes(proc);
    }
    return stats;
}
