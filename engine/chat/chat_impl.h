/* Inside engine/chat/: what a family is. */
#ifndef ENGINE_CHAT_CHAT_IMPL_H
#define ENGINE_CHAT_CHAT_IMPL_H

#include "engine/chat/chat.h"

/* Templates are cut at this byte into parts that are encoded one by one, as upstream does, so that
 * ids do not depend on what a message begins or ends with. */
#define CHAT_CUT '\x1F'
#define CUT      "\x1F"

struct chat_turn {
    const char *before, *after; /* around the message; NULL: the family has no such turn */
};

enum chat_tools {
    CHAT_TOOLS_NONE,
    CHAT_TOOLS_XML,      /* <tools>, <tool_call> JSON */
    CHAT_TOOLS_LLAMA3,   /* the whole answer is one JSON object */
    CHAT_TOOLS_MISTRAL,  /* [TOOL_CALLS]NAME[ARGS]JSON */
    CHAT_TOOLS_DEEPSEEK, /* tool call tokens around ```json */
    CHAT_TOOLS_OLMO3,    /* <functions>, <function_calls> JSON */
    CHAT_TOOLS_GPTOSS,   /* a TypeScript namespace; calls end in a stop token */
};

struct chat_family {
    const char *name;
    const char *archs;    /* space-separated, normalised (lower case, '_' for '-' and '.') */
    const char *marks[3]; /* tokens that the vocabulary must have for this family */
    struct chat_turn system, user, assistant;
    struct chat_turn tool_answer; /* where the value stands alone in a turn */
    const char *first;   /* in front of the first user turn and of system-user, when not NULL */
    bool system_in_user; /* system-user is one user turn: system, newline, user */
    bool trims;          /* white space around messages is dropped */
    const char *cue;
    const char *stops[4];
    const char *think_start, *think_end; /* NULL: no reasoning */
    bool thinks_from_start;              /* the cue opened the thought */
    bool replays_answer;                 /* assistant() drops all up to the last think_end */
    bool replay_trims_newlines;
    const char *replay_without_thought; /* put before an answer that holds no think_start */
    enum chat_tools tools;
};

extern const struct chat_family chat_families[];
extern const size_t chat_family_count;
/* The families at fixed places of the list. */
extern const struct chat_family chat_family_plain, chat_family_llama2;

/* Turns by the model's own template (template.c). */
struct chat_template;

struct chat {
    const struct chat_family *family;
    struct chat_template *template; /* NULL: `family` writes the turns */
    const struct tok *tok; /* borrowed */
    struct tok_ids stops;
};

/* Fails when the text is no template, or writes turns in a way that cannot be taken apart. */
enum err template_create(const char *source, size_t bytes, const struct tok *tok,
                         struct chat_template **template, struct report *report) ERR_MUST_USE;
void template_destroy(struct chat_template *template);
const struct chat_family *template_family(const struct chat_template *template);
/* The special token behind the model's turn; TOK_NONE: there is none. */
uint32_t template_stop(const struct chat_template *template);
/* As the functions of chat.h; `system` NULL: none. */
enum err template_system(const struct chat_template *template, const char *text, size_t bytes,
                         struct tok_ids *ids, struct report *report) ERR_MUST_USE;
enum err template_user(const struct chat_template *template, const char *text, size_t bytes,
                       struct tok_ids *ids, struct report *report) ERR_MUST_USE;
enum err template_first(const struct chat_template *template, const struct chat_string *system,
                        const char *user, size_t bytes, struct tok_ids *ids,
                        struct report *report) ERR_MUST_USE;
enum err template_assistant(const struct chat_template *template, const char *text, size_t bytes,
                            struct tok_ids *ids, struct report *report) ERR_MUST_USE;
enum err template_cue(const struct chat_template *template, struct tok_ids *ids,
                      struct report *report) ERR_MUST_USE;
enum err template_equip(const struct chat_template *template, const struct chat_string *tools,
                        size_t tool_count, struct tok_ids *ids,
                        struct report *report) ERR_MUST_USE;
enum err template_answer(const struct chat_template *template, struct chat_string name,
                         struct chat_string value, struct tok_ids *ids,
                         struct report *report) ERR_MUST_USE;

/* Writes one piece of conversation. SentencePiece vocabularies would put a space in front of every
 * part, so there all parts are joined before they are encoded. */
struct chat_writer {
    const struct chat *chat;
    struct tok_ids *ids;
    struct report *report;
    size_t before; /* ids->count at the beginning */
    struct buf joined;
    enum err err; /* the first failure; what follows does nothing */
};

void chat_writer_begin(struct chat_writer *writer, const struct chat *chat, struct tok_ids *ids,
                       struct report *report);
/* A template, cut into its parts. NULL: nothing. */
void chat_writer_put(struct chat_writer *writer, const char *parts);
/* One part. */
void chat_writer_text(struct chat_writer *writer, const char *text, size_t bytes);
/* On failure takes back what was appended. */
enum err chat_writer_end(struct chat_writer *writer) ERR_MUST_USE;

/* `text` without ASCII white space at both ends. */
struct chat_string chat_trim(const char *text, size_t bytes);

/* Position of `needle` in text[from, bytes), SIZE_MAX when it is not there. */
size_t chat_find(const char *text, size_t bytes, size_t from, const char *needle);

#endif
