/* SPDX-License-Identifier: Apache-2.0 */
/* Archives on several ranks: every rank knows the same, reads the same, and computes the bits that
 * one rank alone computes; failure of one is failure of all. Verdicts are summed over the ranks
 * before anything is asserted. */
#include "data/archive/archive.h"
#include "make_archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 75, SIDE = 6, CHANNELS = 2, PIXELS = SIDE * SIDE };

static struct lj_comm *world;
static char path[1024];

/* Rank 0 writes; all learn the path. */
static void begin(void)
{
    static double values[ROWS * CHANNELS * PIXELS], labels[ROWS], split[ROWS];
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    if (lj_comm_is_root(world)) {
        for (int64_t r = 0; r < ROWS; r++) {
            labels[r] = (double)(r % 5);
            split[r] = (double)(r % 4 != 1);
            for (int64_t k = 0; k < CHANNELS * PIXELS; k++)
                values[r * CHANNELS * PIXELS + k] = 0.001 * (double)r + 1.0 / (double)(1 + r + k);
        }
        struct dataset d[] = {
            {"images",
             H5T_IEEE_F32LE,
             4,
             {ROWS, CHANNELS, SIDE, SIDE},
             {8, CHANNELS, SIDE, SIDE},
             DEFLATE,
             values,
             NULL},
            {"labels", H5T_STD_I64LE, 1, {ROWS}, {0}, 0, labels, NULL},
            {"split", H5T_STD_U8LE, 1, {ROWS}, {0}, 0, split, NULL},
        };
        directory_make();
        snprintf(path, sizeof path, "%s", in_directory("a.h5"));
        write_file(path, false, d, 3);
    }
    lj_broadcast(world, path, sizeof path, 0);
}

static void end(void)
{
    if (lj_comm_is_root(world))
        directory_remove();
    lj_comm_finish(world);
}

TestSuite(archive_mpi, .init = begin, .fini = end, .timeout = 100);

/* Everybody's verdict. */
static bool all(bool mine)
{
    return lj_all_min(world, mine) == 1;
}

/* Sum of the bytes with their places, to compare ranks by one number. */
static int64_t digest(const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    uint64_t sum = 1469598103934665603u;
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ byte[i]) * 1099511628211u;
    return (int64_t)(sum >> 1);
}

static bool same_everywhere(int64_t value)
{
    return lj_all_min(world, value) == lj_all_max(world, value);
}

Test(archive_mpi, every_rank_knows_and_reads_the_same)
{
    struct lj_archive_options options = options_of(path);
    options.where = "split=1";
    options.stretch = LJ_DATA_STRETCH_PERCENTILE;
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, &options);
    cr_assert(all(status == LJ_OK), "%s", lj_error_text());
    const struct lj_archive_info *info = lj_archive_info(archive);
    static float images[ROWS * CHANNELS * PIXELS];
    status = lj_archive_read(archive, 0, info->selected, images);
    struct lj_groups groups = lj_archive_groups(archive);
    /* groups are two chunks of eight rows */
    bool good = status == LJ_OK && info->selected == 56 && info->classes == 5 &&
                strcmp(info->axes, "nchw") == 0 && groups.count == 5 &&
                groups.first(groups.data, 5) == 56 && lj_archive_row(archive, 1) == 2 &&
                lj_archive_label(archive, 55) == 74 % 5;
    cr_assert(all(good));
    cr_assert(same_everywhere(digest(images, sizeof images)));
    cr_assert(same_everywhere((int64_t)(info->fingerprint >> 1)));
    lj_archive_close(archive);
}

static bool is_second_of_three(void *data, int64_t index)
{
    (void)data;
    return index % 3 == 1;
}

/* Twice, and then thinned. */
Test(archive_mpi, ranks_narrow_alike)
{
    struct lj_archive_options options = options_of(path);
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, &options);
    cr_assert(all(status == LJ_OK), "%s", lj_error_text());
    status = lj_archive_narrow(archive, world, is_second_of_three, NULL);
    if (status == LJ_OK)
        status = lj_archive_narrow(archive, world, is_second_of_three, NULL);
    if (status == LJ_OK)
        status = lj_archive_thin(archive, world, 5);
    bool good = status == LJ_OK && lj_archive_info(archive)->selected == 5;
    for (int64_t i = 0; i < 5 && good; i++) {
        int64_t row = 3 * (3 * lj_evenly(i, 5, ROWS / 9) + 1) + 1;
        good = lj_archive_row(archive, i) == row && lj_archive_label(archive, i) == row % 5;
    }
    struct lj_groups groups = lj_archive_groups(archive);
    good = good && groups.first(groups.data, groups.count) == 5;
    cr_assert(all(good));
    lj_archive_close(archive);
}

static void statistics_on(struct lj_comm *comm, float values[6 * CHANNELS],
                          enum lj_data_stretch stretch, int *status)
{
    struct lj_archive_options options = options_of(path);
    options.stretch = stretch;
    struct lj_archive *archive = NULL;
    *status = lj_archive_open(&archive, comm, &options);
    if (*status == LJ_OK)
        *status = lj_archive_statistics(archive, comm, values, values + CHANNELS);
    if (*status == LJ_OK)
        lj_archive_range(archive, values + 2 * CHANNELS, values + 3 * CHANNELS);
    bool stretched = stretch == LJ_DATA_STRETCH_PERCENTILE;
    for (int c = 0; c < CHANNELS && *status == LJ_OK && stretched; c++) {
        values[4 * CHANNELS + c] = lj_archive_limits(archive)->low[c];
        values[5 * CHANNELS + c] = lj_archive_limits(archive)->high[c];
    }
    lj_archive_close(archive);
}

/* The statistics of one rank and of all, which must be equal, with a limit of the bytes to read. */
static void check_statistics(int64_t bytes_max, enum lj_data_stretch stretch,
                             float together[6 * CHANNELS])
{
    float alone[6 * CHANNELS] = {0};
    struct lj_comm *one = NULL;
    int status = lj_comm_first(world, 1, &one), good = LJ_OK;
    lj_statistics_bytes_max = bytes_max;
    if (one)
        statistics_on(one, alone, stretch, &good);
    cr_assert(all(status == LJ_OK && good == LJ_OK), "%s", lj_error_text());
    lj_broadcast(world, alone, sizeof alone, 0);
    statistics_on(world, together, stretch, &good);
    cr_assert(all(good == LJ_OK), "%s", lj_error_text());
    cr_assert(all(memcmp(alone, together, sizeof alone) == 0 && together[0] != 0.0f));
    if (one)
        lj_comm_destroy(one);
}

/* Also of a sample: two of five groups, 16 of 75 rows. */
Test(archive_mpi, statistics_have_the_bits_of_one_rank)
{
    float whole[6 * CHANNELS] = {0}, some[6 * CHANNELS] = {0};
    int64_t bytes = (int64_t)ROWS * CHANNELS * PIXELS * (int64_t)sizeof(float);
    check_statistics(bytes, LJ_DATA_STRETCH_NONE, whole);
    check_statistics(bytes / 2, LJ_DATA_STRETCH_NONE, some);
    for (int i = 0; i < 2 * CHANNELS; i++)
        cr_assert(all(whole[i] != some[i]), "mean or deviation %d", i);
    check_statistics(bytes, LJ_DATA_STRETCH_PERCENTILE, whole);
    check_statistics(bytes / 2, LJ_DATA_STRETCH_PERCENTILE, some);
    for (int i = 4 * CHANNELS; i < 6 * CHANNELS; i++)
        cr_assert(all(whole[i] != some[i]), "limit %d", i);
}

Test(archive_mpi, failure_to_open_reaches_every_rank)
{
    struct lj_archive_options options = options_of(path);
    options.images = "absent";
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, &options);
    cr_assert(all(status == LJ_ERR_DATA && !archive && strstr(lj_error_text(), "absent")));
}

/* The last rank cannot read its share: all end with its status. */
Test(archive_mpi, failure_to_read_reaches_every_rank)
{
    struct lj_archive_options options = options_of(path);
    struct lj_archive *archive = NULL;
    float mean[CHANNELS], std[CHANNELS];
    int status = lj_archive_open(&archive, world, &options);
    cr_assert(all(status == LJ_OK));
    lj_barrier(world);
    if (lj_comm_is_root(world))
        cr_assert_eq(truncate(path, 2048), 0);
    lj_barrier(world);
    status = lj_archive_statistics(archive, world, mean, std);
    cr_assert(all(status == LJ_ERR_DATA && strstr(lj_error_text(), "a.h5")), "%s", lj_error_text());
    lj_archive_close(archive);
}
