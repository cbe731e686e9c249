/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction loss (paper, eq. 5-7; centroid form, mean over all elements as in both published
 * listings): mu_n = mean of the centre views of sample n,
 *   L = 1 / (N V D) sum_n sum_v |z_nv - mu_n|^2
 *   dL/dz_nu = 2 / (N V D) [ (z_nu - mu_n) - [u in centre] / V_c sum_v (z_nv - mu_n) ]
 * No stop-gradient on mu. A lane holds all views of its samples. */
#include "loss_state.h"

/* Element d of sample i in view v of a lane (V, n, D). */
static int64_t at(const struct lj_lejepa *loss, int64_t n, int64_t v, int64_t i, int64_t d)
{
    return (v * n + i) * loss->config.width + d;
}

static float centre_of(const struct lj_lejepa *loss, const float *proj, int64_t n, int64_t i,
                       int64_t d)
{
    float sum = 0;
    for (int64_t v = 0; v < loss->config.centre_views; v++)
        sum += proj[at(loss, n, v, i, d)];
    return sum / (float)loss->config.centre_views;
}

double lj_prediction_sum(const struct lj_lejepa *loss, const float *proj, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < loss->config.width; d++) {
            float centre = centre_of(loss, proj, n, i, d);
            for (int64_t v = 0; v < loss->config.views; v++) {
                float e = proj[at(loss, n, v, i, d)] - centre;
                sum += (double)(e * e);
            }
        }
    return sum;
}

void lj_prediction_gradient(const struct lj_lejepa *loss, const float *proj, int64_t n,
                            float *dproj)
{
    int64_t V = loss->config.views, centre_views = loss->config.centre_views;
    double share = loss->config.additive ? 1 : 1 - loss->config.lambda;
    float scale = (float)(2 * share / ((double)loss->samples * (double)(V * loss->config.width)));
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < loss->config.width; d++) {
            float centre = centre_of(loss, proj, n, i, d), pull = 0;
            for (int64_t v = 0; v < V; v++)
                pull += proj[at(loss, n, v, i, d)] - centre;
            pull /= (float)centre_views;
            for (int64_t v = 0; v < V; v++) {
                float e = proj[at(loss, n, v, i, d)] - centre;
                dproj[at(loss, n, v, i, d)] = scale * (v < centre_views ? e - pull : e);
            }
        }
}
