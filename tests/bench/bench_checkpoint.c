/* SPDX-License-Identifier: Apache-2.0 */
/* How long training stands still for a checkpoint of ViT-B: the snapshot on rank 0, against a
 * memcpy of the same bytes. Then how long writing it takes, while training could go on. */
#include "bench.h"
#include "lejepa/runtime.h"

#include "store/store.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {"model=vit_base",  "model.patch=8",  "views.local=0",
                                    "batch.size=16",   "train.steps=10", "checkpoint.keep=1",
                                    "data.labels=none"};
static const char *const tiny[] = {"model=vit", "model.width=32", "model.depth=1",
                                   "projector.hidden=32", "projector.out=8"};

struct copies {
    char *from, *to;
    size_t bytes;
};

static void copy(void *data)
{
    struct copies *copies = data;
    memcpy(copies->to, copies->from, copies->bytes);
}

/* Milliseconds of a memcpy; both arrays were written to before. */
static double copy_ms(int64_t bytes)
{
    static struct bench_sample sample;
    struct copies copies = {.bytes = (size_t)bytes};
    copies.from = lj_alloc(copies.bytes, "bench");
    copies.to = lj_alloc(copies.bytes, "bench");
    if (!copies.from || !copies.to)
        bench_expect(LJ_ERR_RESOURCE);
    sample.by_wall = true;
    bench_run(&sample, 2, copy, &copies);
    lj_free(copies.from);
    lj_free(copies.to);
    return bench_time(&sample, 1e3).median;
}

/* Rank 0 writes images of 32 x 32 pixels. */
static void write_archive(struct lj_comm *comm, const char *path)
{
    enum { PIXELS = 32, IMAGES = 64 };
    static float images[IMAGES * PIXELS * PIXELS];
    const struct lj_array_shape shape = {.views = IMAGES, .rows = PIXELS, .width = PIXELS};
    struct lj_array_file *file = NULL;
    bench_fill(images, IMAGES * PIXELS * PIXELS);
    if (lj_comm_is_root(comm)) {
        bench_expect(lj_array_create(&file, path, "images", &shape, "noise"));
        bench_expect(lj_array_put_rows(file, 0, PIXELS, images));
        bench_expect(lj_array_finish(file, true));
    }
    lj_barrier(comm);
}

static struct lj_trainer *create(struct lj_comm *comm, const char *path,
                                 struct lj_archive **archive)
{
    static struct lj_config config;
    struct lj_trainer *trainer = NULL;
    const char *isa;
    lj_config_defaults(&config);
    bench_expect(lj_config_set(&config, "data.archive", path));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        bench_expect(lj_config_assign(&config, words[i]));
    for (size_t i = 0; bench_short() && i < sizeof tiny / sizeof *tiny; i++)
        bench_expect(lj_config_assign(&config, tiny[i]));
    struct lj_archive_options options = lj_archive_options_of(&config);
    bench_expect(lj_runtime_agree(comm, &isa));
    bench_expect(lj_runtime_resolve_precision(&config));
    bench_expect(lj_archive_open(archive, comm, &options));
    bench_expect(lj_trainer_create(&trainer, comm, &config, *archive, NULL));
    return trainer;
}

static void measure(struct lj_comm *comm, struct lj_trainer *trainer, const char *dir)
{
    static struct bench_sample stops = {.by_wall = true}, writes = {.by_wall = true};
    for (int64_t i = 0; i < bench_size(4, 2); i++) {
        lj_barrier(comm);
        struct bench_clock begun = bench_now();
        bench_expect(lj_trainer_checkpoint_begin(trainer, dir, i));
        bench_add(&stops, begun, 0);
        bench_expect(lj_trainer_checkpoint_finish(trainer));
        bench_add(&writes, begun, 0);
    }
    if (!lj_comm_is_root(comm))
        return;
    int64_t bytes = lj_trainer_snapshot_bytes(trainer);
    char shape[64];
    snprintf(shape, sizeof shape, "ViT-B/8, %lld MiB", (long long)(bytes >> 20));
    struct bench_line line = {.name = "checkpoint: training stands still",
                              .shape = shape,
                              .unit = "ms",
                              .against = "memcpy of the same bytes",
                              .ranks = comm->size,
                              .reference = copy_ms(bytes),
                              .target = 2};
    bench_print(&line, bench_time(&stops, 1e3));
    line.name = "checkpoint: until it is on disk";
    line.target = 0;
    bench_print(&line, bench_time(&writes, 1e3));
}

int main(void)
{
    char directory[LJ_PATH_MAX] = "/tmp/lejepa-bench-XXXXXX", path[64], last[LJ_PATH_MAX];
    struct lj_comm *comm = NULL;
    struct lj_archive *archive = NULL;
    bench_expect(lj_comm_start(&comm));
    if (lj_comm_is_root(comm) && !mkdtemp(directory))
        bench_expect(lj_fail(LJ_ERR_RESOURCE, "a temporary directory is needed"));
    lj_broadcast(comm, directory, sizeof directory, 0);
    snprintf(path, sizeof path, "%.40s/images.h5", directory);
    write_archive(comm, path);
    struct lj_trainer *trainer = create(comm, path, &archive);
    measure(comm, trainer, directory);
    lj_trainer_destroy(trainer);
    lj_archive_close(archive);
    if (lj_comm_is_root(comm)) {
        bench_expect(lj_checkpoint_last(directory, last));
        unlink(last);
        unlink(path);
        rmdir(directory);
    }
    lj_comm_finish(comm);
    return 0;
}
