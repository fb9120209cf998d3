/* links: engine/kv
 * Pages and contexts: upstream's texts, sharing, and random operations against a naive model that
 * knows what every page must hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/kv/kv.h"

/* ---- helpers ----------------------------------------------------------------------------- */

static struct kv_pool *pool_make(uint32_t pages, uint32_t page_tokens)
{
    struct kv_pool *pool;
    assert_int_equal(kv_pool_create(pages, page_tokens, &pool, NULL), ERR_OK);
    return pool;
}

static struct kv_context *context_make(struct kv_pool *pool)
{
    struct kv_context *context;
    assert_int_equal(kv_context_create(pool, &context), ERR_OK);
    return context;
}

static struct kv_context *fork_make(struct kv_context *context)
{
    struct kv_context *child;
    assert_int_equal(kv_context_fork(context, &child), ERR_OK);
    return child;
}

/* A whole causal pass; returns how many page copies it needed. */
static size_t feed(struct kv_context *context, const uint32_t *tokens, uint32_t count)
{
    uint32_t positions[256];
    assert_true(count <= 256);
    for (uint32_t i = 0; i < count; i++)
        positions[i] = kv_length(context) + i;
    struct kv_rows rows = {.tokens = tokens, .positions = positions, .count = count,
                           .adapter_id = -1, .adapter_seed = -1};
    struct kv_copies copies = {0};
    assert_int_equal(kv_stage(context, &rows), ERR_OK);
    assert_int_equal(kv_prepare(context, &copies), ERR_OK);
    kv_advance(context, kv_length(context) + count - kv_computed(context));
    kv_accept(context);
    size_t made = copies.count;
    vec_free(NULL, &copies);
    return made;
}

static const uint32_t WORDS[64] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};

/* ---- by hand ----------------------------------------------------------------------------- */

static void texts_are_upstreams(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(8, 4);
    struct kv_context *context = context_make(pool);
    struct report report = {0};
    assert_int_equal(kv_reserve(context, 2, &report), ERR_OK);
    assert_int_equal(kv_commit(context, 3, &report), ERR_INVALID);
    assert_string_equal(report.text, "commit: requested 3, have 2");
    feed(context, WORDS, 5);
    report = (struct report){0};
    assert_int_equal(kv_commit(context, 2, &report), ERR_INVALID);
    assert_string_equal(report.text, "commit: need 8 tokens, have 5");
    assert_int_equal(kv_commit(context, 1, NULL), ERR_OK);
    assert_int_equal(kv_commit(context, 0, NULL), ERR_OK);
    report = (struct report){0};
    assert_int_equal(kv_truncate(context, 2, &report), ERR_TRAP);
    assert_string_equal(report.text, "truncate count 2 out of range 0..=1");
    assert_int_equal(kv_truncate(context, 1, NULL), ERR_OK);
    report = (struct report){0};
    assert_int_equal(kv_release(context, 2, &report), ERR_TRAP);
    assert_string_equal(report.text, "release: requested 2, have 1");
    report = (struct report){0};
    assert_int_equal(kv_reserve(context, 7, &report), ERR_LIMIT);
    assert_int_equal(kv_reserve(context, UINT32_MAX, &report), ERR_LIMIT);

    /* Positions that do not grow cannot be committed. */
    uint32_t positions[4] = {4, 3, 6, 7};
    struct kv_rows rows = {.tokens = WORDS, .positions = positions, .count = 4,
                           .adapter_id = -1, .adapter_seed = -1};
    struct kv_copies copies = {0};
    assert_int_equal(kv_stage(context, &rows), ERR_OK);
    assert_int_equal(kv_prepare(context, &copies), ERR_OK);
    kv_advance(context, 4);
    kv_accept(context);
    report = (struct report){0};
    assert_int_equal(kv_commit(context, 1, &report), ERR_INVALID);
    assert_string_equal(report.text, "Position 3 must be > max committed position 3");
    vec_free(NULL, &copies);
    kv_pool_check(pool);
    kv_context_destroy(context);
    kv_pool_destroy(pool);
    struct kv_pool *none;
    assert_int_equal(kv_pool_create(0, 4, &none, &report), ERR_LIMIT);
    assert_int_equal(kv_pool_create(1u << 30, 4, &none, &report), ERR_LIMIT);
}

static void equal_pages_are_shared(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(32, 4);
    struct kv_context *a = context_make(pool), *b = context_make(pool);
    assert_int_equal(kv_reserve(a, 4, NULL), ERR_OK);
    assert_int_equal(kv_reserve(b, 4, NULL), ERR_OK);
    feed(a, WORDS, 10);
    feed(b, WORDS, 7);
    feed(b, WORDS + 7, 3); /* cut otherwise, the same history */
    assert_int_equal(kv_pool_stats(pool).pages_used, 6);
    assert_int_equal(kv_commit(a, 2, NULL), ERR_OK);
    assert_int_equal(kv_commit(b, 1, NULL), ERR_OK);
    assert_int_equal(kv_pool_stats(pool).pages_used, 5);
    assert_int_equal(kv_commit(b, 1, NULL), ERR_OK);
    assert_int_equal(kv_pool_stats(pool).pages_used, 4);
    assert_int_equal(kv_page_table(a, 2)[1], kv_page_table(b, 2)[1]);
    kv_pool_check(pool);

    /* The same second page behind another first one is another page. */
    struct kv_context *c = context_make(pool);
    assert_int_equal(kv_reserve(c, 2, NULL), ERR_OK);
    feed(c, WORDS + 1, 4);
    feed(c, WORDS + 4, 4);
    assert_int_equal(kv_commit(c, 2, NULL), ERR_OK);
    assert_int_equal(kv_pool_stats(pool).pages_used, 6);

    /* Who goes takes only what nobody else holds. */
    kv_context_destroy(a);
    assert_int_equal(kv_pool_stats(pool).pages_used, 5);
    kv_pool_check(pool);
    kv_context_destroy(b);
    kv_context_destroy(c);
    assert_int_equal(kv_pool_stats(pool).pages_used, 0);
    kv_pool_destroy(pool);
}

static void adapters_and_masks_are_part_of_the_history(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(32, 4);
    uint32_t positions[4] = {0, 1, 2, 3};
    uint32_t causal_runs[] = {0, 3}, clumsy_runs[] = {0, 1, 0, 2, 5}, other_runs[] = {1, 2};
    uint32_t none_runs[] = {9}, ahead_runs[] = {0, 4}, third_runs[] = {2, 1};
    struct kv_mask causal = {causal_runs, 2}, clumsy = {clumsy_runs, 5}, other = {other_runs, 2};
    struct kv_mask none = {none_runs, 1}, ahead = {ahead_runs, 2}, absent = {0};
    struct kv_mask third = {third_runs, 2};
    struct { struct kv_mask mask; int64_t adapter_id, adapter_seed; uint32_t pages; } cases[] = {
        {absent, -1, -1, 1}, {absent, -1, -1, 1}, {causal, -1, -1, 1}, {clumsy, -1, -1, 1},
        {other, -1, -1, 2}, {none, -1, -1, 3}, {ahead, -1, -1, 4}, {absent, 7, -1, 5},
        {absent, 8, -1, 6}, {absent, 7, 3, 7}, {absent, 7, -1, 7}, {other, -1, -1, 7},
        {ahead, -1, -1, 7}, {third, -1, -1, 8},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct kv_context *contexts[CASES];
    struct kv_copies copies = {0};
    for (size_t i = 0; i < CASES; i++) {
        contexts[i] = context_make(pool);
        assert_int_equal(kv_reserve(contexts[i], 1, NULL), ERR_OK);
        struct kv_mask masks[4] = {{0}, {0}, cases[i].mask, {0}};
        struct kv_rows rows = {.tokens = WORDS, .positions = positions, .count = 4,
                               .masks = masks, .mask_count = 4,
                               .adapter_id = cases[i].adapter_id,
                               .adapter_seed = cases[i].adapter_seed};
        assert_int_equal(kv_stage(contexts[i], &rows), ERR_OK);
        assert_int_equal(kv_prepare(contexts[i], &copies), ERR_OK);
        kv_advance(contexts[i], 4);
        kv_accept(contexts[i]);
        assert_int_equal(kv_commit(contexts[i], 1, NULL), ERR_OK);
        kv_pool_check(pool);
        assert_int_equal(kv_pool_stats(pool).pages_used, cases[i].pages);
    }
    for (size_t i = 0; i < CASES; i++)
        kv_context_destroy(contexts[i]);
    vec_free(NULL, &copies);
    kv_pool_destroy(pool);
}

static void forks_copy_on_write(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(16, 4);
    struct kv_context *a = context_make(pool);
    assert_int_equal(kv_reserve(a, 3, NULL), ERR_OK);
    feed(a, WORDS, 6);
    assert_int_equal(kv_commit(a, 1, NULL), ERR_OK);
    struct kv_context *b = fork_make(a), *c = fork_make(a);
    assert_int_equal(kv_pool_stats(pool).pages_used, 2);
    assert_int_equal(kv_pool_stats(pool).pages_shared, 4);
    assert_int_equal(kv_working_pages(b), 2);
    assert_int_equal(kv_working_tokens(b), 2);
    assert_int_equal(feed(b, WORDS, 1), 1); /* b's own copy */
    assert_int_equal(feed(a, WORDS, 1), 1);
    assert_int_equal(feed(c, WORDS, 1), 0); /* nobody else has it any more */
    assert_int_equal(feed(b, WORDS, 1), 0);
    kv_pool_check(pool);
    assert_int_equal(kv_pool_stats(pool).pages_used, 4);

    /* At a page's end nothing needs to be copied. */
    struct kv_context *d = fork_make(b);
    assert_int_equal(feed(d, WORDS, 1), 0);
    kv_context_destroy(a);
    kv_context_destroy(b);
    kv_context_destroy(c);
    kv_context_destroy(d);
    kv_pool_destroy(pool);
}

static void restore_shares_what_is_there(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(8, 4);
    struct kv_context *a = context_make(pool);
    assert_int_equal(kv_reserve(a, 5, NULL), ERR_OK);
    feed(a, WORDS, 14);
    assert_int_equal(kv_commit(a, 2, NULL), ERR_OK);
    struct kv_context *b = fork_make(a);
    kv_suspend(b);
    assert_false(kv_resident(b));
    assert_int_equal(kv_length(b), 14);
    /* What a guest may ask works without pages. */
    assert_int_equal(kv_truncate(b, 1, NULL), ERR_OK);
    assert_int_equal(kv_commit(b, 1, NULL), ERR_OK);
    struct kv_context *c = fork_make(b);
    assert_false(kv_resident(c));
    kv_pool_check(pool);

    struct kv_rows rows = {.tokens = WORDS, .positions = WORDS + 20, .count = 1,
                           .adapter_id = -1, .adapter_seed = -1};
    struct kv_copies copies = {0};
    assert_int_equal(kv_stage(b, &rows), ERR_OK);
    assert_int_equal(kv_need(b), 2); /* two of four are a's */
    assert_int_equal(kv_prepare(b, &copies), ERR_OK);
    assert_int_equal(kv_computed(b), 8);
    kv_advance(b, 4);
    kv_pool_check(pool);
    /* The third page is there for others as soon as it is computed. */
    assert_int_equal(kv_stage(c, &rows), ERR_OK);
    assert_int_equal(kv_need(c), 1);
    kv_advance(b, 2);
    kv_accept(b);
    /* And when a gets the same page by its own commit, one of the two goes. */
    assert_int_equal(kv_pool_stats(pool).pages_used, 6);
    assert_int_equal(kv_commit(a, 1, NULL), ERR_OK);
    assert_int_equal(kv_pool_stats(pool).pages_used, 5);
    kv_pool_check(pool);
    vec_free(NULL, &copies);
    kv_context_destroy(c);
    kv_context_destroy(b);
    kv_context_destroy(a);
    kv_pool_destroy(pool);
}

/* Snapshots outlive their maker, so what they copy is bounded for all of them together. */
static void snapshots_are_bounded(void **state)
{
    (void)state;
    enum { TOKENS = 250, TRIES = 5000 };
    struct kv_pool *pool = pool_make(64, 4);
    struct kv_context *context = context_make(pool);
    struct report report = {0};
    uint32_t tokens[TOKENS] = {0};
    char made[40], refused[40];
    assert_int_equal(kv_reserve(context, 63, NULL), ERR_OK);
    feed(context, tokens, TOKENS);
    assert_int_equal(kv_snapshot_save(context, "u", NULL, 0, made, NULL), ERR_OK);
    size_t count = 1;
    while (count < TRIES &&
           kv_snapshot_save(context, "u", NULL, 0, refused, &report) == ERR_OK)
        count++;
    assert_int_equal(count, kv_lineage_max(pool) / TOKENS);
    assert_int_equal(report.code, ERR_LIMIT);
    assert_non_null(strstr(report.text, "commit before saving"));
    assert_int_equal(kv_snapshot_delete(pool, "u", made, strlen(made), NULL), ERR_OK);
    assert_int_equal(kv_snapshot_save(context, "u", NULL, 0, made, NULL), ERR_OK);
    assert_int_equal(kv_commit(context, 62, NULL), ERR_OK);
    assert_int_equal(kv_snapshot_save(context, "u", NULL, 0, made, NULL), ERR_OK);
    kv_context_destroy(context);
    kv_pool_check(pool);
    kv_pool_destroy(pool);
}

static void snapshots(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(8, 4);
    struct kv_context *a = context_make(pool), *b;
    struct report report = {0};
    char made[40];
    assert_int_equal(kv_reserve(a, 2, NULL), ERR_OK);
    feed(a, WORDS, 6);
    assert_int_equal(kv_snapshot_save(a, "ann", "x", 1, NULL, NULL), ERR_OK);
    assert_int_equal(kv_snapshot_save(a, "ann", "x", 1, NULL, &report), ERR_INVALID);
    assert_string_equal(report.text, "Snapshot name already exists: x");
    assert_int_equal(kv_snapshot_save(a, "bob", "x", 1, NULL, NULL), ERR_OK);
    assert_int_equal(kv_snapshot_save(a, "ann", NULL, 0, made, NULL), ERR_OK);
    assert_memory_equal(made, "__snapshot_", 11);
    kv_context_destroy(a);
    assert_int_equal(kv_pool_stats(pool).snapshots, 3);
    assert_int_equal(kv_pool_stats(pool).contexts, 0);
    report = (struct report){0};
    assert_int_equal(kv_snapshot_open(pool, "ann", "y", 1, &b, &report), ERR_NOT_FOUND);
    assert_string_equal(report.text, "Snapshot not found");
    assert_int_equal(kv_snapshot_open(pool, "ann", "x", 1, &b, NULL), ERR_OK);
    assert_int_equal(kv_length(b), 6);
    assert_true(kv_resident(b));
    kv_pool_check(pool);
    /* Least recently used first: bob's, the one with the made name, and ann's. */
    assert_int_equal(kv_snapshot_delete(pool, "ann", made, strlen(made), NULL), ERR_OK);
    assert_true(kv_pool_evict_snapshot(pool));
    kv_context_destroy(b);
    assert_int_equal(kv_pool_stats(pool).pages_used, 2);
    assert_true(kv_pool_evict_snapshot(pool));
    assert_int_equal(kv_pool_stats(pool).pages_used, 0);
    assert_false(kv_pool_evict_snapshot(pool));
    assert_int_equal(kv_snapshot_open(pool, "bob", "x", 1, &b, NULL), ERR_OK);
    assert_false(kv_resident(b));
    assert_int_equal(kv_length(b), 6);
    kv_context_destroy(b);
    report = (struct report){0};
    assert_int_equal(kv_snapshot_delete(pool, "eve", "x", 1, &report), ERR_NOT_FOUND);
    assert_string_equal(report.text, "Snapshot not found");
    kv_pool_check(pool);
    kv_pool_destroy(pool);
}

static void looking_ahead_ties_rows_together(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(16, 4);
    struct kv_context *a = context_make(pool);
    assert_int_equal(kv_reserve(a, 4, NULL), ERR_OK);
    uint32_t positions[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    /* bits past the end do not count */
    uint32_t runs[] = {0, 7, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct kv_mask masks[10] = {{0}, {0}, {runs, 5}, {0}};
    struct kv_rows rows = {.tokens = WORDS, .positions = positions, .count = 10, .masks = masks,
                           .mask_count = 10, .adapter_id = -1, .adapter_seed = -1};
    assert_int_equal(kv_rows_span(&rows, 0), 5);  /* rows 2..6 */
    assert_int_equal(kv_rows_span(&rows, 5), 1);  /* there, row 2 is KV index 7 */
    assert_int_equal(kv_rows_span(&rows, 4), 1);
    assert_int_equal(kv_rows_span(&rows, 3), 2);
    struct kv_copies copies = {0};
    assert_int_equal(kv_stage(a, &rows), ERR_OK);
    assert_int_equal(kv_prepare(a, &copies), ERR_OK);
    assert_int_equal(kv_cut(a, 100), 10);
    assert_int_equal(kv_cut(a, 8), 8);
    assert_int_equal(kv_cut(a, 7), 7);
    assert_int_equal(kv_cut(a, 6), 2);
    assert_int_equal(kv_cut(a, 2), 2);
    kv_advance(a, 2);
    assert_int_equal(kv_cut(a, 4), 0);
    assert_int_equal(kv_cut(a, 5), 5);
    assert_true(kv_masked(a, 2, 1));
    assert_false(kv_masked(a, 3, 7));
    kv_advance(a, 8);
    kv_accept(a);

    /* Truncating what is looked at: the row sees less, and is computed again. */
    struct kv_context *b = fork_make(a);
    assert_int_equal(kv_truncate(b, 3, NULL), ERR_OK);
    assert_true(kv_resident(b));
    assert_int_equal(kv_truncate(b, 1, NULL), ERR_OK);
    assert_false(kv_resident(b));
    uint32_t token, position;
    struct kv_mask mask;
    kv_rows_get(b, 2, 1, &token, &position, &mask);
    assert_int_equal(mask.count, 2);
    assert_int_equal(mask.runs[0], 0);
    assert_int_equal(mask.runs[1], 6);
    kv_rows_get(a, 2, 1, &token, &position, &mask);
    assert_int_equal(mask.runs[1], 7);

    /* A page whose rows look past it belongs to nobody else, and what they see stays. */
    assert_int_equal(kv_commit(a, 1, NULL), ERR_OK);
    struct report report = {0};
    assert_int_equal(kv_truncate(a, 3, NULL), ERR_OK);
    assert_int_equal(kv_truncate(a, 1, &report), ERR_TRAP);
    assert_string_equal(report.text,
                        "truncate to 6 tokens: rows of committed pages look ahead to token 6");
    kv_pool_check(pool);
    vec_free(NULL, &copies);
    kv_context_destroy(a);
    kv_context_destroy(b);
    kv_pool_destroy(pool);
}

/* The first pages are alike, token by token and mask by mask, but what is in them is not: their
 * rows saw what comes behind. */
static void pages_that_look_past_themselves_are_not_shared(void **state)
{
    (void)state;
    struct kv_pool *pool = pool_make(16, 4);
    struct kv_context *contexts[2];
    struct kv_copies copies = {0};
    uint32_t positions[6] = {0, 1, 2, 3, 4, 5}, runs[] = {0, 6};
    for (uint32_t i = 0; i < 2; i++) {
        contexts[i] = context_make(pool);
        assert_int_equal(kv_reserve(contexts[i], 2, NULL), ERR_OK);
        uint32_t tokens[6] = {1, 2, 3, 4, 5, 6 + i};
        struct kv_mask masks[6] = {{0}, {runs, 2}};
        struct kv_rows rows = {.tokens = tokens, .positions = positions, .count = 6,
                               .masks = masks, .mask_count = 6,
                               .adapter_id = -1, .adapter_seed = -1};
        assert_int_equal(kv_stage(contexts[i], &rows), ERR_OK);
        assert_int_equal(kv_prepare(contexts[i], &copies), ERR_OK);
        kv_advance(contexts[i], 6);
        kv_accept(contexts[i]);
        assert_int_equal(kv_commit(contexts[i], 1, NULL), ERR_OK);
    }
    kv_pool_check(pool);
    assert_int_equal(kv_pool_stats(pool).pages_used, 4);
    vec_free(NULL, &copies);
    kv_context_destroy(contexts[0]);
    kv_context_destroy(contexts[1]);
    kv_pool_destroy(pool);
}

/* ---- random operations against a model ------------------------------------------------------ */

enum {
    PAGES = 20, PAGE_TOKENS = 4, ROWS = PAGES * PAGE_TOKENS,
    CONTEXTS = 10, NAMES = 4, OPERATIONS = 120000,
};

typedef unsigned __int128 bits;

struct row {
    uint32_t token, position;
    bits mask; /* what it sees */
    int64_t adapter;
};

struct twin {
    struct kv_context *kv; /* NULL: this place is free */
    struct row rows[ROWS];
    uint32_t count, committed, working, max_position, committed_ahead;
};

struct cell {
    uint64_t first, second;
};

struct world {
    struct kv_pool *pool;
    struct cell cells[PAGES][PAGE_TOKENS];
    struct twin twins[CONTEXTS];
    struct twin snapshots[NAMES]; /* kv is not used; count UINT32_MAX = none */
    struct kv_copies copies;
    uint64_t random;
    uint64_t passes, restores, failures;
};

static uint32_t pick(struct world *world, uint32_t below)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((world->random >> 33) % below);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    return a ^ a >> 29;
}

static bits low(uint32_t count)
{
    return count >= 128 ? ~(bits)0 : ((bits)1 << count) - 1;
}

static bool sees(const struct row *row, uint32_t index)
{
    return row->mask >> index & 1;
}

static uint64_t row_first(const struct row *row)
{
    return mix(mix(row->token, row->position), (uint64_t)row->adapter);
}

/* What must lie in the pages of these rows. */
static void truth(const struct row *rows, uint32_t count, struct cell *cells)
{
    for (uint32_t i = 0; i < count; i++)
        cells[i].first = row_first(&rows[i]);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < count; k++) {
            if (sees(&rows[i], k))
                sum += mix(cells[k].first, 1);
        }
        cells[i].second = mix(cells[i].first, sum);
    }
}

static struct cell *cell_at(struct world *world, const struct kv_context *kv, uint32_t index)
{
    const uint32_t *table = kv_page_table(kv, kv_pages_held(kv));
    return &world->cells[table[index / PAGE_TOKENS]][index % PAGE_TOKENS];
}

static void verify(struct world *world, const struct twin *twin)
{
    assert_int_equal(kv_committed_pages(twin->kv), twin->committed);
    assert_int_equal(kv_working_pages(twin->kv), twin->working);
    assert_int_equal(kv_length(twin->kv), twin->count);
    assert_int_equal(kv_working_tokens(twin->kv), twin->count - twin->committed * PAGE_TOKENS);
    if (!kv_resident(twin->kv))
        return;
    struct cell cells[ROWS];
    truth(twin->rows, twin->count, cells);
    for (uint32_t i = 0; i < twin->count; i++)
        assert_memory_equal(cell_at(world, twin->kv, i), &cells[i], sizeof cells[i]);
}

/* Computes `count` rows as a backend would: from what the call gives and the pages alone. */
static void compute(struct world *world, struct kv_context *kv, uint32_t count, int64_t *adapters)
{
    uint32_t from = kv_computed(kv), end = from + count;
    uint32_t tokens[ROWS], positions[ROWS];
    struct kv_mask masks[ROWS];
    int64_t told[ROWS];
    kv_rows_get(kv, from, count, tokens, positions, masks);
    bool adapted = kv_adapters_get(kv, from, count, told);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(adapted ? told[i] : -1, adapters[from + i]);
        struct row row = {tokens[i], positions[i], 0, adapters[from + i]};
        cell_at(world, kv, from + i)->first = row_first(&row);
    }
    for (uint32_t i = 0; i < count; i++) {
        bits mask = low(from + i + 1);
        if (masks[i].count > 0) {
            mask = 0;
            uint32_t at = 0;
            for (uint32_t k = 0; k < masks[i].count; k++) {
                if (k & 1)
                    mask |= low(at + masks[i].runs[k]) & ~low(at);
                at += masks[i].runs[k];
            }
        }
        uint64_t sum = 0;
        for (uint32_t k = 0; k < end; k++) {
            if (mask >> k & 1)
                sum += mix(cell_at(world, kv, k)->first, 1);
        }
        struct cell *cell = cell_at(world, kv, from + i);
        cell->second = mix(cell->first, sum);
    }
    kv_advance(kv, count);
}

struct job {
    struct twin *twin;
    struct row rows[ROWS]; /* the new ones */
    uint32_t count;
};

/* Makes a pass of random rows; false when there is no room. */
static bool job_make(struct world *world, struct twin *twin, struct job *job,
                     uint32_t runs[ROWS][8], struct kv_mask *masks, struct kv_rows *rows,
                     uint32_t *tokens, uint32_t *positions)
{
    uint32_t room = (twin->committed + twin->working) * PAGE_TOKENS - twin->count;
    if (room == 0)
        return false;
    job->twin = twin;
    job->count = 1 + pick(world, room < 9 ? room : 9);
    bool masked = pick(world, 4) == 0, ahead = pick(world, 2) == 0;
    int64_t adapter = pick(world, 6) == 0 ? (int64_t)pick(world, 2) : -1;
    uint32_t end = twin->count + job->count;
    for (uint32_t i = 0; i < job->count; i++) {
        uint32_t own = twin->count + i;
        job->rows[i] = (struct row){pick(world, 2), own + (pick(world, 30) == 0),
                                    low(own + 1), adapter};
        masks[i] = (struct kv_mask){0};
        if (masked && pick(world, 3) > 0) {
            /* up to eight runs; the last may run far past the end */
            uint32_t count = 1 + pick(world, 8), at = 0;
            bits mask = 0;
            for (uint32_t k = 0; k < count; k++) {
                uint32_t run = pick(world, 5) * pick(world, 5);
                if (!ahead && at + run > own + 1)
                    run = own + 1 - at;
                runs[i][k] = run;
                if (k & 1)
                    mask |= low(at + run) & ~low(at);
                at += run;
            }
            job->rows[i].mask = mask & low(end);
            masks[i] = (struct kv_mask){runs[i], count};
        }
        tokens[i] = job->rows[i].token;
        positions[i] = job->rows[i].position;
    }
    *rows = (struct kv_rows){.tokens = tokens, .positions = positions, .count = job->count,
                             .masks = masks, .mask_count = masked ? job->count : 0,
                             .adapter_id = adapter, .adapter_seed = -1};
    return true;
}

static void copies_run(struct world *world)
{
    for (size_t i = 0; i < world->copies.count; i++)
        memcpy(world->cells[world->copies.items[i].to], world->cells[world->copies.items[i].from],
               sizeof world->cells[0]);
    world->copies.count = 0;
}

static bool prepare(struct world *world, struct twin *twin, struct job *jobs, size_t job_count)
{
    for (;;) {
        enum err err = kv_prepare(twin->kv, &world->copies);
        if (err == ERR_OK)
            return true;
        if (err == ERR_MEMORY) {
            world->failures++;
            mem_fail_at(0);
            continue;
        }
        /* Takes pages from who is not at it; none left: this one does not run now. */
        if (kv_pool_evict_snapshot(world->pool))
            continue;
        struct twin *victim = NULL;
        for (size_t i = 0; i < CONTEXTS && victim == NULL; i++) {
            struct twin *other = &world->twins[i];
            bool busy = other->kv == NULL || kv_pages_held(other->kv) == 0 || other == twin;
            for (size_t k = 0; k < job_count; k++)
                busy = busy || jobs[k].twin == other;
            if (!busy)
                victim = other;
        }
        if (victim == NULL)
            return false;
        kv_suspend(victim->kv);
    }
}

/* A step of several contexts at once, in chunks, with interruptions. */
static void passes(struct world *world)
{
    struct job jobs[3];
    size_t job_count = 0;
    for (size_t i = 0; i < 3; i++) {
        struct twin *twin = &world->twins[pick(world, CONTEXTS)];
        bool taken = twin->kv == NULL;
        for (size_t k = 0; k < job_count; k++)
            taken = taken || jobs[k].twin == twin;
        uint32_t runs[ROWS][8], tokens[ROWS], positions[ROWS];
        struct kv_mask masks[ROWS];
        struct kv_rows rows;
        struct job *job = &jobs[job_count];
        if (taken || !job_make(world, twin, job, runs, masks, &rows, tokens, positions))
            continue;
        if (kv_stage(twin->kv, &rows) != ERR_OK) {
            world->failures++;
            mem_fail_at(0);
            continue;
        }
        assert_true(kv_rows_span(&rows, twin->count) <= job->count);
        if (!prepare(world, twin, jobs, job_count)) {
            kv_abandon(twin->kv, pick(world, 2) == 0);
            continue;
        }
        if (kv_computed(twin->kv) < twin->count)
            world->restores++;
        job_count++;
    }
    copies_run(world);
    mem_fail_at(0);
    kv_pool_check(world->pool);
    while (job_count > 0) {
        struct job *job = &jobs[pick(world, (uint32_t)job_count)];
        struct twin *twin = job->twin;
        int64_t adapters[ROWS];
        for (uint32_t i = 0; i < twin->count; i++)
            adapters[i] = twin->rows[i].adapter;
        for (uint32_t i = 0; i < job->count; i++)
            adapters[twin->count + i] = job->rows[i].adapter;
        uint32_t max = 1 + pick(world, 24), count;
        while ((count = kv_cut(twin->kv, max)) == 0)
            max++;
        compute(world, twin->kv, count, adapters);
        bool complete = kv_computed(twin->kv) == twin->count + job->count;
        uint32_t chance = pick(world, 40);
        if (chance == 0) {
            kv_abandon(twin->kv, pick(world, 2) == 0);
        } else if (complete) {
            kv_accept(twin->kv);
            memcpy(twin->rows + twin->count, job->rows, job->count * sizeof job->rows[0]);
            twin->count += job->count;
            world->passes++;
        } else {
            if (chance == 1) {
                /* A step failed: all pages of this one are gone in the middle of its pass. */
                kv_suspend(twin->kv);
                if (!prepare(world, twin, jobs, job_count)) {
                    kv_abandon(twin->kv, false);
                    complete = true;
                }
                copies_run(world);
            }
            if (!complete)
                continue;
        }
        verify(world, twin);
        *job = jobs[--job_count];
    }
}

static void twin_truncate(struct twin *twin, uint32_t count)
{
    twin->count = count;
    for (uint32_t i = 0; i < count; i++)
        twin->rows[i].mask &= low(count);
}

static uint32_t ahead_of(const struct twin *twin, uint32_t begin, uint32_t end)
{
    uint32_t most = 0;
    for (uint32_t i = begin; i < end; i++) {
        uint32_t last = 0;
        for (uint32_t k = i + 1; k < ROWS; k++) {
            if (sees(&twin->rows[i], k))
                last = k + 1;
        }
        if (last > most)
            most = last;
    }
    return most;
}

static void cut(struct world *world, struct twin *twin, bool release)
{
    uint32_t working_tokens = twin->count - twin->committed * PAGE_TOKENS;
    uint32_t amount = pick(world, (release ? twin->working : working_tokens) + 2);
    uint32_t keep = working_tokens;
    bool legal;
    enum err err;
    if (release) {
        legal = amount <= twin->working;
        if (legal && keep > (twin->working - amount) * PAGE_TOKENS)
            keep = (twin->working - amount) * PAGE_TOKENS;
        err = kv_release(twin->kv, amount, NULL);
    } else {
        legal = amount <= working_tokens;
        if (legal)
            keep = working_tokens - amount;
        err = kv_truncate(twin->kv, amount, NULL);
    }
    uint32_t count = twin->committed * PAGE_TOKENS + keep;
    if (legal && keep < working_tokens && twin->committed_ahead > count)
        legal = false;
    if (err == ERR_MEMORY) {
        world->failures++;
        return;
    }
    assert_int_equal(err, legal ? ERR_OK : ERR_TRAP);
    if (err == ERR_OK) {
        if (count < twin->count)
            twin_truncate(twin, count);
        if (release)
            twin->working -= amount;
    }
}

static void commit(struct world *world, struct twin *twin)
{
    uint32_t pages = pick(world, twin->working + 2), begin = twin->committed * PAGE_TOKENS;
    uint32_t end = begin + pages * PAGE_TOKENS, max = 0;
    bool legal = pages <= twin->working && end <= twin->count;
    for (uint32_t i = begin; legal && i < end; i++) {
        if (twin->committed > 0 && twin->rows[i].position <= twin->max_position)
            legal = false;
        if (twin->rows[i].position > max)
            max = twin->rows[i].position;
    }
    enum err err = kv_commit(twin->kv, pages, NULL);
    if (err == ERR_MEMORY) {
        world->failures++;
        return;
    }
    assert_int_equal(err, legal ? ERR_OK : ERR_INVALID);
    if (err != ERR_OK || pages == 0)
        return;
    uint32_t ahead = ahead_of(twin, begin, end);
    if (ahead > twin->committed_ahead)
        twin->committed_ahead = ahead;
    twin->committed += pages;
    twin->working -= pages;
    twin->max_position = max;
}

static void snapshot(struct world *world, struct twin *twin)
{
    static const char *names[NAMES] = {"a", "b", "", "dd"};
    uint32_t which = pick(world, NAMES);
    struct twin *saved = &world->snapshots[which];
    bool there = saved->count != UINT32_MAX;
    const char *name = names[which];
    enum err err;
    switch (pick(world, 3)) {
    case 0:
        if (twin->kv == NULL)
            return;
        err = kv_snapshot_save(twin->kv, "u", name, strlen(name), NULL, NULL);
        if (err == ERR_OK) {
            *saved = *twin;
            saved->kv = NULL;
        }
        break;
    case 1:
        if (twin->kv != NULL)
            return;
        err = kv_snapshot_open(world->pool, "u", name, strlen(name), &twin->kv, NULL);
        if (err == ERR_OK) {
            struct kv_context *kv = twin->kv;
            *twin = *saved;
            twin->kv = kv;
        }
        break;
    default:
        err = kv_snapshot_delete(world->pool, "u", name, strlen(name), NULL);
        if (err == ERR_OK)
            saved->count = UINT32_MAX;
        break;
    }
    if (err == ERR_MEMORY) {
        world->failures++;
        return;
    }
    if (err == ERR_OK)
        return;
    assert_true(err == (there ? ERR_INVALID : ERR_NOT_FOUND));
}

static void random_operations(void **state)
{
    (void)state;
    size_t memory_before = mem_used_bytes();
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->random = 20240607;
    world->pool = pool_make(PAGES, PAGE_TOKENS);
    for (size_t i = 0; i < NAMES; i++)
        world->snapshots[i].count = UINT32_MAX;
    for (uint32_t operation = 0; operation < OPERATIONS; operation++) {
        struct twin *twin = &world->twins[pick(world, CONTEXTS)];
        uint32_t what = pick(world, 16);
        if (pick(world, 5) == 0)
            mem_fail_at(1 + pick(world, 5));
        if (what < 5) {
            passes(world);
        } else if (what == 5) {
            snapshot(world, twin);
        } else if (twin->kv == NULL) {
            if (kv_context_create(world->pool, &twin->kv) == ERR_OK) {
                struct kv_context *kv = twin->kv;
                *twin = (struct twin){.kv = kv};
            } else {
                twin->kv = NULL;
                world->failures++;
            }
        } else if (what == 6) {
            kv_context_destroy(twin->kv);
            twin->kv = NULL;
        } else if (what <= 8) {
            struct twin *child = &world->twins[pick(world, CONTEXTS)];
            struct kv_context *kv;
            if (child->kv == NULL && kv_context_fork(twin->kv, &kv) == ERR_OK) {
                *child = *twin;
                child->kv = kv;
                verify(world, child);
            }
        } else if (what == 9) {
            kv_suspend(twin->kv);
        } else if (what <= 11) {
            cut(world, twin, what == 10);
        } else if (what <= 13) {
            commit(world, twin);
        } else {
            uint32_t count = pick(world, 4);
            bool legal = twin->committed + twin->working + count <= PAGES;
            assert_int_equal(kv_reserve(twin->kv, count, NULL), legal ? ERR_OK : ERR_LIMIT);
            twin->working += legal ? count : 0;
        }
        mem_fail_at(0);
        if (twin->kv != NULL)
            verify(world, twin);
        if (operation % 16 == 0) {
            kv_pool_check(world->pool);
            for (size_t i = 0; i < CONTEXTS; i++) {
                if (world->twins[i].kv != NULL)
                    verify(world, &world->twins[i]);
            }
        }
    }
    print_message("passes %llu, with restores %llu, refused allocations %llu\n",
                  (unsigned long long)world->passes, (unsigned long long)world->restores,
                  (unsigned long long)world->failures);
    assert_true(world->passes > 10000 && world->restores > 1000 && world->failures > 1000);
    for (size_t i = 0; i < CONTEXTS; i++)
        kv_context_destroy(world->twins[i].kv);
    kv_pool_destroy(world->pool);
    vec_free(NULL, &world->copies);
    free(world);
    assert_int_equal(mem_used_bytes(), memory_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_upstreams),
        cmocka_unit_test(equal_pages_are_shared),
        cmocka_unit_test(adapters_and_masks_are_part_of_the_history),
        cmocka_unit_test(forks_copy_on_write),
        cmocka_unit_test(restore_shares_what_is_there),
        cmocka_unit_test(snapshots), cmocka_unit_test(snapshots_are_bounded),
        cmocka_unit_test(looking_ahead_ties_rows_together),
        cmocka_unit_test(pages_that_look_past_themselves_are_not_shared),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
