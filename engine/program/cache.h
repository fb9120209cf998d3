/* Which components this build has accepted before: one small file for each, in a directory of
 * their own ($PIE_HOME/cache).
 *
 * A file says no more than "a component of these bytes was decoded and validated whole", and the engine
 * believes no more than it has to: comp_component_create_known still decodes everything, and a
 * function is validated before it is translated at its first call. So nothing unsafe can come from a
 * file, whoever wrote it; at worst an invalid function is found out late.
 *
 * Files are named by a hash of the component and hold that hash, its size, the format's version,
 * the build (the linker's build id of this program) and a checksum. What does not fit, is cut off or comes
 * from another build counts as absent and is overwritten. Without a build id nothing is cached. */
#ifndef ENGINE_PROGRAM_CACHE_H
#define ENGINE_PROGRAM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROG_CACHE_BYTES_MIN = 256 << 10, /* smaller components are validated faster than looked up */
    PROG_CACHE_FILES_MAX = 1000,      /* one more, and all are removed */
};

/* Of a component's bytes: not against attackers (see above), but against accidents. */
struct prog_cache_key {
    uint64_t bytes, hash[2];
};

/* Fills *key. */
bool prog_cache_knows(const char *directory, const uint8_t *wasm, size_t bytes,
                      struct prog_cache_key *key);
/* Notes that the component of this key was accepted. A note that cannot be written is not. */
void prog_cache_note(const char *directory, const struct prog_cache_key *key);

/* How many files there are and what they take. */
struct prog_cache_size {
    size_t files;
    uint64_t bytes;
};
struct prog_cache_size prog_cache_size(const char *directory);
/* Removes them (no other file of the directory); how many. */
size_t prog_cache_clear(const char *directory);

#endif
