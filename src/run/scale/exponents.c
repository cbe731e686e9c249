/* SPDX-License-Identifier: Apache-2.0 */
/* How an objective's bytes grow with samples, width and ranks: by its formula, and measured on the
 * objective alone, without a network around it. */
#include "run/scale/scale.h"

#include <math.h>

/* ---- by the formula ---------------------------------------------------------------------- */

static int64_t formula_bytes(const struct lj_objective_kind *kind, const struct lj_config *config,
                             const struct lj_objective_shape *shape, int ranks)
{
    struct lj_objective_traffic traffic[LJ_TRAFFIC_MAX];
    int64_t bytes = 0;
    for (int i = kind->traffic(traffic, config, shape, ranks) - 1; i >= 0; i--)
        bytes += traffic[i].bytes;
    return bytes;
}

/* Lanes are so many that each number of ranks of the series shares them evenly. */
static void fit_formula(struct lj_compared *compared, const struct lj_config *config, int ranks,
                        enum lj_growth along)
{
    double x[LJ_FORMULA_SERIES], y[LJ_FORMULA_SERIES];
    int64_t even = (int64_t)ranks << (LJ_FORMULA_SERIES - 1);
    for (int i = 0; i < LJ_FORMULA_SERIES; i++) {
        struct lj_objective_shape shape = compared->shape;
        shape.lanes = (shape.lanes + even - 1) / even * even;
        shape.lanes <<= along == LJ_GROWTH_N ? i : 0;
        shape.width <<= along == LJ_GROWTH_D ? i : 0;
        x[i] = (double)(1 << i);
        y[i] = (double)formula_bytes(compared->kind, config, &shape,
                                     along == LJ_GROWTH_P ? ranks << i : ranks);
    }
    lj_power_fit(LJ_FORMULA_SERIES, 1, x, y, &compared->by_formula[along]);
}

void lj_compare_formula(struct lj_compared *compared, const struct lj_config *config, int ranks)
{
    for (int along = 0; along < LJ_GROWTHS; along++)
        if (compared->kind->traffic)
            fit_formula(compared, config, ranks, (enum lj_growth)along);
        else
            compared->by_formula[along] = (struct lj_power){NAN, NAN, NAN};
}

/* ---- the objective alone ----------------------------------------------------------------- */

struct alone {
    struct lj_comm *comm;
    struct lj_objective_shape shape;
    struct lj_objective *objective;
    float *proj, *dproj; /* (V, n, D), of any lane */
    struct lj_ledger ledger;
};

/* Memory, and projections in general position, so that no norm or variance is 0. */
static int prepare(struct alone *a, const struct lj_objective_kind *kind,
                   const struct lj_config *config)
{
    int64_t count = a->shape.views * a->shape.lane_rows * a->shape.width;
    a->proj = lj_alloc_array(count, sizeof *a->proj, "scale");
    a->dproj = lj_alloc_array(count, sizeof *a->dproj, "scale");
    if (!a->proj || !a->dproj)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++)
        a->proj[i] = sinf(1 + 0.7F * (float)(i % 10007));
    return lj_objective_create(&a->objective, a->comm, kind, config, &a->shape, &a->ledger);
}

static int make_step(struct alone *a)
{
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX];
    lj_objective_begin(a->objective, 0);
    for (int64_t k = 0; k < a->shape.my_lanes; k++) {
        struct lj_loss_lane lane = {.index = k, .n = a->shape.lane_rows, .proj = a->proj};
        lj_objective_add(a->objective, &lane);
    }
    LJ_TRY(lj_objective_reduce(a->objective, LJ_OK, &message, term));
    for (int64_t k = 0; k < a->shape.my_lanes; k++) {
        struct lj_loss_lane lane = {.index = k, .n = a->shape.lane_rows, .proj = a->proj};
        lj_objective_gradient(a->objective, &lane, a->dproj);
    }
    return LJ_OK;
}

/* One step. Collective over comm. */
static int measure_point(struct lj_comm *comm, const struct lj_objective_kind *kind,
                         const struct lj_config *config, const struct lj_objective_shape *shape,
                         int64_t *bytes)
{
    struct alone a = {.comm = comm, .shape = *shape};
    int64_t first, end, mine = 0;
    lj_lanes_of_rank(shape->lanes, comm->size, comm->rank, &first, &end);
    a.shape.my_lanes = end - first;
    int status = lj_agree(comm, prepare(&a, kind, config));
    if (status == LJ_OK)
        status = make_step(&a);
    for (int i = 0; i < a.ledger.count; i++)
        mine += a.ledger.entry[i].bytes;
    if (status == LJ_OK)
        *bytes = lj_all_max(comm, mine);
    lj_progress();
    lj_objective_destroy(a.objective);
    lj_free(a.proj);
    lj_free(a.dproj);
    return status;
}

/* On the first `ranks` ranks. Collective over comm. */
static int measure_on(struct lj_comm *comm, int ranks, struct lj_compared *compared,
                      const struct lj_config *config, const struct lj_objective_shape *shape,
                      enum lj_growth along)
{
    struct lj_comm *part = NULL;
    struct lj_traffic_point *point = &compared->point[compared->points++];
    *point = (struct lj_traffic_point){.along = along,
                                       .samples = shape->lanes * shape->lane_rows,
                                       .width = shape->width,
                                       .ranks = ranks};
    if (compared->kind->traffic)
        point->formula_bytes = formula_bytes(compared->kind, config, shape, ranks);
    LJ_TRY(lj_comm_first(comm, ranks, &part));
    int status = part ? measure_point(part, compared->kind, config, shape, &point->bytes) : LJ_OK;
    lj_comm_destroy(part);
    lj_wait_for_all(comm, NULL, NULL);
    return lj_agree(comm, status);
}

static void fit_measured(struct lj_compared *compared, enum lj_growth along)
{
    double x[LJ_SERIES], y[LJ_SERIES];
    int points = 0;
    for (int i = 0; i < compared->points; i++) {
        const struct lj_traffic_point *p = &compared->point[i];
        if (p->along != along)
            continue;
        x[points] = along == LJ_GROWTH_N   ? (double)p->samples
                    : along == LJ_GROWTH_D ? (double)p->width
                                           : p->ranks;
        y[points++] = (double)p->bytes;
    }
    lj_power_fit(points, 1, x, y, &compared->measured[along]);
}

/* Small, as bytes do not depend on what the numbers are: a step of the largest takes a moment. */
static struct lj_objective_shape small_shape(const struct lj_compared *compared, int size)
{
    return (struct lj_objective_shape){.views = compared->shape.views,
                                       .global_views = compared->shape.global_views,
                                       .width = lj_min_i64(compared->shape.width, 32),
                                       .lanes = size,
                                       .lane_rows = 8,
                                       .workers = 1};
}

static int measure_series(struct lj_compared *compared, struct lj_comm *comm,
                          const struct lj_config *config, enum lj_growth along)
{
    for (int i = 0; i < LJ_SERIES; i++) {
        struct lj_objective_shape shape = small_shape(compared, comm->size);
        int ranks = along == LJ_GROWTH_P ? 1 << i : comm->size;
        shape.lanes <<= along == LJ_GROWTH_N ? i : 0;
        shape.width <<= along == LJ_GROWTH_D ? i : 0;
        if (ranks <= comm->size)
            LJ_TRY(measure_on(comm, ranks, compared, config, &shape, along));
    }
    fit_measured(compared, along);
    return LJ_OK;
}

int lj_compare_alone(struct lj_compared *compared, struct lj_comm *comm,
                     const struct lj_config *config)
{
    for (int along = 0; along < LJ_GROWTHS; along++)
        compared->measured[along] = (struct lj_power){NAN, NAN, NAN};
    for (int along = 0; along < LJ_GROWTHS && compared->kind->needs == 0; along++)
        LJ_TRY(measure_series(compared, comm, config, (enum lj_growth)along));
    return LJ_OK;
}
