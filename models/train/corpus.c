#include "models/train/corpus.h"

#include <stdio.h>
#include <string.h>

#include "models/train/pieces.h"

/* ---- system messages ---- */

/* Many different ones, so that the model learns not to be disturbed by what it has never seen. */
static void write_system(struct buf *text, struct train_random *random)
{
    static const char *const common[] = {"You are a helpful, respectful and honest assistant.",
                                         "You are a helpful assistant."};
    static const char *const adjectives[] = {"helpful", "friendly", "polite", "kind", "careful", "smart",
                                             "honest", "brief", "patient", "cheerful", "precise", "creative"};
    static const char *const roles[] = {"assistant", "teacher", "guide", "expert", "writer", "friend",
                                        "chatbot", "AI assistant", "tutor", "language model"};
    static const char *const rules[] = {
        "Answer in one sentence.", "Keep your answers short.", "Think before you answer.",
        "Answer the question.", "Help the user.", "Be concise.", "Use simple words.",
        "Complete the text of the user.", "Do not use long words.", "Always tell the truth.",
        "Give a short and clear answer.", "You answer questions about the world."};
    if (train_random_chance(random, 55)) {
        buf_puts(text, TRAIN_PICK(random, common));
        return;
    }
    const char *first = TRAIN_PICK(random, adjectives);
    buf_printf(text, "You are %s %s", strchr("aeiou", first[0]) || strcmp(first, "honest") == 0 ? "an" : "a", first);
    if (train_random_chance(random, 40))
        buf_printf(text, " and %s", TRAIN_PICK(random, adjectives));
    buf_printf(text, " %s.", TRAIN_PICK(random, roles));
    for (int i = train_random_between(random, 0, 2); i > 0; i--)
        buf_printf(text, " %s", TRAIN_PICK(random, rules));
}

/* ---- what people type ---- */

/* Now and then a person writes in lower case, forgets the last mark or is polite. */
static void roughen(struct buf *text, struct train_random *random)
{
    unsigned kind = train_random_below(random, 100);
    if (kind < 12 && text->count) {
        for (size_t i = 0; i < text->count; i++)
            if (text->data[i] >= 'A' && text->data[i] <= 'Z')
                text->data[i] = (char)(text->data[i] - 'A' + 'a');
    } else if (kind < 17 && text->count > 8 && strchr(".?!", text->data[text->count - 1])) {
        text->data[--text->count] = 0;
    } else if (kind < 20) {
        buf_puts(text, " Answer in one sentence.");
    }
}

/* A question or an unfinished statement, and the answer. */
static void ask_fact(struct train_exchange out, struct train_random *random)
{
    struct train_fact fact;
    train_fact_fill(&fact, random);
    if (train_random_chance(random, 35)) {
        buf_puts(out.request, fact.head);
        buf_printf(out.answer, "%s%s", fact.head, fact.tail);
    } else {
        buf_puts(out.request, fact.question);
        buf_puts(out.answer, fact.answer);
    }
    roughen(out.request, random);
}

static void ask(struct train_exchange out, struct train_random *random)
{
    unsigned kind = train_random_below(random, 100);
    if (kind < 54)
        ask_fact(out, random);
    else if (kind < 62)
        train_piece_story(out, random);
    else if (kind < 74)
        train_piece_list(out, random);
    else if (kind < 90)
        train_piece_talk(out, random);
    else
        train_piece_json(out, random);
}

/* ---- documents ---- */

static void write_chat(struct buf *text, struct train_random *random)
{
    struct buf request, answer, system;
    buf_init(&request, NULL);
    buf_init(&answer, NULL);
    buf_init(&system, NULL);
    if (train_random_chance(random, 65)) {
        write_system(&system, random);
        train_piece_turn(text, "system", system.data ? system.data : "");
    }
    /* Most are short; a few go on for hundreds of tokens. */
    bool is_long = train_random_chance(random, 4);
    int turns = is_long                           ? train_random_between(random, 8, 16)
                : train_random_chance(random, 70) ? 1
                                                  : train_random_between(random, 2, 4);
    for (int i = 0; i < turns; i++) {
        buf_clear(&request);
        buf_clear(&answer);
        (is_long ? ask_fact : ask)((struct train_exchange){&request, &answer}, random);
        text->failed = text->failed || request.failed || answer.failed || system.failed;
        if (text->failed)
            break;
        train_piece_turn(text, "user", request.data);
        train_piece_turn(text, "assistant", answer.data);
    }
    buf_deinit(&request);
    buf_deinit(&answer);
    buf_deinit(&system);
}

/* One to eight statements, one after the other or one per line. */
static void write_statements(struct buf *text, struct train_random *random)
{
    int count = train_random_chance(random, 60) ? 1 : train_random_between(random, 2, 8);
    for (int i = 0; i < count; i++) {
        struct train_fact fact;
        train_fact_fill(&fact, random);
        size_t tail = strlen(fact.tail);
        bool closed = tail && fact.tail[tail - 1] == '.';
        buf_printf(text, "%s%s", fact.head, fact.tail);
        if (i + 1 < count)
            buf_puts(text, closed && train_random_chance(random, 60) ? " " : "\n");
    }
}

/* Pages of sums, as in an exercise book: much to learn in few tokens. */
static void write_sums(struct buf *text, struct train_random *random)
{
    int count = train_random_between(random, 6, 20);
    buf_puts(text, "Exercises:\n");
    for (int i = 0; i < count; i++) {
        struct train_sum sum;
        train_sum_pick(&sum, random);
        buf_printf(text, "%s%d %c %d = %d", i ? "\n" : "", sum.a, sum.sign, sum.b, sum.result);
    }
}

/* Lines of words without sense, the same again and again: nothing teaches a small network faster
 * to look back for what it has read, which requests with names and numbers need. */
static void write_echo(struct buf *text, struct train_random *random)
{
    struct buf line;
    buf_init(&line, NULL);
    train_piece_words(&line, train_random_between(random, 3, 10), random);
    text->failed = text->failed || line.failed;
    for (int i = train_random_between(random, 2, 4); i > 0 && !text->failed; i--)
        buf_printf(text, "%s%s", line.data, i > 1 ? "\n" : "");
    buf_deinit(&line);
}

static void write_questions(struct buf *text, struct train_random *random)
{
    int count = train_random_between(random, 1, 5);
    bool words = train_random_chance(random, 40);
    for (int i = 0; i < count; i++) {
        struct train_fact fact;
        train_fact_fill(&fact, random);
        buf_printf(text, "%s%s %s\n%s %s", i ? words ? "\n\n" : "\n" : "", words ? "Question:" : "Q:",
                   fact.question, words ? "Answer:" : "A:", fact.answer);
    }
}

/* Stories, lists and JSON that stand alone. */
static void write_plain(struct buf *text, struct train_random *random,
                        void (*piece)(struct train_exchange, struct train_random *), bool with_request)
{
    struct buf request;
    buf_init(&request, NULL);
    struct buf answer;
    buf_init(&answer, NULL);
    piece((struct train_exchange){&request, &answer}, random);
    text->failed = text->failed || request.failed || answer.failed;
    if (!text->failed)
        buf_printf(text, "%s%s%s", with_request ? request.data : "", with_request ? "\n" : "", answer.data);
    buf_deinit(&request);
    buf_deinit(&answer);
}

static void write_tools(struct buf *text, struct train_random *random)
{
    if (train_random_chance(random, 35)) {
        buf_puts(text, TRAIN_TURN "system\n");
        write_system(text, random);
        buf_puts(text, TRAIN_TURN_END "\n");
    }
    train_piece_tools(text, random);
}

void train_corpus_document(uint64_t seed, uint64_t index, struct buf *text)
{
    struct train_random random = {seed * 0x9e3779b97f4a7c15u};
    random.state = train_random_next(&random) + index * 0xd1342543de82ef95u;
    unsigned kind = train_random_below(&random, 100);
    if (kind < 48)
        write_chat(text, &random);
    else if (kind < 69)
        write_statements(text, &random);
    else if (kind < 75)
        write_sums(text, &random);
    else if (kind < 77)
        write_echo(text, &random);
    else if (kind < 80)
        write_questions(text, &random);
    else if (kind < 85)
        write_plain(text, &random, train_piece_story, train_random_chance(&random, 50));
    else if (kind < 88)
        write_plain(text, &random, train_piece_list, true);
    else if (kind < 96)
        write_plain(text, &random, train_piece_json, train_random_chance(&random, 50));
    else
        write_tools(text, &random);
    buf_puts(text, TRAIN_END_OF_TEXT);
}
