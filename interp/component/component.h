/* The component model: components to linked, callable instances, values in and out.
 *
 *     component  decoded and validated once, immutable, refcounted; also made from a plain core
 *                module that follows the canonical ABI's names (a C inferlet)
 *     linker     what the host offers: functions and resources by interface and name, core
 *                modules by name; filled once, then shared read-only
 *     instance   one component instantiated in a wasm store of its own, with one thread
 *
 * Linking is by function: an import instance needs only those functions that the component
 * imports and uses. Versions link by semver: an import of wasi:io/poll@0.2.6 is served by a
 * definition of wasi:io/poll@0.2.x. Source: WebAssembly/component-model, Binary.md and
 * CanonicalABI.md (synchronous part). */
#ifndef INTERP_COMPONENT_COMPONENT_H
#define INTERP_COMPONENT_COMPONENT_H

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "interp/wasm/wasm.h"

/* ---- values ------------------------------------------------------------------------------ */

enum comp_kind {
    COMP_BOOL, COMP_S8, COMP_U8, COMP_S16, COMP_U16, COMP_S32, COMP_U32, COMP_S64, COMP_U64,
    COMP_F32, COMP_F64, COMP_CHAR, COMP_STRING,
    COMP_LIST, COMP_RECORD, COMP_TUPLE, COMP_VARIANT, COMP_ENUM, COMP_OPTION, COMP_RESULT,
    COMP_FLAGS, COMP_OWN, COMP_BORROW,
};

/* One value of a component-level type. The tree mirrors the type; the kind of a value is known
 * from the function's type and repeated here for checks and dumps. */
struct comp_value {
    enum comp_kind kind;
    union {
        bool boolean;
        int64_t s;  /* all signed integers, sign-extended */
        uint64_t u; /* all unsigned integers, char; enum case; flags bits (up to 64) */
        float f32;
        double f64;
        struct {
            const char *data; /* UTF-8, not zero-terminated */
            size_t bytes;
            /* How a guest that passed it had it encoded (0 UTF-8, 1 Latin-1, 2 UTF-16; count of
             * its code units): decides in what steps another guest's memory is taken for it.
             * All 0 in strings that the host makes. */
            uint32_t units;
            uint8_t encoding;
            bool is_tagged;
        } string;
        /* Lists of fixed-size numbers (u8..u64, s8..s64, f32, f64) are packed: `data` is an array
         * of `count` of the C type; all other lists, and records and tuples, are `items`. */
        struct {
            const void *data;
            struct comp_value *items;
            size_t count;
        } list;
        /* variant, option (0 none, 1 some), result (0 ok, 1 err); payload NULL when the case has
         * none. */
        struct {
            uint32_t index;
            struct comp_value *payload;
        } variant;
        /* own, borrow of a host resource: the pointer the host made it with. As an argument an
         * own has left the guest: the host function now owns it. As a result an own is given to
         * the guest, which drops it later (the resource's destructor is called then). */
        void *rep;
    } of;
};

/* Constructors; those with an arena return false / NULL-payload never, they CHECK nothing and
 * report lack of memory by returning false. */
struct comp_value comp_bool(bool value);
struct comp_value comp_u32(uint32_t value);
struct comp_value comp_u64(uint64_t value);
struct comp_value comp_f32(float value);
struct comp_value comp_f64(double value);
struct comp_value comp_string(const char *data, size_t bytes); /* borrowed until lowered */
struct comp_value comp_list_packed(const void *data, size_t count);
struct comp_value comp_items(enum comp_kind kind, struct comp_value *items, size_t count);
struct comp_value comp_own(void *rep);
struct comp_value comp_none(void);
bool comp_some(struct arena *arena, struct comp_value payload, struct comp_value *out)
    __attribute__((warn_unused_result));
/* result<T, E>: `payload` may be NULL for a case without one. */
bool comp_ok(struct arena *arena, const struct comp_value *payload, struct comp_value *out)
    __attribute__((warn_unused_result));
bool comp_error(struct arena *arena, const struct comp_value *payload, struct comp_value *out)
    __attribute__((warn_unused_result));
bool comp_variant(struct arena *arena, uint32_t index, const struct comp_value *payload,
                  struct comp_value *out) __attribute__((warn_unused_result));

/* ---- components -------------------------------------------------------------------------- */

struct comp_component;
struct wasm_source;

/* Decodes and validates a component, or wraps a core module (told apart by the header). Copies
 * what it needs. One reference. */
enum err comp_component_create(const uint8_t *bytes, size_t count,
                               struct comp_component **component,
                               struct report *report) ERR_MUST_USE;
/* As comp_component_create, sharing the source's bytes instead of copying them. `is_known` says that
 * this build has accepted them before: what the bodies of the core modules' functions are is found
 * out when they are called (see wasm_module_create_from). Everything else is checked as ever. */
enum err comp_component_create_from(struct wasm_source *source, bool is_known,
                                    struct comp_component **component,
                                    struct report *report) ERR_MUST_USE;
struct comp_component *comp_component_ref(struct comp_component *component);
void comp_component_unref(struct comp_component *component);

/* Names of imported and exported instances/functions, for messages and `info`: calls `each` with
 * e.g. ("pie:core/model", "[static]model.load"), (interface, NULL) for one without functions, or
 * ("", "hook") for a function of no interface. */
void comp_component_each_import(const struct comp_component *component,
                                void (*each)(void *user, const char *interface, const char *name),
                                void *user);
void comp_component_each_export(const struct comp_component *component,
                                void (*each)(void *user, const char *interface, const char *name),
                                void *user);

/* The kinds of an exported function's parameters (at most `max` are written), as it is chosen by
 * comp_instance_call. False when a component has no such function; core modules: always. */
bool comp_component_export_params(const struct comp_component *component, const char *interface,
                                  const char *name, enum comp_kind *kinds, uint32_t max,
                                  uint32_t *count);
/* The core modules in it, in the order of the file; a core module is its own only one. Borrowed;
 * NULL behind the last. */
struct wasm_module *comp_component_module(const struct comp_component *component, size_t index);

/* ---- linkers ----------------------------------------------------------------------------- */

struct comp_linker;
struct comp_instance;

enum comp_host_result {
    COMP_HOST_DONE, /* *result is set (when the function has one) */
    COMP_HOST_TRAP, /* comp_trap() has said why */
    COMP_HOST_WAIT, /* nothing can be said yet; called again with the same arguments and `state`
                       when the instance is run next */
};

struct comp_host_call {
    struct comp_instance *instance;
    void *host;          /* what comp_instance_create was given */
    struct arena *arena; /* for results; reset after they are lowered */
    /* Restart record: zero at first, kept while the function waits. If the instance dies while it
     * waits, `on_abandon` is called once with `data`. Borrowed arguments stay borrowed (their
     * handles cannot be dropped) while the function waits. */
    struct {
        uint64_t step;
        void *data;
        void (*on_abandon)(void *data);
    } *state;
};

typedef enum comp_host_result (*comp_host_fn)(struct comp_host_call *call,
                                              const struct comp_value *args,
                                              struct comp_value *result, void *user);
/* Called when the guest drops an own handle, and for all that are left when an instance dies
 * (newest first). */
typedef void (*comp_resource_drop)(void *host, void *rep);

struct comp_linker *comp_linker_create(void); /* NULL when memory is out */
void comp_linker_destroy(struct comp_linker *linker);

/* Declares a host resource type, e.g. ("pie:core/model", "model"). Define resources before the
 * functions whose types name them. */
enum err comp_linker_resource(struct comp_linker *linker, const char *interface, const char *name,
                              comp_resource_drop drop, struct report *report) ERR_MUST_USE;

/* Defines a function. `type` is WIT text:
 *     func(model: borrow<model>, name: string) -> result<own<context>, string>
 * with bool u8 .. s64 f32 f64 char string list<> tuple<> option<> result<,> result<_, E> result
 * own<> borrow<>, and in-line  variant { a(T), b }  record { x: T }  enum { a, b }  flags { a, b }.
 * Resource names are of the same interface, or qualified: own<wasi:io/poll.pollable>.
 * The type is checked against what a component declares (names of cases and fields included);
 * core-module inferlets get their ABI from it. */
enum err comp_linker_func(struct comp_linker *linker, const char *interface, const char *name,
                          const char *type, comp_host_fn fn, void *user,
                          struct report *report) ERR_MUST_USE;

/* A function that core-module inferlets may import directly with core types, such as
 * wasi_snapshot_preview1.fd_write. `type` is e.g. "iiii->i" (i I f F = i32 i64 f32 f64). The
 * function finds its instance by comp_instance_of(call->caller). */
enum err comp_linker_core_func(struct comp_linker *linker, const char *module, const char *name,
                               const char *type, wasm_host_fn fn, void *user,
                               struct report *report) ERR_MUST_USE;

/* A core module that components may import by name (factored Python components). Shares it. */
enum err comp_linker_module(struct comp_linker *linker, const char *name,
                            struct wasm_module *module, struct report *report) ERR_MUST_USE;

/* The type of a function that core-module inferlets export as "INTERFACE#NAME". `interface` may
 * have one '*' ("pie:*" + "/run"), which stands for any run of characters:
 *     comp_linker_export_type(linker, "pie:*" "/run", "run",
 *                             "func(input: string) -> result<string, string>", &report) */
enum err comp_linker_export_type(struct comp_linker *linker, const char *interface,
                                 const char *name, const char *type,
                                 struct report *report) ERR_MUST_USE;

/* What a component imports from an interface that has no definition here is bound to a stub that
 * traps with "NAME of INTERFACE is not implemented in this build" when `interface_prefix` (e.g.
 * "pie:") matches; otherwise a missing import is a link error that names function, interface and
 * version, and lists close names. */
enum err comp_linker_stub_prefix(struct comp_linker *linker, const char *interface_prefix,
                                 struct report *report) ERR_MUST_USE;

/* ---- instances --------------------------------------------------------------------------- */

/* Links and allocates; guest code (start functions, initialisers) has not run yet: the first
 * comp_instance_run does that, as it may take long. Shares `component`; borrows `linker` and
 * `host` until destroyed. */
enum err comp_instance_create(const struct comp_linker *linker, struct comp_component *component,
                              const struct wasm_store_limits *limits, void *host,
                              struct comp_instance **instance, struct report *report) ERR_MUST_USE;
void comp_instance_destroy(struct comp_instance *instance);
void *comp_instance_host(const struct comp_instance *instance);
struct comp_instance *comp_instance_of(struct wasm_instance *core);
/* The memory that the canonical options of the running core import name; for core functions. */
struct wasm_memory *comp_instance_memory(struct comp_instance *instance,
                                         struct wasm_instance *core);
/* The instance of a core module, NULL for a component. What it exports may be called with core
 * types in comp_instance_thread, once comp_instance_run has returned WASM_RUN_DONE for its start
 * functions. */
struct wasm_instance *comp_instance_module_instance(const struct comp_instance *instance);
struct wasm_thread *comp_instance_thread(const struct comp_instance *instance);
uint64_t comp_instance_memory_bytes(const struct comp_instance *instance);
uint64_t comp_instance_overhead_bytes(const struct comp_instance *instance);

/* Chooses what to call: exported interface and function ("pie:hello/run", "run"), semver as for
 * imports; `interface` NULL for a function exported at the top (of a core module: any export of type
 * () -> (), such as _start). ERR_NOT_FOUND; ERR_INVALID when arguments are not of their types;
 * ERR_BUSY while a call is unfinished; ERR_TRAP after a trap: the instance is dead then. Arguments
 * are copied; owns among them are the guest's once it runs. The call begins at the next
 * comp_instance_run. */
enum err comp_instance_call(struct comp_instance *instance, const char *interface,
                            const char *name, const struct comp_value *args, size_t arg_count,
                            struct report *report) ERR_MUST_USE;
/* Runs initialisation, then the call, then its post-return. As wasm_thread_run. */
enum wasm_run comp_instance_run(struct comp_instance *instance, uint64_t fuel);
/* After WASM_RUN_DONE of a call: the lifted result (NULL when the function has none); valid until
 * the next call. */
const struct comp_value *comp_instance_result(const struct comp_instance *instance);
const char *comp_instance_trap_text(const struct comp_instance *instance);
const char *comp_instance_back_trace(const struct comp_instance *instance);

/* Host functions: note why, then return COMP_HOST_TRAP. */
void comp_trap(struct comp_host_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
