/* Pre-tokenizers: where byte-level BPE may not merge. Each kind is what a published tokenizer
 * writes as one regular expression, or as several applied one after another to the pieces of the
 * one before; here they are hand-written matchers over Unicode classes. Text that no expression
 * matches forms pieces of its own. */
#ifndef ENGINE_TEXT_SPLIT_H
#define ENGINE_TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

struct tok_split; /* one pre-tokenizer; static data */

/* What a vocabulary's `tokenizer.ggml.pre` means. */
struct tok_pre {
    const char *name;
    const struct tok_split *split;
    bool ignore_merges; /* a piece that is a token is that token, whatever the merges say */
    bool add_bos;       /* the default of tokenizer.ggml.add_bos_token */
};

/* NULL: unknown. */
const struct tok_pre *tok_pre_find(const char *name, size_t bytes);

/* The regular expressions, joined by newlines when there are several. */
const char *tok_split_expression(const struct tok_split *split);

/* Receives the piece text[from, to), never empty; false stops the split. */
typedef bool (*tok_split_word)(void *user, const char *text, size_t from, size_t to);

/* Calls `word` for every piece in order; together they cover the text. False when `word` stopped
 * it. Bytes that are not UTF-8 count as symbols. Linear in `bytes`. */
bool tok_split_run(const struct tok_split *split, const char *text, size_t bytes,
                   tok_split_word word, void *user);

#endif
