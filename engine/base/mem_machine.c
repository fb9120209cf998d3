/* What the kernel says of this machine's memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/cgroup.h"
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
    struct cgroup_limits limits;
    uint64_t total = meminfo_bytes("MemTotal:");
    cgroup_limits_get(&limits);
    return limits.memory_max < total ? limits.memory_max : total;
}

uint64_t mem_machine_available(void)
{
    struct cgroup_limits limits;
    uint64_t left = meminfo_bytes("MemAvailable:");
    cgroup_limits_get(&limits);
    return limits.memory_left < left ? limits.memory_left : left;
}

/* ---- several memories ------------------------------------------------------------------------- */

size_t mem_node_mask(const char *list, uint64_t *mask)
{
    size_t count = 0;
    *mask = 0;
    while (*list) {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;
        if (end == list)
            break;
        if (*end == '-') {
            list = end + 1;
            last = strtoul(list, &end, 10);
            if (end == list)
                break;
        }
        for (unsigned long node = first; node <= last && node < 64; node++) {
            count += !(*mask >> node & 1);
            *mask |= UINT64_C(1) << node;
        }
        list = end + (*end == ',');
    }
    return count;
}

void mem_spread(void *block, size_t bytes)
{
    enum { INTERLEAVE = 3 /* MPOL_INTERLEAVE */, SPREAD_BYTES_MIN = 1 << 24 };
    char line[8192];
    uint64_t mask = 0;
    size_t nodes = 0;
    if (bytes < SPREAD_BYTES_MIN)
        return;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return;
    while (nodes == 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "Mems_allowed_list:", 18) == 0)
            nodes = mem_node_mask(line + 18, &mask);
    (void)fclose(file);
    if (nodes > 1) /* only advice: where it is refused, first touch decides */
        (void)syscall(SYS_mbind, block, bytes, INTERLEAVE, &mask, sizeof mask * 8 + 1, 0);
}
