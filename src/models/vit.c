/* SPDX-License-Identifier: Apache-2.0 */
/* Vision transformer: pre-norm blocks, qkv with bias, exact GELU, learned positions. */
#include "models/models.h"

static const double eps = 1e-6, std = 0.02;

/* Ends a branch: x W^T + b added to the trunk; its own pass only where the branch is dropped at times. */
static lj_val end_branch(struct lj_net *n, const char *name, const char *sum, lj_val trunk,
                         lj_val x, int64_t width, double drop, int64_t layer)
{
    if (drop == 0)
        return lj_linear_residual(n, name, trunk, x, LJ_INIT_NORMAL, std);
    x = lj_linear(n, name, x, width, LJ_INIT_NORMAL, std);
    return lj_residual(n, sum, trunk, x, drop, layer);
}

static lj_val attention_half(struct lj_net *n, const struct lj_vit_config *c, lj_val trunk,
                             double drop, int64_t layer)
{
    lj_val x = lj_layernorm(n, "norm1", trunk, eps);                    /* (T, C)  */
    x = lj_linear(n, "attn.qkv", x, 3 * c->width, LJ_INIT_NORMAL, std); /* (T, 3C) */
    x = lj_attention(n, "attn", x, c->heads);                           /* (T, C)  */
    return end_branch(n, "attn.proj", "sum1", trunk, x, c->width, drop, layer);
}

static lj_val mlp_half(struct lj_net *n, const struct lj_vit_config *c, lj_val trunk, double drop,
                       int64_t layer)
{
    lj_val x = lj_layernorm(n, "norm2", trunk, eps);                /* (T, C)      */
    x = lj_linear(n, "mlp.fc1", x, c->hidden, LJ_INIT_NORMAL, std); /* (T, hidden) */
    x = lj_gelu(n, "mlp.act", x);                                   /* (T, hidden) */
    return end_branch(n, "mlp.fc2", "sum2", trunk, x, c->width, drop, layer);
}

lj_val lj_vit(struct lj_net *n, const struct lj_vit_config *c)
{
    int64_t grid = c->size / c->patch;
    lj_net_scope(n, -1, "%s", "");
    lj_val x = lj_input(n, (struct lj_shape){3, {c->channels, c->size, c->size}}, false);
    x = lj_patch_embed(n, "patch_embed", x, c->patch, c->width); /* (T, C) */
    x = lj_tokens(n, "tokens", x, c->registers, grid, grid);     /* + class, registers */
    for (int b = 0; b < (int)c->depth; b++) {
        double drop = c->depth > 1 ? c->drop_path * b / (double)(c->depth - 1) : 0;
        lj_net_scope(n, 2 * b, "blocks.%d", b);
        x = attention_half(n, c, x, drop, 2 * b);
        lj_net_scope(n, 2 * b + 1, "blocks.%d", b);
        x = mlp_half(n, c, x, drop, 2 * b + 1);
    }
    lj_net_scope(n, -1, "%s", "");
    if (c->mean_pool)
        x = lj_layernorm(n, "fc_norm", lj_pool_mean(n, "pool", x, 1 + c->registers), eps);
    else
        x = lj_pool_token(n, "pool", lj_layernorm(n, "norm", x, eps));
    if (c->head > 0)
        x = lj_linear(n, "head", x, c->head, LJ_INIT_NORMAL, std);
    return x; /* (C) */
}
