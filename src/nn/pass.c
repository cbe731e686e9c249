/* SPDX-License-Identifier: Apache-2.0 */
/* A pass through a plan: forward through the nodes in ascending order, backward in
 * descending order; a block of nodes on one tile of images after the other. No model writes
 * its backward order by hand. */
#include "nn/plan.h"

#include "nn/layers/build.h"

/* The images [first, first + count) of a pass, on which a block's nodes work. */
struct tile {
    int64_t first; /* image */
    int64_t count; /* images */
    bool again;    /* backward: values that were computed again lie in their second region */
};

/* Where an image of a value lies in a region. */
static void *at_image(const struct lj_pass *pass, const struct lj_region *region, int64_t image)
{
    return (char *)(pass->arena + region->offset) + (region->of_tile ? 0 : image * region->stride);
}

/* Where a tile of a value lies: in its first region or, `again`, in the second, which belongs to
 * the block's second forward (struct lj_placing). */
static void *at_tile(const struct lj_pass *pass, const struct lj_region region[2], bool again,
                     const struct tile *tile)
{
    return at_image(pass, again && region[1].size > 0 ? &region[1] : &region[0], tile->first);
}

static void *at_gradient(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value,
                         int64_t image)
{
    int alias = plan->at[value].gradient_alias;
    return at_image(pass, &plan->at[alias < 0 ? value : alias].gradient, image);
}

float *lj_plan_value(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value)
{
    return at_image(pass, &plan->at[value].value[0], 0);
}

float *lj_plan_gradient(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value)
{
    return at_gradient(plan, pass, value, 0);
}

/* ---- calls ------------------------------------------------------------------------------- */

static struct lj_call make_call(const struct lj_plan *plan, const struct lj_pass *pass, int i,
                                const struct tile *tile)
{
    const struct lj_node *node = &plan->net->node[i];
    const struct lj_placing *at = &plan->at[i];
    struct lj_call call = {.node = node,
                           .images = tile->count,
                           .first_image = tile->first,
                           .out_shape = at->shape,
                           .y_type = at->type,
                           .y = at_tile(pass, at->value, tile->again, tile),
                           .saved = at_tile(pass, at->saved, tile->again, tile),
                           .scratch = pass->scratch,
                           .bf16 = plan->options.bf16,
                           .pass = pass};
    for (int k = 0; k < node->inputs; k++) {
        const struct lj_placing *in = &plan->at[node->in[k]];
        call.in_shape[k] = in->shape;
        call.x_type[k] = in->type;
        /* What was made again is for the block that made it; others read what forward left. */
        bool again = tile->again && in->block_first == at->block_first;
        call.x[k] = at_tile(pass, in->value, again, tile);
    }
    for (int p = 0; p < node->params; p++) {
        const struct lj_param *param = &plan->net->params->list[node->param[p]];
        call.param[p] = pass->weights + param->offset;
        for (int form = 0; p == 0 && form < 2; form++)
            if (pass->packed && param->pack[form] >= 0)
                call.packed[form] = (const char *)pass->packed + param->pack[form];
    }
    return call;
}

/* Has backward already written the gradient of value v before it comes to node j? So it is if a
 * later node reads v, too. */
static bool written_before(const struct lj_net *net, int v, int j)
{
    for (int later = j + 1; later < net->count; later++)
        for (int k = 0; k < net->node[later].inputs; k++)
            if (net->node[later].in[k] == v)
                return true;
    return false;
}

static struct lj_call make_backward_call(const struct lj_plan *plan, const struct lj_pass *pass,
                                         int i, const struct tile *tile)
{
    const struct lj_net *net = plan->net;
    const struct lj_node *node = &net->node[i];
    struct lj_call call = make_call(plan, pass, i, tile);
    call.dy = at_gradient(plan, pass, i, tile->first);
    for (int k = 0; k < node->inputs; k++) {
        if (!lj_node_wants_gradient(&net->node[node->in[k]]))
            continue;
        call.dx[k] = at_gradient(plan, pass, node->in[k], tile->first);
        call.dx_add[k] = written_before(net, node->in[k], i);
    }
    for (int p = 0; p < node->params && pass->gradient; p++)
        call.dparam[p] =
            pass->gradient + net->params->list[node->param[p]].offset - pass->gradient_first;
    call.dparam_add = pass->gradient_add || tile->first > 0;
    return call;
}

static double flops_of(const struct lj_call *call)
{
    const struct lj_layer_kind *kind = call->node->kind;
    return kind->flops ? (double)kind->flops(call->node, call->in_shape) * (double)call->images : 0;
}

static void forward_node(const struct lj_plan *plan, const struct lj_pass *pass, int i,
                         const struct tile *tile)
{
    const struct lj_node *node = &plan->net->node[i];
    struct lj_call call = make_call(plan, pass, i, tile);
    double begun = pass->clock ? lj_now_s() : 0;
    node->kind->forward(&call);
    if (!pass->clock)
        return;
    pass->clock[node->kind_index].forward_s += lj_now_s() - begun;
    pass->clock[node->kind_index].flops += flops_of(&call);
}

static void backward_node(const struct lj_plan *plan, const struct lj_pass *pass, int i,
                          const struct tile *tile)
{
    const struct lj_node *node = &plan->net->node[i];
    struct lj_call call = make_backward_call(plan, pass, i, tile);
    double begun = pass->clock ? lj_now_s() : 0;
    node->kind->backward(&call);
    if (!pass->clock)
        return;
    pass->clock[node->kind_index].backward_s += lj_now_s() - begun;
    pass->clock[node->kind_index].flops += (call.dx[0] ? 2 : 1) * flops_of(&call);
}

/* ---- blocks ------------------------------------------------------------------------------ */

/* Moves on to the next tile of the block of node i; outside blocks one tile has all images. False
 * after the last tile. */
static bool next_tile(const struct lj_plan *plan, int i, struct tile *tile)
{
    tile->first += tile->count;
    tile->count = lj_min_i64(plan->at[i].tile, plan->images - tile->first);
    return tile->count > 0;
}

static void check_whole(const struct lj_plan *plan, int first, int end)
{
    LJ_CHECK(plan->at[first].block_first == first && plan->at[end - 1].block_end == end,
             "nodes %d to %d are not whole blocks", first, end - 1);
}

void lj_forward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end)
{
    if (first < end)
        check_whole(plan, first, end);
    for (int i = first; i < end; i = plan->at[i].block_end) {
        struct tile tile = {0};
        while (!lj_node_is_input(&plan->net->node[i]) && next_tile(plan, i, &tile))
            for (int j = i; j < plan->at[i].block_end; j++)
                forward_node(plan, pass, j, &tile);
    }
}

/* Runs a tile of a block forward again: those nodes whose value or saved tensor backward
 * of the block reads. */
static void run_block_again(const struct lj_plan *plan, const struct lj_pass *pass, int first,
                            const struct tile *tile)
{
    for (int i = first; i < plan->at[first].block_end; i++)
        if (plan->at[i].again || plan->at[i].saved[1].size > 0)
            forward_node(plan, pass, i, tile);
}

static void backward_block(const struct lj_plan *plan, const struct lj_pass *pass, int first)
{
    struct tile tile = {.again = true};
    while (next_tile(plan, first, &tile)) {
        if (plan->options.mode == LJ_PLAN_RECOMPUTE && plan->net->node[first].block >= 0)
            run_block_again(plan, pass, first, &tile);
        for (int i = plan->at[first].block_end - 1; i >= first; i--) {
            backward_node(plan, pass, i, &tile);
            if (pass->between)
                pass->between(pass->between_data);
        }
    }
}

void lj_backward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end)
{
    if (first < end)
        check_whole(plan, first, end);
    for (int i = end; i > first; i = plan->at[i - 1].block_first)
        if (!lj_node_is_input(&plan->net->node[i - 1]))
            backward_block(plan, pass, plan->at[i - 1].block_first);
}

/* ---- batch statistics -------------------------------------------------------------------- */

void lj_sync_forward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                     int64_t *sums, int64_t *nonfinite)
{
    struct tile all = {.count = plan->images};
    struct lj_call call = make_call(plan, pass, node, &all);
    double begun = pass->clock ? lj_now_s() : 0;
    call.node->kind->sync_forward(&call, sums, nonfinite);
    if (pass->clock)
        pass->clock[call.node->kind_index].forward_s += lj_now_s() - begun;
}

void lj_sync_backward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                      int64_t *sums, int64_t *nonfinite)
{
    struct tile all = {.count = plan->images, .again = true};
    struct lj_call call = make_backward_call(plan, pass, node, &all);
    double begun = pass->clock ? lj_now_s() : 0;
    call.node->kind->sync_backward(&call, sums, nonfinite);
    if (pass->clock)
        pass->clock[call.node->kind_index].backward_s += lj_now_s() - begun;
}
