/* A WASI context and what its packages share. Private to interp/wasi. */
#ifndef INTERP_WASI_CTX_H
#define INTERP_WASI_CTX_H

#include "engine/base/arena.h"
#include "engine/base/vec.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"

/* ---- waiting ----------------------------------------------------------------------------- */

struct wasi_pollable {
    struct wasi_ctx *ctx;
    const struct wasi_pollable_ops *ops; /* NULL: a clock */
    void *object;
    uint64_t deadline_ns;                /* of a clock; 0 is always ready */
};

bool wasi_pollable_ready(const struct wasi_pollable *pollable);
struct wasi_pollable *wasi_pollable_at(struct wasi_ctx *ctx, uint64_t deadline_ns);

/* What the instance waits for now: any of these. */
struct wasi_wait {
    bool is_waiting;
    bool (*ready)(void *object); /* one thing that is no pollable; may be NULL */
    void *object;
    uint64_t deadline_ns;
    struct {
        struct wasi_pollable **items;
        size_t count, capacity;
    } pollables;
};

/* ---- resources --------------------------------------------------------------------------- */

enum wasi_stream_kind {
    WASI_STREAM_STANDARD, WASI_STREAM_FILE, WASI_STREAM_OBJECT, WASI_STREAM_DROPPED,
};

/* What reads, writes and states of streams answer beside counts: 0 is "not yet", errors are
 * negative errno. */
enum { WASI_CLOSED = INT32_MIN };

/* A stream over something else: a socket, a body. */
struct wasi_input_ops {
    bool (*ready)(void *object); /* read has an answer other than "not yet" */
    /* Bytes taken (at most `bytes` > 0), 0, WASI_CLOSED or an error. */
    int64_t (*read)(void *object, uint8_t *out, size_t bytes);
    void (*drop)(void *object);
};
struct wasi_out_ops {
    /* How many bytes `write` takes now; 0, WASI_CLOSED or an error. */
    int64_t (*room)(void *object);
    /* Takes all of them (at most `room`): 0, or an error. */
    int (*write)(void *object, const uint8_t *data, size_t bytes);
    /* 1 when all that was written is gone; 0, WASI_CLOSED or an error. */
    int (*flushed)(void *object);
    void (*drop)(void *object);
};

struct wasi_input {
    struct wasi_ctx *ctx;
    enum wasi_stream_kind kind;
    uint32_t refs;   /* pollables of it */
    int fd;          /* FILE: own duplicate */
    uint64_t offset; /* FILE */
    const struct wasi_input_ops *ops; /* OBJECT */
    void *object;
};

struct wasi_out {
    struct wasi_ctx *ctx;
    enum wasi_stream_kind kind;
    uint32_t refs;           /* pollables of it */
    enum wasi_output output; /* STANDARD */
    int fd;                  /* FILE: own duplicate */
    bool is_append;
    uint64_t offset;
    const struct wasi_out_ops *ops; /* OBJECT */
    void *object;
};

struct wasi_error {
    struct wasi_ctx *ctx;
    int number; /* errno */
};

struct wasi_directory {
    char *guest_path;
    int fd;
    bool writable;
};

struct wasi_ctx {
    struct wasi_host host;
    struct mem_heap *heap;
    struct arena strings; /* arguments and environment */
    const char **args, **environment;
    size_t arg_count, environment_count, preopen_count;
    struct wasi_directory *preopens;
    struct {
        char *items;
        size_t count, capacity;
    } input;
    size_t input_at; /* bytes of `input` already read */
    bool input_closed;
    struct wasi_wait wait;
    struct wasi_net *net; /* NULL: denied */
    uint32_t socket_count;
    bool has_exited;
    uint32_t exit_status;
};

uint64_t wasi_now_ns(const struct wasi_ctx *ctx);
uint64_t wasi_wall_ns(const struct wasi_ctx *ctx);
void wasi_fill_random(const struct wasi_ctx *ctx, uint8_t *out, size_t bytes);
void wasi_put(const struct wasi_ctx *ctx, enum wasi_output output, const char *data, size_t bytes);
void wasi_exit(struct wasi_ctx *ctx, uint32_t status);
/* Bytes that stdin has now. */
size_t wasi_stdin_left(const struct wasi_ctx *ctx);
/* True when a read of stdin has an answer; `ctx` is a context. */
bool wasi_stdin_ready(void *ctx);
/* Takes up to `bytes` of them. */
size_t wasi_stdin_take(struct wasi_ctx *ctx, void *out, size_t bytes);

/* ---- host functions ---------------------------------------------------------------------- */

struct wasi_ctx *wasi_ctx_of(const struct comp_host_call *call, void *binding);

/* Starts to wait; what is waited for is added to ctx->wait by the caller. The wait ends by itself
 * when the function returns anything else, which it does through wasi_wait_end. */
void wasi_wait_begin(struct wasi_ctx *ctx);
void wasi_wait_end(struct wasi_ctx *ctx);
/* Marks the activation so that an abandoned wait is forgotten; returns COMP_HOST_WAIT. */
enum comp_host_result wasi_wait_return(struct comp_host_call *call, struct wasi_ctx *ctx);

/* Results: `return wasi_ok(call, result, &value)`; value may be NULL. */
enum comp_host_result wasi_ok(struct comp_host_call *call, struct comp_value *result,
                              const struct comp_value *value);
enum comp_host_result wasi_err(struct comp_host_call *call, struct comp_value *result,
                               const struct comp_value *value);
/* ok(own) of a new resource (NULL: no memory), dropped again when there is no memory for that. */
enum comp_host_result wasi_ok_own(struct comp_host_call *call, struct comp_value *result,
                                  void *rep, comp_resource_drop drop);
enum comp_host_result wasi_no_memory(struct comp_host_call *call);

struct wasi_func {
    const char *interface, *name, *type;
    comp_host_fn fn;
};
/* `binding` becomes every function's user. */
enum err wasi_define(struct comp_linker *linker, const struct wasi_func *funcs, size_t count,
                     struct wasi_binding *binding, struct report *report) ERR_MUST_USE;

/* One per file: resources first, then functions. */
enum err wasi_io_register(struct comp_linker *linker, struct wasi_binding *binding,
                          struct report *report) ERR_MUST_USE;
enum err wasi_cli_register(struct comp_linker *linker, struct wasi_binding *binding,
                           struct report *report) ERR_MUST_USE;
enum err wasi_clocks_register(struct comp_linker *linker, struct wasi_binding *binding,
                              struct report *report) ERR_MUST_USE;
enum err wasi_random_register(struct comp_linker *linker, struct wasi_binding *binding,
                              struct report *report) ERR_MUST_USE;
enum err wasi_filesystem_register(struct comp_linker *linker, struct wasi_binding *binding,
                                  struct report *report) ERR_MUST_USE;
enum err wasi_sockets_register(struct comp_linker *linker, struct wasi_binding *binding,
                               struct report *report) ERR_MUST_USE;
enum err wasi_http_register(struct comp_linker *linker, struct wasi_binding *binding,
                            struct report *report) ERR_MUST_USE;
enum err wasi_preview1_register(struct comp_linker *linker, struct wasi_binding *binding,
                                struct report *report) ERR_MUST_USE;

/* Waits until `ready(object)`; what COMP_HOST_WAIT waits for. */
enum comp_host_result wasi_wait_object(struct comp_host_call *call, struct wasi_ctx *ctx,
                                       bool (*ready)(void *object), void *object);

/* io.c: NULL when memory is out. An OBJECT stream's `ops` and `object` are set by the caller. */
struct wasi_input *wasi_input_create(struct wasi_ctx *ctx, enum wasi_stream_kind kind);
struct wasi_out *wasi_out_create(struct wasi_ctx *ctx, enum wasi_stream_kind kind);
void wasi_input_drop(void *host, void *rep);
void wasi_out_drop(void *host, void *rep);

#endif
