/* agent-react: each round the model writes a call of the calculator, held to its syntax by a
 * grammar; the program computes it and gives the result back as the next turn's observation. The
 * answer after the last round is written freely. */
#include "inferlet.h"

/* "calc(A op B)" -> its value; whole numbers of at most six digits, so nothing overflows. */
static int64_t calculate(struct pie_text call)
{
    int64_t numbers[2] = {0};
    char op = 0;
    for (size_t i = 0; i < call.bytes; i++) {
        char c = call.data[i];
        if (c >= '0' && c <= '9')
            numbers[op != 0] = numbers[op != 0] * 10 + (c - '0');
        else if (c == '+' || c == '-' || c == '*')
            op = c;
    }
    if (op == '+')
        return numbers[0] + numbers[1];
    return op == '-' ? numbers[0] - numbers[1] : numbers[0] * numbers[1];
}

static void put_signed(struct pie_buf *buf, int64_t value)
{
    if (value < 0)
        pie_buf_puts(buf, "-");
    pie_buf_put_u64(buf, (uint64_t)(value < 0 ? -value : value));
}

/* One call: its text and value are appended to `output`, and the observation is queued. */
static bool act(struct pie_context *context, uint32_t max_tokens, struct pie_buf *output)
{
    static const char *const syntax =
        "root ::= \"calc(\" number \" \" [-+*] \" \" number \")\"\nnumber ::= [0-9]{1,6}";
    struct pie_matcher matcher;
    struct pie_buf call = {0};
    struct pie_buf observation = {0};
    bool complete;
    if (!pie_matcher_open(&matcher, context->model, PIE_EBNF, pie_text(syntax)) ||
        !pie_generate_matching(context, &matcher, max_tokens, 0, &call, &complete))
        return false;
    pie_matcher_close(&matcher);
    if (!complete)
        return pie_fail("the call was not complete: raise 'tokens_between_calls'");
    pie_buf_puts(&observation, "calc says ");
    put_signed(&observation, calculate((struct pie_text){call.data, call.bytes}));
    pie_buf_append(output, call.data, call.bytes);
    pie_buf_puts(output, "\n");
    pie_buf_append(output, observation.data, observation.bytes);
    pie_buf_puts(output, "\n");
    pie_chat_end_turn(context);
    pie_chat_ask(context, (struct pie_text){0},
                 (struct pie_text){observation.data, observation.bytes});
    pie_buf_free(&call);
    pie_buf_free(&observation);
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_generation generation = {.chat = true};
    uint32_t calls;
    if (!pie_param_u32(input, "num_function_calls", 1, &calls) ||
        !pie_param_u32(input, "tokens_between_calls", 48, &generation.max_tokens))
        return false;
    if (calls > 16)
        return pie_fail("parameter 'num_function_calls' must be at most 16");
    if (!pie_chat_from_params(&model, &context, input, "prompt", "What is 17 + 25?"))
        return false;
    for (uint32_t i = 0; i < calls; i++)
        if (!act(&context, generation.max_tokens, output))
            return false;
    bool ok = pie_generate(&context, &generation, output, NULL);
    pie_context_close(&context);
    pie_model_close(&model);
    return ok;
}
