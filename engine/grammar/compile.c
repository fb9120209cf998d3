/* Trees to automata: a nondeterministic automaton per rule (Thompson), made deterministic by the
 * subset construction, then freed of states from which its rule cannot end. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/vec.h"
#include "engine/grammar/ast.h"
#include "engine/grammar/gram_impl.h"

#define NFA_STATES_MAX (1u << 22)
/* Bounds of the subset construction, which can explode: (a|b)*a(a|b){20}. A fraction of a second of
 * work. */
#define STATES_MAX       (1u << 18)
#define SUBSET_ITEMS_MAX (1u << 20)
#define WORK_MAX         (1u << 24)
/* A repetition is written out while its copies have fewer states than this in all. */
#define WRITTEN_OUT_MAX 64
#define HEAVY           40

enum nfa_kind { NFA_EPSILON, NFA_BYTES, NFA_CALL };

struct nfa_edge {
    enum nfa_kind kind;
    uint8_t first, last;
    uint32_t callee;
    uint32_t to;
    uint32_t next; /* of the same state */
};

/* A vector of ids. */
struct ids {
    uint32_t *items;
    size_t count, capacity;
};

struct compiler {
    struct ast *ast;
    struct report *report;
    enum err err;
    /* the rules' bodies: those of the tree, then those of loops */
    struct ids bodies;
    /* of the rule at hand */
    struct ids nfa; /* first edge of each state */
    struct {
        struct nfa_edge *items;
        size_t count, capacity;
    } nfa_edges;
    /* the result */
    struct {
        struct gram_state *items;
        size_t count, capacity;
    } states;
    struct {
        struct gram_edge *items;
        size_t count, capacity;
    } edges;
    struct {
        struct gram_call *items;
        size_t count, capacity;
    } calls;
    struct {
        struct gram_loop *items;
        size_t count, capacity;
    } loops;
    struct ids starts;
    /* subsets of the rule at hand: items[sets[i], sets[i + 1]) is state first + i */
    struct ids items, sets;
    struct map known; /* subset to index + 1 */
    struct ids mark;  /* [nfa state] stamp of the closure that saw it */
    struct ids scratch, stack;
    uint32_t stamp;
    size_t subset_items, work;
};

static bool fail(struct compiler *c, enum err err, const char *what)
{
    if (c->err == ERR_OK)
        c->err = err_set(c->report, err, "%s", what);
    return false;
}

static bool no_memory(struct compiler *c)
{
    return fail(c, ERR_MEMORY, "Out of memory while compiling the grammar");
}

/* ---- the nondeterministic automaton ---- */

static uint32_t new_state(struct compiler *c)
{
    if (c->nfa.count >= NFA_STATES_MAX) {
        (void)fail(c, ERR_LIMIT, "The grammar is too large");
        return 0;
    }
    if (!vec_push(NULL, &c->nfa, GRAM_NONE))
        (void)no_memory(c);
    return (uint32_t)c->nfa.count - 1;
}

static void connect(struct compiler *c, uint32_t from, struct nfa_edge edge)
{
    if (c->err != ERR_OK)
        return;
    edge.next = c->nfa.items[from];
    if (!vec_push(NULL, &c->nfa_edges, edge))
        (void)no_memory(c);
    else
        c->nfa.items[from] = (uint32_t)c->nfa_edges.count - 1;
}

static void epsilon(struct compiler *c, uint32_t from, uint32_t to)
{
    connect(c, from, (struct nfa_edge){.kind = NFA_EPSILON, .to = to});
}

static uint32_t bytes_edge(struct compiler *c, uint32_t from, uint8_t first, uint8_t last)
{
    uint32_t to = new_state(c);
    connect(c, from, (struct nfa_edge){.kind = NFA_BYTES, .first = first, .last = last, .to = to});
    return to;
}

static size_t utf8_bytes(uint32_t point, uint8_t out[4])
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    out[0] = (uint8_t)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | point);
    return length;
}

/* The code points first to last, whose encodings have the same length, as paths of byte ranges.
 * Split where the lower bytes do not span whole ranges; depth is at most that of an encoding. */
static void range_paths(struct compiler *c, uint32_t from, uint32_t to, uint32_t first,
                        uint32_t last)
{
    uint8_t low[4], high[4];
    for (unsigned shift = 6; shift <= 18; shift += 6) {
        uint32_t mask = (1u << shift) - 1;
        if ((first & ~mask) == (last & ~mask) || (last < 0x80))
            continue;
        if (first & mask) {
            range_paths(c, from, to, first, first | mask);
            range_paths(c, from, to, (first | mask) + 1, last);
            return;
        }
        if ((last & mask) != mask) {
            range_paths(c, from, to, first, (last & ~mask) - 1);
            range_paths(c, from, to, last & ~mask, last);
            return;
        }
    }
    size_t length = utf8_bytes(first, low);
    (void)utf8_bytes(last, high);
    for (size_t i = 0; i + 1 < length; i++)
        from = bytes_edge(c, from, low[i], high[i]);
    connect(c, from,
            (struct nfa_edge){
                .kind = NFA_BYTES, .first = low[length - 1], .last = high[length - 1], .to = to});
}

static uint32_t emit_class(struct compiler *c, const struct ast_node *node, uint32_t from)
{
    static const uint32_t limits[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    uint32_t to = new_state(c);
    for (uint32_t i = node->a; i < node->a + node->b && c->err == ERR_OK; i++) {
        uint32_t first = c->ast->ranges.items[i].first, last = c->ast->ranges.items[i].last;
        for (size_t k = 0; k < 4 && first <= last; k++) {
            if (first > limits[k])
                continue;
            range_paths(c, from, to, first, last < limits[k] ? last : limits[k]);
            first = limits[k] + 1;
        }
    }
    return to;
}

/* About how many states the node needs, capped. Rules and characters beyond ASCII count much: the
 * cache of masks does better with one loop than with many states that are alike. */
static uint64_t size_of(const struct compiler *c, uint32_t index)
{
    const struct ast_node *node = &c->ast->nodes.items[index];
    uint64_t size = 1;
    switch (node->kind) {
    case AST_EMPTY: return 1;
    case AST_REF: return HEAVY;
    case AST_BYTES: return node->b;
    case AST_CLASS:
        return node->b > 0 && c->ast->ranges.items[node->a + node->b - 1].last >= 0x80 ? HEAVY : 1;
    case AST_SEQ:
    case AST_ALT:
        for (uint32_t i = node->a; i != AST_NONE; i = c->ast->nodes.items[i].next)
            size += size_of(c, i);
        break;
    case AST_REPEAT:
        size =
            size_of(c, node->a) * (node->max == AST_INFINITE ? (uint64_t)node->min + 1 : node->max);
        break;
    }
    return size < 1000000 ? size : 1000000;
}

static uint32_t emit(struct compiler *c, uint32_t index, uint32_t from);

static uint32_t emit_call(struct compiler *c, uint32_t callee, uint32_t from)
{
    uint32_t to = new_state(c);
    connect(c, from, (struct nfa_edge){.kind = NFA_CALL, .callee = callee, .to = to});
    return to;
}

static uint32_t emit_repeat(struct compiler *c, const struct ast_node *node, uint32_t from)
{
    uint32_t child = node->a, min = node->min, max = node->max;
    uint64_t copies = max == AST_INFINITE ? (uint64_t)min + 1 : max;
    uint64_t size = size_of(c, child);
    if (max == 0)
        return from;
    if (copies > 1 && size * copies > WRITTEN_OUT_MAX && !(max == AST_INFINITE && min <= 1)) {
        struct gram_loop loop = {.rule = (uint32_t)c->bodies.count, .min = min, .max = max};
        if (!vec_push(NULL, &c->bodies, child) || !vec_push(NULL, &c->loops, loop))
            (void)no_memory(c);
        return emit_call(c, GRAM_LOOP | ((uint32_t)c->loops.count - 1), from);
    }
    for (uint32_t i = 0; i < min; i++)
        from = emit(c, child, from);
    if (max == AST_INFINITE) {
        uint32_t head = new_state(c);
        epsilon(c, from, head);
        epsilon(c, emit(c, child, head), head);
        return head;
    }
    uint32_t to = new_state(c);
    epsilon(c, from, to);
    for (uint32_t i = min; i < max && c->err == ERR_OK; i++) {
        from = emit(c, child, from);
        epsilon(c, from, to);
    }
    return to;
}

/* Adds paths for the node from `from`; the state where they end. Depth is bounded by the readers.
 */
static uint32_t emit(struct compiler *c, uint32_t index, uint32_t from)
{
    const struct ast_node node = c->ast->nodes.items[index];
    if (c->err != ERR_OK)
        return from;
    switch (node.kind) {
    case AST_EMPTY: break;
    case AST_BYTES:
        for (uint32_t i = 0; i < node.b && c->err == ERR_OK; i++) {
            uint8_t byte = (uint8_t)c->ast->bytes.data[node.a + i];
            from = bytes_edge(c, from, byte, byte);
        }
        break;
    case AST_CLASS: return emit_class(c, &node, from);
    case AST_SEQ:
        for (uint32_t i = node.a; i != AST_NONE; i = c->ast->nodes.items[i].next)
            from = emit(c, i, from);
        break;
    case AST_ALT: {
        uint32_t to = new_state(c);
        for (uint32_t i = node.a; i != AST_NONE; i = c->ast->nodes.items[i].next)
            epsilon(c, emit(c, i, from), to);
        return to;
    }
    case AST_REPEAT: return emit_repeat(c, &node, from);
    case AST_REF: return emit_call(c, node.a, from);
    }
    return from;
}

/* ---- subsets ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Puts `state` and what it reaches by epsilon into `scratch`, unless marked. */
static void close_over(struct compiler *c, uint32_t state)
{
    c->stack.count = 0;
    if (!vec_push(NULL, &c->stack, state)) {
        (void)no_memory(c);
        return;
    }
    while (c->stack.count > 0 && c->err == ERR_OK) {
        uint32_t s = c->stack.items[--c->stack.count];
        if (c->mark.items[s] == c->stamp)
            continue;
        c->mark.items[s] = c->stamp;
        c->work++;
        bool useful = s == 1; /* the final state */
        for (uint32_t e = c->nfa.items[s]; e != GRAM_NONE; e = c->nfa_edges.items[e].next) {
            if (c->nfa_edges.items[e].kind != NFA_EPSILON)
                useful = true;
            else if (!vec_push(NULL, &c->stack, c->nfa_edges.items[e].to))
                (void)no_memory(c);
            c->work++;
        }
        if (useful && !vec_push(NULL, &c->scratch, s))
            (void)no_memory(c);
    }
}

static void begin_subset(struct compiler *c)
{
    c->scratch.count = 0;
    c->stamp++;
}

/* The deterministic state for the subset in `scratch`; GRAM_NONE for the empty one. */
static uint32_t end_subset(struct compiler *c, uint32_t first)
{
    if (c->scratch.count == 0 || c->err != ERR_OK)
        return GRAM_NONE;
    qsort(c->scratch.items, c->scratch.count, sizeof *c->scratch.items, by_value);
    size_t key_bytes = c->scratch.count * sizeof *c->scratch.items;
    uintptr_t known = (uintptr_t)map_find(&c->known, c->scratch.items, key_bytes);
    if (known)
        return first + (uint32_t)known - 1;
    c->subset_items += c->scratch.count;
    if (c->states.count >= STATES_MAX || c->subset_items > SUBSET_ITEMS_MAX || c->work > WORK_MAX) {
        (void)fail(c, ERR_LIMIT, "The grammar needs too many states");
        return GRAM_NONE;
    }
    for (size_t i = 0; i < c->scratch.count; i++)
        if (!vec_push(NULL, &c->items, c->scratch.items[i]))
            (void)no_memory(c);
    if (!vec_push(NULL, &c->states, (struct gram_state){0}) ||
        !vec_push(NULL, &c->sets, (uint32_t)c->items.count) ||
        !map_set(&c->known, c->scratch.items, key_bytes,
                 (void *)(uintptr_t)(c->states.count - first)))
        (void)no_memory(c);
    return (uint32_t)c->states.count - 1;
}

struct target {
    uint8_t first, last;
    uint32_t callee, to;
};

static int by_callee(const void *a, const void *b)
{
    const struct target *x = a, *y = b;
    return x->callee < y->callee ? -1 : x->callee > y->callee;
}

struct targets {
    struct target *items;
    size_t count, capacity;
};

static void expand(struct compiler *c, uint32_t first, uint32_t state, struct targets *bytes,
                   struct targets *calls)
{
    bool boundary[257] = {false};
    uint32_t begin = c->sets.items[state - first], end = c->sets.items[state - first + 1];
    bool final = false;
    bytes->count = calls->count = 0;
    for (uint32_t i = begin; i < end; i++) {
        uint32_t s = c->items.items[i];
        final |= s == 1;
        for (uint32_t e = c->nfa.items[s]; e != GRAM_NONE; e = c->nfa_edges.items[e].next) {
            const struct nfa_edge *edge = &c->nfa_edges.items[e];
            struct target target = {edge->first, edge->last, edge->callee, edge->to};
            if (edge->kind == NFA_BYTES) {
                boundary[edge->first] = boundary[edge->last + 1] = true;
                if (!vec_push(NULL, bytes, target))
                    (void)no_memory(c);
            } else if (edge->kind == NFA_CALL && !vec_push(NULL, calls, target)) {
                (void)no_memory(c);
            }
        }
    }
    uint32_t edge_first = (uint32_t)c->edges.count;
    for (unsigned from = 0; from < 256 && bytes->count > 0 && c->err == ERR_OK;) {
        unsigned to = from + 1;
        while (to < 256 && !boundary[to])
            to++;
        begin_subset(c);
        for (size_t i = 0; i < bytes->count; i++)
            if (bytes->items[i].first <= from && bytes->items[i].last >= from)
                close_over(c, bytes->items[i].to);
        c->work += bytes->count;
        uint32_t target = end_subset(c, first);
        if (target != GRAM_NONE) {
            struct gram_edge *last =
                c->edges.count > edge_first ? &c->edges.items[c->edges.count - 1] : NULL;
            if (last && last->to == target && last->last + 1u == from)
                last->last = (uint8_t)(to - 1);
            else if (!vec_push(NULL, &c->edges,
                               (struct gram_edge){target, (uint8_t)from, (uint8_t)(to - 1)}))
                (void)no_memory(c);
        }
        from = to;
    }
    uint32_t call_first = (uint32_t)c->calls.count;
    if (calls->count > 1)
        qsort(calls->items, calls->count, sizeof *calls->items, by_callee);
    for (size_t i = 0; i < calls->count && c->err == ERR_OK;) {
        uint32_t callee = calls->items[i].callee;
        begin_subset(c);
        for (; i < calls->count && calls->items[i].callee == callee; i++)
            close_over(c, calls->items[i].to);
        uint32_t target = end_subset(c, first);
        if (target != GRAM_NONE && !vec_push(NULL, &c->calls, (struct gram_call){callee, target}))
            (void)no_memory(c);
    }
    c->states.items[state].edge_first = edge_first;
    c->states.items[state].edge_count = (uint32_t)c->edges.count - edge_first;
    c->states.items[state].call_first = call_first;
    c->states.items[state].call_count = (uint32_t)c->calls.count - call_first;
    c->states.items[state].final = final;
}

static void compile_rule(struct compiler *c, uint32_t body)
{
    struct targets bytes = {0}, calls = {0};
    c->nfa.count = c->nfa_edges.count = c->items.count = c->sets.count = 0;
    (void)new_state(c);
    (void)new_state(c); /* 1: the final state */
    epsilon(c, emit(c, body, 0), 1);
    map_deinit(&c->known);
    map_init(&c->known, NULL);
    uint32_t first = (uint32_t)c->states.count;
    c->mark.count = 0;
    if (!vec_push(NULL, &c->sets, 0) || !vec_reserve(NULL, &c->mark, c->nfa.count) ||
        !vec_push(NULL, &c->starts, first)) {
        (void)no_memory(c);
        return;
    }
    if (c->err != ERR_OK)
        return;
    memset(c->mark.items, 0, c->nfa.count * sizeof *c->mark.items);
    c->stamp = 0;
    begin_subset(c);
    close_over(c, 0);
    if (c->scratch.count == 0) { /* a rule that matches nothing still has a start */
        if (!vec_push(NULL, &c->states, (struct gram_state){0}))
            (void)no_memory(c);
        return;
    }
    (void)end_subset(c, first);
    for (uint32_t s = first; s < c->states.count && c->err == ERR_OK; s++)
        expand(c, first, s, &bytes, &calls);
    vec_free(NULL, &bytes);
    vec_free(NULL, &calls);
}

/* ---- life: which rules can end, and from which states ---- */

static uint32_t callee_rule(const struct compiler *c, uint32_t callee)
{
    return callee & GRAM_LOOP ? c->loops.items[callee & ~GRAM_LOOP].rule : callee;
}

/* A call can be got through: its rule can end, or it is a loop that needs no round. */
static bool passable(const struct compiler *c, const uint8_t *rule_alive, uint32_t callee)
{
    return rule_alive[callee_rule(c, callee)] ||
           ((callee & GRAM_LOOP) && c->loops.items[callee & ~GRAM_LOOP].min == 0);
}

/* One pass over a rule's states, backwards; true when something became alive. */
static bool spread_life(const struct compiler *c, uint32_t rule, uint8_t *alive,
                        uint8_t *rule_alive)
{
    uint32_t first = c->starts.items[rule];
    uint32_t end =
        rule + 1 < c->starts.count ? c->starts.items[rule + 1] : (uint32_t)c->states.count;
    bool any = false;
    for (uint32_t s = end; s-- > first;) {
        const struct gram_state *state = &c->states.items[s];
        bool live = state->final;
        for (uint32_t i = 0; i < state->edge_count && !live; i++)
            live = alive[c->edges.items[state->edge_first + i].to];
        for (uint32_t i = 0; i < state->call_count && !live; i++) {
            const struct gram_call *call = &c->calls.items[state->call_first + i];
            live = alive[call->ret] && passable(c, rule_alive, call->callee);
        }
        if (live && !alive[s]) {
            alive[s] = 1;
            any = true;
        }
    }
    if (alive[first] && !rule_alive[rule])
        rule_alive[rule] = 1;
    return any;
}

#define PASSES_MAX 400

/* Drops edges and calls that lead nowhere. */
static void prune(struct compiler *c, const uint8_t *alive, const uint8_t *rule_alive)
{
    for (size_t s = 0; s < c->states.count; s++) {
        struct gram_state *state = &c->states.items[s];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < state->edge_count; i++) {
            struct gram_edge edge = c->edges.items[state->edge_first + i];
            if (alive[edge.to])
                c->edges.items[state->edge_first + kept++] = edge;
        }
        state->edge_count = kept;
        kept = 0;
        for (uint32_t i = 0; i < state->call_count; i++) {
            struct gram_call call = c->calls.items[state->call_first + i];
            if (alive[call.ret] && passable(c, rule_alive, call.callee))
                c->calls.items[state->call_first + kept++] = call;
        }
        state->call_count = kept;
        state->tail = state->final && state->edge_count == 0 && state->call_count == 0;
    }
    for (size_t i = 0; i < c->loops.count; i++)
        if (!rule_alive[c->loops.items[i].rule])
            c->loops.items[i].max = 0;
}

static void find_life(struct compiler *c)
{
    uint8_t *alive = mem_calloc(NULL, c->states.count + 1, 1);
    uint8_t *rule_alive = mem_calloc(NULL, c->starts.count + 1, 1);
    bool any = true;
    if (!alive || !rule_alive)
        any = no_memory(c);
    for (unsigned pass = 0; any; pass++) {
        any = false;
        if (pass == PASSES_MAX) {
            (void)fail(c, ERR_LIMIT, "The grammar's rules depend on each other too deeply");
            break;
        }
        for (size_t i = 0; i < c->starts.count; i++) {
            size_t rule = pass % 2 ? i : c->starts.count - 1 - i;
            any |= spread_life(c, (uint32_t)rule, alive, rule_alive);
        }
    }
    if (c->err == ERR_OK && !rule_alive[0])
        (void)fail(c, ERR_INVALID, "No text can match this grammar");
    if (c->err == ERR_OK)
        prune(c, alive, rule_alive);
    mem_free(NULL, alive);
    mem_free(NULL, rule_alive);
}

/* ---- left recursion: a rule that calls itself before it has taken a byte would push for ever ----
 */

/* Whether a call of `callee` may take no byte. */
static bool is_empty(const struct compiler *c, const uint8_t *nullable, uint32_t callee)
{
    return nullable[callee_rule(c, callee)] ||
           ((callee & GRAM_LOOP) && c->loops.items[callee & ~GRAM_LOOP].min == 0);
}

/* Marks with `stamp` and lists in `stack` the states that the rule's start reaches without a byte.
 */
static void reach(struct compiler *c, uint32_t start, const uint8_t *nullable)
{
    c->stamp++;
    c->scratch.count = 0;
    if (!vec_push(NULL, &c->scratch, start)) {
        (void)no_memory(c);
        return;
    }
    c->mark.items[start] = c->stamp;
    for (size_t at = 0; at < c->scratch.count && c->err == ERR_OK; at++) {
        const struct gram_state *state = &c->states.items[c->scratch.items[at]];
        for (uint32_t i = 0; i < state->call_count; i++) {
            const struct gram_call *call = &c->calls.items[state->call_first + i];
            if (c->mark.items[call->ret] == c->stamp || !is_empty(c, nullable, call->callee))
                continue;
            c->mark.items[call->ret] = c->stamp;
            if (!vec_push(NULL, &c->scratch, call->ret))
                (void)no_memory(c);
        }
    }
}

/* Depth-first over rules with a stack of our own; colours: 1 on the path, 2 done. */
static void check_recursion(struct compiler *c, const uint8_t *nullable)
{
    uint8_t *colour = mem_calloc(NULL, c->starts.count, 1);
    struct ids path = {0};
    if (!colour) {
        (void)no_memory(c);
        return;
    }
    for (uint32_t root = 0; root < c->starts.count && c->err == ERR_OK; root++) {
        if (colour[root])
            continue;
        path.count = 0;
        if (!vec_push(NULL, &path, root))
            (void)no_memory(c);
        while (path.count > 0 && c->err == ERR_OK) {
            uint32_t rule = path.items[path.count - 1];
            if (colour[rule]) {
                colour[rule] = 2;
                path.count--;
                continue;
            }
            colour[rule] = 1;
            reach(c, c->starts.items[rule], nullable);
            for (size_t at = 0; at < c->scratch.count && c->err == ERR_OK; at++) {
                const struct gram_state *state = &c->states.items[c->scratch.items[at]];
                for (uint32_t i = 0; i < state->call_count; i++) {
                    uint32_t callee = callee_rule(c, c->calls.items[state->call_first + i].callee);
                    if (colour[callee] == 1) {
                        const struct ast_rule *named =
                            callee < c->ast->rules.count ? &c->ast->rules.items[callee] : NULL;
                        c->err = err_set(
                            c->report, ERR_UNSUPPORTED,
                            "Left recursion: the rule \"%.*s\" can begin with itself",
                            named ? (int)(named->name_bytes < 100 ? named->name_bytes : 100) : 1,
                            named ? c->ast->bytes.data + named->name : "?");
                    } else if (colour[callee] == 0 && !vec_push(NULL, &path, callee)) {
                        (void)no_memory(c);
                    }
                }
            }
        }
    }
    vec_free(NULL, &path);
    mem_free(NULL, colour);
}

static void check_empty_starts(struct compiler *c)
{
    uint8_t *nullable = mem_calloc(NULL, c->starts.count, 1);
    bool any = nullable != NULL && vec_reserve(NULL, &c->mark, c->states.count);
    if (!any)
        (void)no_memory(c);
    else
        memset(c->mark.items, 0, c->mark.capacity * sizeof *c->mark.items);
    c->mark.count = 0;
    c->stamp = 0;
    for (unsigned pass = 0; any && c->err == ERR_OK; pass++) {
        any = false;
        if (pass == PASSES_MAX)
            (void)fail(c, ERR_LIMIT, "The grammar's rules depend on each other too deeply");
        for (size_t i = 0; i < c->starts.count && c->err == ERR_OK; i++) {
            size_t rule = pass % 2 ? i : c->starts.count - 1 - i;
            if (nullable[rule])
                continue;
            reach(c, c->starts.items[rule], nullable);
            for (size_t k = 0; k < c->scratch.count && !nullable[rule]; k++)
                if (c->states.items[c->scratch.items[k]].final)
                    nullable[rule] = any = true;
        }
    }
    for (size_t i = 0; i < c->loops.count && c->err == ERR_OK; i++)
        if (nullable[c->loops.items[i].rule])
            (void)fail(c, ERR_LIMIT, "Something that may be empty is repeated too many times");
    if (c->err == ERR_OK)
        check_recursion(c, nullable);
    mem_free(NULL, nullable);
}

/* ---- plain characters ---- */

/* The state that all of [first, last] lead to from `state`; GRAM_NONE when not all or not to one.
 */
static uint32_t all_to(const struct compiler *c, uint32_t state, unsigned first, unsigned last)
{
    const struct gram_state *s = &c->states.items[state];
    for (uint32_t i = 0; i < s->edge_count; i++) {
        const struct gram_edge *edge = &c->edges.items[s->edge_first + i];
        if (edge->first <= first && edge->last >= last)
            return edge->to;
    }
    return GRAM_NONE;
}

/* As all_to over paths of up to four byte ranges; edges may cut the first range. */
static bool path_to(const struct compiler *c, uint32_t state, const uint8_t (*ranges)[2],
                    int length, uint32_t want)
{
    for (unsigned byte = ranges[0][0]; byte <= ranges[0][1]; byte++) {
        uint32_t next = all_to(c, state, byte, byte);
        for (int i = 1; i < length && next != GRAM_NONE; i++)
            next = all_to(c, next, ranges[i][0], ranges[i][1]);
        if (next == GRAM_NONE || (want != GRAM_NONE ? next != want : !c->states.items[next].tail))
            return false;
    }
    return true;
}

/* Whether every plain character leads from `state` to `want`, or (GRAM_NONE) to states that only
 * end their rule. */
static bool takes_plain(const struct compiler *c, uint32_t state, uint32_t want)
{
    static const struct {
        int length;
        uint8_t ranges[4][2];
    } paths[] = {
        {1, {{0x20, 0x21}}},
        {1, {{0x23, 0x5B}}},
        {1, {{0x5D, 0x7F}}},
        {2, {{0xC2, 0xDF}, {0x80, 0xBF}}},
        {3, {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}}},
        {3, {{0xE1, 0xE1}, {0x80, 0xBF}, {0x80, 0xBF}}},
        {3, {{0xE2, 0xE2}, {0x80, 0x80}, {0x80, 0xA7}}}, /* but U+2028 and U+2029 */
        {3, {{0xE2, 0xE2}, {0x80, 0x80}, {0xAA, 0xBF}}},
        {3, {{0xE2, 0xE2}, {0x81, 0xBF}, {0x80, 0xBF}}},
        {3, {{0xE3, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}}},
        {3, {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}}},
        {3, {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}}},
        {4, {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
        {4, {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
        {4, {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}},
    };
    if (c->states.items[state].edge_count < 3)
        return false;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!path_to(c, state, paths[i].ranges, paths[i].length, want))
            return false;
    return true;
}

static uint64_t loop_classes(const struct compiler *c, uint32_t state)
{
    uint64_t missing = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        if (all_to(c, state, byte, byte) != state)
            missing |= 1ull << gram_byte_class((uint8_t)byte);
    return ~missing;
}

static bool has_loop(const struct compiler *c, uint32_t state)
{
    const struct gram_state *s = &c->states.items[state];
    for (uint32_t i = 0; i < s->edge_count; i++)
        if (c->edges.items[s->edge_first + i].to == state)
            return true;
    return false;
}

static void find_plain(struct compiler *c)
{
    for (uint32_t s = 0; s < c->states.count; s++) {
        if (!has_loop(c, s))
            continue;
        c->states.items[s].plain_loop = takes_plain(c, s, s);
        c->states.items[s].loop_classes = loop_classes(c, s);
    }
    for (size_t i = 0; i < c->loops.count; i++) {
        uint32_t start = c->starts.items[c->loops.items[i].rule];
        for (int follow = 0; follow < 8; follow++) { /* a body that is just another rule's name */
            const struct gram_state *state = &c->states.items[start];
            const struct gram_call *call = &c->calls.items[state->call_first];
            if (state->edge_count > 0 || state->call_count != 1 || (call->callee & GRAM_LOOP) ||
                !c->states.items[call->ret].tail)
                break;
            start = c->starts.items[call->callee];
        }
        c->loops.items[i].start = start;
        c->loops.items[i].plain =
            c->states.items[start].call_count == 0 && takes_plain(c, start, GRAM_NONE);
    }
}

/* ---- all of it ---- */

static enum err take_result(struct compiler *c, struct gram **out)
{
    struct buf text;
    struct gram *gram = mem_calloc(NULL, 1, sizeof *gram);
    buf_init(&text, NULL);
    if (!gram || !ast_print(c->ast, &text)) {
        mem_free(NULL, gram);
        buf_deinit(&text);
        (void)no_memory(c);
        return c->err;
    }
    gram->refs = 1;
    gram->text = text.data;
    gram->states = c->states.items;
    gram->state_count = c->states.count;
    gram->edges = c->edges.items;
    gram->edge_count = c->edges.count;
    gram->calls = c->calls.items;
    gram->call_count = c->calls.count;
    gram->rule_starts = c->starts.items;
    gram->rule_count = c->starts.count;
    gram->loops = c->loops.items;
    gram->loop_count = c->loops.count;
    *out = gram;
    return ERR_OK;
}

enum err gram_compile(struct ast *ast, struct gram **gram, struct report *report)
{
    struct compiler c = {.ast = ast, .report = report, .err = ast->err};
    map_init(&c.known, NULL);
    for (size_t i = 0; i < ast->rules.count && c.err == ERR_OK; i++) {
        CHECK(ast->rules.items[i].body != AST_NONE);
        if (!vec_push(NULL, &c.bodies, ast->rules.items[i].body))
            (void)no_memory(&c);
    }
    for (size_t i = 0; i < c.bodies.count && c.err == ERR_OK; i++)
        compile_rule(&c, c.bodies.items[i]);
    if (c.err == ERR_OK)
        find_life(&c);
    if (c.err == ERR_OK)
        check_empty_starts(&c);
    if (c.err == ERR_OK)
        find_plain(&c);
    enum err err = c.err == ERR_OK ? take_result(&c, gram) : c.err;
    if (err != ERR_OK) {
        vec_free(NULL, &c.states);
        vec_free(NULL, &c.edges);
        vec_free(NULL, &c.calls);
        vec_free(NULL, &c.loops);
        vec_free(NULL, &c.starts);
    }
    vec_free(NULL, &c.bodies);
    vec_free(NULL, &c.nfa);
    vec_free(NULL, &c.nfa_edges);
    vec_free(NULL, &c.items);
    vec_free(NULL, &c.sets);
    vec_free(NULL, &c.mark);
    vec_free(NULL, &c.scratch);
    vec_free(NULL, &c.stack);
    map_deinit(&c.known);
    return err;
}

struct gram *gram_ref(struct gram *gram)
{
    gram->refs++;
    return gram;
}

void gram_unref(struct gram *gram)
{
    if (!gram || --gram->refs > 0)
        return;
    gram_cache_destroy(gram->cache);
    mem_free(NULL, gram->text);
    mem_free(NULL, gram->states);
    mem_free(NULL, gram->edges);
    mem_free(NULL, gram->calls);
    mem_free(NULL, gram->rule_starts);
    mem_free(NULL, gram->loops);
    mem_free(NULL, gram);
}

const char *gram_text(const struct gram *gram)
{
    return gram->text;
}
