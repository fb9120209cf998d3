/* A general sort with a comparison through a pointer, in the manner of qsort. */
#include "bench/wasm/guest.h"

typedef int (*sc_compare)(const void *, const void *);
static uint32_t sc_data[8000];

static void sc_swap(uint8_t *a, uint8_t *b, size_t bytes)
{
    while (bytes--) {
        uint8_t swap = *a;
        *a++ = *b;
        *b++ = swap;
    }
}

NOINLINE static void sc_sift(uint8_t *data, size_t root, size_t count, size_t bytes, sc_compare compare)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count &&
            compare(data + child * bytes, data + (child + 1) * bytes) < 0)
            child++;
        if (compare(data + root * bytes, data + child * bytes) >= 0)
            return;
        sc_swap(data + root * bytes, data + child * bytes, bytes);
    }
}

NOINLINE static void sc_sort(void *items, size_t count, size_t bytes, sc_compare compare)
{
    uint8_t *data = items;
    for (size_t i = count / 2; i-- > 0;)
        sc_sift(data, i, count, bytes, compare);
    for (size_t end = count; end-- > 1;) {
        sc_swap(data, data + end * bytes, bytes);
        sc_sift(data, 0, end, bytes, compare);
    }
}

static int sc_ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}
static int sc_by_low_bits(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a & 0xFFF, y = *(const uint32_t *)b & 0xFFF;
    return (x > y) - (x < y);
}
static volatile sc_compare sc_orders[2] = {sc_ascending, sc_by_low_bits};

GUEST(sort_callback)
{
    uint32_t seed = 3, sum = 0;
    for (int32_t round = 0; round < n; round++) {
        for (int i = 0; i < 8000; i++)
            sc_data[i] = guest_random(&seed);
        sc_sort(sc_data, 8000, sizeof sc_data[0], sc_orders[round & 1]);
        sum += sc_data[round % 8000];
    }
    return (int32_t)sum;
}
