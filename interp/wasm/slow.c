/* Rare instructions as C functions: bulk memory, tables, references. Operands lie in consecutive
 * slots from `a`, a result goes to `c`; the indices are in word 2 (`target`, `charge`) or, for
 * instructions of two words, in `imm`. */
#include "interp/wasm/slow.h"

#include <string.h>

#include "interp/wasm/code.h"

static void advance(union wasm_value *value, const struct wasm_limits *limits, uint64_t by)
{
    value->i64 = address(value, limits) + by;
}
static const struct wasm_limits narrow = {.is64 = false};

int slow_ref_func(struct wasm_regs *g)
{
    g->R[g->p[1].c].ref = wasm_instance_func(g->x->instance, g->p[1].imm);
    return next(g, 2);
}

/* ---- memories ---------------------------------------------------------------------------- */

int slow_memory_size(struct wasm_regs *g)
{
    const struct wasm_memory *memory = memory_at(g, g->p[1].imm);
    result(g, &memory->limits, (int64_t)(memory->bytes / WASM_PAGE_BYTES));
    return next(g, 2);
}

int slow_memory_grow(struct wasm_regs *g)
{
    struct wasm_memory *memory = memory_at(g, g->p[1].imm);
    uint64_t before = memory->bytes;
    result(g, &memory->limits, wasm_memory_grow(memory, address(operands(g), &memory->limits)));
    charge(g, memory->bytes - before);
    g->M = g->x->instance->memories[0]->data;
    return next(g, 2);
}

/* Moves the first piece, or the last when a later one would overwrite what is still to be read. */
static int copy(struct wasm_regs *g, union wasm_value *o, uint8_t *to, const uint8_t *from,
                const struct wasm_limits *limits[3], uint64_t item_bytes)
{
    uint64_t at = address(&o[0], limits[0]), source = address(&o[1], limits[1]);
    uint64_t count = address(&o[2], limits[2]), done = piece(g, count, item_bytes);
    uint8_t *target = to + at * item_bytes;
    const uint8_t *origin = from + source * item_bytes;
    if (target > origin) {
        target += (count - done) * item_bytes;
        origin += (count - done) * item_bytes;
    } else {
        advance(&o[0], limits[0], done);
        advance(&o[1], limits[1], done);
    }
    o[2].i64 = count - done;
    if (done > 0)
        memmove(target, origin, done * item_bytes);
    return bulk_done(g, done, count, item_bytes);
}

int slow_memory_copy(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_memory *to = memory_at(g, index1(g)), *from = memory_at(g, index2(g));
    const struct wasm_limits narrower = {.is64 = to->limits.is64 && from->limits.is64};
    if (!fits(address(&o[0], &to->limits), address(&o[2], &narrower), to->bytes) ||
        !fits(address(&o[1], &from->limits), address(&o[2], &narrower), from->bytes))
        return trap(g, TRAP_MEMORY);
    const struct wasm_limits *limits[3] = {&to->limits, &from->limits, &narrower};
    return copy(g, o, to->data, from->data, limits, 1);
}

int slow_memory_fill(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_memory *memory = memory_at(g, index1(g));
    uint64_t at = address(&o[0], &memory->limits), count = address(&o[2], &memory->limits);
    if (!fits(at, count, memory->bytes))
        return trap(g, TRAP_MEMORY);
    uint64_t done = piece(g, count, 1);
    advance(&o[0], &memory->limits, done);
    o[2].i64 = count - done;
    if (done > 0)
        memset(memory->data + at, (int)(o[1].i32 & 0xFF), done);
    return bulk_done(g, done, count, 1);
}

int slow_memory_init(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    const struct wasm_data_def *data = &g->x->instance->module->datas[index1(g)];
    struct wasm_memory *memory = memory_at(g, index2(g));
    uint64_t at = address(&o[0], &memory->limits);
    uint32_t source = o[1].i32, count = o[2].i32;
    uint32_t bytes = g->x->instance->data_dropped[index1(g)] ? 0 : data->bytes;
    if (!fits(at, count, memory->bytes) || !fits(source, count, bytes))
        return trap(g, TRAP_MEMORY);
    uint64_t done = piece(g, count, 1);
    advance(&o[0], &memory->limits, done);
    advance(&o[1], &narrow, done);
    o[2].i64 = count - done;
    if (done > 0)
        memcpy(memory->data + at, data->data + source, done);
    return bulk_done(g, done, count, 1);
}

int slow_data_drop(struct wasm_regs *g)
{
    g->x->instance->data_dropped[index1(g)] = 1;
    return next(g, 3);
}

/* ---- tables ------------------------------------------------------------------------------ */

int slow_table_get(struct wasm_regs *g)
{
    const struct wasm_table *table = table_at(g, index1(g));
    uint64_t at = address(operands(g), &table->limits);
    if (at >= table->size)
        return trap(g, TRAP_TABLE);
    g->R[g->p[1].c].ref = table->items[at];
    return next(g, 3);
}

int slow_table_set(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index1(g));
    uint64_t at = address(&o[0], &table->limits);
    if (at >= table->size)
        return trap(g, TRAP_TABLE);
    table->items[at] = o[1].ref;
    return next(g, 3);
}

int slow_table_size(struct wasm_regs *g)
{
    const struct wasm_table *table = table_at(g, index1(g));
    result(g, &table->limits, (int64_t)table->size);
    return next(g, 3);
}

int slow_table_grow(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index1(g));
    uint64_t before = table->size;
    result(g, &table->limits, wasm_table_grow(table, address(&o[1], &table->limits), o[0].ref));
    charge(g, (table->size - before) * sizeof(void *));
    return next(g, 3);
}

int slow_table_fill(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index1(g));
    uint64_t at = address(&o[0], &table->limits), count = address(&o[2], &table->limits);
    if (!fits(at, count, table->size))
        return trap(g, TRAP_TABLE);
    uint64_t done = piece(g, count, sizeof(void *));
    for (uint64_t i = 0; i < done; i++)
        table->items[at + i] = o[1].ref;
    advance(&o[0], &table->limits, done);
    o[2].i64 = count - done;
    return bulk_done(g, done, count, sizeof(void *));
}

int slow_table_copy(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_table *to = table_at(g, index1(g)), *from = table_at(g, index2(g));
    const struct wasm_limits narrower = {.is64 = to->limits.is64 && from->limits.is64};
    if (!fits(address(&o[0], &to->limits), address(&o[2], &narrower), to->size) ||
        !fits(address(&o[1], &from->limits), address(&o[2], &narrower), from->size))
        return trap(g, TRAP_TABLE);
    const struct wasm_limits *limits[3] = {&to->limits, &from->limits, &narrower};
    return copy(g, o, (uint8_t *)to->items, (const uint8_t *)from->items, limits, sizeof(void *));
}

int slow_table_init(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index2(g));
    uint64_t at = address(&o[0], &table->limits);
    uint32_t source = o[1].i32, count = o[2].i32;
    /* The whole is checked before a piece is done. */
    if (!fits(at, count, table->size) ||
        !wasm_instance_init_table(g->x->instance, index1(g), table, at + count,
                                  (uint64_t)source + count, 0))
        return trap(g, TRAP_TABLE);
    uint64_t done = piece(g, count, sizeof(void *));
    if (!wasm_instance_init_table(g->x->instance, index1(g), table, at, source, done))
        return trap(g, TRAP_TABLE);
    advance(&o[0], &table->limits, done);
    advance(&o[1], &narrow, done);
    o[2].i64 = count - done;
    return bulk_done(g, done, count, sizeof(void *));
}

int slow_elem_drop(struct wasm_regs *g)
{
    g->x->instance->elem_dropped[index1(g)] = 1;
    return next(g, 3);
}
