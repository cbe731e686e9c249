/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a small archive to train on. */
#include "train_archive.h"

#include "base/base.h"

#include "mpi_case.h"
#include "random.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <stdlib.h>

/* Slopes with noise, so that crops of one image resemble each other. */
static void fill(float *images, int64_t rows, int64_t channels, int64_t size)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, 7, 7, 7);
    for (int64_t r = 0; r < rows * channels; r++) {
        double tilt = lj_rng_between(&rng, -1, 1), level = lj_rng_between(&rng, -1, 1);
        for (int64_t p = 0; p < size * size; p++)
            *images++ = (float)(level + tilt * (double)(p % size - p / size) / (double)size +
                                0.1 * lj_random_normal(&rng));
    }
}

static void write_labels(hid_t file, hsize_t rows)
{
    int32_t *label = malloc((size_t)rows * sizeof *label);
    hid_t space = H5Screate_simple(1, &rows, NULL);
    hid_t set =
        H5Dcreate2(file, "labels", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(label);
    for (hsize_t r = 0; r < rows; r++)
        label[r] = (int32_t)(3 * (r * r % 5));
    cr_assert(H5Dwrite(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, label) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    free(label);
}

void lj_train_archive_write(const char *path, int64_t rows, int64_t channels, int64_t size)
{
    hsize_t dim[4] = {(hsize_t)rows, (hsize_t)channels, (hsize_t)size, (hsize_t)size};
    hsize_t chunk[4] = {7, dim[1], dim[2], dim[3]};
    float *images = malloc((size_t)(rows * channels * size * size) * sizeof *images);
    cr_assert(images);
    fill(images, rows, channels, size);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(4, dim, NULL), layout = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(layout, 4, chunk);
    H5Pset_deflate(layout, 1);
    hid_t set = H5Dcreate2(file, "images", H5T_IEEE_F32LE, space, H5P_DEFAULT, layout, H5P_DEFAULT);
    cr_assert(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, images) >= 0);
    H5Dclose(set);
    H5Pclose(layout);
    H5Sclose(space);
    write_labels(file, dim[0]);
    cr_assert(H5Fclose(file) >= 0);
    free(images);
}

void lj_train_archive_open(struct lj_comm *comm, struct lj_tmpdir *dir, struct lj_archive **archive)
{
    if (lj_comm_is_root(comm)) {
        lj_tmpdir_make(dir);
        lj_train_archive_write(lj_tmpdir_file(dir, "archive.h5"), 100, 2, 16);
    }
    lj_broadcast(comm, dir, sizeof *dir, 0);
    struct lj_archive_options options = {.files = lj_tmpdir_file(dir, "archive.h5"),
                                         .images = "",
                                         .labels = "labels",
                                         .where = "",
                                         .axes = LJ_DATA_AXES_NCHW,
                                         .stretch = LJ_DATA_STRETCH_NONE,
                                         .nan = LJ_DATA_NAN_ERROR};
    int status = lj_archive_open(archive, comm, &options);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
}
