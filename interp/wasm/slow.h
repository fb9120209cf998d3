/* What rare instructions leave to: C functions on the whole register state. Private to exec.c,
 * slow.c and call.c. Each returns an enum wasm_step; with STEP_NEXT or STEP_JUMPED it has set
 * g->p itself. */
#ifndef INTERP_WASM_SLOW_H
#define INTERP_WASM_SLOW_H

#include "interp/wasm/code.h"

enum wasm_step {
    STEP_NEXT,
    STEP_JUMPED,
    STEP_SLOW,
    STEP_TRAP,       /* thread->trap says why */
    STEP_FUEL_LABEL,
    STEP_FUEL_CALL,
    STEP_FUEL_BULK,  /* within an instruction whose potential is in p[1].imm; it runs again */
    STEP_LEAVE,      /* thread->exit says why */
};

/* ---- for all of them ---------------------------------------------------------------------- */

static inline int trap(struct wasm_regs *g, enum wasm_trap reason)
{
    g->x->trap = reason;
    return STEP_TRAP;
}

static inline int next(struct wasm_regs *g, unsigned words)
{
    g->p += words;
    return STEP_NEXT;
}

static inline union wasm_value *operands(const struct wasm_regs *g)
{
    return g->R + g->p[1].a;
}
static inline uint32_t index1(const struct wasm_regs *g)
{
    return (uint32_t)g->p[2].target;
}
static inline uint32_t index2(const struct wasm_regs *g)
{
    return (uint32_t)g->p[2].charge;
}
static inline struct wasm_memory *memory_at(const struct wasm_regs *g, uint32_t index)
{
    return g->x->instance->memories[index];
}
static inline struct wasm_table *table_at(const struct wasm_regs *g, uint32_t index)
{
    return g->x->instance->tables[index];
}

/* An index or a size, 32 or 64 bits wide as the type says. */
static inline uint64_t address(const union wasm_value *value, const struct wasm_limits *limits)
{
    return limits->is64 ? value->i64 : value->i32;
}
static inline void result(struct wasm_regs *g, const struct wasm_limits *limits, int64_t value)
{
    g->R[g->p[1].c].i64 = limits->is64 ? (uint64_t)value : (uint32_t)value;
}
/* Long work uses fuel by its size; the next branch or call notices. */
static inline void charge(struct wasm_regs *g, uint64_t bytes)
{
    g->fuel -= (int64_t)(bytes / BULK_BYTES_PER_UNIT);
}
static inline bool fits(uint64_t at, uint64_t count, uint64_t size)
{
    return count <= size && at <= size - count;
}
/* Fills, copies and initialisations are done in pieces of what the slice has left, whole units but for
 * the last, so that they can stop anywhere: the operands, which nobody else sees, then say what is
 * still to be done, and the instruction runs again. Its potential is in `imm`. */
static inline uint64_t piece(const struct wasm_regs *g, uint64_t count, uint64_t item_bytes)
{
    int64_t left = g->fuel - (int64_t)g->p[1].imm;
    uint64_t units = left > 0 ? (uint64_t)left : 1; /* every slice gets on */
    uint64_t items = BULK_BYTES_PER_UNIT / item_bytes; /* of a unit */
    return units >= count / items ? count : units * items;
}
static inline int bulk_done(struct wasm_regs *g, uint64_t done, uint64_t count, uint64_t item_bytes)
{
    charge(g, done * item_bytes);
    return done < count ? STEP_FUEL_BULK : next(g, 3);
}
/* ---- the functions ------------------------------------------------------------------------- */

/* call.c */
int slow_call(struct wasm_regs *g);      /* thread->callee, arguments at slot a */
int slow_call_subtype(struct wasm_regs *g); /* likewise, whose type is not the one named */
int slow_call_lazy(struct wasm_regs *g); /* own function imm, not translated yet */
int slow_translate(struct wasm_regs *g);
int slow_call_table(struct wasm_regs *g);
int slow_return_call(struct wasm_regs *g);
int slow_return_call_table(struct wasm_regs *g);
int slow_return_call_ref(struct wasm_regs *g);
int slow_switch_back(struct wasm_regs *g);
int slow_host_return(struct wasm_regs *g);
int slow_throw(struct wasm_regs *g);
int slow_throw_ref(struct wasm_regs *g);

/* slow.c */
int slow_ref_func(struct wasm_regs *g);
int slow_memory_size(struct wasm_regs *g);
int slow_memory_grow(struct wasm_regs *g);
int slow_memory_copy(struct wasm_regs *g);
int slow_memory_fill(struct wasm_regs *g);
int slow_memory_init(struct wasm_regs *g);
int slow_data_drop(struct wasm_regs *g);
int slow_table_get(struct wasm_regs *g);
int slow_table_set(struct wasm_regs *g);
int slow_table_size(struct wasm_regs *g);
int slow_table_grow(struct wasm_regs *g);
int slow_table_fill(struct wasm_regs *g);
int slow_table_copy(struct wasm_regs *g);
int slow_table_init(struct wasm_regs *g);
int slow_elem_drop(struct wasm_regs *g);

/* object.c */
int slow_struct_new(struct wasm_regs *g);
int slow_struct_new_default(struct wasm_regs *g);
int slow_array_new(struct wasm_regs *g);
int slow_array_new_default(struct wasm_regs *g);
int slow_array_new_fixed(struct wasm_regs *g);
int slow_array_new_data(struct wasm_regs *g);
int slow_array_new_elem(struct wasm_regs *g);
int slow_array_fill(struct wasm_regs *g);
int slow_array_copy(struct wasm_regs *g);
int slow_array_init_data(struct wasm_regs *g);
int slow_array_init_elem(struct wasm_regs *g);
int slow_any_convert_extern(struct wasm_regs *g);
int slow_extern_convert_any(struct wasm_regs *g);

#endif
