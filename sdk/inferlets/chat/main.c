/* chat: a conversation. The first user turn is `prompt`, or the first message from the client;
 * with `interactive` every further message is a turn, until an empty one. The whole conversation
 * stays in one context, so nothing is ever computed twice. */
#include "inferlet.h"

static struct pie_text text_of(const struct pie_buf *buf)
{
    return (struct pie_text){buf->data, buf->bytes};
}

static bool converse(const struct pie_model *model, struct pie_generation *generation,
                     struct pie_text system, struct pie_buf *message, bool interactive,
                     struct pie_buf *output)
{
    struct pie_context context;
    struct pie_tokens turn = {0};
    bool first = true;
    bool ok = pie_context_open(&context, model);
    if (!ok)
        return false;
    do {
        if (message->bytes == 0)
            pie_receive(message);
        if (message->bytes == 0)
            break;
        turn.count = 0;
        if (!first) {
            pie_chat_end_turn(&context);
            pie_chat_user(model, text_of(message), &turn);
        } else if (system.bytes) {
            pie_chat_system_user(model, system, text_of(message), &turn);
        } else {
            pie_chat_first_user(model, text_of(message), &turn);
        }
        first = false;
        pie_chat_cue(model, &turn);
        pie_context_queue(&context, turn.ids, turn.count);
        output->bytes = 0;
        ok = pie_generate(&context, generation, output, NULL);
        message->bytes = 0;
        if (interactive && generation->stream)
            pie_send(pie_text("\n"));
    } while (ok && interactive);
    pie_tokens_free(&turn);
    pie_context_close(&context);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_generation generation;
    struct pie_model model;
    struct pie_buf prompt = {0};
    struct pie_buf system = {0};
    bool interactive;
    if (!pie_param_text(input, "prompt", "", &prompt) ||
        !pie_param_text(input, "system", "You are a helpful assistant.", &system) ||
        !pie_param_bool(input, "interactive", prompt.bytes == 0, &interactive) ||
        !pie_generation_from_params(&generation, input) || !pie_model_open(&model, NULL))
        return false;
    bool ok = converse(&model, &generation, text_of(&system), &prompt, interactive, output);
    pie_model_close(&model);
    pie_buf_free(&prompt);
    pie_buf_free(&system);
    return ok;
}
