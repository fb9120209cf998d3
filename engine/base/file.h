/* Files: whole-file reads with a bound, read-only mappings, atomic writes. */
#ifndef ENGINE_BASE_FILE_H
#define ENGINE_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

/* Reads a regular file of at most `bytes_max` bytes. `*data` is zero-terminated (the zero not
 * counted) and the caller's to mem_free(heap, ...). */
enum err file_read(const char *path, size_t bytes_max, struct mem_heap *heap, char **data,
                   size_t *bytes, struct report *report) ERR_MUST_USE;

/* Maps a regular file read-only. An empty file is ERR_INVALID. */
enum err file_map(const char *path, const uint8_t **data, size_t *bytes, struct report *report)
    ERR_MUST_USE;
/* The same, and when the file was changed last, in ns since 1970. */
enum err file_map_dated(const char *path, const uint8_t **data, size_t *bytes,
                        uint64_t *changed_ns, struct report *report) ERR_MUST_USE;
void file_unmap(const uint8_t *data, size_t bytes);

/* Writes to a temporary neighbour, syncs and renames over `path`: either the old or the whole new
 * content is there. */
enum err file_write(const char *path, const void *data, size_t bytes, struct report *report)
    ERR_MUST_USE;

/* The same in pieces, for what is too large to be in memory. After a failed write the file is gone
 * and must not be used again; otherwise end with file_out_commit or file_out_abort. */
struct file_out {
    char path[4096], temporary[4128];
    int fd;
};
enum err file_out_open(const char *path, struct file_out *out, struct report *report) ERR_MUST_USE;
enum err file_out_write(struct file_out *out, const void *data, size_t bytes,
                        struct report *report) ERR_MUST_USE;
enum err file_out_commit(struct file_out *out, struct report *report) ERR_MUST_USE;
void file_out_abort(struct file_out *out);

/* As `mkdir -p`. */
enum err file_make_dirs(const char *path, struct report *report) ERR_MUST_USE;

#endif
