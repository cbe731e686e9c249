/* SPDX-License-Identifier: Apache-2.0 */
/* A single array in an HDF5 file: read whole, or read and written by rows. */
#include "store/hdf5/dataset.h"

#include <stdio.h>

int lj_array_read(const char *path, const char *dataset, bool optional, int *dims, int64_t dim[3],
                  float **values)
{
    struct lj_dataset found;
    hid_t file;
    *values = NULL;
    LJ_TRY(lj_dataset_file_open(path, &file));
    struct lj_dataset_request request = {.name = dataset,
                                         .optional = optional,
                                         .rows = -1,
                                         .memory = H5T_NATIVE_FLOAT,
                                         .size = sizeof(float)};
    int status = lj_dataset_read(&found, file, path, &request);
    lj_hdf5_close(file);
    LJ_TRY(status);
    if (found.values && found.dims > *dims) {
        lj_free(found.values);
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %d dimensions, expected at most %d", path,
                       dataset, found.dims, *dims);
    }
    *dims = found.dims;
    for (int i = 0; i < found.dims; i++)
        dim[i] = found.dim[i];
    *values = found.values;
    return LJ_OK;
}

/* ---- rows of an array -------------------------------------------------------------------- */

static int read_rows(struct lj_dataset *found, const char *path, const char *dataset, bool optional,
                     int64_t first, int64_t end, int64_t *global_views)
{
    hid_t file;
    LJ_TRY(lj_dataset_file_open(path, &file));
    struct lj_dataset_request request = {.name = dataset,
                                         .optional = optional,
                                         .rows = -1,
                                         .memory = H5T_NATIVE_FLOAT,
                                         .size = sizeof(float),
                                         .part = true,
                                         .views = true,
                                         .first = first,
                                         .end = end};
    int status = lj_dataset_read(found, file, path, &request);
    hid_t set = status == LJ_OK && found->values ? H5Dopen2(file, dataset, H5P_DEFAULT) : -1;
    if (global_views && (set < 0 || !lj_hdf5_get_i64(set, LJ_ARRAY_GLOBAL_VIEWS, global_views)))
        *global_views = 0;
    if (set >= 0)
        H5Dclose(set);
    lj_hdf5_close(file);
    return status;
}

int lj_array_find_rows(const char *path, const char *dataset, bool optional,
                       struct lj_array_shape *shape)
{
    struct lj_dataset found;
    int64_t global_views = 0;
    *shape = (struct lj_array_shape){0};
    LJ_TRY(read_rows(&found, path, dataset, optional, 0, 0, &global_views));
    if (found.values)
        *shape = (struct lj_array_shape){.found = true,
                                         .views = found.dims == 3 ? found.dim[0] : 1,
                                         .rows = found.dim[found.dims - 2],
                                         .width = found.dim[found.dims - 1],
                                         .global_views = global_views};
    lj_free(found.values);
    return LJ_OK;
}

int lj_array_read_rows(const char *path, const char *dataset, int64_t first, int64_t end,
                       float **values)
{
    struct lj_dataset found;
    *values = NULL;
    LJ_TRY(read_rows(&found, path, dataset, false, first, end, NULL));
    *values = found.values;
    return LJ_OK;
}

/* ---- writing ----------------------------------------------------------------------------- */

struct lj_array_file {
    struct lj_result file;
    hid_t set;
    int64_t views, width;
};

int lj_array_create(struct lj_array_file **file, const char *path, const char *dataset,
                    const struct lj_array_shape *shape, const char *description)
{
    const hsize_t dim[3] = {(hsize_t)shape->views, (hsize_t)shape->rows, (hsize_t)shape->width};
    struct lj_array_file *f = *file = lj_alloc(sizeof *f, "arrays of HDF5 files");
    if (!f)
        return LJ_ERR_RESOURCE;
    *f = (struct lj_array_file){.set = -1, .views = shape->views, .width = shape->width};
    int status = lj_result_create(&f->file, path);
    if (status != LJ_OK) {
        lj_free(f);
        *file = NULL;
        return status;
    }
    hid_t space = H5Screate_simple(3, dim, NULL);
    f->set = H5Dcreate2(f->file.id, dataset, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                        H5P_DEFAULT);
    H5Sclose(space);
    bool good = f->set >= 0 && lj_hdf5_put_text(f->set, "description", description) &&
                lj_hdf5_put_text(f->file.id, "creator", "lejepa_mpi");
    return lj_result_pause(&f->file, good);
}

int lj_array_put_rows(struct lj_array_file *f, int64_t first, int64_t count, const float *values)
{
    const struct lj_rows rows = {first, count, f->views, f->width, true};
    float *taken = (float *)values; /* which is only read */
    lj_result_resume(&f->file);
    return lj_result_pause(&f->file, lj_rows_move(f->set, H5T_NATIVE_FLOAT, &rows, true, taken));
}

int lj_array_finish(struct lj_array_file *f, bool whole)
{
    char text[4096]; /* of what failed before, which stays */
    if (!f)
        return LJ_OK;
    snprintf(text, sizeof text, "%s", lj_error_text());
    lj_result_resume(&f->file);
    if (f->set >= 0)
        H5Dclose(f->set);
    int status = lj_result_finish(&f->file, whole);
    lj_free(f);
    if (whole)
        return status;
    lj_error_set(text);
    return LJ_OK;
}
