/* SPDX-License-Identifier: Apache-2.0 */
/* The one process-wide lock around every HDF5 call of the program: Debian's parallel HDF5 is not
 * thread-safe. Knows nothing of HDF5 itself; whoever takes it silences HDF5's error stack
 * (H5Eset_auto2) and turns failures into our own messages. */
#ifndef LEJEPA_HDF5_LOCK_H
#define LEJEPA_HDF5_LOCK_H

#include "lejepa/base.h"

/* Not recursive. Local. */
LJ_API void lj_hdf5_lock(void);
LJ_API void lj_hdf5_unlock(void);

#endif
