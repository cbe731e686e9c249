/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding files: embeddings (N, C) float32, labels (N) int32 and row (N) int64 when known. */
#include "dataset.h"

#include "lejepa/store.h"

/* A column of rows integers as int64; values NULL when absent. */
static int read_column(struct lj_dataset *column, hid_t file, const char *path, const char *name,
                       int64_t rows)
{
    LJ_TRY(
        lj_dataset_read(column, file, path, name, true, true, H5T_NATIVE_INT64, sizeof(int64_t)));
    if (!column->values || (column->dims == 1 && column->dim[0] == rows))
        return LJ_OK;
    lj_free(column->values);
    return lj_fail(LJ_ERR_DATA,
                   "%s: dataset %s has %lld values in %d dimensions, expected (%lld) as "
                   "embeddings has rows",
                   path, name, (long long)column->count, column->dims, (long long)rows);
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
    LJ_TRY(lj_dataset_read(&values, file, path, "embeddings", false, false, H5T_NATIVE_FLOAT,
                           sizeof(float)));
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
    lj_dataset_file_close(file);
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

/* One dataset of (rows), or (rows, width) when width >= 0; nothing when values is NULL. */
static bool put(hid_t file, const char *name, const char *description, hid_t stored, hid_t memory,
                int64_t rows, int64_t width, const void *values)
{
    if (!values)
        return true;
    const hsize_t dim[2] = {(hsize_t)rows, (hsize_t)width};
    hid_t space = H5Screate_simple(width >= 0 ? 2 : 1, dim, NULL);
    hid_t set = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool good = set >= 0 && H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
                lj_hdf5_put_text(set, "description", description);
    H5Dclose(set);
    H5Sclose(space);
    return good;
}

int lj_embeddings_write(const char *path, const struct lj_embeddings *embeddings,
                        const char *provenance)
{
    struct lj_hdf5_file file;
    LJ_TRY(lj_hdf5_create(&file, path));
    hid_t id = (hid_t)file.id;
    int64_t rows = embeddings->rows;
    bool good = lj_hdf5_put_text(id, "creator", "lejepa_mpi") &&
                lj_hdf5_put_text(id, "description", "embeddings of the rows of an archive") &&
                lj_hdf5_put_text(id, "provenance", provenance) &&
                put(id, "embeddings", "one embedding a row, dimensionless", H5T_IEEE_F32LE,
                    H5T_NATIVE_FLOAT, rows, embeddings->width, embeddings->values) &&
                put(id, "labels", "class of each row", H5T_STD_I32LE, H5T_NATIVE_INT32, rows, -1,
                    embeddings->labels) &&
                put(id, "row", "row of the archive that was embedded", H5T_STD_I64LE,
                    H5T_NATIVE_INT64, rows, -1, embeddings->row);
    return lj_hdf5_finish(&file, good);
}
