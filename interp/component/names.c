/* Names of imports and exports: their grammar (Explainer.md) and how versions are matched. */
#include <string.h>

#include "interp/component/decode.h"

static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool comp_name_is_label(const char *name, size_t bytes)
{
    size_t at = 0;
    bool is_first = true;
    do {
        bool has_lower = false, has_upper = false;
        size_t start = at;
        for (; at < bytes && name[at] != '-'; at++) {
            if (is_lower(name[at]))
                has_lower = true;
            else if (is_upper(name[at]))
                has_upper = true;
            else if (!is_digit(name[at]))
                return false;
        }
        if (at == start || (has_lower && has_upper) || (is_first && is_digit(name[start])))
            return false;
        is_first = false;
    } while (at < bytes && ++at <= bytes);
    return true;
}

size_t comp_name_base_bytes(const char *name, size_t bytes)
{
    const char *version = memchr(name, '@', bytes);
    return version ? (size_t)(version - name) : bytes;
}

bool comp_name_key(const char *name, size_t bytes, char *out, size_t *out_bytes)
{
    size_t base = comp_name_base_bytes(name, bytes), end = bytes;
    if (base < bytes) {
        /* Keep the version up to and including its first part that is not 0, at most three. */
        size_t at = base + 1;
        for (int part = 0; part < 3 && at < bytes; part++) {
            bool is_zero = true;
            while (at < bytes && is_digit(name[at]))
                is_zero &= name[at++] == '0';
            end = at;
            if (!is_zero || at >= bytes || name[at] != '.')
                break;
            at++;
        }
    }
    if (end > COMP_NAME_MAX)
        return false;
    memcpy(out, name, end);
    *out_bytes = end;
    return true;
}

/* words ::= first-word ( '-' word )*: a label without capitals. */
static bool is_words(const char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (is_upper(name[i]))
            return false;
    return comp_name_is_label(name, bytes);
}

static bool is_identifiers(const char *text, size_t bytes, bool is_strict)
{
    size_t start = 0;
    for (size_t i = 0; i <= bytes; i++) {
        if (i < bytes && text[i] != '.') {
            if (!is_lower(text[i]) && !is_upper(text[i]) && !is_digit(text[i]) && text[i] != '-')
                return false;
            continue;
        }
        bool is_number = true;
        for (size_t k = start; k < i; k++)
            is_number &= is_digit(text[k]);
        if (i == start || (is_strict && is_number && text[start] == '0' && i - start > 1))
            return false;
        start = i + 1;
    }
    return true;
}

/* A valid semver, or one of its canonical prefixes: 1, 0.2, 0.0.1, 0.0.0. */
static bool is_version(const char *text, size_t bytes)
{
    size_t at = 0, parts = 0;
    bool is_zero = true;
    while (parts < 3) {
        size_t start = at;
        while (at < bytes && is_digit(text[at]))
            is_zero &= text[at++] == '0';
        if (at == start || (text[start] == '0' && at - start > 1))
            return false;
        parts++;
        if (at == bytes)
            return parts == 3 || !is_zero;
        if (parts < 3 && text[at++] != '.')
            return false;
        if (parts < 3 && !is_zero)
            is_zero = false;
    }
    const char *plus = memchr(text + at, '+', bytes - at);
    size_t end = plus ? (size_t)(plus - text) : bytes;
    if (at < end && (text[at] != '-' || !is_identifiers(text + at + 1, end - at - 1, true)))
        return false;
    return !plus || is_identifiers(plus + 1, bytes - end - 1, false);
}

bool comp_name_is_interface(const char *name, size_t bytes)
{
    size_t end = comp_name_base_bytes(name, bytes);
    const char *colon = memchr(name, ':', end);
    if (!colon || !is_words(name, (size_t)(colon - name)))
        return false;
    const char *package = colon + 1;
    size_t left = end - (size_t)(package - name);
    const char *slash = memchr(package, '/', left);
    if (!slash || !is_words(package, (size_t)(slash - package)))
        return false;
    const char *projection = slash + 1;
    if (!comp_name_is_label(projection, end - (size_t)(projection - name)))
        return false;
    return end == bytes || is_version(name + end + 1, bytes - end - 1);
}

static bool strip(const char **name, size_t *bytes, const char *prefix)
{
    size_t length = strlen(prefix);
    if (*bytes < length || memcmp(*name, prefix, length) != 0)
        return false;
    *name += length;
    *bytes -= length;
    return true;
}

struct comp_name_parts comp_name_parse(const char *name, size_t bytes)
{
    struct comp_name_parts parts = {COMP_NAME_BAD, NULL, NULL, 0, 0};
    bool is_static = false;
    if (strip(&name, &bytes, "[constructor]")) {
        if (comp_name_is_label(name, bytes))
            parts = (struct comp_name_parts){COMP_NAME_CONSTRUCTOR, name, NULL, bytes, 0};
    } else if (strip(&name, &bytes, "[method]") ||
               (is_static = strip(&name, &bytes, "[static]"))) {
        const char *dot = memchr(name, '.', bytes);
        size_t head = dot ? (size_t)(dot - name) : 0;
        if (dot && comp_name_is_label(name, head) &&
            comp_name_is_label(dot + 1, bytes - head - 1))
            parts = (struct comp_name_parts){is_static ? COMP_NAME_STATIC : COMP_NAME_METHOD,
                                             name, dot + 1, head, bytes - head - 1};
    } else if (comp_name_is_label(name, bytes)) {
        parts.kind = COMP_NAME_LABEL;
    } else if (comp_name_is_interface(name, bytes)) {
        parts.kind = COMP_NAME_INTERFACE;
    }
    return parts;
}
