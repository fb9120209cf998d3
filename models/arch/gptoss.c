/* gpt-oss: experts with biases and a clamped activation, attention sinks, every second layer
 * windowed, YaRN. */
#include "models/arch/arch.h"

const struct arch arch_gptoss = {
    .name = "gpt-oss",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_PRE_NORMS | ARCH_ATTENTION | ARCH_QKV_BIAS |
                ARCH_ROLE(MODEL_ATTN_OUTPUT_BIAS) | ARCH_ROLE(MODEL_ATTN_SINKS) | ARCH_EXPERTS |
                ARCH_ROLE(MODEL_ROUTER_BIAS) | ARCH_ROLE(MODEL_GATE_EXPERTS_BIAS) |
                ARCH_ROLE(MODEL_UP_EXPERTS_BIAS) | ARCH_ROLE(MODEL_DOWN_EXPERTS_BIAS),
    .experts = true,
    .activation = MODEL_CLAMPED,
    .ffn_norm_name = "post_attention_norm.weight",
    .window = true,
    .window_period = 2,
};
