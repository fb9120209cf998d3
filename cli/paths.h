/* Where things lie: $PIE_HOME (default ~/.pie), the models in it, and the folder of this binary. */
#ifndef CLI_PATHS_H
#define CLI_PATHS_H

#include <stdbool.h>

#include "engine/base/err.h"

enum { PATHS_MAX = 4096 };

/* $PIE_HOME without a trailing slash (a blank value counts as unset); borrowed, never NULL. */
const char *paths_home(void);

/* "<home>/<tail>"; false when it is too long. */
bool paths_in_home(char out[PATHS_MAX], const char *tail);

/* "<folder of the running binary>/<tail>"; false when unknown or too long. */
bool paths_beside_binary(char out[PATHS_MAX], const char *tail);

/* Finds a model: an existing GGUF file or folder of safetensors as it is, else
 * $PIE_HOME/models/NAME.gguf or $PIE_HOME/models/NAME/. NULL stands for "default". The report tells what to do when there is none. */
enum err paths_find_model(const char *model, char out[PATHS_MAX],
                          struct report *report) ERR_MUST_USE;

#endif
