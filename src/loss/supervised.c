/* SPDX-License-Identifier: Apache-2.0 */
/* The objective supervised: cross-entropy of a linear classifier, which stands in the projector's
 * place, over the global batch. Each of the V views of a sample is an example of its class y; with
 * logits z (V, N, K), p = softmax(z), and label smoothing s:
 *   loss = - 1 / (V N) sum_nv sum_j q_nj log p_nvj,   q_nj = s / K + (1 - s) [j = y_n]
 *   dz_nvj = (p_nvj - q_nj) / (V N)
 * With supervised.balance each example is weighted by R / (K R_y), R_y of the R training rows being
 * of its class, so that all classes have the same part in the loss of an epoch.
 * Smoothing as in Szegedy et al. 2016, arXiv 1512.00567, and PyTorch's label_smoothing.
 *
 * Its sums: the loss, by blocks of at most 32 rows of one lane in fixed point at 2^-32, and the
 * number of examples whose largest logit is that of their class. */
#include "loss/objective.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum term { LOSS, TOP1 };
enum sum { LOSS_SUM, CORRECT, SUMS };

struct supervised {
    struct lj_objective_shape shape;
    double smoothing;
    int64_t blocks;  /* of rows that the global batch adds up, at most */
    int64_t samples; /* N, after finish */
    double *weight;  /* (K) of an example of the class */
    float **scratch; /* (workers) (LJ_BLOCK_ROWS, K), then LJ_BLOCK_ROWS */
};

/* ---- creation ---------------------------------------------------------------------------- */

static int check(const struct lj_config *c, const struct lj_objective_shape *s)
{
    if (s->width < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "objective=supervised tells classes apart, and there are %lld; labels must "
                       "have at least 2",
                       (long long)s->width);
    if (c->guard_collapse > 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "guard.collapse=%g: objective=supervised has no projections that could "
                       "collapse; leave it 0",
                       c->guard_collapse);
    return LJ_OK;
}

static void destroy(void *state)
{
    struct supervised *l = state;
    if (!l)
        return;
    for (int s = 0; l->scratch && s < l->shape.workers; s++)
        lj_free(l->scratch[s]);
    lj_free(l->scratch);
    lj_free(l->weight);
    lj_free(l);
}

/* rows (K): of each class; NULL: classes weigh what they have. */
static void weigh(struct supervised *l, const int64_t *rows)
{
    int64_t K = l->shape.width, all = 0;
    for (int64_t k = 0; rows && k < K; k++)
        all += rows[k];
    for (int64_t k = 0; k < K; k++)
        l->weight[k] = rows ? (double)all / ((double)K * (double)rows[k]) : 1;
}

static int allocate(struct supervised *l)
{
    l->weight = lj_alloc_array(l->shape.width, sizeof *l->weight, "loss");
    l->scratch = lj_alloc_array(l->shape.workers, sizeof *l->scratch, "loss");
    if (!l->weight || !l->scratch)
        return LJ_ERR_RESOURCE;
    for (int s = 0; s < l->shape.workers; s++) {
        l->scratch[s] = lj_alloc_array(LJ_BLOCK_ROWS * (l->shape.width + 1), sizeof(float), "loss");
        if (!l->scratch[s])
            return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    struct supervised *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->shape = *shape;
    l->smoothing = config->supervised_smoothing;
    l->blocks = shape->views * lj_objective_blocks(shape);
    *sums = SUMS;
    int status = allocate(l);
    if (status != LJ_OK) {
        destroy(l);
        return status;
    }
    bool balance = config->supervised_balance == LJ_SUPERVISED_BALANCE_TRUE;
    weigh(l, balance ? shape->class_rows : NULL);
    *state = l;
    return LJ_OK;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Of one example: its loss; whether its largest logit, of equals the first, is that of its class.
 * A loss is the distance to the largest logit and that one's own loss, so that it has all digits
 * where it is small.
 *   z, p  (K) in  logits, their softmax */
static double loss_of(const struct supervised *l, const float *z, const float *p, int32_t label,
                      bool *correct)
{
    int64_t K = l->shape.width, top = 0;
    double sum = 0;
    for (int64_t j = 0; j < K; j++) {
        sum += (double)z[j];
        top = z[j] > z[top] ? j : top;
    }
    *correct = top == label;
    if (!isfinite(sum))
        return (double)NAN;
    double largest = (double)z[top], own = -log(fmin((double)p[top], 1));
    double mean = sum / (double)K, target = (double)z[label];
    double loss = own + (1 - l->smoothing) * (largest - target) + l->smoothing * (largest - mean);
    return l->weight[label] * loss;
}

static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct supervised *l = state;
    int64_t K = l->shape.width, n = lane->n;
    float *p = l->scratch[lane->worker], *logsum = p + LJ_BLOCK_ROWS * K;
    for (int64_t v = 0; v < l->shape.views; v++)
        for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS) {
            const float *z = lane->proj + (v * n + r) * K;
            int64_t rows = lj_min_i64(LJ_BLOCK_ROWS, n - r);
            double loss = 0;
            memcpy(p, z, (size_t)(rows * K) * sizeof *p);
            lj_kernels()->softmax(p, LJ_F32, logsum, p, rows, K, 1);
            for (int64_t i = 0; i < rows; i++) {
                bool correct;
                loss += loss_of(l, z + i * K, p + i * K, lane->labels[r + i], &correct);
                sums[CORRECT] += correct;
            }
            sums[LOSS_SUM] += lj_to_fixed(l->blocks, loss, nonfinite);
        }
}

static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct supervised *l = state;
    double examples = (double)samples * (double)l->shape.views;
    l->samples = samples;
    term[LOSS] = lj_from_fixed(sums[LOSS_SUM]) / examples;
    term[TOP1] = (double)sums[CORRECT] / examples;
}

/* ---- gradient ---------------------------------------------------------------------------- */

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct supervised *l = state;
    int64_t K = l->shape.width, n = lane->n;
    double examples = (double)l->samples * (double)l->shape.views;
    float spread = (float)(l->smoothing / (double)K), own = (float)(1 - l->smoothing);
    float *logsum = l->scratch[lane->worker] + LJ_BLOCK_ROWS * K;
    int64_t rows = l->shape.views * n;
    memcpy(dproj, lane->proj, (size_t)(rows * K) * sizeof *dproj);
    for (int64_t r = 0; r < rows; r += LJ_BLOCK_ROWS)
        lj_kernels()->softmax(dproj + r * K, LJ_F32, logsum, dproj + r * K,
                              lj_min_i64(LJ_BLOCK_ROWS, rows - r), K, 1);
    for (int64_t r = 0; r < rows; r++) {
        float *dz = dproj + r * K;
        int32_t label = lane->labels[r % n];
        float share = (float)(l->weight[label] / examples);
        dz[label] -= own;
        for (int64_t j = 0; j < K; j++)
            dz[j] = (dz[j] - spread) * share;
    }
}

/* ---- the row ----------------------------------------------------------------------------- */

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(
        text, capacity,
        "cross-entropy over %lld classes%s, label smoothing %g; each view is an example of its "
        "sample's class, N global",
        (long long)c->supervised_classes,
        c->supervised_balance == LJ_SUPERVISED_BALANCE_TRUE ? ", which weigh alike" : "",
        c->supervised_smoothing);
}

const struct lj_objective_kind lj_objective_supervised = {
    .name = "supervised",
    .text = "cross-entropy of a linear classifier on labels, from scratch or to fine-tune",
    .needs = LJ_NEED_LABELS,
    .classifies = true,
    .sees_lengths = true,
    .message = "supervised",
    .message_text = "whatever the batch, the classes or the ranks",
    .heuristics = "labels; label smoothing if wanted",
    .against_collapse = "choose another objective",
    .fewer_sums = "fewer threads",
    .term = {[LOSS] = {"loss", 5}, [TOP1] = {"top1", 4}},
    .check = check,
    .create = create,
    .destroy = destroy,
    .add = add,
    .finish = finish,
    .gradient = gradient,
    .describe = describe,
};
