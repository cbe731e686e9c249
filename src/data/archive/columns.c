/* SPDX-License-Identifier: Apache-2.0 */
/* Columns that belong to the images, one value for each row: found, and read piece by piece. A
 * column lies in the group of its images, or at the root of the same file. */
#include "data/archive/columns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values are read so many at a time, of chunks that hold more a chunk at a time. */
enum { BLOCK_ROWS = 1 << 16, BLOCK_MOST = 1 << 22 };

bool lj_column_find(hid_t file, const char *images, const char *name, char *path, size_t capacity)
{
    int group = (int)(strrchr(images, '/') - images);
    if (name[0] != '/') {
        snprintf(path, capacity, "%.*s/%s", group, images, name);
        if (lj_hdf5_has(file, path))
            return true;
    }
    snprintf(path, capacity, "%s%s", name[0] == '/' ? "" : "/", name);
    return lj_hdf5_has(file, path);
}

static bool holds_strings(hid_t dataset)
{
    hid_t type = H5Dget_type(dataset);
    bool strings = H5Tget_class(type) == H5T_STRING;
    H5Tclose(type);
    return strings;
}

/* Rows of a column, or -1 when the dataset is no column of numbers (or, with strings, of those). */
static int64_t column_rows(hid_t dataset, bool strings, char *shape, size_t capacity)
{
    hsize_t dim[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    H5T_class_t class = H5Tget_class(type);
    int dims = H5Sget_simple_extent_dims(space, dim, NULL);
    bool good = class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_ENUM ||
                (strings && class == H5T_STRING);
    if (H5Sget_simple_extent_type(space) == H5S_SCALAR)
        dim[0] = 1; /* the label of the one image of a file */
    else
        good = good && dims >= 1;
    good = good && dim[0] <= INT64_MAX;
    for (int i = 1; i < dims; i++)
        good = good && dim[i] == 1;
    lj_hdf5_shape_text(dim, dims, shape, capacity);
    H5Tclose(type);
    H5Sclose(space);
    return good ? (int64_t)dim[0] : -1;
}

int64_t lj_column_rows(hid_t file, const char *dataset)
{
    char shape[256];
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    int64_t rows = object < 0 ? -1 : column_rows(object, false, shape, sizeof shape);
    if (object >= 0)
        H5Dclose(object);
    return rows;
}

/* A column that is being read. */
struct reading {
    struct lj_column_request *request;
    hid_t dataset;
    const char *where; /* "file:dataset", for messages */
    bool strings;
    int64_t block_rows;
};

static bool read_numbers(const struct reading *r, int64_t first, int64_t count, double *values)
{
    const hsize_t length = (hsize_t)count;
    hsize_t starts[H5S_MAX_RANK] = {(hsize_t)first}, counts[H5S_MAX_RANK];
    for (int i = 0; i < H5S_MAX_RANK; i++)
        counts[i] = 1; /* further axes have one element */
    counts[0] = length;
    hid_t stored = H5Dget_space(r->dataset), memory = H5Screate_simple(1, &length, NULL);
    bool scalar = H5Sget_simple_extent_type(stored) == H5S_SCALAR;
    bool good =
        memory >= 0 && stored >= 0 &&
        (scalar || H5Sselect_hyperslab(stored, H5S_SELECT_SET, starts, NULL, counts, NULL) >= 0) &&
        H5Dread(r->dataset, H5T_NATIVE_DOUBLE, memory, stored, H5P_DEFAULT, values) >= 0;
    H5Sclose(memory);
    H5Sclose(stored);
    return good;
}

/* Makes NaN of the values that mean "no label". A column of floats has the number rounded. */
static void drop_unlabelled(double unlabelled, hid_t dataset, int64_t count, double *values)
{
    hid_t type = H5Dget_type(dataset);
    if (H5Tget_class(type) != H5T_FLOAT || lj_as_stored(type, &unlabelled))
        for (int64_t i = 0; i < count; i++)
            values[i] = values[i] == unlabelled ? NAN : values[i];
    H5Tclose(type);
}

/* Reads values [first, first + count), or for each whether the condition holds. */
static int read_block(const struct reading *r, int64_t first, int64_t count, double *values)
{
    const struct lj_condition *condition = r->request->condition;
    if (r->strings)
        return lj_where_read_texts(condition, r->dataset, r->where, first, count, values);
    if (!read_numbers(r, first, count, values))
        return lj_fail(LJ_ERR_DATA, "%s: cannot be read; the file is damaged, copy it again",
                       r->where);
    for (int64_t i = 0; condition && i < count; i++)
        values[i] = lj_condition_holds(condition, values[i]);
    if (r->request->unlabelled)
        drop_unlabelled(*r->request->unlabelled, r->dataset, count, values);
    return LJ_OK;
}

/* Rows of a block: whole chunks, as HDF5 may decode a chunk anew for every read of it. */
static int64_t rows_of_block(hid_t dataset)
{
    hsize_t chunk[H5S_MAX_RANK] = {0};
    hid_t plan = H5Dget_create_plist(dataset);
    if (H5Pget_layout(plan) == H5D_CHUNKED)
        H5Pget_chunk(plan, H5S_MAX_RANK, chunk);
    H5Pclose(plan);
    if (chunk[0] == 0 || chunk[0] > BLOCK_MOST)
        return chunk[0] ? BLOCK_MOST : BLOCK_ROWS;
    int64_t rows = (int64_t)chunk[0];
    return rows > BLOCK_ROWS ? rows : BLOCK_ROWS / rows * rows;
}

/* Reads rows [first, end), block by block. */
static int read_blocks(struct reading *r, int64_t first, int64_t end, int64_t row)
{
    int64_t block = rows_of_block(r->dataset), begun = first;
    double *values =
        lj_alloc_array(lj_min_i64(block, end - first), sizeof *values, "columns of an archive");
    int status = values ? LJ_OK : LJ_ERR_RESOURCE;
    while (first < end && status == LJ_OK && !r->request->stopped) {
        int64_t next = lj_min_i64(end, (first / block + 1) * block);
        lj_progress();
        status = read_block(r, first, next - first, values);
        if (status == LJ_OK)
            r->request->stopped =
                !r->request->take(r->request->data, row + first - begun, values, next - first);
        first = next;
    }
    lj_free(values);
    return status;
}

/* Rows [first, end) of a column that has `rows`; row: the number of the first in the archive. */
static int read_open(struct lj_column_request *request, hid_t dataset, const char *where,
                     int64_t rows, int64_t first, int64_t end, int64_t row)
{
    char shape[256];
    struct reading r = {.request = request, .dataset = dataset, .where = where};
    int64_t found = column_rows(dataset, request->condition != NULL, shape, sizeof shape);
    if (found < 0)
        return lj_fail(LJ_ERR_DATA, "%s: expected one %s per row, found shape %s or no such values",
                       where, request->condition ? "number or string" : "number", shape);
    if (found != rows)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected one value for each of %lld images, found %lld; choose "
                       "another by %s",
                       where, (long long)rows, (long long)found, request->key);
    LJ_TRY(lj_storage_check(dataset, where));
    r.strings = holds_strings(dataset);
    if (request->condition)
        LJ_TRY(lj_condition_check(request->condition, r.strings));
    return read_blocks(&r, first, end, row);
}

int lj_column_read(struct lj_column_request *request, hid_t file, const char *path,
                   const char *dataset, int64_t rows, int64_t first, int64_t end, int64_t row)
{
    char where[4 * LJ_NAME_BYTES];
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    if (object < 0)
        return lj_fail(LJ_ERR_DATA, "%s: there is no dataset %s", path, dataset);
    snprintf(where, sizeof where, "%s:%s", path, dataset);
    int status = read_open(request, object, where, rows, first, end, row);
    H5Dclose(object);
    return status;
}

/* Of a part, the rows [first, end) of the archive. */
static int read_part(const struct lj_archive *archive, const struct lj_part *part,
                     struct lj_column_request *request, int64_t first, int64_t end,
                     const char **missing)
{
    const char *path = lj_part_file(archive, part);
    char column[2 * LJ_NAME_BYTES];
    hid_t file = -1;
    LJ_TRY(lj_hdf5_open_file(path, &file));
    int status = LJ_OK;
    if (!lj_column_find(file, lj_part_dataset(archive, part), request->name, column, sizeof column))
        *missing = path;
    else
        status = lj_column_read(request, file, path, column, part->rows, first - part->first_row,
                                end - part->first_row, first);
    H5Fclose(file);
    return status;
}

int lj_column_of_parts(const struct lj_archive *archive, struct lj_column_request *request,
                       int64_t first, int64_t end, const char **missing)
{
    int status = LJ_OK;
    *missing = NULL;
    while (first < end && status == LJ_OK && !*missing && !request->stopped) {
        const struct lj_part *part = &archive->part[lj_archive_part_of(archive, first)];
        int64_t next = lj_min_i64(end, part->first_row + part->rows);
        status = read_part(archive, part, request, first, next, missing);
        first = next;
    }
    return status;
}
