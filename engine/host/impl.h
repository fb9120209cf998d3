/* What the files of this folder share. */
#ifndef ENGINE_HOST_IMPL_H
#define ENGINE_HOST_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/process/process.h"
#include "engine/text/tok.h"
#include "interp/component/component.h"

struct gram;

/* One row of host.def; every handler gets its own as `user`. */
struct host_row {
    const char *interface, *name, *type;
    comp_host_fn fn;
};

#define HOST_INTERFACE(interface, what)
#define HOST_RESOURCE(interface, name, drop) void drop(void *host, void *rep);
#define HOST_FUNC(interface, name, type, handler)                                                  \
    enum comp_host_result handler(struct comp_host_call *call, const struct comp_value *args,      \
                                  struct comp_value *result, void *user);
#include "engine/host/host.def"
#undef HOST_INTERFACE
#undef HOST_RESOURCE
#undef HOST_FUNC

static inline struct proc *host_proc(struct comp_host_call *call)
{
    return call->host;
}

/* The outcomes of a handler. `text` is copied into the call's arena. */
enum comp_host_result host_no_memory(struct comp_host_call *call);
enum comp_host_result host_trap_report(struct comp_host_call *call, const struct report *report);
/* result<T, string>: */
enum comp_host_result host_error(struct comp_host_call *call, const char *text,
                                 struct comp_value *result);
enum comp_host_result host_ok(struct comp_host_call *call, const struct comp_value *payload,
                              struct comp_value *result);
/* ok or err as `err` says; the payload may be NULL. */
enum comp_host_result host_outcome(struct comp_host_call *call, enum err err,
                                   const struct report *report, const struct comp_value *payload,
                                   struct comp_value *result);
/* list<u32> of the ids, copied; frees `ids`. */
enum comp_host_result host_ids(struct comp_host_call *call, struct tok_ids *ids,
                               struct comp_value *result);

/* ---- contexts, shared by context.c and inference.c ---------------------------------------- */

/* A context as the guest has it: held by its handle, by passes bound to it and by outputs to come.
 * The last one destroys it. */
struct host_context {
    uint32_t refs;
    struct proc *proc;
    struct sched_context *sched; /* NULL: the guest destroyed it */
    /* What the KV index of the next pass's first row will be: kv_length when all passes were
     * complete, plus the rows submitted since. */
    uint32_t length;
};

struct host_context *host_context_ref(struct host_context *context);
void host_context_unref(struct host_context *context);

/* An adapter as the guest has it. */
struct host_adapter {
    int64_t id; /* the backend's; -1: nothing is loaded yet, passes are as without it */
    char *name; /* in the process's heap */
};

/* own<matcher> over a grammar, for the model's tokenizer and stop tokens. */
enum comp_host_result host_grammar_give_matcher(struct comp_host_call *call, struct gram *gram,
                                                struct comp_value *result);

#define HOST_CONTEXT_DESTROYED "the context was destroyed"

#endif
