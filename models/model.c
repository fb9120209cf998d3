/* Invariant of an open model: every tensor that the hyper-parameters and the architecture's page
 * call for is there with its exact shape, every layer has the same set of roles, and no tensor of
 * the file is left over. */
#include "models/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/arch/arch.h"

static const struct arch *const architectures[] = {&arch_llama, &arch_qwen2, &arch_qwen3};
enum { ARCH_COUNT = sizeof architectures / sizeof *architectures };

const char *model_architecture(size_t index)
{
    return index < ARCH_COUNT ? architectures[index]->name : NULL;
}

/* ---- Hyper-parameters ---------------------------------------------------------------------- */

struct key {
    char text[128];
};

static struct key key_of(const struct arch *arch, const char *name)
{
    struct key key;
    snprintf(key.text, sizeof key.text, "%s.%s", arch->name, name);
    return key;
}

/* A whole number in [min, max]; `fallback` when the key is absent, unless that is UINT32_MAX:
 * then the key is required. */
static enum err get_u32(const struct gguf *file, const struct arch *arch, const char *name,
                        uint32_t min, uint32_t max, uint32_t fallback, uint32_t *value,
                        struct report *report)
{
    struct key key = key_of(arch, name);
    *value = fallback;
    if (!gguf_find(file, key.text)) {
        if (fallback == UINT32_MAX)
            return err_set(report, ERR_INVALID, "the model file lacks the key '%s'", key.text);
        return ERR_OK;
    }
    if (!gguf_get_u32(file, key.text, value))
        return err_set(report, ERR_UNSUPPORTED,
                       "key '%s' is not one whole number (values that differ by layer are not "
                       "supported)", key.text);
    if (*value < min || *value > max)
        return err_set(report, ERR_INVALID, "key '%s' is %u, expected %u to %u", key.text, *value,
                       min, max);
    return ERR_OK;
}

static enum err get_f32(const struct gguf *file, const struct arch *arch, const char *name,
                        float fallback, float *value, struct report *report)
{
    struct key key = key_of(arch, name);
    *value = fallback;
    if (!gguf_find(file, key.text))
        return ERR_OK;
    if (!gguf_get_f32(file, key.text, value) || !isfinite(*value))
        return err_set(report, ERR_INVALID, "key '%s' is not a finite number", key.text);
    return ERR_OK;
}

static bool string_is(struct gguf_string string, const char *text)
{
    return string.bytes == strlen(text) && memcmp(string.data, text, string.bytes) == 0;
}

static enum err read_rope_scaling(const struct gguf *file, const struct arch *arch,
                                  struct model_rope *rope, struct report *report)
{
    struct key key = key_of(arch, "rope.scaling.type");
    struct gguf_string type = {"none", 4};
    if (gguf_find(file, key.text) && !gguf_get_string(file, key.text, &type))
        return err_set(report, ERR_INVALID, "key '%s' is not a string", key.text);
    if (string_is(type, "none"))
        rope->scaling = MODEL_ROPE_SCALING_NONE;
    else if (string_is(type, "linear"))
        rope->scaling = MODEL_ROPE_SCALING_LINEAR;
    else if (string_is(type, "yarn"))
        rope->scaling = MODEL_ROPE_SCALING_YARN;
    else
        return err_set(report, ERR_UNSUPPORTED,
                       "RoPE scaling '%.*s' is not supported (none, linear, yarn are)",
                       type.bytes < 40 ? (int)type.bytes : 40, type.data);
    enum err err = get_f32(file, arch, "rope.scaling.factor", 1.0f, &rope->factor, report);
    if (!err)
        err = get_f32(file, arch, "rope.scaling.attn_factor", 1.0f, &rope->attention_factor, report);
    if (!err)
        err = get_f32(file, arch, "rope.scaling.yarn_beta_fast", 32.0f, &rope->beta_fast, report);
    if (!err)
        err = get_f32(file, arch, "rope.scaling.yarn_beta_slow", 1.0f, &rope->beta_slow, report);
    if (!err)
        err = get_f32(file, arch, "rope.scaling.yarn_ext_factor",
                      rope->scaling == MODEL_ROPE_SCALING_YARN ? 1.0f : 0.0f, &rope->extrapolation,
                      report);
    if (err)
        return err;
    if (rope->factor <= 0)
        return err_set(report, ERR_INVALID, "the RoPE scaling factor is %g, expected more than 0",
                       (double)rope->factor);
    if (rope->scaling == MODEL_ROPE_SCALING_NONE)
        rope->factor = 1.0f;
    return ERR_OK;
}

static enum err read_rope(const struct gguf *file, const struct arch *arch,
                          struct model_hparams *h, struct report *report)
{
    struct model_rope *rope = &h->rope;
    bool halves = false; /* a folder of safetensors, whose rows are not permuted */
    (void)gguf_get_bool(file, "pie.rope.halves", &halves);
    rope->style = halves ? MODEL_ROPE_HALVES : arch->rope_style;
    enum err err = get_u32(file, arch, "rope.dimension_count", 2, h->head_dim, h->head_dim,
                           &rope->dim, report);
    if (!err)
        err = get_f32(file, arch, "rope.freq_base", 10000.0f, &rope->base, report);
    if (!err)
        err = read_rope_scaling(file, arch, rope, report);
    if (!err)
        err = get_u32(file, arch, "rope.scaling.original_context_length", 1, UINT32_MAX - 1,
                      h->context_max, &rope->context_original, report);
    if (err)
        return err;
    if (rope->dim % 2 != 0 || rope->base <= 1)
        return err_set(report, ERR_INVALID, "RoPE over %u dimensions with base %g: expected an "
                       "even number of dimensions and a base above 1", rope->dim,
                       (double)rope->base);
    return ERR_OK;
}

/* The bounds are generous for real models and keep every product of two of them in 64 bits. */
static enum err read_hparams(const struct gguf *file, const struct arch *arch,
                             struct model_hparams *h, struct report *report)
{
    uint32_t value_dim;
    h->architecture = arch->name;
    enum err err = get_u32(file, arch, "embedding_length", 1, 1 << 17, UINT32_MAX, &h->dim, report);
    if (!err)
        err = get_u32(file, arch, "block_count", 1, 1024, UINT32_MAX, &h->layer_count, report);
    if (!err)
        err = get_u32(file, arch, "feed_forward_length", 1, 1 << 20, UINT32_MAX, &h->hidden, report);
    if (!err)
        err = get_u32(file, arch, "attention.head_count", 1, 4096, UINT32_MAX, &h->head_count,
                      report);
    if (!err)
        err = get_u32(file, arch, "attention.head_count_kv", 1, h->head_count, h->head_count,
                      &h->kv_head_count, report);
    if (!err)
        err = get_u32(file, arch, "attention.key_length", 2, 1024, h->dim / h->head_count,
                      &h->head_dim, report);
    if (!err)
        err = get_u32(file, arch, "attention.value_length", 2, 1024, h->head_dim, &value_dim,
                      report);
    if (!err)
        err = get_u32(file, arch, "context_length", 1, 1 << 28, UINT32_MAX, &h->context_max, report);
    if (!err)
        err = get_f32(file, arch, "attention.layer_norm_rms_epsilon", 1e-5f, &h->norm_epsilon,
                      report);
    if (err)
        return err;
    if (h->head_count % h->kv_head_count != 0)
        return err_set(report, ERR_INVALID, "%u attention heads cannot share %u KV heads evenly",
                       h->head_count, h->kv_head_count);
    if (value_dim != h->head_dim)
        return err_set(report, ERR_UNSUPPORTED,
                       "keys of %u and values of %u dimensions: different sizes are not supported",
                       h->head_dim, value_dim);
    if (h->head_dim < 2 || h->head_dim > 1024)
        return err_set(report, ERR_INVALID, "heads of %u dimensions, expected 2 to 1024",
                       h->head_dim);
    if (!(h->norm_epsilon >= 0))
        return err_set(report, ERR_INVALID, "the norm's epsilon is %g", (double)h->norm_epsilon);
    return read_rope(file, arch, h, report);
}

/* ---- Tensors ------------------------------------------------------------------------------- */

enum size { NONE, DIM, Q_DIM, KV_DIM, HEAD_DIM, HIDDEN, VOCAB, HALF_ROPE };

static uint64_t size_of(const struct model_hparams *h, enum size size)
{
    switch (size) {
    case DIM: return h->dim;
    case Q_DIM: return (uint64_t)h->head_count * h->head_dim;
    case KV_DIM: return (uint64_t)h->kv_head_count * h->head_dim;
    case HEAD_DIM: return h->head_dim;
    case HIDDEN: return h->hidden;
    case VOCAB: return h->vocab_count;
    case HALF_ROPE: return h->rope.dim / 2;
    case NONE: break;
    }
    return 1;
}

struct shape {
    const char *name;
    enum size columns, rows; /* rows NONE: a vector */
};

static const struct shape layer_shapes[MODEL_ROLE_COUNT] = {
    [MODEL_ATTN_NORM] = {"attn_norm.weight", DIM, NONE},
    [MODEL_Q] = {"attn_q.weight", DIM, Q_DIM},
    [MODEL_K] = {"attn_k.weight", DIM, KV_DIM},
    [MODEL_V] = {"attn_v.weight", DIM, KV_DIM},
    [MODEL_Q_BIAS] = {"attn_q.bias", Q_DIM, NONE},
    [MODEL_K_BIAS] = {"attn_k.bias", KV_DIM, NONE},
    [MODEL_V_BIAS] = {"attn_v.bias", KV_DIM, NONE},
    [MODEL_Q_NORM] = {"attn_q_norm.weight", HEAD_DIM, NONE},
    [MODEL_K_NORM] = {"attn_k_norm.weight", HEAD_DIM, NONE},
    [MODEL_ATTN_OUTPUT] = {"attn_output.weight", Q_DIM, DIM},
    [MODEL_FFN_NORM] = {"ffn_norm.weight", DIM, NONE},
    [MODEL_GATE] = {"ffn_gate.weight", DIM, HIDDEN},
    [MODEL_UP] = {"ffn_up.weight", DIM, HIDDEN},
    [MODEL_DOWN] = {"ffn_down.weight", HIDDEN, DIM},
};

/* Finds and checks a tensor; `*tensor` is NULL when it is absent and not required. */
static enum err get_tensor(const struct model *model, const char *name, const struct shape *shape,
                           bool required, const struct gguf_tensor **tensor,
                           struct report *report)
{
    const struct gguf_tensor *found = gguf_find_tensor(model->file, name);
    *tensor = found;
    if (!found)
        return required ? err_set(report, ERR_INVALID, "the model file lacks the tensor '%s'", name)
                        : ERR_OK;
    uint64_t columns = size_of(&model->hparams, shape->columns);
    uint64_t rows = size_of(&model->hparams, shape->rows);
    if (found->dims[0] != columns || found->dims[1] != rows || found->dims[2] != 1 ||
        found->dims[3] != 1)
        return err_set(report, ERR_INVALID,
                       "tensor '%s' has the shape [%llu, %llu, %llu, %llu]; the hyper-parameters "
                       "call for [%llu, %llu]", name, (unsigned long long)found->dims[0],
                       (unsigned long long)found->dims[1], (unsigned long long)found->dims[2],
                       (unsigned long long)found->dims[3], (unsigned long long)columns,
                       (unsigned long long)rows);
    if (shape->rows == NONE && found->type != GGUF_TENSOR_F32)
        return err_set(report, ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected F32", name,
                       gguf_tensor_type_name(found->type));
    return ERR_OK;
}

static enum err get_layers(struct model *model, const struct arch *arch, uint64_t *used,
                           struct report *report)
{
    struct model_hparams *h = &model->hparams;
    uint32_t present = 0;
    model->layers = mem_calloc(NULL, h->layer_count, sizeof *model->layers);
    if (!model->layers)
        return err_set(report, ERR_MEMORY, "no memory for the tensor table");
    for (uint32_t layer = 0; layer < h->layer_count; layer++) {
        uint32_t here = 0;
        for (uint32_t role = 0; role < MODEL_ROLE_COUNT; role++) {
            char name[64];
            if (!((arch->required | arch->optional) & ARCH_ROLE(role)))
                continue;
            snprintf(name, sizeof name, "blk.%u.%s", layer, layer_shapes[role].name);
            const struct gguf_tensor **slot = &model->layers[layer].tensors[role];
            enum err err = get_tensor(model, name, &layer_shapes[role],
                                      (arch->required & ARCH_ROLE(role)) != 0, slot, report);
            if (err)
                return err;
            if (*slot) {
                here |= ARCH_ROLE(role);
                ++*used;
            }
        }
        if (layer > 0 && here != present)
            return err_set(report, ERR_UNSUPPORTED,
                           "layer %u has other tensors than layer 0", layer);
        present = here;
    }
    h->qk_norm = (present & ARCH_ROLE(MODEL_Q_NORM)) != 0;
    return ERR_OK;
}

/* A tensor nobody asked for means that the page does not describe this model: computing without
 * it would give wrong text without a word. */
static enum err name_unused(const struct model *model, const struct arch *arch,
                            struct report *report)
{
    for (size_t i = 0; i < gguf_tensor_count(model->file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(model->file, i);
        bool known = tensor == model->token_embedding || tensor == model->output_norm ||
                     tensor == model->output || tensor == model->hparams.rope.factors;
        for (uint32_t layer = 0; !known && layer < model->hparams.layer_count; layer++)
            for (uint32_t role = 0; role < MODEL_ROLE_COUNT; role++)
                known = known || tensor == model->layers[layer].tensors[role];
        if (!known)
            return err_set(report, ERR_UNSUPPORTED,
                           "tensor '%.*s' has no place in the architecture '%s' as this build "
                           "knows it", tensor->name.bytes < 80 ? (int)tensor->name.bytes : 80,
                           tensor->name.data, arch->name);
    }
    return err_set(report, ERR_INVALID, "the model file has tensors without a place");
}

static enum err get_tensors(struct model *model, const struct arch *arch, struct report *report)
{
    struct model_hparams *h = &model->hparams;
    uint64_t used = 2;
    const struct gguf_tensor *embedding = gguf_find_tensor(model->file, "token_embd.weight");
    if (!embedding)
        return err_set(report, ERR_INVALID, "the model file lacks the tensor 'token_embd.weight'");
    if (embedding->dims[1] < 1 || embedding->dims[1] > 1 << 24)
        return err_set(report, ERR_INVALID, "tensor 'token_embd.weight' has %llu rows (the "
                       "vocabulary), expected 1 to %u", (unsigned long long)embedding->dims[1],
                       1u << 24);
    h->vocab_count = (uint32_t)embedding->dims[1];
    enum err err = get_tensor(model, "token_embd.weight", &(struct shape){"", DIM, VOCAB}, true,
                              &model->token_embedding, report);
    if (!err)
        err = get_tensor(model, "output_norm.weight", &(struct shape){"", DIM, NONE}, true,
                         &model->output_norm, report);
    if (!err)
        err = get_tensor(model, "output.weight", &(struct shape){"", DIM, VOCAB}, false,
                         &model->output, report);
    if (err)
        return err;
    if (model->output) {
        used++;
    } else {
        model->output = model->token_embedding;
        h->tied_embeddings = true;
    }
    if (arch->rope_factors) {
        err = get_tensor(model, "rope_freqs.weight", &(struct shape){"", HALF_ROPE, NONE}, false,
                         &h->rope.factors, report);
        if (err)
            return err;
        if (h->rope.factors)
            used++;
    }
    err = get_layers(model, arch, &used, report);
    if (err)
        return err;
    for (size_t i = 0; i < gguf_tensor_count(model->file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(model->file, i);
        model->weight_bytes += tensor->bytes;
        model->parameter_count +=
            tensor->dims[0] * tensor->dims[1] * tensor->dims[2] * tensor->dims[3];
    }
    return used == gguf_tensor_count(model->file) ? ERR_OK : name_unused(model, arch, report);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static enum err find_arch(const struct gguf *file, const struct arch **arch, struct report *report)
{
    struct gguf_string name;
    if (!gguf_get_string(file, "general.architecture", &name))
        return err_set(report, ERR_INVALID,
                       "the file lacks the key 'general.architecture': is it a model?");
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        if (string_is(name, architectures[i]->name)) {
            *arch = architectures[i];
            return ERR_OK;
        }
    }
    char known[200] = "";
    for (size_t i = 0, at = 0; i < ARCH_COUNT && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "",
                               architectures[i]->name);
    return err_set(report, ERR_UNSUPPORTED,
                   "the architecture '%.*s' is not supported; this build knows %s",
                   name.bytes < 60 ? (int)name.bytes : 60, name.data, known);
}

static enum err open_file(struct gguf *file, struct model **out, struct report *report)
{
    const struct arch *arch = NULL;
    struct model *model = mem_calloc(NULL, 1, sizeof *model);
    if (!model) {
        gguf_close(file);
        return err_set(report, ERR_MEMORY, "no memory to open a model");
    }
    model->file = file;
    enum err err = find_arch(file, &arch, report);
    if (!err)
        err = read_hparams(file, arch, &model->hparams, report);
    if (!err)
        err = get_tensors(model, arch, report);
    if (err) {
        model_close(model);
        return err;
    }
    *out = model;
    return ERR_OK;
}

enum err model_open(const char *path, struct model **model, struct report *report)
{
    struct gguf *file;
    enum err err = gguf_open(path, &file, report);
    if (err)
        return err;
    err = open_file(file, model, report);
    if (err)
        (void)err_prefix(report, "%s", path);
    return err;
}

enum err model_open_memory(const uint8_t *data, size_t bytes, struct model **model,
                           struct report *report)
{
    struct gguf *file;
    enum err err = gguf_open_memory(data, bytes, &file, report);
    return err ? err : open_file(file, model, report);
}

void model_close(struct model *model)
{
    if (!model)
        return;
    mem_free(NULL, model->layers);
    gguf_close(model->file);
    mem_free(NULL, model);
}
