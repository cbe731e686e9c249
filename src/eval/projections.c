/* SPDX-License-Identifier: Apache-2.0 */
/* LeJEPA's terms of projections that ranks share. Lanes of samples are the unit, as in training:
 * threads take whole ones, so that neither ranks nor threads change a bit. */
#include "eval/eval.h"

#include <omp.h>
#include <string.h>

enum { LANE = 32 };

_Static_assert(LJ_FEATURES_BLOCK % LANE == 0, "ranks share whole lanes");

static int64_t lanes_of(int64_t samples)
{
    return (samples + LANE - 1) / LANE;
}

struct lj_features lj_projections_rows(const struct lj_projections *p)
{
    int64_t samples = LJ_FEATURES_BLOCK; /* of a block: a power of 2, so that a share is blocks */
    while (samples > 1 && samples * p->views > LJ_FEATURES_BLOCK)
        samples /= 2;
    return (struct lj_features){.values = p->values,
                                .rows = p->samples * p->views,
                                .width = p->width,
                                .block = samples * p->views};
}

int lj_projections_objective(struct lj_objective **objective, struct lj_comm *comm,
                             const struct lj_config *config, const struct lj_projections *p,
                             int64_t samples, int64_t global_views)
{
    struct lj_objective_shape shape = {.views = p->views,
                                       .global_views = global_views,
                                       .width = p->width,
                                       .lanes = lj_max_i64(lanes_of(samples), 1),
                                       .my_lanes = lanes_of(p->samples),
                                       .lane_rows = LANE,
                                       .workers = omp_get_max_threads()};
    return lj_objective_create(objective, comm, &lj_objective_lejepa, config, &shape, NULL);
}

/* ---- lanes ------------------------------------------------------------------------------- */

static int64_t lane_floats(const struct lj_projections *p)
{
    return LANE * p->views * p->width;
}

/* Samples (n, V, D) as a lane (V, n, D), and back. */
static void take_lane(const struct lj_projections *p, int64_t n, const float *samples, float *lane)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t v = 0; v < p->views; v++, samples += p->width)
            memcpy(lane + (v * n + i) * p->width, samples, (size_t)p->width * sizeof *lane);
}

static void put_lane(const struct lj_projections *p, int64_t n, const float *lane, float *samples)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t v = 0; v < p->views; v++, samples += p->width)
            memcpy(samples, lane + (v * n + i) * p->width, (size_t)p->width * sizeof *lane);
}

/* Lane k of my samples, copied into proj. */
static struct lj_loss_lane lane_at(const struct lj_projections *p, int64_t k, float *proj)
{
    int64_t n = lj_min_i64(LANE, p->samples - k * LANE);
    lj_progress();
    take_lane(p, n, p->values + k * lane_floats(p), proj);
    return (struct lj_loss_lane){.worker = omp_get_thread_num(), .index = k, .n = n, .proj = proj};
}

/* Local. */
static int add_lanes(struct lj_objective *objective, const struct lj_projections *p)
{
    int64_t threads = omp_get_max_threads();
    float *work = lj_alloc_array(threads, (size_t)lane_floats(p) * sizeof *work, "projections");
    if (!work)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(dynamic)
    for (int64_t k = 0; k < lanes_of(p->samples); k++) {
        struct lj_loss_lane lane = lane_at(p, k, work + omp_get_thread_num() * lane_floats(p));
        lj_objective_add(objective, &lane);
    }
    lj_free(work);
    return LJ_OK;
}

int lj_projections_terms(struct lj_comm *comm, struct lj_objective *objective,
                         const struct lj_projections *p, double term[LJ_TERMS_MAX])
{
    struct lj_step_message message = {0};
    int64_t lanes = lj_all_max(comm, lanes_of(p->samples));
    int64_t before = lj_progress_set_turns(lj_max_i64(lanes, 1));
    int status = lj_objective_reduce(objective, add_lanes(objective, p), &message, term);
    lj_progress_set_turns(before);
    if (status == LJ_OK && message.nonfinite > 0) /* the same number on every rank */
        return lj_fail(LJ_ERR_NUMERIC,
                       "projections hold values that are not finite or out of range");
    return status;
}

int lj_projections_gradient(struct lj_objective *objective, const struct lj_projections *p,
                            int64_t first, int64_t count, float *gradient)
{
    int64_t threads = omp_get_max_threads(), each = lane_floats(p);
    float *work = lj_alloc_array(2 * threads, (size_t)each * sizeof *work, "projections");
    if (!work)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(dynamic)
    for (int64_t k = first / LANE; k < lanes_of(first + count); k++) {
        float *proj = work + 2 * omp_get_thread_num() * each, *dproj = proj + each;
        struct lj_loss_lane lane = lane_at(p, k, proj);
        lj_objective_gradient(objective, &lane, dproj);
        put_lane(p, lane.n, dproj, gradient + k * each - first * p->views * p->width);
    }
    lj_free(work);
    return LJ_OK;
}

int lj_projections_sigreg(struct lj_comm *comm, const struct lj_config *config,
                          const struct lj_projections *p, double *value)
{
    struct lj_lejepa_config alone = {.views = p->views,
                                     .centre_views = 1,
                                     .width = p->width,
                                     .slices = config->sigreg_slices,
                                     .grid = config->sigreg_grid,
                                     .lambda = 1,
                                     .seed = config->seed,
                                     .workers = omp_get_max_threads(),
                                     .lanes = lj_max_i64(lanes_of(lj_all_sum(comm, p->samples)), 1),
                                     .lane_rows = LANE};
    struct lj_objective *objective = NULL;
    double term[LJ_TERMS_MAX];
    int status = lj_agree(comm, lj_lejepa_create(&objective, comm, &alone, NULL));
    if (status == LJ_OK) {
        lj_objective_begin(objective, 0);
        status = lj_projections_terms(comm, objective, p, term);
        *value = term[LJ_LEJEPA_SIGREG];
    }
    lj_objective_destroy(objective);
    return status;
}
