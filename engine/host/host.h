/* What an inferlet can ask: WIT functions to the engine, one file per interface, thin, no policy.
 * The list is host.def. */
#ifndef ENGINE_HOST_HOST_H
#define ENGINE_HOST_HOST_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct comp_linker;

/* The version of Pie whose interface this is; runtime.version(). */
#define HOST_PIE_VERSION "0.4.0"

/* Defines WASI, everything of host.def, and the type of the programs' own `run`. Instances of the
 * linker are created with a `struct proc` as their host. */
enum err host_register(struct comp_linker *linker, struct report *report) ERR_MUST_USE;

/* Appends host.def as Markdown: interfaces, functions, types, and which are not implemented.
 * False when memory is out. */
bool host_describe(struct buf *buf) ERR_MUST_USE;

#endif
