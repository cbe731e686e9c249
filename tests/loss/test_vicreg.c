/* SPDX-License-Identifier: Apache-2.0 */
/* VICReg over several ranks: golden values of PyTorch, a reference in double at odd sizes, the same
 * bits for the same lanes, and what is not finite or out of range. */
#include "loss/loss.h"

#include "golden.h"
#include "gradcheck.h"
#include "mpi_case.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, INVARIANCE, VARIANCE, COVARIANCE, TERMS };

/* A global batch, cut into lanes. */
struct batch {
    int64_t views, samples, width, lane_rows;
    int workers;
    const float *z;   /* (V, N, D) */
    double weight[3]; /* of the terms */
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

/* A lane's rows between the batch (V, N, D) and the lane (V, n, D), either way. */
static void copy_lane(const struct batch *b, int64_t lane, int64_t n, float *whole, float *own,
                      bool back)
{
    for (int64_t v = 0; v < b->views; v++) {
        float *rows = whole + (v * b->samples + lane * b->lane_rows) * b->width;
        float *mine = own + v * n * b->width;
        memcpy(back ? rows : mine, back ? mine : rows, (size_t)(n * b->width) * sizeof *mine);
    }
}

static struct lj_loss_lane take_lane(const struct batch *b, int64_t lane, int64_t first,
                                     float *proj)
{
    int64_t n = lj_min_i64(b->lane_rows, b->samples - lane * b->lane_rows);
    copy_lane(b, lane, n, (float *)b->z, proj, false);
    return (struct lj_loss_lane){
        .worker = (int)(lane % b->workers), .index = lane - first, .n = n, .proj = proj};
}

static int create(struct lj_objective **objective, struct lj_comm *comm, const struct batch *b,
                  struct lj_ledger *ledger)
{
    struct lj_objective_shape shape = {.views = b->views,
                                       .global_views = 1,
                                       .width = b->width,
                                       .lanes = lanes_of(b),
                                       .lane_rows = b->lane_rows,
                                       .workers = b->workers};
    lj_config_defaults(&config);
    config.vicreg_invariance = b->weight[0];
    config.vicreg_variance = b->weight[1];
    config.vicreg_covariance = b->weight[2];
    return lj_objective_create(objective, comm, &lj_objective_vicreg, &config, &shape, ledger);
}

/* Collective. dz (V, N, D): rows of other ranks stay as they are. */
static struct result run(struct lj_comm *comm, const struct batch *b, float *dz)
{
    struct lj_objective *objective = NULL;
    struct result r = {0};
    int64_t first, end, lane_floats = b->views * b->lane_rows * b->width;
    float *proj = calloc((size_t)(2 * lane_floats), sizeof *proj), *dproj = proj + lane_floats;
    cr_assert_eq(create(&objective, comm, b, &r.ledger), LJ_OK, "%s", lj_error_text());
    lj_lanes_of_rank(lanes_of(b), comm->size, comm->rank, &first, &end);
    for (int step = 0; step < 2; step++) { /* the second must find nothing of the first */
        lj_objective_begin(objective, step);
        for (int64_t k = first; k < end; k++) {
            struct lj_loss_lane lane = take_lane(b, k, first, proj);
            lj_objective_add(objective, &lane);
        }
        r.status = lj_objective_reduce(objective, LJ_OK, &r.message, r.term);
    }
    for (int64_t k = first; r.status == LJ_OK && k < end; k++) {
        struct lj_loss_lane lane = take_lane(b, k, first, proj);
        lj_objective_gradient(objective, &lane, dproj);
        copy_lane(b, k, lane.n, dz, dproj, true);
    }
    lj_objective_destroy(objective);
    free(proj);
    return r;
}

static bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected) + 1e-12;
}

/* Is this sample in a lane of this rank? */
static bool is_mine(const struct lj_comm *comm, const struct batch *b, int64_t sample)
{
    int64_t first, end, lane = sample / b->lane_rows;
    lj_lanes_of_rank(lanes_of(b), comm->size, comm->rank, &first, &end);
    return lane >= first && lane < end;
}

/* Largest |dz - expected| of this rank's rows, divided by the largest |expected| of all. */
static double gradient_error(const struct lj_comm *comm, const struct batch *b, const float *dz,
                             const double *expected)
{
    double largest = 1e-30, error = 0;
    for (int64_t i = 0; i < b->views * b->samples * b->width; i++) {
        largest = fmax(largest, fabs(expected[i]));
        if (is_mine(comm, b, i / b->width % b->samples))
            error = fmax(error, fabs((double)dz[i] - expected[i]));
    }
    return error / largest;
}

/* ---- golden ------------------------------------------------------------------------------ */

static struct lj_golden golden(const char *shape, const char *name, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s/%s", shape, name, what);
    return lj_golden_f64("vicreg.h5", path);
}

static void golden_case(struct lj_comm *comm, const char *shape, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%s/z", shape);
    struct lj_golden z = lj_golden_f32("vicreg.h5", path);
    struct lj_golden weights = golden(shape, name, "weights"), terms = golden(shape, name, "terms"),
                     gradient = golden(shape, name, "gradient");
    float *dz = calloc((size_t)z.count, sizeof *dz);
    for (int64_t rows = 7; rows <= 64; rows += 57) {
        struct batch b = {z.shape[0], z.shape[1], z.shape[2], rows, 1, z.f32, {0}};
        memcpy(b.weight, weights.f64, sizeof b.weight);
        struct result r = run(comm, &b, dz);
        lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
        lj_all_assert(comm, r.message.samples == b.samples, "%lld", (long long)r.message.samples);
        for (int i = 0; i < TERMS; i++)
            lj_all_assert(comm, near(r.term[i], terms.f64[i], 1e-6), "%s, term %d: %.12g not %.12g",
                          shape, i, r.term[i], terms.f64[i]);
        double error = gradient_error(comm, &b, dz, gradient.f64);
        lj_all_assert(comm, error < 2e-6, "%s %s: gradient off by %g", shape, name, error);
    }
    free(dz);
    lj_golden_free(&z);
    lj_golden_free(&weights);
    lj_golden_free(&terms);
    lj_golden_free(&gradient);
}

Test(vicreg, golden_values, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    golden_case(comm, "two", "paper");
    golden_case(comm, "two", "other");
    golden_case(comm, "three", "paper");
    golden_case(comm, "three", "other");
    lj_case_end(comm);
}

/* ---- reference in double, from the definitions ------------------------------------------- */

static double covariance(const double *x, int64_t n, int64_t width, int64_t i, int64_t j)
{
    double mi = 0, mj = 0, sum = 0;
    for (int64_t r = 0; r < n; r++) {
        mi += x[r * width + i] / (double)n;
        mj += x[r * width + j] / (double)n;
    }
    for (int64_t r = 0; r < n; r++)
        sum += (x[r * width + i] - mi) * (x[r * width + j] - mj);
    return sum / (double)(n - 1);
}

static void reference(const struct batch *b, const double *z, double term[TERMS])
{
    int64_t V = b->views, N = b->samples, D = b->width, plane = N * D;
    memset(term, 0, TERMS * sizeof *term);
    for (int64_t u = 0; u < V; u++)
        for (int64_t v = u + 1; v < V; v++)
            for (int64_t i = 0; i < plane; i++)
                term[INVARIANCE] += pow(z[u * plane + i] - z[v * plane + i], 2) /
                                    ((double)(V * (V - 1) / 2) * (double)plane);
    for (int64_t v = 0; v < V; v++)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                double c = covariance(z + v * plane, N, D, i, j), share = 1 / (double)(V * D);
                if (i == j)
                    term[VARIANCE] += share * fmax(0, 1 - sqrt(c + 1e-4));
                else
                    term[COVARIANCE] += share * c * c;
            }
    term[LOSS] = b->weight[0] * term[INVARIANCE] + b->weight[1] * term[VARIANCE] +
                 b->weight[2] * term[COVARIANCE];
}

static double reference_loss(const double *z, int64_t n, void *batch)
{
    double term[TERMS];
    (void)n;
    reference(batch, z, term);
    return term[LOSS];
}

/* Numbers of this mean whose deviation grows with the column, from `low` to `high`. */
static float *numbers(const struct batch *b, float mean, float low, float high)
{
    int64_t count = b->views * b->samples * b->width;
    float *z = calloc((size_t)count, sizeof *z);
    lj_random_normal_f32(z, count, 21);
    for (int64_t i = 0; i < count; i++)
        z[i] = mean + z[i] * (low + (high - low) * (float)(i % b->width) / (float)b->width) +
               0.3f * z[i / b->width * b->width];
    return z;
}

/* Terms against the reference, the gradient against its central differences. */
static void compare(struct lj_comm *comm, struct batch b, float mean, double tolerance)
{
    int64_t count = b.views * b.samples * b.width;
    float *z = numbers(&b, mean, 0.3f, 1.7f), *dz = calloc((size_t)count, sizeof *dz);
    double *z64 = calloc((size_t)(2 * count), sizeof *z64), *expected = z64 + count, term[TERMS];
    for (int64_t i = 0; i < count; i++)
        z64[i] = (double)z[i];
    reference(&b, z64, term);
    for (int64_t i = 0; i < count; i++) {
        double x = z64[i], step = 1e-4;
        z64[i] = x + step;
        expected[i] = reference_loss(z64, count, &b);
        z64[i] = x - step;
        expected[i] = (expected[i] - reference_loss(z64, count, &b)) / (2 * step);
        z64[i] = x;
    }
    b.z = z;
    struct result r = run(comm, &b, dz);
    lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
    for (int i = 0; i < TERMS; i++)
        lj_all_assert(comm, near(r.term[i], term[i], tolerance), "term %d: %.12g, expected %.12g",
                      i, r.term[i], term[i]);
    double error = gradient_error(comm, &b, dz, expected);
    lj_all_assert(comm, error < 1e-5, "V %lld N %lld D %lld: gradient off by %g",
                  (long long)b.views, (long long)b.samples, (long long)b.width, error);
    free(z);
    free(dz);
    free(z64);
}

/* Sizes that cut blocks, strips and lanes; fewer lanes than ranks; the smallest batch. */
Test(vicreg, agrees_with_central_differences, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, (struct batch){2, 2, 1, 1, 1, NULL, {25, 25, 1}}, 0.3f, 1e-6);
    compare(comm, (struct batch){3, 11, 4, 4, 2, NULL, {25, 25, 1}}, 0.3f, 1e-6);
    compare(comm, (struct batch){5, 9, 3, 9, 1, NULL, {1, 2, 3}}, -0.5f, 1e-6);
    compare(comm, (struct batch){2, 35, 2, 35, 3, NULL, {0, 1, 1}}, 0.3f, 1e-6);
    lj_case_end(comm);
}

/* Covariances about a mean a thousand deviations away lose no digits that float32 rows have. */
Test(vicreg, far_from_zero, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, (struct batch){2, 40, 3, 8, 1, NULL, {0, 25, 1}}, 1000, 1e-6);
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(vicreg, bits_depend_on_the_lanes_only, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin(), *single;
    struct batch b = {3, 61, 37, 6, 1, NULL, {25, 25, 1}};
    int64_t count = b.views * b.samples * b.width, wrong = 0;
    float *z = numbers(&b, 0.2f, 0.3f, 1.7f), *dz = calloc((size_t)count, sizeof *dz),
          *expected = calloc((size_t)count, sizeof *expected);
    double term[LJ_TERMS_MAX] = {0};
    b.z = z;
    lj_all_assert(comm, lj_comm_first(comm, 1, &single) == LJ_OK, "%s", lj_error_text());
    if (single) {
        struct result r = run(single, &b, expected);
        cr_assert_eq(r.status, LJ_OK);
        memcpy(term, r.term, sizeof term);
    }
    lj_broadcast(comm, term, sizeof term, 0);
    lj_broadcast(comm, expected, count * (int64_t)sizeof *expected, 0);
    for (b.workers = 1; b.workers <= 3; b.workers += 2) {
        struct result r = run(comm, &b, dz);
        lj_all_assert(comm, r.status == LJ_OK && memcmp(r.term, term, sizeof term) == 0,
                      "%d workers: loss %.17g, expected %.17g", b.workers, r.term[0], term[0]);
        for (int64_t i = 0; i < count; i++)
            wrong += is_mine(comm, &b, i / b.width % b.samples) && dz[i] != expected[i];
        lj_all_assert(comm, wrong == 0, "%lld elements of the gradient differ", (long long)wrong);
    }
    lj_comm_destroy(single);
    free(z);
    free(dz);
    free(expected);
    lj_case_end(comm);
}

/* One message of 8 (V (D + D (D + 1) / 2) + 6) bytes, as predicted. */
Test(vicreg, bytes_of_the_message, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct batch b = {3, 10, 4, 2, 1, NULL, {25, 25, 1}};
    float *z = numbers(&b, 0, 0.3f, 1.7f), dz[3 * 10 * 4];
    b.z = z;
    struct result r = run(comm, &b, dz);
    const struct lj_ledger_entry *entry = &r.ledger.entry[0];
    lj_all_assert(comm, r.ledger.count == 1 && strcmp(entry->name, "vicreg") == 0, "ledger");
    lj_all_assert(comm, entry->calls == 2 && entry->bytes == 2 * 8 * (3 * (4 + 10) + 6),
                  "%lld calls, %lld bytes", (long long)entry->calls, (long long)entry->bytes);
    lj_all_assert(comm, entry->predicted_bytes_per_call == 8 * (3 * (4 + 10) + 6), "prediction");
    free(z);
    lj_case_end(comm);
}

/* Rows that are not finite, and rows whose products could make the totals wrap, are counted on
 * every rank; the largest allowed are not. */
Test(vicreg, nonfinite_and_out_of_range_rows_are_counted, .timeout = 60)
{
    static const struct {
        float value;
        bool counted;
    } cases[] = {{NAN, true},      {INFINITY, true}, {-INFINITY, true}, {1e30f, true},
                 {20000.0f, true}, {7000.0f, false}, {-1.0f, false}};
    struct lj_comm *comm = lj_case_begin();
    struct batch b = {2, 40, 4, 4, 1, NULL, {25, 25, 1}}; /* 10 blocks: below 2^30 / 10 = 10362^2 */
    float *z = numbers(&b, 0, 0.3f, 1.7f), dz[2 * 40 * 4];
    b.z = z;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        z[(40 + 31) * 4 + 2] = cases[i].value;
        struct result r = run(comm, &b, dz);
        lj_all_assert(comm, r.status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(comm, (r.message.nonfinite > 0) == cases[i].counted, "%g: %lld counted",
                      (double)cases[i].value, (long long)r.message.nonfinite);
        lj_all_assert(comm, isfinite(r.term[0]), "%g: loss %g", (double)cases[i].value, r.term[0]);
    }
    free(z);
    lj_case_end(comm);
}

Test(vicreg, one_view_or_one_sample_is_refused, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective *objective = NULL;
    struct batch b = {1, 8, 4, 4, 1, NULL, {25, 25, 1}};
    lj_all_assert(comm, create(&objective, comm, &b, NULL) == LJ_ERR_CONFIG, "one view");
    lj_all_assert(comm, strstr(lj_error_text(), "views.global"), "%s", lj_error_text());
    b.views = 2;
    b.samples = b.lane_rows = 1;
    lj_all_assert(comm, create(&objective, comm, &b, NULL) == LJ_ERR_CONFIG, "one sample");
    lj_all_assert(comm, strstr(lj_error_text(), "batch.size"), "%s", lj_error_text());
    lj_case_end(comm);
}
