/* HTTP requests, by libcurl; the only file that includes it. Blocks the calling thread. */
#ifndef ENGINE_PROGRAM_FETCH_H
#define ENGINE_PROGRAM_FETCH_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct prog_fetch {
    const char *method; /* "GET", "POST", "PUT" */
    const char *url;    /* http or https */
    const char *token;  /* for Authorization: Bearer; NULL: none. Not sent on to other hosts */
    const char *content_type;
    const void *body;
    size_t body_bytes;
    size_t bytes_max; /* of the answer */
    void (*progress)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *user;
};

/* Appends the answer's body to `out` and gives its status; any status is a success here. A GET that
 * fails on the way, or with 502 to 504, is tried three times. ERR_IO when nobody answers or the
 * connection breaks, ERR_LIMIT for an answer over the limit. */
enum err prog_fetch(const struct prog_fetch *request, struct buf *out, long *status,
                    struct report *report) ERR_MUST_USE;

#endif
