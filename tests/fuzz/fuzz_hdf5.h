/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 files that HDF5 itself makes of an input's bytes, so that they are valid, whatever they
 * hold: HDF5 1.10 crashes on files with damaged bytes. */
#ifndef LEJEPA_TESTS_FUZZ_HDF5_H
#define LEJEPA_TESTS_FUZZ_HDF5_H

#include "comm/comm.h"
#include "fuzz.h"

#include <hdf5.h>

enum { FUZZ_DIMS_MAX = 8 };

/* ---- around an input --------------------------------------------------------------------- */

/* The communicator of this one rank; the first call starts MPI. Before fuzz_begin. */
struct lj_comm *fuzz_world(void);
/* Before the files of an input are made and read: from now until fuzz_end whatever ends the process
 * is a mistake. */
void fuzz_begin(void);
/* After it: no object of HDF5 may be open and all memory must have been given back. */
void fuzz_end(void);

/* ---- what the input decides -------------------------------------------------------------- */

/* A type of any class; H5Tclose. */
hid_t fuzz_type(struct fuzz_bytes *bytes);
/* From 0 to beyond all memory. */
hsize_t fuzz_extent(struct fuzz_bytes *bytes);
/* Storage of a dataset of this shape; H5Pclose. */
hid_t fuzz_plan(struct fuzz_bytes *bytes, int dims, const hsize_t *dim);
/* Writes what the input holds, over and over, into a dataset of this type and shape, or nothing. */
void fuzz_write_bytes(struct fuzz_bytes *bytes, hid_t set, hid_t type, int dims,
                      const hsize_t *dim);

/* ---- files ------------------------------------------------------------------------------- */

/* A new file; H5Fclose. */
hid_t fuzz_create(const char *path);

/* A dataset as it should be. */
struct fuzz_dataset {
    const char *name;   /* the groups in it are made */
    hid_t type, memory; /* in the file; of values */
    int dims;           /* 0: one value without dimensions */
    const hsize_t *dim; /* (dims) */
    const void *values;
};
/* Makes it so, or, as the input decides, with one thing of it changed. Bytes of 0 change nothing.
 * Returns the open dataset; negative: there is none. */
hid_t fuzz_put(struct fuzz_bytes *bytes, hid_t file, const struct fuzz_dataset *dataset);

/* A text attribute as store writes them; as the input decides, of another type, or none. */
void fuzz_put_text(struct fuzz_bytes *bytes, hid_t object, const char *name, const char *text);

#endif
