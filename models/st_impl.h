/* Inside models/st*.c: JSON questions, and who writes which keys. */
#ifndef MODELS_ST_IMPL_H
#define MODELS_ST_IMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "models/gguf_write.h"
#include "models/st.h"

/* Parses a JSON object; `what` names the file in the error. Free with json_decref. */
enum err st_json(struct st_text text, const char *what, json_t **root,
                 struct report *report) ERR_MUST_USE;

/* NULL where the key is absent, null, or of another type. */
static inline const char *st_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static inline bool st_is(const json_t *object, const char *key, const char *text)
{
    const char *found = st_string(object, key);
    return found && strcmp(found, text) == 0;
}

/* A family of models: what config.json calls it, and what GGUF does. */
struct st_family {
    const char *model_type, *architecture;
    bool permuted; /* GGUF's rows of q and k are permuted; a folder's are not */
};

/* What config.json says, in GGUF's keys. */
struct st_config {
    const struct st_family *family;
    bool tied;
    uint32_t vocab_count;
    float *rope_factors; /* [rope_factor_count], Llama 3.1's; mem_alloc, NULL: none */
    uint32_t rope_factor_count;
};

enum err st_put_config(const json_t *root, struct gguf_writer *writer, struct st_config *config,
                       struct report *report) ERR_MUST_USE;

/* The tokenizer's keys; `extra` and `generation` may be NULL. */
enum err st_put_tokenizer(const json_t *root, const json_t *extra, const json_t *generation,
                          const struct st_config *config, struct gguf_writer *writer,
                          struct report *report) ERR_MUST_USE;

#endif
