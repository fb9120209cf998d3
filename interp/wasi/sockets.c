/* wasi:sockets, for components that import it without need: everything links, nothing connects.
 * Creating a socket and resolving a name answer access-denied; so nobody ever holds a socket, and
 * the functions over one cannot be reached. Source: WASI 0.2.9 proposals/sockets. */
#include "interp/wasi/ctx.h"

#define NETWORK "wasi:sockets/network@0.2.9"
#define INSTANCE_NETWORK "wasi:sockets/instance-network@0.2.9"
#define LOOKUP "wasi:sockets/ip-name-lookup@0.2.9"
#define TCP "wasi:sockets/tcp@0.2.9"
#define TCP_CREATE "wasi:sockets/tcp-create-socket@0.2.9"
#define UDP "wasi:sockets/udp@0.2.9"
#define UDP_CREATE "wasi:sockets/udp-create-socket@0.2.9"

enum { ACCESS_DENIED = 1 };

static enum comp_host_result refuse(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    struct comp_value code = {.kind = COMP_ENUM, .of.u = ACCESS_DENIED};
    (void)args, (void)user;
    return wasi_err(call, result, &code);
}

static enum comp_host_result unreachable(struct comp_host_call *call,
                                         const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)args, (void)result, (void)user;
    comp_trap(call, "sockets are not available to this program");
    return COMP_HOST_TRAP;
}

static enum comp_host_result none(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_none();
    return COMP_HOST_DONE;
}

/* The one network there is, with nothing behind it. */
static enum comp_host_result instance_network(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    static char network;
    (void)call, (void)args, (void)user;
    *result = comp_own(&network);
    return COMP_HOST_DONE;
}

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
     "func(err: borrow<wasi:io/error.error>) -> option<" ERROR_CODE ">", none},
    {LOOKUP, "resolve-addresses",
     "func(network: " NET ", name: string) -> " RESULT("own<resolve-address-stream>"), refuse},
    {LOOKUP, "[method]resolve-address-stream.resolve-next-address",
     "func(self: borrow<resolve-address-stream>) -> " RESULT("option<" ADDRESS ">"), unreachable},
    {LOOKUP, "[method]resolve-address-stream.subscribe",
     "func(self: borrow<resolve-address-stream>) -> " POLLABLE, unreachable},
    {TCP_CREATE, "create-tcp-socket",
     "func(address-family: " FAMILY ") -> " RESULT("own<wasi:sockets/tcp.tcp-socket>"), refuse},
    {UDP_CREATE, "create-udp-socket",
     "func(address-family: " FAMILY ") -> " RESULT("own<wasi:sockets/udp.udp-socket>"), refuse},

    {TCP, "[method]tcp-socket.start-bind",
     "func(" SELF_TCP ", network: " NET ", local-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     refuse},
    {TCP, "[method]tcp-socket.finish-bind", "func(" SELF_TCP ") -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.start-connect",
     "func(" SELF_TCP ", network: " NET ", remote-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     refuse},
    {TCP, "[method]tcp-socket.finish-connect",
     "func(" SELF_TCP ") -> " RESULT("tuple<" STREAM_IN ", " STREAM_OUT ">"), refuse},
    {TCP, "[method]tcp-socket.start-listen", "func(" SELF_TCP ") -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.finish-listen", "func(" SELF_TCP ") -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.accept",
     "func(" SELF_TCP ") -> " RESULT("tuple<own<tcp-socket>, " STREAM_IN ", " STREAM_OUT ">"),
     refuse},
    {TCP, "[method]tcp-socket.local-address", "func(" SELF_TCP ") -> " RESULT(SOCKET_ADDRESS),
     refuse},
    {TCP, "[method]tcp-socket.remote-address", "func(" SELF_TCP ") -> " RESULT(SOCKET_ADDRESS),
     refuse},
    {TCP, "[method]tcp-socket.is-listening", "func(" SELF_TCP ") -> bool", unreachable},
    {TCP, "[method]tcp-socket.address-family", "func(" SELF_TCP ") -> " FAMILY, unreachable},
    {TCP, "[method]tcp-socket.set-listen-backlog-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.keep-alive-enabled", "func(" SELF_TCP ") -> " RESULT("bool"),
     refuse},
    {TCP, "[method]tcp-socket.set-keep-alive-enabled",
     "func(" SELF_TCP ", value: bool) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.keep-alive-idle-time", "func(" SELF_TCP ") -> " RESULT("u64"),
     refuse},
    {TCP, "[method]tcp-socket.set-keep-alive-idle-time",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.keep-alive-interval", "func(" SELF_TCP ") -> " RESULT("u64"),
     refuse},
    {TCP, "[method]tcp-socket.set-keep-alive-interval",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.keep-alive-count", "func(" SELF_TCP ") -> " RESULT("u32"), refuse},
    {TCP, "[method]tcp-socket.set-keep-alive-count",
     "func(" SELF_TCP ", value: u32) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.hop-limit", "func(" SELF_TCP ") -> " RESULT("u8"), refuse},
    {TCP, "[method]tcp-socket.set-hop-limit", "func(" SELF_TCP ", value: u8) -> " RESULT("_"),
     refuse},
    {TCP, "[method]tcp-socket.receive-buffer-size", "func(" SELF_TCP ") -> " RESULT("u64"),
     refuse},
    {TCP, "[method]tcp-socket.set-receive-buffer-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.send-buffer-size", "func(" SELF_TCP ") -> " RESULT("u64"), refuse},
    {TCP, "[method]tcp-socket.set-send-buffer-size",
     "func(" SELF_TCP ", value: u64) -> " RESULT("_"), refuse},
    {TCP, "[method]tcp-socket.subscribe", "func(" SELF_TCP ") -> " POLLABLE, unreachable},
    {TCP, "[method]tcp-socket.shutdown",
     "func(" SELF_TCP ", shutdown-type: enum { receive, send, both }) -> " RESULT("_"), refuse},

    {UDP, "[method]udp-socket.start-bind",
     "func(" SELF_UDP ", network: " NET ", local-address: " SOCKET_ADDRESS ") -> " RESULT("_"),
     refuse},
    {UDP, "[method]udp-socket.finish-bind", "func(" SELF_UDP ") -> " RESULT("_"), refuse},
    {UDP, "[method]udp-socket.stream",
     "func(" SELF_UDP ", remote-address: option<" SOCKET_ADDRESS ">) -> "
     RESULT("tuple<own<incoming-datagram-stream>, own<outgoing-datagram-stream>>"), refuse},
    {UDP, "[method]udp-socket.local-address", "func(" SELF_UDP ") -> " RESULT(SOCKET_ADDRESS),
     refuse},
    {UDP, "[method]udp-socket.remote-address", "func(" SELF_UDP ") -> " RESULT(SOCKET_ADDRESS),
     refuse},
    {UDP, "[method]udp-socket.address-family", "func(" SELF_UDP ") -> " FAMILY, unreachable},
    {UDP, "[method]udp-socket.unicast-hop-limit", "func(" SELF_UDP ") -> " RESULT("u8"), refuse},
    {UDP, "[method]udp-socket.set-unicast-hop-limit",
     "func(" SELF_UDP ", value: u8) -> " RESULT("_"), refuse},
    {UDP, "[method]udp-socket.receive-buffer-size", "func(" SELF_UDP ") -> " RESULT("u64"),
     refuse},
    {UDP, "[method]udp-socket.set-receive-buffer-size",
     "func(" SELF_UDP ", value: u64) -> " RESULT("_"), refuse},
    {UDP, "[method]udp-socket.send-buffer-size", "func(" SELF_UDP ") -> " RESULT("u64"), refuse},
    {UDP, "[method]udp-socket.set-send-buffer-size",
     "func(" SELF_UDP ", value: u64) -> " RESULT("_"), refuse},
    {UDP, "[method]udp-socket.subscribe", "func(" SELF_UDP ") -> " POLLABLE, unreachable},
    {UDP, "[method]incoming-datagram-stream.receive",
     "func(self: borrow<incoming-datagram-stream>, max-results: u64) -> "
     RESULT("list<record { data: " DATA ", remote-address: " SOCKET_ADDRESS " }>"), refuse},
    {UDP, "[method]incoming-datagram-stream.subscribe",
     "func(self: borrow<incoming-datagram-stream>) -> " POLLABLE, unreachable},
    {UDP, "[method]outgoing-datagram-stream.check-send",
     "func(self: borrow<outgoing-datagram-stream>) -> " RESULT("u64"), refuse},
    {UDP, "[method]outgoing-datagram-stream.send",
     "func(self: borrow<outgoing-datagram-stream>, datagrams: list<record { data: " DATA
     ", remote-address: option<" SOCKET_ADDRESS "> }>) -> " RESULT("u64"), refuse},
    {UDP, "[method]outgoing-datagram-stream.subscribe",
     "func(self: borrow<outgoing-datagram-stream>) -> " POLLABLE, unreachable},
};

enum err wasi_sockets_register(struct comp_linker *linker, struct wasi_binding *binding,
                               struct report *report)
{
    static const struct {
        const char *interface, *name;
    } resources[] = {
        {NETWORK, "network"}, {LOOKUP, "resolve-address-stream"}, {TCP, "tcp-socket"},
        {UDP, "udp-socket"}, {UDP, "incoming-datagram-stream"}, {UDP, "outgoing-datagram-stream"},
    };
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        enum err err = comp_linker_resource(linker, resources[i].interface, resources[i].name,
                                            NULL, report);
        if (err)
            return err;
    }
    return wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
