/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction loss (paper, eq. 5-7; centroid form, mean over all elements as in both published
 * listings): mu_n = mean of the centre views of sample n,
 *   L = 1 / (N V D) sum_n sum_v |z_nv - mu_n|^2
 *   dL/dz_nu = 2 / (N V D) [ (z_nu - mu_n) - [u in centre] / V_c sum_v (z_nv - mu_n) ]
 * No stop-gradient on mu. A lane holds all views of its samples. */
#include "loss_state.h"

/* Columns worked on at once. */
enum { STRIP = 64 };

/* Some columns of one sample in all views of a lane (V, n, D). */
struct strip {
    const float *proj; /* of the first view */
    int64_t to_next_view, columns;
    float centre[STRIP];
};

static void begin_strip(struct strip *s, const struct lj_lejepa *loss, const float *proj, int64_t n,
                        int64_t i, int64_t first)
{
    int64_t width = loss->config.width, centre_views = loss->config.centre_views;
    s->proj = proj + i * width + first;
    s->to_next_view = n * width;
    s->columns = lj_min_i64(STRIP, width - first);
    for (int64_t d = 0; d < STRIP; d++)
        s->centre[d] = 0;
    for (int64_t v = 0; v < centre_views; v++)
        for (int64_t d = 0; d < s->columns; d++)
            s->centre[d] += s->proj[v * s->to_next_view + d];
    for (int64_t d = 0; d < s->columns; d++)
        s->centre[d] /= (float)centre_views;
}

double lj_prediction_sum(const struct lj_lejepa *loss, const float *proj, int64_t n)
{
    struct strip s;
    double part[STRIP] = {0}, sum = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t first = 0; first < loss->config.width; first += STRIP) {
            begin_strip(&s, loss, proj, n, i, first);
            for (int64_t v = 0; v < loss->config.views; v++)
                for (int64_t d = 0; d < s.columns; d++) {
                    float e = s.proj[v * s.to_next_view + d] - s.centre[d];
                    part[d] += (double)(e * e);
                }
        }
    for (int64_t d = 0; d < STRIP; d++)
        sum += part[d];
    return sum;
}

static void strip_gradient(const struct lj_lejepa *loss, const struct strip *s, float scale,
                           float *dproj)
{
    int64_t V = loss->config.views, centre_views = loss->config.centre_views;
    float pull[STRIP] = {0};
    for (int64_t v = 0; v < V; v++)
        for (int64_t d = 0; d < s->columns; d++)
            pull[d] += s->proj[v * s->to_next_view + d] - s->centre[d];
    for (int64_t d = 0; d < s->columns; d++)
        pull[d] /= (float)centre_views;
    for (int64_t v = 0; v < V; v++) {
        float share = v < centre_views ? 1 : 0;
        for (int64_t d = 0; d < s->columns; d++) {
            float e = s->proj[v * s->to_next_view + d] - s->centre[d];
            dproj[v * s->to_next_view + d] = scale * (e - share * pull[d]);
        }
    }
}

void lj_prediction_gradient(const struct lj_lejepa *loss, const float *proj, int64_t n,
                            float *dproj)
{
    int64_t width = loss->config.width;
    double share = loss->config.additive ? 1 : 1 - loss->config.lambda;
    double elements = (double)loss->samples * (double)(loss->config.views * width);
    struct strip s;
    for (int64_t i = 0; i < n; i++)
        for (int64_t first = 0; first < width; first += STRIP) {
            begin_strip(&s, loss, proj, n, i, first);
            strip_gradient(loss, &s, (float)(2 * share / elements), dproj + i * width + first);
        }
}
