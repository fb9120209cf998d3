/* Filling a step, and taking it apart when it is computed. */
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/sched/inner.h"

/* ---- filling ----------------------------------------------------------------------------- */

static void step_clear(struct step *step)
{
    step->entries.count = step->tokens.count = step->positions.count = 0;
    step->token_begin.count = step->pages.count = step->page_begin.count = 0;
    step->kv_before.count = step->sampler_begin.count = step->slot_of.count = 0;
    step->copy_from.count = step->copy_to.count = 0;
    step->masks_kv.count = step->masks.count = step->logit_masks.count = 0;
    step->samplers.count = 0;
    step->adapters.count = 0;
    step->masked = step->logit_masked = step->adapted = false;
    step->replayed = 0;
}

void sched_step_free(struct step *step)
{
    vec_free(NULL, &step->entries);
    vec_free(NULL, &step->tokens);
    vec_free(NULL, &step->positions);
    vec_free(NULL, &step->token_begin);
    vec_free(NULL, &step->pages);
    vec_free(NULL, &step->page_begin);
    vec_free(NULL, &step->kv_before);
    vec_free(NULL, &step->sampler_begin);
    vec_free(NULL, &step->slot_of);
    vec_free(NULL, &step->copy_from);
    vec_free(NULL, &step->copy_to);
    vec_free(NULL, &step->masks_kv);
    vec_free(NULL, &step->masks);
    vec_free(NULL, &step->logit_masks);
    vec_free(NULL, &step->adapters);
    vec_free(NULL, &step->samplers);
}

/* Room for one more pass with all that hangs on it. */
static bool reserve(struct step *step, uint32_t rows, uint32_t pages, uint32_t samplers)
{
    return vec_reserve(NULL, &step->entries, 1) && vec_reserve(NULL, &step->tokens, rows) &&
           vec_reserve(NULL, &step->positions, rows) && vec_reserve(NULL, &step->masks, rows) &&
           vec_reserve(NULL, &step->masks_kv, rows) &&
           vec_reserve(NULL, &step->adapters, rows) &&
           vec_reserve(NULL, &step->token_begin, 2) && vec_reserve(NULL, &step->pages, pages) &&
           vec_reserve(NULL, &step->page_begin, 2) && vec_reserve(NULL, &step->kv_before, 1) &&
           vec_reserve(NULL, &step->logit_masks, 1) &&
           vec_reserve(NULL, &step->sampler_begin, 2) &&
           vec_reserve(NULL, &step->samplers, samplers) &&
           vec_reserve(NULL, &step->slot_of, samplers);
}

/* Puts the pass's next `count` rows into the step; false when memory is out. */
static bool add(struct sched *sched, struct sched_pass *pass, uint32_t count)
{
    struct step *step = &sched->step;
    const struct kv_context *kv = pass->context->kv;
    uint32_t computed = kv_computed(kv), length = kv_length(kv), end = computed + count;
    uint32_t pages = end / sched->page_tokens + (end % sched->page_tokens != 0);
    uint32_t samplers = pass->sampler_count + (pass->verified ? pass->draft_count : 0);
    if (!reserve(step, count, pages, samplers))
        return false;

    struct step_entry entry = {pass, count, (uint32_t)step->slot_of.count};
    step->entries.items[step->entries.count++] = entry;
    bool masked = kv_masked(kv, computed, count);
    kv_rows_get(kv, computed, count, step->tokens.items + step->tokens.count,
                step->positions.items + step->positions.count,
                masked ? step->masks_kv.items : NULL);
    for (uint32_t i = 0; i < count; i++)
        step->masks.items[step->masks.count + i] =
            masked ? (struct batch_brle){step->masks_kv.items[i].runs,
                                         step->masks_kv.items[i].count}
                   : (struct batch_brle){0};
    step->masked = step->masked || masked;
    int64_t *adapters = step->adapters.items + step->adapters.count;
    if (kv_adapters_get(kv, computed, count, adapters))
        step->adapted = true;
    else
        for (uint32_t i = 0; i < count; i++)
            adapters[i] = -1;
    step->adapters.count += count;
    step->tokens.count += count;
    step->positions.count += count;
    step->masks.count += count;
    memcpy(step->pages.items + step->pages.count, kv_page_table(kv, pages),
           pages * sizeof *step->pages.items);
    step->pages.count += pages;
    step->kv_before.items[step->kv_before.count++] = computed;
    step->logit_masks.items[step->logit_masks.count++] = pass->logit_mask;
    step->logit_masked = step->logit_masked || pass->logit_mask.count > 0;
    for (uint32_t s = 0; s < samplers; s++) {
        uint32_t row = length + pass->samplers[s].row;
        if (row < computed || row >= end)
            continue;
        struct batch_sampler *sampler = &step->samplers.items[step->samplers.count++];
        *sampler = pass->samplers[s];
        sampler->row = row - computed;
        step->slot_of.items[step->slot_of.count++] = s;
    }
    step->token_begin.items[step->token_begin.count++] = (uint32_t)step->tokens.count;
    step->page_begin.items[step->page_begin.count++] = (uint32_t)step->pages.count;
    step->sampler_begin.items[step->sampler_begin.count++] = (uint32_t)step->samplers.count;
    if (computed < length)
        step->replayed += (end < length ? end : length) - computed;

    link_remove(&pass->listed);
    pass->state = PASS_RUNNING;
    pass->begun = true;
    return true;
}

/* Samplers of the pass whose rows are among its next `count`. */
static uint32_t samplers_within(const struct sched_pass *pass, uint32_t count)
{
    const struct kv_context *kv = pass->context->kv;
    uint32_t begin = kv_computed(kv), length = kv_length(kv), found = 0;
    uint32_t total = pass->sampler_count + (pass->verified ? pass->draft_count : 0);
    for (uint32_t s = 0; s < total; s++) {
        uint32_t row = length + pass->samplers[s].row;
        found += row >= begin && row - begin < count;
    }
    return found;
}

enum taken { TAKEN, TAKEN_FULL, TAKEN_NOT };

/* Adds what fits of the pass into `limit` rows of the step. */
static enum taken take(struct sched *sched, struct sched_pass *pass, uint32_t limit)
{
    struct step *step = &sched->step;
    if (step->entries.count >= sched->requests_max || step->tokens.count >= limit ||
        step->samplers.count >= sched->samplers_max)
        return TAKEN_FULL;
    uint32_t count = kv_cut(pass->context->kv, limit - (uint32_t)step->tokens.count);
    if (count == 0) {
        /* Rows that must stay together: it comes first in the next step, and has room. */
        if (sched->first == NULL)
            sched->first = pass;
        return TAKEN_NOT;
    }
    /* Whose samplers are too many for what is left waits for the next step; whose are too many for
     * any comes in smaller pieces. */
    while (samplers_within(pass, count) > sched->samplers_max - step->samplers.count) {
        if (step->entries.count > 0)
            return TAKEN_FULL;
        uint32_t less = kv_cut(pass->context->kv, count / 2);
        if (less == 0)
            break;
        count = less;
    }
    if (add(sched, pass, count))
        return TAKEN;
    if (step->entries.count > 0)
        return TAKEN_FULL; /* with what there is; it is tried again */
    kv_abandon(pass->context->kv, false); /* a page copy may still be due */
    sched_pass_complete(pass, ERR_MEMORY, "out of memory for the step");
    return TAKEN_NOT;
}

static void take_list(struct sched *sched, struct link *list, uint32_t limit)
{
    struct link *link = list->next;
    while (link != list) {
        struct sched_pass *pass = link_item(link, struct sched_pass, listed);
        link = link->next;
        if (take(sched, pass, limit) == TAKEN_FULL)
            return;
    }
}

static bool fill(struct sched *sched)
{
    struct step *step = &sched->step;
    step_clear(step);
    if (!vec_push(NULL, &step->token_begin, 0) || !vec_push(NULL, &step->page_begin, 0) ||
        !vec_push(NULL, &step->sampler_begin, 0) ||
        !vec_reserve(NULL, &step->copy_from, sched->copies.count) ||
        !vec_reserve(NULL, &step->copy_to, sched->copies.count))
        return false;
    uint32_t all = sched->tokens_max;
    struct sched_pass *first = sched->first;
    sched->first = NULL;
    if (first != NULL)
        take(sched, first, all);
    /* A quarter of every step is for long passes, and no more while there are short ones: neither
     * kind stops the other, and a decode never waits for a whole chunk of somebody's prompt. */
    uint32_t share = all / 4 > 0 ? all / 4 : 1;
    bool both = !link_alone(&sched->ready_small) && !link_alone(&sched->ready_large);
    take_list(sched, &sched->ready_small, both ? all - share : all);
    uint32_t used = (uint32_t)step->tokens.count;
    take_list(sched, &sched->ready_large, both && used + share < all ? used + share : all);
    take_list(sched, &sched->ready_small, all);
    if (step->entries.count == 0)
        return false;

    for (size_t i = 0; i < sched->copies.count; i++) {
        step->copy_from.items[step->copy_from.count++] = sched->copies.items[i].from;
        step->copy_to.items[step->copy_to.count++] = sched->copies.items[i].to;
    }
    sched->stats.copies += sched->copies.count;
    sched->copies.count = 0;
    sched->batch = (struct batch){
        .request_count = (uint32_t)step->entries.count,
        .token_count = (uint32_t)step->tokens.count,
        .tokens = step->tokens.items,
        .positions = step->positions.items,
        .token_begin = step->token_begin.items,
        .pages = step->pages.items,
        .page_begin = step->page_begin.items,
        .kv_before = step->kv_before.items,
        .masks = step->masked ? step->masks.items : NULL,
        .adapters = step->adapted ? step->adapters.items : NULL,
        .logit_masks = step->logit_masked ? step->logit_masks.items : NULL,
        .samplers = step->samplers.items,
        .sampler_begin = step->sampler_begin.items,
        .copy_count = (uint32_t)step->copy_from.count,
        .copy_from = step->copy_from.items,
        .copy_to = step->copy_to.items,
    };
    return true;
}

bool sched_step_begin(struct sched *sched)
{
    bool contended = sched->waiting.count > 0;
    if (!fill(sched))
        return false;
    const struct backend_caps *caps = backend_caps(sched->backend);
    if (sched->check)
        batch_check(&sched->batch, caps->page_tokens, caps->page_count, caps->vocab_count);
    sched_market_step(sched, contended);
    batch_result_reset(&sched->result);
    sched->step.begin_ns = clock_now_ns();
    sched->in_flight = true;
    sched->step_serial++;
    backend_submit(sched->backend, &sched->batch, &sched->result);
    return true;
}

/* ---- taking apart ------------------------------------------------------------------------ */

static bool keep_slot(struct sched_pass *pass, uint32_t index, const struct batch_slot *slot)
{
    struct batch_slot *kept = &pass->slots[index];
    *kept = *slot;
    if (slot->count == 0)
        return true;
    if (slot->ids != NULL) {
        uint32_t *ids = arena_calloc(&pass->arena, slot->count, sizeof *ids);
        if (ids == NULL)
            return false;
        kept->ids = memcpy(ids, slot->ids, slot->count * sizeof *ids);
    }
    if (slot->values != NULL) {
        float *values = arena_calloc(&pass->arena, slot->count, sizeof *values);
        if (values == NULL)
            return false;
        kept->values = memcpy(values, slot->values, slot->count * sizeof *values);
    }
    return true;
}

static void entry_end(struct sched *sched, const struct step_entry *entry, size_t slot_end)
{
    struct sched_pass *pass = entry->pass;
    struct kv_context *kv = pass->context->kv;
    if (pass->cancelled) {
        kv_abandon(kv, false);
        sched_pass_complete(pass, ERR_CANCELLED, "the context was destroyed");
        return;
    }
    if (sched->result.failed) {
        /* Earlier rows are whole, unless they came with a copy that may not have been done. */
        kv_abandon(kv, pass->copy_step != sched->step_serial);
        sched_pass_complete(pass, ERR_IO, sched->result.why);
        return;
    }
    kv_advance(kv, entry->rows);
    bool kept = true;
    for (size_t s = entry->slot_begin; s < slot_end && kept && !pass->released; s++)
        kept = keep_slot(pass, sched->step.slot_of.items[s], &sched->result.slots[s]);
    if (!kept) {
        kv_abandon(kv, true);
        sched_pass_complete(pass, ERR_MEMORY, "out of memory for the results of the pass");
    } else if (kv_computed(kv) < kv_length(kv) + kv_staged(kv)) {
        sched_pass_ready(pass);
    } else {
        kv_accept(kv);
        sched_pass_complete(pass, ERR_OK, "");
    }
}

/* A failed step may not have done its page copies either: who waits with such a page, though not
 * in the step itself, gives its pages back and starts again. */
static void unprepare(struct sched *sched, struct link *list)
{
    struct link *link = list->next;
    while (link != list) {
        struct sched_pass *pass = link_item(link, struct sched_pass, listed);
        link = link->next;
        if (pass->copy_step != sched->step_serial)
            continue;
        if (sched->first == pass)
            sched->first = NULL;
        link_remove(&pass->listed);
        struct sched_context *context = pass->context;
        kv_suspend(context->kv);
        pass->state = PASS_WAITING;
        sched->pinned--;
        context->waiting.standing = sched_context_standing(context);
        sched_heap_push(&sched->waiting, &context->waiting);
        sched_context_file(context);
    }
}

void sched_step_end(struct sched *sched)
{
    struct step *step = &sched->step;
    sched->in_flight = false;
    double took_s = (double)(clock_now_ns() - step->begin_ns) * 1e-9;
    sched->latency_s =
        sched->stats.steps == 0 ? took_s : sched->latency_s + 0.1 * (took_s - sched->latency_s);
    sched->stats.steps++;
    sched->stats.step_tokens += sched->batch.token_count;
    sched->stats.replayed_tokens += step->replayed;
    if (sched->result.failed) {
        unprepare(sched, &sched->ready_small);
        unprepare(sched, &sched->ready_large);
    } else {
        CHECK(sched->result.slot_count == step->samplers.count);
    }
    for (size_t i = 0; i < step->entries.count; i++) {
        size_t slot_end = i + 1 < step->entries.count ? step->entries.items[i + 1].slot_begin
                                                      : step->slot_of.count;
        entry_end(sched, &step->entries.items[i], slot_end);
    }
}
