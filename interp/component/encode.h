/* A core module that follows the canonical ABI's names (component.h) to a component: what clang
 * makes becomes what every runtime of components takes. */
#ifndef INTERP_COMPONENT_ENCODE_H
#define INTERP_COMPONENT_ENCODE_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct comp_wit;

/* Appends the component to `out`. Every import of the module is a function of an interface of
 * `wit` (or "[resource-drop]NAME"), every export "INTERFACE#FUNCTION" one of an interface of `wit`;
 * other exports stay inside. Only functions and types that are used are imported. ERR_INVALID and
 * ERR_NOT_FOUND name the import or export that does not fit. Exported functions may not use
 * records, variants, enums, flags or resources that their own interface defines
 * (ERR_UNSUPPORTED). */
enum err comp_encode(const uint8_t *module, size_t bytes, const struct comp_wit *wit,
                     struct buf *out, struct report *report) ERR_MUST_USE;

#endif
