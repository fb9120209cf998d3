/* links: models
 * Writes a GGUF model of a real model's shape with random weights, for timing:
 *   gen_model SHAPE TYPE FILE
 * SHAPE: qwen3-0.6b, llama-3.2-1b, 15m. TYPE: f32 f16 bf16 q8_0 q4_0 q4_k_m q6_k q4_1 q5_0 q5_1
 * q2_k q3_k q5_k_m iq4_nl iq4_xs mxfp4. Streams to the file: memory stays small. The vocabulary is
 * made of numbered words, so that other engines load it, too. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "models/gguf.h"

struct shape {
    const char *name, *architecture;
    uint32_t layers, dim, heads, kv_heads, head_dim, hidden, vocab, context;
    float rope_base;
    bool tied, qk_norm;
};

static const struct shape shapes[] = {
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1e6f, true, true},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5f, true, false},
    {"15m", "llama", 6, 288, 6, 6, 48, 768, 32000, 2048, 1e4f, true, false},
};

struct tensor {
    char name[64];
    enum gguf_tensor_type type;
    uint64_t columns, rows; /* rows 0: a vector */
};

static struct tensor tensors[1000];
static size_t tensor_count;

static void put(struct buf *buf, const void *data, size_t bytes)
{
    if (!buf_append(buf, data, bytes))
        abort();
}

static void put_u32(struct buf *buf, uint32_t value) { put(buf, &value, 4); }
static void put_u64(struct buf *buf, uint64_t value) { put(buf, &value, 8); }

static void put_text(struct buf *buf, const char *text)
{
    put_u64(buf, strlen(text));
    put(buf, text, strlen(text));
}

static uint64_t key_count;

static void key(struct buf *buf, const struct shape *shape, const char *name, uint32_t type)
{
    char text[128];
    snprintf(text, sizeof text, "%s%s%s", shape ? shape->architecture : "", shape ? "." : "", name);
    put_text(buf, text);
    put_u32(buf, type);
    key_count++;
}

static void key_u32(struct buf *buf, const struct shape *shape, const char *name, uint32_t value)
{
    key(buf, shape, name, GGUF_U32);
    put_u32(buf, value);
}

static void key_f32(struct buf *buf, const struct shape *shape, const char *name, float value)
{
    key(buf, shape, name, GGUF_F32);
    put(buf, &value, 4);
}

static void add(const char *name, enum gguf_tensor_type type, uint64_t columns, uint64_t rows)
{
    struct tensor *t = &tensors[tensor_count++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = rows ? type : GGUF_TENSOR_F32;
    t->columns = columns;
    t->rows = rows;
}

static uint64_t state = 1;

static uint64_t random_u64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Half-precision scales such that a weight's standard deviation is about 0.02. */
static void fill(enum gguf_tensor_type type, uint8_t *data, size_t bytes, bool vector)
{
    static const struct {
        uint16_t type, block, at, value, at2, value2;
    } scales[] = {{GGUF_TENSOR_Q8_0, 34, 0, 0x0C6E, 0, 0x0C6E},
                  {GGUF_TENSOR_Q4_0, 18, 0, 0x1C70, 0, 0x1C70},
                  {GGUF_TENSOR_Q4_K, 144, 0, 0x04F0, 2, 0x10A0},
                  {GGUF_TENSOR_Q6_K, 210, 208, 0x0102, 208, 0x0102},
                  {GGUF_TENSOR_Q4_1, 20, 0, 0x1C70, 2, 0xA828},
                  {GGUF_TENSOR_Q5_0, 22, 0, 0x1870, 0, 0x1870},
                  {GGUF_TENSOR_Q5_1, 24, 0, 0x1870, 2, 0xA830},
                  {GGUF_TENSOR_Q2_K, 84, 80, 0x15D0, 82, 0x1860},
                  {GGUF_TENSOR_Q3_K, 110, 108, 0x0FA0, 108, 0x0FA0},
                  {GGUF_TENSOR_Q5_K, 176, 0, 0x0290, 2, 0x10F8},
                  {GGUF_TENSOR_IQ4_NL, 18, 0, 0x0CB0, 0, 0x0CB0},
                  {GGUF_TENSOR_IQ4_XS, 136, 0, 0x0102, 0, 0x0102},
                  {GGUF_TENSOR_MXFP4, 17, 0, 0, 0, 0}};
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t bits = random_u64();
        memcpy(data + i, &bits, 8);
    }
    for (size_t i = 0; type == GGUF_TENSOR_F32 && i < bytes; i += 4) {
        float value = vector ? 1.0f : (float)(int16_t)(data[i] | data[i + 1] << 8) * (0.035f / 32768);
        memcpy(data + i, &value, 4);
    }
    for (size_t i = 0; type == GGUF_TENSOR_F16 && i < bytes; i += 2)
        data[i + 1] = (uint8_t)((data[i + 1] & 0x83) | 0x24);
    for (size_t i = 0; type == GGUF_TENSOR_BF16 && i < bytes; i += 2)
        data[i + 1] = (uint8_t)((data[i + 1] & 0x80) | 0x3C);
    for (unsigned s = 0; s < sizeof scales / sizeof *scales; s++)
        for (size_t i = 0; scales[s].type == type && i + scales[s].block <= bytes;
             i += scales[s].block) {
            if (type == GGUF_TENSOR_MXFP4) { /* an exponent */
                data[i] = 120;
                continue;
            }
            memcpy(data + i + scales[s].at, &scales[s].value, 2);
            memcpy(data + i + scales[s].at2, &scales[s].value2, 2);
        }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum gguf_tensor_type most, more;
    } types[] = {{"f32", GGUF_TENSOR_F32, GGUF_TENSOR_F32},
                 {"f16", GGUF_TENSOR_F16, GGUF_TENSOR_F16},
                 {"bf16", GGUF_TENSOR_BF16, GGUF_TENSOR_BF16},
                 {"q8_0", GGUF_TENSOR_Q8_0, GGUF_TENSOR_Q8_0},
                 {"q4_0", GGUF_TENSOR_Q4_0, GGUF_TENSOR_Q4_0},
                 {"q4_k_m", GGUF_TENSOR_Q4_K, GGUF_TENSOR_Q6_K},
                 {"q6_k", GGUF_TENSOR_Q6_K, GGUF_TENSOR_Q6_K},
                 {"q4_1", GGUF_TENSOR_Q4_1, GGUF_TENSOR_Q4_1},
                 {"q5_0", GGUF_TENSOR_Q5_0, GGUF_TENSOR_Q5_0},
                 {"q5_1", GGUF_TENSOR_Q5_1, GGUF_TENSOR_Q5_1},
                 {"q2_k", GGUF_TENSOR_Q2_K, GGUF_TENSOR_Q2_K},
                 {"q3_k", GGUF_TENSOR_Q3_K, GGUF_TENSOR_Q3_K},
                 {"q5_k_m", GGUF_TENSOR_Q5_K, GGUF_TENSOR_Q6_K},
                 {"iq4_nl", GGUF_TENSOR_IQ4_NL, GGUF_TENSOR_IQ4_NL},
                 {"iq4_xs", GGUF_TENSOR_IQ4_XS, GGUF_TENSOR_IQ4_XS},
                 {"mxfp4", GGUF_TENSOR_MXFP4, GGUF_TENSOR_MXFP4}};
    enum { TYPES = sizeof types / sizeof *types };
    const struct shape *s = NULL;
    unsigned type = 0;
    for (unsigned i = 0; argc == 4 && i < 3; i++)
        s = strcmp(argv[1], shapes[i].name) == 0 ? &shapes[i] : s;
    while (argc == 4 && type < TYPES && strcmp(argv[2], types[type].name) != 0)
        type++;
    if (!s || type == TYPES) {
        fprintf(stderr, "gen_model qwen3-0.6b|llama-3.2-1b|15m "
                        "f32|f16|bf16|q8_0|q4_0|q4_k_m|q6_k|q4_1|q5_0|q5_1|q2_k|q3_k|q5_k_m|"
                        "iq4_nl|iq4_xs|mxfp4 FILE\n");
        return 2;
    }
    enum gguf_tensor_type most = types[type].most, more = types[type].more;
    char name[64];
    add("token_embd.weight", more, s->dim, s->vocab);
    add("output_norm.weight", most, s->dim, 0);
    for (uint32_t l = 0; l < s->layers; l++) {
        /* As Q4_K_M: half of the layers have their V and down projections in the finer type. */
        enum gguf_tensor_type finer =
            l < s->layers / 8 || l >= 7 * s->layers / 8 || (l - s->layers / 8) % 3 == 2 ? more : most;
#define NAME(text) (snprintf(name, sizeof name, "blk.%u." text, l), name)
        add(NAME("attn_norm.weight"), most, s->dim, 0);
        add(NAME("attn_q.weight"), most, s->dim, s->heads * s->head_dim);
        add(NAME("attn_k.weight"), most, s->dim, s->kv_heads * s->head_dim);
        add(NAME("attn_v.weight"), finer, s->dim, s->kv_heads * s->head_dim);
        if (s->qk_norm) {
            add(NAME("attn_q_norm.weight"), most, s->head_dim, 0);
            add(NAME("attn_k_norm.weight"), most, s->head_dim, 0);
        }
        add(NAME("attn_output.weight"), most, s->heads * s->head_dim, s->dim);
        add(NAME("ffn_norm.weight"), most, s->dim, 0);
        add(NAME("ffn_gate.weight"), most, s->dim, s->hidden);
        add(NAME("ffn_up.weight"), most, s->dim, s->hidden);
        add(NAME("ffn_down.weight"), finer, s->hidden, s->dim);
    }

    struct buf keys, head;
    buf_init(&keys, NULL);
    buf_init(&head, NULL);
    key(&keys, NULL, "general.architecture", GGUF_STRING);
    put_text(&keys, s->architecture);
    key_u32(&keys, s, "vocab_size", s->vocab);
    key_u32(&keys, s, "context_length", s->context);
    key_u32(&keys, s, "embedding_length", s->dim);
    key_u32(&keys, s, "block_count", s->layers);
    key_u32(&keys, s, "feed_forward_length", s->hidden);
    key_u32(&keys, s, "attention.head_count", s->heads);
    key_u32(&keys, s, "attention.head_count_kv", s->kv_heads);
    key_u32(&keys, s, "attention.key_length", s->head_dim);
    key_u32(&keys, s, "attention.value_length", s->head_dim);
    key_u32(&keys, s, "rope.dimension_count", s->head_dim);
    key_f32(&keys, s, "attention.layer_norm_rms_epsilon", 1e-6f);
    key_f32(&keys, s, "rope.freq_base", s->rope_base);
    key(&keys, NULL, "tokenizer.ggml.model", GGUF_STRING);
    put_text(&keys, "llama");
    key(&keys, NULL, "tokenizer.ggml.tokens", GGUF_ARRAY);
    put_u32(&keys, GGUF_STRING);
    put_u64(&keys, s->vocab);
    for (uint32_t i = 0; i < s->vocab; i++) {
        char token[20];
        snprintf(token, sizeof token, i < 3 ? "<%u>" : i < 259 ? "<0x%02X>" : "t%u",
                 i < 3 ? i : i < 259 ? i - 3 : i);
        put_text(&keys, token);
    }
    key(&keys, NULL, "tokenizer.ggml.scores", GGUF_ARRAY);
    put_u32(&keys, GGUF_F32);
    put_u64(&keys, s->vocab);
    for (uint32_t i = 0; i < s->vocab; i++)
        put_u32(&keys, 0);
    key(&keys, NULL, "tokenizer.ggml.token_type", GGUF_ARRAY);
    put_u32(&keys, GGUF_I32);
    put_u64(&keys, s->vocab);
    for (uint32_t i = 0; i < s->vocab; i++)
        put_u32(&keys, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);

    put(&head, "GGUF\3\0\0\0", 8);
    put_u64(&head, tensor_count);
    put_u64(&head, key_count);
    put(&head, keys.data, keys.count);
    uint64_t at = 0;
    for (size_t i = 0; i < tensor_count; i++) {
        const struct tensor *t = &tensors[i];
        put_text(&head, t->name);
        put_u32(&head, t->rows ? 2 : 1);
        put_u64(&head, t->columns);
        if (t->rows)
            put_u64(&head, t->rows);
        put_u32(&head, (uint32_t)t->type);
        put_u64(&head, at);
        at += (gguf_tensor_type_bytes(t->type, t->columns * (t->rows ? t->rows : 1)) + 31) / 32 * 32;
    }
    while (head.count % 32 != 0)
        put(&head, "", 1);
    FILE *file = fopen(argv[3], "wb");
    if (!file || fwrite(head.data, 1, head.count, file) != head.count)
        return perror(argv[3]), 1;
    for (size_t i = 0; i < tensor_count; i++) {
        const struct tensor *t = &tensors[i];
        size_t row = gguf_tensor_type_bytes(t->type, t->columns);
        static uint8_t data[1 << 20];
        for (uint64_t r = 0; r < (t->rows ? t->rows : 1); r++) {
            fill(t->type, data, row, t->rows == 0);
            if (fwrite(data, 1, row, file) != row)
                return perror(argv[3]), 1;
        }
        uint64_t bytes = row * (t->rows ? t->rows : 1);
        memset(data, 0, 32);
        (void)fwrite(data, 1, (32 - bytes % 32) % 32, file);
    }
    if (fclose(file) != 0)
        return perror(argv[3]), 1;
    buf_deinit(&keys);
    buf_deinit(&head);
    return 0;
}
