/* Invariants of an open file: every key, string, array and tensor lies inside [data, data +
 * bytes); `values` and `tensors` never move; the maps hold each of their entries once. */
#include "models/gguf.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/arena.h"
#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/rd.h"
#include "models/st.h"

struct gguf {
    const uint8_t *data; /* borrowed, or the mapping when `mapped` */
    size_t bytes;
    bool mapped;
    uint64_t changed_ns; /* when the mapped file was */
    struct gguf_value *values;
    size_t value_count;
    struct gguf_tensor *tensors;
    size_t tensor_count;
    struct map values_by_key, tensors_by_name;
    struct arena strings; /* the string lists of array values */
    struct gguf_parts parts; /* where it was made of parts: `data` is their head */
};

struct type_info {
    const char *name;
    uint32_t block_count; /* elements per block */
    uint32_t block_bytes;
};

static const struct type_info tensor_types[] = {
    [GGUF_TENSOR_F32] = {"F32", 1, 4},         [GGUF_TENSOR_F16] = {"F16", 1, 2},
    [GGUF_TENSOR_Q4_0] = {"Q4_0", 32, 18},     [GGUF_TENSOR_Q4_1] = {"Q4_1", 32, 20},
    [GGUF_TENSOR_Q5_0] = {"Q5_0", 32, 22},     [GGUF_TENSOR_Q5_1] = {"Q5_1", 32, 24},
    [GGUF_TENSOR_Q8_0] = {"Q8_0", 32, 34},     [GGUF_TENSOR_Q2_K] = {"Q2_K", 256, 84},
    [GGUF_TENSOR_Q3_K] = {"Q3_K", 256, 110},   [GGUF_TENSOR_Q4_K] = {"Q4_K", 256, 144},
    [GGUF_TENSOR_Q5_K] = {"Q5_K", 256, 176},   [GGUF_TENSOR_Q6_K] = {"Q6_K", 256, 210},
    [GGUF_TENSOR_IQ4_NL] = {"IQ4_NL", 32, 18}, [GGUF_TENSOR_IQ4_XS] = {"IQ4_XS", 256, 136},
    [GGUF_TENSOR_BF16] = {"BF16", 1, 2},       [GGUF_TENSOR_MXFP4] = {"MXFP4", 32, 17},
};

static const struct type_info *type_info(uint32_t type)
{
    if (type >= sizeof tensor_types / sizeof *tensor_types || !tensor_types[type].name)
        return NULL;
    return &tensor_types[type];
}

const char *gguf_tensor_type_name(enum gguf_tensor_type type)
{
    const struct type_info *info = type_info((uint32_t)type);
    return info ? info->name : NULL;
}

uint64_t gguf_tensor_type_bytes(enum gguf_tensor_type type, uint64_t count)
{
    const struct type_info *info = type_info((uint32_t)type);
    uint64_t bytes;
    if (!info || count % info->block_count != 0 ||
        __builtin_mul_overflow(count / info->block_count, info->block_bytes, &bytes))
        return 0;
    return bytes;
}

/* Bytes of one number of an array or value; 0 for strings, arrays and unknown types. */
static size_t number_bytes(uint32_t type)
{
    switch (type) {
    case GGUF_U8: case GGUF_I8: case GGUF_BOOL: return 1;
    case GGUF_U16: case GGUF_I16: return 2;
    case GGUF_U32: case GGUF_I32: case GGUF_F32: return 4;
    case GGUF_U64: case GGUF_I64: case GGUF_F64: return 8;
    default: return 0;
    }
}

static struct gguf_string read_string(struct rd *rd)
{
    uint64_t bytes = rd_u64(rd);
    if (bytes > rd_left(rd))
        rd->failed = true;
    const uint8_t *data = rd->failed ? NULL : rd_take(rd, (size_t)bytes);
    return (struct gguf_string){data ? (const char *)data : "", data ? (size_t)bytes : 0};
}

/* For messages: at most 80 bytes of a name, nothing that upsets a terminal. */
struct shown {
    char text[84];
};

static struct shown show(struct gguf_string string)
{
    struct shown shown;
    size_t bytes = string.bytes < 80 ? string.bytes : 80;
    for (size_t i = 0; i < bytes; i++) {
        char byte = string.data[i];
        shown.text[i] = byte >= ' ' && byte < 127 ? byte : '?';
    }
    strcpy(shown.text + bytes, string.bytes > 80 ? "..." : "");
    return shown;
}

static enum err cut_off(const struct rd *rd, struct report *report, const char *what)
{
    return err_set(report, ERR_INVALID,
                   "the GGUF file ends, or a length is wrong, inside %s near byte %zu of %zu",
                   what, rd->at, rd->bytes);
}

static enum err read_array(struct gguf *file, struct rd *rd, struct gguf_value *value,
                           struct report *report)
{
    uint32_t type = rd_u32(rd);
    uint64_t count = rd_u64(rd);
    if (rd->failed)
        return cut_off(rd, report, "an array's header");
    value->of.array.type = (enum gguf_type)type;
    value->of.array.count = count;
    if (type == GGUF_STRING) {
        if (count > rd_left(rd) / 8)
            return cut_off(rd, report, "an array of strings");
        struct gguf_string *strings =
            arena_calloc(&file->strings, (size_t)count, sizeof *strings);
        if (!strings)
            return err_set(report, ERR_MEMORY, "no memory for %llu strings of GGUF key '%s'",
                           (unsigned long long)count, show(value->key).text);
        for (uint64_t i = 0; i < count; i++)
            strings[i] = read_string(rd);
        value->of.array.strings = strings;
    } else {
        size_t item_bytes = number_bytes(type);
        if (item_bytes == 0)
            return err_set(report, ERR_INVALID,
                           "GGUF key '%s' is an array of element type %u; numbers, booleans and "
                           "strings are allowed", show(value->key).text, type);
        if (count > rd_left(rd) / item_bytes)
            return cut_off(rd, report, "an array");
        value->of.array.data = rd_take(rd, (size_t)count * item_bytes);
    }
    return rd->failed ? cut_off(rd, report, "an array") : ERR_OK;
}

static enum err read_value(struct gguf *file, struct rd *rd, struct gguf_value *value,
                           struct report *report)
{
    value->key = read_string(rd);
    uint32_t type = rd_u32(rd);
    if (rd->failed)
        return cut_off(rd, report, "a metadata key");
    value->type = (enum gguf_type)type;
    switch (type) {
    case GGUF_U8: value->of.u = rd_u8(rd); break;
    case GGUF_U16: value->of.u = rd_u16(rd); break;
    case GGUF_U32: value->of.u = rd_u32(rd); break;
    case GGUF_U64: value->of.u = rd_u64(rd); break;
    case GGUF_I8: value->of.s = (int8_t)rd_u8(rd); break;
    case GGUF_I16: value->of.s = (int16_t)rd_u16(rd); break;
    case GGUF_I32: value->of.s = (int32_t)rd_u32(rd); break;
    case GGUF_I64: value->of.s = (int64_t)rd_u64(rd); break;
    case GGUF_F32: value->of.f = (double)rd_f32(rd); break;
    case GGUF_F64: value->of.f = rd_f64(rd); break;
    case GGUF_BOOL: value->of.b = rd_u8(rd) != 0; break;
    case GGUF_STRING: value->of.string = read_string(rd); break;
    case GGUF_ARRAY: return read_array(file, rd, value, report);
    default:
        return err_set(report, ERR_INVALID, "GGUF key '%s' has the unknown value type %u",
                       show(value->key).text, type);
    }
    return rd->failed ? cut_off(rd, report, "a metadata value") : ERR_OK;
}

/* Leaves the tensor's offset in `offset`; where the data begins is known only later. */
static enum err read_tensor(struct rd *rd, struct gguf_tensor *tensor, uint64_t *offset,
                            struct report *report)
{
    tensor->name = read_string(rd);
    tensor->dim_count = rd_u32(rd);
    if (rd->failed)
        return cut_off(rd, report, "a tensor's name");
    const struct shown name = show(tensor->name);
    if (tensor->dim_count < 1 || tensor->dim_count > 4)
        return err_set(report, ERR_INVALID, "tensor '%s' has %u dimensions, expected 1 to 4",
                       name.text, tensor->dim_count);
    uint64_t count = 1;
    for (uint32_t i = 0; i < 4; i++) {
        tensor->dims[i] = i < tensor->dim_count ? rd_u64(rd) : 1;
        if (!rd->failed && (tensor->dims[i] == 0 ||
                            __builtin_mul_overflow(count, tensor->dims[i], &count)))
            return err_set(report, ERR_INVALID, "tensor '%s': dimension %u is %llu", name.text, i,
                           (unsigned long long)tensor->dims[i]);
    }
    uint32_t type = rd_u32(rd);
    *offset = rd_u64(rd);
    if (rd->failed)
        return cut_off(rd, report, "a tensor's description");
    tensor->type = (enum gguf_tensor_type)type;
    const struct type_info *info = type_info(type);
    if (!info)
        return err_set(report, ERR_UNSUPPORTED,
                       "tensor '%s' has the element format %u, which this build does not know "
                       "(it knows F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K to Q6_K IQ4_NL IQ4_XS "
                       "MXFP4)", name.text, type);
    if (tensor->dims[0] % info->block_count != 0)
        return err_set(report, ERR_INVALID,
                       "tensor '%s' of type %s has rows of %llu elements, expected a multiple of "
                       "%u", name.text, info->name, (unsigned long long)tensor->dims[0],
                       info->block_count);
    tensor->bytes = gguf_tensor_type_bytes(tensor->type, count);
    if (tensor->bytes == 0)
        return err_set(report, ERR_INVALID, "tensor '%s' is larger than any file", name.text);
    return ERR_OK;
}

static enum err read_alignment(const struct gguf *file, uint64_t *alignment,
                               struct report *report)
{
    uint32_t value = 32;
    const struct gguf_value *found = gguf_find(file, "general.alignment");
    /* Eight, the format's least, is what numbers in tensors may count on. */
    if (found && (!gguf_get_u32(file, "general.alignment", &value) || value < 8 ||
                  (value & (value - 1)) != 0))
        return err_set(report, ERR_INVALID,
                       "GGUF key 'general.alignment' must be a power of two, 8 or more");
    *alignment = value;
    return ERR_OK;
}

static enum err read_all_values(struct gguf *file, struct rd *rd, uint64_t count,
                                struct report *report)
{
    /* A value takes 13 bytes at least, so a count that passes is bounded by the file's size. */
    if (count > rd_left(rd) / 13)
        return err_set(report, ERR_INVALID, "the GGUF file claims %llu metadata keys, more than "
                       "its %zu bytes can hold", (unsigned long long)count, rd->bytes);
    file->values = mem_calloc(NULL, (size_t)count, sizeof *file->values);
    if (!file->values)
        return err_set(report, ERR_MEMORY, "no memory for %llu metadata keys",
                       (unsigned long long)count);
    for (size_t i = 0; i < count; i++) {
        struct gguf_value *value = &file->values[i];
        enum err err = read_value(file, rd, value, report);
        if (err)
            return err;
        file->value_count = i + 1;
        if (map_find(&file->values_by_key, value->key.data, value->key.bytes))
            return err_set(report, ERR_INVALID, "GGUF key '%s' appears twice",
                           show(value->key).text);
        if (!map_set(&file->values_by_key, value->key.data, value->key.bytes, value))
            return err_set(report, ERR_MEMORY, "no memory for the metadata index");
    }
    return ERR_OK;
}

static enum err read_all_tensors(struct gguf *file, struct rd *rd, uint64_t count,
                                 struct report *report)
{
    if (count > rd_left(rd) / 32)
        return err_set(report, ERR_INVALID, "the GGUF file claims %llu tensors, more than its %zu "
                       "bytes can describe", (unsigned long long)count, rd->bytes);
    uint64_t *offsets = mem_calloc(NULL, (size_t)count, sizeof *offsets);
    file->tensors = mem_calloc(NULL, (size_t)count, sizeof *file->tensors);
    enum err err = offsets && file->tensors
                       ? ERR_OK
                       : err_set(report, ERR_MEMORY, "no memory for %llu tensor descriptions",
                                 (unsigned long long)count);
    for (size_t i = 0; !err && i < count; i++) {
        struct gguf_tensor *tensor = &file->tensors[i];
        err = read_tensor(rd, tensor, &offsets[i], report);
        if (err)
            break;
        file->tensor_count = i + 1;
        if (map_find(&file->tensors_by_name, tensor->name.data, tensor->name.bytes))
            err = err_set(report, ERR_INVALID, "tensor '%s' appears twice",
                          show(tensor->name).text);
        else if (!map_set(&file->tensors_by_name, tensor->name.data, tensor->name.bytes, tensor))
            err = err_set(report, ERR_MEMORY, "no memory for the tensor index");
    }
    uint64_t alignment = 0;
    if (!err)
        err = read_alignment(file, &alignment, report);
    uint64_t begin = err ? 0 : (rd->at + alignment - 1) / alignment * alignment;
    for (size_t i = 0; !err && i < count; i++) {
        struct gguf_tensor *tensor = &file->tensors[i];
        if (offsets[i] % alignment != 0)
            err = err_set(report, ERR_INVALID, "tensor '%s' lies at offset %llu, which is not a "
                          "multiple of the file's alignment %llu", show(tensor->name).text,
                          (unsigned long long)offsets[i], (unsigned long long)alignment);
        else if (begin > file->bytes || offsets[i] > file->bytes - begin ||
                 tensor->bytes > file->bytes - begin - offsets[i])
            err = err_set(report, ERR_INVALID, "tensor '%s' needs %llu bytes at offset %llu, but "
                          "the file has only %zu bytes: it is cut off (download it again?)",
                          show(tensor->name).text, (unsigned long long)tensor->bytes,
                          (unsigned long long)(begin + offsets[i]), file->bytes);
        else
            tensor->data = file->data + begin + offsets[i];
    }
    mem_free(NULL, offsets);
    return err;
}

static enum err read_file(struct gguf *file, struct report *report)
{
    struct rd rd = rd_make(file->data, file->bytes);
    const uint8_t *magic = rd_take(&rd, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return err_set(report, ERR_INVALID, "not a GGUF file: it does not begin with 'GGUF'");
    uint32_t version = rd_u32(&rd);
    if (!rd.failed && version != 0 && (version & 0xFFFF) == 0)
        return err_set(report, ERR_UNSUPPORTED,
                       "a big-endian GGUF file; convert it to little endian");
    if (!rd.failed && version != 2 && version != 3)
        return err_set(report, ERR_UNSUPPORTED,
                       "GGUF version %u; this build reads versions 2 and 3", version);
    uint64_t tensor_count = rd_u64(&rd);
    uint64_t value_count = rd_u64(&rd);
    if (rd.failed)
        return cut_off(&rd, report, "the header");
    enum err err = read_all_values(file, &rd, value_count, report);
    if (err)
        return err;
    return read_all_tensors(file, &rd, tensor_count, report);
}

static enum err open_bytes(const uint8_t *data, size_t bytes, bool mapped, struct gguf **out,
                           struct report *report)
{
    struct gguf *file = mem_calloc(NULL, 1, sizeof *file);
    if (!file) {
        if (mapped)
            file_unmap(data, bytes);
        return err_set(report, ERR_MEMORY, "no memory to open a GGUF file");
    }
    file->data = data;
    file->bytes = bytes;
    file->mapped = mapped;
    map_init(&file->values_by_key, NULL);
    map_init(&file->tensors_by_name, NULL);
    arena_init(&file->strings, NULL);
    enum err err = read_file(file, report);
    if (err) {
        gguf_close(file);
        return err;
    }
    *out = file;
    return ERR_OK;
}

enum err gguf_open(const char *path, struct gguf **file, struct report *report)
{
    const uint8_t *data;
    size_t bytes;
    if (st_is_folder(path))
        return st_open_folder(path, file, report);
    uint64_t changed_ns;
    enum err err = file_map_dated(path, &data, &bytes, &changed_ns, report);
    if (err)
        return err;
    err = open_bytes(data, bytes, true, file, report);
    if (!err)
        (*file)->changed_ns = changed_ns;
    if (err)
        (void)err_prefix(report, "%s", path);
    return err;
}

enum err gguf_open_memory(const uint8_t *data, size_t bytes, struct gguf **file,
                          struct report *report)
{
    return open_bytes(data, bytes, false, file, report);
}

void gguf_parts_free(struct gguf_parts *parts)
{
    for (size_t i = 0; i < parts->map_count; i++)
        file_unmap(parts->maps[i].data, parts->maps[i].bytes);
    mem_free(NULL, parts->maps);
    mem_free(NULL, parts->head);
    mem_free(NULL, parts->tensors);
    arena_deinit(&parts->arena);
    *parts = (struct gguf_parts){0};
}

/* The tensors of the parts become the file's. */
static enum err take_tensors(struct gguf *file, struct report *report)
{
    mem_free(NULL, file->tensors);
    file->tensors = file->parts.tensors;
    file->tensor_count = file->parts.tensor_count;
    file->parts.tensors = NULL;
    for (size_t i = 0; i < file->tensor_count; i++) {
        struct gguf_tensor *tensor = &file->tensors[i];
        if (map_find(&file->tensors_by_name, tensor->name.data, tensor->name.bytes))
            return err_set(report, ERR_INVALID, "tensor '%s' appears twice",
                           show(tensor->name).text);
        if (!map_set(&file->tensors_by_name, tensor->name.data, tensor->name.bytes, tensor))
            return err_set(report, ERR_MEMORY, "no memory for the tensor index");
    }
    return ERR_OK;
}

enum err gguf_open_parts(struct gguf_parts *parts, struct gguf **out, struct report *report)
{
    struct gguf *file;
    enum err err = open_bytes(parts->head, parts->head_bytes, false, &file, report);
    if (err) {
        gguf_parts_free(parts);
        return err;
    }
    file->parts = *parts;
    *parts = (struct gguf_parts){0};
    err = take_tensors(file, report);
    if (err) {
        gguf_close(file);
        return err;
    }
    *out = file;
    return ERR_OK;
}

void gguf_close(struct gguf *file)
{
    if (!file)
        return;
    map_deinit(&file->values_by_key);
    map_deinit(&file->tensors_by_name);
    arena_deinit(&file->strings);
    mem_free(NULL, file->values);
    mem_free(NULL, file->tensors);
    if (file->mapped)
        file_unmap(file->data, file->bytes);
    gguf_parts_free(&file->parts);
    mem_free(NULL, file);
}

void gguf_release_pages(const struct gguf *file)
{
    if (file->mapped)
        (void)madvise((void *)(uintptr_t)file->data, file->bytes, MADV_DONTNEED);
    for (size_t i = 0; i < file->parts.map_count; i++)
        (void)madvise((void *)(uintptr_t)file->parts.maps[i].data, file->parts.maps[i].bytes,
                      MADV_DONTNEED);
}

void gguf_release_part(const struct gguf *file, const uint8_t *data, size_t bytes)
{
    enum { PAGE_BYTES = 65536 }; /* the largest that a CPU of ours has */
    uintptr_t begin = ((uintptr_t)data + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uintptr_t end = ((uintptr_t)data + bytes) / PAGE_BYTES * PAGE_BYTES;
    if (file->mapped && begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static void identify_map(const struct gguf *file, const struct gguf_map *map, uint64_t identity[2])
{
    enum { SAMPLES = 64, SAMPLE_BYTES = 4096 };
    size_t head = map->bytes;
    for (size_t i = 0; i < file->tensor_count; i++) {
        uintptr_t at = (uintptr_t)file->tensors[i].data - (uintptr_t)map->data;
        head = at < head ? at : head; /* one outside is farther than the map is long */
    }
    uint64_t whole[2] = {map->bytes, map->changed_ns};
    hash_add(identity, whole, sizeof whole);
    hash_add(identity, map->data, head);
    size_t rest = map->bytes - head;
    if (rest <= (size_t)SAMPLES * SAMPLE_BYTES) {
        hash_add(identity, map->data + head, rest);
        return;
    }
    for (size_t i = 0; i < SAMPLES; i++) { /* from the first bytes to the last */
        size_t at = i + 1 < SAMPLES ? rest / SAMPLES * i : rest - SAMPLE_BYTES;
        hash_add(identity, map->data + head + at, SAMPLE_BYTES);
    }
}

bool gguf_identity(const struct gguf *file, uint64_t identity[2])
{
    const struct gguf_map whole = {file->data, file->bytes, file->changed_ns};
    identity[0] = identity[1] = 0;
    if (file->mapped)
        identify_map(file, &whole, identity);
    else
        hash_add(identity, file->data, file->bytes);
    for (size_t i = 0; i < file->parts.map_count; i++)
        identify_map(file, &file->parts.maps[i], identity);
    return file->mapped || file->parts.map_count > 0;
}

uint64_t gguf_file_bytes(const struct gguf *file)
{
    uint64_t bytes = file->bytes;
    for (size_t i = 0; i < file->parts.map_count; i++)
        bytes += file->parts.maps[i].bytes;
    return bytes;
}

size_t gguf_value_count(const struct gguf *file)
{
    return file->value_count;
}

const struct gguf_value *gguf_value(const struct gguf *file, size_t index)
{
    return &file->values[index];
}

const struct gguf_value *gguf_find(const struct gguf *file, const char *key)
{
    return map_find(&file->values_by_key, key, strlen(key));
}

size_t gguf_tensor_count(const struct gguf *file)
{
    return file->tensor_count;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *file, size_t index)
{
    return &file->tensors[index];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name)
{
    return map_find(&file->tensors_by_name, name, strlen(name));
}

bool gguf_get_u32(const struct gguf *file, const char *key, uint32_t *value)
{
    const struct gguf_value *found = gguf_find(file, key);
    if (!found)
        return false;
    switch (found->type) {
    case GGUF_U8: case GGUF_U16: case GGUF_U32: case GGUF_U64:
        if (found->of.u > UINT32_MAX)
            return false;
        *value = (uint32_t)found->of.u;
        return true;
    case GGUF_I8: case GGUF_I16: case GGUF_I32: case GGUF_I64:
        if (found->of.s < 0 || found->of.s > UINT32_MAX)
            return false;
        *value = (uint32_t)found->of.s;
        return true;
    default:
        return false;
    }
}

bool gguf_get_f32(const struct gguf *file, const char *key, float *value)
{
    const struct gguf_value *found = gguf_find(file, key);
    if (!found || (found->type != GGUF_F32 && found->type != GGUF_F64))
        return false;
    if (isfinite(found->of.f) && fabs(found->of.f) > 3.4028234663852886e38)
        return false; /* no float holds it */
    *value = (float)found->of.f;
    return true;
}

bool gguf_get_bool(const struct gguf *file, const char *key, bool *value)
{
    const struct gguf_value *found = gguf_find(file, key);
    if (!found || found->type != GGUF_BOOL)
        return false;
    *value = found->of.b;
    return true;
}

bool gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *value)
{
    const struct gguf_value *found = gguf_find(file, key);
    if (!found || found->type != GGUF_STRING)
        return false;
    *value = found->of.string;
    return true;
}
