/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 itself is not built with sanitizers, so that what it writes beyond a buffer of ours would go
 * unseen. With them, these two take the place of HDF5's functions and look at the buffer first. */
#include "fuzz.h"

#include <dlfcn.h>
#include <hdf5.h>

void *__asan_region_is_poisoned(void *first, size_t bytes) __attribute__((weak));

static void check_buffer(const char *what, void *buffer, hssize_t elements, size_t bytes)
{
    if (!__asan_region_is_poisoned || elements <= 0 || bytes == 0)
        return;
    void *beyond = __asan_region_is_poisoned(buffer, (size_t)elements * bytes);
    LJ_CHECK(!beyond, "%s of %lld elements of %zu bytes writes beyond its buffer, at %td", what,
             (long long)elements, bytes, (char *)beyond - (char *)buffer);
}

/* Elements of a buffer up to the last one that is selected of its space. */
static hssize_t reach(hid_t space)
{
    hsize_t dim[H5S_MAX_RANK], first[H5S_MAX_RANK], last[H5S_MAX_RANK], at = 0;
    int dims = H5Sget_simple_extent_dims(space, dim, NULL);
    if (H5Sget_select_npoints(space) <= 0)
        return 0;
    if (dims < 1 || H5Sget_select_bounds(space, first, last) < 0)
        return H5Sget_simple_extent_npoints(space);
    for (int i = 0; i < dims; i++)
        at = at * dim[i] + last[i];
    return (hssize_t)at + 1;
}

herr_t H5Dread(hid_t set, hid_t memory, hid_t inside, hid_t outside, hid_t transfer, void *buffer)
{
    herr_t (*next)(hid_t, hid_t, hid_t, hid_t, hid_t, void *) = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "H5Dread");
    hid_t space = H5Dget_space(set);
    hid_t buffers = inside != H5S_ALL ? inside : outside != H5S_ALL ? outside : space;
    check_buffer("H5Dread", buffer, reach(buffers), H5Tget_size(memory));
    H5Sclose(space);
    return next(set, memory, inside, outside, transfer, buffer);
}

herr_t H5Aread(hid_t attribute, hid_t memory, void *buffer)
{
    herr_t (*next)(hid_t, hid_t, void *) = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "H5Aread");
    hid_t space = H5Aget_space(attribute);
    check_buffer("H5Aread", buffer, reach(space), H5Tget_size(memory));
    H5Sclose(space);
    return next(attribute, memory, buffer);
}
