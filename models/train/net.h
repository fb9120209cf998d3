/* The network that is trained: a llama (RMSNorm, RoPE on neighbouring pairs, grouped queries,
 * SwiGLU, embedding and output tied) in F32, its gradient by hand, and AdamW.
 *
 * A batch is whole documents laid end to end; attention never crosses from one into another.
 * Threads take whole batches (a step sums the gradients of several), so nothing depends on their
 * number and they meet only twice per step. */
#ifndef MODELS_TRAIN_NET_H
#define MODELS_TRAIN_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct train_shape {
    uint32_t vocab, dim, layers, heads, kv_heads, head_dim, hidden;
    float rope_base, norm_eps;
};

/* One weight tensor: rows [row_count, column_count] at `params + offset`. Gains have one row. */
struct train_group {
    char name[32]; /* as GGUF's llama architecture calls it, "blk.0.attn_q.weight" */
    size_t offset, rows, columns;
    bool decays; /* weight decay applies: matrices, not gains */
};

struct train_batch {
    const uint32_t *tokens; /* [count], borrowed */
    const float *weights;   /* [count]: how much it matters to predict tokens[i]; NULL: 1 each */
    size_t count;
    const size_t *begins;   /* [documents + 1]: document i is [begins[i], begins[i + 1]) */
    size_t documents;
};

struct train_crew;

/* Parameters and optimiser state. */
struct train_net;

/* Random parameters for `seed`. ERR_INVALID when the shape makes no sense (head_dim odd, kv_heads
 * not a divisor of heads). */
enum err train_net_create(const struct train_shape *shape, uint64_t seed, struct train_net **net,
                          struct report *report) ERR_MUST_USE;
void train_net_destroy(struct train_net *net);

const struct train_shape *train_net_shape(const struct train_net *net);
size_t train_net_param_count(const struct train_net *net);
float *train_net_params(struct train_net *net); /* [param_count], borrowed */
size_t train_net_group_count(const struct train_net *net);
const struct train_group *train_net_group(const struct train_net *net, size_t index);

struct train_step {
    float lr, beta1, beta2, decay, clip; /* clip: largest gradient norm; 0 = none */
};
/* One AdamW step along the sum of `gradient_count` gradients [param_count] each; gradients[0] is
 * overwritten with that sum. Returns its norm before clipping. */
double train_net_step(struct train_net *net, const struct train_step *step,
                      float *const *gradients, size_t gradient_count, struct train_crew *crew);

/* The activations of one batch: what one thread needs to compute with a net. The net is borrowed
 * and only read; several workers may compute at once. */
struct train_worker;

/* `tokens_max`, `document_max`: the largest batch and document to come. */
enum err train_worker_create(const struct train_net *net, size_t tokens_max, size_t document_max,
                             struct train_worker **worker, struct report *report) ERR_MUST_USE;
void train_worker_destroy(struct train_worker *worker);

/* The logits of every position: [batch->count, vocab], borrowed until the next call. */
const float *train_worker_forward(struct train_worker *worker, const struct train_batch *batch);

/* `scale` times the weighted sum of the next-token losses (nothing predicts a document's first
 * token), and its gradient [param_count], which is set. */
double train_worker_backward(struct train_worker *worker, const struct train_batch *batch,
                             float scale, float *gradient);

#endif
