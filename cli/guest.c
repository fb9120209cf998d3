#include "cli/guest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/utf8.h"

enum {
    FILE_BYTES_MAX = 1 << 30,
    HEAP_BYTES_MAX = 256 << 20,
    READ_BYTES = 64 << 10,
    PARAMS_MAX = 1000,
    NAMES_SHOWN = 20,
};

/* ---- arguments --------------------------------------------------------------------------- */

static const char *core_type_name(uint32_t type)
{
    switch (type) {
    case WASM_I32: return "i32";
    case WASM_I64: return "i64";
    case WASM_F32: return "f32";
    case WASM_F64: return "f64";
    case WASM_V128: return "v128";
    case WASM_FUNCREF: return "funcref";
    case WASM_EXTERNREF: return "externref";
    case WASM_EXNREF: return "exnref";
    default: return "ref";
    }
}

static const char *const kind_names[] = {
    [COMP_BOOL] = "bool",     [COMP_S8] = "s8",         [COMP_U8] = "u8",
    [COMP_S16] = "s16",       [COMP_U16] = "u16",       [COMP_S32] = "s32",
    [COMP_U32] = "u32",       [COMP_S64] = "s64",       [COMP_U64] = "u64",
    [COMP_F32] = "f32",       [COMP_F64] = "f64",       [COMP_CHAR] = "char",
    [COMP_STRING] = "string", [COMP_LIST] = "list",     [COMP_RECORD] = "record",
    [COMP_TUPLE] = "tuple",   [COMP_VARIANT] = "variant", [COMP_ENUM] = "enum",
    [COMP_OPTION] = "option", [COMP_RESULT] = "result", [COMP_FLAGS] = "flags",
    [COMP_OWN] = "own",       [COMP_BORROW] = "borrow",
};

/* A whole number of `bits` bits, in decimal or with 0x; negative ones down to -2^(bits-1) when
 * `negative` allows them, positive ones up to `max`. The result is in two's complement. */
static bool read_integer(const char *text, unsigned bits, bool negative, uint64_t max,
                         uint64_t *out)
{
    bool minus = text[0] == '-';
    const char *digits = text + minus;
    char *end;
    errno = 0;
    if (digits[0] < '0' || digits[0] > '9' || (minus && !negative))
        return false;
    bool is_hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    unsigned long long number = strtoull(digits, &end, is_hex ? 16 : 10);
    if (*end || errno || number > (minus ? UINT64_C(1) << (bits - 1) : max))
        return false;
    *out = minus ? 0 - (uint64_t)number : (uint64_t)number;
    return true;
}

static bool read_float(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return text[0] && !isspace((unsigned char)text[0]) && !*end;
}

static bool read_single(const char *text, float *out)
{
    char *end;
    *out = strtof(text, &end);
    return text[0] && !isspace((unsigned char)text[0]) && !*end;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* 0x and up to 32 digits. */
static bool read_v128(const char *text, union wasm_value out[2])
{
    uint64_t low = 0, high = 0;
    size_t bytes = strlen(text);
    if (bytes < 3 || bytes > 34 || text[0] != '0' || text[1] != 'x')
        return false;
    for (const char *at = text + 2; *at; at++) {
        int digit = hex_digit(*at);
        if (digit < 0)
            return false;
        high = high << 4 | low >> 60;
        low = low << 4 | (uint64_t)digit;
    }
    out[0].i64 = low;
    out[1].i64 = high;
    return true;
}

static bool read_core(const char *text, uint32_t type, union wasm_value *out)
{
    uint64_t number;
    switch (type) {
    case WASM_I32:
        if (!read_integer(text, 32, true, UINT32_MAX, &number))
            return false;
        out->i32 = (uint32_t)number;
        return true;
    case WASM_I64:
        return read_integer(text, 64, true, UINT64_MAX, &out->i64);
    case WASM_F32:
        return read_single(text, &out->f32);
    case WASM_F64:
        return read_float(text, &out->f64);
    case WASM_V128:
        return read_v128(text, out);
    default:
        out->ref = NULL;
        return !(type & WASM_NON_NULL) && strcmp(text, "null") == 0;
    }
}

static bool read_component(const char *text, enum comp_kind kind, struct comp_value *out)
{
    static const unsigned bits[] = {[COMP_S8] = 8,   [COMP_U8] = 8,   [COMP_S16] = 16,
                                    [COMP_U16] = 16, [COMP_S32] = 32, [COMP_U32] = 32,
                                    [COMP_S64] = 64, [COMP_U64] = 64};
    uint64_t number;
    *out = (struct comp_value){.kind = kind};
    switch (kind) {
    case COMP_BOOL:
        out->of.boolean = strcmp(text, "true") == 0;
        return out->of.boolean || strcmp(text, "false") == 0;
    case COMP_S8: case COMP_S16: case COMP_S32: case COMP_S64:
        if (!read_integer(text, bits[kind], true, (UINT64_C(1) << (bits[kind] - 1)) - 1, &number))
            return false;
        out->of.s = (int64_t)number;
        return true;
    case COMP_U8: case COMP_U16: case COMP_U32: case COMP_U64:
        return read_integer(text, 64, false, UINT64_MAX >> (64 - bits[kind]), &out->of.u);
    case COMP_F32:
        return read_single(text, &out->of.f32);
    case COMP_F64:
        return read_float(text, &out->of.f64);
    case COMP_CHAR: {
        size_t bytes = strlen(text), at = 0;
        if (bytes == 0 || utf8_sequence_bytes(text, bytes) != bytes)
            return false;
        out->of.u = utf8_next(text, bytes, &at);
        return true;
    }
    case COMP_STRING:
        *out = comp_string(text, strlen(text));
        return utf8_is_valid(text, strlen(text));
    default:
        return false;
    }
}

static enum err wrong_count(const struct guest_options *options, uint32_t wanted,
                            struct report *report)
{
    return err_set(report, ERR_INVALID, "%s takes %u argument%s, not %zu", options->invoke, wanted,
                   wanted == 1 ? "" : "s", options->word_count);
}

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for the program");
}

/* ---- choosing what is called ------------------------------------------------------------- */

struct search {
    const char *invoke;      /* NULL = wasi:cli/run or _start */
    size_t interface_bytes;  /* of INTERFACE#NAME, else 0 */
    char *interface, *name;  /* found: in the arena; interface NULL at the top */
    struct arena *arena;
    struct buf names; /* of what there is, for the message */
    uint32_t count;
    bool failed;
};

static void look_at_export(void *user, const char *interface, const char *name)
{
    struct search *search = user;
    size_t bytes = strlen(interface);
    bool wanted;
    if (!name)
        return;
    if (++search->count <= NAMES_SHOWN)
        (void)buf_printf(&search->names, "%s%s%s%s", search->count > 1 ? ", " : "", interface,
                         bytes ? "#" : "", name);
    if (search->name)
        return;
    if (!search->invoke)
        wanted = bytes ? strncmp(interface, "wasi:cli/run@", 13) == 0 && strcmp(name, "run") == 0
                       : strcmp(name, "_start") == 0;
    else if (search->interface_bytes)
        wanted = bytes == search->interface_bytes &&
                 memcmp(interface, search->invoke, bytes) == 0 &&
                 strcmp(search->invoke + bytes + 1, name) == 0;
    else
        wanted = strcmp(search->invoke, name) == 0;
    if (!wanted)
        return;
    search->name = arena_strdup(search->arena, name, strlen(name));
    search->interface = bytes ? arena_strdup(search->arena, interface, bytes) : NULL;
    search->failed = !search->name || (bytes && !search->interface);
}

static enum err not_found(const struct guest_options *options, const struct search *search,
                          struct report *report)
{
    const char *names = search->names.count ? search->names.data : "nothing";
    const char *more = search->count > NAMES_SHOWN ? ", ..." : "";
    if (options->invoke)
        return err_set(report, ERR_NOT_FOUND, "%s exports no function %s; it exports %s%s",
                       options->path, options->invoke, names, more);
    return err_set(report, ERR_NOT_FOUND,
                   "%s has neither _start nor wasi:cli/run: choose an export with --invoke; it "
                   "exports %s%s", options->path, names, more);
}

/* A core export with core types. */
static enum err prepare_core(struct guest *guest, const struct guest_options *options,
                             struct report *report)
{
    const struct wasm_instance *instance = comp_instance_module_instance(guest->instance);
    const struct wasm_module *module = wasm_instance_module(instance);
    struct wasm_extern found;
    const struct wasm_export *export =
        wasm_module_find_export(module, options->invoke, strlen(options->invoke));
    /* Host functions want to know who calls. What the host links is functions only. */
    if (export->index < wasm_module_import_count(module))
        return err_set(report, ERR_INVALID, "%s is a function of the host that %s passes on",
                       options->invoke, options->path);
    (void)wasm_instance_export(instance, options->invoke, strlen(options->invoke), &found);
    const struct wasm_functype *type = wasm_func_type(found.of.func);
    if (type->param_count != options->word_count)
        return wrong_count(options, type->param_count, report);
    guest->values = arena_calloc(&guest->arena, 2 * (size_t)type->param_count + 2,
                                 sizeof *guest->values);
    if (!guest->values)
        return no_memory(report);
    union wasm_value *at = guest->values;
    for (uint32_t i = 0; i < type->param_count; i++) {
        if (!read_core(options->words[i], type->params[i], at))
            return err_set(report, ERR_INVALID, "argument %u of %s must be %s, not '%s'", i + 1,
                           options->invoke, core_type_name(type->params[i]), options->words[i]);
        at += type->params[i] == WASM_V128 ? 2 : 1;
    }
    guest->func = found.of.func;
    return ERR_OK;
}

static enum err prepare_component(struct guest *guest, const struct guest_options *options,
                                  const struct search *search, struct report *report)
{
    enum comp_kind kinds[PARAMS_MAX];
    uint32_t count = 0;
    if (options->invoke && !comp_component_export_params(guest->component, search->interface,
                                                         search->name, kinds, PARAMS_MAX, &count))
        return not_found(options, search, report);
    if (options->word_count != count || count > PARAMS_MAX)
        return wrong_count(options, count, report);
    struct comp_value *values = arena_calloc(&guest->arena, (size_t)count + 1, sizeof *values);
    if (!values)
        return no_memory(report);
    for (uint32_t i = 0; i < count; i++) {
        if (kinds[i] > COMP_STRING)
            return err_set(report, ERR_UNSUPPORTED,
                           "argument %u of %s is a %s: only numbers, bool, char and string can be "
                           "given here", i + 1, options->invoke, kind_names[kinds[i]]);
        if (!read_component(options->words[i], kinds[i], &values[i]))
            return err_set(report, ERR_INVALID, "argument %u of %s must be %s, not '%s'", i + 1,
                           options->invoke, kind_names[kinds[i]], options->words[i]);
    }
    return comp_instance_call(guest->instance, search->interface, search->name, values, count,
                              report);
}

static enum err choose(struct guest *guest, const struct guest_options *options,
                       struct report *report)
{
    const struct wasm_module *core = comp_component_module(guest->component, 0);
    const char *hash = options->invoke ? strchr(options->invoke, '#') : NULL;
    enum err err;
    struct search search = {.invoke = options->invoke,
                            .interface_bytes = hash ? (size_t)(hash - options->invoke) : 0,
                            .arena = &guest->arena};
    buf_init(&search.names, NULL);
    comp_component_each_export(guest->component, look_at_export, &search);
    bool is_core = comp_instance_module_instance(guest->instance) != NULL;
    const struct wasm_export *export =
        is_core && options->invoke
            ? wasm_module_find_export(core, options->invoke, strlen(options->invoke)) : NULL;
    if (search.failed)
        err = no_memory(report);
    else if (export && export->type.kind == WASM_FUNC)
        err = prepare_core(guest, options, report);
    else if (!search.name || (is_core && options->invoke))
        err = not_found(options, &search, report);
    else
        err = prepare_component(guest, options, &search, report);
    buf_deinit(&search.names);
    return err;
}

/* ---- life -------------------------------------------------------------------------------- */

static void write_out(void *user, enum wasi_output output, const char *data, size_t bytes)
{
    const struct guest *guest = user;
    int fd = output == WASI_STDOUT ? guest->stdout_fd : STDERR_FILENO;
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0 && errno != EINTR)
            return; /* nobody listens */
        if (written > 0) {
            data += written;
            bytes -= (size_t)written;
        }
    }
}

static struct wasi_ctx *ctx_of(void *host)
{
    return ((struct guest *)host)->ctx;
}

static enum err read_component_file(struct guest *guest, const char *path, struct report *report)
{
    char *bytes;
    size_t count;
    enum err err = file_read(path, FILE_BYTES_MAX, NULL, &bytes, &count, report);
    if (err)
        return err;
    err = comp_component_create((const uint8_t *)bytes, count, &guest->component, report);
    mem_free(NULL, bytes);
    if (err)
        (void)err_prefix(report, "%s", path);
    return err;
}

enum err guest_open(struct guest *guest, const struct guest_options *options,
                    struct report *report)
{
    const struct wasm_store_limits limits = {.memory_bytes_max = options->memory_bytes_max};
    arena_init(&guest->arena, NULL);
    guest->stdout_fd = options->stdout_fd;
    guest->binding.ctx_of = ctx_of;
    guest->heap.limit_bytes = HEAP_BYTES_MAX;
    enum err err = options->network ? wasi_net_create(options->network, &guest->net, report)
                                    : ERR_OK;
    if (!err)
        err = read_component_file(guest, options->path, report);
    if (err)
        return err;
    guest->linker = comp_linker_create();
    const char **args = arena_calloc(&guest->arena, options->arg_count + 1, sizeof *args);
    if (!guest->linker || !args)
        return no_memory(report);
    args[0] = options->path;
    for (size_t i = 0; i < options->arg_count; i++)
        args[i + 1] = options->args[i];
    const struct wasi_config config = {.host = {.write = write_out, .user = guest},
                                       .heap = &guest->heap,
                                       .args = args,
                                       .arg_count = options->arg_count + 1,
                                       .net = guest->net,
                                       .stdin_open = true};
    err = wasi_register(guest->linker, &guest->binding, report);
    if (!err)
        err = wasi_ctx_create(&config, &guest->ctx, report);
    if (!err)
        err = comp_instance_create(guest->linker, guest->component, &limits, guest,
                                   &guest->instance, report);
    return err ? err : choose(guest, options, report);
}

void guest_close(struct guest *guest)
{
    comp_instance_destroy(guest->instance);
    wasi_ctx_destroy(guest->ctx);
    wasi_net_destroy(guest->net);
    comp_linker_destroy(guest->linker);
    comp_component_unref(guest->component);
    arena_deinit(&guest->arena);
}

struct wasm_thread *guest_thread(const struct guest *guest)
{
    return comp_instance_thread(guest->instance);
}

/* ---- running ----------------------------------------------------------------------------- */

enum wasm_run guest_run(struct guest *guest, uint64_t fuel)
{
    struct wasm_thread *thread = guest_thread(guest);
    if (!guest->func)
        return comp_instance_run(guest->instance, fuel);
    if (!guest->has_begun) {
        enum wasm_run run = comp_instance_run(guest->instance, fuel);
        if (run != WASM_RUN_DONE)
            return run;
        if (wasm_thread_call(thread, guest->func, guest->values) != ERR_OK) {
            wasm_thread_trap(thread, "the function has too many parameters");
            return WASM_RUN_TRAP;
        }
        guest->has_begun = true;
        return WASM_RUN_FUEL; /* of which the start functions have used a part */
    }
    return wasm_thread_run(thread, fuel);
}

/* Reads what stdin has; false at its end or when memory is out. */
static bool feed(struct guest *guest)
{
    char bytes[READ_BYTES];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    return count > 0 && wasi_stdin_feed(guest->ctx, bytes, (size_t)count);
}

bool guest_wait(struct guest *guest)
{
    /* What the guest does not ask for is read once at most in each of its waits: a stream without
     * an end must not fill memory while the guest sleeps. */
    bool has_fed = false;
    while (!wasi_wait_ready(guest->ctx)) {
        bool listen = !guest->input_closed && !has_fed;
        uint64_t at = wasi_wait_deadline_ns(guest->ctx), now = clock_now_ns();
        uint64_t pause_ms = at <= now ? 0 : (at - now + 999999) / 1000000;
        struct pollfd fds[2] = {{.fd = listen ? STDIN_FILENO : -1, .events = POLLIN},
                                {.fd = guest->net ? wasi_net_fd(guest->net) : -1,
                                 .events = POLLIN}}; /* -1 is passed over */
        if (!listen && at == UINT64_MAX && !guest->net)
            return false;
        int timeout = at == UINT64_MAX ? -1 : pause_ms > INT_MAX ? INT_MAX : (int)pause_ms;
        int ready = poll(fds, 2, timeout);
        if (ready < 0)
            return true; /* a signal */
        if (ready > 0 && fds[1].revents)
            wasi_net_dispatch(guest->net);
        if (ready > 0 && fds[0].revents) {
            has_fed = true;
            if (!feed(guest)) {
                guest->input_closed = true;
                wasi_stdin_close(guest->ctx);
            }
        }
    }
    return true;
}

bool guest_status(const struct guest *guest, enum wasm_run run, int *status)
{
    uint32_t number;
    *status = run == WASM_RUN_DONE ? 0 : 1;
    if (run == WASM_RUN_TRAP && wasi_exit_status(guest->ctx, &number)) {
        *status = (int)(number & 0xFF);
        return true;
    }
    const struct comp_value *result =
        run == WASM_RUN_DONE && !guest->func ? comp_instance_result(guest->instance) : NULL;
    if (result && result->kind == COMP_RESULT)
        *status = result->of.variant.index ? 1 : 0;
    return run == WASM_RUN_DONE;
}

/* ---- results ----------------------------------------------------------------------------- */

/* The shortest digits that read back as the same number. */
static bool put_float(struct buf *out, double value, bool is_single)
{
    char text[40];
    if (isnan(value))
        return buf_puts(out, signbit(value) ? "-nan" : "nan");
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    return buf_puts(out, text);
}

static bool put_core(struct buf *out, uint32_t type, const union wasm_value *value)
{
    switch (type) {
    case WASM_I32:
        return buf_printf(out, "%" PRId32, (int32_t)value->i32);
    case WASM_I64:
        return buf_printf(out, "%" PRId64, (int64_t)value->i64);
    case WASM_F32:
        return put_float(out, (double)value->f32, true);
    case WASM_F64:
        return put_float(out, value->f64, false);
    case WASM_V128:
        return buf_printf(out, "0x%016" PRIx64 "%016" PRIx64, value[1].i64, value[0].i64);
    default:
        break;
    }
    return buf_puts(out, value->ref ? core_type_name(type) : "null");
}

static void put_value(struct buf *out, const struct comp_value *value, int depth);

static void put_items(struct buf *out, const struct comp_value *value, const char *brackets,
                      int depth)
{
    (void)buf_putc(out, brackets[0]);
    for (size_t i = 0; i < value->of.list.count && !out->failed; i++) {
        (void)buf_puts(out, i ? ", " : "");
        put_value(out, &value->of.list.items[i], depth + 1);
    }
    (void)buf_putc(out, brackets[1]);
}

static void put_case(struct buf *out, const char *word, const struct comp_value *payload,
                     int depth)
{
    (void)buf_puts(out, word);
    if (!payload)
        return;
    (void)buf_putc(out, '(');
    put_value(out, payload, depth + 1);
    (void)buf_putc(out, ')');
}

/* Values do not carry the names of their cases and fields, nor the type of packed numbers. */
static void put_value(struct buf *out, const struct comp_value *value, int depth)
{
    enum { DEPTH_MAX = 100 };
    char text[40];
    uint32_t index = value->of.variant.index;
    const struct comp_value *payload = value->of.variant.payload;
    if (depth > DEPTH_MAX) {
        (void)buf_puts(out, "...");
        return;
    }
    switch (value->kind) {
    case COMP_BOOL:
        (void)buf_puts(out, value->of.boolean ? "true" : "false");
        break;
    case COMP_S8: case COMP_S16: case COMP_S32: case COMP_S64:
        (void)buf_printf(out, "%" PRId64, value->of.s);
        break;
    case COMP_U8: case COMP_U16: case COMP_U32: case COMP_U64:
        (void)buf_printf(out, "%" PRIu64, value->of.u);
        break;
    case COMP_F32:
        (void)put_float(out, (double)value->of.f32, true);
        break;
    case COMP_F64:
        (void)put_float(out, value->of.f64, false);
        break;
    case COMP_CHAR:
        (void)buf_put_json(out, text, utf8_put((uint32_t)value->of.u, text));
        break;
    case COMP_STRING:
        (void)buf_put_json(out, value->of.string.data, value->of.string.bytes);
        break;
    case COMP_LIST:
        if (value->of.list.items)
            put_items(out, value, "[]", depth);
        else
            (void)buf_printf(out, "[%zu numbers]", value->of.list.count);
        break;
    case COMP_RECORD: case COMP_TUPLE:
        put_items(out, value, "()", depth);
        break;
    case COMP_OPTION:
        put_case(out, index ? "some" : "none", payload, depth);
        break;
    case COMP_RESULT:
        put_case(out, index ? "err" : "ok", payload, depth);
        break;
    case COMP_VARIANT:
        (void)snprintf(text, sizeof text, "case %u", index);
        put_case(out, text, payload, depth);
        break;
    case COMP_ENUM:
        (void)buf_printf(out, "case %" PRIu64, value->of.u);
        break;
    case COMP_FLAGS:
        (void)buf_printf(out, "0x%" PRIx64, value->of.u);
        break;
    case COMP_OWN: case COMP_BORROW:
        (void)buf_puts(out, "handle");
        break;
    }
}

static void put_result(struct buf *out, bool json, bool is_first, const char *type,
                       const struct buf *text)
{
    if (!json) {
        (void)buf_append(out, text->data ? text->data : "", text->count);
        (void)buf_putc(out, '\n');
        return;
    }
    (void)buf_printf(out, "%s{\"type\":\"%s\",\"value\":", is_first ? "" : ",", type);
    (void)buf_put_json(out, text->data ? text->data : "", text->count);
    (void)buf_putc(out, '}');
}

bool guest_print(const struct guest *guest, bool json, struct buf *out)
{
    const struct comp_value *result = guest->func ? NULL : comp_instance_result(guest->instance);
    struct buf text;
    buf_init(&text, NULL);
    (void)buf_puts(out, json ? "[" : "");
    if (guest->func) {
        const struct wasm_functype *type = wasm_func_type(guest->func);
        const union wasm_value *value = wasm_thread_result(guest_thread(guest));
        for (uint32_t i = 0; i < type->result_count; i++) {
            buf_clear(&text);
            (void)put_core(&text, type->results[i], value);
            put_result(out, json, i == 0, core_type_name(type->results[i]), &text);
            value += type->results[i] == WASM_V128 ? 2 : 1;
        }
    } else if (result) {
        if (json && result->kind == COMP_STRING)
            (void)buf_append(&text, result->of.string.data, result->of.string.bytes);
        else
            put_value(&text, result, 0);
        put_result(out, json, true, kind_names[result->kind], &text);
    }
    (void)buf_puts(out, json ? "]" : "");
    bool ok = !text.failed && !out->failed;
    buf_deinit(&text);
    return ok;
}
