/* SPDX-License-Identifier: Apache-2.0 */
/* Known values of the Epps-Pulley statistic: the grids' weights, expectations under N(0,1), closed
 * forms of degenerate samples, and hand-computed values and gradients of small samples, all worked
 * out in double precision apart from this program. One dimension and one slice make x the
 * projection. */
#include "loss/loss.h"

#include "loss_case.h"
#include "mpi_case.h"
#include "random.h"
#include "reference_loss.h"

#include <math.h>

/* Statistic of x (n) and its gradient, in lanes of lane_rows. */
static double statistic(struct lj_comm *comm, enum lj_sigreg_grid grid, const float *x, int64_t n,
                        int64_t lane_rows, float *dx)
{
    static const float one = 2; /* normalised by the loss */
    struct loss_batch batch = {.config = {.views = 1,
                                          .centre_views = 1,
                                          .width = 1,
                                          .slices = 1,
                                          .grid = grid,
                                          .lambda = 1,
                                          .workers = 1,
                                          .lanes = 1,
                                          .lane_rows = lane_rows},
                               .samples = n,
                               .z = x,
                               .slices = &one};
    struct loss_terms terms;
    cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, dx, NULL), LJ_OK);
    cr_assert_eq(terms.samples, n);
    cr_assert_eq(terms.nonfinite, 0);
    cr_assert_eq(terms.prediction, 0);
    cr_assert_eq(terms.total, terms.sigreg);
    return terms.sigreg;
}

static void assert_near(double value, double expected, double tolerance, const char *what)
{
    cr_assert(fabs(value - expected) <= tolerance, "%s: %.12g, expected %.12g", what, value,
              expected);
}

Test(sigreg, weights_of_both_grids)
{
    static const double a[] = {0.368465801, 0.349538435, 0.320128636, 0.283064851,
                               0.241645772, 0.199160997, 0.158475166, 0.121744675,
                               0.090296428, 0.064658109, 0.044699973, 0.029834816,
                               0.019225219, 0.011960548, 0.007183939, 0.002082937};
    /* grid b: +-t are one knot */
    static const double b[] = {0.514110976, 0.286145851, 0.107763515, 0.027460584,
                               0.004734798, 0.000552391, 0.000043606, 0.000001165};
    double t[LJ_KNOTS_MAX], w[LJ_KNOTS_MAX];
    cr_assert_eq(lj_sigreg_knots(LJ_SIGREG_GRID_A, t, w), 16);
    double sum = 0.1875;
    for (int k = 0; k < 16; k++) {
        assert_near(t[k], 3.0 * (k + 1) / 16, 0, "knot a");
        assert_near(w[k], a[k], 6e-10, "weight a");
        sum += w[k];
    }
    assert_near(sum, 2.4996663001, 1e-10, "sum a");
    cr_assert_eq(lj_sigreg_knots(LJ_SIGREG_GRID_B, t, w), 8);
    sum = 0.625;
    for (int k = 0; k < 8; k++) {
        assert_near(t[k], 5.0 * (k + 1) / 8, 0, "knot b");
        assert_near(w[k], 2 * b[k], 1.2e-9, "weight b");
        sum += w[k];
    }
    assert_near(sum, 2.5066257729, 1e-10, "sum b");
}

Test(sigreg, floors)
{
    assert_near(lj_sigreg_floor(LJ_SIGREG_GRID_A), 1.0524641548, 1e-10, "floor a");
    assert_near(lj_sigreg_floor(LJ_SIGREG_GRID_B), 1.0594231238, 1e-10, "floor b");
}

Test(sigreg, collapsed)
{
    assert_near(lj_sigreg_collapsed(LJ_SIGREG_GRID_A), 0.4020475797, 1e-10, "collapsed a");
    assert_near(lj_sigreg_collapsed(LJ_SIGREG_GRID_B), 0.4089207202, 1e-10, "collapsed b");
}

struct sample {
    int n;
    float x[5];
    double value[2], gradient[2][5]; /* grids a, b */
};

static const struct sample samples[] = {
    {5,
     {-2, -1, 0, 1, 2},
     {0.929236357450, 0.930232302712},
     {{-0.3901769907, -1.0755195652, 0, 1.0755195652, 0.3901769907},
      {-0.3898088640, -1.0755846579, 0, 1.0755846579, 0.3898088640}}},
    {4,
     {0.5, 0.5, 0.5, 0.5},
     {2.466946937902, 2.494783280319},
     {{0.8322630241, 0.8322630241, 0.8322630241, 0.8322630241},
      {0.8325331483, 0.8325331483, 0.8325331483, 0.8325331483}}},
    {4,
     {-1.5f, -0.3f, 0.2f, 0.9f},
     {0.075558910791, 0.077802816045},
     {{-0.1067470041, 0.0221161157, -0.0215879889, -0.2750979062},
      {-0.1116673299, 0.0331136012, -0.0176551407, -0.2848185776}}},
    /* all in one point: the gradient vanishes there */
    {3, {0, 0, 0}, {3 * 0.4020475797, 3 * 0.4089207202}, {{0}, {0}}},
    {4,
     {1, -1, 1, -1},
     {4 * 0.1028296160, 4 * 0.1093572147},
     {{NAN, NAN, NAN, NAN}, {NAN, NAN, NAN, NAN}}},
};

Test(sigreg, values_and_gradients_of_small_samples, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++)
        for (int g = 0; g < 2; g++)
            for (int64_t rows = 1; rows <= samples[s].n; rows++) {
                float dx[5];
                double value =
                    statistic(comm, (enum lj_sigreg_grid)g, samples[s].x, samples[s].n, rows, dx);
                assert_near(value, samples[s].value[g], 3e-6, "statistic");
                for (int i = 0; i < samples[s].n; i++)
                    if (!isnan(samples[s].gradient[g][i]))
                        assert_near((double)dx[i], samples[s].gradient[g][i], 2e-6, "gradient");
            }
    lj_case_end(comm);
}

/* Two clusters at +-s, 16 samples: the gradient fades as they collapse. */
Test(sigreg, gradient_fades_at_collapse, .timeout = 60)
{
    static const double s[] = {1, 0.1, 0.01, 0.001}, size[] = {0.707, 0.301, 0.031, 0.0031};
    struct lj_comm *comm = lj_case_begin();
    for (int i = 0; i < 4; i++) {
        float x[16], dx[16];
        for (int j = 0; j < 16; j++)
            x[j] = (float)(j % 2 ? s[i] : -s[i]);
        statistic(comm, LJ_SIGREG_GRID_A, x, 16, 16, dx);
        for (int j = 0; j < 16; j++)
            assert_near(fabs((double)dx[j]), size[i], 0.02 * size[i], "gradient");
    }
    lj_case_end(comm);
}

/* One view at full size against double: the value to 1e-5 of itself, the gradient to 1e-5 of its
 * largest element. */
Test(sigreg, full_size, .timeout = 100)
{
    enum { N = 256, D = 64, M = 1024 };
    static float z[N * D], slices[D * M], dz[N * D];
    static double z64[N * D], slices64[D * M], expected[N * D];
    struct lj_comm *comm = lj_case_begin();
    lj_random_normal_f32(z, N * D, 6);
    lj_random_normal_f32(slices, D * M, 7);
    for (int i = 0; i < N * D; i++) {
        z[i] = 1.5f * z[i] + (i % D == 3 ? 4.0f : 0.0f); /* some way off N(0,1) */
        z64[i] = (double)z[i];
    }
    for (int i = 0; i < D * M; i++)
        slices64[i] = (double)slices[i];
    for (int g = 0; g < 2; g++) {
        struct reference_loss reference = {.views = 1,
                                           .centre_views = 1,
                                           .samples = N,
                                           .width = D,
                                           .slices = M,
                                           .grid = (enum lj_sigreg_grid)g,
                                           .lambda = 1,
                                           .slice = slices64};
        struct loss_batch batch = {.config = {.views = 1,
                                              .centre_views = 1,
                                              .width = D,
                                              .slices = M,
                                              .grid = (enum lj_sigreg_grid)g,
                                              .lambda = 1,
                                              .workers = 1,
                                              .lanes = 1,
                                              .lane_rows = N},
                                   .samples = N,
                                   .z = z,
                                   .slices = slices};
        struct loss_terms terms;
        double value = reference_lejepa(&reference, z64, expected).sigreg, largest = 0;
        cr_assert_eq(loss_case_run(comm, &batch, NULL, &terms, dz, NULL), LJ_OK);
        assert_near(terms.sigreg, value, 1e-5 * value, "statistic");
        for (int i = 0; i < N * D; i++)
            largest = fmax(largest, fabs(expected[i]));
        for (int i = 0; i < N * D; i++)
            assert_near((double)dz[i], expected[i], 1e-5 * largest, "gradient");
    }
    lj_case_end(comm);
}

/* Far projections: |t x| up to 50, and near 0 and multiples of pi, where recurrences lose
 * digits. */
Test(sigreg, far_projections, .timeout = 60)
{
    enum { N = 70 };
    struct lj_comm *comm = lj_case_begin();
    double one = 1, z[N], dz[N];
    float x[N], dx[N];
    for (int g = 0; g < 2; g++) {
        float reach = 50.0f / (g ? 5.0f : 3.0f), step = g ? 0.625f : 0.1875f;
        lj_random_between_f32(x, N, -reach, reach, 5);
        for (int i = 0; i < 5; i++) {
            x[i] = (float)i * (float)M_PI / step * (g ? 1.0f : 0.25f);
            x[i + 5] = (i % 2 ? -1.0f : 1.0f) * powf(10, (float)(-4 * i));
        }
        for (int i = 0; i < N; i++)
            z[i] = (double)x[i];
        struct reference_loss reference = {.views = 1,
                                           .centre_views = 1,
                                           .samples = N,
                                           .width = 1,
                                           .slices = 1,
                                           .grid = (enum lj_sigreg_grid)g,
                                           .lambda = 1,
                                           .slice = &one};
        double expected = reference_lejepa(&reference, z, dz).sigreg;
        double value = statistic(comm, (enum lj_sigreg_grid)g, x, N, N, dx);
        assert_near(value, expected, 2e-5 * expected, "statistic");
        for (int i = 0; i < N; i++)
            assert_near((double)dx[i], dz[i], 2e-5, "gradient");
    }
    lj_case_end(comm);
}
