/* Named contexts that no process owns. Those that hold pages stand in a list, least recently used
 * first: they are caches, and go before any living context. */
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/kv/inner.h"

enum { SNAPSHOTS_MAX = 65536, NAME_BYTES_MAX = 4096 };

void kv_lru_remove(struct kv_context *context)
{
    struct kv_pool *pool = context->pool;
    if (!context->in_lru)
        return;
    if (context->lru_previous != NULL)
        context->lru_previous->lru_next = context->lru_next;
    else
        pool->lru_first = context->lru_next;
    if (context->lru_next != NULL)
        context->lru_next->lru_previous = context->lru_previous;
    else
        pool->lru_last = context->lru_previous;
    context->lru_previous = context->lru_next = NULL;
    context->in_lru = false;
}

static void lru_push(struct kv_context *context)
{
    struct kv_pool *pool = context->pool;
    context->lru_previous = pool->lru_last;
    if (pool->lru_last != NULL)
        pool->lru_last->lru_next = context;
    else
        pool->lru_first = context;
    pool->lru_last = context;
    context->in_lru = true;
}

bool kv_pool_evict_snapshot(struct kv_pool *pool)
{
    if (pool->lru_first == NULL)
        return false;
    kv_suspend(pool->lru_first); /* takes it off the list */
    return true;
}

/* "username", 0, "name"; NULL when memory is out. */
static char *key_make(const char *username, const char *name, size_t name_bytes,
                      size_t *key_bytes)
{
    size_t user_bytes = strlen(username) + 1;
    char *key = mem_alloc(NULL, user_bytes + name_bytes);
    if (key == NULL)
        return NULL;
    memcpy(key, username, user_bytes);
    if (name_bytes > 0)
        memcpy(key + user_bytes, name, name_bytes);
    *key_bytes = user_bytes + name_bytes;
    return key;
}

static enum err find(struct kv_pool *pool, const char *username, const char *name,
                     size_t name_bytes, struct kv_context **context, struct report *report)
{
    size_t key_bytes;
    char *key = key_make(username, name, name_bytes, &key_bytes);
    if (key == NULL)
        return err_set(report, ERR_MEMORY, "snapshot: out of memory");
    *context = map_find(&pool->snapshots, key, key_bytes);
    mem_free(NULL, key);
    if (*context == NULL)
        return err_set(report, ERR_NOT_FOUND, "Snapshot not found");
    return ERR_OK;
}

enum err kv_snapshot_save(const struct kv_context *context, const char *username,
                          const char *name, size_t name_bytes, char made[40],
                          struct report *report)
{
    struct kv_pool *pool = context->pool;
    if (name == NULL) {
        /* A number that no context has, so that nobody takes one for the other. */
        snprintf(made, 40, "__snapshot_%llu", (unsigned long long)++pool->last_id);
        name = made;
        name_bytes = strlen(made);
    }
    if (name_bytes > NAME_BYTES_MAX)
        return err_set(report, ERR_LIMIT, "Snapshot name is longer than %d bytes",
                       NAME_BYTES_MAX);
    if (pool->snapshot_count >= SNAPSHOTS_MAX)
        return err_set(report, ERR_LIMIT, "save: there are %d snapshots, delete some first",
                       SNAPSHOTS_MAX);
    if (context->tokens.count > kv_lineage_max(pool) - pool->snapshot_tokens)
        return err_set(report, ERR_LIMIT,
                       "save: the snapshots hold %llu tokens outside of committed pages, and %zu "
                       "more do not fit; commit before saving, or delete some",
                       (unsigned long long)pool->snapshot_tokens, context->tokens.count);
    size_t key_bytes;
    char *key = key_make(username, name, name_bytes, &key_bytes);
    if (key == NULL)
        return err_set(report, ERR_MEMORY, "save: out of memory");
    if (map_find(&pool->snapshots, key, key_bytes) != NULL) {
        mem_free(NULL, key);
        return err_set(report, ERR_INVALID, "Snapshot name already exists: %.*s",
                       (int)name_bytes, name);
    }
    struct kv_context *snapshot;
    if (kv_context_fork(context, &snapshot) != ERR_OK) {
        mem_free(NULL, key);
        return err_set(report, ERR_MEMORY, "save: out of memory");
    }
    if (!map_set(&pool->snapshots, key, key_bytes, snapshot)) {
        mem_free(NULL, key);
        kv_context_destroy(snapshot);
        return err_set(report, ERR_MEMORY, "save: out of memory");
    }
    snapshot->snapshot = true;
    snapshot->key = key;
    snapshot->key_bytes = key_bytes;
    pool->snapshot_count++;
    pool->snapshot_tokens += snapshot->tokens.count;
    if (snapshot->pages.count > 0)
        lru_push(snapshot);
    return ERR_OK;
}

enum err kv_snapshot_open(struct kv_pool *pool, const char *username, const char *name,
                          size_t name_bytes, struct kv_context **context, struct report *report)
{
    struct kv_context *snapshot;
    enum err err = find(pool, username, name, name_bytes, &snapshot, report);
    if (err != ERR_OK)
        return err;
    if (kv_context_fork(snapshot, context) != ERR_OK)
        return err_set(report, ERR_MEMORY, "open: out of memory");
    if (snapshot->in_lru) {
        kv_lru_remove(snapshot);
        lru_push(snapshot);
    }
    return ERR_OK;
}

enum err kv_snapshot_delete(struct kv_pool *pool, const char *username, const char *name,
                            size_t name_bytes, struct report *report)
{
    struct kv_context *snapshot;
    enum err err = find(pool, username, name, name_bytes, &snapshot, report);
    if (err == ERR_OK)
        kv_context_destroy(snapshot);
    return err;
}
