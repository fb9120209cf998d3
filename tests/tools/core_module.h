/* Core modules for the encoder of components: any choice of the SDK's functions as imports, with
 * the types that the canonical ABI gives them, and the export `run` of a program "x". */
#ifndef TESTS_TOOLS_CORE_MODULE_H
#define TESTS_TOOLS_CORE_MODULE_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/file.h"
#include "interp/component/types.h"
#include "interp/component/witdoc.h"

/* sdk/wit, read from the repository's root, with the program's own interface. */
static inline void core_module_wit(struct comp_wit *wit)
{
    static const char *const files[] = {
        "wit/world.wit", "wit/deps/pie-core/core.wit", "wit/deps/pie-instruct/instruct.wit",
        "wit/deps/pie-mcp/mcp.wit", "wit/deps/pie-zo/zo.wit", "wit/deps/wasi-cli/cli.wit",
        "wit/deps/wasi-clocks/clocks.wit", "wit/deps/wasi-filesystem/filesystem.wit",
        "wit/deps/wasi-http/http.wit", "wit/deps/wasi-io/io.wit", "wit/deps/wasi-random/random.wit",
        "wit/deps/wasi-sockets/sockets.wit"};
    static const char own[] =
        "package pie:x; interface run { run: func(input: string) -> result<string, string>; }";
    struct report report = {0};
    comp_wit_init(wit);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[200];
        char *text;
        size_t bytes;
        (void)snprintf(path, sizeof path, "sdk/%s", files[i]);
        CHECK(file_read(path, COMP_WIT_BYTES_MAX, NULL, &text, &bytes, &report) == ERR_OK);
        CHECK(comp_wit_add(wit, text, bytes, path, NULL, &report) == ERR_OK);
        mem_free(NULL, text);
    }
    CHECK(comp_wit_add(wit, own, sizeof own - 1, "x.wit", NULL, &report) == ERR_OK);
    CHECK(comp_wit_resolve(wit, &report) == ERR_OK);
}

static inline void core_module_u32(struct buf *out, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        (void)buf_putc(out, (char)(value | 0x80));
    (void)buf_putc(out, (char)value);
}

static inline void core_module_name(struct buf *out, const char *name)
{
    core_module_u32(out, (uint32_t)strlen(name));
    (void)buf_puts(out, name);
}

static inline void core_module_section(struct buf *out, char id, struct buf *body)
{
    (void)buf_putc(out, id);
    core_module_u32(out, (uint32_t)body->count);
    (void)buf_append(out, body->data, body->count);
    buf_clear(body);
}

static inline struct comp_res *core_module_resource(void *user, const char *name, size_t bytes)
{
    static struct comp_res any;
    (void)user;
    (void)name;
    (void)bytes;
    return &any;
}

static inline void core_module_type(struct buf *types, const struct comp_core_sig *sig)
{
    (void)buf_putc(types, 0x60);
    core_module_u32(types, sig->param_count);
    for (uint32_t i = 0; i < sig->param_count; i++)
        (void)buf_putc(types, (char)sig->params[i]);
    core_module_u32(types, sig->result_count);
    for (uint32_t i = 0; i < sig->result_count; i++)
        (void)buf_putc(types, (char)sig->results[i]);
}

/* `wants` says which of the functions, counted over all interfaces in order, and of the drops,
 * counted behind them, the module imports. */
static inline void core_module_make(const struct comp_wit *wit, bool (*wants)(void *user, uint32_t nth),
                                    void *user, bool has_initialize, struct buf *out)
{
    static const char header[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    struct buf types, imports, body;
    struct arena arena;
    uint32_t count = 0, nth = 0;
    buf_init(&types, NULL);
    buf_init(&imports, NULL);
    buf_init(&body, NULL);
    arena_init(&arena, NULL);
    const struct comp_core_sig drop = {.param_count = 1, .params = {WASM_I32}};
    for (const struct comp_wit_package *p = wit->packages; p; p = p->next)
        for (const struct comp_wit_interface *i = p->interfaces; i; i = i->next) {
            for (const struct comp_wit_func *f = i->funcs; f; f = f->next, nth++) {
                struct comp_core_sig sig;
                const struct comp_functype *type;
                struct buf flat;
                if (!wants(user, nth))
                    continue;
                buf_init(&flat, NULL);
                CHECK(comp_wit_print_flat(&flat, i, f, NULL) == ERR_OK);
                CHECK(comp_wit_parse_func(&arena, flat.data, core_module_resource, NULL, &type, NULL) ==
                      ERR_OK);
                comp_functype_core(type, false, &sig);
                core_module_type(&types, &sig);
                core_module_name(&imports, i->id);
                core_module_name(&imports, f->name);
                (void)buf_putc(&imports, 0);
                core_module_u32(&imports, count++);
                buf_deinit(&flat);
            }
            for (const struct comp_wit_def *d = i->defs; d; d = d->next) {
                char name[200];
                if (d->kind != COMP_WIT_RESOURCE || !wants(user, nth++))
                    continue;
                (void)snprintf(name, sizeof name, "[resource-drop]%s", d->name);
                core_module_type(&types, &drop);
                core_module_name(&imports, i->id);
                core_module_name(&imports, name);
                (void)buf_putc(&imports, 0);
                core_module_u32(&imports, count++);
            }
        }
    const struct comp_core_sig own[] = {
        {.param_count = 4, .params = {WASM_I32, WASM_I32, WASM_I32, WASM_I32}, .result_count = 1,
         .results = {WASM_I32}},
        {.param_count = 2, .params = {WASM_I32, WASM_I32}, .result_count = 1, .results = {WASM_I32}},
        {.param_count = 1, .params = {WASM_I32}},
        {0}};
    static const char *const names[] = {"cabi_realloc", "pie:x/run#run", "cabi_post_pie:x/run#run",
                                        "_initialize"};
    uint32_t own_count = has_initialize ? 4 : 3;
    for (uint32_t i = 0; i < own_count; i++)
        core_module_type(&types, &own[i]);
    (void)buf_append(out, header, sizeof header);
    core_module_u32(&body, count + own_count);
    (void)buf_append(&body, types.data, types.count);
    core_module_section(out, 1, &body);
    core_module_u32(&body, count);
    (void)buf_append(&body, imports.data, imports.count);
    core_module_section(out, 2, &body);
    core_module_u32(&body, own_count);
    for (uint32_t i = 0; i < own_count; i++)
        core_module_u32(&body, count + i);
    core_module_section(out, 3, &body);
    (void)buf_append(&body, "\1\0\1", 3);
    core_module_section(out, 5, &body);
    core_module_u32(&body, own_count + 1);
    for (uint32_t i = 0; i < own_count; i++) {
        core_module_name(&body, names[i]);
        (void)buf_putc(&body, 0);
        core_module_u32(&body, count + i);
    }
    core_module_name(&body, "memory");
    (void)buf_append(&body, "\2\0", 2);
    core_module_section(out, 7, &body);
    core_module_u32(&body, own_count);
    for (uint32_t i = 0; i < own_count; i++)
        (void)buf_append(&body, i == 3 ? "\2\0\x0b" : "\3\0\0\x0b", i == 3 ? 3 : 4); /* unreachable */
    core_module_section(out, 10, &body);
    arena_deinit(&arena);
    buf_deinit(&types);
    buf_deinit(&imports);
    buf_deinit(&body);
    CHECK(!out->failed);
}

#endif
