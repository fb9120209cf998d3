/* The registry that programs come from: an address that speaks the protocol (GET
 * /api/v1/inferlets, ...), or a folder (folder.h), named by a path or a file:// address.
 *
 * What a registry says is not believed: names are checked, sizes bounded, a program's bytes are
 * held to the checksum of its version, its manifest to its name and version, and, when trusted
 * keys are set, both to a signature by one of them. */
#ifndef ENGINE_PROGRAM_REGISTRY_H
#define ENGINE_PROGRAM_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/program/folder.h"
#include "engine/program/manifest.h"

enum { PROG_REGISTRY_JSON_MAX = 16 << 20, PROG_REGISTRY_KEYS_MAX = 32 };

struct prog_registry {
    const char *url;   /* "https://HOST", "file:///PATH" or a path; borrowed like all here */
    const char *token; /* NULL: none */
    const char *trusted_keys[PROG_REGISTRY_KEYS_MAX]; /* public keys in hex */
    size_t trusted_key_count; /* 0: signatures are not asked for */
    void (*progress)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *user;
};

/* The folder of a folder registry, NULL for one with an address. */
const char *prog_registry_folder(const char *url);

/* The protocol's answers, as JSON that has been parsed once. */
enum err prog_registry_search(const struct prog_registry *registry, const char *query,
                              uint32_t page, uint32_t per_page, struct buf *json,
                              struct report *report) ERR_MUST_USE;
enum err prog_registry_info(const struct prog_registry *registry, const char *name,
                            struct buf *json, struct report *report) ERR_MUST_USE;
/* Whose token it is: the login. ERR_DENIED when it is nobody's. */
enum err prog_registry_me(const struct prog_registry *registry, char login[128],
                          struct report *report) ERR_MUST_USE;

/* The version that an `info` answer gives for what is wanted: an exact version (yanked or not),
 * else the highest that is not yanked and satisfies the constraint (NULL or "latest": any).
 * `checksum` is 64 hex digits or "". ERR_NOT_FOUND, ERR_INVALID for an answer that is none. */
struct prog_registry_version {
    char version[104], checksum[65], signature[129], signed_by[65];
};
enum err prog_registry_choose(const char *json, size_t bytes, const char *name, const char *wanted,
                              struct prog_registry_version *out, struct report *report) ERR_MUST_USE;

/* Resolves "name", "name@latest", "name@1.2.3" or "name@CONSTRAINT". `id` is "name@version". */
enum err prog_registry_resolve(const struct prog_registry *registry, const char *name,
                               char id[PROG_ID_BYTES], struct prog_registry_version *version,
                               struct report *report) ERR_MUST_USE;
/* Gets both parts of a resolved version and checks them. */
enum err prog_registry_get(const struct prog_registry *registry, const char *id,
                           const struct prog_registry_version *version, struct buf *manifest,
                           struct buf *wasm, struct report *report) ERR_MUST_USE;

/* Publishes a package; a private key (hex, NULL: none) signs it. `readme` is the text of the file
 * that the manifest names, "" without one. */
enum err prog_registry_publish(const struct prog_registry *registry,
                               const struct prog_manifest *manifest, struct prog_package package,
                               const char *secret_key, const char *readme,
                               struct report *report) ERR_MUST_USE;

#endif
