/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. One dataset of a file, read whole into memory of a wanted type. */
#ifndef LEJEPA_EVAL_DATASET_H
#define LEJEPA_EVAL_DATASET_H

#include "eval/eval.h"

#include <hdf5.h>

enum { LJ_DATASET_DIMS = 3 };

struct lj_dataset {
    int dims;
    int64_t dim[LJ_DATASET_DIMS];
    int64_t count;
    void *values; /* lj_alloc; NULL when absent */
};

/* Opens path read-only, takes the HDF5 lock. Errors: LJ_ERR_DATA (lock released). */
int lj_dataset_file_open(const char *path, hid_t *file) LJ_MUST_USE;
void lj_dataset_file_close(hid_t file);

/* Reads `name`. integers: only integer types will do; else any integer or float type.
 *   memory, size   HDF5 type in memory and its bytes
 *   optional       absence is no error: values NULL
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. Under the lock. */
int lj_dataset_read(struct lj_dataset *dataset, hid_t file, const char *path, const char *name,
                    bool integers, bool optional, hid_t memory, size_t size) LJ_MUST_USE;

#endif
