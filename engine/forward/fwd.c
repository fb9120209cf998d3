/* A step is one run of the team (`step_share`): every worker walks through the same phases and
 * does its part of each; barriers stand between a phase that writes and one that reads.
 *
 * Invariant: who computes what is decided by the worker's number alone or by taking turns; how an
 * element is computed never depends on it. */
#include "engine/forward/fwd.h"

#include <stdatomic.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/forward/step.h"

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

static enum err create_ropes(struct fwd *fwd, struct report *report)
{
    const struct model *model = fwd->model;
    bool windowed = false;
    for (uint32_t i = 0; i < model->hparams.layer_count; i++)
        windowed = windowed || model->layers[i].windowed;
    fwd->rope_count = windowed ? 2 : 1;
    enum err err = rope_create(&model->hparams.rope, &fwd->ropes[0], report);
    if (!err && windowed)
        err = rope_create(&model->hparams.rope_windowed, &fwd->ropes[1], report);
    return err;
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
        err = create_ropes(fwd, report);
    if (!err) {
        fwd->scratch = mem_calloc(NULL, team_threads(fwd->team), sizeof *fwd->scratch);
        if (!fwd->scratch)
            err = err_set(report, ERR_MEMORY, "no memory for attention buffers");
    }
    for (uint32_t i = 0; !err && i < team_threads(fwd->team); i++)
        err = attention_scratch_create(&fwd->pages, h->head_count, &fwd->scratch[i], report);
    if (!err)
        err = weights_create(model, config, fwd->team, &fwd->weights, report);
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
    for (unsigned i = 0; i < 2; i++)
        rope_destroy(&fwd->ropes[i]);
    pages_destroy(&fwd->pages);
    for (uint32_t i = 0; i < atomic_load(&fwd->adapter_count); i++)
        adapter_destroy(fwd->adapters[i]);
    mem_unmap(fwd->space, fwd->space_bytes);
    team_destroy(fwd->team);
    mem_free(NULL, fwd);
}

static enum err adapter_add_file(struct fwd *fwd, struct gguf *file, int64_t *id,
                                 struct report *report)
{
    uint32_t count = atomic_load(&fwd->adapter_count);
    enum err err = ERR_OK;
    if (count == FWD_ADAPTERS_MAX)
        err = err_set(report, ERR_LIMIT, "there are %u adapters already, as many as can be", count);
    if (!err)
        err = adapter_create(fwd->model, file, &fwd->adapters[count], report);
    gguf_close(file);
    if (err)
        return err;
    atomic_store(&fwd->adapter_count, count + 1); /* a step that names it begins after this */
    *id = count;
    return ERR_OK;
}

enum err fwd_adapter_load(struct fwd *fwd, const char *path, int64_t *id, struct report *report)
{
    struct gguf *file;
    enum err err = gguf_open(path, &file, report);
    return err ? err : adapter_add_file(fwd, file, id, report);
}

enum err fwd_adapter_load_memory(struct fwd *fwd, const uint8_t *data, size_t bytes, int64_t *id,
                                 struct report *report)
{
    struct gguf *file;
    enum err err = gguf_open_memory(data, bytes, &file, report);
    return err ? err : adapter_add_file(fwd, file, id, report);
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
        if (step->h->embedding_scale != 1.0f)
            fwd->simd->scale(step->x + (size_t)row * step->dim, step->h->embedding_scale,
                             step->h->dim);
        for (unsigned i = 0; i < fwd->rope_count; i++)
            rope_angles(&fwd->ropes[i], step->batch->positions[row],
                        step->cos[i] + (size_t)row * fwd->ropes[i].half,
                        step->sin[i] + (size_t)row * fwd->ropes[i].half);
    }
    team_share(worker, step->h->layer_count, &begin, &end);
    for (uint32_t layer = begin; layer < end; layer++)
        for (uint32_t i = 0; i < step->batch->copy_count; i++)
            pages_copy(&fwd->pages, layer, step->batch->copy_from[i], step->batch->copy_to[i]);
}

static void output(const struct step *step, const struct worker *worker,
                   struct step_pending pending)
{
    const struct fwd *fwd = step->fwd;
    const struct model_hparams *h = step->h;
    const struct step_input in = {step->final, step->dim, h->dim, step->acts};
    const struct step_product product = {&fwd->weights.output, NULL, 0, MODEL_ROLE_COUNT,
                                         step->logits, step->vocab};
    uint32_t begin, end, column, count;
    team_share(worker, step->wanted_count, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        layer_settle(step, pending, i);
        fwd->simd->rmsnorm(step->x + (size_t)i * step->dim, fwd->weights.output_norm,
                           h->norm_epsilon, h->dim, step->final + (size_t)i * step->dim);
        step_quantize_row(step, &in, i, &product, 1);
    }
    if (!step->any_logits)
        return;
    team_barrier(worker);
    team_share(worker, simd_panel_count(product.w->rows), &begin, &end);
    step_multiply(step, &in, 0, step->wanted_count, &product, begin, end);
    step_columns(product.w, begin, end, &column, &count);
    for (uint32_t i = 0; i < step->wanted_count; i++) {
        float *logits = step->logits + (size_t)i * step->vocab + column;
        if (h->logit_scale != 1.0f)
            fwd->simd->scale(logits, h->logit_scale, count);
        if (h->logit_softcap > 0)
            fwd->simd->softcap(logits, h->logit_softcap, count);
    }
}

static void step_share(void *user, const struct worker *worker)
{
    const struct step *step = user;
    struct step_pending pending = {false, false, NULL};
    embed(step, worker);
    team_barrier(worker);
    for (uint32_t i = 0; i < step->h->layer_count; i++)
        pending = layer_run(step, worker, i, pending);
    output(step, worker, pending);
}

/* ---- Steps --------------------------------------------------------------------------------- */

static void *take(uint8_t *space, size_t *at, size_t count, size_t item_bytes)
{
    void *place = space ? space + *at : NULL;
    *at += simd_align64(count * item_bytes);
    return place;
}

static void lay_out_experts(const struct step *step, struct step_experts *experts, uint8_t *space,
                            size_t *at, size_t slots)
{
    const struct model_hparams *h = step->h;
    experts->router_stride = pad(h->expert_count);
    experts->router = take(space, at, (size_t)step->rows * experts->router_stride, 4);
    experts->chosen = take(space, at, slots, 4);
    experts->share = take(space, at, slots, 4);
    experts->slot = take(space, at, slots, 4);
    experts->slot_row = take(space, at, slots, 4);
    experts->begin = take(space, at, (size_t)h->expert_count + 1, 4);
    experts->active = take(space, at, h->expert_count, 4);
    experts->rows = take(space, at, slots * step->dim, 4);
    for (int act = SIMD_ACT_F32 + 1; act < SIMD_ACT_COUNT; act++)
        experts->acts[act] =
            take(space, at, slots * step_act_stride((enum simd_act)act, h->dim), 1);
    experts->out = take(space, at, slots * step->dim, 4);
}

/* Hands out the buffers; with space NULL only counts. Returns the bytes. */
static size_t lay_out(struct step *step, uint8_t *space)
{
    const struct model_hparams *h = step->h;
    size_t at = 0, n = step->rows, wanted = step->wanted_count;
    size_t samplers = step->batch->sampler_begin[step->batch->request_count];
    size_t inner = n * (h->expert_count > 0 ? h->expert_used : 1); /* rows inside feed-forwards */
    uint32_t columns[3] = {h->dim, h->head_count * h->head_dim, h->hidden};
    step->x = take(space, &at, n * step->dim, 4);
    step->normed = take(space, &at, n * step->dim, 4);
    step->delta = take(space, &at, n * step->dim, 4);
    step->q = take(space, &at, n * step->q_dim, 4);
    step->k = take(space, &at, n * step->kv_dim, 4);
    step->v = take(space, &at, n * step->kv_dim, 4);
    step->attn = take(space, &at, n * step->q_dim, 4);
    step->gate = take(space, &at, inner * step->hidden, 4);
    step->up = take(space, &at, inner * step->hidden, 4);
    for (unsigned i = 0; i < step->fwd->rope_count; i++) {
        step->cos[i] = take(space, &at, n * step->fwd->ropes[i].half, 4);
        step->sin[i] = take(space, &at, n * step->fwd->ropes[i].half, 4);
    }
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
            size_t stride = step_act_stride((enum simd_act)act, columns[i]);
            widest = stride > widest ? stride : widest;
        }
        step->acts[act] = take(space, &at, inner * widest, 1);
    }
    if (step->experts)
        lay_out_experts(step, step->experts, space, &at, inner);
    if (step->low_stride > 0) {
        step->adapters = take(space, &at, n, sizeof *step->adapters);
        step->kept_adapters = take(space, &at, wanted, sizeof *step->kept_adapters);
        step->low = take(space, &at, n * STEP_LOW_SLOTS * step->low_stride, 4);
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

/* The adapter of a row; ids that nobody loaded are a bug of the caller. */
static const struct fwd_adapter *adapter_of(const struct step *step, uint32_t row)
{
    int64_t id = step->batch->adapters[row];
    CHECK(id < (int64_t)atomic_load(&step->fwd->adapter_count));
    return id >= 0 ? step->fwd->adapters[id] : NULL;
}

/* Room for the largest rank; none when no row has an adapter. */
static void count_adapters(struct step *step)
{
    uint32_t rank = 0;
    for (uint32_t row = 0; step->batch->adapters && row < step->rows; row++) {
        const struct fwd_adapter *adapter = adapter_of(step, row);
        if (adapter && adapter->rank_max > rank)
            rank = adapter->rank_max;
    }
    step->low_stride = pad(rank);
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
    for (uint32_t row = 0; step->adapters && row < step->rows; row++)
        step->adapters[row] = adapter_of(step, row);
    for (uint32_t i = 0; step->adapters && i < step->wanted_count; i++)
        step->kept_adapters[i] = step->adapters[step->wanted[i]];
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
    struct step_experts experts = {0};
    struct step step = {.fwd = fwd, .batch = batch, .h = h, .rows = batch->token_count,
                        .dim = pad(h->dim), .q_dim = pad(h->head_count * h->head_dim),
                        .kv_dim = pad(h->kv_head_count * h->head_dim), .hidden = pad(h->hidden),
                        .vocab = pad(h->vocab_count),
                        .experts = h->expert_count > 0 ? &experts : NULL};
    count_wanted(&step);
    count_adapters(&step);
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
