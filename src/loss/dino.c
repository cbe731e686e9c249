/* SPDX-License-Identifier: Apache-2.0 */
/* The objective DINO (Caron et al. 2021, arXiv 2104.14294) over the global batch: cosines s (V, N,
 * K) of all views with K prototypes, by the trained network, against cosines t (G, N, K) of the
 * global views by the target, a network whose weights are a running average of those that are
 * trained. With the temperatures S and T of the two, the centre c (K), and the distributions
 *   p_nv = softmax(s_nv / S)     q_ng = softmax((t_ng - c) / T)
 * the loss is the mean cross entropy over the P = G (V - 1) pairs of a global view g and another
 * view v:
 *   loss = -1 / (N P) sum_n sum_{g < G} sum_{v != g} sum_k q_ngk log p_nvk
 *   dloss/ds_nv = 1 / (N P S) (m_v p_nv - Q_nv),   Q_nv = sum_{g < G, g != v} q_ng,
 * where m_v is the number of those g. No gradient reaches t. Only global views have targets, the
 * paper's multi-crop. T goes from dino.warmup_temperature to dino.teacher_temperature in equal
 * steps.
 *
 * The centre is a running mean, moved on when the weights were updated, from 0 at first:
 *   c <- m c + (1 - m) mean of t over n and g,   m = dino.centre_momentum.
 * It is made of exact sums, which ride in the small allreduce, so that every rank has the same.
 *
 * entropy is that of the targets, mean of H(q_ng): 0 where each picks one prototype, log K where
 * all are uniform; loss - entropy is the mean divergence of p from q. spread = 1 - |mean t|^2 /
 * mean |t|^2 is 0 where all targets are one point. Centring alone leads to uniform targets, a small
 * T alone to one prototype: nothing but their balance, and the slowness of the target, keeps them
 * from either. */
#include "loss/objective.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum term { LOSS, ENTROPY, SPREAD };
enum { SUM_LOSS, SUM_ENTROPY, SUM_SQUARE, SUM_TARGET }; /* the last: K of t */

struct dino {
    struct lj_objective_shape shape;
    double student, teacher, warmup; /* temperatures; the last at the first step */
    double warmup_steps, momentum;
    double temperature; /* of the targets in this step */
    int64_t blocks;     /* of rows that the global batch adds up, at most */
    int64_t samples;    /* N, after finish */
    float *centre;      /* (K) of this step */
    float *next;        /* (K) after an update */
    float **scratch;    /* (workers) (G + 3, K) */
    double **mean;      /* (workers) (K) */
};

/* ---- creation ---------------------------------------------------------------------------- */

static void destroy(void *state)
{
    struct dino *l = state;
    if (!l)
        return;
    for (int s = 0; s < l->shape.workers; s++) {
        lj_free(l->scratch ? l->scratch[s] : NULL);
        lj_free(l->mean ? l->mean[s] : NULL);
    }
    lj_free(l->scratch);
    lj_free(l->mean);
    lj_free(l->centre);
    lj_free(l->next);
    lj_free(l);
}

static int allocate(struct dino *l)
{
    int64_t K = l->shape.width, rows = l->shape.global_views + 3;
    l->centre = lj_alloc_array(K, sizeof *l->centre, "loss");
    l->next = lj_alloc_array(K, sizeof *l->next, "loss");
    l->scratch = lj_alloc_array(l->shape.workers, sizeof *l->scratch, "loss");
    l->mean = lj_alloc_array(l->shape.workers, sizeof *l->mean, "loss");
    bool good = l->centre && l->next && l->scratch && l->mean;
    for (int s = 0; good && s < l->shape.workers; s++) {
        l->scratch[s] = lj_alloc_array(rows * K, sizeof **l->scratch, "loss");
        l->mean[s] = lj_alloc_array(K, sizeof **l->mean, "loss");
        good = l->scratch[s] && l->mean[s];
    }
    return good ? LJ_OK : LJ_ERR_RESOURCE;
}

static int check(const struct lj_config *config, const struct lj_objective_shape *shape)
{
    (void)config;
    if (shape->width < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "dino.prototypes=%lld: there is nothing to choose from; use at least 2",
                       (long long)shape->width);
    return LJ_OK;
}

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    struct dino *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->shape = *shape;
    l->student = config->dino_student_temperature;
    l->teacher = config->dino_teacher_temperature;
    l->warmup = config->dino_warmup_temperature;
    l->warmup_steps = config->dino_warmup_epochs * shape->epoch;
    l->momentum = config->dino_centre_momentum;
    l->blocks = lj_objective_blocks(shape);
    *sums = SUM_TARGET + shape->width;
    int status = allocate(l);
    if (status == LJ_OK)
        *state = l;
    else
        destroy(l);
    return status;
}

static void begin(void *state, int64_t step)
{
    struct dino *l = state;
    double done = l->warmup_steps > 0 ? fmin((double)step / l->warmup_steps, 1) : 1;
    l->temperature = l->warmup + (l->teacher - l->warmup) * done;
}

/* ---- a sample ---------------------------------------------------------------------------- */

/* sum of a b, in the order of k. */
static double product(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t k = 0; k < count; k++)
        sum += (double)a[k] * (double)b[k];
    return sum;
}

/* softmax(x / temperature) of a row; returns the logarithm of its denominator. x is kept. */
static float distribution(float *p, const float *x, int64_t count, double temperature)
{
    float log_sum;
    memcpy(p, x, (size_t)count * sizeof *p);
    lj_kernels()->softmax(p, LJ_F32, &log_sum, p, 1, count, (float)(1 / temperature));
    return log_sum;
}

/* Targets q of sample i (G, K), and their sum (K) behind them. Returns the sum of their
 * entropies. */
static double take_targets(const struct dino *l, const struct lj_loss_lane *lane, int64_t i,
                           float *target)
{
    int64_t G = l->shape.global_views, K = l->shape.width;
    float *sum = target + G * K, *centred = sum + K;
    double entropy = 0;
    memset(sum, 0, (size_t)K * sizeof *sum);
    for (int64_t g = 0; g < G; g++) {
        const float *t = lane->averaged + (g * lane->n + i) * K;
        float *q = target + g * K;
        for (int64_t k = 0; k < K; k++)
            centred[k] = t[k] - l->centre[k];
        float log_sum = distribution(q, centred, K, l->temperature);
        entropy += (double)log_sum - product(q, centred, K) / l->temperature;
        lj_kernels()->add(sum, q, K);
    }
    return entropy;
}

/* What view v is compared with, Q_nv (K). */
static void others_of(const struct dino *l, const float *target, int64_t v, float *others)
{
    int64_t G = l->shape.global_views, K = l->shape.width;
    const float *sum = target + G * K, *own = target + v * K;
    for (int64_t k = 0; k < K; k++)
        others[k] = sum[k] - (v < G ? own[k] : 0);
}

/* m_v. */
static double targets_of(const struct dino *l, int64_t v)
{
    return (double)(l->shape.global_views - (v < l->shape.global_views));
}

static double pairs(const struct dino *l)
{
    return (double)(l->shape.global_views * (l->shape.views - 1));
}

/* ---- sums -------------------------------------------------------------------------------- */

/* sum_v sum_k -Q log p of sample i, with the targets in scratch. */
static double cross_entropy(const struct dino *l, const struct lj_loss_lane *lane, int64_t i,
                            float *scratch)
{
    int64_t G = l->shape.global_views, V = l->shape.views, K = l->shape.width;
    float *others = scratch + (G + 1) * K, *p = others + K;
    double sum = 0;
    for (int64_t v = 0; v < V; v++) {
        const float *s = lane->proj + (v * lane->n + i) * K;
        float log_sum = distribution(p, s, K, l->student);
        others_of(l, scratch, v, others);
        sum += targets_of(l, v) * (double)log_sum - product(others, s, K) / l->student;
    }
    return sum;
}

/* Adds t of samples [first, end) of the lane, rounded once: its sum, and its mean square, which
 * keeps the sum in range whatever K is. */
static void add_targets(const struct dino *l, const struct lj_loss_lane *lane, int64_t first,
                        int64_t end, int64_t *sums, int64_t *nonfinite)
{
    int64_t K = l->shape.width;
    double *mean = l->mean[lane->worker], square = 0;
    memset(mean, 0, (size_t)K * sizeof *mean);
    for (int64_t g = 0; g < l->shape.global_views; g++)
        for (int64_t i = first; i < end; i++) {
            const float *t = lane->averaged + (g * lane->n + i) * K;
            square += lj_kernels()->square_sum(t, K);
            for (int64_t k = 0; k < K; k++)
                mean[k] += (double)t[k];
        }
    sums[SUM_SQUARE] += lj_to_fixed(l->blocks, square / (double)K, nonfinite);
    for (int64_t k = 0; k < K; k++)
        sums[SUM_TARGET + k] += lj_to_fixed(l->blocks, mean[k], nonfinite);
}

static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct dino *l = state;
    float *scratch = l->scratch[lane->worker];
    double loss = 0, entropy = 0;
    for (int64_t i = 0; i < lane->n; i++) {
        entropy += take_targets(l, lane, i, scratch) / (double)l->shape.global_views;
        loss += cross_entropy(l, lane, i, scratch) / pairs(l);
    }
    sums[SUM_LOSS] += lj_to_fixed(l->shape.lanes, loss, nonfinite);
    sums[SUM_ENTROPY] += lj_to_fixed(l->shape.lanes, entropy, nonfinite);
    for (int64_t first = 0; first < lane->n; first += LJ_BLOCK_ROWS)
        add_targets(l, lane, first, lj_min_i64(first + LJ_BLOCK_ROWS, lane->n), sums, nonfinite);
}

static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct dino *l = state;
    double rows = (double)(samples * l->shape.global_views), square = 0;
    double all = lj_from_fixed(sums[SUM_SQUARE]) / rows * (double)l->shape.width;
    l->samples = samples;
    for (int64_t k = 0; k < l->shape.width; k++) {
        double mean = lj_from_fixed(sums[SUM_TARGET + k]) / rows;
        l->next[k] = (float)(l->momentum * (double)l->centre[k] + (1 - l->momentum) * mean);
        square += mean * mean;
    }
    term[LOSS] = lj_from_fixed(sums[SUM_LOSS]) / (double)samples;
    term[ENTROPY] = lj_from_fixed(sums[SUM_ENTROPY]) / (double)samples;
    term[SPREAD] = all > 0 ? fmax(1 - square / all, 0) : 0;
}

/* ---- gradient ---------------------------------------------------------------------------- */

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct dino *l = state;
    int64_t G = l->shape.global_views, V = l->shape.views, K = l->shape.width;
    float *target = l->scratch[lane->worker], *others = target + (G + 1) * K;
    float scale = (float)(1 / (pairs(l) * (double)l->samples * l->student));
    for (int64_t i = 0; i < lane->n; i++) {
        take_targets(l, lane, i, target);
        for (int64_t v = 0; v < V; v++) {
            int64_t at = (v * lane->n + i) * K;
            float count = (float)targets_of(l, v), *ds = dproj + at;
            distribution(ds, lane->proj + at, K, l->student);
            others_of(l, target, v, others);
            for (int64_t k = 0; k < K; k++)
                ds[k] = scale * (count * ds[k] - others[k]);
        }
    }
}

static double collapse(const struct lj_config *c, const double *term)
{
    (void)c;
    return 1 - term[SPREAD];
}

/* ---- the centre -------------------------------------------------------------------------- */

static void advance(void *state)
{
    struct dino *l = state;
    memcpy(l->centre, l->next, (size_t)l->shape.width * sizeof *l->centre);
}

static int arrays(void *state, struct lj_state_array *array)
{
    struct dino *l = state;
    array[0] = (struct lj_state_array){"centre", "running mean of the targets' cosines",
                                       l->shape.width, l->centre};
    return 1;
}

/* ---- the row ----------------------------------------------------------------------------- */

static int64_t prototypes_of(const struct lj_config *c)
{
    return c->dino_prototypes ? c->dino_prototypes : LJ_PROTOTYPES;
}

static int traffic(struct lj_objective_traffic *traffic, const struct lj_config *c,
                   const struct lj_objective_shape *shape, int ranks)
{
    (void)shape, (void)ranks;
    traffic[0] = lj_objective_message(&lj_objective_dino, SUM_TARGET + prototypes_of(c),
                                      "8 (dino.prototypes + 8)");
    return 1;
}

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "DINO, %lld prototypes, temperatures %g and %g to %g in %g epochs, centre of momentum "
             "%g; targets by an average of the weights of momentum %g, rising to 1 (cosine); mean "
             "over pairs of a global view and another, N global",
             (long long)prototypes_of(c), c->dino_student_temperature, c->dino_warmup_temperature,
             c->dino_teacher_temperature, c->dino_warmup_epochs, c->dino_centre_momentum,
             c->target_momentum);
}

const struct lj_objective_kind lj_objective_dino = {
    .name = "dino",
    .text = "self-distillation with no labels (Caron et al. 2021, arXiv 2104.14294)",
    .needs = LJ_NEED_AVERAGE | LJ_NEED_STATE | LJ_NEED_PROTOTYPES,
    .compares_views = true,
    .message = "dino",
    .message_text = "whatever the batch, the width, the views or the ranks",
    .heuristics = "a target by a moving average of the weights, and its momentum; a centre, and "
                  "its momentum; two temperatures, one with a warm-up; prototypes, held at first",
    .against_collapse = "raise target.momentum, change dino.teacher_temperature",
    .fewer_sums = "fewer dino.prototypes or fewer threads",
    .term = {[LOSS] = {"loss", 5}, [ENTROPY] = {"entropy", 4}, [SPREAD] = {"spread", 4}},
    .check = check,
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .add = add,
    .finish = finish,
    .gradient = gradient,
    .advance = advance,
    .arrays = arrays,
    .collapse = collapse,
    .traffic = traffic,
    .describe = describe,
};
