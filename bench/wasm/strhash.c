/* Words into an open hash table: hashing, comparing, probing. */
#include "bench/wasm/guest.h"

enum { SH_SLOTS = 4096, SH_WORDS = 2500 };
static char sh_words[SH_WORDS][16];
static const char *sh_table[SH_SLOTS];
static uint32_t sh_counts[SH_SLOTS];

static uint32_t sh_hash(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static bool sh_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

NOINLINE static void sh_count(const char *word)
{
    uint32_t slot = sh_hash(word) % SH_SLOTS;
    while (sh_table[slot] && !sh_equal(sh_table[slot], word))
        slot = (slot + 1) % SH_SLOTS;
    sh_table[slot] = word;
    sh_counts[slot]++;
}

GUEST(strhash)
{
    uint32_t seed = 11, sum = 0;
    for (int i = 0; i < SH_WORDS; i++) {
        uint32_t length = 3 + guest_random(&seed) % 10;
        for (uint32_t k = 0; k < length; k++)
            sh_words[i][k] = (char)('a' + guest_random(&seed) % 6);
        sh_words[i][length] = '\0';
    }
    for (int32_t round = 0; round < n; round++)
        for (int i = 0; i < SH_WORDS; i++)
            sh_count(sh_words[i]);
    for (int i = 0; i < SH_SLOTS; i++)
        sum = sum * 31 + sh_counts[i];
    return (int32_t)sum;
}
