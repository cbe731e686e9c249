/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a node on several ranks of one machine: once where MPI gives a window, once a rank
 * where it does not. */
#include "mpi_case.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 100003 };

/* Rank 0 writes, everybody reads; then rank 0 alone writes once more, which others see in the same
 * memory and nowhere else. */
static void check(struct lj_comm *comm, bool wants_own)
{
    struct lj_shared *shared = NULL;
    int status = lj_shared_create(&shared, comm, WORDS * (int64_t)sizeof(int64_t), "test");
    lj_all_assert(comm, status == LJ_OK && lj_shared_is_own(shared) == wants_own, "status %d: %s",
                  status, lj_error_text());
    volatile int64_t *words = lj_shared_memory(shared);
    for (int64_t i = 0; i < WORDS && lj_comm_is_root(comm); i++)
        words[i] = 3 * i + 1;
    lj_shared_broadcast(shared);
    int64_t wrong = 0;
    for (int64_t i = 0; i < WORDS; i++)
        wrong += words[i] != 3 * i + 1;
    lj_all_assert(comm, wrong == 0, "%lld of %d words are wrong", (long long)wrong, WORDS);
    lj_barrier(comm);
    if (lj_comm_is_root(comm))
        words[WORDS - 1] = -7;
    lj_barrier(comm);
    bool same = words[WORDS - 1] == -7;
    lj_all_assert(comm, same == (lj_comm_is_root(comm) || !wants_own), "the last word is %lld",
                  (long long)words[WORDS - 1]);
    lj_shared_destroy(shared);
}

Test(shared_mpi, a_node_has_it_once, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    check(comm, comm->size == 1);
    check(comm, comm->size == 1);
    struct lj_shared *empty = NULL;
    int status = lj_shared_create(&empty, comm, 0, "test");
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    lj_shared_broadcast(empty);
    lj_shared_destroy(empty);
    lj_shared_destroy(NULL);
    lj_case_end(comm);
}

/* The window fails on the last rank. */
Test(shared_mpi, without_a_window_each_rank_has_its_own, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    char fault[32];
    snprintf(fault, sizeof fault, "shared:%d:-1", comm->size - 1);
    setenv("LJ_FAULT", fault, 1);
    check(comm, true);
    unsetenv("LJ_FAULT");
    check(comm, comm->size == 1);
    lj_case_end(comm);
}
