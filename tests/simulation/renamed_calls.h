/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tests/simulation. Read before every file of the simulation (smpicc -include): calls of
 * comm reach joined_messages.c. SMPI has no MPI_Win_sync; its ranks take turns on one thread, so
 * that there is nothing to synchronise. */
#ifndef SIMULATION_RENAMED_CALLS_H
#define SIMULATION_RENAMED_CALLS_H

#include <mpi.h>

enum { SIM_FOLDED_BYTES = 256 << 10 }; /* blocks from here on are folded (folded_memory.c) */

int simulation_isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                     MPI_Request *request);
int simulation_irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                     MPI_Request *request);
int simulation_iallreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op,
                          MPI_Comm comm, MPI_Request *request);
int simulation_allreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm);
int simulation_wait(MPI_Request *request, MPI_Status *status);
int simulation_testall(int count, MPI_Request request[], int *done, MPI_Status status[]);
int simulation_waitall(int count, MPI_Request request[], MPI_Status status[]);

#define MPI_Isend      simulation_isend
#define MPI_Irecv      simulation_irecv
#define MPI_Testall    simulation_testall
#define MPI_Waitall    simulation_waitall
#define MPI_Iallreduce simulation_iallreduce
#define MPI_Allreduce  simulation_allreduce
#define MPI_Wait       simulation_wait

#define MPI_Win_sync(window) ((void)(window))

#endif
