/* What this machine lets us use: CPUs, memory, instruction set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/forward/fwd.h"
#include "simd/simd.h"

/* "Name:   123 kB" lines of /proc/meminfo; 0 when absent. */
static uint64_t meminfo_bytes(const char *name)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) {
            bytes = strtoull(line + strlen(name), NULL, 10) * 1024;
            break;
        }
    (void)fclose(file);
    return bytes;
}

/* A number in a file of the cgroup v2 tree ("max" and missing files give UINT64_MAX). */
static uint64_t cgroup_bytes(const char *path)
{
    char line[64];
    uint64_t bytes = UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (!file)
        return bytes;
    if (fgets(line, sizeof line, file) && line[0] >= '0' && line[0] <= '9')
        bytes = strtoull(line, NULL, 10);
    (void)fclose(file);
    return bytes;
}

struct engine_machine engine_machine(void)
{
    struct engine_machine machine = {
        .threads = fwd_threads_default(),
        .memory_total = meminfo_bytes("MemTotal:"),
        .memory_available = meminfo_bytes("MemAvailable:"),
        .simd = simd_table_get()->name,
    };
    uint64_t limit = cgroup_bytes("/sys/fs/cgroup/memory.max");
    uint64_t used = cgroup_bytes("/sys/fs/cgroup/memory.current");
    if (limit < machine.memory_total) {
        uint64_t left = used < limit ? limit - used : 0;
        machine.memory_total = limit;
        if (left < machine.memory_available)
            machine.memory_available = left;
    }
    return machine;
}
