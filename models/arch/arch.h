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
    bool rope_factors; /* may have the tensor rope_freqs.weight */
};

/* What every pre-norm transformer with a gated feed-forward has. */
#define ARCH_CORE                                                                         \
    (ARCH_ROLE(MODEL_ATTN_NORM) | ARCH_ROLE(MODEL_Q) | ARCH_ROLE(MODEL_K) |               \
     ARCH_ROLE(MODEL_V) | ARCH_ROLE(MODEL_ATTN_OUTPUT) | ARCH_ROLE(MODEL_FFN_NORM) |      \
     ARCH_ROLE(MODEL_GATE) | ARCH_ROLE(MODEL_UP) | ARCH_ROLE(MODEL_DOWN))
#define ARCH_QKV_BIAS \
    (ARCH_ROLE(MODEL_Q_BIAS) | ARCH_ROLE(MODEL_K_BIAS) | ARCH_ROLE(MODEL_V_BIAS))

extern const struct arch arch_llama, arch_qwen2, arch_qwen3;

#endif
