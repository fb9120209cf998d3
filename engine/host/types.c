/* pie:core/types: values that become ready. Every waitable object begins with a proc_event, so
 * one `pollable` serves them all. */
#include "engine/host/impl.h"

enum comp_host_result host_types_pollable(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    struct wasi_pollable *pollable = proc_event_pollable(args[0].of.rep);
    if (pollable == NULL)
        return host_no_memory(call);
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

void host_types_drop_future(void *host, void *rep)
{
    (void)host;
    proc_event_unref(rep);
}

/* The message, which stays: it may be read again. */
static struct proc_message *read_pull(struct proc_pull *pull)
{
    if (pull->message != NULL)
        pull->seen = true;
    return pull->message;
}

enum comp_host_result host_types_get_string(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_message *message = read_pull(args[0].of.rep);
    *result = comp_none();
    if (message == NULL)
        return COMP_HOST_DONE;
    return comp_some(call->arena, comp_string(message->data, message->bytes), result)
               ? COMP_HOST_DONE
               : host_no_memory(call);
}

enum comp_host_result host_types_get_blob(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    const struct proc_message *message = read_pull(args[0].of.rep);
    *result = comp_none();
    if (message == NULL)
        return COMP_HOST_DONE;
    return comp_some(call->arena, comp_list_packed(message->data, message->bytes), result)
               ? COMP_HOST_DONE
               : host_no_memory(call);
}
