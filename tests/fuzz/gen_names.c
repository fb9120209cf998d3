/* The names of what the interpreter's internal code consists of, for gen_shape.c. */
#include "tests/fuzz/gen.h"

const char *const gen_op_names[] = {
#define OP(name, words, ...) #name,
#include "interp/wasm/ops.def"
#undef OP
};
const unsigned gen_op_name_count = sizeof gen_op_names / sizeof *gen_op_names;

const char *const gen_sequence_names[] = {
#define SEQUENCE(number, count, ...) #__VA_ARGS__,
#define SEQUENCE_LOOP SEQUENCE
#include "interp/wasm/sequences.def"
};
const unsigned gen_sequence_count = sizeof gen_sequence_names / sizeof *gen_sequence_names;
