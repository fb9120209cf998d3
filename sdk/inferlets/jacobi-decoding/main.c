/* jacobi-decoding: a window of guesses is fed in one pass, and each guess replaced by what the
 * model says after the ones before it. The prefix that does not change is what greedy decoding
 * gives; the rest is the guess of the next pass. */
#include "inferlet.h"

enum { WINDOW_MAX = 32 };

/* One iteration. `guess` holds `size` tokens and becomes the next guess; the `count` settled
 * tokens are written to `settled`. */
static bool iterate(struct pie_context *context, uint32_t *guess, uint32_t size,
                    uint32_t *settled, uint32_t *count)
{
    struct pie_pass pass;
    struct pie_output output;
    uint32_t row = (uint32_t)context->queued.count - 1;
    pie_context_queue(context, guess, size);
    if (!pie_pass_open(&pass, context))
        return false;
    for (uint32_t i = 0; i <= size; i++)
        pie_pass_sample(&pass, row + i, (struct pie_sampler){.kind = PIE_GREEDY});
    if (!pie_pass_run(&pass, &output))
        return false;
    *count = 0;
    do {
        settled[*count] = output.slots[*count].token;
        ++*count;
    } while (*count <= size && settled[*count - 1] == guess[*count - 1]);
    /* The model's answers further on, where there are any, are better guesses than the old. */
    for (uint32_t i = 0; i < size; i++) {
        uint32_t from = *count + i <= size ? *count + i : size;
        guess[i] = output.slots[from].token;
    }
    pie_output_free(&output);
    return pie_context_truncate(context, size + 1 - *count);
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_tokens ids = {0};
    uint32_t guess[WINDOW_MAX];
    uint32_t settled[WINDOW_MAX + 1];
    uint32_t max_tokens;
    uint32_t size;
    uint32_t steps = 0;
    uint32_t generated = 0;
    bool done = false;
    if (!pie_param_u32(input, "max_tokens", 64, &max_tokens) ||
        !pie_param_u32(input, "window_size", 8, &size))
        return false;
    if (size > WINDOW_MAX)
        return pie_fail("parameter 'window_size' must be at most 32");
    if (!pie_chat_from_params(&model, &context, input, "prompt", "Count from one to ten."))
        return false;
    for (uint32_t i = 0; i < size; i++) /* the end of the prompt is as good as anything */
        guess[i] = context.queued.ids[context.queued.count - 1];
    while (!done && generated < max_tokens) {
        uint32_t count;
        if (!iterate(&context, guess, size, settled, &count))
            return false;
        steps++;
        for (uint32_t i = 0; i < count && !done && generated < max_tokens; i++) {
            generated++;
            done = pie_is_stop(&model, settled[i]);
            if (!done)
                pie_tokens_push(&ids, settled[i]);
        }
        pie_context_queue(&context, &settled[count - 1], 1);
    }
    if (!pie_decode(&model, ids.ids, ids.count, output))
        return false;
    pie_buf_puts(output, "\n");
    pie_buf_put_u64(output, generated);
    pie_buf_puts(output, " tokens in ");
    pie_buf_put_u64(output, steps);
    pie_buf_puts(output, " steps");
    pie_tokens_free(&ids);
    pie_context_close(&context);
    pie_model_close(&model);
    return true;
}
