/* SPDX-License-Identifier: Apache-2.0 */
/* Closed forms: the rows +-a_j e_j have mean 0 and covariance diag(2 a_j^2 / N). */
#include "eval/eval.h"

#include "mpi_case.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { WIDTH = 37 };

/* (2 WIDTH, WIDTH) moved by `shift` in every feature. */
static void axes(float *x, double shift)
{
    memset(x, 0, 2 * WIDTH * WIDTH * sizeof *x);
    for (int j = 0; j < WIDTH; j++) {
        x[(2 * j) * WIDTH + j] = (float)(1 + j);
        x[(2 * j + 1) * WIDTH + j] = -(float)(1 + j);
    }
    for (int i = 0; i < 2 * WIDTH * WIDTH; i++)
        x[i] += (float)shift;
}

/* Of rows that the ranks share in blocks. */
static int spectrum_of(struct lj_comm *comm, const float *x, int64_t rows, int64_t width,
                       int64_t block, struct lj_spectrum *spectrum)
{
    int64_t first, end;
    lj_lanes_of_rank((rows + block - 1) / block, comm->size, comm->rank, &first, &end);
    first *= block;
    struct lj_features mine = {.values = x + first * width,
                               .rows = lj_min_i64(end * block, rows) - first,
                               .width = width,
                               .block = block};
    return lj_spectrum_of(comm, &mine, spectrum);
}

Test(spectrum, diagonal_covariance, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    float x[2 * WIDTH * WIDTH];
    double eigenvalues[WIDTH], trace = 0, entropy = 0, worst = 0;
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    axes(x, 2.0);
    int status = spectrum_of(world, x, 2 * WIDTH, WIDTH, 8, &spectrum);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int j = 1; j <= WIDTH; j++)
        trace += (double)(j * j) / WIDTH;
    for (int j = 1; j <= WIDTH; j++) {
        double value = (double)(j * j) / WIDTH;
        worst = fmax(worst, fabs(eigenvalues[WIDTH - j] - value));
        entropy -= value / trace * log(value / trace);
    }
    lj_all_assert(world, worst < 1e-11, "eigenvalues differ by %g", worst);
    lj_all_assert(world, fabs(spectrum.trace - trace) < 1e-10, "trace %.17g", spectrum.trace);
    lj_all_assert(world, fabs(spectrum.effective_rank - exp(entropy)) < 1e-10, "effective rank %g",
                  spectrum.effective_rank);
    lj_all_assert(world, fabs(spectrum.condition - WIDTH * WIDTH) < 1e-7, "condition %g",
                  spectrum.condition);
    lj_all_assert(world, fabs(spectrum.mean_norm - 2 * sqrt(WIDTH)) < 1e-12, "mean %g",
                  spectrum.mean_norm);
    lj_case_end(world);
}

/* Equal eigenvalues: effective rank is the width; rotation by 45 degrees changes nothing. */
Test(spectrum, isotropic, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[8] = {1, 1, -1, -1, 1, -1, -1, 1};
    double eigenvalues[2];
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    int status = spectrum_of(world, x, 4, 2, 1, &spectrum);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, fabs(spectrum.effective_rank - 2.0) < 1e-14, "effective rank %.17g",
                  spectrum.effective_rank);
    lj_all_assert(world, fabs(spectrum.condition - 1.0) < 1e-14, "condition %.17g",
                  spectrum.condition);
    const float line[6] = {1, 1, 2, 2, 4, 4}; /* one direction only */
    status = spectrum_of(world, line, 3, 2, 1, &spectrum);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, fabs(spectrum.effective_rank - 1.0) < 1e-12, "effective rank %.17g",
                  spectrum.effective_rank);
    lj_all_assert(world, fabs(eigenvalues[0] - 2 * 14.0 / 9) < 1e-14, "%.17g", eigenvalues[0]);
    lj_case_end(world);
}

Test(spectrum, edges, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float one[1] = {3}, bad[2] = {NAN, 1}, infinite[2] = {1, INFINITY};
    double eigenvalues[1];
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    int status = spectrum_of(world, one, 1, 1, 64, &spectrum);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(
        world, eigenvalues[0] == 0.0 && spectrum.effective_rank == 0.0 && spectrum.mean_norm == 3.0,
        "%g, %g, %g", eigenvalues[0], spectrum.effective_rank, spectrum.mean_norm);
    status = spectrum_of(world, one, 0, 1, 64, &spectrum);
    lj_all_assert(world, status == LJ_ERR_DATA, "no rows: %d", status);
    status = spectrum_of(world, bad, 2, 1, 1, &spectrum);
    lj_all_assert(world, status == LJ_ERR_NUMERIC, "NaN: %d", status);
    status = spectrum_of(world, infinite, 2, 1, 1, &spectrum);
    lj_all_assert(world, status == LJ_ERR_NUMERIC, "infinity: %d", status);
    lj_case_end(world);
}

/* Far from 0 and of any size: the units of the sums follow the values. */
Test(spectrum, scale, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    float x[2 * WIDTH * WIDTH];
    double one[WIDTH], other[WIDTH];
    struct lj_spectrum a = {.eigenvalues = one}, b = {.eigenvalues = other};
    axes(x, 0.0);
    int status = spectrum_of(world, x, 2 * WIDTH, WIDTH, 8, &a);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int power = -100; power <= 100; power += 50) {
        double worst = 0;
        axes(x, 0.0);
        for (int i = 0; i < 2 * WIDTH * WIDTH; i++)
            x[i] = ldexpf(x[i], power);
        status = spectrum_of(world, x, 2 * WIDTH, WIDTH, 8, &b);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        for (int i = 0; i < WIDTH; i++)
            worst = fmax(worst, fabs(ldexp(other[i], -2 * power) / one[i] - 1));
        lj_all_assert(world, worst < 1e-12, "times 2^%d: %g", power, worst);
    }
    lj_case_end(world);
}

/* Panels of the covariance and blocks of rows that are not full. */
Test(spectrum, ranks_and_threads_do_not_matter, .timeout = 120)
{
    enum { ROWS = 333, WIDE = 130 };
    struct lj_comm *world = lj_case_begin();
    static float x[ROWS * WIDE];
    double one[WIDE], other[WIDE];
    struct lj_spectrum a = {.eigenvalues = one}, b = {.eigenvalues = other};
    for (int i = 0; i < ROWS * WIDE; i++)
        x[i] = sinf((float)(i % 7919 * (i % 104729))) + (float)(i % WIDE);
    for (int size = 1; size <= world->size; size++) {
        struct lj_comm *few;
        int status = lj_comm_first(world, size, &few);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        for (int threads = 1; threads <= 3 && few; threads += 2) {
            bool first = size == 1 && threads == 1;
            omp_set_num_threads(threads);
            lj_all_assert(
                few, spectrum_of(few, x, ROWS, WIDE, LJ_FEATURES_BLOCK, first ? &a : &b) == LJ_OK,
                "%s", lj_error_text());
            lj_broadcast(few, one, sizeof one, 0);
            lj_broadcast(few, &a.effective_rank, sizeof a.effective_rank, 0);
            bool same = first || (memcmp(one, other, sizeof one) == 0 &&
                                  a.effective_rank == b.effective_rank);
            lj_all_assert(few, same, "%d ranks, %d threads: other bits", size, threads);
        }
        lj_comm_destroy(few);
        lj_barrier(world);
    }
    lj_case_end(world);
}
