/* Tiny models with random weights as folders of safetensors, made from a seed: the same bytes on
 * every machine. Shared by the test and by tests/tools/tiny_folder.c, which writes them for
 * transformers to read. */
#ifndef TESTS_TOOLS_TINY_FOLDER_H
#define TESTS_TOOLS_TINY_FOLDER_H

#include <sys/stat.h>

#include "engine/base/file.h"
#include "tests/tools/tiny_model.h"

struct folder_spec {
    const char *name, *model_type, *class;
    enum gguf_tensor_type type;
    uint32_t dim, heads, kv_heads, head_dim, hidden;
    bool tied, bias, qk_norm;
    unsigned shards;
    const char *more; /* further members of config.json */
};

static const struct folder_spec folder_specs[] = {
    {"st-llama", "llama", "LlamaForCausalLM", GGUF_TENSOR_F32, 64, 4, 2, 16, 88, false, false, false, 1,
     "\"rope_theta\": 10000.0"},
    {"st-llama3", "llama", "LlamaForCausalLM", GGUF_TENSOR_BF16, 96, 6, 2, 16, 128, true, false, false, 3,
     "\"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
     "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}"},
    {"st-mistral", "mistral", "MistralForCausalLM", GGUF_TENSOR_F16, 64, 4, 1, 32, 96, false, false, false, 1,
     "\"head_dim\": 32, \"sliding_window\": null, \"rope_parameters\": {\"rope_type\": \"default\", "
     "\"rope_theta\": 1000000.0}"},
    {"st-qwen2", "qwen2", "Qwen2ForCausalLM", GGUF_TENSOR_BF16, 56, 7, 1, 8, 72, true, true, false, 1,
     "\"rope_theta\": 1000000.0, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
     "\"original_max_position_embeddings\": 512}"},
    {"st-qwen3", "qwen3", "Qwen3ForCausalLM", GGUF_TENSOR_F16, 64, 4, 2, 32, 96, false, false, true, 2,
     "\"head_dim\": 32, \"attention_bias\": false, \"rope_theta\": 1000000.0"},
};
enum { FOLDER_COUNT = sizeof folder_specs / sizeof *folder_specs, FOLDER_VOCAB = 96 };

struct folder_writer {
    struct tiny_writer random;
    const struct folder_spec *spec;
    const char *path;
    struct buf header, data, index;
    unsigned shard, tensors;
};

static inline void folder_save(const struct folder_writer *w, const char *name, const void *data,
                               size_t bytes)
{
    char path[1200];
    struct report report = {0};
    snprintf(path, sizeof path, "%s/%s", w->path, name);
    if (file_write(path, data, bytes, &report))
        abort();
}

static inline void folder_file(const struct folder_writer *w, unsigned shard, char name[64])
{
    if (w->spec->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, w->spec->shards);
}

static inline void folder_flush(struct folder_writer *w)
{
    char name[64];
    struct buf all;
    buf_init(&all, NULL);
    (void)buf_puts(&w->header, "}");
    while (w->header.count % 8 != 0)
        (void)buf_putc(&w->header, ' ');
    uint64_t bytes = w->header.count;
    (void)buf_append(&all, &bytes, 8);
    (void)buf_append(&all, w->header.data, w->header.count);
    (void)buf_append(&all, w->data.data, w->data.count);
    folder_file(w, w->shard++, name);
    folder_save(w, name, all.data, all.count);
    buf_deinit(&all);
    buf_clear(&w->header);
    buf_clear(&w->data);
    w->tensors = 0;
}

/* `rows` 0: a vector of `columns`. */
static inline void folder_tensor(struct folder_writer *w, const char *name, uint64_t columns,
                                 uint64_t rows, float sigma, float mean)
{
    static const char *const dtypes[] = {[GGUF_TENSOR_F32] = "F32", [GGUF_TENSOR_F16] = "F16",
                                         [GGUF_TENSOR_BF16] = "BF16"};
    uint64_t count = columns * (rows ? rows : 1);
    float *values = malloc(count * 4);
    size_t begin = w->data.count;
    char file[64];
    if (!values)
        abort();
    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits;
        values[i] = tiny_normal(&w->random) * sigma + mean;
        memcpy(&bits, &values[i], 4);
        uint16_t half = (uint16_t)(bits >> 16);
        if (w->spec->type == GGUF_TENSOR_F16) {
            uint32_t exponent = bits >> 23 & 255;
            half = (uint16_t)((bits >> 16 & 0x8000) |
                              (exponent < 113 ? 0 : (exponent - 112) << 10 | (bits >> 13 & 1023)));
        }
        if (w->spec->type == GGUF_TENSOR_F32)
            (void)buf_append(&w->data, &values[i], 4);
        else
            (void)buf_append(&w->data, &half, 2);
    }
    free(values);
    (void)buf_printf(&w->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", w->tensors++ ? "," : "{", name,
                     dtypes[w->spec->type]);
    if (rows)
        (void)buf_printf(&w->header, "%llu,", (unsigned long long)rows);
    (void)buf_printf(&w->header, "%llu],\"data_offsets\":[%zu,%zu]}", (unsigned long long)columns, begin,
                     w->data.count);
    folder_file(w, w->shard, file);
    (void)buf_printf(&w->index, "%s\"%s\":\"%s\"", w->index.count ? "," : "", name, file);
}

/* Writes the files of `spec` into the folder `path`, which is made. */
static inline void tiny_folder(const struct folder_spec *spec, const char *path)
{
    struct folder_writer w = {.spec = spec, .path = path};
    char name[128];
    struct buf text;
    (void)mkdir(path, 0777);
    buf_init(&w.header, NULL);
    buf_init(&w.data, NULL);
    buf_init(&w.index, NULL);
    buf_init(&text, NULL);
    for (const char *c = spec->name; *c; c++)
        w.random.state = w.random.state * 31 + (uint64_t)*c;
    uint32_t q_dim = spec->heads * spec->head_dim, kv_dim = spec->kv_heads * spec->head_dim;
    folder_tensor(&w, "model.embed_tokens.weight", spec->dim, FOLDER_VOCAB, 0.5f, 0);
    folder_tensor(&w, "model.norm.weight", spec->dim, 0, 0.2f, 1);
    if (!spec->tied)
        folder_tensor(&w, "lm_head.weight", spec->dim, FOLDER_VOCAB, 0.2f, 0);
    for (unsigned i = 0; i < TINY_LAYERS; i++) {
        if (spec->shards > 1 && w.shard + 1 < spec->shards)
            folder_flush(&w);
#define FOLDER_NAME(text) (snprintf(name, sizeof name, "model.layers.%u." text, i), name)
        folder_tensor(&w, FOLDER_NAME("input_layernorm.weight"), spec->dim, 0, 0.2f, 1);
        folder_tensor(&w, FOLDER_NAME("self_attn.q_proj.weight"), spec->dim, q_dim, 0.2f, 0);
        folder_tensor(&w, FOLDER_NAME("self_attn.k_proj.weight"), spec->dim, kv_dim, 0.2f, 0);
        folder_tensor(&w, FOLDER_NAME("self_attn.v_proj.weight"), spec->dim, kv_dim, 0.2f, 0);
        if (spec->bias) {
            folder_tensor(&w, FOLDER_NAME("self_attn.q_proj.bias"), q_dim, 0, 0.5f, 0);
            folder_tensor(&w, FOLDER_NAME("self_attn.k_proj.bias"), kv_dim, 0, 0.5f, 0);
            folder_tensor(&w, FOLDER_NAME("self_attn.v_proj.bias"), kv_dim, 0, 0.5f, 0);
        }
        if (spec->qk_norm) {
            folder_tensor(&w, FOLDER_NAME("self_attn.q_norm.weight"), spec->head_dim, 0, 0.2f, 1);
            folder_tensor(&w, FOLDER_NAME("self_attn.k_norm.weight"), spec->head_dim, 0, 0.2f, 1);
        }
        folder_tensor(&w, FOLDER_NAME("self_attn.o_proj.weight"), q_dim, spec->dim, 0.2f, 0);
        folder_tensor(&w, FOLDER_NAME("post_attention_layernorm.weight"), spec->dim, 0, 0.2f, 1);
        folder_tensor(&w, FOLDER_NAME("mlp.gate_proj.weight"), spec->dim, spec->hidden, 0.2f, 0);
        folder_tensor(&w, FOLDER_NAME("mlp.up_proj.weight"), spec->dim, spec->hidden, 0.2f, 0);
        folder_tensor(&w, FOLDER_NAME("mlp.down_proj.weight"), spec->hidden, spec->dim, 0.2f, 0);
    }
    folder_flush(&w);
    if (spec->shards > 1) {
        (void)buf_printf(&text, "{\"metadata\":{},\"weight_map\":{%s}}", w.index.data);
        folder_save(&w, "model.safetensors.index.json", text.data, text.count);
    }
    buf_clear(&text);
    (void)buf_printf(&text, "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"hidden_size\": %u,\n"
                     "\"num_hidden_layers\": %d, \"intermediate_size\": %u, \"num_attention_heads\": %u,\n"
                     "\"num_key_value_heads\": %u, \"max_position_embeddings\": %d, \"vocab_size\": %d,\n"
                     "\"rms_norm_eps\": 1e-06, \"hidden_act\": \"silu\", \"tie_word_embeddings\": %s,\n"
                     "\"bos_token_id\": null, \"eos_token_id\": null, \"pad_token_id\": null,\n%s}\n",
                     spec->model_type, spec->class, spec->dim, TINY_LAYERS, spec->hidden, spec->heads,
                     spec->kv_heads, TINY_CONTEXT, FOLDER_VOCAB, spec->tied ? "true" : "false", spec->more);
    folder_save(&w, "config.json", text.data, text.count);
    buf_deinit(&w.header);
    buf_deinit(&w.data);
    buf_deinit(&w.index);
    buf_deinit(&text);
}

#endif
