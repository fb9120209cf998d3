/* Folding trailing words into the JSON object that run() receives:
 *     --prompt "hi" --n 3 -v x y   ->   {"prompt":"hi","n":3,"v":"x","_positional":["y"]}
 * Source: the interface's rules for `pie run` (reference, 2.4), edges included. */
#ifndef CLI_FOLD_H
#define CLI_FOLD_H

#include "engine/base/buf.h"

/* Appends the JSON; false when memory is out. Without words: "{}". */
bool fold_words(char *const *words, size_t count, struct buf *json);

/* Appends a finite number as the interface's JSON writer prints it: the shortest digits that read
 * back as the same double, "1.0" for whole numbers, an exponent outside 1e-5 .. 1e16. */
bool fold_put_f64(struct buf *json, double value);

#endif
