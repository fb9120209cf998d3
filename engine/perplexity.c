#include "engine/perplexity.h"

#include <math.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "engine/text/tok.h"
#include "models/model.h"
#include "simd/simd.h"

enum { PAGE_TOKENS = 32, CONTEXT_DEFAULT = 512, ROWS_MAX = 128 };

struct measure {
    const struct engine_perplexity *config;
    struct engine_perplexity_result *result;
    struct model *model;
    struct tok *tok;
    struct fwd *fwd;
    struct tok_ids ids;
    uint32_t context, page_count;
    uint32_t *pages; /* [page_count] */
    double sum, sum_of_squares; /* of -log p */
    struct report *report;
};

/* Rows of a step whose next token is known. */
struct scores {
    const float *const *logits;
    const uint32_t *next;
    uint32_t vocab_count;
    double values[ROWS_MAX]; /* -log p(next) */
};

static void score_row(void *user, uint32_t index)
{
    struct scores *scores = user;
    const float *logits = scores->logits[index];
    float max = logits[0];
    double sum = 0;
    for (uint32_t i = 1; i < scores->vocab_count; i++)
        max = logits[i] > max ? logits[i] : max;
    for (uint32_t i = 0; i < scores->vocab_count; i++)
        sum += (double)simd_expf(logits[i] - max);
    scores->values[index] = simd_log(sum) - (double)(logits[scores->next[index]] - max);
}

/* Rows [begin, begin + count) of a window; those from its middle on, but the last, are scored. */
static enum err run_rows(struct measure *m, const uint32_t *window, uint32_t begin, uint32_t count)
{
    uint32_t tokens[ROWS_MAX], positions[ROWS_MAX], token_begin[2] = {0, count},
        page_begin[2] = {0, m->page_count}, sampler_begin[2] = {0, 0};
    struct batch_sampler samplers[ROWS_MAX];
    uint32_t first = m->context / 2, scored_from = begin > first ? begin : first;
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = window[begin + i];
        positions[i] = begin + i;
        if (begin + i >= first && begin + i + 1 < m->context)
            samplers[sampler_begin[1]++] =
                (struct batch_sampler){.kind = BATCH_RAW_LOGITS, .row = i};
    }
    if (begin == 0 && tok_adds_bos(m->tok))
        tokens[0] = tok_bos(m->tok);
    struct batch batch = {.request_count = 1, .token_count = count, .tokens = tokens,
                          .positions = positions, .token_begin = token_begin, .pages = m->pages,
                          .page_begin = page_begin, .kv_before = &begin, .samplers = samplers,
                          .sampler_begin = sampler_begin};
    struct fwd_output out;
    enum err err = fwd_run(m->fwd, &batch, &out, m->report);
    if (err || out.count == 0)
        return err;
    struct scores scores = {out.logits, window + scored_from + 1, m->model->hparams.vocab_count, {0}};
    fwd_parallel(m->fwd, out.count, score_row, &scores);
    for (uint32_t i = 0; i < out.count; i++) {
        m->sum += scores.values[i];
        m->sum_of_squares += scores.values[i] * scores.values[i];
    }
    m->result->scored += out.count;
    return ERR_OK;
}

static void summarise(struct measure *m)
{
    struct engine_perplexity_result *r = m->result;
    double count = (double)r->scored, mean = m->sum / count;
    double variance = m->sum_of_squares / count - mean * mean;
    r->perplexity = simd_exp(mean);
    r->error = r->scored > 1 && variance > 0 ? sqrt(variance / (count - 1)) * r->perplexity : 0;
}

static enum err run_windows(struct measure *m)
{
    struct engine_perplexity_result *r = m->result;
    uint64_t windows = m->ids.count / m->context, begun = clock_now_ns();
    if (m->config->windows_max && windows > m->config->windows_max)
        windows = m->config->windows_max;
    r->tokens = m->ids.count;
    for (uint64_t w = 0; w < windows; w++) {
        for (uint32_t at = 0; at < m->context; at += ROWS_MAX) {
            uint32_t count = m->context - at < ROWS_MAX ? m->context - at : ROWS_MAX;
            enum err err = run_rows(m, m->ids.items + w * m->context, at, count);
            if (err)
                return err;
        }
        r->windows++;
        r->seconds = (double)(clock_now_ns() - begun) * 1e-9;
        summarise(m);
        if (m->config->progress &&
            !m->config->progress(m->config->progress_user, w + 1, windows, r->perplexity))
            return err_set(m->report, ERR_CANCELLED, "stopped");
    }
    return ERR_OK;
}

static enum err prepare(struct measure *m)
{
    const struct engine_perplexity *config = m->config;
    size_t bytes = config->text_bytes;
    enum fwd_recipe recipe = FWD_AS_IS;
    if (config->quantize && !fwd_recipe_find(config->quantize, &recipe))
        return err_set(m->report, ERR_INVALID, "'%s' is no format to quantise to; %s are",
                       config->quantize, fwd_recipe_names());
    enum err err = model_open(config->model_path, &m->model, m->report);
    if (!err)
        err = tok_create_from_gguf(m->model->file, &m->tok, m->report);
    if (!err && tok_vocab_count(m->tok) > m->model->hparams.vocab_count)
        err = err_set(m->report, ERR_INVALID, "the tokenizer has %u tokens, the model %u",
                      tok_vocab_count(m->tok), m->model->hparams.vocab_count);
    if (bytes > 0 && config->text[bytes - 1] == '\n')
        bytes--;
    if (!err)
        err = tok_encode(m->tok, config->text, bytes, TOK_ADD_SPECIALS, &m->ids, m->report);
    if (!err && m->ids.count < m->context)
        err = err_set(m->report, ERR_INVALID, "the text has %zu tokens, a window of %u does not fit; "
                      "take a longer text or a smaller --context", m->ids.count, m->context);
    if (err)
        return err;
    m->page_count = (m->context + PAGE_TOKENS - 1) / PAGE_TOKENS;
    m->pages = mem_calloc(NULL, m->page_count, sizeof *m->pages);
    if (!m->pages)
        return err_set(m->report, ERR_MEMORY, "no memory for %u pages", m->page_count);
    for (uint32_t i = 0; i < m->page_count; i++)
        m->pages[i] = i;
    struct fwd_config fwd = {.threads = config->threads, .page_tokens = PAGE_TOKENS,
                             .page_count = m->page_count, .recipe = recipe};
    return fwd_create(m->model, &fwd, &m->fwd, m->report);
}

enum err engine_perplexity(const struct engine_perplexity *config,
                           struct engine_perplexity_result *result, struct report *report)
{
    struct measure m = {.config = config, .result = result, .report = report,
                        .context = config->context ? config->context : CONTEXT_DEFAULT};
    *result = (struct engine_perplexity_result){0};
    if (m.context < 4 || m.context > 1u << 20)
        return err_set(report, ERR_INVALID, "a window of %u tokens: use 4 to 1048576", m.context);
    enum err err = prepare(&m);
    if (!err)
        err = run_windows(&m);
    fwd_destroy(m.fwd);
    tok_ids_deinit(&m.ids);
    tok_destroy(m.tok);
    model_close(m.model);
    mem_free(NULL, m.pages);
    return err;
}
