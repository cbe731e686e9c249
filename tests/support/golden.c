/* SPDX-License-Identifier: Apache-2.0 */
/* Reads golden files by plain HDF5 calls, independently of the program's own reader. */
#include "golden.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>

static hid_t open_file(const char *file)
{
    char path[4096];
    const char *directory = getenv("GOLDEN_DIR");
    cr_assert_not_null(directory, "GOLDEN_DIR is not set; run the tests through meson");
    snprintf(path, sizeof path, "%s/%s", directory, file);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert(id >= 0, "%s: cannot open the golden file", path);
    return id;
}

static void read_shape(hid_t dataset, struct lj_golden *array, const char *name)
{
    hsize_t shape[H5S_MAX_RANK];
    hid_t space = H5Dget_space(dataset);
    array->dims = H5Sget_simple_extent_dims(space, shape, NULL);
    cr_assert(array->dims >= 0 && array->dims <= LJ_GOLDEN_DIMS, "%s: %d dimensions", name,
              array->dims);
    array->count = 1;
    for (int i = 0; i < array->dims; i++) {
        array->shape[i] = (int64_t)shape[i];
        array->count *= array->shape[i];
    }
    H5Sclose(space);
}

/* Reads the dataset as memory_type, after checking that it has this class and at most
 * max_bytes an element. */
static struct lj_golden read_array(const char *file, const char *name, H5T_class_t class,
                                   hid_t memory_type, size_t max_bytes)
{
    struct lj_golden array = {0};
    hid_t id = open_file(file);
    hid_t dataset = H5Dopen2(id, name, H5P_DEFAULT);
    cr_assert(dataset >= 0, "%s: no dataset '%s'", file, name);
    hid_t type = H5Dget_type(dataset);
    cr_assert(H5Tget_class(type) == class && H5Tget_size(type) <= max_bytes,
              "%s: '%s' has elements of class %d and %zu bytes, not those asked for", file, name,
              (int)H5Tget_class(type), H5Tget_size(type));
    read_shape(dataset, &array, name);
    array.data = calloc((size_t)array.count + 1, H5Tget_size(memory_type));
    cr_assert_not_null(array.data);
    cr_assert(H5Dread(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.data) >= 0,
              "%s: cannot read '%s'", file, name);
    H5Tclose(type);
    H5Dclose(dataset);
    H5Fclose(id);
    return array;
}

struct lj_golden lj_golden_f32(const char *file, const char *dataset)
{
    return read_array(file, dataset, H5T_FLOAT, H5T_NATIVE_FLOAT, sizeof(float));
}

struct lj_golden lj_golden_f64(const char *file, const char *dataset)
{
    return read_array(file, dataset, H5T_FLOAT, H5T_NATIVE_DOUBLE, sizeof(double));
}

struct lj_golden lj_golden_i64(const char *file, const char *dataset)
{
    return read_array(file, dataset, H5T_INTEGER, H5T_NATIVE_INT64, sizeof(int64_t));
}

void lj_golden_free(struct lj_golden *array)
{
    free(array->data);
    array->data = NULL;
}

/* Looks for every group on the way, too, because H5Lexists fails if one of them is missing. */
bool lj_golden_has(const char *file, const char *dataset)
{
    char prefix[1024];
    hid_t id = open_file(file);
    bool has = true;
    for (size_t i = 1; has && i <= strlen(dataset) && i < sizeof prefix; i++) {
        if (dataset[i] != '/' && dataset[i] != 0)
            continue;
        snprintf(prefix, sizeof prefix, "%.*s", (int)i, dataset);
        has = H5Lexists(id, prefix, H5P_DEFAULT) > 0;
    }
    H5Fclose(id);
    return has;
}
