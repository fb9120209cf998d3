#include "interp/wasi/rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"

struct wasi_rule {
    sa_family_t family;
    uint8_t address[16];
    unsigned bits;
    uint16_t port_first, port_last;
};

/* A whole number at `*at`, at most `max`; moves behind it. */
static bool number(const char **at, unsigned max, unsigned *value)
{
    if (**at < '0' || **at > '9')
        return false;
    *value = 0;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        *value = *value * 10 + (unsigned)(**at - '0');
        if (*value > max)
            return false;
    }
    return true;
}

static bool parse_ports(const char *at, struct wasi_rule *rule)
{
    unsigned first, last;
    if (!number(&at, UINT16_MAX, &first))
        return false;
    last = first;
    if (*at == '-' && (at++, !number(&at, UINT16_MAX, &last)))
        return false;
    rule->port_first = (uint16_t)first;
    rule->port_last = (uint16_t)last;
    return *at == '\0' && first <= last;
}

/* `text` is changed. */
static bool parse_rule(char *text, struct wasi_rule *rule)
{
    char *address = text, *rest;
    *rule = (struct wasi_rule){.port_first = 0, .port_last = UINT16_MAX};
    if (*text == '[') {
        address = text + 1;
        rest = strchr(address, ']');
        if (!rest)
            return false;
        *rest++ = '\0';
    } else {
        rest = text + strcspn(text, "/");
        char *first = strchr(text, ':'), *last = strrchr(text, ':');
        if (first && first == last && first < rest) /* one colon: IPv4 with a port */
            rest = first;
    }
    char *slash = strchr(address, '/');
    if (slash && (*text == '[' || slash < rest)) { /* [ADDRESS/BITS] */
        *slash = '\0';
        if (*rest == '/')
            return false;
        const char *bits = slash + 1;
        if (!number(&bits, 128, &rule->bits) || *bits)
            return false;
        slash = NULL;
    } else {
        rule->bits = UINT32_MAX;
        if (*rest == '/') {
            *rest++ = '\0';
            const char *bits = rest;
            if (!number(&bits, 128, &rule->bits) || (*bits && *bits != ':'))
                return false;
            rest = text + (bits - text);
        }
    }
    bool ports = *rest == ':';
    if (*rest && !ports)
        return false;
    if (ports)
        *rest++ = '\0';
    rule->family = inet_pton(AF_INET, address, rule->address) == 1    ? AF_INET
                   : inet_pton(AF_INET6, address, rule->address) == 1 ? AF_INET6
                                                                      : AF_UNSPEC;
    unsigned most = rule->family == AF_INET ? 32 : 128;
    if (rule->bits == UINT32_MAX)
        rule->bits = most;
    return rule->family != AF_UNSPEC && rule->bits <= most && (!ports || parse_ports(rest, rule));
}

enum err wasi_rules_read(const char *text, struct wasi_rules *rules, struct report *report)
{
    static const char separators[] = ", \t\n";
    for (const char *at = text + strspn(text, separators); *at; at += strspn(at, separators)) {
        char one[100];
        struct wasi_rule rule;
        size_t bytes = strcspn(at, separators), kept = bytes < sizeof one ? bytes : sizeof one - 1;
        memcpy(one, at, kept);
        one[kept] = '\0';
        if (strcmp(one, "*") == 0) {
            rules->all = true;
        } else if (kept < bytes || !parse_rule(one, &rule)) {
            return err_set(report, ERR_INVALID,
                           "network rule \"%.*s\": expected * or ADDRESS[/BITS][:PORT[-LAST]], such "
                           "as 10.0.0.0/8:443 or [::1]:80 (no names)", (int)kept, at);
        } else if (!vec_push(NULL, rules, rule)) {
            return err_set(report, ERR_MEMORY, "out of memory for network rules");
        }
        at += bytes;
    }
    return ERR_OK;
}

void wasi_rules_free(struct wasi_rules *rules)
{
    vec_free(NULL, rules);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 &&
           (rest == 0 || ((a[whole] ^ b[whole]) & (0xFF00u >> rest & 0xFFu)) == 0);
}

bool wasi_rules_allow(const struct wasi_rules *rules, const struct sockaddr *address)
{
    if (rules->all)
        return true;
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    bool is_v6 = address->sa_family == AF_INET6;
    const uint8_t *bytes = is_v6 ? v6->sin6_addr.s6_addr : (const uint8_t *)&v4->sin_addr;
    uint16_t port = ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
    for (size_t i = 0; i < rules->count; i++) {
        const struct wasi_rule *rule = &rules->items[i];
        if (rule->family == address->sa_family && port >= rule->port_first &&
            port <= rule->port_last && same_bits(rule->address, bytes, rule->bits))
            return true;
    }
    return false;
}
