/* OLMo 2 and 3: no norm before the sub-layers but one on what they add; q and k are normed over
 * all heads together. OLMo 3 (the same name in GGUF) has windows in three of four layers, which
 * turn without YaRN. */
#include "models/arch/arch.h"

const struct arch arch_olmo2 = {
    .name = "olmo2",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_POST_NORMS | ARCH_ATTENTION | ARCH_QK_NORMS | ARCH_DENSE,
    .qk_norm_whole = true,
    .window = true,
    .window_period = 4,
    .window_rope = ARCH_WINDOW_ROPE_UNSCALED,
};
