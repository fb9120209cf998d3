#include "engine/base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1400, UNLIMITED_BITS = 60 }; /* version 1 says "none" with nearly 2^63 */

static bool read_text(const char *folder, const char *name, char *text, size_t bytes)
{
    char path[PATH_BYTES + 64];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t count = fread(text, 1, bytes - 1, file);
    (void)fclose(file);
    text[count] = '\0';
    return true;
}

/* The number a file begins with; `otherwise` for "max", for what is as good as no limit, and when
 * there is none. */
static uint64_t number_of(const char *folder, const char *name, uint64_t otherwise)
{
    char text[64], *end;
    if (!read_text(folder, name, text, sizeof text))
        return otherwise;
    unsigned long long value = strtoull(text, &end, 10);
    return end == text || text[0] == '-' || value >> UNLIMITED_BITS ? otherwise : value;
}

/* Bytes of file cache that nobody has looked at lately: the kernel drops them first. */
static uint64_t droppable(const char *folder, const char *key)
{
    char text[8192];
    if (!read_text(folder, "memory.stat", text, sizeof text))
        return 0;
    size_t bytes = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, bytes) == 0 && line[bytes] == ' ')
            return strtoull(line + bytes, NULL, 10);
    }
    return 0;
}

static void limit_memory(struct cgroup_limits *limits, uint64_t max, uint64_t used, uint64_t cache)
{
    if (max == UINT64_MAX)
        return;
    used = used > cache ? used - cache : 0;
    uint64_t left = max > used ? max - used : 0;
    if (max < limits->memory_max)
        limits->memory_max = max;
    if (left < limits->memory_left)
        limits->memory_left = left;
}

static void limit_cpus(struct cgroup_limits *limits, uint64_t quota, uint64_t period)
{
    if (quota == 0 || period == 0)
        return;
    double cpus = (double)quota / (double)period;
    if (limits->cpus == 0 || cpus < limits->cpus)
        limits->cpus = cpus;
}

/* ---- one group -------------------------------------------------------------------------------- */

static void look_unified(const char *folder, struct cgroup_limits *limits)
{
    char text[64], *end;
    limit_memory(limits, number_of(folder, "memory.max", UINT64_MAX),
                 number_of(folder, "memory.current", 0), droppable(folder, "inactive_file"));
    if (read_text(folder, "cpu.max", text, sizeof text)) { /* "max 100000", "150000 100000" */
        unsigned long long quota = strtoull(text, &end, 10);
        if (end != text)
            limit_cpus(limits, quota, strtoull(end, NULL, 10));
    }
}

static void look_memory(const char *folder, struct cgroup_limits *limits)
{
    limit_memory(limits, number_of(folder, "memory.limit_in_bytes", UINT64_MAX),
                 number_of(folder, "memory.usage_in_bytes", 0),
                 droppable(folder, "total_inactive_file"));
}

static void look_cpu(const char *folder, struct cgroup_limits *limits)
{
    limit_cpus(limits, number_of(folder, "cpu.cfs_quota_us", 0),
               number_of(folder, "cpu.cfs_period_us", 0));
}

/* `look` at root/controllers/group and at all folders above it, to root/controllers. */
static void walk(const char *root, const char *controllers, const char *group,
                 void (*look)(const char *folder, struct cgroup_limits *limits),
                 struct cgroup_limits *limits)
{
    char folder[PATH_BYTES];
    int base = snprintf(folder, sizeof folder, "%s%s%s", root, *controllers ? "/" : "", controllers);
    if (base >= (int)sizeof folder ||
        snprintf(folder + base, sizeof folder - (size_t)base, "%s", group) >=
            (int)sizeof folder - base)
        return;
    for (;;) {
        look(folder, limits);
        char *slash = strrchr(folder + base, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

static bool names(const char *controllers, const char *one)
{
    size_t bytes = strlen(one);
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, one, bytes) == 0 && (at[bytes] == '\0' || at[bytes] == ','))
            return true;
    }
    return false;
}

void cgroup_limits_read(const char *self, const char *root, struct cgroup_limits *limits)
{
    char line[1000];
    *limits = (struct cgroup_limits){.memory_max = UINT64_MAX, .memory_left = UINT64_MAX};
    FILE *file = fopen(self, "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) { /* "ID:CONTROLLERS:PATH" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':')
                                                                    : NULL;
        if (!group)
            continue;
        controllers++;
        *group++ = '\0';
        if (strcmp(group, "/") == 0)
            *group = '\0';
        if (*controllers == '\0') {
            walk(root, "", group, look_unified, limits);
            walk(root, "unified", group, look_unified, limits); /* beside version 1 */
        } else if (names(controllers, "memory")) {
            walk(root, controllers, group, look_memory, limits);
        } else if (names(controllers, "cpu")) {
            walk(root, controllers, group, look_cpu, limits);
        }
    }
    (void)fclose(file);
}

void cgroup_limits_get(struct cgroup_limits *limits)
{
    cgroup_limits_read("/proc/self/cgroup", "/sys/fs/cgroup", limits);
}
