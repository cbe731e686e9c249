/* SPDX-License-Identifier: Apache-2.0 */
/* What the index of a large archive needs: subsets against a list, and the memory and the groups of
 * an archive of 10^8 rows that has no data. */
#include "data/archive/archive.h"

#include "archive_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { FEW = 3000, PARTS = 10000, PART_ROWS = 10000, GROUP = 16 };
static const int64_t rows = (int64_t)PARTS * PART_ROWS;

/* ---- subsets ----------------------------------------------------------------------------- */

static bool none(int64_t value)
{
    return value < 0;
}

static bool every(int64_t value)
{
    return value >= 0;
}

static bool second(int64_t value)
{
    return value % 2 == 1;
}

static bool first_half(int64_t value)
{
    return value < FEW / 2;
}

static bool runs_across_words(int64_t value)
{
    return value % 1300 >= 60 && value % 1300 < 1290;
}

static bool irregular(int64_t value)
{
    return (uint32_t)(value * value * 2654435761U) >> 30 == 1;
}

/* Returns whether the subset is kept as bits. */
static bool check_subset(int64_t all, bool (*member)(int64_t value))
{
    struct lj_subset subset;
    uint64_t *bits = lj_bits_alloc(all);
    int64_t count = 0;
    for (int64_t value = 0; value < all; value++)
        if (member(value))
            lj_bits_set(bits, value);
    cr_assert_eq(lj_subset_make(&subset, all, bits), LJ_OK);
    for (int64_t value = 0; value < all; value++) {
        cr_assert_eq(lj_subset_before(&subset, value), count, "%ld", (long)value);
        if (member(value))
            cr_assert_eq(lj_subset_member(&subset, count++), value);
    }
    cr_assert_eq(subset.members, count);
    cr_assert_eq(lj_subset_before(&subset, all), count);
    bool as_bits = subset.bits != NULL;
    lj_subset_free(&subset);
    return as_bits;
}

Test(archive_size, subsets_know_their_members)
{
    static const int64_t lengths[] = {64, 65, 511, 512, 513, FEW};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        check_subset(lengths[i], none);
        check_subset(lengths[i], irregular);
    }
    cr_assert(!check_subset(FEW, every) && !check_subset(FEW, first_half));
    cr_assert(!check_subset(10 * FEW, runs_across_words) && check_subset(FEW, second));
    struct lj_subset whole;
    cr_assert_eq(lj_subset_whole(&whole, FEW), LJ_OK);
    cr_assert(whole.members == FEW && lj_subset_member(&whole, FEW - 1) == FEW - 1 &&
              lj_subset_before(&whole, 7) == 7);
    lj_subset_free(&whole);
}

/* ---- 10^8 rows --------------------------------------------------------------------------- */

/* An archive of which rows with an odd number are selected, but for those of the first part. */
static void make(struct lj_archive *archive)
{
    *archive = (struct lj_archive){.header.info = {.rows = rows, .parts = PARTS}};
    archive->part = lj_alloc_array(PARTS, sizeof *archive->part, "archive");
    uint64_t *bits = lj_bits_alloc(rows);
    cr_assert(archive->part && bits);
    for (int64_t p = 0; p < PARTS; p++)
        archive->part[p] = (struct lj_part){.rows = PART_ROWS,
                                            .first_row = p * PART_ROWS,
                                            .group_rows = GROUP,
                                            .first_group = p * (PART_ROWS / GROUP)};
    for (int64_t row = PART_ROWS + 1; row < rows; row += 2)
        lj_bits_set(bits, row);
    cr_assert_eq(lj_subset_make(&archive->rows, rows, bits), LJ_OK);
    archive->header.info.selected = archive->rows.members;
    cr_assert_eq(lj_archive_make_groups(archive), LJ_OK);
}

static int64_t bytes_in_use(void)
{
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64);
    int64_t bytes = 0;
    for (int i = 0; i < labels; i++)
        bytes += (int64_t)use[i].bytes;
    return bytes;
}

Test(archive_size, hundred_million_rows_are_small)
{
    static struct lj_archive archive;
    struct lj_sampler *sampler = NULL;
    struct lj_draw draw;
    make(&archive);
    int64_t selected = archive.header.info.selected, index_bytes = bytes_in_use();
    struct lj_groups groups = lj_archive_groups(&archive);
    cr_assert_eq(selected, (rows - PART_ROWS) / 2);
    cr_assert_eq(groups.count, (int64_t)(PARTS - 1) * (PART_ROWS / GROUP));
    for (int64_t i = 0; i < selected; i += 99991) {
        cr_assert_eq(lj_archive_row(&archive, i), PART_ROWS + 1 + 2 * i);
        cr_assert_eq(groups.first(groups.data, i / (GROUP / 2)), i / (GROUP / 2) * (GROUP / 2));
    }
    cr_assert_eq(groups.first(groups.data, groups.count), selected);
    cr_assert_eq(lj_sampler_create(&sampler, 1, 4096, &groups, 256), LJ_OK);
    for (int64_t lane = 0; lane < 4096; lane += 99) {
        lj_sampler_at(sampler, lane, 7, &draw);
        cr_assert(draw.index >= 0 && draw.index < selected);
    }
    int64_t sampler_bytes = bytes_in_use() - index_bytes;
    cr_log_info("index %ld bytes, sampler %ld bytes", (long)index_bytes, (long)sampler_bytes);
    cr_assert(index_bytes < 20 << 20, "the index needs %ld bytes", (long)index_bytes);
    cr_assert(sampler_bytes < 1 << 20, "the sampler needs %ld bytes", (long)sampler_bytes);
    lj_sampler_destroy(sampler);
    lj_subset_free(&archive.rows);
    lj_subset_free(&archive.groups);
    lj_free(archive.part);
}

/* ---- groups of files --------------------------------------------------------------------- */

/* Groups of an archive of so many images of side x side doubles, in chunks of that many rows; 0:
 * contiguous. */
static void check_groups(int64_t images, int64_t side, int64_t chunk, const int64_t *first,
                         int64_t count)
{
    double *values = calloc((size_t)(images * side * side), sizeof *values);
    struct dataset d = {.name = "images",
                        .type = H5T_IEEE_F64LE,
                        .dims = 3,
                        .dim = {(hsize_t)images, (hsize_t)side, (hsize_t)side},
                        .chunk = {(hsize_t)chunk, (hsize_t)side, (hsize_t)side},
                        .values = values};
    write_file(in_directory("a.h5"), false, &d, 1);
    free(values);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.axes = LJ_DATA_AXES_NHW;
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    struct lj_groups groups = lj_archive_groups(archive);
    cr_assert_eq(groups.count, count);
    for (int64_t g = 0; g <= count; g++)
        cr_assert_eq(groups.first(groups.data, g), first[g], "group %ld", (long)g);
    lj_archive_close(archive);
}

/* Images of more than 256 KiB and small ones, contiguous and in small chunks. */
Test(archive_size, groups_have_sixteen_rows_at_least, .init = begin, .fini = end)
{
    check_groups(34, 184, 0, (int64_t[]){0, 16, 32, 34}, 3);
    check_groups(34, 184, 1, (int64_t[]){0, 16, 32, 34}, 3);
    check_groups(21, 8, 5, (int64_t[]){0, 20, 21}, 2);
    check_groups(130, 8, 0, (int64_t[]){0, 64, 128, 130}, 3);
}
