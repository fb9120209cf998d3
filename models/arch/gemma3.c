/* Gemma 3 (text): Gemma 2 with norms on q and k instead of soft caps; five of six layers are
 * windowed and turn with a base of their own. */
#include "models/arch/arch.h"

const struct arch arch_gemma3 = {
    .name = "gemma3",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_CORE | ARCH_POST_NORMS | ARCH_QK_NORMS,
    .embedding_sqrt = true,
    .softcaps = true,
    .activation = MODEL_GELU,
    .wide_scale_layers = 62, /* 27B */
    .window = true,
    .window_period = 6,
    .window_rope = ARCH_WINDOW_ROPE_BASE,
    .window_rope_base = 10000.0f,
};
