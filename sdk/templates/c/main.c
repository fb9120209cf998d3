#include "inferlet.h"

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_generation generation;
    struct pie_model model;
    struct pie_context context;
    struct pie_tokens turns = {0};
    struct pie_buf prompt = {0};
    struct pie_buf system = {0};
    if (!pie_param_text(input, "prompt", "Hello!", &prompt) ||
        !pie_param_text(input, "system", "You are a helpful assistant.", &system) ||
        !pie_generation_from_params(&generation, input) || !pie_model_open(&model, NULL) ||
        !pie_context_open(&context, &model))
        return false;
    pie_chat_system_user(&model, (struct pie_text){system.data, system.bytes},
                         (struct pie_text){prompt.data, prompt.bytes}, &turns);
    pie_chat_cue(&model, &turns);
    pie_context_queue(&context, turns.ids, turns.count);
    return pie_generate(&context, &generation, output, NULL);
}
