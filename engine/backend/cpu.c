/* This machine's cores: forward pass and sampling on the compute thread. */
#include <stdio.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/forward/fwd.h"
#include "engine/sample/sample.h"
#include "models/model.h"

enum {
    PAGE_TOKENS = 32,
    TOKENS_MAX = 512,
    REQUESTS_MAX = 512,
    POOL_TOKENS_MAX = 1 << 20, /* of a page count that was not asked for */
    POOL_PAGES_MIN = 64,
};

struct cpu {
    struct backend backend;
    struct fwd *fwd;
    /* Samplers of a step are drawn by the whole team: piece p takes the samplers p, p + pieces,
     * ... and allocates in its own arena. The arrays are moved to the result afterwards. */
    struct arena *arenas; /* [piece_count] */
    uint32_t piece_count;
};

struct draw {
    struct cpu *cpu;
    const struct batch *batch;
    const struct fwd_output *output;
    struct batch_slot *slots;
    const uint32_t *owners; /* [slots] request of a sampler */
    bool *failed;           /* [piece_count] */
};

static void draw_piece(void *user, uint32_t piece)
{
    struct draw *draw = user;
    struct cpu *cpu = draw->cpu;
    const struct batch *batch = draw->batch;
    for (uint32_t s = piece; s < draw->output->count; s += cpu->piece_count) {
        const struct batch_sampler *sampler = &batch->samplers[s];
        if (sampler->kind == BATCH_EMBEDDING) {
            draw->slots[s] = (struct batch_slot){
                .kind = BATCH_SLOT_EMBEDDING,
                .count = cpu->backend.caps.embedding_count,
                .values = draw->output->embeddings[s],
            };
            continue;
        }
        struct batch_brle mask = batch->logit_masks == NULL
                                     ? (struct batch_brle){0}
                                     : batch->logit_masks[draw->owners[s]];
        if (!sample_run(draw->output->logits[s], cpu->backend.caps.vocab_count, sampler, mask,
                        &cpu->arenas[piece], &draw->slots[s]))
            draw->failed[piece] = true;
    }
}

static const void *move(struct arena *arena, const void *items, uint32_t count, size_t bytes,
                        bool *ok)
{
    if (items == NULL || count == 0)
        return NULL;
    void *copy = arena_calloc(arena, count, bytes);
    if (copy == NULL) {
        *ok = false;
        return NULL;
    }
    return memcpy(copy, items, count * bytes);
}

static bool draw_all(struct cpu *cpu, const struct batch *batch, const struct fwd_output *output,
                     struct batch_result *result)
{
    uint32_t count = batch->sampler_begin[batch->request_count];
    CHECK(output->count == count);
    result->slots = arena_calloc(&result->arena, count, sizeof *result->slots);
    uint32_t *owners = arena_calloc(&result->arena, count, sizeof *owners);
    bool *failed = arena_calloc(&result->arena, cpu->piece_count, sizeof *failed);
    if (result->slots == NULL || owners == NULL || failed == NULL)
        return false;
    for (uint32_t r = 0; r < batch->request_count; r++) {
        for (uint32_t s = batch->sampler_begin[r]; s < batch->sampler_begin[r + 1]; s++)
            owners[s] = r;
    }
    struct draw draw = {cpu, batch, output, result->slots, owners, failed};
    if (count == 1)
        draw_piece(&draw, 0);
    else
        fwd_parallel(cpu->fwd, cpu->piece_count, draw_piece, &draw);

    bool ok = true;
    for (uint32_t piece = 0; piece < cpu->piece_count; piece++)
        ok = ok && !failed[piece];
    for (uint32_t s = 0; ok && s < count; s++) {
        struct batch_slot *slot = &result->slots[s];
        slot->ids = move(&result->arena, slot->ids, slot->count, sizeof *slot->ids, &ok);
        slot->values =
            move(&result->arena, slot->values, slot->count, sizeof *slot->values, &ok);
    }
    for (uint32_t piece = 0; piece < cpu->piece_count; piece++)
        arena_reset(&cpu->arenas[piece]);
    result->slot_count = count;
    return ok;
}

static void cpu_compute(struct backend *backend, const struct batch *batch,
                        struct batch_result *result)
{
    struct cpu *cpu = (struct cpu *)backend;
    struct fwd_output output;
    struct report report = {0};
    if (fwd_run(cpu->fwd, batch, &output, &report) != ERR_OK) {
        result->failed = true;
        snprintf(result->why, sizeof result->why, "%s", report.text);
    } else if (!draw_all(cpu, batch, &output, result)) {
        result->failed = true;
        snprintf(result->why, sizeof result->why, "out of memory for the results of the step");
    }
}

static void cpu_destroy(struct backend *backend)
{
    struct cpu *cpu = (struct cpu *)backend;
    for (uint32_t piece = 0; cpu->arenas != NULL && piece < cpu->piece_count; piece++)
        arena_deinit(&cpu->arenas[piece]);
    mem_free(NULL, cpu->arenas);
    if (cpu->fwd != NULL)
        fwd_destroy(cpu->fwd);
    mem_free(NULL, cpu);
}

static enum err cpu_adapter_load(struct backend *backend, const char *path, int64_t *id,
                                 struct report *report)
{
    struct cpu *cpu = (struct cpu *)backend;
    return fwd_adapter_load(cpu->fwd, path, id, report);
}

static const struct backend_ops CPU_OPS = {
    .compute = cpu_compute, .adapter_load = cpu_adapter_load, .destroy = cpu_destroy};

static uint32_t page_count_choose(const struct backend_cpu_config *config, uint32_t page_tokens)
{
    uint64_t left = mem_machine_available();
    uint64_t weights = fwd_weight_bytes(config->model, config->recipe);
    if (left == UINT64_MAX)
        left = (uint64_t)1 << 32;
    left = left > weights ? left - weights : 0;
    uint64_t count = left / 2 / fwd_page_bytes(config->model, config->kv_bits, page_tokens);
    if (count > POOL_TOKENS_MAX / page_tokens)
        count = POOL_TOKENS_MAX / page_tokens;
    return count < POOL_PAGES_MIN ? POOL_PAGES_MIN : (uint32_t)count;
}

/* Better no model than one whose process is killed in the middle: weights, pages and 64 MiB for all
 * else must fit into what is left. */
static enum err check_memory(const struct backend_cpu_config *config, uint32_t page_tokens,
                             uint32_t page_count, struct report *report)
{
    enum { MIB = 1 << 20, ELSE_MIB = 64 };
    const struct model *model = config->model;
    uint64_t left = mem_machine_available(), weights = fwd_weight_bytes(model, config->recipe);
    uint64_t pages = fwd_page_bytes(model, config->kv_bits, page_tokens) * page_count;
    if (left == UINT64_MAX || weights / MIB + pages / MIB + ELSE_MIB <= left / MIB)
        return ERR_OK;
    return err_set(report, ERR_MEMORY,
                   "the model does not fit into memory: %llu MiB of packed weights, %llu MiB of KV "
                   "pages (%u of %u tokens) and %u MiB for all else are more than the %llu MiB that "
                   "are left of %llu MiB; use fewer pages, a smaller quantisation, or raise the "
                   "limit of the control group",
                   (unsigned long long)(weights / MIB), (unsigned long long)(pages / MIB),
                   page_count, page_tokens, ELSE_MIB, (unsigned long long)(left / MIB),
                   (unsigned long long)(mem_machine_total() / MIB));
}

enum err backend_cpu_create(const struct backend_cpu_config *config, struct backend **backend,
                            struct report *report)
{
    const struct model *model = config->model;
    struct fwd_config fwd_config = {
        .threads = config->threads,
        .page_tokens = config->page_tokens ? config->page_tokens : PAGE_TOKENS,
        .page_count = config->page_count,
        .recipe = config->recipe,
        .kv_bits = config->kv_bits,
        .packed_file = config->packed_file,
        .progress = config->progress,
        .progress_user = config->progress_user,
    };
    uint32_t page_tokens = fwd_config.page_tokens;
    if (page_tokens < 16 || page_tokens > 256 || (page_tokens & (page_tokens - 1)) != 0)
        return err_set(report, ERR_INVALID,
                       "page_tokens is %u; use 16, 32, 64, 128 or 256", page_tokens);
    if (fwd_page_bytes(model, config->kv_bits, page_tokens) == 0)
        return err_set(report, ERR_INVALID,
                       "kv_bits is %u with page_tokens %u; use 16, or 8 with pages of 32 or more",
                       config->kv_bits, page_tokens);
    if (fwd_config.page_count == 0)
        fwd_config.page_count = page_count_choose(config, page_tokens);
    enum err err = check_memory(config, page_tokens, fwd_config.page_count, report);
    if (err != ERR_OK)
        return err;

    struct cpu *cpu = mem_calloc(NULL, 1, sizeof *cpu);
    if (cpu == NULL)
        return err_set(report, ERR_MEMORY, "cpu backend: out of memory");
    cpu->backend.ops = &CPU_OPS;
    err = fwd_create(model, &fwd_config, &cpu->fwd, report);
    if (err != ERR_OK) {
        cpu->fwd = NULL;
        cpu_destroy(&cpu->backend);
        return err;
    }
    cpu->backend.caps = (struct backend_caps){
        .name = "cpu",
        .arch = model->hparams.architecture,
        .vocab_count = model->hparams.vocab_count,
        .page_tokens = page_tokens,
        .page_count = fwd_config.page_count,
        .tokens_max = config->tokens_max ? config->tokens_max : TOKENS_MAX,
        .requests_max = config->requests_max ? config->requests_max : REQUESTS_MAX,
        .embedding_count = model->hparams.dim,
        .weight_bytes = fwd_weight_bytes(model, config->recipe),
        .kv_bytes = fwd_page_bytes(model, config->kv_bits, page_tokens) * fwd_config.page_count,
    };
    cpu->piece_count = fwd_thread_count(cpu->fwd);
    cpu->arenas = mem_calloc(NULL, cpu->piece_count, sizeof *cpu->arenas);
    if (cpu->arenas == NULL) {
        cpu_destroy(&cpu->backend);
        return err_set(report, ERR_MEMORY, "cpu backend: out of memory");
    }
    for (uint32_t piece = 0; piece < cpu->piece_count; piece++)
        arena_init(&cpu->arenas[piece], NULL);
    err = backend_worker_start(&cpu->backend, true, config->wake, config->wake_user, report);
    if (err != ERR_OK) {
        cpu_destroy(&cpu->backend);
        return err;
    }
    *backend = &cpu->backend;
    return ERR_OK;
}
