/* A guest for the tests of interp/component: `run` does what its input names and answers in text.
 * Written against the canonical ABI by hand, so that the same object file is a core-module
 * inferlet and, wrapped, a component. How to build: README.md. */
#define IMPORT(name) __attribute__((import_module("test:guest/host"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef unsigned u32;
typedef unsigned long long u64;
typedef unsigned char u8;

IMPORT("add") double host_add(u32 a, long long b, float c, double d);
IMPORT("narrow") long long host_narrow(u32 a, int b, u32 c, int d, u32 e, u32 f, u32 g, u32 h);
IMPORT("echo") void host_echo(const char *text, u32 bytes, void *result);
IMPORT("sum") u64 host_sum(const u32 *numbers, u32 count);
IMPORT("count") void host_count(u32 up_to, void *result);
IMPORT("words") void host_words(const char *text, u32 bytes, void *result);
IMPORT("describe") void host_describe(u32 kind, u32 a, u32 b, void *result);
IMPORT("make") void host_make(u32 kind, void *result);
IMPORT("wait") u32 host_wait(u32 times);
IMPORT("total") u32 host_total(const u32 *things, u32 count);
IMPORT("many") void host_many(const void *params, void *result);
IMPORT("[constructor]thing") u32 thing_new(u32 value);
IMPORT("[method]thing.value") u32 thing_value(u32 self);
IMPORT("[static]thing.join") void thing_join(u32 a, u32 b, void *result);
IMPORT("[resource-drop]thing") void thing_drop(u32 self);

/* ---- memory and text --------------------------------------------------------------------- */

extern u8 __heap_base;
static u8 *heap;
static u32 reallocs, frees;
static int realloc_mode; /* 1: misaligned, 2: out of bounds, 3: traps, 4: never ends, 5: calls out */
static int post_calls_out;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_bytes, u32 align, u32 bytes)
{
    reallocs++;
    if (realloc_mode == 1)
        return (void *)3;
    if (realloc_mode == 2)
        return (void *)0xFFFFFF00;
    if (realloc_mode == 3)
        __builtin_trap();
    if (realloc_mode == 5)
        host_sum(0, 0);
    while (realloc_mode == 4)
        __asm__ volatile("");
    if (!heap)
        heap = &__heap_base;
    heap = (u8 *)(((u32)heap + align - 1) & ~(align - 1));
    u8 *result = heap;
    heap += bytes;
    while ((u32)heap > __builtin_wasm_memory_size(0) * 65536)
        if (__builtin_wasm_memory_grow(0, 16) == (u32)-1)
            __builtin_trap();
    for (u32 i = 0; i < old_bytes && i < bytes; i++)
        result[i] = ((u8 *)old)[i];
    return result;
}

struct text {
    const char *data;
    u32 bytes;
};

static char out[70000];
static u32 out_bytes;

static void put_bytes(const char *data, u32 bytes)
{
    for (u32 i = 0; i < bytes && out_bytes < sizeof out; i++)
        out[out_bytes++] = data[i];
}

static void put(const char *text)
{
    while (*text)
        put_bytes(text++, 1);
}

static void put_number(long long value)
{
    char digits[24];
    u32 count = 0;
    u64 rest = value < 0 ? (u64)-value : (u64)value;
    if (value < 0)
        put("-");
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count)
        put_bytes(&digits[--count], 1);
}

static int is(const struct text *command, const char *name)
{
    u32 i = 0;
    for (; name[i]; i++)
        if (i >= command->bytes || command->data[i] != name[i])
            return 0;
    return i == command->bytes;
}

/* ---- what can be asked ------------------------------------------------------------------- */

struct point {
    int x, y;
    struct text name;
};
struct shape {
    u8 kind;
    u32 a, b;
};

static void put_shape(const struct shape *shape)
{
    put_number(shape->kind);
    if (shape->kind == 2) {
        const struct point *points = (const struct point *)shape->a;
        for (u32 i = 0; i < shape->b; i++) {
            put(" ");
            put_number(points[i].x);
            put(",");
            put_number(points[i].y);
            put(",");
            put_bytes(points[i].name.data, points[i].name.bytes);
        }
    } else if (shape->kind == 3) {
        put(" ");
        put_bytes((const char *)shape->a, shape->b);
    }
}

static int do_values(const struct text *command)
{
    struct text text;
    if (is(command, "add")) {
        put_number((long long)(host_add(7, -3, 0.5f, 100.25) * 100));
    } else if (is(command, "narrow")) {
        put_number(host_narrow(0xABCD0107, 0x7FFFFF80, 0xFFFF1234, (int)0xFFFF8000, 77, 0x1F600,
                               0xFFFFFFFD, 2));
    } else if (is(command, "bad-char")) {
        host_narrow(0, 0, 0, 0, 0, 0xD800, 0, 0);
    } else if (is(command, "bad-enum")) {
        host_narrow(0, 0, 0, 0, 0, 0, 0, 3);
    } else if (is(command, "echo")) {
        host_echo("gr\xC3\xBC\xC3\x9F", 6, &text);
        put_bytes(text.data, text.bytes);
    } else if (is(command, "echo-long")) {
        static char much[60000];
        for (u32 i = 0; i < sizeof much; i++)
            much[i] = (char)('a' + i % 26);
        host_echo(much, sizeof much, &text);
        for (u32 i = 0; i < sizeof much; i++)
            if (text.data[i] != much[i])
                __builtin_trap();
        put_number(text.bytes);
    } else if (is(command, "bad-utf8")) {
        host_echo("ab\xFF", 3, &text);
    } else if (is(command, "string-out-of-bounds")) {
        host_echo((const char *)0xFFFFFFF0, 100, &text);
    } else if (is(command, "result-out-of-bounds")) {
        host_echo("a", 1, (void *)0xFFFFFFF8);
    } else if (is(command, "result-misaligned")) {
        host_echo("a", 1, (char *)&text + 1);
    } else if (is(command, "sum")) {
        static u32 numbers[1000];
        for (u32 i = 0; i < 1000; i++)
            numbers[i] = 4000000000u + i;
        put_number((long long)host_sum(numbers, 1000));
    } else if (is(command, "sum-misaligned")) {
        host_sum((const u32 *)2, 1);
    } else if (is(command, "count")) {
        struct {
            const u32 *data;
            u32 count;
        } list;
        host_count(5, &list);
        for (u32 i = 0; i < list.count; i++) {
            put_number(list.data[i]);
            put(" ");
        }
    } else if (is(command, "words")) {
        struct {
            const struct text *items;
            u32 count;
        } list;
        host_words("three little words", 18, &list);
        for (u32 i = 0; i < list.count; i++) {
            put_bytes(list.items[i].data, list.items[i].bytes);
            put("|");
        }
    } else if (is(command, "describe")) {
        static const struct point points[] = {{1, -2, {"a", 1}}, {3, 4, {"bc", 2}}};
        union {
            float f;
            u32 bits;
        } radius = {2.5f};
        host_describe(0, 0, 0, &text);
        put_bytes(text.data, text.bytes);
        host_describe(1, radius.bits, 0, &text);
        put_bytes(text.data, text.bytes);
        host_describe(2, (u32)points, 2, &text);
        put_bytes(text.data, text.bytes);
        host_describe(3, (u32) "five", 4, &text);
        put_bytes(text.data, text.bytes);
    } else if (is(command, "bad-case")) {
        host_describe(4, 0, 0, &text);
    } else if (is(command, "make")) {
        struct shape shape;
        for (u32 kind = 0; kind < 4; kind++) {
            host_make(kind, &shape);
            put_shape(&shape);
            put(";");
        }
    } else if (is(command, "many")) {
        static const struct {
            struct text texts[8];
            u32 last;
        } params = {{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}, {"f", 1}, {"g", 1},
                     {"hh", 2}}, 40};
        struct {
            u8 is_some;
            u32 value;
        } option;
        host_many(&params, &option);
        put_number(option.is_some);
        put(" ");
        put_number(option.value);
    } else {
        return 0;
    }
    return 1;
}

static int do_things(const struct text *command)
{
    struct {
        u8 is_error;
        u32 a, b;
    } joined;
    if (is(command, "things")) {
        u32 a = thing_new(5), b = thing_new(6), list[3] = {a, b, a};
        put_number(thing_value(a) + host_total(list, 3));
        thing_join(a, b, &joined);
        put(" ");
        put_number(joined.is_error);
        put(" ");
        put_number(thing_value(joined.a));
        thing_drop(b);
        thing_drop(joined.a);
    } else if (is(command, "thing-refused")) {
        u32 a = thing_new(0), b = thing_new(6);
        thing_join(a, b, &joined);
        put_bytes((const char *)joined.a, joined.b);
        thing_drop(b);
    } else if (is(command, "thing-leaked")) {
        thing_new(1);
        thing_new(2);
        thing_drop(thing_new(3));
        thing_new(4);
    } else if (is(command, "thing-unknown")) {
        thing_value(77);
    } else if (is(command, "thing-zero")) {
        thing_value(0);
    } else if (is(command, "thing-dropped-twice")) {
        u32 a = thing_new(1);
        thing_drop(a);
        thing_drop(a);
    } else if (is(command, "thing-moved-and-lent")) {
        u32 a = thing_new(1);
        thing_join(a, a, &joined);
    } else if (is(command, "thing-lent-and-trap")) {
        u32 a = thing_new(8), b = thing_new(9);
        realloc_mode = 3;
        (void)b;
        thing_join(a, b, &joined);
        host_echo("x", 1, &joined);
    } else {
        return 0;
    }
    return 1;
}

static int do_control(const struct text *command)
{
    struct text text;
    if (is(command, "wait")) {
        u32 got = host_wait(3);
        put_number(got + host_wait(0));
    } else if (is(command, "spin")) {
        u32 sum = 0;
        for (u32 i = 0; i < 3000000; i++)
            __asm__ volatile("" : "+r"(sum));
        put("spun");
    } else if (is(command, "loop")) {
        for (;;)
            __asm__ volatile("");
    } else if (is(command, "post-return-calls-out")) {
        post_calls_out = 1;
    } else if (is(command, "realloc-misaligned") || is(command, "realloc-out-of-bounds") ||
               is(command, "realloc-traps") || is(command, "realloc-loops") ||
               is(command, "realloc-calls-out")) {
        struct {
            const u32 *data;
            u32 count;
        } list;
        realloc_mode = is(command, "realloc-misaligned")      ? 1
                       : is(command, "realloc-out-of-bounds") ? 2
                       : is(command, "realloc-traps")         ? 3
                       : is(command, "realloc-calls-out")     ? 5
                                                              : 4;
        host_count(5, &list);
    } else if (is(command, "trap")) {
        __builtin_trap();
    } else if (is(command, "bench-scalars")) {
        double sum = 0;
        for (u32 i = 0; i < 1000000; i++)
            sum += host_add(i, 2, 3, 4);
        put_number((long long)sum);
    } else if (is(command, "bench-list")) {
        u32 numbers[16] = {1, 2, 3};
        u64 sum = 0;
        for (u32 i = 0; i < 1000000; i++)
            sum += host_sum(numbers, 16);
        put_number((long long)sum);
    } else if (is(command, "bench-string")) {
        for (u32 i = 0; i < 300000; i++) {
            u8 *mark = heap;
            host_echo("sixteen letters.", 16, &text);
            heap = mark;
        }
        put("done");
    } else if (is(command, "bench-nothing")) {
        double sum = 0;
        for (u32 i = 0; i < 1000000; i++)
            __asm__ volatile("" : "+r"(sum));
        put("done");
    } else {
        return 0;
    }
    return 1;
}

EXPORT("test:guest/run#run") void *run(const char *input, u32 bytes)
{
    static struct {
        u8 is_error;
        const char *data;
        u32 bytes;
    } result;
    struct text command = {input, bytes};
    out_bytes = 0;
    result.is_error = 0;
    if (is(&command, "post-return")) {
        put_number(frees);
    } else if (!do_values(&command) && !do_things(&command) && !do_control(&command)) {
        put("unknown command ");
        put_bytes(input, bytes);
        result.is_error = 1;
    }
    result.data = out;
    result.bytes = out_bytes;
    return &result;
}

EXPORT("cabi_post_test:guest/run#run") void after_run(void *result)
{
    (void)result;
    frees++;
    if (post_calls_out)
        host_sum(0, 0);
}
