/* links: engine/chat
 * The first byte chooses a family; the rest is a message, an answer of the model that the decoders
 * read byte by byte, and a tool. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "engine/chat/chat.h"
#include "engine/text/tok.h"
#include "models/gguf.h"
#include "models/gguf_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char *const specials[] = {
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "[SYSTEM_PROMPT]",
    "[INST]",
    "[TOOL_CALLS]",
    "[ARGS]",
    "</s>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|turn>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|user|>",
    "<|im_user|>",
    "<|im_middle|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
};
enum { SPECIALS = sizeof specials / sizeof *specials };
static const char *const archs[] = {"qwen3", "qwen2",   "llama3", "llama2",     "mistral3",
                                    "phi3",  "gemma3",  "gemma4", "olmo2",      "olmo3",
                                    "r1",    "kimi_k2", "gptoss", "nemotron_h", "other"};

static struct tok *make_tok(void)
{
    static char texts[256][4];
    struct gguf_string tokens[256 + SPECIALS], merges[1] = {{"a b", 3}};
    int32_t types[256 + SPECIALS];
    struct gguf_writer *writer = gguf_writer_create();
    struct buf bytes;
    struct report report = {0};
    struct gguf *file;
    struct tok *tok;
    uint32_t next = 0x100;
    CHECK(writer);
    for (unsigned byte = 0; byte < 256; byte++) {
        bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        tokens[byte].data = texts[byte];
        tokens[byte].bytes = utf8_put(itself ? byte : next++, texts[byte]);
        types[byte] = TOK_NORMAL;
    }
    for (unsigned i = 0; i < SPECIALS; i++) {
        tokens[256 + i] = (struct gguf_string){specials[i], strlen(specials[i])};
        types[256 + i] = TOK_CONTROL;
    }
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, 256 + SPECIALS);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, 256 + SPECIALS);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merges, 1);
    buf_init(&bytes, NULL);
    CHECK(gguf_writer_finish(writer, &bytes, &report) == ERR_OK);
    gguf_writer_destroy(writer);
    CHECK(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report) == ERR_OK);
    CHECK(tok_create_from_gguf(file, &tok, &report) == ERR_OK);
    gguf_close(file);
    buf_deinit(&bytes);
    return tok;
}

static void decode(const struct chat *chat, const struct tok_ids *ids)
{
    struct chat_decoder *text;
    struct chat_reasoning *thought;
    struct chat_tool_decoder *tools;
    struct report report = {0};
    CHECK(chat_decoder_create(chat, NULL, &text, &report) == ERR_OK);
    CHECK(chat_reasoning_create(chat, NULL, &thought, &report) == ERR_OK);
    CHECK(chat_tool_decoder_create(chat, NULL, &tools, &report) == ERR_OK);
    for (size_t i = 0; i < ids->count; i++) {
        struct chat_event event;
        struct chat_reasoning_event thinking;
        struct chat_tool_event call;
        struct report why = {0};
        CHECK(chat_decoder_feed(text, &ids->items[i], 1, &event, &why) == ERR_OK);
        CHECK(utf8_is_valid(event.text, event.bytes) && event.text[event.bytes] == '\0');
        CHECK(chat_reasoning_feed(thought, &ids->items[i], 1, &thinking, &why) == ERR_OK);
        CHECK(utf8_is_valid(thinking.text, thinking.bytes));
        enum err err = chat_tool_decoder_feed(tools, &ids->items[i], 1, &call, &why);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
    }
    chat_decoder_destroy(text);
    chat_reasoning_destroy(thought);
    chat_tool_decoder_destroy(tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct tok *tok;
    struct chat *chat;
    struct report report = {0};
    struct tok_ids ids = {0}, turn = {0};
    struct buf ebnf;
    bool native;
    if (!tok)
        tok = make_tok();
    if (bytes < 1)
        return 0;
    const char *text = (const char *)data + 1;
    size_t length = bytes - 1;
    const char *arch = archs[data[0] % (sizeof archs / sizeof *archs)];
    CHECK(chat_create(arch, text, length, tok, &chat, &report) == ERR_OK);
    CHECK(tok_encode(tok, text, length, TOK_PARSE_SPECIALS, &ids, &report) == ERR_OK);
    decode(chat, &ids);
    CHECK(chat_system_user(chat, text, length, text, length, &turn, &report) == ERR_OK);
    CHECK(chat_assistant(chat, text, length, &turn, &report) == ERR_OK);
    CHECK(chat_answer(chat, text, length, text, length, &turn, &report) == ERR_OK);
    struct chat_string tool = {text, length};
    buf_init(&ebnf, NULL);
    if (chat_equip(chat, &tool, 1, &turn, &report) == ERR_OK)
        CHECK(chat_tool_grammar(chat, &tool, 1, &ebnf, &native, &report) == ERR_OK);
    buf_deinit(&ebnf);
    tok_ids_deinit(&ids);
    tok_ids_deinit(&turn);
    chat_destroy(chat);
    return 0;
}
