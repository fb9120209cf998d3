#include "interp/component/component.h"

struct comp_value comp_bool(bool value)
{
    return (struct comp_value){.kind = COMP_BOOL, .of.boolean = value};
}

struct comp_value comp_u32(uint32_t value)
{
    return (struct comp_value){.kind = COMP_U32, .of.u = value};
}

struct comp_value comp_u64(uint64_t value)
{
    return (struct comp_value){.kind = COMP_U64, .of.u = value};
}

struct comp_value comp_f32(float value)
{
    return (struct comp_value){.kind = COMP_F32, .of.f32 = value};
}

struct comp_value comp_f64(double value)
{
    return (struct comp_value){.kind = COMP_F64, .of.f64 = value};
}

struct comp_value comp_string(const char *data, size_t bytes)
{
    return (struct comp_value){.kind = COMP_STRING, .of.string = {.data = data, .bytes = bytes}};
}

struct comp_value comp_list_packed(const void *data, size_t count)
{
    return (struct comp_value){.kind = COMP_LIST, .of.list = {.data = data, .count = count}};
}

struct comp_value comp_items(enum comp_kind kind, struct comp_value *items, size_t count)
{
    return (struct comp_value){.kind = kind, .of.list = {.items = items, .count = count}};
}

struct comp_value comp_own(void *rep)
{
    return (struct comp_value){.kind = COMP_OWN, .of.rep = rep};
}

struct comp_value comp_none(void)
{
    return (struct comp_value){.kind = COMP_OPTION};
}

static bool make_case(struct arena *arena, enum comp_kind kind, uint32_t index,
                      const struct comp_value *payload, struct comp_value *out)
{
    struct comp_value *copy = NULL;
    if (payload) {
        copy = arena_alloc(arena, sizeof *copy);
        if (!copy)
            return false;
        *copy = *payload;
    }
    *out = (struct comp_value){.kind = kind, .of.variant = {.index = index, .payload = copy}};
    return true;
}

bool comp_some(struct arena *arena, struct comp_value payload, struct comp_value *out)
{
    return make_case(arena, COMP_OPTION, 1, &payload, out);
}

bool comp_ok(struct arena *arena, const struct comp_value *payload, struct comp_value *out)
{
    return make_case(arena, COMP_RESULT, 0, payload, out);
}

bool comp_error(struct arena *arena, const struct comp_value *payload, struct comp_value *out)
{
    return make_case(arena, COMP_RESULT, 1, payload, out);
}

bool comp_variant(struct arena *arena, uint32_t index, const struct comp_value *payload,
                  struct comp_value *out)
{
    return make_case(arena, COMP_VARIANT, index, payload, out);
}
