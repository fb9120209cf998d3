/* Rare instructions as C functions: bulk memory, tables, references. Operands lie in consecutive
 * slots from `a`, a result goes to `c`; the indices are in word 2 (`target`, `charge`) or, for
 * instructions of two words, in `imm`. */
#include "interp/wasm/slow.h"

#include <string.h>

#include "interp/wasm/code.h"

static int trap(struct wasm_regs *g, enum wasm_trap reason)
{
    g->x->trap = reason;
    return STEP_TRAP;
}

static int next(struct wasm_regs *g, unsigned words)
{
    g->p += words;
    return STEP_NEXT;
}

static union wasm_value *operands(const struct wasm_regs *g)
{
    return g->R + g->p[1].a;
}
static uint32_t index1(const struct wasm_regs *g)
{
    return (uint32_t)g->p[2].target;
}
static uint32_t index2(const struct wasm_regs *g)
{
    return (uint32_t)g->p[2].charge;
}
static struct wasm_memory *memory_at(const struct wasm_regs *g, uint32_t index)
{
    return g->x->instance->memories[index];
}
static struct wasm_table *table_at(const struct wasm_regs *g, uint32_t index)
{
    return g->x->instance->tables[index];
}

/* An index or a size, 32 or 64 bits wide as the type says. */
static uint64_t address(const union wasm_value *value, const struct wasm_limits *limits)
{
    return limits->is64 ? value->i64 : value->i32;
}
static void result(struct wasm_regs *g, const struct wasm_limits *limits, int64_t value)
{
    g->R[g->p[1].c].i64 = limits->is64 ? (uint64_t)value : (uint32_t)value;
}
/* Long work uses fuel by its size; the next branch or call notices. */
static void charge(struct wasm_regs *g, uint64_t bytes)
{
    g->fuel -= (int64_t)(bytes / BULK_BYTES_PER_UNIT);
}
static bool fits(uint64_t at, uint64_t count, uint64_t size)
{
    return count <= size && at <= size - count;
}

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

int slow_memory_copy(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_memory *to = memory_at(g, index1(g)), *from = memory_at(g, index2(g));
    struct wasm_limits narrower = {.is64 = to->limits.is64 && from->limits.is64};
    uint64_t at = address(&o[0], &to->limits), source = address(&o[1], &from->limits);
    uint64_t count = address(&o[2], &narrower);
    if (!fits(at, count, to->bytes) || !fits(source, count, from->bytes))
        return trap(g, TRAP_MEMORY);
    charge(g, count);
    if (count > 0)
        memmove(to->data + at, from->data + source, count);
    return next(g, 3);
}

int slow_memory_fill(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_memory *memory = memory_at(g, index1(g));
    uint64_t at = address(&o[0], &memory->limits), count = address(&o[2], &memory->limits);
    if (!fits(at, count, memory->bytes))
        return trap(g, TRAP_MEMORY);
    charge(g, count);
    if (count > 0)
        memset(memory->data + at, (int)(o[1].i32 & 0xFF), count);
    return next(g, 3);
}

int slow_memory_init(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    const struct wasm_data_def *data = &g->x->instance->module->datas[index1(g)];
    struct wasm_memory *memory = memory_at(g, index2(g));
    uint64_t at = address(&o[0], &memory->limits);
    uint32_t source = o[1].i32, count = o[2].i32;
    uint32_t bytes = g->x->instance->data_dropped[index1(g)] ? 0 : data->bytes;
    if (!fits(at, count, memory->bytes) || !fits(source, count, bytes))
        return trap(g, TRAP_MEMORY);
    charge(g, count);
    if (count > 0)
        memcpy(memory->data + at, data->data + source, count);
    return next(g, 3);
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
    const union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index1(g));
    uint64_t at = address(&o[0], &table->limits), count = address(&o[2], &table->limits);
    if (!fits(at, count, table->size))
        return trap(g, TRAP_TABLE);
    charge(g, count * sizeof(void *));
    for (uint64_t i = 0; i < count; i++)
        table->items[at + i] = o[1].ref;
    return next(g, 3);
}

int slow_table_copy(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_table *to = table_at(g, index1(g)), *from = table_at(g, index2(g));
    struct wasm_limits narrower = {.is64 = to->limits.is64 && from->limits.is64};
    uint64_t at = address(&o[0], &to->limits), source = address(&o[1], &from->limits);
    uint64_t count = address(&o[2], &narrower);
    if (!fits(at, count, to->size) || !fits(source, count, from->size))
        return trap(g, TRAP_TABLE);
    charge(g, count * sizeof(void *));
    if (count > 0)
        memmove(to->items + at, from->items + source, count * sizeof *to->items);
    return next(g, 3);
}

int slow_table_init(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_table *table = table_at(g, index2(g));
    uint64_t at = address(&o[0], &table->limits);
    if (!wasm_instance_init_table(g->x->instance, index1(g), table, at, o[1].i32, o[2].i32))
        return trap(g, TRAP_TABLE);
    charge(g, o[2].i32 * sizeof(void *));
    return next(g, 3);
}

int slow_elem_drop(struct wasm_regs *g)
{
    g->x->instance->elem_dropped[index1(g)] = 1;
    return next(g, 3);
}
