/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plan: the nodes upwards, and downwards. The reverse order is never typed by hand. */
#include "plan.h"

#include "nn_build.h"

static float *at_stretch(const struct lj_run *run, const struct lj_stretch stretch[2], bool again)
{
    const struct lj_stretch *s = again && stretch[1].size > 0 ? &stretch[1] : &stretch[0];
    return run->arena + s->offset;
}

float *lj_plan_value(const struct lj_plan *plan, const struct lj_run *run, int32_t value)
{
    return at_stretch(run, plan->at[value].value, false);
}

float *lj_plan_gradient(const struct lj_plan *plan, const struct lj_run *run, int32_t value)
{
    int alias = plan->at[value].gradient_alias;
    return run->arena + plan->at[alias < 0 ? value : alias].gradient.offset;
}

/* again: the values of backward, where a block's inner values were made a second time. */
static struct lj_call make_call(const struct lj_plan *plan, const struct lj_run *run, int i,
                                bool again)
{
    const struct lj_node *node = &plan->net->node[i];
    const struct lj_placing *at = &plan->at[i];
    struct lj_call call = {.node = node,
                           .images = plan->images,
                           .out_shape = at->shape,
                           .y = at_stretch(run, at->value, again),
                           .saved = at_stretch(run, at->saved, again),
                           .scratch = run->scratch,
                           .run = run};
    for (int k = 0; k < node->inputs; k++) {
        call.in_shape[k] = plan->at[node->in[k]].shape;
        call.x[k] = at_stretch(run, plan->at[node->in[k]].value, again);
    }
    for (int p = 0; p < node->params; p++)
        call.param[p] = run->weights + plan->net->params->list[node->param[p]].offset;
    return call;
}

/* True when a node after j reads value v too: its backward has already written the gradient. */
static bool written_before(const struct lj_net *net, int v, int j)
{
    for (int later = j + 1; later < net->count; later++)
        for (int k = 0; k < net->node[later].inputs; k++)
            if (net->node[later].in[k] == v)
                return true;
    return false;
}

static struct lj_call make_backward_call(const struct lj_plan *plan, const struct lj_run *run,
                                         int i)
{
    const struct lj_net *net = plan->net;
    const struct lj_node *node = &net->node[i];
    struct lj_call call = make_call(plan, run, i, true);
    call.dy = lj_plan_gradient(plan, run, i);
    for (int k = 0; k < node->inputs; k++) {
        if (!lj_node_wants_gradient(&net->node[node->in[k]]))
            continue;
        call.dx[k] = lj_plan_gradient(plan, run, node->in[k]);
        call.dx_add[k] = written_before(net, node->in[k], i);
    }
    for (int p = 0; p < node->params; p++)
        call.dparam[p] =
            run->gradient + net->params->list[node->param[p]].offset - run->gradient_first;
    call.dparam_add = run->gradient_add;
    return call;
}

void lj_forward(const struct lj_plan *plan, const struct lj_run *run, int first, int end)
{
    for (int i = first; i < end; i++) {
        if (lj_node_is_input(&plan->net->node[i]))
            continue;
        struct lj_call call = make_call(plan, run, i, false);
        plan->net->node[i].kind->forward(&call);
    }
}

/* Runs a block forward again: every node whose value or saved tensor its backward reads. */
static void run_block_again(const struct lj_plan *plan, const struct lj_run *run, int last)
{
    for (int i = plan->at[last].block_first; i <= last; i++) {
        if (!plan->at[i].again && plan->at[i].saved[1].size == 0)
            continue;
        struct lj_call call = make_call(plan, run, i, true);
        plan->net->node[i].kind->forward(&call);
    }
}

void lj_backward(const struct lj_plan *plan, const struct lj_run *run, int first, int end)
{
    for (int i = end - 1; i >= first; i--) {
        if (lj_node_is_input(&plan->net->node[i]))
            continue;
        if (plan->at[i].last_of_block)
            run_block_again(plan, run, i);
        struct lj_call call = make_backward_call(plan, run, i);
        plan->net->node[i].kind->backward(&call);
        if (run->between)
            run->between(run->between_data);
    }
}

void lj_sync_forward(const struct lj_plan *plan, const struct lj_run *run, int node, int64_t *sums,
                     int64_t *unfit)
{
    struct lj_call call = make_call(plan, run, node, false);
    plan->net->node[node].kind->sync_forward(&call, sums, unfit);
}

void lj_sync_backward(const struct lj_plan *plan, const struct lj_run *run, int node, int64_t *sums,
                      int64_t *unfit)
{
    struct lj_call call = make_backward_call(plan, run, node);
    plan->net->node[node].kind->sync_backward(&call, sums, unfit);
}
