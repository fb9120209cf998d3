/* Building a tokenizer from metadata, and asking it about its vocabulary. */
#include "engine/text/tok.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/text/tok_impl.h"
#include "models/gguf.h"

#define VOCAB_MAX  (1u << 24)
#define MERGES_MAX (1u << 26)

/* While building: symbols grow beyond the vocabulary as merges name them. */
struct builder {
    struct tok *tok;
    const struct gguf *file;
    struct report *report;
    struct {
        uint32_t *items;
        size_t count, capacity;
    } starts;
    struct {
        char *items;
        size_t count, capacity;
    } text;
    size_t word_count, word_slots;
};

static enum err out_of_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "Out of memory while loading the tokenizer");
}

/* ---- the byte alphabet of byte-level BPE ---- */

/* Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on. */
static bool stands_for_itself(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
           (byte >= 0xAE && byte <= 0xFF);
}

struct alphabet {
    int bytes[0x144]; /* code point to byte, -1: not a letter of the alphabet */
};

static void alphabet_init(struct alphabet *alphabet)
{
    int next = 0x100;
    for (size_t i = 0; i < sizeof alphabet->bytes / sizeof *alphabet->bytes; i++)
        alphabet->bytes[i] = -1;
    for (int byte = 0; byte < 256; byte++)
        alphabet->bytes[stands_for_itself((unsigned)byte) ? byte : next++] = byte;
}

/* Appends the bytes that `data` spells; false (and nothing appended) when it does not spell any. */
static bool append_spelled(struct builder *b, const struct alphabet *alphabet, const char *data,
                           size_t bytes, bool *memory)
{
    size_t before = b->text.count;
    size_t at = 0;
    *memory = vec_reserve(NULL, &b->text, bytes);
    if (!*memory)
        return false;
    while (at < bytes) {
        uint32_t point = utf8_next(data, bytes, &at);
        int byte =
            point < sizeof alphabet->bytes / sizeof *alphabet->bytes ? alphabet->bytes[point] : -1;
        if (byte < 0) {
            b->text.count = before;
            return false;
        }
        b->text.items[b->text.count++] = (char)byte;
    }
    return true;
}

static bool append_raw(struct builder *b, const char *data, size_t bytes)
{
    if (!vec_reserve(NULL, &b->text, bytes))
        return false;
    memcpy(b->text.items + b->text.count, data, bytes);
    b->text.count += bytes;
    return true;
}

/* Appends with "▁" as a space. */
static bool append_unescaped(struct builder *b, const char *data, size_t bytes)
{
    if (!vec_reserve(NULL, &b->text, bytes))
        return false;
    for (size_t i = 0; i < bytes;) {
        if (bytes - i >= 3 && memcmp(data + i, "\xE2\x96\x81", 3) == 0) {
            b->text.items[b->text.count++] = ' ';
            i += 3;
        } else {
            b->text.items[b->text.count++] = data[i++];
        }
    }
    return true;
}

/* ---- symbols by bytes ---- */

static bool add_word(struct builder *b, uint32_t id)
{
    struct tok *tok = b->tok;
    size_t bytes = tok_symbol_bytes(tok, id);
    const char *data = tok->text + tok->starts[id];
    if (bytes == 0 || bytes > TOK_TEXT_BYTES_MAX)
        return false;
    uint64_t hash = tok_hash(data, bytes);
    size_t at = hash & tok->word_mask;
    while (tok->words[at].id != TOK_NONE) {
        uint32_t other = tok->words[at].id;
        if (tok_symbol_bytes(tok, other) == bytes &&
            memcmp(tok->text + tok->starts[other], data, bytes) == 0)
            return false;
        at = (at + 1) & tok->word_mask;
    }
    tok->words[at] = (struct tok_word_slot){(uint32_t)(hash >> 32), id};
    b->word_count++;
    return true;
}

static bool words_alloc(struct builder *b, size_t count)
{
    size_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    b->tok->words = mem_alloc(NULL, slots * sizeof *b->tok->words);
    if (!b->tok->words)
        return false;
    memset(b->tok->words, 0xFF, slots * sizeof *b->tok->words);
    b->tok->word_mask = slots - 1;
    b->word_slots = slots;
    b->word_count = 0;
    return true;
}

/* The table's symbols stay; it has room for one more afterwards. */
static bool words_grow(struct builder *b)
{
    struct tok_word_slot *old = b->tok->words;
    size_t old_slots = b->word_slots;
    if ((b->word_count + 1) * 2 <= old_slots)
        return true;
    if (!words_alloc(b, old_slots)) {
        b->tok->words = old;
        return false;
    }
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].id != TOK_NONE)
            (void)add_word(b, old[i].id);
    mem_free(NULL, old);
    return true;
}

static void sync_builder(struct builder *b)
{
    b->tok->text = b->text.items;
    b->tok->starts = b->starts.items;
    b->tok->symbol_count = (uint32_t)(b->starts.count - 1);
}

/* Ends the symbol whose bytes were appended last. */
static bool end_symbol(struct builder *b)
{
    bool ok = b->text.count < UINT32_MAX && vec_push(NULL, &b->starts, (uint32_t)b->text.count);
    sync_builder(b);
    return ok;
}

/* The symbol of the bytes appended to `text` since the last end_symbol; makes it when it is new.
 * TOK_NONE: out of memory, or no mergeable text. */
static uint32_t intern(struct builder *b)
{
    struct tok *tok = b->tok;
    uint32_t start = b->starts.items[b->starts.count - 1];
    size_t bytes = b->text.count - start;
    tok->text = b->text.items;
    uint32_t id = bytes ? tok_find_word(tok, tok->text + start, bytes) : TOK_NONE;
    if (id != TOK_NONE || bytes == 0 || bytes > TOK_TEXT_BYTES_MAX) {
        b->text.count = start;
        return id;
    }
    if (!words_grow(b) || !end_symbol(b))
        return TOK_NONE;
    id = tok->symbol_count - 1;
    (void)add_word(b, id);
    return id;
}

/* ---- pairs ---- */

static bool pairs_alloc(struct tok *tok, size_t count)
{
    size_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    tok->pairs = mem_alloc(NULL, slots * sizeof *tok->pairs);
    if (!tok->pairs)
        return false;
    memset(tok->pairs, 0xFF, slots * sizeof *tok->pairs);
    tok->pair_mask = slots - 1;
    return true;
}

/* The first of equal pairs stays. There is room. */
static void add_pair(struct tok *tok, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged)
{
    size_t at = tok_pair_hash(left, right) & tok->pair_mask;
    while (tok->pairs[at].rank != TOK_NONE) {
        if (tok->pairs[at].left == left && tok->pairs[at].right == right)
            return;
        at = (at + 1) & tok->pair_mask;
    }
    tok->pairs[at] = (struct tok_pair){left, right, rank, merged};
}

/* ---- metadata ---- */

static const struct gguf_value *find_array(const struct gguf *file, const char *key,
                                           enum gguf_type type)
{
    const struct gguf_value *value = gguf_find(file, key);
    return value && value->type == GGUF_ARRAY && value->of.array.type == type ? value : NULL;
}

static bool has_text(struct gguf_string s, const char *text)
{
    return strlen(text) == s.bytes && memcmp(s.data, text, s.bytes) == 0;
}

/* End-of-turn marks; some files call them normal tokens by mistake. In the order in which the first
 * one present becomes tok_eot. */
static const char *const turn_ends[] = {
    "<|eot_id|>",    "<|im_end|>", "<|end|>", "<end_of_turn>",
    "<|endoftext|>", "<|eom_id|>", "<EOT>",   "_<EOT>",
};

static bool is_turn_end(struct gguf_string s)
{
    if (s.bytes < 5)
        return false;
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++)
        if (has_text(s, turn_ends[i]))
            return true;
    return false;
}

static enum err read_types(struct builder *b)
{
    struct tok *tok = b->tok;
    const struct gguf_value *tokens = find_array(b->file, "tokenizer.ggml.tokens", GGUF_STRING);
    const struct gguf_value *types = gguf_find(b->file, "tokenizer.ggml.token_type");

    tok->types = mem_calloc(NULL, tok->vocab_count, 1);
    tok->whole = mem_calloc(NULL, tok->vocab_count, 1);
    if (!tok->types || !tok->whole)
        return out_of_memory(b->report);
    if (types && (types->type != GGUF_ARRAY ||
                  (types->of.array.type != GGUF_I32 && types->of.array.type != GGUF_U32) ||
                  types->of.array.count != tok->vocab_count))
        return err_set(b->report, ERR_INVALID,
                       "tokenizer.ggml.token_type must be %u 32-bit integers, one per token",
                       tok->vocab_count);
    for (uint32_t id = 0; id < tok->vocab_count; id++) {
        uint32_t type = TOK_NORMAL;
        if (types) {
            memcpy(&type, types->of.array.data + (size_t)id * 4, 4);
            if (type < TOK_NORMAL || type > TOK_BYTE)
                type = TOK_UNUSED;
        }
        if (is_turn_end(tokens->of.array.strings[id]))
            type = TOK_CONTROL;
        tok->types[id] = (uint8_t)type;
    }
    return ERR_OK;
}

static bool is_mergeable(const struct tok *tok, uint32_t id)
{
    return tok->types[id] == TOK_NORMAL || tok->types[id] == TOK_UNUSED;
}

/* Value of "<0xNN>", or -1. */
static int byte_token_value(const char *data, size_t bytes)
{
    if (bytes != 6 || memcmp(data, "<0x", 3) != 0 || data[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static enum err read_tokens(struct builder *b)
{
    struct tok *tok = b->tok;
    const struct gguf_value *tokens = find_array(b->file, "tokenizer.ggml.tokens", GGUF_STRING);
    struct alphabet alphabet;
    alphabet_init(&alphabet);

    for (size_t i = 0; i < 256; i++)
        tok->byte_symbols[i] = tok->byte_fallback[i] = TOK_NONE;
    /* Text that is never NULL, also when all tokens are empty. */
    if (!vec_reserve(NULL, &b->text, 1) || !vec_push(NULL, &b->starts, 0) ||
        !words_alloc(b, (size_t)tok->vocab_count + 256))
        return out_of_memory(b->report);
    for (uint32_t id = 0; id < tok->vocab_count; id++) {
        struct gguf_string s = tokens->of.array.strings[id];
        bool memory = true;
        bool mergeable = is_mergeable(tok, id);
        if (tok->sentencepiece && tok->types[id] == TOK_BYTE) {
            int byte = byte_token_value(s.data, s.bytes);
            if (byte < 0)
                return err_set(b->report, ERR_INVALID,
                               "Token %u is a byte token, but its text is not like <0x0A>", id);
            char one = (char)byte;
            memory = append_raw(b, &one, 1);
            tok->byte_fallback[byte] = id;
        } else if (!mergeable) {
            memory = append_raw(b, s.data, s.bytes);
        } else if (tok->sentencepiece) {
            memory = append_unescaped(b, s.data, s.bytes);
        } else if (!append_spelled(b, &alphabet, s.data, s.bytes, &memory) && memory) {
            memory = append_raw(b, s.data, s.bytes);
            mergeable = false; /* written outside the byte alphabet: no bytes lead to it */
        }
        if (!memory || !end_symbol(b))
            return out_of_memory(b->report);
        if (mergeable)
            (void)add_word(b, id);
    }

    /* Mergeable tokens win over user-defined ones with the same bytes. */
    for (uint32_t id = 0; id < tok->vocab_count; id++)
        if (tok->types[id] == TOK_USER_DEFINED)
            (void)add_word(b, id);
    for (unsigned byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        if (tok->sentencepiece) {
            tok->byte_symbols[byte] = byte < 0x80 ? tok_find_word(tok, &one, 1) : TOK_NONE;
            continue;
        }
        if (!append_raw(b, &one, 1))
            return out_of_memory(b->report);
        tok->byte_symbols[byte] = intern(b);
        if (tok->byte_symbols[byte] == TOK_NONE)
            return out_of_memory(b->report);
    }
    return ERR_OK;
}

static enum err read_merges(struct builder *b)
{
    struct tok *tok = b->tok;
    const struct gguf_value *merges = find_array(b->file, "tokenizer.ggml.merges", GGUF_STRING);
    struct alphabet alphabet;
    alphabet_init(&alphabet);

    if (!merges)
        return err_set(b->report, ERR_INVALID,
                       "The file has no tokenizer.ggml.merges (an array of strings), which a "
                       "byte-level BPE vocabulary needs");
    if (merges->of.array.count > MERGES_MAX)
        return err_set(b->report, ERR_LIMIT, "%llu merges are more than %u",
                       (unsigned long long)merges->of.array.count, MERGES_MAX);
    if (!pairs_alloc(tok, (size_t)merges->of.array.count))
        return out_of_memory(b->report);
    for (uint32_t rank = 0; rank < merges->of.array.count; rank++) {
        struct gguf_string s = merges->of.array.strings[rank];
        const char *space = s.bytes > 1 ? memchr(s.data + 1, ' ', s.bytes - 1) : NULL;
        uint32_t part[3];
        if (!space)
            return err_set(b->report, ERR_INVALID,
                           "Merge %u is not two texts with a space between them", rank);
        size_t left = (size_t)(space - s.data);
        struct gguf_string sides[2] = {{s.data, left}, {space + 1, s.bytes - left - 1}};
        bool known = true;
        for (int side = 0; side < 3 && known; side++) {
            bool memory = true;
            for (int i = 0; i < 2 && known; i++)
                if (side == 2 || side == i)
                    known = append_spelled(b, &alphabet, sides[i].data, sides[i].bytes, &memory);
            if (!memory)
                return out_of_memory(b->report);
            if (!known || b->text.count == b->starts.items[b->starts.count - 1] ||
                b->text.count - b->starts.items[b->starts.count - 1] > TOK_TEXT_BYTES_MAX) {
                b->text.count = b->starts.items[b->starts.count - 1];
                known = false;
                break;
            }
            part[side] = intern(b);
            if (part[side] == TOK_NONE)
                return out_of_memory(b->report);
        }
        /* Texts outside the byte alphabet never arise from bytes: such merges cannot happen. */
        if (known)
            add_pair(tok, part[0], part[1], rank, part[2]);
    }
    return ERR_OK;
}

/* ---- SentencePiece: scores to pairs ---- */

static int by_score(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return x > y ? -1 : x < y ? 1 : 0;
}

/* 0 for the highest score; equal scores have equal ranks. */
static uint32_t score_rank(const float *sorted, size_t count, float score)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (sorted[middle] > score)
            low = middle + 1;
        else
            count = middle;
    }
    return (uint32_t)low;
}

/* Every way to write a token as two symbols is a merge; the token's score ranks it. A symbol is a
 * token or a single character. */
static enum err read_scores(struct builder *b)
{
    struct tok *tok = b->tok;
    const struct gguf_value *value = find_array(b->file, "tokenizer.ggml.scores", GGUF_F32);
    enum err err = ERR_OK;
    struct {
        struct tok_pair *items;
        size_t count, capacity;
    } pairs = {0};

    if (!value || value->of.array.count != tok->vocab_count)
        return err_set(b->report, ERR_INVALID,
                       "tokenizer.ggml.scores must be %u floats, one per token", tok->vocab_count);
    float *sorted = mem_calloc(NULL, tok->vocab_count, sizeof *sorted);
    if (!sorted)
        return out_of_memory(b->report);
    for (uint32_t id = 0; id < tok->vocab_count; id++) {
        memcpy(&sorted[id], value->of.array.data + (size_t)id * 4, 4);
        if (!(sorted[id] > -1e30f && sorted[id] < 1e30f))
            sorted[id] = -1e30f;
    }
    qsort(sorted, tok->vocab_count, sizeof *sorted, by_score);

    tok->splits_at_spaces = true;
    for (uint32_t id = 0; id < tok->vocab_count && err == ERR_OK; id++) {
        const char *data = tok->text + tok->starts[id];
        size_t bytes = tok_symbol_bytes(tok, id);
        if ((!is_mergeable(tok, id) && tok->types[id] != TOK_USER_DEFINED) ||
            tok_find_word(tok, data, bytes) != id)
            continue;
        for (size_t i = 1; i < bytes; i++)
            if (data[i] == ' ' && data[i - 1] != ' ')
                tok->splits_at_spaces = false;
        float score;
        memcpy(&score, value->of.array.data + (size_t)id * 4, 4);
        uint32_t rank = score_rank(sorted, tok->vocab_count, score);
        for (size_t cut = 1; cut < bytes && err == ERR_OK; cut++) {
            if (((unsigned char)data[cut] & 0xC0) == 0x80)
                continue;
            uint32_t left = tok_find_word(tok, data, cut);
            uint32_t right = tok_find_word(tok, data + cut, bytes - cut);
            if (left != TOK_NONE && right != TOK_NONE &&
                !vec_push(NULL, &pairs, (struct tok_pair){left, right, rank, id}))
                err = out_of_memory(b->report);
        }
    }
    if (err == ERR_OK && !pairs_alloc(tok, pairs.count))
        err = out_of_memory(b->report);
    for (size_t i = 0; i < pairs.count && err == ERR_OK; i++)
        add_pair(tok, pairs.items[i].left, pairs.items[i].right, pairs.items[i].rank,
                 pairs.items[i].merged);
    vec_free(NULL, &pairs);
    mem_free(NULL, sorted);
    return err;
}

/* ---- special tokens ---- */

static enum err build_trie(struct builder *b)
{
    struct tok *tok = b->tok;
    struct {
        struct tok_trie_node *items;
        size_t count, capacity;
    } trie = {0};
    struct {
        uint32_t *items;
        size_t count, capacity;
    } specials = {0};
    bool ok = vec_push(NULL, &trie, (struct tok_trie_node){.id = TOK_NONE});

    for (uint32_t id = 0; id < tok->vocab_count && ok; id++) {
        const char *data = tok->text + tok->starts[id];
        size_t bytes = tok_symbol_bytes(tok, id);
        if (tok_is_special(tok, id))
            ok = vec_push(NULL, &specials, id);
        if ((!tok_is_special(tok, id) && tok->types[id] != TOK_UNKNOWN) || bytes == 0 ||
            bytes > TOK_TEXT_BYTES_MAX)
            continue;
        uint32_t node = 0;
        for (size_t i = 0; i < bytes && ok; i++) {
            unsigned char byte = (unsigned char)data[i];
            uint32_t *link = node == 0 ? &tok->trie_first[byte] : &trie.items[node].child;
            while (*link && trie.items[*link].byte != byte)
                link = &trie.items[*link].sibling;
            if (!*link) {
                uint32_t made = (uint32_t)trie.count;
                *link = made;
                ok = vec_push(NULL, &trie, (struct tok_trie_node){.id = TOK_NONE, .byte = byte});
                node = made;
            } else {
                node = *link;
            }
        }
        if (ok && trie.items[node].id == TOK_NONE)
            trie.items[node].id = id;
    }
    tok->trie = trie.items;
    tok->trie_count = trie.count;
    tok->specials = specials.items;
    tok->special_count = specials.count;
    return ok ? ERR_OK : out_of_memory(b->report);
}

uint32_t tok_match_special(const struct tok *tok, const char *data, size_t bytes,
                           bool parse_controls, size_t *length)
{
    uint32_t best = TOK_NONE;
    if (bytes == 0)
        return TOK_NONE;
    uint32_t node = tok->trie_first[(unsigned char)data[0]];
    for (size_t at = 1; node; at++) {
        uint32_t id = tok->trie[node].id;
        if (id != TOK_NONE && (parse_controls || tok->types[id] == TOK_USER_DEFINED)) {
            best = id;
            *length = at;
        }
        if (at == bytes)
            break;
        node = tok->trie[node].child;
        while (node && tok->trie[node].byte != (unsigned char)data[at])
            node = tok->trie[node].sibling;
    }
    return best;
}

static uint32_t special_id(const struct builder *b, const char *key, uint32_t otherwise)
{
    uint32_t id = otherwise;
    (void)gguf_get_u32(b->file, key, &id);
    return id < b->tok->vocab_count ? id : TOK_NONE;
}

static void read_special_ids(struct builder *b)
{
    struct tok *tok = b->tok;
    bool spm = tok->sentencepiece;
    tok->bos = special_id(b, "tokenizer.ggml.bos_token_id", spm ? 1 : TOK_NONE);
    tok->eos = special_id(b, "tokenizer.ggml.eos_token_id", spm ? 2 : TOK_NONE);
    tok->unknown = special_id(b, "tokenizer.ggml.unknown_token_id", spm ? 0 : TOK_NONE);
    tok->eot = special_id(b, "tokenizer.ggml.eot_token_id", TOK_NONE);
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends && tok->eot == TOK_NONE; i++)
        tok->eot = tok_find_special(tok, turn_ends[i], strlen(turn_ends[i]));
    tok->adds_bos = spm || tok->pre->add_bos;
    tok->space_prefix = spm;
    (void)gguf_get_bool(b->file, "tokenizer.ggml.add_bos_token", &tok->adds_bos);
    (void)gguf_get_bool(b->file, "tokenizer.ggml.add_eos_token", &tok->adds_eos);
    if (spm)
        (void)gguf_get_bool(b->file, "tokenizer.ggml.add_space_prefix", &tok->space_prefix);
    (void)gguf_get_bool(b->file, "pie.tokenizer.space_once", &tok->space_once);
    /* Phi-3's SentencePiece vocabulary says `rstrip` for its turn tokens; GGUF has no place for
     * that, its architecture is the only sign. */
    struct gguf_string arch;
    tok->strips_after_specials =
        spm && gguf_get_string(b->file, "general.architecture", &arch) && has_text(arch, "phi3");
}

static enum err build(struct builder *b)
{
    struct tok *tok = b->tok;
    struct gguf_string model, pre = {"default", 7};
    const struct gguf_value *tokens;
    enum err err;

    if (!gguf_get_string(b->file, "tokenizer.ggml.model", &model))
        return err_set(b->report, ERR_INVALID, "The file has no tokenizer (tokenizer.ggml.model)");
    tok->sentencepiece = has_text(model, "llama");
    if (!tok->sentencepiece && !has_text(model, "gpt2"))
        return err_set(b->report, ERR_UNSUPPORTED,
                       "Tokenizer model \"%.*s\" is not supported; gpt2 (byte-level BPE) and llama "
                       "(SentencePiece BPE) are",
                       (int)(model.bytes < 40 ? model.bytes : 40), model.data);
    if (!tok->sentencepiece) {
        (void)gguf_get_string(b->file, "tokenizer.ggml.pre", &pre);
        tok->pre = tok_pre_find(pre.data, pre.bytes);
        if (!tok->pre)
            return err_set(b->report, ERR_UNSUPPORTED,
                           "Pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not supported",
                           (int)(pre.bytes < 40 ? pre.bytes : 40), pre.data);
    }
    tokens = find_array(b->file, "tokenizer.ggml.tokens", GGUF_STRING);
    if (!tokens || tokens->of.array.count == 0)
        return err_set(b->report, ERR_INVALID,
                       "The file has no tokenizer.ggml.tokens (an array of strings)");
    if (tokens->of.array.count > VOCAB_MAX)
        return err_set(b->report, ERR_LIMIT, "A vocabulary of %llu tokens is larger than %u",
                       (unsigned long long)tokens->of.array.count, VOCAB_MAX);
    tok->vocab_count = (uint32_t)tokens->of.array.count;

    if ((err = read_types(b)) != ERR_OK || (err = read_tokens(b)) != ERR_OK ||
        (err = tok->sentencepiece ? read_scores(b) : read_merges(b)) != ERR_OK)
        return err;
    sync_builder(b); /* merges that led to no symbol may have moved the text */
    if ((err = build_trie(b)) != ERR_OK)
        return err;
    read_special_ids(b);
    return ERR_OK;
}

enum err tok_create_from_gguf(const struct gguf *file, struct tok **out, struct report *report)
{
    struct builder b = {.file = file, .report = report};
    b.tok = mem_calloc(NULL, 1, sizeof *b.tok);
    if (!b.tok)
        return out_of_memory(report);
    enum err err = build(&b);
    b.tok->text = b.text.items;
    b.tok->starts = b.starts.items;
    if (err != ERR_OK) {
        tok_destroy(b.tok);
        return err;
    }
    *out = b.tok;
    return ERR_OK;
}

void tok_destroy(struct tok *tok)
{
    if (!tok)
        return;
    mem_free(NULL, tok->text);
    mem_free(NULL, tok->starts);
    mem_free(NULL, tok->types);
    mem_free(NULL, tok->whole);
    mem_free(NULL, tok->specials);
    mem_free(NULL, tok->words);
    mem_free(NULL, tok->pairs);
    mem_free(NULL, tok->trie);
    mem_free(NULL, tok);
}

/* ---- questions ---- */

bool tok_token_bytes(const struct tok *tok, uint32_t id, const char **data, size_t *bytes)
{
    if (id >= tok->vocab_count)
        return false;
    *data = tok->text + tok->starts[id];
    *bytes = tok_symbol_bytes(tok, id);
    return true;
}

uint32_t tok_vocab_count(const struct tok *tok)
{
    return tok->vocab_count;
}

enum tok_type tok_type(const struct tok *tok, uint32_t id)
{
    return id < tok->vocab_count ? (enum tok_type)tok->types[id] : TOK_UNUSED;
}

bool tok_is_special(const struct tok *tok, uint32_t id)
{
    enum tok_type type = tok_type(tok, id);
    return type == TOK_CONTROL || type == TOK_USER_DEFINED;
}

const uint32_t *tok_specials(const struct tok *tok, size_t *count)
{
    *count = tok->special_count;
    return tok->specials;
}

uint32_t tok_find_special(const struct tok *tok, const char *text, size_t bytes)
{
    size_t length = 0;
    uint32_t id = tok_match_special(tok, text, bytes, true, &length);
    return id != TOK_NONE && length == bytes && tok_is_special(tok, id) ? id : TOK_NONE;
}

uint32_t tok_find(const struct tok *tok, const char *text, size_t bytes)
{
    uint32_t id = tok_find_special(tok, text, bytes);
    if (id != TOK_NONE || bytes == 0)
        return id;
    id = tok_find_word(tok, text, bytes);
    if (id != TOK_NONE && id < tok->vocab_count)
        return id;
    return bytes == 1 ? tok->byte_fallback[(unsigned char)text[0]] : TOK_NONE;
}

uint32_t tok_bos(const struct tok *tok)
{
    return tok->bos;
}

uint32_t tok_eos(const struct tok *tok)
{
    return tok->eos;
}

uint32_t tok_eot(const struct tok *tok)
{
    return tok->eot;
}

uint32_t tok_unknown(const struct tok *tok)
{
    return tok->unknown;
}

bool tok_adds_bos(const struct tok *tok)
{
    return tok->adds_bos && tok->bos != TOK_NONE;
}

bool tok_adds_eos(const struct tok *tok)
{
    return tok->adds_eos && tok->eos != TOK_NONE;
}

bool tok_is_sentencepiece(const struct tok *tok)
{
    return tok->sentencepiece;
}

bool tok_adds_space(const struct tok *tok)
{
    return tok->space_prefix;
}

const char *tok_split_regex(const struct tok *tok)
{
    return tok->pre ? tok_split_expression(tok->pre->split) : "";
}

const char *tok_pre_name(const struct tok *tok)
{
    return tok->pre ? tok->pre->name : "spm";
}

void tok_ids_deinit(struct tok_ids *ids)
{
    vec_free(ids->heap, ids);
}

bool tok_ids_push(struct tok_ids *ids, uint32_t id)
{
    return vec_push(ids->heap, ids, id);
}
