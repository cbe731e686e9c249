/* SPDX-License-Identifier: Apache-2.0 */
/* A shape that a layer cannot take is refused when the layer is added, with the layer's name, what
 * it expected and what it found. */
#include "net_case.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct lj_shape row = {1, {6}}, tokens = {2, {4, 6}}, map = {3, {2, 2, 6}};

typedef lj_val builder(struct lj_net *net, lj_val x);

static lj_val attention(struct lj_net *net, lj_val x)
{
    return lj_attention(net, "layer", x, 1);
}

static lj_val embed(struct lj_net *net, lj_val x)
{
    return lj_patch_embed(net, "layer", x, 2, 3);
}

static lj_val add_tokens(struct lj_net *net, lj_val x)
{
    return lj_tokens(net, "layer", x, 0, 2, 2);
}

static lj_val pool_token(struct lj_net *net, lj_val x)
{
    return lj_pool_token(net, "layer", x);
}

static lj_val pool_mean(struct lj_net *net, lj_val x)
{
    return lj_pool_mean(net, "layer", x, 0);
}

static lj_val pool_mean_of_none(struct lj_net *net, lj_val x)
{
    return lj_pool_mean(net, "layer", x, 4);
}

static lj_val batchnorm(struct lj_net *net, lj_val x)
{
    return lj_batchnorm(net, "layer", x, true);
}

static lj_val linear(struct lj_net *net, lj_val x)
{
    return lj_linear(net, "layer", x, 5, LJ_INIT_ZERO, 0);
}

static lj_val relu(struct lj_net *net, lj_val x)
{
    return lj_relu(net, "layer", x);
}

/* A branch of another width than the trunk's. */
static lj_val residual(struct lj_net *net, lj_val x)
{
    return lj_residual(net, "layer", x, lj_linear(net, "branch", x, 5, LJ_INIT_ZERO, 0), 0, 0);
}

/* A branch of fewer rows than the trunk's. */
static lj_val linear_residual(struct lj_net *net, lj_val x)
{
    return lj_linear_residual(net, "layer", x, lj_pool_mean(net, "branch", x, 0), LJ_INIT_ZERO, 0);
}

/* Values of different rows cannot stand side by side. */
static lj_val concat(struct lj_net *net, lj_val x)
{
    return lj_concat(net, "layer", x, lj_pool_mean(net, "mean", x, 0));
}

static const struct lj_conv_shape window = {.width = 3, .kernel = 5, .stride = 1, .padding = 1};

static lj_val conv(struct lj_net *net, lj_val x)
{
    return lj_conv(net, "layer", x, window, LJ_INIT_ZERO, 0);
}

static lj_val depthwise(struct lj_net *net, lj_val x)
{
    return lj_conv_depthwise(net, "layer", x, 3, false, LJ_INIT_ZERO, 0);
}

static lj_val stem(struct lj_net *net, lj_val x)
{
    return lj_stem(net, "layer", x, window, LJ_INIT_ZERO, 0);
}

static void refuses(builder *build, struct lj_shape shape, const char *expected, const char *found)
{
    struct net_case c;
    net_case_begin(&c);
    lj_net_scope(c.net, -1, "scope");
    build(c.net, lj_input(c.net, shape, true));
    cr_expect_eq(c.net->status, LJ_ERR_CONFIG, "%s is not refused", found);
    cr_expect(strstr(lj_error_text(), "layer scope.layer (") && strstr(lj_error_text(), expected) &&
                  strstr(lj_error_text(), found),
              "%s", lj_error_text());
    net_case_end(&c);
}

Test(shapes, a_layer_names_what_it_cannot_take)
{
    const struct lj_shape empty = {2, {0, 6}}, none = {0, {0}}, odd = {2, {5, 6}},
                          not_three = {2, {4, 7}};
    refuses(attention, row, "tokens (T, 3 C)", "found (6)");
    refuses(attention, map, "tokens (T, 3 C)", "found (2, 2, 6)");
    refuses(attention, not_three, "tokens (T, 3 C)", "found (4, 7)");
    refuses(embed, tokens, "an image (C, H, W)", "found (4, 6)");
    refuses(add_tokens, map, "tokens (T, C)", "found (2, 2, 6)");
    refuses(add_tokens, odd, "as many tokens as a grid has", "found (5, 6)");
    refuses(pool_token, row, "tokens (T, C)", "found (6)");
    refuses(pool_mean, row, "tokens (T, C) or positions (H, W, C)", "found (6)");
    refuses(pool_mean_of_none, tokens, "more rows", "found (4, 6)");
    refuses(batchnorm, empty, "rows of features", "found (0, 6)");
    refuses(linear, empty, "rows of features", "found (0, 6)");
    refuses(relu, none, "rows of features", "found ()");
    refuses(residual, tokens, "trunk's shape", "found (4, 5)");
    refuses(conv, tokens, "a map (H, W, C)", "found (4, 6)");
    refuses(conv, map, "as large as the kernel", "found (2, 2, 6)");
    refuses(depthwise, row, "a map (H, W, C)", "found (6)");
    refuses(stem, row, "an image (C, H, W)", "found (6)");
    refuses(stem, map, "as large as the kernel", "found (2, 2, 6)");
    refuses(linear_residual, tokens, "rows as the trunk", "found (6)");
    refuses(concat, tokens, "as many rows as the first", "found (6)");
}

/* A plan for another size of image says so, too. */
Test(shapes, a_plan_refuses_an_image_that_a_layer_cannot_take)
{
    struct net_case c;
    struct lj_plan *plan = NULL;
    net_case_begin(&c);
    pool_token(c.net, lj_input(c.net, tokens, true));
    net_case_layout(&c);
    int status =
        lj_plan_create(&plan, c.net, 1, &map, (struct lj_plan_options){LJ_PLAN_INFER, 0, 0});
    cr_assert_eq(status, LJ_ERR_CONFIG);
    cr_assert_not_null(strstr(lj_error_text(), "layer layer (pool_token)"), "%s", lj_error_text());
    net_case_end(&c);
}
