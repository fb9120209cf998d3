#include "engine/forward/recipe.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAMES "F16 BF16 Q8_0 Q4_0 Q4_K Q4_K_M Q6_K"

static const struct {
    const char *name;
    enum gguf_tensor_type type;
} recipes[] = {
    [FWD_F16] = {"F16", GGUF_TENSOR_F16},   [FWD_BF16] = {"BF16", GGUF_TENSOR_BF16},
    [FWD_Q8_0] = {"Q8_0", GGUF_TENSOR_Q8_0}, [FWD_Q4_0] = {"Q4_0", GGUF_TENSOR_Q4_0},
    [FWD_Q4_K] = {"Q4_K", GGUF_TENSOR_Q4_K}, [FWD_Q4_K_M] = {"Q4_K_M", GGUF_TENSOR_Q4_K},
    [FWD_Q6_K] = {"Q6_K", GGUF_TENSOR_Q6_K},
};

bool fwd_recipe_find(const char *name, enum fwd_recipe *recipe)
{
    for (unsigned i = FWD_F16; i <= FWD_Q6_K; i++)
        if (strcasecmp(name, recipes[i].name) == 0) {
            *recipe = (enum fwd_recipe)i;
            return true;
        }
    return false;
}

const char *fwd_recipe_names(void)
{
    return NAMES;
}

/* In the mixture: is this one of the tensors that get the finer format? */
static bool is_finer(const struct model *model, const struct gguf_tensor *tensor)
{
    char name[128];
    unsigned layer;
    int used = 0;
    uint32_t layers = model->hparams.layer_count;
    snprintf(name, sizeof name, "%.*s", tensor->name.bytes < 127 ? (int)tensor->name.bytes : 127,
             tensor->name.data);
    if (tensor == model->output)
        return true;
    if (sscanf(name, "blk.%4u.%n", &layer, &used) != 1 || used == 0)
        return false;
    return (strcmp(name + used, "attn_v.weight") == 0 ||
            strcmp(name + used, "ffn_down.weight") == 0) &&
           (layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2);
}

enum gguf_tensor_type fwd_recipe_type(enum fwd_recipe recipe, const struct model *model,
                                      const struct gguf_tensor *tensor)
{
    if (recipe == FWD_AS_IS || tensor->dim_count < 2)
        return tensor->type;
    enum gguf_tensor_type type = recipes[recipe].type;
    if (recipe == FWD_Q4_K_M && is_finer(model, tensor))
        type = GGUF_TENSOR_Q6_K;
    if (gguf_tensor_type_bytes(type, tensor->dims[0]) == 0)
        type = GGUF_TENSOR_Q8_0;
    return gguf_tensor_type_bytes(type, tensor->dims[0]) == 0 ? GGUF_TENSOR_F16 : type;
}
