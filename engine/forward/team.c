/* Invariants: `arrived` counts the workers at the current barrier and is below `threads` between
 * barriers; `generation` grows by one when the last one arrives, and only then do the others go
 * on. A run is two generations: one that starts it, one that ends it. */
#include "engine/forward/team.h"

#include <errno.h>
#include <linux/futex.h>
#if defined(_OPENMP)
#include <omp.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/forward/fwd.h"

/* About 50 to 100 us, longer than the wait at a barrier of balanced work. On this class of machine
 * (Cascade Lake) such a barrier takes 0.6 us; sleeping on the futex at once takes 19 us. */
enum { SPIN_COUNT = 2000 };

struct team {
    uint32_t threads;
    unsigned spins;   /* before a waiter sleeps; 0 when threads share CPUs */
    pthread_t keeper; /* owns the parallel region; only with more than one thread */
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_uint sleepers; /* waiting, or about to wait, on the futex */
    _Alignas(64) atomic_uint next;
    team_work work; /* NULL: the team ends */
    void *user;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void futex_wait(atomic_uint *at, unsigned expected)
{
    (void)syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(atomic_uint *at)
{
    (void)syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void wait_for_all(struct team *team)
{
    if (team->threads == 1)
        return;
    unsigned generation = atomic_load(&team->generation);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->generation, 1);
        if (atomic_load(&team->sleepers) != 0)
            futex_wake_all(&team->generation);
        return;
    }
    for (unsigned i = 0; i < team->spins; i++) {
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation)
            return;
        relax();
    }
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->generation) == generation)
        futex_wait(&team->generation, generation);
    atomic_fetch_sub(&team->sleepers, 1);
}

static void follow(struct team *team, uint32_t index)
{
    const struct worker worker = {team, index, team->threads};
    for (;;) {
        wait_for_all(team);
        if (!team->work)
            return;
        team->work(team->user, &worker);
        wait_for_all(team);
    }
}

static void *keep(void *user)
{
    struct team *team = user;
#if defined(_OPENMP)
    uint32_t others = team->threads - 1;
    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)others)
    {
        CHECK((uint32_t)omp_get_num_threads() == others);
        follow(team, (uint32_t)omp_get_thread_num() + 1);
    }
#else
    follow(team, 1);
#endif
    return NULL;
}

/* How many threads a team may have; without OpenMP (builds for fuzzing) two. */
static uint32_t threads_max(void)
{
#if defined(_OPENMP)
    int limit = omp_get_thread_limit();
    return limit > 0 ? (uint32_t)limit : UINT32_MAX;
#else
    return 2;
#endif
}

enum err team_create(uint32_t threads, struct team **out, struct report *report)
{
    /* mem_map for the alignment of the counters. */
    struct team *team = mem_map(sizeof *team);
    if (!team)
        return err_set(report, ERR_MEMORY, "no memory for a team of %u threads", threads);
    team->threads = threads < 1 ? 1 : threads < threads_max() ? threads : threads_max();
    team->spins = team->threads <= fwd_threads_default() ? SPIN_COUNT : 0;
    if (team->threads > 1 && pthread_create(&team->keeper, NULL, keep, team) != 0) {
        mem_unmap(team, sizeof *team);
        return err_set(report, ERR_LIMIT, "the system refused to start %u threads", threads);
    }
    *out = team;
    return ERR_OK;
}

void team_destroy(struct team *team)
{
    if (!team)
        return;
    if (team->threads > 1) {
        team->work = NULL;
        wait_for_all(team);
        (void)pthread_join(team->keeper, NULL);
    }
    mem_unmap(team, sizeof *team);
}

uint32_t team_threads(const struct team *team)
{
    return team->threads;
}

void team_run(struct team *team, team_work work, void *user)
{
    const struct worker worker = {team, 0, team->threads};
    team->work = work;
    team->user = user;
    atomic_store(&team->next, 0);
    wait_for_all(team);
    work(user, &worker);
    wait_for_all(team);
}

void team_barrier(const struct worker *worker)
{
    wait_for_all(worker->team);
}

void team_share(const struct worker *worker, uint32_t count, uint32_t *begin, uint32_t *end)
{
    *begin = (uint32_t)((uint64_t)count * worker->index / worker->count);
    *end = (uint32_t)((uint64_t)count * (worker->index + 1) / worker->count);
}

uint32_t team_take(const struct worker *worker)
{
    return atomic_fetch_add_explicit(&worker->team->next, 1, memory_order_relaxed);
}

void team_deal(const struct worker *worker)
{
    atomic_store_explicit(&worker->team->next, 0, memory_order_relaxed);
}
