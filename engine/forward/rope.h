/* The angles of rotary position embedding (Su et al. 2021; YaRN: Peng et al. 2023). */
#ifndef ENGINE_FORWARD_ROPE_H
#define ENGINE_FORWARD_ROPE_H

#include <stdint.h>

#include "engine/base/err.h"
#include "models/model.h"

struct rope {
    uint32_t half;      /* angles per position: rope.dim / 2 */
    double *frequencies; /* [half], radians per position */
    float magnitude;    /* YaRN's factor on both components; 1 otherwise */
};

enum err rope_create(const struct model_rope *params, struct rope *rope, struct report *report)
    ERR_MUST_USE;
void rope_destroy(struct rope *rope);

/* cos[half], sin[half] of a position, times the magnitude. */
void rope_angles(const struct rope *rope, uint32_t position, float *cos, float *sin);

#endif
