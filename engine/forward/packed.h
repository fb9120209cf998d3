/* Packed weights in a file, so that the next start has only to read them.
 *
 * The file is a page with a header and then the region of weights.c as it lies in memory; it is mapped
 * read-only, so processes with the same model share one copy. The header names the format, the
 * program (its build id: packing may differ in the next one), the model's files (gguf_identity),
 * the plan (what lies where, and from which tensor; so the recipe, too), the region's size and a
 * checksum of all that. A file with any other header or size counts as absent and is replaced by
 * rename: a running process keeps the file it has mapped.
 *
 * What is trusted: a regular file that belongs to this user and that nobody else may write (made with
 * mode 0600), reached through no link in its place. The region itself is not checked, just like the
 * weights in a model's file: it holds numbers only, no sizes, indices or addresses; where they are
 * looked for is said by the plan, which is made anew from the model each time and which the
 * file's size must fit. So wrong bytes there give wrong words, and nothing worse. */
#ifndef ENGINE_FORWARD_PACKED_H
#define ENGINE_FORWARD_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf;

enum { PACKED_HEADER_BYTES = 65536 }; /* the largest page that a CPU of ours has */

/* The whole header: compared as bytes. */
struct packed_key {
    char magic[8];
    uint64_t format, build[2], source[2], plan[2], region_bytes;
    uint64_t checksum[2]; /* of all before */
};

struct packed_map {
    const uint8_t *region; /* NULL: none */
    size_t region_bytes;
};

/* False: the model is not from files, or this program has no build id; nothing is kept then. */
bool packed_key(const struct gguf *file, const uint64_t plan[2], size_t region_bytes,
                struct packed_key *key);
/* Maps the region if the file is there, trusted and of this key. */
bool packed_open(const char *path, const struct packed_key *key, struct packed_map *map);
void packed_close(struct packed_map *map);
/* Makes the file, and its folder if need be. When it cannot, a warning is logged, and the former file is
 * gone only if it was replaced. */
void packed_write(const char *path, const struct packed_key *key, const uint8_t *region);

#endif
