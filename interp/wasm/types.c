/* Interned types.
 *
 * Invariants, under `lock`: every live group is in `groups` under its key, which is its
 * declaration with mentions of itself by position; `numbers` maps the number of every live type to
 * it; a group's `refs` counts modules, stores and groups that mention it. What a live type's number
 * maps to never changes, so holders look it up without the lock. */
#include "interp/wasm/types.h"

#include <pthread.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { CHUNK_BITS = 12, CHUNK_TYPES = 1 << CHUNK_BITS, HEAD_BYTES = 8, ARRAY_HEAD_BYTES = 16 };

struct wasm_type_group {
    uint64_t refs;
    uint32_t count, mention_count;
    struct wasm_def_type **types;      /* [count] */
    struct wasm_type_group **mentions; /* [mention_count], with repetitions */
    struct wasm_type_group *next_dead;
    const uint32_t *key;
    size_t key_bytes;
};

struct words {
    uint32_t *items;
    size_t count, capacity;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map groups;
static const struct wasm_def_type **chunks[(WASM_TYPE_NUMBER_MAX >> CHUNK_BITS) + 1];
static uint32_t number_count; /* all below were given out */
static struct words free_numbers;

const struct wasm_def_type wasm_host_object_type = {.kind = WASM_DEF_HOST};
const struct wasm_def_type wasm_exception_object_type = {.kind = WASM_DEF_EXCEPTION};

/* ---- value types ------------------------------------------------------------------------- */

const struct wasm_def_type *wasm_type_defined(uint32_t type)
{
    uint32_t number = type >> WASM_TYPE_NUMBER_SHIFT;
    return chunks[number >> CHUNK_BITS][number % CHUNK_TYPES];
}

uint32_t wasm_type_top(uint32_t type)
{
    switch (type & 0xFF) {
    case WASM_FUNCREF: case WASM_NULLFUNCREF:
        return WASM_FUNCREF;
    case WASM_EXTERNREF: case WASM_NULLEXTERNREF:
        return WASM_EXTERNREF;
    case WASM_EXNREF: case WASM_NULLEXNREF:
        return WASM_EXNREF;
    case WASM_TYPE_DEFINED:
        return wasm_type_defined(type)->kind == WASM_DEF_FUNC ? WASM_FUNCREF : WASM_ANYREF;
    default:
        return WASM_ANYREF;
    }
}

bool wasm_type_may_hold_object(uint32_t type)
{
    return wasm_type_is_ref(type) && wasm_type_top(type) != WASM_FUNCREF;
}

/* Heap types, without nullability. */
static bool heap_type_matches(uint32_t sub, uint32_t super)
{
    if (sub == super || sub == WASM_TYPE_BOTTOM)
        return true;
    if (wasm_type_is_defined(sub)) {
        const struct wasm_def_type *type = wasm_type_defined(sub);
        if (wasm_type_is_defined(super))
            return wasm_def_type_matches(type, wasm_type_defined(super));
        if (type->kind == WASM_DEF_FUNC)
            return super == WASM_FUNCREF;
        return super == (type->kind == WASM_DEF_STRUCT ? WASM_STRUCTREF : WASM_ARRAYREF) ||
               super == WASM_EQREF || super == WASM_ANYREF;
    }
    switch (sub) {
    case WASM_NULLFUNCREF:
    case WASM_NULLEXTERNREF:
    case WASM_NULLEXNREF:
    case WASM_NULLREF:
        return wasm_type_top(super) == wasm_type_top(sub);
    case WASM_I31REF:
    case WASM_STRUCTREF:
    case WASM_ARRAYREF:
        return super == WASM_EQREF || super == WASM_ANYREF;
    case WASM_EQREF:
        return super == WASM_ANYREF;
    default:
        return false;
    }
}

bool wasm_type_matches(uint32_t sub, uint32_t super)
{
    if (sub == super)
        return true;
    if (!wasm_type_is_ref(sub) || !wasm_type_is_ref(super) ||
        (wasm_type_is_nullable(sub) && !wasm_type_is_nullable(super)))
        return false;
    return heap_type_matches(sub & ~(uint32_t)WASM_NON_NULL, super & ~(uint32_t)WASM_NON_NULL);
}

uint32_t wasm_type_storage_bytes(uint32_t type)
{
    switch (type) {
    case WASM_I8: return 1;
    case WASM_I16: return 2;
    case WASM_I32: case WASM_F32: return 4;
    case WASM_V128: return 16;
    default: return 8;
    }
}

/* ---- declared subtypes ------------------------------------------------------------------- */

static bool lists_match(const uint32_t *sub, const uint32_t *super, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!wasm_type_matches(sub[i], super[i]))
            return false;
    return true;
}

bool wasm_type_fits_super(const struct wasm_def_type *type)
{
    if (type->depth == 0)
        return true;
    const struct wasm_def_type *super = type->display[type->depth - 1];
    if (super->is_final || super->kind != type->kind || type->field_count < super->field_count)
        return false;
    const struct wasm_functype *f = &type->func, *g = &super->func;
    if (f->param_count != g->param_count || f->result_count != g->result_count ||
        !lists_match(g->params, f->params, f->param_count) ||
        !lists_match(f->results, g->results, f->result_count))
        return false;
    for (uint32_t i = 0; i < super->field_count; i++) {
        const struct wasm_field *a = &type->fields[i], *b = &super->fields[i];
        if (a->mutable_ != b->mutable_ ||
            (a->mutable_ ? a->type != b->type : !wasm_type_matches(a->type, b->type)))
            return false;
    }
    return true;
}

bool wasm_type_is_first(const struct wasm_def_type *type)
{
    return type->group->types[0] == type;
}

/* ---- interning --------------------------------------------------------------------------- */

static bool put_types(struct words *key, const uint32_t *types, uint32_t count)
{
    if (!vec_push(NULL, key, count) || !vec_reserve(NULL, key, count))
        return false;
    if (count > 0)
        memcpy(key->items + key->count, types, count * sizeof *types);
    key->count += count;
    return true;
}

static bool put_decl(struct words *key, const struct wasm_type_decl *decl)
{
    bool ok = vec_push(NULL, key, (uint32_t)decl->kind | (uint32_t)decl->is_final << 8) &&
              vec_push(NULL, key, decl->super) &&
              put_types(key, decl->func.params, decl->func.param_count) &&
              put_types(key, decl->func.results, decl->func.result_count) &&
              vec_push(NULL, key, decl->field_count);
    for (uint32_t i = 0; ok && i < decl->field_count; i++)
        ok = vec_push(NULL, key, decl->fields[i].type) &&
             vec_push(NULL, key, decl->fields[i].mutable_);
    return ok;
}

static void group_free(struct wasm_type_group *group)
{
    for (uint32_t i = 0; i < group->count; i++)
        mem_free(NULL, group->types[i]);
    mem_free(NULL, group);
}

/* A number that no live type has. */
static enum err take_number(uint32_t *number)
{
    if (free_numbers.count > 0) {
        *number = free_numbers.items[--free_numbers.count];
        return ERR_OK;
    }
    if (number_count > WASM_TYPE_NUMBER_MAX)
        return ERR_LIMIT;
    const struct wasm_def_type ***chunk = &chunks[number_count >> CHUNK_BITS];
    if (!*chunk && !(*chunk = mem_calloc(NULL, CHUNK_TYPES, sizeof **chunk)))
        return ERR_MEMORY;
    /* Giving it back must not fail. */
    if (free_numbers.capacity <= number_count &&
        !vec_reserve(NULL, &free_numbers, number_count + 1))
        return ERR_MEMORY;
    *number = number_count++;
    return ERR_OK;
}

/* The interned form of a mention. */
static uint32_t settled(const struct wasm_type_group *group, uint32_t type)
{
    if ((type & 0xFF) != WASM_TYPE_RELATIVE)
        return type;
    const struct wasm_def_type *target = group->types[type >> WASM_TYPE_NUMBER_SHIFT];
    return target->value_types[(type & WASM_NON_NULL) != 0];
}

static void mention(struct wasm_type_group *group, uint32_t type)
{
    if (wasm_type_is_defined(type))
        group->mentions[group->mention_count++] = wasm_type_defined(type)->group;
}

static uint32_t mentions_max(const struct wasm_type_decl *decl)
{
    return 1 + decl->func.param_count + decl->func.result_count + decl->field_count;
}

/* Where the supertypes of `decl` end: they are all in front of it. */
static const struct wasm_def_type *super_of(const struct wasm_type_group *group,
                                            const struct wasm_type_decl *decl)
{
    if (!decl->super)
        return NULL;
    return (decl->super & 0xFF) == WASM_TYPE_RELATIVE
               ? group->types[decl->super >> WASM_TYPE_NUMBER_SHIFT]
               : wasm_type_defined(decl->super);
}

/* Type `index` of the group with room for its lists; NULL when memory is out. */
static struct wasm_def_type *make_type(const struct wasm_type_group *group,
                                       const struct wasm_type_decl *decl)
{
    const struct wasm_def_type *super = super_of(group, decl);
    uint32_t depth = decl->depth;
    CHECK(depth == (super ? super->depth + 1u : 0) && depth <= WASM_SUPERTYPES_MAX);
    size_t words = (size_t)decl->func.param_count + decl->func.result_count + decl->field_count;
    size_t bytes = sizeof(struct wasm_def_type) + (depth + 1) * sizeof(void *) +
                   decl->field_count * sizeof(struct wasm_field) + words * sizeof(uint32_t);
    struct wasm_def_type *type = mem_calloc(NULL, 1, bytes);
    if (!type)
        return NULL;
    type->kind = decl->kind;
    type->is_final = decl->is_final;
    type->depth = (uint8_t)depth;
    for (uint32_t i = 0; i < depth; i++)
        type->display[i] = super->display[i];
    type->display[depth] = type;
    return type;
}

/* Copies the lists, now that all types of the group have numbers, and lays out objects. */
static void fill_type(const struct wasm_type_group *group, struct wasm_def_type *type,
                      const struct wasm_type_decl *decl)
{
    struct wasm_field *fields =
        (struct wasm_field *)(void *)(type->display + type->depth + 1);
    uint32_t *words = (uint32_t *)(void *)(fields + decl->field_count);
    uint32_t *params = words, *results = params + decl->func.param_count;
    uint32_t *refs = results + decl->func.result_count;
    for (uint32_t i = 0; i < decl->func.param_count; i++)
        params[i] = settled(group, decl->func.params[i]);
    for (uint32_t i = 0; i < decl->func.result_count; i++)
        results[i] = settled(group, decl->func.results[i]);
    type->func = (struct wasm_functype){decl->func.param_count, decl->func.result_count, params,
                                        results};
    type->fields = fields;
    type->field_count = decl->field_count;
    type->ref_offsets = refs;
    uint32_t at = decl->kind == WASM_DEF_ARRAY ? ARRAY_HEAD_BYTES : HEAD_BYTES;
    for (uint32_t i = 0; i < decl->field_count; i++) {
        struct wasm_field *field = &fields[i];
        *field = (struct wasm_field){.type = settled(group, decl->fields[i].type),
                                     .mutable_ = decl->fields[i].mutable_};
        /* A v128 is read and written as two cells. */
        uint32_t bytes = wasm_type_storage_bytes(field->type), align = bytes > 8 ? 8 : bytes;
        at = (at + align - 1) & ~(align - 1);
        field->offset = at;
        at += bytes;
        type->bytes = decl->kind == WASM_DEF_ARRAY ? bytes : at;
        if (wasm_type_may_hold_object(field->type))
            refs[type->ref_count++] =
                field->offset | (wasm_type_top(field->type) == WASM_EXTERNREF);
    }
    if (decl->kind == WASM_DEF_STRUCT && decl->field_count == 0)
        type->bytes = HEAD_BYTES;
}

/* Under the lock. */
static enum err make_group(const struct wasm_type_decl *decls, uint32_t count,
                           const struct words *key, struct wasm_type_group **out)
{
    size_t mentions = 0;
    for (uint32_t i = 0; i < count; i++)
        mentions += mentions_max(&decls[i]);
    size_t key_bytes = key->count * sizeof *key->items;
    struct wasm_type_group *group = mem_calloc(
        NULL, 1, sizeof *group + (count + mentions) * sizeof(void *) + key_bytes);
    if (!group)
        return ERR_MEMORY;
    group->types = (struct wasm_def_type **)(group + 1);
    group->mentions = (struct wasm_type_group **)(group->types + count);
    uint32_t *own_key = (uint32_t *)(void *)(group->mentions + mentions);
    memcpy(own_key, key->items, key_bytes);
    group->key = own_key;
    group->key_bytes = key_bytes;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        struct wasm_def_type *type = make_type(group, &decls[i]);
        if (!type) {
            err = ERR_MEMORY;
            break;
        }
        group->types[group->count++] = type;
        type->group = group;
        uint32_t number;
        err = take_number(&number);
        if (err != ERR_OK)
            break;
        chunks[number >> CHUNK_BITS][number % CHUNK_TYPES] = type;
        type->value_types[0] = number << WASM_TYPE_NUMBER_SHIFT | WASM_TYPE_DEFINED;
        type->value_types[1] = type->value_types[0] | WASM_NON_NULL;
    }
    if (err == ERR_OK && !map_set(&groups, own_key, key_bytes, group))
        err = ERR_MEMORY;
    if (err != ERR_OK) {
        for (uint32_t i = 0; i < group->count; i++)
            if (group->types[i]->value_types[0])
                free_numbers.items[free_numbers.count++] =
                    group->types[i]->value_types[0] >> WASM_TYPE_NUMBER_SHIFT;
        group_free(group);
        return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct wasm_type_decl *decl = &decls[i];
        fill_type(group, group->types[i], decl);
        mention(group, decl->super);
        for (uint32_t k = 0; k < decl->func.param_count; k++)
            mention(group, decl->func.params[k]);
        for (uint32_t k = 0; k < decl->func.result_count; k++)
            mention(group, decl->func.results[k]);
        for (uint32_t k = 0; k < decl->field_count; k++)
            mention(group, decl->fields[k].type);
    }
    for (uint32_t i = 0; i < group->mention_count; i++)
        group->mentions[i]->refs++;
    *out = group;
    return ERR_OK;
}

/* Under the lock. */
static void clear_when_empty(void)
{
    if (groups.count > 0)
        return;
    map_deinit(&groups);
    vec_free(NULL, &free_numbers);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks && chunks[i]; i++) {
        mem_free(NULL, chunks[i]);
        chunks[i] = NULL;
    }
    number_count = 0;
}

enum err wasm_types_intern(const struct wasm_type_decl *decls, uint32_t count,
                           const struct wasm_def_type **out)
{
    struct words key = {0};
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count; i++)
        if (!put_decl(&key, &decls[i])) {
            vec_free(NULL, &key);
            return ERR_MEMORY;
        }
    pthread_mutex_lock(&lock);
    struct wasm_type_group *group =
        map_find(&groups, key.items, key.count * sizeof *key.items);
    if (!group)
        err = make_group(decls, count, &key, &group);
    if (err == ERR_OK) {
        group->refs++;
        for (uint32_t i = 0; i < count; i++)
            out[i] = group->types[i];
    } else {
        clear_when_empty();
    }
    pthread_mutex_unlock(&lock);
    vec_free(NULL, &key);
    return err;
}

void wasm_type_release(struct wasm_type_group *group)
{
    pthread_mutex_lock(&lock);
    struct wasm_type_group *dead = NULL;
    if (--group->refs == 0)
        dead = group;
    while (dead) { /* a list and no recursion: chains of mentions are as long as somebody likes */
        struct wasm_type_group *next = dead->next_dead;
        for (uint32_t i = 0; i < dead->mention_count; i++)
            if (--dead->mentions[i]->refs == 0) {
                dead->mentions[i]->next_dead = next;
                next = dead->mentions[i];
            }
        CHECK(map_take(&groups, dead->key, dead->key_bytes) == dead);
        for (uint32_t i = 0; i < dead->count; i++)
            free_numbers.items[free_numbers.count++] =
                dead->types[i]->value_types[0] >> WASM_TYPE_NUMBER_SHIFT;
        group_free(dead);
        dead = next;
    }
    clear_when_empty();
    pthread_mutex_unlock(&lock);
}
