/* Sockets of one context, below the WIT functions of sockets.c. Private to interp/wasi.
 *
 * Invariants: every open fd is in the net's epoll set, edge-triggered, with its socket as data;
 * `ready` questions ask the kernel anew (poll), so an edge that nobody waited for is not missed.
 * Bytes that the kernel did not take lie in `out`; wasi_net_dispatch sends them on. A socket lives
 * as long as its resource, its streams and their pollables. */
#ifndef INTERP_WASI_NET_H
#define INTERP_WASI_NET_H

#include <netinet/in.h>

#include "interp/wasi/ctx.h"

enum wasi_socket_state {
    WASI_SOCKET_UNBOUND, WASI_SOCKET_BINDING, WASI_SOCKET_BOUND, WASI_SOCKET_LISTEN_STARTED,
    WASI_SOCKET_LISTENING, WASI_SOCKET_CONNECTING, WASI_SOCKET_CONNECTED, WASI_SOCKET_FAILED,
};

struct wasi_socket {
    struct wasi_ctx *ctx;
    int fd;
    uint32_t refs;
    enum wasi_socket_state state;
    bool is_v6, is_datagram;
    uint32_t backlog;
    uint64_t send_permit; /* datagrams that check-send allowed */
    bool has_remote;      /* of a datagram socket */
    struct {
        uint8_t *items;
        size_t count, capacity;
    } out;
    size_t out_at;
    int out_error; /* errno of a send behind the guest's back */
};

/* A new socket with one reference. Errors as negative errno. */
int wasi_socket_create(struct wasi_ctx *ctx, bool is_v6, bool is_datagram,
                       struct wasi_socket **socket);
/* Takes `fd`, also when it fails. */
int wasi_socket_adopt(struct wasi_ctx *ctx, int fd, bool is_v6, bool is_datagram,
                      struct wasi_socket **socket);
void wasi_socket_unref(struct wasi_socket *socket);

/* What the net's rules say. */
bool wasi_net_allows(const struct wasi_net *net, const struct sockaddr_storage *address);

/* Whether poll(2) finds one of `events` (or an error or end) now. */
bool wasi_socket_polls(const struct wasi_socket *socket, short events);

/* The two streams of a connected socket; each takes a reference. */
extern const struct wasi_input_ops wasi_socket_input;
extern const struct wasi_out_ops wasi_socket_out;

/* A name being looked up. */
struct wasi_lookup;
/* Negative errno: EMFILE when too many are under way. */
int wasi_lookup_start(struct wasi_ctx *ctx, const char *name, size_t bytes,
                      struct wasi_lookup **lookup);
void wasi_lookup_drop(void *host, void *lookup);
bool wasi_lookup_ready(const struct wasi_lookup *lookup);
/* A pollable's: it keeps the lookup, which the guest may drop before. */
void wasi_lookup_ref(struct wasi_lookup *lookup);
bool wasi_lookup_pollable_ready(void *lookup);
void wasi_lookup_pollable_drop(void *lookup);
/* Next address: 1 and *address; 0 at the end; 2 while it runs; else EAI_..., which is negative. */
int wasi_lookup_next(struct wasi_lookup *lookup, struct sockaddr_storage *address);
struct wasi_ctx *wasi_lookup_ctx(const struct wasi_lookup *lookup);

#endif
