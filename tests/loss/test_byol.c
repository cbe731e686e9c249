/* SPDX-License-Identifier: Apache-2.0 */
/* BYOL over several ranks: golden values of PyTorch, central differences, the same bits for the
 * same lanes, collapse, and what is not finite. */
#include "loss/loss.h"

#include "mpi_case.h"
#include "objective_case.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, SPREAD };

/* A global batch, cut into lanes. */
struct batch {
    int64_t views, targets, samples, width, lane_rows;
    int workers;
    const float *p, *z; /* (V, N, D), (G, N, D) */
};

static struct lj_config config;

/* Sets the settings, too. */
static struct lj_objective_case case_of(const struct batch *b)
{
    lj_config_defaults(&config);
    return (struct lj_objective_case){.kind = &lj_objective_byol,
                                      .config = &config,
                                      .views = b->views,
                                      .samples = b->samples,
                                      .width = b->width,
                                      .lane_rows = b->lane_rows,
                                      .workers = b->workers,
                                      .z = b->p,
                                      .targets = b->targets,
                                      .averaged = b->z};
}

static struct lj_objective_result run(struct lj_comm *comm, const struct batch *b, float *dp)
{
    const struct lj_objective_case c = case_of(b);
    return lj_objective_case_run(comm, &c, dp);
}

/* As lj_objective_case_error. */
static double gradient_error(const struct lj_comm *comm, const struct batch *b, const float *dp,
                             const double *expected)
{
    const struct lj_objective_case c = case_of(b);
    return lj_objective_case_error(comm, &c, dp, expected);
}

/* ---- golden ------------------------------------------------------------------------------ */

Test(byol, golden_values, .timeout = 60)
{
    static const char *const shapes[] = {"two", "crops", "one_target"};
    static const double tolerance[] = {1e-7, 1e-6};
    struct lj_comm *comm = lj_case_begin();
    const struct lj_objective_case c = case_of(&(struct batch){.workers = 1});
    for (int i = 0; i < 3; i++)
        lj_objective_case_golden(comm, c, "byol.h5", shapes[i], "predicted", "averaged", tolerance);
    lj_case_end(comm);
}

/* ---- reference in double, from the definition ----------------------------------------------- */

static double cosine(const double *a, const double *b, int64_t width)
{
    double product = 0, aa = 0, bb = 0;
    for (int64_t j = 0; j < width; j++) {
        product += a[j] * b[j];
        aa += a[j] * a[j];
        bb += b[j] * b[j];
    }
    return product / sqrt(aa * bb);
}

static double reference(const struct batch *b, const double *p, const double *z)
{
    int64_t N = b->samples, D = b->width;
    double pairs = (double)(b->targets * (b->views - 1)), loss = 0;
    for (int64_t u = 0; u < b->targets; u++)
        for (int64_t v = 0; v < b->views; v++)
            for (int64_t n = 0; n < N && u != v; n++)
                loss += (2 - 2 * cosine(p + (v * N + n) * D, z + (u * N + n) * D, D)) /
                        (pairs * (double)N);
    return loss;
}

/* Loss against the reference, the gradient against its central differences. */
static void compare(struct lj_comm *comm, struct batch b)
{
    int64_t count = b.views * b.samples * b.width, targets = b.targets * b.samples * b.width;
    float *numbers = calloc((size_t)(count + targets), sizeof *numbers), *dp = NULL;
    double *x = calloc((size_t)(2 * count + targets), sizeof *x), *expected = x + count + targets;
    lj_random_normal_f32(numbers, count + targets, 5);
    for (int64_t i = 0; i < count + targets; i++)
        x[i] = (double)numbers[i];
    double loss = reference(&b, x, x + count);
    for (int64_t i = 0; i < count; i++) {
        double kept = x[i], step = 1e-5;
        x[i] = kept + step;
        double above = reference(&b, x, x + count);
        x[i] = kept - step;
        expected[i] = (above - reference(&b, x, x + count)) / (2 * step);
        x[i] = kept;
    }
    b.p = numbers;
    b.z = numbers + count;
    dp = calloc((size_t)count, sizeof *dp);
    struct lj_objective_result r = run(comm, &b, dp);
    lj_all_assert(comm, r.status == LJ_OK && fabs(r.term[LOSS] - loss) < 1e-7, "%.12g not %.12g",
                  r.term[LOSS], loss);
    double error = gradient_error(comm, &b, dp, expected);
    lj_all_assert(comm, error < 1e-5, "V %lld N %lld: gradient off by %g", (long long)b.views,
                  (long long)b.samples, error);
    free(numbers);
    free(dp);
    free(x);
}

/* Sizes that cut blocks and lanes; fewer lanes than ranks; the smallest batch. */
Test(byol, agrees_with_central_differences, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, (struct batch){2, 2, 1, 2, 1, 1, NULL, NULL});
    compare(comm, (struct batch){3, 2, 11, 4, 4, 2, NULL, NULL});
    compare(comm, (struct batch){4, 4, 9, 3, 9, 1, NULL, NULL});
    compare(comm, (struct batch){2, 1, 35, 7, 35, 3, NULL, NULL});
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(byol, bits_depend_on_the_lanes_only, .timeout = 60)
{
    enum { VIEWS = 3, TARGETS = 2, SAMPLES = 61, WIDTH = 37, COUNT = VIEWS * SAMPLES * WIDTH };
    struct lj_comm *comm = lj_case_begin();
    float *numbers = calloc(2 * COUNT, sizeof *numbers);
    struct batch b = {VIEWS, TARGETS, SAMPLES, WIDTH, 6, 1, numbers, numbers + COUNT};
    lj_random_normal_f32(numbers, 2 * COUNT, 6);
    lj_objective_case_assert_bits(comm, case_of(&b));
    free(numbers);
    lj_case_end(comm);
}

/* A batch of one point, then of random ones, then with one number that is not finite. */
Test(byol, collapse_and_nonfinite_targets, .timeout = 60)
{
    enum { SAMPLES = 64, WIDTH = 16, COUNT = 2 * SAMPLES * WIDTH };
    struct lj_comm *comm = lj_case_begin();
    float *numbers = calloc(2 * COUNT, sizeof *numbers), *dp = calloc(COUNT, sizeof *dp);
    struct batch b = {2, 2, SAMPLES, WIDTH, 8, 1, numbers, numbers + COUNT};
    for (int64_t i = 0; i < 2 * COUNT; i++)
        numbers[i] = (float)(1 + i / WIDTH % 3) * (float)(i % WIDTH - 7);
    struct lj_objective_result r = run(comm, &b, dp);
    double told = lj_objective_byol.collapse(&config, r.term);
    lj_all_assert(comm, fabs(told - 1) < 1e-6 && fabs(r.term[LOSS]) < 1e-6, "one point: %g", told);
    lj_random_normal_f32(numbers, 2 * COUNT, 8);
    r = run(comm, &b, dp);
    told = lj_objective_byol.collapse(&config, r.term);
    lj_all_assert(comm, told >= 0 && told < 0.1, "spread: %g", told);
    for (int64_t i = 0; i < 2 * COUNT; i += 2 * COUNT - 1) { /* of p, then of z */
        float kept = numbers[i];
        numbers[i] = NAN;
        r = run(comm, &b, dp);
        lj_all_assert(comm, r.message.nonfinite > 0, "element %lld is not told", (long long)i);
        numbers[i] = kept;
    }
    free(numbers);
    free(dp);
    lj_case_end(comm);
}

Test(byol, refuses_one_view_and_trainers_without_target, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective *objective = NULL;
    static const float number;
    struct batch b = {1, 1, 8, 4, 8, 1, NULL, &number};
    struct lj_objective_case c = case_of(&b);
    int status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "views of a sample"),
                  "%s", lj_error_text());
    c.views = 2;
    c.averaged = NULL;
    status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "a predictor"), "%s",
                  lj_error_text());
    lj_case_end(comm);
}
