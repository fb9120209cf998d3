/* One prompt without an adapter and with two, in steps that go side by side: three lines. */
#include "inferlet.h"

enum { TOKENS = 24, COUNT = 3 };

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_adapter adapters[2], again;
    struct pie_context contexts[COUNT];
    struct pie_step steps[COUNT];
    struct pie_sampling greedy = {0};
    struct pie_buf prompt = {0};
    struct pie_tokens tokens = {0}, chosen[COUNT] = {{0}, {0}, {0}};
    if (!pie_param_text(input, "prompt", "", &prompt) || !pie_model_open(&model, NULL))
        return false;
    if (pie_adapter_open(&again, &model, "outside", "../a.gguf"))
        return pie_fail("a file outside of the folder was loaded");
    if (!pie_adapter_open(&adapters[0], &model, "a", "a.gguf") ||
        !pie_adapter_open(&adapters[1], &model, "b", "b.gguf"))
        return false;
    if (pie_adapter_open(&again, &model, "a", "a.gguf"))
        return pie_fail("a name was given twice");
    pie_encode(&model, (struct pie_text){prompt.data, prompt.bytes}, &tokens);
    for (unsigned i = 0; i < COUNT; i++) {
        if (!pie_context_open(&contexts[i], &model))
            return false;
        contexts[i].adapter = i > 0 ? &adapters[i - 1] : NULL;
        pie_context_queue(&contexts[i], tokens.ids, tokens.count);
    }
    for (unsigned step = 0; step < TOKENS; step++) {
        for (unsigned i = 0; i < COUNT; i++)
            if (!pie_step_begin(&steps[i], &contexts[i], &greedy))
                return false;
        for (unsigned i = 0; i < COUNT; i++) {
            uint32_t token;
            if (!pie_step_end(&steps[i], &token))
                return false;
            pie_tokens_push(&chosen[i], token);
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        struct pie_buf text = {0};
        if (!pie_decode(&model, chosen[i].ids, chosen[i].count, &text))
            return false;
        pie_buf_put_json(output, (struct pie_text){text.data, text.bytes});
        pie_buf_puts(output, "\n");
        pie_context_close(&contexts[i]);
    }
    pie_adapter_close(&adapters[0]);
    pie_adapter_close(&adapters[1]);
    pie_model_close(&model);
    return true;
}
