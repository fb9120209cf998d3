/* A WebAssembly program on its own, without the engine: a core module or a component, linked with
 * WASI to the standard streams of this process, and run in slices of fuel.
 *
 *     guest_open    decodes, links, and chooses what is called
 *     guest_run     one slice; WASM_RUN_WAIT: guest_wait, then again
 *     guest_print   what the call returned
 *     guest_close   also after a failed guest_open */
#ifndef CLI_GUEST_H
#define CLI_GUEST_H

#include "engine/base/buf.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"

struct guest_options {
    const char *path;
    const char *invoke; /* an export; NULL = _start or wasi:cli/run */
    char *const *words; /* arguments of `invoke`, as text */
    size_t word_count;
    char *const *args; /* of the program, without its name */
    size_t arg_count;
    uint64_t memory_bytes_max; /* 0 = 4 GiB */
    int stdout_fd;             /* where the program's standard output goes */
    const char *network;       /* rules as wasi_net_create has them; NULL = none */
};

/* Zero-initialise; stays where it is while open. */
struct guest {
    struct comp_component *component;
    struct comp_linker *linker;
    struct comp_instance *instance;
    struct wasi_binding binding;
    struct wasi_ctx *ctx;
    struct wasi_net *net; /* NULL: none */
    struct mem_heap heap; /* WASI's: bytes that come in and are not read */
    struct arena arena;
    int stdout_fd;
    bool input_closed;
    /* A core function called with core types: NULL when the component machinery calls. */
    struct wasm_func *func;
    union wasm_value *values;
    bool has_begun; /* the call of `func`; the start functions are done */
};

/* ERR_INVALID and others with what to do; wrong words for `invoke` are ERR_INVALID too. */
enum err guest_open(struct guest *guest, const struct guest_options *options,
                    struct report *report) ERR_MUST_USE;
void guest_close(struct guest *guest);

enum wasm_run guest_run(struct guest *guest, uint64_t fuel);
/* Sleeps until what the guest waits for may have come. False when it never will; true also when a
 * signal came. */
bool guest_wait(struct guest *guest);
struct wasm_thread *guest_thread(const struct guest *guest);

/* Exit status of a guest that is done or trapped; true when it said one itself (exit, or the result
 * of wasi:cli/run), and then the trap is none. */
bool guest_status(const struct guest *guest, enum wasm_run run, int *status);

/* Appends the results of a call that is done: one per line ("42", "3.5", "0x00..."), or as a JSON
 * array of {"type", "value"} with text for values. False when memory is out. */
bool guest_print(const struct guest *guest, bool json, struct buf *out);

#endif
