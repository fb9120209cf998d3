/* skeleton-of-thought: the plan is held to a numbered list of `num_points` points by a grammar, so
 * that it can always be read; the points are then elaborated side by side. */
#include "inferlet.h"

enum { POINTS_MAX = 16 };

/* A regular expression for the list: "1. ...\n2. ...\n". */
static void list_pattern(uint32_t points, struct pie_buf *pattern)
{
    for (uint32_t i = 1; i <= points; i++) {
        pie_buf_put_u64(pattern, i);
        pie_buf_puts(pattern, "\\. [A-Z][a-z ]{4,40}\\.\\n");
    }
}

/* The text of point `index` of the list: what is between its number and the end of the line. */
static struct pie_text point(const struct pie_buf *plan, uint32_t index)
{
    size_t at = 0;
    for (uint32_t line = 0; line < index; at++)
        line += plan->data[at] == '\n';
    while (plan->data[at] != ' ')
        at++;
    size_t begin = ++at;
    while (plan->data[at] != '\n')
        at++;
    return (struct pie_text){plan->data + begin, at - begin};
}

static bool elaborate(const struct pie_model *model, const struct pie_buf *plan, uint32_t points,
                      const struct pie_generation *generation, struct pie_buf *output)
{
    struct pie_context contexts[POINTS_MAX];
    struct pie_buf texts[POINTS_MAX] = {0};
    for (uint32_t i = 0; i < points; i++) {
        struct pie_buf question = {0};
        struct pie_text line = point(plan, i);
        if (!pie_context_open(&contexts[i], model))
            return false;
        pie_buf_puts(&question, "Tell me more: ");
        pie_buf_append(&question, line.data, line.bytes);
        pie_chat_ask(&contexts[i], pie_text("You are a helpful assistant."),
                     (struct pie_text){question.data, question.bytes});
        pie_buf_free(&question);
    }
    if (!pie_generate_all(contexts, points, generation, texts))
        return false;
    for (uint32_t i = 0; i < points; i++) {
        struct pie_text line = point(plan, i);
        pie_buf_put_u64(output, i + 1);
        pie_buf_puts(output, ". ");
        pie_buf_append(output, line.data, line.bytes);
        pie_buf_puts(output, " ");
        pie_buf_append(output, texts[i].data, texts[i].bytes);
        pie_buf_puts(output, "\n");
        pie_context_close(&contexts[i]);
        pie_buf_free(&texts[i]);
    }
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_matcher matcher;
    struct pie_generation generation;
    struct pie_buf pattern = {0};
    struct pie_buf plan = {0};
    uint32_t points;
    uint32_t plan_tokens;
    bool complete;
    if (!pie_generation_from_params(&generation, input) ||
        !pie_param_u32(input, "num_points", 3, &points) ||
        !pie_param_u32(input, "plan_tokens", 48, &plan_tokens) ||
        !pie_param_u32(input, "elab_tokens", 48, &generation.max_tokens))
        return false;
    if (points < 1 || points > POINTS_MAX || plan_tokens > 4096)
        return pie_fail("'num_points' must be 1 to 16 and 'plan_tokens' at most 4096");
    list_pattern(points, &pattern);
    if (!pie_chat_from_params(&model, &context, input, "question",
                              "Tell me a story about a dog.") ||
        !pie_matcher_open(&matcher, &model, PIE_REGEX,
                          (struct pie_text){pattern.data, pattern.bytes}) ||
        !pie_generate_matching(&context, &matcher, plan_tokens * points,
                               generation.sampling.temperature, &plan, &complete))
        return false;
    bool ok = complete ? elaborate(&model, &plan, points, &generation, output)
                       : pie_fail("the plan was not complete: raise 'plan_tokens'");
    pie_matcher_close(&matcher);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_buf_free(&pattern);
    pie_buf_free(&plan);
    return ok;
}
