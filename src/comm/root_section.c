/* SPDX-License-Identifier: Apache-2.0 */
/* Root sections: rank 0 works, the others wait. Their watchdogs stay quiet because they hear of its
 * progress: rank 0 broadcasts "going on", again and again, and "done" at the end. */
#include "comm/comm_mpi.h"

static const double telling_s = 1; /* least time between two broadcasts of "going on" */

static struct lj_comm *section; /* on the root, between begin and end; else NULL */
static double told_s;           /* when it broadcast last */

static bool tell(struct lj_comm *comm, bool going_on)
{
    int word = going_on;
    LJ_WAIT_IN(MPI_Bcast(&word, 1, MPI_INT, 0, comm->mpi->comm));
    return word != 0;
}

/* Only the main thread may call MPI: the progress of other threads is told at the main
 * thread's next call. */
static void on_progress(void)
{
    int main_thread = 0;
    MPI_Is_thread_main(&main_thread);
    if (!main_thread || lj_now_s() - told_s < telling_s)
        return;
    told_s = lj_now_s();
    tell(section, true);
}

void lj_root_section_begin(struct lj_comm *comm)
{
    if (!lj_comm_is_root(comm) || comm->size == 1)
        return;
    LJ_CHECK(!section, "lj_root_section_begin inside another");
    section = comm;
    told_s = lj_now_s();
    lj_set_progress_hook(on_progress);
}

int lj_root_section_end(struct lj_comm *comm, int status)
{
    if (lj_comm_is_root(comm) && comm->size > 1) {
        lj_set_progress_hook(NULL);
        section = NULL;
        tell(comm, false);
    }
    while (!lj_comm_is_root(comm) && tell(comm, false)) /* only hears */
        lj_progress();
    return lj_agree(comm, status);
}
