/* The compute thread, and the handing over of steps.
 *
 * A step is with exactly one side, and `state` says with whom: the loop thread alone turns IDLE
 * into COMPUTING and FINISHED into IDLE, the compute thread alone COMPUTING into FINISHED. Sleeping
 * goes by `lock` and `changed`; before it sleeps the compute thread looks for the next step for a
 * moment, since between two tokens of a lone guest pass only a few microseconds, and waking up
 * takes longer than that (batches of one on the fake backend: 47 us a step without looking, 6 with
 * it, on two busy cores). */
#include "engine/backend/backend.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum state { STATE_IDLE, STATE_COMPUTING, STATE_FINISHED };
enum { SPIN_NS = 50000, SPINS_PER_LOOK = 64 };

struct backend_worker {
    struct backend *backend;
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic enum state state;
    atomic_bool stop;
    const struct batch *batch;
    struct batch_result *result;
    uint64_t busy_ns;     /* with whom the step is */
    uint64_t finished_ns; /* the loop thread's copy */
    backend_wake_fn wake;
    void *wake_user;
};

static void compute(struct backend_worker *worker)
{
    uint64_t begin = clock_now_ns();
    worker->backend->ops->compute(worker->backend, worker->batch, worker->result);
    worker->busy_ns += clock_now_ns() - begin;
    pthread_mutex_lock(&worker->lock);
    atomic_store(&worker->state, STATE_FINISHED);
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    if (worker->wake != NULL)
        worker->wake(worker->wake_user);
}

static bool has_work(struct backend_worker *worker)
{
    return atomic_load(&worker->state) == STATE_COMPUTING || atomic_load(&worker->stop);
}

static void wait_for_work(struct backend_worker *worker)
{
    uint64_t begin = clock_now_ns();
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (has_work(worker))
                return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    } while (clock_now_ns() - begin < SPIN_NS);
    pthread_mutex_lock(&worker->lock);
    while (!has_work(worker))
        pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
}

static void *work(void *user)
{
    struct backend_worker *worker = user;
    for (;;) {
        wait_for_work(worker);
        if (atomic_load(&worker->state) != STATE_COMPUTING)
            return NULL;
        compute(worker);
    }
}

enum err backend_worker_start(struct backend *backend, bool threaded, backend_wake_fn wake,
                              void *wake_user, struct report *report)
{
    struct backend_worker *worker = mem_calloc(NULL, 1, sizeof *worker);
    if (worker == NULL)
        return err_set(report, ERR_MEMORY, "compute thread: out of memory");
    *worker = (struct backend_worker){.backend = backend, .threaded = threaded, .wake = wake,
                                      .wake_user = wake_user};
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    if (threaded) {
        /* Signals are the loop thread's business; a thread inherits the mask of its maker. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int error = pthread_create(&worker->thread, NULL, work, worker);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error != 0) {
            pthread_cond_destroy(&worker->changed);
            pthread_mutex_destroy(&worker->lock);
            mem_free(NULL, worker);
            return err_set(report, ERR_IO, "compute thread: cannot be started: %s",
                           strerror(error));
        }
    }
    backend->worker = worker;
    return ERR_OK;
}

void backend_submit(struct backend *backend, const struct batch *batch,
                    struct batch_result *result)
{
    struct backend_worker *worker = backend->worker;
    CHECK(atomic_load(&worker->state) == STATE_IDLE);
    worker->batch = batch;
    worker->result = result;
    pthread_mutex_lock(&worker->lock);
    atomic_store(&worker->state, STATE_COMPUTING);
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    if (!worker->threaded)
        compute(worker);
}

bool backend_poll(struct backend *backend)
{
    struct backend_worker *worker = backend->worker;
    if (atomic_load(&worker->state) != STATE_FINISHED)
        return false;
    worker->finished_ns = worker->busy_ns;
    atomic_store(&worker->state, STATE_IDLE);
    return true;
}

void backend_wait(struct backend *backend)
{
    struct backend_worker *worker = backend->worker;
    pthread_mutex_lock(&worker->lock);
    while (atomic_load(&worker->state) == STATE_COMPUTING)
        pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
}

enum err backend_adapter_load(struct backend *backend, const char *path, int64_t *id,
                              struct report *report)
{
    if (backend->ops->adapter_load == NULL)
        return err_set(report, ERR_UNSUPPORTED, "the backend '%s' has no adapters",
                       backend->caps.name);
    return backend->ops->adapter_load(backend, path, id, report);
}

const struct backend_caps *backend_caps(const struct backend *backend)
{
    return &backend->caps;
}

uint64_t backend_busy_ns(const struct backend *backend)
{
    return backend->worker->finished_ns;
}

void backend_destroy(struct backend *backend)
{
    if (backend == NULL)
        return;
    struct backend_worker *worker = backend->worker;
    if (worker != NULL) {
        pthread_mutex_lock(&worker->lock);
        atomic_store(&worker->stop, true);
        pthread_cond_broadcast(&worker->changed);
        pthread_mutex_unlock(&worker->lock);
        if (worker->threaded)
            pthread_join(worker->thread, NULL);
        pthread_cond_destroy(&worker->changed);
        pthread_mutex_destroy(&worker->lock);
        mem_free(NULL, worker);
    }
    backend->ops->destroy(backend);
}
