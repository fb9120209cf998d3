/* Inside engine/grammar/: compiled grammars and vocabularies.
 *
 * A rule is a deterministic automaton over bytes whose states may also call other rules: when the
 * callee is through, its caller goes on in the state that the call names. Repetitions too long to
 * be written out are loops: a rule with a counter. A state is alive: from each, its rule can still
 * end. */
#ifndef ENGINE_GRAMMAR_GRAM_IMPL_H
#define ENGINE_GRAMMAR_GRAM_IMPL_H

#include <string.h>

#include "engine/grammar/gram.h"

#define GRAM_NONE     UINT32_MAX
#define GRAM_LOOP     0x80000000u /* in a callee: this is a loop's index, not a rule's */
#define GRAM_INFINITE UINT32_MAX

struct gram_edge {
    uint32_t to;
    uint8_t first, last; /* bytes; a state's edges are sorted and do not overlap */
};

struct gram_call {
    uint32_t callee, ret;
};

struct gram_state {
    uint32_t edge_first, call_first;
    uint32_t edge_count, call_count;
    bool final;
    bool tail;             /* final, and nothing else: a call that returns here needs no frame */
    bool plain_loop;       /* every plain character (see vocab) leads back here */
    uint64_t loop_classes; /* bit per gram_byte_class: all its bytes lead back here */
};

struct gram_loop {
    uint32_t rule, min, max;
    uint32_t start; /* the state in which a round begins to take bytes, when there is only one */
    bool plain;     /* every plain character alone is a whole round */
};

struct gram_cache;

struct gram {
    unsigned refs;
    char *text;
    struct gram_state *states;
    size_t state_count;
    struct gram_edge *edges;
    size_t edge_count;
    struct gram_call *calls;
    size_t call_count;
    uint32_t *rule_starts; /* [rule_count] */
    size_t rule_count;
    struct gram_loop *loops;
    size_t loop_count;
    struct gram_cache *cache; /* of masks; NULL until a matcher asks */
};

/* The state's edge for the byte; NULL: none. */
static inline const struct gram_edge *gram_find_edge(const struct gram *gram, uint32_t state,
                                                     uint8_t byte)
{
    const struct gram_edge *edge = gram->edges + gram->states[state].edge_first;
    uint32_t count = gram->states[state].edge_count;
    while (count > 4) { /* halve down to a few */
        uint32_t half = count / 2;
        if (edge[half].first <= byte) {
            edge += half;
            count -= half;
        } else {
            count = half;
        }
    }
    for (; count > 0; count--, edge++)
        if (byte >= edge->first && byte <= edge->last)
            return edge;
    return NULL;
}

static inline uint32_t gram_step(const struct gram *gram, uint32_t state, uint8_t byte)
{
    const struct gram_edge *edge = gram_find_edge(gram, state, byte);
    return edge ? edge->to : GRAM_NONE;
}

/* Node 0 is the root; nodes are in depth-first order, so that a subtree is a range of nodes, and its
 * tokens a range of `order`. "Plain" characters are those that a JSON string takes as they are:
 * well-formed UTF-8 but control characters, quote, backslash, and the two separators that end lines
 * in JavaScript (U+2028, U+2029). */
struct gram_trie_node {
    uint64_t classes; /* gram_byte_class bits of this byte and all below */
    uint32_t end;     /* of the subtree */
    uint32_t first;   /* of the subtree's tokens in `order`; those that end here come first */
    uint32_t last;    /* behind the subtree's tokens */
    uint16_t exact;   /* how many end here */
    uint16_t chars;   /* that begin before this node's byte */
    uint8_t byte;
    bool plain; /* from this byte on, all tokens of the subtree are plain characters, none cut */
};

#define GRAM_SHORT_CHARS 16u

struct gram_trie {
    struct gram_trie_node *nodes;
    size_t node_count;
    uint32_t *order; /* token ids, sorted by their bytes */
    uint16_t *chars; /* [order] characters of the token */
    size_t order_count;
};

struct gram_vocab {
    unsigned refs;
    uint32_t token_count;
    struct gram_trie all;
    struct gram_trie rough;    /* tokens that are not plain from their first byte, of at most */
    struct gram_trie longs;    /* GRAM_SHORT_CHARS characters, and of more */
    struct gram_trie controls; /* control tokens, by their texts */
    uint64_t *control_bits;    /* as plain_bits */
    uint32_t *plain;           /* the plain ones, sorted by their number of characters; */
    uint32_t *plain_counts;    /* [chars_max + 1] how many of them have at most so many */
    uint64_t *plain_bits;      /* [token_count / 64, rounded up] all of them */
    uint32_t chars_max;        /* of all tokens */
    char *text;                /* bytes of the tokens by id, for accept */
    uint32_t *starts;          /* [token_count + 1] */
};

/* Bytes fall in classes that grammars treat alike most of the time: below 64. */
static inline unsigned gram_byte_class(uint8_t byte)
{
    if (byte >= 'a' && byte <= 'z')
        return byte <= 'f' ? 0 : 1;
    if (byte >= 'A' && byte <= 'Z')
        return byte <= 'F' ? 2 : 3;
    if (byte >= '0' && byte <= '9')
        return 4;
    if (byte >= 0x80)
        return 5;
    if (byte < 0x20)
        return byte == '\t' ? 6 : byte == '\n' ? 7 : byte == '\r' ? 8 : 9;
    if (byte == 0x7F)
        return 10;
    /* blank and punctuation, each its own: 33 of them */
    return byte < '0'   ? 11u + byte - 0x20
           : byte < 'A' ? 27u + byte - ':'
           : byte < 'a' ? 34u + byte - '['
                        : 40u + byte - '{';
}

void gram_cache_destroy(struct gram_cache *cache);

#endif
