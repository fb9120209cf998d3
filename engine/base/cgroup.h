/* Control groups: how much of the machine this process may use. Linux's both versions; limits of
 * all groups on the way from the process to the root count, the tightest wins. */
#ifndef ENGINE_BASE_CGROUP_H
#define ENGINE_BASE_CGROUP_H

#include <stdint.h>

struct cgroup_limits {
    double cpus;          /* processor seconds per second; 0 = no limit */
    uint64_t memory_max;  /* bytes; UINT64_MAX = no limit */
    uint64_t memory_left; /* bytes to the limit, file cache that can be dropped not counted;
                           * UINT64_MAX = no limit */
};

/* Reads them anew. What cannot be read is no limit. */
void cgroup_limits_get(struct cgroup_limits *limits);

/* The same from another place, for tests: `self` as /proc/self/cgroup, `root` as /sys/fs/cgroup. */
void cgroup_limits_read(const char *self, const char *root, struct cgroup_limits *limits);

#endif
