/* The one public face of the engine: open it on a model, install programs, launch them, turn the
 * loop, hear events.
 *
 * All functions are to be called from one thread (the loop thread), except engine_wake. Nothing
 * here prints or exits. Ids of processes are UUID version 4 texts of 36 characters. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct engine;

enum { ENGINE_ID_BYTES = 37 }; /* 36 characters and a zero */

struct engine_config {
    const char *model_path;   /* a GGUF file or a folder of safetensors; NULL with `fake_model` */
    const char *quantize;     /* format of float weights in memory, e.g. "Q8_0"; NULL = as stored */
    const char *model_name;   /* what runtime.models() lists; NULL = "default" */
    const char *adapter_path; /* a GGUF adapter (LoRA) for every forward pass that names none; NULL */
    const char *adapters_dir; /* where inferlets may load adapters from; NULL = nowhere */
    bool fake_model;          /* backend/fake: deterministic tokens without a model, for tests */
    const char *programs_dir; /* installed programs: NAME/VERSION.{wasm,toml}; NULL = none */
    const char *standard_programs_dir; /* the same, read-only, looked at after it; NULL = none */
    const char *cache_dir;    /* which components were accepted before; NULL = nothing is remembered */
    bool packed_cache;        /* keep the packed weights in cache_dir: the next start only reads them */
    uint32_t threads;         /* compute threads; 0 = as many as we may really use */
    uint32_t page_tokens;     /* tokens of a KV page; 0 = 32 */
    uint32_t page_count;      /* 0 = chosen from the memory that is there */
    uint32_t kv_bits;         /* of a number in the KV pages: 16 (F16; also 0) or 8 (Q8_0) */
    uint32_t batch_tokens_max;   /* rows of one step; 0 = default. Longer prompts are chunked */
    uint32_t batch_requests_max; /* 0 = 512 */
    uint64_t seed;            /* of samplers that a guest gives no seed; default 42 */
    uint64_t guest_memory_bytes_max; /* linear memory of one process; 0 = 4 GiB */
    uint64_t guest_fuel_max;  /* instructions a process may use in all; 0 = no limit */
    uint64_t guest_fuel_stall_max; /* instructions without any wait before it is killed as looping;
                                      0 = default (about 60 s), UINT64_MAX = never */
    uint64_t token_budget;    /* tokens a process may feed through the model; 0 = no limit */
    uint32_t processes_max;   /* more wait in line; 0 = no limit */
    bool allow_fs;
    bool allow_network;
    /* Addresses that inferlets may talk to when they have a network (wasi_net_create);
     * NULL = all. */
    const char *network_rules;
    /* Called while the model is packed; `done` of `total` bytes. May be NULL. */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
};

/* Sane defaults for every field. */
struct engine_config engine_config_default(void);

enum err engine_open(const struct engine_config *config, struct engine **engine,
                     struct report *report) ERR_MUST_USE;
/* Ends all processes (no events are sent) and frees everything. NULL is allowed. */
void engine_close(struct engine *engine);

/* ---- programs ---------------------------------------------------------------------------- */

/* Installs a program in memory (and in programs_dir when `persist`): `manifest` is the Pie.toml
 * text. The component is decoded, validated and its imports are checked now. `id` receives
 * "name@version" (at most 256 bytes). An existing id is replaced only with `force`. */
enum err engine_program_add(struct engine *engine, const char *manifest, size_t manifest_bytes,
                            const uint8_t *wasm, size_t wasm_bytes, bool force, bool persist,
                            char id[256], struct report *report) ERR_MUST_USE;

/* Resolves "name" (newest installed version), "name@latest" or "name@1.2.3" to an id, in memory
 * or in programs_dir. ERR_NOT_FOUND lists what is installed. */
enum err engine_program_find(struct engine *engine, const char *name, char id[256],
                             struct report *report) ERR_MUST_USE;

/* ---- processes --------------------------------------------------------------------------- */

enum engine_event_kind {
    ENGINE_EVENT_STDOUT,  /* bytes the guest wrote */
    ENGINE_EVENT_STDERR,
    ENGINE_EVENT_MESSAGE, /* session.send */
    ENGINE_EVENT_FILE,    /* session.send-file */
    ENGINE_EVENT_RETURN,  /* run() gave ok; the last event */
    ENGINE_EVENT_ERROR,   /* run() gave err, or a trap, a kill, a link error; the last event */
};

struct engine_event {
    enum engine_event_kind kind;
    const char *process_id;
    const char *data; /* borrowed; not zero-terminated */
    size_t bytes;
};

/* Called from engine_turn. May call engine_launch, _signal and _terminate. */
typedef void (*engine_event_fn)(void *user, const struct engine_event *event);

struct engine_launch {
    const char *program;  /* id as from engine_program_find / _add */
    const char *input;    /* passed to run(); normally JSON */
    size_t input_bytes;
    const char *username; /* NULL = "local" */
    uint64_t token_budget; /* 0 = the config's */
    uint64_t seed;        /* 0 = the config's */
    engine_event_fn on_event; /* NULL: output is dropped */
    void *user;
};

/* Creates the process; it runs in the following turns. `id` must be released by nobody: it is
 * text. */
enum err engine_launch(struct engine *engine, const struct engine_launch *launch,
                       char id[ENGINE_ID_BYTES], struct report *report) ERR_MUST_USE;
/* Puts a message into the process's inbox (session.receive). ERR_NOT_FOUND. */
enum err engine_signal(struct engine *engine, const char *id, const char *message, size_t bytes,
                       struct report *report) ERR_MUST_USE;
/* Sends a file to the process (session.receive-file). */
enum err engine_send_file(struct engine *engine, const char *id, const void *data, size_t bytes,
                          struct report *report) ERR_MUST_USE;
/* Ends a process with the error "Signal". */
enum err engine_terminate(struct engine *engine, const char *id,
                          struct report *report) ERR_MUST_USE;

/* One turn of the loop: waits at most `timeout_ms` (-1 = until something happens, 0 = no wait)
 * when nothing is ready, then does a bounded amount of work. Returns how many processes live. */
size_t engine_turn(struct engine *engine, int timeout_ms);

/* Makes a waiting engine_turn return. From any thread, also from signal handlers. */
void engine_wake(struct engine *engine);

/* ---- facts ------------------------------------------------------------------------------- */

struct engine_stats {
    uint64_t processes_alive, processes_started;
    uint64_t steps, step_tokens; /* batches run and rows in them */
    uint32_t pages_total, pages_used, pages_peak, page_tokens;
    uint64_t weight_bytes, kv_bytes;      /* resident, packed weights / page memory */
    uint64_t guest_bytes;        /* linear memories of live guests */
    uint64_t guest_overhead_bytes;
    uint64_t fuel_used;
    uint64_t step_ns;            /* time the backend computed */
};
struct engine_stats engine_stats(const struct engine *engine);

/* What this machine lets us use. */
struct engine_machine {
    uint32_t threads;          /* CPUs by affinity and cgroup cpu.max, at least 1 */
    uint64_t memory_total;     /* bytes; of the cgroup when it has a limit */
    uint64_t memory_available; /* bytes that can be had without swapping;
                                  both UINT64_MAX when the system does not say */
    const char *simd;          /* instruction set of the kernels: "scalar", "avx2", ... */
};
struct engine_machine engine_machine(void);

#endif
