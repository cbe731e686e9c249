/* SPDX-License-Identifier: Apache-2.0 */
/* VICReg over several ranks: golden values of PyTorch, a reference in double at odd sizes, the same
 * bits for the same lanes, and what is not finite or out of range. */
#include "loss/loss.h"

#include "golden.h"
#include "mpi_case.h"
#include "objective_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, INVARIANCE, VARIANCE, COVARIANCE, TERMS };

static struct lj_config config;

/* A batch with these weights of the terms, without numbers. */
static struct lj_objective_case batch(int64_t views, int64_t samples, int64_t width,
                                      int64_t lane_rows, int workers, const double weight[3])
{
    lj_config_defaults(&config);
    config.vicreg_invariance = weight[0];
    config.vicreg_variance = weight[1];
    config.vicreg_covariance = weight[2];
    return (struct lj_objective_case){.kind = &lj_objective_vicreg,
                                      .config = &config,
                                      .views = views,
                                      .samples = samples,
                                      .width = width,
                                      .lane_rows = lane_rows,
                                      .workers = workers};
}

static const double paper[] = {25, 25, 1};

static bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected) + 1e-12;
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
        struct lj_objective_case b =
            batch(z.shape[0], z.shape[1], z.shape[2], rows, 1, weights.f64);
        b.z = z.f32;
        struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
        lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
        lj_all_assert(comm, r.message.samples == b.samples, "%lld", (long long)r.message.samples);
        for (int i = 0; i < TERMS; i++)
            lj_all_assert(comm, near(r.term[i], terms.f64[i], 1e-6), "%s, term %d: %.12g not %.12g",
                          shape, i, r.term[i], terms.f64[i]);
        double error = lj_objective_case_error(comm, &b, dz, gradient.f64);
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

static void reference(const struct lj_objective_case *b, const double *z, double term[TERMS])
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
    term[LOSS] = config.vicreg_invariance * term[INVARIANCE] +
                 config.vicreg_variance * term[VARIANCE] +
                 config.vicreg_covariance * term[COVARIANCE];
}

static double reference_loss(const struct lj_objective_case *b, const double *z)
{
    double term[TERMS];
    reference(b, z, term);
    return term[LOSS];
}

/* Terms against the reference, the gradient against its central differences. */
static void compare(struct lj_comm *comm, struct lj_objective_case b, float mean, double tolerance)
{
    int64_t count = b.views * b.samples * b.width;
    float *z = lj_objective_case_numbers(&b, mean, 0.3f, 1.7f),
          *dz = calloc((size_t)count, sizeof *dz);
    double *z64 = calloc((size_t)(2 * count), sizeof *z64), *expected = z64 + count, term[TERMS];
    for (int64_t i = 0; i < count; i++)
        z64[i] = (double)z[i];
    reference(&b, z64, term);
    for (int64_t i = 0; i < count; i++) {
        double x = z64[i], step = 1e-4;
        z64[i] = x + step;
        expected[i] = reference_loss(&b, z64);
        z64[i] = x - step;
        expected[i] = (expected[i] - reference_loss(&b, z64)) / (2 * step);
        z64[i] = x;
    }
    b.z = z;
    struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
    lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
    for (int i = 0; i < TERMS; i++)
        lj_all_assert(comm, near(r.term[i], term[i], tolerance), "term %d: %.12g, expected %.12g",
                      i, r.term[i], term[i]);
    double error = lj_objective_case_error(comm, &b, dz, expected);
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
    compare(comm, batch(2, 2, 1, 1, 1, paper), 0.3f, 1e-6);
    compare(comm, batch(3, 11, 4, 4, 2, paper), 0.3f, 1e-6);
    compare(comm, batch(5, 9, 3, 9, 1, (double[]){1, 2, 3}), -0.5f, 1e-6);
    compare(comm, batch(2, 35, 2, 35, 3, (double[]){0, 1, 1}), 0.3f, 1e-6);
    lj_case_end(comm);
}

/* Covariances about a mean a thousand deviations away lose no digits that float32 rows have. */
Test(vicreg, far_from_zero, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, batch(2, 40, 3, 8, 1, (double[]){0, 25, 1}), 1000, 1e-6);
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(vicreg, bits_depend_on_the_lanes_only, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(3, 61, 37, 6, 1, paper);
    float *z = lj_objective_case_numbers(&b, 0.2f, 0.3f, 1.7f);
    b.z = z;
    lj_objective_case_assert_bits(comm, b);
    free(z);
    lj_case_end(comm);
}

/* One message of 8 (V (D + D (D + 1) / 2) + 6) bytes, as predicted. */
Test(vicreg, bytes_of_the_message, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(3, 10, 4, 2, 1, paper);
    float *z = lj_objective_case_numbers(&b, 0, 0.3f, 1.7f), dz[3 * 10 * 4];
    b.z = z;
    struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
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
    struct lj_objective_case b =
        batch(2, 40, 4, 4, 1, paper); /* 10 blocks: below 2^30 / 10 = 10362^2 */
    float *z = lj_objective_case_numbers(&b, 0, 0.3f, 1.7f), dz[2 * 40 * 4];
    b.z = z;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        z[(40 + 31) * 4 + 2] = cases[i].value;
        struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
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
    struct lj_objective_case b = batch(1, 8, 4, 4, 1, paper);
    lj_all_assert(comm, lj_objective_case_create(&objective, comm, &b, NULL) == LJ_ERR_CONFIG,
                  "one view");
    lj_all_assert(comm, strstr(lj_error_text(), "views.global"), "%s", lj_error_text());
    b.views = 2;
    b.samples = b.lane_rows = 1;
    lj_all_assert(comm, lj_objective_case_create(&objective, comm, &b, NULL) == LJ_ERR_CONFIG,
                  "one sample");
    lj_all_assert(comm, strstr(lj_error_text(), "batch.size"), "%s", lj_error_text());
    lj_case_end(comm);
}
