/* SPDX-License-Identifier: Apache-2.0 */
/* A model's own classifier against its weights in double, on several ranks. */
#include "eval/eval.h"

#include "mpi_case.h"
#include "random.h"
#include "share.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 300, WIDTH = 24, CLASSES = 5 };

static struct lj_config config;
static float x[ROWS * WIDTH];
static int32_t predicted[ROWS];
static const int32_t label[CLASSES] = {3, 7, 8, 40, 1000};

static struct lj_model *make_model(void)
{
    static const char *const words[] = {"model=vit",           "model.width=24", "model.depth=1",
                                        "model.heads=3",       "model.patch=4",  "views.local=0",
                                        "supervised.classes=5"};
    struct lj_model *model = NULL;
    lj_config_defaults(&config);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_assert_eq(lj_config_assign(&config, words[i]), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_resolve(&config, 16), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &config, 1, 1 << 20), LJ_OK, "%s", lj_error_text());
    return model;
}

static const float *tensor(const struct lj_model *model, const float *weights, const char *name,
                           int64_t count)
{
    int i = lj_params_find(&model->params, name);
    cr_assert(i >= 0 && model->params.list[i].count == count, "%s", name);
    return weights + model->params.list[i].offset;
}

static int32_t expected(const float *weight, const float *bias, const float *row)
{
    double best = -1e300;
    int32_t found = -1;
    for (int k = 0; k < CLASSES; k++) {
        double logit = (double)bias[k];
        for (int j = 0; j < WIDTH; j++)
            logit += (double)weight[k * WIDTH + j] * (double)row[j];
        if (logit > best) {
            best = logit;
            found = label[k];
        }
    }
    return found;
}

/* So many rows, which ranks share. */
static void compare(struct lj_comm *comm, const struct lj_model *model, const float *weights,
                    int64_t rows)
{
    const float *weight = tensor(model, weights, "projector.0.weight", CLASSES * WIDTH);
    const float *bias = tensor(model, weights, "projector.0.bias", CLASSES);
    struct lj_embedder embedder = {.model = model, .weights = weights, .config = &config};
    struct lj_features mine = share_of(comm, x, rows, WIDTH);
    int64_t wrong = 0;
    memset(predicted, 0, sizeof predicted);
    int status = lj_classify(comm, &embedder, label, &mine, predicted);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    for (int64_t i = 0; i < rows; i++)
        wrong += predicted[i] != expected(weight, bias, x + i * WIDTH);
    lj_all_assert(comm, wrong == 0, "%lld of %lld rows", (long long)wrong, (long long)rows);
}

/* Blocks that are cut, fewer blocks than ranks, no rows. */
Test(classify, as_the_weights_say, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_model *model = make_model();
    float *weights = calloc((size_t)model->params.elements, sizeof *weights);
    lj_random_normal_f32(weights, model->params.elements, 4);
    lj_random_normal_f32(x, ROWS * WIDTH, 5);
    lj_all_assert(comm, lj_model_classifies(&config), "no classifier");
    for (int64_t rows = 0; rows <= ROWS; rows += 75)
        compare(comm, model, weights, rows);
    free(weights);
    lj_model_destroy(model);
    lj_case_end(comm);
}
