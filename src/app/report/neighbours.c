/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest rows of each row of a sample, and the class that they tell. */
#include "app/report/sample.h"

#include <math.h>
#include <string.h>

enum { K = LJ_KNN_NEIGHBOURS, CHAINS = 8 };

/* Sums in eight chains, which compilers make one vector of. */
static float dot(const float *a, const float *b, int64_t width)
{
    float chain[CHAINS] = {0}, sum = 0;
    int64_t j = 0;
    for (; j + CHAINS <= width; j += CHAINS)
        for (int k = 0; k < CHAINS; k++)
            chain[k] += a[j + k] * b[j + k];
    for (; j < width; j++)
        sum += a[j] * b[j];
    for (int k = 0; k < CHAINS; k++)
        sum += chain[k];
    return sum;
}

/* Rows of length 1; a row of zeros stays one. */
static float *normalised(const struct lj_report_sample *s)
{
    float *unit = lj_alloc_array(s->rows * s->width, sizeof *unit, "report");
    for (int64_t r = 0; unit && r < s->rows; r++) {
        const float *x = s->x + r * s->width;
        float length = sqrtf(dot(x, x, s->width));
        for (int64_t j = 0; j < s->width; j++)
            unit[r * s->width + j] = length > 0 ? x[j] / length : 0;
    }
    return unit;
}

/* Keeps the K most similar rows, ties by the lower row: candidates come in ascending order. */
static void insert(int32_t *near, float *similarity, int32_t row, float value)
{
    int at = K;
    while (at > 0 && (near[at - 1] < 0 || value > similarity[at - 1]))
        at--;
    if (at == K)
        return;
    memmove(near + at + 1, near + at, (size_t)(K - 1 - at) * sizeof *near);
    memmove(similarity + at + 1, similarity + at, (size_t)(K - 1 - at) * sizeof *similarity);
    near[at] = row;
    similarity[at] = value;
}

/* The class with the most votes, ties by the lower class; -1: no neighbour has one. */
static int32_t vote(const struct lj_report_sample *s, int64_t r)
{
    double best = 0;
    int32_t winner = -1;
    const int32_t *near = s->near + r * K;
    for (int i = 0; i < K && near[i] >= 0; i++) {
        int32_t class = s->label[near[i]];
        double votes = 0;
        for (int k = 0; class >= 0 && k < K && near[k] >= 0; k++)
            if (s->label[near[k]] == class)
                votes += exp((double)s->similarity[r * K + k] / LJ_KNN_TEMPERATURE);
        if (votes > best || (votes == best && votes > 0 && class < winner)) {
            best = votes;
            winner = class;
        }
    }
    return winner;
}

int lj_report_find_neighbours(struct lj_report_sample *s)
{
    float *unit = normalised(s);
    s->near = lj_alloc_array(s->rows * K, sizeof *s->near, "report");
    s->similarity = lj_alloc_array(s->rows * K, sizeof *s->similarity, "report");
    s->predicted = lj_alloc_array(s->rows, sizeof *s->predicted, "report");
    if (!unit || !s->near || !s->similarity || !s->predicted) {
        lj_free(unit);
        return LJ_ERR_RESOURCE;
    }
    for (int64_t i = 0; i < s->rows * K; i++)
        s->near[i] = -1;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t other = 0; other < s->rows; other++)
            if (other != r)
                insert(s->near + r * K, s->similarity + r * K, (int32_t)other,
                       dot(unit + r * s->width, unit + other * s->width, s->width));
        s->predicted[r] = vote(s, r);
        lj_progress();
    }
    lj_free(unit);
    return LJ_OK;
}
