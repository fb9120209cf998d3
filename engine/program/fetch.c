#include "engine/program/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TRIES = 3, REDIRECTS_MAX = 5, CONNECT_SECONDS = 10, STALL_SECONDS = 30 };

struct transfer {
    const struct prog_fetch *request;
    struct buf *out;
    size_t begin; /* of the answer in `out` */
    bool is_over;
};

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    size_t bytes = size * count;
    if (t->out->count - t->begin + bytes > t->request->bytes_max) {
        t->is_over = true;
        return 0;
    }
    return buf_append(t->out, data, bytes) ? bytes : 0;
}

static int on_progress(void *user, curl_off_t total, curl_off_t done, curl_off_t up_total,
                       curl_off_t up_done)
{
    const struct transfer *t = user;
    if (!t->request->progress)
        return 0;
    bool is_up = t->request->body_bytes != 0;
    uint64_t all = (uint64_t)(is_up ? up_total : total);
    if (all)
        t->request->progress(t->request->user, (uint64_t)(is_up ? up_done : done), all);
    return 0;
}

/* One try. */
static CURLcode perform(CURL *curl, struct transfer *t, char message[CURL_ERROR_SIZE],
                        struct curl_slist *headers, long *status)
{
    const struct prog_fetch *request = t->request;
    buf_clear(t->out);
    message[0] = 0;
    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "pie/0.4");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (request->token && request->token[0]) {
        (void)curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        (void)curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request->token);
    }
    if (strcmp(request->method, "GET") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    } else {
        (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                               request->body ? (const char *)request->body : "");
    }
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    return code;
}

static void pause_before(int attempt)
{
    struct timespec time = {0, 200 * 1000 * 1000L * attempt};
    (void)nanosleep(&time, NULL);
}

enum err prog_fetch(const struct prog_fetch *request, struct buf *out, long *status,
                    struct report *report)
{
    static bool is_ready;
    char message[CURL_ERROR_SIZE], type[200];
    struct transfer t = {.request = request, .out = out};
    if (!is_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return err_set(report, ERR_MEMORY, "libcurl could not be started");
    is_ready = true;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    if (request->content_type) {
        (void)snprintf(type, sizeof type, "Content-Type: %s", request->content_type);
        headers = curl_slist_append(headers, type);
    }
    if (!curl || (request->content_type && !headers)) {
        curl_easy_cleanup(curl);
        return err_set(report, ERR_MEMORY, "no memory for a request to %s", request->url);
    }
    int tries = strcmp(request->method, "GET") == 0 ? TRIES : 1;
    CURLcode code = CURLE_OK;
    for (int i = 0; i < tries; i++) {
        if (i)
            pause_before(i);
        *status = 0;
        code = perform(curl, &t, message, headers, status);
        if (t.is_over || out->failed ||
            (code == CURLE_OK && !(*status >= 502 && *status <= 504)))
            break;
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (out->failed)
        return err_set(report, ERR_MEMORY, "no memory for the answer of %s", request->url);
    if (t.is_over)
        return err_set(report, ERR_LIMIT, "the answer of %s is larger than %zu bytes", request->url,
                       request->bytes_max);
    if (code != CURLE_OK)
        return err_set(report, ERR_IO, "%s %s failed: %s", request->method, request->url,
                       message[0] ? message : curl_easy_strerror(code));
    return ERR_OK;
}
