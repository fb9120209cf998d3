/* Objects: making, filling and copying them, for instructions, constant expressions and the
 * embedder. Reads and writes of single fields are instructions of their own (ops.def). */
#include <string.h>

#include "engine/base/mem.h"
#include "interp/wasm/slow.h"

/* ---- values ------------------------------------------------------------------------------ */

uint32_t wasm_field_slots(uint32_t type)
{
    return type == WASM_V128 ? 2 : 1;
}

void wasm_field_write(uint32_t type, uint8_t *to, const union wasm_value *from)
{
    memcpy(to, from, wasm_type_storage_bytes(type)); /* little-endian, as guests are */
}

void wasm_field_read(uint32_t type, const uint8_t *from, union wasm_value *to)
{
    to->i64 = 0;
    memcpy(to, from, wasm_type_storage_bytes(type));
}

/* ---- making ------------------------------------------------------------------------------ */

void *wasm_struct_make(struct wasm_store *store, const struct wasm_def_type *type,
                       const union wasm_value *cells)
{
    uint8_t *object = wasm_heap_alloc(store, type, type->bytes);
    if (!object)
        return NULL;
    if (!cells) {
        memset(object + sizeof(struct wasm_object), 0, type->bytes - sizeof(struct wasm_object));
        return object;
    }
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct wasm_field *field = &type->fields[i];
        switch (wasm_type_storage_bytes(field->type)) {
        case 8:
            memcpy(object + field->offset, cells, 8);
            break;
        case 4:
            memcpy(object + field->offset, cells, 4);
            break;
        default:
            wasm_field_write(field->type, object + field->offset, cells);
        }
        cells += wasm_field_slots(field->type);
    }
    return object;
}

struct wasm_array *wasm_array_make(struct wasm_store *store, const struct wasm_def_type *type,
                                   uint32_t length)
{
    struct wasm_array *array = wasm_heap_alloc(
        store, type, sizeof *array + (uint64_t)length * type->bytes);
    if (array)
        array->length = length;
    return array;
}

static uint8_t *element(struct wasm_array *array, uint32_t index)
{
    return array->items + (uint64_t)index * array->type->bytes;
}

void wasm_array_fill(struct wasm_array *array, uint32_t at, uint32_t count,
                     const union wasm_value *value)
{
    uint32_t bytes = array->type->bytes;
    uint8_t *to = element(array, at);
    if (count == 0)
        return;
    if (!value) {
        memset(to, 0, (uint64_t)count * bytes);
    } else if (bytes == 1) {
        memset(to, (int)(value->i32 & 0xFF), count);
    } else {
        for (uint64_t i = 0; i < count; i++)
            memcpy(to + i * bytes, value, bytes);
    }
}

/* ---- between hierarchies ------------------------------------------------------------------- */

bool wasm_ref_internalize(struct wasm_store *store, union wasm_value *ref)
{
    if (!ref->ref || wasm_ref_is_i31(ref->i64) || wasm_heap_has(&store->objects, ref->i64))
        return true;
    void *host = ref->ref;
    struct wasm_host_object *object =
        wasm_heap_alloc(store, &wasm_host_object_type, sizeof *object);
    if (!object)
        return false;
    object->ref = host;
    ref->ref = object;
    return true;
}

void wasm_ref_externalize(union wasm_value *ref)
{
    if (!ref->ref || wasm_ref_is_i31(ref->i64))
        return;
    const struct wasm_host_object *object = ref->ref;
    if (object->type == &wasm_host_object_type)
        ref->ref = object->ref;
}

/* ---- instructions ------------------------------------------------------------------------ */

static const struct wasm_def_type *type_at(const struct wasm_regs *g)
{
    return g->x->types[index1(g)];
}

/* The guest's live values end behind its `slots` operands: what follows may collect. */
static void before_allocation(struct wasm_regs *g, uint32_t slots)
{
    g->x->live_end = operands(g) + slots;
}

static int made(struct wasm_regs *g, void *object, uint64_t bytes)
{
    if (!object)
        return trap(g, TRAP_OUT_OF_MEMORY);
    charge(g, bytes);
    g->R[g->p[1].c].ref = object;
    return next(g, 3);
}

static int made_array(struct wasm_regs *g, struct wasm_array *array)
{
    return made(g, array, array ? (uint64_t)array->length * array->type->bytes : 0);
}

int slow_struct_new(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    before_allocation(g, index2(g));
    return made(g, wasm_struct_make(g->x->store, type, operands(g)), type->bytes);
}

int slow_struct_new_default(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    before_allocation(g, 0);
    return made(g, wasm_struct_make(g->x->store, type, NULL), type->bytes);
}

int slow_array_new(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    const union wasm_value *value = operands(g);
    uint32_t slots = wasm_field_slots(type->fields[0].type);
    before_allocation(g, slots + 1);
    struct wasm_array *array = wasm_array_make(g->x->store, type, value[slots].i32);
    if (array)
        wasm_array_fill(array, 0, array->length, value);
    return made_array(g, array);
}

int slow_array_new_default(struct wasm_regs *g)
{
    before_allocation(g, 1);
    struct wasm_array *array = wasm_array_make(g->x->store, type_at(g), operands(g)->i32);
    if (array)
        wasm_array_fill(array, 0, array->length, NULL);
    return made_array(g, array);
}

int slow_array_new_fixed(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    uint32_t count = index2(g), slots = wasm_field_slots(type->fields[0].type);
    before_allocation(g, count * slots);
    struct wasm_array *array = wasm_array_make(g->x->store, type, count);
    if (array)
        for (uint32_t i = 0; i < count; i++)
            wasm_field_write(type->fields[0].type, element(array, i),
                             operands(g) + (uint64_t)i * slots);
    return made_array(g, array);
}

/* The bytes of a data segment from `at` for `count` elements; false when they do not lie there. */
static bool data_bytes(const struct wasm_regs *g, uint32_t at, uint32_t count,
                       uint32_t element_bytes, const uint8_t **bytes)
{
    const struct wasm_instance *instance = g->x->instance;
    const struct wasm_data_def *data = &instance->module->datas[index2(g)];
    if (!fits(at, (uint64_t)count * element_bytes,
              instance->data_dropped[index2(g)] ? 0 : data->bytes))
        return false;
    *bytes = data->data + at;
    return true;
}

int slow_array_new_data(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    const union wasm_value *o = operands(g);
    const uint8_t *from;
    if (!data_bytes(g, o[0].i32, o[1].i32, type->bytes, &from))
        return trap(g, TRAP_MEMORY);
    before_allocation(g, 0);
    struct wasm_array *array = wasm_array_make(g->x->store, type, o[1].i32);
    if (array && array->length > 0)
        memcpy(array->items, from, (uint64_t)array->length * type->bytes);
    return made_array(g, array);
}

int slow_array_new_elem(struct wasm_regs *g)
{
    const union wasm_value *o = operands(g);
    struct wasm_instance *instance = g->x->instance;
    if (!fits(o[0].i32, o[1].i32, wasm_instance_elem_count(instance, index2(g))))
        return trap(g, TRAP_TABLE);
    before_allocation(g, 0);
    struct wasm_array *array = wasm_array_make(g->x->store, type_at(g), o[1].i32);
    if (array && !wasm_instance_elements(instance, index2(g), o[0].i32, array->length,
                                         (void **)(void *)array->items))
        array = NULL;
    return made_array(g, array);
}

int slow_array_fill(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    union wasm_value *o = operands(g);
    uint32_t slots = wasm_field_slots(type->fields[0].type);
    struct wasm_array *array = o[0].ref;
    if (!array)
        return trap(g, TRAP_NULL_ARRAY);
    uint32_t at = o[1].i32, count = o[2 + slots].i32;
    if (!fits(at, count, array->length))
        return trap(g, TRAP_ARRAY);
    uint32_t done = (uint32_t)piece(g, count, type->bytes);
    wasm_array_fill(array, at, done, &o[2]);
    o[1].i32 = at + done;
    o[2 + slots].i32 = count - done;
    return bulk_done(g, done, count, type->bytes);
}

int slow_array_copy(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    union wasm_value *o = operands(g);
    struct wasm_array *to = o[0].ref, *from = o[2].ref;
    if (!to || !from)
        return trap(g, TRAP_NULL_ARRAY);
    uint32_t count = o[4].i32;
    if (!fits(o[1].i32, count, to->length) || !fits(o[3].i32, count, from->length))
        return trap(g, TRAP_ARRAY);
    /* The last piece first when the first would overwrite what is still to be read. */
    uint32_t done = (uint32_t)piece(g, count, type->bytes);
    bool is_backwards = to == from && o[1].i32 > o[3].i32;
    uint32_t offset = is_backwards ? count - done : 0;
    if (done > 0)
        memmove(element(to, o[1].i32 + offset), element(from, o[3].i32 + offset),
                (uint64_t)done * type->bytes);
    o[1].i32 += is_backwards ? 0 : done;
    o[3].i32 += is_backwards ? 0 : done;
    o[4].i32 = count - done;
    return bulk_done(g, done, count, type->bytes);
}

int slow_array_init_data(struct wasm_regs *g)
{
    const struct wasm_def_type *type = type_at(g);
    union wasm_value *o = operands(g);
    struct wasm_array *array = o[0].ref;
    const uint8_t *from;
    if (!array)
        return trap(g, TRAP_NULL_ARRAY);
    uint32_t count = o[3].i32;
    if (!fits(o[1].i32, count, array->length))
        return trap(g, TRAP_ARRAY);
    if (!data_bytes(g, o[2].i32, count, type->bytes, &from))
        return trap(g, TRAP_MEMORY);
    uint32_t done = (uint32_t)piece(g, count, type->bytes);
    if (done > 0)
        memcpy(element(array, o[1].i32), from, (uint64_t)done * type->bytes);
    o[1].i32 += done;
    o[2].i32 += done * type->bytes;
    o[3].i32 = count - done;
    return bulk_done(g, done, count, type->bytes);
}

int slow_array_init_elem(struct wasm_regs *g)
{
    union wasm_value *o = operands(g);
    struct wasm_array *array = o[0].ref;
    if (!array)
        return trap(g, TRAP_NULL_ARRAY);
    uint32_t count = o[3].i32;
    if (!fits(o[1].i32, count, array->length))
        return trap(g, TRAP_ARRAY);
    if (!fits(o[2].i32, count, wasm_instance_elem_count(g->x->instance, index2(g))))
        return trap(g, TRAP_TABLE);
    uint32_t done = (uint32_t)piece(g, count, sizeof(void *));
    if (!wasm_instance_elements(g->x->instance, index2(g), o[2].i32, done,
                                (void **)(void *)element(array, o[1].i32)))
        return trap(g, TRAP_OUT_OF_MEMORY);
    o[1].i32 += done;
    o[2].i32 += done;
    o[3].i32 = count - done;
    return bulk_done(g, done, count, sizeof(void *));
}

int slow_any_convert_extern(struct wasm_regs *g)
{
    union wasm_value ref = *operands(g);
    before_allocation(g, 1);
    if (!wasm_ref_internalize(g->x->store, &ref))
        return trap(g, TRAP_OUT_OF_MEMORY);
    g->R[g->p[1].c] = ref;
    return next(g, 3);
}

int slow_extern_convert_any(struct wasm_regs *g)
{
    union wasm_value ref = *operands(g);
    wasm_ref_externalize(&ref);
    g->R[g->p[1].c] = ref;
    return next(g, 3);
}

/* ---- the embedder's ---------------------------------------------------------------------- */

static uint64_t bits_of(const void *ref)
{
    return (uintptr_t)ref;
}

enum wasm_ref_kind wasm_ref_kind(const void *ref)
{
    if (!ref)
        return WASM_REF_NULL;
    if (wasm_ref_is_i31(bits_of(ref)))
        return WASM_REF_I31;
    switch (((const struct wasm_object *)ref)->type->kind) {
    case WASM_DEF_STRUCT: return WASM_REF_STRUCT;
    case WASM_DEF_ARRAY: return WASM_REF_ARRAY;
    default: return WASM_REF_HOST;
    }
}

void *wasm_ref_make_i31(int32_t value)
{
    return (void *)(uintptr_t)wasm_ref_of_i31((uint32_t)value);
}

int32_t wasm_ref_get_i31(const void *ref)
{
    return (int32_t)(uint32_t)bits_of(ref) >> 1;
}

void *wasm_ref_from_extern(struct wasm_store *store, void *ref)
{
    union wasm_value value = {.ref = ref};
    return wasm_ref_internalize(store, &value) ? value.ref : NULL;
}

void *wasm_ref_to_extern(void *ref)
{
    union wasm_value value = {.ref = ref};
    wasm_ref_externalize(&value);
    return value.ref;
}

uint32_t wasm_object_count(const void *ref)
{
    switch (wasm_ref_kind(ref)) {
    case WASM_REF_STRUCT: return ((const struct wasm_object *)ref)->type->field_count;
    case WASM_REF_ARRAY: return ((const struct wasm_array *)ref)->length;
    default: return 0;
    }
}

/* The field or element at an index below the count, and where it lies. */
static const struct wasm_field *part(const void *ref, uint32_t index, uint64_t *offset)
{
    const struct wasm_def_type *type = ((const struct wasm_object *)ref)->type;
    const struct wasm_field *field = &type->fields[type->kind == WASM_DEF_ARRAY ? 0 : index];
    *offset = type->kind == WASM_DEF_ARRAY ? field->offset + (uint64_t)index * type->bytes
                                           : field->offset;
    return field;
}

bool wasm_object_get(const void *ref, uint32_t index, uint32_t *type, union wasm_value value[2])
{
    uint64_t offset;
    if (index >= wasm_object_count(ref))
        return false;
    const struct wasm_field *field = part(ref, index, &offset);
    *type = field->type == WASM_I8 || field->type == WASM_I16 ? (uint32_t)WASM_I32 : field->type;
    wasm_field_read(field->type, (const uint8_t *)ref + offset, value);
    return true;
}

bool wasm_object_set(void *ref, uint32_t index, const union wasm_value value[2])
{
    uint64_t offset;
    if (index >= wasm_object_count(ref))
        return false;
    const struct wasm_field *field = part(ref, index, &offset);
    if (!field->mutable_)
        return false;
    wasm_field_write(field->type, (uint8_t *)ref + offset, value);
    return true;
}

struct wasm_root *wasm_root_create(struct wasm_store *store, void *ref)
{
    struct wasm_root *root = mem_alloc(&store->heap, sizeof *root);
    if (!root)
        return NULL;
    *root = (struct wasm_root){.store = store, .next = store->roots, .ref = ref};
    if (store->roots)
        store->roots->previous = root;
    store->roots = root;
    return root;
}

void *wasm_root_ref(const struct wasm_root *root)
{
    return root->ref;
}

void wasm_root_destroy(struct wasm_root *root)
{
    if (!root)
        return;
    if (root->previous)
        root->previous->next = root->next;
    else
        root->store->roots = root->next;
    if (root->next)
        root->next->previous = root->previous;
    mem_free(&root->store->heap, root);
}

void wasm_store_collect(struct wasm_store *store)
{
    wasm_heap_collect(store);
}

uint64_t wasm_store_object_bytes(const struct wasm_store *store)
{
    return store->objects.bytes;
}
