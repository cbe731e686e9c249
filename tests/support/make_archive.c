/* SPDX-License-Identifier: Apache-2.0 */
/* Small HDF5 files in a temporary directory. */
#include "make_archive.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[256];

void directory_make(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/lejepa-data-XXXXXX", parent ? parent : "/tmp");
    cr_assert(mkdtemp(directory), "no temporary directory");
}

const char *in_directory(const char *name)
{
    static char path[8][1024];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

void directory_remove(void)
{
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        unlink(in_directory(entry->d_name));
    closedir(entries);
    rmdir(directory);
}

static void write_dataset(hid_t file, const struct dataset *d)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE), plan = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (d->chunk[0])
        H5Pset_chunk(plan, d->dims, d->chunk);
    if (d->filters & SHUFFLE)
        H5Pset_shuffle(plan);
    if (d->filters & DEFLATE)
        H5Pset_deflate(plan, 6);
    if (d->filters & FLETCHER)
        H5Pset_fletcher32(plan);
    if (d->fill)
        H5Pset_fill_value(plan, H5T_NATIVE_DOUBLE, d->fill);
    hid_t space = H5Screate_simple(d->dims, d->dim, NULL);
    hid_t made = H5Dcreate2(file, d->name, d->type, space, links, plan, H5P_DEFAULT);
    cr_assert(made >= 0, "cannot make %s", d->name);
    if (d->values)
        cr_assert(H5Dwrite(made, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, d->values) >= 0);
    H5Dclose(made);
    H5Sclose(space);
    H5Pclose(plan);
    H5Pclose(links);
}

void write_file(const char *path, bool add, const struct dataset *datasets, int count)
{
    lj_hdf5_lock();
    hid_t file = add ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                     : H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(file >= 0, "cannot make %s", path);
    for (int i = 0; i < count; i++)
        write_dataset(file, &datasets[i]);
    H5Fclose(file);
    lj_hdf5_unlock();
}

void copy_part(const char *from, const char *to, int64_t bytes, int64_t flip)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    cr_assert(in && out);
    int byte;
    for (int64_t i = 0; i < bytes && (byte = fgetc(in)) != EOF; i++)
        fputc(i == flip ? byte ^ 0xff : byte, out);
    fclose(in);
    fclose(out);
}

int64_t find_bytes(const char *path, const void *pattern, size_t bytes)
{
    FILE *in = fopen(path, "rb");
    static unsigned char all[1 << 20];
    size_t length = fread(all, 1, sizeof all, in);
    fclose(in);
    const unsigned char *at = memmem(all, length, pattern, bytes);
    return at ? at - all : -1;
}

struct lj_archive_options options_of(const char *files)
{
    return (struct lj_archive_options){.files = files,
                                       .images = "",
                                       .labels = "",
                                       .where = "",
                                       .axes = LJ_DATA_AXES_AUTO,
                                       .stretch = LJ_DATA_STRETCH_NONE,
                                       .nan = LJ_DATA_NAN_ERROR};
}

double pixel(int64_t row, int64_t channel, int64_t place)
{
    return (double)((row * 31 + channel * 11 + place * 7) % 127);
}
