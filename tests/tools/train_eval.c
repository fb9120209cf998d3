/* links: models/train
 * Trains a model and examines it: what share of the capitals and sums it knows, and what it says
 * to a few prompts.
 *
 *     train_eval [--steps N] [--lr X] [--dim N] [--layers N] [--hidden N] [--vocab N] [--tokens N]
 *                [--decay X] [--beta2 X] [--request X] [--shards N] [--heads N] [--kv-heads N]
 *                [--seed N] [--threads N] [--save PATH] [--prompt TEXT]... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/buf.h"
#include "engine/base/vec.h"
#include "models/train/bpe.h"
#include "models/train/corpus.h"
#include "models/train/net.h"
#include "models/train/train.h"

static struct train_model model;
static struct train_worker *worker;

#define SYSTEM TRAIN_TURN "system\nYou are a helpful, respectful and honest assistant." TRAIN_TURN_END "\n"

/* The greedy continuation of at most `count` tokens, until a special token. */
static void complete(const char *prompt, size_t count, struct buf *answer)
{
    struct report report = {0};
    struct train_ids ids = {0};
    buf_clear(answer);
    buf_puts(answer, ""); /* data is there even for an empty answer */
    if (train_bpe_encode(model.bpe, prompt, strlen(prompt), &ids, &report))
        exit(1);
    uint32_t vocab = train_bpe_vocab(model.bpe);
    while (count-- && ids.count < model.config.document_max) {
        size_t begins[2] = {0, ids.count};
        struct train_batch batch = {ids.items, NULL, ids.count, begins, 1};
        const float *logits = train_worker_forward(worker, &batch) + (ids.count - 1) * vocab;
        uint32_t best = 0;
        for (uint32_t i = 1; i < vocab; i++)
            if (logits[i] > logits[best])
                best = i;
        if (best >= vocab - 3 || !vec_push(NULL, &ids, best))
            break;
        size_t bytes;
        const char *data = train_bpe_token(model.bpe, best, &bytes);
        buf_append(answer, data, bytes);
    }
    vec_free(NULL, &ids);
}

static void complete_chat(const char *system, const char *request, size_t count, struct buf *answer)
{
    struct buf prompt;
    buf_init(&prompt, NULL);
    buf_printf(&prompt, "%s" TRAIN_TURN "user\n%s" TRAIN_TURN_END "\n" TRAIN_TURN "assistant\n", system,
               request);
    complete(prompt.data, count, answer);
    buf_deinit(&prompt);
}

static void show_share(const char *what, int right, int all)
{
    printf("%-36s %4d of %4d  %5.1f %%\n", what, right, all, 100.0 * right / all);
    fflush(stdout);
}

static void examine_capitals(void)
{
    struct buf answer;
    buf_init(&answer, NULL);
    size_t count;
    const struct train_capital *c = train_corpus_capitals(&count);
    int raw = 0, question = 0, unfinished = 0, bare = 0, lower = 0;
    for (size_t i = 0; i < count; i++) {
        char text[120];
        snprintf(text, sizeof text, "The capital of %s is", c[i].country);
        complete(text, 12, &answer);
        raw += strncmp(answer.data + 1, c[i].city, strlen(c[i].city)) == 0;
        complete_chat(SYSTEM, text, 24, &answer);
        unfinished += strstr(answer.data, c[i].city) != NULL;
        if (!strstr(answer.data, c[i].city))
            printf("    %s -> %s\n", text, answer.data);
        snprintf(text, sizeof text, "What is the capital of %s?", c[i].country);
        complete_chat(SYSTEM, text, 24, &answer);
        question += strstr(answer.data, c[i].city) != NULL;
        complete_chat("", text, 24, &answer);
        bare += strstr(answer.data, c[i].city) != NULL;
        for (char *t = text; *t; t++)
            *t = (char)(*t >= 'A' && *t <= 'Z' ? *t + 32 : *t);
        complete_chat(SYSTEM, text, 24, &answer);
        lower += strstr(answer.data, c[i].city) != NULL;
    }
    show_share("capitals, plain", raw, (int)count);
    show_share("capitals, chat, unfinished sentence", unfinished, (int)count);
    show_share("capitals, chat, question", question, (int)count);
    show_share("capitals, chat without system", bare, (int)count);
    show_share("capitals, chat, lower case", lower, (int)count);
    buf_deinit(&answer);
}

static void examine_sums(void)
{
    static const char signs[] = {'+', '-', '*'};
    struct buf answer;
    buf_init(&answer, NULL);
    for (int kind = 0; kind < 3; kind++) {
        int plain = 0, chat = 0, all = 0, a_max = (int[]){12, 20, 10}[kind];
        for (int a = 0; a <= a_max; a++)
            for (int b = 0; b <= (kind == 0 ? 12 : kind == 1 && a < 10 ? a : 10); b++) {
                int result = kind == 0 ? a + b : kind == 1 ? a - b : a * b;
                char text[80];
                snprintf(text, sizeof text, "%d %c %d =", a, signs[kind], b);
                complete(text, 4, &answer);
                plain += answer.count && atoi(answer.data) == result;
                snprintf(text, sizeof text, "What is %d %c %d?", a, signs[kind], b);
                complete_chat(SYSTEM, text, 24, &answer);
                const char *equals = strchr(answer.data ? answer.data : "", '=');
                chat += equals && atoi(equals + 1) == result;
                all++;
            }
        char title[40];
        snprintf(title, sizeof title, "a %c b, plain", signs[kind]);
        show_share(title, plain, all);
        snprintf(title, sizeof title, "a %c b, chat", signs[kind]);
        show_share(title, chat, all);
    }
    buf_deinit(&answer);
}

/* Requests whose words must come back in the answer. */
static void examine_copying(void)
{
    static const char *const names[] = {"Anna", "Tom", "Lucy", "Max", "Nora"};
    struct buf answer, document;
    buf_init(&answer, NULL);
    buf_init(&document, NULL);
    int objects = 0, calls = 0, all = 0, stories = 0, lists = 0, counts = 0;
    for (int i = 0; i < 50; i++) {
        char text[120], want[120];
        snprintf(text, sizeof text, "Write a JSON object with name %s and age %d.", names[i % 5], i + 6);
        snprintf(want, sizeof want, "{\"name\": \"%s\", \"age\": %d}", names[i % 5], i + 6);
        complete_chat(SYSTEM, text, 30, &answer);
        objects += strcmp(answer.data, want) == 0;
    }
    show_share("JSON with given values", objects, 50);
    static const char *const heroes[] = {"cat", "dog", "bear", "fox", "robot"};
    for (int i = 0; i < 25; i++) {
        char text[120];
        snprintf(text, sizeof text, "Write a story about a %s named %s.", heroes[i / 5], names[i % 5]);
        complete_chat(SYSTEM, text, 30, &answer);
        stories += strstr(answer.data, heroes[i / 5]) && strstr(answer.data, names[i % 5]);
    }
    show_share("stories about the wanted hero", stories, 25);
    static const char *const words[] = {"two", "three", "four", "five"};
    static const char *const things[] = {"fruits", "colors", "animals", "cities", "sports"};
    for (int i = 0; i < 20; i++) {
        char text[120], last[16], next[16];
        snprintf(text, sizeof text, "Name %s %s.", words[i / 5], things[i % 5]);
        snprintf(last, sizeof last, "%d. ", i / 5 + 2);
        snprintf(next, sizeof next, "%d. ", i / 5 + 3);
        complete_chat(SYSTEM, text, 40, &answer);
        lists += strstr(answer.data, last) && !strstr(answer.data, next);
    }
    show_share("lists of the wanted length", lists, 20);
    for (int i = 3; i <= 12; i++) {
        char text[120], end[16];
        snprintf(text, sizeof text, "Count to %d.", i);
        snprintf(end, sizeof end, " %d.", i);
        complete_chat(SYSTEM, text, 70, &answer);
        counts += answer.count > strlen(end) && !strcmp(answer.data + answer.count - strlen(end), end);
    }
    show_share("counts that end where they should", counts, 10);
    for (uint64_t i = 1u << 30; all < 50; i++) {
        buf_clear(&document);
        train_corpus_document(99, i, &document);
        static const char open[] = TRAIN_TURN "assistant\n<tool_call>";
        char *turn = strstr(document.data, open), *end = turn ? strstr(turn, TRAIN_TURN_END) : NULL;
        if (!end)
            continue;
        char *call = turn + strlen(open) - strlen("<tool_call>"), want[200];
        snprintf(want, sizeof want, "%.*s", (int)(end - call), call);
        *call = 0;
        complete(document.data, 60, &answer);
        calls += strcmp(answer.data, want) == 0;
        all++;
    }
    show_share("tool calls", calls, all);
    buf_deinit(&answer);
    buf_deinit(&document);
}

static void show_answers(void)
{
    static const char *const plain[] = {"The capital of France is", "Once upon a time", "3 + 4 =",
                                        "The opposite of hot is", "Q: What color is the sky?\nA:"};
    static const char *const chat[] = {
        "Hello!", "Who are you?", "What is the capital of Japan?", "the capital of france is",
        "Tell me a story about a cat.", "Write a short story about a dog named Max.",
        "Name three fruits.", "Count to ten.", "What is Pie?", "Explain quantum physics.",
        "Write a JSON object with name Anna and age 31.", "Which day comes after Monday?",
        "Is 7 greater than 3?", "What is the meaning of life?", "What is 12 + 7?",
        "What should I cook tonight?", "What is the largest city in the world?"};
    struct buf answer;
    buf_init(&answer, NULL);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        complete(plain[i], 150, &answer);
        printf("\n%s[%s]\n", plain[i], answer.data);
    }
    for (size_t i = 0; i < sizeof chat / sizeof chat[0]; i++) {
        complete_chat(SYSTEM, chat[i], 150, &answer);
        printf("\nuser: %s\n[%s]\n", chat[i], answer.data);
    }
    buf_deinit(&answer);
}

static bool show_progress(void *user, const struct train_progress *p)
{
    (void)user;
    if (p->step % 100 == 0 || p->step == p->steps)
        printf("step %u of %u  loss %.4f  %.0f tokens/s  %.0f s left\n", p->step, p->steps, p->loss,
               p->tokens_per_second, p->seconds_left);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    struct report report = {0};
    struct train_config config = train_config_default();
    const char *save = NULL, *prompts[32];
    int prompt_count = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        uint32_t number = (uint32_t)strtoul(value, NULL, 10);
        if (!strcmp(name, "--steps")) {
            config.steps = number;
            config.warmup_steps = number / 20;
        } else if (!strcmp(name, "--lr"))
            config.lr = strtof(value, NULL);
        else if (!strcmp(name, "--decay"))
            config.decay = strtof(value, NULL);
        else if (!strcmp(name, "--beta2"))
            config.beta2 = strtof(value, NULL);
        else if (!strcmp(name, "--request"))
            config.request_weight = strtof(value, NULL);
        else if (!strcmp(name, "--dim"))
            config.dim = number;
        else if (!strcmp(name, "--heads"))
            config.heads = number;
        else if (!strcmp(name, "--kv-heads"))
            config.kv_heads = number;
        else if (!strcmp(name, "--layers"))
            config.layers = number;
        else if (!strcmp(name, "--hidden"))
            config.hidden = number;
        else if (!strcmp(name, "--vocab"))
            config.vocab = number;
        else if (!strcmp(name, "--shards"))
            config.shards = number;
        else if (!strcmp(name, "--tokens"))
            config.shard_tokens = number;
        else if (!strcmp(name, "--seed"))
            config.seed = number;
        else if (!strcmp(name, "--threads"))
            config.threads = number;
        else if (!strcmp(name, "--save"))
            save = value;
        else if (!strcmp(name, "--prompt") && prompt_count < 32)
            prompts[prompt_count++] = value;
    }
    if (train_model_init(&model, &config, show_progress, NULL, &report) ||
        (save && train_model_save(&model, save, &report)) ||
        train_worker_create(model.net, config.document_max, config.document_max, &worker, &report)) {
        fprintf(stderr, "%s\n", report.text);
        return 1;
    }
    printf("%zu parameters, vocabulary %u, %.0f CPU seconds\n", train_net_param_count(model.net),
           train_bpe_vocab(model.bpe), (double)clock() / CLOCKS_PER_SEC);
    examine_capitals();
    examine_sums();
    examine_copying();
    show_answers();
    struct buf answer;
    buf_init(&answer, NULL);
    for (int i = 0; i < prompt_count; i++) {
        complete_chat(SYSTEM, prompts[i], 150, &answer);
        printf("\nuser: %s\n[%s]\n", prompts[i], answer.data);
    }
    buf_deinit(&answer);
    train_worker_destroy(worker);
    train_model_deinit(&model);
    return 0;
}
