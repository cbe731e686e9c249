/* SPDX-License-Identifier: Apache-2.0 */
/* The index that is kept for the next start, on several ranks: it is that of the files, which are
 * not opened for it; whatever may have changed makes it anew; of files in doubt none is kept. */
#include "data/archive/archive.h"

#include "make_archive.h"
#include "mpi_case.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 7, SIDE = 8, ROWS = 3 };

static struct lj_comm *world;
static char folder[512], cache[1024]; /* made by rank 0 */

static const char *file_name(int i)
{
    char name[32];
    snprintf(name, sizeof name, "part%02d.h5", i);
    return in_directory(name);
}

/* As if the last change were so many seconds ago. */
static void age(const char *path, int64_t seconds)
{
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){now.tv_sec - seconds, now.tv_nsec};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void write_images(int i, hsize_t rows)
{
    static double values[(ROWS + 1) * SIDE * SIDE];
    struct dataset d = {.name = "images",
                        .type = H5T_STD_U8LE,
                        .dims = 3,
                        .dim = {rows, SIDE, SIDE},
                        .values = rows ? values : NULL};
    write_file(file_name(i), false, &d, 1);
    age(file_name(i), 100);
}

static void begin(void)
{
    world = lj_case_begin();
    if (lj_comm_is_root(world)) {
        directory_make();
        for (int i = 0; i < FILES; i++)
            write_images(i, i ? ROWS : 0);
        snprintf(folder, sizeof folder, "%s", in_directory(""));
        snprintf(cache, sizeof cache, "%s", in_directory("index.cache"));
    }
    lj_broadcast(world, folder, sizeof folder, 0);
    lj_broadcast(world, cache, sizeof cache, 0);
}

static void end(void)
{
    lj_barrier(world);
    if (lj_comm_is_root(world))
        directory_remove();
    lj_case_end(world);
}

TestSuite(archive_cache_mpi, .init = begin, .fini = end, .timeout = 60);

static struct lj_archive_options options_here(void)
{
    struct lj_archive_options options = options_of(folder);
    options.axes = LJ_DATA_AXES_NHW;
    options.skip_labels = true;
    options.cache = cache;
    return options;
}

/* What an archive is: its facts in words, its fingerprints and the names of all rows. */
struct digest {
    char words[512];
    uint64_t fingerprints[1 + FILES];
    int64_t rows, groups;
    char names[FILES * (ROWS + 1)][256];
};

static void describe(struct lj_archive *archive, struct digest *digest)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    memset(digest, 0, sizeof *digest);
    lj_archive_describe(archive, digest->words, sizeof digest->words);
    digest->fingerprints[0] = info->fingerprint;
    for (int p = 0; p < info->parts; p++)
        digest->fingerprints[1 + p] = archive->part[p].fingerprint;
    digest->rows = info->rows;
    digest->groups = lj_archive_groups(archive).count;
    for (int64_t row = 0; row < digest->rows; row++)
        lj_archive_name_row(archive, row, digest->names[row], sizeof digest->names[row]);
}

/* Opens an archive, keeps its index, describes it if wanted, and closes it. Returns how many files
 * the ranks have opened. */
static int64_t open_and_keep(const struct lj_archive_options *options, struct digest *digest)
{
    struct lj_archive *archive = NULL;
    int64_t before = lj_hdf5_opened();
    int status = lj_archive_open(&archive, world, options);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    int64_t opened = lj_all_sum(world, lj_hdf5_opened() - before);
    lj_archive_keep_index(archive, cache);
    if (digest)
        describe(archive, digest);
    lj_archive_close(archive);
    return opened;
}

/* An archive, and another one right after it, open so many files. */
static void expect(const char *what, const struct lj_archive_options *options, int64_t first,
                   int64_t second)
{
    lj_barrier(world);
    int64_t opened = open_and_keep(options, NULL), again = open_and_keep(options, NULL);
    lj_all_assert(world, opened == first && again == second, "%s: %lld files opened, then %lld",
                  what, (long long)opened, (long long)again);
}

Test(archive_cache_mpi, a_kept_index_opens_no_file)
{
    static struct digest scanned, recalled;
    struct lj_archive_options options = options_here();
    int64_t opened = open_and_keep(&options, &scanned);
    lj_all_assert(world, opened == FILES && scanned.rows == (FILES - 1) * ROWS, "%lld files opened",
                  (long long)opened);
    opened = open_and_keep(&options, &recalled);
    lj_all_assert(world, opened == 0, "%lld files opened again", (long long)opened);
    lj_all_assert(world, memcmp(&scanned, &recalled, sizeof scanned) == 0, "%s instead of %s",
                  recalled.words, scanned.words);
    struct lj_archive *archive = NULL;
    float images[SIDE * SIDE];
    int status = lj_archive_open(&archive, world, &options);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    status = lj_archive_read(archive, scanned.rows - 1, 1, images);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_archive_close(archive);
}

/* Does fn on rank 0, between barriers. */
static void alone(void (*fn)(int argument), int argument)
{
    lj_barrier(world);
    if (lj_comm_is_root(world))
        fn(argument);
    lj_barrier(world);
}

static void make_older(int i)
{
    age(file_name(i), 200);
}

static void add_row(int i)
{
    write_images(i, ROWS + 1);
}

static void remove_last(int i)
{
    unlink(file_name(i));
}

Test(archive_cache_mpi, what_changed_is_seen)
{
    static struct digest digest;
    struct lj_archive_options options = options_here();
    expect("at first", &options, FILES, 0);
    alone(make_older, FILES - 1);
    expect("another time", &options, FILES, 0);
    alone(add_row, 2);
    int64_t opened = open_and_keep(&options, &digest);
    lj_all_assert(world, opened == FILES && digest.rows == (FILES - 1) * ROWS + 1,
                  "%lld files opened, %lld rows", (long long)opened, (long long)digest.rows);
    options.size = 4;
    expect("data.size", &options, FILES, 0);
    options.images = "images";
    expect("data.images", &options, FILES, 0);
    options.blank = "7";
    expect("data.blank", &options, FILES, 0);
    options.axes = LJ_DATA_AXES_AUTO;
    expect("data.axes", &options, FILES, 0);
    alone(remove_last, FILES - 1);
    expect("a file less", &options, FILES - 1, 0);
    options.cache = NULL;
    expect("no cache", &options, FILES - 1, FILES - 1);
}

static int64_t cache_bytes(void)
{
    struct stat about;
    cr_assert_eq(stat(cache, &about), 0);
    return about.st_size;
}

static void invert_byte(int at)
{
    char byte = 0;
    int file = open(cache, O_RDWR);
    cr_assert(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte = (char)~byte;
    cr_assert_eq(pwrite(file, &byte, 1, at), 1);
    close(file);
}

static void cut(int bytes)
{
    cr_assert_eq(truncate(cache, bytes), 0);
}

Test(archive_cache_mpi, a_damaged_cache_is_made_anew)
{
    struct lj_archive_options options = options_here();
    expect("at first", &options, FILES, 0);
    int64_t bytes = lj_comm_is_root(world) ? cache_bytes() : 0;
    lj_broadcast(world, &bytes, sizeof bytes, 0);
    for (int64_t i = 0; i <= 40; i++) {
        alone(invert_byte, (int)lj_evenly(i, 41, bytes));
        expect("an inverted byte", &options, FILES, 0);
    }
    const int64_t lengths[] = {0, 1, bytes / 2, bytes - 1};
    for (int i = 0; i < 4; i++) {
        alone(cut, (int)lengths[i]);
        expect("a cut cache", &options, FILES, 0);
    }
}

static void make_new(int i)
{
    age(file_name(i), 0);
}

static void write_link(int i)
{
    lj_hdf5_lock();
    hid_t file = H5Fcreate(file_name(i), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(
        H5Lcreate_external("part01.h5", "images", file, "images", H5P_DEFAULT, H5P_DEFAULT), 0);
    H5Fclose(file);
    lj_hdf5_unlock();
    age(file_name(i), 100);
}

Test(archive_cache_mpi, of_files_in_doubt_nothing_is_kept)
{
    struct lj_archive_options options = options_here();
    alone(make_new, 3);
    expect("a new file", &options, FILES, FILES);
    lj_all_assert(world, access(cache, F_OK) != 0, "there is a cache");
    alone(write_link, 3);
    options.images = "/images";
    expect("a link to another file", &options, FILES, FILES);
    lj_all_assert(world, access(cache, F_OK) != 0, "there is a cache");
}

/* A directory that cannot be written to: the log says so, and nothing else happens. */
Test(archive_cache_mpi, without_a_place_nothing_is_kept)
{
    struct lj_archive_options options = options_here();
    snprintf(cache, sizeof cache, "%.500s/absent/index.cache", folder);
    expect("no such folder", &options, FILES, FILES);
    options.cache = "";
    expect("no name yet", &options, FILES, FILES);
}
