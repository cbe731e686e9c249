/* SPDX-License-Identifier: Apache-2.0 */
/* Other ends of an encoder's net than its embedding. */
#include "models/models.h"

struct lj_net lj_model_until(const struct lj_model *model, int32_t value)
{
    struct lj_net net = *model->net[LJ_NET_ENCODER];
    net.count = value + 1;
    return net;
}

int64_t lj_model_heads(const struct lj_model *model)
{
    if (!model->has_places || model->places.attention < 0)
        return 0;
    return model->net[LJ_NET_ENCODER]->node[model->places.attention].ints[0];
}

int64_t lj_model_last_two_width(const struct lj_model *model)
{
    const struct lj_encoder_places *places = &model->places;
    const struct lj_node *node = model->net[LJ_NET_ENCODER]->node;
    if (!model->has_places || places->layer[0] < 0)
        return 0;
    return lj_shape_features(&node[places->layer[0]].shape) +
           lj_shape_features(&node[places->pooled].shape);
}

/* What the last layer goes through, once more for the one before it; without the parameters that
 * are of another width. */
static lj_val pool_again(struct lj_net *net, const struct lj_encoder_places *places)
{
    lj_val x = {places->layer[0]};
    int64_t width = lj_shape_features(&net->node[places->layer[0]].shape);
    bool fits = width == lj_shape_features(&net->node[places->layer[1]].shape);
    lj_net_scope(net, -1, "last_but_one");
    for (int32_t i = places->layer[1] + 1; i <= places->pooled; i++)
        if (fits || net->node[i].params == 0)
            x = lj_net_repeat(net, i, x);
    return x;
}

int lj_model_last_two(struct lj_net **net, const struct lj_model *model)
{
    const struct lj_encoder_places *places = &model->places;
    if (!model->has_places || places->layer[0] < 0)
        return lj_fail(LJ_ERR_CONFIG, "layers=2: the encoder (%s) has one layer; choose layers=1",
                       model->config.text);
    struct lj_net *copy;
    LJ_TRY(lj_net_copy(&copy, model->net[LJ_NET_ENCODER], places->pooled + 1));
    lj_val first = pool_again(copy, places);
    lj_concat(copy, "features", first, (lj_val){places->pooled});
    int status = copy->status;
    if (status == LJ_OK)
        *net = copy;
    else
        lj_net_destroy(copy);
    return status;
}
