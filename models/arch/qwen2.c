/* Qwen 2 and 2.5, dense: biases on q, k and v. */
#include "models/arch/arch.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_CORE | ARCH_QKV_BIAS,
};
