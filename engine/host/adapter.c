/* pie:core/adapter: LoRA adapters, by name, for all processes of a user.
 *
 * What an adapter's name means is in the environment's table; a handle keeps what it was when it was
 * given. Files come from the adapters' folder alone: a guest names them relative to it. */
#include "engine/host/impl.h"

#include <string.h>

#include "engine/backend/backend.h"
#include "engine/base/buf.h"
#include "engine/sched/sched.h"

static bool key_of(struct proc *proc, const char *name, size_t bytes, struct buf *key)
{
    buf_init(key, &proc->heap);
    return buf_append(key, proc->username, strlen(proc->username) + 1) &&
           buf_append(key, name, bytes);
}

/* The id that the name has now; false: there is no such adapter. */
static bool find(struct proc *proc, const char *name, size_t bytes, int64_t *id)
{
    struct buf key;
    bool found = key_of(proc, name, bytes, &key) &&
                 proc_adapter_find(&proc->env->adapters, key.data, key.count, id);
    buf_deinit(&key);
    return found;
}

static enum err name_it(struct proc *proc, const char *name, size_t bytes, int64_t id,
                        struct report *report)
{
    struct buf key;
    enum err err = key_of(proc, name, bytes, &key)
                       ? proc_adapter_put(&proc->env->adapters, key.data, key.count, id, report)
                       : err_set(report, ERR_MEMORY, "out of memory for an adapter");
    buf_deinit(&key);
    return err;
}

/* A handle; NULL: memory is out. */
static struct host_adapter *make(struct proc *proc, const char *name, size_t bytes, int64_t id)
{
    struct host_adapter *adapter = mem_calloc(&proc->heap, 1, sizeof *adapter);
    char *copy = mem_strdup(&proc->heap, name, bytes);
    if (adapter == NULL || copy == NULL) {
        mem_free(&proc->heap, adapter);
        mem_free(&proc->heap, copy);
        return NULL;
    }
    *adapter = (struct host_adapter){id, copy};
    return adapter;
}

void host_adapter_drop(void *host, void *rep)
{
    struct proc *proc = host;
    struct host_adapter *adapter = rep;
    mem_free(&proc->heap, adapter->name);
    mem_free(&proc->heap, adapter);
}

enum comp_host_result host_adapter_create(struct comp_host_call *call, const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    const char *name = args[1].of.string.data;
    size_t bytes = args[1].of.string.bytes;
    int64_t id;
    struct report report = {0};
    if (find(proc, name, bytes, &id)) {
        (void)err_set(&report, ERR_INVALID, "Adapter already exists: %.*s",
                      (int)(bytes < 200 ? bytes : 200), name);
        return host_error(call, report.text, result);
    }
    if (name_it(proc, name, bytes, -1, &report) != ERR_OK)
        return host_error(call, report.text, result);
    struct host_adapter *adapter = make(proc, name, bytes, -1);
    if (adapter == NULL)
        return host_no_memory(call);
    struct comp_value handle = comp_own(adapter);
    return host_ok(call, &handle, result);
}

enum comp_host_result host_adapter_destroy(struct comp_host_call *call,
                                           const struct comp_value *args, struct comp_value *result,
                                           void *user)
{
    (void)result;
    (void)user;
    struct proc *proc = host_proc(call);
    const struct host_adapter *adapter = args[0].of.rep;
    struct buf key;
    if (key_of(proc, adapter->name, strlen(adapter->name), &key))
        proc_adapter_remove(&proc->env->adapters, key.data, key.count);
    buf_deinit(&key);
    return COMP_HOST_DONE;
}

enum comp_host_result host_adapter_open(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    int64_t id;
    *result = comp_none();
    if (!find(proc, args[1].of.string.data, args[1].of.string.bytes, &id))
        return COMP_HOST_DONE;
    struct host_adapter *adapter = make(proc, args[1].of.string.data, args[1].of.string.bytes, id);
    if (adapter == NULL)
        return host_no_memory(call);
    struct comp_value handle = comp_own(adapter);
    if (comp_some(call->arena, handle, result))
        return COMP_HOST_DONE;
    host_adapter_drop(proc, adapter);
    return host_no_memory(call);
}

enum comp_host_result host_adapter_fork(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    const struct host_adapter *from = args[0].of.rep;
    struct report report = {0};
    int64_t id;
    if (find(proc, args[1].of.string.data, args[1].of.string.bytes, &id) ||
        name_it(proc, args[1].of.string.data, args[1].of.string.bytes, from->id, &report) != ERR_OK) {
        comp_trap(call, "Failed to fork adapter");
        return COMP_HOST_TRAP;
    }
    struct host_adapter *adapter =
        make(proc, args[1].of.string.data, args[1].of.string.bytes, from->id);
    if (adapter == NULL)
        return host_no_memory(call);
    *result = comp_own(adapter);
    return COMP_HOST_DONE;
}

/* Below the adapters' folder, and nowhere else. */
static enum err resolve(struct proc *proc, const char *path, size_t bytes, struct buf *out,
                        struct report *report)
{
    const char *folder = proc->env->adapters_directory;
    if (folder == NULL)
        return err_set(report, ERR_DENIED, "there is no folder of adapters in this engine");
    bool bad = bytes == 0 || path[0] == '/' || memchr(path, 0, bytes) != NULL;
    for (size_t i = 0; i + 1 < bytes && !bad; i++)
        bad = path[i] == '.' && path[i + 1] == '.';
    if (bad)
        return err_set(report, ERR_DENIED, "adapters are named relative to their folder, without "
                       "'..': '%.*s' is not", (int)(bytes < 200 ? bytes : 200), path);
    if (!buf_puts(out, folder) || !buf_putc(out, '/') || !buf_append(out, path, bytes))
        return err_set(report, ERR_MEMORY, "out of memory for an adapter");
    return ERR_OK;
}

enum comp_host_result host_adapter_load(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)user;
    struct proc *proc = host_proc(call);
    struct host_adapter *adapter = args[0].of.rep;
    struct report report = {0};
    struct buf path;
    int64_t id;
    buf_init(&path, &proc->heap);
    enum err err = resolve(proc, args[1].of.string.data, args[1].of.string.bytes, &path, &report);
    /* The same file is the same adapter: a guest that loads it again and again takes no more. */
    if (err == ERR_OK && !proc_adapter_find(&proc->env->adapters, path.data, path.count, &id)) {
        err = backend_adapter_load(sched_backend(proc->env->model.sched), path.data, &id, &report);
        if (err == ERR_OK)
            err = proc_adapter_put(&proc->env->adapters, path.data, path.count, id, &report);
    }
    buf_deinit(&path);
    if (err == ERR_OK)
        err = name_it(proc, adapter->name, strlen(adapter->name), id, &report);
    if (err == ERR_OK)
        adapter->id = id;
    return host_outcome(call, err, &report, NULL, result);
}

/* Nothing here changes adapters, so there is nothing to save. */
enum comp_host_result host_adapter_save(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)args;
    (void)user;
    return host_error(call, "adapters are not trained by this build, so there is nothing to save",
                      result);
}
