/* SPDX-License-Identifier: Apache-2.0 */
/* Archives whose datasets promise more than is stored: what is read all the same, what is refused
 * before memory is allocated for it. */
#include "make_archive.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 9, HEIGHT = 6, WIDTH = 5, PIXELS = HEIGHT * WIDTH, MOST = ROWS * PIXELS };

static struct lj_comm *world;
static double values[MOST];

static void begin(void)
{
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    directory_make();
    for (int i = 0; i < MOST; i++)
        values[i] = pixel(i / PIXELS, 0, i % PIXELS);
}

static void end(void)
{
    directory_remove();
    lj_comm_finish(world);
}

TestSuite(archive_storage, .init = begin, .fini = end, .timeout = 60);

/* Opening fails with a text that holds both words. */
static void refuse(const struct lj_archive_options *options, const char *one, const char *two)
{
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, options), LJ_ERR_DATA, "%s", lj_error_text());
    cr_assert_null(archive);
    cr_assert(strstr(lj_error_text(), one) && strstr(lj_error_text(), two), "text: %s",
              lj_error_text());
}

static void refuse_file(const char *path, const char *one, const char *two)
{
    struct lj_archive_options options = options_of(path);
    refuse(&options, one, two);
}

/* Grey images, contiguous, written. */
static struct dataset grey(const char *name, hsize_t rows)
{
    return (struct dataset){.name = name,
                            .type = H5T_STD_U8LE,
                            .dims = 3,
                            .dim = {rows, HEIGHT, WIDTH},
                            .values = values};
}

/* The same in chunks of four rows that are not written. */
static struct dataset unwritten(const char *name, hsize_t rows)
{
    struct dataset d = grey(name, rows);
    memcpy(d.chunk, (hsize_t[]){4, HEIGHT, WIDTH}, 3 * sizeof(hsize_t));
    d.values = NULL;
    return d;
}

/* Three parts whose rows add up to little more than nothing in 64 bits, with labels that fit the
 * sum. */
Test(archive_storage, rows_that_wrap_are_refused)
{
    for (int f = 0; f < 3; f++) {
        char name[8];
        snprintf(name, sizeof name, "%d.h5", f);
        struct dataset d = unwritten("images", ((hsize_t)1 << 63) - 256);
        write_file(in_directory(name), false, &d, 1);
    }
    refuse_file(in_directory("*.h5"), "0.h5:/images", "9223372036854775552x6x5");
}

/* A column is compared with the rows before it is read. */
Test(archive_storage, long_label_columns_are_refused)
{
    struct dataset d[] = {grey("images", ROWS), unwritten("labels", (hsize_t)1 << 50)};
    d[1].dims = 1;
    write_file(in_directory("a.h5"), false, d, 2);
    refuse_file(in_directory("a.h5"), "a.h5:/labels", "found 1125899906842624");
}
