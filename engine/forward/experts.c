/* Mixture of experts. A step computes each expert once, for all rows that chose it: rows are
 * gathered in expert order, multiplied, and brought back. A row's choice and the order in which its
 * experts are added are its own affair (best first), so its bits do not depend on the batch. */
#include <math.h>
#include <string.h>

#include "engine/forward/step.h"

enum { PANELS_AT_ONCE = 4 }; /* of one expert, dealt out to a worker */

/* Rows of experts in front of row's `used` best ones; ties go to the lower index. */
static void choose(const struct step *step, uint32_t row)
{
    const struct step_experts *x = step->experts;
    uint32_t used = step->h->expert_used, count = 0;
    const float *logits = x->router + (size_t)row * x->router_stride;
    uint32_t *chosen = x->chosen + (size_t)row * used;
    float *share = x->share + (size_t)row * used, sum = 0;
    for (uint32_t e = 0; e < step->h->expert_count; e++) {
        uint32_t at = count < used ? count : used;
        while (at > 0 && logits[e] > logits[chosen[at - 1]])
            at--;
        if (at == used)
            continue;
        count += count < used;
        memmove(chosen + at + 1, chosen + at, (count - 1 - at) * sizeof *chosen);
        chosen[at] = e;
    }
    /* The softmax over all experts, made to add up to 1 over the chosen, is the softmax over the
     * chosen. */
    for (uint32_t i = 0; i < used; i++) {
        share[i] = simd_expf(logits[chosen[i]] - logits[chosen[0]]);
        sum += share[i];
    }
    for (uint32_t i = 0; i < used; i++)
        share[i] = share[i] / sum * step->h->expert_scale;
}

/* Puts the (row, expert) pairs in order; by one worker. */
static void arrange(const struct step *step, uint32_t rows)
{
    struct step_experts *x = step->experts;
    uint32_t used = step->h->expert_used, experts = step->h->expert_count;
    memset(x->begin, 0, ((size_t)experts + 1) * sizeof *x->begin);
    for (uint32_t row = 0; row < rows; row++) {
        choose(step, row);
        for (uint32_t i = 0; i < used; i++)
            x->begin[x->chosen[(size_t)row * used + i] + 1]++;
    }
    x->active_count = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (x->begin[e + 1] > 0)
            x->active[x->active_count++] = e;
        x->begin[e + 1] += x->begin[e];
    }
    x->slots = rows * used;
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t i = 0; i < used; i++) {
            uint32_t slot = x->begin[x->chosen[(size_t)row * used + i]]++;
            x->slot[(size_t)row * used + i] = slot;
            x->slot_row[slot] = row;
        }
    for (uint32_t e = experts; e > 0; e--)
        x->begin[e] = x->begin[e - 1];
    x->begin[0] = 0;
}

static void gather(const struct step *step, const struct worker *worker,
                   const struct step_product *products, uint32_t count)
{
    const struct step_experts *x = step->experts;
    uint32_t begin, end;
    team_share(worker, x->slots, &begin, &end);
    for (uint32_t slot = begin; slot < end; slot++) {
        size_t row = x->slot_row[slot];
        bool done[SIMD_ACT_COUNT] = {false};
        for (uint32_t i = 0; i < count; i++) {
            enum simd_act act = simd_act_of(products[i].w->type);
            size_t stride = step_act_stride(act, step->h->dim);
            if (done[act])
                continue;
            done[act] = true;
            if (act == SIMD_ACT_F32)
                memcpy(x->rows + slot * (size_t)step->dim, step->normed + row * step->dim,
                       (size_t)step->h->dim * 4);
            else
                memcpy(x->acts[act] + slot * stride, step->acts[act] + row * stride, stride);
        }
    }
}

static const float *expert_bias(const float *biases, uint32_t expert, uint32_t rows)
{
    return biases ? biases + (size_t)expert * rows : NULL;
}

/* Takes the next chunk of panels of an active expert; false: none is left. */
static bool take_chunk(const struct step *step, const struct worker *worker, uint32_t panels,
                       uint32_t *expert, uint32_t *from, uint32_t *to)
{
    uint32_t chunks = (panels + PANELS_AT_ONCE - 1) / PANELS_AT_ONCE, item = team_take(worker);
    if (item / chunks >= step->experts->active_count)
        return false;
    *expert = step->experts->active[item / chunks];
    *from = item % chunks * PANELS_AT_ONCE;
    *to = *from + PANELS_AT_ONCE < panels ? *from + PANELS_AT_ONCE : panels;
    return true;
}

static void gate_up(const struct step *step, const struct worker *worker, uint32_t index)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct step_experts *x = step->experts;
    const struct step_input in = {x->rows, step->dim, step->h->dim, x->acts};
    uint32_t e, from, to, column, count;
    while (take_chunk(step, worker, simd_panel_count(step->h->hidden), &e, &from, &to)) {
        const struct step_product gate = {
            &layer->gate_experts[e], expert_bias(layer->gate_experts_bias, e, step->h->hidden),
            index, MODEL_GATE_EXPERTS, step->gate, step->hidden};
        const struct step_product up = {
            &layer->up_experts[e], expert_bias(layer->up_experts_bias, e, step->h->hidden),
            index, MODEL_UP_EXPERTS, step->up, step->hidden};
        uint32_t first = x->begin[e], slots = x->begin[e + 1] - first;
        step_multiply(step, &in, first, slots, &gate, from, to);
        step_multiply(step, &in, first, slots, &up, from, to);
        step_columns(gate.w, from, to, &column, &count);
        for (size_t slot = first; slot < first + slots; slot++)
            step_activate(step, step->gate + slot * step->hidden + column,
                          step->up + slot * step->hidden + column, count);
    }
}

static void down(const struct step *step, const struct worker *worker, uint32_t index)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct step_experts *x = step->experts;
    const struct step_input in = {step->gate, step->hidden, step->h->hidden, step->acts};
    uint32_t e, from, to;
    while (take_chunk(step, worker, simd_panel_count(step->h->dim), &e, &from, &to)) {
        const struct step_product product = {
            &layer->down_experts[e], expert_bias(layer->down_experts_bias, e, step->h->dim), index,
            MODEL_DOWN_EXPERTS, x->out, step->dim};
        step_multiply(step, &in, x->begin[e], x->begin[e + 1] - x->begin[e], &product, from, to);
    }
}

void experts_run(const struct step *step, const struct worker *worker, uint32_t index,
                 uint32_t rows)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct step_experts *x = step->experts;
    const struct step_input normed = {step->normed, step->dim, step->h->dim, step->acts};
    const struct step_input inner = {step->gate, step->hidden, step->h->hidden, step->acts};
    const struct step_product router = {&layer->router, layer->router_bias, index, MODEL_ROUTER,
                                        x->router, x->router_stride};
    const struct step_product inputs[2] = {{.w = &layer->gate_experts[0]},
                                           {.w = &layer->up_experts[0]}};
    const struct step_product output = {.w = &layer->down_experts[0]};
    uint32_t begin, end;

    team_share(worker, simd_panel_count(layer->router.rows), &begin, &end);
    step_multiply(step, &normed, 0, rows, &router, begin, end);
    team_barrier(worker);
    if (worker->index == 0) {
        arrange(step, rows);
        team_deal(worker);
    }
    team_barrier(worker);
    gather(step, worker, inputs, 2);
    team_barrier(worker);
    gate_up(step, worker, index);
    team_barrier(worker);
    team_share(worker, x->slots, &begin, &end);
    for (uint32_t slot = begin; slot < end; slot++)
        step_quantize_row(step, &inner, slot, &output, 1);
    if (worker->index == 0)
        team_deal(worker);
    team_barrier(worker);
    down(step, worker, index);
    team_barrier(worker);
}

void experts_combine(const struct step *step, uint32_t row, float *delta)
{
    const struct step_experts *x = step->experts;
    uint32_t used = step->h->expert_used;
    memset(delta, 0, (size_t)step->h->dim * 4);
    for (size_t i = (size_t)row * used; i < ((size_t)row + 1) * used; i++)
        step->fwd->simd->attn_merge(delta, 1.0f, x->out + (size_t)x->slot[i] * step->dim,
                                    x->share[i], step->h->dim);
}
