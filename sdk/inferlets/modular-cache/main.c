/* modular-cache: the system message is a module: computed and saved under a name by the first run,
 * and opened by that and all later ones, which compute only the question. */
#include "inferlet.h"

/* Computes the module and saves it. */
static bool make(const struct pie_model *model, const char *name, struct pie_text system)
{
    struct pie_context module;
    struct pie_tokens ids = {0};
    pie_chat_system(model, system, &ids);
    if (!pie_context_open(&module, model))
        return false;
    pie_context_queue(&module, ids.ids, ids.count);
    bool ok = pie_context_flush(&module) && pie_context_save(&module, name);
    pie_context_close(&module);
    pie_tokens_free(&ids);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_generation generation = {.chat = true};
    struct pie_buf system = {0};
    struct pie_buf prompt = {0};
    struct pie_buf name = {0};
    bool forget;
    bool found;
    if (!pie_param_text(input, "system", "You are a helpful assistant.", &system) ||
        !pie_param_text(input, "prompt", "What is the capital of France?", &prompt) ||
        !pie_param_text(input, "name", "modular-cache", &name) ||
        !pie_param_u32(input, "max_tokens", 64, &generation.max_tokens) ||
        !pie_param_bool(input, "forget", false, &forget) || !pie_model_open(&model, NULL))
        return false;
    pie_buf_append(&name, "", 1);
    struct pie_text text = {system.data, system.bytes};
    found = pie_context_open_saved(&context, &model, name.data);
    if (!found && (!make(&model, name.data, text) ||
                   !pie_context_open_saved(&context, &model, name.data)))
        return false;
    uint32_t opened = context.fed;
    pie_chat_ask(&context, text, (struct pie_text){prompt.data, prompt.bytes});
    if (!pie_generate(&context, &generation, output, NULL))
        return false;
    pie_buf_puts(output, "\n");
    pie_buf_put_u64(output, opened);
    pie_buf_puts(output, found ? " tokens opened, saved by an earlier run"
                               : " tokens opened, saved by this run");
    bool ok = !forget || pie_context_delete_saved(&model, name.data);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_buf_free(&system);
    pie_buf_free(&prompt);
    pie_buf_free(&name);
    return ok;
}
