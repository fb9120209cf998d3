/* What this build does not do says so, by name. */
#include "engine/host/impl.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"

void host_missing_drop(void *host, void *rep)
{
    (void)host;
    (void)rep;
    UNREACHABLE(); /* nothing ever made one */
}

static void describe(void *user, char text[300])
{
    const struct host_row *row = user;
    (void)snprintf(text, 300, "%s of %s is not implemented in this build", row->name,
                   row->interface);
}

enum comp_host_result host_missing_trap(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    (void)args;
    (void)result;
    char text[300];
    describe(user, text);
    comp_trap(call, "%s", text);
    return COMP_HOST_TRAP;
}

enum comp_host_result host_missing_error(struct comp_host_call *call, const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)args;
    char text[300];
    describe(user, text);
    return host_error(call, text, result);
}

/* The error of pie:mcp: record { code: s32, message: string, data: option<string> }. */
enum comp_host_result host_missing_mcp_error(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)args;
    char text[300];
    describe(user, text);
    size_t bytes = strlen(text);
    char *copy = arena_strdup(call->arena, text, bytes);
    struct comp_value *fields = arena_calloc(call->arena, 3, sizeof *fields);
    if (copy == NULL || fields == NULL)
        return host_no_memory(call);
    fields[0] = (struct comp_value){.kind = COMP_S32, .of.s = -32601};
    fields[1] = comp_string(copy, bytes);
    fields[2] = comp_none();
    struct comp_value record = comp_items(COMP_RECORD, fields, 3);
    return comp_error(call->arena, &record, result) ? COMP_HOST_DONE : host_no_memory(call);
}
