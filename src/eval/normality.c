/* SPDX-License-Identifier: Apache-2.0 */
/* Is each feature standard normal? Its first four moments over all rows, and its Epps-Pulley
 * statistic, that of a slice along the feature's axis: of each view over the samples, mean over
 * views. Cosines and sines of a block of samples are summed in double, then rounded to 2^-32. */
#include "eval/moments.h"

#include <math.h>
#include <string.h>

enum { GROUP = 64 }; /* features whose sums are reduced together */

struct empirical {
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX];
    int knots;
    int64_t *sum; /* (GROUP, views, knots, 2) owned: cosines and sines */
};

/* Sums over a block of samples of one feature and view; x: its value in the first of them. Knots
 * are multiples of the first, so that each is one rotation on from the last. */
static void add_block(const struct empirical *e, const float *x, int64_t stride, int64_t samples,
                      int64_t *sum)
{
    double part[2 * LJ_KNOTS_MAX] = {0};
    for (int64_t i = 0; i < samples; i++) {
        double angle = e->t[0] * (double)x[i * stride], c1 = cos(angle), s1 = sin(angle);
        double c = 1.0, s = 0.0;
        for (int k = 0; k < e->knots; k++) {
            double turned = c * c1 - s * s1;
            s = s * c1 + c * s1;
            c = turned;
            part[2 * k] += c;
            part[2 * k + 1] += s;
        }
    }
    for (int k = 0; k < 2 * e->knots; k++)
        sum[k] += llrint(part[k] * 0x1p32);
}

static void add_features(const struct empirical *e, const struct lj_projections *p, int64_t from,
                         int64_t count)
{
    int64_t stride = p->views * p->width, each = 2 * e->knots;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < count; j++)
        for (int64_t first = 0; first < p->samples; first += LJ_FEATURES_BLOCK) {
            lj_progress();
            for (int64_t v = 0; v < p->views; v++)
                add_block(e, p->values + first * stride + v * p->width + from + j, stride,
                          lj_min_i64(LJ_FEATURES_BLOCK, p->samples - first),
                          e->sum + (j * p->views + v) * each);
        }
}

/* N sum_k w_k ((C - phi)^2 + S^2) of one feature and view. */
static double statistic_of(const struct empirical *e, const int64_t *sum, int64_t samples)
{
    double statistic = 0.0, n = (double)samples;
    for (int k = 0; k < e->knots; k++) {
        double c = lj_from_fixed(sum[2 * k]) / n - exp(-0.5 * e->t[k] * e->t[k]);
        double s = lj_from_fixed(sum[2 * k + 1]) / n;
        statistic += e->weight[k] * (c * c + s * s);
    }
    return n * statistic;
}

static int take_statistics(struct lj_normality *n, struct lj_comm *comm, enum lj_sigreg_grid grid,
                           const struct lj_projections *p)
{
    struct empirical e = {0};
    int64_t samples = lj_all_sum(comm, p->samples);
    e.knots = lj_sigreg_knots(grid, e.t, e.weight);
    int64_t of_feature = p->views * 2 * e.knots;
    e.sum = lj_alloc_array(GROUP * of_feature, sizeof *e.sum, "normality");
    int status = lj_agree(comm, e.sum ? LJ_OK : LJ_ERR_RESOURCE);
    for (int64_t from = 0; from < p->width && status == LJ_OK; from += GROUP) {
        int64_t count = lj_min_i64(GROUP, p->width - from);
        memset(e.sum, 0, (size_t)(count * of_feature) * sizeof *e.sum);
        add_features(&e, p, from, count);
        lj_sum_exact(comm, NULL, e.sum, count * of_feature);
        for (int64_t j = 0; j < count; j++)
            for (int64_t v = 0; v < p->views; v++)
                n->statistic[from + j] +=
                    statistic_of(&e, e.sum + (j * p->views + v) * 2 * e.knots, samples) /
                    (double)p->views;
    }
    lj_free(e.sum);
    return status;
}

static int take_moments(struct lj_normality *n, struct lj_comm *comm, const struct lj_features *x)
{
    struct lj_moments m;
    LJ_TRY(lj_moments_create(&m, comm, x));
    int status = lj_moments_standardised(&m, comm, x, 3, n->skewness);
    if (status == LJ_OK)
        status = lj_moments_standardised(&m, comm, x, 4, n->kurtosis);
    for (int64_t j = 0; j < x->width && status == LJ_OK; j++) {
        n->mean[j] = m.mean[j];
        n->variance[j] = m.square[j] / (double)m.rows;
        n->kurtosis[j] -= 3.0;
    }
    lj_moments_destroy(&m);
    return status;
}

int lj_normality_create(struct lj_normality *n, struct lj_comm *comm, enum lj_sigreg_grid grid,
                        const struct lj_projections *p)
{
    struct lj_features rows = lj_projections_rows(p);
    double *all = lj_alloc_array(5 * p->width, sizeof *all, "normality");
    *n = (struct lj_normality){.mean = all};
    int status = lj_agree(comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        n->variance = all + p->width;
        n->skewness = all + 2 * p->width;
        n->kurtosis = all + 3 * p->width;
        n->statistic = all + 4 * p->width;
        int64_t before = lj_features_set_turns(comm, &rows);
        status = take_moments(n, comm, &rows);
        if (status == LJ_OK)
            status = take_statistics(n, comm, grid, p);
        lj_progress_set_turns(before);
    }
    if (status != LJ_OK)
        lj_normality_destroy(n);
    return status;
}

void lj_normality_destroy(struct lj_normality *n)
{
    lj_free(n->mean);
    *n = (struct lj_normality){0};
}
