/* attention-sink: every token sees the first `sink_size` tokens and the last `window_size` ones:
 * the first hold the attention that has nowhere else to go, which keeps long outputs stable. */
#include "inferlet.h"

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_generation generation = {0};
    uint32_t sink;
    uint32_t window;
    if (!pie_param_u32(input, "max_tokens", 64, &generation.max_tokens) ||
        !pie_param_u32(input, "sink_size", 4, &sink) ||
        !pie_param_u32(input, "window_size", 32, &window))
        return false;
    if (window == 0)
        return pie_fail("parameter 'window_size' must be at least 1");
    if (!pie_chat_from_params(&model, &context, input, "prompt", "Tell me a story about a dog."))
        return false;
    bool ok = pie_generate_windowed(&context, sink, window, &generation, output);
    pie_context_close(&context);
    pie_model_close(&model);
    return ok;
}
