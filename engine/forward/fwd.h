/* The transformer, top to bottom, and the bytes of the KV pages.
 *
 * The only home of OpenMP. Weights are packed once at fwd_create; a step (`struct batch`) is one
 * parallel region. The bits of a row's result depend on the model, the row's own tokens,
 * positions and mask, and on nothing else: not on threads, the batch around it, how a prompt was
 * cut into steps, or the instruction set (simd/simd.h).
 *
 * One fwd is used by one thread at a time. */
#ifndef ENGINE_FORWARD_FWD_H
#define ENGINE_FORWARD_FWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/batch/batch.h"
#include "engine/forward/recipe.h"

struct model;
struct simd_table;
struct fwd;

/* `done` of `total` bytes of weights are packed; called from the creating thread. */
typedef void (*fwd_progress)(void *user, uint64_t done, uint64_t total);

struct fwd_config {
    uint32_t threads;     /* 0: fwd_threads_default() */
    uint32_t page_tokens; /* 16, 32, 64, 128 or 256 */
    uint32_t page_count;  /* KV pages for all layers together */
    uint32_t kv_bits;     /* of a number in the KV pages: 16 (F16; also 0) or 8 (Q8_0) */
    const struct simd_table *simd; /* NULL: simd_table_get() */
    enum fwd_recipe recipe; /* what float weights are turned into; 0: they stay */
    /* A file of packed weights: taken from it if it fits, else packed and written to it (a file that
     * cannot be written is only logged). NULL: none. See engine/forward/packed.h. */
    const char *packed_file;
    fwd_progress progress; /* may be NULL */
    void *progress_user;
};

/* What a step computed; borrowed until the next fwd_run or fwd_destroy. One entry per sampler of
 * the batch, in its order. Samplers of the same row share one array. */
struct fwd_output {
    const float *const *logits;     /* [samplers][vocab_count]; NULL for BATCH_EMBEDDING */
    const float *const *embeddings; /* [samplers][dim], after the output norm; NULL for the others */
    uint32_t count;
};

/* CPUs this process may really use: affinity mask and cgroup v2 cpu.max, at least 1. */
uint32_t fwd_threads_default(void);

/* Bytes that fwd_create will take for packed weights and for one KV page (0: kv_bits or
 * page_tokens are not possible). */
uint64_t fwd_weight_bytes(const struct model *model, enum fwd_recipe recipe);
uint64_t fwd_page_bytes(const struct model *model, uint32_t kv_bits, uint32_t page_tokens);

/* Packs the weights and allocates the pages (zeroed). `model` is borrowed until fwd_destroy: rows
 * of the embedding are read from its file. Fails with ERR_UNSUPPORTED for tensor formats without a
 * kernel (naming the tensor) and with ERR_MEMORY. */
enum err fwd_create(const struct model *model, const struct fwd_config *config, struct fwd **fwd,
                    struct report *report) ERR_MUST_USE;
void fwd_destroy(struct fwd *fwd);

/* Adapters (LoRA), for the rows of a batch that name their ids. */
enum { FWD_ADAPTERS_MAX = 64 };

/* Reads a GGUF adapter made for this model. It stays until fwd_destroy, since rows that were computed
 * with it may have to be computed again. `*id` is 0, 1, ... May be called while another thread is in
 * fwd_run; not by two threads at once. Errors name the tensor: ERR_UNSUPPORTED for adapters of
 * matrices that cannot have one here (embeddings, the output, experts), ERR_LIMIT for too many. */
enum err fwd_adapter_load(struct fwd *fwd, const char *path, int64_t *id,
                          struct report *report) ERR_MUST_USE;
/* The same over bytes in memory, not kept. */
enum err fwd_adapter_load_memory(struct fwd *fwd, const uint8_t *data, size_t bytes, int64_t *id,
                                 struct report *report) ERR_MUST_USE;

/* Computes a step. The batch must pass batch_check. Fails only when memory for the step's
 * buffers cannot be had; then the pages of the batch's rows hold nothing useful. */
enum err fwd_run(struct fwd *fwd, const struct batch *batch, struct fwd_output *output,
                 struct report *report) ERR_MUST_USE;

/* Runs work(user, index) for every index below `count` on the team's threads, in no order, and
 * returns when all are done. For work between steps that is heavy per row: sampling. */
void fwd_parallel(struct fwd *fwd, uint32_t count, void (*work)(void *user, uint32_t index),
                  void *user);

uint32_t fwd_thread_count(const struct fwd *fwd);
/* The instruction set in use: "scalar", "avx2", "avx512", "vnni", "amx". */
const char *fwd_simd_name(const struct fwd *fwd);

#endif
