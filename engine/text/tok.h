/* Tokenizers: bytes to token ids and back, for the vocabularies that GGUF files carry.
 *
 * Two kinds exist. Byte-level BPE (`tokenizer.ggml.model` = "gpt2") splits text by a pre-tokenizer
 * (`tokenizer.ggml.pre`), writes each piece in the 256-letter byte alphabet and merges by rank.
 * SentencePiece BPE ("llama") puts "▁" for spaces and merges by score, falling back to byte tokens.
 *
 * A tokenizer is immutable after creation and may be used from any number of threads at once. */
#ifndef ENGINE_TEXT_TOK_H
#define ENGINE_TEXT_TOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/mem.h"

struct gguf;
struct tok;

#define TOK_NONE UINT32_MAX /* "there is no such token" */

/* Growing array of token ids, fit for vec.h. Zero-initialise; `heap` NULL is the engine's own. */
struct tok_ids {
    struct mem_heap *heap;
    uint32_t *items;
    size_t count, capacity;
};

void tok_ids_deinit(struct tok_ids *ids);
/* False when memory is out. */
bool tok_ids_push(struct tok_ids *ids, uint32_t id) ERR_MUST_USE;

/* GGUF's tokenizer.ggml.token_type. */
enum tok_type {
    TOK_NORMAL = 1,
    TOK_UNKNOWN = 2,
    TOK_CONTROL = 3,
    TOK_USER_DEFINED = 4,
    TOK_UNUSED = 5,
    TOK_BYTE = 6,
};

/* Builds a tokenizer from the metadata; nothing of `file` is kept. ERR_UNSUPPORTED names the model
 * or pre-tokenizer that this build does not know, ERR_INVALID what is broken. Free with
 * tok_destroy. */
enum err tok_create_from_gguf(const struct gguf *file, struct tok **tok,
                              struct report *report) ERR_MUST_USE;
void tok_destroy(struct tok *tok); /* NULL is allowed */

/* What tok_encode does besides splitting and merging. */
enum tok_flags {
    TOK_PARSE_SPECIALS = 1, /* strings of control tokens become those tokens (user-defined ones
                               always do) */
    TOK_ADD_SPECIALS = 2,   /* BOS and EOS where the metadata ask for them (tok_adds_bos) */
};

/* Appends the ids of `bytes` bytes of text (any bytes; those that are not UTF-8 still round-trip
 * in byte-level vocabularies). Pie's host interface uses TOK_PARSE_SPECIALS alone. Takes
 * O(n log n) time in the worst case. On failure (ERR_MEMORY, or ERR_LIMIT for texts of 2 GiB and
 * more) `ids` is as before. */
enum err tok_encode(const struct tok *tok, const char *text, size_t bytes, unsigned flags,
                    struct tok_ids *ids, struct report *report) ERR_MUST_USE;

/* Appends the raw bytes of the tokens, special ones included; not necessarily UTF-8. For
 * SentencePiece vocabularies with add_space_prefix this is *not* stripped of the first space.
 * ERR_INVALID names an id outside the vocabulary (`text` then holds the tokens before it). */
enum err tok_decode(const struct tok *tok, const uint32_t *ids, size_t count, struct buf *text,
                    struct report *report) ERR_MUST_USE;

/* As tok_decode for a text that stands alone, as a person would read it: UTF-8, ill-formed bytes
 * replaced by U+FFFD, and the one space that tok_encode put in front taken away. */
enum err tok_decode_text(const struct tok *tok, const uint32_t *ids, size_t count, struct buf *text,
                         struct report *report) ERR_MUST_USE;

/* The bytes that a token stands for, borrowed; false when `id` is outside the vocabulary. May be
 * empty. Byte tokens give their byte, "▁" is a space. */
bool tok_token_bytes(const struct tok *tok, uint32_t id, const char **data, size_t *bytes);

uint32_t tok_vocab_count(const struct tok *tok);
enum tok_type tok_type(const struct tok *tok, uint32_t id); /* TOK_UNUSED outside the vocabulary */
/* Control and user-defined tokens; upstream's "special tokens". */
bool tok_is_special(const struct tok *tok, uint32_t id);
/* Their ids in increasing order, borrowed. */
const uint32_t *tok_specials(const struct tok *tok, size_t *count);

/* The token whose text (special tokens: as written, "<|im_end|>") or bytes are exactly these;
 * specials win; TOK_NONE when there is none. */
uint32_t tok_find(const struct tok *tok, const char *text, size_t bytes);
/* The same, but only among special tokens. */
uint32_t tok_find_special(const struct tok *tok, const char *text, size_t bytes);

/* TOK_NONE where the metadata name none. */
uint32_t tok_bos(const struct tok *tok);
uint32_t tok_eos(const struct tok *tok);
uint32_t tok_eot(const struct tok *tok);
uint32_t tok_unknown(const struct tok *tok);
bool tok_adds_bos(const struct tok *tok);
bool tok_adds_eos(const struct tok *tok);
bool tok_is_sentencepiece(const struct tok *tok);
/* True when tok_encode puts a space in front of a text (SentencePiece with add_space_prefix), which
 * a reader of decoded text does not want at the front. */
bool tok_adds_space(const struct tok *tok);

/* The pre-tokenizer as a regular expression (for guests that ask; this code runs state machines
 * that are equal to it). "" for SentencePiece. */
const char *tok_split_regex(const struct tok *tok);
/* "llama-bpe", "qwen2", ...; "spm" for SentencePiece. */
const char *tok_pre_name(const struct tok *tok);

/* Streaming decoder: everything it emits is well-formed UTF-8. Up to 3 bytes that may become a
 * character are held back; bytes that cannot are replaced by U+FFFD, one per maximal ill-formed
 * part, as in Unicode's recommended practice. Zero-initialise. Holds no memory. */
struct tok_stream {
    char held[4];
    unsigned held_bytes;
};

/* Appends what is certain now. Ids outside the vocabulary are ERR_INVALID. */
enum err tok_stream_feed(struct tok_stream *stream, const struct tok *tok, const uint32_t *ids,
                         size_t count, struct buf *text, struct report *report) ERR_MUST_USE;
/* The text ends here: held bytes become one U+FFFD; the stream is new again. */
enum err tok_stream_finish(struct tok_stream *stream, struct buf *text) ERR_MUST_USE;

#endif
