/* pie:core/context.
 *
 * Operations and counts of a context with unfinished passes would depend on timing, so they wait
 * until all its passes are complete. A handle stays usable after `destroy`: functions with an err
 * arm say so, and dropping it is nothing special. */
#include "engine/host/impl.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/sched/sched.h"

struct host_context *host_context_ref(struct host_context *context)
{
    context->refs++;
    return context;
}

void host_context_unref(struct host_context *context)
{
    CHECK(context->refs > 0);
    if (--context->refs != 0)
        return;
    sched_context_destroy(context->sched);
    mem_free(&context->proc->heap, context);
}

void host_context_drop(void *host, void *rep)
{
    (void)host;
    host_context_unref(rep);
}

/* Takes `sched`. */
static enum comp_host_result give_context(struct comp_host_call *call, struct sched_context *sched,
                                          struct comp_value *result)
{
    struct host_context *context = mem_calloc(&host_proc(call)->heap, 1, sizeof *context);
    if (context == NULL) {
        sched_context_destroy(sched);
        return host_error(call, "out of memory for a context", result);
    }
    *context = (struct host_context){.refs = 1,
                                     .proc = host_proc(call),
                                     .sched = sched,
                                     .length = kv_length(sched_context_kv(sched))};
    struct comp_value handle = comp_own(context);
    enum comp_host_result done = host_ok(call, &handle, result);
    if (done != COMP_HOST_DONE)
        host_context_unref(context);
    return done;
}

enum comp_host_result host_context_create(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)args;
    (void)user;
    struct sched_context *sched;
    struct report report = {0};
    enum err err = sched_context_create(host_proc(call)->owner, &sched, &report);
    return err == ERR_OK ? give_context(call, sched, result)
                         : host_outcome(call, err, &report, NULL, result);
}

static enum comp_host_result open_snapshot(struct comp_host_call *call,
                                           const struct comp_value *name, bool take,
                                           struct comp_value *result)
{
    struct proc *proc = host_proc(call);
    struct sched_context *sched;
    struct report report = {0};
    enum err err = sched_context_open(proc->owner, proc->username, name->of.string.data,
                                      name->of.string.bytes, take, &sched, &report);
    return err == ERR_OK ? give_context(call, sched, result)
                         : host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_context_open(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    return open_snapshot(call, &args[1], false, result);
}

enum comp_host_result host_context_take(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    return open_snapshot(call, &args[1], true, result);
}

enum comp_host_result host_context_delete(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    struct report report = {0};
    enum err err = kv_snapshot_delete(sched_pool(proc->env->model.sched), proc->username,
                                      args[1].of.string.data, args[1].of.string.bytes, &report);
    return host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_context_destroy(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)call;
    (void)result;
    (void)user;
    struct host_context *context = args[0].of.rep;
    sched_context_destroy(context->sched);
    context->sched = NULL;
    return COMP_HOST_DONE;
}

/* All passes of the context are complete; false: the process waits, and looks again then. */
static bool settled(struct comp_host_call *call, struct host_context *context)
{
    if (!sched_context_settle(context->sched, proc_wake, host_proc(call)))
        return false;
    context->length = kv_length(sched_context_kv(context->sched));
    return true;
}

/* ---- functions with an err arm ------------------------------------------------------------ */

enum comp_host_result host_context_fork(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return host_error(call, HOST_CONTEXT_DESTROYED, result);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    struct sched_context *child;
    struct report report = {0};
    enum err err = sched_context_fork(context->sched, &child, &report);
    return err == ERR_OK ? give_context(call, child, result)
                         : host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_context_save(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return host_error(call, HOST_CONTEXT_DESTROYED, result);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    char made[40];
    struct report report = {0};
    enum err err =
        sched_context_save(context->sched, host_proc(call)->username, args[1].of.string.data,
                           args[1].of.string.bytes, made, &report);
    return host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_context_snapshot(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)user;
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return host_error(call, HOST_CONTEXT_DESTROYED, result);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    char made[40];
    struct report report = {0};
    enum err err =
        sched_context_save(context->sched, host_proc(call)->username, NULL, 0, made, &report);
    if (err != ERR_OK)
        return host_outcome(call, err, &report, NULL, result);
    char *name = arena_strdup(call->arena, made, strlen(made));
    if (name == NULL)
        return host_no_memory(call);
    struct comp_value payload = comp_string(name, strlen(name));
    return host_ok(call, &payload, result);
}

typedef enum err (*change_fn)(struct kv_context *context, uint32_t count, struct report *report);

static enum comp_host_result change(struct comp_host_call *call, const struct comp_value *args,
                                    change_fn fn, struct comp_value *result)
{
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return host_error(call, HOST_CONTEXT_DESTROYED, result);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    struct report report = {0};
    enum err err = fn(sched_context_kv(context->sched), (uint32_t)args[1].of.u, &report);
    return host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_context_commit_working_pages(struct comp_host_call *call,
                                                        const struct comp_value *args,
                                                        struct comp_value *result, void *user)
{
    (void)user;
    return change(call, args, kv_commit, result);
}

enum comp_host_result host_context_reserve_working_pages(struct comp_host_call *call,
                                                         const struct comp_value *args,
                                                         struct comp_value *result, void *user)
{
    (void)user;
    return change(call, args, kv_reserve, result);
}

enum comp_host_result host_context_suspend(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)user;
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return host_error(call, HOST_CONTEXT_DESTROYED, result);
    struct report report = {0};
    enum err err = sched_context_suspend(context->sched, &report);
    return host_outcome(call, err, &report, NULL, result);
}

/* ---- functions without one ---------------------------------------------------------------- */

static enum comp_host_result trap_destroyed(struct comp_host_call *call)
{
    comp_trap(call, HOST_CONTEXT_DESTROYED);
    return COMP_HOST_TRAP;
}

static enum comp_host_result shrink(struct comp_host_call *call, const struct comp_value *args,
                                    change_fn fn)
{
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return trap_destroyed(call);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    struct report report = {0};
    enum err err = fn(sched_context_kv(context->sched), (uint32_t)args[1].of.u, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    context->length = kv_length(sched_context_kv(context->sched));
    return COMP_HOST_DONE;
}

enum comp_host_result host_context_release_working_pages(struct comp_host_call *call,
                                                         const struct comp_value *args,
                                                         struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    return shrink(call, args, kv_release);
}

enum comp_host_result host_context_truncate_working_page_tokens(struct comp_host_call *call,
                                                                const struct comp_value *args,
                                                                struct comp_value *result,
                                                                void *user)
{
    (void)result;
    (void)user;
    return shrink(call, args, kv_truncate);
}

static enum comp_host_result count(struct comp_host_call *call, const struct comp_value *args,
                                   uint32_t (*fn)(const struct kv_context *context),
                                   struct comp_value *result)
{
    struct host_context *context = args[0].of.rep;
    if (context->sched == NULL)
        return trap_destroyed(call);
    if (!settled(call, context))
        return COMP_HOST_WAIT;
    *result = comp_u32(fn(sched_context_kv(context->sched)));
    return COMP_HOST_DONE;
}

enum comp_host_result host_context_committed_page_count(struct comp_host_call *call,
                                                        const struct comp_value *args,
                                                        struct comp_value *result, void *user)
{
    (void)user;
    return count(call, args, kv_committed_pages, result);
}

enum comp_host_result host_context_working_page_count(struct comp_host_call *call,
                                                      const struct comp_value *args,
                                                      struct comp_value *result, void *user)
{
    (void)user;
    return count(call, args, kv_working_pages, result);
}

enum comp_host_result host_context_working_page_token_count(struct comp_host_call *call,
                                                            const struct comp_value *args,
                                                            struct comp_value *result, void *user)
{
    (void)user;
    return count(call, args, kv_working_tokens, result);
}

enum comp_host_result host_context_tokens_per_page(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_u32(host_proc(call)->env->model.page_tokens);
    return COMP_HOST_DONE;
}

enum comp_host_result host_context_model(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_own(&host_proc(call)->env->model);
    return COMP_HOST_DONE;
}

enum comp_host_result host_context_bid(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    struct host_context *context = args[0].of.rep;
    if (context->sched != NULL)
        sched_context_bid(context->sched, args[1].of.f64);
    return COMP_HOST_DONE;
}
