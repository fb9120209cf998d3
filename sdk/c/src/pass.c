/* Forward passes in full, grammars, and contexts by name. */
#include "lift.h"

/* ---- passes ------------------------------------------------------------------------------ */

bool pie_pass_open(struct pie_pass *pass, struct pie_context *context)
{
    size_t count = context->queued.count;
    *pass = (struct pie_pass){0};
    if (count == 0)
        return pie_fail("nothing is queued: a pass must supply at least one token");
    if (!sdk_commit_full(context) || !sdk_reserve_for(context, count))
        return false;
    uint32_t *positions = pie_alloc(count * sizeof *positions);
    for (size_t i = 0; i < count; i++)
        positions[i] = context->fed + (uint32_t)i;
    pass->context = context;
    pass->handle = host_pass_create(context->model->handle);
    host_pass_context(pass->handle, context->handle);
    if (context->adapter)
        host_pass_adapter(pass->handle, context->adapter->handle);
    host_pass_input_tokens(pass->handle, context->queued.ids, count, positions, count);
    pie_free(positions);
    return true;
}

void pie_pass_sample(struct pie_pass *pass, uint32_t row, struct pie_sampler sampler)
{
    uint32_t first = sampler.kind == PIE_LOGPROB ? sampler.token
                                                 : sdk_float_bits(sampler.temperature);
    uint32_t second = sampler.kind == PIE_GREEDY ? sdk_float_bits(1) : sampler.k;
    host_pass_sampler(pass->handle, &row, 1, (uint32_t)sampler.kind, first, second, 0);
    pass->samplers++;
}

void pie_pass_attention_mask(struct pie_pass *pass, const struct pie_tokens *rows)
{
    size_t count = pass->context->queued.count;
    struct abi_list *lists = pie_alloc(count * sizeof *lists);
    for (size_t i = 0; i < count; i++)
        lists[i] = (struct abi_list){rows[i].ids, (uint32_t)rows[i].count};
    host_pass_attention_mask(pass->handle, lists, count);
    pie_free(lists);
}

void pie_pass_logit_mask(struct pie_pass *pass, const struct pie_tokens *runs)
{
    host_pass_logit_mask(pass->handle, runs->ids, runs->count);
}

bool pie_pass_begin(struct pie_pass *pass)
{
    struct abi_result_handle result;
    host_pass_execute(pass->handle, &result);
    host_pass_drop(pass->handle);
    pass->handle = 0;
    return sdk_take_handle(&result, &pass->future);
}

/* The slot's memory becomes ours. */
static struct pie_slot take_slot(const struct abi_slot *slot)
{
    enum { TOKEN, DISTRIBUTION, LOGITS, LOGPROBS, ENTROPY };
    switch (slot->tag) {
    case TOKEN:
        return (struct pie_slot){.token = slot->of.token};
    case DISTRIBUTION:
        return (struct pie_slot){.ids = slot->of.distribution.ids.data,
                                 .values = slot->of.distribution.probabilities.data,
                                 .count = slot->of.distribution.ids.count};
    case ENTROPY:
        return (struct pie_slot){.entropy = (double)slot->of.entropy};
    case LOGITS: /* bytes */
        return (struct pie_slot){.values = slot->of.list.data,
                                 .count = slot->of.list.count / sizeof(float)};
    default:
        return (struct pie_slot){.values = slot->of.list.data, .count = slot->of.list.count};
    }
}

bool pie_pass_end(struct pie_pass *pass, struct pie_output *output)
{
    struct abi_option_output result;
    *output = (struct pie_output){0};
    if (!sdk_wait(pass->context, pass->future, &result))
        return false;
    const struct abi_slot *slots = result.slots.data;
    if (result.slots.count != pass->samplers) { /* what a failed batch gives */
        sdk_free_output(&result);
        return pie_fail("the forward pass did not give one slot for each sampler");
    }
    output->count = result.slots.count;
    output->slots = pie_alloc(output->count * sizeof *output->slots);
    for (size_t i = 0; i < output->count; i++)
        output->slots[i] = take_slot(&slots[i]);
    pie_free(result.slots.data);
    pie_free(result.spec_tokens.data);
    pie_free(result.spec_positions.data);
    return true;
}

bool pie_pass_run(struct pie_pass *pass, struct pie_output *output)
{
    return pie_pass_begin(pass) && pie_pass_end(pass, output);
}

void pie_output_free(struct pie_output *output)
{
    for (size_t i = 0; i < output->count; i++) {
        pie_free(output->slots[i].ids);
        pie_free(output->slots[i].values);
    }
    pie_free(output->slots);
    *output = (struct pie_output){0};
}

bool pie_context_truncate(struct pie_context *context, uint32_t count)
{
    if (count > context->working)
        return pie_fail("only tokens of the last pass can be taken back");
    host_context_truncate(context->handle, count);
    context->working -= count;
    context->fed -= count;
    return true;
}

/* ---- windows ----------------------------------------------------------------------------- */

void pie_window_mask(uint32_t position, uint32_t sink, uint32_t window, struct pie_tokens *runs)
{
    uint32_t end = position + 1;
    uint32_t begin = window < end ? end - window : 0;
    runs->count = 0;
    if (begin <= sink) {
        pie_tokens_append(runs, (uint32_t[]){0, end}, 2);
    } else if (sink == 0) {
        pie_tokens_append(runs, (uint32_t[]){begin, end - begin}, 2);
    } else {
        pie_tokens_append(runs, (uint32_t[]){0, sink, begin - sink, end - begin}, 4);
    }
}

bool pie_generate_windowed(struct pie_context *context, uint32_t sink, uint32_t window,
                           const struct pie_generation *generation, struct pie_buf *text)
{
    struct pie_chat_decoder decoder;
    bool done = false;
    bool ok = true;
    pie_chat_decoder_open(&decoder, context->model);
    for (uint32_t i = 0; ok && !done && i < generation->max_tokens; i++) {
        struct pie_pass pass;
        struct pie_output output;
        size_t count = context->queued.count;
        struct pie_tokens *rows = pie_alloc(count * sizeof *rows);
        for (size_t row = 0; row < count; row++) {
            rows[row] = (struct pie_tokens){0};
            pie_window_mask(context->fed + (uint32_t)row, sink, window, &rows[row]);
        }
        ok = pie_pass_open(&pass, context);
        if (ok) {
            pie_pass_attention_mask(&pass, rows);
            pie_pass_sample(&pass, (uint32_t)count - 1, (struct pie_sampler){.kind = PIE_GREEDY});
            ok = pie_pass_run(&pass, &output);
        }
        for (size_t row = 0; row < count; row++)
            pie_tokens_free(&rows[row]);
        pie_free(rows);
        if (!ok)
            break;
        uint32_t token = output.slots[0].token;
        pie_output_free(&output);
        pie_context_queue(context, &token, 1);
        ok = pie_chat_decoder_feed(&decoder, &token, 1, text, &done);
    }
    pie_chat_decoder_close(&decoder);
    return ok;
}

/* ---- grammars ---------------------------------------------------------------------------- */

bool pie_matcher_open(struct pie_matcher *matcher, const struct pie_model *model,
                      enum pie_grammar kind, struct pie_text source)
{
    struct abi_result_handle result = {0};
    uint32_t grammar;
    *matcher = (struct pie_matcher){0};
    switch (kind) {
    case PIE_JSON:
        result.of.handle = host_grammar_json();
        break;
    case PIE_JSON_SCHEMA:
        host_grammar_from_json_schema(source.data, source.bytes, &result);
        break;
    case PIE_REGEX:
        host_grammar_from_regex(source.data, source.bytes, &result);
        break;
    case PIE_EBNF:
        host_grammar_from_ebnf(source.data, source.bytes, &result);
        break;
    }
    if (!sdk_take_handle(&result, &grammar))
        return false;
    matcher->handle = host_matcher_create(grammar, model->tokenizer);
    host_grammar_drop(grammar);
    return true;
}

void pie_matcher_close(struct pie_matcher *matcher)
{
    if (matcher->handle)
        host_matcher_drop(matcher->handle);
    matcher->handle = 0;
}

bool pie_matcher_accept(struct pie_matcher *matcher, const uint32_t *ids, size_t count)
{
    struct abi_result_text result;
    host_matcher_accept(matcher->handle, ids, count, &result);
    return sdk_take_nothing(&result);
}

void pie_matcher_mask(const struct pie_matcher *matcher, struct pie_tokens *runs)
{
    struct abi_list list;
    host_matcher_mask(matcher->handle, &list);
    runs->count = 0;
    pie_tokens_append(runs, list.data, list.count);
    pie_free(list.data);
}

bool pie_matcher_terminated(const struct pie_matcher *matcher)
{
    return host_matcher_is_terminated(matcher->handle) != 0;
}

bool pie_generate_matching(struct pie_context *context, struct pie_matcher *matcher,
                           uint32_t max_tokens, double temperature, struct pie_buf *text,
                           bool *complete)
{
    struct pie_tokens runs = {0};
    struct pie_tokens ids = {0};
    bool ok = true;
    *complete = false;
    for (uint32_t i = 0; ok && !*complete && i < max_tokens; i++) {
        struct pie_pass pass;
        struct pie_output output;
        struct pie_sampler sampler = {.kind = temperature > 0 ? PIE_MULTINOMIAL : PIE_GREEDY,
                                      .temperature = temperature};
        pie_matcher_mask(matcher, &runs);
        ok = pie_pass_open(&pass, context);
        if (!ok)
            break;
        pie_pass_logit_mask(&pass, &runs);
        pie_pass_sample(&pass, (uint32_t)context->queued.count - 1, sampler);
        ok = pie_pass_run(&pass, &output);
        if (!ok)
            break;
        uint32_t token = output.slots[0].token;
        pie_output_free(&output);
        pie_context_queue(context, &token, 1);
        ok = pie_matcher_accept(matcher, &token, 1);
        *complete = ok && pie_matcher_terminated(matcher);
        if (ok && !*complete)
            pie_tokens_push(&ids, token);
    }
    ok = ok && pie_decode(context->model, ids.ids, ids.count, text);
    pie_tokens_free(&runs);
    pie_tokens_free(&ids);
    return ok;
}

/* ---- contexts by name -------------------------------------------------------------------- */

bool pie_context_save(struct pie_context *context, const char *name)
{
    struct abi_result_text result;
    struct pie_text text = pie_text(name);
    host_context_save(context->handle, text.data, text.bytes, &result);
    return sdk_take_nothing(&result);
}

bool pie_context_open_saved(struct pie_context *context, const struct pie_model *model,
                            const char *name)
{
    struct abi_result_handle result;
    struct pie_text text = pie_text(name);
    *context = (struct pie_context){.model = model};
    host_context_open(model->handle, text.data, text.bytes, &result);
    if (!sdk_take_handle(&result, &context->handle))
        return false;
    context->page_tokens = host_context_tokens_per_page(context->handle);
    context->working = host_context_working_tokens(context->handle);
    context->working_pages = host_context_working_pages(context->handle);
    context->fed =
        host_context_committed_pages(context->handle) * context->page_tokens + context->working;
    return true;
}

bool pie_context_delete_saved(const struct pie_model *model, const char *name)
{
    struct abi_result_text result;
    struct pie_text text = pie_text(name);
    host_context_delete(model->handle, text.data, text.bytes, &result);
    return sdk_take_nothing(&result);
}
