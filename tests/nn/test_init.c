/* SPDX-License-Identifier: Apache-2.0 */
/* Initial values: what they are drawn from, and that a rank may ask for its shards alone. */
#include "kernels/kernels.h"
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 7 * 4096, NORMALS = 20011, UNIFORMS = 5000 };

static struct lj_param list[] = {
    {.name = "normal", .count = NORMALS, .init = LJ_INIT_NORMAL, .init_scale = 0.02},
    {.name = "one", .count = 33, .offset = 20016, .init = LJ_INIT_ONE},
    {.name = "uniform",
     .count = UNIFORMS,
     .offset = 20064,
     .init = LJ_INIT_UNIFORM,
     .init_scale = 0.25},
    {.name = "zero", .count = 16, .offset = 25072, .init = LJ_INIT_ZERO},
    {.name = "again", .count = 3000, .offset = 25088, .init = LJ_INIT_NORMAL, .init_scale = 0.02},
    {.name = "wide", .count = 400, .offset = 28096, .init = LJ_INIT_NORMAL, .init_scale = 3},
};
static const struct lj_params params = {.list = list, .count = 6, .elements = ELEMENTS};

static float *whole(int64_t seed)
{
    float *values = malloc(ELEMENTS * sizeof *values);
    for (int i = 0; i < ELEMENTS; i++)
        values[i] = 7;
    lj_params_init(&params, seed, 0, ELEMENTS, values);
    return values;
}

/* Mean of the n-th powers. */
static double moment(const float *x, int64_t count, int n)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += pow((double)x[i], n);
    return sum / (double)count;
}

/* Bounds: six standard errors of each moment. */
Test(init, draws_what_was_asked_for)
{
    float *x = whole(3);
    double error = 6 / sqrt(NORMALS), s = 0.02;
    cr_assert(fabs(moment(x, NORMALS, 1)) < error * s);
    cr_assert(fabs(moment(x, NORMALS, 2) / (s * s) - 1) < error * sqrt(2));
    cr_assert(fabs(moment(x, NORMALS, 4) / (s * s * s * s) - 3) < error * sqrt(96));
    for (int i = 0; i < 33; i++)
        cr_assert(x[20016 + i] == 1);
    error = 6 / sqrt(UNIFORMS);
    cr_assert(fabs(moment(x + 20064, UNIFORMS, 1)) < error * 0.25 / sqrt(3));
    cr_assert(fabs(moment(x + 20064, UNIFORMS, 2) * 48 - 1) < error * 0.9);
    for (int i = 0; i < UNIFORMS; i++)
        cr_assert(fabsf(x[20064 + i]) <= 0.25f);
    for (int i = 0; i < 16; i++)
        cr_assert(x[25072 + i] == 0);
    for (int i = NORMALS; i < 20016; i++)
        cr_assert(x[i] == 0, "padding %d", i);
    for (int i = 28088; i < 28096; i++)
        cr_assert(x[i] == 0, "padding %d", i);
    cr_assert(fabs(moment(x + 28096, 400, 2) / 9 - 1) < 6 * sqrt(2) / 20, "cut");
    for (int i = 28496; i < ELEMENTS; i++)
        cr_assert(x[i] == 0, "padding %d", i);
    free(x);
}

/* No two tensors, blocks of a tensor, or seeds share numbers. */
Test(init, streams_are_apart)
{
    float *x = whole(3), *y = whole(4);
    for (int i = 0; i < 3000; i++) {
        cr_assert(x[i] != x[25088 + i], "tensors share element %d", i);
        cr_assert(x[i] != x[4096 + i], "blocks share element %d", i);
        cr_assert(x[i] != y[i], "seeds share element %d", i);
    }
    free(x);
    free(y);
}

Test(init, any_range_has_the_same_bits)
{
    static const int64_t cut[] = {0, 1, 4096, 4097, 12000, 20017, 20017, 24576, 28672};
    float *x = whole(3), *shards = malloc(ELEMENTS * sizeof *shards);
    for (size_t i = 0; i + 1 < sizeof cut / sizeof *cut; i++)
        lj_params_init(&params, 3, cut[i], cut[i + 1] - cut[i], shards + cut[i]);
    cr_assert_eq(memcmp(x, shards, ELEMENTS * sizeof *x), 0);
    free(x);
    free(shards);
}
