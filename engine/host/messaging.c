/* pie:core/messaging. Topics belong to a user: "USER:TOPIC". */
#include "engine/host/impl.h"

#include <string.h>

/* The whole name in the call's arena; NULL when memory is out. */
static char *full_name(struct comp_host_call *call, const struct comp_value *topic, size_t *bytes)
{
    const char *username = host_proc(call)->username;
    size_t user_bytes = strlen(username);
    char *name = arena_alloc(call->arena, user_bytes + 1 + topic->of.string.bytes);
    if (name == NULL)
        return NULL;
    memcpy(name, username, user_bytes);
    name[user_bytes] = ':';
    if (topic->of.string.bytes != 0)
        memcpy(name + user_bytes + 1, topic->of.string.data, topic->of.string.bytes);
    *bytes = user_bytes + 1 + topic->of.string.bytes;
    return name;
}

enum comp_host_result host_messaging_push(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)result;
    (void)user;
    size_t bytes;
    char *name = full_name(call, &args[0], &bytes);
    if (name == NULL)
        return host_no_memory(call);
    struct report report = {0};
    enum err err = proc_topic_push(&host_proc(call)->env->topics, name, bytes,
                                   args[1].of.string.data, args[1].of.string.bytes, &report);
    return err == ERR_OK ? COMP_HOST_DONE : host_trap_report(call, &report);
}

enum comp_host_result host_messaging_pull(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    size_t bytes;
    char *name = full_name(call, &args[0], &bytes);
    if (name == NULL)
        return host_no_memory(call);
    struct proc *proc = host_proc(call);
    struct proc_pull *pull = proc_topic_pull(&proc->env->topics, name, bytes, proc);
    if (pull == NULL)
        return host_no_memory(call);
    *result = comp_own(pull);
    return COMP_HOST_DONE;
}

enum comp_host_result host_messaging_broadcast(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    size_t bytes;
    char *name = full_name(call, &args[0], &bytes);
    if (name == NULL)
        return host_no_memory(call);
    struct report report = {0};
    enum err err = proc_topic_broadcast(&host_proc(call)->env->topics, name, bytes,
                                        args[1].of.string.data, args[1].of.string.bytes, &report);
    return err == ERR_OK ? COMP_HOST_DONE : host_trap_report(call, &report);
}

enum comp_host_result host_messaging_subscribe(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)user;
    size_t bytes;
    char *name = full_name(call, &args[0], &bytes);
    if (name == NULL)
        return host_no_memory(call);
    struct proc *proc = host_proc(call);
    struct proc_subscription *made = proc_topic_subscribe(&proc->env->topics, name, bytes, proc);
    if (made == NULL)
        return host_no_memory(call);
    *result = comp_own(made);
    return COMP_HOST_DONE;
}

enum comp_host_result host_messaging_get(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)user;
    struct proc_message *message = proc_subscription_take(args[0].of.rep);
    *result = comp_none();
    if (message == NULL)
        return COMP_HOST_DONE;
    char *copy = arena_strdup(call->arena, message->data, message->bytes);
    struct comp_value text = comp_string(copy, message->bytes);
    proc_message_unref(message);
    if (copy == NULL || !comp_some(call->arena, text, result))
        return host_no_memory(call);
    return COMP_HOST_DONE;
}

enum comp_host_result host_messaging_unsubscribe(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    proc_subscription_end(args[0].of.rep);
    return COMP_HOST_DONE;
}

void host_messaging_drop(void *host, void *rep)
{
    (void)host;
    struct proc_subscription *subscription = rep;
    proc_subscription_end(subscription); /* a pollable may live on; messages need not come to it */
    proc_event_unref(&subscription->event);
}
