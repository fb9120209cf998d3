/* The scalar kernels, one file per family. */
#ifndef SIMD_SCALAR_SCALAR_H
#define SIMD_SCALAR_SCALAR_H

#include "simd/kernels.h"

void simd_fill_scalar_forms(struct simd_table *table);
void simd_fill_scalar_rows(struct simd_table *table);
void simd_fill_scalar_attention(struct simd_table *table);

/* The tree over the 16 virtual lanes. */
static inline float simd_tree_add(float lanes[SIMD_LANES])
{
    for (unsigned step = SIMD_LANES / 2; step > 0; step /= 2)
        for (unsigned i = 0; i < step; i++)
            lanes[i] += lanes[i + step];
    return lanes[0];
}

#endif
