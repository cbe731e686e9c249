/* SPDX-License-Identifier: Apache-2.0 */
/* Whole training steps through the trainer: GFLOP/s of encoder and projector (3 x 2 x multiply-adds
 * of forward), without the time for making views and waiting for data; against the best rate of
 * lj_matmul in the same precision, measured in the same run. Then a line for each phase: its
 * milliseconds, and its share of the step.
 *
 *     bench_step SETTING [key=value ...] */
#include "bench.h"
#include "lejepa/runtime.h"

#include "kernels/kernels.h"
#include "train/train.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct step_setting {
    const char *name;     /* on the command line */
    const char *shape;    /* in the line of JSON */
    int pixels;           /* of the images, a side */
    const char *words[8]; /* settings of the run; NULL at the end */
    double target[2];     /* smallest share of the best matmul's rate: fp32, bf16; 0: none */
};

static const struct step_setting settings[] = {
    {"vit_tiny_64",
     "ViT-Ti/8, 16 samples x 4 views of 64 px RGB",
     64,
     {"model=vit_tiny", "model.patch=8", "batch.size=16"},
     {0.79, 0.72}},
    {"vit_small_128",
     "ViT-S/8, 8 samples x 2 views of 128 px RGB",
     128,
     {"model=vit_small", "model.patch=8", "batch.size=8", "views.global=2"},
     {0.83, 0.79}},
    {"width192_28",
     "width 192 depth 6 patch 7, 128 samples x 4 views of 28 px RGB",
     28,
     {"model=vit_tiny", "model.depth=6", "model.patch=7", "batch.size=128"},
     {0, 0}},
    {"resnet18_64",
     "ResNet-18, 8 samples x 2 views of 64 px RGB",
     64,
     {"model=resnet18", "batch.size=8", "views.global=2"},
     {0, 0}},
    {"convnextv2_atto_64",
     "ConvNeXt-V2 atto, 8 samples x 4 views of 64 px RGB",
     64,
     {"model=convnextv2_atto", "batch.size=8"},
     {0, 0}},
};

static const char *const common[] = {"views.global=4", "views.local=0", "train.steps=1000"};
static const char *const tiny[] = {"model=vit",           "model.width=32",  "model.depth=1",
                                   "projector.hidden=32", "projector.out=8", "sigreg.slices=16",
                                   "batch.size=16"};

/* ---- an archive -------------------------------------------------------------------------- */

/* Writes 256 RGB images whose values are neither constant nor noise. */
static void write_archive(const char *path, int pixels)
{
    hsize_t dim[4] = {256, (hsize_t)pixels, (hsize_t)pixels, 3};
    int64_t count = (int64_t)256 * pixels * pixels * 3;
    unsigned char *images = malloc((size_t)count);
    for (int64_t i = 0; images && i < count; i++)
        images[i] = (unsigned char)((i / 7 + (i / pixels) * 13 + i * i / 911) & 255);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(4, dim, NULL);
    hid_t data =
        H5Dcreate2(file, "images", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (!images || H5Dwrite(data, H5T_NATIVE_UCHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, images) < 0)
        bench_expect(lj_fail(LJ_ERR_RESOURCE, "%s: cannot write the archive", path));
    H5Dclose(data);
    H5Sclose(space);
    H5Fclose(file);
    free(images);
}

/* ---- references -------------------------------------------------------------------------- */

struct operands {
    struct lj_matmul matmul;
    void *a, *b;
    float *c;
};

static void multiply(void *data)
{
    struct operands *x = data;
    lj_matmul(&x->matmul, x->a, x->b, NULL, x->c);
}

/* An array of some values, in float32 or bf16. */
static void *make_operand(int64_t count, enum lj_type type)
{
    float *wide = lj_alloc_array(count, sizeof *wide, "bench");
    bench_fill(wide, count);
    if (type == LJ_F32)
        return wide;
    lj_bf16 *bf16 = lj_alloc_array(count, sizeof *bf16, "bench");
    lj_kernels()->to_bf16(bf16, wide, count);
    lj_free(wide);
    return bf16;
}

/* GFLOP/s of lj_matmul at (m, n, k). */
static double matmul_rate(int64_t m, int64_t n, int64_t k, enum lj_type type)
{
    static struct bench_sample sample;
    struct operands x = {.matmul = {.batch = 1,
                                    .m = m,
                                    .n = n,
                                    .k = k,
                                    .transpose_b = true,
                                    .input = type,
                                    .output = LJ_F32},
                         .a = make_operand(m * k, type),
                         .b = make_operand(k * n, type),
                         .c = lj_alloc_array(m * n, sizeof(float), "bench")};
    bench_run(&sample, 0.5, multiply, &x);
    lj_free(x.a);
    lj_free(x.b);
    lj_free(x.c);
    return bench_rate(&sample, 2e-9 * (double)(m * n * k)).median;
}

/* The rate that steps are compared with: the best of some shapes. */
static double best_matmul_rate(enum lj_type type)
{
    static const int64_t shapes[][3] = {
        {512, 768, 768}, {272, 1536, 384}, {1024, 768, 192}, {512, 192, 768}};
    double best = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        best = fmax(best, matmul_rate(shapes[i][0], shapes[i][1], shapes[i][2], type));
    return best;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* The measured steps. */
struct steps {
    struct bench_sample whole;      /* without making views and waiting for data */
    double phase_s[LJ_PHASE_COUNT]; /* wall-clock seconds of each phase in a step */
    double all_s;                   /* of all phases but views and data */
    double flops;                   /* of a step */
};

/* Processor time that a step, begun at `begun`, spent on making views. Phases measure wall-clock
 * time only; so this takes the views' share of the wall-clock time without waiting, which needs no
 * processor.
 *   views_s, wait_s  in  seconds of these phases before the step */
static double outside_s(struct bench_clock begun, double views_s, double wait_s)
{
    struct bench_clock now = bench_now();
    double views = lj_phase_seconds(LJ_PHASE_VIEWS) - views_s;
    double wait = lj_phase_seconds(LJ_PHASE_WAIT_DATA) - wait_s;
    return (now.cpu_s - begun.cpu_s) * views / (now.wall_s - begun.wall_s - wait);
}

static void run_steps(struct lj_trainer *trainer, struct steps *steps)
{
    struct lj_step_report report = {0};
    double begun = lj_now_s();
    bench_expect(lj_trainer_step(trainer, 0, false, &report)); /* touches all memory */
    lj_phase_reset();
    for (int64_t step = 1; step == 1 || (!bench_short() && lj_now_s() - begun < 9); step++) {
        double views = lj_phase_seconds(LJ_PHASE_VIEWS),
               wait = lj_phase_seconds(LJ_PHASE_WAIT_DATA);
        struct bench_clock before = bench_now();
        bench_expect(lj_trainer_step(trainer, step, false, &report));
        bench_add(&steps->whole, before, outside_s(before, views, wait));
    }
    for (int i = 0; i < LJ_PHASE_COUNT; i++)
        steps->phase_s[i] = lj_phase_seconds((enum lj_phase)i) / steps->whole.count;
    for (int i = 0; i < LJ_PHASE_COUNT; i++)
        if (i != LJ_PHASE_VIEWS && i != LJ_PHASE_WAIT_DATA)
            steps->all_s += steps->phase_s[i];
    steps->flops = lj_trainer_step_flops(trainer);
}

static void report(const struct step_setting *setting, const struct steps *steps, int ranks,
                   bool bf16)
{
    const char *type = bf16 ? "bf16" : "fp32";
    char against[64], name[64];
    snprintf(against, sizeof against, "the best of four matmuls in %s", type);
    snprintf(name, sizeof name, "step %s", type);
    struct bench_line step = {.name = name,
                              .shape = setting->shape,
                              .unit = "GFLOP/s",
                              .ranks = ranks,
                              .reference = best_matmul_rate(bf16 ? LJ_BF16 : LJ_F32),
                              .against = against,
                              .target = setting->target[bf16]};
    bench_print(&step, bench_rate(&steps->whole, 1e-9 * steps->flops / ranks));
    for (int i = 0; i < LJ_PHASE_COUNT; i++) {
        double ms = 1e3 * steps->phase_s[i];
        snprintf(name, sizeof name, "step: %s", lj_phase_name((enum lj_phase)i));
        struct bench_line line = {.name = name,
                                  .shape = setting->shape,
                                  .unit = "ms",
                                  .ranks = ranks,
                                  .reference = 1e3 * steps->all_s,
                                  .against = "the step without views and data by wall-clock"};
        if (ms > 0)
            bench_print(&line,
                        (struct bench_result){ms, ms, ms, bench_time(&steps->whole, 1).busy});
    }
}

static void configure(struct lj_config *config, const struct step_setting *setting,
                      const char *archive, char **words)
{
    lj_config_defaults(config);
    bench_expect(lj_config_set(config, "data.archive", archive));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        bench_expect(lj_config_assign(config, common[i]));
    for (int i = 0; setting->words[i]; i++)
        bench_expect(lj_config_assign(config, setting->words[i]));
    for (; *words; words++)
        bench_expect(lj_config_assign(config, *words));
    for (size_t i = 0; bench_short() && i < sizeof tiny / sizeof *tiny; i++)
        bench_expect(lj_config_assign(config, tiny[i]));
}

static void measure(struct lj_comm *comm, const struct step_setting *setting, const char *path,
                    char **words)
{
    static struct lj_config config;
    static struct steps steps;
    struct lj_archive *archive = NULL;
    struct lj_trainer *trainer = NULL;
    const char *isa;
    struct lj_archive_options options = {.files = path,
                                         .images = "",
                                         .labels = "none",
                                         .where = "",
                                         .axes = LJ_DATA_AXES_AUTO,
                                         .stretch = LJ_DATA_STRETCH_NONE,
                                         .nan = LJ_DATA_NAN_ERROR};
    configure(&config, setting, path, words);
    bench_expect(lj_runtime_agree(comm, &isa));
    bench_expect(lj_runtime_resolve_precision(&config));
    bench_expect(lj_archive_open(&archive, comm, &options));
    bench_expect(lj_trainer_create(&trainer, comm, &config, archive, NULL));
    run_steps(trainer, &steps);
    if (lj_comm_is_root(comm))
        report(setting, &steps, comm->size, config.precision == LJ_PRECISION_BF16);
    lj_trainer_destroy(trainer);
    lj_archive_close(archive);
}

static const struct step_setting *find_setting(const char *name)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct step_setting *setting = argc >= 2 ? find_setting(argv[1]) : NULL;
    struct lj_comm *comm = NULL;
    char directory[] = "/tmp/lejepa-bench-XXXXXX", path[64];
    if (!setting) {
        fprintf(stderr, "usage: bench_step SETTING [key=value ...], e.g. %s\n", settings[0].name);
        return 2;
    }
    bench_expect(lj_comm_start(&comm));
    if (comm->size != 1 || !mkdtemp(directory))
        bench_expect(lj_fail(LJ_ERR_RESOURCE, "one rank and a temporary directory are needed"));
    snprintf(path, sizeof path, "%s/images.h5", directory);
    write_archive(path, setting->pixels);
    measure(comm, setting, path, argv + 2);
    unlink(path);
    rmdir(directory);
    lj_comm_finish(comm);
    return 0;
}
