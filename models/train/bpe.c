/* Invariants: tokens[0..256) are the single bytes; tokens[256 + i] is the bytes of merges[i].left
 * and .right, both smaller ids; then the specials. `sorted` holds the merges by (left, right). */
#include "models/train/bpe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/arena.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"

struct merge {
    uint32_t left, right, id;
};

struct token {
    const char *data;
    size_t bytes;
};

struct piece {
    size_t count;
    uint32_t ids[];
};

struct train_bpe {
    struct arena arena; /* token bytes, pieces */
    struct map pieces;  /* text of a piece to struct piece */
    struct {
        struct token *items;
        size_t count, capacity;
    } tokens;
    struct {
        struct merge *items;
        size_t count, capacity;
    } merges;
    struct merge *sorted;
    const char *const *specials;
    size_t special_count;
};

/* ---- pieces ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_other(char c)
{
    return !is_letter(c) && !is_digit(c) && !is_space(c);
}

static size_t run(const char *text, size_t bytes, size_t at, bool (*in)(char))
{
    size_t begin = at;
    while (at < bytes && in(text[at]))
        at++;
    return at - begin;
}

/* The length of the first piece of a non-empty text. */
static size_t piece_bytes(const char *text, size_t bytes)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t length = strlen(endings[i]);
        if (bytes >= length && memcmp(text, endings[i], length) == 0)
            return length;
    }
    size_t lead = text[0] == ' ' && bytes > 1;
    bool (*const kinds[])(char) = {is_letter, is_digit, is_other};
    for (size_t i = 0; i < 3; i++) {
        size_t length = run(text, bytes, lead, kinds[i]);
        if (length)
            return lead + length;
    }
    size_t spaces = run(text, bytes, 0, is_space);
    /* Before a word the last space is left: it may begin the next piece. */
    return spaces < bytes && spaces > 1 ? spaces - 1 : spaces;
}

/* The special that begins here, or SIZE_MAX. */
static size_t special_at(const struct train_bpe *bpe, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bpe->special_count; i++) {
        size_t length = strlen(bpe->specials[i]);
        if (bytes >= length && memcmp(text, bpe->specials[i], length) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* Bytes until the next special or the end. */
static size_t plain_bytes(const struct train_bpe *bpe, const char *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes && special_at(bpe, text + at, bytes - at) == SIZE_MAX)
        at++;
    return at;
}

/* ---- learning ---- */

struct word {
    uint64_t count;
    uint32_t *ids;
    size_t length;
};

struct candidate {
    uint32_t left, right;
    int64_t count;
};

struct learner {
    struct arena arena;
    struct map word_index; /* text to struct word */
    struct map pair_index; /* (left, right) to struct candidate */
    struct {
        struct word **items;
        size_t count, capacity;
    } words;
    struct {
        struct candidate **items;
        size_t count, capacity;
    } candidates;
};

static bool count_word(struct learner *learner, const char *text, size_t bytes)
{
    struct word *word = map_find(&learner->word_index, text, bytes);
    if (!word) {
        word = arena_calloc(&learner->arena, 1, sizeof *word);
        uint32_t *ids = arena_alloc(&learner->arena, bytes * sizeof *ids);
        if (!word || !ids || !map_set(&learner->word_index, text, bytes, word) ||
            !vec_push(NULL, &learner->words, word))
            return false;
        for (size_t i = 0; i < bytes; i++)
            ids[i] = (uint8_t)text[i];
        word->ids = ids;
        word->length = bytes;
    }
    word->count++;
    return true;
}

static bool count_pair(struct learner *learner, uint32_t left, uint32_t right, int64_t count)
{
    uint32_t key[2] = {left, right};
    struct candidate *candidate = map_find(&learner->pair_index, key, sizeof key);
    if (!candidate) {
        candidate = arena_calloc(&learner->arena, 1, sizeof *candidate);
        if (!candidate || !map_set(&learner->pair_index, key, sizeof key, candidate) ||
            !vec_push(NULL, &learner->candidates, candidate))
            return false;
        candidate->left = left;
        candidate->right = right;
    }
    candidate->count += count;
    return true;
}

static bool count_pairs(struct learner *learner, const struct word *word, int64_t sign)
{
    for (size_t i = 0; i + 1 < word->length; i++)
        if (!count_pair(learner, word->ids[i], word->ids[i + 1], sign * (int64_t)word->count))
            return false;
    return true;
}

/* The pair that occurs most, at least twice; NULL when there is none. */
static const struct candidate *best_pair(const struct learner *learner)
{
    const struct candidate *best = NULL;
    for (size_t i = 0; i < learner->candidates.count; i++) {
        const struct candidate *c = learner->candidates.items[i];
        if (c->count < 2)
            continue;
        if (!best || c->count > best->count ||
            (c->count == best->count &&
             (c->left < best->left || (c->left == best->left && c->right < best->right))))
            best = c;
    }
    return best;
}

static bool holds_pair(const struct word *word, uint32_t left, uint32_t right)
{
    for (size_t i = 0; i + 1 < word->length; i++)
        if (word->ids[i] == left && word->ids[i + 1] == right)
            return true;
    return false;
}

static size_t replace_pair(uint32_t *ids, size_t length, uint32_t left, uint32_t right, uint32_t id)
{
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        bool joins = i + 1 < length && ids[i] == left && ids[i + 1] == right;
        ids[out++] = joins ? id : ids[i];
        i += joins;
    }
    return out;
}

static bool add_token(struct train_bpe *bpe, const char *left, size_t left_bytes, const char *right,
                      size_t right_bytes)
{
    char *data = arena_alloc(&bpe->arena, left_bytes + right_bytes);
    if (!data)
        return false;
    memcpy(data, left, left_bytes);
    if (right_bytes)
        memcpy(data + left_bytes, right, right_bytes);
    return vec_push(NULL, &bpe->tokens, (struct token){data, left_bytes + right_bytes});
}

static bool learn_merge(struct train_bpe *bpe, struct learner *learner, uint32_t left, uint32_t right)
{
    uint32_t id = (uint32_t)bpe->tokens.count;
    struct token a = bpe->tokens.items[left], b = bpe->tokens.items[right];
    if (!add_token(bpe, a.data, a.bytes, b.data, b.bytes) ||
        !vec_push(NULL, &bpe->merges, (struct merge){left, right, id}))
        return false;
    for (size_t i = 0; i < learner->words.count; i++) {
        struct word *word = learner->words.items[i];
        if (!holds_pair(word, left, right))
            continue;
        if (!count_pairs(learner, word, -1))
            return false;
        word->length = replace_pair(word->ids, word->length, left, right, id);
        if (!count_pairs(learner, word, 1))
            return false;
    }
    return true;
}

static bool learn(struct train_bpe *bpe, struct learner *learner, const char *text, size_t bytes,
                  uint32_t vocab)
{
    for (size_t at = 0; at < bytes;) {
        size_t special = special_at(bpe, text + at, bytes - at);
        if (special != SIZE_MAX) {
            at += strlen(bpe->specials[special]);
            continue;
        }
        for (size_t end = at + plain_bytes(bpe, text + at, bytes - at); at < end;) {
            size_t length = piece_bytes(text + at, end - at);
            if (!count_word(learner, text + at, length))
                return false;
            at += length;
        }
    }
    for (size_t i = 0; i < learner->words.count; i++)
        if (!count_pairs(learner, learner->words.items[i], 1))
            return false;
    for (unsigned byte = 0; byte < 256; byte++)
        if (!add_token(bpe, (char[]){(char)byte}, 1, NULL, 0))
            return false;
    while (bpe->tokens.count + bpe->special_count < vocab) {
        const struct candidate *best = best_pair(learner);
        if (!best)
            break;
        if (!learn_merge(bpe, learner, best->left, best->right))
            return false;
    }
    for (size_t i = 0; i < bpe->special_count; i++)
        if (!add_token(bpe, bpe->specials[i], strlen(bpe->specials[i]), NULL, 0))
            return false;
    return true;
}

static int compare_merges(const void *left, const void *right)
{
    const struct merge *a = left, *b = right;
    if (a->left != b->left)
        return a->left < b->left ? -1 : 1;
    return (a->right > b->right) - (a->right < b->right);
}

enum err train_bpe_create(const char *text, size_t bytes, uint32_t vocab,
                          const char *const *specials, size_t special_count,
                          struct train_bpe **out, struct report *report)
{
    *out = NULL;
    if (vocab < 256 + special_count || vocab > 65536)
        return err_set(report, ERR_INVALID,
                       "a vocabulary of %u tokens cannot be learned: it must hold the 256 bytes and "
                       "%zu special tokens, and at most 65536",
                       vocab, special_count);
    struct train_bpe *bpe = mem_calloc(NULL, 1, sizeof *bpe);
    if (!bpe)
        return err_set(report, ERR_MEMORY, "no memory for a tokenizer");
    arena_init(&bpe->arena, NULL);
    map_init(&bpe->pieces, NULL);
    bpe->specials = specials;
    bpe->special_count = special_count;
    struct learner learner = {0};
    arena_init(&learner.arena, NULL);
    map_init(&learner.word_index, NULL);
    map_init(&learner.pair_index, NULL);
    bool done = learn(bpe, &learner, text, bytes, vocab);
    vec_free(NULL, &learner.words);
    vec_free(NULL, &learner.candidates);
    map_deinit(&learner.word_index);
    map_deinit(&learner.pair_index);
    arena_deinit(&learner.arena);
    if (done) {
        size_t size = bpe->merges.count * sizeof *bpe->sorted;
        bpe->sorted = mem_alloc(NULL, size);
        if (bpe->sorted && size) {
            memcpy(bpe->sorted, bpe->merges.items, size);
            qsort(bpe->sorted, bpe->merges.count, sizeof *bpe->sorted, compare_merges);
        }
    }
    if (!bpe->sorted) {
        train_bpe_destroy(bpe);
        return err_set(report, ERR_MEMORY, "no memory to learn a vocabulary of %u tokens", vocab);
    }
    *out = bpe;
    return ERR_OK;
}

void train_bpe_destroy(struct train_bpe *bpe)
{
    if (!bpe)
        return;
    vec_free(NULL, &bpe->tokens);
    vec_free(NULL, &bpe->merges);
    mem_free(NULL, bpe->sorted);
    map_deinit(&bpe->pieces);
    arena_deinit(&bpe->arena);
    mem_free(NULL, bpe);
}

uint32_t train_bpe_vocab(const struct train_bpe *bpe)
{
    return (uint32_t)bpe->tokens.count;
}

size_t train_bpe_merge_count(const struct train_bpe *bpe)
{
    return bpe->merges.count;
}

void train_bpe_merge(const struct train_bpe *bpe, size_t index, uint32_t *left, uint32_t *right)
{
    *left = bpe->merges.items[index].left;
    *right = bpe->merges.items[index].right;
}

const char *train_bpe_token(const struct train_bpe *bpe, uint32_t id, size_t *bytes)
{
    *bytes = bpe->tokens.items[id].bytes;
    return bpe->tokens.items[id].data;
}

/* ---- encoding ---- */

/* Joins pairs, the earliest learned first, until none is left; pieces are short. */
static size_t join(const struct train_bpe *bpe, uint32_t *ids, size_t length)
{
    for (;;) {
        const struct merge *best = NULL;
        for (size_t i = 0; i + 1 < length; i++) {
            struct merge key = {ids[i], ids[i + 1], 0};
            const struct merge *found = bsearch(&key, bpe->sorted, bpe->merges.count,
                                                sizeof *bpe->sorted, compare_merges);
            if (found && (!best || found->id < best->id))
                best = found;
        }
        if (!best)
            return length;
        length = replace_pair(ids, length, best->left, best->right, best->id);
    }
}

static const struct piece *piece_get(struct train_bpe *bpe, const char *text, size_t bytes)
{
    struct piece *piece = map_find(&bpe->pieces, text, bytes);
    if (piece)
        return piece;
    piece = arena_alloc(&bpe->arena, sizeof *piece + bytes * sizeof piece->ids[0]);
    if (!piece || !map_set(&bpe->pieces, text, bytes, piece))
        return NULL;
    for (size_t i = 0; i < bytes; i++)
        piece->ids[i] = (uint8_t)text[i];
    piece->count = join(bpe, piece->ids, bytes);
    return piece;
}

enum err train_bpe_encode(struct train_bpe *bpe, const char *text, size_t bytes,
                          struct train_ids *ids, struct report *report)
{
    uint32_t first_special = (uint32_t)(bpe->tokens.count - bpe->special_count);
    for (size_t at = 0; at < bytes;) {
        size_t special = special_at(bpe, text + at, bytes - at);
        if (special != SIZE_MAX) {
            if (!vec_push(NULL, ids, first_special + (uint32_t)special))
                goto no_memory;
            at += strlen(bpe->specials[special]);
            continue;
        }
        for (size_t end = at + plain_bytes(bpe, text + at, bytes - at); at < end;) {
            size_t length = piece_bytes(text + at, end - at);
            const struct piece *piece = piece_get(bpe, text + at, length);
            if (!piece || !vec_reserve(NULL, ids, piece->count))
                goto no_memory;
            memcpy(ids->items + ids->count, piece->ids, piece->count * sizeof *ids->items);
            ids->count += piece->count;
            at += length;
        }
    }
    return ERR_OK;
no_memory:
    return err_set(report, ERR_MEMORY, "no memory to encode a text of %zu bytes", bytes);
}
