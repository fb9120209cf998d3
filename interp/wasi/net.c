#define _GNU_SOURCE
#include "interp/wasi/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interp/wasi/rules.h"

enum {
    SOCKETS_MAX = 256,        /* of one context */
    LOOKUPS_MAX = 16,         /* of one net, at a time: each is a thread */
    OUT_BYTES_MAX = 64 * 1024, /* waiting to be sent, of one socket */
    NAME_BYTES_MAX = 253,
    EVENTS = 64,
};

struct wasi_net {
    int epoll, bell; /* lookups ring */
    struct wasi_rules rules;
    struct {
        struct wasi_lookup **items;
        size_t count, capacity;
    } lookups; /* that guests hold */
};

/* ---- the net ------------------------------------------------------------------------------ */

enum err wasi_net_create(const char *rules, struct wasi_net **out, struct report *report)
{
    struct wasi_net *net = mem_calloc(NULL, 1, sizeof *net);
    if (!net)
        return err_set(report, ERR_MEMORY, "no memory for the network");
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    net->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (net->epoll < 0 || net->bell < 0 ||
        epoll_ctl(net->epoll, EPOLL_CTL_ADD, net->bell, &event) != 0) {
        enum err err = err_set(report, ERR_IO, "cannot watch sockets: %s", strerror(errno));
        wasi_net_destroy(net);
        return err;
    }
    enum err err = wasi_rules_read(rules, &net->rules, report);
    if (err) {
        wasi_net_destroy(net);
        return err;
    }
    *out = net;
    return ERR_OK;
}

bool wasi_net_allows(const struct wasi_net *net, const struct sockaddr_storage *address)
{
    return wasi_rules_allow(&net->rules, (const struct sockaddr *)address);
}

void wasi_net_destroy(struct wasi_net *net)
{
    if (!net)
        return;
    if (net->epoll >= 0)
        close(net->epoll);
    if (net->bell >= 0)
        close(net->bell);
    wasi_rules_free(&net->rules);
    vec_free(NULL, &net->lookups);
    mem_free(NULL, net);
}

int wasi_net_fd(const struct wasi_net *net)
{
    return net->epoll;
}

static void wake(const struct wasi_ctx *ctx)
{
    if (ctx->host.wake)
        ctx->host.wake(ctx->host.user);
}

/* Sends what waits, as far as the kernel takes it. */
static void drain(struct wasi_socket *socket)
{
    while (socket->out_at < socket->out.count && !socket->out_error) {
        ssize_t sent = send(socket->fd, socket->out.items + socket->out_at,
                            socket->out.count - socket->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (sent < 0)
            socket->out_error = errno;
        else
            socket->out_at += (size_t)sent;
    }
    socket->out.count = socket->out_at = 0;
}

void wasi_net_dispatch(struct wasi_net *net)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(net->epoll, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        struct wasi_socket *socket = events[i].data.ptr;
        if (socket) {
            if (socket->out.count)
                drain(socket);
            wake(socket->ctx);
            continue;
        }
        uint64_t rings;
        ssize_t got = read(net->bell, &rings, sizeof rings);
        (void)got;
        for (size_t l = 0; l < net->lookups.count; l++)
            if (wasi_lookup_ready(net->lookups.items[l]))
                wake(wasi_lookup_ctx(net->lookups.items[l]));
    }
}

/* ---- sockets ------------------------------------------------------------------------------ */

int wasi_socket_adopt(struct wasi_ctx *ctx, int fd, bool is_v6, bool is_datagram,
                      struct wasi_socket **out)
{
    struct wasi_socket *socket = NULL;
    int error = EMFILE;
    if (ctx->socket_count < SOCKETS_MAX) {
        socket = mem_calloc(ctx->heap, 1, sizeof *socket);
        error = ENOMEM;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = socket};
    if (!socket || epoll_ctl(ctx->net->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        error = socket ? errno : error;
        mem_free(ctx->heap, socket);
        close(fd);
        return -error;
    }
    *socket = (struct wasi_socket){.ctx = ctx, .fd = fd, .refs = 1, .is_v6 = is_v6,
                                   .is_datagram = is_datagram, .backlog = 128};
    ctx->socket_count++;
    *out = socket;
    return 0;
}

int wasi_socket_create(struct wasi_ctx *ctx, bool is_v6, bool is_datagram,
                       struct wasi_socket **out)
{
    int fd = socket(is_v6 ? AF_INET6 : AF_INET,
                    (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1;
    if (is_v6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (!is_datagram) /* a server that is started anew finds its port free */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return wasi_socket_adopt(ctx, fd, is_v6, is_datagram, out);
}

void wasi_socket_unref(struct wasi_socket *socket)
{
    if (--socket->refs > 0)
        return;
    close(socket->fd);
    vec_free(socket->ctx->heap, &socket->out);
    socket->ctx->socket_count--;
    mem_free(socket->ctx->heap, socket);
}

bool wasi_socket_polls(const struct wasi_socket *socket, short events)
{
    struct pollfd look = {.fd = socket->fd, .events = events};
    return poll(&look, 1, 0) > 0;
}

static bool input_ready(void *object)
{
    return wasi_socket_polls(object, POLLIN | POLLRDHUP);
}

static int64_t input_read(void *object, uint8_t *out, size_t bytes)
{
    const struct wasi_socket *socket = object;
    ssize_t got;
    do
        got = recv(socket->fd, out, bytes, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return got < 0 ? -errno : got ? got : WASI_CLOSED;
}

static void socket_drop(void *object)
{
    wasi_socket_unref(object);
}

const struct wasi_input_ops wasi_socket_input = {input_ready, input_read, socket_drop};

static int64_t out_room(void *object)
{
    struct wasi_socket *socket = object;
    if (socket->out.count)
        drain(socket);
    if (socket->out_error)
        return socket->out_error == EPIPE ? WASI_CLOSED : -socket->out_error;
    if (socket->out.count)
        return 0;
    return OUT_BYTES_MAX;
}

static int out_write(void *object, const uint8_t *data, size_t bytes)
{
    struct wasi_socket *socket = object;
    ssize_t sent;
    do
        sent = send(socket->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        socket->out_error = errno;
        return errno == EPIPE ? WASI_CLOSED : -errno;
    }
    size_t rest = bytes - (sent > 0 ? (size_t)sent : 0);
    if (rest == 0)
        return 0;
    if (!vec_reserve(socket->ctx->heap, &socket->out, rest))
        return -ENOMEM;
    memcpy(socket->out.items + socket->out.count, data + (bytes - rest), rest);
    socket->out.count += rest;
    return 0;
}

static int out_flushed(void *object)
{
    int64_t free = out_room(object);
    return free < 0 ? (int)free : free > 0;
}

const struct wasi_out_ops wasi_socket_out = {out_room, out_write, out_flushed, socket_drop};

/* ---- names -------------------------------------------------------------------------------- */

/* Shared by the guest's stream and the thread that looks it up; whoever lets go last frees it. The
 * thread writes `found` and `error` before it sets `done`. */
struct wasi_lookup {
    struct wasi_ctx *ctx; /* not the thread's */
    atomic_uint refs;
    atomic_bool done;
    int error; /* EAI_... */
    int bell;  /* own duplicate */
    struct addrinfo *found;
    const struct addrinfo *next;
    char name[NAME_BYTES_MAX + 1];
};

static atomic_uint lookups_running;

static void lookup_unref(struct wasi_lookup *lookup)
{
    if (atomic_fetch_sub(&lookup->refs, 1) != 1)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    close(lookup->bell);
    mem_free(NULL, lookup);
}

static void *look_up(void *user)
{
    struct wasi_lookup *lookup = user;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const uint64_t one = 1;
    lookup->error = getaddrinfo(lookup->name, NULL, &hints, &lookup->found);
    lookup->next = lookup->error ? NULL : lookup->found;
    atomic_store(&lookup->done, true);
    ssize_t written = write(lookup->bell, &one, sizeof one);
    (void)written; /* full is rung */
    lookup_unref(lookup);
    atomic_fetch_sub(&lookups_running, 1);
    return NULL;
}

int wasi_lookup_start(struct wasi_ctx *ctx, const char *name, size_t bytes,
                      struct wasi_lookup **out)
{
    if (bytes == 0 || bytes > NAME_BYTES_MAX || memchr(name, '\0', bytes))
        return -EINVAL;
    if (atomic_fetch_add(&lookups_running, 1) >= LOOKUPS_MAX) {
        atomic_fetch_sub(&lookups_running, 1);
        return -EMFILE;
    }
    struct wasi_lookup *lookup = mem_calloc(NULL, 1, sizeof *lookup);
    int error = lookup ? 0 : ENOMEM;
    if (!error) {
        lookup->ctx = ctx;
        atomic_init(&lookup->refs, 2);
        memcpy(lookup->name, name, bytes);
        lookup->bell = fcntl(ctx->net->bell, F_DUPFD_CLOEXEC, 0);
        if (lookup->bell < 0)
            error = errno;
        else if (!vec_push(NULL, &ctx->net->lookups, lookup))
            error = ENOMEM;
    }
    pthread_t thread;
    pthread_attr_t attributes;
    if (!error && (error = pthread_attr_init(&attributes)) == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        error = pthread_create(&thread, &attributes, look_up, lookup);
        (void)pthread_attr_destroy(&attributes);
        if (error)
            ctx->net->lookups.count--;
    }
    if (error) {
        if (lookup && lookup->bell >= 0)
            close(lookup->bell);
        mem_free(NULL, lookup);
        atomic_fetch_sub(&lookups_running, 1);
        return -error;
    }
    *out = lookup;
    return 0;
}

void wasi_lookup_drop(void *host, void *rep)
{
    struct wasi_lookup *lookup = rep;
    struct wasi_net *net = lookup->ctx->net;
    (void)host;
    for (size_t i = 0; i < net->lookups.count; i++)
        if (net->lookups.items[i] == lookup) {
            net->lookups.items[i] = net->lookups.items[--net->lookups.count];
            break;
        }
    lookup_unref(lookup);
}

bool wasi_lookup_ready(const struct wasi_lookup *lookup)
{
    return atomic_load(&lookup->done);
}

void wasi_lookup_ref(struct wasi_lookup *lookup)
{
    atomic_fetch_add(&lookup->refs, 1);
}

bool wasi_lookup_pollable_ready(void *lookup)
{
    return wasi_lookup_ready(lookup);
}

void wasi_lookup_pollable_drop(void *lookup)
{
    lookup_unref(lookup);
}

struct wasi_ctx *wasi_lookup_ctx(const struct wasi_lookup *lookup)
{
    return lookup->ctx;
}

int wasi_lookup_next(struct wasi_lookup *lookup, struct sockaddr_storage *address)
{
    if (!atomic_load(&lookup->done))
        return 2;
    if (lookup->error)
        return lookup->error;
    for (; lookup->next; lookup->next = lookup->next->ai_next)
        if (lookup->next->ai_family == AF_INET || lookup->next->ai_family == AF_INET6) {
            memcpy(address, lookup->next->ai_addr, lookup->next->ai_addrlen);
            lookup->next = lookup->next->ai_next;
            return 1;
        }
    return 0;
}
