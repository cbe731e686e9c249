/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: what a batch holds, whatever memory, threads and lanes; failure and early end. */
#include "make_archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 53, SIDE = 8, PIXELS = SIDE * SIDE, LANES = 3, N = 4 };

static struct lj_comm *world;
static struct lj_archive *archive;
static struct lj_config config;

/* Row r has the constant value r: an image tells which row it is. */
static void write_rows(const char *path, hsize_t rows)
{
    static double values[ROWS * PIXELS];
    for (hsize_t i = 0; i < rows * PIXELS; i++)
        values[i] = (double)(i / PIXELS);
    struct dataset d = {.name = "images",
                        .type = H5T_STD_U16LE,
                        .dims = 3,
                        .dim = {rows, SIDE, SIDE},
                        .chunk = {5, SIDE, SIDE},
                        .filters = DEFLATE | SHUFFLE,
                        .values = values};
    write_file(path, false, &d, 1);
}

static void begin(void)
{
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    directory_make();
    write_rows(in_directory("a.h5"), ROWS);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    config.seed = 5;
    config.data_cache = 64;
    config.data_window = 7;
    config.data_threads = 1;
}

static void end(void)
{
    lj_archive_close(archive);
    directory_remove();
    lj_comm_finish(world);
}

TestSuite(loader, .init = begin, .fini = end, .timeout = 60);

static struct lj_loader *start(int64_t first_lane, int64_t end_lane, int64_t first_step)
{
    struct lj_loader *loader = NULL;
    int status =
        lj_loader_create(&loader, archive, &config, LANES, first_lane, end_lane, N, first_step);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text());
    return loader;
}

/* The stream that a loader must serve, from a sampler of its own. */
static void expect(struct lj_draw *draws, int64_t steps)
{
    struct lj_groups groups = lj_archive_groups(archive);
    struct lj_sampler *sampler = NULL;
    cr_assert_eq(lj_sampler_create(&sampler, config.seed, LANES, &groups, config.data_window),
                 LJ_OK);
    for (int64_t step = 0; step < steps; step++)
        for (int64_t lane = 0; lane < LANES; lane++)
            for (int64_t i = 0; i < N; i++)
                lj_sampler_at(sampler, lane, step * N + i, &draws[(step * LANES + lane) * N + i]);
    lj_sampler_destroy(sampler);
}

/* Steps [from, to) of lanes [first_lane, end_lane): draws and images. */
static void check_steps(int64_t first_lane, int64_t end_lane, int64_t from, int64_t to)
{
    struct lj_draw *wanted = calloc((size_t)(to * LANES * N), sizeof *wanted);
    expect(wanted, to);
    struct lj_loader *loader = start(first_lane, end_lane, from);
    for (int64_t step = from; step < to; step++) {
        struct lj_batch batch;
        cr_assert_eq(lj_loader_next(loader, step, &batch), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(batch.step, step);
        cr_assert_eq(batch.lanes, end_lane - first_lane);
        for (int64_t k = 0; k < batch.lanes * N; k++) {
            struct lj_draw draw = wanted[(step * LANES + first_lane) * N + k];
            cr_assert_eq(batch.draws[k].index, draw.index);
            cr_assert_eq(batch.draws[k].epoch, draw.epoch);
            for (int64_t p = 0; p < PIXELS; p++)
                cr_assert_eq(batch.images[k * PIXELS + p], (float)draw.index, "step %ld sample %ld",
                             (long)step, (long)k);
        }
    }
    lj_loader_destroy(loader);
    free(wanted);
}

Test(loader, serves_the_sampler_s_stream)
{
    check_steps(0, LANES, 0, 40);
}

Test(loader, any_lanes_and_any_first_step)
{
    check_steps(1, 2, 0, 30);
    check_steps(2, LANES, 17, 30);
    check_steps(0, 2, 5, 9);
}

/* Windows shorter than a lane's samples, of one sample, longer than the archive. */
Test(loader, any_window)
{
    const int64_t windows[] = {1, 2, 18};
    for (int i = 0; i < 3; i++) {
        config.data_window = windows[i];
        check_steps(0, LANES, 0, 20);
    }
}

Test(loader, memory_changes_nothing)
{
    config.data_cache = 0;
    check_steps(0, LANES, 0, 40);
}

Test(loader, threads_change_nothing)
{
    config.data_threads = 4;
    check_steps(0, LANES, 0, 40);
}

Test(loader, a_rank_without_lanes_gets_empty_batches)
{
    check_steps(LANES, LANES, 0, 5);
}

Test(loader, refuses_an_archive_smaller_than_a_batch)
{
    write_rows(in_directory("small.h5"), LANES * N - 1);
    struct lj_archive_options options = options_of(in_directory("small.h5"));
    struct lj_archive *small = NULL;
    struct lj_loader *loader = NULL;
    cr_assert_eq(lj_archive_open(&small, world, &options), LJ_OK);
    cr_assert_eq(lj_loader_create(&loader, small, &config, LANES, 0, 1, N, 0), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "smaller than a batch") && strstr(lj_error_text(), "12") &&
                  strstr(lj_error_text(), "11"),
              "%s", lj_error_text());
    cr_assert_null(loader);
    lj_archive_close(small);
}

Test(loader, failure_of_the_thread_arrives_with_its_text)
{
    setenv("LJ_FAULT", "read:0:3", 1);
    struct lj_loader *loader = start(0, LANES, 0);
    struct lj_batch batch;
    for (int64_t step = 0; step < 3; step++)
        cr_assert_eq(lj_loader_next(loader, step, &batch), LJ_OK);
    cr_assert_eq(lj_loader_next(loader, 3, &batch), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), "injected fault at read, step 3"), "%s", lj_error_text());
    lj_loader_destroy(loader);
}

/* A row that cannot be used is named, from one thread and from several; nothing hangs. */
Test(loader, unreadable_data_arrives_with_its_row)
{
    for (int64_t threads = 1; threads <= 3; threads += 2) {
        config.data_threads = threads;
        struct dataset d = {.name = "images",
                            .type = H5T_IEEE_F32LE,
                            .dims = 3,
                            .dim = {ROWS, SIDE, SIDE},
                            .values = NULL};
        static double values[ROWS * PIXELS];
        values[31 * PIXELS + 9] = 1e300; /* beyond float32: infinite */
        d.values = values;
        write_file(in_directory("bad.h5"), false, &d, 1);
        struct lj_archive_options options = options_of(in_directory("bad.h5"));
        struct lj_archive *bad = NULL;
        struct lj_loader *loader = NULL;
        cr_assert_eq(lj_archive_open(&bad, world, &options), LJ_OK);
        cr_assert_eq(lj_loader_create(&loader, bad, &config, LANES, 0, LANES, N, 0), LJ_OK);
        struct lj_batch batch;
        int status = LJ_OK;
        for (int64_t step = 0; step < 6 && status == LJ_OK; step++)
            status = lj_loader_next(loader, step, &batch);
        cr_assert_eq(status, LJ_ERR_DATA);
        cr_assert(strstr(lj_error_text(), "bad.h5:/images row 31"), "%s", lj_error_text());
        lj_loader_destroy(loader);
        lj_archive_close(bad);
    }
}

/* Ending at once, while the thread works, and while it waits for the training thread. */
Test(loader, ends_at_any_time)
{
    for (int i = 0; i < 50; i++)
        lj_loader_destroy(start(0, LANES, 0));
    struct lj_loader *loader = start(0, LANES, 0);
    struct lj_batch batch;
    cr_assert_eq(lj_loader_next(loader, 0, &batch), LJ_OK);
    cr_assert_eq(lj_loader_next(loader, 1, &batch), LJ_OK);
    lj_loader_destroy(loader);
    lj_loader_destroy(NULL);
    struct lj_memory_use use[32];
    int labels = lj_memory_report(use, 32);
    for (int i = 0; i < labels; i++)
        if (strncmp(use[i].label, "loader", 6) == 0 || strcmp(use[i].label, "sampler") == 0)
            cr_assert_eq(use[i].blocks, 0, "%s", use[i].label);
}

/* Once windows and scratch exist, steps allocate nothing. */
/* A wait says whether the batch is there, and changes nothing about which one comes. */
Test(loader, a_wait_ends_in_time_or_when_the_batch_is_there)
{
    setenv("LJ_FAULT", "read:0:2:slow", 1); /* for half a second */
    struct lj_loader *loader = start(0, LANES, 0);
    struct lj_batch batch;
    for (int64_t step = 0; step < 2; step++) {
        cr_assert(lj_loader_wait(loader, step, 30), "step %ld", (long)step);
        cr_assert(lj_loader_wait(loader, step, 0), "step %ld", (long)step);
        cr_assert_eq(lj_loader_next(loader, step, &batch), LJ_OK);
    }
    double begun = lj_now_s();
    cr_assert_not(lj_loader_wait(loader, 2, 0.01));
    cr_assert_lt(lj_now_s() - begun, 0.4);
    cr_assert(lj_loader_wait(loader, 2, 30));
    cr_assert_eq(lj_loader_next(loader, 2, &batch), LJ_OK);
    cr_assert_eq(batch.step, 2);
    lj_loader_destroy(loader);
}

/* Waiting ends with the thread's failure, which the next batch then brings. */
Test(loader, a_wait_ends_with_a_failure)
{
    setenv("LJ_FAULT", "read:0:1", 1);
    struct lj_loader *loader = start(0, LANES, 0);
    struct lj_batch batch;
    cr_assert_eq(lj_loader_next(loader, 0, &batch), LJ_OK);
    cr_assert(lj_loader_wait(loader, 1, 30));
    cr_assert_eq(lj_loader_next(loader, 1, &batch), LJ_ERR_RESOURCE);
    lj_loader_destroy(loader);
}

Test(loader, steps_allocate_nothing)
{
    struct lj_loader *loader = start(0, LANES, 0);
    struct lj_batch batch;
    int64_t before = 0;
    for (int64_t step = 0; step < 60; step++) {
        cr_assert_eq(lj_loader_next(loader, step, &batch), LJ_OK);
        if (step == 10)
            before = lj_memory_calls();
    }
    cr_assert_eq(lj_memory_calls(), before);
    lj_loader_destroy(loader);
}
