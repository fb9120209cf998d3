/* The threads of a forward pass: a fixed team, barriers, and shares of work.
 *
 * The caller of team_run is worker 0; the others live in one OpenMP parallel region for the life
 * of the team and sleep on a futex between runs. (A region per step would leave libgomp's idle
 * threads spinning for milliseconds beside the loop thread.) */
#ifndef ENGINE_FORWARD_TEAM_H
#define ENGINE_FORWARD_TEAM_H

#include <stdint.h>

#include "engine/base/err.h"

struct team;

struct worker {
    struct team *team;
    uint32_t index, count; /* of the team's threads */
};

typedef void (*team_work)(void *user, const struct worker *worker);

/* Fewer threads than asked when the system has no more. */
enum err team_create(uint32_t threads, struct team **team, struct report *report) ERR_MUST_USE;
void team_destroy(struct team *team);
uint32_t team_threads(const struct team *team);

/* Every worker runs work(user, worker); returns when all have. */
void team_run(struct team *team, team_work work, void *user);

/* Inside a run: returns when all workers have arrived. What was written before by any is seen
 * after by all. */
void team_barrier(const struct worker *worker);

/* The worker's part [begin, end) of `count` items: contiguous, as equal as can be. */
void team_share(const struct worker *worker, uint32_t count, uint32_t *begin, uint32_t *end);

/* Takes the next of items that are dealt out one by one: a number that grows from 0. The counter
 * begins anew after team_deal, which one worker calls with a barrier before and behind. */
uint32_t team_take(const struct worker *worker);
void team_deal(const struct worker *worker);

#endif
