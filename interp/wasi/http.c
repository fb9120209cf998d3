/* wasi:http, for components that import it without need: requests can be made up, sending one
 * answers HTTP-request-denied. There is no incoming handler; nobody ever holds a response, a body
 * or an incoming request. Source: WASI 0.2.9 proposals/http. */
#include <string.h>

#include "interp/wasi/ctx.h"

#define TYPES "wasi:http/types@0.2.9"
#define HANDLER "wasi:http/outgoing-handler@0.2.9"

enum {
    HTTP_REQUEST_DENIED = 15,
    HEADER_INVALID_SYNTAX = 0, HEADER_IMMUTABLE = 2,
    METHOD_OTHER = 9, SCHEME_OTHER = 2,
    FIELD_BYTES_MAX = 1 << 20,
};

/* ---- fields ------------------------------------------------------------------------------ */

struct field {
    char *name;
    uint8_t *value;
    size_t value_bytes;
};

struct fields {
    struct wasi_ctx *ctx;
    bool is_immutable;
    struct {
        struct field *items;
        size_t count, capacity;
    } list;
};

static void free_field(struct fields *fields, struct field *field)
{
    mem_free(fields->ctx->heap, field->name);
    mem_free(fields->ctx->heap, field->value);
}

static void free_fields(struct fields *fields)
{
    if (!fields)
        return;
    for (size_t i = 0; i < fields->list.count; i++)
        free_field(fields, &fields->list.items[i]);
    vec_free(fields->ctx->heap, &fields->list);
    mem_free(fields->ctx->heap, fields);
}

static void drop_fields(void *host, void *rep)
{
    (void)host;
    free_fields(rep);
}

static struct fields *new_fields(struct wasi_ctx *ctx)
{
    struct fields *fields = mem_calloc(ctx->heap, 1, sizeof *fields);
    if (fields)
        fields->ctx = ctx;
    return fields;
}

static bool add_field(struct fields *fields, const char *name, size_t name_bytes,
                      const uint8_t *value, size_t value_bytes)
{
    struct mem_heap *heap = fields->ctx->heap;
    struct field field = {mem_strdup(heap, name, name_bytes), mem_alloc(heap, value_bytes),
                          value_bytes};
    if (field.name && field.value && vec_push(heap, &fields->list, field)) {
        if (value_bytes)
            memcpy(field.value, value, value_bytes);
        return true;
    }
    free_field(fields, &field);
    return false;
}

static struct fields *copy_fields(const struct fields *from)
{
    struct fields *copy = new_fields(from->ctx);
    for (size_t i = 0; copy && i < from->list.count; i++) {
        const struct field *field = &from->list.items[i];
        if (!add_field(copy, field->name, strlen(field->name), field->value,
                       field->value_bytes)) {
            free_fields(copy);
            return NULL;
        }
    }
    return copy;
}

/* Names are compared without case. */
static bool has_name(const struct field *field, const struct comp_value *name)
{
    size_t bytes = strlen(field->name);
    if (bytes != name->of.string.bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if ((field->name[i] | 0x20) != (name->of.string.data[i] | 0x20))
            return false;
    return true;
}

static bool is_token(const struct comp_value *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name->of.string.bytes; i++) {
        char c = name->of.string.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && (c == 0 || !strchr(marks, c)))
            return false;
    }
    return name->of.string.bytes != 0 && name->of.string.bytes <= FIELD_BYTES_MAX;
}

static bool is_field_value(const struct comp_value *value)
{
    const uint8_t *data = value->of.list.data;
    for (size_t i = 0; i < value->of.list.count; i++)
        if (data[i] == 0 || data[i] == '\n' || data[i] == '\r')
            return false;
    return value->of.list.count <= FIELD_BYTES_MAX;
}

static enum comp_host_result header_error(struct comp_host_call *call, uint32_t index,
                                          struct comp_value *result)
{
    struct comp_value error;
    if (!comp_variant(call->arena, index, NULL, &error))
        return wasi_no_memory(call);
    return wasi_err(call, result, &error);
}

static enum comp_host_result give(struct comp_host_call *call, void *rep,
                                  struct comp_value *result)
{
    if (!rep)
        return wasi_no_memory(call);
    *result = comp_own(rep);
    return COMP_HOST_DONE;
}

static enum comp_host_result fields_constructor(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    (void)args;
    return give(call, new_fields(wasi_ctx_of(call, user)), result);
}

static enum comp_host_result fields_from_list(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    struct fields *fields = new_fields(wasi_ctx_of(call, user));
    if (!fields)
        return wasi_no_memory(call);
    for (size_t i = 0; i < args[0].of.list.count; i++) {
        const struct comp_value *pair = args[0].of.list.items[i].of.list.items;
        if (!is_token(&pair[0]) || !is_field_value(&pair[1])) {
            free_fields(fields);
            return header_error(call, HEADER_INVALID_SYNTAX, result);
        }
        if (!add_field(fields, pair[0].of.string.data, pair[0].of.string.bytes,
                       pair[1].of.list.data, pair[1].of.list.count)) {
            free_fields(fields);
            return wasi_no_memory(call);
        }
    }
    return wasi_ok_own(call, result, fields, drop_fields);
}

static struct comp_value field_value(struct comp_host_call *call, const struct field *field)
{
    uint8_t *copy = arena_alloc(call->arena, field->value_bytes);
    if (copy && field->value_bytes)
        memcpy(copy, field->value, field->value_bytes);
    return comp_list_packed(copy, copy ? field->value_bytes : 0);
}

static enum comp_host_result fields_get(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    const struct fields *fields = args[0].of.rep;
    struct comp_value *items = arena_alloc(call->arena,
                                           (fields->list.count + 1) * sizeof *items);
    size_t count = 0;
    (void)user;
    if (!items)
        return wasi_no_memory(call);
    for (size_t i = 0; i < fields->list.count; i++)
        if (has_name(&fields->list.items[i], &args[1]))
            items[count++] = field_value(call, &fields->list.items[i]);
    *result = comp_items(COMP_LIST, items, count);
    return COMP_HOST_DONE;
}

static enum comp_host_result fields_has(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    const struct fields *fields = args[0].of.rep;
    bool has = false;
    (void)call, (void)user;
    for (size_t i = 0; i < fields->list.count; i++)
        has |= has_name(&fields->list.items[i], &args[1]);
    *result = comp_bool(has);
    return COMP_HOST_DONE;
}

static void remove_named(struct fields *fields, const struct comp_value *name)
{
    size_t kept = 0;
    for (size_t i = 0; i < fields->list.count; i++)
        if (has_name(&fields->list.items[i], name))
            free_field(fields, &fields->list.items[i]);
        else
            fields->list.items[kept++] = fields->list.items[i];
    fields->list.count = kept;
}

static enum comp_host_result fields_set(struct comp_host_call *call, const struct comp_value *args,
                                        struct comp_value *result, void *user)
{
    struct fields *fields = args[0].of.rep;
    const struct comp_value *values = args[2].of.list.items;
    (void)user;
    if (fields->is_immutable)
        return header_error(call, HEADER_IMMUTABLE, result);
    if (!is_token(&args[1]))
        return header_error(call, HEADER_INVALID_SYNTAX, result);
    for (size_t i = 0; i < args[2].of.list.count; i++)
        if (!is_field_value(&values[i]))
            return header_error(call, HEADER_INVALID_SYNTAX, result);
    remove_named(fields, &args[1]);
    for (size_t i = 0; i < args[2].of.list.count; i++)
        if (!add_field(fields, args[1].of.string.data, args[1].of.string.bytes,
                       values[i].of.list.data, values[i].of.list.count))
            return wasi_no_memory(call);
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result fields_append(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    struct fields *fields = args[0].of.rep;
    (void)user;
    if (fields->is_immutable)
        return header_error(call, HEADER_IMMUTABLE, result);
    if (!is_token(&args[1]) || !is_field_value(&args[2]))
        return header_error(call, HEADER_INVALID_SYNTAX, result);
    if (!add_field(fields, args[1].of.string.data, args[1].of.string.bytes, args[2].of.list.data,
                   args[2].of.list.count))
        return wasi_no_memory(call);
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result fields_delete(struct comp_host_call *call,
                                           const struct comp_value *args,
                                           struct comp_value *result, void *user)
{
    struct fields *fields = args[0].of.rep;
    (void)user;
    if (fields->is_immutable)
        return header_error(call, HEADER_IMMUTABLE, result);
    remove_named(fields, &args[1]);
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result fields_entries(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    const struct fields *fields = args[0].of.rep;
    size_t count = fields->list.count;
    struct comp_value *items = arena_alloc(call->arena, 3 * (count + 1) * sizeof *items);
    (void)user;
    if (!items)
        return wasi_no_memory(call);
    for (size_t i = 0; i < count; i++) {
        const struct field *field = &fields->list.items[i];
        struct comp_value *pair = items + count + 2 * i;
        pair[0] = comp_string(field->name, strlen(field->name));
        pair[1] = field_value(call, field);
        items[i] = comp_items(COMP_TUPLE, pair, 2);
    }
    *result = comp_items(COMP_LIST, items, count);
    return COMP_HOST_DONE;
}

static enum comp_host_result fields_clone(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    (void)user;
    return give(call, copy_fields(args[0].of.rep), result);
}

/* ---- outgoing requests ------------------------------------------------------------------- */

struct request {
    struct wasi_ctx *ctx;
    struct fields *headers;
    uint32_t method, scheme;
    bool has_scheme;
    char *method_other, *scheme_other, *path, *authority; /* NULL: none */
};

static void drop_request(void *host, void *rep)
{
    struct request *request = rep;
    struct mem_heap *heap = request->ctx->heap;
    (void)host;
    free_fields(request->headers);
    mem_free(heap, request->method_other);
    mem_free(heap, request->scheme_other);
    mem_free(heap, request->path);
    mem_free(heap, request->authority);
    mem_free(heap, request);
}

static enum comp_host_result request_constructor(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    struct request *request = mem_calloc(ctx->heap, 1, sizeof *request);
    if (!request) {
        free_fields(args[0].of.rep);
        return wasi_no_memory(call);
    }
    request->ctx = ctx;
    request->headers = args[0].of.rep;
    request->headers->is_immutable = true;
    return give(call, request, result);
}

static enum comp_host_result give_case(struct comp_host_call *call, uint32_t index,
                                       const char *other, uint32_t other_index,
                                       struct comp_value *result)
{
    struct comp_value text = comp_string(other ? other : "", other ? strlen(other) : 0);
    return comp_variant(call->arena, index, index == other_index ? &text : NULL, result)
               ? COMP_HOST_DONE : wasi_no_memory(call);
}

static bool replace(struct wasi_ctx *ctx, char **text, const struct comp_value *string)
{
    char *copy = NULL;
    if (string && !(copy = mem_strdup(ctx->heap, string->of.string.data, string->of.string.bytes)))
        return false;
    mem_free(ctx->heap, *text);
    *text = copy;
    return true;
}

static enum comp_host_result request_method(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    const struct request *request = args[0].of.rep;
    (void)user;
    return give_case(call, request->method, request->method_other, METHOD_OTHER, result);
}

static enum comp_host_result request_set_method(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    struct request *request = args[0].of.rep;
    const struct comp_value *other = args[1].of.variant.payload;
    (void)user;
    if (other && !is_token(other))
        return wasi_err(call, result, NULL);
    if (!replace(request->ctx, &request->method_other, other))
        return wasi_no_memory(call);
    request->method = args[1].of.variant.index;
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result request_scheme(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    const struct request *request = args[0].of.rep;
    struct comp_value scheme;
    (void)user;
    *result = comp_none();
    if (!request->has_scheme)
        return COMP_HOST_DONE;
    enum comp_host_result made = give_case(call, request->scheme, request->scheme_other,
                                           SCHEME_OTHER, &scheme);
    if (made != COMP_HOST_DONE)
        return made;
    return comp_some(call->arena, scheme, result) ? COMP_HOST_DONE : wasi_no_memory(call);
}

static enum comp_host_result request_set_scheme(struct comp_host_call *call,
                                                const struct comp_value *args,
                                                struct comp_value *result, void *user)
{
    struct request *request = args[0].of.rep;
    const struct comp_value *scheme = args[1].of.variant.payload;
    (void)user;
    if (!replace(request->ctx, &request->scheme_other,
                 scheme ? scheme->of.variant.payload : NULL))
        return wasi_no_memory(call);
    request->has_scheme = scheme != NULL;
    request->scheme = scheme ? scheme->of.variant.index : 0;
    return wasi_ok(call, result, NULL);
}

static enum comp_host_result give_text(struct comp_host_call *call, const char *text,
                                       struct comp_value *result)
{
    *result = comp_none();
    return !text || comp_some(call->arena, comp_string(text, strlen(text)), result)
               ? COMP_HOST_DONE : wasi_no_memory(call);
}

static enum comp_host_result request_path(struct comp_host_call *call,
                                          const struct comp_value *args,
                                          struct comp_value *result, void *user)
{
    (void)user;
    return give_text(call, ((const struct request *)args[0].of.rep)->path, result);
}

static enum comp_host_result request_authority(struct comp_host_call *call,
                                               const struct comp_value *args,
                                               struct comp_value *result, void *user)
{
    (void)user;
    return give_text(call, ((const struct request *)args[0].of.rep)->authority, result);
}

static enum comp_host_result request_set_path(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user)
{
    struct request *request = args[0].of.rep;
    (void)user;
    return replace(request->ctx, &request->path, args[1].of.variant.payload)
               ? wasi_ok(call, result, NULL) : wasi_no_memory(call);
}

static enum comp_host_result request_set_authority(struct comp_host_call *call,
                                                   const struct comp_value *args,
                                                   struct comp_value *result, void *user)
{
    struct request *request = args[0].of.rep;
    (void)user;
    return replace(request->ctx, &request->authority, args[1].of.variant.payload)
               ? wasi_ok(call, result, NULL) : wasi_no_memory(call);
}

static enum comp_host_result request_headers(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    struct fields *copy = copy_fields(((const struct request *)args[0].of.rep)->headers);
    (void)user;
    if (copy)
        copy->is_immutable = true;
    return give(call, copy, result);
}

/* ---- options ----------------------------------------------------------------------------- */

struct options {
    struct wasi_ctx *ctx;
    struct {
        bool is_set;
        uint64_t ns;
    } timeouts[3]; /* connect, first byte, between bytes */
};

static void drop_options(void *host, void *rep)
{
    struct options *options = rep;
    (void)host;
    mem_free(options->ctx->heap, options);
}

static enum comp_host_result options_constructor(struct comp_host_call *call,
                                                 const struct comp_value *args,
                                                 struct comp_value *result, void *user)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    struct options *options = mem_calloc(ctx->heap, 1, sizeof *options);
    (void)args;
    if (options)
        options->ctx = ctx;
    return give(call, options, result);
}

static enum comp_host_result get_timeout(struct comp_host_call *call,
                                         const struct comp_value *args, int index,
                                         struct comp_value *result)
{
    const struct options *options = args[0].of.rep;
    *result = comp_none();
    return !options->timeouts[index].is_set ||
                   comp_some(call->arena, comp_u64(options->timeouts[index].ns), result)
               ? COMP_HOST_DONE : wasi_no_memory(call);
}

static enum comp_host_result set_timeout(struct comp_host_call *call,
                                         const struct comp_value *args, int index,
                                         struct comp_value *result)
{
    struct options *options = args[0].of.rep;
    const struct comp_value *ns = args[1].of.variant.payload;
    options->timeouts[index].is_set = ns != NULL;
    options->timeouts[index].ns = ns ? ns->of.u : 0;
    return wasi_ok(call, result, NULL);
}

#define TIMEOUT(name, index)                                                                   \
    static enum comp_host_result get_##name(struct comp_host_call *call,                       \
                                            const struct comp_value *args,                     \
                                            struct comp_value *result, void *user)             \
    {                                                                                          \
        (void)user;                                                                            \
        return get_timeout(call, args, index, result);                                         \
    }                                                                                          \
    static enum comp_host_result set_##name(struct comp_host_call *call,                       \
                                            const struct comp_value *args,                     \
                                            struct comp_value *result, void *user)             \
    {                                                                                          \
        (void)user;                                                                            \
        return set_timeout(call, args, index, result);                                         \
    }
TIMEOUT(connect, 0)
TIMEOUT(first_byte, 1)
TIMEOUT(between_bytes, 2)

/* ---- everything that is not there -------------------------------------------------------- */

static enum comp_host_result handle(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    struct comp_value error;
    (void)user;
    drop_request(call->host, args[0].of.rep);
    if (args[1].of.variant.payload)
        drop_options(call->host, args[1].of.variant.payload->of.rep);
    if (!comp_variant(call->arena, HTTP_REQUEST_DENIED, NULL, &error))
        return wasi_no_memory(call);
    return wasi_err(call, result, &error);
}

static enum comp_host_result fail(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    (void)args, (void)user;
    return wasi_err(call, result, NULL);
}

static enum comp_host_result none(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_none();
    return COMP_HOST_DONE;
}

static enum comp_host_result unreachable(struct comp_host_call *call,
                                         const struct comp_value *args,
                                         struct comp_value *result, void *user)
{
    (void)args, (void)result, (void)user;
    comp_trap(call, "HTTP is not available to this program");
    return COMP_HOST_TRAP;
}

static enum comp_host_result response_constructor(struct comp_host_call *call,
                                                  const struct comp_value *args,
                                                  struct comp_value *result, void *user)
{
    free_fields(args[0].of.rep);
    return unreachable(call, args, result, user);
}

#define FIELD_SIZE "record { field-name: option<string>, field-size: option<u32> }"
#define ERROR_CODE                                                                              \
    "variant { DNS-timeout, DNS-error(record { rcode: option<string>, info-code: option<u16> }), " \
    "destination-not-found, destination-unavailable, destination-IP-prohibited, "               \
    "destination-IP-unroutable, connection-refused, connection-terminated, connection-timeout, " \
    "connection-read-timeout, connection-write-timeout, connection-limit-reached, "             \
    "TLS-protocol-error, TLS-certificate-error, TLS-alert-received(record { alert-id: "         \
    "option<u8>, alert-message: option<string> }), HTTP-request-denied, "                       \
    "HTTP-request-length-required, HTTP-request-body-size(option<u64>), "                       \
    "HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long, "        \
    "HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<" FIELD_SIZE \
    ">), HTTP-request-trailer-section-size(option<u32>), HTTP-request-trailer-size(" FIELD_SIZE \
    "), HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>), "             \
    "HTTP-response-header-size(" FIELD_SIZE "), HTTP-response-body-size(option<u64>), "         \
    "HTTP-response-trailer-section-size(option<u32>), HTTP-response-trailer-size(" FIELD_SIZE   \
    "), HTTP-response-transfer-coding(option<string>), "                                        \
    "HTTP-response-content-coding(option<string>), HTTP-response-timeout, HTTP-upgrade-failed, " \
    "HTTP-protocol-error, loop-detected, configuration-error, internal-error(option<string>) }"
#define METHOD_TYPE \
    "variant { get, head, post, put, delete, connect, options, trace, patch, other(string) }"
#define SCHEME_TYPE "variant { HTTP, HTTPS, other(string) }"
#define HEADER_ERROR "variant { invalid-syntax, forbidden, immutable }"
#define POLLABLE "own<wasi:io/poll.pollable>"
#define STREAM_IN "own<wasi:io/streams.input-stream>"
#define STREAM_OUT "own<wasi:io/streams.output-stream>"
#define VALUE "list<u8>"
#define ON(resource) "self: borrow<" resource ">"

static const struct wasi_func funcs[] = {
    {TYPES, "http-error-code",
     "func(err: borrow<wasi:io/error.error>) -> option<" ERROR_CODE ">", none},
    {TYPES, "[constructor]fields", "func() -> own<fields>", fields_constructor},
    {TYPES, "[static]fields.from-list",
     "func(entries: list<tuple<string, " VALUE ">>) -> result<own<fields>, " HEADER_ERROR ">",
     fields_from_list},
    {TYPES, "[method]fields.get", "func(" ON("fields") ", name: string) -> list<" VALUE ">",
     fields_get},
    {TYPES, "[method]fields.has", "func(" ON("fields") ", name: string) -> bool", fields_has},
    {TYPES, "[method]fields.set", "func(" ON("fields") ", name: string, value: list<" VALUE
     ">) -> result<_, " HEADER_ERROR ">", fields_set},
    {TYPES, "[method]fields.delete",
     "func(" ON("fields") ", name: string) -> result<_, " HEADER_ERROR ">", fields_delete},
    {TYPES, "[method]fields.append", "func(" ON("fields") ", name: string, value: " VALUE
     ") -> result<_, " HEADER_ERROR ">", fields_append},
    {TYPES, "[method]fields.entries",
     "func(" ON("fields") ") -> list<tuple<string, " VALUE ">>", fields_entries},
    {TYPES, "[method]fields.clone", "func(" ON("fields") ") -> own<fields>", fields_clone},

    {TYPES, "[constructor]outgoing-request",
     "func(headers: own<fields>) -> own<outgoing-request>", request_constructor},
    {TYPES, "[method]outgoing-request.body",
     "func(" ON("outgoing-request") ") -> result<own<outgoing-body>>", fail},
    {TYPES, "[method]outgoing-request.method",
     "func(" ON("outgoing-request") ") -> " METHOD_TYPE, request_method},
    {TYPES, "[method]outgoing-request.set-method",
     "func(" ON("outgoing-request") ", method: " METHOD_TYPE ") -> result", request_set_method},
    {TYPES, "[method]outgoing-request.path-with-query",
     "func(" ON("outgoing-request") ") -> option<string>", request_path},
    {TYPES, "[method]outgoing-request.set-path-with-query",
     "func(" ON("outgoing-request") ", path-with-query: option<string>) -> result",
     request_set_path},
    {TYPES, "[method]outgoing-request.scheme",
     "func(" ON("outgoing-request") ") -> option<" SCHEME_TYPE ">", request_scheme},
    {TYPES, "[method]outgoing-request.set-scheme",
     "func(" ON("outgoing-request") ", scheme: option<" SCHEME_TYPE ">) -> result",
     request_set_scheme},
    {TYPES, "[method]outgoing-request.authority",
     "func(" ON("outgoing-request") ") -> option<string>", request_authority},
    {TYPES, "[method]outgoing-request.set-authority",
     "func(" ON("outgoing-request") ", authority: option<string>) -> result",
     request_set_authority},
    {TYPES, "[method]outgoing-request.headers",
     "func(" ON("outgoing-request") ") -> own<fields>", request_headers},

    {TYPES, "[constructor]request-options", "func() -> own<request-options>",
     options_constructor},
    {TYPES, "[method]request-options.connect-timeout",
     "func(" ON("request-options") ") -> option<u64>", get_connect},
    {TYPES, "[method]request-options.set-connect-timeout",
     "func(" ON("request-options") ", duration: option<u64>) -> result", set_connect},
    {TYPES, "[method]request-options.first-byte-timeout",
     "func(" ON("request-options") ") -> option<u64>", get_first_byte},
    {TYPES, "[method]request-options.set-first-byte-timeout",
     "func(" ON("request-options") ", duration: option<u64>) -> result", set_first_byte},
    {TYPES, "[method]request-options.between-bytes-timeout",
     "func(" ON("request-options") ") -> option<u64>", get_between_bytes},
    {TYPES, "[method]request-options.set-between-bytes-timeout",
     "func(" ON("request-options") ", duration: option<u64>) -> result", set_between_bytes},

    {HANDLER, "handle",
     "func(request: own<wasi:http/types.outgoing-request>, options: "
     "option<own<wasi:http/types.request-options>>) -> "
     "result<own<wasi:http/types.future-incoming-response>, " ERROR_CODE ">", handle},

    {TYPES, "[method]incoming-request.method",
     "func(" ON("incoming-request") ") -> " METHOD_TYPE, unreachable},
    {TYPES, "[method]incoming-request.path-with-query",
     "func(" ON("incoming-request") ") -> option<string>", unreachable},
    {TYPES, "[method]incoming-request.scheme",
     "func(" ON("incoming-request") ") -> option<" SCHEME_TYPE ">", unreachable},
    {TYPES, "[method]incoming-request.authority",
     "func(" ON("incoming-request") ") -> option<string>", unreachable},
    {TYPES, "[method]incoming-request.headers",
     "func(" ON("incoming-request") ") -> own<fields>", unreachable},
    {TYPES, "[method]incoming-request.consume",
     "func(" ON("incoming-request") ") -> result<own<incoming-body>>", unreachable},
    {TYPES, "[method]response-outparam.send-informational",
     "func(" ON("response-outparam") ", status: u16, headers: own<fields>) -> result<_, "
     ERROR_CODE ">", unreachable},
    {TYPES, "[static]response-outparam.set",
     "func(param: own<response-outparam>, response: result<own<outgoing-response>, " ERROR_CODE
     ">)", unreachable},
    {TYPES, "[method]incoming-response.status",
     "func(" ON("incoming-response") ") -> u16", unreachable},
    {TYPES, "[method]incoming-response.headers",
     "func(" ON("incoming-response") ") -> own<fields>", unreachable},
    {TYPES, "[method]incoming-response.consume",
     "func(" ON("incoming-response") ") -> result<own<incoming-body>>", unreachable},
    {TYPES, "[method]incoming-body.stream",
     "func(" ON("incoming-body") ") -> result<" STREAM_IN ">", unreachable},
    {TYPES, "[static]incoming-body.finish",
     "func(this: own<incoming-body>) -> own<future-trailers>", unreachable},
    {TYPES, "[method]future-trailers.subscribe",
     "func(" ON("future-trailers") ") -> " POLLABLE, unreachable},
    {TYPES, "[method]future-trailers.get",
     "func(" ON("future-trailers") ") -> option<result<result<option<own<fields>>, " ERROR_CODE
     ">>>", unreachable},
    {TYPES, "[constructor]outgoing-response",
     "func(headers: own<fields>) -> own<outgoing-response>", response_constructor},
    {TYPES, "[method]outgoing-response.status-code",
     "func(" ON("outgoing-response") ") -> u16", unreachable},
    {TYPES, "[method]outgoing-response.set-status-code",
     "func(" ON("outgoing-response") ", status-code: u16) -> result", unreachable},
    {TYPES, "[method]outgoing-response.headers",
     "func(" ON("outgoing-response") ") -> own<fields>", unreachable},
    {TYPES, "[method]outgoing-response.body",
     "func(" ON("outgoing-response") ") -> result<own<outgoing-body>>", unreachable},
    {TYPES, "[method]outgoing-body.write",
     "func(" ON("outgoing-body") ") -> result<" STREAM_OUT ">", unreachable},
    {TYPES, "[static]outgoing-body.finish",
     "func(this: own<outgoing-body>, trailers: option<own<fields>>) -> result<_, " ERROR_CODE ">",
     unreachable},
    {TYPES, "[method]future-incoming-response.subscribe",
     "func(" ON("future-incoming-response") ") -> " POLLABLE, unreachable},
    {TYPES, "[method]future-incoming-response.get",
     "func(" ON("future-incoming-response") ") -> option<result<result<own<incoming-response>, "
     ERROR_CODE ">>>", unreachable},
};

enum err wasi_http_register(struct comp_linker *linker, struct wasi_binding *binding,
                            struct report *report)
{
    static const struct {
        const char *name;
        comp_resource_drop drop;
    } resources[] = {
        {"fields", drop_fields}, {"outgoing-request", drop_request},
        {"request-options", drop_options}, {"incoming-request", NULL},
        {"response-outparam", NULL}, {"incoming-response", NULL}, {"incoming-body", NULL},
        {"future-trailers", NULL}, {"outgoing-response", NULL}, {"outgoing-body", NULL},
        {"future-incoming-response", NULL},
    };
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        enum err err = comp_linker_resource(linker, TYPES, resources[i].name, resources[i].drop,
                                            report);
        if (err)
            return err;
    }
    return wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
