#include <string.h>

#include "engine/base/arena.h"
#include "engine/base/utf8.h"
#include "models/gguf_write.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"
#include "models/train/net.h"
#include "models/train/train.h"

/* The template, for engines that run such things: the turns of the corpus. */
static const char chat_template[] =
    "{%- if tools %}{{ '" TRAIN_TURN "system\\n # Tools\\n\\nYou may call one or more functions to assist "
    "with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML "
    "tags:\\n<tools>' }}{%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{%- endfor %}"
    "{{ '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\"name\": <function-name>, \"arguments\": "
    "<args-json-object>}\\n</tool_call>" TRAIN_TURN_END "\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'tool' %}{{ '" TRAIN_TURN "user\\n<tool_response>\\n' + message.content + "
    "'\\n</tool_response>" TRAIN_TURN_END "\\n' }}"
    "{%- else %}{{ '" TRAIN_TURN "' + message.role + '\\n' + message.content + '" TRAIN_TURN_END "\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '" TRAIN_TURN "assistant\\n' }}{%- endif %}";

/* GPT-2's letter for a byte: printable Latin-1 stands for itself, the rest follows from U+0100. */
static uint32_t byte_letter(uint8_t byte)
{
    uint32_t others = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte)
            return printable ? b : 256 + others;
        others += !printable;
    }
    return 0;
}

/* Bytes in that alphabet, from the arena; data NULL when memory is out. */
static struct gguf_string spell(struct arena *arena, const char *data, size_t bytes)
{
    char *text = arena_alloc(arena, bytes * 2 + 1), *at = text;
    for (size_t i = 0; text && i < bytes; i++)
        at += utf8_put(byte_letter((uint8_t)data[i]), at);
    return (struct gguf_string){text, text ? (size_t)(at - text) : 0};
}

static bool put_vocabulary(struct gguf_writer *writer, const struct train_bpe *bpe,
                           struct arena *arena)
{
    enum { NORMAL = 1, CONTROL = 3 }; /* tokenizer.ggml.token_type */
    size_t vocab = train_bpe_vocab(bpe), merges = train_bpe_merge_count(bpe);
    size_t plain = 256 + merges;
    struct gguf_string *tokens = arena_calloc(arena, vocab, sizeof *tokens);
    struct gguf_string *joins = arena_calloc(arena, merges + 1, sizeof *joins);
    int32_t *types = arena_calloc(arena, vocab, sizeof *types);
    if (!tokens || !joins || !types)
        return false;
    for (size_t i = 0; i < vocab; i++) {
        size_t bytes;
        const char *data = train_bpe_token(bpe, (uint32_t)i, &bytes);
        tokens[i] = i < plain ? spell(arena, data, bytes) : (struct gguf_string){data, bytes};
        types[i] = i < plain ? NORMAL : CONTROL;
        if (!tokens[i].data)
            return false;
    }
    for (size_t i = 0; i < merges; i++) {
        uint32_t left, right;
        train_bpe_merge(bpe, i, &left, &right);
        struct gguf_string a = tokens[left], b = tokens[right];
        char *join = arena_alloc(arena, a.bytes + 1 + b.bytes);
        if (!join)
            return false;
        memcpy(join, a.data, a.bytes);
        join[a.bytes] = ' ';
        memcpy(join + a.bytes + 1, b.data, b.bytes);
        joins[i] = (struct gguf_string){join, a.bytes + 1 + b.bytes};
    }
    uint32_t end_of_text = (uint32_t)plain, turn_end = (uint32_t)plain + 2;
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_string(writer, "tokenizer.ggml.pre", "gpt-2", 5);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, vocab);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, vocab);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", joins, merges);
    gguf_writer_put_u32(writer, "tokenizer.ggml.bos_token_id", end_of_text);
    gguf_writer_put_u32(writer, "tokenizer.ggml.eos_token_id", end_of_text);
    gguf_writer_put_u32(writer, "tokenizer.ggml.eot_token_id", turn_end);
    gguf_writer_put_u32(writer, "tokenizer.ggml.padding_token_id", end_of_text);
    gguf_writer_put_bool(writer, "tokenizer.ggml.add_bos_token", false);
    gguf_writer_put_string(writer, "tokenizer.chat_template", chat_template, strlen(chat_template));
    return true;
}

static void put_shape(struct gguf_writer *writer, const struct train_shape *s, uint32_t context)
{
    gguf_writer_put_string(writer, "general.architecture", "llama", 5);
    gguf_writer_put_string(writer, "general.name", "pie-default", 11);
    gguf_writer_put_u32(writer, "general.file_type", 0); /* all F32 */
    gguf_writer_put_u32(writer, "llama.vocab_size", s->vocab);
    gguf_writer_put_u32(writer, "llama.context_length", context);
    gguf_writer_put_u32(writer, "llama.embedding_length", s->dim);
    gguf_writer_put_u32(writer, "llama.block_count", s->layers);
    gguf_writer_put_u32(writer, "llama.feed_forward_length", s->hidden);
    gguf_writer_put_u32(writer, "llama.attention.head_count", s->heads);
    gguf_writer_put_u32(writer, "llama.attention.head_count_kv", s->kv_heads);
    gguf_writer_put_u32(writer, "llama.attention.key_length", s->head_dim);
    gguf_writer_put_u32(writer, "llama.attention.value_length", s->head_dim);
    gguf_writer_put_f32(writer, "llama.attention.layer_norm_rms_epsilon", s->norm_eps);
    gguf_writer_put_u32(writer, "llama.rope.dimension_count", s->head_dim);
    gguf_writer_put_f32(writer, "llama.rope.freq_base", s->rope_base);
}

enum err train_model_save(const struct train_model *model, const char *path, struct report *report)
{
    struct gguf_writer *writer = gguf_writer_create();
    struct arena arena;
    arena_init(&arena, NULL);
    enum err err = ERR_MEMORY;
    if (writer) {
        put_shape(writer, train_net_shape(model->net), model->config.context);
        if (put_vocabulary(writer, model->bpe, &arena)) {
            const float *params = train_net_params(model->net);
            for (size_t i = 0; i < train_net_group_count(model->net); i++) {
                const struct train_group *g = train_net_group(model->net, i);
                uint64_t dims[2] = {g->columns, g->rows};
                gguf_writer_add_tensor(writer, g->name, GGUF_TENSOR_F32, dims, g->rows > 1 ? 2 : 1,
                                       params + g->offset);
            }
            err = gguf_writer_save(writer, path, report);
        }
    }
    arena_deinit(&arena);
    gguf_writer_destroy(writer);
    return err == ERR_MEMORY ? err_set(report, err, "no memory to write the model %s", path) : err;
}
