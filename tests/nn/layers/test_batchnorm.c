/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation over the global batch: lanes of different length act as one, and the running
 * statistics that outside training stand in. */
#include "gradcheck.h"
#include "net_case.h"
#include "random.h"
#include "reference_ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { C = 6, LANES = 3, N = 3 + 40 + 7 };
static const int rows[LANES] = {3, 40, 7};
static const struct lj_shape shape = {1, {C}};
static const int64_t no_sums[2 * C] = {0};

static void begin(struct net_case *c, int64_t images, enum lj_plan_mode mode, bool over_batch)
{
    net_case_begin(c);
    lj_batchnorm(c->net, "norm", lj_input(c->net, shape, true), over_batch);
    net_case_layout(c);
    net_case_plan(c, images, &shape, mode);
}

/* Lane l's share of a sync, and after all lanes the pass itself. */
static void exchange(struct net_case *lane, bool backward, int64_t sums[2 * C])
{
    int64_t nonfinite = 0;
    memcpy(sums, no_sums, sizeof no_sums);
    for (int l = 0; l < LANES; l++)
        (backward ? lj_sync_backward : lj_sync_forward)(lane[l].plan, &lane[l].pass, 1, sums,
                                                        &nonfinite);
    cr_assert_eq(nonfinite, 0);
    for (int l = 0; l < LANES; l++) {
        lane[l].pass.sync = sums;
        lane[l].pass.sync_rows = N;
        (backward ? lj_backward : lj_forward)(lane[l].plan, &lane[l].pass, 1, 2);
    }
}

struct problem {
    double x[N * C], dy[N * C], weight[C], bias[C], y[N * C];
};

static double loss(const double *changed, int64_t n, void *context)
{
    (void)changed, (void)n;
    struct problem *p = context;
    struct reference_op op = {.images = N, .rows = 1, .width = C, .eps = 1e-5};
    reference_batchnorm(&op, p->x, (const double *[]){p->weight, p->bias}, p->y);
    double sum = 0;
    for (int i = 0; i < N * C; i++)
        sum += p->dy[i] * p->y[i];
    return sum;
}

/* Compares the output of all lanes, then writes its gradient: memory may be reused afterwards. */
static void turn(struct net_case *lane, const struct problem *p, const float *dy)
{
    for (int l = 0, at = 0; l < LANES; at += rows[l++]) {
        const float *y = lj_plan_value(lane[l].plan, &lane[l].pass, 1);
        for (int i = 0; i < rows[l] * C; i++)
            cr_assert(fabs((double)y[i] - p->y[at * C + i]) < 2e-5, "lane %d: %g, expected %g", l,
                      (double)y[i], p->y[at * C + i]);
        memcpy(lj_plan_gradient(lane[l].plan, &lane[l].pass, 1), dy + at * C,
               (size_t)(rows[l] * C) * sizeof *dy);
    }
}

Test(batchnorm, lanes_act_as_one_batch)
{
    struct net_case lane[LANES];
    static struct problem p;
    float x[N * C], dy[N * C];
    double dx[N * C], dparam[2][C] = {{0}};
    int64_t sums[2 * C];
    lj_random_normal_f32(x, N * C, 1);
    lj_random_normal_f32(dy, N * C, 2);
    for (int i = 0; i < N * C; i++) { /* far from the running mean, small against it */
        x[i] = 3 + 0.1f * x[i];
        dy[i] *= 0.01f;
        p.x[i] = (double)x[i];
        p.dy[i] = (double)dy[i];
    }
    for (int l = 0, at = 0; l < LANES; at += rows[l++]) {
        begin(&lane[l], rows[l], LJ_PLAN_TRAIN, true);
        memcpy(lj_plan_value(lane[l].plan, &lane[l].pass, 0), x + at * C,
               (size_t)(rows[l] * C) * sizeof *x);
    }
    for (int j = 0; j < C; j++) {
        p.weight[j] = (double)lane[0].weights[lane[0].params.list[0].offset + j];
        p.bias[j] = (double)lane[0].weights[lane[0].params.list[1].offset + j];
    }
    loss(NULL, 0, &p);
    exchange(lane, false, sums);
    turn(lane, &p, dy);
    exchange(lane, true, sums);
    for (int l = 0, at = 0; l < LANES; at += rows[l++]) {
        const float *d = lj_plan_gradient(lane[l].plan, &lane[l].pass, 0);
        for (int i = 0; i < rows[l] * C; i++)
            dx[at * C + i] = (double)d[i];
        for (int i = 0; i < 2 * C; i++)
            dparam[i / C][i % C] +=
                (double)lane[l].gradient[lane[l].params.list[i / C].offset + i % C];
    }
    struct lj_gradcheck check = lj_gradcheck(loss, &p, p.x, N * C, dx, 1e-6);
    lj_gradcheck_assert(&check, 1e-5, "dx");
    check = lj_gradcheck(loss, &p, p.weight, C, dparam[0], 1e-5);
    lj_gradcheck_assert(&check, 1e-6, "dweight");
    check = lj_gradcheck(loss, &p, p.bias, C, dparam[1], 1e-5);
    lj_gradcheck_assert(&check, 1e-6, "dbias");
    for (int l = 0; l < LANES; l++)
        net_case_end(&lane[l]);
}

/* What each lane writes as the statistics' gradient: mean and unbiased variance of its normalisation. */
Test(batchnorm, hands_over_its_statistics)
{
    for (int over_batch = 0; over_batch < 2; over_batch++) {
        struct net_case c;
        float x[9 * C], y[9 * C];
        lj_random_normal_f32(x, 9 * C, 1);
        begin(&c, 9, LJ_PLAN_TRAIN, over_batch);
        net_case_forward(&c, x, y);
        net_case_backward(&c, x, y);
        for (int j = 0; j < C; j++) {
            double mean = 0, var = 0;
            for (int r = 0; r < 9; r++)
                mean += (double)x[r * C + j] / 9;
            for (int r = 0; r < 9; r++)
                var += ((double)x[r * C + j] - mean) * ((double)x[r * C + j] - mean) / 8;
            cr_assert_float_eq((double)c.gradient[c.params.list[2].offset + j], mean, 1e-6);
            cr_assert_float_eq((double)c.gradient[c.params.list[3].offset + j], var, 1e-6);
        }
        net_case_end(&c);
    }
}

Test(batchnorm, evaluates_with_running_statistics)
{
    struct net_case c;
    float x[4 * C], y[4 * C];
    lj_random_normal_f32(x, 4 * C, 1);
    begin(&c, 4, LJ_PLAN_INFER, false);
    c.pass.train = false;
    float *w[4];
    for (int p = 0; p < 4; p++)
        w[p] = c.weights + c.params.list[p].offset;
    for (int j = 0; j < C; j++)
        w[3][j] = 0.5f + (float)j;
    net_case_forward(&c, x, y);
    for (int i = 0; i < 4 * C; i++) {
        int j = i % C;
        double xhat = ((double)x[i] - (double)w[2][j]) / sqrt((double)w[3][j] + 1e-5);
        cr_assert_float_eq((double)y[i], xhat * (double)w[0][j] + (double)w[1][j], 1e-6);
    }
    net_case_end(&c);
}
