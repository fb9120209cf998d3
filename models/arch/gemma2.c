/* Gemma 2: norms before and behind the sub-layers, soft caps on scores and logits, every second
 * layer windowed. GGUF exports store the norms' weights with 1 added. */
#include "models/arch/arch.h"

const struct arch arch_gemma2 = {
    .name = "gemma2",
    .rope_style = MODEL_ROPE_HALVES,
    .required = ARCH_CORE | ARCH_POST_NORMS,
    .embedding_sqrt = true,
    .softcaps = true,
    .activation = MODEL_GELU,
    .wide_scale_layers = 46, /* 27B */
    .window = true,
    .window_default = 4096,
    .window_period = 2,
};
