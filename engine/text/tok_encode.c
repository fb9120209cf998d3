#define _GNU_SOURCE /* memmem */
/* Text to ids: special tokens are cut out first, what is between them is split into words, words
 * merge from single characters upwards. */
#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/text/tok_impl.h"

/* Words of at most this many symbols merge in arrays on the stack, by repeated search for the best
 * pair (quadratic, but short); longer ones by a heap. */
#define SHORT_SYMBOLS 48

#define TEXT_BYTES_MAX ((size_t)1 << 31)

/* One encoding under way. */
struct encoder {
    const struct tok *tok;
    struct tok_ids *ids;
    struct { /* memory for long words, kept between them */
        struct node *items;
        size_t count, capacity;
    } nodes;
    struct {
        uint64_t *items;
        size_t count, capacity;
    } heap;
};

/* A symbol of a long word; the list is linked by indices, TOK_NONE ends it. */
struct node {
    uint32_t id; /* NODE_GONE: merged into its left neighbour */
    uint32_t at; /* offset in the word */
    uint32_t prev, next;
};

#define NODE_GONE (TOK_NONE - 1)

static bool push_bytes(struct encoder *e, const char *data, size_t bytes)
{
    const struct tok *tok = e->tok;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)data[i];
        uint32_t id = tok->sentencepiece ? tok->byte_fallback[byte] : tok->byte_symbols[byte];
        if (id >= tok->vocab_count && tok->sentencepiece)
            id = tok->unknown;
        if (id < tok->vocab_count && !tok_ids_push(e->ids, id))
            return false;
    }
    return true;
}

/* A merged symbol whose bytes are data[0, bytes). */
static bool push_symbol(struct encoder *e, uint32_t id, const char *data, size_t bytes)
{
    if (id < e->tok->vocab_count)
        return tok_ids_push(e->ids, id);
    return push_bytes(e, data, bytes);
}

/* The first symbol of data[at, bytes), its length in *length. */
static inline uint32_t first_symbol(const struct tok *tok, const char *data, size_t bytes,
                                    size_t at, size_t *length)
{
    unsigned char byte = (unsigned char)data[at];
    *length = 1;
    if (!tok->sentencepiece || byte < 0x80)
        return tok->byte_symbols[byte];
    size_t sequence = utf8_sequence_bytes(data + at, bytes - at);
    if (sequence == 0)
        return TOK_NONE;
    *length = sequence;
    return tok_find_word(tok, data + at, sequence);
}

static inline uint32_t pair_rank(const struct tok *tok, uint32_t left, uint32_t right,
                                 uint32_t *merged)
{
    const struct tok_pair *pair = tok_find_pair(tok, left, right);
    if (!pair)
        return TOK_NONE;
    *merged = pair->merged;
    return pair->rank;
}

struct short_word {
    uint32_t ids[SHORT_SYMBOLS + 1];
    uint32_t ranks[SHORT_SYMBOLS + 1];  /* of (i, i + 1); TOK_NONE: no merge */
    uint32_t merged[SHORT_SYMBOLS + 1]; /* what that pair becomes */
    uint16_t ends[SHORT_SYMBOLS + 1];
    size_t count;
};

/* Merges data[0, bytes); false when it has too many symbols for the arrays. */
static bool merge_short(const struct tok *tok, const char *data, size_t bytes,
                        struct short_word *word)
{
    size_t count = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        if (count == SHORT_SYMBOLS)
            return false;
        word->ids[count] = first_symbol(tok, data, bytes, at, &length);
        word->ends[count++] = (uint16_t)(at + length);
    }
    for (size_t i = 0; i + 1 < count; i++)
        word->ranks[i] = pair_rank(tok, word->ids[i], word->ids[i + 1], &word->merged[i]);
    for (;;) {
        size_t best = 0;
        uint32_t rank = TOK_NONE;
        for (size_t i = 0; i + 1 < count; i++) {
            if (word->ranks[i] < rank) {
                rank = word->ranks[i];
                best = i;
            }
        }
        if (rank == TOK_NONE)
            break;
        word->ids[best] = word->merged[best];
        word->ends[best] = word->ends[best + 1];
        count--;
        for (size_t i = best + 1; i < count; i++) {
            word->ids[i] = word->ids[i + 1];
            word->ends[i] = word->ends[i + 1];
            word->ranks[i] = word->ranks[i + 1];
            word->merged[i] = word->merged[i + 1];
        }
        if (best > 0)
            word->ranks[best - 1] =
                pair_rank(tok, word->ids[best - 1], word->ids[best], &word->merged[best - 1]);
        if (best + 1 < count)
            word->ranks[best] =
                pair_rank(tok, word->ids[best], word->ids[best + 1], &word->merged[best]);
    }
    word->count = count;
    return true;
}

/* ---- long words: a binary heap of (rank, left node); entries that no longer hold are skipped */

static void heap_down(uint64_t *heap, size_t count, size_t at)
{
    uint64_t value = heap[at];
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= value)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
}

static bool heap_push(struct encoder *e, uint32_t rank, uint32_t node)
{
    if (!vec_push(NULL, &e->heap, (uint64_t)rank << 32 | node))
        return false;
    uint64_t *heap = e->heap.items;
    size_t at = e->heap.count - 1;
    uint64_t value = heap[at];
    while (at > 0 && heap[(at - 1) / 2] > value) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = value;
    return true;
}

static bool push_pair(struct encoder *e, uint32_t left)
{
    const struct node *nodes = e->nodes.items;
    uint32_t merged;
    if (left == TOK_NONE || nodes[left].next == TOK_NONE)
        return true;
    uint32_t rank = pair_rank(e->tok, nodes[left].id, nodes[nodes[left].next].id, &merged);
    return rank == TOK_NONE || heap_push(e, rank, left);
}

static bool encode_long(struct encoder *e, const char *data, size_t bytes)
{
    const struct tok *tok = e->tok;
    e->nodes.count = e->heap.count = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        uint32_t id = first_symbol(tok, data, bytes, at, &length);
        uint32_t index = (uint32_t)e->nodes.count;
        if (!vec_push(NULL, &e->nodes,
                      (struct node){id, (uint32_t)at, index ? index - 1 : TOK_NONE, index + 1}))
            return false;
    }
    struct node *nodes = e->nodes.items;
    nodes[e->nodes.count - 1].next = TOK_NONE;
    for (uint32_t i = 0; i + 1 < e->nodes.count; i++) {
        uint32_t merged;
        uint32_t rank = pair_rank(tok, nodes[i].id, nodes[i + 1].id, &merged);
        if (rank != TOK_NONE && !vec_push(NULL, &e->heap, (uint64_t)rank << 32 | i))
            return false;
    }
    for (size_t i = e->heap.count / 2; i-- > 0;)
        heap_down(e->heap.items, e->heap.count, i);

    while (e->heap.count > 0) {
        uint64_t top = e->heap.items[0];
        uint32_t left = (uint32_t)top;
        uint32_t merged = 0;
        e->heap.items[0] = e->heap.items[--e->heap.count];
        if (e->heap.count > 0)
            heap_down(e->heap.items, e->heap.count, 0);
        if (nodes[left].id == NODE_GONE || nodes[left].next == TOK_NONE)
            continue;
        uint32_t right = nodes[left].next;
        if (pair_rank(tok, nodes[left].id, nodes[right].id, &merged) != top >> 32)
            continue;
        nodes[left].id = merged;
        nodes[left].next = nodes[right].next;
        nodes[right].id = NODE_GONE;
        if (nodes[left].next != TOK_NONE)
            nodes[nodes[left].next].prev = left;
        if (!push_pair(e, nodes[left].prev) || !push_pair(e, left))
            return false;
    }
    for (uint32_t i = 0; i != TOK_NONE; i = nodes[i].next) {
        size_t end = nodes[i].next == TOK_NONE ? bytes : nodes[nodes[i].next].at;
        if (!push_symbol(e, nodes[i].id, data + nodes[i].at, end - nodes[i].at))
            return false;
    }
    return true;
}

/* Whether the token's own bytes merge to it, so that a word of these bytes is this token. */
static bool is_whole(const struct tok *tok, uint32_t id, const char *data, size_t bytes)
{
    uint8_t known = __atomic_load_n(&tok->whole[id], __ATOMIC_RELAXED);
    if (known == TOK_WHOLE_UNASKED) {
        struct short_word word;
        bool whole = merge_short(tok, data, bytes, &word) && word.count == 1 && word.ids[0] == id;
        known = whole ? TOK_WHOLE_YES : TOK_WHOLE_NO;
        __atomic_store_n(&tok->whole[id], known, __ATOMIC_RELAXED);
    }
    return known == TOK_WHOLE_YES;
}

static bool encode_word(struct encoder *e, const char *data, size_t bytes)
{
    const struct tok *tok = e->tok;
    struct short_word word;
    if (bytes <= TOK_TEXT_BYTES_MAX) {
        uint32_t id = tok_find_word(tok, data, bytes);
        if (id < tok->vocab_count &&
            ((tok->pre && tok->pre->ignore_merges) || is_whole(tok, id, data, bytes)))
            return tok_ids_push(e->ids, id);
        if (merge_short(tok, data, bytes, &word)) {
            size_t from = 0;
            for (size_t i = 0; i < word.count; i++) {
                if (!push_symbol(e, word.ids[i], data + from, word.ends[i] - from))
                    return false;
                from = word.ends[i];
            }
            return true;
        }
    }
    return encode_long(e, data, bytes);
}

static bool encode_piece(void *user, const char *text, size_t from, size_t to)
{
    return encode_word(user, text + from, to - from);
}

/* SentencePiece text, spaces already spaces. */
static bool encode_spaced(struct encoder *e, const char *text, size_t bytes)
{
    size_t from = 0;
    if (!e->tok->splits_at_spaces)
        return encode_word(e, text, bytes);
    for (size_t at = 1; at <= bytes; at++) {
        if (at == bytes || (text[at] == ' ' && text[at - 1] != ' ')) {
            if (!encode_word(e, text + from, at - from))
                return false;
            from = at;
        }
    }
    return true;
}

/* "▁" in a text is a space to SentencePiece, and one space comes in front when asked for. */
static bool encode_sentence(struct encoder *e, const char *text, size_t bytes, bool prefix)
{
    static const char mark[3] = {'\xE2', '\x96', '\x81'};
    if (!prefix && !memmem(text, bytes, mark, 3))
        return encode_spaced(e, text, bytes);
    char *copy = mem_alloc(NULL, bytes + 1);
    size_t count = 0;
    if (!copy)
        return false;
    if (prefix)
        copy[count++] = ' ';
    for (size_t i = 0; i < bytes;) {
        bool is_mark = bytes - i >= 3 && memcmp(text + i, mark, 3) == 0;
        copy[count++] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    bool ok = encode_spaced(e, copy, count);
    mem_free(NULL, copy);
    return ok;
}

static bool encode_fragment(struct encoder *e, const char *text, size_t bytes, bool after_special)
{
    const struct tok *tok = e->tok;
    if (bytes == 0)
        return true;
    if (tok->sentencepiece)
        return encode_sentence(e, text, bytes,
                               tok->space_prefix && after_special &&
                                   !(tok->space_once && bytes > 0 && text[0] == ' '));
    return tok_split_run(tok->pre->split, text, bytes, encode_piece, e);
}

static bool is_strippable(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool encode_all(struct encoder *e, const char *text, size_t bytes, unsigned flags)
{
    const struct tok *tok = e->tok;
    bool controls = flags & TOK_PARSE_SPECIALS;
    bool after_special = true;
    size_t from = 0;
    size_t at = 0;

    if ((flags & TOK_ADD_SPECIALS) && tok_adds_bos(tok) && !tok_ids_push(e->ids, tok->bos))
        return false;
    while (at < bytes) {
        size_t length = 0;
        uint32_t id = TOK_NONE;
        if (tok->trie_first[(unsigned char)text[at]])
            id = tok_match_special(tok, text + at, bytes - at, controls, &length);
        if (id == TOK_NONE) {
            at++;
            continue;
        }
        if (at > from) {
            if (!encode_fragment(e, text + from, at - from, after_special))
                return false;
        }
        if (!tok_ids_push(e->ids, id))
            return false;
        after_special = true;
        at += length;
        if (tok->strips_after_specials && tok->types[id] == TOK_CONTROL && id != tok->bos)
            while (at < bytes && is_strippable(text[at]))
                at++;
        from = at;
    }
    if (!encode_fragment(e, text + from, bytes - from, after_special))
        return false;
    return !((flags & TOK_ADD_SPECIALS) && tok_adds_eos(tok)) || tok_ids_push(e->ids, tok->eos);
}

enum err tok_encode(const struct tok *tok, const char *text, size_t bytes, unsigned flags,
                    struct tok_ids *ids, struct report *report)
{
    struct encoder e = {.tok = tok, .ids = ids};
    size_t before = ids->count;
    if (bytes >= TEXT_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "A text of %zu bytes is too long to tokenize at once",
                       bytes);
    bool ok = encode_all(&e, text, bytes, flags);
    vec_free(NULL, &e.nodes);
    vec_free(NULL, &e.heap);
    if (!ok) {
        ids->count = before;
        return err_set(report, ERR_MEMORY, "Out of memory while tokenizing %zu bytes", bytes);
    }
    return ERR_OK;
}
