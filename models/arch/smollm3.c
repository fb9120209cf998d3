/* SmolLM 3: a llama in which every fourth layer has no position embedding (NoPE). */
#include "models/arch/arch.h"

const struct arch arch_smollm3 = {
    .name = "smollm3",
    .rope_style = MODEL_ROPE_PAIRS,
    .required = ARCH_CORE,
    .unturned_step = 4,
};
