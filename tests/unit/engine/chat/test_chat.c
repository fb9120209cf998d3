/* links: engine/chat
 * Turns, decoders and tool use of every family. The expected strings are written out by hand from
 * pie 0.4's interface; those of Qwen 2.5, Llama 3, Phi-3 and Gemma 2 were also compared with what
 * the models' published Jinja templates render. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/utf8.h"
#include "engine/chat/chat.h"
#include "tests/vectors/tokenizer/vocab.h"

/* A byte-level vocabulary of the 256 bytes and the given control tokens, separated by spaces. */
static struct tok *make_tok(const char *specials)
{
    struct gguf_writer *writer = gguf_writer_create();
    struct gguf_string tokens[300], merges[1] = {{"a b", 3}};
    char texts[256][4];
    int32_t types[300];
    size_t count = 256;
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        tokens[byte].data = texts[byte];
        tokens[byte].bytes = utf8_put(itself ? byte : next++, texts[byte]);
        types[byte] = TOK_NORMAL;
    }
    while (*specials) {
        size_t bytes = strcspn(specials, " ");
        tokens[count] = (struct gguf_string){specials, bytes};
        types[count++] = TOK_CONTROL;
        specials += bytes + (specials[bytes] == ' ');
    }
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_string(writer, "tokenizer.ggml.pre", "gpt-2", 5);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, count);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, count);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", merges, 1);
    struct buf bytes;
    struct report report = {0};
    struct gguf *file;
    struct tok *tok;
    buf_init(&bytes, NULL);
    assert_int_equal(gguf_writer_finish(writer, &bytes, &report), ERR_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, &report),
                     ERR_OK);
    assert_int_equal(tok_create_from_gguf(file, &tok, &report), ERR_OK);
    gguf_close(file);
    buf_deinit(&bytes);
    return tok;
}

static struct chat *make_chat(const char *arch, const char *text, const struct tok *tok)
{
    struct chat *chat;
    struct report report = {0};
    assert_int_equal(chat_create(arch, text, text ? strlen(text) : 0, tok, &chat, &report), ERR_OK);
    return chat;
}

/* The ids must spell `want`, and be as few as when `want` is encoded with its specials. */
static void check_ids(const struct tok *tok, struct tok_ids *ids, const char *want)
{
    struct buf text;
    struct report report = {0};
    buf_init(&text, NULL);
    assert_int_equal(tok_decode(tok, ids->items, ids->count, &text, &report), ERR_OK);
    assert_string_equal(text.data ? text.data : "", want);
    size_t length = 0;
    for (size_t i = 0; i < ids->count; i++) {
        const char *data;
        size_t bytes;
        assert_true(tok_token_bytes(tok, ids->items[i], &data, &bytes));
        assert_true(bytes == 1 || tok_is_special(tok, ids->items[i]));
        length += bytes;
    }
    assert_int_equal(length, strlen(want));
    buf_deinit(&text);
    ids->count = 0;
}

struct expected {
    const char *arch, *family, *specials;
    const char *system, *first, *user, *both, *assistant, *cue; /* messages: " S ", " U ", " A " */
    const char *seal;
};

static const struct expected families[] = {
    {"qwen3", "qwen3", "<|im_start|> <|im_end|> <|endoftext|> <think> </think>",
     "<|im_start|>system\n S <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n",
     "<|im_end|><|endoftext|>"},
    {"qwen2", "qwen2", "<|im_start|> <|im_end|> <|endoftext|>",
     "<|im_start|>system\n S <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n",
     "<|im_end|><|endoftext|>"},
    {"unheard-of", "chatml", "<|im_start|> <|im_end|>", "<|im_start|>system\n S <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n", "<|im_end|>"},
    {"glm_moe_dsa", "glm_moe_dsa", "<|im_start|> <|im_end|> <|endoftext|> <|user|> <|assistant|>",
     "<|im_start|>system\n S <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n",
     "<|im_end|><|endoftext|><|user|><|assistant|>"},
    {"nemotron-h", "nemotron_h", "<|im_start|> <|im_end|> <|endoftext|> <think> </think>",
     "<|im_start|>system\n S <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n<think>\n",
     "<|im_end|><|endoftext|>"},
    {"olmo3", "olmo3", "<|im_start|> <|im_end|> <|endoftext|>",
     "<|im_start|>system\n S <|im_end|>\n", "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n",
     "<|im_start|>assistant\n A <|im_end|>\n", "<|im_start|>assistant\n<think>",
     "<|im_end|><|endoftext|>"},
    {"llama", "llama3",
     "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|eom_id|> "
     "<|end_of_text|>",
     "<|start_header_id|>system<|end_header_id|>\n\n S <|eot_id|>",
     "<|start_header_id|>user<|end_header_id|>\n\n U <|eot_id|>",
     "<|start_header_id|>user<|end_header_id|>\n\n U <|eot_id|>",
     "<|start_header_id|>system<|end_header_id|>\n\n S <|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\n U <|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n A <|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|><|eom_id|><|end_of_text|>"},
    {"llama2", "llama2", "<s> </s>", "<<SYS>>\n S \n<</SYS>>\n\n", "[INST]  U  [/INST]",
     "[INST]  U  [/INST]", "<<SYS>>\n S \n<</SYS>>\n\n[INST]  U  [/INST]", " A </s>", "", "</s>"},
    {"mistral3", "mistral3", "<s> </s> [INST] [/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]",
     "[SYSTEM_PROMPT] S [/SYSTEM_PROMPT]", "[INST] U [/INST]", "[INST] U [/INST]",
     "[SYSTEM_PROMPT] S [/SYSTEM_PROMPT][INST] U [/INST]", " A </s>", "", "</s>"},
    {"phi3", "phi3", "<|system|> <|user|> <|assistant|> <|end|> <|endoftext|>",
     "<|system|>\n S <|end|>\n", "<|user|>\n U <|end|>\n", "<|user|>\n U <|end|>\n",
     "<|system|>\n S <|end|>\n<|user|>\n U <|end|>\n", "<|assistant|>\n A <|end|>\n",
     "<|assistant|>\n", "<|end|><|endoftext|>"},
    {"gemma2", "gemma2", "<bos> <eos> <start_of_turn> <end_of_turn>", " S \n",
     "<start_of_turn>user\n U <end_of_turn>\n", "<start_of_turn>user\n U <end_of_turn>\n",
     " S \n<start_of_turn>user\n U <end_of_turn>\n", "<start_of_turn>model\n A <end_of_turn>\n",
     "<start_of_turn>model\n", "<end_of_turn><eos>"},
    {"gemma3", "gemma3", "<bos> <eos> <start_of_turn> <end_of_turn>", " S \n",
     "<bos><start_of_turn>user\nU<end_of_turn>\n", "<start_of_turn>user\nU<end_of_turn>\n",
     "<bos><start_of_turn>user\n S \nU<end_of_turn>\n", "<start_of_turn>model\nA<end_of_turn>\n",
     "<start_of_turn>model\n", "<end_of_turn><eos>"},
    {"gemma4", "gemma4", "<bos> <eos> <|turn> <turn|>", "<bos><|turn>system\nS<turn|>\n",
     "<bos><|turn>user\nU<turn|>\n", "<|turn>user\nU<turn|>\n",
     "<bos><|turn>system\nS<turn|>\n<|turn>user\nU<turn|>\n", "<|turn>model\nA<turn|>\n",
     "<|turn>model\n", "<turn|><eos>"},
    {"olmo2", "olmo2", "<|endoftext|>", "<|endoftext|><|system|>\n S \n", "<|user|>\n U \n",
     "<|user|>\n U \n", "<|endoftext|><|system|>\n S \n<|user|>\n U \n",
     "<|assistant|>\n A <|endoftext|>", "<|assistant|>\n", "<|endoftext|>"},
    {"deepseek_v3", "deepseek", "<｜User｜> <｜Assistant｜> <｜end▁of▁sentence｜> <|EOT|>", " S ",
     "<｜User｜> U ", "<｜User｜> U ", " S <｜User｜> U ",
     "<｜Assistant｜> A <｜end▁of▁sentence｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜><|EOT|>"},
    {"kimi_k2", "kimi", "<|im_system|> <|im_user|> <|im_assistant|> <|im_middle|> <|im_end|> [EOS]",
     "<|im_system|>system<|im_middle|> S <|im_end|>", "<|im_user|>user<|im_middle|> U <|im_end|>",
     "<|im_user|>user<|im_middle|> U <|im_end|>",
     "<|im_system|>system<|im_middle|> S <|im_end|><|im_user|>user<|im_middle|> U <|im_end|>",
     "<|im_assistant|>assistant<|im_middle|><think></think> A <|im_end|>",
     "<|im_assistant|>assistant<|im_middle|><think></think>", "<|im_end|>[EOS]"},
    {"gpt-oss", "gptoss",
     "<|start|> <|message|> <|channel|> <|end|> <|endoftext|> <|return|> <|call|>",
     "<|start|>developer<|message|> S <|end|>", "<|start|>user<|message|> U <|end|>",
     "<|start|>user<|message|> U <|end|>",
     "<|start|>developer<|message|> S <|end|><|start|>user<|message|> U <|end|>",
     "<|start|>assistant<|channel|>final<|message|> A <|end|>", "<|start|>assistant",
     "<|endoftext|><|return|><|call|>"},
    {"llama", "plain", "<s>", " S \n", " U \n", " U \n", " S \n U \n", " A \n", "", ""},
};
#define FAMILY_COUNT (sizeof families / sizeof *families)

static void turns_of_every_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        const struct expected *f = &families[i];
        struct tok *tok = make_tok(f->specials);
        struct chat *chat = make_chat(f->arch, NULL, tok);
        struct tok_ids ids = {0};
        struct report report = {0};
        assert_string_equal(chat_family(chat), f->family);
        assert_int_equal(chat_system(chat, " S ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->system);
        assert_int_equal(chat_first_user(chat, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->first);
        assert_int_equal(chat_user(chat, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->user);
        assert_int_equal(chat_system_user(chat, " S ", 3, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->both);
        assert_int_equal(chat_assistant(chat, " A ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->assistant);
        assert_int_equal(chat_cue(chat, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->cue);
        assert_int_equal(chat_seal(chat, &ids, &report), ERR_OK);
        check_ids(tok, &ids, f->seal);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

static void thoughts_are_not_replayed(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"qwen3", "<think>\nx</think>\n\nyes", "<|im_start|>assistant\nyes<|im_end|>\n"},
        {"qwen2", "<think>x</think>yes", "<|im_start|>assistant\n<think>x</think>yes<|im_end|>\n"},
        {"qwen3", "a</think>b</think>\nc", "<|im_start|>assistant\nc<|im_end|>\n"},
    };
    struct tok *tok = make_tok("<|im_start|> <|im_end|>");
    for (size_t i = 0; i < 3; i++) {
        struct chat *chat = make_chat(cases[i][0], NULL, tok);
        struct tok_ids ids = {0};
        struct report report = {0};
        assert_int_equal(chat_assistant(chat, cases[i][1], strlen(cases[i][1]), &ids, &report),
                         ERR_OK);
        check_ids(tok, &ids, cases[i][2]);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
    }
    tok_destroy(tok);
}

static void real_vocabularies_choose(void **state)
{
    (void)state;
    static const struct {
        const char *vocab, *arch, *text, *family;
    } cases[] = {
        {"llama-bpe", "llama", NULL, "llama3"},
        {"qwen2", "qwen2", NULL, "qwen2"},
        {"phi-3", "phi3", NULL, "phi3"},
        {"llama-spm", "llama", NULL, "llama2"},
        {"llama-spm", "llama", "{{ '[INST] ' }}", "llama2"},
        {"llama-spm", "llama", "{{ '<|im_start|>' }}", "chatml"},
        {"stories260K", "llama", NULL, "plain"},
        {"gpt-2", NULL, NULL, "plain"},
        {"qwen2", "llama", NULL, "chatml"},
        {"gpt-2", "qwen2", NULL, "plain"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok *tok = vocab_open(cases[i].vocab);
        struct chat *chat = make_chat(cases[i].arch, cases[i].text, tok);
        assert_string_equal(chat_family(chat), cases[i].family);
        size_t count;
        (void)chat_stop_tokens(chat, &count);
        assert_true(count > 0);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

/* Ids from Hugging Face's tokenizers for the published template: the newline behind Phi-3's turn
 * tokens is stripped, and Llama 3's parts are encoded one by one. */
static void real_ids(void **state)
{
    (void)state;
    static const uint32_t phi3[] = {32010, 15043, 32007, 32001};
    static const uint32_t llama3[] = {128006, 882,    128007, 271,    9906,
                                      128009, 128006, 78191,  128007, 271};
    static const uint32_t qwen2[] = {151644, 872, 198, 9707, 151645, 198, 151644, 77091, 198};
    static const struct {
        const char *vocab, *arch;
        const uint32_t *want;
        size_t count;
    } cases[] = {{"phi-3", "phi3", phi3, 4},
                 {"llama-bpe", "llama", llama3, 10},
                 {"qwen2", "qwen2", qwen2, 9}};
    for (size_t i = 0; i < 3; i++) {
        struct tok *tok = vocab_open(cases[i].vocab);
        struct chat *chat = make_chat(cases[i].arch, NULL, tok);
        struct tok_ids ids = {0};
        struct report report = {0};
        assert_int_equal(chat_user(chat, "Hello", 5, &ids, &report), ERR_OK);
        assert_int_equal(chat_cue(chat, &ids, &report), ERR_OK);
        assert_int_equal(ids.count, cases[i].count);
        assert_memory_equal(ids.items, cases[i].want, ids.count * sizeof *ids.items);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

static struct tok_ids encode(const struct tok *tok, const char *text)
{
    struct tok_ids ids = {0};
    struct report report = {0};
    assert_int_equal(tok_encode(tok, text, strlen(text), TOK_PARSE_SPECIALS, &ids, &report),
                     ERR_OK);
    return ids;
}

static void chat_decoder_tells(void **state)
{
    (void)state;
    struct tok *tok = make_tok("<|im_start|> <|im_end|>");
    struct chat *chat = make_chat(NULL, NULL, tok);
    struct chat_decoder *decoder;
    struct chat_event event;
    struct report report = {0};
    assert_int_equal(chat_decoder_create(chat, NULL, &decoder, &report), ERR_OK);
    struct tok_ids ids = encode(tok, "Gr\xC3\xBC\xC3\x9F"
                                     "e<|im_end|>lost");
    static const char *const deltas[] = {"G", "r", "", "\xC3\xBC", "", "\xC3\x9F", "e"};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 7; i++) {
            assert_int_equal(chat_decoder_feed(decoder, &ids.items[i], 1, &event, &report), ERR_OK);
            assert_int_equal(event.kind, CHAT_DELTA);
            assert_string_equal(event.text, deltas[i]);
        }
        assert_int_equal(chat_decoder_feed(decoder, &ids.items[7], ids.count - 7, &event, &report),
                         ERR_OK);
        assert_int_equal(event.kind, CHAT_DONE);
        assert_string_equal(event.text, "Gr\xC3\xBC\xC3\x9F"
                                        "e");
    }
    assert_int_equal(chat_decoder_feed(decoder, ids.items, 2, &event, &report), ERR_OK);
    chat_decoder_reset(decoder);
    assert_int_equal(chat_decoder_feed(decoder, &ids.items[7], 1, &event, &report), ERR_OK);
    assert_int_equal(event.kind, CHAT_DONE);
    assert_string_equal(event.text, "");
    uint32_t beyond = tok_vocab_count(tok);
    assert_int_equal(chat_decoder_feed(decoder, &beyond, 1, &event, &report), ERR_INVALID);
    tok_ids_deinit(&ids);
    chat_decoder_destroy(decoder);
    chat_destroy(chat);
    tok_destroy(tok);
}

/* SentencePiece puts a space before the first word; a reader does not want it, nor to lose others.
 */
static void sentencepiece_answers_read_well(void **state)
{
    (void)state;
    struct tok *tok = vocab_open("llama-spm");
    struct chat *chat = make_chat("llama", NULL, tok);
    struct chat_decoder *decoder;
    struct chat_event event;
    struct report report = {0};
    struct buf all;
    buf_init(&all, NULL);
    assert_int_equal(chat_decoder_create(chat, NULL, &decoder, &report), ERR_OK);
    struct tok_ids ids = encode(tok, "Once upon a time");
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(chat_decoder_feed(decoder, &ids.items[i], 1, &event, &report), ERR_OK);
        assert_true(buf_append(&all, event.text, event.bytes));
    }
    assert_string_equal(all.data, "Once upon a time");
    buf_deinit(&all);
    tok_ids_deinit(&ids);
    chat_decoder_destroy(decoder);
    chat_destroy(chat);
    tok_destroy(tok);
}

static void reasoning_decoder_tells(void **state)
{
    (void)state;
    struct tok *tok = make_tok("<|im_start|> <|im_end|>"); /* the marks are many tokens here */
    struct chat *chat = make_chat("qwen3", NULL, tok);
    struct chat_reasoning *decoder;
    struct chat_reasoning_event event;
    struct report report = {0};
    assert_true(chat_has_reasoning(chat));
    assert_int_equal(chat_reasoning_create(chat, NULL, &decoder, &report), ERR_OK);
    struct tok_ids ids = encode(tok, "no <<think>I <</thin</think>\xC3\xA9 yes");
    struct buf told;
    buf_init(&told, NULL);
    int starts = 0, ends = 0;
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(chat_reasoning_feed(decoder, &ids.items[i], 1, &event, &report), ERR_OK);
        if (event.kind == CHAT_REASONING_START)
            starts++;
        else if (event.kind == CHAT_REASONING_DELTA)
            assert_true(buf_append(&told, event.text, event.bytes));
        else
            ends++, assert_string_equal(event.text, "I <</thin");
    }
    assert_int_equal(starts, 1);
    assert_int_equal(ends, 1);
    assert_memory_equal(told.data, "I <</thin", told.count);
    assert_true(told.count > 2);

    /* all in one feed: nothing is lost */
    chat_reasoning_reset(decoder);
    assert_int_equal(chat_reasoning_feed(decoder, ids.items, ids.count, &event, &report), ERR_OK);
    assert_int_equal(event.kind, CHAT_REASONING_START);
    assert_int_equal(chat_reasoning_feed(decoder, NULL, 0, &event, &report), ERR_OK);
    assert_int_equal(event.kind, CHAT_REASONING_COMPLETE);
    assert_string_equal(event.text, "I <</thin");
    assert_int_equal(chat_reasoning_feed(decoder, NULL, 0, &event, &report), ERR_OK);
    assert_int_equal(event.kind, CHAT_REASONING_DELTA);
    assert_int_equal(event.bytes, 0);
    chat_reasoning_destroy(decoder);
    chat_destroy(chat);

    chat = make_chat("olmo3", NULL, tok); /* the cue opened the thought */
    assert_int_equal(chat_reasoning_create(chat, NULL, &decoder, &report), ERR_OK);
    struct tok_ids inside = encode(tok, "hm</think>");
    assert_int_equal(chat_reasoning_feed(decoder, inside.items, inside.count, &event, &report),
                     ERR_OK);
    assert_int_equal(event.kind, CHAT_REASONING_COMPLETE);
    assert_string_equal(event.text, "hm");
    chat_reasoning_destroy(decoder);
    chat_destroy(chat);

    chat = make_chat(NULL, NULL, tok);
    assert_false(chat_has_reasoning(chat));
    assert_int_equal(chat_reasoning_create(chat, NULL, &decoder, &report), ERR_OK);
    assert_int_equal(chat_reasoning_feed(decoder, ids.items, ids.count, &event, &report), ERR_OK);
    assert_int_equal(event.kind, CHAT_REASONING_DELTA);
    assert_string_equal(event.text, "");
    chat_reasoning_destroy(decoder);
    chat_destroy(chat);
    tok_ids_deinit(&inside);
    tok_ids_deinit(&ids);
    buf_deinit(&told);
    tok_destroy(tok);
}

/* ---- tools ---- */

#define TOOL                                                                                       \
    "{\"name\": \"f\", \"description\": \"adds\", \"parameters\": {\"type\": \"object\", "         \
    "\"properties\": {\"x\": {\"type\": \"integer\", \"description\": \"an x\"}, "                 \
    "\"m\": {\"enum\": [\"a\", \"b\"], \"type\": \"string\"}}, \"required\": [\"x\"]}}"

static void tools_are_announced(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *specials, *equip, *answer;
    } cases[] = {
        {"qwen3", "<|im_start|> <|im_end|>",
         "<|im_start|>system\n # Tools\n\nYou may call one or more functions to assist with the "
         "user "
         "query.\n\nYou are provided with function signatures within <tools></tools> XML "
         "tags:\n<tools>\n" TOOL
         "\n</tools>\n\nFor each function call, return a json object with function name and "
         "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": "
         "<function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n",
         "<|im_start|>user\n<tool_response>\n4\"2\n</tool_response><|im_end|>\n"},
        {"mistral3", "[SYSTEM_PROMPT] [INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS]",
         "[AVAILABLE_TOOLS][" TOOL "][/AVAILABLE_TOOLS]", "[TOOL_RESULTS]4\"2[/TOOL_RESULTS]"},
        {"olmo3", "<|im_start|> <|im_end|>",
         "<|im_start|>system\nYou are OLMo, a helpful function-calling AI assistant built by Ai2. "
         "Your date cutoff is November 2024. <functions>" TOOL "</functions><|im_end|>\n",
         "<|im_start|>environment\n4\"2<|im_end|>\n"},
        {"gpt-oss", "<|start|> <|message|> <|channel|> <|end|>",
         "<|start|>developer<|message|> # Tools\n\n ## functions\n\nnamespace functions {\n\n// "
         "adds\n"
         "type f = (_: {\n// an x\nx: number,\nm?: \"a\" | \"b\",\n}) => any;\n\n"
         "} // namespace functions<|end|>",
         "<|start|>functions.f to=assistant<|channel|>commentary<|message|>\"4\\\"2\"<|end|>"},
        {"gemma3", "<start_of_turn> <end_of_turn>", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok *tok = make_tok(cases[i].specials);
        struct chat *chat = make_chat(cases[i].arch, NULL, tok);
        struct tok_ids ids = {0};
        struct report report = {0};
        struct chat_string tool = {TOOL, strlen(TOOL)}, broken = {"{\"nom\": 1}", 10};
        assert_int_equal(chat_equip(chat, &tool, 1, &ids, &report), ERR_OK);
        check_ids(tok, &ids, cases[i].equip);
        assert_int_equal(chat_answer(chat, "f", 1, "4\"2", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, cases[i].answer);
        assert_int_equal(chat_equip(chat, &tool, 0, &ids, &report), ERR_OK);
        check_ids(tok, &ids, "");
        if (chat_has_tools(chat))
            assert_int_equal(chat_equip(chat, &broken, 1, &ids, &report), ERR_INVALID);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

static void tool_calls_are_heard(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *specials, *text;
        int calls;
        const char *name, *args; /* of the last one */
    } cases[] = {
        {"qwen3", "<|im_start|>",
         "Well: <tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 0.1, \"s\": \"a "
         "b\"}}\n</tool_call>\n"
         "<tool_call>{\"name\":\"g\",\"arguments\":{ }}</tool_call>",
         2, "g", "{}"},
        {"qwen3", "<|im_start|>", "<tool_call>broken</tool_call>", 0, "", ""},
        {"llama", "<|start_header_id|>",
         " {\"name\": \"f\", \"parameters\": {\"x\": 0.10, \"y\": {}}}", 1, "f",
         "{\"x\":0.10,\"y\":{}}"},
        {"mistral3", "[SYSTEM_PROMPT] </s>",
         "[TOOL_CALLS]f[ARGS]{\"x\": 1}[TOOL_CALLS]g[ARGS]{\"y\": 2}</s>", 2, "g", "{\"y\": 2}"},
        {"deepseek2", "<｜User｜>",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"x\": "
         "1}\n```"
         "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         1, "f", "{\"x\": 1}"},
        {"olmo3", "<|im_start|>",
         "<function_calls>[{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": "
         "\"g\"}]</function_calls>",
         1, "f", "{\"x\":1}"},
        {"gemma2", "<start_of_turn>", "<tool_call>{}</tool_call>", 0, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok *tok = make_tok(cases[i].specials);
        struct chat *chat = make_chat(cases[i].arch, NULL, tok);
        struct tok_ids ids = encode(tok, cases[i].text);
        struct chat_tool_decoder *decoder;
        struct chat_tool_event event;
        struct report report = {0};
        int calls = 0;
        assert_int_equal(chat_tool_decoder_create(chat, NULL, &decoder, &report), ERR_OK);
        for (size_t k = 0; k < ids.count; k++) {
            assert_int_equal(chat_tool_decoder_feed(decoder, &ids.items[k], 1, &event, &report),
                             ERR_OK);
            if (event.kind == CHAT_TOOL_CALL && ++calls == cases[i].calls) {
                assert_int_equal(event.name.bytes, strlen(cases[i].name));
                assert_memory_equal(event.name.data, cases[i].name, event.name.bytes);
                assert_int_equal(event.args.bytes, strlen(cases[i].args));
                assert_memory_equal(event.args.data, cases[i].args, event.args.bytes);
            }
        }
        assert_int_equal(calls, cases[i].calls);
        chat_tool_decoder_destroy(decoder);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        tok_destroy(tok);
    }
}

static void tool_grammars_exist(void **state)
{
    (void)state;
    struct tok *tok = make_tok("<|im_start|> <start_of_turn>");
    struct chat *chat = make_chat("qwen3", NULL, tok);
    struct report report = {0};
    struct buf ebnf;
    bool native;
    struct chat_string tools[2] = {{TOOL, strlen(TOOL)},
                                   {"{\"function\": {\"name\": \"q\\\"\"}}", 31}};
    buf_init(&ebnf, NULL);
    tools[1].bytes = strlen(tools[1].data);
    assert_int_equal(chat_tool_grammar(chat, tools, 2, &ebnf, &native, &report), ERR_OK);
    assert_true(native);
    assert_non_null(strstr(ebnf.data, "name ::= \"f\" | \"q\\\\\\\"\"\n"));
    chat_destroy(chat);
    chat = make_chat("gemma2", NULL, tok);
    assert_int_equal(chat_tool_grammar(chat, tools, 2, &ebnf, &native, &report), ERR_OK);
    assert_false(native);
    chat_destroy(chat);
    buf_deinit(&ebnf);
    tok_destroy(tok);
}

static void running_out_of_memory_is_survived(void **state)
{
    (void)state;
    struct tok *tok = make_tok("<|im_start|> <|im_end|>");
    size_t before = mem_used_bytes();
    for (uint64_t nth = 1;; nth++) {
        struct chat *chat = NULL;
        struct tok_ids ids = {0};
        struct chat_string tool = {TOOL, strlen(TOOL)};
        (void)mem_fail_at(nth);
        enum err err = chat_create("qwen3", NULL, 0, tok, &chat, NULL);
        if (err == ERR_OK)
            err = chat_equip(chat, &tool, 1, &ids, NULL);
        (void)mem_fail_at(0);
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        assert_int_equal(mem_used_bytes(), before);
        if (err == ERR_OK)
            break;
        assert_true(nth < 1000);
    }
    tok_destroy(tok);
}

/* Turns taken out of templates that write whole conversations. */
static const struct {
    const char *what, *source, *specials;
    const char *system, *first, *user, *both, *assistant, *cue, *seal, *equip, *answer;
} templates[] = {
    {"roles apart, a default system turn, tools in front",
     "{%- if messages[0]['role'] == 'system' %}\n{%- set system = messages[0]['content'] %}\n"
     "{%- set loop_messages = messages[1:] %}\n{%- else %}\n{%- set system = 'Default.' %}\n"
     "{%- set loop_messages = messages %}\n{%- endif %}\n"
     "{{- '<|role|>system<|end_role|>' + system + '<|eot|>\\n' }}\n"
     "{%- if tools %}{{ '<|role|>tools<|end_role|>' ~ (tools | tojson) ~ '<|eot|>\\n' }}{% endif %}\n"
     "{%- for message in loop_messages %}\n"
     "{{- '<|role|>' + message['role'] + '<|end_role|>' + message['content'] + '<|eot|>\\n' }}\n"
     "{%- endfor %}\n{%- if add_generation_prompt %}{{- '<|role|>assistant<|end_role|>' }}{%- endif %}",
     "<|role|> <|end_role|> <|eot|>",
     "<|role|>system<|end_role|> S <|eot|>\n",
     "<|role|>system<|end_role|>Default.<|eot|>\n<|role|>user<|end_role|> U <|eot|>\n",
     "<|role|>user<|end_role|> U <|eot|>\n",
     "<|role|>system<|end_role|> S <|eot|>\n<|role|>user<|end_role|> U <|eot|>\n",
     "<|role|>assistant<|end_role|> A <|eot|>\n", "<|role|>assistant<|end_role|>", "<|eot|>",
     "<|role|>system<|end_role|>Default.<|eot|>\n<|role|>tools<|end_role|>[{\"type\": \"function\", "
     "\"function\": {\"name\": \"f\"}}]<|eot|>\n",
     "<|role|>tool<|end_role|>42<|eot|>\n"},
    {"the system's words in the user's turn, messages trimmed",
     "{%- for m in messages if m.role != 'system' %}\n"
     "{%- if m.role == 'user' %}\n"
     "{{- '[I]' ~ (messages[0].content ~ '\\n\\n' if loop.first and messages[0].role == 'system') ~ "
     "m.content | trim ~ '[/I]' }}\n"
     "{%- elif m.role == 'assistant' %}{{- ' ' ~ m.content | trim ~ '</S>' }}{%- endif %}\n{%- endfor %}",
     "[I] [/I] </S>", " S \n\n", "[I]U[/I]", "[I]U[/I]", "[I] S \n\nU[/I]", " A</S>", "", "</S>", "",
     ""},
    {"no system turn, roles that must alternate",
     "{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
     "{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
     "{{ raise_exception('roles must alternate') }}{% endif %}"
     "{{ '<t>' ~ m.role ~ '\\n' ~ m.content ~ '</t>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<t>assistant\\n' }}{% endif %}",
     "<t> </t>", " S \n\n", "<t>user\n U </t>\n", "<t>user\n U </t>\n", "<t>user\n S \n\n U </t>\n",
     "<t>assistant\n A </t>\n", "<t>assistant\n", "</t>", "", NULL},
};

static void templates_write_turns(void **state)
{
    (void)state;
    static const struct chat_string tool = {"{\"name\": \"f\"}", 13};
    size_t before = mem_used_bytes();
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        struct tok *tok = make_tok(templates[i].specials);
        struct chat *chat = make_chat("unheard-of", templates[i].source, tok);
        struct tok_ids ids = {0};
        struct report report = {0};
        print_message("%s\n", templates[i].what);
        assert_string_equal(chat_family(chat), "template");
        assert_int_equal(chat_system(chat, " S ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].system);
        assert_int_equal(chat_first_user(chat, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].first);
        assert_int_equal(chat_user(chat, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].user);
        assert_int_equal(chat_system_user(chat, " S ", 3, " U ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].both);
        assert_int_equal(chat_assistant(chat, " A ", 3, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].assistant);
        assert_int_equal(chat_cue(chat, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].cue);
        assert_int_equal(chat_seal(chat, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].seal);
        assert_int_equal(chat_equip(chat, &tool, 1, &ids, &report), ERR_OK);
        check_ids(tok, &ids, templates[i].equip);
        enum err err = chat_answer(chat, "f", 1, "42", 2, &ids, &report);
        assert_int_equal(err, templates[i].answer ? ERR_OK : ERR_INVALID);
        check_ids(tok, &ids, templates[i].answer ? templates[i].answer : "");
        tok_ids_deinit(&ids);
        chat_destroy(chat);
        tok_destroy(tok);
    }
    assert_int_equal(mem_used_bytes(), before);
}

/* What cannot be used does not stand in the way. */
static void broken_templates_are_as_none(void **state)
{
    (void)state;
    static const char *const broken[] = {"{{ not closed", "{% include 'x' %}", "nothing of it", "",
                                         "{{ raise_exception('never') }}"};
    struct tok *tok = make_tok("<x>");
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct chat *chat = make_chat("unheard-of", broken[i], tok);
        assert_string_equal(chat_family(chat), "plain");
        chat_destroy(chat);
    }
    tok_destroy(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_of_every_family),
        cmocka_unit_test(thoughts_are_not_replayed),
        cmocka_unit_test(real_vocabularies_choose),
        cmocka_unit_test(real_ids),
        cmocka_unit_test(chat_decoder_tells),
        cmocka_unit_test(sentencepiece_answers_read_well),
        cmocka_unit_test(reasoning_decoder_tells),
        cmocka_unit_test(tools_are_announced),
        cmocka_unit_test(tool_calls_are_heard),
        cmocka_unit_test(tool_grammars_exist),
        cmocka_unit_test(templates_write_turns),
        cmocka_unit_test(broken_templates_are_as_none),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
