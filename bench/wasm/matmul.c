#include "bench/wasm/guest.h"

enum { MM_DIM = 96 };
static float mm_a[MM_DIM][MM_DIM], mm_b[MM_DIM][MM_DIM], mm_c[MM_DIM][MM_DIM];

GUEST(matmul)
{
    for (int i = 0; i < MM_DIM; i++)
        for (int j = 0; j < MM_DIM; j++) {
            mm_a[i][j] = (float)(i + j) * 0.01f;
            mm_b[i][j] = (float)(i - j) * 0.02f;
            mm_c[i][j] = 0;
        }
    for (int32_t round = 0; round < n; round++)
        for (int i = 0; i < MM_DIM; i++)
            for (int k = 0; k < MM_DIM; k++) {
                float a = mm_a[i][k];
                for (int j = 0; j < MM_DIM; j++)
                    mm_c[i][j] += a * mm_b[k][j];
            }
    float sum = 0;
    for (int i = 0; i < MM_DIM; i++)
        sum += mm_c[i][i] * 1e-3f;
    return (int32_t)sum;
}
