/* Invariant of an open model: every tensor that the hyper-parameters and the architecture's page
 * call for is there with its exact shape, every layer has the same set of roles, and no tensor of
 * the file is left over. */
#include "models/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/arch/arch.h"

static const struct arch *const architectures[] = {
    &arch_llama, &arch_mistral3, &arch_smollm3, &arch_granite, &arch_granitemoe,
    &arch_qwen2, &arch_qwen3,    &arch_qwen3moe, &arch_olmo2,  &arch_phi3,
    &arch_gemma2, &arch_gemma3,  &arch_gptoss};
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
    else if (string_is(type, "linear") || string_is(type, "longrope"))
        rope->scaling = MODEL_ROPE_SCALING_LINEAR;
    else if (string_is(type, "yarn"))
        rope->scaling = MODEL_ROPE_SCALING_YARN;
    else
        return err_set(report, ERR_UNSUPPORTED,
                       "RoPE scaling '%.*s' is not supported (none, linear, longrope, yarn are)",
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
    if (!err)
        err = get_f32(file, arch, "rope.scaling.yarn_log_multiplier", 0.0f, &rope->log_multiplier,
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

/* Which layers are windowed, and how those turn. */
static enum err read_window(const struct gguf *file, const struct arch *arch,
                            struct model_hparams *h, struct report *report)
{
    h->rope_windowed = h->rope;
    if (!arch->window)
        return ERR_OK;
    enum err err = get_u32(file, arch, "attention.sliding_window", 0, UINT32_MAX - 1,
                           arch->window_default, &h->window, report);
    if (err || arch->window_rope == ARCH_WINDOW_ROPE_SAME)
        return err;
    struct model_rope *rope = &h->rope_windowed;
    *rope = (struct model_rope){.style = h->rope.style, .dim = h->rope.dim, .base = h->rope.base,
                                .factor = 1.0f, .attention_factor = 1.0f};
    if (arch->window_rope == ARCH_WINDOW_ROPE_BASE)
        err = get_f32(file, arch, "rope.freq_base_swa", arch->window_rope_base, &rope->base, report);
    if (!err && rope->base <= 1)
        err = err_set(report, ERR_INVALID, "RoPE of windowed layers with base %g: expected a base "
                      "above 1", (double)rope->base);
    return err;
}

static enum err read_experts(const struct gguf *file, const struct arch *arch,
                             struct model_hparams *h, struct report *report)
{
    if (!arch->experts)
        return ERR_OK;
    bool required = (arch->required & ARCH_ROLE(MODEL_ROUTER)) != 0;
    enum err err = get_u32(file, arch, "expert_count", required, 4096, required ? UINT32_MAX : 0,
                           &h->expert_count, report);
    if (err || h->expert_count == 0)
        return err;
    err = get_u32(file, arch, "expert_used_count", 1, h->expert_count, UINT32_MAX, &h->expert_used,
                  report);
    if (!err)
        err = get_u32(file, arch, "expert_feed_forward_length", 1, 1 << 20, h->hidden, &h->hidden,
                      report);
    if (!err)
        err = get_f32(file, arch, "expert_weights_scale", 1.0f, &h->expert_scale, report);
    if (h->expert_scale == 0)
        h->expert_scale = 1.0f;
    return err;
}

/* Factors that some architectures have, 1 or 0 (none) for the others. */
static enum err read_factors(const struct gguf *file, const struct arch *arch,
                             struct model_hparams *h, struct report *report)
{
    enum err err = ERR_OK;
    bool wide = arch->wide_scale_layers && h->layer_count == arch->wide_scale_layers;
    float width = wide ? (float)(h->dim / h->head_count) : (float)h->head_dim, divisor = 1.0f;
    h->embedding_scale = arch->embedding_sqrt ? sqrtf((float)h->dim) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0f;
    h->attention_scale = 1.0f / sqrtf(width);
    h->activation = arch->activation;
    h->qk_norm_whole = arch->qk_norm_whole;
    if (arch->scales) {
        float attention = 0;
        err = get_f32(file, arch, "embedding_scale", 1.0f, &h->embedding_scale, report);
        if (!err)
            err = get_f32(file, arch, "residual_scale", 1.0f, &h->residual_scale, report);
        if (!err)
            err = get_f32(file, arch, "logit_scale", 1.0f, &divisor, report);
        if (!err)
            err = get_f32(file, arch, "attention.scale", 0.0f, &attention, report);
        if (!err && divisor == 0)
            err = err_set(report, ERR_INVALID, "the logits' divisor (%s.logit_scale) is 0",
                          arch->name);
        h->logit_scale = 1.0f / divisor;
        if (attention != 0)
            h->attention_scale = attention;
    }
    if (!err && arch->softcaps)
        err = get_f32(file, arch, "attn_logit_softcapping", 0.0f, &h->attention_softcap, report);
    if (!err && arch->softcaps)
        err = get_f32(file, arch, "final_logit_softcapping", 0.0f, &h->logit_softcap, report);
    if (!err)
        err = get_f32(file, arch, "attention.temperature_scale", 0.0f, &h->temperature_scale, report);
    h->temperature_floor = h->rope.context_original;
    if (!err && (h->attention_softcap < 0 || h->logit_softcap < 0))
        err = err_set(report, ERR_INVALID, "a soft cap of the logits is negative");
    return err;
}

/* The bounds are generous for real models and keep every product of two of them in 64 bits. */
static enum err read_hparams(const struct gguf *file, const struct arch *arch,
                             struct model_hparams *h, struct report *report)
{
    uint32_t value_dim;
    bool experts_only = (arch->required & ARCH_ROLE(MODEL_ROUTER)) != 0;
    const struct {
        const char *name;
        uint32_t min, max, fallback, *value;
    } first[] = {
        {"embedding_length", 1, 1 << 17, UINT32_MAX, &h->dim},
        {"block_count", 1, 1024, UINT32_MAX, &h->layer_count},
        {"feed_forward_length", 1, 1 << 20, experts_only ? 1 : UINT32_MAX, &h->hidden},
        {"attention.head_count", 1, 4096, UINT32_MAX, &h->head_count},
        {"context_length", 1, 1 << 28, UINT32_MAX, &h->context_max},
    };
    enum err err = ERR_OK;
    h->architecture = arch->name;
    for (size_t i = 0; !err && i < sizeof first / sizeof *first; i++)
        err = get_u32(file, arch, first[i].name, first[i].min, first[i].max, first[i].fallback,
                      first[i].value, report);
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
    err = read_rope(file, arch, h, report);
    if (!err)
        err = read_factors(file, arch, h, report);
    if (!err)
        err = read_window(file, arch, h, report);
    return err ? err : read_experts(file, arch, h, report);
}

/* Layers that differ from the others by their number. */
static enum err mark_layers(struct model *model, const struct arch *arch, struct report *report)
{
    struct model_hparams *h = &model->hparams;
    struct key key = key_of(arch, "attention.sliding_window_pattern");
    const struct gguf_value *pattern = gguf_find(model->file, key.text);
    bool listed = pattern && pattern->type == GGUF_ARRAY && arch->window;
    uint32_t period = arch->window_period;
    bool finetuned = true;
    if (listed && (pattern->of.array.type != GGUF_BOOL || pattern->of.array.count < h->layer_count))
        return err_set(report, ERR_UNSUPPORTED, "key '%s' is an array, but not of one bool for each "
                       "of the %u layers", key.text, h->layer_count);
    if (pattern && !listed && arch->window &&
        !gguf_get_u32(model->file, key.text, &period))
        return err_set(report, ERR_UNSUPPORTED, "key '%s' is neither a number nor an array of bools",
                       key.text);
    if (arch->scales) { /* Granite's switch between RoPE and no position embedding */
        key = key_of(arch, "rope.scaling.finetuned");
        (void)gguf_get_bool(model->file, key.text, &finetuned);
    }
    for (uint32_t i = 0; i < h->layer_count; i++) {
        struct model_layer *layer = &model->layers[i];
        if (h->window > 0)
            layer->windowed = listed ? pattern->of.array.data[i] != 0
                                     : period == 0 || i % period + 1 < period;
        layer->unturned = !finetuned || (arch->unturned_step && (i + 1) % arch->unturned_step == 0);
    }
    return ERR_OK;
}

/* ---- Tensors ------------------------------------------------------------------------------- */

enum size { NONE, DIM, Q_DIM, KV_DIM, HEAD_DIM, HIDDEN, VOCAB, HALF_ROPE, QKV_DIM, TWO_HIDDEN,
            HEADS, EXPERTS };

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
    case QKV_DIM: return ((uint64_t)h->head_count + 2 * (uint64_t)h->kv_head_count) * h->head_dim;
    case TWO_HIDDEN: return 2 * (uint64_t)h->hidden;
    case HEADS: return h->head_count;
    case EXPERTS: return h->expert_count;
    case NONE: break;
    }
    return 1;
}

struct shape {
    const char *name;
    enum size columns, rows; /* rows NONE: a vector */
    bool each_expert;        /* one more dimension: expert_count of these */
};

static const struct shape layer_shapes[MODEL_ROLE_COUNT] = {
    [MODEL_ATTN_NORM] = {"attn_norm.weight", DIM, NONE, false},
    [MODEL_Q] = {"attn_q.weight", DIM, Q_DIM, false},
    [MODEL_K] = {"attn_k.weight", DIM, KV_DIM, false},
    [MODEL_V] = {"attn_v.weight", DIM, KV_DIM, false},
    [MODEL_Q_BIAS] = {"attn_q.bias", Q_DIM, NONE, false},
    [MODEL_K_BIAS] = {"attn_k.bias", KV_DIM, NONE, false},
    [MODEL_V_BIAS] = {"attn_v.bias", KV_DIM, NONE, false},
    [MODEL_Q_NORM] = {"attn_q_norm.weight", HEAD_DIM, NONE, false},
    [MODEL_K_NORM] = {"attn_k_norm.weight", HEAD_DIM, NONE, false},
    [MODEL_ATTN_OUTPUT] = {"attn_output.weight", Q_DIM, DIM, false},
    [MODEL_FFN_NORM] = {"ffn_norm.weight", DIM, NONE, false},
    [MODEL_GATE] = {"ffn_gate.weight", DIM, HIDDEN, false},
    [MODEL_UP] = {"ffn_up.weight", DIM, HIDDEN, false},
    [MODEL_DOWN] = {"ffn_down.weight", HIDDEN, DIM, false},
    [MODEL_QKV] = {"attn_qkv.weight", DIM, QKV_DIM, false},
    [MODEL_GATE_UP] = {"ffn_up.weight", DIM, TWO_HIDDEN, false},
    [MODEL_ATTN_OUTPUT_BIAS] = {"attn_output.bias", DIM, NONE, false},
    [MODEL_ATTN_SINKS] = {"attn_sinks.weight", HEADS, NONE, false},
    [MODEL_ATTN_POST_NORM] = {"post_attention_norm.weight", DIM, NONE, false},
    [MODEL_FFN_POST_NORM] = {"post_ffw_norm.weight", DIM, NONE, false},
    [MODEL_ROUTER] = {"ffn_gate_inp.weight", DIM, EXPERTS, false},
    [MODEL_ROUTER_BIAS] = {"ffn_gate_inp.bias", EXPERTS, NONE, false},
    [MODEL_GATE_EXPERTS] = {"ffn_gate_exps.weight", DIM, HIDDEN, true},
    [MODEL_UP_EXPERTS] = {"ffn_up_exps.weight", DIM, HIDDEN, true},
    [MODEL_DOWN_EXPERTS] = {"ffn_down_exps.weight", HIDDEN, DIM, true},
    [MODEL_GATE_EXPERTS_BIAS] = {"ffn_gate_exps.bias", HIDDEN, NONE, true},
    [MODEL_UP_EXPERTS_BIAS] = {"ffn_up_exps.bias", HIDDEN, NONE, true},
    [MODEL_DOWN_EXPERTS_BIAS] = {"ffn_down_exps.bias", DIM, NONE, true},
};

/* The shape of a role in this model. */
static struct shape layer_shape(const struct model_hparams *h, const struct arch *arch,
                                uint32_t role)
{
    struct shape shape = layer_shapes[role];
    if (role == MODEL_FFN_NORM && arch->ffn_norm_name)
        shape.name = arch->ffn_norm_name;
    if (h->qk_norm_whole && role == MODEL_Q_NORM)
        shape.columns = Q_DIM;
    if (h->qk_norm_whole && role == MODEL_K_NORM)
        shape.columns = KV_DIM;
    return shape;
}

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
    uint64_t rows = size_of(&model->hparams, shape->rows), planes = 1;
    if (shape->each_expert && shape->rows == NONE)
        rows = model->hparams.expert_count;
    else if (shape->each_expert)
        planes = model->hparams.expert_count;
    if (found->dims[0] != columns || found->dims[1] != rows || found->dims[2] != planes ||
        found->dims[3] != 1)
        return err_set(report, ERR_INVALID,
                       "tensor '%s' has the shape [%llu, %llu, %llu, %llu]; the hyper-parameters "
                       "call for [%llu, %llu, %llu]", name, (unsigned long long)found->dims[0],
                       (unsigned long long)found->dims[1], (unsigned long long)found->dims[2],
                       (unsigned long long)found->dims[3], (unsigned long long)columns,
                       (unsigned long long)rows, (unsigned long long)planes);
    if (shape->rows == NONE && found->type != GGUF_TENSOR_F32)
        return err_set(report, ERR_UNSUPPORTED, "tensor '%s' is of type %s, expected F32", name,
                       gguf_tensor_type_name(found->type));
    return ERR_OK;
}

static enum err get_layers(struct model *model, const struct arch *arch, uint64_t *used,
                           struct report *report)
{
    struct model_hparams *h = &model->hparams;
    uint32_t present = 0, required = arch->required;
    if (h->expert_count > 0)
        required = (required & ~ARCH_DENSE) | ARCH_EXPERTS;
    model->layers = mem_calloc(NULL, h->layer_count, sizeof *model->layers);
    if (!model->layers)
        return err_set(report, ERR_MEMORY, "no memory for the tensor table");
    for (uint32_t layer = 0; layer < h->layer_count; layer++) {
        uint32_t here = 0;
        for (uint32_t role = 0; role < MODEL_ROLE_COUNT; role++) {
            char name[64];
            if (!((required | arch->optional) & ARCH_ROLE(role)))
                continue;
            struct shape shape = layer_shape(h, arch, role);
            snprintf(name, sizeof name, "blk.%u.%s", layer, shape.name);
            const struct gguf_tensor **slot = &model->layers[layer].tensors[role];
            enum err err = get_tensor(model, name, &shape, (required & ARCH_ROLE(role)) != 0, slot,
                                      report);
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
    return mark_layers(model, arch, report);
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
    const struct gguf_tensor *unchosen = NULL; /* the factors for the other kind of context */
    const struct gguf_tensor *embedding = gguf_find_tensor(model->file, "token_embd.weight");
    if (!embedding)
        return err_set(report, ERR_INVALID, "the model file lacks the tensor 'token_embd.weight'");
    if (embedding->dims[1] < 1 || embedding->dims[1] > 1 << 24)
        return err_set(report, ERR_INVALID, "tensor 'token_embd.weight' has %llu rows (the "
                       "vocabulary), expected 1 to %u", (unsigned long long)embedding->dims[1],
                       1u << 24);
    h->vocab_count = (uint32_t)embedding->dims[1];
    enum err err = get_tensor(model, "token_embd.weight", &(struct shape){"", DIM, VOCAB, false}, true,
                              &model->token_embedding, report);
    if (!err)
        err = get_tensor(model, "output_norm.weight", &(struct shape){"", DIM, NONE, false}, true,
                         &model->output_norm, report);
    if (!err)
        err = get_tensor(model, "output.weight", &(struct shape){"", DIM, VOCAB, false}, false,
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
        err = get_tensor(model, "rope_freqs.weight", &(struct shape){"", HALF_ROPE, NONE, false}, false,
                         &h->rope.factors, report);
        if (err)
            return err;
        if (h->rope.factors)
            used++;
    }
    if (arch->rope_factors_by_context) {
        /* Which ones count is a matter of the model, not of a prompt's length: rows of a prefix
         * that is already cached must not change when the text grows. */
        bool far = h->context_max > h->rope.context_original;
        const struct shape half = {"", HALF_ROPE, NONE, false};
        err = get_tensor(model, "rope_factors_long.weight", &half, false,
                         far ? &h->rope.factors : &unchosen, report);
        if (!err)
            err = get_tensor(model, "rope_factors_short.weight", &half, false,
                             far ? &unchosen : &h->rope.factors, report);
        if (err)
            return err;
        used += (h->rope.factors != NULL) + (uint64_t)(unchosen != NULL);
    }
    h->rope_windowed.factors = arch->window_rope == ARCH_WINDOW_ROPE_SAME ? h->rope.factors : NULL;
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
    char known[400] = "";
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
