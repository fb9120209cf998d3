/* Invariants, under `mutex`: `round` counts the runs that were started; `busy` is how many helpers
 * have not finished the current one; helpers sleep on `start` while their own round is `round`, the
 * caller sleeps on `done` while `busy` is not 0. No spinning: a step takes long, and the machine is
 * often shared. */
#include "models/train/crew.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"

struct helper {
    struct train_crew *crew;
    pthread_t thread;
    unsigned member;
};

struct train_crew {
    pthread_mutex_t mutex;
    pthread_cond_t start, done;
    uint64_t round;
    unsigned busy, members, running; /* running: helpers that exist */
    bool ends;
    train_work work;
    void *user;
    struct helper *helpers; /* [members - 1] */
};

static void *help(void *argument)
{
    struct helper *helper = argument;
    struct train_crew *crew = helper->crew;
    uint64_t round = 0;
    pthread_mutex_lock(&crew->mutex);
    for (;;) {
        while (crew->round == round && !crew->ends)
            pthread_cond_wait(&crew->start, &crew->mutex);
        if (crew->ends)
            break;
        round = crew->round;
        train_work work = crew->work;
        void *user = crew->user;
        pthread_mutex_unlock(&crew->mutex);
        work(user, helper->member);
        pthread_mutex_lock(&crew->mutex);
        if (--crew->busy == 0)
            pthread_cond_signal(&crew->done);
    }
    pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

enum err train_crew_create(unsigned members, struct train_crew **out, struct report *report)
{
    *out = NULL;
    struct train_crew *crew = mem_calloc(NULL, 1, sizeof *crew);
    if (!crew)
        return err_set(report, ERR_MEMORY, "no memory for %u threads", members);
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->start, NULL);
    pthread_cond_init(&crew->done, NULL);
    crew->members = members;
    crew->helpers = mem_calloc(NULL, members, sizeof *crew->helpers);
    if (!crew->helpers) {
        train_crew_destroy(crew);
        return err_set(report, ERR_MEMORY, "no memory for %u threads", members);
    }
    while (crew->running + 1 < members) {
        struct helper *helper = &crew->helpers[crew->running];
        *helper = (struct helper){.crew = crew, .member = crew->running + 1};
        int code = pthread_create(&helper->thread, NULL, help, helper);
        if (code) {
            train_crew_destroy(crew);
            return err_set(report, ERR_IO, "cannot start a thread for training: %s (try fewer threads)",
                           strerror(code));
        }
        crew->running++;
    }
    *out = crew;
    return ERR_OK;
}

void train_crew_destroy(struct train_crew *crew)
{
    if (!crew)
        return;
    pthread_mutex_lock(&crew->mutex);
    crew->ends = true;
    pthread_cond_broadcast(&crew->start);
    pthread_mutex_unlock(&crew->mutex);
    for (unsigned i = 0; i < crew->running; i++)
        pthread_join(crew->helpers[i].thread, NULL);
    pthread_cond_destroy(&crew->start);
    pthread_cond_destroy(&crew->done);
    pthread_mutex_destroy(&crew->mutex);
    mem_free(NULL, crew->helpers);
    mem_free(NULL, crew);
}

unsigned train_crew_members(const struct train_crew *crew)
{
    return crew->members;
}

void train_crew_run(struct train_crew *crew, train_work work, void *user)
{
    pthread_mutex_lock(&crew->mutex);
    crew->work = work;
    crew->user = user;
    crew->busy = crew->running;
    crew->round++;
    pthread_cond_broadcast(&crew->start);
    pthread_mutex_unlock(&crew->mutex);
    work(user, 0);
    pthread_mutex_lock(&crew->mutex);
    while (crew->busy)
        pthread_cond_wait(&crew->done, &crew->mutex);
    pthread_mutex_unlock(&crew->mutex);
}
