/* pie:core/inference: grammars and matchers. */
#include "engine/host/impl.h"

#include <string.h>

#include "engine/chat/chat.h"
#include "engine/grammar/gram.h"

void host_grammar_drop(void *host, void *rep)
{
    (void)host;
    gram_unref(rep);
}

void host_grammar_drop_matcher(void *host, void *rep)
{
    (void)host;
    gram_matcher_destroy(rep);
}

static enum comp_host_result from_text(struct comp_host_call *call, enum proc_grammar_kind kind,
                                       const struct comp_value *text, struct comp_value *result)
{
    struct gram *gram;
    struct report report = {0};
    enum err err = proc_grammars_get(&host_proc(call)->env->grammars, kind, text->of.string.data,
                                     text->of.string.bytes, &gram, &report);
    if (err != ERR_OK)
        return host_outcome(call, err, &report, NULL, result);
    struct comp_value handle = comp_own(gram);
    enum comp_host_result done = host_ok(call, &handle, result);
    if (done != COMP_HOST_DONE)
        gram_unref(gram);
    return done;
}

enum comp_host_result host_grammar_from_json_schema(struct comp_host_call *call,
                                                    const struct comp_value *args,
                                                    struct comp_value *result, void *user)
{
    (void)user;
    return from_text(call, PROC_GRAMMAR_JSON_SCHEMA, &args[0], result);
}

enum comp_host_result host_grammar_from_regex(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    (void)user;
    return from_text(call, PROC_GRAMMAR_REGEX, &args[0], result);
}

enum comp_host_result host_grammar_from_ebnf(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)user;
    return from_text(call, PROC_GRAMMAR_EBNF, &args[0], result);
}

enum comp_host_result host_grammar_json(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    struct gram *gram;
    struct report report = {0};
    enum err err = proc_grammars_get(&host_proc(call)->env->grammars, PROC_GRAMMAR_JSON, NULL, 0,
                                     &gram, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_own(gram);
    return COMP_HOST_DONE;
}

enum comp_host_result host_grammar_to_string(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call;
    (void)user;
    const char *text = gram_text(args[0].of.rep);
    *result = comp_string(text, strlen(text));
    return COMP_HOST_DONE;
}

enum comp_host_result host_grammar_give_matcher(struct comp_host_call *call, struct gram *gram,
                                                struct comp_value *result)
{
    struct proc *proc = host_proc(call);
    const struct proc_model *model = &proc->env->model;
    struct gram_vocab *vocab;
    struct gram_matcher *matcher = NULL;
    struct report report = {0};
    enum err err = proc_grammars_vocab(&proc->env->grammars, model->tok, &vocab, &report);
    size_t stop_count;
    const uint32_t *stops = chat_stop_tokens(model->chat, &stop_count);
    if (err == ERR_OK)
        err = gram_matcher_create(gram, vocab, stops, stop_count, &proc->heap, &matcher, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_own(matcher);
    return COMP_HOST_DONE;
}

enum comp_host_result host_grammar_create_matcher(struct comp_host_call *call,
                                                  const struct comp_value *args,
                                                  struct comp_value *result, void *user)
{
    (void)user;
    return host_grammar_give_matcher(call, args[0].of.rep, result);
}

/* Ids before one that is refused stay consumed. */
enum comp_host_result host_grammar_accept_tokens(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    (void)user;
    const uint32_t *ids = args[1].of.list.data;
    struct report report = {0};
    enum err err = ERR_OK;
    for (size_t i = 0; i < args[1].of.list.count && err == ERR_OK; i++)
        err = gram_matcher_accept(args[0].of.rep, ids[i], &report);
    return host_outcome(call, err, &report, NULL, result);
}

enum comp_host_result host_grammar_next_token_logit_mask(struct comp_host_call *call,
                                                         const struct comp_value *args,
                                                         struct comp_value *result, void *user)
{
    (void)user;
    const uint32_t *runs;
    size_t count;
    struct report report = {0};
    enum err err = gram_matcher_mask(args[0].of.rep, &runs, &count, &report);
    if (err != ERR_OK)
        return host_trap_report(call, &report);
    *result = comp_list_packed(runs, count);
    return COMP_HOST_DONE;
}

enum comp_host_result host_grammar_is_terminated(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = comp_bool(gram_matcher_is_terminated(args[0].of.rep));
    return COMP_HOST_DONE;
}

enum comp_host_result host_grammar_reset(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    gram_matcher_reset(args[0].of.rep);
    return COMP_HOST_DONE;
}
