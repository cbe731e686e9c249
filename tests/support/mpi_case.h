/* SPDX-License-Identifier: Apache-2.0 */
/* A Criterion case on several ranks. Each launch runs one case, because a process can start MPI
 * once only.
 *
 *     Test(suite, name, .timeout = 60)
 *     {
 *         struct lj_comm *comm = lj_case_begin();
 *         lj_all_assert(comm, sum == 3, "sum is %d", sum);     on every rank
 *         lj_case_end(comm);
 *     } */
#ifndef LEJEPA_TEST_MPI_CASE_H
#define LEJEPA_TEST_MPI_CASE_H

#include "comm/comm.h"

#include <criterion/criterion.h>

/* Starts MPI. Collective over the launch. */
struct lj_comm *lj_case_begin(void);
/* Ends MPI. Collective. */
void lj_case_end(struct lj_comm *comm);

/* Blocks of memory that this rank has open. Local. */
int64_t lj_open_blocks(void);

/* Does the condition hold on every rank? Collective.
 *   text  out  (capacity) "" if it does; else, on every rank, "rank r: " and the message of the
 *              lowest rank on which it does not */
bool lj_all_hold(struct lj_comm *comm, bool condition, char *text, size_t capacity,
                 const char *format, ...) LJ_PRINTF(5, 6);

/* Asserts on all ranks together, with the text of the lowest failing rank. Collective. An assertion
 * that failed on one rank only would lose its message, and the other ranks would hang in their next
 * collective call. */
#define lj_all_assert(comm, condition, ...)                                                    \
    do {                                                                                       \
        char lj_text[1024];                                                                    \
        bool lj_held = lj_all_hold((comm), (condition), lj_text, sizeof lj_text, __VA_ARGS__); \
        cr_assert(lj_held, "%s", lj_text);                                                     \
    } while (0)

#endif
