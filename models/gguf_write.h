/* Writes GGUF version 3 files: metadata and tensors, in the order given. For the trainer and for
 * tests; the same calls give the same bytes on every machine. */
#ifndef MODELS_GGUF_WRITE_H
#define MODELS_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "models/gguf.h"

struct gguf_writer;

/* NULL when memory is out. */
struct gguf_writer *gguf_writer_create(void);
void gguf_writer_destroy(struct gguf_writer *writer);

/* Keys are zero-terminated and must differ. Running out of memory is remembered and reported by
 * the finishing call, so that these need no checks. */
void gguf_writer_put_u32(struct gguf_writer *writer, const char *key, uint32_t value);
void gguf_writer_put_f32(struct gguf_writer *writer, const char *key, float value);
void gguf_writer_put_bool(struct gguf_writer *writer, const char *key, bool value);
void gguf_writer_put_string(struct gguf_writer *writer, const char *key, const char *data,
                            size_t bytes);
/* An array of numbers (any but strings): `count` packed values of `type`, machine order. */
void gguf_writer_put_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                           const void *data, size_t count);
void gguf_writer_put_strings(struct gguf_writer *writer, const char *key,
                             const struct gguf_string *strings, size_t count);

/* A key and value as another file has it. */
void gguf_writer_put_value(struct gguf_writer *writer, const struct gguf_value *value);

/* dims[0] is contiguous. `data` has gguf_tensor_type_bytes(type, product of dims) bytes in the
 * format's layout; borrowed until the finishing call. Aborts on dims that do not fit the type. */
void gguf_writer_add_tensor(struct gguf_writer *writer, const char *name,
                            enum gguf_tensor_type type, const uint64_t *dims, uint32_t dim_count,
                            const void *data);

/* For files whose tensors do not fit into memory: what comes before the data (the `data` given to
 * gguf_writer_add_tensor may be NULL). Behind it follow the tensors in order, each filled up with
 * zeros to a multiple of GGUF_ALIGNMENT. */
enum { GGUF_ALIGNMENT = 32 };
enum err gguf_writer_head(struct gguf_writer *writer, struct buf *out,
                          struct report *report) ERR_MUST_USE;

/* The whole file, into a buf (appended) or to a path (atomically). */
enum err gguf_writer_finish(struct gguf_writer *writer, struct buf *out, struct report *report)
    ERR_MUST_USE;
enum err gguf_writer_save(struct gguf_writer *writer, const char *path, struct report *report)
    ERR_MUST_USE;

#endif
