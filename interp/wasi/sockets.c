/* wasi:sockets: TCP, UDP and names, when the context has a network; else everything links, creating
 * a socket and resolving a name answer access-denied, and nobody ever holds a socket. Calls that
 * the interface splits in two (start-, finish-) do their work in the first half, but connect.
 * Source: WASI 0.2.9 proposals/sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "interp/wasi/net.h"

#define NETWORK "wasi:sockets/network@0.2.9"
#define INSTANCE_NETWORK "wasi:sockets/instance-network@0.2.9"
#define LOOKUP "wasi:sockets/ip-name-lookup@0.2.9"
#define TCP "wasi:sockets/tcp@0.2.9"
#define TCP_CREATE "wasi:sockets/tcp-create-socket@0.2.9"
#define UDP "wasi:sockets/udp@0.2.9"
#define UDP_CREATE "wasi:sockets/udp-create-socket@0.2.9"

/* The interface's error-code, in its order. */
enum code {
    UNKNOWN, ACCESS_DENIED, NOT_SUPPORTED, INVALID_ARGUMENT, OUT_OF_MEMORY, TIMEOUT,
    CONCURRENCY_CONFLICT, NOT_IN_PROGRESS, WOULD_BLOCK, INVALID_STATE, NEW_SOCKET_LIMIT,
    ADDRESS_NOT_BINDABLE, ADDRESS_IN_USE, REMOTE_UNREACHABLE, CONNECTION_REFUSED, CONNECTION_RESET,
    CONNECTION_ABORTED, DATAGRAM_TOO_LARGE, NAME_UNRESOLVABLE, TEMPORARY_RESOLVER_FAILURE,
    PERMANENT_RESOLVER_FAILURE,
};

static enum code code_of(int number)
{
    switch (number) {
    case EACCES: case EPERM: return ACCESS_DENIED;
    case EOPNOTSUPP: case ENOPROTOOPT: case EAFNOSUPPORT: case EPROTONOSUPPORT: return NOT_SUPPORTED;
    case EINVAL: case EDESTADDRREQ: return INVALID_ARGUMENT;
    case ENOMEM: case ENOBUFS: return OUT_OF_MEMORY;
    case ETIMEDOUT: return TIMEOUT;
    case EALREADY: case EINPROGRESS: return CONCURRENCY_CONFLICT;
    case EAGAIN: return WOULD_BLOCK;
    case ENOTCONN: case EISCONN: return INVALID_STATE;
    case EMFILE: case ENFILE: return NEW_SOCKET_LIMIT;
    case EADDRNOTAVAIL: return ADDRESS_NOT_BINDABLE;
    case EADDRINUSE: return ADDRESS_IN_USE;
    case EHOSTUNREACH: case ENETUNREACH: case EHOSTDOWN: case ENETDOWN: case ENONET:
        return REMOTE_UNREACHABLE;
    case ECONNREFUSED: return CONNECTION_REFUSED;
    case ECONNRESET: case EPIPE: return CONNECTION_RESET;
    case ECONNABORTED: return CONNECTION_ABORTED;
    case EMSGSIZE: return DATAGRAM_TOO_LARGE;
    default: return UNKNOWN;
    }
}

static enum comp_host_result refuse(struct comp_host_call *call, struct comp_value *result,
                                    enum code why)
{
    struct comp_value code = {.kind = COMP_ENUM, .of.u = why};
    return wasi_err(call, result, &code);
}

/* ok without a value, or the errno's code. */
static enum comp_host_result answer(struct comp_host_call *call, struct comp_value *result,
                                    int number)
{
    return number ? refuse(call, result, code_of(number)) : wasi_ok(call, result, NULL);
}

/* ---- addresses --------------------------------------------------------------------------- */

static struct comp_value small(enum comp_kind kind, uint64_t value)
{
    return (struct comp_value){.kind = kind, .of.u = value};
}

/* ip-address, for names; NULL when memory is out. */
static struct comp_value *address_tuple(struct arena *arena, const struct sockaddr *from)
{
    bool is_v6 = from->sa_family == AF_INET6;
    size_t parts = is_v6 ? 8 : 4;
    struct comp_value *items = arena_calloc(arena, parts + 1, sizeof *items);
    if (!items)
        return NULL;
    const uint8_t *bytes =
        is_v6 ? ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr.s6_addr
              : (const uint8_t *)&((const struct sockaddr_in *)(const void *)from)->sin_addr;
    for (size_t i = 0; i < parts; i++)
        items[i] = is_v6 ? small(COMP_U16, (uint64_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]))
                         : small(COMP_U8, bytes[i]);
    items[parts] = comp_items(COMP_TUPLE, items, parts);
    return &items[parts];
}

static bool address_value(struct arena *arena, const struct sockaddr *from, struct comp_value *out)
{
    struct comp_value *tuple = address_tuple(arena, from);
    return tuple && comp_variant(arena, from->sa_family == AF_INET6, tuple, out);
}

static bool socket_address_value(struct arena *arena, const struct sockaddr *from,
                                 struct comp_value *out)
{
    struct comp_value *tuple = address_tuple(arena, from);
    struct comp_value *fields = arena_calloc(arena, 4, sizeof *fields);
    if (!tuple || !fields)
        return false;
    struct comp_value record;
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
        fields[0] = small(COMP_U16, ntohs(v6->sin6_port));
        fields[1] = small(COMP_U32, v6->sin6_flowinfo);
        fields[2] = *tuple;
        fields[3] = small(COMP_U32, v6->sin6_scope_id);
        record = comp_items(COMP_RECORD, fields, 4);
    } else {
        fields[0] = small(COMP_U16, ntohs(((const struct sockaddr_in *)(const void *)from)->sin_port));
        fields[1] = *tuple;
        record = comp_items(COMP_RECORD, fields, 2);
    }
    return comp_variant(arena, from->sa_family == AF_INET6, &record, out);
}

/* What a guest passed as ip-socket-address; returns its size. */
static socklen_t socket_address_of(const struct comp_value *from, struct sockaddr_storage *to)
{
    const struct comp_value *fields = from->of.variant.payload->of.list.items;
    memset(to, 0, sizeof *to);
    if (from->of.variant.index == 1) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
        const struct comp_value *parts = fields[2].of.list.items;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)fields[0].of.u);
        v6->sin6_flowinfo = (uint32_t)fields[1].of.u;
        v6->sin6_scope_id = (uint32_t)fields[3].of.u;
        for (int i = 0; i < 8; i++) {
            v6->sin6_addr.s6_addr[2 * i] = (uint8_t)(parts[i].of.u >> 8);
            v6->sin6_addr.s6_addr[2 * i + 1] = (uint8_t)parts[i].of.u;
        }
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    const struct comp_value *parts = fields[1].of.list.items;
    uint8_t *bytes = (uint8_t *)&v4->sin_addr;
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)fields[0].of.u);
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)parts[i].of.u;
    return sizeof *v4;
}

static bool is_unspecified(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == 0;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

/* Of the socket's family, and for TCP a single machine's address. IPv4 in IPv6's clothes is
 * another family. 0 or an errno. */
static int check_address(const struct wasi_socket *socket, const struct sockaddr_storage *address,
                         bool is_remote)
{
    if ((address->ss_family == AF_INET6) != socket->is_v6)
        return EINVAL;
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6) || (!socket->is_datagram && IN6_IS_ADDR_MULTICAST(v6)))
            return EINVAL;
    } else {
        uint32_t v4 = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
        if (!socket->is_datagram && (v4 >> 28 == 14 || v4 == UINT32_MAX))
            return EINVAL;
    }
    if (is_remote && (is_unspecified(address) || port_of(address) == 0))
        return EINVAL;
    return wasi_net_allows(socket->ctx->net, address) ? 0 : EACCES;
}

/* ---- network, names ---------------------------------------------------------------------- */

/* The one network there is. */
static enum comp_host_result instance_network(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    static char network;
    (void)call, (void)args, (void)user;
    *result = comp_own(&network);
    return COMP_HOST_DONE;
}

static enum comp_host_result network_error_code(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    const struct wasi_error *error = args[0].of.rep;
    (void)user;
    if (comp_some(call->arena, small(COMP_ENUM, code_of(error->number)), result))
        return COMP_HOST_DONE;
    return wasi_no_memory(call);
}

static enum comp_host_result resolve_addresses(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    struct wasi_lookup *lookup;
    if (!ctx->net)
        return refuse(call, result, ACCESS_DENIED);
    int error = wasi_lookup_start(ctx, args[1].of.string.data, args[1].of.string.bytes, &lookup);
    if (error)
        return refuse(call, result,
                      error == -EMFILE ? TEMPORARY_RESOLVER_FAILURE : code_of(-error));
    return wasi_ok_own(call, result, lookup, wasi_lookup_drop);
}

static enum comp_host_result resolve_next_address(struct comp_host_call *call,
                                                  const struct comp_value *args,
                                                  struct comp_value *result, void *user)
{
    struct sockaddr_storage address;
    struct comp_value value, option;
    (void)user;
    int next = wasi_lookup_next(args[0].of.rep, &address);
    if (next == 2)
        return refuse(call, result, WOULD_BLOCK);
    if (next < 0)
        return refuse(call, result, next == EAI_AGAIN    ? TEMPORARY_RESOLVER_FAILURE
                                    : next == EAI_FAIL   ? PERMANENT_RESOLVER_FAILURE
                                    : next == EAI_MEMORY ? OUT_OF_MEMORY
                                                         : NAME_UNRESOLVABLE);
    option = comp_none();
    if (next == 1 &&
        (!address_value(call->arena, (const struct sockaddr *)&address, &value) ||
         !comp_some(call->arena, value, &option)))
        return wasi_no_memory(call);
    return wasi_ok(call, result, &option);
}

static enum comp_host_result lookup_subscribe(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops ops = {wasi_lookup_pollable_ready,
                                                 wasi_lookup_pollable_drop};
    struct wasi_lookup *lookup = args[0].of.rep;
    (void)user;
    struct wasi_pollable *pollable = wasi_pollable_create(wasi_lookup_ctx(lookup), &ops, lookup);
    if (!pollable)
        return wasi_no_memory(call);
    wasi_lookup_ref(lookup);
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

/* ---- what TCP and UDP share -------------------------------------------------------------- */

static void drop_socket(void *host, void *rep)
{
    (void)host;
    wasi_socket_unref(rep);
}

static enum comp_host_result create(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user, bool is_datagram)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    struct wasi_socket *socket;
    if (!ctx->net)
        return refuse(call, result, ACCESS_DENIED);
    int error = wasi_socket_create(ctx, args[0].of.u == 1, is_datagram, &socket);
    return error ? refuse(call, result, code_of(-error))
                 : wasi_ok_own(call, result, socket, drop_socket);
}

static enum comp_host_result create_tcp(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    return create(call, args, result, user, false);
}

static enum comp_host_result create_udp(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    return create(call, args, result, user, true);
}

static enum comp_host_result start_bind(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    struct sockaddr_storage address;
    socklen_t bytes = socket_address_of(&args[2], &address);
    (void)user;
    if (socket->state != WASI_SOCKET_UNBOUND)
        return refuse(call, result,
                      socket->state == WASI_SOCKET_BINDING ? CONCURRENCY_CONFLICT : INVALID_STATE);
    int error = check_address(socket, &address, false);
    if (!error && bind(socket->fd, (const struct sockaddr *)&address, bytes) != 0)
        error = errno;
    if (!error)
        socket->state = WASI_SOCKET_BINDING;
    return answer(call, result, error);
}

static enum comp_host_result finish_bind(struct comp_host_call *call,
                                         const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->state != WASI_SOCKET_BINDING)
        return refuse(call, result, NOT_IN_PROGRESS);
    socket->state = WASI_SOCKET_BOUND;
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result name_of(struct comp_host_call *call, struct wasi_socket *socket,
                                     struct comp_value *result, bool is_remote)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    struct comp_value value;
    if ((is_remote ? getpeername : getsockname)(socket->fd, (struct sockaddr *)&address, &bytes))
        return refuse(call, result, code_of(errno));
    if (!socket_address_value(call->arena, (const struct sockaddr *)&address, &value))
        return wasi_no_memory(call);
    return wasi_ok(call, result, &value);
}

static enum comp_host_result local_address(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->state == WASI_SOCKET_UNBOUND || socket->state == WASI_SOCKET_BINDING)
        return refuse(call, result, INVALID_STATE);
    return name_of(call, socket, result, false);
}

static enum comp_host_result remote_address(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->is_datagram ? !socket->has_remote : socket->state != WASI_SOCKET_CONNECTED)
        return refuse(call, result, INVALID_STATE);
    return name_of(call, socket, result, true);
}

static enum comp_host_result address_family(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    const struct wasi_socket *socket = args[0].of.rep;
    (void)call, (void)user;
    *result = small(COMP_ENUM, socket->is_v6);
    return COMP_HOST_DONE;
}

/* Something to wait for: a connection made or to be accepted, datagrams. */
static bool socket_ready(void *object)
{
    const struct wasi_socket *socket = object;
    if (socket->is_datagram)
        return wasi_socket_polls(socket, POLLIN | POLLOUT);
    if (socket->state == WASI_SOCKET_CONNECTING)
        return wasi_socket_polls(socket, POLLOUT);
    if (socket->state == WASI_SOCKET_LISTENING)
        return wasi_socket_polls(socket, POLLIN);
    return true;
}
static bool datagram_in_ready(void *object) { return wasi_socket_polls(object, POLLIN); }
static bool datagram_out_ready(void *object) { return wasi_socket_polls(object, POLLOUT); }
static void socket_pollable_drop(void *object) { wasi_socket_unref(object); }

static enum comp_host_result subscribe_to(struct comp_host_call *call, struct wasi_socket *socket,
                                          const struct wasi_pollable_ops *ops,
                                          struct comp_value *result)
{
    struct wasi_pollable *pollable = wasi_pollable_create(socket->ctx, ops, socket);
    if (!pollable)
        return wasi_no_memory(call);
    socket->refs++;
    *result = comp_own(pollable);
    return COMP_HOST_DONE;
}

static enum comp_host_result subscribe(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops ops = {socket_ready, socket_pollable_drop};
    (void)user;
    return subscribe_to(call, args[0].of.rep, &ops, result);
}

static enum comp_host_result in_subscribe(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops ops = {datagram_in_ready, socket_pollable_drop};
    (void)user;
    return subscribe_to(call, args[0].of.rep, &ops, result);
}

static enum comp_host_result out_subscribe(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    static const struct wasi_pollable_ops ops = {datagram_out_ready, socket_pollable_drop};
    (void)user;
    return subscribe_to(call, args[0].of.rep, &ops, result);
}

/* ---- options ----------------------------------------------------------------------------- */

struct option {
    int level, name;
    uint64_t unit; /* of the interface, in one of the kernel's */
    uint64_t max;
};

static enum comp_host_result get_option(struct comp_host_call *call,
                                        const struct comp_value *args, struct comp_value *result,
                                        struct option option, enum comp_kind kind)
{
    const struct wasi_socket *socket = args[0].of.rep;
    int value = 0;
    socklen_t bytes = sizeof value;
    if (getsockopt(socket->fd, option.level, option.name, &value, &bytes) != 0)
        return refuse(call, result, code_of(errno));
    struct comp_value number = small(kind, (uint64_t)(value > 0 ? value : 0) * option.unit);
    return wasi_ok(call, result, &number);
}

/* Zero is refused; beyond what the kernel can say is as much as it can. */
static enum comp_host_result set_option(struct comp_host_call *call,
                                        const struct comp_value *args, struct comp_value *result,
                                        struct option option)
{
    const struct wasi_socket *socket = args[0].of.rep;
    uint64_t value = args[1].of.u;
    if (value == 0)
        return refuse(call, result, INVALID_ARGUMENT);
    value = value / option.unit + (value % option.unit != 0);
    int number = (int)(value < option.max ? value : option.max);
    int failed = setsockopt(socket->fd, option.level, option.name, &number, sizeof number);
    return answer(call, result, failed ? errno : 0);
}

#define OPTION(what, kind, ...)                                                                  \
    static enum comp_host_result what(struct comp_host_call *call, const struct comp_value *args, \
                                      struct comp_value *result, void *user)                     \
    {                                                                                            \
        (void)user;                                                                              \
        return get_option(call, args, result, (struct option){__VA_ARGS__}, kind);               \
    }                                                                                            \
    static enum comp_host_result set_##what(struct comp_host_call *call,                         \
                                            const struct comp_value *args,                       \
                                            struct comp_value *result, void *user)               \
    {                                                                                            \
        (void)user;                                                                              \
        return set_option(call, args, result, (struct option){__VA_ARGS__});                     \
    }
#define SECOND UINT64_C(1000000000)
OPTION(keep_alive_idle_time, COMP_U64, IPPROTO_TCP, TCP_KEEPIDLE, SECOND, 32767)
OPTION(keep_alive_interval, COMP_U64, IPPROTO_TCP, TCP_KEEPINTVL, SECOND, 32767)
OPTION(keep_alive_count, COMP_U32, IPPROTO_TCP, TCP_KEEPCNT, 1, 127)
OPTION(receive_buffer_size, COMP_U64, SOL_SOCKET, SO_RCVBUF, 1, INT32_MAX / 2)
OPTION(send_buffer_size, COMP_U64, SOL_SOCKET, SO_SNDBUF, 1, INT32_MAX / 2)

static struct option hop_option(const struct comp_value *args)
{
    const struct wasi_socket *socket = args[0].of.rep;
    return socket->is_v6 ? (struct option){IPPROTO_IPV6, IPV6_UNICAST_HOPS, 1, 255}
                         : (struct option){IPPROTO_IP, IP_TTL, 1, 255};
}

static enum comp_host_result hop_limit(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    (void)user;
    return get_option(call, args, result, hop_option(args), COMP_U8);
}

static enum comp_host_result set_hop_limit(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    (void)user;
    return set_option(call, args, result, hop_option(args));
}

static enum comp_host_result keep_alive_enabled(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    const struct wasi_socket *socket = args[0].of.rep;
    int value = 0;
    socklen_t bytes = sizeof value;
    (void)user;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_KEEPALIVE, &value, &bytes) != 0)
        return refuse(call, result, code_of(errno));
    struct comp_value enabled = comp_bool(value != 0);
    return wasi_ok(call, result, &enabled);
}

static enum comp_host_result set_keep_alive_enabled(struct comp_host_call *call,
                                                    const struct comp_value *args,
                                                    struct comp_value *result, void *user)
{
    const struct wasi_socket *socket = args[0].of.rep;
    int value = args[1].of.boolean;
    (void)user;
    int failed = setsockopt(socket->fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value);
    return answer(call, result, failed ? errno : 0);
}

/* ---- TCP --------------------------------------------------------------------------------- */

static enum comp_host_result start_connect(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    struct sockaddr_storage address;
    socklen_t bytes = socket_address_of(&args[2], &address);
    (void)user;
    if (socket->state == WASI_SOCKET_CONNECTING || socket->state == WASI_SOCKET_BINDING)
        return refuse(call, result, CONCURRENCY_CONFLICT);
    if (socket->state != WASI_SOCKET_UNBOUND && socket->state != WASI_SOCKET_BOUND)
        return refuse(call, result, INVALID_STATE);
    int error = check_address(socket, &address, true);
    if (!error && connect(socket->fd, (const struct sockaddr *)&address, bytes) != 0 &&
        errno != EINPROGRESS && errno != EINTR)
        error = errno;
    if (!error)
        socket->state = WASI_SOCKET_CONNECTING;
    else if (error != EINVAL && error != EACCES)
        socket->state = WASI_SOCKET_FAILED;
    return answer(call, result, error);
}

/* ok of the two streams, and in front of them, when it is given, the socket itself. */
static enum comp_host_result streams(struct comp_host_call *call, struct wasi_socket *socket,
                                     bool with_socket, struct comp_value *result)
{
    struct comp_value *items = arena_calloc(call->arena, 3, sizeof *items), tuple;
    struct wasi_input *input = wasi_input_create(socket->ctx, WASI_STREAM_OBJECT);
    struct wasi_out *out = wasi_out_create(socket->ctx, WASI_STREAM_OBJECT);
    if (items) {
        items[0] = comp_own(socket);
        items[1] = comp_own(input);
        items[2] = comp_own(out);
        tuple = comp_items(COMP_TUPLE, items + !with_socket, 2 + (size_t)with_socket);
    }
    if (!items || !input || !out || !comp_ok(call->arena, &tuple, result)) {
        mem_free(socket->ctx->heap, input);
        mem_free(socket->ctx->heap, out);
        if (with_socket)
            wasi_socket_unref(socket);
        return wasi_no_memory(call);
    }
    socket->refs += 2;
    input->ops = &wasi_socket_input;
    out->ops = &wasi_socket_out;
    input->object = out->object = socket;
    socket->state = WASI_SOCKET_CONNECTED;
    return COMP_HOST_DONE;
}

static enum comp_host_result finish_connect(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    int error = 0;
    socklen_t bytes = sizeof error;
    (void)user;
    if (socket->state != WASI_SOCKET_CONNECTING)
        return refuse(call, result, NOT_IN_PROGRESS);
    if (!wasi_socket_polls(socket, POLLOUT))
        return refuse(call, result, WOULD_BLOCK);
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0)
        error = errno;
    if (error) {
        socket->state = WASI_SOCKET_FAILED;
        return refuse(call, result, code_of(error));
    }
    return streams(call, socket, false, result);
}

static enum comp_host_result start_listen(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->state != WASI_SOCKET_BOUND)
        return refuse(call, result, socket->state == WASI_SOCKET_LISTEN_STARTED
                                        ? CONCURRENCY_CONFLICT
                                        : INVALID_STATE);
    if (listen(socket->fd, (int)socket->backlog) != 0)
        return refuse(call, result, code_of(errno));
    socket->state = WASI_SOCKET_LISTEN_STARTED;
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result finish_listen(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->state != WASI_SOCKET_LISTEN_STARTED)
        return refuse(call, result, NOT_IN_PROGRESS);
    socket->state = WASI_SOCKET_LISTENING;
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result accept_connection(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep, *accepted;
    (void)user;
    if (socket->state != WASI_SOCKET_LISTENING)
        return refuse(call, result, INVALID_STATE);
    int fd;
    do
        fd = accept4(socket->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return refuse(call, result, code_of(errno));
    int error = wasi_socket_adopt(socket->ctx, fd, socket->is_v6, false, &accepted);
    return error ? refuse(call, result, code_of(-error)) : streams(call, accepted, true, result);
}

static enum comp_host_result is_listening(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    const struct wasi_socket *socket = args[0].of.rep;
    (void)call, (void)user;
    *result = comp_bool(socket->state == WASI_SOCKET_LISTENING);
    return COMP_HOST_DONE;
}

static enum comp_host_result set_listen_backlog_size(struct comp_host_call *call,
                                                     const struct comp_value *args,
                                                     struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (args[1].of.u == 0)
        return refuse(call, result, INVALID_ARGUMENT);
    if (socket->state == WASI_SOCKET_CONNECTING || socket->state == WASI_SOCKET_CONNECTED)
        return refuse(call, result, INVALID_STATE);
    socket->backlog = args[1].of.u < 4096 ? (uint32_t)args[1].of.u : 4096;
    if (socket->state == WASI_SOCKET_LISTENING && listen(socket->fd, (int)socket->backlog) != 0)
        return refuse(call, result, code_of(errno));
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result shut_down(struct comp_host_call *call, const struct comp_value *args,
                                       struct comp_value *result, void *user)
{
    static const int how[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    if (socket->state != WASI_SOCKET_CONNECTED)
        return refuse(call, result, INVALID_STATE);
    return answer(call, result, shutdown(socket->fd, how[args[1].of.u]) ? errno : 0);
}

/* ---- UDP --------------------------------------------------------------------------------- */

static enum comp_host_result stream(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    const struct comp_value *remote = args[1].of.variant.index ? args[1].of.variant.payload : NULL;
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC}; /* forgets the remote */
    socklen_t bytes = sizeof(struct sockaddr);
    int error = 0;
    (void)user;
    if (socket->state != WASI_SOCKET_BOUND)
        return refuse(call, result, INVALID_STATE);
    if (remote) {
        bytes = socket_address_of(remote, &address);
        error = check_address(socket, &address, true);
    }
    if (!error && (remote || socket->has_remote) &&
        connect(socket->fd, (const struct sockaddr *)&address, bytes) != 0)
        error = errno;
    if (error)
        return refuse(call, result, code_of(error));
    struct comp_value *items = arena_calloc(call->arena, 2, sizeof *items);
    if (!items)
        return wasi_no_memory(call);
    items[0] = items[1] = comp_own(socket);
    struct comp_value tuple = comp_items(COMP_TUPLE, items, 2);
    if (!comp_ok(call->arena, &tuple, result))
        return wasi_no_memory(call);
    socket->has_remote = remote != NULL;
    socket->refs += 2;
    return COMP_HOST_DONE;
}

enum { DATAGRAM_BYTES_MAX = 65536, DATAGRAMS_MAX = 16 };

static enum comp_host_result receive(struct comp_host_call *call, const struct comp_value *args,
                                     struct comp_value *result, void *user)
{
    const struct wasi_socket *socket = args[0].of.rep;
    size_t max = args[1].of.u < DATAGRAMS_MAX ? (size_t)args[1].of.u : DATAGRAMS_MAX, count = 0;
    struct comp_value *list = arena_calloc(call->arena, max + 1, sizeof *list);
    (void)user;
    if (!list)
        return wasi_no_memory(call);
    for (; count < max; count++) {
        struct sockaddr_storage from;
        socklen_t bytes = sizeof from;
        /* the size first, so that a datagram is never cut and little memory is taken */
        ssize_t size = recv(socket->fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (size < 0 && count > 0)
            break;
        if (size < 0 && errno != EAGAIN)
            return refuse(call, result, code_of(errno));
        if (size < 0)
            break;
        uint8_t *data = arena_alloc(call->arena, (size_t)size);
        struct comp_value *fields = arena_calloc(call->arena, 2, sizeof *fields);
        if (!data || !fields)
            return wasi_no_memory(call);
        ssize_t got = recvfrom(socket->fd, data, (size_t)size, MSG_DONTWAIT,
                               (struct sockaddr *)&from, &bytes);
        if (got < 0)
            break;
        fields[0] = comp_list_packed(data, (size_t)got);
        if (!socket_address_value(call->arena, (const struct sockaddr *)&from, &fields[1]))
            return wasi_no_memory(call);
        list[count] = comp_items(COMP_RECORD, fields, 2);
    }
    struct comp_value value = comp_items(COMP_LIST, list, count);
    return wasi_ok(call, result, &value);
}

static enum comp_host_result check_send(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    (void)user;
    socket->send_permit = wasi_socket_polls(socket, POLLOUT) ? DATAGRAMS_MAX : 0;
    struct comp_value value = comp_u64(socket->send_permit);
    return wasi_ok(call, result, &value);
}

static enum comp_host_result send_datagrams(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    struct wasi_socket *socket = args[0].of.rep;
    size_t count = args[1].of.list.count, sent = 0;
    (void)user;
    if (count > socket->send_permit) {
        comp_trap(call, "send of more datagrams than check-send permits");
        return COMP_HOST_TRAP;
    }
    socket->send_permit -= count;
    for (; sent < count; sent++) {
        const struct comp_value *fields = args[1].of.list.items[sent].of.list.items;
        const struct comp_value *remote =
            fields[1].of.variant.index ? fields[1].of.variant.payload : NULL;
        struct sockaddr_storage address, peer;
        socklen_t bytes = remote ? socket_address_of(remote, &address) : 0, peer_bytes = sizeof peer;
        int error = 0;
        if (!remote && !socket->has_remote)
            error = EINVAL;
        else if (remote)
            error = check_address(socket, &address, true);
        /* a connected socket sends to its remote only */
        if (!error && remote && socket->has_remote) {
            memset(&peer, 0, sizeof peer);
            if (getpeername(socket->fd, (struct sockaddr *)&peer, &peer_bytes) != 0)
                error = errno;
            else if (bytes != peer_bytes || memcmp(&address, &peer, bytes) != 0)
                error = EINVAL;
        }
        bool is_named = remote && !socket->has_remote;
        if (!error && sendto(socket->fd, fields[0].of.list.data, fields[0].of.list.count,
                             MSG_NOSIGNAL | MSG_DONTWAIT,
                             is_named ? (const struct sockaddr *)&address : NULL,
                             is_named ? bytes : 0) < 0)
            error = errno;
        if (error && sent == 0 && error != EAGAIN)
            return refuse(call, result, code_of(error));
        if (error)
            break;
    }
    struct comp_value value = comp_u64(sent);
    return wasi_ok(call, result, &value);
}

/* ---- registration ------------------------------------------------------------------------ */

#define ERROR_CODE                                                                             \
    "enum { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout, " \
    "concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit, "    \
    "address-not-bindable, address-in-use, remote-unreachable, connection-refused, "           \
    "connection-reset, connection-aborted, datagram-too-large, name-unresolvable, "            \
    "temporary-resolver-failure, permanent-resolver-failure }"
#define V4 "tuple<u8, u8, u8, u8>"
#define V6 "tuple<u16, u16, u16, u16, u16, u16, u16, u16>"
#define ADDRESS "variant { ipv4(" V4 "), ipv6(" V6 ") }"
#define SOCKET_ADDRESS                                                   \
    "variant { ipv4(record { port: u16, address: " V4 " }), "            \
    "ipv6(record { port: u16, flow-info: u32, address: " V6 ", scope-id: u32 }) }"
#define FAMILY "enum { ipv4, ipv6 }"
#define NET "borrow<wasi:sockets/network.network>"
#define POLLABLE "own<wasi:io/poll.pollable>"
#define STREAM_IN "own<wasi:io/streams.input-stream>"
#define STREAM_OUT "own<wasi:io/streams.output-stream>"
#define SELF_TCP "self: borrow<tcp-socket>"
#define SELF_UDP "self: borrow<udp-socket>"
#define RESULT(ok) "result<" ok ", " ERROR_CODE ">"
#define DATA "list<u8>"

static const struct wasi_func funcs[] = {
    {INSTANCE_NETWORK, "instance-network", "func() -> own<wasi:sockets/network.network>",
     instance_network},
    {NETWORK, "network-error-code",
     "func(err: borrow<wasi:io/error.error>) -> option<" ERROR_CODE ">", network_error_code},
    {LOOKUP, "resolve-addresses",
     "func(network: " NET ", name: string) -> " RESULT("own<resolve-address-stream>"), resolve_addresses},
    {LOOKUP, "[method]resolve-address-stream.resolve-next-address",
     "func(self: borrow<resolve-address-stream>) -> " RESULT("option<" ADDRESS ">"), resolve_next_address},
    {LOOKUP, "[method]resolve-address-stream.subscribe",
     "func(self: borrow<resolve-address-stream>) -> " POLLABLE, lookup_subscribe},
    {TCP_CREATE, "create-tcp-socket",
     "func(address-family: " FAMILY ") -> " RESULT("own<wasi:sockets/tcp.tcp-socket>"), create_tcp},
    {UDP_CREATE, "create-udp-socket",
     "func(address-family: " FAMILY ") -> " RESULT("own<wasi:sockets/udp.udp-socket>"), create_udp},

    {TCP, "[method]tcp-socket.start-bind",
     "func(" SELF_TCP ", network: " NET ", local-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     start_bind},
    {TCP, "[method]tcp-socket.finish-bind", "func(" SELF_TCP ") -> " RESULT("_"), finish_bind},
    {TCP, "[method]tcp-socket.start-connect",
     "func(" SELF_TCP ", network: " NET ", remote-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     start_connect},
    {TCP, "[method]tcp-socket.finish-connect",
     "func(" SELF_TCP ") -> " RESULT("tuple<" STREAM_IN ", " STREAM_OUT ">"), finish_connect},
    {TCP, "[method]tcp-socket.start-listen", "func(" SELF_TCP ") -> " RESULT("_"), start_listen},
    {TCP, "[method]tcp-socket.finish-listen", "func(" SELF_TCP ") -> " RESULT("_"), finish_listen},
    {TCP, "[method]tcp-socket.accept",
     "func(" SELF_TCP ") -> " RESULT("tuple<own<tcp-socket>, " STREAM_IN ", " STREAM_OUT ">"),
     accept_connection},
    {TCP, "[method]tcp-socket.local-address", "func(" SELF_TCP ") -> " RESULT(SOCKET_ADDRESS),
     local_address},
    {TCP, "[method]tcp-socket.remote-address", "func(" SELF_TCP ") -> " RESULT(SOCKET_ADDRESS),
     remote_address},
    {TCP, "[method]tcp-socket.is-listening", "func(" SELF_TCP ") -> bool", is_listening},
    {TCP, "[method]tcp-socket.address-family", "func(" SELF_TCP ") -> " FAMILY, address_family},
    {TCP, "[method]tcp-socket.set-listen-backlog-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), set_listen_backlog_size},
    {TCP, "[method]tcp-socket.keep-alive-enabled", "func(" SELF_TCP ") -> " RESULT("bool"),
     keep_alive_enabled},
    {TCP, "[method]tcp-socket.set-keep-alive-enabled",
     "func(" SELF_TCP ", value: bool) -> " RESULT("_"), set_keep_alive_enabled},
    {TCP, "[method]tcp-socket.keep-alive-idle-time", "func(" SELF_TCP ") -> " RESULT("u64"),
     keep_alive_idle_time},
    {TCP, "[method]tcp-socket.set-keep-alive-idle-time",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), set_keep_alive_idle_time},
    {TCP, "[method]tcp-socket.keep-alive-interval", "func(" SELF_TCP ") -> " RESULT("u64"),
     keep_alive_interval},
    {TCP, "[method]tcp-socket.set-keep-alive-interval",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), set_keep_alive_interval},
    {TCP, "[method]tcp-socket.keep-alive-count", "func(" SELF_TCP ") -> " RESULT("u32"), keep_alive_count},
    {TCP, "[method]tcp-socket.set-keep-alive-count",
     "func(" SELF_TCP ", value: u32) -> " RESULT("_"), set_keep_alive_count},
    {TCP, "[method]tcp-socket.hop-limit", "func(" SELF_TCP ") -> " RESULT("u8"), hop_limit},
    {TCP, "[method]tcp-socket.set-hop-limit", "func(" SELF_TCP ", value: u8) -> " RESULT("_"),
     set_hop_limit},
    {TCP, "[method]tcp-socket.receive-buffer-size", "func(" SELF_TCP ") -> " RESULT("u64"),
     receive_buffer_size},
    {TCP, "[method]tcp-socket.set-receive-buffer-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), set_receive_buffer_size},
    {TCP, "[method]tcp-socket.send-buffer-size", "func(" SELF_TCP ") -> " RESULT("u64"), send_buffer_size},
    {TCP, "[method]tcp-socket.set-send-buffer-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), set_send_buffer_size},
    {TCP, "[method]tcp-socket.subscribe", "func(" SELF_TCP ") -> " POLLABLE, subscribe},
    {TCP, "[method]tcp-socket.shutdown",
     "func(" SELF_TCP ", shutdown-type: enum { receive, send, both }) -> " RESULT("_"), shut_down},

    {UDP, "[method]udp-socket.start-bind",
     "func(" SELF_UDP ", network: " NET ", local-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     start_bind},
    {UDP, "[method]udp-socket.finish-bind", "func(" SELF_UDP ") -> " RESULT("_"), finish_bind},
    {UDP, "[method]udp-socket.stream",
     "func(" SELF_UDP ", remote-address: option<" SOCKET_ADDRESS ">) -> "
     RESULT("tuple<own<incoming-datagram-stream>, own<outgoing-datagram-stream>>"), stream},
    {UDP, "[method]udp-socket.local-address", "func(" SELF_UDP ") -> " RESULT(SOCKET_ADDRESS),
     local_address},
    {UDP, "[method]udp-socket.remote-address", "func(" SELF_UDP ") -> " RESULT(SOCKET_ADDRESS),
     remote_address},
    {UDP, "[method]udp-socket.address-family", "func(" SELF_UDP ") -> " FAMILY, address_family},
    {UDP, "[method]udp-socket.unicast-hop-limit", "func(" SELF_UDP ") -> " RESULT("u8"), hop_limit},
    {UDP, "[method]udp-socket.set-unicast-hop-limit",
     "func(" SELF_UDP ", value: u8) -> " RESULT("_"), set_hop_limit},
    {UDP, "[method]udp-socket.receive-buffer-size", "func(" SELF_UDP ") -> " RESULT("u64"),
     receive_buffer_size},
    {UDP, "[method]udp-socket.set-receive-buffer-size",
     "func(" SELF_UDP ", value: u64) -> " RESULT("_"), set_receive_buffer_size},
    {UDP, "[method]udp-socket.send-buffer-size", "func(" SELF_UDP ") -> " RESULT("u64"), send_buffer_size},
    {UDP, "[method]udp-socket.set-send-buffer-size",
     "func(" SELF_UDP ", value: u64) -> " RESULT("_"), set_send_buffer_size},
    {UDP, "[method]udp-socket.subscribe", "func(" SELF_UDP ") -> " POLLABLE, subscribe},
    {UDP, "[method]incoming-datagram-stream.receive",
     "func(self: borrow<incoming-datagram-stream>, max-results: u64) -> "
     RESULT("list<record { data: " DATA ", remote-address: " SOCKET_ADDRESS " }>"), receive},
    {UDP, "[method]incoming-datagram-stream.subscribe",
     "func(self: borrow<incoming-datagram-stream>) -> " POLLABLE, in_subscribe},
    {UDP, "[method]outgoing-datagram-stream.check-send",
     "func(self: borrow<outgoing-datagram-stream>) -> " RESULT("u64"), check_send},
    {UDP, "[method]outgoing-datagram-stream.send",
     "func(self: borrow<outgoing-datagram-stream>, datagrams: list<record { data: " DATA
     ", remote-address: option<" SOCKET_ADDRESS "> }>) -> " RESULT("u64"), send_datagrams},
    {UDP, "[method]outgoing-datagram-stream.subscribe",
     "func(self: borrow<outgoing-datagram-stream>) -> " POLLABLE, out_subscribe},
};

enum err wasi_sockets_register(struct comp_linker *linker, struct wasi_binding *binding,
                               struct report *report)
{
    static const struct {
        const char *interface, *name;
        comp_resource_drop drop;
    } resources[] = {
        {NETWORK, "network", NULL},
        {LOOKUP, "resolve-address-stream", wasi_lookup_drop},
        {TCP, "tcp-socket", drop_socket},
        {UDP, "udp-socket", drop_socket},
        {UDP, "incoming-datagram-stream", drop_socket},
        {UDP, "outgoing-datagram-stream", drop_socket},
    };
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        enum err err = comp_linker_resource(linker, resources[i].interface, resources[i].name,
                                            resources[i].drop, report);
        if (err)
            return err;
    }
    return wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
