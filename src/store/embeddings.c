/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding files: embeddings (N, C) float32, labels (N) int32 and row (N) int64 when known. */
#include "store/embeddings.h"

#include "store/hdf5/dataset.h"

#include <float.h>
#include <math.h>

/* Reads a dataset of `rows` numbers; values NULL when absent.
 *   memory  in  HDF5's type of 64 bits for them: of floats, or else only integers will do */
static int read_column(struct lj_dataset *column, hid_t file, const char *path, const char *name,
                       int64_t rows, hid_t memory)
{
    struct lj_dataset_request request = {.name = name,
                                         .integers = H5Tget_class(memory) == H5T_INTEGER,
                                         .optional = true,
                                         .rows = rows,
                                         .memory = memory,
                                         .size = H5Tget_size(memory)};
    return lj_dataset_read(column, file, path, &request);
}

static bool is_class(double value)
{
    return value == nearbyint(value) && fabs(value) < INT32_MAX;
}

/* Does it stand for "no label"? A column of float32 has rounded what can be no class. */
static bool means_none(double value, const double *unlabelled)
{
    if (!unlabelled || isnan(value))
        return isnan(value);
    bool rounded = !is_class(*unlabelled) && fabs(*unlabelled) <= (double)FLT_MAX;
    return value == *unlabelled || (rounded && value == (double)(float)*unlabelled);
}

/* -1 for what means "no label", as in an archive. */
static int take_label(int32_t *label, double value, const double *unlabelled, const char *path,
                      int64_t row)
{
    *label = -1;
    if (means_none(value, unlabelled))
        return LJ_OK;
    if (!is_class(value))
        return lj_fail(LJ_ERR_DATA,
                       "%s: label of row %lld is %g, expected a whole number of 32 bits, or NaN "
                       "for none; number the classes from 0, or name what means none by "
                       "data.unlabelled",
                       path, (long long)row, value);
    *label = (int32_t)value;
    return LJ_OK;
}

static int read_labels(struct lj_embeddings *embeddings, hid_t file, const char *path,
                       const double *unlabelled)
{
    struct lj_dataset column;
    LJ_TRY(read_column(&column, file, path, "labels", embeddings->rows, H5T_NATIVE_DOUBLE));
    if (!column.values)
        return LJ_OK;
    const double *wide = column.values;
    int status = LJ_OK;
    embeddings->labels = lj_alloc_array(embeddings->rows, sizeof(int32_t), "labels");
    if (!embeddings->labels)
        status = LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < embeddings->rows && status == LJ_OK; i++)
        status = take_label(&embeddings->labels[i], wide[i], unlabelled, path, i);
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

static int read_index(struct lj_embeddings *embeddings, hid_t file, const char *path,
                      const double *unlabelled)
{
    struct lj_dataset values, rows;
    LJ_TRY(read_values(&values, file, path, 0, 0));
    lj_free(values.values);
    embeddings->rows = values.dim[0];
    embeddings->width = values.dim[1];
    LJ_TRY(read_labels(embeddings, file, path, unlabelled));
    LJ_TRY(read_column(&rows, file, path, "row", embeddings->rows, H5T_NATIVE_INT64));
    embeddings->row = rows.values;
    return lj_embeddings_get_source(file, path, &embeddings->source);
}

int lj_embeddings_read_index(const char *path, const double *unlabelled,
                             struct lj_embeddings *embeddings)
{
    hid_t file;
    *embeddings = (struct lj_embeddings){0};
    LJ_TRY(lj_dataset_file_open(path, &file));
    int status = read_index(embeddings, file, path, unlabelled);
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
    lj_free(embeddings->source.weights);
    lj_free(embeddings->source.weights_hash);
    lj_free(embeddings->source.first_row);
    lj_free(embeddings->source.rows);
    lj_free(embeddings->source.fingerprints);
    *embeddings = (struct lj_embeddings){0};
}
