/* SPDX-License-Identifier: Apache-2.0 */
/* A small network, run node by node as the trainer runs the projector. */
#include "net_case.h"

#include "nn/plan.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static float *take(int64_t count)
{
    float *values = lj_alloc_array(count, sizeof *values, "test");
    cr_assert_not_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = NAN;
    return values;
}

void net_case_begin(struct net_case *c)
{
    *c = (struct net_case){0};
    cr_assert_eq(lj_net_create(&c->net, &c->params), LJ_OK);
}

void net_case_layout(struct net_case *c)
{
    cr_assert_eq(c->net->status, LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_params_layout(&c->params, &c->net, 1, 1 << 20, c->segment, NET_CASE_SEGMENTS),
                 LJ_OK);
    c->weights = take(c->params.elements);
    c->gradient = take(c->params.elements);
    for (int p = 0; p < c->params.count; p++) {
        const struct lj_param *param = &c->params.list[p];
        lj_random_between_f32(c->weights + param->offset, param->count, 0.2f, 0.9f,
                              100 + (uint64_t)p);
        for (int64_t i = 0; i < param->count; i += 2)
            c->weights[param->offset + i] *= -1;
    }
}

/* Gives the packed forms memory, if there are any, and makes them. */
static void pack(struct net_case *c)
{
    int64_t bytes = lj_params_pack_layout(&c->params, c->bf16);
    lj_free(c->packed);
    c->packed = bytes > 0 ? lj_alloc_array(bytes, 1, "test") : NULL;
    cr_assert(bytes == 0 || c->packed);
    if (c->packed)
        lj_params_pack(&c->params, c->bf16, c->weights, c->packed, 1);
}

void net_case_plan(struct net_case *c, int64_t images, const struct lj_shape *input,
                   enum lj_plan_mode mode)
{
    lj_plan_destroy(c->plan);
    lj_free(c->pass.arena);
    lj_free(c->pass.scratch);
    pack(c);
    struct lj_plan_options options = {mode, c->tile_rows, c->bf16};
    cr_assert_eq(lj_plan_create(&c->plan, c->net, images, input, options), LJ_OK, "%s",
                 lj_error_text());
    c->pass = (struct lj_pass){.arena = take(lj_plan_arena(c->plan)),
                               .scratch = take(lj_plan_scratch(c->plan) / 4 + 1),
                               .weights = c->weights,
                               .packed = c->packed,
                               .gradient = c->gradient,
                               .train = true,
                               .statistic_share = 1,
                               .step = 3,
                               .n = images};
}

void net_case_end(struct net_case *c)
{
    lj_plan_destroy(c->plan);
    lj_net_destroy(c->net);
    lj_params_destroy(&c->params);
    lj_free(c->pass.arena);
    lj_free(c->pass.scratch);
    lj_free(c->weights);
    lj_free(c->packed);
    lj_free(c->gradient);
}

void net_case_bf16(struct net_case *c)
{
    c->bf16 = true;
    pack(c);
}

int64_t net_case_inputs(const struct net_case *c, const struct lj_shape *input)
{
    return lj_plan_images(c->plan) * lj_shape_count(input);
}

int64_t net_case_outputs(const struct net_case *c)
{
    return lj_plan_images(c->plan) * lj_shape_count(&c->plan->at[c->net->count - 1].shape);
}

static size_t input_bytes(const struct net_case *c)
{
    return (size_t)net_case_inputs(c, &c->plan->at[0].shape) * sizeof(float);
}

/* Has the node statistics of the global batch? */
static bool shares(const struct net_case *c, int node)
{
    return lj_node_sync_count(&c->net->node[node]) > 0;
}

/* If it has, computes the totals over the one lane there is, as comm would return them. */
static void share(struct net_case *c, int node, bool backward)
{
    int64_t nonfinite = 0, count = lj_node_sync_count(&c->net->node[node]);
    if (count == 0)
        return;
    cr_assert_leq(count, NET_CASE_SUMS);
    memset(c->sums, 0, sizeof c->sums);
    (backward ? lj_sync_backward : lj_sync_forward)(c->plan, &c->pass, node, c->sums, &nonfinite);
    cr_assert_eq(nonfinite, 0);
    c->pass.sync = c->sums;
    c->pass.sync_images = lj_plan_images(c->plan);
}

void net_case_forward(struct net_case *c, const float *x, float *y)
{
    int last = c->net->count - 1;
    memcpy(lj_plan_value(c->plan, &c->pass, 0), x, input_bytes(c));
    for (int node = 0, end; node < c->net->count; node = end) {
        share(c, node, false);
        for (end = node + 1; end < c->net->count && !shares(c, end);)
            end++;
        lj_forward(c->plan, &c->pass, node, end);
    }
    memcpy(y, lj_plan_value(c->plan, &c->pass, last), (size_t)net_case_outputs(c) * sizeof *y);
}

void net_case_backward(struct net_case *c, const float *dy, float *dx)
{
    int last = c->net->count - 1;
    memcpy(lj_plan_gradient(c->plan, &c->pass, last), dy, (size_t)net_case_outputs(c) * sizeof *dy);
    for (int end = last + 1, node; end > 0; end = node) {
        share(c, end - 1, true);
        for (node = end - 1; node > 0 && !shares(c, node - 1);)
            node--;
        lj_backward(c->plan, &c->pass, node, end);
    }
    if (dx)
        memcpy(dx, lj_plan_gradient(c->plan, &c->pass, 0), input_bytes(c));
}
