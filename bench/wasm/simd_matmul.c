/* A product of matrices of f32, four columns at a time, four rows of sums in registers. */
#include "bench/wasm/v128.h"

enum { SM_DIM = 128 };
static float sm_a[SM_DIM][SM_DIM], sm_b[SM_DIM][SM_DIM], sm_c[SM_DIM][SM_DIM];

GUEST(simd_matmul)
{
    for (int i = 0; i < SM_DIM; i++)
        for (int j = 0; j < SM_DIM; j++) {
            sm_a[i][j] = (float)(i + j) * 0.01f;
            sm_b[i][j] = (float)(i - j) * 0.02f;
        }
    for (int32_t round = 0; round < n; round += 10) {
        sm_a[0][0] = (float)round;
        for (int i = 0; i < SM_DIM; i += 4)
            for (int j = 0; j < SM_DIM; j += 4) {
                vec s0 = f32_splat(0), s1 = s0, s2 = s0, s3 = s0;
                for (int k = 0; k < SM_DIM; k++) {
                    vec b = vec_load(&sm_b[k][j]);
                    s0 = f32_add(s0, f32_mul(f32_splat(sm_a[i][k]), b));
                    s1 = f32_add(s1, f32_mul(f32_splat(sm_a[i + 1][k]), b));
                    s2 = f32_add(s2, f32_mul(f32_splat(sm_a[i + 2][k]), b));
                    s3 = f32_add(s3, f32_mul(f32_splat(sm_a[i + 3][k]), b));
                }
                vec_store(&sm_c[i][j], s0);
                vec_store(&sm_c[i + 1][j], s1);
                vec_store(&sm_c[i + 2][j], s2);
                vec_store(&sm_c[i + 3][j], s3);
            }
    }
    float sum = 0;
    for (int i = 0; i < SM_DIM; i++)
        sum += sm_c[i][i];
    return (int32_t)sum;
}
