/* Version constraints, as Pie.toml's [runtime] has them and as `NAME@^1.2` in a command.
 *
 *     constraint = comparator { "," comparator }          all must hold
 *     comparator = [ "^" | "~" | "=" | ">" | ">=" | "<" | "<=" ] version | "*"
 *     version    = number [ "." number|"*" [ "." number|"*" ] ]
 *
 * Without an operator it is "^". Versions have three numbers and no pre-release (manifest.h).
 * Source: semver.org, and the requirement syntax of Cargo, which the documentation refers to. */
#ifndef ENGINE_PROGRAM_SEMVER_H
#define ENGINE_PROGRAM_SEMVER_H

#include <stdbool.h>

#include "engine/base/err.h"

struct prog_manifest;

/* True when the text is a constraint. */
bool prog_semver_is_constraint(const char *constraint);

/* True when both are well-formed and the version satisfies the constraint. */
bool prog_semver_matches(const char *constraint, const char *version);

/* One interface or runtime that this build offers, and the versions of it that it honours. */
struct prog_semver_runtime {
    const char *name;
    const char *const *versions; /* newest first, NULL-terminated */
};
extern const struct prog_semver_runtime prog_semver_runtimes[]; /* ends with a NULL name */

/* Checks every [runtime] constraint against prog_semver_runtimes; ERR_UNSUPPORTED says with file
 * and line what was asked for and what is there. */
enum err prog_semver_check_runtime(const struct prog_manifest *manifest, const char *file,
                                   struct report *report) ERR_MUST_USE;

#endif
