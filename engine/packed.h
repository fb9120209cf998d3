/* The files of packed weights in a folder, one for each model and format in memory: named by a hash of the
 * model's path and the format, so a changed model replaces its own. engine/forward/packed.h says
 * what is in them. */
#ifndef ENGINE_PACKED_H
#define ENGINE_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the file's path; false when it does not fit or the model is not there. `quantize` may be NULL. */
bool engine_packed_path(const char *directory, const char *model_path, const char *quantize,
                        char *path, size_t path_bytes);

struct engine_packed_size {
    size_t files;
    uint64_t bytes;
};
/* How many there are and what they take, with what an interrupted write left behind. */
struct engine_packed_size engine_packed_size(const char *directory);
/* Removes them (no other file of the directory); how many. */
size_t engine_packed_clear(const char *directory);

#endif
