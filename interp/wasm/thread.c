/* Threads: one activation stack each, run in slices of fuel.
 *
 * Invariants: outside of wasm_thread_run the whole state is in the thread (saved registers, its
 * stack, the activations of host functions that wait or have called back). `used` is the fuel of
 * finished slices; within a slice `granted - saved.fuel` has been used, but for the potential of
 * the instruction at hand. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "interp/wasm/code.h"
#include "interp/wasm/slow.h"

enum { STACK_BYTES_MIN = 64 << 10, TRAP_TEXT_BYTES = 600 };

enum err wasm_thread_create(struct wasm_store *store, struct wasm_thread **out)
{
    struct wasm_thread *thread = mem_calloc(&store->heap, 1, sizeof *thread);
    *out = NULL;
    if (!thread)
        return ERR_MEMORY;
    /* Pages come as they are touched, so the mapping costs nothing but address space. */
    size_t bytes = (size_t)store->limits.stack_bytes_max;
    if (bytes < STACK_BYTES_MIN)
        bytes = STACK_BYTES_MIN;
    bytes = (bytes + 4095) & ~(size_t)4095;
    void *stack = MAP_FAILED;
    for (; stack == MAP_FAILED && bytes >= STACK_BYTES_MIN; bytes /= 2) {
        thread->stack_bytes = bytes;
        stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (stack == MAP_FAILED) {
        mem_free(&store->heap, thread);
        return ERR_MEMORY;
    }
    thread->stack = stack;
    thread->stack_end = thread->stack + thread->stack_bytes / sizeof(union wasm_value);
    thread->stack_limit = thread->stack_end - STACK_RED_SLOTS;
    thread->store = store;
    thread->saved.x = thread;
    thread->host_free = thread->stack;
    buf_init(&thread->back_trace, &store->heap);
    thread->next = store->threads;
    store->threads = thread;
    *out = thread;
    return ERR_OK;
}

/* Innermost first. */
static void abandon(struct wasm_thread *thread, size_t down_to)
{
    while (thread->activations.count > down_to) {
        struct wasm_activation a = thread->activations.items[--thread->activations.count];
        if (a.state.on_abandon)
            a.state.on_abandon(a.state.data);
    }
}

void wasm_thread_abandon(struct wasm_thread *thread)
{
    CHECK(thread->state != THREAD_RUNNING);
    abandon(thread, 0);
    thread->state = THREAD_IDLE;
    thread->resume_potential = 0;
}

void wasm_thread_destroy(struct wasm_thread *thread)
{
    if (!thread)
        return;
    wasm_thread_abandon(thread);
    struct wasm_thread **link = &thread->store->threads;
    while (*link != thread)
        link = &(*link)->next;
    *link = thread->next;
    munmap(thread->stack, thread->stack_bytes);
    vec_free(NULL, &thread->activations);
    mem_free(&thread->store->heap, thread->trap_text);
    buf_deinit(&thread->back_trace);
    mem_free(&thread->store->heap, thread);
}

/* ---- running ----------------------------------------------------------------------------- */

enum err wasm_thread_call(struct wasm_thread *thread, struct wasm_func *func,
                          const union wasm_value *args)
{
    if (thread->state != THREAD_IDLE)
        return ERR_BUSY;
    if (func->param_slots > STACK_RED_SLOTS)
        return ERR_LIMIT;
    if (func->param_slots > 0)
        memcpy(thread->stack, args, func->param_slots * sizeof *args);
    thread->func = func;
    thread->saved.p = NULL; /* not entered yet */
    thread->saved.R = thread->stack;
    thread->state = THREAD_READY;
    return ERR_OK;
}

/* Enters `func`, whose arguments lie at `Q`, as the bottom of a run. An enum wasm_step. */
static int enter_bottom(struct wasm_thread *thread, struct wasm_func *func, union wasm_value *Q)
{
    struct wasm_regs *g = &thread->saved;
    wasm_thread_enter(thread, NULL);
    /* Without a running instance the callee would get a switch frame; it needs none. */
    if (func->instance)
        wasm_thread_enter(thread, func->instance);
    g->M = thread->instance && thread->instance->memories[0]
               ? thread->instance->memories[0]->data : NULL;
    g->R = Q;
    return wasm_call_any(g, func, Q, wasm_halt_code);
}

/* Carries on from `step` until the thread leaves the dispatch; sets thread->exit. */
static void carry_on(struct wasm_thread *thread, int step)
{
    if (step <= STEP_JUMPED)
        wasm_execute(thread);
    else if (step == STEP_TRAP)
        thread->exit = EXIT_TRAP;
}

static void note_trap(struct wasm_thread *thread)
{
    if (thread->trap != TRAP_TEXT)
        wasm_thread_trap(thread, "%s", wasm_trap_words(thread->trap));
    wasm_trap_record(thread);
    /* A stack that was used up to its end gives its pages back. */
    if (thread->trap == TRAP_STACK && thread->nested == 0)
        madvise(thread->stack, thread->stack_bytes, MADV_DONTNEED);
}

enum wasm_run wasm_thread_run(struct wasm_thread *thread, uint64_t fuel)
{
    CHECK(thread->state == THREAD_READY || thread->state == THREAD_WAITING);
    struct wasm_regs *g = &thread->saved;
    thread->granted = fuel > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)fuel;
    g->fuel = thread->granted + thread->resume_potential;
    thread->resume_potential = 0;
    bool waiting = thread->state == THREAD_WAITING;
    thread->state = THREAD_RUNNING;
    thread->trap = TRAP_NONE;
    thread->settled = true; /* until an instruction traps */
    if (waiting)
        carry_on(thread, wasm_host_continue(g));
    else if (!g->p)
        carry_on(thread, enter_bottom(thread, thread->func, thread->stack));
    else
        wasm_execute(thread);
    enum wasm_run result = WASM_RUN_DONE;
    switch (thread->exit) {
    case EXIT_DONE:
        thread->state = THREAD_IDLE;
        break;
    case EXIT_WAIT:
        thread->state = THREAD_WAITING;
        result = WASM_RUN_WAIT;
        break;
    case EXIT_FUEL_CALL:
        thread->resume_potential = g->p[2].charge - 1; /* the call itself comes later */
        thread->state = THREAD_READY;
        result = WASM_RUN_FUEL;
        break;
    case EXIT_FUEL_BULK:
        thread->resume_potential = (int32_t)g->p[1].imm - 1; /* counted once it is done */
        thread->state = THREAD_READY;
        result = WASM_RUN_FUEL;
        break;
    case EXIT_FUEL_LABEL: {
        if (g->p == wasm_translate_code) { /* between a call, which has paid, and its callee */
            thread->state = THREAD_READY;
            result = WASM_RUN_FUEL;
            break;
        }
        const struct wasm_code *code = wasm_code_find(thread->instance->module, g->p);
        CHECK(code);
        thread->resume_potential = wasm_code_potential(code, (uint32_t)(g->p - code->words));
        thread->state = THREAD_READY;
        result = WASM_RUN_FUEL;
        break;
    }
    case EXIT_TRAP:
        note_trap(thread);
        abandon(thread, 0);
        thread->state = THREAD_IDLE;
        result = WASM_RUN_TRAP;
        break;
    }
    thread->used += (uint64_t)(thread->granted - g->fuel + thread->resume_potential);
    thread->granted = g->fuel = 0;
    return result;
}

const union wasm_value *wasm_thread_result(const struct wasm_thread *thread)
{
    return thread->stack;
}

enum wasm_run wasm_thread_call_nested(struct wasm_thread *thread, struct wasm_func *func,
                                      union wasm_value *values, uint64_t fuel)
{
    CHECK(thread->state == THREAD_RUNNING && thread->in_host);
    struct wasm_regs outer = thread->saved;
    struct wasm_instance *outer_instance = thread->instance;
    union wasm_value *outer_free = thread->host_free;
    size_t outer_base = thread->activation_base;
    enum wasm_exit outer_exit = thread->exit;
    bool outer_settled = thread->settled;
    uint64_t outer_used = thread->used;
    int64_t outer_granted = thread->granted;
    union wasm_value *Q = thread->host_free;
    int64_t granted = fuel > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)fuel;
    enum wasm_run result = WASM_RUN_DONE;
    if (thread->nested >= NESTED_MAX || Q > thread->stack_limit ||
        func->param_slots > STACK_RED_SLOTS) {
        wasm_thread_trap(thread, "%s", wasm_trap_words(TRAP_STACK));
        return WASM_RUN_TRAP;
    }
    if (func->param_slots > 0)
        memcpy(Q, values, func->param_slots * sizeof *Q);
    thread->nested++;
    thread->in_host = false;
    thread->activation_base = thread->activations.count;
    thread->used += (uint64_t)(outer_granted - outer.fuel);
    thread->granted = thread->saved.fuel = granted;
    thread->settled = true;
    carry_on(thread, enter_bottom(thread, func, Q));
    if (thread->exit == EXIT_FUEL_LABEL || thread->exit == EXIT_FUEL_CALL ||
        thread->exit == EXIT_FUEL_BULK) {
        wasm_thread_trap(thread, "a call from the host used up its %llu units of fuel",
                         (unsigned long long)fuel);
        result = WASM_RUN_TRAP;
    } else if (thread->exit == EXIT_TRAP) {
        note_trap(thread);
        result = WASM_RUN_TRAP;
    } else {
        CHECK(thread->exit == EXIT_DONE);
        memcpy(values, Q, func->result_slots * sizeof *Q);
    }
    abandon(thread, thread->activation_base);
    int64_t used = granted - thread->saved.fuel;
    thread->saved = outer;
    thread->saved.fuel -= used;
    thread->used = outer_used;
    thread->granted = outer_granted;
    thread->exit = outer_exit;
    thread->settled = outer_settled;
    thread->activation_base = outer_base;
    thread->host_free = outer_free;
    wasm_thread_enter(thread, outer_instance);
    thread->nested--;
    thread->in_host = true;
    return result;
}

uint64_t wasm_thread_fuel_used(const struct wasm_thread *thread)
{
    return thread->used + (uint64_t)(thread->granted - thread->saved.fuel);
}

/* ---- traps ------------------------------------------------------------------------------- */

void wasm_thread_trap(struct wasm_thread *thread, const char *format, ...)
{
    if (!thread->trap_text)
        thread->trap_text = mem_alloc(&thread->store->heap, TRAP_TEXT_BYTES);
    if (!thread->trap_text)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(thread->trap_text, TRAP_TEXT_BYTES, format, arguments);
    va_end(arguments);
}

const char *wasm_thread_trap_text(const struct wasm_thread *thread)
{
    return thread->trap_text ? thread->trap_text : "out of memory";
}

const char *wasm_thread_back_trace(const struct wasm_thread *thread)
{
    return thread->back_trace.data ? thread->back_trace.data : "";
}

uint32_t wasm_thread_trap_depth(const struct wasm_thread *thread)
{
    return thread->trap_depth;
}
