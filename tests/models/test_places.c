/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in the last layers of small encoders, against timm's. */
#include "models/models.h"

#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-5; /* of max(1, value) */

#define SMALL_VIT                                                                     \
    "model=vit", "model.patch=4", "model.width=12", "model.depth=3", "model.heads=3", \
        "model.mlp_ratio=2", "views.global_size=12", "views.local=0"
enum { WORDS = 12 };

static const struct places_case {
    const char *group; /* of places.h5 */
    const char *word[WORDS];
} cases[] = {
    {"class", {SMALL_VIT}},
    {"mean", {SMALL_VIT, "model.registers=2", "model.pool=mean", "model.head=5"}},
    {"stages",
     {"model=convnextv2", "model.patch=1", "model.width=4", "model.depth=1", "views.global_size=16",
      "views.local=0"}},
};
enum { CASES = sizeof cases / sizeof *cases };

static struct lj_model *create(const char *const *word, int64_t channels)
{
    static struct lj_config settings; /* too large for the stack */
    struct lj_model *model = NULL;
    lj_config_defaults(&settings);
    for (int i = 0; i < WORDS && word[i]; i++)
        cr_assert_eq(lj_config_assign(&settings, word[i]), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_resolve(&settings, 0), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &settings, channels, 1 << 22), LJ_OK, "%s",
                 lj_error_text());
    return model;
}

static struct lj_golden golden(const char *group, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", group, name);
    return lj_golden_f32("places.h5", path);
}

/* timm's weights; the projector's stay zero. Owned by the caller: free. */
static float *weights_of(const struct lj_model *model, const char *group)
{
    float *weights = calloc((size_t)model->params.elements, sizeof *weights);
    char path[128];
    for (int p = 0; p < model->params.count; p++) {
        const struct lj_param *param = &model->params.list[p];
        snprintf(path, sizeof path, "weight/%s", param->name);
        if (strncmp(param->name, "projector.", 10) == 0)
            continue;
        struct lj_golden w = golden(group, path);
        cr_assert_eq(w.count, param->count, "%s", param->name);
        memcpy(weights + param->offset, w.f32, (size_t)w.count * sizeof *weights);
        lj_golden_free(&w);
    }
    return weights;
}

/* Output of a net for images x. Owned by the caller: free. */
static float *run(const struct lj_net *net, const float *weights, const struct lj_golden *x)
{
    struct lj_plan *plan = NULL;
    const struct lj_shape image = {3, {x->shape[1], x->shape[2], x->shape[3]}};
    cr_assert_eq(lj_plan_create(&plan, net, x->shape[0], &image,
                                (struct lj_plan_options){.mode = LJ_PLAN_INFER}),
                 LJ_OK, "%s", lj_error_text());
    struct lj_pass pass = {.arena = lj_alloc_array(lj_plan_arena(plan), sizeof(float), "test"),
                           .scratch = lj_alloc_array(lj_plan_scratch(plan), 1, "test"),
                           .weights = weights,
                           .n = x->shape[0]};
    memcpy(lj_plan_value(plan, &pass, 0), x->f32, (size_t)x->count * sizeof(float));
    lj_forward(plan, &pass, 1, net->count);
    int64_t count = x->shape[0] * lj_shape_count(&net->node[net->count - 1].shape);
    float *out = calloc((size_t)count, sizeof *out);
    memcpy(out, lj_plan_value(plan, &pass, net->count - 1), (size_t)count * sizeof *out);
    lj_free(pass.arena);
    lj_free(pass.scratch);
    lj_plan_destroy(plan);
    return out;
}

static void compare(const char *what, const float *got, const struct lj_golden *expected)
{
    for (int64_t i = 0; i < expected->count; i++)
        cr_assert(fabs((double)got[i] - (double)expected->f32[i]) <=
                      tolerance * fmax(1, fabs((double)expected->f32[i])),
                  "%s: element %lld is %.7g, timm has %.7g", what, (long long)i, (double)got[i],
                  (double)expected->f32[i]);
}

Test(places, features_of_the_last_two_layers_are_those_of_timm)
{
    for (int i = 0; i < CASES; i++) {
        struct lj_golden x = golden(cases[i].group, "x");
        struct lj_golden features = golden(cases[i].group, "features");
        struct lj_model *model = create(cases[i].word, x.shape[1]);
        struct lj_net *net = NULL;
        cr_assert_eq(lj_model_last_two(&net, model), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_model_last_two_width(model), features.shape[1]);
        float *weights = weights_of(model, cases[i].group), *out = run(net, weights, &x);
        compare(cases[i].group, out, &features);
        free(out);
        free(weights);
        lj_net_destroy(net);
        lj_model_destroy(model);
        lj_golden_free(&features);
        lj_golden_free(&x);
    }
}

/* The softmax of the last block, from what its qkv makes of images. */
Test(places, attention_of_the_last_block_is_that_of_timm)
{
    for (int i = 0; i < 2; i++) {
        struct lj_golden x = golden(cases[i].group, "x");
        struct lj_golden attention = golden(cases[i].group, "attention");
        struct lj_model *model = create(cases[i].word, x.shape[1]);
        const struct lj_net *net = model->net[LJ_NET_ENCODER];
        const struct lj_node *node = &net->node[model->places.attention];
        const struct lj_net until = lj_model_until(model, node->in[0]);
        cr_assert_eq(lj_model_heads(model), attention.shape[1]);
        cr_assert_eq(model->places.prefix + model->places.grid[0] * model->places.grid[1],
                     attention.shape[2]);
        float *weights = weights_of(model, cases[i].group), *qkv = run(&until, weights, &x);
        float *found = calloc((size_t)attention.count, sizeof *found);
        cr_assert_eq(
            lj_attention_weights(node, &net->node[node->in[0]].shape, x.shape[0], qkv, found),
            LJ_OK, "%s", lj_error_text());
        compare("attention", found, &attention);
        free(found);
        free(qkv);
        free(weights);
        lj_model_destroy(model);
        lj_golden_free(&attention);
        lj_golden_free(&x);
    }
}

Test(places, a_convolutional_encoder_has_no_attention)
{
    struct lj_model *model = create(cases[2].word, 2);
    cr_assert_eq(lj_model_heads(model), 0);
    lj_model_destroy(model);
}

/* Where there is no head, the last layer's features are the embedding, to the bit; and those of a
 * stage before the last are means of its map. */
Test(places, the_last_layers_features_are_the_embedding)
{
    static const char *const word[WORDS] = {"model=resnet", "model.width=4", "model.depth=1",
                                            "views.global_size=16", "views.local=0"};
    struct lj_model *model = create(word, 2);
    struct lj_net *net = NULL, before = lj_model_until(model, model->places.layer[0]);
    struct lj_golden x = golden("stages", "x");
    cr_assert_eq(lj_model_last_two(&net, model), LJ_OK, "%s", lj_error_text());
    float *weights = calloc((size_t)model->params.elements, sizeof *weights);
    lj_params_init(&model->params, 1, 0, model->params.elements, weights);
    float *out = run(net, weights, &x), *map = run(&before, weights, &x);
    float *embedding = run(model->net[LJ_NET_ENCODER], weights, &x);
    const struct lj_shape shape = before.node[before.count - 1].shape;
    int64_t positions = lj_shape_rows(&shape), width = lj_shape_features(&shape);
    cr_assert_eq(lj_model_last_two_width(model), width + model->embedding);
    for (int64_t i = 0; i < x.shape[0]; i++) {
        const float *row = out + i * (width + model->embedding);
        cr_assert_arr_eq(row + width, embedding + i * model->embedding,
                         (size_t)model->embedding * sizeof *row);
        for (int64_t j = 0; j < width; j++) {
            double sum = 0;
            for (int64_t p = 0; p < positions; p++)
                sum += (double)map[(i * positions + p) * width + j];
            cr_assert_float_eq((double)row[j], sum / (double)positions, tolerance);
        }
    }
    free(embedding);
    free(map);
    free(out);
    free(weights);
    lj_golden_free(&x);
    lj_net_destroy(net);
    lj_model_destroy(model);
}

Test(places, an_encoder_of_one_layer_has_no_two)
{
    static const char *const word[WORDS] = {"model=vit", "model.width=12", "model.depth=1",
                                            "views.global_size=16", "views.local=0"};
    struct lj_model *model = create(word, 2);
    struct lj_net *net = NULL;
    cr_assert_eq(lj_model_last_two_width(model), 0);
    cr_assert_eq(lj_model_last_two(&net, model), LJ_ERR_CONFIG);
    cr_assert(strstr(lj_error_text(), "has one layer"), "%s", lj_error_text());
    lj_model_destroy(model);
}
