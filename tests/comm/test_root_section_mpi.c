/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0 works alone: the others hear of its progress while it works, and of its failure
 * at the end. */
#include "mpi_case.h"

#include <string.h>
#include <unistd.h>

static int heard;

static void count(void)
{
    heard++;
}

/* Somewhat more than two seconds in small parts: "going on" is told at most once a second. */
static void work(void)
{
    for (double end_s = lj_now_s() + 2.3; lj_now_s() < end_s; usleep(20 * 1000))
        lj_progress();
}

Test(root_section_mpi, the_others_hear_of_progress, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    bool root = lj_comm_is_root(world);
    double before_s = lj_now_s();
    if (!root)
        lj_set_progress_hook(count);
    lj_root_section_begin(world);
    if (root)
        work();
    int status = lj_root_section_end(world, LJ_OK);
    lj_all_assert(world, status == LJ_OK, "status %d", status);
    lj_all_assert(world, root || (heard >= 1 && heard <= 3), "heard %d times", heard);
    double said_s = lj_progress_s() - before_s;
    lj_all_assert(world, said_s > 0.9, "last progress %.1f s after the beginning", said_s);
    lj_case_end(world);
}

Test(root_section_mpi, failures_reach_everybody, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    for (int failing = 0; failing < world->size; failing++)
        for (int again = 0; again < 2; again++) {
            lj_root_section_begin(world);
            int status = world->rank == failing ? lj_fail(LJ_ERR_DATA, "no data here") : LJ_OK;
            status = lj_root_section_end(world, status);
            lj_all_assert(world, status == LJ_ERR_DATA, "status %d", status);
            lj_all_assert(world, strstr(lj_error_text(), "no data here"), "%s", lj_error_text());
        }
    lj_case_end(world);
}
