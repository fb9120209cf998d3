/* The canonical ABI: values of component types to and from core cells and linear memory.
 *
 * Lifting reads guest memory and copies (strings, lists) into the instance's call arena, so that
 * nothing of a value points into a guest. Lowering takes memory from the guest's realloc; its
 * memory may grow or move then, so the base is read again after every such call. */
#include <math.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/utf8.h"
#include "interp/component/runtime.h"

/* Enough for any sane cabi_realloc (a collector's slow path included), small enough that one which
 * never ends is found within a tenth of a second. */
enum { REALLOC_FUEL = 20 * 1000 * 1000, LIST_BYTES_MAX = (1 << 28) - 1 };
#define UTF16_TAG 0x80000000u

#define TRAP(abi, ...) (wasm_thread_trap((abi)->instance->thread, __VA_ARGS__), false)

static void refresh(struct comp_abi *abi)
{
    if (!abi->options->memory) {
        abi->memory = NULL;
        abi->memory_bytes = 0;
        return;
    }
    abi->memory = wasm_memory_data(abi->options->memory);
    abi->memory_bytes = wasm_memory_bytes(abi->options->memory);
}

void comp_abi_init(struct comp_abi *abi, struct comp_sub *sub, const struct comp_options *options)
{
    *abi = (struct comp_abi){.instance = sub->instance, .sub = sub, .options = options,
                             .arena = &sub->instance->call_arena};
    refresh(abi);
}

static bool in_bounds(const struct comp_abi *abi, uint32_t at, uint64_t bytes)
{
    return bytes <= abi->memory_bytes && at <= abi->memory_bytes - bytes;
}

static bool reallocate(struct comp_abi *abi, uint32_t old, uint32_t old_bytes, uint32_t align,
                       uint32_t bytes, uint32_t *at)
{
    if (!abi->options->realloc)
        return TRAP(abi, "a string or list must be passed but there is no realloc");
    union wasm_value values[16] = {
        {.i64 = old}, {.i64 = old_bytes}, {.i64 = align}, {.i64 = bytes}};
    abi->sub->may_leave = false;
    enum wasm_run run = wasm_thread_call_nested(abi->instance->thread, abi->options->realloc,
                                                values, REALLOC_FUEL);
    abi->sub->may_leave = true;
    if (run != WASM_RUN_DONE)
        return false;
    refresh(abi);
    *at = values[0].i32;
    if (*at & (align - 1))
        return TRAP(abi, "realloc return: result not aligned");
    if (!in_bounds(abi, *at, bytes))
        return TRAP(abi, "realloc return: beyond end of memory");
    return true;
}

static void *scratch(struct comp_abi *abi, size_t count, size_t item_bytes)
{
    size_t bytes;
    void *result = NULL;
    if (!__builtin_mul_overflow(count, item_bytes, &bytes))
        result = arena_alloc(abi->arena, bytes);
    if (!result)
        wasm_thread_trap(abi->instance->thread, "values of a call are too large");
    return result;
}

/* ---- lifting ----------------------------------------------------------------------------- */

static uint64_t read_le(const uint8_t *p, uint32_t bytes)
{
    switch (bytes) {
    case 1:
        return *p;
    case 2: {
        uint16_t v;
        memcpy(&v, p, 2);
        return v;
    }
    case 4: {
        uint32_t v;
        memcpy(&v, p, 4);
        return v;
    }
    default: {
        uint64_t v;
        memcpy(&v, p, 8);
        return v;
    }
    }
}

static float canonical_f32(uint32_t bits)
{
    float f;
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        bits = 0x7FC00000;
    memcpy(&f, &bits, 4);
    return f;
}

static double canonical_f64(uint64_t bits)
{
    double f;
    if ((bits & 0x7FFFFFFFFFFFFFFF) > 0x7FF0000000000000)
        bits = 0x7FF8000000000000;
    memcpy(&f, &bits, 8);
    return f;
}

static bool lift_utf16(struct comp_abi *abi, const uint8_t *from, uint32_t units,
                       struct comp_value *value)
{
    char *out = scratch(abi, (size_t)units + 1, 3);
    if (!out)
        return false;
    size_t count = 0;
    for (uint32_t i = 0; i < units; i++) {
        uint32_t c = (uint32_t)read_le(from + 2 * (size_t)i, 2);
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = i + 1 < units ? (uint32_t)read_le(from + 2 * (size_t)i + 2, 2) : 0;
            if (c >= 0xDC00 || low < 0xDC00 || low >= 0xE000)
                return TRAP(abi, "invalid utf16 encoding");
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i++;
        }
        count += utf8_put(c, out + count);
    }
    value->of.string.data = out;
    value->of.string.bytes = count;
    return true;
}

static bool lift_string(struct comp_abi *abi, uint32_t at, uint32_t units,
                        struct comp_value *value)
{
    enum comp_encoding encoding = abi->options->encoding;
    bool is_wide = encoding == COMP_UTF16;
    uint32_t align = encoding == COMP_UTF8 ? 1 : 2;
    if (encoding == COMP_LATIN1_UTF16 && (units & UTF16_TAG)) {
        is_wide = true;
        units ^= UTF16_TAG;
    }
    uint64_t bytes = is_wide ? 2 * (uint64_t)units : units;
    value->kind = COMP_STRING;
    value->of.string.encoding = !is_wide ? encoding == COMP_UTF8 ? 0 : 1 : 2;
    value->of.string.units = units;
    value->of.string.is_tagged = is_wide && encoding == COMP_LATIN1_UTF16;
    if (bytes > LIST_BYTES_MAX)
        return TRAP(abi, "string content out-of-bounds: too long");
    if (at & (align - 1))
        return TRAP(abi, "string pointer not aligned to %u", align);
    if (!in_bounds(abi, at, bytes))
        return TRAP(abi, "string pointer/length out of bounds of memory");
    const uint8_t *from = abi->memory + at;
    if (is_wide)
        return lift_utf16(abi, from, units, value);
    if (encoding == COMP_LATIN1_UTF16) {
        char *out = scratch(abi, (size_t)units + 1, 2);
        size_t count = 0;
        if (!out)
            return false;
        for (uint32_t i = 0; i < units; i++)
            count += utf8_put(from[i], out + count);
        value->of.string.data = out;
        value->of.string.bytes = count;
        return true;
    }
    char *out = scratch(abi, (size_t)units + 1, 1);
    if (!out)
        return false;
    memcpy(out, from, units);
    out[units] = 0;
    if (!utf8_is_valid(out, units))
        return TRAP(abi, "invalid utf-8 sequence in a string");
    value->of.string.data = out;
    value->of.string.bytes = units;
    return true;
}

static bool load(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                 struct comp_value *value);

/* `count` elements at `at`, which is aligned and has their bytes within memory. */
static bool load_elements(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                          uint32_t count, struct comp_value *value)
{
    const struct comp_type *element = type->element;
    uint64_t bytes = (uint64_t)count * element->size;
    value->kind = COMP_LIST;
    value->of.list.items = NULL;
    value->of.list.data = NULL;
    value->of.list.count = count;
    if (type->packed_bytes) {
        uint8_t *data = scratch(abi, (size_t)bytes, 1);
        if (!data)
            return false;
        if (bytes)
            memcpy(data, abi->memory + at, bytes);
        /* Numbers that are not a number become the one canonical NaN. */
        if (element->kind == COMP_F32)
            for (uint32_t i = 0; i < count; i++)
                ((float *)(void *)data)[i] = canonical_f32((uint32_t)read_le(data + 4 * (size_t)i, 4));
        else if (element->kind == COMP_F64)
            for (uint32_t i = 0; i < count; i++)
                ((double *)(void *)data)[i] = canonical_f64(read_le(data + 8 * (size_t)i, 8));
        value->of.list.data = data;
        return true;
    }
    struct comp_value *items = scratch(abi, count, sizeof *items);
    if (!items)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!load(abi, element, at + i * element->size, &items[i]))
            return false;
    value->of.list.items = items;
    return true;
}

static const struct comp_resource *slot_resource(const struct comp_abi *abi,
                                                 const struct comp_type *type)
{
    const struct comp_resource *resource = abi->sub->slots[type->resource->slot];
    if (!resource)
        wasm_thread_trap(abi->instance->thread, "a resource type has not been defined yet");
    return resource;
}

static bool lift_list(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                      uint32_t count, struct comp_value *value)
{
    uint64_t bytes = (uint64_t)count * type->element->size;
    if (bytes > LIST_BYTES_MAX)
        return TRAP(abi, "list content out-of-bounds: too long");
    if (at & (type->element->align - 1))
        return TRAP(abi, "list pointer is not aligned");
    if (!in_bounds(abi, at, bytes))
        return TRAP(abi, "list pointer/length out of bounds of memory");
    return load_elements(abi, type, at, count, value);
}

static bool lift_handle(struct comp_abi *abi, const struct comp_type *type, uint32_t index,
                        struct comp_value *value)
{
    const struct comp_resource *resource = slot_resource(abi, type);
    struct comp_handle *handle = resource ? comp_handles_get(abi->sub, index, resource) : NULL;
    if (!handle)
        return false;
    value->kind = type->kind;
    value->of.rep = handle->rep;
    if (type->kind == COMP_BORROW)
        return comp_lends_add(abi->lends, abi->sub, index);
    if (handle->lends)
        return TRAP(abi, "cannot remove owned resource while borrowed");
    if (!handle->is_own)
        return TRAP(abi, "cannot lift own resource from a borrow");
    comp_handles_remove(abi->sub, index);
    return comp_flight_add(abi->instance, resource, value->of.rep);
}

/* A scalar from the low bits of a cell or of memory. */
static bool lift_scalar(struct comp_abi *abi, const struct comp_type *type, uint64_t bits,
                        struct comp_value *value)
{
    value->kind = type->kind;
    switch (type->kind) {
    case COMP_BOOL:
        value->of.boolean = (uint32_t)bits != 0;
        return true;
    case COMP_S8:
        value->of.s = (int8_t)bits;
        return true;
    case COMP_U8:
        value->of.u = (uint8_t)bits;
        return true;
    case COMP_S16:
        value->of.s = (int16_t)bits;
        return true;
    case COMP_U16:
        value->of.u = (uint16_t)bits;
        return true;
    case COMP_S32:
        value->of.s = (int32_t)bits;
        return true;
    case COMP_U32:
        value->of.u = (uint32_t)bits;
        return true;
    case COMP_S64:
        value->of.s = (int64_t)bits;
        return true;
    case COMP_U64:
        value->of.u = bits;
        return true;
    case COMP_F32:
        value->of.f32 = canonical_f32((uint32_t)bits);
        return true;
    case COMP_F64:
        value->of.f64 = canonical_f64(bits);
        return true;
    case COMP_CHAR: {
        uint32_t c = (uint32_t)bits;
        if (c >= 0x110000 || (c >= 0xD800 && c < 0xE000))
            return TRAP(abi, "invalid `char` bit pattern: 0x%x", c);
        value->of.u = c;
        return true;
    }
    case COMP_FLAGS:
        value->of.u = (uint32_t)bits & (uint32_t)((1ull << type->field_count) - 1);
        return true;
    default:
        return lift_handle(abi, type, (uint32_t)bits, value);
    }
}

/* list<T, N> in cells. */
static bool lift_fixed_flat(struct comp_abi *abi, const struct comp_type *type,
                            const union wasm_value *cells, uint32_t *at, struct comp_value *value)
{
    uint32_t count = type->fixed_count;
    struct comp_value *items = scratch(abi, count, sizeof *items);
    if (!items)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!comp_abi_lift_flat(abi, type->element, cells, at, &items[i]))
            return false;
    *value = comp_items(COMP_LIST, items, count);
    if (!type->packed_bytes)
        return true;
    uint8_t *data = scratch(abi, count, type->packed_bytes);
    if (!data)
        return false;
    for (uint32_t i = 0; i < count; i++)
        memcpy(data + (size_t)i * type->packed_bytes, &items[i].of, type->packed_bytes);
    *value = comp_list_packed(data, count);
    return true;
}

static bool bad_case(struct comp_abi *abi, uint32_t index)
{
    return TRAP(abi, "invalid variant discriminant: there is no case %u", index);
}

bool comp_abi_lift_flat(struct comp_abi *abi, const struct comp_type *type,
                        const union wasm_value *cells, uint32_t *at, struct comp_value *value)
{
    switch (type->kind) {
    case COMP_STRING:
        *at += 2;
        return lift_string(abi, cells[*at - 2].i32, cells[*at - 1].i32, value);
    case COMP_LIST:
        if (type->fixed_count)
            return lift_fixed_flat(abi, type, cells, at, value);
        *at += 2;
        return lift_list(abi, type, cells[*at - 2].i32, cells[*at - 1].i32, value);
    case COMP_RECORD:
    case COMP_TUPLE: {
        struct comp_value *items = scratch(abi, type->field_count, sizeof *items);
        if (!items)
            return false;
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!comp_abi_lift_flat(abi, type->fields[i].type, cells, at, &items[i]))
                return false;
        *value = comp_items(type->kind, items, type->field_count);
        return true;
    }
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_OPTION:
    case COMP_RESULT: {
        uint32_t index = cells[*at].i32, payload_at = *at + 1;
        *at += type->flat_count;
        if (index >= type->field_count)
            return bad_case(abi, index);
        value->kind = type->kind;
        if (type->kind == COMP_ENUM) {
            value->of.u = index;
            return true;
        }
        value->of.variant.index = index;
        value->of.variant.payload = NULL;
        const struct comp_type *payload = type->fields[index].type;
        if (!payload)
            return true;
        struct comp_value *inner = scratch(abi, 1, sizeof *inner);
        if (!inner)
            return false;
        value->of.variant.payload = inner;
        return comp_abi_lift_flat(abi, payload, cells, &payload_at, inner);
    }
    default:
        return lift_scalar(abi, type, cells[(*at)++].i64, value);
    }
}

/* `at` is aligned and the type's bytes are within memory. */
static bool load(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                 struct comp_value *value)
{
    const uint8_t *from = abi->memory + at;
    switch (type->kind) {
    case COMP_STRING:
        return lift_string(abi, (uint32_t)read_le(from, 4), (uint32_t)read_le(from + 4, 4), value);
    case COMP_LIST:
        if (type->fixed_count)
            return load_elements(abi, type, at, type->fixed_count, value);
        return lift_list(abi, type, (uint32_t)read_le(from, 4), (uint32_t)read_le(from + 4, 4),
                         value);
    case COMP_RECORD:
    case COMP_TUPLE: {
        struct comp_value *items = scratch(abi, type->field_count, sizeof *items);
        if (!items)
            return false;
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!load(abi, type->fields[i].type, at + type->fields[i].offset, &items[i]))
                return false;
        *value = comp_items(type->kind, items, type->field_count);
        return true;
    }
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_OPTION:
    case COMP_RESULT: {
        uint32_t index = (uint32_t)read_le(from, type->discriminant_bytes);
        if (index >= type->field_count)
            return bad_case(abi, index);
        value->kind = type->kind;
        if (type->kind == COMP_ENUM) {
            value->of.u = index;
            return true;
        }
        value->of.variant.index = index;
        value->of.variant.payload = NULL;
        const struct comp_type *payload = type->fields[index].type;
        if (!payload)
            return true;
        struct comp_value *inner = scratch(abi, 1, sizeof *inner);
        if (!inner)
            return false;
        value->of.variant.payload = inner;
        return load(abi, payload, at + type->payload_offset, inner);
    }
    default:
        return lift_scalar(abi, type, read_le(from, type->size), value);
    }
}

bool comp_abi_load(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                   struct comp_value *value)
{
    refresh(abi);
    if (at & (type->align - 1))
        return TRAP(abi, "pointer not aligned");
    if (!in_bounds(abi, at, type->size))
        return TRAP(abi, "pointer out of bounds of memory");
    return load(abi, type, at, value);
}

bool comp_abi_lift(struct comp_abi *abi, const struct comp_field *fields, uint32_t count,
                   bool is_indirect, uint32_t size, uint32_t align,
                   const union wasm_value *cells, struct comp_value *values)
{
    if (is_indirect) {
        uint32_t base = cells[0].i32;
        if (base & (align - 1))
            return TRAP(abi, "pointer not aligned");
        if (!in_bounds(abi, base, size))
            return TRAP(abi, "pointer out of bounds of memory");
        for (uint32_t i = 0; i < count; i++)
            if (!load(abi, fields[i].type, base + fields[i].offset, &values[i]))
                return false;
        return true;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!comp_abi_lift_flat(abi, fields[i].type, cells, &at, &values[i]))
            return false;
    return true;
}

/* ---- lowering ---------------------------------------------------------------------------- */

static void write_le(uint8_t *p, uint64_t value, uint32_t bytes)
{
    memcpy(p, &value, bytes); /* little-endian hosts only, as the whole interpreter */
}

static bool wrong_value(struct comp_abi *abi, const struct comp_type *type)
{
    struct buf buf;
    buf_init(&buf, NULL);
    comp_type_print(&buf, type);
    wasm_thread_trap(abi->instance->thread, "the host gave a value that is not a %s",
                     buf.data ? buf.data : "value of the type");
    buf_deinit(&buf);
    return false;
}

static bool store_utf8(struct comp_abi *abi, const struct comp_value *value, uint32_t *at,
                       uint32_t *units)
{
    size_t bytes = value->of.string.bytes;
    const char *data = value->of.string.data;
    uint32_t first = value->of.string.units;
    if (value->of.string.encoding == 0 || bytes == first) {
        /* From UTF-8, or only ASCII in it. */
        if (!reallocate(abi, 0, 0, 1, (uint32_t)bytes, at))
            return false;
        if (bytes)
            memcpy(abi->memory + *at, data, bytes);
        *units = (uint32_t)bytes;
        return true;
    }
    uint32_t worst = first * (value->of.string.encoding == 2 ? 3 : 2);
    if (!reallocate(abi, 0, 0, 1, first, at) || !reallocate(abi, *at, first, 1, worst, at))
        return false;
    memcpy(abi->memory + *at, data, bytes);
    if (worst > bytes && !reallocate(abi, *at, worst, 1, (uint32_t)bytes, at))
        return false;
    *units = (uint32_t)bytes;
    return true;
}

static size_t put_utf16(uint8_t *out, uint32_t c)
{
    if (c < 0x10000) {
        write_le(out, c, 2);
        return 2;
    }
    write_le(out, 0xD800 + ((c - 0x10000) >> 10), 2);
    write_le(out + 2, 0xDC00 + ((c - 0x10000) & 0x3FF), 2);
    return 4;
}

static uint32_t utf16_bytes(const char *data, size_t bytes)
{
    uint32_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t c = (uint8_t)data[i];
        if ((c & 0xC0) != 0x80)
            count += c >= 0xF0 ? 4 : 2;
    }
    return count;
}

static void write_utf16(uint8_t *out, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes;)
        out += put_utf16(out, utf8_next(data, bytes, &i));
}

static bool store_utf16(struct comp_abi *abi, const struct comp_value *value, uint32_t *at,
                        uint32_t *units)
{
    size_t bytes = value->of.string.bytes;
    uint32_t exact = utf16_bytes(value->of.string.data, bytes);
    uint32_t worst = value->of.string.encoding == 0 ? 2 * (uint32_t)bytes : exact;
    if (!reallocate(abi, 0, 0, 2, worst, at))
        return false;
    write_utf16(abi->memory + *at, value->of.string.data, bytes);
    if (exact < worst && !reallocate(abi, *at, worst, 2, exact, at))
        return false;
    *units = exact / 2;
    return true;
}

static bool store_latin1_utf16(struct comp_abi *abi, const struct comp_value *value, uint32_t *at,
                               uint32_t *units)
{
    const char *data = value->of.string.data;
    size_t bytes = value->of.string.bytes;
    uint32_t source = value->of.string.encoding == 0 ? (uint32_t)bytes : value->of.string.units;
    uint32_t exact = utf16_bytes(data, bytes);
    size_t i = 0;
    uint32_t count = 0;
    bool is_latin1 = true;
    for (; i < bytes && is_latin1; count += is_latin1)
        is_latin1 = utf8_next(data, bytes, &i) < 0x100;
    if (value->of.string.encoding == 2 && value->of.string.is_tagged) {
        /* Already wide in a caller with this encoding: it probably must stay so. */
        if (!reallocate(abi, 0, 0, 2, 2 * source, at))
            return false;
        if (!is_latin1) {
            write_utf16(abi->memory + *at, data, bytes);
            *units = (exact / 2) | UTF16_TAG;
            return true;
        }
    } else if (!reallocate(abi, 0, 0, 2, source, at)) {
        return false;
    }
    if (is_latin1) {
        uint32_t held = value->of.string.encoding == 2 && value->of.string.is_tagged ? 2 * source
                                                                                     : source;
        for (i = 0, count = 0; i < bytes; count++)
            abi->memory[*at + count] = (uint8_t)utf8_next(data, bytes, &i);
        if (count < held && !reallocate(abi, *at, held, value->of.string.is_tagged ? 1 : 2, count, at))
            return false;
        *units = count;
        return true;
    }
    uint32_t worst = 2 * source;
    if (!reallocate(abi, *at, source, 2, worst, at))
        return false;
    write_utf16(abi->memory + *at, data, bytes);
    if (worst > exact && !reallocate(abi, *at, worst, 2, exact, at))
        return false;
    *units = (exact / 2) | UTF16_TAG;
    return true;
}

static bool lower_string(struct comp_abi *abi, const struct comp_value *value, uint32_t *at,
                         uint32_t *units)
{
    if (value->of.string.bytes > LIST_BYTES_MAX)
        return TRAP(abi, "a string is too long");
    switch (abi->options->encoding) {
    case COMP_UTF8:
        return store_utf8(abi, value, at, units);
    case COMP_UTF16:
        return store_utf16(abi, value, at, units);
    default:
        return store_latin1_utf16(abi, value, at, units);
    }
}

static bool store(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                  const struct comp_value *value);

/* The elements at `at`, which is aligned and has their bytes within memory. */
static bool store_elements(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                           const struct comp_value *value)
{
    size_t count = value->of.list.count, bytes = count * type->element->size;
    if (count && !(type->packed_bytes ? value->of.list.data != NULL
                                      : value->of.list.items != NULL))
        return wrong_value(abi, type);
    if (type->packed_bytes) {
        if (bytes)
            memcpy(abi->memory + at, value->of.list.data, bytes);
        return true;
    }
    for (size_t i = 0; i < count; i++)
        if (!store(abi, type->element, at + (uint32_t)i * type->element->size,
                   &value->of.list.items[i]))
            return false;
    return true;
}

static bool lower_list(struct comp_abi *abi, const struct comp_type *type,
                       const struct comp_value *value, uint32_t *at)
{
    size_t count = value->of.list.count;
    uint64_t bytes = (uint64_t)count * type->element->size;
    if (count > LIST_BYTES_MAX || bytes > LIST_BYTES_MAX)
        return TRAP(abi, "a list is too long");
    return reallocate(abi, 0, 0, type->element->align, (uint32_t)bytes, at) &&
           store_elements(abi, type, *at, value);
}

/* list<T, N> in cells. */
static bool lower_fixed_flat(struct comp_abi *abi, const struct comp_type *type,
                             const struct comp_value *value, union wasm_value *cells,
                             uint32_t *at)
{
    if (value->of.list.count != type->fixed_count ||
        !(type->packed_bytes ? value->of.list.data != NULL : value->of.list.items != NULL))
        return wrong_value(abi, type);
    for (uint32_t i = 0; i < type->fixed_count; i++) {
        struct comp_value one = {.kind = type->element->kind};
        if (type->packed_bytes)
            memcpy(&one.of, (const uint8_t *)value->of.list.data + (size_t)i * type->packed_bytes,
                   type->packed_bytes);
        else
            one = value->of.list.items[i];
        if (!comp_abi_lower_flat(abi, type->element, &one, cells, at))
            return false;
    }
    return true;
}

static bool lower_handle(struct comp_abi *abi, const struct comp_type *type,
                         const struct comp_value *value, uint32_t *index)
{
    const struct comp_resource *resource = slot_resource(abi, type);
    if (!resource)
        return false;
    if (type->kind == COMP_OWN) {
        *index = comp_handles_add(abi->sub, resource, value->of.rep, true, NULL);
        if (*index)
            comp_flight_land(abi->instance, value->of.rep);
        return *index != 0;
    }
    if (resource->impl == abi->sub) {
        *index = (uint32_t)(uintptr_t)value->of.rep;
        return true;
    }
    *index = comp_handles_add(abi->sub, resource, value->of.rep, false, abi->task);
    if (*index && abi->task)
        abi->task->borrow_count++;
    return *index != 0;
}

static bool lower_scalar(struct comp_abi *abi, const struct comp_type *type,
                         const struct comp_value *value, uint64_t *bits)
{
    switch (type->kind) {
    case COMP_BOOL:
        *bits = value->of.boolean;
        return true;
    case COMP_S8:
        *bits = (uint64_t)(int8_t)value->of.s & 0xFFFFFFFF;
        return true;
    case COMP_S16:
        *bits = (uint64_t)(int16_t)value->of.s & 0xFFFFFFFF;
        return true;
    case COMP_S32:
        *bits = (uint32_t)value->of.s;
        return true;
    case COMP_U8:
        *bits = (uint8_t)value->of.u;
        return true;
    case COMP_U16:
        *bits = (uint16_t)value->of.u;
        return true;
    case COMP_U32: case COMP_CHAR: case COMP_FLAGS:
        *bits = (uint32_t)value->of.u;
        return true;
    case COMP_S64: case COMP_U64:
        *bits = value->of.u;
        return true;
    case COMP_F32: {
        float f = value->of.f32;
        uint32_t word;
        memcpy(&word, &f, 4);
        *bits = isnan(f) ? 0x7FC00000 : word;
        return true;
    }
    case COMP_F64: {
        double f = value->of.f64;
        memcpy(bits, &f, 8);
        if (isnan(f))
            *bits = 0x7FF8000000000000;
        return true;
    }
    default: {
        uint32_t index = 0;
        bool ok = lower_handle(abi, type, value, &index);
        *bits = index;
        return ok;
    }
    }
}

/* The case that `value` takes; false when the host gave one that the type does not have. */
static bool lower_case(struct comp_abi *abi, const struct comp_type *type,
                       const struct comp_value *value, uint32_t *index,
                       const struct comp_type **payload)
{
    uint64_t wide = type->kind == COMP_ENUM ? value->of.u : value->of.variant.index;
    if (wide >= type->field_count)
        return wrong_value(abi, type);
    *index = (uint32_t)wide;
    *payload = type->fields[*index].type;
    if (*payload && !value->of.variant.payload)
        return wrong_value(abi, type);
    return true;
}

bool comp_abi_lower_flat(struct comp_abi *abi, const struct comp_type *type,
                         const struct comp_value *value, union wasm_value *cells, uint32_t *at)
{
    if (value->kind != type->kind)
        return wrong_value(abi, type);
    switch (type->kind) {
    case COMP_STRING: {
        uint32_t pointer = 0, units = 0;
        if (!lower_string(abi, value, &pointer, &units))
            return false;
        cells[(*at)++].i64 = pointer;
        cells[(*at)++].i64 = units;
        return true;
    }
    case COMP_LIST: {
        uint32_t pointer = 0;
        if (type->fixed_count)
            return lower_fixed_flat(abi, type, value, cells, at);
        if (!lower_list(abi, type, value, &pointer))
            return false;
        cells[(*at)++].i64 = pointer;
        cells[(*at)++].i64 = (uint32_t)value->of.list.count;
        return true;
    }
    case COMP_RECORD:
    case COMP_TUPLE:
        if (value->of.list.count != type->field_count || !value->of.list.items)
            return wrong_value(abi, type);
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!comp_abi_lower_flat(abi, type->fields[i].type, &value->of.list.items[i], cells,
                                     at))
                return false;
        return true;
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_OPTION:
    case COMP_RESULT: {
        uint32_t index, end = *at + type->flat_count;
        const struct comp_type *payload;
        if (!lower_case(abi, type, value, &index, &payload))
            return false;
        cells[(*at)++].i64 = index;
        if (payload && !comp_abi_lower_flat(abi, payload, value->of.variant.payload, cells, at))
            return false;
        while (*at < end)
            cells[(*at)++].i64 = 0;
        return true;
    }
    default: {
        /* The high bits are zero, so that the cell is right also where a variant widens it. */
        uint64_t bits;
        if (!lower_scalar(abi, type, value, &bits))
            return false;
        cells[(*at)++].i64 = bits;
        return true;
    }
    }
}

/* `at` is aligned and the type's bytes are within memory. */
static bool store(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                  const struct comp_value *value)
{
    if (value->kind != type->kind)
        return wrong_value(abi, type);
    switch (type->kind) {
    case COMP_STRING: {
        uint32_t pointer = 0, units = 0;
        if (!lower_string(abi, value, &pointer, &units))
            return false;
        write_le(abi->memory + at, pointer, 4);
        write_le(abi->memory + at + 4, units, 4);
        return true;
    }
    case COMP_LIST: {
        uint32_t pointer = 0;
        if (type->fixed_count)
            return value->of.list.count == type->fixed_count
                       ? store_elements(abi, type, at, value) : wrong_value(abi, type);
        if (!lower_list(abi, type, value, &pointer))
            return false;
        write_le(abi->memory + at, pointer, 4);
        write_le(abi->memory + at + 4, value->of.list.count, 4);
        return true;
    }
    case COMP_RECORD:
    case COMP_TUPLE:
        if (value->of.list.count != type->field_count || !value->of.list.items)
            return wrong_value(abi, type);
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!store(abi, type->fields[i].type, at + type->fields[i].offset,
                       &value->of.list.items[i]))
                return false;
        return true;
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_OPTION:
    case COMP_RESULT: {
        uint32_t index;
        const struct comp_type *payload;
        if (!lower_case(abi, type, value, &index, &payload))
            return false;
        write_le(abi->memory + at, index, type->discriminant_bytes);
        return !payload ||
               store(abi, payload, at + type->payload_offset, value->of.variant.payload);
    }
    default: {
        uint64_t bits;
        if (!lower_scalar(abi, type, value, &bits))
            return false;
        write_le(abi->memory + at, bits, type->size);
        return true;
    }
    }
}

bool comp_abi_store(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                    const struct comp_value *value)
{
    refresh(abi);
    if (at & (type->align - 1))
        return TRAP(abi, "pointer not aligned");
    if (!in_bounds(abi, at, type->size))
        return TRAP(abi, "pointer out of bounds of memory");
    return store(abi, type, at, value);
}

bool comp_abi_lower(struct comp_abi *abi, const struct comp_field *fields, uint32_t count,
                    bool is_indirect, uint32_t size, uint32_t align,
                    const struct comp_value *values, union wasm_value *cells)
{
    if (is_indirect) {
        uint32_t base = 0;
        if (!reallocate(abi, 0, 0, align, size, &base))
            return false;
        for (uint32_t i = 0; i < count; i++)
            if (!store(abi, fields[i].type, base + fields[i].offset, &values[i]))
                return false;
        cells[0].i64 = base;
        return true;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!comp_abi_lower_flat(abi, fields[i].type, &values[i], cells, &at))
            return false;
    return true;
}
