/* beam-search: keeps the `beam_size` likeliest continuations at every step. Forks share all full
 * pages, and all beams decode in one batch. Returns the best text, its log-probability and that of
 * the greedy continuation. */
#include "inferlet.h"

enum { BEAMS_MAX = 16 };

struct beam {
    struct pie_context context;
    struct pie_tokens ids;
    double logprob;
    bool done; /* ended by a stop token */
};

struct candidate {
    uint32_t beam, token;
    double logprob;
    bool keeps; /* a done beam as it is */
};

/* Into the sorted best `size`. */
static void offer(struct candidate *best, uint32_t *count, uint32_t size, struct candidate one)
{
    uint32_t at = *count < size ? (*count)++ : size;
    if (at == size) {
        if (one.logprob <= best[size - 1].logprob)
            return;
        at = size - 1;
    }
    for (; at > 0 && best[at - 1].logprob < one.logprob; at--)
        best[at] = best[at - 1];
    best[at] = one;
}

/* One step of all beams side by side: what they could become. */
static bool expand(struct beam *beams, uint32_t count, uint32_t size, struct candidate *best,
                   uint32_t *found)
{
    struct pie_pass passes[BEAMS_MAX];
    *found = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (beams[i].done)
            continue;
        if (!pie_pass_open(&passes[i], &beams[i].context))
            return false;
        pie_pass_sample(&passes[i], (uint32_t)beams[i].context.queued.count - 1,
                        (struct pie_sampler){.kind = PIE_DIST, .temperature = 1, .k = size});
        if (!pie_pass_begin(&passes[i]))
            return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pie_output output;
        if (beams[i].done) {
            offer(best, found, size,
                  (struct candidate){.beam = i, .logprob = beams[i].logprob, .keeps = true});
            continue;
        }
        if (!pie_pass_end(&passes[i], &output))
            return false;
        for (size_t k = 0; k < output.slots[0].count; k++)
            offer(best, found, size,
                  (struct candidate){
                      .beam = i,
                      .token = output.slots[0].ids[k],
                      .logprob = beams[i].logprob + pie_ln((double)output.slots[0].values[k])});
        pie_output_free(&output);
    }
    return true;
}

static bool become(const struct beam *from, const struct candidate *candidate, struct beam *beam)
{
    *beam = (struct beam){.logprob = candidate->logprob};
    pie_tokens_append(&beam->ids, from->ids.ids, from->ids.count);
    if (!pie_context_fork(&from->context, &beam->context))
        return false;
    if (candidate->keeps) {
        beam->done = true;
        return true;
    }
    beam->done = pie_is_stop(from->context.model, candidate->token);
    if (!beam->done)
        pie_tokens_push(&beam->ids, candidate->token);
    pie_context_queue(&beam->context, &candidate->token, 1);
    return true;
}

static void close_all(struct beam *beams, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        pie_context_close(&beams[i].context);
        pie_tokens_free(&beams[i].ids);
    }
}

/* `best` becomes the likeliest of all: its context is closed. */
static bool search(const struct pie_context *prompt, uint32_t size, uint32_t max_tokens,
                   struct beam *best)
{
    struct beam beams[BEAMS_MAX] = {0};
    struct beam next[BEAMS_MAX];
    struct candidate candidates[BEAMS_MAX];
    uint32_t count = 1;
    if (!pie_context_fork(prompt, &beams[0].context))
        return false;
    for (uint32_t step = 0; step < max_tokens; step++) {
        uint32_t found;
        if (!expand(beams, count, size, candidates, &found))
            return false;
        for (uint32_t i = 0; i < found; i++)
            if (!become(&beams[candidates[i].beam], &candidates[i], &next[i]))
                return false;
        close_all(beams, count);
        __builtin_memcpy(beams, next, found * sizeof *beams);
        count = found;
    }
    *best = beams[0];
    pie_context_close(&best->context);
    close_all(beams + 1, count - 1);
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context prompt;
    struct beam best;
    struct beam greedy;
    uint32_t size;
    uint32_t max_tokens;
    if (!pie_param_u32(input, "beam_size", 4, &size) ||
        !pie_param_u32(input, "max_tokens", 32, &max_tokens))
        return false;
    if (size < 1 || size > BEAMS_MAX)
        return pie_fail("parameter 'beam_size' must be 1 to 16");
    if (!pie_chat_from_params(&model, &prompt, input, "prompt", "Tell me a story about a dog.") ||
        !search(&prompt, size, max_tokens, &best) || !search(&prompt, 1, max_tokens, &greedy))
        return false;
    if (!pie_decode(&model, best.ids.ids, best.ids.count, output))
        return false;
    pie_buf_puts(output, "\nlog-probability ");
    pie_buf_put_f64(output, best.logprob, 6);
    pie_buf_puts(output, ", greedy ");
    pie_buf_put_f64(output, greedy.logprob, 6);
    pie_tokens_free(&best.ids);
    pie_tokens_free(&greedy.ids);
    pie_context_close(&prompt);
    pie_model_close(&model);
    return true;
}
