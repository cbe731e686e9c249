/* SPDX-License-Identifier: Apache-2.0 */
/* The whole loss over several ranks: golden values, a double-precision reference at full size, and
 * the properties the training step counts on. */
#include "loss/loss.h"

#include "golden.h"
#include "gradcheck.h"
#include "loss_case.h"
#include "mpi_case.h"
#include "random.h"
#include "reference_loss.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct loss_batch batch_of(enum lj_sigreg_grid grid, int64_t views, int64_t centre,
                                  int64_t samples, int64_t width, int64_t slices, int64_t lane_rows)
{
    return (struct loss_batch){.config = {.views = views,
                                          .centre_views = centre,
                                          .width = width,
                                          .slices = slices,
                                          .grid = grid,
                                          .lambda = 0.05,
                                          .workers = 1,
                                          .lanes = samples / lane_rows + 1, /* at most */
                                          .lane_rows = lane_rows},
                               .samples = samples};
}

static bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected);
}

/* Largest |dz - expected| over this rank's rows, divided by the largest |expected| of all. */
static double gradient_error(const struct lj_comm *comm, const struct loss_batch *batch,
                             const float *dz, const double *expected)
{
    int64_t first, end, width = batch->config.width, plane = batch->samples * width;
    double largest = 0, error = 0;
    loss_case_rows(comm, batch, &first, &end);
    for (int64_t i = 0; i < batch->config.views * plane; i++) {
        largest = fmax(largest, fabs(expected[i]));
        int64_t row = i % plane / width;
        if (row >= first && row < end)
            error = fmax(error, fabs((double)dz[i] - expected[i]));
    }
    return error / largest;
}

/* ---- golden ------------------------------------------------------------------------------ */

static void golden_case(struct lj_comm *comm, const char *name, enum lj_sigreg_grid grid,
                        int64_t centre)
{
    char path[64];
    struct lj_golden slices = lj_golden_f32("sigreg.h5", "slices"),
                     z = lj_golden_f32("sigreg.h5", "z");
    struct loss_batch batch = batch_of(grid, 2, centre, 6, 4, 8, 2);
    batch.z = z.f32;
    batch.slices = slices.f32;
    snprintf(path, sizeof path, "%s/terms", name);
    struct lj_golden expected = lj_golden_f64("sigreg.h5", path);
    snprintf(path, sizeof path, "%s/gradient", name);
    struct lj_golden gradient = lj_golden_f64("sigreg.h5", path);
    struct loss_terms terms;
    float dz[48] = {0};
    int status = loss_case_run(comm, &batch, NULL, &terms, dz, NULL);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(comm, near(terms.total, expected.f64[0], 1e-6), "total %.12g", terms.total);
    lj_all_assert(comm, near(terms.prediction, expected.f64[1], 1e-6), "%.12g", terms.prediction);
    lj_all_assert(comm, near(terms.sigreg, expected.f64[2], 1e-6), "SIGReg %.12g", terms.sigreg);
    double error = gradient_error(comm, &batch, dz, gradient.f64);
    lj_all_assert(comm, error < 1e-5, "%s: gradient off by %g", name, error);
    lj_golden_free(&slices);
    lj_golden_free(&z);
    lj_golden_free(&expected);
    lj_golden_free(&gradient);
}

Test(lejepa, golden_values, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    golden_case(comm, "a1", LJ_SIGREG_GRID_A, 1);
    golden_case(comm, "a2", LJ_SIGREG_GRID_A, 2);
    golden_case(comm, "b1", LJ_SIGREG_GRID_B, 1);
    golden_case(comm, "b2", LJ_SIGREG_GRID_B, 2);
    lj_case_end(comm);
}

/* ---- against the reference in double ----------------------------------------------------- */

struct problem {
    struct reference_loss loss;
    double *z, *dz, *slices;
    float *z32, *dz32, *slices32;
};

static struct problem make_problem(const struct loss_batch *batch)
{
    const struct lj_lejepa_config *c = &batch->config;
    int64_t count = c->views * batch->samples * c->width, directions = c->width * c->slices;
    struct problem p = {.z = calloc((size_t)(2 * count + directions), sizeof(double)),
                        .z32 = calloc((size_t)(2 * count + directions), sizeof(float))};
    p.dz = p.z + count;
    p.slices = p.dz + count;
    p.dz32 = p.z32 + count;
    p.slices32 = p.dz32 + count;
    lj_random_normal_f32(p.z32, count, 11);
    lj_random_normal_f32(p.slices32, directions, 12);
    for (int64_t i = 0; i < count; i++) /* neither centred, nor of unit variance, nor isotropic */
        p.z32[i] = 0.3f + p.z32[i] * (0.2f + 1.5f * (float)(i % c->width) / (float)c->width);
    for (int64_t i = 0; i < count; i++)
        p.z[i] = (double)p.z32[i];
    for (int64_t i = 0; i < directions; i++)
        p.slices[i] = (double)p.slices32[i];
    p.loss = (struct reference_loss){.views = c->views,
                                     .centre_views = c->centre_views,
                                     .samples = batch->samples,
                                     .width = c->width,
                                     .slices = c->slices,
                                     .grid = c->grid,
                                     .lambda = c->lambda,
                                     .additive = c->additive,
                                     .slice = p.slices};
    return p;
}

static void free_problem(struct problem *p)
{
    free(p->z);
    free(p->z32);
}

static double reference_total(const double *z, int64_t n, void *loss)
{
    (void)n;
    return reference_lejepa(loss, z, NULL).total;
}

Test(lejepa, reference_has_the_right_gradient)
{
    for (int additive = 0; additive < 2; additive++)
        for (int g = 0; g < 2; g++) {
            struct loss_batch batch = batch_of((enum lj_sigreg_grid)g, 3, 2, 5, 3, 4, 5);
            batch.config.additive = additive;
            batch.config.lambda = 0.3;
            struct problem p = make_problem(&batch);
            reference_lejepa(&p.loss, p.z, p.dz);
            struct lj_gradcheck check =
                lj_gradcheck(reference_total, &p.loss, p.z, 3 * 5 * 3, p.dz, 1e-5);
            lj_gradcheck_assert(&check, 1e-9, "reference");
            free_problem(&p);
        }
}

static void compare(struct lj_comm *comm, struct loss_batch batch)
{
    struct problem p = make_problem(&batch);
    batch.z = p.z32;
    batch.slices = p.slices32;
    struct reference_terms expected = reference_lejepa(&p.loss, p.z, p.dz);
    struct loss_terms terms;
    double *values = calloc((size_t)batch.config.slices, sizeof *values), mean = 0;
    int status = loss_case_run(comm, &batch, NULL, &terms, p.dz32, values);
    lj_all_assert(comm, status == LJ_OK && terms.nonfinite == 0, "%s", lj_error_text());
    lj_all_assert(comm, near(terms.sigreg, expected.sigreg, 1e-5), "SIGReg %.9g, expected %.9g",
                  terms.sigreg, expected.sigreg);
    lj_all_assert(comm, near(terms.prediction, expected.prediction, 1e-5), "%.9g, expected %.9g",
                  terms.prediction, expected.prediction);
    lj_all_assert(comm, near(terms.total, expected.total, 1e-5), "total %.9g, expected %.9g",
                  terms.total, expected.total);
    double error = gradient_error(comm, &batch, p.dz32, p.dz);
    lj_all_assert(comm, error < 1e-5, "gradient off by %g of its largest element", error);
    for (int64_t m = 0; m < batch.config.slices; m++)
        mean += values[m] / (double)batch.config.slices;
    lj_all_assert(comm, near(mean, terms.sigreg, 1e-12), "mean over slices %.15g", mean);
    free(values);
    free_problem(&p);
}

Test(lejepa, agrees_with_the_reference_at_full_size, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, batch_of(LJ_SIGREG_GRID_A, 2, 2, 256, 64, 1024, 32));
    compare(comm, batch_of(LJ_SIGREG_GRID_B, 2, 1, 256, 64, 1024, 32));
    lj_case_end(comm);
}

/* Sizes that cut tiles, chunks and blocks: slices 1, 19, 257; rows of a lane 1, 33, 130, 530; fewer
 * lanes than ranks. */
Test(lejepa, agrees_with_the_reference_at_odd_sizes, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, batch_of(LJ_SIGREG_GRID_A, 1, 1, 1, 1, 1, 1));
    compare(comm, batch_of(LJ_SIGREG_GRID_B, 3, 2, 7, 5, 257, 2));
    compare(comm, batch_of(LJ_SIGREG_GRID_A, 5, 2, 67, 3, 9, 33));
    compare(comm, batch_of(LJ_SIGREG_GRID_B, 2, 2, 260, 2, 3, 130));
    compare(comm, batch_of(LJ_SIGREG_GRID_A, 2, 1, 530, 2, 19, 530));
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_A, 4, 3, 50, 7, 30, 4);
    batch.config.additive = true;
    batch.config.workers = 3;
    compare(comm, batch);
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* Copies the terms that must be equal in bits. */
static void bits_of(const struct loss_terms *terms, uint64_t bits[3])
{
    memcpy(bits, (double[]){terms->total, terms->prediction, terms->sigreg}, 3 * sizeof *bits);
}

/* The same lanes in another order, in other workers, or all on one rank: the same bits. */
Test(lejepa, bits_depend_on_the_lanes_only, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin(), *alone;
    enum { V = 3, N = 40, D = 6, M = 50 };
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_A, V, 2, N, D, M, 4);
    struct problem p = make_problem(&batch);
    batch.z = p.z32;
    uint64_t bits[3], expected[3] = {0};
    float *dz = calloc(V * N * D, sizeof *dz);
    int64_t first, end, wrong = 0;
    struct loss_terms terms;
    lj_all_assert(comm, lj_comm_first(comm, 1, &alone) == LJ_OK, "%s", lj_error_text());
    if (alone) {
        cr_assert_eq(loss_case_run(alone, &batch, NULL, &terms, dz, NULL), LJ_OK);
        bits_of(&terms, expected);
    }
    lj_broadcast(comm, expected, sizeof expected, 0);
    lj_broadcast(comm, dz, V * N * D * sizeof *dz, 0);
    for (int backwards = 0; backwards < 2; backwards++)
        for (int workers = 1; workers <= 3; workers += 2) {
            batch.backwards = backwards;
            batch.config.workers = workers;
            int status = loss_case_run(comm, &batch, NULL, &terms, p.dz32, NULL);
            bits_of(&terms, bits);
            lj_all_assert(comm, status == LJ_OK && memcmp(bits, expected, sizeof bits) == 0,
                          "backwards %d, %d workers: total %.17g", backwards, workers, terms.total);
            loss_case_rows(comm, &batch, &first, &end);
            for (int64_t i = 0; i < V * N * D; i++)
                wrong += i % (N * D) / D >= first && i % (N * D) / D < end && p.dz32[i] != dz[i];
            lj_all_assert(comm, wrong == 0, "%lld elements of the gradient differ",
                          (long long)wrong);
        }
    lj_comm_destroy(alone);
    free(dz);
    free_problem(&p);
    lj_case_end(comm);
}

/* Projections kept by no lane, by some, by all: the same bits. Lanes of 7, and of 300 samples,
 * which several tiles cut, in rows and slices. */
Test(lejepa, cached_projections_do_not_change_bits, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    static const int64_t rows[] = {7, 300};
    for (int i = 0; i < 2; i++) {
        enum { V = 3, D = 5, M = 270 };
        int64_t samples = 5 * rows[i] + 1, count = V * samples * D;
        struct loss_batch batch = batch_of((enum lj_sigreg_grid)i, V, 2, samples, D, M, rows[i]);
        struct problem p = make_problem(&batch);
        float *dz = calloc((size_t)count, sizeof *dz);
        struct loss_terms terms;
        uint64_t bits[3], expected[3];
        batch.z = p.z32;
        batch.config.workers = 2;
        lj_all_assert(comm, loss_case_run(comm, &batch, NULL, &terms, dz, NULL) == LJ_OK, "%s",
                      lj_error_text());
        bits_of(&terms, expected);
        for (int64_t cached = 1; cached <= 6; cached += 5) {
            batch.config.cached_lanes = cached;
            int status = loss_case_run(comm, &batch, NULL, &terms, p.dz32, NULL);
            bits_of(&terms, bits);
            lj_all_assert(comm, status == LJ_OK && memcmp(bits, expected, sizeof bits) == 0,
                          "%lld lanes cached: total %.17g", (long long)cached, terms.total);
            lj_all_assert(comm, memcmp(p.dz32, dz, (size_t)count * sizeof *dz) == 0,
                          "%lld lanes cached: another gradient", (long long)cached);
        }
        free(dz);
        free_problem(&p);
    }
    lj_case_end(comm);
}

/* 64 MiB, and nothing where there are no lanes. */
Test(lejepa, lanes_are_cached_as_memory_allows, .timeout = 60)
{
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_A, 8, 2, 0, 64, 1024, 8); /* 256 KiB a lane */
    cr_assert_eq(lj_lejepa_cached_lanes(&batch.config, 0), 0);
    cr_assert_eq(lj_lejepa_cached_lanes(&batch.config, 32), 32);
    cr_assert_eq(lj_lejepa_cached_lanes(&batch.config, 256), 256);
    cr_assert_eq(lj_lejepa_cached_lanes(&batch.config, 1000), 256);
    batch.config.lane_rows = 4096;
    cr_assert_eq(lj_lejepa_cached_lanes(&batch.config, 3), 0);
}

/* Whole lanes change places, rows inside them stay: the same bits again. */
Test(lejepa, permuted_lanes_give_the_same_bits, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    enum { V = 2, LANES = 9, ROWS = 5, N = LANES * ROWS, D = 4, M = 33 };
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_B, V, 1, N, D, M, ROWS);
    struct problem p = make_problem(&batch);
    float *moved = calloc(V * N * D, sizeof *moved);
    for (int v = 0; v < V; v++)
        for (int lane = 0; lane < LANES; lane++)
            memcpy(moved + (v * LANES + lane * 4 % LANES) * ROWS * D,
                   p.z32 + (v * LANES + lane) * ROWS * D, ROWS * D * sizeof *moved);
    struct loss_terms terms;
    uint64_t bits[3], other[3];
    batch.z = p.z32;
    int status = loss_case_run(comm, &batch, NULL, &terms, NULL, NULL);
    bits_of(&terms, bits);
    batch.z = moved;
    status = status == LJ_OK ? loss_case_run(comm, &batch, NULL, &terms, NULL, NULL) : status;
    bits_of(&terms, other);
    lj_all_assert(comm, status == LJ_OK && memcmp(bits, other, sizeof bits) == 0, "total %.17g",
                  terms.total);
    free(moved);
    free_problem(&p);
    lj_case_end(comm);
}

/* Bytes of the small allreduce: 8 (2 V M K + 6), whatever N, D and the ranks; one call. */
Test(lejepa, bytes_do_not_depend_on_batch_width_or_ranks, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    static const int64_t sizes[][3] = {{4, 2, 2}, {30, 17, 8}, {30, 17, 1}}; /* N, D, lane rows */
    for (int i = 0; i < 3; i++)
        for (int g = 0; g < 2; g++) {
            struct lj_ledger ledger = {0};
            struct loss_batch batch =
                batch_of((enum lj_sigreg_grid)g, 3, 3, sizes[i][0], sizes[i][1], 10, sizes[i][2]);
            struct problem p = make_problem(&batch);
            struct loss_terms terms;
            batch.z = p.z32;
            int status = loss_case_run(comm, &batch, &ledger, &terms, NULL, NULL);
            int64_t expected = 8 * (2 * 3 * 10 * (g ? 8 : 16) + 6);
            const struct lj_ledger_entry *entry = &ledger.entry[0];
            lj_all_assert(comm, status == LJ_OK && ledger.count == 1, "%d entries", ledger.count);
            lj_all_assert(comm, strcmp(entry->name, "sigreg") == 0, "%s", entry->name);
            lj_all_assert(comm, entry->calls == 1 && entry->bytes == expected,
                          "%lld calls, %lld bytes, expected %lld", (long long)entry->calls,
                          (long long)entry->bytes, (long long)expected);
            lj_all_assert(comm, entry->predicted_bytes_per_call == expected, "predicted %lld",
                          (long long)entry->predicted_bytes_per_call);
            free_problem(&p);
        }
    lj_case_end(comm);
}

Test(lejepa, failure_on_one_rank_reaches_every_rank, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_A, 2, 2, 12, 3, 5, 2);
    struct problem p = make_problem(&batch);
    struct loss_terms terms = {0};
    batch.z = p.z32;
    for (int failing = 0; failing < comm->size; failing++) {
        batch.local = comm->rank == failing ? lj_fail(LJ_ERR_DATA, "block %d is torn", 7) : LJ_OK;
        int status = loss_case_run(comm, &batch, NULL, &terms, NULL, NULL);
        lj_all_assert(comm, status == LJ_ERR_DATA, "status %d", status);
        lj_all_assert(comm, strstr(lj_error_text(), "block 7 is torn"), "%s", lj_error_text());
    }
    batch.local = LJ_OK;
    lj_all_assert(comm, loss_case_run(comm, &batch, NULL, &terms, NULL, NULL) == LJ_OK, "after");
    lj_case_end(comm);
}

/* What is not finite anywhere is counted on every rank and crashes nothing. */
Test(lejepa, a_row_that_is_not_finite_is_counted, .timeout = 60)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    struct lj_comm *comm = lj_case_begin();
    for (int i = 0; i < 4; i++) {
        struct loss_batch batch = batch_of((enum lj_sigreg_grid)(i % 2), 2, 1, 9, 3, 20, 3);
        struct problem p = make_problem(&batch);
        struct loss_terms terms = {0};
        batch.z = p.z32;
        p.z32[(9 + 7) * 3 + 1] = bad[i]; /* view 1, sample 7 */
        int status = loss_case_run(comm, &batch, NULL, &terms, p.dz32, NULL);
        lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(comm, terms.nonfinite > 0, "%g: none nonfinite", (double)bad[i]);
        lj_all_assert(comm, isfinite(terms.total), "%g: total %g", (double)bad[i], terms.total);
        free_problem(&p);
    }
    lj_case_end(comm);
}

/* A batch without rows is legal: a rank may own no lane, and so may all. */
Test(lejepa, empty_batch, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct loss_batch batch = batch_of(LJ_SIGREG_GRID_A, 2, 1, 0, 3, 4, 3);
    struct loss_terms terms;
    batch.z = (float[]){0};
    int status = loss_case_run(comm, &batch, NULL, &terms, NULL, NULL);
    lj_all_assert(comm, status == LJ_OK && terms.samples == 0 && isfinite(terms.total), "%g",
                  terms.total);
    lj_case_end(comm);
}

/* ---- SIGReg in one call ------------------------------------------------------------------ */

/* Against the loss of one view in lanes of 32, which other tests hold against the reference. */
Test(lejepa, one_call_gives_value_and_gradient, .timeout = 60)
{
    enum { ROWS = 150, WIDTH = 12, SLICES = 300 };
    static float z[ROWS * WIDTH], wanted[ROWS * WIDTH], found[ROWS * WIDTH];
    struct lj_comm *comm = lj_case_begin();
    struct loss_batch batch = {.config = {.views = 1,
                                          .centre_views = 1,
                                          .width = WIDTH,
                                          .slices = SLICES,
                                          .grid = LJ_SIGREG_GRID_A,
                                          .lambda = 1,
                                          .workers = 1,
                                          .lanes = 2,
                                          .lane_rows = 32},
                               .samples = ROWS,
                               .z = z};
    struct loss_terms terms = {0};
    int64_t first, end;
    double value = 0;
    lj_random_normal_f32(z, ROWS * WIDTH, 7);
    loss_case_rows(comm, &batch, &first, &end);
    int status = loss_case_run(comm, &batch, NULL, &terms, wanted, NULL);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    status = lj_sigreg(comm, z + first * WIDTH, end - first, WIDTH, SLICES, 0, &value, found);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(comm, value == terms.sigreg, "%.17g, expected %.17g", value, terms.sigreg);
    size_t bytes = (size_t)(end - first) * WIDTH * sizeof *found;
    lj_all_assert(comm, memcmp(found, wanted + first * WIDTH, bytes) == 0, "another gradient");
    status = lj_sigreg(comm, z + first * WIDTH, end - first, WIDTH, SLICES, 1, &value, NULL);
    lj_all_assert(comm, status == LJ_OK && value != terms.sigreg, "directions of another step");
    lj_case_end(comm);
}

Test(lejepa, one_call_fails_on_every_rank, .timeout = 60)
{
    float rows[4] = {1, 2, 3, 4};
    double value;
    struct lj_comm *comm = lj_case_begin();
    rows[3] = comm->rank == comm->size - 1 ? NAN : 4;
    int status = lj_sigreg(comm, rows, 2, 2, 16, 0, &value, NULL);
    lj_all_assert(comm, status == LJ_ERR_NUMERIC, "status %d", status);
    status = lj_sigreg(comm, rows, 2, 2, 0, 0, &value, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG, "status %d", status);
    lj_case_end(comm);
}
