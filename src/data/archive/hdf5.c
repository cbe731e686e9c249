/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 calls whose failures need explaining. HDF5's own error stack is silenced, because a user
 * wants one line that says what to do. */
#include "data/archive/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Checks what does not need HDF5: the file exists, can be read, and is not gzipped as a whole. */
static int check_file(const char *path, int64_t *bytes)
{
    struct stat info;
    /* without waiting for the other end of a pipe, which is refused below */
    int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (handle < 0)
        return lj_fail(LJ_ERR_DATA, "%s: cannot be opened: %s; check data.archive", path,
                       strerror(errno));
    unsigned char magic[2] = {0, 0};
    ssize_t got = read(handle, magic, sizeof magic);
    int described = fstat(handle, &info);
    close(handle);
    if (described != 0 || !S_ISREG(info.st_mode) || got < 0)
        return lj_fail(LJ_ERR_DATA, "%s: expected a file, found something that cannot be read",
                       path);
    *bytes = info.st_size;
    if (got == 2 && magic[0] == 0x1f && magic[1] == 0x8b)
        return lj_fail(LJ_ERR_DATA, "%s: is compressed as a whole; run gunzip on it first", path);
    return LJ_OK;
}

static int64_t opened; /* under the HDF5 lock */

int64_t lj_hdf5_opened(void)
{
    return opened;
}

int lj_hdf5_open_file(const char *path, hid_t *file)
{
    int64_t bytes = 0;
    *file = -1;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    LJ_TRY(check_file(path, &bytes));
    lj_hdf5_looks_at(path);
    if (H5Fis_hdf5(path) <= 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected an HDF5 file, found %lld bytes of something else; the command "
                       "`pack` converts other formats",
                       path, (long long)bytes);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true); /* locks fail on many cluster file systems */
    *file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (*file < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: the HDF5 file is truncated or damaged (%lld bytes); copy it again",
                       path, (long long)bytes);
    opened++;
    return LJ_OK;
}

hid_t lj_hdf5_memory_type(enum lj_element element)
{
    switch (element) {
    case LJ_ELEMENT_U8:
        return H5T_NATIVE_UINT8;
    case LJ_ELEMENT_I8:
        return H5T_NATIVE_INT8;
    case LJ_ELEMENT_U16:
        return H5T_NATIVE_UINT16;
    case LJ_ELEMENT_I16:
        return H5T_NATIVE_INT16;
    case LJ_ELEMENT_U32:
        return H5T_NATIVE_UINT32;
    case LJ_ELEMENT_F32:
        return H5T_NATIVE_FLOAT;
    default:
        return H5T_NATIVE_DOUBLE;
    }
}

void lj_hdf5_shape_text(const hsize_t *dim, int dims, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < dims && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)dim[i]);
    if (dims == 0)
        snprintf(text, capacity, "scalar");
}

bool lj_hdf5_has(hid_t file, const char *dataset)
{
    hid_t object = H5Dopen2(file, dataset, H5P_DEFAULT);
    if (object < 0)
        return false;
    H5Dclose(object);
    return true;
}

bool lj_hdf5_count(const hsize_t *dim, int dims, int64_t *count)
{
    int64_t product = 1;
    for (int i = 0; i < dims; i++)
        if (dim[i] > INT64_MAX || !lj_multiply_sizes(product, (int64_t)dim[i], &product))
            return false;
    *count = product;
    return true;
}
