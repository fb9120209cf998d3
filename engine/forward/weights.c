/* The region is laid out by one walk over the model (`visit`), run twice: to add up the bytes, and
 * to hand out places. Packing is then done panel by panel by the whole team. */
#include "engine/forward/weights.h"

#include <stdatomic.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

bool weights_type(enum gguf_tensor_type format, enum simd_type *type)
{
    switch (format) {
    case GGUF_TENSOR_F32: *type = SIMD_F32; return true;
    case GGUF_TENSOR_F16: *type = SIMD_F16; return true;
    case GGUF_TENSOR_BF16: *type = SIMD_BF16; return true;
    case GGUF_TENSOR_Q8_0: *type = SIMD_Q8_0; return true;
    case GGUF_TENSOR_Q4_0: *type = SIMD_Q4_0; return true;
    case GGUF_TENSOR_Q4_K: *type = SIMD_Q4_K; return true;
    case GGUF_TENSOR_Q6_K: *type = SIMD_Q6_K; return true;
    case GGUF_TENSOR_Q4_1: *type = SIMD_Q4_1; return true;
    case GGUF_TENSOR_Q5_0: *type = SIMD_Q5_0; return true;
    case GGUF_TENSOR_Q5_1: *type = SIMD_Q5_1; return true;
    case GGUF_TENSOR_Q2_K: *type = SIMD_Q2_K; return true;
    case GGUF_TENSOR_Q3_K: *type = SIMD_Q3_K; return true;
    case GGUF_TENSOR_Q5_K: *type = SIMD_Q5_K; return true;
    case GGUF_TENSOR_IQ4_NL: *type = SIMD_IQ4_NL; return true;
    case GGUF_TENSOR_IQ4_XS: *type = SIMD_IQ4_XS; return true;
    case GGUF_TENSOR_MXFP4: *type = SIMD_MXFP4; return true;
    default: return false;
    }
}

/* A matrix to be packed: rows of a tensor from first_row on. Within each head of head_dim rows, the first rope_dim are put in the order that
 * fwd_* needs. */
struct job {
    const struct gguf_tensor *tensor;
    const struct simd_weights *matrix;
    uint8_t *panels;
    uint64_t first_row;
    uint32_t head_dim, rope_dim; /* rope_dim 0: rows stay in order */
    uint32_t first_panel;        /* in the count over all jobs */
};

struct plan {
    const struct model *model;
    enum fwd_recipe recipe;
    uint8_t *region; /* NULL in the first walk */
    bool filled;     /* the region is: it is only looked at */
    uint64_t hash[2]; /* of all that decides what lies where; made by the first walk */
    size_t bytes;
    struct {
        struct job *items;
        size_t count, capacity;
    } jobs;
    uint32_t panel_count;
    enum err err;
    struct report *report;
};

uint32_t weights_source_row(uint32_t row, uint32_t head_dim, uint32_t rope_dim)
{
    if (rope_dim == 0)
        return row;
    uint32_t in_head = row % head_dim, half = rope_dim / 2;
    if (in_head >= rope_dim)
        return row;
    return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

/* Only these are quantised while loading: a second quantising would lose twice. */
static bool is_float(enum gguf_tensor_type format)
{
    return format == GGUF_TENSOR_F32 || format == GGUF_TENSOR_F16 || format == GGUF_TENSOR_BF16;
}

static void plan_rows(struct plan *plan, const struct gguf_tensor *tensor, uint64_t first_row,
                      uint64_t row_count, uint32_t rope_dim, struct simd_weights *matrix)
{
    enum simd_type type;
    if (plan->err || !tensor)
        return;
    enum gguf_tensor_type format = tensor->type;
    if (is_float(format))
        format = fwd_recipe_type(plan->recipe, plan->model, tensor);
    if (!weights_type(format, &type)) {
        plan->err = err_set(plan->report, ERR_UNSUPPORTED,
                            "tensor '%.*s' is of type %s, for which this build has no kernel",
                            tensor->name.bytes < 80 ? (int)tensor->name.bytes : 80,
                            tensor->name.data, gguf_tensor_type_name(tensor->type));
        return;
    }
    uint32_t columns = (uint32_t)tensor->dims[0], rows = (uint32_t)row_count;
    size_t panel_bytes = simd_panel_bytes(type, columns);
    if (plan->region) {
        uint8_t *panels = plan->region + plan->bytes;
        *matrix = (struct simd_weights){type, rows, columns, panel_bytes, panels};
        if (!plan->filled &&
            !vec_push(NULL, &plan->jobs,
                      (struct job){tensor, matrix, panels, first_row,
                                   plan->model->hparams.head_dim, rope_dim, plan->panel_count})) {
            plan->err = err_set(plan->report, ERR_MEMORY, "no memory for the packing plan");
            return;
        }
        plan->panel_count += simd_panel_count(rows);
    } else {
        uint64_t place[] = {plan->bytes, type, rows, columns, panel_bytes, tensor->type, first_row,
                            plan->model->hparams.head_dim, rope_dim};
        hash_add(plan->hash, place, sizeof place);
        hash_add(plan->hash, tensor->name.data, tensor->name.bytes);
    }
    plan->bytes += panel_bytes * simd_panel_count(rows);
}

static void plan_matrix(struct plan *plan, const struct gguf_tensor *tensor, uint32_t rope_dim,
                        struct simd_weights *matrix)
{
    plan_rows(plan, tensor, 0, tensor ? tensor->dims[1] : 0, rope_dim, matrix);
}

/* [expert_count] matrices of one tensor. */
static void plan_experts(struct plan *plan, const struct gguf_tensor *tensor,
                         struct simd_weights *experts)
{
    struct simd_weights unused;
    for (uint64_t e = 0; tensor && e < plan->model->hparams.expert_count; e++)
        plan_rows(plan, tensor, e * tensor->dims[1], tensor->dims[1], 0,
                  plan->region ? &experts[e] : &unused);
}

static void plan_vector(struct plan *plan, const struct gguf_tensor *tensor, uint32_t rope_dim,
                        const float **vector)
{
    if (plan->err || !tensor)
        return;
    if (plan->region) {
        float *values = (float *)(void *)(plan->region + plan->bytes);
        uint32_t count = (uint32_t)(tensor->dims[0] * tensor->dims[1]);
        for (uint32_t i = 0; !plan->filled && i < count; i++) {
            uint32_t from = weights_source_row(i, plan->model->hparams.head_dim, rope_dim);
            memcpy(values + i, tensor->data + (size_t)from * 4, 4);
        }
        *vector = values;
    } else {
        uint64_t place[] = {plan->bytes, tensor->dims[0], tensor->dims[1], rope_dim};
        hash_add(plan->hash, place, sizeof place);
        hash_add(plan->hash, tensor->name.data, tensor->name.bytes);
    }
    plan->bytes += simd_align64((size_t)(tensor->dims[0] * tensor->dims[1]) * 4);
}

static void visit_layer(struct plan *plan, const struct gguf_tensor *const *tensors,
                        struct layer_weights *layer)
{
    const struct model_hparams *h = &plan->model->hparams;
    uint32_t turn = h->rope.style == MODEL_ROPE_PAIRS ? h->rope.dim : 0;
    uint64_t q_rows = (uint64_t)h->head_count * h->head_dim;
    uint64_t kv_rows = (uint64_t)h->kv_head_count * h->head_dim;
    plan_vector(plan, tensors[MODEL_ATTN_NORM], 0, &layer->attn_norm);
    if (tensors[MODEL_QKV]) {
        plan_rows(plan, tensors[MODEL_QKV], 0, q_rows, turn, &layer->q);
        plan_rows(plan, tensors[MODEL_QKV], q_rows, kv_rows, turn, &layer->k);
        plan_rows(plan, tensors[MODEL_QKV], q_rows + kv_rows, kv_rows, 0, &layer->v);
    }
    plan_matrix(plan, tensors[MODEL_Q], turn, &layer->q);
    plan_matrix(plan, tensors[MODEL_K], turn, &layer->k);
    plan_matrix(plan, tensors[MODEL_V], 0, &layer->v);
    plan_vector(plan, tensors[MODEL_Q_BIAS], turn, &layer->q_bias);
    plan_vector(plan, tensors[MODEL_K_BIAS], turn, &layer->k_bias);
    plan_vector(plan, tensors[MODEL_V_BIAS], 0, &layer->v_bias);
    plan_vector(plan, tensors[MODEL_Q_NORM], turn, &layer->q_norm);
    plan_vector(plan, tensors[MODEL_K_NORM], turn, &layer->k_norm);
    plan_vector(plan, tensors[MODEL_ATTN_SINKS], 0, &layer->sinks);
    plan_matrix(plan, tensors[MODEL_ATTN_OUTPUT], 0, &layer->attn_output);
    plan_vector(plan, tensors[MODEL_ATTN_OUTPUT_BIAS], 0, &layer->attn_output_bias);
    plan_vector(plan, tensors[MODEL_ATTN_POST_NORM], 0, &layer->attn_post_norm);
    plan_vector(plan, tensors[MODEL_FFN_NORM], 0, &layer->ffn_norm);
    if (tensors[MODEL_GATE_UP]) {
        plan_rows(plan, tensors[MODEL_GATE_UP], 0, h->hidden, 0, &layer->gate);
        plan_rows(plan, tensors[MODEL_GATE_UP], h->hidden, h->hidden, 0, &layer->up);
    }
    plan_matrix(plan, tensors[MODEL_GATE], 0, &layer->gate);
    plan_matrix(plan, tensors[MODEL_UP], 0, &layer->up);
    plan_matrix(plan, tensors[MODEL_DOWN], 0, &layer->down);
    plan_matrix(plan, tensors[MODEL_ROUTER], 0, &layer->router);
    plan_vector(plan, tensors[MODEL_ROUTER_BIAS], 0, &layer->router_bias);
    plan_experts(plan, tensors[MODEL_GATE_EXPERTS], layer->gate_experts);
    plan_experts(plan, tensors[MODEL_UP_EXPERTS], layer->up_experts);
    plan_experts(plan, tensors[MODEL_DOWN_EXPERTS], layer->down_experts);
    plan_vector(plan, tensors[MODEL_GATE_EXPERTS_BIAS], 0, &layer->gate_experts_bias);
    plan_vector(plan, tensors[MODEL_UP_EXPERTS_BIAS], 0, &layer->up_experts_bias);
    plan_vector(plan, tensors[MODEL_DOWN_EXPERTS_BIAS], 0, &layer->down_experts_bias);
    plan_vector(plan, tensors[MODEL_FFN_POST_NORM], 0, &layer->ffn_post_norm);
}

static void visit(struct plan *plan, struct weights *weights)
{
    const struct model *model = plan->model;
    struct layer_weights unused = {0};
    for (uint32_t i = 0; i < model->hparams.layer_count; i++)
        visit_layer(plan, model->layers[i].tensors, plan->region ? &weights->layers[i] : &unused);
    plan_vector(plan, model->output_norm, 0, plan->region ? &weights->output_norm
                                                          : &unused.attn_norm);
    plan_matrix(plan, model->output, 0, plan->region ? &weights->output : &unused.q);
}

struct packing {
    const struct plan *plan;
    struct requantize *rooms; /* [threads]; NULL: nothing is quantised */
    fwd_progress progress;
    void *progress_user;
    atomic_size_t done;
};

/* A worker's room for rows that change their format. */
struct requantize {
    float *floats; /* [columns of the widest matrix] */
    uint8_t *rows; /* SIMD_LANES rows of it, at most four bytes an element */
};

/* Turns the rows of a panel into the matrix's format; `rows` then points to the results. */
static void requantize_rows(const struct requantize *room, const struct job *job,
                            const uint8_t *rows[SIMD_LANES])
{
    const struct simd_weights *matrix = job->matrix;
    size_t row_bytes = simd_row_bytes(matrix->type, matrix->columns);
    enum simd_type from = SIMD_F32;
    (void)weights_type(job->tensor->type, &from);
    for (uint32_t lane = 0; lane < SIMD_LANES; lane++) {
        if (!rows[lane])
            continue;
        uint8_t *row = room->rows + lane * row_bytes;
        simd_unpack_row(from, matrix->columns, rows[lane], room->floats);
        CHECK(simd_quantize_row(matrix->type, matrix->columns, room->floats, row));
        rows[lane] = row;
    }
}

static void free_rooms(struct requantize *rooms, uint32_t count)
{
    for (uint32_t i = 0; rooms && i < count; i++) {
        mem_free(NULL, rooms[i].floats);
        mem_free(NULL, rooms[i].rows);
    }
    mem_free(NULL, rooms);
}

static enum err make_rooms(const struct plan *plan, uint32_t count, struct requantize **rooms)
{
    size_t columns = 0;
    *rooms = NULL;
    for (size_t i = 0; i < plan->jobs.count; i++)
        columns = plan->jobs.items[i].tensor->dims[0] > columns
                      ? (size_t)plan->jobs.items[i].tensor->dims[0]
                      : columns;
    if (plan->recipe == FWD_AS_IS)
        return ERR_OK;
    bool ok = (*rooms = mem_calloc(NULL, count, sizeof **rooms)) != NULL;
    for (uint32_t i = 0; ok && i < count; i++) {
        (*rooms)[i].floats = mem_calloc(NULL, columns, sizeof(float));
        (*rooms)[i].rows = mem_calloc(NULL, columns, SIMD_LANES * sizeof(float));
        ok = (*rooms)[i].floats && (*rooms)[i].rows;
    }
    return ok ? ERR_OK : err_set(plan->report, ERR_MEMORY, "no memory for quantising");
}

/* Lets go of the file's bytes in pieces, so that they are never held beside all that was made of
 * them. The others may still be at the piece's last panels; what they touch comes back. */
static void release_behind(const struct plan *plan, const struct job *job, uint32_t panel,
                           size_t row_bytes)
{
    enum { PIECE_PANELS = 256 };
    uint32_t rows = job->matrix->rows, begin = panel / PIECE_PANELS * PIECE_PANELS * SIMD_LANES;
    uint32_t end = (panel + 1) * SIMD_LANES;
    if (end >= rows || (panel + 1) % PIECE_PANELS == 0)
        gguf_release_part(plan->model->file, job->tensor->data + begin * row_bytes,
                          ((end < rows ? end : rows) - begin) * row_bytes);
}

static void pack_share(void *user, const struct worker *worker)
{
    struct packing *packing = user;
    const struct plan *plan = packing->plan;
    size_t at = 0;
    for (;;) {
        uint32_t panel = team_take(worker);
        if (panel >= plan->panel_count)
            return;
        while (at + 1 < plan->jobs.count && plan->jobs.items[at + 1].first_panel <= panel)
            at++;
        const struct job *job = &plan->jobs.items[at];
        const struct simd_weights *matrix = job->matrix;
        enum simd_type stored = matrix->type;
        (void)weights_type(job->tensor->type, &stored);
        size_t row_bytes = simd_row_bytes(stored, matrix->columns);
        const uint8_t *rows[SIMD_LANES];
        for (uint32_t lane = 0; lane < SIMD_LANES; lane++) {
            uint32_t row = (panel - job->first_panel) * SIMD_LANES + lane;
            rows[lane] = row < matrix->rows
                             ? job->tensor->data +
                                   (job->first_row +
                                    weights_source_row(row, job->head_dim, job->rope_dim)) * row_bytes
                             : NULL;
        }
        if (stored != matrix->type)
            requantize_rows(&packing->rooms[worker->index], job, rows);
        simd_pack_panel(matrix->type, matrix->columns, rows,
                        job->panels + (panel - job->first_panel) * matrix->panel_bytes);
        release_behind(plan, job, panel - job->first_panel, row_bytes);
        size_t done = atomic_fetch_add(&packing->done, matrix->panel_bytes) + matrix->panel_bytes;
        if (worker->index == 0 && packing->progress)
            packing->progress(packing->progress_user, done, plan->bytes);
    }
}

uint64_t weights_bytes(const struct model *model, enum fwd_recipe recipe)
{
    struct weights weights;
    struct plan plan = {.model = model, .recipe = recipe};
    visit(&plan, &weights);
    return plan.err ? 0 : plan.bytes;
}

static enum err pack(struct plan *plan, const struct fwd_config *config, struct team *team)
{
    struct packing packing = {.plan = plan, .progress = config->progress,
                              .progress_user = config->progress_user};
    enum err err = make_rooms(plan, team_threads(team), &packing.rooms);
    if (!err)
        team_run(team, pack_share, &packing);
    free_rooms(packing.rooms, team_threads(team));
    return err;
}

static bool make_lists(const struct model *model, struct weights *weights)
{
    uint32_t layer_count = model->hparams.layer_count, experts = model->hparams.expert_count;
    weights->layers = mem_calloc(NULL, layer_count, sizeof *weights->layers);
    if (experts > 0)
        weights->experts = mem_calloc(NULL, (size_t)layer_count * 3 * experts,
                                      sizeof *weights->experts);
    if (!weights->layers || (experts > 0 && !weights->experts))
        return false;
    for (uint32_t i = 0; experts > 0 && i < layer_count; i++) {
        struct simd_weights *first = weights->experts + (size_t)i * 3 * experts;
        weights->layers[i].gate_experts = first;
        weights->layers[i].up_experts = first + experts;
        weights->layers[i].down_experts = first + 2 * (size_t)experts;
    }
    return true;
}

enum err weights_create(const struct model *model, const struct fwd_config *config,
                        struct team *team, struct weights *weights, struct report *report)
{
    struct plan plan = {.model = model, .recipe = config->recipe, .report = report};
    struct packed_key key;
    *weights = (struct weights){0};
    visit(&plan, weights);
    if (!plan.err && !weights_type(model->token_embedding->type, &weights->embedding_type))
        plan.err = err_set(report, ERR_UNSUPPORTED, "the token embedding is of type %s, for which "
                           "this build has no kernel",
                           gguf_tensor_type_name(model->token_embedding->type));
    if (plan.err)
        return plan.err;
    weights->region_bytes = plan.bytes;
    bool keeps = config->packed_file && packed_key(model->file, plan.hash, plan.bytes, &key);
    plan.filled = keeps && packed_open(config->packed_file, &key, &weights->cached);
    plan.region = plan.filled ? (uint8_t *)(uintptr_t)weights->cached.region : mem_map(plan.bytes);
    weights->region = plan.region;
    if (!plan.region || !make_lists(model, weights)) {
        weights_destroy(weights);
        return err_set(report, ERR_MEMORY, "no memory for %zu MiB of packed weights",
                       plan.bytes >> 20);
    }
    plan.bytes = 0;
    visit(&plan, weights);
    if (!plan.err) {
        CHECK(plan.bytes == weights->region_bytes);
        if (!plan.filled)
            plan.err = pack(&plan, config, team);
    }
    if (!plan.err && keeps && !plan.filled)
        packed_write(config->packed_file, &key, plan.region);
    if (!plan.err && config->progress)
        config->progress(config->progress_user, plan.bytes, plan.bytes);
    vec_free(NULL, &plan.jobs);
    if (plan.err)
        weights_destroy(weights);
    return plan.err;
}

void weights_destroy(struct weights *weights)
{
    if (weights->cached.region)
        packed_close(&weights->cached);
    else
        mem_unmap((void *)(uintptr_t)weights->region, weights->region_bytes);
    mem_free(NULL, weights->layers);
    mem_free(NULL, weights->experts);
    *weights = (struct weights){0};
}
