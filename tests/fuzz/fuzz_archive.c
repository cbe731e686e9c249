/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that HDF5 itself made from the input's bytes: valid files of any shapes, types, storages
 * and attributes, opened with any settings and read. HDF5 1.10 crashes on files with damaged bytes,
 * so those are fuzz_damaged's. */
#include "data/data.h"
#include "fuzz.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETS_MAX = 4, ROWS_READ = 4, FLOATS_MAX = 1 << 20, WRITTEN_MAX = 1 << 18 };

static struct lj_comm *world;
static bool at_work; /* on an input: whoever ends the process now has found a mistake */

/* ---- the file ---------------------------------------------------------------------------- */

static hid_t pick_type(struct fuzz_bytes *b)
{
    const hid_t types[] = {H5T_STD_U8LE,   H5T_STD_I8LE,  H5T_STD_U16BE,   H5T_STD_I16LE,
                           H5T_STD_U32LE,  H5T_STD_I32BE, H5T_STD_I64LE,   H5T_IEEE_F32LE,
                           H5T_IEEE_F64BE, H5T_C_S1,      H5T_STD_REF_OBJ, H5T_STD_B8LE};
    int which = fuzz_below(b, 14);
    hid_t type = H5Tcopy(types[which % 12]);
    if (which % 12 == 9)
        H5Tset_size(type, fuzz_below(b, 2) ? H5T_VARIABLE : (size_t)fuzz_below(b, 9) + 1);
    return type;
}

static hsize_t pick_extent(struct fuzz_bytes *b)
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

static hid_t pick_plan(struct fuzz_bytes *b, int dims, const hsize_t *dim)
{
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    int storage = fuzz_below(b, 8);
    hsize_t chunk[8];
    for (int i = 0; i < dims; i++)
        chunk[i] = (hsize_t)lj_max_i64(1, lj_min_i64((int64_t)pick_extent(b), 1 << 12));
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

/* Writes what the input holds, over and over. */
static void write_values(struct fuzz_bytes *b, hid_t set, hid_t type, int dims, const hsize_t *dim)
{
    static uint8_t values[WRITTEN_MAX];
    size_t bytes = H5Tget_size(type);
    if (fuzz_below(b, 8) == 0 || H5Tis_variable_str(type) > 0 || H5Tequal(type, H5T_STD_REF_OBJ))
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

static void add_attribute(struct fuzz_bytes *b, hid_t set)
{
    static const char *const names[] = {"BLANK", "_FillValue", "missing_value", "units"};
    hid_t type = pick_type(b), space = H5Screate(H5S_SCALAR);
    hid_t attribute =
        H5Acreate2(set, names[fuzz_below(b, 4)], type, space, H5P_DEFAULT, H5P_DEFAULT);
    const uint8_t value[16] = {fuzz_byte(b), fuzz_byte(b)};
    if (attribute >= 0 && H5Tget_size(type) <= sizeof value && H5Tis_variable_str(type) <= 0)
        H5Awrite(attribute, type, value);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void add_dataset(struct fuzz_bytes *b, hid_t file)
{
    static const char *const names[] = {"images",  "labels", "split", "x",    "a/images",
                                        "a/label", "z",      "scan1", "scan2"};
    hsize_t dim[8];
    int dims = fuzz_below(b, 6);
    hid_t type = pick_type(b), links = H5Pcreate(H5P_LINK_CREATE);
    for (int i = 0; i < dims; i++)
        dim[i] = pick_extent(b);
    hid_t space = dims ? H5Screate_simple(dims, dim, NULL)
                       : H5Screate(fuzz_below(b, 2) ? H5S_SCALAR : H5S_NULL);
    hid_t plan = pick_plan(b, dims, dim);
    H5Pset_create_intermediate_group(links, 1);
    hid_t set = H5Dcreate2(file, names[fuzz_below(b, 9)], type, space, links, plan, H5P_DEFAULT);
    if (set >= 0) {
        /* writing through a virtual dataset whose source is itself does not end */
        if (H5Pget_layout(plan) != H5D_VIRTUAL)
            write_values(b, set, type, dims, dim);
        if (fuzz_below(b, 3) == 0)
            add_attribute(b, set);
        H5Dclose(set);
    }
    H5Pclose(plan);
    H5Pclose(links);
    H5Sclose(space);
    H5Tclose(type);
}

static const char *make_file(struct fuzz_bytes *b)
{
    const char *path = fuzz_path("archive.h5");
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    LJ_CHECK(file >= 0, "%s: cannot be created", path);
    for (int sets = fuzz_below(b, SETS_MAX) + 1; sets > 0; sets--)
        add_dataset(b, file);
    if (fuzz_below(b, 8) == 0)
        H5Lcreate_external("elsewhere.h5", "/images", file, "link", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    return path;
}

/* ---- reading ----------------------------------------------------------------------------- */

static struct lj_archive_options pick_options(struct fuzz_bytes *b, const char *path)
{
    static const char *const images[] = {"", "", "images", "scan*", "/a/images", "gone"};
    static const char *const labels[] = {"", "", "none", "labels", "z", "x"};
    static const char *const where[] = {"", "", "split=0", "z<3 and x!=1", "labels=1..4", "x=a"};
    return (struct lj_archive_options){
        .files = path,
        .images = images[fuzz_below(b, 6)],
        .labels = labels[fuzz_below(b, 6)],
        .where = where[fuzz_below(b, 6)],
        .axes = (enum lj_data_axes)fuzz_below(b, LJ_DATA_AXES_CHW + 1),
        .stretch = (enum lj_data_stretch)fuzz_below(b, LJ_DATA_STRETCH_PERCENTILE + 1),
        .nan = (enum lj_data_nan)fuzz_below(b, 2),
        .size = fuzz_below(b, 3) * 8,
        .full_scale = fuzz_below(b, 2) * 1000.0};
}

static void read_archive(struct lj_archive *archive)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    static struct lj_pixel_sample sample;
    char text[1024];
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    lj_archive_describe(archive, text, sizeof text);
    int64_t floats = info->channels * info->height * info->width;
    LJ_CHECK(info->selected > 0 && info->channels > 0 && floats > 0, "an empty archive: %s", text);
    if (floats > FLOATS_MAX ||
        info->channels * info->stored_height * info->stored_width > FLOATS_MAX)
        return;
    float *image = lj_alloc_array(floats, sizeof *image, "fuzz");
    LJ_CHECK(image, "memory");
    for (int64_t i = 0; i < lj_min_i64(ROWS_READ, info->selected); i++)
        fuzz_expect(lj_archive_read(archive, lj_evenly(i, ROWS_READ, info->selected), 1, image));
    if (info->selected <= 64) {
        fuzz_expect(lj_archive_sample(archive, &sample));
        fuzz_expect(lj_archive_statistics(archive, world, mean, std));
    }
    lj_free(image);
}

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
 * find; ours is counted below. */
static void finish(void)
{
    if (at_work)
        return;
    lj_comm_finish(world);
    fflush(NULL);
    _exit(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct lj_archive *archive = NULL;
    at_work = true;
    if (!world) {
        LJ_CHECK(lj_comm_start(&world) == LJ_OK, "%s", lj_error_text());
        atexit(finish);
    }
    size_t before = open_bytes();
    const char *path = make_file(&bytes);
    struct lj_archive_options options = pick_options(&bytes, path);
    int status = lj_archive_open(&archive, world, &options);
    fuzz_expect(status);
    if (status == LJ_OK) {
        read_archive(archive);
        lj_archive_close(archive);
    }
    LJ_CHECK(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0, "an object is left open");
    LJ_CHECK(open_bytes() == before, "%zu bytes are not given back", open_bytes() - before);
    at_work = false;
    return 0;
}
