#include "engine/forward/rope.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "simd/simd.h"

/* YaRN: the (real) index of the angle that turns `turns` times over the original context. */
static double index_of_turns(const struct model_rope *params, double turns)
{
    const double two_pi = 6.283185307179586;
    return params->dim * simd_log(params->context_original / (turns * two_pi)) /
           (2 * simd_log((double)params->base));
}

enum err rope_create(const struct model_rope *params, struct rope *rope, struct report *report)
{
    double low = 0, high = 0;
    rope->half = params->dim / 2;
    rope->magnitude = 1;
    rope->frequencies = mem_calloc(NULL, rope->half, sizeof *rope->frequencies);
    if (!rope->frequencies)
        return err_set(report, ERR_MEMORY, "no memory for the RoPE table");
    bool yarn = params->scaling == MODEL_ROPE_SCALING_YARN && params->extrapolation != 0;
    if (yarn) {
        low = fmax(0, floor(index_of_turns(params, (double)params->beta_fast)));
        high = fmin(params->dim - 1, ceil(index_of_turns(params, (double)params->beta_slow)));
        double grown = 0.1 * simd_log((double)params->factor);
        rope->magnitude = (float)((1 + grown) / (1 + grown * (double)params->log_multiplier));
    }
    rope->magnitude *= params->attention_factor;
    for (uint32_t i = 0; i < rope->half; i++) {
        double frequency = simd_pow((double)params->base, -2.0 * i / params->dim);
        if (params->factors) {
            float factor;
            memcpy(&factor, params->factors->data + (size_t)i * 4, 4);
            frequency /= (double)factor;
        }
        double scaled = frequency / (double)params->factor;
        double keep = 0; /* how much of the unscaled frequency stays */
        if (yarn)
            keep = (1 - fmin(1, fmax(0, (i - low) / fmax(0.001, high - low)))) *
                   (double)params->extrapolation;
        rope->frequencies[i] = scaled * (1 - keep) + frequency * keep;
    }
    return ERR_OK;
}

void rope_destroy(struct rope *rope)
{
    mem_free(NULL, rope->frequencies);
    rope->frequencies = NULL;
}

void rope_angles(const struct rope *rope, uint32_t position, float *cos, float *sin)
{
    for (uint32_t i = 0; i < rope->half; i++) {
        double s, c;
        simd_sincos(position * rope->frequencies[i], &s, &c);
        cos[i] = (float)c * rope->magnitude;
        sin[i] = (float)s * rope->magnitude;
    }
}
