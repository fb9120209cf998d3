/* An architecture as data. Only models/model.c reads these pages. */
#ifndef MODELS_ARCH_ARCH_H
#define MODELS_ARCH_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "models/model.h"

#define ARCH_ROLE(role) (1u << (role))

struct arch {
    const char *name; /* of general.architecture and of the key prefix */
    enum model_rope_style rope_style;
    uint32_t required; /* roles that every layer has */
    uint32_t optional; /* roles that a layer may have: all layers or none */
    bool rope_factors;        /* may have the tensor rope_freqs.weight */
    bool rope_factors_by_context; /* may have rope_factors_long.weight and rope_factors_short.weight */
    bool experts;             /* layers may have experts instead of ARCH_DENSE */
    bool qk_norm_whole;
    bool embedding_sqrt;      /* embeddings are scaled by sqrt(dim) */
    bool scales;              /* has the keys *.embedding_scale, residual_scale, logit_scale */
    bool softcaps;            /* has the keys *_logit_softcapping */
    enum model_activation activation;
    const char *ffn_norm_name; /* NULL: "ffn_norm.weight" */
    /* Models of this many layers scale q . k by 1 / sqrt(dim / head_count), not by head_dim. */
    uint32_t wide_scale_layers;
    uint32_t unturned_step;   /* every so manieth layer has no RoPE; 0: all have */

    /* Sliding windows: of each `window_period` layers the last sees everything; 0: none does. */
    bool window;              /* may have the key attention.sliding_window */
    uint32_t window_default;
    uint32_t window_period;
    /* How windowed layers turn: as the others; with a base of their own (default
     * window_rope_base) and no scaling; or with the others' base and no scaling. */
    enum { ARCH_WINDOW_ROPE_SAME, ARCH_WINDOW_ROPE_BASE, ARCH_WINDOW_ROPE_UNSCALED } window_rope;
    float window_rope_base;
};

#define ARCH_ATTENTION                                                                    \
    (ARCH_ROLE(MODEL_Q) | ARCH_ROLE(MODEL_K) | ARCH_ROLE(MODEL_V) | ARCH_ROLE(MODEL_ATTN_OUTPUT))
#define ARCH_DENSE (ARCH_ROLE(MODEL_GATE) | ARCH_ROLE(MODEL_UP) | ARCH_ROLE(MODEL_DOWN))
#define ARCH_EXPERTS                                                                      \
    (ARCH_ROLE(MODEL_ROUTER) | ARCH_ROLE(MODEL_GATE_EXPERTS) | ARCH_ROLE(MODEL_UP_EXPERTS) |  \
     ARCH_ROLE(MODEL_DOWN_EXPERTS))
#define ARCH_PRE_NORMS (ARCH_ROLE(MODEL_ATTN_NORM) | ARCH_ROLE(MODEL_FFN_NORM))
#define ARCH_POST_NORMS (ARCH_ROLE(MODEL_ATTN_POST_NORM) | ARCH_ROLE(MODEL_FFN_POST_NORM))
#define ARCH_QK_NORMS (ARCH_ROLE(MODEL_Q_NORM) | ARCH_ROLE(MODEL_K_NORM))
#define ARCH_QKV_BIAS \
    (ARCH_ROLE(MODEL_Q_BIAS) | ARCH_ROLE(MODEL_K_BIAS) | ARCH_ROLE(MODEL_V_BIAS))
/* What every pre-norm transformer with a gated feed-forward has. */
#define ARCH_CORE (ARCH_PRE_NORMS | ARCH_ATTENTION | ARCH_DENSE)

extern const struct arch arch_llama, arch_mistral3, arch_smollm3, arch_granite, arch_granitemoe,
    arch_qwen2, arch_qwen3, arch_qwen3moe, arch_olmo2, arch_phi3, arch_gemma2, arch_gemma3,
    arch_gptoss;

#endif
