/* Everything walks over the allowed tokens in runs of at most CHUNK (`walk_next`), so a mask costs
 * nothing but its runs. Weights are e^((logit - max) / temperature), in float from the kernel table
 * (equal bits on every machine); sums are doubles in a fixed order. A NaN logit weighs nothing. */
#include "engine/sample/sample.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "simd/simd.h"

enum { CHUNK = 1024 };

struct view {
    const float *logits;
    uint32_t count;
    struct batch_brle mask; /* count 0: none */
};

/* ---- Walking ------------------------------------------------------------------------------- */

struct walk {
    uint32_t run;
    uint64_t at, run_end;
    uint32_t begin, count; /* the current chunk */
};

static bool walk_next(const struct view *view, struct walk *walk)
{
    while (walk->at >= walk->run_end) {
        if (view->mask.count == 0) {
            if (walk->run++ > 0)
                return false;
            walk->run_end = view->count;
        } else {
            if (walk->run >= view->mask.count || walk->run_end >= view->count)
                return false;
            bool allowed = walk->run % 2 == 1;
            walk->at = allowed ? walk->run_end : walk->run_end + view->mask.runs[walk->run];
            walk->run_end += view->mask.runs[walk->run++];
        }
        if (walk->run_end > view->count)
            walk->run_end = view->count;
    }
    uint64_t left = walk->run_end - walk->at;
    walk->begin = (uint32_t)walk->at;
    walk->count = left < CHUNK ? (uint32_t)left : CHUNK;
    walk->at += walk->count;
    return true;
}

/* The largest number; NaN is passed over, -inf when there is nothing else. */
static float max_of(const float *x, uint32_t count)
{
    float lanes[16], max = -INFINITY;
    uint32_t i = 0;
    for (unsigned lane = 0; lane < 16; lane++)
        lanes[lane] = -INFINITY;
    for (; i + 16 <= count; i += 16)
        for (unsigned lane = 0; lane < 16; lane++)
            lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
    for (; i < count; i++)
        lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    for (unsigned lane = 0; lane < 16; lane++)
        max = lanes[lane] > max ? lanes[lane] : max;
    return max;
}

/* The largest logit, lowest id first; the first allowed token when none is above -inf. False when
 * nothing is allowed; *best is then 0. */
static bool find_best(const struct view *view, uint32_t *best)
{
    struct walk walk = {0};
    float top = -INFINITY;
    bool any = false;
    *best = 0;
    while (walk_next(view, &walk)) {
        const float *logits = view->logits + walk.begin;
        float max = max_of(logits, walk.count);
        if (!any)
            *best = walk.begin;
        any = true;
        if (max > top) {
            uint32_t i = 0;
            while (!(logits[i] == max))
                i++;
            *best = walk.begin + i;
            top = max;
        }
    }
    return any;
}

/* What the weights are relative to. */
struct scale {
    float max, inverse; /* of the temperature */
};

/* Weights of the walk's chunk. */
static void weigh(const struct view *view, const struct walk *walk, struct scale scale, float *out)
{
    const float *logits = view->logits + walk->begin;
    for (uint32_t i = 0; i < walk->count; i++)
        out[i] = (logits[i] - scale.max) * scale.inverse;
    simd_table_get()->exp(out, walk->count);
}

/* Eight interleaved sums, added as a tree. */
static double sum_of(const float *x, uint32_t count)
{
    double lanes[8] = {0};
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (unsigned lane = 0; lane < 8; lane++)
            lanes[lane] += (double)x[i + lane];
    for (; i < count; i++)
        lanes[i % 8] += (double)x[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static double total_weight(const struct view *view, struct scale scale)
{
    float weights[CHUNK];
    struct walk walk = {0};
    double total = 0;
    while (walk_next(view, &walk)) {
        weigh(view, &walk, scale, weights);
        total += sum_of(weights, walk.count);
    }
    return total;
}

/* ---- Drawing ------------------------------------------------------------------------------- */

/* PCG32 (O'Neill 2014), its first output for this seed, as a number in [0, 1). */
static double uniform(uint64_t seed)
{
    const uint64_t multiplier = 6364136223846793005u, increment = 0xDA3E39CB94B95BDBu | 1;
    uint64_t state = (increment + seed) * multiplier + increment;
    uint32_t mixed = (uint32_t)((state >> 18 ^ state) >> 27), turn = (uint32_t)(state >> 59);
    return (mixed >> turn | mixed << (-turn & 31)) * 0x1p-32;
}

struct candidate {
    float logit, weight;
    uint32_t id;
};

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return before(x, y) ? -1 : before(y, x) ? 1 : 0;
}

/* Of candidates in their order, by weight; the last one with weight when rounding runs past. */
static uint32_t draw(const struct candidate *candidates, size_t count, double u)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < count; i++)
        total += (double)candidates[i].weight;
    uint32_t last = candidates[0].id;
    for (size_t i = 0; i < count; i++) {
        if (!(candidates[i].weight > 0))
            continue;
        sum += (double)candidates[i].weight;
        last = candidates[i].id;
        if (sum > u * total)
            break;
    }
    return last;
}

/* Of all allowed tokens of weight `least` or more, in the order of ids. */
static uint32_t draw_all(const struct view *view, struct scale scale, float least, uint32_t best,
                         double u)
{
    float weights[CHUNK];
    double total = 0, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct walk walk = {0};
        while (walk_next(view, &walk)) {
            weigh(view, &walk, scale, weights);
            for (uint32_t i = 0; least > 0 && i < walk.count; i++)
                weights[i] = weights[i] >= least ? weights[i] : 0;
            double chunk = sum_of(weights, walk.count);
            if (pass == 0) {
                total += chunk;
                continue;
            }
            if (sum + chunk <= u * total) {
                sum += chunk;
                continue;
            }
            for (uint32_t i = 0; i < walk.count; i++) {
                if (!(weights[i] > 0))
                    continue;
                sum += (double)weights[i];
                best = walk.begin + i;
                if (sum > u * total)
                    break;
            }
            return best;
        }
    }
    return best;
}

/* ---- Selecting ----------------------------------------------------------------------------- */

/* Keeps the heap's root the last candidate in order. */
static void sift(struct candidate *heap, size_t count, size_t at)
{
    for (;;) {
        size_t last = at, child = 2 * at + 1;
        if (child < count && before(&heap[last], &heap[child]))
            last = child;
        if (child + 1 < count && before(&heap[last], &heap[child + 1]))
            last = child + 1;
        if (last == at)
            return;
        struct candidate swap = heap[at];
        heap[at] = heap[last];
        heap[last] = swap;
        at = last;
    }
}

/* The first k allowed tokens in order of falling logit, ties by id; NaN left out. The caller frees
 * *out. False when memory is out. */
static bool select_k(const struct view *view, uint32_t k, struct scale scale,
                     struct candidate **out, size_t *count)
{
    struct walk walk = {0};
    size_t size = 0;
    struct candidate *heap = mem_calloc(NULL, k, sizeof *heap);
    if (!heap)
        return false;
    while (walk_next(view, &walk)) {
        float weights[CHUNK];
        bool weighed = false;
        for (uint32_t i = 0; i < walk.count; i++) {
            uint32_t id = walk.begin + i;
            struct candidate candidate = {view->logits[id], 0, id};
            if (isnan(candidate.logit) || (size == k && !before(&candidate, &heap[0])))
                continue;
            if (!weighed)
                weigh(view, &walk, scale, weights);
            weighed = true;
            candidate.weight = weights[i];
            if (size < k) {
                heap[size++] = candidate;
                for (size_t at = size / 2; size == k && at-- > 0;)
                    sift(heap, size, at);
            } else {
                heap[0] = candidate;
                sift(heap, size, 0);
            }
        }
    }
    qsort(heap, size, sizeof *heap, compare);
    *out = heap;
    *count = size;
    return true;
}

/* How many of the sorted candidates make up `share` of `total`: at least one. */
static size_t prefix_of(const struct candidate *candidates, size_t count, double share,
                        double total)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)candidates[i].weight;
        if (sum >= share * total)
            return i + 1;
    }
    return count;
}

/* Buckets of an eighth nat below the maximum; the last one is open. */
enum { BUCKETS = 256 };

static unsigned bucket_of(float logit, struct scale scale)
{
    float depth = (scale.max - logit) * scale.inverse * 8;
    return depth < BUCKETS - 1 ? (unsigned)depth : BUCKETS - 1;
}

/* The sorted tokens that surely hold the first `share` of the probability: all of the buckets down
 * to where the sum is reached, and one more for rounding. */
static bool select_share(const struct view *view, double share, struct scale scale,
                         struct candidate **out, size_t *count, double *total)
{
    double sums[BUCKETS] = {0}, sum = 0;
    size_t counts[BUCKETS] = {0}, size = 0;
    float weights[CHUNK];
    struct walk walk = {0};
    while (walk_next(view, &walk)) {
        weigh(view, &walk, scale, weights);
        for (uint32_t i = 0; i < walk.count; i++) {
            unsigned bucket = bucket_of(view->logits[walk.begin + i], scale);
            sums[bucket] += (double)weights[i];
            counts[bucket]++;
        }
    }
    *total = 0;
    for (unsigned b = 0; b < BUCKETS; b++)
        *total += sums[b];
    unsigned last = 0;
    while (last < BUCKETS - 1 && (sum += sums[last]) < share * *total)
        last++;
    last += last < BUCKETS - 1;
    for (unsigned b = 0; b <= last; b++)
        size += counts[b];
    struct candidate *list = mem_calloc(NULL, size, sizeof *list);
    if (!list)
        return false;
    size_t at = 0;
    walk = (struct walk){0};
    while (walk_next(view, &walk)) {
        bool weighed = false;
        for (uint32_t i = 0; i < walk.count; i++) {
            uint32_t id = walk.begin + i;
            if (bucket_of(view->logits[id], scale) > last || isnan(view->logits[id]))
                continue;
            if (!weighed)
                weigh(view, &walk, scale, weights);
            weighed = true;
            list[at++] = (struct candidate){view->logits[id], weights[i], id};
        }
    }
    qsort(list, at, sizeof *list, compare);
    *out = list;
    *count = at;
    return true;
}

/* ---- The samplers -------------------------------------------------------------------------- */

static bool sample_token(const struct view *view, const struct batch_sampler *sampler,
                         uint32_t *token)
{
    struct candidate *list = NULL;
    size_t count = 0;
    double total = 0;
    if (!find_best(view, token) || !(sampler->temperature > 1e-5f))
        return true;
    const struct scale scale = {view->logits[*token], 1.0f / sampler->temperature};
    if (!isfinite(scale.max))
        return true;
    double u = uniform(sampler->seed);
    uint32_t k = sampler->k < view->count ? sampler->k : view->count;
    bool by_k = sampler->kind == BATCH_TOP_K || sampler->kind == BATCH_TOP_K_TOP_P;
    bool by_p = sampler->kind == BATCH_TOP_P || sampler->kind == BATCH_TOP_K_TOP_P;
    if (by_k && sampler->k > 0) {
        if (!select_k(view, k, scale, &list, &count))
            return false;
        for (size_t i = 0; i < count; i++)
            total += (double)list[i].weight;
        if (by_p && sampler->p < 1)
            count = prefix_of(list, count, (double)sampler->p, total);
    } else if (by_p && sampler->p < 1) {
        if (!select_share(view, (double)sampler->p, scale, &list, &count, &total))
            return false;
        count = prefix_of(list, count, (double)sampler->p, total);
    } else {
        float least = sampler->kind == BATCH_MIN_P ? sampler->p : 0;
        *token = draw_all(view, scale, least, *token, u);
        return true;
    }
    if (count > 0)
        *token = draw(list, count, u);
    mem_free(NULL, list);
    return true;
}

static bool give_distribution(const struct view *view, const struct batch_sampler *sampler,
                              struct arena *arena, struct batch_slot *slot)
{
    uint32_t best;
    struct candidate *list = NULL;
    size_t count = 0;
    bool any = find_best(view, &best);
    bool greedy = !(sampler->temperature > 1e-5f);
    const struct scale scale = {any ? view->logits[best] : 0,
                                greedy ? 1.0f : 1.0f / sampler->temperature};
    uint32_t k = sampler->k > 0 && sampler->k < view->count ? sampler->k : view->count;
    double total = total_weight(view, scale);
    if (any && !select_k(view, k, scale, &list, &count))
        return false;
    uint32_t *ids = arena_calloc(arena, count, sizeof *ids);
    float *values = arena_calloc(arena, count, sizeof *values);
    for (size_t i = 0; ids && values && i < count; i++) {
        ids[i] = list[i].id;
        values[i] = greedy ? (float)(i == 0) : (float)((double)list[i].weight / total);
    }
    mem_free(NULL, list);
    slot->count = (uint32_t)count;
    slot->ids = ids;
    slot->values = values;
    return ids && values;
}

static bool give_logits(const struct view *view, struct arena *arena, struct batch_slot *slot)
{
    struct walk walk = {0};
    float *values = arena_calloc(arena, view->count, sizeof *values);
    if (!values)
        return false;
    for (uint32_t i = 0; view->mask.count > 0 && i < view->count; i++)
        values[i] = -INFINITY;
    while (walk_next(view, &walk))
        memcpy(values + walk.begin, view->logits + walk.begin, walk.count * sizeof *values);
    slot->count = view->count;
    slot->values = values;
    return true;
}

/* ln of the sum of e^logit; *max the largest logit. */
static double log_sum(const struct view *view, float *max)
{
    uint32_t best;
    *max = find_best(view, &best) ? view->logits[best] : -INFINITY;
    if (!isfinite(*max))
        return (double)*max;
    return (double)*max + simd_log(total_weight(view, (struct scale){*max, 1.0f}));
}

static bool give_logprobs(const struct view *view, const struct batch_sampler *sampler,
                          struct arena *arena, struct batch_slot *slot)
{
    float max;
    double sum = log_sum(view, &max);
    float *values = arena_calloc(arena, sampler->label_count, sizeof *values);
    if (!values)
        return false;
    for (uint32_t i = 0; i < sampler->label_count; i++) {
        uint32_t id = sampler->labels[i];
        bool allowed = view->mask.count == 0 || batch_brle_get(view->mask, id);
        values[i] = allowed && isfinite(sum) ? (float)((double)view->logits[id] - sum) : -INFINITY;
    }
    slot->count = sampler->label_count;
    slot->values = values;
    return true;
}

/* -sum p ln p = ln S - sum(w (l - max)) / S, with w = e^(l - max) and S = sum w. */
static float entropy(const struct view *view)
{
    float weights[CHUNK], max;
    struct walk walk = {0};
    double total = 0, moment = 0;
    if (!isfinite(log_sum(view, &max)))
        return 0;
    while (walk_next(view, &walk)) {
        weigh(view, &walk, (struct scale){max, 1.0f}, weights);
        total += sum_of(weights, walk.count);
        for (uint32_t i = 0; i < walk.count; i++)
            weights[i] = weights[i] > 0
                             ? weights[i] * (view->logits[walk.begin + i] - max) : 0;
        moment += sum_of(weights, walk.count);
    }
    double nats = simd_log(total) - moment / total;
    return nats > 0 ? (float)nats : 0;
}

bool sample_run(const float *logits, uint32_t vocab_count, const struct batch_sampler *sampler,
                struct batch_brle mask, struct arena *arena, struct batch_slot *slot)
{
    const struct view view = {logits, vocab_count, mask};
    *slot = (struct batch_slot){.kind = BATCH_SLOT_TOKEN};
    switch (sampler->kind) {
    case BATCH_MULTINOMIAL: case BATCH_TOP_K: case BATCH_TOP_P: case BATCH_MIN_P:
    case BATCH_TOP_K_TOP_P:
        return sample_token(&view, sampler, &slot->token);
    case BATCH_DIST:
        slot->kind = BATCH_SLOT_DISTRIBUTION;
        return give_distribution(&view, sampler, arena, slot);
    case BATCH_RAW_LOGITS:
        slot->kind = BATCH_SLOT_LOGITS;
        return give_logits(&view, arena, slot);
    case BATCH_LOGPROB: case BATCH_LOGPROBS:
        slot->kind = BATCH_SLOT_LOGPROBS;
        return give_logprobs(&view, sampler, arena, slot);
    case BATCH_ENTROPY:
        slot->kind = BATCH_SLOT_ENTROPY;
        slot->entropy = entropy(&view);
        return true;
    case BATCH_EMBEDDING:
        break;
    }
    UNREACHABLE();
}
