/* What the parts of the module generator share: gen_module.c (sections), gen_code.c (expressions
 * and statements), gen_shape.c (functions made of shapes). */
#ifndef TESTS_FUZZ_GEN_H
#define TESTS_FUZZ_GEN_H

#include <string.h>

#include "interp/wasm/opcodes.h"
#include "interp/wasm/wasm.h"
#include "tests/fuzz/gen_module.h"

enum {
    TYPES_MAX = 40, LIST_MAX = 10, FUNCS_MAX = 24, GLOBALS_MAX = 10, LOCALS_MAX = 128, LABELS_MAX = 30,
    RUNS_MAX = 6, DEPTH_MAX = 7, OPS_MAX = 600, CHARGE = 3000, BODY_BYTES = 1500, TAGS_MAX = 3,
    MEMORIES_MAX = 3, TABLES_MAX = 3, TYPE_COUNT = 8, NO_RESULT = TYPE_COUNT,
};

struct list {
    uint8_t items[LIST_MAX];
    unsigned count;
};
struct sig {
    struct list params, results;
};
struct label {
    struct list types; /* what a branch to it carries */
};
struct room { /* a memory or a table */
    uint64_t min, max;
    bool has_max, is64;
    uint8_t type; /* of a table */
};

struct gen {
    uint64_t state;
    const uint8_t *choices; /* used before the state's random numbers */
    size_t choice_bytes;
    unsigned features;
    const char *shapes; /* given ones that are left, or NULL */
    struct buf *used;
    struct sig sigs[TYPES_MAX];
    unsigned sig_count; /* sigs[0] is () -> (i64) */
    unsigned func_sig[FUNCS_MAX];
    unsigned import_count, func_count; /* functions before the exported ones; imports come first */
    uint8_t globals[GLOBALS_MAX];      /* the last is the counter */
    unsigned global_import_count, global_count;
    unsigned data_count, elem_count;
    uint8_t elem_types[8];
    struct room memories[MEMORIES_MAX], tables[TABLES_MAX];
    unsigned memory_count, table_count;
    unsigned tag_sig[TAGS_MAX], tag_count;
    unsigned catch_sig[TAGS_MAX][2]; /* () -> what catch and catch_ref leave */
    /* Operations by result type, from opcodes.def. */
    struct {
        uint16_t ops[OPS_MAX];
        unsigned count;
    } by_result[TYPE_COUNT + 1];
    uint16_t relaxed[32];
    unsigned relaxed_count;
    /* The function being written. */
    struct buf code;
    const struct sig *sig;
    unsigned func_index;
    uint8_t locals[LOCALS_MAX];
    unsigned local_count; /* the last ones are scratch, one per type */
    struct label labels[LABELS_MAX];
    unsigned label_count;
};

/* gen_code.c */
extern const uint8_t gen_types[TYPE_COUNT];
uint32_t gen_pick(struct gen *g, uint32_t below);
bool gen_chance(struct gen *g, uint32_t percent);
unsigned gen_type_number(uint8_t type);
uint8_t gen_pick_type(struct gen *g);
void gen_put(struct buf *out, unsigned byte);
void gen_put_u(struct buf *out, uint64_t value);
void gen_put_s(struct buf *out, int64_t value);
void gen_put_le(struct buf *out, uint64_t bits, unsigned bytes);
void gen_put_op(struct buf *out, unsigned op);
void gen_put_const(struct gen *g, struct buf *out, uint8_t type);
void gen_op(struct gen *g, unsigned op);
void gen_op_u(struct gen *g, unsigned op, uint64_t immediate);
void gen_i32_const(struct gen *g, int32_t value);
unsigned gen_scratch(const struct gen *g, uint8_t type);
/* Whether the operation's NaN result may have bits of the engine's choice. */
bool gen_chooses_nan(const char *name);
/* Makes NaNs in the value on top canonical, lane by lane in an f32x4 or (`wide_lanes`) f64x2. */
void gen_canonicalize(struct gen *g, uint8_t type, bool wide_lanes);
void gen_memarg(struct gen *g, struct buf *out, unsigned align, unsigned memory, uint64_t offset);
void gen_collect_operations(struct gen *g);
/* A whole body but the last `end`: g->locals and g->sig are set. Without `is_deep` it is short, and
 * rarely traps. */
void gen_body(struct gen *g, bool is_deep);
/* An i64 on the stack (the fold so far) and a value of `type` on top: folds it in. */
void gen_fold(struct gen *g, uint8_t type);

/* gen_shape.c */
enum { SHAPE_KINDS = 5, SHAPE_HELPERS = 5, SHAPE_PARAMS = 10 };
/* The signature of shape functions that end in the kind's way. */
void gen_shape_sig(unsigned kind, struct sig *sig);
/* Takes the next shape; the kind of function it needs. */
unsigned gen_shape_next(struct gen *g, struct buf *shape);
/* The body but the last `end`. Function `helpers` + n takes n i32 and returns one; sig_of_helper
 * is the signature's index of the first. */
void gen_shape_body(struct gen *g, unsigned kind, const char *shape, unsigned helpers,
                    unsigned sig_of_helper);
/* An argument for parameter `index` of such a function. */
void gen_shape_argument(struct gen *g, unsigned index);

#endif
