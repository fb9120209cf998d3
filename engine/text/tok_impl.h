/* Inside engine/text/: what a tokenizer is made of. */
#ifndef ENGINE_TEXT_TOK_IMPL_H
#define ENGINE_TEXT_TOK_IMPL_H

#include <string.h>

#include "engine/text/split.h"
#include "engine/text/tok.h"

/* A symbol is what merging works on: ids below vocab_count are tokens, those from vocab_count to
 * symbol_count are texts that merges name but the vocabulary lacks, TOK_NONE stands for characters
 * that take part in no merge. */

struct tok_pair { /* "left right" merges to `merged`; rank TOK_NONE: an empty slot */
    uint32_t left, right;
    uint32_t rank; /* lower merges first; among equals the leftmost */
    uint32_t merged;
};

struct tok_word_slot {
    uint32_t tag; /* of the hash */
    uint32_t id;  /* TOK_NONE: empty */
};

struct tok_trie_node {       /* special tokens, by bytes; siblings are a list */
    uint32_t child, sibling; /* 0: none */
    uint32_t id;             /* the token that ends here, or TOK_NONE */
    unsigned char byte;
};

/* Whether a token's own bytes merge to that token: found out when first asked, by any thread. */
enum { TOK_WHOLE_UNASKED, TOK_WHOLE_YES, TOK_WHOLE_NO };

struct tok {
    uint32_t vocab_count, symbol_count;
    char *text;         /* bytes of all symbols, one after another */
    uint32_t *starts;   /* [symbol_count + 1] into text */
    uint8_t *types;     /* [vocab_count] enum tok_type */
    uint8_t *whole;     /* [vocab_count] accessed atomically */
    uint32_t *specials; /* control and user-defined, increasing */
    size_t special_count;

    struct tok_word_slot *words; /* bytes of mergeable symbols to id; open addressing */
    size_t word_mask;
    struct tok_pair *pairs; /* open addressing */
    size_t pair_mask;
    uint32_t byte_symbols[256];  /* one-byte texts; BPE: always a symbol */
    uint32_t byte_fallback[256]; /* SentencePiece <0xNN>, or TOK_NONE */

    struct tok_trie_node *trie; /* [0] is the root */
    size_t trie_count;
    uint32_t trie_first[256]; /* child of the root, 0: no special begins with this byte */

    const struct tok_pre *pre; /* NULL: SentencePiece */
    bool sentencepiece;
    bool space_prefix;
    bool space_once; /* no prefix before a text that begins with a space (Metaspace) */
    bool splits_at_spaces; /* SentencePiece: no token has a space behind another character */
    bool strips_after_specials;
    bool adds_bos, adds_eos;
    uint32_t bos, eos, eot, unknown;
};

/* Texts longer than this cannot be tokens; it bounds the work per position. */
#define TOK_TEXT_BYTES_MAX 512u

static inline uint64_t tok_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    return x;
}

static inline uint64_t tok_load64(const char *data)
{
    uint64_t value;
    memcpy(&value, data, 8);
    return value;
}

static inline uint64_t tok_hash(const char *data, size_t bytes)
{
    uint64_t hash = bytes * 0xD6E8FEB86659FD93u;
    while (bytes > 8) {
        hash = (hash ^ tok_load64(data)) * 0x9FB21C651E98DF25u;
        hash ^= hash >> 28;
        data += 8;
        bytes -= 8;
    }
    uint64_t tail = 0;
    if (bytes == 8) {
        tail = tok_load64(data);
    } else if (bytes >= 4) {
        uint32_t low, high;
        memcpy(&low, data, 4);
        memcpy(&high, data + bytes - 4, 4);
        tail = low | (uint64_t)high << 32;
    } else if (bytes > 0) {
        tail = (unsigned char)data[0] | (uint64_t)(unsigned char)data[bytes / 2] << 8 |
               (uint64_t)(unsigned char)data[bytes - 1] << 16;
    }
    return tok_mix((hash ^ tail) * 0xA0761D6478BD642Fu);
}

static inline size_t tok_symbol_bytes(const struct tok *tok, uint32_t id)
{
    return tok->starts[id + 1] - tok->starts[id];
}

/* TOK_NONE when no mergeable symbol has these bytes. */
static inline uint32_t tok_find_word(const struct tok *tok, const char *data, size_t bytes)
{
    uint64_t hash = tok_hash(data, bytes);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t at = hash & tok->word_mask;; at = (at + 1) & tok->word_mask) {
        const struct tok_word_slot *slot = &tok->words[at];
        if (slot->id == TOK_NONE)
            return TOK_NONE;
        if (slot->tag == tag && tok_symbol_bytes(tok, slot->id) == bytes &&
            memcmp(tok->text + tok->starts[slot->id], data, bytes) == 0)
            return slot->id;
    }
}

static inline size_t tok_pair_hash(uint32_t left, uint32_t right)
{
    return tok_mix(((uint64_t)left << 32 | right) * 0xD6E8FEB86659FD93u);
}

static inline const struct tok_pair *tok_find_pair(const struct tok *tok, uint32_t left,
                                                   uint32_t right)
{
    for (size_t at = tok_pair_hash(left, right) & tok->pair_mask;; at = (at + 1) & tok->pair_mask) {
        const struct tok_pair *pair = &tok->pairs[at];
        if (pair->rank == TOK_NONE)
            return NULL;
        if (pair->left == left && pair->right == right)
            return pair;
    }
}

/* The longest special token at data[0, bytes) among those that `parse_controls` admits, its length
 * in `*length`; TOK_NONE when there is none. */
uint32_t tok_match_special(const struct tok *tok, const char *data, size_t bytes,
                           bool parse_controls, size_t *length);

#endif
