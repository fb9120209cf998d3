/* Calls that leave the running instance's own code: host functions, other instances, functions
 * not translated yet, tail calls, exceptions.
 *
 * A call into another instance puts a *switch frame* of SWITCH_SLOTS under the callee's frame:
 * return pc, caller's R, the caller's instance, the callee. The callee returns to
 * wasm_switch_code, which finds that frame as its R, moves the results down and goes on in the
 * caller. A host function that waits or calls back is an *activation* on the thread's list; its
 * callee returns to wasm_host_return_code, which continues the topmost activation. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "interp/wasm/opcodes.h"
#include "interp/wasm/slow.h"

enum {
    SWITCH_SLOTS = 4,
    ACTIVATIONS_MAX = 20000,
    CALL_WORDS = 3,
    CALL_TABLE_WORDS = 4
};

void wasm_thread_enter(struct wasm_thread *thread, struct wasm_instance *instance)
{
    thread->instance = instance;
    if (!instance)
        return;
    thread->entries = instance->program->entries;
    thread->own_globals = instance->own_globals;
    thread->types = instance->module->types;
    thread->table0 = instance->tables[0];
}

static void reload_memory(struct wasm_regs *g)
{
    const struct wasm_instance *instance = g->x->instance;
    g->M = instance && instance->memories[0] ? instance->memories[0]->data : NULL;
}

/* ---- host functions ---------------------------------------------------------------------- */

static bool room_for_host(const struct wasm_thread *x, const struct wasm_func *func,
                          const union wasm_value *Q, size_t *cells)
{
    *cells = HOST_CELLS_MIN;
    if (func->param_slots > *cells)
        *cells = func->param_slots;
    if (func->result_slots > *cells)
        *cells = func->result_slots;
    return *cells <= (size_t)(x->stack_end - Q);
}

static bool suspend(struct wasm_thread *x, const struct wasm_activation *activation)
{
    return x->activations.count < ACTIVATIONS_MAX &&
           vec_push(NULL, &x->activations, *activation);
}

/* Runs a host function, and host functions that it calls back, until guest code goes on. */
static int run_host(struct wasm_regs *g, struct wasm_activation a)
{
    struct wasm_thread *x = g->x;
    for (;;) {
        size_t cells;
        if (!room_for_host(x, a.func, a.values, &cells))
            return trap(g, TRAP_STACK);
        struct wasm_host_call call = {
            .thread = x, .caller = a.caller, .values = a.values, .state = &a.state};
        if (g != &x->saved)
            x->saved = *g;
        union wasm_value *outer_free = x->host_free;
        x->host_free = a.values + cells;
        x->in_host = true;
        enum wasm_host_result result = a.func->host->fn(&call, a.func->host->user);
        x->in_host = false;
        x->host_free = outer_free;
        g->fuel = x->saved.fuel; /* nested calls use some */
        switch (result) {
        case WASM_HOST_DONE:
            g->R = a.caller_R;
            g->p = a.ret;
            reload_memory(g);
            if (g->p == wasm_host_return_code) { /* it was called back by another one */
                if (x->activations.count <= x->activation_base)
                    return trap(g, TRAP_UNREACHABLE); /* cannot be */
                a = x->activations.items[--x->activations.count];
                wasm_thread_enter(x, a.caller);
                continue;
            }
            return STEP_JUMPED;
        case WASM_HOST_TRAP:
            return trap(g, TRAP_TEXT);
        case WASM_HOST_WAIT:
            if (x->nested > 0) {
                wasm_thread_trap(x, "the host function %s may not wait here", a.func->host->name);
                if (a.state.on_abandon)
                    a.state.on_abandon(a.state.data);
                return trap(g, TRAP_TEXT);
            }
            if (!suspend(x, &a))
                return trap(g, TRAP_STACK);
            x->exit = EXIT_WAIT;
            return STEP_LEAVE;
        case WASM_HOST_CALL:
            if (!suspend(x, &a)) {
                if (a.state.on_abandon)
                    a.state.on_abandon(a.state.data);
                return trap(g, TRAP_STACK);
            }
            if (call.callee->instance) {
                g->R = a.values;
                return wasm_call_any(g, call.callee, a.values, wasm_host_return_code);
            }
            a = (struct wasm_activation){.func = call.callee,
                                         .caller = a.caller,
                                         .ret = wasm_host_return_code,
                                         .caller_R = a.values,
                                         .values = a.values};
            continue;
        }
    }
}

int wasm_host_continue(struct wasm_regs *g)
{
    struct wasm_thread *x = g->x;
    struct wasm_activation a = x->activations.items[--x->activations.count];
    wasm_thread_enter(x, a.caller);
    return run_host(g, a);
}

int slow_host_return(struct wasm_regs *g)
{
    return wasm_host_continue(g);
}

/* ---- calls ------------------------------------------------------------------------------- */

/* The function's first word, translating it if need be, or wasm_translate_code when that takes
 * longer than a slice should; NULL after noting a trap. */
static const union wasm_word *entry_of(struct wasm_regs *g, struct wasm_module *module,
                                       struct wasm_program *program, uint32_t index)
{
    const union wasm_word *entry =
        atomic_load_explicit(&program->entries[index], memory_order_acquire);
    if (entry)
        return entry;
    struct report report = {0};
    /* A call from within a host function cannot be left and taken up again. */
    enum err err =
        wasm_translate(module, index, g->x->nested > 0 ? UINT64_MAX : TRANSLATE_WORK, &report);
    if (err == ERR_BUSY) {
        g->x->translated = index;
        return wasm_translate_code;
    }
    if (err != ERR_OK) {
        wasm_thread_trap(g->x, "%s", report.text);
        g->x->trap = TRAP_TEXT;
        return NULL;
    }
    return atomic_load_explicit(&program->entries[index], memory_order_acquire);
}

int wasm_call_any(struct wasm_regs *g, struct wasm_func *func, union wasm_value *Q,
                  const union wasm_word *ret)
{
    struct wasm_thread *x = g->x;
    if (Q > x->stack_limit)
        return trap(g, TRAP_STACK);
    if (!func->instance)
        return run_host(g, (struct wasm_activation){.func = func,
                                                    .caller = x->instance,
                                                    .ret = ret,
                                                    .caller_R = g->R,
                                                    .values = Q});
    struct wasm_instance *instance = func->instance;
    const union wasm_word *entry = entry_of(g, instance->module, instance->program, func->index);
    if (!entry)
        return STEP_TRAP;
    if ((size_t)(x->stack_end - Q) < (size_t)func->param_slots + SWITCH_SLOTS + RECORD_SLOTS)
        return trap(g, TRAP_STACK);
    if (instance != x->instance) {
        memmove(Q + SWITCH_SLOTS, Q, func->param_slots * sizeof *Q);
        Q[0].ref = (void *)(uintptr_t)ret;
        Q[1].ref = g->R;
        Q[2].ref = x->instance;
        Q[3].ref = func;
        g->R = Q;
        Q += SWITCH_SLOTS;
        ret = wasm_switch_code;
        wasm_thread_enter(x, instance);
        reload_memory(g);
    }
    union wasm_value *record = Q + func->param_slots;
    record[0].ref = (void *)(uintptr_t)ret;
    record[1].ref = g->R;
    g->R = Q;
    g->p = entry;
    return STEP_JUMPED;
}

int slow_switch_back(struct wasm_regs *g)
{
    union wasm_value *Q = g->R;
    const struct wasm_func *func = Q[3].ref;
    g->p = Q[0].ref;
    g->R = Q[1].ref;
    wasm_thread_enter(g->x, Q[2].ref);
    reload_memory(g);
    memmove(Q, Q + SWITCH_SLOTS, func->result_slots * sizeof *Q);
    return STEP_JUMPED;
}

/* The call's own fuel is charged before anything can go wrong. */
static int settled(struct wasm_regs *g, int step)
{
    if (step == STEP_TRAP)
        g->x->settled = true;
    return step;
}

int slow_translate(struct wasm_regs *g)
{
    const struct wasm_instance *instance = g->x->instance;
    const union wasm_word *entry =
        entry_of(g, instance->module, instance->program, g->x->translated);
    if (!entry)
        return settled(g, STEP_TRAP);
    g->p = entry;
    return entry == wasm_translate_code ? STEP_FUEL_LABEL : STEP_JUMPED;
}

int slow_call(struct wasm_regs *g)
{
    return settled(g, wasm_call_any(g, g->x->callee, g->R + g->p[1].a, g->p + CALL_WORDS));
}

int slow_call_subtype(struct wasm_regs *g)
{
    if (!wasm_def_type_matches(g->x->callee->type, g->x->types[(uint32_t)g->p[2].target]))
        return settled(g, trap(g, TRAP_SIGNATURE));
    return slow_call(g);
}

int slow_call_lazy(struct wasm_regs *g)
{
    struct wasm_instance *instance = g->x->instance;
    const union wasm_word *entry =
        entry_of(g, instance->module, instance->program, g->p[1].imm);
    if (!entry)
        return settled(g, STEP_TRAP);
    union wasm_value *record = g->R + g->p[1].c;
    record[0].ref = (void *)(uintptr_t)(g->p + CALL_WORDS);
    record[1].ref = g->R;
    g->R += g->p[1].a;
    g->p = entry;
    return STEP_JUMPED;
}

/* The function that an index operand names, checked against the type; NULL after noting a trap. */
static struct wasm_func *table_callee(struct wasm_regs *g)
{
    const struct wasm_table *table = g->x->instance->tables[g->p[3].u64];
    const union wasm_value *operand = g->R + g->p[1].b;
    uint64_t index = table->limits.is64 ? operand->i64 : operand->i32;
    if (index >= table->size) {
        g->x->trap = TRAP_ELEMENT;
        return NULL;
    }
    struct wasm_func *func = table->items[index];
    if (!func)
        g->x->trap = TRAP_NULL_ELEMENT;
    else if (!wasm_def_type_matches(func->type, g->x->types[(uint32_t)g->p[2].target]))
        g->x->trap = TRAP_SIGNATURE;
    else
        return func;
    return NULL;
}

static bool charge_call(struct wasm_regs *g)
{
    if (g->fuel < g->p[2].charge)
        return false;
    g->fuel -= g->p[2].charge;
    return true;
}

int slow_call_table(struct wasm_regs *g)
{
    if (!charge_call(g))
        return STEP_FUEL_CALL;
    struct wasm_func *func = table_callee(g);
    if (!func)
        return settled(g, STEP_TRAP);
    return settled(g, wasm_call_any(g, func, g->R + g->p[1].a, g->p + CALL_TABLE_WORDS));
}

/* Replaces the running frame, whose record is at slot c, by a call of `func`. */
static int replace_frame(struct wasm_regs *g, struct wasm_func *func)
{
    struct wasm_thread *x = g->x;
    union wasm_value *Q = g->R;
    const union wasm_value *record = g->R + g->p[1].c, *arguments = g->R + g->p[1].a;
    const union wasm_word *ret = record[0].ref;
    union wasm_value *caller = record[1].ref;
    memmove(Q, arguments, func->param_slots * sizeof *Q);
    if (ret == wasm_switch_code && func->instance && func->instance != x->instance) {
        /* Our switch frame serves the callee too: the results have the same types. */
        const union wasm_word *entry = entry_of(g, func->instance->module,
                                                func->instance->program, func->index);
        if (!entry)
            return STEP_TRAP;
        caller[3].ref = func;
        wasm_thread_enter(x, func->instance);
        reload_memory(g);
        union wasm_value *new_record = Q + func->param_slots;
        new_record[0].ref = (void *)(uintptr_t)ret;
        new_record[1].ref = caller;
        g->p = entry;
        return STEP_JUMPED;
    }
    g->R = caller;
    const union wasm_word *call = g->p;
    int step = wasm_call_any(g, func, Q, ret);
    if (step == STEP_TRAP && g->p == call)
        g->R = Q; /* for the back trace */
    return step;
}

int slow_return_call(struct wasm_regs *g)
{
    if (!charge_call(g))
        return STEP_FUEL_CALL;
    const struct wasm_instance *instance = g->x->instance;
    uint32_t index = g->p[1].imm;
    if (index < instance->module->func_import_count)
        return settled(g, replace_frame(g, instance->imports[index]));
    const struct wasm_module *module = instance->module;
    const struct wasm_def_type *def = module->types[module->funcs[index].type_index];
    const struct wasm_functype *type = &def->func;
    struct wasm_func func = {
        .type = def,
        .instance = g->x->instance,
        .entry = &instance->program->entries[index],
        .index = index,
        .param_slots = (uint16_t)wasm_type_slots(type->params, type->param_count),
        .result_slots = (uint16_t)wasm_type_slots(type->results, type->result_count)};
    return settled(g, replace_frame(g, &func));
}

int slow_return_call_table(struct wasm_regs *g)
{
    if (!charge_call(g))
        return STEP_FUEL_CALL;
    struct wasm_func *func = table_callee(g);
    return settled(g, func ? replace_frame(g, func) : STEP_TRAP);
}

int slow_return_call_ref(struct wasm_regs *g)
{
    if (!charge_call(g))
        return STEP_FUEL_CALL;
    struct wasm_func *func = g->R[g->p[1].b].ref;
    return settled(g, func ? replace_frame(g, func) : trap(g, TRAP_NULL_FUNC));
}

/* ---- exceptions -------------------------------------------------------------------------- */

/* Writes what the clause wants to its slots and goes to its landing pad. */
static void land(struct wasm_regs *g, const struct wasm_code *code,
                 const struct wasm_code_catch *catch, struct wasm_exception *exception)
{
    union wasm_value *to = g->R + catch->slot;
    if (catch->kind == WASM_CATCH || catch->kind == WASM_CATCH_REF) {
        const struct wasm_functype *type = &exception->tag->type->func;
        uint32_t slots = wasm_type_slots(type->params, type->param_count);
        memcpy(to, exception->values, slots * sizeof *to);
        to += slots;
    }
    if (catch->kind == WASM_CATCH_REF || catch->kind == WASM_CATCH_ALL_REF)
        to->ref = exception;
    g->p = code->words + catch->target;
}

/* Unwinds from the instruction that contains `p` in frame g->R. STEP_TRAP, with g as it was, when
 * nobody catches. */
static int unwind(struct wasm_regs *g, struct wasm_exception *exception)
{
    struct wasm_thread *x = g->x;
    struct wasm_regs start = *g;
    struct wasm_instance *instance = x->instance;
    const union wasm_word *p = g->p;
    for (;;) {
        const struct wasm_code *code =
            instance ? wasm_code_find(instance->module, p) : NULL;
        if (!code)
            break; /* the bottom, or a host function that called back */
        uint32_t at = (uint32_t)(p - code->words);
        for (uint32_t i = 0; i < code->catch_count; i++) {
            const struct wasm_code_catch *catch = &code->catches[i];
            if (at < catch->start || at >= catch->end ||
                (catch->kind <= WASM_CATCH_REF && instance->tags[catch->tag] != exception->tag))
                continue;
            if (instance != x->instance) {
                wasm_thread_enter(x, instance);
                reload_memory(g);
            }
            land(g, code, catch, exception);
            return STEP_JUMPED;
        }
        const union wasm_value *record = g->R + code->record_slot;
        p = record[0].ref;
        g->R = record[1].ref;
        if (p == wasm_switch_code) {
            const union wasm_value *Q = g->R;
            p = Q[0].ref;
            instance = Q[2].ref;
            g->R = Q[1].ref;
        }
        if (p == wasm_halt_code || p == wasm_host_return_code)
            break;
        p--; /* inside the call */
    }
    *g = start;
    return trap(g, TRAP_EXCEPTION);
}

int slow_throw(struct wasm_regs *g)
{
    const struct wasm_tag *tag = g->x->instance->tags[g->p[1].imm];
    const union wasm_value *values = g->R + g->p[1].a;
    uint32_t slots = wasm_type_slots(tag->type->func.params, tag->type->func.param_count);
    g->x->live_end = g->R + g->p[1].a + slots;
    struct wasm_exception *exception =
        wasm_heap_alloc(g->x->store, &wasm_exception_object_type,
                        sizeof *exception + slots * sizeof(union wasm_value));
    if (!exception)
        return trap(g, TRAP_OUT_OF_MEMORY);
    exception->tag = tag;
    memcpy(exception->values, values, slots * sizeof(union wasm_value));
    g->fuel -= g->p[2].charge;
    return settled(g, unwind(g, exception));
}

int slow_throw_ref(struct wasm_regs *g)
{
    struct wasm_exception *exception = g->R[g->p[1].a].ref;
    if (!exception)
        return trap(g, TRAP_NULL_EXCEPTION);
    g->fuel -= (int32_t)g->p[1].imm;
    return settled(g, unwind(g, exception));
}
