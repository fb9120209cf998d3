/* What instance.c and core.c share. Private to interp/component. */
#ifndef INTERP_COMPONENT_INSTANCE_H
#define INTERP_COMPONENT_INSTANCE_H

#include "interp/component/runtime.h"

/* A component instance with all its index spaces empty, in the instance's list. `def` may be NULL
 * (a core module). NULL when memory is out. */
struct comp_sub *comp_sub_create(struct comp_instance *instance, const struct comp_def *def,
                                 uint32_t slot_count);

/* The host's function for an import of `sub`, whose type must be `type` (NULL: whatever the host
 * says); a MISSING one when there is none that fits. NULL when memory is out. */
struct comp_func *comp_instance_host_func(struct comp_sub *sub, const struct comp_functype *type,
                                          const char *interface, size_t interface_bytes,
                                          const char *name, size_t name_bytes);

/* Instantiates a core module for `sub`; its start function is queued in instance->starts. */
enum err comp_instance_core(struct comp_sub *sub, struct wasm_module *module,
                            const struct wasm_extern *imports, uint32_t count,
                            struct wasm_instance **out, struct report *report) ERR_MUST_USE;

/* core.c: makes instance->root from the component's core module: a C inferlet. */
enum err comp_core_instantiate(struct comp_instance *instance,
                               struct report *report) ERR_MUST_USE;

#endif
