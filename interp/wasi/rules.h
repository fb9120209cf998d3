/* Which addresses guests may talk to. Private to interp/wasi. */
#ifndef INTERP_WASI_RULES_H
#define INTERP_WASI_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "engine/base/err.h"

struct wasi_rules {
    bool all;
    struct wasi_rule *items;
    size_t count, capacity;
};

/* Reads them as wasi_net_create has them, into zeroed `rules`. */
enum err wasi_rules_read(const char *text, struct wasi_rules *rules,
                         struct report *report) ERR_MUST_USE;
void wasi_rules_free(struct wasi_rules *rules);
/* AF_INET or AF_INET6. */
bool wasi_rules_allow(const struct wasi_rules *rules, const struct sockaddr *address);

#endif
