/* Who gets pages, and from whom.
 *
 * Passes that wait are served by standing, highest first, each whole or not at all. Pages come, in
 * this order, from: snapshots (least recently used first), contexts that have been idle for many
 * steps, contexts that stand lower than the one in need, lowest first; and when nothing else can
 * go on, from anyone who is not pinned. Since a pinned pass needs no more pages, this always ends
 * with the highest one being served. */
#include "engine/base/check.h"
#include "engine/sched/inner.h"

enum { SLEEPING_STEPS = 64 };

static struct sched_context *evictable_lowest(const struct sched *sched)
{
    return sched->evictable.count == 0
               ? NULL
               : link_item(sched->evictable.items[0], struct sched_context, evictable);
}

static void evict(struct sched_context *context)
{
    kv_suspend(context->kv);
    sched_context_file(context);
    context->sched->stats.evictions++;
}

/* Gets one context's (or snapshot's) pages back; false when none may be taken. */
static bool reclaim(struct sched *sched, const struct standing *for_whom, bool force)
{
    if (kv_pool_evict_snapshot(sched->pool))
        return true;
    struct sched_context *sleeping = link_first(&sched->idle, struct sched_context, idle);
    if (sleeping != NULL && sched->stats.steps - sleeping->idle_since >= SLEEPING_STEPS) {
        evict(sleeping);
        return true;
    }
    struct sched_context *lowest = evictable_lowest(sched);
    if (lowest == NULL ||
        (!force && !sched_stands_above(for_whom, &lowest->evictable.standing)))
        return false;
    evict(lowest);
    return true;
}

/* A newcomer leaves some pages to those who are at it, or it would be thrown out again at their
 * next page, with all its work. */
static uint32_t headroom(const struct sched *sched, const struct sched_context *context)
{
    if (kv_pages_held(context->kv) > 0 || (sched->pinned == 0 && sched->evictable.count == 0))
        return 0;
    return kv_pool_stats(sched->pool).pages_total / 16;
}

/* Tries to give the pass its pages. */
static enum err admit(struct sched *sched, struct sched_pass *pass, bool force)
{
    struct sched_context *context = pass->context;
    struct standing standing = context->waiting.standing;
    /* It must not be its own victim. */
    sched_heap_remove(&sched->evictable, &context->evictable);
    /* What it needs may grow while others lose pages that it shares. */
    for (;;) {
        uint32_t need = kv_need(context->kv), more = force ? 0 : headroom(sched, context);
        if ((uint64_t)need + more <= kv_pool_free(sched->pool))
            break;
        if (!reclaim(sched, &standing, force)) {
            sched_context_file(context);
            return ERR_BUSY;
        }
    }
    enum err err = sched_pass_prepare(pass);
    sched_context_file(context);
    return err;
}

void sched_admit(struct sched *sched, bool force)
{
    while (sched->waiting.count > 0) {
        struct sched_context *context =
            link_item(sched->waiting.items[0], struct sched_context, waiting);
        struct sched_pass *pass = link_first(&context->passes, struct sched_pass, of_context);
        enum err err = admit(sched, pass, force);
        CHECK(!force || err != ERR_BUSY);
        if (err == ERR_BUSY)
            return;
        sched_heap_remove(&sched->waiting, &context->waiting);
        if (err == ERR_OK) {
            sched_pass_ready(pass);
        } else {
            kv_abandon(context->kv, true);
            sched_pass_complete(pass, err, "out of memory for the page table");
        }
        force = false;
    }
}
