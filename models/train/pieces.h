/* Inside the corpus: the random source and the kinds of pieces that documents are made of. */
#ifndef MODELS_TRAIN_PIECES_H
#define MODELS_TRAIN_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

struct train_random {
    uint64_t state;
};

static inline uint64_t train_random_next(struct train_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. count - 1; count is at least 1 and small, so that the bias does not matter. */
static inline unsigned train_random_below(struct train_random *random, size_t count)
{
    return (unsigned)((train_random_next(random) >> 32) * count >> 32);
}

/* from .. to, both included. */
static inline int train_random_between(struct train_random *random, int from, int to)
{
    return from + (int)train_random_below(random, (size_t)(to - from + 1));
}

static inline bool train_random_chance(struct train_random *random, unsigned percent)
{
    return train_random_below(random, 100) < percent;
}

#define TRAIN_COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TRAIN_PICK(random, array) ((array)[train_random_below((random), TRAIN_COUNT(array))])

/* One thing to know, in all its forms: a statement that starts with `head` and ends with `tail`, a
 * question, and its answer. */
struct train_fact {
    char head[160], tail[160];
    char question[160], answer[240];
};

void train_fact_fill(struct train_fact *fact, struct train_random *random);

/* a sign b = result, with small whole numbers. */
struct train_sum {
    int a, b, result;
    char sign; /* + - * / */
    const char *word;
};
void train_sum_pick(struct train_sum *sum, struct train_random *random);

/* A request to an assistant and a good answer, for what is not a single fact. */
struct train_exchange {
    struct buf *request, *answer; /* appended to */
};

/* `count` words, names and numbers at random, one space between them. */
void train_piece_words(struct buf *text, int count, struct train_random *random);

void train_piece_story(struct train_exchange out, struct train_random *random);
void train_piece_list(struct train_exchange out, struct train_random *random);
void train_piece_talk(struct train_exchange out, struct train_random *random);
void train_piece_json(struct train_exchange out, struct train_random *random);

/* A whole conversation that uses tools, in ChatML. */
void train_piece_tools(struct buf *text, struct train_random *random);

/* ChatML turns, for those that write conversations. */
void train_piece_turn(struct buf *text, const char *role, const char *content);

#endif
