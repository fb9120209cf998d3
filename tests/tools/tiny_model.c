/* links: models
 * Writes the tiny models and adapters of tiny_model.h as GGUF files: tiny_model FOLDER. With `tokens` or
 * `tokens-far` instead of a folder: prints the token ids of the vectors. */
#include "tests/tools/tiny_model.h"

#include "engine/base/file.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    bool far = strcmp(argv[1], "tokens-far") == 0;
    if (far || strcmp(argv[1], "tokens") == 0) {
        for (unsigned i = 0; i < (far ? TINY_TOKENS_FAR : TINY_TOKENS); i++)
            printf("%u ", tiny_token(i));
        return 0;
    }
    for (unsigned i = 0; i < TINY_COUNT; i++) {
        char path[1000];
        struct buf out;
        struct report report = {0};
        buf_init(&out, NULL);
        tiny_model(&tiny_specs[i], &out);
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], tiny_specs[i].name);
        if (file_write(path, out.data, out.count, &report)) {
            fprintf(stderr, "%s\n", report.text);
            return 1;
        }
        for (unsigned k = 0; k < TINY_ADAPTED; k++) {
            if (strcmp(tiny_adapted[k], tiny_specs[i].name) != 0)
                continue;
            buf_clear(&out);
            tiny_adapter(&tiny_specs[i], TINY_ADAPTER_SEED, &out);
            snprintf(path, sizeof path, "%s/%s-lora.gguf", argv[1], tiny_specs[i].name);
            if (file_write(path, out.data, out.count, &report)) {
                fprintf(stderr, "%s\n", report.text);
                return 1;
            }
        }
        buf_deinit(&out);
    }
    return 0;
}
