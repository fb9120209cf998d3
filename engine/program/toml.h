/* TOML 1.0, strictly: what the specification calls invalid is refused, with line, column, what was
 * expected and what stands there. Dates and times are checked and kept as text.
 *
 * A document is a tree of values in one arena; all pointers below are borrowed from it. */
#ifndef ENGINE_PROGRAM_TOML_H
#define ENGINE_PROGRAM_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"

enum prog_toml_kind {
    PROG_TOML_STRING,
    PROG_TOML_INTEGER,
    PROG_TOML_FLOAT,
    PROG_TOML_BOOL,
    PROG_TOML_DATETIME, /* with an offset */
    PROG_TOML_DATETIME_LOCAL,
    PROG_TOML_DATE,
    PROG_TOML_TIME,
    PROG_TOML_ARRAY,
    PROG_TOML_TABLE,
};

struct prog_toml_value;

struct prog_toml_entry {
    const char *key; /* zero-terminated, may contain zeros */
    size_t key_bytes;
    struct prog_toml_value *value;
    uint32_t hash, next; /* of the table's index */
};

struct prog_toml_value {
    enum prog_toml_kind kind;
    uint8_t origin;  /* how a table or array came to be; the parser's */
    uint32_t offset; /* in the text; see prog_toml_position */
    union {
        struct {
            const char *data; /* UTF-8, zero-terminated, may contain zeros. Dates: as written */
            size_t bytes;
        } string;
        int64_t integer;
        double number;
        bool boolean;
        struct {
            struct prog_toml_value **items;
            uint32_t count, capacity;
        } array;
        struct {
            struct prog_toml_entry *entries; /* in the order of the text */
            uint32_t count, capacity;
            uint32_t *buckets; /* heads of chains in `entries`, 1-based */
            uint32_t bucket_count;
        } table;
    } of;
};

struct prog_toml {
    struct arena arena;
    const char *text; /* a copy */
    size_t bytes;
    struct prog_toml_value *root; /* a table */
};

enum {
    PROG_TOML_BYTES_MAX = 1 << 20,
    PROG_TOML_DEPTH_MAX = 64, /* of arrays and inline tables in each other, and of dotted keys */
};

/* Parses `bytes` bytes of text. On failure nothing needs to be freed. The report reads "line 3,
 * column 7: expected a value, found end of line". */
enum err prog_toml_parse(const char *text, size_t bytes, struct mem_heap *heap,
                         struct prog_toml *toml, struct report *report) ERR_MUST_USE;
void prog_toml_deinit(struct prog_toml *toml);

/* The value of a key of a table, or NULL. */
const struct prog_toml_value *prog_toml_find(const struct prog_toml_value *table, const char *key);

/* Line and column (in characters) of an offset, both from 1. */
void prog_toml_position(const struct prog_toml *toml, uint32_t offset, uint32_t *line,
                        uint32_t *column);

/* "a string", "an array", ... */
const char *prog_toml_kind_name(enum prog_toml_kind kind);

#endif
