/* The map's values are ids, moved up by 2 so that none is NULL. */
#include "engine/process/adapters.h"

void proc_adapters_deinit(struct proc_adapters *adapters)
{
    map_deinit(&adapters->by_name);
}

bool proc_adapter_find(const struct proc_adapters *adapters, const char *name, size_t bytes,
                       int64_t *id)
{
    const void *value = map_find(&adapters->by_name, name, bytes);
    if (value != NULL)
        *id = (int64_t)(uintptr_t)value - 2;
    return value != NULL;
}

enum err proc_adapter_put(struct proc_adapters *adapters, const char *name, size_t bytes,
                          int64_t id, struct report *report)
{
    if (bytes > PROC_ADAPTER_NAME_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "an adapter's name has %zu bytes, %d are possible", bytes,
                       PROC_ADAPTER_NAME_BYTES_MAX);
    if (adapters->by_name.count >= PROC_ADAPTER_NAMES_MAX &&
        map_find(&adapters->by_name, name, bytes) == NULL)
        return err_set(report, ERR_LIMIT, "there are %d adapters already, as many as can be",
                       PROC_ADAPTER_NAMES_MAX);
    if (!map_set(&adapters->by_name, name, bytes, (void *)(uintptr_t)(id + 2)))
        return err_set(report, ERR_MEMORY, "out of memory for an adapter");
    return ERR_OK;
}

void proc_adapter_remove(struct proc_adapters *adapters, const char *name, size_t bytes)
{
    (void)map_take(&adapters->by_name, name, bytes);
}
