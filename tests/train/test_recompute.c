/* SPDX-License-Identifier: Apache-2.0 */
/* What memory.recompute=lanes computes a second time: the encoder, for those lanes that no worker
 * still has when backward comes to them; and its memory: of gradients, each thread has that of one
 * bucket of layers. The weights are those of memory.recompute=none. Launched on 3 ranks, of which
 * a case takes the first 1, 2 or 3. */
#include "train/train.h"
#include "lejepa/runtime.h"
#include "mpi_case.h"
#include "tmpdir.h"
#include "train_archive.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 6 };

static struct lj_comm *world;
static struct lj_tmpdir dir;
static struct lj_archive *archive;
static struct lj_config config;

static void begin(void)
{
    world = lj_case_begin();
    lj_train_archive_open(world, &dir, &archive);
    setenv("LJ_OVERSUBSCRIBE", "1", 1); /* more threads than this machine may have cores */
}

static void end(void)
{
    unsetenv("LJ_OVERSUBSCRIBE");
    lj_archive_close(archive);
    if (lj_comm_is_root(world))
        lj_tmpdir_remove(&dir);
    lj_case_end(world);
}

TestSuite(recompute, .timeout = 170, .init = begin, .fini = end);

static void configure(const char *threads, const char *recompute)
{
    const char *const words[] = {"model=vit",           "model.width=192", "model.depth=3",
                                 "model.heads=3",       "model.patch=4",   "views.global=2",
                                 "views.local=1",       "projector.out=8", "projector.hidden=32",
                                 "sigreg.slices=24",    "precision=fp32",  "guard.stall_s=0",
                                 "projector.norm=lane", "batch.size=48",   "batch.lanes=6",
                                 "train.steps=1",       threads,           recompute};
    lj_config_defaults(&config);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_assert_eq(lj_config_assign(&config, words[i]), LJ_OK, "%s", lj_error_text());
}

/* Twice the multiply-adds of the encoder's forward, for all views of a lane. */
static double encoder_flops(const struct lj_trainer_info *info)
{
    double sum = 0;
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        struct lj_shape view = lj_model_view(info->model, part);
        sum += (double)lj_net_flops(info->model->net[LJ_NET_ENCODER], &view) *
               (double)lj_plan_images(info->plan[part]);
    }
    return sum;
}

static double clocked_flops(const struct lj_trainer_info *info)
{
    double sum = 0;
    int kinds;
    lj_layer_kinds(&kinds);
    for (int w = 0; w < info->workers; w++)
        for (int k = 0; k < kinds; k++)
            sum += info->clock[w][k].flops;
    return sum;
}

static struct lj_memory_use memory_of(const char *label)
{
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64);
    for (int i = 0; i < labels && i < 64; i++)
        if (strcmp(use[i].label, label) == 0)
            return use[i];
    return (struct lj_memory_use){0};
}

/* The encoder has several buckets, and a leaf is as long as the longest of all. What is set aside
 * between waves is as long as the encoder. */
static void assert_gradients(struct lj_comm *comm, const struct lj_trainer_info *info)
{
    const int64_t *bounds = info->model->params.bounds;
    int encoder = 0, sums = 0;
    int64_t widest = 0, first, end;
    for (int b = 0; b < info->model->params.buckets; b++) {
        widest = lj_max_i64(widest, bounds[b + 1] - bounds[b]);
        encoder += info->model->segment[b].net == LJ_NET_ENCODER;
    }
    lj_lanes_of_rank(LANES, comm->size, comm->rank, &first, &end);
    if (info->config->memory_recompute == LJ_MEMORY_RECOMPUTE_LANES)
        sums = lj_lanes_sums_between_waves(LANES, first, end, info->workers);
    lj_all_assert(comm, encoder > 1, "%d buckets", encoder);
    struct lj_memory_use leaves = memory_of("gradient leaves"), aside = memory_of("gradient sums");
    lj_all_assert(comm, (int64_t)leaves.bytes == 4 * leaves.blocks * widest,
                  "%lld leaves have %zu bytes", (long long)leaves.blocks, leaves.bytes);
    lj_all_assert(comm, (int64_t)aside.bytes == 4 * sums * bounds[encoder],
                  "%zu bytes of sums, expected %d sums of %lld elements", aside.bytes, sums,
                  (long long)bounds[encoder]);
}

/* What the trainer says of its setting is what it took, and each setting takes less than the one
 * before, unless each lane has a worker. */
static void assert_measured(struct lj_comm *comm, const struct lj_trainer_info *info)
{
    const int64_t *bytes = info->recompute_bytes;
    int64_t taken = (int64_t)(memory_of("activations").bytes + memory_of("gradient sums").bytes);
    int64_t said = bytes[info->config->memory_recompute];
    lj_all_assert(comm, taken == said, "%lld bytes were taken, %lld said", (long long)taken,
                  (long long)said);
    lj_all_assert(comm,
                  0 < bytes[LJ_MEMORY_RECOMPUTE_BLOCKS] &&
                      bytes[LJ_MEMORY_RECOMPUTE_BLOCKS] < bytes[LJ_MEMORY_RECOMPUTE_NONE],
                  "blocks");
    lj_all_assert(comm,
                  bytes[LJ_MEMORY_RECOMPUTE_LANES] == bytes[LJ_MEMORY_RECOMPUTE_NONE] ||
                      LANES / comm->size > info->workers,
                  "a worker keeps each lane");
}

/* One step. Returns what the layers of all ranks computed, in forward passes of the encoder on one
 * lane, and the hash of the weights. */
static double step_on(struct lj_comm *comm, uint64_t *weights)
{
    struct lj_trainer *trainer = NULL;
    struct lj_step_report report = {0};
    int status = lj_trainer_create(&trainer, comm, &config, archive, NULL);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_trainer_step(trainer, 0, false, &report), LJ_OK, "%s", lj_error_text());
    struct lj_trainer_info info = lj_trainer_info(trainer);
    double mine = clocked_flops(&info), all[3], sum = 0, forward = encoder_flops(&info);
    lj_all_gather_f64(comm, &mine, 1, all);
    for (int r = 0; r < comm->size; r++)
        sum += all[r];
    assert_gradients(comm, &info);
    assert_measured(comm, &info);
    *weights = lj_trainer_hash(trainer);
    lj_trainer_destroy(trainer);
    return sum / forward;
}

/* Of one rank that recomputes nothing. */
static double once;
static uint64_t wanted;

static void check(int ranks, const char *threads, const char *recompute, double again)
{
    struct lj_comm *comm = NULL;
    double forwards = 0;
    uint64_t weights = 0;
    configure(threads, recompute);
    cr_assert_eq(lj_comm_first(world, ranks, &comm), LJ_OK);
    if (comm)
        forwards = step_on(comm, &weights);
    if (again < 0) {
        once = forwards;
        wanted = weights;
        again = 0;
    }
    lj_comm_destroy(comm);
    lj_broadcast(world, &once, sizeof once, 0);
    lj_broadcast(world, &wanted, sizeof wanted, 0);
    lj_all_assert(world, !comm || weights == wanted, "%d ranks, %s: other weights", ranks, threads);
    lj_all_assert(world, !comm || forwards - once == again,
                  "%d ranks, %s: %g forward passes of the encoder are run again, expected %g",
                  ranks, threads, forwards - once, again);
}

Test(recompute, lanes_that_a_worker_still_has_do_not_run_again)
{
    const char *lanes = "memory.recompute=lanes";
    check(1, "threads=1", "memory.recompute=blocks", -1);
    check(1, "threads=1", "memory.recompute=none", -1);
    check(1, "threads=1", lanes, LANES - 1);
    check(1, "threads=2", lanes, LANES - 2);
    check(1, "threads=4", lanes, LANES - 4);
    check(1, "threads=8", lanes, 0);
    check(2, "threads=2", lanes, LANES - 4);
    check(3, "threads=2", lanes, 0);
}
