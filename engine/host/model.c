/* pie:core/model. A model and its tokenizer are the environment's, for every handle the same. */
#include "engine/host/impl.h"

#include <string.h>

#include "engine/base/buf.h"

void host_model_drop(void *host, void *rep)
{
    (void)host;
    (void)rep;
}

enum comp_host_result host_model_load(struct comp_host_call *call, const struct comp_value *args,
                                      struct comp_value *result, void *user)
{
    (void)user;
    struct proc_model *model = &host_proc(call)->env->model;
    const char *name = args[0].of.string.data;
    size_t bytes = args[0].of.string.bytes;
    if (bytes == strlen(model->name) && memcmp(name, model->name, bytes) == 0) {
        struct comp_value handle = comp_own(model);
        return host_ok(call, &handle, result);
    }
    struct report report = {0};
    (void)err_set(&report, ERR_NOT_FOUND, "Model '%.*s' not found; there is: '%s'",
                  (int)(bytes < 200 ? bytes : 200), name, model->name);
    return host_error(call, report.text, result);
}

enum comp_host_result host_model_tokenizer(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)call;
    (void)user;
    *result = comp_own(args[0].of.rep);
    return COMP_HOST_DONE;
}

/* No drafts but the guest's own. */
enum comp_host_result host_model_default_system_speculation(struct comp_host_call *call,
                                                            const struct comp_value *args,
                                                            struct comp_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)user;
    *result = comp_bool(false);
    return COMP_HOST_DONE;
}

enum comp_host_result host_model_encode(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct tok_ids ids = {.heap = &host_proc(call)->heap};
    struct report report = {0};
    enum err err = tok_encode(model->tok, args[1].of.string.data, args[1].of.string.bytes,
                              TOK_PARSE_SPECIALS, &ids, &report);
    if (err == ERR_OK)
        return host_ids(call, &ids, result);
    tok_ids_deinit(&ids);
    return host_trap_report(call, &report);
}

enum comp_host_result host_model_decode(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    struct buf text;
    buf_init(&text, &host_proc(call)->heap);
    struct report report = {0};
    enum err err =
        tok_decode_text(model->tok, args[1].of.list.data, args[1].of.list.count, &text, &report);
    char *copy = err == ERR_OK ? arena_strdup(call->arena, text.data, text.count) : NULL;
    struct comp_value payload = comp_string(copy, text.count);
    buf_deinit(&text);
    if (err != ERR_OK)
        return host_error(call, report.text, result);
    return copy == NULL ? host_no_memory(call) : host_ok(call, &payload, result);
}

/* tuple<list<u32>, list<list<u8>>> of `count` ids; ids NULL = 0, 1, 2, ... */
static enum comp_host_result vocabulary(struct comp_host_call *call, const struct tok *tok,
                                        const uint32_t *ids, size_t count,
                                        struct comp_value *result)
{
    uint32_t *numbers = arena_calloc(call->arena, count + 1, sizeof *numbers);
    struct comp_value *texts = arena_calloc(call->arena, count + 1, sizeof *texts);
    struct comp_value *pair = arena_calloc(call->arena, 2, sizeof *pair);
    if (numbers == NULL || texts == NULL || pair == NULL)
        return host_no_memory(call);
    for (size_t i = 0; i < count; i++) {
        const char *data = "";
        size_t bytes = 0;
        numbers[i] = ids == NULL ? (uint32_t)i : ids[i];
        (void)tok_token_bytes(tok, numbers[i], &data, &bytes);
        texts[i] = comp_list_packed(data, bytes);
    }
    pair[0] = comp_list_packed(numbers, count);
    pair[1] = comp_items(COMP_LIST, texts, count);
    *result = comp_items(COMP_TUPLE, pair, 2);
    return COMP_HOST_DONE;
}

enum comp_host_result host_model_vocabs(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    return vocabulary(call, model->tok, NULL, tok_vocab_count(model->tok), result);
}

enum comp_host_result host_model_special_tokens(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    size_t count;
    const uint32_t *ids = tok_specials(model->tok, &count);
    return vocabulary(call, model->tok, ids, count, result);
}

enum comp_host_result host_model_split_regex(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call;
    (void)user;
    const struct proc_model *model = args[0].of.rep;
    const char *regex = tok_split_regex(model->tok);
    *result = comp_string(regex, strlen(regex));
    return COMP_HOST_DONE;
}
