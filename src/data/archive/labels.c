/* SPDX-License-Identifier: Apache-2.0 */
/* Columns that belong to the images, one value for each row: the labels, and the columns that
 * data.where compares. A column lies in the group of its images, or at the root of the same file;
 * labels may also lie in one file for all parts. Without data.labels, a column with a usual name is
 * taken for labels only if every part has one and all values are integers. */
#include "data/archive/archive.h"
#include "data/archive/where.h"

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

/* The same of a name. */
static int64_t rows_of_column(hid_t file, const char *dataset)
{
    char shape[256];
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    int64_t rows = object < 0 ? -1 : column_rows(object, false, shape, sizeof shape);
    if (object >= 0)
        H5Dclose(object);
    return rows;
}

/* What is read of a column. */
struct request {
    const char *name;                     /* as the user gave it, or one of automatic_names */
    const char *key;                      /* the setting to change if it does not fit */
    const struct lj_condition *condition; /* NULL: its numbers; else 1 where it holds, else 0 */
    const double *unlabelled;             /* the number that is read as NaN; NULL: none */
};

/* Makes NaN of the values that mean "no label". A column of floats has the number rounded. */
static void drop_unlabelled(double unlabelled, hid_t dataset, int64_t rows, double *values)
{
    hid_t type = H5Dget_type(dataset);
    if (H5Tget_class(type) != H5T_FLOAT || lj_as_stored(type, &unlabelled))
        for (int64_t i = 0; i < rows; i++)
            values[i] = values[i] == unlabelled ? NAN : values[i];
    H5Tclose(type);
}

static int read_values(const struct request *request, hid_t dataset, const char *where,
                       int64_t rows, double *values)
{
    const struct lj_condition *condition = request->condition;
    LJ_TRY(lj_storage_check(dataset, where));
    bool strings = holds_strings(dataset);
    if (condition)
        LJ_TRY(lj_condition_check(condition, strings));
    if (strings)
        return lj_where_read_texts(condition, dataset, where, rows, values);
    if (H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        return lj_fail(LJ_ERR_DATA, "%s: cannot be read; the file is damaged, copy it again",
                       where);
    for (int64_t i = 0; condition && i < rows; i++)
        values[i] = lj_condition_holds(condition, values[i]);
    if (request->unlabelled)
        drop_unlabelled(*request->unlabelled, dataset, rows, values);
    return LJ_OK;
}

static int read_open_column(const struct request *request, hid_t dataset, const char *where,
                            int64_t rows, double *values)
{
    char shape[256];
    int64_t found = column_rows(dataset, request->condition != NULL, shape, sizeof shape);
    if (found < 0)
        return lj_fail(LJ_ERR_DATA, "%s: expected one %s per row, found shape %s or no such values",
                       where, request->condition ? "number or string" : "number", shape);
    if (found != rows)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected one value for each of %lld images, found %lld; choose "
                       "another by %s",
                       where, (long long)rows, (long long)found, request->key);
    return read_values(request, dataset, where, rows, values);
}

/* Reads a column into values (rows). */
static int read_column(const struct request *request, hid_t file, const char *path,
                       const char *dataset, int64_t rows, double *values)
{
    char where[4 * LJ_NAME_BYTES];
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    if (object < 0)
        return lj_fail(LJ_ERR_DATA, "%s: there is no dataset %s", path, dataset);
    snprintf(where, sizeof where, "%s:%s", path, dataset);
    int status = read_open_column(request, object, where, rows, values);
    H5Dclose(object);
    return status;
}

/* Reads a column of every part into values, one after the other.
 *   missing  out  a part has no such column
 *   first    out  (capacity) the column of the first part; the file without one if missing */
static int column_of_parts(const struct lj_archive *archive, const struct request *request,
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
            *missing =
                !locate(file, lj_part_dataset(archive, part), request->name, column, sizeof column);
            if (*missing)
                snprintf(first, capacity, "%.*s", (int)capacity - 1, path);
            else if (p == 0)
                snprintf(first, capacity, "%.*s", (int)capacity - 1, column);
            if (!*missing)
                status =
                    read_column(request, file, path, column, part->rows, values + part->first_row);
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
static int named_labels(struct lj_archive *archive, const struct lj_archive_options *options,
                        double *values)
{
    struct lj_archive_header *header = &archive->header;
    const char *name = options->labels, *colon = strrchr(name, ':');
    struct request request = {
        .name = name, .key = "data.labels", .unlabelled = options->unlabelled};
    bool missing = false;
    if (colon) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s", (int)(colon - name), name);
        hid_t file = -1;
        LJ_TRY(lj_hdf5_open_file(path, &file));
        snprintf(header->labels_text, sizeof header->labels_text, "%.1000s", name);
        request.key = "data.labels=FILE:NAME";
        int status = read_column(&request, file, path, colon + 1, header->info.rows, values);
        H5Fclose(file);
        LJ_TRY(status);
    } else {
        LJ_TRY(column_of_parts(archive, &request, values, &missing, header->labels_text,
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
            "dataset, or data.labels=none; if it means that there is no label, name it by "
            "data.unlabelled",
            lj_part_file(archive, &archive->part[0]), name, values[wrong], (long long)wrong);
    header->info.has_labels = true;
    return LJ_OK;
}

/* Does the first part have a column of integers of this name? Masks, strings or one-hot rows that
 * happen to be named like labels are not labels. A column of another length is one, which is an
 * error when it is read. values: scratch for the first part's rows. */
static int is_column(const struct lj_archive *archive, const struct request *request,
                     double *values, bool *good)
{
    const char *path = lj_part_file(archive, archive->part);
    int64_t rows = archive->part[0].rows;
    char column[2 * LJ_NAME_BYTES];
    hid_t file = -1;
    LJ_TRY(lj_hdf5_open_file(path, &file));
    *good =
        locate(file, lj_part_dataset(archive, archive->part), request->name, column, sizeof column);
    int64_t found = *good ? rows_of_column(file, column) : -1;
    *good = found >= 0;
    int status = found == rows ? read_column(request, file, path, column, rows, values) : LJ_OK;
    if (found == rows && status == LJ_OK)
        *good = first_non_integer(values, rows) == rows;
    H5Fclose(file);
    return status;
}

static int automatic_labels(struct lj_archive *archive, const struct lj_archive_options *options,
                            double *values)
{
    struct lj_archive_header *header = &archive->header;
    for (int i = 0; i < AUTOMATIC_NAMES && !header->info.has_labels; i++) {
        const struct request request = {.name = automatic_names[i],
                                        .key = "data.labels (none: ignore)",
                                        .unlabelled = options->unlabelled};
        bool good = false, missing = false;
        LJ_TRY(is_column(archive, &request, values, &good));
        if (!good)
            continue;
        LJ_TRY(column_of_parts(archive, &request, values, &missing, header->labels_text,
                               sizeof header->labels_text));
        header->info.has_labels =
            !missing && first_non_integer(values, header->info.rows) == header->info.rows;
    }
    if (!header->info.has_labels)
        header->labels_text[0] = 0;
    return LJ_OK;
}

/* Clears keep (rows) where a condition does not hold. values: scratch (rows). */
static int apply_condition(const struct lj_archive *archive, const struct lj_condition *condition,
                           double *values, bool *keep)
{
    const struct request request = {
        .name = condition->name, .key = "data.where", .condition = condition};
    char first[LJ_NAME_BYTES];
    bool missing = false;
    LJ_TRY(column_of_parts(archive, &request, values, &missing, first, sizeof first));
    if (missing)
        return lj_fail(LJ_ERR_DATA,
                       "%s: there is no dataset %s (data.where); `h5ls -r` lists what there is",
                       first, condition->name);
    for (int64_t i = 0; i < archive->header.info.rows; i++)
        keep[i] = keep[i] && values[i] != 0;
    return LJ_OK;
}

/* Makes the table of the rows that are kept. */
static int list_rows(struct lj_archive *archive, const char *where, const bool *keep)
{
    int64_t rows = archive->header.info.rows, selected = 0;
    for (int64_t i = 0; i < rows; i++)
        selected += keep[i];
    if (selected == 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: data.where=%s selects none of %lld rows; choose values that are there",
                       lj_part_file(archive, &archive->part[0]), where, (long long)rows);
    uint64_t *bits = lj_bits_alloc(rows);
    if (!bits)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < rows; i++)
        if (keep[i])
            lj_bits_set(bits, i);
    archive->header.info.selected = selected;
    return lj_subset_make(&archive->rows, rows, bits);
}

/* Selects the rows that meet all conditions. values: scratch (rows). */
static int select_rows(struct lj_archive *archive, const char *text, double *values)
{
    int64_t rows = archive->header.info.rows;
    struct lj_where *where = lj_alloc(sizeof *where, "data.where");
    bool *keep = lj_alloc_array(rows, sizeof *keep, "data.where");
    int status = where && keep ? lj_where_parse(where, text) : LJ_ERR_RESOURCE;
    if (keep)
        memset(keep, true, (size_t)rows * sizeof *keep);
    for (int i = 0; status == LJ_OK && i < where->conditions; i++)
        status = apply_condition(archive, &where->condition[i], values, keep);
    if (status == LJ_OK)
        status = list_rows(archive, text, keep);
    lj_free(keep);
    lj_free(where);
    return status;
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

static int read_labels(struct lj_archive *archive, const struct lj_archive_options *options,
                       double *values)
{
    lj_hdf5_lock();
    int status = options->labels[0] ? named_labels(archive, options, values)
                                    : automatic_labels(archive, options, values);
    lj_hdf5_unlock();
    return status;
}

static int read_where(struct lj_archive *archive, const char *where, double *values)
{
    archive->header.info.selected = archive->header.info.rows;
    if (!where[0])
        return lj_subset_whole(&archive->rows, archive->header.info.rows);
    lj_hdf5_lock();
    int status = select_rows(archive, where, values);
    lj_hdf5_unlock();
    return status;
}

int lj_archive_columns(struct lj_archive *archive, const struct lj_archive_options *options)
{
    bool labels = !options->skip_labels && strcmp(options->labels, "none") != 0;
    int64_t needed = labels || options->where[0] ? archive->header.info.rows : 0;
    double *values = lj_alloc_array(needed, sizeof *values, "archive");
    if (!values)
        return LJ_ERR_RESOURCE;
    archive->header.skip_labels = options->skip_labels;
    int status = read_where(archive, options->where, values);
    if (status == LJ_OK && labels)
        status = read_labels(archive, options, values);
    if (status == LJ_OK && archive->header.info.has_labels)
        status = select_labels(archive, values);
    lj_free(values);
    return status;
}
