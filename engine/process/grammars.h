/* Grammars that were compiled lately, by their source text: inferlets tend to
 * bring the same schema again and again, and what a grammar has learned about
 * the vocabulary serves all its matchers. */
#ifndef ENGINE_PROCESS_GRAMMARS_H
#define ENGINE_PROCESS_GRAMMARS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct gram;
struct gram_vocab;
struct tok;

enum proc_grammar_kind {
    PROC_GRAMMAR_JSON, /* without a text */
    PROC_GRAMMAR_JSON_SCHEMA,
    PROC_GRAMMAR_REGEX,
    PROC_GRAMMAR_EBNF,
};

enum { PROC_GRAMMARS = 64 };

struct proc_grammars {
    struct {
        struct gram *gram; /* one reference; NULL = free */
        enum proc_grammar_kind kind;
        char *text;
        size_t bytes;
        uint64_t used; /* the clock when it was last asked for */
    } entries[PROC_GRAMMARS];
    uint64_t clock;
    struct gram_vocab *vocab; /* of the model, made at first use */
};

/* Zero-initialised is empty. */
void proc_grammars_deinit(struct proc_grammars *grammars);

/* One reference for the caller. Errors are gram.h's. */
enum err proc_grammars_get(struct proc_grammars *grammars, enum proc_grammar_kind kind,
                           const char *text, size_t bytes, struct gram **gram,
                           struct report *report) ERR_MUST_USE;
/* Borrowed. `tok` is always the same. */
enum err proc_grammars_vocab(struct proc_grammars *grammars, const struct tok *tok,
                             struct gram_vocab **vocab, struct report *report) ERR_MUST_USE;

#endif
