/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the communicator behind struct lj_comm. */
#ifndef LEJEPA_COMM_MPI_H
#define LEJEPA_COMM_MPI_H

#include "comm/comm.h"

#include <mpi.h>

struct lj_comm_mpi {
    MPI_Comm comm;
    bool owned; /* a duplicate or part of ours: freed with it */
};

/* Makes a call in which the main thread may wait for other ranks, and lets the watchdog know. */
#define LJ_WAIT_IN(call) (lj_progress_wait(true), (void)(call), lj_progress_wait(false))

/* Largest number of bytes in one call, a multiple of 8: Open MPI 4.1 has int counts. A variable, so
 * that a test of the splitting can lower it. */
extern int64_t lj_comm_bytes_max;

/* Splits off a communicator whose failing calls end the job as those of comm do; the caller frees
 * it. Collective over comm. The ranks of this node; the ranks of one colour, in order of key:
 * MPI_COMM_NULL for those of colour MPI_UNDEFINED. start.c. */
MPI_Comm lj_split_nodes(struct lj_comm *comm);
MPI_Comm lj_split(struct lj_comm *comm, int colour, int key);

#endif
