#include "engine/program/semver.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/program/manifest.h"

/* The interface has only ever grown from 0.2 to 0.4, so programs made for any of them are honoured. */
static const char *const interface_versions[] = {"0.4.0", "0.3.0", "0.2.0", NULL};
static const char *const python_versions[] = {"0.4.0", NULL};
const struct prog_semver_runtime prog_semver_runtimes[] = {
    {"core", interface_versions},   {"instruct", interface_versions}, {"mcp", interface_versions},
    {"zo", interface_versions},     {"inferlet", interface_versions}, {"python-runtime", python_versions},
    {NULL, NULL},
};

enum operator { CARET, TILDE, EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL };

struct comparator {
    enum operator operator;
    uint64_t parts[3];
    int part_count; /* numbers that were given; 0: any version */
};

static void skip_space(const char **at)
{
    while (**at == ' ' || **at == '\t')
        (*at)++;
}

static bool read_number(const char **at, uint64_t *number)
{
    if (**at < '0' || **at > '9')
        return false;
    for (*number = 0; **at >= '0' && **at <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (*number > (UINT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return true;
}

static bool is_any(char c)
{
    return c == '*' || c == 'x' || c == 'X';
}

/* One comparator; false when it is none. */
static bool read_comparator(const char **at, struct comparator *out)
{
    static const struct {
        const char *text;
        enum operator operator;
    } operators[] = {{">=", GREATER_EQUAL}, {"<=", LESS_EQUAL}, {">", GREATER}, {"<", LESS},
                     {"^", CARET}, {"~", TILDE}, {"=", EQUAL}};
    *out = (struct comparator){.operator= CARET};
    bool has_operator = false, is_open = false;
    skip_space(at);
    for (size_t i = 0; i < sizeof operators / sizeof *operators && !has_operator; i++) {
        size_t bytes = strlen(operators[i].text);
        if (strncmp(*at, operators[i].text, bytes) == 0) {
            out->operator= operators[i].operator;
            has_operator = true;
            *at += bytes;
        }
    }
    skip_space(at);
    for (int i = 0; i < 3; i++) {
        if (is_any(**at)) {
            is_open = true; /* only wildcards may follow */
            (*at)++;
        } else if (is_open || !read_number(at, &out->parts[i])) {
            return false;
        } else {
            out->part_count = i + 1;
        }
        if (**at != '.')
            break;
        if (i == 2)
            return false;
        (*at)++;
    }
    if (out->part_count == 0 && has_operator)
        return false;
    if (is_open && !has_operator && out->part_count)
        out->operator= EQUAL; /* 1.2.* */
    skip_space(at);
    return **at == '\0' || **at == ',';
}

static int compare(const uint64_t *a, const uint64_t *b, int count)
{
    for (int i = 0; i < count; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static bool holds(const struct comparator *c, const uint64_t version[3])
{
    if (c->part_count == 0)
        return true;
    int given = compare(version, c->parts, c->part_count);
    int whole = compare(version, c->parts, 3);
    switch (c->operator) {
    case EQUAL: return given == 0;
    case GREATER: return given > 0;
    case GREATER_EQUAL: return whole >= 0;
    case LESS: return whole < 0;
    case LESS_EQUAL: return given <= 0;
    case TILDE:
        return whole >= 0 && compare(version, c->parts, c->part_count < 2 ? c->part_count : 2) == 0;
    case CARET: break;
    }
    /* Nothing up to the first number that is not zero may change. */
    int fixed = 1;
    while (fixed < c->part_count && c->parts[fixed - 1] == 0)
        fixed++;
    return whole >= 0 && compare(version, c->parts, fixed) == 0;
}

/* With `version` NULL only the form is looked at. */
static bool check(const char *constraint, const uint64_t *version)
{
    bool all = true;
    if (strlen(constraint) > 200)
        return false;
    for (const char *at = constraint;; at++) {
        struct comparator comparator;
        if (!read_comparator(&at, &comparator))
            return false;
        all = all && (!version || holds(&comparator, version));
        if (*at == '\0')
            return all;
    }
}

bool prog_semver_is_constraint(const char *constraint)
{
    return check(constraint, NULL);
}

bool prog_semver_matches(const char *constraint, const char *version)
{
    uint64_t parts[3];
    if (!prog_version_is_valid(version, strlen(version)))
        return false;
    for (int i = 0; i < 3; i++, version++)
        if (!read_number(&version, &parts[i]))
            return false;
    return check(constraint, parts);
}

enum err prog_semver_check_runtime(const struct prog_manifest *manifest, const char *file,
                                   struct report *report)
{
    for (size_t i = 0; i < manifest->runtime_count; i++) {
        const struct prog_pair *wanted = &manifest->runtime[i];
        const struct prog_semver_runtime *there = prog_semver_runtimes;
        struct buf versions;
        while (there->name && strcmp(there->name, wanted->name) != 0)
            there++;
        bool holds_any = false;
        buf_init(&versions, NULL);
        if (there->name) {
            for (size_t v = 0; there->versions[v]; v++) {
                holds_any |= prog_semver_matches(wanted->value, there->versions[v]);
                (void)buf_printf(&versions, "%s%s", v ? ", " : "", there->versions[v]);
            }
        } else {
            for (there = prog_semver_runtimes; there->name; there++)
                (void)buf_printf(&versions, "%s%s", versions.count ? ", " : "", there->name);
        }
        enum err err = ERR_OK;
        if (!there->name)
            err = err_set(report, ERR_UNSUPPORTED,
                          "%s, line %u: runtime.%s: this build has no such runtime; it has %s", file,
                          wanted->line, wanted->name, versions.data ? versions.data : "none");
        else if (!holds_any)
            err = err_set(report, ERR_UNSUPPORTED,
                          "%s, line %u: runtime.%s wants \"%s\", but this build honours %s; change "
                          "the constraint or install another version", file, wanted->line,
                          wanted->name, wanted->value, versions.data ? versions.data : "none");
        buf_deinit(&versions);
        if (err)
            return err;
    }
    return ERR_OK;
}
