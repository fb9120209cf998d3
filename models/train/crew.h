/* A few threads that do the same piece of work together: fork and join, nothing else. */
#ifndef MODELS_TRAIN_CREW_H
#define MODELS_TRAIN_CREW_H

#include "engine/base/err.h"

struct train_crew;

/* `member` is 0 .. members - 1. */
typedef void (*train_work)(void *user, unsigned member);

/* The caller is member 0; `members` - 1 threads are started. ERR_IO when the system refuses. */
enum err train_crew_create(unsigned members, struct train_crew **crew,
                           struct report *report) ERR_MUST_USE;
void train_crew_destroy(struct train_crew *crew); /* NULL is allowed */
unsigned train_crew_members(const struct train_crew *crew);

/* Every member does work(user, member); returns when all are done. One run at a time. */
void train_crew_run(struct train_crew *crew, train_work work, void *user);

#endif
