/* SPDX-License-Identifier: Apache-2.0 */
/* The network as a flat array of nodes, and what all builders do. */
#include "nn/layers/build.h"

#include <stdio.h>
#include <string.h>

int64_t lj_shape_count(const struct lj_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->dims; i++)
        count *= shape->dim[i];
    return count;
}

int64_t lj_shape_features(const struct lj_shape *shape)
{
    return shape->dims > 0 ? shape->dim[shape->dims - 1] : 1;
}

int64_t lj_shape_rows(const struct lj_shape *shape)
{
    return shape->dims > 0 ? lj_shape_count(shape) / lj_shape_features(shape) : 1;
}

bool lj_shape_equal(const struct lj_shape *a, const struct lj_shape *b)
{
    bool equal = a->dims == b->dims;
    for (int i = 0; equal && i < a->dims; i++)
        equal = a->dim[i] == b->dim[i];
    return equal;
}

int lj_refuse_shape(const struct lj_node *node, const struct lj_shape *found, const char *expected)
{
    char text[96] = "";
    size_t at = 0;
    for (int i = 0; i < found->dims && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%lld", i ? ", " : "",
                               (long long)found->dim[i]);
    return lj_fail(LJ_ERR_CONFIG, "layer %s (%s): expected %s, found (%s)", node->name,
                   node->kind->name, expected, text);
}

int lj_take_dims(const struct lj_node *node, const struct lj_shape *in, int least, int most,
                 const char *expected)
{
    if (in->dims < least || in->dims > most || lj_shape_count(in) < 1)
        return lj_refuse_shape(node, in, expected);
    return LJ_OK;
}

int lj_take_rows(const struct lj_node *node, const struct lj_shape *in)
{
    return lj_take_dims(node, in, 1, 3, "rows of features: (C), (T, C) or (H, W, C)");
}

int lj_net_create(struct lj_net **net, struct lj_params *params)
{
    struct lj_net *n = lj_alloc(sizeof *n, "network");
    if (!n)
        return LJ_ERR_RESOURCE;
    n->params = params;
    n->block = -1;
    *net = n;
    return LJ_OK;
}

void lj_net_destroy(struct lj_net *net)
{
    if (!net)
        return;
    lj_free(net->node);
    lj_free(net);
}

int lj_net_copy(struct lj_net **copy, const struct lj_net *net, int count)
{
    struct lj_net *c;
    LJ_TRY(lj_net_create(&c, net->params));
    c->node = lj_alloc_array(count, sizeof *c->node, "network");
    if (!c->node) {
        lj_net_destroy(c);
        return LJ_ERR_RESOURCE;
    }
    memcpy(c->node, net->node, (size_t)count * sizeof *c->node);
    c->count = c->capacity = count;
    *copy = c;
    return LJ_OK;
}

int32_t lj_net_find(const struct lj_net *net, const char *format, ...)
{
    char name[LJ_NAME_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    for (int32_t i = 0; i < net->count; i++)
        if (strcmp(net->node[i].name, name) == 0)
            return i;
    return -1;
}

void lj_net_scope(struct lj_net *net, int32_t block, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(net->scope, sizeof net->scope, format, arguments);
    va_end(arguments);
    net->block = block;
}

/* Doubles the capacity of an array of elements of `size` bytes, if it is full. */
static int grow(void **array, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return LJ_OK;
    int wanted = *capacity ? 2 * *capacity : 64;
    void *larger = lj_alloc_array(wanted, size, "network");
    if (!larger)
        return LJ_ERR_RESOURCE;
    if (count > 0)
        memcpy(larger, *array, (size_t)count * size);
    lj_free(*array);
    *array = larger;
    *capacity = wanted;
    return LJ_OK;
}

static void full_name(char out[LJ_NAME_MAX], const struct lj_net *net, const char *name)
{
    const char *dot = net->scope[0] && name[0] ? "." : "";
    int length = snprintf(out, LJ_NAME_MAX, "%s%s%s", net->scope, dot, name);
    LJ_CHECK(length < LJ_NAME_MAX, "a name is too long: %s.%s", net->scope, name);
}

/* Index in the list of kinds; -1 when missing. */
static int index_of(const struct lj_layer_kind *kind)
{
    int count;
    const struct lj_layer_kind *const *list = lj_layer_kinds(&count);
    while (count > 0 && list[count - 1] != kind)
        count--;
    return count - 1;
}

lj_val lj_net_add(struct lj_net *net, struct lj_node node, const char *name)
{
    lj_val nothing = {0};
    node.kind_index = index_of(node.kind);
    LJ_CHECK(node.kind_index >= 0, "layer kind %s is missing in kinds.c", node.kind->name);
    if (net->status != LJ_OK)
        return nothing;
    struct lj_need need = {0};
    struct lj_shape in[LJ_INPUTS_MAX] = {{0}};
    for (int i = 0; i < node.inputs; i++)
        in[i] = net->node[node.in[i]].shape;
    node.block = net->block;
    full_name(node.name, net, name);
    net->status = node.kind->shape(&node, in, 1, &node.shape, &need);
    if (net->status == LJ_OK)
        net->status = grow((void **)&net->node, net->count, &net->capacity, sizeof node);
    if (net->status != LJ_OK)
        return nothing;
    net->node[net->count] = node;
    return (lj_val){net->count++};
}

lj_val lj_net_repeat(struct lj_net *net, int32_t of, lj_val x)
{
    if (net->status != LJ_OK)
        return (lj_val){0};
    struct lj_node node = net->node[of];
    LJ_CHECK(node.inputs == 1, "%s has several inputs", node.name);
    node.in[0] = x.index;
    return lj_net_add(net, node, net->node[of].name);
}

struct lj_shape lj_net_shape(const struct lj_net *net, lj_val x)
{
    return net->status == LJ_OK ? net->node[x.index].shape : (struct lj_shape){0};
}

void lj_net_param(struct lj_net *net, lj_val owner, struct lj_param param, const char *name)
{
    if (net->status != LJ_OK)
        return;
    struct lj_params *params = net->params;
    net->status = grow((void **)&params->list, params->count, &params->capacity, sizeof param);
    if (net->status != LJ_OK)
        return;
    full_name(param.name, net, name);
    param.pack[LJ_PACK_FORWARD] = param.pack[LJ_PACK_INPUT_GRADIENT] = -1;
    LJ_CHECK(lj_params_find(params, param.name) < 0, "two parameters named %s", param.name);
    param.count = 1;
    for (int i = 0; i < param.dims; i++)
        param.count *= param.dim[i];
    struct lj_node *node = &net->node[owner.index];
    for (int i = 0; i < node->inputs; i++)
        param.input_gradient |= lj_node_wants_gradient(&net->node[node->in[i]]);
    LJ_CHECK(node->params < LJ_NODE_PARAMS_MAX, "too many parameters in %s", node->name);
    node->param[node->params++] = params->count;
    params->list[params->count++] = param;
}

int64_t lj_net_flops(const struct lj_net *net, const struct lj_shape *input)
{
    int64_t sum = 0;
    struct lj_shape *shape = lj_alloc_array(net->count, sizeof *shape, "network");
    if (!shape)
        return 0;
    for (int i = 0; i < net->count; i++) {
        const struct lj_node *node = &net->node[i];
        struct lj_shape in[LJ_INPUTS_MAX] = {{0}};
        struct lj_need need = {0};
        for (int k = 0; k < node->inputs; k++)
            in[k] = shape[node->in[k]];
        if (node->inputs == 0)
            shape[i] = *input;
        else if (node->kind->shape(node, in, 1, &shape[i], &need) != LJ_OK)
            break;
        if (node->kind->flops)
            sum += node->kind->flops(node, in);
    }
    lj_free(shape);
    return sum;
}

int64_t lj_net_trained(const struct lj_net *net)
{
    int64_t sum = 0;
    for (int i = 0; i < net->count; i++)
        for (int p = 0; p < net->node[i].params; p++) {
            const struct lj_param *param = &net->params->list[net->node[i].param[p]];
            sum += param->role == LJ_ROLE_WEIGHT ? param->count : 0;
        }
    return sum;
}
