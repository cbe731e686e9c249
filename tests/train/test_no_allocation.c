/* SPDX-License-Identifier: Apache-2.0 */
/* After the first step, which compiles the products' code, no step allocates: neither the main
 * thread nor the loader, in any precision, with any number of threads. */
#include "train/train.h"
#include "lejepa/runtime.h"
#include "mpi_case.h"
#include "tmpdir.h"
#include "train_archive.h"

#include <criterion/criterion.h>
#include <string.h>

enum { STEPS = 5 };

static struct lj_comm *world;
static struct lj_tmpdir dir;
static struct lj_archive *archive;

static void begin(void)
{
    world = lj_case_begin();
    lj_tmpdir_make(&dir);
    const char *path = lj_tmpdir_file(&dir, "archive.h5");
    lj_train_archive_write(path, 100, 2, 16);
    struct lj_archive_options options = {.files = path,
                                         .images = "",
                                         .labels = "none",
                                         .where = "",
                                         .axes = LJ_DATA_AXES_NCHW,
                                         .stretch = LJ_DATA_STRETCH_NONE,
                                         .nan = LJ_DATA_NAN_ERROR};
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
}

static void end(void)
{
    lj_archive_close(archive);
    lj_tmpdir_remove(&dir);
    lj_case_end(world);
}

TestSuite(no_allocation, .timeout = 170, .init = begin, .fini = end);

static void configure(struct lj_config *config, const char *const *settings)
{
    static const char *const base[] = {"model=vit",         "model.width=24",
                                       "model.depth=2",     "model.heads=3",
                                       "model.patch=4",     "model.registers=1",
                                       "views.global=2",    "views.local=2",
                                       "projector.out=8",   "projector.hidden=32",
                                       "sigreg.slices=24",  "model.drop_path=0.3",
                                       "views.noise=0.5",   "views.rotate=0.5",
                                       "guard.stall_s=0",   "train.steps=5",
                                       "optim.clip=1",      "batch.size=48",
                                       "batch.lanes=6",     "projector.norm=batch",
                                       "optim.lr_floor=-1", NULL};
    lj_config_defaults(config);
    for (const char *const *list[] = {base, settings, NULL}, *const *const *at = list; *at; at++)
        for (const char *const *word = *at; *word; word++)
            cr_assert_eq(lj_config_assign(config, *word), LJ_OK, "%s", lj_error_text());
}

static void check_steps(const char *const *settings)
{
    static struct lj_config config;
    struct lj_trainer *trainer = NULL;
    int64_t calls = 0;
    configure(&config, settings);
    cr_assert_eq(lj_trainer_create(&trainer, world, &config, archive, NULL), LJ_OK, "%s",
                 lj_error_text());
    for (int64_t step = 0; step < STEPS; step++) {
        struct lj_step_report report = {0};
        cr_assert_eq(lj_trainer_step(trainer, step, true, &report), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(report.nonfinite, 0);
        if (step == 0)
            calls = lj_memory_calls();
        cr_expect_eq(lj_memory_calls(), calls, "%s %s: %lld allocations by the end of step %lld",
                     settings[0], settings[1], (long long)(lj_memory_calls() - calls),
                     (long long)step);
    }
    lj_trainer_destroy(trainer);
}

#define CHECK_STEPS(...) check_steps((const char *const[]){__VA_ARGS__, NULL})

static void check_precision(const char *precision)
{
    CHECK_STEPS(precision, "threads=1");
    CHECK_STEPS(precision, "threads=2");
    CHECK_STEPS(precision, "threads=2", "projector.norm=lane");
    CHECK_STEPS(precision, "threads=2", "memory.recompute=lanes");
    CHECK_STEPS(precision, "threads=1", "memory.recompute=blocks");
    CHECK_STEPS(precision, "threads=2", "objective=simclr");
}

Test(no_allocation, after_the_first_step)
{
    const char *isa;
    cr_assert_eq(lj_runtime_agree(world, &isa), LJ_OK, "%s", lj_error_text());
    check_precision("precision=fp32");
    if (strcmp(isa, "avx512bf16") == 0)
        check_precision("precision=bf16");
}
