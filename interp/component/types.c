#include "interp/component/types.h"

#include <string.h>

#include "engine/base/check.h"

#define PRIMITIVE(kind_, bytes, flat_) \
    [kind_] = {.kind = kind_, .size = bytes, .align = bytes, .flat_count = 1, \
               .flat = {flat_}, .depth = 1, .tree_size = 1}

static const struct comp_type primitives[] = {
    PRIMITIVE(COMP_BOOL, 1, WASM_I32),
    PRIMITIVE(COMP_S8, 1, WASM_I32),
    PRIMITIVE(COMP_U8, 1, WASM_I32),
    PRIMITIVE(COMP_S16, 2, WASM_I32),
    PRIMITIVE(COMP_U16, 2, WASM_I32),
    PRIMITIVE(COMP_S32, 4, WASM_I32),
    PRIMITIVE(COMP_U32, 4, WASM_I32),
    PRIMITIVE(COMP_S64, 8, WASM_I64),
    PRIMITIVE(COMP_U64, 8, WASM_I64),
    PRIMITIVE(COMP_F32, 4, WASM_F32),
    PRIMITIVE(COMP_F64, 8, WASM_F64),
    PRIMITIVE(COMP_CHAR, 4, WASM_I32),
    [COMP_STRING] = {.kind = COMP_STRING, .size = 8, .align = 4, .flat_count = 2,
                     .flat = {WASM_I32, WASM_I32}, .has_pointer = true, .depth = 1,
                     .tree_size = 1},
};

const struct comp_type *comp_type_primitive(enum comp_kind kind)
{
    CHECK(kind <= COMP_STRING);
    return &primitives[kind];
}

static uint32_t align_up(uint32_t offset, uint32_t align)
{
    return (offset + align - 1) & ~(align - 1);
}

static struct comp_type *new_type(struct arena *arena, enum comp_kind kind, struct report *report)
{
    struct comp_type *type = arena_calloc(arena, 1, sizeof *type);
    if (!type) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    type->kind = kind;
    type->depth = type->tree_size = 1;
    return type;
}

/* Takes over what a part says about the whole. */
static bool add_part(struct comp_type *type, const struct comp_type *part, struct report *report)
{
    type->has_resource |= part->has_resource;
    type->has_borrow |= part->has_borrow;
    type->has_pointer |= part->has_pointer;
    if (type->depth <= part->depth)
        type->depth = part->depth + 1;
    type->tree_size += part->tree_size;
    if (type->depth > COMP_TYPE_DEPTH_MAX) {
        err_set(report, ERR_LIMIT, "a type is nested more than %d deep", COMP_TYPE_DEPTH_MAX);
        return false;
    }
    if (type->tree_size > COMP_TYPE_SIZE_MAX) {
        err_set(report, ERR_LIMIT, "a type has more than %d parts", COMP_TYPE_SIZE_MAX);
        return false;
    }
    return true;
}

const struct comp_type *comp_type_list(struct arena *arena, const struct comp_type *element,
                                       struct report *report)
{
    struct comp_type *type = new_type(arena, COMP_LIST, report);
    if (!type || !add_part(type, element, report))
        return NULL;
    type->size = 8;
    type->align = 4;
    type->flat_count = 2;
    type->flat[0] = type->flat[1] = WASM_I32;
    type->has_pointer = true;
    type->element = element;
    switch (element->kind) {
    case COMP_S8: case COMP_U8: case COMP_S16: case COMP_U16: case COMP_S32: case COMP_U32:
    case COMP_S64: case COMP_U64: case COMP_F32: case COMP_F64:
        type->packed_bytes = element->size;
        break;
    default:
        break;
    }
    return type;
}

static bool too_large(uint64_t size, struct report *report);
static void flat_append(uint8_t *flat, uint32_t *count, const struct comp_type *part);

const struct comp_type *comp_type_fixed_list(struct arena *arena, const struct comp_type *element,
                                             uint32_t count, struct report *report)
{
    const struct comp_type *list = comp_type_list(arena, element, report);
    if (!list)
        return NULL;
    struct comp_type *type = arena_alloc(arena, sizeof *type);
    if (!type) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    *type = *list;
    uint64_t size = (uint64_t)count * element->size;
    if (count == 0) {
        err_set(report, ERR_INVALID, "a list of fixed length must have at least one element");
        return NULL;
    }
    if (too_large(size, report))
        return NULL;
    type->fixed_count = count;
    type->size = (uint32_t)size;
    type->align = element->align;
    type->has_pointer = element->has_pointer;
    type->flat_count = 0;
    for (uint32_t i = 0; i < count && type->flat_count <= COMP_FLAT_MAX; i++)
        flat_append(type->flat, &type->flat_count, element);
    return type;
}

const struct comp_type *comp_type_map(struct arena *arena, const struct comp_type *key,
                                      const struct comp_type *value, struct report *report)
{
    struct comp_field *fields = arena_calloc(arena, 2, sizeof *fields);
    struct comp_type *type = arena_alloc(arena, sizeof *type);
    if (!fields || !type) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    fields[0].type = key;
    fields[1].type = value;
    const struct comp_type *pair = comp_type_fields(arena, COMP_TUPLE, fields, 2, report);
    const struct comp_type *list = pair ? comp_type_list(arena, pair, report) : NULL;
    if (!list)
        return NULL;
    *type = *list;
    type->is_map = true;
    return type;
}

static uint8_t join(uint8_t a, uint8_t b)
{
    if (a == b)
        return a;
    if ((a == WASM_I32 && b == WASM_F32) || (a == WASM_F32 && b == WASM_I32))
        return WASM_I32;
    return WASM_I64;
}

static void flat_append(uint8_t *flat, uint32_t *count, const struct comp_type *part)
{
    for (uint32_t i = 0; i < part->flat_count; i++) {
        if (*count >= COMP_FLAT_MAX) {
            *count = COMP_FLAT_MAX + 1;
            return;
        }
        flat[(*count)++] = part->flat[i];
    }
}

static bool too_large(uint64_t size, struct report *report)
{
    if (size <= COMP_VALUE_BYTES_MAX)
        return false;
    err_set(report, ERR_LIMIT, "a type's values exceed the maximum byte size (2^28)");
    return true;
}

static bool lay_out_record(struct comp_type *type, struct report *report)
{
    uint64_t offset = 0;
    type->align = 1;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct comp_type *part = type->fields[i].type;
        if (!add_part(type, part, report))
            return false;
        if (part->align > type->align)
            type->align = part->align;
        offset = align_up((uint32_t)offset, part->align);
        type->fields[i].offset = (uint32_t)offset;
        offset += part->size;
        if (too_large(offset, report))
            return false;
        flat_append(type->flat, &type->flat_count, part);
    }
    type->size = align_up((uint32_t)offset, type->align);
    return !too_large(type->size, report);
}

static bool lay_out_variant(struct comp_type *type, struct report *report)
{
    uint32_t count = type->field_count, align = 1, size = 0;
    type->discriminant_bytes = count <= 0x100 ? 1 : count <= 0x10000 ? 2 : 4;
    type->flat[0] = WASM_I32;
    type->flat_count = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct comp_type *part = type->fields[i].type;
        if (!part)
            continue;
        if (!add_part(type, part, report))
            return false;
        if (part->align > align)
            align = part->align;
        if (part->size > size)
            size = part->size;
        for (uint32_t k = 0; k < part->flat_count; k++) {
            if (k + 1 >= COMP_FLAT_MAX) {
                type->flat_count = COMP_FLAT_MAX + 1;
                break;
            }
            if (k + 1 < type->flat_count) {
                type->flat[k + 1] = join(type->flat[k + 1], part->flat[k]);
            } else {
                type->flat[k + 1] = part->flat[k];
                type->flat_count = k + 2;
            }
        }
    }
    type->align = align > type->discriminant_bytes ? align : type->discriminant_bytes;
    type->payload_offset = align_up(type->discriminant_bytes, align);
    uint64_t whole = (uint64_t)type->payload_offset + size;
    if (too_large(whole + 8, report))
        return false;
    type->size = align_up((uint32_t)whole, type->align);
    return true;
}

const struct comp_type *comp_type_fields(struct arena *arena, enum comp_kind kind,
                                         struct comp_field *fields, uint32_t count,
                                         struct report *report)
{
    struct comp_type *type = new_type(arena, kind, report);
    if (!type)
        return NULL;
    if (count == 0) {
        err_set(report, ERR_INVALID, "a record, variant, enum, tuple or flags must have at least one member");
        return NULL;
    }
    type->fields = fields;
    type->field_count = count;
    switch (kind) {
    case COMP_RECORD:
    case COMP_TUPLE:
        return lay_out_record(type, report) ? type : NULL;
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_OPTION:
    case COMP_RESULT:
        type->tree_size += count;
        return lay_out_variant(type, report) ? type : NULL;
    case COMP_FLAGS:
        if (count > 32) {
            err_set(report, ERR_INVALID, "cannot have more than 32 flags");
            return NULL;
        }
        type->tree_size += count;
        type->size = type->align = count <= 8 ? 1 : count <= 16 ? 2 : 4;
        type->flat_count = 1;
        type->flat[0] = WASM_I32;
        return type;
    default:
        UNREACHABLE();
    }
}

const struct comp_type *comp_type_option(struct arena *arena, const struct comp_type *some,
                                         struct report *report)
{
    struct comp_field *fields = arena_calloc(arena, 2, sizeof *fields);
    if (!fields) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    fields[0].name = "none";
    fields[1].name = "some";
    fields[1].type = some;
    return comp_type_fields(arena, COMP_OPTION, fields, 2, report);
}

const struct comp_type *comp_type_result(struct arena *arena, const struct comp_type *ok,
                                         const struct comp_type *error, struct report *report)
{
    struct comp_field *fields = arena_calloc(arena, 2, sizeof *fields);
    if (!fields) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    fields[0].name = "ok";
    fields[0].type = ok;
    fields[1].name = "error";
    fields[1].type = error;
    return comp_type_fields(arena, COMP_RESULT, fields, 2, report);
}

const struct comp_type *comp_type_handle(struct arena *arena, enum comp_kind kind,
                                         struct comp_res *resource, struct report *report)
{
    struct comp_type *type = new_type(arena, kind, report);
    if (!type)
        return NULL;
    type->size = type->align = 4;
    type->flat_count = 1;
    type->flat[0] = WASM_I32;
    type->has_resource = true;
    type->has_borrow = kind == COMP_BORROW;
    type->resource = resource;
    return type;
}

const struct comp_type *comp_type_named(struct arena *arena, const struct comp_type *type)
{
    struct comp_type *copy = arena_alloc(arena, sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *type;
    return copy;
}

const struct comp_functype *comp_functype_create(struct arena *arena, struct comp_field *params,
                                                 uint32_t count, const struct comp_type *result,
                                                 struct report *report)
{
    struct comp_functype *func = arena_calloc(arena, 1, sizeof *func);
    if (!func) {
        err_set(report, ERR_MEMORY, "no memory for a type");
        return NULL;
    }
    func->params = params;
    func->param_count = count;
    func->result = result;
    func->depth = func->tree_size = 1;
    func->params_align = 1;
    if (count) {
        struct comp_type tuple = {.kind = COMP_TUPLE, .fields = params, .field_count = count,
                                  .depth = 1, .tree_size = 1};
        if (!lay_out_record(&tuple, report))
            return NULL;
        func->params_size = tuple.size;
        func->params_align = tuple.align;
        func->flat_count = tuple.flat_count;
        memcpy(func->flat, tuple.flat, sizeof func->flat);
        func->has_resource = tuple.has_resource;
        func->params_have_pointer = tuple.has_pointer;
        func->depth = tuple.depth;
        func->tree_size = tuple.tree_size;
    }
    if (result) {
        if (result->has_borrow) {
            err_set(report, ERR_INVALID, "function result cannot contain a `borrow` type");
            return NULL;
        }
        func->has_resource |= result->has_resource;
        if (func->depth <= result->depth)
            func->depth = result->depth + 1;
        func->tree_size += result->tree_size;
        if (func->tree_size > COMP_TYPE_SIZE_MAX || func->depth > COMP_TYPE_DEPTH_MAX) {
            err_set(report, ERR_LIMIT, "a function type is too large");
            return NULL;
        }
    }
    return func;
}

/* ---- equality ---------------------------------------------------------------------------- */

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool comp_type_equal(const struct comp_type *a, const struct comp_type *b, comp_same_res same,
                     void *user, uint64_t *work)
{
    if (!a || !b)
        return a == b;
    if (a == b && !a->has_resource)
        return true;
    if (*work == 0)
        return false;
    *work -= 1;
    if (a->kind != b->kind || a->field_count != b->field_count ||
        a->fixed_count != b->fixed_count || a->is_map != b->is_map)
        return false;
    switch (a->kind) {
    case COMP_LIST:
        return comp_type_equal(a->element, b->element, same, user, work);
    case COMP_OWN:
    case COMP_BORROW:
        return same(user, a->resource, b->resource);
    default:
        for (uint32_t i = 0; i < a->field_count; i++)
            if (!same_name(a->fields[i].name, b->fields[i].name) ||
                !comp_type_equal(a->fields[i].type, b->fields[i].type, same, user, work))
                return false;
        return true;
    }
}

bool comp_functype_equal(const struct comp_functype *a, const struct comp_functype *b,
                         comp_same_res same, void *user, uint64_t *work)
{
    if (a->param_count != b->param_count)
        return false;
    for (uint32_t i = 0; i < a->param_count; i++)
        if (!same_name(a->params[i].name, b->params[i].name) ||
            !comp_type_equal(a->params[i].type, b->params[i].type, same, user, work))
            return false;
    return comp_type_equal(a->result, b->result, same, user, work);
}

/* ---- text -------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
    [COMP_BOOL] = "bool", [COMP_S8] = "s8", [COMP_U8] = "u8", [COMP_S16] = "s16",
    [COMP_U16] = "u16", [COMP_S32] = "s32", [COMP_U32] = "u32", [COMP_S64] = "s64",
    [COMP_U64] = "u64", [COMP_F32] = "f32", [COMP_F64] = "f64", [COMP_CHAR] = "char",
    [COMP_STRING] = "string", [COMP_LIST] = "list", [COMP_RECORD] = "record",
    [COMP_TUPLE] = "tuple", [COMP_VARIANT] = "variant", [COMP_ENUM] = "enum",
    [COMP_OPTION] = "option", [COMP_RESULT] = "result", [COMP_FLAGS] = "flags",
    [COMP_OWN] = "own", [COMP_BORROW] = "borrow",
};

enum { PRINT_BYTES_MAX = 300 };

void comp_type_print(struct buf *buf, const struct comp_type *type)
{
    if (buf->count > PRINT_BYTES_MAX) {
        if (buf->data[buf->count - 1] != '.')
            buf_puts(buf, "...");
        return;
    }
    buf_puts(buf, kind_names[type->kind]);
    switch (type->kind) {
    case COMP_LIST:
        buf_puts(buf, "<");
        comp_type_print(buf, type->element);
        buf_puts(buf, ">");
        break;
    case COMP_OWN:
    case COMP_BORROW:
        buf_printf(buf, "<%s>", type->resource->name ? type->resource->name : "resource");
        break;
    case COMP_OPTION:
        buf_puts(buf, "<");
        comp_type_print(buf, type->fields[1].type);
        buf_puts(buf, ">");
        break;
    case COMP_RESULT:
        if (!type->fields[0].type && !type->fields[1].type)
            break;
        buf_puts(buf, "<");
        if (type->fields[0].type)
            comp_type_print(buf, type->fields[0].type);
        else
            buf_puts(buf, "_");
        if (type->fields[1].type) {
            buf_puts(buf, ", ");
            comp_type_print(buf, type->fields[1].type);
        }
        buf_puts(buf, ">");
        break;
    case COMP_TUPLE:
        buf_puts(buf, "<");
        for (uint32_t i = 0; i < type->field_count && buf->count <= PRINT_BYTES_MAX; i++) {
            if (i)
                buf_puts(buf, ", ");
            comp_type_print(buf, type->fields[i].type);
        }
        buf_puts(buf, ">");
        break;
    case COMP_RECORD:
    case COMP_VARIANT:
    case COMP_ENUM:
    case COMP_FLAGS:
        buf_puts(buf, " { ");
        for (uint32_t i = 0; i < type->field_count && buf->count <= PRINT_BYTES_MAX; i++) {
            buf_printf(buf, "%s%s", i ? ", " : "", type->fields[i].name);
            if (!type->fields[i].type)
                continue;
            buf_puts(buf, type->kind == COMP_RECORD ? ": " : "(");
            comp_type_print(buf, type->fields[i].type);
            if (type->kind == COMP_VARIANT)
                buf_puts(buf, ")");
        }
        buf_puts(buf, " }");
        break;
    default:
        break;
    }
}

void comp_functype_print(struct buf *buf, const struct comp_functype *type)
{
    buf_puts(buf, "func(");
    for (uint32_t i = 0; i < type->param_count && buf->count <= PRINT_BYTES_MAX; i++) {
        buf_printf(buf, "%s%s: ", i ? ", " : "", type->params[i].name);
        comp_type_print(buf, type->params[i].type);
    }
    buf_puts(buf, ")");
    if (type->result) {
        buf_puts(buf, " -> ");
        comp_type_print(buf, type->result);
    }
}

/* ---- core signatures --------------------------------------------------------------------- */

void comp_functype_core(const struct comp_functype *type, bool is_lift, struct comp_core_sig *sig)
{
    memset(sig, 0, sizeof *sig);
    if (type->flat_count > COMP_FLAT_PARAMS_MAX) {
        sig->params[sig->param_count++] = WASM_I32;
    } else {
        sig->param_count = type->flat_count;
        for (uint32_t i = 0; i < type->flat_count; i++)
            sig->params[i] = type->flat[i];
    }
    if (!type->result)
        return;
    if (type->result->flat_count <= COMP_FLAT_RESULTS_MAX) {
        sig->result_count = type->result->flat_count;
        sig->results[0] = type->result->flat[0];
    } else if (is_lift) {
        sig->results[sig->result_count++] = WASM_I32;
    } else {
        sig->params[sig->param_count++] = WASM_I32;
    }
}

bool comp_core_sig_equal(const struct comp_core_sig *sig, const struct wasm_functype *type)
{
    return sig->param_count == type->param_count && sig->result_count == type->result_count &&
           (sig->param_count == 0 || memcmp(sig->params, type->params,
                                            sig->param_count * sizeof *sig->params) == 0) &&
           (sig->result_count == 0 || memcmp(sig->results, type->results,
                                             sig->result_count * sizeof *sig->results) == 0);
}

static const char *core_name(uint32_t type)
{
    switch (type) {
    case WASM_I32: return "i32";
    case WASM_I64: return "i64";
    case WASM_F32: return "f32";
    case WASM_F64: return "f64";
    case WASM_V128: return "v128";
    default: return "ref";
    }
}

void comp_core_sig_print(struct buf *buf, const struct wasm_functype *type)
{
    buf_puts(buf, "(");
    for (uint32_t i = 0; i < type->param_count && i < 40; i++)
        buf_printf(buf, "%s%s", i ? " " : "", core_name(type->params[i]));
    buf_puts(buf, ") -> (");
    for (uint32_t i = 0; i < type->result_count && i < 40; i++)
        buf_printf(buf, "%s%s", i ? " " : "", core_name(type->results[i]));
    buf_puts(buf, ")");
}
