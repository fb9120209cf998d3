/* Forward passes from submission to output. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/sched/inner.h"

/* ---- submission -------------------------------------------------------------------------- */

static enum err tokens_check(const struct sched *sched, const uint32_t *tokens, uint32_t count,
                             struct report *report)
{
    for (uint32_t i = 0; i < count; i++) {
        if (tokens[i] >= sched->vocab_count)
            return err_set(report, ERR_INVALID,
                           "input-tokens: token %" PRIu32 " is not in the model's vocabulary of "
                           "%" PRIu32 " tokens", tokens[i], sched->vocab_count);
    }
    return ERR_OK;
}

static enum err samplers_check(const struct sched *sched, const struct sched_request *request,
                               struct report *report)
{
    for (uint32_t s = 0; s < request->sampler_count; s++) {
        const struct batch_sampler *sampler = &request->samplers[s];
        if (sampler->row >= request->token_count)
            return err_set(report, ERR_INVALID,
                           "sampler: index %" PRIu32 " is not one of the pass's %" PRIu32
                           " input tokens", sampler->row, request->token_count);
        if (sampler->kind != BATCH_LOGPROB && sampler->kind != BATCH_LOGPROBS)
            continue;
        for (uint32_t i = 0; i < sampler->label_count; i++) {
            if (sampler->labels[i] >= sched->vocab_count)
                return err_set(report, ERR_INVALID,
                               "sampler: token %" PRIu32 " is not in the model's vocabulary of "
                               "%" PRIu32 " tokens", sampler->labels[i], sched->vocab_count);
        }
    }
    return ERR_OK;
}

static enum err capacity_check(const struct sched_context *context, uint32_t length,
                               const struct sched_request *request, struct report *report)
{
    const struct kv_context *kv = context->kv;
    uint32_t pages = kv_committed_pages(kv) + kv_working_pages(kv);
    uint32_t page_tokens = kv_page_tokens(kv);
    uint64_t total = (uint64_t)length + request->token_count + request->draft_count;
    uint64_t capacity = (uint64_t)pages * page_tokens;
    if (total <= capacity)
        return ERR_OK;
    char ids[200];
    size_t used = 0;
    ids[0] = '\0';
    uint32_t held = kv_pages_held(kv);
    const uint32_t *table = kv_page_table(kv, held);
    for (uint32_t i = 0; i < held && used < sizeof ids - 16; i++)
        used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%" PRIu32, i ? ", " : "",
                                 table[i]);
    return err_set(report, ERR_LIMIT,
                   "KV_INVARIANT_VIOLATION ctx=%" PRIu64 " total_kv=%" PRIu64
                   " page_capacity=%" PRIu64 " num_pages=%" PRIu32 " kv_len=%" PRIu32
                   " num_input=%" PRIu32 " num_spec=%" PRIu32 " page_size=%" PRIu32
                   " phys_ids=[%s]",
                   kv_context_id(kv), total, capacity, pages, length, request->token_count,
                   request->draft_count, page_tokens, ids);
}

static bool samples_token(enum batch_sampler_kind kind)
{
    return kind <= BATCH_TOP_K_TOP_P;
}

/* Bytes that the pass keeps until it is released. */
static uint64_t pass_bytes(const struct sched *sched, const struct sched_request *request)
{
    uint64_t rows = (uint64_t)request->token_count + request->draft_count;
    uint64_t bytes = sizeof(struct sched_pass) + rows * 2 * sizeof(uint32_t);
    bytes += (uint64_t)request->draft_count *
             (sizeof(struct batch_sampler) + sizeof(struct batch_slot));
    for (uint32_t i = 0; i < request->mask_count; i++)
        bytes += sizeof(struct kv_mask) + (uint64_t)request->masks[i].count * sizeof(uint32_t);
    bytes += (uint64_t)request->logit_mask.count * sizeof(uint32_t);
    for (uint32_t s = 0; s < request->sampler_count; s++) {
        const struct batch_sampler *sampler = &request->samplers[s];
        bytes += sizeof(struct batch_sampler) + sizeof(struct batch_slot);
        bytes += (uint64_t)sampler->label_count * (sizeof(uint32_t) + sizeof(float));
        if (sampler->kind == BATCH_RAW_LOGITS)
            bytes += (uint64_t)sched->vocab_count * sizeof(float);
        else if (sampler->kind == BATCH_EMBEDDING)
            bytes += (uint64_t)sched->embedding_count * sizeof(float);
        else if (sampler->kind == BATCH_DIST)
            bytes += (uint64_t)(sampler->k == 0 || sampler->k > sched->vocab_count
                                    ? sched->vocab_count : sampler->k) *
                     (sizeof(uint32_t) + sizeof(float));
    }
    return bytes;
}

static const void *copy(struct arena *arena, const void *items, size_t count, size_t item_bytes,
                        bool *ok)
{
    if (count == 0)
        return NULL;
    void *block = arena_calloc(arena, count, item_bytes);
    if (block == NULL)
        *ok = false;
    else
        memcpy(block, items, count * item_bytes);
    return block;
}

static bool copy_samplers(struct sched_pass *pass, const struct sched_request *request)
{
    bool ok = true;
    uint32_t count = request->sampler_count;
    const struct batch_sampler *last = count > 0 ? &request->samplers[count - 1] : NULL;
    pass->verified = request->draft_count > 0 && last != NULL && samples_token(last->kind) &&
                     last->row == request->token_count - 1;
    uint32_t total = count + (pass->verified ? request->draft_count : 0);
    pass->sampler_count = count;
    pass->samplers = arena_calloc(&pass->arena, total, sizeof *pass->samplers);
    pass->slots = arena_calloc(&pass->arena, total, sizeof *pass->slots);
    if (pass->samplers == NULL || pass->slots == NULL)
        return false;
    for (uint32_t s = 0; s < count; s++) {
        struct batch_sampler *sampler = &pass->samplers[s];
        *sampler = request->samplers[s];
        sampler->labels =
            copy(&pass->arena, sampler->labels, sampler->label_count, sizeof(uint32_t), &ok);
    }
    for (uint32_t i = 0; i < total - count; i++) {
        /* The draw behind draft i. The next seed, as if it were drawn in a pass of its own. */
        pass->samplers[count + i] = *last;
        pass->samplers[count + i].row = request->token_count + i;
        pass->samplers[count + i].seed = last->seed + i + 1;
    }
    return ok;
}

static bool copy_rows(struct sched_pass *pass, const struct sched_request *request)
{
    bool ok = true;
    uint32_t tokens = request->token_count, drafts = request->draft_count;
    pass->rows = tokens + drafts;
    pass->draft_count = drafts;
    pass->tokens = arena_calloc(&pass->arena, pass->rows, sizeof *pass->tokens);
    pass->positions = arena_calloc(&pass->arena, pass->rows, sizeof *pass->positions);
    pass->masks = arena_calloc(&pass->arena, request->mask_count, sizeof *pass->masks);
    if (pass->tokens == NULL || pass->positions == NULL || pass->masks == NULL)
        return false;
    memcpy(pass->tokens, request->tokens, tokens * sizeof *pass->tokens);
    memcpy(pass->positions, request->positions, tokens * sizeof *pass->positions);
    if (drafts > 0) {
        memcpy(pass->tokens + tokens, request->draft_tokens, drafts * sizeof *pass->tokens);
        memcpy(pass->positions + tokens, request->draft_positions,
               drafts * sizeof *pass->positions);
    }
    pass->mask_count = request->mask_count;
    for (uint32_t i = 0; i < request->mask_count; i++) {
        struct batch_brle mask = request->masks[i];
        pass->masks[i] = (struct kv_mask){
            copy(&pass->arena, mask.runs, mask.count, sizeof(uint32_t), &ok), mask.count};
    }
    pass->logit_mask = (struct batch_brle){
        copy(&pass->arena, request->logit_mask.runs, request->logit_mask.count, sizeof(uint32_t),
             &ok),
        request->logit_mask.count};
    return ok;
}

static void pass_free(struct sched_pass *pass)
{
    if (pass->owner != NULL)
        pass->owner->pass_bytes -= pass->bytes;
    link_remove(&pass->of_owner);
    link_remove(&pass->listed);
    arena_deinit(&pass->arena);
    mem_free(NULL, pass);
}

enum err sched_submit(struct sched_context *context, const struct sched_request *request,
                      struct sched_pass **pass_out, struct report *report)
{
    struct sched *sched = context->sched;
    struct sched_owner *owner = context->owner;
    uint64_t rows = (uint64_t)request->token_count + request->draft_count;
    if (request->token_count == 0)
        return err_set(report, ERR_INVALID,
                       "empty input: a forward pass must supply at least one token");
    if (request->mask_count != 0 && request->mask_count != request->token_count)
        return err_set(report, ERR_INVALID,
                       "attention-mask: %" PRIu32 " masks for %" PRIu32
                       " input tokens; give one per token, or none",
                       request->mask_count, request->token_count);
    if (owner->limited && rows > owner->tokens_left)
        return err_set(report, ERR_LIMIT,
                       "pin: token budget exhausted for context %" PRIu64 " (requested %" PRIu64
                       " tokens)", kv_context_id(context->kv), rows);
    uint32_t length = kv_length(context->kv) + (uint32_t)context->queued_rows;
    enum err err = capacity_check(context, length, request, report);
    if (err == ERR_OK)
        err = tokens_check(sched, request->tokens, request->token_count, report);
    if (err == ERR_OK)
        err = tokens_check(sched, request->draft_tokens, request->draft_count, report);
    if (err == ERR_OK)
        err = samplers_check(sched, request, report);
    if (err != ERR_OK)
        return err;
    uint64_t bytes = pass_bytes(sched, request);
    if (bytes > SCHED_PASS_BYTES_MAX - owner->pass_bytes)
        return err_set(report, ERR_LIMIT,
                       "forward pass: its input and outputs take %" PRIu64 " bytes, and %" PRIu64
                       " of %u are taken by passes whose outputs were not dropped yet",
                       bytes, owner->pass_bytes, (unsigned)SCHED_PASS_BYTES_MAX);

    struct sched_pass *pass = mem_calloc(NULL, 1, sizeof *pass);
    if (pass == NULL)
        return err_set(report, ERR_MEMORY, "forward pass: out of memory");
    link_init(&pass->of_owner);
    link_init(&pass->of_context);
    link_init(&pass->listed);
    arena_init(&pass->arena, NULL);
    if (!copy_rows(pass, request) || !copy_samplers(pass, request)) {
        pass_free(pass);
        return err_set(report, ERR_MEMORY, "forward pass: out of memory");
    }
    struct kv_rows kv_rows = {.count = pass->rows, .masks = pass->masks,
                              .mask_count = pass->mask_count};
    uint32_t span = pass->mask_count == 0 ? 1 : kv_rows_span(&kv_rows, length);
    if (span > sched->tokens_max) {
        pass_free(pass);
        return err_set(report, ERR_LIMIT,
                       "attention-mask: masks that look ahead tie %" PRIu32
                       " tokens together, a step has at most %" PRIu32, span, sched->tokens_max);
    }
    pass->adapter_id = request->adapter_id;
    pass->adapter_seed = request->adapter_seed;
    pass->done = request->done;
    pass->user = request->user;
    pass->owner = owner;
    pass->bytes = bytes;
    owner->pass_bytes += bytes;
    pass->context = context;
    link_push(&owner->passes, &pass->of_owner);
    bool first = link_alone(&context->passes);
    link_push(&context->passes, &pass->of_context);
    context->queued_rows += pass->rows;
    if (owner->limited)
        owner->tokens_left -= rows;
    sched->pending++;
    sched->stats.passes++;
    *pass_out = pass;
    if (first)
        sched_pass_next(context);
    return ERR_OK;
}

/* ---- on the way -------------------------------------------------------------------------- */

enum err sched_pass_prepare(struct sched_pass *pass)
{
    struct sched *sched = pass->context->sched;
    size_t before = sched->copies.count;
    enum err err = kv_prepare(pass->context->kv, &sched->copies);
    pass->copy_step = sched->copies.count > before ? sched->step_serial + 1 : 0;
    return err;
}

void sched_pass_ready(struct sched_pass *pass)
{
    struct sched *sched = pass->context->sched;
    const struct kv_context *kv = pass->context->kv;
    if (pass->state != PASS_READY && pass->state != PASS_RUNNING)
        sched->pinned++;
    pass->state = PASS_READY;
    uint32_t left = kv_length(kv) + kv_staged(kv) - kv_computed(kv);
    pass->small = left <= 1 || left <= sched->tokens_max / 64;
    link_push(pass->small ? &sched->ready_small : &sched->ready_large, &pass->listed);
    sched_context_file(pass->context);
}

void sched_pass_next(struct sched_context *context)
{
    struct sched *sched = context->sched;
    struct sched_pass *pass = link_first(&context->passes, struct sched_pass, of_context);
    if (pass == NULL) {
        if (context->settled_fn != NULL)
            link_push(&sched->settled, &context->settled);
        sched_context_file(context);
        return;
    }
    struct kv_rows rows = {
        .tokens = pass->tokens,
        .positions = pass->positions,
        .count = pass->rows,
        .masks = pass->masks,
        .mask_count = pass->mask_count,
        .adapter_id = pass->adapter_id,
        .adapter_seed = pass->adapter_seed,
    };
    if (kv_stage(context->kv, &rows) != ERR_OK) {
        sched_pass_complete(pass, ERR_MEMORY, "out of memory for the context's tokens");
        return;
    }
    /* Who needs no page waits for nobody. */
    if (kv_need(context->kv) == 0 && sched_pass_prepare(pass) == ERR_OK) {
        sched_pass_ready(pass);
        return;
    }
    pass->state = PASS_WAITING;
    context->waiting.standing = sched_context_standing(context);
    sched_heap_push(&sched->waiting, &context->waiting);
    sched_context_file(context);
}

/* ---- the end ----------------------------------------------------------------------------- */

/* Takes the pass off its context and makes its output. */
static void finish(struct sched_pass *pass, enum err err, const char *why)
{
    struct sched_context *context = pass->context;
    struct sched *sched = context->sched;
    if (pass->state == PASS_READY || pass->state == PASS_RUNNING)
        sched->pinned--;
    if (sched->first == pass)
        sched->first = NULL;
    link_remove(&pass->of_context);
    link_remove(&pass->listed);
    context->queued_rows -= pass->rows;
    sched->pending--;
    pass->context = NULL;
    pass->state = PASS_COMPLETE;
    pass->output.err = err;
    pass->output.why = pass->why;
    if (err != ERR_OK) {
        snprintf(pass->why, sizeof pass->why, "%s", why);
        sched->stats.passes_failed++;
        bool is_spent = err == ERR_CANCELLED && pass->begun;
        if (pass->owner != NULL && pass->owner->limited && !is_spent)
            pass->owner->tokens_left += pass->rows;
    } else {
        uint32_t count = pass->sampler_count;
        if (pass->verified) {
            const uint32_t *drafts = pass->tokens + pass->rows - pass->draft_count;
            uint32_t accepted = 0;
            while (accepted < pass->draft_count &&
                   pass->slots[count + accepted - 1].token == drafts[accepted])
                accepted++;
            count += accepted;
        }
        pass->output.slots = pass->slots;
        pass->output.slot_count = count;
    }
    if (pass->released)
        pass_free(pass);
    else if (pass->done != NULL)
        link_push(&sched->done, &pass->listed);
}

void sched_pass_complete(struct sched_pass *pass, enum err err, const char *why)
{
    struct sched_context *context = pass->context;
    CHECK(context->passes.next == &pass->of_context);
    finish(pass, err, why);
    if (err != ERR_OK) {
        /* What stands behind it was meant to follow its tokens. */
        char chained[200];
        snprintf(chained, sizeof chained, "an earlier pass on this context failed: %.140s", why);
        struct sched_pass *next;
        while ((next = link_first(&context->passes, struct sched_pass, of_context)) != NULL)
            finish(next, err, chained);
    }
    if (context->owner != NULL)
        sched_pass_next(context);
    else if (link_alone(&context->passes))
        sched_context_free(context);
}

void sched_pass_abort(struct sched_pass *pass, enum err err, const char *why)
{
    struct sched_context *context = pass->context;
    struct sched *sched = context->sched;
    CHECK(pass->state != PASS_RUNNING && pass->state != PASS_COMPLETE);
    if (pass->state != PASS_QUEUED) {
        sched_heap_remove(&sched->waiting, &context->waiting);
        kv_abandon(context->kv, true);
    }
    finish(pass, err, why);
}

bool sched_deliver(struct sched *sched)
{
    bool called = false;
    struct sched_pass *pass;
    while ((pass = link_first(&sched->done, struct sched_pass, listed)) != NULL) {
        link_remove(&pass->listed);
        called = true;
        pass->done(pass->user, pass);
    }
    struct sched_context *context;
    while ((context = link_first(&sched->settled, struct sched_context, settled)) != NULL) {
        link_remove(&context->settled);
        if (!link_alone(&context->passes) || context->settled_fn == NULL)
            continue; /* passes came in between: called when they are complete */
        sched_settled_fn fn = context->settled_fn;
        context->settled_fn = NULL;
        called = true;
        fn(context->settled_user);
    }
    return called;
}

const struct sched_output *sched_pass_output(const struct sched_pass *pass)
{
    return pass->state == PASS_COMPLETE ? &pass->output : NULL;
}

void sched_pass_release(struct sched_pass *pass)
{
    if (pass == NULL)
        return;
    if (pass->state == PASS_COMPLETE) {
        pass_free(pass);
        return;
    }
    pass->released = true;
}
