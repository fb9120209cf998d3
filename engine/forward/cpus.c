/* How many CPUs this process may really use. */
#define _GNU_SOURCE /* sched_getaffinity */
#include <math.h>
#include <sched.h>

#include "engine/base/cgroup.h"
#include "engine/forward/fwd.h"

uint32_t fwd_threads_default(void)
{
    cpu_set_t set;
    struct cgroup_limits limits;
    uint32_t cpus = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        cpus = (uint32_t)CPU_COUNT(&set);
    cgroup_limits_get(&limits);
    /* Part of a CPU counts as one: 1.5 are used better by two threads than by one. */
    double limit = ceil(limits.cpus);
    return limit > 0 && limit < cpus ? (uint32_t)limit : cpus;
}
