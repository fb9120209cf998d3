#include "bench/wasm/guest.h"

static int32_t qs_data[20000];

NOINLINE static void qs_sort(int32_t *data, int32_t low, int32_t high)
{
    while (low < high) {
        int32_t pivot = data[(low + high) / 2], i = low, j = high;
        while (i <= j) {
            while (data[i] < pivot)
                i++;
            while (data[j] > pivot)
                j--;
            if (i <= j) {
                int32_t swap = data[i];
                data[i++] = data[j];
                data[j--] = swap;
            }
        }
        if (j - low < high - i) {
            qs_sort(data, low, j);
            low = i;
        } else {
            qs_sort(data, i, high);
            high = j;
        }
    }
}

GUEST(quicksort)
{
    uint32_t seed = 7, sum = 0;
    for (int32_t round = 0; round < n; round++) {
        for (int i = 0; i < 20000; i++)
            qs_data[i] = (int32_t)guest_random(&seed);
        qs_sort(qs_data, 0, 19999);
        sum += (uint32_t)qs_data[round % 20000];
    }
    return (int32_t)sum;
}
