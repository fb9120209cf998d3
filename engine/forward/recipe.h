/* Which format each tensor gets when a model is quantised: by file (engine/convert.c) or while it
 * is loaded (fwd_create). */
#ifndef ENGINE_FORWARD_RECIPE_H
#define ENGINE_FORWARD_RECIPE_H

#include <stdbool.h>

#include "models/model.h"

/* FWD_Q4_K_M is llama.cpp's mixture: Q6_K for the output matrix and, in the outer and every third
 * of the other layers, for V and the down projection. The others mean that format for every
 * matrix. Rows that do not fit the format's block fall back to Q8_0, and then to F16. Vectors
 * stay F32. */
enum fwd_recipe { FWD_AS_IS, FWD_F16, FWD_BF16, FWD_Q8_0, FWD_Q4_0, FWD_Q4_K, FWD_Q4_K_M, FWD_Q6_K };

/* "Q4_K_M", upper or lower case. */
bool fwd_recipe_find(const char *name, enum fwd_recipe *recipe);
/* All names, with spaces between them. */
const char *fwd_recipe_names(void);

enum gguf_tensor_type fwd_recipe_type(enum fwd_recipe recipe, const struct model *model,
                                      const struct gguf_tensor *tensor);

#endif
