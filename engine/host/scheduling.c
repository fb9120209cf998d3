/* pie:core/scheduling. */
#include "engine/host/impl.h"

#include "engine/sched/sched.h"

enum comp_host_result host_scheduling_price(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_f64(sched_price(host_proc(call)->env->model.sched));
    return COMP_HOST_DONE;
}

enum comp_host_result host_scheduling_rent(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)call;
    (void)user;
    const struct host_context *context = args[0].of.rep;
    *result = comp_f64(context->sched == NULL ? 0.0 : sched_rent(context->sched));
    return COMP_HOST_DONE;
}

enum comp_host_result host_scheduling_dividend(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_f64(sched_dividend(host_proc(call)->owner));
    return COMP_HOST_DONE;
}

enum comp_host_result host_scheduling_latency(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_f64(sched_latency(host_proc(call)->env->model.sched));
    return COMP_HOST_DONE;
}

enum comp_host_result host_scheduling_balance(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    *result = comp_f64(sched_balance(host_proc(call)->owner));
    return COMP_HOST_DONE;
}
