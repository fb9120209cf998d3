/* constrained-decoding: the matcher says which tokens may come next, the sampler sees no others,
 * so that the output is in the language by construction. */
#include "inferlet.h"

/* Which grammar is asked for, and its source. */
static bool choose(struct pie_text input, enum pie_grammar *kind, struct pie_buf *source)
{
    static const struct {
        const char *name;
        enum pie_grammar kind;
    } kinds[] = {{"regex", PIE_REGEX}, {"ebnf", PIE_EBNF}, {"json_schema", PIE_JSON_SCHEMA}};
    *kind = PIE_JSON;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!pie_param_has(input, kinds[i].name))
            continue;
        if (*kind != PIE_JSON)
            return pie_fail("one of 'regex', 'ebnf' and 'json_schema' is enough");
        *kind = kinds[i].kind;
        if (!pie_param_text(input, kinds[i].name, "", source))
            return false;
    }
    return true;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_matcher matcher;
    struct pie_buf source = {0};
    enum pie_grammar kind;
    uint32_t max_tokens;
    double temperature;
    bool complete;
    if (!choose(input, &kind, &source) ||
        !pie_param_u32(input, "num_tokens", 128, &max_tokens) ||
        !pie_param_f64(input, "temperature", 0, &temperature) ||
        !pie_chat_from_params(&model, &context, input, "prompt", "Write a date.") ||
        !pie_matcher_open(&matcher, &model, kind, (struct pie_text){source.data, source.bytes}) ||
        !pie_generate_matching(&context, &matcher, max_tokens, temperature, output, &complete))
        return false;
    if (!complete) {
        output->bytes = 0;
        return pie_fail("the output was not complete after 'num_tokens' tokens");
    }
    pie_matcher_close(&matcher);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_buf_free(&source);
    return true;
}
