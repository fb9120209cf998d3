/* links: engine/forward
 * Prefill and decode of a model, with the share of the machine's ceiling that it reaches:
 *   bench_forward MODEL.gguf [threads=N] [prompt=512] [tokens=32] [depth=0] [runs=3] [batch=1,4,16]
 *                            [kv_bits=16] [packed=FILE]
 * The ceilings are measured first, by the same threads: bytes read from memory per second, and int8
 * or float multiply-adds per second in registers. Decode counts the bytes of the weights in the
 * file and of the KV entries that a step reads, prefill two operations per weight and token
 * (attention not counted). */
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "models/model.h"

static double seconds_since(uint64_t begin)
{
    return (double)(clock_now_ns() - begin) * 1e-9;
}

/* ---- Ceilings ------------------------------------------------------------------------------ */

enum { READ_BYTES = 1 << 29 };

struct reading {
    const uint8_t *data;
    uint32_t threads;
    uint64_t sums[64];
};

/* Eight streams per thread, as measured best (shared notes on this class of machine). */
static void read_part(void *user, uint32_t index)
{
    struct reading *reading = user;
    size_t part = READ_BYTES / reading->threads / 8 / 64 * 64;
    const uint64_t *at[8];
    uint64_t sum = 0;
    for (unsigned s = 0; s < 8; s++)
        at[s] = (const uint64_t *)(const void *)(reading->data + (index * 8 + s) * part);
    for (size_t i = 0; i < part / 8; i += 8)
        for (unsigned s = 0; s < 8; s++)
            sum += at[s][i] ^ at[s][i + 1] ^ at[s][i + 2] ^ at[s][i + 3] ^ at[s][i + 4] ^
                   at[s][i + 5] ^ at[s][i + 6] ^ at[s][i + 7];
    reading->sums[index] = sum;
}

static double measure_bandwidth(struct fwd *fwd, const uint8_t *data)
{
    struct reading reading = {data, fwd_thread_count(fwd), {0}};
    uint64_t begin = clock_now_ns();
    fwd_parallel(fwd, reading.threads, read_part, &reading);
    return READ_BYTES / seconds_since(begin) * 1e-9;
}

#if defined(__x86_64__)
enum { PEAK_ROUNDS = 4000000 };

__attribute__((target("avx512f,avx512vnni,avx512bw"))) static void int8_peak(void *user,
                                                                             uint32_t index)
{
    __m512i sums[16], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8((char)index);
    for (unsigned i = 0; i < 16; i++)
        sums[i] = _mm512_setzero_si512();
    for (unsigned r = 0; r < PEAK_ROUNDS; r++) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++)
            sums[i] = _mm512_dpbusd_epi32(sums[i], w, x);
        __asm__ volatile("" : "+v"(w), "+v"(x));
    }
    for (unsigned i = 1; i < 16; i++)
        sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    ((int *)user)[index * 16] = _mm512_reduce_add_epi32(sums[0]);
}

__attribute__((target("avx512f"))) static void float_peak(void *user, uint32_t index)
{
    __m512 sums[16], w = _mm512_set1_ps(1e-9f), x = _mm512_set1_ps((float)index);
    for (unsigned i = 0; i < 16; i++)
        sums[i] = _mm512_setzero_ps();
    for (unsigned r = 0; r < PEAK_ROUNDS; r++) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++)
            sums[i] = _mm512_fmadd_ps(w, x, sums[i]);
        __asm__ volatile("" : "+v"(w), "+v"(x));
    }
    for (unsigned i = 1; i < 16; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    ((int *)user)[index * 16] = (int)_mm512_reduce_add_ps(sums[0]);
}

/* Gop/s, a multiply-add as two; 0 where the CPU has no such instruction. */
static double measure_peak(struct fwd *fwd, bool floats)
{
    static int results[64 * 16];
    if (!__builtin_cpu_supports("avx512f") ||
        (!floats && !__builtin_cpu_supports("avx512vnni")))
        return 0;
    uint64_t begin = clock_now_ns();
    fwd_parallel(fwd, fwd_thread_count(fwd), floats ? float_peak : int8_peak, results);
    double operations = 2.0 * 16 * (floats ? 16 : 64) * PEAK_ROUNDS * fwd_thread_count(fwd);
    return operations / seconds_since(begin) * 1e-9;
}
#else
static double measure_peak(struct fwd *fwd, bool floats)
{
    (void)fwd;
    (void)floats;
    return 0;
}
#endif

/* ---- Steps --------------------------------------------------------------------------------- */

enum { PAGE_TOKENS = 32, BATCH_MAX = 64 };

struct sequences {
    uint32_t count, pages_each;
    uint32_t before[BATCH_MAX];
};

/* Feeds `rows` tokens to every sequence; logits of the last row only. */
static void step(struct fwd *fwd, struct sequences *s, uint32_t rows, uint32_t vocab)
{
    static uint32_t tokens[1 << 16], positions[1 << 16], token_begin[BATCH_MAX + 1],
        pages[1 << 16], page_begin[BATCH_MAX + 1], sampler_begin[BATCH_MAX + 1];
    static struct batch_sampler samplers[BATCH_MAX];
    struct batch batch = {.request_count = s->count, .token_count = s->count * rows,
                          .tokens = tokens, .positions = positions, .token_begin = token_begin,
                          .pages = pages, .page_begin = page_begin, .kv_before = s->before,
                          .samplers = samplers, .sampler_begin = sampler_begin};
    for (uint32_t r = 0; r < s->count; r++) {
        for (uint32_t i = 0; i < rows; i++) {
            tokens[r * rows + i] = (s->before[r] * 7919 + i * 31 + r * 13 + 300) % vocab;
            positions[r * rows + i] = s->before[r] + i;
        }
        for (uint32_t i = 0; i < s->pages_each; i++)
            pages[r * s->pages_each + i] = r * s->pages_each + i;
        token_begin[r + 1] = (r + 1) * rows;
        page_begin[r + 1] = (r + 1) * s->pages_each;
        sampler_begin[r + 1] = r + 1;
        samplers[r] = (struct batch_sampler){.kind = BATCH_RAW_LOGITS, .row = rows - 1};
    }
    struct fwd_output out;
    struct report report = {0};
    if (fwd_run(fwd, &batch, &out, &report)) {
        fprintf(stderr, "%s\n", report.text);
        exit(1);
    }
    for (uint32_t r = 0; r < s->count; r++)
        s->before[r] += rows;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static uint32_t option(int argc, char **argv, const char *name, uint32_t fallback)
{
    size_t length = strlen(name);
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
            return (uint32_t)strtoul(argv[i] + length + 1, NULL, 10);
    return fallback;
}

int main(int argc, char **argv)
{
    struct report report = {0};
    struct model *model;
    struct fwd *fwd;
    if (argc < 2 || model_open(argv[1], &model, &report)) {
        fprintf(stderr, "bench_forward MODEL.gguf [threads=N] [prompt=512] [tokens=32] [depth=0] "
                        "[runs=3] [batch=1,4,16] [kv_bits=16] [packed=FILE]\n%s\n", report.text);
        return 2;
    }
    uint32_t prompt = option(argc, argv, "prompt", 512), tokens = option(argc, argv, "tokens", 32);
    uint32_t depth = option(argc, argv, "depth", 0), runs = option(argc, argv, "runs", 3);
    uint32_t batches[16], batch_count = 0, widest = 1;
    const char *list = "1,4,16";
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], "batch=", 6) == 0)
            list = argv[i] + 6;
    for (char *end; *list && batch_count < 16; list = *end == ',' ? end + 1 : end) {
        batches[batch_count] = (uint32_t)strtoul(list, &end, 10);
        if (end == list || batches[batch_count] < 1 || batches[batch_count] > BATCH_MAX)
            break;
        widest = batches[batch_count] > widest ? batches[batch_count] : widest;
        batch_count++;
    }
    uint32_t longest = depth + (prompt > tokens ? prompt : tokens) + 1;
    uint32_t pages_each = (longest + PAGE_TOKENS - 1) / PAGE_TOKENS;
    runs = runs < 1 ? 1 : runs > 64 ? 64 : runs;
    struct fwd_config config = {.threads = option(argc, argv, "threads", 0),
                                .page_tokens = PAGE_TOKENS, .page_count = pages_each * widest,
                                .kv_bits = option(argc, argv, "kv_bits", 16)};
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], "packed=", 7) == 0)
            config.packed_file = argv[i] + 7;
    uint64_t begin = clock_now_ns();
    if (fwd_create(model, &config, &fwd, &report)) {
        fprintf(stderr, "%s\n", report.text);
        return 1;
    }
    double packing = seconds_since(begin);
    uint32_t vocab = model->hparams.vocab_count;
    double weight_bytes = (double)model->weight_bytes;
    double weights = (double)model->parameter_count;
    if (!model->hparams.tied_embeddings) { /* one row of the embedding is read per token */
        weight_bytes -= (double)model->token_embedding->bytes;
        weights -= (double)vocab * model->hparams.dim;
    }
    bool floats = model->layers[0].tensors[MODEL_Q]->type == GGUF_TENSOR_F32 ||
                  model->layers[0].tensors[MODEL_Q]->type == GGUF_TENSOR_F16 ||
                  model->layers[0].tensors[MODEL_Q]->type == GGUF_TENSOR_BF16;
    uint8_t *data = mem_map(READ_BYTES);
    if (!data)
        return 1;
    memset(data, 1, READ_BYTES);
    double bandwidth = 0, peak = 0;
    for (int i = 0; i < 3; i++) {
        double b = measure_bandwidth(fwd, data), p = measure_peak(fwd, floats);
        bandwidth = b > bandwidth ? b : bandwidth;
        peak = p > peak ? p : peak;
    }
    mem_unmap(data, READ_BYTES);
    printf("%s\n%s, %u threads; %.1f GB/s, %.0f Gop/s (%s); packed %.0f MB at %.2f GB/s\n", argv[1],
           fwd_simd_name(fwd), fwd_thread_count(fwd), bandwidth, peak, floats ? "FMA" : "int8",
           (double)fwd_weight_bytes(model, FWD_AS_IS) * 1e-6, weight_bytes / packing * 1e-9);

    double speeds[64];
    /* The output layer computes one row only. */
    double per_token = 2 * (weights - (double)vocab * model->hparams.dim);
    if (prompt > 0) {
        for (unsigned i = 0; i <= runs; i++) { /* the first one warms up */
            struct sequences s = {.count = 1, .pages_each = pages_each};
            s.before[0] = depth;
            begin = clock_now_ns();
            step(fwd, &s, prompt, vocab);
            speeds[i ? i - 1 : 0] = prompt / seconds_since(begin);
        }
        double speed = median(speeds, runs);
        printf("prefill %4u: %8.1f tok/s (best %.1f)", prompt, speed, speeds[runs - 1]);
        if (peak > 0)
            printf("  %5.1f %% of the multiply-add peak", speed * per_token / peak * 1e-7);
        printf("\n");
    }
    for (uint32_t b = 0; b < batch_count; b++) {
        for (unsigned i = 0; i < runs; i++) {
            struct sequences s = {.count = batches[b], .pages_each = pages_each};
            for (uint32_t r = 0; r < s.count; r++)
                s.before[r] = depth;
            begin = clock_now_ns();
            for (uint32_t t = 0; t < tokens; t++)
                step(fwd, &s, 1, vocab);
            speeds[i] = tokens * s.count / seconds_since(begin);
        }
        double speed = median(speeds, runs);
        double kv_bytes = ((double)depth + tokens / 2.0) * batches[b] *
                          (double)fwd_page_bytes(model, config.kv_bits, PAGE_TOKENS) /
                          PAGE_TOKENS;
        printf("decode x%-3u: %8.1f tok/s (best %.1f)  %5.1f %% of the bandwidth for weights and KV\n",
               batches[b], speed, speeds[runs - 1],
               speed / batches[b] * (weight_bytes + kv_bytes) / bandwidth * 1e-7);
    }
    fwd_destroy(fwd);
    model_close(model);
    return 0;
}
