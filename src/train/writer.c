/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of checkpoints: a thread of the root, one for each checkpoint, that writes a snapshot
 * while training goes on. It never calls MPI; the main thread asks how far it is. */
#include "train/trainer.h"

#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { TEXT_BYTES = 2048 }; /* of an error record */

struct lj_writer {
    struct lj_checkpoint checkpoint; /* what it points to is borrowed */
    char dir[LJ_PATH_MAX];
    int keep;
    double begun_s;

    pthread_t thread;
    bool prepared; /* there is something to write, not yet begun */
    bool started;  /* there is a thread to be joined */
    bool told;     /* its failure is known to whoever has to act on it */
    pthread_mutex_t mutex;
    pthread_cond_t has_ended;
    bool ended; /* under the mutex, as what follows */
    double ended_s;
    int status;            /* of the write */
    char text[TEXT_BYTES]; /* of its failure */
};

int lj_writer_create(struct lj_writer **writer)
{
    struct lj_writer *w = *writer = lj_alloc(sizeof *w, "checkpoint snapshot");
    if (!w)
        return LJ_ERR_RESOURCE;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->has_ended, NULL);
    return LJ_OK;
}

static void join(struct lj_writer *w)
{
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = false;
}

void lj_writer_destroy(struct lj_writer *w)
{
    if (!w)
        return;
    join(w);
    pthread_cond_destroy(&w->has_ended);
    pthread_mutex_destroy(&w->mutex);
    lj_free(w);
}

static void *write_snapshot(void *argument)
{
    struct lj_writer *w = argument;
    lj_progress_beside(true);
    int status = lj_checkpoint_write(w->dir, &w->checkpoint, w->keep);
    lj_progress_beside(false);
    pthread_mutex_lock(&w->mutex);
    w->status = status;
    snprintf(w->text, sizeof w->text, "%s", status == LJ_OK ? "" : lj_error_text());
    w->ended_s = lj_now_s();
    w->ended = true;
    pthread_cond_signal(&w->has_ended);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals stay the main thread's. */
static int start_thread(struct lj_writer *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, write_snapshot, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->started = error == 0;
    if (error)
        return lj_fail(LJ_ERR_RESOURCE,
                       "cannot start the thread that writes checkpoints: %s; raise the limit on "
                       "processes (ulimit -u)",
                       strerror(error));
    return LJ_OK;
}

int lj_writer_prepare(struct lj_writer *w, const char *dir, const struct lj_checkpoint *checkpoint,
                      int keep)
{
    LJ_CHECK(!w->started, "a checkpoint begins while another is written");
    if (snprintf(w->dir, sizeof w->dir, "%s", dir) >= (int)sizeof w->dir)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter one", dir,
                       LJ_PATH_MAX - 1);
    w->checkpoint = *checkpoint;
    w->keep = keep;
    w->begun_s = lj_now_s();
    w->ended = w->told = false;
    w->prepared = true;
    return LJ_OK;
}

int lj_writer_start(struct lj_writer *w)
{
    if (!w->prepared)
        return LJ_OK;
    w->prepared = false;
    return start_thread(w);
}

static bool has_ended(struct lj_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    bool ended = w->ended;
    pthread_mutex_unlock(&w->mutex);
    return ended;
}

int lj_writer_failure(struct lj_writer *w)
{
    if (!w->started || !has_ended(w) || w->status == LJ_OK)
        return LJ_OK;
    w->told = true;
    lj_error_set(w->text);
    return w->status;
}

/* Waits a quarter of a second at most; true: the thread has ended. */
static bool wait_briefly(struct lj_writer *w)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 250000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->mutex);
    while (!w->ended && pthread_cond_timedwait(&w->has_ended, &w->mutex, &until) == 0) {
    }
    bool ended = w->ended;
    pthread_mutex_unlock(&w->mutex);
    return ended;
}

int lj_writer_wait(struct lj_writer *w)
{
    if (!w->started)
        return LJ_OK;
    for (double seen_s = 0; !wait_briefly(w);) {
        double last_s = lj_progress_beside_s();
        if (last_s > seen_s) /* the other ranks hear of it, too */
            lj_progress();
        seen_s = last_s;
    }
    join(w);
    if (w->status == LJ_OK || w->told)
        return LJ_OK;
    lj_error_set(w->text);
    return w->status;
}

double lj_writer_seconds(struct lj_writer *w)
{
    return has_ended(w) && w->status == LJ_OK ? w->ended_s - w->begun_s : 0;
}
