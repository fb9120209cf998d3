/* A model file in another format: `pie model quantize`. */
#ifndef ENGINE_CONVERT_H
#define ENGINE_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

struct engine_convert {
    const char *from;  /* a GGUF file or a folder of safetensors */
    const char *to;    /* the GGUF file to write; replaced as a whole when all is done */
    const char *type;  /* a name of engine_convert_types() */
    uint32_t threads;  /* 0 = as many as we may use */
    /* May be NULL; `done` of `total` bytes are written. False stops (ERR_CANCELLED). */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
};

struct engine_converted {
    uint64_t bytes_from, bytes_to; /* of all tensors */
    uint32_t tensors, quantised;   /* how many there are, and how many changed their format */
};

/* Writes the model with its matrices in the type's formats (engine/forward/recipe.h). The same
 * bytes for any number of threads. Weights that are not finite numbers are refused. */
enum err engine_convert(const struct engine_convert *convert, struct engine_converted *converted,
                        struct report *report) ERR_MUST_USE;

/* "F16 BF16 Q8_0 ...". */
const char *engine_convert_types(void);

#endif
