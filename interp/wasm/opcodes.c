#include "interp/wasm/opcodes.h"

#include <string.h>

#include "interp/wasm/types.h"

const struct wasm_op_info wasm_op_infos[WASM_OP_COUNT] = {
#define WASM_OP(group, code, identifier, text, immediates, number, operands, result) \
    [WASM_GROUP_##group + (code)] = {text, WASM_IMM_##immediates, number, operands, result},
#include "interp/wasm/opcodes.def"
#undef WASM_OP
};

uint8_t wasm_op_letter_type(char letter)
{
    switch (letter) {
    case 'i': return WASM_I32;
    case 'I': return WASM_I64;
    case 'f': return WASM_F32;
    case 'F': return WASM_F64;
    case 'V': return WASM_V128;
    default: return 0;
    }
}

const char *wasm_type_name(uint32_t type)
{
    switch (type) {
#define NAMES(code, nullable, heap)      \
    case code: return nullable;          \
    case code | WASM_NON_NULL: return "(ref " heap ")";
    case WASM_I32: return "i32";
    case WASM_I64: return "i64";
    case WASM_F32: return "f32";
    case WASM_F64: return "f64";
    case WASM_V128: return "v128";
    case WASM_I8: return "i8";
    case WASM_I16: return "i16";
    NAMES(WASM_FUNCREF, "funcref", "func")
    NAMES(WASM_EXTERNREF, "externref", "extern")
    NAMES(WASM_EXNREF, "exnref", "exn")
    NAMES(WASM_ANYREF, "anyref", "any")
    NAMES(WASM_EQREF, "eqref", "eq")
    NAMES(WASM_I31REF, "i31ref", "i31")
    NAMES(WASM_STRUCTREF, "structref", "struct")
    NAMES(WASM_ARRAYREF, "arrayref", "array")
    NAMES(WASM_NULLREF, "nullref", "none")
    NAMES(WASM_NULLFUNCREF, "nullfuncref", "nofunc")
    NAMES(WASM_NULLEXTERNREF, "nullexternref", "noextern")
    NAMES(WASM_NULLEXNREF, "nullexnref", "noexn")
#undef NAMES
    case WASM_TYPE_BOTTOM | WASM_NON_NULL: return "a reference";
    default: return "?";
    }
}

bool wasm_leb_u(const uint8_t **at, const uint8_t *end, unsigned bits, uint64_t *value,
                const char **problem)
{
    const uint8_t *p = *at;
    uint64_t result = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        if (p == end) {
            *problem = "unexpected end";
            return false;
        }
        uint8_t byte = *p++;
        unsigned room = bits - shift;
        if (room <= 7) {
            if (byte & 0x80) {
                *problem = "integer representation too long";
                return false;
            }
            if (byte >> room != 0) {
                *problem = "integer too large";
                return false;
            }
        }
        result |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            break;
    }
    *value = result;
    *at = p;
    return true;
}

bool wasm_leb_s(const uint8_t **at, const uint8_t *end, unsigned bits, int64_t *value,
                const char **problem)
{
    const uint8_t *p = *at;
    uint64_t result = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        if (p == end) {
            *problem = "unexpected end";
            return false;
        }
        uint8_t byte = *p++;
        unsigned room = bits - shift;
        if (room <= 7) {
            if (byte & 0x80) {
                *problem = "integer representation too long";
                return false;
            }
            /* The bits above the sign bit must all be copies of it. */
            unsigned high = (byte & 0x7Fu) >> (room - 1);
            if (high != 0 && high != 0x7Fu >> (room - 1)) {
                *problem = "integer too large";
                return false;
            }
        }
        result |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            if ((byte & 0x40) && shift + 7 < 64)
                result |= ~(uint64_t)0 << (shift + 7);
            break;
        }
    }
    *value = (int64_t)result;
    *at = p;
    return true;
}

static bool read_u32(const uint8_t **at, const uint8_t *end, uint32_t *value, const char **problem)
{
    if (*at != end && **at < 0x80) {
        *value = *(*at)++;
        return true;
    }
    uint64_t wide = 0;
    if (!wasm_leb_u(at, end, 32, &wide, problem))
        return false;
    *value = (uint32_t)wide;
    return true;
}

static bool is_heap_code(uint32_t code)
{
    return code >= WASM_EXNREF && code <= WASM_NULLEXNREF;
}

/* As a nullable reference to it. */
static enum wasm_read heap_type(const uint8_t **at, const uint8_t *end, uint32_t *type,
                                const char **problem)
{
    int64_t code = 0;
    if (!wasm_leb_s(at, end, 33, &code, problem))
        return WASM_READ_MALFORMED;
    if (code > WASM_TYPE_NUMBER_MAX) {
        *problem = "unknown type";
        return WASM_READ_MALFORMED;
    }
    if (code >= 0) {
        *type = (uint32_t)code << WASM_TYPE_NUMBER_SHIFT | WASM_TYPE_DEFINED;
        return WASM_READ_OK;
    }
    if (code < -64 || !is_heap_code(code & 0x7F)) {
        *problem = "malformed heap type";
        return WASM_READ_MALFORMED;
    }
    *type = code & 0x7F;
    return WASM_READ_OK;
}

enum wasm_read wasm_type_read(const uint8_t **at, const uint8_t *end, uint32_t *type,
                              const char **problem)
{
    if (*at == end) {
        *problem = "unexpected end";
        return WASM_READ_MALFORMED;
    }
    uint8_t byte = *(*at)++;
    if (is_heap_code(byte) || (byte >= WASM_V128 && byte <= WASM_I32)) {
        *type = byte;
        return WASM_READ_OK;
    }
    if (byte != 0x63 && byte != 0x64) {
        (*at)--;
        *problem = "malformed value type";
        return WASM_READ_MALFORMED;
    }
    enum wasm_read result = heap_type(at, end, type, problem);
    if (byte == 0x64)
        *type |= WASM_NON_NULL;
    return result;
}

static enum wasm_read block_type(const uint8_t **at, const uint8_t *end, struct wasm_instr *instr,
                                 const char **problem)
{
    if (*at == end) {
        *problem = "unexpected end";
        return WASM_READ_MALFORMED;
    }
    uint8_t byte = **at;
    if (byte == 0x40) {
        (*at)++;
        instr->block_type = WASM_BLOCK_EMPTY;
        return WASM_READ_OK;
    }
    if ((byte & 0xC0) == 0x40) { /* a negative one-byte number: a value type */
        instr->block_type = WASM_BLOCK_VALUE;
        return wasm_type_read(at, end, &instr->block_value, problem);
    }
    if (!wasm_leb_s(at, end, 33, &instr->block_type, problem))
        return WASM_READ_MALFORMED;
    if (instr->block_type < 0) {
        *problem = "malformed block type";
        return WASM_READ_MALFORMED;
    }
    return WASM_READ_OK;
}

static bool memarg(const uint8_t **at, const uint8_t *end, struct wasm_instr *instr,
                   const char **problem)
{
    uint32_t flags = 0;
    if (!read_u32(at, end, &flags, problem))
        return false;
    if (flags >= 0x80) {
        *problem = "malformed memop flags";
        return false;
    }
    instr->align = flags & 0x3F;
    instr->index = 0;
    if ((flags & 0x40) && !read_u32(at, end, &instr->index, problem))
        return false;
    return wasm_leb_u(at, end, 64, &instr->offset, problem);
}

/* Walks `count` LEB128 numbers; a count beyond the bytes left is refused before walking. */
static bool label_vector(const uint8_t **at, const uint8_t *end, struct wasm_instr *instr,
                         const char **problem)
{
    uint32_t label = 0;
    if (!read_u32(at, end, &instr->count, problem))
        return false;
    if (instr->count > (size_t)(end - *at)) {
        *problem = "unexpected end";
        return false;
    }
    instr->vector = *at;
    for (uint32_t i = 0; i < instr->count; i++)
        if (!read_u32(at, end, &label, problem))
            return false;
    return true;
}

static bool catch_vector(const uint8_t **at, const uint8_t *end, struct wasm_instr *instr,
                         const char **problem)
{
    uint32_t ignored = 0;
    if (!read_u32(at, end, &instr->count, problem))
        return false;
    if (instr->count > (size_t)(end - *at)) {
        *problem = "unexpected end";
        return false;
    }
    instr->vector = *at;
    for (uint32_t i = 0; i < instr->count; i++) {
        if (*at == end) {
            *problem = "unexpected end";
            return false;
        }
        uint8_t kind = *(*at)++;
        if (kind > WASM_CATCH_ALL_REF) {
            *problem = "malformed catch clause";
            return false;
        }
        if (kind <= WASM_CATCH_REF && !read_u32(at, end, &ignored, problem))
            return false;
        if (!read_u32(at, end, &ignored, problem))
            return false;
    }
    return true;
}

static bool raw_bytes(const uint8_t **at, const uint8_t *end, size_t count,
                      struct wasm_instr *instr, const char **problem)
{
    if ((size_t)(end - *at) < count) {
        *problem = "unexpected end";
        return false;
    }
    instr->vector = *at;
    *at += count;
    return true;
}

/* Opcodes of proposals that this build does not have. */
static enum wasm_read unknown_opcode(uint8_t byte, const char **problem)
{
    switch (byte) {
    case 0x06: case 0x07: case 0x09: case 0x18: case 0x19:
        *problem = "this instruction needs the legacy exception handling proposal";
        return WASM_READ_UNSUPPORTED;
    case 0xFE:
        *problem = "this instruction needs the threads proposal";
        return WASM_READ_UNSUPPORTED;
    default:
        *problem = "illegal opcode";
        return WASM_READ_MALFORMED;
    }
}

enum wasm_read wasm_instr_read(const uint8_t *at, const uint8_t *end, struct wasm_instr *instr,
                               const char **problem, const uint8_t **where)
{
    *where = at;
    if (at == end) {
        *problem = "unexpected end";
        return WASM_READ_MALFORMED;
    }
    uint8_t byte = *at++;
    uint32_t op = byte;
    if (byte >= 0xFB && byte <= 0xFD) {
        static const uint16_t bases[] = {WASM_GROUP_GC, WASM_GROUP_BULK, WASM_GROUP_SIMD};
        uint32_t code = 0;
        if (!read_u32(&at, end, &code, problem))
            return WASM_READ_MALFORMED;
        op = bases[byte - 0xFB] + code;
        if (code >= (byte == 0xFD ? 0x200u : 0x80u))
            op = 0xFF; /* in no group */
    }
    if (!wasm_op_infos[op].name)
        return unknown_opcode(byte, problem);
    instr->op = op;
    *where = at;

    bool ok = true;
    switch ((enum wasm_imm)wasm_op_infos[op].imm) {
    case WASM_IMM_NONE:
        break;
    case WASM_IMM_BLOCK:
    case WASM_IMM_TRY_TABLE: {
        enum wasm_read result = block_type(&at, end, instr, problem);
        if (result != WASM_READ_OK)
            return result;
        if (op == WASM_OP_TRY_TABLE)
            ok = catch_vector(&at, end, instr, problem);
        break;
    }
    case WASM_IMM_LABEL:
    case WASM_IMM_FUNC:
    case WASM_IMM_LOCAL:
    case WASM_IMM_GLOBAL:
    case WASM_IMM_TABLE:
    case WASM_IMM_MEMORY:
    case WASM_IMM_DATA:
    case WASM_IMM_ELEM:
    case WASM_IMM_TAG:
    case WASM_IMM_TYPE:
        ok = read_u32(&at, end, &instr->index, problem);
        break;
    case WASM_IMM_CALL_INDIRECT:
    case WASM_IMM_MEMORY_INIT:
    case WASM_IMM_MEMORY_COPY:
    case WASM_IMM_TABLE_INIT:
    case WASM_IMM_TABLE_COPY:
    case WASM_IMM_FIELD:
    case WASM_IMM_TYPE_COUNT:
    case WASM_IMM_TYPE_DATA:
    case WASM_IMM_TYPE_ELEM:
    case WASM_IMM_TYPE_TYPE:
        ok = read_u32(&at, end, &instr->index, problem) &&
             read_u32(&at, end, &instr->index2, problem);
        break;
    case WASM_IMM_BR_TABLE:
        ok = label_vector(&at, end, instr, problem) && read_u32(&at, end, &instr->index, problem);
        break;
    case WASM_IMM_MEMARG:
        ok = memarg(&at, end, instr, problem);
        break;
    case WASM_IMM_MEMARG_LANE:
        ok = memarg(&at, end, instr, problem) && raw_bytes(&at, end, 1, instr, problem);
        if (ok)
            instr->lane = *instr->vector;
        break;
    case WASM_IMM_LANE:
        ok = raw_bytes(&at, end, 1, instr, problem);
        if (ok)
            instr->lane = *instr->vector;
        break;
    case WASM_IMM_I32:
    case WASM_IMM_I64: {
        int64_t value = 0;
        ok = wasm_leb_s(&at, end, op == WASM_OP_I32_CONST ? 32 : 64, &value, problem);
        instr->value = (uint64_t)value;
        break;
    }
    case WASM_IMM_F32:
    case WASM_IMM_F64: {
        size_t bytes = op == WASM_OP_F32_CONST ? 4 : 8;
        ok = raw_bytes(&at, end, bytes, instr, problem);
        instr->value = 0;
        for (size_t i = 0; ok && i < bytes; i++)
            instr->value |= (uint64_t)instr->vector[i] << (8 * i);
        break;
    }
    case WASM_IMM_V128:
    case WASM_IMM_SHUFFLE:
        ok = raw_bytes(&at, end, 16, instr, problem);
        break;
    case WASM_IMM_SELECT: {
        ok = read_u32(&at, end, &instr->count, problem);
        if (ok && instr->count != 1) {
            *problem = "invalid result arity: select names exactly one type";
            return WASM_READ_MALFORMED;
        }
        instr->vector = at;
        enum wasm_read result = ok ? wasm_type_read(&at, end, &instr->type, problem)
                                   : WASM_READ_MALFORMED;
        if (result != WASM_READ_OK)
            return result;
        break;
    }
    case WASM_IMM_REF_TYPE: {
        enum wasm_read result = heap_type(&at, end, &instr->type, problem);
        if (result != WASM_READ_OK)
            return result;
        if (op == WASM_OP_REF_TEST || op == WASM_OP_REF_CAST)
            instr->type |= WASM_NON_NULL;
        break;
    }
    case WASM_IMM_BR_ON_CAST: {
        ok = raw_bytes(&at, end, 1, instr, problem) &&
             read_u32(&at, end, &instr->index, problem);
        if (!ok)
            break;
        uint8_t flags = *instr->vector;
        if (flags > 3) {
            *problem = "malformed br_on_cast flags";
            return WASM_READ_MALFORMED;
        }
        enum wasm_read result = heap_type(&at, end, &instr->type, problem);
        if (result == WASM_READ_OK)
            result = heap_type(&at, end, &instr->type2, problem);
        if (result != WASM_READ_OK)
            return result;
        instr->type |= flags & 1 ? 0 : WASM_NON_NULL;
        instr->type2 |= flags & 2 ? 0 : WASM_NON_NULL;
        break;
    }
    }
    instr->next = at;
    return ok ? WASM_READ_OK : WASM_READ_MALFORMED;
}
