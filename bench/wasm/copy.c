#include "bench/wasm/guest.h"

static uint8_t cp_a[65536], cp_b[65536];

GUEST(copy)
{
    uint32_t sum = 0;
    for (int i = 0; i < 65536; i++)
        cp_a[i] = (uint8_t)(i * 31);
    for (int32_t i = 0; i < n; i++) {
        size_t bytes = 16 + ((uint32_t)i * 977u) % 4000;
        memcpy(cp_b + (i & 1023), cp_a + (i & 511), bytes);
        memset(cp_a + 30000 + (i & 1023), i, 64);
        sum += cp_b[(i & 1023) + (int32_t)bytes / 2];
    }
    return (int32_t)sum;
}
