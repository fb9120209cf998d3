/* Inside engine/grammar/: compiled grammars and vocabularies.
 *
 * A rule is a deterministic automaton over bytes whose states may also call other rules: when the callee
 * is through, its caller goes on in the state that the call names. Repetitions too long to be written
 * out are loops: a rule with a counter. A state is alive: from each, its rule can still end. */
#ifndef ENGINE_GRAMMAR_GRAM_IMPL_H
#define ENGINE_GRAMMAR_GRAM_IMPL_H

#include <string.h>

#include "engine/grammar/gram.h"

#define GRAM_NONE UINT32_MAX
#define GRAM_LOOP 0x80000000u /* in a callee: this is a loop's index, not a rule's */
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
    bool tail;       /* final, and nothing else: a call that returns here needs no frame */
    bool plain_loop; /* every plain character (see vocab) leads back here */
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

static inline uint32_t gram_step(const struct gram *gram, uint32_t state, uint8_t byte)
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
            return edge->to;
    return GRAM_NONE;
}

/* Node 0 is the root; nodes are in depth-first order, so that a subtree is a range of nodes, and its
 * tokens a range of `order`. "Plain" characters are those that a JSON string takes as they are: well-formed
 * UTF-8 but control characters, quote and backslash. */
struct gram_trie_node {
    uint32_t end;   /* of the subtree */
    uint32_t first; /* of the subtree's tokens in `order`; those that end here come first */
    uint32_t last;  /* behind the subtree's tokens */
    uint16_t exact; /* how many end here */
    uint16_t chars; /* that begin before this node's byte */
    uint8_t byte;
    bool plain; /* from this byte on, all tokens of the subtree are plain characters, none cut */
};

struct gram_vocab {
    unsigned refs;
    uint32_t token_count;
    struct gram_trie_node *nodes;
    size_t node_count;
    uint32_t *order;      /* token ids, sorted by their bytes */
    uint16_t *chars;      /* [order] characters of the token */
    size_t order_count;
    uint32_t chars_max;
    char *text;           /* bytes of the tokens by id, for accept */
    uint32_t *starts;     /* [token_count + 1]; control tokens are empty */
};

void gram_cache_destroy(struct gram_cache *cache);

#endif
