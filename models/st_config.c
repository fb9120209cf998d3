/* config.json to GGUF's keys. A new family is a line of `families` (and of models/arch/), and where
 * its configuration has more numbers, lines of `numbers`. */
#include <math.h>
#include <stdio.h>

#include "engine/base/mem.h"
#include "models/st_impl.h"

static const struct st_family families[] = {
    {"llama", "llama", true},
    {"mistral", "llama", true},
    {"qwen2", "qwen2", false},
    {"qwen3", "qwen3", false},
};

/* Whole numbers that are copied; required unless the key has a default in the reader of GGUF. */
static const struct {
    const char *config, *key;
    bool required;
} numbers[] = {
    {"hidden_size", "embedding_length", true},
    {"num_hidden_layers", "block_count", true},
    {"intermediate_size", "feed_forward_length", true},
    {"num_attention_heads", "attention.head_count", true},
    {"num_key_value_heads", "attention.head_count_kv", false},
    {"head_dim", "attention.key_length", false},
    {"head_dim", "attention.value_length", false},
};

struct context {
    const json_t *root;
    struct gguf_writer *writer;
    struct st_config *config;
    struct report *report;
};

static void put_u32(const struct context *c, const char *name, uint32_t value)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", c->config->family->architecture, name);
    gguf_writer_put_u32(c->writer, key, value);
}

static void put_f32(const struct context *c, const char *name, double value)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", c->config->family->architecture, name);
    gguf_writer_put_f32(c->writer, key, (float)value);
}

/* Reads a whole number that fits 32 bits; absent or null leaves `value`. */
static enum err get_u32(const struct context *c, const json_t *object, const char *name,
                        uint32_t *value)
{
    const json_t *found = json_object_get(object, name);
    if (!found || json_is_null(found))
        return ERR_OK;
    json_int_t number = json_is_integer(found) ? json_integer_value(found) : -1;
    if (number < 0 || number > INT32_MAX)
        return err_set(c->report, ERR_INVALID, "config.json: \"%s\" is not a whole number that fits",
                       name);
    *value = (uint32_t)number;
    return ERR_OK;
}

static enum err get_number(const struct context *c, const json_t *object, const char *name,
                           double *value)
{
    const json_t *found = json_object_get(object, name);
    if (!found || json_is_null(found))
        return ERR_OK;
    if (!json_is_number(found) || !(fabs(json_number_value(found)) < 1e30))
        return err_set(c->report, ERR_INVALID, "config.json: \"%s\" is not a number", name);
    *value = json_number_value(found);
    return ERR_OK;
}

/* Llama 3.1: slow frequencies are divided by the factor, fast ones stay, between is a ramp. */
static enum err llama3_factors(const struct context *c, const json_t *rope, double theta,
                               uint32_t dim)
{
    double factor = 8, low = 1, high = 4, original = 8192;
    enum err err = get_number(c, rope, "factor", &factor);
    if (!err)
        err = get_number(c, rope, "low_freq_factor", &low);
    if (!err)
        err = get_number(c, rope, "high_freq_factor", &high);
    if (!err)
        err = get_number(c, rope, "original_max_position_embeddings", &original);
    if (err)
        return err;
    if (!(factor > 0) || !(low > 0) || !(high > low) || !(original > 0))
        return err_set(c->report, ERR_INVALID, "config.json: the RoPE scaling has factor %g, "
                       "frequencies %g to %g, context %g", factor, low, high, original);
    c->config->rope_factor_count = dim / 2;
    c->config->rope_factors = mem_calloc(NULL, dim / 2, sizeof(float));
    if (!c->config->rope_factors)
        return err_set(c->report, ERR_MEMORY, "no memory for RoPE factors");
    for (uint32_t i = 0; i < dim / 2; i++) {
        double waves = original * pow(theta, -2.0 * i / dim) / (2 * 3.14159265358979323846);
        double ramp = (waves - low) / (high - low);
        c->config->rope_factors[i] = (float)(waves < low    ? factor
                                             : waves > high ? 1
                                                            : 1 / ((1 - ramp) / factor + ramp));
    }
    return ERR_OK;
}

static enum err put_rope(const struct context *c, uint32_t head_dim)
{
    const json_t *parameters = json_object_get(c->root, "rope_parameters");
    const json_t *rope = json_object_get(c->root, "rope_scaling");
    double theta = 10000, factor = 1;
    uint32_t original = 0;
    if (!json_is_object(rope))
        rope = parameters;
    const char *type = st_string(rope, "rope_type");
    type = type ? type : st_string(rope, "type");
    type = type ? type : "default";
    enum err err = get_number(c, rope, "rope_theta", &theta);
    if (!err)
        err = get_number(c, parameters, "rope_theta", &theta);
    if (!err)
        err = get_number(c, c->root, "rope_theta", &theta);
    if (!err)
        err = get_number(c, rope, "factor", &factor);
    if (err)
        return err;
    put_f32(c, "rope.freq_base", theta);
    put_u32(c, "rope.dimension_count", head_dim);
    if (strcmp(type, "default") == 0)
        return ERR_OK;
    if (strcmp(type, "llama3") == 0)
        return llama3_factors(c, rope, theta, head_dim);
    bool yarn = strcmp(type, "yarn") == 0;
    if (!yarn && strcmp(type, "linear") != 0)
        return err_set(c->report, ERR_UNSUPPORTED, "config.json: the RoPE scaling '%.40s' is not "
                       "supported (default, linear, yarn, llama3 are)", type);
    char key[128];
    snprintf(key, sizeof key, "%s.rope.scaling.type", c->config->family->architecture);
    gguf_writer_put_string(c->writer, key, type, strlen(type));
    put_f32(c, "rope.scaling.factor", factor);
    if (!yarn)
        return ERR_OK;
    double fast = 32, slow = 1, attention = 0;
    err = get_u32(c, c->root, "max_position_embeddings", &original);
    if (!err)
        err = get_u32(c, rope, "original_max_position_embeddings", &original);
    if (!err)
        err = get_number(c, rope, "beta_fast", &fast);
    if (!err)
        err = get_number(c, rope, "beta_slow", &slow);
    if (!err)
        err = get_number(c, rope, "attention_factor", &attention);
    if (err)
        return err;
    put_u32(c, "rope.scaling.original_context_length", original);
    put_f32(c, "rope.scaling.yarn_beta_fast", fast);
    put_f32(c, "rope.scaling.yarn_beta_slow", slow);
    if (attention > 0 && factor > 0) /* GGUF's factor multiplies the usual one */
        put_f32(c, "rope.scaling.attn_factor", attention / (0.1 * log(factor) + 1));
    return ERR_OK;
}

static const struct st_family *find_family(const char *model_type)
{
    for (size_t i = 0; model_type && i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

/* The tokens that full attention may see: models made for a sliding window keep to it. */
static enum err put_context(const struct context *c)
{
    uint32_t context = 2048, window = 0;
    const json_t *use = json_object_get(c->root, "use_sliding_window");
    enum err err = get_u32(c, c->root, "max_position_embeddings", &context);
    if (!err && (!use || json_is_true(use)))
        err = get_u32(c, c->root, "sliding_window", &window);
    if (err)
        return err;
    put_u32(c, "context_length", window && window < context ? window : context);
    return ERR_OK;
}

static enum err put_numbers(const struct context *c)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint32_t value = UINT32_MAX;
        enum err err = get_u32(c, c->root, numbers[i].config, &value);
        if (err)
            return err;
        if (value == UINT32_MAX && numbers[i].required)
            return err_set(c->report, ERR_INVALID, "config.json lacks \"%s\"", numbers[i].config);
        if (value != UINT32_MAX)
            put_u32(c, numbers[i].key, value);
    }
    return ERR_OK;
}

enum err st_put_config(const json_t *root, struct gguf_writer *writer, struct st_config *config,
                       struct report *report)
{
    const struct context c = {root, writer, config, report};
    const char *type = st_string(root, "model_type"), *act = st_string(root, "hidden_act");
    uint32_t dim = 0, heads = 0, head_dim = 0;
    double epsilon = 1e-6;
    config->family = find_family(type);
    if (!config->family) {
        char known[400] = "";
        for (size_t i = 0, at = 0; i < sizeof families / sizeof *families && at < sizeof known; i++)
            at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "",
                                   families[i].model_type);
        return err_set(report, ERR_UNSUPPORTED, "config.json: the model type '%.40s' is not "
                       "supported as safetensors; %s are", type ? type : "(none)", known);
    }
    if (json_is_object(json_object_get(root, "quantization_config")))
        return err_set(report, ERR_UNSUPPORTED, "config.json says that the weights are quantised "
                       "(\"quantization_config\"); use the model's unquantised weights, or a GGUF "
                       "file");
    if (act && strcmp(act, "silu") != 0)
        return err_set(report, ERR_UNSUPPORTED, "config.json: the activation '%.40s' is not "
                       "supported for %s (silu is)", act, config->family->model_type);
    const char *architecture = config->family->architecture;
    gguf_writer_put_string(writer, "general.architecture", architecture, strlen(architecture));
    if (config->family->permuted)
        gguf_writer_put_bool(writer, "pie.rope.halves", true);
    config->tied = json_is_true(json_object_get(root, "tie_word_embeddings"));
    enum err err = put_numbers(&c);
    if (!err)
        err = get_u32(&c, root, "vocab_size", &config->vocab_count);
    if (!err)
        err = get_u32(&c, root, "hidden_size", &dim);
    if (!err)
        err = get_u32(&c, root, "num_attention_heads", &heads);
    head_dim = heads ? dim / heads : 0;
    if (!err)
        err = get_u32(&c, root, "head_dim", &head_dim);
    if (!err)
        err = get_number(&c, root, "rms_norm_eps", &epsilon);
    if (err)
        return err;
    if (head_dim < 2 || head_dim > 1024 || head_dim % 2 != 0)
        return err_set(report, ERR_INVALID, "config.json: heads of %u dimensions, expected an even "
                       "number from 2 to 1024", head_dim);
    put_f32(&c, "attention.layer_norm_rms_epsilon", epsilon);
    put_u32(&c, "vocab_size", config->vocab_count);
    err = put_context(&c);
    return err ? err : put_rope(&c, head_dim);
}
