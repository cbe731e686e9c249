/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide lock that guards HDF5. */
#include "base/base.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lj_hdf5_lock(void)
{
    LJ_CHECK(pthread_mutex_lock(&lock) == 0, "the HDF5 lock cannot be taken");
}

void lj_hdf5_unlock(void)
{
    LJ_CHECK(pthread_mutex_unlock(&lock) == 0, "the HDF5 lock cannot be released");
}
