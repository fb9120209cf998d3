/* Invariants:
 *   - a connection is READING (in holds what came, no answer yet) or WRITING (out, then file);
 *   - `bodies` is the sum of the bodies that READING connections have been promised room for;
 *   - the head of a request stays at the beginning of `in` until its answer is out, so that what
 *     points into it is valid. */
#define _GNU_SOURCE /* accept4 */
#include "engine/server/http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"

enum {
    CONNECTIONS = 64, IDLE_SECONDS = 30, STOP_SECONDS = 5, READ_BYTES = 64 << 10,
    REQUEST_SECONDS = 900,
};
static const uint64_t BODIES = 1ull << 30;

enum state { FREE, READING, WRITING };

struct connection {
    enum state state;
    int fd;
    struct buf in, out;
    size_t head_bytes, sent;
    struct srv_http_request request;
    bool has_head, is_last;
    int file;
    uint64_t file_left, body_promised;
    uint64_t progress_ns, begun_ns;
};

struct srv_http {
    struct srv_http_handler handler;
    struct connection *connections;
    struct pollfd *polls;
    uint32_t connection_count;
    uint64_t bodies, bodies_max, idle_ns;
    int listener, stopper;
    uint16_t port;
    bool is_stopping;
};

/* ---- the head ----------------------------------------------------------------------------- */

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool srv_http_is(struct srv_http_text text, const char *other)
{
    return strlen(other) == text.bytes && strncasecmp(text.data, other, text.bytes) == 0;
}

struct srv_http_text srv_http_header(const struct srv_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (srv_http_is(request->headers[i].name, name))
            return request->headers[i].value;
    return (struct srv_http_text){"", 0};
}

/* The request line: METHOD SP /path[?query] SP HTTP/1.x. 0, or the status that answers it. */
static int parse_line(const char *line, size_t bytes, struct srv_http_request *request)
{
    size_t at = 0;
    while (at < bytes && is_token(line[at]))
        at++;
    request->method = (struct srv_http_text){line, at};
    if (at == 0 || at >= bytes || line[at] != ' ')
        return 400;
    size_t begin = ++at, mark = 0;
    while (at < bytes && line[at] > ' ' && line[at] < 127) {
        if (line[at] == '?' && !mark)
            mark = at;
        at++;
    }
    if (at == begin || at >= bytes || line[at] != ' ' || line[begin] != '/')
        return 400;
    size_t end = mark ? mark : at;
    request->path = (struct srv_http_text){line + begin, end - begin};
    if (mark)
        request->query = (struct srv_http_text){line + mark + 1, at - mark - 1};
    at++;
    if (bytes - at != 8 || memcmp(line + at, "HTTP/", 5) != 0)
        return 400;
    if (memcmp(line + at + 5, "1.", 2) != 0)
        return 505;
    request->is_keep_alive = line[at + 7] != '0';
    return 0;
}

static int parse_header(const char *line, size_t bytes, struct srv_http_request *request)
{
    size_t name = 0;
    while (name < bytes && is_token(line[name]))
        name++;
    if (name == 0 || name >= bytes || line[name] != ':')
        return 400; /* also folded lines and spaces before the colon */
    size_t begin = name + 1, end = bytes;
    while (begin < end && (line[begin] == ' ' || line[begin] == '\t'))
        begin++;
    while (end > begin && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    for (size_t i = begin; i < end; i++)
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 127)
            return 400;
    if (request->header_count == SRV_HTTP_HEADERS_MAX)
        return 431;
    request->headers[request->header_count].name = (struct srv_http_text){line, name};
    request->headers[request->header_count++].value =
        (struct srv_http_text){line + begin, end - begin};
    return 0;
}

/* What the headers say about the body and the connection. */
static int read_headers(struct srv_http_request *request)
{
    bool has_length = false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct srv_http_text name = request->headers[i].name, value = request->headers[i].value;
        if (srv_http_is(name, "transfer-encoding"))
            return 501;
        if (srv_http_is(name, "content-length")) {
            uint64_t length = 0;
            if (value.bytes == 0 || value.bytes > 15 || has_length)
                return value.bytes > 15 ? 413 : 400;
            for (size_t d = 0; d < value.bytes; d++) {
                if (value.data[d] < '0' || value.data[d] > '9')
                    return 400;
                length = length * 10 + (uint64_t)(value.data[d] - '0');
            }
            request->body_bytes = length;
            has_length = true;
        } else if (srv_http_is(name, "connection")) {
            if (srv_http_is(value, "close"))
                request->is_keep_alive = false;
        } else if (srv_http_is(name, "expect")) {
            if (!srv_http_is(value, "100-continue"))
                return 400;
            request->expects_continue = true;
        }
    }
    return 0;
}

long srv_http_parse(const char *data, size_t bytes, struct srv_http_request *request)
{
    *request = (struct srv_http_request){0};
    size_t at = 0;
    bool has_line = false;
    for (;;) {
        const char *end = at < bytes ? memchr(data + at, '\n', bytes - at) : NULL;
        if (!end)
            return bytes > SRV_HTTP_HEAD_MAX ? -431 : 0;
        size_t next = (size_t)(end - data) + 1;
        if (next > SRV_HTTP_HEAD_MAX)
            return -431;
        size_t line_bytes = (size_t)(end - (data + at));
        if (line_bytes == 0 || data[at + line_bytes - 1] != '\r')
            return -400;
        line_bytes--;
        int status = 0;
        if (!has_line)
            status = parse_line(data + at, line_bytes, request);
        else if (line_bytes)
            status = parse_header(data + at, line_bytes, request);
        else
            status = read_headers(request);
        if (status)
            return -status;
        if (has_line && line_bytes == 0)
            return (long)next;
        has_line = true;
        at = next;
    }
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool srv_http_decode(struct srv_http_text text, bool is_query, char *out, size_t room)
{
    size_t put = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '%') {
            if (i + 2 >= text.bytes || hex_value(text.data[i + 1]) < 0 ||
                hex_value(text.data[i + 2]) < 0)
                return false;
            c = (char)(hex_value(text.data[i + 1]) << 4 | hex_value(text.data[i + 2]));
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        if (c == 0 || put + 1 >= room)
            return false;
        out[put++] = c;
    }
    out[put] = 0;
    return true;
}

bool srv_http_query(const struct srv_http_request *request, const char *key, char *out, size_t room)
{
    size_t at = 0, key_bytes = strlen(key);
    struct srv_http_text query = request->query;
    out[0] = 0;
    while (at < query.bytes) {
        const char *part = query.data + at;
        const char *end = memchr(part, '&', query.bytes - at);
        size_t bytes = end ? (size_t)(end - part) : query.bytes - at;
        if (bytes > key_bytes && memcmp(part, key, key_bytes) == 0 && part[key_bytes] == '=')
            return srv_http_decode(
                (struct srv_http_text){part + key_bytes + 1, bytes - key_bytes - 1}, true, out, room);
        at += bytes + 1;
    }
    return true;
}

/* ---- connections -------------------------------------------------------------------------- */

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 422: return "Unprocessable Content";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return status >= 500 ? "Internal Server Error" : "Status";
    }
}

static void release_body(struct srv_http *http, struct connection *c)
{
    http->bodies -= c->body_promised;
    c->body_promised = 0;
}

static void drop(struct srv_http *http, struct connection *c)
{
    release_body(http, c);
    (void)close(c->fd);
    if (c->file >= 0)
        (void)close(c->file);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    *c = (struct connection){.file = -1, .fd = -1};
}

/* Turns a response into bytes to send. */
static void begin_writing(struct srv_http *http, struct connection *c,
                          struct srv_http_response *response, bool is_last)
{
    uint64_t bytes = response->file >= 0 ? response->file_bytes : response->body.count;
    bool is_head = c->has_head && srv_http_is(c->request.method, "HEAD");
    c->is_last = is_last || http->is_stopping;
    c->file = response->file;
    c->file_left = bytes;
    if (c->file >= 0 && is_head) {
        (void)close(c->file);
        c->file = -1;
    }
    buf_clear(&c->out);
    c->sent = 0;
    (void)buf_printf(&c->out,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
                     "X-Content-Type-Options: nosniff\r\nConnection: %s\r\n\r\n",
                     response->status, reason(response->status),
                     response->content_type ? response->content_type : "application/json",
                     (unsigned long long)bytes, c->is_last ? "close" : "keep-alive");
    if (!is_head && response->body.count)
        (void)buf_append(&c->out, response->body.data, response->body.count);
    buf_deinit(&response->body);
    release_body(http, c);
    c->state = WRITING;
    if (c->out.failed)
        drop(http, c);
}

static void refuse(struct srv_http *http, struct connection *c, int status)
{
    struct srv_http_response response = {.status = status, .file = -1};
    buf_init(&response.body, NULL);
    (void)buf_printf(&response.body, "{\"detail\":\"%s\"}", reason(status));
    begin_writing(http, c, &response, true);
}

/* A head is complete: may its body come? */
static void accept_head(struct srv_http *http, struct connection *c)
{
    uint64_t body_max = 0;
    c->has_head = true;
    int status = http->handler.check(http->handler.user, &c->request, &body_max);
    if (!status && c->request.body_bytes > body_max)
        status = 413;
    if (!status && http->bodies + c->request.body_bytes > http->bodies_max)
        status = 503;
    if (status) {
        refuse(http, c, status);
        return;
    }
    c->body_promised = c->request.body_bytes;
    http->bodies += c->body_promised;
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->request.expects_continue && c->in.count == c->head_bytes)
        (void)send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Does what can be done with what has been read. */
static void advance(struct srv_http *http, struct connection *c)
{
    if (!c->has_head) {
        long head = srv_http_parse(c->in.data ? c->in.data : "", c->in.count, &c->request);
        if (head == 0)
            return;
        if (head < 0) {
            refuse(http, c, (int)-head);
            return;
        }
        c->head_bytes = (size_t)head;
        accept_head(http, c);
    }
    if (c->state != READING || c->in.count - c->head_bytes < c->request.body_bytes)
        return;
    /* The buffer may have moved since the head was read. */
    (void)srv_http_parse(c->in.data, c->head_bytes, &c->request);
    c->request.body = c->in.data + c->head_bytes;
    struct srv_http_response response = {.status = 200, .file = -1};
    buf_init(&response.body, NULL);
    http->handler.answer(http->handler.user, &c->request, &response);
    begin_writing(http, c, &response, !c->request.is_keep_alive);
}

static void on_readable(struct srv_http *http, struct connection *c)
{
    char bytes[READ_BYTES];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || !buf_append(&c->in, bytes, (size_t)got)) {
        drop(http, c);
        return;
    }
    c->progress_ns = clock_now_ns();
    if (c->begun_ns == 0)
        c->begun_ns = c->progress_ns;
    advance(http, c);
}

static void on_writable(struct srv_http *http, struct connection *c)
{
    ssize_t put;
    if (c->sent < c->out.count) {
        put = send(c->fd, c->out.data + c->sent, c->out.count - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0)
            c->sent += (size_t)put;
    } else if (c->file >= 0 && c->file_left) {
        put = sendfile(c->fd, c->file, NULL, c->file_left < (1 << 20) ? (size_t)c->file_left : 1 << 20);
        if (put > 0)
            c->file_left -= (uint64_t)put;
        else if (put == 0)
            errno = EIO; /* the file has become shorter */
    } else {
        put = 1;
    }
    if (put <= 0) {
        if (put == 0 || (errno != EAGAIN && errno != EINTR))
            drop(http, c);
        return;
    }
    c->progress_ns = clock_now_ns();
    if (c->sent < c->out.count || (c->file >= 0 && c->file_left))
        return;
    if (c->is_last) {
        (void)shutdown(c->fd, SHUT_WR);
        drop(http, c);
        return;
    }
    if (c->file >= 0)
        (void)close(c->file);
    c->file = -1;
    /* What came behind the request is the next one. */
    size_t used = c->head_bytes + (size_t)c->request.body_bytes;
    size_t left = c->in.count - used;
    struct buf rest;
    buf_init(&rest, NULL);
    if (left && !buf_append(&rest, c->in.data + used, left)) {
        drop(http, c);
        return;
    }
    buf_deinit(&c->in);
    c->in = rest;
    c->state = READING;
    c->has_head = false;
    c->head_bytes = 0;
    c->begun_ns = left ? c->progress_ns : 0;
    c->request = (struct srv_http_request){0};
    if (left)
        advance(http, c);
}

static void on_connection(struct srv_http *http)
{
    int fd = accept4(http->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (uint32_t i = 0; i < http->connection_count; i++) {
        struct connection *c = &http->connections[i];
        if (c->state != FREE)
            continue;
        *c = (struct connection){.state = READING, .fd = fd, .file = -1, .progress_ns = clock_now_ns()};
        buf_init(&c->in, NULL);
        buf_init(&c->out, NULL);
        return;
    }
    (void)close(fd); /* not reached: the listener is not polled while all are in use */
}

/* ---- the server --------------------------------------------------------------------------- */

enum err srv_http_open(const struct srv_http_config *config, const struct srv_http_handler *handler,
                       struct srv_http **out, struct report *report)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    (void)snprintf(port, sizeof port, "%u", config->port);
    int why = getaddrinfo(config->host, port, &hints, &found);
    if (why != 0)
        return err_set(report, ERR_NOT_FOUND, "cannot listen on %s: %s", config->host,
                       gai_strerror(why));
    struct srv_http *http = mem_calloc(NULL, 1, sizeof *http);
    uint32_t count = config->connections_max ? config->connections_max : CONNECTIONS;
    if (http) {
        http->handler = *handler;
        http->listener = http->stopper = -1;
        http->connection_count = count;
        http->bodies_max = config->bodies_max ? config->bodies_max : BODIES;
        http->idle_ns = 1000000000ull * (config->idle_seconds ? config->idle_seconds : IDLE_SECONDS);
        http->connections = mem_calloc(NULL, count, sizeof *http->connections);
        http->polls = mem_calloc(NULL, (size_t)count + 2, sizeof *http->polls);
    }
    if (!http || !http->connections || !http->polls) {
        freeaddrinfo(found);
        srv_http_close(http);
        return err_set(report, ERR_MEMORY, "no memory for a server");
    }
    int yes = 1;
    int error = 0;
    for (const struct addrinfo *at = found; at && http->listener < 0; at = at->ai_next) {
        int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
            bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 128) == 0) {
            http->listener = fd;
        } else {
            error = errno;
            if (fd >= 0)
                (void)close(fd);
        }
    }
    freeaddrinfo(found);
    http->stopper = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (http->listener < 0 || http->stopper < 0) {
        srv_http_close(http);
        return err_set(report, ERR_IO, "cannot listen on %s:%u: %s", config->host, config->port,
                       strerror(error));
    }
    struct sockaddr_storage bound;
    socklen_t bound_bytes = sizeof bound;
    char number[8] = "0";
    if (getsockname(http->listener, (struct sockaddr *)&bound, &bound_bytes) == 0)
        (void)getnameinfo((struct sockaddr *)&bound, bound_bytes, NULL, 0, number, sizeof number,
                          NI_NUMERICSERV);
    http->port = (uint16_t)strtoul(number, NULL, 10);
    *out = http;
    return ERR_OK;
}

uint16_t srv_http_port(const struct srv_http *http)
{
    return http->port;
}

void srv_http_stop(struct srv_http *http)
{
    uint64_t one = 1;
    ssize_t ignored = write(http->stopper, &one, sizeof one);
    (void)ignored;
}

/* Fills the list to poll: the stopper, the listener while there is room, all connections. */
static nfds_t fill_polls(struct srv_http *http, uint32_t *busy)
{
    nfds_t count = 2;
    *busy = 0;
    for (uint32_t i = 0; i < http->connection_count; i++) {
        const struct connection *c = &http->connections[i];
        http->polls[count++] = (struct pollfd){
            .fd = c->state == FREE ? -1 : c->fd,
            .events = c->state == WRITING ? POLLOUT : POLLIN};
        *busy += c->state != FREE;
    }
    http->polls[0] = (struct pollfd){.fd = http->is_stopping ? -1 : http->stopper, .events = POLLIN};
    http->polls[1] = (struct pollfd){
        .fd = http->is_stopping || *busy == http->connection_count ? -1 : http->listener,
        .events = POLLIN};
    return count;
}

static void drop_idle(struct srv_http *http)
{
    uint64_t now = clock_now_ns();
    for (uint32_t i = 0; i < http->connection_count; i++) {
        struct connection *c = &http->connections[i];
        if (c->state == FREE)
            continue;
        bool is_between = c->state == READING && c->in.count == 0;
        if (now - c->progress_ns > http->idle_ns ||
            (c->begun_ns && now - c->begun_ns > REQUEST_SECONDS * 1000000000ull) ||
            (c->begun_ns && !c->has_head && now - c->begun_ns > http->idle_ns) ||
            (http->is_stopping && is_between))
            drop(http, c);
    }
}

void srv_http_run(struct srv_http *http)
{
    uint64_t deadline_ns = 0;
    for (;;) {
        uint32_t busy;
        drop_idle(http);
        nfds_t count = fill_polls(http, &busy);
        if (http->is_stopping && (busy == 0 || clock_now_ns() > deadline_ns))
            return;
        if (poll(http->polls, count, http->is_stopping ? 100 : 1000) < 0 && errno != EINTR)
            return;
        if (http->polls[0].revents) {
            http->is_stopping = true;
            deadline_ns = clock_now_ns() + STOP_SECONDS * 1000000000ull;
        }
        for (uint32_t i = 0; i < http->connection_count; i++) {
            struct connection *c = &http->connections[i];
            short events = http->polls[i + 2].revents;
            if (c->state == READING && events)
                on_readable(http, c);
            else if (c->state == WRITING && events)
                on_writable(http, c);
        }
        if (http->polls[1].revents)
            on_connection(http);
    }
}

void srv_http_close(struct srv_http *http)
{
    if (!http)
        return;
    for (uint32_t i = 0; http->connections && i < http->connection_count; i++)
        if (http->connections[i].state != FREE)
            drop(http, &http->connections[i]);
    if (http->listener >= 0)
        (void)close(http->listener);
    if (http->stopper >= 0)
        (void)close(http->stopper);
    mem_free(NULL, http->connections);
    mem_free(NULL, http->polls);
    mem_free(NULL, http);
}
