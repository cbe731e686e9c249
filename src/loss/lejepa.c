/* SPDX-License-Identifier: Apache-2.0 */
/* The objective LeJEPA (Balestriero & LeCun 2025, arXiv 2511.08544 v3): prediction (prediction.c)
 * and SIGReg (sigreg.c) over the global batch,
 *   loss = lambda SIGReg + (1 - lambda) prediction     loss.combine=convex
 *   loss = lambda SIGReg + prediction                  loss.combine=additive
 * Its sums: 2 V M K of cosines and sines, then one of the prediction, which is only logged. */
#include "loss/lejepa.h"

#include <math.h>
#include <stdio.h>

/* Projections on slices that a rank may keep for the gradient. A bound on memory only: reading them
 * pays however many there are. */
enum { CACHED_BYTES = 64 << 20 };

int64_t lj_lejepa_cached_lanes(const struct lj_lejepa_config *config, int64_t lanes)
{
    int64_t each = config->views * config->lane_rows * config->slices * (int64_t)sizeof(float);
    return lj_min_i64(lanes, CACHED_BYTES / lj_max_i64(each, 1));
}

static int check(const struct lj_lejepa_config *c)
{
    if (c->views < 1 || c->centre_views < 1 || c->centre_views > c->views)
        return lj_fail(LJ_ERR_CONFIG,
                       "the centre takes %lld of %lld views; set views.global between 1 and all",
                       (long long)c->centre_views, (long long)c->views);
    if (!c->additive && c->lambda > 1)
        return lj_fail(
            LJ_ERR_CONFIG,
            "loss.lambda: %g is above 1, which loss.combine=convex does not allow; use 0 to 1, "
            "or loss.combine=additive",
            c->lambda);
    if (c->width < 1 || c->slices < 1 || c->workers < 1 || c->lanes < 1 || c->lane_rows < 1)
        return lj_fail(LJ_ERR_CONFIG,
                       "loss: width, slices, workers, lanes and rows must be positive");
    return LJ_OK;
}

static void *take(int64_t count, size_t size)
{
    return lj_alloc_array(count, size, "loss");
}

/* What a worker writes, and projections of each lane, are touched first by the thread that will
 * work there, so that they lie in that thread's memory. */
static int allocate_scratch(struct lj_lejepa *loss)
{
    loss->scratch = take(loss->config.workers, sizeof *loss->scratch);
    if (!loss->scratch)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(static, 1) num_threads(loss->config.workers)
    for (int s = 0; s < loss->config.workers; s++)
        loss->scratch[s] = take(LJ_TILE_ROWS * LJ_TILE_SLICES, sizeof(float));
    for (int s = 0; s < loss->config.workers; s++)
        if (!loss->scratch[s])
            return lj_fail(LJ_ERR_RESOURCE, "out of memory: tiles of %d threads; use fewer threads",
                           loss->config.workers);
    return LJ_OK;
}

static int allocate_cached(struct lj_lejepa *loss)
{
    const struct lj_lejepa_config *c = &loss->config;
    int64_t count = c->views * c->lane_rows * c->slices;
    loss->cached = take(c->cached_lanes, sizeof *loss->cached);
    if (!loss->cached)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(static, 1) num_threads(c->workers)
    for (int s = 0; s < c->workers; s++)
        for (int64_t k = s; k < c->cached_lanes; k += c->workers)
            loss->cached[k] = take(count, sizeof(float));
    for (int64_t k = 0; k < c->cached_lanes; k++)
        if (!loss->cached[k])
            return lj_fail(LJ_ERR_RESOURCE,
                           "out of memory: %lld times %lld MiB of projections on slices, which "
                           "memory.recompute=lanes does not keep",
                           (long long)c->cached_lanes,
                           (long long)(count * (int64_t)sizeof(float) >> 20));
    return LJ_OK;
}

static int allocate(struct lj_lejepa *loss)
{
    const struct lj_lejepa_config *c = &loss->config;
    loss->slices = take(c->width * c->slices, sizeof(float));
    loss->coefficient = take(lj_sigreg_sums(loss), sizeof(float));
    if (!loss->slices || !loss->coefficient)
        return LJ_ERR_RESOURCE;
    LJ_TRY(allocate_scratch(loss));
    return allocate_cached(loss);
}

static void destroy(void *state)
{
    struct lj_lejepa *loss = state;
    if (!loss)
        return;
    for (int s = 0; loss->scratch && s < loss->config.workers; s++)
        lj_free(loss->scratch[s]);
    for (int64_t k = 0; loss->cached && k < loss->config.cached_lanes; k++)
        lj_free(loss->cached[k]);
    lj_free(loss->cached);
    lj_free(loss->scratch);
    lj_free(loss->slices);
    lj_free(loss->coefficient);
    lj_free(loss);
}

static int create_state(struct lj_lejepa **state, int64_t *sums,
                        const struct lj_lejepa_config *config)
{
    LJ_TRY(check(config));
    struct lj_lejepa *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->config = *config;
    l->prediction = (struct lj_prediction){
        .views = config->views, .centre_views = config->centre_views, .width = config->width};
    l->knots = lj_sigreg_knots(config->grid, l->t, l->weight);
    for (int k = 0; k < l->knots; k++)
        l->phi[k] = exp(-0.5 * l->t[k] * l->t[k]);
    *sums = lj_sigreg_sums(l) + 1;
    int status = allocate(l);
    if (status == LJ_OK)
        *state = l;
    else
        destroy(l);
    return status;
}

/* ---- the row ----------------------------------------------------------------------------- */

static struct lj_lejepa_config settings_of(const struct lj_config *c,
                                           const struct lj_objective_shape *shape)
{
    bool all = c->predict_centre == LJ_PREDICT_CENTRE_ALL;
    return (struct lj_lejepa_config){.views = shape->views,
                                     .centre_views = all ? shape->views : shape->global_views,
                                     .width = shape->width,
                                     .slices = c->sigreg_slices,
                                     .grid = c->sigreg_grid,
                                     .lambda = c->loss_lambda,
                                     .additive = c->loss_combine == LJ_LOSS_COMBINE_ADDITIVE,
                                     .seed = c->seed,
                                     .workers = shape->workers,
                                     .lanes = shape->lanes,
                                     .lane_rows = shape->lane_rows};
}

static int check_settings(const struct lj_config *c, const struct lj_objective_shape *shape)
{
    struct lj_lejepa_config config = settings_of(c, shape);
    return check(&config);
}

static int create(void **state, int64_t *sums, const struct lj_config *c,
                  const struct lj_objective_shape *shape)
{
    struct lj_lejepa *loss = NULL;
    struct lj_lejepa_config config = settings_of(c, shape);
    if (shape->caches)
        config.cached_lanes = lj_lejepa_cached_lanes(&config, shape->my_lanes);
    LJ_TRY(create_state(&loss, sums, &config));
    *state = loss;
    return LJ_OK;
}

static void begin(void *state, int64_t step)
{
    struct lj_lejepa *loss = state;
    const struct lj_lejepa_config *c = &loss->config;
    lj_slices_draw(loss->slices, c->width, c->slices, c->seed, step);
}

/* The lane's prediction sum is divided by V D before it becomes fixed point: the total then holds
 * mean squares up to 2^30 / N, and a lane with more than its share of that counts as nonfinite, so
 * that a diverging run cannot make the total wrap around. */
static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct lj_lejepa *loss = state;
    double elements = (double)(loss->config.views * loss->config.width);
    lj_sigreg_add(loss, lane, sums, nonfinite);
    double squares = lj_prediction_sum(&loss->prediction, lane->proj, lane->n) / elements;
    sums[lj_sigreg_sums(loss)] += lj_to_fixed(loss->config.lanes, squares, nonfinite);
}

static double share_of_prediction(const struct lj_lejepa_config *c)
{
    return c->additive ? 1 : 1 - c->lambda;
}

static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct lj_lejepa *loss = state;
    const struct lj_lejepa_config *c = &loss->config;
    loss->samples = samples;
    term[LJ_LEJEPA_PREDICTION] = lj_from_fixed(sums[lj_sigreg_sums(loss)]) / (double)samples;
    term[LJ_LEJEPA_SIGREG] = lj_sigreg_finish(loss, sums);
    term[LJ_LEJEPA_LOSS] =
        c->lambda * term[LJ_LEJEPA_SIGREG] + share_of_prediction(c) * term[LJ_LEJEPA_PREDICTION];
}

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct lj_lejepa *loss = state;
    const struct lj_lejepa_config *c = &loss->config;
    double elements = (double)loss->samples * (double)(c->views * c->width);
    lj_prediction_gradient(&loss->prediction, (float)(2 * share_of_prediction(c) / elements),
                           lane->proj, lane->n, dproj);
    lj_sigreg_gradient(loss, lane, dproj);
}

/* SIGReg as a share of what it is at one point. It is as large where projections lie far apart, but
 * then views of an image do, too: projections whose share is 0.9 because they have shrunk have a
 * variance of some 0.05, and views lie no farther from their centre. */
static double collapse(const struct lj_config *c, const double *term)
{
    double samples = (double)c->batch_size;
    double share = term[LJ_LEJEPA_SIGREG] / (samples * lj_sigreg_collapsed(c->sigreg_grid));
    double apart = 10 * term[LJ_LEJEPA_PREDICTION];
    return apart < 1 ? share * (1 - apart) : 0;
}

static int traffic(struct lj_objective_traffic *traffic, const struct lj_config *c,
                   const struct lj_objective_shape *shape, int ranks)
{
    (void)ranks;
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX];
    int64_t knots = lj_sigreg_knots(c->sigreg_grid, t, weight);
    traffic[0] =
        lj_objective_message(&lj_objective_lejepa, 2 * shape->views * c->sigreg_slices * knots + 1,
                             "8 (2 V M K + 6), M slices, K knots");
    return 1;
}

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "lambda %g (%s), centre %s, SIGReg on %lld slices per view, grid %s (floor %.4f), N "
             "global, prediction averaged over width",
             c->loss_lambda, lj_loss_combine_word(c->loss_combine),
             lj_predict_centre_word(c->predict_centre), (long long)c->sigreg_slices,
             lj_sigreg_grid_word(c->sigreg_grid), lj_sigreg_floor(c->sigreg_grid));
}

const struct lj_objective_kind lj_objective_lejepa = {
    .name = "lejepa",
    .text = "prediction and SIGReg (Balestriero & LeCun 2025, arXiv 2511.08544)",
    .sees_lengths = true,
    .message = "sigreg",
    .message_text = "whatever the batch, the width or the ranks",
    .heuristics = "none, but for lambda, which weighs the two terms",
    .against_collapse = "raise loss.lambda",
    .fewer_sums = "fewer sigreg.slices, fewer views or fewer threads",
    .term = {[LJ_LEJEPA_LOSS] = {"loss", 5},
             [LJ_LEJEPA_PREDICTION] = {"pred", 6},
             [LJ_LEJEPA_SIGREG] = {"sigreg", 4}},
    .check = check_settings,
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .add = add,
    .finish = finish,
    .gradient = gradient,
    .collapse = collapse,
    .traffic = traffic,
    .describe = describe,
};

/* ---- LeJEPA alone ------------------------------------------------------------------------ */

int lj_lejepa_create(struct lj_objective **objective, struct lj_comm *comm,
                     const struct lj_lejepa_config *config, struct lj_ledger *ledger)
{
    struct lj_lejepa *loss = NULL;
    int64_t sums = 0;
    LJ_TRY(create_state(&loss, &sums, config));
    return lj_objective_assemble(objective, comm, &lj_objective_lejepa, loss, sums, config->workers,
                                 config->lane_rows, ledger);
}

static struct lj_lejepa *state_of(const struct lj_objective *objective)
{
    LJ_CHECK(objective->kind == &lj_objective_lejepa, "%s is not LeJEPA", objective->kind->name);
    return objective->state;
}

void lj_lejepa_begin_with(struct lj_objective *lejepa, const float *slices)
{
    struct lj_lejepa *loss = state_of(lejepa);
    lj_objective_clear(lejepa);
    lj_slices_take(loss->slices, slices, loss->config.width, loss->config.slices);
}

void lj_lejepa_slice_values(const struct lj_objective *lejepa, double *values)
{
    lj_sigreg_slice_values(state_of(lejepa), lejepa->sums[0], values);
}

const float *lj_lejepa_slice(const struct lj_objective *lejepa, int64_t m)
{
    const struct lj_lejepa *loss = state_of(lejepa);
    return loss->slices + m * loss->config.width;
}
