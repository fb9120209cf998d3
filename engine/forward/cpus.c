/* How many CPUs this process may really use. */
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/forward/fwd.h"

/* CPUs of one cgroup's cpu.max ("max 100000" or "150000 100000"), rounded up; 0 = no limit. */
static uint32_t cpu_max_at(const char *path)
{
    char text[64] = "";
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t count = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[count] = '\0';
    char *end;
    unsigned long long quota = strtoull(text, &end, 10);
    if (end == text || quota == 0)
        return 0;
    unsigned long long period = strtoull(end, NULL, 10);
    if (period == 0)
        return 0;
    unsigned long long cpus = (quota + period - 1) / period;
    return cpus > 0 && cpus < UINT32_MAX ? (uint32_t)cpus : 0;
}

/* The tightest cpu.max on the way from our cgroup (v2) to the root. */
static uint32_t cgroup_cpus(void)
{
    char line[600], path[1000];
    uint32_t least = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file)
        return 0;
    line[0] = '\0';
    while (fgets(line, sizeof line, file) && strncmp(line, "0::", 3) != 0)
        line[0] = '\0';
    (void)fclose(file);
    if (strncmp(line, "0::/", 4) != 0)
        return 0;
    char *group = line + 3;
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        uint32_t cpus = cpu_max_at(path);
        if (cpus && (!least || cpus < least))
            least = cpus;
        char *slash = strrchr(group, '/');
        if (!slash || !*group)
            return least;
        *slash = '\0';
    }
}

uint32_t fwd_threads_default(void)
{
    cpu_set_t set;
    uint32_t cpus = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        cpus = (uint32_t)CPU_COUNT(&set);
    uint32_t limit = cgroup_cpus();
    return limit && limit < cpus ? limit : cpus;
}
