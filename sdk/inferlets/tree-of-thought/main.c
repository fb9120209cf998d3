/* tree-of-thought: the question is computed once and forked into branches. Each branch proposes a
 * plan, then executes it, side by side with the others; at last each is asked whether its answer is
 * good, and the one whose "Yes" is likeliest against "No" wins. */
#include "inferlet.h"

enum { BRANCHES_MAX = 16 };

static bool stage(struct pie_context *branches, uint32_t count, const char *question,
                  const struct pie_generation *generation, struct pie_buf *texts)
{
    for (uint32_t i = 0; i < count; i++) {
        texts[i].bytes = 0;
        if (question) {
            pie_chat_end_turn(&branches[i]);
            pie_chat_ask(&branches[i], (struct pie_text){0}, pie_text(question));
        }
    }
    return pie_generate_all(branches, count, generation, texts);
}

/* How much likelier "Yes" is than "No" as the first token of the judgement. */
static bool judge(struct pie_context *branch, double *score)
{
    struct pie_pass pass;
    struct pie_output output;
    struct pie_tokens yes = {0};
    struct pie_tokens no = {0};
    pie_encode(branch->model, pie_text("Yes"), &yes);
    pie_encode(branch->model, pie_text("No"), &no);
    pie_chat_end_turn(branch);
    pie_chat_ask(branch, (struct pie_text){0}, pie_text("Is this a good answer? Say Yes or No."));
    uint32_t row = (uint32_t)branch->queued.count - 1;
    bool ok = pie_pass_open(&pass, branch);
    if (ok) {
        pie_pass_sample(&pass, row,
                        (struct pie_sampler){.kind = PIE_LOGPROB, .token = yes.ids[0]});
        pie_pass_sample(&pass, row, (struct pie_sampler){.kind = PIE_LOGPROB, .token = no.ids[0]});
        ok = pie_pass_run(&pass, &output);
    }
    if (ok) {
        *score = (double)output.slots[0].values[0] - (double)output.slots[1].values[0];
        pie_output_free(&output);
    }
    pie_tokens_free(&yes);
    pie_tokens_free(&no);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_context branches[BRANCHES_MAX];
    struct pie_buf texts[BRANCHES_MAX] = {0};
    struct pie_generation generation;
    uint32_t count;
    uint32_t best = 0;
    double highest = 0;
    if (!pie_generation_from_params(&generation, input) ||
        !pie_param_u32(input, "max_tokens", 64, &generation.max_tokens) ||
        !pie_param_u32(input, "num_branches", 3, &count))
        return false;
    if (count < 1 || count > BRANCHES_MAX)
        return pie_fail("parameter 'num_branches' must be 1 to 16");
    if (!pie_chat_from_params(&model, &context, input, "question", "Tell me a story about a dog."))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!pie_context_fork(&context, &branches[i]))
            return false;
    if (!stage(branches, count, NULL, &generation, texts) ||
        !stage(branches, count, "Now give your best answer.", &generation, texts))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        double score;
        if (!judge(&branches[i], &score))
            return false;
        pie_buf_puts(output, "branch ");
        pie_buf_put_u64(output, i);
        pie_buf_puts(output, " score ");
        pie_buf_put_f64(output, score, 3);
        pie_buf_puts(output, "\n");
        if (i == 0 || score > highest) {
            best = i;
            highest = score;
        }
    }
    pie_buf_puts(output, "best ");
    pie_buf_put_u64(output, best);
    pie_buf_puts(output, ": ");
    pie_buf_append(output, texts[best].data, texts[best].bytes);
    for (uint32_t i = 0; i < count; i++) {
        pie_context_close(&branches[i]);
        pie_buf_free(&texts[i]);
    }
    pie_context_close(&context);
    pie_model_close(&model);
    return true;
}
