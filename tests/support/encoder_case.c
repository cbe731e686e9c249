/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder_case.h"

#include "golden.h"
#include "net_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lj_golden golden(const struct encoder_case *e, const char *part, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s", e->group, part, name);
    return lj_golden_f32(e->file, path);
}

/* Shapes and values of every parameter by its name. */
static void load_weights(const struct encoder_case *e, struct net_case *c)
{
    for (int p = 0; p < c->params.count; p++) {
        const struct lj_param *param = &c->params.list[p];
        struct lj_golden w = golden(e, "weight", param->name);
        cr_assert_eq(w.dims, param->dims, "%s", param->name);
        for (int i = 0; i < w.dims; i++)
            cr_assert_eq(w.shape[i], param->dim[i], "%s: axis %d", param->name, i);
        memcpy(c->weights + param->offset, w.f32, (size_t)w.count * sizeof(float));
        lj_golden_free(&w);
    }
}

static void compare(const char *what, const float *got, const struct lj_golden *expected,
                    double tolerance)
{
    double largest = 0;
    for (int64_t i = 0; i < expected->count; i++)
        largest = fmax(largest, fabs((double)expected->f32[i]));
    for (int64_t i = 0; i < expected->count; i++)
        cr_assert(fabs((double)got[i] - (double)expected->f32[i]) <= tolerance * fmax(largest, 0.1),
                  "%s: element %lld is %.7g, PyTorch has %.7g", what, (long long)i, (double)got[i],
                  (double)expected->f32[i]);
}

/* Embeddings of one group of views against those of the file named `name`. */
static void check_embeddings(const struct encoder_case *e, struct net_case *c, const char *part,
                             const struct lj_golden *x, const char *name, double tolerance)
{
    struct lj_golden y = golden(e, part, name);
    cr_assert_eq(net_case_outputs(c), y.count);
    float *out = malloc((size_t)y.count * sizeof *out);
    net_case_forward(c, x->f32, out);
    compare(name, out, &y, tolerance);
    free(out);
    lj_golden_free(&y);
}

/* One group of views; its gradient is added to what is there when `add`. */
static void run_group(const struct encoder_case *e, struct net_case *c, const char *part,
                      enum lj_plan_mode mode, bool add, double tolerance)
{
    struct lj_golden x = golden(e, part, "x"), dy = golden(e, part, "dy");
    struct lj_shape shape = {3, {x.shape[1], x.shape[2], x.shape[3]}};
    net_case_plan(c, x.shape[0], &shape, mode);
    c->pass.train = false;
    if (e->inferred)
        check_embeddings(e, c, part, &x, "inferred", tolerance);
    c->pass.train = true;
    check_embeddings(e, c, part, &x, "y", tolerance);
    c->pass.gradient_add = add;
    net_case_backward(c, dy.f32, NULL);
    lj_golden_free(&x);
    lj_golden_free(&dy);
}

void encoder_case_check(const struct encoder_case *e, enum lj_plan_mode mode, int64_t tile_rows,
                        bool bf16, double tolerance)
{
    struct net_case c;
    net_case_begin(&c);
    e->build(c.net, e->config);
    net_case_layout(&c);
    load_weights(e, &c);
    c.tile_rows = tile_rows;
    if (bf16)
        net_case_bf16(&c);
    run_group(e, &c, "global", mode, false, tolerance);
    run_group(e, &c, "local", mode, true, tolerance);
    for (int p = 0; p < c.params.count; p++) {
        struct lj_golden expected = golden(e, "gradient", c.params.list[p].name);
        compare(c.params.list[p].name, c.gradient + c.params.list[p].offset, &expected, tolerance);
        lj_golden_free(&expected);
    }
    net_case_end(&c);
}
