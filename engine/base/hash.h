/* Hashes that are the same on every run, for what is kept in files: against accidents, not against
 * attackers (those of maps are drawn anew, see map.h). */
#ifndef ENGINE_BASE_HASH_H
#define ENGINE_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128 bits of `bytes` bytes, about as fast as memory. */
void hash_bytes(const uint8_t *data, size_t bytes, uint64_t out[2]);

/* Takes up `bytes` more bytes into a hash that began as {0, 0}; where the pieces end matters. */
void hash_add(uint64_t hash[2], const void *data, size_t bytes);

/* What the linker made of all contents of this program (its build id), hashed. False: the program
 * has none, and nothing that depends on its code should be kept. */
bool hash_build(uint64_t build[2]);

#endif
