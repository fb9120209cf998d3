/* links: models/train
 * The network against a second one, written apart from it in double precision: its logits, and its
 * gradient by finite differences, for every group of parameters. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/train/crew.h"
#include "models/train/net.h"

static const struct train_shape shape = {
    .vocab = 23, .dim = 24, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 6, .hidden = 20,
    .rope_base = 100, .norm_eps = 1e-5f,
};

/* ---- the other network ---- */

enum { T = 64, WIDE = 64 };

static const double *group_data(const struct train_net *net, const double *params, const char *name)
{
    for (size_t i = 0; i < train_net_group_count(net); i++)
        if (strcmp(train_net_group(net, i)->name, name) == 0)
            return params + train_net_group(net, i)->offset;
    fail_msg("no group %s", name);
    return NULL;
}

static const double *layer_data(const struct train_net *net, const double *params, unsigned layer,
                                const char *name)
{
    char full[48];
    snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    return group_data(net, params, full);
}

static void matvec(double *out, const double *w, const double *x, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++) {
        out[r] = 0;
        for (size_t c = 0; c < columns; c++)
            out[r] += w[r * columns + c] * x[c];
    }
}

static void rmsnorm(double *out, const double *x, const double *gain)
{
    double sum = 0;
    for (size_t i = 0; i < shape.dim; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < shape.dim; i++)
        out[i] = x[i] / sqrt(sum / shape.dim + (double)shape.norm_eps) * gain[i];
}

static void rope(double *head, size_t position)
{
    for (size_t i = 0; i < shape.head_dim / 2; i++) {
        double angle = (double)position * pow((double)shape.rope_base, -2.0 * (double)i / shape.head_dim);
        double x = head[2 * i], y = head[2 * i + 1];
        head[2 * i] = x * cos(angle) - y * sin(angle);
        head[2 * i + 1] = x * sin(angle) + y * cos(angle);
    }
}

/* Logits [n, vocab] of one document. */
static void reference_forward(const struct train_net *net, const double *p, const uint32_t *tokens,
                              size_t n, double *logits)
{
    static double x[T][WIDE], q[T][WIDE], k[T][WIDE], v[T][WIDE];
    const double *embedding = group_data(net, p, "token_embd.weight");
    size_t d = shape.head_dim, kv_width = shape.kv_heads * d, q_width = shape.heads * d;
    for (size_t t = 0; t < n; t++)
        memcpy(x[t], embedding + tokens[t] * shape.dim, shape.dim * sizeof(double));
    for (unsigned l = 0; l < shape.layers; l++) {
        for (size_t t = 0; t < n; t++) {
            double y[WIDE];
            rmsnorm(y, x[t], layer_data(net, p, l, "attn_norm"));
            matvec(q[t], layer_data(net, p, l, "attn_q"), y, q_width, shape.dim);
            matvec(k[t], layer_data(net, p, l, "attn_k"), y, kv_width, shape.dim);
            matvec(v[t], layer_data(net, p, l, "attn_v"), y, kv_width, shape.dim);
            for (size_t h = 0; h < shape.heads; h++)
                rope(q[t] + h * d, t);
            for (size_t h = 0; h < shape.kv_heads; h++)
                rope(k[t] + h * d, t);
        }
        for (size_t t = 0; t < n; t++) {
            double mixed[WIDE] = {0}, y[WIDE], gate[WIDE], up[WIDE];
            for (size_t h = 0; h < shape.heads; h++) {
                size_t kv = h / (shape.heads / shape.kv_heads) * d;
                double score[T], sum = 0;
                for (size_t s = 0; s <= t; s++) {
                    score[s] = 0;
                    for (size_t i = 0; i < d; i++)
                        score[s] += q[t][h * d + i] * k[s][kv + i];
                    sum += score[s] = exp(score[s] / sqrt((double)d));
                }
                for (size_t s = 0; s <= t; s++)
                    for (size_t i = 0; i < d; i++)
                        mixed[h * d + i] += score[s] / sum * v[s][kv + i];
            }
            matvec(y, layer_data(net, p, l, "attn_output"), mixed, shape.dim, q_width);
            for (size_t i = 0; i < shape.dim; i++)
                x[t][i] += y[i];
            rmsnorm(y, x[t], layer_data(net, p, l, "ffn_norm"));
            matvec(gate, layer_data(net, p, l, "ffn_gate"), y, shape.hidden, shape.dim);
            matvec(up, layer_data(net, p, l, "ffn_up"), y, shape.hidden, shape.dim);
            for (size_t i = 0; i < shape.hidden; i++)
                gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
            matvec(y, layer_data(net, p, l, "ffn_down"), gate, shape.dim, shape.hidden);
            for (size_t i = 0; i < shape.dim; i++)
                x[t][i] += y[i];
        }
    }
    for (size_t t = 0; t < n; t++) {
        double y[WIDE];
        rmsnorm(y, x[t], group_data(net, p, "output_norm.weight"));
        matvec(logits + t * shape.vocab, embedding, y, shape.vocab, shape.dim);
    }
}

static double reference_loss(const struct train_net *net, const double *params,
                             const struct train_batch *batch)
{
    double loss = 0, *logits = malloc(T * shape.vocab * sizeof *logits);
    for (size_t i = 0; i < batch->documents; i++) {
        size_t begin = batch->begins[i], n = batch->begins[i + 1] - begin;
        reference_forward(net, params, batch->tokens + begin, n, logits);
        for (size_t t = 0; t + 1 < n; t++) {
            double sum = 0;
            for (size_t j = 0; j < shape.vocab; j++)
                sum += exp(logits[t * shape.vocab + j]);
            double weight = batch->weights ? (double)batch->weights[begin + t + 1] : 1;
            loss += weight * (log(sum) - logits[t * shape.vocab + batch->tokens[begin + t + 1]]);
        }
    }
    free(logits);
    return loss;
}

/* ---- fixtures ---- */

static uint32_t tokens[T * 2];
static float weights[T * 2];
static const size_t begins[] = {0, 5, 6, 63, 80};
static const struct train_batch batch = {tokens, weights, 80, begins, 4};

static struct train_net *net;
static struct train_worker *worker;
static double *wide_params;

static int set_up(void **state)
{
    (void)state;
    struct report report = {0};
    if (train_net_create(&shape, 3, &net, &report) || train_worker_create(net, 100, 60, &worker, &report))
        return -1;
    uint64_t z = 1;
    for (size_t i = 0; i < T * 2; i++) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (uint32_t)(z >> 33) % shape.vocab;
        weights[i] = (float)((z >> 20) % 4) * 0.5f;
    }
    size_t count = train_net_param_count(net);
    wide_params = malloc(count * sizeof *wide_params);
    for (size_t i = 0; i < count; i++) {
        /* Gains away from 1 and weights large enough to bend every curve. */
        float *w = train_net_params(net) + i;
        z = z * 6364136223846793005u + 1442695040888963407u;
        *w = *w * 1.5f + (float)((double)(z >> 40) / (1 << 24) - 0.5) * 0.2f;
        wide_params[i] = (double)*w;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    train_worker_destroy(worker);
    train_net_destroy(net);
    free(wide_params);
    return 0;
}

/* ---- tests ---- */

static void logits_match_the_reference(void **state)
{
    (void)state;
    double *want = malloc(T * shape.vocab * sizeof *want);
    const float *have = train_worker_forward(worker, &batch);
    for (size_t i = 0; i < batch.documents; i++) {
        size_t n = begins[i + 1] - begins[i];
        reference_forward(net, wide_params, tokens + begins[i], n, want);
        for (size_t j = 0; j < n * shape.vocab; j++) {
            double got = (double)have[begins[i] * shape.vocab + j];
            if (fabs(got - want[j]) > 2e-5 * (1 + fabs(want[j])))
                fail_msg("document %zu, logit %zu: %.9g, reference %.9g", i, j, got, want[j]);
        }
    }
    free(want);
}

/* What else is in a batch changes no bit of a document. */
static void documents_do_not_meet(void **state)
{
    (void)state;
    size_t floats = batch.count * shape.vocab;
    float *together = malloc(floats * sizeof *together);
    memcpy(together, train_worker_forward(worker, &batch), floats * sizeof *together);
    for (size_t i = 0; i < batch.documents; i++) {
        size_t n = begins[i + 1] - begins[i], alone[] = {0, n};
        struct train_batch one = {tokens + begins[i], NULL, n, alone, 1};
        assert_memory_equal(train_worker_forward(worker, &one), together + begins[i] * shape.vocab,
                            n * shape.vocab * sizeof *together);
    }
    free(together);
}

/* Central differences of the double-precision loss (step 1e-5, so their own error is about 1e-9)
 * against the F32 gradient: what remains is F32 rounding, a few 1e-6 of the group's largest. */
static void gradient_matches_finite_differences(void **state)
{
    (void)state;
    const float scale = 0.25f;
    float *gradient = malloc(train_net_param_count(net) * sizeof *gradient);
    double loss = train_worker_backward(worker, &batch, scale, gradient);
    assert_true(fabs(loss - (double)scale * reference_loss(net, wide_params, &batch)) < 1e-5 * loss);
    uint64_t z = 11;
    for (size_t g = 0; g < train_net_group_count(net); g++) {
        const struct train_group *group = train_net_group(net, g);
        size_t count = group->rows * group->columns, checks = count < 24 ? count : 24;
        double largest = 0;
        for (size_t i = 0; i < count; i++)
            largest = fmax(largest, fabs((double)gradient[group->offset + i]));
        assert_true(largest > 1e-4);
        for (size_t i = 0; i < checks; i++) {
            z = z * 6364136223846793005u + 1442695040888963407u;
            size_t at = group->offset + (size_t)(z >> 33) % count;
            double keep = wide_params[at], step = 1e-5;
            wide_params[at] = keep + step;
            double up = reference_loss(net, wide_params, &batch);
            wide_params[at] = keep - step;
            double down = reference_loss(net, wide_params, &batch);
            wide_params[at] = keep;
            double want = (double)scale * (up - down) / (2 * step), have = (double)gradient[at];
            if (fabs(have - want) > 1e-5 * largest + 1e-7)
                fail_msg("%s[%zu]: gradient %.9g, by differences %.9g (largest %.3g)", group->name,
                         at - group->offset, have, want, largest);
        }
    }
    free(gradient);
}

static void optimiser_follows_adamw(void **state)
{
    (void)state;
    size_t count = train_net_param_count(net);
    float *a = calloc(count, sizeof *a), *b = calloc(count, sizeof *b);
    double *m = calloc(count, sizeof *m), *v = calloc(count, sizeof *v), *w = calloc(count, sizeof *w);
    for (size_t i = 0; i < count; i++)
        w[i] = (double)train_net_params(net)[i];
    struct train_step how = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .decay = 0.1f, .clip = 1.0f};
    struct report report = {0};
    for (int step = 1; step <= 3; step++) {
        struct train_crew *crew;
        assert_int_equal(train_crew_create((unsigned)step, &crew, &report), ERR_OK);
        double squares = 0;
        for (size_t i = 0; i < count; i++) {
            a[i] = sinf((float)i * 0.7f + (float)step);
            b[i] = 0.5f * cosf((float)i);
            squares += ((double)a[i] + (double)b[i]) * ((double)a[i] + (double)b[i]);
        }
        for (size_t g = 0; g < train_net_group_count(net); g++) {
            const struct train_group *group = train_net_group(net, g);
            for (size_t k = 0; k < group->rows * group->columns; k++) {
                size_t i = group->offset + k;
                double grad = ((double)a[i] + (double)b[i]) / sqrt(squares);
                m[i] = 0.9 * m[i] + 0.1 * grad;
                v[i] = 0.95 * v[i] + 0.05 * grad * grad;
                double update = m[i] / (1 - pow(0.9, step)) / (sqrt(v[i] / (1 - pow(0.95, step))) + 1e-8);
                w[i] -= 0.01 * (update + (group->decays ? 0.1 : 0) * w[i]);
            }
        }
        double norm = train_net_step(net, &how, (float *[]){a, b}, 2, crew);
        train_crew_destroy(crew);
        assert_true(fabs(norm - sqrt(squares)) < 1e-5 * norm);
    }
    for (size_t i = 0; i < count; i++)
        assert_true(fabs((double)train_net_params(net)[i] - w[i]) < 2e-5);
    free(a);
    free(b);
    free(m);
    free(v);
    free(w);
}

static void impossible_shapes_are_refused(void **state)
{
    (void)state;
    struct report report = {0};
    struct train_net *other;
    struct train_shape bad = shape;
    bad.head_dim = 7;
    assert_int_equal(train_net_create(&bad, 1, &other, &report), ERR_INVALID);
    assert_null(other);
    bad = shape;
    bad.kv_heads = 3;
    assert_int_equal(train_net_create(&bad, 1, &other, &report), ERR_INVALID);
    bad = shape;
    bad.vocab = 1u << 30;
    assert_int_equal(train_net_create(&bad, 1, &other, &report), ERR_LIMIT);
    struct train_worker *none;
    assert_int_equal(train_worker_create(net, 10, 20, &none, &report), ERR_INVALID);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logits_match_the_reference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(documents_do_not_meet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradient_matches_finite_differences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(optimiser_follows_adamw, set_up, tear_down),
        cmocka_unit_test_setup_teardown(impossible_shapes_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
