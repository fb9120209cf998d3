/* Byte-level BPE, learned: GPT-2's pieces and byte alphabet, all 256 bytes, then merges by count,
 * then special tokens. The same text gives the same vocabulary everywhere (ties go to the smaller
 * ids). Text must be ASCII: that is all the corpus has, and pieces of other scripts would need
 * Unicode's categories, which the engine's tokenizer knows. */
#ifndef MODELS_TRAIN_BPE_H
#define MODELS_TRAIN_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct train_bpe;

struct train_ids {
    uint32_t *items;
    size_t count, capacity;
};

/* Learns from `text` up to `vocab` tokens, specials included; fewer when no pair occurs twice.
 * `specials` are zero-terminated, borrowed for as long as the result lives; their strings in the text are skipped.
 * Ids: byte b is b, merge i is 256 + i, specials are last in the order given. */
enum err train_bpe_create(const char *text, size_t bytes, uint32_t vocab,
                          const char *const *specials, size_t special_count,
                          struct train_bpe **bpe, struct report *report) ERR_MUST_USE;
void train_bpe_destroy(struct train_bpe *bpe);

uint32_t train_bpe_vocab(const struct train_bpe *bpe);
size_t train_bpe_merge_count(const struct train_bpe *bpe);
void train_bpe_merge(const struct train_bpe *bpe, size_t index, uint32_t *left, uint32_t *right);
/* The bytes of a token (specials: as written), borrowed. */
const char *train_bpe_token(const struct train_bpe *bpe, uint32_t id, size_t *bytes);

/* Appends the ids of a text; strings of specials become those tokens. Remembers pieces, so not for
 * two threads at once. */
enum err train_bpe_encode(struct train_bpe *bpe, const char *text, size_t bytes,
                          struct train_ids *ids, struct report *report) ERR_MUST_USE;

#endif
