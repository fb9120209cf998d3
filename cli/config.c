#include "cli/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/paths.h"

struct reading {
    const char *path;
    struct engine_config *config;
    struct config_file *file;
    struct report *report;
};

enum key_kind { KEY_TEXT, KEY_LIST, KEY_U32, KEY_U64, KEY_MEGABYTES, KEY_BOOL };

struct key {
    const char *section, *name;
    enum key_kind kind;
    size_t offset; /* in struct engine_config; KEY_TEXT, KEY_LIST: in struct config_file */
};

#define CONFIG(field) offsetof(struct engine_config, field)
static const struct key keys[] = {
    {"model", "path", KEY_TEXT, offsetof(struct config_file, model)},
    {"model", "name", KEY_TEXT, offsetof(struct config_file, model)},
    {"model", "quantize", KEY_TEXT, offsetof(struct config_file, quantize)},
    {"model", "packed_cache", KEY_BOOL, CONFIG(packed_cache)},
    {"registry", "url", KEY_TEXT, offsetof(struct config_file, registry)},
    {"registry", "trusted_keys", KEY_LIST, offsetof(struct config_file, trusted_keys)},
    {"registry", "signing_key", KEY_TEXT, offsetof(struct config_file, signing_key)},
    {"engine", "threads", KEY_U32, CONFIG(threads)},
    {"engine", "page_tokens", KEY_U32, CONFIG(page_tokens)},
    {"engine", "page_count", KEY_U32, CONFIG(page_count)},
    {"engine", "kv_bits", KEY_U32, CONFIG(kv_bits)},
    {"engine", "batch_tokens", KEY_U32, CONFIG(batch_tokens_max)},
    {"engine", "batch_requests", KEY_U32, CONFIG(batch_requests_max)},
    {"engine", "seed", KEY_U64, CONFIG(seed)},
    {"runtime", "memory_mb", KEY_MEGABYTES, CONFIG(guest_memory_bytes_max)},
    {"runtime", "fuel", KEY_U64, CONFIG(guest_fuel_max)},
    {"runtime", "token_budget", KEY_U64, CONFIG(token_budget)},
    {"runtime", "processes", KEY_U32, CONFIG(processes_max)},
    {"runtime", "allow_fs", KEY_BOOL, CONFIG(allow_fs)},
    {"runtime", "allow_network", KEY_BOOL, CONFIG(allow_network)},
    {"runtime", "network_allowed_hosts", KEY_TEXT, offsetof(struct config_file, network_rules)},
};

static bool read_number(const char *text, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number > max)
        return false;
    *value = number;
    return true;
}

static bool set_key(const struct reading *reading, const struct key *key, const char *text)
{
    char *base = key->kind <= KEY_LIST ? (char *)reading->file : (char *)reading->config;
    void *field = base + key->offset;
    uint64_t number;
    switch (key->kind) {
    case KEY_TEXT:
        return snprintf(field, sizeof reading->file->model, "%s", text) <
               (int)sizeof reading->file->model;
    case KEY_LIST: { /* indented lines, and repeated keys, add to it */
        size_t bytes = strlen(field), room = sizeof reading->file->trusted_keys - bytes;
        return snprintf((char *)field + bytes, room, "%s%s", bytes ? ", " : "", text) < (int)room;
    }
    case KEY_U32:
        if (!read_number(text, UINT32_MAX, &number))
            return false;
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case KEY_U64: return read_number(text, UINT64_MAX, field);
    case KEY_MEGABYTES:
        if (!read_number(text, UINT64_MAX >> 20, &number))
            return false;
        *(uint64_t *)field = number << 20;
        return true;
    case KEY_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return false;
        *(bool *)field = text[0] == 't';
        return true;
    }
    return false;
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    static const char *const expected[] = {"a text that is not too long",
                                           "a list that is not too long", "a number that fits",
                                           "a number that fits", "a number of megabytes",
                                           "true or false"};
    struct reading *reading = user;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0)
            continue;
        if (set_key(reading, &keys[i], value))
            return 1;
        (void)err_set(reading->report, ERR_INVALID, "%s: [%s] %s must be %s, not '%s'",
                      reading->path, section, name, expected[keys[i].kind], value);
        return 0;
    }
    (void)err_set(reading->report, ERR_INVALID, "%s: unknown key '%s' in section [%s]",
                  reading->path, name, section);
    return 0;
}

enum err config_read(const char *path, struct engine_config *config, struct config_file *file,
                     struct report *report)
{
    char standard[PATHS_MAX];
    *file = (struct config_file){0};
    if (!path) {
        if (!paths_in_home(standard, "config.ini") || access(standard, F_OK) != 0)
            return ERR_OK;
        path = standard;
    }
    struct reading reading = {path, config, file, report};
    int line = ini_parse(path, on_key, &reading);
    if (line == 0)
        return ERR_OK;
    if (line < 0)
        return err_set(report, ERR_IO, "cannot read the configuration %s", path);
    (void)err_set(report, ERR_INVALID, "%s: malformed", path);
    return err_prefix(report, "line %d", line);
}
