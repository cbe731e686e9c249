/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: one dataset of numbers, or rows of it, read into memory of a wanted type. */
#ifndef LEJEPA_STORE_DATASET_H
#define LEJEPA_STORE_DATASET_H

#include "store/hdf5/hdf5.h"

enum { LJ_DATASET_DIMS = 3 };

struct lj_dataset {
    int dims;
    int64_t dim[LJ_DATASET_DIMS]; /* of the whole dataset */
    int64_t count;                /* of its elements */
    void *values;                 /* owned by the caller (lj_free); NULL when absent */
};

/* lj_hdf5_open, with a message. Local. Errors: LJ_ERR_DATA (lock free). */
int lj_dataset_file_open(const char *path, hid_t *file) LJ_MUST_USE;

/* What is asked of a dataset. */
struct lj_dataset_request {
    const char *name;
    bool integers; /* only integer types will do; else any integer or float type */
    bool optional; /* absence is no error: values NULL */
    int64_t rows;  /* its shape must be (rows); -1: any shape */
    hid_t memory;  /* HDF5's type for the values in memory */
    size_t size;   /* bytes of that type */
    /* Only rows [first, end) of (N, C), or, with views, of (V, N, D), as (rows, V, D); else all */
    bool part, views;
    int64_t first, end;
};

/* Where rows [first, first + count) of all views lie: view v of (views, N, width) in a file, and of
 * (count, views, width) in memory. Without views, of (N, width) and (count, width). */
struct lj_rows {
    int64_t first, count, views, width;
    bool has_views; /* false: views is 1 */
};
/* Moves rows between an open dataset and memory, converted by HDF5. Under the lock.
 *   write   in  memory to dataset; else dataset to memory
 *   values  in or out */
bool lj_rows_move(hid_t set, hid_t memory, const struct lj_rows *rows, bool write,
                  void *values) LJ_MUST_USE;

/* Reads a dataset, or a part of it, converted by HDF5. Nothing is allocated for a shape that is not
 * the requested one or that the file is too small for. Under the lock.
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. */
int lj_dataset_read(struct lj_dataset *dataset, hid_t file, const char *path,
                    const struct lj_dataset_request *request) LJ_MUST_USE;

#endif
