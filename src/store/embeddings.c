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
