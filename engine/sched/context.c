/* Owners and their contexts. */
#include <math.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/sched/inner.h"

enum { ENDOWMENT_PAGES = 64 };

/* ---- owners ------------------------------------------------------------------------------ */

enum err sched_owner_create(struct sched *sched, uint64_t token_budget,
                            struct sched_owner **owner_out)
{
    struct sched_owner *owner = mem_calloc(NULL, 1, sizeof *owner);
    if (owner == NULL)
        return ERR_MEMORY;
    owner->sched = sched;
    owner->serial = ++sched->last_serial;
    link_init(&owner->of_sched);
    link_init(&owner->contexts);
    link_init(&owner->passes);
    link_push(&sched->owners, &owner->of_sched);
    owner->limited = token_budget > 0;
    owner->tokens_left = token_budget;
    owner->endowment = ENDOWMENT_PAGES;
    if (owner->limited)
        owner->endowment = ceil((double)token_budget / sched->page_tokens);
    owner->dividend_base = sched->dividend_total;
    sched->endowment_total += owner->endowment;
    *owner_out = owner;
    return ERR_OK;
}

void sched_owner_destroy(struct sched_owner *owner)
{
    /* Released passes free themselves when they complete. */
    struct link *link = owner->passes.next;
    while (link != &owner->passes) {
        struct sched_pass *pass = link_item(link, struct sched_pass, of_owner);
        link = link->next;
        sched_pass_release(pass);
    }
    struct sched_context *context;
    while ((context = link_first(&owner->contexts, struct sched_context, of_owner)) != NULL)
        sched_context_destroy(context);
    while (!link_alone(&owner->passes)) {
        struct sched_pass *pass = link_item(owner->passes.next, struct sched_pass, of_owner);
        CHECK(pass->state == PASS_RUNNING);
        pass->owner = NULL;
        link_remove(&pass->of_owner);
    }
    owner->sched->endowment_total -= owner->endowment;
    link_remove(&owner->of_sched);
    mem_free(NULL, owner);
}

uint64_t sched_owner_tokens_left(const struct sched_owner *owner)
{
    return owner->limited ? owner->tokens_left : UINT64_MAX;
}

/* ---- filing ------------------------------------------------------------------------------ */

struct standing sched_context_standing(const struct sched_context *context)
{
    /* Who has spent more than it was given has nothing to bid with. */
    double bid = sched_balance(context->owner) < 0 ? 0 : context->bid;
    return (struct standing){bid, context->owner->serial, kv_context_id(context->kv)};
}

static struct sched_pass *first_pass(const struct sched_context *context)
{
    return link_first(&context->passes, struct sched_pass, of_context);
}

void sched_context_file(struct sched_context *context)
{
    struct sched *sched = context->sched;
    const struct sched_pass *pass = first_pass(context);
    bool pinned = pass != NULL && (pass->state == PASS_READY || pass->state == PASS_RUNNING);
    bool evictable = !pinned && kv_pages_held(context->kv) > 0;

    sched_heap_remove(&sched->evictable, &context->evictable);
    if (evictable) {
        context->evictable.standing = sched_context_standing(context);
        sched_heap_push(&sched->evictable, &context->evictable);
    }
    if (evictable && pass == NULL) {
        if (link_alone(&context->idle)) {
            context->idle_since = sched->stats.steps;
            link_push(&sched->idle, &context->idle);
        }
    } else {
        link_remove(&context->idle);
    }
}

/* ---- contexts ---------------------------------------------------------------------------- */

/* Wraps `kv`, which is destroyed on failure. */
static enum err context_wrap(struct sched_owner *owner, struct kv_context *kv,
                             struct sched_context **context_out, struct report *report)
{
    struct sched *sched = owner->sched;
    size_t room = sched->context_count + 1u;
    if (!vec_reserve(NULL, &sched->waiting, room - sched->waiting.count) ||
        !vec_reserve(NULL, &sched->evictable, room - sched->evictable.count)) {
        kv_context_destroy(kv);
        return err_set(report, ERR_MEMORY, "context: out of memory");
    }
    struct sched_context *context = mem_calloc(NULL, 1, sizeof *context);
    if (context == NULL) {
        kv_context_destroy(kv);
        return err_set(report, ERR_MEMORY, "context: out of memory");
    }
    context->sched = sched;
    context->owner = owner;
    context->kv = kv;
    context->copied_tokens = kv_working_tokens(kv);
    owner->copied_tokens += context->copied_tokens;
    context->waiting.at = context->evictable.at = HEAP_OUT;
    link_init(&context->of_owner);
    link_init(&context->passes);
    link_init(&context->idle);
    link_init(&context->settled);
    link_push(&owner->contexts, &context->of_owner);
    owner->context_count++;
    sched->context_count++;
    sched_context_file(context);
    *context_out = context;
    return ERR_OK;
}

static enum err count_check(const struct sched_owner *owner, struct report *report)
{
    if (owner->context_count >= SCHED_CONTEXTS_MAX)
        return err_set(report, ERR_LIMIT, "context: the process has %d contexts; destroy some",
                       SCHED_CONTEXTS_MAX);
    return ERR_OK;
}

/* A fork, or an opened snapshot, starts with a copy of what is in working pages. */
static enum err copy_check(const struct sched_owner *owner, const struct kv_context *from,
                           struct report *report)
{
    uint64_t max = kv_lineage_max(owner->sched->pool);
    if (owner->copied_tokens + kv_working_tokens(from) > max)
        return err_set(report, ERR_LIMIT,
                       "fork: the forks of this process began with %llu tokens outside of "
                       "committed pages, at most %llu; commit before forking, or destroy some",
                       (unsigned long long)owner->copied_tokens, (unsigned long long)max);
    return ERR_OK;
}

enum err sched_context_create(struct sched_owner *owner, struct sched_context **context,
                              struct report *report)
{
    enum err err = count_check(owner, report);
    if (err != ERR_OK)
        return err;
    struct kv_context *kv;
    if (kv_context_create(owner->sched->pool, &kv) != ERR_OK)
        return err_set(report, ERR_MEMORY, "context: out of memory");
    return context_wrap(owner, kv, context, report);
}

void sched_context_free(struct sched_context *context)
{
    struct sched *sched = context->sched;
    CHECK(link_alone(&context->passes));
    sched_heap_remove(&sched->waiting, &context->waiting);
    sched_heap_remove(&sched->evictable, &context->evictable);
    link_remove(&context->idle);
    link_remove(&context->settled);
    kv_context_destroy(context->kv);
    sched->context_count--;
    mem_free(NULL, context);
}

void sched_context_destroy(struct sched_context *context)
{
    if (context == NULL)
        return;
    context->settled_fn = NULL;
    link_remove(&context->settled);
    static const char why[] = "the context was destroyed";
    struct sched_pass *pass = first_pass(context);
    if (pass != NULL && pass->state == PASS_RUNNING) {
        /* The step reads its pages: it ends first. */
        while (context->passes.previous != &pass->of_context) {
            struct sched_pass *last =
                link_item(context->passes.previous, struct sched_pass, of_context);
            sched_pass_abort(last, ERR_CANCELLED, why);
        }
        pass->cancelled = true;
    } else {
        /* From the last, so that none becomes the first and is staged. */
        while (!link_alone(&context->passes)) {
            struct sched_pass *last =
                link_item(context->passes.previous, struct sched_pass, of_context);
            sched_pass_abort(last, ERR_CANCELLED, why);
        }
    }
    link_remove(&context->of_owner);
    context->owner->context_count--;
    context->owner->copied_tokens -= context->copied_tokens;
    context->owner = NULL;
    if (link_alone(&context->passes))
        sched_context_free(context);
}

enum err sched_context_fork(struct sched_context *context, struct sched_context **child,
                            struct report *report)
{
    CHECK(link_alone(&context->passes));
    enum err err = count_check(context->owner, report);
    if (err == ERR_OK)
        err = copy_check(context->owner, context->kv, report);
    if (err != ERR_OK)
        return err;
    struct kv_context *kv;
    if (kv_context_fork(context->kv, &kv) != ERR_OK)
        return err_set(report, ERR_MEMORY, "fork: out of memory");
    return context_wrap(context->owner, kv, child, report);
}

enum err sched_context_save(struct sched_context *context, const char *username,
                            const char *name, size_t name_bytes, char made[40],
                            struct report *report)
{
    CHECK(link_alone(&context->passes));
    return kv_snapshot_save(context->kv, username, name, name_bytes, made, report);
}

enum err sched_context_open(struct sched_owner *owner, const char *username, const char *name,
                            size_t name_bytes, bool take, struct sched_context **context,
                            struct report *report)
{
    enum err err = count_check(owner, report);
    if (err != ERR_OK)
        return err;
    struct kv_pool *pool = owner->sched->pool;
    struct kv_context *kv;
    err = kv_snapshot_open(pool, username, name, name_bytes, &kv, report);
    if (err == ERR_OK) {
        err = copy_check(owner, kv, report);
        if (err != ERR_OK)
            kv_context_destroy(kv);
    }
    if (err == ERR_OK)
        err = context_wrap(owner, kv, context, report);
    /* Taking is opening and deleting: nothing is lost when memory runs out between them. */
    if (err == ERR_OK && take) {
        err = kv_snapshot_delete(pool, username, name, name_bytes, report);
        if (err != ERR_OK)
            sched_context_destroy(*context);
    }
    return err;
}

enum err sched_context_suspend(struct sched_context *context, struct report *report)
{
    const struct sched_pass *pass = first_pass(context);
    if (pass != NULL && (pass->state == PASS_READY || pass->state == PASS_RUNNING))
        return err_set(report, ERR_INVALID,
                       "Context %llu is pinned, cannot voluntarily suspend",
                       (unsigned long long)kv_context_id(context->kv));
    kv_suspend(context->kv);
    sched_context_file(context);
    return ERR_OK;
}

struct kv_context *sched_context_kv(struct sched_context *context)
{
    return context->kv;
}

bool sched_context_settle(struct sched_context *context, sched_settled_fn fn, void *user)
{
    context->settled_fn = fn;
    context->settled_user = user;
    if (!link_alone(&context->passes))
        return false;
    context->settled_fn = NULL;
    link_remove(&context->settled);
    return true;
}

void sched_context_bid(struct sched_context *context, double bid)
{
    const double bid_max = 1e12; /* so that rents stay numbers */
    context->bid = bid > 0 ? (bid < bid_max ? bid : bid_max) : 0;
    sched_context_file(context);
    if (context->waiting.at != HEAP_OUT) {
        struct heap *waiting = &context->sched->waiting;
        sched_heap_remove(waiting, &context->waiting);
        context->waiting.standing = sched_context_standing(context);
        sched_heap_push(waiting, &context->waiting);
    }
}
