/* What adapters are called: names to the backend's ids, for all processes. */
#ifndef ENGINE_PROCESS_ADAPTERS_H
#define ENGINE_PROCESS_ADAPTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/map.h"

enum { PROC_ADAPTER_NAMES_MAX = 1024, PROC_ADAPTER_NAME_BYTES_MAX = 4096 };

/* Zero-initialise. */
struct proc_adapters {
    struct map by_name;
};

void proc_adapters_deinit(struct proc_adapters *adapters);
/* False: no such name. */
bool proc_adapter_find(const struct proc_adapters *adapters, const char *name, size_t bytes,
                       int64_t *id);
/* Sets or replaces; `id` is -1 for an adapter that changes nothing. ERR_LIMIT, ERR_MEMORY. */
enum err proc_adapter_put(struct proc_adapters *adapters, const char *name, size_t bytes,
                          int64_t id, struct report *report) ERR_MUST_USE;
void proc_adapter_remove(struct proc_adapters *adapters, const char *name, size_t bytes);

#endif
