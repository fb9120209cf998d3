/* A core-module inferlet that does whatever its input says: the first word is a command, the rest
 * its arguments. For the tests of engine/runtime; made into probe.wasm by build.sh. No C library:
 * what it imports is the canonical ABI of the interfaces in engine/host/host.def. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t u32;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name)         __attribute__((export_name(name)))

/* ---- imports ------------------------------------------------------------------------------ */

/* What result<T, string> looks like in memory, for T of one or two words or none. */
struct result {
    uint8_t failed;
    u32 a, b; /* the value, or the error's text */
};
struct list {
    void *data;
    u32 count;
};
struct option_text {
    uint8_t some;
    const char *data;
    u32 bytes;
};

IMPORT("pie:core/model", "[static]model.load")
void model_load(const char *name, u32 bytes, struct result *out);
IMPORT("pie:core/model", "[method]model.tokenizer") u32 model_tokenizer(u32 model);
IMPORT("pie:core/model", "[resource-drop]model") void model_drop(u32 model);
IMPORT("pie:core/model", "[resource-drop]tokenizer") void tokenizer_drop(u32 tokenizer);
IMPORT("pie:core/model", "[method]tokenizer.encode")
void tokenizer_encode(u32 tokenizer, const char *text, u32 bytes, struct list *out);
IMPORT("pie:core/model", "[method]tokenizer.decode")
void tokenizer_decode(u32 tokenizer, const u32 *ids, u32 count, struct result *out);

IMPORT("pie:core/context", "[static]context.create")
void context_create(u32 model, struct result *out);
IMPORT("pie:core/context", "[static]context.open")
void context_open(u32 model, const char *name, u32 bytes, struct result *out);
IMPORT("pie:core/context", "[static]context.take")
void context_take(u32 model, const char *name, u32 bytes, struct result *out);
IMPORT("pie:core/context", "[static]context.delete")
void context_delete(u32 model, const char *name, u32 bytes, struct result *out);
IMPORT("pie:core/context", "[method]context.fork")
void context_fork(u32 context, struct result *out);
IMPORT("pie:core/context", "[method]context.save")
void context_save(u32 context, const char *name, u32 bytes, struct result *out);
IMPORT("pie:core/context", "[method]context.snapshot")
void context_snapshot(u32 context, struct result *out);
IMPORT("pie:core/context", "[method]context.destroy") void context_destroy(u32 context);
IMPORT("pie:core/context", "[method]context.tokens-per-page") u32 context_page_tokens(u32 context);
IMPORT("pie:core/context", "[method]context.committed-page-count")
u32 context_committed(u32 context);
IMPORT("pie:core/context", "[method]context.working-page-count") u32 context_working(u32 context);
IMPORT("pie:core/context", "[method]context.working-page-token-count")
u32 context_tokens(u32 context);
IMPORT("pie:core/context", "[method]context.commit-working-pages")
void context_commit(u32 context, u32 count, struct result *out);
IMPORT("pie:core/context", "[method]context.reserve-working-pages")
void context_reserve(u32 context, u32 count, struct result *out);
IMPORT("pie:core/context", "[method]context.release-working-pages")
void context_release(u32 context, u32 count);
IMPORT("pie:core/context", "[method]context.truncate-working-page-tokens")
void context_truncate(u32 context, u32 count);
IMPORT("pie:core/context", "[method]context.suspend")
void context_suspend(u32 context, struct result *out);
IMPORT("pie:core/context", "[resource-drop]context") void context_drop(u32 context);

IMPORT("pie:core/inference", "[constructor]forward-pass") u32 pass_create(u32 model);
IMPORT("pie:core/inference", "[resource-drop]forward-pass") void pass_drop(u32 pass);
IMPORT("pie:core/inference", "[method]forward-pass.context")
void pass_context(u32 pass, u32 context);
IMPORT("pie:core/inference", "[method]forward-pass.input-tokens")
void pass_input(u32 pass, const u32 *tokens, u32 count, const u32 *positions, u32 position_count);
IMPORT("pie:core/inference", "[method]forward-pass.input-speculative-tokens")
void pass_drafts(u32 pass, const u32 *tokens, u32 count, const u32 *positions, u32 position_count);
IMPORT("pie:core/inference", "[method]forward-pass.pass-speculation")
void pass_speculation(u32 pass, u32 flag);
IMPORT("pie:core/inference", "[method]forward-pass.attention-mask")
void pass_masks(u32 pass, const struct list *masks, u32 count);
IMPORT("pie:core/inference", "[method]forward-pass.logit-mask")
void pass_logit_mask(u32 pass, const u32 *runs, u32 count);
IMPORT("pie:core/inference", "[method]forward-pass.sampler")
void pass_sampler(u32 pass, const u32 *rows, u32 count, u32 kind, u32 a, u32 b, float c);
IMPORT("pie:core/inference", "[method]forward-pass.execute")
void pass_execute(u32 pass, struct result *out);
IMPORT("pie:core/inference", "[method]future-output.pollable") u32 output_pollable(u32 output);
IMPORT("pie:core/inference", "[resource-drop]future-output") void output_drop(u32 output);

struct slot {
    uint8_t kind;
    union {
        u32 token;
        float number;
        struct list list;
        struct {
            struct list ids, values;
        } pair;
    } of;
};
struct option_output {
    uint8_t some;
    struct slot *slots;
    u32 slot_count;
    struct list spec_tokens, spec_positions;
};
IMPORT("pie:core/inference", "[method]future-output.get")
void output_get(u32 output, struct option_output *out);

IMPORT("pie:core/inference", "[static]grammar.from-regex")
void grammar_from_regex(const char *text, u32 bytes, struct result *out);
IMPORT("pie:core/inference", "[static]grammar.from-json-schema")
void grammar_from_schema(const char *text, u32 bytes, struct result *out);
IMPORT("pie:core/inference", "[static]grammar.from-ebnf")
void grammar_from_ebnf(const char *text, u32 bytes, struct result *out);
IMPORT("pie:core/inference", "[static]grammar.json") u32 grammar_json(void);
IMPORT("pie:core/inference", "[method]grammar.to-string")
void grammar_text(u32 grammar, struct list *out);
IMPORT("pie:core/inference", "[resource-drop]grammar") void grammar_drop(u32 grammar);
IMPORT("pie:core/inference", "[constructor]matcher")
u32 matcher_create(u32 grammar, u32 tokenizer);
IMPORT("pie:core/inference", "[method]matcher.accept-tokens")
void matcher_accept(u32 matcher, const u32 *ids, u32 count, struct result *out);
IMPORT("pie:core/inference", "[method]matcher.next-token-logit-mask")
void matcher_mask(u32 matcher, struct list *out);
IMPORT("pie:core/inference", "[method]matcher.is-terminated") u32 matcher_done(u32 matcher);
IMPORT("pie:core/inference", "[method]matcher.reset") void matcher_reset(u32 matcher);
IMPORT("pie:core/inference", "[resource-drop]matcher") void matcher_drop(u32 matcher);
IMPORT("pie:instruct/tool-use", "create-matcher")
u32 tool_matcher(u32 model, const struct list *tools, u32 count);
IMPORT("pie:instruct/tool-use", "format")
void tool_format(u32 model, const struct list *tools, u32 count, struct result *out);

IMPORT("wasi:io/poll@0.2.4", "[method]pollable.block") void pollable_block(u32 pollable);
IMPORT("wasi:io/poll@0.2.4", "[method]pollable.ready") u32 pollable_ready(u32 pollable);
IMPORT("wasi:io/poll@0.2.4", "poll") void poll(const u32 *pollables, u32 count, struct list *out);
IMPORT("wasi:io/poll@0.2.4", "[resource-drop]pollable") void pollable_drop(u32 pollable);
IMPORT("wasi:clocks/monotonic-clock@0.2.4", "subscribe-duration")
u32 subscribe_duration(uint64_t ns);
IMPORT("wasi_snapshot_preview1", "fd_write")
u32 fd_write(u32 fd, const struct list *parts, u32 count, u32 *written);

IMPORT("pie:core/types", "[method]future-string.pollable") u32 text_pollable(u32 future);
IMPORT("pie:core/types", "[method]future-string.get")
void text_get(u32 future, struct option_text *out);
IMPORT("pie:core/types", "[resource-drop]future-string") void text_drop(u32 future);
IMPORT("pie:core/types", "[method]future-blob.pollable") u32 blob_pollable(u32 future);
IMPORT("pie:core/types", "[method]future-blob.get")
void blob_get(u32 future, struct option_text *out);
IMPORT("pie:core/types", "[resource-drop]future-blob") void blob_drop(u32 future);
IMPORT("pie:core/session", "send") void session_send(const char *text, u32 bytes);
IMPORT("pie:core/session", "receive") u32 session_receive(void);
IMPORT("pie:core/session", "send-file") void session_send_file(const char *data, u32 bytes);
IMPORT("pie:core/session", "receive-file") u32 session_receive_file(void);
IMPORT("pie:core/messaging", "push")
void message_push(const char *topic, u32 topic_bytes, const char *text, u32 bytes);
IMPORT("pie:core/messaging", "pull") u32 message_pull(const char *topic, u32 bytes);
IMPORT("pie:core/messaging", "broadcast")
void message_broadcast(const char *topic, u32 topic_bytes, const char *text, u32 bytes);
IMPORT("pie:core/messaging", "subscribe") u32 message_subscribe(const char *topic, u32 bytes);
IMPORT("pie:core/messaging", "[method]subscription.pollable") u32 subscription_pollable(u32 s);
IMPORT("pie:core/messaging", "[method]subscription.get")
void subscription_get(u32 s, struct option_text *out);
IMPORT("pie:core/messaging", "[method]subscription.unsubscribe") void subscription_end(u32 s);
IMPORT("pie:core/messaging", "[resource-drop]subscription") void subscription_drop(u32 s);

IMPORT("pie:core/runtime", "version") void runtime_version(struct list *out);
IMPORT("pie:core/runtime", "instance-id") void runtime_instance_id(struct list *out);
IMPORT("pie:core/runtime", "username") void runtime_username(struct list *out);
IMPORT("pie:core/runtime", "models") void runtime_models(struct list *out);
IMPORT("pie:core/runtime", "launch")
void runtime_launch(const char *program, u32 program_bytes, const char *input, u32 bytes,
                    struct result *out);
IMPORT("pie:core/runtime", "[method]child.pollable") u32 child_pollable(u32 child);
struct option_result {
    uint8_t some;
    struct result of;
};
IMPORT("pie:core/runtime", "[method]child.get")
void child_get(u32 child, struct option_result *out);
IMPORT("pie:core/runtime", "[method]child.pid") void child_pid(u32 child, struct list *out);
IMPORT("pie:core/runtime", "[method]child.cancel") void child_cancel(u32 child);
IMPORT("pie:core/runtime", "[resource-drop]child") void child_drop(u32 child);

IMPORT("pie:core/media", "[static]image.from-bytes")
void image_from_bytes(u32 model, const char *data, u32 bytes, struct result *out);
IMPORT("pie:mcp/client", "available-servers") void mcp_available_servers(void *out);
IMPORT("pie:mcp/client", "connect") void mcp_connect(const char *name, u32 bytes, void *out);
IMPORT("pie:core/scheduling", "price") double scheduling_price(void);
IMPORT("pie:instruct/chat", "system")
void chat_system(u32 model, const char *text, u32 bytes, struct list *out);
IMPORT("pie:instruct/chat", "user")
void chat_user(u32 model, const char *text, u32 bytes, struct list *out);
IMPORT("pie:instruct/chat", "cue") void chat_cue(u32 model, struct list *out);
IMPORT("pie:instruct/chat", "stop-tokens") void chat_stop_tokens(u32 model, struct list *out);
IMPORT("pie:instruct/chat", "create-decoder") u32 chat_create_decoder(u32 model);
struct chat_event {
    uint8_t failed;
    struct {
        uint8_t kind;
        const char *data;
        u32 bytes;
    } of;
};
IMPORT("pie:instruct/chat", "[method]decoder.feed")
void chat_feed(u32 decoder, const u32 *ids, u32 count, struct chat_event *out);
IMPORT("pie:instruct/chat", "[resource-drop]decoder") void chat_drop(u32 decoder);

/* ---- memory and text ---------------------------------------------------------------------- */

static _Alignas(16) char heap[256 * 1024];
static u32 heap_used;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_bytes, u32 align, u32 bytes)
{
    u32 at = (heap_used + align - 1) & ~(align - 1);
    if (at + bytes > sizeof heap)
        __builtin_trap();
    heap_used = at + bytes;
    for (u32 i = 0; i < old_bytes && i < bytes; i++)
        heap[at + i] = ((char *)old)[i];
    return heap + at;
}

static char out[64 * 1024];
static u32 out_bytes;
static bool failed;

static void put(const char *data, u32 bytes)
{
    for (u32 i = 0; i < bytes && out_bytes < sizeof out; i++)
        out[out_bytes++] = data[i];
}

static u32 length(const char *text)
{
    u32 n = 0;
    while (text[n] != 0)
        n++;
    return n;
}

static void puts_(const char *text)
{
    put(text, length(text));
}

static void putn(u32 number)
{
    char digits[10];
    u32 n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (n > 0)
        put(&digits[--n], 1);
}

struct text {
    const char *data;
    u32 bytes;
};

/* Cuts the next word off. */
static struct text word(struct text *from)
{
    struct text w = {from->data, 0};
    while (w.bytes < from->bytes && w.data[w.bytes] != ' ')
        w.bytes++;
    u32 step = w.bytes < from->bytes ? w.bytes + 1 : w.bytes;
    from->data += step;
    from->bytes -= step;
    return w;
}

static u32 number(struct text *from)
{
    struct text w = word(from);
    u32 n = 0;
    for (u32 i = 0; i < w.bytes; i++)
        n = n * 10 + (u32)(w.data[i] - '0');
    return n;
}

static bool is(struct text w, const char *name)
{
    if (w.bytes != length(name))
        return false;
    for (u32 i = 0; i < w.bytes; i++)
        if (w.data[i] != name[i])
            return false;
    return true;
}

/* ---- helpers ------------------------------------------------------------------------------ */

/* Ends the run with the error of a result; true when there was one. */
static bool bad(const struct result *r)
{
    if (!r->failed)
        return false;
    failed = true;
    put((const char *)r->a, r->b);
    return true;
}

static u32 load(void)
{
    struct list names;
    runtime_models(&names);
    struct list name = ((struct list *)names.data)[0];
    struct result r;
    model_load(name.data, name.count, &r);
    return bad(&r) ? 0 : r.a;
}

static void wait_for(u32 pollable)
{
    pollable_block(pollable);
    pollable_drop(pollable);
}

static u32 bits(float f)
{
    u32 u;
    __builtin_memcpy(&u, &f, 4);
    return u;
}

static u32 positions[4096];

/* One pass of `count` tokens behind `length` others with a sampler at the last; waits. The token,
 * or UINT32_MAX with the error in `out`. */
static u32 step(u32 pass, const u32 *tokens, u32 count, u32 begin, u32 kind, u32 a, u32 b, float c)
{
    for (u32 i = 0; i < count; i++)
        positions[i] = begin + i;
    u32 last = count - 1;
    pass_input(pass, tokens, count, positions, count);
    pass_sampler(pass, &last, 1, kind, a, b, c);
    struct result r;
    pass_execute(pass, &r);
    if (bad(&r))
        return UINT32_MAX;
    wait_for(output_pollable(r.a));
    struct option_output o;
    output_get(r.a, &o);
    output_drop(r.a);
    if (!o.some || o.slot_count != 1 || o.slots[0].kind != 0) {
        puts_("no token");
        failed = true;
        return UINT32_MAX;
    }
    return o.slots[0].of.token;
}

/* A context with pages for `tokens`. */
static u32 new_context(u32 model, u32 tokens)
{
    struct result r;
    context_create(model, &r);
    if (bad(&r))
        return 0;
    u32 context = r.a;
    context_reserve(context, tokens / context_page_tokens(context) + 1, &r);
    return bad(&r) ? 0 : context;
}

/* ---- commands ----------------------------------------------------------------------------- */

/* generate COUNT TEMPERATURE*100 PROMPT: "id id id ..." */
static void generate(struct text args)
{
    u32 count = number(&args);
    float temperature = (float)number(&args) / 100.0f;
    u32 model = load();
    if (failed)
        return;
    u32 tokenizer = model_tokenizer(model);
    struct list ids;
    tokenizer_encode(tokenizer, args.data, args.bytes, &ids);
    u32 context = new_context(model, ids.count + count);
    if (failed)
        return;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 at = ids.count;
    u32 mark = heap_used;
    u32 token = step(pass, ids.data, ids.count, 0, 2, bits(temperature), bits(0.95f), 0);
    for (u32 i = 0; i < count && !failed; i++) {
        putn(token);
        puts_(" ");
        if (i + 1 == count)
            break;
        u32 input = token;
        heap_used = mark;
        token = step(pass, &input, 1, at++, 2, bits(temperature), bits(0.95f), 0);
    }
    pass_drop(pass);
    context_drop(context);
    tokenizer_drop(tokenizer);
    model_drop(model);
}

/* Two passes on one context before either is looked at; then counts, which wait. */
static void two(void)
{
    u32 model = load();
    u32 context = new_context(model, 64);
    if (failed)
        return;
    u32 passes[2], outputs[2], row = 1;
    u32 tokens[2] = {65, 66};
    struct result r;
    for (u32 i = 0; i < 2; i++) {
        passes[i] = pass_create(model);
        pass_context(passes[i], context);
        positions[0] = 2 * i;
        positions[1] = 2 * i + 1;
        pass_input(passes[i], tokens, 2, positions, 2);
        pass_sampler(passes[i], &row, 1, 2, bits(0), bits(1), 0);
        pass_execute(passes[i], &r);
        if (bad(&r))
            return;
        outputs[i] = r.a;
    }
    puts_("tokens ");
    putn(context_tokens(context));
    struct option_output o;
    for (u32 i = 2; i-- > 0;) {
        wait_for(output_pollable(outputs[i]));
        output_get(outputs[i], &o);
        puts_(o.some ? " some" : " none");
        output_get(outputs[i], &o);
        puts_(o.some ? " some" : " none");
    }
}

/* handles ORDER: makes model, context, pass, output and pollable (m c p o l) and drops them in the
 * order of the letters; x destroys the context. What is not named is left. */
static void handles(struct text args)
{
    u32 model = load();
    u32 context = new_context(model, 64);
    if (failed)
        return;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 token = 65, row = 0;
    pass_input(pass, &token, 1, positions, 1);
    pass_sampler(pass, &row, 1, 2, 0, bits(1), 0);
    struct result r;
    pass_execute(pass, &r);
    if (bad(&r))
        return;
    u32 pollable = output_pollable(r.a);
    for (u32 i = 0; i < args.bytes; i++)
        switch (args.data[i]) {
        case 'm': model_drop(model); break;
        case 'c': context_drop(context); break;
        case 'p': pass_drop(pass); break;
        case 'o': output_drop(r.a); break;
        case 'l': pollable_drop(pollable); break;
        case 'x': context_destroy(context); break;
        case 'w': pollable_block(pollable); break;
        default: break;
        }
    puts_("done");
}

/* All samplers over the same row; numbers that a test can hold against the direct answer. */
static void samplers(void)
{
    u32 model = load();
    u32 context = new_context(model, 64);
    if (failed)
        return;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 tokens[3] = {72, 105, 33}, row = 2, labels[2] = {65, 66};
    positions[0] = 0, positions[1] = 1, positions[2] = 2;
    pass_input(pass, tokens, 3, positions, 3);
    pass_sampler(pass, &row, 1, 0, bits(1), 7, 0);
    pass_sampler(pass, &row, 1, 1, bits(1), 5, 0);
    pass_sampler(pass, &row, 1, 2, bits(0), bits(1), 0);
    pass_sampler(pass, &row, 1, 3, bits(1), bits(0.5f), 0);
    pass_sampler(pass, &row, 1, 4, bits(1), 5, 0.5f);
    pass_sampler(pass, &row, 1, 5, 0, 0, 0); /* embedding: no slot */
    pass_sampler(pass, &row, 1, 6, bits(1), 3, 0);
    pass_sampler(pass, &row, 1, 7, 0, 0, 0);
    pass_sampler(pass, &row, 1, 8, 65, 0, 0);
    pass_sampler(pass, &row, 1, 9, (u32)labels, 2, 0);
    pass_sampler(pass, &row, 1, 10, 0, 0, 0);
    struct result r;
    pass_execute(pass, &r);
    if (bad(&r))
        return;
    wait_for(output_pollable(r.a));
    struct option_output o;
    output_get(r.a, &o);
    for (u32 i = 0; i < o.slot_count; i++) {
        struct slot *s = &o.slots[i];
        putn(s->kind);
        if (s->kind == 0)
            puts_(s->of.token < 259 ? ":ok" : ":bad");
        if (s->kind == 1) {
            float *p = s->of.pair.values.data;
            puts_(s->of.pair.ids.count == 3 && p[0] >= p[1] && p[1] >= p[2] ? ":ok" : ":bad");
        }
        if (s->kind == 2)
            puts_(s->of.list.count == 259 * 4 ? ":ok" : ":bad");
        if (s->kind == 3) {
            puts_(":");
            putn(s->of.list.count);
        }
        if (s->kind == 4)
            puts_(s->of.number > 0 ? ":ok" : ":bad");
        puts_(" ");
    }
}

/* Errors that are not traps; one text per line. */
static void errors(void)
{
    u32 model = load();
    struct result r;
    model_load("nobody", 6, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    u32 context = new_context(model, 32);
    u32 pass = pass_create(model);
    pass_context(pass, context);
    pass_execute(pass, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    u32 token = 65, row = 9;
    pass_input(pass, &token, 1, positions, 0);
    pass_execute(pass, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    pass_input(pass, &token, 1, positions, 1);
    pass_sampler(pass, &row, 1, 2, 0, bits(1), 0);
    pass_execute(pass, &r);
    puts_(r.failed ? "row refused\n" : "row taken\n");
    token = 70000;
    pass_input(pass, &token, 1, positions, 1);
    pass_execute(pass, &r);
    puts_(r.failed ? "token refused\n" : "token taken\n");
    context_commit(context, 99, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    context_open(model, "nothing", 7, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    image_from_bytes(model, "x", 1, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    struct {
        uint8_t failed;
        u32 code;
        struct list message;
        uint8_t data;
        struct list data_text;
    } mcp;
    mcp_connect("x", 1, &mcp);
    put(mcp.message.data, mcp.message.count);
    puts_("\n");
    context_destroy(context);
    context_destroy(context);
    context_fork(context, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    token = 65;
    pass_input(pass, &token, 1, positions, 1);
    pass_execute(pass, &r);
    put((char *)r.a, r.b);
    puts_("\n");
    context_drop(context);
    puts_("end");
}

/* Fork, diverge, save, open, take: the same continuation from each. */
static void branches(void)
{
    u32 model = load();
    u32 context = new_context(model, 100);
    if (failed)
        return;
    u32 prompt[40], first[5];
    for (u32 i = 0; i < 40; i++)
        prompt[i] = 60 + i;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 token = step(pass, prompt, 40, 0, 2, 0, bits(1), 0);
    struct result r;
    context_commit(context, 1, &r);
    if (bad(&r))
        return;
    context_save(context, "kept", 4, &r);
    if (bad(&r))
        return;
    context_save(context, "kept", 4, &r);
    puts_(r.failed ? "refused " : "taken ");
    u32 ways[5];
    context_fork(context, &r);
    if (bad(&r))
        return;
    ways[0] = r.a;
    context_open(model, "kept", 4, &r);
    if (bad(&r))
        return;
    ways[1] = r.a;
    context_take(model, "kept", 4, &r);
    if (bad(&r))
        return;
    ways[2] = r.a;
    context_open(model, "kept", 4, &r);
    puts_(r.failed ? "gone " : "there ");
    context_snapshot(context, &r);
    if (bad(&r))
        return;
    struct text made = {(const char *)r.a, r.b};
    context_open(model, made.data, made.bytes, &r);
    if (bad(&r))
        return;
    ways[3] = r.a;
    context_delete(model, made.data, made.bytes, &r);
    if (bad(&r))
        return;
    context_suspend(context, &r);
    if (bad(&r))
        return;
    ways[4] = context;
    for (u32 w = 0; w < 5; w++) {
        pass_context(pass, ways[w]);
        u32 next = token;
        for (u32 i = 0; i < 5; i++) {
            next = step(pass, &next, 1, 40 + i, 2, 0, bits(1), 0);
            if (failed)
                return;
            if (w == 0)
                first[i] = next;
            else if (first[i] != next)
                puts_("differs ");
        }
    }
    /* Take back what was generated: the same again. */
    context_truncate(context, 5);
    u32 next = step(pass, &token, 1, 40, 2, 0, bits(1), 0);
    puts_(next == first[0] ? "same " : "other ");
    putn(context_committed(context));
    puts_(" ");
    putn(context_tokens(context));
    puts_(" ");
    u32 pages = context_working(context);
    context_release(context, 1);
    putn(pages - context_working(context));
}

/* receive COUNT: gives back what the client sends; a file at last. */
static void receive(struct text args)
{
    u32 count = number(&args);
    struct option_text t;
    for (u32 i = 0; i < count; i++) {
        u32 future = session_receive();
        text_get(future, &t);
        wait_for(text_pollable(future));
        text_get(future, &t);
        if (!t.some)
            puts_("none");
        session_send(t.data, t.bytes);
        put(t.data, t.bytes);
        puts_(",");
        text_drop(future);
    }
    u32 future = session_receive_file();
    wait_for(blob_pollable(future));
    blob_get(future, &t);
    session_send_file(t.data, t.bytes);
    putn(t.bytes);
    blob_drop(future);
}

/* listen TOPIC COUNT: subscribes, says "ready", takes COUNT messages. */
static void listen(struct text args)
{
    struct text topic = word(&args);
    u32 count = number(&args);
    u32 subscription = message_subscribe(topic.data, topic.bytes);
    session_send("ready", 5);
    for (u32 i = 0; i < count;) {
        wait_for(subscription_pollable(subscription));
        struct option_text t;
        for (;;) {
            subscription_get(subscription, &t);
            if (!t.some)
                break;
            put(t.data, t.bytes);
            puts_(" ");
            i++;
        }
    }
    subscription_end(subscription);
    subscription_end(subscription);
    wait_for(subscription_pollable(subscription));
    subscription_drop(subscription);
}

static void broadcast(struct text args)
{
    struct text topic = word(&args);
    while (args.bytes > 0) {
        struct text w = word(&args);
        message_broadcast(topic.data, topic.bytes, w.data, w.bytes);
    }
}

static void push(struct text args)
{
    struct text topic = word(&args);
    while (args.bytes > 0) {
        struct text w = word(&args);
        message_push(topic.data, topic.bytes, w.data, w.bytes);
    }
}

/* pull TOPIC COUNT: drops one future without reading, which must not lose a message. */
static void pull(struct text args)
{
    struct text topic = word(&args);
    u32 count = number(&args);
    text_drop(message_pull(topic.data, topic.bytes));
    for (u32 i = 0; i < count; i++) {
        u32 future = message_pull(topic.data, topic.bytes);
        wait_for(text_pollable(future));
        struct option_text t;
        text_get(future, &t);
        put(t.data, t.bytes);
        puts_(" ");
        text_drop(future);
    }
}

/* launch PROGRAM INPUT: its outcome with a mark in front; `cancel` in front of PROGRAM cancels. */
static void launch(struct text args, bool cancel)
{
    struct text program = word(&args);
    struct result r;
    runtime_launch(program.data, program.bytes, args.data, args.bytes, &r);
    if (bad(&r))
        return;
    u32 child = r.a;
    struct list pid;
    child_pid(child, &pid);
    struct option_result o;
    child_get(child, &o);
    if (o.some || pid.count != 36)
        puts_("early ");
    if (cancel)
        child_cancel(child);
    wait_for(child_pollable(child));
    child_get(child, &o);
    puts_(!o.some ? "none" : o.of.failed ? "err " : "ok ");
    put((char *)o.of.a, o.of.b);
    child_drop(child);
}

static void facts(void)
{
    struct list l;
    runtime_version(&l);
    put(l.data, l.count);
    puts_(" ");
    runtime_username(&l);
    put(l.data, l.count);
    puts_(" ");
    runtime_instance_id(&l);
    putn(l.count);
    puts_(scheduling_price() == 1.0 ? " one " : " other ");
    u32 model = load();
    chat_user(model, "Hi", 2, &l);
    putn(l.count);
    puts_(" ");
    chat_stop_tokens(model, &l);
    putn(l.count);
    puts_(" ");
    u32 decoder = chat_create_decoder(model);
    u32 ids[3] = {72, 105, *(u32 *)l.data};
    struct chat_event e;
    chat_feed(decoder, ids, 2, &e);
    putn(e.of.kind);
    put(e.of.data, e.of.bytes);
    chat_feed(decoder, ids + 2, 1, &e);
    putn(e.of.kind);
    put(e.of.data, e.of.bytes);
    chat_drop(decoder);
}

/* Waits for a clock and for an output at once, until both have come. */
static void together(void)
{
    u32 model = load();
    u32 context = new_context(model, 64);
    if (failed)
        return;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 token = 65, row = 0;
    pass_input(pass, &token, 1, positions, 1);
    pass_sampler(pass, &row, 1, 2, 0, bits(1), 0);
    struct result r;
    pass_execute(pass, &r);
    if (bad(&r))
        return;
    u32 both[2] = {output_pollable(r.a), subscribe_duration(3000000)};
    u32 seen = 0;
    while (seen != 3) {
        struct list ready;
        poll(both, 2, &ready);
        for (u32 i = 0; i < ready.count; i++)
            seen |= 1u << ((u32 *)ready.data)[i];
    }
    puts_("both");
}

/* constrain KIND TEXT: what the model says under a grammar, until it may stop and does. */
static void constrain(struct text args)
{
    struct text kind = word(&args);
    u32 model = load();
    u32 tokenizer = model_tokenizer(model);
    struct result r = {0};
    if (is(kind, "regex"))
        grammar_from_regex(args.data, args.bytes, &r);
    else if (is(kind, "schema"))
        grammar_from_schema(args.data, args.bytes, &r);
    else if (is(kind, "ebnf"))
        grammar_from_ebnf(args.data, args.bytes, &r);
    else
        r.a = grammar_json();
    if (bad(&r))
        return;
    struct list text;
    grammar_text(r.a, &text);
    if (text.count == 0)
        puts_("no text ");
    u32 matcher = matcher_create(r.a, tokenizer);
    grammar_drop(r.a); /* the matcher holds it */
    u32 context = new_context(model, 1000);
    if (failed)
        return;
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 token = 65, ids[300], count = 0, mark = heap_used;
    for (u32 at = 0; at < 300 && !matcher_done(matcher); at++) {
        heap_used = mark;
        struct list mask;
        matcher_mask(matcher, &mask);
        pass_logit_mask(pass, mask.data, mask.count);
        token = step(pass, &token, 1, at, 2, bits(1), bits(1), 0);
        if (failed)
            return;
        ids[count] = token;
        matcher_accept(matcher, &token, 1, &r);
        if (bad(&r))
            return;
        if (!matcher_done(matcher))
            count++;
    }
    matcher_accept(matcher, &token, 1, &r);
    puts_(r.failed ? "" : "taken ");
    tokenizer_decode(tokenizer, ids, count, &r);
    if (bad(&r))
        return;
    put((const char *)r.a, r.b);
    matcher_reset(matcher);
    if (matcher_done(matcher))
        puts_(" done");
    matcher_drop(matcher);
}

/* tools: whether the model's family has a grammar of calls, and its matcher. */
static void tools(void)
{
    static const char tool[] = "{\"name\": \"add\", \"parameters\": {\"type\": \"object\"}}";
    struct list list = {(void *)tool, sizeof tool - 1};
    u32 model = load();
    struct result r;
    tool_format(model, &list, 1, &r); /* an option has the same shape */
    puts_(r.failed ? "some " : "none ");
    matcher_drop(tool_matcher(model, &list, 1));
    puts_("matcher");
}

/* Four tokens at positions step * i on a new context under masks of `width` runs each (0: none);
 * the token behind them. */
static u32 masked(u32 model, u32 step_, const u32 *runs, u32 width)
{
    u32 context = new_context(model, 64);
    u32 pass = pass_create(model);
    pass_context(pass, context);
    u32 tokens[4] = {80, 81, 82, 83}, row = 3;
    for (u32 i = 0; i < 4; i++)
        positions[i] = step_ * i;
    struct list masks[4];
    for (u32 i = 0; i < 4; i++)
        masks[i] = (struct list){(void *)(runs + i * width), width};
    pass_input(pass, tokens, 4, positions, 4);
    if (width != 0)
        pass_masks(pass, masks, 4);
    pass_speculation(pass, 0);
    pass_sampler(pass, &row, 1, 2, 0, bits(1), 0);
    struct result r;
    pass_execute(pass, &r);
    pass_drop(pass);
    context_drop(context);
    if (bad(&r))
        return 0;
    wait_for(output_pollable(r.a));
    struct option_output o;
    output_get(r.a, &o);
    output_drop(r.a);
    return o.slots[0].of.token;
}

static void masks(void)
{
    static const u32 causal[] = {0, 1, 0, 2, 0, 3, 0, 4}, alone[] = {0, 1, 0, 2, 0, 3, 3, 1},
                     first[] = {0, 1, 0, 1, 0, 1, 0, 1};
    u32 model = load();
    u32 plain = masked(model, 1, NULL, 0);
    puts_(masked(model, 1, causal, 2) == plain ? "same " : "other ");
    puts_(masked(model, 1, alone, 2) == plain ? "same " : "other ");
    /* Positions that jump ahead: causal. All at 0: everyone sees the first alone. */
    puts_(masked(model, 7, causal, 2) == masked(model, 7, NULL, 0) ? "same " : "other ");
    puts_(masked(model, 0, first, 2) == masked(model, 0, NULL, 0) ? "same " : "other ");
    /* Bits past the end do not matter, one mask for four rows does. */
    masked(model, 1, causal, 1);
}

/* A draft that is what greedy sampling gives is accepted, another is not; both are recorded. */
static void drafts(void)
{
    u32 model = load();
    u32 context = new_context(model, 64);
    u32 pass = pass_create(model);
    struct result r;
    pass_context(pass, context);
    u32 prompt[3] = {70, 71, 72};
    u32 token = step(pass, prompt, 3, 0, 2, 0, bits(1), 0);
    context_fork(context, &r);
    if (bad(&r))
        return;
    u32 side = r.a;
    pass_context(pass, side);
    u32 next = step(pass, &token, 1, 3, 2, 0, bits(1), 0);
    u32 later = step(pass, &next, 1, 4, 2, 0, bits(1), 0);
    for (u32 i = 0; i < 2; i++) {
        u32 draft = next + i, row = 0;
        context_fork(context, &r);
        if (bad(&r))
            return;
        u32 way = r.a;
        pass_context(pass, way);
        positions[0] = 3;
        positions[1] = 4;
        pass_input(pass, &token, 1, positions, 1);
        pass_drafts(pass, &draft, 1, positions + 1, 1);
        pass_sampler(pass, &row, 1, 2, 0, bits(1), 0);
        pass_execute(pass, &r);
        if (bad(&r))
            return;
        wait_for(output_pollable(r.a));
        struct option_output o;
        output_get(r.a, &o);
        putn(o.slot_count);
        puts_(o.slots[0].of.token == next ? " next " : " other ");
        if (o.slot_count == 2)
            puts_(o.slots[1].of.token == later ? "later " : "other ");
        putn(context_tokens(way));
        puts_(" ");
        output_drop(r.a);
    }
}

static volatile u32 sink;

static __attribute__((noinline)) u32 recurse(u32 depth)
{
    volatile char room[64];
    room[depth % 64] = (char)depth;
    if (sink == 0xFFFFFFFF)
        return 0; /* never, but the compiler cannot know */
    return recurse(depth + 1) + (u32)room[0];
}

/* Without the stack in linear memory: only the interpreter's own frames. */
static __attribute__((noinline)) u32 dive(u32 depth)
{
    return sink == 0xFFFFFFFF ? depth : dive(depth + 1) * 3 + 1;
}

static void say(struct text args)
{
    struct list part = {(void *)args.data, args.bytes};
    u32 written;
    (void)fd_write(1, &part, 1, &written);
    (void)fd_write(2, &part, 1, &written);
}

static void run(struct text args)
{
    struct text command = word(&args);
    if (is(command, "after")) { /* a message of the client */
        session_send("ready", 5);
        wait_for(text_pollable(session_receive()));
        command = word(&args);
    }
    if (is(command, "echo"))
        put(args.data, args.bytes);
    else if (is(command, "fail"))
        failed = true, put(args.data, args.bytes);
    else if (is(command, "trap"))
        __builtin_trap();
    else if (is(command, "loop"))
        for (;;)
            sink++;
    else if (is(command, "recurse"))
        putn(recurse(0));
    else if (is(command, "dive"))
        putn(dive(0));
    else if (is(command, "grow")) {
        u32 pages = 0;
        while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1)
            pages += 16;
        failed = true;
        puts_("memory.grow failed after ");
        putn(pages);
        puts_(" pages");
    } else if (is(command, "say"))
        say(args);
    else if (is(command, "sleep"))
        wait_for(subscribe_duration((uint64_t)number(&args) * 1000000));
    else if (is(command, "wait"))
        wait_for(text_pollable(session_receive()));
    else if (is(command, "generate"))
        generate(args);
    else if (is(command, "two"))
        two();
    else if (is(command, "handles"))
        handles(args);
    else if (is(command, "samplers"))
        samplers();
    else if (is(command, "errors"))
        errors();
    else if (is(command, "branches"))
        branches();
    else if (is(command, "receive"))
        receive(args);
    else if (is(command, "listen"))
        listen(args);
    else if (is(command, "broadcast"))
        broadcast(args);
    else if (is(command, "push"))
        push(args);
    else if (is(command, "pull"))
        pull(args);
    else if (is(command, "launch"))
        launch(args, false);
    else if (is(command, "cancel"))
        launch(args, true);
    else if (is(command, "facts"))
        facts();
    else if (is(command, "together"))
        together();
    else if (is(command, "constrain"))
        constrain(args);
    else if (is(command, "tools"))
        tools();
    else if (is(command, "masks"))
        masks();
    else if (is(command, "drafts"))
        drafts();
    else if (is(command, "missing")) {
        struct result r;
        mcp_available_servers(&r);
    } else if (is(command, "unbound")) {
        struct result r;
        pass_execute(pass_create(load()), &r);
    } else
        failed = true, puts_("unknown command");
}

static struct result outcome;

EXPORT("pie:probe/run#run") struct result *run_export(const char *input, u32 bytes)
{
    run((struct text){input, bytes});
    outcome = (struct result){failed, (u32)out, out_bytes};
    return &outcome;
}
