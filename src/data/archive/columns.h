/* SPDX-License-Identifier: Apache-2.0 */
/* Private to archive. Columns of numbers, or of strings, with one value for each image. Local; call
 * with the HDF5 lock held. */
#ifndef LEJEPA_DATA_COLUMNS_H
#define LEJEPA_DATA_COLUMNS_H

#include "data/archive/archive.h"
#include "data/archive/where.h"

/* What is read of a column, and who takes it. */
struct lj_column_request {
    const char *name;                     /* as the user gave it, or a usual one */
    const char *key;                      /* the setting to change if it does not fit */
    const struct lj_condition *condition; /* NULL: its numbers; else 1 where it holds, else 0 */
    const double *unlabelled;             /* the number that is read as NaN; NULL: none */
    /* Takes the values of rows [row, row + count) of the archive; false: the rest is not needed */
    bool (*take)(void *data, int64_t row, const double *values, int64_t count);
    void *data;   /* the first argument of take */
    bool stopped; /* out: take returned false, and nothing more is read */
};

/* Finds the column called name for the dataset `images`: beside it, else at the root.
 *   path  out  of the column
 * False: neither place has one. */
bool lj_column_find(hid_t file, const char *images, const char *name, char *path, size_t capacity);
/* Rows of the column of numbers at a path; -1: there is none. */
int64_t lj_column_rows(hid_t file, const char *dataset);
/* Reads rows [first, end) of a column.
 *   rows  in  that it must have
 *   row   in  number of the first of them in the archive
 * Errors: LJ_ERR_DATA (no such column, another length, not stored, unreadable), LJ_ERR_CONFIG (the
 * condition is none for its type), LJ_ERR_RESOURCE. */
int lj_column_read(struct lj_column_request *request, hid_t file, const char *path,
                   const char *dataset, int64_t rows, int64_t first, int64_t end,
                   int64_t row) LJ_MUST_USE;
/* Reads rows [first, end) of the archive, part by part.
 *   missing  out  the first file without such a column, at which reading ended; NULL: all have it
 * Errors: those of lj_column_read and of opening a file. */
int lj_column_of_parts(const struct lj_archive *archive, struct lj_column_request *request,
                       int64_t first, int64_t end, const char **missing) LJ_MUST_USE;

#endif
