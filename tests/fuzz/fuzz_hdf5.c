/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITTEN_MAX = 1 << 18 };

/* ---- around an input --------------------------------------------------------------------- */

static struct lj_comm *world;
static bool at_work; /* on an input: whoever ends the process now has found a mistake */
static size_t before;

/* Bytes that lj_alloc has given and not got back. */
static size_t open_bytes(void)
{
    struct lj_memory_use use[64];
    size_t bytes = 0;
    for (int i = 0, count = lj_memory_report(use, 64); i < count; i++)
        bytes += use[i].bytes;
    return bytes;
}

/* The last of what happens at exit: MPI keeps memory of its own, which no search for leaks is to
 * find; ours is counted by fuzz_end. */
static void finish(void)
{
    if (at_work)
        return;
    lj_comm_finish(world);
    fflush(NULL);
    _exit(0);
}

/* MPI would end the process behind the back of libFuzzer, which then keeps no input. */
static void on_mistake(int exit_code)
{
    (void)exit_code;
    abort();
}

struct lj_comm *fuzz_world(void)
{
    if (!world) {
        LJ_CHECK(lj_comm_start(&world) == LJ_OK, "%s", lj_error_text());
        lj_set_abort_hook(on_mistake);
        atexit(finish);
    }
    return world;
}

void fuzz_begin(void)
{
    at_work = true;
    lj_log_set_speaker(false); /* what the code under test warns about is no news */
    before = open_bytes();
}

void fuzz_end(void)
{
    LJ_CHECK(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0, "an object is left open");
    LJ_CHECK(open_bytes() == before, "%zu bytes are not given back", open_bytes() - before);
    at_work = false;
}

/* ---- what the input decides -------------------------------------------------------------- */

/* An enumeration, a compound, an array, an opaque type, an integer of 12 bits, a sequence. */
static hid_t rare_type(int which)
{
    const hsize_t two = 2;
    const uint8_t value = 1;
    hid_t type = -1;
    switch (which) {
    case 0:
        type = H5Tenum_create(H5T_STD_U8LE);
        H5Tenum_insert(type, "one", &value);
        return type;
    case 1:
        type = H5Tcreate(H5T_COMPOUND, 8);
        H5Tinsert(type, "a", 0, H5T_STD_I32LE);
        H5Tinsert(type, "b", 4, H5T_IEEE_F32LE);
        return type;
    case 2:
        return H5Tarray_create2(H5T_STD_U8LE, 1, &two);
    case 3:
        return H5Tcreate(H5T_OPAQUE, 3);
    case 4:
        type = H5Tcopy(H5T_STD_I32LE);
        H5Tset_precision(type, 12);
        H5Tset_offset(type, 3);
        return type;
    default:
        return H5Tvlen_create(H5T_STD_I32LE);
    }
}

hid_t fuzz_type(struct fuzz_bytes *b)
{
    const hid_t types[] = {H5T_STD_U8LE,   H5T_STD_I8LE,  H5T_STD_U16BE,   H5T_STD_I16LE,
                           H5T_STD_U32LE,  H5T_STD_I32BE, H5T_STD_I64LE,   H5T_IEEE_F32LE,
                           H5T_IEEE_F64BE, H5T_C_S1,      H5T_STD_REF_OBJ, H5T_STD_B8LE};
    enum { PLAIN = sizeof types / sizeof *types, RARE = 6, TEXT = 9 };
    int which = fuzz_below(b, PLAIN + RARE);
    if (which >= PLAIN)
        return rare_type(which - PLAIN);
    hid_t type = H5Tcopy(types[which]);
    if (which == TEXT)
        H5Tset_size(type, fuzz_below(b, 2) ? H5T_VARIABLE : (size_t)fuzz_below(b, 9) + 1);
    return type;
}

hsize_t fuzz_extent(struct fuzz_bytes *b)
{
    static const hsize_t extents[] = {0,
                                      1,
                                      1,
                                      2,
                                      3,
                                      4,
                                      5,
                                      8,
                                      16,
                                      17,
                                      31,
                                      64,
                                      100,
                                      1000,
                                      (hsize_t)1 << 33,
                                      ((hsize_t)1 << 62) + 3};
    return extents[fuzz_below(b, 16)];
}

hid_t fuzz_plan(struct fuzz_bytes *b, int dims, const hsize_t *dim)
{
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    int storage = fuzz_below(b, 8);
    hsize_t chunk[8];
    for (int i = 0; i < dims; i++)
        chunk[i] = (hsize_t)lj_max_i64(1, lj_min_i64((int64_t)fuzz_extent(b), 1 << 12));
    if (storage < 4 && dims > 0)
        H5Pset_chunk(plan, dims, chunk);
    if (storage < 3)
        H5Pset_deflate(plan, 1);
    if (storage == 1)
        H5Pset_shuffle(plan);
    if (storage == 2)
        H5Pset_fletcher32(plan);
    if (storage == 5)
        H5Pset_layout(plan, H5D_COMPACT);
    if (storage == 6)
        H5Pset_external(plan, fuzz_below(b, 2) ? fuzz_path("outside.raw") : "/dev/shm", 0, 64);
    if (storage == 7 && dims > 0) {
        hid_t space = H5Screate_simple(dims, dim, NULL);
        if (space >= 0) {
            H5Pset_virtual(plan, space, fuzz_below(b, 2) ? "." : "gone%b.h5", "/x", space);
            H5Sclose(space);
        }
    }
    if (fuzz_below(b, 4) == 0) {
        const int fill = 7;
        H5Pset_fill_value(plan, H5T_NATIVE_INT, &fill);
    }
    return plan;
}

static bool has_pointers(hid_t type)
{
    H5T_class_t class = H5Tget_class(type);
    return H5Tis_variable_str(type) > 0 || class == H5T_VLEN || class == H5T_REFERENCE;
}

void fuzz_write_bytes(struct fuzz_bytes *b, hid_t set, hid_t type, int dims, const hsize_t *dim)
{
    static uint8_t values[WRITTEN_MAX];
    size_t bytes = H5Tget_size(type);
    if (fuzz_below(b, 8) == 0 || has_pointers(type))
        return;
    for (int i = 0; i < dims; i++) {
        if (dim[i] == 0 || dim[i] > sizeof values / bytes)
            return;
        bytes *= (size_t)dim[i];
    }
    if (bytes > sizeof values)
        return;
    for (size_t i = 0; i < bytes; i++)
        values[i] = b->left ? b->at[i % b->left] : (uint8_t)i;
    H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

/* ---- files ------------------------------------------------------------------------------- */

hid_t fuzz_create(const char *path)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    LJ_CHECK(file >= 0, "%s: cannot be created", path);
    return file;
}

/* What is wrong with a dataset; what is not listed: nothing. */
enum change {
    ABSENT = 6,
    OTHER_TYPE,
    OTHER_LENGTH,
    OTHER_SHAPE,
    OTHER_STORAGE,
    OTHER_VALUES,
    A_LINK,
    CHANGES
};

static void put_link(struct fuzz_bytes *b, hid_t file, const char *name, hid_t links)
{
    if (fuzz_below(b, 2))
        H5Lcreate_soft(fuzz_below(b, 2) ? name : "/gone", file, name, links, H5P_DEFAULT);
    else
        H5Lcreate_external(fuzz_below(b, 2) ? "." : "elsewhere.h5", "/x", file, name, links,
                           H5P_DEFAULT);
}

/* Returns the number of dimensions. */
static int pick_shape(struct fuzz_bytes *b, const struct fuzz_dataset *wanted, enum change change,
                      hsize_t *dim)
{
    int dims = change == OTHER_SHAPE ? fuzz_below(b, 5) : wanted->dims;
    for (int i = 0; i < dims; i++)
        dim[i] = change == OTHER_SHAPE ? fuzz_extent(b) : wanted->dim[i];
    if (change == OTHER_LENGTH && dims > 0) {
        hsize_t *length = &dim[fuzz_below(b, dims)];
        int which = fuzz_below(b, 4);
        *length = which == 3 && *length > 0 ? *length - 1 : *length + 1 + (hsize_t)which * 20;
    }
    return dims;
}

static hid_t put_changed(struct fuzz_bytes *b, hid_t file, const struct fuzz_dataset *wanted,
                         enum change change, hid_t links)
{
    hsize_t dim[FUZZ_DIMS_MAX];
    int dims = pick_shape(b, wanted, change, dim);
    hid_t type = change == OTHER_TYPE ? fuzz_type(b) : H5Tcopy(wanted->type);
    hid_t plan = change == OTHER_STORAGE ? fuzz_plan(b, dims, dim) : H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = dims ? H5Screate_simple(dims, dim, NULL)
                       : H5Screate(change == OTHER_SHAPE ? H5S_NULL : H5S_SCALAR);
    hid_t set = H5Dcreate2(file, wanted->name, type, space, links, plan, H5P_DEFAULT);
    bool as_wanted = change != OTHER_LENGTH && change != OTHER_SHAPE && change != OTHER_VALUES;
    /* writing through a virtual dataset whose source is itself does not end */
    bool writable = set >= 0 && H5Pget_layout(plan) != H5D_VIRTUAL;
    if (writable && as_wanted)
        as_wanted =
            H5Dwrite(set, wanted->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, wanted->values) >= 0;
    if (writable && !as_wanted)
        fuzz_write_bytes(b, set, type, dims, dim);
    H5Sclose(space);
    H5Pclose(plan);
    H5Tclose(type);
    return set;
}

hid_t fuzz_put(struct fuzz_bytes *b, hid_t file, const struct fuzz_dataset *wanted)
{
    enum change change = (enum change)fuzz_below(b, CHANGES);
    if (change == ABSENT)
        return -1;
    hid_t links = H5Pcreate(H5P_LINK_CREATE), set = -1;
    H5Pset_create_intermediate_group(links, 1);
    if (change == A_LINK)
        put_link(b, file, wanted->name, links);
    else
        set = put_changed(b, file, wanted, change, links);
    H5Pclose(links);
    return set;
}

void fuzz_put_text(struct fuzz_bytes *b, hid_t object, const char *name, const char *text)
{
    int change = fuzz_below(b, 8);
    if (change == 7)
        return;
    const hsize_t two = 2;
    hid_t type = change == 6 ? fuzz_type(b) : H5Tcopy(H5T_C_S1);
    if (change == 5)
        H5Tset_size(type, H5T_VARIABLE);
    else if (change != 6)
        H5Tset_size(type, strlen(text) + (change == 4 ? 0 : 1)); /* 4: nothing ends it */
    hid_t space = change == 3 ? H5Screate_simple(1, &two, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0 && (change < 3 || change == 4))
        H5Awrite(attribute, type, text);
    else if (attribute >= 0 && change == 5)
        H5Awrite(attribute, type, &text);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}
