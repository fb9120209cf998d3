/* A step is one run of the team (`step_share`): every worker walks through the same phases and
 * does its part of each; barriers stand between a phase that writes and one that reads.
 *
 * Invariant: who computes what is decided by the worker's number alone or by taking turns; how an
 * element is computed never depends on it. */
#include "engine/forward/fwd.h"

#include <math.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/forward/attention.h"
#include "engine/forward/pages.h"
#include "engine/forward/rope.h"
#include "engine/forward/team.h"
#include "engine/forward/weights.h"
#include "models/model.h"
#include "simd/simd.h"

struct fwd {
    const struct model *model; /* borrowed */
    const struct simd_table *simd;
    struct team *team;
    struct weights weights;
    struct pages pages;
    struct rope rope;
    struct attention_scratch *scratch; /* [threads] */
    uint8_t *space;                    /* the buffers of a step, mem_map, grows */
    size_t space_bytes;
};

/* The buffers of one step, in fwd->space. Rows are padded to whole panels. */
struct step {
    struct fwd *fwd;
    const struct batch *batch;
    const struct model_hparams *h;
    uint32_t rows;                   /* N */
    uint32_t dim, q_dim, kv_dim, hidden, vocab; /* padded to SIMD_LANES: strides */
    float *x;                        /* [N][dim] residual stream */
    float *normed;                   /* [N][dim] */
    float *delta;                    /* [N][dim] what a sub-layer adds */
    float *q, *k, *v, *attn;         /* [N][q_dim], [N][kv_dim], [N][kv_dim], [N][q_dim] */
    float *gate, *up;                /* [N][hidden] */
    float *cos, *sin;                /* [N][rope.half] */
    uint8_t *acts[SIMD_ACT_COUNT];   /* [N] rows of int8 activations; not for F32 */
    uint32_t *row_request;           /* [N] */
    uint32_t *row_kv;                /* [N] KV index */
    uint32_t *item_begin;            /* [R + 1] attention chunks of rows before request r */

    uint32_t wanted_count;           /* rows that samplers look at */
    uint32_t *wanted;                /* [wanted] row, ascending */
    uint32_t *wanted_at;             /* [N] index in `wanted`, or UINT32_MAX */
    float *final;                    /* [wanted][dim] after the output norm */
    float *logits;                   /* [wanted][vocab] */
    bool any_logits;
    const float **out_logits, **out_embeddings; /* [samplers] */
};

static uint32_t pad(uint32_t count)
{
    return (count + SIMD_LANES - 1) / SIMD_LANES * SIMD_LANES;
}

/* ---- Life ---------------------------------------------------------------------------------- */

uint64_t fwd_weight_bytes(const struct model *model, enum fwd_recipe recipe)
{
    return weights_bytes(model, recipe);
}

static uint32_t kv_bits(uint32_t configured)
{
    return configured ? configured : 16;
}

uint64_t fwd_page_bytes(const struct model *model, uint32_t bits, uint32_t page_tokens)
{
    return pages_page_bytes(&model->hparams, kv_bits(bits), page_tokens);
}

enum err fwd_create(const struct model *model, const struct fwd_config *config, struct fwd **out,
                    struct report *report)
{
    const struct model_hparams *h = &model->hparams;
    struct fwd *fwd = mem_calloc(NULL, 1, sizeof *fwd);
    if (!fwd)
        return err_set(report, ERR_MEMORY, "no memory for the forward pass");
    fwd->model = model;
    fwd->simd = config->simd ? config->simd : simd_table_get();
    enum err err = team_create(config->threads ? config->threads : fwd_threads_default(),
                               &fwd->team, report);
    if (!err)
        err = pages_create(h, kv_bits(config->kv_bits), config->page_tokens, config->page_count,
                           &fwd->pages, report);
    if (!err)
        err = rope_create(&h->rope, &fwd->rope, report);
    if (!err) {
        fwd->scratch = mem_calloc(NULL, team_threads(fwd->team), sizeof *fwd->scratch);
        if (!fwd->scratch)
            err = err_set(report, ERR_MEMORY, "no memory for attention buffers");
    }
    for (uint32_t i = 0; !err && i < team_threads(fwd->team); i++)
        err = attention_scratch_create(&fwd->pages, h->head_count, &fwd->scratch[i], report);
    if (!err)
        err = weights_create(model, config->recipe, fwd->team, config->progress,
                             config->progress_user, &fwd->weights, report);
    if (err) {
        fwd_destroy(fwd);
        return err;
    }
    gguf_release_pages(model->file);
    *out = fwd;
    return ERR_OK;
}

void fwd_destroy(struct fwd *fwd)
{
    if (!fwd)
        return;
    for (uint32_t i = 0; fwd->scratch && i < team_threads(fwd->team); i++)
        attention_scratch_destroy(&fwd->scratch[i]);
    mem_free(NULL, fwd->scratch);
    weights_destroy(&fwd->weights);
    rope_destroy(&fwd->rope);
    pages_destroy(&fwd->pages);
    mem_unmap(fwd->space, fwd->space_bytes);
    team_destroy(fwd->team);
    mem_free(NULL, fwd);
}

uint32_t fwd_thread_count(const struct fwd *fwd)
{
    return team_threads(fwd->team);
}

const char *fwd_simd_name(const struct fwd *fwd)
{
    return fwd->simd->name;
}

/* ---- The phases ---------------------------------------------------------------------------- */

/* Rows of an activation buffer that a matrix product reads: floats, and their int8 forms. */
struct input {
    const float *rows;
    size_t stride; /* floats */
    uint32_t columns;
};

static size_t act_stride(enum simd_act act, uint32_t columns)
{
    return columns % 32 == 0 ? simd_act_bytes(act, columns) : 0;
}

/* The int8 forms of row `row` that the matrices `w` need. */
static void quantize_row(const struct step *step, const struct input *in, uint32_t row,
                         const struct simd_weights *const *w, uint32_t count)
{
    bool done[SIMD_ACT_COUNT] = {[SIMD_ACT_F32] = true};
    for (uint32_t i = 0; i < count; i++) {
        enum simd_act act = simd_act_of(w[i]->type);
        if (done[act])
            continue;
        done[act] = true;
        step->fwd->simd->quantize[act](in->rows + row * in->stride, in->columns,
                                       step->acts[act] + row * act_stride(act, in->columns));
    }
}

/* Panels [begin, end) of w for rows [0, count) of the input. */
static void multiply(const struct step *step, const struct input *in, uint32_t count,
                     const struct simd_weights *w, uint32_t begin, uint32_t end, float *y,
                     size_t y_stride)
{
    enum simd_act act = simd_act_of(w->type);
    if (begin >= end || count == 0)
        return;
    if (act == SIMD_ACT_F32)
        step->fwd->simd->matmul[w->type](w, begin, end, in->rows, in->stride * 4, count, y,
                                         y_stride);
    else
        step->fwd->simd->matmul[w->type](w, begin, end, step->acts[act],
                                         act_stride(act, in->columns), count, y, y_stride);
}

/* The output columns of panels [begin, end), cut at the matrix's last row. */
static void panel_columns(const struct simd_weights *w, uint32_t begin, uint32_t end,
                          uint32_t *column, uint32_t *count)
{
    uint32_t last = end * SIMD_LANES < w->rows ? end * SIMD_LANES : w->rows;
    *column = begin * SIMD_LANES;
    *count = last > *column ? last - *column : 0;
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

static void embed(const struct step *step, const struct worker *worker)
{
    const struct fwd *fwd = step->fwd;
    const struct gguf_tensor *table = fwd->model->token_embedding;
    size_t row_bytes = simd_row_bytes(fwd->weights.embedding_type, step->h->dim);
    uint32_t begin, end;
    team_share(worker, step->rows, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        simd_unpack_row(fwd->weights.embedding_type, step->h->dim,
                        table->data + step->batch->tokens[row] * row_bytes,
                        step->x + (size_t)row * step->dim);
        rope_angles(&fwd->rope, step->batch->positions[row],
                    step->cos + (size_t)row * fwd->rope.half,
                    step->sin + (size_t)row * fwd->rope.half);
    }
    team_share(worker, step->h->layer_count, &begin, &end);
    for (uint32_t layer = begin; layer < end; layer++)
        for (uint32_t i = 0; i < step->batch->copy_count; i++)
            pages_copy(&fwd->pages, layer, step->batch->copy_from[i], step->batch->copy_to[i]);
}

/* normed = norm(x) for the first `rows` rows, and what the matrices need of it. */
static void norm(const struct step *step, const struct worker *worker, uint32_t rows,
                 const float *weight, const struct simd_weights *const *w, uint32_t count)
{
    const struct input in = {step->normed, step->dim, step->h->dim};
    uint32_t begin, end;
    team_share(worker, rows, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        step->fwd->simd->rmsnorm(step->x + (size_t)row * step->dim, weight,
                                 step->h->norm_epsilon, step->h->dim,
                                 step->normed + (size_t)row * step->dim);
        quantize_row(step, &in, row, w, count);
    }
}

static void project_qkv(const struct step *step, const struct worker *worker,
                        const struct layer_weights *layer)
{
    const struct input in = {step->normed, step->dim, step->h->dim};
    const struct {
        const struct simd_weights *w;
        const float *bias;
        float *y;
        size_t stride;
    } parts[3] = {{&layer->q, layer->q_bias, step->q, step->q_dim},
                  {&layer->k, layer->k_bias, step->k, step->kv_dim},
                  {&layer->v, layer->v_bias, step->v, step->kv_dim}};
    uint32_t begin, end, offset = 0, from, to, column, count, panels = 0;
    for (unsigned i = 0; i < 3; i++)
        panels += simd_panel_count(parts[i].w->rows);
    team_share(worker, panels, &begin, &end);
    for (unsigned i = 0; i < 3; i++) {
        cut(parts[i].w, begin, end, &offset, &from, &to);
        multiply(step, &in, step->rows, parts[i].w, from, to, parts[i].y, parts[i].stride);
        panel_columns(parts[i].w, from, to, &column, &count);
        for (uint32_t row = 0; parts[i].bias && row < step->rows; row++)
            step->fwd->simd->add(parts[i].y + row * parts[i].stride + column,
                                 parts[i].bias + column, count);
    }
}

/* Norm and rotation of q and k, and the KV entries of one row and KV head. */
static void enter_kv(const struct step *step, const struct layer_weights *layer,
                     uint32_t layer_index, uint32_t row, uint32_t kv_head)
{
    const struct fwd *fwd = step->fwd;
    const struct simd_table *simd = fwd->simd;
    const struct model_hparams *h = step->h;
    const struct batch *batch = step->batch;
    const float *cos = step->cos + (size_t)row * fwd->rope.half;
    const float *sin = step->sin + (size_t)row * fwd->rope.half;
    uint32_t group = h->head_count / h->kv_head_count, head_dim = h->head_dim;
    float *q = step->q + (size_t)row * step->q_dim + (size_t)kv_head * group * head_dim;
    float *k = step->k + (size_t)row * step->kv_dim + (size_t)kv_head * head_dim;
    const float *v = step->v + (size_t)row * step->kv_dim + (size_t)kv_head * head_dim;

    for (uint32_t g = 0; g < group; g++) {
        float *head = q + (size_t)g * head_dim;
        if (layer->q_norm)
            simd->rmsnorm(head, layer->q_norm, h->norm_epsilon, head_dim, head);
        simd->rope(head, cos, sin, fwd->rope.half);
        simd->scale(head, 1.0f / sqrtf((float)head_dim), head_dim);
    }
    if (layer->k_norm)
        simd->rmsnorm(k, layer->k_norm, h->norm_epsilon, head_dim, k);
    simd->rope(k, cos, sin, fwd->rope.half);

    uint32_t tokens = fwd->pages.page_tokens, index = step->row_kv[row];
    uint32_t page = batch->pages[batch->page_begin[step->row_request[row]] + index / tokens];
    pages_enter(&fwd->pages, simd, layer_index, page, kv_head, index % tokens, k, v);
}

static void enter_all_kv(const struct step *step, const struct worker *worker,
                         const struct layer_weights *layer, uint32_t layer_index)
{
    uint32_t begin, end, heads = step->h->kv_head_count;
    team_share(worker, step->rows * heads, &begin, &end);
    for (uint32_t i = begin; i < end; i++)
        enter_kv(step, layer, layer_index, i / heads, i % heads);
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
    const struct attention attention = {fwd->simd, &fwd->pages, batch, layer_index,
                                        step->h->head_count, step->q, step->q_dim, step->attn,
                                        step->q_dim};
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

/* x += w * input, by columns. */
static void add_product(const struct step *step, const struct worker *worker, uint32_t rows,
                        const struct input *in, const struct simd_weights *w)
{
    uint32_t begin, end, column, count;
    team_share(worker, simd_panel_count(w->rows), &begin, &end);
    multiply(step, in, rows, w, begin, end, step->delta, step->dim);
    panel_columns(w, begin, end, &column, &count);
    for (uint32_t row = 0; row < rows; row++)
        step->fwd->simd->add(step->x + (size_t)row * step->dim + column,
                             step->delta + (size_t)row * step->dim + column, count);
}

static void quantize_rows(const struct step *step, const struct worker *worker, uint32_t rows,
                          const struct input *in, const struct simd_weights *w)
{
    uint32_t begin, end;
    team_share(worker, rows, &begin, &end);
    for (uint32_t row = begin; row < end; row++)
        quantize_row(step, in, row, &w, 1);
}

static void gate_up(const struct step *step, const struct worker *worker, uint32_t rows,
                    const struct layer_weights *layer)
{
    const struct input in = {step->normed, step->dim, step->h->dim};
    uint32_t begin, end, column, count;
    team_share(worker, simd_panel_count(layer->gate.rows), &begin, &end);
    multiply(step, &in, rows, &layer->gate, begin, end, step->gate, step->hidden);
    multiply(step, &in, rows, &layer->up, begin, end, step->up, step->hidden);
    panel_columns(&layer->gate, begin, end, &column, &count);
    for (uint32_t row = 0; row < rows; row++)
        step->fwd->simd->silu_mul(step->gate + (size_t)row * step->hidden + column,
                                  step->up + (size_t)row * step->hidden + column, count);
}

static void run_layer(const struct step *step, const struct worker *worker, uint32_t index)
{
    const struct layer_weights *layer = &step->fwd->weights.layers[index];
    const struct input attn = {step->attn, step->q_dim, step->h->head_count * step->h->head_dim};
    const struct input inner = {step->gate, step->hidden, step->h->hidden};
    const struct simd_weights *qkv[3] = {&layer->q, &layer->k, &layer->v};
    const struct simd_weights *ffn[2] = {&layer->gate, &layer->up};

    bool last = index + 1 == step->h->layer_count;
    uint32_t rows = last ? step->wanted_count : step->rows;

    norm(step, worker, step->rows, layer->attn_norm, qkv, 3);
    team_barrier(worker);
    project_qkv(step, worker, layer);
    if (worker->index == 0)
        team_deal(worker);
    team_barrier(worker);
    enter_all_kv(step, worker, layer, index);
    team_barrier(worker);
    attend(step, worker, index, last);
    team_barrier(worker);
    if (rows < step->rows) {
        if (worker->index == 0)
            keep_wanted(step);
        team_barrier(worker);
    }
    quantize_rows(step, worker, rows, &attn, &layer->attn_output);
    team_barrier(worker);
    add_product(step, worker, rows, &attn, &layer->attn_output);
    team_barrier(worker);
    norm(step, worker, rows, layer->ffn_norm, ffn, 2);
    team_barrier(worker);
    gate_up(step, worker, rows, layer);
    team_barrier(worker);
    quantize_rows(step, worker, rows, &inner, &layer->down);
    team_barrier(worker);
    add_product(step, worker, rows, &inner, &layer->down);
    team_barrier(worker);
}

static void output(const struct step *step, const struct worker *worker)
{
    const struct weights *weights = &step->fwd->weights;
    const struct input in = {step->final, step->dim, step->h->dim};
    const struct simd_weights *w = &weights->output;
    uint32_t begin, end;
    team_share(worker, step->wanted_count, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        step->fwd->simd->rmsnorm(step->x + (size_t)i * step->dim, weights->output_norm,
                                 step->h->norm_epsilon, step->h->dim,
                                 step->final + (size_t)i * step->dim);
        quantize_row(step, &in, i, &w, 1);
    }
    if (!step->any_logits)
        return;
    team_barrier(worker);
    team_share(worker, simd_panel_count(w->rows), &begin, &end);
    multiply(step, &in, step->wanted_count, w, begin, end, step->logits, step->vocab);
}

static void step_share(void *user, const struct worker *worker)
{
    const struct step *step = user;
    embed(step, worker);
    team_barrier(worker);
    for (uint32_t i = 0; i < step->h->layer_count; i++)
        run_layer(step, worker, i);
    output(step, worker);
}

/* ---- Steps --------------------------------------------------------------------------------- */

static void *take(uint8_t *space, size_t *at, size_t count, size_t item_bytes)
{
    void *place = space ? space + *at : NULL;
    *at += simd_align64(count * item_bytes);
    return place;
}

/* Hands out the buffers; with space NULL only counts. Returns the bytes. */
static size_t lay_out(struct step *step, uint8_t *space)
{
    const struct model_hparams *h = step->h;
    size_t at = 0, n = step->rows, wanted = step->wanted_count;
    size_t samplers = step->batch->sampler_begin[step->batch->request_count];
    size_t rows_max = n > wanted ? n : wanted;
    uint32_t columns[3] = {h->dim, h->head_count * h->head_dim, h->hidden};
    step->x = take(space, &at, n * step->dim, 4);
    step->normed = take(space, &at, n * step->dim, 4);
    step->delta = take(space, &at, n * step->dim, 4);
    step->q = take(space, &at, n * step->q_dim, 4);
    step->k = take(space, &at, n * step->kv_dim, 4);
    step->v = take(space, &at, n * step->kv_dim, 4);
    step->attn = take(space, &at, n * step->q_dim, 4);
    step->gate = take(space, &at, n * step->hidden, 4);
    step->up = take(space, &at, n * step->hidden, 4);
    step->cos = take(space, &at, n * step->fwd->rope.half, 4);
    step->sin = take(space, &at, n * step->fwd->rope.half, 4);
    step->row_request = take(space, &at, n, 4);
    step->row_kv = take(space, &at, n, 4);
    step->item_begin = take(space, &at, (size_t)step->batch->request_count + 1, 4);
    step->wanted = take(space, &at, n, 4);
    step->wanted_at = take(space, &at, n, 4);
    step->final = take(space, &at, wanted * step->dim, 4);
    step->logits = take(space, &at, step->any_logits ? wanted * step->vocab : 0, 4);
    step->out_logits = take(space, &at, samplers, sizeof *step->out_logits);
    step->out_embeddings = take(space, &at, samplers, sizeof *step->out_embeddings);
    for (int act = SIMD_ACT_F32 + 1; act < SIMD_ACT_COUNT; act++) {
        size_t widest = 0;
        for (unsigned i = 0; i < 3; i++) {
            size_t stride = act_stride((enum simd_act)act, columns[i]);
            widest = stride > widest ? stride : widest;
        }
        step->acts[act] = take(space, &at, rows_max * widest, 1);
    }
    return at;
}

static enum err make_room(struct step *step, struct report *report)
{
    struct fwd *fwd = step->fwd;
    size_t bytes = lay_out(step, NULL);
    if (bytes > fwd->space_bytes) {
        size_t grown = bytes + bytes / 4;
        mem_unmap(fwd->space, fwd->space_bytes);
        fwd->space_bytes = 0;
        fwd->space = mem_map(grown);
        if (!fwd->space)
            return err_set(report, ERR_MEMORY, "no memory for the buffers of a step of %u tokens "
                           "(%zu MiB)", step->rows, grown >> 20);
        fwd->space_bytes = grown;
    }
    (void)lay_out(step, fwd->space);
    return ERR_OK;
}

/* Which rows samplers look at, as an upper bound before there is room for the list. */
static void count_wanted(struct step *step)
{
    const struct batch *batch = step->batch;
    for (uint32_t r = 0; r < batch->request_count; r++) {
        uint32_t samplers = batch->sampler_begin[r + 1] - batch->sampler_begin[r];
        uint32_t rows = batch->token_begin[r + 1] - batch->token_begin[r];
        step->wanted_count += samplers < rows ? samplers : rows;
        for (uint32_t s = batch->sampler_begin[r]; s < batch->sampler_begin[r + 1]; s++)
            step->any_logits |= batch->samplers[s].kind != BATCH_EMBEDDING;
    }
}

static void list_rows(struct step *step)
{
    const struct batch *batch = step->batch;
    uint32_t rows_max = attention_rows_max(step->h->head_count, step->h->kv_head_count);
    step->wanted_count = 0;
    step->item_begin[0] = 0;
    for (uint32_t r = 0; r < batch->request_count; r++) {
        uint32_t begin = batch->token_begin[r], rows = batch->token_begin[r + 1] - begin;
        step->item_begin[r + 1] = step->item_begin[r] + (rows + rows_max - 1) / rows_max;
        for (uint32_t i = 0; i < rows; i++) {
            step->row_request[begin + i] = r;
            step->row_kv[begin + i] = batch->kv_before[r] + i;
            step->wanted_at[begin + i] = UINT32_MAX;
        }
        for (uint32_t s = batch->sampler_begin[r]; s < batch->sampler_begin[r + 1]; s++)
            step->wanted_at[begin + batch->samplers[s].row] = 0;
        for (uint32_t row = begin; row < begin + rows; row++)
            if (step->wanted_at[row] != UINT32_MAX) {
                step->wanted_at[row] = step->wanted_count;
                step->wanted[step->wanted_count++] = row;
            }
    }
    for (uint32_t r = 0; r < batch->request_count; r++)
        for (uint32_t s = batch->sampler_begin[r]; s < batch->sampler_begin[r + 1]; s++) {
            size_t at = step->wanted_at[batch->token_begin[r] + batch->samplers[s].row];
            bool embedding = batch->samplers[s].kind == BATCH_EMBEDDING;
            step->out_logits[s] = embedding ? NULL : step->logits + at * step->vocab;
            step->out_embeddings[s] = embedding ? step->final + at * step->dim : NULL;
        }
}

enum err fwd_run(struct fwd *fwd, const struct batch *batch, struct fwd_output *out,
                 struct report *report)
{
    const struct model_hparams *h = &fwd->model->hparams;
    struct step step = {.fwd = fwd, .batch = batch, .h = h, .rows = batch->token_count,
                        .dim = pad(h->dim), .q_dim = pad(h->head_count * h->head_dim),
                        .kv_dim = pad(h->kv_head_count * h->head_dim), .hidden = pad(h->hidden),
                        .vocab = pad(h->vocab_count)};
    count_wanted(&step);
    enum err err = make_room(&step, report);
    if (err)
        return err;
    list_rows(&step);
    team_run(fwd->team, step_share, &step);
    *out = (struct fwd_output){step.out_logits, step.out_embeddings,
                               batch->sampler_begin[batch->request_count]};
    return ERR_OK;
}

struct errand {
    uint32_t count;
    void (*work)(void *user, uint32_t index);
    void *user;
};

static void errand_share(void *user, const struct worker *worker)
{
    const struct errand *errand = user;
    for (uint32_t i = team_take(worker); i < errand->count; i = team_take(worker))
        errand->work(errand->user, i);
}

void fwd_parallel(struct fwd *fwd, uint32_t count, void (*work)(void *user, uint32_t index),
                  void *user)
{
    struct errand errand = {count, work, user};
    team_run(fwd->team, errand_share, &errand);
}
