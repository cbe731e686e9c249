/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0 at work while the others wait. What keeps their watchdogs quiet is that they hear of its
 * progress, by one broadcast after the other of "going on", until one says "done". */
#include "comm/comm_mpi.h"

static const double telling_s = 1; /* least time between two broadcasts of "going on" */

static struct lj_comm *alone; /* on the root, while it works */
static double told_s;

static bool tell(struct lj_comm *comm, bool going_on)
{
    int word = going_on;
    MPI_Bcast(&word, 1, MPI_INT, 0, comm->mpi->comm);
    return word != 0;
}

/* MPI is the main thread's; others' progress is told at its own next. */
static void on_progress(void)
{
    int main_thread = 0;
    MPI_Is_thread_main(&main_thread);
    if (!main_thread || lj_now_s() - told_s < telling_s)
        return;
    told_s = lj_now_s();
    tell(alone, true);
}

void lj_root_section_begin(struct lj_comm *comm)
{
    if (!lj_comm_is_root(comm) || comm->size == 1)
        return;
    LJ_CHECK(!alone, "lj_root_section_begin inside another");
    alone = comm;
    told_s = lj_now_s();
    lj_set_progress_hook(on_progress);
}

int lj_root_section_end(struct lj_comm *comm, int status)
{
    if (lj_comm_is_root(comm) && comm->size > 1) {
        lj_set_progress_hook(NULL);
        alone = NULL;
        tell(comm, false);
    }
    while (!lj_comm_is_root(comm) && tell(comm, false))
        lj_progress();
    return lj_agree(comm, status);
}
