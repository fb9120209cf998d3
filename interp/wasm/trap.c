/* What goes wrong in a guest: faults of its memory, the words of traps, back traces. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "interp/wasm/code.h"

enum { TRACE_LINES_MAX = 64 };

const char *wasm_trap_words(enum wasm_trap trap)
{
    static const char *const words[] = {
        [TRAP_NONE] = "no trap",
        [TRAP_UNREACHABLE] = "unreachable",
        [TRAP_MEMORY] = "out of bounds memory access",
        [TRAP_TABLE] = "out of bounds table access",
        [TRAP_ELEMENT] = "undefined element",
        [TRAP_NULL_ELEMENT] = "uninitialized element",
        [TRAP_SIGNATURE] = "indirect call type mismatch",
        [TRAP_DIVIDE] = "integer divide by zero",
        [TRAP_OVERFLOW] = "integer overflow",
        [TRAP_CONVERSION] = "invalid conversion to integer",
        [TRAP_STACK] = "call stack exhausted",
        [TRAP_NULL_EXCEPTION] = "null exception reference",
        [TRAP_NULL_REF] = "null reference",
        [TRAP_NULL_FUNC] = "null function reference",
        [TRAP_NULL_STRUCT] = "null structure reference",
        [TRAP_NULL_ARRAY] = "null array reference",
        [TRAP_NULL_I31] = "null i31 reference",
        [TRAP_ARRAY] = "out of bounds array access",
        [TRAP_CAST] = "cast failure",
        [TRAP_EXCEPTION] = "unhandled exception",
        [TRAP_OUT_OF_MEMORY] = "out of memory",
    };
    return words[trap];
}

/* ---- faults ------------------------------------------------------------------------------ */

static _Thread_local struct wasm_thread *running;
static struct sigaction former_segv, former_bus;

struct wasm_thread *wasm_fault_thread(struct wasm_thread *thread)
{
    struct wasm_thread *former = running;
    running = thread;
    return former;
}

#if WASM_FAULT_SITES
/* Made by the linker: all entries of the section. */
extern const struct wasm_fault_site __start_wasm_faults[], __stop_wasm_faults[];

#if defined(__x86_64__)
static uintptr_t program_counter(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}
static uintptr_t machine_register(const ucontext_t *context, const char *name)
{
    static const struct {
        char name[5];
        uint8_t index;
    } names[] = {{"%rax", REG_RAX}, {"%rbx", REG_RBX}, {"%rcx", REG_RCX}, {"%rdx", REG_RDX},
                 {"%rsi", REG_RSI}, {"%rdi", REG_RDI}, {"%rbp", REG_RBP}, {"%r8", REG_R8},
                 {"%r9", REG_R9},   {"%r10", REG_R10}, {"%r11", REG_R11}, {"%r12", REG_R12},
                 {"%r13", REG_R13}, {"%r14", REG_R14}, {"%r15", REG_R15}};
    size_t bytes = strcspn(name, " ");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == bytes && memcmp(names[i].name, name, bytes) == 0)
            return (uintptr_t)context->uc_mcontext.gregs[names[i].index];
    return 0;
}
#else
static uintptr_t program_counter(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.pc;
}
static uintptr_t machine_register(const ucontext_t *context, const char *name)
{
    unsigned index = 0; /* "x12" */
    for (const char *p = name + 1; *p >= '0' && *p <= '9'; p++)
        index = index * 10 + (unsigned)(*p - '0');
    return (uintptr_t)context->uc_mcontext.regs[index % 31];
}
#endif

/* Notes where the guest stands; false when the fault is not one of a guest's access. */
static bool note_fault(struct wasm_thread *thread, const ucontext_t *context)
{
    uintptr_t pc = program_counter(context);
    for (const struct wasm_fault_site *site = __start_wasm_faults; site < __stop_wasm_faults; site++) {
        if ((uintptr_t)&site->access + (uintptr_t)(intptr_t)site->access != pc)
            continue;
        const char *start = site->registers, *frame = strchr(start, ' ') + 1;
        const char *fuel = strchr(frame, ' ') + 1;
        thread->fault_ordinal = site->ordinal;
        thread->fault_start = (const union wasm_word *)machine_register(context, start);
        thread->fault_R = (union wasm_value *)machine_register(context, frame);
        thread->fault_fuel = (int64_t)machine_register(context, fuel);
        return true;
    }
    return false;
}
#else
static bool note_fault(struct wasm_thread *thread, const ucontext_t *context)
{
    (void)thread;
    (void)context;
    return false;
}
#endif

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    struct wasm_thread *thread = running;
    const struct wasm_instance *instance = thread ? thread->instance : NULL;
    if (instance && !thread->in_host && thread->fault_jump && instance->memories[0] &&
        instance->memories[0]->guarded) {
        uintptr_t at = (uintptr_t)info->si_addr, base = (uintptr_t)instance->memories[0]->data;
        if (at >= base && at - base < WASM_GUARD_BYTES && note_fault(thread, context))
            siglongjmp(*thread->fault_jump, 1);
    }
    /* Not ours: as if we had never been here. */
    const struct sigaction *former = signal_number == SIGSEGV ? &former_segv : &former_bus;
    if (former->sa_flags & SA_SIGINFO) {
        former->sa_sigaction(signal_number, info, context);
    } else if (former->sa_handler != SIG_DFL && former->sa_handler != SIG_IGN) {
        former->sa_handler(signal_number);
    } else {
        signal(signal_number, SIG_DFL); /* the access repeats and ends the process */
    }
}

/* Somebody may have put a handler over ours since the last time: then theirs becomes the one that
 * we hand foreign faults to. */
static bool install(int signal_number, struct sigaction *former)
{
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction present;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal_number, NULL, &present) != 0)
        return false;
    if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_fault)
        return true;
    *former = present;
    return sigaction(signal_number, &action, NULL) == 0;
}

bool wasm_fault_init(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    bool ok = WASM_FAULT_SITES && install(SIGSEGV, &former_segv) && install(SIGBUS, &former_bus);
    pthread_mutex_unlock(&lock);
    return ok;
}

/* ---- stacks ------------------------------------------------------------------------------ */

/* A walk over the frames of a thread that stands still, innermost first. Where host functions have
 * called back, their activations lead on to the guest that called them. */
struct walk {
    const struct wasm_thread *thread;
    size_t activation; /* how many are still to be passed */
    struct wasm_instance *instance;
    const union wasm_word *p; /* `is_exact`: an instruction; else where a call goes on */
    const union wasm_value *R;
    bool is_exact;
    /* The frame found last: an instruction of guest code, or a host function. */
    const struct wasm_code *code; /* NULL for a host function */
    struct wasm_module *module;
    const union wasm_word *at;
    const struct wasm_func *host;
};

static struct walk walk_start(const struct wasm_thread *thread)
{
    struct walk walk = {.thread = thread,
                        .activation = thread->activations.count,
                        .instance = thread->instance,
                        .p = thread->saved.p,
                        .R = thread->saved.R,
                        .is_exact = true};
    if (walk.p == wasm_translate_code) { /* the frame of a function that has no code yet */
        const struct wasm_func_def *def = &thread->instance->module->funcs[thread->translated];
        const struct wasm_functype *type =
            &thread->instance->module->types[def->type_index]->func;
        const union wasm_value *record =
            walk.R + wasm_type_slots(type->params, type->param_count);
        walk.p = record[0].ref;
        walk.R = record[1].ref;
        walk.is_exact = false;
    }
    if (thread->state == THREAD_WAITING) { /* the innermost activation is where it stands */
        walk.p = wasm_host_return_code;
        walk.is_exact = false;
    }
    return walk;
}

static bool walk_next(struct walk *walk)
{
    const struct wasm_thread *thread = walk->thread;
    const union wasm_word *p = walk->p;
    const union wasm_value *R = walk->R;
    if (!walk->is_exact) {
        while (p == wasm_switch_code) {
            p = R[0].ref;
            walk->instance = R[2].ref;
            R = R[1].ref;
        }
        if (p == wasm_host_return_code && walk->activation > thread->activation_base) {
            const struct wasm_activation *a = &thread->activations.items[--walk->activation];
            walk->host = a->func;
            walk->code = NULL;
            walk->p = a->ret;
            walk->R = a->caller_R;
            walk->instance = a->caller;
            return true;
        }
        if (p == wasm_halt_code || p == wasm_host_return_code)
            return false;
        p--; /* inside the call */
    }
    const struct wasm_code *code = walk->code;
    if (!walk->instance || !p || R < thread->stack || R >= thread->stack_end)
        return false;
    if (!code || p < code->words || p >= code->words + code->word_count)
        code = wasm_code_find(walk->instance->module, p);
    if (!code || thread->stack_end - R < code->record_slot + RECORD_SLOTS)
        return false;
    walk->code = code;
    walk->module = walk->instance->module;
    walk->at = p;
    walk->p = R[code->record_slot].ref;
    walk->R = R[code->record_slot + 1].ref;
    walk->is_exact = false;
    return true;
}

uint32_t wasm_thread_stack(const struct wasm_thread *thread, struct wasm_frame *frames,
                           uint32_t max)
{
    if (thread->state != THREAD_READY && thread->state != THREAD_WAITING)
        return 0;
    uint32_t count = 0;
    struct walk walk = walk_start(thread);
    for (; count < max && walk_next(&walk); count++) {
        frames[count] = (struct wasm_frame){0};
        if (walk.code) {
            frames[count].module = walk.module;
            frames[count].func_index = walk.code->func_index;
        } else {
            frames[count].host_name = walk.host->host->name;
        }
    }
    return count;
}

/* ---- back traces ------------------------------------------------------------------------- */

static void put_name(struct buf *out, const struct wasm_module *module,
                     const struct wasm_code *code)
{
    const char *name = wasm_module_func_name(module, code->func_index);
    buf_printf(out, "%s (func %u)", name ? name : "?", code->func_index);
}

void wasm_trap_record(struct wasm_thread *thread)
{
    struct buf *out = &thread->back_trace;
    struct walk walk = walk_start(thread);
    struct walk last = {0}; /* the guest frame that was written last */
    uint32_t lines = 0, repeats = 0, depth = 0, offset = 0;
    const struct wasm_func *host = NULL; /* passed, and written if a guest is found behind it */
    buf_clear(out);
    for (bool more = true; more;) {
        more = walk_next(&walk);
        if (more && !walk.code) {
            host = walk.host;
            continue;
        }
        if (more && depth > 0 && !host && walk.at == last.at) {
            repeats++;
            depth++;
            continue;
        }
        struct wasm_origin origin = {0};
        bool known = more && wasm_translate_origin(walk.module, walk.code,
                                                   (uint32_t)(walk.at - walk.code->words), &origin);
        if (known && depth > 0 && !host && walk.code == last.code && origin.body_offset == offset) {
            last = walk; /* the same call: innermost its beginning, further out its end */
            repeats++;
            depth++;
            continue;
        }
        if (repeats > 0) {
            buf_printf(out, "     ... %u more of ", repeats);
            put_name(out, last.module, last.code);
            buf_putc(out, '\n');
            repeats = 0;
        }
        if (!known)
            break;
        if (lines == TRACE_LINES_MAX) {
            buf_puts(out, "     ... and its callers\n");
            break;
        }
        if (depth == 0 && !thread->settled)
            thread->saved.fuel -= origin.potential;
        if (host)
            buf_printf(out, "     through the host function %s\n", host->host->name);
        host = NULL;
        buf_printf(out, "%3u: ", depth);
        put_name(out, walk.module, walk.code);
        buf_printf(out, " +0x%x\n", origin.body_offset);
        lines++;
        depth++;
        last = walk;
        offset = origin.body_offset;
    }
    thread->trap_depth = depth;
}
