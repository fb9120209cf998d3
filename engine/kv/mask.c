/* Attention masks of the lineage, and what hangs on them. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/kv/inner.h"

uint32_t kv_mask_last(struct kv_mask mask, uint32_t end)
{
    uint64_t at = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < mask.count && at < end; i++) {
        at += mask.runs[i];
        if ((i & 1) && mask.runs[i] > 0)
            last = at < end ? (uint32_t)at : end;
    }
    return last;
}

uint32_t kv_mask_canonical(struct kv_mask mask, uint32_t end, uint32_t *runs)
{
    uint32_t at = 0, count = 0, length = 0;
    bool ones = false; /* the run of `length` that is not written yet */
    for (uint32_t i = 0; i < mask.count && at < end; i++) {
        uint32_t run = mask.runs[i] < end - at ? mask.runs[i] : end - at;
        at += run;
        if (run == 0)
            continue;
        if (ones != (bool)(i & 1)) {
            if (runs != NULL)
                runs[count] = length;
            count++;
            ones = !ones;
            length = 0;
        }
        length += run;
    }
    if (!ones && count > 0)
        return count; /* trailing zeros are implied */
    if (runs != NULL)
        runs[count] = ones ? length : 1;
    return count + 1;
}

struct kv_extra *kv_extra_ref(struct kv_extra *extra)
{
    if (extra != NULL)
        extra->refs++;
    return extra;
}

void kv_extra_unref(struct kv_extra *extra)
{
    if (extra != NULL && --extra->refs == 0)
        mem_free(NULL, extra);
}

bool kv_extra_equal(const struct kv_extra *a, const struct kv_extra *b)
{
    if (a == b)
        return true;
    if (a == NULL || b == NULL)
        return false;
    return a->glued == b->glued && a->ahead == b->ahead && a->adapter_id == b->adapter_id &&
           a->adapter_seed == b->adapter_seed && a->run_count == b->run_count &&
           memcmp(a->runs, b->runs, (size_t)a->run_count * sizeof a->runs[0]) == 0;
}

struct kv_extra *kv_extra_cut(const struct kv_extra *extra, uint32_t end)
{
    struct kv_mask mask = {extra->runs, extra->run_count};
    uint32_t run_count = kv_mask_canonical(mask, end, NULL);
    struct kv_extra *cut = mem_alloc(NULL, sizeof *cut + (size_t)run_count * sizeof(uint32_t));
    if (cut == NULL)
        return NULL;
    *cut = *extra;
    cut->refs = 1;
    cut->ahead = kv_mask_last(mask, end); /* may name a row that is not ahead: harmless */
    cut->run_count = run_count;
    kv_mask_canonical(mask, end, cut->runs);
    return cut;
}

uint32_t kv_rows_span(const struct kv_rows *rows, uint32_t begin)
{
    uint32_t end = begin + rows->count, reach = 0, group = 0, longest = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        group = reach > begin + i ? group + 1 : 1;
        if (group > longest)
            longest = group;
        if (i < rows->mask_count) {
            uint32_t last = kv_mask_last(rows->masks[i], end);
            if (last > reach)
                reach = last;
        }
    }
    return longest;
}

/* The extra of row `i`, NULL when it needs none; false when memory is out. */
static bool extra_make(const struct kv_rows *rows, uint32_t i, uint32_t begin, bool glued,
                       struct kv_extra *before, struct kv_extra **extra)
{
    uint32_t own = begin + i, end = begin + rows->count, run_count = 0, last = 0;
    *extra = NULL;
    if (i < rows->mask_count && rows->masks[i].count > 0) {
        run_count = kv_mask_canonical(rows->masks[i], end, NULL);
        last = kv_mask_last(rows->masks[i], end);
        if (run_count == 2 && last == own + 1) {
            /* [0, own + 1] says what no mask says: the same page must be the same node. */
            uint32_t two[2];
            kv_mask_canonical(rows->masks[i], end, two);
            if (two[0] == 0)
                run_count = 0;
        }
    }
    bool adapted = rows->adapter_id != -1 || rows->adapter_seed != -1;
    if (run_count == 0 && !glued && !adapted)
        return true;
    if (run_count == 0 && before != NULL && before->run_count == 0 && before->glued == glued &&
        before->adapter_id == rows->adapter_id && before->adapter_seed == rows->adapter_seed) {
        /* Rows in a line with the same adapter share one. */
        *extra = kv_extra_ref(before);
        return true;
    }
    struct kv_extra *made = mem_alloc(NULL, sizeof *made + (size_t)run_count * sizeof(uint32_t));
    if (made == NULL)
        return false;
    *made = (struct kv_extra){.refs = 1, .glued = glued, .ahead = last > own + 1 ? last : 0,
                              .adapter_id = rows->adapter_id,
                              .adapter_seed = rows->adapter_seed, .run_count = run_count};
    if (run_count > 0)
        kv_mask_canonical(rows->masks[i], end, made->runs);
    *extra = made;
    return true;
}

enum err kv_stage(struct kv_context *context, const struct kv_rows *rows)
{
    CHECK(!context->passing && rows->count > 0);
    uint32_t begin = kv_length(context);
    uint64_t capacity = (uint64_t)(context->committed + context->working) *
                        context->pool->page_tokens;
    CHECK(begin + (uint64_t)rows->count <= capacity && rows->mask_count <= rows->count);
    if (!vec_reserve(NULL, &context->tokens, rows->count))
        return ERR_MEMORY;

    struct kv_token *tokens = context->tokens.items + context->tokens.count;
    struct kv_extra *before = NULL;
    uint32_t reach = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        struct kv_extra *extra;
        if (!extra_make(rows, i, begin, reach > begin + i, before, &extra)) {
            for (uint32_t k = 0; k < i; k++)
                kv_extra_unref(tokens[k].extra);
            return ERR_MEMORY;
        }
        if (extra != NULL && extra->ahead > reach)
            reach = extra->ahead;
        tokens[i] = (struct kv_token){rows->tokens[i], rows->positions[i], extra};
        before = extra;
    }
    context->tokens.count += rows->count;
    context->staged = rows->count;
    context->passing = true;
    context->prepared = false;
    return ERR_OK;
}
