/* Invariants: slot_count is 0 or a power of two; filled <= 3/4 slot_count; a slot is free
 * (key == NULL), a tombstone (key == &tombstone) or live (value != NULL). Only growing gives
 * tombstones' slots back, so that when a map grows depends on the calls alone and not on where the
 * seed happens to put its keys. */
#include "engine/base/map.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/clock.h"

struct map_slot {
    void *key;
    size_t key_bytes;
    void *value;
    uint64_t hash;
};

static char tombstone;
static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    if (getrandom(seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return;
    seed[0] = clock_wall_ns(); /* a kernel without randomness yet: better than nothing */
    seed[1] = (uint64_t)(uintptr_t)&seed ^ clock_now_ns() << 20;
}

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012), words in the machine's
 * byte order. */
uint64_t map_hash(const void *data, size_t bytes)
{
    (void)pthread_once(&seeded, make_seed);
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    const unsigned char *at = data;
    uint64_t word;
    size_t left = bytes;
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        sip_word(v, word);
    }
    word = (uint64_t)bytes << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)at[i] << (8 * i);
    sip_word(v, word);
    v[2] ^= 0xFF;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *map, struct mem_heap *heap)
{
    *map = (struct map){.heap = heap};
}

void map_deinit(struct map *map)
{
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].value)
            mem_free(map->heap, map->slots[i].key);
    mem_free(map->heap, map->slots);
    *map = (struct map){.heap = map->heap};
}

static struct map_slot *find(const struct map *map, const void *key, size_t bytes, uint64_t hash)
{
    if (map->slot_count == 0)
        return NULL;
    size_t mask = map->slot_count - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct map_slot *slot = &map->slots[i];
        if (!slot->key)
            return NULL;
        if (slot->value && slot->hash == hash && slot->key_bytes == bytes &&
            (bytes == 0 || memcmp(slot->key, key, bytes) == 0))
            return slot;
    }
}

static struct map_slot *free_slot(struct map_slot *slots, size_t slot_count, uint64_t hash)
{
    size_t mask = slot_count - 1;
    size_t i = (size_t)hash & mask;
    while (slots[i].key)
        i = (i + 1) & mask;
    return &slots[i];
}

void *map_find(const struct map *map, const void *key, size_t key_bytes)
{
    struct map_slot *slot = find(map, key, key_bytes, map_hash(key, key_bytes));
    return slot ? slot->value : NULL;
}

static bool grow(struct map *map)
{
    size_t slot_count = map->slot_count ? map->slot_count : 16;
    while (map->count + 1 > slot_count / 2)
        slot_count *= 2;
    struct map_slot *slots = mem_calloc(map->heap, slot_count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].value)
            *free_slot(slots, slot_count, map->slots[i].hash) = map->slots[i];
    mem_free(map->heap, map->slots);
    map->slots = slots;
    map->slot_count = slot_count;
    map->filled = map->count;
    return true;
}

bool map_set(struct map *map, const void *key, size_t key_bytes, void *value)
{
    uint64_t hash = map_hash(key, key_bytes);
    struct map_slot *slot = find(map, key, key_bytes, hash);
    if (slot) {
        slot->value = value;
        return true;
    }
    if (map->filled + 1 > map->slot_count / 4 * 3 && !grow(map))
        return false;
    char *copy = mem_strdup(map->heap, key, key_bytes);
    if (!copy)
        return false;
    slot = free_slot(map->slots, map->slot_count, hash);
    map->filled++;
    *slot = (struct map_slot){.key = copy, .key_bytes = key_bytes, .value = value, .hash = hash};
    map->count++;
    return true;
}

void *map_take(struct map *map, const void *key, size_t key_bytes)
{
    struct map_slot *slot = find(map, key, key_bytes, map_hash(key, key_bytes));
    if (!slot)
        return NULL;
    void *value = slot->value;
    mem_free(map->heap, slot->key);
    *slot = (struct map_slot){.key = &tombstone};
    map->count--;
    return value;
}

bool map_next(const struct map *map, size_t *at, const void **key, size_t *key_bytes, void **value)
{
    for (; *at < map->slot_count; (*at)++) {
        const struct map_slot *slot = &map->slots[*at];
        if (!slot->value)
            continue;
        if (key)
            *key = slot->key;
        if (key_bytes)
            *key_bytes = slot->key_bytes;
        if (value)
            *value = slot->value;
        (*at)++;
        return true;
    }
    return false;
}
