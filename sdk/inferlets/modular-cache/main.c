/* modular-cache: the system message is a module: computed and saved under a name by the first run,
 * opened by the following ones, which compute only the question. */
#include "inferlet.h"

static bool load_or_make(struct pie_context *module, const struct pie_model *model,
                         const char *name, struct pie_text system, bool *found)
{
    struct pie_tokens ids = {0};
    *found = pie_context_open_saved(module, model, name);
    if (*found)
        return true;
    pie_chat_system(model, system, &ids);
    if (!pie_context_open(module, model))
        return false;
    pie_context_queue(module, ids.ids, ids.count);
    pie_tokens_free(&ids);
    return pie_context_flush(module) && pie_context_save(module, name);
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context module;
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
    if (!load_or_make(&module, &model, name.data, text, &found) ||
        !pie_context_fork(&module, &context))
        return false;
    uint32_t reused = found ? context.fed : 0;
    pie_chat_ask(&context, text, (struct pie_text){prompt.data, prompt.bytes});
    if (!pie_generate(&context, &generation, output, NULL))
        return false;
    pie_buf_puts(output, "\n");
    pie_buf_put_u64(output, reused);
    pie_buf_puts(output, " tokens from the cache");
    bool ok = !forget || pie_context_delete_saved(&model, name.data);
    pie_context_close(&context);
    pie_context_close(&module);
    pie_model_close(&model);
    pie_buf_free(&system);
    pie_buf_free(&prompt);
    pie_buf_free(&name);
    return ok;
}
