/* SPDX-License-Identifier: Apache-2.0 */
/* Seconds of SIGReg, forward and backward, on one core, over a grid of sizes, and how they grow.
 * The slices are drawn once a step whatever the batch, and are not part of it. */
#include "run/scale/scale.h"

#include <math.h>

enum { STEPS = 3, REPEATS = 5 };

struct timed {
    struct lj_objective *loss;
    float *proj, *dproj; /* (N, D) */
};

static int prepare(struct timed *t, const struct lj_sigreg_time *size, struct lj_comm *comm,
                   enum lj_sigreg_grid grid)
{
    struct lj_lejepa_config config = {.views = 1,
                                      .centre_views = 1,
                                      .width = size->width,
                                      .slices = size->slices,
                                      .grid = grid,
                                      .lambda = 1,
                                      .workers = 1,
                                      .lanes = 1,
                                      .lane_rows = size->samples};
    int64_t count = size->samples * size->width;
    config.cached_lanes = lj_lejepa_cached_lanes(&config, 1); /* as in training */
    t->proj = lj_alloc_array(count, sizeof *t->proj, "scale");
    t->dproj = lj_alloc_array(count, sizeof *t->dproj, "scale");
    if (!t->proj || !t->dproj)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++)
        t->proj[i] = sinf(1 + 0.7F * (float)(i % 10007));
    return lj_lejepa_create(&t->loss, comm, &config, NULL);
}

static int time_step(const struct timed *t, int64_t samples, double *seconds)
{
    struct lj_loss_lane lane = {.n = samples, .proj = t->proj};
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX];
    lj_objective_begin(t->loss, 0);
    double begun_s = lj_now_s();
    lj_objective_add(t->loss, &lane);
    LJ_TRY(lj_objective_reduce(t->loss, LJ_OK, &message, term));
    lj_objective_gradient(t->loss, &lane, t->dproj);
    *seconds = lj_now_s() - begun_s;
    return LJ_OK;
}

/* The first time warms up. */
static int time_size(struct lj_sigreg_time *size, struct lj_comm *comm, enum lj_sigreg_grid grid)
{
    struct timed t = {0};
    int status = prepare(&t, size, comm, grid);
    size->seconds = INFINITY;
    for (int k = 0; status == LJ_OK && k <= REPEATS; k++) {
        double seconds = 0;
        status = time_step(&t, size->samples, &seconds);
        if (k > 0 && seconds < size->seconds)
            size->seconds = seconds;
    }
    lj_objective_destroy(t.loss);
    lj_free(t.proj);
    lj_free(t.dproj);
    return status;
}

static int time_all(struct lj_comparison *c, struct lj_comm *comm, enum lj_sigreg_grid grid)
{
    double x[LJ_SIGREG_TIMES * LJ_SIGREG_FACTORS], y[LJ_SIGREG_TIMES];
    for (int i = 0; i < LJ_SIGREG_TIMES; i++) {
        struct lj_sigreg_time *size = &c->sigreg[i];
        *size = (struct lj_sigreg_time){.samples = 128 << i % STEPS,
                                        .slices = 256 << i / STEPS % STEPS,
                                        .width = 32 << i / STEPS / STEPS};
        LJ_TRY(time_size(size, comm, grid));
        lj_progress();
        x[3 * i] = (double)size->samples;
        x[3 * i + 1] = (double)size->slices;
        x[3 * i + 2] = (double)size->width;
        y[i] = size->seconds;
    }
    lj_power_fit(LJ_SIGREG_TIMES, LJ_SIGREG_FACTORS, x, y, c->sigreg_power);
    return LJ_OK;
}

int lj_compare_sigreg(struct lj_comparison *comparison, struct lj_comm *comm,
                      const struct lj_config *config)
{
    struct lj_comm *first = NULL;
    LJ_TRY(lj_comm_first(comm, 1, &first));
    int status = first ? time_all(comparison, first, config->sigreg_grid) : LJ_OK;
    lj_comm_destroy(first);
    lj_wait_for_all(comm, NULL, NULL);
    return lj_agree(comm, status);
}
