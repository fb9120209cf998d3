#include "engine/forward/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/forward/step.h"

enum { ROWS_AT_ONCE = 16, PANELS_AT_ONCE = 8, RANK_MAX = 1024 };

/* ---- Reading ------------------------------------------------------------------------------- */

/* Where an adapted tensor's rows go: one matrix, or several below one another. */
static const struct target {
    const char *name; /* behind "blk.N." */
    enum model_role roles[3];
    unsigned role_count;
} targets[] = {
    {"attn_q.weight", {MODEL_Q}, 1},
    {"attn_k.weight", {MODEL_K}, 1},
    {"attn_v.weight", {MODEL_V}, 1},
    {"attn_qkv.weight", {MODEL_Q, MODEL_K, MODEL_V}, 3},
    {"attn_output.weight", {MODEL_ATTN_OUTPUT}, 1},
    {"ffn_gate.weight", {MODEL_GATE}, 1},
    {"ffn_up.weight", {MODEL_UP}, 1}, /* with MODEL_GATE_UP: gate and up */
    {"ffn_down.weight", {MODEL_DOWN}, 1},
};

static uint64_t role_rows(const struct model_hparams *h, enum model_role role)
{
    switch (role) {
    case MODEL_Q: return (uint64_t)h->head_count * h->head_dim;
    case MODEL_K:
    case MODEL_V: return (uint64_t)h->kv_head_count * h->head_dim;
    case MODEL_GATE:
    case MODEL_UP: return h->hidden;
    default: return h->dim;
    }
}

static uint64_t role_columns(const struct model_hparams *h, enum model_role role)
{
    return role == MODEL_ATTN_OUTPUT ? (uint64_t)h->head_count * h->head_dim
           : role == MODEL_DOWN      ? h->hidden
                                     : h->dim;
}

struct reading {
    const struct model *model;
    struct fwd_adapter *adapter;
    float alpha;
    size_t at; /* bytes of the region used; the first walk only counts */
    struct report *report;
};

/* Rows [first, first + count) of a tensor as packed F32; where the model's q and k are permuted for
 * RoPE, so are these. In the first walk only the bytes are counted. */
static enum err pack(struct reading *r, const struct gguf_tensor *tensor, uint64_t first,
                     uint32_t count, uint32_t rope_dim, struct simd_weights *out)
{
    uint32_t columns = (uint32_t)tensor->dims[0];
    size_t panel_bytes = simd_panel_bytes(SIMD_F32, columns);
    uint8_t *panels = r->adapter->region ? r->adapter->region + r->at : NULL;
    r->at += panel_bytes * simd_panel_count(count);
    if (!panels)
        return ERR_OK;
    enum simd_type type;
    float *rows = mem_alloc(NULL, (size_t)columns * SIMD_LANES * 4);
    if (!rows || !weights_type(tensor->type, &type)) {
        mem_free(NULL, rows);
        return err_set(r->report, ERR_MEMORY, "no memory to read an adapter");
    }
    size_t row_bytes = simd_row_bytes(type, columns);
    for (uint32_t panel = 0; panel < simd_panel_count(count); panel++) {
        const uint8_t *pointers[SIMD_LANES];
        for (uint32_t lane = 0; lane < SIMD_LANES; lane++) {
            uint32_t row = panel * SIMD_LANES + lane;
            float *place = rows + (size_t)lane * columns;
            pointers[lane] = row < count ? (const uint8_t *)place : NULL;
            if (row >= count)
                continue;
            uint64_t source = first + weights_source_row(row, r->model->hparams.head_dim, rope_dim);
            simd_unpack_row(type, columns, tensor->data + source * row_bytes, place);
        }
        simd_pack_panel(SIMD_F32, columns, pointers, panels + panel * panel_bytes);
    }
    mem_free(NULL, rows);
    *out = (struct simd_weights){SIMD_F32, count, columns, panel_bytes, panels};
    return ERR_OK;
}

static enum err misfit(const struct reading *r, const char *name, const char *why)
{
    return err_set(r->report, ERR_INVALID, "the adapter's tensor '%s' %s", name, why);
}

static enum err read_pair(struct reading *r, const struct target *target, uint32_t layer,
                          const struct gguf_tensor *a, const struct gguf_tensor *b,
                          const char *name)
{
    const struct model_hparams *h = &r->model->hparams;
    const struct gguf_tensor *const *tensors = r->model->layers[layer].tensors;
    struct target t = *target;
    enum simd_type type;
    if (t.roles[0] == MODEL_UP && tensors[MODEL_GATE_UP])
        t = (struct target){t.name, {MODEL_GATE, MODEL_UP}, 2};
    bool split = t.role_count == 1 ? tensors[t.roles[0]] != NULL
                                   : tensors[t.role_count == 3 ? MODEL_QKV : MODEL_GATE_UP] != NULL;
    uint64_t rank = a->dims[1], rows = 0;
    for (unsigned i = 0; i < t.role_count; i++)
        rows += role_rows(h, t.roles[i]);
    if (!split)
        return misfit(r, name, "belongs to a matrix that the model lacks");
    if (rank < 1 || rank > RANK_MAX || b->dims[0] != rank || b->dims[1] != rows ||
        a->dims[0] != role_columns(h, t.roles[0]) || a->dims[2] != 1 || b->dims[2] != 1)
        return misfit(r, name, "has another shape than the model's matrix calls for, or a rank "
                               "above 1024");
    if (!weights_type(a->type, &type) || !weights_type(b->type, &type))
        return misfit(r, name, "is of a type that this build cannot read");
    if (rank > r->adapter->rank_max)
        r->adapter->rank_max = (uint32_t)rank;
    uint32_t turn = h->rope.style == MODEL_ROPE_PAIRS ? h->rope.dim : 0;
    uint64_t first = 0;
    for (unsigned i = 0; i < t.role_count; i++) {
        struct adapter_pair *pair = &r->adapter->pairs[(size_t)layer * MODEL_ROLE_COUNT + t.roles[i]];
        uint32_t count = (uint32_t)role_rows(h, t.roles[i]);
        bool turned = t.roles[i] == MODEL_Q || t.roles[i] == MODEL_K;
        pair->scale = r->alpha != 0 ? r->alpha / (float)rank : 1.0f;
        enum err err = pack(r, a, 0, (uint32_t)rank, 0, &pair->a);
        if (!err)
            err = pack(r, b, first, count, turned ? turn : 0, &pair->b);
        if (err)
            return err;
        first += count;
    }
    return ERR_OK;
}

/* The tensor of a pair's A: its B, and where it belongs. */
static enum err read_tensor(struct reading *r, const struct gguf *file,
                            const struct gguf_tensor *tensor)
{
    static const char ending[] = ".lora_a";
    char name[128], rest[64];
    unsigned layer;
    if (tensor->name.bytes >= sizeof name - 8)
        return err_set(r->report, ERR_INVALID, "a tensor of the adapter has too long a name");
    memcpy(name, tensor->name.data, tensor->name.bytes);
    name[tensor->name.bytes] = 0;
    size_t bytes = strlen(name), end = sizeof ending - 1;
    if (bytes > end && strcmp(name + bytes - end, ".lora_b") == 0) {
        name[bytes - 1] = 'a';
        return gguf_find_tensor(file, name) ? ERR_OK : misfit(r, name, "is missing beside its B");
    }
    if (bytes <= end || strcmp(name + bytes - end, ending) != 0)
        return err_set(r->report, ERR_UNSUPPORTED, "the adapter's tensor '%s' is neither A nor B of "
                       "a low-rank pair", name);
    name[bytes - 1] = 'b';
    const struct gguf_tensor *b = gguf_find_tensor(file, name);
    name[bytes - 1] = 'a';
    if (!b)
        return misfit(r, name, "has no B beside it");
    name[bytes - end] = 0;
    if (sscanf(name, "blk.%4u.%63s", &layer, rest) == 2 && layer < r->model->hparams.layer_count)
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
            if (strcmp(rest, targets[i].name) == 0)
                return read_pair(r, &targets[i], layer, tensor, b, name);
    return err_set(r->report, ERR_UNSUPPORTED, "the adapter changes '%s', which cannot have one here "
                   "(attention and dense feed-forward matrices of the model's layers can)", name);
}

static enum err read_all(struct reading *r, const struct gguf *file)
{
    enum err err = ERR_OK;
    r->at = 0;
    for (size_t i = 0; !err && i < gguf_tensor_count(file); i++)
        err = read_tensor(r, file, gguf_tensor(file, i));
    return err;
}

static bool string_is(const struct gguf *file, const char *key, const char *text)
{
    struct gguf_string value;
    return gguf_get_string(file, key, &value) && value.bytes == strlen(text) &&
           memcmp(value.data, text, value.bytes) == 0;
}

enum err adapter_create(const struct model *model, const struct gguf *file,
                        struct fwd_adapter **out, struct report *report)
{
    struct fwd_adapter *adapter = mem_calloc(NULL, 1, sizeof *adapter);
    if (!adapter)
        return err_set(report, ERR_MEMORY, "no memory for an adapter");
    struct reading r = {.model = model, .adapter = adapter, .report = report};
    enum err err = ERR_OK;
    adapter->pairs = mem_calloc(NULL, (size_t)model->hparams.layer_count * MODEL_ROLE_COUNT,
                                sizeof *adapter->pairs);
    if (!adapter->pairs)
        err = err_set(report, ERR_MEMORY, "no memory for an adapter");
    else if (!string_is(file, "adapter.type", "lora"))
        err = err_set(report, ERR_INVALID, "the file is no LoRA adapter (its key 'adapter.type' is "
                      "not 'lora')");
    else if (!string_is(file, "general.architecture", model->hparams.architecture))
        err = err_set(report, ERR_INVALID, "the adapter was made for another architecture than '%s'",
                      model->hparams.architecture);
    (void)gguf_get_f32(file, "adapter.lora.alpha", &r.alpha);
    if (!err && !isfinite(r.alpha))
        err = err_set(report, ERR_INVALID, "the adapter's alpha is not a finite number");
    if (!err)
        err = read_all(&r, file);
    if (!err && r.at > 0) {
        adapter->region_bytes = r.at;
        adapter->region = mem_map(r.at);
        err = adapter->region ? read_all(&r, file)
                              : err_set(report, ERR_MEMORY, "no memory for an adapter of %zu MiB",
                                        r.at >> 20);
    }
    if (err) {
        adapter_destroy(adapter);
        return err;
    }
    *out = adapter;
    return ERR_OK;
}

void adapter_destroy(struct fwd_adapter *adapter)
{
    if (!adapter)
        return;
    mem_unmap(adapter->region, adapter->region_bytes);
    mem_free(NULL, adapter->pairs);
    mem_free(NULL, adapter);
}

/* ---- Adding -------------------------------------------------------------------------------- */

static const struct adapter_pair *pair_of(const struct fwd_adapter *adapter,
                                          const struct step_product *product)
{
    const struct adapter_pair *pair =
        &adapter->pairs[(size_t)product->layer * MODEL_ROLE_COUNT + product->role];
    return pair->a.rows > 0 ? pair : NULL;
}

/* Rows from `row` on that have the same adapter, up to `end`. */
static uint32_t run_length(const struct step_rows *rows, uint32_t row, uint32_t end)
{
    uint32_t count = 1;
    while (row + count < end && rows->adapters[row + count] == rows->adapters[row])
        count++;
    return count;
}

static float *low_of(const struct step *step, uint32_t row, uint32_t slot)
{
    return step->low + ((size_t)row * STEP_LOW_SLOTS + slot) * step->low_stride;
}

void adapter_lower(const struct step *step, const struct step_rows *rows, uint32_t begin,
                   uint32_t end, const struct step_input *in, const struct step_product *products,
                   uint32_t count)
{
    for (uint32_t row = begin, run; row < end; row += run) {
        run = run_length(rows, row, end);
        for (uint32_t i = 0; rows->adapters[row] && i < count; i++) {
            const struct adapter_pair *pair = pair_of(rows->adapters[row], &products[i]);
            if (pair)
                step->fwd->simd->matmul[SIMD_F32](
                    &pair->a, 0, simd_panel_count(pair->a.rows), in->rows + row * in->stride,
                    in->stride * 4, run, low_of(step, row, i),
                    (size_t)STEP_LOW_SLOTS * step->low_stride);
        }
    }
}

void adapter_add(const struct step *step, const struct step_rows *rows,
                 const struct step_product *product, uint32_t slot, uint32_t begin, uint32_t end)
{
    const struct simd_table *simd = step->fwd->simd;
    const size_t low_stride = (size_t)STEP_LOW_SLOTS * step->low_stride;
    float room[ROWS_AT_ONCE][PANELS_AT_ONCE * SIMD_LANES];
    for (uint32_t row = 0, run; row < rows->count; row += run) {
        run = run_length(rows, row, rows->count);
        run = run < ROWS_AT_ONCE ? run : ROWS_AT_ONCE;
        const struct adapter_pair *pair =
            rows->adapters[row] ? pair_of(rows->adapters[row], product) : NULL;
        for (uint32_t p = begin, next; pair && p < end; p = next) {
            uint32_t column, columns;
            next = end - p < PANELS_AT_ONCE ? end : p + PANELS_AT_ONCE;
            step_columns(product->w, p, next, &column, &columns);
            /* Panels are written where they lie in a whole row: room is columns [16 p, ...). */
            const struct simd_weights part = {
                SIMD_F32, pair->b.rows - p * SIMD_LANES, pair->b.columns, pair->b.panel_bytes,
                pair->b.data + (size_t)p * pair->b.panel_bytes};
            simd->matmul[SIMD_F32](&part, 0, next - p, low_of(step, row, slot), low_stride * 4, run,
                                   room[0], PANELS_AT_ONCE * SIMD_LANES);
            for (uint32_t i = 0; i < run; i++)
                simd->attn_merge(product->y + (row + i) * product->y_stride + column, 1.0f,
                                 room[i], pair->scale, columns);
        }
    }
}
