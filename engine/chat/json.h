/* Reading JSON texts in place: spans of the source, nothing is copied or converted, so that numbers
 * and key order stay as the model wrote them. */
#ifndef ENGINE_CHAT_JSON_H
#define ENGINE_CHAT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"
#include "engine/chat/chat.h"

/* Checks that `text` is one JSON value, white space around it allowed, and gives its span. Nesting
 * is bounded. */
bool chat_json_parse(const char *text, size_t bytes, struct chat_string *value);

/* The member of an object that chat_json_parse accepted (the last of equal keys); false when
 * `object` is none or has no such member. */
bool chat_json_member(struct chat_string object, const char *key, struct chat_string *value);

/* Members of an object (key with its quotes) or elements of an array, in order: start with *at = 0.
 * False at the end, and for values that are neither. */
bool chat_json_next(struct chat_string container, size_t *at, struct chat_string *key,
                    struct chat_string *value);

/* The characters of a JSON string, appended; false when `value` is no string or memory is out. */
bool chat_json_string(struct chat_string value, struct buf *out);

/* The value without white space between its tokens, appended; false when memory is out. */
bool chat_json_compact(struct chat_string value, struct buf *out);

#endif
