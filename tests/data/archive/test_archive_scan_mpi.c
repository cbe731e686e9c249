/* SPDX-License-Identifier: Apache-2.0 */
/* Many files on several ranks: the index is that of one rank, each file is opened once, and the
 * first failing file speaks. */
#include "data/archive/archive.h"

#include "make_archive.h"
#include "mpi_case.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 23, SIDE = 8, ROWS_MOST = 5 };

static struct lj_comm *world;
static char folder[1024]; /* of the files, made by rank 0 */

static const char *file_name(int i)
{
    static char name[32];
    snprintf(name, sizeof name, "part%02d.h5", i);
    return in_directory(name);
}

/* Files of 1 to 5 images; of file 0 and 1 none, so that the third one decides. */
static void write_files(void)
{
    static double values[ROWS_MOST * SIDE * SIDE];
    for (int i = 0; i < FILES; i++) {
        struct dataset d = {.name = "images",
                            .type = H5T_STD_U8LE,
                            .dims = 3,
                            .dim = {i < 2 ? 0 : (hsize_t)(1 + i % ROWS_MOST), SIDE, SIDE},
                            .values = i < 2 ? NULL : values};
        write_file(file_name(i), false, &d, 1);
    }
}

static void begin(void)
{
    world = lj_case_begin();
    if (lj_comm_is_root(world)) {
        directory_make();
        write_files();
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

TestSuite(archive_scan_mpi, .init = begin, .fini = end, .timeout = 60);

static struct lj_archive_options options_here(void)
{
    struct lj_archive_options options = options_of(folder);
    options.axes = LJ_DATA_AXES_NHW;
    options.skip_labels = true;
    return options;
}

/* What an archive is: its fingerprint, and the names of all rows. */
struct digest {
    uint64_t fingerprint;
    int64_t rows;
    int64_t groups;
    char names[FILES * ROWS_MOST][256];
};

static void describe(struct lj_archive *archive, struct digest *digest)
{
    memset(digest, 0, sizeof *digest);
    digest->fingerprint = lj_archive_info(archive)->fingerprint;
    digest->rows = lj_archive_info(archive)->rows;
    digest->groups = lj_archive_groups(archive).count;
    for (int64_t row = 0; row < digest->rows; row++)
        lj_archive_name_row(archive, row, digest->names[row], sizeof digest->names[row]);
}

/* Opens on comm; returns how many files its ranks have opened for it. */
static int64_t open_on(struct lj_comm *comm, const struct lj_archive_options *options,
                       struct lj_archive **archive)
{
    int64_t before = lj_hdf5_opened();
    int status = lj_archive_open(archive, comm, options);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    return lj_all_sum(comm, lj_hdf5_opened() - before);
}

Test(archive_scan_mpi, each_file_is_opened_once)
{
    static struct digest alone, together, again;
    struct lj_archive_options options = options_here();
    struct lj_archive *archive = NULL, *second = NULL;
    struct lj_comm *one = NULL;
    int status = lj_comm_first(world, 1, &one);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    if (one) {
        open_on(one, &options, &archive);
        describe(archive, &alone);
        lj_archive_close(archive);
        lj_comm_destroy(one);
    }
    lj_broadcast(world, &alone, sizeof alone, 0);
    int64_t opened = open_on(world, &options, &archive);
    lj_all_assert(world, opened == FILES, "%lld files opened", (long long)opened);
    describe(archive, &together);
    lj_all_assert(world, memcmp(&alone, &together, sizeof alone) == 0 && alone.rows > FILES,
                  "%lld rows, alone %lld", (long long)together.rows, (long long)alone.rows);
    options.indexed = archive;
    opened = open_on(world, &options, &second);
    describe(second, &again);
    lj_all_assert(world, opened == 0 && memcmp(&alone, &again, sizeof alone) == 0,
                  "%lld files opened anew", (long long)opened);
    lj_archive_close(second);
    lj_archive_close(archive);
}

/* Wherever two files are damaged, the first one is named. */
Test(archive_scan_mpi, the_first_failing_file_speaks)
{
    struct lj_archive_options options = options_here();
    for (int first = FILES - 2; first >= 0; first -= 4) {
        char wanted[64];
        struct lj_archive *archive = NULL;
        snprintf(wanted, sizeof wanted, "part%02d.h5: the HDF5 file is truncated", first);
        if (lj_comm_is_root(world))
            cr_assert(truncate(file_name(first), 1000) == 0 &&
                      truncate(file_name(first + 1), 1000) == 0);
        lj_barrier(world);
        int status = lj_archive_open(&archive, world, &options);
        lj_all_assert(world, status == LJ_ERR_DATA && !archive && strstr(lj_error_text(), wanted),
                      "status %d: %s", status, lj_error_text());
    }
}
