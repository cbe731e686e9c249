/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a training archive: HDF5 with images (N, H, W) u8, labels (N) i32, split (N) u8. HDF5
 * builds the file in memory (its core driver) and plain system calls put it on disk. So a full disk
 * makes one write fail, and never leaves HDF5 with a file that it cannot close. */
#include "data/archive/write.h"

#include "data/archive/archive.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_ROWS = 64, CHUNK_NUMBERS = 65536, DEFLATE_LEVEL = 6, GROWTH_BYTES = 1 << 20 };

/* ---- in memory, under the HDF5 lock ------------------------------------------------------ */

static bool write_text(hid_t object, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, strlen(text) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, type, text) >= 0;
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return good;
}

/* A dataset to write. */
struct column {
    const char *name;        /* of the dataset */
    const char *description; /* its attribute of that name */
    hid_t memory;            /* type of values */
    hid_t stored;            /* type in the file */
    int dims;                /* number of axes */
    hsize_t shape[3];        /* (dims) */
    const void *values;      /* borrowed */
};

static bool write_column(hid_t file, const struct column *c)
{
    hsize_t rows = c->dims == 3 ? CHUNK_ROWS : CHUNK_NUMBERS;
    hsize_t chunk[3] = {c->shape[0] < rows ? c->shape[0] : rows, c->shape[1], c->shape[2]};
    hid_t space = H5Screate_simple(c->dims, c->shape, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(create, false);
    H5Pset_chunk(create, c->dims, chunk);
    H5Pset_shuffle(create);
    H5Pset_deflate(create, DEFLATE_LEVEL);
    hid_t data = H5Dcreate2(file, c->name, c->stored, space, H5P_DEFAULT, create, H5P_DEFAULT);
    bool good = data >= 0 &&
                H5Dwrite(data, c->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, c->values) >= 0 &&
                write_text(data, "description", c->description);
    H5Dclose(data);
    H5Pclose(create);
    H5Sclose(space);
    return good;
}

static bool write_content(hid_t file, const struct lj_archive_content *c)
{
    hsize_t rows = (hsize_t)c->rows, height = (hsize_t)c->height, width = (hsize_t)c->width;
    const struct column columns[] = {
        {"images",
         "grey values, (sample, row, column), the first row on top",
         H5T_NATIVE_UINT8,
         H5T_STD_U8LE,
         3,
         {rows, height, width},
         c->images},
        {"labels", "class of the sample", H5T_NATIVE_INT32, H5T_STD_I32LE, 1, {rows}, c->labels},
        {"split",
         "part the sample comes from",
         H5T_NATIVE_UINT8,
         H5T_STD_U8LE,
         1,
         {rows},
         c->split},
    };
    bool good = write_text(file, "description", c->description) &&
                write_text(file, "source", c->source) &&
                write_text(file, "creator", "lejepa_mpi pack") &&
                (c->licence[0] == 0 || write_text(file, "licence", c->licence));
    for (int i = 0; i < 3; i++)
        good = good && write_column(file, &columns[i]);
    return good;
}

/* The finished file as bytes, owned by the caller (lj_free); NULL on failure. */
static void *copy_file_image(hid_t file, size_t *bytes)
{
    ssize_t size = H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0 ? H5Fget_file_image(file, NULL, 0) : -1;
    void *image = size > 0 ? lj_alloc((size_t)size, "pack") : NULL;
    if (image && H5Fget_file_image(file, image, (size_t)size) == size) {
        *bytes = (size_t)size;
        return image;
    }
    lj_free(image);
    return NULL;
}

static void *make_file_image(const struct lj_archive_content *content, size_t *bytes)
{
    void *image = NULL;
    lj_hdf5_lock();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_fapl_core(access, GROWTH_BYTES, false);
    H5Pset_obj_track_times(create, false);
    hid_t file = H5Fcreate("archive", H5F_ACC_TRUNC, create, access); /* no file of this name */
    if (file >= 0 && write_content(file, content))
        image = copy_file_image(file, bytes);
    H5Fclose(file);
    H5Pclose(create);
    H5Pclose(access);
    lj_hdf5_unlock();
    return image;
}

int lj_archive_write(const char *path, const struct lj_archive_content *content)
{
    size_t bytes = 0;
    char *image = make_file_image(content, &bytes);
    if (!image)
        return lj_fail(LJ_ERR_RESOURCE, "cannot build %s in memory: %lld images of %lld x %lld",
                       path, (long long)content->rows, (long long)content->height,
                       (long long)content->width);
    int status = lj_file_place(path, image, bytes);
    lj_free(image);
    return status;
}
