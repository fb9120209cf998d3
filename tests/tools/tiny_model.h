/* Tiny models with random weights, made from a seed: the same bytes on every machine. Shared by
 * the tests of the forward pass and by tests/tools/tiny_model.c, which writes them to files for
 * another implementation to read. */
#ifndef TESTS_TOOLS_TINY_MODEL_H
#define TESTS_TOOLS_TINY_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/gguf_write.h"

struct tiny_spec {
    const char *name, *architecture;
    enum gguf_tensor_type type, type_more; /* of most matrices; of v, down and the output */
    uint32_t dim, head_count, kv_head_count, head_dim, hidden, vocab_count;
    bool tied;
    bool rope_factors;       /* Llama 3.1's tensor */
    const char *rope_scaling; /* NULL, "linear", "yarn" */
    uint32_t layer_count;     /* 0: 2 */
    uint32_t window, expert_count, expert_used; /* 0: none */
};

enum { TINY_LAYERS = 2, TINY_CONTEXT = 2048 };

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* what a row leaves out is 0 */
static const struct tiny_spec tiny_specs[] = {
    {"llama-f32", "llama", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, false, false, NULL},
    {"llama3-f16", "llama", GGUF_TENSOR_F16, GGUF_TENSOR_F16, 96, 6, 2, 16, 128, 96, true, true, NULL},
    {"llama-linear-bf16", "llama", GGUF_TENSOR_BF16, GGUF_TENSOR_BF16, 64, 4, 4, 16, 96, 96, true, false, "linear"},
    {"llama-yarn-f32", "llama", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 2, 1, 32, 96, 96, true, false, "yarn"},
    {"qwen2-f32", "qwen2", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 56, 7, 1, 8, 72, 96, true, false, NULL},
    {"qwen3-f32", "qwen3", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 32, 96, 96, true, false, NULL},
    {"qwen3-q8_0", "qwen3", GGUF_TENSOR_Q8_0, GGUF_TENSOR_Q8_0, 256, 4, 2, 64, 512, 96, true, false, NULL},
    {"qwen3-q4_0", "qwen3", GGUF_TENSOR_Q4_0, GGUF_TENSOR_Q4_0, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"qwen2-q4_k", "qwen2", GGUF_TENSOR_Q4_K, GGUF_TENSOR_Q6_K, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"llama-q6_k", "llama", GGUF_TENSOR_Q6_K, GGUF_TENSOR_Q6_K, 256, 4, 1, 64, 256, 96, true, false, NULL},
    {"llama-q4_1", "llama", GGUF_TENSOR_Q4_1, GGUF_TENSOR_Q5_1, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"qwen3-q5_k", "qwen3", GGUF_TENSOR_Q5_K, GGUF_TENSOR_Q5_0, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"qwen2-q2_k", "qwen2", GGUF_TENSOR_Q2_K, GGUF_TENSOR_Q3_K, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"llama-iq4_xs", "llama", GGUF_TENSOR_IQ4_XS, GGUF_TENSOR_IQ4_NL, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"qwen3-mxfp4", "qwen3", GGUF_TENSOR_MXFP4, GGUF_TENSOR_MXFP4, 256, 4, 2, 64, 512, 96, false, false, NULL},
    {"mistral3-f32", "mistral3", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, true, false, "yarn"},
    {"smollm3-f32", "smollm3", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, true, false, NULL, 5},
    {"granite-f32", "granite", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, true, false, NULL},
    {"granitemoe-f32", "granitemoe", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 48, 96, true, false, NULL, 2, 0, 6, 2},
    {"olmo2-f32", "olmo2", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, false, false, NULL},
    {"olmo3-f32", "olmo2", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, false, false, "yarn", 5, 8},
    {"phi3-f32", "phi3", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 96, 4, 2, 24, 88, 96, false, true, NULL},
    {"gemma2-f32", "gemma2", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 24, 88, 96, true, false, NULL, 3, 8},
    {"gemma3-f32", "gemma3", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 1, 24, 88, 96, true, false, "linear", 7, 8},
    {"qwen3moe-f32", "qwen3moe", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 32, 48, 96, true, false, NULL, 2, 0, 8, 3},
    {"qwen3moe-q8_0", "qwen3moe", GGUF_TENSOR_Q8_0, GGUF_TENSOR_Q8_0, 256, 4, 2, 64, 128, 96, true, false, NULL, 2, 0, 8, 3},
    {"mixtral-f32", "llama", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 88, 96, false, false, NULL, 2, 0, 4, 2},
    {"gptoss-f32", "gpt-oss", GGUF_TENSOR_F32, GGUF_TENSOR_F32, 64, 4, 2, 16, 48, 96, false, false, "yarn", 3, 8, 6, 2},
    /* All experts are used: rounding to int8 would choose others here and there. */
    {"gptoss-q8_0", "gpt-oss", GGUF_TENSOR_Q8_0, GGUF_TENSOR_Q8_0, 128, 4, 2, 64, 96, 96, false, false, "yarn", 3, 8, 4, 4},
};
#pragma GCC diagnostic pop
enum { TINY_COUNT = sizeof tiny_specs / sizeof *tiny_specs };

struct tiny_writer {
    struct gguf_writer *gguf;
    uint64_t state;
    void *blobs[256];
    unsigned blob_count;
};

static inline uint32_t tiny_random(struct tiny_writer *w)
{
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->state >> 32);
}

/* About normal: the sum of four uniform numbers; standard deviation 1. */
static inline float tiny_normal(struct tiny_writer *w)
{
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (int32_t)(tiny_random(w) >> 16) - 32768;
    return (float)sum * (1.7320508f / 65536.0f);
}

/* A positive half of about `value`, exactly representable. */
static inline void tiny_half(struct tiny_writer *w, float value, uint8_t *at)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t half = ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023);
    half ^= tiny_random(w) & 255;
    at[0] = (uint8_t)half;
    at[1] = (uint8_t)(half >> 8);
}

/* `count` weights of standard deviation about `sigma` in the format's blocks. */
static inline void tiny_fill(struct tiny_writer *w, enum gguf_tensor_type type, uint64_t count,
                             float sigma, uint8_t *out)
{
    uint64_t bytes = gguf_tensor_type_bytes(type, count);
    if (type == GGUF_TENSOR_F32 || type == GGUF_TENSOR_BF16 || type == GGUF_TENSOR_F16) {
        for (uint64_t i = 0; i < count; i++) {
            float value = tiny_normal(w) * sigma;
            uint32_t bits;
            memcpy(&bits, &value, 4);
            if (type == GGUF_TENSOR_F32) {
                memcpy(out + i * 4, &value, 4);
            } else if (type == GGUF_TENSOR_BF16) {
                memcpy(out + i * 2, (uint8_t *)&bits + 2, 2);
            } else {
                uint32_t exponent = bits >> 23 & 255;
                uint32_t half = exponent < 113 ? 0 : (exponent - 112) << 10 | (bits >> 13 & 1023);
                half |= bits >> 16 & 0x8000;
                out[i * 2] = (uint8_t)half;
                out[i * 2 + 1] = (uint8_t)(half >> 8);
            }
        }
        return;
    }
    for (uint64_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(tiny_random(w) >> 11);
    switch (type) {
    case GGUF_TENSOR_Q8_0:
        for (uint64_t b = 0; b < count / 32; b++)
            tiny_half(w, sigma / 74, out + b * 34);
        break;
    case GGUF_TENSOR_Q4_0:
        for (uint64_t b = 0; b < count / 32; b++)
            tiny_half(w, sigma / 4.6f, out + b * 18);
        break;
    case GGUF_TENSOR_Q4_K: /* mean of q 7.5, of scale and min 31.5: dmin = 7.5 d centres */
        for (uint64_t b = 0; b < count / 256; b++) {
            tiny_half(w, sigma / 250, out + b * 144);
            tiny_half(w, sigma / 250 * 7.5f, out + b * 144 + 2);
        }
        break;
    case GGUF_TENSOR_Q6_K:
        for (uint64_t b = 0; b < count / 256; b++)
            tiny_half(w, sigma / 1300, out + b * 210 + 208);
        break;
    case GGUF_TENSOR_Q4_1: case GGUF_TENSOR_Q5_1: { /* m = -7.5 d or -15.5 d centres */
        bool five = type == GGUF_TENSOR_Q5_1;
        for (uint64_t b = 0; b < count / 32; b++, out += five ? 24 : 20) {
            tiny_half(w, sigma / (five ? 9.2f : 4.6f), out);
            tiny_half(w, sigma / (five ? 9.2f : 4.6f) * (five ? 15.5f : 7.5f), out + 2);
            out[3] |= 0x80;
        }
        break;
    }
    case GGUF_TENSOR_Q5_0:
        for (uint64_t b = 0; b < count / 32; b++)
            tiny_half(w, sigma / 9.2f, out + b * 22);
        break;
    case GGUF_TENSOR_Q5_K:
        for (uint64_t b = 0; b < count / 256; b++) {
            tiny_half(w, sigma / 510, out + b * 176);
            tiny_half(w, sigma / 510 * 15.5f, out + b * 176 + 2);
        }
        break;
    case GGUF_TENSOR_Q2_K:
        for (uint64_t b = 0; b < count / 256; b++) {
            tiny_half(w, sigma / 14, out + b * 84 + 80);
            tiny_half(w, sigma / 14 * 1.5f, out + b * 84 + 82);
        }
        break;
    case GGUF_TENSOR_Q3_K:
        for (uint64_t b = 0; b < count / 256; b++)
            tiny_half(w, sigma / 43, out + b * 110 + 108);
        break;
    case GGUF_TENSOR_IQ4_NL:
        for (uint64_t b = 0; b < count / 32; b++)
            tiny_half(w, sigma / 70, out + b * 18);
        break;
    case GGUF_TENSOR_IQ4_XS:
        for (uint64_t b = 0; b < count / 256; b++)
            tiny_half(w, sigma / 1300, out + b * 136);
        break;
    case GGUF_TENSOR_MXFP4: { /* powers of two near sigma / 2.7 */
        uint32_t bits;
        memcpy(&bits, &sigma, 4);
        for (uint64_t b = 0; b < count / 32; b++)
            out[b * 17] = (uint8_t)((bits >> 23 & 255) - 2 + (tiny_random(w) >> 31));
        break;
    }
    default: abort();
    }
}

static inline void tiny_planes(struct tiny_writer *w, const char *name, enum gguf_tensor_type type,
                               uint64_t columns, uint64_t rows, uint64_t planes, float sigma,
                               float mean)
{
    uint64_t dims[3] = {columns, rows, planes}, count = columns * (rows ? rows : 1) * planes;
    uint8_t *data = malloc(gguf_tensor_type_bytes(type, count));
    if (!data)
        abort();
    tiny_fill(w, type, count, sigma, data);
    for (uint64_t i = 0; mean != 0 && i < count; i++) {
        float value;
        memcpy(&value, data + i * 4, 4);
        value += mean;
        memcpy(data + i * 4, &value, 4);
    }
    w->blobs[w->blob_count++] = data;
    gguf_writer_add_tensor(w->gguf, name, type, dims, planes > 1 ? 3 : rows ? 2 : 1, data);
}

static inline void tiny_tensor(struct tiny_writer *w, const char *name, enum gguf_tensor_type type,
                               uint64_t columns, uint64_t rows, float sigma, float mean)
{
    tiny_planes(w, name, type, columns, rows, 1, sigma, mean);
}

/* Appends the GGUF file of `spec` to `out`. */
static inline void tiny_model(const struct tiny_spec *spec, struct buf *out)
{
    struct tiny_writer w = {.gguf = gguf_writer_create(), .state = 0};
    char key[128];
    uint32_t layer_count = spec->layer_count ? spec->layer_count : TINY_LAYERS;
#define TINY_IS(text) (strcmp(spec->architecture, text) == 0)
    for (const char *c = spec->name; *c; c++)
        w.state = w.state * 31 + (uint64_t)*c;
#define TINY_KEY(text) (snprintf(key, sizeof key, "%s." text, spec->architecture), key)
    gguf_writer_put_string(w.gguf, "general.architecture", spec->architecture,
                           strlen(spec->architecture));
    gguf_writer_put_u32(w.gguf, TINY_KEY("vocab_size"), spec->vocab_count);
    gguf_writer_put_u32(w.gguf, TINY_KEY("context_length"), TINY_CONTEXT);
    gguf_writer_put_u32(w.gguf, TINY_KEY("embedding_length"), spec->dim);
    gguf_writer_put_u32(w.gguf, TINY_KEY("block_count"), layer_count);
    gguf_writer_put_u32(w.gguf, TINY_KEY("feed_forward_length"), spec->hidden);
    gguf_writer_put_u32(w.gguf, TINY_KEY("attention.head_count"), spec->head_count);
    gguf_writer_put_u32(w.gguf, TINY_KEY("attention.head_count_kv"), spec->kv_head_count);
    gguf_writer_put_u32(w.gguf, TINY_KEY("attention.key_length"), spec->head_dim);
    gguf_writer_put_u32(w.gguf, TINY_KEY("attention.value_length"), spec->head_dim);
    gguf_writer_put_u32(w.gguf, TINY_KEY("rope.dimension_count"), spec->head_dim);
    gguf_writer_put_f32(w.gguf, TINY_KEY("attention.layer_norm_rms_epsilon"), 1e-6f);
    gguf_writer_put_f32(w.gguf, TINY_KEY("rope.freq_base"), 10000.0f);
    if (spec->rope_scaling) {
        gguf_writer_put_string(w.gguf, TINY_KEY("rope.scaling.type"), spec->rope_scaling,
                               strlen(spec->rope_scaling));
        gguf_writer_put_f32(w.gguf, TINY_KEY("rope.scaling.factor"), 4.0f);
        gguf_writer_put_u32(w.gguf, TINY_KEY("rope.scaling.original_context_length"),
                            TINY_IS("mistral3") ? 8 : 512);
    }
    if (spec->window)
        gguf_writer_put_u32(w.gguf, TINY_KEY("attention.sliding_window"), spec->window);
    if (spec->expert_count) {
        gguf_writer_put_u32(w.gguf, TINY_KEY("expert_count"), spec->expert_count);
        gguf_writer_put_u32(w.gguf, TINY_KEY("expert_used_count"), spec->expert_used);
        if (!TINY_IS("llama") && !TINY_IS("granitemoe"))
            gguf_writer_put_u32(w.gguf, TINY_KEY("expert_feed_forward_length"), spec->hidden);
    }
    bool granite = TINY_IS("granite") || TINY_IS("granitemoe");
    if (granite) {
        gguf_writer_put_f32(w.gguf, TINY_KEY("embedding_scale"), 3.0f);
        gguf_writer_put_f32(w.gguf, TINY_KEY("residual_scale"), 0.22f);
        gguf_writer_put_f32(w.gguf, TINY_KEY("logit_scale"), 8.0f);
        gguf_writer_put_f32(w.gguf, TINY_KEY("attention.scale"), 0.3f);
    }
    if (TINY_IS("gemma2")) {
        gguf_writer_put_f32(w.gguf, TINY_KEY("attn_logit_softcapping"), 5.0f);
        gguf_writer_put_f32(w.gguf, TINY_KEY("final_logit_softcapping"), 6.0f);
    }
    if (TINY_IS("mistral3")) {
        gguf_writer_put_f32(w.gguf, TINY_KEY("attention.temperature_scale"), 0.1f);
        gguf_writer_put_f32(w.gguf, TINY_KEY("rope.scaling.yarn_log_multiplier"), 0.7f);
    }
    if (TINY_IS("phi3")) {
        gguf_writer_put_u32(w.gguf, TINY_KEY("rope.scaling.original_context_length"), 256);
        gguf_writer_put_f32(w.gguf, TINY_KEY("rope.scaling.attn_factor"), 1.19f);
    }
    gguf_writer_put_string(w.gguf, "tokenizer.ggml.model", "no_vocab", 8);

    uint32_t q_dim = spec->head_count * spec->head_dim, kv_dim = spec->kv_head_count * spec->head_dim;
    float narrow = 1.6f / 8, norm = 0.2f;
    bool gptoss = TINY_IS("gpt-oss"), phi3 = TINY_IS("phi3"), olmo2 = TINY_IS("olmo2");
    bool gemma = TINY_IS("gemma2") || TINY_IS("gemma3");
    bool bias = TINY_IS("qwen2") || gptoss;
    bool qk_norm = TINY_IS("qwen3") || TINY_IS("qwen3moe") || TINY_IS("gemma3") || olmo2;
    if (spec->dim >= 256)
        narrow = 1.6f / 16;
    tiny_tensor(&w, "token_embd.weight", spec->tied ? spec->type_more : spec->type, spec->dim,
                spec->vocab_count, 0.5f, 0);
    tiny_tensor(&w, "output_norm.weight", GGUF_TENSOR_F32, spec->dim, 0, norm, 1);
    if (!spec->tied)
        tiny_tensor(&w, "output.weight", spec->type_more, spec->dim, spec->vocab_count, narrow, 0);
    if (spec->rope_factors && phi3) {
        tiny_tensor(&w, "rope_factors_long.weight", GGUF_TENSOR_F32, spec->head_dim / 2, 0, 0.5f, 4);
        tiny_tensor(&w, "rope_factors_short.weight", GGUF_TENSOR_F32, spec->head_dim / 2, 0, 0.1f,
                    1);
    } else if (spec->rope_factors) {
        tiny_tensor(&w, "rope_freqs.weight", GGUF_TENSOR_F32, spec->head_dim / 2, 0, 0.5f, 4);
    }
    for (unsigned i = 0; i < layer_count; i++) {
#define TINY_NAME(text) (snprintf(key, sizeof key, "blk.%u." text, i), key)
        if (!olmo2)
            tiny_tensor(&w, TINY_NAME("attn_norm.weight"), GGUF_TENSOR_F32, spec->dim, 0, norm, 1);
        if (phi3) {
            tiny_tensor(&w, TINY_NAME("attn_qkv.weight"), spec->type, spec->dim, q_dim + 2 * kv_dim,
                        narrow, 0);
        } else {
            tiny_tensor(&w, TINY_NAME("attn_q.weight"), spec->type, spec->dim, q_dim, narrow, 0);
            tiny_tensor(&w, TINY_NAME("attn_k.weight"), spec->type, spec->dim, kv_dim, narrow, 0);
            tiny_tensor(&w, TINY_NAME("attn_v.weight"), spec->type_more, spec->dim, kv_dim, narrow,
                        0);
        }
        if (bias) {
            tiny_tensor(&w, TINY_NAME("attn_q.bias"), GGUF_TENSOR_F32, q_dim, 0, 0.5f, 0);
            tiny_tensor(&w, TINY_NAME("attn_k.bias"), GGUF_TENSOR_F32, kv_dim, 0, 0.5f, 0);
            tiny_tensor(&w, TINY_NAME("attn_v.bias"), GGUF_TENSOR_F32, kv_dim, 0, 0.5f, 0);
        }
        if (qk_norm) {
            tiny_tensor(&w, TINY_NAME("attn_q_norm.weight"), GGUF_TENSOR_F32,
                        olmo2 ? q_dim : spec->head_dim, 0, norm, 1);
            tiny_tensor(&w, TINY_NAME("attn_k_norm.weight"), GGUF_TENSOR_F32,
                        olmo2 ? kv_dim : spec->head_dim, 0, norm, 1);
        }
        tiny_tensor(&w, TINY_NAME("attn_output.weight"), spec->type, q_dim, spec->dim, narrow, 0);
        if (gptoss) {
            tiny_tensor(&w, TINY_NAME("attn_output.bias"), GGUF_TENSOR_F32, spec->dim, 0, 0.3f, 0);
            tiny_tensor(&w, TINY_NAME("attn_sinks.weight"), GGUF_TENSOR_F32, spec->head_count, 0,
                        1.0f, 0);
        }
        if (olmo2 || gemma || gptoss)
            tiny_tensor(&w, TINY_NAME("post_attention_norm.weight"), GGUF_TENSOR_F32, spec->dim, 0,
                        norm, 1);
        if (!olmo2 && !gptoss)
            tiny_tensor(&w, TINY_NAME("ffn_norm.weight"), GGUF_TENSOR_F32, spec->dim, 0, norm, 1);
        if (olmo2 || gemma)
            tiny_tensor(&w, TINY_NAME("post_ffw_norm.weight"), GGUF_TENSOR_F32, spec->dim, 0, norm,
                        1);
        if (spec->expert_count) {
            uint32_t experts = spec->expert_count;
            /* Wide: experts of nearly equal weight would be chosen by rounding errors. */
            tiny_tensor(&w, TINY_NAME("ffn_gate_inp.weight"), GGUF_TENSOR_F32, spec->dim, experts,
                        narrow * 3, 0);
            tiny_planes(&w, TINY_NAME("ffn_gate_exps.weight"), spec->type, spec->dim, spec->hidden,
                        experts, narrow, 0);
            tiny_planes(&w, TINY_NAME("ffn_up_exps.weight"), spec->type, spec->dim, spec->hidden,
                        experts, narrow, 0);
            tiny_planes(&w, TINY_NAME("ffn_down_exps.weight"), spec->type_more, spec->hidden,
                        spec->dim, experts, narrow, 0);
            if (gptoss) {
                tiny_tensor(&w, TINY_NAME("ffn_gate_inp.bias"), GGUF_TENSOR_F32, experts, 0, 0.3f,
                            0);
                tiny_tensor(&w, TINY_NAME("ffn_gate_exps.bias"), GGUF_TENSOR_F32, spec->hidden,
                            experts, 0.3f, 0);
                tiny_tensor(&w, TINY_NAME("ffn_up_exps.bias"), GGUF_TENSOR_F32, spec->hidden,
                            experts, 0.3f, 0);
                tiny_tensor(&w, TINY_NAME("ffn_down_exps.bias"), GGUF_TENSOR_F32, spec->dim,
                            experts, 0.3f, 0);
            }
            continue;
        }
        if (!phi3)
            tiny_tensor(&w, TINY_NAME("ffn_gate.weight"), spec->type, spec->dim, spec->hidden,
                        narrow, 0);
        tiny_tensor(&w, TINY_NAME("ffn_up.weight"), spec->type, spec->dim,
                    phi3 ? 2 * spec->hidden : spec->hidden, narrow, 0);
        tiny_tensor(&w, TINY_NAME("ffn_down.weight"), spec->type_more, spec->hidden, spec->dim,
                    narrow, 0);
    }
    struct report report = {0};
    if (gguf_writer_finish(w.gguf, out, &report))
        abort();
    gguf_writer_destroy(w.gguf);
    for (unsigned i = 0; i < w.blob_count; i++)
        free(w.blobs[i]);
}

/* Appends a GGUF adapter (LoRA of rank 4 and 8, alpha 8) for the model of `spec`, a dense one; `seed`
 * makes different ones. */
static inline void tiny_adapter(const struct tiny_spec *spec, uint64_t seed, struct buf *out)
{
    struct tiny_writer w = {.gguf = gguf_writer_create(), .state = seed};
    char key[128];
    uint32_t q_dim = spec->head_count * spec->head_dim, kv_dim = spec->kv_head_count * spec->head_dim;
    bool fused = strcmp(spec->architecture, "phi3") == 0;
    const struct {
        const char *name;
        uint32_t columns, rows;
    } matrices[] = {{fused ? "attn_qkv" : "attn_q", spec->dim, fused ? q_dim + 2 * kv_dim : q_dim},
                    {fused ? NULL : "attn_k", spec->dim, kv_dim},
                    {fused ? NULL : "attn_v", spec->dim, kv_dim},
                    {"attn_output", q_dim, spec->dim},
                    {fused ? NULL : "ffn_gate", spec->dim, spec->hidden},
                    {"ffn_up", spec->dim, fused ? 2 * spec->hidden : spec->hidden},
                    {"ffn_down", spec->hidden, spec->dim}};
    gguf_writer_put_string(w.gguf, "general.type", "adapter", 7);
    gguf_writer_put_string(w.gguf, "general.architecture", spec->architecture,
                           strlen(spec->architecture));
    gguf_writer_put_string(w.gguf, "adapter.type", "lora", 4);
    gguf_writer_put_f32(w.gguf, "adapter.lora.alpha", 8.0f);
    for (unsigned layer = 0; layer < TINY_LAYERS; layer++)
        for (unsigned i = 0; i < sizeof matrices / sizeof *matrices; i++) {
            uint32_t rank = i % 2 ? 8 : 4;
            if (!matrices[i].name || (layer == 1 && i == 3)) /* not every matrix */
                continue;
            snprintf(key, sizeof key, "blk.%u.%s.weight.lora_a", layer, matrices[i].name);
            tiny_tensor(&w, key, i == 0 ? GGUF_TENSOR_F16 : GGUF_TENSOR_F32, matrices[i].columns,
                        rank, 0.15f, 0);
            snprintf(key, sizeof key, "blk.%u.%s.weight.lora_b", layer, matrices[i].name);
            tiny_tensor(&w, key, GGUF_TENSOR_F32, rank, matrices[i].rows, 0.15f, 0);
        }
    struct report report = {0};
    if (gguf_writer_finish(w.gguf, out, &report))
        abort();
    gguf_writer_destroy(w.gguf);
    for (unsigned i = 0; i < w.blob_count; i++)
        free(w.blobs[i]);
}

/* The models that the adapters' vectors are of (NAME-lora.txt): pairs turned, halves with biases,
 * fused matrices, int8. */
static const char *const tiny_adapted[] = {"llama-f32", "qwen2-f32", "phi3-f32", "qwen3-q8_0"};
enum { TINY_ADAPTED = 4, TINY_ADAPTER_SEED = 77 };

/* The tokens whose logits the vectors hold: all of the first TINY_TOKENS; the last four of
 * TINY_TOKENS_FAR for the models with windows (NAME-far.txt). */
enum { TINY_TOKENS = 21, TINY_TOKENS_FAR = 300 };
static inline uint32_t tiny_token(unsigned index)
{
    return (index * index * 7 + index * 13 + 5) % 96;
}

#endif
