/* What is installed: programs in memory and in directories, each decoded and validated once and
 * shared by all processes that run it.
 *
 * The directory holds NAME/VERSION.wasm and NAME/VERSION.toml; a program counts as installed when
 * both are there. Names come from manifests and requests and are checked against the id's rule
 * before they become a path. */
#ifndef ENGINE_PROGRAM_PROGRAM_H
#define ENGINE_PROGRAM_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/program/manifest.h"

struct comp_component;
struct prog_store;

/* One program: immutable, counted. */
struct prog {
    char id[PROG_ID_BYTES]; /* "NAME@VERSION" */
    struct prog_manifest manifest;
    struct comp_component *component;
    uint32_t refs;
};

struct prog *prog_ref(struct prog *prog);
void prog_unref(struct prog *prog); /* NULL is allowed */

/* Decodes both parts; one reference. `file` names the manifest in messages. */
enum err prog_create(const char *manifest, size_t manifest_bytes, const char *file,
                     const uint8_t *wasm, size_t wasm_bytes, struct prog **prog,
                     struct report *report) ERR_MUST_USE;

/* As prog_create, with the store's memory of what was accepted before (prog_store_set_cache). */
enum err prog_store_load(struct prog_store *store, const char *manifest, size_t manifest_bytes,
                         const char *file, const uint8_t *wasm, size_t wasm_bytes,
                         struct prog **prog, struct report *report) ERR_MUST_USE;

/* `directory` is copied, need not exist yet, and may be NULL: then nothing is kept. What is not
 * there is looked for in `standard_directory` (read only; NULL = none). */
enum err prog_store_create(const char *directory, const char *standard_directory,
                           struct prog_store **store, struct report *report) ERR_MUST_USE;
/* From now on the store remembers in `directory` (copied; made when needed) which components were
 * accepted, and does not validate them again: see cache.h. */
enum err prog_store_set_cache(struct prog_store *store, const char *directory,
                              struct report *report) ERR_MUST_USE;
void prog_store_destroy(struct prog_store *store); /* NULL is allowed */

/* What a program was made from. */
struct prog_files {
    const char *manifest;
    size_t manifest_bytes;
    const uint8_t *wasm;
    size_t wasm_bytes;
};

/* Installs a program in memory (the store takes a reference of its own), and in the directory when
 * `files` is not NULL: both or, after an error, neither (but when a disk fills up while a program is
 * replaced by force, its directory may keep the old manifest with the new code). ERR_BUSY when the id is taken, in memory
 * or in a directory, and not `force`; ERR_INVALID for files without a directory. Processes of a
 * replaced program keep the old one. */
enum err prog_store_add(struct prog_store *store, struct prog *prog, bool force,
                        const struct prog_files *files, struct report *report) ERR_MUST_USE;

/* Resolves "name" and "name@latest" (the newest version by semver, in memory or directory) and
 * "name@1.2.3". ERR_NOT_FOUND lists what is installed; ERR_INVALID for what is no name. */
enum err prog_store_find(struct prog_store *store, const char *name, char id[PROG_ID_BYTES],
                         struct report *report) ERR_MUST_USE;

/* The program of an id, from memory, or read from the directory and kept in memory. Borrowed:
 * take a reference to hold it over a call of prog_store_add. */
enum err prog_store_get(struct prog_store *store, const char *id, struct prog **prog,
                        struct report *report) ERR_MUST_USE;

/* Calls `each` for every installed id, sorted by name, newest version first. */
enum err prog_store_each(struct prog_store *store, void (*each)(void *user, const char *id),
                         void *user, struct report *report) ERR_MUST_USE;

#endif
