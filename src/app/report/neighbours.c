/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest rows of each row of a sample, and the class that they tell. */
#include "app/report/sample.h"

enum { K = LJ_KNN_NEIGHBOURS };

/* The class that the labelled ones among the neighbours tell. */
static int32_t predict(const struct lj_report_sample *s, int64_t r)
{
    int32_t label[K];
    double weight[K];
    int count = 0;
    const int32_t *near = s->near + r * K;
    const float *similarity = s->similarity + r * K;
    for (int i = 0; i < K && near[i] >= 0; i++)
        if (s->label[near[i]] >= 0) {
            label[count] = s->label[near[i]];
            weight[count++] =
                lj_knn_weight((double)similarity[i], (double)similarity[0], LJ_KNN_TEMPERATURE);
        }
    return lj_knn_vote(label, weight, count);
}

int lj_report_find_neighbours(struct lj_report_sample *s)
{
    const struct lj_features x = {s->x, s->rows, s->width, LJ_FEATURES_BLOCK};
    s->near = lj_alloc_array(s->rows * K, sizeof *s->near, "report");
    s->similarity = lj_alloc_array(s->rows * K, sizeof *s->similarity, "report");
    s->predicted = lj_alloc_array(s->rows, sizeof *s->predicted, "report");
    if (!s->near || !s->similarity || !s->predicted)
        return LJ_ERR_RESOURCE;
    LJ_TRY(lj_neighbours(&x, K, s->near, s->similarity));
    for (int64_t r = 0; r < s->rows; r++)
        s->predicted[r] = predict(s, r);
    return LJ_OK;
}
