/* GGUF files (version 2 and 3, little endian): metadata and tensor descriptions, checked against
 * the real file size before anything is read. Source: ggml-org/ggml docs/gguf.md.
 *
 * An open file is immutable; everything got from it is borrowed until gguf_close. */
#ifndef MODELS_GGUF_H
#define MODELS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"

/* Numbers are the file format's. */
enum gguf_type {
    GGUF_U8 = 0, GGUF_I8 = 1, GGUF_U16 = 2, GGUF_I16 = 3, GGUF_U32 = 4, GGUF_I32 = 5,
    GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9, GGUF_U64 = 10, GGUF_I64 = 11,
    GGUF_F64 = 12,
};

/* Tensor element formats (ggml_type numbers). */
enum gguf_tensor_type {
    GGUF_TENSOR_F32 = 0, GGUF_TENSOR_F16 = 1, GGUF_TENSOR_Q4_0 = 2, GGUF_TENSOR_Q4_1 = 3,
    GGUF_TENSOR_Q5_0 = 6, GGUF_TENSOR_Q5_1 = 7, GGUF_TENSOR_Q8_0 = 8, GGUF_TENSOR_Q2_K = 10,
    GGUF_TENSOR_Q3_K = 11, GGUF_TENSOR_Q4_K = 12, GGUF_TENSOR_Q5_K = 13, GGUF_TENSOR_Q6_K = 14,
    GGUF_TENSOR_IQ4_NL = 20, GGUF_TENSOR_IQ4_XS = 23, GGUF_TENSOR_BF16 = 30,
    GGUF_TENSOR_MXFP4 = 39,
};

struct gguf_string {
    const char *data; /* not zero-terminated */
    size_t bytes;
};

struct gguf_value {
    struct gguf_string key;
    enum gguf_type type;
    union {
        uint64_t u;
        int64_t s;
        double f;
        bool b;
        struct gguf_string string;
        struct {
            enum gguf_type type; /* of the elements; nested arrays are refused */
            uint64_t count;
            const uint8_t *data;                /* packed little-endian numbers, or */
            const struct gguf_string *strings;  /* [count] for GGUF_STRING */
        } array;
    } of;
};

struct gguf_tensor {
    struct gguf_string name;
    enum gguf_tensor_type type;
    uint32_t dim_count;   /* 1 to 4 */
    uint64_t dims[4];     /* dims[0] is contiguous (columns); unused are 1 */
    const uint8_t *data;  /* inside the file's mapping, aligned as the file says */
    uint64_t bytes;
};

struct gguf;

/* Maps the file. Errors say what is broken and where. A folder is opened by models/st.c. */
enum err gguf_open(const char *path, struct gguf **file, struct report *report) ERR_MUST_USE;
/* The same over bytes in memory, borrowed until gguf_close (tests, fuzzing). */
enum err gguf_open_memory(const uint8_t *data, size_t bytes, struct gguf **file,
                          struct report *report) ERR_MUST_USE;
void gguf_close(struct gguf *file);

/* A "file" whose metadata and tensors come from elsewhere (models/st.c). All of it is taken. */
struct gguf_map {
    const uint8_t *data; /* file_map */
    size_t bytes;
    uint64_t changed_ns; /* when the file was */
};

struct gguf_parts {
    uint8_t *head;               /* a GGUF file without tensors; mem_alloc(NULL) */
    size_t head_bytes;
    struct gguf_tensor *tensors; /* names and data in the arena or the maps; mem_alloc(NULL) */
    size_t tensor_count;
    struct gguf_map *maps;       /* mem_alloc(NULL) */
    size_t map_count;
    struct arena arena;
};

/* `parts` is empty afterwards, whether or not it failed. */
enum err gguf_open_parts(struct gguf_parts *parts, struct gguf **file,
                         struct report *report) ERR_MUST_USE;
void gguf_parts_free(struct gguf_parts *parts);

/* Lets go of the mapping's resident pages: what is read again comes back from the file. For
 * after the weights were packed, so that they are not held twice. */
void gguf_release_pages(const struct gguf *file);
/* The same for some of its bytes, which the caller has from a tensor. */
void gguf_release_part(const struct gguf *file, const uint8_t *data, size_t bytes);

/* 128 bits that tell the files of a model from others and from what was in them before: their sizes
 * and dates, all that precedes their tensors, and a sample of the rest. False when it is not from
 * files alone (gguf_open_memory). */
bool gguf_identity(const struct gguf *file, uint64_t identity[2]);

uint64_t gguf_file_bytes(const struct gguf *file);
size_t gguf_value_count(const struct gguf *file);
const struct gguf_value *gguf_value(const struct gguf *file, size_t index);
const struct gguf_value *gguf_find(const struct gguf *file, const char *key); /* NULL: absent */
size_t gguf_tensor_count(const struct gguf *file);
const struct gguf_tensor *gguf_tensor(const struct gguf *file, size_t index);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name);

/* Any integer type in range / any float type / bool / string; false when absent or of another
 * type (the output is unchanged). */
bool gguf_get_u32(const struct gguf *file, const char *key, uint32_t *value);
bool gguf_get_f32(const struct gguf *file, const char *key, float *value);
bool gguf_get_bool(const struct gguf *file, const char *key, bool *value);
bool gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *value);

/* "Q4_K"; NULL for numbers that this build does not know. */
const char *gguf_tensor_type_name(enum gguf_tensor_type type);
/* Bytes of `count` elements (a multiple of the type's block), 0 when not a multiple/unknown. */
uint64_t gguf_tensor_type_bytes(enum gguf_tensor_type type, uint64_t count);

#endif
