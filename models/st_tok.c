/* tokenizer.json to GGUF's keys: byte-level BPE, and BPE with byte fallback over text whose spaces
 * are "▁" (what SentencePiece models become), with their added tokens. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "models/st_impl.h"

enum { VOCAB_MAX = 1 << 24, MERGES_MAX = 1 << 26, SPLITS_MAX = 8, PADDING_MAX = 1 << 16 };
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 }; /* GGUF's */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LINES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS(digits)                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits             \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES
#define CASED(suffix, digits)                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*"                          \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" suffix                                                \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                         \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" suffix "|\\p{N}" digits                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES

/* What splits text before merging, expressions joined by newlines, and GGUF's name for it; with
 * `whole` for vocabularies whose tokens win over merges ("ignore_merges"). */
static const struct {
    const char *expressions, *pre, *pre_whole;
} splits[] = {
    {GPT2, "gpt-2", NULL},
    {"\\p{N}\n" GPT2, "smollm", NULL},
    {WORDS("{1,3}"), "dbrx", "llama-bpe"},
    {WORDS(""), "qwen2", NULL},
    {CASED("", ""), NULL, "tekken"},
    {CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}"), "gpt-4o", NULL},
};

struct vocab {
    struct gguf_string *tokens; /* [count], borrowed from the JSON or `spare` */
    int32_t *types;             /* [count] */
    float *scores;              /* [count] */
    uint32_t count;
    uint32_t rows; /* of the embedding; 0: unknown */
    struct report *report;
};

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for the tokenizer");
}

/* ---- pre-tokenizers ------------------------------------------------------------------------ */

/* The expressions of a pre-tokenizer; false when it does something else. */
static bool list_splits(const json_t *pre, struct buf *out, bool *byte_level)
{
    const json_t *inner = json_object_get(pre, "pretokenizers");
    if (st_is(pre, "type", "Sequence") && json_array_size(inner) <= SPLITS_MAX) {
        for (size_t i = 0; i < json_array_size(inner); i++) {
            const json_t *part = json_array_get(inner, i);
            if (st_is(part, "type", "Sequence") || !list_splits(part, out, byte_level))
                return false;
        }
        return true;
    }
    const char *expression = NULL;
    if (st_is(pre, "type", "Split")) {
        expression = st_string(json_object_get(pre, "pattern"), "Regex");
        if (!expression || st_is(pre, "behavior", "Removed"))
            return false;
    } else if (st_is(pre, "type", "Digits")) {
        expression = json_is_true(json_object_get(pre, "individual_digits")) ? "\\p{N}" : "\\p{N}+";
    } else if (st_is(pre, "type", "ByteLevel")) {
        *byte_level = true;
        if (json_is_false(json_object_get(pre, "use_regex")))
            return true;
        expression = GPT2;
    }
    if (!expression)
        return false;
    return buf_puts(out, out->count ? "\n" : "") && buf_puts(out, expression);
}

static enum err put_pre(const json_t *root, bool whole, struct gguf_writer *writer,
                        struct report *report)
{
    struct buf found;
    bool byte_level = false;
    const char *pre = NULL;
    buf_init(&found, NULL);
    bool known = list_splits(json_object_get(root, "pre_tokenizer"), &found, &byte_level);
    for (size_t i = 0; known && !pre && i < sizeof splits / sizeof *splits; i++)
        if (found.data && strcmp(found.data, splits[i].expressions) == 0)
            pre = whole ? splits[i].pre_whole : splits[i].pre;
    enum err err = ERR_OK;
    if (!pre)
        err = err_set(report, ERR_UNSUPPORTED, "tokenizer.json: this way to split text before "
                      "merging is not supported: %.200s",
                      found.data && found.count ? found.data : "(no expression)");
    else
        gguf_writer_put_string(writer, "tokenizer.ggml.pre", pre, strlen(pre));
    buf_deinit(&found);
    return err;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static bool token_id(const json_t *value, uint32_t *id)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    *id = (uint32_t)number;
    return number >= 0 && number < VOCAB_MAX;
}

static bool is_byte_token(const char *text)
{
    return strlen(text) == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
           strspn(text + 3, "0123456789ABCDEFabcdef") == 2;
}

static enum err bad_id(struct report *report, const char *text)
{
    return err_set(report, ERR_INVALID, "tokenizer.json: token '%.80s' has no id, or one that is "
                   "too large", text);
}

static enum err count_tokens(const json_t *vocab, const json_t *added, struct vocab *v)
{
    const char *text;
    const json_t *value;
    uint32_t id, count = 0;
    json_object_foreach((json_t *)(uintptr_t)vocab, text, value) {
        if (!token_id(value, &id))
            return bad_id(v->report, text);
        count = id >= count ? id + 1 : count;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        value = json_array_get(added, i);
        if (!token_id(json_object_get(value, "id"), &id) || !st_string(value, "content"))
            return err_set(v->report, ERR_INVALID, "tokenizer.json: added token %zu has no proper "
                           "id and content", i);
        count = id >= count ? id + 1 : count;
    }
    /* Ids are dense but for a few that were given up. */
    if (count == 0 || count / 4 > json_object_size(vocab) + json_array_size(added) + 1000)
        return err_set(v->report, ERR_INVALID, "tokenizer.json: %zu tokens with ids up to %u",
                       json_object_size(vocab) + json_array_size(added), count);
    /* Embeddings have rows that no token uses: the vocabulary is filled up to them. */
    v->count = v->rows > count && v->rows - count <= PADDING_MAX ? v->rows : count;
    return ERR_OK;
}

static enum err read_tokens(const json_t *model, const json_t *added, bool byte_fallback,
                            struct vocab *v)
{
    const json_t *vocab = json_object_get(model, "vocab"), *value;
    const char *text, *unknown = st_string(model, "unk_token");
    uint32_t id = 0;
    if (!json_is_object(vocab))
        return err_set(v->report, ERR_INVALID, "tokenizer.json has no vocabulary");
    enum err err = count_tokens(vocab, added, v);
    if (err)
        return err;
    v->tokens = mem_calloc(NULL, v->count, sizeof *v->tokens);
    v->types = mem_calloc(NULL, v->count, sizeof *v->types);
    v->scores = mem_calloc(NULL, v->count, sizeof *v->scores);
    if (!v->tokens || !v->types || !v->scores)
        return no_memory(v->report);
    json_object_foreach((json_t *)(uintptr_t)vocab, text, value) {
        (void)token_id(value, &id);
        if (v->tokens[id].data)
            return err_set(v->report, ERR_INVALID, "tokenizer.json: two tokens have the id %u", id);
        v->tokens[id] = (struct gguf_string){text, strlen(text)};
        v->types[id] = byte_fallback && is_byte_token(text)     ? BYTE
                       : unknown && strcmp(unknown, text) == 0 ? UNKNOWN
                                                                : NORMAL;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        value = json_array_get(added, i);
        text = st_string(value, "content");
        (void)token_id(json_object_get(value, "id"), &id);
        v->tokens[id] = (struct gguf_string){text, strlen(text)};
        if (v->types[id] != UNKNOWN)
            v->types[id] = json_is_true(json_object_get(value, "special")) ? CONTROL : USER;
    }
    for (uint32_t i = 0; i < v->count; i++)
        if (!v->tokens[i].data) {
            v->tokens[i] = (struct gguf_string){"", 0};
            v->types[i] = UNUSED;
        }
    return ERR_OK;
}

/* ---- merges -------------------------------------------------------------------------------- */

/* The two sides of merge `at`: "left right", or ["left", "right"]. */
static bool merge_sides(const json_t *merge, struct gguf_string sides[2])
{
    const char *text = json_string_value(merge);
    if (text) {
        const char *space = *text ? strchr(text + 1, ' ') : NULL;
        if (!space)
            return false;
        sides[0] = (struct gguf_string){text, (size_t)(space - text)};
        sides[1] = (struct gguf_string){space + 1, strlen(space + 1)};
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        text = json_string_value(json_array_get(merge, i));
        if (!text)
            return false;
        sides[i] = (struct gguf_string){text, strlen(text)};
    }
    return json_array_size(merge) == 2;
}

static enum err bad_merge(struct report *report, size_t at)
{
    return err_set(report, ERR_INVALID, "tokenizer.json: merge %zu is not two texts", at);
}

/* Byte-level: the list as it is, in GGUF's way of writing it. */
static enum err put_merges(const json_t *merges, struct gguf_writer *writer, struct report *report)
{
    size_t count = json_array_size(merges);
    struct buf text;
    struct gguf_string *list = mem_calloc(NULL, count ? count : 1, sizeof *list);
    buf_init(&text, NULL);
    enum err err = list ? ERR_OK : no_memory(report);
    for (size_t i = 0; !err && i < count; i++) {
        struct gguf_string sides[2];
        if (!merge_sides(json_array_get(merges, i), sides)) {
            err = bad_merge(report, i);
            break;
        }
        list[i].bytes = sides[0].bytes + 1 + sides[1].bytes;
        (void)buf_append(&text, sides[0].data, sides[0].bytes);
        (void)buf_putc(&text, ' ');
        (void)buf_append(&text, sides[1].data, sides[1].bytes);
    }
    if (!err && text.failed)
        err = no_memory(report);
    if (!err) { /* the buffer has stopped moving */
        for (size_t i = 0, at = 0; i < count; at += list[i++].bytes)
            list[i].data = text.data + at;
        gguf_writer_put_strings(writer, "tokenizer.ggml.merges", list, count);
    }
    buf_deinit(&text);
    mem_free(NULL, list);
    return err;
}

/* With byte fallback: a token's score is minus the rank of the first merge that makes it, so that
 * merging by score goes in the order of the list. */
static enum err score_by_merges(const json_t *merges, struct vocab *v)
{
    size_t count = json_array_size(merges);
    struct map ids;
    struct buf text;
    enum err err = ERR_OK;
    map_init(&ids, NULL);
    buf_init(&text, NULL);
    for (uint32_t i = 0; !err && i < v->count; i++) {
        v->scores[i] = -(float)(count + 1);
        if (v->types[i] == NORMAL && !map_set(&ids, v->tokens[i].data, v->tokens[i].bytes, &v->scores[i]))
            err = no_memory(v->report);
    }
    for (size_t i = 0; !err && i < count; i++) {
        struct gguf_string sides[2];
        if (!merge_sides(json_array_get(merges, i), sides)) {
            err = bad_merge(v->report, i);
            break;
        }
        buf_clear(&text);
        (void)buf_append(&text, sides[0].data, sides[0].bytes);
        if (!buf_append(&text, sides[1].data, sides[1].bytes)) {
            err = no_memory(v->report);
            break;
        }
        float *score = map_find(&ids, text.data, text.count);
        if (score && *score < -(float)count)
            *score = -(float)i;
    }
    buf_deinit(&text);
    map_deinit(&ids);
    return err;
}

/* ---- the marks around a text --------------------------------------------------------------- */

/* A special token in tokenizer_config.json: a text, or an object with one. */
static const char *special_text(const json_t *extra, const char *key)
{
    const json_t *value = json_object_get(extra, key);
    return json_is_object(value) ? st_string(value, "content") : json_string_value(value);
}

static uint32_t find_token(const struct vocab *v, const char *text)
{
    for (uint32_t i = 0; text && i < v->count; i++)
        if (v->tokens[i].bytes == strlen(text) &&
            memcmp(v->tokens[i].data, text, v->tokens[i].bytes) == 0)
            return i;
    return UINT32_MAX;
}

/* By name in tokenizer_config.json, else by number (the first of a list) in generation_config.json. */
static uint32_t put_special(const struct vocab *v, const json_t *extra, const json_t *generation,
                            const char *name, const char *number, const char *key,
                            struct gguf_writer *writer)
{
    uint32_t id = find_token(v, special_text(extra, name));
    const json_t *ids = json_object_get(generation, number);
    if (id == UINT32_MAX &&
        (!token_id(json_is_array(ids) ? json_array_get(ids, 0) : ids, &id) || id >= v->count))
        return UINT32_MAX;
    gguf_writer_put_u32(writer, key, id);
    return id;
}

/* Does the post-processor put this token before (or behind) every text? */
static bool template_has(const json_t *post, const struct vocab *v, uint32_t id, bool behind)
{
    const json_t *list = json_object_get(post, "processors");
    for (size_t i = 0; st_is(post, "type", "Sequence") && i < json_array_size(list); i++)
        if (!st_is(json_array_get(list, i), "type", "Sequence") &&
            template_has(json_array_get(list, i), v, id, behind))
            return true;
    const json_t *single = json_object_get(post, "single");
    size_t count = json_array_size(single);
    if (!st_is(post, "type", "TemplateProcessing") || count < 2 || id == UINT32_MAX)
        return false;
    const json_t *mark = json_array_get(single, behind ? count - 1 : 0);
    const char *text = st_string(json_object_get(mark, "SpecialToken"), "id");
    return text && find_token(v, text) == id;
}

static void put_adds(const json_t *extra, const char *name, bool otherwise, const char *key,
                     struct gguf_writer *writer)
{
    const json_t *value = json_object_get(extra, name);
    gguf_writer_put_bool(writer, key, json_is_boolean(value) ? json_is_true(value) : otherwise);
}

static void put_chat_template(const json_t *extra, struct gguf_writer *writer)
{
    const json_t *value = json_object_get(extra, "chat_template");
    const char *text = json_string_value(value);
    for (size_t i = 0; !text && i < json_array_size(value); i++)
        if (st_is(json_array_get(value, i), "name", "default"))
            text = st_string(json_array_get(value, i), "template");
    if (text)
        gguf_writer_put_string(writer, "tokenizer.chat_template", text, strlen(text));
}

/* ---- all ----------------------------------------------------------------------------------- */

/* Whether a space is put before every text: by a normalizer or by Metaspace. */
static bool prepends_space(const json_t *node)
{
    static const char *const lists[] = {"normalizers", "pretokenizers"};
    for (unsigned l = 0; l < 2; l++) {
        const json_t *list = json_object_get(node, lists[l]);
        for (size_t i = 0; i < json_array_size(list); i++)
            if (!st_is(json_array_get(list, i), "type", "Sequence") &&
                prepends_space(json_array_get(list, i)))
                return true;
    }
    if (st_is(node, "type", "Metaspace"))
        return !st_is(node, "prepend_scheme", "never") &&
               !json_is_false(json_object_get(node, "add_prefix_space"));
    return st_is(node, "type", "Prepend");
}

static enum err put_vocab(const json_t *root, const json_t *model, const json_t *extra,
                          const json_t *generation, struct vocab *v, struct gguf_writer *writer)
{
    const json_t *merges = json_object_get(model, "merges");
    bool fallback = json_is_true(json_object_get(model, "byte_fallback"));
    bool whole = json_is_true(json_object_get(model, "ignore_merges"));
    if (!json_is_array(merges) || json_array_size(merges) > MERGES_MAX)
        return err_set(v->report, ERR_INVALID, "tokenizer.json has no list of merges");
    enum err err = read_tokens(model, json_object_get(root, "added_tokens"), fallback, v);
    if (!err && fallback)
        err = score_by_merges(merges, v);
    else if (!err)
        err = put_merges(merges, writer, v->report);
    if (!err && !fallback)
        err = put_pre(root, whole, writer, v->report);
    if (err)
        return err;
    gguf_writer_put_string(writer, "tokenizer.ggml.model", fallback ? "llama" : "gpt2",
                           fallback ? 5 : 4);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", v->tokens, v->count);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, v->types, v->count);
    if (fallback) {
        gguf_writer_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, v->scores, v->count);
        gguf_writer_put_bool(writer, "tokenizer.ggml.add_space_prefix",
                             prepends_space(json_object_get(root, "normalizer")) ||
                                 prepends_space(json_object_get(root, "pre_tokenizer")));
        gguf_writer_put_bool(writer, "pie.tokenizer.space_once",
                             prepends_space(json_object_get(root, "pre_tokenizer")));
    }
    const json_t *post = json_object_get(root, "post_processor");
    uint32_t bos = put_special(v, extra, generation, "bos_token", "bos_token_id",
                               "tokenizer.ggml.bos_token_id", writer);
    uint32_t eos = put_special(v, extra, generation, "eos_token", "eos_token_id",
                               "tokenizer.ggml.eos_token_id", writer);
    (void)put_special(v, extra, NULL, "unk_token", "", "tokenizer.ggml.unknown_token_id", writer);
    (void)put_special(v, extra, generation, "pad_token", "pad_token_id",
                      "tokenizer.ggml.padding_token_id", writer);
    put_adds(extra, "add_bos_token", template_has(post, v, bos, false),
             "tokenizer.ggml.add_bos_token", writer);
    put_adds(extra, "add_eos_token", template_has(post, v, eos, true),
             "tokenizer.ggml.add_eos_token", writer);
    return ERR_OK;
}

enum err st_put_tokenizer(const json_t *root, const json_t *extra, const json_t *generation,
                          const struct st_config *config, struct gguf_writer *writer,
                          struct report *report)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = st_string(model, "type");
    struct vocab v = {.rows = config->vocab_count, .report = report};
    if (!type || strcmp(type, "BPE") != 0)
        return err_set(report, ERR_UNSUPPORTED, "tokenizer.json: the tokenizer model '%.40s' is not "
                       "supported; BPE is (byte-level, or with byte fallback)",
                       type ? type : "(none)");
    enum err err = put_vocab(root, model, extra, generation, &v, writer);
    if (!err && config->vocab_count && v.count > config->vocab_count)
        err = err_set(report, ERR_INVALID, "tokenizer.json has %u tokens, config.json only %u",
                      v.count, config->vocab_count);
    mem_free(NULL, v.tokens);
    mem_free(NULL, v.types);
    mem_free(NULL, v.scores);
    if (!err)
        put_chat_template(extra, writer);
    return err;
}
