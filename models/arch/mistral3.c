/* Mistral 3 and Ministral: a llama whose attention grows sharper far from the beginning. */
#include "models/arch/arch.h"

const struct arch arch_mistral3 = {
    .name = "mistral3",
    .rope_style = MODEL_ROPE_PAIRS,
    .required = ARCH_CORE,
    .optional = ARCH_QKV_BIAS | ARCH_ROLE(MODEL_ATTN_OUTPUT_BIAS),
    .rope_factors = true,
    .experts = true,
    .window = true,
};
