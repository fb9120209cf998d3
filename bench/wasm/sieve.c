#include "bench/wasm/guest.h"

static uint8_t sv_composite[100000];

GUEST(sieve)
{
    int32_t primes = 0;
    for (int32_t round = 0; round < n; round++) {
        memset(sv_composite, 0, sizeof sv_composite);
        for (int32_t i = 2; i < 100000; i++) {
            if (sv_composite[i])
                continue;
            primes++;
            for (int32_t k = 2 * i; k < 100000; k += i)
                sv_composite[k] = 1;
        }
    }
    return primes;
}
