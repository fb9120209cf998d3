/* output-validation: the probability of each given answer: the prompt is computed once, each
 * answer scored in one pass over its tokens, and the probabilities made to sum to 1. */
#include "inferlet.h"

enum { CANDIDATES_MAX = 32 };

/* ln p of `answer` and the end of the turn after the context's tokens. */
static bool score(const struct pie_context *prompt, struct pie_text answer, double *logprob)
{
    struct pie_context context;
    struct pie_pass pass;
    struct pie_output output;
    struct pie_tokens ids = {0};
    if (!pie_context_fork(prompt, &context))
        return false;
    pie_encode(prompt->model, answer, &ids);
    uint32_t row = (uint32_t)context.queued.count - 1;
    pie_context_queue(&context, ids.ids, ids.count);
    bool ok = pie_pass_open(&pass, &context);
    if (ok) {
        for (uint32_t i = 0; i <= ids.count; i++)
            pie_pass_sample(&pass, row + i,
                            (struct pie_sampler){.kind = PIE_LOGPROB,
                                                 .token = i < ids.count
                                                              ? ids.ids[i]
                                                              : prompt->model->stops.ids[0]});
        ok = pie_pass_run(&pass, &output);
    }
    if (ok) {
        *logprob = 0;
        for (size_t i = 0; i < output.count; i++)
            *logprob += (double)output.slots[i].values[0];
        pie_output_free(&output);
    }
    pie_context_close(&context);
    pie_tokens_free(&ids);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_buf list = {0};
    struct pie_text candidates[CANDIDATES_MAX];
    double logprobs[CANDIDATES_MAX];
    size_t count = 0;
    if (!pie_param_text(input, "candidates", "The capital of France is Paris.|"
                         "The capital of France is Rome.|I like bananas.", &list) ||
        !pie_chat_from_params(&model, &context, input, "prompt",
                              "What is the capital of France?"))
        return false;
    if (model.stops.count == 0)
        return pie_fail("the model has no token that ends an answer");
    for (size_t at = 0, begin = 0; at <= list.bytes; at++)
        if (at == list.bytes || list.data[at] == '|') {
            if (count == CANDIDATES_MAX)
                return pie_fail("at most 32 candidates");
            candidates[count++] = (struct pie_text){list.data + begin, at - begin};
            begin = at + 1;
        }
    /* All but the last token is computed once; the last one gives the first logits of each. */
    uint32_t last = context.queued.ids[--context.queued.count];
    if (!pie_context_flush(&context))
        return false;
    pie_context_queue(&context, &last, 1);
    double highest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!score(&context, candidates[i], &logprobs[i]))
            return false;
        highest = i == 0 || logprobs[i] > highest ? logprobs[i] : highest;
    }
    double mass = 0;
    for (size_t i = 0; i < count; i++)
        mass += pie_exp(logprobs[i] - highest);
    for (size_t i = 0; i < count; i++) {
        pie_buf_append(output, candidates[i].data, candidates[i].bytes);
        pie_buf_puts(output, " ");
        pie_buf_put_f64(output, pie_exp(logprobs[i] - highest) / mass, 6);
        pie_buf_puts(output, "\n");
    }
    pie_context_close(&context);
    pie_model_close(&model);
    pie_buf_free(&list);
    return true;
}
