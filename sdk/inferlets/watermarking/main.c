/* watermarking: a hash of the previous token divides the vocabulary into green and red; green
 * tokens get `delta` more logit. Text that is written without this is green by chance only, so
 * the detector, which knows the key but no model, counts green tokens and gives the z score. */
#include "inferlet.h"

struct mark {
    double gamma, delta;
    uint64_t key;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

static bool is_green(const struct mark *mark, uint32_t previous, uint32_t token)
{
    return unit(mix(mix(mark->key ^ previous) + token)) < mark->gamma;
}

/* Draws from the distribution with e^delta times the weight on green tokens. */
static uint32_t draw(const struct mark *mark, const struct pie_slot *slot, uint32_t previous,
                     uint64_t *seed)
{
    double boost = pie_exp(mark->delta);
    double mass = 0;
    for (size_t i = 0; i < slot->count; i++)
        mass += (double)slot->values[i] * (is_green(mark, previous, slot->ids[i]) ? boost : 1);
    double at = unit(mix(*seed += 0x9E3779B97F4A7C15u)) * mass;
    for (size_t i = 0; i + 1 < slot->count; i++) {
        at -= (double)slot->values[i] * (is_green(mark, previous, slot->ids[i]) ? boost : 1);
        if (at < 0)
            return slot->ids[i];
    }
    return slot->ids[slot->count - 1];
}

static bool generate(const struct mark *mark, struct pie_context *context, uint32_t max_tokens,
                     uint64_t seed, struct pie_buf *text)
{
    struct pie_tokens ids = {0};
    for (uint32_t i = 0; i < max_tokens; i++) {
        struct pie_pass pass;
        struct pie_output output;
        uint32_t last = (uint32_t)context->queued.count - 1;
        uint32_t previous = context->queued.ids[last];
        if (!pie_pass_open(&pass, context))
            return false;
        pie_pass_sample(&pass, last, (struct pie_sampler){.kind = PIE_DIST, .temperature = 1});
        if (!pie_pass_run(&pass, &output))
            return false;
        uint32_t token = draw(mark, &output.slots[0], previous, &seed);
        pie_output_free(&output);
        if (pie_is_stop(context->model, token))
            break;
        pie_tokens_push(&ids, token);
        pie_context_queue(context, &token, 1);
    }
    bool ok = pie_decode(context->model, ids.ids, ids.count, text);
    pie_tokens_free(&ids);
    return ok;
}

/* z = (green - gamma n) / sqrt(n gamma (1 - gamma)) over the text tokenized anew. */
static void detect(const struct mark *mark, const struct pie_model *model, struct pie_text text,
                   struct pie_buf *output)
{
    struct pie_tokens ids = {0};
    uint32_t green = 0;
    pie_encode(model, text, &ids);
    uint32_t tested = ids.count > 1 ? (uint32_t)ids.count - 1 : 0;
    for (uint32_t i = 1; i < ids.count; i++)
        green += is_green(mark, ids.ids[i - 1], ids.ids[i]);
    double variance = tested * mark->gamma * (1 - mark->gamma);
    double z = tested ? (green - mark->gamma * tested) / pie_exp(pie_ln(variance) / 2) : 0;
    pie_buf_put_u64(output, green);
    pie_buf_puts(output, " of ");
    pie_buf_put_u64(output, tested);
    pie_buf_puts(output, " green, z = ");
    pie_buf_put_f64(output, z, 2);
    pie_buf_puts(output, z > 4 ? ": marked" : ": not marked");
    pie_tokens_free(&ids);
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    struct pie_model model;
    struct pie_context context;
    struct pie_buf given = {0};
    struct mark mark;
    uint32_t max_tokens;
    uint32_t key;
    uint32_t seed;
    if (!pie_param_u32(input, "max_tokens", 96, &max_tokens) ||
        !pie_param_f64(input, "gamma", 0.5, &mark.gamma) ||
        !pie_param_f64(input, "delta", 8, &mark.delta) ||
        !pie_param_u32(input, "key", 15485863, &key) || !pie_param_u32(input, "seed", 1, &seed) ||
        !pie_param_text(input, "detect", "", &given))
        return false;
    if (!(mark.gamma > 0 && mark.gamma < 1))
        return pie_fail("parameter 'gamma' must lie between 0 and 1");
    mark.key = key;
    if (!pie_chat_from_params(&model, &context, input, "prompt", "Tell me a story about a dog."))
        return false;
    if (given.bytes == 0) {
        if (!generate(&mark, &context, max_tokens, seed, &given))
            return false;
        pie_buf_append(output, given.data, given.bytes);
        pie_buf_puts(output, "\n");
    }
    detect(&mark, &model, (struct pie_text){given.data, given.bytes}, output);
    pie_buf_free(&given);
    pie_context_close(&context);
    pie_model_close(&model);
    return true;
}
