/* SPDX-License-Identifier: Apache-2.0 */
/* The one lock around every HDF5 call: Debian's parallel HDF5 is not thread-safe. */
#include "lejepa/data.h"

#include <hdf5.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* HDF5 prints its error stack by default; ours is one message. */
static void start_library(void)
{
    LJ_CHECK(H5open() >= 0, "HDF5 does not start");
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void lj_hdf5_lock(void)
{
    pthread_once(&once, start_library);
    pthread_mutex_lock(&lock);
}

void lj_hdf5_unlock(void)
{
    pthread_mutex_unlock(&lock);
}
