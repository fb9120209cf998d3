/* What a generated module (gen_module.h) does, as a line of text that engines can be compared by. */
#ifndef TESTS_FUZZ_OUTCOME_H
#define TESTS_FUZZ_OUTCOME_H

#include <stdint.h>

#include "engine/base/buf.h"

enum { OUTCOME_FUEL_MAX = 50000000 }; /* of one call; none of them should need it */

/* Appends for each exported function " RESULT" (16 hex digits) or " WORD" (its trap's class), then
 * " mPAGES:HASH" of the memory. Calls get `slice` units of fuel at a time; `fuel` is what all of
 * them used together. */
void outcome_of(const uint8_t *bytes, size_t count, uint64_t slice, uint64_t *fuel,
                struct buf *line);

#endif
