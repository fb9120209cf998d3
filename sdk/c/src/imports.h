/* The host's functions as the canonical ABI lowers them. Results of more than one value are
 * written to `ret` (layouts beside each). Lists and texts are (pointer, length); what the host
 * returns by pointer was made with cabi_realloc and is ours to free. */
#ifndef INFERLET_IMPORTS_H
#define INFERLET_IMPORTS_H

#include <stddef.h>
#include <stdint.h>

#define IMPORT(interface, name) __attribute__((import_module(interface), import_name(name)))

/* Layouts of results in memory (canonical ABI, wasm32). */
struct abi_list { /* list<T>, string */
    void *data;
    uint32_t count;
};
struct abi_result_handle { /* result<own<T>, string> */
    uint8_t is_error;
    union {
        uint32_t handle;
        struct abi_list error;
    } of;
};
struct abi_result_text { /* result<string, string>; result<_, string> uses the error only */
    uint8_t is_error;
    struct abi_list text;
};
struct abi_option_text {
    uint8_t is_some;
    struct abi_list text;
};
struct abi_slot { /* variant slot-output */
    uint8_t tag; /* 0 token, 1 distribution, 2 logits, 3 logprobs, 4 entropy, 5 embedding */
    union {
        uint32_t token;
        struct {
            struct abi_list ids, probabilities;
        } distribution;
        struct abi_list list;
        float entropy;
    } of;
};
struct abi_option_output { /* option<output> */
    uint8_t is_some;
    struct abi_list slots, spec_tokens, spec_positions;
};
struct abi_result_event { /* result<chat event, string> */
    uint8_t is_error;
    union {
        struct {
            uint8_t tag; /* 0 delta(string), 1 interrupt(u32), 2 done(string) */
            struct abi_list text;
        } event;
        struct abi_list error;
    } of;
};

#define MODEL "pie:core/model"
IMPORT(MODEL, "[static]model.load")
void host_model_load(const char *name, size_t bytes, struct abi_result_handle *ret);
IMPORT(MODEL, "[method]model.tokenizer") uint32_t host_model_tokenizer(uint32_t self);
IMPORT(MODEL, "[resource-drop]model") void host_model_drop(uint32_t self);
IMPORT(MODEL, "[method]tokenizer.encode")
void host_tokenizer_encode(uint32_t self, const char *text, size_t bytes, struct abi_list *ret);
IMPORT(MODEL, "[method]tokenizer.decode")
void host_tokenizer_decode(uint32_t self, const uint32_t *ids, size_t count,
                           struct abi_result_text *ret);
IMPORT(MODEL, "[resource-drop]tokenizer") void host_tokenizer_drop(uint32_t self);

#define CONTEXT "pie:core/context"
IMPORT(CONTEXT, "[static]context.create")
void host_context_create(uint32_t model, struct abi_result_handle *ret);
IMPORT(CONTEXT, "[method]context.fork")
void host_context_fork(uint32_t self, struct abi_result_handle *ret);
IMPORT(CONTEXT, "[static]context.open")
void host_context_open(uint32_t model, const char *name, size_t bytes,
                       struct abi_result_handle *ret);
IMPORT(CONTEXT, "[static]context.delete")
void host_context_delete(uint32_t model, const char *name, size_t bytes,
                         struct abi_result_text *ret);
IMPORT(CONTEXT, "[method]context.save")
void host_context_save(uint32_t self, const char *name, size_t bytes, struct abi_result_text *ret);
IMPORT(CONTEXT, "[method]context.committed-page-count")
uint32_t host_context_committed_pages(uint32_t self);
IMPORT(CONTEXT, "[method]context.working-page-count")
uint32_t host_context_working_pages(uint32_t self);
IMPORT(CONTEXT, "[method]context.working-page-token-count")
uint32_t host_context_working_tokens(uint32_t self);
IMPORT(CONTEXT, "[method]context.truncate-working-page-tokens")
void host_context_truncate(uint32_t self, uint32_t tokens);
IMPORT(CONTEXT, "[method]context.destroy") void host_context_destroy(uint32_t self);
IMPORT(CONTEXT, "[method]context.tokens-per-page")
uint32_t host_context_tokens_per_page(uint32_t self);
IMPORT(CONTEXT, "[method]context.reserve-working-pages")
void host_context_reserve(uint32_t self, uint32_t pages, struct abi_result_text *ret);
IMPORT(CONTEXT, "[method]context.commit-working-pages")
void host_context_commit(uint32_t self, uint32_t pages, struct abi_result_text *ret);
IMPORT(CONTEXT, "[resource-drop]context") void host_context_drop(uint32_t self);

#define INFERENCE "pie:core/inference"
IMPORT(INFERENCE, "[constructor]forward-pass") uint32_t host_pass_create(uint32_t model);
IMPORT(INFERENCE, "[method]forward-pass.context")
void host_pass_context(uint32_t self, uint32_t context);
IMPORT(INFERENCE, "[method]forward-pass.input-tokens")
void host_pass_input_tokens(uint32_t self, const uint32_t *ids, size_t count,
                            const uint32_t *positions, size_t position_count);
/* The sampler variant: case, then its payload joined to (i32, i32, f32). */
IMPORT(INFERENCE, "[method]forward-pass.sampler")
void host_pass_sampler(uint32_t self, const uint32_t *rows, size_t count, uint32_t tag,
                       uint32_t first, uint32_t second, float third);
IMPORT(INFERENCE, "[method]forward-pass.attention-mask")
void host_pass_attention_mask(uint32_t self, const struct abi_list *rows, size_t count);
IMPORT(INFERENCE, "[method]forward-pass.logit-mask")
void host_pass_logit_mask(uint32_t self, const uint32_t *runs, size_t count);
IMPORT(INFERENCE, "[method]forward-pass.adapter")
void host_pass_adapter(uint32_t self, uint32_t adapter);
IMPORT(INFERENCE, "[method]forward-pass.execute")
void host_pass_execute(uint32_t self, struct abi_result_handle *ret);
IMPORT(INFERENCE, "[resource-drop]forward-pass") void host_pass_drop(uint32_t self);
IMPORT(INFERENCE, "[method]future-output.pollable")
uint32_t host_future_output_pollable(uint32_t self);
IMPORT(INFERENCE, "[method]future-output.get")
void host_future_output_get(uint32_t self, struct abi_option_output *ret);
IMPORT(INFERENCE, "[resource-drop]future-output") void host_future_output_drop(uint32_t self);

IMPORT(INFERENCE, "[static]grammar.from-json-schema")
void host_grammar_from_json_schema(const char *text, size_t bytes, struct abi_result_handle *ret);
IMPORT(INFERENCE, "[static]grammar.json") uint32_t host_grammar_json(void);
IMPORT(INFERENCE, "[static]grammar.from-regex")
void host_grammar_from_regex(const char *text, size_t bytes, struct abi_result_handle *ret);
IMPORT(INFERENCE, "[static]grammar.from-ebnf")
void host_grammar_from_ebnf(const char *text, size_t bytes, struct abi_result_handle *ret);
IMPORT(INFERENCE, "[resource-drop]grammar") void host_grammar_drop(uint32_t self);
IMPORT(INFERENCE, "[constructor]matcher")
uint32_t host_matcher_create(uint32_t grammar, uint32_t tokenizer);
IMPORT(INFERENCE, "[method]matcher.accept-tokens")
void host_matcher_accept(uint32_t self, const uint32_t *ids, size_t count,
                         struct abi_result_text *ret);
IMPORT(INFERENCE, "[method]matcher.next-token-logit-mask")
void host_matcher_mask(uint32_t self, struct abi_list *ret);
IMPORT(INFERENCE, "[method]matcher.is-terminated")
uint32_t host_matcher_is_terminated(uint32_t self);
IMPORT(INFERENCE, "[resource-drop]matcher") void host_matcher_drop(uint32_t self);

#define ADAPTER "pie:core/adapter"
IMPORT(ADAPTER, "[static]adapter.create")
void host_adapter_create(uint32_t model, const char *name, size_t bytes,
                         struct abi_result_handle *ret);
IMPORT(ADAPTER, "[method]adapter.load")
void host_adapter_load(uint32_t self, const char *path, size_t bytes, struct abi_result_text *ret);
IMPORT(ADAPTER, "[method]adapter.destroy") void host_adapter_destroy(uint32_t self);
IMPORT(ADAPTER, "[resource-drop]adapter") void host_adapter_drop(uint32_t self);

#define SESSION "pie:core/session"
IMPORT(SESSION, "send") void host_session_send(const char *text, size_t bytes);
IMPORT(SESSION, "receive") uint32_t host_session_receive(void);

#define TYPES "pie:core/types"
IMPORT(TYPES, "[method]future-string.pollable")
uint32_t host_future_string_pollable(uint32_t self);
IMPORT(TYPES, "[method]future-string.get")
void host_future_string_get(uint32_t self, struct abi_option_text *ret);
IMPORT(TYPES, "[resource-drop]future-string") void host_future_string_drop(uint32_t self);

#define RUNTIME "pie:core/runtime"
IMPORT(RUNTIME, "version") void host_runtime_version(struct abi_list *ret);
IMPORT(RUNTIME, "instance-id") void host_runtime_instance_id(struct abi_list *ret);
IMPORT(RUNTIME, "models") void host_runtime_models(struct abi_list *ret);

#define CHAT "pie:instruct/chat"
IMPORT(CHAT, "system")
void host_chat_system(uint32_t model, const char *text, size_t bytes, struct abi_list *ret);
IMPORT(CHAT, "first-user")
void host_chat_first_user(uint32_t model, const char *text, size_t bytes, struct abi_list *ret);
IMPORT(CHAT, "user")
void host_chat_user(uint32_t model, const char *text, size_t bytes, struct abi_list *ret);
IMPORT(CHAT, "system-user")
void host_chat_system_user(uint32_t model, const char *system, size_t system_bytes,
                           const char *user, size_t user_bytes, struct abi_list *ret);
IMPORT(CHAT, "assistant")
void host_chat_assistant(uint32_t model, const char *text, size_t bytes, struct abi_list *ret);
IMPORT(CHAT, "cue") void host_chat_cue(uint32_t model, struct abi_list *ret);
IMPORT(CHAT, "stop-tokens") void host_chat_stop_tokens(uint32_t model, struct abi_list *ret);
IMPORT(CHAT, "create-decoder") uint32_t host_chat_create_decoder(uint32_t model);
IMPORT(CHAT, "[method]decoder.feed")
void host_chat_decoder_feed(uint32_t self, const uint32_t *ids, size_t count,
                            struct abi_result_event *ret);
IMPORT(CHAT, "[resource-drop]decoder") void host_chat_decoder_drop(uint32_t self);

#define POLL "wasi:io/poll@0.2.4"
IMPORT(POLL, "[method]pollable.block") void host_pollable_block(uint32_t self);
IMPORT(POLL, "[resource-drop]pollable") void host_pollable_drop(uint32_t self);

#endif
