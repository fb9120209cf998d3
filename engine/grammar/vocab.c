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
    return bytes > 0 && c >= 0x20 && c != '"' && c != '\\';
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
    struct gram_vocab *vocab;
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

static bool build(struct building *b, const struct entry *entries, size_t count)
{
    struct gram_vocab *vocab = b->vocab;
    if (!vec_push(NULL, &b->nodes, (struct gram_trie_node){.plain = false}))
        return false;
    for (size_t i = 0; i < count; i++) {
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
        vocab->order[i] = entry->id;
        vocab->chars[i] = count_chars(entry->data, entry->bytes);
        if (vocab->chars[i] > vocab->chars_max)
            vocab->chars_max = vocab->chars[i];
    }
    close_to(b, 0, (uint32_t)count);
    b->nodes.items[0].end = (uint32_t)b->nodes.count;
    b->nodes.items[0].last = (uint32_t)count;
    return true;
}

enum err gram_vocab_create(const struct tok *tok, struct gram_vocab **out, struct report *report)
{
    uint32_t count = tok_vocab_count(tok);
    struct gram_vocab *vocab = mem_calloc(NULL, 1, sizeof *vocab);
    struct entry *entries = mem_calloc(NULL, (size_t)count + 1, sizeof *entries);
    struct building *b = mem_calloc(NULL, 1, sizeof *b);
    size_t used = 0, bytes = 0;
    bool ok = vocab && entries && b;
    if (ok) {
        vocab->refs = 1;
        vocab->token_count = count;
        for (uint32_t id = 0; id < count; id++) {
            struct entry entry = {.id = id};
            size_t length;
            enum tok_type type = tok_type(tok, id);
            (void)tok_token_bytes(tok, id, &entry.data, &length);
            if (type == TOK_CONTROL || type == TOK_UNKNOWN || length == 0 || length > TOKEN_BYTES_MAX)
                continue;
            entry.bytes = (uint32_t)length;
            entries[used++] = entry;
            bytes += length;
        }
        qsort(entries, used, sizeof *entries, by_bytes);
        vocab->order = mem_calloc(NULL, used + 1, sizeof *vocab->order);
        vocab->chars = mem_calloc(NULL, used + 1, sizeof *vocab->chars);
        vocab->starts = mem_calloc(NULL, (size_t)count + 1, sizeof *vocab->starts);
        vocab->text = mem_alloc(NULL, bytes + 1);
        vocab->order_count = used;
        b->vocab = vocab;
        ok = bytes < UINT32_MAX && vocab->order && vocab->chars && vocab->starts && vocab->text &&
             build(b, entries, used);
    }
    if (ok) {
        uint32_t *length_of = vocab->starts; /* lengths first, sums after */
        for (size_t i = 0; i < used; i++)
            length_of[entries[i].id] = entries[i].bytes;
        uint32_t sum = 0;
        for (uint32_t id = 0; id <= count; id++) {
            uint32_t length = id < count ? length_of[id] : 0;
            vocab->starts[id] = sum;
            sum += length;
        }
        for (size_t i = 0; i < used; i++)
            memcpy(vocab->text + vocab->starts[entries[i].id], entries[i].data, entries[i].bytes);
    }
    if (b && vocab) {
        vocab->nodes = b->nodes.items;
        vocab->node_count = b->nodes.count;
    }
    mem_free(NULL, b);
    mem_free(NULL, entries);
    if (!ok) {
        gram_vocab_unref(vocab);
        return err_set(report, ERR_MEMORY, "Out of memory while preparing a vocabulary of %u for grammars",
                       count);
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
    mem_free(NULL, vocab->nodes);
    mem_free(NULL, vocab->order);
    mem_free(NULL, vocab->chars);
    mem_free(NULL, vocab->text);
    mem_free(NULL, vocab->starts);
    mem_free(NULL, vocab);
}
