/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that cannot create its gradient reduction: all ranks hear of it, and nothing is left. */
#include "comm/comm.h"
#include "mpi_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lj_comm *world;

static void check_failure(int rank)
{
    char fault[64];
    struct lj_ledger ledger = {.count = 0};
    const int64_t bounds[] = {0, 2 * LJ_SHARD_ALIGN, 5 * LJ_SHARD_ALIGN};
    struct lj_gradsync_plan plan = {.lanes = 6, .buckets = 2, .bounds = bounds, .workers = 2};
    struct lj_gradsync *sync = NULL;
    int64_t before = lj_open_blocks();
    snprintf(fault, sizeof fault, "gradsync-create:%d:-1", rank);
    setenv("LJ_FAULT", fault, 1);
    int status = lj_gradsync_create(&sync, world, &plan, &ledger);
    lj_all_assert(world, status == LJ_ERR_RESOURCE && !sync, "rank %d fails: status %d", rank,
                  status);
    lj_all_assert(world, strstr(lj_error_text(), "injected fault at gradsync-create") != NULL,
                  "text '%s'", lj_error_text());
    lj_all_assert(world, lj_open_blocks() == before,
                  "rank %d fails: blocks of memory are not freed", rank);
    unsetenv("LJ_FAULT");
}

Test(gradsync_failure_mpi, failure_to_create_reaches_everybody, .timeout = 60)
{
    world = lj_case_begin();
    for (int rank = 0; rank < world->size; rank++)
        check_failure(rank);
    lj_case_end(world);
}
