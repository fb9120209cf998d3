/* pie:core/session: the client. What it sends waits in topics named after the process. */
#include "engine/host/impl.h"

#include <stdio.h>
#include <string.h>

enum comp_host_result host_session_send(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    proc_emit(host_proc(call), PROC_MESSAGE, args[0].of.string.data, args[0].of.string.bytes);
    return COMP_HOST_DONE;
}

enum comp_host_result host_session_send_file(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    proc_emit(host_proc(call), PROC_FILE, args[0].of.list.data, args[0].of.list.count);
    return COMP_HOST_DONE;
}

static enum comp_host_result receive(struct comp_host_call *call, const char *suffix,
                                     struct comp_value *result)
{
    struct proc *proc = host_proc(call);
    char name[PROC_ID_TEXT_BYTES + 8];
    (void)snprintf(name, sizeof name, "%s%s", proc->id, suffix);
    struct proc_pull *pull = proc_topic_pull(&proc->env->topics, name, strlen(name), proc);
    if (pull == NULL)
        return host_no_memory(call);
    *result = comp_own(pull);
    return COMP_HOST_DONE;
}

enum comp_host_result host_session_receive(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)args;
    (void)user;
    return receive(call, "", result);
}

enum comp_host_result host_session_receive_file(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    return receive(call, "#file", result);
}
