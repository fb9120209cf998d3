#include "bench/wasm/guest.h"

GUEST(mandel)
{
    int32_t total = 0;
    for (int32_t py = 0; py < n; py++)
        for (int32_t px = 0; px < n; px++) {
            double cx = -2.0 + 2.6 * px / n, cy = -1.3 + 2.6 * py / n, x = 0, y = 0;
            int32_t count = 0;
            while (count < 200 && x * x + y * y < 4.0) {
                double next = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = next;
                count++;
            }
            total += count;
        }
    return total;
}
