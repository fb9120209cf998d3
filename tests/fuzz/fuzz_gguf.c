/* links: engine/forward
 * GGUF files: reading, the model's checks, and a step with whatever small model came through. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "models/gguf.h"
#include "models/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static volatile uint8_t sink;

static void touch(const void *data, uint64_t bytes)
{
    const uint8_t *at = data;
    if (bytes > 0)
        sink = (uint8_t)(sink + at[0] + at[bytes - 1]);
}

static void touch_file(const struct gguf *file)
{
    for (size_t i = 0; i < gguf_value_count(file); i++) {
        const struct gguf_value *value = gguf_value(file, i);
        touch(value->key.data, value->key.bytes);
        if (value->type == GGUF_STRING)
            touch(value->of.string.data, value->of.string.bytes);
        if (value->type != GGUF_ARRAY)
            continue;
        if (value->of.array.type == GGUF_STRING)
            for (uint64_t s = 0; s < value->of.array.count; s++)
                touch(value->of.array.strings[s].data, value->of.array.strings[s].bytes);
        else
            touch(value->of.array.data, value->of.array.count);
    }
    for (size_t i = 0; i < gguf_tensor_count(file); i++)
        touch(gguf_tensor(file, i)->data, gguf_tensor(file, i)->bytes);
}

static void run_step(const struct model *model)
{
    const struct model_hparams *h = &model->hparams;
    struct fwd_config config = {.threads = 1, .page_tokens = 16, .page_count = 1};
    struct fwd *fwd;
    if (fwd_create(model, &config, &fwd, NULL))
        return;
    uint32_t tokens[3] = {0, h->vocab_count - 1, h->vocab_count / 2}, positions[3] = {0, 1, 70000};
    uint32_t token_begin[2] = {0, 3}, page = 0, page_begin[2] = {0, 1}, before = 0,
             sampler_begin[2] = {0, 1};
    struct batch_sampler sampler = {.kind = BATCH_RAW_LOGITS, .row = 2};
    struct batch batch = {.request_count = 1, .token_count = 3, .tokens = tokens,
                          .positions = positions, .token_begin = token_begin, .pages = &page,
                          .page_begin = page_begin, .kv_before = &before, .samplers = &sampler,
                          .sampler_begin = sampler_begin};
    struct fwd_output out;
    if (!fwd_run(fwd, &batch, &out, NULL))
        touch(out.logits[0], (uint64_t)h->vocab_count * 4);
    fwd_destroy(fwd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct report report = {0};
    struct gguf *file;
    struct model *model;
    if (gguf_open_memory(data, bytes, &file, &report) == ERR_OK) {
        touch_file(file);
        gguf_close(file);
    }
    memset(&report, 0, sizeof report);
    if (model_open_memory(data, bytes, &model, &report) == ERR_OK) {
        /* The tensors are in the input, so the model is small; heads need not be. */
        if (fwd_page_bytes(model, 16, 16) < 1 << 22)
            run_step(model);
        model_close(model);
    }
    return 0;
}
