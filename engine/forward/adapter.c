#include "engine/forward/adapter.h"

#include "engine/base/mem.h"
#include "engine/forward/step.h"

enum { ROWS_AT_ONCE = 16, PANELS_AT_ONCE = 8 };

static const struct adapter_pair *pair_of(const struct fwd_adapter *adapter,
                                          const struct step_product *product)
{
    const struct adapter_pair *pair =
        &adapter->pairs[(size_t)product->layer * MODEL_ROLE_COUNT + product->role];
    return pair->a.rows > 0 ? pair : NULL;
}

/* Rows from `row` on that have the same adapter, up to `end`. */
static uint32_t run_length(const struct step_rows *rows, uint32_t row, uint32_t end)
{
    uint32_t count = 1;
    while (row + count < end && rows->adapters[row + count] == rows->adapters[row])
        count++;
    return count;
}

static float *low_of(const struct step *step, uint32_t row, uint32_t slot)
{
    return step->low + ((size_t)row * STEP_LOW_SLOTS + slot) * step->low_stride;
}

void adapter_lower(const struct step *step, const struct step_rows *rows, uint32_t begin,
                   uint32_t end, const struct step_input *in, const struct step_product *products,
                   uint32_t count)
{
    for (uint32_t row = begin, run; row < end; row += run) {
        run = run_length(rows, row, end);
        for (uint32_t i = 0; rows->adapters[row] && i < count; i++) {
            const struct adapter_pair *pair = pair_of(rows->adapters[row], &products[i]);
            if (pair)
                step->fwd->simd->matmul[SIMD_F32](
                    &pair->a, 0, simd_panel_count(pair->a.rows), in->rows + row * in->stride,
                    in->stride * 4, run, low_of(step, row, i),
                    (size_t)STEP_LOW_SLOTS * step->low_stride);
        }
    }
}

void adapter_add(const struct step *step, const struct step_rows *rows,
                 const struct step_product *product, uint32_t slot, uint32_t begin, uint32_t end)
{
    const struct simd_table *simd = step->fwd->simd;
    const size_t low_stride = (size_t)STEP_LOW_SLOTS * step->low_stride;
    float room[ROWS_AT_ONCE][PANELS_AT_ONCE * SIMD_LANES];
    for (uint32_t row = 0, run; row < rows->count; row += run) {
        run = run_length(rows, row, rows->count);
        run = run < ROWS_AT_ONCE ? run : ROWS_AT_ONCE;
        const struct adapter_pair *pair =
            rows->adapters[row] ? pair_of(rows->adapters[row], product) : NULL;
        for (uint32_t p = begin, next; pair && p < end; p = next) {
            uint32_t column, columns;
            next = end - p < PANELS_AT_ONCE ? end : p + PANELS_AT_ONCE;
            step_columns(product->w, p, next, &column, &columns);
            /* Panels are written where they lie in a whole row: room is columns [16 p, ...). */
            const struct simd_weights part = {
                SIMD_F32, pair->b.rows - p * SIMD_LANES, pair->b.columns, pair->b.panel_bytes,
                pair->b.data + (size_t)p * pair->b.panel_bytes};
            simd->matmul[SIMD_F32](&part, 0, next - p, low_of(step, row, slot), low_stride * 4, run,
                                   room[0], PANELS_AT_ONCE * SIMD_LANES);
            for (uint32_t i = 0; i < run; i++)
                simd->attn_merge(product->y + (row + i) * product->y_stride + column, 1.0f,
                                 room[i], pair->scale, columns);
        }
    }
}
