/* A registry that is a folder: NAME/VERSION.wasm and NAME/VERSION.toml, as a programs folder has
 * them, and optionally NAME/VERSION.json with what the two do not say: "created_at", "checksum",
 * "yanked", "signature", "signed_by"; a package without it is what its files are now. Served by engine/server/registry.c, or used without a server.
 *
 * Answers are the JSON of the registry protocol:
 *     search  {total, page, per_page, pages, items: [{id, name, description, downloads,
 *              latest_version, created_at}]}
 *     info    {id, name, downloads, created_at, versions: [{num, checksum, size_bytes, description,
 *              runtime, parameters, dependencies, wit, yanked, created_at, authors, keywords,
 *              repository, readme, signature?, signed_by?}]}, newest first
 * Names and versions are checked against the id's rule before they become a path. */
#ifndef ENGINE_PROGRAM_FOLDER_H
#define ENGINE_PROGRAM_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

enum { PROG_FOLDER_PATH_MAX = 4096, PROG_FOLDER_NAMES_MAX = 100000, PROG_WASM_BYTES_MAX = 512 << 20 };

enum err prog_folder_search(const char *folder, const char *query, uint32_t page,
                            uint32_t per_page, struct buf *json, struct report *report) ERR_MUST_USE;
enum err prog_folder_info(const char *folder, const char *name, struct buf *json,
                          struct report *report) ERR_MUST_USE;
/* The path of a package's file; `suffix` is "wasm" or "toml". ERR_NOT_FOUND. */
enum err prog_folder_path(const char *folder, const char *name, const char *version,
                          const char *suffix, char out[PROG_FOLDER_PATH_MAX],
                          struct report *report) ERR_MUST_USE;

/* What is published. */
struct prog_package {
    const char *manifest; /* the Pie.toml */
    size_t manifest_bytes;
    const uint8_t *wasm;
    size_t wasm_bytes;
    const char *signature, *signed_by; /* hex; NULL: not signed */
};

/* What a signature is made of: name, version and the hashes of both parts. */
enum err prog_folder_signed_text(const char *name, const char *version,
                                 const struct prog_package *package, struct buf *text,
                                 struct report *report) ERR_MUST_USE;

/* Adds a package, whole or not at all. ERR_BUSY when the version is there already; ERR_INVALID for
 * a manifest of another name or version, or a signature that does not fit. */
enum err prog_folder_publish(const char *folder, const char *name, const char *version,
                             const struct prog_package *package,
                             struct report *report) ERR_MUST_USE;
/* Marks a version: a yanked one is found by its exact version only. */
enum err prog_folder_yank(const char *folder, const char *name, const char *version, bool yanked,
                          struct report *report) ERR_MUST_USE;

#endif
