/* What a model is: hyper-parameters and named tensors, checked against each other. No arithmetic.
 *
 * An architecture is a page of data in models/arch/. The forward pass tests the named fields of
 * `struct model_hparams`, never an architecture's name. An open model is immutable. */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "models/gguf.h"

/* Which two dimensions of a head turn together: (2i, 2i + 1), or (i, i + rope_dim / 2). */
enum model_rope_style { MODEL_ROPE_PAIRS, MODEL_ROPE_HALVES };

enum model_rope_scaling { MODEL_ROPE_SCALING_NONE, MODEL_ROPE_SCALING_LINEAR,
                          MODEL_ROPE_SCALING_YARN };

/* What the gate of a feed-forward is passed through:
 * SILU: gate / (1 + e^-gate) * up. GELU: the tanh approximation of gelu(gate) * up.
 * CLAMPED: gpt-oss; gate <= 7, |up| <= 7, gate / (1 + e^(-1.702 gate)) * (up + 1). */
enum model_activation { MODEL_SILU, MODEL_GELU, MODEL_CLAMPED };

struct model_rope {
    enum model_rope_style style;
    uint32_t dim;  /* dimensions of a head that turn: even, <= head_dim */
    float base;
    enum model_rope_scaling scaling;
    float factor;            /* of the context; 1 without scaling */
    uint32_t context_original; /* yarn: the context length of the training */
    float extrapolation, attention_factor, beta_fast, beta_slow; /* yarn */
    float log_multiplier; /* yarn: 0, or mscale_all_dim, by which the magnitude is divided */
    /* Divisors of the frequencies, [dim / 2], NULL = all 1 (Llama 3.1 and later). Borrowed from
     * the file. */
    const struct gguf_tensor *factors;
};

struct model_hparams {
    const char *architecture; /* "llama", static */
    uint32_t vocab_count;
    uint32_t dim;          /* width of the residual stream */
    uint32_t layer_count;
    uint32_t head_count;
    uint32_t kv_head_count; /* divides head_count */
    uint32_t head_dim;
    uint32_t hidden;        /* width inside the feed-forward */
    uint32_t context_max;   /* tokens the model was made for */
    float norm_epsilon;
    bool qk_norm;           /* RMS norm on every head of q and k before RoPE */
    bool qk_norm_whole;     /* that norm runs over all heads together instead */
    bool tied_embeddings;   /* the output matrix is the token embedding */
    enum model_activation activation;
    float embedding_scale;   /* times the token's embedding */
    float residual_scale;    /* times what a sub-layer adds */
    float attention_scale;   /* times q . k */
    float logit_scale;       /* times the logits */
    float attention_softcap; /* c: scores become c tanh(score / c); 0: none */
    float logit_softcap;     /* the same for logits */
    /* q is scaled by 1 + temperature_scale ln(1 + floor(position / temperature_floor)); 0: not. */
    float temperature_scale;
    uint32_t temperature_floor;
    /* KV entries that a row of a windowed layer sees, its own included; 0: no layer is windowed. */
    uint32_t window;
    uint32_t expert_count;  /* 0: dense; otherwise `hidden` is the width of one expert */
    uint32_t expert_used;   /* per token: 1 .. expert_count */
    float expert_scale;     /* times the weights of the chosen, which add up to 1 */
    struct model_rope rope, rope_windowed; /* of full and of windowed layers */
};

/* Tensors of a layer. Matrices are [rows][columns] with the columns contiguous. */
enum model_role {
    MODEL_ATTN_NORM,   /* [dim] */
    MODEL_Q,           /* [head_count * head_dim][dim] */
    MODEL_K,           /* [kv_head_count * head_dim][dim] */
    MODEL_V,           /* [kv_head_count * head_dim][dim] */
    MODEL_Q_BIAS,      /* [head_count * head_dim] */
    MODEL_K_BIAS,      /* [kv_head_count * head_dim] */
    MODEL_V_BIAS,      /* [kv_head_count * head_dim] */
    MODEL_Q_NORM,      /* [head_dim] */
    MODEL_K_NORM,      /* [head_dim] */
    MODEL_ATTN_OUTPUT, /* [dim][head_count * head_dim] */
    MODEL_FFN_NORM,    /* [dim] */
    MODEL_GATE,        /* [hidden][dim] */
    MODEL_UP,          /* [hidden][dim] */
    MODEL_DOWN,        /* [dim][hidden] */
    MODEL_QKV,         /* q, k and v, one below the other */
    MODEL_GATE_UP,     /* gate and up, one below the other */
    MODEL_ATTN_OUTPUT_BIAS, /* [dim] */
    MODEL_ATTN_SINKS,       /* [head_count] scores of an entry without a value */
    MODEL_ATTN_POST_NORM,   /* [dim] of what attention adds */
    MODEL_FFN_POST_NORM,    /* [dim] of what the feed-forward adds */
    MODEL_ROUTER,           /* [expert_count][dim] */
    MODEL_ROUTER_BIAS,      /* [expert_count] */
    MODEL_GATE_EXPERTS,     /* [expert_count][hidden][dim] */
    MODEL_UP_EXPERTS,       /* [expert_count][hidden][dim] */
    MODEL_DOWN_EXPERTS,     /* [expert_count][dim][hidden] */
    MODEL_GATE_EXPERTS_BIAS, /* [expert_count][hidden] */
    MODEL_UP_EXPERTS_BIAS,   /* [expert_count][hidden] */
    MODEL_DOWN_EXPERTS_BIAS, /* [expert_count][dim] */
    MODEL_ROLE_COUNT,
};

struct model_layer {
    const struct gguf_tensor *tensors[MODEL_ROLE_COUNT]; /* NULL: this model has none */
    bool windowed; /* rows see hparams.window entries */
    bool unturned; /* no RoPE */
};

struct model {
    struct model_hparams hparams;
    const struct gguf_tensor *token_embedding; /* [vocab][dim] */
    const struct gguf_tensor *output_norm;     /* [dim] */
    const struct gguf_tensor *output;          /* [vocab][dim]; the embedding when tied */
    struct model_layer *layers;                /* [layer_count] */
    uint64_t parameter_count;
    uint64_t weight_bytes; /* of all tensors in the file */
    struct gguf *file;     /* metadata for tokenizer and chat template */
};

/* Opens a GGUF file and checks that it holds a whole model of a known architecture. Errors name
 * the key or tensor, what was expected and what was found. */
enum err model_open(const char *path, struct model **model, struct report *report) ERR_MUST_USE;
/* The same over bytes in memory, borrowed until model_close. */
enum err model_open_memory(const uint8_t *data, size_t bytes, struct model **model,
                           struct report *report) ERR_MUST_USE;
void model_close(struct model *model);

/* Architectures that this build knows; NULL past the end. */
const char *model_architecture(size_t index);

#endif
