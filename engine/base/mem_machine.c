/* What the kernel says of this machine's memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

/* A number behind `key` in a small text file (key "" = at its beginning); UINT64_MAX when there is
 * none. */
static uint64_t number_in(const char *path, const char *key)
{
    char text[4096];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return UINT64_MAX;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = '\0';
    const char *at = strstr(text, key);
    if (at == NULL)
        return UINT64_MAX;
    char *end;
    at += strlen(key);
    uint64_t value = strtoull(at, &end, 10);
    return end == at ? UINT64_MAX : value;
}

static uint64_t meminfo_bytes(const char *key)
{
    uint64_t value = number_in("/proc/meminfo", key);
    return value <= UINT64_MAX / 1024 ? value * 1024 : value; /* the file counts KiB */
}

uint64_t mem_machine_total(void)
{
    uint64_t total = meminfo_bytes("MemTotal:");
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max", "");
    return limit < total ? limit : total;
}

uint64_t mem_machine_available(void)
{
    uint64_t left = meminfo_bytes("MemAvailable:");
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max", "");
    uint64_t used = number_in("/sys/fs/cgroup/memory.current", "");
    if (limit != UINT64_MAX && used != UINT64_MAX) {
        uint64_t group = limit > used ? limit - used : 0;
        if (group < left)
            left = group;
    }
    return left;
}
