/* pie:core/inference: forward passes and their outputs.
 *
 * A pass gathers input; execute hands it to the scheduler and empties it, the bound context, the
 * adapter and the model stay. */
#include "engine/host/impl.h"

#include <math.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/vec.h"
#include "engine/sched/sched.h"

struct u32s {
    uint32_t *items;
    size_t count, capacity;
};

struct host_pass {
    struct proc *proc;
    struct host_context *context; /* one reference; NULL = none bound yet */
    struct u32s tokens, positions, draft_tokens, draft_positions;
    struct u32s mask_runs, mask_begins; /* row i: runs from mask_begins[i] to the next's */
    struct u32s logit_mask;
    struct u32s labels; /* of all samplers, one after the other */
    int64_t adapter;    /* -1 = none */
    struct {
        struct batch_sampler *items; /* `labels` is set at execute */
        size_t count, capacity;
    } samplers;
};

/* An output to come: fires when the pass is complete. */
struct host_output {
    struct proc_event event;
    struct host_context *context; /* one reference: the context outlives its passes */
    struct sched_pass *pass;
    bool taken;
};

/* ---- gathering ---------------------------------------------------------------------------- */

static void clear_pass(struct host_pass *pass)
{
    struct mem_heap *heap = &pass->proc->heap;
    vec_free(heap, &pass->tokens);
    vec_free(heap, &pass->positions);
    vec_free(heap, &pass->draft_tokens);
    vec_free(heap, &pass->draft_positions);
    vec_free(heap, &pass->mask_runs);
    vec_free(heap, &pass->mask_begins);
    vec_free(heap, &pass->logit_mask);
    vec_free(heap, &pass->labels);
    vec_free(heap, &pass->samplers);
}

/* What is gathered is small as a rule (one token, one sampler): its memory is kept for the next
 * step, unless it was a long prompt. */
static void reset_pass(struct host_pass *pass)
{
    if (pass->tokens.capacity > 256 || pass->mask_runs.capacity > 1024 ||
        pass->logit_mask.capacity > 1024 || pass->samplers.capacity > 64 ||
        pass->labels.capacity > 1024 || pass->draft_tokens.capacity > 256) {
        clear_pass(pass);
        return;
    }
    pass->tokens.count = pass->positions.count = 0;
    pass->draft_tokens.count = pass->draft_positions.count = 0;
    pass->mask_runs.count = pass->mask_begins.count = pass->logit_mask.count = 0;
    pass->labels.count = pass->samplers.count = 0;
}

void host_inference_drop_pass(void *host, void *rep)
{
    struct proc *proc = host;
    struct host_pass *pass = rep;
    clear_pass(pass);
    if (pass->context != NULL)
        host_context_unref(pass->context);
    mem_free(&proc->heap, pass);
}

enum comp_host_result host_inference_create(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    struct host_pass *pass = mem_calloc(&host_proc(call)->heap, 1, sizeof *pass);
    if (pass == NULL)
        return host_no_memory(call);
    pass->proc = host_proc(call);
    pass->adapter = (int64_t)pass->proc->env->model.adapter - 1;
    *result = comp_own(pass);
    return COMP_HOST_DONE;
}

enum comp_host_result host_inference_context(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    struct host_context *context = host_context_ref(args[1].of.rep);
    if (pass->context != NULL)
        host_context_unref(pass->context);
    pass->context = context;
    return COMP_HOST_DONE;
}

enum comp_host_result host_inference_adapter(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call;
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    const struct host_adapter *adapter = args[1].of.rep;
    pass->adapter = adapter->id;
    return COMP_HOST_DONE;
}

static bool append(struct host_pass *pass, struct u32s *list, const struct comp_value *numbers)
{
    size_t count = numbers->of.list.count;
    if (!vec_reserve(&pass->proc->heap, list, count))
        return false;
    if (count != 0)
        memcpy(list->items + list->count, numbers->of.list.data, count * 4);
    list->count += count;
    return true;
}

enum comp_host_result host_inference_input_tokens(struct comp_host_call *call,
                                                  const struct comp_value *args,
                                                  struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    return append(pass, &pass->tokens, &args[1]) && append(pass, &pass->positions, &args[2])
               ? COMP_HOST_DONE
               : host_no_memory(call);
}

enum comp_host_result host_inference_input_speculative_tokens(struct comp_host_call *call,
                                                              const struct comp_value *args,
                                                              struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    return append(pass, &pass->draft_tokens, &args[1]) &&
                   append(pass, &pass->draft_positions, &args[2])
               ? COMP_HOST_DONE
               : host_no_memory(call);
}

/* Whether drafts of the system are wanted: there are none, results are the same. */
enum comp_host_result host_inference_hint(struct comp_host_call *call,
                                          const struct comp_value *args, struct comp_value *result,
                                          void *user)
{
    (void)call;
    (void)args;
    (void)result;
    (void)user;
    return COMP_HOST_DONE;
}

enum comp_host_result host_inference_attention_mask(struct comp_host_call *call,
                                                    const struct comp_value *args,
                                                    struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    pass->mask_runs.count = pass->mask_begins.count = 0;
    for (size_t i = 0; i < args[1].of.list.count; i++) {
        if (pass->mask_runs.count > UINT32_MAX - args[1].of.list.items[i].of.list.count)
            return host_no_memory(call);
        if (!vec_push(&pass->proc->heap, &pass->mask_begins, (uint32_t)pass->mask_runs.count) ||
            !append(pass, &pass->mask_runs, &args[1].of.list.items[i]))
            return host_no_memory(call);
    }
    return COMP_HOST_DONE;
}

enum comp_host_result host_inference_logit_mask(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    pass->logit_mask.count = 0;
    return append(pass, &pass->logit_mask, &args[1]) ? COMP_HOST_DONE : host_no_memory(call);
}

/* A number that may not be a number. */
static float sane(float value, float otherwise)
{
    return isnan(value) ? otherwise : value;
}

/* The WIT's variant; false: its labels did not fit into memory. */
static bool read_sampler(struct host_pass *pass, const struct comp_value *value,
                         struct batch_sampler *sampler)
{
    const struct comp_value *payload = value->of.variant.payload;
    const struct comp_value *parts = NULL;
    *sampler = (struct batch_sampler){
        .kind = (enum batch_sampler_kind)value->of.variant.index, .temperature = 1.0f, .p = 1.0f};
    if (payload != NULL && payload->kind == COMP_TUPLE) {
        parts = payload->of.list.items;
        sampler->temperature = sane(parts[0].of.f32, 0.0f);
    }
    switch (sampler->kind) {
    case BATCH_MULTINOMIAL: sampler->seed = parts[1].of.u; break;
    case BATCH_TOP_K:
    case BATCH_DIST: sampler->k = (uint32_t)parts[1].of.u; break;
    case BATCH_TOP_P: sampler->p = sane(parts[1].of.f32, 1.0f); break;
    case BATCH_MIN_P: sampler->p = sane(parts[1].of.f32, 0.0f); break;
    case BATCH_TOP_K_TOP_P:
        sampler->k = (uint32_t)parts[1].of.u;
        sampler->p = sane(parts[2].of.f32, 1.0f);
        break;
    case BATCH_LOGPROB:
        sampler->label_count = 1;
        return vec_push(&pass->proc->heap, &pass->labels, (uint32_t)payload->of.u);
    case BATCH_LOGPROBS:
        if (payload->of.list.count > UINT32_MAX)
            return false;
        sampler->label_count = (uint32_t)payload->of.list.count;
        return append(pass, &pass->labels, payload);
    case BATCH_EMBEDDING:
    case BATCH_RAW_LOGITS:
    case BATCH_ENTROPY: break;
    }
    return true;
}

static bool draws(enum batch_sampler_kind kind)
{
    return kind == BATCH_MULTINOMIAL || kind == BATCH_TOP_K || kind == BATCH_TOP_P ||
           kind == BATCH_MIN_P || kind == BATCH_TOP_K_TOP_P;
}

enum comp_host_result host_inference_sampler(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)result;
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    const uint32_t *rows = args[1].of.list.data;
    for (size_t i = 0; i < args[1].of.list.count; i++) {
        struct batch_sampler sampler;
        if (!read_sampler(pass, &args[2], &sampler))
            return host_no_memory(call);
        sampler.row = rows[i];
        if (draws(sampler.kind) && sampler.seed == 0)
            sampler.seed = proc_draw_seed(pass->proc);
        if (!vec_push(&pass->proc->heap, &pass->samplers, sampler))
            return host_no_memory(call);
    }
    return COMP_HOST_DONE;
}

/* ---- execute ------------------------------------------------------------------------------ */

static void destroy_output(struct proc_event *event)
{
    struct host_output *output = (struct host_output *)event;
    sched_pass_release(output->pass);
    host_context_unref(output->context);
    mem_free(&event->proc->heap, output);
}

void host_inference_drop_output(void *host, void *rep)
{
    (void)host;
    proc_event_unref(rep);
}

static void pass_done(void *user, struct sched_pass *pass)
{
    (void)pass;
    struct host_output *output = user;
    proc_event_fire(&output->event);
}

/* Guests that give no masks mean: each row sees the KV entries up to its position, and never what
 * comes after it. With usual positions that is plain causal attention and needs no masks. False
 * when memory is out. */
static bool mask_positions(struct comp_host_call *call, const struct host_pass *pass,
                           uint32_t begin, struct batch_brle **masks)
{
    *masks = NULL;
    size_t count = pass->tokens.count;
    bool usual = true;
    for (size_t i = 0; i < count && usual; i++)
        usual = (uint64_t)pass->positions.items[i] >= (uint64_t)begin + i;
    if (usual)
        return true;
    *masks = arena_calloc(call->arena, count, sizeof **masks);
    uint32_t(*runs)[2] = arena_calloc(call->arena, count, sizeof *runs);
    if (*masks == NULL || runs == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t seen = (uint64_t)pass->positions.items[i] + 1;
        if (seen > (uint64_t)begin + i + 1)
            seen = (uint64_t)begin + i + 1;
        runs[i][1] = seen > UINT32_MAX ? UINT32_MAX : (uint32_t)seen;
        (*masks)[i] = (struct batch_brle){.runs = runs[i], .count = 2};
    }
    return true;
}

static bool guest_masks(struct comp_host_call *call, const struct host_pass *pass,
                        struct batch_brle **masks)
{
    size_t count = pass->mask_begins.count;
    *masks = arena_calloc(call->arena, count, sizeof **masks);
    if (*masks == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t begin = pass->mask_begins.items[i];
        size_t end = i + 1 < count ? pass->mask_begins.items[i + 1] : pass->mask_runs.count;
        (*masks)[i] = (struct batch_brle){.runs = pass->mask_runs.items + begin,
                                          .count = (uint32_t)(end - begin)};
    }
    return true;
}

/* The scheduler checks the rest. */
static enum err check_input(const struct host_pass *pass, struct report *report)
{
    if (pass->tokens.count != pass->positions.count)
        return err_set(report, ERR_INVALID,
                       "input-tokens: %zu tokens have %zu positions; one for each is needed",
                       pass->tokens.count, pass->positions.count);
    if (pass->draft_tokens.count != pass->draft_positions.count)
        return err_set(report, ERR_INVALID,
                       "input-speculative-tokens: %zu tokens have %zu positions; one for each is "
                       "needed",
                       pass->draft_tokens.count, pass->draft_positions.count);
    if (pass->tokens.count > UINT32_MAX / 2 || pass->draft_tokens.count > UINT32_MAX / 2 ||
        pass->samplers.count > UINT32_MAX / 2)
        return err_set(report, ERR_LIMIT, "the forward pass is too large");
    return ERR_OK;
}

static enum err submit(struct comp_host_call *call, struct host_pass *pass,
                       struct host_output *output, struct report *report)
{
    enum err err = check_input(pass, report);
    if (err != ERR_OK)
        return err;
    struct host_context *context = pass->context;
    if (context->sched == NULL)
        return err_set(report, ERR_INVALID, HOST_CONTEXT_DESTROYED);
    if (sched_context_settle(context->sched, NULL, NULL))
        context->length = kv_length(sched_context_kv(context->sched));
    struct batch_brle *masks = NULL;
    bool good = pass->mask_begins.count != 0 ? guest_masks(call, pass, &masks)
                                             : mask_positions(call, pass, context->length, &masks);
    if (!good)
        return err_set(report, ERR_MEMORY, "out of memory for a forward pass");
    const uint32_t *labels = pass->labels.items;
    for (size_t i = 0; i < pass->samplers.count; i++) {
        if (pass->samplers.items[i].label_count == 0)
            continue;
        pass->samplers.items[i].labels = labels;
        labels += pass->samplers.items[i].label_count;
    }
    size_t mask_count = pass->mask_begins.count;
    if (mask_count == 0 && masks != NULL)
        mask_count = pass->tokens.count;
    struct sched_request request = {
        .tokens = pass->tokens.items,
        .positions = pass->positions.items,
        .token_count = (uint32_t)pass->tokens.count,
        .masks = masks,
        .mask_count = (uint32_t)mask_count,
        .logit_mask = {pass->logit_mask.items, (uint32_t)pass->logit_mask.count},
        .samplers = pass->samplers.items,
        .sampler_count = (uint32_t)pass->samplers.count,
        .draft_tokens = pass->draft_tokens.items,
        .draft_positions = pass->draft_positions.items,
        .draft_count = (uint32_t)pass->draft_tokens.count,
        .adapter_id = pass->adapter,
        .adapter_seed = -1,
        .done = pass_done,
        .user = output,
    };
    err = sched_submit(context->sched, &request, &output->pass, report);
    if (err == ERR_OK)
        context->length += (uint32_t)(pass->tokens.count + pass->draft_tokens.count);
    return err;
}

enum comp_host_result host_inference_execute(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)user;
    struct host_pass *pass = args[0].of.rep;
    struct proc *proc = host_proc(call);
    if (pass->context == NULL) {
        comp_trap(call, "ForwardPass requires a context");
        return COMP_HOST_TRAP;
    }
    struct host_output *output = mem_calloc(&proc->heap, 1, sizeof *output);
    if (output == NULL)
        return host_no_memory(call);
    proc_event_init(&output->event, proc, destroy_output);
    output->context = host_context_ref(pass->context);
    struct report report = {0};
    enum err err = submit(call, pass, output, &report);
    reset_pass(pass);
    struct comp_value handle = comp_own(output);
    enum comp_host_result done = host_outcome(call, err, &report, &handle, result);
    if (err != ERR_OK || done != COMP_HOST_DONE)
        proc_event_unref(&output->event);
    return done;
}

/* ---- outputs ------------------------------------------------------------------------------ */

/* One slot as the WIT's variant slot-output; its arrays stay where they are. */
static bool lower_slot(struct arena *arena, const struct batch_slot *slot, struct comp_value *out)
{
    struct comp_value payload = {0};
    switch (slot->kind) {
    case BATCH_SLOT_TOKEN: payload = comp_u32(slot->token); break;
    case BATCH_SLOT_DISTRIBUTION: {
        struct comp_value *pair = arena_calloc(arena, 2, sizeof *pair);
        if (pair == NULL)
            return false;
        pair[0] = comp_list_packed(slot->ids, slot->count);
        pair[1] = comp_list_packed(slot->values, slot->count);
        payload = comp_items(COMP_TUPLE, pair, 2);
        break;
    }
    case BATCH_SLOT_LOGITS:
    case BATCH_SLOT_EMBEDDING:
        payload = comp_list_packed(slot->values, (size_t)slot->count * sizeof(float));
        break;
    case BATCH_SLOT_LOGPROBS: payload = comp_list_packed(slot->values, slot->count); break;
    case BATCH_SLOT_ENTROPY: payload = comp_f32(slot->entropy); break;
    }
    return comp_variant(arena, (uint32_t)slot->kind, &payload, out);
}

enum comp_host_result host_inference_get(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)user;
    struct host_output *output = args[0].of.rep;
    *result = comp_none();
    if (output->taken)
        return COMP_HOST_DONE;
    const struct sched_output *out = sched_pass_output(output->pass);
    if (out == NULL)
        return COMP_HOST_DONE;
    if (out->err != ERR_OK) {
        /* The WIT has no err arm here, and an empty output would say that all is well. */
        comp_trap(call, "the forward pass failed: %s", out->why);
        return COMP_HOST_TRAP;
    }
    struct comp_value *slots =
        arena_calloc(call->arena, (size_t)out->slot_count + 1, sizeof *slots);
    struct comp_value *fields = arena_calloc(call->arena, 3, sizeof *fields);
    if (slots == NULL || fields == NULL)
        return host_no_memory(call);
    size_t count = 0;
    for (uint32_t i = 0; i < out->slot_count; i++) {
        if (out->slots[i].kind == BATCH_SLOT_EMBEDDING)
            continue; /* as upstream: no slot */
        if (!lower_slot(call->arena, &out->slots[i], &slots[count++]))
            return host_no_memory(call);
    }
    fields[0] = comp_items(COMP_LIST, slots, count);
    fields[1] = comp_list_packed(NULL, 0);
    fields[2] = comp_list_packed(NULL, 0);
    if (!comp_some(call->arena, comp_items(COMP_RECORD, fields, 3), result))
        return host_no_memory(call);
    output->taken = true;
    return COMP_HOST_DONE;
}
