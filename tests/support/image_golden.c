/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the cases of tests/golden/image.h5: /OPERATION/NUMBER is the expected image, its attributes
 * name the source image and the arguments. */
#include "image_golden.h"

#include "data/data.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static float *read_planes(hid_t file, const char *name, int64_t shape[3])
{
    hsize_t dims[3] = {0};
    hid_t data = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(data);
    cr_assert(H5Sget_simple_extent_dims(space, dims, NULL) == 3, "%s", name);
    for (int i = 0; i < 3; i++)
        shape[i] = (int64_t)dims[i];
    float *values = malloc((size_t)(dims[0] * dims[1] * dims[2]) * sizeof *values);
    cr_assert(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Sclose(space);
    H5Dclose(data);
    return values;
}

static void read_attributes(hid_t file, const char *name, char source[32], double *args)
{
    hid_t attribute = H5Aopen_by_name(file, name, "source", H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = H5Aget_type(attribute);
    cr_assert(H5Tget_size(type) < 32 && H5Aread(attribute, type, source) >= 0);
    H5Tclose(type);
    H5Aclose(attribute);
    attribute = H5Aopen_by_name(file, name, "args", H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(H5Aget_storage_size(attribute) <= 8 * sizeof *args);
    cr_assert(H5Aread(attribute, H5T_NATIVE_DOUBLE, args) >= 0);
    H5Aclose(attribute);
}

bool image_case_read(struct image_case *c, const char *operation, int number)
{
    char path[4096], name[64], source[32] = "";
    int64_t shape[3];
    snprintf(path, sizeof path, "%s/image.h5", getenv("GOLDEN_DIR"));
    snprintf(name, sizeof name, "%s/%d", operation, number);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert(file >= 0, "%s", path);
    bool found = H5Lexists(file, name, H5P_DEFAULT) > 0;
    if (found) {
        *c = (struct image_case){.expected = read_planes(file, name, shape)};
        c->out_h = shape[1];
        c->out_w = shape[2];
        read_attributes(file, name, source, c->args);
        snprintf(name, sizeof name, "sources/%s", source);
        c->image = read_planes(file, name, shape);
        c->channels = (int)shape[0];
        c->height = shape[1];
        c->width = shape[2];
        for (int64_t i = 0; i < shape[0] * shape[1] * shape[2]; i++)
            c->image[i] /= 255.0f;
    }
    H5Fclose(file);
    return found;
}

void image_case_free(struct image_case *c)
{
    free(c->image);
    free(c->expected);
}

double largest_difference(const float *a, const float *b, int64_t count)
{
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= largest))
            largest = isfinite(difference) ? difference : INFINITY;
    }
    return largest;
}
