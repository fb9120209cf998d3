/* The scheduler's life and its turns.
 *
 * Invariants:
 *  - a context's passes are complete in order; only the first of them is staged in kv/;
 *  - a first pass is in the waiting heap (PASS_WAITING), or pinned: in a ready list (PASS_READY) or
 *    in the step (PASS_RUNNING); the pinned need no more pages;
 *  - a context that is not pinned and holds pages is in the evictable heap (one that a guest's
 *    kv_ call left without pages may still be: evicting it does nothing);
 *  - copies that kv_prepare asked for are in sched->copies until the next step, whoever is in it;
 *  - a destroyed context has no owner and lives only while its pass is running. */
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/sched/inner.h"

enum { STALLED_TURNS_MAX = 64, STEP_LOGITS_BYTES = 128 << 20, STEP_SAMPLERS_MIN = 16 };

static uint32_t at_most(uint32_t wanted, uint32_t can)
{
    return wanted == 0 || wanted > can ? can : wanted;
}

enum err sched_create(const struct sched_config *config, struct sched **sched_out,
                      struct report *report)
{
    const struct backend_caps *caps = backend_caps(config->backend);
    struct sched *sched = mem_calloc(NULL, 1, sizeof *sched);
    if (sched == NULL)
        return err_set(report, ERR_MEMORY, "scheduler: out of memory");
    enum err err = kv_pool_create(caps->page_count, caps->page_tokens, &sched->pool, report);
    if (err != ERR_OK) {
        mem_free(NULL, sched);
        return err;
    }
    sched->backend = config->backend;
    sched->tokens_max = at_most(config->tokens_max, caps->tokens_max);
    sched->requests_max = at_most(config->requests_max, caps->requests_max);
    sched->vocab_count = caps->vocab_count;
    sched->page_tokens = caps->page_tokens;
    sched->embedding_count = caps->embedding_count;
    sched->samplers_max = (uint32_t)(STEP_LOGITS_BYTES / sizeof(float)) / caps->vocab_count;
    if (sched->samplers_max < STEP_SAMPLERS_MIN)
        sched->samplers_max = STEP_SAMPLERS_MIN;
    sched->check = config->check;
    sched->waiting.highest = true;
    link_init(&sched->owners);
    link_init(&sched->ready_small);
    link_init(&sched->ready_large);
    link_init(&sched->idle);
    link_init(&sched->done);
    link_init(&sched->settled);
    batch_result_init(&sched->result);
    *sched_out = sched;
    return ERR_OK;
}

void sched_destroy(struct sched *sched)
{
    if (sched == NULL)
        return;
    CHECK(link_alone(&sched->owners));
    if (sched->in_flight) {
        backend_wait(sched->backend);
        CHECK(backend_poll(sched->backend));
        sched_step_end(sched);
    }
    CHECK(sched->pending == 0 && sched->context_count == 0 && link_alone(&sched->done));
    kv_pool_destroy(sched->pool);
    batch_result_deinit(&sched->result);
    sched_step_free(&sched->step);
    vec_free(NULL, &sched->copies);
    vec_free(NULL, &sched->waiting);
    vec_free(NULL, &sched->evictable);
    mem_free(NULL, sched);
}

bool sched_turn(struct sched *sched, bool guests_idle)
{
    if (sched->in_flight) {
        if (!backend_poll(sched->backend))
            return sched_deliver(sched);
        sched_step_end(sched);
        sched_deliver(sched);
        /* Who got a token now wants to be in the next step: guests first. */
        return true;
    }
    bool called = sched_deliver(sched);
    sched_admit(sched, false);
    if (sched_step_begin(sched)) {
        sched->stalled_turns = 0;
        return true;
    }
    /* Nothing to compute though passes wait: pages are held by contexts that do nothing. */
    if (sched->waiting.count > 0 && sched->pinned == 0 &&
        ((guests_idle && !called) || ++sched->stalled_turns > STALLED_TURNS_MAX)) {
        sched->stalled_turns = 0;
        sched_admit(sched, true);
        called = sched_step_begin(sched) || called;
    }
    return called || !link_alone(&sched->done);
}

bool sched_in_flight(const struct sched *sched)
{
    return sched->in_flight;
}

size_t sched_pending(const struct sched *sched)
{
    return sched->pending;
}

struct sched_stats sched_stats(const struct sched *sched)
{
    struct sched_stats stats = sched->stats;
    stats.passes_waiting_pages = sched->waiting.count;
    stats.step_ns = backend_busy_ns(sched->backend);
    stats.pool = kv_pool_stats(sched->pool);
    return stats;
}

struct backend *sched_backend(struct sched *sched)
{
    return sched->backend;
}

struct kv_pool *sched_pool(struct sched *sched)
{
    return sched->pool;
}
