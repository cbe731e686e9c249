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

enum { C = 6, LANES = 3, N = 3 + 40 + 7, POSITIONS_MAX = 12, ROWS_MAX = N * POSITIONS_MAX };
static const int images_of[LANES] = {3, 40, 7};
static const struct lj_shape row = {1, {C}};
static const int64_t no_sums[2 * C] = {0};

static void begin(struct net_case *c, const struct lj_shape *shape, int64_t images,
                  enum lj_plan_mode mode, bool over_batch)
{
    net_case_begin(c);
    lj_batchnorm(c->net, "norm", lj_input(c->net, *shape, true), over_batch);
    net_case_layout(c);
    net_case_plan(c, images, shape, mode);
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
        lane[l].pass.sync_images = N;
        (backward ? lj_backward : lj_forward)(lane[l].plan, &lane[l].pass, 1, 2);
    }
}

struct problem {
    int64_t positions;
    double x[ROWS_MAX * C], dy[ROWS_MAX * C], weight[C], bias[C], y[ROWS_MAX * C];
};

static double loss(const double *changed, int64_t n, void *context)
{
    (void)changed, (void)n;
    struct problem *p = context;
    struct reference_op op = {.images = N, .rows = p->positions, .width = C, .eps = 1e-5};
    reference_batchnorm(&op, p->x, (const double *[]){p->weight, p->bias}, p->y);
    double sum = 0;
    for (int64_t i = 0; i < N * p->positions * C; i++)
        sum += p->dy[i] * p->y[i];
    return sum;
}

/* Elements of lane l. */
static int64_t elements_of(const struct problem *p, int l)
{
    return images_of[l] * p->positions * C;
}

/* Compares the output of all lanes, then writes its gradient: memory may be reused afterwards. */
static void turn(struct net_case *lane, const struct problem *p, const float *dy)
{
    int64_t at = 0;
    for (int l = 0; l < LANES; at += elements_of(p, l++)) {
        const float *y = lj_plan_value(lane[l].plan, &lane[l].pass, 1);
        for (int64_t i = 0; i < elements_of(p, l); i++)
            cr_assert(fabs((double)y[i] - p->y[at + i]) < 2e-5, "lane %d: %g, expected %g", l,
                      (double)y[i], p->y[at + i]);
        memcpy(lj_plan_gradient(lane[l].plan, &lane[l].pass, 1), dy + at,
               (size_t)elements_of(p, l) * sizeof *dy);
    }
}

static void check_one_batch(const struct lj_shape *shape)
{
    struct net_case lane[LANES];
    static struct problem p;
    static float x[ROWS_MAX * C], dy[ROWS_MAX * C];
    static double dx[ROWS_MAX * C];
    double dparam[2][C] = {{0}};
    int64_t sums[2 * C], at = 0;
    p.positions = lj_shape_rows(shape);
    int64_t all = N * p.positions * C;
    lj_random_normal_f32(x, all, 1);
    lj_random_normal_f32(dy, all, 2);
    for (int64_t i = 0; i < all; i++) { /* far from the running mean, small against it */
        x[i] = 3 + 0.1f * x[i];
        dy[i] *= 0.01f;
        p.x[i] = (double)x[i];
        p.dy[i] = (double)dy[i];
    }
    for (int l = 0; l < LANES; at += elements_of(&p, l++)) {
        begin(&lane[l], shape, images_of[l], LJ_PLAN_TRAIN, true);
        memcpy(lj_plan_value(lane[l].plan, &lane[l].pass, 0), x + at,
               (size_t)elements_of(&p, l) * sizeof *x);
    }
    for (int j = 0; j < C; j++) {
        p.weight[j] = (double)lane[0].weights[lane[0].params.list[0].offset + j];
        p.bias[j] = (double)lane[0].weights[lane[0].params.list[1].offset + j];
    }
    loss(NULL, 0, &p);
    exchange(lane, false, sums);
    turn(lane, &p, dy);
    exchange(lane, true, sums);
    at = 0;
    for (int l = 0; l < LANES; at += elements_of(&p, l++)) {
        const float *d = lj_plan_gradient(lane[l].plan, &lane[l].pass, 0);
        for (int64_t i = 0; i < elements_of(&p, l); i++)
            dx[at + i] = (double)d[i];
        for (int i = 0; i < 2 * C; i++)
            dparam[i / C][i % C] +=
                (double)lane[l].gradient[lane[l].params.list[i / C].offset + i % C];
    }
    struct lj_gradcheck check = lj_gradcheck(loss, &p, p.x, all, dx, 1e-6);
    lj_gradcheck_assert(&check, 1e-5, "dx");
    check = lj_gradcheck(loss, &p, p.weight, C, dparam[0], 1e-5);
    lj_gradcheck_assert(&check, 2e-6, "dweight");
    check = lj_gradcheck(loss, &p, p.bias, C, dparam[1], 1e-5);
    lj_gradcheck_assert(&check, 1e-6, "dbias");
    for (int l = 0; l < LANES; l++)
        net_case_end(&lane[l]);
}

Test(batchnorm, lanes_act_as_one_batch)
{
    check_one_batch(&row);
    check_one_batch(&(struct lj_shape){2, {5, C}});
    check_one_batch(&(struct lj_shape){3, {3, 4, C}});
}

/* A million images of 128 x 128 positions, 20 away from the running mean: their sums fit as those
 * of a million rows would. */
Test(batchnorm, range_of_the_sums_does_not_shrink_with_the_image)
{
    enum { SIDE = 128 };
    struct lj_shape shape = {3, {SIDE, SIDE, 1}};
    struct net_case c;
    int64_t sums[2] = {0}, nonfinite = 0;
    begin(&c, &shape, 1, LJ_PLAN_TRAIN, true);
    c.weights[c.params.list[2].offset] = 0;
    float *x = lj_plan_value(c.plan, &c.pass, 0);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = 20;
    c.pass.sync_images = 1 << 20;
    lj_sync_forward(c.plan, &c.pass, 1, sums, &nonfinite);
    cr_assert_eq(nonfinite, 0);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = 100;
    lj_sync_forward(c.plan, &c.pass, 1, sums, &nonfinite);
    cr_assert_gt(nonfinite, 0, "far out of range");
    net_case_end(&c);
}

/* Sums over the many rows of large images keep their digits, though single products are float32. */
Test(batchnorm, many_rows_keep_their_digits)
{
    enum { SIDE = 64, IMAGES = 16, ROWS = IMAGES * SIDE * SIDE };
    struct lj_shape shape = {3, {SIDE, SIDE, 1}};
    static float x[ROWS], y[ROWS], dy[ROWS];
    struct net_case c;
    double mean = 0, sum = 0;
    lj_random_normal_f32(x, ROWS, 1);
    lj_random_normal_f32(dy, ROWS, 2);
    for (int i = 0; i < ROWS; i++) {
        x[i] += 1000;
        dy[i] += 1;
        mean += (double)x[i] / ROWS;
        sum += (double)dy[i];
    }
    begin(&c, &shape, IMAGES, LJ_PLAN_TRAIN, false);
    net_case_forward(&c, x, y);
    net_case_backward(&c, dy, NULL);
    cr_assert_float_eq((double)c.gradient[c.params.list[2].offset], mean, 1e-4);
    cr_assert_float_eq((double)c.gradient[c.params.list[1].offset], sum, 1e-6 * sum);
    net_case_end(&c);
}

/* The statistics of a lane are put together of stretches of rows, the last of them shorter: here
 * their means lie many deviations apart, as those of images of another brightness do. */
Test(batchnorm, images_far_apart_make_one_variance)
{
    enum { SIDE = 19, IMAGES = 3, ROWS = IMAGES * SIDE * SIDE };
    struct lj_shape shape = {3, {SIDE, SIDE, 1}};
    static float x[ROWS], y[ROWS];
    struct net_case c;
    double mean = 0, var = 0;
    lj_random_normal_f32(x, ROWS, 1);
    for (int i = 0; i < ROWS; i++) {
        x[i] += (float)(50 * (i / (SIDE * SIDE)) - 300);
        mean += (double)x[i] / ROWS;
    }
    for (int i = 0; i < ROWS; i++)
        var += ((double)x[i] - mean) * ((double)x[i] - mean) / (ROWS - 1);
    begin(&c, &shape, IMAGES, LJ_PLAN_TRAIN, false);
    c.weights[c.params.list[0].offset] = 1;
    c.weights[c.params.list[1].offset] = 0;
    net_case_forward(&c, x, y);
    net_case_backward(&c, x, NULL);
    cr_assert_float_eq((double)c.gradient[c.params.list[2].offset], mean, 1e-6 * fabs(mean));
    cr_assert_float_eq((double)c.gradient[c.params.list[3].offset], var, 1e-6 * var);
    for (int i = 0; i < ROWS; i++)
        cr_assert_float_eq((double)y[i], ((double)x[i] - mean) / sqrt(var * (ROWS - 1) / ROWS),
                           1e-5);
    net_case_end(&c);
}

/* What each lane writes as the statistics' gradient: mean and unbiased variance of its
 * normalisation, times the pass's share; a second pass adds its own. */
Test(batchnorm, hands_over_its_statistics)
{
    for (int over_batch = 0; over_batch < 2; over_batch++) {
        struct net_case c;
        float x[9 * C], y[9 * C];
        lj_random_normal_f32(x, 9 * C, 1);
        begin(&c, &row, 9, LJ_PLAN_TRAIN, over_batch);
        c.pass.statistic_share = 0.75f;
        net_case_forward(&c, x, y);
        net_case_backward(&c, x, y);
        c.pass.statistic_share = 0.25f;
        c.pass.gradient_add = true;
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
    begin(&c, &row, 4, LJ_PLAN_INFER, false);
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
