/* links: engine/server
 * The HTTP server: heads, and clients that misbehave. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/server/http.h"

static void heads(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long status; /* 1: whole */
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 1},
        {"GET /a?b=c HTTP/1.0\r\nHost: x\r\n\r\n", 1},
        {"GET / HTTP/1.1\r\n", 0},
        {"GET", 0},
        {"", 0},
        {"GET / HTTP/1.1\n\n", -400},
        {"GET  / HTTP/1.1\r\n\r\n", -400},
        {"GET x HTTP/1.1\r\n\r\n", -400},
        {"GET / HTTP/2.0\r\n\r\n", -505},
        {"GET / FTP/1.1\r\n\r\n", -400},
        {" GET / HTTP/1.1\r\n\r\n", -400},
        {"G\tT / HTTP/1.1\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nA : b\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\n folded\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", -400},
        {"GET / HTTP/1.1\r\nContent-Length: 9999999999999999\r\n\r\n", -413},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", -501},
        {"GET / HTTP/1.1\r\nExpect: everything\r\n\r\n", -400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct srv_http_request request;
        long got = srv_http_parse(cases[i].text, strlen(cases[i].text), &request);
        long want = cases[i].status == 1 ? (long)strlen(cases[i].text) : cases[i].status;
        if (got != want)
            fail_msg("%s gives %ld", cases[i].text, got);
    }
    struct srv_http_request request;
    char out[16];
    static const char text[] = "PUT /a%2Fb?q=%41+c&page=7&x HTTP/1.1\r\nHOST:  h:1 \r\nconnection: close\r\n\r\n";
    assert_true(srv_http_parse(text, sizeof text - 1, &request) > 0);
    assert_true(srv_http_is(request.method, "PUT"));
    assert_true(srv_http_is(srv_http_header(&request, "Host"), "h:1"));
    assert_false(request.is_keep_alive);
    assert_true(srv_http_decode(request.path, false, out, sizeof out));
    assert_string_equal(out, "/a/b");
    assert_true(srv_http_query(&request, "q", out, sizeof out));
    assert_string_equal(out, "A c");
    assert_true(srv_http_query(&request, "page", out, sizeof out));
    assert_string_equal(out, "7");
    assert_true(srv_http_query(&request, "none", out, sizeof out));
    assert_string_equal(out, "");
    assert_false(srv_http_decode((struct srv_http_text){"%00", 3}, false, out, sizeof out));
    assert_false(srv_http_decode((struct srv_http_text){"%4", 2}, false, out, sizeof out));
    assert_false(srv_http_decode((struct srv_http_text){"0123456789abcdef", 16}, false, out, sizeof out));
}

/* ---- a server in a thread ----------------------------------------------------------------- */

static int check(void *user, const struct srv_http_request *request, uint64_t *body_max)
{
    (void)user;
    *body_max = 100;
    return srv_http_is(request->path, "/denied") ? 401 : 0;
}

static void answer(void *user, const struct srv_http_request *request,
                   struct srv_http_response *response)
{
    (void)user;
    (void)buf_printf(&response->body, "%.*s|%.*s", (int)request->path.bytes, request->path.data,
                     (int)request->body_bytes, request->body);
}

static void *run(void *http)
{
    srv_http_run(http);
    return NULL;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends, and reads until `end` has come or the connection closes. */
static void exchange(int fd, const char *text, const char *end, char *out, size_t room)
{
    size_t got = 0;
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    out[0] = 0;
    while (got + 1 < room && !strstr(out, end)) {
        ssize_t more = recv(fd, out + got, room - got - 1, 0);
        if (more <= 0)
            break;
        got += (size_t)more;
        out[got] = 0;
    }
}

static void requests(void **state)
{
    (void)state;
    struct report report = {0};
    struct srv_http *http;
    pthread_t thread;
    char out[4096];
    size_t before = mem_used_bytes();
    const struct srv_http_config config = {.host = "127.0.0.1", .connections_max = 3, .idle_seconds = 20};
    const struct srv_http_handler handler = {check, answer, NULL};
    assert_int_equal(srv_http_open(&config, &handler, &http, &report), ERR_OK);
    uint16_t port = srv_http_port(http);
    assert_int_equal(pthread_create(&thread, NULL, run, http), 0);

    int fd = connect_to(port);
    exchange(fd, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz", "|xyz", out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(out, "/a|xyz"));
    /* In two parts, and two in one. */
    exchange(fd, "POST /b HTTP/1.1\r\nContent-Le", "", out, sizeof out);
    exchange(fd, "ngth: 2\r\n\r\nuvGET /c HTTP/1.1\r\n\r\n", "/c|", out, sizeof out);
    assert_non_null(strstr(out, "/b|uv"));
    assert_non_null(strstr(out, "/c|"));
    exchange(fd, "POST /d HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "Continue", out,
             sizeof out);
    assert_non_null(strstr(out, "100 Continue"));
    exchange(fd, "q", "/d|q", out, sizeof out);
    assert_non_null(strstr(out, "/d|q"));
    exchange(fd, "HEAD /e HTTP/1.1\r\n\r\n", "\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "Content-Length: 3\r\n"));
    assert_null(strstr(out, "/e|"));
    exchange(fd, "POST /f HTTP/1.1\r\nContent-Length: 101\r\n\r\n", "never", out, sizeof out);
    assert_non_null(strstr(out, "413")); /* and closed */
    (void)close(fd);
    fd = connect_to(port);
    exchange(fd, "GET /denied HTTP/1.1\r\n\r\n", "never", out, sizeof out);
    assert_non_null(strstr(out, "401"));
    (void)close(fd);
    fd = connect_to(port);
    exchange(fd, "\x16\x03\x01 no http\r\n", "never", out, sizeof out);
    assert_non_null(strstr(out, "400"));
    (void)close(fd);

    /* More connections than places: they wait until one is given up. */
    int many[6];
    for (int i = 0; i < 6; i++)
        many[i] = connect_to(port);
    for (int i = 0; i < 6; i++) {
        exchange(many[i], "GET /g HTTP/1.1\r\nConnection: close\r\n\r\n", "never", out, sizeof out);
        assert_non_null(strstr(out, "/g|"));
        (void)close(many[i]);
    }
    /* One that stands in the middle of a request when the server is told to stop. */
    fd = connect_to(port);
    exchange(fd, "GET /h HT", "", out, sizeof out);
    srv_http_stop(http);
    exchange(fd, "TP/1.1\r\n\r\n", "never", out, sizeof out);
    (void)close(fd);
    (void)pthread_join(thread, NULL);
    srv_http_close(http);
    assert_int_equal(mem_used_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
