/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays from golden HDF5 files, in the directory that GOLDEN_DIR in the environment names. A
 * dataset that is missing or has another type fails the Criterion test, with its name.
 *
 *     struct lj_golden a = lj_golden_f32("loss.h5", "case0/proj");
 *     cr_assert_eq(a.shape[0], 2);       a.f32[i]
 *     lj_golden_free(&a); */
#ifndef LEJEPA_TEST_GOLDEN_H
#define LEJEPA_TEST_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

enum { LJ_GOLDEN_DIMS = 8 };

struct lj_golden {
    int dims;                      /* number of axes; 0: a scalar */
    int64_t shape[LJ_GOLDEN_DIMS]; /* (dims) */
    int64_t count;                 /* product of shape; 1 for a scalar */
    union {                        /* (count) owned; the member of the type that was asked for */
        void *data;
        float *f32;
        double *f64;
        int64_t *i64;
    };
};

/* float32 data only, so that nothing is rounded without notice. */
struct lj_golden lj_golden_f32(const char *file, const char *dataset);
/* Floating point data of any width. */
struct lj_golden lj_golden_f64(const char *file, const char *dataset);
/* Integers of any width. */
struct lj_golden lj_golden_i64(const char *file, const char *dataset);
void lj_golden_free(struct lj_golden *array);

/* Is there such a dataset? For files with a varying number of cases. */
bool lj_golden_has(const char *file, const char *dataset);

#endif
