/* prefix-tree: eight prompts that share beginnings, as a tree of three levels. Each edge is
 * computed once and forked; the leaves decode side by side. With `verify` each prompt is computed
 * once more from nothing, and must give the same text. */
#include "inferlet.h"

enum { LEVELS = 3, LEAVES = 1 << LEVELS };

static const char *const root = "Once upon a time,";
static const char *const branches[LEVELS][2] = {
    {" there was a little dog", " there was a little girl"},
    {" who lived near the sea.", " who lived in a big house."},
    {" One day,", " Every night,"},
};

static void feed(struct pie_context *context, const char *text)
{
    struct pie_tokens ids = {0};
    pie_encode(context->model, pie_text(text), &ids);
    pie_context_queue(context, ids.ids, ids.count);
    pie_tokens_free(&ids);
}

/* Level by level: `contexts` holds 1, 2, 4, 8 of them. All but the last edge is computed before
 * it is forked; the last one stays queued. */
static bool grow(const struct pie_model *model, struct pie_context *contexts)
{
    if (!pie_context_open(&contexts[0], model))
        return false;
    feed(&contexts[0], root);
    for (size_t level = 0, count = 1; level < LEVELS; level++, count *= 2)
        for (size_t i = 0; i < count; i++) {
            if (!pie_context_flush(&contexts[i]) ||
                !pie_context_fork(&contexts[i], &contexts[count + i]))
                return false;
            feed(&contexts[i], branches[level][0]);
            feed(&contexts[count + i], branches[level][1]);
        }
    return true;
}

static bool alone(const struct pie_model *model, size_t leaf,
                  const struct pie_generation *generation, const struct pie_buf *expected)
{
    struct pie_context context;
    struct pie_buf text = {0};
    if (!pie_context_open(&context, model))
        return false;
    feed(&context, root);
    for (size_t level = 0; level < LEVELS; level++)
        feed(&context, branches[level][leaf >> level & 1]);
    bool ok = pie_generate_all(&context, 1, generation, &text);
    if (ok && !pie_text_equal((struct pie_text){text.data, text.bytes},
                              (struct pie_text){expected->data, expected->bytes}))
        ok = pie_fail("a leaf differs from the same prompt by itself");
    pie_context_close(&context);
    pie_buf_free(&text);
    return ok;
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context contexts[LEAVES];
    struct pie_buf texts[LEAVES] = {0};
    struct pie_generation generation = {0};
    bool verify;
    if (!pie_param_u32(input, "num_tokens", 16, &generation.max_tokens) ||
        !pie_param_bool(input, "verify", false, &verify) || !pie_model_open(&model, NULL) ||
        !grow(&model, contexts) || !pie_generate_all(contexts, LEAVES, &generation, texts))
        return false;
    for (size_t leaf = 0; leaf < LEAVES; leaf++) {
        if (verify && !alone(&model, leaf, &generation, &texts[leaf]))
            return false;
        pie_buf_puts(output, root);
        for (size_t level = 0; level < LEVELS; level++)
            pie_buf_puts(output, branches[level][leaf >> level & 1]);
        pie_buf_puts(output, "|");
        pie_buf_append(output, texts[leaf].data, texts[leaf].bytes);
        pie_buf_puts(output, "\n");
        pie_context_close(&contexts[leaf]);
        pie_buf_free(&texts[leaf]);
    }
    if (verify)
        pie_buf_puts(output, "8 leaves, each as by itself");
    pie_model_close(&model);
    return true;
}
