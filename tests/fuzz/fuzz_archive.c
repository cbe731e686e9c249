/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that HDF5 itself made from the input's bytes: valid files of any shapes, types, storages
 * and attributes, opened with any settings and read. HDF5 1.10 crashes on files with damaged bytes,
 * so those are fuzz_damaged's. */
#include "data/data.h"
#include "fuzz_hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETS_MAX = 4, ROWS_READ = 4, FLOATS_MAX = 1 << 20 };

/* ---- the file ---------------------------------------------------------------------------- */

static void add_attribute(struct fuzz_bytes *b, hid_t set)
{
    static const char *const names[] = {"BLANK", "_FillValue", "missing_value", "units"};
    hid_t type = fuzz_type(b), space = H5Screate(H5S_SCALAR);
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
    hid_t type = fuzz_type(b), links = H5Pcreate(H5P_LINK_CREATE);
    for (int i = 0; i < dims; i++)
        dim[i] = fuzz_extent(b);
    hid_t space = dims ? H5Screate_simple(dims, dim, NULL)
                       : H5Screate(fuzz_below(b, 2) ? H5S_SCALAR : H5S_NULL);
    hid_t plan = fuzz_plan(b, dims, dim);
    H5Pset_create_intermediate_group(links, 1);
    hid_t set = H5Dcreate2(file, names[fuzz_below(b, 9)], type, space, links, plan, H5P_DEFAULT);
    if (set >= 0) {
        /* writing through a virtual dataset whose source is itself does not end */
        if (H5Pget_layout(plan) != H5D_VIRTUAL)
            fuzz_write_bytes(b, set, type, dims, dim);
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
    hid_t file = fuzz_create(path);
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

static void read_archive(struct lj_archive *archive, struct lj_comm *world)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct lj_archive *archive = NULL;
    struct lj_comm *world = fuzz_world();
    fuzz_begin();
    const char *path = make_file(&bytes);
    struct lj_archive_options options = pick_options(&bytes, path);
    int status = lj_archive_open(&archive, world, &options);
    fuzz_expect(status);
    if (status == LJ_OK) {
        read_archive(archive, world);
        lj_archive_close(archive);
    }
    fuzz_end();
    return 0;
}
