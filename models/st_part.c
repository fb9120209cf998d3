/* One safetensors file: 8 bytes of header length, a JSON header, the data. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/arena.h"
#include "engine/base/mem.h"
#include "engine/base/rd.h"
#include "models/st_impl.h"

enum { HEADER_MAX = 100 << 20, TENSORS_MAX = 1 << 20, NAME_MAX_BYTES = 1000 };

enum err st_json(struct st_text text, const char *what, json_t **root, struct report *report)
{
    json_error_t error;
    *root = json_loadb(text.data, text.bytes, JSON_REJECT_DUPLICATES, &error);
    if (!*root)
        return err_set(report, ERR_INVALID, "%s is not proper JSON: %s (line %d)", what, error.text,
                       error.line);
    if (json_is_object(*root))
        return ERR_OK;
    json_decref(*root);
    *root = NULL;
    return err_set(report, ERR_INVALID, "%s is not a JSON object", what);
}

/* A whole number in [0, 2^63); -1 when the value is something else. */
static int64_t whole(const json_t *value)
{
    int64_t number = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    return number < 0 ? -1 : number;
}

static enum err read_tensor(const char *name, const json_t *info, const uint8_t *data,
                            size_t data_bytes, struct gguf_tensor *tensor, struct report *report)
{
    static const struct {
        const char *name;
        enum gguf_tensor_type type;
    } types[] = {{"F32", GGUF_TENSOR_F32}, {"F16", GGUF_TENSOR_F16}, {"BF16", GGUF_TENSOR_BF16}};
    const char *dtype = st_string(info, "dtype");
    const json_t *shape = json_object_get(info, "shape");
    const json_t *offsets = json_object_get(info, "data_offsets");
    size_t dims = json_array_size(shape), t = 0;
    if (!dtype || !json_is_array(shape) || json_array_size(offsets) != 2)
        return err_set(report, ERR_INVALID, "tensor '%.80s' lacks a dtype, a shape or two "
                       "data_offsets", name);
    while (t < 3 && strcmp(types[t].name, dtype) != 0)
        t++;
    if (t == 3)
        return err_set(report, ERR_UNSUPPORTED, "tensor '%.80s' has the dtype %.20s; F32, F16 and "
                       "BF16 are supported", name, dtype);
    if (dims > 4)
        return err_set(report, ERR_UNSUPPORTED, "tensor '%.80s' has %zu dimensions, at most 4 are "
                       "supported", name, dims);
    uint64_t count = 1;
    tensor->type = types[t].type;
    tensor->dim_count = dims ? (uint32_t)dims : 1;
    for (size_t i = 0; i < 4; i++)
        tensor->dims[i] = 1;
    for (size_t i = 0; i < dims; i++) {
        int64_t size = whole(json_array_get(shape, i));
        if (size <= 0 || __builtin_mul_overflow(count, (uint64_t)size, &count))
            return err_set(report, ERR_INVALID, "tensor '%.80s' has a dimension that is no "
                           "positive number, or too many elements", name);
        tensor->dims[dims - 1 - i] = (uint64_t)size;
    }
    int64_t begin = whole(json_array_get(offsets, 0)), end = whole(json_array_get(offsets, 1));
    tensor->bytes = gguf_tensor_type_bytes(tensor->type, count);
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes)
        return err_set(report, ERR_INVALID, "tensor '%.80s' is said to lie at bytes %lld to %lld of "
                       "%zu: the file is cut off or broken (download it again?)", name,
                       (long long)begin, (long long)end, data_bytes);
    if (tensor->bytes == 0 || (uint64_t)(end - begin) != tensor->bytes)
        return err_set(report, ERR_INVALID, "tensor '%.80s' needs %llu bytes by its shape and has "
                       "%lld", name, (unsigned long long)tensor->bytes, (long long)(end - begin));
    tensor->data = data + begin;
    return ERR_OK;
}

static int by_data(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static enum err read_header(json_t *root, const uint8_t *data, size_t data_bytes,
                            struct arena *arena, struct gguf_tensor **out, size_t *count,
                            struct report *report)
{
    size_t entries = json_object_size(root), at = 0;
    const char *name;
    json_t *info;
    if (entries > TENSORS_MAX)
        return err_set(report, ERR_LIMIT, "the header names %zu tensors", entries);
    struct gguf_tensor *tensors = arena_calloc(arena, entries ? entries : 1, sizeof *tensors);
    if (!tensors)
        return err_set(report, ERR_MEMORY, "no memory for %zu tensors", entries);
    json_object_foreach(root, name, info) {
        size_t bytes = strlen(name);
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (bytes > NAME_MAX_BYTES)
            return err_set(report, ERR_INVALID, "a tensor's name has %zu bytes", bytes);
        struct gguf_tensor *tensor = &tensors[at++];
        tensor->name = (struct gguf_string){arena_strdup(arena, name, bytes), bytes};
        if (!tensor->name.data)
            return err_set(report, ERR_MEMORY, "no memory for names of tensors");
        enum err err = read_tensor(name, info, data, data_bytes, tensor, report);
        if (err)
            return err;
    }
    if (at > 0)
        qsort(tensors, at, sizeof *tensors, by_data);
    const uint8_t *expected = data;
    for (size_t i = 0; i < at; i++) {
        if (tensors[i].data != expected)
            return err_set(report, ERR_INVALID, "tensor '%.80s' %s", tensors[i].name.data,
                           tensors[i].data < expected ? "overlaps another one"
                                                      : "has unused bytes before it");
        expected += tensors[i].bytes;
    }
    if (expected != data + data_bytes)
        return err_set(report, ERR_INVALID, "%zu bytes behind the last tensor belong to none",
                       (size_t)(data + data_bytes - expected));
    *out = tensors;
    *count = at;
    return ERR_OK;
}

enum err st_read_part(const struct st_part *part, struct arena *arena,
                      struct gguf_tensor **tensors, size_t *count, struct report *report)
{
    struct rd rd = rd_make(part->data, part->bytes);
    uint64_t header = rd_u64(&rd);
    if (rd.failed || header > rd_left(&rd))
        return err_set(report, ERR_INVALID, "not a safetensors file: %zu bytes cannot hold a header "
                       "of %llu", part->bytes, (unsigned long long)header);
    if (header > HEADER_MAX)
        return err_set(report, ERR_LIMIT, "the safetensors header has %llu bytes, at most %d are "
                       "allowed", (unsigned long long)header, HEADER_MAX);
    json_t *root;
    struct st_text text = {(const char *)part->data + 8, (size_t)header};
    if (header == 0 || text.data[0] != '{')
        return err_set(report, ERR_INVALID, "not a safetensors file: no JSON header");
    enum err err = st_json(text, "the safetensors header", &root, report);
    if (err)
        return err;
    err = read_header(root, part->data + 8 + header, part->bytes - 8 - (size_t)header, arena,
                      tensors, count, report);
    json_decref(root);
    return err;
}
