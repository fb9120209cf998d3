/* json-schema-validation: generates JSON under a schema given as text, then feeds it to a second
 * matcher of the same schema as a validator would: it must be accepted to its end. */
#include "inferlet.h"

static const char *const example =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
    "\"age\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":99},"
    "\"pet\":{\"enum\":[\"cat\",\"dog\",\"none\"]}},"
    "\"required\":[\"name\",\"age\",\"pet\"],\"additionalProperties\":false}";

/* True when `text`, tokenized anew, is whole under the schema. */
static bool validate(const struct pie_model *model, struct pie_text schema, struct pie_text text)
{
    struct pie_matcher matcher;
    struct pie_tokens ids = {0};
    pie_encode(model, text, &ids);
    pie_tokens_push(&ids, model->stops.ids[0]);
    bool ok = pie_matcher_open(&matcher, model, PIE_JSON_SCHEMA, schema) &&
              pie_matcher_accept(&matcher, ids.ids, ids.count) && pie_matcher_terminated(&matcher);
    pie_matcher_close(&matcher);
    pie_tokens_free(&ids);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_matcher matcher;
    struct pie_buf schema = {0};
    uint32_t max_tokens;
    bool complete;
    if (!pie_param_text(input, "schema", example, &schema) ||
        !pie_param_u32(input, "max_tokens", 128, &max_tokens) ||
        !pie_chat_from_params(&model, &context, input, "prompt", "Describe a person."))
        return false;
    if (model.stops.count == 0)
        return pie_fail("the model has no token that ends an answer");
    struct pie_text source = {schema.data, schema.bytes};
    if (!pie_matcher_open(&matcher, &model, PIE_JSON_SCHEMA, source) ||
        !pie_generate_matching(&context, &matcher, max_tokens, 0, output, &complete))
        return false;
    bool ok = complete && validate(&model, source, (struct pie_text){output->data, output->bytes});
    if (!ok) {
        output->bytes = 0;
        if (!complete)
            (void)pie_fail("the JSON was not complete after 'max_tokens' tokens");
    }
    pie_matcher_close(&matcher);
    pie_context_close(&context);
    pie_model_close(&model);
    pie_buf_free(&schema);
    return ok;
}
