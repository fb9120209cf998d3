/* The few functions any computer must offer. Three computers: `cpu` (this process), `fake`
 * (deterministic tokens without a model, and a truth machine for everything above), later `zmq`.
 *
 * One step is in flight at a time. The loop thread submits a batch and polls; the computer calls
 * `wake` from its own thread when the step is finished. */
#ifndef ENGINE_BACKEND_BACKEND_H
#define ENGINE_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/batch/batch.h"
#include "engine/forward/recipe.h"

struct model;

/* Called when a step has finished, from any thread, also from within backend_submit. Must only
 * wake the loop thread (write to an eventfd or the like). */
typedef void (*backend_wake_fn)(void *user);

struct backend_caps {
    const char *name;  /* "cpu", "fake"; static */
    const char *arch;  /* of the model: "llama", "fake"; lives as long as the backend */
    uint32_t vocab_count;
    uint32_t page_tokens, page_count;
    uint32_t tokens_max;   /* rows of one step */
    uint32_t requests_max; /* requests of one step */
    uint32_t embedding_count; /* floats of an embedding slot */
    uint64_t weight_bytes, kv_bytes; /* resident: packed weights, page memory */
};

struct backend;

/* Begins to compute a step. `batch` and all it borrows must stay unchanged, and `result` (which
 * was reset) untouched, until backend_poll says true. Never fails here: what goes wrong is in
 * result->failed. No step may be in flight. */
void backend_submit(struct backend *backend, const struct batch *batch,
                    struct batch_result *result);
/* True once when the step in flight has finished; its result may then be read. False when no
 * step is in flight. Never waits. */
bool backend_poll(struct backend *backend);
/* Waits until the step in flight, if any, has finished; backend_poll then says true. */
void backend_wait(struct backend *backend);
/* Loads an adapter (a GGUF file for the model); its id goes into a batch's rows. It stays as long as
 * the backend. A step may be in flight; loop thread. ERR_UNSUPPORTED: this computer has none. */
enum err backend_adapter_load(struct backend *backend, const char *path, int64_t *id,
                              struct report *report) ERR_MUST_USE;
const struct backend_caps *backend_caps(const struct backend *backend);
/* Time spent computing, all finished steps, in ns. Loop thread. */
uint64_t backend_busy_ns(const struct backend *backend);
/* Waits for a step in flight. NULL is allowed. */
void backend_destroy(struct backend *backend);

/* ---- cpu --------------------------------------------------------------------------------- */

struct backend_cpu_config {
    const struct model *model; /* borrowed: outlives the backend */
    uint32_t threads;      /* 0 = as many as we may use */
    uint32_t page_tokens;  /* 0 = 32 */
    uint32_t page_count;   /* 0 = chosen from the memory that is there */
    uint32_t kv_bits;      /* of a number in the KV pages: 16 (F16; also 0) or 8 (Q8_0) */
    uint32_t tokens_max;   /* 0 = 512 */
    uint32_t requests_max; /* 0 = 512 */
    enum fwd_recipe recipe; /* what float weights are turned into; 0: they stay */
    const char *packed_file; /* kept packed weights (struct fwd_config); NULL: none */
    backend_wake_fn wake; /* may be NULL */
    void *wake_user;
    void (*progress)(void *user, uint64_t done, uint64_t total); /* while packing; may be NULL */
    void *progress_user;
};

/* Packs the weights, makes the pages, starts the compute thread. */
enum err backend_cpu_create(const struct backend_cpu_config *config, struct backend **backend,
                            struct report *report) ERR_MUST_USE;

/* ---- fake -------------------------------------------------------------------------------- */

/* A pretend transformer of two layers whose "attention" is a sum of hashes. What a row gives
 * depends on the (token, position) of every KV entry that its mask sees, and on what those
 * entries saw when they were made: a wrong page table, a missing page copy, a wrong kv_before, a
 * replay with other masks all change the answer; a read of an entry that nobody wrote, or that
 * lies at another KV index, fails the step with a sentence. */
struct backend_fake_config {
    uint32_t vocab_count;  /* 0 = 256 */
    uint32_t page_tokens;  /* 0 = 32 */
    uint32_t page_count;   /* 0 = 1024 */
    uint32_t tokens_max;   /* 0 = 512 */
    uint32_t requests_max; /* 0 = 512 */
    bool threaded;         /* compute on a thread; else within backend_submit */
    uint32_t delay_us;     /* simulated duration of a step */
    uint32_t fail_every;   /* every nth step fails; 0 = none */
    backend_wake_fn wake; /* may be NULL */
    void *wake_user;
};

enum err backend_fake_create(const struct backend_fake_config *config, struct backend **backend,
                             struct report *report) ERR_MUST_USE;

/* ---- for implementations ----------------------------------------------------------------- */

struct backend_worker; /* backend.c: the thread, and the handing over */

struct backend_ops {
    /* Computes a step. On the compute thread, or within backend_submit without one. */
    void (*compute)(struct backend *backend, const struct batch *batch,
                    struct batch_result *result);
    /* NULL: no adapters. */
    enum err (*adapter_load)(struct backend *backend, const char *path, int64_t *id,
                             struct report *report);
    /* Frees the implementation and `backend` itself; the worker has stopped. */
    void (*destroy)(struct backend *backend);
};

/* First member of every implementation. */
struct backend {
    const struct backend_ops *ops;
    struct backend_caps caps;
    struct backend_worker *worker;
};

/* Fills backend->worker; ops and caps are set. */
enum err backend_worker_start(struct backend *backend, bool threaded, backend_wake_fn wake,
                              void *wake_user, struct report *report) ERR_MUST_USE;

#endif
