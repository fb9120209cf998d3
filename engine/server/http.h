/* A small HTTP/1.1 server for one thread: a request comes in whole, an answer goes out whole or
 * from a file. Content-Length bodies only; keep-alive; no TLS (put a proxy in front).
 *
 * Everything a peer can make us keep is bounded: connections, header bytes, body bytes of one
 * request and of all together, and seconds for each. Source: RFC 9112. */
#ifndef ENGINE_SERVER_HTTP_H
#define ENGINE_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

enum {
    SRV_HTTP_HEAD_MAX = 16 << 10, /* request line and headers */
    SRV_HTTP_HEADERS_MAX = 64,
};

/* Not zero-terminated; points into the head. */
struct srv_http_text {
    const char *data;
    size_t bytes;
};

struct srv_http_request {
    struct srv_http_text method, path, query; /* the path as sent, without its query */
    struct {
        struct srv_http_text name, value;
    } headers[SRV_HTTP_HEADERS_MAX];
    size_t header_count;
    uint64_t body_bytes; /* as announced */
    bool is_keep_alive, expects_continue;
    const char *body; /* once it is complete */
};

/* Reads a head. Returns its length with the blank line; 0 when more bytes are needed; otherwise the
 * negative status that answers it (-400, -413, -431, -501, -505). */
long srv_http_parse(const char *data, size_t bytes, struct srv_http_request *request);

/* The value of a header, "" when it is absent. Names compare without case. */
struct srv_http_text srv_http_header(const struct srv_http_request *request, const char *name);
bool srv_http_is(struct srv_http_text text, const char *other);
/* Decodes %XX (and '+' in queries) into `out`; false when it is malformed, holds a zero or does not
 * fit `room`. */
bool srv_http_decode(struct srv_http_text text, bool is_query, char *out, size_t room);
/* The decoded value of a query's key; "" when it is absent. False when it is malformed. */
bool srv_http_query(const struct srv_http_request *request, const char *key, char *out, size_t room);

struct srv_http_response {
    int status;
    const char *content_type; /* static */
    struct buf body;
    int file; /* an open file that is the body, -1: none. Taken */
    uint64_t file_bytes;
};

/* `check` sees the head before any body is read; a status other than 0 answers it then.
 * `answer` fills the response (status 200, no body) and must not block. */
struct srv_http_handler {
    int (*check)(void *user, const struct srv_http_request *request, uint64_t *body_max);
    void (*answer)(void *user, const struct srv_http_request *request,
                   struct srv_http_response *response);
    void *user;
};

struct srv_http;

struct srv_http_config {
    const char *host;         /* an address or a name */
    uint16_t port;            /* 0: any */
    uint32_t connections_max; /* 0 = 64 */
    uint64_t bodies_max;      /* bytes of all requests that are being read; 0 = 1 GiB */
    uint32_t idle_seconds;    /* without any progress of a connection; 0 = 30 */
};

enum err srv_http_open(const struct srv_http_config *config, const struct srv_http_handler *handler,
                       struct srv_http **http, struct report *report) ERR_MUST_USE;
uint16_t srv_http_port(const struct srv_http *http);
/* Serves until srv_http_stop; then accepts nothing more and ends when the answers under way are
 * out, after five seconds at the latest. */
void srv_http_run(struct srv_http *http);
void srv_http_stop(struct srv_http *http); /* from a signal handler or another thread */
void srv_http_close(struct srv_http *http); /* NULL is allowed */

#endif
