/* sampler-suite: greedy, distribution, logits, log-probability and entropy of the same row must
 * agree. Fails with the first that does not; returns what was compared. */
#include "inferlet.h"

static bool near(double a, double b, double tolerance)
{
    double difference = a > b ? a - b : b - a;
    return difference <= tolerance; /* false for nan */
}

static void say(struct pie_buf *output, const char *what, double value)
{
    pie_buf_puts(output, what);
    pie_buf_put_f64(output, value, 6);
    pie_buf_puts(output, "\n");
}

static bool check(const struct pie_slot *greedy, const struct pie_slot *dist,
                  const struct pie_slot *logits, const struct pie_slot *entropy,
                  struct pie_buf *output)
{
    double sum = 0;
    double bits = 0;
    double mass = 0;
    double highest = (double)logits->values[greedy->token];
    double worst = 0;
    for (size_t i = 0; i < logits->count; i++) {
        if ((double)logits->values[i] > highest)
            return pie_fail("a logit is above that of the greedy token");
        mass += pie_exp((double)logits->values[i] - highest);
    }
    if (dist->count != logits->count)
        return pie_fail("the distribution does not cover the vocabulary");
    for (size_t i = 0; i < dist->count; i++) {
        double p = (double)dist->values[i];
        double expected = pie_exp((double)logits->values[dist->ids[i]] - highest) / mass;
        double gap = p > expected ? p - expected : expected - p;
        worst = gap > worst ? gap : worst;
        sum += p;
        bits -= p > 0 ? p * pie_ln(p) : 0;
        if (i > 0 && dist->values[i] > dist->values[i - 1])
            return pie_fail("the distribution is not sorted");
    }
    say(output, "sum of the distribution ", sum);
    say(output, "largest gap to softmax(logits) ", worst);
    say(output, "entropy ", entropy->entropy);
    say(output, "entropy of the distribution ", bits);
    if (!near(sum, 1, 1e-4))
        return pie_fail("the distribution does not sum to 1");
    if (!near(worst, 0, 1e-5))
        return pie_fail("the distribution is not softmax(logits)");
    if (!near(entropy->entropy, bits, 1e-3))
        return pie_fail("the entropy is not that of the distribution");
    return dist->ids[0] == greedy->token ? true : pie_fail("greedy is not the likeliest token");
}

/* The same row once more, as the context allows: the likeliest token's log-probability. */
static bool check_logprob(struct pie_context *context, uint32_t last, uint32_t token, double p,
                          struct pie_buf *output)
{
    struct pie_pass pass;
    struct pie_output slots;
    if (!pie_context_truncate(context, 1))
        return false;
    pie_context_queue(context, &last, 1);
    if (!pie_pass_open(&pass, context))
        return false;
    pie_pass_sample(&pass, 0, (struct pie_sampler){.kind = PIE_LOGPROB, .token = token});
    pie_pass_sample(&pass, 0, (struct pie_sampler){.kind = PIE_MULTINOMIAL, .k = 7});
    if (!pie_pass_run(&pass, &slots))
        return false;
    double logprob = (double)slots.slots[0].values[0];
    uint32_t cold = slots.slots[1].token;
    pie_output_free(&slots);
    say(output, "log-probability ", logprob);
    if (!near(logprob, pie_ln(p), 1e-4))
        return pie_fail("the log-probability is not that of the distribution");
    return cold == token ? true : pie_fail("temperature 0 is not greedy");
}

bool inferlet_main(struct pie_text input, struct pie_buf *output)
{
    enum { GREEDY, DIST, LOGITS, ENTROPY };
    struct pie_model model;
    struct pie_context context;
    struct pie_pass pass;
    struct pie_output slots;
    if (!pie_chat_from_params(&model, &context, input, "prompt", "What is the capital of France?"))
        return false;
    uint32_t row = (uint32_t)context.queued.count - 1;
    uint32_t last = context.queued.ids[row];
    if (!pie_pass_open(&pass, &context))
        return false;
    pie_pass_sample(&pass, row, (struct pie_sampler){.kind = PIE_GREEDY});
    pie_pass_sample(&pass, row, (struct pie_sampler){.kind = PIE_DIST, .temperature = 1});
    pie_pass_sample(&pass, row, (struct pie_sampler){.kind = PIE_LOGITS});
    pie_pass_sample(&pass, row, (struct pie_sampler){.kind = PIE_ENTROPY});
    if (!pie_pass_run(&pass, &slots))
        return false;
    bool ok = check(&slots.slots[GREEDY], &slots.slots[DIST], &slots.slots[LOGITS],
                    &slots.slots[ENTROPY], output) &&
              check_logprob(&context, last, slots.slots[GREEDY].token,
                            (double)slots.slots[DIST].values[0], output);
    if (ok)
        pie_buf_puts(output, "all samplers agree");
    else
        output->bytes = 0;
    pie_output_free(&slots);
    pie_context_close(&context);
    pie_model_close(&model);
    return ok;
}
