/* The trie of a vocabulary. */
#include <stdlib.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/grammar/gram_impl.h"
#include "engine/text/tok.h"

#define TOKEN_BYTES_MAX 4096u /* longer ones are left out; it bounds the depth of walks */

struct entry {
    const char *data;
    uint32_t bytes, id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    uint32_t shorter = x->bytes < y->bytes ? x->bytes : y->bytes;
    int order = memcmp(x->data, y->data, shorter);
    if (order)
        return order;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_plain_char(const char *text, size_t bytes)
{
    unsigned char c = (unsigned char)text[0];
    bool separator = bytes == 3 &&
                     (memcmp(text, "\xE2\x80\xA8", 3) == 0 || memcmp(text, "\xE2\x80\xA9", 3) == 0);
    return bytes > 0 && c >= 0x20 && c != '"' && c != '\\' && !separator;
}

/* From which byte on the token is plain characters up to its end: its length when it is not even at
 * the last. A byte inside a character is no start. */
static uint32_t plain_from(const struct entry *entry)
{
    uint32_t from = 0;
    for (uint32_t at = 0; at < entry->bytes;) {
        size_t length = utf8_sequence_bytes(entry->data + at, entry->bytes - at);
        if (length == 0 || !is_plain_char(entry->data + at, length)) {
            from = at + 1;
            at++;
        } else {
            at += (uint32_t)length;
        }
    }
    return from;
}

static uint16_t count_chars(const char *data, size_t bytes)
{
    size_t chars = 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((unsigned char)data[i] & 0xC0) != 0x80;
    return (uint16_t)chars;
}

struct building {
    struct gram_trie *trie;
    struct {
        struct gram_trie_node *items;
        size_t count, capacity;
    } nodes;
    uint32_t path[TOKEN_BYTES_MAX + 1]; /* the open nodes, by depth */
    uint32_t depth;
};

static void close_to(struct building *b, uint32_t depth, uint32_t order)
{
    while (b->depth > depth) {
        struct gram_trie_node *node = &b->nodes.items[b->path[b->depth--]];
        node->end = (uint32_t)b->nodes.count;
        node->last = order;
    }
}

static bool insert(struct building *b, const struct entry *entries, size_t i)
{
    const struct entry *entry = &entries[i];
    uint32_t common = 0;
    if (i > 0)
        while (common < entry->bytes && common < entries[i - 1].bytes &&
               entry->data[common] == entries[i - 1].data[common])
            common++;
    close_to(b, common, (uint32_t)i);
    for (uint32_t at = common; at < entry->bytes; at++) {
        b->path[++b->depth] = (uint32_t)b->nodes.count;
        if (!vec_push(NULL, &b->nodes,
                      (struct gram_trie_node){.byte = (uint8_t)entry->data[at],
                                              .first = (uint32_t)i,
                                              .chars = count_chars(entry->data, at),
                                              .plain = true}))
            return false;
    }
    b->nodes.items[b->path[b->depth]].exact++;
    uint32_t plain = plain_from(entry);
    for (uint32_t depth = 1; depth <= entry->bytes; depth++) {
        struct gram_trie_node *node = &b->nodes.items[b->path[depth]];
        if (depth - 1 < plain || (node->byte & 0xC0) == 0x80)
            node->plain = false;
    }
    b->trie->order[i] = entry->id;
    b->trie->chars[i] = count_chars(entry->data, entry->bytes);
    return true;
}

/* `entries` are sorted. What was made stays in `trie`, also on failure. */
static bool build(struct gram_trie *trie, const struct entry *entries, size_t count)
{
    struct building *b = mem_calloc(NULL, 1, sizeof *b);
    trie->order = mem_calloc(NULL, count + 1, sizeof *trie->order);
    trie->chars = mem_calloc(NULL, count + 1, sizeof *trie->chars);
    trie->order_count = count;
    bool ok = b && trie->order && trie->chars;
    if (ok) {
        b->trie = trie;
        ok = vec_push(NULL, &b->nodes, (struct gram_trie_node){.plain = false});
        for (size_t i = 0; i < count && ok; i++)
            ok = insert(b, entries, i);
        trie->nodes = b->nodes.items;
        trie->node_count = b->nodes.count;
    }
    if (ok) {
        close_to(b, 0, (uint32_t)count);
        trie->nodes[0].end = (uint32_t)trie->node_count;
        trie->nodes[0].last = (uint32_t)count;
        for (size_t n = trie->node_count; n-- > 0;) {
            struct gram_trie_node *node = &trie->nodes[n];
            node->classes = 1ull << gram_byte_class(node->byte);
            for (uint32_t child = (uint32_t)n + 1; child < node->end;
                 child = trie->nodes[child].end)
                node->classes |= trie->nodes[child].classes;
        }
    }
    mem_free(NULL, b);
    return ok;
}

/* Sorts the plain tokens by their lengths, by counting. */
static bool list_plain(struct gram_vocab *vocab, const struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t chars = count_chars(entries[i].data, entries[i].bytes);
        if (chars > vocab->chars_max)
            vocab->chars_max = chars;
    }
    vocab->plain = mem_calloc(NULL, count + 1, sizeof *vocab->plain);
    vocab->plain_counts =
        mem_calloc(NULL, (size_t)vocab->chars_max + 2, sizeof *vocab->plain_counts);
    vocab->plain_bits =
        mem_calloc(NULL, (size_t)vocab->token_count / 64 + 1, sizeof *vocab->plain_bits);
    if (!vocab->plain || !vocab->plain_counts || !vocab->plain_bits)
        return false;
    uint32_t *starts = vocab->plain_counts; /* of the next length up; moved on as tokens go in */
    for (size_t i = 0; i < count; i++)
        if (plain_from(&entries[i]) == 0)
            starts[count_chars(entries[i].data, entries[i].bytes) + 1]++;
    for (uint32_t chars = 1; chars <= vocab->chars_max + 1; chars++)
        starts[chars] += starts[chars - 1];
    for (size_t i = 0; i < count; i++) {
        if (plain_from(&entries[i]) > 0)
            continue;
        vocab->plain[starts[count_chars(entries[i].data, entries[i].bytes)]++] = entries[i].id;
        vocab->plain_bits[entries[i].id / 64] |= 1ull << (entries[i].id % 64);
    }
    return true;
}

static bool copy_text(struct gram_vocab *vocab, const struct entry *entries, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += entries[i].bytes;
    vocab->starts = mem_calloc(NULL, (size_t)vocab->token_count + 1, sizeof *vocab->starts);
    vocab->text = mem_alloc(NULL, bytes + 1);
    if (bytes >= UINT32_MAX || !vocab->starts || !vocab->text)
        return false;
    for (size_t i = 0; i < count; i++) /* lengths first, sums after */
        vocab->starts[entries[i].id] = entries[i].bytes;
    uint32_t sum = 0;
    for (uint32_t id = 0; id <= vocab->token_count; id++) {
        uint32_t length = vocab->starts[id];
        vocab->starts[id] = sum;
        sum += length;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(vocab->text + vocab->starts[entries[i].id], entries[i].data, entries[i].bytes);
    return true;
}

/* Sorts the control tokens from the others, which stay in `entries`. */
static bool take_controls(struct gram_vocab *vocab, const struct tok *tok, struct entry *entries,
                          struct entry *controls, size_t *count)
{
    size_t kept = 0, taken = 0;
    vocab->control_bits =
        mem_calloc(NULL, (size_t)vocab->token_count / 64 + 1, sizeof *vocab->control_bits);
    if (!vocab->control_bits)
        return false;
    for (size_t i = 0; i < *count; i++) {
        uint32_t id = entries[i].id;
        if (tok_type(tok, id) == TOK_CONTROL) {
            vocab->control_bits[id / 64] |= 1ull << (id % 64);
            controls[taken++] = entries[i];
        } else {
            entries[kept++] = entries[i];
        }
    }
    *count = kept;
    return build(&vocab->controls, controls, taken);
}

/* `entries` and `apart` have room for all tokens. */
static bool fill(struct gram_vocab *vocab, const struct tok *tok, struct entry *entries,
                 struct entry *apart)
{
    size_t count = 0, rough = 0, longs = 0;
    for (uint32_t id = 0; id < vocab->token_count; id++) {
        struct entry entry = {.id = id};
        size_t length;
        (void)tok_token_bytes(tok, id, &entry.data, &length);
        if (tok_type(tok, id) == TOK_UNKNOWN || length == 0 || length > TOKEN_BYTES_MAX)
            continue;
        entry.bytes = (uint32_t)length;
        entries[count++] = entry;
    }
    qsort(entries, count, sizeof *entries, by_bytes);
    if (!copy_text(vocab, entries, count) || !take_controls(vocab, tok, entries, apart, &count) ||
        !build(&vocab->all, entries, count) || !list_plain(vocab, entries, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (plain_from(&entries[i]) == 0)
            continue;
        if (count_chars(entries[i].data, entries[i].bytes) > GRAM_SHORT_CHARS)
            apart[longs++] = entries[i];
        else
            entries[rough++] = entries[i];
    }
    return build(&vocab->rough, entries, rough) && build(&vocab->longs, apart, longs);
}

enum err gram_vocab_create(const struct tok *tok, struct gram_vocab **out, struct report *report)
{
    uint32_t count = tok_vocab_count(tok);
    struct gram_vocab *vocab = mem_calloc(NULL, 1, sizeof *vocab);
    struct entry *entries = mem_calloc(NULL, (size_t)count + 1, sizeof *entries);
    struct entry *apart = mem_calloc(NULL, (size_t)count + 1, sizeof *apart);
    bool ok = vocab && entries && apart;
    if (vocab) {
        vocab->refs = 1;
        vocab->token_count = count;
    }
    ok = ok && fill(vocab, tok, entries, apart);
    mem_free(NULL, entries);
    mem_free(NULL, apart);
    if (!ok) {
        gram_vocab_unref(vocab);
        return err_set(report, ERR_MEMORY,
                       "Out of memory while preparing a vocabulary of %u for grammars", count);
    }
    *out = vocab;
    return ERR_OK;
}

struct gram_vocab *gram_vocab_ref(struct gram_vocab *vocab)
{
    __atomic_add_fetch(&vocab->refs, 1, __ATOMIC_RELAXED);
    return vocab;
}

void gram_vocab_unref(struct gram_vocab *vocab)
{
    if (!vocab || __atomic_sub_fetch(&vocab->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    mem_free(NULL, vocab->all.nodes);
    mem_free(NULL, vocab->all.order);
    mem_free(NULL, vocab->all.chars);
    mem_free(NULL, vocab->rough.nodes);
    mem_free(NULL, vocab->rough.order);
    mem_free(NULL, vocab->rough.chars);
    mem_free(NULL, vocab->longs.nodes);
    mem_free(NULL, vocab->longs.order);
    mem_free(NULL, vocab->longs.chars);
    mem_free(NULL, vocab->controls.nodes);
    mem_free(NULL, vocab->controls.order);
    mem_free(NULL, vocab->controls.chars);
    mem_free(NULL, vocab->control_bits);
    mem_free(NULL, vocab->plain_bits);
    mem_free(NULL, vocab->plain);
    mem_free(NULL, vocab->plain_counts);
    mem_free(NULL, vocab->text);
    mem_free(NULL, vocab->starts);
    mem_free(NULL, vocab);
}
