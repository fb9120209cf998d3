/* The Mandelbrot set, four points of f32 at a time. */
#include "bench/wasm/v128.h"

GUEST(simd_mandel)
{
    vec four = f32_splat(4.0f), count = i32_splat(0);
    const float step = n > 0 ? 2.0f / (float)n : 0.0f;
    for (int32_t y = 0; y < n; y++) {
        vec ci = f32_splat((float)y * step - 1.0f);
        for (int32_t x = 0; x < n; x += 4) {
            float at = (float)x * step - 1.5f;
            vec cr = f32_make(at, at + step, at + 2 * step, at + 3 * step);
            vec zr = cr, zi = ci;
            for (int i = 0; i < 60; i++) {
                vec rr = f32_mul(zr, zr), ii = f32_mul(zi, zi);
                vec inside = f32_le(f32_add(rr, ii), four);
                if (!vec_any(inside))
                    break;
                count = i32_sub(count, inside);
                vec ri = f32_mul(zr, zi);
                zr = f32_add(f32_sub(rr, ii), cr);
                zi = f32_add(f32_add(ri, ri), ci);
            }
        }
    }
    return i32_sum(count);
}
