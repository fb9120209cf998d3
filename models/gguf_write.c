/* Invariant: `values` and `infos` are the encoded metadata and tensor descriptions of all calls
 * so far; tensor data is laid out at 32-byte steps in the order of `tensors`. */
#include "models/gguf_write.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

struct blob {
    const void *data; /* borrowed */
    uint64_t bytes;
};

struct gguf_writer {
    struct buf values, infos;
    uint64_t value_count, data_bytes;
    struct {
        struct blob *items;
        size_t count, capacity;
    } tensors;
};

static void put_u32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    (void)buf_append(buf, bytes, 4);
}

static void put_u64(struct buf *buf, uint64_t value)
{
    put_u32(buf, (uint32_t)value);
    put_u32(buf, (uint32_t)(value >> 32));
}

static void put_string(struct buf *buf, const char *data, size_t bytes)
{
    put_u64(buf, bytes);
    (void)buf_append(buf, data, bytes);
}

static struct buf *begin(struct gguf_writer *writer, const char *key, enum gguf_type type)
{
    put_string(&writer->values, key, strlen(key));
    put_u32(&writer->values, (uint32_t)type);
    writer->value_count++;
    return &writer->values;
}

struct gguf_writer *gguf_writer_create(void)
{
    struct gguf_writer *writer = mem_calloc(NULL, 1, sizeof *writer);
    if (!writer)
        return NULL;
    buf_init(&writer->values, NULL);
    buf_init(&writer->infos, NULL);
    return writer;
}

void gguf_writer_destroy(struct gguf_writer *writer)
{
    if (!writer)
        return;
    buf_deinit(&writer->values);
    buf_deinit(&writer->infos);
    vec_free(NULL, &writer->tensors);
    mem_free(NULL, writer);
}

void gguf_writer_put_u32(struct gguf_writer *writer, const char *key, uint32_t value)
{
    put_u32(begin(writer, key, GGUF_U32), value);
}

void gguf_writer_put_f32(struct gguf_writer *writer, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put_u32(begin(writer, key, GGUF_F32), bits);
}

void gguf_writer_put_bool(struct gguf_writer *writer, const char *key, bool value)
{
    (void)buf_putc(begin(writer, key, GGUF_BOOL), value ? 1 : 0);
}

void gguf_writer_put_string(struct gguf_writer *writer, const char *key, const char *data,
                            size_t bytes)
{
    put_string(begin(writer, key, GGUF_STRING), data, bytes);
}

static const uint8_t item_bytes[] = {[GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2,
                                     [GGUF_I16] = 2, [GGUF_U32] = 4,  [GGUF_I32] = 4,
                                     [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8,
                                     [GGUF_I64] = 8, [GGUF_F64] = 8};

void gguf_writer_put_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                           const void *data, size_t count)
{
    CHECK((size_t)type < sizeof item_bytes && item_bytes[type] != 0);
    struct buf *buf = begin(writer, key, GGUF_ARRAY);
    put_u32(buf, (uint32_t)type);
    put_u64(buf, count);
    (void)buf_append(buf, data, count * item_bytes[type]);
}

void gguf_writer_put_strings(struct gguf_writer *writer, const char *key,
                             const struct gguf_string *strings, size_t count)
{
    struct buf *buf = begin(writer, key, GGUF_ARRAY);
    put_u32(buf, GGUF_STRING);
    put_u64(buf, count);
    for (size_t i = 0; i < count; i++)
        put_string(buf, strings[i].data, strings[i].bytes);
}

void gguf_writer_put_value(struct gguf_writer *writer, const struct gguf_value *value)
{
    put_string(&writer->values, value->key.data, value->key.bytes);
    put_u32(&writer->values, (uint32_t)value->type);
    writer->value_count++;
    struct buf *buf = &writer->values;
    uint64_t bits = value->of.u;
    float narrow;
    switch (value->type) {
    case GGUF_U8: case GGUF_I8: (void)buf_append(buf, &bits, 1); break;
    case GGUF_U16: case GGUF_I16: (void)buf_append(buf, &bits, 2); break;
    case GGUF_U32: case GGUF_I32: put_u32(buf, (uint32_t)bits); break;
    case GGUF_U64: case GGUF_I64: put_u64(buf, bits); break;
    case GGUF_F32:
        narrow = (float)value->of.f;
        (void)buf_append(buf, &narrow, 4);
        break;
    case GGUF_F64: (void)buf_append(buf, &value->of.f, 8); break;
    case GGUF_BOOL: (void)buf_putc(buf, value->of.b ? 1 : 0); break;
    case GGUF_STRING: put_string(buf, value->of.string.data, value->of.string.bytes); break;
    case GGUF_ARRAY:
        put_u32(buf, (uint32_t)value->of.array.type);
        put_u64(buf, value->of.array.count);
        for (uint64_t i = 0; value->of.array.type == GGUF_STRING && i < value->of.array.count; i++)
            put_string(buf, value->of.array.strings[i].data, value->of.array.strings[i].bytes);
        if (value->of.array.type != GGUF_STRING)
            (void)buf_append(buf, value->of.array.data,
                             value->of.array.count * item_bytes[value->of.array.type]);
        break;
    }
}

void gguf_writer_add_tensor(struct gguf_writer *writer, const char *name,
                            enum gguf_tensor_type type, const uint64_t *dims, uint32_t dim_count,
                            const void *data)
{
    CHECK(dim_count >= 1 && dim_count <= 4);
    uint64_t count = 1;
    put_string(&writer->infos, name, strlen(name));
    put_u32(&writer->infos, dim_count);
    for (uint32_t i = 0; i < dim_count; i++) {
        CHECK(!__builtin_mul_overflow(count, dims[i], &count));
        put_u64(&writer->infos, dims[i]);
    }
    uint64_t bytes = gguf_tensor_type_bytes(type, count);
    CHECK(bytes != 0 && gguf_tensor_type_bytes(type, dims[0]) != 0);
    put_u32(&writer->infos, (uint32_t)type);
    put_u64(&writer->infos, writer->data_bytes);
    if (!vec_push(NULL, &writer->tensors, (struct blob){data, bytes}))
        writer->infos.failed = true;
    writer->data_bytes += (bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
}

static void pad(struct buf *buf, size_t begin_count)
{
    while ((buf->count - begin_count) % GGUF_ALIGNMENT != 0 && !buf->failed)
        (void)buf_putc(buf, 0);
}

enum err gguf_writer_head(struct gguf_writer *writer, struct buf *out, struct report *report)
{
    size_t from = out->count;
    (void)buf_append(out, "GGUF", 4);
    put_u32(out, 3);
    put_u64(out, writer->tensors.count);
    put_u64(out, writer->value_count);
    (void)buf_append(out, writer->values.data, writer->values.count);
    (void)buf_append(out, writer->infos.data, writer->infos.count);
    pad(out, from);
    if (out->failed || writer->values.failed || writer->infos.failed)
        return err_set(report, ERR_MEMORY, "no memory to write a GGUF file of %llu tensor bytes",
                       (unsigned long long)writer->data_bytes);
    return ERR_OK;
}

enum err gguf_writer_finish(struct gguf_writer *writer, struct buf *out, struct report *report)
{
    size_t from = out->count;
    enum err err = gguf_writer_head(writer, out, report);
    for (size_t i = 0; !err && i < writer->tensors.count; i++) {
        (void)buf_append(out, writer->tensors.items[i].data,
                         (size_t)writer->tensors.items[i].bytes);
        pad(out, from);
    }
    if (!err && out->failed)
        err = err_set(report, ERR_MEMORY, "no memory to write a GGUF file of %llu tensor bytes",
                      (unsigned long long)writer->data_bytes);
    return err;
}

enum err gguf_writer_save(struct gguf_writer *writer, const char *path, struct report *report)
{
    struct buf out;
    buf_init(&out, NULL);
    enum err err = gguf_writer_finish(writer, &out, report);
    if (!err)
        err = file_write(path, out.data, out.count, report);
    buf_deinit(&out);
    return err;
}
