/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets of any integer or float type, converted by HDF5. */
#include "store/hdf5/dataset.h"

#include <sys/stat.h>

int lj_dataset_file_open(const char *path, hid_t *file)
{
    struct stat about;
    bool regular = stat(path, &about) == 0 && S_ISREG(about.st_mode); /* no pipe, to wait for */
    *file = regular ? lj_hdf5_open(path) : -1;
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

/* The most that a byte of a file can stand for: deflate's largest ratio. Other filters of ours do
 * not compress, and those of others are not worth more here. */
enum { INFLATE_MAX = 1032 };

/* Can the file hold the values at all? */
static bool fits_file(hid_t file, int64_t count)
{
    hsize_t bytes = 0;
    return H5Fget_filesize(file, &bytes) >= 0 && (hsize_t)count / INFLATE_MAX <= bytes;
}

static int read_shape(struct lj_dataset *dataset, hid_t file, hid_t set, const char *path,
                      const struct lj_dataset_request *request)
{
    hsize_t dim[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(set);
    dataset->dims = H5Sget_simple_extent_dims(space, dim, NULL);
    H5Sclose(space);
    if (dataset->dims < 0 || dataset->dims > LJ_DATASET_DIMS)
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %d dimensions, expected at most %d", path,
                       request->name, dataset->dims, (int)LJ_DATASET_DIMS);
    bool fits = true;
    dataset->count = 1;
    for (int i = 0; i < dataset->dims; i++) {
        dataset->dim[i] = (int64_t)dim[i];
        fits = fits && dim[i] <= INT64_MAX &&
               lj_multiply_sizes(dataset->count, dataset->dim[i], &dataset->count);
    }
    if (!fits || !fits_file(file, dataset->count))
        return lj_fail(LJ_ERR_DATA,
                       "%s: dataset %s: the file is too small for its shape (%llu, %llu, %llu); it "
                       "is damaged, make it again",
                       path, request->name, (unsigned long long)dim[0], (unsigned long long)dim[1],
                       (unsigned long long)dim[2]);
    if (request->rows >= 0 && (dataset->dims != 1 || dataset->dim[0] != request->rows))
        return lj_fail(LJ_ERR_DATA,
                       "%s: dataset %s has %lld values in %d dimensions, expected (%lld) as "
                       "embeddings has rows",
                       path, request->name, (long long)dataset->count, dataset->dims,
                       (long long)request->rows);
    return LJ_OK;
}

/* Refuses what HDF5 would read as zeros: values that were never written, and those in other files,
 * which may be missing. */
static int check_storage(hid_t set, const char *path, const char *name)
{
    hid_t space = H5Dget_space(set);
    bool empty = H5Sget_simple_extent_npoints(space) == 0;
    H5Sclose(space);
    hid_t plan = H5Dget_create_plist(set);
    bool elsewhere = H5Pget_layout(plan) == H5D_VIRTUAL || H5Pget_external_count(plan) != 0;
    H5Pclose(plan);
    if (elsewhere)
        return lj_fail(LJ_ERR_DATA,
                       "%s: dataset %s lies in other files; copy it into one file, for example by "
                       "h5repack",
                       path, name);
    if (!empty && H5Dget_storage_size(set) == 0)
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s was never written; make it again", path, name);
    return LJ_OK;
}

/* The wanted elements: *count of them; inside and outside describe them to HDF5, as they lie in
 * memory and in the file. */
static int select_part(const struct lj_dataset *dataset, const char *path,
                       const struct lj_dataset_request *request, hid_t set, int64_t *count,
                       hid_t *inside, hid_t *outside)
{
    *inside = *outside = H5S_ALL;
    *count = dataset->count;
    if (!request->part)
        return LJ_OK;
    if (dataset->dims != 2)
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %d dimensions, expected (N, C)", path,
                       request->name, dataset->dims);
    if (request->end > dataset->dim[0])
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %lld rows, expected rows %lld .. %lld",
                       path, request->name, (long long)dataset->dim[0], (long long)request->first,
                       (long long)request->end - 1);
    hsize_t start[2] = {(hsize_t)request->first, 0};
    hsize_t dim[2] = {(hsize_t)(request->end - request->first), (hsize_t)dataset->dim[1]};
    *count = (request->end - request->first) * dataset->dim[1];
    *inside = H5Screate_simple(2, dim, NULL);
    *outside = H5Dget_space(set);
    if (*count > 0)
        H5Sselect_hyperslab(*outside, H5S_SELECT_SET, start, NULL, dim, NULL);
    return LJ_OK;
}

static int read_open(struct lj_dataset *dataset, hid_t file, hid_t set, const char *path,
                     const struct lj_dataset_request *request)
{
    int64_t count;
    hid_t inside, outside;
    LJ_TRY(check_type(set, path, request->name, request->integers));
    LJ_TRY(check_storage(set, path, request->name));
    LJ_TRY(read_shape(dataset, file, set, path, request));
    LJ_TRY(select_part(dataset, path, request, set, &count, &inside, &outside));
    void *values = lj_alloc_array(count, request->size, "arrays of HDF5 files");
    int status = values ? LJ_OK : LJ_ERR_RESOURCE;
    if (values && count > 0 &&
        H5Dread(set, request->memory, inside, outside, H5P_DEFAULT, values) < 0)
        status = lj_fail(LJ_ERR_DATA,
                         "%s: dataset %s cannot be read (damaged, or its filter is not "
                         "installed)",
                         path, request->name);
    if (request->part) {
        H5Sclose(inside);
        H5Sclose(outside);
    }
    if (status == LJ_OK)
        dataset->values = values;
    else
        lj_free(values);
    return status;
}

int lj_dataset_read(struct lj_dataset *dataset, hid_t file, const char *path,
                    const struct lj_dataset_request *request)
{
    *dataset = (struct lj_dataset){0};
    hid_t set = H5Dopen2(file, request->name, H5P_DEFAULT);
    if (set < 0 && request->optional && H5Lexists(file, request->name, H5P_DEFAULT) <= 0)
        return LJ_OK;
    if (set < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: there is no dataset %s; `h5ls -r` lists what the "
                       "file has",
                       path, request->name);
    int status = read_open(dataset, file, set, path, request);
    H5Dclose(set);
    return status;
}
