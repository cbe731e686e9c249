/* SPDX-License-Identifier: Apache-2.0 */
/* The objective supervised over several ranks: golden values of PyTorch, a reference in double by
 * central differences, the same bits for the same lanes, and what is not finite. */
#include "loss/loss.h"

#include "golden.h"
#include "mpi_case.h"
#include "objective_case.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, TOP1, TERMS };

/* A global batch, cut into lanes. */
struct batch {
    int64_t views, samples, classes, lane_rows;
    int workers;
    const float *z; /* (V, N, K) */
    const int32_t *label;
    double smoothing;
    bool balanced; /* class k has k + 1 training rows */
};

static struct lj_config config;

static int64_t count_of(const struct batch *b)
{
    return b->views * b->samples * b->classes;
}

enum { CLASSES_MAX = 64 };

/* Sets the settings of the batch, too. */
static struct lj_objective_case case_of(const struct batch *b)
{
    static int64_t rows[CLASSES_MAX];
    for (int64_t k = 0; k < b->classes; k++)
        rows[k] = k + 1;
    lj_config_defaults(&config);
    config.supervised_smoothing = b->smoothing;
    config.supervised_balance =
        b->balanced ? LJ_SUPERVISED_BALANCE_TRUE : LJ_SUPERVISED_BALANCE_FALSE;
    return (struct lj_objective_case){.kind = &lj_objective_supervised,
                                      .config = &config,
                                      .views = b->views,
                                      .samples = b->samples,
                                      .width = b->classes,
                                      .lane_rows = b->lane_rows,
                                      .workers = b->workers,
                                      .z = b->z,
                                      .labels = b->label,
                                      .class_rows = rows};
}

/* ---- golden ------------------------------------------------------------------------------ */

static struct lj_golden golden(const char *shape, const char *name, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s/%s", shape, name, what);
    return lj_golden_f64("supervised.h5", path);
}

/* What one setting gives, in whole lanes and in lanes that cut blocks. */
static void golden_setting(struct lj_comm *comm, struct batch b, const char *shape,
                           const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s/balanced", shape, name);
    struct lj_golden smoothing = golden(shape, name, "smoothing"),
                     balanced = lj_golden_i64("supervised.h5", path),
                     terms = golden(shape, name, "terms"),
                     gradient = golden(shape, name, "gradient");
    float *dz = calloc((size_t)count_of(&b), sizeof *dz);
    b.smoothing = smoothing.f64[0];
    b.balanced = balanced.i64[0];
    for (b.lane_rows = 7; b.lane_rows <= 64; b.lane_rows += 57) {
        struct lj_objective_case c = case_of(&b);
        struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
        lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
        lj_all_assert(comm, r.message.samples == b.samples, "%lld", (long long)r.message.samples);
        for (int i = 0; i < TERMS; i++)
            lj_all_assert(comm, fabs(r.term[i] - terms.f64[i]) < 1e-6 * terms.f64[i],
                          "%s, term %d: %.12g not %.12g", shape, i, r.term[i], terms.f64[i]);
        double error = lj_objective_case_error(comm, &c, dz, gradient.f64);
        lj_all_assert(comm, error < 2e-6, "%s %s: gradient off by %g", shape, name, error);
    }
    free(dz);
    lj_golden_free(&smoothing);
    lj_golden_free(&balanced);
    lj_golden_free(&terms);
    lj_golden_free(&gradient);
}

static void golden_shape(struct lj_comm *comm, const char *shape)
{
    static const char *const names[] = {"plain", "smooth", "flat", "balanced", "smooth_balanced"};
    char path[64];
    snprintf(path, sizeof path, "%s/z", shape);
    struct lj_golden z = lj_golden_f32("supervised.h5", path);
    snprintf(path, sizeof path, "%s/labels", shape);
    struct lj_golden labels = lj_golden_i64("supervised.h5", path);
    int32_t *label = calloc((size_t)labels.count, sizeof *label);
    for (int64_t i = 0; i < labels.count; i++)
        label[i] = (int32_t)labels.i64[i];
    struct batch b = {z.shape[0], z.shape[1], z.shape[2], 0, 1, z.f32, label, 0, false};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        golden_setting(comm, b, shape, names[i]);
    free(label);
    lj_golden_free(&z);
    lj_golden_free(&labels);
}

Test(supervised, golden_values, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    golden_shape(comm, "two");
    golden_shape(comm, "ten");
    lj_case_end(comm);
}

/* ---- reference in double, from the definition -------------------------------------------- */

static double reference_loss(const double *z, int64_t count, void *batch)
{
    const struct batch *b = batch;
    int64_t K = b->classes, rows = count / K;
    double loss = 0;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t j = 0; j < K; j++)
            sum += exp(z[r * K + j]);
        for (int64_t j = 0; j < K; j++) {
            double target = b->smoothing / (double)K;
            target += j == b->label[r % b->samples] ? 1 - b->smoothing : 0;
            loss -= target * (z[r * K + j] - log(sum)) / (double)rows;
        }
    }
    return loss;
}

/* Logits of this deviation, and labels of which the first is the commonest. */
static void fill(const struct batch *b, float deviation, float *z, int32_t *label)
{
    lj_random_normal_f32(z, count_of(b), 21);
    for (int64_t i = 0; i < count_of(b); i++)
        z[i] *= deviation;
    for (int64_t i = 0; i < b->samples; i++)
        label[i] = (int32_t)(i % 3 == 1 ? i % b->classes : 0);
}

/* The loss against the reference, the gradient against its central differences. */
static void compare(struct lj_comm *comm, struct batch b, float deviation)
{
    int64_t count = count_of(&b);
    float *z = calloc((size_t)(2 * count), sizeof *z), *dz = z + count;
    double *z64 = calloc((size_t)(2 * count), sizeof *z64), *expected = z64 + count;
    int32_t *label = calloc((size_t)b.samples, sizeof *label);
    fill(&b, deviation, z, label);
    b.z = z;
    b.label = label;
    for (int64_t i = 0; i < count; i++)
        z64[i] = (double)z[i];
    double loss = reference_loss(z64, count, &b);
    for (int64_t i = 0; i < count; i++) {
        double x = z64[i], step = 1e-5;
        z64[i] = x + step;
        expected[i] = reference_loss(z64, count, &b);
        z64[i] = x - step;
        expected[i] = (expected[i] - reference_loss(z64, count, &b)) / (2 * step);
        z64[i] = x;
    }
    struct lj_objective_case c = case_of(&b);
    struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
    lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
    lj_all_assert(comm, fabs(r.term[LOSS] - loss) < 1e-6 * fmax(loss, 1), "%.12g, expected %.12g",
                  r.term[LOSS], loss);
    double error = lj_objective_case_error(comm, &c, dz, expected);
    lj_all_assert(comm, error < 1e-5, "V %lld N %lld K %lld: gradient off by %g",
                  (long long)b.views, (long long)b.samples, (long long)b.classes, error);
    free(z);
    free(z64);
    free(label);
}

/* Sizes that cut blocks and lanes; fewer lanes than ranks; one example. */
Test(supervised, agrees_with_central_differences, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, (struct batch){1, 1, 2, 1, 1, NULL, NULL, 0, false}, 1);
    compare(comm, (struct batch){3, 11, 4, 4, 2, NULL, NULL, 0.1, false}, 2);
    compare(comm, (struct batch){2, 70, 3, 70, 1, NULL, NULL, 0, false}, 1);
    compare(comm, (struct batch){1, 35, 37, 6, 3, NULL, NULL, 0.3, false}, 10);
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(supervised, bits_depend_on_the_lanes_only, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    int32_t label[61];
    struct batch b = {3, 61, 17, 6, 1, NULL, label, 0.1, false};
    float *z = calloc((size_t)count_of(&b), sizeof *z);
    fill(&b, 2, z, label);
    b.z = z;
    lj_objective_case_assert_bits(comm, case_of(&b));
    free(z);
    lj_case_end(comm);
}

/* One message of 8 (2 + 5) bytes, as predicted. */
Test(supervised, bytes_of_the_message, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    int32_t label[10];
    float z[3 * 10 * 4], dz[3 * 10 * 4];
    struct batch b = {3, 10, 4, 2, 1, z, label, 0, false};
    fill(&b, 1, z, label);
    struct lj_objective_case c = case_of(&b);
    struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
    const struct lj_ledger_entry *entry = &r.ledger.entry[0];
    lj_all_assert(comm, r.ledger.count == 1 && strcmp(entry->name, "supervised") == 0, "ledger");
    lj_all_assert(comm, entry->calls == 2 && entry->bytes == 2 * 8 * 7, "%lld calls, %lld bytes",
                  (long long)entry->calls, (long long)entry->bytes);
    lj_all_assert(comm, entry->predicted_bytes_per_call == 8 * 7, "prediction");
    lj_case_end(comm);
}

/* Logits far apart: no overflow, and a loss that is as small or as large as they say. */
Test(supervised, logits_far_apart, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    static const int32_t label[2] = {0, 0};
    static const struct {
        float own, other;
        double loss;
    } cases[] = {{1000, 0, 0}, {0, 1000, 1000}, {20, 0, 2.0611536e-9}, {3, 3, 0.69314718}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float z[4] = {cases[i].own, cases[i].other, cases[i].own, cases[i].other}, dz[4];
        struct batch b = {1, 2, 2, 2, 1, z, label, 0, false};
        struct lj_objective_case c = case_of(&b);
        struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
        lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
        lj_all_assert(comm, fabs(r.term[LOSS] - cases[i].loss) < 1e-7 * fmax(1, cases[i].loss),
                      "%g, %g: loss %g", (double)cases[i].own, (double)cases[i].other,
                      r.term[LOSS]);
        lj_all_assert(comm, r.term[LOSS] >= 0, "loss %g", r.term[LOSS]);
        lj_all_assert(comm, r.term[TOP1] == (cases[i].own >= cases[i].other), "top1 %g",
                      r.term[TOP1]);
    }
    lj_case_end(comm);
}

/* Rows that are not finite, and a loss that could make the totals wrap, are counted on every
 * rank. */
Test(supervised, nonfinite_rows_are_counted, .timeout = 60)
{
    static const struct {
        float value;
        bool counted;
    } cases[] = {{NAN, true},   {INFINITY, true}, {-INFINITY, true},
                 {1e30f, true}, {-1e30f, false},  {1e6f, false}};
    struct lj_comm *comm = lj_case_begin();
    int32_t label[40];
    float z[2 * 40 * 4], dz[2 * 40 * 4];
    struct batch b = {2, 40, 4, 4, 1, z, label, 0, false};
    fill(&b, 1, z, label);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        z[(40 + 30) * 4 + 2] = cases[i].value; /* not of the sample's class */
        struct lj_objective_case c = case_of(&b);
        struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
        lj_all_assert(comm, r.status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(comm, (r.message.nonfinite > 0) == cases[i].counted, "%g: %lld counted",
                      (double)cases[i].value, (long long)r.message.nonfinite);
        lj_all_assert(comm, isfinite(r.term[LOSS]), "%g: loss %g", (double)cases[i].value,
                      r.term[LOSS]);
    }
    lj_case_end(comm);
}

Test(supervised, what_cannot_be_is_refused, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective *objective = NULL;
    static const int32_t label[8];
    struct batch b = {1, 8, 1, 4, 1, NULL, label, 0, false};
    struct lj_objective_case c = case_of(&b);
    int status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "classes"), "%s",
                  lj_error_text());
    c.width = 2;
    config.guard_collapse = 1;
    status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "guard.collapse"), "%s",
                  lj_error_text());
    lj_case_end(comm);
}
