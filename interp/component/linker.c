/* What the host offers, by interface and name. Filled once, then only read. */
#include <stdatomic.h>
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/runtime.h"

enum { KEY_MAX = 2 * COMP_NAME_MAX + 1 };

static uint64_t next_version(void)
{
    static atomic_uint_fast64_t versions;
    return atomic_fetch_add_explicit(&versions, 1, memory_order_relaxed) + 1;
}

struct comp_linker *comp_linker_create(void)
{
    struct comp_linker *linker = mem_calloc(NULL, 1, sizeof *linker);
    if (!linker)
        return NULL;
    linker->version = next_version();
    arena_init(&linker->arena, NULL);
    map_init(&linker->resources, NULL);
    map_init(&linker->funcs, NULL);
    map_init(&linker->cores, NULL);
    map_init(&linker->modules, NULL);
    return linker;
}

void comp_linker_destroy(struct comp_linker *linker)
{
    if (!linker)
        return;
    size_t at = 0, key_bytes;
    const void *key;
    void *module;
    while (map_next(&linker->modules, &at, &key, &key_bytes, &module))
        wasm_module_unref(module);
    map_deinit(&linker->resources);
    map_deinit(&linker->funcs);
    map_deinit(&linker->cores);
    map_deinit(&linker->modules);
    vec_free(NULL, &linker->resource_list);
    vec_free(NULL, &linker->func_list);
    vec_free(NULL, &linker->exports);
    vec_free(NULL, &linker->stubs);
    arena_deinit(&linker->arena);
    mem_free(NULL, linker);
}

/* "KEY OF INTERFACE\0NAME"; 0 when too long. */
static size_t make_key(char out[KEY_MAX], const char *interface, size_t interface_bytes,
                       const char *name, size_t name_bytes)
{
    size_t bytes;
    if (name_bytes > COMP_NAME_MAX || !comp_name_key(interface, interface_bytes, out, &bytes))
        return 0;
    out[bytes++] = 0;
    memcpy(out + bytes, name, name_bytes);
    return bytes + name_bytes;
}

static void *find(const struct map *map, const char *interface, size_t interface_bytes,
                  const char *name, size_t name_bytes)
{
    char key[KEY_MAX];
    size_t bytes = make_key(key, interface, interface_bytes, name, name_bytes);
    return bytes ? map_find(map, key, bytes) : NULL;
}

static enum err add(struct map *map, const char *interface, const char *name, void *item,
                    struct report *report)
{
    char key[KEY_MAX];
    size_t bytes = make_key(key, interface, strlen(interface), name, strlen(name));
    if (!bytes)
        return err_set(report, ERR_LIMIT, "the name %s of %s is too long", name, interface);
    if (map_find(map, key, bytes))
        return err_set(report, ERR_INVALID, "%s of %s is defined twice", name, interface);
    if (!map_set(map, key, bytes, item))
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    return ERR_OK;
}

const struct comp_linker_func *comp_linker_find_func(const struct comp_linker *linker,
                                                     const char *interface, size_t interface_bytes,
                                                     const char *name, size_t name_bytes)
{
    return find(&linker->funcs, interface, interface_bytes, name, name_bytes);
}

const struct comp_linker_resource *comp_linker_find_resource(const struct comp_linker *linker,
                                                             const char *interface,
                                                             size_t interface_bytes,
                                                             const char *name, size_t name_bytes)
{
    return find(&linker->resources, interface, interface_bytes, name, name_bytes);
}

const struct comp_linker_core *comp_linker_find_core(const struct comp_linker *linker,
                                                     const char *module, size_t module_bytes,
                                                     const char *name, size_t name_bytes)
{
    return find(&linker->cores, module, module_bytes, name, name_bytes);
}

struct wasm_module *comp_linker_find_module(const struct comp_linker *linker, const char *name,
                                            size_t name_bytes)
{
    return find(&linker->modules, name, name_bytes, "", 0);
}

enum err comp_linker_resource(struct comp_linker *linker, const char *interface, const char *name,
                              comp_resource_drop drop, struct report *report)
{
    struct comp_linker_resource *resource = arena_calloc(&linker->arena, 1, sizeof *resource);
    char *interface_copy = arena_strdup(&linker->arena, interface, strlen(interface));
    char *name_copy = arena_strdup(&linker->arena, name, strlen(name));
    if (!resource || !interface_copy || !name_copy)
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    resource->res.slot = (uint32_t)linker->resource_list.count;
    resource->res.name = name_copy;
    resource->interface = interface_copy;
    resource->name = name_copy;
    resource->resource =
        (struct comp_resource){.drop = drop, .host = &resource->res, .name = name_copy};
    linker->version = next_version();
    enum err err = add(&linker->resources, interface, name, resource, report);
    if (err)
        return err;
    if (!vec_push(NULL, &linker->resource_list, resource))
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    return ERR_OK;
}

struct scope {
    struct comp_linker *linker;
    const char *interface;
};

/* "context" in the function's own interface, "wasi:io/poll.pollable" in any version of that. */
static struct comp_res *find_res(void *user, const char *name, size_t bytes)
{
    const struct scope *scope = user;
    const char *interface = scope->interface;
    size_t interface_bytes = strlen(interface);
    for (size_t i = bytes; i > 0; i--)
        if (name[i - 1] == '.') {
            interface = name;
            interface_bytes = i - 1;
            name += i;
            bytes -= i;
            break;
        }
    size_t base = comp_name_base_bytes(interface, interface_bytes);
    for (size_t i = 0; i < scope->linker->resource_list.count; i++) {
        struct comp_linker_resource *r = scope->linker->resource_list.items[i];
        if (strlen(r->name) == bytes && memcmp(r->name, name, bytes) == 0 &&
            comp_name_base_bytes(r->interface, strlen(r->interface)) == base &&
            memcmp(r->interface, interface, base) == 0)
            return &r->res;
    }
    return NULL;
}

enum err comp_linker_func(struct comp_linker *linker, const char *interface, const char *name,
                          const char *type, comp_host_fn fn, void *user, struct report *report)
{
    struct scope scope = {linker, interface};
    const struct comp_functype *parsed;
    enum err err = comp_wit_parse_func(&linker->arena, type, find_res, &scope, &parsed, report);
    if (err) {
        err_prefix(report, "%s of %s", name, interface);
        return err;
    }
    struct comp_linker_func *func = arena_calloc(&linker->arena, 1, sizeof *func);
    char *interface_copy = arena_strdup(&linker->arena, interface, strlen(interface));
    char *name_copy = arena_strdup(&linker->arena, name, strlen(name));
    if (!func || !interface_copy || !name_copy)
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    *func = (struct comp_linker_func){interface_copy, name_copy, parsed, fn, user};
    linker->version = next_version();
    err = add(&linker->funcs, interface, name, func, report);
    if (err)
        return err;
    if (!vec_push(NULL, &linker->func_list, func))
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    return ERR_OK;
}

enum err comp_linker_core_func(struct comp_linker *linker, const char *module, const char *name,
                               const char *type, wasm_host_fn fn, void *user,
                               struct report *report)
{
    const char *arrow = strstr(type, "->");
    size_t params = arrow ? (size_t)(arrow - type) : strlen(type);
    size_t results = arrow ? strlen(arrow + 2) : 0;
    struct comp_linker_core *core = arena_calloc(&linker->arena, 1, sizeof *core);
    uint32_t *cells = arena_alloc(&linker->arena, (params + results + 1) * sizeof *cells);
    char *name_copy = arena_strdup(&linker->arena, name, strlen(name));
    if (!core || !cells || !name_copy)
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, module);
    for (size_t i = 0; i < params + results; i++) {
        char c = i < params ? type[i] : arrow[2 + i - params];
        switch (c) {
        case 'i': cells[i] = WASM_I32; break;
        case 'I': cells[i] = WASM_I64; break;
        case 'f': cells[i] = WASM_F32; break;
        case 'F': cells[i] = WASM_F64; break;
        default:
            return err_set(report, ERR_INVALID, "%s of %s: `%c` in the type `%s` is none of iIfF",
                           name, module, c, type);
        }
    }
    *core = (struct comp_linker_core){
        .type = {.param_count = (uint32_t)params, .result_count = (uint32_t)results,
                 .params = cells, .results = cells + params},
        .name = name_copy, .fn = fn, .user = user};
    return add(&linker->cores, module, name, core, report);
}

enum err comp_linker_module(struct comp_linker *linker, const char *name,
                            struct wasm_module *module, struct report *report)
{
    enum err err = add(&linker->modules, name, "", module, report);
    if (!err)
        wasm_module_ref(module);
    return err;
}

enum err comp_linker_stub_prefix(struct comp_linker *linker, const char *interface_prefix,
                                 struct report *report)
{
    const char *copy = arena_strdup(&linker->arena, interface_prefix, strlen(interface_prefix));
    if (!copy || !vec_push(NULL, &linker->stubs, copy))
        return err_set(report, ERR_MEMORY, "no memory to define stubs");
    return ERR_OK;
}

enum err comp_linker_export_type(struct comp_linker *linker, const char *interface,
                                 const char *name, const char *type, struct report *report)
{
    struct scope scope = {linker, interface};
    struct comp_linker_export item = {
        .interface = arena_strdup(&linker->arena, interface, strlen(interface)),
        .name = arena_strdup(&linker->arena, name, strlen(name))};
    enum err err = comp_wit_parse_func(&linker->arena, type, find_res, &scope, &item.type, report);
    if (err)
        return err;
    if (!item.interface || !item.name || !vec_push(NULL, &linker->exports, item))
        return err_set(report, ERR_MEMORY, "no memory to define %s of %s", name, interface);
    return ERR_OK;
}

const struct comp_functype *comp_linker_find_export(const struct comp_linker *linker,
                                                    const char *interface, size_t interface_bytes,
                                                    const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < linker->exports.count; i++) {
        const struct comp_linker_export *e = &linker->exports.items[i];
        const char *star = strchr(e->interface, '*');
        size_t length = strlen(e->interface);
        size_t head = star ? (size_t)(star - e->interface) : length;
        size_t tail = star ? length - head - 1 : 0;
        if (strlen(e->name) != name_bytes || memcmp(e->name, name, name_bytes) != 0)
            continue;
        if (star ? interface_bytes < head + tail : interface_bytes != length)
            continue;
        if (memcmp(e->interface, interface, head) == 0 &&
            (!star || memcmp(star + 1, interface + interface_bytes - tail, tail) == 0))
            return e->type;
    }
    return NULL;
}

bool comp_linker_is_stub(const struct comp_linker *linker, const char *interface,
                         size_t interface_bytes)
{
    for (size_t i = 0; i < linker->stubs.count; i++) {
        size_t bytes = strlen(linker->stubs.items[i]);
        if (bytes <= interface_bytes && memcmp(linker->stubs.items[i], interface, bytes) == 0)
            return true;
    }
    return false;
}

/* How many single-character changes apart, at most 4. */
static uint32_t distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    enum { MAX = 48 };
    uint32_t row[MAX + 1];
    if (a_bytes > MAX || b_bytes > MAX)
        return 4;
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_bytes] < 4 ? row[b_bytes] : 4;
}

void comp_linker_suggest(const struct comp_linker *linker, struct buf *buf, const char *interface,
                         size_t interface_bytes, const char *name, size_t name_bytes)
{
    char key[COMP_NAME_MAX], other[COMP_NAME_MAX];
    size_t key_bytes, other_bytes, shown = 0, in_interface = 0;
    if (!comp_name_key(interface, interface_bytes, key, &key_bytes))
        return;
    for (size_t i = 0; i < linker->func_list.count && shown < 4; i++) {
        const struct comp_linker_func *f = linker->func_list.items[i];
        if (!comp_name_key(f->interface, strlen(f->interface), other, &other_bytes) ||
            other_bytes != key_bytes || memcmp(other, key, key_bytes) != 0)
            continue;
        in_interface++;
        if (distance(name, name_bytes, f->name, strlen(f->name)) < 4)
            buf_printf(buf, "%s%s", shown++ ? ", " : "; close names: ", f->name);
    }
    if (in_interface || shown)
        return;
    for (size_t i = 0; i < linker->func_list.count; i++) {
        const struct comp_linker_func *f = linker->func_list.items[i];
        if (strncmp(f->interface, interface, comp_name_base_bytes(interface, interface_bytes)) == 0) {
            buf_printf(buf, "; the host has that interface as %s", f->interface);
            return;
        }
    }
    buf_puts(buf, "; the host has no such interface");
}
