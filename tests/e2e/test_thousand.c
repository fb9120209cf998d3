/* links: engine
 *
 * 1,000 inferlets alive at once in one process on the default model: all finish, and each gives
 * the answer that it gives alone. Prints the peak memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/engine.h"

enum { PROCESSES = 1000, PROMPTS = 25 };

static const char *const subjects[PROMPTS] = {
    "France", "Italy", "Spain", "Japan", "Germany", "Egypt", "Peru", "Canada", "Norway",
    "Greece", "Kenya", "India", "China", "Cuba", "Chile", "Iran", "Iraq", "Mali", "Nepal",
    "Oman", "Poland", "Qatar", "Russia", "Sweden", "Turkey"};

struct answer {
    struct buf text;
    bool ended, failed;
};

static void on_event(void *user, const struct engine_event *event)
{
    struct answer *answer = user;
    if (event->kind != ENGINE_EVENT_RETURN && event->kind != ENGINE_EVENT_ERROR)
        return;
    answer->ended = true;
    answer->failed = event->kind == ENGINE_EVENT_ERROR;
    (void)buf_append(&answer->text, event->data, event->bytes);
}

/* A third is greedy, a third samples with a seed, a third also begins with a long prompt. */
static void make_input(size_t index, struct buf *input)
{
    size_t subject = index % PROMPTS;
    buf_clear(input);
    (void)buf_puts(input, "{\"prompt\":\"");
    for (size_t i = 0; subject % 3 == 2 && i < 6; i++)
        (void)buf_printf(input, "The capital of %s is a city. ", subjects[i]);
    (void)buf_printf(input, "What is the capital of %s?\",\"max_tokens\":%zu", subjects[subject],
                     8 + subject);
    if (subject % 3 == 1)
        (void)buf_printf(input, ",\"temperature\":0.9,\"seed\":%zu}", subject);
    else
        (void)buf_puts(input, ",\"temperature\":0}");
}

static void launch(struct engine *engine, const char *program, size_t index,
                   struct answer *answer)
{
    struct report report = {0};
    char id[ENGINE_ID_BYTES];
    struct buf input;
    buf_init(&input, NULL);
    buf_init(&answer->text, NULL);
    make_input(index, &input);
    const struct engine_launch what = {.program = program,
                                       .input = input.data,
                                       .input_bytes = input.count,
                                       .on_event = on_event,
                                       .user = answer};
    if (engine_launch(engine, &what, id, &report)) {
        printf("launch %zu: %s\n", index, report.text);
        answer->ended = answer->failed = true;
    }
    buf_deinit(&input);
}

int main(void)
{
    static struct answer alone[PROMPTS];
    static struct answer together[PROCESSES];
    struct engine_config config = engine_config_default();
    struct engine *engine;
    struct report report = {0};
    char program[256];
    char programs[300];
    const char *build = getenv("BUILD");
    int passed = 0;
    int failed = 0;
    (void)snprintf(programs, sizeof programs, "%s/inferlets", build ? build : "build");
    config.model_path = "build/home/models/default.gguf";
    config.standard_programs_dir = programs;
    if (engine_open(&config, &engine, &report) ||
        engine_program_find(engine, "text-completion", program, &report)) {
        printf("%s\n0 passed, 1 failed\n", report.text);
        return 1;
    }
    for (size_t i = 0; i < PROMPTS; i++) {
        launch(engine, program, i, &alone[i]);
        while (!alone[i].ended)
            (void)engine_turn(engine, -1);
    }
    for (size_t i = 0; i < PROCESSES; i++)
        launch(engine, program, i, &together[i]);
    uint64_t alive = engine_stats(engine).processes_alive;
    if (alive == PROCESSES)
        passed++;
    else
        printf("only %llu alive at once\n", (unsigned long long)alive), failed++;
    while (engine_turn(engine, -1) > 0)
        continue;
    for (size_t i = 0; i < PROCESSES; i++) {
        const struct answer *expected = &alone[i % PROMPTS];
        const struct answer *found = &together[i];
        if (found->ended && !found->failed && found->text.count == expected->text.count &&
            memcmp(found->text.data, expected->text.data, found->text.count) == 0) {
            passed++;
        } else {
            failed++;
            printf("%zu: alone \"%s\", together \"%s\"\n", i, expected->text.data,
                   found->text.data ? found->text.data : "");
        }
    }
    struct engine_stats stats = engine_stats(engine);
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("note: 1,000 inferlets: peak memory %ld MiB, %llu steps of %.1f rows, KV pages %u of %u\n",
           usage.ru_maxrss / 1024, (unsigned long long)stats.steps,
           (double)stats.step_tokens / (double)(stats.steps ? stats.steps : 1), stats.pages_peak,
           stats.pages_total);
    for (size_t i = 0; i < PROMPTS; i++)
        buf_deinit(&alone[i].text);
    for (size_t i = 0; i < PROCESSES; i++)
        buf_deinit(&together[i].text);
    engine_close(engine);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
