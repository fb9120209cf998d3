/* The internal code and everything that runs it: what translate.c makes, exec.c executes, and
 * store.c, instance.c and thread.c keep. Private to interp/wasm.
 *
 * CODE. A function becomes an array of 8-byte words. An instruction is its handler's address,
 * one word of operands, and further words where it needs them (constants, branch targets).
 * Operands name slots of the frame; the accumulators (one integer, one f64, one f32, one v128, each in
 * a machine register) carry the last result of their class to the instruction behind it.
 * ops.def is the one list of instructions.
 *
 * FRAMES. `R` points at the running function's frame, 8-byte slots:
 *
 *     parameters | return pc, caller's R | other locals | operand stack
 *
 * A caller puts the arguments on top of its own operand stack, where the callee's frame begins;
 * results are left at the same place. A v128 takes two slots.
 *
 * FUEL. One unit per instruction of the source, except block, loop, else, end and nop, which cost
 * nothing. Every position of the code has a *potential*: the units used since the last place
 * where fuel was charged, along the straight line. Falling through costs nothing at run time; a
 * taken branch charges the difference of its source's and its target's potentials; a call charges
 * its own and leaves 0 behind; a return charges its own. So `fuel` - potential is exact at every
 * instruction, whatever the path. It is checked (sign of `fuel`) by taken branches and calls.
 * Bulk instructions cost one unit more for each BULK_BYTES_PER_UNIT they touch, memory.grow and
 * allocations the same (which pays for the collector's work, too: heap.h); fills, copies and
 * initialisations stop within when the slice is used up. Before a loop whose head's potential is
 * over POTENTIAL_MAX a `charge` instruction resets it, which bounds the overshoot to the straight
 * line behind the last check. */
#ifndef INTERP_WASM_CODE_H
#define INTERP_WASM_CODE_H

#include <setjmp.h>
#include <stdatomic.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "interp/wasm/heap.h"
#include "interp/wasm/module.h"
#include "interp/wasm/wasm.h"

#ifndef WASM_LOOP_DISPATCH
#define WASM_LOOP_DISPATCH 0 /* 1: handlers return to a loop (sanitizers) */
#endif
#ifndef WASM_EXPLICIT_BOUNDS
#define WASM_EXPLICIT_BOUNDS 0 /* 1: never rely on guard pages (sanitizers) */
#endif

/* Whether accesses of guest memory may fault and say where they do (exec.c, trap.c). */
#if !WASM_EXPLICIT_BOUNDS && (defined(__x86_64__) || defined(__aarch64__))
#define WASM_FAULT_SITES 1
#else
#define WASM_FAULT_SITES 0
#endif

enum {
    SLOTS_MAX = 65000,       /* slots of one frame: operands are 16 bits */
    STACK_RED_SLOTS = 2048,  /* kept free behind stack_limit, for small frames and host calls */
    FRAME_SMALL_SLOTS = 1024, /* frames up to this size need no check of their own */
    RECORD_SLOTS = 2,        /* return pc, caller's R */
    HOST_CELLS_MIN = 16,     /* of wasm_host_call.values */
    POTENTIAL_MAX = 64,
    SEQUENCE_LONGEST = 12, /* instructions that one handler runs */
    BULK_BYTES_PER_UNIT = 64,
    NESTED_MAX = 64, /* wasm_thread_call_nested within each other */
};

union wasm_word;
struct wasm_regs;

#if WASM_LOOP_DISPATCH
typedef int (*wasm_handler)(struct wasm_regs *g);
#else
/* preserve_none would buy nothing measurable; the SysV order puts all of it into registers. */
typedef void (*wasm_handler)(const union wasm_word *p, union wasm_value *R, uint8_t *M, uint64_t r,
                             struct wasm_thread *x, int64_t fuel, double fd, float ff,
                             uint64_t v __attribute__((vector_size(16))));
#endif

union wasm_word {
    wasm_handler handler;
    struct {
        uint16_t a, c; /* slots: first operand, result */
        union {
            uint32_t imm;
            struct {
                uint16_t b, d; /* slots: second operand, third (or a small number) */
            };
        };
    };
    struct {
        int32_t target; /* of a branch, in words from this word */
        int32_t charge; /* units of fuel the taken branch uses */
    };
    uint64_t u64;
    double f64;
    float f32;
};
_Static_assert(sizeof(union wasm_word) == 8, "a word has 8 bytes");

/* What the handlers carry in machine registers. */
struct wasm_regs {
    const union wasm_word *p; /* the instruction */
    union wasm_value *R;      /* the frame */
    uint8_t *M;               /* memory 0 of the running instance, NULL without one */
    uint64_t r;               /* integer accumulator */
    struct wasm_thread *x;
    int64_t fuel;
    double fd;
    float ff;
    uint64_t v __attribute__((vector_size(16), aligned(8)));
    const union wasm_word *start; /* the instruction that this handler was entered with */
};

/* ---- translated code --------------------------------------------------------------------- */

/* Potential at a label, for exact fuel when a branch to it is where a slice ends. Sorted. */
struct wasm_code_label {
    uint32_t word;
    int32_t potential;
};

/* A catch clause of a try_table that covers words [start, end). Innermost first. */
struct wasm_code_catch {
    uint32_t start, end;
    uint32_t target; /* word */
    uint16_t slot;   /* where the caught values go */
    uint8_t kind;    /* enum wasm_catch */
    uint32_t tag;
};

struct wasm_code {
    uint32_t func_index;
    uint32_t word_count;
    uint32_t entry_word; /* behind the zeroing of locals when nobody could see it */
    uint16_t record_slot; /* return pc and caller's R */
    uint32_t frame_slots;
    uint32_t label_count, catch_count;
    const struct wasm_code_label *labels;
    const struct wasm_code_catch *catches;
    union wasm_word words[];
};

/* What the active data segments make of a fresh memory: bytes [start, start + bytes), whole pages
 * of the host, which begin the file `fd`. fd -1: there is none, segments are copied. */
struct wasm_image {
    int fd;
    uint64_t start, bytes;
};

/* Per module, made at the first instantiation: what all its instances share. */
struct wasm_program {
    /* [func_count]: first word of the function's code, NULL until translated */
    _Atomic(const union wasm_word *) *entries;
    uint32_t *ref_index;                /* [func_count]: index among referenced functions, or ~0 */
    uint32_t ref_count;
    /* Under translate_lock: */
    struct wasm_image image; /* never changes once it has a file */
    bool image_asked, image_tried;
    struct {
        struct wasm_code **items;
        size_t count, capacity;
    } codes; /* by address */
    struct translator *waiting; /* functions of which a part is translated */
};

/* Where an instruction of the code comes from. */
struct wasm_origin {
    uint32_t body_offset; /* of the source instruction, from the start of the body */
    int32_t potential;    /* units since the last charge, this instruction included */
};

/* translate.c: the program of a module (made once), NULL when memory is out. */
struct wasm_program *wasm_program_get(struct wasm_module *module);
/* Translates function `index` if that has not happened, doing at most about `work`: one for each
 * instruction and each value it pushes. ERR_BUSY: more is left to do. ERR_UNSUPPORTED when it is over
 * a bound of this implementation, or uses an instruction that it lacks; ERR_INVALID when it is a
 * known module's and not valid. */
enum err wasm_translate(struct wasm_module *module, uint32_t index, uint64_t work,
                        struct report *report) ERR_MUST_USE;
enum { TRANSLATE_WORK = 50000 }; /* of one slice: about 2 ms */
/* Finds the source of word `word` by translating once more; false when memory is out. */
bool wasm_translate_origin(struct wasm_module *module, const struct wasm_code *code, uint32_t word,
                           struct wasm_origin *origin);
/* The code of `module` that contains `p`, or NULL. */
const struct wasm_code *wasm_code_find(struct wasm_module *module, const union wasm_word *p);
int32_t wasm_code_potential(const struct wasm_code *code, uint32_t word);

/* ---- objects of a store ------------------------------------------------------------------ */

struct wasm_func {
    const struct wasm_def_type *type; /* first, as in an object: ref.test does not ask which */
    struct wasm_instance *instance;   /* NULL = host function */
    union {
        _Atomic(const union wasm_word *) *entry; /* in the program's entries */
        struct wasm_host_func *host;
    };
    uint32_t index; /* in its module; 0 for host functions */
    uint16_t param_slots, result_slots;
};

struct wasm_host_func {
    wasm_host_fn fn;
    void *user;
    char *name;
};

struct wasm_global {
    union wasm_value value[2];
    uint32_t type;
    bool mutable_;
};

/* Globals that no instance defines. */
struct wasm_host_global {
    struct wasm_global global; /* first */
    struct wasm_host_global *next;
};

struct wasm_memory {
    uint8_t *data;
    uint64_t bytes;    /* accessible now */
    uint64_t pages_max; /* by its type and by what this build can address */
    struct wasm_limits limits;
    bool guarded; /* a reservation that turns stray accesses into faults */
    struct wasm_store *store;
    struct wasm_memory *next;
};

struct wasm_table {
    void **items;
    uint64_t size, capacity;
    struct wasm_limits limits;
    uint32_t type;
    struct wasm_store *store;
    struct wasm_table *next;
};

struct wasm_tag {
    const struct wasm_def_type *type;
};

/* A thrown exception, an object of the heap; exnref points here. */
struct wasm_exception {
    const struct wasm_def_type *type; /* &wasm_exception_object_type */
    const struct wasm_tag *tag;
    union wasm_value values[]; /* as the tag's type lists them */
};

struct wasm_store {
    struct mem_heap heap;
    struct arena arena;
    struct wasm_store_limits limits;
    uint64_t memory_bytes; /* of linear memories and of the heap of objects */
    uint64_t table_elements;
    struct wasm_heap objects;
    struct wasm_root *roots;
    struct wasm_host_global *host_globals;
    struct wasm_memory *memories;
    struct wasm_table *tables;
    struct wasm_instance *instances;
    struct wasm_thread *threads;
    struct wasm_type_ref *type_refs; /* types that the store holds */
};

struct wasm_instance {
    struct wasm_store *store;
    struct wasm_module *module;
    struct wasm_program *program;
    struct wasm_memory **memories;
    struct wasm_table **tables;
    struct wasm_global **globals;
    struct wasm_global *own_globals;
    struct wasm_tag **tags;
    struct wasm_func **imports; /* [func_import_count] */
    struct wasm_func *own_refs; /* [program->ref_count] */
    uint8_t *elem_dropped, *data_dropped;
    void ***elem_items; /* of passive segments of expressions: their values; else NULL */
    void *user;
    struct wasm_instance *next;
};

uint32_t wasm_type_slots(const uint32_t *types, uint32_t count);
static inline uint32_t wasm_value_slots(uint32_t type)
{
    return type == WASM_V128 ? 2 : 1;
}
/* As wasm_memory_create with a reason; ERR_LIMIT or ERR_MEMORY. */
enum err wasm_memory_make(struct wasm_store *store, struct wasm_limits limits,
                          struct wasm_memory **memory, struct report *report) ERR_MUST_USE;
enum err wasm_table_make(struct wasm_store *store, uint32_t type, struct wasm_limits limits,
                         void *init, struct wasm_table **table, struct report *report) ERR_MUST_USE;
void wasm_memory_free(struct wasm_memory *memory);
void wasm_table_free(struct wasm_table *table);
/* The old size in pages, or -1 when it cannot grow. */
int64_t wasm_memory_grow(struct wasm_memory *memory, uint64_t pages);
/* Bytes [at, at + bytes) of the memory will be written now: a hint. */
void wasm_memory_populate(struct wasm_memory *memory, uint64_t at, uint64_t bytes);
int64_t wasm_table_grow(struct wasm_table *table, uint64_t count, void *init);
/* image.c: the image for one more instance of the module, which has its program; NULL: copy the
 * segments. Always NULL for the first instance, and where an image is impossible or does not pay. */
const struct wasm_image *wasm_image_get(struct wasm_module *module);
void wasm_image_free(struct wasm_image *image);
/* Gives a fresh memory of such a module its contents, privately. False when the process has no
 * mapping to spare; the memory's contents are undefined then. */
bool wasm_image_map(const struct wasm_image *image, struct wasm_memory *memory);
/* Whether memories get guard pages in this process; decided once. Others check every access. */
bool wasm_memory_guards(void);
enum { WASM_PAGE_BYTES = 65536 };
#define WASM_GUARD_BYTES ((UINT64_C(8) << 30) + (1 << 20)) /* index + offset + widest access */

/* The function's reference: the same pointer every time. `index` must be referenced by the
 * module (declared, exported, started or in an element) or imported. */
struct wasm_func *wasm_instance_func(const struct wasm_instance *instance, uint32_t index);
/* The references of an element segment from `from`, into `to`. The caller has checked the bounds;
 * false when memory is out. */
bool wasm_instance_elements(struct wasm_instance *instance, uint32_t elem, uint64_t from,
                            uint64_t count, void **to);
/* How many references a segment has now. */
uint64_t wasm_instance_elem_count(const struct wasm_instance *instance, uint32_t elem);
/* table.init: false when it does not fit (nothing is written then). */
bool wasm_instance_init_table(struct wasm_instance *instance, uint32_t elem,
                              struct wasm_table *table, uint64_t at, uint64_t from,
                              uint64_t count);

/* ---- threads ----------------------------------------------------------------------------- */

enum wasm_trap {
    TRAP_NONE,
    TRAP_UNREACHABLE,
    TRAP_MEMORY,
    TRAP_TABLE,
    TRAP_ELEMENT,
    TRAP_NULL_ELEMENT,
    TRAP_SIGNATURE,
    TRAP_DIVIDE,
    TRAP_OVERFLOW,
    TRAP_CONVERSION,
    TRAP_STACK,
    TRAP_NULL_EXCEPTION,
    TRAP_EXCEPTION,
    TRAP_NULL_REF,
    TRAP_NULL_FUNC,
    TRAP_NULL_STRUCT,
    TRAP_NULL_ARRAY,
    TRAP_NULL_I31,
    TRAP_ARRAY,
    TRAP_CAST,
    TRAP_OUT_OF_MEMORY,
    TRAP_TEXT, /* the text is in thread->trap_text already */
};

/* Why the dispatch came back. */
enum wasm_exit {
    EXIT_DONE,
    EXIT_TRAP,
    EXIT_WAIT,
    EXIT_FUEL_LABEL, /* at a branch's target */
    EXIT_FUEL_CALL,  /* at a call, not yet charged */
    EXIT_FUEL_BULK,  /* within a bulk instruction, with its potential in p[1].imm */
};

/* A host function that waits or has called back. */
struct wasm_activation {
    struct wasm_func *func;
    struct wasm_instance *caller;
    const union wasm_word *ret; /* where its caller goes on */
    union wasm_value *caller_R;
    union wasm_value *values;
    __typeof__(*((struct wasm_host_call *)0)->state) state;
};

enum wasm_thread_state { THREAD_IDLE, THREAD_READY, THREAD_WAITING, THREAD_RUNNING };

struct wasm_thread {
    /* Of the running instance, for the handlers. */
    union wasm_value *stack_limit;
    _Atomic(const union wasm_word *) *entries;
    struct wasm_global *own_globals;
    struct wasm_table *table0;
    const struct wasm_def_type **types;
    struct wasm_instance *instance;

    struct wasm_regs saved; /* p, R, fuel while not in the dispatch */
    enum wasm_exit exit;
    enum wasm_trap trap;
    bool settled; /* the trapped instruction's fuel is charged already */

    struct wasm_store *store;
    struct wasm_thread *next;
    enum wasm_thread_state state;
    union wasm_value *stack, *stack_end;
    size_t stack_bytes;
    struct wasm_func *func; /* of the bottom frame */
    uint32_t translated;      /* function that wasm_translate_code goes on with */
    struct wasm_func *callee; /* handed to the slow call path */
    int (*slow)(struct wasm_regs *g); /* what the handler left to its C function */
    struct {
        struct wasm_activation *items;
        size_t count, capacity;
    } activations;
    size_t activation_base; /* those below belong to runs outside of the nested one */
    uint32_t nested;
    union wasm_value *host_free; /* first slot that a running host function leaves free */
    union wasm_value *live_end;  /* at an allocation by guest code: behind its last live slot */
    int64_t granted;             /* fuel of this slice */
    uint64_t used;               /* fuel of the slices before */
    int32_t resume_potential;

    /* Guest memory faults: where the signal handler goes, and what it found. */
    bool in_host; /* a host function runs: faults are its own */
    sigjmp_buf *fault_jump;
    const union wasm_word *fault_start; /* what the handler was entered with, */
    uint32_t fault_ordinal;             /* and how many of its instructions came before */
    union wasm_value *fault_R;
    int64_t fault_fuel;

    char *trap_text;
    size_t trap_text_bytes;
    struct buf back_trace;
    uint32_t trap_depth; /* frames of the guest at the trap */
};

/* exec.c */
/* Runs from thread->saved until something else is to be done; sets thread->exit. */
void wasm_execute(struct wasm_thread *thread);
extern const union wasm_word wasm_halt_code[1], wasm_switch_code[1], wasm_host_return_code[1];
/* Stands in for the code of a function of which only a part is translated, in its frame: translates
 * more (and ends the slice when that is not all), then goes on at its entry. */
extern const union wasm_word wasm_translate_code[1];
/* Makes `instance` the running one (the cached fields of the thread). */
void wasm_thread_enter(struct wasm_thread *thread, struct wasm_instance *instance);
/* call.c */
/* Continues the topmost activation, whose callee has left results or whose wait may be over. An
 * enum wasm_step. */
int wasm_host_continue(struct wasm_regs *g);
/* Calls any function: arguments at `Q`, going on at `ret` in the frame g->R. An enum wasm_step. */
int wasm_call_any(struct wasm_regs *g, struct wasm_func *func, union wasm_value *Q,
                  const union wasm_word *ret);

/* trap.c */
const char *wasm_trap_words(enum wasm_trap trap);
/* Installs the process's fault handler where it is not in place. False when that is impossible. */
bool wasm_fault_init(void);
/* The thread whose guest code runs on this C thread, for the fault handler; returns the former. */
struct wasm_thread *wasm_fault_thread(struct wasm_thread *thread);
/* Writes the back trace and settles the fuel of the trapped instruction. */
void wasm_trap_record(struct wasm_thread *thread);

/* ---- instructions ------------------------------------------------------------------------ */

enum wasm_code_op {
#define OP(name, words, ...) OP_##name,
#define FAMILY(name) OP_##name, OP_##name##_before = OP_##name - 1,
#include "interp/wasm/ops.def"
#undef OP
#undef FAMILY
    OP_COUNT
};

/* exec_avx2.c: its handlers, by enum wasm_code_op and by number of sequence; NULL in other builds. */
extern const wasm_handler *const wasm_handlers_avx2, *const wasm_sequence_handlers_avx2;
/* exec.c: by enum wasm_code_op. */
extern const uint8_t wasm_op_words[];
/* The handler that runs the instructions ops[0..count) of a straight line and how many of them it
 * takes (1 at least). */
wasm_handler wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken);
/* An access of guest memory by machine code that may fault; the linker gathers them from exec.o. */
struct wasm_fault_site {
    int32_t access;     /* the machine instruction, from this field on */
    uint32_t ordinal;   /* the instruction in its handler: 0, or its place in a sequence */
    char registers[24]; /* that hold regs.start, R and fuel: names, separated by spaces */
};

#endif
