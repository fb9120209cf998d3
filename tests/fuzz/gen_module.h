/* Valid random modules for comparing engines: the same seed gives the same bytes everywhere.
 *
 * A module has no imports. It exports memory "m", mutable globals "g0".., and functions "r0"..:
 * () -> (i64), each of which calls something inside and folds the results' bits. It ends always:
 * a counter in a global is taken down at every function's and loop's head and traps
 * (`unreachable`) when it is used up. Results do not depend on the choice of NaN bits that the
 * specification leaves open: after each operation that has that choice, NaNs are made canonical. */
#ifndef TESTS_FUZZ_GEN_MODULE_H
#define TESTS_FUZZ_GEN_MODULE_H

#include <stdint.h>

#include "engine/base/buf.h"

enum gen_features { GEN_SIMD = 1, GEN_TAIL_CALLS = 2, GEN_ALL = 3 };

/* Appends a module to `out`; false when memory is out. */
bool gen_module(uint64_t seed, unsigned features, struct buf *out);

/* The same with its choices taken from `choices`, two bytes each, as long as they last. */
bool gen_module_from(const uint8_t *choices, size_t count, unsigned features, struct buf *out);

#endif
