/* Qwen 3 with experts. */
#include "models/arch/arch.h"

const struct arch arch_qwen3moe = {
    .name = "qwen3moe",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_PRE_NORMS | ARCH_ATTENTION | ARCH_QK_NORMS | ARCH_EXPERTS,
    .experts = true,
};
