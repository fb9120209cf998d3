/* pie:instruct/tool-use. */
#include "engine/host/impl.h"

#include "engine/base/buf.h"
#include "engine/chat/chat.h"
#include "engine/grammar/gram.h"

/* list<string> as chat.h takes it; NULL when memory is out. */
static struct chat_string *strings(struct comp_host_call *call, const struct comp_value *list)
{
    struct chat_string *out = arena_calloc(call->arena, list->of.list.count + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < list->of.list.count; i++)
        out[i] = (struct chat_string){list->of.list.items[i].of.string.data,
                                      list->of.list.items[i].of.string.bytes};
    return out;
}

enum comp_host_result host_tool_use_equip(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct chat_string *tools = strings(call, &args[1]);
    if (tools == NULL)
        return host_no_memory(call);
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = chat_equip(model->chat, tools, args[1].of.list.count, &ids, &report);
    struct comp_value list = {0};
    if (err != ERR_OK) {
        tok_ids_deinit(&ids);
        return host_outcome(call, err, &report, NULL, result);
    }
    enum comp_host_result done = host_ids(call, &ids, &list);
    return done == COMP_HOST_DONE ? host_ok(call, &list, result) : done;
}

enum comp_host_result host_tool_use_answer(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = chat_answer(model->chat, args[1].of.string.data, args[1].of.string.bytes,
                               args[2].of.string.data, args[2].of.string.bytes, &ids, &report);
    if (err == ERR_OK)
        return host_ids(call, &ids, result);
    tok_ids_deinit(&ids);
    return host_trap_report(call, &report);
}

enum comp_host_result host_tool_use_create_decoder(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct chat_tool_decoder *decoder;
    struct report report = {0};
    enum err err = chat_tool_decoder_create(model->chat, &host_proc(call)->heap, &decoder, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_own(decoder);
    return COMP_HOST_DONE;
}

void host_tool_use_drop(void *host, void *rep)
{
    (void)host;
    chat_tool_decoder_destroy(rep);
}

enum comp_host_result host_tool_use_feed(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)user;
    struct chat_tool_event event;
    struct report report = {0};
    enum err err = chat_tool_decoder_feed(args[0].of.rep, args[1].of.list.data,
                                          args[1].of.list.count, &event, &report);
    if (err != ERR_OK)
        return host_outcome(call, err, &report, NULL, result);
    enum { START, CALL }; /* the WIT's cases */
    struct comp_value out;
    bool good;
    if (event.kind == CHAT_TOOL_START) {
        good = comp_variant(call->arena, START, NULL, &out);
    } else {
        struct comp_value *pair = arena_calloc(call->arena, 2, sizeof *pair);
        if (pair == NULL)
            return host_no_memory(call);
        pair[0] = comp_string(event.name.data, event.name.bytes);
        pair[1] = comp_string(event.args.data, event.args.bytes);
        struct comp_value tuple = comp_items(COMP_TUPLE, pair, 2);
        good = comp_variant(call->arena, CALL, &tuple, &out);
    }
    return good ? host_ok(call, &out, result) : host_no_memory(call);
}

enum comp_host_result host_tool_use_reset(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)call;
    (void)result;
    (void)user;
    chat_tool_decoder_reset(args[0].of.rep);
    return COMP_HOST_DONE;
}

/* The grammar of calls of these tools; NULL for families that have none. */
static enum err tool_grammar(struct comp_host_call *call, const struct comp_value *args,
                             struct gram **gram, struct report *report)
{
    const struct proc_model *model = args[0].of.rep;
    *gram = NULL;
    struct chat_string *tools = strings(call, &args[1]);
    if (tools == NULL)
        return err_set(report, ERR_MEMORY, "out of memory in a host function");
    struct buf ebnf;
    bool native = false;
    buf_init(&ebnf, &host_proc(call)->heap);
    enum err err =
        chat_tool_grammar(model->chat, tools, args[1].of.list.count, &ebnf, &native, report);
    if (err == ERR_OK && native)
        err = proc_grammars_get(&host_proc(call)->env->grammars, PROC_GRAMMAR_EBNF, ebnf.data,
                                ebnf.count, gram, report);
    buf_deinit(&ebnf);
    return err;
}

enum comp_host_result host_tool_use_format(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)user;
    struct gram *gram;
    struct report report = {0};
    enum err err = tool_grammar(call, args, &gram, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_none();
    if (gram == NULL)
        return COMP_HOST_DONE;
    if (comp_some(call->arena, comp_own(gram), result))
        return COMP_HOST_DONE;
    gram_unref(gram);
    return host_no_memory(call);
}

enum comp_host_result host_tool_use_create_matcher(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    (void)user;
    struct gram *gram;
    struct report report = {0};
    enum err err = tool_grammar(call, args, &gram, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    if (gram == NULL) {
        const struct proc_model *model = args[0].of.rep;
        comp_trap(call,
                  "create-matcher: the chat format \"%s\" has no native grammar "
                  "for tool calls",
                  chat_family(model->chat));
        return COMP_HOST_TRAP;
    }
    enum comp_host_result done = host_grammar_give_matcher(call, gram, result);
    gram_unref(gram);
    return done;
}
