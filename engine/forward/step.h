/* Inside the forward pass: one step under way, and what its phases share. */
#ifndef ENGINE_FORWARD_STEP_H
#define ENGINE_FORWARD_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/batch/batch.h"
#include "engine/forward/adapter.h"
#include "engine/forward/attention.h"
#include "engine/forward/fwd.h"
#include "engine/forward/pages.h"
#include "engine/forward/rope.h"
#include "engine/forward/team.h"
#include "engine/forward/weights.h"
#include "models/model.h"
#include "simd/simd.h"

struct fwd {
    const struct model *model; /* borrowed */
    const struct simd_table *simd;
    struct team *team;
    struct weights weights;
    struct pages pages;
    struct rope ropes[2];      /* of full layers; of windowed ones, where these differ */
    uint32_t rope_count;
    struct attention_scratch *scratch; /* [threads] */
    uint8_t *space;                    /* the buffers of a step, mem_map, grows */
    size_t space_bytes;
    struct fwd_adapter *adapters[FWD_ADAPTERS_MAX];
    _Atomic uint32_t adapter_count;    /* grows, while a step may be under way */
};

enum { STEP_LOW_SLOTS = 3 }; /* matrices that read the same input: q, k and v */

/* The expert layers' part of a step: `slots` are (row, chosen expert) pairs ordered by expert, then
 * by row. */
struct step_experts {
    float *router;          /* [N][router_stride] */
    uint32_t router_stride;
    uint32_t *chosen;       /* [N][used] experts of a row, best first */
    float *share;           /* [N][used] their weights */
    uint32_t *slot;         /* [N][used] */
    uint32_t *slot_row;     /* [slots] */
    uint32_t *begin;        /* [expert_count + 1] first slot of an expert */
    uint32_t *active;       /* [expert_count] experts with slots, ascending */
    uint32_t active_count;
    uint32_t slots;
    float *rows;                   /* [slots][dim] gathered, for weights that multiply with floats */
    uint8_t *acts[SIMD_ACT_COUNT]; /* [slots] gathered */
    float *out;                    /* [slots][dim] */
};

/* The buffers of one step, in fwd->space. Rows are padded to whole panels. */
struct step {
    struct fwd *fwd;
    const struct batch *batch;
    const struct model_hparams *h;
    uint32_t rows;                   /* N */
    uint32_t dim, q_dim, kv_dim, hidden, vocab; /* padded to SIMD_LANES: strides */
    float *x;                        /* [N][dim] residual stream */
    float *normed;                   /* [N][dim] */
    float *delta;                    /* [N][dim] what a sub-layer adds */
    float *q, *k, *v, *attn;         /* [N][q_dim], [N][kv_dim], [N][kv_dim], [N][q_dim] */
    float *gate, *up;                /* [N or slots][hidden] */
    float *cos[2], *sin[2];          /* [N][rope.half] for each of fwd->ropes */
    uint8_t *acts[SIMD_ACT_COUNT];   /* [N or slots] rows of int8 activations; not for F32 */
    uint32_t *row_request;           /* [N] */
    uint32_t *row_kv;                /* [N] KV index */
    uint32_t *item_begin;            /* [R + 1] attention chunks of rows before request r */
    struct step_experts *experts;    /* NULL: dense */

    const struct fwd_adapter **adapters;      /* [N] of a row, NULL: none; NULL: no row has one */
    const struct fwd_adapter **kept_adapters; /* [wanted] the same behind the last attention */
    float *low;                      /* [N][STEP_LOW_SLOTS][low_stride] inputs of B */
    uint32_t low_stride;

    uint32_t wanted_count;           /* rows that samplers look at */
    uint32_t *wanted;                /* [wanted] row, ascending */
    uint32_t *wanted_at;             /* [N] index in `wanted`, or UINT32_MAX */
    float *final;                    /* [wanted][dim] after the output norm */
    float *logits;                   /* [wanted][vocab] */
    bool any_logits;
    const float **out_logits, **out_embeddings; /* [samplers] */
};

/* Some rows of the step on their way through a sub-layer. */
struct step_rows {
    uint32_t count;
    const struct fwd_adapter *const *adapters; /* [count], NULL: none has one */
};

/* Rows of activations that matrix products read: floats, and their int8 forms. */
struct step_input {
    const float *rows;
    size_t stride; /* floats */
    uint32_t columns;
    uint8_t *const *acts; /* [SIMD_ACT_COUNT] */
};

/* One matrix with what belongs to it. */
struct step_product {
    const struct simd_weights *w;
    const float *bias; /* [w->rows] or NULL */
    uint32_t layer;
    enum model_role role; /* for adapters */
    float *y;
    size_t y_stride;
};

/* What a sub-layer computed and nobody has added to the residual stream yet. */
struct step_pending {
    bool delta, experts;    /* in step->delta; in step->experts */
    const float *post_norm; /* NULL: none */
};

size_t step_act_stride(enum simd_act act, uint32_t columns);

/* The int8 forms of row `row` that the products need. */
void step_quantize_row(const struct step *step, const struct step_input *in, uint32_t row,
                       const struct step_product *products, uint32_t count);

/* Panels [begin, end) of a product for rows [first, first + count) of the input; bias included. */
void step_multiply(const struct step *step, const struct step_input *in, uint32_t first,
                   uint32_t count, const struct step_product *product, uint32_t begin,
                   uint32_t end);

/* The output columns of panels [begin, end), cut at the matrix's last row. */
void step_columns(const struct simd_weights *w, uint32_t begin, uint32_t end, uint32_t *column,
                  uint32_t *count);

/* gate = activation(gate) * up */
void step_activate(const struct step *step, float *gate, const float *up, uint32_t count);

/* The feed-forward of layer `index` through experts, from step->normed to step->experts->out.
 * Begins behind a barrier and ends with one. */
void experts_run(const struct step *step, const struct worker *worker, uint32_t index,
                 uint32_t rows);

/* delta = the weighted sum of the row's experts. */
void experts_combine(const struct step *step, uint32_t row, float *delta);

/* Layer `index`. `before` is what the layer before left to be added; so does the return value. */
struct step_pending layer_run(const struct step *step, const struct worker *worker, uint32_t index,
                              struct step_pending before);

/* x += what is pending, for one row. */
void layer_settle(const struct step *step, struct step_pending pending, uint32_t row);

#endif
