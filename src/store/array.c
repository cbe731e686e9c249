/* SPDX-License-Identifier: Apache-2.0 */
/* A single array in an HDF5 file. */
#include "store/hdf5/dataset.h"

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

int lj_array_write(const char *path, const char *dataset, int dims, const int64_t *dim,
                   const float *values, const char *description)
{
    struct lj_result file;
    hsize_t extent[H5S_MAX_RANK];
    for (int i = 0; i < dims; i++)
        extent[i] = (hsize_t)dim[i];
    LJ_TRY(lj_result_create(&file, path));
    hid_t space = dims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(dims, extent, NULL);
    hid_t set =
        H5Dcreate2(file.id, dataset, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool good = set >= 0 &&
                H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
                lj_hdf5_put_text(set, "description", description) &&
                lj_hdf5_put_text(file.id, "creator", "lejepa_mpi");
    H5Dclose(set);
    H5Sclose(space);
    return lj_result_finish(&file, good);
}
