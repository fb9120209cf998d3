/* How each model family writes turns, thoughts and tool calls, as token ids.
 *
 * A family is a page of data (families.c). Model text becomes tokens with special-token strings
 * recognised, as tokenizer.encode does. What the functions write is pie 0.4's, family by family;
 * `pie:instruct` is a thin layer over this header. Models of no known family are written to by
 * their own template (template.c, jinja.h).
 *
 * A `struct chat` is immutable and may be shared between threads; decoders are one user's. It
 * borrows its tokenizer, decoders borrow the chat. */
#ifndef ENGINE_CHAT_CHAT_H
#define ENGINE_CHAT_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/text/tok.h"

struct chat;

/* Picks the family: by `arch` (GGUF's general.architecture or the Hugging Face model type, "qwen3",
 * "llama", ...; NULL: unknown), by the turn tokens the vocabulary has; otherwise, and where the
 * vocabulary says too little, turns are written by `template` (tokenizer.chat_template, NULL: none)
 * itself, as the family "template". Without one (or when it cannot be used) a vocabulary without any
 * turn tokens gets the family "plain", which writes messages as bare text. */
enum err chat_create(const char *arch, const char *template_text, size_t template_bytes,
                     const struct tok *tok, struct chat **chat, struct report *report) ERR_MUST_USE;
void chat_destroy(struct chat *chat); /* NULL is allowed */

const char *chat_family(const struct chat *chat); /* "chatml", "llama3", ... */

/* Each appends the ids of one part of a conversation; on failure (ERR_MEMORY) `ids` is as before.
 */
enum err chat_system(const struct chat *chat, const char *text, size_t bytes, struct tok_ids *ids,
                     struct report *report) ERR_MUST_USE;
enum err chat_first_user(const struct chat *chat, const char *text, size_t bytes,
                         struct tok_ids *ids, struct report *report) ERR_MUST_USE;
enum err chat_user(const struct chat *chat, const char *text, size_t bytes, struct tok_ids *ids,
                   struct report *report) ERR_MUST_USE;
enum err chat_system_user(const struct chat *chat, const char *system, size_t system_bytes,
                          const char *user, size_t user_bytes, struct tok_ids *ids,
                          struct report *report) ERR_MUST_USE;
/* A finished answer of the model, replayed. */
enum err chat_assistant(const struct chat *chat, const char *text, size_t bytes,
                        struct tok_ids *ids, struct report *report) ERR_MUST_USE;
/* The opening of the model's turn. */
enum err chat_cue(const struct chat *chat, struct tok_ids *ids, struct report *report) ERR_MUST_USE;
/* Upstream's seal(): all stop tokens. */
enum err chat_seal(const struct chat *chat, struct tok_ids *ids,
                   struct report *report) ERR_MUST_USE;

/* The ids that end the model's turn, borrowed. */
const uint32_t *chat_stop_tokens(const struct chat *chat, size_t *count);
bool chat_is_stop(const struct chat *chat, uint32_t id);

/* ---- chat decoder: tokens to visible text ---- */

enum chat_event_kind { CHAT_DELTA, CHAT_DONE };
struct chat_event {
    enum chat_event_kind kind;
    const char *text; /* DELTA: the new text, may be ""; DONE: everything since the last reset or
                         DONE. UTF-8, zero-terminated, borrowed until the next call */
    size_t bytes;
};

struct chat_decoder;
enum err chat_decoder_create(const struct chat *chat, struct mem_heap *heap,
                             struct chat_decoder **decoder, struct report *report) ERR_MUST_USE;
void chat_decoder_destroy(struct chat_decoder *decoder);
/* A stop token gives DONE and the rest of `ids` is dropped. ERR_INVALID: id outside the vocabulary.
 */
enum err chat_decoder_feed(struct chat_decoder *decoder, const uint32_t *ids, size_t count,
                           struct chat_event *event, struct report *report) ERR_MUST_USE;
void chat_decoder_reset(struct chat_decoder *decoder);

/* ---- reasoning decoder: what stands between the family's thinking marks ---- */

bool chat_has_reasoning(const struct chat *chat);

enum chat_reasoning_kind { CHAT_REASONING_START, CHAT_REASONING_DELTA, CHAT_REASONING_COMPLETE };
struct chat_reasoning_event {
    enum chat_reasoning_kind kind;
    const char *text; /* DELTA: new text ("" also when there is nothing to tell); COMPLETE: the
                         whole thought; START: "". Borrowed until the next call */
    size_t bytes;
};

struct chat_reasoning;
/* Families without thinking marks give a decoder that always answers DELTA "". */
enum err chat_reasoning_create(const struct chat *chat, struct mem_heap *heap,
                               struct chat_reasoning **decoder, struct report *report) ERR_MUST_USE;
void chat_reasoning_destroy(struct chat_reasoning *decoder);
enum err chat_reasoning_feed(struct chat_reasoning *decoder, const uint32_t *ids, size_t count,
                             struct chat_reasoning_event *event,
                             struct report *report) ERR_MUST_USE;
void chat_reasoning_reset(struct chat_reasoning *decoder);

/* ---- tool use ---- */

struct chat_string {
    const char *data;
    size_t bytes;
};

bool chat_has_tools(const struct chat *chat);

/* Appends the announcement of the tools, each a JSON text `{name, description, parameters}` or
 * `{type, function: {...}}`; nothing for families without tools. ERR_INVALID: not such JSON. */
enum err chat_equip(const struct chat *chat, const struct chat_string *tools, size_t tool_count,
                    struct tok_ids *ids, struct report *report) ERR_MUST_USE;
/* Appends a tool's result. */
enum err chat_answer(const struct chat *chat, const char *name, size_t name_bytes,
                     const char *value, size_t value_bytes, struct tok_ids *ids,
                     struct report *report) ERR_MUST_USE;
/* Appends to `ebnf` a grammar (gram_from_ebnf) of well-formed calls of these tools. `*native` is
 * false, and nothing appended, for families that have no such grammar. */
enum err chat_tool_grammar(const struct chat *chat, const struct chat_string *tools,
                           size_t tool_count, struct buf *ebnf, bool *native,
                           struct report *report) ERR_MUST_USE;

enum chat_tool_kind { CHAT_TOOL_START, CHAT_TOOL_CALL };
struct chat_tool_event {
    enum chat_tool_kind kind; /* START also stands for "nothing yet" */
    struct chat_string name;  /* CALL: the function, */
    struct chat_string args;  /* and its arguments as JSON text. Borrowed until the next call */
};

struct chat_tool_decoder;
enum err chat_tool_decoder_create(const struct chat *chat, struct mem_heap *heap,
                                  struct chat_tool_decoder **decoder,
                                  struct report *report) ERR_MUST_USE;
void chat_tool_decoder_destroy(struct chat_tool_decoder *decoder);
enum err chat_tool_decoder_feed(struct chat_tool_decoder *decoder, const uint32_t *ids,
                                size_t count, struct chat_tool_event *event,
                                struct report *report) ERR_MUST_USE;
void chat_tool_decoder_reset(struct chat_tool_decoder *decoder);

#endif
