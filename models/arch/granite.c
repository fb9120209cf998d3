/* IBM Granite 3.x, dense and with experts: a llama with scales on embeddings, residuals, attention
 * and logits. */
#include "models/arch/arch.h"

const struct arch arch_granite = {
    .name = "granite",
    .rope_style = MODEL_ROPE_PAIRS,
    .required = ARCH_CORE,
    .optional = ARCH_QKV_BIAS | ARCH_ROLE(MODEL_ATTN_OUTPUT_BIAS),
    .rope_factors = true,
    .scales = true,
};

const struct arch arch_granitemoe = {
    .name = "granitemoe",
    .rope_style = MODEL_ROPE_PAIRS,
    .required = ARCH_PRE_NORMS | ARCH_ATTENTION | ARCH_EXPERTS,
    .experts = true,
    .scales = true,
};
