/* Low-rank adapters (LoRA, Hu et al. 2021): what is added to a matrix product, y += scale B (A x),
 * for the rows of the requests that ask for it.
 *
 * A row's A x is computed when its input is, its B (A x) with the columns of the product, so a step
 * mixes rows of any adapters; rows without one are not touched. */
#ifndef ENGINE_FORWARD_ADAPTER_H
#define ENGINE_FORWARD_ADAPTER_H

#include <stdint.h>

#include "engine/forward/fwd.h"
#include "models/model.h"
#include "simd/simd.h"

struct step;
struct step_rows;
struct step_input;
struct step_product;

/* Of one matrix. a.rows = b.columns = rank, 0: the adapter leaves this matrix alone. */
struct adapter_pair {
    struct simd_weights a, b; /* [rank][columns], [rows][rank], F32 */
    float scale;
};

struct fwd_adapter {
    uint8_t *region; /* mem_map: the packed matrices */
    size_t region_bytes;
    uint32_t rank_max;
    struct adapter_pair *pairs; /* [layer_count][MODEL_ROLE_COUNT] */
};

struct gguf;

/* Packs what the file has for the model. Destroy with adapter_destroy. */
enum err adapter_create(const struct model *model, const struct gguf *file,
                        struct fwd_adapter **adapter, struct report *report) ERR_MUST_USE;
void adapter_destroy(struct fwd_adapter *adapter); /* NULL is allowed */

/* low[row][slot] = A x for rows [begin, end) of the input, for each of the products. */
void adapter_lower(const struct step *step, const struct step_rows *rows, uint32_t begin,
                   uint32_t end, const struct step_input *in, const struct step_product *products,
                   uint32_t count);

/* y += scale B low[row][slot] in panels [begin, end) of the product, for all rows. */
void adapter_add(const struct step *step, const struct step_rows *rows,
                 const struct step_product *product, uint32_t slot, uint32_t begin, uint32_t end);

#endif
