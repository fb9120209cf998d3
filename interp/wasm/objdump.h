/* Disassembly of a module as text for people: index spaces, and function bodies instruction by
 * instruction with file offsets, names and immediates. */
#ifndef INTERP_WASM_OBJDUMP_H
#define INTERP_WASM_OBJDUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "interp/wasm/wasm.h"

/* How many functions there are, imports included and first. */
uint32_t wasm_objdump_func_count(const struct wasm_module *module);

/* Appends types, imports, tables, memories, globals, tags, exports, start, segments and custom
 * sections, one per line. False when memory is out. */
bool wasm_objdump_sections(const struct wasm_module *module, struct buf *out);

/* Appends one function: a head line, and unless it is imported its locals and body. False when
 * memory is out. `index` < wasm_objdump_func_count. */
bool wasm_objdump_func(const struct wasm_module *module, uint32_t index, struct buf *out);

#endif
