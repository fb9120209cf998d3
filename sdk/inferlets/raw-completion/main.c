/* raw-completion: continues a text as it is, without any chat template. */
#include "inferlet.h"

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_generation generation;
    struct pie_model model;
    struct pie_context context;
    struct pie_tokens tokens = {0};
    struct pie_buf prompt = {0};
    struct pie_buf system = {0};
    if (!pie_param_text(input, "system", "", &system) ||
        !pie_param_text(input, "prompt", "", &prompt) ||
        !pie_generation_from_params(&generation, input))
        return false;
    if (prompt.bytes == 0)
        return pie_fail("parameter 'prompt' is missing: -- --prompt \"...\"");
    generation.chat = false;
    if (!pie_model_open(&model, NULL) || !pie_context_open(&context, &model))
        return false;
    if (system.bytes) { /* plain text in front, as there is no template to put it into */
        pie_buf_puts(&system, "\n");
        pie_encode(&model, (struct pie_text){system.data, system.bytes}, &tokens);
    }
    pie_encode(&model, (struct pie_text){prompt.data, prompt.bytes}, &tokens);
    pie_context_queue(&context, tokens.ids, tokens.count);
    bool ok = pie_generate(&context, &generation, output, NULL);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_tokens_free(&tokens);
    pie_buf_free(&prompt);
    pie_buf_free(&system);
    return ok;
}
