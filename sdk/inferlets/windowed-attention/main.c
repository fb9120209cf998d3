/* windowed-attention: every token sees only the last `window_size` ones, itself among them, by an
 * attention mask. Greedy; with a window longer than the text it is the plain answer. */
#include "inferlet.h"

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_generation generation = {0};
    uint32_t window;
    if (!pie_param_u32(input, "max_tokens", 64, &generation.max_tokens) ||
        !pie_param_u32(input, "window_size", 32, &window))
        return false;
    if (window == 0)
        return pie_fail("parameter 'window_size' must be at least 1");
    if (!pie_chat_from_params(&model, &context, input, "prompt", "Tell me a story about a dog."))
        return false;
    bool ok = pie_generate_windowed(&context, 0, window, &generation, output);
    pie_context_close(&context);
    pie_model_close(&model);
    return ok;
}
