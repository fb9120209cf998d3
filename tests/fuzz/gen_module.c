#include "tests/fuzz/gen_module.h"

#include <stdio.h>

#include "tests/fuzz/gen.h"

enum { SHAPES_MAX = 6, RUN_CALLS_MAX = 3, SIGS_OWN_MAX = 10, RESULTS_MAX = 8 };

/* What the module's functions are. */
struct plan {
    unsigned own_count; /* neither imported nor exported */
    bool has_start, has_endless;
    unsigned start;
    unsigned helper_sig, shape_count, shape_kind[SHAPES_MAX];
    struct buf shapes[SHAPES_MAX];
};

static void put_section(struct buf *out, unsigned id, struct buf *body)
{
    gen_put(out, id);
    gen_put_u(out, body->count);
    buf_append(out, body->data ? body->data : "", body->count);
    buf_clear(body);
}

static void put_list(struct buf *out, const struct list *list)
{
    gen_put_u(out, list->count);
    buf_append(out, list->items, list->count);
}

/* ---- functions --------------------------------------------------------------------------- */

/* The body in g->code, which g->locals belong to. */
static void finish_body(struct gen *g, struct buf *section, unsigned param_count, bool may_recurse)
{
    struct buf body;
    buf_init(&body, NULL);
    /* A frame that has to ask whether there is room for it; never in a recursion, for where its
     * end is differs between engines. */
    bool has_more = !may_recurse && gen_chance(g, 1);
    gen_put_u(&body, g->local_count - param_count + has_more);
    for (unsigned i = param_count; i < g->local_count; i++) {
        gen_put_u(&body, 1);
        gen_put(&body, g->locals[i]);
    }
    if (has_more) {
        gen_put_u(&body, 1100);
        gen_put(&body, WASM_I64);
    }
    gen_op(g, WASM_OP_END);
    buf_append(&body, g->code.data, g->code.count);
    gen_put_u(section, body.count);
    buf_append(section, body.data ? body.data : "", body.count);
    if (body.failed || g->code.failed)
        section->failed = true;
    buf_deinit(&body);
    buf_clear(&g->code);
}

/* `own`: locals beside the parameters and the scratch ones. */
static void begin_body(struct gen *g, const struct sig *sig, unsigned own)
{
    g->sig = sig;
    g->local_count = 0;
    for (unsigned i = 0; i < sig->params.count; i++)
        g->locals[g->local_count++] = sig->params.items[i];
    for (unsigned i = 0; i < own; i++)
        g->locals[g->local_count++] = gen_pick_type(g);
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        bool absent = gen_types[i] == WASM_EXNREF && !(g->features & GEN_EXCEPTIONS);
        g->locals[g->local_count++] = absent ? WASM_I32 : gen_types[i];
    }
    g->labels[0].types = sig->results;
    g->label_count = 1;
}

/* i32 parameters, mixed into one i32. */
static void helper(struct gen *g, struct buf *section, const struct sig *sig)
{
    begin_body(g, sig, 0);
    gen_i32_const(g, 7);
    for (unsigned i = 0; i < sig->params.count; i++) {
        gen_i32_const(g, 3);
        gen_op(g, WASM_OP_I32_MUL);
        gen_op_u(g, WASM_OP_LOCAL_GET, i);
        gen_op(g, WASM_OP_I32_XOR);
    }
    gen_i32_const(g, 0xFFF);
    gen_op(g, WASM_OP_I32_AND);
    finish_body(g, section, sig->params.count, false);
}

static void function(struct gen *g, struct buf *section, const struct plan *plan)
{
    const struct sig *sig = &g->sigs[g->func_sig[g->func_index]];
    unsigned own = g->func_index - g->import_count;
    if (plan->has_endless && own == plan->own_count - 1) {
        begin_body(g, sig, 0);
        gen_op_u(g, WASM_OP_CALL, g->func_index);
        finish_body(g, section, sig->params.count, true);
    } else if (g->features & GEN_SHAPES && own < SHAPE_HELPERS) {
        helper(g, section, sig);
    } else if (g->features & GEN_SHAPES) {
        begin_body(g, sig, 0);
        gen_shape_body(g, plan->shape_kind[own - SHAPE_HELPERS],
                       plan->shapes[own - SHAPE_HELPERS].data, g->import_count, plan->helper_sig);
        finish_body(g, section, sig->params.count, false);
    } else {
        unsigned many = gen_pick(g, 100) < 95 ? 8 : LOCALS_MAX - TYPE_COUNT - LIST_MAX - RESULTS_MAX;
        begin_body(g, sig, gen_pick(g, many));
        gen_body(g, !plan->has_start || g->func_index != plan->start);
        finish_body(g, section, sig->params.count, true);
    }
}

/* wabt's interpreter has room for 1,024 calls. */
static int32_t charge_of(const struct gen *g)
{
    return g->features & GEN_HASH ? 800 : CHARGE;
}

/* An exported function: sets the counter, calls some functions, folds their results and at last
 * the globals. */
static void runner(struct gen *g, struct buf *section, const unsigned *callees, unsigned count)
{
    begin_body(g, &g->sigs[0], 0);
    unsigned own = g->local_count;
    /* Behind the scratch locals, which `gen_scratch` finds from the end: an i64 for the fold, then
     * what the calls leave. */
    unsigned all = own, sum = all++;
    uint8_t locals[LOCALS_MAX + RUN_CALLS_MAX * LIST_MAX];
    memcpy(locals, g->locals, own);
    locals[sum] = WASM_I64;
    gen_i32_const(g, charge_of(g));
    gen_op_u(g, WASM_OP_GLOBAL_SET, g->global_count - 1);
    for (unsigned n = 0; n < count; n++) {
        const struct sig *sig = &g->sigs[g->func_sig[callees[n]]];
        bool is_shape = g->features & GEN_SHAPES && sig->params.count == SHAPE_PARAMS;
        for (unsigned i = 0; i < sig->params.count; i++)
            if (is_shape)
                gen_shape_argument(g, i);
            else
                gen_put_const(g, &g->code, sig->params.items[i]);
        gen_op_u(g, WASM_OP_CALL, callees[n]);
        unsigned first = all;
        for (unsigned i = 0; i < sig->results.count; i++)
            locals[all++] = sig->results.items[i];
        for (unsigned i = sig->results.count; i > 0; i--)
            gen_op_u(g, WASM_OP_LOCAL_SET, first + i - 1);
        for (unsigned i = 0; i < sig->results.count; i++) {
            gen_op_u(g, WASM_OP_LOCAL_GET, sum);
            gen_op_u(g, WASM_OP_LOCAL_GET, first + i);
            gen_fold(g, sig->results.items[i]);
            gen_op_u(g, WASM_OP_LOCAL_SET, sum);
        }
    }
    gen_op_u(g, WASM_OP_LOCAL_GET, sum);
    for (unsigned i = 0; i < g->global_count; i++) {
        gen_op_u(g, WASM_OP_GLOBAL_GET, i);
        gen_fold(g, g->globals[i]);
    }
    memcpy(g->locals, locals, all);
    g->local_count = all;
    finish_body(g, section, 0, false);
}

/* Hashes memory 0 word by word. */
static void hasher(struct gen *g, struct buf *section)
{
    bool is64 = g->memories[0].is64;
    g->locals[0] = is64 ? WASM_I64 : WASM_I32; /* the address */
    g->locals[1] = g->locals[0];               /* the end */
    g->locals[2] = WASM_I64;
    g->local_count = 3;
    gen_op_u(g, WASM_OP_MEMORY_SIZE, 0);
    gen_op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(&g->code, 16);
    gen_op(g, is64 ? WASM_OP_I64_SHL : WASM_OP_I32_SHL);
    gen_op_u(g, WASM_OP_LOCAL_SET, 1);
    gen_op(g, WASM_OP_BLOCK);
    gen_put(&g->code, 0x40);
    gen_op(g, WASM_OP_LOOP);
    gen_put(&g->code, 0x40);
    gen_op_u(g, WASM_OP_LOCAL_GET, 0);
    gen_op_u(g, WASM_OP_LOCAL_GET, 1);
    gen_op(g, is64 ? WASM_OP_I64_EQ : WASM_OP_I32_EQ);
    gen_op_u(g, WASM_OP_BR_IF, 1);
    gen_op_u(g, WASM_OP_LOCAL_GET, 2);
    gen_op_u(g, WASM_OP_LOCAL_GET, 0);
    gen_op(g, WASM_OP_I64_LOAD);
    gen_put_u(&g->code, 3);
    gen_put_u(&g->code, 0);
    gen_op(g, WASM_OP_I64_XOR);
    gen_op(g, WASM_OP_I64_CONST);
    gen_put_s(&g->code, INT64_C(0x100000001B3));
    gen_op(g, WASM_OP_I64_MUL);
    gen_op_u(g, WASM_OP_LOCAL_SET, 2);
    gen_op_u(g, WASM_OP_LOCAL_GET, 0);
    gen_op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(&g->code, 8);
    gen_op(g, is64 ? WASM_OP_I64_ADD : WASM_OP_I32_ADD);
    gen_op_u(g, WASM_OP_LOCAL_SET, 0);
    gen_op_u(g, WASM_OP_BR, 0);
    gen_op(g, WASM_OP_END);
    gen_op(g, WASM_OP_END);
    gen_op_u(g, WASM_OP_LOCAL_GET, 2);
    finish_body(g, section, 0, false);
}

/* ---- what there is ----------------------------------------------------------------------- */

static struct list pick_list(struct gen *g)
{
    struct list list = {.count = gen_pick(g, gen_chance(g, 70) ? 2 : gen_chance(g, 90) ? 4 : 7)};
    for (unsigned i = 0; i < list.count; i++)
        list.items[i] = gen_pick_type(g);
    return list;
}

static unsigned add_sig(struct gen *g, const struct sig *sig)
{
    g->sigs[g->sig_count] = *sig;
    return g->sig_count++;
}

static void plan_rooms(struct gen *g)
{
    bool wide = g->features & GEN_WIDE;
    g->memory_count = 1 + (g->features & GEN_MEMORIES ? 1 + gen_pick(g, MEMORIES_MAX - 1) : 0);
    for (unsigned i = 0; i < g->memory_count; i++) {
        struct room *m = &g->memories[i];
        m->min = g->features & GEN_SHAPES ? 2 : gen_chance(g, 90) ? 1 : gen_chance(g, 50) ? 0 : 2;
        m->has_max = true;
        m->max = m->min + gen_pick(g, 3);
        m->is64 = wide && gen_chance(g, 65) && !(g->features & GEN_SHAPES && i == 0);
    }
    g->table_count = g->features & GEN_TABLES ? TABLES_MAX : 1;
    g->tables[0] = (struct room){.min = 8, .max = 12, .has_max = true, .type = WASM_FUNCREF};
    g->tables[0].is64 = wide && gen_chance(g, 30) && !(g->features & GEN_SHAPES);
    g->tables[1] = (struct room){.min = 3 + gen_pick(g, 3), .type = WASM_FUNCREF};
    g->tables[1].is64 = wide && gen_chance(g, 60);
    g->tables[2] = (struct room){.min = 4, .max = 9, .has_max = true, .type = WASM_EXTERNREF};
}

static void plan_tags(struct gen *g)
{
    if (!(g->features & GEN_EXCEPTIONS))
        return;
    for (unsigned n = 1 + gen_pick(g, TAGS_MAX); g->tag_count < n; g->tag_count++) {
        struct sig sig = {.params = pick_list(g)};
        g->tag_sig[g->tag_count] = add_sig(g, &sig);
        sig = (struct sig){.results = sig.params};
        g->catch_sig[g->tag_count][0] = add_sig(g, &sig);
        sig.results.items[sig.results.count++] = WASM_EXNREF;
        g->catch_sig[g->tag_count][1] = add_sig(g, &sig);
    }
}

static void plan_imports(struct gen *g)
{
    static const struct sig sigs[] = {
        {.params = {{WASM_I32}, 1}, .results = {{WASM_I32}, 1}},
        {.params = {{WASM_I32, WASM_I64}, 2}, .results = {{WASM_I64}, 1}},
        {.params = {{WASM_I32}, 1}, .results = {{WASM_EXTERNREF}, 1}},
        {.params = {.count = 0}},
    };
    if (!(g->features & GEN_HOST))
        return;
    g->import_count = sizeof sigs / sizeof *sigs;
    for (unsigned i = 0; i < g->import_count; i++)
        g->func_sig[g->func_count++] = add_sig(g, &sigs[i]);
    g->globals[g->global_count++] = WASM_I32;
    g->global_import_count = 1;
}

static void plan_functions(struct gen *g, struct plan *plan)
{
    static const struct sig nothing = {.params = {.count = 0}};
    if (g->features & GEN_SHAPES) {
        struct sig sig;
        plan->helper_sig = g->sig_count;
        for (unsigned i = 0; i < SHAPE_HELPERS; i++) {
            sig = (struct sig){.params = {.count = i}, .results = {{WASM_I32}, 1}};
            memset(sig.params.items, WASM_I32, i);
            g->func_sig[g->func_count++] = add_sig(g, &sig);
        }
        unsigned kinds = g->sig_count;
        for (unsigned i = 0; i < SHAPE_KINDS; i++) {
            gen_shape_sig(i, &sig);
            add_sig(g, &sig);
        }
        for (unsigned n = 3 + gen_pick(g, SHAPES_MAX - 2); plan->shape_count < n; plan->shape_count++) {
            if (g->shapes && !*g->shapes)
                break;
            plan->shape_kind[plan->shape_count] = gen_shape_next(g, &plan->shapes[plan->shape_count]);
            g->func_sig[g->func_count++] = kinds + plan->shape_kind[plan->shape_count];
        }
    } else {
        for (unsigned n = 3 + gen_pick(g, SIGS_OWN_MAX - 3); n > 0; n--) {
            struct sig sig = {.params = pick_list(g)};
            sig.results = gen_chance(g, 10) ? sig.params : pick_list(g);
            add_sig(g, &sig);
        }
        for (unsigned n = 2 + gen_pick(g, 6); n > 0; n--)
            g->func_sig[g->func_count++] = gen_pick(g, g->sig_count);
    }
    if (g->features & GEN_START && !(g->features & GEN_SHAPES)) {
        plan->has_start = true;
        plan->start = g->func_count;
        g->func_sig[g->func_count++] = add_sig(g, &nothing);
    }
    plan->has_endless = gen_chance(g, 1);
    if (plan->has_endless)
        g->func_sig[g->func_count++] = add_sig(g, &nothing);
    plan->own_count = g->func_count - g->import_count;
}

static void plan_rest(struct gen *g)
{
    static const uint8_t integers[] = {WASM_I32, WASM_I64, WASM_I32};
    if (g->features & GEN_SHAPES)
        for (unsigned i = 0; i < sizeof integers; i++)
            g->globals[g->global_count++] = integers[i];
    else
        for (unsigned n = gen_pick(g, GLOBALS_MAX - 2); n > 0; n--)
            g->globals[g->global_count++] = gen_pick_type(g);
    g->globals[g->global_count++] = WASM_I32;
    g->data_count = 1 + gen_pick(g, 3);
    g->elem_count = 1 + gen_pick(g, 3);
    for (unsigned i = 0; i < g->elem_count; i++)
        g->elem_types[i] = g->features & GEN_TABLES && gen_chance(g, 25) ? WASM_EXTERNREF : WASM_FUNCREF;
}

/* ---- sections ---------------------------------------------------------------------------- */

static void put_name(struct buf *out, char letter, unsigned number, bool numbered)
{
    char name[16];
    int bytes = numbered ? snprintf(name, sizeof name, "%c%u", letter, number) : 1;
    name[0] = letter;
    gen_put_u(out, (uint64_t)bytes);
    buf_append(out, name, (size_t)bytes);
}

static void types(struct gen *g, struct buf *out, struct buf *body)
{
    gen_put_u(body, g->sig_count);
    for (unsigned i = 0; i < g->sig_count; i++) {
        gen_put(body, 0x60);
        put_list(body, &g->sigs[i].params);
        put_list(body, &g->sigs[i].results);
    }
    put_section(out, 1, body);
    if (!g->import_count)
        return;
    gen_put_u(body, g->import_count + 1);
    for (unsigned i = 0; i < g->import_count; i++) {
        put_name(body, 'h', 0, false);
        put_name(body, 'f', i, true);
        gen_put(body, 0);
        gen_put_u(body, g->func_sig[i]);
    }
    put_name(body, 'h', 0, false);
    put_name(body, 'g', 0, false);
    gen_put(body, 3);
    gen_put(body, WASM_I32);
    gen_put(body, 1);
    put_section(out, 2, body);
}

static void put_room(struct buf *body, const struct room *room)
{
    gen_put(body, (unsigned)room->has_max | (unsigned)room->is64 << 2);
    gen_put_u(body, room->min);
    if (room->has_max)
        gen_put_u(body, room->max);
}

static void tables_to_exports(struct gen *g, struct buf *out, struct buf *body, unsigned runs)
{
    gen_put_u(body, g->table_count);
    for (unsigned i = 0; i < g->table_count; i++) {
        gen_put(body, g->tables[i].type);
        put_room(body, &g->tables[i]);
    }
    put_section(out, 4, body);
    gen_put_u(body, g->memory_count);
    for (unsigned i = 0; i < g->memory_count; i++)
        put_room(body, &g->memories[i]);
    put_section(out, 5, body);
    if (g->tag_count) {
        gen_put_u(body, g->tag_count);
        for (unsigned i = 0; i < g->tag_count; i++) {
            gen_put(body, 0);
            gen_put_u(body, g->tag_sig[i]);
        }
        put_section(out, 13, body);
    }
    gen_put_u(body, g->global_count - g->global_import_count);
    for (unsigned i = g->global_import_count; i < g->global_count; i++) {
        gen_put(body, g->globals[i]);
        gen_put(body, 1);
        if (i + 1 == g->global_count) {
            gen_put_op(body, WASM_OP_I32_CONST);
            gen_put_s(body, charge_of(g));
        } else {
            gen_put_const(g, body, g->globals[i]);
        }
        gen_put(body, WASM_OP_END);
    }
    put_section(out, 6, body);
    bool hashes = g->features & GEN_HASH;
    gen_put_u(body, g->memory_count + runs + hashes);
    for (unsigned i = 0; i < g->memory_count; i++) {
        put_name(body, 'm', i, i > 0);
        gen_put(body, 2);
        gen_put_u(body, i);
    }
    for (unsigned i = 0; i < runs + hashes; i++) {
        put_name(body, i < runs ? 'r' : 'z', i, i < runs);
        gen_put(body, 0);
        gen_put_u(body, g->func_count + i);
    }
    put_section(out, 7, body);
}

/* A function that an element may name: in modules of shapes only those that call nothing. */
static unsigned element(struct gen *g)
{
    return g->features & GEN_SHAPES ? g->import_count + gen_pick(g, SHAPE_HELPERS)
                                    : gen_pick(g, g->func_count);
}

static void put_index_const(struct buf *body, bool is64, uint64_t value)
{
    gen_put_op(body, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(body, (int64_t)value);
    gen_put(body, WASM_OP_END);
}

static void segments(struct gen *g, struct buf *body)
{
    gen_put_u(body, g->elem_count + 1);
    for (unsigned i = 0; i < g->elem_count; i++) {
        bool is_active = gen_chance(g, 70) || g->features & GEN_SHAPES;
        bool as_exprs = g->elem_types[i] != WASM_FUNCREF || (g->features & GEN_TABLES && gen_chance(g, 30));
        unsigned table = g->elem_types[i] != WASM_FUNCREF ? 2 : g->features & GEN_TABLES ? gen_pick(g, 2) : 0;
        bool named = table > 0 || g->elem_types[i] != WASM_FUNCREF || (is_active && g->features & GEN_TABLES && gen_chance(g, 30));
        gen_put(body, (is_active ? named ? 2u : 0u : 1u) | (as_exprs ? 4u : 0u));
        if (is_active && named)
            gen_put_u(body, table);
        if (is_active)
            put_index_const(body, g->tables[table].is64, gen_pick(g, gen_chance(g, 98) ? 3 : 9));
        if (!is_active || named)
            gen_put(body, as_exprs ? g->elem_types[i] : 0);
        unsigned count = g->features & GEN_SHAPES ? 5 : gen_pick(g, table == 0 ? 5 : 3);
        gen_put_u(body, count);
        for (unsigned k = 0; k < count; k++) {
            if (as_exprs && (g->elem_types[i] != WASM_FUNCREF || gen_chance(g, 20))) {
                gen_put_op(body, WASM_OP_REF_NULL);
                gen_put(body, g->elem_types[i]);
            } else {
                if (as_exprs)
                    gen_put_op(body, WASM_OP_REF_FUNC);
                gen_put_u(body, element(g));
            }
            if (as_exprs)
                gen_put(body, WASM_OP_END);
        }
    }
    gen_put(body, 3); /* declares every function, so that ref.func may name it */
    gen_put(body, 0);
    gen_put_u(body, g->func_count);
    for (unsigned k = 0; k < g->func_count; k++)
        gen_put_u(body, k);
}

static void data(struct gen *g, struct buf *body)
{
    gen_put_u(body, g->data_count);
    for (unsigned i = 0; i < g->data_count; i++) {
        unsigned memory = gen_pick(g, g->memory_count);
        bool words = g->features & GEN_SHAPES && i == 0; /* small ones, good as addresses */
        if (words)
            memory = 0;
        bool is_active = words || gen_chance(g, g->memories[memory].min > 0 ? 60 : 5);
        bool named = memory > 0 || (g->features & GEN_MEMORIES && gen_chance(g, 20));
        gen_put(body, is_active ? named ? 2 : 0 : 1);
        if (is_active && named)
            gen_put_u(body, memory);
        if (is_active)
            put_index_const(body, g->memories[memory].is64, words ? 0 : gen_pick(g, 512));
        unsigned count = words ? 512 : gen_pick(g, 40);
        gen_put_u(body, count);
        for (unsigned k = 0; k < count; k++)
            gen_put(body, words && k % 4 ? 0 : gen_pick(g, 256));
    }
}

/* The callees of the exported functions: every shape gets its turn. */
static void runners(struct gen *g, struct buf *body, unsigned runs, const struct plan *plan)
{
    for (unsigned i = 0; i < runs; i++) {
        unsigned callees[RUN_CALLS_MAX], count = 0;
        if (g->features & GEN_SHAPES && !(plan->has_endless && i == runs - 1)) {
            unsigned first = g->import_count + SHAPE_HELPERS;
            callees[count++] = first + i % plan->shape_count;
            callees[count++] = callees[0];
            callees[count++] = first + gen_pick(g, plan->shape_count);
        } else {
            callees[count++] = plan->has_endless && i == runs - 1 ? g->func_count - 1
                                                                  : gen_pick(g, g->func_count);
        }
        runner(g, body, callees, count);
    }
    if (g->features & GEN_HASH)
        hasher(g, body);
}

static bool module(struct gen *g, struct buf *out)
{
    static const struct sig run = {.results = {{WASM_I64}, 1}};
    struct plan plan = {.own_count = 0};
    struct buf body;
    buf_init(&body, NULL);
    buf_init(&g->code, NULL);
    for (unsigned i = 0; i < SHAPES_MAX; i++)
        buf_init(&plan.shapes[i], NULL);
    gen_collect_operations(g);
    add_sig(g, &run);
    plan_rooms(g);
    plan_tags(g);
    plan_imports(g);
    plan_functions(g, &plan);
    plan_rest(g);
    unsigned runs = g->features & GEN_SHAPES ? 2 * plan.shape_count + plan.has_endless : 1 + gen_pick(g, RUNS_MAX);
    unsigned hashes = (g->features & GEN_HASH) != 0;

    buf_append(out, "\0asm\1\0\0\0", 8);
    types(g, out, &body);
    gen_put_u(&body, plan.own_count + runs + hashes);
    for (unsigned i = g->import_count; i < g->func_count; i++)
        gen_put_u(&body, g->func_sig[i]);
    for (unsigned i = 0; i < runs + hashes; i++)
        gen_put(&body, 0);
    put_section(out, 3, &body);
    tables_to_exports(g, out, &body, runs);
    if (plan.has_start) {
        gen_put_u(&body, plan.start);
        put_section(out, 8, &body);
    }
    segments(g, &body);
    put_section(out, 9, &body);
    gen_put_u(&body, g->data_count);
    put_section(out, 12, &body);
    gen_put_u(&body, plan.own_count + runs + hashes);
    for (g->func_index = g->import_count; g->func_index < g->func_count; g->func_index++)
        function(g, &body, &plan);
    runners(g, &body, runs, &plan);
    put_section(out, 10, &body);
    data(g, &body);
    put_section(out, 11, &body);
    bool ok = !out->failed && !body.failed;
    for (unsigned i = 0; i < SHAPES_MAX; i++)
        buf_deinit(&plan.shapes[i]);
    buf_deinit(&g->code);
    buf_deinit(&body);
    return ok;
}

unsigned gen_mix(uint64_t seed)
{
    static const uint16_t mixes[] = {
        GEN_TAIL_CALLS,
        GEN_TAIL_CALLS | GEN_SIMD,
        GEN_ALL & ~GEN_SHAPES & ~GEN_FLOATS,
        GEN_SHAPES,
        GEN_SHAPES | GEN_SIMD | GEN_HOST,
        GEN_EXCEPTIONS | GEN_TAIL_CALLS | GEN_HOST,
        GEN_MEMORIES | GEN_SIMD | GEN_FLOATS,
        GEN_WIDE | GEN_SIMD | GEN_TAIL_CALLS,
        GEN_WIDE | GEN_MEMORIES | GEN_TABLES | GEN_FLOATS,
        GEN_TABLES | GEN_START | GEN_HOST | GEN_TAIL_CALLS,
        GEN_SIMD | GEN_RELAXED,
        GEN_EXCEPTIONS | GEN_TABLES | GEN_SIMD | GEN_HOST,
        GEN_SHAPES | GEN_HOST,
        GEN_FLOATS | GEN_START,
        GEN_SHAPES | GEN_SIMD,
        GEN_ALL & ~GEN_SHAPES,
    };
    return mixes[seed % (sizeof mixes / sizeof *mixes)];
}

bool gen_module(uint64_t seed, unsigned features, const char *shapes, struct buf *used,
                struct buf *out)
{
    struct gen g = {.state = seed * 0x9E3779B97F4A7C15u + 1, .features = features,
                    .shapes = shapes, .used = used};
    return module(&g, out);
}

bool gen_module_from(const uint8_t *choices, size_t count, unsigned features, struct buf *out)
{
    struct gen g = {
        .state = count, .features = features, .choices = choices, .choice_bytes = count};
    return module(&g, out);
}
