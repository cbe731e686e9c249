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

/* ---- rows -------------------------------------------------------------------------------- */

/* Selects the rows of one view in both places. */
static bool select_view(const struct lj_rows *rows, int64_t view, hid_t inside, hid_t outside)
{
    int dims = rows->has_views ? 3 : 2, skipped = 3 - dims;
    const hsize_t at[3] = {(hsize_t)view, (hsize_t)rows->first, 0};
    const hsize_t some[3] = {1, (hsize_t)rows->count, (hsize_t)rows->width};
    const hsize_t mine[3] = {0, (hsize_t)view, 0};
    const hsize_t each[3] = {(hsize_t)rows->count, 1, (hsize_t)rows->width};
    return H5Sselect_hyperslab(outside, H5S_SELECT_SET, at + skipped, NULL, some + skipped, NULL) >=
               0 &&
           H5Sselect_hyperslab(inside, H5S_SELECT_SET, mine, NULL, each, NULL) >= 0;
}

bool lj_rows_move(hid_t set, hid_t memory, const struct lj_rows *rows, bool write, void *values)
{
    const hsize_t dim[3] = {(hsize_t)rows->count, (hsize_t)rows->views, (hsize_t)rows->width};
    if (rows->count == 0 || rows->views == 0 || rows->width == 0)
        return true;
    hid_t inside = H5Screate_simple(3, dim, NULL), outside = H5Dget_space(set);
    bool good = true;
    for (int64_t v = 0; v < rows->views && good; v++)
        good = select_view(rows, v, inside, outside) &&
               (write ? H5Dwrite(set, memory, inside, outside, H5P_DEFAULT, values)
                      : H5Dread(set, memory, inside, outside, H5P_DEFAULT, values)) >= 0;
    H5Sclose(outside);
    H5Sclose(inside);
    return good;
}

/* The wanted rows of an array of such dimensions. */
static int find_rows(const struct lj_dataset *dataset, const char *path,
                     const struct lj_dataset_request *request, struct lj_rows *rows)
{
    int most = request->views ? 3 : 2, dims = dataset->dims;
    if (dims < 2 || dims > most)
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %d dimensions, expected (N, C)%s", path,
                       request->name, dims, request->views ? " or (V, N, D)" : "");
    *rows = (struct lj_rows){.first = request->first,
                             .count = request->end - request->first,
                             .views = dims == 3 ? dataset->dim[0] : 1,
                             .width = dataset->dim[dims - 1],
                             .has_views = dims == 3};
    if (request->end > dataset->dim[dims - 2])
        return lj_fail(LJ_ERR_DATA, "%s: dataset %s has %lld rows, expected rows %lld .. %lld",
                       path, request->name, (long long)dataset->dim[dims - 2],
                       (long long)request->first, (long long)request->end - 1);
    return LJ_OK;
}

/* ---- a dataset --------------------------------------------------------------------------- */

static int read_open(struct lj_dataset *dataset, hid_t file, hid_t set, const char *path,
                     const struct lj_dataset_request *request)
{
    struct lj_rows rows = {0};
    LJ_TRY(check_type(set, path, request->name, request->integers));
    LJ_TRY(check_storage(set, path, request->name));
    LJ_TRY(read_shape(dataset, file, set, path, request));
    if (request->part)
        LJ_TRY(find_rows(dataset, path, request, &rows));
    int64_t count = request->part ? rows.count * rows.views * rows.width : dataset->count;
    void *values = lj_alloc_array(count, request->size, "arrays of HDF5 files");
    int status = values ? LJ_OK : LJ_ERR_RESOURCE;
    bool good = true;
    if (values && request->part)
        good = lj_rows_move(set, request->memory, &rows, false, values);
    else if (values && count > 0)
        good = H5Dread(set, request->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (!good)
        status = lj_fail(LJ_ERR_DATA,
                         "%s: dataset %s cannot be read (damaged, or its filter is not "
                         "installed)",
                         path, request->name);
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
