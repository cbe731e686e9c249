/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes. Texts are UTF-8 of fixed length, with their NUL, so that nothing lies in HDF5's
 * global heap, which has no checksum. */
#include "store/hdf5/hdf5.h"

#include <string.h>

enum { TEXT_MAX = 64 << 20 }; /* bytes; ours are far shorter, a damaged length may not be */

/* Writes a scalar attribute: stored is its type in the file, memory that of value. */
static bool put(hid_t object, const char *name, hid_t stored, hid_t memory, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, memory, value) >= 0;
    good = (attribute < 0 || H5Aclose(attribute) >= 0) && good;
    H5Sclose(space);
    return good;
}

bool lj_hdf5_put_i64(hid_t object, const char *name, int64_t value)
{
    return put(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

bool lj_hdf5_put_u64(hid_t object, const char *name, uint64_t value)
{
    return put(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}

bool lj_hdf5_put_text(hid_t object, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool good = type >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
                H5Tset_size(type, strlen(text) + 1) >= 0 && put(object, name, type, type, text);
    H5Tclose(type);
    return good;
}

/* Opens a scalar attribute, or returns a negative handle. */
static hid_t open_scalar(hid_t object, const char *name)
{
    if (H5Aexists(object, name) <= 0)
        return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0)
        return -1;
    hid_t space = H5Aget_space(attribute);
    bool scalar = H5Sget_simple_extent_npoints(space) == 1;
    H5Sclose(space);
    if (scalar)
        return attribute;
    H5Aclose(attribute);
    return -1;
}

static bool get_integer(hid_t object, const char *name, hid_t memory, void *value)
{
    hid_t attribute = open_scalar(object, name);
    if (attribute < 0)
        return false;
    hid_t type = H5Aget_type(attribute);
    bool good = H5Tget_class(type) == H5T_INTEGER && H5Aread(attribute, memory, value) >= 0;
    H5Tclose(type);
    H5Aclose(attribute);
    return good;
}

bool lj_hdf5_get_i64(hid_t object, const char *name, int64_t *value)
{
    return get_integer(object, name, H5T_NATIVE_INT64, value);
}

bool lj_hdf5_get_u64(hid_t object, const char *name, uint64_t *value)
{
    return get_integer(object, name, H5T_NATIVE_UINT64, value);
}

bool lj_hdf5_get_text(hid_t object, const char *name, char **text)
{
    *text = NULL;
    hid_t attribute = open_scalar(object, name);
    if (attribute < 0)
        return false;
    hid_t type = H5Aget_type(attribute);
    size_t size = H5Tget_size(type);
    bool good = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                size <= TEXT_MAX && (*text = lj_alloc(size + 1, "texts of HDF5 files")) != NULL &&
                H5Aread(attribute, type, *text) >= 0;
    if (!good) {
        lj_free(*text);
        *text = NULL;
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return good;
}
