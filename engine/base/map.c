/* Invariants: slot_count is 0 or a power of two; filled <= 3/4 slot_count; a slot is free
 * (key == NULL), a tombstone (key == tombstone) or live (value != NULL). */
#include "engine/base/map.h"

#include <string.h>

struct map_slot {
    void *key;
    size_t key_bytes;
    void *value;
    uint64_t hash;
};

static char tombstone;

uint64_t map_hash(const void *data, size_t bytes)
{
    /* Multiply-and-fold over 8-byte words (the idea of wyhash), read as little endian. */
    const unsigned char *at = data;
    uint64_t hash = 0x9E3779B97F4A7C15u ^ bytes;
    while (bytes) {
        uint64_t word = 0;
        size_t take = bytes < 8 ? bytes : 8;
        for (size_t i = 0; i < take; i++)
            word |= (uint64_t)at[i] << (8 * i);
        unsigned __int128 product =
            (unsigned __int128)(hash ^ word) * 0xD6E8FEB86659FD93u;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
        at += take;
        bytes -= take;
    }
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 29;
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
    while (slots[i].value)
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
    if (slot->key != &tombstone)
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
