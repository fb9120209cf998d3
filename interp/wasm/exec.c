/* The dispatch: handlers of ops.def, and the C functions that rare instructions leave to.
 *
 * In the ordinary build a handler ends in a tail call of the next one, so the state of struct
 * wasm_regs stays in the argument registers and the C stack never grows. No handler may take the
 * address of a local that outlives its body, or gcc gives up the tail call: what needs a C
 * function with pointers goes through `finish_slow`. With WASM_LOOP_DISPATCH handlers return to a
 * loop instead. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "interp/wasm/code.h"
#include "interp/wasm/slow.h"

/* exec_avx2.c compiles this file once more for processors with AVX2 and BMI. That copy has the
 * handlers alone; which of the two a process uses is decided once, here. Handlers of both may meet:
 * they pass the same registers. */
#ifndef WASM_EXEC_AVX2
#define WASM_EXEC_AVX2 0
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Loads and stores may be unaligned and of any type. */
#define UNALIGNED(type) typedef type UNALIGNED_##type __attribute__((aligned(1), may_alias))
UNALIGNED(int8_t);
UNALIGNED(uint8_t);
UNALIGNED(int16_t);
UNALIGNED(uint16_t);
UNALIGNED(int32_t);
UNALIGNED(uint32_t);
UNALIGNED(uint64_t);
UNALIGNED(float);
UNALIGNED(double);

#if defined(__x86_64__)
#define IN_F32 "x"
#define IN_F64 "x"
#define IN_V "x"
#else
#define IN_F32 "w"
#define IN_F64 "w"
#define IN_V "w"
#endif
#define IN_I32 "r"
#define IN_I64 "r"

/* ---- guest memory ------------------------------------------------------------------------ */

/* LOAD_FROM(v, MT, O, at): v, of class O, from the guest's type MT; STORE_TO(MT, T, at, v).
 * In assembler, because a stray access has to be told exactly: which instruction of a sequence it
 * is and where the compiler keeps what the trap needs, which are the section's entries
 * (struct wasm_fault_site). It also keeps a load whose value nobody uses. */
#if WASM_FAULT_SITES
#if defined(__x86_64__)
#if WASM_EXEC_AVX2
#define VEX "v"
#else
#define VEX ""
#endif
#define LOADS_uint32_t_I32 "movl %1, %k0"
#define LOADS_uint64_t_I64 "movq %1, %q0"
#define LOADS_float_F32 VEX "movss %1, %0"
#define LOADS_double_F64 VEX "movsd %1, %0"
#define LOADS_int8_t_I32 "movsbl %1, %k0"
#define LOADS_uint8_t_I32 "movzbl %1, %k0"
#define LOADS_int16_t_I32 "movswl %1, %k0"
#define LOADS_uint16_t_I32 "movzwl %1, %k0"
#define LOADS_int8_t_I64 "movsbq %1, %q0"
#define LOADS_uint8_t_I64 "movzbl %1, %k0"
#define LOADS_int16_t_I64 "movswq %1, %q0"
#define LOADS_uint16_t_I64 "movzwl %1, %k0"
#define LOADS_int32_t_I64 "movslq %1, %q0"
#define LOADS_uint32_t_I64 "movl %1, %k0"
#define LOADS_vector_V VEX "movups %1, %0"
#define STORES_uint8_t "movb %b1, %0"
#define STORES_uint16_t "movw %w1, %0"
#define STORES_uint32_t "movl %k1, %0"
#define STORES_uint64_t "movq %q1, %0"
#define STORES_float VEX "movss %1, %0"
#define STORES_double VEX "movsd %1, %0"
#define STORES_vector VEX "movups %1, %0"
#define REGISTER_NAMES "%q2 %q3 %q4"
#else
#define LOADS_uint32_t_I32 "ldr %w0, %1"
#define LOADS_uint64_t_I64 "ldr %x0, %1"
#define LOADS_float_F32 "ldr %s0, %1"
#define LOADS_double_F64 "ldr %d0, %1"
#define LOADS_int8_t_I32 "ldrsb %w0, %1"
#define LOADS_uint8_t_I32 "ldrb %w0, %1"
#define LOADS_int16_t_I32 "ldrsh %w0, %1"
#define LOADS_uint16_t_I32 "ldrh %w0, %1"
#define LOADS_int8_t_I64 "ldrsb %x0, %1"
#define LOADS_uint8_t_I64 "ldrb %w0, %1"
#define LOADS_int16_t_I64 "ldrsh %x0, %1"
#define LOADS_uint16_t_I64 "ldrh %w0, %1"
#define LOADS_int32_t_I64 "ldrsw %x0, %1"
#define LOADS_uint32_t_I64 "ldr %w0, %1"
#define LOADS_vector_V "ldr %q0, %1"
#define STORES_uint8_t "strb %w1, %0"
#define STORES_uint16_t "strh %w1, %0"
#define STORES_uint32_t "str %w1, %0"
#define STORES_uint64_t "str %x1, %0"
#define STORES_float "str %s1, %0"
#define STORES_double "str %d1, %0"
#define STORES_vector "str %q1, %0"
#define REGISTER_NAMES "%x2 %x3 %x4"
#endif
#if WASM_LOOP_DISPATCH
#define START (g->p)
#else
#define START (g->start)
#endif
#define SITE                                      \
    "\n\t.pushsection wasm_faults, \"a\"\n\t"       \
    ".balign 32\n\t.long 1b - .\n\t.long %c5\n\t" \
    ".asciz \"" REGISTER_NAMES "\"\n\t.balign 32\n\t.popsection"
#define SITE_OPERANDS "r"(START), "r"(g->R), "r"(g->fuel), "i"(ordinal)
#define ACCESS_IN(text, in, v, type, at)             \
    __asm__ volatile("1: " text SITE                 \
                     : "=" in(v)                     \
                     : "m"(*(const type *)(at)), SITE_OPERANDS)
#define ACCESS_OUT(text, in, v, type, at)            \
    __asm__ volatile("1: " text SITE                 \
                     : "=m"(*(type *)(at))           \
                     : in(v), SITE_OPERANDS)
#define LOAD_FROM(v, MT, O, at) ACCESS_IN(LOADS_##MT##_##O, IN_##O, v, UNALIGNED_##MT, at)
#define STORE_TO(MT, T, at, v) ACCESS_OUT(STORES_##MT, IN_##T, v, UNALIGNED_##MT, at)
#else
#define LOAD_FROM(v, MT, O, at) ((v) = (C_##O)*(const UNALIGNED_##MT *)(at))
#define STORE_TO(MT, T, at, v) (*(UNALIGNED_##MT *)(at) = (v))
#endif

/* ---- arithmetic that C lacks ------------------------------------------------------------- */

static inline uint64_t popcount(uint64_t x)
{
#if WASM_EXEC_AVX2
    return (uint64_t)__builtin_popcountll(x);
#endif
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (x * UINT64_C(0x0101010101010101)) >> 56;
}

static inline uint32_t bits32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float from_bits32(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint64_t bits64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double from_bits64(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The empty asm keeps gcc from turning the branch, which is never taken, into a conditional move
 * through the integer registers, which costs a long way round on every operation. */
static inline float canonical32(float x)
{
    if (unlikely(x != x)) {
        x = from_bits32(0x7FC00000);
        __asm__ volatile("" : "+" IN_F32(x));
    }
    return x;
}
static inline double canonical64(double x)
{
    if (unlikely(x != x)) {
        x = from_bits64(UINT64_C(0x7FF8000000000000));
        __asm__ volatile("" : "+" IN_F64(x));
    }
    return x;
}

#define MINMAX(N, T)                                                      \
    static inline T min##N(T x, T y)                                      \
    {                                                                        \
        if (unlikely(x != x || y != y))                                      \
            return canonical##N(x + y);                                   \
        if (unlikely(x == y)) /* -0 is less than 0 */                        \
            return from_bits##N(bits##N(x) | bits##N(y));           \
        return x < y ? x : y;                                                \
    }                                                                        \
    static inline T max##N(T x, T y)                                      \
    {                                                                        \
        if (unlikely(x != x || y != y))                                      \
            return canonical##N(x + y);                                   \
        if (unlikely(x == y))                                                \
            return from_bits##N(bits##N(x) & bits##N(y));           \
        return x > y ? x : y;                                                \
    }
MINMAX(32, float)
MINMAX(64, double)

static inline float copysign32(float x, float y)
{
    return from_bits32((bits32(x) & 0x7FFFFFFF) | (bits32(y) & 0x80000000));
}
static inline double copysign64(double x, double y)
{
    const uint64_t sign = UINT64_C(1) << 63;
    return from_bits64((bits64(x) & ~sign) | (bits64(y) & sign));
}

#if WASM_EXEC_AVX2 /* one instruction each */
#define ROUNDS(bits, T, suffix)                                                                    \
    static inline T trunc##bits(T x) { return canonical##bits(__builtin_trunc##suffix(x)); }       \
    static inline T ceil##bits(T x) { return canonical##bits(__builtin_ceil##suffix(x)); }         \
    static inline T floor##bits(T x) { return canonical##bits(__builtin_floor##suffix(x)); }       \
    static inline T nearest##bits(T x) { return canonical##bits(__builtin_rint##suffix(x)); }
ROUNDS(32, float, f)
ROUNDS(64, double, )
#else
/* From `limit` on every float is an integer; NaN fails both comparisons. */
#define ROUND(name, bits, T, I, limit, ...)           \
    static inline T name##bits(T x)                   \
    {                                                 \
        if (unlikely(!(x > -(limit) && x < (limit)))) \
            return canonical##bits(x);                \
        T t = (T)(I)x;                                \
        __VA_ARGS__;                                  \
        return copysign##bits(t, x);                  \
    }
#define ROUNDS(bits, T, I, limit)                                                 \
    ROUND(trunc, bits, T, I, limit, (void)0)                                      \
    ROUND(ceil, bits, T, I, limit, if (t < x) t += 1)                             \
    ROUND(floor, bits, T, I, limit, if (t > x) t -= 1)                            \
    ROUND(nearest, bits, T, I, limit, T magic = copysign##bits(limit, x);         \
          t = (x + magic) - magic)
ROUNDS(32, float, int32_t, 8388608.0f)
ROUNDS(64, double, int64_t, 4503599627370496.0)
#endif

/* ---- vectors ----------------------------------------------------------------------------- */

#define VECTOR(name, type, bytes) typedef type name __attribute__((vector_size(bytes)))
VECTOR(i8x16, int8_t, 16);
VECTOR(u8x16, uint8_t, 16);
VECTOR(i16x8, int16_t, 16);
VECTOR(u16x8, uint16_t, 16);
VECTOR(i32x4, int32_t, 16);
VECTOR(u32x4, uint32_t, 16);
VECTOR(i64x2, int64_t, 16);
VECTOR(u64x2, uint64_t, 16);
VECTOR(f32x4, float, 16);
VECTOR(f64x2, double, 16);
typedef u64x2 vector;
UNALIGNED(vector);
typedef u64x2 slot_vector __attribute__((aligned(8), may_alias));

static inline float square_root32(float x)
{
    return canonical32(__builtin_sqrtf(x));
}
static inline double square_root64(double x)
{
    return canonical64(__builtin_sqrt(x));
}
#include "interp/wasm/lanes.h"

/* ---- bodies ------------------------------------------------------------------------------ */

#define JUMP(word)                               \
    do {                                         \
        g->fuel -= g->p[word].charge;            \
        g->p += (word) + (ptrdiff_t)g->p[word].target; \
        if (unlikely(g->fuel < 0))               \
            return STEP_FUEL_LABEL;              \
        return STEP_JUMPED;                      \
    } while (0)
#define TRAP(reason)             \
    do {                         \
        g->x->trap = (reason);   \
        return STEP_TRAP;        \
    } while (0)
/* At a call, whose own fuel is charged already. */
#define TRAP_CHARGED(reason)     \
    do {                         \
        g->x->settled = true;    \
        TRAP(reason);            \
    } while (0)
#define LEAVE(reason)            \
    do {                         \
        g->x->exit = (reason);   \
        return STEP_LEAVE;       \
    } while (0)
#if WASM_LOOP_DISPATCH
#define SLOW(function) return function(g)
#else
#define SLOW(function)           \
    do {                         \
        g->x->slow = (function); \
        return STEP_SLOW;        \
    } while (0)
#endif
#define ADDRESS(index)                                                                    \
    do {                                                                                  \
        const struct wasm_memory *memory = g->x->instance->memories[IMM];                 \
        uint64_t at, size = g->p[3].u64;                                                  \
        if (unlikely(__builtin_add_overflow((uint64_t)(index), g->p[2].u64, &at) ||       \
                     memory->bytes < size || at > memory->bytes - size))                  \
            TRAP(TRAP_MEMORY);                                                            \
        g->r = (uint64_t)(uintptr_t)(memory->data + at);                                  \
    } while (0)

#if WASM_LOOP_DISPATCH
/* `ordinal`: the instruction's place in its handler. */
#define BODY(name)                       \
    static int body_##name(struct wasm_regs *g)
#define ORDINAL enum { ordinal = 0 };
#else
#define BODY(name)                                          \
    static inline __attribute__((always_inline)) int        \
    body_##name(struct wasm_regs *g, const unsigned ordinal)
#define ORDINAL (void)ordinal;
#endif
#define OP(name, words, ...)                               \
    BODY(name)                                             \
    {                                                      \
        ORDINAL                                            \
        __VA_ARGS__                                        \
        g->p += (words);                                   \
        return STEP_NEXT;                                  \
    }
#include "interp/wasm/ops.def"
#undef OP

/* ---- handlers and the way out ------------------------------------------------------------ */

/* Turns a step that is not the next instruction into thread->exit. */
static void leave(struct wasm_thread *thread, int step)
{
    switch (step) {
    case STEP_TRAP:
        thread->exit = EXIT_TRAP;
        break;
    case STEP_FUEL_LABEL:
        thread->exit = EXIT_FUEL_LABEL;
        break;
    case STEP_FUEL_CALL:
        thread->exit = EXIT_FUEL_CALL;
        break;
    case STEP_FUEL_BULK:
        thread->exit = EXIT_FUEL_BULK;
        break;
    default:
        CHECK(step == STEP_LEAVE);
    }
}

#if WASM_LOOP_DISPATCH

#define OP(name, words, ...) [OP_##name] = body_##name,
static const wasm_handler wasm_handlers[OP_COUNT] = {
#include "interp/wasm/ops.def"
};
#undef OP

#ifdef WASM_PROFILE
/* Counts, for bench/sequences.py: how often each instruction ran and fell through to the next. At
 * the end of the process one line each, by address: address, name, words, ran, fell through. */
#include <stdio.h>
#include <stdlib.h>

static const char *const op_names[OP_COUNT] = {
#define OP(name, words, ...) #name,
#include "interp/wasm/ops.def"
#undef OP
};
enum { PROFILE_SLOTS = 1 << 20 };
static struct profile {
    const union wasm_word *p;
    unsigned op;
    uint64_t ran, fell;
} profile[PROFILE_SLOTS];

static void profile_print(void)
{
    FILE *file = fopen(getenv("WASM_PROFILE_OUT"), "w");
    for (size_t i = 0; file && i < PROFILE_SLOTS; i++)
        if (profile[i].p)
            fprintf(file, "%p %s %u %llu %llu\n", (const void *)profile[i].p,
                    op_names[profile[i].op], wasm_op_words[profile[i].op],
                    (unsigned long long)profile[i].ran, (unsigned long long)profile[i].fell);
    if (file)
        fclose(file);
}

static struct profile *profile_at(const union wasm_word *p)
{
    static bool ready;
    if (!ready)
        ready = atexit(profile_print) == 0;
    size_t i = ((uintptr_t)p >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 44;
    while (profile[i].p && profile[i].p != p)
        i = (i + 1) % PROFILE_SLOTS;
    if (!profile[i].p) {
        profile[i].p = p;
        while (wasm_handlers[profile[i].op] != p->handler)
            profile[i].op++;
    }
    return &profile[i];
}
#endif

static void dispatch(struct wasm_thread *thread)
{
    struct wasm_regs regs = thread->saved;
    int step;
    do {
#ifdef WASM_PROFILE
        struct profile *at = profile_at(regs.p);
        step = regs.p->handler(&regs);
        at->ran++;
        at->fell += step == STEP_NEXT;
#else
        step = regs.p->handler(&regs);
#endif
    } while (step <= STEP_JUMPED);
    thread->saved = regs;
    leave(thread, step);
}

wasm_handler wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken)
{
    (void)count;
    *taken = 1;
    return wasm_handlers[ops[0]];
}

static const union wasm_word *instruction_at(const union wasm_word *p, uint32_t ordinal)
{
    (void)ordinal;
    return p;
}

#else

#ifdef __clang__
#define TAIL __attribute__((musttail)) return
#else
#define TAIL return
#endif
#define PARAMETERS                                                                          \
    const union wasm_word *p, union wasm_value *R, uint8_t *M, uint64_t r,                  \
        struct wasm_thread *x, int64_t fuel, double fd, float ff,                               \
        uint64_t v __attribute__((vector_size(16)))
#define FROM(g) (g).p, (g).R, (g).M, (g).r, (g).x, (g).fuel, (g).fd, (g).ff, (g).v
#define REGS ((struct wasm_regs){p, R, M, r, x, fuel, fd, ff, v, p})

static __attribute__((noinline)) void finish_trap(PARAMETERS)
{
    x->saved = REGS;
    leave(x, STEP_TRAP);
}
static __attribute__((noinline)) void finish_label(PARAMETERS)
{
    x->saved = REGS;
    leave(x, STEP_FUEL_LABEL);
}
static __attribute__((noinline)) void finish_call(PARAMETERS)
{
    x->saved = REGS;
    leave(x, STEP_FUEL_CALL);
}
static __attribute__((noinline)) void finish_leave(PARAMETERS)
{
    x->saved = REGS;
}
static __attribute__((noinline)) void finish_slow(PARAMETERS)
{
    x->saved = REGS;
    int step = x->slow(&x->saved);
    if (step <= STEP_JUMPED)
        TAIL x->saved.p->handler(FROM(x->saved));
    leave(x, step);
}

#define FINISH(step)                                  \
    switch (step) {                                   \
    case STEP_NEXT:                                   \
    case STEP_JUMPED:                                 \
        TAIL g.p->handler(FROM(g));                   \
    case STEP_SLOW:                                   \
        TAIL finish_slow(FROM(g));                    \
    case STEP_TRAP:                                   \
        TAIL finish_trap(FROM(g));                    \
    case STEP_FUEL_LABEL:                             \
        TAIL finish_label(FROM(g));                   \
    case STEP_FUEL_CALL:                              \
        TAIL finish_call(FROM(g));                    \
    default:                                          \
        TAIL finish_leave(FROM(g));                   \
    }

#ifdef WASM_COVERAGE
/* Counts how often each handler ran, for tests/fuzz/cover.py: a sequence's when its last
 * instruction was reached. Lines are appended to the file that the environment names: count, name
 * or number of the sequence. */
#include <stdio.h>
#include <stdlib.h>

enum { COVERAGE_SEQUENCES = 1 << 13 };
static uint64_t op_ran[OP_COUNT], sequence_ran[COVERAGE_SEQUENCES];
static const char *const op_names[OP_COUNT] = {
#define OP(name, words, ...) #name,
#include "interp/wasm/ops.def"
#undef OP
};

static __attribute__((destructor)) void coverage_print(void)
{
    const char *path = getenv("WASM_COVERAGE_OUT");
    FILE *file = path ? fopen(path, "a") : NULL;
    for (size_t i = 0; file && i < OP_COUNT; i++)
        fprintf(file, "%llu %s\n", (unsigned long long)op_ran[i], op_names[i]);
    for (size_t i = 0; file && i < COVERAGE_SEQUENCES; i++)
        fprintf(file, "%llu %zu\n", (unsigned long long)sequence_ran[i], i);
    if (file)
        fclose(file);
}
#define COVER_OP(name) op_ran[OP_##name]++
#define COVER_SEQUENCE(number) sequence_ran[number]++
#else
#define COVER_OP(name) (void)0
#define COVER_SEQUENCE(number) (void)0
#endif

#define OP(name, words, ...)                \
    static void run_##name(PARAMETERS)      \
    {                                       \
        struct wasm_regs g = REGS;          \
        COVER_OP(name);                     \
        int step = body_##name(&g, 0);      \
        FINISH(step)                        \
    }
#include "interp/wasm/ops.def"
#undef OP

static const wasm_handler handlers[OP_COUNT] = {
#define OP(name, words, ...) [OP_##name] = run_##name,
#include "interp/wasm/ops.def"
#undef OP
};

/* Sequences of sequences.def. Each instruction of one keeps its words, handler included, so that a
 * jump into the middle is as good as ever; only the first one's handler is another. */
#define THEN(at, name)              \
    if (step == STEP_NEXT)          \
        step = body_##name(&g, at);
#define LAST(n, at, name)           \
    if (step == STEP_NEXT) {        \
        COVER_SEQUENCE(n);          \
        step = body_##name(&g, at); \
    }
/* ALSOc: the instructions at `at` and behind, c of them and one before. */
#define ALSO2(n, at, a) LAST(n, at, a)
#define ALSO3(n, at, a, ...) THEN(at, a) ALSO2(n, at + 1, __VA_ARGS__)
#define ALSO4(n, at, a, ...) THEN(at, a) ALSO3(n, at + 1, __VA_ARGS__)
#define ALSO5(n, at, a, ...) THEN(at, a) ALSO4(n, at + 1, __VA_ARGS__)
#define ALSO6(n, at, a, ...) THEN(at, a) ALSO5(n, at + 1, __VA_ARGS__)
#define ALSO7(n, at, a, ...) THEN(at, a) ALSO6(n, at + 1, __VA_ARGS__)
#define ALSO8(n, at, a, ...) THEN(at, a) ALSO7(n, at + 1, __VA_ARGS__)
#define ALSO9(n, at, a, ...) THEN(at, a) ALSO8(n, at + 1, __VA_ARGS__)
#define ALSO10(n, at, a, ...) THEN(at, a) ALSO9(n, at + 1, __VA_ARGS__)
#define ALSO11(n, at, a, ...) THEN(at, a) ALSO10(n, at + 1, __VA_ARGS__)
#define ALSO12(n, at, a, ...) THEN(at, a) ALSO11(n, at + 1, __VA_ARGS__)
#define SEQUENCE(number, count, first, ...)    \
    static void sequence_##number(PARAMETERS)  \
    {                                          \
        struct wasm_regs g = REGS;             \
        int step = body_##first(&g, 0);        \
        ALSO##count(number, 1, __VA_ARGS__)    \
        FINISH(step)                           \
    }
/* One that is mostly the whole of a loop goes round here. The asm hides from the compiler that g.p is
 * `start` then: the next round begins with the latter and need not wait until the branch's target has
 * been computed, which is only compared, and predicted. */
#define SEQUENCE_LOOP(number, count, first, ...)          \
    static void sequence_##number(PARAMETERS)             \
    {                                                     \
        struct wasm_regs g = REGS;                        \
        const union wasm_word *start = p;                 \
        for (;;) {                                        \
            int step = body_##first(&g, 0);               \
            ALSO##count(number, 1, __VA_ARGS__)           \
            if (step == STEP_JUMPED) {                    \
                const union wasm_word *at = g.p;          \
                __asm__("" : "+r"(at));                   \
                if (at == start) {                        \
                    g.p = start;                          \
                    continue;                             \
                }                                         \
            }                                             \
            FINISH(step)                                  \
        }                                                 \
    }
#include "interp/wasm/sequences.def"
#undef SEQUENCE
#undef SEQUENCE_LOOP

static const wasm_handler sequence_handlers[] = {
#define SEQUENCE(number, ...) sequence_##number,
#define SEQUENCE_LOOP SEQUENCE
#include "interp/wasm/sequences.def"
#undef SEQUENCE
};

#if WASM_EXEC_AVX2

const wasm_handler *const wasm_handlers_avx2 = handlers;
const wasm_handler *const wasm_sequence_handlers_avx2 = sequence_handlers;

#else

static void dispatch(struct wasm_thread *thread)
{
    struct wasm_regs g = thread->saved;
    g.p->handler(FROM(g));
}

#define OPS2(a, b) OP_##a, OP_##b
#define OPS3(a, ...) OP_##a, OPS2(__VA_ARGS__)
#define OPS4(a, ...) OP_##a, OPS3(__VA_ARGS__)
#define OPS5(a, ...) OP_##a, OPS4(__VA_ARGS__)
#define OPS6(a, ...) OP_##a, OPS5(__VA_ARGS__)
#define OPS7(a, ...) OP_##a, OPS6(__VA_ARGS__)
#define OPS8(a, ...) OP_##a, OPS7(__VA_ARGS__)
#define OPS9(a, ...) OP_##a, OPS8(__VA_ARGS__)
#define OPS10(a, ...) OP_##a, OPS9(__VA_ARGS__)
#define OPS11(a, ...) OP_##a, OPS10(__VA_ARGS__)
#define OPS12(a, ...) OP_##a, OPS11(__VA_ARGS__)
static const struct sequence {
    uint16_t ops[SEQUENCE_LONGEST];
    uint8_t count;
} sequences[] = {
#define SEQUENCE(number, count, ...) {{OPS##count(__VA_ARGS__)}, count},
#include "interp/wasm/sequences.def"
#undef SEQUENCE
#undef SEQUENCE_LOOP
};

/* A trie in a hash table: (node, instruction) -> node; node 0 is the root. */
enum { TRIE_BITS = 15, TRIE_SLOTS = 1 << TRIE_BITS };
static struct trie_slot {
    uint32_t key; /* parent << 16 | instruction, plus 1; 0 = free */
    uint16_t node;
} trie[TRIE_SLOTS];
static uint16_t trie_sequences[TRIE_SLOTS]; /* by node: number of the sequence that ends here + 1 */
static const wasm_handler *one_handlers = handlers, *many_handlers = sequence_handlers;
/* The instruction that is the `ordinal`th of the handler that `p` is entered with. */
static const union wasm_word *instruction_at(const union wasm_word *p, uint32_t ordinal)
{
    for (size_t i = 0; ordinal > 0 && i < sizeof sequences / sizeof sequences[0]; i++)
        if (many_handlers[i] == p->handler) {
            for (uint32_t k = 0; k < ordinal; k++)
                p += wasm_op_words[sequences[i].ops[k]];
            break;
        }
    return p;
}

static pthread_once_t trie_once = PTHREAD_ONCE_INIT;

static struct trie_slot *trie_at(uint32_t parent, uint16_t op)
{
    uint32_t key = (parent << 16 | op) + 1, i = key * 2654435761u >> (32 - TRIE_BITS);
    while (trie[i].key && trie[i].key != key)
        i = (i + 1) % TRIE_SLOTS;
    return &trie[i];
}

/* WASM_ISA=baseline in the environment keeps a process to what every processor of its kind has. */
static void choose_handlers(void)
{
#if defined(__x86_64__)
    const char *isa = getenv("WASM_ISA");
    if (wasm_handlers_avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
        !(isa && strcmp(isa, "baseline") == 0)) {
        one_handlers = wasm_handlers_avx2;
        many_handlers = wasm_sequence_handlers_avx2;
    }
#endif
}

static void trie_fill(void)
{
    choose_handlers();
    uint16_t nodes = 0;
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        uint16_t node = 0;
        for (unsigned k = 0; k < sequences[i].count; k++) {
            struct trie_slot *slot = trie_at(node, sequences[i].ops[k]);
            if (!slot->key) {
                CHECK(nodes < TRIE_SLOTS / 2);
                *slot = (struct trie_slot){((uint32_t)node << 16 | sequences[i].ops[k]) + 1, ++nodes};
            }
            node = slot->node;
        }
        trie_sequences[node] = (uint16_t)(i + 1);
    }
}

wasm_handler wasm_sequence_handler(const uint16_t *ops, uint32_t count, uint32_t *taken)
{
    pthread_once(&trie_once, trie_fill);
    wasm_handler best = one_handlers[ops[0]];
    *taken = 1;
    uint16_t node = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct trie_slot *slot = trie_at(node, ops[i]);
        if (!slot->key)
            break;
        node = slot->node;
        if (trie_sequences[node]) {
            best = many_handlers[trie_sequences[node] - 1];
            *taken = i + 1;
        }
    }
    return best;
}

#endif /* !WASM_EXEC_AVX2 */
#endif /* !WASM_LOOP_DISPATCH */

#if !WASM_EXEC_AVX2

#define OP(name, words, ...) [OP_##name] = (words),
const uint8_t wasm_op_words[OP_COUNT] = {
#include "interp/wasm/ops.def"
};
#undef OP

#if WASM_LOOP_DISPATCH
#define HANDLER(name) body_##name
#else
#define HANDLER(name) run_##name
#endif
const union wasm_word wasm_halt_code[1] = {{.handler = HANDLER(halt)}};
const union wasm_word wasm_switch_code[1] = {{.handler = HANDLER(switch_back)}};
const union wasm_word wasm_translate_code[1] = {{.handler = HANDLER(translate)}};
const union wasm_word wasm_host_return_code[1] = {{.handler = HANDLER(host_return)}};

void wasm_execute(struct wasm_thread *thread)
{
    struct wasm_thread *outer_thread = wasm_fault_thread(thread);
    sigjmp_buf *outer_jump = thread->fault_jump;
    bool outer_in_host = thread->in_host;
    sigjmp_buf jump;
    thread->fault_jump = &jump;
    thread->in_host = false;
    thread->trap = TRAP_NONE;
    thread->settled = false;
    if (sigsetjmp(jump, 0) == 0) {
        dispatch(thread);
    } else {
        thread->saved.p = instruction_at(thread->fault_start, thread->fault_ordinal);
        thread->saved.R = thread->fault_R;
        thread->saved.fuel = thread->fault_fuel;
        thread->trap = TRAP_MEMORY;
        thread->exit = EXIT_TRAP;
    }
    thread->in_host = outer_in_host;
    thread->fault_jump = outer_jump;
    wasm_fault_thread(outer_thread);
}

#endif
