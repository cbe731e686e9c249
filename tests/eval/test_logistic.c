/* SPDX-License-Identifier: Apache-2.0 */
/* The loss against a plain formula, its gradient against central differences, over block edges. */
#include "eval/logistic.h"

#include "mpi_case.h"
#include "share.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 259, WIDTH = 9, CLASSES = 5, COUNT = (WIDTH + 1) * CLASSES };

static float x[ROWS * WIDTH];
static int32_t member[ROWS];
static double w[COUNT];

static void fill(void)
{
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = i % WIDTH == 4 ? 0.1f : 3 * sinf((float)(i * i % 1009)); /* feature 4: constant */
    for (int i = 0; i < ROWS; i++)
        member[i] = i * 7 % 11 % CLASSES;
    for (int i = 0; i < COUNT; i++)
        w[i] = cos(i);
}

/* Everything straight from the definition, in long double. */
static double plain_loss(double l2)
{
    long double sum = 0, square = 0, mean[WIDTH], deviation[WIDTH];
    for (int j = 0; j < WIDTH; j++) {
        mean[j] = deviation[j] = 0;
        for (int r = 0; r < ROWS; r++)
            mean[j] += x[r * WIDTH + j] / (long double)ROWS;
        for (int r = 0; r < ROWS; r++)
            deviation[j] += powl(x[r * WIDTH + j] - mean[j], 2) / ROWS;
    }
    for (int r = 0; r < ROWS; r++) {
        long double total = 0, own = 0;
        for (int k = 0; k < CLASSES; k++) {
            long double logit = w[WIDTH * CLASSES + k];
            for (int j = 0; j < WIDTH; j++)
                if (j != 4)
                    logit +=
                        (x[r * WIDTH + j] - mean[j]) / sqrtl(deviation[j]) * w[j * CLASSES + k];
            total += expl(logit);
            own = k == member[r] ? logit : own;
        }
        sum += logl(total) - own;
    }
    for (int i = 0; i < WIDTH * CLASSES; i++)
        square += w[i] * w[i];
    return (double)(sum / ROWS + l2 / 2 * square);
}

/* Of the rows of this rank; x_share must outlive the problem. */
static int create(struct lj_logistic *problem, struct lj_comm *comm, struct lj_features *x_share)
{
    *x_share = share_of(comm, x, ROWS, WIDTH);
    return lj_logistic_create(problem, comm, x_share, member + (x_share->values - x) / WIDTH,
                              CLASSES, 0.3);
}

Test(logistic, loss_and_gradient, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_logistic problem;
    struct lj_features share;
    double gradient[COUNT], unused[COUNT], worst = 0;
    fill();
    int status = create(&problem, world, &share);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    double loss = lj_logistic_value(&problem, w, gradient);
    lj_all_assert(world, fabs(loss - plain_loss(0.3)) < 1e-12, "%.17g, expected %.17g", loss,
                  plain_loss(0.3));
    for (int i = 0; i < COUNT; i++) {
        double kept = w[i], h = 1e-5;
        w[i] = kept + h;
        double up = lj_logistic_value(&problem, w, unused);
        w[i] = kept - h;
        double down = lj_logistic_value(&problem, w, unused);
        w[i] = kept;
        worst = fmax(worst, fabs(gradient[i] - (up - down) / (2 * h)));
    }
    lj_all_assert(world, worst < 1e-9, "gradient differs by %g", worst);
    lj_logistic_destroy(&problem);
    lj_case_end(world);
}

Test(logistic, ranks_and_threads_do_not_matter, .timeout = 120)
{
    struct lj_comm *world = lj_case_begin();
    double first[COUNT + 1], other[COUNT + 1];
    fill();
    for (int size = 1; size <= world->size; size++) {
        struct lj_comm *few;
        struct lj_logistic problem;
        struct lj_features share;
        int status = lj_comm_first(world, size, &few);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        for (int threads = 1; threads <= 3 && few; threads += 2) {
            omp_set_num_threads(threads);
            status = create(&problem, few, &share);
            lj_all_assert(few, status == LJ_OK, "%s", lj_error_text());
            other[COUNT] = lj_logistic_value(&problem, w, other);
            if (size == 1 && threads == 1)
                memcpy(first, other, sizeof first);
            lj_broadcast(few, first, sizeof first, 0);
            lj_all_assert(few, memcmp(first, other, sizeof first) == 0,
                          "%d ranks, %d threads: other bits", size, threads);
            lj_logistic_destroy(&problem);
        }
        lj_comm_destroy(few);
        lj_barrier(world);
    }
    lj_case_end(world);
}

/* Parameters far too large, as a line search may try them. */
Test(logistic, a_loss_that_is_not_finite, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_logistic problem;
    struct lj_features share;
    double gradient[COUNT];
    fill();
    int status = create(&problem, world, &share);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    w[3] = 1e308;
    w[7] = -1e308;
    double loss = lj_logistic_value(&problem, w, gradient);
    lj_all_assert(world, !isfinite(loss), "loss %g", loss);
    lj_logistic_destroy(&problem);
    lj_case_end(world);
}
