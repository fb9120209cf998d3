/* best-of-n: the prompt is computed once, the context forked for every candidate, all candidates
 * decode side by side, and the one that agrees most with the others wins. */
#include "inferlet.h"

enum { CANDIDATES_MAX = 64 };

struct candidate {
    struct pie_context context;
    struct pie_sampling sampling;
    struct pie_step step;
    struct pie_chat_decoder decoder;
    struct pie_buf text;
    uint32_t generated;
    bool finished;
};

static bool step_all(struct candidate *candidates, uint32_t count, uint32_t max_tokens,
                     uint32_t *live)
{
    for (uint32_t i = 0; i < count; i++)
        if (!candidates[i].finished &&
            !pie_step_begin(&candidates[i].step, &candidates[i].context, &candidates[i].sampling))
            return false;
    *live = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        uint32_t token;
        if (candidate->finished)
            continue;
        if (!pie_step_end(&candidate->step, &token) ||
            !pie_chat_decoder_feed(&candidate->decoder, &token, 1, &candidate->text,
                                   &candidate->finished))
            return false;
        if (++candidate->generated >= max_tokens)
            candidate->finished = true;
        *live += !candidate->finished;
    }
    return true;
}

/* Share of the pairs of neighbouring bytes that two texts have in common (Dice), 0 to 1. */
static double similarity(struct pie_buf a, struct pie_buf b)
{
    static uint16_t pairs[65536];
    if (a.bytes < 2 || b.bytes < 2)
        return a.bytes == b.bytes && (a.bytes == 0 || a.data[0] == b.data[0]);
    __builtin_memset(pairs, 0, sizeof pairs);
    uint32_t common = 0;
    for (size_t i = 0; i + 1 < a.bytes; i++) {
        uint16_t *pair = &pairs[(uint8_t)a.data[i] << 8 | (uint8_t)a.data[i + 1]];
        if (*pair < UINT16_MAX)
            ++*pair;
    }
    for (size_t i = 0; i + 1 < b.bytes; i++) {
        uint16_t *pair = &pairs[(uint8_t)b.data[i] << 8 | (uint8_t)b.data[i + 1]];
        if (*pair) {
            --*pair;
            common++;
        }
    }
    return 2.0 * common / (double)(a.bytes - 1 + b.bytes - 1);
}

static uint32_t most_agreed(const struct candidate *candidates, uint32_t count, double *score)
{
    uint32_t best = 0;
    *score = -1;
    for (uint32_t i = 0; i < count; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < count; j++)
            if (j != i)
                sum += similarity(candidates[i].text, candidates[j].text);
        if (sum > *score) {
            *score = sum;
            best = i;
        }
    }
    *score = count > 1 ? *score / (count - 1) : 1;
    return best;
}

static void tell(const struct candidate *candidate, uint32_t index)
{
    struct pie_buf line = {0};
    pie_buf_puts(&line, "[");
    pie_buf_put_u64(&line, index + 1);
    pie_buf_puts(&line, "] ");
    pie_buf_append(&line, candidate->text.data, candidate->text.bytes);
    pie_buf_puts(&line, "\n");
    pie_send((struct pie_text){line.data, line.bytes});
    pie_buf_free(&line);
}

static bool compete(const struct pie_model *model, struct pie_context *prompt,
                    const struct pie_generation *generation, uint32_t count,
                    struct pie_buf *output)
{
    struct candidate *candidates = pie_alloc(count * sizeof *candidates);
    uint32_t live = count;
    __builtin_memset(candidates, 0, count * sizeof *candidates);
    for (uint32_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        if (!pie_context_fork(prompt, &candidate->context))
            return false;
        candidate->sampling = generation->sampling;
        candidate->sampling.seed += (uint64_t)i << 32;
        pie_chat_decoder_open(&candidate->decoder, model);
    }
    while (live > 0)
        if (!step_all(candidates, count, generation->max_tokens, &live))
            return false;
    double score;
    uint32_t best = most_agreed(candidates, count, &score);
    for (uint32_t i = 0; i < count; i++)
        tell(&candidates[i], i);
    pie_buf_append(output, candidates[best].text.data, candidates[best].text.bytes);
    for (uint32_t i = 0; i < count; i++) {
        pie_context_close(&candidates[i].context);
        pie_chat_decoder_close(&candidates[i].decoder);
        pie_buf_free(&candidates[i].text);
    }
    pie_free(candidates);
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_generation generation;
    struct pie_model model;
    struct pie_context context;
    struct pie_tokens turns = {0};
    struct pie_buf prompt = {0};
    struct pie_buf system = {0};
    uint32_t count;
    const char *name = pie_param_has(input, "question") ? "question" : "prompt";
    if (!pie_param_text(input, name, "", &prompt) ||
        !pie_param_text(input, "system", "You are a helpful assistant.", &system) ||
        !pie_param_u32(input, "num_candidates", 4, &count) ||
        !pie_generation_from_params(&generation, input))
        return false;
    if (prompt.bytes == 0)
        return pie_fail("parameter 'prompt' is missing: -- --prompt \"...\"");
    if (count < 1 || count > CANDIDATES_MAX)
        return pie_fail("parameter 'num_candidates' must be 1 to 64");
    if (generation.max_tokens == 0)
        return pie_fail("parameter 'max_tokens' must be at least 1");
    if (!pie_model_open(&model, NULL) || !pie_context_open(&context, &model))
        return false;
    pie_chat_system_user(&model, (struct pie_text){system.data, system.bytes},
                         (struct pie_text){prompt.data, prompt.bytes}, &turns);
    pie_chat_cue(&model, &turns);
    /* All but the last token are computed once; the last one gives each fork its own draw. */
    pie_context_queue(&context, turns.ids, turns.count - 1);
    if (!pie_context_flush(&context))
        return false;
    pie_context_queue(&context, turns.ids + turns.count - 1, 1);
    bool ok = compete(&model, &context, &generation, count, output);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_tokens_free(&turns);
    pie_buf_free(&prompt);
    pie_buf_free(&system);
    return ok;
}
