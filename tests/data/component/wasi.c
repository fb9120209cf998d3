/* A guest for the tests of interp/wasi, written against WASI 0.2's canonical ABI by hand: a core
 * module whose `run` does what its input names. The versions it asks for differ on purpose. */
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef unsigned u32;
typedef unsigned long long u64;
typedef unsigned char u8;

#define POLL "wasi:io/poll@0.2.0"
#define STREAMS "wasi:io/streams@0.2.3"
#define CLOCK "wasi:clocks/monotonic-clock@0.2.9"
#define WALL "wasi:clocks/wall-clock@0.2.1"

IMPORT(POLL, "poll") void poll(const u32 *list, u32 count, void *result);
IMPORT(POLL, "[method]pollable.ready") u32 pollable_ready(u32 self);
IMPORT(POLL, "[method]pollable.block") void pollable_block(u32 self);
IMPORT(POLL, "[resource-drop]pollable") void pollable_drop(u32 self);
IMPORT(STREAMS, "[method]input-stream.read") void input_read(u32 self, u64 bytes, void *result);
IMPORT(STREAMS, "[method]input-stream.blocking-read")
void input_blocking_read(u32 self, u64 bytes, void *result);
IMPORT(STREAMS, "[method]input-stream.skip") void input_skip(u32 self, u64 bytes, void *result);
IMPORT(STREAMS, "[method]input-stream.subscribe") u32 input_subscribe(u32 self);
IMPORT(STREAMS, "[method]output-stream.check-write") void output_check(u32 self, void *result);
IMPORT(STREAMS, "[method]output-stream.write")
void output_write(u32 self, const void *data, u32 bytes, void *result);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void output_flush(u32 self, const void *data, u32 bytes, void *result);
IMPORT(STREAMS, "[method]output-stream.blocking-splice")
void output_splice(u32 self, u32 from, u64 bytes, void *result);
IMPORT("wasi:cli/stdin@0.2.4", "get-stdin") u32 get_stdin(void);
IMPORT("wasi:cli/stdout@0.2.4", "get-stdout") u32 get_stdout(void);
IMPORT("wasi:cli/stderr@0.2.4", "get-stderr") u32 get_stderr(void);
IMPORT("wasi:cli/exit@0.2.0", "exit") void cli_exit(u32 is_error);
IMPORT("wasi:cli/environment@0.2.0", "get-arguments") void get_arguments(void *result);
IMPORT("wasi:cli/environment@0.2.0", "get-environment") void get_environment(void *result);
IMPORT(CLOCK, "now") u64 clock_now(void);
IMPORT(CLOCK, "subscribe-duration") u32 subscribe_duration(u64 ns);
IMPORT(CLOCK, "subscribe-instant") u32 subscribe_instant(u64 ns);
IMPORT(WALL, "now") void wall_now(void *result);
IMPORT("wasi:random/random@0.2.0", "get-random-u64") u64 random_u64(void);
IMPORT("wasi:random/insecure-seed@0.2.0", "insecure-seed") void random_seed(void *result);
IMPORT("wasi:filesystem/preopens@0.2.0", "get-directories") void get_directories(void *result);
IMPORT("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket")
void create_tcp_socket(u32 family, void *result);
IMPORT("wasi:http/types@0.2.0", "[constructor]fields") u32 fields_new(void);
IMPORT("wasi:http/types@0.2.0", "[method]fields.append")
void fields_append(u32 self, const char *name, u32 name_bytes, const void *value,
                   u32 value_bytes, void *result);
IMPORT("wasi:http/types@0.2.0", "[method]fields.get")
void fields_get(u32 self, const char *name, u32 name_bytes, void *result);
IMPORT("wasi:http/types@0.2.0", "[constructor]outgoing-request") u32 request_new(u32 headers);
IMPORT("wasi:http/outgoing-handler@0.2.0", "handle")
void http_handle(u32 request, u32 has_options, u32 options, void *result);
IMPORT("test:wasi/future", "later") u32 future_later(u32 which);

/* ---- memory and text --------------------------------------------------------------------- */

extern u8 __heap_base;
static u8 *heap;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_bytes, u32 align, u32 bytes)
{
    (void)old, (void)old_bytes;
    if (!heap)
        heap = &__heap_base;
    heap = (u8 *)(((u32)heap + align - 1) & ~(align - 1));
    u8 *result = heap;
    heap += bytes;
    while ((u32)heap > __builtin_wasm_memory_size(0) * 65536)
        if (__builtin_wasm_memory_grow(0, 16) == (u32)-1)
            __builtin_trap();
    return result;
}

static char out[10000];
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

static void put_number(u64 value)
{
    char digits[24];
    u32 count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        put_bytes(&digits[--count], 1);
    put(" ");
}

struct text {
    const char *data;
    u32 bytes;
};
struct bytes_result {
    u8 is_error;
    union {
        struct text ok;
        struct {
            u8 kind;
            u32 error;
        } error;
    } of;
};
struct number_result {
    u8 is_error;
    u64 value;
};
struct list {
    const void *items;
    u32 count;
};

static int is(const struct text *command, const char *name)
{
    u32 i = 0;
    for (; name[i]; i++)
        if (i >= command->bytes || command->data[i] != name[i])
            return 0;
    return i == command->bytes;
}

static void put_read(const struct bytes_result *read)
{
    if (read->is_error) {
        put(read->of.error.kind ? "closed" : "failed");
    } else {
        put("[");
        put_bytes(read->of.ok.data, read->of.ok.bytes);
        put("]");
    }
}

static int do_streams(const struct text *command)
{
    struct bytes_result read;
    struct number_result number;
    if (is(command, "print")) {
        u32 to = get_stdout(), err = get_stderr();
        output_check(to, &number);
        put_number(number.value > 0);
        output_write(to, "to stdout\n", 10, &read);
        output_flush(err, "to stderr\n", 10, &read);
        put_number(read.is_error);
    } else if (is(command, "read")) {
        u32 from = get_stdin();
        input_read(from, 100, &read);
        put_read(&read);
        input_blocking_read(from, 5, &read);
        put_read(&read);
        input_skip(from, 2, &number);
        put_number(number.value);
        input_blocking_read(from, 100, &read);
        put_read(&read);
        u32 pollable = input_subscribe(from);
        put_number(pollable_ready(pollable));
        pollable_block(pollable);
        input_blocking_read(from, 100, &read);
        put_read(&read);
    } else if (is(command, "splice")) {
        output_splice(get_stdout(), get_stdin(), 100, &number);
        put_number(number.value);
    } else {
        return 0;
    }
    return 1;
}

static int do_poll(const struct text *command)
{
    struct list ready;
    if (is(command, "sleep")) {
        u64 from = clock_now();
        pollable_block(subscribe_duration(5000));
        put_number(clock_now() - from);
        pollable_block(subscribe_instant(from));
        put_number(clock_now() - from);
    } else if (is(command, "poll")) {
        u32 list[3] = {subscribe_duration(1000000), future_later(0), future_later(1)};
        poll(list, 3, &ready);
        for (u32 i = 0; i < ready.count; i++)
            put_number(((const u32 *)ready.items)[i]);
        for (u32 i = 0; i < 3; i++)
            put_number(pollable_ready(list[i]));
        for (u32 i = 0; i < 3; i++)
            pollable_drop(list[i]);
    } else if (is(command, "poll-nothing")) {
        poll((const u32 *)8, 0, &ready);
    } else if (is(command, "poll-leaked")) {
        u32 list[2] = {future_later(0), future_later(1)};
        poll(list, 2, &ready);
    } else {
        return 0;
    }
    return 1;
}

static int do_rest(const struct text *command)
{
    struct list list;
    if (is(command, "arguments")) {
        get_arguments(&list);
        for (u32 i = 0; i < list.count; i++) {
            const struct text *text = (const struct text *)list.items + i;
            put_bytes(text->data, text->bytes);
            put(";");
        }
        get_environment(&list);
        for (u32 i = 0; i < 2 * list.count; i++) {
            const struct text *text = (const struct text *)list.items + i;
            put_bytes(text->data, text->bytes);
            put(";");
        }
    } else if (is(command, "exit-0") || is(command, "exit-1")) {
        cli_exit(is(command, "exit-1"));
    } else if (is(command, "wall")) {
        struct {
            u64 seconds;
            u32 nanoseconds;
        } now;
        wall_now(&now);
        put_number(now.seconds);
        put_number(now.nanoseconds);
    } else if (is(command, "random")) {
        u64 seed[2];
        random_seed(seed);
        put_number(random_u64());
        put_number(seed[0]);
        put_number(seed[1]);
    } else if (is(command, "directories")) {
        get_directories(&list);
        put_number(list.count);
    } else if (is(command, "socket")) {
        struct {
            u8 is_error;
            u32 value;
        } made;
        create_tcp_socket(0, &made);
        put_number(made.is_error);
        put_number(*(u8 *)&made.value);
    } else if (is(command, "http")) {
        static u8 answer[64] __attribute__((aligned(8)));
        u32 fields = fields_new();
        fields_append(fields, "Accept", 6, "text", 4, answer);
        put_number(answer[0]);
        fields_append(fields, "bad name", 8, "text", 4, answer);
        put_number(answer[0]);
        fields_get(fields, "ACCEPT", 6, &list);
        put_number(list.count);
        put_bytes(((const struct text *)list.items)->data, ((const struct text *)list.items)->bytes);
        http_handle(request_new(fields), 0, 0, answer);
        put_number(answer[0]);
        put_number(answer[8]);
    } else {
        return 0;
    }
    return 1;
}

EXPORT("test:wasi/run#run") void *run(const char *input, u32 bytes)
{
    static struct {
        u8 is_error;
        const char *data;
        u32 bytes;
    } result;
    struct text command = {input, bytes};
    out_bytes = 0;
    result.is_error = !do_streams(&command) && !do_poll(&command) && !do_rest(&command);
    result.data = out;
    result.bytes = out_bytes;
    return &result;
}
