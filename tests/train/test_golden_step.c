/* SPDX-License-Identifier: Apache-2.0 */
/* Whole training steps of two tiny models against PyTorch (make_step.py): views -> encoder on
 * global and local views -> projector -> LeJEPA loss -> backward -> AdamW, in the order of
 * src/train/passes.c, with one lane that is the whole batch. The second model has registers, a mean
 * pool, a head, grid b, the additive loss about all views, and decays matrices only. */
#include "loss/loss.h"
#include "models/models.h"
#include "optim/optim.h"

#include "golden.h"
#include "mpi_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHANNELS = 2, SIZE = 12, LOCAL_SIZE = 8, SAMPLES = 5, VIEWS_OF_GROUP = 2, VIEWS = 4 };
enum { WIDTH = 8, SLICES = 16, STEPS = 3 };
enum part { GLOBAL, LOCAL, PROJECTOR, PARTS };

struct options {
    const char *group;
    int64_t registers, head;
    bool mean_pool, additive, matrices_only;
    enum lj_sigreg_grid grid;
    int64_t centre_views;
};

struct step_case {
    struct options options;
    struct lj_comm *comm;
    struct lj_model *model;
    struct lj_objective *loss;
    struct lj_optim *optim;
    struct lj_plan *plan[PARTS];
    struct lj_pass pass[PARTS];
    float *weights, *gradient; /* laid out like the parameters */
};

static struct lj_golden golden(const struct step_case *c, const char *part, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s%s%s", c->options.group, part, name[0] ? "/" : "", name);
    return lj_golden_f32("step.h5", path);
}

static float *take(int64_t count)
{
    float *values = lj_alloc_array(count, sizeof *values, "test");
    cr_assert_not_null(values);
    return values;
}

/* ---- set-up ------------------------------------------------------------------------------ */

static void make_model(struct step_case *c)
{
    static struct lj_config settings; /* too large for the stack */
    static const char *const words[] = {
        "model=vit",          "model.patch=4",       "model.width=16",
        "model.depth=2",      "model.heads=2",       "model.mlp_ratio=1.5",
        "projector.layers=3", "projector.hidden=24", "projector.norm=lane"};
    lj_config_defaults(&settings);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_assert_eq(lj_config_assign(&settings, words[i]), LJ_OK, "%s", lj_error_text());
    settings.model_registers = c->options.registers;
    settings.model_head = c->options.head;
    settings.model_pool = c->options.mean_pool ? LJ_MODEL_POOL_MEAN : LJ_MODEL_POOL_TOKEN;
    settings.projector_out = WIDTH;
    settings.views_local_size = LOCAL_SIZE;
    cr_assert_eq(lj_model_resolve(&settings, SIZE), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&c->model, &settings, CHANNELS, 1 << 14), LJ_OK, "%s",
                 lj_error_text());
    c->weights = take(c->model->params.elements);
    c->gradient = take(c->model->params.elements);
    for (int p = 0; p < c->model->params.count; p++) {
        const struct lj_param *param = &c->model->params.list[p];
        struct lj_golden w = golden(c, "weight", param->name);
        cr_assert_eq(w.count, param->count, "%s", param->name);
        memcpy(c->weights + param->offset, w.f32, (size_t)w.count * sizeof *w.f32);
        lj_golden_free(&w);
    }
}

static void make_plan(struct step_case *c, enum part part, int net, int64_t images,
                      struct lj_shape input)
{
    struct lj_plan_options options = {.mode = LJ_PLAN_TRAIN};
    cr_assert_eq(lj_plan_create(&c->plan[part], c->model->net[net], images, &input, options), LJ_OK,
                 "%s", lj_error_text());
    c->pass[part] = (struct lj_pass){.arena = take(lj_plan_arena(c->plan[part])),
                                     .scratch = take(lj_plan_scratch(c->plan[part]) / 4 + 1),
                                     .weights = c->weights,
                                     .gradient = c->gradient,
                                     .gradient_add = part == LOCAL,
                                     .train = true,
                                     .statistic_share = 1,
                                     .n = SAMPLES,
                                     .first_view = part == LOCAL ? VIEWS_OF_GROUP : 0};
}

static void make_optim(struct step_case *c)
{
    int64_t first = 0, count = c->model->params.elements;
    struct lj_shard_layout whole = {.buckets = 1,
                                    .first = &first,
                                    .count = &count,
                                    .offset = &first,
                                    .weights = &first,
                                    .elements = count};
    struct lj_optim_config config = {.beta1 = 0.9,
                                     .beta2 = 0.95,
                                     .eps = 1e-3,
                                     .weight_decay = 0.1,
                                     .decay_matrices_only = c->options.matrices_only,
                                     .statistic_momentum = 0.1,
                                     .lanes = 1};
    cr_assert_eq(lj_optim_create(&c->optim, &c->model->params, &whole, &config), LJ_OK);
}

static void begin(struct step_case *c)
{
    struct lj_lejepa_config loss = {.views = VIEWS,
                                    .centre_views = c->options.centre_views,
                                    .width = WIDTH,
                                    .slices = SLICES,
                                    .grid = c->options.grid,
                                    .lambda = 0.05,
                                    .additive = c->options.additive,
                                    .workers = 1,
                                    .lanes = 1,
                                    .lane_rows = SAMPLES};
    int64_t images = (int64_t)VIEWS_OF_GROUP * SAMPLES;
    c->comm = lj_case_begin();
    make_model(c);
    make_plan(c, GLOBAL, LJ_NET_ENCODER, images, (struct lj_shape){3, {CHANNELS, SIZE, SIZE}});
    make_plan(c, LOCAL, LJ_NET_ENCODER, images,
              (struct lj_shape){3, {CHANNELS, LOCAL_SIZE, LOCAL_SIZE}});
    make_plan(c, PROJECTOR, LJ_NET_PROJECTOR, 2 * images,
              (struct lj_shape){1, {c->model->embedding}});
    make_optim(c);
    cr_assert_eq(lj_lejepa_create(&c->loss, c->comm, &loss, NULL), LJ_OK);
}

static void end(struct step_case *c)
{
    for (int part = 0; part < PARTS; part++) {
        lj_plan_destroy(c->plan[part]);
        lj_free(c->pass[part].arena);
        lj_free(c->pass[part].scratch);
    }
    lj_free(c->weights);
    lj_free(c->gradient);
    lj_optim_destroy(c->optim);
    lj_objective_destroy(c->loss);
    lj_model_destroy(c->model);
    lj_case_end(c->comm);
}

/* ---- the step ---------------------------------------------------------------------------- */

static int last_node(const struct step_case *c, enum part part)
{
    return lj_plan_net(c->plan[part])->count - 1;
}

static void encode(struct step_case *c, enum part part, float *rows)
{
    struct lj_golden views = golden(c, part == GLOBAL ? "global" : "local", "");
    int last = last_node(c, part);
    memcpy(lj_plan_value(c->plan[part], &c->pass[part], 0), views.f32,
           (size_t)views.count * sizeof *views.f32);
    lj_forward(c->plan[part], &c->pass[part], 1, last + 1);
    memcpy(rows, lj_plan_value(c->plan[part], &c->pass[part], last),
           (size_t)(lj_plan_images(c->plan[part]) * c->model->embedding) * sizeof *rows);
    lj_golden_free(&views);
}

static void encode_backward(struct step_case *c, enum part part, const float *rows)
{
    int last = last_node(c, part);
    memcpy(lj_plan_gradient(c->plan[part], &c->pass[part], last), rows,
           (size_t)(lj_plan_images(c->plan[part]) * c->model->embedding) * sizeof *rows);
    lj_backward(c->plan[part], &c->pass[part], 0, last + 1);
}

/* Forward, loss and backward; the gradient is the batch's. */
static void differentiate(struct step_case *c, double term[LJ_TERMS_MAX])
{
    const struct lj_plan *plan = c->plan[PROJECTOR];
    const struct lj_pass *pass = &c->pass[PROJECTOR];
    int last = last_node(c, PROJECTOR);
    int64_t half = VIEWS_OF_GROUP * SAMPLES * c->model->embedding;
    struct lj_step_message message = {0};
    struct lj_golden slices = golden(c, "slices", "");
    float *rows = lj_plan_value(plan, pass, 0), *drows = lj_plan_gradient(plan, pass, 0);

    encode(c, GLOBAL, rows);
    encode(c, LOCAL, rows + half);
    lj_forward(plan, pass, 1, last + 1);
    const float *proj = lj_plan_value(plan, pass, last);
    lj_lejepa_begin_with(c->loss, slices.f32);
    struct lj_loss_lane lane = {.n = SAMPLES, .proj = proj};
    lj_objective_add(c->loss, &lane);
    cr_assert_eq(lj_objective_reduce(c->loss, LJ_OK, &message, term), LJ_OK, "%s", lj_error_text());
    lj_objective_gradient(c->loss, &lane, lj_plan_gradient(plan, pass, last));

    memset(c->gradient, 0, (size_t)c->model->params.elements * sizeof *c->gradient);
    lj_backward(plan, pass, 0, last + 1);
    encode_backward(c, GLOBAL, drows);
    encode_backward(c, LOCAL, drows + half);
    lj_golden_free(&slices);
}

/* ---- comparisons ------------------------------------------------------------------------- */

static void compare_losses(const struct step_case *c, int step, const double *term)
{
    char path[64];
    snprintf(path, sizeof path, "%s/loss", c->options.group);
    struct lj_golden loss = lj_golden_f64("step.h5", path);
    cr_assert_eq(loss.count, 3 * STEPS);
    for (int i = 0; i < 3; i++)
        cr_assert_float_eq(term[i], loss.f64[3 * step + i], 1e-5 * loss.f64[3 * step + i],
                           "step %d, term %d: %.9g, PyTorch has %.9g", step, i, term[i],
                           loss.f64[3 * step + i]);
    lj_golden_free(&loss);
}

static double largest_of(const struct lj_golden *g)
{
    double largest = 0;
    for (int64_t i = 0; i < g->count; i++)
        largest = fmax(largest, fabs((double)g->f32[i]));
    return largest;
}

/* Within `share` of the tensor's largest element; of `least` where all are smaller. */
static void compare(const struct step_case *c, const char *what, const struct lj_param *param,
                    const float *values, double share, double least)
{
    struct lj_golden expected = golden(c, what, param->name);
    double allowed = share * fmax(largest_of(&expected), least);
    cr_assert_eq(expected.count, param->count, "%s", param->name);
    for (int64_t i = 0; i < param->count; i++) {
        double got = (double)values[param->offset + i], right = (double)expected.f32[i];
        cr_assert(fabs(got - right) <= allowed, "%s of %s: element %lld is %.8g, PyTorch has %.8g",
                  what, param->name, (long long)i, got, right);
    }
    lj_golden_free(&expected);
}

static void check(struct options options)
{
    struct step_case c = {.options = options};
    begin(&c);
    const struct lj_params *params = &c.model->params;
    for (int step = 0; step < STEPS; step++) {
        double term[LJ_TERMS_MAX];
        differentiate(&c, term);
        compare_losses(&c, step, term);
        for (int p = 0; step == 0 && p < params->count; p++)
            if (params->list[p].role == LJ_ROLE_WEIGHT)
                compare(&c, "gradient", &params->list[p], c.gradient, 1e-4, 1e-2);
        lj_optim_statistics(c.optim, c.weights, c.gradient);
        lj_optim_step(c.optim, step + 1, 1e-2, 1, c.weights, c.gradient);
    }
    for (int p = 0; p < params->count; p++)
        compare(&c, "new", &params->list[p], c.weights, 1e-5, 0.1);
    end(&c);
}

Test(golden_step, class_token_grid_a_convex)
{
    check((struct options){
        .group = "token", .grid = LJ_SIGREG_GRID_A, .centre_views = VIEWS_OF_GROUP});
}

Test(golden_step, mean_pool_grid_b_additive)
{
    check((struct options){.group = "mean",
                           .registers = 2,
                           .head = 12,
                           .mean_pool = true,
                           .additive = true,
                           .matrices_only = true,
                           .grid = LJ_SIGREG_GRID_B,
                           .centre_views = VIEWS});
}
