/* text-completion: answers a prompt in the model's chat form, streamed. */
#include "inferlet.h"

static bool answer(const struct pie_model *model, struct pie_text input, struct pie_text system,
                   struct pie_text prompt, struct pie_buf *output)
{
    struct pie_generation generation;
    struct pie_context context;
    struct pie_tokens turns = {0};
    if (!pie_generation_from_params(&generation, input) || !pie_context_open(&context, model))
        return false;
    if (system.bytes)
        pie_chat_system_user(model, system, prompt, &turns);
    else
        pie_chat_first_user(model, prompt, &turns);
    pie_chat_cue(model, &turns);
    pie_context_queue(&context, turns.ids, turns.count);
    pie_tokens_free(&turns);
    bool ok = pie_generate(&context, &generation, output, NULL);
    pie_context_close(&context);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_buf prompt = {0};
    struct pie_buf system = {0};
    if (!pie_param_text(input, "prompt", "", &prompt) ||
        !pie_param_text(input, "system", "You are a helpful assistant.", &system))
        return false;
    if (prompt.bytes == 0)
        return pie_fail("parameter 'prompt' is missing: -- --prompt \"...\"");
    if (!pie_model_open(&model, NULL))
        return false;
    bool ok = answer(&model, input, (struct pie_text){system.data, system.bytes},
                     (struct pie_text){prompt.data, prompt.bytes}, output);
    pie_model_close(&model);
    pie_buf_free(&prompt);
    pie_buf_free(&system);
    return ok;
}
