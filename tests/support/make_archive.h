/* SPDX-License-Identifier: Apache-2.0 */
/* Small HDF5 files for the tests of data, in a directory of the running test. */
#ifndef LEJEPA_TESTS_MAKE_ARCHIVE_H
#define LEJEPA_TESTS_MAKE_ARCHIVE_H

#include <hdf5.h>

#include "data/data.h"

enum { DEFLATE = 1, SHUFFLE = 2, FLETCHER = 4 };

/* One dataset to write. */
struct dataset {
    const char *name;
    hid_t type; /* in the file */
    int dims;
    hsize_t dim[5];
    hsize_t chunk[5]; /* chunk[0] 0: contiguous */
    int filters;
    const double *values; /* product of dim; NULL: nothing is written */
};

/* Makes a fresh directory; path of a file in it (static storage, a few at a time). */
void directory_make(void);
void directory_remove(void);
const char *in_directory(const char *name);

/* Creates the file, or adds to it when add is set. Missing groups are made. */
void write_file(const char *path, bool add, const struct dataset *datasets, int count);
/* Copies the first bytes of a file, each byte at `flip` (if >= 0) inverted. */
void copy_part(const char *from, const char *to, int64_t bytes, int64_t flip);
/* Places of the first byte of the pattern in the file, or -1. */
int64_t find_bytes(const char *path, const void *pattern, size_t bytes);

/* Options with everything automatic. */
struct lj_archive_options options_of(const char *files);

/* A pixel no two of which are alike nearby: row, channel and place go in. */
double pixel(int64_t row, int64_t channel, int64_t place);

#endif
