/* The text that the default model learns from, written for this project: an endless row of short
 * documents, each a pure function of (seed, index). Plain statements, small sums, stories, lists,
 * JSON, and conversations in ChatML that ask for the same things; ASCII only.
 *
 * Special tokens stand in the text as written: TRAIN_END_OF_TEXT closes every document, turns are
 * TRAIN_TURN role "\n" text TRAIN_TURN_END "\n". */
#ifndef MODELS_TRAIN_CORPUS_H
#define MODELS_TRAIN_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define TRAIN_END_OF_TEXT "<|endoftext|>"
#define TRAIN_TURN "<|im_start|>"
#define TRAIN_TURN_END "<|im_end|>"

/* Appends document `index`; `text->failed` when memory is out. */
void train_corpus_document(uint64_t seed, uint64_t index, struct buf *text);

/* The capitals that the text teaches, for those who examine a model. `country` comes with its
 * article ("the Netherlands"). */
struct train_capital {
    const char *country, *city, *continent; /* continent NULL: not taught */
};
const struct train_capital *train_corpus_capitals(size_t *count);

#endif
