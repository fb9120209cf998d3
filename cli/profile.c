#include "cli/profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/vec.h"

enum {
    SLICE_MIN = 64,
    SAMPLES_PER_DOUBLING = 10000,
    FRAMES_MAX = 10000, /* looked at in one sample */
};

bool profile_init(struct profile *profile)
{
    arena_init(&profile->arena, NULL);
    map_init(&profile->by_func, NULL);
    profile->slice = SLICE_MIN;
    profile->frames = arena_calloc(&profile->arena, FRAMES_MAX, sizeof *profile->frames);
    return profile->frames != NULL;
}

void profile_deinit(struct profile *profile)
{
    vec_free(NULL, &profile->entries);
    vec_free(NULL, &profile->modules);
    map_deinit(&profile->by_func);
    arena_deinit(&profile->arena);
}

uint64_t profile_slice(struct profile *profile)
{
    if (profile->draws > 0 && profile->draws % SAMPLES_PER_DOUBLING == 0)
        profile->slice *= 2;
    profile->draws++;
    /* Half to one and a half, scattered by the golden ratio. */
    uint64_t part = (profile->draws * UINT64_C(0x9E3779B97F4A7C15)) >> 48;
    return profile->slice / 2 + (profile->slice * part >> 16);
}

static struct profile_entry *entry_of(struct profile *profile, const struct wasm_frame *frame)
{
    struct {
        struct wasm_module *module;
        uint64_t func;
    } key = {frame->module, frame->func_index};
    struct profile_entry *entry = map_find(&profile->by_func, &key, sizeof key);
    if (entry)
        return entry;
    uint32_t number = 0;
    while (number < profile->modules.count && profile->modules.items[number] != frame->module)
        number++;
    if (number == profile->modules.count && !vec_push(NULL, &profile->modules, frame->module))
        return NULL;
    entry = arena_calloc(&profile->arena, 1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->module = frame->module;
    entry->module_number = number;
    entry->func_index = frame->func_index;
    entry->name = wasm_module_func_name(frame->module, frame->func_index);
    return vec_push(NULL, &profile->entries, entry) &&
                   map_set(&profile->by_func, &key, sizeof key, entry)
               ? entry : NULL;
}

bool profile_sample(struct profile *profile, const struct wasm_thread *thread)
{
    uint64_t fuel = wasm_thread_fuel_used(thread), used = fuel - profile->seen;
    uint32_t count = wasm_thread_stack(thread, profile->frames, FRAMES_MAX);
    bool is_innermost = true;
    if (count == 0)
        return true; /* nothing runs: the next sample takes this one's fuel along */
    profile->seen = fuel;
    profile->samples++;
    profile->is_truncated |= count == FRAMES_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (!profile->frames[i].module)
            continue;
        struct profile_entry *entry = entry_of(profile, &profile->frames[i]);
        if (!entry)
            return false;
        if (is_innermost) {
            entry->self += used;
            profile->used += used;
        }
        if (entry->last_sample != profile->samples)
            entry->total += used;
        entry->last_sample = profile->samples;
        is_innermost = false;
    }
    return true;
}

static int by_self(const void *left, const void *right)
{
    const struct profile_entry *a = *(struct profile_entry *const *)left;
    const struct profile_entry *b = *(struct profile_entry *const *)right;
    if (a->self != b->self)
        return a->self < b->self ? 1 : -1;
    if (a->total != b->total)
        return a->total < b->total ? 1 : -1;
    if (a->module_number != b->module_number)
        return a->module_number < b->module_number ? -1 : 1;
    return a->func_index < b->func_index ? -1 : a->func_index > b->func_index;
}

static void put_json(const struct profile *profile, uint64_t fuel, size_t top, struct buf *out)
{
    (void)buf_printf(out, "{\"fuel\":%" PRIu64 ",\"sampled\":%" PRIu64 ",\"samples\":%" PRIu64
                          ",\"functions\":[", fuel, profile->used, profile->samples);
    for (size_t i = 0; i < top; i++) {
        const struct profile_entry *entry = profile->entries.items[i];
        (void)buf_printf(out, "%s{\"module\":%u,\"func\":%u,\"name\":", i ? "," : "",
                         entry->module_number, entry->func_index);
        if (entry->name)
            (void)buf_put_json(out, entry->name, strlen(entry->name));
        else
            (void)buf_puts(out, "null");
        (void)buf_printf(out, ",\"self\":%" PRIu64 ",\"total\":%" PRIu64 "}", entry->self,
                         entry->total);
    }
    (void)buf_puts(out, "]}\n");
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

bool profile_print(struct profile *profile, uint64_t fuel, uint64_t top, bool json,
                   struct buf *out)
{
    size_t count = profile->entries.count;
    if (count > 0)
        qsort(profile->entries.items, count, sizeof *profile->entries.items, by_self);
    size_t shown = top < count ? (size_t)top : count;
    if (json) {
        put_json(profile, fuel, shown, out);
        return !out->failed;
    }
    (void)buf_printf(out, "%" PRIu64 " units of fuel, %" PRIu64 " samples\n\n"
                          "  self%%          self  total%%         total  function\n",
                     fuel, profile->samples);
    for (size_t i = 0; i < shown; i++) {
        const struct profile_entry *entry = profile->entries.items[i];
        (void)buf_printf(out, "%7.2f %13" PRIu64 " %7.2f %13" PRIu64 "  %s (func %u",
                         percent(entry->self, profile->used), entry->self,
                         percent(entry->total, profile->used), entry->total,
                         entry->name ? entry->name : "?", entry->func_index);
        if (profile->modules.count > 1)
            (void)buf_printf(out, " of module %u", entry->module_number);
        (void)buf_puts(out, ")\n");
    }
    if (shown < count)
        (void)buf_printf(out, "... and %zu more functions: --top N shows more\n", count - shown);
    if (profile->is_truncated)
        (void)buf_printf(out, "Calls further out than %d are in no total.\n", FRAMES_MAX);
    return !out->failed;
}
