/* SPDX-License-Identifier: Apache-2.0 */
/* The memory plan: every value, saved tensor and gradient of a pass gets an offset in one arena
 * before training starts. Lifetimes are known, so stretches are reused: first fit, largest first.
 *
 * Events are numbered 0 .. 2n: forward of node i at i, the turn at n (the caller reads the output and
 * writes its gradient), backward of node i at 2n - i. Running a block again happens at the event of
 * its last node's backward. */
#include "plan.h"

#include "nn_build.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 }; /* floats: a cache line */

static int turn(const struct lj_plan *plan)
{
    return plan->net->count;
}

static int backward_event(const struct lj_plan *plan, int node)
{
    return 2 * plan->net->count - node;
}

static bool trains(const struct lj_plan *plan)
{
    return plan->mode != LJ_PLAN_INFER;
}

void lj_plan_inputs(const struct lj_plan *plan, int i, struct lj_shape in[LJ_INPUTS_MAX])
{
    const struct lj_node *node = &plan->net->node[i];
    for (int k = 0; k < node->inputs; k++)
        in[k] = plan->at[node->in[k]].shape;
}

static int find_shapes(struct lj_plan *plan, const struct lj_shape *input)
{
    for (int i = 0; i < plan->net->count; i++) {
        const struct lj_node *node = &plan->net->node[i];
        struct lj_placing *at = &plan->at[i];
        struct lj_shape in[LJ_INPUTS_MAX] = {{0}};
        lj_plan_inputs(plan, i, in);
        if (node->inputs == 0)
            at->shape = *input;
        else
            LJ_TRY(node->kind->shape(node, in, plan->images, &at->shape, &at->need));
        plan->scratch = lj_max_i64(plan->scratch, at->need.scratch);
        at->gradient_alias = -1;
    }
    return LJ_OK;
}

/* Blocks that run again: from the first to the last node with the same block number. */
static void find_blocks(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    for (int i = 0, first = 0; i < net->count; i++) {
        if (i > 0 && net->node[i].block != net->node[i - 1].block)
            first = i;
        bool ends = i + 1 == net->count || net->node[i + 1].block != net->node[i].block;
        plan->at[i].block_first = first;
        plan->at[i].last_of_block =
            plan->mode == LJ_PLAN_RECOMPUTE && net->node[i].block >= 0 && ends;
    }
}

/* Node whose backward event node i's re-run belongs to: the last of its block; -1 if not re-run. */
static int rerun_node(const struct lj_plan *plan, int i)
{
    const struct lj_net *net = plan->net;
    if (plan->mode != LJ_PLAN_RECOMPUTE || net->node[i].block < 0)
        return -1;
    while (!plan->at[i].last_of_block)
        i++;
    return i;
}

static void extend(struct lj_stretch *stretch, int event)
{
    stretch->death = stretch->death > event ? stretch->death : event;
}

/* Value v is read by node j (or, j == v, by its own backward as output). */
static void note_reader(struct lj_plan *plan, int v, int j, bool in_backward)
{
    struct lj_placing *at = &plan->at[v];
    int again_v = rerun_node(plan, v), again_j = rerun_node(plan, j);
    bool inner = again_v >= 0 && again_v == again_j;
    extend(&at->value[0], j);
    if (!trains(plan))
        return;
    if (inner) {
        at->again = true;
        at->value[1].birth = backward_event(plan, again_v);
        extend(&at->value[1], in_backward ? backward_event(plan, j) : at->value[1].birth);
        return;
    }
    if (again_j >= 0) /* the re-run reads it */
        extend(&at->value[0], backward_event(plan, again_j));
    if (in_backward)
        extend(&at->value[0], backward_event(plan, j));
}

static void find_value_lifetimes(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    for (int i = 0; i < net->count; i++) {
        struct lj_placing *at = &plan->at[i];
        at->value[0].birth = at->value[0].death = i;
        at->value[0].size = plan->images * lj_shape_count(&at->shape);
    }
    plan->at[0].value[0].birth = 0;
    for (int j = 0; j < net->count; j++) {
        const struct lj_node *node = &net->node[j];
        for (int k = 0; k < node->inputs; k++)
            note_reader(plan, node->in[k], j, trains(plan) && node->kind->keeps_input[k]);
        if (node->inputs > 0 && trains(plan) && node->kind->keeps_output)
            note_reader(plan, j, j, true);
    }
    /* The output outlives the pass: the caller looks at it after backward, too. */
    extend(&plan->at[net->count - 1].value[0], backward_event(plan, 0));
    for (int i = 0; i < net->count; i++)
        if (plan->at[i].again)
            plan->at[i].value[1].size = plan->at[i].value[0].size;
}

static void find_saved_lifetimes(struct lj_plan *plan)
{
    for (int i = 0; i < plan->net->count; i++) {
        struct lj_placing *at = &plan->at[i];
        int again = rerun_node(plan, i);
        struct lj_stretch first = {.size = at->need.saved, .birth = i, .death = i};
        if (trains(plan) && again < 0)
            first.death = backward_event(plan, i);
        at->saved[0] = first;
        if (trains(plan) && again >= 0 && at->need.saved > 0 && !at->again)
            extend(&at->value[0], backward_event(plan, again)); /* written a second time */
        if (trains(plan) && again >= 0)
            at->saved[1] = (struct lj_stretch){.size = at->need.saved,
                                               .birth = backward_event(plan, again),
                                               .death = backward_event(plan, i)};
    }
}

/* The last reader of v writes its gradient first. */
static int last_reader(const struct lj_net *net, int v)
{
    for (int j = net->count - 1; j > v; j--)
        for (int k = 0; k < net->node[j].inputs; k++)
            if (net->node[j].in[k] == v)
                return j;
    return -1;
}

static void find_gradient_lifetimes(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    if (!trains(plan))
        return;
    for (int i = net->count - 1; i >= 0; i--) {
        struct lj_placing *at = &plan->at[i];
        if (!lj_node_wants_gradient(&net->node[i]))
            continue;
        int reader = last_reader(net, i);
        at->gradient.size = at->value[0].size;
        at->gradient.birth = reader < 0 ? turn(plan) : backward_event(plan, reader);
        at->gradient.death = backward_event(plan, i);
        bool passed =
            reader >= 0 && net->node[reader].kind->passes_gradient && net->node[reader].in[0] == i;
        if (passed) { /* lives where the reader's gradient lives */
            int root = plan->at[reader].gradient_alias;
            at->gradient_alias = root < 0 ? reader : root;
            extend(&plan->at[at->gradient_alias].gradient, at->gradient.death);
            at->gradient.size = 0;
        }
    }
}

/* ---- placing -------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const struct lj_stretch *x = *(struct lj_stretch *const *)a,
                            *y = *(struct lj_stretch *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->birth != y->birth ? (x->birth < y->birth ? -1 : 1) : 0;
}

static bool overlap_in_time(const struct lj_stretch *a, const struct lj_stretch *b)
{
    return a->birth <= b->death && b->birth <= a->death;
}

/* Lowest offset at which `wanted` touches no placed stretch that lives at the same time. */
static int64_t first_fit(struct lj_stretch *const *placed, int count,
                         const struct lj_stretch *wanted)
{
    int64_t offset = 0, size = lj_round_up(wanted->size, ALIGN);
    bool moved = true;
    while (moved) {
        moved = false;
        for (int i = 0; i < count; i++) {
            int64_t end = placed[i]->offset + lj_round_up(placed[i]->size, ALIGN);
            if (overlap_in_time(placed[i], wanted) && offset < end &&
                placed[i]->offset < offset + size) {
                offset = end;
                moved = true;
            }
        }
    }
    return offset;
}

static int place_all(struct lj_plan *plan)
{
    int nodes = plan->net->count, count = 0;
    struct lj_stretch **list = lj_alloc_array(5 * nodes, sizeof *list, "memory plan");
    if (!list)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < nodes; i++) {
        struct lj_placing *at = &plan->at[i];
        struct lj_stretch *own[] = {&at->value[0], &at->value[1], &at->saved[0], &at->saved[1],
                                    &at->gradient};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            if (own[k]->size > 0)
                list[count++] = own[k];
    }
    qsort(list, (size_t)count, sizeof *list, by_size);
    for (int i = 0; i < count; i++) {
        list[i]->offset = first_fit(list, i, list[i]);
        plan->arena = lj_max_i64(plan->arena, list[i]->offset + lj_round_up(list[i]->size, ALIGN));
    }
    lj_free(list);
    return LJ_OK;
}

int lj_plan_create(struct lj_plan **plan, const struct lj_net *net, int64_t images,
                   const struct lj_shape *input, enum lj_plan_mode mode)
{
    struct lj_plan *p = lj_alloc(sizeof *p, "memory plan");
    if (!p)
        return LJ_ERR_RESOURCE;
    p->net = net;
    p->images = images;
    p->mode = mode;
    p->at = lj_alloc_array(net->count, sizeof *p->at, "memory plan");
    int status = p->at ? find_shapes(p, input) : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        find_blocks(p);
        find_value_lifetimes(p);
        find_saved_lifetimes(p);
        find_gradient_lifetimes(p);
        status = place_all(p);
    }
    if (status == LJ_OK)
        *plan = p;
    else
        lj_plan_destroy(p);
    return status;
}

void lj_plan_destroy(struct lj_plan *plan)
{
    if (!plan)
        return;
    lj_free(plan->at);
    lj_free(plan);
}

int64_t lj_plan_arena(const struct lj_plan *plan)
{
    return plan->arena;
}

int64_t lj_plan_scratch(const struct lj_plan *plan)
{
    return plan->scratch;
}

int64_t lj_plan_images(const struct lj_plan *plan)
{
    return plan->images;
}

const struct lj_net *lj_plan_net(const struct lj_plan *plan)
{
    return plan->net;
}

int64_t lj_plan_sync_count(const struct lj_plan *plan)
{
    int64_t most = 0;
    for (int i = 0; i < plan->net->count; i++) {
        const struct lj_node *node = &plan->net->node[i];
        if (node->kind->sync_count)
            most = lj_max_i64(most, node->kind->sync_count(node));
    }
    return most;
}
