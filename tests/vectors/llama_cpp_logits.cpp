// Prints what llama.cpp computes for a GGUF file: the source of the *.logits.txt and *-greedy.txt
// vectors beside it. Not part of the build; see README.md for the command.
//   llama_cpp_logits MODEL greedy COUNT TEXT        prompt ids (with BOS), then COUNT greedy ids
//   llama_cpp_logits MODEL logits ID ID ...         the logits behind every token, one row a line
//   llama_cpp_logits MODEL last ID ID ...           the same, only of the last four tokens
// With LORA=FILE in the environment, with that adapter (and LORA_SCALE, 1).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "llama.h"

static int best(const float *logits, int count)
{
    int top = 0;
    for (int i = 1; i < count; i++)
        if (logits[i] > logits[top])
            top = i;
    return top;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    mp.use_extra_bufts = false; // plain kernels: the repacked ones crash on some of the tiny shapes
    llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model)
        return 1;
    llama_context_params cp = llama_context_default_params();
    cp.n_ctx = 512;
    cp.n_batch = cp.n_ubatch = 512;
    cp.n_threads = cp.n_threads_batch = 1;
    if (getenv("KV_F32"))
        cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context *ctx = llama_init_from_model(model, cp);
    if (const char *path = getenv("LORA")) {
        llama_adapter_lora *lora = llama_adapter_lora_init(model, path);
        float scale = getenv("LORA_SCALE") ? (float)atof(getenv("LORA_SCALE")) : 1.0f;
        if (!lora || llama_set_adapters_lora(ctx, &lora, 1, &scale))
            return 1;
    }
    const llama_vocab *vocab = llama_model_get_vocab(model);
    int vocab_count = llama_vocab_n_tokens(vocab);
    std::vector<llama_token> ids;
    if (strcmp(argv[2], "greedy") == 0) {
        ids.resize(512);
        int n = llama_tokenize(vocab, argv[4], (int)strlen(argv[4]), ids.data(), 512, true, false);
        ids.resize(n);
        printf("prompt");
        for (llama_token id : ids)
            printf(" %d", id);
        printf("\ngreedy");
        for (int i = 0; i < atoi(argv[3]); i++) {
            if (llama_decode(ctx, llama_batch_get_one(ids.data(), (int)ids.size())))
                return 1;
            ids.assign(1, best(llama_get_logits_ith(ctx, -1), vocab_count));
            printf(" %d", ids[0]);
        }
        printf("\n");
        return 0;
    }
    llama_batch batch = llama_batch_init(512, 0, 1);
    for (int i = 3; i < argc; i++) {
        int at = batch.n_tokens++;
        batch.token[at] = atoi(argv[i]);
        batch.pos[at] = at;
        batch.n_seq_id[at] = 1;
        batch.seq_id[at][0] = 0;
        batch.logits[at] = 1;
    }
    if (llama_decode(ctx, batch))
        return 1;
    for (int i = strcmp(argv[2], "last") == 0 ? batch.n_tokens - 4 : 0; i < batch.n_tokens; i++) {
        const float *logits = llama_get_logits_ith(ctx, i);
        for (int j = 0; j < vocab_count; j++)
            printf("%s%.9g", j ? " " : "", (double)logits[j]);
        printf("\n");
    }
    return 0;
}
