/* SPDX-License-Identifier: Apache-2.0 */
/* Vision transformer: pre-norm blocks, qkv with bias, exact GELU, learned positions. */
#include "lejepa/models.h"

static const double eps = 1e-6, std = 0.02;

static lj_val attention_branch(struct lj_net *n, const struct lj_vit_config *c, lj_val x)
{
    x = lj_layernorm(n, "norm1", x, eps);                               /* (T, C)  */
    x = lj_linear(n, "attn.qkv", x, 3 * c->width, LJ_INIT_NORMAL, std); /* (T, 3C) */
    x = lj_attention(n, "attn", x, c->heads);                           /* (T, C)  */
    return lj_linear(n, "attn.proj", x, c->width, LJ_INIT_NORMAL, std); /* (T, C)  */
}

static lj_val mlp_branch(struct lj_net *n, const struct lj_vit_config *c, lj_val x)
{
    x = lj_layernorm(n, "norm2", x, eps);                             /* (T, C)      */
    x = lj_linear(n, "mlp.fc1", x, c->hidden, LJ_INIT_NORMAL, std);   /* (T, hidden) */
    x = lj_gelu(n, "mlp.act", x);                                     /* (T, hidden) */
    return lj_linear(n, "mlp.fc2", x, c->width, LJ_INIT_NORMAL, std); /* (T, C)      */
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
        x = lj_residual(n, "sum1", x, attention_branch(n, c, x), drop, 2 * b);
        lj_net_scope(n, 2 * b + 1, "blocks.%d", b);
        x = lj_residual(n, "sum2", x, mlp_branch(n, c, x), drop, 2 * b + 1);
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
