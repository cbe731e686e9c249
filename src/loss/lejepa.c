/* SPDX-License-Identifier: Apache-2.0 */
/* The LeJEPA loss: prediction and SIGReg over the global batch, through one small allreduce. */
#include "loss/loss_state.h"

#include <math.h>
#include <string.h>

int64_t lj_lejepa_bytes(const struct lj_lejepa_config *config)
{
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX];
    int64_t knots = lj_sigreg_knots(config->grid, t, weight);
    return 8 * (2 * config->views * config->slices * knots + LJ_SCALARS);
}

int64_t lj_lejepa_cached_lanes(const struct lj_lejepa_config *config, int64_t lanes)
{
    int64_t each = config->views * config->lane_rows * config->slices * (int64_t)sizeof(float);
    return lj_min_i64(lanes, LJ_KEPT_BYTES / lj_max_i64(each, 1));
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
    if (c->width < 1 || c->slices < 1 || c->workers < 1 || c->lane_rows < 1)
        return lj_fail(LJ_ERR_CONFIG, "loss: width, slices, workers and rows must be positive");
    return LJ_OK;
}

static void *take(int64_t count, size_t size)
{
    return lj_alloc_array(count, size, "loss");
}

/* Each lane's touched first by the thread that will work on it, so that it lies in that thread's memory. */
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
                           "out of memory: %lld times %lld MiB of projections on slices; use more "
                           "ranks, a smaller batch, or memory.recompute=lanes",
                           (long long)c->cached_lanes,
                           (long long)(count * (int64_t)sizeof(float) >> 20));
    return LJ_OK;
}

static int allocate(struct lj_lejepa *loss)
{
    const struct lj_lejepa_config *c = &loss->config;
    int64_t sums = lj_loss_sums(loss);
    loss->slices = take(c->width * c->slices, sizeof(float));
    loss->coefficient = take(sums, sizeof(float));
    loss->sums = take(c->workers, sizeof *loss->sums);
    loss->scratch = take(c->workers, sizeof *loss->scratch);
    if (!loss->slices || !loss->coefficient || !loss->sums || !loss->scratch)
        return LJ_ERR_RESOURCE;
    for (int s = 0; s < c->workers; s++) {
        loss->sums[s] = take(sums + LJ_SCALARS, sizeof(int64_t));
        loss->scratch[s] = take(LJ_TILE_ROWS * LJ_TILE_SLICES, sizeof(float));
        if (!loss->sums[s] || !loss->scratch[s])
            return LJ_ERR_RESOURCE;
    }
    return allocate_cached(loss);
}

int lj_lejepa_create(struct lj_lejepa **loss, struct lj_comm *comm,
                     const struct lj_lejepa_config *config, struct lj_ledger *ledger)
{
    LJ_TRY(check(config));
    struct lj_lejepa *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->config = *config;
    l->comm = comm;
    l->knots = lj_sigreg_knots(config->grid, l->t, l->weight);
    for (int k = 0; k < l->knots; k++)
        l->phi[k] = exp(-0.5 * l->t[k] * l->t[k]);
    if (ledger) {
        l->ledger = lj_ledger_entry(ledger, "sigreg", "MPI_Allreduce");
        l->ledger->predicted_bytes_per_call = lj_lejepa_bytes(config);
    }
    int status = allocate(l);
    if (status == LJ_OK)
        *loss = l;
    else
        lj_lejepa_destroy(l);
    return status;
}

void lj_lejepa_destroy(struct lj_lejepa *loss)
{
    if (!loss)
        return;
    for (int s = 0; s < loss->config.workers; s++) {
        lj_free(loss->sums ? loss->sums[s] : NULL);
        lj_free(loss->scratch ? loss->scratch[s] : NULL);
    }
    for (int64_t k = 0; loss->cached && k < loss->config.cached_lanes; k++)
        lj_free(loss->cached[k]);
    lj_free(loss->cached);
    lj_free(loss->sums);
    lj_free(loss->scratch);
    lj_free(loss->slices);
    lj_free(loss->coefficient);
    lj_free(loss);
}

static void clear(struct lj_lejepa *loss)
{
    for (int s = 0; s < loss->config.workers; s++)
        memset(loss->sums[s], 0, (size_t)(lj_loss_sums(loss) + LJ_SCALARS) * sizeof(int64_t));
}

void lj_lejepa_begin(struct lj_lejepa *loss, int64_t step)
{
    const struct lj_lejepa_config *c = &loss->config;
    clear(loss);
    lj_slices_draw(loss->slices, c->width, c->slices, c->seed, step);
}

void lj_lejepa_begin_with(struct lj_lejepa *loss, const float *slices)
{
    const struct lj_lejepa_config *c = &loss->config;
    clear(loss);
    lj_slices_take(loss->slices, slices, c->width, c->slices);
}

static struct lj_loss_lane lane_of(const struct lj_lejepa *loss, int worker, int64_t lane,
                                   const float *proj, int64_t n)
{
    LJ_CHECK(worker >= 0 && worker < loss->config.workers && lane >= 0 &&
                 n <= loss->config.lane_rows,
             "lane %lld of %lld rows in worker %d", (long long)lane, (long long)n, worker);
    return (struct lj_loss_lane){.worker = worker, .index = lane, .proj = proj, .n = n};
}

/* The lane's prediction sum is divided by V D before it becomes fixed point: the total then holds mean
 * squares up to 2^31 / N, where the plain sum wraps around in a diverging run. */
void lj_lejepa_add(struct lj_lejepa *loss, int worker, int64_t lane, const float *proj, int64_t n)
{
    struct lj_loss_lane own = lane_of(loss, worker, lane, proj, n);
    int64_t *scalar = loss->sums[worker] + lj_loss_sums(loss);
    lj_sigreg_add(loss, &own);
    scalar[LJ_SUM_SAMPLES] += n;
    double elements = (double)(loss->config.views * loss->config.width);
    scalar[LJ_SUM_PREDICTION] +=
        lj_to_fixed(lj_prediction_sum(loss, proj, n) / elements, &scalar[LJ_SUM_NONFINITE]);
}

/* All workers into the first; a rank that failed contributes nothing but the flag. */
static int64_t *collect_workers(struct lj_lejepa *loss, int local)
{
    int64_t count = lj_loss_sums(loss) + LJ_SCALARS, *total = loss->sums[0];
    for (int s = 1; s < loss->config.workers; s++)
        for (int64_t i = 0; i < count; i++)
            total[i] += loss->sums[s][i];
    if (local != LJ_OK)
        memset(total, 0, (size_t)count * sizeof *total);
    total[lj_loss_sums(loss) + LJ_SUM_FAILED] = local != LJ_OK;
    return total;
}

int lj_lejepa_reduce(struct lj_lejepa *loss, int local, struct lj_lejepa_terms *terms)
{
    const struct lj_lejepa_config *c = &loss->config;
    int64_t *sums = collect_workers(loss, local);
    int64_t *scalar = sums + lj_loss_sums(loss);
    scalar[LJ_SUM_STOP] = terms->stop;
    scalar[LJ_SUM_SAVE] = terms->save;
    lj_sum_exact(loss->comm, loss->ledger, sums, lj_loss_sums(loss) + LJ_SCALARS);
    if (scalar[LJ_SUM_FAILED] > 0)
        return lj_agree(loss->comm, local);
    loss->samples = lj_max_i64(scalar[LJ_SUM_SAMPLES], 1);
    terms->samples = scalar[LJ_SUM_SAMPLES];
    terms->stop = scalar[LJ_SUM_STOP];
    terms->save = scalar[LJ_SUM_SAVE];
    terms->nonfinite = scalar[LJ_SUM_NONFINITE];
    terms->prediction = lj_from_fixed(scalar[LJ_SUM_PREDICTION]) / (double)loss->samples;
    terms->sigreg = lj_sigreg_finish(loss);
    double share = c->additive ? 1 : 1 - c->lambda;
    terms->total = c->lambda * terms->sigreg + share * terms->prediction;
    return LJ_OK;
}

void lj_lejepa_gradient(struct lj_lejepa *loss, int worker, int64_t lane, const float *proj,
                        int64_t n, float *dproj)
{
    struct lj_loss_lane own = lane_of(loss, worker, lane, proj, n);
    lj_prediction_gradient(loss, proj, n, dproj);
    lj_sigreg_gradient(loss, &own, dproj);
}
