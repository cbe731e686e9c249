/* SPDX-License-Identifier: Apache-2.0 */
/* SimCLR over several ranks: golden values of PyTorch, a reference in double at odd sizes, the same
 * bits for the same lanes, collapse, and what is not finite or has no direction. */
#include "loss/loss.h"

#include "golden.h"
#include "mpi_case.h"
#include "objective_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, POSITIVE, NEGATIVE, TERMS };

static struct lj_config config;

/* A batch at a temperature, without numbers. */
static struct lj_objective_case batch(int64_t views, int64_t samples, int64_t width,
                                      int64_t lane_rows, double temperature)
{
    lj_config_defaults(&config);
    config.simclr_temperature = temperature;
    return (struct lj_objective_case){.kind = &lj_objective_simclr,
                                      .config = &config,
                                      .views = views,
                                      .samples = samples,
                                      .width = width,
                                      .lane_rows = lane_rows,
                                      .workers = 1};
}

static void expect_terms(struct lj_comm *comm, const struct lj_objective_result *r,
                         const double *term, double tolerance)
{
    lj_all_assert(comm, r->status == LJ_OK && r->message.nonfinite == 0, "%s", lj_error_text());
    for (int i = 0; i < TERMS; i++)
        lj_all_assert(comm, fabs(r->term[i] - term[i]) <= tolerance * fmax(1, fabs(term[i])),
                      "term %d: %.12g, expected %.12g", i, r->term[i], term[i]);
}

/* ---- golden ------------------------------------------------------------------------------ */

static struct lj_golden golden(const char *shape, const char *name, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s/%s", shape, name, what);
    return lj_golden_f64("simclr.h5", path);
}

static void golden_case(struct lj_comm *comm, const char *shape, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%s/z", shape);
    struct lj_golden z = lj_golden_f32("simclr.h5", path);
    struct lj_golden temperature = golden(shape, name, "temperature"),
                     terms = golden(shape, name, "terms"),
                     gradient = golden(shape, name, "gradient");
    float *dz = calloc((size_t)z.count, sizeof *dz);
    for (int64_t rows = 7; rows <= 64; rows += 57) {
        struct lj_objective_case b =
            batch(z.shape[0], z.shape[1], z.shape[2], rows, temperature.f64[0]);
        b.z = z.f32;
        struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
        expect_terms(comm, &r, terms.f64, 1e-6);
        double error = lj_objective_case_error(comm, &b, dz, gradient.f64);
        lj_all_assert(comm, error < 5e-6, "%s %s: gradient off by %g", shape, name, error);
    }
    free(dz);
    lj_golden_free(&z);
    lj_golden_free(&temperature);
    lj_golden_free(&terms);
    lj_golden_free(&gradient);
}

Test(simclr, golden_values, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    golden_case(comm, "two", "half");
    golden_case(comm, "two", "tenth");
    golden_case(comm, "three", "half");
    golden_case(comm, "three", "tenth");
    lj_case_end(comm);
}

/* ---- reference in double, from the definitions ------------------------------------------- */

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

static void reference(const struct lj_objective_case *b, const double *z, double term[TERMS])
{
    int64_t N = b->samples, R = b->views * N, D = b->width;
    double pairs = (double)(R * (b->views - 1)), others = (double)(R * (R - b->views));
    memset(term, 0, TERMS * sizeof *term);
    for (int64_t i = 0; i < R; i++) {
        double sum = 0;
        for (int64_t j = 0; j < R; j++) {
            double c = cosine(z + i * D, z + j * D, D);
            if (i == j)
                continue;
            sum += exp(c / config.simclr_temperature);
            term[i % N == j % N ? POSITIVE : NEGATIVE] += c / (i % N == j % N ? pairs : others);
        }
        term[LOSS] += log(sum) / (double)R;
    }
    term[LOSS] -= term[POSITIVE] / config.simclr_temperature;
}

/* Terms against the reference, the gradient against its central differences: of every `every`-th
 * element. */
static void compare(struct lj_comm *comm, struct lj_objective_case b, int64_t every)
{
    int64_t count = b.views * b.samples * b.width;
    float *z = lj_objective_case_numbers(&b, 0.3f, 0.3f, 1.7f), *dz = calloc((size_t)count, 4);
    double *z64 = calloc((size_t)(2 * count), sizeof *z64), *expected = z64 + count;
    double term[TERMS], above[TERMS], below[TERMS];
    for (int64_t i = 0; i < count; i++)
        z64[i] = (double)z[i];
    reference(&b, z64, term);
    for (int64_t i = 0; i < count; i++) {
        double x = z64[i], step = 1e-5;
        expected[i] = (double)NAN;
        if (i % every != 0)
            continue;
        z64[i] = x + step;
        reference(&b, z64, above);
        z64[i] = x - step;
        reference(&b, z64, below);
        z64[i] = x;
        expected[i] = (above[LOSS] - below[LOSS]) / (2 * step);
    }
    b.z = z;
    struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
    expect_terms(comm, &r, term, 2e-6);
    double error = lj_objective_case_error(comm, &b, dz, expected);
    lj_all_assert(comm, error < 2e-5, "V %lld N %lld D %lld: gradient off by %g",
                  (long long)b.views, (long long)b.samples, (long long)b.width, error);
    free(z);
    free(dz);
    free(z64);
}

/* Sizes that cut lanes and strips; fewer lanes than ranks; the smallest batch; temperatures at
 * which exponentials are all alike, or of very different sizes. */
Test(simclr, agrees_with_central_differences, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, batch(2, 2, 2, 1, 0.5), 1);
    compare(comm, batch(3, 11, 4, 4, 0.5), 1);
    compare(comm, batch(5, 9, 3, 9, 0.2), 1);
    compare(comm, batch(2, 35, 7, 35, 0.1), 1);
    compare(comm, batch(2, 13, 4, 5, 0.03), 1);
    compare(comm, batch(2, 13, 4, 5, 1000), 1);
    lj_case_end(comm);
}

/* More rows than a tile has columns, and a lane of more rows than it has rows. */
Test(simclr, agrees_in_several_tiles, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, batch(3, 350, 3, 37, 0.5), 211);
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

static void check_bits(struct lj_comm *comm, struct lj_objective_case b)
{
    float *z = lj_objective_case_numbers(&b, 0.2f, 0.3f, 1.7f);
    b.z = z;
    lj_objective_case_assert_bits(comm, b);
    free(z);
}

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(simclr, bits_depend_on_the_lanes_only, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    check_bits(comm, batch(3, 61, 37, 6, 0.5));
    check_bits(comm, batch(2, 1100, 16, 33, 0.1));
    lj_case_end(comm);
}

/* Another length of all projections, or of one, changes nothing but its gradient. */
Test(simclr, lengths_do_not_matter, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(2, 10, 4, 3, 0.5);
    float *z = lj_objective_case_numbers(&b, 0, 1, 1), dz[2 * 10 * 4], longer[2 * 10 * 4];
    b.z = z;
    struct lj_objective_result one = lj_objective_case_run(comm, &b, dz);
    for (int64_t i = 0; i < 2 * 10 * 4; i++)
        z[i] *= i < 4 ? 0x1p+100f : 0x1p-30f;
    struct lj_objective_result other = lj_objective_case_run(comm, &b, longer);
    lj_all_assert(comm, memcmp(one.term, other.term, sizeof one.term) == 0, "%.17g not %.17g",
                  other.term[0], one.term[0]);
    int64_t wrong = 0;
    for (int64_t i = 4; i < 2 * 10 * 4; i++)
        wrong += lj_objective_case_is_mine(comm, &b, i / 4 % 10) && longer[i] != 0x1p+30f * dz[i];
    lj_all_assert(comm, wrong == 0, "%lld elements of the gradient", (long long)wrong);
    free(z);
    lj_case_end(comm);
}

/* One point: the loss of a guess among all others, and no gradient. A spread batch is far away. */
Test(simclr, collapse_is_told, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(3, 20, 16, 4, 0.1);
    float *z = lj_objective_case_numbers(&b, 0, 1, 1), *dz = calloc(3 * 20 * 16, sizeof *dz);
    b.z = z;
    struct lj_objective_result spread = lj_objective_case_run(comm, &b, dz);
    double told = b.kind->collapse(b.config, spread.term);
    lj_all_assert(comm, told >= 0 && told < 0.2, "spread: %g", told);
    for (int64_t i = 0; i < 3 * 20 * 16; i++)
        z[i] = (float)(1 + i / 16 % 3) * (float)(i % 16 - 7);
    struct lj_objective_result point = lj_objective_case_run(comm, &b, dz);
    told = b.kind->collapse(b.config, point.term);
    lj_all_assert(comm, fabs(told - 1) < 1e-6, "one point: %g", told);
    lj_all_assert(comm, fabs(point.term[LOSS] - log(3 * 20 - 1)) < 1e-5, "loss %g",
                  point.term[LOSS]);
    float largest = 0;
    for (int64_t i = 0; i < 3 * 20 * 16; i++)
        largest = fmaxf(largest, fabsf(dz[i]));
    lj_all_assert(comm, largest < 1e-6f, "gradient %g", (double)largest);
    free(z);
    free(dz);
    lj_case_end(comm);
}

/* One message of 8 (D + 6) bytes, then each rank's rows, 4 D bytes each, and their sums, 8. */
Test(simclr, bytes_of_the_messages, .timeout = 60)
{
    static const char *const names[] = {"simclr", "projections", "row sums"};
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(3, 10, 4, 2, 0.5);
    float *z = lj_objective_case_numbers(&b, 0, 0.3f, 1.7f), dz[3 * 10 * 4];
    int64_t first, end;
    lj_lanes_of_rank(5, comm->size, comm->rank, &first, &end);
    int64_t rows = (end - first) * 3 * 2, bytes[] = {8 * (4 + 6), 4 * 4 * rows, 8 * rows};
    b.z = z;
    struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
    lj_all_assert(comm, r.ledger.count == 3, "%d lines", r.ledger.count);
    for (int i = 0; i < 3; i++) {
        const struct lj_ledger_entry *e = &r.ledger.entry[i];
        lj_all_assert(comm, strcmp(e->name, names[i]) == 0 && e->calls == 2, "%s: %lld calls",
                      e->name, (long long)e->calls);
        lj_all_assert(comm, e->bytes == 2 * bytes[i] && e->predicted_bytes_per_call == bytes[i],
                      "%s: %lld bytes", e->name, (long long)e->bytes);
    }
    free(z);
    lj_case_end(comm);
}

/* Rows that are not finite, and rows without a direction, are counted on every rank; very long and
 * very short ones are not. */
Test(simclr, rows_without_a_direction_are_counted, .timeout = 60)
{
    static const struct {
        float value;
        bool counted;
    } cases[] = {{NAN, true},    {INFINITY, true}, {-INFINITY, true}, {0, true},
                 {1e-20f, true}, {1e38f, false},   {1e-10f, false},   {-1, false}};
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(2, 40, 4, 4, 0.5);
    float *z = lj_objective_case_numbers(&b, 0, 0.3f, 1.7f), dz[2 * 40 * 4];
    b.z = z;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int j = 0; j < 4; j++)
            z[(40 + 31) * 4 + j] = j == 2 ? cases[i].value : 0;
        struct lj_objective_result r = lj_objective_case_run(comm, &b, dz);
        lj_all_assert(comm, r.status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(comm, r.message.nonfinite == (cases[i].counted ? 1 : 0), "%g: %lld counted",
                      (double)cases[i].value, (long long)r.message.nonfinite);
        lj_all_assert(comm, isfinite(r.term[0]), "%g: loss %g", (double)cases[i].value, r.term[0]);
    }
    free(z);
    lj_case_end(comm);
}

/* A rank's failure reaches every rank before anything is gathered. */
Test(simclr, failure_on_one_rank_reaches_every_rank, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_case b = batch(2, 8, 4, 2, 0.5);
    struct lj_objective *objective = NULL;
    struct lj_step_message message = {0};
    struct lj_ledger ledger = {0};
    double term[LJ_TERMS_MAX];
    int status = lj_objective_case_create(&objective, comm, &b, &ledger);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    lj_objective_begin(objective, 0);
    int local = comm->rank == comm->size - 1 ? lj_fail(LJ_ERR_DATA, "no images") : LJ_OK;
    status = lj_objective_reduce(objective, local, &message, term);
    lj_all_assert(comm, status == LJ_ERR_DATA && strstr(lj_error_text(), "no images"), "%s",
                  lj_error_text());
    lj_all_assert(comm, ledger.entry[1].calls == 0, "gathered");
    lj_objective_begin(objective, 1); /* an empty batch passes */
    status = lj_objective_reduce(objective, LJ_OK, &message, term);
    lj_all_assert(comm, status == LJ_OK && message.samples == 0 && isfinite(term[0]), "empty");
    lj_objective_destroy(objective);
    lj_case_end(comm);
}

Test(simclr, one_view_or_one_sample_is_refused, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective *objective = NULL;
    struct lj_objective_case b = batch(1, 8, 4, 4, 0.5);
    int status = lj_objective_case_create(&objective, comm, &b, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG, "one view");
    lj_all_assert(comm, strstr(lj_error_text(), "views.global"), "%s", lj_error_text());
    b = batch(2, 1, 4, 1, 0.5);
    status = lj_objective_case_create(&objective, comm, &b, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG, "one sample");
    lj_all_assert(comm, strstr(lj_error_text(), "batch.size"), "%s", lj_error_text());
    lj_case_end(comm);
}
