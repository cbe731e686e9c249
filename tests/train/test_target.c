/* SPDX-License-Identifier: Apache-2.0 */
/* The target of an objective: whose weights it has, which views it sees, and that it drops no
 * branch, by settings under which its projections must be those of the trained network.
 * The network itself, losses and gradients are compared with PyTorch elsewhere. */
#include "train/trainer.h"
#include "mpi_case.h"
#include "tmpdir.h"
#include "train_archive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { STEPS = 3 };

static struct lj_comm *world;
static struct lj_tmpdir dir;
static struct lj_archive *archive;
static struct lj_config config;

static void begin(void)
{
    world = lj_case_begin();
    lj_train_archive_open(world, &dir, &archive);
}

static void end(void)
{
    lj_archive_close(archive);
    if (lj_comm_is_root(world))
        lj_tmpdir_remove(&dir);
    lj_case_end(world);
}

TestSuite(target, .timeout = 60, .init = begin, .fini = end);

static void configure(const char *const *settings)
{
    static const char *const base[] = {"objective=byol",
                                       "model=vit",
                                       "model.width=24",
                                       "model.depth=2",
                                       "model.heads=3",
                                       "model.patch=4",
                                       "views.global=2",
                                       "projector.hidden=16",
                                       "projector.out=8",
                                       "optim.lr=1e-2",
                                       "optim.warmup_epochs=0",
                                       "guard.stall_s=0",
                                       "batch.size=32",
                                       "train.steps=3",
                                       "threads=1",
                                       NULL};
    lj_config_defaults(&config);
    for (const char *const *list[] = {base, settings, NULL}, *const *const *at = list; *at; at++)
        for (const char *const *word = *at; *word; word++)
            cr_assert_eq(lj_config_assign(&config, *word), LJ_OK, "%s", lj_error_text());
}

/* How far the target's projections of my lanes are from those of the same views by the trained
 * network, which its last step made. */
static double distance_of(const struct lj_trainer *t)
{
    const struct lj_plan *plan = t->plan[LJ_PASS_PROJECTOR];
    int64_t count = t->views[0] * t->n * t->model->config.projector.out;
    double largest = 0;
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, 0);
        const float *trained = lj_plan_value(plan, &pass, lj_plan_net(plan)->count - 1);
        for (int64_t i = 0; i < count; i++)
            largest = fmax(largest, fabs((double)trained[i] - (double)t->averaged[k * count + i]));
    }
    return largest;
}

/* The same number, but for rounding? Weights move by far more than that. */
static bool is_near(const struct lj_trainer *t)
{
    double distance = distance_of(t);
    lj_all_max_f64(world, &distance, 1);
    return distance < 1e-5;
}

/* Trains; says of each step whether the target's projections were those of the trained network, and
 * what its first number was in the last step, on ranks with lanes. */
static void train(const char *const *settings, bool same[STEPS], float *projection)
{
    struct lj_trainer *t = NULL;
    configure(settings);
    int status = lj_trainer_create(&t, world, &config, archive, NULL);
    for (int64_t step = 0; step < STEPS && status == LJ_OK; step++) {
        struct lj_step_report report = {0};
        status = lj_trainer_step(t, step, false, &report);
        same[step] = is_near(t);
    }
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    if (t->averaged)
        *projection = t->averaged[0];
    lj_trainer_destroy(t);
}

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Momentum 0 in the first step: in the second the target is the trained network. In the first both
 * are the initial one. Later the momentum rises. */
Test(target, has_the_averaged_weights)
{
    bool same[STEPS];
    float projection;
    train(SETTINGS("views.local=0", "target.momentum=0"), same, &projection);
    lj_all_assert(world, same[0] && same[1] && !same[2], "%d %d %d", same[0], same[1], same[2]);
    train(SETTINGS("views.local=0", "target.momentum=0.9"), same, &projection);
    lj_all_assert(world, same[0] && !same[1] && !same[2], "%d %d %d", same[0], same[1], same[2]);
}

/* One that never moves has the initial weights: those of a network that is not trained. */
Test(target, may_stand_still)
{
    bool same[STEPS];
    float fixed = 1, untrained = 1;
    train(SETTINGS("views.local=0", "target.momentum=1"), same, &fixed);
    lj_all_assert(world, same[0] && !same[1], "%d %d", same[0], same[1]);
    train(SETTINGS("views.local=0", "optim.lr=0", "optim.lr_floor=0", "projector.norm=layer",
                   "predictor.hidden=5"),
          same, &untrained);
    lj_all_assert(world, same[0] && same[1] && same[2], "%d %d %d", same[0], same[1], same[2]);
    train(SETTINGS("views.local=0", "target.momentum=1", "projector.norm=layer"), same, &fixed);
    lj_all_assert(world, lj_all_min(world, fixed == untrained) == 1, "%g %g", (double)fixed,
                  (double)untrained);
}

/* Local views reach no target: where no statistics join views, its projections are those of the
 * trained network's global views; where they do, they are not. */
Test(target, sees_global_views_alone)
{
    bool same[STEPS];
    float projection;
    train(SETTINGS("views.local=2", "projector.norm=layer"), same, &projection);
    lj_all_assert(world, same[0], "layer norm");
    train(SETTINGS("views.local=2", "projector.norm=batch"), same, &projection);
    lj_all_assert(world, !same[0], "statistics of the batch");
}

/* Branches are dropped of the trained network alone. */
Test(target, drops_no_branch)
{
    bool same[STEPS];
    float whole = 1, dropped = 2;
    train(SETTINGS("views.local=0", "model.drop_path=0.5"), same, &dropped);
    lj_all_assert(world, !same[0], "the trained network drops no branch");
    train(SETTINGS("views.local=0", "model.drop_path=0.5", "optim.lr=0", "target.momentum=1"), same,
          &dropped);
    train(SETTINGS("views.local=0", "model.drop_path=0", "optim.lr=0", "target.momentum=1"), same,
          &whole);
    lj_all_assert(world, lj_all_min(world, whole == dropped) == 1, "%g %g", (double)whole,
                  (double)dropped);
}

/* ---- prototypes -------------------------------------------------------------------------- */

static double cosine(const float *a, const float *b, int64_t width)
{
    double product = 0, aa = 0, bb = 0;
    for (int64_t j = 0; j < width; j++) {
        product += (double)a[j] * (double)b[j];
        aa += (double)a[j] * (double)a[j];
        bb += (double)b[j] * (double)b[j];
    }
    return product / sqrt(aa * bb);
}

/* How far the target's cosines of the last step are from those of its projections with the
 * prototypes among these weights. */
static double distance_from(const struct lj_trainer *t, const float *weights)
{
    const struct lj_param *param =
        &t->model->params.list[lj_params_find(&t->model->params, "projector.prototypes.weight")];
    int64_t K = param->dim[0], D = param->dim[1], rows = t->views[0] * t->n;
    double largest = 0;
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_TARGET_HEAD, k, 0);
        const float *projection = lj_plan_value(t->plan[LJ_PASS_TARGET_HEAD], &pass, 0);
        for (int64_t i = 0; i < rows * K; i++) {
            double wanted = cosine(projection + i / K * D, weights + param->offset + i % K * D, D);
            largest = fmax(largest, fabs((double)t->averaged[k * rows * K + i] - wanted));
        }
    }
    return largest;
}

/* Prototypes are those of the average, as the network before them is. */
Test(target, compares_with_the_averaged_prototypes)
{
    struct lj_trainer *t = NULL;
    double distance[2] = {0, 1}; /* from those of the average, and of the trained network */
    configure(SETTINGS("objective=dino", "dino.prototypes=12", "dino.freeze_epochs=0",
                       "views.local=1", "target.momentum=0.9"));
    int status = lj_trainer_create(&t, world, &config, archive, NULL);
    for (int64_t step = 0; step < STEPS && status == LJ_OK; step++) {
        struct lj_step_report report = {0};
        status = lj_trainer_step(t, step, false, &report);
    }
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    if (lj_my_lanes(t) > 0) {
        distance[0] = distance_from(t, t->target);
        distance[1] = distance_from(t, t->weights);
    }
    lj_all_assert(world, distance[0] < 1e-5 && distance[1] > 1e-3, "%g, %g", distance[0],
                  distance[1]);
    lj_trainer_destroy(t);
}

enum { WEIGHTS = 12 * 8 }; /* of the prototypes */

/* A trainer of DINO on one rank whose prototypes are held for so many steps of its settings; from a
 * checkpoint, or NULL. */
static struct lj_trainer *holding(struct lj_comm *single, double steps, const char *from)
{
    struct lj_trainer *t = NULL;
    configure(SETTINGS("objective=dino", "dino.prototypes=12", "views.local=1", "train.steps=100",
                       "optim.weight_decay=0", "resume.change=dino.freeze_epochs"));
    config.dino_freeze_epochs = steps * 32 / (double)lj_archive_info(archive)->selected;
    int status = lj_trainer_create(&t, single, &config, archive, from);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text());
    return t;
}

/* Trains steps [first, end). Returns how far the prototypes move, in units of the last learning
 * rate. */
static double prototypes_move(struct lj_trainer *t, int64_t first, int64_t end)
{
    double largest = 0;
    float before[WEIGHTS];
    struct lj_step_report report = {0};
    int p = lj_params_find(&t->model->params, "projector.prototypes.weight");
    cr_assert(p >= 0 && t->model->params.list[p].count == WEIGHTS);
    const float *now = t->weights + t->model->params.list[p].offset;
    memcpy(before, now, sizeof before);
    for (int64_t step = first; step < end; step++)
        cr_assert_eq(lj_trainer_step(t, step, false, &report), LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < WEIGHTS; i++)
        largest = fmax(largest, fabs((double)now[i] - (double)before[i]));
    return largest / report.lr;
}

/* In the first steps of a run whose prototypes are held for `held`. */
static double move_held(struct lj_comm *single, double held)
{
    struct lj_trainer *t = holding(single, held, NULL);
    double moved = prototypes_move(t, 0, STEPS);
    lj_trainer_destroy(t);
    return moved;
}

/* In the first epochs, as many as it is said; the rest of the network moves. Adam's first step is
 * the learning rate in each coordinate, of a release as of a run. */
Test(target, holds_prototypes_at_first)
{
    struct lj_comm *single = NULL;
    double held = 0, released = 1, free = 2;
    lj_all_assert(world, lj_comm_first(world, 1, &single) == LJ_OK, "%s", lj_error_text());
    if (single) {
        held = move_held(single, STEPS);
        released = move_held(single, STEPS - 1.5);
        free = move_held(single, 0);
    }
    lj_comm_destroy(single);
    lj_all_assert(world, held == 0 && fabs(released - 1) < 1e-3 && free > 1,
                  "held by %g, released by %g, free by %g", held, released, free);
}

/* In the step behind a checkpoint of STEPS steps, held for `before`, in a run held for `after`. */
static double move_after(struct lj_comm *single, double before, double after)
{
    struct lj_trainer *t = holding(single, before, NULL);
    prototypes_move(t, 0, STEPS);
    cr_assert_eq(lj_trainer_checkpoint(t, dir.path, STEPS), LJ_OK, "%s", lj_error_text());
    lj_trainer_destroy(t);
    t = holding(single, after, dir.path);
    double moved = prototypes_move(t, STEPS, STEPS + 1);
    lj_trainer_destroy(t);
    return moved;
}

/* Bias is corrected from where the moments began, whatever the settings of a continuation. */
Test(target, releases_prototypes_once)
{
    struct lj_comm *single = NULL;
    double same = 0, earlier = 0, free = 0, again = 0;
    lj_all_assert(world, lj_comm_first(world, 1, &single) == LJ_OK, "%s", lj_error_text());
    if (single) {
        same = move_after(single, 50, 50);
        earlier = move_after(single, 50, 0);
        free = move_after(single, 0, 0);
        again = move_after(single, 0, 50);
    }
    lj_comm_destroy(single);
    lj_all_assert(world, same == 0 && (!single || fabs(earlier - 1) < 1e-3),
                  "held on %g, released earlier %g", same, earlier);
    lj_all_assert(world, again == free && (!single || free > 0), "free %g, held again %g", free,
                  again);
}

/* ---- the gradient ------------------------------------------------------------------------ */

/* The loss of the last step's batch and targets by the weights as they are. */
static double loss_of(struct lj_trainer *t)
{
    struct lj_step_report report = {0};
    lj_pass_weights(t);
    lj_trainer_pack_weights(t);
    lj_pass_encode(t, &report);
    lj_pass_project(t, &report);
    lj_pass_loss(t);
    return lj_trainer_agree(t, LJ_OK, &report) == LJ_OK ? report.term[0] : (double)NAN;
}

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Is the parameter of that net? */
static bool is_of(const struct lj_param *param, int net)
{
    bool head = begins_with(param->name, "projector.predictor.") ||
                begins_with(param->name, "projector.prototypes.");
    bool projector = begins_with(param->name, "projector.") && !head;
    bool of[LJ_NETS] = {!projector && !head, projector, head};
    return param->role == LJ_ROLE_WEIGHT && of[net];
}

/* Moves the weights of a net along its gradient. Returns the gradient's square. */
static double move(struct lj_trainer *t, int net, double by)
{
    const float *gradient = lj_gradsync_shard(t->gradsync)->gradient;
    double square = 0;
    for (int p = 0; p < t->model->params.count; p++) {
        const struct lj_param *param = &t->model->params.list[p];
        for (int64_t i = 0; is_of(param, net) && i < param->count; i++) {
            double g = (double)gradient[param->offset + i];
            t->weights[param->offset + i] += (float)(by * g);
            square += g * g;
        }
    }
    return square;
}

/* How far the change of the loss along a net's gradient is from what that says, relative to it. */
static double error_along(struct lj_trainer *t, int net)
{
    double square = move(t, net, 0), by = 1e-4 / square;
    move(t, net, by);
    double above = loss_of(t);
    move(t, net, -2 * by);
    double slope = (above - loss_of(t)) / (2 * by);
    move(t, net, by);
    return square > 1e-6 && isfinite(slope) ? fabs(slope / square - 1) : 1;
}

/* The loss changes along the gradient of each net as the gradient says: it came down from the
 * predictions, and nothing of it through the targets. On one rank, whose shard is all of it. Kinks
 * of ReLU make some tenths of a per cent. */
static void check_gradient(const char *const *settings)
{
    struct lj_trainer *t = NULL;
    struct lj_comm *single = NULL;
    struct lj_step_report report = {0};
    configure(settings);
    lj_all_assert(world, lj_comm_first(world, 1, &single) == LJ_OK, "%s", lj_error_text());
    int status = LJ_OK;
    double apart = 0, wrong = 0; /* of the loss made again; of the worst net's gradient, relative */
    if (single)
        status = lj_trainer_create(&t, single, &config, archive, NULL);
    if (single && status == LJ_OK)
        status = lj_trainer_step(t, 0, false, &report);
    if (single && status == LJ_OK)
        apart = fabs(loss_of(t) - report.term[0]);
    for (int net = 0; single && status == LJ_OK && net < LJ_NETS; net++)
        wrong = fmax(wrong, error_along(t, net));
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, apart < 1e-5 && wrong < 0.01, "loss off by %g, gradient by %g", apart,
                  wrong);
    lj_trainer_destroy(t);
    lj_comm_destroy(single);
}

Test(target, gradient_agrees_with_central_differences)
{
    check_gradient(
        SETTINGS("views.local=2", "optim.lr=0", "optim.lr_floor=0", "projector.norm=batch"));
}

/* The centre stays where it is, so that the loss can be made again. */
Test(target, gradient_of_prototypes_agrees_with_central_differences)
{
    check_gradient(SETTINGS("views.local=2", "optim.lr=0", "optim.lr_floor=0",
                            "projector.norm=batch", "objective=dino", "dino.prototypes=12",
                            "dino.freeze_epochs=0", "dino.centre_momentum=1"));
}

/* Weights of the target that are not finite make nothing of the trained network so. The sample and
 * the view are the first ones, on any number of ranks. */
Test(target, is_named_where_it_is_not_finite)
{
    static const char *const objectives[] = {"objective=byol", "objective=dino"};
    for (int i = 0; i < 2; i++) {
        struct lj_trainer *t = NULL;
        struct lj_step_report report = {0};
        configure(SETTINGS(objectives[i], "precision=fp32"));
        int status = lj_trainer_create(&t, world, &config, archive, NULL);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        if (t->target) {
            int64_t count = lj_gradsync_shard(t->gradsync)->weights_elements;
            for (int64_t w = 0; w < count; w++)
                t->target[w] = NAN;
        }
        status = lj_trainer_step(t, 0, false, &report);
        lj_all_assert(world, status == LJ_OK && report.nonfinite > 0, "%s", lj_error_text());
        status = lj_trainer_name_culprit(t);
        lj_all_assert(world,
                      status == LJ_ERR_NUMERIC && strstr(lj_error_text(), "step 0: the target") &&
                          strstr(lj_error_text(), "view 0"),
                      "%s: %d: %s", objectives[i], status, lj_error_text());
        lj_trainer_destroy(t);
    }
}
