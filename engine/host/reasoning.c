/* pie:instruct/reasoning. */
#include "engine/host/impl.h"

#include "engine/chat/chat.h"

enum comp_host_result host_reasoning_create_decoder(struct comp_host_call *call,
                                                    const struct comp_value *args,
                                                    struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct chat_reasoning *decoder;
    struct report report = {0};
    enum err err = chat_reasoning_create(model->chat, &host_proc(call)->heap, &decoder, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_own(decoder);
    return COMP_HOST_DONE;
}

void host_reasoning_drop(void *host, void *rep)
{
    (void)host;
    chat_reasoning_destroy(rep);
}

enum comp_host_result host_reasoning_feed(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    struct chat_reasoning_event event;
    struct report report = {0};
    enum err err = chat_reasoning_feed(args[0].of.rep, args[1].of.list.data, args[1].of.list.count,
                                       &event, &report);
    if (err != ERR_OK)
        return host_outcome(call, err, &report, NULL, result);
    enum { START, DELTA, COMPLETE }; /* the WIT's cases */
    struct comp_value text = comp_string(event.text, event.bytes), out;
    uint32_t index = event.kind == CHAT_REASONING_START   ? START
                     : event.kind == CHAT_REASONING_DELTA ? DELTA
                                                          : COMPLETE;
    if (!comp_variant(call->arena, index, index == START ? NULL : &text, &out))
        return host_no_memory(call);
    return host_ok(call, &out, result);
}

enum comp_host_result host_reasoning_reset(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)call;
    (void)result;
    (void)user;
    chat_reasoning_reset(args[0].of.rep);
    return COMP_HOST_DONE;
}
