/* SPDX-License-Identifier: Apache-2.0 */
/* The prediction loss of LeJEPA (paper, eq. 5-7; centroid form, mean over all elements as in both
 * published listings): mu_n = mean of the centre views of sample n,
 *   L = 1 / (N V D) sum_n sum_v |z_nv - mu_n|^2
 *   dL/dz_nu = 2 / (N V D) [ (z_nu - mu_n) - [u in centre] / V_c sum_v (z_nv - mu_n) ]
 * No stop-gradient on mu. A lane holds all views of its samples. The callers, LeJEPA and VICReg,
 * divide by counts of the global batch. */
#include "loss/objective.h"

/* Elements worked on at once: columns of samples that follow each other. */
enum { STRIP = 256 };

/* Some elements of a view in all views of a lane (V, n D). */
struct strip {
    const float *proj; /* of the first view */
    int64_t to_next_view, elements;
    float centre[STRIP];
};

static void begin_strip(struct strip *s, const struct lj_prediction *p, const float *proj,
                        int64_t n, int64_t first)
{
    int64_t centre_views = p->centre_views;
    float share = 1 / (float)centre_views;
    s->proj = proj + first;
    s->to_next_view = n * p->width;
    s->elements = lj_min_i64(STRIP, s->to_next_view - first);
    for (int64_t i = 0; i < s->elements; i++)
        s->centre[i] = s->proj[i];
    for (int64_t v = 1; v < centre_views; v++)
        for (int64_t i = 0; i < s->elements; i++)
            s->centre[i] += s->proj[v * s->to_next_view + i];
    for (int64_t i = 0; i < s->elements; i++)
        s->centre[i] *= share;
}

double lj_prediction_sum(const struct lj_prediction *p, const float *proj, int64_t n)
{
    struct strip s;
    double part[STRIP] = {0}, sum = 0;
    for (int64_t first = 0; first < n * p->width; first += STRIP) {
        begin_strip(&s, p, proj, n, first);
        for (int64_t v = 0; v < p->views; v++)
            for (int64_t i = 0; i < s.elements; i++) {
                float e = s.proj[v * s.to_next_view + i] - s.centre[i];
                part[i] += (double)(e * e);
            }
    }
    for (int64_t i = 0; i < STRIP; i++)
        sum += part[i];
    return sum;
}

static void strip_gradient(const struct lj_prediction *p, const struct strip *s, float scale,
                           float *dproj)
{
    int64_t V = p->views, centre_views = p->centre_views;
    float pull[STRIP] = {0}, share = 1 / (float)centre_views;
    for (int64_t v = 0; v < V; v++)
        for (int64_t i = 0; i < s->elements; i++)
            pull[i] += s->proj[v * s->to_next_view + i] - s->centre[i];
    for (int64_t v = 0; v < V; v++) {
        float pulled = v < centre_views ? share : 0;
        for (int64_t i = 0; i < s->elements; i++) {
            float e = s->proj[v * s->to_next_view + i] - s->centre[i];
            dproj[v * s->to_next_view + i] = scale * (e - pulled * pull[i]);
        }
    }
}

void lj_prediction_gradient(const struct lj_prediction *p, float scale, const float *proj,
                            int64_t n, float *dproj)
{
    struct strip s;
    for (int64_t first = 0; first < n * p->width; first += STRIP) {
        begin_strip(&s, p, proj, n, first);
        strip_gradient(p, &s, scale, dproj + first);
    }
}
