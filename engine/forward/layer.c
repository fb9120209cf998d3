/* One layer of the transformer: attention, then the feed-forward, each with what the model has
 * around it. Only named hyper-parameters and the presence of weights decide. */
#include <math.h>
#include <string.h>

#include "engine/forward/step.h"

/* ---- Products ------------------------------------------------------------------------------ */

size_t step_act_stride(enum simd_act act, uint32_t columns)
{
    return columns % 32 == 0 ? simd_act_bytes(act, columns) : 0;
}

void step_quantize_row(const struct step *step, const struct step_input *in, uint32_t row,
                       const struct step_product *products, uint32_t count)
{
    bool done[SIMD_ACT_COUNT] = {[SIMD_ACT_F32] = true};
    for (uint32_t i = 0; i < count; i++) {
        enum simd_act act = simd_act_of(products[i].w->type);
        if (done[act])
            continue;
        done[act] = true;
        step->fwd->simd->quantize[act](in->rows + row * in->stride, in->columns,
                                       in->acts[act] + row * step_act_stride(act, in->columns));
    }
}

void step_columns(const struct simd_weights *w, uint32_t begin, uint32_t end, uint32_t *column,
                  uint32_t *count)
{
    uint32_t last = end * SIMD_LANES < w->rows ? end * SIMD_LANES : w->rows;
    *column = begin * SIMD_LANES;
    *count = last > *column ? last - *column : 0;
}

void step_multiply(const struct step *step, const struct step_input *in, uint32_t first,
                   uint32_t count, const struct step_product *product, uint32_t begin,
                   uint32_t end)
{
    const struct simd_table *simd = step->fwd->simd;
    const struct simd_weights *w = product->w;
    enum simd_act act = simd_act_of(w->type);
    size_t stride = step_act_stride(act, in->columns);
    float *y = product->y + first * product->y_stride;
    uint32_t column, columns;
    if (begin >= end || count == 0)
        return;
    if (act == SIMD_ACT_F32)
        simd->matmul[w->type](w, begin, end, in->rows + first * in->stride, in->stride * 4, count,
                              y, product->y_stride);
    else
        simd->matmul[w->type](w, begin, end, in->acts[act] + first * stride, stride, count, y,
                              product->y_stride);
    step_columns(w, begin, end, &column, &columns);
    for (uint32_t row = 0; product->bias && row < count; row++)
        simd->add(y + row * product->y_stride + column, product->bias + column, columns);
}

/* The same for rows from 0 on, with what the rows' adapters add. */
static void multiply(const struct step *step, const struct step_rows *rows,
                     const struct step_input *in, const struct step_product *product,
                     uint32_t slot, uint32_t begin, uint32_t end)
{
    step_multiply(step, in, 0, rows->count, product, begin, end);
    if (rows->adapters && begin < end)
        adapter_add(step, rows, product, slot, begin, end);
}

void step_activate(const struct step *step, float *gate, const float *up, uint32_t count)
{
    switch (step->h->activation) {
    case MODEL_SILU: step->fwd->simd->silu_mul(gate, up, count); break;
    case MODEL_GELU: step->fwd->simd->gelu_mul(gate, up, count); break;
    case MODEL_CLAMPED: step->fwd->simd->clamped_mul(gate, up, count); break;
    }
}

/* The part of one matrix, whose panels begin at *offset of a row of matrices, that falls into the
 * share [begin, end) of them all. */
static void cut(const struct simd_weights *w, uint32_t begin, uint32_t end, uint32_t *offset,
                uint32_t *from, uint32_t *to)
{
    uint32_t panels = simd_panel_count(w->rows);
    uint32_t low = begin > *offset ? begin - *offset : 0;
    uint32_t high = end > *offset ? end - *offset : 0;
    *from = low < panels ? low : panels;
    *to = high < panels ? high : panels;
    *offset += panels;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* x += scale * y */
static void add_scaled(const struct step *step, float *x, const float *y, uint32_t count)
{
    if (step->h->residual_scale == 1.0f)
        step->fwd->simd->add(x, y, count);
    else
        step->fwd->simd->attn_merge(x, 1.0f, y, step->h->residual_scale, count);
}

void layer_settle(const struct step *step, struct step_pending pending, uint32_t row)
{
    const struct model_hparams *h = step->h;
    float *delta = step->delta + (size_t)row * step->dim;
    if (!pending.delta && !pending.experts)
        return;
    if (pending.experts)
        experts_combine(step, row, delta);
    if (pending.post_norm)
        step->fwd->simd->rmsnorm(delta, pending.post_norm, h->norm_epsilon, h->dim, delta);
    add_scaled(step, step->x + (size_t)row * step->dim, delta, h->dim);
}

/* normed = norm(x + what is pending), and what the products need of it. */
static void norm(const struct step *step, const struct worker *worker,
                 const struct step_rows *rows, struct step_pending pending, const float *weight,
                 const struct step_product *products, uint32_t count)
{
    const struct step_input in = {step->normed, step->dim, step->h->dim, step->acts};
    uint32_t begin, end;
    team_share(worker, rows->count, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        const float *x = step->x + (size_t)row * step->dim;
        float *normed = step->normed + (size_t)row * step->dim;
        layer_settle(step, pending, row);
        if (weight)
            step->fwd->simd->rmsnorm(x, weight, step->h->norm_epsilon, step->h->dim, normed);
        else
            memcpy(normed, x, (size_t)step->h->dim * 4);
        step_quantize_row(step, &in, row, products, count);
    }
    if (rows->adapters)
        adapter_lower(step, rows, begin, end, &in, products, count);
}

/* What the product needs of rows that are there already. */
static void prepare(const struct step *step, const struct worker *worker,
                    const struct step_rows *rows, const struct step_input *in,
                    const struct step_product *product)
{
    uint32_t begin, end;
    team_share(worker, rows->count, &begin, &end);
    for (uint32_t row = begin; row < end; row++)
        step_quantize_row(step, in, row, product, 1);
    if (rows->adapters)
        adapter_lower(step, rows, begin, end, in, product, 1);
}

/* delta = w * input, by columns; added to x at once unless a norm comes between. */
static void add_product(const struct step *step, const struct worker *worker,
                        const struct step_rows *rows, const struct step_input *in,
                        const struct step_product *product, bool keep)
{
    uint32_t begin, end, column, count;
    team_share(worker, simd_panel_count(product->w->rows), &begin, &end);
    multiply(step, rows, in, product, 0, begin, end);
    step_columns(product->w, begin, end, &column, &count);
    for (uint32_t row = 0; !keep && row < rows->count; row++)
        add_scaled(step, step->x + (size_t)row * step->dim + column,
                   step->delta + (size_t)row * step->dim + column, count);
}

/* ---- Attention ----------------------------------------------------------------------------- */

static void project_qkv(const struct step *step, const struct worker *worker,
                        const struct step_rows *rows, const struct step_product products[3])
{
    const struct step_input in = {step->normed, step->dim, step->h->dim, step->acts};
    uint32_t begin, end, offset = 0, from, to, panels = 0;
    for (unsigned i = 0; i < 3; i++)
        panels += simd_panel_count(products[i].w->rows);
    team_share(worker, panels, &begin, &end);
    for (unsigned i = 0; i < 3; i++) {
        cut(products[i].w, begin, end, &offset, &from, &to);
        multiply(step, rows, &in, &products[i], i, from, to);
    }
}

/* The norm of q and k over all their heads. */
static void norm_whole(const struct step *step, const struct worker *worker,
                       const struct layer_weights *layer)
{
    const struct model_hparams *h = step->h;
    uint32_t begin, end;
    team_share(worker, step->rows, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        float *q = step->q + (size_t)row * step->q_dim, *k = step->k + (size_t)row * step->kv_dim;
        step->fwd->simd->rmsnorm(q, layer->q_norm, h->norm_epsilon, h->head_count * h->head_dim, q);
        step->fwd->simd->rmsnorm(k, layer->k_norm, h->norm_epsilon,
                                 h->kv_head_count * h->head_dim, k);
    }
}

/* What q is scaled by at a position. */
static float sharpness(const struct model_hparams *h, uint32_t position)
{
    if (h->temperature_scale == 0)
        return h->attention_scale;
    double turns = position / h->temperature_floor; /* whole */
    return h->attention_scale *
           (float)(1.0 + (double)h->temperature_scale * simd_log(1.0 + turns));
}

/* Norm and rotation of q and k, and the KV entries of one row and KV head. */
static void enter_kv(const struct step *step, uint32_t layer_index, uint32_t row, uint32_t kv_head)
{
    const struct fwd *fwd = step->fwd;
    const struct simd_table *simd = fwd->simd;
    const struct model_hparams *h = step->h;
    const struct batch *batch = step->batch;
    const struct layer_weights *layer = &fwd->weights.layers[layer_index];
    const struct model_layer *kind = &fwd->model->layers[layer_index];
    unsigned rope = kind->windowed && fwd->rope_count > 1;
    uint32_t half = kind->unturned ? 0 : fwd->ropes[rope].half;
    const float *cos = step->cos[rope] + (size_t)row * half;
    const float *sin = step->sin[rope] + (size_t)row * half;
    uint32_t group = h->head_count / h->kv_head_count, head_dim = h->head_dim;
    bool norms = h->qk_norm && !h->qk_norm_whole;
    float *q = step->q + (size_t)row * step->q_dim + (size_t)kv_head * group * head_dim;
    float *k = step->k + (size_t)row * step->kv_dim + (size_t)kv_head * head_dim;
    const float *v = step->v + (size_t)row * step->kv_dim + (size_t)kv_head * head_dim;
    float scale = sharpness(h, batch->positions[row]);

    for (uint32_t g = 0; g < group; g++) {
        float *head = q + (size_t)g * head_dim;
        if (norms)
            simd->rmsnorm(head, layer->q_norm, h->norm_epsilon, head_dim, head);
        simd->rope(head, cos, sin, half);
        simd->scale(head, scale, head_dim);
    }
    if (norms)
        simd->rmsnorm(k, layer->k_norm, h->norm_epsilon, head_dim, k);
    simd->rope(k, cos, sin, half);

    uint32_t tokens = fwd->pages.page_tokens, index = step->row_kv[row];
    uint32_t page = batch->pages[batch->page_begin[step->row_request[row]] + index / tokens];
    pages_enter(&fwd->pages, simd, layer_index, page, kv_head, index % tokens, k, v);
}

static void enter_all_kv(const struct step *step, const struct worker *worker, uint32_t layer)
{
    uint32_t begin, end, heads = step->h->kv_head_count;
    team_share(worker, step->rows * heads, &begin, &end);
    for (uint32_t i = begin; i < end; i++)
        enter_kv(step, layer, i / heads, i % heads);
}

/* With `wanted_only`, rows that share no item with a wanted one are left out. */
static void attend(const struct step *step, const struct worker *worker, uint32_t layer_index,
                   bool wanted_only)
{
    const struct fwd *fwd = step->fwd;
    const struct batch *batch = step->batch;
    uint32_t heads = step->h->kv_head_count;
    uint32_t rows_max = attention_rows_max(step->h->head_count, heads);
    uint32_t count = step->item_begin[batch->request_count] * heads;
    const struct attention attention = {
        .simd = fwd->simd, .pages = &fwd->pages, .batch = batch, .layer = layer_index,
        .head_count = step->h->head_count, .q = step->q, .q_stride = step->q_dim,
        .out = step->attn, .out_stride = step->q_dim,
        .window = fwd->model->layers[layer_index].windowed ? step->h->window : 0,
        .softcap = step->h->attention_softcap, .sinks = fwd->weights.layers[layer_index].sinks};
    uint32_t request = 0;
    for (uint32_t i = team_take(worker); i < count; i = team_take(worker)) {
        uint32_t chunk = i / heads;
        while (step->item_begin[request + 1] <= chunk)
            request++;
        uint32_t rows = batch->token_begin[request + 1] - batch->token_begin[request];
        uint32_t begin = (chunk - step->item_begin[request]) * rows_max;
        const struct attention_item item = {
            request, begin, rows - begin < rows_max ? rows : begin + rows_max, i % heads};
        bool needed = !wanted_only;
        for (uint32_t row = item.row_begin; !needed && row < item.row_end; row++)
            needed = step->wanted_at[batch->token_begin[request] + row] != UINT32_MAX;
        if (needed)
            attention_run(&attention, &item, &fwd->scratch[worker->index]);
    }
}

/* Behind the last layer's attention only the wanted rows matter: they become the first rows of x
 * and attn. They are in ascending order, so a row never overwrites one that is still to move. */
static void keep_wanted(const struct step *step)
{
    for (uint32_t i = 0; i < step->wanted_count; i++) {
        size_t from = step->wanted[i];
        if (from == i)
            continue;
        memcpy(step->x + (size_t)i * step->dim, step->x + from * step->dim, step->h->dim * 4);
        memcpy(step->attn + (size_t)i * step->q_dim, step->attn + from * step->q_dim,
               (size_t)step->h->head_count * step->h->head_dim * 4);
    }
}

/* ---- The feed-forward ---------------------------------------------------------------------- */

static void gate_up(const struct step *step, const struct worker *worker,
                    const struct step_rows *rows, const struct step_product products[2])
{
    const struct step_input in = {step->normed, step->dim, step->h->dim, step->acts};
    uint32_t begin, end, column, count;
    team_share(worker, simd_panel_count(products[0].w->rows), &begin, &end);
    multiply(step, rows, &in, &products[0], 0, begin, end);
    multiply(step, rows, &in, &products[1], 1, begin, end);
    step_columns(products[0].w, begin, end, &column, &count);
    for (uint32_t row = 0; row < rows->count; row++)
        step_activate(step, step->gate + (size_t)row * step->hidden + column,
                      step->up + (size_t)row * step->hidden + column, count);
}

static void feed_forward(const struct step *step, const struct worker *worker, uint32_t index,
                         const struct step_rows *rows, struct step_pending pending)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct step_input inner = {step->gate, step->hidden, step->h->hidden, step->acts};
    const struct step_product gates[2] = {
        {&layer->gate, NULL, index, MODEL_GATE, step->gate, step->hidden},
        {&layer->up, NULL, index, MODEL_UP, step->up, step->hidden}};
    const struct step_product down = {&layer->down, NULL, index, MODEL_DOWN, step->delta,
                                      step->dim};
    norm(step, worker, rows, pending, layer->ffn_norm, gates, 2);
    team_barrier(worker);
    gate_up(step, worker, rows, gates);
    team_barrier(worker);
    prepare(step, worker, rows, &inner, &down);
    team_barrier(worker);
    add_product(step, worker, rows, &inner, &down, layer->ffn_post_norm != NULL);
    team_barrier(worker);
}

struct step_pending layer_run(const struct step *step, const struct worker *worker, uint32_t index,
                              struct step_pending before)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct step_input attn = {step->attn, step->q_dim,
                                    step->h->head_count * step->h->head_dim, step->acts};
    const struct step_product qkv[3] = {
        {&layer->q, layer->q_bias, index, MODEL_Q, step->q, step->q_dim},
        {&layer->k, layer->k_bias, index, MODEL_K, step->k, step->kv_dim},
        {&layer->v, layer->v_bias, index, MODEL_V, step->v, step->kv_dim}};
    const struct step_product out = {&layer->attn_output, layer->attn_output_bias, index,
                                     MODEL_ATTN_OUTPUT, step->delta, step->dim};
    const struct step_pending attended = {layer->attn_post_norm != NULL, false,
                                          layer->attn_post_norm};
    bool last = index + 1 == step->h->layer_count;
    const struct step_rows all = {step->rows, step->adapters};
    const struct step_rows rows = {last ? step->wanted_count : step->rows,
                                   last ? step->kept_adapters : step->adapters};

    norm(step, worker, &all, before, layer->attn_norm, qkv, 3);
    team_barrier(worker);
    project_qkv(step, worker, &all, qkv);
    if (worker->index == 0)
        team_deal(worker);
    team_barrier(worker);
    if (step->h->qk_norm_whole) {
        norm_whole(step, worker, layer);
        team_barrier(worker);
    }
    enter_all_kv(step, worker, index);
    team_barrier(worker);
    attend(step, worker, index, last);
    team_barrier(worker);
    if (rows.count < step->rows) {
        if (worker->index == 0)
            keep_wanted(step);
        team_barrier(worker);
    }
    prepare(step, worker, &rows, &attn, &out);
    team_barrier(worker);
    add_product(step, worker, &rows, &attn, &out, attended.delta);
    team_barrier(worker);
    if (!step->experts) {
        feed_forward(step, worker, index, &rows, attended);
        return (struct step_pending){layer->ffn_post_norm != NULL, false, layer->ffn_post_norm};
    }
    const struct step_product first[3] = {{.w = &layer->router}, {.w = &layer->gate_experts[0]},
                                          {.w = &layer->up_experts[0]}};
    const struct step_rows plain = {rows.count, NULL}; /* adapters do not touch experts */
    norm(step, worker, &plain, attended, layer->ffn_norm, first, 3);
    team_barrier(worker);
    experts_run(step, worker, index, rows.count);
    return (struct step_pending){false, true, layer->ffn_post_norm};
}
