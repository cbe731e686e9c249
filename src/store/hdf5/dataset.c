/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets of any integer or float type, converted by HDF5. */
#include "store/hdf5/dataset.h"

int lj_dataset_file_open(const char *path, hid_t *file)
{
    *file = lj_hdf5_open(path);
    if (*file >= 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "%s: cannot be opened as an HDF5 file; check the path", path);
}

static int check_type(hid_t set, const char *path, const char *name, bool integers)
{
    hid_t type = H5Dget_type(set);
    H5T_class_t class = H5Tget_class(type);
    H5Tclose(type);
    if (class == H5T_INTEGER || (class == H5T_FLOAT && !integers))
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "%s: dataset %s is not of %s type; convert it", path, name,
                   integers ? "an integer" : "an integer or float");
}

static int read_shape(struct lj_dataset *dataset, hid_t set, const char *path, const char *name)
{
    hsize_t dim[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(set);
    dataset->dims = H5Sget_simple_extent_dims(space, dim, NULL);
    dataset->count = (int64_t)H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    if (dataset->dims < 0 || dataset->dims > LJ_DATASET_DIMS || dataset->count < 0)
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %d dimensions, expected at most %d", path,
                       name, dataset->dims, (int)LJ_DATASET_DIMS);
    for (int i = 0; i < dataset->dims; i++)
        dataset->dim[i] = (int64_t)dim[i];
    return LJ_OK;
}

static int read_open(struct lj_dataset *dataset, hid_t set, const char *path, const char *name,
                     bool integers, hid_t memory, size_t size)
{
    LJ_TRY(check_type(set, path, name, integers));
    LJ_TRY(read_shape(dataset, set, path, name));
    void *values = lj_alloc_array(dataset->count, size, "arrays of HDF5 files");
    if (!values)
        return LJ_ERR_RESOURCE;
    if (H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        lj_free(values);
        return lj_fail(LJ_ERR_DATA,
                       "%s: dataset %s cannot be read (damaged, or its filter is not "
                       "installed)",
                       path, name);
    }
    dataset->values = values;
    return LJ_OK;
}

int lj_dataset_read(struct lj_dataset *dataset, hid_t file, const char *path, const char *name,
                    bool integers, bool optional, hid_t memory, size_t size)
{
    *dataset = (struct lj_dataset){0};
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    if (set < 0 && optional && H5Lexists(file, name, H5P_DEFAULT) <= 0)
        return LJ_OK;
    if (set < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: there is no dataset %s; `h5ls -r` lists what the "
                       "file has",
                       path, name);
    int status = read_open(dataset, set, path, name, integers, memory, size);
    H5Dclose(set);
    return status;
}
