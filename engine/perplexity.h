/* How well a model foresees a text: `pie model perplexity`. */
#ifndef ENGINE_PERPLEXITY_H
#define ENGINE_PERPLEXITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct engine_perplexity {
    const char *model_path;
    const char *quantize;      /* as engine_config's */
    const char *text;
    size_t text_bytes;
    uint32_t context;          /* tokens of a window; 0 = 512 */
    uint32_t windows_max;      /* 0 = all */
    uint32_t threads;          /* 0 = as many as we may use */
    /* May be NULL; after every window, with the perplexity so far. False stops. */
    bool (*progress)(void *user, uint64_t done, uint64_t total, double perplexity);
    void *progress_user;
};

struct engine_perplexity_result {
    double perplexity;
    double error;      /* one standard deviation of it */
    uint64_t tokens;   /* of the text */
    uint64_t scored;   /* tokens whose probability counted */
    uint32_t windows;
    double seconds;    /* of computing */
};

/* The text is cut into windows of `context` tokens, each begins anew (with BOS in place of its first
 * token where the vocabulary asks for BOS); its second half is scored. That is llama.cpp's rule, so
 * that figures can be compared. A newline at the end of the text is left out, too. */
enum err engine_perplexity(const struct engine_perplexity *config,
                           struct engine_perplexity_result *result,
                           struct report *report) ERR_MUST_USE;

#endif
