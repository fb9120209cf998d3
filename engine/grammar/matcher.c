/* Matchers and masks.
 *
 * A frame says where a call returns to; frames are linked towards the root's caller (the bottom)
 * and made at most once each, so that equal stacks are equal numbers. A configuration is a state on
 * top of a stack; a matcher holds the set of configurations that the text so far allows. Sets hold
 * only configurations that can take a byte; whether the text may end is kept beside them.
 *
 * Masks. What a state does with a token depends on the stack only where the token outlasts the
 * state's rule. So per state (and loop around it) the cache remembers the tokens that fit whatever
 * lies below, and the trie nodes at which the rule ended with more bytes to come; only these are
 * walked with the stack at hand. Whole masks are remembered as well, under a hash of the whole set.
 *
 * Control tokens stand for something else than the letters of their texts. They fit only where the
 * grammar itself spells them: along edges of single bytes, as literals have them, not within a
 * class of characters.
 *
 * Loop counters far from their bounds make no difference to a token: hashes and the cache see them
 * as one canonical count. */
#include <stdlib.h>

#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "engine/grammar/gram_impl.h"

#define BOTTOM 0u /* the frame below the root */
#define BASE   1u /* what the cache puts in place of the unknown stack */

#define CONFIGS_MAX    1024       /* in one set */
#define FRAMES_MAX     (1u << 21) /* while one mask is made */
#define LOCALS_MAX     2048       /* cache entries per grammar */
#define MASKS_MAX      256
#define MASK_WORDS_MAX ((size_t)4 << 20)

struct frame {
    uint32_t ret;   /* a state, or GRAM_LOOP | loop */
    uint32_t count; /* of a loop: rounds begun before this one ended */
    uint32_t parent;
    uint32_t slot; /* in the table */
    uint64_t hash; /* of the whole stack, with canonical counts */
};

struct config {
    uint32_t state, parent;
};

struct set {
    struct config *items;
    size_t count, capacity;
};

struct numbers {
    uint32_t *items;
    size_t count, capacity;
};

/* What one state (in a loop whose counter is canonical) does with all tokens. */
struct local {
    uint32_t state, loop, count;
    bool sparse;           /* tokens: ids; else a bitmap */
    bool rough;            /* `ends` are nodes of the rough trie */
    struct numbers tokens; /* of those that fit whatever lies below */
    struct numbers
        ends; /* trie nodes whose byte comes after the rule ended, sorted by that byte; */
    uint32_t ends_of[257]; /* those of byte b are ends[ends_of[b], ends_of[b + 1]) */
};

struct mask {
    uint64_t hash;
    uint64_t used; /* the clock when last asked for */
    struct numbers brle;
};

struct gram_cache {
    struct gram_vocab *vocab;
    struct map locals; /* key to struct local * */
    struct mask masks[MASKS_MAX];
    size_t mask_words;
    uint64_t clock;
};

struct gram_matcher {
    struct gram *gram;
    struct gram_vocab *vocab;
    struct mem_heap *heap;
    struct numbers stops;
    struct {
        struct frame *items;
        size_t count, capacity;
    } frames;
    uint32_t *table; /* frame index + 1 by hash of (ret, count, parent); 0: empty */
    size_t table_slots;
    struct set set;
    bool can_end, terminated;
    enum err err; /* of the work at hand: memory, or a bound was reached */
    bool literal; /* only edges of single bytes count now */
    /* for stepping */
    struct set visited;
    bool ended;      /* the bottom was reached */
    bool base_ended; /* the base was reached */
    /* for walking: sets of all depths, one behind the other */
    struct set walk;
    struct {
        struct level {
            size_t first, count; /* in `walk` */
            uint32_t end;        /* of the trie nodes to look at */
        } *items;
        size_t count, capacity;
    } levels;
    uint64_t *bits; /* the mask being made */
    uint64_t *kept; /* for add_plain; all ones outside of it */
    struct numbers brle;
};

static void failed(struct gram_matcher *m, enum err err)
{
    if (m->err == ERR_OK)
        m->err = err;
}

static enum err explain(struct gram_matcher *m, struct report *report)
{
    enum err err = m->err;
    m->err = ERR_OK;
    if (err == ERR_MEMORY)
        return err_set(report, err, "Out of memory while matching the grammar");
    if (err != ERR_OK)
        return err_set(report, err,
                       "The grammar is too ambiguous here: more than %d ways to read the text",
                       CONFIGS_MAX);
    return ERR_OK;
}

/* ---- frames ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9FB21C651E98DF25u;
    x ^= x >> 29;
    x *= 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
}

/* A count that behaves the same for any one token (of at most GRAM_SHORT_CHARS characters, if so
 * asked and rounds are plain). */
static uint32_t canonical(const struct gram_matcher *m, const struct gram_loop *loop,
                          uint32_t count, bool for_short)
{
    uint64_t far = m->vocab->chars_max * 4u + 1; /* rounds take at least a byte */
    uint64_t low = count < loop->min ? loop->min - count : 0;
    uint64_t high = loop->max == GRAM_INFINITE ? UINT64_MAX : (uint64_t)loop->max - count;
    if (loop->plain)
        far = (for_short ? GRAM_SHORT_CHARS : m->vocab->chars_max) + 1; /* or a character */
    if (low > far)
        return loop->min - (uint32_t)far;
    if (low == 0 && high > far &&
        (loop->max == GRAM_INFINITE || (uint64_t)loop->max - loop->min > far))
        return loop->min;
    return count;
}

static size_t frame_hash(uint32_t ret, uint32_t count, uint32_t parent)
{
    return (size_t)mix(((uint64_t)ret << 32 | parent) * 0xA0761D6478BD642Fu + count);
}

static bool table_grow(struct gram_matcher *m)
{
    size_t slots = m->table_slots ? m->table_slots * 2 : 256;
    uint32_t *table = mem_calloc(m->heap, slots, sizeof *table);
    if (!table)
        return false;
    mem_free(m->heap, m->table);
    m->table = table;
    m->table_slots = slots;
    for (uint32_t i = BASE + 1; i < m->frames.count; i++) {
        struct frame *frame = &m->frames.items[i];
        size_t at = frame_hash(frame->ret, frame->count, frame->parent) & (slots - 1);
        while (table[at])
            at = (at + 1) & (slots - 1);
        table[at] = i + 1;
        frame->slot = (uint32_t)at;
    }
    return true;
}

static uint32_t push_frame(struct gram_matcher *m, uint32_t ret, uint32_t count, uint32_t parent)
{
    if (m->frames.count * 2 >= m->table_slots && !table_grow(m)) {
        failed(m, ERR_MEMORY);
        return BOTTOM;
    }
    size_t at = frame_hash(ret, count, parent) & (m->table_slots - 1);
    for (; m->table[at]; at = (at + 1) & (m->table_slots - 1)) {
        const struct frame *frame = &m->frames.items[m->table[at] - 1];
        if (frame->ret == ret && frame->count == count && frame->parent == parent)
            return m->table[at] - 1;
    }
    uint32_t seen =
        ret & GRAM_LOOP ? canonical(m, &m->gram->loops[ret & ~GRAM_LOOP], count, false) : 0;
    struct frame frame = {ret, count, parent, (uint32_t)at,
                          mix(m->frames.items[parent].hash ^ mix((uint64_t)ret << 32 | seen))};
    if (m->frames.count >= FRAMES_MAX || !vec_push(m->heap, &m->frames, frame)) {
        failed(m, m->frames.count >= FRAMES_MAX ? ERR_LIMIT : ERR_MEMORY);
        return BOTTOM;
    }
    m->table[at] = (uint32_t)m->frames.count;
    return (uint32_t)m->frames.count - 1;
}

/* Forgets the newest frames. With linear probing the newest can simply be taken out. */
static void drop_frames(struct gram_matcher *m, size_t keep)
{
    while (m->frames.count > keep)
        m->table[m->frames.items[--m->frames.count].slot] = 0;
}

/* ---- sets ---- */

/* Adds the configuration and what it reaches without a byte to `out`, from index `first` on. */
static void visit(struct gram_matcher *m, struct config config)
{
    for (size_t i = 0; i < m->visited.count; i++)
        if (m->visited.items[i].state == config.state &&
            m->visited.items[i].parent == config.parent)
            return;
    if (m->visited.count >= CONFIGS_MAX)
        failed(m, ERR_LIMIT);
    else if (!vec_push(m->heap, &m->visited, config))
        failed(m, ERR_MEMORY);
}

static void enter_loop(struct gram_matcher *m, uint32_t loop_index, uint32_t count,
                       uint32_t parent);

/* The call on top of `parent` is through. */
static void pop(struct gram_matcher *m, uint32_t parent)
{
    if (parent == BOTTOM) {
        m->ended = true;
    } else if (parent == BASE) {
        m->base_ended = true;
    } else {
        struct frame frame = m->frames.items[parent];
        if (frame.ret & GRAM_LOOP)
            enter_loop(m, frame.ret & ~GRAM_LOOP, frame.count + 1, frame.parent);
        else
            visit(m, (struct config){frame.ret, frame.parent});
    }
}

/* `count` rounds are done. Children of loops are never empty, so this ends: it recurses only into
 * what lies below. */
static void enter_loop(struct gram_matcher *m, uint32_t loop_index, uint32_t count, uint32_t parent)
{
    const struct gram_loop *loop = &m->gram->loops[loop_index];
    if (loop->max == GRAM_INFINITE && count > loop->min)
        count = loop->min;
    if (count < loop->max)
        visit(m, (struct config){m->gram->rule_starts[loop->rule],
                                 push_frame(m, GRAM_LOOP | loop_index, count, parent)});
    if (count >= loop->min)
        visit(m, (struct config){GRAM_NONE, parent}); /* a pop, in turn */
}

/* Works through `visited` from `at`, appends to `out` what can take a byte. */
static void settle(struct gram_matcher *m, struct set *out)
{
    const struct gram *gram = m->gram;
    for (size_t at = 0; at < m->visited.count && m->err == ERR_OK; at++) {
        struct config config = m->visited.items[at];
        if (config.state == GRAM_NONE) {
            pop(m, config.parent);
            continue;
        }
        const struct gram_state *state = &gram->states[config.state];
        if (state->edge_count > 0 && !vec_push(m->heap, out, config))
            failed(m, ERR_MEMORY);
        if (state->final)
            pop(m, config.parent);
        for (uint32_t i = 0; i < state->call_count; i++) {
            const struct gram_call *call = &gram->calls[state->call_first + i];
            uint32_t parent = gram->states[call->ret].tail
                                  ? config.parent
                                  : push_frame(m, call->ret, 0, config.parent);
            if (call->callee & GRAM_LOOP)
                enter_loop(m, call->callee & ~GRAM_LOOP, 0, parent);
            else
                visit(m, (struct config){gram->rule_starts[call->callee], parent});
        }
    }
}

static void begin_set(struct gram_matcher *m)
{
    m->visited.count = 0;
    m->ended = m->base_ended = false;
}

/* One more plain character in a loop that stands on the base: no other way to go on than another
 * round. False when this is not the case at hand. */
static bool step_plain_loop(struct gram_matcher *m, struct config config, uint8_t byte,
                            struct set *out)
{
    if (m->literal || config.parent <= BASE || byte < 0x20 || byte >= 0x80 || byte == '"' ||
        byte == '\\')
        return false;
    struct frame frame = m->frames.items[config.parent];
    if (!(frame.ret & GRAM_LOOP) || frame.parent != BASE)
        return false;
    const struct gram_loop *loop = &m->gram->loops[frame.ret & ~GRAM_LOOP];
    if (!loop->plain || config.state != loop->start)
        return false;
    uint32_t count = frame.count + 1;
    if (loop->max == GRAM_INFINITE && count > loop->min)
        count = loop->min;
    m->base_ended = count >= loop->min;
    if (count < loop->max &&
        !vec_push(m->heap, out,
                  (struct config){config.state, push_frame(m, frame.ret, count, BASE)}))
        failed(m, ERR_MEMORY);
    return true;
}

/* Appends to `out` the configurations after `byte` of from[first, first + count) (which may be
 * `out`). */
static void step(struct gram_matcher *m, const struct set *from, size_t first, size_t count,
                 uint8_t byte, struct set *out)
{
    begin_set(m);
    if (count == 1 && step_plain_loop(m, from->items[first], byte, out))
        return;
    for (size_t i = 0; i < count; i++) {
        struct config config = from->items[first + i];
        const struct gram_edge *edge = gram_find_edge(m->gram, config.state, byte);
        if (!edge || (m->literal && edge->first != edge->last))
            continue;
        uint32_t to = edge->to;
        const struct gram_state *state = &m->gram->states[to];
        if (count == 1 && !state->final && state->call_count == 0) { /* the common case */
            if (!vec_push(m->heap, out, (struct config){to, config.parent}))
                failed(m, ERR_MEMORY);
            return;
        }
        visit(m, (struct config){to, config.parent});
    }
    if (m->visited.count > 0)
        settle(m, out);
}

/* ---- walking the trie ---- */

/* Where a walk puts what it finds. */
struct finding {
    uint64_t *bits;
    struct numbers *ends; /* NULL: the base is not in play */
};

static void set_bit(uint64_t *bits, uint32_t id)
{
    bits[id / 64] |= 1ull << (id % 64);
}

static void accept_exact(const struct gram_trie *trie, const struct gram_trie_node *node,
                         uint64_t *bits)
{
    for (uint32_t i = node->first; i < node->first + node->exact; i++)
        set_bit(bits, trie->order[i]);
}

/* How many plain characters in a row the configuration takes whatever lies below; 0: none for sure.
 */
static uint64_t plain_room(const struct gram_matcher *m, const struct config *config)
{
    if (m->gram->states[config->state].plain_loop)
        return UINT64_MAX / 2;
    const struct frame *frame = &m->frames.items[config->parent];
    if (config->parent <= BASE || !(frame->ret & GRAM_LOOP))
        return 0;
    const struct gram_loop *loop = &m->gram->loops[frame->ret & ~GRAM_LOOP];
    if (!loop->plain || config->state != loop->start)
        return 0;
    return loop->max == GRAM_INFINITE ? UINT64_MAX / 2 : (uint64_t)loop->max - frame->count;
}

/* Takes a plain subtree whole when the set would stay where it is (or count rounds). */
static bool accept_plain(struct gram_matcher *m, const struct gram_trie *trie,
                         const struct config *config, const struct gram_trie_node *node,
                         uint64_t *bits)
{
    uint64_t room = plain_room(m, config);
    if (room == 0)
        return false;
    for (uint32_t i = node->first; i < node->last; i++)
        if (trie->chars[i] <= room + node->chars)
            set_bit(bits, trie->order[i]);
    return true;
}

/* Tries all tokens below trie node `root` on the set that stands at the end of `walk`, which is
 * taken off. Iterative; the depth is that of the trie. */
static void walk_from(struct gram_matcher *m, const struct gram_trie *trie, uint32_t root,
                      size_t first, struct finding *found)
{
    uint32_t at = root + 1;
    m->levels.count = 0;
    if (!vec_push(m->heap, &m->levels,
                  (struct level){first, m->walk.count - first, trie->nodes[root].end})) {
        failed(m, ERR_MEMORY);
        return;
    }
    while (m->err == ERR_OK) {
        struct level level = m->levels.items[m->levels.count - 1];
        if (at == level.end) {
            m->walk.count = level.first;
            if (--m->levels.count == 0)
                return;
            continue;
        }
        const struct gram_trie_node *node = &trie->nodes[at];
        if (level.count == 1) { /* most subtrees die here: ask before making anything */
            const struct config *config = &m->walk.items[level.first];
            const struct gram_edge *edge = gram_find_edge(m->gram, config->state, node->byte);
            if (!edge || (m->literal && edge->first != edge->last)) {
                at = node->end;
                continue;
            }
            if (!m->literal && node->plain && accept_plain(m, trie, config, node, found->bits)) {
                at = node->end;
                continue;
            }
            if (!m->literal && !(node->classes & ~m->gram->states[config->state].loop_classes)) {
                for (uint32_t i = node->first; i < node->last; i++)
                    set_bit(found->bits, trie->order[i]);
                at = node->end;
                continue;
            }
            const struct gram_state *state = &m->gram->states[edge->to];
            if (!state->final && state->call_count == 0) { /* as step would, with less ado */
                struct config next = {edge->to, config->parent};
                accept_exact(trie, node, found->bits);
                if (node->end == ++at)
                    continue;
                if (!vec_push(m->heap, &m->walk, next) ||
                    !vec_push(m->heap, &m->levels,
                              (struct level){m->walk.count - 1, 1, node->end}))
                    failed(m, ERR_MEMORY);
                continue;
            }
        }
        size_t made = m->walk.count;
        step(m, &m->walk, level.first, level.count, node->byte, &m->walk);
        if (m->walk.count > made || m->ended || m->base_ended)
            accept_exact(trie, node, found->bits);
        if (m->base_ended && found->ends)
            for (uint32_t child = at + 1; child < node->end; child = trie->nodes[child].end)
                if (!vec_push(NULL, found->ends, child))
                    failed(m, ERR_MEMORY);
        if (m->walk.count > made && node->end > at + 1) {
            if (!vec_push(m->heap, &m->levels,
                          (struct level){made, m->walk.count - made, node->end}))
                failed(m, ERR_MEMORY);
            at++;
        } else {
            m->walk.count = made;
            at = node->end;
        }
    }
}

/* ---- the cache ---- */

static void local_destroy(struct local *local)
{
    if (!local)
        return;
    vec_free(NULL, &local->tokens);
    vec_free(NULL, &local->ends);
    mem_free(NULL, local);
}

static void drop_locals(struct gram_cache *cache)
{
    size_t at = 0, key_bytes;
    const void *key;
    void *value;
    while (map_next(&cache->locals, &at, &key, &key_bytes, &value))
        local_destroy(value);
    map_deinit(&cache->locals);
    map_init(&cache->locals, NULL);
}

void gram_cache_destroy(struct gram_cache *cache)
{
    if (!cache)
        return;
    drop_locals(cache);
    for (size_t i = 0; i < MASKS_MAX; i++)
        vec_free(NULL, &cache->masks[i].brle);
    gram_vocab_unref(cache->vocab);
    mem_free(NULL, cache);
}

/* The cache for the matcher's vocabulary; another vocabulary's is thrown away. */
static struct gram_cache *find_cache(struct gram_matcher *m)
{
    struct gram *gram = m->gram;
    if (gram->cache && gram->cache->vocab == m->vocab)
        return gram->cache;
    struct gram_cache *cache = mem_calloc(NULL, 1, sizeof *cache);
    if (!cache) {
        failed(m, ERR_MEMORY);
        return NULL;
    }
    gram_cache_destroy(gram->cache);
    map_init(&cache->locals, NULL);
    cache->vocab = gram_vocab_ref(m->vocab);
    gram->cache = cache;
    return cache;
}

static size_t bit_words(const struct gram_matcher *m)
{
    return ((size_t)m->vocab->token_count + 63) / 64;
}

static bool keep_tokens(struct gram_matcher *m, struct local *local, const uint64_t *bits)
{
    size_t words = bit_words(m), count = 0;
    for (size_t i = 0; i < words; i++)
        count += (size_t)__builtin_popcountll(bits[i]);
    local->sparse = count < words;
    if (!local->sparse) {
        if (!vec_reserve(NULL, &local->tokens, words * 2))
            return false;
        memcpy(local->tokens.items, bits, words * 8);
        local->tokens.count = words * 2;
        return true;
    }
    for (size_t i = 0; i < words; i++)
        for (uint64_t left = bits[i]; left; left &= left - 1)
            if (!vec_push(NULL, &local->tokens,
                          (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(left)))
                return false;
    return true;
}

/* Counting sort by the nodes' bytes. */
static bool sort_ends(struct local *local, const struct gram_trie *trie)
{
    uint32_t *sorted = mem_calloc(NULL, local->ends.count + 1, sizeof *sorted);
    uint32_t next[256];
    if (!sorted)
        return false;
    for (size_t i = 0; i < local->ends.count; i++)
        local->ends_of[trie->nodes[local->ends.items[i]].byte + 1]++;
    for (size_t b = 0; b < 256; b++) {
        local->ends_of[b + 1] += local->ends_of[b];
        next[b] = local->ends_of[b];
    }
    for (size_t i = 0; i < local->ends.count; i++)
        sorted[next[trie->nodes[local->ends.items[i]].byte]++] = local->ends.items[i];
    mem_free(NULL, local->ends.items);
    local->ends.items = sorted;
    local->ends.capacity = local->ends.count + 1;
    return true;
}

static struct local *make_local(struct gram_matcher *m, uint32_t state, uint32_t loop,
                                uint32_t count)
{
    struct local *local = mem_calloc(NULL, 1, sizeof *local);
    uint64_t *bits = mem_calloc(NULL, bit_words(m), sizeof *bits);
    size_t frames = m->frames.count;
    if (local && bits) {
        struct finding found = {bits, &local->ends};
        *local = (struct local){.state = state, .loop = loop, .count = count};
        uint32_t parent = loop == GRAM_NONE ? BASE : push_frame(m, GRAM_LOOP | loop, count, BASE);
        struct config config = {state, parent};
        const struct gram_vocab *vocab = m->vocab;
        size_t first = m->walk.count;
        local->rough = plain_room(m, &config) > 0;
        const struct gram_trie *trie = local->rough ? &vocab->rough : &vocab->all;
        if (!vec_push(m->heap, &m->walk, config))
            failed(m, ERR_MEMORY);
        else
            walk_from(m, trie, 0, first, &found);
        if (m->err == ERR_OK && !sort_ends(local, trie))
            failed(m, ERR_MEMORY);
        drop_frames(m, frames);
    }
    if (!local || !bits || (m->err == ERR_OK && !keep_tokens(m, local, bits)))
        failed(m, ERR_MEMORY);
    mem_free(NULL, bits);
    if (m->err != ERR_OK) {
        local_destroy(local);
        return NULL;
    }
    return local;
}

static struct local *find_local(struct gram_matcher *m, struct gram_cache *cache,
                                struct config config, uint32_t *below)
{
    uint32_t key[3] = {config.state, GRAM_NONE, 0};
    const struct frame *frame = &m->frames.items[config.parent];
    *below = config.parent;
    if (config.parent > BASE && (frame->ret & GRAM_LOOP)) {
        key[1] = frame->ret & ~GRAM_LOOP;
        key[2] = canonical(m, &m->gram->loops[key[1]], frame->count, true);
        *below = frame->parent;
    }
    struct local *local = map_find(&cache->locals, key, sizeof key);
    if (local)
        return local;
    if (cache->locals.count >= LOCALS_MAX)
        drop_locals(cache);
    local = make_local(m, key[0], key[1], key[2]);
    if (local && !map_set(&cache->locals, key, sizeof key, local)) {
        local_destroy(local);
        failed(m, ERR_MEMORY);
        return NULL;
    }
    return local;
}

/* ---- masks ---- */

static void add_local(struct gram_matcher *m, const struct local *local)
{
    if (local->sparse) {
        for (size_t i = 0; i < local->tokens.count; i++)
            set_bit(m->bits, local->tokens.items[i]);
        return;
    }
    for (size_t i = 0; i < local->tokens.count / 2; i++) {
        uint64_t word;
        memcpy(&word, local->tokens.items + i * 2, 8);
        m->bits[i] |= word;
    }
}

/* Tokens that outlast the rule on top go on with what lies below. */
static void add_ends(struct gram_matcher *m, const struct local *local, uint32_t below)
{
    const struct gram_trie *trie = local->rough ? &m->vocab->rough : &m->vocab->all;
    struct finding found = {m->bits, NULL};
    size_t first = m->walk.count;
    if (local->ends.count == 0)
        return;
    begin_set(m);
    pop(m, below);
    settle(m, &m->walk);
    size_t count = m->walk.count - first;
    for (unsigned byte = 0; byte < 256 && count > 0 && m->err == ERR_OK; byte++) {
        if (local->ends_of[byte] == local->ends_of[byte + 1])
            continue;
        size_t next = m->walk.count;
        step(m, &m->walk, first, count, (uint8_t)byte, &m->walk);
        size_t made = m->walk.count - next;
        bool alive = made > 0 || m->ended;
        for (uint32_t i = local->ends_of[byte];
             alive && i < local->ends_of[byte + 1] && m->err == ERR_OK; i++) {
            const struct gram_trie_node *node = &trie->nodes[local->ends.items[i]];
            accept_exact(trie, node, m->bits);
            if (made == 0 || node->end == local->ends.items[i] + 1)
                continue;
            size_t copy = m->walk.count;
            if (!vec_reserve(m->heap, &m->walk, made)) {
                failed(m, ERR_MEMORY);
                break;
            }
            memcpy(m->walk.items + copy, m->walk.items + next, made * sizeof *m->walk.items);
            m->walk.count = copy + made;
            walk_from(m, trie, local->ends.items[i], copy, &found);
            m->walk.count = copy;
        }
        m->walk.count = next;
    }
    m->walk.count = first;
}

/* Plain tokens of at most `room` characters. */
static void add_plain(struct gram_matcher *m, uint64_t room)
{
    const struct gram_vocab *vocab = m->vocab;
    uint32_t total = vocab->plain_counts[vocab->chars_max];
    uint32_t fit = room < vocab->chars_max ? vocab->plain_counts[room] : total;
    if (fit < total / 2) {
        for (uint32_t i = 0; i < fit; i++)
            set_bit(m->bits, vocab->plain[i]);
        return;
    }
    uint64_t *kept = m->kept; /* the bits that the longer ones had before */
    for (uint32_t i = fit; i < total; i++)
        kept[vocab->plain[i] / 64] &=
            m->bits[vocab->plain[i] / 64] | ~(1ull << (vocab->plain[i] % 64));
    for (size_t i = 0; i < bit_words(m); i++)
        m->bits[i] |= vocab->plain_bits[i] & kept[i];
    for (uint32_t i = fit; i < total; i++)
        kept[vocab->plain[i] / 64] = UINT64_MAX;
}

/* Tokens of a trie that the cache leaves out, on the stack at hand. */
static void add_trie(struct gram_matcher *m, const struct gram_trie *trie, struct config config)
{
    struct finding found = {m->bits, NULL};
    size_t first = m->walk.count;
    if (!vec_push(m->heap, &m->walk, config))
        failed(m, ERR_MEMORY);
    else
        walk_from(m, trie, 0, first, &found);
    m->walk.count = first;
}

/* Runs of equal bits, found by looking for the next bit that differs. */
static bool to_brle(const uint64_t *bits, uint32_t count, struct numbers *out)
{
    bool value = false;
    uint32_t run = 0;
    out->count = 0;
    for (uint32_t at = 0; at < count;) {
        uint64_t word = bits[at / 64];
        if (value)
            word = ~word;
        word >>= at % 64;
        uint32_t left = 64 - at % 64;
        if (left > count - at)
            left = count - at;
        uint32_t same = word ? (uint32_t)__builtin_ctzll(word) : 64;
        if (same >= left) {
            run += left;
            at += left;
            continue;
        }
        run += same;
        at += same;
        if (!vec_push(NULL, out, run))
            return false;
        run = 0;
        value = !value;
    }
    return run == 0 || vec_push(NULL, out, run);
}

static uint64_t set_hash(const struct gram_matcher *m)
{
    uint64_t hash = m->can_end ? 0x51ED270B7A3F1C29u : 0;
    for (size_t i = 0; i < m->set.count; i++)
        hash +=
            mix(m->frames.items[m->set.items[i].parent].hash ^ mix(m->set.items[i].state + 1ull));
    if (m->can_end)
        for (size_t i = 0; i < m->stops.count; i++)
            hash = mix(hash + m->stops.items[i]);
    return hash;
}

static void make_mask(struct gram_matcher *m, struct gram_cache *cache)
{
    size_t frames = m->frames.count;
    memset(m->bits, 0, bit_words(m) * sizeof *m->bits);
    for (size_t i = 0; i < m->set.count && m->err == ERR_OK; i++) {
        uint32_t below;
        struct local *local = find_local(m, cache, m->set.items[i], &below);
        if (!local)
            break;
        add_local(m, local);
        add_ends(m, local, below);
        if (local->rough) {
            add_plain(m, plain_room(m, &m->set.items[i]));
            add_trie(m, &m->vocab->longs, m->set.items[i]);
        }
        m->literal = true;
        add_trie(m, &m->vocab->controls, m->set.items[i]);
        m->literal = false;
    }
    drop_frames(m, frames);
    m->walk.count = 0;
    for (size_t i = 0; i < m->stops.count && m->can_end; i++)
        if (m->stops.items[i] < m->vocab->token_count)
            set_bit(m->bits, m->stops.items[i]);
}

/* The oldest mask's place, or an empty one. */
static struct mask *place_for_mask(struct gram_cache *cache)
{
    struct mask *oldest = &cache->masks[0];
    for (size_t i = 1; i < MASKS_MAX; i++)
        if (cache->masks[i].used < oldest->used)
            oldest = &cache->masks[i];
    return oldest;
}

enum err gram_matcher_mask(struct gram_matcher *m, const uint32_t **brle, size_t *count,
                           struct report *report)
{
    if (m->terminated) {
        m->brle.count = 0;
        if (!vec_push(NULL, &m->brle, m->vocab->token_count))
            failed(m, ERR_MEMORY);
        *brle = m->brle.items;
        *count = m->brle.count;
        return explain(m, report);
    }
    struct gram_cache *cache = find_cache(m);
    if (!cache)
        return explain(m, report);
    uint64_t hash = set_hash(m);
    cache->clock++;
    for (size_t i = 0; i < MASKS_MAX; i++) {
        struct mask *mask = &cache->masks[i];
        if (mask->used && mask->hash == hash) {
            mask->used = cache->clock;
            *brle = mask->brle.items;
            *count = mask->brle.count;
            return ERR_OK;
        }
    }
    make_mask(m, cache);
    if (m->err != ERR_OK)
        return explain(m, report);
    struct mask *mask = place_for_mask(cache);
    cache->mask_words -= mask->brle.count;
    mask->used = 0;
    if (!to_brle(m->bits, m->vocab->token_count, &mask->brle)) {
        mask->brle.count = 0;
        failed(m, ERR_MEMORY);
        return explain(m, report);
    }
    mask->hash = hash;
    mask->used = cache->clock;
    cache->mask_words += mask->brle.count;
    /* many long masks: start over with this one */
    for (size_t i = 0; i < MASKS_MAX && cache->mask_words > MASK_WORDS_MAX; i++) {
        if (&cache->masks[i] != mask && cache->masks[i].used) {
            cache->mask_words -= cache->masks[i].brle.count;
            vec_free(NULL, &cache->masks[i].brle);
            cache->masks[i].used = 0;
        }
    }
    *brle = mask->brle.items;
    *count = mask->brle.count;
    return ERR_OK;
}

/* ---- accepting ---- */

/* Copies the frames that the set still needs to the front; the rest is forgotten. Frames refer only
 * to older ones, so one pass keeps their order. */
static void collect_frames(struct gram_matcher *m)
{
    uint32_t *moved = mem_calloc(m->heap, m->frames.count, sizeof *moved);
    if (!moved)
        return; /* not now; frames only grow until FRAMES_MAX */
    for (size_t i = 0; i < m->set.count; i++)
        for (uint32_t f = m->set.items[i].parent; f > BASE && !moved[f];
             f = m->frames.items[f].parent)
            moved[f] = 1;
    moved[BOTTOM] = BOTTOM;
    moved[BASE] = BASE;
    uint32_t kept = BASE + 1;
    for (uint32_t f = BASE + 1; f < m->frames.count; f++) {
        if (!moved[f])
            continue;
        struct frame frame = m->frames.items[f];
        frame.parent = moved[frame.parent];
        moved[f] = kept;
        m->frames.items[kept++] = frame;
    }
    m->frames.count = kept;
    for (size_t i = 0; i < m->set.count; i++)
        m->set.items[i].parent = moved[m->set.items[i].parent];
    mem_free(m->heap, moved);
    memset(m->table, 0, m->table_slots * sizeof *m->table);
    for (uint32_t i = BASE + 1; i < m->frames.count; i++) {
        struct frame *frame = &m->frames.items[i];
        size_t at = frame_hash(frame->ret, frame->count, frame->parent) & (m->table_slots - 1);
        while (m->table[at])
            at = (at + 1) & (m->table_slots - 1);
        m->table[at] = i + 1;
        frame->slot = (uint32_t)at;
    }
}

#define FRAMES_TO_COLLECT 4096

static bool is_stop(const struct gram_matcher *m, uint32_t id)
{
    for (size_t i = 0; i < m->stops.count; i++)
        if (m->stops.items[i] == id)
            return true;
    return false;
}

static enum err reject(struct gram_matcher *m, uint32_t id, struct report *report)
{
    m->walk.count = 0;
    m->literal = false;
    if (m->err != ERR_OK)
        return explain(m, report);
    return err_set(report, ERR_INVALID, "token %u rejected by grammar", id);
}

enum err gram_matcher_accept(struct gram_matcher *m, uint32_t id, struct report *report)
{
    const struct gram_vocab *vocab = m->vocab;
    if (m->terminated)
        return reject(m, id, report);
    if (is_stop(m, id)) {
        if (!m->can_end)
            return reject(m, id, report);
        m->terminated = true;
        return ERR_OK;
    }
    if (id >= vocab->token_count || vocab->starts[id] == vocab->starts[id + 1])
        return reject(m, id, report);
    m->literal = vocab->control_bits[id / 64] >> (id % 64) & 1;
    size_t first = 0, frames = m->frames.count;
    bool end = false;
    m->walk.count = 0;
    for (size_t i = 0; i < m->set.count; i++)
        if (!vec_push(m->heap, &m->walk, m->set.items[i]))
            failed(m, ERR_MEMORY);
    for (uint32_t at = vocab->starts[id]; at < vocab->starts[id + 1] && m->err == ERR_OK; at++) {
        size_t made = m->walk.count;
        step(m, &m->walk, first, made - first, (uint8_t)vocab->text[at], &m->walk);
        end = m->ended;
        if (m->walk.count == made && !(end && at + 1 == vocab->starts[id + 1])) {
            drop_frames(m, frames);
            return reject(m, id, report);
        }
        first = made;
    }
    size_t count = m->walk.count - first;
    m->set.count = m->err == ERR_OK ? 0 : m->set.count;
    if (m->err != ERR_OK || !vec_reserve(m->heap, &m->set, count)) {
        failed(m, ERR_MEMORY);
        return reject(m, id, report);
    }
    if (count > 0)
        memcpy(m->set.items, m->walk.items + first, count * sizeof *m->set.items);
    m->set.count = count;
    m->can_end = end;
    m->literal = false;
    m->walk.count = 0;
    if (m->frames.count > FRAMES_TO_COLLECT)
        collect_frames(m);
    return ERR_OK;
}

bool gram_matcher_can_end(const struct gram_matcher *m)
{
    return m->can_end;
}

bool gram_matcher_is_terminated(const struct gram_matcher *m)
{
    return m->terminated;
}

void gram_matcher_reset(struct gram_matcher *m)
{
    m->set.count = 0;
    m->terminated = false;
    drop_frames(m, BASE + 1);
    begin_set(m);
    visit(m, (struct config){m->gram->rule_starts[0], BOTTOM});
    settle(m, &m->set);
    m->can_end = m->ended;
}

enum err gram_matcher_create(struct gram *gram, struct gram_vocab *vocab, const uint32_t *stops,
                             size_t stop_count, struct mem_heap *heap, struct gram_matcher **out,
                             struct report *report)
{
    struct gram_matcher *m = mem_calloc(heap, 1, sizeof *m);
    if (!m)
        return err_set(report, ERR_MEMORY, "Out of memory while preparing a grammar's matcher");
    m->heap = heap;
    m->gram = gram_ref(gram);
    m->vocab = gram_vocab_ref(vocab);
    m->bits = mem_calloc(heap, bit_words(m), sizeof *m->bits);
    m->kept = mem_alloc(heap, bit_words(m) * sizeof *m->kept);
    if (m->kept)
        memset(m->kept, 0xFF, bit_words(m) * sizeof *m->kept);
    if (!m->bits || !m->kept || !vec_push(heap, &m->frames, (struct frame){.hash = 1}) ||
        !vec_push(heap, &m->frames, (struct frame){.hash = 2}))
        failed(m, ERR_MEMORY);
    for (size_t i = 0; i < stop_count && m->err == ERR_OK; i++)
        if (!vec_push(heap, &m->stops, stops[i]))
            failed(m, ERR_MEMORY);
    if (m->err == ERR_OK)
        gram_matcher_reset(m);
    enum err err = explain(m, report);
    if (err != ERR_OK) {
        gram_matcher_destroy(m);
        return err;
    }
    *out = m;
    return ERR_OK;
}

void gram_matcher_destroy(struct gram_matcher *m)
{
    if (!m)
        return;
    vec_free(m->heap, &m->stops);
    vec_free(m->heap, &m->frames);
    mem_free(m->heap, m->table);
    vec_free(m->heap, &m->set);
    vec_free(m->heap, &m->visited);
    vec_free(m->heap, &m->walk);
    vec_free(m->heap, &m->levels);
    mem_free(m->heap, m->bits);
    mem_free(m->heap, m->kept);
    vec_free(NULL, &m->brle);
    gram_vocab_unref(m->vocab);
    gram_unref(m->gram);
    mem_free(m->heap, m);
}
