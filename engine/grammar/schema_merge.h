/* Inside engine/grammar/: JSON Schemas as values: what two of them allow together, and whether one
 * allows a given value. */
#ifndef ENGINE_GRAMMAR_SCHEMA_MERGE_H
#define ENGINE_GRAMMAR_SCHEMA_MERGE_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/base/map.h"

/* Whether the keyword limits nothing (title, $defs, ...). */
bool schema_is_annotation(const char *key);
/* Whether any keyword of the schema, which is an object, but `except` and annotations is there. */
bool schema_constrains(const json_t *schema, const char *except);

/* A schema that allows what both do; subschemas that meet become an allOf of their own. Neither has
 * allOf or $ref. A new reference; NULL: cannot be said (*unsupported names the keyword) or memory
 * is out (*unsupported is NULL). */
json_t *schema_merge(const json_t *a, const json_t *b, const char **unsupported);
/* The same without looking inside: {"allOf": [a, b]} or simpler. A new reference or NULL. */
json_t *schema_both(const json_t *a, const json_t *b);

/* Names by which a $ref may lead to a subschema: "#anchor", "$id" as written and resolved, with
 * and without anchors. */
bool schema_index(const json_t *root, struct map *names);
/* Where it leads; NULL: nowhere in the document. Borrowed. */
const json_t *schema_resolve(const json_t *root, const struct map *names, const char *ref);

struct schema_check {
    const json_t *root;
    const struct map *names;
    unsigned budget; /* of schemas looked at; at 0 the answer is "unknown" */
    bool unknown;    /* a keyword that is not looked at (pattern, format, ...) might have refused */
};

/* Whether the schema allows the value; true when it is unknown. */
bool schema_allows(struct schema_check *check, const json_t *schema, const json_t *value,
                   unsigned depth);

#endif
