/* pie:instruct/chat. */
#include "engine/host/impl.h"

#include "engine/chat/chat.h"

typedef enum err (*turn_fn)(const struct chat *chat, const char *text, size_t bytes,
                            struct tok_ids *ids, struct report *report);
typedef enum err (*mark_fn)(const struct chat *chat, struct tok_ids *ids, struct report *report);

static enum comp_host_result give(struct comp_host_call *call, enum err err, struct tok_ids *ids,
                                  const struct report *report, struct comp_value *result)
{
    if (err == ERR_OK)
        return host_ids(call, ids, result);
    tok_ids_deinit(ids);
    return host_trap_report(call, report);
}

static enum comp_host_result turn(struct comp_host_call *call, const struct comp_value *args,
                                  turn_fn fn, struct comp_value *result)
{
    const struct proc_model *model = args[0].of.rep;
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = fn(model->chat, args[1].of.string.data, args[1].of.string.bytes, &ids, &report);
    return give(call, err, &ids, &report, result);
}

static enum comp_host_result mark(struct comp_host_call *call, const struct comp_value *args,
                                  mark_fn fn, struct comp_value *result)
{
    const struct proc_model *model = args[0].of.rep;
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = fn(model->chat, &ids, &report);
    return give(call, err, &ids, &report, result);
}

enum comp_host_result host_chat_system(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    (void)user;
    return turn(call, args, chat_system, result);
}

enum comp_host_result host_chat_first_user(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)user;
    return turn(call, args, chat_first_user, result);
}

enum comp_host_result host_chat_user(struct comp_host_call *call, const struct comp_value *args,
                                     struct comp_value *result, void *user)
{
    (void)user;
    return turn(call, args, chat_user, result);
}

enum comp_host_result host_chat_assistant(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    return turn(call, args, chat_assistant, result);
}

enum comp_host_result host_chat_system_user(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = chat_system_user(model->chat, args[1].of.string.data, args[1].of.string.bytes,
                                    args[2].of.string.data, args[2].of.string.bytes, &ids, &report);
    return give(call, err, &ids, &report, result);
}

enum comp_host_result host_chat_cue(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    (void)user;
    return mark(call, args, chat_cue, result);
}

enum comp_host_result host_chat_seal(struct comp_host_call *call, const struct comp_value *args,
                                     struct comp_value *result, void *user)
{
    (void)user;
    return mark(call, args, chat_seal, result);
}

enum comp_host_result host_chat_stop_tokens(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)call;
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    size_t count;
    const uint32_t *ids = chat_stop_tokens(model->chat, &count);
    *result = comp_list_packed(ids, count);
    return COMP_HOST_DONE;
}

enum comp_host_result host_chat_create_decoder(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct chat_decoder *decoder;
    struct report report = {0};
    enum err err = chat_decoder_create(model->chat, &host_proc(call)->heap, &decoder, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_own(decoder);
    return COMP_HOST_DONE;
}

void host_chat_drop(void *host, void *rep)
{
    (void)host;
    chat_decoder_destroy(rep);
}

enum comp_host_result host_chat_feed(struct comp_host_call *call, const struct comp_value *args,
                                     struct comp_value *result, void *user)
{
    (void)user;
    struct chat_event event;
    struct report report = {0};
    enum err err = chat_decoder_feed(args[0].of.rep, args[1].of.list.data, args[1].of.list.count,
                                     &event, &report);
    if (err != ERR_OK)
        return host_outcome(call, err, &report, NULL, result);
    enum { DELTA, INTERRUPT, DONE }; /* the WIT's cases; nothing interrupts here */
    struct comp_value text = comp_string(event.text, event.bytes), out;
    uint32_t index = event.kind == CHAT_DELTA ? DELTA : DONE;
    if (!comp_variant(call->arena, index, &text, &out))
        return host_no_memory(call);
    return host_ok(call, &out, result);
}

enum comp_host_result host_chat_reset(struct comp_host_call *call, const struct comp_value *args,
                                      struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    chat_decoder_reset(args[0].of.rep);
    return COMP_HOST_DONE;
}
