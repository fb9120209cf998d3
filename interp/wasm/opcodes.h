/* Instructions as data: names, immediates and signatures generated from opcodes.def, and the one
 * reader of encoded instructions. Private to interp/. */
#ifndef INTERP_WASM_OPCODES_H
#define INTERP_WASM_OPCODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One dense number per instruction: the group's base plus the code. */
enum wasm_op_group {
    WASM_GROUP_PLAIN = 0x000,
    WASM_GROUP_BULK = 0x100,
    WASM_GROUP_GC = 0x180,
    WASM_GROUP_SIMD = 0x200
};
enum { WASM_OP_COUNT = 0x400 };

enum wasm_opcode {
#define WASM_OP(group, code, identifier, text, immediates, number, operands, result) \
    WASM_OP_##identifier = WASM_GROUP_##group + (code),
#include "interp/wasm/opcodes.def"
#undef WASM_OP
};

/* What follows the opcode, and where wasm_instr_read puts it. */
enum wasm_imm {
    WASM_IMM_NONE,
    WASM_IMM_BLOCK,         /* block_type */
    WASM_IMM_LABEL,         /* index */
    WASM_IMM_BR_TABLE,      /* count, vector; the default label: index */
    WASM_IMM_FUNC,          /* index */
    WASM_IMM_CALL_INDIRECT, /* index: type, index2: table */
    WASM_IMM_LOCAL,         /* index */
    WASM_IMM_GLOBAL,        /* index */
    WASM_IMM_TABLE,         /* index */
    WASM_IMM_MEMORY,        /* index */
    WASM_IMM_MEMARG,        /* align (log2), offset, index: memory */
    WASM_IMM_I32,           /* value, sign-extended */
    WASM_IMM_I64,           /* value */
    WASM_IMM_F32,           /* value: the bits */
    WASM_IMM_F64,           /* value: the bits */
    WASM_IMM_V128,          /* vector: 16 bytes */
    WASM_IMM_SELECT,        /* type (exactly one) */
    WASM_IMM_REF_TYPE,      /* type, not null for ref.test and ref.cast without `null` */
    WASM_IMM_LANE,          /* lane */
    WASM_IMM_MEMARG_LANE,   /* as MEMARG, and lane */
    WASM_IMM_SHUFFLE,       /* vector: 16 lanes */
    WASM_IMM_DATA,          /* index */
    WASM_IMM_ELEM,          /* index */
    WASM_IMM_MEMORY_INIT,   /* index: data, index2: memory */
    WASM_IMM_MEMORY_COPY,   /* index: to, index2: from */
    WASM_IMM_TABLE_INIT,    /* index: elem, index2: table */
    WASM_IMM_TABLE_COPY,    /* index: to, index2: from */
    WASM_IMM_TRY_TABLE,     /* block_type; count, vector: catch clauses */
    WASM_IMM_TAG,           /* index */
    WASM_IMM_TYPE,          /* index */
    WASM_IMM_FIELD,         /* index: type, index2: field */
    WASM_IMM_TYPE_COUNT,    /* index: type, index2: how many */
    WASM_IMM_TYPE_DATA,     /* index: type, index2: data */
    WASM_IMM_TYPE_ELEM,     /* index: type, index2: elem */
    WASM_IMM_TYPE_TYPE,     /* index: to, index2: from */
    WASM_IMM_BR_ON_CAST,    /* index: label; type: from, type2: to */
};

struct wasm_op_info {
    const char *name; /* NULL: no such instruction */
    uint8_t imm;      /* enum wasm_imm */
    uint8_t number;   /* natural alignment (log2) or lane count */
    char operands[4], result[2]; /* letters of opcodes.def, zero-terminated */
};
extern const struct wasm_op_info wasm_op_infos[WASM_OP_COUNT];

/* The value type of a letter i I f F V, 0 for others. */
uint8_t wasm_op_letter_type(char letter);

enum wasm_catch { WASM_CATCH, WASM_CATCH_REF, WASM_CATCH_ALL, WASM_CATCH_ALL_REF };

/* A block's type: -1 = [] -> [], -2 = [] -> [block_value], else the index of a function type. */
enum { WASM_BLOCK_EMPTY = -1, WASM_BLOCK_VALUE = -2 };

struct wasm_instr {
    uint32_t op; /* enum wasm_opcode */
    uint32_t index, index2;
    uint32_t align;
    uint8_t lane;
    /* Value types; types of the module by their index (wasm_module_resolve). */
    uint32_t type, type2;
    uint32_t block_value;
    int64_t block_type;
    uint64_t offset;
    uint64_t value;
    uint32_t count;        /* items of `vector` */
    const uint8_t *vector; /* first item, in the encoded bytes */
    const uint8_t *next;   /* behind the instruction */
};

enum wasm_read { WASM_READ_OK, WASM_READ_MALFORMED, WASM_READ_UNSUPPORTED };

/* Reads the instruction at `at` (vectors are walked once, so their items are well-formed LEB128s
 * afterwards). Anything but OK: *problem is a static sentence, *where the byte it is about. */
enum wasm_read wasm_instr_read(const uint8_t *at, const uint8_t *end, struct wasm_instr *instr,
                               const char **problem, const uint8_t **where);

/* One value type; types of the module by their index. */
enum wasm_read wasm_type_read(const uint8_t **at, const uint8_t *end, uint32_t *type,
                              const char **problem);

/* LEB128 with the spec's rules; advances *at. False and *problem set when malformed. */
bool wasm_leb_u(const uint8_t **at, const uint8_t *end, unsigned bits, uint64_t *value,
                const char **problem);
bool wasm_leb_s(const uint8_t **at, const uint8_t *end, unsigned bits, int64_t *value,
                const char **problem);

/* A LEB128 u32 that is known to be well-formed (validated before). */
static inline uint32_t wasm_leb_u32_trusted(const uint8_t **at)
{
    const uint8_t *p = *at;
    uint32_t value = *p & 0x7Fu;
    for (unsigned shift = 7; *p++ & 0x80; shift += 7)
        value |= (uint32_t)(*p & 0x7Fu) << shift;
    *at = p;
    return value;
}

/* "i32", "funcref", "(ref func)", ...; "?" for others. */
const char *wasm_type_name(uint32_t type);

#endif
