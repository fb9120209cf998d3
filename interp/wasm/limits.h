/* Implementation limits, beyond which a module is refused with ERR_LIMIT. They follow the
 * WebAssembly JavaScript API's appendix where that names one, and keep what a module can make
 * us allocate within a small multiple of its own size. */
#ifndef INTERP_WASM_LIMITS_H
#define INTERP_WASM_LIMITS_H

enum {
    WASM_MODULE_BYTES_MAX = 1 << 30,
    WASM_ITEMS_MAX = 1000000,       /* types, functions, imports, exports, globals, segments, … */
    WASM_TABLES_MAX = 100000,
    WASM_MEMORIES_MAX = 100,
    WASM_ELEMENTS_MAX = 10000000,   /* in one element segment */
    WASM_PARAMS_MAX = 1000,         /* and results */
    WASM_FIELDS_MAX = 10000,        /* of one structure, and operands of array.new_fixed */
    WASM_LOCALS_MAX = 250000,       /* of one function, parameters included */
    WASM_STACK_MAX = 1000000,       /* operands alive at once in one function */
    WASM_LABELS_MAX = 1000000,      /* nested control structures in one function */
};

#endif
