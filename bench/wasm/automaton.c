/* A two-dimensional cellular automaton on bytes. */
#include "bench/wasm/guest.h"

enum { AU_SIDE = 128 };
static uint8_t au_cells[2][AU_SIDE + 2][AU_SIDE + 2];

GUEST(automaton)
{
    uint32_t seed = 5;
    for (int y = 1; y <= AU_SIDE; y++)
        for (int x = 1; x <= AU_SIDE; x++)
            au_cells[0][y][x] = guest_random(&seed) % 3 == 0;
    for (int32_t round = 0; round < n; round++) {
        uint8_t(*from)[AU_SIDE + 2] = au_cells[round & 1], (*to)[AU_SIDE + 2] = au_cells[~round & 1];
        for (int y = 1; y <= AU_SIDE; y++)
            for (int x = 1; x <= AU_SIDE; x++) {
                int around = from[y - 1][x - 1] + from[y - 1][x] + from[y - 1][x + 1] +
                             from[y][x - 1] + from[y][x + 1] + from[y + 1][x - 1] +
                             from[y + 1][x] + from[y + 1][x + 1];
                if (around == 3)
                    to[y][x] = 1;
                else if (around != 2)
                    to[y][x] = 0;
                else
                    to[y][x] = from[y][x];
            }
    }
    int32_t alive = 0;
    for (int y = 1; y <= AU_SIDE; y++)
        for (int x = 1; x <= AU_SIDE; x++)
            alive += au_cells[n & 1][y][x];
    return alive;
}
