/* Llama 1 to 3.x, and the many models that were exported under its name (Mistral, Mixtral, SmolLM,
 * ...). GGUF exports store the rows of q and k permuted for turning neighbouring pairs. */
#include "models/arch/arch.h"

const struct arch arch_llama = {
    .name = "llama",
    .rope_style = MODEL_ROPE_PAIRS,
    .required = ARCH_CORE,
    .optional = ARCH_QKV_BIAS | ARCH_ROLE(MODEL_ATTN_OUTPUT_BIAS),
    .rope_factors = true,
    .experts = true,
    .window = true,
};
