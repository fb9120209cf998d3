/* links: models
 * Writes a LoRA adapter of random numbers for a dense model: random_adapter MODEL OUT SEED. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/gguf_write.h"
#include "models/model.h"

enum { RANK = 4 };

static uint64_t state;

static void *numbers(size_t count, float most)
{
    float *values = malloc(count * sizeof *values);
    if (!values)
        abort();
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(int32_t)(state >> 32) * (most / 2147483648.0f);
    }
    return values;
}

int main(int argc, char **argv)
{
    struct model *model;
    struct report report = {0};
    if (argc != 4)
        return 2;
    if (model_open(argv[1], &model, &report)) {
        fprintf(stderr, "%s\n", report.text);
        return 1;
    }
    state = strtoull(argv[3], NULL, 10);
    struct gguf_writer *writer = gguf_writer_create();
    const char *arch = model->hparams.architecture;
    gguf_writer_put_string(writer, "general.type", "adapter", 7);
    gguf_writer_put_string(writer, "general.architecture", arch, strlen(arch));
    gguf_writer_put_string(writer, "adapter.type", "lora", 4);
    gguf_writer_put_f32(writer, "adapter.lora.alpha", 8.0f);
    void *blobs[1024];
    size_t blob_count = 0;
    for (uint32_t layer = 0; layer < model->hparams.layer_count && blob_count + 4 <= 1024; layer++) {
        static const struct {
            enum model_role role;
            const char *name;
        } roles[] = {{MODEL_Q, "attn_q"}, {MODEL_DOWN, "ffn_down"}};
        for (unsigned i = 0; i < 2; i++) {
            const struct gguf_tensor *tensor = model->layers[layer].tensors[roles[i].role];
            uint64_t a[2] = {tensor->dims[0], RANK}, b[2] = {RANK, tensor->dims[1]};
            char name[80];
            void *low = blobs[blob_count++] = numbers(a[0] * a[1], 0.1f);
            void *high = blobs[blob_count++] = numbers(b[0] * b[1], 0.5f);
            snprintf(name, sizeof name, "blk.%u.%s.weight.lora_a", layer, roles[i].name);
            gguf_writer_add_tensor(writer, name, GGUF_TENSOR_F32, a, 2, low);
            snprintf(name, sizeof name, "blk.%u.%s.weight.lora_b", layer, roles[i].name);
            gguf_writer_add_tensor(writer, name, GGUF_TENSOR_F32, b, 2, high);
        }
    }
    enum err err = gguf_writer_save(writer, argv[2], &report);
    if (err)
        fprintf(stderr, "%s\n", report.text);
    gguf_writer_destroy(writer);
    while (blob_count > 0)
        free(blobs[--blob_count]);
    model_close(model);
    return err ? 1 : 0;
}
