/* SPDX-License-Identifier: Apache-2.0 */
/* Columns on several ranks, each of which reads a share of the rows: rows and labels are those of
 * one rank, labels take few bytes, and the first row that is not as it should be decides. */
#include "data/archive/archive.h"

#include "make_archive.h"
#include "mpi_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Shares of ranks begin and end inside of files. */
enum { FILES = 5, PART_ROWS = 700, ROWS = FILES * PART_ROWS, SIDE = 2 };

static struct lj_comm *world;
static char folder[512]; /* made by rank 0 */

static const char *file_name(int i)
{
    char name[32];
    snprintf(name, sizeof name, "part%02d.h5", i);
    return in_directory(name);
}

static double split_of(int64_t row)
{
    return (double)(row % 7);
}

/* Every 11th row has none. */
static double label_of(int64_t row, int64_t classes)
{
    return row % 11 == 3 ? NAN : (double)(row * 5 % classes);
}

/* Labels of three kinds: of 100, 1000 and 100000 classes. */
static const struct kind {
    const char *name;
    int64_t classes;
    int bytes;
} kinds[] = {{"few", 100, 1}, {"more", 1000, 2}, {"many", 100000, 4}};

static void write_part(int part)
{
    static double pixels[PART_ROWS * SIDE * SIDE], split[PART_ROWS], label[3][PART_ROWS];
    for (int64_t i = 0; i < PART_ROWS; i++) {
        int64_t row = part * PART_ROWS + i;
        split[i] = split_of(row);
        for (int k = 0; k < 3; k++)
            label[k][i] = label_of(row * 41, kinds[k].classes);
    }
    struct dataset d[] = {
        {.name = "images",
         .type = H5T_STD_U8LE,
         .dims = 3,
         .dim = {PART_ROWS, SIDE, SIDE},
         .values = pixels},
        {.name = "split",
         .type = H5T_STD_U8LE,
         .dims = 1,
         .dim = {PART_ROWS},
         .chunk = {300},
         .filters = DEFLATE,
         .values = split},
        {.name = "few", .type = H5T_IEEE_F32LE, .dims = 1, .dim = {PART_ROWS}, .values = label[0]},
        {.name = "more", .type = H5T_IEEE_F32LE, .dims = 1, .dim = {PART_ROWS}, .values = label[1]},
        {.name = "many",
         .type = H5T_IEEE_F64LE,
         .dims = 2,
         .dim = {PART_ROWS, 1},
         .values = label[2]},
    };
    write_file(file_name(part), false, d, 5);
}

static void begin(void)
{
    world = lj_case_begin();
    if (lj_comm_is_root(world)) {
        directory_make();
        for (int i = 0; i < FILES; i++)
            write_part(i);
        snprintf(folder, sizeof folder, "%s", in_directory(""));
    }
    lj_broadcast(world, folder, sizeof folder, 0);
}

static void end(void)
{
    lj_barrier(world);
    if (lj_comm_is_root(world))
        directory_remove();
    lj_case_end(world);
}

TestSuite(archive_columns_mpi, .init = begin, .fini = end, .timeout = 60);

static struct lj_archive_options options_here(void)
{
    struct lj_archive_options options = options_of(folder);
    options.axes = LJ_DATA_AXES_NHW;
    return options;
}

static struct lj_archive *open_here(const struct lj_archive_options *options)
{
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, options);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    return archive;
}

/* Are the selected rows those that `selects`, with these labels? */
static void check(struct lj_archive *archive, bool (*selects)(int64_t row), int64_t classes)
{
    int64_t i = 0, wrong = -1;
    for (int64_t row = 0; row < ROWS; row++) {
        bool here = lj_archive_selects(archive, row);
        if (here != selects(row) || (here && lj_archive_row(archive, i) != row))
            wrong = row;
        double label = label_of(row * 41, classes);
        if (here && lj_archive_label(archive, i) != (isnan(label) ? -1 : (int32_t)label))
            wrong = row;
        i += here;
    }
    lj_all_assert(world, wrong < 0 && i == lj_archive_info(archive)->selected,
                  "row %lld is wrong, %lld are selected", (long long)wrong,
                  (long long)lj_archive_info(archive)->selected);
    struct lj_groups groups = lj_archive_groups(archive);
    lj_all_assert(world, groups.first(groups.data, groups.count) == i, "groups do not end");
}

static bool every(int64_t row)
{
    return row >= 0;
}

static bool of_split(int64_t row)
{
    return split_of(row) >= 2 && split_of(row) != 5;
}

static bool even_labels_of_split(int64_t row)
{
    double label = label_of(row * 41, 1000);
    return of_split(row) && !isnan(label) && (int)label % 2 == 0;
}

static bool has_even_label(void *data, int64_t index)
{
    return lj_archive_label(data, index) >= 0 && lj_archive_label(data, index) % 2 == 0;
}

Test(archive_columns_mpi, ranks_select_what_one_selects)
{
    struct lj_archive_options options = options_here();
    for (int k = 0; k < 3; k++) {
        options.labels = kinds[k].name;
        options.where = "";
        struct lj_archive *archive = open_here(&options);
        check(archive, every, kinds[k].classes);
        lj_all_assert(world, archive->label_bytes == kinds[k].bytes, "%d bytes a label",
                      archive->label_bytes);
        lj_archive_close(archive);
        options.where = "split>=2 and split!=5";
        archive = open_here(&options);
        check(archive, of_split, kinds[k].classes);
        lj_archive_close(archive);
    }
}

Test(archive_columns_mpi, ranks_narrow_and_thin_alike)
{
    struct lj_archive_options options = options_here();
    options.labels = "more";
    options.where = "split>=2 and split!=5";
    struct lj_archive *archive = open_here(&options);
    int status = lj_archive_narrow(archive, world, has_even_label, archive);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    check(archive, even_labels_of_split, 1000);
    enum { SOME = 101 };
    static int64_t row[SOME];
    int64_t selected = lj_archive_info(archive)->selected, wrong = 0;
    for (int64_t i = 0; i < SOME; i++)
        row[i] = lj_archive_row(archive, lj_evenly(i, SOME, selected));
    status = lj_archive_thin(archive, world, selected);
    lj_all_assert(world, status == LJ_OK && lj_archive_info(archive)->selected == selected, "%s",
                  lj_error_text());
    status = lj_archive_thin(archive, world, SOME);
    lj_all_assert(world, status == LJ_OK && lj_archive_info(archive)->selected == SOME, "%s",
                  lj_error_text());
    for (int64_t i = 0; i < SOME; i++)
        wrong += lj_archive_row(archive, i) != row[i] ||
                 lj_archive_label(archive, i) != (int32_t)label_of(row[i] * 41, 1000);
    lj_all_assert(world, wrong == 0, "%lld rows are wrong", (long long)wrong);
    lj_archive_close(archive);
}

/* Writes a column called `labels` into files [0, parts): of integers, but for a fraction at
 * position 600 of some file, and one value too many in some other. */
static void write_labels(int parts, int fraction, int too_long)
{
    lj_barrier(world);
    for (int part = 0; part < FILES && lj_comm_is_root(world); part++) {
        static double values[PART_ROWS + 1];
        values[600] = part == fraction ? 0.5 : 1;
        struct dataset d = {.name = "labels",
                            .type = H5T_IEEE_F32LE,
                            .dims = 1,
                            .dim = {part == too_long ? PART_ROWS + 1 : PART_ROWS},
                            .values = values};
        write_part(part);
        if (part < parts)
            write_file(file_name(part), true, &d, 1);
    }
    lj_barrier(world);
}

static void refuse(const struct lj_archive_options *options, const char *file, const char *why)
{
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, options);
    const char *text = lj_error_text();
    lj_all_assert(world,
                  status == LJ_ERR_DATA && !archive && strstr(text, file) && strstr(text, why),
                  "status %d: %s", status, text);
}

static void expect_labels(const char *what, bool wanted)
{
    struct lj_archive_options options = options_here();
    struct lj_archive *archive = open_here(&options);
    lj_all_assert(world, lj_archive_info(archive)->has_labels == wanted, "%s: labels '%s'", what,
                  lj_archive_info(archive)->labels);
    lj_archive_close(archive);
}

Test(archive_columns_mpi, the_first_row_that_is_wrong_decides)
{
    struct lj_archive_options named = options_here(), automatic = named;
    named.labels = "labels";
    write_labels(FILES, -1, -1);
    expect_labels("in all files", true);
    write_labels(FILES - 1, -1, -1);
    expect_labels("missing in the last file", false);
    refuse(&named, "part04.h5", "there is no dataset labels");
    write_labels(FILES - 1, 3, -1);
    expect_labels("a fraction", false);
    refuse(&named, "part03.h5", "found 0.5 at row 2700");
    write_labels(FILES - 1, 3, 2);
    refuse(&automatic, "part02.h5:/labels", "expected one value for each of 700 images, found 701");
    refuse(&named, "part02.h5:/labels", "found 701");
    write_labels(FILES - 1, 1, 2);
    expect_labels("a fraction before", false);
    named.where = "labels=1";
    refuse(&named, "part02.h5:/labels", "found 701");
    write_labels(1, -1, -1);
    refuse(&named, "part01.h5", "there is no dataset labels (data.where)");
    named.where = "split=99";
    refuse(&named, "part00.h5", "selects none of 3500 rows");
}

/* Reading by many ranks needs no memory for all rows: each rank has bits and labels of its share,
 * rank 0 the bits of all. */
Test(archive_columns_mpi, each_rank_needs_little_memory)
{
    struct lj_archive_options options = options_here();
    options.labels = "few";
    options.where = "split>=2";
    struct lj_archive *archive = open_here(&options);
    int64_t most = 0;
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64);
    for (int i = 0; i < labels; i++)
        if (strcmp(use[i].label, "columns of an archive") == 0)
            most = (int64_t)use[i].peak_bytes;
    most = lj_all_max(world, most);
    lj_all_assert(world, most > 0 && most <= PART_ROWS * (int64_t)sizeof(double),
                  "%lld bytes of values at once", (long long)most);
    lj_archive_close(archive);
}
