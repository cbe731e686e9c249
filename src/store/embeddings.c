/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding files: embeddings (N, C) float32, labels (N) int32 and row (N) int64 when known. */
#include "store/embeddings.h"

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

/* Rows [first, end) of the embeddings; the shape is that of all. */
static int read_values(struct lj_dataset *values, hid_t file, const char *path, int64_t first,
                       int64_t end)
{
    struct lj_dataset_request request = {.name = "embeddings",
                                         .rows = -1,
                                         .memory = H5T_NATIVE_FLOAT,
                                         .size = sizeof(float),
                                         .part = true,
                                         .first = first,
                                         .end = end};
    return lj_dataset_read(values, file, path, &request);
}

static int read_index(struct lj_embeddings *embeddings, hid_t file, const char *path)
{
    struct lj_dataset values, rows;
    LJ_TRY(read_values(&values, file, path, 0, 0));
    lj_free(values.values);
    embeddings->rows = values.dim[0];
    embeddings->width = values.dim[1];
    LJ_TRY(read_labels(embeddings, file, path));
    LJ_TRY(read_column(&rows, file, path, "row", embeddings->rows));
    embeddings->row = rows.values;
    return lj_embeddings_get_source(file, path, &embeddings->source);
}

int lj_embeddings_read_index(const char *path, struct lj_embeddings *embeddings)
{
    hid_t file;
    *embeddings = (struct lj_embeddings){0};
    LJ_TRY(lj_dataset_file_open(path, &file));
    int status = read_index(embeddings, file, path);
    lj_hdf5_close(file);
    if (status != LJ_OK)
        lj_embeddings_free(embeddings);
    return status;
}

int lj_embeddings_read_values(const char *path, int64_t width, int64_t first, int64_t end,
                              float **values)
{
    struct lj_dataset part;
    hid_t file;
    *values = NULL;
    LJ_TRY(lj_dataset_file_open(path, &file));
    int status = read_values(&part, file, path, first, end);
    lj_hdf5_close(file);
    if (status == LJ_OK && part.dim[1] != width) {
        status = lj_fail(LJ_ERR_DATA, "%s: embeddings have width %lld, expected %lld", path,
                         (long long)part.dim[1], (long long)width);
        lj_free(part.values);
    }
    if (status == LJ_OK)
        *values = part.values;
    return status;
}

void lj_embeddings_free(struct lj_embeddings *embeddings)
{
    lj_free(embeddings->values);
    lj_free(embeddings->labels);
    lj_free(embeddings->row);
    lj_free(embeddings->source.archive);
    lj_free(embeddings->source.fingerprint);
    lj_free(embeddings->source.first_row);
    lj_free(embeddings->source.rows);
    lj_free(embeddings->source.fingerprints);
    *embeddings = (struct lj_embeddings){0};
}
