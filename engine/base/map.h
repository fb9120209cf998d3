/* A hash map from byte strings to pointers; open addressing, keys copied into the map. */
#ifndef ENGINE_BASE_MAP_H
#define ENGINE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/mem.h"

struct map_slot;

struct map {
    struct mem_heap *heap;
    struct map_slot *slots;
    size_t slot_count; /* power of two, or 0 */
    size_t count;      /* live entries */
    size_t filled;     /* live entries and tombstones */
};

void map_init(struct map *map, struct mem_heap *heap);

/* Frees the map's own memory; the values are the caller's. */
void map_deinit(struct map *map);

/* The value, or NULL. */
void *map_find(const struct map *map, const void *key, size_t key_bytes);

/* Sets or replaces; `value` must not be NULL. False when memory is out (map unchanged). */
bool map_set(struct map *map, const void *key, size_t key_bytes, void *value)
    __attribute__((warn_unused_result));

/* Removes and returns the value, NULL when there is none. */
void *map_take(struct map *map, const void *key, size_t key_bytes);

/* Iterates in an order that differs from run to run: start with *at = 0; false at the end. `key` is borrowed. Values
 * may be replaced and entries taken while iterating, nothing may be added. */
bool map_next(const struct map *map, size_t *at, const void **key, size_t *key_bytes,
              void **value);

/* 64-bit hash of a byte string under a secret drawn once per process, so that nobody can prepare
 * keys that collide. It differs from run to run: never store it or let an order depend on it. */
uint64_t map_hash(const void *data, size_t bytes);

#endif
