/* speculative-decoding: prompt lookup. When the last `ngram` tokens occurred before, what followed
 * them then is the draft; one pass verifies it, and the accepted tokens are exactly those of
 * greedy decoding. The rejected ones are taken back. */
#include "inferlet.h"

enum { DRAFT_MAX = 32 };

/* The latest earlier occurrence of the last `ngram` tokens; the tokens after it. */
static size_t look_up(const struct pie_tokens *all, uint32_t ngram, uint32_t length,
                      const uint32_t **draft)
{
    if (ngram == 0 || all->count <= ngram)
        return 0;
    const uint32_t *tail = all->ids + all->count - ngram;
    for (size_t at = all->count - ngram; at-- > 0;) {
        size_t same = 0;
        while (same < ngram && all->ids[at + same] == tail[same])
            same++;
        if (same < ngram)
            continue;
        size_t follows = all->count - at - ngram;
        *draft = all->ids + at + ngram;
        return follows < length ? follows : length;
    }
    return 0;
}

/* Feeds the queued tokens and the draft; `accepted` gets the draft tokens that greedy decoding
 * would have chosen, and the one after them. */
static bool verify(struct pie_context *context, const uint32_t *draft, size_t length,
                   uint32_t *accepted, size_t *count)
{
    struct pie_pass pass;
    struct pie_output output;
    uint32_t row = (uint32_t)context->queued.count - 1;
    pie_context_queue(context, draft, length);
    if (!pie_pass_open(&pass, context))
        return false;
    for (uint32_t i = 0; i <= length; i++)
        pie_pass_sample(&pass, row + i, (struct pie_sampler){.kind = PIE_GREEDY});
    if (!pie_pass_run(&pass, &output))
        return false;
    *count = 0;
    do {
        accepted[*count] = output.slots[*count].token;
        ++*count;
    } while (*count <= length && accepted[*count - 1] == draft[*count - 1]);
    pie_output_free(&output);
    return pie_context_truncate(context, (uint32_t)(length + 1 - *count));
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_tokens all = {0};
    uint32_t max_tokens;
    uint32_t length;
    uint32_t ngram;
    uint32_t steps = 0;
    uint32_t generated = 0;
    bool done = false;
    if (!pie_param_u32(input, "max_tokens", 64, &max_tokens) ||
        !pie_param_u32(input, "draft_length", 6, &length) ||
        !pie_param_u32(input, "ngram", 2, &ngram))
        return false;
    if (length > DRAFT_MAX)
        return pie_fail("parameter 'draft_length' must be at most 32");
    if (!pie_chat_from_params(&model, &context, input, "prompt", "Count from one to ten."))
        return false;
    pie_tokens_append(&all, context.queued.ids, context.queued.count);
    size_t prompt = all.count;
    while (!done && generated < max_tokens) {
        const uint32_t *draft = NULL;
        uint32_t copy[DRAFT_MAX];
        uint32_t accepted[DRAFT_MAX + 1];
        size_t count = look_up(&all, ngram, length, &draft);
        if (count)
            __builtin_memcpy(copy, draft, count * sizeof *copy);
        if (!verify(&context, copy, count, accepted, &count))
            return false;
        steps++;
        for (size_t i = 0; i < count && !done && generated < max_tokens; i++) {
            generated++;
            done = pie_is_stop(&model, accepted[i]);
            if (!done)
                pie_tokens_push(&all, accepted[i]);
        }
        pie_context_queue(&context, &accepted[count - 1], 1);
    }
    if (!pie_decode(&model, all.ids + prompt, all.count - prompt, output))
        return false;
    pie_buf_puts(output, "\n");
    pie_buf_put_u64(output, generated);
    pie_buf_puts(output, " tokens in ");
    pie_buf_put_u64(output, steps);
    pie_buf_puts(output, " steps");
    pie_tokens_free(&all);
    pie_context_close(&context);
    pie_model_close(&model);
    return true;
}
