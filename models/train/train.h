/* The trainer of the default model: writes its own text (corpus.h), learns a vocabulary from it
 * (bpe.h), trains a small llama on it (net.h) and saves a GGUF file that stands alone.
 *
 * A configuration and seed give the same file, byte for byte, for any thread count and on any CPU
 * (ops.h says why). Without fused multiply-add in hardware it takes hours. */
#ifndef MODELS_TRAIN_TRAIN_H
#define MODELS_TRAIN_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct train_bpe;
struct train_net;

struct train_config {
    uint64_t seed;
    uint32_t threads; /* 0: as many as there are CPUs; changes the time, not the result */
    uint32_t steps;
    uint32_t shards, shard_tokens; /* a step learns from `shards` batches of about `shard_tokens` */
    uint32_t document_max;         /* longer documents are left out */
    uint32_t vocab, dim, layers, heads, kv_heads, hidden;
    uint32_t context; /* what the file states as its context length */
    float lr, beta2, decay, clip;
    float request_weight; /* what predicting the words of a user or system counts, next to 1 */
    uint32_t warmup_steps; /* the learning rate rises (over half the steps at most), then falls along a cosine */
};

/* The default model. */
struct train_config train_config_default(void);
/* A model for tests: the same format, trained in about a second, knows next to nothing. */
struct train_config train_config_tiny(void);

struct train_progress {
    uint32_t step, steps; /* step: how many are done */
    double loss;          /* nats per token, smoothed over the last steps */
    double tokens_per_second, seconds_left;
};

/* Called after every step, on the calling thread. False stops the training. */
typedef bool (*train_progress_fn)(void *user, const struct train_progress *progress);

/* Trains and saves at `path`, whole or not at all. `progress` may be NULL. ERR_CANCELLED when
 * `progress` said stop; ERR_INVALID for numbers that do not go together. */
enum err train_run(const struct train_config *config, train_progress_fn progress, void *user,
                   const char *path, struct report *report) ERR_MUST_USE;

/* The two halves of it, for those that look at the model itself. */
struct train_model {
    struct train_config config;
    struct train_bpe *bpe;
    struct train_net *net;
    double loss;
};
/* Free with train_model_deinit, after an error too. */
enum err train_model_init(struct train_model *model, const struct train_config *config,
                          train_progress_fn progress, void *user,
                          struct report *report) ERR_MUST_USE;
void train_model_deinit(struct train_model *model);
enum err train_model_save(const struct train_model *model, const char *path,
                          struct report *report) ERR_MUST_USE;

#endif
