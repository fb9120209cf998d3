/* Models as Hugging Face folders: safetensors files with config.json and tokenizer.json.
 *
 * A folder is opened as what the rest of the engine knows: a `struct gguf` whose metadata are
 * translated from the JSON files and whose tensors lie in the mapped safetensors files under GGUF's
 * names. Rows of q and k stay as they are (RoPE turns i with i + dim / 2, the key pie.rope.halves
 * says so); vectors that are not F32 are widened. Sources: the safetensors README (format), the
 * configuration classes of transformers, the documentation of tokenizers. */
#ifndef MODELS_ST_H
#define MODELS_ST_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "models/gguf.h"

/* True when `path` is a folder with a config.json. */
bool st_is_folder(const char *path);

/* Opens a folder: config.json, model.safetensors or the parts of model.safetensors.index.json, and
 * where present tokenizer.json, tokenizer_config.json, generation_config.json and
 * chat_template.jinja. Errors say which file, what and where. */
enum err st_open_folder(const char *path, struct gguf **file, struct report *report) ERR_MUST_USE;

/* ---- the parts, for tests and fuzzing ------------------------------------------------------ */

struct st_text {
    const char *data; /* NULL: there is no such file */
    size_t bytes;
};

/* One safetensors file. */
struct st_part {
    const uint8_t *data;
    size_t bytes;
    uint64_t changed_ns; /* when the file was */
    bool mapped; /* by file_map: the gguf unmaps it */
};

struct st_source {
    const char *name; /* of the model, for general.name; may be "" */
    struct st_text config, tokenizer, tokenizer_config, generation, chat_template;
    const struct st_part *parts;
    size_t part_count;
};

/* The folder's files in memory. Texts are not kept; parts are borrowed until gguf_close, or given
 * away when mapped (on failure, too: then they are unmapped). */
enum err st_assemble(const struct st_source *source, struct gguf **file,
                     struct report *report) ERR_MUST_USE;

struct arena;
/* The tensors of one safetensors file: checked header, names (zero-terminated) and list in
 * `arena`, data borrowed from the part. dims as in GGUF: contiguous first; BF16, F16 and F32 only.
 * Tensors must cover the data without gaps or overlaps. */
enum err st_read_part(const struct st_part *part, struct arena *arena,
                      struct gguf_tensor **tensors, size_t *count,
                      struct report *report) ERR_MUST_USE;

#endif
