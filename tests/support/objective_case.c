/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a batch into lanes, and runs an objective on them. */
#include "objective_case.h"

#include "golden.h"
#include "mpi_case.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t lanes_of(const struct lj_objective_case *c)
{
    return (c->samples + c->lane_rows - 1) / c->lane_rows;
}

static int64_t targets_of(const struct lj_objective_case *c)
{
    return lj_max_i64(c->targets, 1);
}

/* A lane's rows between the batch (views, N, D) and the lane (views, n, D), either way. */
static void copy_lane(const struct lj_objective_case *c, int64_t lane, int64_t n, int64_t views,
                      float *whole, float *own, bool back)
{
    for (int64_t v = 0; v < views; v++) {
        float *rows = whole + (v * c->samples + lane * c->lane_rows) * c->width;
        float *mine = own + v * n * c->width;
        memcpy(back ? rows : mine, back ? mine : rows, (size_t)(n * c->width) * sizeof *mine);
    }
}

/* The targets' rows lie behind the projections. */
static struct lj_loss_lane take_lane(const struct lj_objective_case *c, int64_t lane, int64_t first,
                                     float *proj)
{
    int64_t n = lj_min_i64(c->lane_rows, c->samples - lane * c->lane_rows);
    float *averaged = proj + c->views * n * c->width;
    copy_lane(c, lane, n, c->views, (float *)c->z, proj, false);
    if (c->averaged)
        copy_lane(c, lane, n, targets_of(c), (float *)c->averaged, averaged, false);
    return (struct lj_loss_lane){.worker = (int)(lane % c->workers),
                                 .index = lane - first,
                                 .n = n,
                                 .proj = proj,
                                 .averaged = c->averaged ? averaged : NULL,
                                 .labels = c->labels ? c->labels + lane * c->lane_rows : NULL};
}

int lj_objective_case_create(struct lj_objective **objective, struct lj_comm *comm,
                             const struct lj_objective_case *c, struct lj_ledger *ledger)
{
    struct lj_objective_shape shape = {.views = c->views,
                                       .global_views = targets_of(c),
                                       .width = c->width,
                                       .epoch = c->epoch,
                                       .lanes = lanes_of(c),
                                       .lane_rows = c->lane_rows,
                                       .workers = c->workers,
                                       .class_rows = c->class_rows};
    shape.gives |= c->labels ? LJ_NEED_LABELS : 0;
    shape.gives |= c->averaged ? LJ_NEED_PREDICTOR | LJ_NEED_AVERAGE : 0;
    shape.gives |= c->averaged ? LJ_NEED_STATE | LJ_NEED_PROTOTYPES : 0;
    return lj_objective_create(objective, comm, c->kind, c->config, &shape, ledger);
}

struct lj_objective_result lj_objective_case_run(struct lj_comm *comm,
                                                 const struct lj_objective_case *c, float *dz)
{
    struct lj_objective *objective = NULL;
    struct lj_objective_result r = {0};
    int64_t first, end, lane_floats = (c->views + targets_of(c)) * c->lane_rows * c->width;
    float *proj = calloc((size_t)(2 * lane_floats), sizeof *proj), *dproj = proj + lane_floats;
    cr_assert_eq(lj_objective_case_create(&objective, comm, c, &r.ledger), LJ_OK, "%s",
                 lj_error_text());
    lj_lanes_of_rank(lanes_of(c), comm->size, comm->rank, &first, &end);
    for (int step = 0; step < 2; step++) { /* the second must find nothing of the first */
        lj_objective_begin(objective, step);
        for (int64_t k = first; k < end; k++) {
            struct lj_loss_lane lane = take_lane(c, k, first, proj);
            lj_objective_add(objective, &lane);
        }
        r.status = lj_objective_reduce(objective, LJ_OK, &r.message, r.term);
        if (c->advances && step == 0)
            lj_objective_advance(objective);
    }
    for (int64_t k = first; r.status == LJ_OK && k < end; k++) {
        struct lj_loss_lane lane = take_lane(c, k, first, proj);
        lj_objective_gradient(objective, &lane, dproj);
        copy_lane(c, k, lane.n, c->views, dz, dproj, true);
    }
    lj_objective_destroy(objective);
    free(proj);
    return r;
}

bool lj_objective_case_is_mine(const struct lj_comm *comm, const struct lj_objective_case *c,
                               int64_t sample)
{
    int64_t first, end, lane = sample / c->lane_rows;
    lj_lanes_of_rank(lanes_of(c), comm->size, comm->rank, &first, &end);
    return lane >= first && lane < end;
}

double lj_objective_case_error(const struct lj_comm *comm, const struct lj_objective_case *c,
                               const float *dz, const double *expected)
{
    double largest = 1e-30, error = 0;
    for (int64_t i = 0; i < c->views * c->samples * c->width; i++) {
        if (isnan(expected[i]))
            continue;
        largest = fmax(largest, fabs(expected[i]));
        if (lj_objective_case_is_mine(comm, c, i / c->width % c->samples))
            error = fmax(error, fabs((double)dz[i] - expected[i]));
    }
    return error / largest;
}

static struct lj_golden golden(const char *file, const char *shape, const char *what, bool single)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", shape, what);
    return single ? lj_golden_f32(file, path) : lj_golden_f64(file, path);
}

/* Asserts what the case gives. */
static void expect(struct lj_comm *comm, const struct lj_objective_case *c, const double *terms,
                   const double *gradient, const char *what, const double tolerance[2])
{
    float *dz = calloc((size_t)(c->views * c->samples * c->width), sizeof *dz);
    struct lj_objective_result r = lj_objective_case_run(comm, c, dz);
    lj_all_assert(comm, r.status == LJ_OK && r.message.nonfinite == 0, "%s", lj_error_text());
    lj_all_assert(comm, r.message.samples == c->samples, "%lld", (long long)r.message.samples);
    for (int i = 0; i < lj_objective_terms(c->kind); i++)
        lj_all_assert(comm, fabs(r.term[i] - terms[i]) < tolerance[0],
                      "%s, term %d: %.12g not %.12g", what, i, r.term[i], terms[i]);
    double error = lj_objective_case_error(comm, c, dz, gradient);
    lj_all_assert(comm, error < tolerance[1], "%s: gradient off by %g", what, error);
    free(dz);
}

void lj_objective_case_golden(struct lj_comm *comm, struct lj_objective_case c, const char *file,
                              const char *shape, const char *trained, const char *averaged,
                              const double tolerance[2])
{
    struct lj_golden z = golden(file, shape, trained, true),
                     target = golden(file, shape, averaged, true),
                     terms = golden(file, shape, "terms", false),
                     gradient = golden(file, shape, "gradient", false);
    c.views = z.shape[0];
    c.samples = z.shape[1];
    c.width = z.shape[2];
    c.z = z.f32;
    c.targets = target.shape[0];
    c.averaged = target.f32;
    for (c.lane_rows = 3; c.lane_rows <= 64; c.lane_rows += 61)
        expect(comm, &c, terms.f64, gradient.f64, shape, tolerance);
    lj_golden_free(&z);
    lj_golden_free(&target);
    lj_golden_free(&terms);
    lj_golden_free(&gradient);
}

float *lj_objective_case_numbers(const struct lj_objective_case *c, float mean, float low,
                                 float high)
{
    int64_t count = c->views * c->samples * c->width;
    float *z = calloc((size_t)count, sizeof *z);
    lj_random_normal_f32(z, count, 21);
    for (int64_t i = 0; i < count; i++)
        z[i] = mean + z[i] * (low + (high - low) * (float)(i % c->width) / (float)c->width) +
               0.3f * z[i / c->width * c->width];
    return z;
}

void lj_objective_case_assert_bits(struct lj_comm *comm, struct lj_objective_case c)
{
    struct lj_comm *single = NULL;
    int64_t count = c.views * c.samples * c.width, wrong = 0;
    float *dz = calloc((size_t)count, sizeof *dz), *expected = calloc((size_t)count, sizeof *dz);
    double term[LJ_TERMS_MAX] = {0};
    lj_all_assert(comm, lj_comm_first(comm, 1, &single) == LJ_OK, "%s", lj_error_text());
    if (single) {
        struct lj_objective_result r = lj_objective_case_run(single, &c, expected);
        cr_assert_eq(r.status, LJ_OK);
        memcpy(term, r.term, sizeof term);
    }
    lj_broadcast(comm, term, sizeof term, 0);
    lj_broadcast(comm, expected, count * (int64_t)sizeof *expected, 0);
    for (c.workers = 1; c.workers <= 3; c.workers += 2) {
        struct lj_objective_result r = lj_objective_case_run(comm, &c, dz);
        lj_all_assert(comm, r.status == LJ_OK && memcmp(r.term, term, sizeof term) == 0,
                      "%d workers: loss %.17g, expected %.17g", c.workers, r.term[0], term[0]);
        for (int64_t i = 0; i < count; i++)
            wrong += lj_objective_case_is_mine(comm, &c, i / c.width % c.samples) &&
                     dz[i] != expected[i];
        lj_all_assert(comm, wrong == 0, "%lld elements of the gradient differ", (long long)wrong);
    }
    lj_comm_destroy(single);
    free(dz);
    free(expected);
}
