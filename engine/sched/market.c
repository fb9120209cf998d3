/* Prices, rents and dividends. Bids decide only who gets pages when they are short. */
#include <math.h>

#include "engine/sched/inner.h"

void sched_market_step(struct sched *sched, bool contended)
{
    sched->clearing = 0;
    sched->revenue_share = 0;
    if (!contended)
        return;
    double lowest = INFINITY, revenue = 0;
    for (size_t i = 0; i < sched->step.entries.count; i++) {
        const struct sched_context *context = sched->step.entries.items[i].pass->context;
        if (context->bid < lowest)
            lowest = context->bid;
    }
    if (!isfinite(lowest) || lowest == 0 || sched->endowment_total <= 0)
        return;
    sched->clearing = lowest;
    for (size_t i = 0; i < sched->step.entries.count; i++) {
        struct sched_context *context = sched->step.entries.items[i].pass->context;
        double rent = lowest * kv_pages_held(context->kv);
        context->owner->paid += rent;
        revenue += rent;
    }
    sched->revenue_share = revenue / sched->endowment_total;
    sched->dividend_total += sched->revenue_share;
}

double sched_price(const struct sched *sched)
{
    (void)sched;
    return 1.0;
}

double sched_rent(const struct sched_context *context)
{
    return context->sched->clearing * kv_pages_held(context->kv);
}

double sched_latency(const struct sched *sched)
{
    return sched->latency_s;
}

double sched_dividend(const struct sched_owner *owner)
{
    return owner->sched->revenue_share * owner->endowment;
}

double sched_balance(const struct sched_owner *owner)
{
    double dividends = owner->endowment * (owner->sched->dividend_total - owner->dividend_base);
    return owner->endowment - owner->paid + dividends;
}
