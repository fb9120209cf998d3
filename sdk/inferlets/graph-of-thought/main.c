/* graph-of-thought: proposals are written side by side; then each pair is merged by the model into
 * one, level by level and side by side, until one answer is left. */
#include "inferlet.h"

enum { PROPOSALS_MAX = 16 };

/* Merges texts[2 i] and texts[2 i + 1] into texts[i]; an odd last one stays as it is. */
static bool merge(const struct pie_model *model, const struct pie_generation *generation,
                  struct pie_buf *texts, uint32_t *count)
{
    struct pie_context contexts[PROPOSALS_MAX / 2];
    struct pie_buf merged[PROPOSALS_MAX / 2] = {0};
    uint32_t pairs = *count / 2;
    for (uint32_t i = 0; i < pairs; i++) {
        struct pie_buf question = {0};
        if (!pie_context_open(&contexts[i], model))
            return false;
        pie_buf_puts(&question, "Make one answer of these two.\n1. ");
        pie_buf_append(&question, texts[2 * i].data, texts[2 * i].bytes);
        pie_buf_puts(&question, "\n2. ");
        pie_buf_append(&question, texts[2 * i + 1].data, texts[2 * i + 1].bytes);
        pie_chat_ask(&contexts[i], pie_text("You are a helpful assistant."),
                     (struct pie_text){question.data, question.bytes});
        pie_buf_free(&question);
    }
    if (!pie_generate_all(contexts, pairs, generation, merged))
        return false;
    for (uint32_t i = 0; i < pairs; i++) {
        pie_context_close(&contexts[i]);
        pie_buf_free(&texts[2 * i]);
        pie_buf_free(&texts[2 * i + 1]);
        texts[i] = merged[i];
    }
    if (*count % 2)
        texts[pairs] = texts[*count - 1];
    *count = pairs + *count % 2;
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_context proposals[PROPOSALS_MAX];
    struct pie_buf texts[PROPOSALS_MAX] = {0};
    struct pie_generation generation;
    uint32_t aggregation_tokens;
    uint32_t count;
    uint32_t merges = 0;
    if (!pie_generation_from_params(&generation, input) ||
        !pie_param_u32(input, "num_proposals", 4, &count) ||
        !pie_param_u32(input, "proposal_tokens", 48, &generation.max_tokens) ||
        !pie_param_u32(input, "aggregation_tokens", 48, &aggregation_tokens))
        return false;
    if (count < 1 || count > PROPOSALS_MAX)
        return pie_fail("parameter 'num_proposals' must be 1 to 16");
    if (!pie_chat_from_params(&model, &context, input, "question", "Tell me a story about a dog."))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!pie_context_fork(&context, &proposals[i]))
            return false;
    if (!pie_generate_all(proposals, count, &generation, texts))
        return false;
    for (uint32_t i = 0; i < count; i++)
        pie_context_close(&proposals[i]);
    generation.max_tokens = aggregation_tokens;
    while (count > 1) {
        merges += count / 2;
        if (!merge(&model, &generation, texts, &count))
            return false;
    }
    pie_buf_append(output, texts[0].data, texts[0].bytes);
    pie_buf_puts(output, "\n");
    pie_buf_put_u64(output, merges);
    pie_buf_puts(output, " merges");
    pie_buf_free(&texts[0]);
    pie_context_close(&context);
    pie_model_close(&model);
    return true;
}
