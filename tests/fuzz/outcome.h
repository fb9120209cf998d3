/* What a generated module (gen_module.h) does, as a line of text that engines can be compared by. */
#ifndef TESTS_FUZZ_OUTCOME_H
#define TESTS_FUZZ_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

enum { OUTCOME_FUEL_MAX = 50000000 }; /* of one call; none of them should need it */

/* Appends for each exported function " RESULT" (16 hex digits) or " WORD" (its trap's class), then
 * " mPAGES:HASH" of the memory. Calls get `slice` units of fuel at a time; `fuel` is what all of
 * them used together. */
void outcome_of(const uint8_t *bytes, size_t count, uint64_t slice, uint64_t *fuel,
                struct buf *line);

/* While true, functions that are translated consist of plain instructions, without the sequences of
 * sequences.def: outcome and fuel must be the same. (The linker lets outcome.c stand between the
 * translator and wasm_sequence_handler.) */
extern bool outcome_is_plain;

#endif
