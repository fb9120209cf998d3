/* Chat templates: the part of Jinja (jinja.palletsprojects.com, 3.1) that `tokenizer.chat_template`
 * of real models uses, as Hugging Face renders it (trim_blocks, lstrip_blocks, loop controls).
 *
 * Statements: if, for (with filter and else), set (also of blocks, tuples and namespaces), macro,
 * call, filter, break, continue, generation, raw. Expressions: all but imports and `**kwargs`.
 * Upper and lower case are ASCII's. A template is hostile: what it may compute, write and nest is
 * limited, it sees the variables it is given and nothing else. */
#ifndef ENGINE_CHAT_JINJA_H
#define ENGINE_CHAT_JINJA_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct jinja;

/* Compiles a template; nothing of `source` is kept. ERR_INVALID (with the line) for what is no
 * template, ERR_UNSUPPORTED for statements this build does not know. */
enum err jinja_create(const char *source, size_t bytes, struct jinja **jinja,
                      struct report *report) ERR_MUST_USE;
void jinja_destroy(struct jinja *jinja); /* NULL is allowed */

/* Renders with the members of `variables`, one JSON object, as variables; appends to `out`.
 * `now_s` is what strftime_now tells, seconds since 1970 in UTC. ERR_INVALID: the template failed
 * or raised an exception (its words are in the report); ERR_LIMIT: it asked for too much. On
 * failure `out` is as before. A template may be rendered by several threads at once. */
enum err jinja_render(const struct jinja *jinja, const char *variables, size_t bytes,
                      int64_t now_s, struct buf *out, struct report *report) ERR_MUST_USE;

#endif
