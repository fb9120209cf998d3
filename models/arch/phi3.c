/* Phi 3, 3.5 and 4: one matrix for q, k and v and one for gate and up; factors on the frequencies
 * for long contexts (LongRoPE). */
#include "models/arch/arch.h"

const struct arch arch_phi3 = {
    .name = "phi3",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_PRE_NORMS | ARCH_ROLE(MODEL_QKV) | ARCH_ROLE(MODEL_ATTN_OUTPUT) |
                ARCH_ROLE(MODEL_GATE_UP) | ARCH_ROLE(MODEL_DOWN),
    .rope_factors_by_context = true,
    .window = true,
};
