/* SPDX-License-Identifier: Apache-2.0 */
/* The objective SimCLR (Chen, Kornblith, Norouzi & Hinton 2020, arXiv 2002.05709), NT-Xent over the
 * global batch: of V >= 2 views of N samples, R = N V rows z_i, with u_i = z_i / |z_i| and cosines
 * c_ij = u_i . u_j,
 *   loss = 1 / R sum_i [ log sum_{j != i} exp(c_ij / T) - 1 / (V - 1) sum_{p of i} c_ip / T ]
 * where p runs over the other views of the sample, and T is simclr.temperature. All views of all
 * other samples are negatives, whichever rank has them. With two views it is the published loss;
 * with more, that of SupCon (Khosla et al. 2020, arXiv 2004.11362, equation 2) in which each sample
 * is a class.
 *
 * With e_ij = exp((c_ij - 1) / T), which neither overflows nor, for T >= 0.03, underflows, and the
 * row sums r_i = sum_{j != i} e_ij:
 *   loss = 1 / T + 1 / R sum_i log r_i - 1 / T mean of c_ip
 *   dloss/du_i = 1 / (R T) [ sum_{j != i} e_ij (1 / r_i + 1 / r_j) u_j - 2 / (V - 1) sum_p u_p ]
 *   dloss/dz_i = (dloss/du_i - (u_i . dloss/du_i) u_i) / |z_i|
 *
 * The small allreduce sums u, and the cosines of positives, from which follow the mean cosines of
 * positives and of negatives. Then every rank gathers u of all rows, makes the row sums of its own
 * lanes, and gathers all row sums. Every rank keeps both, and 1 / r: 4 R D + 12 R bytes. Cosines
 * are made twice, in tiles that are cut by their places in the lane and in the batch, so that no
 * bit depends on the ranks. A row that is not finite, or has no direction because it is 0, counts
 * as nonfinite; its u is 0. */
#include "loss/objective.h"

#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* A tile of cosines: rows of a lane by rows of the batch. It stays in the second-level cache. */
enum { TILE_ROWS = 64, TILE_COLUMNS = 1024 };
static const double shortest = 1e-12; /* length that a direction is taken of */

/* Lines of the ledger. */
static const char projections[] = "projections", row_sums[] = "row sums";
static const char gather[] = "MPI_Allgatherv";

enum term { LOSS, POSITIVE, NEGATIVE };

struct simclr {
    struct lj_objective_shape shape;
    double temperature;
    int64_t first_lane; /* of this rank */
    int64_t my_lanes;
    struct lj_lane_gather *rows, *row_sums;
    int64_t count;   /* R, after the exchange */
    float *unit;     /* u: (lanes, V, n, D) */
    double *sum;     /* r: (lanes, V, n) */
    float *inverse;  /* 1 / r */
    float **scratch; /* (workers) (TILE_ROWS + 1, TILE_COLUMNS) */
    double **row;    /* (workers) (D) */
};

/* Rows of a lane, in full. */
static int64_t lane_rows(const struct simclr *l)
{
    return l->shape.views * l->shape.lane_rows;
}

/* ---- creation ---------------------------------------------------------------------------- */

static int check(const struct lj_config *config, const struct lj_objective_shape *s)
{
    (void)config;
    if (s->lanes * s->lane_rows < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "objective=simclr tells samples of the batch from each other; batch.size "
                       "must be at least 2");
    return LJ_OK;
}

static void destroy(void *state)
{
    struct simclr *l = state;
    if (!l)
        return;
    for (int s = 0; s < l->shape.workers; s++) {
        lj_free(l->scratch ? l->scratch[s] : NULL);
        lj_free(l->row ? l->row[s] : NULL);
    }
    lj_free(l->scratch);
    lj_free(l->row);
    lj_free(l->unit);
    lj_free(l->sum);
    lj_free(l->inverse);
    lj_lane_gather_destroy(l->rows);
    lj_lane_gather_destroy(l->row_sums);
    lj_free(l);
}

/* What a worker writes is touched first by the thread that will work there. */
static bool allocate_workers(struct simclr *l)
{
    bool good = true;
    l->scratch = lj_alloc_array(l->shape.workers, sizeof *l->scratch, "loss");
    l->row = lj_alloc_array(l->shape.workers, sizeof *l->row, "loss");
    if (!l->scratch || !l->row)
        return false;
#pragma omp parallel for schedule(static, 1) num_threads(l->shape.workers)
    for (int s = 0; s < l->shape.workers; s++) {
        l->scratch[s] = lj_alloc_array((TILE_ROWS + 1) * TILE_COLUMNS, sizeof(float), "loss");
        l->row[s] = lj_alloc_array(l->shape.width, sizeof(double), "loss");
    }
    for (int s = 0; s < l->shape.workers; s++)
        good = good && l->scratch[s] && l->row[s];
    return good;
}

static int allocate(struct simclr *l)
{
    int64_t rows = l->shape.lanes * lane_rows(l), D = l->shape.width;
    l->unit = lj_alloc_array(rows * D, sizeof *l->unit, "loss");
    l->sum = lj_alloc_array(rows, sizeof *l->sum, "loss");
    l->inverse = lj_alloc_array(rows, sizeof *l->inverse, "loss");
    if (l->unit && l->sum && l->inverse && allocate_workers(l))
        return LJ_OK;
    return lj_fail(
        LJ_ERR_RESOURCE,
        "out of memory: objective=simclr takes %lld MiB on each rank for the projections "
        "of the whole batch, %lld of width %lld; use a smaller batch.size or "
        "projector.out, or fewer views",
        (long long)(rows * D * (int64_t)sizeof *l->unit >> 20), (long long)rows, (long long)D);
}

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    struct simclr *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->shape = *shape;
    l->temperature = config->simclr_temperature;
    *sums = shape->width + 1;
    int status = allocate(l);
    if (status == LJ_OK)
        *state = l;
    else
        destroy(l);
    return status;
}

static struct lj_ledger_entry *line(struct lj_ledger *ledger, const char *name)
{
    return ledger ? lj_ledger_entry(ledger, name, gather) : NULL;
}

static int connect(void *state, struct lj_comm *comm, struct lj_ledger *ledger)
{
    struct simclr *l = state;
    int64_t rows = lane_rows(l), end;
    lj_lanes_of_rank(l->shape.lanes, comm->size, comm->rank, &l->first_lane, &end);
    l->my_lanes = end - l->first_lane;
    LJ_TRY(lj_lane_gather_create(&l->rows, comm, l->shape.lanes,
                                 rows * l->shape.width * (int64_t)sizeof *l->unit,
                                 line(ledger, projections)));
    return lj_lane_gather_create(&l->row_sums, comm, l->shape.lanes, rows * (int64_t)sizeof *l->sum,
                                 line(ledger, row_sums));
}

/* ---- sums -------------------------------------------------------------------------------- */

static double square(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* u of one row. */
static void normalise(float *u, const float *z, int64_t width, int64_t *nonfinite)
{
    double length = sqrt(square(z, width));
    bool good = length >= shortest && isfinite(length); /* false for NaN */
    *nonfinite += !good;
    for (int64_t j = 0; j < width; j++)
        u[j] = good ? (float)((double)z[j] / length) : 0;
}

/* The sum of a sample's views (V, n, D), of which u is the first. */
static void add_views(double *total, const float *u, int64_t views, int64_t n, int64_t width)
{
    memset(total, 0, (size_t)width * sizeof *total);
    for (int64_t v = 0; v < views; v++)
        for (int64_t j = 0; j < width; j++)
            total[j] += (double)u[v * n * width + j];
}

/* Mean cosine of two views of a sample, from their sum. */
static double cosine_of_views(const double *total, const float *u, int64_t views, int64_t n,
                              int64_t width)
{
    double sum = 0;
    for (int64_t j = 0; j < width; j++)
        sum += total[j] * total[j];
    for (int64_t v = 0; v < views; v++)
        sum -= square(u + v * n * width, width);
    return sum / (double)(views * (views - 1));
}

static float *unit_of_lane(const struct simclr *l, const struct lj_loss_lane *lane)
{
    return l->unit + (l->first_lane + lane->index) * lane_rows(l) * l->shape.width;
}

/* The lane's sums of u, rounded once, and of the cosines of positives. */
static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct simclr *l = state;
    int64_t V = l->shape.views, D = l->shape.width, n = lane->n;
    float *u = unit_of_lane(l, lane);
    double *row = l->row[lane->worker], cosines = 0;
    LJ_CHECK(lane->index < l->my_lanes, "lane %lld of %lld", (long long)lane->index,
             (long long)l->my_lanes);
    for (int64_t r = 0; r < V * n; r++)
        normalise(u + r * D, lane->proj + r * D, D, nonfinite);
    for (int64_t i = 0; i < n; i++) {
        add_views(row, u + i * D, V, n, D);
        cosines += cosine_of_views(row, u + i * D, V, n, D);
    }
    add_views(row, u, V * n, 1, D);
    for (int64_t j = 0; j < D; j++)
        sums[j] += lj_to_fixed(l->shape.lanes, row[j], nonfinite);
    sums[D] += lj_to_fixed(l->shape.lanes, cosines, nonfinite);
}

/* ---- cosines ----------------------------------------------------------------------------- */

/* Rows of the batch [first, first + rows), which are some of a lane's, against all of it. */
struct strip {
    int64_t first, rows;
};

/* Cosines of a strip with columns [column, column + width); -infinity for a row with itself. */
static void make_tile(const struct simclr *l, float *tile, struct strip s, int64_t column,
                      int64_t width)
{
    int64_t D = l->shape.width;
    struct lj_matmul matmul = {.batch = 1, .m = s.rows, .n = width, .k = D, .transpose_b = true};
    lj_matmul(&matmul, l->unit + s.first * D, l->unit + column * D, NULL, tile);
    for (int64_t r = 0; r < s.rows; r++) {
        int64_t self = s.first + r - column;
        if (self >= 0 && self < width)
            tile[r * width + self] = -INFINITY;
    }
}

static void sum_strip(struct simclr *l, struct strip s, int worker)
{
    float *tile = l->scratch[worker], scale = (float)(1 / l->temperature);
    memset(l->sum + s.first, 0, (size_t)s.rows * sizeof *l->sum);
    for (int64_t column = 0; column < l->count; column += TILE_COLUMNS) {
        int64_t width = lj_min_i64(TILE_COLUMNS, l->count - column);
        make_tile(l, tile, s, column, width);
        for (int64_t r = 0; r < s.rows; r++)
            l->sum[s.first + r] +=
                lj_kernels()->exp_sum(tile + r * width, tile + r * width, width, scale);
    }
}

/* The strip of a lane that begins at its row r. */
static struct strip strip_at(int64_t first, int64_t rows, int64_t r)
{
    return (struct strip){first + r, lj_min_i64(TILE_ROWS, rows - r)};
}

static void sum_rows(struct simclr *l)
{
#pragma omp parallel for schedule(static, 1) num_threads(l->shape.workers)
    for (int64_t k = 0; k < l->my_lanes; k++) {
        int64_t first = (l->first_lane + k) * lane_rows(l);
        int64_t rows = lj_min_i64(lane_rows(l), lj_max_i64(l->count - first, 0));
        for (int64_t r = 0; r < rows; r += TILE_ROWS)
            sum_strip(l, strip_at(first, rows, r), omp_get_thread_num());
        lj_progress();
    }
}

static void exchange(void *state, int64_t samples)
{
    struct simclr *l = state;
    l->count = samples * l->shape.views;
    LJ_CHECK(l->count <= l->shape.lanes * lane_rows(l), "%lld samples in %lld lanes",
             (long long)samples, (long long)l->shape.lanes);
    lj_lane_gather(l->rows, l->unit);
    lj_phase_begin(LJ_PHASE_LOSS);
    sum_rows(l);
    lj_phase_end();
    lj_lane_gather(l->row_sums, l->sum);
    for (int64_t i = 0; i < l->count; i++)
        l->inverse[i] = (float)(1 / l->sum[i]);
}

/* ---- terms ------------------------------------------------------------------------------- */

/* With S the sum of all u, and P the mean cosine of positives, the cosines of negatives add up to
 * |S|^2 - N V - N V (V - 1) P. */
static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct simclr *l = state;
    double N = (double)samples, V = (double)l->shape.views, total = 0, logs = 0;
    for (int64_t j = 0; j < l->shape.width; j++)
        total += lj_from_fixed(sums[j]) * lj_from_fixed(sums[j]);
    for (int64_t i = 0; i < l->count; i++)
        logs += log(l->sum[i]);
    term[POSITIVE] = lj_from_fixed(sums[l->shape.width]) / N;
    term[NEGATIVE] =
        (total - N * V * (1 + (V - 1) * term[POSITIVE])) / (V * V * N * fmax(N - 1, 1));
    term[LOSS] = (1 - term[POSITIVE]) / l->temperature + logs / (N * V);
}

/* ---- gradient ---------------------------------------------------------------------------- */

/* du (rows, D) out = sum_j e_ij (1 / r_i + 1 / r_j) u_j. */
static void pull_strip(const struct simclr *l, struct strip s, int worker, float *du)
{
    const struct lj_kernels *k = lj_kernels();
    float *tile = l->scratch[worker], *e = tile + TILE_ROWS * TILE_COLUMNS;
    int64_t D = l->shape.width;
    for (int64_t column = 0; column < l->count; column += TILE_COLUMNS) {
        int64_t width = lj_min_i64(TILE_COLUMNS, l->count - column);
        struct lj_matmul matmul = {.batch = 1, .m = s.rows, .n = D, .k = width, .add = column > 0};
        make_tile(l, tile, s, column, width);
        for (int64_t r = 0; r < s.rows; r++) {
            float *row = tile + r * width;
            k->exp_sum(e, row, width, (float)(1 / l->temperature));
            k->multiply(row, e, l->inverse + column, LJ_F32, width, false);
            k->axpy(row, l->inverse[s.first + r], e, width);
        }
        lj_matmul(&matmul, tile, l->unit + column * D, NULL, du);
    }
}

/* From the negatives' part of dloss/du, times R T, to dloss/dz of one row, in place.
 *   total  (D) in  the sum of the sample's views */
static void finish_row(const struct simclr *l, float *d, const float *u, const float *z,
                       const double *total)
{
    int64_t D = l->shape.width;
    double pull = 2 / (double)(l->shape.views - 1), along = 0, length = sqrt(square(z, D));
    double scale = 1 / ((double)l->count * l->temperature * fmax(length, shortest));
    for (int64_t j = 0; j < D; j++)
        along += (double)u[j] * ((double)d[j] - pull * (total[j] - (double)u[j]));
    for (int64_t j = 0; j < D; j++) {
        double du = (double)d[j] - pull * (total[j] - (double)u[j]);
        d[j] = (float)(scale * (du - along * (double)u[j]));
    }
}

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct simclr *l = state;
    int64_t V = l->shape.views, D = l->shape.width, n = lane->n;
    int64_t first = (l->first_lane + lane->index) * lane_rows(l);
    const float *u = unit_of_lane(l, lane);
    double *total = l->row[lane->worker];
    for (int64_t r = 0; r < V * n; r += TILE_ROWS)
        pull_strip(l, strip_at(first, V * n, r), lane->worker, dproj + r * D);
    for (int64_t i = 0; i < n; i++) {
        add_views(total, u + i * D, V, n, D);
        for (int64_t r = i; r < V * n; r += n)
            finish_row(l, dproj + r * D, u + r * D, lane->proj + r * D, total);
    }
}

/* ---- the row ----------------------------------------------------------------------------- */

/* Negatives of a spread batch point away from each other as often as not; at one point their cosine
 * is 1, and the loss log(R - 1). */
static double collapse(const struct lj_config *c, const double *term)
{
    (void)c;
    return fmax(term[NEGATIVE], 0);
}

static int traffic(struct lj_objective_traffic *traffic, const struct lj_config *c,
                   const struct lj_objective_shape *shape, int ranks)
{
    (void)c;
    int64_t lanes = (shape->lanes + ranks - 1) / ranks;
    int64_t rows = lanes * shape->views * shape->lane_rows;
    traffic[0] = lj_objective_message(&lj_objective_simclr, shape->width + 1, "8 (D + 6)");
    traffic[1] =
        (struct lj_objective_traffic){.name = projections,
                                      .collective = gather,
                                      .bytes = rows * shape->width * (int64_t)sizeof(float),
                                      .formula = "4 V D N / P"};
    traffic[2] = (struct lj_objective_traffic){.name = row_sums,
                                               .collective = gather,
                                               .bytes = rows * (int64_t)sizeof(double),
                                               .formula = "8 V N / P"};
    return 3;
}

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "SimCLR, temperature %g; negatives are all views of all other samples, N global; mean "
             "over a view's positives",
             c->simclr_temperature);
}

const struct lj_objective_kind lj_objective_simclr = {
    .name = "simclr",
    .text = "contrast of cosines, NT-Xent (Chen et al. 2020, arXiv 2002.05709)",
    .compares_views = true,
    .message = "simclr",
    .message_text = "whatever the batch or the ranks",
    .heuristics = "a temperature; a batch large enough for negatives",
    .against_collapse = "lower simclr.temperature or raise batch.size",
    .fewer_sums = "a smaller projector.out or fewer threads",
    .term = {[LOSS] = {"loss", 5}, [POSITIVE] = {"positive", 6}, [NEGATIVE] = {"negative", 6}},
    .check = check,
    .create = create,
    .destroy = destroy,
    .connect = connect,
    .add = add,
    .exchange = exchange,
    .finish = finish,
    .gradient = gradient,
    .collapse = collapse,
    .traffic = traffic,
    .describe = describe,
};
