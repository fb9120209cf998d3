/* The handlers of exec.c for processors with AVX2 and BMI: vector instructions by theirs instead of
 * the compiler's common vectors, shifts that leave rcx alone, one instruction for rounding. They
 * compute the same bits. Compiled with -march=x86-64-v3 (flags.mk); exec.c decides at run time
 * whether they run. */
#include "interp/wasm/code.h"

#if defined(__AVX2__) && !WASM_LOOP_DISPATCH
#define WASM_EXEC_AVX2 1
#include "interp/wasm/exec.c"
#else
const wasm_handler *const wasm_handlers_avx2 = NULL;
const wasm_handler *const wasm_sequence_handlers_avx2 = NULL;
#endif
