/* SPDX-License-Identifier: Apache-2.0 */
/* An encoder whose layers are normalised over the global batch: the same bits on any number of
 * ranks, statistics as those of a lane where one lane is the whole batch, and one update of the
 * running statistics from both sizes of views. The encoder is a row of this file. Launched on 5
 * ranks; each case trains on the first 1, 2, 3 and 5 of them. */
#include "mpi_case.h"
#include "tmpdir.h"
#include "train/trainer.h"
#include "train_archive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 3, SIZES = 4, STATISTICS_MAX = 128 };
static const int sizes[SIZES] = {1, 2, 3, 5};

/* ---- the encoder ------------------------------------------------------------------------- */

static int resolve(const struct lj_encoder *encoder, struct lj_config *settings)
{
    (void)encoder;
    settings->views_local_size = 8;
    return LJ_OK;
}

/* number[0]: over the global batch. Its two normalisations have different widths, and a block,
 * which memory.recompute=blocks runs again, lies between them. */
static lj_val build(const struct lj_encoder *encoder, const struct lj_config *settings,
                    int64_t channels, struct lj_net *net)
{
    bool over_batch = encoder->number[0] != 0;
    int64_t size = settings->views_global_size;
    lj_net_scope(net, -1, "%s", "");
    lj_val x = lj_input(net, (struct lj_shape){3, {channels, size, size}}, false);
    x = lj_patch_embed(net, "stem", x, 4, 12);
    x = lj_batchnorm(net, "norm1", x, over_batch);
    lj_net_scope(net, 0, "block");
    x = lj_gelu(net, "act", lj_linear(net, "fc", x, 20, LJ_INIT_NORMAL, 0.2));
    lj_net_scope(net, -1, "%s", "");
    x = lj_relu(net, "act", lj_batchnorm(net, "norm2", x, over_batch));
    return lj_pool_mean(net, "pool", x, 0);
}

static void describe(const struct lj_encoder *encoder, const struct lj_config *settings, char *text,
                     size_t capacity)
{
    (void)settings;
    snprintf(text, capacity, "%s", encoder->text);
}

static const struct lj_encoder_family family = {.centre = LJ_PREDICT_CENTRE_GLOBAL,
                                                .weight_decay = 0.05,
                                                .resolve = resolve,
                                                .build = build,
                                                .describe = describe};
static const struct lj_encoder over_lane = {"tried", "over a lane", &family, {0}};
static const struct lj_encoder over_batch = {"tried", "over the batch", &family, {1}};

/* ---- training ---------------------------------------------------------------------------- */

struct outcome {
    uint64_t weights;
    double loss[STEPS];
    double statistic[STATISTICS_MAX]; /* running ones of the encoder after the first step */
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
    lj_encoder_try(NULL);
    lj_archive_close(archive);
    if (lj_comm_is_root(world))
        lj_tmpdir_remove(&dir);
    lj_case_end(world);
}

TestSuite(encoder_statistics, .timeout = 170, .init = begin, .fini = end);

static void configure(const struct lj_encoder *row, const char *const *settings)
{
    static const char *const base[] = {
        "model=tried",      "views.global=2",      "views.local=3",         "views.noise=0.5",
        "views.rotate=0.5", "projector.hidden=32", "projector.out=8",       "sigreg.slices=24",
        "optim.lr=1e-3",    "train.steps=3",       "optim.warmup_epochs=0", "guard.stall_s=0",
        "batch.size=48",    "threads=1",           "projector.norm=layer",  NULL};
    lj_encoder_try(row);
    lj_config_defaults(&config);
    for (const char *const *list[] = {base, settings, NULL}, *const *const *at = list; *at; at++)
        for (const char *const *word = *at; *word; word++)
            cr_assert_eq(lj_config_assign(&config, *word), LJ_OK, "%s", lj_error_text());
}

/* The encoder's running statistics, one parameter behind the other. */
static void copy_statistics(struct lj_trainer *trainer, double *out)
{
    const float *weights = lj_trainer_weights(trainer);
    struct lj_trainer_info info = lj_trainer_info(trainer);
    const struct lj_params *params = &info.model->params;
    int64_t at = 0;
    for (int p = 0; p < params->count; p++)
        for (int64_t i = 0; params->list[p].role == LJ_ROLE_STATISTIC &&
                            i < params->list[p].count && at < STATISTICS_MAX;
             i++)
            out[at++] = (double)weights[params->list[p].offset + i];
}

static int train(struct lj_comm *comm, struct outcome *outcome)
{
    struct lj_trainer *trainer = NULL;
    LJ_TRY(lj_trainer_create(&trainer, comm, &config, archive, NULL));
    struct lj_trainer_info info = lj_trainer_info(trainer);
    int status = LJ_OK;
    for (int64_t step = 0; status == LJ_OK && step < STEPS; step++) {
        struct lj_step_report report = {0};
        status = lj_trainer_step(trainer, step, true, &report);
        if (status == LJ_OK && report.nonfinite > 0)
            status =
                lj_fail(LJ_ERR_NUMERIC, "%lld values are nonfinite", (long long)report.nonfinite);
        outcome->loss[step] = report.term[0];
        if (step == 0 && lj_comm_is_root(comm))
            copy_statistics(trainer, outcome->statistic);
    }
    for (int i = 0; i < info.ledger->count; i++) {
        const struct lj_ledger_entry *e = &info.ledger->entry[i];
        if (strcmp(e->name, "batchnorm") == 0 && e->bytes != e->calls * e->predicted_bytes_per_call)
            status = lj_fail(LJ_ERR_BUG, "%lld bytes in %lld calls, predicted %lld a call",
                             (long long)e->bytes, (long long)e->calls,
                             (long long)e->predicted_bytes_per_call);
    }
    outcome->weights = lj_trainer_hash(trainer);
    lj_trainer_destroy(trainer);
    return status;
}

static struct outcome train_on(int size)
{
    struct outcome outcome;
    struct lj_comm *part = NULL;
    memset(&outcome, 0, sizeof outcome);
    cr_assert_eq(lj_comm_first(world, size, &part), LJ_OK);
    int status = part ? train(part, &outcome) : LJ_OK;
    lj_comm_destroy(part);
    lj_all_assert(world, status == LJ_OK, "%d ranks: %s", size, lj_error_text());
    lj_broadcast(world, &outcome, sizeof outcome, 0);
    return outcome;
}

#define CONFIGURE(row, ...) configure(row, (const char *const[]){__VA_ARGS__, NULL})

/* The configuration at hand on every size, against `wanted`. */
static void expect_on_all_sizes(const struct outcome *wanted, const char *what)
{
    for (int i = 0; i < SIZES; i++) {
        struct outcome got = train_on(sizes[i]);
        lj_all_assert(world, memcmp(&got, wanted, sizeof got) == 0,
                      "%s: %d ranks give %016llx, not %016llx", what, sizes[i],
                      (unsigned long long)got.weights, (unsigned long long)wanted->weights);
    }
}

/* ---- cases ------------------------------------------------------------------------------- */

/* With the projector's own statistics, too; 6 lanes, so that ranks have unequal numbers of them. */
Test(encoder_statistics, same_bits_on_any_number_of_ranks)
{
    CONFIGURE(&over_batch, "projector.norm=batch");
    struct outcome wanted = train_on(1);
    lj_all_assert(world, wanted.loss[0] > 0 && wanted.loss[0] != wanted.loss[2], "no training");
    expect_on_all_sizes(&wanted, "one thread");
    CONFIGURE(&over_batch, "projector.norm=batch", "threads=2");
    expect_on_all_sizes(&wanted, "two threads");
    CONFIGURE(&over_batch, "projector.norm=batch", "memory.recompute=blocks");
    expect_on_all_sizes(&wanted, "memory.recompute=blocks");
    CONFIGURE(&over_batch, "projector.norm=batch", "memory.tile=30");
    wanted = train_on(1);
    CONFIGURE(&over_batch, "projector.norm=batch", "memory.tile=30", "memory.recompute=blocks");
    expect_on_all_sizes(&wanted, "memory.tile=30");
    CONFIGURE(&over_batch, "views.local=0");
    wanted = train_on(1);
    expect_on_all_sizes(&wanted, "views.local=0");
}

Test(encoder_statistics, of_lanes_and_every_way_to_recompute)
{
    CONFIGURE(&over_lane, "projector.norm=batch");
    struct outcome wanted = train_on(1);
    expect_on_all_sizes(&wanted, "none");
    CONFIGURE(&over_lane, "projector.norm=batch", "memory.recompute=lanes");
    expect_on_all_sizes(&wanted, "memory.recompute=lanes");
    CONFIGURE(&over_lane, "projector.norm=batch", "memory.recompute=blocks");
    expect_on_all_sizes(&wanted, "memory.recompute=blocks");
    CONFIGURE(&over_batch, "projector.norm=batch");
    struct outcome batch = train_on(1);
    lj_all_assert(world, batch.weights != wanted.weights, "lane and batch give the same bits");
}

/* What is no gradient is not rounded as one: after a step, weights differ and statistics do not. */
Test(encoder_statistics, gradients_of_bf16_leave_them_as_they_are)
{
    CONFIGURE(&over_lane, "projector.norm=batch");
    struct outcome single = train_on(2);
    CONFIGURE(&over_lane, "projector.norm=batch", "comm.gradients=bf16");
    struct outcome bf16 = train_on(2);
    lj_all_assert(world, bf16.weights != single.weights, "nothing is rounded");
    lj_all_assert(world, memcmp(bf16.statistic, single.statistic, sizeof bf16.statistic) == 0,
                  "statistics are rounded");
    expect_on_all_sizes(&bf16, "bf16");
}

/* One lane that is the whole batch: both kinds compute the same, by different arithmetic. */
Test(encoder_statistics, one_lane_is_the_batch)
{
    CONFIGURE(&over_lane, "batch.lanes=1");
    struct outcome lane = train_on(1);
    CONFIGURE(&over_batch, "batch.lanes=1");
    struct outcome batch = train_on(1);
    bool close = true;
    for (int step = 0; step < STEPS; step++)
        close &= fabs(batch.loss[step] - lane.loss[step]) < 2e-5 * fabs(lane.loss[step]);
    lj_all_assert(world, close, "losses %.9g %.9g %.9g of the batch, %.9g %.9g %.9g of its lane",
                  batch.loss[0], batch.loss[1], batch.loss[2], lane.loss[0], lane.loss[1],
                  lane.loss[2]);
    for (int i = 0; i < STATISTICS_MAX; i++)
        lj_all_assert(world, fabs(batch.statistic[i] - lane.statistic[i]) < 1e-5,
                      "statistic %d: %.9g of the batch, %.9g of its lane", i, batch.statistic[i],
                      lane.statistic[i]);
}

/* 2 views of 16 x 16 and 3 of 8 x 8 pixels. */
Test(encoder_statistics, both_sizes_make_one_update)
{
    struct lj_trainer *trainer = NULL;
    CONFIGURE(&over_batch, "batch.size=48");
    int status = lj_trainer_create(&trainer, world, &config, archive, NULL);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    const float *share = trainer->statistic_share;
    bool right = fabsf(share[LJ_PASS_GLOBAL] - 512.0f / 704) < 1e-6f &&
                 fabsf(share[LJ_PASS_LOCAL] - 192.0f / 704) < 1e-6f &&
                 share[LJ_PASS_PROJECTOR] == 1;
    lj_trainer_destroy(trainer);
    lj_all_assert(world, right, "shares of the passes");
    CONFIGURE(&over_batch, "views.local=0");
    status = lj_trainer_create(&trainer, world, &config, archive, NULL);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    right = trainer->statistic_share[LJ_PASS_GLOBAL] == 1;
    lj_trainer_destroy(trainer);
    lj_all_assert(world, right, "share of the only pass");
}

/* Lanes of 6 samples are too small for statistics of their own. */
Test(encoder_statistics, of_lanes_ask_for_eight_samples)
{
    struct lj_trainer *trainer = NULL;
    CONFIGURE(&over_lane, "batch.lanes=8");
    int status = lj_trainer_create(&trainer, world, &config, archive, NULL);
    lj_all_assert(world, status == LJ_ERR_CONFIG, "status %d", status);
    bool named = strstr(lj_error_text(), "norm1") && strstr(lj_error_text(), "at most 6 lanes");
    lj_all_assert(world, named || !lj_comm_is_root(world), "%s", lj_error_text());
    CONFIGURE(&over_batch, "batch.lanes=8");
    status = lj_trainer_create(&trainer, world, &config, archive, NULL);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_trainer_destroy(trainer);
}

Test(encoder_statistics, of_the_batch_refuse_recomputing_lanes)
{
    struct lj_trainer *trainer = NULL;
    CONFIGURE(&over_batch, "memory.recompute=lanes");
    int status = lj_trainer_create(&trainer, world, &config, archive, NULL);
    lj_all_assert(world, status == LJ_ERR_CONFIG, "status %d", status);
    bool named =
        strstr(lj_error_text(), "norm1") && strstr(lj_error_text(), "memory.recompute=blocks");
    lj_all_assert(world, named || !lj_comm_is_root(world), "%s", lj_error_text());
}
