/* SPDX-License-Identifier: Apache-2.0 */
/* Every layer against its formula in double: values directly, gradients by central differences of
 * the double form; then against PyTorch. A layer without a row in the table fails the suite. */
#include "layer_cases.h"

#include "golden.h"
#include "gradcheck.h"
#include "net_case.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-5; /* of max(1, value): float32 sums of up to 50 terms */

Test(layers, every_kind_has_a_case)
{
    int count, found;
    const struct lj_layer_kind *const *kinds = lj_layer_kinds(&count);
    cr_assert_gt(count, 1);
    for (int k = 0; k < count; k++) {
        found = strcmp(kinds[k]->name, "input") == 0; /* computes nothing */
        for (int i = 0; i < layer_case_count; i++)
            found += strcmp(kinds[k]->name, layer_cases[i].kind) == 0;
        cr_assert_gt(found, 0, "layer kind %s has no row in layer_cases.c", kinds[k]->name);
    }
}

/* ---- against the reference --------------------------------------------------------------- */

/* The net y = layer_1(x) + layer_2(x): the second stores its gradient at x, the first adds. */
struct twins {
    const struct layer_case *layer;
    struct net_case net;
    int64_t inputs, outputs, values; /* values: x, then all parameters as in the table */
    double *value;                   /* (values) */
    float *x, *y, *dy, *dx;
    double *part; /* (outputs) of one layer */
};

static void begin(struct twins *t, const struct layer_case *layer)
{
    *t = (struct twins){.layer = layer};
    net_case_begin(&t->net);
    lj_val x = lj_input(t->net.net, layer->built, !layer->no_dx), y[2];
    for (int i = 0; i < 2; i++) {
        lj_net_scope(t->net.net, -1, "%d", i);
        y[i] = layer->build(t->net.net, layer, x);
    }
    lj_residual(t->net.net, "sum", y[0], y[1], 0, 0);
    net_case_layout(&t->net);
    net_case_plan(&t->net, layer->images, &layer->pass, LJ_PLAN_TRAIN);
    t->inputs = net_case_inputs(&t->net, &layer->pass);
    t->outputs = net_case_outputs(&t->net);
    t->values = t->inputs;
    for (int p = 0; p < t->net.params.count; p++)
        t->values += t->net.params.list[p].count;
    t->value = calloc((size_t)(t->values + t->outputs), sizeof *t->value);
    t->part = t->value + t->values;
    t->x = calloc((size_t)(2 * (t->inputs + t->outputs)), sizeof *t->x);
    t->dx = t->x + t->inputs;
    t->y = t->dx + t->inputs;
    t->dy = t->y + t->outputs;
    lj_random_normal_f32(t->x, t->inputs, 1);
    lj_random_normal_f32(t->dy, t->outputs, 2);
}

static void end(struct twins *t)
{
    free(t->value);
    free(t->x);
    net_case_end(&t->net);
}

/* Copies x and an array laid out like the parameters into doubles. */
static void widen(const struct twins *t, const float *x, const float *params, double *out)
{
    for (int64_t i = 0; i < t->inputs; i++)
        *out++ = (double)x[i];
    for (int p = 0; p < t->net.params.count; p++) {
        const struct lj_param *param = &t->net.params.list[p];
        for (int64_t i = 0; i < param->count; i++)
            *out++ = (double)params[param->offset + i];
    }
}

/* y of layer i by its formula. */
static void reference_layer(const struct twins *t, int i, double *y)
{
    const double *p[LJ_NODE_PARAMS_MAX] = {NULL}, *at = t->value + t->inputs;
    int half = t->net.params.count / 2;
    for (int k = 0; k < 2 * half; k++) {
        if (k / half == i)
            p[k % half] = at;
        at += t->net.params.list[k].count;
    }
    t->layer->reference(&t->layer->op, t->value, p, y);
}

static double loss(const double *x, int64_t n, void *context)
{
    (void)x, (void)n; /* lj_gradcheck changes t->value in place */
    const struct twins *t = context;
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        reference_layer(t, i, t->part);
        for (int64_t k = 0; k < t->outputs; k++)
            sum += (double)t->dy[k] * t->part[k];
    }
    return sum;
}

static void check_values(const struct twins *t)
{
    double *sum = calloc((size_t)t->outputs, sizeof *sum);
    for (int i = 0; i < 2; i++) {
        reference_layer(t, i, t->part);
        for (int64_t k = 0; k < t->outputs; k++)
            sum[k] += t->part[k];
    }
    for (int64_t k = 0; k < t->outputs; k++)
        cr_assert(fabs((double)t->y[k] - sum[k]) <= tolerance * fmax(1, fabs(sum[k])),
                  "%s: output %lld is %.9g, expected %.9g", t->layer->name, (long long)k,
                  (double)t->y[k], sum[k]);
    free(sum);
}

static void check_gradients(struct twins *t)
{
    double *gradient = calloc((size_t)t->values, sizeof *gradient), *at = gradient + t->inputs;
    widen(t, t->dx, t->net.gradient, gradient);
    struct lj_gradcheck check = {0};
    if (!t->layer->no_dx)
        check = lj_gradcheck(loss, t, t->value, t->inputs, gradient, 1e-5);
    lj_gradcheck_assert(&check, tolerance, t->layer->name);
    for (int p = 0; p < t->net.params.count; p++) {
        const struct lj_param *param = &t->net.params.list[p];
        if (param->role == LJ_ROLE_WEIGHT) {
            check = lj_gradcheck(loss, t, t->value + (at - gradient), param->count, at, 1e-5);
            lj_gradcheck_assert(&check, tolerance, param->name);
        }
        at += param->count;
    }
    free(gradient);
}

/* A second run of the same lane adds its gradient to the first one's. */
static void check_second_run(struct twins *t)
{
    float *once = calloc((size_t)t->net.params.elements, sizeof *once);
    memcpy(once, t->net.gradient, (size_t)t->net.params.elements * sizeof *once);
    t->net.pass.gradient_add = true;
    net_case_forward(&t->net, t->x, t->y);
    net_case_backward(&t->net, t->dy, NULL);
    for (int p = 0; p < t->net.params.count; p++) {
        const struct lj_param *param = &t->net.params.list[p];
        for (int64_t i = param->offset; i < param->offset + param->count; i++)
            cr_assert(fabs((double)t->net.gradient[i] - 2 * (double)once[i]) <=
                          tolerance * fmax(1, fabs((double)once[i])),
                      "%s: %g after two runs, %g after one", param->name,
                      (double)t->net.gradient[i], (double)once[i]);
    }
    free(once);
}

Test(layers, agree_with_their_formulas)
{
    for (int i = 0; i < layer_case_count; i++) {
        struct twins t;
        begin(&t, &layer_cases[i]);
        widen(&t, t.x, t.net.weights, t.value);
        net_case_forward(&t.net, t.x, t.y);
        check_values(&t);
        net_case_backward(&t.net, t.dy, t.layer->no_dx ? NULL : t.dx);
        check_gradients(&t);
        check_second_run(&t);
        end(&t);
    }
}

/* ---- in bf16 ----------------------------------------------------------------------------- */

/* Values, gradients at the input and at the parameters of one pass, one behind the other. */
static float *pass_of(struct twins *t, int64_t *count)
{
    int64_t inputs = t->layer->no_dx ? 0 : t->inputs;
    *count = t->outputs + inputs + t->values - t->inputs;
    float *all = calloc((size_t)*count, sizeof *all), *at = all + t->outputs + inputs;
    net_case_forward(&t->net, t->x, all);
    net_case_backward(&t->net, t->dy, inputs ? all + t->outputs : NULL);
    for (int p = 0; p < t->net.params.count; p++) {
        const struct lj_param *param = &t->net.params.list[p];
        memcpy(at, t->net.gradient + param->offset, (size_t)param->count * sizeof *at);
        at += param->count;
    }
    return all;
}

/* The form for the gradient at the input is made where that gradient is. */
static void check_packed_forms(const struct twins *t)
{
    for (int p = 0; p < t->net.params.count; p++) {
        const struct lj_param *param = &t->net.params.list[p];
        bool down = param->matrix && !t->layer->no_dx;
        cr_assert_eq(param->pack[LJ_PACK_FORWARD] >= 0, param->matrix, "%s", param->name);
        cr_assert_eq(param->pack[LJ_PACK_INPUT_GRADIENT] >= 0, down, "%s", param->name);
    }
}

/* Every layer, also where only one side of it is bf16, stays within its rounding of float32. */
Test(layers, bf16_plans_stay_close)
{
    enum lj_isa isa;
    cr_assert_eq(lj_isa_best(&isa), LJ_OK);
    if (isa < LJ_ISA_AVX512BF16)
        cr_skip("this processor has no bf16 products");
    for (int i = 0; i < layer_case_count; i++) {
        struct twins t;
        int64_t count;
        begin(&t, &layer_cases[i]);
        float *whole = pass_of(&t, &count);
        net_case_bf16(&t.net);
        check_packed_forms(&t);
        net_case_plan(&t.net, t.layer->images, &t.layer->pass, LJ_PLAN_TRAIN);
        float *bf16 = pass_of(&t, &count);
        for (int64_t k = 0; k < count; k++)
            cr_assert(fabsf(bf16[k] - whole[k]) <= 0.06f * fmaxf(1, fabsf(whole[k])),
                      "%s: number %lld is %g in bf16, %g in float32", t.layer->name, (long long)k,
                      (double)bf16[k], (double)whole[k]);
        free(whole);
        free(bf16);
        end(&t);
    }
}

/* ---- against PyTorch --------------------------------------------------------------------- */

static struct lj_golden golden(const struct layer_case *layer, const char *what, int number)
{
    char path[128];
    snprintf(path, sizeof path, number < 0 ? "%s/%s" : "%s/%s%d", layer->name, what, number);
    return lj_golden_f32("layers.h5", path);
}

static void compare(const struct layer_case *layer, const char *what, int number, const float *got,
                    int64_t count)
{
    struct lj_golden expected = golden(layer, what, number);
    cr_assert_eq(expected.count, count, "%s/%s has %lld elements, not %lld", layer->name, what,
                 (long long)expected.count, (long long)count);
    double largest = 1;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)expected.f32[i]));
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)got[i] - (double)expected.f32[i]) <= tolerance * largest,
                  "%s/%s%d: element %lld is %.9g, PyTorch has %.9g", layer->name, what, number,
                  (long long)i, (double)got[i], (double)expected.f32[i]);
    lj_golden_free(&expected);
}

static void load_params(const struct layer_case *layer, struct net_case *c)
{
    for (int p = 0; p < c->params.count; p++) {
        const struct lj_param *param = &c->params.list[p];
        if (param->role == LJ_ROLE_STATISTIC)
            continue;
        struct lj_golden values = golden(layer, "p", p);
        cr_assert_eq(values.count, param->count, "%s", param->name);
        memcpy(c->weights + param->offset, values.f32, (size_t)param->count * sizeof(float));
        lj_golden_free(&values);
    }
}

static void golden_case(const struct layer_case *layer)
{
    struct net_case c;
    net_case_begin(&c);
    layer->build(c.net, layer, lj_input(c.net, layer->built, !layer->no_dx));
    net_case_layout(&c);
    load_params(layer, &c);
    net_case_plan(&c, layer->images, &layer->pass, LJ_PLAN_TRAIN);
    int64_t inputs = net_case_inputs(&c, &layer->pass), outputs = net_case_outputs(&c);
    float *y = calloc((size_t)(inputs + outputs), sizeof *y), *dx = y + outputs;
    struct lj_golden x = golden(layer, "x", -1), dy = golden(layer, "dy", -1);
    cr_assert(x.count == inputs && dy.count == outputs, "%s", layer->name);
    net_case_forward(&c, x.f32, y);
    compare(layer, "y", -1, y, outputs);
    net_case_backward(&c, dy.f32, layer->no_dx ? NULL : dx);
    if (!layer->no_dx)
        compare(layer, "dx", -1, dx, inputs);
    for (int p = 0; p < c.params.count; p++)
        compare(layer, "dp", p, c.gradient + c.params.list[p].offset, c.params.list[p].count);
    lj_golden_free(&x);
    lj_golden_free(&dy);
    free(y);
    net_case_end(&c);
}

Test(layers, agree_with_pytorch)
{
    for (int i = 0; i < layer_case_count; i++)
        golden_case(&layer_cases[i]);
}

/* ---- properties -------------------------------------------------------------------------- */

/* Attention does not know the order of tokens: permuted tokens in, the same permuted out. */
Test(layers, attention_is_equivariant_under_permutation)
{
    enum { T = 7, C = 6 };
    struct net_case c;
    struct lj_shape shape = {2, {T, 3 * C}};
    float x[T * 3 * C], moved[T * 3 * C], y[T * C], z[T * C];
    net_case_begin(&c);
    lj_attention(c.net, "attention", lj_input(c.net, shape, true), 2);
    net_case_layout(&c);
    net_case_plan(&c, 1, &shape, LJ_PLAN_INFER);
    lj_random_normal_f32(x, T * 3 * C, 1);
    for (int t = 0; t < T; t++)
        memcpy(moved + t * 3 % T * 3 * C, x + t * 3 * C, 3 * C * sizeof *x);
    net_case_forward(&c, x, y);
    net_case_forward(&c, moved, z);
    for (int t = 0; t < T; t++)
        for (int j = 0; j < C; j++)
            cr_assert_float_eq(z[t * 3 % T * C + j], y[t * C + j], 2e-6f);
    net_case_end(&c);
}

/* Layer normalisation forgets the scale and shift of a row, but for eps. */
Test(layers, layernorm_forgets_scale_and_shift)
{
    enum { C = 37 };
    struct net_case c;
    struct lj_shape shape = {1, {C}};
    float x[C], y[C], z[C];
    net_case_begin(&c);
    lj_layernorm(c.net, "norm", lj_input(c.net, shape, true), 1e-6);
    net_case_layout(&c);
    net_case_plan(&c, 1, &shape, LJ_PLAN_INFER);
    lj_random_normal_f32(x, C, 1);
    net_case_forward(&c, x, y);
    for (int j = 0; j < C; j++)
        x[j] = 7 * x[j] - 20;
    net_case_forward(&c, x, z);
    for (int j = 0; j < C; j++)
        cr_assert_float_eq(z[j], y[j], 1e-5f, "%d: %g %g", j, (double)z[j], (double)y[j]);
    net_case_end(&c);
}

/* The largest of a window that holds a NaN is NaN, wherever it stands; the other is a number. */
Test(layers, max_pool_shows_nan)
{
    struct net_case c;
    struct lj_shape shape = {3, {2, 4, 1}};
    float y[2];
    net_case_begin(&c);
    lj_max_pool(c.net, "pool", lj_input(c.net, shape, true), 2, 2, 0);
    net_case_layout(&c);
    net_case_plan(&c, 1, &shape, LJ_PLAN_INFER);
    for (int broken = 0; broken < 8; broken++) {
        float x[8] = {1, 2, 3, 4, 5, 6, -7, -8};
        x[broken] = NAN;
        net_case_forward(&c, x, y);
        for (int j = 0; j < 2; j++)
            cr_assert_eq(isnan(y[j]) != 0, broken % 4 / 2 == j, "NaN at %d: output %d is %g",
                         broken, j, (double)y[j]);
    }
    net_case_end(&c);
}
