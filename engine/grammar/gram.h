/* Constrained output: a grammar and the text so far give the set of tokens that may come next.
 *
 * Grammars come as EBNF (GBNF-like, root rule "root"), as regular expressions (JavaScript's syntax
 * without look-around, back references and \b), as JSON Schema, or as "any JSON". All become the
 * same: rules that are byte automata and may call each other. A matcher holds the set of call
 * stacks that the text so far leaves possible; masks are found by walking a trie of the vocabulary,
 * and what a rule alone decides is remembered in the grammar for all its matchers.
 *
 * Every bound (states, stacks, repetitions) ends in an error, never in a hang or a crash.
 * A grammar and its matchers belong to one thread at a time; a vocabulary may be shared. */
#ifndef ENGINE_GRAMMAR_GRAM_H
#define ENGINE_GRAMMAR_GRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

struct tok;
struct gram;
struct gram_vocab;
struct gram_matcher;

/* Each gives a grammar with one reference. ERR_INVALID says what is wrong and where;
 * ERR_UNSUPPORTED names what is well-formed but not supported (left recursion through several
 * rules, allOf with two patterns, ...); ERR_LIMIT: too large or too deep. */
enum err gram_from_ebnf(const char *text, size_t bytes, struct gram **gram,
                        struct report *report) ERR_MUST_USE;
enum err gram_from_regex(const char *text, size_t bytes, struct gram **gram,
                         struct report *report) ERR_MUST_USE;
enum err gram_from_json_schema(const char *text, size_t bytes, struct gram **gram,
                               struct report *report) ERR_MUST_USE;
enum err gram_json(struct gram **gram, struct report *report) ERR_MUST_USE;

struct gram *gram_ref(struct gram *gram);
void gram_unref(struct gram *gram); /* NULL is allowed */

/* The grammar as EBNF that gram_from_ebnf takes; zero-terminated, borrowed. */
const char *gram_text(const struct gram *gram);

/* A vocabulary's tokens as a trie. Tokens without bytes are never allowed, control tokens only
 * where the grammar spells out their text as a literal ("<|call|>"). Keeps nothing of `tok`. */
enum err gram_vocab_create(const struct tok *tok, struct gram_vocab **vocab,
                           struct report *report) ERR_MUST_USE;
struct gram_vocab *gram_vocab_ref(struct gram_vocab *vocab);
void gram_vocab_unref(struct gram_vocab *vocab); /* NULL is allowed */

/* Starts at the beginning of the grammar. References both; copies the stop tokens, which are
 * allowed exactly where the grammar may end. `heap` pays for the matcher's stacks. */
enum err gram_matcher_create(struct gram *gram, struct gram_vocab *vocab, const uint32_t *stops,
                             size_t stop_count, struct mem_heap *heap,
                             struct gram_matcher **matcher, struct report *report) ERR_MUST_USE;
void gram_matcher_destroy(struct gram_matcher *matcher); /* NULL is allowed */

/* Consumes one token. ERR_INVALID "token N rejected by grammar" leaves the matcher as it was. */
enum err gram_matcher_accept(struct gram_matcher *matcher, uint32_t id,
                             struct report *report) ERR_MUST_USE;

/* Which tokens may come next, as BRLE (run lengths in turn of masked and allowed ids, masked first;
 * the sum is the vocabulary's size). Borrowed until the next call on any matcher of the grammar.
 * After termination all are masked. */
enum err gram_matcher_mask(struct gram_matcher *matcher, const uint32_t **brle, size_t *count,
                           struct report *report) ERR_MUST_USE;

/* True when the text so far is complete (more may be possible). */
bool gram_matcher_can_end(const struct gram_matcher *matcher);
/* True once a stop token was accepted. */
bool gram_matcher_is_terminated(const struct gram_matcher *matcher);
/* Back to the beginning. */
void gram_matcher_reset(struct gram_matcher *matcher);

#endif
