/* SPDX-License-Identifier: Apache-2.0 */
/* Alignment of views and the figures of a covariance, against numpy (golden/make_spectrum.py). */
#include "eval/eval.h"

#include "golden.h"
#include "mpi_case.h"
#include "share.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static struct lj_projections projections_of(const struct lj_comm *comm, const float *values,
                                            int64_t samples, int64_t views, int64_t width)
{
    struct lj_features mine = share_of(comm, values, samples, views * width);
    return (struct lj_projections){mine.values, mine.rows, views, width};
}

static void expect_near(struct lj_comm *world, const char *name, double value)
{
    struct lj_golden golden = lj_golden_f64("spectrum.h5", name);
    double expected = golden.f64[0];
    lj_golden_free(&golden);
    lj_all_assert(world, fabs(value / expected - 1) < 1e-10, "%s: %.15g, by numpy %.15g", name,
                  value, expected);
}

Test(alignment, as_numpy, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_golden values = lj_golden_f32("spectrum.h5", "values");
    struct lj_golden pair = lj_golden_i64("spectrum.h5", "offdiagonal_of");
    double eigenvalues[16], alignment;
    struct lj_spectrum s = {.eigenvalues = eigenvalues};
    struct lj_projections p =
        projections_of(world, values.f32, values.shape[0], values.shape[1], values.shape[2]);
    struct lj_features rows = lj_projections_rows(&p);
    int status = lj_spectrum_of(world, &rows, &s);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_projections_alignment(world, &p, s.trace, &alignment);
    expect_near(world, "alignment", alignment);
    expect_near(world, "effective_rank", s.effective_rank);
    expect_near(world, "rankme", s.rankme);
    expect_near(world, "participation", s.participation);
    expect_near(world, "condition", s.condition);
    expect_near(world, "trace", s.trace);
    expect_near(world, "mean_norm", s.mean_norm);
    expect_near(world, "offdiagonal", s.offdiagonal);
    expect_near(world, "eigenvalues", s.eigenvalue_max);
    lj_all_assert(world,
                  s.offdiagonal_of[0] == pair.i64[0] && s.offdiagonal_of[1] == pair.i64[1] &&
                      s.eigenvalue_min == eigenvalues[p.width - 1],
                  "features %lld and %lld", (long long)s.offdiagonal_of[0],
                  (long long)s.offdiagonal_of[1]);
    lj_golden_free(&values);
    lj_golden_free(&pair);
    lj_case_end(world);
}

/* Views that agree; samples that agree; one view; nothing that varies. */
Test(alignment, edges, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float alike[4] = {1, 1, -1, -1}, apart[4] = {1, -1, 1, -1};
    double value;
    struct lj_projections p = projections_of(world, alike, 2, 2, 1);
    lj_projections_alignment(world, &p, 1.0, &value);
    lj_all_assert(world, value == 0.0, "views that agree: %g", value);
    p = projections_of(world, apart, 2, 2, 1);
    lj_projections_alignment(world, &p, 1.0, &value);
    lj_all_assert(world, value == 1.0, "samples that agree: %g", value);
    p = projections_of(world, apart, 4, 1, 1);
    lj_projections_alignment(world, &p, 1.0, &value);
    lj_all_assert(world, isnan(value), "one view: %g", value);
    p = projections_of(world, apart, 2, 2, 1);
    lj_projections_alignment(world, &p, 0.0, &value);
    lj_all_assert(world, isnan(value), "nothing varies: %g", value);
    lj_case_end(world);
}

Test(alignment, ranks_and_threads_do_not_matter, .timeout = 60)
{
    enum { SAMPLES = 333, VIEWS = 4, WIDTH = 21 };
    struct lj_comm *world = lj_case_begin();
    static float z[SAMPLES * VIEWS * WIDTH];
    double trace = 0, one = 0, other;
    for (int i = 0; i < SAMPLES * VIEWS * WIDTH; i++) {
        z[i] = sinf((float)(i % 7919 * (i % 104729)));
        trace += (double)(z[i] * z[i]) / (SAMPLES * VIEWS);
    }
    for (int size = 1; size <= world->size; size++) {
        struct lj_comm *few;
        int status = lj_comm_first(world, size, &few);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        for (int threads = 1; threads <= 3 && few; threads += 2) {
            omp_set_num_threads(threads);
            struct lj_projections p = projections_of(few, z, SAMPLES, VIEWS, WIDTH);
            lj_projections_alignment(few, &p, trace, &other);
            one = size == 1 && threads == 1 ? other : one;
            lj_broadcast(few, &one, sizeof one, 0);
            lj_all_assert(few, one == other, "%d ranks, %d threads: other bits", size, threads);
        }
        lj_comm_destroy(few);
        lj_barrier(world);
    }
    lj_case_end(world);
}
