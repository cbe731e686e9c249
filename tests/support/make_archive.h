/* SPDX-License-Identifier: Apache-2.0 */
/* Small HDF5 files for the tests of data, in a directory of the running test. */
#ifndef LEJEPA_TESTS_MAKE_ARCHIVE_H
#define LEJEPA_TESTS_MAKE_ARCHIVE_H

#include <hdf5.h>

#include "data/data.h"

enum { DEFLATE = 1, SHUFFLE = 2, FLETCHER = 4 };

/* One dataset to write. */
struct dataset {
    const char *name;     /* its path in the file */
    hid_t type;           /* in the file */
    int dims;             /* number of axes */
    hsize_t dim[5];       /* (dims) shape */
    hsize_t chunk[5];     /* (dims) shape of a chunk; chunk[0] 0: contiguous */
    int filters;          /* DEFLATE, SHUFFLE, FLETCHER, or several */
    const double *values; /* (product of dim); NULL: no value is written */
    const double *fill;   /* fill value; NULL: none of its own */
};

/* Makes the directory of this test. */
void directory_make(void);
/* Removes it with all files in it. */
void directory_remove(void);
/* Path of a file in it; static storage, valid until the eighth call after this one. */
const char *in_directory(const char *name);

/* Creates the file, or adds to it when add is set, and writes datasets; missing groups are made. */
void write_file(const char *path, bool add, const struct dataset *datasets, int count);
/* Copies the first bytes of a file, with the byte at place `flip` inverted; -1: none. */
void copy_part(const char *from, const char *to, int64_t bytes, int64_t flip);
/* Where the pattern begins in the file; -1 if it does not occur. */
int64_t find_bytes(const char *path, const void *pattern, size_t bytes);

/* Options for these files, everything else automatic. */
struct lj_archive_options options_of(const char *files);

/* A value for a pixel that differs from those of neighbouring rows, channels and places. */
double pixel(int64_t row, int64_t channel, int64_t place);

#endif
