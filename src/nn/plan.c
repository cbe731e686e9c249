/* SPDX-License-Identifier: Apache-2.0 */
/* The memory plan: every value, saved tensor and gradient of a pass gets an offset in one arena
 * before training starts. It is known when each is written first and read last, so that memory is
 * used several times (place.c).
 *
 * Events are numbered 0 .. 2n for n nodes: forward of node i is event i; at event n the caller
 * reads the output and writes its gradient; backward of node i is event 2n - i. With
 * memory.recompute a block runs forward again at the event of its last node's backward.
 *
 * All nodes of a block run on one tile of images, then on the next. The tile of a block in which a
 * layer joins images has all of them. A region that is used only
 * while a tile is worked on has room for one tile. A region that holds all images and is used in a
 * block is in use during all of the block's events, because the next tile begins at the block's
 * first node again. */
#include "nn/plan.h"

#include "nn/layers/build.h"

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
    return plan->options.mode != LJ_PLAN_INFER;
}

void lj_plan_inputs(const struct lj_plan *plan, int i, struct lj_shape in[LJ_INPUTS_MAX])
{
    const struct lj_node *node = &plan->net->node[i];
    for (int k = 0; k < node->inputs; k++)
        in[k] = plan->at[node->in[k]].shape;
}

/* ---- shapes, types, blocks, tiles -------------------------------------------------------- */

/* Shapes of all values, and what the nodes need for calls of their tiles. */
static int find_shapes(struct lj_plan *plan, const struct lj_shape *input)
{
    plan->scratch = 0;
    for (int i = 0; i < plan->net->count; i++) {
        const struct lj_node *node = &plan->net->node[i];
        struct lj_placing *at = &plan->at[i];
        struct lj_shape in[LJ_INPUTS_MAX] = {{0}};
        lj_plan_inputs(plan, i, in);
        at->need = (struct lj_need){.bf16 = plan->options.bf16, .type = at->type};
        if (node->inputs == 0)
            at->shape = *input;
        else
            LJ_TRY(node->kind->shape(node, in, at->tile, &at->shape, &at->need));
        plan->scratch = lj_max_i64(plan->scratch, at->need.scratch);
        at->gradient_alias = -1;
    }
    return LJ_OK;
}

/* Does value v have one reader, and does that one take bf16? */
static bool bf16_reader(const struct lj_net *net, int v)
{
    int readers = 0;
    bool takes = false;
    for (int j = v + 1; j < net->count; j++)
        for (int k = 0; k < net->node[j].inputs; k++)
            if (net->node[j].in[k] == v) {
                readers++;
                takes = net->node[j].kind->takes_bf16[k];
            }
    return readers == 1 && takes;
}

/* Makes both types float32 unless both are bf16; true if that changed one. */
static bool level_types(enum lj_type *x, enum lj_type *y)
{
    if (*x == *y)
        return false;
    *x = *y = LJ_F32;
    return true;
}

/* Makes a value bf16 if its writer and its one reader can take that. With several readers its
 * gradient is a sum, and stays float32; the net's output stays float32, too. */
static void find_types(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    for (int i = 0; i < net->count; i++)
        if (plan->options.bf16 && net->node[i].kind->gives_bf16 && bf16_reader(net, i))
            plan->at[i].type = LJ_BF16;
    for (bool changed = true; changed;) { /* one_type: input and output have one type */
        changed = false;
        for (int i = 1; i < net->count; i++)
            if (net->node[i].kind->one_type)
                changed |= level_types(&plan->at[net->node[i].in[0]].type, &plan->at[i].type);
    }
}

static void find_blocks(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    for (int i = 0, first = 0; i < net->count; i++) {
        if (i > 0 && (net->node[i].block != net->node[i - 1].block || net->node[i].block < 0))
            first = i;
        plan->at[i].block_first = first;
        for (int j = first; j <= i; j++)
            plan->at[j].block_end = i + 1;
    }
}

/* Does node i stand in a block that may run on some of the images at a time? */
static bool is_tiled(const struct lj_plan *plan, int i)
{
    bool joins = plan->net->node[i].block < 0;
    for (int j = plan->at[i].block_first; j < plan->at[i].block_end; j++)
        joins |= plan->net->node[j].kind->joins_images;
    return !joins;
}

/* Images of a tile of the block of node `first`: about as many as have tile_rows rows in the value
 * with most rows, then a little fewer so that all tiles have nearly one size. */
static int64_t find_tile(const struct lj_plan *plan, int first)
{
    int64_t rows = 0, wanted = plan->options.tile_rows;
    for (int i = first; i < plan->at[first].block_end; i++)
        rows = lj_max_i64(rows, lj_shape_rows(&plan->at[i].shape));
    if (wanted <= 0 || !is_tiled(plan, first))
        return plan->images;
    int64_t images = lj_max_i64((wanted + rows / 2) / rows, 1);
    int64_t tiles = (plan->images + images - 1) / images;
    return (plan->images + tiles - 1) / lj_max_i64(tiles, 1);
}

static void find_tiles(struct lj_plan *plan)
{
    for (int i = 0; i < plan->net->count; i++)
        plan->at[i].tile = find_tile(plan, plan->at[i].block_first);
}

static bool in_block(const struct lj_plan *plan, int i)
{
    return plan->net->node[i].block >= 0;
}

static bool same_block(const struct lj_plan *plan, int i, int j)
{
    return in_block(plan, i) && plan->at[i].block_first == plan->at[j].block_first;
}

static bool read_only_in_block(const struct lj_plan *plan, int v)
{
    const struct lj_net *net = plan->net;
    for (int j = v + 1; j < net->count; j++)
        for (int k = 0; k < net->node[j].inputs; k++)
            if (net->node[j].in[k] == v && !same_block(plan, v, j))
                return false;
    return in_block(plan, v) && v + 1 < net->count;
}

/* ---- lifetimes --------------------------------------------------------------------------- */

/* May node i run a second time, before the backward of its block? */
static bool runs_again(const struct lj_plan *plan, int i)
{
    return plan->options.mode == LJ_PLAN_RECOMPUTE && in_block(plan, i);
}

/* The event at which the block of node i runs forward again, or else begins its backward. */
static int block_backward_event(const struct lj_plan *plan, int i)
{
    return backward_event(plan, plan->at[i].block_end - 1);
}

static void extend(struct lj_region *region, int event)
{
    region->death = region->death > event ? region->death : event;
}

/* Keeps value v, the output of node v, until node j has read it: in forward or, with in_backward,
 * in backward, too. v == j: the node's own backward reads its output. */
static void note_reader(struct lj_plan *plan, int v, int j, bool in_backward)
{
    struct lj_placing *at = &plan->at[v];
    bool again_j = runs_again(plan, j), inner = runs_again(plan, v) && same_block(plan, v, j);
    extend(&at->value[0], j);
    if (!trains(plan))
        return;
    if (inner) {
        if (!in_backward && !plan->at[j].again && plan->at[j].need.saved == 0)
            return; /* j itself does not run again */
        at->again = true;
        at->value[1].birth = block_backward_event(plan, v);
        extend(&at->value[1], in_backward ? backward_event(plan, j) : at->value[1].birth);
        return;
    }
    if (again_j) /* the second run reads it */
        extend(&at->value[0], block_backward_event(plan, j));
    if (in_backward)
        extend(&at->value[0], backward_event(plan, j));
}

/* Room for all images, or for one tile of the block of node i. */
static struct lj_region sized(const struct lj_plan *plan, int i, const struct lj_region *region,
                              int64_t bytes_per_image, bool of_tile)
{
    struct lj_region s = *region;
    s.stride = bytes_per_image;
    s.of_tile = of_tile;
    s.size = ((of_tile ? plan->at[i].tile : plan->images) * bytes_per_image + 3) / 4;
    return s;
}

static int64_t value_bytes(const struct lj_placing *at)
{
    return lj_shape_count(&at->shape) * lj_type_bytes(at->type);
}

static void size_values(struct lj_plan *plan)
{
    for (int i = 0; i < plan->net->count; i++) {
        struct lj_placing *at = &plan->at[i];
        bool inner = read_only_in_block(plan, i);
        bool dies_in_forward = at->value[0].death < plan->at[i].block_end;
        at->value[0] = sized(plan, i, &at->value[0], value_bytes(at), inner && dies_in_forward);
        if (at->again)
            at->value[1] = sized(plan, i, &at->value[1], value_bytes(at), true);
    }
}

static void find_value_lifetimes(struct lj_plan *plan)
{
    const struct lj_net *net = plan->net;
    for (int i = 0; i < net->count; i++)
        plan->at[i].value[0].birth = plan->at[i].value[0].death = i;
    for (int j = net->count - 1; j >= 0; j--) { /* last first: who reads j is known then */
        const struct lj_node *node = &net->node[j];
        if (node->inputs > 0 && trains(plan) && node->kind->keeps_output)
            note_reader(plan, j, j, true);
        for (int k = 0; k < node->inputs; k++)
            note_reader(plan, node->in[k], j, trains(plan) && node->kind->keeps_input[k]);
    }
    /* The caller may read the output until the pass ends, also after backward. */
    extend(&plan->at[net->count - 1].value[0], backward_event(plan, 0));
}

static void find_saved_lifetimes(struct lj_plan *plan)
{
    for (int i = 0; i < plan->net->count; i++) {
        struct lj_placing *at = &plan->at[i];
        int64_t bytes = 4 * at->need.saved;
        bool again = trains(plan) && runs_again(plan, i);
        struct lj_region first = {.birth = i, .death = i};
        if (trains(plan) && !again)
            first.death = backward_event(plan, i);
        at->saved[0] = sized(plan, i, &first, bytes, in_block(plan, i) && first.death == i);
        if (again && bytes > 0 && !at->again)
            extend(&at->value[0], block_backward_event(plan, i)); /* written a second time */
        struct lj_region second = {.birth = block_backward_event(plan, i),
                                   .death = backward_event(plan, i)};
        if (again)
            at->saved[1] = sized(plan, i, &second, bytes, true);
    }
}

/* The last node that reads value v, or -1. Its backward is the first to write the gradient of v. */
static int last_reader(const struct lj_net *net, int v)
{
    for (int j = net->count - 1; j > v; j--)
        for (int k = 0; k < net->node[j].inputs; k++)
            if (net->node[j].in[k] == v)
                return j;
    return -1;
}

static void find_gradient_lifetime(struct lj_plan *plan, int i)
{
    const struct lj_net *net = plan->net;
    struct lj_placing *at = &plan->at[i];
    int reader = last_reader(net, i);
    struct lj_region own = {.birth = reader < 0 ? turn(plan) : backward_event(plan, reader),
                            .death = backward_event(plan, i)};
    at->gradient = sized(plan, i, &own, value_bytes(at), read_only_in_block(plan, i));
    if (reader < 0 || !net->node[reader].kind->passes_gradient || net->node[reader].in[0] != i)
        return;
    /* It gets the region of the reader's own gradient, which must then hold all
     * images if either does. */
    int root = plan->at[reader].gradient_alias;
    at->gradient_alias = root < 0 ? reader : root;
    struct lj_region *shared = &plan->at[at->gradient_alias].gradient;
    extend(shared, own.death);
    *shared = sized(plan, i, shared, shared->stride, shared->of_tile && at->gradient.of_tile);
    at->gradient.size = 0;
}

static void find_gradient_lifetimes(struct lj_plan *plan)
{
    for (int i = plan->net->count - 1; i >= 0 && trains(plan); i--)
        if (lj_node_wants_gradient(&plan->net->node[i]))
            find_gradient_lifetime(plan, i);
}

/* The node whose forward or backward event this is. */
static int node_of_event(const struct lj_plan *plan, int event)
{
    int n = plan->net->count;
    return event < n ? event : 2 * n - event;
}

/* Extends the life of a region that holds all images to whole blocks: those of its
 * birth and its death, where these run on several tiles. */
static void through_blocks(const struct lj_plan *plan, struct lj_region *s)
{
    int n = plan->net->count;
    if (s->size == 0 || s->of_tile)
        return;
    if (s->birth != n) {
        const struct lj_placing *at = &plan->at[node_of_event(plan, s->birth)];
        if (at->tile < plan->images)
            s->birth = s->birth < n ? at->block_first : backward_event(plan, at->block_end - 1);
    }
    if (s->death != n && s->death <= 2 * n) {
        const struct lj_placing *at = &plan->at[node_of_event(plan, s->death)];
        if (at->tile < plan->images)
            s->death = s->death < n ? at->block_end - 1 : backward_event(plan, at->block_first);
    }
}

static void lengthen_to_blocks(struct lj_plan *plan)
{
    for (int i = 0; i < plan->net->count; i++) {
        struct lj_placing *at = &plan->at[i];
        through_blocks(plan, &at->value[0]);
        through_blocks(plan, &at->saved[0]);
        through_blocks(plan, &at->gradient);
    }
}

/* ---- creating ---------------------------------------------------------------------------- */

static int make_plan(struct lj_plan *p, const struct lj_shape *input)
{
    find_types(p);
    find_blocks(p);
    for (int i = 0; i < p->net->count; i++)
        p->at[i].tile = p->images;
    LJ_TRY(find_shapes(p, input));
    find_tiles(p);
    LJ_TRY(find_shapes(p, input));
    find_value_lifetimes(p);
    find_saved_lifetimes(p);
    size_values(p);
    find_gradient_lifetimes(p);
    lengthen_to_blocks(p);
    return lj_plan_place(p);
}

int lj_plan_create(struct lj_plan **plan, const struct lj_net *net, int64_t images,
                   const struct lj_shape *input, struct lj_plan_options options)
{
    struct lj_plan *p = lj_alloc(sizeof *p, "memory plan");
    if (!p)
        return LJ_ERR_RESOURCE;
    p->net = net;
    p->images = images;
    p->options = options;
    p->at = lj_alloc_array(net->count, sizeof *p->at, "memory plan");
    int status = p->at ? make_plan(p, input) : LJ_ERR_RESOURCE;
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

int64_t lj_plan_tile(const struct lj_plan *plan)
{
    int64_t images = plan->images;
    for (int i = 0; i < plan->net->count; i++)
        images = lj_min_i64(images, plan->at[i].tile);
    return images;
}

void lj_plan_tile_use(const struct lj_plan *plan, int64_t *rows, int64_t *bytes)
{
    *rows = *bytes = 0;
    for (int i = 0; i < plan->net->count; i++) {
        const struct lj_node *node = &plan->net->node[i];
        int64_t moved = value_bytes(&plan->at[i]);
        for (int k = 0; k < node->inputs; k++)
            moved += value_bytes(&plan->at[node->in[k]]);
        if (!is_tiled(plan, i))
            continue;
        *rows = lj_max_i64(*rows, plan->at[i].tile * lj_shape_rows(&plan->at[i].shape));
        *bytes = lj_max_i64(*bytes, plan->at[i].tile * moved);
    }
}

int64_t lj_plan_images(const struct lj_plan *plan)
{
    return plan->images;
}

const struct lj_net *lj_plan_net(const struct lj_plan *plan)
{
    return plan->net;
}
