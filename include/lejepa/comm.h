/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Communicators: MPI started by the library, or a program's own communicator wrapped for
 * it.
 *
 * A function whose comment says "Collective" is called by all ranks of its communicator
 * and ends with the same status on each; a local one never communicates. mpi.h is not
 * needed to include this. */
#ifndef LEJEPA_COMM_H
#define LEJEPA_COMM_H

#include "lejepa/base.h"

struct lj_comm_mpi;
struct lj_comm {
    int rank, size;
    struct lj_comm_mpi *mpi; /* owned */
};

/* Initialises MPI, installs the handler that ends a failing MPI call with exit code 7 and the
 * abort hook of base, and makes rank 0 the speaker. Collective over the launch.
 *   world  out  owned by the caller until lj_comm_finish */
LJ_API int lj_comm_start(struct lj_comm **world) LJ_MUST_USE;
/* Collective. Ends MPI; destroys world. Accepts NULL. */
LJ_API void lj_comm_finish(struct lj_comm *world);
/* Ends the whole job with this exit code; never returns. Of ranks that call it at the same time the
 * lowest one ends the job; one that is alone in it waits for at most 2 s before it does. Local. */
LJ_API _Noreturn void lj_comm_abort(int exit_code);

/* Wraps a duplicate of the caller's communicator, for programs that run MPI themselves. Installs
 * what lj_comm_start installs; rank 0 of this communicator becomes the speaker.
 *   mpi_comm  in  a pointer to the caller's MPI_Comm
 * Collective over it. */
LJ_API int lj_comm_create(struct lj_comm **comm, const void *mpi_comm) LJ_MUST_USE;
LJ_API void lj_comm_destroy(struct lj_comm *comm);

/* The first `size` ranks of comm; *sub is NULL on the others. Collective over comm. */
LJ_API int lj_comm_first(struct lj_comm *comm, int size, struct lj_comm **sub) LJ_MUST_USE;

/* Groups of `each` consecutive ranks; *sub is this rank's, NULL on those that are left over.
 * Collective over comm.
 *   groups  in  groups * each is at most the size of comm */
LJ_API int lj_comm_groups(struct lj_comm *comm, int groups, int each,
                          struct lj_comm **sub) LJ_MUST_USE;

#endif
