#include "inferlet.h"

#include "lift.h"

#ifndef INFERLET_NAME
#error "compile with -DINFERLET_NAME='\"name\"', the name in Pie.toml"
#endif

/* ---- entry ------------------------------------------------------------------------------- */

static void call_constructors(void)
{
    extern void __wasm_call_ctors(void);
    __wasm_call_ctors();
}

/* pie:NAME/run.run: func(input: string) -> result<string, string>. The host frees the result by
 * calling cabi_post. */
#define RUN_EXPORT "pie:" INFERLET_NAME "/run#run"
__attribute__((export_name(RUN_EXPORT))) struct abi_result_text *inferlet_run(char *input,
                                                                              size_t bytes);
__attribute__((export_name("cabi_post_" RUN_EXPORT))) void
inferlet_run_post(struct abi_result_text *result);

struct abi_result_text *inferlet_run(char *input, size_t bytes)
{
    static struct abi_result_text result;
    struct pie_buf output = {0};
    call_constructors();
    bool ok = inferlet_main((struct pie_text){input, bytes}, &output);
    if (!ok && output.bytes == 0)
        pie_buf_puts(&output, pie_error());
    pie_free(input);
    result.is_error = !ok;
    result.text = (struct abi_list){output.data, output.bytes};
    return &result;
}

void inferlet_run_post(struct abi_result_text *result)
{
    pie_free(result->text.data);
}

/* ---- lifting ----------------------------------------------------------------------------- */

bool sdk_fail_with(struct abi_list error)
{
    (void)pie_fail_text((struct pie_text){error.data, error.count});
    pie_free(error.data);
    return false;
}

bool sdk_take_handle(struct abi_result_handle *result, uint32_t *handle)
{
    if (result->is_error)
        return sdk_fail_with(result->of.error);
    *handle = result->of.handle;
    return true;
}

bool sdk_take_nothing(struct abi_result_text *result)
{
    return result->is_error ? sdk_fail_with(result->text) : true;
}

void sdk_take_text(struct abi_list list, struct pie_buf *out)
{
    pie_buf_append(out, list.data, list.count);
    pie_free(list.data);
}

static void take_tokens(struct abi_list list, struct pie_tokens *out)
{
    pie_tokens_append(out, list.data, list.count);
    pie_free(list.data);
}

/* ---- session and runtime ----------------------------------------------------------------- */

void pie_send(struct pie_text message)
{
    host_session_send(message.data, message.bytes);
}

void pie_receive(struct pie_buf *message)
{
    struct abi_option_text text;
    uint32_t future = host_session_receive();
    uint32_t pollable = host_future_string_pollable(future);
    host_pollable_block(pollable);
    host_pollable_drop(pollable);
    host_future_string_get(future, &text);
    host_future_string_drop(future);
    if (text.is_some)
        sdk_take_text(text.text, message);
}

void pie_runtime_version(struct pie_buf *version)
{
    struct abi_list list;
    host_runtime_version(&list);
    sdk_take_text(list, version);
}

void pie_runtime_instance_id(struct pie_buf *id)
{
    struct abi_list list;
    host_runtime_instance_id(&list);
    sdk_take_text(list, id);
}

/* ---- models ------------------------------------------------------------------------------ */

static bool first_model(struct pie_buf *name)
{
    struct abi_list models;
    host_runtime_models(&models);
    struct abi_list *names = models.data;
    for (uint32_t i = 0; i < models.count; i++) {
        if (i == 0)
            pie_buf_append(name, names[i].data, names[i].count);
        pie_free(names[i].data);
    }
    pie_free(models.data);
    return models.count > 0 ? true : pie_fail("the engine serves no model");
}

bool pie_model_open(struct pie_model *model, const char *name)
{
    struct abi_result_handle result;
    struct abi_list stops;
    struct pie_buf chosen = {0};
    *model = (struct pie_model){0};
    if (name)
        pie_buf_puts(&chosen, name);
    else if (!first_model(&chosen))
        return false;
    host_model_load(chosen.data, chosen.bytes, &result);
    pie_buf_free(&chosen);
    if (!sdk_take_handle(&result, &model->handle))
        return false;
    model->tokenizer = host_model_tokenizer(model->handle);
    host_chat_stop_tokens(model->handle, &stops);
    take_tokens(stops, &model->stops);
    return true;
}

void pie_model_close(struct pie_model *model)
{
    if (model->tokenizer)
        host_tokenizer_drop(model->tokenizer);
    if (model->handle)
        host_model_drop(model->handle);
    pie_tokens_free(&model->stops);
    *model = (struct pie_model){0};
}

void pie_encode(const struct pie_model *model, struct pie_text text, struct pie_tokens *tokens)
{
    struct abi_list list;
    host_tokenizer_encode(model->tokenizer, text.data, text.bytes, &list);
    take_tokens(list, tokens);
}

bool pie_decode(const struct pie_model *model, const uint32_t *ids, size_t count,
                struct pie_buf *text)
{
    struct abi_result_text result;
    host_tokenizer_decode(model->tokenizer, ids, count, &result);
    if (result.is_error)
        return sdk_fail_with(result.text);
    sdk_take_text(result.text, text);
    return true;
}

/* ---- chat -------------------------------------------------------------------------------- */

void pie_chat_system(const struct pie_model *model, struct pie_text message,
                     struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_system(model->handle, message.data, message.bytes, &list);
    take_tokens(list, tokens);
}

void pie_chat_first_user(const struct pie_model *model, struct pie_text message,
                         struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_first_user(model->handle, message.data, message.bytes, &list);
    take_tokens(list, tokens);
}

void pie_chat_user(const struct pie_model *model, struct pie_text message,
                   struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_user(model->handle, message.data, message.bytes, &list);
    take_tokens(list, tokens);
}

void pie_chat_system_user(const struct pie_model *model, struct pie_text system,
                          struct pie_text user, struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_system_user(model->handle, system.data, system.bytes, user.data, user.bytes, &list);
    take_tokens(list, tokens);
}

void pie_chat_assistant(const struct pie_model *model, struct pie_text message,
                        struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_assistant(model->handle, message.data, message.bytes, &list);
    take_tokens(list, tokens);
}

void pie_chat_cue(const struct pie_model *model, struct pie_tokens *tokens)
{
    struct abi_list list;
    host_chat_cue(model->handle, &list);
    take_tokens(list, tokens);
}

bool pie_is_stop(const struct pie_model *model, uint32_t token)
{
    for (size_t i = 0; i < model->stops.count; i++)
        if (model->stops.ids[i] == token)
            return true;
    return false;
}

void pie_chat_decoder_open(struct pie_chat_decoder *decoder, const struct pie_model *model)
{
    decoder->handle = host_chat_create_decoder(model->handle);
}

void pie_chat_decoder_close(struct pie_chat_decoder *decoder)
{
    if (decoder->handle)
        host_chat_decoder_drop(decoder->handle);
    decoder->handle = 0;
}

bool pie_chat_decoder_feed(struct pie_chat_decoder *decoder, const uint32_t *ids, size_t count,
                           struct pie_buf *delta, bool *done)
{
    enum { DELTA = 0, DONE = 2 };
    struct abi_result_event result;
    host_chat_decoder_feed(decoder->handle, ids, count, &result);
    if (result.is_error)
        return sdk_fail_with(result.of.error);
    *done = result.of.event.tag == DONE;
    if (result.of.event.tag == DELTA)
        sdk_take_text(result.of.event.text, delta);
    else if (*done)
        pie_free(result.of.event.text.data); /* the whole text, which came as deltas before */
    return true;
}

/* ---- adapters ---------------------------------------------------------------------------- */

bool pie_adapter_open(struct pie_adapter *adapter, const struct pie_model *model, const char *name,
                      const char *path)
{
    struct abi_result_handle made;
    struct abi_result_text loaded;
    struct pie_text name_text = pie_text(name), path_text = pie_text(path);
    *adapter = (struct pie_adapter){0};
    host_adapter_create(model->handle, name_text.data, name_text.bytes, &made);
    if (!sdk_take_handle(&made, &adapter->handle))
        return false;
    host_adapter_load(adapter->handle, path_text.data, path_text.bytes, &loaded);
    if (sdk_take_nothing(&loaded))
        return true;
    pie_adapter_close(adapter);
    return false;
}

void pie_adapter_close(struct pie_adapter *adapter)
{
    if (adapter->handle) {
        host_adapter_destroy(adapter->handle);
        host_adapter_drop(adapter->handle);
    }
    adapter->handle = 0;
}

/* ---- contexts ---------------------------------------------------------------------------- */

bool pie_context_open(struct pie_context *context, const struct pie_model *model)
{
    struct abi_result_handle result;
    *context = (struct pie_context){.model = model};
    host_context_create(model->handle, &result);
    if (!sdk_take_handle(&result, &context->handle))
        return false;
    context->page_tokens = host_context_tokens_per_page(context->handle);
    return true;
}

bool pie_context_fork(const struct pie_context *context, struct pie_context *copy)
{
    struct abi_result_handle result;
    *copy = *context;
    copy->queued = (struct pie_tokens){0};
    copy->handle = 0;
    host_context_fork(context->handle, &result);
    if (!sdk_take_handle(&result, &copy->handle))
        return false;
    pie_tokens_append(&copy->queued, context->queued.ids, context->queued.count);
    return true;
}

void pie_context_close(struct pie_context *context)
{
    if (context->handle) {
        host_context_destroy(context->handle);
        host_context_drop(context->handle);
    }
    pie_tokens_free(&context->queued);
    context->handle = 0;
}

void pie_context_queue(struct pie_context *context, const uint32_t *ids, size_t count)
{
    pie_tokens_append(&context->queued, ids, count);
}

bool sdk_reserve_for(struct pie_context *context, size_t count)
{
    struct abi_result_text result;
    size_t room = (size_t)context->working_pages * context->page_tokens - context->working;
    if (count <= room)
        return true;
    uint32_t pages =
        (uint32_t)((count - room + context->page_tokens - 1) / context->page_tokens);
    host_context_reserve(context->handle, pages, &result);
    if (!sdk_take_nothing(&result))
        return false;
    context->working_pages += pages;
    return true;
}

bool sdk_commit_full(struct pie_context *context)
{
    struct abi_result_text result;
    uint32_t pages = context->working / context->page_tokens;
    if (pages == 0)
        return true;
    host_context_commit(context->handle, pages, &result);
    if (!sdk_take_nothing(&result))
        return false;
    context->working_pages -= pages;
    context->working -= pages * context->page_tokens;
    return true;
}

/* ---- steps ------------------------------------------------------------------------------- */

enum sampler { MULTINOMIAL = 0, TOP_P = 2, DIST = 6 };
/* A draw that is made here looks at this many of the likeliest tokens. */
enum { NUCLEUS_MAX = 1024 };

uint32_t sdk_float_bits(double value)
{
    union {
        float f;
        uint32_t u;
    } bits = {.f = (float)value};
    return bits.u;
}

/* splitmix64: each draw advances the state; the same seed gives the same draws everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void choose_sampler(struct pie_step *step, uint32_t pass, uint32_t row)
{
    struct pie_sampling *sampling = step->sampling;
    bool nucleus = sampling->top_p > 0 && sampling->top_p < 1;
    step->local_draw = false;
    if (sampling->temperature <= 0) {
        host_pass_sampler(pass, &row, 1, TOP_P, sdk_float_bits(0), sdk_float_bits(1), 0);
    } else if (!sampling->has_seed) {
        host_pass_sampler(pass, &row, 1, TOP_P, sdk_float_bits(sampling->temperature),
                          sdk_float_bits(nucleus ? sampling->top_p : 1), 0);
    } else if (!nucleus) {
        uint32_t seed = (uint32_t)(next_random(&sampling->seed) >> 32) | 1; /* 0 = host's choice */
        host_pass_sampler(pass, &row, 1, MULTINOMIAL, sdk_float_bits(sampling->temperature), seed,
                          0);
    } else {
        step->local_draw = true;
        host_pass_sampler(pass, &row, 1, DIST, sdk_float_bits(sampling->temperature), NUCLEUS_MAX,
                          0);
    }
}

/* Feeds the queued tokens; the last row is sampled when `step` is not NULL. */
static bool execute(struct pie_context *context, struct pie_step *step, uint32_t *future)
{
    struct abi_result_handle result;
    size_t count = context->queued.count;
    if (count == 0)
        return pie_fail("nothing is queued: a step must supply at least one token");
    if (!sdk_reserve_for(context, count))
        return false;
    uint32_t *positions = pie_alloc(count * sizeof *positions);
    for (size_t i = 0; i < count; i++)
        positions[i] = context->fed + (uint32_t)i;
    uint32_t pass = host_pass_create(context->model->handle);
    host_pass_context(pass, context->handle);
    if (context->adapter)
        host_pass_adapter(pass, context->adapter->handle);
    host_pass_input_tokens(pass, context->queued.ids, count, positions, count);
    if (step)
        choose_sampler(step, pass, (uint32_t)count - 1);
    host_pass_execute(pass, &result);
    host_pass_drop(pass);
    pie_free(positions);
    return sdk_take_handle(&result, future);
}

void sdk_free_output(struct abi_option_output *output)
{
    enum { TOKEN = 0, DISTRIBUTION = 1, ENTROPY = 4 };
    struct abi_slot *slots = output->slots.data;
    for (uint32_t i = 0; i < output->slots.count; i++) {
        if (slots[i].tag == DISTRIBUTION) {
            pie_free(slots[i].of.distribution.ids.data);
            pie_free(slots[i].of.distribution.probabilities.data);
        } else if (slots[i].tag != TOKEN && slots[i].tag != ENTROPY) {
            pie_free(slots[i].of.list.data);
        }
    }
    pie_free(slots);
    pie_free(output->spec_tokens.data);
    pie_free(output->spec_positions.data);
}

bool sdk_wait(struct pie_context *context, uint32_t future, struct abi_option_output *output)
{
    uint32_t pollable = host_future_output_pollable(future);
    host_pollable_block(pollable);
    host_pollable_drop(pollable);
    host_future_output_get(future, output);
    host_future_output_drop(future);
    if (!output->is_some)
        return pie_fail("the forward pass gave no output");
    context->fed += (uint32_t)context->queued.count;
    context->working += (uint32_t)context->queued.count;
    context->queued.count = 0;
    return true;
}

/* Waits for the pass and commits what is full; `output` is to be freed when true. */
static bool finish(struct pie_context *context, uint32_t future, struct abi_option_output *output)
{
    if (!sdk_wait(context, future, output))
        return false;
    if (sdk_commit_full(context))
        return true;
    sdk_free_output(output);
    return false;
}

/* A draw from the nucleus: the shortest run of likeliest tokens that holds top_p of the mass. */
static bool draw(const struct abi_slot *slot, struct pie_sampling *sampling, uint32_t *token)
{
    const uint32_t *ids = slot->of.distribution.ids.data;
    const float *probabilities = slot->of.distribution.probabilities.data;
    uint32_t count = slot->of.distribution.ids.count;
    double mass = 0;
    uint32_t kept = 0;
    if (count == 0)
        return pie_fail("the distribution is empty");
    while (kept < count && mass < sampling->top_p)
        mass += (double)probabilities[kept++];
    double at = (double)(next_random(&sampling->seed) >> 11) * 0x1p-53 * mass;
    uint32_t chosen = 0;
    for (; chosen + 1 < kept; chosen++) {
        at -= (double)probabilities[chosen];
        if (at < 0)
            break;
    }
    *token = ids[chosen];
    return true;
}

bool pie_step_begin(struct pie_step *step, struct pie_context *context,
                    struct pie_sampling *sampling)
{
    *step = (struct pie_step){.sampling = sampling};
    if (!execute(context, step, &step->future))
        return false;
    step->context = context;
    return true;
}

bool pie_step_end(struct pie_step *step, uint32_t *token)
{
    struct abi_option_output output;
    struct pie_context *context = step->context;
    if (!context)
        return pie_fail("the step was not begun");
    step->context = NULL;
    if (!finish(context, step->future, &output))
        return false;
    const struct abi_slot *slot = output.slots.data;
    bool ok = output.slots.count == 1;
    if (!ok)
        (void)pie_fail("the forward pass did not give one slot");
    else if (step->local_draw)
        ok = slot->tag == 1 ? draw(slot, step->sampling, token) : pie_fail("no distribution");
    else if (slot->tag == 0)
        *token = slot->of.token;
    else
        ok = pie_fail("no token");
    sdk_free_output(&output);
    if (ok) {
        context->last = *token;
        pie_context_queue(context, token, 1);
    }
    return ok;
}

bool pie_step(struct pie_context *context, struct pie_sampling *sampling, uint32_t *token)
{
    struct pie_step step;
    return pie_step_begin(&step, context, sampling) && pie_step_end(&step, token);
}

bool pie_context_flush(struct pie_context *context)
{
    struct abi_option_output output;
    uint32_t future;
    if (context->queued.count == 0)
        return true;
    if (!execute(context, NULL, &future) || !finish(context, future, &output))
        return false;
    sdk_free_output(&output);
    return true;
}

/* ---- generation -------------------------------------------------------------------------- */

bool pie_generation_from_params(struct pie_generation *generation, struct pie_text input)
{
    uint32_t seed;
    *generation = (struct pie_generation){.chat = true, .stream = true};
    struct pie_sampling *sampling = &generation->sampling;
    sampling->has_seed = pie_param_has(input, "seed");
    if (!pie_param_u32(input, "max_tokens", 256, &generation->max_tokens) ||
        !pie_param_f64(input, "temperature", 0.6, &sampling->temperature) ||
        !pie_param_f64(input, "top_p", 0.95, &sampling->top_p) ||
        !pie_param_u32(input, "seed", 0, &seed))
        return false;
    if (sampling->temperature < 0)
        return pie_fail("parameter 'temperature' must not be negative");
    if (sampling->top_p < 0 || sampling->top_p > 1)
        return pie_fail("parameter 'top_p' must lie in 0 to 1");
    sampling->seed = seed;
    return true;
}

bool pie_generate(struct pie_context *context, struct pie_generation *generation,
                  struct pie_buf *text, uint32_t *count)
{
    struct pie_chat_decoder decoder;
    struct pie_buf delta = {0};
    uint32_t generated = 0;
    bool done = false;
    bool ok = true;
    pie_chat_decoder_open(&decoder, context->model);
    while (ok && !done && generated < generation->max_tokens) {
        uint32_t token;
        ok = pie_step(context, &generation->sampling, &token);
        if (!ok)
            break;
        generated++;
        if (!generation->chat && pie_is_stop(context->model, token))
            break;
        delta.bytes = 0;
        ok = pie_chat_decoder_feed(&decoder, &token, 1, &delta, &done);
        if (delta.bytes == 0)
            continue;
        if (generation->stream)
            pie_send((struct pie_text){delta.data, delta.bytes});
        if (text)
            pie_buf_append(text, delta.data, delta.bytes);
    }
    pie_chat_decoder_close(&decoder);
    pie_buf_free(&delta);
    if (count)
        *count = generated;
    return ok;
}

/* One of several generations side by side. */
struct strand {
    struct pie_sampling sampling;
    struct pie_step step;
    struct pie_chat_decoder decoder;
    bool done;
};

static bool step_strands(struct pie_context *contexts, struct strand *strands, size_t count,
                         const struct pie_generation *generation, struct pie_buf *texts)
{
    for (size_t i = 0; i < count; i++)
        if (!strands[i].done &&
            !pie_step_begin(&strands[i].step, &contexts[i], &strands[i].sampling))
            return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t token;
        if (strands[i].done)
            continue;
        if (!pie_step_end(&strands[i].step, &token))
            return false;
        if (!generation->chat && pie_is_stop(contexts[i].model, token))
            strands[i].done = true;
        else if (!pie_chat_decoder_feed(&strands[i].decoder, &token, 1, &texts[i],
                                        &strands[i].done))
            return false;
    }
    return true;
}

bool pie_generate_all(struct pie_context *contexts, size_t count,
                      const struct pie_generation *generation, struct pie_buf *texts)
{
    struct strand *strands = pie_alloc(count * sizeof *strands);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        strands[i] = (struct strand){.sampling = generation->sampling};
        strands[i].sampling.seed += (uint64_t)i << 32;
        pie_chat_decoder_open(&strands[i].decoder, contexts[i].model);
    }
    for (uint32_t step = 0; ok && step < generation->max_tokens; step++)
        ok = step_strands(contexts, strands, count, generation, texts);
    for (size_t i = 0; i < count; i++)
        pie_chat_decoder_close(&strands[i].decoder);
    pie_free(strands);
    return ok;
}

bool pie_chat_from_params(struct pie_model *model, struct pie_context *context,
                          struct pie_text input, const char *prompt_name, const char *prompt)
{
    struct pie_buf system = {0};
    struct pie_buf user = {0};
    bool ok = pie_param_text(input, "system", "You are a helpful assistant.", &system) &&
              pie_param_text(input, prompt_name, prompt, &user) && pie_model_open(model, NULL) &&
              pie_context_open(context, model);
    if (ok)
        pie_chat_ask(context, (struct pie_text){system.data, system.bytes},
                     (struct pie_text){user.data, user.bytes});
    pie_buf_free(&system);
    pie_buf_free(&user);
    return ok;
}

void pie_chat_ask(struct pie_context *context, struct pie_text system, struct pie_text user)
{
    const struct pie_model *model = context->model;
    struct pie_tokens turns = {0};
    if (context->fed + context->queued.count > 0)
        pie_chat_user(model, user, &turns);
    else if (system.bytes)
        pie_chat_system_user(model, system, user, &turns);
    else
        pie_chat_first_user(model, user, &turns);
    pie_chat_cue(model, &turns);
    pie_context_queue(context, turns.ids, turns.count);
    pie_tokens_free(&turns);
}

void pie_chat_end_turn(struct pie_context *context)
{
    struct pie_tokens replay = {0};
    size_t queued = context->queued.count;
    pie_chat_assistant(context->model, pie_text("x"), &replay);
    size_t at = replay.count;
    while (at > 0 && !pie_is_stop(context->model, replay.ids[at - 1]))
        at--;
    if (at > 0) {
        if (queued == 0 || !pie_is_stop(context->model, context->queued.ids[queued - 1]))
            pie_context_queue(context, &replay.ids[at - 1], 1);
        pie_context_queue(context, replay.ids + at, replay.count - at);
    }
    pie_tokens_free(&replay);
}
