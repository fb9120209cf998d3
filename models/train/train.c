#include "models/train/train.h"

#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"
#include "models/train/crew.h"
#include "models/train/net.h"
#include "models/train/ops.h"

enum { VOCAB_DOCUMENTS = 8000, LONGEST_DOCUMENT_BYTES = 1 << 16 };

static const char *const specials[] = {TRAIN_END_OF_TEXT, TRAIN_TURN, TRAIN_TURN_END};

struct train_config train_config_default(void)
{
    return (struct train_config){
        .seed = 1,
        .steps = 3200,
        .shards = 4,
        .shard_tokens = 256,
        .document_max = 512,
        .vocab = 1536,
        .dim = 128,
        .layers = 4,
        .heads = 4,
        .kv_heads = 4,
        .hidden = 384,
        .context = 512,
        .lr = 3e-3f,
        .beta2 = 0.99f,
        .decay = 0.1f,
        .clip = 1.0f,
        .request_weight = 0.1f,
        .warmup_steps = 160,
    };
}

struct train_config train_config_tiny(void)
{
    struct train_config config = train_config_default();
    config.steps = 40;
    config.shards = 2;
    config.shard_tokens = 256;
    config.document_max = 128;
    config.vocab = 512;
    config.dim = 64;
    config.layers = 2;
    config.heads = 2;
    config.kv_heads = 1;
    config.hidden = 128;
    config.warmup_steps = 10;
    config.lr = 1e-2f;
    config.beta2 = 0.95f;
    return config;
}

/* ---- the vocabulary ---- */

static enum err learn_vocabulary(struct train_model *model, struct report *report)
{
    struct buf text;
    buf_init(&text, NULL);
    for (uint64_t i = 0; i < VOCAB_DOCUMENTS && !text.failed; i++)
        train_corpus_document(model->config.seed, i, &text);
    enum err err = text.failed ? err_set(report, ERR_MEMORY, "no memory for the training text")
                               : train_bpe_create(text.data, text.count, model->config.vocab, specials,
                                                  sizeof specials / sizeof specials[0], &model->bpe,
                                                  report);
    buf_deinit(&text);
    return err;
}

/* ---- batches ---- */

/* One shard of a step: whole documents, as many as fit. */
struct shard {
    uint32_t *tokens; /* [tokens_max] */
    float *weights;   /* [tokens_max] */
    size_t *begins;   /* [tokens_max + 1] */
    size_t count, documents;
};

/* The row of documents, as tokens; `next` is read and waits for room. */
struct source {
    uint64_t index;
    struct buf text;
    struct train_ids next;
};

static enum err read_document(struct source *source, const struct train_model *model,
                              struct report *report)
{
    do {
        buf_clear(&source->text);
        source->next.count = 0;
        train_corpus_document(model->config.seed, source->index++, &source->text);
        if (source->text.failed)
            return err_set(report, ERR_MEMORY, "no memory for the training text");
        enum err err = train_bpe_encode(model->bpe, source->text.data, source->text.count,
                                        &source->next, report);
        if (err)
            return err;
    } while (source->next.count > model->config.document_max);
    return ERR_OK;
}

/* One document's weights. Who asks chooses freely, and what cannot be foreseen is not worth
 * learning: turns of the user and the system count little. Tool responses are such turns too. */
static void weigh_document(float *weights, const struct source *source,
                           const struct train_model *model)
{
    uint32_t turn = train_bpe_vocab(model->bpe) - 2, turn_end = turn + 1;
    const struct train_ids *ids = &source->next;
    bool request = false;
    for (size_t i = 0; i < ids->count; i++) {
        weights[i] = request ? model->config.request_weight : 1.0f;
        if (ids->items[i] == turn && i + 1 < ids->count) {
            size_t bytes;
            request = *train_bpe_token(model->bpe, ids->items[i + 1], &bytes) != 'a';
        } else if (ids->items[i] == turn_end) {
            request = false;
        }
    }
}

/* Documents until the next one does not fit; one always does. */
static enum err fill_shard(struct shard *shard, struct source *source,
                           const struct train_model *model, struct report *report)
{
    shard->count = shard->documents = 0;
    shard->begins[0] = 0;
    while (!shard->count || shard->count + source->next.count <= model->config.shard_tokens) {
        memcpy(shard->tokens + shard->count, source->next.items,
               source->next.count * sizeof *shard->tokens);
        weigh_document(shard->weights + shard->count, source, model);
        shard->count += source->next.count;
        shard->begins[++shard->documents] = shard->count;
        enum err err = read_document(source, model, report);
        if (err)
            return err;
    }
    return ERR_OK;
}

/* ---- the loop ---- */

struct trainer {
    struct train_model *model;
    unsigned threads;
    struct train_crew *crew;
    struct source source;
    struct shard *shards;          /* [config.shards] */
    float **gradients;             /* [config.shards], each [param_count] */
    struct train_worker **workers; /* [threads] */
    double *losses;                /* [config.shards] */
    float scale;                   /* of this step's losses: 1 / their weight */
};

static void trainer_deinit(struct trainer *trainer)
{
    const struct train_config *c = &trainer->model->config;
    train_crew_destroy(trainer->crew);
    buf_deinit(&trainer->source.text);
    vec_free(NULL, &trainer->source.next);
    for (uint32_t i = 0; i < c->shards; i++) {
        if (trainer->shards) {
            mem_free(NULL, trainer->shards[i].tokens);
            mem_free(NULL, trainer->shards[i].weights);
            mem_free(NULL, trainer->shards[i].begins);
        }
        if (trainer->gradients)
            mem_free(NULL, trainer->gradients[i]);
    }
    for (unsigned i = 0; trainer->workers && i < trainer->threads; i++)
        train_worker_destroy(trainer->workers[i]);
    mem_free(NULL, trainer->shards);
    mem_free(NULL, trainer->gradients);
    mem_free(NULL, trainer->workers);
    mem_free(NULL, trainer->losses);
}

static enum err trainer_init(struct trainer *trainer, struct train_model *model,
                             struct report *report)
{
    const struct train_config *c = &model->config;
    *trainer = (struct trainer){.model = model};
    buf_init(&trainer->source.text, NULL);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = c->threads ? c->threads : cpus > 0 ? (unsigned)cpus : 1;
    trainer->threads = threads < c->shards ? threads : c->shards; /* a shard is one thread's */
    trainer->shards = mem_calloc(NULL, c->shards, sizeof *trainer->shards);
    trainer->gradients = mem_calloc(NULL, c->shards, sizeof *trainer->gradients);
    trainer->workers = mem_calloc(NULL, trainer->threads, sizeof *trainer->workers);
    trainer->losses = mem_calloc(NULL, c->shards, sizeof *trainer->losses);
    size_t tokens_max = c->shard_tokens > c->document_max ? c->shard_tokens : c->document_max;
    bool full = trainer->shards && trainer->gradients && trainer->workers && trainer->losses;
    for (uint32_t i = 0; full && i < c->shards; i++) {
        struct shard *shard = &trainer->shards[i];
        shard->tokens = mem_calloc(NULL, tokens_max, sizeof *shard->tokens);
        shard->weights = mem_calloc(NULL, tokens_max, sizeof *shard->weights);
        shard->begins = mem_calloc(NULL, tokens_max + 1, sizeof *shard->begins);
        trainer->gradients[i] = mem_calloc(NULL, train_net_param_count(model->net), sizeof(float));
        full = shard->tokens && shard->weights && shard->begins && trainer->gradients[i];
    }
    if (!full)
        return err_set(report, ERR_MEMORY, "no memory for training");
    for (unsigned i = 0; i < trainer->threads; i++) {
        enum err err = train_worker_create(model->net, tokens_max, c->document_max,
                                           &trainer->workers[i], report);
        if (err)
            return err;
    }
    enum err err = train_crew_create(trainer->threads, &trainer->crew, report);
    return err ? err : read_document(&trainer->source, model, report);
}

static float learning_rate(const struct train_config *c, uint32_t step)
{
    uint32_t warmup = c->warmup_steps < c->steps / 2 ? c->warmup_steps : c->steps / 2;
    if (step < warmup)
        return c->lr * (float)(step + 1) / (float)warmup;
    double sine, cosine, part = (double)(step - warmup) / (double)(c->steps - warmup);
    train_sincos(3.141592653589793 * part, &sine, &cosine);
    return (float)((double)c->lr * (0.01 + 0.99 * 0.5 * (1 + cosine)));
}

/* Every member's shards, in their order. */
static void learn_shards(void *user, unsigned member)
{
    struct trainer *trainer = user;
    for (uint32_t i = member; i < trainer->model->config.shards; i += trainer->threads) {
        struct shard *shard = &trainer->shards[i];
        struct train_batch batch = {shard->tokens, shard->weights, shard->count, shard->begins,
                                    shard->documents};
        trainer->losses[i] = train_worker_backward(trainer->workers[member], &batch,
                                                   trainer->scale, trainer->gradients[i]);
    }
}

static enum err do_step(struct trainer *trainer, uint32_t step, double *loss, size_t *tokens,
                        struct report *report)
{
    struct train_model *model = trainer->model;
    const struct train_config *c = &model->config;
    double total = 0; /* weight of what is predicted */
    for (uint32_t i = 0; i < c->shards; i++) {
        struct shard *shard = &trainer->shards[i];
        enum err err = fill_shard(shard, &trainer->source, model, report);
        if (err)
            return err;
        *tokens += shard->count;
        for (size_t k = 0; k < shard->documents; k++)
            for (size_t at = shard->begins[k] + 1; at < shard->begins[k + 1]; at++)
                total += (double)shard->weights[at];
    }
    trainer->scale = (float)(1 / total);
    train_crew_run(trainer->crew, learn_shards, trainer);
    *loss = 0;
    for (uint32_t i = 0; i < c->shards; i++)
        *loss += trainer->losses[i];
    struct train_step how = {learning_rate(c, step), 0.9f, c->beta2, c->decay, c->clip};
    train_net_step(model->net, &how, trainer->gradients, c->shards, trainer->crew);
    return ERR_OK;
}

static enum err train_steps(struct trainer *trainer, train_progress_fn progress, void *user,
                            struct report *report)
{
    struct train_model *model = trainer->model;
    const struct train_config *c = &model->config;
    uint64_t begin = clock_now_ns();
    size_t tokens = 0;
    for (uint32_t step = 0; step < c->steps; step++) {
        double loss;
        enum err err = do_step(trainer, step, &loss, &tokens, report);
        if (err)
            return err;
        model->loss = step ? 0.95 * model->loss + 0.05 * loss : loss;
        double seconds = (double)(clock_now_ns() - begin) * 1e-9;
        struct train_progress now = {
            .step = step + 1,
            .steps = c->steps,
            .loss = model->loss,
            .tokens_per_second = seconds > 0 ? (double)tokens / seconds : 0,
            .seconds_left = seconds / (step + 1) * (c->steps - step - 1),
        };
        if (progress && !progress(user, &now))
            return err_set(report, ERR_CANCELLED, "the training was stopped after %u of %u steps",
                           now.step, now.steps);
    }
    return ERR_OK;
}

static enum err check_config(const struct train_config *c, struct report *report)
{
    if (!c->steps || !c->shards || !c->heads || !c->dim || c->dim % c->heads || c->shards > 1024 ||
        c->document_max < 64 || !c->shard_tokens)
        return err_set(report, ERR_INVALID,
                       "the training cannot run with %u steps, %u shards of %u tokens, documents of up "
                       "to %u tokens, width %u and %u heads: heads must divide the width and documents "
                       "be 64 tokens at least",
                       c->steps, c->shards, c->shard_tokens, c->document_max, c->dim, c->heads);
    return ERR_OK;
}

enum err train_model_init(struct train_model *model, const struct train_config *config,
                          train_progress_fn progress, void *user, struct report *report)
{
    *model = (struct train_model){.config = *config};
    enum err err = check_config(config, report);
    if (!err)
        err = learn_vocabulary(model, report);
    if (err)
        return err;
    struct train_shape shape = {
        .vocab = train_bpe_vocab(model->bpe),
        .dim = config->dim,
        .layers = config->layers,
        .heads = config->heads,
        .kv_heads = config->kv_heads,
        .head_dim = config->dim / config->heads,
        .hidden = config->hidden,
        .rope_base = 10000,
        .norm_eps = 1e-5f,
    };
    err = train_net_create(&shape, config->seed, &model->net, report);
    if (err)
        return err;
    struct trainer trainer;
    err = trainer_init(&trainer, model, report);
    if (!err)
        err = train_steps(&trainer, progress, user, report);
    trainer_deinit(&trainer);
    return err;
}

void train_model_deinit(struct train_model *model)
{
    train_bpe_destroy(model->bpe);
    train_net_destroy(model->net);
    *model = (struct train_model){0};
}

enum err train_run(const struct train_config *config, train_progress_fn progress, void *user,
                   const char *path, struct report *report)
{
    struct train_model model;
    enum err err = train_model_init(&model, config, progress, user, report);
    if (!err)
        err = train_model_save(&model, path, report);
    train_model_deinit(&model);
    return err;
}
