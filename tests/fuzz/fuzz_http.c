/* links: engine/server
 * Any bytes as a request's head: what is found lies inside it, and a prefix never says more. */
#include <stdint.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/server/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_inside(struct srv_http_text text, const char *data, size_t bytes)
{
    CHECK(text.bytes == 0 || (text.data >= data && text.data + text.bytes <= data + bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct srv_http_request request;
    const char *text = (const char *)data;
    char out[64];
    long head = srv_http_parse(text, bytes, &request);
    CHECK(head <= (long)bytes && head <= SRV_HTTP_HEAD_MAX);
    if (head <= 0) {
        CHECK(head == 0 || (-head >= 400 && -head < 600));
        return 0;
    }
    CHECK(request.header_count <= SRV_HTTP_HEADERS_MAX);
    check_inside(request.method, text, (size_t)head);
    check_inside(request.path, text, (size_t)head);
    check_inside(request.query, text, (size_t)head);
    for (size_t i = 0; i < request.header_count; i++) {
        check_inside(request.headers[i].name, text, (size_t)head);
        check_inside(request.headers[i].value, text, (size_t)head);
    }
    if (srv_http_decode(request.path, false, out, sizeof out))
        CHECK(strlen(out) < sizeof out);
    (void)srv_http_query(&request, "q", out, sizeof out);
    struct srv_http_request shorter;
    CHECK(srv_http_parse(text, (size_t)head - 1, &shorter) == 0);
    CHECK(srv_http_parse(text, (size_t)head, &shorter) == head);
    return 0;
}
