/* Invariants: a worker's per-token buffers hold `tokens_max` rows; `probs` holds, for each document
 * and head, the attention rows as [n, n] with n the document's length, documents one after the
 * other (`probs_at`). A layer's buffers are valid from forward to the end of backward. */
#include "models/train/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "models/train/crew.h"
#include "models/train/ops.h"

enum { CHUNK = 4096, ATTENTION_ROWS = 48 };

/* Offsets into the parameters. */
struct layer {
    size_t attn_norm, qkv, attn_out, ffn_norm, gate_up, down;
};

struct train_net {
    struct train_shape shape;
    size_t q_width, kv_width, qkv_width; /* qkv rows: heads of q, then of k, then of v */
    struct train_group *groups;
    size_t group_count, param_count;
    struct layer *layers;
    size_t out_norm;
    float *params, *moment, *square; /* one mapping, [3, param_count] */
    double beta1_power, beta2_power;
    double *chunk_sums;
};

/* What one layer keeps for backward, each [tokens_max, width]. */
struct activations {
    float *in, *normed, *qkv, *attended, *middle, *ffn_normed, *gate_up, *active;
    float *inverse_attn, *inverse_ffn; /* [tokens_max] */
    float *probs;
};

struct train_worker {
    const struct train_net *net;
    size_t tokens_max, document_max;
    struct activations *layers;
    float *final, *final_normed, *inverse_final, *logits;
    float *d_stream, *d_normed, *d_gate_up, *d_active, *d_attended, *d_qkv; /* gradients in flight */
    float *d_probs; /* [document_max, document_max] */
    float *rope;    /* [document_max, head_dim / 2, 2]: cos, sin */
    float *scratch; /* of products */
    size_t *probs_at; /* [tokens_max] by document */
    float *pool;      /* all of the above but probs_at */
    size_t pool_bytes;
};

/* ---- building ---- */

static size_t add_group(struct train_net *net, const char *name, long layer, size_t rows,
                        size_t columns, bool decays)
{
    struct train_group *group = &net->groups[net->group_count++];
    if (layer < 0)
        snprintf(group->name, sizeof group->name, "%s.weight", name);
    else
        snprintf(group->name, sizeof group->name, "blk.%ld.%s.weight", layer, name);
    group->offset = net->param_count;
    group->rows = rows;
    group->columns = columns;
    group->decays = decays;
    net->param_count += rows * columns;
    return group->offset;
}

/* q, k, v and gate, up lie next to each other, so that each set is one product. */
static void lay_out(struct train_net *net)
{
    const struct train_shape *s = &net->shape;
    add_group(net, "token_embd", -1, s->vocab, s->dim, true);
    for (uint32_t i = 0; i < s->layers; i++) {
        struct layer *l = &net->layers[i];
        l->attn_norm = add_group(net, "attn_norm", i, 1, s->dim, false);
        l->qkv = add_group(net, "attn_q", i, net->q_width, s->dim, true);
        add_group(net, "attn_k", i, net->kv_width, s->dim, true);
        add_group(net, "attn_v", i, net->kv_width, s->dim, true);
        l->attn_out = add_group(net, "attn_output", i, s->dim, net->q_width, true);
        l->ffn_norm = add_group(net, "ffn_norm", i, 1, s->dim, false);
        l->gate_up = add_group(net, "ffn_gate", i, s->hidden, s->dim, true);
        add_group(net, "ffn_up", i, s->hidden, s->dim, true);
        l->down = add_group(net, "ffn_down", i, s->dim, s->hidden, true);
    }
    net->out_norm = add_group(net, "output_norm", -1, 1, s->dim, false);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Nearly normal, deviation 1: the sum of 12 uniforms. */
static double random_normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(next_random(state) >> 11) * 0x1p-53;
    return sum;
}

static void fill_params(struct train_net *net, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t g = 0; g < net->group_count; g++) {
        const struct train_group *group = &net->groups[g];
        float *w = net->params + group->offset;
        size_t count = group->rows * group->columns;
        /* Every half-layer begins as "add nothing" (its last matrix is 0) and the embedding small:
         * larger beginnings learn visibly slower (bench/NOTEBOOK.md). */
        bool ends_half_layer = strstr(group->name, "attn_output") || strstr(group->name, "ffn_down");
        double deviation = g == 0            ? 0.02
                           : ends_half_layer ? 0
                                             : 0.5 / sqrt((double)group->columns);
        for (size_t i = 0; i < count; i++)
            w[i] = group->decays ? (float)(deviation * random_normal(&state)) : 1.0f;
    }
}

void train_net_destroy(struct train_net *net)
{
    if (!net)
        return;
    if (net->params)
        mem_unmap(net->params, 3 * net->param_count * sizeof(float));
    mem_free(NULL, net->layers);
    mem_free(NULL, net->groups);
    mem_free(NULL, net->chunk_sums);
    mem_free(NULL, net);
}

enum err train_net_create(const struct train_shape *shape, uint64_t seed, struct train_net **out,
                          struct report *report)
{
    *out = NULL;
    const struct train_shape *s = shape;
    if (!s->vocab || !s->dim || !s->layers || !s->heads || !s->kv_heads || !s->hidden ||
        !s->head_dim || s->head_dim % 2 || s->heads % s->kv_heads)
        return err_set(report, ERR_INVALID,
                       "a network of vocabulary %u, width %u, %u layers, %u/%u heads of %u, hidden "
                       "width %u cannot be trained: every number must be positive, heads a multiple "
                       "of the key heads and the head width even",
                       s->vocab, s->dim, s->layers, s->heads, s->kv_heads, s->head_dim, s->hidden);
    if (s->vocab > 1u << 20 || s->dim > 1u << 14 || s->layers > 256 || s->hidden > 1u << 16 ||
        s->heads > 1024 || s->head_dim > 1024)
        return err_set(report, ERR_LIMIT, "the network is larger than this trainer's bounds");
    struct train_net *net = mem_calloc(NULL, 1, sizeof *net);
    if (!net)
        goto no_memory;
    net->shape = *s;
    net->q_width = (size_t)s->heads * s->head_dim;
    net->kv_width = (size_t)s->kv_heads * s->head_dim;
    net->qkv_width = net->q_width + 2 * net->kv_width;
    net->beta1_power = net->beta2_power = 1;
    net->layers = mem_calloc(NULL, s->layers, sizeof *net->layers);
    net->groups = mem_calloc(NULL, 2 + 9 * (size_t)s->layers, sizeof *net->groups);
    if (!net->layers || !net->groups)
        goto no_memory;
    lay_out(net);
    net->chunk_sums = mem_calloc(NULL, net->param_count / CHUNK + 1, sizeof *net->chunk_sums);
    net->params = mem_map(3 * net->param_count * sizeof(float));
    if (!net->params || !net->chunk_sums)
        goto no_memory;
    net->moment = net->params + net->param_count;
    net->square = net->moment + net->param_count;
    fill_params(net, seed);
    *out = net;
    return ERR_OK;
no_memory:
    train_net_destroy(net);
    return err_set(report, ERR_MEMORY, "no memory for a network of width %u and %u layers", s->dim,
                   s->layers);
}

const struct train_shape *train_net_shape(const struct train_net *net)
{
    return &net->shape;
}

size_t train_net_param_count(const struct train_net *net)
{
    return net->param_count;
}

float *train_net_params(struct train_net *net)
{
    return net->params;
}

size_t train_net_group_count(const struct train_net *net)
{
    return net->group_count;
}

const struct train_group *train_net_group(const struct train_net *net, size_t index)
{
    CHECK(index < net->group_count);
    return &net->groups[index];
}

/* ---- workers ---- */

static void fill_rope(struct train_worker *worker)
{
    const struct train_shape *s = &worker->net->shape;
    size_t half = s->head_dim / 2;
    double base_log2 = train_log2((double)s->rope_base);
    for (size_t i = 0; i < half; i++) {
        double frequency = train_exp2(-2.0 * (double)i / s->head_dim * base_log2);
        for (size_t p = 0; p < worker->document_max; p++) {
            double sine, cosine;
            train_sincos((double)p * frequency, &sine, &cosine);
            worker->rope[(p * half + i) * 2] = (float)cosine;
            worker->rope[(p * half + i) * 2 + 1] = (float)sine;
        }
    }
}

/* Hands out the parts of one mapping; the first round (pool NULL) only counts. */
static float *take(struct train_worker *worker, size_t *at, size_t floats)
{
    float *part = worker->pool ? worker->pool + *at : NULL;
    *at += (floats + 15) / 16 * 16;
    return part;
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t lay_out_buffers(struct train_worker *worker)
{
    const struct train_net *net = worker->net;
    const struct train_shape *s = &net->shape;
    size_t at = 0, t = worker->tokens_max, n = worker->document_max;
    /* The longest documents make the largest sum of squares. */
    size_t probs = (t / n + 1) * n * n * s->heads;
    for (uint32_t i = 0; i < s->layers; i++) {
        struct activations *l = &worker->layers[i];
        l->in = take(worker, &at, t * s->dim);
        l->normed = take(worker, &at, t * s->dim);
        l->qkv = take(worker, &at, t * net->qkv_width);
        l->attended = take(worker, &at, t * net->q_width);
        l->middle = take(worker, &at, t * s->dim);
        l->ffn_normed = take(worker, &at, t * s->dim);
        l->gate_up = take(worker, &at, t * s->hidden * 2);
        l->active = take(worker, &at, t * s->hidden);
        l->inverse_attn = take(worker, &at, t);
        l->inverse_ffn = take(worker, &at, t);
        l->probs = take(worker, &at, probs);
    }
    worker->final = take(worker, &at, t * s->dim);
    worker->final_normed = take(worker, &at, t * s->dim);
    worker->inverse_final = take(worker, &at, t);
    worker->logits = take(worker, &at, t * s->vocab);
    worker->d_stream = take(worker, &at, t * s->dim);
    worker->d_normed = take(worker, &at, t * s->dim);
    worker->d_gate_up = take(worker, &at, t * s->hidden * 2);
    worker->d_active = take(worker, &at, t * s->hidden);
    worker->d_attended = take(worker, &at, t * net->q_width);
    worker->d_qkv = take(worker, &at, t * net->qkv_width);
    worker->d_probs = take(worker, &at, n * n);
    worker->rope = take(worker, &at, n * s->head_dim);
    size_t inner = largest(largest(s->hidden * 2, net->qkv_width), largest(s->vocab, s->dim));
    worker->scratch = take(worker, &at, train_gemm_scratch(largest(inner, t), largest(inner, t)));
    return at;
}

void train_worker_destroy(struct train_worker *worker)
{
    if (!worker)
        return;
    if (worker->pool)
        mem_unmap(worker->pool, worker->pool_bytes);
    mem_free(NULL, worker->layers);
    mem_free(NULL, worker->probs_at);
    mem_free(NULL, worker);
}

enum err train_worker_create(const struct train_net *net, size_t tokens_max, size_t document_max,
                             struct train_worker **out, struct report *report)
{
    *out = NULL;
    if (!document_max || document_max > tokens_max || tokens_max > 1u << 20 ||
        document_max > 1u << 13)
        return err_set(report, ERR_INVALID,
                       "a batch of %zu tokens with documents of up to %zu cannot be trained: "
                       "documents must fit the batch, at most 8192 tokens each",
                       tokens_max, document_max);
    struct train_worker *worker = mem_calloc(NULL, 1, sizeof *worker);
    if (!worker)
        goto no_memory;
    worker->net = net;
    worker->tokens_max = tokens_max;
    worker->document_max = document_max;
    worker->layers = mem_calloc(NULL, net->shape.layers, sizeof *worker->layers);
    worker->probs_at = mem_calloc(NULL, tokens_max, sizeof *worker->probs_at);
    if (!worker->layers || !worker->probs_at)
        goto no_memory;
    worker->pool_bytes = lay_out_buffers(worker) * sizeof(float);
    worker->pool = mem_map(worker->pool_bytes);
    if (!worker->pool)
        goto no_memory;
    lay_out_buffers(worker);
    fill_rope(worker);
    *out = worker;
    return ERR_OK;
no_memory:
    train_worker_destroy(worker);
    return err_set(report, ERR_MEMORY, "no memory for the activations of %zu tokens", tokens_max);
}

/* ---- products ---- */

/* out [t, rows] = x [t, columns] * w [rows, columns] transposed. */
static void project(struct train_worker *worker, float *out, const float *x, size_t w, size_t t,
                    size_t rows, size_t columns)
{
    train_gemm(out, rows, false, train_rows(x, columns),
               train_columns(worker->net->params + w, columns), t, rows, columns, worker->scratch);
}

/* dx [t, columns] = dout [t, rows] * w, dw [rows, columns] = dout transposed * x. */
static void project_back(struct train_worker *worker, float *gradient, float *dx,
                         const float *dout, const float *x, size_t w, size_t t, size_t rows,
                         size_t columns)
{
    train_gemm(dx, columns, false, train_rows(dout, rows),
               train_rows(worker->net->params + w, columns), t, columns, rows, worker->scratch);
    train_gemm(gradient + w, columns, false, train_columns(dout, rows), train_rows(x, columns),
               rows, columns, t, worker->scratch);
}

/* ---- norms ---- */

static void norm_rows(struct train_worker *worker, float *out, float *inverse, const float *x,
                      size_t gain, size_t t)
{
    const struct train_net *net = worker->net;
    size_t dim = net->shape.dim;
    for (size_t i = 0; i < t; i++)
        inverse[i] = train_rmsnorm(out + i * dim, x + i * dim, net->params + gain, dim,
                                   net->shape.norm_eps);
}

/* d_stream += d_normed through the norm; the gain's gradient is set. */
static void norm_rows_back(struct train_worker *worker, float *gradient, const float *x,
                           const float *inverse, size_t gain, size_t t)
{
    size_t dim = worker->net->shape.dim;
    memset(gradient + gain, 0, dim * sizeof *gradient);
    for (size_t i = 0; i < t; i++) {
        train_rmsnorm_back(worker->d_stream + i * dim, worker->d_normed + i * dim, x + i * dim,
                           worker->net->params + gain, dim, inverse[i]);
        train_rmsnorm_back_gain(gradient + gain, worker->d_normed + i * dim, x + i * dim, dim,
                                inverse[i]);
    }
}

/* ---- attention ---- */

/* Turns q and k of a row by position, or back (`direction` -1: the transpose). */
static void rotate_row(const struct train_worker *worker, float *row, size_t position,
                       float direction)
{
    const struct train_shape *s = &worker->net->shape;
    size_t half = s->head_dim / 2, heads = s->heads + s->kv_heads;
    const float *table = worker->rope + position * half * 2;
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < half; i++) {
            float *pair = row + h * s->head_dim + 2 * i;
            float c = table[2 * i], z = direction * table[2 * i + 1], x = pair[0], y = pair[1];
            pair[0] = x * c - y * z;
            pair[1] = x * z + y * c;
        }
}

/* One query head of one document. */
struct head {
    size_t n, begin;          /* tokens of the document, the first one's row */
    size_t q, k, v;           /* offsets into a layer's qkv, of the first row */
    size_t out;               /* into attended */
    size_t probs;             /* into probs, [n, n] */
};

static struct head head_get(const struct train_worker *worker, const struct train_batch *batch,
                            size_t document, size_t index)
{
    const struct train_net *net = worker->net;
    const struct train_shape *s = &net->shape;
    size_t begin = batch->begins[document], n = batch->begins[document + 1] - begin;
    size_t row = begin * net->qkv_width, kv = index / (s->heads / s->kv_heads) * s->head_dim;
    return (struct head){
        .n = n,
        .begin = begin,
        .q = row + index * s->head_dim,
        .k = row + net->q_width + kv,
        .v = row + net->q_width + net->kv_width + kv,
        .out = begin * net->q_width + index * s->head_dim,
        .probs = worker->probs_at[document] + index * n * n,
    };
}

/* probs = softmax(q k^T / sqrt(d)), out = probs v. Rows are done in blocks, so that a block needs
 * only the keys up to its last row. */
static void attend(struct train_worker *worker, const struct activations *l, struct head h)
{
    const struct train_net *net = worker->net;
    size_t d = net->shape.head_dim, width = net->qkv_width, n = h.n;
    float *out = l->attended + h.out, *probs = l->probs + h.probs;
    struct train_matrix keys = {l->qkv + h.k, 1, width}, values = {l->qkv + h.v, width, 1};
    float scale = 1.0f / sqrtf((float)d);
    for (size_t r0 = 0; r0 < n; r0 += ATTENTION_ROWS) {
        size_t end = n - r0 < ATTENTION_ROWS ? n : r0 + ATTENTION_ROWS;
        struct train_matrix queries = {l->qkv + h.q + r0 * width, width, 1};
        train_gemm(probs + r0 * n, n, false, queries, keys, end - r0, end, d, worker->scratch);
        for (size_t r = r0; r < end; r++) {
            train_softmax(probs + r * n, r + 1, scale);
            memset(probs + r * n + r + 1, 0, (n - r - 1) * sizeof *probs);
        }
        train_gemm(out + r0 * net->q_width, net->q_width, false, train_rows(probs + r0 * n, n),
                   values, end - r0, d, end, worker->scratch);
    }
}

/* From d_attended: dq set; dk and dv set, or added to where another query head was before. */
static void attend_back(struct train_worker *worker, const struct activations *l, struct head h,
                        bool add)
{
    const struct train_net *net = worker->net;
    size_t d = net->shape.head_dim, width = net->qkv_width, n = h.n;
    const float *probs = l->probs + h.probs;
    float *d_probs = worker->d_probs, *dq = worker->d_qkv + h.q;
    struct train_matrix keys = {l->qkv + h.k, width, 1}, values = {l->qkv + h.v, 1, width};
    struct train_matrix d_out = {worker->d_attended + h.out, net->q_width, 1};
    float scale = 1.0f / sqrtf((float)d);
    for (size_t r0 = 0; r0 < n; r0 += ATTENTION_ROWS) {
        size_t end = n - r0 < ATTENTION_ROWS ? n : r0 + ATTENTION_ROWS;
        struct train_matrix rows = {d_out.data + r0 * net->q_width, net->q_width, 1};
        train_gemm(d_probs + r0 * n, n, false, rows, values, end - r0, end, d, worker->scratch);
        for (size_t r = r0; r < end; r++) {
            train_softmax_back(d_probs + r * n, probs + r * n, r + 1, scale);
            memset(d_probs + r * n + r + 1, 0, (n - r - 1) * sizeof *d_probs);
        }
        train_gemm(dq + r0 * width, width, false, train_rows(d_probs + r0 * n, n), keys, end - r0,
                   d, end, worker->scratch);
    }
    train_gemm(worker->d_qkv + h.v, width, add, train_columns(probs, n), d_out, n, d, n,
               worker->scratch);
    train_gemm(worker->d_qkv + h.k, width, add, train_columns(d_probs, n),
               (struct train_matrix){l->qkv + h.q, width, 1}, n, d, n, worker->scratch);
}

/* q and k of every token, turned by its place in its document. */
static void rotate_rows(const struct train_worker *worker, float *qkv,
                        const struct train_batch *batch, float direction)
{
    for (size_t i = 0; i < batch->documents; i++)
        for (size_t at = batch->begins[i]; at < batch->begins[i + 1]; at++)
            rotate_row(worker, qkv + at * worker->net->qkv_width, at - batch->begins[i], direction);
}

/* ---- forward ---- */

static void check_batch(struct train_worker *worker, const struct train_batch *batch)
{
    const struct train_shape *s = &worker->net->shape;
    CHECK(batch->count && batch->count <= worker->tokens_max && batch->documents);
    CHECK(batch->begins[0] == 0 && batch->begins[batch->documents] == batch->count);
    size_t at = 0;
    for (size_t i = 0; i < batch->documents; i++) {
        CHECK(batch->begins[i] < batch->begins[i + 1]);
        size_t n = batch->begins[i + 1] - batch->begins[i];
        CHECK(n <= worker->document_max);
        worker->probs_at[i] = at;
        at += n * n * s->heads;
    }
    for (size_t i = 0; i < batch->count; i++)
        CHECK(batch->tokens[i] < s->vocab);
}

static void forward_attention(struct train_worker *worker, uint32_t index,
                              const struct train_batch *batch)
{
    const struct train_net *net = worker->net;
    const struct train_shape *s = &net->shape;
    const struct layer *w = &net->layers[index];
    struct activations *l = &worker->layers[index];
    size_t t = batch->count;
    norm_rows(worker, l->normed, l->inverse_attn, l->in, w->attn_norm, t);
    project(worker, l->qkv, l->normed, w->qkv, t, net->qkv_width, s->dim);
    rotate_rows(worker, l->qkv, batch, 1);
    for (size_t i = 0; i < batch->documents; i++)
        for (size_t h = 0; h < s->heads; h++)
            attend(worker, l, head_get(worker, batch, i, h));
    project(worker, l->middle, l->attended, w->attn_out, t, s->dim, net->q_width);
    train_add(l->middle, l->in, t * s->dim);
}

static void forward_mlp(struct train_worker *worker, uint32_t index, float *out, size_t t)
{
    const struct train_shape *s = &worker->net->shape;
    const struct layer *w = &worker->net->layers[index];
    struct activations *l = &worker->layers[index];
    size_t hidden = s->hidden;
    norm_rows(worker, l->ffn_normed, l->inverse_ffn, l->middle, w->ffn_norm, t);
    project(worker, l->gate_up, l->ffn_normed, w->gate_up, t, 2 * hidden, s->dim);
    for (size_t i = 0; i < t; i++)
        train_swiglu(l->active + i * hidden, l->gate_up + i * 2 * hidden,
                     l->gate_up + i * 2 * hidden + hidden, hidden);
    project(worker, out, l->active, w->down, t, s->dim, hidden);
    train_add(out, l->middle, t * s->dim);
}

const float *train_worker_forward(struct train_worker *worker, const struct train_batch *batch)
{
    const struct train_net *net = worker->net;
    const struct train_shape *s = &net->shape;
    size_t t = batch->count, dim = s->dim;
    check_batch(worker, batch);
    float *stream = worker->layers[0].in;
    for (size_t i = 0; i < t; i++)
        memcpy(stream + i * dim, net->params + batch->tokens[i] * dim, dim * sizeof *stream);
    for (uint32_t i = 0; i < s->layers; i++) {
        forward_attention(worker, i, batch);
        forward_mlp(worker, i, i + 1 < s->layers ? worker->layers[i + 1].in : worker->final, t);
    }
    norm_rows(worker, worker->final_normed, worker->inverse_final, worker->final, net->out_norm, t);
    project(worker, worker->logits, worker->final_normed, 0, t, s->vocab, dim);
    return worker->logits;
}

/* ---- backward ---- */

/* Logits become their gradient; returns the loss. */
static double backward_loss(struct train_worker *worker, const struct train_batch *batch,
                            float scale)
{
    size_t vocab = worker->net->shape.vocab;
    double sum = 0;
    for (size_t i = 0; i < batch->documents; i++) {
        size_t last = batch->begins[i + 1] - 1;
        for (size_t at = batch->begins[i]; at <= last; at++) {
            float weight = at == last ? 0 : scale * (batch->weights ? batch->weights[at + 1] : 1.0f);
            float *row = worker->logits + at * vocab;
            if (weight > 0)
                sum += (double)weight *
                       train_cross_entropy(row, vocab, batch->tokens[at + 1], weight);
            else
                memset(row, 0, vocab * sizeof *row);
        }
    }
    return sum;
}

/* From the gradient of a half-layer's output (d_stream) to that of its input; what the residual
 * carries is already there. */
static void backward_mlp(struct train_worker *worker, uint32_t index, size_t t, float *gradient)
{
    const struct train_shape *s = &worker->net->shape;
    const struct layer *w = &worker->net->layers[index];
    struct activations *l = &worker->layers[index];
    size_t hidden = s->hidden;
    project_back(worker, gradient, worker->d_active, worker->d_stream, l->active, w->down, t,
                 s->dim, hidden);
    for (size_t i = 0; i < t; i++) {
        size_t gate = i * 2 * hidden, up = gate + hidden;
        train_swiglu_back(worker->d_gate_up + gate, worker->d_gate_up + up,
                          worker->d_active + i * hidden, l->gate_up + gate, l->gate_up + up,
                          hidden);
    }
    project_back(worker, gradient, worker->d_normed, worker->d_gate_up, l->ffn_normed, w->gate_up,
                 t, 2 * hidden, s->dim);
    norm_rows_back(worker, gradient, l->middle, l->inverse_ffn, w->ffn_norm, t);
}

static void backward_attention(struct train_worker *worker, uint32_t index,
                               const struct train_batch *batch, float *gradient)
{
    const struct train_net *net = worker->net;
    const struct train_shape *s = &net->shape;
    const struct layer *w = &net->layers[index];
    struct activations *l = &worker->layers[index];
    size_t t = batch->count, group = s->heads / s->kv_heads;
    project_back(worker, gradient, worker->d_attended, worker->d_stream, l->attended, w->attn_out,
                 t, s->dim, net->q_width);
    for (size_t i = 0; i < batch->documents; i++)
        for (size_t h = 0; h < s->heads; h++)
            attend_back(worker, l, head_get(worker, batch, i, h), h % group != 0);
    rotate_rows(worker, worker->d_qkv, batch, -1);
    project_back(worker, gradient, worker->d_normed, worker->d_qkv, l->normed, w->qkv, t,
                 net->qkv_width, s->dim);
    norm_rows_back(worker, gradient, l->in, l->inverse_attn, w->attn_norm, t);
}

double train_worker_backward(struct train_worker *worker, const struct train_batch *batch,
                             float scale, float *gradient)
{
    const struct train_shape *s = &worker->net->shape;
    size_t t = batch->count, dim = s->dim;
    train_worker_forward(worker, batch);
    double loss = backward_loss(worker, batch, scale);
    project_back(worker, gradient, worker->d_normed, worker->logits, worker->final_normed, 0, t,
                 s->vocab, dim);
    memset(worker->d_stream, 0, t * dim * sizeof *worker->d_stream);
    norm_rows_back(worker, gradient, worker->final, worker->inverse_final, worker->net->out_norm,
                   t);
    for (uint32_t i = s->layers; i-- > 0;) {
        backward_mlp(worker, i, t, gradient);
        backward_attention(worker, i, batch, gradient);
    }
    /* The embedding is tied: to the output's gradient comes the input's, token by token. */
    for (size_t i = 0; i < t; i++)
        train_add(gradient + batch->tokens[i] * dim, worker->d_stream + i * dim, dim);
    return loss;
}

/* ---- the step ---- */

struct step_work {
    struct train_net *net;
    const struct train_crew *crew;
    float *const *gradients;
    size_t gradient_count;
    struct train_adam adam; /* decay is set for groups that decay, ignored for others */
};

/* Sums the gradients and, by chunk, their squares. */
static void sum_gradients(void *user, unsigned member)
{
    const struct step_work *work = user;
    struct train_net *net = work->net;
    float *sum = work->gradients[0];
    size_t chunks = (net->param_count + CHUNK - 1) / CHUNK;
    for (size_t i = member; i < chunks; i += train_crew_members(work->crew)) {
        size_t begin = i * CHUNK, left = net->param_count - begin;
        size_t count = left < CHUNK ? left : CHUNK;
        for (size_t g = 1; g < work->gradient_count; g++)
            train_add(sum + begin, work->gradients[g] + begin, count);
        net->chunk_sums[i] = train_sum_squares(sum + begin, count);
    }
}

static void move_params(void *user, unsigned member)
{
    const struct step_work *work = user;
    struct train_net *net = work->net;
    for (size_t g = member; g < net->group_count; g += train_crew_members(work->crew)) {
        const struct train_group *group = &net->groups[g];
        size_t at = group->offset;
        struct train_adam adam = work->adam;
        if (!group->decays)
            adam.decay = 0;
        train_adam_step(&adam, net->params + at, work->gradients[0] + at, net->moment + at,
                        net->square + at, group->rows * group->columns);
    }
}

double train_net_step(struct train_net *net, const struct train_step *step,
                      float *const *gradients, size_t gradient_count, struct train_crew *crew)
{
    CHECK(gradient_count);
    struct step_work work = {
        .net = net, .crew = crew, .gradients = gradients, .gradient_count = gradient_count};
    train_crew_run(crew, sum_gradients, &work);
    double squares = 0;
    for (size_t i = 0; i < (net->param_count + CHUNK - 1) / CHUNK; i++)
        squares += net->chunk_sums[i];
    double norm = sqrt(squares), clip = (double)step->clip;
    net->beta1_power *= (double)step->beta1;
    net->beta2_power *= (double)step->beta2;
    work.adam = (struct train_adam){
        .lr = step->lr,
        .beta1 = step->beta1,
        .beta2 = step->beta2,
        .eps = 1e-8f,
        .decay = step->decay,
        .grad_scale = clip > 0 && norm > clip ? (float)(clip / norm) : 1.0f,
        .correct_m = (float)(1.0 / (1.0 - net->beta1_power)),
        .correct_v = (float)(1.0 / (1.0 - net->beta2_power)),
    };
    train_crew_run(crew, move_params, &work);
    return norm;
}
