/* SPDX-License-Identifier: Apache-2.0 */
/* The first claim: the same bits on any number of ranks, with any number of threads, whatever is
 * recomputed, and across a restart. Launched on 8 ranks; each case trains on the first 1, 2, 3, 4
 * and 8 of them and compares weights and losses with those of one rank. */
#include "kernels/kernels.h"
#include "lejepa/runtime.h"
#include "train/train.h"
#include "mpi_case.h"
#include "tmpdir.h"
#include "train_archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 3, SIZES = 5 };
static const int sizes[SIZES] = {1, 2, 3, 4, 8};

struct outcome {
    uint64_t weights, average;                     /* without train.average both are the weights */
    double loss[STEPS], part[STEPS][LJ_TERMS_MAX]; /* as the objective names them */
};

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

TestSuite(exactness, .timeout = 170, .init = begin, .fini = end);

/* A tiny model with every feature on; then the case's own settings. */
static void configure(const char *const *settings)
{
    static const char *const base[] = {
        "model=vit",       "model.width=24",    "model.depth=2",       "model.heads=3",
        "model.patch=4",   "model.registers=1", "model.drop_path=0.3", "views.global=2",
        "views.local=2",   "views.noise=0.5",   "views.rotate=0.5",    "projector.hidden=32",
        "projector.out=8", "sigreg.slices=24",  "optim.lr=1e-3",       "optim.warmup_epochs=0",
        "guard.stall_s=0", "threads=1",         "train.steps=3",       NULL};
    lj_config_defaults(&config);
    for (const char *const *list[] = {base, settings, NULL}, *const *const *at = list; *at; at++)
        for (const char *const *word = *at; *word; word++)
            cr_assert_eq(lj_config_assign(&config, *word), LJ_OK, "%s", lj_error_text());
}

/* Steps [first, STEPS) on comm; continues from `from` if given, saves to `to` after step `save`. */
static int train(struct lj_comm *comm, const char *from, const char *to, int64_t save,
                 struct outcome *outcome)
{
    struct lj_trainer *trainer = NULL;
    LJ_TRY(lj_trainer_create(&trainer, comm, &config, archive, from));
    int status = LJ_OK;
    for (int64_t step = lj_trainer_info(trainer).first_step; status == LJ_OK && step < STEPS;
         step++) {
        struct lj_step_report report = {0};
        status = lj_trainer_step(trainer, step, true, &report);
        outcome->loss[step] = report.term[0];
        memcpy(outcome->part[step], report.term, sizeof report.term);
        if (status == LJ_OK && to && step + 1 == save)
            status = lj_trainer_checkpoint(trainer, to, step + 1);
    }
    outcome->weights = lj_trainer_hash(trainer);
    lj_trainer_swap_average(trainer);
    outcome->average = lj_trainer_hash(trainer);
    lj_trainer_swap_average(trainer);
    if (lj_trainer_hash(trainer) != outcome->weights)
        status = lj_fail(LJ_ERR_BUG, "the weights are not what they were");
    lj_trainer_destroy(trainer);
    return status;
}

static struct outcome train_on(int size, const char *from, const char *to, int64_t save)
{
    struct outcome outcome;
    struct lj_comm *part = NULL;
    memset(&outcome, 0, sizeof outcome);
    cr_assert_eq(lj_comm_first(world, size, &part), LJ_OK);
    int status = part ? train(part, from, to, save, &outcome) : LJ_OK;
    lj_comm_destroy(part);
    lj_all_assert(world, status == LJ_OK, "%d ranks: %s", size, lj_error_text());
    lj_broadcast(world, &outcome, sizeof outcome, 0);
    return outcome;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The case's settings on every size, against `wanted`. */
static void expect_on_all_sizes(const char *const *settings, const struct outcome *wanted)
{
    configure(settings);
    for (int i = 0; i < SIZES; i++) {
        struct outcome got = train_on(sizes[i], NULL, NULL, 0);
        lj_all_assert(world, same(&got, wanted), "%s ...: %d ranks give %016llx, not %016llx",
                      settings[0], sizes[i], (unsigned long long)got.weights,
                      (unsigned long long)wanted->weights);
    }
}

static struct outcome of_one_rank(const char *const *settings)
{
    configure(settings);
    return train_on(1, NULL, NULL, 0);
}

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Every way of computing the batch that must not change a bit. */
static void check_batch(const char *size, const char *lanes, const char *norm)
{
    struct outcome wanted = of_one_rank(SETTINGS(size, lanes, norm));
    cr_assert(wanted.loss[STEPS - 1] > 0 && wanted.loss[0] != wanted.loss[1]);
    setenv("LJ_OVERSUBSCRIBE", "1", 1);
    struct outcome four_threads = of_one_rank(SETTINGS(size, lanes, norm, "threads=4"));
    unsetenv("LJ_OVERSUBSCRIBE");
    lj_all_assert(world, same(&four_threads, &wanted), "four threads");
    expect_on_all_sizes(SETTINGS(size, lanes, norm), &wanted);
    expect_on_all_sizes(SETTINGS(size, lanes, norm, "threads=2"), &wanted);
    expect_on_all_sizes(SETTINGS(size, lanes, norm, "memory.recompute=lanes"), &wanted);
    expect_on_all_sizes(SETTINGS(size, lanes, norm, "memory.recompute=blocks"), &wanted);
    expect_on_all_sizes(SETTINGS(size, lanes, norm, "memory.recompute=lanes", "threads=2"),
                        &wanted);
}

/* Without batch.lanes more ranks than lanes are allowed: 6 lanes on 8 ranks too. */
Test(exactness, eight_lanes_statistics_of_lanes)
{
    check_batch("batch.size=64", "batch.lanes=0", "projector.norm=lane");
}

Test(exactness, six_lanes_statistics_of_the_batch)
{
    check_batch("batch.size=48", "batch.lanes=0", "projector.norm=batch");
}

Test(exactness, clipping_and_other_norms)
{
    struct outcome wanted =
        of_one_rank(SETTINGS("batch.size=48", "projector.norm=layer", "optim.clip=0.01"));
    struct outcome unclipped = of_one_rank(SETTINGS("batch.size=48", "projector.norm=layer"));
    cr_assert(!same(&wanted, &unclipped));
    expect_on_all_sizes(SETTINGS("batch.size=48", "projector.norm=layer", "optim.clip=0.01"),
                        &wanted);
}

/* bf16 matmuls, in tiles of one view, against a run of one rank; elsewhere it is refused. */
Test(exactness, bf16_matmuls)
{
    configure(SETTINGS("precision=bf16"));
    int status = lj_runtime_resolve_precision(&config);
    if (lj_isa_selected() < LJ_ISA_AVX512BF16) {
        lj_all_assert(world, status == LJ_ERR_CONFIG, "bf16 at level %s", lj_kernels()->name);
        return;
    }
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    struct outcome single = of_one_rank(SETTINGS("batch.size=48"));
    struct outcome wanted = of_one_rank(SETTINGS("batch.size=48", "precision=bf16"));
    cr_assert(!same(&wanted, &single));
    cr_assert_float_eq(wanted.loss[0], single.loss[0], 0.02 * single.loss[0]);
    expect_on_all_sizes(SETTINGS("batch.size=48", "precision=bf16"), &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", "precision=bf16", "threads=2"), &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", "precision=bf16", "memory.recompute=blocks"),
                        &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", "precision=bf16", "memory.recompute=lanes"),
                        &wanted);
}

/* Gradients of weights wide enough, over tokens enough, for the matmuls' other implementation. */
static void check_wide(const char *precision)
{
    const char *const *wide =
        SETTINGS("batch.size=48", "model.width=192", "model.depth=1", precision);
    struct outcome wanted = of_one_rank(wide);
    expect_on_all_sizes(wide, &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", "model.width=192", "model.depth=1", precision,
                                 "memory.recompute=blocks", "threads=2"),
                        &wanted);
}

Test(exactness, wide_matmuls)
{
    check_wide("precision=fp32");
    if (lj_isa_selected() == LJ_ISA_AVX512BF16)
        check_wide("precision=bf16");
}

/* Gradients in bf16: from the first update on other bits than in float32, near them, and the same
 * on any number of ranks. */
Test(exactness, bf16_gradients)
{
    const char *const *bf16 = SETTINGS("batch.size=48", "comm.gradients=bf16");
    struct outcome wanted = of_one_rank(bf16), single = of_one_rank(SETTINGS("batch.size=48"));
    cr_assert(wanted.weights != single.weights && wanted.loss[0] == single.loss[0]);
    cr_assert_float_eq(wanted.loss[1], single.loss[1], 1e-3 * single.loss[1]);
    expect_on_all_sizes(bf16, &wanted);
    expect_on_all_sizes(
        SETTINGS("batch.size=48", "comm.gradients=bf16", "memory.recompute=lanes", "threads=2"),
        &wanted);
}

/* Ranks taken for those of several nodes, which exchange: in blocks, by turns, unequal. */
Test(exactness, nodes_exchange)
{
    static const char *const maps[] = {"0 0 1 1", "0 1", "0 1 1 0 2"};
    struct outcome wanted = of_one_rank(SETTINGS("batch.size=48"));
    struct outcome bf16 = of_one_rank(SETTINGS("batch.size=48", "comm.gradients=bf16"));
    for (int i = 0; i < 3; i++) {
        setenv("LJ_NODES", maps[i], 1);
        expect_on_all_sizes(SETTINGS("batch.size=48", "comm.exchange=nodes"), &wanted);
    }
    expect_on_all_sizes(SETTINGS("batch.size=48", "comm.exchange=nodes", "comm.gradients=bf16",
                                 "memory.recompute=lanes", "threads=2"),
                        &bf16);
    unsetenv("LJ_NODES");
}

/* Small tiles, the last of them short: their size may change bits, ranks and recomputing may
 * not. */
Test(exactness, tiles)
{
    struct outcome wanted = of_one_rank(SETTINGS("batch.size=48", "memory.tile=60"));
    struct outcome whole = of_one_rank(SETTINGS("batch.size=48", "memory.tile=0"));
    for (int step = 0; step < STEPS; step++)
        cr_assert_float_eq(wanted.loss[step], whole.loss[step], 1e-4 * whole.loss[step]);
    expect_on_all_sizes(SETTINGS("batch.size=48", "memory.tile=60"), &wanted);
    expect_on_all_sizes(
        SETTINGS("batch.size=48", "memory.tile=60", "memory.recompute=blocks", "threads=2"),
        &wanted);
}

/* MPI's own reductions: other bits are allowed, other numbers are not. */
Test(exactness, fast_reduction_agrees_to_rounding)
{
    struct outcome exact = of_one_rank(SETTINGS("batch.size=48", "projector.norm=batch"));
    configure(SETTINGS("batch.size=48", "projector.norm=batch", "reduce=fast"));
    for (int i = 0; i < SIZES; i++) {
        struct outcome fast = train_on(sizes[i], NULL, NULL, 0);
        for (int step = 0; step < STEPS; step++)
            cr_assert_float_eq(fast.loss[step], exact.loss[step], 1e-5 * exact.loss[step]);
    }
}

/* Stopped after any step on 3 ranks, continued on 2 or 8: as if nothing had happened. */
Test(exactness, restart_on_other_ranks)
{
    struct outcome wanted = of_one_rank(SETTINGS("batch.size=64", "projector.norm=batch"));
    for (int64_t save = 1; save < STEPS; save++) {
        train_on(3, NULL, dir.path, save);
        char name[64];
        snprintf(name, sizeof name, "step-%09lld.h5", (long long)save);
        const char *path = lj_tmpdir_file(&dir, name);
        for (int i = 0; i < SIZES; i++) {
            struct outcome got = train_on(sizes[i], path, NULL, 0);
            lj_all_assert(world, got.weights == wanted.weights,
                          "continued after step %lld on %d ranks", (long long)save, sizes[i]);
        }
    }
}

/* Of the weights, which it changes no bit of: on any number of ranks, and continued on others. */
Test(exactness, running_average)
{
    const char *const *settings = SETTINGS("batch.size=48", "train.average=0.15");
    struct outcome wanted = of_one_rank(settings), without = of_one_rank(SETTINGS("batch.size=48"));
    cr_assert(wanted.weights == without.weights && wanted.average != wanted.weights);
    expect_on_all_sizes(settings, &wanted);
    configure(settings);
    train_on(3, NULL, dir.path, 2);
    const char *path = lj_tmpdir_file(&dir, "step-000000002.h5");
    for (int i = 0; i < SIZES; i++) {
        struct outcome got = train_on(sizes[i], path, NULL, 0);
        lj_all_assert(world, got.average == wanted.average, "continued on %d ranks", sizes[i]);
    }
}

/* An objective with a head, a predictor or prototypes, and a target that is an average of the
 * weights: on any number of ranks, in any way of computing, and continued on others, as if nothing
 * had happened. */
static void check_target(const char *objective, const char *head)
{
    const char *const *plain = SETTINGS("batch.size=48", objective, "target.momentum=0.5",
                                        "projector.norm=batch", head, "dino.freeze_epochs=0");
    struct outcome wanted = of_one_rank(plain);
    cr_assert(wanted.loss[0] > 0 && wanted.loss[1] != wanted.loss[0]);
    cr_assert(wanted.average != wanted.weights);
    expect_on_all_sizes(plain, &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", objective, "target.momentum=0.5",
                                 "projector.norm=batch", head, "dino.freeze_epochs=0",
                                 "memory.recompute=lanes", "threads=2"),
                        &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", objective, "target.momentum=0.5",
                                 "projector.norm=batch", head, "dino.freeze_epochs=0",
                                 "memory.recompute=blocks"),
                        &wanted);
    configure(plain);
    train_on(3, NULL, dir.path, 2);
    const char *path = lj_tmpdir_file(&dir, "step-000000002.h5");
    for (int i = 0; i < SIZES; i++) {
        struct outcome got = train_on(sizes[i], path, NULL, 0);
        lj_all_assert(world,
                      got.weights == wanted.weights && got.average == wanted.average &&
                          got.loss[2] == wanted.loss[2],
                      "continued on %d ranks", sizes[i]);
    }
}

Test(exactness, byol)
{
    check_target("objective=byol", "predictor.hidden=20");
}

/* Its centre goes on, too. */
Test(exactness, dino)
{
    check_target("objective=dino", "dino.prototypes=50");
}

/* Another objective: on any number of ranks, in any way of computing, and continued on others after
 * a step.
 *   terms  in  how many terms it has */
static void check_objective(const char *objective, int terms)
{
    static const int ranks[] = {1, 2, 3, 5};
    const char *const *settings =
        SETTINGS("batch.size=48", objective, "projector.out=37", "projector.norm=batch");
    struct outcome wanted = of_one_rank(settings), lejepa = of_one_rank(SETTINGS("batch.size=48"));
    cr_assert(wanted.part[0][terms - 1] != 0 && !same(&wanted, &lejepa));
    expect_on_all_sizes(settings, &wanted);
    expect_on_all_sizes(SETTINGS("batch.size=48", objective, "projector.out=37",
                                 "projector.norm=batch", "memory.recompute=lanes", "threads=2"),
                        &wanted);
    configure(settings);
    train_on(2, NULL, dir.path, 1);
    for (int i = 0; i < 4; i++) {
        struct outcome whole = train_on(ranks[i], NULL, NULL, 0);
        struct outcome rest =
            train_on(ranks[i], lj_tmpdir_file(&dir, "step-000000001.h5"), NULL, 0);
        lj_all_assert(world, same(&whole, &wanted), "%d ranks", ranks[i]);
        lj_all_assert(world, rest.weights == wanted.weights, "continued on %d ranks", ranks[i]);
    }
}

/* Sums products instead of cosines. */
Test(exactness, vicreg)
{
    check_objective("objective=vicreg", 4);
}

/* Gathers all projections. */
Test(exactness, simclr)
{
    check_objective("objective=simclr", 3);
}

/* A classifier on labels: on any number of ranks, in any way of computing. */
Test(exactness, supervised)
{
    const char *const *plain = SETTINGS("batch.size=48", "objective=supervised");
    struct outcome wanted = of_one_rank(plain);
    cr_assert(wanted.part[0][1] > 0 && wanted.part[0][1] < 1); /* the share that is right */
    expect_on_all_sizes(plain, &wanted);
    expect_on_all_sizes(
        SETTINGS("batch.size=48", "objective=supervised", "memory.recompute=lanes", "threads=2"),
        &wanted);
    struct outcome other =
        of_one_rank(SETTINGS("batch.size=48", "objective=supervised", "optim.encoder_lr=0.5"));
    cr_assert(other.loss[0] == wanted.loss[0] && other.loss[2] != wanted.loss[2]);
}

/* Continued after a step on other ranks than began: as if nothing had happened. */
static void check_restart(const char *const *settings, const struct outcome *wanted)
{
    configure(settings);
    train_on(3, NULL, dir.path, 1);
    for (int i = 0; i < SIZES; i++) {
        struct outcome rest =
            train_on(sizes[i], lj_tmpdir_file(&dir, "step-000000001.h5"), NULL, 0);
        lj_all_assert(world, rest.weights == wanted->weights, "continued on %d ranks", sizes[i]);
    }
}

/* A narrow ResNet, which does not read what the tiny model sets of a ViT. */
#define RESNET                                                                          \
    "model=resnet", "model.width=8", "model.depth=1", "model.patch=0", "model.heads=0", \
        "model.registers=0", "views.local_size=8", "batch.size=48"

Test(exactness, resnet_statistics_of_lanes)
{
    struct outcome wanted = of_one_rank(SETTINGS(RESNET));
    cr_assert(wanted.loss[STEPS - 1] > 0 && wanted.loss[0] != wanted.loss[1]);
    expect_on_all_sizes(SETTINGS(RESNET), &wanted);
    expect_on_all_sizes(SETTINGS(RESNET, "memory.recompute=lanes", "threads=2"), &wanted);
    expect_on_all_sizes(SETTINGS(RESNET, "memory.recompute=blocks"), &wanted);
    check_restart(SETTINGS(RESNET), &wanted);
}

Test(exactness, resnet_statistics_of_the_batch)
{
    struct outcome wanted = of_one_rank(SETTINGS(RESNET, "model.norm=batch"));
    struct outcome lanes = of_one_rank(SETTINGS(RESNET));
    cr_assert(wanted.loss[STEPS - 1] > 0 && !same(&wanted, &lanes));
    expect_on_all_sizes(SETTINGS(RESNET, "model.norm=batch"), &wanted);
    expect_on_all_sizes(
        SETTINGS(RESNET, "model.norm=batch", "memory.recompute=blocks", "threads=2"), &wanted);
    check_restart(SETTINGS(RESNET, "model.norm=batch"), &wanted);
}

/* Blocks in tiles of two views and of more, by the resolution of their stage. */
#define CONVNEXT                                                                            \
    "model=convnextv2", "model.width=8", "model.depth=1", "model.patch=2", "model.heads=0", \
        "model.registers=0", "views.local_size=16", "batch.size=48", "memory.tile=512"

Test(exactness, convnextv2)
{
    struct outcome wanted = of_one_rank(SETTINGS(CONVNEXT));
    cr_assert(wanted.loss[STEPS - 1] > 0 && wanted.loss[0] != wanted.loss[1]);
    expect_on_all_sizes(SETTINGS(CONVNEXT), &wanted);
    expect_on_all_sizes(SETTINGS(CONVNEXT, "memory.recompute=lanes", "threads=2"), &wanted);
    expect_on_all_sizes(SETTINGS(CONVNEXT, "memory.recompute=blocks"), &wanted);
    check_restart(SETTINGS(CONVNEXT), &wanted);
}

/* Another seed, another order of lanes: the comparison above can fail. */
Test(exactness, other_settings_give_other_bits)
{
    struct outcome wanted = of_one_rank(SETTINGS("batch.size=64"));
    struct outcome seed = of_one_rank(SETTINGS("batch.size=64", "seed=1"));
    struct outcome lanes = of_one_rank(SETTINGS("batch.size=64", "batch.lanes=4"));
    cr_assert(!same(&wanted, &seed) && !same(&wanted, &lanes));
}
