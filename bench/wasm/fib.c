#include "bench/wasm/guest.h"

NOINLINE static int32_t fib_of(int32_t n)
{
    return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}

GUEST(fib)
{
    return fib_of(n);
}
