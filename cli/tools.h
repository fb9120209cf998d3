/* Programs of the machine that we use or can use: finding them on PATH, running them. */
#ifndef CLI_TOOLS_H
#define CLI_TOOLS_H

#include <stdbool.h>

#include "cli/paths.h"

/* The first of the NULL-terminated `names` that is an executable on PATH; false when none is. */
bool tools_find(const char *const *names, char out[PATHS_MAX]);

/* Clang for wasm32 and its linker, newest first; for tools_find. */
extern const char *const tools_clang[];
extern const char *const tools_wasm_ld[];

/* Runs argv[0] (a path) with the words given in `folder` (NULL: here), its output on our stderr;
 * waits, and returns its exit status, 127 when it could not be started or died. */
int tools_run(const char *folder, char *const *argv);

#endif
