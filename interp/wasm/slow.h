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

/* call.c */
int slow_call(struct wasm_regs *g);      /* thread->callee, arguments at slot a */
int slow_call_lazy(struct wasm_regs *g); /* own function imm, not translated yet */
int slow_translate(struct wasm_regs *g);
int slow_call_table(struct wasm_regs *g);
int slow_return_call(struct wasm_regs *g);
int slow_return_call_table(struct wasm_regs *g);
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

#endif
