/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals against the normal approximation of the binomial distribution, at its edges, and on any
 * number of ranks and threads. */
#include "eval/eval.h"

#include "mpi_case.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 4000 };

static int32_t truth[ROWS], predicted[ROWS];

/* Four equal classes, each with three right of four. */
static void fill(void)
{
    for (int i = 0; i < ROWS; i++) {
        truth[i] = i % 4;
        predicted[i] = i / 4 % 4 ? truth[i] : -1;
    }
}

Test(bootstrap, as_binomial, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_interval top1, balanced;
    const double half = 1.959964 * sqrt(0.75 * 0.25 / ROWS);
    fill();
    int status = lj_accuracy_intervals(world, predicted, truth, ROWS, 0, &top1, &balanced);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world,
                  fabs(top1.low - 0.75 + half) < 0.2 * half &&
                      fabs(top1.high - 0.75 - half) < 0.2 * half,
                  "%g .. %g, expected 0.75 +- %g", top1.low, top1.high, half);
    lj_all_assert(world,
                  fabs(balanced.low - 0.75 + half) < 0.2 * half &&
                      fabs(balanced.high - 0.75 - half) < 0.2 * half,
                  "balanced: %g .. %g, expected 0.75 +- %g", balanced.low, balanced.high, half);
    lj_case_end(world);
}

Test(bootstrap, edges, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_interval top1, balanced;
    fill();
    int status = lj_accuracy_intervals(world, truth, truth, ROWS, 0, &top1, &balanced);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, top1.low == 1 && balanced.low == 1 && balanced.high == 1,
                  "all right: from %g, balanced %g .. %g", top1.low, balanced.low, balanced.high);
    status = lj_accuracy_intervals(world, predicted, truth, 1, 0, &top1, &balanced);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, top1.low == 0 && top1.high == 0 && balanced.high == 0,
                  "one row, wrong: %g .. %g", top1.low, top1.high);
    lj_case_end(world);
}

Test(bootstrap, ranks_and_threads_do_not_matter, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_interval one[2] = {{0, 0}}, all[2], other[2];
    struct lj_comm *first;
    fill();
    omp_set_num_threads(2);
    int status = lj_accuracy_intervals(world, predicted, truth, 333, 5, &all[0], &all[1]);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    status = lj_comm_first(world, 1, &first);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    omp_set_num_threads(1);
    if (first)
        cr_assert_eq(lj_accuracy_intervals(first, predicted, truth, 333, 5, &one[0], &one[1]),
                     LJ_OK);
    lj_comm_destroy(first);
    lj_broadcast(world, one, sizeof one, 0);
    lj_all_assert(world, memcmp(one, all, sizeof one) == 0, "%g .. %g, not %g .. %g", all[0].low,
                  all[0].high, one[0].low, one[0].high);
    status = lj_accuracy_intervals(world, predicted, truth, 333, 6, &other[0], &other[1]);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, memcmp(other, all, sizeof all) != 0, "the same with another seed");
    lj_case_end(world);
}
