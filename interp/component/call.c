/* Calls across the boundary: guest to host, guest to guest, embedder to guest.
 *
 * Each is a host function of the core interpreter. One that has to wait, or to call guest code,
 * returns and is called again with its restart record; nothing stays on the C stack. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/vec.h"
#include "interp/component/runtime.h"

enum { ARGS_ON_STACK = 16, ARENA_KEPT_BYTES = 256 * 1024 };

void comp_trap(struct comp_host_call *call, const char *format, ...)
{
    char text[500];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    wasm_thread_trap(call->instance->thread, "%s", text);
}

/* Forgets lifted values; memory that a large transfer took is given back. */
static void end_transfer(struct comp_instance *instance)
{
    if (instance->call_heap.used_bytes > ARENA_KEPT_BYTES)
        arena_deinit(&instance->call_arena);
    else
        arena_reset(&instance->call_arena);
}

static bool is_within(const struct comp_sub *sub, const struct comp_sub *inner)
{
    for (; inner; inner = inner->parent)
        if (inner == sub)
            return true;
    return false;
}

bool comp_call_enter(struct comp_sub *sub, const struct comp_sub *caller)
{
    for (struct comp_sub *s = sub; s; s = s->parent)
        if (!is_within(s, caller) && !s->may_enter) {
            wasm_thread_trap(sub->instance->thread, "cannot enter component instance");
            return false;
        }
    for (struct comp_sub *s = sub; s; s = s->parent)
        if (!is_within(s, caller))
            s->may_enter = false;
    return true;
}

void comp_call_leave(struct comp_sub *sub, const struct comp_sub *caller)
{
    for (struct comp_sub *s = sub; s; s = s->parent)
        if (!is_within(s, caller))
            s->may_enter = true;
}

static bool check_leave(const struct comp_sub *sub)
{
    if (!sub->may_leave)
        wasm_thread_trap(sub->instance->thread, "cannot leave component instance");
    return sub->may_leave;
}

static bool lift_params(struct comp_abi *abi, const struct comp_functype *type,
                        const union wasm_value *cells, struct comp_value *args)
{
    return comp_abi_lift(abi, type->params, type->param_count,
                         type->flat_count > COMP_FLAT_PARAMS_MAX, type->params_size,
                         type->params_align, cells, args);
}

static bool lower_params(struct comp_abi *abi, const struct comp_functype *type,
                         const struct comp_value *args, union wasm_value *cells)
{
    return comp_abi_lower(abi, type->params, type->param_count,
                          type->flat_count > COMP_FLAT_PARAMS_MAX, type->params_size,
                          type->params_align, args, cells);
}

/* The caller's result: one flat cell, or stored where its last argument points. */
static bool lower_result(struct comp_abi *abi, const struct comp_functype *type,
                         const struct comp_value *result, uint32_t pointer,
                         union wasm_value *cells)
{
    uint32_t at = 0;
    if (!type->result)
        return true;
    if (type->result->flat_count > COMP_FLAT_RESULTS_MAX)
        return comp_abi_store(abi, type->result, pointer, result);
    return comp_abi_lower_flat(abi, type->result, result, cells, &at);
}

/* The callee's result: one flat cell, or loaded from where that points. */
static bool lift_result(struct comp_abi *abi, const struct comp_functype *type,
                        const union wasm_value *cells, struct comp_value *result)
{
    uint32_t at = 0;
    if (!type->result)
        return true;
    if (type->result->flat_count > COMP_FLAT_RESULTS_MAX)
        return comp_abi_load(abi, type->result, cells[0].i32, result);
    return comp_abi_lift_flat(abi, type->result, cells, &at, result);
}

/* ---- guest to host ----------------------------------------------------------------------- */

typedef __typeof__(*((struct comp_host_call *)NULL)->state) host_state;

/* A host function that waits. Its arguments stay in the call arena, which nobody else uses while
 * the thread is suspended. */
struct waiting {
    struct comp_lowered *lowered;
    struct comp_lends lends;
    host_state state;
    struct comp_value *args;
};

static void free_waiting(struct waiting *waiting)
{
    struct comp_instance *instance = waiting->lowered->instance;
    comp_lends_end(&waiting->lends, waiting->lowered->sub);
    mem_free(&instance->heap, waiting);
}

static void abandon_waiting(void *data)
{
    struct waiting *waiting = data;
    if (waiting->state.on_abandon)
        waiting->state.on_abandon(waiting->state.data);
    free_waiting(waiting);
}

static bool begin_wait(struct wasm_host_call *call, struct comp_lowered *lowered,
                       const struct comp_lends *lends, const host_state *state,
                       const struct comp_value *args)
{
    struct comp_instance *instance = lowered->instance;
    uint32_t count = lowered->type->param_count;
    struct waiting *waiting = mem_alloc(&instance->heap, sizeof *waiting);
    struct comp_value *copy = arena_alloc(&instance->call_arena, (count + 1) * sizeof *copy);
    if (!waiting || !copy) {
        mem_free(&instance->heap, waiting);
        return false;
    }
    if (count)
        memcpy(copy, args, count * sizeof *copy);
    *waiting = (struct waiting){lowered, *lends, *state, copy};
    call->state->step = 1;
    call->state->data = waiting;
    call->state->on_abandon = abandon_waiting;
    return true;
}

static enum wasm_host_result finish_host(struct wasm_host_call *call, struct comp_lowered *lowered,
                                         const struct comp_value *result)
{
    struct comp_abi abi;
    comp_abi_init(&abi, lowered->sub, lowered->options);
    if (lowered->type->has_resource &&
        !comp_flight_add_value(lowered->sub, lowered->type->result, result))
        return WASM_HOST_TRAP;
    uint32_t pointer = lowered->sig.param_count
                           ? call->values[lowered->sig.param_count - 1].i32 : 0;
    bool ok = lower_result(&abi, lowered->type, result, pointer, call->values);
    end_transfer(lowered->instance);
    if (!ok)
        return WASM_HOST_TRAP;
    comp_flight_end(lowered->instance);
    return WASM_HOST_DONE;
}

static enum wasm_host_result call_host(struct wasm_host_call *call, void *user)
{
    struct comp_lowered *lowered = user;
    struct comp_instance *instance = lowered->instance;
    const struct comp_linker_func *host = lowered->target->host;
    const struct comp_functype *type = lowered->type;
    struct comp_value result = {0};
    enum comp_host_result outcome;

    if (call->state->step == 1) {
        struct waiting *waiting = call->state->data;
        struct comp_host_call host_call = {instance, instance->host, &instance->call_arena,
                                           &waiting->state};
        outcome = host->fn(&host_call, waiting->args, &result, host->user);
        if (outcome == COMP_HOST_WAIT)
            return WASM_HOST_WAIT;
        free_waiting(waiting);
        *call->state = (__typeof__(*call->state)){0};
    } else {
        struct comp_value on_stack[ARGS_ON_STACK], *args = on_stack;
        struct comp_lends lends = {0};
        struct comp_abi abi;
        if (!check_leave(lowered->sub))
            return WASM_HOST_TRAP;
        comp_abi_init(&abi, lowered->sub, lowered->options);
        abi.lends = &lends;
        if (type->param_count > ARGS_ON_STACK) {
            args = arena_alloc(&instance->call_arena, type->param_count * sizeof *args);
            if (!args) {
                wasm_thread_trap(instance->thread, "values of a call are too large");
                return WASM_HOST_TRAP;
            }
        }
        host_state state = {0};
        struct comp_host_call host_call = {instance, instance->host, &instance->call_arena,
                                           &state};
        if (!lift_params(&abi, type, call->values, args)) {
            comp_lends_end(&lends, lowered->sub);
            return WASM_HOST_TRAP;
        }
        comp_flight_end(instance); /* the host owns the owns now */
        outcome = host->fn(&host_call, args, &result, host->user);
        if (outcome == COMP_HOST_WAIT) {
            if (begin_wait(call, lowered, &lends, &state, args))
                return WASM_HOST_WAIT;
            if (state.on_abandon)
                state.on_abandon(state.data);
            wasm_thread_trap(instance->thread, "no memory to wait");
            outcome = COMP_HOST_TRAP;
        }
        comp_lends_end(&lends, lowered->sub);
    }
    if (outcome == COMP_HOST_TRAP)
        return WASM_HOST_TRAP;
    return finish_host(call, lowered, &result);
}

static enum wasm_host_result call_missing(struct wasm_host_call *call, void *user)
{
    const struct comp_lowered *lowered = user;
    wasm_thread_trap(call->thread, "%s", lowered->target->text);
    return WASM_HOST_TRAP;
}

/* ---- guest to guest ---------------------------------------------------------------------- */

enum { STEP_CALLED = 1, STEP_POST_RETURN };

struct crossing {
    struct comp_lowered *lowered;
    struct comp_task task;
    struct comp_lends lends;
    union wasm_value result;
    uint32_t pointer;
};

static void free_crossing(void *data)
{
    struct crossing *crossing = data;
    comp_lends_end(&crossing->lends, crossing->lowered->sub);
    mem_free(&crossing->lowered->instance->heap, crossing);
}

static enum wasm_host_result trap_crossing(struct wasm_host_call *call, struct crossing *crossing)
{
    free_crossing(crossing);
    *call->state = (__typeof__(*call->state)){0};
    return WASM_HOST_TRAP;
}

static bool end_task(struct comp_sub *sub, const struct comp_task *task)
{
    if (task->borrow_count)
        wasm_thread_trap(sub->instance->thread,
                         "borrow handles still remain at the end of the call");
    return task->borrow_count == 0;
}

static enum wasm_host_result finish_guest(struct wasm_host_call *call, struct crossing *crossing)
{
    struct comp_sub *callee = crossing->lowered->target->sub;
    if (!end_task(callee, &crossing->task))
        return trap_crossing(call, crossing);
    comp_call_leave(callee, crossing->lowered->sub);
    call->values[0] = crossing->result;
    free_crossing(crossing);
    *call->state = (__typeof__(*call->state)){0};
    return WASM_HOST_DONE;
}

static enum wasm_host_result begin_guest(struct wasm_host_call *call, struct comp_lowered *lowered)
{
    struct comp_instance *instance = lowered->instance;
    const struct comp_func *target = lowered->target;
    struct comp_value on_stack[ARGS_ON_STACK], *args = on_stack;
    if (!check_leave(lowered->sub) || !comp_call_enter(target->sub, lowered->sub))
        return WASM_HOST_TRAP;
    if (lowered->type->param_count > ARGS_ON_STACK)
        args = arena_alloc(&instance->call_arena, lowered->type->param_count * sizeof *args);
    struct crossing *crossing = mem_calloc(&instance->heap, 1, sizeof *crossing);
    if (!args || !crossing) {
        mem_free(&instance->heap, crossing);
        wasm_thread_trap(instance->thread, "no memory for a call between components");
        return WASM_HOST_TRAP;
    }
    crossing->lowered = lowered;
    if (lowered->sig.param_count)
        crossing->pointer = call->values[lowered->sig.param_count - 1].i32;
    struct comp_abi from, to;
    comp_abi_init(&from, lowered->sub, lowered->options);
    from.lends = &crossing->lends;
    if (!lift_params(&from, lowered->type, call->values, args))
        return trap_crossing(call, crossing);
    comp_abi_init(&to, target->sub, &target->options);
    to.task = &crossing->task;
    if (!lower_params(&to, target->type, args, call->values))
        return trap_crossing(call, crossing);
    comp_flight_end(instance);
    end_transfer(instance);
    call->state->step = STEP_CALLED;
    call->state->data = crossing;
    call->state->on_abandon = free_crossing;
    call->callee = target->core;
    return WASM_HOST_CALL;
}

static enum wasm_host_result call_guest(struct wasm_host_call *call, void *user)
{
    struct comp_lowered *lowered = user;
    const struct comp_func *target = lowered->target;
    struct crossing *crossing = call->state->data;
    if (call->state->step == 0)
        return begin_guest(call, lowered);
    if (call->state->step == STEP_POST_RETURN) {
        target->sub->may_leave = true;
        return finish_guest(call, crossing);
    }
    struct comp_value result = {0};
    struct comp_abi from, to;
    union wasm_value cells[COMP_FLAT_RESULTS_MAX];
    cells[0] = call->values[0];
    comp_abi_init(&from, target->sub, &target->options);
    if (!lift_result(&from, target->type, cells, &result))
        return trap_crossing(call, crossing);
    comp_abi_init(&to, lowered->sub, lowered->options);
    if (!lower_result(&to, lowered->type, &result, crossing->pointer, &crossing->result))
        return trap_crossing(call, crossing);
    comp_flight_end(lowered->instance);
    end_transfer(lowered->instance);
    if (!target->options.post_return)
        return finish_guest(call, crossing);
    target->sub->may_leave = false;
    call->values[0] = cells[0];
    call->callee = target->options.post_return;
    call->state->step = STEP_POST_RETURN;
    return WASM_HOST_CALL;
}

struct wasm_func *comp_call_lower(struct comp_sub *sub, const struct comp_functype *type,
                                  const struct comp_options *options,
                                  const struct comp_func *target)
{
    struct comp_lowered *lowered = arena_calloc(&sub->instance->arena, 1, sizeof *lowered);
    if (!lowered)
        return NULL;
    lowered->instance = sub->instance;
    lowered->sub = sub;
    lowered->type = type;
    lowered->options = options;
    lowered->target = target;
    comp_functype_core(type, false, &lowered->sig);
    struct wasm_functype core = {lowered->sig.param_count, lowered->sig.result_count,
                                 lowered->sig.params, lowered->sig.results};
    wasm_host_fn fn = target->kind == COMP_FUNC_HOST     ? call_host
                      : target->kind == COMP_FUNC_LIFTED ? call_guest
                                                         : call_missing;
    const char *name = target->kind == COMP_FUNC_HOST ? target->host->name : "component call";
    return wasm_func_create_host(sub->instance->store, &core, name, fn, lowered);
}

struct wasm_func *comp_call_missing(struct comp_sub *sub, const struct wasm_functype *core,
                                    const struct comp_func *target)
{
    struct comp_lowered *lowered = arena_calloc(&sub->instance->arena, 1, sizeof *lowered);
    if (!lowered)
        return NULL;
    lowered->instance = sub->instance;
    lowered->sub = sub;
    lowered->target = target;
    return wasm_func_create_host(sub->instance->store, core, "missing", call_missing, lowered);
}

/* ---- resources --------------------------------------------------------------------------- */

static enum wasm_host_result resource_new(struct wasm_host_call *call, void *user)
{
    struct comp_lowered *lowered = user;
    if (!check_leave(lowered->sub))
        return WASM_HOST_TRAP;
    uint32_t index = comp_handles_add(lowered->sub, lowered->resource,
                                      (void *)(uintptr_t)call->values[0].i32, true, NULL);
    call->values[0].i64 = index;
    return index ? WASM_HOST_DONE : WASM_HOST_TRAP;
}

static enum wasm_host_result resource_rep(struct wasm_host_call *call, void *user)
{
    struct comp_lowered *lowered = user;
    struct comp_handle *handle = comp_handles_get(lowered->sub, call->values[0].i32,
                                                  lowered->resource);
    if (!handle)
        return WASM_HOST_TRAP;
    call->values[0].i64 = (uint32_t)(uintptr_t)handle->rep;
    return WASM_HOST_DONE;
}

static enum wasm_host_result resource_drop(struct wasm_host_call *call, void *user)
{
    struct comp_lowered *lowered = user;
    const struct comp_resource *resource = lowered->resource;
    if (call->state->step == 1) {
        comp_call_leave(resource->impl, lowered->sub);
        *call->state = (__typeof__(*call->state)){0};
        return WASM_HOST_DONE;
    }
    uint32_t index = call->values[0].i32;
    if (!check_leave(lowered->sub))
        return WASM_HOST_TRAP;
    struct comp_handle *handle = comp_handles_get(lowered->sub, index, resource);
    if (!handle)
        return WASM_HOST_TRAP;
    if (handle->lends) {
        wasm_thread_trap(call->thread, "cannot remove owned resource while borrowed");
        return WASM_HOST_TRAP;
    }
    struct comp_handle copy = *handle;
    comp_handles_remove(lowered->sub, index);
    if (!copy.is_own) {
        if (copy.scope)
            copy.scope->borrow_count--;
        return WASM_HOST_DONE;
    }
    if (resource->drop)
        resource->drop(lowered->instance->host, copy.rep);
    if (!resource->impl)
        return WASM_HOST_DONE;
    if (!comp_call_enter(resource->impl, lowered->sub))
        return WASM_HOST_TRAP;
    if (!resource->destructor) {
        comp_call_leave(resource->impl, lowered->sub);
        return WASM_HOST_DONE;
    }
    call->values[0].i64 = (uint32_t)(uintptr_t)copy.rep;
    call->callee = resource->destructor;
    call->state->step = 1;
    return WASM_HOST_CALL;
}

struct wasm_func *comp_call_resource(struct comp_sub *sub, enum comp_step_kind kind,
                                     const struct comp_resource *resource)
{
    static const uint32_t i32[] = {WASM_I32};
    struct comp_lowered *lowered = arena_calloc(&sub->instance->arena, 1, sizeof *lowered);
    if (!lowered)
        return NULL;
    lowered->instance = sub->instance;
    lowered->sub = sub;
    lowered->resource = resource;
    bool is_drop = kind == COMP_STEP_RESOURCE_DROP;
    struct wasm_functype core = {1, is_drop ? 0 : 1, i32, i32};
    return wasm_func_create_host(sub->instance->store, &core,
                                 is_drop ? "resource.drop"
                                 : kind == COMP_STEP_RESOURCE_NEW ? "resource.new"
                                                                  : "resource.rep",
                                 is_drop ? resource_drop
                                 : kind == COMP_STEP_RESOURCE_NEW ? resource_new
                                                                  : resource_rep,
                                 lowered);
}

/* ---- embedder to guest ------------------------------------------------------------------- */

enum wasm_host_result comp_call_root(struct wasm_host_call *call, void *user)
{
    struct comp_instance *instance = user;
    const struct comp_func *callee = instance->callee;
    struct comp_abi abi;
    if (call->state->step == 0) {
        instance->root_task = (struct comp_task){0};
        if (!comp_call_enter(callee->sub, NULL))
            return WASM_HOST_TRAP;
        comp_abi_init(&abi, callee->sub, &callee->options);
        abi.task = &instance->root_task;
        for (uint32_t i = 0; callee->type->has_resource && i < callee->type->param_count; i++)
            if (!comp_flight_add_value(callee->sub, callee->type->params[i].type,
                                       &instance->args[i]))
                return WASM_HOST_TRAP;
        if (!lower_params(&abi, callee->type, instance->args, call->values))
            return WASM_HOST_TRAP;
        comp_flight_end(instance);
        call->callee = callee->core;
        call->state->step = STEP_CALLED;
        return WASM_HOST_CALL;
    }
    if (call->state->step == STEP_CALLED) {
        union wasm_value cell = call->values[0];
        comp_abi_init(&abi, callee->sub, &callee->options);
        abi.arena = &instance->root_arena;
        if (!lift_result(&abi, callee->type, &cell, &instance->result))
            return WASM_HOST_TRAP;
        comp_flight_end(instance);
        if (callee->options.post_return) {
            callee->sub->may_leave = false;
            call->values[0] = cell;
            call->callee = callee->options.post_return;
            call->state->step = STEP_POST_RETURN;
            return WASM_HOST_CALL;
        }
    } else {
        callee->sub->may_leave = true;
    }
    if (!end_task(callee->sub, &instance->root_task))
        return WASM_HOST_TRAP;
    comp_call_leave(callee->sub, NULL);
    return WASM_HOST_DONE;
}
