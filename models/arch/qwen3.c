/* Qwen 3, dense: an RMS norm on every head of q and k instead of biases; head_dim is a key of its
 * own, not dim / head_count. */
#include "models/arch/arch.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_CORE | ARCH_QK_NORMS,
};
