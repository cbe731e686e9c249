/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: what the file holds by plain HDF5 calls, and that no failure leaves anything behind. */
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static int files_in(const char *dir)
{
    int count = 0;
    DIR *listing = opendir(dir);
    for (struct dirent *entry; (entry = readdir(listing));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return count;
}

static int write_step(struct fixture *f, int64_t step, int keep)
{
    f->checkpoint.step = step;
    return lj_checkpoint_write(f->dir, &f->checkpoint, keep);
}

static void read_attribute(hid_t object, const char *name, hid_t type, void *value)
{
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    cr_assert_geq(attribute, 0, "attribute %s", name);
    cr_assert_geq(H5Aread(attribute, type, value), 0);
    H5Aclose(attribute);
}

Test(checkpoint, layout)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(write_step(&f, 1200, 2), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 1200);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq(file, 0);
    int64_t step = 0, seed = 0, version = 0;
    read_attribute(file, "step", H5T_NATIVE_INT64, &step);
    read_attribute(file, "seed", H5T_NATIVE_INT64, &seed);
    read_attribute(file, "format_version", H5T_NATIVE_INT64, &version);
    cr_assert_eq(step, 1200);
    cr_assert_eq(seed, -7);
    cr_assert_eq(version, 1);

    const char *groups[] = {"/weights", "/optim/moment1", "/optim/moment2"};
    const float *arrays[] = {f.weights, f.moment1, f.moment2};
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < FIXTURE_TENSORS; i++) {
            const struct lj_param *param = &f.list[i];
            char name[256];
            float values[96];
            hsize_t dim[4];
            snprintf(name, sizeof name, "%s/%s", groups[a], param->name);
            hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
            cr_assert_geq(set, 0, "%s", name);
            hid_t space = H5Dget_space(set);
            cr_assert_eq(H5Sget_simple_extent_dims(space, dim, NULL), param->dims, "%s", name);
            for (int d = 0; d < param->dims; d++)
                cr_assert_eq(dim[d], (hsize_t)param->dim[d]);
            cr_assert_geq(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
            cr_assert_arr_eq(values, arrays[a] + param->offset, (size_t)param->count * 4);
            uint64_t hash = 0;
            read_attribute(set, "xxh3", H5T_NATIVE_UINT64, &hash);
            cr_assert_eq(hash, XXH3_64bits(values, (size_t)param->count * 4));
            H5Sclose(space);
            H5Dclose(set);
        }
    H5Fclose(file);
    cr_assert_eq(files_in(f.dir), 1);
    fixture_destroy(&f);
}

Test(checkpoint, keeps_the_newest)
{
    struct fixture f;
    char path[LJ_PATH_MAX], other[128];
    cr_assert(fixture_create(&f));
    snprintf(other, sizeof other, "%s/step-1.h5", f.dir); /* too few digits: not ours */
    fclose(fopen(other, "w"));
    snprintf(other, sizeof other, "%s/.step-000000007.h5.tmp", f.dir); /* of a killed writer */
    fclose(fopen(other, "w"));
    for (int64_t step = 1; step <= 5; step++)
        cr_assert_eq(write_step(&f, step, 2), LJ_OK);
    cr_assert_eq(files_in(f.dir), 3);
    for (int64_t step = 4; step <= 5; step++) {
        fixture_path(path, &f, step);
        cr_assert_eq(access(path, R_OK), 0, "%s", path);
    }
    cr_assert_eq(write_step(&f, 2, 1), LJ_OK); /* older than the others: still the one to keep */
    fixture_path(path, &f, 2);
    cr_assert_eq(access(path, R_OK), 0);
    cr_assert_eq(files_in(f.dir), 2);
    fixture_destroy(&f);
}

/* An older program could not know of the average: it is told so by the version. */
Test(checkpoint, version_of_a_file_with_an_average)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    int64_t version = 0, average = 0;
    cr_assert(fixture_create(&f));
    f.checkpoint.average = f.average;
    cr_assert_eq(write_step(&f, 1200, 2), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 1200);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    read_attribute(file, "format_version", H5T_NATIVE_INT64, &version);
    read_attribute(file, "average", H5T_NATIVE_INT64, &average);
    H5Fclose(file);
    cr_assert(version == 2 && average == 1);
    fixture_destroy(&f);
}

/* Nor of arrays of the objective; whether there is an average is said beside. */
Test(checkpoint, version_of_a_file_with_a_state)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    int64_t version = 0, average = 1, objective = 0;
    cr_assert(fixture_create(&f));
    f.checkpoint.states = 1;
    f.checkpoint.state = &f.state;
    cr_assert_eq(write_step(&f, 1200, 2), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 1200);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    read_attribute(file, "format_version", H5T_NATIVE_INT64, &version);
    read_attribute(file, "average", H5T_NATIVE_INT64, &average);
    read_attribute(file, "objective", H5T_NATIVE_INT64, &objective);
    H5Fclose(file);
    cr_assert(version == 3 && average == 0 && objective == 1);
    fixture_destroy(&f);
}

Test(checkpoint, large_texts_and_no_moments)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    enum { LONG = 200000 };
    char *text = malloc(LONG + 1);
    cr_assert(fixture_create(&f));
    memset(text, 'y', LONG);
    text[LONG] = 0;
    f.checkpoint.config = text;
    f.checkpoint.provenance = "";
    f.checkpoint.moment1 = f.checkpoint.moment2 = NULL;
    cr_assert_eq(write_step(&f, 0, 1), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 0);
    struct lj_checkpoint_header header;
    cr_assert_eq(lj_checkpoint_read_header(path, &header), LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(header.config, text);
    cr_assert_str_eq(header.provenance, "");
    lj_checkpoint_header_free(&header);
    float moment[FIXTURE_ELEMENTS], weights[FIXTURE_ELEMENTS];
    struct lj_checkpoint_arrays arrays = {.weights = weights};
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_OK);
    arrays.moment1 = moment;
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_ERR_CHECKPOINT);
    free(text);
    fixture_destroy(&f);
}

/* The file may not grow beyond `limit` bytes: the write fails wherever HDF5 gets there, in a
 * dataset, in metadata, at the flush or at the close. */
static int write_limited(struct fixture *f, int64_t step, rlim_t limit)
{
    struct rlimit saved, small;
    getrlimit(RLIMIT_FSIZE, &saved);
    small = (struct rlimit){limit, saved.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    int status = write_step(f, step, 2);
    setrlimit(RLIMIT_FSIZE, &saved);
    return status;
}

Test(checkpoint, disk_full_at_any_byte)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    struct stat whole;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(fixture_create(&f));
    cr_assert_eq(write_step(&f, 10, 2), LJ_OK);
    fixture_path(path, &f, 10);
    cr_assert_eq(stat(path, &whole), 0);
    int failures = 0;
    for (rlim_t limit = 0; limit < (rlim_t)whole.st_size; limit += 97) {
        int status = write_limited(&f, 20, limit);
        cr_assert_eq(status, LJ_ERR_RESOURCE, "limit %lu: %d", (unsigned long)limit, status);
        cr_assert(strstr(lj_error_text(), "File too large"), "%s", lj_error_text());
        cr_assert_eq(files_in(f.dir), 1, "limit %lu", (unsigned long)limit);
        failures++;
    }
    cr_assert_gt(failures, 50);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_OK);
    cr_assert_eq(write_step(&f, 20, 2), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 20);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_OK);
    fixture_destroy(&f);
}

/* A device that refuses every write. The file size limit above also stops the final truncation, and
 * so would not show that a failed write alone is noticed: the reason must be that of the write. */
Test(checkpoint, device_full)
{
    struct fixture f;
    char temporary[128];
    cr_assert(fixture_create(&f));
    snprintf(temporary, sizeof temporary, "%s/.step-000000020.h5.tmp", f.dir);
    cr_assert_eq(symlink("/dev/full", temporary), 0);
    cr_assert_eq(write_step(&f, 20, 2), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), "No space left on device"), "%s", lj_error_text());
    cr_assert_eq(files_in(f.dir), 0);
    fixture_destroy(&f);
}

Test(checkpoint, injected_faults)
{
    struct fixture f;
    char path[LJ_PATH_MAX], newest[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(write_step(&f, 10, 2), LJ_OK);
    const char *faults[] = {"checkpoint-write:0:20", "checkpoint-sync:0:20",
                            "checkpoint-rename:0:20"};
    for (int i = 0; i < 3; i++) {
        setenv("LJ_FAULT", faults[i], 1);
        cr_assert_eq(write_step(&f, 20, 2), LJ_ERR_RESOURCE, "%s", faults[i]);
        cr_assert_eq(files_in(f.dir), 1);
    }
    unsetenv("LJ_FAULT");
    cr_assert_eq(lj_checkpoint_newest(f.dir, newest), LJ_OK);
    fixture_path(path, &f, 10);
    cr_assert_str_eq(newest, path);
    fixture_destroy(&f);
}

Test(checkpoint, no_place_for_it)
{
    struct fixture f;
    char blocked[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_write("/dev/null/x", &f.checkpoint, 1), LJ_ERR_RESOURCE);
    fixture_path(blocked, &f, 1200); /* a directory where the file should go */
    mkdir(blocked, 0777);
    cr_assert_eq(write_step(&f, 1200, 1), LJ_ERR_RESOURCE);
    cr_assert_eq(files_in(f.dir), 1);
    fixture_destroy(&f);
}
