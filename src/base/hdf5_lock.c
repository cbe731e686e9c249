/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide lock that guards HDF5. Threads have it in the order in which they asked for it:
 * one that works in many short calls, as the writer of checkpoints does, would else take a plain
 * mutex again and again before a thread that sleeps in wait for it wakes up. */
#include "base/base.h"

#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static uint64_t next_ticket, serving; /* under the mutex */

void lj_hdf5_lock(void)
{
    LJ_CHECK(pthread_mutex_lock(&mutex) == 0, "the HDF5 lock cannot be taken");
    uint64_t ticket = next_ticket++;
    while (serving != ticket)
        pthread_cond_wait(&turn, &mutex);
    pthread_mutex_unlock(&mutex);
}

void lj_hdf5_unlock(void)
{
    LJ_CHECK(pthread_mutex_lock(&mutex) == 0, "the HDF5 lock cannot be released");
    serving++;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&mutex);
}
