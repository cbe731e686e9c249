/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide lock that guards HDF5, and a note of what HDF5 is at. Threads have the lock in
 * the order in which they asked for it: one that works in many short calls, as the writer of
 * checkpoints does, would else take a plain mutex again and again before a thread that sleeps in
 * wait for it wakes up. */
#include "base/base.h"

#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static uint64_t next_ticket, serving; /* under the mutex */
static struct lj_hdf5_note *note;     /* NULL: nobody asks */

void lj_hdf5_lock(void)
{
    LJ_CHECK(pthread_mutex_lock(&mutex) == 0, "the HDF5 lock cannot be taken");
    uint64_t ticket = next_ticket++;
    while (serving != ticket)
        pthread_cond_wait(&turn, &mutex);
    pthread_mutex_unlock(&mutex);
    if (note)
        note->inside = true;
}

void lj_hdf5_unlock(void)
{
    if (note)
        note->inside = false;
    LJ_CHECK(pthread_mutex_lock(&mutex) == 0, "the HDF5 lock cannot be released");
    serving++;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&mutex);
}

void lj_hdf5_note_in(struct lj_hdf5_note *shared)
{
    note = shared;
}

void lj_hdf5_looks_at(const char *path)
{
    if (note)
        snprintf(note->file, sizeof note->file, "%s", path);
    lj_fault_crash("hdf5", -1);
}
