/* SPDX-License-Identifier: Apache-2.0 */
/* Columns that belong to the images, one number for each row: the labels, and the column that
 * data.where compares. A column lies in the group of its images, or at the root of the same file;
 * labels may also lie in one file for all parts. Without data.labels, a column with a usual name is
 * taken for labels only if every part has one and all values are integers. */
#include "data/archive/archive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const automatic_names[] = {"labels", "label", "ans", "y", "target", "targets"};
enum { AUTOMATIC_NAMES = sizeof automatic_names / sizeof *automatic_names };

/* Finds the column called name for the dataset `images`: beside it, else at the root. False:
 * neither place has one. */
static bool locate(hid_t file, const char *images, const char *name, char *path, size_t capacity)
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

/* Rows of a column, or -1 when the dataset is no column of numbers. */
static int64_t column_rows(hid_t dataset, char *shape, size_t capacity)
{
    hsize_t dim[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    H5T_class_t class = H5Tget_class(type);
    int dims = H5Sget_simple_extent_dims(space, dim, NULL);
    bool good = class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_ENUM;
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

/* The same of a name. */
static int64_t rows_of_column(hid_t file, const char *dataset)
{
    char shape[256];
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    int64_t rows = object < 0 ? -1 : column_rows(object, shape, sizeof shape);
    if (object >= 0)
        H5Dclose(object);
    return rows;
}

static int read_open_column(hid_t dataset, const char *path, const char *name, int64_t rows,
                            const char *key, double *values)
{
    char shape[256];
    int64_t found = column_rows(dataset, shape, sizeof shape);
    if (found < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: expected one number per row, found shape %s or no numbers", path,
                       name, shape);
    if (found != rows)
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: expected one value for each of %lld images, found %lld; choose "
                       "another by %s",
                       path, name, (long long)rows, (long long)found, key);
    char where[2 * LJ_NAME_BYTES];
    snprintf(where, sizeof where, "%s:%s", path, name);
    LJ_TRY(lj_storage_check(dataset, where));
    if (H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        return lj_fail(LJ_ERR_DATA, "%s:%s: cannot be read; the file is damaged, copy it again",
                       path, name);
    return LJ_OK;
}

/* Reads a column into values (rows); key: the setting to change if its length is another one. */
static int read_column(hid_t file, const char *path, const char *dataset, int64_t rows,
                       const char *key, double *values)
{
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    if (object < 0)
        return lj_fail(LJ_ERR_DATA, "%s: there is no dataset %s", path, dataset);
    int status = read_open_column(object, path, dataset, rows, key, values);
    H5Dclose(object);
    return status;
}

/* Reads the column called name of every part into values, one after the other.
 *   missing  out  a part has no such column
 *   first    out  (capacity) the column of the first part; the file without one if missing */
static int column_of_parts(const struct lj_archive *archive, const char *name, const char *key,
                           double *values, bool *missing, char *first, size_t capacity)
{
    int status = LJ_OK;
    *missing = false;
    for (int p = 0; p < archive->header.info.parts && status == LJ_OK && !*missing; p++) {
        const struct lj_part *part = &archive->part[p];
        const char *path = lj_part_file(archive, part);
        char column[2 * LJ_NAME_BYTES];
        hid_t file = -1;
        lj_progress();
        status = lj_hdf5_open_file(path, &file);
        if (status == LJ_OK) {
            *missing = !locate(file, lj_part_dataset(archive, part), name, column, sizeof column);
            if (*missing)
                snprintf(first, capacity, "%.*s", (int)capacity - 1, path);
            else if (p == 0)
                snprintf(first, capacity, "%.*s", (int)capacity - 1, column);
            if (!*missing)
                status = read_column(file, path, column, part->rows, key, values + part->first_row);
            H5Fclose(file);
        }
    }
    return status;
}

/* Index of the first value that is neither a 32-bit integer nor NaN, which stands for "no label";
 * rows if there is none. */
static int64_t first_non_integer(const double *values, int64_t rows)
{
    int64_t i = 0;
    while (i < rows &&
           (isnan(values[i]) || (values[i] == nearbyint(values[i]) && fabs(values[i]) < INT32_MAX)))
        i++;
    return i;
}

/* Reads the labels of data.labels=NAME or FILE:NAME. */
static int named_labels(struct lj_archive *archive, const char *name, double *values)
{
    struct lj_archive_header *header = &archive->header;
    const char *colon = strrchr(name, ':');
    bool missing = false;
    if (colon) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s", (int)(colon - name), name);
        hid_t file = -1;
        LJ_TRY(lj_hdf5_open_file(path, &file));
        snprintf(header->labels_text, sizeof header->labels_text, "%.1000s", name);
        int status =
            read_column(file, path, colon + 1, header->info.rows, "data.labels=FILE:NAME", values);
        H5Fclose(file);
        LJ_TRY(status);
    } else {
        LJ_TRY(column_of_parts(archive, name, "data.labels", values, &missing, header->labels_text,
                               sizeof header->labels_text));
    }
    if (missing)
        return lj_fail(LJ_ERR_DATA,
                       "%s: there is no dataset %s (data.labels); `h5ls -r` lists what there is",
                       header->labels_text, name);
    int64_t wrong = first_non_integer(values, header->info.rows);
    if (wrong < header->info.rows)
        return lj_fail(
            LJ_ERR_DATA,
            "%s: data.labels=%s: expected integers, found %g at row %lld; choose another "
            "dataset, or data.labels=none",
            lj_part_file(archive, &archive->part[0]), name, values[wrong], (long long)wrong);
    header->info.has_labels = true;
    return LJ_OK;
}

/* Does the first part have a column of integers of this name? Masks, strings or one-hot rows that
 * happen to be named like labels are not labels. A column of another length is one, which is an
 * error when it is read. values: scratch for the first part's rows. */
static int is_column(const struct lj_archive *archive, const char *name, double *values, bool *good)
{
    const char *path = lj_part_file(archive, archive->part);
    int64_t rows = archive->part[0].rows;
    char column[2 * LJ_NAME_BYTES];
    hid_t file = -1;
    LJ_TRY(lj_hdf5_open_file(path, &file));
    *good = locate(file, lj_part_dataset(archive, archive->part), name, column, sizeof column);
    int64_t found = *good ? rows_of_column(file, column) : -1;
    *good = found >= 0;
    int status =
        found == rows ? read_column(file, path, column, rows, "data.labels", values) : LJ_OK;
    if (found == rows && status == LJ_OK)
        *good = first_non_integer(values, rows) == rows;
    H5Fclose(file);
    return status;
}

static int automatic_labels(struct lj_archive *archive, double *values)
{
    struct lj_archive_header *header = &archive->header;
    for (int i = 0; i < AUTOMATIC_NAMES && !header->info.has_labels; i++) {
        bool good = false, missing = false;
        LJ_TRY(is_column(archive, automatic_names[i], values, &good));
        if (!good)
            continue;
        LJ_TRY(column_of_parts(archive, automatic_names[i], "data.labels (none: ignore)", values,
                               &missing, header->labels_text, sizeof header->labels_text));
        header->info.has_labels =
            !missing && first_non_integer(values, header->info.rows) == header->info.rows;
    }
    if (!header->info.has_labels)
        header->labels_text[0] = 0;
    return LJ_OK;
}

static int64_t count_equal(const double *values, int64_t rows, double wanted)
{
    int64_t count = 0;
    for (int64_t i = 0; i < rows; i++)
        count += values[i] == wanted;
    return count;
}

/* Makes the table of rows that data.where=DATASET=VALUE selects. values: scratch (rows). */
static int select_rows(struct lj_archive *archive, const char *where, double *values)
{
    char name[LJ_NAME_BYTES], first[LJ_NAME_BYTES], *end = NULL;
    const char *equals = strrchr(where, '=');
    int64_t rows = archive->header.info.rows;
    double wanted = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || equals == where || end == equals + 1 || *end)
        return lj_fail(LJ_ERR_CONFIG, "data.where=%s: expected DATASET=NUMBER, for example split=0",
                       where);
    snprintf(name, sizeof name, "%.*s", (int)(equals - where), where);
    bool missing = false;
    LJ_TRY(column_of_parts(archive, name, "data.where", values, &missing, first, sizeof first));
    if (missing)
        return lj_fail(LJ_ERR_DATA,
                       "%s: there is no dataset %s (data.where); `h5ls -r` lists what there is",
                       first, name);
    int64_t selected = count_equal(values, rows, wanted), listed = 0;
    if (selected == 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: data.where=%s selects none of %lld rows; choose a value that %s holds",
                       lj_part_file(archive, &archive->part[0]), where, (long long)rows, name);
    archive->row = lj_alloc_array(selected, sizeof *archive->row, "archive");
    if (!archive->row)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < rows; i++)
        if (values[i] == wanted)
            archive->row[listed++] = i;
    archive->header.info.selected = selected;
    archive->header.filtered = 1;
    return LJ_OK;
}

/* Makes the table of the selected rows' labels from values (rows), the labels of all rows. */
static int select_labels(struct lj_archive *archive, const double *values)
{
    struct lj_archive_info *info = &archive->header.info;
    archive->label = lj_alloc_array(info->selected, sizeof *archive->label, "archive");
    if (!archive->label)
        return LJ_ERR_RESOURCE;
    int64_t largest = -1;
    for (int64_t i = 0; i < info->selected; i++) {
        double value = values[lj_archive_row(archive, i)];
        archive->label[i] = isnan(value) ? -1 : (int32_t)value;
        largest = lj_max_i64(largest, archive->label[i]);
    }
    info->classes = largest + 1;
    return LJ_OK;
}

static int read_labels(struct lj_archive *archive, const char *labels, double *values)
{
    if (strcmp(labels, "none") == 0)
        return LJ_OK;
    lj_hdf5_lock();
    int status =
        labels[0] ? named_labels(archive, labels, values) : automatic_labels(archive, values);
    lj_hdf5_unlock();
    return status;
}

static int read_where(struct lj_archive *archive, const char *where, double *values)
{
    archive->header.info.selected = archive->header.info.rows;
    if (!where[0])
        return LJ_OK;
    lj_hdf5_lock();
    int status = select_rows(archive, where, values);
    lj_hdf5_unlock();
    return status;
}

int lj_archive_columns(struct lj_archive *archive, const struct lj_archive_options *options)
{
    double *values = lj_alloc_array(archive->header.info.rows, sizeof *values, "archive");
    if (!values)
        return LJ_ERR_RESOURCE;
    int status = read_where(archive, options->where, values);
    if (status == LJ_OK)
        status = read_labels(archive, options->labels, values);
    if (status == LJ_OK && archive->header.info.has_labels)
        status = select_labels(archive, values);
    lj_free(values);
    return status;
}
