/* WASI 0.2 (cli, io, clocks, random, filesystem, sockets; http refuses politely) and the part
 * of preview 1 that C programs need, for any embedder.
 *
 *     binding   how WASI's functions find the context of the instance that calls: given once, when
 *               they are put into a linker
 *     context   one instance's arguments, environment, standard streams, files and exit status
 *     pollable  something that a guest can wait for: a clock, a stream, or the embedder's own
 *
 * Nothing here blocks a thread. A function that must wait (poll, block, blocking-read) makes
 * comp_instance_run return WASM_RUN_WAIT; when the instance is run again it looks again. An event
 * loop therefore does this, once for a process that said WAIT:
 *
 *     at = wasi_wait_deadline_ns(ctx)   UINT64_MAX, or when to run it again at the latest
 *     ...an object of the embedder becomes ready, or `at` has come...
 *     comp_instance_run(instance, fuel) looks at what it waits for, and goes on or waits again
 *
 * The embedder knows which process an object belongs to and marks that process runnable: a wakeup
 * costs no search. wasi_wait_ready tells beforehand whether running would be in vain. */
#ifndef INTERP_WASI_WASI_H
#define INTERP_WASI_WASI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

struct comp_linker;
struct wasi_ctx;

/* ---- registration ------------------------------------------------------------------------ */

struct wasi_binding {
    /* The context of the instance whose comp_instance_host is `host`. Never NULL. */
    struct wasi_ctx *(*ctx_of)(void *host);
};

/* Defines all of WASI in the linker: the components' interfaces wasi:PACKAGE/INTERFACE@0.2 and
 * the core module wasi_snapshot_preview1. `binding` is borrowed until the linker is destroyed.
 * Resources that others may name in types: wasi:io/poll.pollable, wasi:io/error.error,
 * wasi:io/streams.input-stream, wasi:io/streams.output-stream. */
enum err wasi_register(struct comp_linker *linker, struct wasi_binding *binding,
                       struct report *report) ERR_MUST_USE;

/* ---- contexts ---------------------------------------------------------------------------- */

enum wasi_output { WASI_STDOUT = 1, WASI_STDERR = 2 };

/* What the embedder does for a context; every callback may be NULL. */
struct wasi_host {
    /* Takes all the bytes. NULL drops them. */
    void (*write)(void *user, enum wasi_output output, const char *data, size_t bytes);
    uint64_t (*monotonic_ns)(void *user);                   /* NULL: clock_now_ns */
    uint64_t (*wall_ns)(void *user);                        /* NULL: clock_wall_ns */
    void (*random)(void *user, uint8_t *out, size_t bytes); /* NULL: the system's */
    /* Something that the guest may wait for has happened on the network: run it again. */
    void (*wake)(void *user);
    void *user;
};

/* ---- network ----------------------------------------------------------------------------- */

/* The sockets of any number of contexts of one thread. Name lookups run on threads of their own. */
struct wasi_net;

/* `rules` say to which addresses guests may bind, connect and send: "*" for all, or any number,
 * separated by commas or spaces, of
 *     ADDRESS[/BITS][:PORT[-LAST]]      an IPv6 address with a port in brackets: [::1]:80
 * Names are looked up whatever the rules say. ERR_INVALID names the rule that is wrong. */
enum err wasi_net_create(const char *rules, struct wasi_net **net,
                         struct report *report) ERR_MUST_USE;
/* After all contexts that use it. */
void wasi_net_destroy(struct wasi_net *net);
/* Readable (for poll) when wasi_net_dispatch has something to do. */
int wasi_net_fd(const struct wasi_net *net);
/* Moves bytes, and wakes (struct wasi_host) the contexts for which something happened. */
void wasi_net_dispatch(struct wasi_net *net);

struct wasi_preopen {
    const char *guest_path; /* "/scratch" */
    const char *host_path;  /* an existing directory */
    bool writable;
};

struct wasi_config {
    struct wasi_host host;
    struct mem_heap *heap; /* for everything a guest makes here; borrowed; NULL = the engine's */
    const char *const *args;        /* [arg_count]; copied, like everything below */
    size_t arg_count;
    const char *const *environment; /* [environment_count], "NAME=value" */
    size_t environment_count;
    const struct wasi_preopen *preopens;
    size_t preopen_count;
    struct wasi_net *net; /* borrowed; NULL: the network is denied */
    bool stdin_open; /* bytes will come by wasi_stdin_feed; otherwise stdin is at its end */
};

/* `config` may be NULL. ERR_MEMORY; ERR_NOT_FOUND when a preopen is not a directory. */
enum err wasi_ctx_create(const struct wasi_config *config, struct wasi_ctx **ctx,
                         struct report *report) ERR_MUST_USE;
/* After the instance is destroyed (its resources still use the context while they are dropped). */
void wasi_ctx_destroy(struct wasi_ctx *ctx);

/* True when the guest called exit; the instance's run has then ended in WASM_RUN_TRAP. */
bool wasi_exit_status(const struct wasi_ctx *ctx, uint32_t *status);

/* More bytes for stdin (copied). False when memory is out. Then mark the process runnable. */
bool wasi_stdin_feed(struct wasi_ctx *ctx, const void *data, size_t bytes)
    __attribute__((warn_unused_result));
void wasi_stdin_close(struct wasi_ctx *ctx);

/* ---- waiting ----------------------------------------------------------------------------- */

/* Both speak of the wait that made comp_instance_run return WASM_RUN_WAIT, if it was one of
 * WASI's; if a host function of the embedder waits they say "not ready" and UINT64_MAX. */
bool wasi_wait_ready(const struct wasi_ctx *ctx);
/* On the context's monotonic clock. */
uint64_t wasi_wait_deadline_ns(const struct wasi_ctx *ctx);

/* ---- pollables of the embedder ----------------------------------------------------------- */

struct wasi_pollable;

struct wasi_pollable_ops {
    /* Cheap, no side effects; once true it stays true, or the guest may miss it. */
    bool (*ready)(void *object);
    /* The guest dropped the pollable: give back the reference that it held. May be NULL. */
    void (*drop)(void *object);
};

/* A new pollable over `object`, to be returned to the guest: comp_own(pollable) as
 * own<wasi:io/poll.pollable>. It is the guest's from then on. `ops` is borrowed. NULL when memory
 * is out (drop has not been called). An object may have many. */
struct wasi_pollable *wasi_pollable_create(struct wasi_ctx *ctx,
                                           const struct wasi_pollable_ops *ops, void *object);
/* For a pollable that never reached the guest. */
void wasi_pollable_destroy(struct wasi_pollable *pollable);

#endif
