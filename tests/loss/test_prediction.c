/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction loss alone (lambda 0). */
#include "loss/loss.h"

#include "loss_case.h"
#include "mpi_case.h"
#include "random.h"

#include <math.h>
#include <string.h>

static struct loss_batch batch_of(int64_t views, int64_t centre, int64_t n, int64_t width,
                                  const float *z)
{
    return (struct loss_batch){.config = {.views = views,
                                          .centre_views = centre,
                                          .width = width,
                                          .slices = 1,
                                          .grid = LJ_SIGREG_GRID_A,
                                          .workers = 1,
                                          .lanes = (n + 2) / 3,
                                          .lane_rows = 3},
                               .samples = n,
                               .z = z};
}

/* z[v][n][d] = sin(0.7 n + 1.3 d + 0.4 v), N = 6, D = 4, V = 2. */
Test(prediction, value_of_the_sine_batch, .timeout = 60)
{
    static const double expected[] = {0.0395795718, 0.0197897859}; /* centre: view 0; both */
    struct lj_comm *comm = lj_case_begin();
    float z[2 * 6 * 4];
    for (int i = 0; i < 48; i++)
        z[i] = (float)sin(0.7 * (i / 4 % 6) + 1.3 * (i % 4) + 0.4 * (i / 24));
    for (int centre = 1; centre <= 2; centre++) {
        struct loss_batch batch = batch_of(2, centre, 6, 4, z);
        struct loss_terms terms;
        cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, NULL, NULL), LJ_OK);
        cr_assert(fabs(terms.prediction - expected[centre - 1]) < 1e-8, "%.12g", terms.prediction);
        cr_assert_eq(terms.total, terms.prediction);
    }
    lj_case_end(comm);
}

/* One sample, one dimension, three views 1, 2, 6 with centre (1 + 2) / 2: deviations -0.5, 0.5,
 * 4.5. L = (0.25 + 0.25 + 20.25) / 3; dL/dz = 2/3 (e - 4.5 / 2 for the centre's views, e for the
 * other). */
Test(prediction, worked_by_hand, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    const float z[] = {1, 2, 6};
    const double gradient[] = {2.0 / 3 * (-0.5 - 2.25), 2.0 / 3 * (0.5 - 2.25), 2.0 / 3 * 4.5};
    for (int additive = 0; additive < 2; additive++) {
        struct loss_batch batch = batch_of(3, 2, 1, 1, z);
        batch.config.additive = additive;
        struct loss_terms terms;
        float dz[3];
        cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, dz, NULL), LJ_OK);
        cr_assert(fabs(terms.prediction - 20.75 / 3) < 1e-6, "%.12g", terms.prediction);
        for (int i = 0; i < 3; i++)
            cr_assert(fabs((double)dz[i] - gradient[i]) < 1e-6, "%d: %.9g", i, (double)dz[i]);
    }
    lj_case_end(comm);
}

/* Moving all views of a sample together changes nothing, so the gradient over views sums to 0. */
Test(prediction, gradient_sums_to_zero_over_views, .timeout = 60)
{
    enum { V = 5, N = 7, D = 3 };
    struct lj_comm *comm = lj_case_begin();
    float z[V * N * D], dz[V * N * D];
    lj_random_normal_f32(z, V * N * D, 3);
    for (int centre = 1; centre <= V; centre++) {
        struct loss_batch batch = batch_of(V, centre, N, D, z);
        struct loss_terms terms;
        cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, dz, NULL), LJ_OK);
        for (int i = 0; i < N * D; i++) {
            double sum = 0;
            for (int v = 0; v < V; v++)
                sum += (double)dz[v * N * D + i];
            cr_assert(fabs(sum) < 1e-7, "element %d: %g", i, sum);
        }
    }
    lj_case_end(comm);
}

/* A diverged run's numbers are either right or counted as nonfinite, never wrapped around: lanes
 * whose sums are just in range one by one, and together beyond the range of the total. */
Test(prediction, large_values_do_not_wrap, .timeout = 60)
{
    enum { V = 2, N = 48, D = 64 };
    struct lj_comm *comm = lj_case_begin();
    static float z[V * N * D];
    static const float deviation[] = {1100, 7000}; /* from the centre 0 */
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < V * N * D; i++)
            z[i] = i < N * D ? deviation[k] : -deviation[k];
        struct loss_batch batch = batch_of(V, V, N, D, z);
        struct loss_terms terms;
        cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, NULL, NULL), LJ_OK);
        cr_assert_eq(terms.nonfinite > 0, k == 1, "%g: %lld", (double)deviation[k],
                     (long long)terms.nonfinite);
        double square = (double)deviation[k] * (double)deviation[k];
        cr_assert(k == 1 || fabs(terms.prediction / square - 1) < 1e-5, "%g", terms.prediction);
    }
    lj_case_end(comm);
}
