/* A growing byte string. `data` is zero-terminated after every call that succeeded, the zero is
 * not counted in `count`. */
#ifndef ENGINE_BASE_BUF_H
#define ENGINE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/mem.h"

struct buf {
    struct mem_heap *heap;
    char *data;
    size_t count, capacity;
    bool failed; /* an append ran out of memory; all later appends do nothing */
};

void buf_init(struct buf *buf, struct mem_heap *heap);
void buf_deinit(struct buf *buf);
void buf_clear(struct buf *buf);

/* All return false, and set `failed`, when memory is out. */
bool buf_append(struct buf *buf, const void *data, size_t bytes);
bool buf_puts(struct buf *buf, const char *text);
bool buf_putc(struct buf *buf, char byte);
bool buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD, control
 * characters (C1 and DEL too: it may go to a terminal) are escaped. */
bool buf_put_json(struct buf *buf, const char *text, size_t bytes);

#endif
