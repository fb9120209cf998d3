/* inferlet.h: write a Pie inferlet in C.
 *
 *     #include "inferlet.h"
 *
 *     bool inferlet_main(struct pie_text input, struct pie_buf *output)
 *     {
 *         struct pie_model model;
 *         if (!pie_model_open(&model, NULL))
 *             return false;
 *         ...
 *         pie_buf_puts(output, "done");
 *         return true;
 *     }
 *
 * Compiled with any clang for wasm32, without a C library:
 *
 *     clang --target=wasm32 -O2 -nostdlib -ffreestanding -Isdk/c/include \
 *           -DINFERLET_NAME='"my-program"' -c main.c sdk/c/src/inferlet.c ...
 *     wasm-ld --no-entry --export=cabi_realloc main.o inferlet.o ... -o my-program.wasm
 *
 * (the build of the standard inferlets in sdk/sdk.mk does just that). The module's imports carry
 * the names of the WIT interfaces, so it is an inferlet as it is.
 *
 * Conventions. A function that can fail returns false and leaves the reason in pie_error().
 * Texts and arrays that a function gives are the caller's to pie_free, unless said otherwise.
 * Structs named `struct pie_x` are opened by pie_x_open and closed by pie_x_close; a zeroed one
 * may be closed. Handles are the host's numbers (struct fields named `handle`). Waiting functions
 * wait without cost to other inferlets. Running out of memory ends the inferlet with a trap. */
#ifndef INFERLET_H
#define INFERLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the program ------------------------------------------------------------------------- */

/* Bytes that belong to somebody else; not zero-terminated. */
struct pie_text {
    const char *data;
    size_t bytes;
};

/* A growing text. Zero-initialise; free with pie_buf_free. */
struct pie_buf {
    char *data;
    size_t bytes, capacity;
};

/* Yours. `input` is what the launcher passed, normally a JSON object; borrowed for the call. On
 * true, `output` is the program's return value; on false, its error: `output` if it is not empty,
 * else pie_error(). */
bool inferlet_main(struct pie_text input, struct pie_buf *output);

/* The reason of the last failure; never NULL. */
const char *pie_error(void);
/* Sets it and returns false: `return pie_fail("no prompt")`. Copies at most 500 bytes, whole
 * characters. */
bool pie_fail(const char *message);
bool pie_fail_text(struct pie_text message);

/* ---- memory and text --------------------------------------------------------------------- */

void *pie_alloc(size_t bytes); /* never NULL; 16-byte aligned, not zeroed */
void *pie_realloc(void *block, size_t bytes);
void pie_free(void *block);

struct pie_text pie_text(const char *zero_terminated);
bool pie_text_equal(struct pie_text a, struct pie_text b);

void pie_buf_append(struct pie_buf *buf, const void *data, size_t bytes);
void pie_buf_puts(struct pie_buf *buf, const char *zero_terminated);
void pie_buf_put_u64(struct pie_buf *buf, uint64_t value);
void pie_buf_put_f64(struct pie_buf *buf, double value, int decimals); /* plain; at most 17 */
void pie_buf_put_json(struct pie_buf *buf, struct pie_text text);      /* quoted */
void pie_buf_free(struct pie_buf *buf);

/* ---- parameters: top-level members of a JSON object -------------------------------------- */

/* The member's value, or the fallback when it is absent. False (with pie_error) when the input is
 * not a JSON object or the member has another type. Numbers are accepted from strings that hold
 * one, and text from numbers and booleans (the command line cannot quote). */
bool pie_param_text(struct pie_text input, const char *name, const char *fallback,
                    struct pie_buf *value);
bool pie_param_f64(struct pie_text input, const char *name, double fallback, double *value);
bool pie_param_u32(struct pie_text input, const char *name, uint32_t fallback, uint32_t *value);
bool pie_param_bool(struct pie_text input, const char *name, bool fallback, bool *value);
/* True when the member is there and not null. */
bool pie_param_has(struct pie_text input, const char *name);

/* ---- talking to the client --------------------------------------------------------------- */

/* pie:core/session.send: one message; clients and `pie run` show it at once. */
void pie_send(struct pie_text message);
/* Waits for the client's next message; the caller frees with pie_buf_free. */
void pie_receive(struct pie_buf *message);

/* pie:core/runtime. */
void pie_runtime_version(struct pie_buf *version);
void pie_runtime_instance_id(struct pie_buf *id);

/* ---- tokens ------------------------------------------------------------------------------ */

/* A growing array of token ids. Zero-initialise; free with pie_tokens_free. */
struct pie_tokens {
    uint32_t *ids;
    size_t count, capacity;
};

void pie_tokens_push(struct pie_tokens *tokens, uint32_t id);
void pie_tokens_append(struct pie_tokens *tokens, const uint32_t *ids, size_t count);
void pie_tokens_free(struct pie_tokens *tokens);

/* ---- models ------------------------------------------------------------------------------ */

struct pie_model {
    uint32_t handle;
    uint32_t tokenizer;      /* handle */
    struct pie_tokens stops; /* tokens that end a turn */
};

/* `name` NULL: the first model of runtime.models(). */
bool pie_model_open(struct pie_model *model, const char *name);
void pie_model_close(struct pie_model *model);

/* Appends the ids of `text`. Special tokens' texts are recognised; no BOS is added. */
void pie_encode(const struct pie_model *model, struct pie_text text, struct pie_tokens *tokens);
/* Appends the text of the ids. */
bool pie_decode(const struct pie_model *model, const uint32_t *ids, size_t count,
                struct pie_buf *text);

/* Chat turns of the model's family (pie:instruct/chat), appended as tokens. */
void pie_chat_system(const struct pie_model *model, struct pie_text message,
                     struct pie_tokens *tokens);
void pie_chat_first_user(const struct pie_model *model, struct pie_text message,
                         struct pie_tokens *tokens);
void pie_chat_user(const struct pie_model *model, struct pie_text message,
                   struct pie_tokens *tokens);
void pie_chat_system_user(const struct pie_model *model, struct pie_text system,
                          struct pie_text user, struct pie_tokens *tokens);
void pie_chat_assistant(const struct pie_model *model, struct pie_text message,
                        struct pie_tokens *tokens);
/* What comes before the assistant's answer. */
void pie_chat_cue(const struct pie_model *model, struct pie_tokens *tokens);
bool pie_is_stop(const struct pie_model *model, uint32_t token);

/* The natural exponential and logarithm, to about 1e-15 relative; denormal numbers count as 0. */
double pie_exp(double x);
double pie_ln(double x);

/* Tokens to text as they come; never splits a character. */
struct pie_chat_decoder {
    uint32_t handle;
};
void pie_chat_decoder_open(struct pie_chat_decoder *decoder, const struct pie_model *model);
void pie_chat_decoder_close(struct pie_chat_decoder *decoder);
/* Appends the new text to `delta` (perhaps none); `done` says that the turn has ended. */
bool pie_chat_decoder_feed(struct pie_chat_decoder *decoder, const uint32_t *ids, size_t count,
                           struct pie_buf *delta, bool *done);

/* ---- contexts: tokens in, tokens out ----------------------------------------------------- */

/* A LoRA adapter: pie:core/adapter. */
struct pie_adapter {
    uint32_t handle;
};

/* Makes an adapter of that name and loads a file of the engine's adapters' folder into it. */
bool pie_adapter_open(struct pie_adapter *adapter, const struct pie_model *model, const char *name,
                      const char *path);
void pie_adapter_close(struct pie_adapter *adapter); /* the name is free again */

/* A sequence with its KV cache. Tokens are first queued, then fed by the next step. */
struct pie_context {
    const struct pie_model *model; /* borrowed */
    const struct pie_adapter *adapter; /* of its steps from now on; borrowed; NULL: none is named */
    uint32_t handle;
    uint32_t page_tokens;
    uint32_t fed;              /* tokens in the KV cache, also the next position */
    uint32_t working;          /* of these, tokens in working (not committed) pages */
    uint32_t working_pages;
    uint32_t last;             /* the token that the last step chose */
    struct pie_tokens queued;  /* tokens to be fed by the next step */
};

bool pie_context_open(struct pie_context *context, const struct pie_model *model);
/* The copy shares all full pages; queued tokens are copied. */
bool pie_context_fork(const struct pie_context *context, struct pie_context *copy);
/* Frees its pages. */
void pie_context_close(struct pie_context *context);
void pie_context_queue(struct pie_context *context, const uint32_t *ids, size_t count);

/* How to choose a token. Zeros: greedy. */
struct pie_sampling {
    double temperature; /* <= 0: greedy */
    double top_p;       /* 0 or >= 1: no nucleus */
    bool has_seed;      /* false: the host draws (reproducible for the engine's seed) */
    uint64_t seed;      /* advanced by every draw */
};

/* Feeds what is queued (at least one token) and chooses the next token, which is queued in turn,
 * so that steps can follow each other. Waits. */
bool pie_step(struct pie_context *context, struct pie_sampling *sampling, uint32_t *token);

/* The same in two halves, so that several contexts can be in flight at once: begin them all, then
 * end them in any order. */
struct pie_step {
    struct pie_context *context; /* NULL = not in flight */
    struct pie_sampling *sampling;
    uint32_t future; /* handle */
    bool local_draw; /* the host gives a distribution, the draw is made here */
};
bool pie_step_begin(struct pie_step *step, struct pie_context *context,
                    struct pie_sampling *sampling);
bool pie_step_end(struct pie_step *step, uint32_t *token); /* waits */

/* Feeds what is queued without choosing anything. Waits. */
bool pie_context_flush(struct pie_context *context);

/* ---- generation -------------------------------------------------------------------------- */

struct pie_generation {
    uint32_t max_tokens;
    struct pie_sampling sampling;
    bool chat;   /* end at the model's stop tokens and strip them */
    bool stream; /* pie_send every piece of text */
};

/* Reads `max_tokens` (256), `temperature` (0.6), `top_p` (0.95) and `seed` from the input. */
bool pie_generation_from_params(struct pie_generation *generation, struct pie_text input);

/* Generates from the context's queued tokens until a stop token or max_tokens; appends the text
 * to `text` (which may be NULL). `count` (may be NULL): tokens generated. */
bool pie_generate(struct pie_context *context, struct pie_generation *generation,
                  struct pie_buf *text, uint32_t *count);

/* Generates in `count` contexts side by side, each from its queued tokens, without sending; texts
 * are appended to texts[i]. A seed is made different for each. */
bool pie_generate_all(struct pie_context *contexts, size_t count,
                      const struct pie_generation *generation, struct pie_buf *texts);

/* Queues a user turn and the cue; `system` leads it in an empty context. */
void pie_chat_ask(struct pie_context *context, struct pie_text system, struct pie_text user);
/* Completes the assistant's turn as the model's family writes it: queues the stop token, when the
 * answer was cut before one (its last token is what is queued), and what follows it. */
void pie_chat_end_turn(struct pie_context *context);
/* Opens the first model and a context that asks what the parameter `prompt_name` says (`prompt`
 * when absent), with the parameter `system` before it. */
bool pie_chat_from_params(struct pie_model *model, struct pie_context *context,
                          struct pie_text input, const char *prompt_name, const char *prompt);

/* ---- forward passes in full -------------------------------------------------------------- */

/* How a row of a pass becomes an output slot. The numbers are the WIT's cases. */
enum pie_sampler_kind {
    PIE_MULTINOMIAL = 0, /* temperature; k is the seed, 0 = the engine's */
    PIE_GREEDY = 2,      /* the likeliest token */
    PIE_DIST = 6,        /* temperature, k: the k likeliest with probabilities, 0 = all */
    PIE_LOGITS = 7,
    PIE_LOGPROB = 8, /* of `token`, at temperature 1 */
    PIE_ENTROPY = 10 /* at temperature 1, in nats */
};
struct pie_sampler {
    enum pie_sampler_kind kind;
    double temperature;
    uint32_t k, token;
};

/* What the sampler gave: one of these, by its kind. */
struct pie_slot {
    uint32_t token;
    uint32_t *ids; /* PIE_DIST, likeliest first */
    float *values; /* PIE_DIST, PIE_LOGITS, PIE_LOGPROB */
    size_t count;
    double entropy;
};
struct pie_output {
    struct pie_slot *slots; /* in the order of pie_pass_sample */
    size_t count;
};
void pie_output_free(struct pie_output *output);

/* A pass feeds what is queued in the context, at the next positions. Fill it between open and
 * begin; a pass that was opened must be begun, one that was begun must be ended. Unlike pie_step
 * it queues nothing, and its tokens can be taken back until the next step or pass. */
struct pie_pass {
    struct pie_context *context;
    uint32_t handle, future;
    size_t samplers;
};
bool pie_pass_open(struct pie_pass *pass, struct pie_context *context);
/* `row`: which of the queued tokens; a row may have several samplers. */
void pie_pass_sample(struct pie_pass *pass, uint32_t row, struct pie_sampler sampler);
/* What each queued token sees of positions 0 to its own, one row of runs for each: runs alternate,
 * the first one hidden; what is beyond the end is hidden. */
void pie_pass_attention_mask(struct pie_pass *pass, const struct pie_tokens *rows);
/* The ids that may be chosen, as runs in the same manner. */
void pie_pass_logit_mask(struct pie_pass *pass, const struct pie_tokens *runs);
bool pie_pass_begin(struct pie_pass *pass);
bool pie_pass_end(struct pie_pass *pass, struct pie_output *output); /* waits */
bool pie_pass_run(struct pie_pass *pass, struct pie_output *output); /* both */
/* Takes back the last `count` tokens of the last pass. */
bool pie_context_truncate(struct pie_context *context, uint32_t count);

/* The runs of a token at `position` that sees the first `sink` positions and the last `window`,
 * its own among them. */
void pie_window_mask(uint32_t position, uint32_t sink, uint32_t window, struct pie_tokens *runs);
/* Greedy generation in which every token, the prompt's too, sees only that; not sent. */
bool pie_generate_windowed(struct pie_context *context, uint32_t sink, uint32_t window,
                           const struct pie_generation *generation, struct pie_buf *text);

/* ---- grammars ---------------------------------------------------------------------------- */

enum pie_grammar {
    PIE_JSON, /* any JSON; no source */
    PIE_JSON_SCHEMA,
    PIE_REGEX,
    PIE_EBNF
};
/* Where in a grammar an output is. */
struct pie_matcher {
    uint32_t handle;
};
bool pie_matcher_open(struct pie_matcher *matcher, const struct pie_model *model,
                      enum pie_grammar kind, struct pie_text source);
void pie_matcher_close(struct pie_matcher *matcher);
bool pie_matcher_accept(struct pie_matcher *matcher, const uint32_t *ids, size_t count);
/* The tokens that may follow, for pie_pass_logit_mask; stop tokens only where the text may end. */
void pie_matcher_mask(const struct pie_matcher *matcher, struct pie_tokens *runs);
/* A stop token was accepted. */
bool pie_matcher_terminated(const struct pie_matcher *matcher);
/* Generates from the queued tokens what the matcher allows; appends the text. `complete`: the
 * text is whole, false when max_tokens cut it. */
bool pie_generate_matching(struct pie_context *context, struct pie_matcher *matcher,
                           uint32_t max_tokens, double temperature, struct pie_buf *text,
                           bool *complete);

/* ---- contexts by name -------------------------------------------------------------------- */

/* Keeps what has been fed under a name of the user, which must be free; it outlives the program. */
bool pie_context_save(struct pie_context *context, const char *name);
/* A fork of what was saved. */
bool pie_context_open_saved(struct pie_context *context, const struct pie_model *model,
                            const char *name);
bool pie_context_delete_saved(const struct pie_model *model, const char *name);

#endif
