/* pie:core/runtime: the engine, and children. */
#include "engine/host/impl.h"

#include <string.h>

#include "engine/host/host.h"

static enum comp_host_result give_text(const char *text, struct comp_value *result)
{
    *result = comp_string(text, strlen(text));
    return COMP_HOST_DONE;
}

enum comp_host_result host_runtime_version(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)call;
    (void)args;
    (void)user;
    return give_text(HOST_PIE_VERSION, result);
}

enum comp_host_result host_runtime_instance_id(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    return give_text(host_proc(call)->id, result);
}

enum comp_host_result host_runtime_username(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    return give_text(host_proc(call)->username, result);
}

enum comp_host_result host_runtime_models(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)args;
    (void)user;
    struct comp_value *name = arena_calloc(call->arena, 1, sizeof *name);
    if (name == NULL)
        return host_no_memory(call);
    (void)give_text(host_proc(call)->env->model.name, name);
    *result = comp_items(COMP_LIST, name, 1);
    return COMP_HOST_DONE;
}

enum comp_host_result host_runtime_launch(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    char *program = arena_strdup(call->arena, args[0].of.string.data, args[0].of.string.bytes);
    struct proc_child *child = proc_child_create(proc);
    if (program == NULL || child == NULL) {
        if (child != NULL)
            proc_event_unref(&child->event);
        return host_no_memory(call);
    }
    struct report report = {0};
    enum err err = proc->env->launch(proc->env->runtime, proc, program, args[1].of.string.data,
                                     args[1].of.string.bytes, child, &report);
    struct comp_value handle = comp_own(child);
    enum comp_host_result done = host_outcome(call, err, &report, &handle, result);
    if (err != ERR_OK || done != COMP_HOST_DONE)
        proc_event_unref(&child->event);
    return done;
}

void host_runtime_drop(void *host, void *rep)
{
    (void)host;
    struct proc_child *child = rep;
    proc_event_unref(&child->event);
}

/* Once it has ended, every time the same. */
enum comp_host_result host_runtime_get(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_child *child = args[0].of.rep;
    *result = comp_none();
    if (!child->event.ready)
        return COMP_HOST_DONE;
    if (child->result == NULL)
        return host_no_memory(call);
    struct comp_value text = comp_string(child->result, child->result_bytes), outcome;
    bool good = child->failed ? comp_error(call->arena, &text, &outcome)
                              : comp_ok(call->arena, &text, &outcome);
    return good && comp_some(call->arena, outcome, result) ? COMP_HOST_DONE : host_no_memory(call);
}

enum comp_host_result host_runtime_pid(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    (void)call;
    (void)user;
    const struct proc_child *child = args[0].of.rep;
    return give_text(child->id, result);
}

enum comp_host_result host_runtime_cancel(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)result;
    (void)user;
    const struct proc_child *child = args[0].of.rep;
    struct proc_env *env = host_proc(call)->env;
    if (child->target != NULL)
        env->cancel(env->runtime, child->target, "cancelled");
    return COMP_HOST_DONE;
}
