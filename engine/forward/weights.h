/* The packed weights of a model: one region, made once. */
#ifndef ENGINE_FORWARD_WEIGHTS_H
#define ENGINE_FORWARD_WEIGHTS_H

#include <stdint.h>

#include "engine/base/err.h"
#include "engine/forward/fwd.h"
#include "engine/forward/packed.h"
#include "engine/forward/team.h"
#include "models/model.h"
#include "simd/simd.h"

struct layer_weights {
    struct simd_weights q, k, v, attn_output, gate, up, down; /* the last three: dense layers */
    struct simd_weights router;                               /* [expert_count][dim] */
    struct simd_weights *gate_experts, *up_experts, *down_experts; /* [expert_count]; NULL: dense */
    /* Vectors; NULL: none. Rows of q and k (and so their biases and norms) are permuted such that
     * RoPE always turns (i, i + rope.dim / 2). */
    const float *attn_norm, *ffn_norm;             /* [dim] */
    const float *attn_post_norm, *ffn_post_norm;   /* [dim] of what the sub-layers add */
    const float *attn_output_bias;                 /* [dim] */
    const float *sinks;                            /* [head_count] */
    const float *router_bias;                      /* [expert_count] */
    const float *gate_experts_bias, *up_experts_bias; /* [expert_count][hidden] */
    const float *down_experts_bias;                /* [expert_count][dim] */
    const float *q_bias, *k_bias, *v_bias;         /* [rows of the matrix] */
    const float *q_norm, *k_norm;                  /* [head_dim], or [rows of the matrix] with qk_norm_whole */
};

struct weights {
    const uint8_t *region; /* of `cached`, or mem_map's */
    size_t region_bytes;
    struct packed_map cached; /* empty: packed here */
    struct layer_weights *layers; /* [layer_count] */
    struct simd_weights *experts; /* [layer_count * 3 * expert_count], the layers' */
    struct simd_weights output;   /* [vocab][dim] */
    const float *output_norm;     /* [dim] */
    enum simd_type embedding_type; /* of the rows in the file */
};

/* Of `config`: `recipe`, the format that float matrices are turned into; `packed_file`, where the
 * region is kept for the next time; `progress`. */
enum err weights_create(const struct model *model, const struct fwd_config *config,
                        struct team *team, struct weights *weights,
                        struct report *report) ERR_MUST_USE;
void weights_destroy(struct weights *weights);

/* Bytes of the region. 0 when a tensor's format has no kernel. */
uint64_t weights_bytes(const struct model *model, enum fwd_recipe recipe);

/* The row of the file that becomes row `row` of a matrix whose first rope_dim rows of every head turn
 * in pairs there; rope_dim 0: the same. */
uint32_t weights_source_row(uint32_t row, uint32_t head_dim, uint32_t rope_dim);

/* The kernel type of a tensor's format; false: none. */
bool weights_type(enum gguf_tensor_type format, enum simd_type *type);

#endif
