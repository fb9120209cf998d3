/* Invariants:
 *   - a process stands in the ready queue exactly while its state is PROC_READY;
 *   - instance, wasi and owner are all there or all NULL, but within proc_start and proc_destroy;
 *   - everything in `heap` hangs on handles of the instance, so it is empty when that is gone;
 *   - watch->target == this, and NULL in both directions once either side is gone. */
#define _GNU_SOURCE /* nftw */
#include "engine/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/file.h"
#include "engine/program/program.h"
#include "engine/sched/sched.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"

/* ---- the ready queue ---------------------------------------------------------------------- */

void proc_wake(void *user)
{
    struct proc *proc = user;
    if (proc->state == PROC_RUNNING)
        proc->woken = true;
    if (proc->state != PROC_WAITING)
        return;
    proc->state = PROC_READY;
    proc->ready_next = NULL;
    if (proc->env->ready_last != NULL)
        proc->env->ready_last->ready_next = proc;
    else
        proc->env->ready_first = proc;
    proc->env->ready_last = proc;
    proc->env->ready_count++;
}

struct proc *proc_take_ready(struct proc_env *env)
{
    struct proc *proc = env->ready_first;
    if (proc == NULL)
        return NULL;
    env->ready_first = proc->ready_next;
    if (env->ready_first == NULL)
        env->ready_last = NULL;
    env->ready_count--;
    proc->ready_next = NULL;
    proc->state = PROC_WAITING;
    return proc;
}

static void leave_ready(struct proc *proc)
{
    if (proc->state != PROC_READY)
        return;
    struct proc *before = NULL;
    struct proc *at = proc->env->ready_first;
    while (at != proc) {
        before = at;
        at = at->ready_next;
    }
    if (before != NULL)
        before->ready_next = proc->ready_next;
    else
        proc->env->ready_first = proc->ready_next;
    if (proc->env->ready_last == proc)
        proc->env->ready_last = before;
    proc->env->ready_count--;
    proc->state = PROC_WAITING;
}

/* ---- small things ------------------------------------------------------------------------- */

void proc_make_id(char id[PROC_ID_TEXT_BYTES])
{
    uint8_t bytes[16];
    size_t have = 0;
    while (have < sizeof bytes) {
        ssize_t got = getrandom(bytes + have, sizeof bytes - have, 0);
        CHECK(got > 0 || errno == EINTR);
        if (got > 0)
            have += (size_t)got;
    }
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            id[at++] = '-';
        id[at++] = digits[bytes[i] >> 4];
        id[at++] = digits[bytes[i] & 15];
    }
    id[at] = 0;
}

void proc_emit(struct proc *proc, enum proc_output kind, const char *data, size_t bytes)
{
    if (proc->output != NULL)
        proc->output(proc->user, proc, kind, data, bytes);
}

/* The finaliser of splitmix64: every bit of the input changes every bit of the output. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t proc_draw_seed(struct proc *proc)
{
    uint64_t seed = mix(mix(proc->seed) + ++proc->draws);
    return seed != 0 ? seed : 1;
}

uint64_t proc_child_seed(struct proc *proc)
{
    return mix(~mix(proc->seed) + ++proc->children);
}

/* ---- children ----------------------------------------------------------------------------- */

static void destroy_child(struct proc_event *event)
{
    struct proc_child *child = (struct proc_child *)event;
    if (child->target != NULL)
        child->target->watch = NULL;
    mem_free(&event->proc->heap, child->result);
    mem_free(&event->proc->heap, child);
}

struct proc_child *proc_child_create(struct proc *parent)
{
    struct proc_child *child = mem_calloc(&parent->heap, 1, sizeof *child);
    if (child != NULL)
        proc_event_init(&child->event, parent, destroy_child);
    return child;
}

void proc_finish(struct proc *proc, bool failed, const char *data, size_t bytes)
{
    struct proc_child *child = proc->watch;
    if (child != NULL) {
        proc->watch = NULL;
        child->target = NULL;
        child->failed = failed;
        child->result = mem_strdup(&child->event.proc->heap, data, bytes);
        child->result_bytes = bytes;
        proc_event_fire(&child->event);
    }
    proc_emit(proc, failed ? PROC_ERROR : PROC_RETURN, data, bytes);
}

/* ---- life --------------------------------------------------------------------------------- */

enum err proc_create(struct proc_env *env, const struct proc_launch *launch, struct proc **out,
                     struct report *report)
{
    struct proc *proc = mem_calloc(NULL, 1, sizeof *proc);
    if (proc == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for a process");
    *proc = (struct proc){
        .env = env,
        .prog = prog_ref(launch->prog),
        .username = mem_strdup(NULL, launch->username, strlen(launch->username)),
        .input = mem_strdup(NULL, launch->input, launch->input_bytes),
        .input_bytes = launch->input_bytes,
        .token_budget = launch->token_budget,
        .output = launch->output,
        .user = launch->user,
        .heap = {.limit_bytes = PROC_HEAP_BYTES_MAX},
        .seed = launch->seed,
        .state = PROC_QUEUED,
        .timer_index = SIZE_MAX,
    };
    if (proc->username == NULL || proc->input == NULL) {
        proc_destroy(proc);
        return err_set(report, ERR_MEMORY, "out of memory for a process");
    }
    proc_make_id(proc->id);
    *out = proc;
    return ERR_OK;
}

static void write_output(void *user, enum wasi_output output, const char *data, size_t bytes)
{
    proc_emit(user, output == WASI_STDOUT ? PROC_STDOUT : PROC_STDERR, data, bytes);
}

static void wake(void *user)
{
    proc_wake(user);
}

/* The process's own directory under the scratch directory. */
static enum err make_scratch(struct proc *proc, struct report *report)
{
    if (proc->env->scratch_directory == NULL)
        return ERR_OK;
    struct buf path;
    buf_init(&path, NULL);
    if (!buf_printf(&path, "%s/%s", proc->env->scratch_directory, proc->id)) {
        buf_deinit(&path);
        return err_set(report, ERR_MEMORY, "out of memory for a process");
    }
    enum err err = file_make_dirs(path.data, report);
    if (err == ERR_OK) {
        proc->scratch = mem_strdup(NULL, path.data, path.count);
        if (proc->scratch == NULL) {
            (void)rmdir(path.data);
            err = err_set(report, ERR_MEMORY, "out of memory for a process");
        }
    }
    buf_deinit(&path);
    return err;
}

static int remove_entry(const char *path, const struct stat *stat_, int kind, struct FTW *at)
{
    (void)stat_;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

enum err proc_start(struct proc *proc, struct report *report)
{
    CHECK(proc->state == PROC_QUEUED && proc->instance == NULL);
    enum err err = make_scratch(proc, report);
    if (err != ERR_OK)
        return err;
    struct wasi_preopen preopen = {"/scratch", proc->scratch, true};
    struct wasi_config config = {
        .host = {.write = write_output,
                 .wake = wake,
                 .user = proc},
        .net = proc->env->net,
        .heap = &proc->heap,
        .preopens = &preopen,
        .preopen_count = proc->scratch != NULL ? 1 : 0,
    };
    err = wasi_ctx_create(&config, &proc->wasi, report);
    if (err != ERR_OK)
        return err;
    err = sched_owner_create(proc->env->model.sched, proc->token_budget, &proc->owner);
    if (err != ERR_OK)
        return err_set(report, err, "out of memory for a process");
    struct wasm_store_limits limits = {.memory_bytes_max = proc->env->memory_bytes_max};
    err = comp_instance_create(proc->env->linker, proc->prog->component, &limits, proc,
                               &proc->instance, report);
    if (err != ERR_OK)
        return err;

    char interface[PROG_ID_BYTES + 16];
    (void)snprintf(interface, sizeof interface, "pie:%s/run", proc->prog->manifest.name);
    struct comp_value input = comp_string(proc->input, proc->input_bytes);
    struct report found = {0};
    err = comp_instance_call(proc->instance, interface, "run", &input, 1, &found);
    if (err == ERR_NOT_FOUND)
        return err_set(report, err,
                       "No 'run' interface found: the program exports no function "
                       "`run` in an interface %s (%.400s)",
                       interface, found.text);
    if (err != ERR_OK)
        return err_set(report, err, "%s", found.text);
    mem_free(NULL, proc->input);
    proc->input = NULL;
    proc->state = PROC_WAITING;
    return ERR_OK;
}

void proc_destroy(struct proc *proc)
{
    leave_ready(proc);
    if (proc->watch != NULL)
        proc->watch->target = NULL;
    /* Handles are dropped here; they still use the context and the owner. */
    if (proc->instance != NULL)
        comp_instance_destroy(proc->instance);
    if (proc->wasi != NULL)
        wasi_ctx_destroy(proc->wasi);
    if (proc->owner != NULL)
        sched_owner_destroy(proc->owner);
    CHECK(proc->heap.used_bytes == 0);
    char files[PROC_ID_TEXT_BYTES + 8];
    (void)snprintf(files, sizeof files, "%s#file", proc->id);
    proc_topic_close(&proc->env->topics, proc->id, strlen(proc->id));
    proc_topic_close(&proc->env->topics, files, strlen(files));
    if (proc->scratch != NULL)
        (void)nftw(proc->scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    mem_free(NULL, proc->scratch);
    mem_free(NULL, proc->kill_why);
    mem_free(NULL, proc->input);
    mem_free(NULL, proc->username);
    prog_unref(proc->prog);
    mem_free(NULL, proc);
}

/* ---- running ------------------------------------------------------------------------------ */

/* C programs keep their stack in linear memory, right above address 0. When it overflows, all that
 * the interpreter sees is an access out of bounds, many calls deep. */
static bool is_deep(const struct proc *proc)
{
    return wasm_thread_trap_depth(comp_instance_thread(proc->instance)) >= 32;
}

static void describe_trap(struct proc *proc, struct buf *result)
{
    uint32_t status;
    (void)buf_puts(result, "Call error: ");
    if (wasi_exit_status(proc->wasi, &status)) {
        (void)buf_printf(result, "the program called exit(%u) instead of returning from run",
                         status);
        return;
    }
    const char *trace = comp_instance_back_trace(proc->instance);
    const char *text = comp_instance_trap_text(proc->instance);
    (void)buf_puts(result, text);
    if (strcmp(text, "out of bounds memory access") == 0 && is_deep(proc))
        (void)buf_puts(result, " (the call stack is deep: probably the program's own stack in "
                               "linear memory is exhausted by recursion)");
    if (trace != NULL && trace[0] != 0)
        (void)buf_printf(result, "\n%s", trace);
    while (result->count > 0 && result->data[result->count - 1] == '\n')
        result->data[--result->count] = 0;
}

/* The fuel that may be used before a limit is passed. */
static uint64_t fuel_left(const struct proc *proc)
{
    uint64_t left = UINT64_MAX;
    const struct proc_env *env = proc->env;
    if (env->fuel_max != 0)
        left = env->fuel_max > proc->fuel_used ? env->fuel_max - proc->fuel_used : 0;
    if (env->fuel_stall_max != 0) {
        uint64_t stalled = proc->fuel_used - proc->fuel_waited;
        uint64_t stall = env->fuel_stall_max > stalled ? env->fuel_stall_max - stalled : 0;
        if (stall < left)
            left = stall;
    }
    return left;
}

static void describe_limit(const struct proc *proc, struct buf *result)
{
    const struct proc_env *env = proc->env;
    if (env->fuel_max != 0 && proc->fuel_used >= env->fuel_max)
        (void)buf_printf(result,
                         "Call error: the instruction limit is reached: the process used "
                         "%llu instructions (guest_fuel_max)",
                         (unsigned long long)env->fuel_max);
    else
        (void)buf_printf(result,
                         "Call error: the process runs in a loop: it used %llu "
                         "instructions without waiting for anything (guest_fuel_stall_max)",
                         (unsigned long long)env->fuel_stall_max);
}

enum proc_run proc_run(struct proc *proc, uint64_t fuel, struct buf *result)
{
    CHECK(proc->state == PROC_WAITING && proc->instance != NULL);
    uint64_t left = fuel_left(proc);
    if (left == 0) {
        describe_limit(proc, result);
        return PROC_RUN_ERROR;
    }
    proc->state = PROC_RUNNING;
    proc->woken = false;
    enum wasm_run run = comp_instance_run(proc->instance, fuel < left ? fuel : left);
    proc->fuel_used = wasm_thread_fuel_used(comp_instance_thread(proc->instance));
    proc->state = PROC_WAITING;
    switch (run) {
    case WASM_RUN_FUEL: return PROC_RUN_AGAIN;
    case WASM_RUN_WAIT:
        proc->fuel_waited = proc->fuel_used;
        return proc->woken ? PROC_RUN_AGAIN : PROC_RUN_WAIT;
    case WASM_RUN_TRAP: describe_trap(proc, result); return PROC_RUN_ERROR;
    case WASM_RUN_DONE: break;
    }
    const struct comp_value *value = comp_instance_result(proc->instance);
    const struct comp_value *text =
        value != NULL && value->kind == COMP_RESULT ? value->of.variant.payload : NULL;
    if (text == NULL || text->kind != COMP_STRING) {
        (void)buf_puts(result, "Call error: the program's `run` has another type than "
                               "func(input: string) -> result<string, string>");
        return PROC_RUN_ERROR;
    }
    (void)buf_append(result, text->of.string.data, text->of.string.bytes);
    return value->of.variant.index == 0 ? PROC_RUN_RETURN : PROC_RUN_ERROR;
}

uint64_t proc_deadline_ns(const struct proc *proc)
{
    return wasi_wait_deadline_ns(proc->wasi);
}

uint64_t proc_memory_bytes(const struct proc *proc)
{
    return proc->instance == NULL ? 0 : comp_instance_memory_bytes(proc->instance);
}

uint64_t proc_overhead_bytes(const struct proc *proc)
{
    uint64_t bytes = sizeof *proc + proc->heap.used_bytes + strlen(proc->username) + 1;
    if (proc->instance != NULL)
        bytes += comp_instance_overhead_bytes(proc->instance);
    return bytes;
}
