/* SPDX-License-Identifier: Apache-2.0 */
/* BYOL over several ranks: golden values of PyTorch, central differences, the same bits for the
 * same lanes, collapse, and what is not finite. */
#include "loss/loss.h"

#include "golden.h"
#include "mpi_case.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, SPREAD, TERMS };

/* A global batch, cut into lanes. */
struct batch {
    int64_t views, targets, samples, width, lane_rows;
    int workers;
    const float *p, *z; /* (V, N, D), (G, N, D) */
};

struct result {
    int status;
    struct lj_step_message message;
    double term[LJ_TERMS_MAX];
    struct lj_ledger ledger;
};

static struct lj_config config;

static int64_t lanes_of(const struct batch *b)
{
    return (b->samples + b->lane_rows - 1) / b->lane_rows;
}

/* A lane's rows between arrays of the batch (views, N, D) and the lane (views, n, D). */
static void copy_lane(const struct batch *b, int64_t lane, int64_t n, int64_t views, float *whole,
                      float *own, bool back)
{
    for (int64_t v = 0; v < views; v++) {
        float *rows = whole + (v * b->samples + lane * b->lane_rows) * b->width;
        float *mine = own + v * n * b->width;
        memcpy(back ? rows : mine, back ? mine : rows, (size_t)(n * b->width) * sizeof *mine);
    }
}

static struct lj_loss_lane take_lane(const struct batch *b, int64_t lane, int64_t first, float *own)
{
    int64_t n = lj_min_i64(b->lane_rows, b->samples - lane * b->lane_rows);
    float *averaged = own + b->views * n * b->width;
    copy_lane(b, lane, n, b->views, (float *)b->p, own, false);
    copy_lane(b, lane, n, b->targets, (float *)b->z, averaged, false);
    return (struct lj_loss_lane){.worker = (int)(lane % b->workers),
                                 .index = lane - first,
                                 .n = n,
                                 .proj = own,
                                 .averaged = averaged};
}

static int create(struct lj_objective **objective, struct lj_comm *comm, const struct batch *b,
                  unsigned gives, struct lj_ledger *ledger)
{
    struct lj_objective_shape shape = {.views = b->views,
                                       .global_views = b->targets,
                                       .width = b->width,
                                       .lanes = lanes_of(b),
                                       .lane_rows = b->lane_rows,
                                       .workers = b->workers,
                                       .gives = gives};
    lj_config_defaults(&config);
    return lj_objective_create(objective, comm, &lj_objective_byol, &config, &shape, ledger);
}

/* Collective. dp (V, N, D): rows of other ranks stay as they are. */
static struct result run(struct lj_comm *comm, const struct batch *b, float *dp)
{
    struct lj_objective *objective = NULL;
    struct result r = {0};
    int64_t first, end, floats = (b->views + b->targets) * b->lane_rows * b->width;
    float *own = calloc((size_t)(2 * floats), sizeof *own), *down = own + floats;
    unsigned gives = LJ_NEED_PREDICTOR | LJ_NEED_AVERAGE;
    cr_assert_eq(create(&objective, comm, b, gives, &r.ledger), LJ_OK, "%s", lj_error_text());
    lj_lanes_of_rank(lanes_of(b), comm->size, comm->rank, &first, &end);
    for (int step = 0; step < 2; step++) { /* the second must find nothing of the first */
        lj_objective_begin(objective, step);
        for (int64_t k = first; k < end; k++) {
            struct lj_loss_lane lane = take_lane(b, k, first, own);
            lj_objective_add(objective, &lane);
        }
        r.status = lj_objective_reduce(objective, LJ_OK, &r.message, r.term);
    }
    for (int64_t k = first; r.status == LJ_OK && k < end; k++) {
        struct lj_loss_lane lane = take_lane(b, k, first, own);
        lj_objective_gradient(objective, &lane, down);
        copy_lane(b, k, lane.n, b->views, dp, down, true);
    }
    lj_objective_destroy(objective);
    free(own);
    return r;
}

/* Is this sample in a lane of this rank? */
static bool is_mine(const struct lj_comm *comm, const struct batch *b, int64_t sample)
{
    int64_t first, end, lane = sample / b->lane_rows;
    lj_lanes_of_rank(lanes_of(b), comm->size, comm->rank, &first, &end);
    return lane >= first && lane < end;
}

/* Largest |dp - expected| of this rank's rows, divided by the largest |expected| of all. */
static double gradient_error(const struct lj_comm *comm, const struct batch *b, const float *dp,
                             const double *expected)
{
    double largest = 1e-30, error = 0;
    for (int64_t i = 0; i < b->views * b->samples * b->width; i++) {
        largest = fmax(largest, fabs(expected[i]));
        if (is_mine(comm, b, i / b->width % b->samples))
            error = fmax(error, fabs((double)dp[i] - expected[i]));
    }
    return error / largest;
}

static void expect(struct lj_comm *comm, const struct batch *b, const double *terms,
                   const double *gradient, const char *what)
{
    float *dp = calloc((size_t)(b->views * b->samples * b->width), sizeof *dp);
    struct result r = run(comm, b, dp);
    lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
    lj_all_assert(comm, r.message.samples == b->samples, "%lld", (long long)r.message.samples);
    for (int i = 0; i < TERMS; i++)
        lj_all_assert(comm, fabs(r.term[i] - terms[i]) < 1e-7, "%s, term %d: %.12g not %.12g", what,
                      i, r.term[i], terms[i]);
    double error = gradient_error(comm, b, dp, gradient);
    lj_all_assert(comm, error < 1e-6, "%s: gradient off by %g", what, error);
    free(dp);
}

/* ---- golden ------------------------------------------------------------------------------ */

static struct lj_golden golden(const char *shape, const char *what, bool single)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", shape, what);
    return single ? lj_golden_f32("byol.h5", path) : lj_golden_f64("byol.h5", path);
}

static void golden_case(struct lj_comm *comm, const char *shape)
{
    struct lj_golden p = golden(shape, "predicted", true), z = golden(shape, "averaged", true);
    struct lj_golden terms = golden(shape, "terms", false),
                     gradient = golden(shape, "gradient", false);
    for (int64_t rows = 3; rows <= 64; rows += 61) {
        struct batch b = {p.shape[0], z.shape[0], p.shape[1], p.shape[2], rows, 1, p.f32, z.f32};
        expect(comm, &b, terms.f64, gradient.f64, shape);
    }
    lj_golden_free(&p);
    lj_golden_free(&z);
    lj_golden_free(&terms);
    lj_golden_free(&gradient);
}

Test(byol, golden_values, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    golden_case(comm, "two");
    golden_case(comm, "crops");
    golden_case(comm, "one_target");
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
    struct result r = run(comm, &b, dp);
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
    struct lj_comm *comm = lj_case_begin(), *single = NULL;
    float *numbers = calloc(2 * COUNT, sizeof *numbers), *dp = calloc(2 * COUNT, sizeof *dp);
    float *wanted = dp + COUNT;
    double term[LJ_TERMS_MAX] = {0};
    int64_t wrong = 0;
    struct batch b = {VIEWS, TARGETS, SAMPLES, WIDTH, 6, 1, numbers, numbers + COUNT};
    lj_random_normal_f32(numbers, 2 * COUNT, 6);
    lj_all_assert(comm, lj_comm_first(comm, 1, &single) == LJ_OK, "%s", lj_error_text());
    if (single) {
        struct result r = run(single, &b, wanted);
        memcpy(term, r.term, sizeof term);
    }
    lj_broadcast(comm, term, sizeof term, 0);
    lj_broadcast(comm, wanted, COUNT * (int64_t)sizeof *wanted, 0);
    for (b.workers = 1; b.workers <= 3; b.workers += 2) {
        struct result r = run(comm, &b, dp);
        lj_all_assert(comm, r.status == LJ_OK && memcmp(r.term, term, sizeof term) == 0,
                      "%d workers: loss %.17g, expected %.17g", b.workers, r.term[0], term[0]);
        for (int64_t i = 0; i < COUNT; i++)
            wrong += is_mine(comm, &b, i / WIDTH % SAMPLES) && dp[i] != wanted[i];
        lj_all_assert(comm, wrong == 0, "%lld elements of the gradient differ", (long long)wrong);
    }
    lj_comm_destroy(single);
    free(numbers);
    free(dp);
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
    struct result r = run(comm, &b, dp);
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
    struct batch b = {1, 1, 8, 4, 8, 1, NULL, NULL};
    unsigned gives = LJ_NEED_PREDICTOR | LJ_NEED_AVERAGE;
    lj_all_assert(comm, create(&objective, comm, &b, gives, NULL) == LJ_ERR_CONFIG, "one view");
    b.views = 2;
    int status = create(&objective, comm, &b, LJ_NEED_PREDICTOR, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "moving average"), "%s",
                  lj_error_text());
    lj_case_end(comm);
}
