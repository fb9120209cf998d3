/* Valid random modules for comparing engines: the same seed gives the same bytes everywhere.
 *
 * A module exports its memories "m", "m1".. and functions "r0"..: () -> (i64), each of which calls
 * something inside and folds the results' bits and the globals. It ends always: a counter in a
 * global is taken down at every function's and loop's head and traps (`unreachable`) when it is
 * used up; only a function that does nothing but call itself is let run into the stack's end.
 * Results do not depend on what the specification leaves open: NaNs are made canonical where they
 * are made, or (GEN_FLOATS) where their bits could be seen, and relaxed vector operations get
 * operands on which all their choices agree.
 *
 * With GEN_HOST it imports from module "h": functions "f0" (i32) -> (i32): 3x + 1, "f1" (i32, i64)
 * -> (i64): y ^ x (zero-extended), "f2" (i32) -> (externref): null for even x, "f3" () -> (); and
 * the mutable i32 global "g" = 7. Otherwise there are no imports.
 *
 * With GEN_SHAPES functions are made of shapes: straight lines that become just these
 * instructions of the internal code (names of ops.def, sequences of sequences.def). */
#ifndef TESTS_FUZZ_GEN_MODULE_H
#define TESTS_FUZZ_GEN_MODULE_H

#include <stdint.h>

#include "engine/base/buf.h"

enum gen_features {
    GEN_SIMD = 1,
    GEN_TAIL_CALLS = 2,
    GEN_EXCEPTIONS = 4,
    GEN_MEMORIES = 8, /* several */
    GEN_WIDE = 16,    /* 64-bit memories and tables */
    GEN_RELAXED = 32, /* with GEN_SIMD */
    GEN_TABLES = 64,  /* several, external references, element expressions */
    GEN_HOST = 128,
    GEN_SHAPES = 256,
    GEN_START = 512,
    GEN_FLOATS = 1024,
    GEN_ALL = 2047,
    GEN_HASH = 2048, /* a last function "z" that hashes memory 0, for engines that do not show it */
};

/* The features of a seed in a comparison with an engine that knows all. */
unsigned gen_mix(uint64_t seed);

/* Appends a module to `out`; false when memory is out. `shapes`, or NULL, are used instead of
 * random ones: names separated by spaces, shapes by `;`. Those that were used are appended to
 * `used` unless that is NULL. */
bool gen_module(uint64_t seed, unsigned features, const char *shapes, struct buf *used,
                struct buf *out);

/* The same with its choices taken from `choices`, two bytes each, as long as they last. */
bool gen_module_from(const uint8_t *choices, size_t count, unsigned features, struct buf *out);

#endif
