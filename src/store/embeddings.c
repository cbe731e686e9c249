/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding files: embeddings (N, C) float32, labels (N) int32 and row (N) int64 when known. */
#include "store/hdf5/dataset.h"

/* Reads a dataset of `rows` integers as int64; values NULL when absent. */
static int read_column(struct lj_dataset *column, hid_t file, const char *path, const char *name,
                       int64_t rows)
{
    struct lj_dataset_request request = {.name = name,
                                         .integers = true,
                                         .optional = true,
                                         .rows = rows,
                                         .memory = H5T_NATIVE_INT64,
                                         .size = sizeof(int64_t)};
    return lj_dataset_read(column, file, path, &request);
}

static int read_labels(struct lj_embeddings *embeddings, hid_t file, const char *path)
{
    struct lj_dataset column;
    LJ_TRY(read_column(&column, file, path, "labels", embeddings->rows));
    if (!column.values)
        return LJ_OK;
    const int64_t *wide = column.values;
    int status = LJ_OK;
    embeddings->labels = lj_alloc_array(embeddings->rows, sizeof(int32_t), "labels");
    if (!embeddings->labels)
        status = LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < embeddings->rows && status == LJ_OK; i++) {
        if (wide[i] < INT32_MIN || wide[i] > INT32_MAX)
            status = lj_fail(LJ_ERR_DATA,
                             "%s: label of row %lld is %lld, expected a number of 32 "
                             "bits; number the classes from 0",
                             path, (long long)i, (long long)wide[i]);
        embeddings->labels[i] = (int32_t)wide[i];
    }
    lj_free(column.values);
    return status;
}

static int read_all(struct lj_embeddings *embeddings, hid_t file, const char *path)
{
    struct lj_dataset values, rows;
    struct lj_dataset_request request = {
        .name = "embeddings", .rows = -1, .memory = H5T_NATIVE_FLOAT, .size = sizeof(float)};
    LJ_TRY(lj_dataset_read(&values, file, path, &request));
    embeddings->values = values.values;
    if (values.dims != 2)
        return lj_fail(LJ_ERR_DATA, "%s: dataset embeddings has %d dimensions, expected (N, C)",
                       path, values.dims);
    embeddings->rows = values.dim[0];
    embeddings->width = values.dim[1];
    LJ_TRY(read_labels(embeddings, file, path));
    LJ_TRY(read_column(&rows, file, path, "row", embeddings->rows));
    embeddings->row = rows.values;
    return LJ_OK;
}

int lj_embeddings_read(const char *path, struct lj_embeddings *embeddings)
{
    hid_t file;
    *embeddings = (struct lj_embeddings){0};
    LJ_TRY(lj_dataset_file_open(path, &file));
    int status = read_all(embeddings, file, path);
    lj_hdf5_close(file);
    if (status != LJ_OK)
        lj_embeddings_free(embeddings);
    return status;
}

void lj_embeddings_free(struct lj_embeddings *embeddings)
{
    lj_free(embeddings->values);
    lj_free(embeddings->labels);
    lj_free(embeddings->row);
    *embeddings = (struct lj_embeddings){0};
}

/* ---- writing ----------------------------------------------------------------------------- */

enum { VALUES, LABELS, ROW, COLUMNS };

struct lj_embeddings_file {
    struct lj_result file;
    int64_t width;
    hid_t set[COLUMNS]; /* -1: absent */
};

/* A dataset of (rows), or (rows, width) when width >= 0, without times: equal results
 * are equal files. */
static hid_t make_column(hid_t file, const char *name, const char *description, hid_t stored,
                         int64_t rows, int64_t width)
{
    const hsize_t dim[2] = {(hsize_t)rows, (hsize_t)width};
    hid_t space = H5Screate_simple(width >= 0 ? 2 : 1, dim, NULL);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = -1;
    if (H5Pset_obj_track_times(plan, false) >= 0)
        set = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    if (set >= 0 && !lj_hdf5_put_text(set, "description", description)) {
        H5Dclose(set);
        set = -1;
    }
    H5Pclose(plan);
    H5Sclose(space);
    return set;
}

static bool make_columns(struct lj_embeddings_file *f, int64_t rows, bool labels, bool row,
                         const char *provenance)
{
    hid_t id = f->file.id;
    f->set[VALUES] = make_column(id, "embeddings", "one embedding a row, dimensionless",
                                 H5T_IEEE_F32LE, rows, f->width);
    if (labels)
        f->set[LABELS] = make_column(id, "labels", "class of each row", H5T_STD_I32LE, rows, -1);
    if (row)
        f->set[ROW] =
            make_column(id, "row", "row of the archive that was embedded", H5T_STD_I64LE, rows, -1);
    return f->set[VALUES] >= 0 && (!labels || f->set[LABELS] >= 0) && (!row || f->set[ROW] >= 0) &&
           lj_hdf5_put_text(id, "creator", "lejepa_mpi") &&
           lj_hdf5_put_text(id, "description", "embeddings of the rows of an archive") &&
           lj_hdf5_put_text(id, "provenance", provenance);
}

int lj_embeddings_create(struct lj_embeddings_file **file, const char *path, int64_t rows,
                         int64_t width, bool labels, bool row, const char *provenance)
{
    *file = NULL;
    struct lj_embeddings_file *f = lj_alloc(sizeof *f, "embeddings");
    if (!f)
        return LJ_ERR_RESOURCE;
    *f = (struct lj_embeddings_file){.width = width, .set = {-1, -1, -1}};
    int status = lj_result_create(&f->file, path);
    if (status != LJ_OK) {
        lj_free(f);
        return status;
    }
    *file = f;
    return lj_result_pause(&f->file, make_columns(f, rows, labels, row, provenance));
}

static bool put_rows(hid_t set, hid_t memory, int64_t first, int64_t count, int64_t width,
                     const void *values)
{
    const hsize_t start[2] = {(hsize_t)first, 0}, dim[2] = {(hsize_t)count, (hsize_t)width};
    hid_t inside = H5Screate_simple(width >= 0 ? 2 : 1, dim, NULL);
    hid_t outside = H5Dget_space(set);
    bool good = H5Sselect_hyperslab(outside, H5S_SELECT_SET, start, NULL, dim, NULL) >= 0 &&
                H5Dwrite(set, memory, inside, outside, H5P_DEFAULT, values) >= 0;
    H5Sclose(outside);
    H5Sclose(inside);
    return good;
}

int lj_embeddings_put(struct lj_embeddings_file *f, int64_t first, int64_t count,
                      const float *values, const int32_t *labels, const int64_t *row)
{
    if (count == 0)
        return LJ_OK;
    lj_result_resume(&f->file);
    bool good = put_rows(f->set[VALUES], H5T_NATIVE_FLOAT, first, count, f->width, values);
    if (f->set[LABELS] >= 0)
        good = good && put_rows(f->set[LABELS], H5T_NATIVE_INT32, first, count, -1, labels);
    if (f->set[ROW] >= 0)
        good = good && put_rows(f->set[ROW], H5T_NATIVE_INT64, first, count, -1, row);
    return lj_result_pause(&f->file, good);
}

int lj_embeddings_close(struct lj_embeddings_file *f, bool good)
{
    if (!f)
        return LJ_OK;
    lj_result_resume(&f->file);
    for (int i = 0; i < COLUMNS; i++)
        if (f->set[i] >= 0)
            H5Dclose(f->set[i]);
    int status = lj_result_finish(&f->file, good);
    lj_free(f);
    return status;
}

int lj_embeddings_write(const char *path, const struct lj_embeddings *embeddings,
                        const char *provenance)
{
    struct lj_embeddings_file *file;
    int status =
        lj_embeddings_create(&file, path, embeddings->rows, embeddings->width,
                             embeddings->labels != NULL, embeddings->row != NULL, provenance);
    if (status == LJ_OK)
        status = lj_embeddings_put(file, 0, embeddings->rows, embeddings->values,
                                   embeddings->labels, embeddings->row);
    int closed = lj_embeddings_close(file, status == LJ_OK);
    return status == LJ_OK ? closed : status;
}
