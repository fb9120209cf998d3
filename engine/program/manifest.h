/* Pie.toml: what a program says of itself.
 *
 *     [package]       name, version (both required), description, authors, repository, readme,
 *                     keywords
 *     [runtime]       NAME = "semver constraint"; its form is checked here, what it asks for by
 *                     prog_semver_check_runtime
 *     [parameters]    NAME = { type = "string" | "int" | "float" | "bool", optional, description }
 *     [dependencies]  NAME = "exact version"
 *
 * Unknown keys are ignored, known keys of another type are refused. A program's id is
 * "NAME@VERSION" and matches ^[a-zA-Z0-9][a-zA-Z0-9_-]*@\d+\.\d+\.\d+$, so it is safe as a path. */
#ifndef ENGINE_PROGRAM_MANIFEST_H
#define ENGINE_PROGRAM_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"

enum { PROG_ID_BYTES = 256 }; /* of an id with its zero */

enum prog_type { PROG_TYPE_STRING, PROG_TYPE_INT, PROG_TYPE_FLOAT, PROG_TYPE_BOOL };

struct prog_parameter {
    const char *name;
    enum prog_type type;
    bool optional;
    const char *description; /* "" when absent */
};

struct prog_pair {
    const char *name, *value;
    uint32_t line; /* in the file */
};

/* All texts are zero-terminated and lie in `arena`; absent ones are "". */
struct prog_manifest {
    struct arena arena;
    const char *name, *version, *description, *repository, *readme;
    const char **authors, **keywords;
    size_t author_count, keyword_count;
    struct prog_pair *runtime, *dependencies;
    size_t runtime_count, dependency_count;
    struct prog_parameter *parameters;
    size_t parameter_count;
};

/* `file` names the text in messages: "Pie.toml, line 2, column 8: package.version: expected ...".
 * On failure nothing needs to be freed. */
enum err prog_manifest_parse(const char *text, size_t bytes, const char *file,
                             struct mem_heap *heap, struct prog_manifest *manifest,
                             struct report *report) ERR_MUST_USE;
void prog_manifest_deinit(struct prog_manifest *manifest);

/* "string", "int", "float" or "bool". */
const char *prog_type_name(enum prog_type type);

/* The rules of the id's two parts. */
bool prog_name_is_valid(const char *name, size_t bytes);
bool prog_version_is_valid(const char *version, size_t bytes);
/* Semver order of two valid versions of any length: < 0, 0, > 0. */
int prog_version_compare(const char *a, const char *b);

#endif
