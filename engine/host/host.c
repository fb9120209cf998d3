#include "engine/host/host.h"

#include <string.h>

#include "engine/host/impl.h"
#include "interp/wasi/wasi.h"

#define HOST_INTERFACE(interface, what)
#define HOST_RESOURCE(interface, name, drop)
#define HOST_FUNC(interface, name, type, handler) {interface, name, type, handler},
static const struct host_row rows[] = {
#include "engine/host/host.def"
};
#undef HOST_RESOURCE
#undef HOST_FUNC
#define HOST_FUNC(interface, name, type, handler)
#define HOST_RESOURCE(interface, name, drop) {interface, name, drop},
static const struct {
    const char *interface, *name;
    comp_resource_drop drop;
} resources[] = {
#include "engine/host/host.def"
};
#undef HOST_INTERFACE
#undef HOST_RESOURCE
#undef HOST_FUNC
#define HOST_FUNC(interface, name, type, handler)
#define HOST_RESOURCE(interface, name, drop)
#define HOST_INTERFACE(interface, what) {interface, what},
static const struct {
    const char *interface, *what;
} interfaces[] = {
#include "engine/host/host.def"
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct wasi_ctx *wasi_of(void *host)
{
    const struct proc *proc = host;
    return proc->wasi;
}

enum err host_register(struct comp_linker *linker, struct report *report)
{
    static struct wasi_binding binding = {wasi_of};
    enum err err = wasi_register(linker, &binding, report);
    for (size_t i = 0; err == ERR_OK && i < COUNT(resources); i++)
        err = comp_linker_resource(linker, resources[i].interface, resources[i].name,
                                   resources[i].drop, report);
    for (size_t i = 0; err == ERR_OK && i < COUNT(rows); i++) {
        /* The row is read only; handlers take it as const again. */
        void *user = (void *)(uintptr_t)&rows[i];
        err = comp_linker_func(linker, rows[i].interface, rows[i].name, rows[i].type, rows[i].fn,
                               user, report);
    }
    if (err == ERR_OK)
        err =
            comp_linker_export_type(linker,
                                    "pie:*"
                                    "/run",
                                    "run", "func(input: string) -> result<string, string>", report);
    if (err == ERR_OK)
        err = comp_linker_stub_prefix(linker, "pie:", report);
    return err;
}

bool host_describe(struct buf *buf)
{
    for (size_t i = 0; i < COUNT(interfaces); i++) {
        (void)buf_printf(buf, "## %s\n\n%s\n\n", interfaces[i].interface, interfaces[i].what);
        for (size_t j = 0; j < COUNT(rows); j++) {
            if (strcmp(rows[j].interface, interfaces[i].interface) != 0)
                continue;
            bool missing = rows[j].fn == host_missing_trap || rows[j].fn == host_missing_error ||
                           rows[j].fn == host_missing_mcp_error;
            (void)buf_printf(buf, "- `%s`: `%s`%s\n", rows[j].name, rows[j].type,
                             missing ? " (not implemented in this build)" : "");
        }
        (void)buf_putc(buf, '\n');
    }
    return !buf->failed;
}

/* ---- outcomes ----------------------------------------------------------------------------- */

enum comp_host_result host_no_memory(struct comp_host_call *call)
{
    comp_trap(call, "out of memory in a host function");
    return COMP_HOST_TRAP;
}

enum comp_host_result host_trap_report(struct comp_host_call *call, const struct report *report)
{
    comp_trap(call, "%s", report->text);
    return COMP_HOST_TRAP;
}

enum comp_host_result host_error(struct comp_host_call *call, const char *text,
                                 struct comp_value *result)
{
    size_t bytes = strlen(text);
    char *copy = arena_strdup(call->arena, text, bytes);
    if (copy == NULL)
        return host_no_memory(call);
    struct comp_value payload = comp_string(copy, bytes);
    return comp_error(call->arena, &payload, result) ? COMP_HOST_DONE : host_no_memory(call);
}

enum comp_host_result host_ok(struct comp_host_call *call, const struct comp_value *payload,
                              struct comp_value *result)
{
    return comp_ok(call->arena, payload, result) ? COMP_HOST_DONE : host_no_memory(call);
}

enum comp_host_result host_outcome(struct comp_host_call *call, enum err err,
                                   const struct report *report, const struct comp_value *payload,
                                   struct comp_value *result)
{
    if (err == ERR_OK)
        return host_ok(call, payload, result);
    return host_error(call, report->text[0] != 0 ? report->text : err_name(err), result);
}

enum comp_host_result host_ids(struct comp_host_call *call, struct tok_ids *ids,
                               struct comp_value *result)
{
    size_t count = ids->count;
    uint32_t *copy = arena_calloc(call->arena, count + 1, sizeof *copy);
    if (copy != NULL && count != 0)
        memcpy(copy, ids->items, count * sizeof *copy);
    tok_ids_deinit(ids);
    if (copy == NULL)
        return host_no_memory(call);
    *result = comp_list_packed(copy, count);
    return COMP_HOST_DONE;
}
